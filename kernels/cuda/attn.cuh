/* Attention on the device: what its kernels share, and which kernels there are. attn.cu: a block
 * per query, for every normaliser and head size. attn_tiled.cu and attn_tiled_vjp.cu: tiles of
 * queries and keys, for softmax and softmax1, clipped or not. */
#ifndef HL_ATTN_CUH
#define HL_ATTN_CUH

#include "kernels/cuda/tile.cuh"
#include "kernels/row/normalise_body.h"
#include "kernels/row/score_mask_body.h"

/* Dropout's factor of weight (query, key). */
typedef struct dropping {
    float p, per; /* 1 / (1 - p) */
    uint32_t threshold;
    hl_philox_key key;
} dropping;

__device__ inline float keep_of(const dropping &d, int64_t element)
{
    if (d.p == 0.0f)
        return 1.0f;
    return hl_philox_u32(d.key, (uint64_t)element) >= d.threshold ? d.per : 0.0f;
}

__device__ inline dropping dropping_of(const hl_attn_args &a, const hl_gpu_key *key,
                                       uint32_t stream)
{
    dropping d;
    d.p = a.dropout;
    d.per = 1.0f / (1.0f - a.dropout);
    d.threshold = hl_dropout_threshold(a.dropout);
    d.key = hl_gpu_key_of(key, stream);
    return d;
}

/* --- tiles --- */

/* A block of four warps owns 16 rows per warp: queries, or keys in the kernel of gk and gv; it goes
 * through the others `cols` at a time, two tiles of them in shared memory, one on its way. D: the
 * head size, padded with zeros to 32, 64 or 128. */
enum { HL_ATTN_THREADS = 128, HL_ATTN_ROWS = 64 };

template <int KIND, int D> struct attn_tiles {
    typedef typename hl_tile_of<KIND>::element element;
    static constexpr int cols = KIND == HL_TILE_BF16 && D <= 64 ? 64 : 32;
    static constexpr int n = cols / 8;
    static constexpr int row = hl_tile_row<KIND>(D);
    static constexpr int own = HL_ATTN_ROWS * row, other = cols * row; /* elements of a tile */
    static constexpr int room = hl_tile_room(KIND, n) * 4 * (int)sizeof(float);
    /* n_own tiles of rows; two of two kinds of others; the room of products; 4 numbers per column
     */
    static __host__ __device__ constexpr size_t bytes(int n_own)
    {
        return (size_t)(n_own * own + 4 * other) * sizeof(element) + room +
               2 * 4 * cols * sizeof(float);
    }
};

/* Where the parts of that lie. */
template <int KIND, int D> struct attn_room {
    typedef attn_tiles<KIND, D> tiles;
    typename tiles::element *own[2], *other[2]; /* other[i]: two tiles of kind i */
    float *product, *columns;                   /* of this warp; [2][4][cols] */

    __device__ attn_room(unsigned char *bytes, int n_own)
    {
        own[0] = reinterpret_cast<typename tiles::element *>(bytes);
        own[1] = own[0] + (n_own - 1) * tiles::own;
        other[0] = own[1] + tiles::own;
        other[1] = other[0] + 2 * tiles::other;
        float *rest = reinterpret_cast<float *>(other[1] + 2 * tiles::other);
        product = rest + (int)threadIdx.x / 32 * (tiles::room / 16);
        columns = rest + tiles::room / 4;
    }
};

/* One of two pointers, that which a kind of tiles reads. */
template <int KIND> struct attn_operand {
    static __device__ inline const float *of(const float *f, const hl_bf16 *) { return f; }
};
template <> struct attn_operand<HL_TILE_BF16> {
    static __device__ inline const hl_bf16 *of(const float *, const hl_bf16 *h) { return h; }
};

/* The rows of a block: first of its head's, and where that lies. */
typedef struct attn_place {
    int64_t b, h, head, first;
    int64_t q0, k0, v0, o0, go0; /* first elements of the head in q (and gq), k, v, o, grad_o */
} attn_place;

/* Block i of those that share heads of `rows` rows; the last ones first, which under a causal mask
 * have most to do. */
__device__ inline attn_place attn_place_of(const hl_attn_args &a, int64_t rows, int64_t block)
{
    const int64_t tiles = (rows + HL_ATTN_ROWS - 1) / HL_ATTN_ROWS;
    attn_place p;
    p.head = block / tiles;
    p.first = (tiles - 1 - block % tiles) * HL_ATTN_ROWS;
    p.b = p.head / a.n_head;
    p.h = p.head % a.n_head;
    p.q0 = p.b * a.t * a.q_row + p.h * a.d;
    p.k0 = p.b * a.s * a.k_row + p.h * a.d;
    p.v0 = p.b * a.s * a.v_row + p.h * a.d;
    p.o0 = p.b * a.t * a.o_row + p.h * a.d;
    p.go0 = p.b * a.t * a.grad_o_row + p.h * a.d;
    return p;
}

__device__ inline bool attn_key_is_there(const hl_attn_args &a, int64_t b, int64_t key)
{
    return key < a.s && (!a.key_mask || a.key_mask[b * a.s + key]);
}

/* One more than the last key that queries up to `query` may see; each warp finds it. */
__device__ inline int attn_keys_end(const hl_attn_args &a, int64_t b, int64_t query)
{
    const int64_t last = hl_last_key(a.causal, a.t, a.s, query < a.t ? query : a.t - 1);
    int end = 0;
    if (!a.key_mask)
        return last < 0 ? 0 : last < a.s ? (int)last + 1 : (int)a.s;
    for (int64_t j = threadIdx.x & 31; j <= last && j < a.s; j += 32)
        end = a.key_mask[b * a.s + j] ? (int)j + 1 : end;
    for (int o = 16; o; o >>= 1) {
        const int other = __shfl_xor_sync(0xffffffffu, end, o);
        end = other > end ? other : end;
    }
    return end;
}

/* Over the four lanes that share a row of a product. */
__device__ inline float attn_row_sum(float v)
{
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    return v + __shfl_xor_sync(0xffffffffu, v, 2);
}
__device__ inline float attn_row_max(float v)
{
    v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
    return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}

/* The factor of a query's output. */
__device__ inline float attn_gate(const hl_attn_args &a, int64_t b, int64_t h, int64_t query)
{
    return a.gate ? hl_sigmoid(a.gate[(b * a.t + query) * a.n_head + h]) : 1.0f;
}

/* Keys and values of a tile, and which keys are there (columns: 1 or 0), into stage `stage`. */
template <int KIND, int D>
__device__ inline void attn_fetch_keys(const hl_attn_args &a, const attn_place &p,
                                       const attn_room<KIND, D> &room, int tile, bool values,
                                       bool whole)
{
    typedef attn_tiles<KIND, D> tiles;
    const int64_t first = (int64_t)tile * tiles::cols;
    const int stage = tile & 1;
    hl_copy_rows<KIND, D>(room.other[0] + stage * tiles::other, tiles::cols,
                          attn_operand<KIND>::of(a.k, a.k16) + p.k0 + first * a.k_row, a.k_row,
                          a.s - first, (int)a.d, whole);
    if (values)
        hl_copy_rows<KIND, D>(room.other[1] + stage * tiles::other, tiles::cols,
                              attn_operand<KIND>::of(a.v, a.v16) + p.v0 + first * a.v_row, a.v_row,
                              a.s - first, (int)a.d, whole);
    hl_copy_commit();
    for (int c = (int)threadIdx.x; c < tiles::cols; c += HL_ATTN_THREADS)
        room.columns[stage * 4 * tiles::cols + c] =
            attn_key_is_there(a, p.b, first + c) ? 1.0f : 0.0f;
}

/* Products of a query tile (rows) and a key tile to scores; -inf for what may not be seen. query:
 * that of c[.][0] and c[.][1], c[.][2] is eight behind; there: of the tile's keys. */
template <int N>
__device__ inline void attn_mask_scores(const hl_attn_args &a, float (*c)[4], int64_t query,
                                        int64_t key, const float *there)
{
    const int t = (int)threadIdx.x & 3;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const int64_t last = hl_last_key(a.causal, a.t, a.s, query + 8 * r) - key;
#pragma unroll
        for (int j = 0; j < N; j++)
#pragma unroll
            for (int i = 2 * r; i < 2 * r + 2; i++) {
                const int col = 8 * j + 2 * t + i % 2;
                c[j][i] = col <= last && there[col] != 0.0f ? a.scale * c[j][i] : -INFINITY;
            }
    }
}

/* Which of a lane's elements of a product dropout keeps: bit 4 j + i is of c[j][i]. at: element of
 * c[0][0] of the stream; steps to the next row and column. Not unrolled: it is long. */
template <int N>
__device__ inline uint32_t attn_kept(const hl_attn_args &a, const dropping &d, int64_t at,
                                     int64_t row_step, int64_t col_step)
{
    uint32_t kept = 0;
    if (a.dropout == 0.0f)
        return ~kept;
#pragma unroll 1
    for (int pair = 0; pair < 2 * N; pair++) {
        const int64_t first = at + pair % 2 * 8 * row_step + pair / 2 * 8 * col_step;
        uint32_t w[4];
        hl_philox_block(d.key, (uint64_t)first >> 2, w);
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const int64_t e = first + k * col_step;
            if (e >> 2 != first >> 2)
                hl_philox_block(d.key, (uint64_t)e >> 2, w);
            const uint32_t low = e & 1 ? w[1] : w[0], high = e & 1 ? w[3] : w[2];
            kept |= (uint32_t)((e & 2 ? high : low) >= d.threshold) << (2 * pair + k);
        }
    }
    return kept;
}

/* Dropout's factor of c[j][i]. */
__device__ inline float attn_keep(const dropping &d, uint32_t kept, int j, int i)
{
    return kept >> (4 * j + i) & 1 ? d.per : 0.0f;
}

/* --- which --- */

/* Can rows be copied 16 bytes at a time: those at p, a step of elements apart; those of q, k and v?
 */
bool hl_attn_is_whole(const void *p, int64_t step, size_t element);
bool hl_attn_are_whole(const hl_attn_args *a);
void hl_attn_tiled(hl_gpu *g, const hl_attn_args *a, const hl_gpu_key *key, uint32_t stream);
/* Of each row r = sum(grad_o o): into dot [B,H,T] if that is not NULL, and grad_gate if that is
 * asked for; grad_o as bf16 [B,T,H D] into go16 or NULL. */
void hl_attn_dots(hl_gpu *g, const hl_attn_args *a, float *dot, hl_bf16 *go16);
/* scratch: hl_attn_tiled_scratch bytes */
size_t hl_attn_tiled_scratch(const hl_attn_args *a);
void hl_attn_tiled_vjp(hl_gpu *g, const hl_attn_args *a, const hl_gpu_key *key, uint32_t stream,
                       void *scratch);

/* launch<KIND, D>(...) for the call's kind and head size; tf32: may floats be rounded so? */
#define HL_ATTN_OF_SIZE_(kind, d, launch, ...)                                                     \
    ((d) <= 32   ? launch<kind, 32>(__VA_ARGS__)                                                   \
     : (d) <= 64 ? launch<kind, 64>(__VA_ARGS__)                                                   \
                 : launch<kind, 128>(__VA_ARGS__))
#define HL_ATTN_OF_KIND(tf32, a, launch, ...)                                                      \
    ((a)->q16 ? HL_ATTN_OF_SIZE_(HL_TILE_BF16, (a)->d, launch, __VA_ARGS__)                        \
     : (tf32) ? HL_ATTN_OF_SIZE_(HL_TILE_TF32, (a)->d, launch, __VA_ARGS__)                        \
              : HL_ATTN_OF_SIZE_(HL_TILE_F32, (a)->d, launch, __VA_ARGS__))

#endif
