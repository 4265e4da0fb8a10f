/* Matrix products: matmul (batched, with transposes and an addend) and linear (weights [out, in],
 * bias, activation in the epilogue). */
#include "engine/ops/op_common.h"

/* --- matmul --- */

typedef struct plan {
    int64_t batch, m, n, k;
    bool ta, tb;
    bool b_shared; /* one b for all of the batch */
} plan;

static plan plan_of(const hl_call *c)
{
    const hl_type *a = &c->in[0], *b = &c->in[1];
    plan p = {.ta = c->attrs.v[0].i, .tb = c->attrs.v[1].i, .b_shared = b->rank == 2};
    p.batch = hl_type_rows(a, a->rank - 2);
    p.m = a->dim[a->rank - (p.ta ? 1 : 2)];
    p.k = a->dim[a->rank - (p.ta ? 2 : 1)];
    p.n = b->dim[b->rank - (p.tb ? 2 : 1)];
    if (p.b_shared && !p.ta) { /* rows of all batches in a row */
        p.m *= p.batch;
        p.batch = 1;
    }
    return p;
}

static hl_status shape_matmul(hl_call *c)
{
    const hl_type *a = &c->in[0], *b = &c->in[1];
    hl_status st = HL_OK;
    for (int i = 0; i < 2 && st == HL_OK; i++) {
        st = hl_want_float(c, i);
        if (st == HL_OK)
            st = hl_want_rank(c, i, 2, HL_MAX_RANK);
    }
    if (st == HL_OK)
        st = hl_want_alike(c, 0, 1);
    if (st != HL_OK)
        return st;
    bool ta = c->attrs.v[0].i, tb = c->attrs.v[1].i;
    int64_t ka = a->dim[a->rank - (ta ? 2 : 1)], kb = b->dim[b->rank - (tb ? 1 : 2)];
    if (ka != kb)
        return hl_err_set(HL_E_SHAPE, "inner dimensions are %lld and %lld", (long long)ka,
                          (long long)kb);
    if (b->rank != 2) {
        bool same = a->rank == b->rank;
        for (int i = 0; same && i < a->rank - 2; i++)
            same = a->dim[i] == b->dim[i];
        if (!same)
            return hl_err_set(HL_E_SHAPE, "the leading dimensions must be equal, or b a matrix");
    }
    hl_out_like(c, 0, 0);
    c->out[0].dim[a->rank - 2] = a->dim[a->rank - (ta ? 1 : 2)];
    c->out[0].dim[a->rank - 1] = b->dim[b->rank - (tb ? 2 : 1)];
    if (c->n_in > 2 && !hl_type_absent(&c->in[2]) && !hl_type_equal(&c->in[2], &c->out[0]))
        return hl_err_set(HL_E_SHAPE, "the addend must have the shape of the product");
    return HL_OK;
}

/* Many small products: one per worker; few large ones: the team on each. */
static bool batch_parallel(const plan *p, int n_workers)
{
    return p->batch >= 2 * n_workers;
}

/* Scratch of one product: the kernel's, behind it the sums of a rounded result. */
typedef struct product_scratch {
    size_t sums_at, bytes;
} product_scratch;

static product_scratch product_scratch_of(int64_t m, int64_t n, int64_t k, bool rounded,
                                          int n_workers)
{
    const size_t at = (hl_cpu()->gemm_scratch_bytes(m, n, k, n_workers) + 63) & ~(size_t)63;
    return (product_scratch){at, at + (rounded ? hl_cpu()->gemm_sums_bytes(m, n, k) : 0)};
}

/* Of a worker's product, or of the team's. */
static product_scratch scratch_of(const hl_call *c, const plan *p, int n_workers)
{
    return product_scratch_of(p->m, p->n, p->k, c->out[0].dtype == HL_DTYPE_BF16,
                              batch_parallel(p, n_workers) ? 1 : n_workers);
}

static size_t scratch_matmul(const hl_call *c, int n_workers)
{
    plan p = plan_of(c);
    const size_t one = scratch_of(c, &p, n_workers).bytes;
    return batch_parallel(&p, n_workers) ? one * (size_t)n_workers : one;
}

typedef struct matmul_job {
    plan p;
    const float *a, *b;
    const hl_bf16 *a16, *b16; /* or these */
    float *c;
    hl_bf16 *c16; /* or this */
    const float *addend;
    unsigned char *scratch;
    product_scratch each;
} matmul_job;

static hl_gemm_args gemm_at(const matmul_job *j, int64_t i)
{
    const plan *p = &j->p;
    hl_gemm_args g = {.m = p->m, .n = p->n, .k = p->k, .c_row = p->n};
    const int64_t a = i * p->m * p->k, b = p->b_shared ? 0 : i * p->k * p->n;
    g.a = j->a16 ? NULL : j->a + a;
    g.b = j->a16 ? NULL : j->b + b;
    g.a16 = j->a16 ? j->a16 + a : NULL;
    g.b16 = j->a16 ? j->b16 + b : NULL;
    g.c = j->c16 ? NULL : j->c + i * p->m * p->n;
    g.c16 = j->c16 ? j->c16 + i * p->m * p->n : NULL;
    g.addend = j->addend ? j->addend + i * p->m * p->n : NULL;
    g.a_row = p->ta ? 1 : p->k;
    g.a_col = p->ta ? p->m : 1;
    g.b_row = p->tb ? 1 : p->n;
    g.b_col = p->tb ? p->k : 1;
    return g;
}

static void multiply(const matmul_job *j, int64_t i, hl_team *team, unsigned char *scratch)
{
    hl_gemm_args g = gemm_at(j, i);
    if (g.c16)
        g.c = (float *)(void *)(scratch + j->each.sums_at);
    hl_cpu()->gemm(team, &g, scratch);
}

static void matmul_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const matmul_job *j = arg;
    for (int64_t i = begin; i < end; i++)
        multiply(j, i, NULL, j->scratch + j->each.bytes * (size_t)worker);
}

static hl_status cpu_matmul(const hl_op_run *r)
{
    matmul_job j = {.p = plan_of(r->call),
                    .a = hl_in_f(r, 0),
                    .b = hl_in_f(r, 1),
                    .a16 = hl_in_bf16(r, 0),
                    .b16 = hl_in_bf16(r, 1),
                    .c = hl_out_f(r, 0),
                    .c16 = hl_out_bf16(r, 0),
                    .scratch = r->scratch};
    j.addend = r->call->n_in > 2 ? r->in[2] : NULL;
    hl_team *team = r->exec->team;
    const int n_workers = team ? team->n : 1;
    j.each = scratch_of(r->call, &j.p, n_workers);
    if (batch_parallel(&j.p, n_workers))
        hl_parallel(r->exec, j.p.batch, 1, 1, matmul_part, &j);
    else
        for (int64_t i = 0; i < j.p.batch; i++)
            multiply(&j, i, team, r->scratch);
    return HL_OK;
}

static hl_status gpu_matmul(const hl_op_run *r)
{
    const plan p = plan_of(r->call);
    matmul_job j = {.p = p, .a = hl_in_f(r, 0), .b = hl_in_f(r, 1), .a16 = hl_in_bf16(r, 0),
                    .b16 = hl_in_bf16(r, 1), .c = hl_out_f(r, 0)};
    j.addend = r->call->n_in > 2 ? r->in[2] : NULL;
    const hl_gpu_gemm g = {.g = gemm_at(&j, 0), .batch = p.batch, .a_batch = p.m * p.k,
                           .b_batch = p.b_shared ? 0 : p.k * p.n, .c_batch = p.m * p.n};
    hl_gpu_get()->gemm(r->exec->gpu, &g);
    return HL_OK;
}

static hl_status ref_matmul(const hl_op_run *r)
{
    plan p = plan_of(r->call);
    const double *addend = r->call->n_in > 2 ? r->in[2] : NULL;
    for (int64_t t = 0; t < p.batch; t++)
        for (int64_t i = 0; i < p.m; i++)
            for (int64_t j = 0; j < p.n; j++) {
                const double *a = hl_in_d(r, 0) + t * p.m * p.k;
                const double *b = hl_in_d(r, 1) + (p.b_shared ? 0 : t * p.k * p.n);
                const int64_t at = (t * p.m + i) * p.n + j;
                double s = addend ? addend[at] : 0;
                for (int64_t k = 0; k < p.k; k++)
                    s += (p.ta ? a[k * p.m + i] : a[i * p.k + k]) *
                         (p.tb ? b[j * p.k + k] : b[k * p.n + j]);
                hl_out_d(r, 0)[at] = s;
            }
    return HL_OK;
}

/* All leading dimensions as rows of one matrix. */
static hl_id as_matrix(hl_graph *g, hl_id x)
{
    if (x == HL_NONE)
        return HL_NONE;
    const hl_type *t = hl_graph_type(g, x);
    int64_t dim[2] = {hl_type_rows(t, t->rank - 1), t->dim[t->rank - 1]};
    return hl_g_reshape(g, x, 2, dim);
}

static hl_status vjp_matmul(hl_vjp *v)
{
    hl_graph *g = v->g;
    bool ta = v->attrs->v[0].i, tb = v->attrs->v[1].i;
    hl_id a = v->in[0], b = v->in[1], dy = v->grad_out[0];
    if (ta && hl_graph_type(g, b)->rank == 2 && hl_graph_type(g, a)->rank > 2)
        return hl_err_set(HL_E_UNSUPPORTED,
                          "no derivative of a transposed batch times one matrix; use permute");
    if (v->needed[0])
        v->grad_in[0] = ta ? hl_g_matmul(g, b, tb, dy, true) : hl_g_matmul(g, dy, false, b, !tb);
    if (v->needed[1]) {
        if (hl_graph_type(g, b)->rank == 2 && hl_graph_type(g, a)->rank > 2 && !ta) {
            a = as_matrix(g, a);
            dy = as_matrix(g, dy);
        }
        v->grad_in[1] = tb ? hl_g_matmul(g, dy, true, a, ta) : hl_g_matmul(g, a, !ta, dy, false);
    }
    if (v->n_in > 2 && v->needed[2])
        v->grad_in[2] = v->grad_out[0];
    return g->status;
}

static double flops_matmul(const hl_call *c)
{
    plan p = plan_of(c);
    return 2.0 * (double)p.batch * (double)p.m * (double)p.n * (double)p.k;
}

static const hl_case cases_matmul[] = {
    {.what = "square", HL_INS(HL_NORMAL(33, 31), HL_NORMAL(31, 32))},
    {.what = "a transposed", HL_INS(HL_NORMAL(17, 9), HL_NORMAL(17, 5)), .attr = {1, 0},
     .attr_given = 3},
    {.what = "b transposed", HL_INS(HL_NORMAL(9, 17), HL_NORMAL(5, 17)), .attr = {0, 1},
     .attr_given = 3},
    {.what = "both transposed", HL_INS(HL_NORMAL(17, 9), HL_NORMAL(5, 17)), .attr = {1, 1},
     .attr_given = 3},
    {.what = "batch", HL_INS(HL_NORMAL(3, 7, 5), HL_NORMAL(3, 5, 11))},
    {.what = "large batch", HL_INS(HL_NORMAL(2, 6, 7, 5), HL_NORMAL(2, 6, 11, 5)), .attr = {0, 1},
     .attr_given = 3},
    {.what = "batch times matrix", HL_INS(HL_NORMAL(3, 4, 7), HL_NORMAL(7, 5))},
    {.what = "addend", HL_INS(HL_NORMAL(9, 17), HL_NORMAL(17, 5), HL_NORMAL(9, 5))},
    {.what = "one row", HL_INS(HL_NORMAL(1, 97), HL_NORMAL(97, 65))},
    {.what = "one column", HL_INS(HL_NORMAL(65, 97), HL_NORMAL(97, 1))},
    {.what = "blocks", HL_INS(HL_NORMAL(197, 401), HL_NORMAL(401, 67))},
    {.what = "empty sum", HL_INS(HL_NORMAL(3, 0), HL_NORMAL(0, 4))},
    {.what = "no rows", HL_INS(HL_NORMAL(0, 3), HL_NORMAL(3, 4))},
    {.what = "inner sizes differ", HL_INS(HL_NORMAL(3, 4), HL_NORMAL(5, 4)), .expect = HL_E_SHAPE},
    {.what = "batches differ", HL_INS(HL_NORMAL(2, 3, 4), HL_NORMAL(3, 4, 5)),
     .expect = HL_E_SHAPE},
    {.what = "a vector", HL_INS(HL_NORMAL(4), HL_NORMAL(4, 5)), .expect = HL_E_SHAPE},
    {.what = "integers", HL_INS(HL_INDEX(3, 4, 4), HL_NORMAL(4, 5)), .expect = HL_E_DTYPE},
};
const hl_op hl_op_matmul = {
    .name = "matmul",
    .doc = "a b (+ c) over the last two dimensions; leading dimensions equal, or b one matrix for "
           "all; ta, tb transpose the last two dimensions first",
    .ins = "a b c?",
    .outs = "y",
    .attr = {{"ta", HL_ATTR_BOOL, 0, 0, 0, NULL}, {"tb", HL_ATTR_BOOL, 0, 0, 0, NULL}},
    .inplace = 4,
    .bf16 = 3,
    .half_outs = 1,
    .shape = shape_matmul,
    .ref = ref_matmul,
    .cpu = cpu_matmul,
    .gpu = gpu_matmul,
    .scratch = scratch_matmul,
    .vjp = vjp_matmul,
    .flops = flops_matmul,
    HL_CASES(cases_matmul),
    .tol = 64};

/* --- linear --- */


static hl_status shape_linear(hl_call *c)
{
    const hl_type *x = &c->in[0], *w = &c->in[1];
    hl_status st = hl_want_float(c, 0);
    if (st == HL_OK)
        st = hl_want_float(c, 1);
    if (st == HL_OK)
        st = hl_want_rank(c, 0, 1, HL_MAX_RANK);
    if (st == HL_OK)
        st = hl_want_rank(c, 1, 2, 2);
    if (st == HL_OK)
        st = hl_want_alike(c, 0, 1);
    if (st != HL_OK)
        return st;
    if (x->dim[x->rank - 1] != w->dim[1])
        return hl_err_set(HL_E_SHAPE, "x has %lld features, the weights take %lld",
                          (long long)x->dim[x->rank - 1], (long long)w->dim[1]);
    if (c->n_in > 2 && !hl_type_absent(&c->in[2]))
        st = hl_want_float(c, 2);
    if (st != HL_OK)
        return st;
    if (c->n_in > 2 && !hl_type_absent(&c->in[2]) &&
        (c->in[2].rank != 1 || c->in[2].dim[0] != w->dim[0]))
        return hl_err_set(HL_E_SHAPE, "the bias must have %lld elements", (long long)w->dim[0]);
    hl_out_like(c, 0, 0);
    c->out[0].dim[x->rank - 1] = w->dim[0];
    int64_t act = c->attrs.v[0].i;
    if (act == HL_ACT_GELU || act == HL_ACT_GELU_TANH) {
        c->out[1] = c->out[0];
        c->n_out = 2;
    }
    return HL_OK;
}

static hl_gemm_args linear_args(const hl_call *c)
{
    const hl_type *x = &c->in[0], *w = &c->in[1];
    return (hl_gemm_args){.m = hl_type_rows(x, x->rank - 1), .n = w->dim[0], .k = w->dim[1],
                          .a_row = w->dim[1], .a_col = 1, .b_row = 1, .b_col = w->dim[1],
                          .c_row = w->dim[0], .act = (hl_act)c->attrs.v[0].i};
}

static size_t scratch_linear(const hl_call *c, int n_workers)
{
    hl_gemm_args g = linear_args(c);
    return product_scratch_of(g.m, g.n, g.k, c->out[0].dtype == HL_DTYPE_BF16, n_workers).bytes;
}

static hl_gemm_args linear_bound(const hl_op_run *r)
{
    hl_gemm_args g = linear_args(r->call);
    g.a = hl_in_f(r, 0);
    g.b = hl_in_f(r, 1);
    g.a16 = hl_in_bf16(r, 0);
    g.b16 = hl_in_bf16(r, 1);
    g.bias = r->call->n_in > 2 ? hl_in_f(r, 2) : NULL;
    g.c = hl_out_f(r, 0);
    g.c16 = hl_out_bf16(r, 0);
    g.pre16 = r->call->n_out > 1 ? hl_out_bf16(r, 1) : NULL;
    g.pre = r->call->n_out > 1 && !g.pre16 ? hl_out_f(r, 1) : NULL;
    return g;
}

static hl_status cpu_linear(const hl_op_run *r)
{
    hl_gemm_args g = linear_bound(r);
    const int n_workers = r->exec->team ? r->exec->team->n : 1;
    if (g.c16)
        g.c = (float *)(void *)((unsigned char *)r->scratch +
                                product_scratch_of(g.m, g.n, g.k, true, n_workers).sums_at);
    hl_cpu()->gemm(r->exec->team, &g, r->scratch);
    return HL_OK;
}

static hl_status gpu_linear(const hl_op_run *r)
{
    const hl_gpu_gemm g = {.g = linear_bound(r), .batch = 1};
    hl_gpu_get()->gemm(r->exec->gpu, &g);
    return HL_OK;
}

static hl_status ref_linear(const hl_op_run *r)
{
    hl_gemm_args g = linear_args(r->call);
    const double *bias = r->call->n_in > 2 ? r->in[2] : NULL;
    for (int64_t i = 0; i < g.m; i++)
        for (int64_t j = 0; j < g.n; j++) {
            double s = bias ? bias[j] : 0;
            for (int64_t k = 0; k < g.k; k++)
                s += hl_in_d(r, 0)[i * g.k + k] * hl_in_d(r, 1)[j * g.k + k];
            hl_out_d(r, 0)[i * g.n + j] = hl_act_f64(g.act, s);
            if (r->call->n_out > 1)
                hl_out_d(r, 1)[i * g.n + j] = s;
        }
    return HL_OK;
}

static hl_status vjp_linear(hl_vjp *v)
{
    hl_graph *g = v->g;
    hl_id dz = v->grad_out[0];
    static const hl_op_id slope[] = {[HL_ACT_GELU] = HL_OP_ID_gelu_slope,
                                     [HL_ACT_GELU_TANH] = HL_OP_ID_gelu_tanh_slope,
                                     [HL_ACT_RELU] = HL_OP_ID_relu_slope};
    int64_t act = v->attrs->v[0].i;
    if (dz != HL_NONE && act != HL_ACT_NONE)
        dz = hl_g_op2(g, slope[act], dz, v->n_out > 1 ? v->out[1] : v->out[0]);
    if (v->n_out > 1 && v->grad_out[1] != HL_NONE)
        dz = dz == HL_NONE ? v->grad_out[1] : hl_g_add(g, dz, v->grad_out[1]);
    if (dz == HL_NONE)
        return g->status;
    if (hl_graph_type(g, v->in[0])->rank == 1) {
        int64_t row[2] = {1, hl_graph_type(g, dz)->dim[0]};
        dz = hl_g_reshape(g, dz, 2, row);
    }
    if (v->needed[0])
        v->grad_in[0] =
            hl_g_reshape_like(g, hl_g_matmul(g, dz, false, v->in[1], false), v->in[0]);
    if (v->needed[1])
        v->grad_in[1] = hl_g_matmul(g, as_matrix(g, dz), true, as_matrix(g, v->in[0]), false);
    if (v->n_in > 2 && v->needed[2])
        v->grad_in[2] = hl_g_sum_to(g, dz, v->in[2]);
    return g->status;
}

static double flops_linear(const hl_call *c)
{
    hl_gemm_args g = linear_args(c);
    return 2.0 * (double)g.m * (double)g.n * (double)g.k;
}

static const hl_case cases_linear[] = {
    {.what = "bias", HL_INS(HL_NORMAL(9, 17), HL_NORMAL(33, 17), HL_NORMAL(33))},
    {.what = "no bias", HL_INS(HL_NORMAL(2, 5, 8), HL_NORMAL(6, 8))},
    {.what = "gelu", HL_INS(HL_NORMAL(7, 6), HL_NORMAL(40, 6), HL_NORMAL(40)), .attr = {1},
     .attr_given = 1},
    {.what = "tanh gelu", HL_INS(HL_NORMAL(7, 6), HL_NORMAL(11, 6), HL_NORMAL(11)), .attr = {2},
     .attr_given = 1},
    {.what = "relu", HL_INS(HL_POSITIVE(7, 6), HL_POSITIVE(11, 6), HL_POSITIVE(11)), .attr = {3},
     .attr_given = 1},
    {.what = "vector", HL_INS(HL_NORMAL(6), HL_NORMAL(11, 6), HL_NORMAL(11))},
    {.what = "blocks", HL_INS(HL_NORMAL(97, 401), HL_NORMAL(65, 401), HL_NORMAL(65)), .attr = {1},
     .attr_given = 1},
    {.what = "features differ", HL_INS(HL_NORMAL(9, 17), HL_NORMAL(33, 16)),
     .expect = HL_E_SHAPE},
    {.what = "bias differs", HL_INS(HL_NORMAL(9, 17), HL_NORMAL(33, 17), HL_NORMAL(32)),
     .expect = HL_E_SHAPE},
    {.what = "bias of integers", HL_INS(HL_NORMAL(9, 17), HL_NORMAL(33, 17), HL_INDEX(3, 33)),
     .expect = HL_E_DTYPE},
    {.what = "unknown activation", HL_INS(HL_NORMAL(9, 17), HL_NORMAL(33, 17)), .attr = {9},
     .attr_given = 1, .expect = HL_E_ARG},
};
const hl_op hl_op_linear = {
    .name = "linear",
    .doc =
        "act(x w^T + b), w [out, in]; the second output, with the gelus, is the value before act",
    .ins = "x w b?",
    .outs = "y pre",
    .bf16 = 3,
    .half_outs = 3,
    .attr = {{"act", HL_ATTR_ENUM, 0, 0, 0, hl_act_names}},
    .shape = shape_linear,
    .ref = ref_linear,
    .cpu = cpu_linear,
    .gpu = gpu_linear,
    .scratch = scratch_linear,
    .vjp = vjp_linear,
    .flops = flops_linear,
    HL_CASES(cases_linear),
    .tol = 64};
