/* Sums, maxima and moments. */
#include <math.h>

#include "kernels/row/row_body.h"
#include "kernels/vec/hl_isa.h"

enum { BLOCK = 4096 };

void HL_K(sum)(int64_t n, const float *x, double *out)
{
    double total = 0;
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t m = n - i < BLOCK ? n - i : BLOCK;
        float s;
        HL_ROW_SUM(s, j, m, x[i + j]);
        total += (double)s;
    }
    *out = total;
}

void HL_K(sum_squares)(int64_t n, const float *x, double *out)
{
    double total = 0;
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t m = n - i < BLOCK ? n - i : BLOCK;
        float s;
        HL_ROW_SUM(s, j, m, x[i + j] * x[i + j]);
        total += (double)s;
    }
    *out = total;
}

void HL_K(sum_cols)(int64_t n_rows, int64_t n_cols, const float *x, int64_t stride, bool add,
                    float *y)
{
    if (!add)
        memset(y, 0, (size_t)n_cols * sizeof *y);
    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t c = 0; c < n_cols; c++)
            y[c] += x[r * stride + c];
}

void HL_K(max)(int64_t n, const float *x, float *out)
{
    float m, zero;
    HL_ROW_MAX(m, -INFINITY, j, n, x[j]);
    HL_ROW_SUM(zero, j, n, x[j] != x[j] ? 1.0f : 0.0f);
    *out = zero > 0.0f ? NAN : m;
}

/* Bin of x: from the exponent bits, no arithmetic on the value. */
static inline int bin_of(float x)
{
    const uint32_t bits = (uint32_t)hl_float_to_bits(x);
    int k = (int)((bits >> 23) & 0xFF) - 127 + 20; /* [2^-20, 2^-19) would be 0, below: negative */
    k = k < 0 ? 0 : k > 31 ? 31 : k;
    return x < 0.0f ? 31 - k : 32 + k;
}

static void add_bins(int64_t n, const float *x, double *bins)
{
    /* Four tables, so that equal neighbours do not wait for one another's count. */
    uint32_t count[4][HL_MOMENT_BINS] = {{0}};
    for (int64_t i = 0; i < n; i++)
        count[i & 3][bin_of(x[i])]++;
    for (int b = 0; b < HL_MOMENT_BINS; b++)
        bins[b] += (double)count[0][b] + count[1][b] + count[2][b] + count[3][b];
}

/* The same where a fourth power leaves the range of a float. */
static hl_moments wide_block_moments(int64_t n, const float *x)
{
    hl_moments m = {.n = (double)n, .min = (double)x[0], .max = (double)x[0]};
    for (int64_t j = 0; j < n; j++) {
        m.mean += (double)x[j];
        m.min = (double)x[j] < m.min ? (double)x[j] : m.min;
        m.max = (double)x[j] > m.max ? (double)x[j] : m.max;
    }
    m.mean /= m.n;
    for (int64_t j = 0; j < n; j++) {
        const double d = (double)x[j] - m.mean;
        m.m2 += d * d;
        m.m3 += d * d * d;
        m.m4 += d * d * d * d;
    }
    return m;
}

/* Moments of one block of finite values, n > 0. */
static hl_moments block_moments(int64_t n, const float *x)
{
    float lo, hi, sum, s2, s3, s4;
    HL_ROW_MAX(hi, -INFINITY, j, n, x[j]);
    HL_ROW_MAX(lo, -INFINITY, j, n, -x[j]);
    HL_ROW_SUM(sum, j, n, x[j]);
    const float mean = sum / (float)n;
    HL_ROW_SUM(s2, j, n, (x[j] - mean) * (x[j] - mean));
    HL_ROW_SUM(s3, j, n, (x[j] - mean) * (x[j] - mean) * (x[j] - mean));
    HL_ROW_SUM(s4, j, n,
               (x[j] - mean) * (x[j] - mean) * ((x[j] - mean) * (x[j] - mean)));
    const bool in_range = s4 > 1e-30f && s4 < 1e38f; /* false for NaN, and then for all the others */
    if (!in_range && hi + lo != 0.0f)
        return wide_block_moments(n, x);
    return (hl_moments){.n = (double)n, .mean = (double)mean, .m2 = (double)s2, .m3 = (double)s3,
                        .m4 = (double)s4, .min = -(double)lo, .max = (double)hi};
}

void HL_K(moments)(int64_t n, const float *x, hl_moments *out, double *bins)
{
    hl_moments all = {.min = (double)INFINITY, .max = -(double)INFINITY};
    for (int64_t i = 0; i < n; i += 1024) {
        const int64_t m = n - i < 1024 ? n - i : 1024;
        const float *p = x + i;
        float bad, kept[1024];
        HL_ROW_SUM(bad, j, m, p[j] - p[j] == 0.0f ? 0.0f : 1.0f);
        int64_t n_kept = m;
        if (bad > 0.0f) {
            n_kept = 0;
            for (int64_t j = 0; j < m; j++)
                if (isfinite(p[j]))
                    kept[n_kept++] = p[j];
            p = kept;
            all.n_bad += (double)(m - n_kept);
        }
        if (n_kept == 0)
            continue;
        hl_moments one = block_moments(n_kept, p);
        hl_moments_add(&all, &one);
        if (bins)
            add_bins(n_kept, p, bins);
    }
    *out = all;
}
