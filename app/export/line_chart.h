/* A line chart of a few series over one axis. Where a series has many more points than the chart
 * has columns, its extent per column is a band and its moving average the line. */
#ifndef HL_EXPORT_LINE_CHART_H
#define HL_EXPORT_LINE_CHART_H

#include "app/export/paper.h"

typedef struct hl_line_series {
    const char *name;
    const double *x, *y; /* points with a y that is not finite leave a gap */
    size_t n;
    const double *low, *high; /* of a band around it; NULL: none */
    bool dots;                /* points without a line, never averaged */
} hl_line_series;

typedef struct hl_line_chart {
    const char *title, *x_label, *y_label; /* NULL or "": none */
    bool log, log_x;                       /* logarithmic axes; what is not positive is left out */
    double symlog;       /* half of the linear band of an axis that is logarithmic on both
                            sides of 0; 0: none. Not with log */
    double y_from, y_to; /* fixed ends, y_from < y_to (log: positive); both 0: as the points need */
    const hl_line_series *series;
    size_t n_series;
} hl_line_chart;

/* Draws it into the box. A chart without any point says so. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_line_chart_draw(const hl_line_chart *chart, hl_paper *paper, hl_box box);

#endif
