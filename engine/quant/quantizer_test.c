/* Quantizers: what is refused, what edges give, and properties on random ranges and numbers. */
#include "engine/quant/quantizer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/mem.h"

static uint32_t draws;
static double uniform(double lo, double hi)
{
    const hl_philox_key key = hl_philox_key_make(78, 0xF0000003u, 0);
    return lo + (hi - lo) * (double)hl_philox_u32(key, draws++) * 0x1p-32;
}

static hl_quantizer made(hl_quant_scheme scheme, int bits, int64_t n_channels, const double *lo,
                         const double *hi, bool is_f64)
{
    hl_quantizer q;
    cr_assert_eq(
        hl_quantizer_init(
            &q, &(hl_quant_options){.scheme = scheme, .bits = bits, .n_channels = n_channels}),
        HL_OK);
    cr_assert_eq(hl_quantizer_set_range(&q, &(hl_quant_range){n_channels, is_f64, lo, hi}), HL_OK,
                 "%s", hl_err_message());
    return q;
}

static hl_quantizer one(hl_quant_scheme scheme, int bits, double lo, double hi)
{
    return made(scheme, bits, 1, &lo, &hi, false);
}

Test(quantizer, impossible_options_are_refused)
{
    static const hl_quant_options bad[] = {
        {HL_QUANT_SYMMETRIC, 1, 1, false},  {HL_QUANT_SYMMETRIC, 17, 1, false},
        {HL_QUANT_ASYMMETRIC, 1, 1, false}, {HL_QUANT_ASYMMETRIC, 17, 1, false},
        {HL_QUANT_SYMMETRIC, 8, 0, false},  {(hl_quant_scheme)7, 8, 1, false}};
    for (int i = 0; i < 6; i++) {
        hl_quantizer q;
        cr_expect_eq(hl_quantizer_init(&q, bad + i), HL_E_ARG, "%d", i);
        hl_quantizer_done(&q);
    }
    hl_quantizer q;
    hl_mem_fail_after(0);
    cr_expect_eq(hl_quantizer_init(&q, &(hl_quant_options){HL_QUANT_SYMMETRIC, 8, 5, false}),
                 HL_E_NOMEM);
    hl_mem_fail_after(-1);
    hl_quantizer_done(&q);
}

Test(quantizer, impossible_ranges_leave_the_former_one)
{
    static const double bad[][2] = {
        {NAN, 1}, {-1, NAN}, {-INFINITY, 1}, {0, INFINITY}, {-3e38, 3e38}};
    hl_quantizer q = one(HL_QUANT_ASYMMETRIC, 8, -1, 1);
    const hl_quant_grid before = hl_quantizer_grid(&q, 0);
    for (int i = 0; i < 5; i++)
        cr_expect_eq(hl_quantizer_set_range(&q, &(hl_quant_range){1, i % 2, bad[i], bad[i] + 1}),
                     HL_E_NUMERIC, "%d", i);
    const double three[3] = {-1, -1, -1}, ones[3] = {1, 1, 1};
    cr_expect_eq(hl_quantizer_set_range(&q, &(hl_quant_range){3, false, three, ones}), HL_E_SHAPE);
    const hl_quant_grid after = hl_quantizer_grid(&q, 0);
    cr_expect_eq(memcmp(&before, &after, sizeof after), 0);
    hl_quantizer_done(&q);
}

/* A range of nothing but zeros has the least scale, in both precisions, and stays usable. */
Test(quantizer, empty_ranges_have_the_least_scale)
{
    for (int scheme = 0; scheme < 2; scheme++)
        for (int is_f64 = 0; is_f64 < 2; is_f64++) {
            const double zero = 0, tiny[2] = {-1e-9, 1e-9};
            hl_quantizer q = made((hl_quant_scheme)scheme, 8, 1, &zero, &zero, is_f64);
            cr_expect(q.is_floored && q.scale[0] == 1e-8f && q.int_min == 0);
            const float x[3] = {0, 5, -5};
            float y[3];
            hl_quantizer_apply(&q, (hl_quant_part){3, 0, 3}, x, y);
            cr_expect(y[0] == 0 && y[1] == 1e-8f * 255 && y[2] == 0);
            cr_expect_eq(hl_quantizer_set_range(&q, &(hl_quant_range){1, is_f64, tiny, tiny + 1}),
                         HL_OK);
            cr_expect(q.is_floored && q.scale[0] == 1e-8f);
            const double lo = -1, hi = 1;
            cr_expect_eq(hl_quantizer_set_range(&q, &(hl_quant_range){1, is_f64, &lo, &hi}), HL_OK);
            cr_expect(!q.is_floored);
            hl_quantizer_done(&q);
        }
}

Test(quantizer, zero_is_always_representable)
{
    hl_quantizer q = one(HL_QUANT_ASYMMETRIC, 8, -4, -1); /* negative numbers only */
    cr_expect(q.zero_point[0] == 255 && q.scale[0] == 4.0f / 255);
    hl_quantizer_done(&q);
    q = one(HL_QUANT_ASYMMETRIC, 8, 1, 4);
    cr_expect(q.zero_point[0] == 0 && q.scale[0] == 4.0f / 255);
    hl_quantizer_done(&q);
    q = one(HL_QUANT_SYMMETRIC, 8, 1, 4); /* unsigned: twice as fine */
    cr_expect(q.int_min == 0 && q.int_max == 255 && q.scale[0] == 4.0f / 255);
    cr_expect_eq(hl_quantizer_code_type(&q), HL_CODE_U8);
    hl_quantizer_done(&q);
    q = one(HL_QUANT_SYMMETRIC, 8, -4, -1);
    cr_expect(q.int_min == -128 && q.int_max == 127 && q.scale[0] == 4.0f / 127);
    cr_expect_eq(hl_quantizer_code_type(&q), HL_CODE_I8);
    hl_quantizer_done(&q);
}

Test(quantizer, one_negative_channel_makes_all_signed)
{
    const double lo[3] = {0.5, 0, -1e-6}, hi[3] = {1, 2, 3};
    hl_quantizer q = made(HL_QUANT_SYMMETRIC, 4, 3, lo, hi, false);
    cr_expect(q.int_min == -8 && q.int_max == 7);
    cr_expect(q.scale[0] == 1.0f / 7 && q.scale[1] == 2.0f / 7 && q.scale[2] == 3.0f / 7);
    cr_expect_eq(hl_quantizer_set_range(&q, &(hl_quant_range){1, false, lo, hi}), HL_OK);
    cr_expect(q.int_max == 15 && q.scale[2] == 1.0f / 15, "one range counts for each channel");
    hl_quantizer_done(&q);
}

Test(quantizer, ties_go_to_even)
{
    hl_quantizer q = one(HL_QUANT_SYMMETRIC, 8, -31.75, 31.75);
    const float x[6] = {0.125f, 0.375f, -0.125f, -0.375f, 0.625f, 31.875f};
    float y[6];
    hl_quantizer_apply(&q, (hl_quant_part){6, 0, 6}, x, y);
    cr_expect(y[0] == 0 && y[1] == 0.5f && y[2] == 0 && y[3] == -0.5f && y[4] == 0.5f &&
              y[5] == 31.75f);
    hl_quantizer_done(&q);
    /* the zero point is added after rounding: 2.5 + 1, not 3.5 */
    q = one(HL_QUANT_ASYMMETRIC, 2, -0.25, 0.5);
    const float half = 0.125f;
    int32_t code;
    hl_quantizer_encode(&q, (hl_quant_part){1, 0, 1}, &half, HL_CODE_I32, &code);
    cr_expect(q.zero_point[0] == 1 && code == 1);
    hl_quantizer_done(&q);
}

/* --- properties --- */

enum { N = 600 };

typedef struct trial {
    hl_quantizer q;
    int64_t n_channels;
    float x[N], y[N];
    unsigned char codes[4 * N];
} trial;

static void draw_trial(trial *t)
{
    static const int64_t channels[] = {1, 1, 3, 100, N};
    double lo[N], hi[N];
    t->n_channels = channels[draws % 5];
    const double size = pow(10, uniform(-5, 5));
    for (int64_t c = 0; c < t->n_channels; c++) {
        lo[c] = (double)(float)(size * uniform(-1, 0.3));
        hi[c] = (double)(float)(lo[c] + size * uniform(0, 2));
    }
    t->q = made(uniform(0, 1) < 0.5 ? HL_QUANT_SYMMETRIC : HL_QUANT_ASYMMETRIC,
                (int)uniform(2, 16.99), t->n_channels, lo, hi, uniform(0, 1) < 0.3);
    for (int i = 0; i < N; i++)
        t->x[i] = (float)(size * uniform(-2, 3));
}

/* Codes by the definition, in double; float division is double division rounded. */
static double plain_code(const hl_quantizer *q, int64_t c, float x)
{
    const double v = (double)(float)((double)x / (double)q->scale[c]);
    return fmin(fmax(rint(v) + (double)q->zero_point[c], q->int_min), q->int_max);
}

static double code_at(hl_code_type type, const void *codes, int64_t i)
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

static void check_definition(trial *t)
{
    const hl_code_type type = hl_quantizer_code_type(&t->q);
    float back[N];
    /* in two parts that meet within a channel */
    hl_quantizer_apply(&t->q, (hl_quant_part){N, 0, 301}, t->x, t->y);
    hl_quantizer_apply(&t->q, (hl_quant_part){N, 301, N}, t->x, t->y);
    hl_quantizer_encode(&t->q, (hl_quant_part){N, 0, 77}, t->x, type, t->codes);
    hl_quantizer_encode(&t->q, (hl_quant_part){N, 77, N}, t->x, type, t->codes);
    hl_quantizer_decode(&t->q, (hl_quant_part){N, 0, 477}, type, t->codes, back);
    hl_quantizer_decode(&t->q, (hl_quant_part){N, 477, N}, type, t->codes, back);
    for (int64_t i = 0; i < N; i++) {
        const int64_t c = i / (N / t->n_channels);
        const double code = plain_code(&t->q, c, t->x[i]);
        cr_assert_eq(code_at(type, t->codes, i), code, "%d bits, code %lld", t->q.o.bits,
                     (long long)i);
        const float want = (float)((double)t->q.scale[c] * (code - (double)t->q.zero_point[c]));
        cr_assert(t->y[i] == want && back[i] == want, "%d bits, %lld: %.9g, %.9g, not %.9g",
                  t->q.o.bits, (long long)i, (double)t->y[i], (double)back[i], (double)want);
    }
}

static void check_monotone(const trial *t)
{
    const int64_t each = N / t->n_channels;
    for (int64_t c = 0; c < t->n_channels; c++)
        for (int64_t i = c * each; i < (c + 1) * each; i++)
            for (int64_t j = i + 1; j < (c + 1) * each && j < i + 20; j++)
                cr_assert((t->x[i] <= t->x[j]) ? t->y[i] <= t->y[j] : t->y[i] >= t->y[j]);
}

/* Within the representable interval the error is half a step, and one more rounding. */
static void check_error(const trial *t)
{
    for (int64_t i = 0; i < N; i++) {
        const int64_t c = i / (N / t->n_channels);
        const double s = (double)t->q.scale[c], z = (double)t->q.zero_point[c];
        const double x = (double)t->x[i], y = (double)t->y[i];
        if (x >= s * (t->q.int_min - z) && x <= s * (t->q.int_max - z))
            cr_assert_leq(fabs(x - y), s * 0.5 + 1.2e-7 * fabs(x), "%.9g -> %.9g", x, y);
    }
}

Test(quantizer, properties)
{
    static trial t;
    for (int number = 0; number < 300; number++) {
        draw_trial(&t);
        check_definition(&t);
        check_monotone(&t);
        check_error(&t);
        hl_quantizer_done(&t.q);
    }
}

/* With a power of two for a scale nothing is rounded on the way back. */
Test(quantizer, applying_twice_changes_nothing)
{
    static float x[N], y[N], twice[N];
    for (int bits = 2; bits <= 16; bits++)
        for (int scheme = 0; scheme < 2; scheme++) {
            const int int_max = (1 << (scheme == HL_QUANT_SYMMETRIC ? bits - 1 : bits)) - 1;
            const double s = ldexp(1, bits - 12);
            const double lo = scheme == HL_QUANT_SYMMETRIC ? -s * int_max : -s * (int_max / 3);
            hl_quantizer q = one((hl_quant_scheme)scheme, bits, lo,
                                 scheme == HL_QUANT_SYMMETRIC ? s * int_max : lo + s * int_max);
            cr_assert_eq((double)q.scale[0], s);
            for (int i = 0; i < N; i++)
                x[i] = (float)(s * int_max * uniform(-1.2, 1.2));
            hl_quantizer_apply(&q, (hl_quant_part){N, 0, N}, x, y);
            hl_quantizer_apply(&q, (hl_quant_part){N, 0, N}, y, twice);
            cr_expect_eq(memcmp(y, twice, sizeof y), 0, "%d bits", bits);
            hl_quantizer_done(&q);
        }
}

/* --- gradients --- */

/* sum of gy x_q as a function of x, s and z in double, with the rounding held where it was. */
typedef struct held {
    double r[N]; /* r - x / s at the base point */
    double lo[N], hi[N];
} held;

static double held_sum(const hl_quantizer *q, const held *h, const float *gy, const double *x,
                       double s, double z)
{
    double sum = 0;
    for (int i = 0; i < N; i++) {
        double u = x[i] / s + h->r[i] + z;
        u = fmin(fmax(u, q->int_min), q->int_max);
        sum += (double)gy[i] * s * (u - z);
    }
    return sum;
}

/* Rounding is the identity to gradients: so it is held at its value while differences are taken. */
static void check_gradients(hl_quant_scheme scheme, int bits, double lo, double hi)
{
    static held h;
    float x32[N], gy[N], gx[N];
    double x[N], gdelta, gzero;
    hl_quantizer q = one(scheme, bits, lo, hi);
    const double s = (double)q.scale[0], z = (double)q.zero_point[0];
    for (int i = 0; i < N; i++) {
        do { /* clear of where the clamp bends, which is at codes, not numbers */
            x32[i] = (float)uniform(1.4 * lo, 1.4 * hi);
            x[i] = (double)x32[i];
            h.r[i] = rint(x[i] / s) - x[i] / s;
        } while (rint(x[i] / s) + z == q.int_min || rint(x[i] / s) + z == q.int_max);
        gy[i] = (float)uniform(-1, 1);
    }
    hl_quantizer_vjp(&q, false, N, gy, x32, &(hl_quantizer_grads){gx, &gdelta, &gzero});
    const double e = 1e-5;
    for (int i = 0; i < N; i += 7) {
        const double kept = x[i];
        x[i] = kept + e * s;
        const double up = held_sum(&q, &h, gy, x, s, z);
        x[i] = kept - e * s;
        const double down = held_sum(&q, &h, gy, x, s, z);
        x[i] = kept;
        cr_assert_float_eq((up - down) / (2 * e * s), (double)gx[i], 1e-5);
    }
    const double ds =
        (held_sum(&q, &h, gy, x, s * (1 + e), z) - held_sum(&q, &h, gy, x, s * (1 - e), z)) /
        (2 * e * s);
    cr_expect_float_eq(gdelta, ds, 1e-4 * (1 + fabs(ds)), "%d bits: %g, not %g", bits, gdelta, ds);
    const double dz =
        (held_sum(&q, &h, gy, x, s, z + e) - held_sum(&q, &h, gy, x, s, z - e)) / (2 * e);
    cr_expect_float_eq(gzero, scheme == HL_QUANT_SYMMETRIC ? 0 : dz, 1e-4 * (1 + fabs(dz)),
                       "%d bits: %g, not %g", bits, gzero, dz);
    hl_quantizer_done(&q);
}

Test(quantizer, gradients_agree_with_differences)
{
    for (int bits = 3; bits <= 9; bits += 3) {
        check_gradients(HL_QUANT_SYMMETRIC, bits, -1.5, 2);
        check_gradients(HL_QUANT_ASYMMETRIC, bits, -1.5, 2);
    }
}

Test(quantizer, bounds_pass_gradient_and_floors_do_not)
{
    const float x[4] = {-100, 127, 127.4f, 128}, gy[4] = {1, 2, 4, 8};
    float gx[4];
    double gdelta, gzero, scaled;
    hl_quantizer q = one(HL_QUANT_SYMMETRIC, 8, -127, 127); /* scale 1 */
    hl_quantizer_vjp(&q, false, 4, gy, x, &(hl_quantizer_grads){gx, &gdelta, &gzero});
    cr_expect(gx[0] == 1 && gx[1] == 2 && gx[2] == 4 && gx[3] == 0);
    cr_expect_float_eq(gdelta, 4 * (127 - (double)127.4f) + 8 * 127, 1e-3);
    cr_expect_eq(gzero, 0);
    hl_quantizer_vjp(&q, true, 4, gy, x, &(hl_quantizer_grads){gx, &scaled, NULL});
    cr_expect_float_eq(scaled, gdelta / sqrt(127.0 * 4), 1e-9);
    hl_quantizer_done(&q);
    q = one(HL_QUANT_ASYMMETRIC, 8, 0, 0);
    hl_quantizer_vjp(&q, false, 4, gy, x, &(hl_quantizer_grads){gx, &gdelta, &gzero});
    cr_expect(q.is_floored && gdelta == 0 && gzero != 0);
    hl_quantizer_done(&q);
}

/* In the logarithmic domain the trained number is ln(delta). */
Test(quantizer, log_scale)
{
    const double lo = -1.7, hi = 2.3;
    const hl_quant_options o = {HL_QUANT_ASYMMETRIC, 8, 1, true};
    const float x[3] = {0.7f, -1, 5}, gy[3] = {1, 1, 1};
    float gx[3];
    double plain, log_domain;
    hl_quantizer q = one(HL_QUANT_ASYMMETRIC, 8, lo, hi), p;
    cr_assert_eq(hl_quantizer_init(&p, &o), HL_OK);
    cr_assert_eq(hl_quantizer_set_range(&p, &(hl_quant_range){1, false, &lo, &hi}), HL_OK);
    cr_expect_float_eq(p.delta[0], log(q.delta[0]), 1e-6);
    cr_expect_float_eq((double)p.scale[0], (double)q.scale[0], 1e-6 * (double)q.scale[0]);
    cr_expect(p.zero_point[0] == q.zero_point[0] && p.zero_float[0] == q.zero_float[0]);
    hl_quantizer_vjp(&q, false, 3, gy, x, &(hl_quantizer_grads){gx, &plain, NULL});
    hl_quantizer_vjp(&p, false, 3, gy, x, &(hl_quantizer_grads){gx, &log_domain, NULL});
    cr_expect_float_eq(log_domain, plain * (double)q.scale[0], 1e-4 * fabs(log_domain));
    const double zero = 0;
    cr_expect_eq(hl_quantizer_set_range(&p, &(hl_quant_range){1, false, &zero, &zero}), HL_OK);
    cr_expect(p.scale[0] < 1e-9f && !p.is_floored, "no floor");
    hl_quantizer_done(&q);
    hl_quantizer_done(&p);
}
