#include "app/export/figure.h"

#include <math.h>
#include <stdio.h>

#include "app/export/ruler.h"
#include "engine/base/mem.h"

#define INK  0x222222u
#define CYAN 0x00b7c7u
#define FONT 12.0

enum { LEVELS = 128, BINS = HL_TRAJECTORY_BINS, BAR_WIDTH = 18, BAR_SPACE = 96 };

/* The map "magma" backwards (light: few): a polynomial fit of its colours. */
uint32_t hl_figure_colour(double level)
{
    static const double fit[7][3] = {
        {-0.002136, -0.000750, -0.005386},  {0.251661, 0.677523, 2.494027},
        {8.353717, -3.577720, 0.314468},    {-27.668733, 14.264731, -13.649213},
        {52.176140, -27.943606, 12.944169}, {-50.768525, 29.046583, 4.234153},
        {18.655706, -11.489774, -5.601962}};
    const double t = 1 - level;
    uint32_t rgb = 0;
    for (int channel = 0; channel < 3; channel++) {
        double v = 0;
        for (int k = 6; k >= 0; k--)
            v = v * t + fit[k][channel];
        rgb = rgb << 8 | (uint32_t)(fmin(fmax(v, 0), 1) * 255 + 0.5);
    }
    return rgb;
}

/* Counts 1 to `most` onto levels, by their logarithm. */
static int level_of(int64_t count, int64_t most)
{
    if (most <= 1)
        return LEVELS - 1;
    const double u = log((double)count) / log((double)most);
    return (int)fmin(u * (LEVELS - 1) + 0.5, LEVELS - 1);
}

static int64_t most_of(const hl_trajectory *t)
{
    int64_t most = 1;
    for (int64_t k = 0; k < hl_trajectory_iterations(t); k++)
        for (int i = 0; i < BINS; i++)
            most = hl_trajectory_bins(t, k)[i] > most ? hl_trajectory_bins(t, k)[i] : most;
    return most;
}

/* ---- one panel ---- */

typedef struct frame {
    const hl_trajectory *t;
    hl_paper *paper;
    hl_box box;
    hl_ruler x, y; /* iterations; bins */
} frame;

static hl_point at(const frame *f, double x, double y)
{
    return (hl_point){hl_ruler_at(&f->x, x), hl_ruler_at(&f->y, y)};
}

/* Cells of one colour in one go; equal neighbours in a column are one box. `boxes` has room for a
 * column's bins of all iterations. */
static void draw_level(const frame *f, int level, int64_t most, hl_box *boxes)
{
    size_t n = 0;
    for (int64_t k = 0; k < hl_trajectory_iterations(f->t); k++) {
        const int64_t *bins = hl_trajectory_bins(f->t, k);
        for (int i = 0; i < BINS; i++) {
            const int first = i;
            while (i < BINS && bins[i] > 0 && level_of(bins[i], most) == level)
                i++;
            if (i == first)
                continue;
            const hl_point low = at(f, (double)k - 0.5, first), high = at(f, (double)k + 0.5, i);
            boxes[n++] = (hl_box){low.x, high.y, high.x - low.x, low.y - high.y};
        }
    }
    hl_paper_boxes(f->paper, boxes, n, hl_figure_colour((double)level / (LEVELS - 1)));
}

static hl_status draw_cells(const frame *f, int64_t most)
{
    const size_t n = (size_t)hl_trajectory_iterations(f->t) * BINS;
    hl_box *boxes = hl_alloc_zero(n, sizeof *boxes);
    if (!boxes)
        return HL_E_NOMEM;
    hl_paper_boxes(f->paper, &f->box, 1, hl_figure_colour(0));
    for (int level = 0; level < LEVELS; level++)
        draw_level(f, level, most, boxes);
    hl_free(boxes);
    return HL_OK;
}

/* White on what may be light: with a darker edge. */
static void draw_white(const frame *f, const hl_point *p, size_t n, hl_pen pen)
{
    hl_pen edge = pen;
    edge.rgb = 0x777777;
    edge.width = pen.width + 1.4;
    edge.dash = HL_DASH_NONE;
    edge.alpha = 0.5;
    hl_paper_line(f->paper, p, n, edge);
    hl_paper_line(f->paper, p, n, pen);
}

/* Mean index per tolerance, the line at 1e-4 and its crossing. */
static void draw_curves(const frame *f)
{
    const hl_pen white = {.rgb = 0xffffff, .width = 1.8, .dash = HL_DASH_LONG};
    const int threshold = hl_trajectory_threshold();
    hl_point p[HL_TRAJECTORY_TOLERANCES];
    size_t n = 0;
    for (int i = 0; i < HL_TRAJECTORY_TOLERANCES; i++) {
        const double mean = hl_trajectory_at(f->t, i).mean_index;
        if (isfinite(mean))
            p[n++] = at(f, mean, BINS + 50 * hl_trajectory_tolerance(i));
    }
    const double height = BINS + 50 * hl_trajectory_tolerance(threshold);
    const hl_point line[2] = {at(f, f->x.from, height), at(f, f->x.to, height)};
    draw_white(f, line, 2, white);
    hl_paper_line(f->paper, p, n, (hl_pen){.rgb = INK, .width = 3.6, .alpha = 0.35});
    hl_paper_line(f->paper, p, n, (hl_pen){.rgb = CYAN, .width = 2.2});
    const double mean = hl_trajectory_at(f->t, threshold).mean_index;
    if (!isfinite(mean))
        return;
    const hl_point centre = at(f, mean, height);
    hl_paper_ring(f->paper, centre, 6, (hl_pen){.rgb = 0x777777, .width = 4, .alpha = 0.6});
    hl_paper_ring(f->paper, centre, 6, (hl_pen){.rgb = 0xffffff, .width = 2.2});
}

static void draw_frame(const frame *f, const char *title)
{
    static const char *const names[] = {"1e-8", "1e-6", "1e-4", "1e-2"};
    const hl_pen ink = {.rgb = INK, .width = 1};
    const hl_box b = f->box;
    hl_label label = {.size = FONT, .anchor = 1, .rgb = INK, .x = b.x - 8};
    for (int i = 0; i < 4; i++) {
        const double y = hl_ruler_at(&f->y, 100 * i);
        const hl_point tick[2] = {{b.x - 5, y}, {b.x, y}};
        hl_paper_line(f->paper, tick, 2, ink);
        label.y = y + 4;
        hl_paper_text(f->paper, label, names[i]);
    }
    label.anchor = 0;
    label.y = b.y + b.h + 19;
    for (int i = 0; i < f->x.n_ticks; i++) {
        label.x = hl_ruler_at(&f->x, f->x.tick[i]);
        const hl_point tick[2] = {{label.x, b.y + b.h}, {label.x, b.y + b.h + 5}};
        hl_paper_line(f->paper, tick, 2, ink);
        hl_paper_text(f->paper, label, f->x.text[i]);
    }
    const hl_point border[5] = {
        {b.x, b.y}, {b.x, b.y + b.h}, {b.x + b.w, b.y + b.h}, {b.x + b.w, b.y}, {b.x, b.y}};
    hl_paper_line(f->paper, border, 5, ink);
    label.x = b.x + b.w / 2;
    label.y = b.y + b.h + 37;
    hl_paper_text(f->paper, label, "iteration");
    label.upwards = true;
    label.x = b.x - 46;
    label.y = b.y + b.h / 2;
    hl_paper_text(f->paper, label, "relative residual");
    hl_paper_text(
        f->paper,
        (hl_label){
            .x = b.x + b.w / 2, .y = b.y - 9, .size = 14, .anchor = 0, .bold = true, .rgb = INK},
        title);
}

static hl_status draw_panel(const hl_figure_panel *panel, int64_t most, hl_paper *paper, hl_box box)
{
    const double T = (double)hl_trajectory_iterations(panel->trajectory);
    frame f = {.t = panel->trajectory,
               .paper = paper,
               .box = {box.x + 64, box.y + 30, box.w - 64 - 14, box.h - 30 - 48}};
    /* an index may be T itself: one more than the last iteration */
    hl_ruler_fix(&f.x, -0.5, T + 0.5, false, (int)fmax(2, f.box.w / 70));
    hl_ruler_fix(&f.y, 0, BINS, false, 4);
    f.x.at_from = f.box.x;
    f.x.at_to = f.box.x + f.box.w;
    f.y.at_from = f.box.y + f.box.h;
    f.y.at_to = f.box.y;
    hl_paper_clip(paper, f.box);
    const hl_status st = draw_cells(&f, most);
    draw_curves(&f);
    hl_paper_unclip(paper);
    draw_frame(&f, panel->title);
    return st;
}

/* ---- the colour bar ---- */

void hl_figure_bar(hl_paper *paper, hl_box b, double lo, double hi, bool log, const char *text)
{
    hl_ruler a;
    const hl_pen ink = {.rgb = INK, .width = 1};
    for (int i = 0; i < LEVELS; i++) {
        const hl_box cell = {b.x, b.y + b.h * (LEVELS - 1 - i) / LEVELS, b.w, b.h / LEVELS + 0.5};
        hl_paper_boxes(paper, &cell, 1, hl_figure_colour((double)i / (LEVELS - 1)));
    }
    hl_ruler_fix(&a, lo, hi > lo ? hi : log ? 10 * lo : lo + 1, log, 6);
    a.at_from = b.y + b.h;
    a.at_to = b.y;
    for (int i = 0; i < a.n_ticks; i++) {
        const double y = hl_ruler_at(&a, a.tick[i]);
        const hl_point tick[2] = {{b.x + b.w, y}, {b.x + b.w + 5, y}};
        hl_paper_line(paper, tick, 2, ink);
        hl_paper_text(
            paper,
            (hl_label){.x = b.x + b.w + 8, .y = y + 4, .size = FONT, .anchor = -1, .rgb = INK},
            a.text[i]);
    }
    const hl_point border[5] = {
        {b.x, b.y}, {b.x, b.y + b.h}, {b.x + b.w, b.y + b.h}, {b.x + b.w, b.y}, {b.x, b.y}};
    hl_paper_line(paper, border, 5, ink);
    hl_paper_text(paper,
                  (hl_label){.x = b.x + b.w + 58,
                             .y = b.y + b.h / 2,
                             .size = FONT,
                             .anchor = 0,
                             .upwards = true,
                             .rgb = INK},
                  text);
}

hl_status hl_figure_draw(const hl_figure_panel *panels, size_t n, hl_paper *paper, hl_box box)
{
    const size_t columns = n > 1 ? 2 : 1, rows = n > 2 ? 2 : 1;
    const double w = (box.w - BAR_SPACE) / (double)columns, h = box.h / (double)rows;
    const int64_t most = n ? most_of(panels[0].trajectory) : 1;
    for (size_t i = 0; i < n; i++) {
        const size_t row = i / columns, column = i % columns;
        const hl_box b = {box.x + w * (double)column, box.y + h * (double)row, w, h};
        const hl_status st = draw_panel(&panels[i], most, paper, b);
        if (st != HL_OK)
            return st;
    }
    hl_figure_bar(paper, (hl_box){box.x + box.w - BAR_SPACE + 8, box.y + 30, BAR_WIDTH, box.h - 78},
                  1, most > 1 ? (double)most : 10, true, "state trajectory density (raw counts)");
    return HL_OK;
}
