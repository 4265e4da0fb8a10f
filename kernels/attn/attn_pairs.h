/* The products of attention in pairs of bf16: heads as they come; grad_o, weights and slopes of
 * scores rounded to bf16 for their products. Sums, scores and all of the normaliser are float. */
#ifndef HL_ATTN_PAIRS_H
#define HL_ATTN_PAIRS_H

#include "kernels/attn/attn_space.h"

#ifdef HL_HAS_PAIRS

/* Packed columns of B: k numbers each. */
static void b_panels(pairs_source columns, int64_t k, hl_bf16 *to)
{
    const int64_t n = columns.n;
    for (int64_t j = 0; j < n; j += PAIR_SIDE, to += PAIR_SIDE * pairs_padded(k)) {
        columns.n = pairs_left(n - j, PAIR_SIDE);
        pairs_pack(true, &columns, k, to);
        columns.x += PAIR_SIDE * columns.side;
    }
}

/* Rows of A, k numbers each, for pairs_product: where they lie if that will do, else in `to`. */
static hl_tile a_rows(hl_bf16_way way, pairs_source rows, int64_t k, hl_bf16 *to)
{
    hl_tile t = {.a = (const float *)(const void *)rows.x, .a_row = rows.side, .a_col = rows.along, .k = k};
    if (way == HL_BF16_DOT && rows.along == 1 && k % PAIR_K == 0)
        return t;
    t.a = (const float *)(const void *)to;
    t.a_row = pairs_padded(k);
    const int64_t n = rows.n;
    for (int64_t i = 0; i < n; i += PAIR_SIDE, to += PAIR_SIDE * t.a_row) {
        rows.n = pairs_left(n - i, PAIR_SIDE);
        pairs_pack_a(way, &rows, k, to);
        rows.x += PAIR_SIDE * rows.side;
    }
    return t;
}

/* C[m,n] (+)= A B: t has A of a_rows; B's panels lie b_row * PAIR_SIDE numbers apart. */
static void pairs_product(hl_bf16_way way, int64_t m, int64_t n, hl_tile t, const hl_bf16 *b,
                          int64_t b_row, place c, bool add)
{
    const hl_bf16 *a = (const hl_bf16 *)t.a;
    t.add = add;
    t.c_row = c.row;
    for (int64_t j = 0; j < n; j += PAIR_SIDE)
        for (int64_t i = 0; i < m; i += PAIR_SIDE) {
            t.a = (const float *)(const void *)(a + i * t.a_row);
            t.b = (const float *)(const void *)(b + j * b_row);
            t.c = c.at + i * c.row + j;
            t.from = t.c;
            pairs_block(way, (int)pairs_left(m - i, PAIR_SIDE), &t);
        }
}

static void round_rows(hl_bf16_way way, const float *x, int64_t row, int64_t rows, int64_t n,
                       int64_t n_pad, hl_bf16 *y)
{
    for (int64_t i = 0; i < rows; i++, x += row, y += n_pad) {
        pairs_round(way, 1.0f, x, n, y);
        memset(y + n, 0, (size_t)(n_pad - n) * sizeof *y);
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
    b_panels((pairs_source){h->k16, h->k_row, 1, a->s}, a->d, w->kb);
    b_panels((pairs_source){h->v16, 1, h->v_row, a->d}, a->s, w->vb);
}

static void pairs_load_vjp(const hl_attn_args *a, const head *h, const workspace *w)
{
    b_panels((pairs_source){h->k16, h->k_row, 1, a->s}, a->d, w->kb);
    b_panels((pairs_source){h->v16, h->v_row, 1, a->s}, a->d, w->vb);
    b_panels((pairs_source){h->k16, 1, h->k_row, a->d}, a->s, w->kb2);
}

static void pairs_score(const hl_attn_args *a, const head *h, const block *k, const workspace *w)
{
    const pairs_source q = {h->q16 + k->row0 * h->q_row, h->q_row, 1, k->rows};
    pairs_product(w->way, k->rows, k->keys_pad, a_rows(w->way, q, a->d, w->qa), w->kb, w->d_pad,
                  (place){w->x, w->s_pad}, false);
}

/* Row i of x is P~ now. */
static void pairs_take_weights(const block *k, const workspace *w, int64_t i)
{
    pairs_round(w->way, 1.0f, w->x + i * w->s_pad, k->keys_pad, w->p16 + i * w->s_pad);
}

static void pairs_gather(const block *k, const workspace *w, place o)
{
    const pairs_source p = {w->p16, w->s_pad, 1, k->rows};
    pairs_product(w->way, k->rows, w->d_pad, a_rows(w->way, p, k->keys_pad, w->pa), w->vb, w->s_pad,
                  o, false);
}

static void pairs_spread(const hl_attn_args *a, const head *h, const block *k, const workspace *w)
{
    const int64_t row = k->batch * a->t + k->row0, col = k->head * a->d;
    round_rows(w->way, a->grad_o + row * a->grad_o_row + col, a->grad_o_row, k->rows, a->d,
               w->d_pad, w->go16);
    b_panels((pairs_source){w->go16, 1, w->d_pad, a->d}, k->rows, w->gob);
    b_panels((pairs_source){h->q16 + k->row0 * h->q_row, 1, h->q_row, a->d}, k->rows, w->qb);
    const pairs_source g = {w->go16, w->d_pad, 1, k->rows};
    pairs_product(w->way, k->rows, k->keys_pad, a_rows(w->way, g, w->d_pad, w->goa), w->vb,
                  w->d_pad, (place){w->g, w->s_pad}, false);
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
    pairs_product(w->way, k->keys, w->d_pad, a_rows(w->way, pt, k->rows, w->pa), w->gob, rows_pad,
                  to->v, add);
    pairs_product(w->way, k->keys, w->d_pad, a_rows(w->way, dxt, k->rows, w->dxta), w->qb, rows_pad,
                  to->k, add);
    pairs_product(w->way, k->rows, w->d_pad, a_rows(w->way, dx, k->keys_pad, w->dxa), w->kb2,
                  w->s_pad, to->q, false);
}

#endif
#endif
