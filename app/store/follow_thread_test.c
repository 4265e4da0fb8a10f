/* Readers follow while the writer writes as fast as it can, another thread logs, the disk refuses
 * now and then, and the run is resumed. Every reader must see every point, once and in order. A
 * plain program, so that the thread sanitizer can watch it. */
#define _GNU_SOURCE
#include <errno.h>

#include "app/store/store_test.h"
#include "engine/base/thread.h"

#define N_SERIES  8
#define N_STEPS   6000
#define RESUME_AT 4000
#define N_READERS 3
#define N_LINES   300

static int n_failed;

static void expect(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "FAILED: %s (%s)\n", what, hl_err_message());
        n_failed++;
    }
}

/* ---- a disk that refuses every so often ---- */

static ssize_t moody_write(void *self, int fd, const void *bytes, size_t n, off_t offset)
{
    int64_t turn = hl_flag_add(self, 1);
    if (turn % 5 == 0 && offset > 0) { /* a file that takes nothing at all would not be opened */
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, bytes, turn % 3 == 0 && n > 7 ? n - 7 : n, offset);
}

static int moody_sync(void *self, int fd)
{
    (void)self;
    return fdatasync(fd);
}

/* ---- readers ---- */

typedef struct reader {
    const char *dir;
    hl_flag *ended;
    hl_series_table series;
    int64_t next[2 * N_SERIES]; /* step that each series must show next */
    int64_t n_points, n_lines, n_wrong;
    hl_status st;
} reader;

static void read_point(void *self, size_t series, int64_t step, int64_t t_us, double value)
{
    reader *r = self;
    (void)t_us;
    if (series >= 2 * N_SERIES || step != r->next[series] || value != (double)(float)step) {
        r->n_wrong++;
        return;
    }
    r->next[series]++;
    r->n_points++;
}

static void read_json(void *self, size_t series, int64_t step, int64_t t_us, const char *text,
                      size_t n)
{
    reader *r = self;
    (void)step;
    (void)t_us;
    (void)n;
    r->n_lines += strcmp(hl_series_table_at(&r->series, series).content, "log") == 0 &&
                  strstr(text, "line ") != NULL;
}

static void read_superseded(void *self, int64_t from)
{
    reader *r = self;
    for (size_t i = 0; i < 2 * N_SERIES; i++)
        r->next[i] = r->next[i] > from ? from : r->next[i];
}

static void reader_body(void *arg)
{
    reader *r = arg;
    hl_run_visitor v = {r, read_point, NULL, NULL, read_json, read_superseded};
    hl_follow *f;
    bool more;
    r->st = hl_follow_open(r->dir, (hl_follow_opts){0}, &r->series, &f);
    if (r->st != HL_OK)
        return;
    for (bool last = false; !last && r->st == HL_OK;) {
        last = hl_flag_get(r->ended) != 0;
        r->st = hl_follow_poll(f, &v, 0, &more);
        hl_clock_sleep_ms(1);
    }
    r->n_wrong += hl_follow_damages(f);
    hl_follow_close(f);
}

/* ---- the run ---- */

typedef struct logger {
    hl_writer *w;
} logger;

static void logger_body(void *arg)
{
    char text[32];
    for (int i = 0; i < N_LINES; i++) {
        snprintf(text, sizeof text, "line %d", i);
        hl_writer_log(((logger *)arg)->w, i % 50 ? HL_LOG_INFO : HL_LOG_WARN, i, text);
        if (i % 20 == 0)
            hl_clock_sleep_ms(1);
    }
}

static void log_to_writer(void *arg, hl_log_level level, const char *message)
{
    hl_writer_log(arg, level, 0, message);
}

static void run_segment(const char *dir, const hl_writer_opts *opts, int64_t to)
{
    hl_writer *w;
    hl_thread *logger_thread = NULL;
    int series[N_SERIES];
    expect(hl_writer_open(dir, opts, &w) == HL_OK, "open");
    hl_log_set_sink(log_to_writer, w);
    logger l = {w};
    expect(hl_thread_start("logger", logger_body, &l, &logger_thread) == HL_OK, "thread");
    hl_sink s = hl_writer_sink(w);
    for (int i = 0; i < N_SERIES; i++) {
        char tag[32];
        snprintf(tag, sizeof tag, "train/x%d", i);
        series[i] = s.series(s.self, tag, HL_SERIES_SCALAR, NULL);
    }
    hl_hist h = {.num = 1};
    int hist = s.series(s.self, "h", HL_SERIES_HIST, NULL);
    for (int64_t step = opts->resume ? opts->resume_step : 0; step < to; step++) {
        for (int i = 0; i < N_SERIES; i++)
            s.scalar(s.self, series[i], step, (double)step);
        if (step % 10 == 0)
            s.hist(s.self, hist, step, &h);
        if (step % 1500 == 0)
            s.flush(s.self);
        (void)hl_writer_get_status(w);
    }
    hl_writer_set_state(w, to, &(hl_state_note){HL_RUN_DONE, NULL, NULL, 0});
    hl_thread_join(logger_thread);
    hl_log_set_sink(NULL, NULL);
    expect(hl_writer_close(w) == HL_OK, "close");
}

int main(void)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    hl_flag ended = {0}, turn = {0};
    reader readers[N_READERS];
    hl_thread *threads[N_READERS] = {0};
    for (int i = 0; i < N_READERS; i++) {
        readers[i] = (reader){.dir = dir, .ended = &ended};
        expect(hl_thread_start("reader", reader_body, &readers[i], &threads[i]) == HL_OK, "thread");
    }
    hl_store_io io = {moody_write, moody_sync, &turn};
    hl_writer_opts first = {.io = &io, .n_ring = 512};
    hl_writer_opts second = {.io = &io, .resume = true, .resume_step = RESUME_AT};
    run_segment(dir, &first, N_STEPS);
    run_segment(dir, &second, N_STEPS);
    hl_flag_set(&ended, 1);
    for (int i = 0; i < N_READERS; i++) {
        const reader *r = &readers[i];
        hl_thread_join(threads[i]);
        expect(r->st == HL_OK && r->n_wrong == 0, "a reader saw something wrong");
        int64_t least = N_SERIES * (int64_t)N_STEPS;
        int64_t most = N_SERIES * (int64_t)(2 * N_STEPS - RESUME_AT);
        expect(r->n_points >= least && r->n_points <= most, "a reader missed points");
        for (size_t k = 0; k < hl_series_table_n(&r->series); k++)
            if (hl_series_table_at(&r->series, k).kind == HL_SERIES_SCALAR)
                expect(r->next[k] == N_STEPS, "a reader did not reach the end");
        expect(r->n_lines == 2 * N_LINES, "a reader missed log lines");
        hl_series_table_done(&readers[i].series);
    }
    expect(test_summary_is_right(dir), "summary");
    hl_free(dir);
    test_dir_done(runs);
    printf("%s\n", n_failed ? "FAILED" : "passed");
    return n_failed != 0;
}
