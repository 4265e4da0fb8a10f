#include "engine/probe/trajectory.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/fs.h"
#include "engine/ckpt/safetensors.h"

static hl_trajectory *made(int64_t T, double damping)
{
    hl_trajectory *t = NULL;
    cr_assert_eq(hl_trajectory_new(T, damping, &t), HL_OK, "%s", hl_err_message());
    return t;
}

static int64_t total_of(const int64_t *bins)
{
    int64_t n = 0;
    for (int i = 0; i < HL_TRAJECTORY_BINS; i++)
        n += bins[i];
    return n;
}

/* --- reference numbers (tests/golden/README.md) --- */

static const float *tensor(const hl_safetensors *f, const char *name)
{
    const hl_tensor_entry *e = hl_safetensors_find(f, name);
    cr_assert(e, "no %s", name);
    return e->data;
}

/* The selection in the repository keeps the histogram as bytes. */
static double count_at(const hl_tensor_entry *histogram, int64_t i)
{
    return histogram->type.dtype == HL_DTYPE_U8 ? (double)((const uint8_t *)histogram->data)[i]
                                                : (double)((const float *)histogram->data)[i];
}

static void check_histogram(const hl_trajectory *t, const hl_tensor_entry *want)
{
    for (int64_t k = 0; k < hl_trajectory_iterations(t); k++) {
        const int64_t *got = hl_trajectory_bins(t, k);
        /* A value near an edge may fall to the other side: running sums may differ by one. */
        double sum_got = 0, sum_want = 0;
        for (int i = 0; i < HL_TRAJECTORY_BINS; i++) {
            sum_got += (double)got[i];
            sum_want += count_at(want, k * HL_TRAJECTORY_BINS + i);
            cr_expect(fabs(sum_got - sum_want) <= 1, "iteration %lld, bin %d: %g, not %g",
                      (long long)k, i, sum_got, sum_want);
        }
    }
}

static void check_golden(const hl_safetensors *f)
{
    const hl_type *type = &hl_safetensors_find(f, "rel_residual")->type;
    const int64_t T = type->dim[0], B = type->dim[1];
    hl_trajectory *t = made(T, strtod(hl_safetensors_metadata(f, "damping"), NULL));
    cr_assert_eq(hl_trajectory_add(t, tensor(f, "rel_residual"), B, B), HL_OK);
    cr_expect_eq(hl_trajectory_samples(t), B);
    check_histogram(t, hl_safetensors_find(f, "histogram"));
    for (int i = 0; i < HL_TRAJECTORY_TOLERANCES; i++) {
        const hl_trajectory_count c = hl_trajectory_at(t, i);
        cr_expect_eq((float)hl_trajectory_tolerance(i), tensor(f, "tolerances_log10")[i]);
        cr_expect_float_eq(c.mean_index, (double)tensor(f, "mean_convergence_index")[i], 1e-4);
    }
    const hl_trajectory_count c = hl_trajectory_at(t, hl_trajectory_threshold());
    cr_expect_eq((float)c.n_not_literal, tensor(f, "did_not_converge")[0]);
    cr_expect_float_eq(c.mean_index * (1 - hl_trajectory_damping(t)),
                       (double)tensor(f, "time_to_convergence")[0], 1e-4);
    cr_expect_eq(c.n_not_converged,
                 c.n_not_literal - 1); /* sample 0 has converged from the start */
    hl_trajectory_free(t);
}

Test(trajectory, agrees_with_reference_numbers)
{
    static const char *const places[] = {"tests/golden", "../shared/golden"};
    for (int i = 0; i < 2; i++) {
        char path[512];
        hl_safetensors *f = NULL;
        snprintf(path, sizeof path, "%s/%s/deq/telemetry.safetensors", getenv("HOPLAB_SOURCE"),
                 places[i]);
        if (i == 1 && !hl_fs_exists(path)) {
            printf("SKIPPED: %s is not there\n", path);
            continue;
        }
        cr_assert_eq(hl_safetensors_open(path, &f), HL_OK, "%s", hl_err_message());
        check_golden(f);
        hl_safetensors_close(f);
    }
}

/* --- by hand --- */

#define N NAN

Test(trajectory, counts_both_ways)
{
    /* at once; third iteration; never; stopped after the second, below; stopped, above; unreal */
    const float r[] = {1e-6f, 0.5f,  1, 1e-1f, 0.1f, 1e-6f, /* */
                       1e-6f, 1e-2f, 1, 5e-5f, N,    1e-6f, /* */
                       1e-6f, 5e-5f, 1, N,     N,    1e-6f, /* */
                       1e-6f, 0,     1, N,     N,    1e-6f};
    hl_trajectory *t = made(4, 0.5);
    cr_assert_eq(hl_trajectory_add(t, r, 6, 5), HL_OK);
    const hl_trajectory_count c = hl_trajectory_at(t, hl_trajectory_threshold());
    cr_expect_eq(c.n_not_literal, 3);
    cr_expect_eq(c.n_not_converged, 2);
    cr_expect_float_eq(c.mean_index, (4 + 2 + 4 + 1 + 4) / 5.0, 1e-12);
    cr_expect_float_eq(c.mean_iteration, (1 + 3 + 2) / 3.0, 1e-12);
    cr_expect_eq(total_of(hl_trajectory_bins(t, 0)), 5);
    cr_expect_eq(total_of(hl_trajectory_bins(t, 3)), 4, "log10 of 0 is in no bin");
    cr_expect_eq(hl_trajectory_bins(t, 3)[HL_TRAJECTORY_BINS - 1], 1, "1 is in the last bin");
    cr_expect_eq(hl_trajectory_bins(t, 3)[(int)((log10(5e-5) + 8) * 50)], 1, "it holds on");
    hl_trajectory_free(t);
}

Test(trajectory, columns_without_values_and_odd_ones)
{
    const float r[] = {N, INFINITY, 100, 1e-9f, N, 1e-3f, 1e-3f, 1e-9f};
    hl_trajectory *t = made(2, 0);
    cr_assert_eq(hl_trajectory_add(t, r, 4, 4), HL_OK);
    cr_expect_eq(hl_trajectory_samples(t), 4);
    cr_expect_eq(total_of(hl_trajectory_bins(t, 0)), 0, "outside [-8, 0]");
    cr_expect_eq(total_of(hl_trajectory_bins(t, 1)), 2);
    cr_expect_eq(hl_trajectory_at(t, 0).n_not_converged, 3);
    cr_expect_eq(hl_trajectory_at(t, HL_TRAJECTORY_TOLERANCES - 1).n_not_converged, 1);
    hl_trajectory_free(t);
}

Test(trajectory, wrong_arguments)
{
    hl_trajectory *t = NULL;
    const float r[2] = {0};
    cr_expect_eq(hl_trajectory_new(0, 0, &t), HL_E_ARG);
    cr_expect_eq(hl_trajectory_new(HL_TRAJECTORY_T_MAX + 1, 0, &t), HL_E_ARG);
    cr_expect_eq(hl_trajectory_new(5, 1, &t), HL_E_ARG);
    cr_expect_eq(hl_trajectory_new(5, (double)NAN, &t), HL_E_ARG);
    cr_expect_null(t);
    t = made(1, 0);
    cr_expect_eq(hl_trajectory_add(t, r, 2, 3), HL_E_ARG);
    cr_expect(isnan(hl_trajectory_at(t, 0).mean_index));
    hl_trajectory_free(t);
}

/* --- JSON --- */

static hl_status from_text(const char *text, hl_trajectory **out)
{
    hl_json *v = NULL;
    cr_assert_eq(hl_json_parse(text, strlen(text), &v), HL_OK, "%s", text);
    const hl_status st = hl_trajectory_from_json(v, out);
    hl_json_free(v);
    return st;
}

Test(trajectory, json_and_back)
{
    const float r[] = {0.3f, 0.2f, 1e-2f, 1e-5f, 2e-3f, N, 7e-5f, 3e-2f, N};
    for (int64_t n = 0; n <= 3; n++) {
        hl_trajectory *t = made(3, 0.25), *back = NULL;
        hl_str a = {0}, b = {0};
        cr_assert_eq(hl_trajectory_add(t, r, 3, n), HL_OK);
        cr_assert_eq(hl_trajectory_to_json(t, &a), HL_OK);
        cr_assert_eq(from_text(a.s, &back), HL_OK, "%s: %s", hl_err_message(), a.s);
        cr_assert_eq(hl_trajectory_add(t, r, 3, 3), HL_OK); /* it goes on as if never stored */
        cr_assert_eq(hl_trajectory_add(back, r, 3, 3), HL_OK);
        hl_str_clear(&a);
        cr_assert_eq(hl_trajectory_to_json(t, &a), HL_OK);
        cr_assert_eq(hl_trajectory_to_json(back, &b), HL_OK);
        cr_expect_str_eq(a.s, b.s);
        hl_str_done(&a);
        hl_str_done(&b);
        hl_trajectory_free(t);
        hl_trajectory_free(back);
    }
}

Test(trajectory, json_of_others)
{
    const float r[] = {0.3f, 1e-3f};
    hl_trajectory *t = made(2, 0), *none = NULL;
    hl_str good = {0};
    cr_assert_eq(hl_trajectory_add(t, r, 1, 1), HL_OK);
    cr_assert_eq(hl_trajectory_to_json(t, &good), HL_OK);
    const char *const edits[][2] = {
        {"\"iterations\":2", "\"iterations\":3"},   {"\"iterations\":2", "\"iterations\":1e9"},
        {"\"samples\":1", "\"samples\":-1"},        {"\"samples\":1", "\"samples\":0"},
        {"\"damping\":0", "\"damping\":\"x\""},     {"\"n_bins\":400", "\"n_bins\":40"},
        {"\"bins\":[[", "\"bins\":[[399,"},         {"\"bins\":[[", "\"bins\":[\"\",["},
        {"\"mean_index\":[", "\"mean_index\":[9,"}, {"\"format\":1", "\"format\":2"}};
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        hl_str bad = {0};
        const char *at = strstr(good.s, edits[i][0]);
        cr_assert(at, "%s in %s", edits[i][0], good.s);
        hl_str_addn(&bad, good.s, (size_t)(at - good.s));
        hl_str_add(&bad, edits[i][1]);
        hl_str_add(&bad, at + strlen(edits[i][0]));
        cr_expect_eq(from_text(bad.s, &none), HL_E_FORMAT, "%s", edits[i][1]);
        hl_str_done(&bad);
    }
    cr_expect_eq(from_text("{}", &none), HL_E_FORMAT);
    cr_expect_eq(from_text("[]", &none), HL_E_FORMAT);
    cr_expect_null(none);
    hl_str_done(&good);
    hl_trajectory_free(t);
}

/* --- percentiles --- */

Test(trajectory, quantiles_of_a_batch)
{
    enum { T = 2, B = 12, REAL = 11 };
    float r[T * B], median[T], p10[T], p90[T];
    for (int b = 0; b < B; b++) {
        r[b] = (float)((b * 7) % 11); /* 0 ... 10 in some order, then one that is not real */
        r[B + b] = b % 2 ? N : r[b] + 100;
    }
    cr_assert_eq(hl_trajectory_quantiles(r, T, B, REAL, (hl_trajectory_curves){median, p10, p90}),
                 HL_OK);
    cr_expect_eq(median[0], 5);
    cr_expect_eq(p10[0], 1);
    cr_expect_eq(p90[0], 9);
    cr_expect_eq(p90[1], 106, "%g", (double)p90[1]);
    cr_assert_eq(hl_trajectory_quantiles(r, T, B, 2, (hl_trajectory_curves){median, p10, p90}),
                 HL_OK);
    cr_expect_float_eq(median[0], 3.5f, 1e-6f);
    cr_expect_float_eq(p10[0], 0.7f, 1e-6f);
    cr_assert_eq(hl_trajectory_quantiles(r, T, B, 0, (hl_trajectory_curves){median, p10, p90}),
                 HL_OK);
    cr_expect(isnan(median[0]) && isnan(p90[1]));
}
