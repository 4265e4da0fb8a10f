/* Series made of a run's series: over another quantity than steps, and relative to another run.
 * They follow what they are made of as it grows. Draws nothing, knows no screen. */
#ifndef HL_VIEWS_DERIVED_H
#define HL_VIEWS_DERIVED_H

#include "views/widgets/pyramid.h"

/* When which step was reached: every stride-th new step, and the newest. Between two of them time
 * is taken to pass evenly. */
enum { HL_STEP_CLOCK_KEPT = 1024 };
typedef struct hl_step_clock {
    int64_t step[HL_STEP_CLOCK_KEPT], t_us[HL_STEP_CLOCK_KEPT];
    int64_t n_met, last_step, last_us, stride;
    int n;
} hl_step_clock; /* {0} is empty */

void hl_step_clock_add(hl_step_clock *c, int64_t step, int64_t t_us);
void hl_step_clock_cut(hl_step_clock *c, int64_t from); /* steps >= from come again */
/* Unix microseconds; false: before the first or after the last step it knows. */
bool hl_step_clock_at(const hl_step_clock *c, double step, double *t_us);

typedef enum hl_x_axis {
    HL_X_STEP,
    HL_X_EPOCH,
    HL_X_TOKENS, /* or samples, whatever the run counts */
    HL_X_TIME,   /* seconds since its first step */
    HL_X_CLOCK,  /* unix seconds */
    HL_X_METRIC, /* any series of the run */
    HL_X_COUNT
} hl_x_axis;

/* From steps to such a quantity, for one run. */
typedef struct hl_x_map {
    hl_x_axis kind;
    double steps_per_epoch;     /* EPOCH */
    const hl_step_clock *clock; /* TIME, CLOCK */
    const hl_pyramid *metric;   /* TOKENS, METRIC: over steps; between two points a straight line */
} hl_x_map;
/* false: not known (yet) at that step. */
bool hl_x_map_at(const hl_x_map *m, double step, double *x);

typedef struct hl_derived {
    hl_pyramid *out;
    uint64_t key;
    size_t n_taken; /* points looked at; those without an x have no place in out */
} hl_derived;       /* {0} is none */
void hl_derived_done(hl_derived *d);

/* raw over m: its points in their order, as far as their x are known. The
 * same object from call to call; NULL without memory. Costs what is new, O(n) when m is another. */
const hl_pyramid *hl_derived_over(hl_derived *d, const hl_pyramid *raw, const hl_x_map *m);
/* What is `other` at the x of `mine`, minus or over it: mine - other, or mine / other. Points where
 * other has none are left out. other_id: names it, in case another one gets its place in memory. */
const hl_pyramid *hl_derived_versus(hl_derived *d, const hl_pyramid *mine, const hl_pyramid *other,
                                    uint64_t other_id, bool is_ratio);
/* The value at x, on a straight line between the points around it; false: outside, or not finite.
 */
bool hl_pyramid_between(const hl_pyramid *p, double x, double *y);

#endif
