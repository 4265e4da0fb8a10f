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

enum {
    PAIR_SIDE = 32,
    PAIR_K = 32,
    PAIR_TILE = 16 * 32 /* bf16 numbers */
};

static inline int64_t pairs_padded(int64_t k)
{
    return (k + PAIR_K - 1) / PAIR_K * PAIR_K;
}

/* Of `left` rows or numbers those in a part of `most`. */
static inline int64_t pairs_left(int64_t left, int64_t most)
{
    return left < 0 ? 0 : left < most ? left : most;
}

/* 16 pairs; a tile is 16 of these. */
typedef uint32_t pairs_row __attribute__((vector_size(64), aligned(4), may_alias));

/* Lane j of one of two rows whose squares of side s change places: of the first, of the second. */
#define FIRST(s, j)  ((j) & (s) ? 16 + (j) - (s) : (j))
#define SECOND(s, j) ((j) & (s) ? 16 + (j) : (j) + (s))
#define LANES(of, s)                                                                               \
    of(s, 0), of(s, 1), of(s, 2), of(s, 3), of(s, 4), of(s, 5), of(s, 6), of(s, 7), of(s, 8),      \
        of(s, 9), of(s, 10), of(s, 11), of(s, 12), of(s, 13), of(s, 14), of(s, 15)
#define TURN_SQUARES(t, s)                                                                         \
    HL_UNROLL                                                                                      \
    for (int i = 0; i < 16; i++)                                                                   \
        if (!(i & (s))) {                                                                          \
            const pairs_row a = (t)[i], b = (t)[i + (s)];                                          \
            (t)[i] = __builtin_shufflevector(a, b, LANES(FIRST, s));                               \
            (t)[i + (s)] = __builtin_shufflevector(a, b, LANES(SECOND, s));                        \
        }

/* t[i][j] and t[j][i] change places. */
static inline void pairs_transpose(pairs_row t[16])
{
    TURN_SQUARES(t, 1)
    TURN_SQUARES(t, 2)
    TURN_SQUARES(t, 4)
    TURN_SQUARES(t, 8)
}

#undef FIRST
#undef SECOND
#undef LANES
#undef TURN_SQUARES

/* Row i: n <= PAIR_K numbers that follow each other at x + i*stride; zero past n and past `rows`.
 */
static inline void pairs_load_along(const hl_bf16 *x, int64_t stride, int64_t rows, int64_t n,
                                    pairs_row t[16])
{
    if (rows == 16 && n == PAIR_K) {
        for (int i = 0; i < 16; i++) {
            memcpy(&t[i], x + i * stride, sizeof t[i]);
            __builtin_prefetch(x + (i + PAIR_SIDE) * stride, 0, 2);
        }
        return;
    }
    memset(t, 0, 16 * sizeof *t);
    for (int64_t i = 0; i < rows; i++)
        memcpy(&t[i], x + i * stride, (size_t)n * sizeof *x);
}

/* Row p: the pairs of the numbers 2p and 2p + 1 along k, which lie `stride` apart; zero past n and
 * past `lanes`. */
static inline void pairs_load_across(const hl_bf16 *x, int64_t stride, int64_t lanes, int64_t n,
                                     pairs_row t[16])
{
    typedef hl_bf16 half_row __attribute__((vector_size(32), aligned(2), may_alias));
    if (lanes == 16 && n == PAIR_K) {
        for (int p = 0; p < 16; p++) {
            __builtin_prefetch(x + 2 * p * stride + PAIR_SIDE, 0, 2);
            __builtin_prefetch(x + (2 * p + 1) * stride + PAIR_SIDE, 0, 2);
            const half_row *first = (const half_row *)(x + 2 * p * stride),
                           *second = (const half_row *)(x + (2 * p + 1) * stride);
            t[p] = __builtin_convertvector(*first, pairs_row) |
                   __builtin_convertvector(*second, pairs_row) << 16;
        }
        return;
    }
    memset(t, 0, 16 * sizeof *t);
    for (int64_t k = 0; k < n; k++)
        for (int64_t j = 0; j < lanes; j++)
            t[k / 2][j] |= (uint32_t)x[k * stride + j] << k % 2 * 16;
}

/* n <= PAIR_SIDE rows of A or columns of B, `side` apart; their numbers along k are `along` apart.
 * One of the two is 1. */
typedef struct pairs_source {
    const hl_bf16 *x;
    int64_t side, along, n;
} pairs_source;

/* A panel of k numbers of each. */
static inline void pairs_pack(bool is_b, const pairs_source *s, int64_t k, hl_bf16 *panel)
{
    for (int64_t k0 = 0; k0 < k; k0 += PAIR_K)
        for (int64_t i = 0; i < PAIR_SIDE; i += 16, panel += PAIR_TILE) {
            const int64_t sides = pairs_left(s->n - i, 16), numbers = pairs_left(k - k0, PAIR_K);
            const hl_bf16 *x = s->x + i * s->side + k0 * s->along;
            pairs_row t[16];
            if (s->along == 1)
                pairs_load_along(x, s->side, sides, numbers, t);
            else
                pairs_load_across(x, s->along, sides, numbers, t);
            if (is_b == (s->along == 1))
                pairs_transpose(t);
            memcpy(panel, t, sizeof t);
        }
}

#endif
