#include "engine/ops/normalise_ref.h"

#include <math.h>
#include <stdlib.h>

#include "engine/base/mem.h"

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static double entmax15_tau(int64_t n, const double *z)
{
    double sum = 0, squares = 0, tau = 0;
    for (int64_t k = 1; k <= n; k++) {
        if (!(z[k - 1] > -HUGE_VAL))
            break;
        sum += z[k - 1];
        squares += z[k - 1] * z[k - 1];
        double mean = sum / (double)k, v = (double)k * (squares / (double)k - mean * mean);
        double room = (1 - v) / (double)k;
        double t = mean - sqrt(room > 0 ? room : 0);
        if (t <= z[k - 1])
            tau = t;
    }
    return tau;
}

static double sparsemax_tau(int64_t n, const double *z)
{
    double sum = 0, tau = 0;
    for (int64_t k = 1; k <= n; k++) {
        if (!(z[k - 1] > -HUGE_VAL))
            break;
        sum += z[k - 1];
        if (1 + (double)k * z[k - 1] > sum)
            tau = (sum - 1) / (double)k;
    }
    return tau;
}

static double entmax_weight(double alpha, double h)
{
    return h > 0 ? pow(h, 1 / (alpha - 1)) : h <= 0 ? 0 : h;
}

/* p and stat; m is the largest score */
static void entmax_weights(double alpha, int64_t n, const double *x, double m, double *p,
                           double *stat)
{
    const double low = (alpha - 1) * m - 1;
    double tau = low, width = 1 - pow(1 / (double)n, alpha - 1), middle = tau, sum = 0;
    for (int step = 0; step < 60; step++) {
        width /= 2;
        middle = tau + width;
        sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += p[i] = entmax_weight(alpha, (alpha - 1) * x[i] - middle);
        if (sum >= 1)
            tau = middle;
    }
    for (int64_t i = 0; i < n; i++)
        p[i] /= sum;
    stat[0] = m;
    stat[1] = (middle - low) / (alpha - 1);
}

/* p before the clip; returns false on no memory */
static bool weights(hl_normaliser f, int64_t n, const double *x, double *p, double *stat)
{
    double m = -HUGE_VAL;
    bool has_nan = false;
    for (int64_t i = 0; i < n; i++) {
        m = x[i] > m ? x[i] : m;
        has_nan = has_nan || isnan(x[i]);
    }
    has_nan = has_nan || m == HUGE_VAL; /* inf - inf */
    if (f.base == HL_NORM_ENTMAX && (has_nan || !(f.alpha > 1 && f.alpha <= HL_ENTMAX_MAX))) {
        for (int64_t i = 0; i < n; i++)
            p[i] = nan("");
        stat[0] = stat[1] = nan("");
        return true;
    }
    if (f.base == HL_NORM_SOFTMAX1)
        m = m > 0 ? m : 0;
    if (m == -HUGE_VAL && !has_nan) { /* nothing permitted */
        for (int64_t i = 0; i < n; i++)
            p[i] = 0;
        stat[0] = stat[1] = 0;
        return true;
    }
    if (f.base == HL_NORM_SOFTMAX || f.base == HL_NORM_SOFTMAX1) {
        double sum = f.base == HL_NORM_SOFTMAX1 ? exp(-m) : 0;
        for (int64_t i = 0; i < n; i++)
            sum += exp(x[i] - m);
        for (int64_t i = 0; i < n; i++)
            p[i] = exp(x[i] - m) / sum;
        stat[0] = m;
        stat[1] = 1 / sum;
        return true;
    }
    if (f.base == HL_NORM_ENTMAX) {
        entmax_weights(f.alpha, n, x, m, p, stat);
        return true;
    }
    const bool entmax = f.base == HL_NORM_ENTMAX15;
    double *z = hl_alloc((size_t)n * sizeof *z);
    if (!z)
        return false;
    for (int64_t i = 0; i < n; i++)
        z[i] = entmax ? (x[i] - m) / 2 : x[i] - m;
    qsort(z, (size_t)n, sizeof *z, descending);
    double tau = has_nan ? nan("") : entmax ? entmax15_tau(n, z) : sparsemax_tau(n, z);
    for (int64_t i = 0; i < n; i++) {
        double h = (entmax ? (x[i] - m) / 2 : x[i] - m) - tau;
        h = h <= 0 ? 0 : h;
        p[i] = entmax ? h * h : h;
    }
    hl_free(z);
    stat[0] = m;
    stat[1] = tau;
    return true;
}

static bool clips(hl_normaliser f)
{
    return f.gamma < 0 || f.eta > 1;
}

bool hl_ref_normalise(hl_normaliser f, int64_t n, const double *x, double *y, double *stat)
{
    if (!weights(f, n, x, y, stat))
        return false;
    const double gamma = (double)f.gamma, eta = (double)f.eta;
    for (int64_t i = 0; clips(f) && i < n; i++) {
        double s = (eta - gamma) * y[i] + gamma;
        y[i] = s < 0 ? 0 : s > 1 ? 1 : s;
    }
    return true;
}

/* g y^(2 - alpha) of a row, less its mean; adds dL/dalpha to *galpha. gx holds dL/dp before. */
static void entmax_vjp(double alpha, int64_t n, const double *p, double *gx, double *galpha)
{
    double total = 0, dot = 0, h = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double slope = p[i] <= 0 ? 0 : pow(p[i], 2 - alpha);
        total += slope;
        dot += slope * gx[i];
        h += p[i] <= 0 ? 0 : p[i] * log(p[i]);
    }
    for (int64_t i = 0; i < n; i++) {
        const double slope = p[i] <= 0 ? 0 : pow(p[i], 2 - alpha), s = slope / total;
        const double l = p[i] <= 0 ? 0 : p[i] * log(p[i]), b = alpha - 1;
        if (total != 0)
            sum += gx[i] * ((p[i] - s) / (b * b) - (l - s * h) / b);
        gx[i] = total == 0 ? 0 : slope * (gx[i] - dot / total);
    }
    *galpha += sum;
}

bool hl_ref_normalise_vjp(hl_normaliser f, int64_t n, const double *x, const double *g, double *gx,
                          double *galpha)
{
    double stat[2], dot = 0, total = 0;
    double *p = hl_alloc((size_t)(n ? n : 1) * sizeof *p);
    if (!p || !weights(f, n, x, p, stat)) {
        hl_free(p);
        return false;
    }
    const double gamma = (double)f.gamma, eta = (double)f.eta;
    for (int64_t i = 0; i < n; i++) {
        double s = (eta - gamma) * p[i] + gamma;
        gx[i] = !clips(f) ? g[i] : s >= 0 && s <= 1 ? g[i] * (eta - gamma) : 0;
        if (f.base == HL_NORM_ENTMAX)
            continue;
        if (f.base == HL_NORM_ENTMAX15)
            p[i] = sqrt(p[i]);
        else if (f.base == HL_NORM_SPARSEMAX)
            p[i] = p[i] > 0 ? 1 : 0;
        dot += p[i] * gx[i];
        total += p[i];
    }
    if (f.base == HL_NORM_ENTMAX)
        entmax_vjp(f.alpha, n, p, gx, galpha);
    if (f.base == HL_NORM_SOFTMAX || f.base == HL_NORM_SOFTMAX1)
        total = 1;
    for (int64_t i = 0; f.base != HL_NORM_ENTMAX && i < n; i++)
        gx[i] = p[i] * (gx[i] - (total == 0 ? 0 : dot / total));
    hl_free(p);
    return true;
}
