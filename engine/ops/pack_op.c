/* Products with the same right-hand matrix again and again: it is brought into the order in which
 * the kernel reads it once (`pack`), then each product uses that. Appended by engine/pass/pack.c.
 */
#include "engine/ops/op_common.h"

/* --- pack --- */

static void sizes_of(const hl_call *c, int64_t *n, int64_t *k)
{
    const bool tb = c->attrs.v[0].i;
    *n = c->in[0].dim[tb ? 0 : 1];
    *k = c->in[0].dim[tb ? 1 : 0];
}

static hl_status shape_pack(hl_call *c)
{
    int64_t n, k;
    hl_status st = hl_want_float(c, 0);
    if (st == HL_OK)
        st = hl_want_rank(c, 0, 2, 2);
    if (st != HL_OK)
        return st;
    sizes_of(c, &n, &k);
    const int64_t total = (int64_t)hl_cpu()->gemm_packed_floats(n, k);
    c->out[0] = hl_type_make(c->in[0].dtype, 1, &total);
    c->n_out = 1;
    return HL_OK;
}

static hl_status cpu_pack(const hl_op_run *r)
{
    int64_t n, k;
    sizes_of(r->call, &n, &k);
    const bool tb = r->call->attrs.v[0].i;
    hl_cpu()->gemm_pack(r->exec->team, n, k, hl_in_f(r, 0), tb ? 1 : n, tb ? k : 1, hl_out_f(r, 0));
    return HL_OK;
}

static hl_status ref_pack(const hl_op_run *r)
{
    int64_t n, k;
    sizes_of(r->call, &n, &k);
    const bool tb = r->call->attrs.v[0].i;
    memset(r->out[0], 0, (size_t)hl_type_count(&r->call->out[0]) * sizeof(double));
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < n; j++)
            hl_out_d(r, 0)[hl_cpu()->gemm_packed_at(n, k, i, j)] =
                hl_in_d(r, 0)[tb ? j * k + i : i * n + j];
    return HL_OK;
}

static const hl_case cases_pack[] = {
    {.what = "plain", HL_INS(HL_NORMAL(5, 70))},
    {.what = "transposed", HL_INS(HL_NORMAL(70, 5)), .attr = {1}, .attr_given = 1},
    {.what = "blocks", HL_INS(HL_NORMAL(401, 35))},
    {.what = "vector", HL_INS(HL_NORMAL(5)), .expect = HL_E_SHAPE},
};

const hl_op hl_op_pack = {
    .name = "pack",
    .doc = "b [k, n] (or its transpose) in the order in which matmul_packed reads it",
    .ins = "b",
    .outs = "packed",
    .attr = {{"tb", HL_ATTR_BOOL, 0, 0, 0, NULL}},
    .flags = HL_OP_NO_LUA,
    .shape = shape_pack,
    .ref = ref_pack,
    .cpu = cpu_pack,
    HL_CASES(cases_pack)};

/* --- matmul_packed --- */

static hl_status shape_matmul_packed(hl_call *c)
{
    const int64_t n = c->attrs.v[0].i;
    hl_status st = hl_want_float(c, 0);
    if (st == HL_OK)
        st = hl_want_rank(c, 0, 2, HL_MAX_RANK);
    if (st == HL_OK)
        st = hl_want_rank(c, 1, 1, 1);
    if (st != HL_OK)
        return st;
    const int64_t k = c->in[0].dim[c->in[0].rank - 1];
    if (c->in[1].dim[0] != (int64_t)hl_cpu()->gemm_packed_floats(n, k))
        return hl_err_set(HL_E_SHAPE, "the packed matrix is not %lld x %lld", (long long)k,
                          (long long)n);
    hl_out_like(c, 0, 0);
    c->out[0].dim[c->out[0].rank - 1] = n;
    if (c->n_in > 2 && !hl_type_absent(&c->in[2]) && !hl_type_equal(&c->in[2], &c->out[0]))
        return hl_err_set(HL_E_SHAPE, "the addend must have the shape of the product");
    return HL_OK;
}

static hl_gemm_args args_of(const hl_call *c)
{
    const hl_type *a = &c->in[0];
    const int64_t n = c->attrs.v[0].i, k = a->dim[a->rank - 1];
    return (hl_gemm_args){
        .m = hl_type_rows(a, a->rank - 1), .n = n, .k = k, .a_row = k, .a_col = 1, .c_row = n};
}

static size_t scratch_matmul_packed(const hl_call *c, int n_workers)
{
    const hl_gemm_args g = args_of(c);
    return hl_cpu()->gemm_scratch_bytes(g.m, g.n, g.k, n_workers);
}

static hl_status cpu_matmul_packed(const hl_op_run *r)
{
    hl_gemm_args g = args_of(r->call);
    g.a = hl_in_f(r, 0);
    g.packed_b = hl_in_f(r, 1);
    g.c = hl_out_f(r, 0);
    g.addend = r->call->n_in > 2 ? r->in[2] : NULL;
    hl_cpu()->gemm(r->exec->team, &g, r->scratch);
    return HL_OK;
}

static hl_status ref_matmul_packed(const hl_op_run *r)
{
    const hl_gemm_args g = args_of(r->call);
    const double *addend = r->call->n_in > 2 ? r->in[2] : NULL;
    for (int64_t i = 0; i < g.m; i++)
        for (int64_t j = 0; j < g.n; j++) {
            double s = addend ? addend[i * g.n + j] : 0;
            for (int64_t k = 0; k < g.k; k++)
                s += hl_in_d(r, 0)[i * g.k + k] *
                     hl_in_d(r, 1)[hl_cpu()->gemm_packed_at(g.n, g.k, k, j)];
            hl_out_d(r, 0)[i * g.n + j] = s;
        }
    return HL_OK;
}

static double flops_matmul_packed(const hl_call *c)
{
    const hl_gemm_args g = args_of(c);
    return 2.0 * (double)g.m * (double)g.n * (double)g.k;
}

/* n is a multiple of every panel width, so that the packed size is n k with each instruction set */
static const hl_case cases_matmul_packed[] = {
    {.what = "one panel", HL_INS(HL_NORMAL(33, 17), HL_NORMAL(544)), .attr = {32}, .attr_given = 1},
    {.what = "addend",
     HL_INS(HL_NORMAL(9, 17), HL_NORMAL(1088), HL_NORMAL(9, 64)),
     .attr = {64},
     .attr_given = 1},
    {.what = "blocks",
     HL_INS(HL_NORMAL(64, 401), HL_NORMAL(51328)),
     .attr = {128},
     .attr_given = 1},
    {.what = "batch", HL_INS(HL_NORMAL(3, 4, 17), HL_NORMAL(544)), .attr = {32}, .attr_given = 1},
    {.what = "another size",
     HL_INS(HL_NORMAL(33, 17), HL_NORMAL(545)),
     .attr = {32},
     .attr_given = 1,
     .expect = HL_E_SHAPE},
};

const hl_op hl_op_matmul_packed = {.name = "matmul_packed",
                                   .doc = "a b (+ c) with b from pack, n columns",
                                   .ins = "a packed c?",
                                   .outs = "y",
                                   .attr = {{"n", HL_ATTR_INT, 0, 0, 1e9, NULL}},
                                   .flags = HL_OP_NO_LUA,
                                   .shape = shape_matmul_packed,
                                   .ref = ref_matmul_packed,
                                   .cpu = cpu_matmul_packed,
                                   .scratch = scratch_matmul_packed,
                                   .inplace = 1u << 2,
                                   .flops = flops_matmul_packed,
                                   HL_CASES(cases_matmul_packed),
                                   .tol = 64};
