/* What is recorded of forecasts: written and read back, against sums made here; its bounds. */
#include "app/exp/forecast_record.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/store/forecast_table.h"
#include "engine/base/mem.h"

enum { ROWS = 400, CHANNELS = 2, IN = 60, OUT = 5, BATCH = 16, HOLE = 300 };

/* A cycle, and one twice as high that is 3 up; the second channel lacks a row. */
static hl_series *waves(void)
{
    hl_table t = {.n_rows = ROWS, .n_columns = CHANNELS, .label = hl_strdup("waves")};
    t.names = hl_alloc_zero(CHANNELS, sizeof *t.names);
    t.at = hl_alloc(ROWS * CHANNELS * sizeof *t.at);
    cr_assert(t.label && t.names && t.at);
    t.names[0] = hl_strdup("small");
    t.names[1] = hl_strdup("large");
    for (int r = 0; r < ROWS; r++) {
        t.at[r * CHANNELS] = sin(0.3 * r);
        t.at[r * CHANNELS + 1] = r == HOLE ? nan("") : 3 + 2 * cos(0.3 * r);
    }
    hl_series *s;
    const hl_series_params p = {
        .split = {200, 100, 100}, .in_len = IN, .out_len = OUT, .period = 21, .masks = true};
    cr_assert_eq(hl_series_new(&t, &p, &s), HL_OK, "%s", hl_err_message());
    return s;
}

/* Too much by 0.1 for each step ahead, in the data's units; in one place a NaN. */
static float wrong_by(const hl_series *s, int k, float truth)
{
    const int step = k / CHANNELS % OUT, channel = k % CHANNELS;
    const double std = hl_series_get_facts(s)->std[channel];
    return truth + (float)(0.1 * (step + 1) / std);
}

static void add_all(hl_series *s, hl_forecast *f, hl_forecast_record *r, int64_t n, bool bad)
{
    static float x[BATCH * IN * CHANNELS], y[BATCH * OUT * CHANNELS], seen[BATCH * OUT * CHANNELS],
        p[BATCH * OUT * CHANNELS];
    for (int64_t at = 0; at < n; at += BATCH) {
        int64_t windows[BATCH];
        const int64_t rows = n - at < BATCH ? n - at : BATCH;
        for (int64_t i = 0; i < rows; i++)
            windows[i] = at + i;
        cr_assert_eq(
            hl_series_gather(s, HL_SERIES_TEST, windows, rows, &(hl_series_batch){x, y, seen}),
            HL_OK);
        for (int k = 0; k < rows * OUT * CHANNELS; k++)
            p[k] = bad && at == 0 && k == 0 ? NAN : wrong_by(s, k, y[k]);
        const hl_forecast_batch b = {.prediction = p, .x = x, .y = y, .seen = seen, .n_rows = rows};
        cr_assert_eq(hl_forecast_add(f, &b), HL_OK);
        hl_forecast_record_add(r, &b);
    }
}

static void record(hl_series *s, bool bad, hl_forecast_table *out)
{
    hl_forecast *f;
    hl_forecast_record *r;
    hl_str json = {0};
    const hl_forecast_params p = {.series = s, .inverse = true, .batch_size = BATCH};
    const int64_t n = hl_series_get_facts(s)->part[HL_SERIES_TEST].n_windows;
    cr_assert_eq(hl_forecast_new(&p, &f), HL_OK);
    cr_assert_eq(hl_forecast_record_new(&p, &r), HL_OK);
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(hl_forecast_begin(f, true, NULL, n), HL_OK);
        cr_assert_eq(hl_forecast_record_begin(r, n), HL_OK);
        cr_expect(!hl_forecast_record_put(r, f, HL_SERIES_TEST, 7, &json), "nothing came yet");
        add_all(s, f, r, n, bad);
    }
    cr_assert(hl_forecast_record_put(r, f, HL_SERIES_TEST, 7, &json));
    cr_assert_eq(hl_str_status(&json), HL_OK);
    cr_assert_eq(hl_forecast_table_read(json.s, json.n, out), HL_OK, "%s", hl_err_message());
    hl_str_done(&json);
    hl_forecast_free(f);
    hl_forecast_record_free(r);
}

Test(forecast_record, is_read_back)
{
    hl_series *s = waves();
    hl_forecast_table t;
    record(s, false, &t);
    cr_expect_str_eq(t.part, "test");
    cr_expect(t.in_data_units && t.step == 7 && t.n_all_windows == 96);
    cr_assert(t.n_channels == 2 && t.n_windows == 6 && t.history == 48 && t.horizon == OUT);
    cr_assert(t.n_ahead == OUT && t.ahead_each == 1);
    for (int h = 0; h < OUT; h++)
        for (int c = 0; c < 3; c++)
            cr_expect_float_eq((c < 2 ? t.channel[c].ahead : t.ahead)[h], 0.01 * (h + 1) * (h + 1),
                               2e-5);
    cr_expect_float_eq(t.mse, (0.11 * 960 - 0.01) / 959, 1e-6, "one value is missing");
    cr_expect(t.mse_repeat_last > t.mse_seasonal && t.mse_mean > 0.4);
    for (int64_t i = 0; i < 6; i++) {
        const float *history = hl_forecast_values(&t, (size_t)i, 1, HL_FORECAST_HISTORY),
                    *truth = hl_forecast_values(&t, (size_t)i, 1, HL_FORECAST_TRUTH),
                    *said = hl_forecast_values(&t, (size_t)i, 1, HL_FORECAST_PREDICTION);
        const int64_t row = t.window[i].row;
        cr_expect_eq(t.window[i].window, (2 * i + 1) * 96 / 12);
        cr_expect_eq(row, 300 + t.window[i].window);
        for (int h = 0; h < 48; h++)
            if (row - 48 + h != HOLE)
                cr_expect_float_eq((double)history[h], 3 + 2 * cos(0.3 * (double)(row - 48 + h)),
                                   1e-4);
        for (int h = 0; h < OUT; h++) {
            const double want = 3 + 2 * cos(0.3 * (double)(row + h));
            cr_expect_float_eq((double)truth[h], want, 1e-4);
            cr_expect_float_eq((double)said[h], want + 0.1 * (h + 1), 1e-4);
        }
    }
    hl_forecast_table_done(&t);
    hl_series_unref(s);
}

Test(forecast_record, residuals)
{
    hl_series *s = waves();
    hl_forecast_table t;
    record(s, true, &t);
    const hl_forecast_channel *c = &t.channel[1];
    /* 96 windows of 5 steps; the hole is in the first window's first step */
    cr_expect_eq(c->n, 96 * OUT - 1);
    cr_expect_float_eq(c->mean, (96 * 1.5 - 0.1) / (96 * OUT - 1), 1e-5);
    cr_expect_float_eq(c->min, 0.1, 1e-5);
    cr_expect_float_eq(c->max, 0.5, 1e-5);
    double sum = 0;
    for (int i = 0; i < HL_FORECAST_BINS; i++) {
        const double lo = (i - HL_FORECAST_BINS / 2) * c->width, hi = lo + c->width;
        double want = 0;
        for (int h = 0; h < OUT; h++)
            want += 0.1 * (h + 1) >= lo && 0.1 * (h + 1) < hi ? (h == 0 ? 95 : 96) : 0;
        cr_expect_eq(c->count[i], want, "bin %d from %g", i, lo);
        sum += c->count[i];
    }
    cr_expect_eq(sum, c->n);
    cr_expect(isnan(t.channel[0].mse) && isnan(t.mse) && isnan(t.ahead[0]), "a NaN is not hidden");
    cr_expect_eq(t.channel[0].n_non_finite, 1);
    cr_expect_float_eq(c->mse, t.channel[1].sd * c->sd + c->mean * c->mean, 1e-6);
    hl_forecast_table_done(&t);
    hl_series_unref(s);
}

Test(forecast_record, is_bounded)
{
    static const int64_t sizes[][4] = {/* in, out, channels, windows */
                                       {96, 24, 7, 2857},     {720, 720, 7, 2161},
                                       {336, 168, 862, 3000}, {1, 1, 1, 1},
                                       {9000, 100000, 3, 5},  {60, 60, 321, 2}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const hl_series_facts s = {
            .in_len = sizes[i][0], .out_len = sizes[i][1], .n_channels = sizes[i][2]};
        const hl_record_plan p = hl_record_plan_of(&s, sizes[i][3]);
        cr_expect(p.n_channels >= 1 && p.n_windows >= 1 && p.history >= 1 && p.horizon >= 1);
        cr_expect(p.n_windows * p.n_channels * (p.history + 2 * p.horizon) <= HL_RECORD_NUMBERS,
                  "%zu: %lld windows, %lld channels, %lld and %lld rows", i, (long long)p.n_windows,
                  (long long)p.n_channels, (long long)p.history, (long long)p.horizon);
        cr_expect((s.out_len + p.ahead_each - 1) / p.ahead_each <= HL_RECORD_AHEAD);
        cr_expect(i > 0 || (p.n_windows == 6 && p.n_channels == 7 && p.history == 48));
    }
}

/* Every byte of a record cut off or turned into another: refused, or read, never worse. */
Test(forecast_record, damage)
{
    static const char good[] =
        "{\"part\":\"test\",\"history\":1,\"horizon\":1,\"ahead_each\":1,\"mse_ahead\":[1],"
        "\"channels\":[{\"name\":\"a\",\"mse_ahead\":[null],\"residual\":{\"width\":1,\"count\":"
        "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,"
        "33,34,35,36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,52,53,54,55,56,57,58,59,60,61,62,"
        "63,64]}}],\"windows\":[{\"window\":0,\"row\":2,\"channels\":[{\"history\":[1],"
        "\"truth\":[null],\"prediction\":[\"NaN\"]}]}]}";
    static const char others[] = "0-9]}[{\",x";
    hl_forecast_table t;
    char text[sizeof good];
    cr_assert_eq(hl_forecast_table_read(good, sizeof good - 1, &t), HL_OK, "%s", hl_err_message());
    cr_expect(isnan(t.channel[0].ahead[0]) && t.values[0] == 1 && isnan(t.values[1]));
    hl_forecast_table_done(&t);
    for (size_t i = 0; i < sizeof good - 1; i++) {
        cr_expect_neq(hl_forecast_table_read(good, i, &t), HL_OK);
        for (const char *c = others; *c; c++) {
            memcpy(text, good, sizeof good);
            text[i] = *c;
            if (hl_forecast_table_read(text, sizeof good - 1, &t) == HL_OK)
                hl_forecast_table_done(&t);
        }
    }
    cr_expect_neq(hl_forecast_table_read("[]", 2, &t), HL_OK);
    cr_expect_null(t.channel);
}
