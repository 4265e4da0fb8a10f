/* The thread that reads comparisons: orders that follow each other fast, and an end at any time. */
#define _GNU_SOURCE /* mkdtemp, before any header */
#include <poll.h>

#include "app/compare/compare.h"
#include "app/store/store_test.h"

enum { N = 4, ROUNDS = 60 };

static int n_failures;

static void check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "FAILED: %s\n", what);
        n_failures++;
    }
}

static void write_run(const char *dir)
{
    hl_writer *w;
    if (hl_writer_open(dir, NULL, &w) != HL_OK)
        return;
    const hl_sink k = hl_writer_sink(w);
    for (int i = 0; i < 50; i++)
        k.scalar(k.self, k.series(k.self, "train/loss", HL_SERIES_SCALAR, NULL), i, i);
    hl_writer_set_state(w, 50, &(hl_state_note){.state = HL_RUN_DONE});
    check(hl_writer_close(w) == HL_OK, "a run is written");
}

/* The newest order wins, however many came before it. */
static void ask_and_take(const char *const *dirs)
{
    hl_compare_reader *r = NULL;
    hl_comparison *c = NULL;
    hl_status st = HL_OK;
    check(hl_compare_reader_open(&r) == HL_OK, "a reader opens");
    check(!hl_compare_reader_is_busy(r) && !hl_compare_reader_take(r, &st), "nothing at first");
    for (int i = 0; i < ROUNDS; i++) {
        const hl_compare_wanted w = {
            .dirs = dirs, .n = (size_t)(1 + i % N), .at = i % 7 - 1, .scripts = true};
        check(hl_compare_reader_ask(r, &w) == HL_OK, "an order is taken");
        if (i % 5 == 0)
            hl_comparison_free(hl_compare_reader_take(r, &st));
    }
    while (hl_compare_reader_is_busy(r)) {
        struct pollfd fd = {.fd = hl_compare_reader_fd(r), .events = POLLIN};
        check(poll(&fd, 1, 20000) == 1, "a result is told");
        hl_comparison *newer = hl_compare_reader_take(r, &st);
        check(st == HL_OK, "it is one");
        if (newer) {
            hl_comparison_free(c);
            c = newer;
        }
    }
    check(c && c->n == N, "the last order's");
    hl_comparison_free(c);
    hl_compare_reader_close(r);
}

static void end_early(const char *const *dirs)
{
    for (int i = 0; i < ROUNDS / 4; i++) {
        hl_compare_reader *r = NULL;
        const hl_compare_wanted w = {.dirs = dirs, .n = N, .at = -1};
        check(hl_compare_reader_open(&r) == HL_OK, "a reader opens");
        for (int k = 0; k < i % 3; k++)
            check(hl_compare_reader_ask(r, &w) == HL_OK, "an order is taken");
        hl_compare_reader_close(r);
    }
}

int main(void)
{
    char *runs = test_dir(), *dirs[N], id[40];
    for (int i = 0; i < N; i++) {
        snprintf(id, sizeof id, "20260101-000000-%06d", i);
        dirs[i] = test_run(runs, id);
        write_run(dirs[i]);
    }
    ask_and_take((const char *const *)dirs);
    end_early((const char *const *)dirs);
    for (int i = 0; i < N; i++)
        hl_free(dirs[i]);
    test_dir_done(runs);
    return n_failures ? 1 : 0;
}
