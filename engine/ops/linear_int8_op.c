/* A linear layer in integers (spec: quantization 12.2): activations on the grid of a quantizer
 * become bytes, weights are bytes already, sums are exact, and only the epilogue is float. */
#include "engine/base/mem.h"
#include "engine/ops/op_common.h"
#include "engine/pass/quantize.h"
#include "engine/quant/int8_gemm.h"

enum { BITS, IS_F64, ACT, Y_BITS, Y_SCHEME, Y_IS_F64 };
enum { X, RANGE, W, SCALES, BIAS, Y_RANGE };

#define BLOCK                                                                                      \
    64 /* rows of x that one thread takes from bytes to results while they are in cache            \
        */

static hl_status shape_linear_int8(hl_call *c)
{
    const hl_type *x = &c->in[X], *w = &c->in[W], *s = &c->in[SCALES];
    hl_status st = hl_want_float(c, X);
    if (st == HL_OK)
        st = hl_want_rank(c, X, 1, HL_MAX_RANK);
    if (st == HL_OK)
        st = hl_want_range(c, RANGE);
    if (st == HL_OK && hl_has_input(c, Y_RANGE))
        st = hl_want_range(c, Y_RANGE);
    if (st == HL_OK)
        st = hl_want_dtype(c, W, HL_DTYPE_I8);
    if (st == HL_OK)
        st = hl_want_rank(c, W, 2, 2);
    if (st != HL_OK)
        return st;
    if (x->dim[x->rank - 1] != w->dim[1])
        return hl_err_set(HL_E_SHAPE, "x has %lld features, the weights take %lld",
                          (long long)x->dim[x->rank - 1], (long long)w->dim[1]);
    if (s->rank != 1 || (s->dim[0] != 1 && s->dim[0] != w->dim[0]))
        return hl_err_set(HL_E_SHAPE, "the weights have one scale or %lld", (long long)w->dim[0]);
    if (hl_has_input(c, BIAS) && (c->in[BIAS].rank != 1 || c->in[BIAS].dim[0] != w->dim[0]))
        return hl_err_set(HL_E_SHAPE, "the bias must have %lld elements", (long long)w->dim[0]);
    hl_out_like(c, 0, X);
    c->out[0].dim[x->rank - 1] = w->dim[0];
    return HL_OK;
}

typedef struct int8_state {
    hl_quantizer q, q_y; /* of x, and of the result */
    hl_int8_weights w;
    bool is_packed;
    float *narrow; /* of fp64 programs: x as floats */
} int8_state;

static void release_int8(void *state)
{
    int8_state *s = state;
    if (!s)
        return;
    hl_quantizer_done(&s->q);
    hl_quantizer_done(&s->q_y);
    hl_int8_weights_done(&s->w);
    hl_free(s->narrow);
    hl_free(s);
}

/* The weights are constant and read at the first run; scratch is sized for packed ones, so they are
 * packed (of zeros) here. */
static hl_status prepare_int8(const hl_call *c, bool fp64, int n_workers, void **state)
{
    hl_status st = HL_OK;
    const hl_quant_options o = {HL_QUANT_ASYMMETRIC, (int)c->attrs.v[BITS].i, 1, false};
    const int64_t n = c->in[W].dim[0], k = c->in[W].dim[1];
    int8_state *s = hl_alloc_zero(1, sizeof *s);
    int8_t *zeros = hl_alloc_zero((size_t)(n * k) + 1, 1);
    (void)n_workers;
    if (!s || !zeros)
        HL_TRY(HL_E_NOMEM);
    HL_TRY(hl_quantizer_init(&s->q, &o));
    if (hl_has_input(c, Y_RANGE)) {
        const hl_quant_options y = {(hl_quant_scheme)c->attrs.v[Y_SCHEME].i,
                                    (int)c->attrs.v[Y_BITS].i, 1, false};
        HL_TRY(hl_quantizer_init(&s->q_y, &y));
    }
    HL_TRY(hl_int8_weights_init(&s->w, n, k, zeros));
    if (fp64 && !(s->narrow = hl_alloc(((size_t)hl_type_count(&c->in[X]) + 1) * sizeof(float))))
        st = HL_E_NOMEM;
out:
    hl_free(zeros);
    if (st == HL_OK)
        *state = s;
    else
        release_int8(s);
    return st;
}

typedef struct int8_job {
    const hl_op_run *r;
    const int8_state *s;
    int64_t m, n, k;
    int64_t block; /* rows that one thread takes at a time, at most BLOCK */
    const float *x;
    unsigned char *scratch;
    size_t each; /* bytes of scratch per worker */
} int8_job;

static size_t align64(size_t n)
{
    return (n + 63) / 64 * 64;
}

static size_t scratch_each(const hl_call *c)
{
    const int8_state *s = c->state;
    const size_t n = (size_t)c->in[W].dim[0], k = (size_t)c->in[W].dim[1];
    return align64(BLOCK * k) + align64(BLOCK * n * sizeof(int32_t)) +
           align64(s ? hl_int8_scratch_bytes(&s->w, 1) : 0);
}

static size_t scratch_int8(const hl_call *c, int n_workers)
{
    return (size_t)n_workers * scratch_each(c);
}

static void activate(hl_act act, int64_t n, float *y)
{
    static const hl_ew1_id f[] = {[HL_ACT_GELU] = HL_EW1_gelu,
                                  [HL_ACT_GELU_TANH] = HL_EW1_gelu_tanh,
                                  [HL_ACT_RELU] = HL_EW1_relu};
    if (act != HL_ACT_NONE)
        hl_cpu()->ew1(f[act], n, y, y);
}

/* From sums of products of codes, less the zero point, to numbers. */
typedef struct rescaling {
    int64_t n;
    float s_x;
    const float *scales, *bias; /* of the weights, [1] or [n]; [n] or NULL */
    bool per_row;
} rescaling;

static void rescale(const rescaling *k, float *y)
{
    hl_cpu()->rescale(k->n, k->s_x, k->scales, k->per_row, k->bias, y);
}

static rescaling rescaling_of(const hl_op_run *r, int scales, const hl_quantizer *of_x, int64_t n)
{
    const hl_call *c = r->call;
    return (rescaling){.n = n,
                       .s_x = of_x->scale[0],
                       .scales = r->in[scales],
                       .bias = c->n_in > scales + 1 ? r->in[scales + 1] : NULL,
                       .per_row = c->in[scales].dim[0] > 1};
}

static void epilogue(const int8_job *j, const int32_t *acc, float *y)
{
    const hl_op_run *r = j->r;
    const rescaling k = rescaling_of(r, SCALES, &j->s->q, j->n);
    hl_cpu()->int8_centre(j->n, acc, j->s->w.sums, (int32_t)j->s->q.zero_point[0], y);
    rescale(&k, y);
    activate((hl_act)r->call->attrs.v[ACT].i, j->n, y);
    if (hl_has_input(r->call, Y_RANGE))
        hl_quantizer_apply(&j->s->q_y, (hl_quant_part){j->n, 0, j->n}, y, y);
}

/* NaN has no code: a row that has one gives nothing else, as it does where numbers are floats. */
static bool has_nan(int64_t n, const float *x)
{
    float least, most;
    hl_cpu()->min_max(n, x, &least, &most);
    return isnan(least);
}

static void int8_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const int8_job *j = arg;
    uint8_t *codes = j->scratch + j->each * (size_t)worker;
    int32_t *acc = (void *)(codes + align64(BLOCK * (size_t)j->k));
    void *own = (unsigned char *)acc + align64(BLOCK * (size_t)j->n * sizeof *acc);
    for (int64_t b = begin; b < end; b++) {
        const int64_t first = b * j->block, left = j->m - first,
                      rows = left < j->block ? left : j->block;
        const float *x = j->x + first * j->k;
        hl_quantizer_encode(&j->s->q, (hl_quant_part){rows * j->k, 0, rows * j->k}, x, HL_CODE_U8,
                            codes);
        hl_int8_gemm(NULL, &j->s->w, rows, codes, acc, own);
        for (int64_t i = 0; i < rows; i++) {
            float *y = hl_out_f(j->r, 0) + (first + i) * j->n;
            epilogue(j, acc + i * j->n, y);
            for (int64_t o = has_nan(j->k, x + i * j->k) ? 0 : j->n; o < j->n; o++)
                y[o] = NAN;
        }
    }
}

static hl_status take_operands(const hl_op_run *r)
{
    int8_state *s = r->call->state;
    if (!s->is_packed)
        hl_int8_weights_set(&s->w, r->in[W]);
    s->is_packed = true;
    hl_status st = hl_quantizer_take_state(&s->q, r->in[RANGE], r->call->attrs.v[IS_F64].i);
    if (st == HL_OK && hl_has_input(r->call, Y_RANGE))
        st = hl_quantizer_take_state(&s->q_y, r->in[Y_RANGE], r->call->attrs.v[Y_IS_F64].i);
    return st;
}

static hl_status cpu_linear_int8(const hl_op_run *r)
{
    hl_status st = take_operands(r);
    if (st != HL_OK)
        return st;
    int8_job j = {.r = r, .s = r->call->state, .x = hl_in_f(r, X), .scratch = r->scratch};
    j.n = j.s->w.n;
    j.k = j.s->w.k;
    j.m = hl_type_rows(&r->call->in[X], r->call->in[X].rank - 1);
    j.each = scratch_each(r->call);
    const int64_t n_workers = r->exec->team ? r->exec->team->n : 1,
                  each = (j.m + n_workers - 1) / n_workers;
    j.block = each > BLOCK ? BLOCK : each < 8 ? 8 : each; /* so that small batches are shared too */
    hl_parallel(r->exec, (j.m + j.block - 1) / j.block, 1, 1, int8_part, &j);
    return HL_OK;
}

/* One number of either op's reference. */
static double rescaled(const hl_op_run *r, int scales, const hl_quantizer *of_x, double y,
                       int64_t o)
{
    const hl_call *c = r->call;
    const double *s = r->in[scales], *bias = c->n_in > scales + 1 ? r->in[scales + 1] : NULL;
    return y * ((double)of_x->scale[0] * s[c->in[scales].dim[0] > 1 ? o : 0]) +
           (bias ? bias[o] : 0);
}

static hl_status ref_linear_int8(const hl_op_run *r)
{
    hl_status st = take_operands(r);
    const int8_state *s = r->call->state;
    const hl_call *c = r->call;
    const int64_t m = hl_type_rows(&c->in[X], c->in[X].rank - 1), n = s->w.n, k = s->w.k;
    const int8_t *w = r->in[W];
    if (st != HL_OK)
        return st;
    for (int64_t i = 0; i < m * k; i++)
        s->narrow[i] = (float)hl_in_d(r, X)[i];
    uint8_t *codes = hl_alloc((size_t)(m * k) + 1);
    if (!codes)
        return HL_E_NOMEM;
    hl_quantizer_encode(&s->q, (hl_quant_part){m * k, 0, m * k}, s->narrow, HL_CODE_U8, codes);
    for (int64_t i = 0; i < m; i++)
        for (int64_t o = 0; o < n; o++) {
            int64_t acc = 0;
            bool is_nan = false;
            for (int64_t e = 0; e < k; e++) {
                acc += ((int64_t)codes[i * k + e] - (int64_t)s->q.zero_point[0]) * w[o * k + e];
                is_nan |= isnan(s->narrow[i * k + e]);
            }
            const double y = rescaled(r, SCALES, &s->q, is_nan ? (double)NAN : (double)acc, o);
            hl_out_d(r, 0)[i * n + o] = hl_act_f64((hl_act)c->attrs.v[ACT].i, y);
        }
    hl_free(codes);
    for (int64_t i = 0; hl_has_input(c, Y_RANGE) && i < m * n; i++) {
        const float y = (float)hl_out_d(r, 0)[i];
        hl_out_d(r, 0)[i] = (double)hl_quant_apply(hl_quantizer_grid(&s->q_y, 0), y);
    }
    return HL_OK;
}

static double flops_int8(const hl_call *c)
{
    return 2.0 * (double)hl_type_count(&c->in[X]) * (double)c->in[W].dim[0];
}

#define IN_RANGE                                                                                   \
    {                                                                                              \
        HL_DTYPE_F64, 1, {HL_QUANT_RANGE_FIELDS}, HL_FILL_RANGE, -2, 2, 0                          \
    }
#define CODES(...)                                                                                 \
    {                                                                                              \
        HL_DTYPE_I8, HL_N_DIMS(__VA_ARGS__), {__VA_ARGS__}, HL_FILL_RANGE, -128, 127, 0            \
    }
#define Y_RANGE_IN                                                                                 \
    {                                                                                              \
        HL_DTYPE_F64, 1, {HL_QUANT_RANGE_FIELDS}, HL_FILL_RANGE, -3000, 3000, 0                    \
    }
static const hl_case cases_linear_int8[] = {
    {.what = "bias",
     HL_INS(HL_NORMAL(9, 17), IN_RANGE, CODES(33, 17), HL_POSITIVE(1), HL_NORMAL(33))},
    {.what = "no bias, a scale for each row",
     HL_INS(HL_NORMAL(2, 5, 64), IN_RANGE, CODES(6, 64), HL_POSITIVE(6))},
    {.what = "gelu",
     HL_INS(HL_NORMAL(70, 40), IN_RANGE, CODES(40, 40), HL_POSITIVE(1), HL_NORMAL(40)),
     .attr = {8, 0, 1},
     .attr_given = 7},
    {.what = "relu, 4 bits",
     HL_INS(HL_NORMAL(7, 6), IN_RANGE, CODES(11, 6), HL_POSITIVE(1)),
     .attr = {4, 1, 3},
     .attr_given = 7},
    {.what = "blocks of rows",
     HL_INS(HL_NORMAL(131, 100), IN_RANGE, CODES(65, 100), HL_POSITIVE(65), HL_NORMAL(65))},
    {.what = "a vector", HL_INS(HL_NORMAL(12), IN_RANGE, CODES(5, 12), HL_POSITIVE(1))},
    {.what = "nothing", HL_INS(HL_NORMAL(0, 12), IN_RANGE, CODES(5, 12), HL_POSITIVE(1))},
    {.what = "quantized, relu",
     HL_INS(HL_NORMAL(70, 24), IN_RANGE, CODES(33, 24), HL_POSITIVE(1), HL_NORMAL(33), Y_RANGE_IN),
     .attr = {8, 0, 3, 4, 1, 0},
     .attr_given = 63},
    {.what = "quantized, no bias",
     HL_INS(HL_NORMAL(3, 24), IN_RANGE, CODES(9, 24), HL_POSITIVE(9), HL_ABSENT, Y_RANGE_IN),
     .attr = {8, 0, 0, 4, 0, 1},
     .attr_given = 63},
    {.what = "features differ",
     HL_INS(HL_NORMAL(9, 17), IN_RANGE, CODES(33, 16), HL_POSITIVE(1)),
     .expect = HL_E_SHAPE},
    {.what = "scales of other rows",
     HL_INS(HL_NORMAL(9, 17), IN_RANGE, CODES(33, 17), HL_POSITIVE(2)),
     .expect = HL_E_SHAPE},
    {.what = "weights of floats",
     HL_INS(HL_NORMAL(9, 17), IN_RANGE, HL_NORMAL(33, 17), HL_POSITIVE(1)),
     .expect = HL_E_DTYPE},
    {.what = "9 bits",
     HL_INS(HL_NORMAL(9, 17), IN_RANGE, CODES(33, 17), HL_POSITIVE(1)),
     .attr = {9},
     .attr_given = 1,
     .expect = HL_E_ARG},
};
const hl_op hl_op_linear_int8 = {
    .name = "linear_int8",
    .doc =
        "act(x w^T + b) where x is on the grid of the asymmetric quantizer whose `range` {7} is "
        "given, "
        "and w [out, in] are codes of a symmetric one with one scale or one for each row: sums of "
        "products of codes are exact, float begins behind them. With y_range {7}, the result on "
        "the "
        "grid of that quantizer",
    .ins = "x range w scales b? y_range?",
    .outs = "y",
    .attr = {{"bits", HL_ATTR_INT, 8, 2, 8, NULL},
             {"f64", HL_ATTR_BOOL, 0, 0, 0, NULL},
             {"act", HL_ATTR_ENUM, 0, 0, 0, hl_act_names},
             {"y_bits", HL_ATTR_INT, 8, 2, 16, NULL},
             {"y_scheme", HL_ATTR_ENUM, 1, 0, 0, hl_quant_scheme_names},
             {"y_f64", HL_ATTR_BOOL, 0, 0, 0, NULL}},
    .flags = HL_OP_NO_LUA | HL_OP_MIXED,
    .shape = shape_linear_int8,
    .ref = ref_linear_int8,
    .cpu = cpu_linear_int8,
    .scratch = scratch_int8,
    .prepare = prepare_int8,
    .release = release_int8,
    .flops = flops_int8,
    HL_CASES(cases_linear_int8),
    .tol = 64};

/* --- rescale: the same where the sums are floats --- */

enum { OF_X = 1, OF_W };

static hl_status shape_rescale(hl_call *c)
{
    hl_status st = hl_want_float(c, X);
    if (st == HL_OK)
        st = hl_want_rank(c, X, 1, HL_MAX_RANK);
    if (st == HL_OK)
        st = hl_want_range(c, OF_X);
    if (st != HL_OK)
        return st;
    const int64_t n = c->in[X].dim[c->in[X].rank - 1];
    if (c->in[OF_W].rank != 1 || (c->in[OF_W].dim[0] != 1 && c->in[OF_W].dim[0] != n))
        return hl_err_set(HL_E_SHAPE, "the weights have one scale or %lld", (long long)n);
    if (hl_has_input(c, OF_W + 1) && (c->in[OF_W + 1].rank != 1 || c->in[OF_W + 1].dim[0] != n))
        return hl_err_set(HL_E_SHAPE, "the bias must have %lld elements", (long long)n);
    hl_out_like(c, 0, X);
    return HL_OK;
}

static hl_status prepare_rescale(const hl_call *c, bool fp64, int n_workers, void **state)
{
    (void)fp64;
    (void)n_workers;
    const hl_quant_options o = {HL_QUANT_ASYMMETRIC, (int)c->attrs.v[BITS].i, 1, false};
    hl_quantizer *q = hl_alloc_zero(1, sizeof *q);
    hl_status st = q ? hl_quantizer_init(q, &o) : HL_E_NOMEM;
    if (st == HL_OK)
        *state = q;
    else
        hl_free(q);
    return st;
}

static void release_rescale(void *state)
{
    if (state)
        hl_quantizer_done(state);
    hl_free(state);
}

typedef struct rescale_job {
    rescaling k;
    const float *x;
    float *y;
} rescale_job;

static void rescale_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    const rescale_job *j = arg;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        float *y = j->y + i * j->k.n;
        if (y != j->x + i * j->k.n)
            memcpy(y, j->x + i * j->k.n, (size_t)j->k.n * sizeof *y);
        rescale(&j->k, y);
    }
}

static hl_status cpu_rescale(const hl_op_run *r)
{
    hl_quantizer *q = r->call->state;
    const hl_type *t = &r->call->in[X];
    const int64_t n = t->dim[t->rank - 1];
    hl_status st = hl_quantizer_take_state(q, r->in[OF_X], r->call->attrs.v[IS_F64].i);
    if (st != HL_OK)
        return st;
    rescale_job j = {rescaling_of(r, OF_W, q, n), hl_in_f(r, X), hl_out_f(r, 0)};
    hl_parallel(r->exec, hl_type_rows(t, t->rank - 1), 1, HL_GRAIN / (n + 1) + 1, rescale_rows, &j);
    return HL_OK;
}

static hl_status ref_rescale(const hl_op_run *r)
{
    hl_quantizer *q = r->call->state;
    const hl_type *t = &r->call->in[X];
    hl_status st = hl_quantizer_take_state(q, r->in[OF_X], r->call->attrs.v[IS_F64].i);
    for (int64_t i = 0; st == HL_OK && i < hl_type_count(t); i++)
        hl_out_d(r, 0)[i] = rescaled(r, OF_W, q, hl_in_d(r, X)[i], i % t->dim[t->rank - 1]);
    return st;
}

static const hl_case cases_rescale[] = {
    {.what = "one scale", HL_INS(HL_NORMAL(9, 33), IN_RANGE, HL_POSITIVE(1))},
    {.what = "a scale for each, bias",
     HL_INS(HL_NORMAL(2, 5, 600), IN_RANGE, HL_POSITIVE(600), HL_NORMAL(600)),
     .attr = {4, 1},
     .attr_given = 3},
    {.what = "scales of other columns",
     HL_INS(HL_NORMAL(9, 17), IN_RANGE, HL_POSITIVE(2)),
     .expect = HL_E_SHAPE},
};
const hl_op hl_op_rescale = {
    .name = "rescale",
    .doc = "x s_x s_w + b: from products of codes, less the zero point, to numbers, as linear_int8 "
           "does it: s_x is the scale of the asymmetric quantizer whose `range` {7} is given, s_w "
           "one scale or one for each column",
    .ins = "x range scales b?",
    .outs = "y",
    .attr = {{"bits", HL_ATTR_INT, 8, 2, 8, NULL}, {"f64", HL_ATTR_BOOL, 0, 0, 0, NULL}},
    .flags = HL_OP_NO_LUA | HL_OP_MIXED,
    .shape = shape_rescale,
    .ref = ref_rescale,
    .cpu = cpu_rescale,
    .prepare = prepare_rescale,
    .release = release_rescale,
    .inplace = 1,
    HL_CASES(cases_rescale),
    .tol = 64};
