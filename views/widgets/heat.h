/* Heat strip: rows (layers, heads, sites) by time, shade = log10 of a statistic. Each cell is the
 * maximum of what was written in its time; a cell between two points not much further apart than
 * usual repeats the earlier one. Blank: nothing known; '!': not finite. */
#ifndef HL_VIEWS_WIDGETS_HEAT_H
#define HL_VIEWS_WIDGETS_HEAT_H

#include "views/cell.h"
#include "views/widgets/pyramid.h"
#include "views/widgets/ticks.h"

typedef struct hl_heat_row {
    const char *label;
    const hl_pyramid *data; /* borrowed; NULL: nothing known */
} hl_heat_row;

typedef struct hl_heat {
    const hl_heat_row *row;
    int n_rows;
    int row_first;  /* scrolled: the uppermost row shown */
    int cursor_row; /* -1: none */
    bool has_cursor_x;
    double cursor_x;
    bool linear;   /* shade = the value itself */
    bool fixed;    /* range given; else that of all data */
    double lo, hi; /* of the statistic, not its logarithm; lo < hi, lo > 0 unless linear */

    /* kept by hl_heat_draw */
    hl_axis x;
    hl_rect strip; /* where the cells are, in the canvas */
} hl_heat;

void hl_heat_draw(hl_canvas c, hl_heat *h);
/* One cell in the shade t, 0 to 1; marks: of cell.h. */
void hl_heat_put_shade(hl_canvas c, int x, int y, double t, int marks);

/* The range hl_heat_draw takes when none is fixed; false without a usable value. */
bool hl_heat_range(const hl_heat *h, double *lo, double *hi);
/* What lies from x to x_end, or the cell before (*b as the last call left it; n 0 at first) while
 * points are not much further apart than usual. false: nothing is known. */
bool hl_heat_cell(const hl_pyramid *data, double x, double x_end, hl_bucket *b);
/* Of the last picture: x in the middle of a column of the canvas; NaN outside of the strip. */
double hl_heat_x_at(const hl_heat *h, int column);

#endif
