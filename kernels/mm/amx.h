/* Products of bf16 on tiles (AMX): eight registers of 16 rows of 64 bytes. One instruction adds to
 * a tile of 16 x 16 floats the product of 16 x 32 bf16 by 32 x 16; the right one holds pairs of
 * numbers that follow each other along k:
 *   A  row i, bytes 4p .. 4p+3: A(i, 2p), A(i, 2p+1)
 *   B  row p, bytes 4j .. 4j+3: B(2p, j), B(2p+1, j)
 * It rounds as separate fused multiply-adds would, but takes and gives denormal numbers as zero.
 *
 * A block of C is 2 x 2 tiles, so that each tile that is loaded is used twice.
 *
 * With HL_AMX_EMULATED the instructions are plain C, for tests on processors without them; what is
 * around them (packing, blocking, edges) is the same code. */
#ifndef HL_AMX_H
#define HL_AMX_H

#include "kernels/mm/tile.h"
#include "kernels/vec/bf16_body.h"

enum { AMX_SIDE = 32, AMX_K = 32, AMX_TILE = 16 * 32 /* bf16 numbers */ };

#if defined(HL_AMX_EMULATED) || !defined(__x86_64__)

#define AMX_TARGET
typedef struct amx_tiles {
    unsigned char t[8][16][64];
} amx_tiles;
#define AMX_WRITTEN()         ((void)0)
#define AMX_BEGIN()           ((void)0)
#define AMX_END()             ((void)0)
#define AMX_ZERO(s, n)        memset((s)->t[n], 0, sizeof(s)->t[n])
#define AMX_LOAD(s, n, p, by) amx_move((s)->t[n], 64, (const unsigned char *)(p), (by))
#define AMX_STORE(s, n, p, by)                                                                     \
    amx_move((unsigned char *)(p), (by), (const unsigned char *)(s)->t[n], 64)
#define AMX_DOT(s, c, a, b) amx_dot((s)->t[c], (s)->t[a], (s)->t[b])

static inline void amx_move(void *to, int64_t to_bytes, const void *from, int64_t from_bytes)
{
    for (int i = 0; i < 16; i++)
        memcpy((unsigned char *)to + i * to_bytes, (const unsigned char *)from + i * from_bytes,
               64);
}

/* Even and odd places along k are summed apart, as the processor does; a product of two bf16 is
 * exact, so that adding it is the processor's fused step. */
static inline void amx_dot(unsigned char c[16][64], unsigned char a[16][64],
                           unsigned char b[16][64])
{
    for (int i = 0; i < 16; i++) {
        float sum[16], even[16] = {0}, odd[16] = {0};
        hl_bf16 x[32], y[32];
        memcpy(x, a[i], 64);
        for (int p = 0; p < 16; p++) {
            memcpy(y, b[p], 64);
            for (int j = 0; j < 16; j++) {
                even[j] += hl_from_bf16(x[2 * p]) * hl_from_bf16(y[2 * j]);
                odd[j] += hl_from_bf16(x[2 * p + 1]) * hl_from_bf16(y[2 * j + 1]);
            }
        }
        memcpy(sum, c[i], 64);
        for (int j = 0; j < 16; j++)
            sum[j] += even[j] + odd[j];
        memcpy(c[i], sum, 64);
    }
}

#else

#include <immintrin.h>

#define AMX_TARGET             __attribute__((target("amx-tile,amx-bf16")))
typedef struct amx_tiles {
    char none;
} amx_tiles;
/* What compilers do not know of these instructions: which memory they read. */
#define AMX_WRITTEN()          __asm__ volatile("" ::: "memory")
#define AMX_BEGIN()            amx_begin()
#define AMX_END()              amx_end()
#define AMX_ZERO(s, n)         _tile_zero(n)
#define AMX_LOAD(s, n, p, by)  _tile_loadd(n, (p), (by))
#define AMX_STORE(s, n, p, by) _tile_stored(n, (p), (by))
#define AMX_DOT(s, c, a, b)    _tile_dpbf16ps(c, a, b)

/* All eight registers whole, on this thread until amx_end. */
AMX_TARGET static void amx_begin(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
}

/* The system need not save the registers of a thread that has given them back. */
AMX_TARGET static void amx_end(void)
{
    _tile_release();
}

#endif

/* --- packing: panels of AMX_SIDE rows of A or columns of B; per AMX_K numbers along k two tiles,
 * one below or beside the other; what lies outside is zero --- */

static inline int64_t amx_padded(int64_t k)
{
    return (k + AMX_K - 1) / AMX_K * AMX_K;
}

static inline hl_bf16 *amx_row_of_a(hl_bf16 *panel, int64_t i, int64_t k)
{
    return panel + (k / AMX_K * 2 + i / 16) * AMX_TILE + i % 16 * AMX_K;
}

/* m <= AMX_SIDE rows of A, k numbers each. */
static inline void amx_pack_a(const hl_bf16 *a, int64_t a_row, int64_t a_col, int64_t m, int64_t k,
                              hl_bf16 *panel)
{
    const int64_t padded = amx_padded(k);
    if (m < AMX_SIDE || padded != k)
        memset(panel, 0, (size_t)(AMX_SIDE * padded) * sizeof *panel);
    for (int64_t k0 = 0; k0 < k; k0 += AMX_K) {
        const int64_t n = k - k0 < AMX_K ? k - k0 : AMX_K;
        if (a_col == 1) {
            for (int64_t i = 0; i < m; i++)
                memcpy(amx_row_of_a(panel, i, k0), a + i * a_row + k0, (size_t)n * sizeof *a);
            continue;
        }
        /* Columns are contiguous: through a square that stays near. */
        hl_bf16 t[AMX_K][AMX_SIDE];
        for (int64_t c = 0; c < n; c++)
            memcpy(t[c], a + (k0 + c) * a_col, (size_t)m * sizeof *a);
        for (int64_t i = 0; i < m; i++) {
            hl_bf16 *row = amx_row_of_a(panel, i, k0);
            for (int64_t c = 0; c < n; c++)
                row[c] = t[c][i];
        }
    }
}

static inline hl_bf16 *amx_pair_of_b(hl_bf16 *panel, int64_t j, int64_t k)
{
    return panel + (k / AMX_K * 2 + j / 16) * AMX_TILE + k % AMX_K / 2 * 32 + j % 16 * 2;
}

/* n <= AMX_SIDE columns of B, k numbers each. */
static inline void amx_pack_b(const hl_bf16 *b, int64_t b_row, int64_t b_col, int64_t n, int64_t k,
                              hl_bf16 *panel)
{
    static const hl_bf16 zeros[AMX_SIDE];
    const int64_t padded = amx_padded(k);
    if (n < AMX_SIDE || padded != k)
        memset(panel, 0, (size_t)(AMX_SIDE * padded) * sizeof *panel);
    if (b_col == 1) {
        for (int64_t r = 0; r < k; r += 2) {
            const hl_bf16 *first = b + r * b_row, *second = r + 1 < k ? first + b_row : zeros;
            for (int64_t j0 = 0; j0 < n; j0 += 16) {
                hl_bf16 *out = amx_pair_of_b(panel, j0, r);
                const int64_t cols = n - j0 < 16 ? n - j0 : 16;
                for (int64_t j = 0; j < cols; j++) {
                    out[2 * j] = first[j0 + j];
                    out[2 * j + 1] = second[j0 + j];
                }
            }
        }
        return;
    }
    /* A pair lies together already: 4 bytes to their place. */
    for (int64_t k0 = 0; k0 < k; k0 += AMX_K)
        for (int64_t j = 0; j < n; j++) {
            hl_bf16 t[AMX_K] = {0};
            const int64_t m = k - k0 < AMX_K ? k - k0 : AMX_K;
            memcpy(t, b + j * b_col + k0, (size_t)m * sizeof *t);
            hl_bf16 *out = amx_pair_of_b(panel, j, k0);
            for (int64_t p = 0; p < AMX_K / 2; p++)
                memcpy(out + 32 * p, t + 2 * p, 2 * sizeof *t);
        }
}

/* C (+)= A B of whole panels over k numbers, padded; `from` as in hl_tile. */
AMX_TARGET static void amx_block(const hl_bf16 *a, const hl_bf16 *b, int64_t k, float *c,
                                 int64_t c_row, const float *from)
{
    amx_tiles s;
    (void)s; /* registers are the processor's */
    const int64_t by = c_row * (int64_t)sizeof *c;
    AMX_WRITTEN();
    if (from) {
        AMX_LOAD(&s, 0, from, by);
        AMX_LOAD(&s, 1, from + 16, by);
        AMX_LOAD(&s, 2, from + 16 * c_row, by);
        AMX_LOAD(&s, 3, from + 16 * c_row + 16, by);
    } else {
        AMX_ZERO(&s, 0);
        AMX_ZERO(&s, 1);
        AMX_ZERO(&s, 2);
        AMX_ZERO(&s, 3);
    }
    for (int64_t k0 = 0; k0 < k; k0 += AMX_K, a += 2 * AMX_TILE, b += 2 * AMX_TILE) {
        AMX_LOAD(&s, 4, a, 64);
        AMX_LOAD(&s, 6, b, 64);
        AMX_LOAD(&s, 7, b + AMX_TILE, 64);
        AMX_DOT(&s, 0, 4, 6);
        AMX_DOT(&s, 1, 4, 7);
        AMX_LOAD(&s, 5, a + AMX_TILE, 64);
        AMX_DOT(&s, 2, 5, 6);
        AMX_DOT(&s, 3, 5, 7);
    }
    AMX_STORE(&s, 0, c, by);
    AMX_STORE(&s, 1, c + 16, by);
    AMX_STORE(&s, 2, c + 16 * c_row, by);
    AMX_STORE(&s, 3, c + 16 * c_row + 16, by);
    AMX_WRITTEN();
}

#endif
