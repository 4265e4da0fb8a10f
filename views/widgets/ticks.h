/* Scales, axes that grow in jumps, and ticks whose labels have room.
 *
 * Values map to cells so that a picture keeps its cells at every number of dots per cell: of n
 * cells (or dots) over [lo, hi] value v has number floor(t * n), the last one for v = hi. */
#ifndef HL_VIEWS_WIDGETS_TICKS_H
#define HL_VIEWS_WIDGETS_TICKS_H

#include "views/widgets/number.h"

/* Values outside of these count as the nearest one that is not. */
#define HL_SCALE_EDGE      2e307
#define HL_SCALE_LOG_FLOOR 1e-290

typedef enum hl_scale_unit {
    HL_UNIT_NUMBER,
    HL_UNIT_DURATION, /* seconds: "1h30m" */
    HL_UNIT_CLOCK     /* unix seconds, UTC: "14:05", "02-14" */
} hl_scale_unit;

typedef struct hl_scale {
    double lo, hi;      /* finite, lo < hi; log: lo > 0 */
    bool log;           /* decimal */
    double linear;      /* symmetric logarithm: decimal on both sides of [-linear, linear], which is
                           linear and as high as a decade; 0: none. Not with log. */
    hl_scale_unit unit; /* of tick labels */
} hl_scale;

/* Where v lies in the scale's own measure, in which cells are evenly wide: half of v, its decimal
 * logarithm (-infinity for v <= 0), or its symmetric logarithm. v is not NaN. */
double hl_scale_warp(const hl_scale *s, double v);

/* Where v lies: 0 at lo, 1 at hi; -1 and 2 stand for everything further out. v is not NaN; on a log
 * scale v <= 0 is -1. */
double hl_scale_to(const hl_scale *s, double v);
double hl_scale_from(const hl_scale *s, double t);     /* 0 <= t <= 1 */
int hl_scale_cell(const hl_scale *s, double v, int n); /* 0 .. n-1, -1 below, n above; n >= 1 */

/* ---- axes: what a chart remembers between two pictures; {0} at first ---- */

typedef struct hl_axis {
    hl_scale scale;
    bool is_set;
    int n_quiet; /* updates that would have needed less */
    int n_cells; /* it was made for */
} hl_axis;

enum { HL_AXIS_QUIET = 20 };

/* y: [min, max] (min <= max, finite; log: min > 0) gets into the scale, whose ends are multiples of
 * a tick distance that suits n_cells. Grows at once, shrinks when less was needed for
 * HL_AXIS_QUIET updates; `updated` says whether this call is one (new points came). */
void hl_axis_cover_y(hl_axis *a, hl_scale want, int n_cells, bool updated);
/* x: starts at 0 if 0 <= min <= max/2, else at a round number; the right end is the next of 1, 2, 5
 * times a power of ten. Grows only, unless the data starts elsewhere or ends before a quarter. */
void hl_axis_cover_x(hl_axis *a, double min, double max);
/* The same on a log scale, from min_positive on; max > 0. */
void hl_axis_cover_log_x(hl_axis *a, double min_positive, double max);
/* The same in units of time: seconds, minutes, hours, days. A clock does not begin at 0. */
void hl_axis_cover_time(hl_axis *a, double min, double max, bool is_clock);

/* ---- ticks ---- */

enum { HL_TICKS_MAX = 96 };

typedef struct hl_tick {
    double value;
    int at;                    /* cell: column from the left, row from the top */
    int label_at;              /* x: first column of the label; y: its row (= at) */
    char label[HL_NUMBER_MAX]; /* "" for a minor tick */
} hl_tick;

typedef struct hl_ticks {
    int n;
    int label_columns;          /* widest label */
    hl_tick tick[HL_TICKS_MAX]; /* by rising value */
} hl_ticks;

/* Ticks of an axis n_columns wide; labels are centred under their tick, stay inside, and leave at
 * least one column between them. */
void hl_ticks_x(const hl_scale *s, int n_columns, hl_ticks *out);
/* Ticks of an axis n_rows high: at most one per row, labels at least two rows apart where there are
 * rows. */
void hl_ticks_y(const hl_scale *s, int n_rows, hl_ticks *out);

#endif
