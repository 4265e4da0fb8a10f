/* Quantizers: numbers on grids and their codes, and what ranges are found from. Compiled without
 * contraction, so that codes are those of the CPU to the bit. */
#include <float.h>

#include "kernels/cuda/quant_grid.h"
#include "kernels/quant/float_body.h"
#include "kernels/row/row_body.h"

/* --- on a grid --- */

/* x_q, or the code less the zero point */
__device__ inline float quantized(hl_quant_grid g, bool centred, float x)
{
    if (!centred)
        return hl_quant_apply(g, x);
    return x == x ? (float)hl_quant_encode(g, x) - g.zero : x;
}

__global__ void fake_quant_kernel(hl_gpu_quantizer q, bool centred, int64_t n, const float *x,
                                  float *y, hl_gpu_fault *fault, int32_t tag)
{
    const hl_quant_grid g = hl_gpu_grid(q, fault, tag);
    HL_EACH(i, n)
    y[i] = quantized(g, centred, x[i]);
}

enum { SUMS = HL_QUANT_RANGE_FIELDS - HL_QUANT_NUMBERS };

/* The same with sums, a slot of `part` for each block. */
__global__ void measure_kernel(hl_gpu_quantizer q, int64_t n, const float *x, float *y,
                               double *part, hl_gpu_fault *fault, int32_t tag)
{
    __shared__ double room[32];
    const hl_quant_grid g = hl_gpu_grid(q, fault, tag);
    const double lo = (double)g.scale * ((double)g.r_min - 0.5),
                 hi = (double)g.scale * ((double)g.r_max + 0.5);
    double sum[SUMS] = {0};
    HL_EACH(i, n)
    {
        const float at = x[i], on = hl_quant_apply(g, at); /* y may be x */
        const double v = (double)at, e = v - (double)on;
        y[i] = on;
        sum[0] += 1;
        sum[HL_QUANT_SIGNAL - HL_QUANT_NUMBERS] += v * v;
        sum[HL_QUANT_NOISE - HL_QUANT_NUMBERS] += e * e;
        sum[HL_QUANT_CLIPPED - HL_QUANT_NUMBERS] += v < lo || v > hi;
    }
    for (int k = 0; k < SUMS; k++) {
        const double all = hl_block_sum(sum[k], room);
        if (threadIdx.x == 0)
            part[blockIdx.x * SUMS + k] = all;
    }
}

__global__ void measured_kernel(const double *part, double *range, const hl_gpu_fault *fault)
{
    double s = 0;
    for (int p = 0; p < HL_GPU_TENSOR_PARTS; p++)
        s += part[p * SUMS + threadIdx.x];
    if (fault->kind == HL_FAULT_NONE)
        range[HL_QUANT_NUMBERS + threadIdx.x] += s;
}

void hl_cu_fake_quant(hl_gpu *g, const hl_gpu_quantizer *q, bool centred, int64_t n, const float *x,
                      float *y, double *measured, double *part)
{
    if (!measured) {
        HL_GO(g, fake_quant_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, *q, centred, n,
              x, y, g->fault, g->tag);
        return;
    }
    HL_GO(g, measure_kernel, (unsigned)HL_GPU_TENSOR_PARTS, HL_THREADS, 0, *q, n, x, y, part, g->fault,
          g->tag);
    HL_GO(g, measured_kernel, 1, (unsigned)SUMS, 0, (const double *)part, measured, g->fault);
}

__global__ void encode_kernel(hl_gpu_quantizer q, int64_t n, const float *x, uint8_t *codes,
                              hl_gpu_fault *fault, int32_t tag)
{
    const hl_quant_grid g = hl_gpu_grid(q, fault, tag);
    HL_EACH(i, n)
    {
        const float at = x[i];
        if (hl_gpu_has_no_code(at))
            hl_gpu_found(fault, tag, HL_FAULT_NO_CODE, i, 0, 0);
        codes[i] = (uint8_t)hl_quant_encode(g, at);
    }
}

void hl_cu_quant_encode(hl_gpu *g, const hl_gpu_quantizer *q, int64_t n, const float *x,
                        uint8_t *codes)
{
    HL_GO(g, encode_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, *q, n, x, codes,
          g->fault, g->tag);
}

__global__ void decode_kernel(hl_gpu_quantizer q, int64_t n, const uint8_t *codes, float *y,
                              hl_gpu_fault *fault, int32_t tag)
{
    const hl_quant_grid g = hl_gpu_grid(q, fault, tag);
    HL_EACH(i, n)
    y[i] = hl_quant_decode(g, codes[i]);
}

void hl_cu_quant_decode(hl_gpu *g, const hl_gpu_quantizer *q, int64_t n, const uint8_t *codes,
                        float *y)
{
    HL_GO(g, decode_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, *q, n, codes, y,
          g->fault, g->tag);
}

/* --- what ranges are found from --- */

typedef struct extreme {
    float low, high, bad; /* largest of -x and of x; is any NaN? */
} extreme;

__device__ inline extreme wider(extreme a, extreme b)
{
    extreme e;
    e.low = fmaxf(a.low, b.low);
    e.high = fmaxf(a.high, b.high);
    e.bad = fmaxf(a.bad, b.bad);
    return e;
}

/* Of a block, in its first thread. */
__device__ inline extreme block_extreme(extreme e, extreme *room)
{
    for (int o = 16; o; o >>= 1) {
        extreme other;
        other.low = __shfl_xor_sync(0xffffffffu, e.low, o);
        other.high = __shfl_xor_sync(0xffffffffu, e.high, o);
        other.bad = __shfl_xor_sync(0xffffffffu, e.bad, o);
        e = wider(e, other);
    }
    if ((threadIdx.x & 31) == 0)
        room[threadIdx.x / 32] = e;
    __syncthreads();
    for (unsigned w = 1; threadIdx.x == 0 && w < blockDim.x / 32; w++)
        e = wider(e, room[w]);
    return e;
}

__global__ void extremes_kernel(int64_t n, const float *x, float *part)
{
    __shared__ extreme room[32];
    extreme e = {-INFINITY, -INFINITY, 0};
    HL_EACH(i, n)
    {
        const float v = x[i];
        const extreme one = {-v, v, v != v ? 1.0f : 0.0f};
        e = wider(e, one);
    }
    e = block_extreme(e, room);
    if (threadIdx.x == 0) {
        part[3 * blockIdx.x] = e.low;
        part[3 * blockIdx.x + 1] = e.high;
        part[3 * blockIdx.x + 2] = e.bad;
    }
}

__global__ void extremes_end_kernel(const float *part, float *out)
{
    __shared__ extreme room[32];
    const float *p = part + 3 * threadIdx.x;
    const extreme mine = {p[0], p[1], p[2]}, e = block_extreme(mine, room);
    if (threadIdx.x == 0) {
        out[0] = e.bad != 0.0f ? NAN : -e.low;
        out[1] = e.bad != 0.0f ? NAN : e.high;
    }
}

void hl_cu_extremes(hl_gpu *g, int64_t n, const float *x, float out[2], float *part)
{
    HL_GO(g, extremes_kernel, (unsigned)HL_GPU_TENSOR_PARTS, HL_THREADS, 0, n, x, part);
    HL_GO(g, extremes_end_kernel, 1, (unsigned)HL_GPU_TENSOR_PARTS, 0, (const float *)part, out);
}

enum { HALF = 65536 };

/* Integers are counted: any order gives the same. */
__global__ void key_counts_kernel(int64_t n, const float *x, int64_t upper, int32_t *counts)
{
    HL_EACH(i, n)
    {
        const uint32_t key = hl_float_key(x[i]);
        if (upper < 0)
            atomicAdd(&counts[key >> 16], 1);
        else if (key >> 16 == (uint32_t)upper)
            atomicAdd(&counts[key & 0xFFFF], 1);
    }
}

void hl_cu_key_counts(hl_gpu *g, int64_t n, const float *x, int64_t upper, int32_t *counts)
{
    hl_gpu_note(g, cudaMemsetAsync(counts, 0, HALF * sizeof *counts, g->stream));
    HL_GO(g, key_counts_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, n, x, upper,
          counts);
}

static const int64_t BLOCK = 2048; /* numbers whose errors are added in float, as on the CPU */

/* Squared errors of n numbers on a grid, by a warp. */
__device__ inline double errors_of(hl_quant_grid g, int64_t n, const float *x)
{
    double all = 0;
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t m = n - i < BLOCK ? n - i : BLOCK;
        const float *p = x + i;
        float sum;
        HL_ROW_SUM(
            sum, j, m,
            hl_quant_error(g.scale, g.r_min, g.r_max, p[j], hl_quant_steps_open(g.scale, p[j])));
        all += (double)sum;
    }
    return all;
}

__global__ void errors_kernel(int64_t n_rows, int64_t n_cols, int64_t piece, const float *x,
                              hl_quant_grid g, double *sums)
{
    const int64_t per_row = (n_cols + piece - 1) / piece;
    HL_WARPS_EACH(p, n_rows * per_row)
    {
        const int64_t row = p / per_row, col = p % per_row * piece;
        const double sum =
            errors_of(g, n_cols - col < piece ? n_cols - col : piece, x + row * n_cols + col);
        if ((threadIdx.x & 31) == 0)
            sums[p] = sum;
    }
}

void hl_cu_quant_errors(hl_gpu *g, int64_t n_rows, int64_t n_cols, int64_t piece, const float *x,
                        hl_quant_grid grid, double *sums)
{
    const int64_t warps = n_rows * ((n_cols + piece - 1) / piece);
    HL_GO(g, errors_kernel, hl_gpu_blocks(g, warps * 32, HL_THREADS), HL_THREADS, 0, n_rows, n_cols,
          piece, x, grid, sums);
}

__global__ void losses_kernel(int64_t n_rows, int64_t n_cols, const float *x, int64_t n,
                              const hl_quant_grid *grids, double *losses)
{
    HL_WARPS_EACH(k, n)
    {
        double loss = 0;
        for (int64_t r = 0; r < n_rows; r++)
            loss += (double)(float)errors_of(grids[k], n_cols, x + r * n_cols);
        if ((threadIdx.x & 31) == 0)
            losses[k] = loss;
    }
}

void hl_cu_quant_losses(hl_gpu *g, int64_t n_rows, int64_t n_cols, const float *x, int64_t n,
                        const hl_quant_grid *grids, double *losses)
{
    HL_GO(g, losses_kernel, hl_gpu_blocks(g, n * 32, HL_THREADS), HL_THREADS, 0, n_rows, n_cols, x,
          n, grids, losses);
}

__global__ void set_range_kernel(double seen, double lo, double hi, double *range,
                                 const hl_gpu_fault *fault)
{
    if (fault->kind != HL_FAULT_NONE)
        return;
    range[HL_QUANT_SEEN] = seen;
    range[HL_QUANT_LO] = lo;
    range[HL_QUANT_HI] = hi;
}

void hl_cu_set_range(hl_gpu *g, const double to[3], double *range)
{
    HL_GO(g, set_range_kernel, 1, 1, 0, to[HL_QUANT_SEEN], to[HL_QUANT_LO], to[HL_QUANT_HI], range,
          g->fault);
}

/* --- floats of fewer bits --- */

__global__ void fake_fp8_kernel(hl_small_float f, int64_t n, const float *x, const float *extremes,
                                float *y)
{
    const float amax = extremes[1] > -extremes[0] ? extremes[1] : -extremes[0];
    const float at = HL_QUANT_DIV(amax, f.max), scale = at < FLT_MIN ? FLT_MIN : at;
    HL_EACH(i, n)
    y[i] = HL_QUANT_MUL(hl_float_round(f, HL_QUANT_DIV(x[i], scale)), scale);
}

void hl_cu_fake_fp8(hl_gpu *g, bool e5m2, int64_t n, const float *x, const float extremes[2],
                    float *y)
{
    HL_GO(g, fake_fp8_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0,
          e5m2 ? hl_float_e5m2() : hl_float_e4m3(), n, x, extremes, y);
}

/* --- columns --- */

/* A thread per column, rows in order; eight are read at once. */
__global__ void input_stats_kernel(int64_t m, int64_t k, const float *x, double *stats,
                                   const hl_gpu_fault *fault)
{
    enum { AHEAD = 8 };
    if (fault->kind != HL_FAULT_NONE)
        return;
    double *most = stats + 1, *sum = most + k;
    HL_EACH(c, k)
    {
        double high = most[c], all = sum[c];
        for (int64_t t = 0; t < m; t += AHEAD) {
            float a[AHEAD];
            for (int i = 0; i < AHEAD; i++)
                a[i] = t + i < m ? fabsf(x[(t + i) * k + c]) : 0.0f;
            for (int i = 0; i < AHEAD; i++) {
                high = (double)a[i] > high ? (double)a[i] : high;
                all += (double)a[i];
            }
        }
        most[c] = high;
        sum[c] = all;
    }
    if (blockIdx.x == 0 && threadIdx.x == 0)
        stats[0] += (double)m;
}

void hl_cu_input_stats(hl_gpu *g, int64_t m, int64_t k, const float *x, double *stats)
{
    HL_GO(g, input_stats_kernel, hl_gpu_blocks(g, k, 64), 64, 0, m, k, x, stats, g->fault);
}

enum { COLUMNS = 32, DOWN = 8 };

/* Numbers that are not negative are ordered as their bits; the largest is the same in any order. */
__global__ void column_most_kernel(int64_t m, int64_t k, const float *x, float *most)
{
    const int64_t c = (int64_t)blockIdx.x * COLUMNS + threadIdx.x % COLUMNS;
    float high = 0;
    for (int64_t t = (int64_t)blockIdx.y * DOWN + threadIdx.x / COLUMNS; c < k && t < m;
         t += (int64_t)gridDim.y * DOWN) {
        const float a = fabsf(x[t * k + c]);
        high = a > high ? a : high;
    }
    if (c < k)
        atomicMax(reinterpret_cast<int *>(most) + c, __float_as_int(high));
}

__global__ void count_outliers_kernel(int64_t k, const float *most, float threshold, double *seen,
                                      const hl_gpu_fault *fault)
{
    __shared__ double room[32];
    double n = 0;
    for (int64_t c = threadIdx.x; c < k; c += blockDim.x)
        n += most[c] >= threshold;
    n = hl_block_sum(n, room);
    if (threadIdx.x != 0 || fault->kind != HL_FAULT_NONE)
        return;
    seen[0] += 1;
    seen[1] += n;
    seen[2] = fmax(seen[2], n);
}

void hl_cu_column_most(hl_gpu *g, int64_t m, int64_t k, const float *x, float threshold,
                       float *most, double *seen)
{
    const dim3 grid((unsigned)((k + COLUMNS - 1) / COLUMNS), hl_gpu_blocks(g, m, 64));
    hl_gpu_note(g, cudaMemsetAsync(most, 0, (size_t)k * sizeof *most, g->stream));
    if (k)
        HL_GO(g, column_most_kernel, grid, COLUMNS * DOWN, 0, m, k, x, most);
    if (seen)
        HL_GO(g, count_outliers_kernel, 1, HL_THREADS, 0, k, (const float *)most, threshold, seen,
              g->fault);
}

/* A warp per row. */
__global__ void vector_quant_kernel(int64_t m, int64_t k, const float *x, const float *most,
                                    float threshold, float int_max, float *y)
{
    const hl_small_float half = hl_float_f16();
    HL_WARPS_EACH(r, m)
    {
        const float *from = x + r * k;
        float high;
        HL_ROW_MAX(high, 0.0f, c, k, most[c] >= threshold ? 0.0f : fabsf(from[c]));
        const hl_quant_grid g = {fmaxf(HL_QUANT_DIV(high, int_max), (float)HL_QUANT_EPS), 0.0f,
                                 -int_max, int_max};
        HL_ROW_EACH(c, k,
                    y[r * k + c] = most[c] >= threshold ? hl_float_round(half, from[c])
                                                        : hl_quant_apply(g, from[c]));
    }
}

void hl_cu_vector_quant(hl_gpu *g, int64_t m, int64_t k, const float *x, const float *most,
                        float threshold, float int_max, float *y)
{
    HL_GO(g, vector_quant_kernel, hl_gpu_blocks(g, m * 32, HL_THREADS), HL_THREADS, 0, m, k, x,
          most, threshold, int_max, y);
}
