/* Percentiles of float data without sorting it. */
#ifndef HL_QUANT_PERCENTILE_H
#define HL_QUANT_PERCENTILE_H

#include "kernels/hl_types.h"

#define HL_PERCENTILE_COUNTS (2 * 65536) /* numbers of scratch */

/* out[k] = percentile p[k] of n > 0 numbers without NaN, interpolated as numpy's "linear": between
 * order statistics a, b at (n - 1) p / 100, their difference rounded to float, all else double.
 * Exact: the order statistics are found by counting the two halves of the floats' bits. About three
 * passes over x. counts: HL_PERCENTILE_COUNTS of scratch. */
void hl_percentiles(int64_t n, const float *x, const double p[2], int64_t *counts, double out[2]);

#endif
