#include "views/widgets/heat.h"

#include <math.h>
#include <string.h>

#include "views/widgets/number.h"

enum {
    LABEL_W_MAX = 24,
    W_VALUES = 56, /* columns from which "now" and "max @step" stand at the right, */
    NOW_W = 10,    /* in so many */
    MAX_W = 10,
    AT_W = 8,
    H_X_LABELS = 3, /* rows from which there is an x axis, */
    H_LEGEND = 6,   /* a legend */
    LEGEND_W = 10
};

typedef struct shades {
    double lo, hi; /* of the drawn quantity */
    bool linear;
} shades;

static hl_style role(int r)
{
    return (hl_style){.role = (uint8_t)r};
}

/* ---- shades ---- */

bool hl_heat_range(const hl_heat *h, double *lo, double *hi)
{
    double min = HUGE_VAL, max = -HUGE_VAL;
    for (int i = 0; i < h->n_rows; i++) {
        if (!h->row[i].data)
            continue;
        const hl_bucket *b = hl_pyramid_total(h->row[i].data);
        if (b->n == b->n_non_finite)
            continue;
        min = fmin(min, h->linear ? b->min : b->min_positive);
        max = fmax(max, b->max);
    }
    if (!(min <= max) || !(h->linear || min > 0))
        return false;
    *lo = min;
    *hi = max;
    return true;
}

static double drawn(double v, bool linear)
{
    return linear ? v : v > 0 ? log10(v) : -HUGE_VAL;
}

/* 0 .. 1 */
static double shade_of(const shades *s, double v)
{
    const double t = (drawn(v, s->linear) / 2 - s->lo / 2) / (s->hi / 2 - s->lo / 2);
    return t > 0 ? fmin(t, 1) : 0; /* also where lo is hi */
}

void hl_heat_put_shade(hl_canvas c, int x, int y, double t, int marks)
{
    static const uint16_t rich[] = {0xb7, 0x2591, 0x2592, 0x2593, 0x2588};
    static const char ramp[] = ".:-=+*#%@"; /* a blank is for what is not known */
    const int n = hl_has_signs(c.grid) ? (int)(sizeof rich / sizeof *rich) : (int)sizeof ramp - 1;
    const int i = (int)fmin(t * n, n - 1);
    const int colour = (int)fmin(t * HL_HEAT_ROLES, HL_HEAT_ROLES - 1);
    const hl_style s = {.role = (uint8_t)(HL_ROLE_HEAT + colour), .marks = (uint8_t)marks};
    const uint32_t ch = hl_has_signs(c.grid) ? rich[i] : (unsigned char)ramp[i];
    hl_put_char(c, x, y, s, ch);
}

/* ---- one row ---- */

typedef struct painter {
    hl_canvas all, strip;
    const hl_heat *h;
    shades shades;
    int cursor; /* column of the strip, -1: none */
} painter;

static double edge(const painter *p, int column)
{
    const double x = hl_scale_from(&p->h->x.scale, (double)column / p->strip.r.w);
    return column == p->strip.r.w ? nextafter(x, HUGE_VAL) : x;
}

bool hl_heat_cell(const hl_pyramid *data, double x, double x_end, hl_bucket *b)
{
    const hl_bucket *all = hl_pyramid_total(data);
    const double usual =
        all->n > 1 ? (all->x_max / 2 - all->x_min / 2) / (double)(all->n - 1) * 2 : 0;
    if (x > all->x_max)
        return false;
    return hl_pyramid_range(data, x, x_end, b) || (b->n > 0 && !(x - b->x_max > 1.5 * usual));
}

static void put_strip(const painter *p, const hl_pyramid *data, int y, bool has_cursor)
{
    hl_bucket b = {0};
    for (int x = 0; x < p->strip.r.w; x++) {
        if (!hl_heat_cell(data, edge(p, x), edge(p, x + 1), &b))
            continue;
        const int mark = x == p->cursor ? HL_REVERSE : has_cursor ? HL_BOLD : 0;
        if (b.n_non_finite > 0)
            hl_put_char(p->strip, x, y, (hl_style){HL_ROLE_BAD, (uint8_t)mark}, '!');
        else
            hl_heat_put_shade(p->strip, x, y, shade_of(&p->shades, b.max), mark);
    }
}

static void put_values(const painter *p, const hl_pyramid *data, int y, hl_style s)
{
    const int left = p->strip.r.x - p->all.r.x + p->strip.r.w;
    char text[HL_NUMBER_MAX];
    double x, v;
    if (left + NOW_W + MAX_W + AT_W > p->all.r.w)
        return;
    const bool has_last = hl_pyramid_last(data, &x, &v);
    hl_put_right(p->all, left + NOW_W, y, s,
                 hl_format_known(text, has_last, has_last ? v : 0, hl_has_signs(p->all.grid)));
    const bool has_max = hl_pyramid_best(data, false, &x, &v);
    hl_put_right(p->all, left + NOW_W + MAX_W, y, s,
                 hl_format_known(text, has_max, has_max ? v : 0, hl_has_signs(p->all.grid)));
    if (has_max)
        hl_put_right(p->all, left + NOW_W + MAX_W + AT_W, y, role(HL_ROLE_DIM),
                     hl_format_value(text, x));
}

static void put_row(const painter *p, int row, int y)
{
    const hl_heat_row *r = &p->h->row[row];
    const bool has_cursor = row == p->h->cursor_row;
    const hl_style s = has_cursor ? role(HL_ROLE_SELECT) : role(HL_ROLE_TEXT);
    const int label_w = p->strip.r.x - p->all.r.x - 2;
    if (has_cursor)
        hl_put_sign(p->all, 0, y, s, HL_SIGN_CURSOR);
    if (r->label && label_w > 0)
        hl_put_cut(p->all, 1, y, label_w, s, r->label);
    if (!r->data || hl_pyramid_n(r->data) == 0)
        return;
    put_strip(p, r->data, y, has_cursor);
    put_values(p, r->data, y, s);
}

/* ---- around the rows ---- */

static void put_x_labels(const painter *p, int y)
{
    const int left = p->strip.r.x - p->all.r.x, right = left + p->strip.r.w;
    hl_ticks t;
    hl_ticks_x(&p->h->x.scale, p->strip.r.w, &t);
    for (int i = 0; i < t.n; i++)
        hl_put(p->all, left + t.tick[i].label_at, y, role(HL_ROLE_DIM), t.tick[i].label);
    if (right + NOW_W + MAX_W + AT_W > p->all.r.w)
        return;
    hl_put_right(p->all, right + NOW_W, y, role(HL_ROLE_DIM), "now");
    hl_put_right(p->all, right + NOW_W + MAX_W, y, role(HL_ROLE_DIM), "max");
    hl_put_right(p->all, right + NOW_W + MAX_W + AT_W, y, role(HL_ROLE_DIM), "@step");
}

static void put_legend(const painter *p, int y, double lo, double hi)
{
    char text[HL_NUMBER_MAX];
    int x = p->strip.r.x - p->all.r.x;
    x += hl_put(p->all, x, y, role(HL_ROLE_DIM), hl_format_value(text, lo)) + 1;
    for (int i = 0; i < LEGEND_W; i++)
        hl_heat_put_shade(p->all, x + i, y, (i + 0.5) / LEGEND_W, 0);
    x += LEGEND_W + 1;
    x += hl_put(p->all, x, y, role(HL_ROLE_DIM), hl_format_value(text, hi)) + 2;
    hl_put(p->all, x, y, role(HL_ROLE_DIM), p->h->linear ? "linear" : "log10");
}

static bool cover_x(hl_heat *h)
{
    double min = HUGE_VAL, max = -HUGE_VAL;
    for (int i = 0; i < h->n_rows; i++) {
        const hl_pyramid *data = h->row[i].data;
        if (!data || hl_pyramid_n(data) == 0)
            continue;
        min = fmin(min, hl_pyramid_total(data)->x_min);
        max = fmax(max, hl_pyramid_total(data)->x_max);
    }
    if (min <= max)
        hl_axis_cover_x(&h->x, min, max);
    return min <= max;
}

static int label_columns(const hl_grid *g, const hl_heat *h, int room)
{
    int widest = 0;
    for (int i = 0; i < h->n_rows; i++) {
        const int w = h->row[i].label ? hl_text_columns(g, h->row[i].label) : 0;
        widest = w > widest ? w : widest;
    }
    const int limit = room / 3 < LABEL_W_MAX ? room / 3 : LABEL_W_MAX;
    return widest < limit ? widest : limit;
}

void hl_heat_draw(hl_canvas c, hl_heat *h)
{
    hl_blank(c, 0, 0, c.r.w, c.r.h, role(HL_ROLE_TEXT));
    h->strip = (hl_rect){0, 0, 0, 0};
    if (c.r.w <= 0 || c.r.h <= 0)
        return;
    if (!cover_x(h)) {
        hl_put_cut(c, 0, c.r.h / 2, c.r.w, role(HL_ROLE_DIM), "no values yet");
        return;
    }
    double lo = h->lo, hi = h->hi;
    const bool has_range = (h->fixed && lo < hi) || hl_heat_range(h, &lo, &hi);
    const int left = label_columns(c.grid, h, c.r.w) + 2;
    const int right = c.r.w >= W_VALUES ? NOW_W + MAX_W + AT_W : 0;
    const int first = h->row_first > 0 ? h->row_first : 0, n_rows = h->n_rows - first;
    int bottom = c.r.h - (c.r.h >= H_LEGEND) - (c.r.h >= H_X_LABELS);
    bottom = n_rows < bottom ? (n_rows > 0 ? n_rows : 0) : bottom;
    painter p = {.all = c, .h = h, .cursor = -1, .shades = {.linear = h->linear}};
    if (has_range) {
        p.shades.lo = drawn(lo, h->linear);
        p.shades.hi = drawn(hi, h->linear);
    }
    p.strip = hl_canvas_part(c, left, 0, c.r.w - left - right, bottom);
    h->strip = (hl_rect){p.strip.r.x - c.r.x, 0, p.strip.r.w, p.strip.r.h};
    if (p.strip.r.w <= 0)
        return;
    if (h->has_cursor_x && isfinite(h->cursor_x)) {
        const int at = hl_scale_cell(&h->x.scale, h->cursor_x, p.strip.r.w);
        p.cursor = at < p.strip.r.w ? at : -1;
    }
    for (int y = 0; y < bottom; y++)
        put_row(&p, first + y, y);
    if (c.r.h >= H_X_LABELS)
        put_x_labels(&p, bottom);
    if (c.r.h >= H_LEGEND && has_range)
        put_legend(&p, bottom + 1, lo, hi);
}

double hl_heat_x_at(const hl_heat *h, int column)
{
    const int at = column - h->strip.x;
    if (at < 0 || at >= h->strip.w || !h->x.is_set)
        return (double)NAN;
    return hl_scale_from(&h->x.scale, (at + 0.5) / h->strip.w);
}
