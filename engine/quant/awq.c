#include "engine/quant/awq.h"

#include <math.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/mem.h"

#define LEAST 1e-4

hl_status hl_output_error(hl_team *team, const hl_layer_inputs *in, const float *y, double *error)
{
    hl_status st = HL_OK;
    const int64_t n = in->n, k = in->k;
    float *d = hl_alloc((size_t)(2 * n * k + 1) * sizeof *d), *product = d ? d + n * k : NULL;
    void *scratch = hl_alloc(hl_cpu()->gemm_scratch_bytes(n, k, k, team ? team->n : 1) + 1);
    if (!d || !scratch)
        HL_TRY(HL_E_NOMEM);
    for (int64_t i = 0; i < n * k; i++)
        d[i] = in->w[i] - y[i];
    const hl_gemm_args g = {.m = n,
                            .n = k,
                            .k = k,
                            .a = d,
                            .a_row = k,
                            .a_col = 1,
                            .b = in->gram,
                            .b_row = k,
                            .b_col = 1,
                            .c = product,
                            .c_row = k};
    hl_cpu()->gemm(team, &g, scratch);
    *error = 0;
    for (int64_t i = 0; i < n * k; i++)
        *error += (double)product[i] * (double)d[i];
out:
    hl_free(d);
    hl_free(scratch);
    return st;
}

static void scales_of(int64_t k, const double *sum, double alpha, float *s)
{
    double least = HUGE_VAL, most = 0, mean = 0;
    for (int64_t j = 0; j < k; j++)
        mean += sum[j] / (double)k;
    const double unit = mean > 0 ? mean : 1; /* s is known up to a factor */
    for (int64_t j = 0; j < k; j++) {
        const double v = pow(fmax(sum[j] / unit, LEAST), alpha);
        least = fmin(least, v);
        most = fmax(most, v);
        s[j] = (float)v;
    }
    const float middle = (float)sqrt(least * most);
    for (int64_t j = 0; j < k; j++)
        s[j] /= middle;
}

static hl_status try_alpha(const hl_group_options *o, const hl_layer_inputs *in, double alpha,
                           float *s, float *y)
{
    const int64_t n = in->n, k = in->k;
    scales_of(k, in->sum, alpha, s);
    for (int64_t i = 0; i < n * k; i++)
        y[i] = in->w[i] * s[i % k];
    hl_status st = hl_rtn(o, n, k, y, y);
    for (int64_t i = 0; st == HL_OK && i < n * k; i++)
        y[i] /= s[i % k];
    return st;
}

hl_status hl_awq(hl_team *team, const hl_group_options *o, const hl_layer_inputs *in, float *y,
                 double *alpha, double errors[2])
{
    hl_status st = HL_OK;
    const size_t count = (size_t)(in->n * in->k);
    float *s = hl_alloc((size_t)(in->k + 1) * sizeof *s);
    float *trial = hl_alloc((count + 1) * sizeof *trial);
    if (!s || !trial)
        HL_TRY(HL_E_NOMEM);
    for (int i = 0; i <= HL_AWQ_STEPS; i++) {
        const double a = (double)i / HL_AWQ_STEPS;
        double error;
        HL_TRY(try_alpha(o, in, a, s, trial));
        HL_TRY(hl_output_error(team, in, trial, &error));
        if (!isfinite(error))
            HL_FAIL(HL_E_NUMERIC, "what goes into the layer is not finite");
        errors[1] = i == 0 ? error : errors[1];
        if (i > 0 && error >= errors[0])
            continue;
        errors[0] = error;
        *alpha = a;
        memcpy(y, trial, count * sizeof *y);
    }
out:
    hl_free(s);
    hl_free(trial);
    return st;
}
