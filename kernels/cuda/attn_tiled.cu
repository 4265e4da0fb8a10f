/* Attention by tiles (FlashAttention: arXiv 2205.14135, 2307.08691): a block holds the queries of a
 * tile and goes through the keys, the normaliser's maximum and sum running with it, so that scores
 * never go to memory. softmax1 differs in what these begin with: the extra logit is 0, so the
 * maximum starts at 0 and the sum at 1 (OutEffHop, arXiv 2404.03828). Clipped forms need the final
 * sum before the clip: a sweep for the statistics and another for the weights. Scores, statistics
 * and sums are floats whatever the operands are. */
#include "kernels/cuda/attn.cuh"

/* Maximum so far of a lane's two rows, and its part of their sums of exp(x - maximum). */
typedef struct running {
    float m[2], l[2];
} running;

/* Scores to exp(x - maximum), with those of earlier tiles. */
template <int N, int W> __device__ inline void run_on(running *r, float (*s)[4], float (*o)[4])
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float top = r->m[h];
#pragma unroll
        for (int j = 0; j < N; j++)
            top = fmaxf(top, fmaxf(s[j][2 * h], s[j][2 * h + 1]));
        top = attn_row_max(top);
        const float shift = top == -INFINITY ? 0.0f : top; /* nothing permitted yet */
        const float before = hl_exp(r->m[h] - shift);
        float sum = r->l[h] * before;
#pragma unroll
        for (int j = 0; j < N; j++)
#pragma unroll
            for (int i = 2 * h; i < 2 * h + 2; i++) {
                s[j][i] = hl_exp(s[j][i] - shift);
                sum += s[j][i];
            }
#pragma unroll
        for (int j = 0; j < W; j++) {
            o[j][2 * h] *= before;
            o[j][2 * h + 1] *= before;
        }
        r->m[h] = top;
        r->l[h] = sum;
    }
}

/* What turns a score into its probability (normalise_body.h). */
__device__ inline void finish(running *r)
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float sum = attn_row_sum(r->l[h]);
        r->m[h] = r->m[h] == -INFINITY ? 0.0f : r->m[h];
        r->l[h] = sum == 0.0f ? 0.0f : 1.0f / sum;
    }
}

template <int N>
__device__ inline void clip_scores(const hl_attn_args &a, const running &r, float (*s)[4])
{
#pragma unroll
    for (int j = 0; j < N; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[j][i] = hl_clip(
                a.norm, hl_normaliser_weight(HL_NORM_SOFTMAX, s[j][i], r.m[i / 2], r.l[i / 2]));
}

template <int N> __device__ inline void drop(const dropping &d, uint32_t kept, float (*s)[4])
{
#pragma unroll
    for (int j = 0; j < N; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[j][i] *= attn_keep(d, kept, j, i);
}

/* What a lane has of two rows, and their statistics; weighed: o was divided by the row's sum. */
template <int D>
__device__ inline void put_rows(const hl_attn_args &a, const attn_place &p, int64_t query,
                                const running &r, bool weighed, const float (*o)[4])
{
    const int t = (int)threadIdx.x & 3;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int64_t i = query + 8 * h;
        if (i >= a.t)
            continue;
        float *stat = a.stat + 2 * (p.head * a.t + i), *out = a.o + p.o0 + i * a.o_row;
        const float factor = attn_gate(a, p.b, p.h, i) * (weighed ? 1.0f : r.l[h]);
        if (t == 0) {
            stat[0] = r.m[h];
            stat[1] = r.l[h];
        }
#pragma unroll
        for (int j = 0; j < D / 8; j++)
            for (int k = 0; k < 2; k++)
                if (8 * j + t * 2 + k < a.d)
                    out[8 * j + t * 2 + k] = o[j][2 * h + k] * factor;
    }
}

template <int KIND, int D>
__global__ void __launch_bounds__(HL_ATTN_THREADS, 2)
    attention_tiled_kernel(hl_attn_args a, const hl_gpu_key *key, uint32_t stream, bool whole)
{
    typedef attn_tiles<KIND, D> tiles;
    HL_SHARED(unsigned char, bytes);
    const attn_room<KIND, D> room(bytes, 1);
    const int l = (int)threadIdx.x & 31, row0 = (int)threadIdx.x / 32 * 16;
    const attn_place p = attn_place_of(a, a.t, blockIdx.x);
    const int64_t query = p.first + row0 + l / 4; /* and eight behind */
    const dropping d = dropping_of(a, key, stream);
    const bool clips = hl_normaliser_clips(a.norm);
    const int n =
        (attn_keys_end(a, p.b, p.first + HL_ATTN_ROWS - 1) + tiles::cols - 1) / tiles::cols;
    const bool extra = a.norm.base == HL_NORM_SOFTMAX1;
    running r;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        r.m[h] = extra ? 0.0f : -INFINITY;
        r.l[h] = extra && l % 4 == 0 ? 1.0f : 0.0f;
    }
    float o[D / 8][4] = {};
    hl_copy_rows<KIND, D>(room.own[0], HL_ATTN_ROWS,
                          attn_operand<KIND>::of(a.q, a.q16) + p.q0 + p.first * a.q_row, a.q_row,
                          a.t - p.first, (int)a.d, whole);
    for (int sweep = clips ? 0 : 1; sweep < 2; sweep++) {
        attn_fetch_keys<KIND, D>(a, p, room, 0, sweep == 1, whole);
        for (int tile = 0; tile < n; tile++) {
            const int stage = tile & 1;
            float s[tiles::n][4] = {};
            if (tile + 1 < n)
                attn_fetch_keys<KIND, D>(a, p, room, tile + 1, sweep == 1, whole);
            else
                hl_copy_commit();
            hl_copy_wait<1>();
            __syncthreads();
            hl_rows_by_rows<KIND, D, tiles::n>::add(s, room.own[0] + row0 * tiles::row,
                                                    room.other[0] + stage * tiles::other);
            attn_mask_scores<tiles::n>(a, s, query, (int64_t)tile * tiles::cols,
                                       room.columns + stage * 4 * tiles::cols);
            if (!clips || sweep == 0)
                run_on<tiles::n, D / 8>(&r, s, o);
            if (sweep == 1) {
                if (clips)
                    clip_scores<tiles::n>(a, r, s);
                if (a.dropout > 0.0f)
                    drop<tiles::n>(d,
                                   attn_kept<tiles::n>(a, d,
                                                       (p.head * a.t + query) * a.s +
                                                           (int64_t)tile * tiles::cols + l % 4 * 2,
                                                       a.s, 1),
                                   s);
                hl_left_by_rows<KIND, D, tiles::n>::add(o, s, room.other[1] + stage * tiles::other,
                                                        room.product);
            }
            __syncthreads();
        }
        hl_copy_wait<0>();
        __syncthreads();
        if (!clips || sweep == 0)
            finish(&r);
    }
    put_rows<D>(a, p, query, r, clips, o);
}

bool hl_attn_is_whole(const void *p, int64_t step, size_t element)
{
    return ((uintptr_t)p | (uintptr_t)step * element) % 16 == 0;
}

bool hl_attn_are_whole(const hl_attn_args *a)
{
    const size_t size = a->q16 ? sizeof *a->q16 : sizeof *a->q;
    return hl_attn_is_whole(a->q16 ? (const void *)a->q16 : a->q, a->q_row, size) &&
           hl_attn_is_whole(a->k16 ? (const void *)a->k16 : a->k, a->k_row, size) &&
           hl_attn_is_whole(a->v16 ? (const void *)a->v16 : a->v, a->v_row, size);
}

template <int KIND, int D>
static void launch(hl_gpu *g, const hl_attn_args *a, const hl_gpu_key *key, uint32_t stream)
{
    void (*kernel)(hl_attn_args, const hl_gpu_key *, uint32_t, bool) =
        attention_tiled_kernel<KIND, D>;
    const size_t bytes = attn_tiles<KIND, D>::bytes(1);
    const int64_t tiles = (a->t + HL_ATTN_ROWS - 1) / HL_ATTN_ROWS;
    if (a->n_batch * a->n_head * tiles == 0)
        return;
    hl_gpu_note(
        g, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes));
    HL_GO(g, kernel, (unsigned)(a->n_batch * a->n_head * tiles), HL_ATTN_THREADS, bytes, *a, key,
          stream, hl_attn_are_whole(a));
}

void hl_attn_tiled(hl_gpu *g, const hl_attn_args *a, const hl_gpu_key *key, uint32_t stream)
{
    HL_ATTN_OF_KIND(g->tf32, a, launch, g, a, key, stream);
}
