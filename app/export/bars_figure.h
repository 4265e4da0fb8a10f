/* Counts as bars over places that the caller names: a histogram on any axis, counts logarithmic. */
#ifndef HL_EXPORT_BARS_FIGURE_H
#define HL_EXPORT_BARS_FIGURE_H

#include "app/export/paper.h"

typedef struct hl_bars_mark {
    double at;
    const char *text;
    bool dashed; /* of a line */
} hl_bars_mark;

typedef struct hl_bars_figure {
    const char *title, *x_label;
    const char *name, *over_name; /* of both series; over_name NULL: there is one */
    const double *count, *over;   /* n bars of one width from `from` to `to`; 0 stays empty */
    size_t n;
    double from, to;                 /* from < to */
    const hl_bars_mark *tick, *line; /* labels of the axis; lines over the bars with their words */
    size_t n_ticks, n_lines;
} hl_bars_figure;

/* A count of 1 is a bar. `over` is an outline. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_bars_figure_draw(const hl_bars_figure *f, hl_paper *paper, hl_box box);

#endif
