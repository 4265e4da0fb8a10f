/* A linear layer whose weights are codes and whose input is on no grid: weights become float a
 * block of rows at a time, so that no float copy of them is kept. */
#include "engine/ops/op_common.h"

enum { X, SCALES, W, BIAS };
enum { BLOCK = 256, GPU_BLOCK = 4096 }; /* rows of w that are float at a time */

static hl_status shape_linear_codes(hl_call *c)
{
    const hl_type *x = &c->in[X], *w = &c->in[W], *s = &c->in[SCALES];
    hl_status st = hl_want_float(c, X);
    if (st == HL_OK)
        st = hl_want_rank(c, X, 1, HL_MAX_RANK);
    if (st == HL_OK)
        st = hl_want_dtype(c, W, HL_DTYPE_I8);
    if (st == HL_OK)
        st = hl_want_rank(c, W, 2, 2);
    if (st != HL_OK)
        return st;
    if (x->dim[x->rank - 1] != w->dim[1])
        return hl_err_set(HL_E_SHAPE, "x has %lld features, the weights take %lld",
                          (long long)x->dim[x->rank - 1], (long long)w->dim[1]);
    if (s->rank != 1 || (s->dim[0] != 1 && s->dim[0] != w->dim[0]))
        return hl_err_set(HL_E_SHAPE, "the weights have one scale or %lld", (long long)w->dim[0]);
    if (hl_has_input(c, BIAS) && (c->in[BIAS].rank != 1 || c->in[BIAS].dim[0] != w->dim[0]))
        return hl_err_set(HL_E_SHAPE, "the bias must have %lld elements", (long long)w->dim[0]);
    hl_out_like(c, 0, X);
    c->out[0].dim[x->rank - 1] = w->dim[0];
    return HL_OK;
}

/* Of a block. */
static hl_gemm_args gemm_args(const hl_call *c)
{
    const hl_type *x = &c->in[X], *w = &c->in[W];
    const int64_t n = w->dim[0], k = w->dim[1];
    return (hl_gemm_args){.m = hl_type_rows(x, x->rank - 1),
                          .n = n < BLOCK ? n : BLOCK,
                          .k = k,
                          .a_row = k,
                          .a_col = 1,
                          .b_row = 1,
                          .b_col = k,
                          .c_row = n,
                          .act = (hl_act)c->attrs.v[0].i};
}

static size_t block_bytes(const hl_gemm_args *g)
{
    return ((size_t)(g->n * g->k) * sizeof(float) + 63) / 64 * 64;
}

static size_t scratch_linear_codes(const hl_call *c, int n_workers)
{
    const hl_gemm_args g = gemm_args(c);
    return block_bytes(&g) + hl_cpu()->gemm_scratch_bytes(g.m, g.n, g.k, n_workers);
}

typedef struct decode_job {
    const hl_op_run *r;
    int64_t first, k; /* the block's first row */
    float *to;
} decode_job;

static void decode_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const decode_job *j = arg;
    const float *scales = hl_in_f(j->r, SCALES);
    const bool per_row = j->r->call->in[SCALES].dim[0] > 1;
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = j->first + i;
        const hl_quant_grid g = {.scale = scales[per_row ? row : 0]};
        hl_cpu()->quant_decode(g, HL_CODE_I8, j->k, (const int8_t *)j->r->in[W] + row * j->k,
                               j->to + i * j->k);
    }
}

static hl_status cpu_linear_codes(const hl_op_run *r)
{
    hl_gemm_args g = gemm_args(r->call);
    const int64_t n = g.c_row;
    const float *bias = hl_has_input(r->call, BIAS) ? hl_in_f(r, BIAS) : NULL;
    decode_job j = {.r = r, .k = g.k, .to = r->scratch};
    void *scratch = (unsigned char *)r->scratch + block_bytes(&g);
    g.a = hl_in_f(r, X);
    g.b = j.to;
    for (j.first = 0; j.first < n; j.first += BLOCK) {
        g.n = n - j.first < BLOCK ? n - j.first : BLOCK;
        hl_parallel(r->exec, g.n, 1, g.k ? HL_GRAIN / g.k + 1 : 1, decode_part, &j);
        g.bias = bias ? bias + j.first : NULL;
        g.c = hl_out_f(r, 0) + j.first;
        hl_cpu()->gemm(r->exec->team, &g, scratch);
    }
    return HL_OK;
}

static hl_status gpu_linear_codes(const hl_op_run *r)
{
    const hl_gpu_backend *b = hl_gpu_get();
    hl_gpu_gemm p = {.g = gemm_args(r->call), .batch = 1};
    const int64_t n = p.g.c_row, k = p.g.k;
    const float *bias = hl_has_input(r->call, BIAS) ? hl_in_f(r, BIAS) : NULL;
    const bool per_row = r->call->in[SCALES].dim[0] > 1;
    p.g.a = hl_in_f(r, X);
    p.g.b = r->scratch;
    for (int64_t first = 0; first < n; first += GPU_BLOCK) {
        p.g.n = n - first < GPU_BLOCK ? n - first : GPU_BLOCK;
        p.g.bias = bias ? bias + first : NULL;
        p.g.c = hl_out_f(r, 0) + first;
        b->decode_rows(r->exec->gpu, p.g.n, k, p.g.n, NULL, (const int8_t *)r->in[W] + first * k,
                       hl_in_f(r, SCALES) + (per_row ? first : 0), per_row, r->scratch);
        b->gemm(r->exec->gpu, &p);
    }
    return HL_OK;
}

static size_t gpu_scratch_linear_codes(const hl_call *c)
{
    const int64_t n = c->in[W].dim[0];
    return (size_t)((n < GPU_BLOCK ? n : GPU_BLOCK) * c->in[W].dim[1]) * sizeof(float) + 64;
}

static hl_status ref_linear_codes(const hl_op_run *r)
{
    const hl_gemm_args g = gemm_args(r->call);
    const int64_t n = g.c_row;
    const bool per_row = r->call->in[SCALES].dim[0] > 1;
    const int8_t *w = r->in[W];
    for (int64_t i = 0; i < g.m; i++)
        for (int64_t o = 0; o < n; o++) {
            const double scale = hl_in_d(r, SCALES)[per_row ? o : 0];
            double sum = hl_has_input(r->call, BIAS) ? hl_in_d(r, BIAS)[o] : 0;
            for (int64_t k = 0; k < g.k; k++)
                sum += hl_in_d(r, X)[i * g.k + k] * (scale * w[o * g.k + k]);
            hl_out_d(r, 0)[i * n + o] = hl_act_f64(g.act, sum);
        }
    return HL_OK;
}

static double flops_linear_codes(const hl_call *c)
{
    return 2.0 * (double)hl_type_count(&c->in[X]) * (double)c->in[W].dim[0];
}

static const hl_case cases_linear_codes[] = {
    {.what = "bias", HL_INS(HL_NORMAL(9, 17), HL_POSITIVE(1), HL_CODES_I8(33, 17), HL_NORMAL(33))},
    {.what = "no bias, a scale for each row",
     HL_INS(HL_NORMAL(2, 5, 8), HL_POSITIVE(6), HL_CODES_I8(6, 8))},
    {.what = "gelu",
     HL_INS(HL_NORMAL(7, 6), HL_POSITIVE(1), HL_CODES_I8(40, 6), HL_NORMAL(40)),
     .attr = {1},
     .attr_given = 1},
    {.what = "blocks of rows",
     HL_INS(HL_NORMAL(5, 12), HL_POSITIVE(600), HL_CODES_I8(600, 12), HL_NORMAL(600)),
     .attr = {3},
     .attr_given = 1},
    {.what = "a vector", HL_INS(HL_NORMAL(12), HL_POSITIVE(1), HL_CODES_I8(5, 12))},
    {.what = "nothing", HL_INS(HL_NORMAL(0, 12), HL_POSITIVE(1), HL_CODES_I8(5, 12))},
    {.what = "features differ",
     HL_INS(HL_NORMAL(9, 17), HL_POSITIVE(1), HL_CODES_I8(33, 16)),
     .expect = HL_E_SHAPE},
    {.what = "scales of other rows",
     HL_INS(HL_NORMAL(9, 17), HL_POSITIVE(2), HL_CODES_I8(33, 17)),
     .expect = HL_E_SHAPE},
    {.what = "weights of floats",
     HL_INS(HL_NORMAL(9, 17), HL_POSITIVE(1), HL_NORMAL(33, 17)),
     .expect = HL_E_DTYPE},
};
const hl_op hl_op_linear_codes = {
    .name = "linear_codes",
    .doc = "act(x w^T + b) where w [out, in] are codes of a symmetric quantizer with one scale or "
           "one for each row; products are of floats",
    .ins = "x scales w b?",
    .outs = "y",
    .attr = {{"act", HL_ATTR_ENUM, 0, 0, 0, hl_act_names}},
    .flags = HL_OP_NO_LUA | HL_OP_MIXED,
    .shape = shape_linear_codes,
    .ref = ref_linear_codes,
    .cpu = cpu_linear_codes,
    .gpu = gpu_linear_codes,
    .gpu_scratch = gpu_scratch_linear_codes,
    .scratch = scratch_linear_codes,
    .flops = flops_linear_codes,
    HL_CASES(cases_linear_codes),
    .tol = 64};
