/* Tensors from nothing: counting numbers and random ones. */
#include "engine/ops/op_common.h"

static hl_status shape_from_dims(hl_call *c)
{
    c->out[0] = hl_type_make(HL_DTYPE_F32, (int)c->attrs.n_dims, c->attrs.dims);
    for (int i = 0; i < c->out[0].rank; i++)
        if (c->out[0].dim[i] < 0)
            return hl_err_set(HL_E_SHAPE, "negative size");
    c->n_out = 1;
    return HL_OK;
}

static void put(const hl_op_run *r, int64_t i, double x)
{
    if (r->call->out[0].dtype == HL_DTYPE_F64)
        hl_out_d(r, 0)[i] = x;
    else
        hl_out_f(r, 0)[i] = (float)x;
}

/* --- iota --- */

static hl_status run_iota(const hl_op_run *r)
{
    const hl_attrs *a = &r->call->attrs;
    const int64_t n = hl_type_count(&r->call->out[0]);
    for (int64_t i = 0; i < n; i++)
        put(r, i, a->v[0].f + a->v[1].f * (double)i);
    return HL_OK;
}

static hl_status gpu_iota(const hl_op_run *r)
{
    const hl_attr *a = r->call->attrs.v;
    hl_gpu_get()->iota(r->exec->gpu, hl_type_count(&r->call->out[0]), a[0].f, a[1].f, hl_out_f(r, 0));
    return HL_OK;
}

static hl_status vjp_none(hl_vjp *v)
{
    (void)v;
    return HL_OK;
}

static const hl_case cases_iota[] = {
    {.what = "vector", .dims = {33}, .n_dims = 1},
    {.what = "steps", .dims = {4, 5}, .n_dims = 2, .attr = {2, -0.5}, .attr_given = 3},
    {.what = "empty", .dims = {0}, .n_dims = 1},
};
const hl_op hl_op_iota = {
    .name = "iota", .doc = "start, start + step, … in row-major order",
    .ins = "", .outs = "y",
    .attr = {{"start", HL_ATTR_REAL, 0, 0, 0, NULL},
             {"step", HL_ATTR_REAL, 1, 0, 0, NULL},
             {"shape", HL_ATTR_DIMS, 0, 0, 0, NULL}},
    .shape = shape_from_dims, .ref = run_iota, .cpu = run_iota, .gpu = gpu_iota, .vjp = vjp_none,
    HL_CASES(cases_iota)};

/* --- uniform, normal --- */

/* Element e of a stream is word e of its counters. Same draws in float and double programs. */
static void uniform_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const hl_op_run *r = arg;
    const hl_attrs *a = &r->call->attrs;
    const hl_philox_key key = hl_run_key(r);
    for (int64_t i = begin; i < end; i += 4) {
        uint32_t w[4];
        hl_philox_block(key, (uint64_t)i / 4, w);
        for (int64_t k = i; k < end && k < i + 4; k++)
            put(r, k, a->v[0].f + (a->v[1].f - a->v[0].f) * (double)hl_philox_unit(w[k - i]));
    }
}

/* Elements 2i and 2i+1 are made of words 2i and 2i+1. */
static void normal_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const hl_op_run *r = arg;
    const hl_attrs *a = &r->call->attrs;
    const hl_philox_key key = hl_run_key(r);
    for (int64_t i = begin; i < end; i += 4) {
        uint32_t w[4];
        double z[4];
        hl_philox_block(key, (uint64_t)i / 4, w);
        hl_philox_normal(w, z);
        hl_philox_normal(w + 2, z + 2);
        for (int64_t k = i; k < end && k < i + 4; k++)
            put(r, k, a->v[0].f + a->v[1].f * z[k - i]);
    }
}

static hl_status run_uniform(const hl_op_run *r)
{
    hl_parallel(r->exec, hl_type_count(&r->call->out[0]), 4, HL_GRAIN / 16, uniform_part,
                (void *)(uintptr_t)r);
    return HL_OK;
}

static hl_status run_normal(const hl_op_run *r)
{
    hl_parallel(r->exec, hl_type_count(&r->call->out[0]), 4, HL_GRAIN / 16, normal_part,
                (void *)(uintptr_t)r);
    return HL_OK;
}

static hl_status gpu_uniform(const hl_op_run *r)
{
    const hl_attr *a = r->call->attrs.v;
    hl_gpu_get()->uniform(r->exec->gpu, hl_type_count(&r->call->out[0]), a[0].f, a[1].f, r->exec->key,
                          r->call->stream, hl_out_f(r, 0));
    return HL_OK;
}

static hl_status gpu_normal(const hl_op_run *r)
{
    const hl_attr *a = r->call->attrs.v;
    hl_gpu_get()->normal(r->exec->gpu, hl_type_count(&r->call->out[0]), a[0].f, a[1].f, r->exec->key,
                         r->call->stream, hl_out_f(r, 0));
    return HL_OK;
}

static const hl_case cases_uniform[] = {
    {.what = "vector", .dims = {33}, .n_dims = 1},
    {.what = "range", .dims = {4, 5}, .n_dims = 2, .attr = {-2, 3}, .attr_given = 3},
};
const hl_op hl_op_uniform = {
    .name = "uniform", .doc = "independent draws from [low, high)",
    .ins = "", .outs = "y",
    .attr = {{"low", HL_ATTR_REAL, 0, 0, 0, NULL},
             {"high", HL_ATTR_REAL, 1, 0, 0, NULL},
             {"shape", HL_ATTR_DIMS, 0, 0, 0, NULL}},
    .flags = HL_OP_RANDOM, .shape = shape_from_dims, .ref = run_uniform, .cpu = run_uniform, .gpu = gpu_uniform,
    .vjp = vjp_none, HL_CASES(cases_uniform)};

static const hl_case cases_normal[] = {
    {.what = "vector", .dims = {33}, .n_dims = 1},
    {.what = "scaled", .dims = {4, 5}, .n_dims = 2, .attr = {1, 0.02}, .attr_given = 3},
};
const hl_op hl_op_normal = {
    .name = "normal", .doc = "independent draws from N(mean, std^2)",
    .ins = "", .outs = "y",
    .attr = {{"mean", HL_ATTR_REAL, 0, 0, 0, NULL},
             {"std", HL_ATTR_REAL, 1, 0, 0, NULL},
             {"shape", HL_ATTR_DIMS, 0, 0, 0, NULL}},
    .flags = HL_OP_RANDOM, .shape = shape_from_dims, .ref = run_normal, .cpu = run_normal, .gpu = gpu_normal,
    .vjp = vjp_none, HL_CASES(cases_normal)};
