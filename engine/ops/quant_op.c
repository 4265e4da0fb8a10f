/* Quantizers of activations: while ranges are estimated, and when they stand fast. Both give the
 * numbers that codes stand for, as floats (spec: quantization 2 to 4).
 *
 * A range is a state f64{7}: batches seen, lower and upper end; and, where asked for, sums over
 * what was quantized: numbers, their squares, squares of the errors, numbers beyond the grid. Ends
 * found by percentiles are double and stay so up to the scale. */
#include "engine/base/mem.h"
#include "engine/ops/op_common.h"
#include "engine/pass/quantize.h"

static const char *const method_names[] = {"current_minmax", "running_minmax", "mse_grid",
                                           "mse_golden_section", NULL};
enum { SCHEME, BITS, METHOD, PERCENTILE, MOMENTUM, CANDIDATES, MARGIN, SOLVE };
enum { IS_F64 = 2, MEASURES, CENTRED };

static bool measures(const hl_call *c)
{
    return c->op == hl_op_get(HL_OP_ID_fake_quant) && c->attrs.v[MEASURES].i;
}

static bool is_centred(const hl_call *c)
{
    return c->op == hl_op_get(HL_OP_ID_fake_quant) && c->attrs.v[CENTRED].i;
}

/* Estimates a range over a whole solve, in whose evaluations a search would count iterations. */
static bool is_long_search(const hl_call *c)
{
    return c->op == hl_op_get(HL_OP_ID_observe) && c->attrs.v[SOLVE].i &&
           c->attrs.v[METHOD].i >= HL_RANGE_MSE_GRID;
}

static hl_status shape_quant(hl_call *c)
{
    hl_status st = hl_want_float(c, 0);
    if (st == HL_OK)
        st = hl_want_range(c, 1);
    if (st != HL_OK)
        return st;
    if (is_long_search(c))
        return hl_err_set(HL_E_UNSUPPORTED, "the range of least error is not sought over the "
                                            "iterations of a solve; take act_range = "
                                            "\"running_minmax\" or \"current_minmax\"");
    if (measures(c) && is_centred(c))
        return hl_err_set(HL_E_ARG, "errors are those of numbers, not of codes");
    hl_out_like(c, 0, 0);
    return HL_OK;
}

typedef struct quant_state {
    hl_quantizer q;
    hl_range_estimator *e; /* of observe */
    int64_t n_own;         /* batches that e knows of */
    bool is_open;          /* a solve has begun its batch */
    double before[3];      /* range[HL_QUANT_SEEN ..] when it did */
    float *narrow;         /* of fp64 programs: the tensor, element by element */
    hl_range_device on;    /* of observe, on a device */
} quant_state;

static void release_quant(void *state)
{
    quant_state *s = state;
    if (!s)
        return;
    hl_quantizer_done(&s->q);
    hl_range_estimator_free(s->e);
    hl_range_device_done(&s->on);
    hl_free(s->narrow);
    hl_free(s);
}

static hl_range_options options_of(const hl_call *c)
{
    const hl_attr *v = c->attrs.v;
    hl_range_options o = {.quantizer = {.scheme = (hl_quant_scheme)v[SCHEME].i,
                                        .bits = (int)v[BITS].i,
                                        .n_channels = 1}};
    if (c->op == hl_op_get(HL_OP_ID_fake_quant))
        return o;
    o.method = (hl_range_method)v[METHOD].i;
    o.percentile = v[PERCENTILE].f;
    o.momentum = v[MOMENTUM].f;
    o.n_candidates = (int)v[CANDIDATES].i;
    o.range_margin = v[MARGIN].f;
    return o;
}

static hl_status prepare_quant(const hl_call *c, bool fp64, int n_workers, void **state)
{
    hl_status st = HL_OK;
    const hl_range_options o = options_of(c);
    quant_state *s = hl_alloc_zero(1, sizeof *s);
    (void)n_workers;
    if (!s)
        return HL_E_NOMEM;
    HL_TRY(hl_quantizer_init(&s->q, &o.quantizer));
    if (c->op == hl_op_get(HL_OP_ID_observe))
        HL_TRY(hl_range_estimator_new(&o, &s->e));
    if (fp64 && !(s->narrow = hl_alloc(((size_t)hl_type_count(&c->in[0]) + 1) * sizeof(float))))
        st = HL_E_NOMEM;
out:
    if (st == HL_OK)
        *state = s;
    else
        release_quant(s);
    return st;
}

typedef struct apply_job {
    const hl_quantizer *q;
    int64_t n;
    const float *x;
    float *y;
    bool is_centred; /* codes less the zero point, not the numbers that they stand for */
    double *sums;    /* per worker HL_QUANT_NUMBERS .. HL_QUANT_CLIPPED; NULL: not asked for */
} apply_job;

enum { N_SUMS = HL_QUANT_RANGE_FIELDS - HL_QUANT_NUMBERS };

/* NaN stays what it is. */
static void centre_part(const apply_job *j, hl_quant_grid g, int64_t begin, int64_t end)
{
    for (int64_t at = begin; at < end; at += 256) {
        int32_t codes[256];
        const int64_t n = end - at < 256 ? end - at : 256;
        hl_cpu()->quant_encode(g, HL_CODE_I32, n, j->x + at, codes);
        for (int64_t i = 0; i < n; i++) {
            const float x = j->x[at + i];
            j->y[at + i] = x == x ? (float)codes[i] - g.zero : x;
        }
    }
}

/* Before x is overwritten, where it is. Parts of 256 numbers stay in cache. */
static void apply_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const apply_job *j = arg;
    const hl_quant_grid g = hl_quantizer_grid(j->q, 0);
    if (j->is_centred) {
        centre_part(j, g, begin, end);
        return;
    }
    if (!j->sums) {
        hl_quantizer_apply(j->q, (hl_quant_part){j->n, begin, end}, j->x, j->y);
        return;
    }
    const double lo = (double)g.scale * ((double)g.r_min - 0.5),
                 hi = (double)g.scale * ((double)g.r_max + 0.5);
    double *sum = j->sums + N_SUMS * worker;
    for (int64_t at = begin; at < end; at += 256) {
        float x[256];
        const int64_t n = end - at < 256 ? end - at : 256;
        memcpy(x, j->x + at, (size_t)n * sizeof *x);
        hl_quantizer_apply(j->q, (hl_quant_part){j->n, at, at + n}, j->x, j->y);
        for (int64_t i = 0; i < n; i++) {
            const double v = (double)x[i], e = v - (double)j->y[at + i];
            sum[HL_QUANT_SIGNAL - HL_QUANT_NUMBERS] += v * v;
            sum[HL_QUANT_NOISE - HL_QUANT_NUMBERS] += e * e;
            sum[HL_QUANT_CLIPPED - HL_QUANT_NUMBERS] += v < lo || v > hi;
        }
        sum[0] += (double)n;
    }
}

static size_t scratch_quant(const hl_call *c, int n_workers)
{
    return measures(c) ? (size_t)n_workers * N_SUMS * sizeof(double) : 0;
}

static void apply(const hl_op_run *r, const float *x, float *y)
{
    const quant_state *s = r->call->state;
    const int n_workers = r->exec->team ? r->exec->team->n : 1;
    apply_job j = {&s->q,
                   hl_type_count(&r->call->in[0]),
                   x,
                   y,
                   is_centred(r->call),
                   measures(r->call) ? r->scratch : NULL};
    if (j.sums)
        memset(j.sums, 0, scratch_quant(r->call, n_workers));
    hl_parallel(r->exec, j.n, 64, HL_GRAIN, apply_part, &j);
    double *range = (double *)(uintptr_t)r->in[1]; /* a state: writable */
    for (int i = 0; j.sums && i < n_workers * N_SUMS; i++)
        range[HL_QUANT_NUMBERS + i % N_SUMS] += j.sums[i];
}

/* Programs for batches of other sizes share the range: the estimator goes on from what it holds. */
static hl_status resume(quant_state *s, const double *range)
{
    const double state[4] = {range[HL_QUANT_SEEN], -1, range[HL_QUANT_LO], range[HL_QUANT_HI]};
    if (range[HL_QUANT_SEEN] == (double)s->n_own)
        return HL_OK;
    if (hl_range_estimator_state_count(s->e) != 4)
        return hl_err_set(HL_E_ARG,
                          "a search for the range of least error takes batches of one size");
    hl_status st = hl_range_estimator_set_state(s->e, 4, state);
    if (st == HL_OK)
        s->n_own = (int64_t)range[HL_QUANT_SEEN];
    return st;
}

/* The next evaluation begins another solve's batch. */
static void begin_quant(void *state)
{
    ((quant_state *)state)->is_open = false;
}

/* Takes x as a batch, or, in a solve, as more of the one it has begun; x lies where r runs. A batch
 * that fails was not seen. */
static hl_status take_batch(const hl_op_run *r, double *range, const float *x,
                            hl_quant_range *found)
{
    quant_state *s = r->call->state;
    const hl_type *t = &r->call->in[0];
    const int64_t rows = t->rank ? t->dim[0] : 1, cols = rows ? hl_type_count(t) / rows : 0;
    hl_status st = s->is_open ? HL_OK : resume(s, range);
    if (st != HL_OK)
        return st;
    if (!s->is_open)
        memcpy(s->before, range, sizeof s->before);
    s->on.gpu = r->exec->gpu;
    if (s->on.gpu)
        st = hl_range_estimator_observe_on(s->e, &s->on, &(hl_range_rows){rows, cols, x}, s->is_open,
                                           found);
    else
        st = s->is_open ? hl_range_estimator_observe_more(s->e, r->exec->team, rows, cols, x, found)
                        : hl_range_estimator_observe(s->e, r->exec->team, rows, cols, x, found);
    if (st == HL_OK)
        st = hl_quantizer_set_range(&s->q, found);
    if (st != HL_OK)
        memcpy(range, s->before, sizeof s->before);
    return st;
}

/* Estimates from x, and keeps what was found in the state `range`. */
static hl_status estimate(const hl_op_run *r, double *range, const float *x)
{
    quant_state *s = r->call->state;
    hl_quant_range found;
    hl_status st = take_batch(r, range, x, &found);
    if (st != HL_OK)
        return st;
    range[HL_QUANT_SEEN] += !s->is_open;
    s->n_own += !s->is_open;
    s->is_open = r->call->attrs.v[SOLVE].i;
    range[HL_QUANT_LO] = found.lo[0];
    range[HL_QUANT_HI] = found.hi[0];
    return HL_OK;
}

static hl_status set_range(const hl_op_run *r, const float *x)
{
    return r->call->op == hl_op_get(HL_OP_ID_observe)
               ? estimate(r, (double *)(uintptr_t)r->in[1], x) /* a state: writable */
               : hl_quantizer_take_state(&((quant_state *)r->call->state)->q, r->in[1],
                                         r->call->attrs.v[IS_F64].i);
}

static hl_status cpu_quant(const hl_op_run *r)
{
    hl_status st = set_range(r, hl_in_f(r, 0));
    if (st == HL_OK)
        apply(r, hl_in_f(r, 0), hl_out_f(r, 0));
    return st;
}

static hl_gpu_quantizer quantizer_there(const hl_op_run *r, bool is_f64)
{
    const hl_attr *v = r->call->attrs.v;
    return hl_gpu_quantizer_of(
        r, 1, (hl_quant_form){v[SCHEME].i == HL_QUANT_ASYMMETRIC, is_f64, false, (int)v[BITS].i});
}

/* The estimator stays on the host and waits for what it needs to know of the numbers. */
static hl_status gpu_observe(const hl_op_run *r)
{
    const hl_gpu_backend *b = hl_gpu_get();
    double range[HL_QUANT_RANGE_FIELDS];
    const hl_range_options o = options_of(r->call);
    hl_copy(r, range, r->in[1], sizeof range);
    hl_status st = b->wait(r->exec->gpu);
    if (st != HL_OK)
        return hl_err_set(st, "%s", b->error(r->exec->gpu));
    st = estimate(r, range, hl_in_f(r, 0));
    if (st != HL_OK)
        return st;
    const hl_gpu_quantizer q =
        quantizer_there(r, o.percentile != 0 && o.method < HL_RANGE_MSE_GRID);
    b->set_range(r->exec->gpu, range, (double *)(uintptr_t)r->in[1]);
    b->fake_quant(r->exec->gpu, &q, false, hl_type_count(&r->call->in[0]), hl_in_f(r, 0),
                  hl_out_f(r, 0), NULL, NULL);
    return HL_OK;
}

static hl_status gpu_fake_quant(const hl_op_run *r)
{
    const hl_gpu_quantizer q = quantizer_there(r, r->call->attrs.v[IS_F64].i);
    hl_gpu_get()->fake_quant(r->exec->gpu, &q, is_centred(r->call), hl_type_count(&r->call->in[0]),
                             hl_in_f(r, 0), hl_out_f(r, 0),
                             measures(r->call) ? (double *)(uintptr_t)r->in[1] : NULL, r->scratch);
    return HL_OK;
}

static size_t gpu_scratch_fake_quant(const hl_call *c)
{
    return measures(c) ? HL_GPU_TENSOR_PARTS * N_SUMS * sizeof(double) : 0;
}

/* Codes are defined on floats: the numbers are rounded to float on the way. */
static hl_status ref_quant(const hl_op_run *r)
{
    const quant_state *s = r->call->state;
    const int64_t n = hl_type_count(&r->call->in[0]);
    for (int64_t i = 0; i < n; i++)
        s->narrow[i] = (float)hl_in_d(r, 0)[i];
    hl_status st = set_range(r, s->narrow);
    if (st != HL_OK)
        return st;
    apply(r, s->narrow, s->narrow);
    for (int64_t i = 0; i < n; i++)
        hl_out_d(r, 0)[i] = (double)s->narrow[i];
    return HL_OK;
}

static bool mutates_range(const hl_call *c, int input)
{
    return input == 1 && (c->op == hl_op_get(HL_OP_ID_observe) || measures(c));
}

#define QUANT_ATTRS                                                                                \
    {"scheme", HL_ATTR_ENUM, 1, 0, 0, hl_quant_scheme_names},                                      \
    {                                                                                              \
        "bits", HL_ATTR_INT, 8, 2, 16, NULL                                                        \
    }

#define NOT_SEEN                                                                                   \
    {                                                                                              \
        HL_DTYPE_F64, 1, {HL_QUANT_RANGE_FIELDS}, HL_FILL_CONST, 0, 0, 0                           \
    }
static const hl_case cases_observe[] = {
    {.what = "running average", HL_INS(HL_NORMAL(5, 33), NOT_SEEN)},
    {.what = "symmetric, 4 bits",
     HL_INS(HL_NORMAL(7, 3, 9), NOT_SEEN),
     .attr = {0, 4, 0},
     .attr_given = 7},
    {.what = "percentile",
     HL_INS(HL_NORMAL(40, 50), NOT_SEEN),
     .attr = {1, 8, 1, 99},
     .attr_given = 15},
    {.what = "least squared error",
     HL_INS(HL_POSITIVE(4, 50), NOT_SEEN),
     .attr = {1, 8, 2},
     .attr_given = 7},
    {.what = "nothing", HL_INS(HL_NORMAL(0, 33), NOT_SEEN), .expect = HL_E_SHAPE},
    {.what = "a search over iterations",
     HL_INS(HL_NORMAL(5, 33), NOT_SEEN),
     .attr = {1, 8, 2, 0, 0.9, 100, 0.5, 1},
     .attr_given = 255,
     .expect = HL_E_UNSUPPORTED},
    {.what = "17 bits",
     HL_INS(HL_NORMAL(5, 33), NOT_SEEN),
     .attr = {1, 17},
     .attr_given = 3,
     .expect = HL_E_ARG},
};
const hl_op hl_op_observe = {
    .name = "observe",
    .doc =
        "x on the grid of a quantizer whose range is estimated from this and earlier batches; the "
        "state `range` {7} gets their number and the ends. solve: the evaluations of one "
        "equilibrium solve are one batch",
    .ins = "x range",
    .outs = "y",
    .attr = {QUANT_ATTRS,
             {"method", HL_ATTR_ENUM, 1, 0, 0, method_names},
             {"percentile", HL_ATTR_REAL, 0, 0, 100, NULL},
             {"momentum", HL_ATTR_REAL, 0.9, 0, 1, NULL},
             {"candidates", HL_ATTR_INT, 100, 1, 100000, NULL},
             {"margin", HL_ATTR_REAL, 0.5, 0, 1e9, NULL},
             {"solve", HL_ATTR_BOOL, 0, 0, 0, NULL}},
    .flags = HL_OP_EFFECT | HL_OP_NO_LUA | HL_OP_MIXED | HL_OP_WAITS,
    .shape = shape_quant,
    .ref = ref_quant,
    .cpu = cpu_quant,
    .gpu = gpu_observe,
    .prepare = prepare_quant,
    .release = release_quant,
    .begin = begin_quant,
    .mutates = mutates_range,
    HL_CASES(cases_observe)};

static const hl_case cases_fake_quant[] = {
    {.what = "asymmetric", HL_INS(HL_NORMAL(5, 33), HL_RANGE_STATE(-1, 1))},
    {.what = "many", HL_INS(HL_NORMAL(3, 40000), HL_RANGE_STATE(-2, 2))},
    {.what = "symmetric, 16 bits",
     HL_INS(HL_NORMAL(7, 3, 9), HL_RANGE_STATE(-2, 2)),
     .attr = {0, 16},
     .attr_given = 3},
    {.what = "double ends",
     HL_INS(HL_NORMAL(64), HL_RANGE_STATE(-2, 2)),
     .attr = {1, 8, 1},
     .attr_given = 7},
    {.what = "measured",
     .attr = {1, 4, 0, 1},
     HL_INS(HL_NORMAL(3, 20000), HL_RANGE_STATE(-1, 1)),
     .attr_given = 15},
    {.what = "codes",
     HL_INS(HL_NORMAL(3, 30000), HL_RANGE_STATE(-2, 2)),
     .attr = {1, 8, 0, 0, 1},
     .attr_given = 31},
    {.what = "errors of codes",
     HL_INS(HL_NORMAL(5), HL_RANGE_STATE(-2, 2)),
     .attr = {1, 8, 0, 1, 1},
     .attr_given = 31,
     .expect = HL_E_ARG},
    {.what = "a number", HL_INS(HL_SCALAR(0.3), HL_RANGE_STATE(-2, 2))},
    {.what = "nothing", HL_INS(HL_NORMAL(0, 33), HL_RANGE_STATE(0, 1))},
    {.what = "range of floats", HL_INS(HL_NORMAL(5), HL_NORMAL(7)), .expect = HL_E_DTYPE},
    {.what = "range of two",
     HL_INS(HL_NORMAL(5), {HL_DTYPE_F64, 1, {2}, HL_FILL_RANGE, 0, 1, 0}),
     .expect = HL_E_SHAPE},
};
const hl_op hl_op_fake_quant = {
    .name = "fake_quant",
    .doc =
        "x on the grid of a quantizer: scale times (code - zero point), where the state `range` "
        "{7} "
        "holds lower and upper end behind a count; f64: they are doubles up to the scale. measure: "
        "adds to the state how many numbers there were, their squares, the errors' squares, and "
        "how "
        "many lay beyond the grid. centred: code - zero point instead",
    .ins = "x range",
    .outs = "y",
    .attr = {QUANT_ATTRS,
             {"f64", HL_ATTR_BOOL, 0, 0, 0, NULL},
             {"measure", HL_ATTR_BOOL, 0, 0, 0, NULL},
             {"centred", HL_ATTR_BOOL, 0, 0, 0, NULL}},
    .flags = HL_OP_EFFECT | HL_OP_NO_LUA | HL_OP_MIXED,
    .shape = shape_quant,
    .ref = ref_quant,
    .cpu = cpu_quant,
    .gpu = gpu_fake_quant,
    .gpu_scratch = gpu_scratch_fake_quant,
    .scratch = scratch_quant,
    .prepare = prepare_quant,
    .release = release_quant,
    .mutates = mutates_range,
    .inplace = 1,
    HL_CASES(cases_fake_quant)};
