/* Recorded solves of an equilibrium layer: matrices {evaluations, batch} of relative residuals
 * ||g_k - g_(k-1)|| / ||g_k||, as deq.metrics logs them (curve train|eval/deq/movement). NaN: the
 * sample had stopped before that evaluation. Statistics of one, and a bounded store of those of a
 * run. Draws nothing, knows no screen.
 *
 * DESIGN. Quantiles are of nearest rank: the value of a sample, never between two. A sample that
 * has stopped keeps its state, so it keeps its last residual in the rows behind. The solver stops a
 * sample by the residual of its step, which is not recorded, so one may stop before its movement is
 * below the tolerance; see hl_residual_evaluations. */
#ifndef HL_VIEWS_SOLVES_H
#define HL_VIEWS_SOLVES_H

#include "app/hl_app.h"
#include "engine/base/vec.h"

/* ---- statistics of a matrix ---- */

typedef enum hl_quantile {
    HL_QUANTILE_MIN,
    HL_QUANTILE_LOW, /* 10 % */
    HL_QUANTILE_MEDIAN,
    HL_QUANTILE_HIGH, /* 90 % */
    HL_QUANTILE_MAX,
    HL_QUANTILES
} hl_quantile;

/* out[q * rows + k]: quantile q over the samples after evaluation k + 1; NaN while no sample has a
 * value. *n_made: rows up to the last one in which any sample was evaluated. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_residual_quantiles(const hl_curve *c, float *out, size_t *n_made);

/* Evaluations that a sample needed: 1 + the first row below tol. One that stopped before the last
 * row without that needed all it made, unless it was still moving by a tenth of its size or more:
 * then it diverged (the solver gives up where a residual has grown a million times; at less than a
 * tenth each time that takes 130 evaluations). 0: not converged. */
size_t hl_residual_evaluations(const hl_curve *c, size_t sample, double tol);

typedef struct hl_evaluations {
    size_t n_samples, n_not; /* of these not converged */
    size_t median, p90, max; /* not converged counts as all rows; 0 without samples */
} hl_evaluations;

/* count[k]: samples that needed k evaluations, count[0]: not converged; room for rows + 1. */
void hl_residual_count(const hl_curve *c, double tol, size_t *count, hl_evaluations *out);

/* ---- what a run's configuration says ---- */

#define HL_TOLERANCE_USUAL 1e-4 /* of deq.metrics */

/* Which solve of a layer, and which of its residuals. */
typedef struct hl_solve_kind {
    bool backward, absolute;
} hl_solve_kind;
/* model.forward.tol (or .backward), that of the first layer in the model that has one, or
 * model.tol; where there is none, or 0 (never stop), or it is one of the other residuals: the usual
 * one, and *known is false. A knob deq.tol is what counts now. config and knobs may be NULL. */
double hl_solves_tolerance(const hl_json *config, const hl_json *knobs, hl_solve_kind kind,
                           bool *known);
/* What ends a solve, by configuration and knobs: "anderson(5), tol 1e-04 rel, at most 40"; "" if
 * nothing is said of it. */
enum { HL_SOLVES_RULE_MAX = 120 };
const char *hl_solves_rule(const hl_json *config, const hl_json *knobs,
                           char buf[HL_SOLVES_RULE_MAX]);
/* Found the same way, a knob deq.damping first; 0 where there is none. */
double hl_solves_damping(const hl_json *config, const hl_json *knobs);

/* ---- the solves of a run ---- */

enum {
    HL_SOLVES_KEPT = 64,       /* newest matrices, fewer if they take more than HL_SOLVES_BYTES */
    HL_SOLVE_MEDIANS = 128,    /* batches over the whole run of which the medians are kept, */
    HL_SOLVE_MEDIAN_ROWS = 256 /* in so many rows at most */
};
#define HL_SOLVES_BYTES ((size_t)16 << 20)

typedef struct hl_solved {
    int64_t step;
    hl_curve curve;  /* v is owned */
    float *quantile; /* hl_residual_quantiles of it */
    size_t n_made;
    double tol; /* of the last hl_solved_count */
    size_t *count;
    hl_evaluations evaluations;
} hl_solved;

/* hl_residual_count, made once for a tolerance; NULL without memory. */
const size_t *hl_solved_count(hl_solved *x, double tol);

/* The median after evaluation i * each + 1 .. (i + 1) * each, the largest of them. */
typedef struct hl_solve_medians {
    int64_t step;
    float *v;
    size_t n, each;
} hl_solve_medians;

/* When there are more medians than are kept, every second one goes and from then on only every
 * second one is kept, so they stay spread over the run. The newest is always there. */
typedef struct hl_solves {
    HL_VEC(hl_solved) kept;           /* oldest first */
    HL_VEC(hl_solve_medians) medians; /* the same */
    int64_t n_met;                    /* ever */
    int stride;
} hl_solves; /* {0} is empty */

/* "train/deq/movement", "train/NAME/deq/state", "outliers/PLACE/channels", "attention/PLACE": a
 * curve of docs/run-format.md that is kept. */
bool hl_solves_is_tag(const char *tag);
/* Takes v over, rows x cols floats. NOMEM: it is lost, the others stay. */
HL_MUST_CHECK hl_status hl_solves_add(hl_solves *s, int64_t step, float *v, size_t rows,
                                      size_t cols);
void hl_solves_cut(hl_solves *s, int64_t from); /* those of steps >= from go */
void hl_solves_done(hl_solves *s);
/* Place in `kept` of the newest one with a step <= step, else the oldest; step < 0: the newest.
 * -1: there is none. */
int hl_solves_find(const hl_solves *s, int64_t step);

#endif
