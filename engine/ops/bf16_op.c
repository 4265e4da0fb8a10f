/* Rounding to bf16 and back. Appended by engine/pass/bf16.c. */
#include "engine/ops/op_common.h"
#include "kernels/vec/bf16_body.h"

static hl_status shape_to_bf16(hl_call *c)
{
    const hl_status st = hl_want_float(c, 0);
    hl_out_like(c, 0, 0);
    c->out[0].dtype = HL_DTYPE_BF16;
    return st;
}

static void narrow_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const hl_op_run *r = arg;
    hl_cpu()->to_bf16(end - begin, hl_in_f(r, 0) + begin, (hl_bf16 *)r->out[0] + begin);
}

static hl_status cpu_to_bf16(const hl_op_run *r)
{
    hl_parallel(r->exec, hl_type_count(&r->call->out[0]), 64, HL_GRAIN, narrow_part,
                (void *)(uintptr_t)r);
    return HL_OK;
}

static hl_status gpu_to_bf16(const hl_op_run *r)
{
    hl_gpu_get()->to_bf16(r->exec->gpu, hl_type_count(&r->call->out[0]), hl_in_f(r, 0), r->out[0]);
    return HL_OK;
}

/* By scaling 8 bits in front of the point, where rint rounds ties to even. */
static double nearest(double x)
{
    int e;
    if (x == 0 || !isfinite(x))
        return x;
    frexp(x, &e);
    e = e < -125 ? -125 : e; /* denormal numbers share the last place of 2^-126 */
    return ldexp(rint(ldexp(x, 8 - e)), e - 8);
}

static hl_status ref_to_bf16(const hl_op_run *r)
{
    for (int64_t i = 0; i < hl_type_count(&r->call->out[0]); i++)
        ((hl_bf16 *)r->out[0])[i] = hl_to_bf16((float)nearest(hl_in_d(r, 0)[i]));
    return HL_OK;
}

static const hl_case cases_to_bf16[] = {
    {.what = "numbers", HL_INS(HL_NORMAL(3, 401))},
    {.what = "small ones", HL_INS(HL_RANGE(-1e-38, 1e-38, 400))},
    {.what = "team", HL_INS(HL_NORMAL(40001))},
    {.what = "nothing", HL_INS(HL_NORMAL(0, 4))},
    {.what = "integers", HL_INS(HL_INDEX(3, 4)), .expect = HL_E_DTYPE},
};
const hl_op hl_op_to_bf16 = {.name = "to_bf16",
                             .doc = "rounded to bf16, ties to even",
                             .ins = "x",
                             .outs = "y",
                             .flags = HL_OP_NO_LUA,
                             .shape = shape_to_bf16,
                             .ref = ref_to_bf16,
                             .cpu = cpu_to_bf16,
                             .gpu = gpu_to_bf16,
                             HL_CASES(cases_to_bf16)};

static hl_status shape_from_bf16(hl_call *c)
{
    const hl_status st = hl_want_dtype(c, 0, HL_DTYPE_BF16);
    hl_out_like(c, 0, 0);
    c->out[0].dtype = HL_DTYPE_F32;
    return st;
}

static void widen_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const hl_op_run *r = arg;
    hl_cpu()->from_bf16(end - begin, (const hl_bf16 *)r->in[0] + begin, hl_out_f(r, 0) + begin);
}

static hl_status cpu_from_bf16(const hl_op_run *r)
{
    hl_parallel(r->exec, hl_type_count(&r->call->out[0]), 64, HL_GRAIN, widen_part,
                (void *)(uintptr_t)r);
    return HL_OK;
}

static hl_status gpu_from_bf16(const hl_op_run *r)
{
    hl_gpu_get()->from_bf16(r->exec->gpu, hl_type_count(&r->call->out[0]), r->in[0], hl_out_f(r, 0));
    return HL_OK;
}

static hl_status ref_from_bf16(const hl_op_run *r)
{
    for (int64_t i = 0; i < hl_type_count(&r->call->out[0]); i++)
        hl_out_d(r, 0)[i] = (double)hl_from_bf16(((const hl_bf16 *)r->in[0])[i]);
    return HL_OK;
}

static const hl_case cases_from_bf16[] = {
    {.what = "numbers", HL_INS({HL_DTYPE_BF16, 2, {3, 401}, HL_FILL_NORMAL, 0, 1, 0})},
    {.what = "team", HL_INS({HL_DTYPE_BF16, 1, {40001}, HL_FILL_NORMAL, 0, 1, 0})},
    {.what = "floats", HL_INS(HL_NORMAL(4)), .expect = HL_E_DTYPE},
};
const hl_op hl_op_from_bf16 = {.name = "from_bf16",
                               .doc = "bf16 as floats",
                               .ins = "x",
                               .outs = "y",
                               .flags = HL_OP_NO_LUA,
                               .shape = shape_from_bf16,
                               .ref = ref_from_bf16,
                               .cpu = cpu_from_bf16,
                               .gpu = gpu_from_bf16,
                               HL_CASES(cases_from_bf16)};
