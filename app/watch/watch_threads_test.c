/* A watch against real runs: lists that change, runs that are written while they are followed,
 * resumed, damaged, deleted; orders while the ring is full; sleep when nothing happens. A plain
 * program, so that the thread sanitizer can watch it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/store/store_test.h"
#include "engine/base/thread.h"

#define WAIT_MS   20000
#define N_SLOTS   4
#define N_MANY    40000 /* points, more than the ring has room for */
#define RESUME_AT 3000
#define N_STEPS   5000
#define N_LIFE    10

static int n_failed;

#define EXPECT(ok)                                                                                 \
    do {                                                                                           \
        if (!(ok)) {                                                                               \
            fprintf(stderr, "FAILED: line %d: %s\n", __LINE__, #ok);                               \
            n_failed++;                                                                            \
        }                                                                                          \
    } while (0)

/* ---- what the watch told ---- */

typedef struct life {
    int n_followed, n_unfollowed, n_failed, n_facts;
    bool is_open, has_config;
    size_t n_series, loss; /* loss: its index */
    int64_t next;          /* step that the loss must show next */
    int64_t n_points, n_hist, n_curve, n_json, n_lines, n_read, superseded, damages, done, total;
    bool caught_up;
    int n_wrong; /* items out of place */
} life;

typedef struct heard {
    hl_run_rows *rows;
    int n_lists, n_list_failures;
    life slot[N_SLOTS];
    int n_edits, n_edited, n_edit_troubles;
} heard;

static void hear_series(life *l, const hl_watch_item *item)
{
    l->n_wrong += item->series != l->n_series;
    l->n_series = item->series + 1;
    if (strcmp(item->u.info.tag, "train/loss") == 0)
        l->loss = item->series;
}

static void hear_point(life *l, const hl_watch_item *item)
{
    l->n_points++;
    l->n_wrong += item->series >= l->n_series || item->t_us <= 0;
    if (item->series != l->loss)
        return;
    l->n_wrong += item->step != l->next;
    l->n_wrong += item->u.value != (double)(float)(10.0 - (double)item->step / 100);
    l->next = item->step + 1;
}

static void hear_of_run(life *l, const hl_watch_item *item)
{
    const bool value = item->kind >= HL_WATCH_SERIES && item->kind <= HL_WATCH_PROGRESS;
    l->n_wrong += value && !l->is_open;
    switch (item->kind) {
    case HL_WATCH_FOLLOWED: {
        const life was = *l;
        *l = (life){.n_followed = was.n_followed + 1, .n_unfollowed = was.n_unfollowed};
        l->n_failed = was.n_failed;
        l->n_wrong = was.n_wrong;
        l->is_open = true;
        l->loss = SIZE_MAX;
        l->superseded = -1;
        l->has_config = item->u.facts.config != NULL;
        l->n_facts = item->u.facts.run != NULL;
        break;
    }
    case HL_WATCH_FACTS:
        l->has_config = item->u.facts.config != NULL;
        break;
    case HL_WATCH_SERIES:
        hear_series(l, item);
        break;
    case HL_WATCH_POINT:
        hear_point(l, item);
        break;
    case HL_WATCH_HIST:
        l->n_hist += item->u.hist->num == 3;
        break;
    case HL_WATCH_CURVE:
        l->n_curve +=
            item->u.curve.rows == 1 && item->u.curve.cols == 2 && item->u.curve.v[1] == 2.0F;
        break;
    case HL_WATCH_JSON:
        l->n_json++;
        l->n_wrong += item->u.json.text[item->u.json.n] != '\0' || item->u.json.text[0] != '{';
        break;
    case HL_WATCH_PAGE: /* more of them: views/log_list_test.c */
        l->n_wrong += !item->u.page->is_done || item->u.page->want.serial != 7;
        l->n_read += (int64_t)item->u.page->lines.n;
        break;
    case HL_WATCH_LINE:
        l->n_wrong += item->u.line.number != l->n_lines || !item->u.line.text[0];
        l->n_lines++;
        break;
    case HL_WATCH_SUPERSEDED:
        l->superseded = item->step;
        l->next = item->step;
        break;
    case HL_WATCH_PROGRESS:
        l->damages = item->u.progress.damages;
        l->caught_up = item->u.progress.caught_up;
        l->done = item->u.progress.done;
        l->total = item->u.progress.total;
        break;
    case HL_WATCH_FAILED:
        l->n_failed++;
        break;
    case HL_WATCH_UNFOLLOWED:
        l->n_unfollowed++;
        l->is_open = false;
        break;
    case HL_WATCH_LIST:
    case HL_WATCH_EDITED:
    case HL_WATCH_DUG:
    case HL_WATCH_KIND_COUNT:
        l->n_wrong++;
        break;
    }
}

static void hear(heard *h, hl_watch_item *item)
{
    if (item->kind == HL_WATCH_LIST) {
        EXPECT(item->slot == -1);
        hl_run_rows_free(h->rows);
        h->rows = item->u.rows;
        item->u.rows = NULL;
        h->n_lists++;
    } else if (item->kind == HL_WATCH_EDITED) {
        h->n_edits++;
        h->n_edited += item->u.edited.n_done;
        h->n_edit_troubles += item->u.edited.message != NULL;
    } else if (item->slot < 0) {
        EXPECT(item->kind == HL_WATCH_FAILED);
        h->n_list_failures++;
    } else {
        hear_of_run(&h->slot[item->slot], item);
    }
    hl_watch_item_done(item);
}

/* Takes items for so long. */
static void listen(hl_watch *w, heard *h, int ms)
{
    const int64_t end = hl_clock_mono_ns() + (int64_t)ms * 1000000;
    hl_watch_item item;
    do {
        struct pollfd fd = {hl_watch_fd(w), POLLIN, 0};
        poll(&fd, 1, 5);
        while (hl_watch_take(w, &item))
            hear(h, &item);
    } while (hl_clock_mono_ns() < end);
}

#define LISTEN_UNTIL(w, h, condition)                                                              \
    do {                                                                                           \
        for (int waited_ms = 0; !(condition) && waited_ms < WAIT_MS; waited_ms += 10)              \
            listen((w), (h), 10);                                                                  \
        EXPECT(condition);                                                                         \
    } while (0)

static hl_watch *start(const char *runs, heard *h)
{
    hl_watch *w = NULL;
    *h = (heard){0};
    if (hl_watch_open(runs, &w) != HL_OK)
        abort();
    LISTEN_UNTIL(w, h, h->rows);
    return w;
}

static void end(hl_watch *w, heard *h)
{
    hl_watch_close(w);
    hl_run_rows_free(h->rows);
    for (int i = 0; i < N_SLOTS; i++)
        EXPECT(h->slot[i].n_wrong == 0);
}

static hl_run_state state_of(const heard *h, const char *id)
{
    for (size_t i = 0; h->rows && i < h->rows->n; i++)
        if (strcmp(h->rows->at[i].id, id) == 0)
            return h->rows->at[i].state;
    return HL_RUN_STATE_COUNT;
}

static bool sleeps(hl_watch *w, heard *h)
{
    listen(w, h, 600); /* looks that notices have asked for */
    const int64_t before = hl_watch_wakeups(w);
    listen(w, h, 1300);
    if (hl_watch_wakeups(w) != before)
        fprintf(stderr, "woken %lld times\n", (long long)(hl_watch_wakeups(w) - before));
    return hl_watch_wakeups(w) == before;
}

/* ---- runs ---- */

static hl_writer *writer_of(const char *dir, const hl_writer_opts *opts)
{
    hl_writer *w = NULL;
    if (hl_writer_open(dir, opts, &w) != HL_OK)
        abort();
    return w;
}

static void finish(hl_writer *w, int64_t step)
{
    hl_writer_set_state(w, step, &(hl_state_note){HL_RUN_DONE, NULL, NULL, step});
    EXPECT(hl_writer_close(w) == HL_OK);
}

static char *done_run(const char *runs, const char *id, int64_t n)
{
    char *dir = test_run(runs, id);
    hl_writer *w = writer_of(dir, NULL);
    test_put_losses(w, 0, n);
    finish(w, n);
    return dir;
}

/* ---- tests ---- */

static void test_list(const char *runs)
{
    heard h;
    for (int i = 0; i < 5; i++) {
        char id[8];
        snprintf(id, sizeof id, "r%d", i);
        hl_free(done_run(runs, id, 100));
    }
    char *gated = test_run(runs, "gated");
    EXPECT(hl_run_dir_put_config(gated, "{\"model\":{\"attention\":{\"softmax\":\"clipped\","
                                        "\"gate\":\"conditional_per_token\"}}}") == HL_OK);
    hl_writer *writer = writer_of(gated, NULL);
    hl_sink s = hl_writer_sink(writer);
    s.scalar(s.self, s.series(s.self, "train/loss", HL_SERIES_SCALAR, NULL), 1, (double)NAN);
    s.scalar(s.self, s.series(s.self, "eval/max_inf_norm", HL_SERIES_SCALAR, NULL), 1, 12);
    finish(writer, 1);
    char *lost = test_run(runs, "lost");
    writer = writer_of(lost, NULL);
    hl_writer_set_state(writer, 0, &(hl_state_note){HL_RUN_RUNNING, NULL, NULL, 10});
    EXPECT(hl_writer_close(writer) == HL_OK); /* without a farewell */

    hl_watch *w = start(runs, &h);
    EXPECT(h.rows->n == 7);
    EXPECT(state_of(&h, "r3") == HL_RUN_DONE && state_of(&h, "lost") == HL_RUN_LOST);
    const hl_run_row *row = &h.rows->at[0], *last = &h.rows->at[5];
    EXPECT(row->n_trace == 25 && row->trace[0] == 9.985F && strcmp(row->variant, "") == 0);
    EXPECT(!row->has_max_inf_norm && row->n_non_finite == 0);
    EXPECT(strcmp(last->variant, "clipped+gate") == 0 && last->n_non_finite == 1);
    EXPECT(last->has_max_inf_norm && last->max_inf_norm == 12 && !last->has_kurtosis);
    EXPECT(last->n_trace == 1 && isnan(last->trace[0]));
    EXPECT(sleeps(w, &h));
    const int n_lists = h.n_lists;
    hl_watch_look(w);
    listen(w, &h, 300);
    EXPECT(h.n_lists == n_lists);

    /* A run that was lost is resumed and ends. */
    writer = writer_of(lost, &(hl_writer_opts){.resume = true, .resume_step = 0});
    hl_writer_set_state(writer, 0, &(hl_state_note){HL_RUN_RUNNING, NULL, NULL, 10});
    LISTEN_UNTIL(w, &h, state_of(&h, "lost") == HL_RUN_RUNNING);
    finish(writer, 10);
    LISTEN_UNTIL(w, &h, state_of(&h, "lost") == HL_RUN_DONE);
    EXPECT(hl_fs_remove_tree(gated) == HL_OK);
    LISTEN_UNTIL(w, &h, h.rows->n == 6);
    EXPECT(sleeps(w, &h) && h.n_list_failures == 0);
    end(w, &h);
    hl_free(gated);
    hl_free(lost);
}

static void test_appears(const char *top)
{
    heard h;
    char *runs = hl_fs_join(top, "not/yet/there");
    hl_watch *w = start(runs, &h);
    EXPECT(h.rows->n == 0 && sleeps(w, &h));
    char *dir = done_run(runs, "a", 3);
    LISTEN_UNTIL(w, &h, state_of(&h, "a") == HL_RUN_DONE);
    hl_free(done_run(runs, "b", 3));
    LISTEN_UNTIL(w, &h, h.rows->n == 2 && state_of(&h, "b") == HL_RUN_DONE);
    EXPECT(hl_fs_remove_tree(runs) == HL_OK);
    LISTEN_UNTIL(w, &h, h.rows->n == 0);
    EXPECT(sleeps(w, &h));
    hl_free(dir);
    dir = done_run(runs, "c", 3);
    LISTEN_UNTIL(w, &h, state_of(&h, "c") == HL_RUN_DONE);
    end(w, &h);
    hl_free(dir);
    hl_free(runs);
}

/* What people do to runs is done by the thread, told after the list, and wakes nobody later. */
static void test_edit(const char *runs)
{
    heard h;
    char *a = done_run(runs, "a", 100), *b = done_run(runs, "b", 100);
    const char *const both[] = {a, b};
    hl_watch *w = start(runs, &h);
    EXPECT(hl_watch_edit(w, HL_EDIT_TAG, "good", both, 2) == HL_OK);
    LISTEN_UNTIL(w, &h, h.n_edits == 1);
    EXPECT(h.n_edited == 2 && h.n_edit_troubles == 0);
    EXPECT(h.rows->n == 2 && strstr(h.rows->at[0].tags, "good") &&
           strstr(h.rows->at[1].tags, "good"));
    EXPECT(hl_watch_edit(w, HL_EDIT_DELETE, NULL, both, 1) == HL_OK);
    LISTEN_UNTIL(w, &h, h.n_edits == 2);
    EXPECT(h.rows->n == 1 && h.n_edited == 3);
    EXPECT(hl_watch_edit(w, HL_EDIT_ARCHIVE, NULL, both, 2) == HL_OK); /* one is gone */
    LISTEN_UNTIL(w, &h, h.n_edits == 3);
    EXPECT(h.n_edited == 4 && h.n_edit_troubles == 1 && h.rows->at[0].archived);
    EXPECT(sleeps(w, &h));
    EXPECT(hl_watch_edit(w, HL_EDIT_NOTE, "given up", both, 2) == HL_OK); /* not waited for */
    end(w, &h);
    hl_free(a);
    hl_free(b);
}

static void write_run(void *dir)
{
    const hl_hist hist = {.num = 3};
    const float curve[2] = {1, 2};
    const hl_writer_opts resume = {.resume = true, .resume_step = RESUME_AT};
    for (int k = 0; k < 2; k++) {
        const int64_t from = k ? RESUME_AT : 0, to = k ? N_STEPS : N_STEPS - 1000;
        hl_writer *w = writer_of(dir, k ? &resume : NULL);
        hl_sink s = hl_writer_sink(w);
        for (int64_t i = from; i < to; i += 500) {
            test_put_losses(w, i, i + 500);
            s.hist(s.self, s.series(s.self, "h", HL_SERIES_HIST, NULL), i, &hist);
            s.curve(s.self, s.series(s.self, "c", HL_SERIES_CURVE, NULL), i, curve, 1, 2);
            hl_writer_log(w, HL_LOG_INFO, i, "a line");
            hl_clock_sleep_ms(60);
        }
        finish(w, to);
        hl_clock_sleep_ms(400);
    }
}

static void test_follow(const char *runs)
{
    heard h;
    hl_thread *writer = NULL;
    char *dir = test_run(runs, "live");
    hl_watch *w = start(runs, &h);
    const life *l = &h.slot[2];
    EXPECT(hl_watch_follow(w, HL_WATCH_SLOTS, dir) == HL_E_ARG);
    EXPECT(hl_watch_follow(w, 2, dir) == HL_OK);
    LISTEN_UNTIL(w, &h, l->n_followed == 1 && l->caught_up);
    EXPECT(!l->has_config && l->n_facts == 1);
    EXPECT(hl_run_dir_put_config(dir, "{}") == HL_OK);
    LISTEN_UNTIL(w, &h, l->has_config);
    EXPECT(hl_thread_start("writer", write_run, dir, &writer) == HL_OK);
    LISTEN_UNTIL(w, &h, state_of(&h, "live") != HL_RUN_QUEUED);
    LISTEN_UNTIL(w, &h, l->superseded == RESUME_AT);
    LISTEN_UNTIL(w, &h, l->next == N_STEPS && state_of(&h, "live") == HL_RUN_DONE);
    hl_thread_join(writer);
    EXPECT(l->n_points == N_STEPS - 1000 + N_STEPS - RESUME_AT);
    EXPECT(l->n_hist == 12 && l->n_curve == 12 && l->n_lines >= 12 && l->n_followed == 1);
    hl_log_want want = {.from = HL_LOG_END, .back = true, .n = 5, .number = -1, .percent = -1};
    want.serial = 7;
    EXPECT(hl_watch_log(w, 3, &want) == HL_E_ARG && hl_watch_log(w, 2, &want) == HL_OK);
    LISTEN_UNTIL(w, &h, l->n_read == 5);
    EXPECT(l->n_wrong == 0);
    EXPECT(l->damages == 0 && l->n_failed == 0 && sleeps(w, &h));
    EXPECT(test_summary_is_right(dir));
    hl_watch_unfollow(w, 2);
    hl_watch_unfollow(w, 2);
    LISTEN_UNTIL(w, &h, l->n_unfollowed == 1);
    end(w, &h);
    hl_free(dir);
}

static void flip_byte(const char *dir, int64_t back)
{
    hl_fs_list names = {0};
    EXPECT(hl_fs_list_dir(dir, &names) == HL_OK);
    for (size_t i = 0; i < names.n; i++) {
        if (!hl_str_starts(names.name[i], HL_SEGMENT_PREFIX))
            continue;
        char *path = hl_fs_join(dir, names.name[i]), c = 0;
        const off_t at = (off_t)(hl_fs_size(path) - back);
        const int fd = open(path, O_RDWR | O_CLOEXEC);
        EXPECT(pread(fd, &c, 1, at) == 1);
        c = (char)(c ^ 1);
        EXPECT(pwrite(fd, &c, 1, at) == 1);
        close(fd);
        hl_free(path);
    }
    hl_fs_list_free(&names);
}

static void test_damaged_and_deleted(const char *runs)
{
    heard h;
    char *dir = done_run(runs, "damaged", 1000);
    flip_byte(dir, 20000);
    hl_watch *w = start(runs, &h);
    const life *l = &h.slot[0];
    EXPECT(hl_watch_follow(w, 0, dir) == HL_OK);
    LISTEN_UNTIL(w, &h, l->caught_up);
    EXPECT(l->damages == 1 && l->n_points == 999 && l->n_wrong == 1);
    EXPECT(l->done == l->total && l->done > 20000);
    h.slot[0].n_wrong = 0; /* the gap */
    EXPECT(hl_fs_remove_tree(dir) == HL_OK);
    LISTEN_UNTIL(w, &h, l->n_failed > 0 && h.rows->n == 0);
    listen(w, &h, 1500);
    EXPECT(l->n_failed <= 2); /* the same message is not said again */
    char *again = done_run(runs, "damaged", 500);
    LISTEN_UNTIL(w, &h, l->n_followed == 2 && l->caught_up);
    EXPECT(l->next == 500 && l->n_points == 500);

    char *nowhere = hl_fs_join(runs, "nowhere");
    EXPECT(hl_watch_follow(w, 1, nowhere) == HL_OK);
    LISTEN_UNTIL(w, &h, h.slot[1].n_failed == 1);
    EXPECT(h.slot[1].n_followed == 0);
    hl_watch_unfollow(w, 1);
    LISTEN_UNTIL(w, &h, h.slot[1].n_unfollowed == 1);
    EXPECT(sleeps(w, &h));
    end(w, &h);
    hl_free(nowhere);
    hl_free(again);
    hl_free(dir);
}

static void test_full(const char *runs)
{
    heard h;
    char *dir = done_run(runs, "many", N_MANY), *few = done_run(runs, "few", 10);
    hl_watch *w = start(runs, &h);
    EXPECT(hl_watch_follow(w, 0, dir) == HL_OK);
    hl_clock_sleep_ms(500); /* nobody takes anything */
    EXPECT(hl_watch_follow(w, 1, few) == HL_OK);
    LISTEN_UNTIL(w, &h, h.slot[0].caught_up && h.slot[1].caught_up);
    EXPECT(h.slot[0].n_points == N_MANY && h.slot[0].next == N_MANY && h.slot[1].next == 10);

    for (int i = 0; i < N_LIFE; i++) {
        EXPECT(hl_watch_follow(w, 0, i % 2 ? few : dir) == HL_OK);
        if (i % 3 == 0)
            hl_clock_sleep_ms(40);
    }
    LISTEN_UNTIL(w, &h, h.slot[0].n_unfollowed == N_LIFE && h.slot[0].caught_up);
    EXPECT(h.slot[0].next == 10 && h.slot[0].n_points == 10);

    EXPECT(hl_watch_follow(w, 2, dir) == HL_OK);
    hl_clock_sleep_ms(300);
    hl_watch_unfollow(w, 2);
    LISTEN_UNTIL(w, &h, h.slot[2].n_unfollowed == 1);
    EXPECT(h.slot[2].n_points < N_MANY);
    EXPECT(hl_watch_follow(w, 2, dir) == HL_OK && hl_watch_follow(w, 3, dir) == HL_OK);
    hl_clock_sleep_ms(300);
    const int64_t start_ns = hl_clock_mono_ns();
    end(w, &h);
    EXPECT(hl_clock_mono_ns() - start_ns < 1000000000);
    hl_free(dir);
    hl_free(few);
}

/* Whichever allocation fails, the whole run arrives in the end. */
static void test_no_memory(const char *runs)
{
    char *dir = done_run(runs, "r", 300);
    for (int n = 0; n < 40; n += 5) {
        heard h = {0};
        hl_watch *w = NULL;
        hl_mem_fail_after(n);
        if (hl_watch_open(runs, &w) != HL_OK) {
            hl_mem_fail_after(-1);
            continue;
        }
        while (hl_watch_follow(w, 0, dir) != HL_OK)
            continue;
        LISTEN_UNTIL(w, &h, h.slot[0].caught_up && h.rows && h.rows->n == 1);
        hl_mem_fail_after(-1);
        EXPECT(h.slot[0].next == 300 && h.slot[0].n_points == 300);
        end(w, &h);
    }
    hl_free(dir);
}

/* In a process of its own: these mostly wait for what must not happen. */
static pid_t start_beside(void (*test)(const char *runs))
{
    const pid_t pid = fork();
    if (pid != 0)
        return pid;
    char *runs = test_dir();
    test(runs);
    test_dir_done(runs);
    _exit(n_failed != 0);
}

int main(void)
{
    static void (*const waiting[])(const char *runs) = {test_list, test_edit, test_appears,
                                                        test_follow, test_damaged_and_deleted};
    static void (*const busy[])(const char *runs) = {test_full, test_no_memory};
    enum { N_WAITING = sizeof waiting / sizeof waiting[0] };
    pid_t pids[N_WAITING];
    for (int i = 0; i < N_WAITING; i++)
        pids[i] = start_beside(waiting[i]);
    for (int i = 0; i < N_WAITING; i++) {
        int status = 0;
        EXPECT(pids[i] > 0 && waitpid(pids[i], &status, 0) == pids[i] && status == 0);
    }
    for (size_t i = 0; i < sizeof busy / sizeof busy[0]; i++) {
        char *runs = test_dir();
        busy[i](runs);
        test_dir_done(runs);
    }
    printf("%s\n", n_failed ? "FAILED" : "passed");
    return n_failed != 0;
}
