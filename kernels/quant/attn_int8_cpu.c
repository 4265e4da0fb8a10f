/* Attention on codes: both products in integers, softmax in float between them.
 *
 * DESIGN. Keys and values of a task are packed once, 128 lower so that they have a sign; then
 * blocks of queries go all the way while their scores are in the second cache. A causal block looks
 * at the keys that some row of it may see. With q' = q - z_q and k' = k - 128, z' = z_k - 128:
 *
 *   sum (q - z_q)(k' - z') = sum q k' - z_q sum k' - z' sum q + D z_q z'
 *
 * and likewise for weights, whose zero is 0, and values. exp is computed and not looked up in a
 * table of 256: gathering is no faster than the polynomial (docs/benchmarks.md). Compiled without
 * contraction. */
#include <math.h>

#include "kernels/row/row_body.h"
#include "kernels/vec/hl_isa.h"

enum { BLOCK = 64 }; /* queries at once */

typedef struct job {
    const hl_attn_int8_args *a;
    int group;
    int8_t *keys, *values;  /* packed */
    int32_t *acc, *of_keys; /* [BLOCK, max(S,D)]; [S] */
    int32_t of_rows[BLOCK]; /* what belongs to the sums of a row */
    float *x, *y, *scale;   /* a row of scores, of weights; [D] of the same number */
    float *hidden;          /* [S]: -inf where the key mask forbids; NULL: no mask */
    uint8_t *codes;         /* [BLOCK,S] of weights */
    void *own;              /* of products */
} job;

static size_t align64(size_t n)
{
    return (n + 63) / 64 * 64;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Lays the job out in scratch, if there is some; bytes. */
static size_t lay_out(const hl_attn_int8_args *a, void *scratch, job *j)
{
    const int group = (int)HL_K(int8_group)();
    const size_t s = (size_t)a->s, d = (size_t)a->d;
    const size_t bytes[9] = {HL_K(int8_packed_bytes)(group, a->s, a->d),
                             HL_K(int8_packed_bytes)(group, a->d, a->s),
                             BLOCK * (size_t)larger(a->s, a->d) * sizeof(int32_t),
                             s * sizeof(int32_t),
                             s * sizeof(float),
                             (s + 2) * sizeof(float),
                             d * sizeof(float),
                             s * sizeof(float),
                             BLOCK * s};
    void *at[9];
    size_t total = 0;
    for (int i = 0; i < 9; i++) {
        at[i] = scratch ? (unsigned char *)scratch + total : NULL;
        total += align64(bytes[i]);
    }
    if (scratch)
        *j = (job){.a = a,
                   .group = group,
                   .keys = at[0],
                   .values = at[1],
                   .acc = at[2],
                   .of_keys = at[3],
                   .x = at[4],
                   .y = at[5],
                   .scale = at[6],
                   .hidden = a->key_mask ? at[7] : NULL,
                   .codes = at[8],
                   .own = (unsigned char *)scratch + total};
    return total + HL_K(int8_scratch_bytes)(group, 1);
}

size_t HL_K(attention_int8_bytes)(const hl_attn_int8_args *a)
{
    return align64(lay_out(a, NULL, NULL));
}

static int32_t sum_of(const uint8_t *x, int64_t n)
{
    int32_t sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

static void take_keys(job *j, int64_t batch, const uint8_t *k, const uint8_t *v)
{
    const hl_attn_int8_args *a = j->a;
    const hl_int8_matrix keys = {.n = a->s, .k = a->d, .data = k, .row = a->row, .col = 1},
                         values = {.n = a->d, .k = a->s, .data = v, .row = 1, .col = a->row};
    HL_K(int8_pack_codes)(j->group, &keys, j->keys);
    HL_K(int8_pack_codes)(j->group, &values, j->values);
    const int32_t zero = (int32_t)a->of_q.zero;
    for (int64_t u = 0; u < a->s; u++)
        j->of_keys[u] = -zero * (sum_of(k + u * a->row, a->d) - 128 * (int32_t)a->d);
    for (int64_t u = 0; j->hidden && u < a->s; u++)
        j->hidden[u] = a->key_mask[batch * a->s + u] ? 0.0f : -INFINITY;
    for (int64_t e = 0; e < a->d; e++)
        j->scale[e] = a->of_weights.scale * a->of_v.scale;
}

/* Sums of a query and n keys to codes of weights; the row's own part of the sums. */
static void weigh(const job *j, const int32_t *acc, int32_t of_row, int64_t n, uint8_t *codes)
{
    const hl_attn_int8_args *a = j->a;
    const float scale = a->of_q.scale * a->of_k.scale * a->scale;
    const int32_t *of_keys = j->of_keys;
    const hl_quant_grid grid = a->of_scores;
    float *x = j->x;
    HL_ROW_EACH(u, n, x[u] = hl_quant_apply(grid, (float)(acc[u] + of_keys[u] + of_row) * scale))
    if (j->hidden)
        HL_ROW_EACH(u, n, x[u] += j->hidden[u])
    HL_K(normalise_row)(a->norm, n, x, j->y, j->y + a->s);
    HL_K(quant_encode)(a->of_weights, HL_CODE_U8, n, j->y, codes);
}

static void do_block(job *j, int64_t batch, int64_t head, int64_t first)
{
    const hl_attn_int8_args *a = j->a;
    const int64_t rows = a->t - first < BLOCK ? a->t - first : BLOCK, older = a->s - a->t;
    const int64_t last = first + rows + older, n = a->causal && last < a->s ? last : a->s;
    const int64_t at = (batch * a->t + first) * a->row + head * a->d;
    const uint8_t *q = a->q + at;
    const int32_t z_k = (int32_t)a->of_k.zero - 128, z_q = (int32_t)a->of_q.zero;
    const hl_int8_gemm_args scores = {.group = j->group,
                                      .m = rows,
                                      .n = n,
                                      .k = a->d,
                                      .a = q,
                                      .a_row = a->row,
                                      .packed_b = j->keys,
                                      .packed_n = a->s,
                                      .packed_k = a->d,
                                      .c = j->acc,
                                      .c_row = n};
    HL_K(int8_gemm)(NULL, &scores, j->own);
    for (int64_t i = 0; i < rows; i++) {
        const int64_t seen = a->causal ? first + i + older + 1 : a->s;
        uint8_t *codes = j->codes + i * n;
        weigh(j, j->acc + i * n, z_k * ((int32_t)a->d * z_q - sum_of(q + i * a->row, a->d)), seen,
              codes);
        memset(codes + seen, 0, (size_t)(n - seen));
        j->of_rows[i] = (128 - (int32_t)a->of_v.zero) * sum_of(codes, n);
    }
    const hl_int8_gemm_args gather = {.group = j->group,
                                      .m = rows,
                                      .n = a->d,
                                      .k = n,
                                      .a = j->codes,
                                      .a_row = n,
                                      .packed_b = j->values,
                                      .packed_n = a->d,
                                      .packed_k = a->s,
                                      .c = j->acc,
                                      .c_row = a->d};
    HL_K(int8_gemm)(NULL, &gather, j->own);
    const hl_int8_finish f = {.m = rows,
                              .n = a->d,
                              .acc = j->acc,
                              .acc_row = a->d,
                              .row_shift = j->of_rows,
                              .scale = j->scale,
                              .grid = a->of_o,
                              .y = a->o ? a->o + at : NULL,
                              .codes = a->o ? NULL : a->o_codes + at,
                              .y_row = a->row};
    HL_K(int8_finish)(&f);
}

void HL_K(attention_int8)(const hl_attn_int8_args *a, int64_t begin, int64_t end, void *scratch)
{
    job j;
    lay_out(a, scratch, &j);
    for (int64_t i = begin; i < end; i++) {
        const int64_t batch = i / a->n_head, head = i % a->n_head;
        const int64_t at = batch * a->s * a->row + head * a->d;
        take_keys(&j, batch, a->k + at, a->v + at);
        for (int64_t first = 0; first < a->t; first += BLOCK)
            do_block(&j, batch, head, first);
    }
}
