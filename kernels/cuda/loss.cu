/* Tables and losses: look-up and its gradient, cross entropy, the rows of labels. */
#include "kernels/cuda/cuda_internal.h"
#include "kernels/row/cross_entropy_body.h"

enum { IGNORE = -100 };

template <typename T>
__global__ void embedding_kernel(int64_t n, int64_t rows, int64_t d, const void *table,
                                 const int32_t *ids, void *y, hl_gpu_fault *fault, int32_t tag)
{
    HL_EACH(i, n * d)
    {
        const int32_t id = ids[i / d];
        const bool fits = id >= 0 && id < rows;
        if (!fits && i % d == 0)
            hl_gpu_found(fault, tag, HL_FAULT_ID, i / d, id, (int32_t)rows);
        static_cast<T *>(y)[i] = fits ? static_cast<const T *>(table)[id * d + i % d] : T();
    }
}

void hl_cu_embedding(hl_gpu *g, int64_t n, int64_t rows, int64_t d, size_t size, const void *table,
                     const int32_t *ids, void *y)
{
    const unsigned blocks = hl_gpu_blocks(g, n * d, HL_THREADS);
    if (size == 2)
        HL_GO(g, embedding_kernel<uint16_t>, blocks, HL_THREADS, 0, n, rows, d, table, ids, y,
              g->fault, g->tag);
    else
        HL_GO(g, embedding_kernel<uint32_t>, blocks, HL_THREADS, 0, n, rows, d, table, ids, y,
              g->fault, g->tag);
}

/* A block per position. The first position of an id adds all cotangents of that id, in their order:
 * no atomics, and the same bits each time. */
__global__ void embedding_vjp_kernel(int64_t n, int64_t rows, int64_t d, int64_t padding,
                                     const float *gy, const int32_t *ids, float *y,
                                     hl_gpu_fault *fault, int32_t tag)
{
    __shared__ int seen;
    __shared__ int next[HL_THREADS];
    for (int64_t i = blockIdx.x; i < n; i += gridDim.x) {
        const int32_t id = ids[i];
        if (id < 0 || id >= rows) {
            if (threadIdx.x == 0)
                hl_gpu_found(fault, tag, HL_FAULT_ID, i, id, (int32_t)rows);
            continue;
        }
        if (id == padding)
            continue;
        __syncthreads();
        if (threadIdx.x == 0)
            seen = 0;
        __syncthreads();
        for (int64_t j = threadIdx.x; j < i; j += blockDim.x)
            if (ids[j] == id)
                seen = 1; /* all who write, write this */
        __syncthreads();
        if (seen)
            continue;
        for (int64_t j0 = i; j0 < n; j0 += HL_THREADS) {
            const int64_t j = j0 + threadIdx.x;
            next[threadIdx.x] = j < n && ids[j] == id;
            __syncthreads();
            for (int64_t c = threadIdx.x; c < d; c += blockDim.x) {
                float s = y[id * d + c];
                for (int k = 0; k < HL_THREADS; k++)
                    if (next[k])
                        s += gy[(j0 + k) * d + c];
                y[id * d + c] = s;
            }
            __syncthreads();
        }
    }
}

void hl_cu_embedding_vjp(hl_gpu *g, int64_t n, int64_t rows, int64_t d, int64_t padding,
                         const float *gy, const int32_t *ids, float *y)
{
    HL_GO(g, embedding_vjp_kernel, hl_gpu_blocks(g, n, 1), HL_THREADS, 0, n, rows, d, padding, gy,
          ids, y, g->fault, g->tag);
}

/* --- cross entropy --- */

/* Largest of what a thread has seen, and the sum of exp(x - largest). */
typedef struct online {
    float m, s;
} online;

__device__ inline online joined(online a, online b)
{
    online c;
    c.m = fmaxf(a.m, b.m);
    c.s =
        (a.m == c.m ? a.s : a.s * hl_exp(a.m - c.m)) + (b.m == c.m ? b.s : b.s * hl_exp(b.m - c.m));
    return c;
}

__device__ inline void see(online *o, float x)
{
    if (x > o->m) {
        o->s *= hl_exp(o->m - x);
        o->m = x;
    }
    o->s += x == o->m ? 1.0f : hl_exp(x - o->m); /* NaN stays */
}

/* Numbers of a row that lie before the first address of four at once, and where the fours end. */
__device__ inline void fours_of(const float *x, int64_t v, int64_t *begin, int64_t *end)
{
    const int64_t skew = (int64_t)(reinterpret_cast<uintptr_t>(x) / 4 % 4),
                  head = skew ? 4 - skew : 0;
    *begin = head < v ? head : v;
    *end = *begin + (v - *begin) / 4 * 4;
}

/* Of a block's row, in every thread; `room`: 64 floats of shared memory. */
__device__ inline online row_online(int64_t v, const float *x, float *room)
{
    online o = {-INFINITY, 0};
    int64_t begin, end;
    fours_of(x, v, &begin, &end);
    for (int64_t k = begin + 4 * (int64_t)threadIdx.x; k < end; k += 4 * (int64_t)blockDim.x) {
        const float4 f = *reinterpret_cast<const float4 *>(x + k);
        see(&o, f.x);
        see(&o, f.y);
        see(&o, f.z);
        see(&o, f.w);
    }
    const int64_t rest = begin + (v - end); /* at most three before and three behind */
    if ((int64_t)threadIdx.x < rest)
        see(&o, x[(int64_t)threadIdx.x < begin ? threadIdx.x : end + threadIdx.x - begin]);
    for (int i = 16; i; i >>= 1) {
        online other;
        other.m = __shfl_xor_sync(0xffffffffu, o.m, i);
        other.s = __shfl_xor_sync(0xffffffffu, o.s, i);
        /* in one order for both lanes of a pair */
        o = (threadIdx.x & (unsigned)i) ? joined(other, o) : joined(o, other);
    }
    __syncthreads();
    if ((threadIdx.x & 31) == 0) {
        room[threadIdx.x / 32] = o.m;
        room[32 + threadIdx.x / 32] = o.s;
    }
    __syncthreads();
    o.m = room[0];
    o.s = room[32];
    for (unsigned w = 1; w < blockDim.x / 32; w++) {
        const online other = {room[w], room[32 + w]};
        o = joined(o, other);
    }
    return o;
}

__device__ inline float logit_slope(float x, online o, float scale, bool is_label, float slope)
{
    return hl_exp(x - o.m) * scale - (is_label ? slope : 0.0f);
}

/* A row of logits by a block, read once: the loss, and with slope != 0 the gradient in y (which may
 * be x), after a second time. */
__device__ inline float entropy_row(int64_t v, const float *x, int32_t label, float slope, float *y,
                                    float *room)
{
    const online o = row_online(v, x, room);
    const float loss = logf(o.s) + (o.m - x[label]);
    if (slope == 0.0f)
        return loss;
    const float scale = slope / o.s;
    int64_t begin, end, other, there;
    fours_of(x, v, &begin, &end);
    fours_of(y, v, &other, &there);
    if (begin != other) /* x and y differ in where fours begin */
        begin = end = 0;
    __syncthreads(); /* all have read x[label] */
    for (int64_t k = begin + 4 * (int64_t)threadIdx.x; k < end; k += 4 * (int64_t)blockDim.x) {
        float4 f = *reinterpret_cast<const float4 *>(x + k);
        f.x = logit_slope(f.x, o, scale, k == label, slope);
        f.y = logit_slope(f.y, o, scale, k + 1 == label, slope);
        f.z = logit_slope(f.z, o, scale, k + 2 == label, slope);
        f.w = logit_slope(f.w, o, scale, k + 3 == label, slope);
        *reinterpret_cast<float4 *>(y + k) = f;
    }
    for (int64_t i = threadIdx.x; i < begin + (v - end); i += blockDim.x) {
        const int64_t k = i < begin ? i : end + i - begin;
        y[k] = logit_slope(x[k], o, scale, k == label, slope);
    }
    return loss;
}

/* 0: ignored; -1: outside, which is told; 1: a class */
__device__ inline int label_kind(int32_t label, int64_t v, int64_t at, hl_gpu_fault *fault,
                                 int32_t tag)
{
    if (label == IGNORE)
        return 0;
    if (label >= 0 && label < v)
        return 1;
    if (threadIdx.x == 0)
        hl_gpu_found(fault, tag, HL_FAULT_LABEL, at, label, (int32_t)v);
    return -1;
}

__global__ void cross_entropy_kernel(int64_t rows, int64_t v, const float *x, const int32_t *label,
                                     float *part, hl_gpu_fault *fault, int32_t tag)
{
    __shared__ float room[64];
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const bool counts = label_kind(label[r], v, r, fault, tag) > 0;
        const float loss = counts ? entropy_row(v, x + r * v, label[r], 0, NULL, room) : 0.0f;
        if (threadIdx.x == 0)
            part[r] = loss;
    }
}

__global__ void count_labels_kernel(int64_t rows, const int32_t *label, float *count)
{
    __shared__ double room[32];
    double n = 0;
    for (int64_t k = threadIdx.x; k < rows; k += blockDim.x)
        n += label[k] != IGNORE;
    n = hl_block_sum(n, room);
    if (threadIdx.x == 0)
        *count = (float)n;
}

__global__ void mean_loss_kernel(int64_t n, const float *part, const float *count, float *loss)
{
    __shared__ double room[32];
    double s = 0;
    for (int64_t k = threadIdx.x; k < n; k += blockDim.x)
        s += (double)part[k];
    s = hl_block_sum(s, room);
    if (threadIdx.x == 0)
        *loss = *count > 0.0f ? (float)(s / (double)*count) : 0.0f;
}

void hl_cu_mean_loss(hl_gpu *g, int64_t n, const float *part, const float *count, float *loss)
{
    HL_GO(g, mean_loss_kernel, 1, HL_THREADS, 0, n, part, count, loss);
}

void hl_cu_cross_entropy(hl_gpu *g, int64_t rows, int64_t v, const float *x, const int32_t *label,
                         float *loss, float *count, float *part)
{
    HL_GO(g, cross_entropy_kernel, hl_gpu_blocks(g, rows, 1), HL_THREADS, 0, rows, v, x, label,
          part, g->fault, g->tag);
    HL_GO(g, count_labels_kernel, 1, HL_THREADS, 0, rows, label, count);
    hl_cu_mean_loss(g, rows, part, count, loss);
}

__global__ void cross_entropy_vjp_kernel(int64_t rows, int64_t v, const float *gloss,
                                         const float *x, const int32_t *label, const float *count,
                                         float *gx)
{
    __shared__ float room[64];
    const float slope = *count > 0.0f ? *gloss / *count : 0.0f;
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const int32_t y = label[r];
        if (y >= 0 && y < v && slope != 0.0f)
            (void)entropy_row(v, x + r * v, y, slope, gx + r * v, room);
        else
            for (int64_t k = threadIdx.x; k < v; k += blockDim.x)
                gx[r * v + k] = 0.0f;
    }
}

void hl_cu_cross_entropy_vjp(hl_gpu *g, int64_t rows, int64_t v, const float *gloss, const float *x,
                             const int32_t *label, const float *count, float *gx)
{
    HL_GO(g, cross_entropy_vjp_kernel, hl_gpu_blocks(g, rows, 1), HL_THREADS, 0, rows, v, gloss, x,
          label, count, gx);
}

/* --- the labelled rows alone --- */

/* One block: running count of labels, 1024 at a time. */
__global__ void label_rows_kernel(int64_t rows, int64_t v, const int32_t *label, int32_t *used,
                                  float *count, hl_gpu_fault *fault, int32_t tag)
{
    __shared__ int before[32];
    const int lane = (int)(threadIdx.x & 31), warp = (int)(threadIdx.x / 32);
    int64_t n = 0;
    for (int64_t r0 = 0; r0 < rows; r0 += blockDim.x) {
        const int64_t r = r0 + threadIdx.x;
        bool mine = r < rows && label[r] != IGNORE;
        if (mine && (label[r] < 0 || label[r] >= v)) {
            hl_gpu_found(fault, tag, HL_FAULT_LABEL, r, label[r], (int32_t)v);
            mine = false;
        }
        const unsigned who = __ballot_sync(0xffffffffu, mine);
        __syncthreads();
        if (lane == 0)
            before[warp] = __popc(who);
        __syncthreads();
        int at = 0, all = 0;
        for (unsigned w = 0; w < blockDim.x / 32; w++) {
            at += (int)w < warp ? before[w] : 0;
            all += before[w];
        }
        if (mine)
            used[n + at + __popc(who & ((1u << lane) - 1u))] = (int32_t)r;
        n += all;
    }
    for (int64_t k = n + threadIdx.x; k < rows; k += blockDim.x)
        used[k] = -1;
    if (threadIdx.x == 0)
        *count = (float)n;
}

void hl_cu_label_rows(hl_gpu *g, int64_t rows, int64_t v, const int32_t *label, int32_t *used,
                      float *count)
{
    HL_GO(g, label_rows_kernel, 1, HL_THREADS, 0, rows, v, label, used, count, g->fault, g->tag);
}

template <typename T>
__global__ void take_rows_kernel(int64_t n, int64_t d, const int32_t *used, const void *h, void *x)
{
    HL_EACH(i, n * d)
    {
        const int64_t r = used[i / d];
        static_cast<T *>(x)[i] = r >= 0 ? static_cast<const T *>(h)[r * d + i % d] : T();
    }
}

void hl_cu_take_rows(hl_gpu *g, int64_t n, int64_t d, size_t size, const int32_t *used,
                     const void *h, void *x)
{
    const unsigned blocks = hl_gpu_blocks(g, n * d, HL_THREADS);
    if (size == 2)
        HL_GO(g, take_rows_kernel<uint16_t>, blocks, HL_THREADS, 0, n, d, used, h, x);
    else
        HL_GO(g, take_rows_kernel<uint32_t>, blocks, HL_THREADS, 0, n, d, used, h, x);
}

__global__ void put_rows_kernel(int64_t n, int64_t d, const int32_t *used, const float *x, float *h)
{
    HL_EACH(i, n * d)
    {
        const int64_t r = used[i / d];
        if (r >= 0)
            h[r * d + i % d] = x[i];
    }
}

void hl_cu_put_rows(hl_gpu *g, int64_t n, int64_t d, const int32_t *used, const float *x, float *h)
{
    HL_GO(g, put_rows_kernel, hl_gpu_blocks(g, n * d, HL_THREADS), HL_THREADS, 0, n, d, used, x, h);
}

__global__ void label_entropy_kernel(int64_t n, int64_t v, const int32_t *used,
                                     const int32_t *label, const float *gloss, const float *count,
                                     float *logits, float *loss)
{
    __shared__ float room[64];
    const float slope = gloss && *count > 0.0f ? *gloss / *count : 0.0f;
    for (int64_t i = blockIdx.x; i < n; i += gridDim.x) {
        const int32_t r = used[i];
        float l = 0;
        if (r >= 0)
            l = entropy_row(v, logits + i * v, label[r], slope, logits + i * v, room);
        if (gloss && (r < 0 || slope == 0.0f))
            for (int64_t k = threadIdx.x; k < v; k += blockDim.x)
                logits[i * v + k] = 0.0f;
        if (threadIdx.x == 0)
            loss[i] = l;
    }
}

void hl_cu_label_entropy(hl_gpu *g, int64_t n, int64_t v, const int32_t *used, const int32_t *label,
                         const float *gloss, const float *count, float *logits, float *loss)
{
    HL_GO(g, label_entropy_kernel, hl_gpu_blocks(g, n, 1), HL_THREADS, 0, n, v, used, label, gloss,
          count, logits, loss);
}
