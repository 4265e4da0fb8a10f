#include "engine/base/rng.h"

#include <criterion/criterion.h>
#include <math.h>

#include "kernels/rng/philox_body.h"

/* Known-answer vectors of Random123 (philox4x32, 10 rounds). */
Test(rng, philox_known_answers)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } rows[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        const uint32_t *c = rows[i].counter, *k = rows[i].key;
        const uint64_t block = (uint64_t)c[1] << 32 | c[0];
        const hl_philox_key key = hl_philox_key_make((uint64_t)k[1] << 32 | k[0], c[2], c[3]);
        uint32_t out[4];
        hl_philox_block(key, block, out);
        for (int j = 0; j < 4; j++) {
            cr_expect_eq(out[j], rows[i].want[j], "vector %d, word %d", i, j);
            if (block >> 62 == 0)
                cr_expect_eq(hl_philox_u32(key, block * 4 + (uint64_t)j), out[j]);
        }
    }
}

Test(rng, a_draw_depends_on_its_counters_alone)
{
    hl_rng r = hl_rng_make(9, HL_RNG_SHUFFLE, 3, 4);
    uint32_t drawn[100];
    for (int i = 0; i < 100; i++)
        drawn[i] = hl_rng_next(&r);
    cr_expect_eq(r.element, 100);
    for (int i = 99; i >= 0; i--)
        cr_expect_eq(hl_rng_at(&r, (uint64_t)i), drawn[i]);
    r.element = UINT64_C(1) << 40;
    cr_expect_eq(hl_rng_next(&r), hl_rng_at(&r, UINT64_C(1) << 40));
}

Test(rng, seed_space_stream_and_step_all_count)
{
    const hl_rng_space spaces[] = {HL_RNG_GRAPH, HL_RNG_EAGER, HL_RNG_INIT, HL_RNG_SHUFFLE,
                                   HL_RNG_MASK,  HL_RNG_SYNTH, HL_RNG_TEST};
    uint64_t word[200];
    int n = 0;
    for (int space = 0; space < 7; space++)
        for (uint64_t seed = 0; seed < 3; seed++)
            for (uint32_t stream = 0; stream < 3; stream++)
                for (uint32_t step = 0; step < 3; step++) {
                    const hl_rng r = hl_rng_make(seed << 31, spaces[space], stream, step);
                    word[n++] = (uint64_t)hl_rng_at(&r, 0) << 32 | hl_rng_at(&r, 1);
                }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            cr_assert_neq(word[i], word[j], "%d and %d", i, j);
    /* a stream number cannot reach into another space */
    cr_expect_eq(hl_rng_make(1, HL_RNG_INIT, 0xFF000005, 0).stream, 0x40000005);
}

/* chi-square of `bins` equally likely bins: mean bins - 1, variance 2 (bins - 1) */
static void expect_uniform(const int *count, int bins, int n, const char *what)
{
    const double want = (double)n / bins;
    double chi2 = 0;
    for (int i = 0; i < bins; i++)
        chi2 += (count[i] - want) * (count[i] - want) / want;
    cr_expect(fabs(chi2 - (bins - 1)) < 5 * sqrt(2.0 * (bins - 1)) + 5, "%s: chi-square %.1f of %d",
              what, chi2, bins - 1);
}

Test(rng, below)
{
    hl_rng r = hl_rng_make(11, HL_RNG_TEST, 5, 0);
    const uint32_t limits[] = {2, 3, 7, 10, 64, 100};
    for (int k = 0; k < 6; k++) {
        int count[100] = {0};
        for (int i = 0; i < 100000; i++) {
            const uint32_t v = hl_rng_below(&r, limits[k]);
            cr_assert(v < limits[k]);
            count[v]++;
        }
        expect_uniform(count, (int)limits[k], 100000, "below");
    }
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(hl_rng_below(&r, 1), 0);
    /* a limit where a plain product would favour two thirds of the values: 3/4 of 2^32 */
    const uint32_t big = 0xC0000000u;
    int third[3] = {0};
    for (int i = 0; i < 300000; i++) {
        const uint32_t v = hl_rng_below(&r, big);
        cr_assert(v < big);
        third[v % 3]++;
    }
    expect_uniform(third, 3, 300000, "below 3/4 of 2^32");
    for (int i = 0; i < 1000; i++)
        cr_assert(hl_rng_below(&r, UINT32_MAX) < UINT32_MAX);
}

Test(rng, unit)
{
    hl_rng r = hl_rng_make(12, HL_RNG_TEST, 6, 0);
    int count[50] = {0};
    double sum = 0, squares = 0;
    enum { N = 400000 };
    for (int i = 0; i < N; i++) {
        const double u = hl_rng_unit(&r);
        cr_assert(u >= 0 && u < 1);
        count[(int)(u * 50)]++;
        sum += u;
        squares += u * u;
    }
    expect_uniform(count, 50, N, "unit");
    cr_expect(fabs(sum / N - 0.5) < 4 / sqrt(12.0 * N));
    cr_expect(fabs(squares / N - 1.0 / 3) < 4 * sqrt(4.0 / 45 / N));
    cr_expect(hl_philox_unit(UINT32_MAX) < 1.0f && hl_philox_unit(0xFF) == 0.0f);
}

Test(rng, normal)
{
    hl_rng r = hl_rng_make(13, HL_RNG_TEST, 7, 0);
    enum { N = 400000 };
    double m[5] = {0}, lag = 0, last = 0;
    int beyond_3 = 0;
    for (int i = 0; i < N; i++) {
        const double x = hl_rng_normal(&r);
        cr_assert(isfinite(x));
        for (int k = 1; k < 5; k++)
            m[k] += pow(x, k) / N;
        beyond_3 += fabs(x) > 3;
        lag += x * last / N;
        last = x;
    }
    const double sigma = 1 / sqrt((double)N); /* of the mean */
    cr_expect(fabs(m[1]) < 4 * sigma, "mean %g", m[1]);
    cr_expect(fabs(m[2] - 1) < 4 * sqrt(2.0) * sigma, "variance %g", m[2]);
    cr_expect(fabs(m[3]) < 4 * sqrt(15.0) * sigma, "third moment %g", m[3]);
    cr_expect(fabs(m[4] - 3) < 4 * sqrt(96.0) * sigma, "fourth moment %g", m[4]);
    cr_expect(fabs(lag) < 4 * sigma, "neighbours: %g", lag);
    const double tail = 0.0026997960632602;
    cr_expect(fabs(beyond_3 - tail * N) < 4 * sqrt(tail * N), "%d beyond 3", beyond_3);
}

Test(rng, dropout_threshold)
{
    cr_expect_eq(hl_dropout_threshold(0), 0);
    cr_expect_eq(hl_dropout_threshold(0.5f), 0x80000000u);
    cr_expect_eq(hl_dropout_threshold(0.999f), (uint32_t)((double)0.999f * 4294967296.0));
}
