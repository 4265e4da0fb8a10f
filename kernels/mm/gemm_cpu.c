/* Matrix product on a team. Blocks of B are packed once, by all workers together, into panels of
 * HL_NR columns; each worker packs its own rows of A into panels of its tiles' height and sweeps
 * the tiles. Products with few rows, or rows that need no packing, are cut by columns instead.
 *
 * A panel of B (KC x HL_NR) stays in L1, a block of A (MC x KC) in L2, the packed block of B
 * (KC x NC) in L2 or L3. Sums over k run in order of k within a block and blocks are added in
 * order: the result does not depend on the number of workers.
 *
 * Operands of bf16 are widened where they are packed, or packed as pairs for the instructions that
 * multiply those; such blocks are HL_NR columns wide too, but PAIR_SIDE rows high, and rows of A
 * that are whole pairs need no packing for dot products. */
#include "kernels/mm/act_body.h"
#include "kernels/mm/pairs_block.h"
#include "kernels/vec/round_row.h"

enum { KC = 384, MC = 12 * HL_MR, NC = 64 * HL_NR };

#ifdef HL_HAS_PAIRS
/* A panel of B, 96 KB at most, comes from L2 fast enough; deeper blocks read and write C less
 * often. */
enum { TILES_KC = 768, DOT_KC = 1536, DEPTH = DOT_KC / 2 /* floats */ };
enum { K_UNIT = PAIR_K, MOST_ROWS = PAIR_SIDE };
#else
enum { K_UNIT = 1, MOST_ROWS = HL_MR, DEPTH = KC };
#define BF16_WAY() HL_BF16_WIDENED
#endif

static int64_t round_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static int64_t at_most(int64_t n, int64_t limit)
{
    return n < limit ? n : limit;
}

static size_t a_block_floats(int64_t k)
{
    return (size_t)(round_up(MC, 16) * at_most(round_up(k, K_UNIT), KC));
}

#ifdef HL_HAS_PAIRS
/* Size of blocks of n > 0 numbers, a multiple of unit: no thin one at the end. */
static int64_t even_block(int64_t n, int64_t most, int64_t unit)
{
    most = most / unit * unit;
    const int64_t blocks = (n + most - 1) / most;
    return round_up((n + blocks - 1) / blocks, unit);
}
#endif

/* Of floats, or half as many as pairs. */
static size_t b_block_floats(int64_t n, int64_t k)
{
    const int64_t floats = at_most(k, KC), pairs = at_most(round_up(k, K_UNIT) / 2, DEPTH);
    return (size_t)at_most(round_up(n, HL_NR) * (floats > pairs ? floats : pairs), NC * KC);
}

static int64_t deepest(hl_bf16_way way)
{
#ifdef HL_HAS_PAIRS
    if (way != HL_BF16_WIDENED)
        return way == HL_BF16_DOT ? DOT_KC : TILES_KC;
#endif
    (void)way;
    return KC;
}

size_t HL_K(gemm_sums_bytes)(int64_t m, int64_t n, int64_t k)
{
    return k > deepest(BF16_WAY()) ? (size_t)(m * n) * sizeof(float) : 0;
}

size_t HL_K(gemm_scratch_bytes)(int64_t m, int64_t n, int64_t k, int n_workers)
{
    (void)m;
    const size_t b = b_block_floats(n, k);
    return (b + a_block_floats(k) * (size_t)n_workers) * sizeof(float) + 64;
}

/* A matrix of floats, or of bf16 with `half`, which is constant where packing is inlined. */
typedef struct operand {
    bool half;
    const void *p;
    int64_t row, col;
} operand;

static inline __attribute__((always_inline)) float at(const operand x, int64_t i)
{
    return x.half ? hl_from_bf16(((const hl_bf16 *)x.p)[i]) : ((const float *)x.p)[i];
}

/* Panel of m rows: dst[k*m + i] = A(i, k). */
static inline __attribute__((always_inline)) void pack_a_as(const operand a, int m, int64_t k,
                                                            float *dst)
{
    if (a.row == 1) {
        for (int64_t c = 0; c < k; c++, dst += m)
            for (int i = 0; i < m; i++)
                dst[i] = at(a, c * a.col + i);
        return;
    }
    int64_t c = 0;
    for (; c + 16 <= k; c += 16) {
        float t[HL_MR][16];
        for (int i = 0; i < m; i++)
            for (int j = 0; j < 16; j++)
                t[i][j] = at(a, i * a.row + c + j);
        for (int j = 0; j < 16; j++)
            for (int i = 0; i < m; i++)
                dst[(c + j) * m + i] = t[i][j];
    }
    for (; c < k; c++)
        for (int i = 0; i < m; i++)
            dst[c * m + i] = at(a, i * a.row + c);
}

/* Panel of HL_NR columns, zero-filled past n: dst[k*HL_NR + j] = B(k, j). */
static inline __attribute__((always_inline)) void pack_b_as(const operand b, int64_t n, int64_t k,
                                                            float *dst)
{
    if (n < HL_NR)
        memset(dst, 0, (size_t)(k * HL_NR) * sizeof *dst);
    const int64_t cols = at_most(n, HL_NR);
    if (b.col == 1) {
        for (int64_t r = 0; r < k; r++)
            for (int64_t j = 0; j < cols; j++)
                dst[r * HL_NR + j] = at(b, r * b.row + j);
        return;
    }
    /* Columns of B are contiguous in k: 16 x 16 squares, so that reads and writes both stay near. */
    for (int64_t r0 = 0; r0 < k; r0 += 16) {
        const int64_t rows = at_most(k - r0, 16);
        for (int64_t j0 = 0; j0 < cols; j0 += 16) {
            const int64_t m = at_most(cols - j0, 16);
            const int64_t src = j0 * b.col + r0;
            float *out = dst + r0 * HL_NR + j0;
            if (rows == 16 && m == 16) {
                float t[16][16];
                for (int j = 0; j < 16; j++)
                    for (int r = 0; r < 16; r++)
                        t[r][j] = at(b, src + j * b.col + r);
                for (int r = 0; r < 16; r++)
                    memcpy(out + r * HL_NR, t[r], sizeof t[r]);
            } else {
                for (int64_t j = 0; j < m; j++)
                    for (int64_t r = 0; r < rows; r++)
                        out[r * HL_NR + j] = at(b, src + j * b.col + r);
            }
        }
    }
}

/* A tile of C: m x n numbers at c, their rows c_row apart, first at (row, col). */
typedef struct part {
    float *c;
    int64_t c_row, row, col, m, n;
} part;

static void round_tile(const part *t, hl_bf16 *y, int64_t y_row)
{
    hl_round(&(hl_round_rows){t->m, t->n, t->c, t->c_row, y, y_row});
}

static void activate(hl_act act, int64_t n, float *c)
{
#define LOOP(kind)                                                                                 \
    for (int64_t j = 0; j < n; j++)                                                                \
    c[j] = hl_activate(kind, c[j])
    if (act == HL_ACT_GELU)
        LOOP(HL_ACT_GELU);
    else if (act == HL_ACT_GELU_TANH)
        LOOP(HL_ACT_GELU_TANH);
    else if (act == HL_ACT_RELU)
        LOOP(HL_ACT_RELU);
#undef LOOP
}

/* n is a constant of whole tiles: rows are so short that loops of another length take longer. */
static inline __attribute__((always_inline)) void add_bias(const part *t, const float *bias,
                                                           int64_t n)
{
    for (int64_t i = 0; i < t->m; i++)
        for (int64_t j = 0; j < n; j++)
            t->c[i * t->c_row + j] += bias[j];
}

/* Bias, activation and rounding of a finished tile while it is in L1. */
static void finish_tile(const hl_gemm_args *g, const part *t)
{
    const int64_t n = t->n, at = t->row * g->c_row + t->col;
    if (g->bias && n == HL_NR)
        add_bias(t, g->bias + t->col, HL_NR);
    else if (g->bias)
        add_bias(t, g->bias + t->col, n);
    for (int64_t i = 0; g->pre && i < t->m; i++)
        memcpy(g->pre + at + i * g->c_row, t->c + i * t->c_row, (size_t)n * sizeof *t->c);
    if (g->pre16)
        round_tile(t, g->pre16 + at, g->c_row);
    const bool as_one = t->c_row == n; /* a row alone is too short to repay its constants */
    for (int64_t i = 0; g->act != HL_ACT_NONE && i < t->m; i += as_one ? t->m : 1)
        activate(g->act, as_one ? t->m * n : n, t->c + i * t->c_row);
    if (g->c16)
        round_tile(t, g->c16 + at, g->c_row);
}

typedef struct job {
    const hl_gemm_args *g;
    float *packed_b, *packed_a; /* A: one block per worker */
    size_t a_floats;
    int64_t n0, nc, k0, kc;
    int64_t pitch; /* floats of memory that a row of A or a column of B takes when packed */
    bool by_columns, pack_as_used; /* each panel of B right before it is used */
    bool a_in_place;               /* rows of A are read where they lie */
    hl_bf16_way way; /* of operands of bf16 */
} job;

static bool packs_pairs(const job *w)
{
    return w->way != HL_BF16_WIDENED;
}

/* Rows [row, row + m) of this block of A. */
static void pack_a(const job *w, int64_t row, int m, float *dst)
{
    const hl_gemm_args *g = w->g;
    const int64_t from = row * g->a_row + w->k0 * g->a_col;
#ifdef HL_HAS_PAIRS
    if (packs_pairs(w)) {
        const pairs_source rows = {g->a16 + from, g->a_row, g->a_col, m};
        pairs_pack_a(w->way, &rows, w->kc, (hl_bf16 *)dst);
        return;
    }
#endif
    if (g->a16)
        pack_a_as((operand){true, g->a16 + from, g->a_row, g->a_col}, m, w->kc, dst);
    else
        pack_a_as((operand){false, g->a + from, g->a_row, g->a_col}, m, w->kc, dst);
}

/* The panel of this block of B that begins at its column j. */
static void pack_b(const job *w, int64_t j, float *dst)
{
    const hl_gemm_args *g = w->g;
    const int64_t from = w->k0 * g->b_row + (w->n0 + j) * g->b_col, n = w->nc - j;
#ifdef HL_HAS_PAIRS
    if (packs_pairs(w)) {
        const pairs_source columns = {g->b16 + from, g->b_col, g->b_row, at_most(n, HL_NR)};
        pairs_pack(true, &columns, w->kc, (hl_bf16 *)dst);
        return;
    }
#endif
    if (g->b16)
        pack_b_as((operand){true, g->b16 + from, g->b_row, g->b_col}, n, w->kc, dst);
    else
        pack_b_as((operand){false, g->b + from, g->b_row, g->b_col}, n, w->kc, dst);
}

static void pack_b_panels(const job *w, int64_t begin, int64_t end)
{
    for (int64_t j = begin; j < end; j += HL_NR)
        pack_b(w, j, w->packed_b + j * w->pitch);
}

static void pack_part(void *arg, int worker, int n_workers)
{
    const job *w = arg;
    int64_t begin, end;
    hl_slice(w->nc, HL_NR, worker, n_workers, &begin, &end);
    pack_b_panels(w, begin, end);
}

/* What a tile of A is read from. */
static void set_a(const job *w, const float *packed, int m, int64_t row, hl_tile *t)
{
    const hl_gemm_args *g = w->g;
    t->a = packed;
    t->a_row = 1;
    t->a_col = m;
    if (w->way == HL_BF16_DOT) {
        t->a_row = w->a_in_place ? g->a_row : 2 * w->pitch;
        t->a_col = g->a_col;
        if (w->a_in_place)
            t->a = (const float *)(const void *)(g->a16 + row * g->a_row + w->k0);
    }
}

static void one_tile(const job *w, const float *a, int m, int64_t row, int64_t j)
{
    const hl_gemm_args *g = w->g;
    const int64_t n = at_most(w->nc - j, HL_NR), at = row * g->c_row + w->n0 + j;
    const bool add = g->add || g->addend || w->k0 > 0, last = w->k0 + w->kc == g->k;
    const float *from = !add ? NULL : g->addend && w->k0 == 0 ? g->addend + at : g->c + at;
    float own[MOST_ROWS * HL_NR];
    /* A whole tile of sums goes to C, others by way of `own`; what is only rounded stays there. */
    const bool rounds = g->c16 && last;
    const bool apart = n < HL_NR || (w->way == HL_BF16_TILES && m < MOST_ROWS) || rounds;
    hl_tile t = {.b = w->packed_b + j * w->pitch,
                 .b_row = HL_NR,
                 .c = apart ? own : g->c + at,
                 .c_row = apart ? HL_NR : g->c_row,
                 .k = w->kc,
                 .add = add,
                 .from = apart ? own : from};
    set_a(w, a, m, row, &t);
    if (apart && add) { /* tiles of AMX begin with it: a sum has the same bits wherever it waits */
        if (n < HL_NR || m < MOST_ROWS)
            memset(own, 0, sizeof own);
        for (int i = 0; i < m; i++)
            memcpy(own + i * HL_NR, from + i * g->c_row, (size_t)n * sizeof *own);
    }
    for (int i = 0; rounds && i < m; i++)
        __builtin_prefetch(g->c16 + at + i * g->c_row, 1);
    for (int i = 0; g->pre16 && last && i < m; i++)
        __builtin_prefetch(g->pre16 + at + i * g->c_row, 1);
    if (packs_pairs(w))
        pairs_block(w->way, m, &t);
    else
        hl_tile_run_packed(m, &t);
    for (int i = 0; apart && !rounds && i < m; i++)
        memcpy(g->c + at + i * g->c_row, own + i * HL_NR, (size_t)n * sizeof *own);
    if (last && (g->bias || g->act != HL_ACT_NONE || g->pre || g->pre16 || rounds)) {
        const part p = {rounds ? own : g->c + at, rounds ? HL_NR : g->c_row, row, w->n0 + j, m, n};
        finish_tile(g, &p);
    }
}

static int tile_height(const job *w, int64_t rows)
{
    return packs_pairs(w) ? MOST_ROWS : hl_tile_height(rows, HL_MR);
}

/* All tiles of rows [row0, row1) and columns [col0, col1). */
static void sweep(const job *w, float *packed_a, int64_t row0, int64_t row1, int64_t col0,
                  int64_t col1)
{
    const int64_t fit = (int64_t)a_block_floats(w->g->k) / w->pitch;
    const int64_t block = packs_pairs(w) ? fit / MOST_ROWS * MOST_ROWS : MC;
    pairs_begin(w->way);
    for (int64_t r = row0; r < row1; r += block) {
        const int64_t rows = at_most(row1 - r, block);
        const int height = tile_height(w, rows);
        for (int64_t i = 0; !w->a_in_place && i < rows; i += height)
            pack_a(w, r + i, (int)at_most(rows - i, height), packed_a + i * w->pitch);
        for (int64_t j = col0; j < col1; j += HL_NR) {
            if (w->pack_as_used && r == row0)
                pack_b_panels(w, j, at_most(j + HL_NR, col1));
            for (int64_t i = 0; i < rows; i += height)
                one_tile(w, packed_a + i * w->pitch, (int)at_most(rows - i, height), r + i, j);
        }
    }
    pairs_end(w->way);
}

static void multiply_part(void *arg, int worker, int n_workers)
{
    const job *w = arg;
    float *packed_a = w->packed_a + w->a_floats * (size_t)worker;
    int64_t begin, end;
    if (w->by_columns) {
        hl_slice(w->nc, HL_NR, worker, n_workers, &begin, &end);
        sweep(w, packed_a, 0, w->g->m, begin, end);
    } else {
        hl_slice(w->g->m, packs_pairs(w) ? MOST_ROWS : HL_MR, worker, n_workers, &begin, &end);
        sweep(w, packed_a, begin, end, 0, w->nc);
    }
}

/* k = 0: the sum over nothing is zero, then bias and activation. */
static void empty_product(const hl_gemm_args *g)
{
    float own[HL_NR];
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t col = 0; col < g->n; col += HL_NR) {
            const int64_t n = at_most(g->n - col, HL_NR), at = i * g->c_row + col;
            float *c = g->c16 ? own : g->c + at;
            if (g->addend)
                memmove(c, g->addend + at, (size_t)n * sizeof *c);
            else if (!g->add)
                memset(c, 0, (size_t)n * sizeof *c);
            finish_tile(g, &(part){c, HL_NR, i, col, 1, n});
        }
}

/* --- B packed once for many products --- */

static int64_t panels_at(int64_t n, int64_t k, int64_t n0, int64_t k0)
{
    return n0 * k + round_up(at_most(n - n0, NC), HL_NR) * k0;
}

size_t HL_K(gemm_packed_floats)(int64_t n, int64_t k)
{
    return (size_t)(round_up(n, HL_NR) * k);
}

size_t HL_K(gemm_packed_at)(int64_t n, int64_t k, int64_t row, int64_t col)
{
    const int64_t n0 = col / NC * NC, k0 = row / KC * KC, j = (col - n0) / HL_NR * HL_NR;
    return (size_t)(panels_at(n, k, n0, k0) + j * at_most(k - k0, KC) + (row - k0) * HL_NR + col - n0 -
                    j);
}

void HL_K(gemm_pack)(hl_team *team, int64_t n, int64_t k, const float *b, int64_t b_row,
                     int64_t b_col, float *packed)
{
    const hl_gemm_args g = {.n = n, .k = k, .b = b, .b_row = b_row, .b_col = b_col};
    job w = {.g = &g};
    for (w.n0 = 0; w.n0 < n; w.n0 += NC) {
        w.nc = at_most(n - w.n0, NC);
        for (w.k0 = 0; w.k0 < k; w.k0 += KC) {
            w.kc = w.pitch = at_most(k - w.k0, KC);
            w.packed_b = packed + panels_at(n, k, w.n0, w.k0);
            if (team && n * k > 64 * 64)
                team->run(team, pack_part, &w);
            else
                pack_b_panels(&w, 0, w.nc);
        }
    }
}

void HL_K(gemm)(hl_team *team, const hl_gemm_args *g, void *scratch)
{
    if (g->k == 0) {
        empty_product(g);
        return;
    }
    if (g->n == 0)
        return;
    const int n_workers = team ? team->n : 1;
    const bool small = g->m * g->n * g->k < 64 * 64 * 64;
    int64_t kc = KC, columns = NC;
    float *base = (float *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
    job w = {.g = g, .packed_b = base, .a_floats = a_block_floats(g->k)};
    w.packed_a = base + b_block_floats(g->n, g->k);
#ifdef HL_HAS_PAIRS
    w.way = g->a16 ? BF16_WAY() : HL_BF16_WIDENED;
    if (packs_pairs(&w)) {
        kc = even_block(g->k, deepest(w.way), PAIR_K);
        columns = even_block(g->n, at_most(NC, 2 * NC * KC / kc), HL_NR);
    }
    /* not where all rows of a block would lie in one set of L1 */
    w.a_in_place = w.way == HL_BF16_DOT && g->a_col == 1 && g->k % PAIR_K == 0 &&
                   g->a_row % 2048 != 0;
#endif
    /* Few rows, or rows that cost no packing: every worker takes all of them, and each panel of B is
     * read by one worker, who packs it right before. */
    w.by_columns = (g->m < (int64_t)n_workers * 8 * HL_MR || w.a_in_place) &&
                   g->n >= (int64_t)n_workers * HL_NR;
    w.pack_as_used = !g->packed_b && (w.by_columns || n_workers == 1 || small);
    for (w.n0 = 0; w.n0 < g->n; w.n0 += columns) {
        w.nc = at_most(g->n - w.n0, columns);
        for (w.k0 = 0; w.k0 < g->k; w.k0 += kc) {
            w.kc = at_most(g->k - w.k0, kc);
            w.pitch = packs_pairs(&w) ? round_up(w.kc, K_UNIT) / 2 : w.kc;
            if (g->packed_b) /* only read there */
                w.packed_b = (float *)(uintptr_t)g->packed_b + panels_at(g->n, g->k, w.n0, w.k0);
            if (n_workers == 1 || small) {
                sweep(&w, w.packed_a, 0, g->m, 0, w.nc);
            } else {
                if (!w.pack_as_used && !g->packed_b)
                    team->run(team, pack_part, &w);
                team->run(team, multiply_part, &w);
            }
        }
    }
}
