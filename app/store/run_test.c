/* Run directories: making, finding, listing, locking, judging, removing. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "app/store/lock.h"
#include "app/store/retention.h"
#include "app/store/run_row.h"
#include "app/store/store_test.h"
#include "app/store/trace.h"

static void touch(const char *dir, const char *name, const char *text)
{
    char *path = hl_fs_join(dir, name);
    cr_assert_eq(hl_fs_write_atomic(path, text, strlen(text)), HL_OK, "%s", hl_err_message());
    hl_free(path);
}

static bool exists(const char *dir, const char *name)
{
    char *path = hl_fs_join(dir, name);
    struct stat sb;
    bool found = lstat(path, &sb) == 0;
    hl_free(path);
    return found;
}

/* A run that ended in the given state. */
static char *finished_run(const char *runs, const char *id, const char *name, hl_run_state state)
{
    char *dir = NULL;
    hl_writer *w;
    const char *tags[] = {"table1", "softmax1"};
    hl_run_facts_in facts = {.id = id,
                             .name = name,
                             .project = "outeffhop",
                             .tags = tags,
                             .n_tags = 2,
                             .has_seed = true,
                             .seed = 7};
    cr_assert_eq(hl_run_dir_create(runs, &facts, &dir), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_writer_open(dir, NULL, &w), HL_OK);
    hl_sink s = hl_writer_sink(w);
    s.scalar(s.self, s.series(s.self, "train/loss", HL_SERIES_SCALAR, NULL), 9, 2.5);
    s.scalar(s.self, s.series(s.self, "eval/ppl", HL_SERIES_SCALAR, NULL), 9, 12.25);
    hl_writer_checkpoint(w, 9, "ckpt/step-0000000009", false);
    hl_writer_set_state(w, 9, &(hl_state_note){state, "request", "because", 100});
    cr_assert_eq(hl_writer_close(w), HL_OK);
    return dir;
}

/* ---- making ---- */

Test(run_dir, fresh_run)
{
    char *runs = test_dir(), *below = hl_fs_join(runs, "a/b"), *dir = NULL;
    const char *argv[] = {"hoplab", "run", "exp/x.lua"};
    hl_run_facts_in facts = {.name = "bert \"1\"",
                             .argv = argv,
                             .n_argv = 3,
                             .has_seed = true,
                             .extra = "{\"versions\":{\"hoplab\":\"0.1.0\"}}"};
    cr_assert_eq(hl_run_dir_create(below, &facts, &dir), HL_OK, "%s", hl_err_message());
    const char *id = hl_fs_base(dir);
    cr_assert_eq(strlen(id), 22, "%s", id);
    cr_assert(id[8] == '-' && id[15] == '-');
    hl_json *v;
    cr_assert_eq(hl_run_dir_read_json(dir, "run.json", &v), HL_OK);
    cr_assert_str_eq(hl_json_str(hl_json_get(v, "id"), ""), id);
    cr_assert_str_eq(hl_json_str(hl_json_get(v, "name"), ""), "bert \"1\"");
    cr_assert_eq(hl_json_int(hl_json_get(v, "seed"), -1), 0);
    cr_assert_str_eq(hl_json_str(hl_json_at(hl_json_get(v, "command"), 2), ""), "exp/x.lua");
    cr_assert_str_eq(hl_json_str(hl_json_get(hl_json_get(v, "versions"), "hoplab"), ""), "0.1.0");
    hl_json_free(v);
    cr_assert_eq(hl_run_dir_put_config(dir, "{\"optim\":{\"lr\":0.1}}"), HL_OK);
    cr_assert_eq(hl_run_dir_put_script(dir, "exp/lib/x.lua", "return 1\n", 9), HL_OK);
    cr_assert(exists(dir, "script/exp/lib/x.lua"));
    cr_assert(exists(dir, "ckpt"));
    cr_assert_eq(hl_run_dir_put_script(dir, "../x.lua", "", 0), HL_E_ARG);
    cr_assert_eq(hl_run_dir_put_script(dir, "a/../../x.lua", "", 0), HL_E_ARG);
    cr_assert_eq(hl_run_dir_put_script(dir, "/etc/x.lua", "", 0), HL_E_ARG);
    hl_run *run;
    cr_assert_eq(hl_run_open(dir, &run), HL_OK);
    cr_assert_eq(hl_run_get_row(run)->state, HL_RUN_QUEUED);
    cr_assert_float_eq(hl_json_num(hl_json_get(hl_json_get(hl_run_config(run), "optim"), "lr"), 0),
                       0.1, 1e-12);
    hl_run_close(run);
    hl_free(dir);
    hl_free(below);
    test_dir_done(runs);
}

Test(run_dir, ids_are_unique_and_checked)
{
    char *runs = test_dir(), *dir[100] = {0};
    setenv("HOPLAB_TEST_CLOCK", "1700000000", 1);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(hl_run_dir_create(runs, &(hl_run_facts_in){0}, &dir[i]), HL_OK);
    cr_assert(hl_str_starts(hl_fs_base(dir[0]), "20231114-221320-"));
    for (int i = 0; i < 100; i++)
        hl_free(dir[i]);
    cr_assert_eq(hl_run_dir_create(runs, &(hl_run_facts_in){.id = "x"}, &dir[0]), HL_OK);
    hl_free(dir[0]);
    cr_assert_eq(hl_run_dir_create(runs, &(hl_run_facts_in){.id = "x"}, &dir[0]), HL_E_STATE);
    cr_assert_eq(hl_run_dir_create(runs, &(hl_run_facts_in){.id = "a/b"}, &dir[0]), HL_E_ARG);
    cr_assert_eq(hl_run_dir_create(runs, &(hl_run_facts_in){.id = ".."}, &dir[0]), HL_E_ARG);
    cr_assert_neq(hl_run_dir_create(runs, &(hl_run_facts_in){.id = "y", .extra = "{"}, &dir[0]),
                  HL_OK);
    cr_assert_not(exists(runs, "y"), "a failed start must leave nothing");
    test_dir_done(runs);
}

Test(run_dir, read_only_place_says_how_to_choose_another)
{
    char *runs = test_dir();
    cr_assert_eq(chmod(runs, 0555), 0);
    pid_t child = fork();
    if (child == 0) {
        char *dir;
        if (getuid() == 0 && setuid(65534) != 0)
            _exit(2);
        hl_status st = hl_run_dir_create(runs, &(hl_run_facts_in){.name = "x"}, &dir);
        const char *m = hl_err_message();
        bool good = st == HL_E_IO && strstr(m, runs) && strstr(m, "ermission denied") &&
                    strstr(m, "--runs DIR or HOPLAB_RUNS");
        if (!good)
            fprintf(stderr, "%s\n", m);
        _exit(good ? 0 : 1);
    }
    int rc;
    waitpid(child, &rc, 0);
    cr_assert_eq(rc, 0);
    test_dir_done(runs);
}

/* Everything there can be read by somebody who may not write. */
Test(run_dir, read_only_run_can_be_read)
{
    char *runs = test_dir(), *dir = finished_run(runs, "r", "x", HL_RUN_DONE);
    cr_assert_eq(chmod(dir, 0555), 0);
    cr_assert_eq(chmod(runs, 0555), 0);
    pid_t child = fork();
    if (child == 0) {
        hl_run *run;
        hl_run_list *list;
        hl_run_points p;
        hl_writer *w;
        if (getuid() == 0 && setuid(65534) != 0)
            _exit(2);
        bool good = hl_run_list_open(runs, &list) == HL_OK && hl_run_list_n(list) == 1 &&
                    hl_run_open(dir, &run) == HL_OK &&
                    hl_run_read_points(run, "train/loss", &p) == HL_OK && p.n == 1 &&
                    hl_run_get_row(run)->state == HL_RUN_DONE;
        good = good && hl_writer_open(dir, NULL, &w) == HL_E_IO &&
               strstr(hl_err_message(), "ermission denied");
        _exit(good ? 0 : 1);
    }
    int rc;
    waitpid(child, &rc, 0);
    cr_assert_eq(rc, 0);
    hl_free(dir);
    test_dir_done(runs);
}

/* ---- what rows know of quantizations ---- */

static void add_quantized(const char *runs, const char *id, const char *config, int n_tables)
{
    char *dir = test_run(runs, id), tag[40], table[200];
    cr_assert_eq(hl_run_dir_put_config(dir, config), HL_OK);
    for (int i = 0; i < n_tables; i++) {
        snprintf(tag, sizeof tag, "quantize/W%dA8", i);
        snprintf(table, sizeof table,
                 "{\"metric\":\"perplexity\",\"value_float\":5,\"value_simulated\":%d,"
                 "\"step\":7%s}",
                 6 + i, i == 1 ? ",\"value_mean\":99" : "");
        cr_assert_eq(hl_run_add_table(dir, 7, tag, table), HL_OK, "%s", hl_err_message());
    }
    hl_free(dir);
}

Test(list, rows_know_quantizations_and_methods)
{
    enum { MANY = HL_RUN_QUANTS + 2 };
    char *runs = test_dir();
    hl_run_list *list;
    add_quantized(runs, "a", "{\"seed\":1,\"name\":\"a\",\"optim\":{\"lr\":1}}", 2);
    add_quantized(runs, "b", "{\"seed\":2,\"name\":\"b\",\"optim\":{\"lr\":1}}", MANY);
    add_quantized(runs, "c", "{\"seed\":1,\"name\":\"a\",\"optim\":{\"lr\":2}}", 0);
    cr_assert_eq(hl_run_list_open(runs, &list), HL_OK);
    cr_assert_eq(hl_run_list_n(list), 3);
    const hl_run_row *a = hl_run_list_at(list, 0), *b = hl_run_list_at(list, 1),
                     *c = hl_run_list_at(list, 2);
    cr_expect(a->method && a->method == b->method, "seeds are no other method");
    cr_expect_neq(a->method, c->method);
    cr_assert_eq(a->n_quant, 2);
    cr_expect_str_eq(a->quant[0].recipe, "W0A8");
    cr_expect(a->quant[0].in_float == 5 && a->quant[0].quantized == 6);
    cr_expect_eq(a->quant[1].quantized, 99, "the mean over calibrations, where there is one");
    cr_expect(isnan(a->quant[0].executed) && a->quant[0].step == 7);
    cr_expect_eq(a->quant[0].key, hl_quant_key("quantize/W0A8"));
    cr_assert_eq(b->n_quant, HL_RUN_QUANTS);
    for (int i = 0; i < HL_RUN_QUANTS; i++)
        cr_expect_eq(b->quant[i].quantized, 6 + i + MANY - HL_RUN_QUANTS, "the oldest gave way");
    cr_expect_eq(c->n_quant, 0);
    hl_run_list_close(list);
    test_dir_done(runs);
}

/* ---- states ---- */

Test(state, names_come_back)
{
    for (int s = 0; s < HL_RUN_STATE_COUNT; s++)
        cr_assert_eq(hl_run_state_from(hl_run_state_name((hl_run_state)s)), (hl_run_state)s);
    cr_assert_eq(hl_run_state_from("flying"), HL_RUN_UNKNOWN);
}

Test(state, judged_from_lock_and_heartbeat)
{
    static const struct {
        hl_run_state written;
        hl_tristate live;
        double age, within;
        hl_run_state want;
    } cases[] = {
        {HL_RUN_RUNNING, HL_YES, 10, 30, HL_RUN_RUNNING},
        {HL_RUN_RUNNING, HL_YES, 100, 30, HL_RUN_SILENT},
        {HL_RUN_EVALUATING, HL_YES, 1100, 1200, HL_RUN_EVALUATING}, /* a long one, announced */
        {HL_RUN_RUNNING, HL_YES, 1e6, 30, HL_RUN_SILENT},           /* alive: never lost */
        {HL_RUN_RUNNING, HL_YES, 50, 0, HL_RUN_RUNNING},            /* nothing announced: 60 s */
        {HL_RUN_RUNNING, HL_YES, 70, 0, HL_RUN_SILENT},
        {HL_RUN_RUNNING, HL_NO, 0, 30, HL_RUN_LOST},
        {HL_RUN_STARTING, HL_NO, 0, 30, HL_RUN_LOST},
        {HL_RUN_DONE, HL_NO, 1e6, 30, HL_RUN_DONE},
        {HL_RUN_INTERRUPTED, HL_NO, 1e6, 30, HL_RUN_INTERRUPTED},
        {HL_RUN_QUEUED, HL_NO, 1e6, 0, HL_RUN_QUEUED},
        {HL_RUN_RUNNING, HL_UNKNOWN, 20, 30, HL_RUN_RUNNING}, /* another machine */
        {HL_RUN_RUNNING, HL_UNKNOWN, 60, 30, HL_RUN_SILENT},
        {HL_RUN_RUNNING, HL_UNKNOWN, 2000, 30, HL_RUN_LOST},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double late;
        hl_run_state got =
            hl_state_judge(cases[i].written, cases[i].live, cases[i].age, cases[i].within, &late);
        cr_assert_eq(got, cases[i].want, "case %zu: %s", i, hl_run_state_name(got));
        cr_assert((late > 0) == (got == HL_RUN_SILENT || (got == HL_RUN_LOST && late > 0)));
    }
}

/* What the lock file says is believed only when the process fits. */
Test(state, lock_of_a_process_that_is_gone)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    hl_lock *lock;
    hl_lock_view v;
    hl_lock_look(dir, &v);
    cr_assert(!v.exists && hl_lock_is_live(&v) == HL_NO);
    cr_assert_eq(hl_lock_take(dir, &lock), HL_OK);
    hl_lock_look(dir, &v);
    cr_assert(v.named && v.pid == getpid() && v.locked == HL_YES && v.process == HL_YES);
    cr_assert_eq(hl_lock_is_live(&v), HL_YES);
    char *held = test_read(dir, "lock");
    char *other = test_run(runs, "copy"); /* a copied directory is not live */
    touch(other, "lock", held);
    hl_lock_look(other, &v);
    cr_assert(v.named && v.locked == HL_NO && hl_lock_is_live(&v) == HL_NO);
    hl_lock_release(lock);
    hl_lock_look(dir, &v);
    cr_assert(!v.named && hl_lock_is_live(&v) == HL_NO);
    /* the same process id, started at another time: somebody else by now */
    hl_json *holder;
    hl_str text = {0};
    cr_assert_eq(hl_json_parse(held, strlen(held), &holder), HL_OK);
    hl_json_begin(&text, '{');
    hl_json_put_int(&text, "start", 1);
    static const char *const same[] = {"pid", "boot", "space", "host"};
    for (size_t i = 0; i < 4; i++) {
        hl_json_add_key(&text, same[i]);
        hl_json_add_value(&text, hl_json_get(holder, same[i]));
    }
    hl_json_end(&text, '}');
    hl_json_free(holder);
    touch(dir, "lock", text.s);
    hl_str_done(&text);
    hl_lock_look(dir, &v);
    cr_assert(v.named && v.process == HL_NO && hl_lock_is_live(&v) == HL_NO);
    /* another machine: cannot be seen */
    touch(dir, "lock",
          "{\"pid\":1,\"start\":5,\"boot\":\"x\",\"space\":\"y\",\"host\":\"elsewhere\"}");
    hl_lock_look(dir, &v);
    cr_assert(v.named && v.process == HL_UNKNOWN && hl_lock_is_live(&v) == HL_UNKNOWN);
    cr_assert_str_eq(v.host, "elsewhere");
    touch(dir, "lock", "rubbish {{{");
    hl_lock_look(dir, &v);
    cr_assert(!v.named && hl_lock_is_live(&v) == HL_NO);
    hl_free(held);
    hl_free(other);
    hl_free(dir);
    test_dir_done(runs);
}

Test(state, live_run_seen_from_another_process)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    int ready[2];
    char c;
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        hl_writer *w;
        if (hl_writer_open(dir, NULL, &w) != HL_OK)
            _exit(1);
        hl_writer_set_state(w, 0, &(hl_state_note){HL_RUN_RUNNING, NULL, NULL, 100});
        hl_writer_heartbeat(w, 0, 30, "compiling");
        hl_writer_sink(w).flush(w);
        hl_clock_sleep_ms(1500); /* the summary is written */
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        pause();
    }
    cr_assert_eq(read(ready[0], &c, 1), 1);
    hl_run *run;
    cr_assert_eq(hl_run_open(dir, &run), HL_OK);
    cr_assert_eq(hl_run_get_row(run)->state, HL_RUN_RUNNING);
    cr_assert_eq(hl_run_get_row(run)->pid, child);
    cr_assert_str_eq(hl_run_get_row(run)->phase, "compiling");
    cr_assert_eq(hl_run_discard(dir), HL_E_STATE);
    cr_assert_eq(hl_run_remove(dir), HL_E_STATE);
    cr_assert(strstr(hl_err_message(), "is being written by process"), "%s", hl_err_message());
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    cr_assert_eq(hl_run_refresh(run), HL_OK);
    cr_assert_eq(hl_run_get_row(run)->state, HL_RUN_LOST);
    hl_run_close(run);
    cr_assert_eq(hl_run_remove(dir), HL_OK, "%s", hl_err_message());
    cr_assert_not(exists(runs, "r"));
    hl_free(dir);
    test_dir_done(runs);
}

/* ---- lists ---- */

Test(list, a_thousand_runs)
{
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME"); /* nothing is kept of it */
    char *runs = test_dir(),
         *first = finished_run(runs, "20260101-000000-000000", "n", HL_RUN_DONE);
    char *text = test_read(first, "summary.json"), id[32];
    hl_run_list *list;
    for (int i = 1; i < 1000; i++) {
        snprintf(id, sizeof id, "20260101-000000-%06x", (unsigned)i);
        char *dir = hl_fs_join(runs, id);
        cr_assert_eq(hl_fs_make_dir(dir), HL_OK);
        touch(dir, "summary.json", text);
        hl_free(dir);
    }
    int64_t t0 = hl_clock_mono_ns();
    cr_assert_eq(hl_run_list_open(runs, &list), HL_OK);
    int64_t t1 = hl_clock_mono_ns();
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    int64_t t2 = hl_clock_mono_ns();
    cr_assert_eq(hl_run_list_n(list), 1000);
    fprintf(stderr, "1000 runs: %.1f ms, again %.1f ms\n", (double)(t1 - t0) / 1e6,
            (double)(t2 - t1) / 1e6);
    cr_assert_lt(t1 - t0, INT64_C(3000000000)); /* a shared, instrumented machine; normally 50 ms */
    hl_run_list_close(list);
    hl_free(text);
    hl_free(first);
    test_dir_done(runs);
}

Test(list, shows_what_changed)
{
    char *runs = test_dir(), *store = hl_fs_join(runs, "store");
    hl_run_list *list;
    cr_assert_eq(hl_run_list_open(store, &list), HL_OK); /* not there yet: empty */
    cr_assert_eq(hl_run_list_n(list), 0);
    char *b = finished_run(store, "b", "second", HL_RUN_DONE);
    cr_assert_eq(hl_fs_make_dir(runs), HL_OK);
    touch(store, "notes.txt", "not a run");
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_assert_eq(hl_run_list_n(list), 1);
    char *a = finished_run(store, "a", "third", HL_RUN_FAILED);
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_assert_eq(hl_run_list_n(list), 2);
    const hl_run_row *row = hl_run_list_at(list, 1); /* newest last, whatever its name */
    cr_assert_str_eq(row->id, "a");
    cr_assert_eq(row->state, HL_RUN_FAILED);
    cr_assert_str_eq(row->reason, "request");
    cr_assert_str_eq(row->message, "because");
    cr_assert_str_eq(row->tags, "table1 softmax1");
    cr_assert_str_eq(row->project, "outeffhop");
    cr_assert_str_eq(row->eval_tag, "eval/ppl");
    cr_assert_str_eq(row->checkpoint, "ckpt/step-0000000009");
    cr_assert(row->loss == 2.5 && row->eval == 12.25 && row->step == 9 && row->step_total == 100);
    char *summary = hl_fs_join(b, "summary.json"); /* gone: read from the events */
    unlink(summary);
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_assert_eq(hl_run_list_at(list, 0)->loss, 2.5);
    cr_assert_eq(hl_run_list_at(list, 0)->state, HL_RUN_DONE);
    touch(b, "summary.json", "{ broken");
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_assert_eq(hl_run_list_at(list, 0)->loss, 2.5);
    char *c = finished_run(store, "c", "fourth", HL_RUN_DONE); /* emptied, its folder is still there */
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_assert_eq(hl_run_list_n(list), 3);
    cr_assert_eq(hl_fs_remove_tree(c), HL_OK);
    cr_assert_eq(hl_fs_make_dir(c), HL_OK);
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_assert_eq(hl_run_list_n(list), 2);
    hl_free(c);
    cr_assert_eq(hl_run_remove(b), HL_OK);
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_assert_eq(hl_run_list_n(list), 1);
    hl_run_list_close(list);
    hl_free(summary);
    hl_free(a);
    hl_free(b);
    hl_free(store);
    test_dir_done(runs);
}

/* Readers in a process without memory fail, or not, and leave nothing behind. */
Test(list, lives_through_failing_allocations)
{
    char *runs = test_dir();
    hl_free(finished_run(runs, "a", "first", HL_RUN_DONE));
    char *dir = finished_run(runs, "b", "second", HL_RUN_DONE);
    for (int64_t n = 0; n < 400; n++) {
        hl_run_list *list;
        hl_run *run;
        hl_run_points p;
        char *found;
        int64_t live = hl_mem_get_stats().live_bytes;
        hl_mem_fail_after(n);
        if (hl_run_list_open(runs, &list) == HL_OK) {
            if (hl_run_list_refresh(list) != HL_OK)
                cr_assert_eq(hl_err_code(), HL_E_NOMEM);
            hl_run_list_close(list);
        }
        if (hl_run_find(runs, "second", &found) == HL_OK)
            hl_free(found);
        if (hl_run_open(dir, &run) == HL_OK) {
            if (hl_run_read_points(run, "train/loss", &p) == HL_OK)
                hl_run_points_done(&p);
            hl_run_close(run);
        }
        hl_mem_fail_after(-1);
        cr_assert_eq(hl_mem_get_stats().live_bytes, live, "allocation %lld", (long long)n);
    }
    hl_free(dir);
    test_dir_done(runs);
}

/* ---- finding ---- */

static void assert_finds(const char *runs, const char *text, const char *want)
{
    char *dir = NULL;
    hl_status st = hl_run_find(runs, text, &dir);
    if (!want) {
        cr_assert_eq(st, HL_E_NOTFOUND, "'%s' found %s", text, dir ? dir : "");
        return;
    }
    cr_assert_eq(st, HL_OK, "'%s': %s", text, hl_err_message());
    cr_assert_str_eq(hl_fs_base(dir), want, "'%s' found %s", text, dir);
    hl_free(dir);
}

Test(find, every_way_to_name_a_run)
{
    char *runs = test_dir();
    hl_free(finished_run(runs, "20260131-142233-7f3a9c", "bert", HL_RUN_DONE));
    hl_free(finished_run(runs, "20260131-142300-7f0000", "opt", HL_RUN_DONE));
    hl_free(finished_run(runs, "20260201-080000-aa3a9c", "opt", HL_RUN_DONE));
    char *last = finished_run(runs, "20260202-090000-bbbbbb", "7f3a9c", HL_RUN_DONE);
    assert_finds(runs, "20260131-142233-7f3a9c", "20260131-142233-7f3a9c");
    assert_finds(runs, "bert", "20260131-142233-7f3a9c");
    assert_finds(runs, "20260201", "20260201-080000-aa3a9c");
    assert_finds(runs, "7f0000", "20260131-142300-7f0000");
    assert_finds(runs, "7f3a9c", "20260202-090000-bbbbbb"); /* a name before the tail of an id */
    assert_finds(runs, "last", "20260202-090000-bbbbbb");
    assert_finds(runs, last, "20260202-090000-bbbbbb");
    assert_finds(runs, "20260131", NULL);
    cr_assert(strstr(hl_err_message(), "fits 2 runs") &&
                  strstr(hl_err_message(), "20260131-142300-7f0000"),
              "%s", hl_err_message());
    assert_finds(runs, "opt", NULL);
    assert_finds(runs, "3a9c", NULL);
    assert_finds(runs, "brt", NULL);
    cr_assert(strstr(hl_err_message(), "did you mean 'bert'?"), "%s", hl_err_message());
    assert_finds(runs, "", NULL);
    assert_finds(runs, "/nowhere/run", NULL);
    assert_finds(runs, runs, NULL);
    cr_assert(strstr(hl_err_message(), "is not a run"), "%s", hl_err_message());
    char *empty = hl_fs_join(runs, "empty");
    assert_finds(empty, "last", NULL);
    cr_assert(strstr(hl_err_message(), "there are no runs in"), "%s", hl_err_message());
    hl_free(empty);
    hl_free(last);
    test_dir_done(runs);
}

/* ---- removing ---- */

Test(remove, stays_inside_the_run)
{
    char *top = test_dir(), *runs = hl_fs_join(top, "runs"), *outside = hl_fs_join(top, "outside");
    cr_assert_eq(hl_fs_make_dir(outside), HL_OK);
    touch(outside, "precious", "x");
    char *dir = finished_run(runs, "r", "x", HL_RUN_DONE);
    char *link_in = hl_fs_join(dir, "fig"), *file_in = hl_fs_join(dir, "data");
    char *precious = hl_fs_join(outside, "precious"), *alias = hl_fs_join(runs, "alias");
    cr_assert_eq(symlink(outside, link_in), 0);
    cr_assert_eq(symlink(precious, file_in), 0);
    cr_assert_eq(symlink(dir, alias), 0);
    cr_assert_eq(hl_run_remove(alias), HL_E_ARG); /* a link to a run is not the run */
    cr_assert(exists(runs, "r"));
    cr_assert_eq(hl_run_remove(outside), HL_E_ARG);
    cr_assert_eq(hl_run_remove(runs), HL_E_ARG);
    cr_assert_eq(hl_run_remove("/"), HL_E_ARG);
    touch(outside, "summary.json", "{}");
    touch(outside, "run.json", "{\"name\":\"no id\"}");
    cr_assert_eq(hl_run_remove(outside), HL_E_ARG);
    cr_assert_eq(hl_run_remove(dir), HL_OK, "%s", hl_err_message());
    cr_assert_not(exists(runs, "r"));
    cr_assert(exists(outside, "precious"));
    hl_fs_list left;
    cr_assert_eq(hl_fs_list_dir(runs, &left), HL_OK);
    cr_assert_eq(left.n, 1); /* the alias, dangling; no trash */
    hl_fs_list_free(&left);
    char *all[] = {runs, outside, dir, link_in, file_in, precious, alias};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        hl_free(all[i]);
    test_dir_done(top);
}

Test(remove, checkpoints)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    char *a = hl_fs_join(dir, "ckpt/step-0000000001"), *linked = hl_fs_join(dir, "ckpt/step-2");
    cr_assert_eq(hl_fs_make_dir(a), HL_OK);
    touch(a, "DONE", "");
    cr_assert_eq(symlink(runs, linked), 0);
    cr_assert(hl_run_dir_has_checkpoint(dir, "step-0000000001"));
    cr_assert_eq(hl_checkpoint_remove(dir, "../../r"), HL_E_ARG);
    cr_assert_eq(hl_checkpoint_remove(dir, ".."), HL_E_ARG);
    cr_assert_eq(hl_checkpoint_remove(dir, "step-2"), HL_E_NOTFOUND); /* a link */
    cr_assert_eq(hl_checkpoint_remove(dir, "step-3"), HL_E_NOTFOUND);
    cr_assert_eq(hl_checkpoint_remove(dir, "step-0000000001"), HL_OK, "%s", hl_err_message());
    cr_assert_not(exists(dir, "ckpt/step-0000000001"));
    char *trash = hl_fs_join(dir, ".trash-left-by-a-crash");
    cr_assert_eq(hl_fs_make_dir(trash), HL_OK);
    hl_trash_sweep(dir);
    cr_assert_not(exists(dir, ".trash-left-by-a-crash"));
    cr_assert(exists(dir, "run.json"));
    char *all[] = {a, linked, trash, dir};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        hl_free(all[i]);
    test_dir_done(runs);
}

Test(remove, retention_keeps_last_best_and_every_kth)
{
    const int64_t steps[] = {100, 200, 250, 300, 400, 450};
    bool keep[6];
    hl_retention_choose((hl_retention){.best = 250, .every = 200}, steps, 6, keep);
    const bool want[] = {false, true, true, false, true, true};
    cr_assert_eq(memcmp(keep, want, sizeof want), 0);
    hl_retention_choose((hl_retention){.best = -1, .every = 0}, steps, 6, keep);
    for (int i = 0; i < 6; i++)
        cr_assert_eq(keep[i], i == 5);
    hl_retention_choose((hl_retention){.best = -1}, steps, 0, keep);
}

/* ---- the outline of the loss ---- */

Test(trace, holds_any_number_of_points)
{
    for (int64_t n = 1; n < 5000; n = n * 3 / 2 + 1) {
        hl_trace t = {0};
        for (int64_t i = 0; i < n; i++)
            hl_trace_add(&t, (double)i);
        cr_assert(t.n == (n + t.wide - 1) / t.wide && t.n <= HL_TRACE_MAX, "%lld", (long long)n);
        cr_assert(t.wide == 1 || t.n > HL_TRACE_MAX / 2);
        for (int i = 0; i < t.n; i++) {
            int64_t from = i * t.wide, to = i == t.n - 1 ? n : from + t.wide;
            cr_assert_float_eq(hl_trace_mean(&t, i), (double)(from + to - 1) / 2, 1e-9);
        }
    }
}

Test(trace, not_finite)
{
    hl_trace t = {0};
    for (int i = 0; i < 64; i++)
        hl_trace_add(&t, i == 3 ? (double)INFINITY : i == 4 ? (double)-INFINITY : 1);
    for (int i = 0; i < 32; i++)
        cr_assert(i == 1 || i == 2 ? isnan(hl_trace_mean(&t, i)) : hl_trace_mean(&t, i) == 1);
}

/* The summary shows the series that the row names, whichever came first, also when made again. */
Test(trace, series_of_the_row)
{
    static const char *const tags[] = {"grad", "eval/loss", "train/aux_loss", "train/b_loss",
                                       "train/loss"};
    static const int shown[] = {-1, 1, 2, 2, 4};
    char *runs = test_dir();
    for (int n = 0; n < 5; n++) {
        char id[8];
        hl_writer *w;
        snprintf(id, sizeof id, "r%d", n);
        char *dir = test_run(runs, id);
        cr_assert_eq(hl_writer_open(dir, NULL, &w), HL_OK);
        hl_sink s = hl_writer_sink(w);
        for (int step = 0; step < 100; step++)
            for (int k = 0; k <= n; k++)
                if (step >= 10 * k)
                    s.scalar(s.self, s.series(s.self, tags[k], HL_SERIES_SCALAR, NULL), step, k);
        cr_assert_eq(hl_writer_close(w), HL_OK);
        cr_assert(test_summary_is_right(dir));
        hl_run *run;
        cr_assert_eq(hl_run_open(dir, &run), HL_OK);
        const hl_run_row *row = hl_run_get_row(run);
        cr_assert_str_eq(row->loss_tag, shown[n] < 0 ? "" : tags[shown[n]]);
        cr_assert_eq(row->n_trace > 0, shown[n] >= 0);
        for (int i = 0; i < row->n_trace; i++)
            cr_assert_eq(row->trace[i], (float)shown[n]);
        hl_run_close(run);
        hl_free(dir);
    }
    test_dir_done(runs);
}

Test(list, counts_changes)
{
    hl_run_list *list;
    char *runs = test_dir(), *dir = test_run(runs, "a"), *stranger = hl_fs_join(runs, "b");
    cr_assert_eq(hl_fs_make_dir(stranger), HL_OK);
    cr_assert_eq(hl_run_list_open(runs, &list), HL_OK);
    int64_t n = hl_run_list_changes(list);
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_assert_eq(hl_run_list_changes(list), n, "nothing has changed");
    hl_writer *w;
    cr_assert_eq(hl_writer_open(dir, NULL, &w), HL_OK);
    test_put_losses(w, 0, 3);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_assert_gt(hl_run_list_changes(list), n);
    char *summary = hl_fs_join(dir, "summary.json"); /* another program's run has none */
    cr_assert_eq(unlink(summary), 0);
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    n = hl_run_list_changes(list);
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_assert_eq(hl_run_list_changes(list), n, "the events are read once");
    cr_assert_eq(hl_fs_remove_tree(dir), HL_OK);
    cr_assert_eq(hl_run_list_refresh(list), HL_OK);
    cr_assert_gt(hl_run_list_changes(list), n);
    hl_run_list_close(list);
    hl_free(summary);
    hl_free(stranger);
    hl_free(dir);
    test_dir_done(runs);
}
