/* Blocks of products of bf16 by the instruction that adds to each of 16 floats the products of a
 * pair (AVX512-BF16). B is packed as in pairs.h; of A it takes a pair at a time, so rows that are
 * whole pairs are read where they lie, and others packed without being turned. Like AMX it takes
 * and gives denormal numbers as zero. */
#ifndef HL_DOT_H
#define HL_DOT_H

#include <immintrin.h>

#include "kernels/mm/pairs.h"

enum { DOT_ROWS = 8 }; /* 16 sums + 2 of B of 32 registers */

/* n <= PAIR_SIDE rows of A, zero past k: row behind row if their numbers follow each other, else
 * per place along k the pairs of all rows. */
static void dot_pack_a(const pairs_source *s, int64_t k, hl_bf16 *panel)
{
    const int64_t padded = pairs_padded(k);
    if (s->along == 1) {
        for (int64_t i = 0; i < s->n; i++, panel += padded) {
            memcpy(panel, s->x + i * s->side, (size_t)k * sizeof *panel);
            memset(panel + k, 0, (size_t)(padded - k) * sizeof *panel);
        }
        return;
    }
    for (int64_t k0 = 0; k0 < padded; k0 += PAIR_K)
        for (int64_t i = 0; i < PAIR_SIDE; i += 16) {
            pairs_row t[16];
            pairs_load_across(s->x + i * s->side + k0 * s->along, s->along,
                              pairs_left(s->n - i, 16), pairs_left(k - k0, PAIR_K), t);
            for (int p = 0; p < 16; p++)
                memcpy(panel + (k0 + 2 * p) * PAIR_SIDE + 2 * i, &t[p], sizeof t[p]);
        }
}

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

/* y = scale times n floats x, rounded to the nearest; what is denormal may become zero, as it does
 * where it is multiplied. */
__attribute__((target("avx512bf16"))) static inline void dot_round(float scale, const float *x,
                                                                   int64_t n, hl_bf16 *y)
{
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m512 s = _mm512_set1_ps(scale), low = _mm512_mul_ps(s, _mm512_loadu_ps(x + i)),
                     high = _mm512_mul_ps(s, _mm512_loadu_ps(x + i + 16));
        _mm512_storeu_si512(y + i, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
    for (; i < n; i++)
        y[i] = hl_to_bf16(scale * x[i]);
}

/* m and a_col are constants where this is inlined. What is added to is fetched while the sums are
 * made: nothing waits for it. */
__attribute__((target("avx512bf16"), always_inline)) static inline void
dot_rows(const int m, const hl_tile *t, const hl_bf16 *a, int64_t a_row, const int64_t a_col,
         int64_t row)
{
    const hl_bf16 *b = (const hl_bf16 *)t->b;
    float *c = t->c + row * t->c_row;
    const float *from = t->add ? t->from + row * t->c_row : NULL;
    __m512 r[DOT_ROWS][2];
    HL_UNROLL
    for (int i = 0; i < m; i++) {
        __builtin_prefetch(c + i * t->c_row, 1);
        __builtin_prefetch(c + i * t->c_row + 31, 1);
        r[i][0] = r[i][1] = _mm512_setzero_ps();
    }
    for (int64_t k = 0; k < t->k; k += PAIR_K, a += PAIR_K * a_col, b += 2 * PAIR_TILE)
        for (int p = 0; p < PAIR_K / 2; p++) {
            const __m512bh b0 = dot_pairs(b + 32 * p), b1 = dot_pairs(b + PAIR_TILE + 32 * p);
            HL_UNROLL
            for (int i = 0; i < m; i++) {
                const __m512bh x = dot_pair(a + i * a_row + 2 * p * a_col);
                r[i][0] = _mm512_dpbf16_ps(r[i][0], x, b0);
                r[i][1] = _mm512_dpbf16_ps(r[i][1], x, b1);
            }
        }
    HL_UNROLL
    for (int i = 0; i < m; i++)
        for (int h = 0; h < 2; h++) {
            if (from)
                r[i][h] = _mm512_add_ps(r[i][h], _mm512_loadu_ps(from + i * t->c_row + 16 * h));
            _mm512_storeu_ps(c + i * t->c_row + 16 * h, r[i][h]);
        }
}

#define DOT_AS(m)                                                                                  \
    case m:                                                                                        \
        if (t->a_col == 1)                                                                         \
            dot_rows(m, t, a + row * t->a_row, t->a_row, 1, row);                                  \
        else                                                                                       \
            dot_rows(m, t, a + row * 2, 2, PAIR_SIDE, row);                                        \
        break

/* The first m rows of a tile whose b is a panel of pairs and whose a is numbers of bf16. */
__attribute__((target("avx512bf16"))) static void dot_block(int m, const hl_tile *t)
{
    const hl_bf16 *a = (const hl_bf16 *)t->a;
    for (int row = 0; row < m; row += DOT_ROWS)
        switch (m - row) {
            DOT_AS(1);
            DOT_AS(2);
            DOT_AS(3);
            DOT_AS(4);
            DOT_AS(5);
            DOT_AS(6);
            DOT_AS(7);
        default: /* and case 8 */
            DOT_AS(8);
        }
}

#undef DOT_AS

#endif
