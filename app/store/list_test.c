/* What lists know of runs: their settings and metrics, what people said of them, the file that
 * remembers rows. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "app/store/list_cache.h"
#include "app/store/retention.h"
#include "app/store/run_notes.h"
#include "app/store/store_test.h"

static char *runs, *cache;

static void begin(void)
{
    runs = test_dir();
    cache = test_dir();
    setenv("XDG_CACHE_HOME", cache, 1);
}

static void end(void)
{
    test_dir_done(runs);
    test_dir_done(cache);
}

TestSuite(list, .init = begin, .fini = end);

/* Without the syncs that a real run pays for. */
static void put_file(const char *dir, const char *name, const char *text)
{
    char *path = hl_fs_join(dir, name);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
    hl_free(path);
}

/* n runs that are done: one that was written and copies of it, each with a seed of its own. */
static void make_runs(int n)
{
    char id[40], text[200], *dir = test_run(runs, "20260101-000000-000000");
    hl_writer *w;
    cr_assert_eq(hl_writer_open(dir, NULL, &w), HL_OK);
    const hl_sink k = hl_writer_sink(w);
    const int loss = k.series(k.self, "train/loss", HL_SERIES_SCALAR, NULL);
    const int norm = k.series(k.self, "outliers/layer.0/out/inf_norm", HL_SERIES_SCALAR, NULL);
    for (int i = 0; i < 4; i++) {
        k.scalar(k.self, loss, i, 4 - i);
        k.scalar(k.self, norm, i, 1);
    }
    k.scalar(k.self, loss, 4, (double)INFINITY);
    hl_writer_set_state(w, 5, &(hl_state_note){.state = HL_RUN_DONE});
    cr_assert_eq(hl_writer_close(w), HL_OK);
    char *path = hl_run_dir_path(dir, "summary.json"), *summary;
    size_t n_bytes;
    cr_assert_eq(hl_fs_read(path, 1 << 20, &summary, &n_bytes), HL_OK);
    hl_free(path);
    for (int i = 0; i < n; i++) {
        if (i > 0) {
            snprintf(id, sizeof id, "20260101-000000-%06x", (unsigned)i);
            hl_free(dir);
            dir = hl_fs_join(runs, id);
            cr_assert_eq(hl_fs_make_dir(dir), HL_OK);
            snprintf(text, sizeof text, "{\"id\":\"%s\"}", id);
            put_file(dir, "run.json", text);
            put_file(dir, "summary.json", summary);
        }
        snprintf(text, sizeof text, "{\"seed\":%d,\"optim\":{\"lr\":0.001,\"kind\":\"sgd\"}}", i);
        put_file(dir, "config.json", text);
    }
    hl_free(summary);
    hl_free(dir);
}

static void make_run_with(const char *id, const char *config)
{
    char text[80], *dir = test_run(runs, id);
    snprintf(text, sizeof text, "{\"id\":\"%s\"}", id);
    put_file(dir, "run.json", text);
    put_file(dir, "config.json", config);
    hl_free(dir);
}

static hl_run_list *open_list(void)
{
    hl_run_list *list;
    cr_assert_eq(hl_run_list_open(runs, &list), HL_OK, "%s", hl_err_message());
    return list;
}

Test(list, rows_know_settings_and_metrics)
{
    make_runs(1);
    hl_run_list *list = open_list();
    const hl_run_row *r = hl_run_list_at(list, 0);
    const hl_run_value *lr = hl_run_row_value(r, "optim.lr"),
                       *kind = hl_run_row_value(r, "optim.kind");
    cr_assert(lr && kind && hl_run_row_value(r, "run.id"));
    cr_expect_eq(lr->number, .001);
    cr_expect_str_eq(lr->text, "0.001");
    cr_expect(isnan(kind->number));
    cr_expect_str_eq(kind->text, "sgd");
    cr_expect_null(hl_run_row_value(r, "optim"));
    const hl_run_scalar *loss = hl_run_row_metric(r, "train/loss");
    cr_assert_not_null(loss);
    cr_expect_eq(loss->n, 5);
    cr_expect_eq(loss->min, 1);
    cr_expect_eq(loss->min_step, 3);
    cr_expect_eq(loss->mean, 2.5);
    cr_expect_eq(loss->n_non_finite, 1);
    cr_expect_null(hl_run_row_metric(r, "outliers/layer.0/out/inf_norm"));
    cr_expect(r->mine && !r->archived && !r->pinned && !*r->note);
    hl_run_list_close(list);
}

Test(list, rows_know_the_attention)
{
    make_run_with("20260101-000000-000001",
                  "{\"model\":{\"attention\":{\"softmax\":\"softmax1\",\"gate\":\"none\"}}}");
    make_run_with(
        "20260101-000000-000002",
        "{\"model\":{\"attention\":{\"softmax\":\"vanilla\",\"gate\":\"conditional_per_token\"}}}");
    make_run_with("20260101-000000-000003", "{\"model\":{\"width\":8}}");
    hl_run_list *list = open_list();
    cr_assert_eq(hl_run_list_n(list), 3);
    for (size_t i = 0; i < 3; i++) {
        const hl_run_row *r = hl_run_list_at(list, i);
        static const char *const variants[] = {"softmax1", "vanilla+gate", ""};
        const char last = r->id[strlen(r->id) - 1];
        cr_expect_str_eq(r->variant, variants[last - '1'], "%s", r->id);
    }
    hl_run_list_close(list);
}

/* ---- what the events know ---- */

static hl_deep_keys wanted(void)
{
    static const char *const texts[] = {
        "train/loss@2",       "train/loss@5",      "train/loss.below@2.5", "train/loss.above@2.5",
        "train/loss.below@0", "train/loss.ema@.5", "train/loss@2",         "train/loss",
        "train/loss.ema@1",   "train/loss@x"};
    hl_deep_keys keys = {0};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        hl_deep_keys_add(&keys, texts[i]);
    cr_assert_eq(keys.n, 6);
    return keys;
}

/* Its value; NAN: not known. */
static double deep(const hl_run_list *list, const char *key)
{
    const hl_run_scalar *m = hl_run_row_metric(hl_run_list_at(list, 0), key);
    cr_assert_not_null(m, "%s", key);
    return m->n ? m->last : (double)NAN;
}

Test(list, values_are_read_from_the_events_when_they_are_wanted)
{
    const hl_deep_keys keys = wanted(), none = {0};
    make_runs(HL_LIST_CACHED_MIN);
    hl_run_list *list = open_list();
    hl_run_list_want(list, &keys);
    cr_expect(isnan(deep(list, "train/loss@2")));
    const int64_t before = hl_run_list_changes(list);
    cr_expect(!hl_run_list_dig(list, 0));
    cr_expect_gt(hl_run_list_changes(list), before);
    cr_expect_eq(deep(list, "train/loss@2"), 2);
    cr_expect(isnan(deep(list, "train/loss@5")), "it was never there");
    cr_expect_eq(deep(list, "train/loss.below@2.5"), 2);
    cr_expect_eq(deep(list, "train/loss.above@2.5"), 0);
    cr_expect(isnan(deep(list, "train/loss.below@0")));
    cr_expect_float_eq(deep(list, "train/loss.ema@.5"), 1.7333333333333334, 1e-12);
    const hl_run_scalar *m = hl_run_row_metric(hl_run_list_at(list, 0), "train/loss");
    cr_expect(m && m->n == 5);
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_expect_eq(deep(list, "train/loss@2"), 2, "nothing is forgotten");
    hl_run_list_want(list, &none);
    cr_expect_null(hl_run_row_metric(hl_run_list_at(list, 0), "train/loss@2"));
    hl_run_list_want(list, &keys);
    hl_run_list_close(list); /* writes the file of rows: without them */
    list = open_list();
    cr_expect_null(hl_run_row_metric(hl_run_list_at(list, 0), "train/loss@2"));
    hl_run_list_close(list);
}

static void write_on(const char *dir, const hl_writer_opts *opts, int64_t from, int64_t to,
                     double base)
{
    hl_writer *w;
    cr_assert_eq(hl_writer_open(dir, opts, &w), HL_OK);
    hl_writer_set_state(w, from, &(hl_state_note){.state = HL_RUN_RUNNING});
    const hl_sink k = hl_writer_sink(w);
    const int loss = k.series(k.self, "train/loss", HL_SERIES_SCALAR, NULL);
    for (int64_t i = from; i < to; i++)
        k.scalar(k.self, loss, i, base - (double)i);
    cr_assert_eq(hl_writer_close(w), HL_OK);
}

/* It gets there; a resume takes back what it wrote. */
Test(list, values_of_a_run_that_goes_on)
{
    const hl_deep_keys keys = wanted();
    char *dir = test_run(runs, "20260101-000000-000000");
    write_on(dir, NULL, 0, 3, 10);
    hl_run_list *list = open_list();
    hl_run_list_want(list, &keys);
    cr_expect(!hl_run_list_dig(list, 0));
    cr_expect_eq(deep(list, "train/loss@2"), 8);
    cr_expect(isnan(deep(list, "train/loss@5")), "it is not there yet");
    write_on(dir, &(hl_writer_opts){.append = true}, 3, 9, 10);
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_expect(!hl_run_list_dig(list, 0));
    cr_expect_eq(deep(list, "train/loss@5"), 5);
    cr_expect_eq(deep(list, "train/loss.below@2.5"), 8);
    write_on(dir, &(hl_writer_opts){.resume = true, .resume_step = 4}, 4, 9, 20);
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_expect(!hl_run_list_dig(list, 0));
    cr_expect_eq(deep(list, "train/loss@5"), 15);
    cr_expect(isnan(deep(list, "train/loss.below@2.5")));
    hl_run_list_close(list);
    hl_free(dir);
}

/* ---- what people say ---- */

Test(list, notes)
{
    static const char *const more[] = {"table1", "good"}, *const less[] = {"good"};
    make_runs(1);
    char *dir = hl_fs_join(runs, "20260101-000000-000000");
    hl_run_notes_change c = {.name = "better \"name\"",
                             .note = "rerun",
                             .tags_more = more,
                             .n_more = 2,
                             .archived = 1,
                             .pinned = -1};
    hl_run_list *list = open_list();
    cr_assert_eq(hl_run_notes_edit(dir, &c), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    const hl_run_row *r = hl_run_list_at(list, 0);
    cr_expect_str_eq(r->name, "better \"name\"");
    cr_expect_str_eq(r->note, "rerun");
    cr_expect_str_eq(r->tags, "table1 good");
    cr_expect(r->archived && !r->pinned);
    c = (hl_run_notes_change){
        .name = "", .tags_less = less, .n_less = 1, .archived = 0, .pinned = 1};
    cr_assert_eq(hl_run_notes_edit(dir, &c), HL_OK);
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    r = hl_run_list_at(list, 0);
    cr_expect_str_eq(r->name, "test");
    cr_expect_str_eq(r->note, "rerun");
    cr_expect_str_eq(r->tags, "table1");
    cr_expect(!r->archived && r->pinned);
    const char *const bad[] = {"two words"};
    c = (hl_run_notes_change){.tags_more = bad, .n_more = 1, .archived = -1, .pinned = -1};
    cr_expect_eq(hl_run_notes_edit(dir, &c), HL_E_ARG);
    cr_expect_eq(hl_run_notes_edit(runs, &c), HL_E_ARG);
    /* what somebody wrote and something else damaged is neither lost nor in the way */
    char *path = hl_run_dir_path(dir, "notes.json");
    cr_assert_eq(hl_fs_write_atomic(path, "{\"note\":", 8), HL_OK);
    c = (hl_run_notes_change){.note = "x", .archived = -1, .pinned = -1};
    cr_expect_eq(hl_run_notes_edit(dir, &c), HL_E_FORMAT);
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_expect_str_eq(hl_run_list_at(list, 0)->name, "test");
    cr_expect_eq(hl_run_list_at(list, 0)->state, HL_RUN_DONE);
    hl_run_list_close(list);
    hl_free(path);
    hl_free(dir);
}

/* ---- the file of rows ---- */

/* What a row shows, as text. */
static void print_row(const hl_run_row *r, hl_str *b)
{
    hl_str_addf(b, "%s %s %s %s %d %d %lld %lld %g %s %d %d\n", r->id, r->name, r->tags, r->note,
                r->state, r->archived, (long long)r->step, (long long)r->t_start_us, r->loss,
                r->loss_tag, r->n_trace, r->mine);
    for (size_t i = 0; r->config && i < r->config->n; i++)
        hl_str_addf(b, "%s=%s=%g ", r->config->at[i].key, r->config->at[i].text,
                    r->config->at[i].number);
    for (size_t i = 0; r->metrics && i < r->metrics->n; i++)
        hl_str_addf(b, "%s=%g@%lld ", r->metrics->at[i].tag, r->metrics->at[i].min,
                    (long long)r->metrics->at[i].min_step);
    hl_str_addf(b, "%llx\n", (unsigned long long)r->method);
}

static void print_list(hl_str *b)
{
    hl_run_list *list = open_list();
    hl_str_clear(b);
    for (size_t i = 0; i < hl_run_list_n(list); i++)
        print_row(hl_run_list_at(list, i), b);
    hl_run_list_close(list);
}

static char *cache_file(void)
{
    hl_fs_list names;
    char *folder = hl_fs_join(cache, "hoplab");
    char *path = NULL;
    if (hl_fs_list_dir(folder, &names) == HL_OK) {
        path = names.n == 1 ? hl_fs_join(folder, names.name[0]) : NULL;
        hl_fs_list_free(&names);
    }
    hl_free(folder);
    return path;
}

Test(list, rows_from_the_file_are_the_rows)
{
    enum { N = HL_LIST_CACHED_MIN + 6 };
    hl_str first = {0}, again = {0};
    make_runs(N);
    print_list(&first);
    char *path = cache_file();
    cr_assert_not_null(path, "no file of rows");
    char *config = hl_fs_join(runs, "20260101-000000-000005/config.json");
    cr_assert_eq(unlink(config), 0); /* whoever reads that run again misses it */
    print_list(&again);
    cr_expect_str_eq(hl_str_text(&again), hl_str_text(&first));
    hl_free(config);
    /* what changed is read */
    char *dir = hl_fs_join(runs, "20260101-000000-000003");
    const hl_run_notes_change note = {.note = "seen", .archived = -1, .pinned = -1};
    cr_assert_eq(hl_run_notes_edit(dir, &note), HL_OK);
    print_list(&again);
    cr_expect(strstr(hl_str_text(&again), "seen"));
    cr_assert_eq(hl_run_remove(dir), HL_OK);
    print_list(&again);
    cr_expect_null(strstr(hl_str_text(&again), "000003"));
    hl_free(dir);
    hl_free(path);
    hl_str_done(&first);
    hl_str_done(&again);
}

Test(list, a_damaged_file_of_rows_is_nothing)
{
    enum { N = HL_LIST_CACHED_MIN };
    hl_str first = {0}, again = {0};
    char *bytes;
    size_t n;
    make_runs(N);
    print_list(&first);
    char *path = cache_file();
    cr_assert_not_null(path);
    cr_assert_eq(hl_fs_read(path, 1 << 24, &bytes, &n), HL_OK);
    uint64_t seed = 88172645463325252u;
    for (int round = 0; round < 24; round++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        char *copy = hl_alloc(n);
        memcpy(copy, bytes, n);
        copy[round < 8 ? (size_t)round * 3 : seed % n] ^= (char)(1 + (seed >> 40) % 255);
        FILE *f = fopen(path, "w");
        cr_assert_not_null(f);
        cr_assert_gt(fwrite(copy, 1, round % 3 ? n : 1 + seed % (n - 1), f), 0);
        fclose(f);
        hl_free(copy);
        hl_list_cache *c = hl_list_cache_open(runs);
        cr_expect_null(c, "round %d", round);
        hl_list_cache_close(c);
    }
    print_list(&again);
    cr_expect_str_eq(hl_str_text(&again), hl_str_text(&first));
    hl_free(bytes);
    hl_free(path);
    hl_str_done(&first);
    hl_str_done(&again);
}

/* ---- what waits ---- */

static int count_queued(hl_run_list *list)
{
    int n = 0;
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    for (size_t i = 0; i < hl_run_list_n(list); i++)
        n += hl_run_list_at(list, i)->state == HL_RUN_QUEUED;
    return n;
}

Test(list, runs_that_wait)
{
    static const char *const names[] = {"s:seed=1", "s:seed=2", "s:path=a/b"};
    hl_waiting *w;
    hl_run_list *all, *list;
    char *dir;
    make_runs(2);
    cr_assert_eq(hl_waiting_open(runs, "my/sweep", &w), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_waiting_put(w, names, 3), HL_OK);
    cr_assert_eq(hl_run_list_open_all(runs, &all), HL_OK);
    list = open_list();
    cr_expect_eq(count_queued(all), 3);
    cr_expect_eq(count_queued(list), 0, "a list of runs that are there");
    const hl_run_row *r = hl_run_list_at(all, hl_run_list_n(all) - 1);
    cr_expect_str_eq(r->name, "s:seed=1"); /* whose turn it is next is the newest */
    cr_expect_str_eq(r->tags, "sweep:my/sweep");
    cr_expect_str_eq(r->phase, "waits in the sweep my/sweep");
    const int64_t changes = hl_run_list_changes(all);
    cr_expect_eq(count_queued(all), 3);
    cr_expect_eq(hl_run_list_changes(all), changes);
    cr_assert_eq(hl_run_find(runs, "last", &dir), HL_OK);
    cr_expect(hl_str_starts(hl_fs_base(dir), "2026"), "%s", dir);
    hl_free(dir);
    cr_assert_eq(hl_waiting_put(w, names + 1, 1), HL_OK);
    cr_expect_eq(count_queued(all), 1);
    cr_expect_gt(hl_run_list_changes(all), changes);
    hl_waiting_close(w);
    cr_expect_eq(count_queued(all), 0);
    char *folder = hl_fs_join(runs, ".queue");
    cr_expect_not(hl_fs_exists(folder));
    /* a sweep that was killed: nobody will make its runs */
    char *dead = hl_fs_join(folder, "dead.1");
    cr_assert_eq(hl_fs_make_dir(dead), HL_OK);
    put_file(dead, "waiting.json", "{\"sweep\":\"dead\",\"names\":[\"x\"]}");
    put_file(dead, "lock", "");
    cr_expect_eq(count_queued(all), 0);
    cr_assert_eq(hl_waiting_open(runs, "next", &w), HL_OK);
    cr_expect_not(hl_fs_exists(dead));
    hl_waiting_close(w);
    hl_free(dead);
    hl_free(folder);
    hl_run_list_close(all);
    hl_run_list_close(list);
}
