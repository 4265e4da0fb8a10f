/* Attention normalisers on one row in double, by sorting: the reference of kernels/row/
 * normalise_body.h, written from spec/attention.md section 2 alone. */
#ifndef HL_OPS_NORMALISE_REF_H
#define HL_OPS_NORMALISE_REF_H

#include "kernels/hl_kernel.h"

/* y and stat[2] (as in normalise_body.h) of n scores; false if memory ran out. */
bool hl_ref_normalise(hl_normaliser f, int64_t n, const double *x, double *y, double *stat);
/* gx from scores and cotangent g */
bool hl_ref_normalise_vjp(hl_normaliser f, int64_t n, const double *x, const double *g, double *gx);

#endif
