/* Accuracy of the elementary functions, as each instruction set computes them, against libm in
 * double over every n-th float there is. The errors allowed are those that math_body.h names. */
#include "kernels/vec/math_body.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/hl_kernel.h"

enum { CHUNK = 4093 }; /* not a multiple of a vector: the loops have a rest */

#if defined(__SANITIZE_ADDRESS__) || defined(HL_DEBUG)
enum { SLOWER = 16 };
#else
enum { SLOWER = 1 };
#endif

/* One function of the table: unary, or binary with a first operand of 1. */
typedef struct function {
    const char *name;
    hl_ew1_id op1;
    hl_ew2_id op2; /* used if op1 is HL_EW1_COUNT */
    double (*ref)(double);
} function;

/* The error allowed at x, where the true value is y. Where floats are denormal their spacing,
 * 2^-149, is allowed on top. */
typedef struct allowed {
    double rel;  /* times |y| */
    double abs;  /* alone */
    double by_x; /* times |x| */
} allowed;

static double ref_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}
static double ref_gelu(double x)
{
    return 0.5 * x * erfc(-x * 0.70710678118654752440);
}
static double ref_gelu_slope(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752440) + x * 0.39894228040143267794 * exp(-0.5 * x * x);
}
static double inner(double x)
{
    return 0.79788456080286535588 * (x + 0.044715 * x * x * x);
}
static double ref_gelu_tanh(double x)
{
    return x / (1 + exp(-2 * inner(x)));
}
static double ref_gelu_tanh_slope(double x)
{
    const double u = inner(x), up = 1 / (1 + exp(-2 * u)), down = 1 / (1 + exp(2 * u));
    const double du = 0.79788456080286535588 * (1 + 3 * 0.044715 * x * x);
    return up + (fabs(x) > 100 ? 0 : x * 2 * up * down * du);
}

static const function f_exp = {"exp", HL_EW1_exp, HL_EW2_COUNT, exp},
                      f_erf = {"erf", HL_EW1_erf, HL_EW2_COUNT, erf},
                      f_tanh = {"tanh", HL_EW1_tanh, HL_EW2_COUNT, tanh},
                      f_log = {"log", HL_EW1_log, HL_EW2_COUNT, log},
                      f_sigmoid = {"sigmoid", HL_EW1_sigmoid, HL_EW2_COUNT, ref_sigmoid},
                      f_gelu = {"gelu", HL_EW1_gelu, HL_EW2_COUNT, ref_gelu},
                      f_gelu_tanh = {"gelu_tanh", HL_EW1_gelu_tanh, HL_EW2_COUNT, ref_gelu_tanh},
                      f_gelu_slope = {"gelu_slope", HL_EW1_COUNT, HL_EW2_gelu_slope,
                                      ref_gelu_slope},
                      f_gelu_tanh_slope = {"gelu_tanh_slope", HL_EW1_COUNT, HL_EW2_gelu_tanh_slope,
                                           ref_gelu_tanh_slope};

static void compute(const hl_cpu_kernels *k, const function *f, int64_t n, const float *x, float *y)
{
    const float one = 1.0f;
    if (f->op1 != HL_EW1_COUNT)
        k->ew1(f->op1, n, x, y);
    else
        k->ew2(f->op2, HL_EW2_SV, n, &one, x, y);
}

static float at(const hl_cpu_kernels *k, const function *f, float x)
{
    float y;
    compute(k, f, 1, &x, &y);
    return y;
}

/* Floats in order of their value as integers: -inf .. -0, +0 .. +inf. */
static float nth(int64_t i)
{
    return hl_bits_to_float((int32_t)(i >= 0 ? (uint32_t)i : 0x80000000u | (uint32_t)(-i - 1)));
}
static int64_t index_of(float x)
{
    const uint32_t bits = (uint32_t)hl_float_to_bits(x);
    return bits >> 31 ? -(int64_t)(bits & 0x7FFFFFFFu) - 1 : (int64_t)bits;
}

/* Every `stride`-th float of [lo, hi] and the ends. */
static void scan(const function *f, float lo, float hi, int64_t stride, allowed a)
{
    static float x[CHUNK], y[CHUNK];
    static double want[CHUNK];
    const hl_cpu_kernels *all[3];
    const int n_all = hl_cpu_all(all);
    double worst[3] = {0}, rel[3] = {0};
    float worst_x[3] = {0};
    const int64_t end = index_of(hi);
    stride = stride > 64 ? stride * SLOWER + 1 : stride;
    for (int64_t i = index_of(lo); i <= end;) {
        int64_t n = 0;
        for (; n < CHUNK && i <= end; n++, i += i < end && i + stride > end ? end - i : stride)
            x[n] = nth(i);
        for (int64_t j = 0; j < n; j++)
            want[j] = f->ref((double)x[j]);
        for (int t = 0; t < n_all; t++) {
            compute(all[t], f, n, x, y);
            for (int64_t j = 0; j < n; j++) {
                const double e = fabs((double)y[j] - want[j]);
                if ((double)y[j] == want[j])
                    continue;
                double room = a.rel * fabs(want[j]) + a.abs + a.by_x * fabs((double)x[j]);
                room += fabs(want[j]) < 0x1p-126 ? 0x1p-149 : 0;
                if (!(e / room <= worst[t])) {
                    worst[t] = isnan(e) ? HUGE_VAL : e / room;
                    worst_x[t] = x[j];
                }
                if (fabs(want[j]) >= 0x1p-126 && e / fabs(want[j]) > rel[t])
                    rel[t] = e / fabs(want[j]);
            }
        }
    }
    for (int t = 0; t < n_all; t++) {
        cr_expect(worst[t] <= 1, "%s, %s: error %.3f times the allowed one at %a", f->name,
                  all[t]->isa, worst[t], (double)worst_x[t]);
        fprintf(stderr, "%-16s [%11.4g, %11.4g] %-8s %.3f of the error allowed, %.3g relative\n",
                f->name, (double)lo, (double)hi, all[t]->isa, worst[t], rel[t]);
    }
}

static void never_falls(const function *f, float lo, float hi)
{
    static float x[CHUNK], y[CHUNK];
    const hl_cpu_kernels *all[3];
    const int n_all = hl_cpu_all(all);
    for (int t = 0; t < n_all; t++) {
        float last = -INFINITY;
        for (int64_t i = index_of(lo); i <= index_of(hi);) {
            int64_t n = 0;
            for (; n < CHUNK && i <= index_of(hi); n++, i++)
                x[n] = nth(i);
            compute(all[t], f, n, x, y);
            for (int64_t j = 0; j < n; j++) {
                cr_assert(y[j] >= last, "%s, %s falls at %a", f->name, all[t]->isa, (double)x[j]);
                last = y[j];
            }
        }
    }
}

typedef struct special {
    float x, want;
} special;

static void exactly(const function *f, const special *rows, int n)
{
    const hl_cpu_kernels *all[3];
    const int n_all = hl_cpu_all(all);
    for (int t = 0; t < n_all; t++)
        for (int i = 0; i < n; i++) {
            /* in a vector and in the rest of one */
            float x[19], y[19];
            for (int j = 0; j < 19; j++)
                x[j] = rows[i].x;
            compute(all[t], f, 19, x, y);
            for (int j = 0; j < 19; j += 18)
                cr_expect(isnan(rows[i].want) ? isnan(y[j]) : y[j] == rows[i].want,
                          "%s, %s(%a) is %a", all[t]->isa, f->name, (double)rows[i].x,
                          (double)y[j]);
        }
}
#define EXACTLY(f, ...)                                                                            \
    exactly(&(f), (const special[]){__VA_ARGS__},                                                  \
            (int)(sizeof((const special[]){__VA_ARGS__}) / sizeof(special)))

static const float inf = INFINITY, tiny = 0x1p-149f, huge = 0x1.fffffep127f;

Test(math, helpers)
{
    cr_expect(nth(index_of(-1.5f)) == -1.5f && nth(index_of(0.25f)) == 0.25f);
    cr_expect(nth(0) == 0 && nth(-1) == 0 && nth(1) == tiny && nth(-2) == -tiny);
    cr_expect(nth(index_of(inf) - 1) == huge && nth(index_of(-inf) + 1) == -huge);
}

Test(math, exp, .timeout = 120)
{
    scan(&f_exp, -110.0f, 88.7228f, 509, (allowed){.rel = 1.2e-7});
    scan(&f_exp, -104.1f, -87.0f, 3, (allowed){.rel = 1.2e-7});
    scan(&f_exp, 88.0f, 88.7228f, 3, (allowed){.rel = 1.2e-7});
    never_falls(&f_exp, -104.01f, -103.2f); /* 0 and the smallest denormals */
    never_falls(&f_exp, -87.4f, -87.3f);    /* to the normal numbers */
    never_falls(&f_exp, 88.7f, 88.75f);     /* to inf */
    never_falls(&f_exp, 88.99f, 89.01f);
    EXACTLY(f_exp, {-inf, 0}, {-huge, 0}, {-1e4f, 0}, {-104.0f, 0}, {-103.98f, 0}, {-103.9f, tiny},
            {0, 1}, {-0.0f, 1}, {tiny, 1}, {-tiny, 1}, {88.73f, inf}, {89, inf}, {90, inf},
            {1e4f, inf}, {huge, inf}, {inf, inf}, {NAN, NAN});
}

Test(math, erf, .timeout = 120)
{
    scan(&f_erf, -inf, inf, 1021, (allowed){.rel = 2e-7});
    scan(&f_erf, 0.88f, 0.92f, 1, (allowed){.rel = 2e-7}); /* where the formula changes */
    scan(&f_erf, 4.0f, 4.1f, 1, (allowed){.rel = 2e-7});
    EXACTLY(f_erf, {0, 0}, {-0.0f, 0}, {inf, 1}, {-inf, -1}, {huge, 1}, {-huge, -1}, {5, 1},
            {-5, -1}, {NAN, NAN});
}

Test(math, tanh, .timeout = 120)
{
    scan(&f_tanh, -inf, inf, 1021, (allowed){.rel = 2e-7});
    scan(&f_tanh, 0.6f, 0.65f, 1, (allowed){.rel = 2e-7}); /* where the formula changes */
    EXACTLY(f_tanh, {0, 0}, {-0.0f, 0}, {inf, 1}, {-inf, -1}, {huge, 1}, {-huge, -1}, {20, 1},
            {-20, -1}, {tiny, tiny}, {-tiny, -tiny}, {NAN, NAN});
}

Test(math, log, .timeout = 120)
{
    scan(&f_log, tiny, huge, 509, (allowed){.rel = 1e-7});
    scan(&f_log, 0.99f, 1.01f, 1, (allowed){.rel = 1e-7});
    scan(&f_log, 0.706f, 0.708f, 1, (allowed){.rel = 1e-7});        /* where the exponent changes */
    scan(&f_log, 0x1p-127f, 0x1p-125f, 61, (allowed){.rel = 1e-7}); /* denormals end here */
    EXACTLY(f_log, {1, 0}, {0, -inf}, {-0.0f, -inf}, {inf, inf}, {-inf, NAN}, {-1, NAN},
            {-tiny, NAN}, {-huge, NAN}, {NAN, NAN});
}

/* Odd functions, bit for bit, and bounded. */
Test(math, symmetry)
{
    const hl_cpu_kernels *all[3];
    const int n_all = hl_cpu_all(all);
    const function *const odd[] = {&f_erf, &f_tanh};
    for (int t = 0; t < n_all; t++)
        for (int64_t i = 0; i <= index_of(inf); i += 999983) {
            const float x = nth(i);
            for (int k = 0; k < 2; k++) {
                const float y = at(all[t], odd[k], x);
                cr_assert(y == -at(all[t], odd[k], -x) && y >= 0 && y <= 1, "%s(%a)", odd[k]->name,
                          (double)x);
            }
            const float s = at(all[t], &f_sigmoid, x) + at(all[t], &f_sigmoid, -x);
            cr_assert(fabsf(s - 1) <= 2.4e-7f, "sigmoid at %a", (double)x);
        }
}

Test(math, sigmoid, .timeout = 120)
{
    scan(&f_sigmoid, -87.3f, inf, 1021, (allowed){.rel = 2e-7});
    scan(&f_sigmoid, -inf, -87.3f, 1021, (allowed){.rel = 2e-7, .abs = 3e-39});
    EXACTLY(f_sigmoid, {0, 0.5f}, {-0.0f, 0.5f}, {inf, 1}, {-inf, 0}, {-89, 0}, {-huge, 0},
            {huge, 1}, {NAN, NAN});
}

Test(math, gelu, .timeout = 120)
{
    scan(&f_gelu, -huge, huge, 1021, (allowed){.by_x = 1.5e-7});
    scan(&f_gelu, -8, 8, 257, (allowed){.by_x = 1.5e-7});
    scan(&f_gelu_slope, -huge, huge, 1021, (allowed){.abs = 2e-7});
    scan(&f_gelu_slope, -15, 15, 257, (allowed){.abs = 2e-7});
    EXACTLY(f_gelu, {0, 0}, {-0.0f, 0}, {inf, inf}, {huge, huge}, {10, 10}, {-10, 0}, {-huge, 0},
            {NAN, NAN});
    EXACTLY(f_gelu_slope, {0, 0.5f}, {-0.0f, 0.5f}, {huge, 1}, {-huge, 0}, {20, 1}, {-20, 0},
            {NAN, NAN});
}

Test(math, gelu_tanh, .timeout = 120)
{
    scan(&f_gelu_tanh, -huge, huge, 1021, (allowed){.by_x = 1.5e-7});
    scan(&f_gelu_tanh, -8, 8, 257, (allowed){.by_x = 1.5e-7});
    scan(&f_gelu_tanh_slope, -huge, huge, 1021, (allowed){.abs = 6e-7});
    scan(&f_gelu_tanh_slope, -15, 15, 257, (allowed){.abs = 6e-7});
    EXACTLY(f_gelu_tanh, {0, 0}, {-0.0f, 0}, {inf, inf}, {huge, huge}, {10, 10}, {-10, 0},
            {-huge, 0}, {NAN, NAN});
    EXACTLY(f_gelu_tanh_slope, {0, 0.5f}, {-0.0f, 0.5f}, {huge, 1}, {-huge, 0}, {1e15f, 1},
            {-1e15f, 0}, {20, 1}, {-20, 0}, {NAN, NAN});
}

/* hl_log1p_below is in no table: as the compiler makes it here. */
Test(math, log1p_below)
{
    double worst = 0;
    for (double t = 1e-30; t < 1; t *= 1.0003) {
        const float x = (float)-t;
        const double want = log1p((double)x), got = (double)hl_log1p_below(x);
        worst = fmax(worst, fabs(got - want) / fabs(want));
    }
    for (int i = 1; i < 4096; i++) { /* up to the float above -1 */
        const float x = -1.0f + (float)i * 0x1p-24f;
        const double want = log1p((double)x);
        worst = fmax(worst, fabs((double)hl_log1p_below(x) - want) / fabs(want));
    }
    cr_expect(worst <= 2e-7, "relative error %g", worst);
    cr_expect(hl_log1p_below(0.0f) == 0.0f);
    cr_expect(isnan(hl_log1p_below(NAN)));
}
