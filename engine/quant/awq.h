/* AWQ (Lin et al. 2023, arXiv 2306.00978, section 3.2): before weights are rounded, the columns
 * that meet large activations are made larger, and smaller again behind it,
 *
 *   W_q = Q(W diag(s)) diag(s)^-1,  s_j = (mean_t |X_tj|)^alpha,
 *
 * alpha of the grid 0, 1/20 .. 1 that has the least ||X (W - W_q)^T||^2, found from X^T X. The
 * means are taken over their average, at least 1e-4, s over sqrt(max s min s); weights are not
 * clipped. */
#ifndef HL_QUANT_AWQ_H
#define HL_QUANT_AWQ_H

#include "engine/quant/gptq.h"

enum { HL_AWQ_STEPS = 20 };

/* y [n,k], not w. *alpha: the one found; its error, and round-to-nearest's (alpha 0), as sums of
 * squares over the calibration's tokens into errors[2]. Errors: ARG, NOMEM, NUMERIC (w or gram not
 * finite). Cost: 21 products [n,k] [k,k]. */
HL_MUST_CHECK hl_status hl_awq(hl_team *team, const hl_group_options *o, const hl_layer_inputs *in,
                               float *y, double *alpha, double errors[2]);

/* ||X D^T||^2 = sum of (D G) D where D = w - y. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_output_error(hl_team *team, const hl_layer_inputs *in, const float *y,
                                        double *error);

#endif
