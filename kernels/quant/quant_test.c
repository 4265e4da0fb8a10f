/* The quantization loops of every instruction set, element by element against the definition in
 * double. Everything that is defined to the bit must be equal, not near. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/hl_kernel.h"

enum { MOST = 5000, GUARD = 64 };

static uint32_t draws;
static double uniform(double lo, double hi)
{
    const hl_philox_key key = hl_philox_key_make(77, 0xF0000002u, 0);
    return lo + (hi - lo) * (double)hl_philox_u32(key, draws++) * 0x1p-32;
}

/* --- the definition --- */

typedef struct plain {
    double s, z, q_min, q_max;
} plain;

static plain plain_of(hl_quant_grid g)
{
    return (plain){(double)g.scale, (double)g.zero, (double)(g.r_min + g.zero),
                   (double)(g.r_max + g.zero)};
}

/* Division and product of floats in double, rounded to float: what float arithmetic gives. */
static double plain_code(plain p, float x)
{
    const double q = rint((double)(float)((double)x / p.s)) + p.z;
    return q < p.q_min ? p.q_min : q > p.q_max ? p.q_max : q;
}

static float plain_apply(plain p, float x)
{
    return (float)(p.s * (plain_code(p, x) - p.z));
}

/* --- trials --- */

typedef struct trial {
    hl_quant_grid g;
    hl_code_type type;
    float x[MOST], gy[MOST];
} trial;

static hl_quant_grid grid(double scale, int zero, int q_min, int q_max)
{
    return (hl_quant_grid){(float)scale, (float)zero, (float)(q_min - zero), (float)(q_max - zero)};
}

/* Grids of every code type, with scales from the least one up, powers of two among them. */
static void set_grid(trial *t, int number)
{
    static const struct {
        hl_code_type type;
        int q_min, q_max;
    } kinds[] = {{HL_CODE_U8, 0, 255},         {HL_CODE_I8, -128, 127}, {HL_CODE_U16, 0, 65535},
                 {HL_CODE_I16, -32768, 32767}, {HL_CODE_I32, 0, 65535}, {HL_CODE_U8, 0, 3},
                 {HL_CODE_I8, -2, 1}};
    static const double scales[] = {0.25, 1e-8, 0.0123456, 3.0, 0x1p-10};
    const int k = number % 7;
    const int zero = kinds[k].q_min < 0 ? 0 : (int)uniform(0, kinds[k].q_max + 0.99);
    t->type = kinds[k].type;
    t->g = grid(scales[number % 5], zero, kinds[k].q_min, kinds[k].q_max);
}

/* Around the grid: half-integers of it, values beyond both ends, and what floats are feared for. */
static void set_numbers(trial *t)
{
    static const float special[] = {0.0f,     -0.0f,  INFINITY, -INFINITY, 3.4e38f,
                                    -3.4e38f, 1e-45f, -1e-45f,  1e-38f,    8388608.0f};
    const double lo = (double)(t->g.r_min * t->g.scale), hi = (double)(t->g.r_max * t->g.scale);
    for (int i = 0; i < MOST; i++) {
        t->x[i] = (float)uniform(1.3 * lo - 0.1, 1.3 * hi + 0.1);
        if (i % 3 == 1)
            t->x[i] = (float)((floor((double)(t->x[i] / t->g.scale)) + 0.5) * (double)t->g.scale);
        t->gy[i] = (float)uniform(-1, 1);
    }
    for (int i = 0; i < 10; i++)
        t->x[37 * i + 5] = special[i];
}

static int64_t code_at(hl_code_type type, const void *codes, int64_t i)
{
    switch (type) {
    case HL_CODE_U8:
        return ((const uint8_t *)codes)[i];
    case HL_CODE_I8:
        return ((const int8_t *)codes)[i];
    case HL_CODE_U16:
        return ((const uint16_t *)codes)[i];
    case HL_CODE_I16:
        return ((const int16_t *)codes)[i];
    default:
        return ((const int32_t *)codes)[i];
    }
}

static size_t code_bytes(hl_code_type type)
{
    return type <= HL_CODE_I8 ? 1 : type <= HL_CODE_I16 ? 2 : 4;
}

static void check_elements(const hl_cpu_kernels *k, const trial *t, int64_t n)
{
    static float y[MOST + GUARD], back[MOST + GUARD], same[MOST];
    static unsigned char codes[4 * (MOST + GUARD)];
    const plain p = plain_of(t->g);
    memset(codes, 0xA5, sizeof codes);
    for (int64_t i = 0; i < n + GUARD; i++)
        y[i] = back[i] = -77;
    k->fake_quant(t->g, n, t->x, y);
    k->quant_encode(t->g, t->type, n, t->x, codes);
    k->quant_decode(t->g, t->type, n, codes, back);
    memcpy(same, t->x, sizeof same);
    k->fake_quant(t->g, n, same, same);
    int64_t n_wrong = 0;
    for (int64_t i = 0; i < n; i++)
        n_wrong += y[i] != plain_apply(p, t->x[i]) || back[i] != y[i] || same[i] != y[i] ||
                   (double)code_at(t->type, codes, i) != plain_code(p, t->x[i]);
    cr_expect_eq(n_wrong, 0, "%s, scale %g, zero %g, %lld numbers: %lld wrong", k->isa, p.s, p.z,
                 (long long)n, (long long)n_wrong);
    for (int64_t i = n; i < n + GUARD; i++)
        cr_expect(y[i] == -77 && back[i] == -77, "%s writes beyond %lld", k->isa, (long long)n);
    for (size_t i = (size_t)n * code_bytes(t->type); i < sizeof codes; i++)
        cr_assert_eq(codes[i], 0xA5, "%s writes codes beyond %lld", k->isa, (long long)n);
}

Test(quant_kernels, elements_are_those_of_the_definition)
{
    static const int64_t sizes[] = {0, 1, 31, 33, 97, 1025, MOST};
    static trial t;
    const hl_cpu_kernels *all[3];
    const int n_isa = hl_cpu_all(all);
    for (int number = 0; number < 35; number++) {
        set_grid(&t, number);
        set_numbers(&t);
        for (int i = 0; i < n_isa; i++)
            check_elements(all[i], &t, sizes[number % 7]);
    }
}

Test(quant_kernels, nan_stays_nan_and_has_the_least_code)
{
    const hl_cpu_kernels *all[3];
    const int n_isa = hl_cpu_all(all);
    float x[40], y[40];
    uint8_t codes[40];
    for (int i = 0; i < 40; i++)
        x[i] = i % 3 ? 1.0f : NAN;
    for (int k = 0; k < n_isa; k++) {
        all[k]->fake_quant(grid(0.5, 7, 3, 255), 40, x, y);
        all[k]->quant_encode(grid(0.5, 7, 3, 255), HL_CODE_U8, 40, x, codes);
        for (int i = 0; i < 40; i++) {
            cr_expect(i % 3 ? y[i] == 1.0f : isnan(y[i]), "%s", all[k]->isa);
            cr_expect_eq(codes[i], i % 3 ? 9 : 3, "%s", all[k]->isa);
        }
    }
}

/* --- gradients --- */

static void check_vjp(const hl_cpu_kernels *k, const trial *t, int64_t n)
{
    static float gx[MOST];
    const plain p = plain_of(t->g);
    double sums[2] = {10, 20}, want[2] = {10, 20}, size = 1;
    k->fake_quant_vjp(t->g, n, t->gy, t->x, gx, sums);
    for (int64_t i = 0; i < n; i++) {
        const double gy = (double)t->gy[i], v = (double)(float)((double)t->x[i] / p.s);
        const double u = rint(v) + p.z, q = plain_code(p, t->x[i]);
        cr_assert_eq(gx[i], u == q ? t->gy[i] : 0.0f, "%s, %g", k->isa, (double)t->x[i]);
        const double ds = u == q ? (double)(float)(rint(v) - v) : q - p.z;
        want[0] += gy * ds;
        want[1] += u == q ? 0 : -gy * p.s;
        size += fabs(gy * ds);
    }
    cr_expect_float_eq(sums[0], want[0], 1e-6 * size, "%s: %g, not %g", k->isa, sums[0], want[0]);
    cr_expect_float_eq(sums[1], want[1], 1e-6 * ((double)n + 20) * fmax(1, p.s), "%s", k->isa);
}

Test(quant_kernels, gradients_are_those_of_the_definition)
{
    static trial t;
    const hl_cpu_kernels *all[3];
    const int n_isa = hl_cpu_all(all);
    for (int number = 0; number < 35; number++) {
        set_grid(&t, number);
        set_numbers(&t);
        for (int i = 0; i < n_isa; i++)
            check_vjp(all[i], &t, number % 2 ? MOST : 1000);
    }
}

/* --- errors of candidates --- */

static double plain_error(hl_quant_grid g, int64_t n, const float *x)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)(float)((double)x[i] - (double)plain_apply(plain_of(g), x[i]));
        sum += (double)(float)(d * d);
    }
    return sum;
}

/* Sharing sums between candidates must not show: each as if it were alone, to the bit. */
Test(quant_kernels, errors_are_summed_over_all_elements)
{
    static float x[MOST];
    enum { N_GRIDS = 40 };
    hl_quant_bounds bounds[N_GRIDS];
    const hl_cpu_kernels *all[3];
    const int n_isa = hl_cpu_all(all);
    for (int i = 0; i < MOST; i++) /* blocks within and wholly beyond the bounds, on both sides */
        x[i] = (float)(i < 2048   ? uniform(-0.3, 0.4)
                       : i < 4096 ? uniform(20, 30)
                                  : uniform(-30, -20));
    for (int i = 0; i < N_GRIDS; i++)
        bounds[i] = (hl_quant_bounds){(float)(-i * 6), (float)(255 - i * 6)};
    for (int k = 0; k < n_isa; k++) {
        double sums[N_GRIDS] = {0};
        all[k]->quant_errors(0.05f, MOST, x, N_GRIDS, bounds, sums);
        for (int i = 0; i < N_GRIDS; i++) {
            const hl_quant_grid g = {0.05f, -bounds[i].r_min, bounds[i].r_min, bounds[i].r_max};
            const double want = plain_error(g, MOST, x);
            double alone = 0;
            all[k]->quant_errors(0.05f, MOST, x, 1, bounds + i, &alone);
            cr_expect_eq(sums[i], alone, "%s, grid %d", all[k]->isa, i);
            cr_expect_float_eq(sums[i], want, 1e-6 * want, "%s, grid %d: %g, not %g", all[k]->isa,
                               i, sums[i], want);
        }
    }
}

Test(quant_kernels, products_of_codes_become_numbers)
{
    static int32_t acc[MOST], sums[MOST];
    static float scales[MOST], bias[MOST], y[MOST];
    const float s_x = 0.0123f;
    for (int i = 0; i < MOST; i++) {
        acc[i] = (int32_t)uniform(-4e7, 4e7);
        sums[i] = (int32_t)uniform(-5e4, 5e4);
        scales[i] = (float)uniform(1e-4, 1e-2);
        bias[i] = (float)uniform(-1, 1);
    }
    const hl_cpu_kernels *all[3];
    const int n_isa = hl_cpu_all(all);
    for (int k = 0; k < n_isa; k++)
        for (int how = 0; how < 4; how++) {
            const int64_t n = how == 2 ? 37 : MOST;
            for (int i = 0; i < n; i++)
                y[i] = (float)(acc[i] - 113 * sums[i]);
            all[k]->rescale(n, s_x, scales, how & 1, how & 2 ? bias : NULL, y);
            for (int i = 0; i < n; i++) {
                const float s = (float)((double)s_x * (double)scales[how & 1 ? i : 0]);
                float want = (float)((double)(float)(acc[i] - 113 * sums[i]) * (double)s);
                if (how & 2)
                    want = (float)((double)want + (double)bias[i]);
                cr_assert(y[i] == want, "%s, %d, way %d: %g, not %g", all[k]->isa, i, how,
                          (double)y[i], (double)want);
            }
        }
}

Test(quant_kernels, min_max_sees_every_element)
{
    static float x[200];
    const hl_cpu_kernels *all[3];
    const int n_isa = hl_cpu_all(all);
    for (int k = 0; k < n_isa; k++)
        for (int n = 1; n < 140; n += n < 70 ? 1 : 23)
            for (int at = 0; at < n; at++) {
                float lo, hi;
                for (int i = 0; i < 200; i++)
                    x[i] = i < n ? (float)(i % 5) : 1000;
                x[at] = -3;
                all[k]->min_max(n, x, &lo, &hi);
                cr_assert(lo == -3, "%s", all[k]->isa);
                x[at] = 9;
                all[k]->min_max(n, x, &lo, &hi);
                cr_assert(hi == 9 && lo >= 0, "%s", all[k]->isa);
                x[at] = NAN;
                all[k]->min_max(n, x, &lo, &hi);
                cr_assert(isnan(lo) && isnan(hi), "%s", all[k]->isa);
            }
}
