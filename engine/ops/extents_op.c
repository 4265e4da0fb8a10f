/* The largest numbers of a watched activation, by token and by channel (engine/pass/probes.c). */
#include "engine/ops/op_common.h"

static hl_status shape_extents(hl_call *c)
{
    hl_status st = hl_want_float(c, 0);
    if (st == HL_OK)
        st = hl_want_rank(c, 0, 3, 3);
    if (st != HL_OK)
        return st;
    const int64_t *d = c->in[0].dim, channels[2] = {d[0], d[2]};
    c->out[0] = hl_type_make(c->in[0].dtype, 2, d);
    c->out[1] = hl_type_make(c->in[0].dtype, 2, channels);
    c->n_out = 2;
    return HL_OK;
}

static void extents_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const hl_op_run *r = arg;
    const int64_t t = r->call->in[0].dim[1], n = r->call->in[0].dim[2];
    (void)worker;
    for (int64_t b = begin; b < end; b++)
        hl_cpu()->extents(t, n, hl_in_f(r, 0) + b * t * n, (float *)r->out[0] + b * t,
                          (float *)r->out[1] + b * n);
}

static hl_status cpu_extents(const hl_op_run *r)
{
    const int64_t *d = r->call->in[0].dim;
    hl_parallel(r->exec, d[0], 1, HL_GRAIN / (d[1] * d[2] + 1) + 1, extents_part,
                (void *)(uintptr_t)r);
    return HL_OK;
}

static hl_status gpu_extents(const hl_op_run *r)
{
    const int64_t *d = r->call->in[0].dim;
    hl_gpu_get()->extents(r->exec->gpu, d[0], d[1], d[2], r->in[0], r->out[0], r->out[1]);
    return HL_OK;
}

static hl_status ref_extents(const hl_op_run *r)
{
    const int64_t *d = r->call->in[0].dim;
    double *tokens = r->out[0], *channels = r->out[1];
    for (int64_t b = 0; b < d[0]; b++)
        for (int64_t i = 0; i < d[1] * d[2]; i++) {
            const double v = fabs(hl_in_d(r, 0)[b * d[1] * d[2] + i]);
            double *of_token = tokens + b * d[1] + i / d[2],
                   *of_channel = channels + b * d[2] + i % d[2];
            if (i % d[2] == 0)
                *of_token = 0;
            if (i < d[2])
                *of_channel = 0;
            *of_token = isnan(*of_token) || *of_token > v ? *of_token : v;
            *of_channel = isnan(*of_channel) || *of_channel > v ? *of_channel : v;
        }
    return HL_OK;
}

static const hl_case cases_extents[] = {
    {.what = "tokens and channels", HL_INS(HL_NORMAL(3, 33, 97))},
    {.what = "several workers", HL_INS(HL_RANGE(-1e30, 1e30, 8, 64, 256))},
    {.what = "one token", HL_INS(HL_NORMAL(5, 1, 7))},
    {.what = "of no sequence", HL_INS(HL_NORMAL(4, 5)), .expect = HL_E_SHAPE},
};
const hl_op hl_op_extents = {.name = "extents",
                             .doc =
                                 "max |x| of each token {B, T} and of each channel {B, C} of x {B, "
                                 "T, C}; NaN where there is one",
                             .ins = "x",
                             .outs = "tokens channels",
                             .flags = HL_OP_NO_LUA,
                             .shape = shape_extents,
                             .ref = ref_extents,
                             .cpu = cpu_extents,
                             .gpu = gpu_extents,
                             HL_CASES(cases_extents),
                             .tol = 1};
