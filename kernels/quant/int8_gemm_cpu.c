/* Products of 8-bit integers, exact: u8 x s8 summed in s32.
 *
 * DESIGN. As in kernels/mm: panels of NR columns of the packed operand, MR rows of the other, a
 * tile of sums in registers while k runs. k goes in groups. Of 4, where the processor has VNNI:
 * bytes as they are. Of 2, everywhere: both operands widened to 16 bits, whose products are summed
 * in pairs in 32 bits (the instruction that would multiply bytes saturates its pairs in 16);
 * without AVX2 in float. Sums cannot wrap: see HL_INT8_K_MAX. */
#include "kernels/vec/hl_isa.h"

#if defined(__AVX2__)
#include <immintrin.h>
#else
#include "kernels/mm/tile.h"
#endif

#if defined(__AVX512BW__)
#define MR 14 /* 28 sums + 2 of B + 1 broadcast of 32 registers */
#define NR 32
#elif defined(__AVX2__)
#define MR 6
#define NR 16
#else
#define MR HL_MR
#define NR HL_NR
#endif

/* A panel of B in the nearest cache, a block of A in the next. */
#if defined(__AVX2__)
enum { KC = 1024, MC = 12 * MR };
#else
enum { KC = 512, MC = 12 * MR };
#endif

static int64_t round_up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static int64_t at_most(int64_t n, int64_t most)
{
    return n < most ? n : most;
}

size_t HL_K(int8_group)(void)
{
#if defined(__AVX512BW__)
    return __builtin_cpu_supports("avx512vnni") ? 4 : 2;
#else
    return 2;
#endif
}

/* --- one tile --- */

typedef struct tile {
    const int32_t *a; /* group k of row i at a[k*m + i]: pairs of 16 bits, or four bytes; or NULL */
    const uint8_t *rows; /* then, groups of four: where they are */
    int64_t row;
    const int8_t *b; /* NR columns of each group */
    int32_t *c;
    int64_t c_row, n_groups;
    bool add;
} tile;

#if defined(__AVX2__)

#if defined(__AVX512BW__)
typedef __m512i hl_vi;
#define ZERO()         _mm512_setzero_si512()
#define BROADCAST(x)   _mm512_set1_epi32(x)
#define LOAD_C(p)      _mm512_loadu_si512(p)
#define STORE_C        _mm512_storeu_si512
#define ADD            _mm512_add_epi32
#define LOAD_2(p)      _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define DOT_2(s, a, b) _mm512_add_epi32((s), _mm512_madd_epi16((a), (b)))
#define LOAD_4(p)      _mm512_loadu_si512(p)
#define DOT_4(s, a, b) _mm512_dpbusd_epi32((s), (a), (b))
#else
typedef __m256i hl_vi;
#define ZERO()         _mm256_setzero_si256()
#define BROADCAST(x)   _mm256_set1_epi32(x)
#define LOAD_C(p)      _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define STORE_C(p, v)  _mm256_storeu_si256((__m256i *)(void *)(p), (v))
#define ADD            _mm256_add_epi32
#define LOAD_2(p)      _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define DOT_2(s, a, b) _mm256_add_epi32((s), _mm256_madd_epi16((a), (b)))
#endif

/* m is a constant where this is inlined. BEGIN and NEXT: of A's row i, and of the next group. */
#define TILE_ROWS(GROUP, BEGIN, ROW, NEXT)                                                         \
    {                                                                                              \
        hl_vi r[MR][2];                                                                            \
        BEGIN;                                                                                     \
        const int8_t *b = t->b;                                                                    \
        HL_UNROLL                                                                                  \
        for (int i = 0; i < m; i++)                                                                \
            r[i][0] = r[i][1] = ZERO();                                                            \
        for (int64_t k = t->n_groups; k > 0; k--) {                                                \
            const hl_vi b0 = LOAD_##GROUP(b), b1 = LOAD_##GROUP(b + NR / 2 * GROUP);               \
            HL_UNROLL                                                                              \
            for (int i = 0; i < m; i++) {                                                          \
                const hl_vi s = BROADCAST(ROW(i));                                                 \
                r[i][0] = DOT_##GROUP(r[i][0], s, b0);                                             \
                r[i][1] = DOT_##GROUP(r[i][1], s, b1);                                             \
            }                                                                                      \
            NEXT;                                                                                  \
            b += NR * GROUP;                                                                       \
        }                                                                                          \
        HL_UNROLL                                                                                  \
        for (int i = 0; i < m; i++) {                                                              \
            int32_t *c = t->c + i * t->c_row;                                                      \
            if (t->add) {                                                                          \
                r[i][0] = ADD(r[i][0], LOAD_C(c));                                                 \
                r[i][1] = ADD(r[i][1], LOAD_C(c + NR / 2));                                        \
            }                                                                                      \
            STORE_C(c, r[i][0]);                                                                   \
            STORE_C(c + NR / 2, r[i][1]);                                                          \
        }                                                                                          \
    }

#define PACKED_BEGIN  const int32_t *a = t->a
#define PACKED_ROW(i) a[i]
#define PACKED_NEXT   a += m

/* Rows where they are: a pointer to every third, so that addresses need no registers of their own.
 */
#define PLAIN_BEGIN                                                                                \
    const int64_t row = t->row;                                                                    \
    const uint8_t *p0 = t->rows, *p1 = p0 + 3 * row, *p2 = p1 + 3 * row, *p3 = p2 + 3 * row,       \
                  *p4 = p3 + 3 * row
#define PLAIN_ROW(i)                                                                               \
    four_of((i < 3 ? p0 : i < 6 ? p1 : i < 9 ? p2 : i < 12 ? p3 : p4) + i % 3 * row)
#define PLAIN_NEXT p0 += 4, p1 += 4, p2 += 4, p3 += 4, p4 += 4

#define ALWAYS_INLINE inline __attribute__((always_inline))

static ALWAYS_INLINE void tile_rows_2(const int m, const tile *t)
    TILE_ROWS(2, PACKED_BEGIN, PACKED_ROW, PACKED_NEXT)

#define CASE(n, group)                                                                             \
    case n:                                                                                        \
        tile_rows_##group(n, t);                                                                   \
        break;
#define CASES_6(group)                                                                             \
    CASE(6, group) CASE(5, group) CASE(4, group) CASE(3, group) CASE(2, group) CASE(1, group)
#define CASES_14(group)                                                                            \
    CASE(14, group)                                                                                \
    CASE(13, group)                                                                                \
    CASE(12, group)                                                                                \
    CASE(11, group) CASE(10, group) CASE(9, group) CASE(8, group) CASE(7, group) CASES_6(group)

        static void tile_run_2(int m, const tile *t)
{
    switch (m) {
#if MR == 14
        CASES_14(2)
#else
        CASES_6(2)
#endif
    default:
        break;
    }
}

#if defined(__AVX512BW__)
#define VNNI __attribute__((target("avx512vnni")))

static ALWAYS_INLINE int32_t four_of(const uint8_t *p)
{
    int32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static VNNI ALWAYS_INLINE void tile_rows_4(const int m, const tile *t)
    TILE_ROWS(4, PACKED_BEGIN, PACKED_ROW, PACKED_NEXT)

        static VNNI ALWAYS_INLINE void tile_rows_4_plain(const int m, const tile *t)
            TILE_ROWS(4, PLAIN_BEGIN, PLAIN_ROW, PLAIN_NEXT)

                static VNNI void tile_run_4(int m, const tile *t)
{
    if (t->a)
        switch (m) {
            CASES_14(4)
        default:
            break;
        }
    else
        switch (m) {
            CASES_14(4_plain)
        default:
            break;
        }
}
#else
#define tile_run_4 tile_run_2 /* never asked for */
#endif

#else

/* In float, which is exact below 2^24: KC * 255 * 128 is. */
static void tile_run_2(int m, const tile *t)
{
    float a[MR * KC], b[NR * KC], c[MR * NR];
    for (int64_t k = 0; k < t->n_groups; k++) {
        for (int i = 0; i < m; i++) {
            a[2 * k * m + i] = (float)(t->a[k * m + i] & 0xFFFF);
            a[(2 * k + 1) * m + i] = (float)(t->a[k * m + i] >> 16);
        }
        for (int j = 0; j < NR; j++) {
            b[2 * k * NR + j] = t->b[(k * NR + j) * 2];
            b[(2 * k + 1) * NR + j] = t->b[(k * NR + j) * 2 + 1];
        }
    }
    const hl_tile f = {.a = a,
                       .a_row = 1,
                       .a_col = m,
                       .b = b,
                       .b_row = NR,
                       .c = c,
                       .c_row = NR,
                       .k = 2 * t->n_groups};
    hl_tile_run_packed(m, &f);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < NR; j++) {
            int32_t *to = t->c + i * t->c_row + j;
            *to = (t->add ? *to : 0) + (int32_t)c[i * NR + j];
        }
}
#define tile_run_4 tile_run_2

#endif

/* --- packing --- */

size_t HL_K(int8_packed_bytes)(int group, int64_t n, int64_t k)
{
    return (size_t)(round_up(n, NR) * round_up(k, group));
}

/* Blocks of KC rows of B, in each panels of NR columns, in each groups of k; zero beyond n and k.
 */
void HL_K(int8_pack)(int group, int64_t n, int64_t k, const int8_t *w, int8_t *packed)
{
    for (int64_t k0 = 0; k0 < k; k0 += KC) {
        const int64_t kc = round_up(at_most(k - k0, KC), group);
        for (int64_t j0 = 0; j0 < n; j0 += NR)
            for (int64_t g = 0; g < kc; g += group)
                for (int64_t j = j0; j < j0 + NR; j++)
                    for (int64_t i = k0 + g; i < k0 + g + group; i++)
                        *packed++ = j < n && i < k ? w[j * k + i] : 0;
    }
}

/* Groups of four of a panel, whole but for its columns. */
static void pack_whole_groups(const hl_int8_matrix *w, int64_t j0, int64_t k0, int64_t n_groups,
                              int8_t *packed)
{
    const int64_t n = at_most(w->n - j0, NR);
    const uint8_t *from = w->data + j0 * w->row + k0 * w->col;
    for (int64_t g = 0; g < n_groups; g++) {
        uint32_t to[NR] = {0};
        const uint8_t *p = from + 4 * g * w->col;
        if (w->col == 1) {
            for (int64_t j = 0; j < n; j++)
                memcpy(&to[j], p + j * w->row, sizeof to[j]);
        } else { /* row == 1 */
            const uint8_t *a = p, *b = a + w->col, *c = b + w->col, *d = c + w->col;
            for (int64_t j = 0; j < n; j++)
                to[j] = (uint32_t)a[j] | (uint32_t)b[j] << 8 | (uint32_t)c[j] << 16 |
                        (uint32_t)d[j] << 24;
        }
        for (int64_t j = 0; j < n; j++)
            to[j] ^= 0x80808080u;
        memcpy(packed + 4 * NR * g, to, sizeof to);
    }
}

void HL_K(int8_pack_codes)(int group, const hl_int8_matrix *w, int8_t *packed)
{
    const bool is_plain = w->col == 1 || w->row == 1;
    for (int64_t k0 = 0; k0 < w->k; k0 += KC) {
        const int64_t kc = round_up(at_most(w->k - k0, KC), group);
        const int64_t whole = group == 4 && is_plain ? at_most(w->k - k0, KC) / 4 : 0;
        for (int64_t j0 = 0; j0 < w->n; j0 += NR) {
            pack_whole_groups(w, j0, k0, whole, packed);
            packed += 4 * NR * whole;
            for (int64_t g = 4 * whole; g < kc; g += group)
                for (int64_t j = j0; j < j0 + NR; j++)
                    for (int64_t i = k0 + g; i < k0 + g + group; i++)
                        *packed++ = j < w->n && i < w->k
                                        ? (int8_t)(w->data[j * w->row + i * w->col] - 128)
                                        : 0;
        }
    }
}

enum { CHUNK = 16 }; /* groups of a row that are turned at once */

/* n numbers as groups, the last filled up with zeros; room for CHUNK. */
static void groups_of(int group, const uint8_t *row, int64_t n, int32_t *out)
{
    uint8_t bytes[4 * CHUNK];
    if (n < group * CHUNK) {
        memset(bytes, 0, sizeof bytes);
        memcpy(bytes, row, (size_t)n);
        row = bytes;
    }
    if (group == 4)
        memcpy(out, row, 4 * CHUNK);
    else
        for (int j = 0; j < CHUNK; j++)
            out[j] = row[2 * j] | row[2 * j + 1] << 16;
}

/* m rows of kc numbers: see tile. */
static void pack_a(int group, const uint8_t *a, int64_t a_row, int m, int64_t kc, int32_t *dst)
{
    const int64_t chunk = group * CHUNK;
    for (int64_t k = 0; k < kc; k += chunk) {
        const int64_t n = at_most(kc - k, chunk), n_groups = round_up(n, group) / group;
        int32_t t[MR][CHUNK];
        for (int i = 0; i < m; i++)
            groups_of(group, a + i * a_row + k, n, t[i]);
        for (int64_t j = 0; j < n_groups; j++)
            for (int i = 0; i < m; i++)
                *dst++ = t[i][j];
    }
}

/* --- the product --- */

typedef struct job {
    const hl_int8_gemm_args *g;
    int32_t *packed_a; /* one block per worker */
    int64_t k0, kc;
    const int8_t *b; /* the block's panels */
    int64_t panel_k; /* rows of a packed panel */
    bool by_columns;
} job;

static int64_t a_block_groups(int group)
{
    return (int64_t)MC * (KC / group);
}

size_t HL_K(int8_scratch_bytes)(int group, int n_workers)
{
    return (size_t)a_block_groups(group) * sizeof(int32_t) * (size_t)n_workers + 64;
}

/* Groups of four whole numbers of them need no packing. */
static bool is_plain(const job *w)
{
    return w->g->group == 4 && w->kc % 4 == 0;
}

static void one_tile(const job *w, const int32_t *a, int m, int64_t row, int64_t col)
{
    const hl_int8_gemm_args *g = w->g;
    const int64_t kc = round_up(w->kc, g->group), n = at_most(g->n - col, NR);
    int32_t *c = g->c + row * g->c_row + col;
    int32_t edge[MR * NR];
    tile t = {.a = is_plain(w) ? NULL : a,
              .rows = g->a + row * g->a_row + w->k0,
              .row = g->a_row,
              .b = w->b + col * w->panel_k,
              .c = c,
              .c_row = g->c_row,
              .n_groups = kc / g->group,
              .add = w->k0 > 0};
    if (n < NR) {
        t.c = edge;
        t.c_row = NR;
        t.add = false;
    }
    if (g->group == 4)
        tile_run_4(m, &t);
    else
        tile_run_2(m, &t);
    if (n < NR)
        for (int i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++)
                c[i * g->c_row + j] = (w->k0 > 0 ? c[i * g->c_row + j] : 0) + edge[i * NR + j];
}

static void sweep(const job *w, int32_t *packed_a, int64_t row0, int64_t row1, int64_t col0,
                  int64_t col1)
{
    const hl_int8_gemm_args *g = w->g;
    const int64_t n_groups = round_up(w->kc, g->group) / g->group;
    for (int64_t r = row0; r < row1; r += MC) {
        const int64_t rows = at_most(row1 - r, MC);
        const int64_t height = (rows - 1) / ((rows + MR - 1) / MR) + 1; /* tiles nearly equal */
        for (int64_t i = 0; i < rows && !is_plain(w); i += height)
            pack_a(g->group, g->a + (r + i) * g->a_row + w->k0, g->a_row,
                   (int)at_most(rows - i, height), w->kc, packed_a + i * n_groups);
        for (int64_t j = col0; j < col1; j += NR)
            for (int64_t i = 0; i < rows; i += height)
                one_tile(w, packed_a + i * n_groups, (int)at_most(rows - i, height), r + i, j);
    }
}

static void multiply_part(void *arg, int worker, int n_workers)
{
    const job *w = arg;
    int32_t *packed_a = w->packed_a + a_block_groups(w->g->group) * worker;
    int64_t begin, end;
    hl_slice(w->by_columns ? w->g->n : w->g->m, w->by_columns ? NR : MR, worker, n_workers, &begin,
             &end);
    if (w->by_columns)
        sweep(w, packed_a, 0, w->g->m, begin, end);
    else
        sweep(w, packed_a, begin, end, 0, w->g->n);
}

void HL_K(int8_gemm)(hl_team *team, const hl_int8_gemm_args *g, void *scratch)
{
    const int n_workers = team && g->m * g->n * g->k >= 64 * 64 * 64 ? team->n : 1;
    job w = {.g = g};
    w.packed_a = (int32_t *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
    w.by_columns =
        g->m < (int64_t)n_workers * 8 * MR && g->n >= (int64_t)n_workers * NR && n_workers > 1;
    w.b = g->packed_b;
    for (int64_t i = 0; g->k == 0 && i < g->m; i++)
        memset(g->c + i * g->c_row, 0, (size_t)g->n * sizeof *g->c);
    for (; w.k0 < g->k; w.k0 += KC) {
        w.kc = at_most(g->k - w.k0, KC);
        w.panel_k = round_up(at_most((g->packed_k ? g->packed_k : g->k) - w.k0, KC), g->group);
        if (n_workers > 1)
            team->run(team, multiply_part, &w);
        else
            multiply_part(&w, 0, 1);
        w.b += round_up(g->packed_n ? g->packed_n : g->n, NR) * w.panel_k;
    }
}
