/* Sums, maxima, running sums, moments, norms. Every sum is made in an order that depends on sizes
 * alone: a thread strides, a block meets in shuffles, nothing is added by atomics. */
#include "kernels/cuda/cuda_internal.h"
#include "kernels/row/moment_bin_body.h"

/* x [before, summed, 1]: a block per row */
__global__ void sum_last_kernel(int64_t before, int64_t summed, const float *x, float *y)
{
    __shared__ double room[32];
    for (int64_t r = blockIdx.x; r < before; r += gridDim.x) {
        double s = 0;
        for (int64_t k = threadIdx.x; k < summed; k += blockDim.x)
            s += (double)x[r * summed + k];
        s = hl_block_sum(s, room);
        if (threadIdx.x == 0)
            y[r] = (float)s;
    }
}

enum { COLUMNS = 32, DOWN = 8 };

/* x [before, summed, after]: a block of 32 x 8 threads per 32 columns; each of the 8 strides down
 * the rows, then they are added in order. */
__global__ void sum_columns_kernel(int64_t before, int64_t summed, int64_t after, const float *x,
                                   float *y)
{
    __shared__ double part[DOWN][COLUMNS];
    const int64_t tiles = (after + COLUMNS - 1) / COLUMNS;
    const unsigned lane = threadIdx.x % COLUMNS, down = threadIdx.x / COLUMNS;
    for (int64_t t = blockIdx.x; t < before * tiles; t += gridDim.x) {
        const int64_t b = t / tiles, c = t % tiles * COLUMNS + lane;
        double s = 0;
        if (c < after)
            for (int64_t k = down; k < summed; k += DOWN)
                s += (double)x[(b * summed + k) * after + c];
        part[down][lane] = s;
        __syncthreads();
        if (down == 0 && c < after) {
            for (int d = 1; d < DOWN; d++)
                s += part[d][lane];
            y[b * after + c] = (float)s;
        }
        __syncthreads();
    }
}

void hl_cu_sum(hl_gpu *g, int64_t before, int64_t summed, int64_t after, const float *x, float *y)
{
    if (before == 0 || after == 0)
        return;
    if (after == 1)
        HL_GO(g, sum_last_kernel, hl_gpu_blocks(g, before, 1), summed < 1024 ? 64 : HL_THREADS, 0,
              before, summed, x, y);
    else
        HL_GO(g, sum_columns_kernel,
              hl_gpu_blocks(g, before * ((after + COLUMNS - 1) / COLUMNS), 1), COLUMNS * DOWN, 0,
              before, summed, after, x, y);
}

__global__ void max_rows_kernel(int64_t rows, int64_t n, const float *x, float *y)
{
    HL_WARPS_EACH(r, rows)
    {
        float m = -INFINITY, bad = 0;
        for (int64_t k = threadIdx.x & 31; k < n; k += 32) {
            const float v = x[r * n + k];
            m = v > m ? v : m;
            bad = v != v ? 1.0f : bad;
        }
        for (int o = 16; o; o >>= 1) {
            m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, o));
            bad = fmaxf(bad, __shfl_xor_sync(0xffffffffu, bad, o));
        }
        if ((threadIdx.x & 31) == 0)
            y[r] = bad != 0.0f ? NAN : m;
    }
}

void hl_cu_max_rows(hl_gpu *g, int64_t rows, int64_t n, const float *x, float *y)
{
    HL_GO(g, max_rows_kernel, hl_gpu_blocks(g, rows * 32, HL_THREADS), HL_THREADS, 0, rows, n, x,
          y);
}

/* A warp per row, 32 elements at a time. */
__global__ void cumsum_kernel(int64_t rows, int64_t n, const float *x, float *y)
{
    const int lane = (int)(threadIdx.x & 31);
    HL_WARPS_EACH(r, rows)
    {
        double before = 0;
        for (int64_t k0 = 0; k0 < n; k0 += 32) {
            const int64_t k = k0 + lane;
            double s = k < n ? (double)x[r * n + k] : 0;
            for (int o = 1; o < 32; o *= 2) {
                const double left = __shfl_sync(0xffffffffu, s, lane - o < 0 ? lane : lane - o);
                s += lane >= o ? left : 0;
            }
            s += before;
            if (k < n)
                y[r * n + k] = (float)s;
            before = __shfl_sync(0xffffffffu, s, 31);
        }
    }
}

void hl_cu_cumsum(hl_gpu *g, int64_t rows, int64_t n, const float *x, float *y)
{
    HL_GO(g, cumsum_kernel, hl_gpu_blocks(g, rows * 32, HL_THREADS), HL_THREADS, 0, rows, n, x, y);
}

__global__ void add_doubles_kernel(int64_t n, const double *x, float *y)
{
    __shared__ double room[32];
    double s = 0;
    for (int64_t k = threadIdx.x; k < n; k += blockDim.x)
        s += x[k];
    s = hl_block_sum(s, room);
    if (threadIdx.x == 0)
        *y = (float)s;
}

void hl_cu_add_doubles(hl_gpu *g, int64_t n, const double *x, float *y)
{
    HL_GO(g, add_doubles_kernel, 1, HL_THREADS, 0, n, x, y);
}

/* --- moments --- */

__device__ inline double block_max(double v, double *room)
{
    for (int o = 16; o; o >>= 1)
        v = fmax(v, __shfl_xor_sync(0xffffffffu, v, o));
    __syncthreads();
    if ((threadIdx.x & 31) == 0)
        room[threadIdx.x / 32] = v;
    __syncthreads();
    double m = room[0];
    for (unsigned w = 1; w < blockDim.x / 32; w++)
        m = fmax(m, room[w]);
    return m;
}

/* A block per part of a row, two passes: counts, sums and ends, then central sums in double. What a
 * block finds lies in a slot of its own; the last pass goes through the slots of a row in order. */
enum { FINITE, SUM, LOW, HIGH, M2, M3, M4, SLOT = 8 };

__device__ inline void part_of(int64_t n, int64_t parts, int64_t p, int64_t *begin, int64_t *end)
{
    const int64_t each = (n + parts - 1) / parts;
    *begin = p * each < n ? p * each : n;
    *end = *begin + each < n ? *begin + each : n;
}

__global__ void moments_ends_kernel(int64_t n_rows, int64_t n, int64_t parts, const float *x,
                                    double *slots, double *counts)
{
    __shared__ double room[32];
    __shared__ int count[HL_MOMENT_BINS];
    for (int64_t b = blockIdx.x; b < n_rows * parts; b += gridDim.x) {
        const float *p = x + b / parts * n;
        int64_t begin, end;
        double finite = 0, sum = 0, low = -INFINITY, high = -INFINITY;
        part_of(n, parts, b % parts, &begin, &end);
        __syncthreads();
        for (unsigned i = threadIdx.x; i < HL_MOMENT_BINS; i += blockDim.x)
            count[i] = 0;
        __syncthreads();
        for (int64_t k = begin + threadIdx.x; k < end; k += blockDim.x) {
            const float v = p[k];
            if (!(v - v == 0.0f))
                continue;
            finite += 1;
            sum += (double)v;
            low = fmax(low, -(double)v);
            high = fmax(high, (double)v);
            if (counts)
                atomicAdd(&count[hl_moment_bin(v)], 1); /* integers: any order gives the same */
        }
        finite = hl_block_sum(finite, room);
        sum = hl_block_sum(sum, room);
        low = block_max(low, room);
        high = block_max(high, room);
        if (threadIdx.x == 0) {
            double *to = slots + b * SLOT;
            to[FINITE] = finite;
            to[SUM] = sum;
            to[LOW] = low;
            to[HIGH] = high;
        }
        for (unsigned i = threadIdx.x; counts && i < HL_MOMENT_BINS; i += blockDim.x)
            counts[b * HL_MOMENT_BINS + i] = (double)count[i];
    }
}

/* Numbers of a row that are finite, and their mean. */
__device__ inline double mean_of(const double *slots, int64_t parts, double *finite)
{
    double sum = 0, all = 0;
    for (int64_t p = 0; p < parts; p++) {
        sum += slots[p * SLOT + SUM];
        all += slots[p * SLOT + FINITE];
    }
    *finite = all;
    return all > 0 ? sum / all : 0;
}

__global__ void moments_central_kernel(int64_t n_rows, int64_t n, int64_t parts, const float *x,
                                       double *slots)
{
    __shared__ double room[32];
    for (int64_t b = blockIdx.x; b < n_rows * parts; b += gridDim.x) {
        const float *p = x + b / parts * n;
        int64_t begin, end;
        double finite, m2 = 0, m3 = 0, m4 = 0;
        const double mean = mean_of(slots + b / parts * parts * SLOT, parts, &finite);
        part_of(n, parts, b % parts, &begin, &end);
        for (int64_t k = begin + threadIdx.x; k < end; k += blockDim.x) {
            const float v = p[k];
            const double d = v - v == 0.0f ? (double)v - mean : 0;
            m2 += d * d;
            m3 += d * d * d;
            m4 += d * d * d * d;
        }
        m2 = hl_block_sum(m2, room);
        m3 = hl_block_sum(m3, room);
        m4 = hl_block_sum(m4, room);
        if (threadIdx.x == 0) {
            slots[b * SLOT + M2] = m2;
            slots[b * SLOT + M3] = m3;
            slots[b * SLOT + M4] = m4;
        }
    }
}

/* A thread per row. */
__global__ void moments_end_kernel(int64_t n_rows, int64_t n, int64_t parts, const double *slots,
                                   double *rows)
{
    HL_EACH(r, n_rows)
    {
        const double *from = slots + r * parts * SLOT;
        double finite, m[3] = {0, 0, 0}, low = -INFINITY, high = -INFINITY;
        const double mean = mean_of(from, parts, &finite);
        for (int64_t p = 0; p < parts; p++, from += SLOT) {
            low = fmax(low, from[LOW]);
            high = fmax(high, from[HIGH]);
            for (int k = 0; k < 3; k++)
                m[k] += from[M2 + k];
        }
        const double out[8] = {finite, (double)n - finite, mean, m[0], m[1], m[2], -low, high};
        for (int i = 0; i < 8; i++)
            rows[r * 8 + i] = out[i];
    }
}

enum { STRIPES = 8 };

/* Counts are whole numbers: any order gives the same. */
__global__ void bins_kernel(int64_t n, const double *counts, double *bins)
{
    __shared__ double part[STRIPES][HL_MOMENT_BINS];
    const unsigned b = threadIdx.x % HL_MOMENT_BINS, stripe = threadIdx.x / HL_MOMENT_BINS;
    double s = 0;
    for (int64_t r = stripe; r < n; r += STRIPES)
        s += counts[r * HL_MOMENT_BINS + b];
    part[stripe][b] = s;
    __syncthreads();
    for (int i = 1; stripe == 0 && i < STRIPES; i++)
        s += part[i][b];
    if (stripe == 0)
        bins[b] = s;
}

void hl_cu_moments(hl_gpu *g, int64_t n_rows, int64_t n, const float *x, double *rows, double *bins,
                   double *part)
{
    const int64_t parts = hl_gpu_moment_parts(n_rows, n), all = n_rows * parts;
    const unsigned blocks = hl_gpu_blocks(g, all, 1);
    double *counts = bins ? part + all * SLOT : (double *)NULL;
    HL_GO(g, moments_ends_kernel, blocks, HL_THREADS, 0, n_rows, n, parts, x, part, counts);
    HL_GO(g, moments_central_kernel, blocks, HL_THREADS, 0, n_rows, n, parts, x, part);
    HL_GO(g, moments_end_kernel, hl_gpu_blocks(g, n_rows, HL_THREADS), HL_THREADS, 0, n_rows, n,
          parts, (const double *)part, rows);
    if (bins)
        HL_GO(g, bins_kernel, 1, HL_MOMENT_BINS * STRIPES, 0, all, (const double *)counts, bins);
}

/* --- norm --- */

/* A block per chunk of a tensor. */
__global__ void norm_part_kernel(hl_gpu_tensors t, bool largest, double *part)
{
    __shared__ double room[32];
    int64_t begin, end;
    const float *x = hl_gpu_tensor_here(t, &begin, &end).p;
    double s = 0, bad = 0;
    for (int64_t k = begin + threadIdx.x; k < end; k += blockDim.x) {
        const double v = (double)x[k];
        s = largest ? fmax(s, fabs(v)) : s + v * v;
        bad = v - v == 0 ? bad : 1;
    }
    s = largest ? block_max(s, room) : hl_block_sum(s, room);
    bad = block_max(bad, room);
    if (threadIdx.x == 0)
        part[blockIdx.x] = largest && bad != 0 ? (double)NAN : s;
}

void hl_cu_norm_part(hl_gpu *g, const hl_gpu_tensors *t, bool largest, double *part)
{
    if (t->n_blocks)
        HL_GO(g, norm_part_kernel, (unsigned)t->n_blocks, HL_THREADS, 0, *t, largest, part);
}

__global__ void norm_end_kernel(int64_t n, bool largest, const double *part, float *norm)
{
    __shared__ double room[32];
    double s = 0, bad = 0;
    for (int64_t k = threadIdx.x; k < n; k += blockDim.x) {
        s = largest ? fmax(s, part[k]) : s + part[k];
        bad = part[k] != part[k] ? 1 : bad;
    }
    s = largest ? block_max(s, room) : hl_block_sum(s, room);
    bad = block_max(bad, room);
    if (threadIdx.x == 0)
        *norm = bad != 0 ? NAN : (float)(largest ? s : sqrt(s));
}

void hl_cu_norm_end(hl_gpu *g, int64_t n_parts, bool largest, const double *part, float *norm)
{
    HL_GO(g, norm_end_kernel, 1, HL_THREADS, 0, n_parts, largest, part, norm);
}

/* --- the largest sizes: a warp per token, a thread per channel --- */

__device__ inline int larger(int a, int b)
{
    return a > b ? a : b;
}

__global__ void token_extents_kernel(int64_t rows, int64_t n, const float *x, float *tokens)
{
    HL_WARPS_EACH(r, rows)
    {
        int most = 0;
        for (int64_t j = threadIdx.x & 31; j < n; j += 32)
            most = larger(most, hl_size_bits(x[r * n + j]));
        for (int o = 16; o; o >>= 1)
            most = larger(most, __shfl_xor_sync(0xffffffffu, most, o));
        if ((threadIdx.x & 31) == 0)
            tokens[r] = hl_bits_to_float(most);
    }
}

__global__ void channel_extents_kernel(int64_t b, int64_t t, int64_t n, const float *x,
                                       float *channels)
{
    HL_EACH(i, b * n)
    {
        const float *from = x + i / n * t * n + i % n;
        int most = 0;
        for (int64_t r = 0; r < t; r++)
            most = larger(most, hl_size_bits(from[r * n]));
        channels[i] = hl_bits_to_float(most);
    }
}

void hl_cu_extents(hl_gpu *g, int64_t b, int64_t t, int64_t n, const float *x, float *tokens,
                   float *channels)
{
    HL_GO(g, token_extents_kernel, hl_gpu_blocks(g, b * t * 32, HL_THREADS), HL_THREADS, 0, b * t,
          n, x, tokens);
    HL_GO(g, channel_extents_kernel, hl_gpu_blocks(g, b * n, HL_THREADS), HL_THREADS, 0, b, t, n, x,
          channels);
}
