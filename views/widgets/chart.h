/* A line chart. The chart borrows everything it points to; between two pictures it keeps only its
 * axes (they grow in jumps, so new points change few cells). {0} is a chart without lines.
 *
 *   10.0┤⢷⣄            ╎              a
 *       │ ⠙⢷⣄          ╎
 *    5.0┤   ⠻⠻⣦⡀       ╎
 *       └┴──────┴──────┴──────┴
 *        0     20k    40k    60k
 *
 * Each column shows the full extent of what lies in it, whatever the number of points; only where x
 * jumps to and fro for more than some thousand points, the rest is drawn as dots, not joined, and
 * of very many of those the extremes of neighbours. Non-finite points are signs in a row above the
 * plot, values <= 0 on a log axis signs on its floor. Small canvases lose the x axis line, then the
 * x labels, then the y axis. */
#ifndef HL_VIEWS_WIDGETS_CHART_H
#define HL_VIEWS_WIDGETS_CHART_H

#include "views/cell.h"
#include "views/widgets/pyramid.h"
#include "views/widgets/ticks.h"

typedef struct hl_chart_line {
    const hl_pyramid *data;
    const hl_pyramid *smooth;  /* hl_smooth_data, drawn over the then dim raw line; NULL: off */
    const hl_pyramid *lo, *hi; /* a band around it, at the same x: dim edges, few dots between;
                                  both or NULL */
    const char *name;          /* for the legend; NULL: none */
    uint8_t role;              /* hl_role */
    char letter;               /* stands at the end of the line; 0: none */
    bool focused;              /* drawn last */
    bool is_replaced;          /* behind the others; its non-finite points are no news */
} hl_chart_line;

typedef struct hl_chart_mark {
    double at;
    uint8_t role;
    bool horizontal; /* a dashed line at y = at, else at x = at */
} hl_chart_mark;

typedef struct hl_chart {
    const char *title; /* first row, notes behind it; NULL: no such row */
    const hl_chart_line *line;
    int n_lines;
    const hl_chart_mark *mark;
    int n_marks;
    bool log_x, log_y; /* points with x <= 0 have no place on a log x axis */
    bool symlog_y;     /* logarithmic on both sides of 0; the linear band is three decades below the
                          largest value, and the axis dashed there */
    hl_scale_unit x_unit;
    const char *unit; /* of y, behind its uppermost label and in the legend; NULL or "": none */
    double smoothing; /* factor, or with smoothing_by "mean" or "median" points; told in the notes;
                         0: off */
    const char *smoothing_by; /* NULL: exponential */
    bool has_crosshair, has_anchor;
    double crosshair_x, anchor_x; /* the anchor: where a selection begins */
    int best;                     /* what the legend tells: -1 the least value, 1 the largest */
    bool tells_cuts;              /* signs where a line leaves a fixed y range */
    bool fixed_x, fixed_y;        /* zoomed, or a known end; else everything is shown */
    hl_scale x_range, y_range;    /* lo, hi used when fixed; finite, lo < hi */

    /* kept by hl_chart_draw */
    hl_axis x, y;
    hl_scale shown_x, shown_y; /* of the last picture; lo = hi: there was none */
    size_t n_seen;             /* points in the last picture */
    hl_rect plot;              /* where the lines were drawn, in the canvas; w or h 0: nowhere */
} hl_chart;

void hl_chart_draw(hl_canvas c, hl_chart *chart);

/* "log y  ema .90  nan 3  <=0 2", "symlog y .01" of the whole data; "" if there is nothing to say.
 * Gives buf. */
enum { HL_CHART_NOTES_MAX = 120 };
const char *hl_chart_notes(const hl_chart *chart, char buf[HL_CHART_NOTES_MAX]);

/* Half of the linear band of a symlog_y chart of all its lines; 0: it has none. */
double hl_chart_linear_band(const hl_chart *chart);

/* Of the last picture: x in the middle of a canvas column (NaN outside of the plot); the column of
 * x (-1: not in the plot). */
double hl_chart_x_at(const hl_chart *chart, int column);
double hl_chart_y_at(const hl_chart *chart, int row); /* in the middle of a row of the canvas */
int hl_chart_column(const hl_chart *chart, double x);

#endif
