/* Layer normalisation of one row (arXiv 1607.06450): y = (x - mean) * rstd * gamma + beta, rstd =
 * 1 / sqrt(biased variance + eps). */
#ifndef HL_LAYERNORM_BODY_H
#define HL_LAYERNORM_BODY_H

#include "kernels/row/row_body.h"

HL_HD void hl_layernorm_row(int64_t n, const float *x, const float *gamma, const float *beta,
                            float eps, float *y, float *mean_out, float *rstd_out)
{
    float sum, squares;
    HL_ROW_SUM(sum, j, n, x[j]);
    const float mean = sum / (float)n;
    HL_ROW_SUM(squares, j, n, (x[j] - mean) * (x[j] - mean));
    const float rstd = 1.0f / sqrtf(squares / (float)n + eps);
    HL_ROW_EACH(j, n, y[j] = (x[j] - mean) * rstd * gamma[j] + beta[j]);
    *mean_out = mean;
    *rstd_out = rstd;
}

/* gx of one row; adds its part to ggamma and gbeta (on a GPU: to the lanes' own copies). */
HL_HD void hl_layernorm_row_vjp(int64_t n, const float *g, const float *x, const float *gamma,
                                float mean, float rstd, float *gx, float *ggamma, float *gbeta)
{
    float sum, dot;
    HL_ROW_SUM(sum, j, n, g[j] * gamma[j]);
    HL_ROW_SUM(dot, j, n, g[j] * gamma[j] * ((x[j] - mean) * rstd));
    const float c1 = sum / (float)n, c2 = dot / (float)n;
    HL_ROW_EACH(j, n, const float xhat = (x[j] - mean) * rstd; const float gj = g[j];
                ggamma[j] += gj * xhat; gbeta[j] += gj;
                gx[j] = rstd * (gj * gamma[j] - c1 - xhat * c2));
}

#endif
