/* Range estimators: which range a quantizer should cover, from batches of the tensor it is for.
 * Minimum and maximum of the batch, their moving average, either with percentiles in their place,
 * and the range of least squared error (arXiv 2306.12929; the options of its code).
 *
 * DESIGN. While calibrating, the owner of a tensor calls observe, hl_quantizer_set_range with the
 * result, and applies: a batch is quantized with a range that knows it. Then the range is frozen
 * and the estimator may go. An estimator belongs to one thread; the team works inside observe, and
 * the result does not depend on its size. */
#ifndef HL_QUANT_RANGE_H
#define HL_QUANT_RANGE_H

#include "engine/quant/quantizer.h"
#include "engine/quant/range_gpu.h"

typedef enum hl_range_method {
    HL_RANGE_CURRENT_MINMAX,    /* of the last batch: for weights */
    HL_RANGE_RUNNING_MINMAX,    /* (1 - m) batch + m average: for activations */
    HL_RANGE_MSE_GRID,          /* best of fixed candidates over all batches so far */
    HL_RANGE_MSE_GOLDEN_SECTION /* best for the last batch, by hl_brent_minimum */
} hl_range_method;

typedef struct hl_range_options {
    hl_range_method method;
    hl_quant_options quantizer;
    /* 0: none. Current: the small tail to cut off at both ends, 0 < p < 50. Running: the upper
     * percentile, 50 < p <= 100, ignored per channel. (Sic: opposite conventions.) */
    double percentile;
    double momentum;     /* of running, 0 <= m < 1 */
    int n_candidates;    /* of the grid, for each way in which it may be skewed */
    double range_margin; /* by which the widest candidate exceeds the first batch */
} hl_range_options;

/* No percentile, momentum 0.9, 100 candidates, margin 0.5. */
hl_range_options hl_range_defaults(hl_range_method method, hl_quant_options quantizer);

typedef struct hl_range_estimator hl_range_estimator;

/* Errors: ARG (an option out of range), UNSUPPORTED (current with a percentile per channel), NOMEM.
 */
HL_MUST_CHECK hl_status hl_range_estimator_new(const hl_range_options *o, hl_range_estimator **out);
void hl_range_estimator_free(hl_range_estimator *e);

/* Forgets all batches, but for whether the first one ever had a negative number (MSE). */
void hl_range_estimator_reset(hl_range_estimator *e);

/* Takes a batch x of n_rows along its first axis (the channels, if per channel) by n_cols, all
 * other axes. *out is what to give hl_quantizer_set_range, borrowed until the next call. team may
 * be NULL.
 *
 * Cost: one pass for minima and maxima; four with percentiles. MSE grid: 100 evaluations of the
 * squared error in one dimension; in two (asymmetric and a first batch with negative numbers)
 * 100 * 2^bits / 2, that is 12 800 at 8 bits, a second or two per million numbers and core with
 * AVX-512; and the table takes 8 bytes for each, per channel. Golden section: 20 to 40 evaluations,
 * in two dimensions their square.
 *
 * Errors, which name no tensor and leave the estimator as it was: SHAPE (nothing in x, or not
 * n_channels rows), NUMERIC (a NaN; an infinite end of the range; squares that overflow),
 * UNSUPPORTED (a grid in two dimensions with more than a million candidates), NOMEM. */
HL_MUST_CHECK hl_status hl_range_estimator_observe(hl_range_estimator *e, hl_team *team,
                                                   int64_t n_rows, int64_t n_cols, const float *x,
                                                   hl_quant_range *out);

/* The same for a tensor that belongs to the batch observed last, as the evaluations of one
 * equilibrium solve do: the batch's ends are the outermost of its tensors' (of their percentiles,
 * if there are any), so that neither order nor number of equal tensors matters. Errors: as observe;
 * UNSUPPORTED (MSE, whose search takes a batch as a whole). */
HL_MUST_CHECK hl_status hl_range_estimator_observe_more(hl_range_estimator *e, hl_team *team,
                                                        int64_t n_rows, int64_t n_cols,
                                                        const float *x, hl_quant_range *out);

/* Either, of one channel's numbers in device memory, which is waited for. Errors: DEVICE, too. */
HL_MUST_CHECK hl_status hl_range_estimator_observe_on(hl_range_estimator *e, hl_range_device *on,
                                                      const hl_range_rows *x, bool is_more,
                                                      hl_quant_range *out);

/* All numbers of the last batch were equal (per channel: of some channel with more than one): worth
 * a warning. Ranges of nothing but 0 work, their scale is the least one. */
bool hl_range_estimator_is_constant(const hl_range_estimator *e);

/* What a checkpoint keeps: batches seen, one-sided (-1 not known, 0, 1), lo[C], hi[C], and for MSE
 * the widest reach, highest and lowest threshold and, of a grid, the table of losses. */
size_t hl_range_estimator_state_count(const hl_range_estimator *e);
void hl_range_estimator_get_state(const hl_range_estimator *e, double *state);
/* For an estimator made with the same options. Errors: FORMAT (not such a state; e is as before),
 * NOMEM, UNSUPPORTED. */
HL_MUST_CHECK hl_status hl_range_estimator_set_state(hl_range_estimator *e, size_t n,
                                                     const double *state);

#endif
