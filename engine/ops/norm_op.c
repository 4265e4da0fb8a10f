/* The norm of all gradients together. */
#include "engine/ops/gpu_tensors.h"
#include "engine/ops/op_common.h"

static const char *const norm_names[] = {"l2", "inf", NULL};

static hl_status shape_global_norm(hl_call *c)
{
    if (c->n_in == 0)
        return hl_err_set(HL_E_ARG, "needs at least one tensor");
    for (int i = 0; i < c->n_in; i++) {
        hl_status st = hl_want_float(c, i);
        if (st != HL_OK)
            return st;
    }
    c->out[0] = hl_type_scalar(c->in[0].dtype);
    c->n_out = 1;
    return HL_OK;
}

/* The tensors are seen as one row of numbers, cut into pieces of PIECE whose sums are added in
 * order: the norm does not depend on the number of workers. */
enum { PIECE = 65536 };

static int64_t pieces_of(const hl_call *c)
{
    int64_t n = 0;
    for (int i = 0; i < c->n_in; i++)
        n += (hl_type_count(&c->in[i]) + PIECE - 1) / PIECE;
    return n;
}

static size_t scratch_global_norm(const hl_call *c, int n_workers)
{
    (void)n_workers;
    return (size_t)(pieces_of(c) + 1) * sizeof(double);
}

static void norm_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const hl_op_run *r = arg;
    const hl_call *c = r->call;
    double *part = r->scratch;
    int64_t first = 0;
    for (int i = 0; i < c->n_in; i++) {
        const int64_t count = hl_type_count(&c->in[i]), n = (count + PIECE - 1) / PIECE;
        for (int64_t k = 0; k < n; k++, first++) {
            if (first < begin || first >= end)
                continue;
            const int64_t at = k * PIECE, m = count - at < PIECE ? count - at : PIECE;
            const float *x = hl_in_f(r, i) + at;
            if (c->attrs.v[0].i == 0) {
                hl_cpu()->sum_squares(m, x, &part[first]);
            } else {
                hl_moments mo;
                hl_cpu()->moments(m, x, &mo, NULL);
                part[first] = mo.n_bad > 0 ? (double)NAN : fmax(-mo.min, mo.max);
            }
        }
    }
}

static hl_status cpu_global_norm(const hl_op_run *r)
{
    const int64_t n = pieces_of(r->call);
    hl_parallel(r->exec, n, 1, 1, norm_part, (void *)(uintptr_t)r);
    const double *part = r->scratch;
    double total = 0;
    for (int64_t i = 0; i < n; i++)
        total = r->call->attrs.v[0].i == 0              ? total + part[i]
                : part[i] > total || part[i] != part[i] ? part[i]
                                                        : total;
    *hl_out_f(r, 0) = (float)(r->call->attrs.v[0].i == 0 ? sqrt(total) : total);
    return HL_OK;
}

static hl_status gpu_global_norm(const hl_op_run *r)
{
    const bool largest = r->call->attrs.v[0].i != 0;
    hl_gpu_tensors t;
    hl_status st = hl_gpu_tensors_of(r, 0, 1, &t);
    if (st != HL_OK)
        return st;
    hl_gpu_get()->norm_part(r->exec->gpu, &t, largest, r->scratch);
    hl_gpu_get()->norm_end(r->exec->gpu, t.n_blocks, largest, r->scratch, hl_out_f(r, 0));
    return HL_OK;
}

static size_t gpu_scratch_global_norm(const hl_call *c)
{
    int64_t n = 1;
    for (int i = 0; i < c->n_in; i++)
        n += hl_gpu_chunks(hl_type_count(&c->in[i]));
    return (size_t)n * sizeof(double);
}

static hl_status ref_global_norm(const hl_op_run *r)
{
    double total = 0;
    for (int i = 0; i < r->call->n_in; i++)
        for (int64_t k = 0; k < hl_type_count(&r->call->in[i]); k++) {
            double x = fabs(hl_in_d(r, i)[k]);
            total = r->call->attrs.v[0].i == 0 ? total + x * x : x > total || x != x ? x : total;
        }
    *hl_out_d(r, 0) = r->call->attrs.v[0].i == 0 ? sqrt(total) : total;
    return HL_OK;
}

static hl_status vjp_global_norm(hl_vjp *v)
{
    if (v->attrs->v[0].i != 0)
        return hl_err_set(HL_E_UNSUPPORTED, "no derivative of the maximum norm");
    for (int i = 0; i < v->n_in; i++)
        if (v->needed[i])
            v->grad_in[i] = hl_g_mul(v->g, v->in[i], hl_g_div(v->g, v->grad_out[0], v->out[0]));
    return v->g->status;
}

static const hl_case cases_global_norm[] = {
    {.what = "three", HL_INS(HL_NORMAL(33, 5), HL_NORMAL(7), HL_SCALAR(2))},
    {.what = "long", HL_INS(HL_NORMAL(70001))},
    {.what = "none", .expect = HL_E_ARG},
};
const hl_op hl_op_global_norm = {.name = "global_norm",
                                 .doc =
                                     "2-norm (or largest absolute value) of all elements together",
                                 .ins = "x*",
                                 .outs = "norm",
                                 .attr = {{"kind", HL_ATTR_ENUM, 0, 0, 0, norm_names}},
                                 .shape = shape_global_norm,
                                 .ref = ref_global_norm,
                                 .cpu = cpu_global_norm,
                                 .gpu = gpu_global_norm,
                                 .prepare = hl_gpu_tensors_prepare,
                                 .release = hl_gpu_tensors_release,
                                 .gpu_scratch = gpu_scratch_global_norm,
                                 .scratch = scratch_global_norm,
                                 .vjp = vjp_global_norm,
                                 HL_CASES(cases_global_norm)};
