/* Series made of a run's series: over another quantity than steps, and relative to another run.
 * They follow what they are made of as it grows. Draws nothing, knows no screen. */
#ifndef HL_VIEWS_DERIVED_H
#define HL_VIEWS_DERIVED_H

#include "app/hl_app.h"
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

/* Which step is 0 of another axis: the first one at which a series is below a value, or above. */
typedef struct hl_crossing {
    char tag[64]; /* "": none is */
    double value;
    bool above;
} hl_crossing;
/* "train/loss<3", "eval/accuracy>.9"; "off". ARG: it is neither. */
HL_MUST_CHECK hl_status hl_crossing_parse(const char *text, hl_crossing *out);
enum { HL_CROSSING_TEXT = 96 };
const char *hl_crossing_text(const hl_crossing *c, char buf[HL_CROSSING_TEXT]);
/* The step; false: p (NULL too) never gets there. */
bool hl_crossing_step(const hl_crossing *c, const hl_pyramid *p, double *step);

typedef enum hl_x_axis {
    HL_X_STEP,
    HL_X_EPOCH,
    HL_X_TOKENS,  /* or samples, whatever the run counts */
    HL_X_TIME,    /* seconds since its first step */
    HL_X_CLOCK,   /* unix seconds */
    HL_X_UPDATES, /* of the parameters: steps without those whose update was left out */
    HL_X_METRIC,  /* any series of the run */
    HL_X_COUNT
} hl_x_axis;

/* From steps to such a quantity, for one run. */
typedef struct hl_x_map {
    hl_x_axis kind;
    double steps_per_epoch;     /* EPOCH */
    const hl_step_clock *clock; /* TIME, CLOCK */
    const hl_pyramid *metric;   /* TOKENS, METRIC: over steps; between two points a straight line */
    const hl_pyramid *skipped;  /* UPDATES: left out so far, over steps; NULL: none was */
    double origin;              /* what counts as 0: subtracted; NaN: nothing is known */
} hl_x_map;
/* x counts from that step on. */
void hl_x_map_from(hl_x_map *m, double step);
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
typedef enum hl_relation {
    HL_RELATION_NONE,
    HL_RELATION_DIFFERENCE, /* mine - other */
    HL_RELATION_RATIO,      /* mine / other */
    HL_RELATIONS
} hl_relation;
/* How `mine` stands to what is `other` at its x (between points of it linearly). Points where other
 * has none are left out; those beyond its end are waited for. other_id: names it, in case another
 * one gets its place in memory. New points cost O(log n) each. */
const hl_pyramid *hl_derived_versus(hl_derived *d, const hl_pyramid *mine, const hl_pyramid *other,
                                    uint64_t other_id, hl_relation relation);
/* Adds to `out` the points that are not in it yet: at the steps of the first series, as far as all
 * of them are known there; others on a straight line between their points. false: no memory. */
bool hl_formula_follow(const hl_formula *f, const hl_pyramid *const *series, size_t *n_taken,
                       hl_pyramid *out);

/* The value at x, on a straight line between the points around it; false: outside, or not finite.
 */
bool hl_pyramid_between(const hl_pyramid *p, double x, double *y);

#endif
