/* The products of attention in floats. k^T (and v^T) are transposed once per head so that every
 * product is "broadcast a row, load a vector". Columns are padded with zeros to whole vectors.
 * Heads of bf16 are widened once. */
#ifndef HL_ATTN_FLOATS_H
#define HL_ATTN_FLOATS_H

#include "kernels/attn/attn_space.h"
#include "kernels/vec/bf16_body.h"

/* Rows of A at a free stride need an address register each. */
enum { FREE_ROWS = HL_MR < 8 ? 4 : 8 };

/* C[m,n] (+)= A B with n a multiple of HL_NR. */
static void product(int64_t m, int64_t n, const hl_tile *whole)
{
    if (m == 0)
        return; /* a block that sees no key */
    const bool unit_row = whole->a_row == 1;
    const int height = hl_tile_height(m, unit_row ? HL_MR : FREE_ROWS);
    for (int64_t j = 0; j < n; j += HL_NR)
        for (int64_t i = 0; i < m; i += height) {
            hl_tile t = *whole;
            t.a += i * t.a_row;
            t.b += j;
            t.c += i * t.c_row + j;
            const int rows = (int)(m - i < height ? m - i : height);
            if (unit_row)
                hl_tile_run_packed(rows, &t);
            else
                hl_tile_run_as(false, rows, &t);
        }
}

/* dst[d_pad wide] = n rows of src, zero-filled to d_pad. */
static void copy_rows(const float *src, int64_t row, int64_t n, int64_t d, int64_t d_pad,
                      float *dst)
{
    for (int64_t r = 0; r < n; r++) {
        memcpy(dst + r * d_pad, src + r * row, (size_t)d * sizeof *dst);
        memset(dst + r * d_pad + d, 0, (size_t)(d_pad - d) * sizeof *dst);
    }
}

/* dst[d][s_pad] = transposed src[s][d], zero-filled. */
static void transpose_rows(const float *src, int64_t row, int64_t s, int64_t d, int64_t s_pad,
                           float *dst)
{
    for (int64_t s0 = 0; s0 < s; s0 += 16) {
        const int64_t m = s - s0 < 16 ? s - s0 : 16;
        for (int64_t d0 = 0; d0 < d; d0 += 16) {
            const int64_t n = d - d0 < 16 ? d - d0 : 16;
            const float *in = src + s0 * row + d0;
            float *out = dst + d0 * s_pad + s0;
            if (m == 16 && n == 16) {
                float t[16][16];
                for (int j = 0; j < 16; j++)
                    for (int i = 0; i < 16; i++)
                        t[i][j] = in[j * row + i];
                for (int i = 0; i < 16; i++)
                    memcpy(out + i * s_pad, t[i], sizeof t[i]);
            } else {
                for (int64_t j = 0; j < m; j++)
                    for (int64_t i = 0; i < n; i++)
                        out[i * s_pad + j] = in[j * row + i];
            }
        }
    }
    for (int64_t i = 0; i < d; i++)
        memset(dst + i * s_pad + s, 0, (size_t)(s_pad - s) * sizeof *dst);
}

static const float *widen(const hl_bf16 *from, int64_t row, int64_t n, int64_t d, float *to)
{
    for (int64_t r = 0; r < n; r++)
        for (int64_t i = 0; i < d; i++)
            to[r * d + i] = hl_from_bf16(from[r * row + i]);
    return to;
}

static head floats_head(const hl_attn_args *a, const origin *at, const workspace *w)
{
    if (!a->q16)
        return (head){.q = a->q + at->q,
                      .k = a->k + at->k,
                      .v = a->v + at->v,
                      .q_row = a->q_row,
                      .k_row = a->k_row,
                      .v_row = a->v_row};
    return (head){.q = widen(a->q16 + at->q, a->q_row, a->t, a->d, w->wide[0]),
                  .k = widen(a->k16 + at->k, a->k_row, a->s, a->d, w->wide[1]),
                  .v = widen(a->v16 + at->v, a->v_row, a->s, a->d, w->wide[2]),
                  .q_row = a->d,
                  .k_row = a->d,
                  .v_row = a->d};
}

/* What is made of k and v once for all blocks. */
static void floats_load(const hl_attn_args *a, const head *h, const workspace *w)
{
    transpose_rows(h->k, h->k_row, a->s, a->d, w->s_pad, w->kt);
    copy_rows(h->v, h->v_row, a->s, a->d, w->d_pad, w->v);
}

static void floats_load_vjp(const hl_attn_args *a, const head *h, const workspace *w)
{
    transpose_rows(h->k, h->k_row, a->s, a->d, w->s_pad, w->kt);
    transpose_rows(h->v, h->v_row, a->s, a->d, w->s_pad, w->vt);
    copy_rows(h->k, h->k_row, a->s, a->d, w->d_pad, w->v);
}

/* x = q k^T */
static void floats_score(const hl_attn_args *a, const head *h, const block *k, const workspace *w)
{
    product(k->rows, k->keys_pad,
            &(hl_tile){.a = h->q + k->row0 * h->q_row,
                       .a_row = h->q_row,
                       .a_col = 1,
                       .b = w->kt,
                       .b_row = w->s_pad,
                       .c = w->x,
                       .c_row = w->s_pad,
                       .k = a->d});
}

static void floats_take_weights(const block *k, const workspace *w, int64_t i)
{
    (void)k, (void)w, (void)i; /* x is multiplied where it is */
}

/* o = P~ v, P~ being x */
static void floats_gather(const block *k, const workspace *w, place o)
{
    product(k->rows, w->d_pad,
            &(hl_tile){.a = w->x,
                       .a_row = w->s_pad,
                       .a_col = 1,
                       .b = w->v,
                       .b_row = w->d_pad,
                       .c = o.at,
                       .c_row = o.row,
                       .k = k->keys});
}

/* g = do v^T */
static void floats_spread(const hl_attn_args *a, const head *h, const block *k, const workspace *w)
{
    const int64_t row = k->batch * a->t + k->row0, col = k->head * a->d;
    copy_rows(h->q + k->row0 * h->q_row, h->q_row, k->rows, a->d, w->d_pad, w->q);
    copy_rows(a->grad_o + row * a->grad_o_row + col, a->grad_o_row, k->rows, a->d, w->d_pad, w->go);
    product(k->rows, k->keys_pad,
            &(hl_tile){.a = w->go,
                       .a_row = w->d_pad,
                       .a_col = 1,
                       .b = w->vt,
                       .b_row = w->s_pad,
                       .c = w->g,
                       .c_row = w->s_pad,
                       .k = a->d});
}

/* g of row i is the cotangent of the scores. */
static void floats_take_slopes(const hl_attn_args *a, const block *k, const workspace *w,
                               const float *weights, int64_t i)
{
    (void)weights; /* multiplied where they are */
    float *g = w->g + i * w->s_pad;
    for (int64_t j = 0; j < k->keys; j++)
        g[j] *= a->scale;
}

/* gv (+)= P~^T do, gk (+)= dX^T q, gq = dX k; P~ is w, dX is g */
static void floats_collect(const block *k, const workspace *w, const gradients *to, bool add)
{
    product(k->keys, w->d_pad,
            &(hl_tile){.a = w->w,
                       .a_row = 1,
                       .a_col = w->s_pad,
                       .b = w->go,
                       .b_row = w->d_pad,
                       .c = to->v.at,
                       .c_row = to->v.row,
                       .k = k->rows,
                       .add = add});
    product(k->keys, w->d_pad,
            &(hl_tile){.a = w->g,
                       .a_row = 1,
                       .a_col = w->s_pad,
                       .b = w->q,
                       .b_row = w->d_pad,
                       .c = to->k.at,
                       .c_row = to->k.row,
                       .k = k->rows,
                       .add = add});
    product(k->rows, w->d_pad,
            &(hl_tile){.a = w->g,
                       .a_row = w->s_pad,
                       .a_col = 1,
                       .b = w->v,
                       .b_row = w->d_pad,
                       .c = to->q.at,
                       .c_row = to->q.row,
                       .k = k->keys});
}

#endif
