/* Rows: normalisers, layer normalisation, dropout. A warp owns a row; the formulas are those of the
 * row bodies, which the CPU compiles too. */
#include "kernels/cuda/cuda_internal.h"
#include "kernels/row/layernorm_body.h"
#include "kernels/row/normalise_body.h"
#include "kernels/row/score_mask_body.h"

static unsigned warp_blocks(const hl_gpu *g, int64_t rows)
{
    return hl_gpu_blocks(g, rows * 32, HL_THREADS);
}

__device__ inline hl_normaliser with_alpha(hl_normaliser f, const float *alpha)
{
    f.alpha = alpha ? (double)*alpha : 0;
    return f;
}

__global__ void normalise_kernel(hl_normaliser f, const float *alpha, int64_t rows, int64_t n,
                                 const float *x, float *y, float *stat)
{
    f = with_alpha(f, alpha);
    HL_WARPS_EACH(r, rows)
    {
        float s[2];
        hl_normalise_row(f, n, x + r * n, y + r * n, s);
        if ((threadIdx.x & 31) < 2)
            stat[2 * r + (threadIdx.x & 31)] = s[threadIdx.x & 31];
    }
}

void hl_cu_normalise(hl_gpu *g, hl_normaliser f, const float *alpha, int64_t rows, int64_t n,
                     const float *x, float *y, float *stat)
{
    HL_GO(g, normalise_kernel, warp_blocks(g, rows), HL_THREADS, 0, f, alpha, rows, n, x, y, stat);
}

/* What a cotangent g of the weight p is multiplied with in the sums of a row, and in the end. */
__device__ inline float slope_weight(hl_normaliser f, float p)
{
    return f.base == HL_NORM_SPARSEMAX ? (p > 0.0f ? 1.0f : 0.0f) : p;
}

__device__ inline float clipped_slope(hl_normaliser f, float p, float g)
{
    return hl_normaliser_clips(f) ? hl_clip_slope(f, f.base == HL_NORM_ENTMAX15 ? p * p : p, g) : g;
}

/* hl_normalise_row_slope from the scores: the weights are computed twice and kept nowhere. */
__device__ inline void row_vjp(hl_normaliser f, int64_t n, const float *x, const float *stat,
                               const float *gy, float *gx, double *galpha)
{
    if (f.base == HL_NORM_ENTMAX) {
        const hl_entmax_row row = {n, x, stat};
        hl_normalise_entmax_slope(f, &row, gy, gx, galpha);
        return;
    }
#define WEIGHT(j) hl_normaliser_weight(f.base, x[j], stat[0], stat[1])
    float dot, total = 1.0f;
    HL_ROW_SUM(dot, j, n, slope_weight(f, WEIGHT(j)) * clipped_slope(f, WEIGHT(j), gy[j]));
    if (f.base == HL_NORM_ENTMAX15 || f.base == HL_NORM_SPARSEMAX)
        HL_ROW_SUM(total, j, n, slope_weight(f, WEIGHT(j)));
    const float mean = total == 0.0f ? 0.0f : dot / total;
    HL_ROW_EACH(j, n,
                gx[j] = slope_weight(f, WEIGHT(j)) * (clipped_slope(f, WEIGHT(j), gy[j]) - mean));
#undef WEIGHT
}

__global__ void normalise_vjp_kernel(hl_normaliser f, const float *alpha, int64_t rows, int64_t n,
                                     const float *x, const float *stat, const float *gy, float *gx,
                                     double *galpha)
{
    f = with_alpha(f, alpha);
    HL_WARPS_EACH(r, rows)
    {
        double ga = 0;
        row_vjp(f, n, x + r * n, stat + 2 * r, gy + r * n, gx + r * n, galpha ? &ga : NULL);
        if (galpha && (threadIdx.x & 31) == 0)
            galpha[r] = ga;
    }
}

void hl_cu_normalise_vjp(hl_gpu *g, hl_normaliser f, const float *alpha, int64_t rows, int64_t n,
                         const float *x, const float *stat, const float *gy, float *gx,
                         float *galpha, double *part)
{
    HL_GO(g, normalise_vjp_kernel, warp_blocks(g, rows), HL_THREADS, 0, f, alpha, rows, n, x, stat,
          gy, gx, galpha ? part : (double *)NULL);
    if (galpha)
        hl_cu_add_doubles(g, rows, part, galpha);
}

__global__ void masked_kernel(hl_normaliser f, const float *alpha, hl_score_mask j, int64_t rows,
                              const float *x, float *y)
{
    f = with_alpha(f, alpha);
    HL_WARPS_EACH(r, rows)
    {
        float stat[2], *to = y + r * j.s;
        const float *from = x + r * j.s;
        HL_ROW_EACH(k, j.s, to[k] = hl_may_see(&j, r, k) ? from[k] : -INFINITY);
        hl_normalise_row(f, j.s, to, to, stat);
    }
}

void hl_cu_masked_normalise(hl_gpu *g, hl_normaliser f, const float *alpha, const int64_t shape[4],
                            bool causal, const uint8_t *mask, const float *x, float *y)
{
    const int64_t rows = shape[0] * shape[1] * shape[2];
    const hl_score_mask j = {shape[1] * shape[2], shape[2], shape[3], mask, causal};
    HL_GO(g, masked_kernel, warp_blocks(g, rows), HL_THREADS, 0, f, alpha, j, rows, x, y);
}

/* --- layer normalisation --- */

__global__ void layernorm_kernel(int64_t rows, hl_layernorm l, const float *x, float *y,
                                 float *mean, float *rstd)
{
    HL_WARPS_EACH(r, rows)
    {
        float m, s;
        hl_layernorm_row(&l, x + r * l.n, y + r * l.n, &m, &s);
        if ((threadIdx.x & 31) == 0) {
            mean[r] = m;
            rstd[r] = s;
        }
    }
}

void hl_cu_layernorm(hl_gpu *g, int64_t rows, int64_t n, const float *x, const float *gamma,
                     const float *beta, float eps, float *y, float *mean, float *rstd)
{
    const hl_layernorm l = {n, gamma, beta, eps};
    HL_GO(g, layernorm_kernel, warp_blocks(g, rows), HL_THREADS, 0, rows, l, x, y, mean, rstd);
}

/* gx alone: each row's sums of its own. */
__global__ void layernorm_gx_kernel(int64_t rows, int64_t n, const float *gy, const float *x,
                                    const float *gamma, const float *mean, const float *rstd,
                                    const float *extra, float *gx)
{
    HL_WARPS_EACH(r, rows)
    {
        const float *g = gy + r * n, *in = x + r * n;
        const float m = mean[r], s = rstd[r];
        float sum, dot;
        HL_ROW_SUM2(sum, dot, j, n, g[j] * gamma[j], g[j] * gamma[j] * ((in[j] - m) * s));
        const float c1 = sum / (float)n, c2 = dot / (float)n;
        HL_ROW_EACH(j, n, const float v = s * (g[j] * gamma[j] - c1 - (in[j] - m) * s * c2);
                    gx[r * n + j] = v + (extra ? extra[r * n + j] : 0.0f));
    }
}

enum { COLUMNS = 32, DOWN = 8 };

/* ggamma and gbeta of 32 columns over the rows of part blockIdx.y, of gridDim.y parts. */
__global__ void layernorm_columns_kernel(int64_t rows, int64_t n, const float *gy, const float *x,
                                         const float *mean, const float *rstd, float *part)
{
    __shared__ float a[DOWN][COLUMNS], b[DOWN][COLUMNS];
    const unsigned lane = threadIdx.x % COLUMNS, down = threadIdx.x / COLUMNS;
    const int64_t c = (int64_t)blockIdx.x * COLUMNS + lane;
    const int64_t each = (rows + gridDim.y - 1) / gridDim.y, first = each * blockIdx.y;
    const int64_t end = first + each < rows ? first + each : rows;
    float ga = 0, gb = 0;
    if (c < n)
        for (int64_t r = first + down; r < end; r += DOWN) {
            const float g = gy[r * n + c];
            ga += g * ((x[r * n + c] - mean[r]) * rstd[r]);
            gb += g;
        }
    a[down][lane] = ga;
    b[down][lane] = gb;
    __syncthreads();
    if (down == 0 && c < n) {
        for (int d = 1; d < DOWN; d++) {
            ga += a[d][lane];
            gb += b[d][lane];
        }
        part[(2 * (int64_t)blockIdx.y) * n + c] = ga;
        part[(2 * (int64_t)blockIdx.y + 1) * n + c] = gb;
    }
}

__global__ void layernorm_parts_kernel(int parts, int64_t n, const float *part, float *ggamma,
                                       float *gbeta)
{
    HL_EACH(c, n)
    {
        float ga = 0, gb = 0;
        for (int p = 0; p < parts; p++) {
            ga += part[2 * (int64_t)p * n + c];
            gb += part[(2 * (int64_t)p + 1) * n + c];
        }
        ggamma[c] = ga;
        gbeta[c] = gb;
    }
}

void hl_cu_layernorm_vjp(hl_gpu *g, int64_t rows, int64_t n, const float *gy, const float *x,
                         const float *gamma, const float *mean, const float *rstd,
                         const float *extra, float *gx, float *ggamma, float *gbeta, float *part)
{
    /* columns first: gx may take the place of gy */
    const dim3 grid((unsigned)((n + COLUMNS - 1) / COLUMNS), HL_GPU_LAYERNORM_PARTS);
    HL_GO(g, layernorm_columns_kernel, grid, COLUMNS * DOWN, 0, rows, n, gy, x, mean, rstd, part);
    HL_GO(g, layernorm_parts_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0,
          (int)HL_GPU_LAYERNORM_PARTS, n, (const float *)part, ggamma, gbeta);
    HL_GO(g, layernorm_gx_kernel, warp_blocks(g, rows), HL_THREADS, 0, rows, n, gy, x, gamma, mean,
          rstd, extra, gx);
}

/* --- dropout --- */

__device__ inline float dropped(float x, float p, uint32_t threshold, hl_philox_key key, int64_t i)
{
    return hl_philox_u32(key, (uint64_t)i) >= threshold ? x * (1.0f / (1.0f - p)) : 0.0f;
}

__global__ void dropout_kernel(int64_t n, float p, const hl_gpu_key *key, uint32_t stream,
                               const float *x, float *y)
{
    const hl_philox_key k = hl_gpu_key_of(key, stream);
    const uint32_t threshold = hl_dropout_threshold(p);
    HL_EACH(i, n)
    y[i] = dropped(x[i], p, threshold, k, i);
}

void hl_cu_dropout(hl_gpu *g, int64_t n, float p, const hl_gpu_key *key, uint32_t stream,
                   const float *x, float *y)
{
    HL_GO(g, dropout_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, n, p, key, stream, x,
          y);
}

__global__ void residual_norm_kernel(int64_t rows, hl_layernorm l, const float *a, const float *x,
                                     float p, const hl_gpu_key *key, uint32_t stream, float *sum,
                                     float *y, float *mean, float *rstd)
{
    const hl_philox_key k = hl_gpu_key_of(key, stream);
    const uint32_t threshold = hl_dropout_threshold(p);
    const int64_t n = l.n;
    HL_WARPS_EACH(r, rows)
    {
        float m, s, *to = sum + r * n;
        HL_ROW_EACH(j, n, const int64_t i = r * n + j;
                    to[j] = x[i] + (p > 0.0f ? dropped(a[i], p, threshold, k, i) : a[i]));
        hl_layernorm_row(&l, to, y + r * n, &m, &s);
        if ((threadIdx.x & 31) == 0) {
            mean[r] = m;
            rstd[r] = s;
        }
    }
}

void hl_cu_residual_norm(hl_gpu *g, int64_t rows, int64_t n, const float *a, const float *x,
                         const float *gamma, const float *beta, float eps, float p,
                         const hl_gpu_key *key, uint32_t stream, float *sum, float *y, float *mean,
                         float *rstd)
{
    const hl_layernorm l = {n, gamma, beta, eps};
    HL_GO(g, residual_norm_kernel, warp_blocks(g, rows), HL_THREADS, 0, rows, l, a, x, p, key,
          stream, sum, y, mean, rstd);
}
