/* Rounding to FP8, and what must hold of weights in groups whatever the numbers. */
#include "engine/quant/method.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/team.h"
#include "engine/quant/awq.h"
#include "engine/quant/fp8.h"
#include "kernels/quant/float_body.h"

/* ---- casts ---- */

/* What a code of 7 bits stands for. */
static double value_of(int mantissa, int bias, int code)
{
    const int e = code >> mantissa, f = code & ((1 << mantissa) - 1);
    return e ? ldexp((1 << mantissa) + f, e - bias - mantissa) : ldexp(f, 1 - bias - mantissa);
}

typedef struct format {
    hl_small_float f;
    int mantissa, bias, n_codes; /* finite ones */
    uint64_t hash;               /* tests/oracle/quant_methods.py: FNV-1a of what torch casts */
} format;

/* All finite bfloat16 numbers: the nearest value, in the middle that of the even code, and the same
 * as torch's float8 types give. */
Test(method, fp8_of_all_bfloat16)
{
    const format formats[] = {{hl_float_e4m3(), 3, 7, 127, 0xc2617b6914759485u},
                              {hl_float_e5m2(), 2, 15, 124, 0x9070e0a3e06a4325u}};
    for (int i = 0; i < 2; i++) {
        const format *t = &formats[i];
        uint64_t hash = 0xCBF29CE484222325u;
        int n_off = 0;
        for (uint32_t b = 0; b < 65536; b++) {
            const uint32_t bits = b << 16;
            float x;
            memcpy(&x, &bits, sizeof x);
            const float y = hl_float_round(t->f, x);
            if (!isfinite(x)) {
                cr_expect(isnan(x) ? isnan(y) : y == x);
                continue;
            }
            unsigned char own[4];
            memcpy(own, &y, sizeof own);
            for (int k = 0; k < 4; k++)
                hash = (hash ^ own[k]) * 0x100000001B3u;
            int lo = 0;
            while (lo + 1 < t->n_codes && value_of(t->mantissa, t->bias, lo + 1) <= fabs((double)x))
                lo++;
            const double below = value_of(t->mantissa, t->bias, lo),
                         above =
                             lo + 1 < t->n_codes ? value_of(t->mantissa, t->bias, lo + 1) : below,
                         d = fabs((double)x) - below, u = above - fabs((double)x);
            const double want =
                d < u || lo + 1 == t->n_codes || (d == u && lo % 2 == 0) ? below : above;
            n_off += (double)y != copysign(want, (double)x);
        }
        cr_expect_eq(n_off, 0, "format %d: %d casts differ", i, n_off);
        cr_expect_eq(hash, t->hash, "format %d: %016llx", i, (unsigned long long)hash);
    }
    cr_expect_eq(hl_float_round(hl_float_f16(), 1.0f + 0x1p-11f), 1.0f);
    cr_expect_eq(hl_float_round(hl_float_f16(), 1.0f + 0x3p-11f), 1.0f + 0x1p-9f);
    cr_expect_eq(hl_float_round(hl_float_f16(), 0x1.8p-24f), 0x1p-23f);
    cr_expect_eq(hl_float_round(hl_float_f16(), -1e6f), -65504.0f);
}

/* ---- weights in groups ---- */

enum { N = 37, K = 200, TOKENS = 300 };
typedef struct layer {
    float w[N * K], x[TOKENS * K], gram[K * K];
    double sum[K];
    hl_layer_inputs in;
} layer;

static uint32_t draws;
static float normal(void)
{
    const hl_philox_key key = hl_philox_key_make(82, 0xF0000007u, 0);
    double s = -6;
    for (int i = 0; i < 12; i++)
        s += (double)hl_philox_u32(key, draws++) * 0x1p-32;
    return (float)s;
}

/* Inputs that follow each other from column to column, a few of them large, one never there. */
static layer *new_layer(int tokens)
{
    layer *l = calloc(1, sizeof *l);
    for (int i = 0; i < N * K; i++)
        l->w[i] = normal();
    for (int t = 0; t < tokens; t++)
        for (int c = 0; c < K; c++) {
            const float before = c ? l->x[t * K + c - 1] : 0;
            l->x[t * K + c] = 0.8f * before + normal();
        }
    for (int t = 0; t < tokens; t++)
        for (int c = 0; c < K; c++)
            l->x[t * K + c] *= c % 31 == 5 ? 20.0f : c == 100 ? 0.0f : 1.0f;
    for (int i = 0; i < K; i++)
        for (int t = 0; t < tokens; t++) {
            l->sum[i] += (double)fabsf(l->x[t * K + i]);
            for (int j = 0; j < K; j++)
                l->gram[i * K + j] += l->x[t * K + i] * l->x[t * K + j];
        }
    l->in = (hl_layer_inputs){N, K, l->w, l->gram, l->sum};
    return l;
}

static double error_of(const layer *l, const float *y)
{
    double error;
    cr_assert_eq(hl_output_error(NULL, &l->in, y, &error), HL_OK);
    return error;
}

Test(method, outputs_are_nearer_than_by_rounding)
{
    layer *l = new_layer(TOKENS);
    hl_team *team;
    cr_assert_eq(hl_team_new(3, &team), HL_OK);
    static float rtn[N * K], gptq[N * K], again[N * K], awq[N * K];
    const hl_group_options o[] = {{4, 128}, {4, 0}, {3, 24}, {2, 7}, {8, 1}, {4, 150}, {4, 1000}};
    for (size_t i = 0; i < sizeof o / sizeof *o; i++) {
        double alpha, errors[2];
        cr_assert_eq(hl_rtn(&o[i], N, K, l->w, rtn), HL_OK);
        cr_assert_eq(hl_gptq(NULL, &o[i], 0.01, &l->in, gptq), HL_OK);
        cr_assert_eq(hl_gptq(team, &o[i], 0.01, &l->in, again), HL_OK);
        cr_expect_eq(memcmp(gptq, again, sizeof gptq), 0, "other bits on three workers");
        cr_assert_eq(hl_awq(team, &o[i], &l->in, awq, &alpha, errors), HL_OK);
        const double e = error_of(l, rtn), g = error_of(l, gptq), a = error_of(l, awq);
        cr_expect(g < 0.7 * e, "%d bits: GPTQ %g, rounding %g", o[i].bits, g, e);
        cr_expect(a <= e, "%d bits: AWQ %g, rounding %g", o[i].bits, a, e);
        cr_expect_float_eq(errors[1], e, 1e-4 * e, "alpha 0 is rounding");
        cr_expect_float_eq(errors[0], a, 1e-4 * e);
        cr_expect(alpha > 0 || memcmp(awq, rtn, sizeof rtn) == 0);
    }
    hl_team_free(team);
    free(l);
}

/* Codes of groups: on one grid of 2^bits values with 0 among them, the last group shorter. */
Test(method, groups_have_grids)
{
    layer *l = new_layer(1);
    static float y[N * K];
    const hl_group_options o = {3, 64};
    cr_assert_eq(hl_rtn(&o, N, K, l->w, y), HL_OK);
    for (int r = 0; r < N; r++)
        for (int c = 0; c < K; c += 64) {
            const int n = K - c < 64 ? K - c : 64;
            double lo = 0, hi = 0;
            for (int j = 0; j < n; j++) {
                lo = fmin(lo, (double)l->w[r * K + c + j]);
                hi = fmax(hi, (double)l->w[r * K + c + j]);
            }
            const double s = (hi - lo) / 7;
            for (int j = 0; j < n; j++) {
                const double v = (double)y[r * K + c + j], code = v / s;
                cr_expect(fabs(code - rint(code)) < 1e-5);
                cr_expect(fabs(v - (double)l->w[r * K + c + j]) <= s * (1 + 1e-5), "at the ends");
            }
        }
    cr_expect_float_eq(hl_group_bits(&o, N, K), N * (3.0 * K + 4 * (16 + 3)), 1e-9);
    cr_expect_float_eq(hl_group_bits(&(hl_group_options){4, 0}, N, K), N * (4.0 * K + 20), 1e-9);
    free(l);
}

Test(method, few_tokens_and_bad_numbers)
{
    layer *l = new_layer(3); /* of 200 columns: only damping makes H invertible */
    static float rtn[N * K], y[N * K];
    const hl_group_options o = {4, 128};
    double alpha, errors[2];
    cr_assert_eq(hl_rtn(&o, N, K, l->w, rtn), HL_OK);
    cr_assert_eq(hl_gptq(NULL, &o, 0.01, &l->in, y), HL_OK, "%s", hl_err_message());
    cr_expect(error_of(l, y) < 0.1 * error_of(l, rtn), "three tokens can be met");
    cr_expect_eq(hl_gptq(NULL, &o, 1e-12, &l->in, y), HL_E_NUMERIC);
    cr_expect(strstr(hl_err_message(), "damping") != NULL, "%s", hl_err_message());
    memset(l->gram, 0, sizeof l->gram);
    memset(l->sum, 0, sizeof l->sum);
    cr_assert_eq(hl_gptq(NULL, &o, 0.01, &l->in, y), HL_OK);
    cr_expect_eq(memcmp(y, rtn, sizeof y), 0, "without inputs: rounding");
    cr_assert_eq(hl_awq(NULL, &o, &l->in, y, &alpha, errors), HL_OK);
    cr_expect_eq(memcmp(y, rtn, sizeof y), 0);
    cr_expect_eq(alpha, 0);
    l->gram[K + 1] = NAN;
    cr_expect_eq(hl_gptq(NULL, &o, 0.01, &l->in, y), HL_E_NUMERIC);
    cr_expect_eq(hl_awq(NULL, &o, &l->in, y, &alpha, errors), HL_E_NUMERIC);
    l->gram[K + 1] = 0;
    l->w[3] = INFINITY;
    cr_expect_eq(hl_rtn(&o, N, K, l->w, y), HL_E_NUMERIC);
    cr_expect_eq(hl_gptq(NULL, &o, 0.01, &l->in, y), HL_E_NUMERIC);
    cr_expect_eq(hl_awq(NULL, &o, &l->in, y, &alpha, errors), HL_E_NUMERIC);
    cr_expect_eq(hl_rtn(&(hl_group_options){1, 128}, N, K, l->w, y), HL_E_ARG);
    cr_expect_eq(hl_rtn(&(hl_group_options){9, 128}, N, K, l->w, y), HL_E_ARG);
    cr_expect_eq(hl_gptq(NULL, &(hl_group_options){4, -1}, 0.01, &l->in, y), HL_E_ARG);
    cr_expect_eq(hl_rtn(&o, 0, K, l->w, y), HL_OK);
    free(l);
}
