/* The frame of counts as bars (bins.h, tally.h): an axis of counts on the left, a line and labels
 * below. Narrow canvases lose the counts, low ones the line, then the labels. */
#ifndef HL_VIEWS_WIDGETS_COUNTS_H
#define HL_VIEWS_WIDGETS_COUNTS_H

#include "views/cell.h"
#include "views/widgets/ticks.h"

typedef struct hl_counts {
    hl_canvas all, plot;
    int axis_column, line_row, label_row; /* of `all`; -1: none */
    double top;                           /* count at full height, >= 1; of the caller */
} hl_counts;

/* Blanks the canvas and divides its rows; the plot is as wide as all of it. */
void hl_counts_begin(hl_counts *f, hl_canvas c);
/* Takes columns for the labels of 0 .. top from the plot; true: it did, the bars fit anew. */
bool hl_counts_make_axis(hl_counts *f);
/* A bar of so many columns of the plot; a count above 0 is always visible. */
void hl_counts_put_bar(const hl_counts *f, int x, int columns, double count, int role);
void hl_counts_put_axis(const hl_counts *f);
/* The axis below columns x .. x + columns - 1 of the plot. */
void hl_counts_put_line(const hl_counts *f, int x, int columns);
/* Ticks and labels of a scale over the first columns; whole: of whole numbers alone. */
void hl_counts_put_ticks(const hl_counts *f, const hl_scale *s, int columns, bool whole);

#endif
