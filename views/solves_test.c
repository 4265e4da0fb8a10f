#include "views/solves.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"
#include "views/widgets/widget_test.h"

static const hl_solve_kind forward = {false, false};

#define N NAN

/* ---- quantiles ---- */

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Nearest rank, from a sorted copy. */
static float slow_quantile(const float *v, size_t n, double q)
{
    float sorted[300];
    memcpy(sorted, v, n * sizeof *v);
    qsort(sorted, n, sizeof *sorted, by_value);
    const int rank = (int)ceil(q * (double)n - 1e-9);
    return sorted[rank > 1 ? rank - 1 : 0];
}

Test(solves, quantiles_are_those_of_a_sorted_copy)
{
    static const double q[HL_QUANTILES] = {0, 0.1, 0.5, 0.9, 1};
    uint64_t seed = 7;
    for (size_t n = 1; n <= 300; n++) {
        float v[300], out[HL_QUANTILES];
        size_t n_made;
        const int kinds = n % 3 == 0 ? 4 : n % 3 == 1 ? 1 : 1000000; /* many equal ones, too */
        for (size_t i = 0; i < n; i++)
            v[i] = floorf((float)(test_uniform(&seed) * kinds));
        cr_assert_eq(hl_residual_quantiles(&(hl_curve){v, 1, n}, out, &n_made), HL_OK);
        cr_assert_eq(n_made, 1);
        for (int k = 0; k < HL_QUANTILES; k++)
            cr_assert_eq(out[k], slow_quantile(v, n, q[k]), "quantile %d of %zu", k, n);
    }
}

Test(solves, a_stopped_sample_keeps_its_last_residual)
{
    const float v[] = {1,    1,    1,    N, /* the last one is never known */
                       0.5f, 0.1f, 0.2f, N, /* */
                       0.3f, N,    0.1f, N, /* */
                       0.2f, N,    N,    N, /* */
                       N,    N,    N,    N};
    const hl_curve c = {v, 5, 4};
    float out[HL_QUANTILES * 5];
    size_t n_made;
    cr_assert_eq(hl_residual_quantiles(&c, out, &n_made), HL_OK);
    cr_expect_eq(n_made, 4);
    const float *median = out + HL_QUANTILE_MEDIAN * 5, *min = out + HL_QUANTILE_MIN * 5;
    const float want[] = {1, 0.2f, 0.1f, 0.1f, 0.1f};
    for (int k = 0; k < 5; k++)
        cr_expect_eq(median[k], want[k], "row %d: %g", k, (double)median[k]);
    cr_expect_eq(min[3], 0.1f);
    cr_expect_eq(out[HL_QUANTILE_MAX * 5 + 3], 0.2f);
}

Test(solves, nothing_known_and_nothing_at_all)
{
    const float v[] = {N, N, INFINITY, 1};
    float out[HL_QUANTILES * 2];
    size_t n_made = 9;
    cr_assert_eq(hl_residual_quantiles(&(hl_curve){v, 2, 1}, out, &n_made), HL_OK);
    cr_expect_eq(n_made, 0);
    cr_expect(isnan(out[HL_QUANTILE_MEDIAN * 2]));
    cr_assert_eq(hl_residual_quantiles(&(hl_curve){v + 2, 1, 2}, out, &n_made), HL_OK);
    cr_expect_eq(out[HL_QUANTILE_MAX], INFINITY, "an infinite one is not hidden");
    cr_expect_eq(out[HL_QUANTILE_MEDIAN], 1);
    cr_assert_eq(hl_residual_quantiles(&(hl_curve){NULL, 0, 3}, out, &n_made), HL_OK);
    cr_assert_eq(hl_residual_quantiles(&(hl_curve){NULL, 3, 0}, out, &n_made), HL_OK);
    cr_expect_eq(n_made, 0);
}

/* ---- evaluations ---- */

Test(solves, evaluations_to_the_tolerance)
{
    static const struct {
        float v[4];
        size_t want;
        const char *what;
    } cases[] = {{{0.00001f, N, N, N}, 1, "within tolerance at once"},
                 {{1, 0.01f, 0.00001f, N}, 3, "the usual"},
                 {{1, 0.00001f, 0.5f, 0.3f}, 2, "the first one counts"},
                 {{1, 0.1f, 0.01f, 0.00001f}, 4, "in the last one"},
                 {{1, 0.1f, 0.01f, 0.001f}, 0, "never"},
                 {{1, 0.01f, 0.0002f, N}, 3, "stopped by its own residual"},
                 {{1, 0.6f, 0.6f, N}, 0, "stopped because it diverged"},
                 {{1, INFINITY, N, N}, 0, "overflowed"},
                 {{N, N, N, N}, 0, "not a number from the start"},
                 {{0, 0, 0, 0}, 1, "no change at all"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const hl_curve c = {cases[i].v, 4, 1};
        cr_expect_eq(hl_residual_evaluations(&c, 0, 1e-4), cases[i].want, "%s", cases[i].what);
    }
    cr_expect_eq(hl_residual_evaluations(&(hl_curve){cases[9].v, 4, 1}, 0, 0), 0,
                 "nothing is below 0");
}

Test(solves, counts_of_a_batch)
{
    /* 10 samples need 1, 1, 2, 2, 2, 2, 3, 3, 3, never */
    static const size_t need[10] = {1, 2, 2, 3, 0, 1, 2, 3, 2, 3};
    float v[4 * 10];
    size_t count[5];
    hl_evaluations e;
    for (size_t k = 0; k < 4; k++)
        for (size_t b = 0; b < 10; b++)
            v[k * 10 + b] = need[b] == 0       ? 0.5f
                            : k + 1 > need[b]  ? N
                            : k + 1 == need[b] ? 1e-6f
                                               : 1;
    hl_residual_count(&(hl_curve){v, 4, 10}, 1e-4, count, &e);
    const size_t want[5] = {1, 2, 4, 3, 0};
    for (int k = 0; k < 5; k++)
        cr_expect_eq(count[k], want[k], "%d: %zu", k, count[k]);
    cr_expect(e.n_samples == 10 && e.n_not == 1 && e.median == 2 && e.p90 == 3);
    cr_expect_eq(e.max, 4, "not converged counts as all rows");
    hl_residual_count(&(hl_curve){NULL, 0, 5}, 1e-4, count, &e);
    cr_expect(e.n_samples == 0 && e.max == 0);
}

/* ---- configuration ---- */

Test(solves, tolerance_and_damping_of_a_configuration)
{
    static const struct {
        const char *text;
        double tol, damping;
        bool known;
    } cases[] = {
        {"{\"model\":{\"forward\":{\"tol\":1e-3},\"damping\":0.5,\"tol\":7}}", 1e-3, 0.5, true},
        {"{\"model\":{\"forward\":{\"tol\":0}}}", 1e-4, 0, false},
        {"{\"model\":{\"tol\":0.01,\"damping\":0.1}}", 0.01, 0.1, true},
        {"{\"model\":{\"layers\":[1,{\"core\":{\"damping\":0.2,\"forward\":{\"tol\":1e-5}}}]}}",
         1e-5, 0.2, true},
        {"{\"model\":{\"forward\":{\"tol\":1e-3,\"stop\":\"abs\"}}}", 1e-4, 0, false},
        {"{\"model\":{\"forward\":{\"tol\":\"x\"}}}", 1e-4, 0, false},
        {"{\"model\":3}", 1e-4, 0, false},
        {"{}", 1e-4, 0, false},
    };
    bool known = true;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hl_json *v;
        cr_assert_eq(hl_json_parse(cases[i].text, strlen(cases[i].text), &v), HL_OK);
        cr_expect_eq(hl_solves_tolerance(v, NULL, forward, &known), cases[i].tol, "%s",
                     cases[i].text);
        cr_expect_eq(known, cases[i].known, "%s", cases[i].text);
        cr_expect_eq(hl_solves_damping(v, NULL), cases[i].damping, "%s", cases[i].text);
        hl_json_free(v);
    }
    cr_expect_eq(hl_solves_tolerance(NULL, NULL, forward, &known), 1e-4);
    cr_expect(!known && hl_solves_damping(NULL, NULL) == 0);
}

/* Each kind of solve and residual has the tolerance of its own; the knob is of forward ones. */
Test(solves, tolerances_by_kind_and_damping_by_knob)
{
    static const char text[] = "{\"model\":{\"damping\":0.25,\"forward\":{\"tol\":0.001},"
                               "\"backward\":{\"tol\":0.02,\"stop\":\"abs\"}}}";
    static const char turned[] = "{\"deq.tol\":{\"value\":0.5},\"deq.damping\":{\"value\":0.75}}";
    hl_json *config = NULL, *knobs = NULL;
    cr_assert_eq(hl_json_parse(text, strlen(text), &config), HL_OK);
    cr_assert_eq(hl_json_parse(turned, strlen(turned), &knobs), HL_OK);
    const struct {
        hl_solve_kind kind;
        double tol;
        bool known;
    } cases[] = {{{false, false}, 0.5, true},
                 {{false, true}, HL_TOLERANCE_USUAL, false},
                 {{true, false}, HL_TOLERANCE_USUAL, false},
                 {{true, true}, 0.02, true}};
    for (int i = 0; i < 4; i++) {
        bool known;
        cr_expect_eq(hl_solves_tolerance(config, knobs, cases[i].kind, &known), cases[i].tol);
        cr_expect_eq(known, cases[i].known);
    }
    cr_expect_eq(hl_solves_damping(config, NULL), 0.25);
    cr_expect_eq(hl_solves_damping(config, knobs), 0.75);
    cr_expect(hl_solves_is_tag("train/deq/movement") && hl_solves_is_tag("eval/first/deq/state"));
    cr_expect(!hl_solves_is_tag("train/deq/iterations") && !hl_solves_is_tag("movement"));
    hl_json_free(config);
    hl_json_free(knobs);
}

/* What is said of a solve is what the knobs made of it. */
Test(solves, rule_that_ends_a_solve)
{
    static const char text[] =
        "{\"model\":{\"solver\":\"anderson\",\"tol\":0.001,\"max_iter\":40}}";
    static const char turned[] = "{\"deq.tol\":{\"value\":0.5},\"deq.memory\":{\"value\":3}}";
    char rule[HL_SOLVES_RULE_MAX];
    hl_json *config = NULL, *knobs = NULL;
    bool known;
    cr_assert_eq(hl_json_parse(text, strlen(text), &config), HL_OK);
    cr_assert_eq(hl_json_parse(turned, strlen(turned), &knobs), HL_OK);
    cr_expect_eq(hl_solves_tolerance(config, knobs, forward, &known), 0.5);
    cr_expect_str_eq(hl_solves_rule(config, NULL, rule), "anderson, tol 0.001 rel, at most 40");
    cr_expect_str_eq(hl_solves_rule(config, knobs, rule), "anderson(3), tol 0.5 rel, at most 40");
    cr_expect_str_eq(hl_solves_rule(NULL, NULL, rule), "");
    hl_json_free(config);
    hl_json_free(knobs);
}

/* ---- the store ---- */

/* A batch whose every value is its step. */
static void add(hl_solves *s, int64_t step, size_t rows, size_t cols)
{
    float *v = hl_alloc(rows * cols * sizeof *v);
    cr_assert_not_null(v);
    for (size_t i = 0; i < rows * cols; i++)
        v[i] = (float)step;
    cr_assert_eq(hl_solves_add(s, step, v, rows, cols), HL_OK);
}

Test(solves, the_newest_are_kept_and_medians_of_the_whole_run)
{
    hl_solves s = {0};
    cr_expect(hl_solves_is_tag("train/deq/movement") && !hl_solves_is_tag("train/deq/residual"));
    cr_expect_eq(hl_solves_find(&s, -1), -1);
    for (int64_t step = 10; step <= 10000; step += 10) {
        add(&s, step, 3, 4);
        cr_assert_leq(s.medians.n, HL_SOLVE_MEDIANS + 1);
        cr_assert_eq(s.medians.at[s.medians.n - 1].step, step, "the newest is always there");
    }
    cr_expect_eq(s.kept.n, HL_SOLVES_KEPT);
    cr_expect_eq(s.kept.at[0].step, 10000 - 10 * (HL_SOLVES_KEPT - 1));
    cr_expect_eq(s.kept.at[0].quantile[HL_QUANTILE_LOW * 3 + 2], (float)s.kept.at[0].step);
    cr_expect_eq(s.medians.at[0].step, 10);
    for (size_t i = 0; i + 2 < s.medians.n; i++)
        cr_expect_eq(s.medians.at[i + 1].step - s.medians.at[i].step, 10 * s.stride);
    cr_expect_eq(hl_solves_find(&s, -1), HL_SOLVES_KEPT - 1);
    cr_expect_eq(s.kept.at[hl_solves_find(&s, 9915)].step, 9910);
    cr_expect_eq(hl_solves_find(&s, 3), 0, "else the oldest");
    hl_solves_cut(&s, 9905);
    cr_expect_eq(s.kept.at[s.kept.n - 1].step, 9900);
    cr_expect_leq(s.medians.at[s.medians.n - 1].step, 9900);
    for (int64_t step = 9905; step <= 20000; step += 5)
        add(&s, step, 3, 4);
    for (size_t i = 1; i < s.medians.n; i++)
        cr_assert_gt(s.medians.at[i].step, s.medians.at[i - 1].step);
    cr_expect_leq(s.medians.n, HL_SOLVE_MEDIANS + 1);
    hl_solves_done(&s);
    cr_expect_eq(s.kept.n, 0);
}

Test(solves, memory_is_bounded_whatever_the_size)
{
    hl_solves s = {0};
    const size_t rows = 1000, cols = 1000; /* 4 MB each */
    for (int64_t step = 1; step <= 12; step++)
        add(&s, step, rows, cols);
    cr_expect(s.kept.n >= 3 && s.kept.n <= 4, "%zu are kept", s.kept.n);
    cr_expect_leq(s.medians.at[0].n, HL_SOLVE_MEDIAN_ROWS);
    cr_expect_geq(s.medians.at[0].n * s.medians.at[0].each, rows);
    add(&s, 13, 100, 60000); /* larger than all of the room */
    cr_expect_eq(s.kept.n, 1);
    cr_expect_eq(s.kept.at[0].step, 13);
    add(&s, 14, 0, 0);
    cr_expect_eq(s.kept.at[s.kept.n - 1].step, 14);
    hl_solves_done(&s);
}
