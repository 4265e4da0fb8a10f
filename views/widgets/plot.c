/* Dots are collected as bits in the cells themselves (MASK + bits in the code point; the canvas is
 * blank before, so nothing else looks like that) and need no other memory. A pyramid is walked from
 * left to right in the largest buckets that lie in one dot column; their extent is drawn, so the
 * picture is the same as if every point had been joined to the next. */
#include "views/widgets/plot.h"

#include <math.h>

static const uint32_t MASK = 0x2800; /* braille without dots: that level needs no translation */
static const double FAR = 1e6;       /* dots; beyond, distance no longer matters */
static const double ROUNDING = 1e-9; /* of the extent, as in hl_scale_cell */

enum {
    VISITS_MAX = 1 << 18,    /* buckets, points and columns crossed, for x in wild order; */
    BUCKETS_COARSE = 1 << 13 /* beyond, so many are drawn by their extremes, not joined */
};

static const uint8_t braille_bit[4][2] = {{1, 8}, {2, 16}, {4, 32}, {64, 128}}; /* [row][column] */
static const uint16_t quadrants[16] = {' ',    0x2598, 0x259d, 0x2580, 0x2596, 0x258c,
                                       0x259e, 0x259b, 0x2597, 0x259a, 0x2590, 0x259c,
                                       0x2584, 0x2599, 0x259f, 0x2588};
static const uint16_t halves[4] = {' ', 0x2580, 0x2584, 0x2588};
static const uint16_t ascii_dots[4] = {' ', '\'', '.', ':'};

/* ---- dots ---- */

static hl_cell *cell_at(const hl_plot *p, int x, int y)
{
    const hl_grid *g = p->canvas.grid;
    const int gx = p->canvas.r.x + x, gy = p->canvas.r.y + y;
    if (x < 0 || y < 0 || x >= p->canvas.r.w || y >= p->canvas.r.h || gx < 0 || gy < 0 ||
        gx >= g->cols || gy >= g->rows)
        return NULL;
    return &g->cell[(size_t)gy * (size_t)g->cols + (size_t)gx];
}

static bool is_mask(uint32_t ch)
{
    return ch > MASK && ch <= MASK + 0xff;
}

static void put_dot(const hl_plot *p, int dot_x, int dot_y, hl_style s)
{
    const int from_top = p->h - 1 - dot_y;
    hl_cell *c = cell_at(p, dot_x / p->dots_x, from_top / p->dots_y);
    if (!c)
        return;
    const int column = dot_x % p->dots_x, row = from_top % p->dots_y;
    const uint32_t bit =
        p->dots_y == 4 ? braille_bit[row][column] : 1u << (column + p->dots_x * row);
    c->ch = (is_mask(c->ch) ? c->ch : MASK) | bit;
    c->style = s;
}

static double to_dots(const hl_plot_map *m, double v)
{
    v = fmin(fmax(v, -HL_SCALE_EDGE), HL_SCALE_EDGE);
    const double dots = (hl_scale_warp(&m->scale, v) - m->origin) * m->factor;
    return dots < -FAR ? -FAR : dots > FAR ? FAR : dots;
}

/* Dot number of a place, -1 or n when it is off. */
static int dot_of(double place, int n)
{
    if (place < -ROUNDING * n)
        return -1;
    if (place > n * (1 + ROUNDING))
        return n;
    const int dot = (int)floor(place);
    return dot < 0 ? 0 : dot >= n ? n - 1 : dot;
}

/* The dots of one column from height a to b, both in dots from below. */
static void fill_column(hl_plot *p, int column, double a, double b, hl_style s)
{
    int lo = dot_of(fmin(a, b), p->h), hi = dot_of(fmax(a, b), p->h);
    if (column >= 0 && column < p->w && !p->leaves_sets) {
        const int at = column / p->dots_x;
        p->above[at / 64] |= (uint64_t)(hi >= p->h) << (at % 64);
        p->below[at / 64] |= (uint64_t)(lo < 0) << (at % 64);
    }
    if (lo >= p->h || hi < 0)
        return;
    lo = lo < 0 ? 0 : lo;
    hi = hi >= p->h ? p->h - 1 : hi;
    for (int y = lo; y <= hi; y++)
        put_dot(p, column, y, s);
}

typedef struct place {
    double x, y; /* in dots */
} place;

static void put_place(hl_plot *p, place a, hl_style s)
{
    const int column = dot_of(a.x, p->w);
    if (column >= 0 && column < p->w)
        fill_column(p, column, a.y, a.y, s);
}

/* a is drawn already. */
static void join(hl_plot *p, place a, place b, hl_style s)
{
    if (floor(a.x) == floor(b.x)) {
        const int column = dot_of(b.x, p->w);
        if (column >= 0 && column < p->w)
            fill_column(p, column, a.y, b.y, s);
        return;
    }
    put_place(p, b, s);
    if (a.x > b.x) {
        const place t = a;
        a = b;
        b = t;
    }
    int first = (int)floor(a.x), last = (int)floor(b.x);
    if (last < 0 || first >= p->w)
        return;
    const double slope = (b.y - a.y) / (b.x - a.x);
    first = first < 0 ? 0 : first;
    last = last >= p->w ? p->w - 1 : last;
    for (int c = first; c <= last; c++) {
        const double from = fmax(a.x, c), to = fmin(b.x, c + 1);
        double y0 = a.y + (from - a.x) * slope, y1 = a.y + (to - a.x) * slope;
        if (fabs(slope) < 1) /* a flat line is one dot thin */
            y0 = y1 = (y0 + y1) / 2;
        fill_column(p, c, y0, y1, s);
    }
}

/* ---- the walk over a pyramid ---- */

typedef struct pen {
    hl_plot *p;
    const hl_pyramid *data;
    hl_style style;
    bool is_down; /* the point before can be joined */
    place at;
    int n_visits;
} pen;

static void note(const hl_plot *p, uint64_t *set, double x)
{
    const int dot = dot_of(to_dots(&p->x, x), p->w);
    if (!p->leaves_sets && dot >= 0 && dot < p->w)
        set[dot / p->dots_x / 64] |= (uint64_t)1 << (dot / p->dots_x % 64);
}

static bool can_draw(const hl_plot *p, double y)
{
    return isfinite(y) && (!p->y.scale.log || y > 0);
}

static place place_of(const hl_plot *p, double x, double y)
{
    return (place){to_dots(&p->x, x), to_dots(&p->y, y)};
}

static void pen_to(pen *n, size_t i)
{
    const double x = hl_pyramid_x(n->data, i), y = hl_pyramid_y(n->data, i);
    if (n->p->x.scale.log && !(x > 0)) { /* infinitely far to the left */
        n->is_down = false;
        return;
    }
    if (!can_draw(n->p, y)) {
        note(n->p, isfinite(y) ? n->p->low : n->p->bad, x);
        n->is_down = false;
        return;
    }
    const place at = place_of(n->p, x, y);
    if (n->is_down && n->n_visits <= VISITS_MAX) {
        n->n_visits += (int)fmin(fabs(at.x - n->at.x), n->p->w);
        join(n->p, n->at, at, n->style);
    } else {
        put_place(n->p, at, n->style);
    }
    n->at = at;
    n->is_down = true;
}

/* The pen passes over the points first .. last, which something else has drawn. */
static void pen_over(pen *n, size_t first, size_t last)
{
    pen_to(n, first);
    n->is_down = false;
    pen_to(n, last);
}

static void draw_extent(const pen *n, const hl_bucket *b, bool in_one_column)
{
    hl_plot *p = n->p;
    const double low = p->y.scale.log ? b->min_positive : b->min;
    if (b->n_non_finite > 0)
        note(p, p->bad, b->x_min);
    if (p->y.scale.log && b->n_not_positive > 0)
        note(p, p->low, b->x_of_min);
    if (!can_draw(p, low) || !can_draw(p, b->max))
        return;
    if (in_one_column) {
        const int column = dot_of(to_dots(&p->x, b->x_min), p->w);
        fill_column(p, column, to_dots(&p->y, low), to_dots(&p->y, b->max), n->style);
    } else {
        put_place(p, place_of(p, b->x_of_min, low), n->style);
        put_place(p, place_of(p, b->x_of_max, b->max), n->style);
    }
}

/* Draws the bucket if it can be drawn as one. */
static bool draw_bucket(pen *n, int level, size_t begin, const hl_bucket *b)
{
    const hl_plot *p = n->p;
    const int left = dot_of(to_dots(&p->x, b->x_min), p->w);
    const int right = dot_of(to_dots(&p->x, b->x_max), p->w);
    const bool off = right < 0 || left >= p->w;
    const bool coarse = n->n_visits > VISITS_MAX;
    if (!off && left != right && !coarse)
        return false;
    if (!off)
        draw_extent(n, b, left == right);
    pen_over(n, begin, begin + ((size_t)1 << level) - 1);
    return true;
}

void hl_plot_line(hl_plot *p, const hl_pyramid *data, hl_style s)
{
    if (p->w == 0 || p->h == 0)
        return;
    pen n = {.p = p, .data = data, .style = s};
    const size_t n_points = hl_pyramid_n(data);
    const int level_coarse = hl_pyramid_level(data, BUCKETS_COARSE);
    for (size_t i = 0; i < n_points;) {
        int k = HL_PYRAMID_STORED - 1;
        while (hl_pyramid_stored(data, k + 1, i >> (k + 1)) && (i & (((size_t)2 << k) - 1)) == 0)
            k++;
        if (n.n_visits > VISITS_MAX && k > level_coarse)
            k = level_coarse;
        for (; k >= HL_PYRAMID_STORED; k--) {
            n.n_visits++;
            if (draw_bucket(&n, k, i, hl_pyramid_stored(data, k, i >> k)))
                break;
        }
        if (k >= HL_PYRAMID_STORED) {
            i += (size_t)1 << k;
            continue;
        }
        n.n_visits++;
        pen_to(&n, i++);
    }
}

/* ---- bands ---- */

/* Between two places of either edge, in the dot columns from the first to the last. */
static void shade(const hl_plot *p, const place lo[2], const place hi[2], hl_style s)
{
    if (p->dots_y < 4) /* too coarse: the line would drown */
        return;
    const double from = fmax(floor(lo[0].x), 0), to = fmin(floor(lo[1].x), p->w - 1);
    for (int x = (int)from; x <= to; x++) {
        const double width = lo[1].x - lo[0].x;
        const double t = width > 0 ? fmin(fmax((x + 0.5 - lo[0].x) / width, 0), 1) : 0;
        const int bottom = dot_of(lo[0].y + t * (lo[1].y - lo[0].y), p->h);
        const int top = dot_of(hi[0].y + t * (hi[1].y - hi[0].y), p->h);
        for (int y = bottom < 0 ? 0 : bottom; y <= top && y < p->h; y++)
            if ((x + 2 * (y % 2)) % 4 == 0)
                put_dot(p, x, y, s);
    }
}

void hl_plot_band(hl_plot *p, const hl_pyramid *lo, const hl_pyramid *hi, hl_style s)
{
    const size_t n = hl_pyramid_n(lo);
    bool is_before = false;
    place low[2] = {{0}}, high[2] = {{0}};
    for (size_t i = 0; p->w > 0 && p->h > 0 && i < n && i < hl_pyramid_n(hi); i++) {
        const double x = hl_pyramid_x(lo, i), a = hl_pyramid_y(lo, i), b = hl_pyramid_y(hi, i);
        const bool is_open = can_draw(p, b) && !isnan(a); /* down to the floor where it must */
        low[1] = place_of(p, x, isfinite(a) ? a : b);
        high[1] = place_of(p, x, b);
        if (is_open && is_before)
            shade(p, low, high, s);
        is_before = is_open;
        low[0] = low[1];
        high[0] = high[1];
    }
    hl_plot_line(p, lo, s);
    hl_plot_line(p, hi, s);
}

/* ---- begin and end ---- */

static hl_plot_map map_of(const hl_scale *s, int n_dots)
{
    const double lo = hl_scale_warp(s, s->lo), hi = hl_scale_warp(s, s->hi);
    return (hl_plot_map){.scale = *s, .origin = lo, .factor = n_dots / (hi - lo)};
}

/* Braille takes one column everywhere. */
static hl_glyphs level_of(const hl_grid *g)
{
    return g->glyphs == HL_GLYPHS_BRAILLE ? g->glyphs : hl_block_glyphs(g);
}

void hl_plot_begin(hl_plot *p, hl_canvas c, const hl_scale *x, const hl_scale *y)
{
    static const struct {
        int x, y;
    } dots[HL_GLYPHS_COUNT] = {{2, 4}, {2, 2}, {1, 2}, {1, 2}};
    const int level = level_of(c.grid);
    if (c.r.w > HL_PLOT_COLUMNS_MAX)
        c.r.w = HL_PLOT_COLUMNS_MAX;
    *p = (hl_plot){.canvas = c, .dots_x = dots[level].x, .dots_y = dots[level].y};
    p->w = (c.r.w > 0 ? c.r.w : 0) * p->dots_x;
    p->h = (c.r.h > 0 ? c.r.h : 0) * p->dots_y;
    p->x = map_of(x, p->w);
    p->y = map_of(y, p->h);
}

void hl_plot_end(hl_plot *p)
{
    const hl_glyphs level = level_of(p->canvas.grid);
    if (level == HL_GLYPHS_BRAILLE)
        return;
    const uint16_t *chars = level == HL_GLYPHS_BLOCK  ? quadrants
                            : level == HL_GLYPHS_HALF ? halves
                                                      : ascii_dots;
    for (int y = 0; y < p->canvas.r.h; y++)
        for (int x = 0; x < p->canvas.r.w; x++) {
            hl_cell *c = cell_at(p, x, y);
            if (c && is_mask(c->ch))
                c->ch = chars[c->ch - MASK];
        }
}

bool hl_plot_column_has(const uint64_t *set, int column)
{
    return column >= 0 && column < HL_PLOT_COLUMNS_MAX && (set[column / 64] >> (column % 64) & 1);
}

bool hl_plot_is_free(const hl_plot *p, int x, int y, int w, int h)
{
    const uint32_t dash_v = hl_sign_char(p->canvas.grid, HL_SIGN_DASH_V);
    const uint32_t dash_h = hl_sign_char(p->canvas.grid, HL_SIGN_DASH_H);
    for (int j = y; j < y + h; j++)
        for (int i = x; i < x + w; i++) {
            const hl_cell *c = cell_at(p, i, j);
            if (!c || (c->ch != ' ' && c->ch != dash_v && c->ch != dash_h))
                return false;
        }
    return true;
}
