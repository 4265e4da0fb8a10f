/* Outlier metrics of watched activations, as the literature defines them (spec: language-models 8.2):
 * per row the infinity norm max |x| and the kurtosis mean((x - mu)^4) / (s^4 + 1e-6) with the sample
 * variance s^2; per activation both averaged over all rows of all batches with equal weight. */
#ifndef HL_PROBE_OUTLIERS_H
#define HL_PROBE_OUTLIERS_H

#include "kernels/hl_kernel.h"

double hl_outlier_kurtosis(const hl_moments *m); /* of one row; constant rows give 0 */
double hl_outlier_inf_norm(const hl_moments *m);

/* Accumulates over rows and batches; {0} is empty. */
typedef struct hl_outliers {
    double n_rows, sum_inf;
    double n_kurtosis, sum_kurtosis;
    bool has_kurtosis; /* set by the caller: later rows do not count for kurtosis */
    hl_moments all; /* of every number seen */
    double bins[HL_MOMENT_BINS];
    bool any;
} hl_outliers;

/* rows: n_rows x 8 doubles as the moments op gives them (ops/moments_op.c); bins may be NULL. */
void hl_outliers_add(hl_outliers *o, const double *rows, int64_t n_rows, const double *bins);
double hl_outliers_inf_norm(const hl_outliers *o); /* average over rows; NAN if none */
double hl_outliers_kurtosis(const hl_outliers *o);

#endif
