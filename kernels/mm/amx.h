/* Blocks of products of bf16 on tiles (AMX): eight registers of 16 rows of 64 bytes. One
 * instruction adds to a tile of 16 x 16 floats the product of 16 x 32 bf16 by 32 x 16, packed as in
 * pairs.h. It rounds as separate fused multiply-adds would, but takes and gives denormal numbers as
 * zero.
 *
 * A block of C is 2 x 2 tiles, so that each tile that is loaded is used twice.
 *
 * With HL_AMX_EMULATED the instructions are plain C, for tests on processors without them; what is
 * around them (packing, blocking, edges) is the same code. */
#ifndef HL_AMX_H
#define HL_AMX_H

#include "kernels/mm/pairs.h"

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
    for (int64_t k0 = 0; k0 < k; k0 += PAIR_K, a += 2 * PAIR_TILE, b += 2 * PAIR_TILE) {
        AMX_LOAD(&s, 4, a, 64);
        AMX_LOAD(&s, 6, b, 64);
        AMX_LOAD(&s, 7, b + PAIR_TILE, 64);
        AMX_DOT(&s, 0, 4, 6);
        AMX_DOT(&s, 1, 4, 7);
        AMX_LOAD(&s, 5, a + PAIR_TILE, 64);
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
