/* Products of bf16 in pairs, whichever way this processor multiplies them (hl_bf16_way): how rows
 * of A are packed, and one block of C. HL_HAS_PAIRS is defined where this instruction set knows a
 * way; BF16_WAY() asks the processor. B is packed by pairs_pack for every way. Included by sources
 * compiled once per instruction set. */
#ifndef HL_PAIRS_BLOCK_H
#define HL_PAIRS_BLOCK_H

#ifdef HL_AMX
#include "kernels/mm/amx.h"
#endif
#ifdef HL_DOT
#include "kernels/mm/dot.h"
#endif
#include "kernels/mm/tile.h"

#if defined(HL_AMX) || defined(HL_DOT)
#define HL_HAS_PAIRS
_Static_assert(PAIR_SIDE == HL_NR, "panels of B are of one width");
#ifdef HL_AMX_EMULATED
#define BF16_WAY() HL_BF16_TILES
#else
#define BF16_WAY() hl_cpu_bf16()
#endif

/* A panel of k numbers of n <= PAIR_SIDE rows of A. */
static inline void pairs_pack_a(hl_bf16_way way, const pairs_source *rows, int64_t k,
                                hl_bf16 *panel)
{
    (void)way;
#ifdef HL_DOT
    if (way == HL_BF16_DOT) {
        dot_pack_a(rows, k, panel);
        return;
    }
#endif
    pairs_pack(false, rows, k, panel);
}

/* y = scale times n floats x, rounded for products of pairs, to which denormal numbers are zero. */
static inline void pairs_round(hl_bf16_way way, float scale, const float *x, int64_t n, hl_bf16 *y)
{
    (void)way;
#ifdef HL_DOT
    if (way == HL_BF16_DOT) {
        dot_round(scale, x, n, y);
        return;
    }
#endif
    for (int64_t i = 0; i < n; i++)
        y[i] = hl_to_bf16(scale * x[i]);
}
#endif

/* Around all blocks that a thread computes. */
static inline void pairs_begin(hl_bf16_way way)
{
    (void)way;
#ifdef HL_AMX
    if (way == HL_BF16_TILES)
        AMX_BEGIN();
#endif
}

static inline void pairs_end(hl_bf16_way way)
{
    (void)way;
#ifdef HL_AMX
    if (way == HL_BF16_TILES)
        AMX_END();
#endif
}

/* A tile of panels of pairs; add asks for `from`. The way of tiles writes PAIR_SIDE rows of C. */
static inline void pairs_block(hl_bf16_way way, int m, const hl_tile *t)
{
    (void)way, (void)m, (void)t;
#ifdef HL_AMX
    if (way == HL_BF16_TILES)
        amx_block((const hl_bf16 *)t->a, (const hl_bf16 *)t->b, pairs_padded(t->k), t->c, t->c_row,
                  t->add ? t->from : NULL);
#endif
#ifdef HL_DOT
    if (way == HL_BF16_DOT)
        dot_block(m, t);
#endif
}

#endif
