/* Sums, maxima and moments. */
#include <math.h>

#include "kernels/row/moment_bin_body.h"
#include "kernels/row/row_body.h"
#include "kernels/vec/bf16_body.h"
#include "kernels/vec/hl_isa.h"

enum { BLOCK = 4096, MOMENTS_BLOCK = 1024 };

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

void HL_K(sum_cols_bf16)(int64_t n_rows, int64_t n_cols, const hl_bf16 *x, int64_t stride, bool add,
                         float *y)
{
    if (!add)
        memset(y, 0, (size_t)n_cols * sizeof *y);
    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t c = 0; c < n_cols; c++)
            y[c] += hl_from_bf16(x[r * stride + c]);
}

void HL_K(max)(int64_t n, const float *x, float *out)
{
    float zero;
    HL_ROW_MAX(*out, -INFINITY, j, n, x[j]);
    HL_ROW_SUM(zero, j, n, x[j] - x[j]);
    if (zero != 0.0f) /* an infinity or a NaN; the latter are sought slowly */
        for (int64_t j = 0; j < n; j++)
            if (x[j] != x[j])
                *out = NAN;
}

/* n <= MOMENTS_BLOCK */
static void add_bins(int64_t n, const float *x, double *bins)
{
    /* The bins first, which vectorises; then eight tables, so that equal neighbours do not wait for
     * one another's count. */
    uint8_t bin[MOMENTS_BLOCK];
    uint32_t count[8][HL_MOMENT_BINS] = {{0}};
    for (int64_t i = 0; i < n; i++)
        bin[i] = (uint8_t)hl_moment_bin(x[i]);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        HL_UNROLL
        for (int k = 0; k < 8; k++)
            count[k][bin[i + k]]++;
    }
    for (; i < n; i++)
        count[0][bin[i]]++;
    for (int b = 0; b < HL_MOMENT_BINS; b++) {
        uint32_t sum = 0;
        for (int k = 0; k < 8; k++)
            sum += count[k][b];
        bins[b] += (double)sum;
    }
}

/* Moments of n > 0 finite values in double, for where a fourth power leaves the range of a float. */
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

/* Sum, smallest and largest of a block, in one pass. The sum is finite only if every value is. */
static float block_range(int64_t n, const float *x, float *lo, float *hi)
{
    float sum[HL_ROW_LANES] = {0}, min[HL_ROW_LANES], max[HL_ROW_LANES];
    for (int l = 0; l < HL_ROW_LANES; l++) {
        min[l] = INFINITY;
        max[l] = -INFINITY;
    }
    const int64_t whole = n - n % HL_ROW_LANES;
    for (int64_t j0 = 0; j0 < whole; j0 += HL_ROW_LANES)
        for (int l = 0; l < HL_ROW_LANES; l++) {
            const float v = x[j0 + l];
            sum[l] += v;
            min[l] = v < min[l] ? v : min[l];
            max[l] = v > max[l] ? v : max[l];
        }
    for (int64_t j = whole; j < n; j++) {
        const float v = x[j];
        sum[j - whole] += v;
        min[j - whole] = v < min[j - whole] ? v : min[j - whole];
        max[j - whole] = v > max[j - whole] ? v : max[j - whole];
    }
    *hi = hl_lanes_max(max);
    for (int l = 0; l < HL_ROW_LANES; l++)
        max[l] = -min[l];
    *lo = -hl_lanes_max(max);
    return hl_lanes_sum(sum);
}

/* Moments of one block, n > 0; false if a value is not finite (or, rarely, their sum is not). */
static bool block_moments(int64_t n, const float *x, hl_moments *out)
{
    float lo, hi;
    const float sum = block_range(n, x, &lo, &hi), mean = sum / (float)n;
    if (!isfinite(sum))
        return false;
    float lane2[HL_ROW_LANES] = {0}, lane3[HL_ROW_LANES] = {0}, lane4[HL_ROW_LANES] = {0};
    const int64_t whole = n - n % HL_ROW_LANES;
    for (int64_t j0 = 0; j0 < whole; j0 += HL_ROW_LANES)
        for (int l = 0; l < HL_ROW_LANES; l++) {
            const float d = x[j0 + l] - mean, d2 = d * d;
            lane2[l] += d2;
            lane3[l] += d2 * d;
            lane4[l] += d2 * d2;
        }
    for (int64_t j = whole; j < n; j++) {
        const float d = x[j] - mean, d2 = d * d;
        lane2[j - whole] += d2;
        lane3[j - whole] += d2 * d;
        lane4[j - whole] += d2 * d2;
    }
    const float s4 = hl_lanes_sum(lane4);
    if (!(s4 > 1e-30f && s4 < 1e38f) && lo != hi)
        *out = wide_block_moments(n, x);
    else
        *out = (hl_moments){.n = (double)n, .mean = (double)mean,
                            .m2 = (double)hl_lanes_sum(lane2), .m3 = (double)hl_lanes_sum(lane3),
                            .m4 = (double)s4, .min = (double)lo, .max = (double)hi};
    return true;
}

void HL_K(moments)(int64_t n, const float *x, hl_moments *out, double *bins)
{
    hl_moments all = {.min = (double)INFINITY, .max = -(double)INFINITY};
    for (int64_t i = 0; i < n; i += MOMENTS_BLOCK) {
        int64_t m = n - i < MOMENTS_BLOCK ? n - i : MOMENTS_BLOCK;
        const float *p = x + i;
        float kept[MOMENTS_BLOCK];
        hl_moments one;
        if (!block_moments(m, p, &one)) {
            int64_t n_kept = 0;
            for (int64_t j = 0; j < m; j++)
                if (isfinite(p[j]))
                    kept[n_kept++] = p[j];
            all.n_bad += (double)(m - n_kept);
            if (n_kept == 0)
                continue;
            p = kept;
            m = n_kept;
            one = wide_block_moments(m, p);
        }
        hl_moments_add(&all, &one);
        if (bins)
            add_bins(m, p, bins);
    }
    *out = all;
}

void HL_K(extents)(int64_t n_rows, int64_t n, const float *x, float *of_row, float *of_column)
{
    for (int64_t j = 0; j < n; j++)
        of_column[j] = 0;
    for (int64_t r = 0; r < n_rows; r++, x += n) {
        int32_t most = 0;
        for (int64_t j = 0; j < n; j++) {
            const int32_t v = hl_size_bits(x[j]), was = hl_size_bits(of_column[j]);
            of_column[j] = hl_bits_to_float(v > was ? v : was);
            most = v > most ? v : most;
        }
        of_row[r] = hl_bits_to_float(most);
    }
}
