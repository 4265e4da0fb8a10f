/* Fused multi-head attention. Inputs keep the layout of the projections, [B, T, H*D], so that no
 * transposes are needed around it. */
#include "engine/ops/normalise_ref.h"
#include "engine/ops/op_common.h"


enum { HEADS, SCALE, CAUSAL, BASE, GAMMA, ETA, DROPOUT };

#define ATTENTION_ATTRS                                                                            \
    {"heads", HL_ATTR_INT, (double)NAN, 1, 65536, NULL}, {"scale", HL_ATTR_REAL, 0, 0, 0, NULL},           \
        {"causal", HL_ATTR_BOOL, 0, 0, 0, NULL}, {"base", HL_ATTR_ENUM, 0, 0, 0, hl_normaliser_names},      \
        {"gamma", HL_ATTR_REAL, 0, -1e6, 0, NULL}, {"eta", HL_ATTR_REAL, 1, 1, 1e6, NULL},         \
    {                                                                                              \
        "dropout", HL_ATTR_REAL, 0, 0, 0.999, NULL                                                 \
    }

/* Where alpha lies among the inputs of attention and of its VJP; there, where o lies */
enum { ALPHA = 4, VJP_ALPHA = 6, VJP_O = 7 };

/* Shapes of q, k, v and mask, which lie at inputs i .. i+3. */
static hl_status check_inputs(const hl_call *c, int i)
{
    const hl_type *q = &c->in[i], *k = &c->in[i + 1], *v = &c->in[i + 2], *mask = &c->in[i + 3];
    for (int j = i; j < i + 3; j++) {
        hl_status st = hl_want_float(c, j);
        if (st == HL_OK)
            st = hl_want_rank(c, j, 3, 3);
        if (st == HL_OK)
            st = hl_want_alike(c, i, j);
        if (st != HL_OK)
            return st;
    }
    if (!hl_type_equal(k, v) || q->dim[0] != k->dim[0] || q->dim[2] != k->dim[2])
        return hl_err_set(HL_E_SHAPE,
                          "q {B, T, H*D} and k, v {B, S, H*D} must agree in B and H*D");
    if (q->dim[2] % c->attrs.v[HEADS].i)
        return hl_err_set(HL_E_SHAPE, "width %lld is not a multiple of %lld heads",
                          (long long)q->dim[2], (long long)c->attrs.v[HEADS].i);
    if (c->attrs.v[CAUSAL].i && q->dim[1] > k->dim[1])
        return hl_err_set(HL_E_SHAPE, "causal attention needs at least as many keys as queries");
    if (!hl_type_absent(mask) && (mask->dtype != HL_DTYPE_BOOL || mask->rank != 2 ||
                                  mask->dim[0] != k->dim[0] || mask->dim[1] != k->dim[1]))
        return hl_err_set(HL_E_SHAPE, "the key mask must be bool{%lld, %lld}",
                          (long long)k->dim[0], (long long)k->dim[1]);
    return HL_OK;
}

static hl_status shape_attention(hl_call *c)
{
    hl_type all[4] = {c->in[0], c->in[1], c->in[2],
                      c->n_in > 3 ? c->in[3] : (hl_type){.dtype = HL_DTYPE_COUNT}};
    hl_call full = *c;
    full.in = all;
    hl_status st = check_inputs(&full, 0);
    if (st == HL_OK)
        st = hl_want_alpha(c, ALPHA, c->attrs.v[BASE].i);
    if (st != HL_OK)
        return st;
    hl_out_like(c, 0, 0);
    int64_t stat[4] = {c->in[0].dim[0], c->attrs.v[HEADS].i, c->in[0].dim[1], 2};
    c->out[1] = hl_type_make(hl_computed(c, 0), 4, stat);
    c->n_out = 2;
    return HL_OK;
}

/* q, k and v at input i, floats or bf16. */
static void bind_heads(const hl_op_run *r, int i, hl_attn_args *a)
{
    a->q16 = hl_in_bf16(r, i);
    a->k16 = hl_in_bf16(r, i + 1);
    a->v16 = hl_in_bf16(r, i + 2);
    a->q = r->in[i];
    a->k = r->in[i + 1];
    a->v = r->in[i + 2];
}

static const hl_bf16 no_data[1];

/* Everything but pointers; q, k are inputs i and i+1. */
static hl_attn_args args_of(const hl_call *c, int i)
{
    const hl_type *q = &c->in[i], *k = &c->in[i + 1];
    const hl_attr *v = c->attrs.v;
    hl_attn_args a = {.n_batch = q->dim[0], .n_head = v[HEADS].i, .t = q->dim[1], .s = k->dim[1],
                      .d = q->dim[2] / v[HEADS].i, .causal = v[CAUSAL].i,
                      .norm = {(hl_normaliser_base)v[BASE].i, (float)v[GAMMA].f, (float)v[ETA].f, 0},
                      .dropout = (float)v[DROPOUT].f};
    a.q_row = a.k_row = a.v_row = a.o_row = a.grad_o_row = q->dim[2];
    if (q->dtype == HL_DTYPE_BF16) /* scratch depends on it, and is asked for without data */
        a.q16 = a.k16 = a.v16 = no_data;
    a.scale = (float)(v[SCALE].f != 0 ? v[SCALE].f : 1 / sqrt((double)a.d));
    return a;
}

static size_t scratch_attention(const hl_call *c, int n_workers)
{
    hl_attn_args a = args_of(c, c->op == hl_op_get(HL_OP_ID_attention_vjp) ? 1 : 0);
    return (hl_cpu()->attention_scratch_bytes(&a) + sizeof(double)) * (size_t)n_workers;
}

typedef struct attn_job {
    hl_attn_args a;
    unsigned char *scratch;
    size_t scratch_each;
    double *galpha; /* one per worker; NULL: not wanted */
    bool backward;
} attn_job;

static void attn_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const attn_job *j = arg;
    void *scratch = j->scratch + j->scratch_each * (size_t)worker;
    hl_attn_args a = j->a;
    a.grad_alpha = j->galpha ? j->galpha + worker : NULL;
    if (j->backward)
        hl_cpu()->attention_vjp(&a, begin, end, scratch);
    else
        hl_cpu()->attention(&j->a, begin, end, scratch);
}

static hl_status run_tasks(const hl_op_run *r, attn_job *j)
{
    j->scratch = r->scratch;
    j->scratch_each = hl_cpu()->attention_scratch_bytes(&j->a);
    j->a.key = hl_run_key(r);
    int64_t work = j->a.t * j->a.s * j->a.d * 4;
    hl_parallel(r->exec, j->a.n_batch * j->a.n_head, 1, work ? 65536 / work + 1 : 1, attn_part, j);
    return HL_OK;
}

static hl_status cpu_attention(const hl_op_run *r)
{
    attn_job j = {.a = args_of(r->call, 0)};
    bind_heads(r, 0, &j.a);
    j.a.key_mask = r->call->n_in > 3 ? r->in[3] : NULL;
    j.a.norm.alpha = hl_alpha_f32(r, ALPHA);
    j.a.o = r->out[0];
    j.a.rounded_o = hl_out_bf16(r, 0);
    j.a.stat = r->out[1];
    return run_tasks(r, &j);
}

static hl_status gpu_attention(const hl_op_run *r)
{
    hl_attn_args a = args_of(r->call, 0);
    bind_heads(r, 0, &a);
    a.key_mask = r->call->n_in > 3 ? r->in[3] : NULL;
    a.o = r->out[0];
    a.stat = r->out[1];
    hl_gpu_get()->attention(r->exec->gpu, &a, hl_gpu_alpha(r, ALPHA), r->exec->key, r->call->stream);
    return HL_OK;
}

/* --- the reference: whole matrices, doubles --- */

typedef struct ref_head {
    hl_attn_args a;
    const double *q, *k, *v; /* of this sequence and head; rows of length w */
    int64_t w;
    const uint8_t *mask;
    int64_t element0;
    double scale, p;
} ref_head;

static double ref_dot(const double *a, const double *b, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += a[i] * b[i];
    return s;
}

/* Scores of query i into x[s]. */
static void ref_scores(const ref_head *h, int64_t i, double *x)
{
    for (int64_t j = 0; j < h->a.s; j++) {
        bool permitted = (!h->a.causal || j <= i + h->a.s - h->a.t) && (!h->mask || h->mask[j]);
        x[j] = permitted ? h->scale * ref_dot(h->q + i * h->w, h->k + j * h->w, h->a.d) : -HUGE_VAL;
    }
}

/* 1/(1-p) or 0 for weight (i, j) */
static double ref_keep(const ref_head *h, int64_t i, int64_t j)
{
    if (h->p == 0)
        return 1;
    uint64_t e = (uint64_t)(h->element0 + i * h->a.s + j);
    return hl_philox_u32(h->a.key, e) >= hl_dropout_threshold((float)h->p) ? 1 / (1 - h->p) : 0;
}

static ref_head ref_head_at(const hl_op_run *r, const hl_attn_args *a, int in0, int64_t task)
{
    const int64_t b = task / a->n_head, head = task % a->n_head, w = a->q_row;
    ref_head h = {.a = *a, .w = w, .scale = r->call->attrs.v[SCALE].f,
                  .p = r->call->attrs.v[DROPOUT].f};
    if (h.scale == 0)
        h.scale = 1 / sqrt((double)a->d);
    h.a.key = hl_run_key(r);
    h.q = (const double *)r->in[in0] + b * a->t * w + head * a->d;
    h.k = (const double *)r->in[in0 + 1] + b * a->s * w + head * a->d;
    h.v = (const double *)r->in[in0 + 2] + b * a->s * w + head * a->d;
    const uint8_t *mask = r->call->n_in > in0 + 3 ? r->in[in0 + 3] : NULL;
    h.mask = mask ? mask + b * a->s : NULL;
    h.element0 = task * a->t * a->s;
    return h;
}

static hl_status ref_attention(const hl_op_run *r)
{
    hl_attn_args a = args_of(r->call, 0);
    a.norm.alpha = hl_alpha_f64(r, ALPHA);
    double *x = hl_alloc((size_t)(2 * a.s + 1) * sizeof *x), *y = x + a.s;
    if (!x)
        return HL_E_NOMEM;
    bool ok = true;
    for (int64_t task = 0; task < a.n_batch * a.n_head && ok; task++) {
        ref_head h = ref_head_at(r, &a, 0, task);
        for (int64_t i = 0; i < a.t && ok; i++) {
            double *o = (double *)r->out[0] + (h.q - (const double *)r->in[0]) + i * h.w;
            ref_scores(&h, i, x);
            ok = hl_ref_normalise(a.norm, a.s, x, y,
                                  (double *)r->out[1] + 2 * (task * a.t + i));
            for (int64_t e = 0; e < a.d; e++) {
                o[e] = 0;
                for (int64_t j = 0; j < a.s; j++)
                    o[e] += y[j] * ref_keep(&h, i, j) * h.v[j * h.w + e];
            }
        }
    }
    hl_free(x);
    return ok ? HL_OK : HL_E_NOMEM;
}

static hl_status vjp_attention(hl_vjp *v)
{
    if (v->grad_out[1] != HL_NONE)
        return hl_err_set(HL_E_UNSUPPORTED, "stat has no derivative");
    if (v->grad_out[0] == HL_NONE)
        return HL_OK;
    hl_id in[8] = {v->grad_out[0], v->in[0], v->in[1], v->in[2],
                   v->n_in > 3 ? v->in[3] : HL_NONE, v->out[1],
                   v->n_in > ALPHA ? v->in[ALPHA] : HL_NONE, v->out[0]};
    hl_id gq = hl_graph_append_stream(v->g, hl_op_get(HL_OP_ID_attention_vjp), in, 8, v->attrs,
                                      v->stream);
    if (in[VJP_ALPHA] != HL_NONE && gq != HL_NONE)
        v->grad_in[ALPHA] = gq + 3;
    for (int i = 0; i < 3 && gq != HL_NONE; i++)
        v->grad_in[i] = gq + i;
    return v->g->status;
}

/* Two products of 2*T*S*D each per head; half of it is needed under a causal mask. */
static double flops_attention(const hl_call *c)
{
    hl_attn_args a = args_of(c, 0);
    double f = 4.0 * (double)(a.n_batch * a.n_head) * (double)a.t * (double)a.s * (double)a.d;
    return a.causal ? f / 2 : f;
}

#define QKV(b, t, w) HL_INS(HL_NORMAL(b, t, w), HL_NORMAL(b, t, w), HL_NORMAL(b, t, w))
#define ATTENTION_CASES(base)                                                                      \
    {.what = "plain", QKV(2, 9, 12), .attr = {3, 0, 0, base}, .attr_given = 15},                   \
        {.what = "causal", QKV(1, 70, 8), .attr = {2, 0, 1, base}, .attr_given = 15},              \
        {.what = "clipped, dropout", QKV(2, 7, 32), .attr = {2, 0.3, 1, base, -0.05, 1.02, 0.2},   \
         .attr_given = 127}
static const hl_case cases_attention[] = {
    ATTENTION_CASES(HL_NORM_SOFTMAX),
    ATTENTION_CASES(HL_NORM_SOFTMAX1),
    ATTENTION_CASES(HL_NORM_ENTMAX15),
    ATTENTION_CASES(HL_NORM_SPARSEMAX),
    {.what = "key mask",
     HL_INS(HL_NORMAL(2, 9, 12), HL_NORMAL(2, 9, 12), HL_NORMAL(2, 9, 12), HL_KEYMASK(2, 9)),
     .attr = {3, 0, 0, HL_NORM_SOFTMAX1}, .attr_given = 15},
    {.what = "key mask, causal",
     HL_INS(HL_NORMAL(2, 9, 12), HL_NORMAL(2, 9, 12), HL_NORMAL(2, 9, 12), HL_KEYMASK(2, 9)),
     .attr = {3, 0, 1, HL_NORM_SOFTMAX}, .attr_given = 15},
    {.what = "more keys than queries",
     HL_INS(HL_NORMAL(2, 5, 12), HL_NORMAL(2, 9, 12), HL_NORMAL(2, 9, 12)),
     .attr = {3, 0, 1, HL_NORM_SOFTMAX}, .attr_given = 15},
#define ENTMAX(alpha) {HL_DTYPE_F32, 1, {1}, HL_FILL_CONST, alpha, alpha, 0}
    {.what = "entmax of alpha",
     HL_INS(HL_NORMAL(2, 9, 12), HL_NORMAL(2, 7, 12), HL_NORMAL(2, 7, 12), HL_ABSENT, ENTMAX(1.7)),
     .attr = {3, 0, 0, HL_NORM_ENTMAX}, .attr_given = 15},
    {.what = "entmax of alpha, key mask, causal, clipped, dropout",
     HL_INS(HL_NORMAL(2, 70, 8), HL_NORMAL(2, 70, 8), HL_NORMAL(2, 70, 8), HL_KEYMASK(2, 70),
            ENTMAX(1.3)),
     .attr = {2, 0.3, 1, HL_NORM_ENTMAX, -0.05, 1.02, 0.2}, .attr_given = 127},
    {.what = "entmax without alpha", QKV(2, 9, 12), .attr = {3, 0, 0, HL_NORM_ENTMAX},
     .attr_given = 15, .expect = HL_E_ARG},
    {.what = "head size 33", QKV(1, 33, 33), .attr = {1}, .attr_given = 1},
    {.what = "one token", QKV(3, 1, 16), .attr = {2}, .attr_given = 1},
    {.what = "wide heads, key mask, causal, dropout",
     HL_INS(HL_NORMAL(2, 66, 32), HL_NORMAL(2, 70, 32), HL_NORMAL(2, 70, 32), HL_KEYMASK(2, 70)),
     .attr = {2, 0, 1, HL_NORM_SOFTMAX1, 0, 1, 0.2}, .attr_given = 127},
    {.what = "longer than a block", QKV(1, 131, 64), .attr = {1, 0, 0, HL_NORM_SOFTMAX1},
     .attr_given = 15},
    {.what = "heads that do not divide", QKV(2, 9, 12), .attr = {5}, .attr_given = 1,
     .expect = HL_E_SHAPE},
    {.what = "keys of another width",
     HL_INS(HL_NORMAL(2, 9, 12), HL_NORMAL(2, 9, 8), HL_NORMAL(2, 9, 8)), .attr = {2},
     .attr_given = 1, .expect = HL_E_SHAPE},
    {.what = "fewer keys than causal queries",
     HL_INS(HL_NORMAL(2, 9, 12), HL_NORMAL(2, 5, 12), HL_NORMAL(2, 5, 12)), .attr = {3, 0, 1},
     .attr_given = 7, .expect = HL_E_SHAPE},
    {.what = "mask of another length",
     HL_INS(HL_NORMAL(2, 9, 12), HL_NORMAL(2, 9, 12), HL_NORMAL(2, 9, 12), HL_KEYMASK(2, 8)),
     .attr = {3}, .attr_given = 1, .expect = HL_E_SHAPE},
};
/* Where bf16 is multiplied in pairs, weights are rounded, each of at most 131 terms of a sum by
 * 2^-8 of itself: at most sqrt(131) 2^-8 of the root of their squares' sum, as in lm_loss_op.c. */
#define TOL_BF16 11.5
const hl_op hl_op_attention = {
    .name = "attention",
    .doc =
        "multi-head attention of q {B, T, H*D} on k, v {B, S, H*D}: dropout(normalise(scale q "
        "k^T)) v per head; scale 0 means 1/sqrt(D); mask {B, S}: false forbids a key; normalisers "
        "(and alpha) as in normalise. A query without a permitted key gives zeros. stat: see "
        "normalise",
    .ins = "q k v mask? alpha?",
    .outs = "o stat",
    .bf16 = 7,
    .half_outs = 1,
    .attr = {ATTENTION_ATTRS},
    .flags = HL_OP_RANDOM,
    .shape = shape_attention,
    .ref = ref_attention,
    .cpu = cpu_attention,
    .gpu = gpu_attention,
    .scratch = scratch_attention,
    .vjp = vjp_attention,
    .no_grad = 8,
    .no_second = true,
    .flops = flops_attention,
    HL_CASES(cases_attention),
    .tol = 64,
    .tol_bf16 = TOL_BF16};

/* --- backward --- */

static hl_status shape_attention_vjp(hl_call *c)
{
    hl_status st = check_inputs(c, 1);
    if (st == HL_OK && hl_has_input(c, VJP_O))
        st = hl_want_alike(c, 1, VJP_O);
    if (st != HL_OK)
        return st;
    for (int i = 0; i < 3; i++)
        hl_out_like(c, i, i + 1);
    if (hl_has_input(c, VJP_ALPHA))
        hl_out_like(c, 3, VJP_ALPHA);
    return HL_OK;
}

static void bind_vjp(const hl_op_run *r, hl_attn_args *a)
{
    a->grad_o = r->in[0];
    bind_heads(r, 1, a);
    a->key_mask = r->in[4];
    a->stat = (float *)(uintptr_t)r->in[5]; /* read only in this direction */
    a->grad_q = r->out[0];
    a->grad_k = r->out[1];
    a->grad_v = r->out[2];
    a->rounded_q = hl_out_bf16(r, 0);
    a->rounded_k = hl_out_bf16(r, 1);
    a->rounded_v = hl_out_bf16(r, 2);
}

static hl_status gpu_attention_vjp(const hl_op_run *r)
{
    hl_attn_args a = args_of(r->call, 1);
    bind_vjp(r, &a);
    if (hl_has_input(r->call, VJP_O)) {
        a.o16 = hl_in_bf16(r, VJP_O);
        a.o = a.o16 ? NULL : (float *)(uintptr_t)r->in[VJP_O];
    }
    hl_gpu_get()->attention_vjp(r->exec->gpu, &a, hl_gpu_alpha(r, VJP_ALPHA), r->exec->key,
                                r->call->stream, hl_has_input(r->call, VJP_ALPHA) ? hl_out_f(r, 3) : NULL,
                                r->scratch);
    return HL_OK;
}

static size_t gpu_scratch_attention_vjp(const hl_call *c)
{
    const hl_attn_args a = args_of(c, 1);
    return hl_gpu_get()->attention_scratch(&a);
}

static hl_status cpu_attention_vjp(const hl_op_run *r)
{
    attn_job j = {.a = args_of(r->call, 1), .backward = true};
    bind_vjp(r, &j.a);
    j.a.norm.alpha = hl_alpha_f32(r, VJP_ALPHA);
    const int n_workers = r->exec->team ? r->exec->team->n : 1;
    if (hl_has_input(r->call, VJP_ALPHA)) {
        j.galpha = (double *)((unsigned char *)r->scratch +
                              hl_cpu()->attention_scratch_bytes(&j.a) * (size_t)n_workers);
        memset(j.galpha, 0, (size_t)n_workers * sizeof *j.galpha);
    }
    hl_status st = run_tasks(r, &j);
    double sum = 0;
    for (int w = 0; j.galpha && w < n_workers; w++)
        sum += j.galpha[w];
    if (j.galpha)
        *hl_out_f(r, 3) = (float)sum;
    return st;
}

/* Adds the part of query i to gq, gk, gv and galpha. buf: 4 rows of s. */
static bool ref_query_vjp(const ref_head *h, int64_t i, const double *go, double *const grad[4],
                          double *buf)
{
    const int64_t s = h->a.s, d = h->a.d;
    double *x = buf, *y = buf + s, *gy = buf + 2 * s, *gx = buf + 3 * s, stat[2];
    ref_scores(h, i, x);
    if (!hl_ref_normalise(h->a.norm, s, x, y, stat))
        return false;
    for (int64_t j = 0; j < s; j++)
        gy[j] = ref_dot(go, h->v + j * h->w, d) * ref_keep(h, i, j);
    if (!hl_ref_normalise_vjp(h->a.norm, s, x, gy, gx, grad[3]))
        return false;
    for (int64_t j = 0; j < s; j++)
        for (int64_t e = 0; e < d; e++) {
            grad[0][i * h->w + e] += gx[j] * h->scale * h->k[j * h->w + e];
            grad[1][j * h->w + e] += gx[j] * h->scale * h->q[i * h->w + e];
            grad[2][j * h->w + e] += y[j] * ref_keep(h, i, j) * go[e];
        }
    return true;
}

static hl_status ref_attention_vjp(const hl_op_run *r)
{
    hl_attn_args a = args_of(r->call, 1);
    double *buf = hl_alloc((size_t)(4 * a.s + 1) * sizeof *buf);
    if (!buf)
        return HL_E_NOMEM;
    bool ok = true;
    double galpha = 0;
    a.norm.alpha = hl_alpha_f64(r, VJP_ALPHA);
    for (int i = 0; i < 3; i++)
        memset(r->out[i], 0, hl_type_bytes(&r->call->out[i]));
    for (int64_t task = 0; task < a.n_batch * a.n_head && ok; task++) {
        ref_head h = ref_head_at(r, &a, 1, task);
        const int64_t q0 = h.q - (const double *)r->in[1], k0 = h.k - (const double *)r->in[2];
        double *const grad[4] = {(double *)r->out[0] + q0, (double *)r->out[1] + k0,
                                 (double *)r->out[2] + k0, &galpha};
        for (int64_t i = 0; i < a.t && ok; i++)
            ok = ref_query_vjp(&h, i, (const double *)r->in[0] + q0 + i * h.w, grad, buf);
    }
    if (hl_has_input(r->call, VJP_ALPHA))
        *hl_out_d(r, 3) = galpha;
    hl_free(buf);
    return ok ? HL_OK : HL_E_NOMEM;
}

static double flops_attention_vjp(const hl_call *c)
{
    hl_attn_args a = args_of(c, 1);
    double f = 10.0 * (double)(a.n_batch * a.n_head) * (double)a.t * (double)a.s * (double)a.d;
    return a.causal ? f / 2 : f;
}

/* Its stat input must come from attention: the suite reaches it through attention's gradients. */
const hl_op hl_op_attention_vjp = {
    .name = "attention_vjp",
    .doc = "gradients of attention; the weights are computed again from stat; "
           "o, what attention gave, spares a GPU a sweep",
    .ins = "g q k v mask? stat alpha? o?",
    .outs = "gq gk gv galpha",
    .bf16 = 14 | 1 << VJP_O,
    .half_outs = 7,
    .attr = {ATTENTION_ATTRS},
    .flags = HL_OP_RANDOM | HL_OP_NO_LUA,
    .shape = shape_attention_vjp,
    .ref = ref_attention_vjp,
    .cpu = cpu_attention_vjp,
    .gpu = gpu_attention_vjp,
    .gpu_scratch = gpu_scratch_attention_vjp,
    .scratch = scratch_attention,
    .flops = flops_attention_vjp};
