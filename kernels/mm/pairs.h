/* Operands of bf16 as instructions take them that multiply pairs: tiles of 16 rows of 64 bytes,
 * numbers that follow each other along k side by side:
 *   A  row i, bytes 4p .. 4p+3: A(i, 2p), A(i, 2p+1)
 *   B  row p, bytes 4j .. 4j+3: B(2p, j), B(2p+1, j)
 * A panel is PAIR_SIDE rows of A or columns of B; per PAIR_K numbers along k it has two tiles, one
 * below or beside the other. What lies outside of the matrix is zero. */
#ifndef HL_PAIRS_H
#define HL_PAIRS_H

#include "kernels/mm/tile.h"
#include "kernels/vec/bf16_body.h"

enum { PAIR_SIDE = 32, PAIR_K = 32, PAIR_TILE = 16 * 32 /* bf16 numbers */ };

static inline int64_t pairs_padded(int64_t k)
{
    return (k + PAIR_K - 1) / PAIR_K * PAIR_K;
}

static inline hl_bf16 *pairs_of_a(hl_bf16 *panel, int64_t i, int64_t k)
{
    return panel + (k / PAIR_K * 2 + i / 16) * PAIR_TILE + i % 16 * PAIR_K;
}

/* m <= PAIR_SIDE rows of A, k numbers each. */
static inline void pairs_pack_a(const hl_bf16 *a, int64_t a_row, int64_t a_col, int64_t m,
                                int64_t k, hl_bf16 *panel)
{
    const int64_t padded = pairs_padded(k);
    if (m < PAIR_SIDE || padded != k)
        memset(panel, 0, (size_t)(PAIR_SIDE * padded) * sizeof *panel);
    for (int64_t k0 = 0; k0 < k; k0 += PAIR_K) {
        const int64_t n = k - k0 < PAIR_K ? k - k0 : PAIR_K;
        if (a_col == 1) {
            for (int64_t i = 0; i < m; i++)
                memcpy(pairs_of_a(panel, i, k0), a + i * a_row + k0, (size_t)n * sizeof *a);
            continue;
        }
        /* Columns are contiguous: pairs of them through a square that stays near. */
        hl_bf16 t[PAIR_K / 2][PAIR_SIDE][2];
        memset(t, 0, sizeof t);
        for (int64_t c = 0; c < n; c++)
            for (int64_t i = 0; i < m; i++)
                t[c / 2][i][c % 2] = a[(k0 + c) * a_col + i];
        for (int64_t i = 0; i < m; i++) {
            hl_bf16 *row = pairs_of_a(panel, i, k0);
            for (int64_t p = 0; p < PAIR_K / 2; p++)
                memcpy(row + 2 * p, t[p][i], sizeof t[p][i]);
        }
    }
}

static inline hl_bf16 *pairs_of_b(hl_bf16 *panel, int64_t j, int64_t k)
{
    return panel + (k / PAIR_K * 2 + j / 16) * PAIR_TILE + k % PAIR_K / 2 * 32 + j % 16 * 2;
}

/* n <= PAIR_SIDE columns of B, k numbers each. */
static inline void pairs_pack_b(const hl_bf16 *b, int64_t b_row, int64_t b_col, int64_t n,
                                int64_t k, hl_bf16 *panel)
{
    static const hl_bf16 zeros[PAIR_SIDE];
    const int64_t padded = pairs_padded(k);
    if (n < PAIR_SIDE || padded != k)
        memset(panel, 0, (size_t)(PAIR_SIDE * padded) * sizeof *panel);
    if (b_col == 1) {
        for (int64_t r = 0; r < k; r += 2) {
            const hl_bf16 *first = b + r * b_row, *second = r + 1 < k ? first + b_row : zeros;
            for (int64_t j0 = 0; j0 < n; j0 += 16) {
                hl_bf16 *out = pairs_of_b(panel, j0, r);
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
    for (int64_t k0 = 0; k0 < k; k0 += PAIR_K)
        for (int64_t j = 0; j < n; j++) {
            hl_bf16 t[PAIR_K] = {0};
            const int64_t m = k - k0 < PAIR_K ? k - k0 : PAIR_K;
            memcpy(t, b + j * b_col + k0, (size_t)m * sizeof *t);
            hl_bf16 *out = pairs_of_b(panel, j, k0);
            for (int64_t p = 0; p < PAIR_K / 2; p++)
                memcpy(out + 32 * p, t + 2 * p, 2 * sizeof *t);
        }
}

#endif
