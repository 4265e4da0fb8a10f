/* Fused attention on one worker: scores, normaliser, dropout and the product with V for one
 * (sequence, head) at a time, in blocks of query rows whose scores stay in cache. The T x S matrix
 * never goes to memory; the backward pass computes it again from q, k and two numbers per row, to
 * the same bits.
 *
 * Forward per block of rows:  X = scale q k^T;  P = normalise(X);  P~ = dropout(P);  o = P~ v.
 * Backward:  dP~ = do v^T;  dv += P~^T do;  dP = dropout(dP~);  dX = vjp(dP, P);  dq = scale dX k;
 *            dk += scale dX^T q.                      (spec: attention, section 6.4)
 *
 * Under a causal mask a block only sees the keys up to its last row. Columns are padded with zeros
 * to whole vectors.
 *
 * Heads of bf16 are multiplied in pairs if the processor does that, else widened once per head; the
 * scores and everything up to the next product are float. */
#include "kernels/attn/attn_floats.h"
#include "kernels/attn/attn_pairs.h"
#include "kernels/row/normalise_body.h"
#include "kernels/vec/round_row.h"

/* Of floats or of pairs: what workspace.way says. */
#ifdef HL_HAS_PAIRS
#define BY_WAY(w, name, ...)                                                                       \
    ((w)->way == HL_BF16_WIDENED ? floats_##name(__VA_ARGS__) : pairs_##name(__VA_ARGS__))
#else
#define BY_WAY(w, name, ...) floats_##name(__VA_ARGS__)
#endif

enum { SHORT_ROW = 64 }; /* keys: rows that share a call for dropout */

size_t HL_K(attention_scratch_bytes)(const hl_attn_args *a)
{
    workspace w;
    return lay_out(a, NULL, &w);
}

static head head_at(const hl_attn_args *a, int64_t task, const workspace *w)
{
    const origin at = origin_of(a, task);
    return BY_WAY(w, head, a, &at, w);
}

/* Rows of D numbers that somebody wants: floats, or bf16. */
typedef struct result {
    float *at;
    hl_bf16 *rounded; /* not NULL: this */
    int64_t row;
} result;

static result result_at(float *p, hl_bf16 *rounded, int64_t at, int64_t row)
{
    return rounded ? (result){NULL, rounded + at, row} : (result){p + at, NULL, row};
}

/* Where a product writes rows that belong to `to`: there, or to `room` if they are rounded behind
 * it, if it writes more than D numbers or, with tiles, more than those rows. */
static place place_of(const hl_attn_args *a, const workspace *w, const result *to, float *room)
{
    const bool fits = a->d == w->d_pad && w->way != HL_BF16_TILES && !to->rounded;
    return fits ? (place){to->at, to->row} : (place){room, w->d_pad};
}

static void put_rows(const place *from, int64_t n, int64_t d, const result *to)
{
    if (to->rounded)
        hl_round(&(hl_round_rows){n, d, from->at, from->row, to->rounded, to->row});
    for (int64_t i = 0; !to->rounded && from->at != to->at && i < n; i++)
        memcpy(to->at + i * to->row, from->at + i * from->row, (size_t)d * sizeof *to->at);
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
    BY_WAY(w, score, a, h, k, w);
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

/* While row i of a block is worked on, the same row of the next task is fetched. */
FETCHES fetch_next(const hl_attn_args *a, const block *k, const workspace *w, int64_t i)
{
    const int64_t task = k->batch * a->n_head + k->head + 1;
    if (task < w->end)
        fetch_rows(a, task, k->row0 + i);
}

/* w->x: scores to weights after dropout, 0 past the keys of a row. */
static void weigh_block(const hl_attn_args *a, const block *k, workspace *w)
{
    for (int64_t i = 0; i < k->rows; i++) {
        float *x = w->x + i * w->s_pad;
        hl_normalise_row(a->norm, keys_to_look_at(a, k, i), x, x, stat_of(a, k, i));
        for (int64_t j = keys_of_row(a, k, i); j < k->keys_pad; j++)
            x[j] = 0.0f;
        if (a->dropout > 0.0f) {
            const float *keep = keep_of_row(a, k, w, i, k->keys);
            HL_ROW_EACH(j, k->keys, x[j] = keep[j] != 0.0f ? x[j] * keep[j] : 0.0f);
        }
        BY_WAY(w, take_weights, k, w, i);
        fetch_next(a, k, w, i);
    }
}

void HL_K(attention)(const hl_attn_args *a, int64_t begin, int64_t end, void *scratch)
{
    workspace w;
    lay_out(a, scratch, &w);
    w.end = end;
    pairs_begin(w.way);
    for (int64_t task = begin; task < end; task++) {
        const head h = head_at(a, task, &w);
        BY_WAY(&w, load, a, &h, &w);
        for (int64_t row0 = 0; row0 < a->t; row0 += BLOCK_ROWS) {
            const block k = block_at(a, task, row0);
            score_block(a, &h, &k, &w);
            weigh_block(a, &k, &w);
            const int64_t at = (k.batch * a->t + row0) * a->o_row + k.head * a->d;
            const result o = result_at(a->o, a->rounded_o, at, a->o_row);
            const place to = place_of(a, &w, &o, w.o);
            BY_WAY(&w, gather, &k, &w, to);
            put_rows(&to, k.rows, a->d, &o);
        }
    }
    pairs_end(w.way);
}

/* Scores of row i to weights: w.x the weights before clip (roots for entmax15, still the scores for
 * entmax), `after` after clip and dropout; w.g from the cotangent of the weights after dropout to
 * that of the scores. */
static void weigh_row(const hl_attn_args *a, const block *k, workspace *w, int64_t i, float *after)
{
    float *x = w->x + i * w->s_pad, *g = w->g + i * w->s_pad;
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
}

static void block_vjp(const hl_attn_args *a, const head *h, const block *k, workspace *w,
                      gradients *to, bool first)
{
    const int64_t row = k->batch * a->t + k->row0, col = k->head * a->d;
    const result gq = result_at(a->grad_q, a->rounded_q, row * a->q_row + col, a->q_row);
    score_block(a, h, k, w);
    BY_WAY(w, spread, a, h, k, w);
    for (int64_t i = 0; i < k->rows; i++) {
        float *after = w->w + i * w->w_row;
        weigh_row(a, k, w, i, after);
        BY_WAY(w, take_slopes, a, k, w, after, i);
        fetch_next(a, k, w, i);
    }
    to->q = place_of(a, w, &gq, w->o);
    BY_WAY(w, collect, k, w, to, !first);
    put_rows(&to->q, k->rows, a->d, &gq);
}

void HL_K(attention_vjp)(const hl_attn_args *a, int64_t begin, int64_t end, void *scratch)
{
    workspace w;
    lay_out(a, scratch, &w);
    w.end = end;
    pairs_begin(w.way);
    for (int64_t task = begin; task < end; task++) {
        const int64_t key0 = task / a->n_head * a->s, col = task % a->n_head * a->d;
        const result gk = result_at(a->grad_k, a->rounded_k, key0 * a->k_row + col, a->k_row);
        const result gv = result_at(a->grad_v, a->rounded_v, key0 * a->v_row + col, a->v_row);
        gradients to = {.k = place_of(a, &w, &gk, w.gk), .v = place_of(a, &w, &gv, w.gv)};
        const head h = head_at(a, task, &w);
        BY_WAY(&w, load_vjp, a, &h, &w);
        /* The last block sees the most keys, so it writes all of gk and gv first. */
        const int64_t n_blocks = (a->t + BLOCK_ROWS - 1) / BLOCK_ROWS;
        for (int64_t b = n_blocks - 1; b >= 0; b--) {
            const block k = block_at(a, task, b * BLOCK_ROWS);
            block_vjp(a, &h, &k, &w, &to, b == n_blocks - 1);
        }
        for (int64_t j = 0; j < a->s && n_blocks == 0; j++) {
            memset(to.k.at + j * to.k.row, 0, (size_t)a->d * sizeof(float));
            memset(to.v.at + j * to.v.row, 0, (size_t)a->d * sizeof(float));
        }
        put_rows(&to.k, a->s, a->d, &gk);
        put_rows(&to.v, a->s, a->d, &gv);
    }
    pairs_end(w.way);
}
