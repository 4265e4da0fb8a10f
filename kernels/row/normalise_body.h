/* One row of attention scores to weights, and back (spec: attention, section 2). A forbidden key has
 * the score -inf and gets weight exactly 0; a row of nothing else gives zeros and no gradient. NaN
 * spreads over its row.
 *
 * stat[2] is what turns a score into its probability again, bit for bit:
 *   softmax, softmax1   p = exp(x - stat[0]) * stat[1]
 *   entmax15            p = max((x - stat[0]) / 2 - stat[1], 0)^2
 *   sparsemax           p = max(x - stat[0] - stat[1], 0)
 *   entmax              p = (1 + (alpha - 1) (x - stat[0] - stat[1]))+^(1 / (alpha - 1)) */
#ifndef HL_NORMALISE_BODY_H
#define HL_NORMALISE_BODY_H

#include "kernels/row/entmax_body.h"

/* max(x, 0) that keeps NaN */
HL_HD float hl_positive(float x)
{
    return x <= 0.0f ? 0.0f : x;
}

HL_HD bool hl_normaliser_clips(hl_normaliser f)
{
    return f.gamma < 0.0f || f.eta > 1.0f;
}

/* Final weight from a probability. */
HL_HD float hl_clip(hl_normaliser f, float p)
{
    float s = (f.eta - f.gamma) * p;
    s = s + f.gamma;
    s = s < 0.0f ? 0.0f : s;
    return s > 1.0f ? 1.0f : s;
}

/* entmax-1.5 threshold of h = (x - max) / 2: sum (h - tau)+^2 = 1. Newton from the left end -1; the
 * function is convex and falling, so the steps are positive and converge quadratically. */
HL_HD float hl_entmax15_threshold(int64_t n, const float *h)
{
    float tau = -1.0f;
    for (int k = 0; k < 40; k++) {
        float s1, s2;
        HL_ROW_SUM2(s1, s2, j, n, hl_positive(h[j] - tau),
                    hl_positive(h[j] - tau) * hl_positive(h[j] - tau));
        if (!(s1 > 0.0f))
            return s1 == 0.0f ? 0.0f : s1; /* nothing permitted, or NaN */
        float step = (s2 - 1.0f) / (2.0f * s1);
        tau += step;
        if (!(step > 1e-7f))
            break;
    }
    return tau;
}

/* sparsemax threshold of h = x - max: sum (h - tau)+ = 1. Newton on a piecewise linear function ends
 * exactly after finitely many steps. */
HL_HD float hl_sparsemax_threshold(int64_t n, const float *h)
{
    float tau = -1.0f;
    for (int k = 0; k < 100; k++) {
        float s, count;
        HL_ROW_SUM2(s, count, j, n, hl_positive(h[j] - tau), h[j] > tau ? 1.0f : 0.0f);
        if (!(count > 0.0f) || s != s)
            return s != s ? s : 0.0f;
        float step = (s - 1.0f) / count;
        tau += step;
        if (!(step > 1e-7f))
            break;
    }
    return tau;
}

HL_HD void hl_normalise_row(hl_normaliser f, int64_t n, const float *x, float *y, float *stat)
{
    float m;
    HL_ROW_MAX(m, -INFINITY, j, n, x[j]);
    if (f.base == HL_NORM_SOFTMAX1)
        m = m > 0.0f ? m : 0.0f;
    else
        m = m == -INFINITY ? 0.0f : m;
    float second;
    if (f.base == HL_NORM_SOFTMAX || f.base == HL_NORM_SOFTMAX1) {
        float sum;
        HL_ROW_EACH(j, n, y[j] = hl_exp(x[j] - m));
        HL_ROW_SUM(sum, j, n, y[j]);
        if (f.base == HL_NORM_SOFTMAX1)
            sum += hl_exp(-m);
        second = sum == 0.0f ? 0.0f : 1.0f / sum;
        HL_ROW_EACH(j, n, y[j] *= second);
    } else if (f.base == HL_NORM_ENTMAX15) {
        HL_ROW_EACH(j, n, y[j] = (x[j] - m) * 0.5f);
        second = hl_entmax15_threshold(n, y);
        HL_ROW_EACH(j, n, y[j] = hl_positive(y[j] - second));
        HL_ROW_EACH(j, n, y[j] *= y[j]);
    } else if (f.base == HL_NORM_ENTMAX) {
        const hl_entmax e = hl_entmax_of(f);
        HL_ROW_EACH(j, n, y[j] = x[j] - m);
        second = hl_entmax_threshold(e, n, y);
        HL_ROW_EACH(j, n, y[j] = hl_entmax_weight(e, y[j] - second));
    } else {
        HL_ROW_EACH(j, n, y[j] = x[j] - m);
        second = hl_sparsemax_threshold(n, y);
        HL_ROW_EACH(j, n, y[j] = hl_positive(y[j] - second));
    }
    if (hl_normaliser_clips(f)) {
        const float width = f.eta - f.gamma;
        HL_ROW_EACH(j, n, float s = width * y[j]; s = s + f.gamma; s = s < 0.0f ? 0.0f : s;
                    y[j] = s > 1.0f ? 1.0f : s);
    }
    stat[0] = m;
    stat[1] = second;
}

/* Probability of a score before the clip, of all but entmax; for entmax15 its square root. */
HL_HD float hl_normaliser_weight(hl_normaliser_base base, float x, float shift, float second)
{
    if (base == HL_NORM_ENTMAX15)
        return hl_positive((x - shift) * 0.5f - second);
    if (base == HL_NORM_SPARSEMAX)
        return hl_positive(x - shift - second);
    return hl_exp(x - shift) * second;
}

/* dL/dp from dL/dy: the clip passes where 0 <= (eta - gamma) p + gamma <= 1, ends included. */
HL_HD float hl_clip_slope(hl_normaliser f, float p, float g)
{
    float s = (f.eta - f.gamma) * p;
    s = s + f.gamma;
    return s >= 0.0f && s <= 1.0f ? g * (f.eta - f.gamma) : 0.0f;
}

/* As hl_entmax_row_slope, with the clip. */
HL_HD void hl_normalise_entmax_slope(hl_normaliser f, const hl_entmax_row *row, const float *g,
                                     float *gx, double *galpha)
{
    const hl_entmax e = hl_entmax_of(f);
    const float shift = row->stat[0], c = row->stat[1];
    if (hl_normaliser_clips(f)) {
        HL_ROW_EACH(j, row->n,
                    gx[j] = hl_clip_slope(f, hl_entmax_weight(e, row->x[j] - shift - c), g[j]));
        g = gx;
    }
    hl_entmax_row_slope(e, row, g, gx, galpha);
}

/* g and p (the weights of hl_normaliser_weight) of a row to gx, which may be g. */
HL_HD void hl_normalise_row_slope(hl_normaliser f, int64_t n, const float *p, const float *g,
                                  float *gx)
{
    if (hl_normaliser_clips(f)) {
        HL_ROW_EACH(j, n,
                    gx[j] = hl_clip_slope(
                        f, f.base == HL_NORM_ENTMAX15 ? p[j] * p[j] : p[j], g[j]));
        g = gx;
    }
    if (f.base == HL_NORM_SPARSEMAX) {
        float sum, count;
        HL_ROW_SUM2(sum, count, j, n, p[j] > 0.0f ? g[j] : 0.0f, p[j] > 0.0f ? 1.0f : 0.0f);
        const float mean = count > 0.0f ? sum / count : 0.0f;
        HL_ROW_EACH(j, n, gx[j] = p[j] > 0.0f ? g[j] - mean : 0.0f);
        return;
    }
    float dot, total = 1.0f;
    HL_ROW_SUM(dot, j, n, p[j] * g[j]);
    if (f.base == HL_NORM_ENTMAX15)
        HL_ROW_SUM(total, j, n, p[j]);
    const float mean = total == 0.0f ? 0.0f : dot / total;
    HL_ROW_EACH(j, n, gx[j] = p[j] * (g[j] - mean));
}

#endif
