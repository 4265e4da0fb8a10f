/* Vector-wise int8 with outlier columns in half precision (LLM.int8, Dettmers et al. 2022, arXiv
 * 2208.07339 section 3; without outliers: per-token activations and per-row weights, ZeroQuant, Yao
 * et al. 2022, arXiv 2206.01861). With O = {j : max_t |x_tj| >= threshold} over the rows of the
 * call, columns in O are rounded to binary16, the others of each row of x and of w to
 *   s rint(v / s),  s = max |v| over j not in O / (2^(bits - 1) - 1). */
#include "engine/base/mem.h"
#include "engine/ops/op_common.h"
#include "engine/quant/inputs.h"
#include "engine/quant/quantizer.h"
#include "kernels/quant/float_body.h"

enum { X, W, SEEN };
enum { BITS, W_BITS, THRESHOLD };

static hl_status shape_vector_quant(hl_call *c)
{
    const hl_type *x = &c->in[X], *w = &c->in[W], *s = &c->in[SEEN];
    hl_status st = hl_want_float(c, X);
    if (st == HL_OK)
        st = hl_want_rank(c, X, 1, HL_MAX_RANK);
    if (st == HL_OK)
        st = hl_want_float(c, W);
    if (st == HL_OK)
        st = hl_want_rank(c, W, 2, 2);
    if (st == HL_OK)
        st = hl_want_dtype(c, SEEN, HL_DTYPE_F64);
    if (st != HL_OK)
        return st;
    if (x->dim[x->rank - 1] != w->dim[1])
        return hl_err_set(HL_E_SHAPE, "x has %lld features, the weights take %lld",
                          (long long)x->dim[x->rank - 1], (long long)w->dim[1]);
    if (s->rank != 1 || s->dim[0] != HL_OUTLIERS_FIELDS)
        return hl_err_set(HL_E_SHAPE, "seen must have %d numbers", HL_OUTLIERS_FIELDS);
    hl_out_like(c, 0, X);
    hl_out_like(c, 1, W);
    return HL_OK;
}

static size_t scratch_vector_quant(const hl_call *c, int n_workers)
{
    return (size_t)c->in[W].dim[1] * (size_t)n_workers * sizeof(float);
}

typedef struct vector_job {
    int64_t k;
    const float *x;
    float *y;
    float *most;     /* of columns: [k] per worker, then the first [k] for all */
    float threshold; /* columns that reach it are outliers */
    float int_max;
} vector_job;

static void column_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const vector_job *j = arg;
    float *most = j->most + (int64_t)worker * j->k;
    for (int64_t t = begin; t < end; t++)
        for (int64_t c = 0; c < j->k; c++) {
            const float a = fabsf(j->x[t * j->k + c]);
            most[c] = a > most[c] ? a : most[c];
        }
}

/* Largest |x| of each column into j->most; how many are outliers. */
static int64_t find_outliers(const hl_op_run *r, vector_job *j, int64_t rows)
{
    const int n_workers = r->exec->team ? r->exec->team->n : 1;
    memset(j->most, 0, scratch_vector_quant(r->call, n_workers));
    hl_parallel(r->exec, rows, 1, 1 + HL_GRAIN / (j->k + 1), column_part, j);
    int64_t n = 0;
    for (int64_t c = 0; c < j->k; c++) {
        for (int w = 1; w < n_workers; w++)
            j->most[c] = fmaxf(j->most[c], j->most[w * j->k + c]);
        n += j->most[c] >= j->threshold;
    }
    return n;
}

static void row_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const vector_job *j = arg;
    const hl_small_float half = hl_float_f16();
    (void)worker;
    for (int64_t t = begin; t < end; t++) {
        const float *x = j->x + t * j->k;
        float *y = j->y + t * j->k, amax = 0;
        for (int64_t c = 0; c < j->k; c++) {
            const float a = j->most[c] >= j->threshold ? 0 : fabsf(x[c]);
            amax = a > amax ? a : amax;
        }
        const hl_quant_grid g = {.scale = fmaxf(amax / j->int_max, (float)HL_QUANT_EPS),
                                 .r_min = -j->int_max,
                                 .r_max = j->int_max};
        hl_cpu()->fake_quant(g, j->k, x, y);
        for (int64_t c = 0; c < j->k; c++)
            if (j->most[c] >= j->threshold)
                y[c] = hl_float_round(half, x[c]);
    }
}

static void count_outliers(const hl_op_run *r, int64_t n)
{
    double *seen = (double *)(uintptr_t)r->in[SEEN]; /* a state: writable */
    seen[HL_OUTLIERS_BATCHES]++;
    seen[HL_OUTLIERS_SUM] += (double)n;
    seen[HL_OUTLIERS_MOST] = fmax(seen[HL_OUTLIERS_MOST], (double)n);
}

static float int_max_of(const hl_call *c, int attr)
{
    return (float)((1 << (c->attrs.v[attr].i - 1)) - 1);
}

static hl_status cpu_vector_quant(const hl_op_run *r)
{
    const hl_call *c = r->call;
    const int64_t k = c->in[W].dim[1], rows = hl_type_rows(&c->in[X], c->in[X].rank - 1);
    vector_job j = {.k = k,
                    .x = hl_in_f(r, X),
                    .y = hl_out_f(r, 0),
                    .most = r->scratch,
                    .threshold = (float)c->attrs.v[THRESHOLD].f,
                    .int_max = int_max_of(c, BITS)};
    count_outliers(r, find_outliers(r, &j, rows));
    hl_parallel(r->exec, rows, 1, 1 + HL_GRAIN / (k + 1), row_part, &j);
    j.x = hl_in_f(r, W);
    j.y = hl_out_f(r, 1);
    j.int_max = int_max_of(c, W_BITS);
    hl_parallel(r->exec, c->in[W].dim[0], 1, 1 + HL_GRAIN / (k + 1), row_part, &j);
    return HL_OK;
}

static hl_status gpu_vector_quant(const hl_op_run *r)
{
    const hl_gpu_backend *b = hl_gpu_get();
    const hl_call *c = r->call;
    const int64_t k = c->in[W].dim[1], rows = hl_type_rows(&c->in[X], c->in[X].rank - 1);
    const float threshold = (float)c->attrs.v[THRESHOLD].f;
    float *most = r->scratch;
    b->column_most(r->exec->gpu, rows, k, hl_in_f(r, X), threshold, most,
                   (double *)(uintptr_t)r->in[SEEN]);
    b->vector_quant(r->exec->gpu, rows, k, hl_in_f(r, X), most, threshold, int_max_of(c, BITS),
                    hl_out_f(r, 0));
    b->vector_quant(r->exec->gpu, c->in[W].dim[0], k, hl_in_f(r, W), most, threshold,
                    int_max_of(c, W_BITS), hl_out_f(r, 1));
    return HL_OK;
}

static size_t gpu_scratch_vector_quant(const hl_call *c)
{
    return (size_t)c->in[W].dim[1] * sizeof(float) + 64;
}

/* The nearest number of binary16, found by its fraction's steps. */
static double half_of(double x)
{
    if (!isfinite(x) || x == 0)
        return x;
    const int e = ilogb(x) < -14 ? -14 : ilogb(x);
    const double y = ldexp(nearbyint(ldexp(x, 10 - e)), e - 10);
    return fmax(-65504, fmin(65504, y));
}

/* Codes are defined on floats: the numbers are rounded to float on the way. */
static void ref_rows(int64_t rows, int64_t k, const double *x, const bool *is_outlier,
                     float int_max, double *y)
{
    for (int64_t t = 0; t < rows; t++, x += k, y += k) {
        float s = 0;
        for (int64_t c = 0; c < k; c++)
            if (!is_outlier[c] && fabs(x[c]) > (double)s)
                s = (float)fabs(x[c]);
        s = fmaxf(s / int_max, (float)HL_QUANT_EPS);
        for (int64_t c = 0; c < k; c++) {
            const float q = rintf((float)x[c] / s); /* |q| <= int_max: s is of the largest */
            y[c] = is_outlier[c] ? half_of((double)(float)x[c]) : (double)(s * q);
        }
    }
}

static hl_status ref_vector_quant(const hl_op_run *r)
{
    const hl_call *c = r->call;
    const int64_t k = c->in[W].dim[1], rows = hl_type_rows(&c->in[X], c->in[X].rank - 1);
    bool *is_outlier = hl_alloc_zero((size_t)k + 1, sizeof *is_outlier);
    int64_t n = 0;
    if (!is_outlier)
        return HL_E_NOMEM;
    for (int64_t col = 0; col < k; col++) {
        is_outlier[col] = c->attrs.v[THRESHOLD].f <= 0;
        for (int64_t t = 0; t < rows; t++)
            is_outlier[col] |=
                (float)fabs(hl_in_d(r, X)[t * k + col]) >= (float)c->attrs.v[THRESHOLD].f;
        n += is_outlier[col];
    }
    count_outliers(r, n);
    ref_rows(rows, k, hl_in_d(r, X), is_outlier, int_max_of(c, BITS), hl_out_d(r, 0));
    ref_rows(c->in[W].dim[0], k, hl_in_d(r, W), is_outlier, int_max_of(c, W_BITS), hl_out_d(r, 1));
    hl_free(is_outlier);
    return HL_OK;
}

static bool mutates_seen(const hl_call *c, int input)
{
    (void)c;
    return input == SEEN;
}

#define SEEN_IN                                                                                    \
    {                                                                                              \
        HL_DTYPE_F64, 1, {HL_OUTLIERS_FIELDS}, HL_FILL_CONST, 0, 0, 0                              \
    }
static const hl_case cases_vector_quant[] = {
    {.what = "some outliers",
     HL_INS(HL_NORMAL(9, 40), HL_NORMAL(7, 40), SEEN_IN),
     .attr = {8, 8, 2.2},
     .attr_given = 7},
    {.what = "none", HL_INS(HL_NORMAL(2, 5, 33), HL_NORMAL(6, 33), SEEN_IN)},
    {.what = "nothing but outliers",
     HL_INS(HL_NORMAL(9, 17), HL_NORMAL(7, 17), SEEN_IN),
     .attr = {8, 8, 0},
     .attr_given = 7},
    {.what = "4 and 6 bits",
     HL_INS(HL_NORMAL(9, 17), HL_NORMAL(7, 17), SEEN_IN),
     .attr = {4, 6, 2.5},
     .attr_given = 7},
    {.what = "many rows",
     HL_INS(HL_NORMAL(700, 65), HL_NORMAL(33, 65), SEEN_IN),
     .attr = {8, 8, 3.2},
     .attr_given = 7},
    {.what = "zeros", HL_INS(HL_RANGE(0, 0, 3, 9), HL_RANGE(0, 0, 2, 9), SEEN_IN)},
    {.what = "a vector", HL_INS(HL_NORMAL(9), HL_NORMAL(2, 9), SEEN_IN)},
    {.what = "no rows", HL_INS(HL_NORMAL(0, 9), HL_NORMAL(2, 9), SEEN_IN)},
    {.what = "features differ",
     HL_INS(HL_NORMAL(9, 17), HL_NORMAL(7, 16), SEEN_IN),
     .expect = HL_E_SHAPE},
    {.what = "counts of two",
     HL_INS(HL_NORMAL(9, 17), HL_NORMAL(7, 17), {HL_DTYPE_F64, 1, {2}, HL_FILL_CONST, 0, 0, 0}),
     .expect = HL_E_SHAPE},
    {.what = "1 bit",
     HL_INS(HL_NORMAL(9, 17), HL_NORMAL(7, 17), SEEN_IN),
     .attr = {1},
     .attr_given = 1,
     .expect = HL_E_ARG},
};
const hl_op hl_op_vector_quant = {
    .name = "vector_quant",
    .doc = "x {.., K} and w {N, K} as LLM.int8 multiplies them: columns of x that reach the "
           "threshold, and the same of w, in half precision, each row of the rest on a symmetric "
           "grid of its own; the state `seen` {3} counts calls, outlier columns and the most of "
           "one call (arXiv 2208.07339)",
    .ins = "x w seen",
    .outs = "x_q w_q",
    .attr = {{"bits", HL_ATTR_INT, 8, 2, 16, NULL},
             {"w_bits", HL_ATTR_INT, 8, 2, 16, NULL},
             {"threshold", HL_ATTR_REAL, 6, 0, 0, NULL}},
    .flags = HL_OP_EFFECT | HL_OP_NO_LUA | HL_OP_MIXED,
    .shape = shape_vector_quant,
    .ref = ref_vector_quant,
    .cpu = cpu_vector_quant,
    .gpu = gpu_vector_quant,
    .gpu_scratch = gpu_scratch_vector_quant,
    .scratch = scratch_vector_quant,
    .mutates = mutates_seen,
    HL_CASES(cases_vector_quant)};
