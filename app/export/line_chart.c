#include "app/export/line_chart.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "app/export/ruler.h"
#include "engine/base/mem.h"

#define INK       0x222222u
#define GRID      0xdddddd
#define FONT      12.0
#define LINE_STEP 18.0

/* Colours that stay apart for the colour-blind (Okabe and Ito) and, with the dashes, in grey. */
static const uint32_t palette[] = {0x0072b2, 0xd55e00, 0x009e73, 0xcc79a7,
                                   0x56b4e9, 0xe69f00, 0x000000};
enum { N_COLOURS = sizeof palette / sizeof palette[0], SMOOTH_FROM = 500, WINDOWS = 100 };

static hl_pen pen_of(size_t series)
{
    return (hl_pen){.rgb = palette[series % N_COLOURS],
                    .width = 1.8,
                    .dash = (hl_dash)(series % HL_DASH_COUNT)};
}

static bool is_shown(const hl_line_chart *c, double x, double y)
{
    return isfinite(x) && isfinite(y) && (!c->log || y > 0) && (!c->log_x || x > 0);
}

static bool has_band_at(const hl_line_chart *c, const hl_line_series *s, size_t i)
{
    return s->low && is_shown(c, s->x[i], s->low[i]) && is_shown(c, s->x[i], s->high[i]);
}

/* ---- extent ---- */

typedef struct extent {
    double x_min, x_max, y_min, y_max;
    bool any;
} extent;

static extent extent_of(const hl_line_chart *c)
{
    extent e = {DBL_MAX, -DBL_MAX, DBL_MAX, -DBL_MAX, false};
    for (size_t s = 0; s < c->n_series; s++)
        for (size_t i = 0; i < c->series[s].n; i++) {
            const double x = c->series[s].x[i], y = c->series[s].y[i];
            if (!is_shown(c, x, y))
                continue;
            e = (extent){fmin(e.x_min, x), fmax(e.x_max, x), fmin(e.y_min, y), fmax(e.y_max, y),
                         true};
            if (has_band_at(c, &c->series[s], i)) {
                e.y_min = fmin(e.y_min, c->series[s].low[i]);
                e.y_max = fmax(e.y_max, c->series[s].high[i]);
            }
        }
    return e;
}

/* ---- frame ---- */

/* Lays the names out in lines of at most `width`, draws them if there is a paper; their height. */
static double put_legend(const hl_line_chart *c, hl_paper *paper, double x, double y, double width)
{
    double at = 0, height = LINE_STEP;
    for (size_t s = 0; s < c->n_series; s++) {
        const double w = 34 + hl_text_width(c->series[s].name, FONT) + 16;
        if (at > 0 && at + w > width) {
            at = 0;
            height += LINE_STEP;
        }
        if (paper) {
            const double line_y = y + height - LINE_STEP / 2;
            const hl_point p[2] = {{x + at, line_y}, {x + at + 28, line_y}};
            if (c->series[s].dots)
                hl_paper_ring(paper, (hl_point){x + at + 20, line_y}, 3, pen_of(s));
            else
                hl_paper_line(paper, p, 2, pen_of(s));
            hl_paper_text(
                paper,
                (hl_label){
                    .x = x + at + 34, .y = line_y + 4, .size = FONT, .anchor = -1, .rgb = INK},
                c->series[s].name);
        }
        at += w;
    }
    return height;
}

static void put_axes(const hl_line_chart *c, hl_paper *paper, hl_box b, const hl_ruler *x,
                     const hl_ruler *y)
{
    const hl_pen grid = {.rgb = GRID, .width = 1}, ink = {.rgb = INK, .width = 1};
    for (int i = 0; i < y->n_ticks; i++) {
        const double at = hl_ruler_at(y, y->tick[i]);
        const hl_point line[2] = {{b.x, at}, {b.x + b.w, at}};
        hl_paper_line(paper, line, 2, grid);
        hl_paper_text(paper,
                      (hl_label){.x = b.x - 7, .y = at + 4, .size = FONT, .anchor = 1, .rgb = INK},
                      y->text[i]);
    }
    for (int i = 0; i < x->n_ticks; i++) {
        const double at = hl_ruler_at(x, x->tick[i]);
        const hl_point tick[2] = {{at, b.y + b.h}, {at, b.y + b.h + 5}};
        hl_paper_line(paper, tick, 2, ink);
        hl_paper_text(
            paper, (hl_label){.x = at, .y = b.y + b.h + 19, .size = FONT, .anchor = 0, .rgb = INK},
            x->text[i]);
    }
    const hl_point corner[3] = {{b.x, b.y}, {b.x, b.y + b.h}, {b.x + b.w, b.y + b.h}};
    hl_paper_line(paper, corner, 3, ink);
    if (c->x_label)
        hl_paper_text(
            paper,
            (hl_label){
                .x = b.x + b.w / 2, .y = b.y + b.h + 38, .size = FONT, .anchor = 0, .rgb = INK},
            c->x_label);
}

/* ---- series ---- */

typedef struct pencil {
    const hl_line_chart *chart;
    hl_paper *paper;
    const hl_ruler *x, *y;
    hl_point *points; /* room for the longest series, three times */
    size_t most;      /* its length */
} pencil;

static hl_point at(const pencil *p, double x, double y)
{
    return (hl_point){hl_ruler_at(p->x, x), hl_ruler_at(p->y, y)};
}

/* Every point, with gaps where one cannot be shown; single ones between gaps are marked. */
static void draw_points(const pencil *p, const hl_line_series *s, hl_pen pen)
{
    size_t n = 0;
    for (size_t i = 0; i <= s->n; i++) {
        if (i < s->n && is_shown(p->chart, s->x[i], s->y[i])) {
            p->points[n++] = at(p, s->x[i], s->y[i]);
            continue;
        }
        if (n == 1)
            hl_paper_ring(p->paper, p->points[0], 2, (hl_pen){.rgb = pen.rgb, .width = 2});
        hl_paper_line(p->paper, p->points, n, pen);
        n = 0;
    }
}

/* Extent per column of pixels, drawn as a polygon: forth along the maxima, back along the minima.
 */
static void draw_band(const pencil *p, const hl_line_series *s, uint32_t rgb)
{
    hl_point *low = p->points, *high = p->points + 2 * p->most;
    size_t n = 0;
    double column = -1;
    for (size_t i = 0; i < s->n; i++) {
        if (!is_shown(p->chart, s->x[i], s->y[i]))
            continue;
        const hl_point q = at(p, s->x[i], s->y[i]);
        if (n == 0 || floor(q.x) > column) {
            column = floor(q.x);
            low[n] = high[n] = q;
            n++;
        } else {
            low[n - 1].y = fmax(low[n - 1].y, q.y);
            high[n - 1].y = fmin(high[n - 1].y, q.y);
        }
    }
    for (size_t i = 0; i < n; i++)
        p->points[n + i] = high[n - 1 - i];
    hl_paper_area(p->paper, p->points, 2 * n, rgb, 0.18);
}

/* Where the series has about one point per column, a band would be a comb: the points themselves.
 */
static void draw_pale(const pencil *p, const hl_line_series *s, double columns, uint32_t rgb)
{
    if ((double)s->n > 3 * columns)
        draw_band(p, s, rgb);
    else
        draw_points(p, s, (hl_pen){.rgb = rgb, .width = 1, .alpha = 0.3});
}

static void draw_dots(const pencil *p, const hl_line_series *s, hl_pen pen)
{
    for (size_t i = 0; i < s->n; i++)
        if (is_shown(p->chart, s->x[i], s->y[i]))
            hl_paper_ring(p->paper, at(p, s->x[i], s->y[i]), 1.5,
                          (hl_pen){.rgb = pen.rgb, .width = 1, .alpha = 0.5});
}

/* Where a band is not known it ends, and another one begins behind. */
static void draw_own_band(const pencil *p, const hl_line_series *s, uint32_t rgb)
{
    for (size_t from = 0, to; from < s->n; from = to + 1) {
        size_t n = 0;
        for (to = from; to < s->n && has_band_at(p->chart, s, to); to++)
            p->points[n++] = at(p, s->x[to], s->low[to]);
        for (size_t i = to; i-- > from;)
            p->points[n++] = at(p, s->x[i], s->high[i]);
        if (n > 2)
            hl_paper_area(p->paper, p->points, n, rgb, 0.18);
    }
}

/* Does it go up and down? A learning rate does not, and its average would only lag behind. */
static bool is_noisy(const hl_line_chart *c, const hl_line_series *s)
{
    size_t n = 0, n_turns = 0;
    double last = 0, slope = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!is_shown(c, s->x[i], s->y[i]))
            continue;
        const double d = s->y[i] - last;
        n_turns += n > 1 && d * slope < 0;
        slope = d != 0 ? d : slope;
        last = s->y[i];
        n++;
    }
    return n_turns > n / 20;
}

static bool is_smoothed(const hl_line_chart *c, const hl_line_series *s)
{
    return s->n >= SMOOTH_FROM && !s->dots && is_noisy(c, s);
}

/* Exponential moving average over a hundredth of the series, started without bias; of a series
 * without noise every column's last value. */
static void draw_average(const pencil *p, const hl_line_series *s, hl_pen pen)
{
    const double keep = is_noisy(p->chart, s) ? 1 - 1 / fmax((double)s->n / WINDOWS, 1) : 0;
    double sum = 0, weight = 0, column = -1;
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!is_shown(p->chart, s->x[i], s->y[i]))
            continue;
        const double y = p->chart->log ? log10(s->y[i]) : s->y[i];
        sum = keep * sum + (1 - keep) * y;
        weight = keep * weight + (1 - keep);
        const double mean = p->chart->log ? pow(10, sum / weight) : sum / weight;
        const hl_point q = at(p, s->x[i], mean);
        if (n && floor(q.x) <= column) {
            p->points[n - 1] = q;
            continue;
        }
        column = floor(q.x);
        p->points[n++] = q;
    }
    hl_paper_line(p->paper, p->points, n, pen);
}

static hl_status draw_series(const hl_line_chart *c, hl_paper *paper, hl_box b, const hl_ruler *x,
                             const hl_ruler *y)
{
    size_t most = 1;
    for (size_t s = 0; s < c->n_series; s++)
        most = c->series[s].n > most ? c->series[s].n : most;
    const pencil p = {.chart = c,
                      .paper = paper,
                      .x = x,
                      .y = y,
                      .points = hl_alloc_zero(3 * most, sizeof *p.points),
                      .most = most};
    if (!p.points)
        return HL_E_NOMEM;
    hl_paper_clip(paper, (hl_box){b.x - 1, b.y - 1, b.w + 2, b.h + 2});
    for (size_t s = 0; s < c->n_series; s++)
        if (is_smoothed(c, &c->series[s]))
            draw_pale(&p, &c->series[s], b.w, pen_of(s).rgb);
    for (size_t s = 0; s < c->n_series; s++)
        if (c->series[s].low)
            draw_own_band(&p, &c->series[s], pen_of(s).rgb);
    for (size_t s = 0; s < c->n_series; s++) {
        if (c->series[s].dots)
            draw_dots(&p, &c->series[s], pen_of(s));
        else if (c->series[s].n >= SMOOTH_FROM)
            draw_average(&p, &c->series[s], pen_of(s));
        else
            draw_points(&p, &c->series[s], pen_of(s));
    }
    hl_paper_unclip(paper);
    hl_free(p.points);
    return HL_OK;
}

static bool any_smoothed(const hl_line_chart *c)
{
    for (size_t s = 0; s < c->n_series; s++)
        if (is_smoothed(c, &c->series[s]))
            return true;
    return false;
}

/* What is written around the plot; gives the box that is left for it. */
static hl_box put_words(const hl_line_chart *c, hl_paper *paper, hl_box box, double tick_width)
{
    hl_box b = {.x = box.x + tick_width + 38, .y = box.y + 12};
    b.w = box.x + box.w - 20 - b.x;
    if (c->title && *c->title) {
        hl_paper_text(
            paper,
            (hl_label){.x = b.x, .y = b.y + 12, .size = 14, .anchor = -1, .bold = true, .rgb = INK},
            c->title);
        b.y += 24;
    }
    b.y += put_legend(c, paper, b.x, b.y, b.w) + 6;
    b.h = box.y + box.h - 48 - b.y;
    if (any_smoothed(c)) {
        hl_paper_text(
            paper,
            (hl_label){
                .x = b.x + b.w, .y = box.y + box.h - 8, .size = 10, .anchor = 1, .rgb = 0x666666},
            "line: moving average; pale: all points");
    }
    if (c->y_label && *c->y_label)
        hl_paper_text(paper,
                      (hl_label){.x = box.x + 18,
                                 .y = b.y + b.h / 2,
                                 .size = FONT,
                                 .anchor = 0,
                                 .upwards = true,
                                 .rgb = INK},
                      c->y_label);
    return b;
}

hl_status hl_line_chart_draw(const hl_line_chart *c, hl_paper *paper, hl_box box)
{
    const extent e = extent_of(c);
    hl_ruler x, y;
    double tick_width = 0;
    const int n_y = (int)fmax(3, box.h / 60);
    const bool fixed = c->y_from < c->y_to && (!c->log || c->y_from > 0);
    if (e.any && c->symlog > 0)
        hl_ruler_symmetric(&y, fixed ? c->y_from : e.y_min, fixed ? c->y_to : e.y_max, c->symlog,
                           n_y);
    else if (e.any && fixed)
        hl_ruler_fix(&y, c->y_from, c->y_to, c->log, n_y);
    else if (e.any)
        hl_ruler_fit(&y, e.y_min, e.y_max, c->log, n_y);
    for (int i = 0; e.any && i < y.n_ticks; i++)
        tick_width = fmax(tick_width, hl_text_width(y.text[i], FONT));
    const hl_box b = put_words(c, paper, box, tick_width);
    if (!e.any) {
        hl_paper_text(
            paper,
            (hl_label){
                .x = b.x + b.w / 2, .y = b.y + b.h / 2, .size = FONT, .anchor = 0, .rgb = INK},
            c->log ? "no positive values" : "no values");
        return HL_OK;
    }
    const double pad = e.x_max > e.x_min ? 0 : c->log_x ? e.x_min / 2 : 1;
    hl_ruler_fix(&x, e.x_min - pad, e.x_max + pad, c->log_x, (int)fmax(2, b.w / 90));
    x.at_from = b.x;
    x.at_to = b.x + b.w;
    y.at_from = b.y + b.h;
    y.at_to = b.y;
    put_axes(c, paper, b, &x, &y);
    return draw_series(c, paper, b, &x, &y);
}
