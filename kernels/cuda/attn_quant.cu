/* Attention whose scores, weights and result lie on grids. A block takes some queries of one head:
 * their scores fill a part of shared memory, a tile of keys at a time, are normalised by a warp
 * each, and weigh the values, a tile at a time. Products are of floats, or of codes, four at once.
 * Compiled without contraction. */
#include "kernels/cuda/quant_grid.h"
#include "kernels/row/normalise_body.h"

static const int KEYS = 32, ACROSS = 64, QUERIES = 16, THREADS = 256;
static const size_t MOST_SHARED = 64 << 10;

typedef struct grids {
    hl_quant_grid q, k, v, scores, weights, o;
} grids;

/* How shared memory is laid out; offsets in words of four bytes. */
typedef struct layout {
    int queries;                       /* of a block */
    int64_t deep;                      /* words of a row of q or k */
    int64_t s4;                        /* words of a row of codes */
    int64_t q, tile, codes, sums, end; /* scores lie at 0 */
} layout;

static layout lay_out(const hl_gpu_attn_quant *a, int queries)
{
    const bool codes = a->q8 != NULL;
    layout l;
    l.queries = queries;
    l.deep = codes ? (a->d + 3) / 4 : a->d;
    l.s4 = codes ? (a->s + KEYS) / 4 : 0;
    l.q = queries * a->s;
    l.tile = l.q + queries * l.deep;
    const int64_t keys = KEYS * (l.deep + 1), values = KEYS * (ACROSS + 1);
    l.codes = l.tile + (keys > values ? keys : values);
    l.sums = l.codes + queries * l.s4;
    l.end = l.sums + queries + KEYS;
    return l;
}

/* A row of codes as words, zeros behind its end. */
__device__ inline uint32_t word_of(const uint8_t *row, int64_t n, int64_t i)
{
    uint32_t word = 0;
    for (int e = 0; e < 4; e++)
        word |= (4 * i + e < n ? (uint32_t)row[4 * i + e] : 0u) << 8 * e;
    return word;
}

__device__ inline uint32_t sum_of(const uint32_t *words, int64_t n)
{
    uint32_t sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum = __dp4a(words[i], 0x01010101u, sum);
    return sum;
}

__device__ inline bool permitted(const hl_gpu_attn_quant &a, int64_t b, int64_t i, int64_t j)
{
    return !(a.causal && j > i + (a.s - a.t)) && (!a.key_mask || a.key_mask[b * a.s + j]);
}

/* rows of words [n, deep] from q or k into `to`, whose rows are `row` words apart */
template <bool CODES>
__device__ inline void load_rows(const hl_gpu_attn_quant &a, const float *f, const uint8_t *u,
                                 int64_t at, int64_t n, int64_t deep, int64_t row, void *to)
{
    const int64_t width = a.n_head * a.d;
    for (int64_t e = threadIdx.x; e < n * deep; e += THREADS) {
        const int64_t r = e / deep, c = e % deep;
        if (CODES)
            static_cast<uint32_t *>(to)[r * row + c] = word_of(u + at + r * width, a.d, c);
        else
            static_cast<float *>(to)[r * row + c] = f[at + r * width + c];
    }
}

/* Scores of the block's queries with keys [j0, j0 + n), on their grid; hidden ones -inf. */
template <bool CODES>
__device__ inline void score_tile(const hl_gpu_attn_quant &a, const grids &g, const layout &l,
                                  int64_t b, int64_t i0, int64_t rows, int64_t j0, int64_t n,
                                  float *room)
{
    const float scale = CODES ? HL_QUANT_MUL(HL_QUANT_MUL(g.q.scale, g.k.scale), a.scale) : a.scale;
    const uint32_t z_q = (uint32_t)(int32_t)g.q.zero, z_k = (uint32_t)(int32_t)g.k.zero;
    const uint32_t *sums = reinterpret_cast<const uint32_t *>(room + l.sums);
    for (int64_t e = threadIdx.x; e < rows * KEYS; e += THREADS) {
        const int64_t r = e / KEYS, j = e % KEYS;
        const float *q = room + l.q + r * l.deep, *k = room + l.tile + j * (l.deep + 1);
        float x = 0;
        if (j >= n)
            continue;
        if (CODES) {
            const uint32_t *p = reinterpret_cast<const uint32_t *>(q),
                           *w = reinterpret_cast<const uint32_t *>(k);
            uint32_t dot = 0;
            for (int64_t c = 0; c < l.deep; c++)
                dot = __dp4a(p[c], w[c], dot);
            dot += (uint32_t)a.d * z_q * z_k - z_q * sums[l.queries + j] - z_k * sums[r];
            x = (float)(int32_t)dot;
        } else {
            for (int64_t c = 0; c < l.deep; c++)
                x = fmaf(q[c], k[c], x);
        }
        x = hl_quant_apply(g.scores, HL_QUANT_MUL(x, scale));
        room[r * a.s + j0 + j] = permitted(a, b, i0 + r, j0 + j) ? x : -INFINITY;
    }
}

/* Rows of scores become weights on their grid, or their codes, and these are summed; a warp each.
 */
template <bool CODES>
__device__ inline void weigh(const hl_gpu_attn_quant &a, const grids &g, const layout &l,
                             int64_t rows, int64_t n, float *room)
{
    uint32_t *sums = reinterpret_cast<uint32_t *>(room + l.sums);
    for (int64_t r = threadIdx.x / 32; r < rows; r += THREADS / 32) {
        float stat[2], *x = room + r * a.s;
        hl_normalise_row(a.norm, n, x, x, stat);
        if (!CODES) {
            HL_ROW_EACH(j, n, x[j] = hl_quant_apply(g.weights, x[j]));
            continue;
        }
        uint8_t *codes = reinterpret_cast<uint8_t *>(room + l.codes + r * l.s4);
        uint32_t sum = 0;
        for (int64_t j = threadIdx.x & 31; j < l.s4 * 4; j += 32) {
            const uint32_t code = j < n ? (uint32_t)hl_quant_encode(g.weights, x[j]) : 0u;
            codes[j] = (uint8_t)code;
            sum += code;
        }
        for (int o = 16; o; o >>= 1)
            sum += __shfl_xor_sync(0xffffffffu, sum, o);
        if ((threadIdx.x & 31) == 0)
            sums[r] = sum;
    }
}

/* A tile of values: rows of keys, or, as codes, for each element words of four keys. */
template <bool CODES>
__device__ inline void load_values(const hl_gpu_attn_quant &a, int64_t at, int64_t n, int64_t wide,
                                   float *tile)
{
    const int64_t width = a.n_head * a.d;
    for (int64_t e = threadIdx.x; e < (CODES ? KEYS / 4 : KEYS) * ACROSS; e += THREADS) {
        const int64_t j = e / ACROSS, c = e % ACROSS;
        if (CODES) {
            uint32_t word = 0;
            for (int i = 0; i < 4; i++)
                if (4 * j + i < n && c < wide)
                    word |= (uint32_t)a.v8[at + (4 * j + i) * width + c] << 8 * i;
            reinterpret_cast<uint32_t *>(tile)[c * (KEYS / 4 + 1) + j] = word;
        } else {
            tile[j * (ACROSS + 1) + c] = j < n && c < wide ? a.v[at + j * width + c] : 0.0f;
        }
    }
}

template <bool CODES>
__device__ inline void put(const hl_gpu_attn_quant &a, const grids &g, int64_t at, float sum,
                           uint32_t dot, uint32_t weights)
{
    float v = sum;
    if (CODES)
        v = HL_QUANT_MUL((float)(int32_t)(dot - (uint32_t)(int32_t)g.v.zero * weights),
                         HL_QUANT_MUL(g.weights.scale, g.v.scale));
    if (!a.o)
        a.o_codes[at] = (uint8_t)hl_quant_encode(g.o, v);
    else
        a.o[at] = a.of_o.range ? hl_quant_apply(g.o, v) : v;
}

/* Elements [d0, d0 + 64) of what the block's queries gather from n keys. */
template <bool CODES>
__device__ inline void gather(const hl_gpu_attn_quant &a, const grids &g, const layout &l,
                              int64_t at_q, int64_t at_k, int64_t rows, int64_t n, int64_t d0,
                              float *room)
{
    enum { EACH = QUERIES * ACROSS / THREADS };
    const int64_t width = a.n_head * a.d, wide = a.d - d0 < ACROSS ? a.d - d0 : ACROSS;
    const int c = (int)(threadIdx.x % ACROSS), r0 = (int)(threadIdx.x / ACROSS);
    const uint32_t *codes = reinterpret_cast<const uint32_t *>(room + l.codes),
                   *sums = reinterpret_cast<const uint32_t *>(room + l.sums),
                   *words = reinterpret_cast<const uint32_t *>(room + l.tile) + c * (KEYS / 4 + 1);
    float sum[EACH] = {0};
    uint32_t dot[EACH] = {0};
    for (int64_t j0 = 0; j0 < n; j0 += KEYS) {
        const int64_t m = n - j0 < KEYS ? n - j0 : KEYS;
        __syncthreads();
        load_values<CODES>(a, at_k + j0 * width + d0, m, wide, room + l.tile);
        __syncthreads();
        for (int i = 0; i < EACH; i++) {
            const int r = r0 + i * (THREADS / ACROSS);
            if (r >= rows)
                continue;
            if (CODES)
                for (int j = 0; j < KEYS / 4; j++)
                    dot[i] = __dp4a(codes[r * l.s4 + j0 / 4 + j], words[j], dot[i]);
            else
                for (int j = 0; j < m; j++)
                    sum[i] =
                        fmaf(room[r * a.s + j0 + j], room[l.tile + j * (ACROSS + 1) + c], sum[i]);
        }
    }
    for (int i = 0; i < EACH; i++) {
        const int r = r0 + i * (THREADS / ACROSS);
        if (r < rows && c < wide)
            put<CODES>(a, g, at_q + r * width + d0 + c, sum[i], dot[i], CODES ? sums[r] : 0);
    }
}

template <bool CODES>
__device__ inline grids grids_of(const hl_gpu_attn_quant &a, hl_gpu_fault *fault, int32_t tag)
{
    grids g = {};
    g.scores = hl_gpu_grid(a.of_scores, fault, tag);
    g.weights = hl_gpu_grid(a.of_weights, fault, tag);
    if (a.of_o.range)
        g.o = hl_gpu_grid(a.of_o, fault, tag);
    if (CODES) {
        g.q = hl_gpu_grid(a.of_q, fault, tag);
        g.k = hl_gpu_grid(a.of_k, fault, tag);
        g.v = hl_gpu_grid(a.of_v, fault, tag);
        if (g.weights.zero != 0.0f && threadIdx.x == 0)
            hl_gpu_found(fault, tag, HL_FAULT_WEIGHTS, 0, 0, 0);
    }
    return g;
}

template <bool CODES>
__global__ void __launch_bounds__(THREADS, 1)
    attention_quant_kernel(hl_gpu_attn_quant a, layout l, hl_gpu_fault *fault, int32_t tag)
{
    HL_SHARED(float, room);
    uint32_t *sums = reinterpret_cast<uint32_t *>(room + l.sums);
    const grids g = grids_of<CODES>(a, fault, tag);
    const int64_t parts = (a.t + l.queries - 1) / l.queries, width = a.n_head * a.d;
    for (int64_t p = blockIdx.x; p < a.n_batch * a.n_head * parts; p += gridDim.x) {
        const int64_t b = p / parts / a.n_head, h = p / parts % a.n_head,
                      i0 = p % parts * l.queries;
        const int64_t rows = a.t - i0 < l.queries ? a.t - i0 : l.queries,
                      last = i0 + rows + (a.s - a.t), n = a.causal && last < a.s ? last : a.s;
        const int64_t at_q = (b * a.t + i0) * width + h * a.d, at_k = b * a.s * width + h * a.d;
        __syncthreads();
        load_rows<CODES>(a, a.q, a.q8, at_q, rows, l.deep, l.deep, room + l.q);
        __syncthreads();
        if (CODES && threadIdx.x < rows)
            sums[threadIdx.x] =
                sum_of(reinterpret_cast<uint32_t *>(room + l.q) + threadIdx.x * l.deep, l.deep);
        for (int64_t j0 = 0; j0 < n; j0 += KEYS) {
            const int64_t m = n - j0 < KEYS ? n - j0 : KEYS;
            __syncthreads();
            load_rows<CODES>(a, a.k, a.k8, at_k + j0 * width, m, l.deep, l.deep + 1, room + l.tile);
            __syncthreads();
            if (CODES && threadIdx.x < m)
                sums[l.queries + threadIdx.x] =
                    sum_of(reinterpret_cast<uint32_t *>(room + l.tile) + threadIdx.x * (l.deep + 1),
                           l.deep);
            if (CODES)
                __syncthreads();
            score_tile<CODES>(a, g, l, b, i0, rows, j0, m, room);
        }
        __syncthreads();
        weigh<CODES>(a, g, l, rows, n, room);
        for (int64_t d0 = 0; d0 < a.d; d0 += ACROSS)
            gather<CODES>(a, g, l, at_q, at_k, rows, n, d0, room);
    }
}

#ifdef HL_CUDA_EMULATED
#define ALLOW_SHARED(g, kernel, bytes) (void)(bytes)
#else
#define ALLOW_SHARED(g, kernel, bytes)                                                             \
    hl_gpu_note((g), cudaFuncSetAttribute((kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,   \
                                          (int)(bytes)))
#endif

void hl_cu_attention_quant(hl_gpu *g, const hl_gpu_attn_quant *a)
{
    int queries = QUERIES;
    while (queries > 1 && (size_t)lay_out(a, queries).end * 4 > MOST_SHARED)
        queries /= 2;
    const layout l = lay_out(a, queries);
    const size_t bytes = (size_t)l.end * 4;
    const int64_t parts = a->n_batch * a->n_head * ((a->t + queries - 1) / queries);
    if (parts == 0 || a->d == 0)
        return;
    if (a->q8) {
        ALLOW_SHARED(g, attention_quant_kernel<true>, bytes);
        HL_GO(g, attention_quant_kernel<true>, hl_gpu_blocks(g, parts, 1), THREADS, bytes, *a, l,
              g->fault, g->tag);
    } else {
        ALLOW_SHARED(g, attention_quant_kernel<false>, bytes);
        HL_GO(g, attention_quant_kernel<false>, hl_gpu_blocks(g, parts, 1), THREADS, bytes, *a, l,
              g->fault, g->tag);
    }
}
