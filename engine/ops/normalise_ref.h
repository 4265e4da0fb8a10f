/* Attention normalisers on one row in double, by sorting or halving: the reference of kernels/row/
 * normalise_body.h, written from spec/attention.md section 2 and
 * spec/stanhop.md section 5.1 alone. */
#ifndef HL_OPS_NORMALISE_REF_H
#define HL_OPS_NORMALISE_REF_H

#include "kernels/hl_kernel.h"

/* y and stat[2] (as in normalise_body.h) of n scores; false if memory ran out. */
bool hl_ref_normalise(hl_normaliser f, int64_t n, const double *x, double *y, double *stat);
/* gx from scores and cotangent g; ENTMAX adds dL/dalpha to *galpha */
bool hl_ref_normalise_vjp(hl_normaliser f, int64_t n, const double *x, const double *g, double *gx,
                          double *galpha);

#endif
