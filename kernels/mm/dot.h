/* Blocks of products of bf16 by the instruction that adds to each of 16 floats the products of a
 * pair (AVX512-BF16), operands packed as in pairs.h. Like AMX it takes and gives denormal numbers
 * as zero. */
#ifndef HL_DOT_H
#define HL_DOT_H

#include <immintrin.h>

#include "kernels/mm/pairs.h"

enum { DOT_ROWS = 8 }; /* 16 sums + 2 of B of 32 registers; a divisor of a tile's rows */

__attribute__((target("avx512bf16"))) static inline __m512bh dot_pairs(const hl_bf16 *p)
{
    return (__m512bh)_mm512_loadu_si512(p);
}

/* The pair at p sixteen times. */
__attribute__((target("avx512bf16"))) static inline __m512bh dot_pair(const hl_bf16 *p)
{
    int32_t both;
    memcpy(&both, p, sizeof both);
    return (__m512bh)_mm512_set1_epi32(both);
}

/* DOT_ROWS rows of a block; a: the first one's place in the panel. */
__attribute__((target("avx512bf16"))) static void
dot_rows(const hl_bf16 *a, const hl_bf16 *b, int64_t k, float *c, int64_t c_row, const float *from)
{
    __m512 r[DOT_ROWS][2];
    HL_UNROLL
    for (int i = 0; i < DOT_ROWS; i++)
        for (int h = 0; h < 2; h++)
            r[i][h] = from ? _mm512_loadu_ps(from + i * c_row + 16 * h) : _mm512_setzero_ps();
    for (; k > 0; k -= PAIR_K, a += 2 * PAIR_TILE, b += 2 * PAIR_TILE)
        for (int p = 0; p < PAIR_K / 2; p++) {
            const __m512bh b0 = dot_pairs(b + 32 * p), b1 = dot_pairs(b + PAIR_TILE + 32 * p);
            HL_UNROLL
            for (int i = 0; i < DOT_ROWS; i++) {
                const __m512bh x = dot_pair(a + i * PAIR_K + 2 * p);
                r[i][0] = _mm512_dpbf16_ps(r[i][0], x, b0);
                r[i][1] = _mm512_dpbf16_ps(r[i][1], x, b1);
            }
        }
    HL_UNROLL
    for (int i = 0; i < DOT_ROWS; i++)
        for (int h = 0; h < 2; h++)
            _mm512_storeu_ps(c + i * c_row + 16 * h, r[i][h]);
}

/* The first m rows of a block, and what follows up to a multiple of DOT_ROWS; a and b of the tile
 * are panels of pairs. */
static void dot_block(int m, const hl_tile *t)
{
    const hl_bf16 *a = (const hl_bf16 *)t->a;
    for (int i = 0; i < m; i += DOT_ROWS)
        dot_rows(a + i / 16 * PAIR_TILE + i % 16 * PAIR_K, (const hl_bf16 *)t->b,
                 pairs_padded(t->k), t->c + i * t->c_row, t->c_row,
                 t->add ? t->from + i * t->c_row : NULL);
}

#endif
