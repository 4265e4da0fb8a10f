/* Between numbers on the grid of a quantizer of at most 8 bits and codes of it, which count from 0:
 * what is handed from one product of integers to the next (engine/pass/codes.c). */
#include "engine/base/mem.h"
#include "engine/ops/op_common.h"
#include "engine/pass/quantize.h"

enum { SCHEME, BITS, IS_F64 };

static hl_status shape_encode(hl_call *c)
{
    hl_status st = hl_want_float(c, 0);
    if (st == HL_OK)
        st = hl_want_range(c, 1);
    if (st != HL_OK)
        return st;
    hl_out_like(c, 0, 0);
    c->out[0].dtype = HL_DTYPE_U8;
    return HL_OK;
}

static hl_status shape_decode(hl_call *c)
{
    hl_status st = hl_want_dtype(c, 0, HL_DTYPE_U8);
    if (st == HL_OK)
        st = hl_want_range(c, 1);
    if (st != HL_OK)
        return st;
    hl_out_like(c, 0, 0);
    c->out[0].dtype = HL_DTYPE_F32;
    return HL_OK;
}

static void release_codec(void *state)
{
    if (state)
        hl_quantizer_done(state);
    hl_free(state);
}

static hl_status prepare_codec(const hl_call *c, bool fp64, int n_workers, void **state)
{
    const hl_quant_options o = {(hl_quant_scheme)c->attrs.v[SCHEME].i, (int)c->attrs.v[BITS].i, 1,
                                false};
    hl_quantizer *q = hl_alloc_zero(1, sizeof *q);
    (void)fp64;
    (void)n_workers;
    hl_status st = q ? hl_quantizer_init(q, &o) : HL_E_NOMEM;
    if (st == HL_OK)
        *state = q;
    else
        release_codec(q);
    return st;
}

static hl_status take_grid(const hl_op_run *r, hl_quant_grid *g)
{
    hl_status st = hl_quantizer_take_state(r->call->state, r->in[1], r->call->attrs.v[IS_F64].i);
    if (st == HL_OK)
        *g = hl_quantizer_bytes(r->call->state);
    return st;
}

static hl_status cpu_encode(const hl_op_run *r)
{
    hl_quant_grid g;
    hl_status st = take_grid(r, &g);
    return st == HL_OK ? hl_encode_bytes(r->exec, g, hl_type_count(&r->call->in[0]), hl_in_f(r, 0),
                                         r->out[0])
                       : st;
}

static hl_status ref_encode(const hl_op_run *r)
{
    hl_quant_grid g;
    hl_status st = take_grid(r, &g);
    for (int64_t i = 0; st == HL_OK && i < hl_type_count(&r->call->in[0]); i++) {
        const double x = hl_in_d(r, 0)[i];
        if (!isfinite(x))
            return hl_no_codes();
        ((uint8_t *)r->out[0])[i] = (uint8_t)hl_quant_encode(g, (float)x);
    }
    return st;
}

typedef struct decode_job {
    hl_quant_grid g;
    const uint8_t *codes;
    float *y;
} decode_job;

static void decode_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const decode_job *j = arg;
    (void)worker;
    hl_cpu()->quant_decode(j->g, HL_CODE_U8, end - begin, j->codes + begin, j->y + begin);
}

static hl_status cpu_decode(const hl_op_run *r)
{
    decode_job j = {.codes = r->in[0], .y = r->out[0]};
    hl_status st = take_grid(r, &j.g);
    if (st == HL_OK)
        hl_parallel(r->exec, hl_type_count(&r->call->in[0]), 64, HL_GRAIN, decode_part, &j);
    return st;
}

static hl_status ref_decode(const hl_op_run *r)
{
    hl_quant_grid g;
    hl_status st = take_grid(r, &g);
    for (int64_t i = 0; st == HL_OK && i < hl_type_count(&r->call->in[0]); i++)
        hl_out_d(r, 0)[i] = (double)hl_quant_decode(g, ((const uint8_t *)r->in[0])[i]);
    return st;
}

/* Codes count from 0. */
static hl_gpu_quantizer quantizer_there(const hl_op_run *r)
{
    const hl_attr *v = r->call->attrs.v;
    return hl_gpu_quantizer_of(r, 1,
                               (hl_quant_form){v[SCHEME].i == HL_QUANT_ASYMMETRIC, v[IS_F64].i,
                                               true, (int)v[BITS].i});
}

static hl_status gpu_encode(const hl_op_run *r)
{
    const hl_gpu_quantizer q = quantizer_there(r);
    hl_gpu_get()->quant_encode(r->exec->gpu, &q, hl_type_count(&r->call->in[0]), hl_in_f(r, 0),
                               r->out[0]);
    return HL_OK;
}

static hl_status gpu_decode(const hl_op_run *r)
{
    const hl_gpu_quantizer q = quantizer_there(r);
    hl_gpu_get()->quant_decode(r->exec->gpu, &q, hl_type_count(&r->call->in[0]), r->in[0],
                               hl_out_f(r, 0));
    return HL_OK;
}

#define CODEC_ATTRS                                                                                \
    {"scheme", HL_ATTR_ENUM, 1, 0, 0, hl_quant_scheme_names},                                      \
        {"bits", HL_ATTR_INT, 8, 2, 8, NULL},                                                      \
    {                                                                                              \
        "f64", HL_ATTR_BOOL, 0, 0, 0, NULL                                                         \
    }

static const hl_case cases_encode[] = {
    {.what = "asymmetric", HL_INS(HL_NORMAL(5, 33), HL_RANGE_STATE(-2, 2))},
    {.what = "symmetric, 4 bits, many",
     HL_INS(HL_NORMAL(3, 40000), HL_RANGE_STATE(-2, 2)),
     .attr = {0, 4, 1},
     .attr_given = 7},
    {.what = "nothing", HL_INS(HL_NORMAL(0, 33), HL_RANGE_STATE(-2, 2))},
    {.what = "codes already", HL_INS(HL_CODES_U8(5), HL_RANGE_STATE(-2, 2)), .expect = HL_E_DTYPE},
    {.what = "9 bits",
     HL_INS(HL_NORMAL(5), HL_RANGE_STATE(-2, 2)),
     .attr = {1, 9},
     .attr_given = 3,
     .expect = HL_E_ARG},
};
const hl_op hl_op_quant_encode = {
    .name = "quant_encode",
    .doc = "u8 codes, counted from 0, of x on the grid of the quantizer whose `range` {7} is given",
    .ins = "x range",
    .outs = "codes",
    .attr = {CODEC_ATTRS},
    .flags = HL_OP_NO_LUA | HL_OP_MIXED,
    .shape = shape_encode,
    .ref = ref_encode,
    .cpu = cpu_encode,
    .gpu = gpu_encode,
    .prepare = prepare_codec,
    .release = release_codec,
    HL_CASES(cases_encode)};

static const hl_case cases_decode[] = {
    {.what = "asymmetric", HL_INS(HL_CODES_U8(5, 33), HL_RANGE_STATE(-2, 2))},
    {.what = "symmetric, many",
     HL_INS(HL_CODES_U8(3, 40000), HL_RANGE_STATE(-2, 2)),
     .attr = {0, 8, 1},
     .attr_given = 7},
    {.what = "nothing", HL_INS(HL_CODES_U8(0, 33), HL_RANGE_STATE(-2, 2))},
    {.what = "numbers", HL_INS(HL_NORMAL(5), HL_RANGE_STATE(-2, 2)), .expect = HL_E_DTYPE},
};
const hl_op hl_op_quant_decode = {.name = "quant_decode",
                                  .doc = "the numbers that u8 codes of quant_encode stand for",
                                  .ins = "codes range",
                                  .outs = "y",
                                  .attr = {CODEC_ATTRS},
                                  .flags = HL_OP_NO_LUA | HL_OP_MIXED,
                                  .shape = shape_decode,
                                  .ref = ref_decode,
                                  .cpu = cpu_decode,
                                  .gpu = gpu_decode,
                                  .prepare = prepare_codec,
                                  .release = release_codec,
                                  HL_CASES(cases_decode)};
