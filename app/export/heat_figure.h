/* A strip of rows (layers, sites, heads) by time, shade = a value or its logarithm. */
#ifndef HL_EXPORT_HEAT_FIGURE_H
#define HL_EXPORT_HEAT_FIGURE_H

#include "app/export/paper.h"

typedef struct hl_heat_line {
    const char *label;
    const double *v; /* hl_heat_figure.n_columns of them; NAN: nothing known; infinite: not finite,
                        which is drawn in a colour of its own */
} hl_heat_line;

typedef struct hl_heat_figure {
    const char *title, *x_label, *value_label;
    const hl_heat_line *line;
    size_t n_lines, n_columns;
    double x_from, x_to; /* of all columns; x_from < x_to */
    double lo, hi;       /* of the shades; lo <= hi, with log both positive */
    bool log;
} hl_heat_figure;

/* Rows as high as the box leaves room for. Cost: n_lines * n_columns. */
void hl_heat_figure_draw(const hl_heat_figure *f, hl_paper *paper, hl_box box);

#endif
