#include "app/export/heat_figure.h"

#include <math.h>

#include "app/export/figure.h"
#include "app/export/ruler.h"

#define INK  0x222222u
#define BAD  0x00b7c7u
#define FONT 12.0

enum { LEVELS = 64, LABELS_MAX = 220, BAR_SPACE = 100, BAR_WIDTH = 18 };

/* 0 .. LEVELS - 1; -1: nothing known; LEVELS: not finite. */
static int level_of(const hl_heat_figure *f, double v)
{
    if (isnan(v))
        return -1;
    if (isinf(v))
        return LEVELS;
    const double lo = f->log ? log10(f->lo) : f->lo, hi = f->log ? log10(f->hi) : f->hi;
    const double at = f->log ? (v > 0 ? log10(v) : lo) : v;
    const double t = hi > lo ? (at - lo) / (hi - lo) : 1;
    return (int)(fmin(fmax(t, 0), 1) * (LEVELS - 1) + 0.5);
}

/* Neighbours of one shade are one box. */
static void draw_line(const hl_heat_figure *f, const hl_heat_line *l, hl_paper *paper, hl_box row)
{
    const double each = row.w / (double)f->n_columns;
    for (size_t i = 0, first; i < f->n_columns;) {
        const int level = level_of(f, l->v[i]);
        for (first = i; i < f->n_columns && level_of(f, l->v[i]) == level; i++)
            ;
        const hl_box box = {row.x + each * (double)first, row.y, each * (double)(i - first), row.h};
        if (level >= 0)
            hl_paper_boxes(paper, &box, 1,
                           level == LEVELS ? BAD : hl_figure_colour((double)level / (LEVELS - 1)));
    }
}

static void draw_x(const hl_heat_figure *f, hl_paper *paper, hl_box b)
{
    const hl_pen ink = {.rgb = INK, .width = 1};
    hl_label label = {.size = FONT, .anchor = 0, .rgb = INK, .y = b.y + b.h + 19};
    hl_ruler x;
    hl_ruler_fix(&x, f->x_from, f->x_to, false, (int)fmax(2, b.w / 90));
    x.at_from = b.x;
    x.at_to = b.x + b.w;
    for (int i = 0; i < x.n_ticks; i++) {
        label.x = hl_ruler_at(&x, x.tick[i]);
        const hl_point tick[2] = {{label.x, b.y + b.h}, {label.x, b.y + b.h + 5}};
        hl_paper_line(paper, tick, 2, ink);
        hl_paper_text(paper, label, x.text[i]);
    }
    label.x = b.x + b.w / 2;
    label.y = b.y + b.h + 38;
    hl_paper_text(paper, label, f->x_label);
}

void hl_heat_figure_draw(const hl_heat_figure *f, hl_paper *paper, hl_box box)
{
    double names = 40;
    for (size_t i = 0; i < f->n_lines; i++)
        names = fmax(names, hl_text_width(f->line[i].label, FONT));
    names = fmin(names, LABELS_MAX);
    const hl_box b = {box.x + names + 20, box.y + 36, box.w - names - 20 - BAR_SPACE - 12,
                      box.h - 36 - 48};
    const double each = b.h / (double)(f->n_lines ? f->n_lines : 1);
    const size_t every = each >= FONT ? 1 : (size_t)ceil(FONT / each); /* names do not touch */
    hl_paper_text(
        paper,
        (hl_label){.x = b.x, .y = box.y + 22, .size = 14, .anchor = -1, .bold = true, .rgb = INK},
        f->title);
    for (size_t i = 0; i < f->n_lines; i++) {
        const hl_box row = {b.x, b.y + each * (double)i, b.w, each};
        draw_line(f, &f->line[i], paper, row);
        if (i % every == 0)
            hl_paper_text(
                paper,
                (hl_label){
                    .x = b.x - 8, .y = row.y + each / 2 + 4, .size = FONT, .anchor = 1, .rgb = INK},
                f->line[i].label);
    }
    const hl_point border[5] = {
        {b.x, b.y}, {b.x, b.y + b.h}, {b.x + b.w, b.y + b.h}, {b.x + b.w, b.y}, {b.x, b.y}};
    hl_paper_line(paper, border, 5, (hl_pen){.rgb = INK, .width = 1});
    draw_x(f, paper, b);
    hl_figure_bar(paper, (hl_box){b.x + b.w + 20, b.y, BAR_WIDTH, b.h}, f->lo, f->hi, f->log,
                  f->value_label);
}
