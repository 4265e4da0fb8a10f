/* Layer normalisation. A row is read once, four numbers at a time, and stays in registers: of a
 * warp where it has up to 1024 numbers, of a block up to 8192. Rows of other lengths go through the
 * row body.
 *
 * Backward, each group of threads adds up its columns' gradients over its rows in registers, a
 * block leaves them in a slot of its own, and the slots are added in order. */
#include "kernels/cuda/cuda_internal.h"
#include "kernels/row/layernorm_body.h"

enum { ROW_REGISTERS = 8192 }; /* numbers of the longest row that is kept */

typedef struct norm_rows {
    int64_t rows;
    hl_layernorm l;
    const float *x, *a; /* a: dropped and added to x first, what comes out goes to sum; or NULL */
    float p;
    const hl_gpu_key *key;
    uint32_t stream;
    float *sum, *y, *mean, *rstd;
} norm_rows;

typedef struct norm_slopes {
    int64_t rows, n;
    const float *gy, *x, *gamma, *mean, *rstd, *extra;
    float *gx, *part;
} norm_slopes;

__device__ inline float4 four_at(const float *p, int64_t at)
{
    return *reinterpret_cast<const float4 *>(p + at);
}

__device__ inline float kept(float x, float scale, uint32_t word, uint32_t threshold)
{
    return word >= threshold ? x * scale : 0.0f;
}

/* Elements i to i + 3 of the stream, i a multiple of four. */
__device__ inline float4 dropped_four(float4 x, float p, hl_philox_key key, int64_t i)
{
    const uint32_t threshold = hl_dropout_threshold(p);
    const float scale = 1.0f / (1.0f - p);
    uint32_t w[4];
    hl_philox_block(key, (uint64_t)i / 4, w);
    float4 y;
    y.x = kept(x.x, scale, w[0], threshold);
    y.y = kept(x.y, scale, w[1], threshold);
    y.z = kept(x.z, scale, w[2], threshold);
    y.w = kept(x.w, scale, w[3], threshold);
    return y;
}

/* Over the GROUP threads of a row: a warp, or the block. */
template <int GROUP> __device__ inline float group_sum(float v, float *room)
{
    if (GROUP == 32)
        for (int o = 16; o; o >>= 1)
            v += __shfl_xor_sync(0xffffffffu, v, o);
    else
        v = hl_block_sum(v, room);
    return v;
}

template <int GROUP> __device__ inline int64_t first_row(void)
{
    return ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / GROUP;
}

template <int GROUP> __device__ inline int64_t row_step(void)
{
    return (int64_t)gridDim.x * blockDim.x / GROUP;
}

template <int GROUP, int EACH> __global__ void norm_kernel(norm_rows k)
{
    __shared__ float room[32];
    const int64_t n = k.l.n, at0 = 4 * (int64_t)(threadIdx.x % GROUP);
    hl_philox_key key = {0, 0, 0, 0};
    if (k.p > 0.0f)
        key = hl_gpu_key_of(k.key, k.stream);
    for (int64_t r = first_row<GROUP>(); r < k.rows; r += row_step<GROUP>()) {
        float4 v[EACH] = {};
        float s = 0;
        for (int e = 0; e < EACH; e++) {
            const int64_t at = at0 + 4 * GROUP * e;
            if (at >= n)
                continue;
            v[e] = four_at(k.x, r * n + at);
            if (k.a) {
                float4 a = four_at(k.a, r * n + at);
                if (k.p > 0.0f)
                    a = dropped_four(a, k.p, key, r * n + at);
                v[e].x += a.x;
                v[e].y += a.y;
                v[e].z += a.z;
                v[e].w += a.w;
                *reinterpret_cast<float4 *>(k.sum + r * n + at) = v[e];
            }
            s += (v[e].x + v[e].y) + (v[e].z + v[e].w);
        }
        const float mean = group_sum<GROUP>(s, room) / (float)n;
        s = 0;
        for (int e = 0; e < EACH; e++) {
            if (at0 + 4 * GROUP * e >= n)
                continue;
            const float a = v[e].x - mean, b = v[e].y - mean, c = v[e].z - mean, d = v[e].w - mean;
            s += (a * a + b * b) + (c * c + d * d);
        }
        const float rstd = 1.0f / sqrtf(group_sum<GROUP>(s, room) / (float)n + k.l.eps);
        for (int e = 0; e < EACH; e++) {
            const int64_t at = at0 + 4 * GROUP * e;
            if (at >= n)
                continue;
            const float4 g = four_at(k.l.gamma, at), b = four_at(k.l.beta, at);
            float4 y;
            y.x = (v[e].x - mean) * rstd * g.x + b.x;
            y.y = (v[e].y - mean) * rstd * g.y + b.y;
            y.z = (v[e].z - mean) * rstd * g.z + b.z;
            y.w = (v[e].w - mean) * rstd * g.w + b.w;
            *reinterpret_cast<float4 *>(k.y + r * n + at) = y;
        }
        if (threadIdx.x % GROUP == 0) {
            k.mean[r] = mean;
            k.rstd[r] = rstd;
        }
    }
}

/* The row body, for rows that are not kept. */
__global__ void norm_plain_kernel(norm_rows k)
{
    const int64_t n = k.l.n;
    hl_philox_key key = {0, 0, 0, 0};
    if (k.p > 0.0f)
        key = hl_gpu_key_of(k.key, k.stream);
    const uint32_t threshold = hl_dropout_threshold(k.p);
    const float scale = 1.0f / (1.0f - k.p);
    HL_WARPS_EACH(r, k.rows)
    {
        float mean, rstd;
        const float *x = k.x + r * n;
        if (k.a) {
            float *to = k.sum + r * n;
            HL_ROW_EACH(j, n, const int64_t i = r * n + j; const float a = k.a[i];
                        to[j] = x[j] + (k.p > 0.0f ? kept(a, scale, hl_philox_u32(key, (uint64_t)i),
                                                          threshold)
                                                   : a));
            x = to;
        }
        hl_layernorm_row(&k.l, x, k.y + r * n, &mean, &rstd);
        if ((threadIdx.x & 31) == 0) {
            k.mean[r] = mean;
            k.rstd[r] = rstd;
        }
    }
}

static bool is_aligned(const void *p)
{
    return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

/* KERNEL<GROUP, EACH> for rows of n numbers. */
#define FOR_LENGTH(n, KERNEL)                                                                      \
    do {                                                                                           \
        if ((n) <= 128)                                                                            \
            KERNEL(32, 1);                                                                         \
        else if ((n) <= 256)                                                                       \
            KERNEL(32, 2);                                                                         \
        else if ((n) <= 512)                                                                       \
            KERNEL(32, 4);                                                                         \
        else if ((n) <= 768)                                                                       \
            KERNEL(32, 6);                                                                         \
        else if ((n) <= 1024)                                                                      \
            KERNEL(32, 8);                                                                         \
        else if ((n) <= 2048)                                                                      \
            KERNEL(HL_THREADS, 2);                                                                 \
        else if ((n) <= 4096)                                                                      \
            KERNEL(HL_THREADS, 4);                                                                 \
        else                                                                                       \
            KERNEL(HL_THREADS, 8);                                                                 \
    } while (0)

static void run_norm(hl_gpu *g, const norm_rows *k)
{
    const int64_t n = k->l.n;
    const bool kept_whole = n % 4 == 0 && n <= ROW_REGISTERS && is_aligned(k->x) &&
                            is_aligned(k->a) && is_aligned(k->sum) && is_aligned(k->y) &&
                            is_aligned(k->l.gamma) && is_aligned(k->l.beta);
    if (!kept_whole) {
        HL_GO(g, norm_plain_kernel, hl_gpu_blocks(g, k->rows * 32, HL_THREADS), HL_THREADS, 0, *k);
        return;
    }
#define NORM(GROUP, EACH)                                                                          \
    HL_GO(g, (norm_kernel<GROUP, EACH>), hl_gpu_blocks(g, k->rows *(GROUP), HL_THREADS),           \
          HL_THREADS, 0, *k)
    FOR_LENGTH(n, NORM);
#undef NORM
}

void hl_cu_layernorm(hl_gpu *g, int64_t rows, int64_t n, const float *x, const float *gamma,
                     const float *beta, float eps, float *y, float *mean, float *rstd)
{
    const hl_layernorm l = {n, gamma, beta, eps};
    const norm_rows k = {rows, l, x, NULL, 0, NULL, 0, NULL, y, mean, rstd};
    run_norm(g, &k);
}

void hl_cu_residual_norm(hl_gpu *g, int64_t rows, int64_t n, const float *a, const float *x,
                         const float *gamma, const float *beta, float eps, float p,
                         const hl_gpu_key *key, uint32_t stream, float *sum, float *y, float *mean,
                         float *rstd)
{
    const hl_layernorm l = {n, gamma, beta, eps};
    const norm_rows k = {rows, l, x, a, p, key, stream, sum, y, mean, rstd};
    run_norm(g, &k);
}

/* --- backward --- */

/* The sums of a block's columns into its slot; of several warps through shared memory. */
template <int GROUP, int EACH>
__device__ inline void leave_sums(const norm_slopes &k, const float4 *ga, const float4 *gb,
                                  float *all)
{
    float *to = GROUP == 32 ? all : k.part + 2 * k.n * blockIdx.x;
    for (int w = 0; w < (int)blockDim.x / GROUP; w++) { /* one warp after another */
        __syncthreads();
        if ((int)threadIdx.x / GROUP != w)
            continue;
        for (int e = 0; e < EACH; e++) {
            const int64_t at = 4 * ((int64_t)(threadIdx.x % GROUP) + GROUP * e);
            if (at >= k.n)
                continue;
            float4 *a = reinterpret_cast<float4 *>(to + at),
                   *b = reinterpret_cast<float4 *>(to + k.n + at);
            float4 s = ga[e], t = gb[e];
            if (w > 0) {
                s.x += a->x, s.y += a->y, s.z += a->z, s.w += a->w;
                t.x += b->x, t.y += b->y, t.z += b->z, t.w += b->w;
            }
            *a = s;
            *b = t;
        }
    }
    __syncthreads();
    for (int64_t i = threadIdx.x; GROUP == 32 && i < 2 * k.n; i += blockDim.x)
        k.part[2 * k.n * blockIdx.x + i] = all[i];
}

/* gx of a row from what was read of it, and its part of the columns' sums. */
template <int GROUP, int EACH> __global__ void norm_vjp_kernel(norm_slopes k)
{
    HL_SHARED(float, all); /* [2 n], where warps own rows */
    __shared__ float room[32];
    const int64_t n = k.n, at0 = 4 * (int64_t)(threadIdx.x % GROUP);
    float4 ga[EACH], gb[EACH];
    for (int e = 0; e < EACH; e++)
        ga[e].x = ga[e].y = ga[e].z = ga[e].w = gb[e].x = gb[e].y = gb[e].z = gb[e].w = 0;
    for (int64_t r = first_row<GROUP>(); r < k.rows; r += row_step<GROUP>()) {
        const float mean = k.mean[r], rstd = k.rstd[r];
        float4 h[EACH] = {}, g[EACH] = {}; /* normalised; cotangent times gamma */
        float sum = 0, dot = 0;
        for (int e = 0; e < EACH; e++) {
            const int64_t at = at0 + 4 * GROUP * e;
            if (at >= n)
                continue;
            const float4 x = four_at(k.x, r * n + at), gamma = four_at(k.gamma, at);
            g[e] = four_at(k.gy, r * n + at);
#define EACH_OF_FOUR(c)                                                                            \
    h[e].c = (x.c - mean) * rstd;                                                                  \
    ga[e].c += g[e].c * h[e].c;                                                                    \
    gb[e].c += g[e].c;                                                                             \
    g[e].c *= gamma.c;                                                                             \
    sum += g[e].c;                                                                                 \
    dot += g[e].c * h[e].c;
            EACH_OF_FOUR(x)
            EACH_OF_FOUR(y)
            EACH_OF_FOUR(z)
            EACH_OF_FOUR(w)
#undef EACH_OF_FOUR
        }
        const float c1 = group_sum<GROUP>(sum, room) / (float)n,
                    c2 = group_sum<GROUP>(dot, room) / (float)n;
        for (int e = 0; e < EACH; e++) {
            const int64_t at = at0 + 4 * GROUP * e;
            if (at >= n)
                continue;
            float4 y;
            y.x = rstd * (g[e].x - c1 - h[e].x * c2);
            y.y = rstd * (g[e].y - c1 - h[e].y * c2);
            y.z = rstd * (g[e].z - c1 - h[e].z * c2);
            y.w = rstd * (g[e].w - c1 - h[e].w * c2);
            if (k.extra) {
                const float4 x = four_at(k.extra, r * n + at);
                y.x += x.x;
                y.y += x.y;
                y.z += x.z;
                y.w += x.w;
            }
            *reinterpret_cast<float4 *>(k.gx + r * n + at) = y;
        }
    }
    leave_sums<GROUP, EACH>(k, ga, gb, all);
}

/* gx alone, each row's sums of its own, for rows that are not kept. */
__global__ void norm_gx_kernel(norm_slopes k)
{
    const int64_t n = k.n;
    HL_WARPS_EACH(r, k.rows)
    {
        const float *g = k.gy + r * n, *in = k.x + r * n, *gamma = k.gamma;
        const float m = k.mean[r], s = k.rstd[r];
        float sum, dot;
        HL_ROW_SUM2(sum, dot, j, n, g[j] * gamma[j], g[j] * gamma[j] * ((in[j] - m) * s));
        const float c1 = sum / (float)n, c2 = dot / (float)n;
        HL_ROW_EACH(j, n, const float v = s * (g[j] * gamma[j] - c1 - (in[j] - m) * s * c2);
                    k.gx[r * n + j] = v + (k.extra ? k.extra[r * n + j] : 0.0f));
    }
}

enum { COLUMNS = 32, DOWN = 8 };

/* ggamma and gbeta of 32 columns over the rows of part blockIdx.y, of gridDim.y parts. */
__global__ void norm_columns_kernel(norm_slopes k)
{
    __shared__ float a[DOWN][COLUMNS], b[DOWN][COLUMNS];
    const unsigned lane = threadIdx.x % COLUMNS, down = threadIdx.x / COLUMNS;
    const int64_t n = k.n, c = (int64_t)blockIdx.x * COLUMNS + lane;
    const int64_t each = (k.rows + gridDim.y - 1) / gridDim.y, first = each * blockIdx.y;
    const int64_t end = first + each < k.rows ? first + each : k.rows;
    float ga = 0, gb = 0;
    if (c < n)
        for (int64_t r = first + down; r < end; r += DOWN) {
            const float g = k.gy[r * n + c];
            ga += g * ((k.x[r * n + c] - k.mean[r]) * k.rstd[r]);
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
        k.part[(2 * (int64_t)blockIdx.y) * n + c] = ga;
        k.part[(2 * (int64_t)blockIdx.y + 1) * n + c] = gb;
    }
}

__global__ void norm_parts_kernel(int parts, int64_t n, const float *part, float *ggamma,
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

/* How many parts were left. */
static int run_vjp(hl_gpu *g, const norm_slopes *k)
{
    const int64_t n = k->n;
    const bool kept_whole = n % 4 == 0 && n <= ROW_REGISTERS && is_aligned(k->gy) &&
                            is_aligned(k->x) && is_aligned(k->gamma) && is_aligned(k->extra) &&
                            is_aligned(k->gx) && is_aligned(k->part);
    if (!kept_whole) {
        const int64_t wanted = (k->rows + 31) / 32, most = 32;
        const int parts = (int)(wanted < 1 ? 1 : wanted < most ? wanted : most);
        const dim3 grid((unsigned)((n + COLUMNS - 1) / COLUMNS), (unsigned)parts);
        /* columns first: gx may take the place of gy */
        HL_GO(g, norm_columns_kernel, grid, COLUMNS * DOWN, 0, *k);
        HL_GO(g, norm_gx_kernel, hl_gpu_blocks(g, k->rows * 32, HL_THREADS), HL_THREADS, 0, *k);
        return parts;
    }
    int parts = 1;
#define VJP(GROUP, EACH)                                                                           \
    do {                                                                                           \
        const int64_t blocks = (k->rows * (GROUP) + HL_THREADS - 1) / HL_THREADS;                  \
        parts = (int)(blocks < 1                        ? 1                                        \
                      : blocks < HL_GPU_LAYERNORM_PARTS ? blocks                                   \
                                                        : (int64_t)HL_GPU_LAYERNORM_PARTS);        \
        HL_GO(g, (norm_vjp_kernel<GROUP, EACH>), (unsigned)parts, HL_THREADS,                      \
              (GROUP) == 32 ? 2 * (size_t)n * sizeof(float) : 0, *k);                              \
    } while (0)
    FOR_LENGTH(n, VJP);
#undef VJP
    return parts;
}

void hl_cu_layernorm_vjp(hl_gpu *g, int64_t rows, int64_t n, const float *gy, const float *x,
                         const float *gamma, const float *mean, const float *rstd,
                         const float *extra, float *gx, float *ggamma, float *gbeta, float *part)
{
    const norm_slopes k = {rows, n, gy, x, gamma, mean, rstd, extra, gx, part};
    if (n == 0)
        return;
    const int parts = run_vjp(g, &k);
    HL_GO(g, norm_parts_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, parts, n,
          (const float *)part, ggamma, gbeta);
}

/* --- dropout --- */

__global__ void dropout_kernel(int64_t n, float p, const hl_gpu_key *key, uint32_t stream,
                               const float *x, float *y)
{
    const hl_philox_key k = hl_gpu_key_of(key, stream);
    const uint32_t threshold = hl_dropout_threshold(p);
    const float scale = 1.0f / (1.0f - p);
    HL_EACH(i, n)
    y[i] = kept(x[i], scale, hl_philox_u32(k, (uint64_t)i), threshold);
}

__global__ void dropout_four_kernel(int64_t n, float p, const hl_gpu_key *key, uint32_t stream,
                                    const float *x, float *y)
{
    const hl_philox_key k = hl_gpu_key_of(key, stream);
    HL_EACH(i, n / 4)
    *reinterpret_cast<float4 *>(y + 4 * i) = dropped_four(four_at(x, 4 * i), p, k, 4 * i);
}

void hl_cu_dropout(hl_gpu *g, int64_t n, float p, const hl_gpu_key *key, uint32_t stream,
                   const float *x, float *y)
{
    if (n % 4 == 0 && is_aligned(x) && is_aligned(y))
        HL_GO(g, dropout_four_kernel, hl_gpu_blocks(g, n / 4, HL_THREADS), HL_THREADS, 0, n, p, key,
              stream, x, y);
    else
        HL_GO(g, dropout_kernel, hl_gpu_blocks(g, n, HL_THREADS), HL_THREADS, 0, n, p, key, stream,
              x, y);
}
