/* Sums and maxima along dimensions, running sums. */
#include "engine/ops/op_common.h"
#include "kernels/vec/bf16_body.h"

/* --- sum --- */

/* Neighbouring dimensions of the same kind merged: sizes and whether they are summed. */
typedef struct groups {
    int n;
    int64_t size[HL_MAX_RANK + 1];
    bool summed[HL_MAX_RANK + 1];
} groups;

static unsigned axes_of(const hl_call *c)
{
    unsigned all = (1u << c->in[0].rank) - 1;
    return c->attrs.v[0].i == 0 ? all : (unsigned)c->attrs.v[0].i;
}

static hl_status shape_sum(hl_call *c)
{
    const hl_type *x = &c->in[0];
    hl_status st = hl_want_float(c, 0);
    if (st != HL_OK)
        return st;
    unsigned axes = axes_of(c);
    if (axes >> x->rank)
        return hl_err_set(HL_E_ARG, "no such dimension among %d", x->rank);
    hl_type *out = &c->out[0];
    *out = (hl_type){.dtype = x->dtype};
    for (int i = 0; i < x->rank; i++) {
        bool gone = axes >> i & 1;
        if (!gone || c->attrs.v[1].i)
            out->dim[out->rank++] = gone ? 1 : x->dim[i];
    }
    c->n_out = 1;
    return HL_OK;
}

static groups groups_of(const hl_call *c)
{
    groups g = {0};
    unsigned axes = axes_of(c);
    for (int i = 0; i < c->in[0].rank; i++) {
        bool summed = axes >> i & 1;
        if (c->in[0].dim[i] == 1)
            continue;
        if (g.n && g.summed[g.n - 1] == summed) {
            g.size[g.n - 1] *= c->in[0].dim[i];
        } else {
            g.size[g.n] = c->in[0].dim[i];
            g.summed[g.n++] = summed;
        }
    }
    if (g.n == 0) {
        g.n = 1;
        g.size[0] = 1;
    }
    return g;
}

typedef struct sum_job {
    const float *x;
    const hl_bf16 *x16; /* or this */
    float *y;
    int64_t before, summed, after; /* x is [before, summed, after] */
} sum_job;

enum { WIDE = 4096 }; /* floats that stay in L1; what the kernel for floats adds up at a time */

static double sum_half(int64_t n, const hl_bf16 *x)
{
    float wide[WIDE];
    double total = 0;
    for (int64_t at = 0; at < n; at += WIDE) {
        const int64_t some = n - at < WIDE ? n - at : WIDE;
        double part;
        hl_cpu()->from_bf16(some, x + at, wide);
        hl_cpu()->sum(some, wide, &part);
        total += part;
    }
    return total;
}

static void sum_last(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const sum_job *j = arg;
    for (int64_t r = begin; r < end; r++) {
        double s;
        if (j->x16)
            s = sum_half(j->summed, j->x16 + r * j->summed);
        else
            hl_cpu()->sum(j->summed, j->x + r * j->summed, &s);
        j->y[r] = (float)s;
    }
}

/* Columns are cut among the workers: each column is summed by one of them, in order of rows. */
static void sum_columns(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const sum_job *j = arg;
    for (int64_t b = 0; b < j->before; b++) {
        const int64_t at = b * j->summed * j->after + begin;
        float *y = j->y + b * j->after + begin;
        if (j->x16)
            hl_cpu()->sum_cols_bf16(j->summed, end - begin, j->x16 + at, j->after, false, y);
        else
            hl_cpu()->sum_cols(j->summed, end - begin, j->x + at, j->after, false, y);
    }
}

/* Any pattern, in double; offsets are counted like an odometer. */
static double sum_at(const groups *g, int64_t out_index, const void *x, hl_dtype dtype)
{
    int64_t stride[HL_MAX_RANK + 1], base = 0, n_sum = 1, s = 1;
    for (int i = g->n - 1; i >= 0; i--) {
        stride[i] = s;
        s *= g->size[i];
    }
    for (int i = g->n - 1; i >= 0; i--) {
        if (g->summed[i]) {
            n_sum *= g->size[i];
        } else {
            base += out_index % g->size[i] * stride[i];
            out_index /= g->size[i];
        }
    }
    double total = 0;
    for (int64_t k = 0; k < n_sum; k++) {
        int64_t rest = k, at = base;
        for (int i = g->n - 1; i >= 0; i--)
            if (g->summed[i]) {
                at += rest % g->size[i] * stride[i];
                rest /= g->size[i];
            }
        total += dtype == HL_DTYPE_F64    ? ((const double *)x)[at]
                 : dtype == HL_DTYPE_BF16 ? (double)hl_from_bf16(((const hl_bf16 *)x)[at])
                                          : (double)((const float *)x)[at];
    }
    return total;
}

/* Sizes before, summed and after; false: the pattern is another one, with two or more summed parts. */
static bool as_one_sum(const groups *g, sum_job *j)
{
    int first = 0;
    while (first < g->n && !g->summed[first])
        j->before *= g->size[first++];
    if (first < g->n)
        j->summed = g->size[first];
    if (first + 1 < g->n)
        j->after = g->size[first + 1];
    return first + 2 >= g->n;
}

static hl_status cpu_sum(const hl_op_run *r)
{
    groups g = groups_of(r->call);
    sum_job j = {.x = hl_in_f(r, 0),
                 .x16 = hl_in_bf16(r, 0),
                 .y = hl_out_f(r, 0),
                 .before = 1,
                 .summed = 1,
                 .after = 1};
    const int64_t n_out = hl_type_count(&r->call->out[0]);
    const bool simple = as_one_sum(&g, &j);
    if (hl_type_count(&r->call->in[0]) == 0)
        memset(j.y, 0, (size_t)n_out * sizeof(float));
    else if (!simple)
        for (int64_t i = 0; i < n_out; i++)
            j.y[i] = (float)sum_at(&g, i, r->in[0], r->call->in[0].dtype);
    else if (j.after == 1)
        hl_parallel(r->exec, j.before, 1, HL_GRAIN / j.summed + 1, sum_last, &j);
    else
        hl_parallel(r->exec, j.after, 16, HL_GRAIN / (j.before * j.summed) + 1, sum_columns, &j);
    return HL_OK;
}

/* Two or more summed parts: the last one first, the rest of what remains then. */
static hl_status gpu_sum(const hl_op_run *r)
{
    groups g = groups_of(r->call);
    const float *x = hl_in_f(r, 0);
    float *room = r->scratch;
    if (hl_type_count(&r->call->in[0]) == 0) {
        hl_clear(r, r->out[0], hl_type_bytes(&r->call->out[0]));
        return HL_OK;
    }
    for (;;) {
        sum_job j = {.before = 1, .summed = 1, .after = 1};
        if (as_one_sum(&g, &j)) {
            hl_gpu_get()->sum(r->exec->gpu, j.before, j.summed, j.after, x, hl_out_f(r, 0));
            return HL_OK;
        }
        int last = g.n - 1;
        while (!g.summed[last])
            last--;
        j = (sum_job){.before = 1, .summed = g.size[last], .after = last + 1 < g.n ? g.size[last + 1] : 1};
        for (int i = 0; i < last; i++)
            j.before *= g.size[i];
        hl_gpu_get()->sum(r->exec->gpu, j.before, j.summed, j.after, x, room);
        x = room;
        room += j.before * j.after;
        if (last + 1 < g.n) /* what stood on both sides of it is one part now */
            g.size[last - 1] *= g.size[last + 1];
        g.n = last;
    }
}

static size_t gpu_scratch_sum(const hl_call *c)
{
    const groups g = groups_of(c);
    sum_job j = {.before = 1, .summed = 1, .after = 1};
    return as_one_sum(&g, &j) ? 0 : (size_t)hl_type_count(&c->in[0]) * sizeof(float);
}

static hl_status ref_sum(const hl_op_run *r)
{
    groups g = groups_of(r->call);
    const int64_t n = hl_type_count(&r->call->out[0]);
    for (int64_t i = 0; i < n; i++)
        hl_out_d(r, 0)[i] =
            hl_type_count(&r->call->in[0]) ? sum_at(&g, i, r->in[0], HL_DTYPE_F64) : 0;
    return HL_OK;
}

static hl_status vjp_sum(hl_vjp *v)
{
    const hl_type x = *hl_graph_type(v->g, v->in[0]);
    unsigned axes = v->attrs->v[0].i ? (unsigned)v->attrs->v[0].i : (1u << x.rank) - 1;
    hl_type kept = x;
    for (int i = 0; i < x.rank; i++)
        if (axes >> i & 1)
            kept.dim[i] = 1;
    v->grad_in[0] = hl_g_expand_like(
        v->g, hl_g_reshape(v->g, v->grad_out[0], kept.rank, kept.dim), v->in[0]);
    return v->g->status;
}

static double flops_sum(const hl_call *c)
{
    return (double)hl_type_count(&c->in[0]);
}

static const hl_case cases_sum[] = {
    {.what = "all", HL_INS(HL_NORMAL(7, 33))},
    {.what = "last", HL_INS(HL_NORMAL(7, 97)), .attr = {2}, .attr_given = 1},
    {.what = "first", HL_INS(HL_NORMAL(97, 7)), .attr = {1}, .attr_given = 1},
    {.what = "middle", HL_INS(HL_NORMAL(3, 5, 7)), .attr = {2, 1}, .attr_given = 3},
    {.what = "first and last", HL_INS(HL_NORMAL(3, 5, 7)), .attr = {5}, .attr_given = 1},
    {.what = "first two", HL_INS(HL_NORMAL(3, 5, 7)), .attr = {3}, .attr_given = 1},
    {.what = "long", HL_INS(HL_NORMAL(2, 9001)), .attr = {2}, .attr_given = 1},
    {.what = "empty", HL_INS(HL_NORMAL(0, 3)), .attr = {1}, .attr_given = 1},
    {.what = "scalar", HL_INS(HL_SCALAR(3))},
    {.what = "no such dimension", HL_INS(HL_NORMAL(3)), .attr = {4}, .attr_given = 1,
     .expect = HL_E_ARG},
};
const hl_op hl_op_sum = {
    .name = "sum",
    .doc = "sum along the given dimensions (all if none is given)",
    .ins = "x",
    .outs = "y",
    .attr = {{"axes", HL_ATTR_AXES, 0, 0, 0, NULL}, {"keep", HL_ATTR_BOOL, 0, 0, 0, NULL}},
    .half_ins = 1,
    .shape = shape_sum,
    .ref = ref_sum,
    .cpu = cpu_sum,
    .gpu = gpu_sum,
    .gpu_scratch = gpu_scratch_sum,
    .vjp = vjp_sum,
    .flops = flops_sum,
    HL_CASES(cases_sum)};

/* --- max along the last dimension --- */

static hl_status shape_max(hl_call *c)
{
    hl_status st = hl_want_float(c, 0);
    if (st == HL_OK)
        st = hl_want_rank(c, 0, 1, HL_MAX_RANK);
    if (st != HL_OK)
        return st;
    hl_out_like(c, 0, 0);
    if (c->in[0].dim[c->in[0].rank - 1] == 0)
        return hl_err_set(HL_E_SHAPE, "no largest element of an empty dimension");
    c->out[0].dim[c->in[0].rank - 1] = 1;
    return HL_OK;
}

static void max_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const sum_job *j = arg;
    for (int64_t i = begin; i < end; i++)
        hl_cpu()->max(j->summed, j->x + i * j->summed, j->y + i);
}

static hl_status cpu_max(const hl_op_run *r)
{
    const hl_type *x = &r->call->in[0];
    sum_job j = {.x = hl_in_f(r, 0), .y = hl_out_f(r, 0), .summed = x->dim[x->rank - 1]};
    hl_parallel(r->exec, hl_type_rows(x, x->rank - 1), 1, HL_GRAIN / j.summed + 1, max_rows, &j);
    return HL_OK;
}

static hl_status gpu_max(const hl_op_run *r)
{
    const hl_type *x = &r->call->in[0];
    hl_gpu_get()->max_rows(r->exec->gpu, hl_type_rows(x, x->rank - 1), x->dim[x->rank - 1], hl_in_f(r, 0),
                           hl_out_f(r, 0));
    return HL_OK;
}

static hl_status ref_max(const hl_op_run *r)
{
    const hl_type *x = &r->call->in[0];
    const int64_t n = x->dim[x->rank - 1], rows = hl_type_rows(x, x->rank - 1);
    for (int64_t i = 0; i < rows; i++) {
        const double *p = hl_in_d(r, 0) + i * n;
        double m = p[0];
        for (int64_t k = 1; k < n; k++)
            m = p[k] > m || p[k] != p[k] ? p[k] : m;
        hl_out_d(r, 0)[i] = m;
    }
    return HL_OK;
}

/* Elements equal to the largest share the gradient. */
static hl_status vjp_max(hl_vjp *v)
{
    hl_id hit = hl_g_op2(v->g, HL_OP_ID_eq, v->in[0], v->out[0]);
    int last = hl_graph_type(v->g, v->in[0])->rank - 1;
    hl_id share = hl_g_div(v->g, hit, hl_g_sum(v->g, hit, 1u << last, true));
    v->grad_in[0] = hl_g_mul(v->g, v->grad_out[0], share);
    return v->g->status;
}

static const hl_case cases_max[] = {
    {.what = "rows", HL_INS(HL_NORMAL(7, 97))},
    {.what = "vector", HL_INS(HL_NORMAL(33))},
    {.what = "column", HL_INS(HL_NORMAL(5, 1))},
    {.what = "empty", HL_INS(HL_NORMAL(5, 0)), .expect = HL_E_SHAPE},
};
const hl_op hl_op_max = {
    .name = "max", .doc = "largest element along the last dimension, which stays with size 1; NaN if "
                          "any is NaN",
    .ins = "x", .outs = "y", .shape = shape_max, .ref = ref_max, .cpu = cpu_max, .gpu = gpu_max, .vjp = vjp_max,
    .flops = flops_sum, HL_CASES(cases_max)};

/* --- running sum along the last dimension --- */

static hl_status shape_cumsum(hl_call *c)
{
    hl_status st = hl_want_float(c, 0);
    hl_out_like(c, 0, 0);
    return st != HL_OK ? st : hl_want_rank(c, 0, 1, HL_MAX_RANK);
}

static hl_status cpu_cumsum(const hl_op_run *r)
{
    const hl_type *x = &r->call->in[0];
    const int64_t n = x->dim[x->rank - 1], rows = hl_type_rows(x, x->rank - 1);
    for (int64_t i = 0; i < rows; i++) {
        double s = 0;
        for (int64_t k = 0; k < n; k++) {
            s += (double)hl_in_f(r, 0)[i * n + k];
            hl_out_f(r, 0)[i * n + k] = (float)s;
        }
    }
    return HL_OK;
}

static hl_status gpu_cumsum(const hl_op_run *r)
{
    const hl_type *x = &r->call->in[0];
    hl_gpu_get()->cumsum(r->exec->gpu, hl_type_rows(x, x->rank - 1), x->dim[x->rank - 1], hl_in_f(r, 0),
                         hl_out_f(r, 0));
    return HL_OK;
}

static hl_status ref_cumsum(const hl_op_run *r)
{
    const hl_type *x = &r->call->in[0];
    const int64_t n = x->dim[x->rank - 1], rows = hl_type_rows(x, x->rank - 1);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < n; k++)
            hl_out_d(r, 0)[i * n + k] =
                hl_in_d(r, 0)[i * n + k] + (k ? hl_out_d(r, 0)[i * n + k - 1] : 0);
    return HL_OK;
}

/* The sum from the right: total - running sum + element. */
static hl_status vjp_cumsum(hl_vjp *v)
{
    hl_id g = v->grad_out[0], run = hl_g_op1(v->g, HL_OP_ID_cumsum, g);
    int last = hl_graph_type(v->g, v->in[0])->rank - 1;
    hl_id total = hl_g_sum(v->g, g, 1u << last, true);
    v->grad_in[0] = hl_g_add(v->g, hl_g_sub(v->g, total, run), g);
    return v->g->status;
}

static const hl_case cases_cumsum[] = {
    {.what = "rows", HL_INS(HL_NORMAL(3, 33))},
    {.what = "vector", HL_INS(HL_NORMAL(97))},
    {.what = "scalar", HL_INS(HL_SCALAR(1)), .expect = HL_E_SHAPE},
};
const hl_op hl_op_cumsum = {
    .name = "cumsum", .doc = "running sum along the last dimension",
    .ins = "x", .outs = "y", .shape = shape_cumsum, .ref = ref_cumsum, .cpu = cpu_cumsum, .gpu = gpu_cumsum,
    .vjp = vjp_cumsum, HL_CASES(cases_cumsum)};
