/* What goes into linear layers while a method calibrates (spec: quantization, appendix A): x as it
 * is, and sums over its rows in two states. */
#include "engine/ops/op_common.h"
#include "engine/quant/inputs.h"

enum { X, STATS, GRAM };

static hl_status shape_observe_inputs(hl_call *c)
{
    const hl_type *x = &c->in[X], *s = &c->in[STATS], *g = &c->in[GRAM];
    hl_status st = hl_want_float(c, X);
    if (st == HL_OK)
        st = hl_want_rank(c, X, 1, HL_MAX_RANK);
    if (st == HL_OK)
        st = hl_want_dtype(c, STATS, HL_DTYPE_F64);
    if (st != HL_OK)
        return st;
    const int64_t k = x->dim[x->rank - 1];
    if (s->rank != 1 || s->dim[0] != HL_INPUTS_FIELDS(k))
        return hl_err_set(HL_E_SHAPE, "stats of %lld columns must be f64{%lld}", (long long)k,
                          (long long)HL_INPUTS_FIELDS(k));
    if (hl_has_input(c, GRAM) && (g->rank != 2 || g->dim[0] != k || g->dim[1] != k))
        return hl_err_set(HL_E_SHAPE, "gram must be {%lld, %lld}", (long long)k, (long long)k);
    hl_out_like(c, 0, X);
    return HL_OK;
}

static int64_t columns_of(const hl_call *c)
{
    return c->in[X].dim[c->in[X].rank - 1];
}

static size_t scratch_observe_inputs(const hl_call *c, int n_workers)
{
    const int64_t k = columns_of(c), m = hl_type_rows(&c->in[X], c->in[X].rank - 1);
    return hl_has_input(c, GRAM) ? hl_cpu()->gemm_scratch_bytes(k, k, m, n_workers) : 0;
}

typedef struct columns_job {
    int64_t m, k;
    const float *x;
    double *stats;
} columns_job;

/* Each worker has columns of its own, so that sums do not depend on their number. */
static void columns_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const columns_job *j = arg;
    double *max = j->stats + HL_INPUTS_MAX, *sum = max + j->k;
    (void)worker;
    for (int64_t t = 0; t < j->m; t++)
        for (int64_t c = begin; c < end; c++) {
            const double a = fabs((double)j->x[t * j->k + c]);
            max[c] = a > max[c] ? a : max[c];
            sum[c] += a;
        }
}

static hl_status cpu_observe_inputs(const hl_op_run *r)
{
    double *stats = (double *)(uintptr_t)r->in[STATS]; /* states: writable */
    columns_job j = {.k = columns_of(r->call), .x = hl_in_f(r, X), .stats = stats};
    j.m = hl_type_rows(&r->call->in[X], r->call->in[X].rank - 1);
    stats[HL_INPUTS_TOKENS] += (double)j.m;
    hl_parallel(r->exec, j.k, 16, 1 + HL_GRAIN / (j.m + 1), columns_part, &j);
    if (hl_has_input(r->call, GRAM) && j.m > 0) {
        const hl_gemm_args g = {.m = j.k,
                                .n = j.k,
                                .k = j.m,
                                .a = j.x,
                                .a_row = 1,
                                .a_col = j.k,
                                .b = j.x,
                                .b_row = j.k,
                                .b_col = 1,
                                .c = (float *)(uintptr_t)r->in[GRAM],
                                .c_row = j.k,
                                .add = true};
        hl_cpu()->gemm(r->exec->team, &g, r->scratch);
    }
    if (r->out[0] != r->in[X])
        memcpy(r->out[0], r->in[X], (size_t)(j.m * j.k) * sizeof(float));
    return HL_OK;
}

static hl_status gpu_observe_inputs(const hl_op_run *r)
{
    const hl_gpu_backend *b = hl_gpu_get();
    const int64_t k = columns_of(r->call), m = hl_type_rows(&r->call->in[X], r->call->in[X].rank - 1);
    b->input_stats(r->exec->gpu, m, k, hl_in_f(r, X), (double *)(uintptr_t)r->in[STATS]);
    if (hl_has_input(r->call, GRAM) && m > 0) {
        const hl_gpu_gemm g = {.g = {.m = k,
                                     .n = k,
                                     .k = m,
                                     .a = hl_in_f(r, X),
                                     .a_row = 1,
                                     .a_col = k,
                                     .b = hl_in_f(r, X),
                                     .b_row = k,
                                     .b_col = 1,
                                     .c = (float *)(uintptr_t)r->in[GRAM],
                                     .c_row = k,
                                     .add = true},
                               .batch = 1};
        b->gemm(r->exec->gpu, &g);
    }
    if (r->out[0] != r->in[X])
        hl_copy(r, r->out[0], r->in[X], (size_t)(m * k) * sizeof(float));
    return HL_OK;
}

static hl_status ref_observe_inputs(const hl_op_run *r)
{
    const int64_t k = columns_of(r->call), n = hl_type_count(&r->call->in[X]);
    double *stats = (double *)(uintptr_t)r->in[STATS];
    double *gram = hl_has_input(r->call, GRAM) ? (double *)(uintptr_t)r->in[GRAM] : NULL;
    const double *x = hl_in_d(r, X);
    for (int64_t t = 0; k && t < n / k; t++, x += k) {
        stats[HL_INPUTS_TOKENS] += 1;
        for (int64_t c = 0; c < k; c++) {
            stats[HL_INPUTS_MAX + c] = fmax(stats[HL_INPUTS_MAX + c], fabs(x[c]));
            stats[HL_INPUTS_MAX + k + c] += fabs(x[c]);
            for (int64_t i = 0; gram && i < k; i++)
                gram[c * k + i] += x[c] * x[i];
        }
    }
    if (r->out[0] != r->in[X])
        memcpy(r->out[0], r->in[X], (size_t)n * sizeof(double));
    return HL_OK;
}

static bool mutates_observe_inputs(const hl_call *c, int input)
{
    (void)c;
    return input == STATS || input == GRAM;
}

static double flops_observe_inputs(const hl_call *c)
{
    const double n = (double)hl_type_count(&c->in[X]);
    return 2 * n + (hl_has_input(c, GRAM) ? 2 * n * (double)columns_of(c) : 0);
}

#define ZERO_STATS(k)                                                                              \
    {                                                                                              \
        HL_DTYPE_F64, 1, {HL_INPUTS_FIELDS(k)}, HL_FILL_CONST, 0, 0, 0                             \
    }
static const hl_case cases_observe_inputs[] = {
    {.what = "maxima and sums", HL_INS(HL_NORMAL(5, 33), ZERO_STATS(33))},
    {.what = "and products", HL_INS(HL_NORMAL(3, 7, 20), ZERO_STATS(20), HL_NORMAL(20, 20))},
    {.what = "many", HL_INS(HL_NORMAL(700, 65), ZERO_STATS(65), HL_NORMAL(65, 65))},
    {.what = "a vector", HL_INS(HL_NORMAL(9), ZERO_STATS(9), HL_NORMAL(9, 9))},
    {.what = "nothing", HL_INS(HL_NORMAL(0, 9), ZERO_STATS(9), HL_NORMAL(9, 9))},
    {.what = "other columns", HL_INS(HL_NORMAL(5, 9), ZERO_STATS(8)), .expect = HL_E_SHAPE},
    {.what = "another matrix",
     HL_INS(HL_NORMAL(5, 9), ZERO_STATS(9), HL_NORMAL(9, 8)),
     .expect = HL_E_SHAPE},
    {.what = "stats of floats", HL_INS(HL_NORMAL(5, 9), HL_NORMAL(19)), .expect = HL_E_DTYPE},
};
const hl_op hl_op_observe_inputs = {
    .name = "observe_inputs",
    .doc = "x {.., K} as it is; the state `stats` {1 + 2 K} gets the number of rows, and of each "
           "column the largest |x| and the sum of |x|, `gram` {K, K} the sum of x^T x",
    .ins = "x stats gram?",
    .outs = "y",
    .flags = HL_OP_EFFECT | HL_OP_NO_LUA | HL_OP_MIXED,
    .shape = shape_observe_inputs,
    .ref = ref_observe_inputs,
    .cpu = cpu_observe_inputs,
    .gpu = gpu_observe_inputs,
    .scratch = scratch_observe_inputs,
    .mutates = mutates_observe_inputs,
    .inplace = 1,
    .flops = flops_observe_inputs,
    HL_CASES(cases_observe_inputs),
    .tol = 64};
