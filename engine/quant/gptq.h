/* GPTQ (Frantar et al. 2022, arXiv 2210.17323, algorithm 1): weights rounded column by column, what
 * a column's rounding does to the layer's output made up for in the columns that follow.
 *
 *   H = X^T X + damping mean(diag) I,  H^-1 = U^T U (U upper triangular)
 *   e = (w_j - Q(w_j)) / U_jj,  w_c -= e U_jc for c > j
 *
 * H's factor 2 cancels. Columns in their own order, in blocks of about 128; a group's grid is that
 * of its weights as they are when its first column is reached. A column without inputs has an H of
 * its own and is simply rounded. */
#ifndef HL_QUANT_GPTQ_H
#define HL_QUANT_GPTQ_H

#include "engine/quant/groupwise.h"

typedef struct hl_layer_inputs {
    int64_t n, k;
    const float *w;    /* [n,k] */
    const float *gram; /* [k,k]: X^T X over the calibration's tokens */
    const double *sum; /* [k]: of |X|, any unit */
} hl_layer_inputs;

/* y [n,k], not w. Errors: ARG, NOMEM, NUMERIC (gram or w not finite; H not positive definite: more
 * damping). Cost: 2/3 k^3 + 2 n k^2 flops in double, 16 k^2 bytes. */
HL_MUST_CHECK hl_status hl_gptq(hl_team *team, const hl_group_options *o, double damping,
                                const hl_layer_inputs *in, float *y);

#endif
