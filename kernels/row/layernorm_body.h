/* Layer normalisation of one row (arXiv 1607.06450): y = (x - mean) * rstd * gamma + beta, rstd =
 * 1 / sqrt(biased variance + eps). */
#ifndef HL_LAYERNORM_BODY_H
#define HL_LAYERNORM_BODY_H

#include "kernels/row/row_body.h"

typedef struct hl_layernorm {
    int64_t n; /* of a row */
    const float *gamma, *beta;
    float eps;
} hl_layernorm;

HL_HD void hl_layernorm_row(const hl_layernorm *l, const float *x, float *y, float *mean_out,
                            float *rstd_out)
{
    const int64_t n = l->n;
    const float *gamma = l->gamma, *beta = l->beta;
    float sum, squares;
    HL_ROW_SUM(sum, j, n, x[j]);
    const float mean = sum / (float)n;
    HL_ROW_SUM(squares, j, n, (x[j] - mean) * (x[j] - mean));
    const float rstd = 1.0f / sqrtf(squares / (float)n + l->eps);
    HL_ROW_EACH(j, n, y[j] = (x[j] - mean) * rstd * gamma[j] + beta[j]);
    *mean_out = mean;
    *rstd_out = rstd;
}

typedef struct hl_layernorm_grad {
    int64_t n;
    const float *gamma;
    float *ggamma, *gbeta; /* added to (on a GPU: the lanes' own copies) */
} hl_layernorm_grad;

/* gx of one row, whose cotangent is g. */
HL_HD void hl_layernorm_row_vjp(const hl_layernorm_grad *l, const float *g, const float *x,
                                float mean, float rstd, float *gx)
{
    const int64_t n = l->n;
    const float *gamma = l->gamma;
    float *ggamma = l->ggamma, *gbeta = l->gbeta;
    float sum, dot;
    HL_ROW_SUM(sum, j, n, g[j] * gamma[j]);
    HL_ROW_SUM(dot, j, n, g[j] * gamma[j] * ((x[j] - mean) * rstd));
    const float c1 = sum / (float)n, c2 = dot / (float)n;
    HL_ROW_EACH(j, n, const float xhat = (x[j] - mean) * rstd; const float gj = g[j];
                ggamma[j] += gj * xhat; gbeta[j] += gj;
                gx[j] = rstd * (gj * gamma[j] - c1 - xhat * c2));
}

#endif
