/* Strips of layers and histograms of the screen as figures: drawn from their numbers, not from the
 * cells of the picture. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/layers.h"
#include "views/widgets/histogram.h"
#include "views/widgets/number.h"

enum { W = 800, COLUMNS = 400, ROW_H = 22, AROUND = 110, H_MIN = 260, H_HIST = 420, BARS = 128 };

static hl_status begin(bool is_png, double h, hl_paper **out)
{
    return is_png ? hl_paper_png_new(W, h, out) : hl_paper_svg_new(W, h, out);
}

/* ---- strips ---- */

static void x_range(const hl_heat *h, double *from, double *to)
{
    *from = HUGE_VAL;
    *to = -HUGE_VAL;
    for (int i = 0; i < h->n_rows; i++) {
        const hl_pyramid *p = h->row[i].data;
        if (!p || hl_pyramid_n(p) == 0)
            continue;
        *from = fmin(*from, hl_pyramid_total(p)->x_min);
        *to = fmax(*to, hl_pyramid_total(p)->x_max);
    }
    if (*from == *to) /* one step: a strip of that step */
        *to = *from + 1;
}

static void fill(const hl_heat_row *row, double from, double to, double v[COLUMNS])
{
    hl_bucket b = {0};
    for (int i = 0; i < COLUMNS; i++) {
        const double x = from + (to - from) * i / COLUMNS;
        const double end =
            i + 1 < COLUMNS ? from + (to - from) * (i + 1) / COLUMNS : nextafter(to, HUGE_VAL);
        v[i] = !row->data || !hl_heat_cell(row->data, x, end, &b) ? (double)NAN
               : b.n_non_finite > 0                               ? HUGE_VAL
                                                                  : b.max;
    }
}

static hl_status draw_strip(const hl_strip *one, const hl_strips *of, const char *value,
                            hl_paper *paper, hl_box box)
{
    const size_t n = (size_t)one->heat.n_rows;
    char title[200];
    double from, to, lo = one->heat.lo, hi = one->heat.hi;
    double(*v)[COLUMNS] = hl_alloc_zero(n, sizeof *v);
    hl_heat_line *lines = hl_alloc_zero(n, sizeof *lines);
    const hl_status st = v && lines ? HL_OK : HL_E_NOMEM;
    if (!one->heat.fixed && !hl_heat_range(&one->heat, &lo, &hi))
        lo = hi = 1;
    x_range(&one->heat, &from, &to);
    snprintf(title, sizeof title, "%s  %s", one->name, of->site);
    for (size_t i = 0; st == HL_OK && from < to && i < n; i++) {
        fill(&one->heat.row[i], from, to, v[i]);
        lines[i] = (hl_heat_line){one->heat.row[i].label, v[i]};
    }
    const hl_heat_figure figure = {.title = title,
                                   .x_label = "step",
                                   .value_label = value,
                                   .line = lines,
                                   .n_lines = n,
                                   .n_columns = COLUMNS,
                                   .x_from = from,
                                   .x_to = to,
                                   .lo = lo,
                                   .hi = hi,
                                   .log = lo > 0};
    if (st == HL_OK && from < to)
        hl_heat_figure_draw(&figure, paper, box);
    hl_free(v);
    hl_free(lines);
    return st;
}

hl_status hl_strip_figure(hl_screen *s, bool is_png, hl_str *out)
{
    hl_status st = HL_OK;
    hl_paper *paper = NULL;
    hl_strips *strips = hl_alloc_zero(1, sizeof *strips);
    int rows = 0;
    HL_TRY(strips ? HL_OK : HL_E_NOMEM);
    if (!hl_strips_make(s, strips, true)) {
        st = hl_err_set(HL_E_NOTFOUND, "no activation was watched yet");
        goto out;
    }
    for (int k = 0; k < strips->n; k++)
        rows = strips->at[k].heat.n_rows > rows ? strips->at[k].heat.n_rows : rows;
    const double h = fmax(rows * ROW_H + AROUND, H_MIN); /* of each: rows of all are as high */
    HL_TRY(begin(is_png, h * strips->n, &paper));
    for (int k = 0; k < strips->n; k++)
        HL_TRY(draw_strip(&strips->at[k], strips, hl_statistic_name(s->look.statistic), paper,
                          (hl_box){0, h * k, W, h}));
    HL_TRY(hl_paper_finish(paper, out));
out:
    hl_paper_free(paper);
    hl_free(strips);
    return st;
}

/* ---- histograms ---- */

typedef struct bars {
    double count[BARS], over[BARS];
    hl_bars_mark tick[16], line[4];
    char text[16][HL_NUMBER_MAX];
    size_t n, n_ticks, n_lines;
    double from, to;
} bars;

static double outermost(const hl_hist *h)
{
    return h && h->num > 0 ? fmax(fabs(h->min), fabs(h->max)) : 0;
}

/* Where a value lies on the axis of the figure. */
static double place_of(const hl_histogram *h, double v)
{
    return h->linear ? v : hl_histogram_place(v);
}

static void add_tick(const hl_histogram *h, bars *b, double v)
{
    const double at = place_of(h, v);
    if (at < b->from || at > b->to || b->n_ticks == sizeof b->tick / sizeof *b->tick)
        return;
    const size_t i = b->n_ticks++;
    b->tick[i] = (hl_bars_mark){.at = at, .text = hl_format_value(b->text[i], v)};
}

static void make_axis(const hl_histogram *h, bars *b)
{
    static const double powers[] = {0, 1e-4, 1e-2, 1, 1e2}, parts[] = {0, 0.25, 0.5, 0.75, 1};
    const double end = fmax(outermost(h->data), outermost(h->over));
    b->from = h->linear ? -end : 0;
    b->to = h->linear ? end : HL_HIST_BINS;
    b->n = h->linear ? BARS : HL_HIST_BINS;
    for (int i = 0; i < 5; i++) {
        const double v = h->linear ? parts[i] * end : powers[i];
        add_tick(h, b, v);
        if (v > 0)
            add_tick(h, b, -v);
    }
}

static void count(const hl_histogram *h, const hl_hist *of, const bars *b, double *out)
{
    const double each = (b->to - b->from) / (double)b->n;
    for (size_t i = 0; i < b->n; i++) {
        const double from = b->from + each * (double)i;
        out[i] = !h->linear ? of->bin[i]
                            : hl_histogram_between(of, from, i + 1 < b->n ? from + each : HUGE_VAL);
    }
}

static void add_line(const hl_histogram *h, bars *b, double v, const char *text, bool dashed)
{
    if (isfinite(v))
        b->line[b->n_lines++] = (hl_bars_mark){place_of(h, v), text, dashed};
}

hl_status hl_histogram_figure(hl_screen *s, bool is_png, hl_str *out)
{
    hl_status st = HL_OK;
    hl_histogram h;
    char title[200], names[2][HL_HISTOGRAM_NOTES_MAX];
    double mean;
    hl_paper *paper = NULL;
    bars *b = hl_alloc_zero(1, sizeof *b);
    HL_TRY(b ? HL_OK : HL_E_NOMEM);
    if (!hl_hist_shown(s, &h, title, sizeof title) || !(h.data->num > 0) ||
        !(outermost(h.data) > 0) || outermost(h.data) > 1e300) {
        st = hl_err_set(HL_E_NOTFOUND, "there is no histogram of finite numbers here");
        goto out;
    }
    make_axis(&h, b);
    count(&h, h.data, b, b->count);
    if (h.over)
        count(&h, h.over, b, b->over);
    const double sd = hl_histogram_deviation(h.data, &mean);
    add_line(&h, b, mean - 6 * sd, "-6 sd", true);
    add_line(&h, b, mean + 6 * sd, "+6 sd", true);
    add_line(&h, b, h.has_clip ? h.clip_lo : (double)NAN, "clip", false);
    add_line(&h, b, h.has_clip ? h.clip_hi : (double)NAN, "clip", false);
    const hl_bars_figure figure = {
        .title = title,
        .x_label = h.linear ? "x, linear; counts logarithmic" : "x, log |x|; counts logarithmic",
        .name = hl_histogram_notes(h.data, names[0]),
        .over_name = h.over ? hl_histogram_notes(h.over, names[1]) : NULL,
        .count = b->count,
        .over = h.over ? b->over : NULL,
        .n = b->n,
        .from = b->from,
        .to = b->to,
        .tick = b->tick,
        .line = b->line,
        .n_ticks = b->n_ticks,
        .n_lines = b->n_lines};
    HL_TRY(begin(is_png, H_HIST, &paper));
    HL_TRY(hl_bars_figure_draw(&figure, paper, (hl_box){0, 0, W, H_HIST}));
    HL_TRY(hl_paper_finish(paper, out));
out:
    hl_paper_free(paper);
    hl_free(b);
    return st;
}
