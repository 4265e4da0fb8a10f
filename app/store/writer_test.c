/* What is written is read back, whatever happens to the clock or the writer. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "app/store/store_test.h"
#include "engine/base/rng.h"

static const hl_state_note running = {HL_RUN_RUNNING, NULL, NULL, 1000};
static const hl_state_note done = {HL_RUN_DONE, NULL, NULL, 0};

static hl_writer *open_writer(const char *dir, const hl_writer_opts *opts)
{
    hl_writer *w = NULL;
    cr_assert_eq(hl_writer_open(dir, opts, &w), HL_OK, "%s", hl_err_message());
    return w;
}

/* ---- plain writing ---- */

Test(writer, every_kind_comes_back)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    hl_writer *w = open_writer(dir, NULL);
    hl_sink s = hl_writer_sink(w);
    int a = s.series(s.self, "a", HL_SERIES_SCALAR, NULL);
    int b = s.series(s.self, "b", HL_SERIES_WIDE, NULL);
    int c = s.series(s.self, "c", HL_SERIES_HIST, NULL);
    int d = s.series(s.self, "d", HL_SERIES_CURVE, NULL);
    int e = s.series(s.self, "e", HL_SERIES_JSON, "table");
    cr_assert_eq(s.series(s.self, "c", HL_SERIES_HIST, NULL), c);
    cr_assert_eq(s.series(s.self, "c", HL_SERIES_SCALAR, NULL), -1);
    cr_assert_eq(s.series(s.self, "", HL_SERIES_SCALAR, NULL), -1);
    hl_hist h = {.min = -1, .max = 2, .num = 3, .n_non_finite = 4};
    float v[3] = {1, (float)NAN, -0.0f};
    s.scalar(s.self, a, 0, 0.0);
    s.scalar(s.self, a, -7, (double)NAN);
    s.scalar(s.self, b, 1, 123456789012345.0);
    s.hist(s.self, c, 2, &h);
    s.curve(s.self, d, 3, v, 1, 0);
    s.curve(s.self, d, 4, v, 3, 1);
    s.json(s.self, e, 5, "{\"x\":1}");
    s.scalar(s.self, -1, 0, 1); /* what a refused series gives: nothing */
    s.scalar(s.self, c, 0, 1);
    hl_writer_log(w, HL_LOG_INFO, 6, "hello");
    hl_writer_set_state(w, 7, &done);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    seen r;
    cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
    cr_assert_eq(r.points.n, 3);
    cr_assert_eq(r.points.at[0].value, 0.0);
    cr_assert(isnan(r.points.at[1].value) && r.points.at[1].step == -7);
    cr_assert_eq(r.points.at[2].value, 123456789012345.0);
    cr_assert(r.n_hist == 1 && memcmp(&r.hist, &h, sizeof h) == 0);
    cr_assert(r.n_curve == 2 && r.curve_rows == 3 && r.curve_cols == 1);
    cr_assert(memcmp(r.curve, v, sizeof v) == 0);
    cr_assert(strstr(r.last_log, "hello"));
    cr_assert_eq(r.n_damages + r.n_unknown, 0);
    cr_assert(test_summary_is_right(dir));
    seen_done(&r);
    hl_free(dir);
    test_dir_done(runs);
}

Test(writer, a_thousand_series)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    hl_writer *w = open_writer(dir, NULL);
    hl_sink s = hl_writer_sink(w);
    int id[1000];
    for (int i = 0; i < 1000; i++) {
        char tag[64];
        snprintf(tag, sizeof tag, "outliers/layer.%d/ffn.out/inf_norm", i);
        id[i] = s.series(s.self, tag, HL_SERIES_SCALAR, NULL);
    }
    for (int k = 0; k < 50; k++)
        for (int i = 0; i < 1000; i++)
            s.scalar(s.self, id[i], k, i + k);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    seen r;
    cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
    cr_assert_eq(r.points.n, 50000);
    cr_assert_eq(hl_series_table_n(&r.series), 1000);
    for (size_t i = 0; i < r.points.n; i++) {
        cr_assert_eq(r.points.at[i].series, i % 1000);
        cr_assert_eq(r.points.at[i].value, (double)(i % 1000 + i / 1000));
    }
    cr_assert(test_summary_is_right(dir));
    seen_done(&r);
    hl_free(dir);
    test_dir_done(runs);
}

/* After the first round the store thread hands packets back, and nothing is allocated per value. */
Test(writer, scalars_and_histograms_do_not_allocate)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    hl_writer *w = open_writer(dir, NULL);
    hl_sink s = hl_writer_sink(w);
    int a = s.series(s.self, "a", HL_SERIES_SCALAR, NULL);
    int c = s.series(s.self, "c", HL_SERIES_HIST, NULL);
    hl_hist h = {.num = 3};
    int64_t n_alloc = 0;
    for (int round = 0; round < 4; round++) {
        s.flush(s.self);
        n_alloc = hl_mem_get_stats().n_alloc;
        for (int i = 0; i < 100; i++) {
            s.scalar(s.self, a, i, i);
            s.hist(s.self, c, i, &h);
        }
        n_alloc = hl_mem_get_stats().n_alloc - n_alloc;
    }
    cr_assert_lt(n_alloc, 100, "%lld allocations", (long long)n_alloc); /* the summary's, perhaps */
    cr_assert_eq(hl_writer_close(w), HL_OK);
    hl_free(dir);
    test_dir_done(runs);
}

Test(writer, flush_means_readable)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    hl_writer *w = open_writer(dir, NULL);
    hl_sink s = hl_writer_sink(w);
    for (int round = 1; round <= 20; round++) {
        test_put_losses(w, (round - 1) * 10, round * 10);
        s.flush(s.self);
        seen r;
        cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
        cr_assert(seen_is_losses(&r, 0, round * 10));
        seen_done(&r);
    }
    cr_assert_eq(hl_writer_close(w), HL_OK);
    hl_free(dir);
    test_dir_done(runs);
}

Test(writer, warnings_are_written_at_once)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    hl_writer *w = open_writer(dir, NULL);
    hl_clock_sleep_ms(50); /* the store thread naps for 250 ms now */
    int64_t t0 = hl_clock_mono_ns();
    hl_writer_log(w, HL_LOG_WARN, 1, "look here");
    seen r = {0};
    do {
        seen_done(&r);
        cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
    } while (!strstr(r.last_log, "look here") && hl_clock_mono_ns() - t0 < INT64_C(5000000000));
    cr_assert_lt(hl_clock_mono_ns() - t0, INT64_C(150000000));
    cr_assert(strstr(r.last_log, "\"level\":\"warning\""));
    seen_done(&r);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    hl_free(dir);
    test_dir_done(runs);
}

Test(writer, lives_through_failing_allocations)
{
    for (int64_t n = 0; n < 120; n++) {
        char *runs = test_dir(), *dir = test_run(runs, "r");
        hl_writer *w = NULL;
        int64_t live = hl_mem_get_stats().live_bytes;
        hl_mem_fail_after(n);
        hl_status st = hl_writer_open(dir, NULL, &w);
        if (st == HL_OK) {
            hl_sink s = hl_writer_sink(w);
            hl_hist h = {.num = 1};
            test_put_losses(w, 0, 10);
            s.hist(s.self, s.series(s.self, "h", HL_SERIES_HIST, NULL), 0, &h);
            hl_writer_set_state(w, 10, &done);
            st = hl_writer_close(w);
            hl_mem_fail_after(-1);
            seen r;
            cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
            cr_assert_eq(r.n_damages, 0);
            seen_done(&r);
        } else {
            cr_assert_eq(st, HL_E_NOMEM, "%s", hl_err_message());
        }
        hl_mem_fail_after(-1);
        cr_assert_eq(hl_mem_get_stats().live_bytes, live, "allocation %lld", (long long)n);
        hl_lock_view v;
        hl_lock_look(dir, &v);
        cr_assert_eq(hl_lock_is_live(&v), HL_NO);
        hl_free(dir);
        test_dir_done(runs);
    }
}

/* ---- clock ---- */

Test(writer, times_never_go_back)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    setenv("HOPLAB_TEST_CLOCK", "1700000000", 1);
    hl_writer *w = open_writer(dir, NULL);
    test_put_losses(w, 0, 10);
    hl_writer_sink(w).flush(w);
    setenv("HOPLAB_TEST_CLOCK", "1699990000", 1);
    test_put_losses(w, 10, 20);
    hl_writer_sink(w).flush(w);
    setenv("HOPLAB_TEST_CLOCK", "1700000050", 1);
    test_put_losses(w, 20, 30);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    unsetenv("HOPLAB_TEST_CLOCK");
    seen r;
    cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
    cr_assert(seen_is_losses(&r, 0, 30));
    for (size_t i = 1; i < r.points.n; i++)
        cr_assert_geq(r.points.at[i].t_us, r.points.at[i - 1].t_us);
    cr_assert_eq(r.points.at[15].t_us, INT64_C(1700000000000000));
    cr_assert_eq(r.points.at[25].t_us, INT64_C(1700000050000000));
    cr_assert(strstr(r.last_log, "the clock went back by 2h46m"), "%s", r.last_log);
    cr_assert_eq(r.n_json, 1);
    seen_done(&r);
    hl_free(dir);
    test_dir_done(runs);
}

/* ---- resume ---- */

Test(writer, resume_replaces_and_drops_nothing)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    hl_writer *w = open_writer(dir, NULL);
    hl_writer_set_state(w, 0, &running);
    test_put_losses(w, 0, 100);
    hl_writer_table(w, 99, "final", "{\"replaced\":true}");
    hl_writer_log(w, HL_LOG_INFO, 99, "the last words");
    cr_assert_eq(hl_writer_close(w), HL_OK);
    for (int64_t k = 80; k >= 60; k -= 20) { /* twice, within the same second */
        w = open_writer(dir, &(hl_writer_opts){.resume = true, .resume_step = k});
        test_put_losses(w, k, k + 30);
        hl_writer_set_state(w, k + 30, &done);
        cr_assert_eq(hl_writer_close(w), HL_OK);
        cr_assert(test_summary_is_right(dir));
    }
    seen r;
    cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
    cr_assert(seen_is_losses(&r, 0, 90));
    cr_assert(strstr(r.last_log, "the last words"));
    seen_done(&r);
    cr_assert_eq(see_all(dir, (hl_follow_opts){.with_superseded = true}, &r), HL_OK);
    cr_assert_eq(seen_n(&r, "train/loss"), 160);
    seen_done(&r);
    hl_json *summary;
    cr_assert_eq(hl_run_dir_read_json(dir, "summary.json", &summary), HL_OK);
    cr_assert_eq(hl_json_int(hl_json_get(summary, "segments"), 0), 3);
    cr_assert_eq(hl_json_len(hl_json_get(summary, "tables")), 0);
    const hl_json *loss = hl_json_get(hl_json_get(summary, "scalars"), "train/loss");
    cr_assert_eq(hl_json_int(hl_json_get(loss, "n"), 0), 90);
    cr_assert_eq(hl_json_int(hl_json_get(loss, "min_step"), 0), 89);
    hl_json_free(summary);
    hl_free(dir);
    test_dir_done(runs);
}

Test(writer, a_follower_is_told_of_a_resume)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    seen r = {.superseded_from = -1};
    hl_run_visitor v = seen_visitor(&r);
    hl_follow *f;
    bool more;
    hl_writer *w = open_writer(dir, NULL);
    test_put_losses(w, 0, 50);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    cr_assert_eq(hl_follow_open(dir, (hl_follow_opts){0}, &r.series, &f), HL_OK);
    cr_assert_eq(hl_follow_poll(f, &v, 0, &more), HL_OK);
    cr_assert(seen_is_losses(&r, 0, 50));
    cr_assert_eq(r.superseded_from, -1);
    w = open_writer(dir, &(hl_writer_opts){.resume = true, .resume_step = 30});
    test_put_losses(w, 30, 40);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    r.points.n = 0;
    cr_assert_eq(hl_follow_poll(f, &v, 0, &more), HL_OK);
    cr_assert_eq(r.superseded_from, 30);
    cr_assert(seen_is_losses(&r, 30, 40));
    hl_follow_close(f);
    seen_done(&r);
    hl_free(dir);
    test_dir_done(runs);
}

Test(writer, a_table_is_added_to_a_run_that_is_over)
{
    static const char table[] = "{\"recipe\":\"W8A8\",\"float\":{\"perplexity\":5},"
                                "\"tensors\":[{\"name\":\"a\"}]}";
    char *runs = test_dir(), *dir = test_run(runs, "r");
    seen r = {.superseded_from = -1};
    hl_run_visitor v = seen_visitor(&r);
    hl_follow *f;
    bool more;
    hl_json *summary;
    hl_writer *w = open_writer(dir, NULL);
    test_put_losses(w, 0, 50);
    cr_assert_eq(hl_run_add_table(dir, 40, "quantize/W8A8", table), HL_E_STATE, "it is live");
    hl_writer_set_state(w, 50, &done);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    cr_assert_eq(hl_follow_open(dir, (hl_follow_opts){0}, &r.series, &f), HL_OK);
    cr_assert_eq(hl_follow_poll(f, &v, 0, &more), HL_OK);
    cr_assert_eq(hl_run_add_table(dir, 40, "quantize/W8A8", table), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_follow_poll(f, &v, 0, &more), HL_OK);
    cr_expect_eq(r.superseded_from, -1, "nothing is replaced, though its step has points");
    cr_expect_str_eq(r.json, table);
    hl_follow_close(f);
    seen_done(&r);
    cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
    cr_expect(seen_is_losses(&r, 0, 50));
    cr_expect_eq(r.n_damages + r.n_unknown, 0);
    seen_done(&r);
    cr_expect(test_summary_is_right(dir));
    cr_assert_eq(hl_run_dir_read_json(dir, "summary.json", &summary), HL_OK);
    cr_expect_str_eq(hl_json_str(hl_json_get(summary, "state"), ""), "done");
    const hl_json *kept = hl_json_get(hl_json_get(summary, "tables"), "quantize/W8A8");
    cr_expect_str_eq(hl_json_str(hl_json_get(kept, "recipe"), ""), "W8A8");
    cr_expect_eq(hl_json_get(kept, "tensors"), NULL, "lists stay in the events");
    hl_json_free(summary);
    hl_free(dir);
    test_dir_done(runs);
}

/* The new segment's name is there before its first byte. */
Test(writer, a_follower_opened_at_an_empty_segment)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    char *path = hl_fs_join(dir, HL_SEGMENT_PREFIX "9000000000.host.1.1");
    seen r = {.superseded_from = -1};
    hl_run_visitor v = seen_visitor(&r);
    hl_follow *f;
    bool more;
    hl_writer *w = open_writer(dir, NULL);
    test_put_losses(w, 0, 50);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    cr_assert_eq(hl_follow_open(dir, (hl_follow_opts){0}, &r.series, &f), HL_OK);
    cr_assert_eq(hl_follow_poll(f, &v, 0, &more), HL_OK);
    cr_assert(seen_is_losses(&r, 0, 50));
    hl_str b = {0};
    cr_assert(hl_event_put_version(&b) && hl_event_put_start(&b, (hl_stamp){30, 1}));
    cr_assert_eq(hl_fs_write_all(fd, b.s, b.n, path), HL_OK);
    close(fd);
    cr_assert_eq(hl_follow_poll(f, &v, 0, &more), HL_OK);
    cr_assert_eq(r.superseded_from, 30);
    hl_follow_close(f);
    seen_done(&r);
    cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
    cr_assert(seen_is_losses(&r, 0, 30));
    seen_done(&r);
    hl_str_done(&b);
    hl_free(path);
    hl_free(dir);
    test_dir_done(runs);
}

Test(writer, poll_in_small_bites)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    hl_writer *w = open_writer(dir, NULL);
    test_put_losses(w, 0, 1000);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    hl_run *run;
    seen r = {0};
    hl_run_visitor v = {.self = &r, .point = seen_point_cb};
    int64_t last = 0, read, total;
    bool more = true;
    cr_assert_eq(hl_run_open(dir, &run), HL_OK);
    for (int bites = 0; more; bites++) {
        cr_assert_eq(hl_run_poll(run, &v, 1000, &more), HL_OK);
        hl_run_progress(run, &read, &total);
        cr_assert(read >= last && read <= total);
        last = read;
        cr_assert_lt(bites, 1000);
    }
    cr_assert_eq(r.points.n, 1000);
    cr_assert_eq(read, total);
    hl_run_points p;
    cr_assert_eq(hl_run_read_points(run, "train/loss", &p), HL_OK);
    cr_assert_eq(p.n, 1000);
    cr_assert_eq(p.step[999], 999);
    hl_run_points_done(&p);
    cr_assert_eq(hl_run_read_points(run, "train/los", &p), HL_E_NOTFOUND);
    hl_run_scalar c;
    cr_assert(hl_run_scalar_find(run, "train/loss", &c));
    cr_assert_eq(c.n, 1000);
    hl_run_close(run);
    seen_done(&r);
    hl_free(dir);
    test_dir_done(runs);
}

/* ---- two writers ---- */

Test(writer, a_second_writer_is_refused)
{
    char *runs = test_dir(), *dir = test_run(runs, "20260131-142233-7f3a9c");
    hl_writer *w = open_writer(dir, NULL), *other;
    cr_assert_eq(hl_writer_open(dir, NULL, &other), HL_E_STATE);
    pid_t child = fork();
    if (child == 0) {
        char pid[32];
        snprintf(pid, sizeof pid, "process %d", (int)getppid());
        bool refused = hl_writer_open(dir, NULL, &other) == HL_E_STATE;
        const char *m = hl_err_message();
        _exit(refused && strstr(m, pid) && strstr(m, "hoplab ctl 20260131-142233-7f3a9c stop") ? 0
                                                                                               : 1);
    }
    int rc;
    waitpid(child, &rc, 0);
    cr_assert_eq(rc, 0);
    test_put_losses(w, 0, 10);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    w = open_writer(dir, &(hl_writer_opts){.resume = true, .resume_step = 5});
    cr_assert_eq(hl_writer_close(w), HL_OK);
    hl_free(dir);
    test_dir_done(runs);
}

/* ---- kill -9 ---- */

static void write_until_killed(const char *dir, int64_t resume_at)
{
    hl_writer *w;
    hl_writer_opts opts = {.resume = resume_at > 0, .resume_step = resume_at};
    if (hl_writer_open(dir, &opts, &w) != HL_OK)
        _exit(9);
    hl_writer_set_state(w, 0, &running);
    hl_sink s = hl_writer_sink(w);
    int h = s.series(s.self, "h", HL_SERIES_HIST, NULL);
    hl_hist hist = {.num = 1};
    for (int64_t i = resume_at;; i++) {
        test_put_losses(w, i, i + 1);
        if (i % 100 == 0)
            s.hist(s.self, h, i, &hist);
        if (i % 1000 == 0)
            hl_clock_sleep_ms(1);
    }
}

Test(writer, killed_at_fifty_random_moments, .timeout = 120)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    hl_rng rng = hl_rng_make(3, HL_RNG_TEST, 2, 0);
    int64_t resume_at = 0;
    for (int i = 0; i < 50; i++) {
        pid_t child = fork();
        if (child == 0)
            write_until_killed(dir, resume_at);
        usleep(500 +
               hl_rng_below(&rng, i % 5 == 4 ? 300000 : 40000)); /* some get far on any machine */
        kill(child, SIGKILL);
        int rc;
        waitpid(child, &rc, 0);
        cr_assert(WIFSIGNALED(rc), "the writer ended by itself: %d", rc);
        seen r;
        cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
        cr_assert_eq(r.n_damages, 0);
        int64_t n = (int64_t)seen_n(&r, "train/loss");
        cr_assert(seen_is_losses(&r, 0, n));
        cr_assert_geq(n, resume_at);
        seen_done(&r);
        hl_run *run;
        cr_assert_eq(hl_run_open(dir, &run), HL_OK);
        hl_run_state state = hl_run_get_row(run)->state;
        cr_assert(state == HL_RUN_LOST || (i == 0 && state == HL_RUN_QUEUED), "%s",
                  hl_run_state_name(state));
        hl_run_close(run);
        resume_at = n - n / 4;
    }
    cr_assert_gt(resume_at, 1000); /* it did get to write */
    hl_writer *w = open_writer(dir, &(hl_writer_opts){.resume = true, .resume_step = resume_at});
    hl_writer_set_state(w, 0, &done);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    cr_assert(test_summary_is_right(dir));
    hl_free(dir);
    test_dir_done(runs);
}
