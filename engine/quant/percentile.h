/* Percentiles of float data without sorting it. */
#ifndef HL_QUANT_PERCENTILE_H
#define HL_QUANT_PERCENTILE_H

#include "engine/base/err.h"

#define HL_PERCENTILE_COUNTS (2 * 65536) /* numbers of scratch */

/* out[k] = percentile p[k] of n > 0 numbers without NaN, interpolated as numpy's "linear": between
 * order statistics a, b at (n - 1) p / 100, their difference rounded to float, all else double.
 * Exact: the order statistics are found by counting the two halves of the floats' bits. About three
 * passes over x. counts: HL_PERCENTILE_COUNTS of scratch. */
void hl_percentiles(int64_t n, const float *x, const double p[2], int64_t *counts, double out[2]);

/* The same of numbers that somebody else counts: into counts[65536] how many have each upper half of
 * their key (hl_float_key), or, under one upper half, each lower half. Errors: those of count. */
typedef hl_status (*hl_key_count_fn)(void *arg, int64_t upper, int64_t *counts);
HL_MUST_CHECK hl_status hl_percentiles_of(int64_t n, hl_key_count_fn count, void *arg,
                                          const double p[2], int64_t *counts, double out[2]);

#endif
