/* Fused attention on one worker: scores, normaliser, dropout and the product with V for one
 * (sequence, head) at a time, in blocks of query rows whose scores stay in cache. The T x S matrix
 * never goes to memory; the backward pass computes it again from q, k and two numbers per row, to
 * the same bits.
 *
 * Forward per block of rows:  X = scale q k^T;  P = normalise(X);  P~ = dropout(P);  o = P~ v.
 * Backward:  dP~ = do v^T;  dv += P~^T do;  dP = dropout(dP~);  dX = vjp(dP, P);  dq = scale dX k;
 *            dk += scale dX^T q.                      (spec: attention, section 6.4)
 *
 * k^T (and v^T) are transposed once per head so that every product is "broadcast a row, load a
 * vector". Columns are padded with zeros to whole vectors. Under a causal mask a block only sees the
 * keys up to its last row.
 *
 * Heads of bf16 are widened once per head; everything behind that is float, the scores above all. */
#include "kernels/mm/tile.h"
#include "kernels/row/normalise_body.h"
#include "kernels/vec/bf16_body.h"

/* Rows of A at a free stride need an address register each. */
enum { FREE_ROWS = HL_MR < 8 ? 4 : 8, BLOCK_ROWS = 64 };
enum { SHORT_ROW = 64, MASKS = 1024 }; /* keys, numbers: of dropout */

static int64_t padded(int64_t n)
{
    return (n + HL_NR - 1) / HL_NR * HL_NR;
}

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

typedef struct workspace {
    int64_t d_pad, s_pad;
    float *kt;     /* [D, s_pad]: k transposed */
    float *vt;     /* [D, s_pad], backward */
    float *v;      /* [S, d_pad]: v, or k in the backward pass (dq = dX k) */
    float *x;      /* [BLOCK_ROWS, s_pad]: scores, then weights */
    float *g;      /* [BLOCK_ROWS, s_pad], backward: dP, then dX */
    float *w;      /* [BLOCK_ROWS, s_pad], backward: P after dropout */
    float *keep;   /* [s_pad, at least MASKS]: dropout factors of a row, or of some short ones */
    float *o;      /* [BLOCK_ROWS, d_pad]: o, or dq */
    float *q, *go; /* [BLOCK_ROWS, d_pad], backward: this block of q and of grad_o */
    float *gk, *gv; /* [S, d_pad], backward */
    float *wide[3]; /* [T, D], [S, D] twice: q, k, v of this head if they are bf16 */
} workspace;

static size_t lay_out(const hl_attn_args *a, void *scratch, workspace *w)
{
    float *p = (float *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63), *start = p;
    w->d_pad = padded(a->d);
    w->s_pad = padded(a->s);
    const int64_t sd = a->s * w->d_pad, ds = a->d * w->s_pad;
    const int64_t bs = BLOCK_ROWS * w->s_pad, bd = BLOCK_ROWS * w->d_pad;
#define TAKE(field, n)                                                                             \
    w->field = p;                                                                                  \
    p += (n)
    TAKE(kt, ds);
    TAKE(vt, ds);
    TAKE(v, sd);
    TAKE(x, bs);
    TAKE(g, bs);
    TAKE(w, bs);
    TAKE(keep, w->s_pad > MASKS ? w->s_pad : MASKS);
    TAKE(o, bd);
    TAKE(q, bd);
    TAKE(go, bd);
    TAKE(gk, sd);
    TAKE(gv, sd);
    TAKE(wide[0], a->q16 ? a->t * a->d : 0);
    TAKE(wide[1], a->q16 ? a->s * a->d : 0);
    TAKE(wide[2], a->q16 ? a->s * a->d : 0);
#undef TAKE
    return (size_t)(p - start) * sizeof(float) + 64;
}

size_t HL_K(attention_scratch_bytes)(const hl_attn_args *a)
{
    workspace w;
    return lay_out(a, NULL, &w);
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

/* q, k, v of one (sequence, head). */
typedef struct head {
    const float *q, *k, *v;
    int64_t q_row, k_row, v_row;
} head;

static const float *widen(const hl_bf16 *from, int64_t row, int64_t n, int64_t d, float *to)
{
    for (int64_t r = 0; r < n; r++)
        for (int64_t i = 0; i < d; i++)
            to[r * d + i] = hl_from_bf16(from[r * row + i]);
    return to;
}

static head head_at(const hl_attn_args *a, int64_t task, const workspace *w)
{
    const int64_t batch = task / a->n_head, col = task % a->n_head * a->d;
    const int64_t q = batch * a->t * a->q_row + col, k = batch * a->s * a->k_row + col;
    const int64_t v = batch * a->s * a->v_row + col;
    if (!a->q16)
        return (head){a->q + q, a->k + k, a->v + v, a->q_row, a->k_row, a->v_row};
    return (head){widen(a->q16 + q, a->q_row, a->t, a->d, w->wide[0]),
                  widen(a->k16 + k, a->k_row, a->s, a->d, w->wide[1]),
                  widen(a->v16 + v, a->v_row, a->s, a->d, w->wide[2]),
                  a->d,
                  a->d,
                  a->d};
}

/* One block of query rows of one (sequence, head). */
typedef struct block {
    int64_t batch, head, row0, rows;
    int64_t keys, keys_pad; /* keys any of its rows may see */
} block;

static block block_at(const hl_attn_args *a, int64_t task, int64_t row0)
{
    block k = {.batch = task / a->n_head, .head = task % a->n_head, .row0 = row0};
    k.rows = a->t - row0 < BLOCK_ROWS ? a->t - row0 : BLOCK_ROWS;
    k.keys = a->s;
    if (a->causal) {
        const int64_t seen = row0 + k.rows + (a->s - a->t);
        k.keys = seen < 0 ? 0 : seen < a->s ? seen : a->s;
    }
    k.keys_pad = padded(k.keys);
    return k;
}

/* Keys that row i of the block may see under the causal rule. */
static int64_t keys_of_row(const hl_attn_args *a, const block *k, int64_t i)
{
    if (!a->causal)
        return k->keys;
    const int64_t n = k->row0 + i + 1 + (a->s - a->t);
    return n < 0 ? 0 : n < k->keys ? n : k->keys;
}

/* The same, or whole vectors where a key costs much: those behind are forbidden and weigh 0. */
static int64_t keys_to_look_at(const hl_attn_args *a, const block *k, int64_t i)
{
    const int64_t n = keys_of_row(a, k, i), whole = (n + 15) & ~(int64_t)15;
    const bool has_exp = a->norm.base == HL_NORM_SOFTMAX || a->norm.base == HL_NORM_SOFTMAX1;
    if (a->norm.base == HL_NORM_ENTMAX || (has_exp && whole > k->keys_pad))
        return k->keys_pad;
    return has_exp ? whole : n;
}

/* w->x[rows, keys_pad] = scale q k^T, forbidden entries -inf. */
static void score_block(const hl_attn_args *a, const head *h, const block *k, workspace *w)
{
    product(k->rows, k->keys_pad,
            &(hl_tile){.a = h->q + k->row0 * h->q_row, .a_row = h->q_row, .a_col = 1, .b = w->kt, .b_row = w->s_pad,
                       .c = w->x, .c_row = w->s_pad, .k = a->d});
    const uint8_t *mask = a->key_mask ? a->key_mask + k->batch * a->s : NULL;
    for (int64_t i = 0; i < k->rows; i++) {
        float *x = w->x + i * w->s_pad;
        const int64_t seen = keys_of_row(a, k, i);
        for (int64_t j = 0; j < seen; j++)
            x[j] *= a->scale;
        if (mask)
            for (int64_t j = 0; j < seen; j++)
                x[j] = mask[j] ? x[j] : -INFINITY;
        for (int64_t j = seen; j < k->keys_pad; j++)
            x[j] = -INFINITY;
    }
}

static uint64_t first_element(const hl_attn_args *a, const block *k, int64_t i)
{
    const int64_t row = (k->batch * a->n_head + k->head) * a->t + k->row0 + i;
    return (uint64_t)row * (uint64_t)a->s;
}

/* Dropout factors of the first n keys of row i, asked for row by row. Random numbers come in whole
 * blocks, so short rows, whose elements lie behind each other, share a call. */
static const float *keep_of_row(const hl_attn_args *a, const block *k, workspace *w, int64_t i,
                                int64_t n)
{
    if (a->s > SHORT_ROW || a->s == 0) {
        HL_K(dropout_mask)(n, a->dropout, a->key, first_element(a, k, i), w->keep);
        return w->keep;
    }
    const int64_t together = MASKS / a->s, at = i % together;
    const int64_t rows = k->rows - i < together ? k->rows - i : together;
    if (at == 0)
        HL_K(dropout_mask)(rows * a->s, a->dropout, a->key, first_element(a, k, i), w->keep);
    return w->keep + at * a->s;
}

static float *stat_of(const hl_attn_args *a, const block *k, int64_t i)
{
    return a->stat + 2 * ((k->batch * a->n_head + k->head) * a->t + k->row0 + i);
}

void HL_K(attention)(const hl_attn_args *a, int64_t begin, int64_t end, void *scratch)
{
    workspace w;
    lay_out(a, scratch, &w);
    for (int64_t task = begin; task < end; task++) {
        const head h = head_at(a, task, &w);
        transpose_rows(h.k, h.k_row, a->s, a->d, w.s_pad, w.kt);
        copy_rows(h.v, h.v_row, a->s, a->d, w.d_pad, w.v);
        for (int64_t row0 = 0; row0 < a->t; row0 += BLOCK_ROWS) {
            const block k = block_at(a, task, row0);
            score_block(a, &h, &k, &w);
            for (int64_t i = 0; i < k.rows; i++) {
                float *x = w.x + i * w.s_pad;
                hl_normalise_row(a->norm, keys_to_look_at(a, &k, i), x, x, stat_of(a, &k, i));
                for (int64_t j = keys_of_row(a, &k, i); j < k.keys; j++)
                    x[j] = 0.0f;
                if (a->dropout > 0.0f) {
                    const float *keep = keep_of_row(a, &k, &w, i, k.keys);
                    HL_ROW_EACH(j, k.keys, x[j] = keep[j] != 0.0f ? x[j] * keep[j] : 0.0f);
                }
            }
            product(k.rows, w.d_pad,
                    &(hl_tile){.a = w.x, .a_row = w.s_pad, .a_col = 1, .b = w.v, .b_row = w.d_pad,
                               .c = w.o, .c_row = w.d_pad, .k = k.keys});
            float *o = a->o + (k.batch * a->t + row0) * a->o_row + k.head * a->d;
            for (int64_t i = 0; i < k.rows; i++)
                memcpy(o + i * a->o_row, w.o + i * w.d_pad, (size_t)a->d * sizeof *o);
        }
    }
}

/* Scores of row i to weights: w.x the weights before clip (roots for entmax15, still the scores for
 * entmax), w.w after clip and
 * dropout, w.g the cotangent of the weights after dropout. */
static void weigh_row(const hl_attn_args *a, const block *k, workspace *w, int64_t i)
{
    float *x = w->x + i * w->s_pad, *after = w->w + i * w->s_pad, *g = w->g + i * w->s_pad;
    const float *stat = stat_of(a, k, i);
    const float shift = stat[0], second = stat[1];
    const hl_normaliser f = a->norm;
    const int64_t n = keys_of_row(a, k, i), whole = keys_to_look_at(a, k, i);
    /* the base is constant in each loop, so that every loop vectorises */
    if (f.base == HL_NORM_ENTMAX15) {
        HL_ROW_EACH(j, n, x[j] = hl_normaliser_weight(HL_NORM_ENTMAX15, x[j], shift, second);
                    after[j] = x[j] * x[j]);
    } else if (f.base == HL_NORM_SPARSEMAX) {
        HL_ROW_EACH(j, n, x[j] = hl_normaliser_weight(HL_NORM_SPARSEMAX, x[j], shift, second);
                    after[j] = x[j]);
    } else if (f.base == HL_NORM_ENTMAX) {
        const hl_entmax e = hl_entmax_of(f);
        HL_ROW_EACH(j, whole, after[j] = hl_entmax_weight(e, x[j] - shift - second));
    } else {
        HL_ROW_EACH(j, whole,
                    x[j] = hl_normaliser_weight(HL_NORM_SOFTMAX, x[j], shift, second);
                    after[j] = x[j]);
    }
    if (hl_normaliser_clips(f)) {
        const float width = f.eta - f.gamma;
        HL_ROW_EACH(j, n, float s = width * after[j]; s = s + f.gamma; s = s < 0.0f ? 0.0f : s;
                    after[j] = s > 1.0f ? 1.0f : s);
    }
    for (int64_t j = n; j < k->keys_pad; j++)
        after[j] = g[j] = 0.0f;
    for (int64_t j = n; f.base != HL_NORM_ENTMAX && j < k->keys_pad; j++)
        x[j] = 0.0f;
    if (a->dropout > 0.0f) {
        const float *keep = keep_of_row(a, k, w, i, n);
        HL_ROW_EACH(j, n, after[j] = keep[j] != 0.0f ? after[j] * keep[j] : 0.0f;
                    g[j] = keep[j] != 0.0f ? g[j] * keep[j] : 0.0f);
    }
    if (f.base == HL_NORM_ENTMAX) {
        const hl_entmax_row row = {whole, x, stat};
        hl_normalise_entmax_slope(f, &row, g, g, a->grad_alpha);
    } else
        hl_normalise_row_slope(f, n, x, g, g);
    for (int64_t j = 0; j < n; j++)
        g[j] *= a->scale;
}

static void block_vjp(const hl_attn_args *a, const head *h, const block *k, workspace *w, bool first)
{
    const int64_t row = k->batch * a->t + k->row0, col = k->head * a->d;
    score_block(a, h, k, w);
    copy_rows(h->q + k->row0 * h->q_row, h->q_row, k->rows, a->d, w->d_pad, w->q);
    copy_rows(a->grad_o + row * a->grad_o_row + col, a->grad_o_row, k->rows, a->d, w->d_pad, w->go);
    product(k->rows, k->keys_pad,
            &(hl_tile){.a = w->go, .a_row = w->d_pad, .a_col = 1, .b = w->vt, .b_row = w->s_pad,
                       .c = w->g, .c_row = w->s_pad, .k = a->d});
    for (int64_t i = 0; i < k->rows; i++)
        weigh_row(a, k, w, i);
    product(k->keys, w->d_pad,
            &(hl_tile){.a = w->w, .a_row = 1, .a_col = w->s_pad, .b = w->go, .b_row = w->d_pad,
                       .c = w->gv, .c_row = w->d_pad, .k = k->rows, .add = !first});
    product(k->keys, w->d_pad,
            &(hl_tile){.a = w->g, .a_row = 1, .a_col = w->s_pad, .b = w->q, .b_row = w->d_pad,
                       .c = w->gk, .c_row = w->d_pad, .k = k->rows, .add = !first});
    product(k->rows, w->d_pad,
            &(hl_tile){.a = w->g, .a_row = w->s_pad, .a_col = 1, .b = w->v, .b_row = w->d_pad,
                       .c = w->o, .c_row = w->d_pad, .k = k->keys});
    float *gq = a->grad_q + row * a->q_row + col;
    for (int64_t i = 0; i < k->rows; i++)
        memcpy(gq + i * a->q_row, w->o + i * w->d_pad, (size_t)a->d * sizeof *gq);
}

void HL_K(attention_vjp)(const hl_attn_args *a, int64_t begin, int64_t end, void *scratch)
{
    workspace w;
    lay_out(a, scratch, &w);
    for (int64_t task = begin; task < end; task++) {
        const int64_t key0 = task / a->n_head * a->s, col = task % a->n_head * a->d;
        const head h = head_at(a, task, &w);
        transpose_rows(h.k, h.k_row, a->s, a->d, w.s_pad, w.kt);
        transpose_rows(h.v, h.v_row, a->s, a->d, w.s_pad, w.vt);
        copy_rows(h.k, h.k_row, a->s, a->d, w.d_pad, w.v);
        /* The last block sees the most keys, so it writes all of gk and gv first. */
        const int64_t n_blocks = (a->t + BLOCK_ROWS - 1) / BLOCK_ROWS;
        for (int64_t b = n_blocks - 1; b >= 0; b--) {
            const block k = block_at(a, task, b * BLOCK_ROWS);
            block_vjp(a, &h, &k, &w, b == n_blocks - 1);
        }
        if (n_blocks == 0) {
            memset(w.gk, 0, (size_t)(a->s * w.d_pad) * sizeof *w.gk);
            memset(w.gv, 0, (size_t)(a->s * w.d_pad) * sizeof *w.gv);
        }
        float *gk = a->grad_k + key0 * a->k_row + col, *gv = a->grad_v + key0 * a->v_row + col;
        const size_t bytes = (size_t)a->d * sizeof *gk;
        for (int64_t j = 0; j < a->s; j++) {
            memcpy(gk + j * a->k_row, w.gk + j * w.d_pad, bytes);
            memcpy(gv + j * a->v_row, w.gv + j * w.d_pad, bytes);
        }
    }
}
