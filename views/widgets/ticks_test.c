#include "views/widgets/ticks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "views/widgets/widget_test.h"

/* ---- numbers ---- */

Test(number, value)
{
    static const struct {
        double v;
        const char *want;
    } rows[] = {{0, "0"},
                {2.4171, "2.417"},
                {12.4, "12.4"},
                {1310, "1.31k"},
                {999.96, "1k"},
                {-999.94, "-999.9"},
                {999999, "1M"},
                {1.5e6, "1.5M"},
                {25.2e6, "25.2M"},
                {9.3e-5, "9.3e-05"},
                {1e-4, "0.0001"},
                {0.00123, "0.00123"},
                {-0.00012346, "-0.0001235"},
                {1e15, "1e+15"},
                {9.9999e14, "1e+15"},
                {-1.2347e-300, "-1.235e-300"},
                {4.9e-324, "4.941e-324"},
                {(double)NAN, "nan"},
                {(double)INFINITY, "inf"},
                {-(double)INFINITY, "-inf"}};
    char buf[HL_NUMBER_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_str_eq(hl_format_value(buf, rows[i].v), rows[i].want);
    cr_expect_str_eq(hl_format_known(buf, false, 3, true), "\xe2\x80\x93");
    cr_expect_str_eq(hl_format_known(buf, false, 3, false), "-");
    cr_expect_str_eq(hl_format_known(buf, true, 3, false), "3");
}

Test(number, count)
{
    static const struct {
        int64_t n;
        const char *want;
    } rows[] = {{0, "0"},         {812, "812"},         {-999, "-999"},       {1000, "1k"},
                {12345, "12.3k"}, {999999, "1M"},       {2310000, "2.31M"},   {999499, "999k"},
                {-1500, "-1.5k"}, {INT64_MAX, "9.22E"}, {INT64_MIN, "-9.22E"}};
    char buf[HL_NUMBER_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_str_eq(hl_format_count(buf, rows[i].n), rows[i].want);
}

/* What is written is the value to 4 digits, whatever it is, in 11 characters. */
Test(number, value_reads_back)
{
    uint64_t seed = 1;
    for (int i = 0; i < 100000; i++) {
        const double v =
            (test_uniform(&seed) - 0.5) * pow(10, (double)(test_bits(&seed) % 600) - 300);
        char buf[HL_NUMBER_MAX], *end;
        hl_format_value(buf, v);
        double got = strtod(buf, &end);
        static const char units[] = "kMGT";
        const char *unit = *end ? strchr(units, *end) : NULL;
        if (unit)
            got *= pow(1000, (double)(unit - units + 1));
        cr_assert(*end == '\0' || (unit && end[1] == '\0'), "%s", buf);
        cr_assert(fabs(got - v) <= 0.000501 * fabs(v), "%g is '%s'", v, buf);
        cr_assert_leq(strlen(buf), 11);
    }
}

Test(number, tick)
{
    static const struct {
        double v, step;
        const char *want;
    } rows[] = {{0, 10, "0"},
                {12000, 4000, "12k"},
                {1.5e6, 5e5, "1.5M"},
                {1e6, 5e5, "1.0M"},
                {0.003, 0.001, "0.003"},
                {2e-5, 1e-5, "2e-05"},
                {2, 0.5, "2.0"},
                {-2600, 200, "-2.6k"},
                {1e-320, 1, "0"},
                {1e18, 1e17, "1.0e+18"},
                {0.3, 0.1, "0.3"},
                {1000, 1000, "1k"},
                {500, 500, "500"},
                {1e15, 1e15, "1e+15"},
                {1000001, 1, "1.000001M"},
                {123456789012345.0, 0.01, ""}};
    char buf[HL_NUMBER_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_str_eq(hl_format_tick(buf, rows[i].v, rows[i].step), rows[i].want);
}

/* ---- scales ---- */

Test(scale, cells_tile_the_range)
{
    const hl_scale s[] = {{.lo = 0, .hi = 10},
                          {.lo = 1e-3, .hi = 1e3, .log = true},
                          {.lo = -HL_SCALE_EDGE, .hi = HL_SCALE_EDGE},
                          {.lo = -5e4, .hi = 1e3, .linear = 0.1}};
    for (size_t k = 0; k < 4; k++) {
        cr_expect_eq(hl_scale_cell(&s[k], s[k].lo, 7), 0);
        cr_expect_eq(hl_scale_cell(&s[k], s[k].hi, 7), 6);
        for (int i = 0; i < 700; i++) {
            const double v = hl_scale_from(&s[k], (i + 0.5) / 700);
            cr_assert_eq(hl_scale_cell(&s[k], v, 7), i / 100);
            cr_assert_eq(hl_scale_cell(&s[k], v, 28) / 4, i / 100);
        }
        cr_expect_eq(hl_scale_cell(&s[k], (double)INFINITY, 7), k != 2 ? 7 : 6);
        cr_expect_eq(hl_scale_cell(&s[k], -(double)INFINITY, 7), k != 2 ? -1 : 0);
    }
    cr_expect_eq(hl_scale_cell(&s[1], 0, 7), -1);
    cr_expect_eq(hl_scale_cell(&s[1], -5, 7), -1);
}

/* ---- axes ---- */

static void cover(hl_axis *a, double lo, double hi, bool updated)
{
    hl_axis_cover_y(a, (hl_scale){.lo = lo, .hi = hi}, 12, updated);
    cr_expect(a->scale.lo <= lo && a->scale.hi >= hi && a->scale.lo < a->scale.hi);
}

Test(axis, y_grows_at_once_and_shrinks_after_quiet_updates)
{
    hl_axis a = {.is_set = false};
    cover(&a, 2.1, 9.7, true);
    cr_expect(a.scale.lo == 2 && a.scale.hi == 10, "%g..%g", a.scale.lo, a.scale.hi);
    cover(&a, 2.0, 9.9, true);
    cr_expect(a.scale.lo == 2 && a.scale.hi == 10);
    cover(&a, 2.0, 480, true);
    cr_expect(a.scale.hi >= 480 && a.scale.hi <= 600);
    const double high = a.scale.hi;
    for (int i = 0; i < 100; i++)
        cover(&a, 2.0, 9.9, false); /* redraws are no updates */
    for (int i = 0; i + 1 < HL_AXIS_QUIET; i++)
        cover(&a, 2.0, 9.9, true);
    cr_expect_eq(a.scale.hi, high);
    cover(&a, 2.0, 9.9, true);
    cr_expect(a.scale.lo == 2 && a.scale.hi == 10);
}

Test(axis, y_of_a_constant_and_of_extremes)
{
    static const double values[] = {0,       2.417,  -3,     1e300,   -1.7e308,
                                    1.7e308, 4e-320, 1e-290, 1e15 + 1};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (size_t k = 0; k < sizeof values / sizeof *values; k++)
            for (int log = 0; log < 2; log++) {
                const double lo = fmin(values[i], values[k]), hi = fmax(values[i], values[k]);
                hl_axis a = {.is_set = false};
                if (log && lo <= 0)
                    continue;
                for (int n = 1; n < 40; n++) {
                    hl_axis_cover_y(&a, (hl_scale){.lo = lo, .hi = hi, .log = log}, n, true);
                    cr_assert(a.scale.lo < a.scale.hi && isfinite(a.scale.hi - a.scale.lo));
                    cr_assert(!log || a.scale.lo > 0);
                    const int at = hl_scale_cell(&a.scale, lo, 9);
                    cr_assert(at >= 0 && at < 9, "%g %g", lo, hi);
                }
            }
}

Test(axis, log_y_ends_are_round)
{
    hl_axis a = {.is_set = false};
    hl_axis_cover_y(&a, (hl_scale){.lo = 2.3, .hi = 9.7, .log = true}, 12, true);
    cr_expect_float_eq(a.scale.lo, 2, 1e-12);
    cr_expect_float_eq(a.scale.hi, 10, 1e-12);
    a.is_set = false;
    hl_axis_cover_y(&a, (hl_scale){.lo = 3e-6, .hi = 0.7, .log = true}, 12, true);
    cr_expect_float_eq(a.scale.lo, 2e-6, 1e-15);
    cr_expect_float_eq(a.scale.hi, 1, 1e-12);
    a.is_set = false; /* little change: linear steps, not a whole decade */
    hl_axis_cover_y(&a, (hl_scale){.lo = 2.41, .hi = 2.48, .log = true}, 12, true);
    cr_expect(a.scale.lo >= 2.3 && a.scale.hi <= 2.6);
}

Test(axis, x_jumps_seldom)
{
    hl_axis a = {.is_set = false};
    int n_jumps = 0;
    double hi = 0;
    for (int x = 0; x < 100000; x++) {
        hl_axis_cover_x(&a, 0, x);
        cr_assert(a.scale.lo == 0 && a.scale.hi >= x && a.scale.hi <= fmax(2.51 * x, 1));
        n_jumps += a.scale.hi != hi;
        hi = a.scale.hi;
    }
    cr_expect_eq(n_jumps, 16, "%d", n_jumps);
    hl_axis_cover_x(&a, 0, 300);
    cr_expect_eq(a.scale.hi, 500, "a cut run starts again");
    a.is_set = false;
    n_jumps = 0;
    for (int x = 45010; x < 47000; x++) {
        hl_axis_cover_x(&a, 45010, x);
        cr_assert(a.scale.lo >= 44000 && a.scale.lo <= 45010 && a.scale.hi >= x);
        n_jumps += a.scale.hi != hi;
        hi = a.scale.hi;
    }
    cr_expect_lt(n_jumps, 16);
    cr_expect_leq(a.scale.hi, 50000);
}

/* ---- ticks ---- */

static void expect_in_order(const hl_ticks *t, const hl_scale *s, int n, bool vertical)
{
    int end = -1, row = 1 << 20;
    const char *before = NULL;
    for (int i = 0; i < t->n; i++) {
        const hl_tick *k = &t->tick[i];
        const int len = (int)strlen(k->label);
        cr_assert(i == 0 || k->value > t->tick[i - 1].value);
        cr_assert(k->at >= 0 && k->at < n && len <= t->label_columns);
        cr_assert(i == 0 || (vertical ? k->at < t->tick[i - 1].at : k->at > t->tick[i - 1].at));
        if (len == 0)
            continue;
        cr_assert(!before || strcmp(before, k->label) != 0, "'%s' twice", k->label);
        before = k->label;
        if (vertical) {
            cr_assert(n < 3 || row - k->at >= 2);
            row = k->at;
        } else {
            cr_assert(k->label_at > end && k->label_at + len <= n,
                      "[%g, %g] in %d: '%s' at %d, before ends %d", s->lo, s->hi, n, k->label,
                      k->label_at, end);
            end = k->label_at + len;
        }
    }
}

static hl_scale random_scale(uint64_t *seed)
{
    const bool log = test_bits(seed) % 2;
    const double size = pow(10, (double)(test_bits(seed) % 560) - 280);
    double a = size * (log ? test_uniform(seed) + 1e-9 : test_uniform(seed) * 2 - 1);
    double b = test_bits(seed) % 3 == 0 ? a * (1 + pow(10, -8 * test_uniform(seed)))
                                        : size * (test_uniform(seed) + 1e-9);
    if (log && test_bits(seed) % 2)
        b *= pow(10, (double)(test_bits(seed) % 30));
    hl_axis axis = {.is_set = false};
    hl_axis_cover_y(&axis, (hl_scale){.lo = fmin(a, b), .hi = fmax(a, b), .log = log}, 12, true);
    if (test_bits(seed) % 2) /* and ends that are not round at all */
        axis.scale.hi = axis.scale.hi * 0.7 + axis.scale.lo * 0.3;
    return axis.scale;
}

Test(ticks, labels_never_touch_or_repeat)
{
    uint64_t seed = 42;
    hl_ticks t;
    int n_bare = 0;
    for (int i = 0; i < 20000; i++) {
        const hl_scale s = random_scale(&seed);
        const int n = 1 + (int)(test_bits(&seed) % 150);
        hl_ticks_x(&s, n, &t);
        expect_in_order(&t, &s, n, false);
        n_bare += n >= 60 && (t.n == 0 || t.label_columns == 0);
        const int rows = 1 + (int)(test_bits(&seed) % 60);
        hl_ticks_y(&s, rows, &t);
        expect_in_order(&t, &s, rows, true);
        n_bare += rows >= 8 && t.label_columns == 0;
    }
    cr_expect_eq(n_bare, 0, "%d axes with room have no label", n_bare);
}

static void expect_labels(const hl_ticks *t, const char *want)
{
    hl_str b = {0};
    for (int i = 0; i < t->n; i++)
        if (t->tick[i].label[0])
            hl_str_addf(&b, "%s%s", b.n > 0 ? " " : "", t->tick[i].label);
    cr_expect_str_eq(hl_str_text(&b), want);
    hl_str_done(&b);
}

Test(ticks, known_axes)
{
    hl_ticks t;
    hl_ticks_x(&(hl_scale){.lo = 0, .hi = 50000}, 70, &t);
    expect_labels(&t, "0 5k 10k 15k 20k 25k 30k 35k 40k 45k 50k");
    hl_ticks_x(&(hl_scale){.lo = 0, .hi = 50000}, 40, &t);
    expect_labels(&t, "0 10k 20k 30k 40k 50k");
    hl_ticks_y(&(hl_scale){.lo = 0, .hi = 10}, 11, &t);
    expect_labels(&t, "0 5 10");
    hl_ticks_y(&(hl_scale){.lo = 2, .hi = 10, .log = true}, 11, &t);
    expect_labels(&t, "2 5 10");
    hl_ticks_y(&(hl_scale){.lo = 1e-5, .hi = 1, .log = true}, 20, &t);
    expect_labels(&t, "1e-05 0.0001 0.001 0.01 0.1 1");
    hl_ticks_y(&(hl_scale){.lo = 1e-5, .hi = 1, .log = true}, 7, &t);
    expect_labels(&t, "0.0001 0.01 1");
    hl_ticks_y(&(hl_scale){.lo = 2.4, .hi = 2.5, .log = true}, 12, &t);
    cr_expect_geq(t.n, 2);
    hl_ticks_x(&(hl_scale){.lo = 0, .hi = 1}, 0, &t);
    cr_expect_eq(t.n, 0);
    hl_ticks_y(&(hl_scale){.lo = -100, .hi = 1000, .linear = 1}, 24, &t);
    expect_labels(&t, "-100 -10 -1 0 1 10 100 1k");
    hl_ticks_y(&(hl_scale){.lo = -100, .hi = 1000, .linear = 1}, 12, &t);
    expect_labels(&t, "-10 0 10 1k");
    hl_ticks_x(&(hl_scale){.lo = 0, .hi = 7200, .unit = HL_UNIT_DURATION}, 50, &t);
    expect_labels(&t, "0 30m 1h 1h30m 2h");
    hl_ticks_x(&(hl_scale){.lo = 0, .hi = 3, .unit = HL_UNIT_DURATION}, 60, &t);
    expect_labels(&t, "0 0.5 1.0 1.5 2.0 2.5 3.0");
    hl_ticks_x(&(hl_scale){.lo = 1769871600, .hi = 1769911200, .unit = HL_UNIT_CLOCK}, 60, &t);
    expect_labels(&t, "16:00 18:00 20:00 22:00 02-01 02:00");
}

/* An axis of time covers, ends at whole units and grows in jumps. */
Test(axis, time_grows_in_jumps)
{
    for (int is_clock = 0; is_clock < 2; is_clock++) {
        hl_axis a = {.is_set = false};
        const double from = is_clock ? 1769864400 : 0;
        int n_changes = 0;
        for (double s = 1; s < 200000; s *= 1.01) {
            const hl_scale before = a.scale;
            hl_axis_cover_time(&a, from, from + s, is_clock);
            cr_assert(a.scale.lo <= from && a.scale.hi >= from + s);
            cr_assert(a.scale.hi - a.scale.lo <= 5 * s + 1, "%g for %g", a.scale.hi - a.scale.lo,
                      s);
            n_changes += before.lo != a.scale.lo || before.hi != a.scale.hi;
        }
        cr_expect_leq(n_changes, 40, "%d", n_changes);
    }
}
