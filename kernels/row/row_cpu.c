/* Row kernels on one worker: the bodies over contiguous rows. */
#include "kernels/row/cross_entropy_body.h"
#include "kernels/row/layernorm_body.h"
#include "kernels/row/normalise_body.h"
#include "kernels/update/adamw_body.h"
#include "kernels/update/madam_body.h"
#include "kernels/vec/hl_isa.h"

void HL_K(normalise_row)(hl_normaliser norm, int64_t n, const float *x, float *y, float *stat)
{
    hl_normalise_row(norm, n, x, y, stat);
}

void HL_K(normalise_row_vjp)(hl_normaliser norm, int64_t n, const float *x, const float *stat,
                             const float *g, float *gx, double *galpha)
{
    if (norm.base == HL_NORM_ENTMAX) {
        const hl_entmax_row row = {n, x, stat};
        hl_normalise_entmax_slope(norm, &row, g, gx, galpha);
        return;
    }
    /* In pieces that fit the stack: only the weights need a row of their own, and the slope needs
     * the whole row at once, so gx doubles as that row when g is elsewhere. */
    enum { PIECE = 1024 };
    float piece[PIECE];
    if (n <= PIECE) {
        HL_ROW_EACH(j, n, piece[j] = hl_normaliser_weight(norm.base, x[j], stat[0], stat[1]));
        hl_normalise_row_slope(norm, n, piece, g, gx);
        return;
    }
    float dot = 0.0f, total = norm.base == HL_NORM_SOFTMAX || norm.base == HL_NORM_SOFTMAX1;
    const bool clips = hl_normaliser_clips(norm), sparse = norm.base == HL_NORM_SPARSEMAX;
    for (int64_t j = 0; j < n; j++) {
        const float p = hl_normaliser_weight(norm.base, x[j], stat[0], stat[1]);
        const float gj =
            clips ? hl_clip_slope(norm, norm.base == HL_NORM_ENTMAX15 ? p * p : p, g[j]) : g[j];
        const float w = sparse ? (p > 0.0f ? 1.0f : 0.0f) : p;
        dot += w * gj;
        total += norm.base == HL_NORM_ENTMAX15 || sparse ? w : 0.0f;
        gx[j] = gj;
    }
    const float mean = total == 0.0f ? 0.0f : dot / total;
    for (int64_t j = 0; j < n; j++) {
        const float p = hl_normaliser_weight(norm.base, x[j], stat[0], stat[1]);
        gx[j] = (sparse ? (p > 0.0f ? 1.0f : 0.0f) : p) * (gx[j] - mean);
    }
}

void HL_K(layernorm)(int64_t n_rows, int64_t n, const float *x, const float *gamma,
                     const float *beta, float eps, float *y, float *mean, float *rstd)
{
    const hl_layernorm l = {.n = n, .gamma = gamma, .beta = beta, .eps = eps};
    for (int64_t r = 0; r < n_rows; r++) {
        float m, s;
        hl_layernorm_row(&l, x + r * n, y + r * n, &m, &s);
        if (mean) {
            mean[r] = m;
            rstd[r] = s;
        }
    }
}

void HL_K(layernorm_vjp)(int64_t n_rows, int64_t n, const float *g, const float *x,
                         const float *gamma, const float *mean, const float *rstd, float *gx,
                         float *ggamma, float *gbeta)
{
    const hl_layernorm_grad l = {.n = n, .gamma = gamma, .ggamma = ggamma, .gbeta = gbeta};
    for (int64_t r = 0; r < n_rows; r++)
        hl_layernorm_row_vjp(&l, g + r * n, x + r * n, mean[r], rstd[r], gx + r * n);
}

void HL_K(residual_norm)(int64_t n_rows, int64_t n, const float *a, const float *x,
                         const float *gamma, const float *beta, float eps, float p,
                         hl_philox_key key, uint64_t element0, float *sum, float *y, float *mean,
                         float *rstd)
{
    const hl_layernorm l = {.n = n, .gamma = gamma, .beta = beta, .eps = eps};
    for (int64_t r = 0; r < n_rows; r++) {
        const float *ar = a + r * n, *xr = x + r * n;
        float *sr = sum + r * n;
        if (p > 0.0f) {
            HL_K(dropout)(n, p, key, element0 + (uint64_t)(r * n), ar, sr);
            ar = sr;
        }
        HL_ROW_EACH(j, n, sr[j] = ar[j] + xr[j]);
        hl_layernorm_row(&l, sr, y + r * n, mean + r, rstd + r);
    }
}

void HL_K(cross_entropy_row)(int64_t n, float *logits, int64_t label, float slope, float *loss)
{
    *loss = hl_cross_entropy_row_body(n, logits, label, slope);
}

void HL_K(adamw)(int64_t n, hl_adamw_coefs k, float *p, const float *g, float *m, float *v)
{
    for (int64_t i = 0; i < n; i++)
        hl_adamw_element(k, p + i, g[i], m + i, v + i);
}

void HL_K(madam)(int64_t n, hl_madam_coefs k, float *p, const float *g, float *v)
{
    for (int64_t i = 0; i < n; i++)
        hl_madam_element(k, p + i, g[i], v + i);
}
