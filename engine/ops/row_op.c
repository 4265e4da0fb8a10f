/* Operations on rows (the last dimension): attention normalisers, layer normalisation alone and
 * behind a residual, dropout. */
#include "engine/ops/normalise_ref.h"
#include "engine/ops/op_common.h"


/* Last dimension and the number of rows of a call's first input. */
static int64_t cols_of(const hl_call *c)
{
    return c->in[0].dim[c->in[0].rank - 1];
}
static int64_t rows_of(const hl_call *c)
{
    return hl_type_rows(&c->in[0], c->in[0].rank - 1);
}

static int64_t row_grain(int64_t cols)
{
    return cols ? HL_GRAIN / cols + 1 : 1;
}

/* --- normalise --- */

static hl_normaliser normaliser_of(const hl_attrs *a, double alpha)
{
    return (hl_normaliser){.base = (hl_normaliser_base)a->v[0].i, .gamma = (float)a->v[1].f,
                           .eta = (float)a->v[2].f, .alpha = alpha};
}

#define NORMALISER_ATTRS                                                                           \
    {"base", HL_ATTR_ENUM, 0, 0, 0, hl_normaliser_names}, {"gamma", HL_ATTR_REAL, 0, -1e6, 0, NULL},        \
    {                                                                                              \
        "eta", HL_ATTR_REAL, 1, 1, 1e6, NULL                                                       \
    }

static hl_status shape_normalise(hl_call *c)
{
    hl_status st = hl_want_float(c, 0);
    if (st == HL_OK)
        st = hl_want_rank(c, 0, 1, HL_MAX_RANK);
    if (st == HL_OK)
        st = hl_want_alpha(c, 1, c->attrs.v[0].i);
    if (st != HL_OK)
        return st;
    hl_out_like(c, 0, 0);
    hl_out_like(c, 1, 0);
    c->out[1].dim[c->out[1].rank - 1] = 2;
    return HL_OK;
}

typedef struct norm_job {
    hl_normaliser f;
    int64_t n;
    const float *x, *stat_in, *g;
    float *y, *stat;
    double *galpha; /* one per worker; NULL: not wanted */
} norm_job;

static void normalise_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const norm_job *j = arg;
    for (int64_t r = begin; r < end; r++)
        hl_cpu()->normalise_row(j->f, j->n, j->x + r * j->n, j->y + r * j->n, j->stat + 2 * r);
}

static hl_status cpu_normalise(const hl_op_run *r)
{
    norm_job j = {.f = normaliser_of(&r->call->attrs, hl_alpha_f32(r, 1)),
                  .n = cols_of(r->call), .x = hl_in_f(r, 0), .y = hl_out_f(r, 0), .stat = hl_out_f(r, 1)};
    hl_parallel(r->exec, rows_of(r->call), 1, row_grain(j.n), normalise_part, &j);
    return HL_OK;
}

static hl_status gpu_normalise(const hl_op_run *r)
{
    hl_gpu_get()->normalise(r->exec->gpu, normaliser_of(&r->call->attrs, 0), hl_gpu_alpha(r, 1),
                            rows_of(r->call), cols_of(r->call), hl_in_f(r, 0), hl_out_f(r, 0),
                            hl_out_f(r, 1));
    return HL_OK;
}

static hl_status ref_normalise(const hl_op_run *r)
{
    const int64_t n = cols_of(r->call), rows = rows_of(r->call);
    for (int64_t i = 0; i < rows; i++)
        if (!hl_ref_normalise(normaliser_of(&r->call->attrs, hl_alpha_f64(r, 1)), n,
                              hl_in_d(r, 0) + i * n, hl_out_d(r, 0) + i * n, hl_out_d(r, 1) + 2 * i))
            return HL_E_NOMEM;
    return HL_OK;
}

static hl_status vjp_normalise(hl_vjp *v)
{
    hl_id in[4] = {v->grad_out[0], v->in[0], v->out[1], v->n_in > 1 ? v->in[1] : HL_NONE};
    if (v->grad_out[1] != HL_NONE)
        return hl_err_set(HL_E_UNSUPPORTED, "stat has no derivative");
    if (in[0] == HL_NONE)
        return v->g->status;
    v->grad_in[0] = hl_graph_append(v->g, hl_op_get(HL_OP_ID_normalise_vjp), in, 4, v->attrs);
    if (in[3] != HL_NONE && v->grad_in[0] != HL_NONE)
        v->grad_in[1] = v->grad_in[0] + 1;
    return v->g->status;
}

#define NORMALISE_CASES(b)                                                                         \
    {.what = "rows", HL_INS(HL_NORMAL(5, 33)), .attr = {b}, .attr_given = 1},                      \
        {.what = "wide", HL_INS(HL_RANGE(-20, 20, 3, 1025)), .attr = {b}, .attr_given = 1},        \
        {.what = "one key", HL_INS(HL_NORMAL(4, 1)), .attr = {b}, .attr_given = 1},                \
        {.what = "equal scores", HL_INS(HL_SCALAR(0)), .expect = HL_E_SHAPE},                      \
        {.what = "clipped", HL_INS(HL_NORMAL(2, 3, 31)), .attr = {b, -0.03, 1.02},                 \
         .attr_given = 7},                                                                         \
        {.what = "large", HL_INS(HL_RANGE(-1e4, 1e4, 3, 32)), .attr = {b}, .attr_given = 1}
static const hl_case cases_normalise[] = {
    NORMALISE_CASES(HL_NORM_SOFTMAX),
    NORMALISE_CASES(HL_NORM_SOFTMAX1),
    NORMALISE_CASES(HL_NORM_ENTMAX15),
    NORMALISE_CASES(HL_NORM_SPARSEMAX),
#define ENTMAX(alpha, ...)                                                                         \
    HL_INS(__VA_ARGS__, {HL_DTYPE_F32, 1, {1}, HL_FILL_CONST, alpha, alpha, 0}),                   \
        .attr = {HL_NORM_ENTMAX, -0.05, 1.02}
    {.what = "alpha 1.02", ENTMAX(1.02, HL_NORMAL(4, 7)), .attr_given = 1},
    {.what = "alpha 1.5", ENTMAX(1.5, HL_NORMAL(5, 33)), .attr_given = 1},
    {.what = "alpha 1.5, wide", ENTMAX(1.5, HL_RANGE(-3, 3, 3, 1025)), .attr_given = 1},
    {.what = "alpha 1.5, large", ENTMAX(1.5, HL_RANGE(-1e4, 1e4, 3, 32)), .attr_given = 1},
    {.what = "alpha 2", ENTMAX(2, HL_NORMAL(2, 3, 31)), .attr_given = 1},
    {.what = "alpha 2.9", ENTMAX(2.9, HL_NORMAL(4, 7)), .attr_given = 1},
    {.what = "alpha 1.3, clipped", ENTMAX(1.3, HL_NORMAL(4, 7)), .attr_given = 7},
    {.what = "alpha 1.3, one key", ENTMAX(1.3, HL_NORMAL(4, 1)), .attr_given = 1},
    {.what = "entmax without alpha", HL_INS(HL_NORMAL(3, 4)), .attr = {HL_NORM_ENTMAX},
     .attr_given = 1, .expect = HL_E_ARG},
    {.what = "alpha of softmax", HL_INS(HL_NORMAL(3, 4), HL_POSITIVE(1)), .expect = HL_E_ARG},
    {.what = "two alphas", HL_INS(HL_NORMAL(3, 4), HL_POSITIVE(2)), .attr = {HL_NORM_ENTMAX},
     .attr_given = 1, .expect = HL_E_SHAPE},
    {.what = "no keys", HL_INS(HL_NORMAL(3, 0))},
    {.what = "gamma above 0", HL_INS(HL_NORMAL(3, 4)), .attr = {0, 0.1}, .attr_given = 3,
     .expect = HL_E_ARG},
    {.what = "eta below 1", HL_INS(HL_NORMAL(3, 4)), .attr = {0, 0, 0.9}, .attr_given = 7,
     .expect = HL_E_ARG},
};
const hl_op hl_op_normalise = {
    .name = "normalise",
    .doc = "attention weights of rows of scores: softmax, softmax1 (one extra logit 0, arXiv "
           "2404.03828), entmax15 (1905.05702), sparsemax (1602.02068) or entmax of the tensor alpha, "
           "one number in (1, 8], which gets a gradient (1905.05702 eq. 2), then clipped to "
           "clip((eta - gamma) p + gamma, 0, 1) (2306.12929); a score of -inf is a forbidden key. "
           "stat holds what turns a score back into its weight",
    .ins = "x alpha?", .outs = "y stat", .attr = {NORMALISER_ATTRS}, .shape = shape_normalise,
    .ref = ref_normalise, .cpu = cpu_normalise, .gpu = gpu_normalise, .vjp = vjp_normalise, .no_second = true,
    HL_CASES(cases_normalise)};

static hl_status shape_normalise_vjp(hl_call *c)
{
    if (!hl_type_equal(&c->in[0], &c->in[1]))
        return hl_err_set(HL_E_SHAPE, "cotangent and scores differ");
    hl_out_like(c, 0, 0);
    if (hl_has_input(c, 3))
        hl_out_like(c, 1, 3);
    return hl_want_rank(c, 0, 1, HL_MAX_RANK);
}

static void normalise_vjp_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const norm_job *j = arg;
    for (int64_t r = begin; r < end; r++)
        hl_cpu()->normalise_row_vjp(j->f, j->n, j->x + r * j->n, j->stat_in + 2 * r,
                                    j->g + r * j->n, j->y + r * j->n,
                                    j->galpha ? j->galpha + worker : NULL);
}

static size_t scratch_normalise_vjp(const hl_call *c, int n_workers)
{
    return hl_has_input(c, 3) ? (size_t)n_workers * sizeof(double) : 0;
}

static hl_status cpu_normalise_vjp(const hl_op_run *r)
{
    const int n_workers = r->exec->team ? r->exec->team->n : 1;
    norm_job j = {.f = normaliser_of(&r->call->attrs, hl_alpha_f32(r, 3)),
                  .n = cols_of(r->call), .g = hl_in_f(r, 0), .x = hl_in_f(r, 1),
                  .stat_in = hl_in_f(r, 2), .y = hl_out_f(r, 0)};
    if (hl_has_input(r->call, 3)) {
        j.galpha = r->scratch;
        memset(j.galpha, 0, (size_t)n_workers * sizeof *j.galpha);
    }
    hl_parallel(r->exec, rows_of(r->call), 1, row_grain(j.n), normalise_vjp_part, &j);
    double sum = 0;
    for (int w = 0; j.galpha && w < n_workers; w++)
        sum += j.galpha[w];
    if (j.galpha)
        *hl_out_f(r, 1) = (float)sum;
    return HL_OK;
}

static hl_status gpu_normalise_vjp(const hl_op_run *r)
{
    float *galpha = hl_has_input(r->call, 3) ? hl_out_f(r, 1) : NULL;
    hl_gpu_get()->normalise_vjp(r->exec->gpu, normaliser_of(&r->call->attrs, 0), hl_gpu_alpha(r, 3),
                                rows_of(r->call), cols_of(r->call), hl_in_f(r, 1), hl_in_f(r, 2),
                                hl_in_f(r, 0), hl_out_f(r, 0), galpha, r->scratch);
    return HL_OK;
}

static size_t gpu_scratch_normalise_vjp(const hl_call *c)
{
    return hl_has_input(c, 3) ? (size_t)rows_of(c) * sizeof(double) : 0;
}

static hl_status ref_normalise_vjp(const hl_op_run *r)
{
    const int64_t n = cols_of(r->call), rows = rows_of(r->call);
    double galpha = 0;
    for (int64_t i = 0; i < rows; i++)
        if (!hl_ref_normalise_vjp(normaliser_of(&r->call->attrs, hl_alpha_f64(r, 3)), n,
                                  hl_in_d(r, 1) + i * n, hl_in_d(r, 0) + i * n,
                                  hl_out_d(r, 0) + i * n, &galpha))
            return HL_E_NOMEM;
    if (hl_has_input(r->call, 3))
        *hl_out_d(r, 1) = galpha;
    return HL_OK;
}

/* Its stat input must come from normalise: the suite reaches it through normalise's gradients. */
const hl_op hl_op_normalise_vjp = {
    .name = "normalise_vjp", .doc = "gradients of normalise from the cotangent, the scores and stat",
    .ins = "g x stat alpha?", .outs = "gx galpha", .attr = {NORMALISER_ATTRS}, .flags = HL_OP_NO_LUA,
    .inplace = 1, .shape = shape_normalise_vjp, .ref = ref_normalise_vjp,
    .cpu = cpu_normalise_vjp, .gpu = gpu_normalise_vjp,
    .gpu_scratch = gpu_scratch_normalise_vjp, .scratch = scratch_normalise_vjp};

/* --- layernorm --- */

static hl_status shape_layernorm(hl_call *c)
{
    const hl_type *x = &c->in[0];
    hl_status st = hl_want_float(c, 0);
    if (st == HL_OK)
        st = hl_want_rank(c, 0, 1, HL_MAX_RANK);
    if (st != HL_OK)
        return st;
    for (int i = 1; i < 3 && st == HL_OK; i++)
        st = hl_want_dtype(c, i, x->dtype);
    if (st != HL_OK)
        return st;
    for (int i = 1; i < 3; i++)
        if (c->in[i].rank != 1 || c->in[i].dim[0] != cols_of(c))
            return hl_err_set(HL_E_SHAPE, "gamma and beta must have %lld elements",
                              (long long)cols_of(c));
    if (cols_of(c) == 0)
        return hl_err_set(HL_E_SHAPE, "nothing to normalise: the last dimension is empty");
    hl_out_like(c, 0, 0);
    for (int i = 1; i < 3; i++) {
        c->out[i] = *x;
        c->out[i].rank--;
    }
    c->n_out = 3;
    return HL_OK;
}

typedef struct ln_job {
    int64_t n;
    float eps, p;
    hl_philox_key key;
    const float *x, *a, *gamma, *beta, *g, *mean_in, *rstd_in, *extra;
    float *sum, *y, *mean, *rstd, *partial;
} ln_job;

static void layernorm_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const ln_job *j = arg;
    const int64_t at = begin * j->n;
    hl_cpu()->layernorm(end - begin, j->n, j->x + at, j->gamma, j->beta, j->eps, j->y + at,
                        j->mean + begin, j->rstd + begin);
}

static hl_status cpu_layernorm(const hl_op_run *r)
{
    ln_job j = {.n = cols_of(r->call), .eps = (float)r->call->attrs.v[0].f, .x = hl_in_f(r, 0),
                .gamma = hl_in_f(r, 1), .beta = hl_in_f(r, 2), .y = hl_out_f(r, 0),
                .mean = hl_out_f(r, 1), .rstd = hl_out_f(r, 2)};
    hl_parallel(r->exec, rows_of(r->call), 1, row_grain(j.n), layernorm_part, &j);
    return HL_OK;
}

static hl_status gpu_layernorm(const hl_op_run *r)
{
    hl_gpu_get()->layernorm(r->exec->gpu, rows_of(r->call), cols_of(r->call), hl_in_f(r, 0), hl_in_f(r, 1),
                            hl_in_f(r, 2), (float)r->call->attrs.v[0].f, hl_out_f(r, 0), hl_out_f(r, 1),
                            hl_out_f(r, 2));
    return HL_OK;
}

/* One row: in = x, gamma, beta; out = y, mean, rstd. */
static void ref_layernorm_row(int64_t n, double eps, const double *const in[3], double *const out[3])
{
    const double *x = in[0];
    double mean = 0, var = 0;
    for (int64_t i = 0; i < n; i++)
        mean += x[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        var += (x[i] - mean) * (x[i] - mean) / (double)n;
    const double rstd = 1 / sqrt(var + eps);
    for (int64_t i = 0; i < n; i++)
        out[0][i] = (x[i] - mean) * rstd * in[1][i] + in[2][i];
    *out[1] = mean;
    *out[2] = rstd;
}

static hl_status ref_layernorm(const hl_op_run *r)
{
    const int64_t n = cols_of(r->call), rows = rows_of(r->call);
    for (int64_t i = 0; i < rows; i++) {
        const double *const in[3] = {hl_in_d(r, 0) + i * n, hl_in_d(r, 1), hl_in_d(r, 2)};
        double *const out[3] = {hl_out_d(r, 0) + i * n, hl_out_d(r, 1) + i, hl_out_d(r, 2) + i};
        ref_layernorm_row(n, r->call->attrs.v[0].f, in, out);
    }
    return HL_OK;
}

/* gx, ggamma, gbeta; in = gy, x, gamma, mean, rstd, and what is added to gx (HL_NONE: nothing). */
static hl_id layernorm_vjp_node(hl_graph *g, const hl_id in[6])
{
    return hl_graph_append(g, hl_op_get(HL_OP_ID_layernorm_vjp), in, 6, NULL);
}

static hl_status vjp_layernorm(hl_vjp *v)
{
    if (v->grad_out[1] != HL_NONE || v->grad_out[2] != HL_NONE)
        return hl_err_set(HL_E_UNSUPPORTED, "mean and rstd have no derivative");
    if (v->grad_out[0] == HL_NONE)
        return HL_OK;
    const hl_id in[6] = {v->grad_out[0], v->in[0], v->in[1], v->out[1], v->out[2], HL_NONE};
    const hl_id gx = layernorm_vjp_node(v->g, in);
    if (gx != HL_NONE)
        for (int i = 0; i < 3; i++)
            v->grad_in[i] = gx + i;
    return v->g->status;
}

static const hl_case cases_layernorm[] = {
    {.what = "rows", HL_INS(HL_NORMAL(7, 33), HL_NORMAL(33), HL_NORMAL(33))},
    {.what = "tokens", HL_INS(HL_NORMAL(2, 5, 64), HL_NORMAL(64), HL_NORMAL(64)), .attr = {1e-12},
     .attr_given = 1},
    {.what = "two features", HL_INS(HL_NORMAL(5, 2), HL_NORMAL(2), HL_NORMAL(2))},
    {.what = "wide", HL_INS(HL_NORMAL(2, 1025), HL_NORMAL(1025), HL_NORMAL(1025))},
    {.what = "sizes differ", HL_INS(HL_NORMAL(7, 33), HL_NORMAL(32), HL_NORMAL(33)),
     .expect = HL_E_SHAPE},
    {.what = "no features", HL_INS(HL_NORMAL(7, 0), HL_NORMAL(0), HL_NORMAL(0)),
     .expect = HL_E_SHAPE},
    {.what = "gamma of integers", HL_INS(HL_NORMAL(7, 33), HL_INDEX(3, 33), HL_NORMAL(33)),
     .expect = HL_E_DTYPE},
};
const hl_op hl_op_layernorm = {
    .name = "layernorm",
    .doc = "(x - mean) / sqrt(var + eps) * gamma + beta over the last dimension, biased variance "
           "(arXiv 1607.06450); mean and rstd of each row are further outputs",
    .ins = "x gamma beta", .outs = "y mean rstd",
    .attr = {{"eps", HL_ATTR_REAL, 1e-5, 0, 1, NULL}}, .shape = shape_layernorm,
    .ref = ref_layernorm, .cpu = cpu_layernorm, .gpu = gpu_layernorm, .vjp = vjp_layernorm, .no_second = true,
    HL_CASES(cases_layernorm)};

static hl_status shape_layernorm_vjp(hl_call *c)
{
    if (!hl_type_equal(&c->in[0], &c->in[1]))
        return hl_err_set(HL_E_SHAPE, "cotangent and input differ");
    hl_out_like(c, 0, 1);
    hl_out_like(c, 1, 2);
    hl_out_like(c, 2, 2);
    return HL_OK;
}

static size_t scratch_layernorm_vjp(const hl_call *c, int n_workers)
{
    return (size_t)n_workers * 2 * (size_t)cols_of(c) * sizeof(float);
}

static void layernorm_vjp_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const ln_job *j = arg;
    const int64_t at = begin * j->n, count = (end - begin) * j->n;
    float *partial = j->partial + 2 * j->n * worker;
    hl_cpu()->layernorm_vjp(end - begin, j->n, j->g + at, j->x + at, j->gamma, j->mean_in + begin,
                            j->rstd_in + begin, j->y + at, partial, partial + j->n);
    if (j->extra)
        hl_cpu()->ew2(HL_EW2_add, HL_EW2_VV, count, j->y + at, j->extra + at, j->y + at);
}

static hl_status cpu_layernorm_vjp(const hl_op_run *r)
{
    const int64_t n = cols_of(r->call);
    const int n_workers = r->exec->team ? r->exec->team->n : 1;
    ln_job j = {.n = n, .g = hl_in_f(r, 0), .x = hl_in_f(r, 1), .gamma = hl_in_f(r, 2),
                .mean_in = hl_in_f(r, 3), .rstd_in = hl_in_f(r, 4),
                .extra = r->call->n_in > 5 ? r->in[5] : NULL,
                .y = hl_out_f(r, 0), .partial = r->scratch};
    memset(r->scratch, 0, scratch_layernorm_vjp(r->call, n_workers));
    hl_parallel(r->exec, rows_of(r->call), 1, row_grain(n), layernorm_vjp_part, &j);
    hl_cpu()->sum_cols(n_workers, n, j.partial, 2 * n, false, hl_out_f(r, 1));
    hl_cpu()->sum_cols(n_workers, n, j.partial + n, 2 * n, false, hl_out_f(r, 2));
    return HL_OK;
}

static hl_status gpu_layernorm_vjp(const hl_op_run *r)
{
    hl_gpu_get()->layernorm_vjp(r->exec->gpu, rows_of(r->call), cols_of(r->call), hl_in_f(r, 0),
                                hl_in_f(r, 1), hl_in_f(r, 2), hl_in_f(r, 3), hl_in_f(r, 4),
                                r->call->n_in > 5 ? r->in[5] : NULL, hl_out_f(r, 0), hl_out_f(r, 1),
                                hl_out_f(r, 2), r->scratch);
    return HL_OK;
}

static size_t gpu_scratch_layernorm_vjp(const hl_call *c)
{
    return HL_GPU_LAYERNORM_PARTS * 2 * (size_t)cols_of(c) * sizeof(float);
}

static hl_status ref_layernorm_vjp(const hl_op_run *r)
{
    const int64_t n = cols_of(r->call), rows = rows_of(r->call);
    const double *extra = r->call->n_in > 5 ? r->in[5] : NULL, *gamma = r->in[2];
    double *gx = r->out[0], *ggamma = r->out[1], *gbeta = r->out[2];
    memset(ggamma, 0, (size_t)n * sizeof(double));
    memset(gbeta, 0, (size_t)n * sizeof(double));
    for (int64_t i = 0; i < rows; i++) {
        const double *g = hl_in_d(r, 0) + i * n, *x = hl_in_d(r, 1) + i * n;
        const double mean = hl_in_d(r, 3)[i], rstd = hl_in_d(r, 4)[i];
        double c1 = 0, c2 = 0;
        for (int64_t k = 0; k < n; k++) {
            double xhat = (x[k] - mean) * rstd;
            c1 += g[k] * gamma[k] / (double)n;
            c2 += g[k] * gamma[k] * xhat / (double)n;
            ggamma[k] += g[k] * xhat;
            gbeta[k] += g[k];
        }
        for (int64_t k = 0; k < n; k++)
            gx[i * n + k] = rstd * (g[k] * gamma[k] - c1 - (x[k] - mean) * rstd * c2) +
                            (extra ? extra[i * n + k] : 0);
    }
    return HL_OK;
}

const hl_op hl_op_layernorm_vjp = {
    .name = "layernorm_vjp", .doc = "gradients of layernorm; extra, if given, is added to gx",
    .ins = "g x gamma mean rstd extra?", .outs = "gx ggamma gbeta", .flags = HL_OP_NO_LUA,
    .shape = shape_layernorm_vjp, .ref = ref_layernorm_vjp, .cpu = cpu_layernorm_vjp, .gpu = gpu_layernorm_vjp,
    .gpu_scratch = gpu_scratch_layernorm_vjp,
    .scratch = scratch_layernorm_vjp};

/* --- residual_norm --- */

static hl_status shape_residual_norm(hl_call *c)
{
    if (!hl_type_equal(&c->in[0], &c->in[1]))
        return hl_err_set(HL_E_SHAPE, "branch and residual differ");
    hl_call inner = *c;
    hl_type in[3] = {c->in[1], c->in[2], c->in[3]}, out[3];
    inner.in = in;
    inner.n_in = 3;
    inner.out = out;
    inner.n_out = 0;
    hl_status st = shape_layernorm(&inner);
    if (st != HL_OK)
        return st;
    c->out[0] = out[0];
    for (int i = 0; i < 3; i++)
        c->out[i + 1] = out[i];
    c->n_out = 4;
    return HL_OK;
}

static void residual_norm_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const ln_job *j = arg;
    const int64_t at = begin * j->n;
    hl_cpu()->residual_norm(end - begin, j->n, j->a + at, j->x + at, j->gamma, j->beta, j->eps,
                            j->p, j->key, (uint64_t)at, j->sum + at, j->y + at, j->mean + begin,
                            j->rstd + begin);
}

static hl_status cpu_residual_norm(const hl_op_run *r)
{
    ln_job j = {.n = cols_of(r->call), .eps = (float)r->call->attrs.v[0].f,
                .p = (float)r->call->attrs.v[1].f, .key = hl_run_key(r), .a = hl_in_f(r, 0),
                .x = hl_in_f(r, 1), .gamma = hl_in_f(r, 2), .beta = hl_in_f(r, 3),
                .sum = hl_out_f(r, 0), .y = hl_out_f(r, 1), .mean = hl_out_f(r, 2),
                .rstd = hl_out_f(r, 3)};
    hl_parallel(r->exec, rows_of(r->call), 1, row_grain(j.n), residual_norm_part, &j);
    return HL_OK;
}

static hl_status gpu_residual_norm(const hl_op_run *r)
{
    const hl_attr *a = r->call->attrs.v;
    hl_gpu_get()->residual_norm(r->exec->gpu, rows_of(r->call), cols_of(r->call), hl_in_f(r, 0),
                                hl_in_f(r, 1), hl_in_f(r, 2), hl_in_f(r, 3), (float)a[0].f, (float)a[1].f,
                                r->exec->key, r->call->stream, hl_out_f(r, 0), hl_out_f(r, 1),
                                hl_out_f(r, 2), hl_out_f(r, 3));
    return HL_OK;
}

static double dropped(double x, double p, hl_philox_key key, int64_t element)
{
    bool keep = hl_philox_u32(key, (uint64_t)element) >= hl_dropout_threshold((float)p);
    return keep ? x / (1 - p) : 0;
}

static hl_status ref_residual_norm(const hl_op_run *r)
{
    const int64_t n = cols_of(r->call), rows = rows_of(r->call);
    const double p = r->call->attrs.v[1].f;
    const hl_philox_key key = hl_run_key(r);
    for (int64_t i = 0; i < rows * n; i++)
        hl_out_d(r, 0)[i] = dropped(hl_in_d(r, 0)[i], p, key, i) + hl_in_d(r, 1)[i];
    for (int64_t i = 0; i < rows; i++) {
        const double *const in[3] = {hl_out_d(r, 0) + i * n, hl_in_d(r, 2), hl_in_d(r, 3)};
        double *const out[3] = {hl_out_d(r, 1) + i * n, hl_out_d(r, 2) + i, hl_out_d(r, 3) + i};
        ref_layernorm_row(n, r->call->attrs.v[0].f, in, out);
    }
    return HL_OK;
}

static hl_status vjp_residual_norm(hl_vjp *v)
{
    hl_graph *g = v->g;
    hl_id gsum = v->grad_out[0], gy = v->grad_out[1], total = gsum;
    if (v->grad_out[2] != HL_NONE || v->grad_out[3] != HL_NONE)
        return hl_err_set(HL_E_UNSUPPORTED, "mean and rstd have no derivative");
    if (gy != HL_NONE) {
        const hl_id in[6] = {gy, v->out[0], v->in[2], v->out[2], v->out[3], gsum};
        total = layernorm_vjp_node(g, in);
        if (total == HL_NONE)
            return g->status;
        v->grad_in[2] = total + 1;
        v->grad_in[3] = total + 2;
    }
    v->grad_in[1] = total;
    v->grad_in[0] = total;
    if (v->needed[0] && v->attrs->v[1].f > 0 && total != HL_NONE) {
        hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_dropout));
        a.v[0].f = v->attrs->v[1].f;
        v->grad_in[0] =
            hl_graph_append_stream(g, hl_op_get(HL_OP_ID_dropout), &total, 1, &a, v->stream);
    }
    return g->status;
}

static const hl_case cases_residual_norm[] = {
    {.what = "no dropout",
     HL_INS(HL_NORMAL(7, 33), HL_NORMAL(7, 33), HL_NORMAL(33), HL_NORMAL(33))},
    {.what = "dropout", HL_INS(HL_NORMAL(2, 5, 64), HL_NORMAL(2, 5, 64), HL_NORMAL(64), HL_NORMAL(64)),
     .attr = {1e-12, 0.3}, .attr_given = 3},
    {.what = "odd rows", HL_INS(HL_NORMAL(5, 31), HL_NORMAL(5, 31), HL_NORMAL(31), HL_NORMAL(31)),
     .attr = {1e-5, 0.1}, .attr_given = 3},
    {.what = "shapes differ",
     HL_INS(HL_NORMAL(7, 33), HL_NORMAL(6, 33), HL_NORMAL(33), HL_NORMAL(33)),
     .expect = HL_E_SHAPE},
    {.what = "all dropped", HL_INS(HL_NORMAL(7, 33), HL_NORMAL(7, 33), HL_NORMAL(33), HL_NORMAL(33)),
     .attr = {1e-5, 1}, .attr_given = 3, .expect = HL_E_ARG},
};
const hl_op hl_op_residual_norm = {
    .name = "residual_norm",
    .doc = "sum = x + dropout(a), y = layernorm(sum), in one pass",
    .ins = "a x gamma beta", .outs = "sum y mean rstd",
    .attr = {{"eps", HL_ATTR_REAL, 1e-5, 0, 1, NULL}, {"p", HL_ATTR_REAL, 0, 0, 0.999, NULL}},
    .flags = HL_OP_RANDOM, .shape = shape_residual_norm, .ref = ref_residual_norm,
    .cpu = cpu_residual_norm, .gpu = gpu_residual_norm, .vjp = vjp_residual_norm, .grad_outs = 3, .no_second = true,
    HL_CASES(cases_residual_norm)};

/* --- dropout --- */

static hl_status shape_dropout(hl_call *c)
{
    hl_out_like(c, 0, 0);
    return hl_want_float(c, 0);
}

typedef struct dropout_job {
    float p;
    hl_philox_key key;
    const float *x;
    float *y;
    hl_bf16 *y16; /* or this */
} dropout_job;

static void dropout_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const dropout_job *j = arg;
    if (!j->y16) {
        hl_cpu()->dropout(end - begin, j->p, j->key, (uint64_t)begin, j->x + begin, j->y + begin);
        return;
    }
    float room[512]; /* stays in L1 */
    for (int64_t at = begin; at < end; at += 512) {
        const int64_t n = end - at < 512 ? end - at : 512;
        hl_cpu()->dropout(n, j->p, j->key, (uint64_t)at, j->x + at, room);
        hl_cpu()->to_bf16(n, room, j->y16 + at);
    }
}

static hl_status cpu_dropout(const hl_op_run *r)
{
    dropout_job j = {.p = (float)r->call->attrs.v[0].f,
                     .key = hl_run_key(r),
                     .x = hl_in_f(r, 0),
                     .y = hl_out_f(r, 0),
                     .y16 = hl_out_bf16(r, 0)};
    hl_parallel(r->exec, hl_type_count(&r->call->out[0]), 64, HL_GRAIN, dropout_part, &j);
    return HL_OK;
}

static hl_status gpu_dropout(const hl_op_run *r)
{
    hl_gpu_get()->dropout(r->exec->gpu, hl_type_count(&r->call->out[0]), (float)r->call->attrs.v[0].f,
                          r->exec->key, r->call->stream, hl_in_f(r, 0), hl_out_f(r, 0));
    return HL_OK;
}

static hl_status ref_dropout(const hl_op_run *r)
{
    const int64_t n = hl_type_count(&r->call->out[0]);
    const hl_philox_key key = hl_run_key(r);
    for (int64_t i = 0; i < n; i++)
        hl_out_d(r, 0)[i] = dropped(hl_in_d(r, 0)[i], r->call->attrs.v[0].f, key, i);
    return HL_OK;
}

/* The same mask on the cotangent: the same op on the same stream. */
static hl_status vjp_dropout(hl_vjp *v)
{
    v->grad_in[0] = hl_graph_append_stream(v->g, hl_op_get(HL_OP_ID_dropout), &v->grad_out[0], 1,
                                           v->attrs, v->stream);
    return v->g->status;
}

static const hl_case cases_dropout[] = {
    {.what = "vector", HL_INS(HL_NORMAL(1025)), .attr = {0.1}, .attr_given = 1},
    {.what = "matrix", HL_INS(HL_NORMAL(31, 33)), .attr = {0.5}, .attr_given = 1},
    {.what = "none dropped", HL_INS(HL_NORMAL(33)), .attr = {0}, .attr_given = 1},
    {.what = "all dropped", HL_INS(HL_NORMAL(33)), .attr = {1}, .attr_given = 1,
     .expect = HL_E_ARG},
};
const hl_op hl_op_dropout = {.name = "dropout",
                             .doc = "each element 0 with probability p, else divided by 1 - p",
                             .ins = "x",
                             .outs = "y",
                             .attr = {{"p", HL_ATTR_REAL, 0.1, 0, 0.999, NULL}},
                             .flags = HL_OP_RANDOM | HL_OP_ELEMENTWISE,
                             .inplace = 1,
                             .half_outs = 1,
                             .shape = shape_dropout,
                             .ref = ref_dropout,
                             .cpu = cpu_dropout,
                             .gpu = gpu_dropout,
                             .vjp = vjp_dropout,
                             HL_CASES(cases_dropout)};
