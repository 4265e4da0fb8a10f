/* Products of codes: rows and weights on their way there, the product, and what follows it. Sums
 * are exact; codes count from -128 on, and what that takes from a sum is added behind it. Compiled
 * without contraction. */
#include "kernels/cuda/quant_grid.h"
#include "kernels/mm/act_body.h"

__global__ void decode_rows_kernel(int64_t n, int64_t k, int64_t rows, const int32_t *ids,
                                   const int8_t *table, const float *scales, bool per_row, float *y,
                                   hl_gpu_fault *fault, int32_t tag)
{
    HL_EACH(i, n * k)
    {
        const int64_t row = ids ? ids[i / k] : i / k;
        const bool fits = row >= 0 && row < rows;
        if (!fits && i % k == 0)
            hl_gpu_found(fault, tag, HL_FAULT_ID, i / k, (int32_t)row, (int32_t)rows);
        const hl_quant_grid g = {scales[fits && per_row ? row : 0], 0.0f, 0.0f, 0.0f};
        y[i] = fits ? hl_quant_decode(g, table[row * k + i % k]) : 0.0f;
    }
}

void hl_cu_decode_rows(hl_gpu *g, int64_t n, int64_t k, int64_t rows, const int32_t *ids,
                       const int8_t *table, const float *scales, bool per_row, float *y)
{
    HL_GO(g, decode_rows_kernel, hl_gpu_blocks(g, n * k, HL_THREADS), HL_THREADS, 0, n, k, rows,
          ids, table, scales, per_row, y, g->fault, g->tag);
}

/* Four codes of a row of n at 4 i, zeros behind its end. */
__device__ inline int four_of(const int8_t *row, int64_t n, int64_t i)
{
    uint32_t word = 0;
    if (n % 4 == 0 && reinterpret_cast<uintptr_t>(row) % 4 == 0)
        return reinterpret_cast<const int *>(row)[i];
    for (int e = 0; e < 4; e++)
        if (4 * i + e < n)
            word |= (uint32_t)(uint8_t)row[4 * i + e] << 8 * e;
    return (int)word;
}

__device__ inline int32_t warp_total(int32_t v)
{
    for (int o = 16; o; o >>= 1)
        v += __shfl_xor_sync(0xffffffffu, v, o);
    return v;
}

__global__ void columns_kernel(hl_gpu_int8_columns a, hl_gpu_fault *fault, int32_t tag)
{
    const hl_quant_grid g = hl_gpu_grid(a.of_x, fault, tag);
    HL_WARPS_EACH(r, a.n)
    {
        int32_t sum = 0;
        for (int64_t i = threadIdx.x & 31; i < (a.k + 3) / 4; i += 32)
            sum = __dp4a(four_of(a.w + r * a.k, a.k, i), 0x01010101, sum);
        sum = warp_total(sum);
        if ((threadIdx.x & 31) == 0) {
            a.shift[r] = (128 - (int32_t)g.zero) * sum;
            a.scale[r] = HL_QUANT_MUL(g.scale, a.scales[a.per_row ? r : 0]);
        }
    }
}

void hl_cu_int8_columns(hl_gpu *g, const hl_gpu_int8_columns *a)
{
    HL_GO(g, columns_kernel, hl_gpu_blocks(g, a->n * 32, HL_THREADS), HL_THREADS, 0, *a, g->fault,
          g->tag);
}

/* A warp per row. */
__global__ void rows_kernel(hl_gpu_int8_rows a, hl_gpu_fault *fault, int32_t tag)
{
    const hl_quant_grid g = hl_gpu_grid(a.of_x, fault, tag);
    HL_WARPS_EACH(r, a.m)
    {
        int32_t sum = 0, n_nan = 0;
        for (int64_t c = threadIdx.x & 31; c < a.row; c += 32) {
            int32_t code = 128; /* of nothing: 0 when it has lost 128 */
            if (c < a.k && a.x) {
                const float v = a.x[r * a.k + c];
                if (a.all_finite && hl_gpu_has_no_code(v))
                    hl_gpu_found(fault, tag, HL_FAULT_NO_CODE, r * a.k + c, 0, 0);
                n_nan += v != v;
                code = hl_quant_encode(g, v);
            } else if (c < a.k) {
                code = a.u[r * a.k + c];
            }
            sum += c < a.k ? code : 0;
            a.codes[r * a.row + c] = (int8_t)(code - 128);
        }
        sum = warp_total(sum);
        n_nan = warp_total(n_nan);
        if ((threadIdx.x & 31) == 0 && a.shift)
            a.shift[r] = 128 * (sum - (int32_t)a.k * (int32_t)g.zero);
        if ((threadIdx.x & 31) == 0 && a.spoiled)
            a.spoiled[r] = n_nan;
    }
}

void hl_cu_int8_rows(hl_gpu *g, const hl_gpu_int8_rows *a)
{
    HL_GO(g, rows_kernel, hl_gpu_blocks(g, a->m * 32, HL_THREADS), HL_THREADS, 0, *a, g->fault,
          g->tag);
}

/* --- the product --- */

enum { TILE = 64, DEPTH = 16, EACH = 4 }; /* numbers across and down, words of four deep */

/* Tiles of 64 x 64 in shared memory, 4 x 4 sums per thread. */
__global__ void int8_gemm_kernel(int64_t m, int64_t n, int64_t k, const int8_t *a, int64_t a_row,
                                 const int8_t *w, int32_t *acc)
{
    __shared__ int left[DEPTH][TILE + 1], right[DEPTH][TILE + 1];
    const int64_t across = (n + TILE - 1) / TILE, down = (m + TILE - 1) / TILE, deep = (k + 3) / 4;
    const int tx = (int)(threadIdx.x % 16), ty = (int)(threadIdx.x / 16);
    for (int64_t t = blockIdx.x; t < across * down; t += gridDim.x) {
        const int64_t m0 = t / across * TILE, n0 = t % across * TILE;
        int sum[EACH][EACH] = {{0}};
        for (int64_t k0 = 0; k0 < deep; k0 += DEPTH) {
            for (int e = (int)threadIdx.x; e < TILE * DEPTH; e += 256) {
                const int r = e / DEPTH, d = e % DEPTH;
                const bool is_in = k0 + d < deep;
                left[d][r] = m0 + r < m && is_in
                                 ? reinterpret_cast<const int *>(a + (m0 + r) * a_row)[k0 + d]
                                 : 0;
                right[d][r] = n0 + r < n && is_in ? four_of(w + (n0 + r) * k, k, k0 + d) : 0;
            }
            __syncthreads();
            for (int d = 0; d < DEPTH; d++) {
                int x[EACH], y[EACH];
                for (int e = 0; e < EACH; e++) {
                    x[e] = left[d][ty + 16 * e];
                    y[e] = right[d][tx + 16 * e];
                }
                for (int r = 0; r < EACH; r++)
                    for (int c = 0; c < EACH; c++)
                        sum[r][c] = __dp4a(x[r], y[c], sum[r][c]);
            }
            __syncthreads();
        }
        for (int r = 0; r < EACH; r++)
            for (int c = 0; c < EACH; c++)
                if (m0 + ty + 16 * r < m && n0 + tx + 16 * c < n)
                    acc[(m0 + ty + 16 * r) * n + n0 + tx + 16 * c] = sum[r][c];
    }
}

void hl_cu_int8_gemm(hl_gpu *g, int64_t m, int64_t n, int64_t k, const int8_t *a, int64_t a_row,
                     const int8_t *w, int32_t *acc)
{
    const int64_t tiles = ((n + TILE - 1) / TILE) * ((m + TILE - 1) / TILE);
    if (tiles == 0 || hl_lt_int8_gemm(g, m, n, k, a, a_row, w, acc))
        return;
    HL_GO(g, int8_gemm_kernel, (unsigned)(tiles < 1 << 20 ? tiles : 1 << 20), 256, 0, m, n, k, a,
          a_row, w, acc);
}

/* Sums of 32 bits, of which the last one fits though those before it may not. */
__device__ inline int32_t added(int32_t a, int32_t b, int32_t c)
{
    return (int32_t)((uint32_t)a + (uint32_t)b + (uint32_t)c);
}

__global__ void finish_kernel(hl_gpu_int8_finish a, hl_gpu_fault *fault, int32_t tag)
{
    const hl_int8_finish f = a.f;
    const bool on_grid = a.of_y.range != NULL;
    hl_quant_grid g = {1.0f, 0.0f, 0.0f, 0.0f};
    if (on_grid)
        g = hl_gpu_grid(a.of_y, fault, tag);
    HL_EACH(i, f.m * f.n)
    {
        const int64_t r = i / f.n, c = i % f.n, at = r * f.y_row + c;
        const int32_t sum = added(f.acc[r * f.acc_row + c], f.col_shift ? f.col_shift[c] : 0,
                                  f.row_shift ? f.row_shift[r] : 0);
        float v = HL_QUANT_MUL((float)sum, f.scale[c]);
        if (f.bias)
            v = HL_QUANT_ADD(v, f.bias[c]);
        v = hl_activate(f.act, v);
        if (a.spoiled && a.spoiled[r])
            v = NAN;
        if (f.y)
            f.y[at] = on_grid ? hl_quant_apply(g, v) : v;
        else
            f.codes[at] = (uint8_t)hl_quant_encode(g, v);
    }
}

void hl_cu_int8_finish(hl_gpu *g, const hl_gpu_int8_finish *a)
{
    HL_GO(g, finish_kernel, hl_gpu_blocks(g, a->f.m * a->f.n, HL_THREADS), HL_THREADS, 0, *a,
          g->fault, g->tag);
}

__global__ void rescale_kernel(hl_gpu_quantizer q, int64_t m, int64_t n, const float *scales,
                               bool per_column, const float *bias, const float *x, float *y,
                               hl_gpu_fault *fault, int32_t tag)
{
    const float s_x = hl_gpu_grid(q, fault, tag).scale;
    HL_EACH(i, m * n)
    {
        const int64_t c = i % n;
        const float v = HL_QUANT_MUL(x[i], HL_QUANT_MUL(s_x, scales[per_column ? c : 0]));
        y[i] = bias ? HL_QUANT_ADD(v, bias[c]) : v;
    }
}

void hl_cu_rescale(hl_gpu *g, const hl_gpu_quantizer *of_x, int64_t m, int64_t n,
                   const float *scales, bool per_column, const float *bias, const float *x,
                   float *y)
{
    HL_GO(g, rescale_kernel, hl_gpu_blocks(g, m * n, HL_THREADS), HL_THREADS, 0, *of_x, m, n,
          scales, per_column, bias, x, y, g->fault, g->tag);
}
