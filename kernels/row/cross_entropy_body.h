/* Cross entropy of one row of logits against a class, natural logarithm: lse(x) - x[label]. */
#ifndef HL_CROSS_ENTROPY_BODY_H
#define HL_CROSS_ENTROPY_BODY_H

#include "kernels/row/row_body.h"

/* With slope != 0 the logits become slope * (softmax(x) - onehot(label)), the gradient. */
HL_HD float hl_cross_entropy_row_body(int64_t n, float *x, int64_t label, float slope)
{
    float m, sum;
    HL_ROW_MAX(m, -INFINITY, j, n, x[j]);
    HL_ROW_SUM(sum, j, n, hl_exp(x[j] - m));
    const float loss = logf(sum) + (m - x[label]);
    if (slope != 0.0f) {
        const float scale = slope / sum;
        HL_ROW_EACH(j, n, x[j] = hl_exp(x[j] - m) * scale - (j == label ? slope : 0.0f));
    }
    return loss;
}

#endif
