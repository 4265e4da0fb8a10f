/* The products of attention in pairs of bf16: heads as they come; grad_o, weights and slopes of
 * scores rounded to bf16 for their products. Sums, scores and all of the normaliser are float. */
#ifndef HL_ATTN_PAIRS_H
#define HL_ATTN_PAIRS_H

#include "kernels/attn/attn_space.h"

#ifdef HL_HAS_PAIRS

/* m rows of A, k numbers each, as pairs_block takes them. */
typedef struct a_rows {
    const hl_bf16 *at;
    int64_t m, k, row, col;
} a_rows;

/* Panels of n columns of B, `pitch` numbers per column. */
typedef struct b_panels {
    const hl_bf16 *at;
    int64_t n, pitch;
} b_panels;

/* Where they lie if that will do, else packed in `to`. */
static a_rows rows_of(hl_bf16_way way, pairs_source rows, int64_t k, hl_bf16 *to)
{
    a_rows a = {rows.x, rows.n, k, rows.side, rows.along};
    if (way == HL_BF16_DOT && rows.along == 1 && k % PAIR_K == 0)
        return a;
    a.at = to;
    a.row = pairs_padded(k);
    for (int64_t i = 0; i < a.m; i += PAIR_SIDE, to += PAIR_SIDE * a.row) {
        rows.n = pairs_left(a.m - i, PAIR_SIDE);
        pairs_pack_a(way, &rows, k, to);
        rows.x += PAIR_SIDE * rows.side;
    }
    return a;
}

/* Columns of k numbers, packed in `to`. */
static void pack_columns(pairs_source columns, int64_t k, hl_bf16 *to)
{
    const int64_t n = columns.n;
    for (int64_t j = 0; j < n; j += PAIR_SIDE, to += PAIR_SIDE * pairs_padded(k)) {
        columns.n = pairs_left(n - j, PAIR_SIDE);
        pairs_pack(true, &columns, k, to);
        columns.x += PAIR_SIDE * columns.side;
    }
}

/* C[m,n] (+)= A B */
static void pairs_product(hl_bf16_way way, const a_rows *a, const b_panels *b, place c, bool add)
{
    hl_tile t = {.a_row = a->row, .a_col = a->col, .c_row = c.row, .k = a->k, .add = add};
    for (int64_t j = 0; j < b->n; j += PAIR_SIDE)
        for (int64_t i = 0; i < a->m; i += PAIR_SIDE) {
            t.a = (const float *)(const void *)(a->at + i * a->row);
            t.b = (const float *)(const void *)(b->at + j * b->pitch);
            t.c = c.at + i * c.row + j;
            t.from = t.c;
            pairs_block(way, (int)pairs_left(a->m - i, PAIR_SIDE), &t);
        }
}

static head pairs_head(const hl_attn_args *a, const origin *at, const workspace *w)
{
    (void)w;
    return (head){.q16 = a->q16 + at->q,
                  .k16 = a->k16 + at->k,
                  .v16 = a->v16 + at->v,
                  .q_row = a->q_row,
                  .k_row = a->k_row,
                  .v_row = a->v_row};
}

static void pairs_load(const hl_attn_args *a, const head *h, const workspace *w)
{
    pack_columns((pairs_source){h->k16, h->k_row, 1, a->s}, a->d, w->kb);
    pack_columns((pairs_source){h->v16, 1, h->v_row, a->d}, a->s, w->vb);
}

static void pairs_load_vjp(const hl_attn_args *a, const head *h, const workspace *w)
{
    pack_columns((pairs_source){h->k16, h->k_row, 1, a->s}, a->d, w->kb);
    pack_columns((pairs_source){h->v16, h->v_row, 1, a->s}, a->d, w->vb);
    pack_columns((pairs_source){h->k16, 1, h->k_row, a->d}, a->s, w->kb2);
}

static void pairs_score(const hl_attn_args *a, const head *h, const block *k, const workspace *w)
{
    const pairs_source q = {h->q16 + k->row0 * h->q_row, h->q_row, 1, k->rows};
    const a_rows left = rows_of(w->way, q, a->d, w->qa);
    pairs_product(w->way, &left, &(b_panels){w->kb, k->keys_pad, w->d_pad}, (place){w->x, w->s_pad},
                  false);
}

/* Row i of x is P~ now. */
static void pairs_take_weights(const block *k, const workspace *w, int64_t i)
{
    pairs_round(w->way, 1.0f, w->x + i * w->s_pad, k->keys_pad, w->p16 + i * w->s_pad);
}

static void pairs_gather(const block *k, const workspace *w, place o)
{
    const pairs_source p = {w->p16, w->s_pad, 1, k->rows};
    const a_rows left = rows_of(w->way, p, k->keys_pad, w->pa);
    pairs_product(w->way, &left, &(b_panels){w->vb, w->d_pad, w->s_pad}, o, false);
}

static void pairs_spread(const hl_attn_args *a, const head *h, const block *k, const workspace *w)
{
    const float *go = a->grad_o + (k->batch * a->t + k->row0) * a->grad_o_row + k->head * a->d;
    for (int64_t i = 0; i < k->rows; i++) {
        hl_bf16 *to = w->go16 + i * w->d_pad;
        pairs_round(w->way, 1.0f, go + i * a->grad_o_row, a->d, to);
        memset(to + a->d, 0, (size_t)(w->d_pad - a->d) * sizeof *to);
    }
    pack_columns((pairs_source){w->go16, 1, w->d_pad, a->d}, k->rows, w->gob);
    pack_columns((pairs_source){h->q16 + k->row0 * h->q_row, 1, h->q_row, a->d}, k->rows, w->qb);
    const pairs_source g = {w->go16, w->d_pad, 1, k->rows};
    const a_rows left = rows_of(w->way, g, w->d_pad, w->goa);
    pairs_product(w->way, &left, &(b_panels){w->vb, k->keys_pad, w->d_pad}, (place){w->g, w->s_pad},
                  false);
}

/* P~ of row i is `weights`, dX is g without the scale. */
static void pairs_take_slopes(const hl_attn_args *a, const block *k, const workspace *w,
                              const float *weights, int64_t i)
{
    pairs_round(w->way, 1.0f, weights, k->keys_pad, w->p16 + i * w->s_pad);
    pairs_round(w->way, a->scale, w->g + i * w->s_pad, k->keys_pad, w->dx16 + i * w->s_pad);
}

static void pairs_collect(const block *k, const workspace *w, const gradients *to, bool add)
{
    const int64_t rows_pad = pairs_padded(k->rows);
    const pairs_source pt = {w->p16, 1, w->s_pad, k->keys}, dxt = {w->dx16, 1, w->s_pad, k->keys},
                       dx = {w->dx16, w->s_pad, 1, k->rows};
    a_rows left = rows_of(w->way, pt, k->rows, w->pa);
    pairs_product(w->way, &left, &(b_panels){w->gob, w->d_pad, rows_pad}, to->v, add);
    left = rows_of(w->way, dxt, k->rows, w->dxta);
    pairs_product(w->way, &left, &(b_panels){w->qb, w->d_pad, rows_pad}, to->k, add);
    left = rows_of(w->way, dx, k->keys_pad, w->dxa);
    pairs_product(w->way, &left, &(b_panels){w->kb2, w->d_pad, w->s_pad}, to->q, false);
}

#endif
#endif
