/* Attention whose scores, weights and, on request, gathered values lie on the grids of quantizers
 * that stand fast (spec: quantization 6): the same as writing it out, but rows of scores stay in
 * cache, and keys that no row of a block may see are not looked at. Where q, k and v lie on grids
 * of bytes, too, both products are of integers (spec: quantization 12.3). */
#include "engine/base/mem.h"
#include "engine/ops/normalise_ref.h"
#include "engine/ops/op_common.h"
#include "engine/pass/quantize.h"

enum { HEADS, SCALE, CAUSAL, BASE, GAMMA, ETA, BITS, SCHEME, IS_F64, O_CODES };
enum { Q, K, V, S_RANGE, P_RANGE, MASK, O_RANGE, Q_RANGE, K_RANGE, V_RANGE };

#define BLOCK 64 /* queries at once */

/* In integers? */
static bool in_integers(const hl_call *c)
{
    return hl_has_input(c, Q_RANGE);
}

static hl_status check_codes(const hl_call *c)
{
    const bool all = in_integers(c) && hl_has_input(c, K_RANGE) && hl_has_input(c, V_RANGE);
    if (!all && (in_integers(c) || hl_has_input(c, K_RANGE) || hl_has_input(c, V_RANGE)))
        return hl_err_set(HL_E_ARG, "q, k and v have ranges, or none has");
    if (!all && c->in[Q].dtype == HL_DTYPE_U8)
        return hl_err_set(HL_E_ARG, "codes need the ranges of q, k and v");
    if (all && (c->attrs.v[BITS].i > 8 || c->in[K].dim[1] > HL_INT8_K_MAX ||
                c->in[Q].dim[2] / c->attrs.v[HEADS].i > HL_INT8_K_MAX))
        return hl_err_set(HL_E_ARG, "products in integers take 8 bits, and at most %d keys",
                          HL_INT8_K_MAX);
    if (c->attrs.v[O_CODES].i && (!all || !hl_has_input(c, O_RANGE)))
        return hl_err_set(HL_E_ARG, "codes of the result need its range, and those of q, k and v");
    return HL_OK;
}

static hl_status shape_attention_quant(hl_call *c)
{
    const hl_type *q = &c->in[Q], *k = &c->in[K], *mask = &c->in[MASK];
    hl_status st = HL_OK;
    for (int i = Q; i <= V && st == HL_OK; i++) {
        st = c->in[Q].dtype == HL_DTYPE_U8 ? hl_want_dtype(c, i, HL_DTYPE_U8) : hl_want_float(c, i);
        if (st == HL_OK)
            st = hl_want_rank(c, i, 3, 3);
    }
    for (int i = S_RANGE; i <= V_RANGE && st == HL_OK; i++)
        if (i != MASK && (i <= P_RANGE || hl_has_input(c, i)))
            st = hl_want_range(c, i);
    if (st == HL_OK)
        st = check_codes(c);
    if (st != HL_OK)
        return st;
    if (!hl_type_equal(k, &c->in[V]) || q->dim[0] != k->dim[0] || q->dim[2] != k->dim[2])
        return hl_err_set(HL_E_SHAPE, "q {B, T, H*D} and k, v {B, S, H*D} must agree in B and H*D");
    if (q->dim[2] % c->attrs.v[HEADS].i)
        return hl_err_set(HL_E_SHAPE, "width %lld is not a multiple of %lld heads",
                          (long long)q->dim[2], (long long)c->attrs.v[HEADS].i);
    if (c->attrs.v[BASE].i == HL_NORM_ENTMAX)
        return hl_err_set(HL_E_UNSUPPORTED, "entmax of a learned alpha is written out");
    if (c->attrs.v[CAUSAL].i && q->dim[1] > k->dim[1])
        return hl_err_set(HL_E_SHAPE, "causal attention needs at least as many keys as queries");
    if (hl_has_input(c, MASK) && (mask->dtype != HL_DTYPE_BOOL || mask->rank != 2 ||
                                  mask->dim[0] != k->dim[0] || mask->dim[1] != k->dim[1]))
        return hl_err_set(HL_E_SHAPE, "the key mask must be bool{%lld, %lld}", (long long)k->dim[0],
                          (long long)k->dim[1]);
    hl_out_like(c, 0, Q);
    if (in_integers(c) && q->dtype == HL_DTYPE_U8)
        c->out[0].dtype = HL_DTYPE_F32;
    if (c->attrs.v[O_CODES].i)
        c->out[0].dtype = HL_DTYPE_U8;
    return HL_OK;
}

typedef struct attn_state {
    hl_quantizer s, p, o; /* of scores, weights, gathered values */
    hl_quantizer in[3];   /* of q, k, v, where the products are of integers */
} attn_state;

static void release_attn(void *state)
{
    attn_state *s = state;
    if (!s)
        return;
    hl_quantizer_done(&s->s);
    hl_quantizer_done(&s->p);
    hl_quantizer_done(&s->o);
    for (int i = 0; i < 3; i++)
        hl_quantizer_done(&s->in[i]);
    hl_free(s);
}

static hl_status prepare_attn(const hl_call *c, bool fp64, int n_workers, void **state)
{
    hl_status st = HL_OK;
    const hl_quant_options o = {(hl_quant_scheme)c->attrs.v[SCHEME].i, (int)c->attrs.v[BITS].i, 1,
                                false};
    attn_state *s = hl_alloc_zero(1, sizeof *s);
    (void)fp64;
    (void)n_workers;
    if (!s)
        return HL_E_NOMEM;
    HL_TRY(hl_quantizer_init(&s->s, &o));
    HL_TRY(hl_quantizer_init(&s->p, &o));
    HL_TRY(hl_quantizer_init(&s->o, &o));
    for (int i = 0; i < 3; i++)
        HL_TRY(hl_quantizer_init(&s->in[i], &o));
    *state = s;
    s = NULL;
out:
    release_attn(s);
    return st;
}

static hl_status set_range(const hl_op_run *r, int input, hl_quantizer *q)
{
    return hl_quantizer_take_state(q, r->in[input], r->call->attrs.v[IS_F64].i);
}

static hl_status take_ranges(const hl_op_run *r)
{
    attn_state *s = r->call->state;
    hl_status st = set_range(r, S_RANGE, &s->s);
    if (st == HL_OK)
        st = set_range(r, P_RANGE, &s->p);
    for (int i = 0; i < 3 && st == HL_OK && in_integers(r->call); i++)
        st = set_range(r, Q_RANGE + i, &s->in[i]);
    if (st == HL_OK && in_integers(r->call) && hl_quantizer_bytes(&s->p).zero != 0)
        return hl_err_set(HL_E_ARG, "attention weights are never negative, but their range is");
    return st == HL_OK && hl_has_input(r->call, O_RANGE) ? set_range(r, O_RANGE, &s->o) : st;
}

typedef struct attn_job {
    const hl_op_run *r;
    const attn_state *state;
    int64_t b, h, t, s, d, w; /* w: floats from a row to the next */
    double scale;
    bool causal;
    hl_normaliser f;
    const unsigned char *mask;
    unsigned char *scratch;
    size_t each;
} attn_job;

static attn_job job_of(const hl_call *c)
{
    const hl_attr *v = c->attrs.v;
    attn_job j = {.b = c->in[Q].dim[0],
                  .h = v[HEADS].i,
                  .t = c->in[Q].dim[1],
                  .s = c->in[K].dim[1],
                  .w = c->in[Q].dim[2],
                  .causal = v[CAUSAL].i,
                  .f = {(hl_normaliser_base)v[BASE].i, (float)v[GAMMA].f, (float)v[ETA].f, 0},
                  .state = c->state};
    j.d = j.w / j.h;
    j.scale = v[SCALE].f != 0 ? v[SCALE].f : 1 / sqrt((double)j.d);
    return j;
}

static size_t scores_bytes(const attn_job *j)
{
    return hl_align64(((size_t)(BLOCK + 1) * (size_t)j->s + 2) * sizeof(float));
}

static size_t scratch_each(const attn_job *j)
{
    const size_t a = hl_cpu()->gemm_scratch_bytes(BLOCK, j->s, j->d, 1),
                 b = hl_cpu()->gemm_scratch_bytes(BLOCK, j->d, j->s, 1);
    return scores_bytes(j) + hl_align64(a > b ? a : b);
}

/* --- in integers --- */

static hl_attn_int8_args args_of(const attn_job *j)
{
    return (hl_attn_int8_args){.n_head = j->h,
                               .t = j->t,
                               .s = j->s,
                               .d = j->d,
                               .row = j->w,
                               .scale = (float)j->scale,
                               .causal = j->causal,
                               .norm = j->f};
}

/* Codes of q, k and v, where they are not handed in. */
static size_t codes_bytes(const hl_call *c)
{
    return c->in[Q].dtype == HL_DTYPE_U8 ? 0
                                         : hl_align64((size_t)hl_type_count(&c->in[Q])) +
                                               2 * hl_align64((size_t)hl_type_count(&c->in[K]));
}

static size_t scratch_attn(const hl_call *c, int n_workers)
{
    const attn_job j = job_of(c);
    const hl_attn_int8_args a = args_of(&j);
    return in_integers(c) ? codes_bytes(c) + hl_cpu()->attention_int8_bytes(&a) * (size_t)n_workers
                          : scratch_each(&j) * (size_t)n_workers;
}

typedef struct integer_job {
    hl_attn_int8_args a;
    unsigned char *scratch;
    size_t each;
} integer_job;

static void integer_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const integer_job *j = arg;
    hl_cpu()->attention_int8(&j->a, begin, end, j->scratch + j->each * (size_t)worker);
}

static hl_status cpu_in_integers(const hl_op_run *r)
{
    const hl_call *c = r->call;
    const attn_state *s = c->state;
    const attn_job shape = job_of(c);
    integer_job j = {.a = args_of(&shape)};
    const hl_quant_grid of_o = c->attrs.v[O_CODES].i      ? hl_quantizer_bytes(&s->o)
                               : hl_has_input(c, O_RANGE) ? hl_quantizer_grid(&s->o, 0)
                                                          : (hl_quant_grid){0};
    hl_quant_grid grid[3];
    const uint8_t *codes[3];
    unsigned char *own = r->scratch;
    for (int i = 0; i < 3; i++) {
        grid[i] = hl_quantizer_bytes(&s->in[i]);
        codes[i] = r->in[Q + i];
        if (c->in[Q].dtype == HL_DTYPE_U8)
            continue;
        const int64_t n = hl_type_count(&c->in[Q + i]);
        hl_status st = hl_encode_bytes(r->exec, grid[i], n, r->in[Q + i], own);
        if (st != HL_OK)
            return st;
        codes[i] = own;
        own += hl_align64((size_t)n);
    }
    j.a.q = codes[0];
    j.a.k = codes[1];
    j.a.v = codes[2];
    j.a.of_q = grid[0];
    j.a.of_k = grid[1];
    j.a.of_v = grid[2];
    j.a.of_scores = hl_quantizer_grid(&s->s, 0);
    j.a.of_weights = hl_quantizer_bytes(&s->p);
    j.a.key_mask = hl_has_input(c, MASK) ? r->in[MASK] : NULL;
    j.a.of_o = hl_has_input(c, O_RANGE) ? &of_o : NULL;
    j.a.o = c->attrs.v[O_CODES].i ? NULL : hl_out_f(r, 0);
    j.a.o_codes = r->out[0];
    j.scratch = own;
    j.each = hl_cpu()->attention_int8_bytes(&j.a);
    const int64_t work = shape.t * shape.s * shape.d * 4;
    hl_parallel(r->exec, shape.b * shape.h, 1, work ? 65536 / work + 1 : 1, integer_part, &j);
    return HL_OK;
}

/* --- in float --- */

static bool may_see(const attn_job *j, int64_t batch, int64_t query, int64_t key)
{
    return !(j->causal && key > query + (j->s - j->t)) && (!j->mask || j->mask[batch * j->s + key]);
}

/* One row of products of q and k becomes one of weights, both on their grids. */
static void make_weights(const attn_job *j, int64_t batch, int64_t query, int64_t n, float *x,
                         float *buf)
{
    const float scale = (float)j->scale;
    for (int64_t k = 0; k < n; k++)
        x[k] *= scale;
    hl_quantizer_apply(&j->state->s, (hl_quant_part){n, 0, n}, x, x);
    for (int64_t k = 0; k < n; k++)
        buf[k] = may_see(j, batch, query, k) ? x[k] : -HUGE_VALF;
    hl_cpu()->normalise_row(j->f, n, buf, x, buf + n);
    hl_quantizer_apply(&j->state->p, (hl_quant_part){n, 0, n}, x, x);
}

static void do_block(const attn_job *j, int64_t batch, int64_t head, int64_t first, void *scratch)
{
    const int64_t rows = j->t - first < BLOCK ? j->t - first : BLOCK;
    const int64_t last = first + rows - 1 + (j->s - j->t);
    const int64_t n =
        j->causal && last + 1 < j->s ? last + 1 : j->s; /* keys that some row may see */
    const int64_t at_q = (batch * j->t + first) * j->w + head * j->d,
                  at_k = batch * j->s * j->w + head * j->d;
    float *x = scratch, *buf = x + BLOCK * n, *out = hl_out_f(j->r, 0) + at_q;
    void *own = (unsigned char *)scratch + scores_bytes(j);
    const hl_gemm_args scores = {.m = rows,
                                 .n = n,
                                 .k = j->d,
                                 .a = hl_in_f(j->r, Q) + at_q,
                                 .a_row = j->w,
                                 .a_col = 1,
                                 .b = hl_in_f(j->r, K) + at_k,
                                 .b_row = 1,
                                 .b_col = j->w,
                                 .c = x,
                                 .c_row = n};
    hl_cpu()->gemm(NULL, &scores, own);
    for (int64_t i = 0; i < rows; i++)
        make_weights(j, batch, first + i, n, x + i * n, buf);
    const hl_gemm_args gather = {.m = rows,
                                 .n = j->d,
                                 .k = n,
                                 .a = x,
                                 .a_row = n,
                                 .a_col = 1,
                                 .b = hl_in_f(j->r, V) + at_k,
                                 .b_row = j->w,
                                 .b_col = 1,
                                 .c = out,
                                 .c_row = j->w};
    hl_cpu()->gemm(NULL, &gather, own);
    for (int64_t i = 0; hl_has_input(j->r->call, O_RANGE) && i < rows; i++)
        hl_quantizer_apply(&j->state->o, (hl_quant_part){j->d, 0, j->d}, out + i * j->w,
                           out + i * j->w);
}

static void attn_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const attn_job *j = arg;
    const int64_t blocks = (j->t + BLOCK - 1) / BLOCK;
    for (int64_t i = begin; i < end; i++)
        do_block(j, i / blocks / j->h, i / blocks % j->h, i % blocks * BLOCK,
                 j->scratch + j->each * (size_t)worker);
}

static hl_status cpu_attention_quant(const hl_op_run *r)
{
    hl_status st = take_ranges(r);
    if (st != HL_OK || in_integers(r->call))
        return st != HL_OK ? st : cpu_in_integers(r);
    attn_job j = job_of(r->call);
    j.r = r;
    j.mask = hl_has_input(r->call, MASK) ? r->in[MASK] : NULL;
    j.scratch = r->scratch;
    j.each = scratch_each(&j);
    const int64_t work = BLOCK * j.s * j.d * 4;
    hl_parallel(r->exec, j.b * j.h * ((j.t + BLOCK - 1) / BLOCK), 1, work ? 65536 / work + 1 : 1,
                attn_part, &j);
    return HL_OK;
}

/* --- on a device --- */

static hl_gpu_quantizer quantizer_there(const hl_op_run *r, int input, bool from_zero)
{
    const hl_attr *v = r->call->attrs.v;
    return hl_gpu_quantizer_of(r, input,
                               (hl_quant_form){v[SCHEME].i == HL_QUANT_ASYMMETRIC, v[IS_F64].i,
                                               from_zero, (int)v[BITS].i});
}

static hl_status gpu_attention_quant(const hl_op_run *r)
{
    const hl_gpu_backend *b = hl_gpu_get();
    const hl_call *c = r->call;
    const attn_job j = job_of(c);
    const bool integers = in_integers(c), to_codes = c->attrs.v[O_CODES].i;
    hl_gpu_attn_quant a = {.n_batch = j.b,
                           .n_head = j.h,
                           .t = j.t,
                           .s = j.s,
                           .d = j.d,
                           .scale = (float)j.scale,
                           .causal = j.causal,
                           .key_mask = hl_has_input(c, MASK) ? r->in[MASK] : NULL,
                           .norm = j.f,
                           .of_scores = quantizer_there(r, S_RANGE, false),
                           .of_weights = quantizer_there(r, P_RANGE, integers),
                           .of_o = quantizer_there(r, O_RANGE, to_codes),
                           .o = to_codes ? NULL : hl_out_f(r, 0),
                           .o_codes = r->out[0]};
    hl_gpu_quantizer in[3];
    const uint8_t *codes[3];
    unsigned char *own = r->scratch;
    for (int i = 0; i < 3 && integers; i++) {
        in[i] = quantizer_there(r, Q_RANGE + i, true);
        codes[i] = r->in[Q + i];
        if (c->in[Q].dtype == HL_DTYPE_U8)
            continue;
        const int64_t n = hl_type_count(&c->in[Q + i]);
        b->quant_encode(r->exec->gpu, &in[i], n, r->in[Q + i], own);
        codes[i] = own;
        own += hl_align64((size_t)n);
    }
    if (integers) {
        a.of_q = in[0], a.of_k = in[1], a.of_v = in[2];
        a.q8 = codes[0], a.k8 = codes[1], a.v8 = codes[2];
    } else {
        a.q = hl_in_f(r, Q), a.k = hl_in_f(r, K), a.v = hl_in_f(r, V);
    }
    b->attention_quant(r->exec->gpu, &a);
    return HL_OK;
}

static size_t gpu_scratch_attn(const hl_call *c)
{
    return in_integers(c) ? codes_bytes(c) + 64 : 0;
}

static double on_grid(const hl_quantizer *q, double x)
{
    return (double)hl_quant_apply(hl_quantizer_grid(q, 0), (float)x);
}

/* Number i of q, k or v. */
static double ref_in(const attn_job *j, int input, int64_t i)
{
    const hl_call *c = j->r->call;
    const hl_quantizer *q = &j->state->in[input - Q];
    if (c->in[input].dtype == HL_DTYPE_U8)
        return (double)hl_quant_decode(hl_quantizer_bytes(q),
                                       ((const uint8_t *)j->r->in[input])[i]);
    const double x = hl_in_d(j->r, input)[i];
    return in_integers(c) ? on_grid(q, x) : x;
}

static void ref_put(const attn_job *j, int64_t i, double x)
{
    const hl_call *c = j->r->call;
    if (c->attrs.v[O_CODES].i)
        ((uint8_t *)j->r->out[0])[i] =
            (uint8_t)hl_quant_encode(hl_quantizer_bytes(&j->state->o), (float)x);
    else
        hl_out_d(j->r, 0)[i] = hl_has_input(c, O_RANGE) ? on_grid(&j->state->o, x) : x;
}

/* buf: 2 s doubles */
static bool ref_query(const attn_job *j, int64_t batch, int64_t head, int64_t query, double *buf)
{
    const int64_t at_k = batch * j->s * j->w + head * j->d;
    const int64_t at_q = (batch * j->t + query) * j->w + head * j->d;
    double *x = buf, *p = buf + j->s, stat[2];
    for (int64_t k = 0; k < j->s; k++) {
        double dot = 0;
        for (int64_t e = 0; e < j->d; e++)
            dot += ref_in(j, Q, at_q + e) * ref_in(j, K, at_k + k * j->w + e);
        x[k] = may_see(j, batch, query, k) ? on_grid(&j->state->s, dot * j->scale) : -HUGE_VAL;
    }
    if (!hl_ref_normalise(j->f, j->s, x, p, stat))
        return false;
    for (int64_t e = 0; e < j->d; e++) {
        double sum = 0;
        for (int64_t k = 0; k < j->s; k++)
            sum += on_grid(&j->state->p, p[k]) * ref_in(j, V, at_k + k * j->w + e);
        ref_put(j, at_q + e, sum);
    }
    return true;
}

/* Do all numbers that become codes have one? */
static hl_status ref_check(const hl_op_run *r)
{
    const hl_call *c = r->call;
    for (int i = Q; i <= V && in_integers(c) && c->in[i].dtype != HL_DTYPE_U8; i++)
        for (int64_t k = 0; k < hl_type_count(&c->in[i]); k++)
            if (!isfinite(hl_in_d(r, i)[k]))
                return hl_no_codes();
    return HL_OK;
}

static hl_status ref_attention_quant(const hl_op_run *r)
{
    hl_status st = take_ranges(r);
    if (st == HL_OK)
        st = ref_check(r);
    if (st != HL_OK)
        return st;
    attn_job j = job_of(r->call);
    j.r = r;
    j.mask = hl_has_input(r->call, MASK) ? r->in[MASK] : NULL;
    double *buf = hl_alloc((size_t)(2 * j.s + 1) * sizeof *buf);
    bool ok = buf != NULL;
    for (int64_t i = 0; i < j.b * j.h * j.t && ok; i++)
        ok = ref_query(&j, i / j.t / j.h, i / j.t % j.h, i % j.t, buf);
    hl_free(buf);
    return ok ? HL_OK : HL_E_NOMEM;
}

static double flops_attn(const hl_call *c)
{
    const attn_job j = job_of(c);
    const double f = 4.0 * (double)(j.b * j.h) * (double)j.t * (double)j.s * (double)j.d;
    return j.causal ? f / 2 : f;
}

/* Grids so wide that no rounding of the products before them moves a number to the next code. */
#define COARSE(l, h)                                                                               \
    {                                                                                              \
        HL_DTYPE_F64, 1, {HL_QUANT_RANGE_FIELDS}, HL_FILL_RANGE, l, h, 0                           \
    }
#define BYTES(...)                                                                                 \
    {                                                                                              \
        HL_DTYPE_U8, HL_N_DIMS(__VA_ARGS__), {__VA_ARGS__}, HL_FILL_RANGE, 0, 15, 0                \
    }
static const hl_case cases_attention_quant[] = {
    {.what = "two heads",
     HL_INS(HL_NORMAL(2, 5, 12), HL_NORMAL(2, 7, 12), HL_NORMAL(2, 7, 12), COARSE(-4, 4),
            COARSE(0, 1)),
     .attr = {2},
     .attr_given = 1},
    {.what = "causal, softmax1, all quantized",
     HL_INS(HL_NORMAL(2, 70, 8), HL_NORMAL(2, 70, 8), HL_NORMAL(2, 70, 8), COARSE(-4, 4),
            COARSE(0, 1), HL_ABSENT, COARSE(-3, 3)),
     .attr = {1, 0.5, 1, HL_NORM_SOFTMAX1},
     .attr_given = 15},
    {.what = "key mask, clipped, 4 bits",
     HL_INS(HL_NORMAL(3, 4, 6), HL_NORMAL(3, 9, 6), HL_NORMAL(3, 9, 6), COARSE(-4, 4), COARSE(0, 1),
            HL_KEYMASK(3, 9)),
     .attr = {3, 0, 0, 0, -0.03, 1.02, 4},
     .attr_given = 127},
    {.what = "more keys than queries, causal",
     HL_INS(HL_NORMAL(1, 3, 4), HL_NORMAL(1, 66, 4), HL_NORMAL(1, 66, 4), COARSE(-4, 4),
            COARSE(0, 1)),
     .attr = {1, 0, 1},
     .attr_given = 7},
    {.what = "in integers",
     HL_INS(HL_NORMAL(2, 5, 12), HL_NORMAL(2, 7, 12), HL_NORMAL(2, 7, 12), COARSE(-4, 4),
            COARSE(0, 1), HL_ABSENT, HL_ABSENT, COARSE(-3, 3), COARSE(-3, 3), COARSE(-3, 3)),
     .attr = {2, 0, 0, 0, 0, 1, 4},
     .attr_given = 127},
    {.what = "codes, causal, softmax1, more keys than queries, key mask",
     HL_INS(BYTES(2, 67, 8), BYTES(2, 71, 8), BYTES(2, 71, 8), COARSE(-4, 4), COARSE(0, 1),
            HL_KEYMASK(2, 71), HL_ABSENT, COARSE(-3, 3), COARSE(-3, 3), COARSE(-3, 3)),
     .attr = {1, 0.5, 1, HL_NORM_SOFTMAX1, 0, 1, 4},
     .attr_given = 127},
    {.what = "codes to codes, symmetric, clipped",
     HL_INS(BYTES(1, 4, 6), BYTES(1, 9, 6), BYTES(1, 9, 6), COARSE(-4, 4), COARSE(0, 1), HL_ABSENT,
            COARSE(-3, 3), COARSE(-3, 3), COARSE(-3, 3), COARSE(-3, 3)),
     .attr = {3, 0, 0, 0, -0.03, 1.02, 4, 0, 0, 1},
     .attr_given = 1023},
    {.what = "codes without ranges",
     HL_INS(BYTES(1, 4, 6), BYTES(1, 9, 6), BYTES(1, 9, 6), COARSE(-4, 4), COARSE(0, 1)),
     .attr = {3},
     .attr_given = 1,
     .expect = HL_E_ARG},
    {.what = "heads do not divide",
     HL_INS(HL_NORMAL(2, 5, 12), HL_NORMAL(2, 7, 12), HL_NORMAL(2, 7, 12), COARSE(-4, 4),
            COARSE(0, 1)),
     .attr = {5},
     .attr_given = 1,
     .expect = HL_E_SHAPE},
    {.what = "a range of floats",
     HL_INS(HL_NORMAL(2, 5, 12), HL_NORMAL(2, 7, 12), HL_NORMAL(2, 7, 12), HL_NORMAL(7),
            COARSE(0, 1)),
     .attr = {2},
     .attr_given = 1,
     .expect = HL_E_DTYPE},
};
const hl_op hl_op_attention_quant = {
    .name = "attention_quant",
    .doc = "attention of q {B, T, H*D} on k, v {B, S, H*D} with scores and weights on the grids of "
           "the quantizers whose ranges are given, and, with o_range, the result, too; else as "
           "attention. With q_range, k_range and v_range, q, k and v are on these grids, or u8 "
           "codes of "
           "them counted from 0, and the products are of integers; then o_codes gives the result's "
           "codes",
    .ins = "q k v s_range p_range mask? o_range? q_range? k_range? v_range?",
    .outs = "o",
    .attr = {{"heads", HL_ATTR_INT, (double)NAN, 1, 65536, NULL},
             {"scale", HL_ATTR_REAL, 0, 0, 0, NULL},
             {"causal", HL_ATTR_BOOL, 0, 0, 0, NULL},
             {"base", HL_ATTR_ENUM, 0, 0, 0, hl_normaliser_names},
             {"gamma", HL_ATTR_REAL, 0, -1e6, 0, NULL},
             {"eta", HL_ATTR_REAL, 1, 1, 1e6, NULL},
             {"bits", HL_ATTR_INT, 8, 2, 16, NULL},
             {"scheme", HL_ATTR_ENUM, 1, 0, 0, hl_quant_scheme_names},
             {"f64", HL_ATTR_BOOL, 0, 0, 0, NULL},
             {"o_codes", HL_ATTR_BOOL, 0, 0, 0, NULL}},
    .flags = HL_OP_NO_LUA | HL_OP_MIXED,
    .shape = shape_attention_quant,
    .ref = ref_attention_quant,
    .cpu = cpu_attention_quant,
    .gpu = gpu_attention_quant,
    .gpu_scratch = gpu_scratch_attn,
    .scratch = scratch_attn,
    .prepare = prepare_attn,
    .release = release_attn,
    .flops = flops_attn,
    HL_CASES(cases_attention_quant),
    .tol = 64};
