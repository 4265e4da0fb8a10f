/* Activations as FP8 numbers with one scale per tensor, found at run time (arXiv 2209.05433). */
#include "engine/ops/op_common.h"
#include "engine/quant/fp8.h"

static const char *const format_names[] = {"e4m3", "e5m2", NULL};

static hl_status shape_fake_fp8(hl_call *c)
{
    hl_status st = hl_want_float(c, 0);
    if (st == HL_OK)
        hl_out_like(c, 0, 0);
    return st;
}

static size_t scratch_fake_fp8(const hl_call *c, int n_workers)
{
    (void)c;
    return (size_t)n_workers * sizeof(float);
}

typedef struct fp8_job {
    hl_fp8 format;
    float scale, *amax; /* per worker */
    const float *x;
    float *y;
} fp8_job;

static void amax_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const fp8_job *j = arg;
    j->amax[worker] = hl_amax(end - begin, j->x + begin);
}

static void apply_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const fp8_job *j = arg;
    (void)worker;
    hl_fp8_apply(j->format, j->scale, end - begin, j->x + begin, j->y + begin);
}

static hl_status cpu_fake_fp8(const hl_op_run *r)
{
    const int64_t n = hl_type_count(&r->call->in[0]);
    const int n_workers = r->exec->team ? r->exec->team->n : 1;
    fp8_job j = {.format = (hl_fp8)r->call->attrs.v[0].i,
                 .amax = r->scratch,
                 .x = hl_in_f(r, 0),
                 .y = hl_out_f(r, 0)};
    float amax = 0;
    memset(j.amax, 0, (size_t)n_workers * sizeof *j.amax);
    hl_parallel(r->exec, n, 64, HL_GRAIN, amax_part, &j);
    for (int i = 0; i < n_workers; i++)
        amax = amax != amax || j.amax[i] <= amax ? amax : j.amax[i];
    j.scale = hl_fp8_scale(j.format, amax);
    hl_parallel(r->exec, n, 64, HL_GRAIN, apply_part, &j);
    return HL_OK;
}

static hl_status gpu_fake_fp8(const hl_op_run *r)
{
    const int64_t n = hl_type_count(&r->call->in[0]);
    float *ends = r->scratch;
    hl_gpu_get()->extremes(r->exec->gpu, n, hl_in_f(r, 0), ends, ends + 2);
    hl_gpu_get()->fake_fp8(r->exec->gpu, r->call->attrs.v[0].i == HL_FP8_E5M2, n, hl_in_f(r, 0),
                           ends, hl_out_f(r, 0));
    return HL_OK;
}

static size_t gpu_scratch_fake_fp8(const hl_call *c)
{
    (void)c;
    return (2 + 4 * HL_GPU_TENSOR_PARTS) * sizeof(float);
}

/* What the 7 bits below the sign stand for. */
static double value_of(hl_fp8 format, int code)
{
    const int m = format == HL_FP8_E4M3 ? 3 : 2, bias = format == HL_FP8_E4M3 ? 7 : 15;
    const int e = code >> m, f = code & ((1 << m) - 1);
    return e ? ldexp((1 << m) + f, e - bias - m) : ldexp(f, 1 - bias - m);
}

/* The nearest of all numbers of the format; in the middle, that of the even code. */
static double nearest(hl_fp8 format, double x)
{
    int best = 0, code = 0;
    if (isnan(x))
        return x;
    for (; value_of(format, code) <= (double)hl_fp8_max(format) && code < 127; code++) {
        const double d = fabs(fabs(x) - value_of(format, code)),
                     least = fabs(fabs(x) - value_of(format, best));
        if (d < least || (d == least && code % 2 == 0))
            best = code;
    }
    return copysign(value_of(format, best), x);
}

static hl_status ref_fake_fp8(const hl_op_run *r)
{
    const hl_fp8 format = (hl_fp8)r->call->attrs.v[0].i;
    const int64_t n = hl_type_count(&r->call->in[0]);
    float amax = 0;
    for (int64_t i = 0; i < n; i++) {
        const float a = fabsf((float)hl_in_d(r, 0)[i]);
        amax = isnan(amax) || a <= amax ? amax : a;
    }
    const float s = hl_fp8_scale(format, amax);
    for (int64_t i = 0; i < n; i++) {
        const float v = (float)hl_in_d(r, 0)[i] / s; /* as the casts are defined: on floats */
        hl_out_d(r, 0)[i] = nearest(format, (double)v) * (double)s;
    }
    return HL_OK;
}

static const hl_case cases_fake_fp8[] = {
    {.what = "e4m3", HL_INS(HL_NORMAL(5, 33))},
    {.what = "e5m2", HL_INS(HL_NORMAL(7, 3, 9)), .attr = {1}, .attr_given = 1},
    {.what = "many", HL_INS(HL_NORMAL(40000))},
    {.what = "zeros", HL_INS(HL_RANGE(0, 0, 9))},
    {.what = "a number", HL_INS(HL_SCALAR(0.3))},
    {.what = "nothing", HL_INS(HL_NORMAL(0, 3))},
    {.what = "integers",
     HL_INS({HL_DTYPE_I32, 1, {4}, HL_FILL_INDEX, 0, 3, 0}),
     .expect = HL_E_DTYPE},
};
const hl_op hl_op_fake_fp8 = {
    .name = "fake_fp8",
    .doc = "x as FP8 numbers with one scale: cast(x m / amax) amax / m, where amax is the largest "
           "|x| and m that of the format, 448 or 57344 (arXiv 2209.05433)",
    .ins = "x",
    .outs = "y",
    .attr = {{"format", HL_ATTR_ENUM, 0, 0, 0, format_names}},
    .flags = HL_OP_NO_LUA,
    .shape = shape_fake_fp8,
    .ref = ref_fake_fp8,
    .cpu = cpu_fake_fp8,
    .gpu = gpu_fake_fp8,
    .gpu_scratch = gpu_scratch_fake_fp8,
    .scratch = scratch_fake_fp8,
    .inplace = 1,
    HL_CASES(cases_fake_fp8)};
