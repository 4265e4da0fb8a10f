/* Statistics of a watched activation: what taps compile to. One pass over the numbers while they are
 * in cache; results in double whatever the program's precision. */
#include "engine/ops/op_common.h"

enum { FIELDS = 8 }; /* n, n_bad, mean, m2, m3, m4, min, max */

static hl_status shape_moments(hl_call *c)
{
    hl_status st = hl_want_float(c, 0);
    if (st != HL_OK)
        return st;
    int64_t axes = c->attrs.v[0].i;
    if (axes > c->in[0].rank)
        return hl_err_set(HL_E_ARG, "%lld leading dimensions of %d", (long long)axes,
                          c->in[0].rank);
    int64_t rows[2] = {hl_type_rows(&c->in[0], (int)axes), FIELDS}, bins[1] = {HL_MOMENT_BINS};
    c->out[0] = hl_type_make(HL_DTYPE_F64, 2, rows);
    c->n_out = 1;
    if (c->attrs.v[1].i) {
        c->out[1] = hl_type_make(HL_DTYPE_F64, 1, bins);
        c->n_out = 2;
    }
    return HL_OK;
}

static void put_row(double *out, const hl_moments *m)
{
    const double v[FIELDS] = {m->n, m->n_bad, m->mean, m->m2, m->m3, m->m4, m->min, m->max};
    memcpy(out, v, sizeof v);
}

typedef struct moments_job {
    const float *x;
    int64_t n;
    double *rows, *bins; /* bins: HL_MOMENT_BINS per worker, or NULL */
} moments_job;

static void moments_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const moments_job *j = arg;
    for (int64_t r = begin; r < end; r++) {
        hl_moments m;
        hl_cpu()->moments(j->n, j->x + r * j->n, &m,
                          j->bins ? j->bins + HL_MOMENT_BINS * worker : NULL);
        put_row(j->rows + r * FIELDS, &m);
    }
}

static size_t scratch_moments(const hl_call *c, int n_workers)
{
    return c->n_out > 1 ? (size_t)n_workers * HL_MOMENT_BINS * sizeof(double) : 0;
}

static hl_status cpu_moments(const hl_op_run *r)
{
    const int64_t rows = r->call->out[0].dim[0];
    const int n_workers = r->exec->team ? r->exec->team->n : 1;
    moments_job j = {.x = hl_in_f(r, 0), .rows = r->out[0],
                     .n = rows ? hl_type_count(&r->call->in[0]) / rows : 0,
                     .bins = r->call->n_out > 1 ? r->scratch : NULL};
    if (j.bins)
        memset(j.bins, 0, scratch_moments(r->call, n_workers));
    hl_parallel(r->exec, rows, 1, j.n ? HL_GRAIN / j.n + 1 : 1, moments_part, &j);
    double *bins = r->call->n_out > 1 ? r->out[1] : NULL;
    for (int b = 0; bins && b < HL_MOMENT_BINS; b++) {
        bins[b] = 0;
        for (int w = 0; w < n_workers; w++)
            bins[b] += j.bins[w * HL_MOMENT_BINS + b];
    }
    return HL_OK;
}

static hl_status gpu_moments(const hl_op_run *r)
{
    const int64_t rows = r->call->out[0].dim[0];
    hl_gpu_get()->moments(r->exec->gpu, rows, rows ? hl_type_count(&r->call->in[0]) / rows : 0,
                          hl_in_f(r, 0), r->out[0], r->call->n_out > 1 ? r->out[1] : NULL, r->scratch);
    return HL_OK;
}

static size_t gpu_scratch_moments(const hl_call *c)
{
    const int64_t rows = c->out[0].dim[0];
    return hl_gpu_moment_scratch(rows, rows ? hl_type_count(&c->in[0]) / rows : 0, c->n_out > 1) *
           sizeof(double);
}

static int ref_bin(double x)
{
    int k = x == 0 ? 0 : ilogb(x) + 20;
    k = k < 0 ? 0 : k > 31 ? 31 : k;
    return x < 0 ? 31 - k : 32 + k;
}

static hl_status ref_moments(const hl_op_run *r)
{
    const int64_t rows = r->call->out[0].dim[0];
    const int64_t n = rows ? hl_type_count(&r->call->in[0]) / rows : 0;
    double *bins = r->call->n_out > 1 ? r->out[1] : NULL;
    if (bins)
        memset(bins, 0, HL_MOMENT_BINS * sizeof *bins);
    for (int64_t i = 0; i < rows; i++) {
        const double *x = hl_in_d(r, 0) + i * n;
        hl_moments m = {.min = HUGE_VAL, .max = -HUGE_VAL};
        for (int64_t k = 0; k < n; k++) {
            if (!isfinite(x[k])) {
                m.n_bad++;
                continue;
            }
            m.n++;
            m.mean += x[k];
            m.min = x[k] < m.min ? x[k] : m.min;
            m.max = x[k] > m.max ? x[k] : m.max;
            if (bins)
                bins[ref_bin(x[k])]++;
        }
        m.mean = m.n > 0 ? m.mean / m.n : 0;
        for (int64_t k = 0; k < n; k++) {
            double d = isfinite(x[k]) ? x[k] - m.mean : 0;
            m.m2 += d * d;
            m.m3 += d * d * d;
            m.m4 += d * d * d * d;
        }
        put_row((double *)r->out[0] + i * FIELDS, &m);
    }
    return HL_OK;
}

static const hl_case cases_moments[] = {
    {.what = "sequences", HL_INS(HL_NORMAL(3, 33, 97)), .attr = {1, 1}, .attr_given = 3},
    {.what = "tokens", HL_INS(HL_NORMAL(3, 7, 64)), .attr = {2, 0}, .attr_given = 3},
    {.what = "everything", HL_INS(HL_RANGE(5, 6, 2049)), .attr = {0, 1}, .attr_given = 3},
    {.what = "wide range", HL_INS(HL_RANGE(-3e4, 3e4, 4, 500)), .attr = {1, 1}, .attr_given = 3},
    {.what = "large", HL_INS(HL_RANGE(-1e12, 1e12, 4, 1500)), .attr = {1, 1}, .attr_given = 3},
    {.what = "small", HL_INS(HL_RANGE(-1e-12, 1e-12, 4, 1500)), .attr = {1, 1}, .attr_given = 3},
    {.what = "empty rows", HL_INS(HL_NORMAL(3, 0)), .attr = {1, 1}, .attr_given = 3},
    {.what = "too many dimensions", HL_INS(HL_NORMAL(3, 4)), .attr = {3, 1}, .attr_given = 3,
     .expect = HL_E_ARG},
};
const hl_op hl_op_moments = {
    .name = "moments",
    .doc = "per row (the given number of leading dimensions makes the rows): finite count, non-finite "
           "count, mean, central sums of powers 2 to 4, min, max; and with bins a histogram over all "
           "with edges 0 and +-2^k, k = -19..11",
    .ins = "x", .outs = "rows bins",
    .attr = {{"leading", HL_ATTR_INT, 1, 0, 6, NULL}, {"bins", HL_ATTR_BOOL, 1, 0, 0, NULL}},
    .shape = shape_moments, .ref = ref_moments, .cpu = cpu_moments, .gpu = gpu_moments,
    .gpu_scratch = gpu_scratch_moments, .scratch = scratch_moments,
    HL_CASES(cases_moments), .tol = 4096};
