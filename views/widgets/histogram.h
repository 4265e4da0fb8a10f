/* A stored histogram (hl_hist: 64 bins, symmetric in log |x|) with logarithmic counts: one bin one
 * column, or several columns, or merged where the canvas is narrow. Empty bins stay empty, a single
 * count is visible. Dashed: +-6 standard deviations; arrows on the axis: the exact minimum and
 * maximum; solid lines: clip limits; ticks: the quantizer's levels, as far as columns tell them
 * apart. */
#ifndef HL_VIEWS_WIDGETS_HISTOGRAM_H
#define HL_VIEWS_WIDGETS_HISTOGRAM_H

#include "app/hl_app.h"
#include "views/cell.h"

typedef struct hl_histogram {
    const hl_hist *data; /* borrowed; NULL: nothing yet */
    const hl_hist *over; /* a second one as an outline; NULL: none */
    uint8_t role, over_role;
    bool has_clip; /* a quantizer's limits are drawn in */
    double clip_lo, clip_hi;
    bool linear; /* x is |x| itself, bins spread over the columns that they cover */
    double step; /* > 0: of the quantizer; levels of its grid are marked on the axis */
} hl_histogram;

void hl_histogram_draw(hl_canvas c, const hl_histogram *h);

/* "n 25.2M  min -14.3  max 13.5  sd 1.02  nan 3" */
enum { HL_HISTOGRAM_NOTES_MAX = 96 };
const char *hl_histogram_notes(const hl_hist *h, char buf[HL_HISTOGRAM_NOTES_MAX]);

/* Where v lies among the bins: 0 .. HL_HIST_BINS, the middle is 0, log2 |v| linear beyond the two
 * bins there. */
double hl_histogram_place(double v);
/* How many numbers lie from `from` to `to`, spread evenly in their bins; the outer bins end with
 * the outermost values. */
double hl_histogram_between(const hl_hist *h, double from, double to);
double hl_histogram_deviation(const hl_hist *h, double *mean);

#endif
