/* Windows and measures against reference numbers; forecasts without a model; files of forecasts;
 * series as a source. */
#define _GNU_SOURCE /* mkdtemp */
#include "app/exp/forecast.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/exp/feed.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/ckpt/safetensors.h"

static const char *golden(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/stanhop/%s", getenv("HOPLAB_SOURCE"), name);
    return path;
}

static hl_series *open_series(const hl_series_params *p)
{
    hl_table t;
    hl_series *s;
    cr_assert_eq(hl_table_read(golden("series.csv"), true, &t), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_series_new(&t, p, &s), HL_OK, "%s", hl_err_message());
    return s;
}

static hl_safetensors *open_golden(void)
{
    hl_safetensors *f;
    cr_assert_eq(hl_safetensors_open(golden("data.safetensors"), &f), HL_OK, "%s",
                 hl_err_message());
    return f;
}

static const float *tensor(const hl_safetensors *f, const char *name, int64_t n)
{
    const hl_tensor_entry *e = hl_safetensors_find(f, name);
    cr_assert(e && hl_type_count(&e->type) == n, "%s: %lld", name,
              e ? (long long)hl_type_count(&e->type) : -1LL);
    return e->data;
}

Test(forecast, golden_windows)
{
    static const struct {
        const char *name;
        hl_series_params p;
    } splits[] = {{"ratio", {.split = {0.7, 0.1, 0.2}, .in_len = 8, .out_len = 4}},
                  {"count", {.split = {30, 12, 12}, .in_len = 6, .out_len = 3}}};
    static const char *const parts[] = {"train", "val", "test"};
    hl_safetensors *f = open_golden();
    for (int k = 0; k < 2; k++) {
        const hl_series_params *p = &splits[k].p;
        hl_series *s = open_series(p);
        float x[8 * 3], y[4 * 3];
        for (int i = 0; i < 6; i++) {
            const hl_series_part part = (hl_series_part)(i / 2);
            const int64_t n = hl_series_get_facts(s)->part[part].n_windows, at = i % 2 ? n - 1 : 0;
            char name[64];
            cr_assert_eq(hl_series_gather(s, part, &at, 1, &(hl_series_batch){x, y, NULL}), HL_OK);
            for (int half = 0; half < 2; half++) {
                const int64_t count = 3 * (half ? p->out_len : p->in_len);
                snprintf(name, sizeof name, "%s.%s.%s.%c", splits[k].name, parts[part],
                         i % 2 ? "last" : "first", half ? 'y' : 'x');
                cr_expect_eq(memcmp(half ? y : x, tensor(f, name, count), (size_t)count * 4), 0,
                             "%s", name);
            }
        }
        hl_series_unref(s);
    }
    hl_safetensors_close(f);
}

/* scaler_metrics.json */
static const double by_batch[5] = {1.299017071723938, 2.54552960395813, 1.5841643810272217,
                                   2.6641411781311035, 20.822063446044922};
static const double batch_loss = 2.4835001627604165;

static void check_measures(bool fp64)
{
    hl_series *s =
        open_series(&(hl_series_params){.split = {0.7, 0.1, 0.2}, .in_len = 8, .out_len = 4});
    hl_safetensors *file = open_golden();
    const float *p = tensor(file, "metric.pred", 11 * 12),
                *t = tensor(file, "metric.true", 11 * 12);
    double wide[2][11 * 12], sum[5] = {0};
    for (int i = 0; i < 11 * 12; i++) {
        const double d = (double)p[i] - (double)t[i], share = d / (double)t[i];
        sum[0] += fabs(d) / (11 * 12);
        sum[1] += d * d / (11 * 12);
        sum[3] += fabs(share) / (11 * 12);
        sum[4] += share * share / (11 * 12);
        wide[0][i] = (double)p[i];
        wide[1][i] = (double)t[i];
    }
    sum[2] = sqrt(sum[1]);
    const hl_forecast_params how = {.series = s, .fp64 = fp64, .batch_size = 4};
    hl_forecast *f;
    cr_assert_eq(hl_forecast_new(&how, &f), HL_OK);
    cr_assert_eq(hl_forecast_begin(f, false, NULL, 0), HL_OK);
    for (int b = 0; b < 3; b++) {
        const int at = b * 4 * 12;
        const hl_forecast_batch batch = {
            .prediction = fp64 ? (void *)(wide[0] + at) : (void *)(uintptr_t)(p + at),
            .y = fp64 ? (void *)(wide[1] + at) : (void *)(uintptr_t)(t + at),
            .n_rows = b < 2 ? 4 : 3};
        cr_assert_eq(hl_forecast_add(f, &batch), HL_OK);
    }
    cr_assert_eq(hl_forecast_end(f), HL_OK);
    for (int m = 0; m < HL_MEASURE_COUNT; m++) {
        cr_expect_float_eq(hl_forecast_value(f, HL_FORECAST_MODEL, (hl_measure)m, HL_BY_BATCH),
                           by_batch[m], 1e-6 * by_batch[m], "%s", hl_measure_names[m]);
        cr_expect_float_eq(hl_forecast_value(f, HL_FORECAST_MODEL, (hl_measure)m, HL_BY_ELEMENT),
                           sum[m], 1e-12 * sum[m]);
    }
    cr_expect_float_eq(hl_forecast_batch_loss(f), batch_loss, 1e-6 * batch_loss);
    cr_expect(isnan(hl_forecast_value(f, HL_FORECAST_LAST, HL_MEASURE_MAE, HL_BY_ELEMENT)));
    hl_forecast_free(f);
    hl_safetensors_close(file);
    hl_series_unref(s);
}

Test(forecast, golden_measures)
{
    check_measures(false);
    check_measures(true);
}

/* rows x 1 that count up, with holes where asked for */
static hl_series *counting(int64_t n_rows, int64_t hole, int64_t period)
{
    hl_table t = {.n_rows = n_rows, .n_columns = 1, .label = hl_strdup("counting")};
    t.names = hl_alloc_zero(1, sizeof *t.names);
    t.at = hl_alloc((size_t)n_rows * sizeof *t.at);
    cr_assert(t.label && t.names && t.at);
    t.names[0] = hl_strdup("up");
    for (int64_t r = 0; r < n_rows; r++)
        t.at[r] = r == hole ? nan("") : (double)r;
    hl_series *s;
    const hl_series_params p = {
        .split = {20, 8, 9}, .in_len = 5, .out_len = 3, .period = period, .masks = hole >= 0};
    cr_assert_eq(hl_series_new(&t, &p, &s), HL_OK, "%s", hl_err_message());
    return s;
}

/* All windows of the test part, as a model that forecasts one too much sees them. */
static hl_forecast *measured(hl_series *s, const char *dir)
{
    hl_forecast *f;
    const hl_forecast_params how = {.series = s, .inverse = true, .batch_size = 7};
    const bool masks = hl_series_get_facts(s)->masks;
    const double std = hl_series_get_facts(s)->std[0];
    const int64_t windows[7] = {0, 1, 2, 3, 4, 5, 6};
    float x[7 * 5], y[7 * 3], seen[7 * 3], p[7 * 3];
    cr_assert_eq(hl_series_gather(s, HL_SERIES_TEST, windows, 7, &(hl_series_batch){x, y, seen}),
                 HL_OK);
    for (int i = 0; i < 7 * 3; i++)
        p[i] = (float)((double)y[i] + 1 / std);
    const hl_forecast_batch b = {
        .prediction = p, .x = x, .y = y, .seen = masks ? seen : NULL, .n_rows = 7};
    cr_assert_eq(hl_forecast_new(&how, &f), HL_OK);
    cr_assert_eq(hl_forecast_begin(f, true, dir, 7), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_forecast_add(f, &b), HL_OK);
    cr_assert_eq(hl_forecast_end(f), HL_OK, "%s", hl_err_message());
    return f;
}

Test(forecast, without_a_model)
{
    hl_series *s = counting(40, -1, 2);
    hl_forecast *f = measured(s, NULL);
    /* steps 1, 2, 3 behind the last value; 2, 2, 4 behind those of a cycle of two */
    cr_expect_float_eq(hl_forecast_value(f, HL_FORECAST_MODEL, HL_MEASURE_MAE, HL_BY_ELEMENT), 1,
                       1e-5);
    cr_expect_float_eq(hl_forecast_value(f, HL_FORECAST_LAST, HL_MEASURE_MAE, HL_BY_ELEMENT), 2,
                       1e-5);
    cr_expect_float_eq(hl_forecast_value(f, HL_FORECAST_LAST, HL_MEASURE_MSE, HL_BY_ELEMENT),
                       14 / 3.0, 1e-4);
    cr_expect_float_eq(hl_forecast_value(f, HL_FORECAST_SEASON, HL_MEASURE_MAE, HL_BY_ELEMENT),
                       8 / 3.0, 1e-5);
    cr_expect_float_eq(hl_forecast_value(f, HL_FORECAST_MEAN, HL_MEASURE_MAE, HL_BY_ELEMENT),
                       32 - 9.5, 1e-4);
    hl_forecast_free(f);
    hl_series_unref(s);
    s = counting(40, -1, 6); /* longer than the history */
    f = measured(s, NULL);
    cr_expect(isnan(hl_forecast_value(f, HL_FORECAST_SEASON, HL_MEASURE_MAE, HL_BY_ELEMENT)));
    hl_forecast_free(f);
    hl_series_unref(s);
}

Test(forecast, files_and_missing_values)
{
    char dir[] = "/tmp/hoplab-forecast-XXXXXX", *text = NULL;
    size_t n;
    cr_assert(mkdtemp(dir));
    hl_series *s = counting(40, 30, 0);
    hl_forecast *f = measured(s, dir);
    cr_expect_float_eq(hl_forecast_value(f, HL_FORECAST_MODEL, HL_MEASURE_RMSE, HL_BY_ELEMENT), 1,
                       1e-5);
    char *path = hl_fs_join(dir, "truth.npy");
    cr_assert_eq(hl_fs_read(path, 1 << 16, &text, &n), HL_OK, "%s", hl_err_message());
    cr_assert_eq(n, 128 + 7 * 3 * 4);
    cr_expect(memcmp(text, "\x93NUMPY\x01\x00", 8) == 0 &&
              strstr(text + 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (7, 3, 1,), }"));
    for (int i = 0; i < 7 * 3; i++) {
        float v;
        memcpy(&v, text + 128 + 4 * i, 4);
        const int row = 28 + i / 3 + i % 3;
        cr_expect(row == 30 ? isnan(v) : fabsf(v - (float)row) < 1e-4f, "%d: %g", row, (double)v);
    }
    hl_free(path);
    hl_free(text);
    hl_forecast_free(f);
    /* what was there stays until all is written */
    hl_npy *npy;
    path = hl_fs_join(dir, "truth.npy");
    cr_assert_eq(hl_npy_open(path, (const int64_t[]){3}, 1, &npy), HL_OK);
    cr_assert_eq(hl_npy_add(npy, (const float[]){1, 2}, 2), HL_OK);
    cr_assert_eq(hl_npy_close(npy), HL_E_STATE);
    cr_expect_eq(hl_fs_size(path), 128 + 7 * 3 * 4);
    cr_expect_eq(hl_npy_open("/nowhere/a.npy", (const int64_t[]){3}, 1, &npy), HL_E_IO);
    hl_free(path);
    HL_IGNORE(hl_fs_remove_tree(dir));
    hl_series_unref(s);
}

/* ---- as a source ----------------------------------------------------------------------------- */

static double sum_of(const hl_feed_batch *b)
{
    double sum = 0;
    for (int64_t i = 0; i < b->n_rows * 5; i++)
        sum += (double)((const float *)b->data[0])[i] * (double)(i % 101 + 1);
    return sum;
}

/* 13 training windows in batches of 4. */
static void check_epochs(hl_series *series, bool drop)
{
    enum { BATCHES = 9 };
    hl_source s;
    hl_feed f, g;
    hl_feed_batch b;
    hl_position at[BATCHES + 1] = {{0, 0}};
    double sum[BATCHES];
    const hl_window_params p = {
        .series = series, .batch_size = 4, .eval_batch_size = 4, .seed = 1, .drop_rest = drop};
    cr_assert_eq(hl_source_series(&p, &s), HL_OK);
    const int64_t per_epoch = drop ? 3 : 4;
    cr_assert_eq(s.open(s.self, HL_PART_TRAIN, at[0], &f), HL_OK, "%s", hl_err_message());
    for (int i = 0; i < BATCHES; i++) {
        cr_assert_eq(f.next(f.self, &b), HL_OK);
        cr_expect_eq(b.n_rows, !drop && i % 4 == 3 ? 1 : 4);
        cr_expect(b.next.epoch == (i + 1) / per_epoch && b.next.index == (i + 1) % per_epoch * 4);
        at[i + 1] = b.next;
        sum[i] = sum_of(&b);
    }
    for (int i = 0; i < BATCHES; i++) {
        cr_assert_eq(s.open(s.self, HL_PART_TRAIN, at[i], &g), HL_OK);
        cr_assert_eq(g.next(g.self, &b), HL_OK);
        cr_expect_eq(sum_of(&b), sum[i], "a feed that starts at batch %d", i);
        hl_feed_close(&g);
    }
    const hl_position wrong[] = {{-1, 0}, {0, -1}, {0, 13}};
    for (int i = 0; i < 3; i++)
        cr_expect_eq(f.seek(f.self, wrong[i]), HL_E_ARG);
    hl_feed_close(&f);
    hl_source_done(&s);
}

Test(forecast, feeds_of_a_series)
{
    static const int64_t n_windows[] = {13, 6, 7};
    hl_series *series = counting(40, 3, 0);
    check_epochs(series, false);
    check_epochs(series, true);
    hl_source s;
    const hl_window_params p = {
        .series = series, .batch_size = 40, .eval_batch_size = 4, .fp64 = true};
    cr_assert_eq(hl_source_series(&p, &s), HL_OK);
    for (int part = 0; part <= HL_PART_TEST; part++) {
        hl_feed f;
        hl_feed_batch b;
        int64_t bytes = 0, n = 0, n_labelled = 0;
        cr_assert_eq(s.plan(s.self, (hl_part)part, &bytes), HL_OK);
        cr_assert(bytes > 0 && s.n_items[part] == n_windows[part]);
        cr_assert_eq(s.open(s.self, (hl_part)part, (hl_position){0, 0}, &f), HL_OK);
        do {
            cr_assert_eq(f.next(f.self, &b), HL_OK);
            n += b.n_rows;
            n_labelled += b.n_labelled;
        } while (b.n_rows > 0 && n < n_windows[part]);
        cr_expect_eq(n, n_windows[part]);
        cr_expect_eq(n_labelled, n * 3, "the hole is in no target");
        if (part != HL_PART_TRAIN) {
            cr_assert_eq(f.next(f.self, &b), HL_OK);
            cr_expect_eq(b.n_rows, 0);
        }
        hl_feed_close(&f);
    }
    hl_source_done(&s);
    const hl_window_params large = {
        .series = series, .batch_size = 14, .eval_batch_size = 4, .drop_rest = true};
    cr_expect_eq(hl_source_series(&large, &s), HL_E_SHAPE);
    hl_series_unref(series);
}
