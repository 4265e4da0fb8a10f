/* Range estimators: slow references, what is refused, states, and independence of threads. */
#include "engine/quant/range.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/mem.h"
#include "engine/base/team.h"
#include "engine/quant/brent.h"
#include "engine/quant/percentile.h"

static uint32_t draws;
static double uniform(double lo, double hi)
{
    const hl_philox_key key = hl_philox_key_make(79, 0xF0000004u, 0);
    return lo + (hi - lo) * (double)hl_philox_u32(key, draws++) * 0x1p-32;
}

/* About normal, with a few large values. */
static void fill(int64_t n, float *x, double shift)
{
    for (int64_t i = 0; i < n; i++) {
        double s = shift;
        for (int k = 0; k < 4; k++)
            s += uniform(-1, 1);
        x[i] = (float)(s * (i % 101 == 7 ? 4 : 1));
    }
}

static hl_range_options options(hl_range_method method, hl_quant_scheme scheme, int bits,
                                int64_t n_channels)
{
    return hl_range_defaults(
        method, (hl_quant_options){.scheme = scheme, .bits = bits, .n_channels = n_channels});
}

static hl_range_estimator *made(const hl_range_options *o)
{
    hl_range_estimator *e = NULL;
    cr_assert_eq(hl_range_estimator_new(o, &e), HL_OK, "%s", hl_err_message());
    return e;
}

static hl_quant_range observe(hl_range_estimator *e, hl_team *team, int64_t n_rows, int64_t n_cols,
                              const float *x)
{
    hl_quant_range r;
    cr_assert_eq(hl_range_estimator_observe(e, team, n_rows, n_cols, x, &r), HL_OK, "%s",
                 hl_err_message());
    return r;
}

/* --- what is refused --- */

Test(range, impossible_options_are_refused)
{
    hl_range_estimator *e = NULL;
    hl_range_options o = options(HL_RANGE_RUNNING_MINMAX, HL_QUANT_ASYMMETRIC, 17, 1);
    cr_expect_eq(hl_range_estimator_new(&o, &e), HL_E_ARG);
    o.quantizer.bits = 8;
    o.momentum = 1;
    cr_expect_eq(hl_range_estimator_new(&o, &e), HL_E_ARG);
    o.momentum = NAN;
    cr_expect_eq(hl_range_estimator_new(&o, &e), HL_E_ARG);
    o.momentum = 0.9;
    o.percentile = 0.1; /* the other method's convention */
    cr_expect_eq(hl_range_estimator_new(&o, &e), HL_E_ARG);
    o.method = HL_RANGE_CURRENT_MINMAX;
    o.percentile = 99.9;
    cr_expect_eq(hl_range_estimator_new(&o, &e), HL_E_ARG);
    o.percentile = 0.1;
    o.quantizer.n_channels = 2;
    cr_expect_eq(hl_range_estimator_new(&o, &e), HL_E_UNSUPPORTED);
    o = options(HL_RANGE_MSE_GRID, HL_QUANT_ASYMMETRIC, 8, 1);
    o.n_candidates = 0;
    cr_expect_eq(hl_range_estimator_new(&o, &e), HL_E_ARG);
    o.n_candidates = 100;
    o.range_margin = -1;
    cr_expect_eq(hl_range_estimator_new(&o, &e), HL_E_ARG);
    cr_expect_null(e);
}

static const hl_range_method methods[] = {HL_RANGE_CURRENT_MINMAX, HL_RANGE_RUNNING_MINMAX,
                                          HL_RANGE_MSE_GRID, HL_RANGE_MSE_GOLDEN_SECTION};

static void get_state(const hl_range_estimator *e, size_t *n, double s[9000])
{
    *n = hl_range_estimator_state_count(e);
    cr_assert_leq(*n, 9000);
    hl_range_estimator_get_state(e, s);
}

/* A batch that cannot be used is an error, and as if it had not been. */
Test(range, bad_batches_leave_the_estimator_as_it_was)
{
    static double before[9000], after[9000];
    static float good[600], bad[600];
    size_t n_before, n_after;
    fill(600, good, 0);
    for (int m = 0; m < 4; m++)
        for (int first = 0; first < 2; first++) {
            const hl_range_options o = options(methods[m], HL_QUANT_ASYMMETRIC, 6, 1);
            hl_range_estimator *e = made(&o);
            hl_quant_range r;
            if (!first)
                (void)observe(e, NULL, 6, 100, good);
            get_state(e, &n_before, before);
            memcpy(bad, good, sizeof bad);
            bad[433] = NAN;
            cr_expect_eq(hl_range_estimator_observe(e, NULL, 6, 100, bad, &r), HL_E_NUMERIC);
            bad[433] = -INFINITY;
            cr_expect_eq(hl_range_estimator_observe(e, NULL, 6, 100, bad, &r), HL_E_NUMERIC);
            cr_expect_eq(hl_range_estimator_observe(e, NULL, 0, 100, good, &r), HL_E_SHAPE);
            cr_expect_eq(hl_range_estimator_observe(e, NULL, 6, 0, good, &r), HL_E_SHAPE);
            if (methods[m] == HL_RANGE_MSE_GRID || methods[m] == HL_RANGE_MSE_GOLDEN_SECTION) {
                bad[433] = 1e25f; /* no grid has both, and what is left has no square */
                bad[7] = 0.3711e25f;
                cr_expect_eq(hl_range_estimator_observe(e, NULL, 6, 100, bad, &r), HL_E_NUMERIC);
            }
            get_state(e, &n_after, after);
            cr_expect(n_after == n_before && memcmp(before, after, n_after * sizeof *after) == 0,
                      "method %d", m);
            hl_range_estimator_free(e);
        }
}

Test(range, rows_must_be_channels)
{
    const hl_range_options o = options(HL_RANGE_CURRENT_MINMAX, HL_QUANT_SYMMETRIC, 8, 3);
    hl_range_estimator *e = made(&o);
    hl_quant_range r;
    const float x[4] = {1, 2, 3, 4};
    cr_expect_eq(hl_range_estimator_observe(e, NULL, 2, 2, x, &r), HL_E_SHAPE);
    hl_range_estimator_free(e);
}

Test(range, grids_that_are_too_large_are_refused)
{
    hl_range_options o = options(HL_RANGE_MSE_GRID, HL_QUANT_ASYMMETRIC, 16, 1);
    hl_range_estimator *e = made(&o);
    hl_quant_range r;
    const float two_sided[3] = {-1, 2, 3}, one_sided[3] = {1, 2, 3};
    cr_expect_eq(hl_range_estimator_observe(e, NULL, 1, 3, two_sided, &r), HL_E_UNSUPPORTED);
    hl_range_estimator_free(e);
    e = made(&o);
    cr_expect_eq(hl_range_estimator_observe(e, NULL, 1, 3, one_sided, &r), HL_OK);
    hl_range_estimator_free(e);
}

/* Every allocation that fails leaves a clean error. */
Test(range, memory_may_run_out)
{
    static float x[200];
    fill(200, x, 0);
    for (int m = 0; m < 4; m++) {
        hl_range_options o = options(methods[m], HL_QUANT_ASYMMETRIC, 4, 1);
        o.percentile = m == 1 ? 99 : 0;
        int n = 0;
        for (bool done = false; !done; n++) {
            hl_range_estimator *e = NULL;
            hl_quant_range r;
            hl_mem_fail_after(n);
            hl_status st = hl_range_estimator_new(&o, &e);
            if (st == HL_OK)
                st = hl_range_estimator_observe(e, NULL, 2, 100, x, &r);
            hl_mem_fail_after(-1);
            cr_assert(st == HL_OK || st == HL_E_NOMEM, "%s", hl_err_message());
            done = st == HL_OK;
            hl_range_estimator_free(e);
        }
        cr_expect_geq(n, 3, "method %d: %d allocations", m, n);
    }
}

/* --- values --- */

Test(range, constant_tensors_are_told_of)
{
    static const float same[6] = {2, 2, 2, 2, 2, 2}, one_channel[6] = {1, 2, 3, 5, 5, 5},
                       zeros[6] = {0}, mixed[6] = {0, 1, 2, 3, 4, 5};
    for (int m = 0; m < 4; m++) {
        const hl_range_options o = options(methods[m], HL_QUANT_ASYMMETRIC, 4, 1);
        hl_range_estimator *e = made(&o);
        hl_quantizer q;
        cr_assert_eq(hl_quantizer_init(&q, &o.quantizer), HL_OK);
        (void)observe(e, NULL, 2, 3, same);
        cr_expect(hl_range_estimator_is_constant(e));
        (void)observe(e, NULL, 2, 3, mixed);
        cr_expect(!hl_range_estimator_is_constant(e));
        (void)observe(e, NULL, 1, 1, mixed);
        cr_expect(!hl_range_estimator_is_constant(e), "one number is not worth a warning");
        hl_range_estimator_reset(e);
        const hl_quant_range r = observe(e, NULL, 2, 3, zeros);
        cr_expect(hl_range_estimator_is_constant(e));
        cr_assert_eq(hl_quantizer_set_range(&q, &r), HL_OK);
        float y[6];
        hl_quantizer_apply(&q, (hl_quant_part){6, 0, 6}, zeros, y);
        cr_expect_eq(memcmp(y, zeros, sizeof y), 0);
        hl_quantizer_done(&q);
        hl_range_estimator_free(e);
    }
    const hl_range_options o = options(HL_RANGE_CURRENT_MINMAX, HL_QUANT_SYMMETRIC, 8, 2);
    hl_range_estimator *e = made(&o);
    const hl_quant_range r = observe(e, NULL, 2, 3, one_channel);
    cr_expect(hl_range_estimator_is_constant(e));
    cr_expect(r.n == 2 && r.lo[0] == 1 && r.hi[0] == 3 && r.lo[1] == 5 && r.hi[1] == 5);
    hl_range_estimator_free(e);
}

static int ascending(const void *pa, const void *pb)
{
    const float a = *(const float *)pa, b = *(const float *)pb;
    return (a > b) - (a < b);
}

Test(range, percentiles_are_those_of_the_sorted_numbers)
{
    static float x[3001], sorted[3001];
    static int64_t counts[HL_PERCENTILE_COUNTS];
    for (int trial = 0; trial < 60; trial++) {
        const int64_t n = trial < 8 ? trial + 1 : (int64_t)uniform(2, 3001.99);
        for (int64_t i = 0; i < n; i++) /* often equal, of all signs and sizes */
            x[i] = trial % 2 ? (float)floor(uniform(-4, 4))
                             : (float)(uniform(-1, 1) * pow(10, uniform(-30, 30)));
        memcpy(sorted, x, sizeof x);
        qsort(sorted, (size_t)n, sizeof *sorted, ascending);
        const double p[2] = {trial % 3 ? uniform(0, 50) : 0, trial % 3 ? uniform(50, 100) : 100};
        double got[2];
        hl_percentiles(n, x, p, counts, got);
        for (int k = 0; k < 2; k++) {
            const double t = (double)(n - 1) * (p[k] / 100), g = t - floor(t);
            const int64_t i = (int64_t)floor(t), j = i + 1 < n ? i + 1 : n - 1;
            const double a = (double)sorted[i], b = (double)sorted[j],
                         d = (double)(sorted[j] - sorted[i]);
            cr_assert_eq(got[k], g < 0.5 ? a + d * g : b - d * (1 - g), "%lld numbers, %g",
                         (long long)n, p[k]);
        }
    }
}

/* The running average by hand, in both precisions. */
Test(range, running_average)
{
    const float a[4] = {-1, 0, 2, 3}, b[4] = {-0.3f, 0, 1, 1};
    hl_range_options o = options(HL_RANGE_RUNNING_MINMAX, HL_QUANT_ASYMMETRIC, 8, 1);
    hl_range_estimator *e = made(&o);
    (void)observe(e, NULL, 1, 4, a);
    hl_quant_range r = observe(e, NULL, 1, 4, b);
    const float lo = (float)(1 - 0.9) * -0.3f, kept = 0.9f * -1.0f;
    cr_expect(!r.is_f64 && r.lo[0] == (double)(lo + kept));
    hl_range_estimator_free(e);
    o.percentile = 100;
    e = made(&o);
    (void)observe(e, NULL, 1, 4, a);
    r = observe(e, NULL, 1, 4, b);
    cr_expect(r.is_f64 && r.lo[0] == (1 - 0.9) * (double)-0.3f + 0.9 * -1.0);
    cr_expect_eq(r.hi[0], (1 - 0.9) * 1.0 + 0.9 * 3.0);
    hl_range_estimator_reset(e);
    r = observe(e, NULL, 1, 4, b);
    cr_expect_eq(r.hi[0], 1.0);
    hl_range_estimator_free(e);
}

/* Tensors of one batch, in any order and any number of times, give the batch's range. */
Test(range, one_batch_in_several_tensors)
{
    static const float first[6] = {-1, 0, 2, 3, 5, 1}, second[6] = {-0.3f, 0, 1, 1, 7, -2};
    static const int order[5] = {2, 0, 1, 0, 2}; /* thirds */
    for (int percentile = 0; percentile <= 100; percentile += 100) {
        hl_range_options o = options(HL_RANGE_RUNNING_MINMAX, HL_QUANT_ASYMMETRIC, 8, 1);
        o.percentile = percentile;
        hl_range_estimator *whole = made(&o), *parts = made(&o);
        hl_quant_range a, b;
        for (int batch = 0; batch < 2; batch++) {
            const float *x = batch ? second : first;
            a = observe(whole, NULL, 1, 6, x);
            b = observe(parts, NULL, 1, 2, x + 2 * order[0]);
            for (int i = 1; i < 5; i++)
                cr_assert_eq(
                    hl_range_estimator_observe_more(parts, NULL, 1, 2, x + 2 * order[i], &b), HL_OK,
                    "%s", hl_err_message());
            cr_expect(a.lo[0] == b.lo[0] && a.hi[0] == b.hi[0], "[%g, %g], not [%g, %g]", b.lo[0],
                      b.hi[0], a.lo[0], a.hi[0]);
        }
        hl_range_estimator_free(whole);
        hl_range_estimator_free(parts);
    }
    static const float same[2] = {2, 2}, other[2] = {3, 3};
    const hl_range_options o = options(HL_RANGE_RUNNING_MINMAX, HL_QUANT_ASYMMETRIC, 8, 1);
    hl_range_estimator *e = made(&o);
    hl_quant_range r = observe(e, NULL, 1, 2, same);
    cr_expect_eq(hl_range_estimator_observe_more(e, NULL, 1, 2, same, &r), HL_OK);
    cr_expect(hl_range_estimator_is_constant(e));
    cr_expect_eq(hl_range_estimator_observe_more(e, NULL, 1, 2, other, &r), HL_OK);
    cr_expect(!hl_range_estimator_is_constant(e));
    hl_range_estimator_free(e);
    const hl_range_options mse = options(HL_RANGE_MSE_GRID, HL_QUANT_SYMMETRIC, 4, 1);
    e = made(&mse);
    (void)observe(e, NULL, 1, 6, first);
    cr_expect_eq(hl_range_estimator_observe_more(e, NULL, 1, 6, first, &r), HL_E_UNSUPPORTED);
    hl_range_estimator_free(e);
}

/* --- searches --- */

static double plain_loss(const hl_quant_options *o, int64_t n, const float *x, double lo, double hi)
{
    hl_quantizer q;
    double sum = 0;
    cr_assert_eq(hl_quantizer_init(&q, o), HL_OK);
    cr_assert_eq(hl_quantizer_set_range(&q, &(hl_quant_range){1, false, &lo, &hi}), HL_OK);
    for (int64_t i = 0; i < n; i++) {
        float y;
        hl_quantizer_apply(&q, (hl_quant_part){1, 0, 1}, x + i, &y);
        sum += ((double)x[i] - (double)y) * ((double)x[i] - (double)y);
    }
    hl_quantizer_done(&q);
    return sum;
}

/* Every loss of the two-dimensional table, over two batches, the second beyond the first. */
Test(range, grid_of_skewed_ranges)
{
    enum { BITS = 3, K = 10, SKEWS = 2, N = 300 };
    static float x[2][N];
    static double s[9000];
    hl_range_options o = options(HL_RANGE_MSE_GRID, HL_QUANT_ASYMMETRIC, BITS, 1);
    o.n_candidates = K;
    o.range_margin = 0.25;
    hl_range_estimator *e = made(&o);
    float lo = 0, hi = 0;
    for (int b = 0; b < 2; b++) {
        fill(N, x[b], 0.7);
        (void)observe(e, NULL, 3, N / 3, x[b]);
    }
    size_t n;
    get_state(e, &n, s);
    cr_assert_eq(n, 2 + 2 + 3 + (K + 1) * SKEWS * 2);
    for (int i = 0; i < N; i++) {
        lo = fminf(lo, x[0][i]);
        hi = fmaxf(hi, x[0][i]);
    }
    const double top = (double)hi + 0.25, bottom = (double)lo - 0.25, reach = fmax(top, -bottom);
    double least = INFINITY, best_lo = 0, best_hi = 0;
    for (int c = 1; c <= K; c++)
        for (int k = 0; k < SKEWS; k++)
            for (int sign = 0; sign < 2; sign++) {
                const double b = reach / K * c, w = 2 * b / ((1 << BITS) - 1);
                const double shift = sign ? -k * w : k * w;
                const float from = (float)fmax(-b + shift, bottom),
                            to = (float)fmin(b + shift, top);
                double want = 0;
                for (int batch = 0; batch < 2; batch++)
                    want += plain_loss(&o.quantizer, N, x[batch], (double)from, (double)to);
                const double got = s[7 + (c * SKEWS + k) * 2 + sign];
                cr_expect_float_eq(got, want, 1e-6 * want, "%d %d %d: %g, not %g", c, k, sign, got,
                                   want);
                if (got < least) {
                    least = got;
                    best_lo = (double)from;
                    best_hi = (double)to;
                }
            }
    cr_expect(s[2] == best_lo && s[3] == best_hi);
    hl_range_estimator_free(e);
}

/* The sign of the first batch ever is remembered, the space is not. */
Test(range, one_sided_outlives_a_reset)
{
    static double s[9000];
    size_t n;
    const float positive[4] = {0, 1, 2, 3}, mixed[4] = {-5, 1, 2, 3};
    for (int m = 2; m < 4; m++) {
        const hl_range_options o = options(methods[m], HL_QUANT_ASYMMETRIC, 4, 1);
        hl_range_estimator *e = made(&o);
        (void)observe(e, NULL, 1, 4, positive);
        hl_range_estimator_reset(e);
        const hl_quant_range r = observe(e, NULL, 1, 4, mixed);
        get_state(e, &n, s);
        cr_expect(s[0] == 1 && s[1] == 1 && s[4] == 5.5 && r.lo[0] == 0);
        hl_range_estimator_free(e);
    }
}

static float wave(void *arg, double x)
{
    ++*(int *)arg;
    return (float)((x - 0.7) * (x - 0.7) + 0.1 * cos(9 * x));
}

Test(range, brent_finds_a_minimum)
{
    int n = 0;
    double x;
    float fx;
    hl_brent_minimum(wave, &n, -1, 2, &x, &fx);
    const double slope = 2 * (x - 0.7) - 0.9 * sin(9 * x);
    cr_expect(fabs(slope) < 2e-2 && n < 40, "slope %g at %g after %d", slope, x, n);
    cr_expect_eq(fx, wave(&n, x));
    n = 0;
    hl_brent_minimum(wave, &n, 3, 3, &x, &fx);
    cr_expect(x == 3 && n == 1);
}

/* --- states --- */

/* Written and read between two batches, nothing changes. */
Test(range, states_continue)
{
    static double s[9000], a[9000], b[9000];
    static float x[2][600];
    size_t n, n_a, n_b;
    fill(600, x[0], 0.2);
    fill(600, x[1], -0.1);
    for (int m = 0; m < 4; m++)
        for (int scheme = 0; scheme < 2; scheme++)
            for (int64_t channels = 1; channels <= 3; channels += 2) {
                hl_range_options o = options(methods[m], (hl_quant_scheme)scheme, 4, channels);
                o.percentile = m == 1 && channels == 1 ? 99.5 : 0;
                hl_range_estimator *one = made(&o), *two = made(&o);
                (void)observe(one, NULL, 3, 200, x[0]);
                get_state(one, &n, s);
                cr_assert_eq(hl_range_estimator_set_state(two, n, s), HL_OK, "%s",
                             hl_err_message());
                (void)observe(one, NULL, 3, 200, x[1]);
                (void)observe(two, NULL, 3, 200, x[1]);
                get_state(one, &n_a, a);
                get_state(two, &n_b, b);
                cr_expect(n_a == n_b && memcmp(a, b, n_a * sizeof *a) == 0, "method %d", m);
                for (size_t at = 0; at < 2; at++) {
                    const double kept = s[at];
                    s[at] = NAN;
                    cr_expect_eq(hl_range_estimator_set_state(two, n, s), HL_E_FORMAT);
                    s[at] = -2;
                    cr_expect_eq(hl_range_estimator_set_state(two, n, s), HL_E_FORMAT);
                    s[at] = kept;
                }
                cr_expect_eq(hl_range_estimator_set_state(two, n - 1, s), HL_E_FORMAT);
                cr_expect_eq(hl_range_estimator_set_state(two, 0, s), HL_E_FORMAT);
                get_state(two, &n_b, b);
                cr_expect(n_a == n_b && memcmp(a, b, n_a * sizeof *a) == 0);
                hl_range_estimator_free(one);
                hl_range_estimator_free(two);
            }
}

/* Large enough for a team to be used: the same bits with any number of workers. */
Test(range, teams_change_no_bit)
{
    enum { ROWS = 3, COLS = 23000 };
    static float x[ROWS * COLS];
    static double s[3][9000];
    fill(ROWS * COLS, x, 0.1);
    for (int m = 0; m < 4; m++)
        for (int scheme = 0; scheme < 2; scheme++) {
            size_t n[3];
            for (int team_size = 0; team_size < 3; team_size++) {
                hl_team *team = NULL;
                if (team_size > 0)
                    cr_assert_eq(hl_team_new(team_size + 1, &team), HL_OK);
                const hl_range_options o = options(methods[m], (hl_quant_scheme)scheme, 3, 1);
                hl_range_estimator *e = made(&o);
                (void)observe(e, team, ROWS, COLS, x);
                get_state(e, n + team_size, s[team_size]);
                hl_range_estimator_free(e);
                if (team)
                    hl_team_free(team);
            }
            for (int k = 1; k < 3; k++)
                cr_expect(n[k] == n[0] && memcmp(s[k], s[0], n[0] * sizeof(double)) == 0,
                          "method %d", m);
        }
}
