#define _GNU_SOURCE
#include "views/model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/store/run_dir.h"
#include "app/store/writer.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "views/screen.h"

static char store[] = "/tmp/hoplab-model.XXXXXX";

static void make_store(void)
{
    cr_assert_not_null(mkdtemp(store));
}

static void remove_store(void)
{
    HL_IGNORE(hl_fs_remove_tree(store));
}

TestSuite(model, .init = make_store, .fini = remove_store, .timeout = 60);

/* ---- a run with known values ---- */

static void write_steps(hl_writer *w, int64_t from, int64_t to, double base)
{
    const hl_sink k = hl_writer_sink(w);
    const int loss = k.series(k.self, "train/loss", HL_SERIES_SCALAR, NULL);
    const int a = k.series(k.self, "outliers/layer.0/out/inf_norm", HL_SERIES_SCALAR, NULL);
    const int b = k.series(k.self, "outliers/layer.1/out/inf_norm", HL_SERIES_SCALAR, NULL);
    const int c = k.series(k.self, "outliers/layer.0/out/kurtosis", HL_SERIES_SCALAR, NULL);
    const int d = k.series(k.self, "outliers/layer.1/out/kurtosis", HL_SERIES_SCALAR, NULL);
    const int h = k.series(k.self, "outliers/layer.0/out/hist", HL_SERIES_HIST, NULL);
    for (int64_t i = from; i < to; i++) {
        const hl_hist hist = {.num = (double)i};
        k.scalar(k.self, loss, i, base + (double)i);
        k.scalar(k.self, a, i, 2);
        k.scalar(k.self, b, i, 5 + (double)i);
        k.scalar(k.self, c, i, 3);
        k.scalar(k.self, d, i, 9);
        k.hist(k.self, h, i, &hist);
    }
}

static char *write_run(const char *id, int64_t steps)
{
    char *dir;
    hl_writer *w;
    const hl_run_facts_in facts = {.id = id, .name = id};
    cr_assert_eq(hl_run_dir_create(store, &facts, &dir), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_writer_open(dir, NULL, &w), HL_OK);
    hl_writer_set_state(w, 0, &(hl_state_note){.state = HL_RUN_RUNNING, .step_total = steps});
    write_steps(w, 0, steps, 0);
    hl_writer_set_state(w, steps, &(hl_state_note){.state = HL_RUN_DONE});
    cr_assert_eq(hl_writer_close(w), HL_OK);
    return dir;
}

static void settle(hl_model *m)
{
    for (int i = 0; i < 5000; i++) {
        hl_model_update(m, 5000000);
        if (hl_model_is_settled(m))
            return;
        hl_clock_sleep_ms(2);
    }
    cr_assert(false, "the model never settles");
}

Test(model, series_gathered_values_and_histograms)
{
    hl_model m;
    int64_t at;
    double v;
    char *dir = write_run("one", 200);
    cr_assert_eq(hl_model_open(&m, store), HL_OK);
    hl_watched *w = hl_model_watch(&m, dir);
    settle(&m);
    cr_assert(hl_watched_last(w, "train/loss", &v) && v == 199);
    cr_assert(hl_watched_last(w, HL_TAG_INF_NORM, &v), "gathered");
    cr_expect_eq(v, 204, "the largest of a step, not of a layer: %g", v);
    cr_assert(hl_watched_last(w, HL_TAG_KURTOSIS, &v) && v == 6);
    cr_expect_eq(hl_pyramid_n(hl_watched_series(w, HL_TAG_INF_NORM)->points), 200);
    cr_assert(!hl_watched_last(w, "no such tag", &v));
    const hl_data *h = hl_watched_series(w, "outliers/layer.0/out/hist");
    cr_expect_leq(h->hists.n, HL_HISTS_KEPT);
    cr_expect_eq(hl_data_hist(h, -1, &at)->num, 199);
    cr_expect_eq(at, 199);
    cr_expect_leq(hl_data_hist(h, 100, &at)->num, 100);
    cr_expect(at <= 100 && at > 90, "the histogram near step 100 is of %lld", (long long)at);
    cr_expect_eq(hl_data_hist(h, 0, &at)->num, 0);
    cr_expect_eq(hl_model_state(&m, hl_model_row(&m, w->dir)), HL_RUN_DONE);
    hl_model_close(&m);
    hl_free(dir);
}

static void say(const hl_sink *k, const char *content, const char *tag, int64_t step,
                const char *object)
{
    k->json(k->self, k->series(k->self, tag, HL_SERIES_JSON, content), step, object);
}

/* Units, the order of the data, and what was done to knobs. */
Test(model, what_a_run_says_about_itself)
{
    hl_model m;
    hl_writer *w;
    char *dir = write_run("one", 100);
    int64_t epoch, row, n;
    cr_assert_eq(hl_writer_open(dir, &(hl_writer_opts){.append = true}, &w), HL_OK);
    const hl_sink k = hl_writer_sink(w);
    say(&k, "units", "units", 100, "{\"train/loss\":\"nats\",\"mine/lag\":\"s\"}");
    say(&k, "units", "units", 100, "{\"mine/lag\":\"ms\"}");
    say(&k, "order", "data/order", 100,
        "{\"rows\":100,\"batch\":8,\"accumulate\":3,\"carries\":true}");
    say(&k, "control", "control", 40,
        "{\"request\":1,\"cmd\":\"lr\",\"who\":\"ui\",\"value\":0.5,\"status\":\"applied\"}");
    say(&k, "control", "control", 50,
        "{\"request\":2,\"cmd\":\"lr\",\"who\":\"ui\",\"value\":9,\"status\":\"refused\"}");
    say(&k, "control", "control", 60,
        "{\"request\":3,\"cmd\":\"lr\",\"who\":\"ui\",\"value\":\"NaN\",\"status\":\"applied\"}");
    say(&k, "control", "control", 70, "{\"request\":4,\"cmd\":\"eval\",\"status\":\"applied\"}");
    say(&k, "control", "control", 70,
        "{\"request\":5,\"cmd\":\"lua\",\"value\":\"1\",\"status\":\"applied\",\"answer\":\"1\"}");
    cr_assert_eq(hl_writer_close(w), HL_OK);
    cr_assert_eq(hl_model_open(&m, store), HL_OK);
    const hl_watched *run = hl_model_watch(&m, dir);
    settle(&m);
    cr_expect_str_eq(hl_watched_unit(run, "train/loss"), "nats");
    cr_expect_str_eq(hl_watched_unit(run, "mine/lag"), "ms", "the newest counts");
    cr_expect_str_eq(hl_watched_unit(run, "sys/step_ms"), "ms", "known by its name");
    cr_expect_str_eq(hl_watched_unit(run, "eval/loss"), "");
    cr_assert_eq(run->changes.n, 2);
    cr_expect(run->changes.at[0].value == 0.5 && run->changes.at[0].step == 40);
    cr_expect(isnan(run->changes.at[1].value) && run->changes.at[1].step == 60);
    cr_assert(hl_data_order_at(&run->order, 6, &epoch, &row, &n), "batches 15 to 17 of 8");
    cr_expect(epoch == 1 && row == 20 && n == 24);
    hl_model_close(&m);
    hl_free(dir);
}

Test(model, order_of_the_data)
{
    static const struct {
        hl_data_order order;
        int64_t step, epoch, row, n;
    } rows[] = {{{100, 8, 1, true}, 1, 0, 0, 8},    {{100, 8, 1, true}, 13, 0, 96, 8},
                {{100, 8, 1, true}, 14, 1, 4, 8},   {{96, 8, 1, false}, 13, 1, 0, 8},
                {{100, 8, 1, false}, 13, 0, 96, 4}, {{100, 8, 1, false}, 14, 1, 0, 8},
                {{96, 8, 2, false}, 7, 1, 0, 16},   {{5, 8, 1, true}, 3, 3, 1, 8}};
    int64_t epoch, row, n;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_assert(hl_data_order_at(&rows[i].order, rows[i].step, &epoch, &row, &n));
        cr_expect(epoch == rows[i].epoch && row == rows[i].row && n == rows[i].n,
                  "%zu: epoch %lld row %lld n %lld", i, (long long)epoch, (long long)row,
                  (long long)n);
    }
    cr_expect_not(hl_data_order_at(&(hl_data_order){0}, 1, &epoch, &row, &n));
    cr_expect_not(hl_data_order_at(&rows[0].order, 0, &epoch, &row, &n));
    cr_expect_not(hl_data_order_at(&rows[0].order, INT64_MAX, &epoch, &row, &n));
}

Test(model, a_resume_takes_back_what_it_replaces)
{
    hl_model m;
    hl_writer *w;
    double v;
    char *dir = write_run("one", 100);
    cr_assert_eq(hl_model_open(&m, store), HL_OK);
    hl_watched *run = hl_model_watch(&m, dir);
    settle(&m);
    cr_assert_eq(hl_writer_open(dir, &(hl_writer_opts){.resume = true, .resume_step = 40}, &w),
                 HL_OK);
    write_steps(w, 40, 60, 1000);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    for (int i = 0; i < 2000 && !(hl_watched_last(run, "train/loss", &v) && v == 1059); i++) {
        hl_model_update(&m, 5000000);
        hl_clock_sleep_ms(5);
    }
    cr_expect_eq(v, 1059);
    cr_expect_eq(hl_pyramid_n(hl_watched_series(run, "train/loss")->points), 60);
    for (int i = 0; i < 400 && hl_pyramid_n(run->gathered[0].data->points) < 60; i++) {
        hl_model_update(&m, 5000000); /* the last step is complete when all is read */
        hl_clock_sleep_ms(5);
    }
    cr_expect_eq(hl_pyramid_n(hl_watched_series(run, HL_TAG_INF_NORM)->points), 60, "%zu",
                 hl_pyramid_n(hl_watched_series(run, HL_TAG_INF_NORM)->points));
    bool told = false;
    for (size_t i = 0; i < run->log.n; i++)
        told |= strcmp(run->log.at[i].text, "resumed at step 40") == 0;
    cr_expect(told);
    hl_model_close(&m);
    hl_free(dir);
}

/* More runs than are followed at once: the one used longest ago is let go, and comes back whole. */
Test(model, slots_are_used_again)
{
    enum { RUNS = HL_WATCHED_MAX + 4 };
    hl_model m;
    char *dir[RUNS], id[16];
    double v;
    for (int i = 0; i < RUNS; i++) {
        snprintf(id, sizeof id, "run-%02d", i);
        dir[i] = write_run(id, 10 + i);
    }
    cr_assert_eq(hl_model_open(&m, store), HL_OK);
    for (int turn = 0; turn < 3; turn++)
        for (int i = 0; i < RUNS; i++) {
            cr_assert_not_null(hl_model_watch(&m, dir[i]));
            if (turn == 1) /* else all orders are under way at once */
                settle(&m);
        }
    settle(&m);
    for (int i = RUNS - HL_WATCHED_MAX; i < RUNS; i++) {
        hl_watched *w = hl_model_watch(&m, dir[i]);
        cr_assert(hl_watched_last(w, "train/loss", &v) && v == 9 + i, "run %d has %g", i, v);
        cr_expect_eq(w->series.n, 7, "run %d has %zu series", i, w->series.n);
    }
    hl_model_close(&m);
    for (int i = 0; i < RUNS; i++)
        hl_free(dir[i]);
}

Test(model, a_tag_of_another_kind_is_no_statistic)
{
    hl_model m;
    hl_writer *w;
    char *dir;
    const hl_run_facts_in facts = {.id = "odd", .name = "odd"};
    cr_assert_eq(hl_run_dir_create(store, &facts, &dir), HL_OK);
    cr_assert_eq(hl_writer_open(dir, NULL, &w), HL_OK);
    const hl_sink k = hl_writer_sink(w);
    const hl_hist hist = {.num = 1};
    k.hist(k.self, k.series(k.self, "outliers/layer.0/out/kurtosis", HL_SERIES_HIST, NULL), 1,
           &hist);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    cr_assert_eq(hl_model_open(&m, store), HL_OK);
    hl_watched *run = hl_model_watch(&m, dir);
    settle(&m);
    cr_expect_eq(hl_watched_series(run, "outliers/layer.0/out/kurtosis")->statistic, -1);
    hl_model_close(&m);
    hl_free(dir);
}

static void write_solves(hl_writer *w, int64_t from, int64_t to)
{
    const hl_sink k = hl_writer_sink(w);
    const int solve = k.series(k.self, "train/deq/movement", HL_SERIES_CURVE, NULL);
    const int other = k.series(k.self, "train/other", HL_SERIES_CURVE, NULL);
    for (int64_t i = from; i < to; i++) {
        const float v[6] = {1, 1, (float)i, (float)i, NAN, 0};
        k.curve(k.self, solve, i, v, 3, 2);
        k.curve(k.self, other, i, v, 1, 6);
    }
}

Test(model, solves_are_kept_and_taken_back)
{
    hl_model m;
    hl_writer *w;
    char *dir;
    const hl_run_facts_in facts = {.id = "deq", .name = "deq"};
    cr_assert_eq(hl_run_dir_create(store, &facts, &dir), HL_OK);
    cr_assert_eq(hl_writer_open(dir, NULL, &w), HL_OK);
    write_solves(w, 0, 100);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    cr_assert_eq(hl_model_open(&m, store), HL_OK);
    hl_watched *run = hl_model_watch(&m, dir);
    settle(&m);
    const hl_data *d = hl_watched_series(run, "train/deq/movement");
    cr_assert_not_null(d);
    cr_expect_eq(d->solves.kept.n, HL_SOLVES_KEPT);
    cr_expect_eq(d->solves.medians.n, 100);
    const hl_solved *x = &d->solves.kept.at[hl_solves_find(&d->solves, 77)];
    cr_expect(x->step == 77 && x->curve.rows == 3 && x->curve.cols == 2 && x->n_made == 3);
    cr_expect_eq(x->quantile[HL_QUANTILE_MEDIAN * 3 + 1], 77);
    cr_expect_eq(hl_watched_series(run, "train/other")->solves.kept.n, 0, "no solves");
    cr_assert_eq(hl_writer_open(dir, &(hl_writer_opts){.resume = true, .resume_step = 80}, &w),
                 HL_OK);
    write_solves(w, 80, 82);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    for (int i = 0; i < 2000 && d->solves.medians.n != 82; i++) {
        hl_model_update(&m, 5000000);
        hl_clock_sleep_ms(5);
    }
    cr_expect_eq(d->solves.medians.n, 82);
    cr_expect_eq(d->solves.kept.at[d->solves.kept.n - 1].step, 81);
    hl_model_close(&m);
    hl_free(dir);
}

Test(model, names_of_taps)
{
    hl_tap_name n;
    cr_assert(hl_tap_name_from("outliers/layer.3/ffn.out/inf_norm", &n));
    cr_expect(!strcmp(n.layer, "layer.3") && !strcmp(n.site, "ffn.out") &&
              !strcmp(n.statistic, "inf_norm"));
    cr_assert(hl_tap_name_from("outliers/final.norm/kurtosis", &n));
    cr_expect(!*n.layer && !strcmp(n.site, "final.norm"));
    cr_expect(!hl_tap_name_from("outliers/x", &n));
    cr_expect(!hl_tap_name_from("train/loss", &n));
    char longest[600];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "outliers/", 9);
    longest[300] = '/';
    longest[sizeof longest - 1] = 0;
    hl_tap_name_from(longest, &n);
}

Test(model, pace)
{
    hl_pace p = {.n = 12};
    double seconds, spread;
    for (int i = 0; i < p.n; i++) {
        p.step[i] = i * 10;
        p.t_us[i] = i * 5000000;
    }
    cr_assert(hl_pace_get(&p, &seconds, &spread));
    cr_expect_float_eq(seconds, 0.5, 1e-12);
    cr_expect_float_eq(spread, 0, 1e-12);
    p.t_us[11] += 20000000; /* an evaluation of 20 s is counted in */
    cr_assert(hl_pace_get(&p, &seconds, &spread));
    cr_expect_gt(seconds, 0.5);
    cr_expect_gt(spread, 0);
    double left_s, spread_s; /* of what is left, and how sure that is */
    const hl_run_row row = {.state = HL_RUN_RUNNING, .step = 110, .step_total = 310};
    const hl_watched w = {.pace = p};
    cr_assert(hl_eta(&row, &w, &left_s, &spread_s));
    cr_expect_float_eq(left_s, 200 * seconds, 1e-9);
    cr_expect_float_eq(spread_s, 100 * spread, 1e-9);
    const hl_run_row done = {.state = HL_RUN_DONE, .step = 310, .step_total = 310};
    cr_expect(!hl_eta(&done, &w, &left_s, &spread_s));
    p.n = 2;
    cr_expect(!hl_pace_get(&p, &seconds, &spread));
}
