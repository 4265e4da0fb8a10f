/* A linear layer in integers (spec: quantization 12.2): activations on the grid of a quantizer
 * become bytes, weights are bytes already, sums are exact, and only the epilogue is float. */
#include "engine/base/mem.h"
#include "engine/base/thread.h"
#include "engine/ops/op_common.h"
#include "engine/pass/quantize.h"
#include "engine/quant/int8_gemm.h"

enum { BITS, IS_F64, ACT, Y_BITS, Y_SCHEME, Y_IS_F64, PACKED };
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
    bool is_packed, is_borrowed; /* the latter: w is what the leaf holds */
    float *narrow;               /* of fp64 programs: x as floats */
} int8_state;

static void release_int8(void *state)
{
    int8_state *s = state;
    if (!s)
        return;
    hl_quantizer_done(&s->q);
    hl_quantizer_done(&s->q_y);
    if (!s->is_borrowed)
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
    const bool comes_packed = c->attrs.v[PACKED].i;
    int8_t *zeros = comes_packed ? NULL : hl_alloc_zero((size_t)(n * k) + 1, 1);
    (void)n_workers;
    if (!s || (!zeros && !comes_packed))
        HL_TRY(HL_E_NOMEM);
    s->is_borrowed = comes_packed;
    HL_TRY(hl_quantizer_init(&s->q, &o));
    if (hl_has_input(c, Y_RANGE)) {
        const hl_quant_options y = {(hl_quant_scheme)c->attrs.v[Y_SCHEME].i,
                                    (int)c->attrs.v[Y_BITS].i, 1, false};
        HL_TRY(hl_quantizer_init(&s->q_y, &y));
    }
    HL_TRY(comes_packed ? hl_int8_weights_borrow(&s->w, n, k, NULL)
                        : hl_int8_weights_init(&s->w, n, k, zeros));
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
    const float *x;
    unsigned char *scratch;
    size_t each; /* bytes of scratch per worker */
    hl_flag bad; /* numbers that have no code */
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

static void epilogue(const int8_job *j, const int32_t *acc, float *y)
{
    const hl_op_run *r = j->r;
    const float *scales = r->in[SCALES], *bias = r->call->n_in > BIAS ? r->in[BIAS] : NULL;
    const bool per_row = r->call->in[SCALES].dim[0] > 1;
    const float s_x = j->s->q.scale[0];
    const int32_t zero = (int32_t)j->s->q.zero_point[0];
    for (int64_t i = 0; i < j->n; i++) {
        const float s = s_x * scales[per_row ? i : 0];
        y[i] = (float)(acc[i] - zero * j->s->w.sums[i]) * s + (bias ? bias[i] : 0);
    }
    activate((hl_act)r->call->attrs.v[ACT].i, j->n, y);
    if (hl_has_input(r->call, Y_RANGE))
        hl_quantizer_apply(&j->s->q_y, (hl_quant_part){j->n, 0, j->n}, y, y);
}

static void int8_part(void *arg, int64_t begin, int64_t end, int worker)
{
    int8_job *j = arg;
    uint8_t *codes = j->scratch + j->each * (size_t)worker;
    int32_t *acc = (void *)(codes + align64(BLOCK * (size_t)j->k));
    void *own = (unsigned char *)acc + align64(BLOCK * (size_t)j->n * sizeof *acc);
    for (int64_t b = begin; b < end; b++) {
        const int64_t first = b * BLOCK, rows = j->m - first < BLOCK ? j->m - first : BLOCK;
        const float *x = j->x + first * j->k;
        bool is_bad = false;
        for (int64_t i = 0; i < rows * j->k; i++)
            is_bad |= !(x[i] - x[i] == 0);
        if (is_bad) {
            hl_flag_set(&j->bad, 1);
            return;
        }
        hl_quantizer_encode(&j->s->q, (hl_quant_part){rows * j->k, 0, rows * j->k}, x, HL_CODE_U8,
                            codes);
        hl_int8_gemm(NULL, &j->s->w, rows, codes, acc, own);
        for (int64_t i = 0; i < rows; i++)
            epilogue(j, acc + i * j->n, hl_out_f(j->r, 0) + (first + i) * j->n);
    }
}

static hl_status take_operands(const hl_op_run *r)
{
    int8_state *s = r->call->state;
    if (!s->is_packed) {
        const int64_t n = s->w.n, k = s->w.k;
        if (!s->is_borrowed)
            hl_int8_weights_done(&s->w);
        hl_status st = s->is_borrowed ? hl_int8_weights_borrow(&s->w, n, k, r->in[W])
                                      : hl_int8_weights_init(&s->w, n, k, r->in[W]);
        if (st != HL_OK)
            return st;
        s->is_packed = true;
    }
    hl_status st = hl_quantizer_take_state(&s->q, r->in[RANGE], r->call->attrs.v[IS_F64].i);
    if (st == HL_OK && hl_has_input(r->call, Y_RANGE))
        st = hl_quantizer_take_state(&s->q_y, r->in[Y_RANGE], r->call->attrs.v[Y_IS_F64].i);
    return st;
}

static hl_status not_finite(void)
{
    return hl_err_set(HL_E_NUMERIC, "numbers that are not finite have no codes");
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
    hl_parallel(r->exec, (j.m + BLOCK - 1) / BLOCK, 1, 1, int8_part, &j);
    return hl_flag_get(&j.bad) ? not_finite() : HL_OK;
}

static hl_status ref_linear_int8(const hl_op_run *r)
{
    hl_status st = take_operands(r);
    const int8_state *s = r->call->state;
    const hl_call *c = r->call;
    const int64_t m = hl_type_rows(&c->in[X], c->in[X].rank - 1), n = s->w.n, k = s->w.k;
    const int8_t *w = r->in[W];
    const double *scales = r->in[SCALES], *bias = c->n_in > BIAS ? r->in[BIAS] : NULL;
    if (st != HL_OK)
        return st;
    for (int64_t i = 0; i < m * k; i++) {
        if (!isfinite(hl_in_d(r, X)[i]))
            return not_finite();
        s->narrow[i] = (float)hl_in_d(r, X)[i];
    }
    uint8_t *codes = hl_alloc((size_t)(m * k) + 1);
    if (!codes)
        return HL_E_NOMEM;
    hl_quantizer_encode(&s->q, (hl_quant_part){m * k, 0, m * k}, s->narrow, HL_CODE_U8, codes);
    for (int64_t i = 0; i < m; i++)
        for (int64_t o = 0; o < n; o++) {
            int64_t acc = 0;
            for (int64_t e = 0; e < k; e++)
                acc += ((int64_t)codes[i * k + e] - (int64_t)s->q.zero_point[0]) * w[o * k + e];
            const double y =
                (double)acc * ((double)s->q.scale[0] * scales[c->in[SCALES].dim[0] > 1 ? o : 0]);
            hl_out_d(r, 0)[i * n + o] =
                hl_act_f64((hl_act)c->attrs.v[ACT].i, y + (bias ? bias[o] : 0));
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
        "grid of that quantizer. packed: w is as hl_int8_weights_pack leaves it (not in fp64)",
    .ins = "x range w scales b? y_range?",
    .outs = "y",
    .attr = {{"bits", HL_ATTR_INT, 8, 2, 8, NULL},
             {"f64", HL_ATTR_BOOL, 0, 0, 0, NULL},
             {"act", HL_ATTR_ENUM, 0, 0, 0, hl_act_names},
             {"y_bits", HL_ATTR_INT, 8, 2, 16, NULL},
             {"y_scheme", HL_ATTR_ENUM, 1, 0, 0, hl_quant_scheme_names},
             {"y_f64", HL_ATTR_BOOL, 0, 0, 0, NULL},
             {"packed", HL_ATTR_BOOL, 0, 0, 0, NULL}},
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
