/* entmax of any alpha in (1, HL_ENTMAX_MAX] on one row of scores, and back (arXiv 1905.05702, eq.
 * 2; spec: stanhop, section 5.1). With b = alpha - 1 and r = x - max - c the weights are y = (1 + b
 * r)+^(1/b),  c such that they sum to 1: the usual threshold is tau = b (max + c) - 1. Written so,
 * nothing cancels as alpha goes to 1, where r becomes log y and this becomes softmax. Another alpha
 * makes the whole row NaN. */
#ifndef HL_ENTMAX_BODY_H
#define HL_ENTMAX_BODY_H

#include "kernels/hl_kernel.h"
#include "kernels/row/row_body.h"

typedef struct hl_entmax {
    float b, per_b; /* alpha - 1 and its reciprocal */
} hl_entmax;

HL_HD hl_entmax hl_entmax_of(hl_normaliser f)
{
    const double b = f.alpha > 1 && f.alpha <= HL_ENTMAX_MAX ? f.alpha - 1 : (double)NAN;
    hl_entmax e;
    e.b = (float)b;
    e.per_b = (float)(1 / b);
    return e;
}

/* y at r <= 0; exactly 0 off the support */
HL_HD float hl_entmax_weight(hl_entmax e, float r)
{
    const float w = e.b * r, y = hl_exp(hl_log1p_below(w) * e.per_b);
    return w <= -1.0f ? 0.0f : y;
}

/* dy/dr = y^(2 - alpha) */
HL_HD float hl_entmax_slope(hl_entmax e, float r)
{
    const float w = e.b * r, y = hl_exp(hl_log1p_below(w) * e.per_b) / (1.0f + w);
    return w <= -1.0f ? 0.0f : y;
}

/* dy/db at fixed r: y (w / (1 + w) - log(1 + w)) / b^2 with w = b r, a series where that cancels.
 */
HL_HD float hl_entmax_slope_b(hl_entmax e, float r)
{
    const float w = e.b * r, l = hl_log1p_below(w), y = hl_exp(l * e.per_b);
    float p = 8.0f / 9.0f;
    p = p * w - 7.0f / 8.0f;
    p = p * w + 6.0f / 7.0f;
    p = p * w - 5.0f / 6.0f;
    p = p * w + 4.0f / 5.0f;
    p = p * w - 3.0f / 4.0f;
    p = p * w + 2.0f / 3.0f;
    p = p * w - 1.0f / 2.0f;
    const float near = y * r * r * p, far = y * (w / (1.0f + w) - l) * (e.per_b * e.per_b);
    return w <= -1.0f ? 0.0f : w < -0.17f ? far : near;
}

/* (1 - s^-b) / b, which is log s for small b */
HL_HD float hl_entmax_excess(hl_entmax e, float s)
{
    const float t = hl_log(s), q = e.b * t, a = q < 0.0f ? -q : q;
    return a < 0.01f ? t * (1.0f - q * (0.5f - q * (1.0f / 6.0f))) : (1.0f - hl_exp(-q)) * e.per_b;
}

/* c of h = x - max. Newton on s(c)^b, s the sum of weights: exact at once for softmax and where all
 * scores are equal, and from the left it stays there for alpha <= 2, where that is convex. Halves
 * the bracket where a step does not halve the error. */
HL_HD float hl_entmax_threshold(hl_entmax e, int64_t n, const float *h)
{
    float lo = 0.0f, hi = (1.0f - hl_exp(-e.b * hl_log((float)n))) * e.per_b, c = 0.0f,
          before = INFINITY;
    for (int k = 0; k < 60; k++) {
        float s, slope;
        HL_ROW_SUM2(s, slope, j, n, hl_entmax_weight(e, h[j] - c), hl_entmax_slope(e, h[j] - c));
        if (!(s > 0.0f))
            return s == 0.0f ? 0.0f : s; /* nothing permitted, or NaN */
        const float error = s > 1.0f ? s - 1.0f : 1.0f - s;
        if (error <= 2e-7f)
            break;
        if (s > 1.0f)
            lo = c;
        else
            hi = c;
        float next = c + hl_entmax_excess(e, s) * s / slope;
        const bool is_last = error < 1e-4f && e.b <= 1.0f; /* convergence is quadratic */
        if (!is_last && (!(next > lo && next < hi) || error > 0.5f * before))
            next = 0.5f * (lo + hi);
        const bool stands = next == c;
        c = next;
        if (is_last || stands)
            break;
        before = error;
    }
    return c;
}

/* n scores and what normalising them left (normalise_body.h) */
typedef struct hl_entmax_row {
    int64_t n;
    const float *x, *stat;
} hl_entmax_row;

/* gx from a row and the cotangent g of the weights before a clip; gx may be
 * g. Adds dL/dalpha to *galpha if that is not NULL. */
HL_HD void hl_entmax_row_slope(hl_entmax e, const hl_entmax_row *row, const float *g, float *gx,
                               double *galpha)
{
    const int64_t n = row->n;
    const float *x = row->x, shift = row->stat[0], c = row->stat[1];
    float total, dot;
    HL_ROW_SUM2(total, dot, j, n, hl_entmax_slope(e, x[j] - shift - c),
                hl_entmax_slope(e, x[j] - shift - c) * g[j]);
    const float mean = total == 0.0f ? 0.0f : dot / total;
    if (galpha) {
        float sum;
        HL_ROW_SUM(sum, j, n, hl_entmax_slope_b(e, x[j] - shift - c) * (g[j] - mean));
        *galpha += (double)sum;
    }
    HL_ROW_EACH(j, n, gx[j] = hl_entmax_slope(e, x[j] - shift - c) * (g[j] - mean));
}

#endif
