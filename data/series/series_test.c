/* Splits, scales and windows; known sets against the published numbers where they are. */
#include "data/series/series.h"

#include <criterion/criterion.h>
#include <math.h>

#include "data/data_test.h"
#include "engine/base/json.h"

/* rows x 2: column 0 counts, column 1 is 7 but for holes */
static hl_table counting(int64_t n_rows)
{
    hl_table t = {.n_rows = n_rows, .n_columns = 2, .label = hl_strdup("counting")};
    t.names = hl_alloc_zero(2, sizeof *t.names);
    t.at = hl_alloc((size_t)(2 * n_rows) * sizeof *t.at);
    cr_assert(t.label && t.names && t.at);
    t.names[0] = hl_strdup("up");
    t.names[1] = hl_strdup("flat");
    for (int64_t r = 0; r < n_rows; r++) {
        t.at[2 * r] = (double)r;
        t.at[2 * r + 1] = 7;
    }
    return t;
}

static hl_series *made(hl_table t, hl_series_params p)
{
    hl_series *s = NULL;
    cr_assert_eq(hl_series_new(&t, &p, &s), HL_OK, "%s", hl_err_message());
    return s;
}

Test(series, windows_are_where_they_should_be)
{
    const hl_series_params p = {.split = {20, 8, 9}, .in_len = 5, .out_len = 3};
    hl_series *s = made(counting(40), p);
    const hl_series_facts *i = hl_series_get_facts(s);
    cr_assert(i->part[0].n_windows == 13 && i->part[1].n_windows == 6 && i->part[2].n_windows == 7);
    cr_expect(fabs(i->mean[0] - 9.5) < 1e-12 && fabs(i->std[0] - sqrt(399 / 12.0)) < 1e-12);
    cr_expect(i->n_constant == 1 && i->mean[1] == 7 && i->std[1] == 1);
    float x[2 * 5 * 2], y[2 * 3 * 2], seen[2 * 3 * 2];
    const hl_series_batch to = {x, y, seen};
    const int64_t windows[] = {4, 0};
    for (int part = 0; part < HL_SERIES_PARTS; part++) {
        cr_assert_eq(hl_series_gather(s, (hl_series_part)part, windows, 2, &to), HL_OK);
        for (int k = 0; k < 16; k++) { /* 8 rows of 2 windows */
            const float *row =
                k % 8 < 5 ? x + (k / 8 * 5 + k % 8) * 2 : y + (k / 8 * 3 + k % 8 - 5) * 2;
            const double want = (double)(i->part[part].first + windows[k / 8] + k % 8);
            cr_expect_float_eq(hl_series_unscale(s, 0, (double)row[0]), want, 1e-5);
            cr_expect_eq(row[1], 0);
        }
        for (int k = 0; k < 12; k++)
            cr_expect_eq(seen[k], 1);
    }
    const int64_t wrong[] = {0, 13};
    cr_expect_eq(hl_series_gather(s, HL_SERIES_TRAIN, wrong, 2, &to), HL_E_ARG);
    hl_series_unref(s);
}

Test(series, an_epoch_has_each_window_once)
{
    hl_series *s = made(counting(300),
                        (hl_series_params){.split = {0.7, 0.1, 0.2}, .in_len = 5, .out_len = 3});
    const int64_t n = hl_series_get_facts(s)->part[0].n_windows;
    uint32_t a[300], b[300];
    hl_series_shuffle(s, 3, 0, a);
    hl_series_shuffle(s, 3, 1, b);
    cr_expect_neq(memcmp(a, b, (size_t)n * sizeof *a), 0);
    hl_series_shuffle(s, 3, 0, b);
    cr_expect_eq(memcmp(a, b, (size_t)n * sizeof *a), 0);
    uint8_t count[300] = {0};
    for (int64_t i = 0; i < n; i++)
        count[a[i]]++;
    for (int64_t i = 0; i < n; i++)
        cr_assert_eq(count[i], 1);
    hl_series_unref(s);
}

Test(series, missing_values)
{
    hl_series_params p = {.split = {20, 8, 8}, .in_len = 5, .out_len = 3};
    hl_table t = counting(40);
    hl_series *s;
    t.at[2 * 6] = nan("");  /* of the training rows */
    t.at[2 * 39] = nan(""); /* behind all parts */
    t.n_missing = 2;
    cr_assert_eq(hl_series_new(&t, &p, &s), HL_E_ARG);
    cr_expect(strstr(hl_err_message(), "row 7 has no value of channel 'up'"), "%s",
              hl_err_message());
    t = counting(40);
    t.at[2 * 6] = nan("");
    p.masks = true;
    s = made(t, p);
    cr_expect_eq(hl_series_get_facts(s)->n_missing, 1);
    cr_expect_float_eq(hl_series_get_facts(s)->mean[0], (190 - 6) / 19.0, 1e-12);
    float x[10], y[6], seen[6];
    const hl_series_batch to = {x, y, seen};
    cr_assert_eq(hl_series_gather(s, HL_SERIES_TRAIN, &(int64_t){1}, 1, &to), HL_OK);
    for (int k = 0; k < 6; k++)
        cr_expect_eq(seen[k], k != 0);
    cr_expect_eq(y[0], 0);
    hl_series_unref(s);
    t = counting(40);
    for (int64_t r = 0; r < 20; r++)
        t.at[2 * r + 1] = nan("");
    cr_assert_eq(hl_series_new(&t, &p, &s), HL_E_ARG);
    cr_expect(strstr(hl_err_message(), "channel 'flat' has no value"), "%s", hl_err_message());
}

Test(series, bad_lengths_and_splits)
{
    static const struct {
        hl_series_params p;
        const char *says;
    } bad[] = {
        {{.split = {20, 8, 9}, .in_len = 15, .out_len = 6},
         "training part has 20 rows; a window needs 15 + 6"},
        {{.split = {20, 2, 9}, .in_len = 5, .out_len = 3},
         "validation part has 2 rows and the history"},
        {{.split = {20, 8, 2}, .in_len = 5, .out_len = 3}, "test part has 2 rows"},
        {{.split = {20, 8, 13}, .in_len = 5, .out_len = 3},
         "has 40 rows; the split 20, 8, 13 asks for 41"},
        {{.split = {20, 8.5, 9}, .in_len = 5, .out_len = 3}, "whole numbers"},
        {{.split = {0.7, 0.1, 0.3}, .in_len = 5, .out_len = 3}, "add up to 1"},
        {{.split = {0.7, -0.1, 0.4}, .in_len = 5, .out_len = 3}, "add up to 1"},
        {{.split = {NAN, 0.1, 0.2}, .in_len = 5, .out_len = 3}, "add up to 1"},
        {{.split = {0.7, 0.1, 0.2}, .in_len = 0, .out_len = 3}, "1 or more"},
        {{.split = {1e300, 1, 1}, .in_len = 1, .out_len = 3}, "asks for"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hl_series *s = NULL;
        hl_table t = counting(40);
        cr_expect_eq(hl_series_new(&t, &bad[i].p, &s), HL_E_ARG, "case %zu", i);
        cr_expect(strstr(hl_err_message(), bad[i].says), "case %zu: %s", i, hl_err_message());
        cr_expect(t.at == NULL);
    }
}

Test(series, set_names)
{
    const hl_series_set *set;
    cr_assert_eq(hl_series_set_find("etth1", &set), HL_OK);
    cr_expect_str_eq(set->file, "ETTh1.csv");
    cr_assert_eq(hl_series_set_find("ETTh", &set), HL_E_ARG);
    cr_expect(strstr(hl_err_message(), "did you mean 'ETTh1'?") && strstr(hl_err_message(), "ILI"),
              "%s", hl_err_message());
}

/* ---- reference numbers ----------------------------------------------------------------------- */

static double at(const hl_json *list, int64_t i)
{
    return hl_json_num(hl_json_at(list, (size_t)i), nan(""));
}

Test(series, golden_scale_and_counts)
{
    char path[512];
    char *text = NULL;
    size_t n;
    hl_json *all = NULL;
    const char *dir = getenv("HOPLAB_SOURCE");
    snprintf(path, sizeof path, "%s/tests/golden/stanhop/scaler_metrics.json", dir);
    cr_assert_eq(hl_fs_read(path, 1 << 20, &text, &n), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_json_parse(text, n, &all), HL_OK);
    snprintf(path, sizeof path, "%s/tests/golden/stanhop/series.csv", dir);
    static const char *const splits[] = {"ratio", "count"}, *const parts[] = {"train", "val",
                                                                              "test"};
    for (int k = 0; k < 2; k++) {
        const hl_json *want = hl_json_get(all, splits[k]);
        hl_series_params p = {.in_len = hl_json_int(hl_json_get(want, "in_len"), 0),
                              .out_len = hl_json_int(hl_json_get(want, "out_len"), 0)};
        for (int i = 0; i < 3; i++)
            p.split[i] = at(hl_json_get(want, "split"), i);
        hl_table t;
        cr_assert_eq(hl_table_read(path, true, &t), HL_OK, "%s", hl_err_message());
        hl_series *s = made(t, p);
        const hl_series_facts *info = hl_series_get_facts(s);
        for (int c = 0; c < 3; c++) {
            cr_expect_float_eq(info->mean[c], at(hl_json_get(want, "mean"), c), 1e-14);
            cr_expect_float_eq(info->std[c], at(hl_json_get(want, "std"), c), 1e-14);
        }
        for (int i = 0; i < 3; i++) {
            const hl_json *part = hl_json_get(want, parts[i]);
            cr_expect_eq(info->part[i].end - info->part[i].first,
                         hl_json_int(hl_json_get(part, "rows"), -1));
            cr_expect_eq(info->part[i].n_windows, hl_json_int(hl_json_get(part, "windows"), -1));
        }
        hl_series_unref(s);
    }
    hl_json_free(all);
    hl_free(text);
}

typedef struct published {
    const char *set;
    int64_t n_rows, n_channels;
    double mean[12], std[12];
    struct {
        int64_t in_len, out_len, n[3];
    } windows[6];
} published;

static const published known[] = {
    {"ETTh1",
     17420,
     7,
     {7.93774225, 2.02103866, 5.0797706, 0.74618588, 2.78176239, 0.788453124, 17.1282617},
     {5.81274941, 2.09010465, 5.51879358, 1.92637927, 1.02352266, 0.630236636, 9.17649102},
     {{168, 24, {8449, 2857, 2857}},
      {168, 48, {8425, 2833, 2833}},
      {720, 168, {7753, 2713, 2713}},
      {720, 336, {7585, 2545, 2545}},
      {720, 720, {7201, 2161, 2161}},
      {96, 24, {8521, 2857, 2857}}}},
    {"ETTm1",
     69680,
     7,
     {7.99001348, 2.0387478, 5.10992806, 0.756224162, 2.80470208, 0.791186023, 17.1249502},
     {5.83309267, 2.08964569, 5.51904272, 1.92416106, 1.04055406, 0.632442061, 9.17303527},
     {{288, 24, {34249, 11497, 11497}}, {672, 96, {33793, 11425, 11425}}}},
    {"WTH",
     35064,
     12,
     {9.28490823, 41.4665675, 5.27281746, 32.5076389, 20.2080853, -6.52559524, 50.0082837, 5.7875,
      136.62753, 21.5090233, 30.1707927, 0.305491071},
     {2.18072216, 16.830919, 9.3112715, 12.2710073, 14.2935565, 7.92599323, 24.9977217, 4.94613671,
      103.3523, 0.177745257, 0.233813381, 6.74687987},
     {{48, 24, {20089, 7177, 7177}}, {720, 720, {18721, 6481, 6481}}}},
    {"ILI",
     966,
     7,
     {1.74013007, 1.71041121, 2672.45266, 3745.14793, 9439.84172, 1322.15828, 493629.373},
     {1.22778563, 1.15089547, 2129.54855, 4244.9618, 9003.15311, 493.503949, 228807.408},
     {{48, 24, {605, 74, 170}}}},
};

static void check_published(const published *k)
{
    char name[64];
    const hl_series_set *set;
    cr_assert_eq(hl_series_set_find(k->set, &set), HL_OK);
    snprintf(name, sizeof name, "timeseries/%s", set->file);
    const char *path = find_data(name);
    if (!path) {
        fprintf(stderr, "SKIPPED: no %s\n", name); /* cr_log_warn would fail the suite */
        return;
    }
    for (int w = 0; w < 6 && k->windows[w].in_len; w++) {
        hl_table t;
        cr_assert_eq(hl_table_read(path, true, &t), HL_OK, "%s", hl_err_message());
        cr_expect(t.n_rows == k->n_rows && t.n_uneven == 0 && t.step_s > 0, "%s: %g, %lld", k->set,
                  t.step_s, (long long)t.n_uneven);
        hl_series_params p = {.in_len = k->windows[w].in_len, .out_len = k->windows[w].out_len};
        memcpy(p.split, set->split, sizeof p.split);
        hl_series *s = made(t, p);
        const hl_series_facts *i = hl_series_get_facts(s);
        cr_assert_eq(i->n_channels, k->n_channels);
        for (int part = 0; part < 3; part++)
            cr_expect_eq(i->part[part].n_windows, k->windows[w].n[part]);
        for (int c = 0; c < k->n_channels; c++) {
            cr_expect_float_eq(i->mean[c], k->mean[c], 6e-9 * fabs(k->mean[c]), "%s %d: %.10g",
                               k->set, c, i->mean[c]);
            cr_expect_float_eq(i->std[c], k->std[c], 6e-9 * k->std[c], "%s %d: %.10g", k->set, c,
                               i->std[c]);
        }
        hl_series_unref(s);
    }
}

Test(series, published_sets)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        check_published(&known[i]);
}
