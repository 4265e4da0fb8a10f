/* SmoothQuant (Xiao et al. 2022, arXiv 2211.10438, eq. 4): channels of activations with outliers
 * are made smaller, the columns of the weights that meet them larger,
 *
 *   X W^T = (X diag(s)^-1) (W diag(s))^T,  s_j = max|X_j|^alpha / max|W_j|^(1 - alpha),
 *
 * where X comes out of a layer normalisation, whose gain and bias take up 1/s. */
#ifndef HL_QUANT_SMOOTH_H
#define HL_QUANT_SMOOTH_H

#include <stdint.h>

/* s [k] from the largest |x| and |w| of each column, w over all layers that share X; maxima and s
 * are at least 1e-5. */
void hl_smooth_scales(double alpha, int64_t k, const double *x_max, const double *w_max, float *s);

#endif
