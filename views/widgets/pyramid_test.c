#include "views/widgets/pyramid.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "engine/base/mem.h"
#include "views/widgets/smooth.h"
#include "views/widgets/widget_test.h"

static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static bool near(double a, double b)
{
    return same(a, b) || fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b));
}

/* The plain way to a bucket. */
static hl_bucket count(const hl_pyramid *p, size_t begin, size_t end)
{
    const double none = (double)NAN;
    hl_bucket b = {.min = none, .max = none, .mean = none, .min_positive = none};
    b.x_of_min = b.x_of_max = b.x_min = b.x_max = hl_pyramid_x(p, begin);
    b.first = hl_pyramid_y(p, begin);
    b.last = hl_pyramid_y(p, end - 1);
    b.n = end - begin;
    double sum = 0;
    for (size_t i = begin; i < end; i++) {
        const double x = hl_pyramid_x(p, i), y = hl_pyramid_y(p, i);
        b.x_min = fmin(b.x_min, x);
        b.x_max = fmax(b.x_max, x);
        if (!isfinite(y)) {
            b.n_non_finite++;
            continue;
        }
        sum += y;
        b.n_not_positive += y <= 0;
        if (y > 0)
            b.min_positive = fmin(b.min_positive, y);
        if (!(b.min <= y)) {
            b.min = y;
            b.x_of_min = x;
        }
        if (!(b.max >= y)) {
            b.max = y;
            b.x_of_max = x;
        }
    }
    if (b.n > b.n_non_finite)
        b.mean = sum / (double)(b.n - b.n_non_finite);
    return b;
}

static bool agree(const hl_bucket *a, const hl_bucket *b)
{
    const bool has_any = b->n > b->n_non_finite;
    return a->n == b->n && a->n_non_finite == b->n_non_finite &&
           a->n_not_positive == b->n_not_positive && a->x_min == b->x_min && a->x_max == b->x_max &&
           same(a->first, b->first) && same(a->last, b->last) && same(a->min, b->min) &&
           same(a->max, b->max) && same(a->min_positive, b->min_positive) &&
           near(a->mean, b->mean) &&
           (!has_any || (a->x_of_min == b->x_of_min && a->x_of_max == b->x_of_max));
}

/* Ordinary values, spikes, and everything that is not a number. */
static double some_y(uint64_t *seed)
{
    switch (test_bits(seed) % 40) {
    case 0:
        return (double)NAN;
    case 1:
        return (double)INFINITY;
    case 2:
        return -(double)INFINITY;
    case 3:
        return 1e6 * (1 + test_uniform(seed));
    case 4:
        return 0;
    default:
        return test_uniform(seed) * 10 - 2;
    }
}

static hl_pyramid *random_pyramid(size_t n, uint64_t seed)
{
    hl_pyramid *p = hl_pyramid_new();
    cr_assert_not_null(p);
    double x = 0;
    for (size_t i = 0; i < n; i++) {
        x += (double)(test_bits(&seed) % 5) - (test_bits(&seed) % 50 == 0 ? 30 : 0);
        cr_assert_eq(hl_pyramid_push(p, x, some_y(&seed)), HL_OK);
    }
    return p;
}

static void expect_right(const hl_pyramid *p)
{
    const size_t n = hl_pyramid_n(p);
    for (int level = 0; level < 16; level++) {
        const size_t n_buckets = hl_pyramid_n_buckets(p, level);
        for (size_t i = 0; i < n_buckets; i++) {
            const size_t begin = i << level, each = (size_t)1 << level;
            const hl_bucket want = count(p, begin, begin + each < n ? begin + each : n);
            hl_bucket got;
            hl_pyramid_bucket(p, level, i, &got);
            cr_assert(agree(&got, &want), "n %zu level %d bucket %zu", n, level, i);
            const hl_bucket *stored = hl_pyramid_stored(p, level, i);
            cr_assert_eq(stored != NULL, level >= HL_PYRAMID_STORED && begin + each <= n);
            cr_assert(!stored || agree(stored, &want));
        }
    }
    if (n > 0) {
        const hl_bucket all = count(p, 0, n);
        cr_assert(agree(hl_pyramid_total(p), &all));
    }
}

Test(pyramid, every_bucket_of_every_level_is_exact)
{
    static const size_t sizes[] = {0,  1,  2,  3,   31,  32,  33,   63,   64,
                                   65, 95, 96, 127, 128, 500, 1023, 1024, 5000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            hl_pyramid *p = random_pyramid(sizes[i], seed);
            expect_right(p);
            hl_pyramid_free(p);
        }
}

Test(pyramid, extremes_survive_every_level)
{
    hl_pyramid *p = hl_pyramid_new();
    for (int i = 0; i < 100000; i++)
        cr_assert_eq(hl_pyramid_push(p, i, i == 77777 ? 1e300 : i == 12345 ? -1e300 : 1), HL_OK);
    for (int level = 0; level < 20; level++) {
        double min = HUGE_VAL, max = -HUGE_VAL, x_of_min = 0, x_of_max = 0;
        for (size_t i = 0; i < hl_pyramid_n_buckets(p, level); i++) {
            hl_bucket b;
            hl_pyramid_bucket(p, level, i, &b);
            if (b.min < min) {
                min = b.min;
                x_of_min = b.x_of_min;
            }
            if (b.max > max) {
                max = b.max;
                x_of_max = b.x_of_max;
            }
        }
        cr_expect(min == -1e300 && max == 1e300 && x_of_min == 12345 && x_of_max == 77777);
    }
    double x, y;
    cr_expect(hl_pyramid_best(p, true, &x, &y) && x == 12345 && y == -1e300);
    cr_expect(hl_pyramid_best(p, false, &x, &y) && x == 77777 && y == 1e300);
    hl_pyramid_free(p);
}

Test(pyramid, level_is_the_coarsest_that_has_enough)
{
    hl_pyramid *p = random_pyramid(1000, 1);
    for (size_t wanted = 0; wanted < 1100; wanted++) {
        const int level = hl_pyramid_level(p, wanted);
        cr_assert(level == 0 || hl_pyramid_n_buckets(p, level) >= wanted);
        cr_assert(level == HL_PYRAMID_LEVELS - 1 || hl_pyramid_n_buckets(p, level + 1) < wanted);
    }
    cr_expect_eq(hl_pyramid_level(p, 1000), 0);
    cr_expect_eq(hl_pyramid_level(p, 500), 1);
    hl_pyramid_free(p);
}

Test(pyramid, cut_equals_never_written)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        hl_pyramid *p = random_pyramid(700, seed), *want = hl_pyramid_new();
        const double from = hl_pyramid_total(p)->x_max * (double)(seed % 10) / 8;
        for (size_t i = 0; i < hl_pyramid_n(p); i++)
            if (hl_pyramid_x(p, i) < from)
                cr_assert_eq(hl_pyramid_push(want, hl_pyramid_x(p, i), hl_pyramid_y(p, i)), HL_OK);
        const uint64_t edits = hl_pyramid_edits(p);
        const size_t n = hl_pyramid_n(p);
        hl_pyramid_cut(p, from);
        cr_assert_eq(hl_pyramid_n(p), hl_pyramid_n(want));
        cr_assert_eq(edits != hl_pyramid_edits(p), n != hl_pyramid_n(p));
        for (int more = 0; more < 2; more++) {
            for (size_t i = 0; i < hl_pyramid_n(p); i++) {
                cr_assert_eq(hl_pyramid_x(p, i), hl_pyramid_x(want, i));
                cr_assert(same(hl_pyramid_y(p, i), hl_pyramid_y(want, i)));
            }
            expect_right(p);
            for (int i = 0; i < 300 && more == 0; i++) {
                cr_assert_eq(hl_pyramid_push(p, from + i, i), HL_OK);
                cr_assert_eq(hl_pyramid_push(want, from + i, i), HL_OK);
            }
        }
        hl_pyramid_free(p);
        hl_pyramid_free(want);
    }
}

Test(pyramid, range_is_the_sum_of_what_lies_in_it)
{
    for (uint64_t seed = 0; seed < 200; seed++) {
        hl_pyramid *p = random_pyramid(600 + seed, seed), *part = hl_pyramid_new();
        const double end = hl_pyramid_total(p)->x_max + 20;
        const double a = test_uniform(&(uint64_t){seed + 7}) * end, b = a + (double)seed;
        for (size_t i = 0; i < hl_pyramid_n(p); i++)
            if (hl_pyramid_x(p, i) >= a && hl_pyramid_x(p, i) < b)
                cr_assert_eq(hl_pyramid_push(part, hl_pyramid_x(p, i), hl_pyramid_y(p, i)), HL_OK);
        hl_bucket got = {.n = 99};
        const bool has_any = hl_pyramid_range(p, a, b, &got);
        cr_assert_eq(has_any, hl_pyramid_n(part) > 0);
        cr_assert(has_any ? agree(&got, hl_pyramid_total(part)) : got.n == 99);
        hl_pyramid_free(p);
        hl_pyramid_free(part);
    }
}

Test(pyramid, nearest)
{
    for (int sorted = 0; sorted < 2; sorted++) {
        hl_pyramid *p = hl_pyramid_new();
        cr_expect_eq(hl_pyramid_nearest(p, 3), SIZE_MAX);
        uint64_t seed = 5;
        for (int i = 0; i < 500; i++)
            cr_assert_eq(
                hl_pyramid_push(p, sorted ? i * 3 / 2 : (double)(test_bits(&seed) % 700), i),
                HL_OK);
        for (double x = -10; x < 800; x += 0.7) {
            const size_t got = hl_pyramid_nearest(p, x);
            for (size_t i = 0; i < 500; i++) {
                const double mine = fabs(hl_pyramid_x(p, i) - x);
                cr_assert(mine >= fabs(hl_pyramid_x(p, got) - x));
            }
        }
        hl_pyramid_free(p);
    }
}

Test(pyramid, last_finite_behind_many_that_are_not)
{
    hl_pyramid *p = hl_pyramid_new();
    double x = -1, y = -1;
    cr_expect(!hl_pyramid_last(p, &x, &y) && !hl_pyramid_last_finite(p, &x, &y));
    cr_expect(!hl_pyramid_best(p, true, &x, &y) && x == -1);
    for (int i = 0; i < 3000; i++) {
        cr_assert_eq(hl_pyramid_push(p, i, i < 100 ? i : (double)NAN), HL_OK);
        cr_assert(hl_pyramid_last_finite(p, &x, &y) && x == fmin(i, 99) && y == x);
    }
    cr_expect(hl_pyramid_last(p, &x, &y) && x == 2999 && isnan(y));
    hl_pyramid_free(p);
}

Test(pyramid, x_that_is_not_finite_has_no_place)
{
    hl_pyramid *p = hl_pyramid_new();
    cr_assert_eq(hl_pyramid_push(p, 5, 1), HL_OK);
    cr_assert_eq(hl_pyramid_push(p, (double)NAN, 2), HL_OK);
    cr_assert_eq(hl_pyramid_push(p, (double)INFINITY, 3), HL_OK);
    const hl_bucket *b = hl_pyramid_total(p);
    cr_expect(b->n == 3 && b->n_non_finite == 2 && b->x_min == 5 && b->x_max == 5 && b->max == 1);
    hl_pyramid_free(p);
}

Test(pyramid, no_memory_leaves_it_as_it_was)
{
    hl_mem_fail_after(0);
    cr_expect_null(hl_pyramid_new());
    hl_pyramid *p = hl_pyramid_new();
    size_t n = 0, n_failed = 0;
    for (int i = 0; n < 3000; i++) {
        hl_mem_fail_after(i % 3);
        /* then stretches, then each x */
        const double x = (double)n * (n < 900 ? 1 : 1.5) + (n > 1500 ? 0.2 * (double)(n % 3) : 0);
        const hl_status st = hl_pyramid_push(p, x, (double)n * (n < 2200 ? 2 : 2.1));
        hl_mem_fail_after(-1);
        cr_assert(st == HL_OK || st == HL_E_NOMEM);
        n += st == HL_OK;
        n_failed += st != HL_OK;
        cr_assert_eq(hl_pyramid_n(p), n);
    }
    cr_expect_gt(n_failed, 6, "%zu", n_failed);
    expect_right(p);
    hl_pyramid_free(p);
}

Test(pyramid, what_is_outside_and_not_finite_is_found)
{
    uint64_t seed = 3;
    hl_pyramid *p = hl_pyramid_new();
    for (int i = 0; i < 3000; i++) {
        const double y = test_uniform(&seed);
        cr_assert_eq(hl_pyramid_push(p, i / 2, i % 701 == 700 ? (double)NAN : y), HL_OK);
    }
    for (int k = 0; k < 200; k++) {
        const double lo = test_uniform(&seed) * 0.3, hi = 1 - test_uniform(&seed) * 0.01 * k;
        const double from = test_uniform(&seed) * 1000, to = from + test_uniform(&seed) * 800;
        size_t above, below, want_above = 0, want_below = 0;
        for (size_t i = 0; i < 3000; i++) {
            const double x = hl_pyramid_x(p, i), y = hl_pyramid_y(p, i);
            want_above += x >= from && x < to && y > hi;
            want_below += x >= from && x < to && y < lo;
        }
        hl_pyramid_outside(p, (double[2]){from, to}, (double[2]){lo, hi}, &above, &below);
        cr_assert(above == want_above && below == want_below, "%zu %zu", above, below);
    }
    cr_expect_eq(hl_pyramid_next_bad(p, 0), 700);
    cr_expect_eq(hl_pyramid_next_bad(p, 701), 1401);
    cr_expect_eq(hl_pyramid_next_bad(p, 2804), SIZE_MAX);
    hl_pyramid_free(p);
}

Test(pyramid, memory_of_a_point)
{
    /* x even; with a leap; in no order; y in double; times to the microsecond */
    static const double most[] = {9, 9, 21, 15, 9};
    for (int k = 0; k < 5; k++) {
        const int64_t before = hl_mem_get_stats().live_bytes;
        hl_pyramid *p = hl_pyramid_new();
        const int n = 1 << 20;
        hl_pyramid_set_x_error(p, k == 4 ? 1e-6 : 0);
        for (int i = 0; i < n; i++) {
            const double late = i > n / 3 ? 0.02 * (i - n / 3) : 0; /* a step takes longer */
            const double t = 1700000000 + 0.1 * i + late + (i % 7) * 1e-7;
            const double x = k == 4 ? t : k == 2 ? i + 0.2 * (i % 3) : 3 * i + (k == 1 && i > 5);
            cr_assert_eq(hl_pyramid_push(p, x, k == 3 ? i + 0.1 : i), HL_OK);
            cr_assert(k < 4 || i % 1000 || fabs(hl_pyramid_x(p, (size_t)i) - t) <= 2e-6);
        }
        const double each = (double)(hl_mem_get_stats().live_bytes - before) / n;
        printf("pyramid: %.1f bytes a point, growth reserve included\n", each);
        cr_expect_lt(each, most[k]);
        hl_pyramid_free(p);
        cr_expect_eq(hl_mem_get_stats().live_bytes, before);
    }
}

/* Ten million points smoothed over time are three lines: the points, over time, and smoothed. */
Test(pyramid, a_smoothed_line_over_time_takes_no_more_than_its_points)
{
    const int64_t before = hl_mem_get_stats().live_bytes;
    hl_pyramid *p = hl_pyramid_new();
    hl_smooth *s = hl_smooth_new();
    const int n = 1 << 19;
    hl_pyramid_set_x_error(p, 1e-6);
    for (int i = 0; i < n; i++)
        cr_assert_eq(hl_pyramid_push(p, i / 3.0, (double)(float)sin(i)), HL_OK);
    const double raw = (double)(hl_mem_get_stats().live_bytes - before) / n;
    cr_assert_eq(hl_smooth_follow(s, p, 0.9, false), HL_OK);
    const double both = (double)(hl_mem_get_stats().live_bytes - before) / n;
    cr_expect_lt(raw, 9);
    cr_expect_lt(both, 2.1 * raw, "%g and %g bytes a point", raw, both);
    hl_smooth_free(s);
    hl_pyramid_free(p);
}

/* Whether x are kept or follow from their distance, the answers are the same. */
Test(pyramid, even_and_uneven_x_answer_alike)
{
    static const double steps[][3] = {{0, 1, 0.1}, {7, 0, 0}, {1e15, 2, 2}, {5, -1, -1}};
    for (int k = 0; k < 4; k++)
        for (int n = 1; n < 400; n += 37) {
            hl_pyramid *p = hl_pyramid_new();
            double x = steps[k][0];
            for (int i = 0; i < n; i++, x += steps[k][i > n / 2 ? 2 : 1])
                cr_assert_eq(
                    hl_pyramid_push(p, x, i % 50 == 9 ? (double)NAN : i + (i > n / 3) * 0.1),
                    HL_OK); /* in float, then in double */
            expect_right(p);
            hl_pyramid_cut(p, steps[k][0] + n / 3.0);
            expect_right(p);
            cr_assert_eq(hl_pyramid_push(p, 3.25, 1), HL_OK);
            expect_right(p);
            hl_pyramid_free(p);
        }
}

/* ---- smoothing ---- */

static void push_all(hl_pyramid *p, const double (*at)[2], size_t n)
{
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(hl_pyramid_push(p, at[i][0], at[i][1]), HL_OK);
}

Test(smooth, a_constant_stays_exactly_constant)
{
    static const double values[] = {0, 0.1, -1.0 / 3, 1e300, -1e300, 4e-320, 2.417};
    for (size_t k = 0; k < sizeof values / sizeof *values; k++)
        for (int log = 0; log < 2; log++) {
            hl_pyramid *p = hl_pyramid_new();
            hl_smooth *s = hl_smooth_new();
            uint64_t seed = k;
            for (int i = 0; i < 500; i++) {
                const double x = i * 3 + (double)(test_bits(&seed) % 3);
                cr_assert_eq(hl_pyramid_push(p, x, values[k]), HL_OK);
            }
            cr_assert_eq(hl_smooth_follow(s, p, 0.97, log), HL_OK);
            const hl_pyramid *out = hl_smooth_data(s);
            cr_assert_eq(hl_pyramid_n(out), 500);
            for (size_t i = 0; i < 500; i++)
                cr_assert(hl_pyramid_y(out, i) == values[k] || (log && values[k] <= 0));
            hl_smooth_free(s);
            hl_pyramid_free(p);
        }
}

Test(smooth, one_and_two_points_stay)
{
    static const double at[][2] = {{1, 4}, {7, 10}, {13, 2}};
    hl_pyramid *p = hl_pyramid_new();
    hl_smooth *s = hl_smooth_new();
    const hl_pyramid *out = hl_smooth_data(s);
    cr_assert_eq(hl_smooth_follow(s, p, 0.9, false), HL_OK);
    cr_expect_eq(hl_pyramid_n(out), 0);
    push_all(p, at, 2);
    cr_assert_eq(hl_smooth_follow(s, p, 0.9, false), HL_OK);
    cr_expect(hl_pyramid_n(out) == 2 && hl_pyramid_y(out, 0) == 4 && hl_pyramid_y(out, 1) == 10);
    push_all(p, at + 2, 1);
    cr_assert_eq(hl_smooth_follow(s, p, 0.9, false), HL_OK);
    cr_expect(hl_pyramid_n(out) == 3 && hl_pyramid_y(out, 0) == 4);
    /* of floats it is kept in float */
    cr_expect_float_eq(hl_pyramid_y(out, 1), (0.9 * 4 + 10) / 1.9, 1e-6);
    cr_expect_float_eq(hl_pyramid_y(out, 2), (0.81 * 4 + 0.9 * 10 + 2) / (0.81 + 0.9 + 1), 1e-6);
    hl_smooth_free(s);
    hl_pyramid_free(p);
}

/* For evenly written points it is the debiased mean everybody knows. */
Test(smooth, equals_the_plain_formula)
{
    for (int log = 0; log < 2; log++) {
        hl_pyramid *p = hl_pyramid_new();
        hl_smooth *s = hl_smooth_new();
        uint64_t seed = 3;
        double sum = 0, weight = 0;
        for (int i = 0; i < 2000; i++) {
            const double y = 0.5 + test_uniform(&seed);
            cr_assert_eq(hl_pyramid_push(p, 100 + 50 * i, y), HL_OK);
            cr_assert_eq(hl_smooth_follow(s, p, 0.95, log), HL_OK);
            sum = sum * 0.95 + (log ? log10(y) : y);
            weight = weight * 0.95 + 1;
            const double want = log ? pow(10, sum / weight) : sum / weight;
            cr_assert(i < 2 || fabs(hl_pyramid_y(hl_smooth_data(s), (size_t)i) - want) < 1e-12);
        }
        hl_smooth_free(s);
        hl_pyramid_free(p);
    }
}

/* A step from 0 to 1 at x = 0 is followed the same way however densely it is written. */
Test(smooth, depends_on_distance_not_on_density)
{
    hl_pyramid *even = hl_pyramid_new(), *odd = hl_pyramid_new();
    hl_smooth *a = hl_smooth_new(), *b = hl_smooth_new();
    for (int x = -5000; x <= 400; x += 10)
        cr_assert_eq(hl_pyramid_push(even, x, x > 0), HL_OK);
    for (int x = -5000; x <= 400; x += x < 0 ? 10 : x < 200 ? 5 : 20)
        cr_assert_eq(hl_pyramid_push(odd, x, x > 0), HL_OK);
    cr_assert_eq(hl_smooth_follow(a, even, 0.9, false), HL_OK);
    cr_assert_eq(hl_smooth_follow(b, odd, 0.9, false), HL_OK);
    double x, y_even, y_odd;
    cr_assert(hl_pyramid_last(hl_smooth_data(a), &x, &y_even) && x == 400);
    cr_assert(hl_pyramid_last(hl_smooth_data(b), &x, &y_odd) && x == 400);
    cr_expect_float_eq(y_even, 1 - pow(0.9, 40), 1e-6);
    cr_expect_float_eq(y_odd, y_even, 1e-6);
    hl_smooth_free(a);
    hl_smooth_free(b);
    hl_pyramid_free(even);
    hl_pyramid_free(odd);
}

static void expect_same(const hl_pyramid *a, const hl_pyramid *b)
{
    cr_assert_eq(hl_pyramid_n(a), hl_pyramid_n(b));
    for (size_t i = 0; i < hl_pyramid_n(a); i++) {
        cr_assert_eq(hl_pyramid_x(a, i), hl_pyramid_x(b, i));
        cr_assert(same(hl_pyramid_y(a, i), hl_pyramid_y(b, i)), "point %zu", i);
    }
}

Test(smooth, following_equals_starting_anew)
{
    hl_pyramid *p = hl_pyramid_new();
    hl_smooth *s = hl_smooth_new();
    uint64_t seed = 8;
    double x = 0;
    for (int i = 0; i < 600; i++) {
        x += (double)(test_bits(&seed) % 4) - (i % 90 == 50 ? 40 : 0);
        cr_assert_eq(hl_pyramid_push(p, x, some_y(&seed)), HL_OK);
        if (i == 300)
            hl_pyramid_cut(p, x - 60);
        const double factor = i < 400 ? 0.6 : 0.99;
        const bool log = i > 500;
        cr_assert_eq(hl_smooth_follow(s, p, factor, log), HL_OK);
        hl_smooth *fresh = hl_smooth_new();
        cr_assert_eq(hl_smooth_follow(fresh, p, factor, log), HL_OK);
        expect_same(hl_smooth_data(s), hl_smooth_data(fresh));
        hl_smooth_free(fresh);
    }
    hl_smooth_free(s);
    hl_pyramid_free(p);
}

Test(smooth, gaps_stay_gaps_and_change_nothing_else)
{
    static const double at[][2] = {{0, 1}, {1, 3}, {2, 5}, {3, 4}};
    hl_pyramid *p = hl_pyramid_new();
    hl_smooth *s = hl_smooth_new();
    push_all(p, at, 3);
    cr_assert_eq(hl_pyramid_push(p, 2.5, (double)INFINITY), HL_OK);
    cr_assert_eq(hl_pyramid_push(p, 2.6, (double)NAN), HL_OK);
    push_all(p, at + 3, 1);
    cr_assert_eq(hl_smooth_follow(s, p, 0.5, false), HL_OK);
    const hl_pyramid *out = hl_smooth_data(s);
    cr_assert_eq(hl_pyramid_n(out), 6);
    cr_expect(!isfinite(hl_pyramid_y(out, 3)) && !isfinite(hl_pyramid_y(out, 4)));
    cr_expect(isfinite(hl_pyramid_y(out, 5)));
    cr_expect(hl_pyramid_y(out, 5) > 3 && hl_pyramid_y(out, 5) < 5);
    hl_smooth_free(s);
    hl_pyramid_free(p);
}

/* Against sorting and adding anew, with gaps, and as it grows. */
Test(smooth, windows)
{
    static const int windows[] = {2, 3, 31, 100};
    uint64_t seed = 11;
    hl_pyramid *p = hl_pyramid_new();
    hl_smooth *s[2] = {hl_smooth_new(), hl_smooth_new()};
    for (int i = 0; i < 700; i++)
        cr_assert_eq(hl_pyramid_push(p, i, i % 13 == 5 ? (double)NAN : test_uniform(&seed)), HL_OK);
    for (int k = 0; k < 4; k++) {
        for (int median = 0; median < 2; median++)
            cr_assert_eq(hl_smooth_window(s[median], p, windows[k], median), HL_OK);
        for (size_t i = 0; i < hl_pyramid_n(p); i++) {
            double v[100], sum = 0;
            int n = 0;
            for (size_t j = i + 1; j-- > 0 && n < windows[k];)
                if (isfinite(hl_pyramid_y(p, j)))
                    v[n++] = hl_pyramid_y(p, j);
            for (int a = 0; a < n; a++)
                for (int b = a; b > 0 && v[b] < v[b - 1]; b--) {
                    const double t = v[b];
                    v[b] = v[b - 1];
                    v[b - 1] = t;
                }
            for (int a = 0; a < n; a++)
                sum += v[a];
            const double mean = hl_pyramid_y(hl_smooth_data(s[0]), i);
            const double median = hl_pyramid_y(hl_smooth_data(s[1]), i);
            if (!isfinite(hl_pyramid_y(p, i))) {
                cr_assert(isnan(mean) && isnan(median));
                continue;
            }
            cr_assert_float_eq(mean, sum / n, 1e-12);
            cr_assert_float_eq(median, v[(n - 1) / 2] / 2 + v[n / 2] / 2, 1e-15);
        }
        for (int i = 0; i < 5; i++) /* it grows */
            cr_assert_eq(hl_pyramid_push(p, 700 + 5 * k + i, test_uniform(&seed)), HL_OK);
    }
    cr_assert_eq(hl_smooth_follow(s[0], p, 0.9, false), HL_OK); /* and another kind */
    cr_expect_eq(hl_pyramid_n(hl_smooth_data(s[0])), hl_pyramid_n(p));
    hl_smooth_free(s[0]);
    hl_smooth_free(s[1]);
    hl_pyramid_free(p);
}

Test(smooth, survives_extremes_and_lack_of_memory)
{
    hl_pyramid *p = hl_pyramid_new();
    hl_smooth *s = hl_smooth_new();
    for (int i = 0; i < 200; i++)
        cr_assert_eq(hl_pyramid_push(p, (i - 100) * 1e306, i % 2 ? 1.7e308 : -1.7e308), HL_OK);
    hl_mem_fail_after(2);
    cr_expect_eq(hl_smooth_follow(s, p, 0.9, false), HL_E_NOMEM);
    hl_mem_fail_after(-1);
    cr_assert_eq(hl_smooth_follow(s, p, 0.9, false), HL_OK);
    cr_expect_eq(hl_pyramid_n(hl_smooth_data(s)), 200);
    cr_expect_eq(hl_pyramid_total(hl_smooth_data(s))->n_non_finite, 0);
    hl_smooth_free(s);
    hl_pyramid_free(p);
}
