/* Lines in dots: the part of a chart between its axes. The canvas holds dot masks while lines are
 * drawn (hl_plot_begin .. hl_plot_end), so several lines share cells; hl_plot_end makes characters
 * of them, as rich as the grid's glyphs allow. */
#ifndef HL_VIEWS_WIDGETS_PLOT_H
#define HL_VIEWS_WIDGETS_PLOT_H

#include "views/cell.h"
#include "views/widgets/pyramid.h"
#include "views/widgets/ticks.h"

enum { HL_PLOT_COLUMNS_MAX = 2048 };

/* value -> dots from the left or from below */
typedef struct hl_plot_map {
    hl_scale scale;
    double origin, factor; /* of its measure */
} hl_plot_map;

typedef struct hl_plot {
    hl_canvas canvas; /* cells beyond HL_PLOT_COLUMNS_MAX columns stay empty */
    hl_plot_map x, y;
    int dots_x, dots_y;                     /* in a cell */
    int w, h;                               /* in dots */
    bool leaves_sets;                       /* lines drawn while set mark no columns below */
    uint64_t low[HL_PLOT_COLUMNS_MAX / 64]; /* columns with a y <= 0 on a log scale */
    uint64_t bad[HL_PLOT_COLUMNS_MAX / 64]; /* columns with a non-finite y */
    uint64_t above[HL_PLOT_COLUMNS_MAX / 64], below[HL_PLOT_COLUMNS_MAX / 64]; /* the range */
} hl_plot;

void hl_plot_begin(hl_plot *p, hl_canvas c, const hl_scale *x, const hl_scale *y);
void hl_plot_line(hl_plot *p, const hl_pyramid *data, hl_style s);
/* Edges through the points of lo and hi, which have the same x; between them a dot of four, where
 * dots are fine enough. */
void hl_plot_band(hl_plot *p, const hl_pyramid *lo, const hl_pyramid *hi, hl_style s);
void hl_plot_end(hl_plot *p);
bool hl_plot_column_has(const uint64_t *set, int column);
/* Nothing but blanks and dashed marks in that part of the canvas. */
bool hl_plot_is_free(const hl_plot *p, int x, int y, int w, int h);

#endif
