/* How fast fixed-point solves converge, over a whole test set: statistics of the relative residuals
 *   r_t = |s_{t+1} - s_t| / |s_{t+1}|,   t = 0 ... T-1  (T: residuals of a solve, f-calls - 1)
 * of every sample, gathered batch by batch; no sample is kept. (Figures 3 and 4 of the even-odd
 * Hopfield DEQ paper, and its columns "did not converge" and "time to convergence".)
 *
 * Two ways of counting stand beside each other:
 *   literal  as the published numbers were made: the first index t with r_t below the tolerance; 0
 *            or none counts as not converged and as T, so a sample that has converged before its
 *            first residual counts as one that never does
 *   honest   the first iteration (1 ... T) below the tolerance, averaged over the samples that have
 *            one; the others are counted apart */
#ifndef HL_PROBE_TRAJECTORY_H
#define HL_PROBE_TRAJECTORY_H

#include "engine/base/json.h"

enum { HL_TRAJECTORY_BINS = 400, HL_TRAJECTORY_TOLERANCES = 13, HL_TRAJECTORY_T_MAX = 100000 };

typedef struct hl_trajectory hl_trajectory;

/* T residuals per solve, 1 to HL_TRAJECTORY_T_MAX; damping in [0, 1) turns iterations into
 * forward-Euler time: mean index * (1 - damping). Errors: ARG, NOMEM. */
HL_MUST_CHECK hl_status hl_trajectory_new(int64_t n_iterations, double damping,
                                          hl_trajectory **out);
void hl_trajectory_free(hl_trajectory *t); /* NULL is fine */

/* One batch: r is (T, B) row-major, of which the first n_real columns count. NaN: the solve of that
 * sample had stopped; the value before it holds on. A column without any value is counted among the
 * samples and in no histogram. Errors: ARG. Cost: one log10 per value. */
HL_MUST_CHECK hl_status hl_trajectory_add(hl_trajectory *t, const float *r, int64_t B,
                                          int64_t n_real);

int64_t hl_trajectory_iterations(const hl_trajectory *t);
int64_t hl_trajectory_samples(const hl_trajectory *t);
double hl_trajectory_damping(const hl_trajectory *t);

/* Samples per bin of log10 r at one iteration: HL_TRAJECTORY_BINS equal bins on [-8, 0], the upper
 * edge in the last; what lies outside is in none. Borrowed. */
const int64_t *hl_trajectory_bins(const hl_trajectory *t, int64_t iteration);

/* Tolerance i as log10: -8, -7.5, ..., -2. */
double hl_trajectory_tolerance(int i);
/* The one that "did not converge" and "time to convergence" mean: 1e-4. */
int hl_trajectory_threshold(void);

typedef struct hl_trajectory_count {
    double mean_index;       /* literal, over all samples; NAN without samples */
    double mean_iteration;   /* honest, over those that got there; NAN if none did */
    int64_t n_not_literal;   /* samples that did not converge, with index 0 among them */
    int64_t n_not_converged; /* samples that did not converge */
} hl_trajectory_count;
hl_trajectory_count hl_trajectory_at(const hl_trajectory *t, int tolerance);

/* One JSON object (docs/run-format.md, trajectory.json), and back. FORMAT: it is none of ours. */
HL_MUST_CHECK hl_status hl_trajectory_to_json(const hl_trajectory *t, hl_str *out);
HL_MUST_CHECK hl_status hl_trajectory_from_json(const hl_json *v, hl_trajectory **out);

/* Per iteration the median, 10th and 90th percentile of one batch (T, B), as curves show them: T
 * floats each, NAN where no column has a value. NaN in r holds on as above; between two order
 * statistics the percentile is interpolated. Errors: NOMEM. */
typedef struct hl_trajectory_curves {
    float *median, *p10, *p90;
} hl_trajectory_curves;
HL_MUST_CHECK hl_status hl_trajectory_quantiles(const float *r, int64_t T, int64_t B,
                                                int64_t n_real, hl_trajectory_curves out);

#endif
