/* The register tile under every product: HL_MR rows by HL_NR columns of C stay in registers while k
 * runs; each step loads two vectors of B and broadcasts one number of A per row.
 * Included by sources compiled once per instruction set. */
#ifndef HL_TILE_H
#define HL_TILE_H

#include "kernels/vec/hl_isa.h"

#if HL_VW == 16
#define HL_MR 14 /* 28 sums + 2 of B + 1 broadcast of 32 registers */
#else
#define HL_MR 6 /* 12 sums + 2 of B + 1 broadcast of 16 registers */
#endif
#define HL_NR (2 * HL_VW)

typedef struct hl_tile {
    const float *a;
    int64_t a_row, a_col; /* element (i,k) at a[i*a_row + k*a_col] */
    const float *b;
    int64_t b_row; /* row k at b + k*b_row, HL_NR numbers */
    float *c;
    int64_t c_row;
    int64_t k;
    bool add;
    const float *from; /* with add: what is added to, rows as c; NULL: c */
} hl_tile;

/* m and unit_row are constants where this is inlined. */
static inline __attribute__((always_inline)) void hl_tile_rows(const int m, const bool unit_row,
                                                               const hl_tile *t)
{
    hl_vf r[HL_MR][2];
    const float *a = t->a, *b = t->b;
    const int64_t a_row = unit_row ? 1 : t->a_row, a_col = t->a_col, b_row = t->b_row;
    HL_UNROLL
    for (int i = 0; i < m; i++) {
        __builtin_prefetch(t->c + i * t->c_row, 1); /* there when the sums are */
        __builtin_prefetch(t->c + i * t->c_row + HL_NR - 1, 1);
        r[i][0] = r[i][1] = (hl_vf){0};
    }
    for (int64_t k = t->k; k > 0; k--) {
        const hl_vf b0 = hl_vload(b), b1 = hl_vload(b + HL_VW);
        HL_UNROLL
        for (int i = 0; i < m; i++) {
            const float s = a[i * a_row];
            r[i][0] += s * b0;
            r[i][1] += s * b1;
        }
        a += a_col;
        b += b_row;
    }
    HL_UNROLL
    for (int i = 0; i < m; i++) {
        float *c = t->c + i * t->c_row;
        if (t->add) {
            const float *from = t->from ? t->from + i * t->c_row : c;
            r[i][0] += hl_vload(from);
            r[i][1] += hl_vload(from + HL_VW);
        }
        hl_vstore(c, r[i][0]);
        hl_vstore(c + HL_VW, r[i][1]);
    }
}

/* One tile of m <= HL_MR rows; unit_row: a_row is 1 (packed or transposed A). */
static inline __attribute__((always_inline)) void hl_tile_run_as(const bool unit_row, int m,
                                                                 const hl_tile *t)
{
    switch (m) {
#if HL_MR == 14
    case 14: hl_tile_rows(14, unit_row, t); break;
    case 13: hl_tile_rows(13, unit_row, t); break;
    case 12: hl_tile_rows(12, unit_row, t); break;
    case 11: hl_tile_rows(11, unit_row, t); break;
    case 10: hl_tile_rows(10, unit_row, t); break;
    case 9: hl_tile_rows(9, unit_row, t); break;
    case 8: hl_tile_rows(8, unit_row, t); break;
    case 7: hl_tile_rows(7, unit_row, t); break;
#endif
    case 6: hl_tile_rows(6, unit_row, t); break;
    case 5: hl_tile_rows(5, unit_row, t); break;
    case 4: hl_tile_rows(4, unit_row, t); break;
    case 3: hl_tile_rows(3, unit_row, t); break;
    case 2: hl_tile_rows(2, unit_row, t); break;
    default: hl_tile_rows(1, unit_row, t); break;
    }
}

static HL_UNUSED void hl_tile_run_packed(int m, const hl_tile *t)
{
    hl_tile_run_as(true, m, t);
}

/* Rows of the next tile when m are left: tiles of nearly equal height, so that no tile is so low
 * that it waits for its own sums. */
static inline int hl_tile_height(int64_t m, int max_rows)
{
    int64_t n_tiles = (m + max_rows - 1) / max_rows;
    return (int)((m + n_tiles - 1) / n_tiles);
}

#endif
