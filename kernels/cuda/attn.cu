/* Attention, and which kernels serve a call. In those here a block takes one query of one head
 * after another: its scores lie in shared memory, are normalised by the row body in one warp, and
 * weigh the values. Simple and right for every normaliser, mask, and dropout; attn_tiled.cu has
 * those for the cases that pay.
 *
 * Backward: one kernel per query for gq (and galpha), one per key for gk and gv, which goes through
 * the queries in their order, so that no sum depends on who comes first. */
#include "kernels/cuda/attn.cuh"
#include "kernels/cuda/cuda_internal.h"

__device__ inline float head_at(const float *f, const hl_bf16 *h, int64_t at)
{
    return h ? hl_from_bf16(h[at]) : f[at];
}

/* Where a query lies: sequence b, head h, row i of T */
typedef struct place {
    int64_t b, h, i, q0, k0, v0,
        o0; /* first elements of its rows of q, o, and of the head's k, v */
} place;

__device__ inline place place_of(const hl_attn_args &a, int64_t row)
{
    place p;
    p.i = row % a.t;
    p.h = row / a.t % a.n_head;
    p.b = row / a.t / a.n_head;
    p.q0 = (p.b * a.t + p.i) * a.q_row + p.h * a.d;
    p.o0 = (p.b * a.t + p.i) * a.o_row + p.h * a.d;
    p.k0 = p.b * a.s * a.k_row + p.h * a.d;
    p.v0 = p.b * a.s * a.v_row + p.h * a.d;
    return p;
}

__device__ inline bool permitted(const hl_attn_args &a, int64_t b, int64_t i, int64_t j)
{
    return j <= hl_last_key(a.causal, a.t, a.s, i) && attn_key_is_there(a, b, j);
}

__device__ inline float score_of(const hl_attn_args &a, const place &p, int64_t j)
{
    float s = 0;
    for (int64_t e = 0; e < a.d; e++)
        s += head_at(a.q, a.q16, p.q0 + e) * head_at(a.k, a.k16, p.k0 + j * a.k_row + e);
    return a.scale * s;
}

/* Scores of a query into x[S], by all threads of the block. */
__device__ inline void scores(const hl_attn_args &a, const place &p, float *x)
{
    for (int64_t j = threadIdx.x; j < a.s; j += blockDim.x)
        x[j] = permitted(a, p.b, p.i, j) ? score_of(a, p, j) : -INFINITY;
}

__global__ void attention_kernel(hl_attn_args a, const float *alpha, const hl_gpu_key *key,
                                 uint32_t stream)
{
    HL_SHARED(float, x); /* [S] */
    const dropping drop = dropping_of(a, key, stream);
    a.norm.alpha = alpha ? (double)*alpha : 0;
    for (int64_t row = blockIdx.x; row < a.n_batch * a.n_head * a.t; row += gridDim.x) {
        const place p = place_of(a, row);
        __syncthreads();
        scores(a, p, x);
        __syncthreads();
        if (threadIdx.x < 32) {
            float stat[2];
            hl_normalise_row(a.norm, a.s, x, x, stat);
            if (threadIdx.x < 2)
                a.stat[2 * row + threadIdx.x] = stat[threadIdx.x];
        }
        __syncthreads();
        for (int64_t e = threadIdx.x; e < a.d; e += blockDim.x) {
            float o = 0;
            for (int64_t j = 0; j < a.s; j++)
                o += x[j] * keep_of(drop, row * a.s + j) *
                     head_at(a.v, a.v16, p.v0 + j * a.v_row + e);
            a.o[p.o0 + e] = o * attn_gate(a, p.b, p.h, p.i);
        }
    }
}

/* --- which kernels --- */

template <int KIND, int D> static size_t most_shared(void)
{
    return attn_tiles<KIND, D>::bytes(2);
}

/* Every device that these are compiled for (compute capability 8.0) has this much for a block. */
static const size_t shared_of_all = (size_t)99 << 10;

/* Do tiles serve the call where a block has `shared` bytes? They take softmax and softmax1, clipped
 * or not, and heads whose rows are copied 16 bytes at a time; another case is of the simple
 * kernels. */
static bool is_tiled(const hl_attn_args *a, bool tf32, size_t shared)
{
    const bool fits = a->norm.base == HL_NORM_SOFTMAX || a->norm.base == HL_NORM_SOFTMAX1;
    return fits && a->d % 8 == 0 && a->d >= 16 && a->d <= 128 &&
           HL_ATTN_OF_KIND(tf32, a, most_shared) <= shared;
}

/* The simple kernels ask for dL/dalpha and dL/dscore of everything. */
size_t hl_cu_attention_scratch(const hl_attn_args *a)
{
    const size_t rows = (size_t)(a->n_batch * a->n_head * a->t),
                 simple = rows * sizeof(double) + rows * (size_t)a->s * sizeof(float),
                 tiled = hl_attn_tiled_scratch(a);
    if (is_tiled(a, false, shared_of_all))
        return tiled;
    return simple > tiled ? simple : tiled;
}

void hl_cu_attention(hl_gpu *g, const hl_attn_args *a, const float *alpha, const hl_gpu_key *key,
                     uint32_t stream)
{
    const int64_t rows = a->n_batch * a->n_head * a->t;
    if (is_tiled(a, g->tf32, g->shared_most))
        hl_attn_tiled(g, a, key, stream);
    else
        HL_GO(g, attention_kernel, hl_gpu_blocks(g, rows, 1), 128, (size_t)a->s * sizeof(float), *a,
              alpha, key, stream);
}

/* --- backward --- */

/* The weights before dropout of row x of scores (in p), and dL/dx (in gx) from dL/dweight (in gx);
 * one warp. */
__device__ inline void row_gradient(hl_normaliser f, int64_t s, const float *stat, const float *x,
                                    float *p, float *gx, double *galpha)
{
    if (f.base == HL_NORM_ENTMAX) {
        const hl_entmax_row row = {s, x, stat};
        hl_normalise_entmax_slope(f, &row, gx, gx, galpha);
    } else {
        HL_ROW_EACH(j, s, p[j] = hl_normaliser_weight(f.base, x[j], stat[0], stat[1]));
        hl_normalise_row_slope(f, s, p, gx, gx);
    }
}

/* Final weight, after the clip, from a score. */
__device__ inline float final_weight(hl_normaliser f, float x, const float *stat)
{
    float p;
    if (f.base == HL_NORM_ENTMAX)
        p = hl_entmax_weight(hl_entmax_of(f), x - stat[0] - stat[1]);
    else
        p = hl_normaliser_weight(f.base, x, stat[0], stat[1]);
    if (f.base == HL_NORM_ENTMAX15)
        p *= p;
    return hl_normaliser_clips(f) ? hl_clip(f, p) : p;
}

/* dX of every query into gx [B,H,T,S] and gq; part: dL/dalpha of each query. */
__global__ void attention_gq_kernel(hl_attn_args a, const float *alpha, const hl_gpu_key *key,
                                    uint32_t stream, float *gx_all, double *part)
{
    HL_SHARED(float, x); /* [S] scores, [S] weights, [S] gradient */
    float *p = x + a.s, *gx = x + 2 * a.s;
    const dropping drop = dropping_of(a, key, stream);
    a.norm.alpha = alpha ? (double)*alpha : 0;
    for (int64_t row = blockIdx.x; row < a.n_batch * a.n_head * a.t; row += gridDim.x) {
        const place at = place_of(a, row);
        const float *go = a.grad_o + (at.b * a.t + at.i) * a.grad_o_row + at.h * a.d;
        __syncthreads();
        scores(a, at, x);
        for (int64_t j = threadIdx.x; j < a.s; j += blockDim.x) {
            float s = 0;
            for (int64_t e = 0; e < a.d; e++)
                s += go[e] * head_at(a.v, a.v16, at.v0 + j * a.v_row + e);
            gx[j] = s * keep_of(drop, row * a.s + j) * attn_gate(a, at.b, at.h, at.i);
        }
        __syncthreads();
        if (threadIdx.x < 32) {
            double ga = 0;
            row_gradient(a.norm, a.s, a.stat + 2 * row, x, p, gx, part ? &ga : NULL);
            if (part && threadIdx.x == 0)
                part[row] = ga;
        }
        __syncthreads();
        for (int64_t j = threadIdx.x; j < a.s; j += blockDim.x) {
            const float v = permitted(a, at.b, at.i, j) ? gx[j] : 0.0f;
            gx[j] = v;
            gx_all[row * a.s + j] = v;
        }
        __syncthreads();
        for (int64_t e = threadIdx.x; e < a.d; e += blockDim.x) {
            float s = 0;
            for (int64_t j = 0; j < a.s; j++)
                s += gx[j] * head_at(a.k, a.k16, at.k0 + j * a.k_row + e);
            a.grad_q[at.q0 + e] = a.scale * s;
        }
    }
}

/* gk and gv of one key of one head. */
__global__ void attention_gkv_kernel(hl_attn_args a, const float *alpha, const hl_gpu_key *key,
                                     uint32_t stream, const float *gx_all)
{
    HL_SHARED(float, w); /* [T] weights of this key after dropout */
    const dropping drop = dropping_of(a, key, stream);
    a.norm.alpha = alpha ? (double)*alpha : 0;
    for (int64_t col = blockIdx.x; col < a.n_batch * a.n_head * a.s; col += gridDim.x) {
        const int64_t j = col % a.s, head = col / a.s, row0 = head * a.t;
        __syncthreads();
        for (int64_t i = threadIdx.x; i < a.t; i += blockDim.x) {
            const place at = place_of(a, row0 + i);
            w[i] = permitted(a, at.b, i, j)
                       ? final_weight(a.norm, score_of(a, at, j), a.stat + 2 * (row0 + i)) *
                             keep_of(drop, (row0 + i) * a.s + j) * attn_gate(a, at.b, at.h, i)
                       : 0.0f;
        }
        __syncthreads();
        const place at = place_of(a, row0);
        const float *go = a.grad_o + at.b * a.t * a.grad_o_row + at.h * a.d;
        for (int64_t e = threadIdx.x; e < a.d; e += blockDim.x) {
            float gk = 0, gv = 0;
            for (int64_t i = 0; i < a.t; i++) {
                gk += gx_all[(row0 + i) * a.s + j] * head_at(a.q, a.q16, at.q0 + i * a.q_row + e);
                gv += w[i] * go[i * a.grad_o_row + e];
            }
            a.grad_k[at.k0 + j * a.k_row + e] = a.scale * gk;
            a.grad_v[at.v0 + j * a.v_row + e] = gv;
        }
    }
}

void hl_cu_attention_vjp(hl_gpu *g, const hl_attn_args *a, const float *alpha,
                         const hl_gpu_key *key, uint32_t stream, float *galpha, double *part)
{
    const int64_t rows = a->n_batch * a->n_head * a->t, cols = a->n_batch * a->n_head * a->s;
    float *gx = reinterpret_cast<float *>(part + rows);
    double *each = galpha ? part : NULL;
    if (is_tiled(a, g->tf32, g->shared_most)) {
        hl_attn_tiled_vjp(g, a, key, stream, part);
        return;
    }
    if (a->grad_gate)
        hl_attn_dots(g, a, NULL, NULL);
    HL_GO(g, attention_gq_kernel, hl_gpu_blocks(g, rows, 1), 128, 3 * (size_t)a->s * sizeof(float),
          *a, alpha, key, stream, gx, each);
    HL_GO(g, attention_gkv_kernel, hl_gpu_blocks(g, cols, 1), 128, (size_t)a->t * sizeof(float), *a,
          alpha, key, stream, (const float *)gx);
    if (galpha)
        hl_cu_add_doubles(g, rows, part, galpha);
}
