#include "views/derived.h"

#include <criterion/criterion.h>
#include <math.h>

#include "views/bands.h"
#include "views/widgets/widget_test.h"

static hl_pyramid *line(double x0, double dx, size_t n, double y0, double slope)
{
    hl_pyramid *p = hl_pyramid_new();
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(hl_pyramid_push(p, x0 + dx * (double)i, y0 + slope * (double)i), HL_OK);
    return p;
}

/* ---- time ---- */

Test(step_clock, knows_every_step_however_long_the_run)
{
    static hl_step_clock c;
    double t;
    cr_expect_not(hl_step_clock_at(&c, 0, &t));
    for (int64_t step = 0; step < 300000; step++)
        hl_step_clock_add(&c, 10 * step, 5000000 + 1000 * step);
    cr_expect_leq(c.n, HL_STEP_CLOCK_KEPT);
    for (double step = 0; step < 2999990; step += 1777) {
        cr_assert(hl_step_clock_at(&c, step, &t));
        cr_assert_float_eq(t, 5000000 + 100 * step, 1);
    }
    cr_expect(hl_step_clock_at(&c, 2999990, &t) && t == 5000000 + 1000 * 299999.0);
    cr_expect_not(hl_step_clock_at(&c, 2999991, &t));
    cr_expect_not(hl_step_clock_at(&c, -1, &t));
}

/* The steps from 500 on come again, an hour later. */
Test(step_clock, a_resumed_run_has_its_new_times)
{
    static hl_step_clock c;
    double t;
    for (int64_t step = 0; step < 1000; step++)
        hl_step_clock_add(&c, step, step * 1000);
    hl_step_clock_cut(&c, 500);
    cr_expect_not(hl_step_clock_at(&c, 500, &t));
    for (int64_t step = 500; step < 800; step++)
        hl_step_clock_add(&c, step, 3600000000 + step * 1000);
    cr_expect(hl_step_clock_at(&c, 499, &t) && t == 499000);
    cr_expect(hl_step_clock_at(&c, 700, &t) && t == 3600700000);
    hl_step_clock_cut(&c, 0);
    cr_expect_eq(c.n, 0);
}

/* ---- other x ---- */

Test(derived, over_a_metric_waits_for_it)
{
    hl_pyramid *loss = line(1, 1, 10, 5, -0.1), *tokens = line(2, 2, 3, 100, 50);
    hl_derived d = {0};
    const hl_x_map m = {.kind = HL_X_METRIC, .metric = tokens};
    const hl_pyramid *p = hl_derived_over(&d, loss, &m);
    cr_assert_eq(hl_pyramid_n(p), 5, "steps 2 to 6: before and behind, tokens are not known");
    cr_expect_eq(hl_pyramid_x(p, 0), 100);
    cr_expect_eq(hl_pyramid_x(p, 1), 125);
    cr_expect_eq(hl_pyramid_y(p, 0), hl_pyramid_y(loss, 1));
    cr_assert_eq(hl_pyramid_push(tokens, 8, 260), HL_OK);
    cr_expect_eq(hl_derived_over(&d, loss, &m), p);
    cr_assert_eq(hl_pyramid_n(p), 7);
    cr_expect_eq(hl_pyramid_x(p, 6), 260);
    hl_pyramid_cut(loss, 4); /* a resume: made anew */
    cr_expect_eq(hl_pyramid_n(hl_derived_over(&d, loss, &m)), 2);
    hl_derived_done(&d);
    hl_pyramid_free(loss);
    hl_pyramid_free(tokens);
}

Test(derived, over_time_and_epochs)
{
    static hl_step_clock c;
    hl_pyramid *loss = line(0, 1, 100, 5, -0.01);
    for (int64_t step = 0; step < 100; step++)
        hl_step_clock_add(&c, step, 1700000000000000 + step * 2000000);
    const hl_x_map maps[] = {{.kind = HL_X_TIME, .clock = &c},
                             {.kind = HL_X_CLOCK, .clock = &c},
                             {.kind = HL_X_EPOCH, .steps_per_epoch = 25},
                             {.kind = HL_X_EPOCH}};
    static const double at_50[] = {100, 1700000100, 2};
    hl_derived d = {0};
    for (int k = 0; k < 3; k++) {
        const hl_pyramid *p = hl_derived_over(&d, loss, &maps[k]);
        cr_assert_eq(hl_pyramid_n(p), 100);
        cr_expect_float_eq(hl_pyramid_x(p, 50), at_50[k], 1e-6);
        cr_expect_eq(hl_pyramid_total(p)->min, hl_pyramid_total(loss)->min);
    }
    cr_expect_eq(hl_pyramid_n(hl_derived_over(&d, loss, &maps[3])), 0, "no epoch is known");
    hl_derived_done(&d);
    hl_pyramid_free(loss);
}

Test(derived, versus_another_run)
{
    hl_pyramid *mine = line(0, 1, 20, 10, 1), *other = line(5, 2, 4, 2, 2);
    hl_derived d = {0};
    const hl_pyramid *p = hl_derived_versus(&d, mine, other, 1, HL_RELATION_DIFFERENCE);
    cr_assert_eq(hl_pyramid_n(p), 7, "where both are: 5 to 11");
    cr_expect(hl_pyramid_x(p, 1) == 6 && hl_pyramid_y(p, 1) == 16 - 3);
    p = hl_derived_versus(&d, mine, other, 1, HL_RELATION_RATIO);
    cr_expect_eq(hl_pyramid_y(p, 0), 7.5);
    cr_assert_eq(hl_pyramid_push(other, 13, 10), HL_OK);
    cr_expect_eq(hl_pyramid_n(hl_derived_versus(&d, mine, other, 1, HL_RELATION_RATIO)), 9);
    /* what comes later, gaps, and a cut of a resumed run */
    hl_pyramid_cut(mine, 9);
    cr_expect_eq(hl_pyramid_n(hl_derived_versus(&d, mine, other, 1, HL_RELATION_RATIO)), 4);
    cr_assert_eq(hl_pyramid_push(mine, 9, (double)NAN), HL_OK);
    p = hl_derived_versus(&d, mine, other, 1, HL_RELATION_RATIO);
    cr_expect(hl_pyramid_n(p) == 5 && isnan(hl_pyramid_y(p, 4)), "a gap stays one");
    hl_derived_done(&d);
    hl_pyramid_free(mine);
    hl_pyramid_free(other);
}

/* 100 and 50 tokens a step: at equal tokens the other one is at twice the step. */
Test(derived, versus_another_run_at_equal_tokens)
{
    hl_pyramid *a = line(0, 1, 11, 0, 1), *b = line(0, 1, 21, 0, 1);
    hl_pyramid *ta = line(0, 1, 12, 0, 100), *tb = line(0, 1, 21, 0, 50);
    hl_derived over_a = {0}, over_b = {0}, d = {0};
    const hl_x_map ma = {.kind = HL_X_TOKENS, .metric = ta};
    const hl_x_map mb = {.kind = HL_X_TOKENS, .metric = tb};
    const hl_pyramid *p =
        hl_derived_versus(&d, hl_derived_over(&over_a, a, &ma), hl_derived_over(&over_b, b, &mb), 1,
                          HL_RELATION_DIFFERENCE);
    cr_assert_eq(hl_pyramid_n(p), 11);
    for (size_t i = 0; i < 11; i++)
        cr_expect(hl_pyramid_x(p, i) == 100 * (double)i && hl_pyramid_y(p, i) == -(double)i);
    hl_derived_done(&over_a);
    hl_derived_done(&over_b);
    hl_derived_done(&d);
    hl_pyramid_free(a);
    hl_pyramid_free(b);
    hl_pyramid_free(ta);
    hl_pyramid_free(tb);
}

/* ---- crossings ---- */

Test(crossing, the_first_point_beyond_a_value)
{
    hl_pyramid *p = hl_pyramid_new();
    hl_crossing c;
    char text[HL_CROSSING_TEXT];
    double step, x;
    for (int i = 0; i < 5000; i++) /* one value of not a number on the way */
        cr_assert_eq(hl_pyramid_push(p, 10 * i, i == 3000 ? (double)NAN : 9 - 0.002 * i), HL_OK);
    cr_assert_eq(hl_crossing_parse("train/loss<3", &c), HL_OK);
    cr_expect_str_eq(hl_crossing_text(&c, text), "train/loss<3");
    cr_assert(hl_crossing_step(&c, p, &step));
    cr_expect_eq(step, 30010, "%g", step);
    cr_assert_eq(hl_crossing_parse("a>8.9", &c), HL_OK);
    cr_expect(hl_crossing_step(&c, p, &step) && step == 0, "it begins there");
    cr_assert_eq(hl_crossing_parse("a<-2", &c), HL_OK);
    cr_expect_not(hl_crossing_step(&c, p, &step));
    cr_expect_not(hl_crossing_step(&c, NULL, &step));
    cr_assert_eq(hl_crossing_parse("off", &c), HL_OK);
    cr_expect_str_eq(c.tag, "");
    static const char *const wrong[] = {"", "3", "<3", "train/loss", "train/loss<", "a<inf", "a<x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_expect_eq(hl_crossing_parse(wrong[i], &c), HL_E_ARG, "%s", wrong[i]);
    hl_x_map m = {.kind = HL_X_STEP};
    hl_x_map_from(&m, 30010);
    cr_expect(hl_x_map_at(&m, 30000, &x) && x == -10);
    hl_x_map_from(&m, (double)NAN);
    cr_expect_not(hl_x_map_at(&m, 30000, &x), "it never got there");
    hl_pyramid_free(p);
}

/* Steps 5 and 8 were left out: counted from then on. */
Test(derived, over_updates_of_the_parameters)
{
    hl_pyramid *loss = line(1, 1, 10, 5, -0.1), *skipped = hl_pyramid_new();
    static const double want[] = {1, 2, 3, 4, 4, 5, 6, 6, 7, 8};
    hl_derived d = {0};
    cr_assert_eq(hl_pyramid_push(skipped, 5, 1), HL_OK);
    cr_assert_eq(hl_pyramid_push(skipped, 8, 2), HL_OK);
    const hl_x_map m = {.kind = HL_X_UPDATES, .skipped = skipped}, all = {.kind = HL_X_UPDATES};
    const hl_pyramid *p = hl_derived_over(&d, loss, &m);
    cr_assert_eq(hl_pyramid_n(p), 10);
    for (size_t i = 0; i < 10; i++)
        cr_expect_eq(hl_pyramid_x(p, i), want[i], "%zu: %g", i, hl_pyramid_x(p, i));
    cr_expect_eq(hl_pyramid_x(hl_derived_over(&d, loss, &all), 9), 10, "none was left out");
    hl_derived_done(&d);
    hl_pyramid_free(loss);
    hl_pyramid_free(skipped);
}

/* A clock that learns more while points come in: times never go back, and take no memory each. */
Test(derived, over_time_of_a_run_that_is_being_read)
{
    static hl_step_clock c;
    hl_pyramid *loss = hl_pyramid_new();
    hl_derived d = {0};
    uint64_t seed = 7;
    const hl_x_map m = {.kind = HL_X_TIME, .clock = &c};
    for (int64_t step = 0; step < 100000; step++) {
        const int64_t late = (int64_t)(test_uniform(&seed) * 90000);
        hl_step_clock_add(&c, step, 1700000000000000 + step * 100000 + late);
        cr_assert_eq(hl_pyramid_push(loss, (double)step, 1), HL_OK);
        if (step % 777 == 0)
            cr_assert_not_null(hl_derived_over(&d, loss, &m));
    }
    const hl_pyramid *p = hl_derived_over(&d, loss, &m);
    cr_assert_eq(hl_pyramid_n(p), 100000);
    for (size_t i = 1; i < 100000; i++)
        cr_assert_geq(hl_pyramid_x(p, i), hl_pyramid_x(p, i - 1));
    cr_expect_lt(hl_pyramid_bytes(p), 9 * 100000, "%zu", hl_pyramid_bytes(p));
    hl_derived_done(&d);
    hl_pyramid_free(loss);
}

/* Steps that take less than a tick of the clock, with pauses: as above. */
Test(derived, over_time_of_steps_faster_than_the_clock)
{
    enum { N = 200000 };
    static hl_step_clock c;
    hl_pyramid *loss = hl_pyramid_new();
    hl_derived d = {0};
    uint64_t seed = 11;
    int64_t t_us = 1700000000000000;
    const hl_x_map m = {.kind = HL_X_TIME, .clock = &c};
    for (int64_t step = 0; step < N; step++) {
        t_us += step % 5000 == 0 ? 700 : test_uniform(&seed) < 0.15;
        hl_step_clock_add(&c, step, t_us);
        cr_assert_eq(hl_pyramid_push(loss, (double)step, 1), HL_OK);
    }
    const hl_pyramid *p = hl_derived_over(&d, loss, &m);
    cr_assert_eq(hl_pyramid_n(p), N);
    for (size_t i = 1; i < N; i++) {
        double t;
        cr_assert(hl_x_map_at(&m, (double)i, &t) && fabs(hl_pyramid_x(p, i) - t) <= 2e-6);
        cr_assert_geq(hl_pyramid_x(p, i), hl_pyramid_x(p, i - 1));
    }
    cr_expect_lt(hl_pyramid_bytes(p), 9 * N, "%zu", hl_pyramid_bytes(p));
    hl_derived_done(&d);
    hl_pyramid_free(loss);
}

static bool any_name(void *self, const char *name)
{
    (void)self;
    return *name != 0;
}

Test(formula, follows_its_series)
{
    hl_pyramid *a = hl_pyramid_new(), *b = hl_pyramid_new(), *out = hl_pyramid_new();
    const hl_pyramid *const series[] = {a, b};
    hl_formula f;
    size_t n_taken = 0;
    cr_assert_eq(hl_formula_parse("train/loss * eval/loss", any_name, NULL, &f), HL_OK);
    for (int step = 0; step < 100; step++)
        cr_assert_eq(hl_pyramid_push(a, step, step), HL_OK);
    for (int step = 10; step <= 50; step += 10) /* seldom, and not yet to the end */
        cr_assert_eq(hl_pyramid_push(b, step, 2 * step), HL_OK);
    cr_assert(hl_formula_follow(&f, series, &n_taken, out));
    cr_assert_eq(hl_pyramid_n(out), 41, "from step 10 to step 50");
    for (size_t i = 0; i < 41; i++)
        cr_assert_float_eq(hl_pyramid_y(out, i), 2 * pow(hl_pyramid_x(out, i), 2), 1e-9);
    cr_assert_eq(hl_pyramid_push(b, 99, 198), HL_OK);
    cr_assert(hl_formula_follow(&f, series, &n_taken, out));
    cr_expect_eq(hl_pyramid_n(out), 90);
    hl_pyramid_free(a);
    hl_pyramid_free(b);
    hl_pyramid_free(out);
}

/* ---- bands ---- */

static double at(const hl_pyramid *p, double x)
{
    return hl_pyramid_y(p, hl_pyramid_nearest(p, x));
}

Test(band, mean_deviation_extremes_and_percentiles)
{
    hl_pyramid *member[4];
    hl_band b = {0};
    for (int k = 0; k < 4; k++)
        member[k] = line(0, 10, 5, k, 1); /* 0, 1, 2, 3 at x = 0 */
    cr_assert(hl_band_make(&b, (const hl_pyramid *const *)member, 4, 1, HL_BAND_SD));
    cr_assert_eq(hl_pyramid_n(b.middle), 5);
    const double sd = sqrt(5.0 / 3);
    cr_expect_float_eq(at(b.middle, 20), 3.5, 1e-12);
    cr_expect_float_eq(at(b.lo, 20), 3.5 - sd, 1e-12);
    cr_assert(hl_band_make(&b, (const hl_pyramid *const *)member, 4, 1, HL_BAND_SE));
    cr_expect_float_eq(at(b.hi, 20), 3.5 + sd / 2, 1e-12);
    cr_assert(hl_band_make(&b, (const hl_pyramid *const *)member, 4, 1, HL_BAND_MINMAX));
    cr_expect(at(b.lo, 0) == 0 && at(b.hi, 0) == 3 && at(b.n, 0) == 4);
    cr_assert(hl_band_make(&b, (const hl_pyramid *const *)member, 4, 1, HL_BAND_P10_90));
    cr_expect_float_eq(at(b.middle, 0), 1.5, 1e-12);
    cr_expect_float_eq(at(b.lo, 0), 0.3, 1e-12);
    cr_expect_float_eq(at(b.hi, 0), 2.7, 1e-12);
    hl_band_done(&b);
    for (int k = 0; k < 4; k++)
        hl_pyramid_free(member[k]);
}

/* Each counts from its first to its last point, whatever its rhythm; NaN do not count. */
Test(band, unequal_members)
{
    hl_pyramid *member[2] = {line(0, 1, 2001, 1, 0), line(0, 7, 101, 3, 0)};
    hl_band b = {0};
    cr_assert_eq(hl_pyramid_push(member[1], 707, (double)NAN), HL_OK);
    cr_assert(hl_band_make(&b, (const hl_pyramid *const *)member, 2, 1, HL_BAND_SD));
    cr_expect(at(b.middle, 350) == 2 && at(b.n, 350) == 2);
    cr_expect(at(b.middle, 1500) == 1 && at(b.n, 1500) == 1 && at(b.lo, 1500) == 1);
    cr_assert_eq(hl_pyramid_push(member[0], 1000.5, 41), HL_OK); /* a spike, logged late */
    cr_assert(hl_band_make(&b, (const hl_pyramid *const *)member, 2, 1, HL_BAND_MINMAX));
    cr_expect_eq(at(b.hi, 1000.5), 41);
    hl_band_done(&b);
    for (int k = 0; k < 2; k++)
        hl_pyramid_free(member[k]);
}

/* The band holds every value of its members, and the line lies in the band. */
Test(band, property_extremes_are_inside)
{
    uint64_t r = 5;
    for (int round = 0; round < 30; round++) {
        hl_pyramid *member[3];
        hl_band b = {0};
        double least = HUGE_VAL, most = -HUGE_VAL;
        for (int k = 0; k < 3; k++) {
            member[k] = hl_pyramid_new();
            const int n = 1 + (int)(test_bits(&r) % 1500);
            double x = test_uniform(&r) * 50;
            for (int i = 0; i < n; i++, x += test_uniform(&r)) {
                const double y = test_uniform(&r) - 0.5;
                least = fmin(least, y);
                most = fmax(most, y);
                cr_assert_eq(hl_pyramid_push(member[k], x, y), HL_OK);
            }
        }
        cr_assert(hl_band_make(&b, (const hl_pyramid *const *)member, 3, 1, HL_BAND_MINMAX));
        cr_assert_eq(hl_pyramid_total(b.lo)->min, least);
        cr_assert_eq(hl_pyramid_total(b.hi)->max, most);
        for (size_t i = 0; i < hl_pyramid_n(b.middle); i++)
            cr_assert(hl_pyramid_y(b.lo, i) <= hl_pyramid_y(b.middle, i) + 1e-12 &&
                      hl_pyramid_y(b.middle, i) <= hl_pyramid_y(b.hi, i) + 1e-12);
        hl_band_done(&b);
        for (int k = 0; k < 3; k++)
            hl_pyramid_free(member[k]);
    }
}
