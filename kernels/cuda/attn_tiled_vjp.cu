/* Backward of attention by tiles: weights are computed again from scores and the two numbers of
 * each row. Three kernels, and no sum in which it matters who comes first:
 *
 *   per row      dot = sum(go o), which is sum over keys of p dp where nothing is clipped; the
 * gate's gradient from the same number; go in bf16 where products want it query tiles  gq, going
 * through the keys; before, where the weights are clipped, a sweep for dot = sum over keys of p dp
 *   key tiles    gk and gv, going through the queries, scores transposed: keys are rows
 *
 * With weights w after clip and dropout, o = gate w v:  dp = slope of the clip (keep gate go v^T),
 * ds = p (dp - dot),  gq = scale ds k,  gk = scale ds^T q,  gv = w^T (gate go). */
#include "kernels/cuda/attn.cuh"

/* What the kernels share besides the call: numbers of each row [B,H,T], go in bf16 [B,T,H D]. */
typedef struct backward {
    float *dot;
    hl_bf16 *go16;
    bool sweeps; /* dot is not known from o */
    bool whole;
} backward;

__global__ void attention_dot_kernel(hl_attn_args a, float *dot, hl_bf16 *go16)
{
    HL_WARPS_EACH(row, a.n_batch * a.n_head * a.t)
    {
        const int64_t i = row % a.t, h = row / a.t % a.n_head, b = row / a.t / a.n_head;
        const float *go = a.grad_o + (b * a.t + i) * a.grad_o_row + h * a.d;
        const int64_t o0 = (b * a.t + i) * a.o_row + h * a.d,
                      go0 = ((b * a.t + i) * a.n_head + h) * a.d;
        float sum = 0;
        if (a.o16)
            HL_ROW_SUM(sum, e, a.d, go[e] * hl_from_bf16(a.o16[o0 + e]));
        else if (a.o)
            HL_ROW_SUM(sum, e, a.d, go[e] * a.o[o0 + e]);
        if (go16)
            HL_ROW_EACH(e, a.d, go16[go0 + e] = hl_to_bf16(go[e]));
        if ((threadIdx.x & 31) == 0) {
            if (dot)
                dot[row] = sum;
            if (a.grad_gate)
                a.grad_gate[(b * a.t + i) * a.n_head + h] = (1.0f - attn_gate(a, b, h, i)) * sum;
        }
    }
}

/* p dp, the part of dot: g is the cotangent of a final weight of probability p. */
__device__ inline float slope(const hl_normaliser &f, bool clips, float p, float g)
{
    return clips ? hl_clip_slope(f, p, g) : g;
}

/* go of rows from `first` on, into a tile of n rows */
template <int KIND, int D>
__device__ inline void fetch_go(const hl_attn_args &a, const backward &w, const attn_place &p,
                                typename hl_tile_of<KIND>::element *to, int n, int64_t first)
{
    const int64_t step = w.go16 ? a.n_head * a.d : a.grad_o_row,
                  at = w.go16 ? (p.b * a.t * a.n_head + p.h) * a.d : p.go0;
    hl_copy_rows<KIND, D>(to, n, attn_operand<KIND>::of(a.grad_o, w.go16) + at + first * step, step,
                          a.t - first, (int)a.d, w.whole);
}

/* Shift, second, dot and gate of a query; zeros behind the last. */
__device__ inline void query_numbers(const hl_attn_args &a, const backward &w, const attn_place &p,
                                     int64_t query, bool has_dot, float number[4])
{
    const int64_t row = p.head * a.t + query;
    const bool is = query < a.t;
    number[0] = is ? a.stat[2 * row] : 0.0f;
    number[1] = is ? a.stat[2 * row + 1] : 0.0f;
    number[2] = is && has_dot ? w.dot[row] : 0.0f;
    number[3] = is ? attn_gate(a, p.b, p.h, query) : 0.0f;
}

/* --- gq --- */

/* Scores to gradients of scores; adds the lane's part of the rows' dots. */
template <int N>
__device__ inline void query_slopes(const hl_attn_args &a, const dropping &d, uint32_t kept,
                                    const float (*number)[4], float (*s)[4], const float (*g)[4],
                                    float dot[2])
{
    const bool clips = hl_normaliser_clips(a.norm);
#pragma unroll
    for (int j = 0; j < N; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int h = i / 2;
            const bool seen = s[j][i] != -INFINITY;
            const float p =
                hl_normaliser_weight(HL_NORM_SOFTMAX, s[j][i], number[h][0], number[h][1]);
            const float factor = number[h][3] * attn_keep(d, kept, j, i),
                        dp = slope(a.norm, clips, p, factor * g[j][i]);
            dot[h] += seen ? p * dp : 0.0f;
            s[j][i] = seen ? p * (dp - number[h][2]) : 0.0f;
        }
}

template <int KIND, int D>
__global__ void __launch_bounds__(HL_ATTN_THREADS, 2)
    attention_gq_tiled_kernel(hl_attn_args a, const hl_gpu_key *key, uint32_t stream, backward w)
{
    typedef attn_tiles<KIND, D> tiles;
    HL_SHARED(unsigned char, bytes);
    const attn_room<KIND, D> room(bytes, 2);
    const int l = (int)threadIdx.x & 31, row0 = (int)threadIdx.x / 32 * 16;
    const attn_place p = attn_place_of(a, a.t, blockIdx.x);
    const int64_t query = p.first + row0 + l / 4; /* and eight behind */
    const dropping d = dropping_of(a, key, stream);
    const int n =
        (attn_keys_end(a, p.b, p.first + HL_ATTN_ROWS - 1) + tiles::cols - 1) / tiles::cols;
    float number[2][4], dot[2] = {}, gq[D / 8][4] = {};
    for (int h = 0; h < 2; h++)
        query_numbers(a, w, p, query + 8 * h, !w.sweeps, number[h]);
    hl_copy_rows<KIND, D>(room.own[0], HL_ATTN_ROWS,
                          attn_operand<KIND>::of(a.q, a.q16) + p.q0 + p.first * a.q_row, a.q_row,
                          a.t - p.first, (int)a.d, w.whole);
    fetch_go<KIND, D>(a, w, p, room.own[1], HL_ATTN_ROWS, p.first);
    for (int sweep = w.sweeps ? 0 : 1; sweep < 2; sweep++) {
        attn_fetch_keys<KIND, D>(a, p, room, 0, true, w.whole);
        for (int tile = 0; tile < n; tile++) {
            const int stage = tile & 1;
            float s[tiles::n][4] = {}, g[tiles::n][4] = {};
            if (tile + 1 < n)
                attn_fetch_keys<KIND, D>(a, p, room, tile + 1, true, w.whole);
            else
                hl_copy_commit();
            hl_copy_wait<1>();
            __syncthreads();
            hl_rows_by_rows<KIND, D, tiles::n>::add(s, room.own[0] + row0 * tiles::row,
                                                    room.other[0] + stage * tiles::other);
            hl_rows_by_rows<KIND, D, tiles::n>::add(g, room.own[1] + row0 * tiles::row,
                                                    room.other[1] + stage * tiles::other);
            attn_mask_scores<tiles::n>(a, s, query, (int64_t)tile * tiles::cols,
                                       room.columns + stage * 4 * tiles::cols);
            const uint32_t kept = attn_kept<tiles::n>(
                a, d, (p.head * a.t + query) * a.s + (int64_t)tile * tiles::cols + l % 4 * 2, a.s,
                1);
            query_slopes<tiles::n>(a, d, kept, number, s, g, dot);
            if (sweep == 1)
                hl_left_by_rows<KIND, D, tiles::n>::add(gq, s, room.other[0] + stage * tiles::other,
                                                        room.product);
            __syncthreads();
        }
        hl_copy_wait<0>();
        __syncthreads();
        for (int h = 0; h < 2 && sweep == 0; h++) {
            number[h][2] = attn_row_sum(dot[h]);
            if (l % 4 == 0 && query + 8 * h < a.t)
                w.dot[p.head * a.t + query + 8 * h] = number[h][2];
        }
    }
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
        for (int j = 0; j < D / 8; j++)
            for (int k = 0; k < 2; k++) {
                const int e = 8 * j + l % 4 * 2 + k;
                if (query + 8 * h < a.t && e < a.d)
                    a.grad_q[p.q0 + (query + 8 * h) * a.q_row + e] = a.scale * gq[j][2 * h + k];
            }
}

/* --- gk and gv --- */

/* Queries, go and the queries' numbers of a tile. */
template <int KIND, int D>
__device__ inline void fetch_queries(const hl_attn_args &a, const backward &w, const attn_place &p,
                                     const attn_room<KIND, D> &room, int tile)
{
    typedef attn_tiles<KIND, D> tiles;
    const int64_t first = (int64_t)tile * tiles::cols;
    const int stage = tile & 1;
    hl_copy_rows<KIND, D>(room.other[0] + stage * tiles::other, tiles::cols,
                          attn_operand<KIND>::of(a.q, a.q16) + p.q0 + first * a.q_row, a.q_row,
                          a.t - first, (int)a.d, w.whole);
    fetch_go<KIND, D>(a, w, p, room.other[1] + stage * tiles::other, tiles::cols, first);
    hl_copy_commit();
    float *at = room.columns + stage * 4 * tiles::cols;
    for (int c = (int)threadIdx.x; c < tiles::cols; c += HL_ATTN_THREADS) {
        float number[4];
        query_numbers(a, w, p, first + c, true, number);
        for (int i = 0; i < 4; i++)
            at[i * tiles::cols + c] = number[i];
    }
}

/* Transposed scores of keys (rows; `key`: that of s[.][0], there: of it and of the one eight
 * behind) and queries from `query` on to final weights, and g to gradients of scores. */
template <int N>
__device__ inline void key_slopes(const hl_attn_args &a, const dropping &d, uint32_t kept,
                                  int64_t query, int64_t key, const bool there[2],
                                  const float *number, float (*s)[4], float (*g)[4])
{
    const bool clips = hl_normaliser_clips(a.norm);
    const int t = (int)threadIdx.x & 3;
#pragma unroll
    for (int j = 0; j < N; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int c = 8 * j + 2 * t + i % 2;
            const bool seen =
                there[i / 2] && key + i / 2 * 8 <= hl_last_key(a.causal, a.t, a.s, query + c);
            const float p = hl_normaliser_weight(HL_NORM_SOFTMAX, a.scale * s[j][i], number[c],
                                                 number[8 * N + c]);
            const float factor = number[24 * N + c] * attn_keep(d, kept, j, i),
                        dp = slope(a.norm, clips, p, factor * g[j][i]);
            s[j][i] = seen ? factor * (clips ? hl_clip(a.norm, p) : p) : 0.0f;
            g[j][i] = seen ? p * (dp - number[16 * N + c]) : 0.0f;
        }
}

template <int KIND, int D>
__global__ void __launch_bounds__(HL_ATTN_THREADS, 2)
    attention_gkv_tiled_kernel(hl_attn_args a, const hl_gpu_key *key, uint32_t stream, backward w)
{
    typedef attn_tiles<KIND, D> tiles;
    HL_SHARED(unsigned char, bytes);
    const attn_room<KIND, D> room(bytes, 2);
    const int l = (int)threadIdx.x & 31, row0 = (int)threadIdx.x / 32 * 16;
    const attn_place p = attn_place_of(a, a.s, blockIdx.x);
    const int64_t mine = p.first + row0 + l / 4; /* key, and eight behind */
    const bool there[2] = {attn_key_is_there(a, p.b, mine), attn_key_is_there(a, p.b, mine + 8)};
    const dropping d = dropping_of(a, key, stream);
    const bool any = p.first < attn_keys_end(a, p.b, a.t - 1);
    const int first = (int)(hl_first_query(a.causal, a.t, a.s, p.first) / tiles::cols),
              n = any ? (int)((a.t + tiles::cols - 1) / tiles::cols) : 0;
    float gk[D / 8][4] = {}, gv[D / 8][4] = {};
    hl_copy_rows<KIND, D>(room.own[0], HL_ATTN_ROWS,
                          attn_operand<KIND>::of(a.k, a.k16) + p.k0 + p.first * a.k_row, a.k_row,
                          a.s - p.first, (int)a.d, w.whole);
    hl_copy_rows<KIND, D>(room.own[1], HL_ATTN_ROWS,
                          attn_operand<KIND>::of(a.v, a.v16) + p.v0 + p.first * a.v_row, a.v_row,
                          a.s - p.first, (int)a.d, w.whole);
    fetch_queries<KIND, D>(a, w, p, room, first);
    for (int tile = first; tile < n; tile++) {
        const int stage = tile & 1;
        float s[tiles::n][4] = {}, g[tiles::n][4] = {};
        if (tile + 1 < n)
            fetch_queries<KIND, D>(a, w, p, room, tile + 1);
        else
            hl_copy_commit();
        hl_copy_wait<1>();
        __syncthreads();
        hl_rows_by_rows<KIND, D, tiles::n>::add(s, room.own[0] + row0 * tiles::row,
                                                room.other[0] + stage * tiles::other);
        hl_rows_by_rows<KIND, D, tiles::n>::add(g, room.own[1] + row0 * tiles::row,
                                                room.other[1] + stage * tiles::other);
        const int64_t query = (int64_t)tile * tiles::cols;
        const uint32_t kept =
            attn_kept<tiles::n>(a, d, (p.head * a.t + query + l % 4 * 2) * a.s + mine, 1, a.s);
        key_slopes<tiles::n>(a, d, kept, query, mine, there, room.columns + stage * 4 * tiles::cols,
                             s, g);
        hl_left_by_rows<KIND, D, tiles::n>::add(gv, s, room.other[1] + stage * tiles::other,
                                                room.product);
        hl_left_by_rows<KIND, D, tiles::n>::add(gk, g, room.other[0] + stage * tiles::other,
                                                room.product);
        __syncthreads();
    }
    hl_copy_wait<0>();
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
        for (int j = 0; j < D / 8; j++)
            for (int k = 0; k < 2; k++) {
                const int e = 8 * j + l % 4 * 2 + k;
                if (mine + 8 * h >= a.s || e >= a.d)
                    continue;
                a.grad_k[p.k0 + (mine + 8 * h) * a.k_row + e] = a.scale * gk[j][2 * h + k];
                a.grad_v[p.v0 + (mine + 8 * h) * a.v_row + e] = gv[j][2 * h + k];
            }
}

/* --- launches --- */

void hl_attn_dots(hl_gpu *g, const hl_attn_args *a, float *dot, hl_bf16 *go16)
{
    HL_GO(g, attention_dot_kernel, hl_gpu_blocks(g, a->n_batch * a->n_head * a->t * 32, HL_THREADS),
          HL_THREADS, 0, *a, dot, go16);
}

template <int KIND, int D>
static void launch(hl_gpu *g, const hl_attn_args *a, const hl_gpu_key *key, uint32_t stream,
                   const backward *w)
{
    void (*gq)(hl_attn_args, const hl_gpu_key *, uint32_t, backward) =
        attention_gq_tiled_kernel<KIND, D>;
    void (*gkv)(hl_attn_args, const hl_gpu_key *, uint32_t, backward) =
        attention_gkv_tiled_kernel<KIND, D>;
    const size_t bytes = attn_tiles<KIND, D>::bytes(2);
    const int64_t heads = a->n_batch * a->n_head,
                  q_tiles = (a->t + HL_ATTN_ROWS - 1) / HL_ATTN_ROWS,
                  k_tiles = (a->s + HL_ATTN_ROWS - 1) / HL_ATTN_ROWS;
    hl_gpu_note(g,
                cudaFuncSetAttribute(gq, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes));
    hl_gpu_note(g,
                cudaFuncSetAttribute(gkv, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes));
    if (heads * q_tiles > 0)
        HL_GO(g, gq, (unsigned)(heads * q_tiles), HL_ATTN_THREADS, bytes, *a, key, stream, *w);
    if (heads * k_tiles > 0)
        HL_GO(g, gkv, (unsigned)(heads * k_tiles), HL_ATTN_THREADS, bytes, *a, key, stream, *w);
}

size_t hl_attn_tiled_scratch(const hl_attn_args *a)
{
    const size_t rows = (size_t)(a->n_batch * a->n_head * a->t);
    return rows * (sizeof(float) + (a->q16 ? (size_t)a->d * sizeof(hl_bf16) : 0));
}

void hl_attn_tiled_vjp(hl_gpu *g, const hl_attn_args *a, const hl_gpu_key *key, uint32_t stream,
                       void *scratch)
{
    const int64_t rows = a->n_batch * a->n_head * a->t;
    backward w;
    w.go16 = a->q16 ? static_cast<hl_bf16 *>(scratch) : NULL;
    w.dot = static_cast<float *>(scratch) + (a->q16 ? rows * a->d / 2 : 0);
    w.sweeps = a->norm.gamma < 0.0f || a->norm.eta > 1.0f || !(a->o || a->o16);
    w.whole = hl_attn_are_whole(a) &&
              (a->q16 || hl_attn_is_whole(a->grad_o, a->grad_o_row, sizeof *a->grad_o));
    if (!w.sweeps || a->q16 || a->grad_gate)
        hl_attn_dots(g, a, w.sweeps ? NULL : w.dot, w.go16);
    HL_ATTN_OF_KIND(g->tf32, a, launch, g, a, key, stream, &w);
}
