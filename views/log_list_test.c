/* The lines of the log pane, of a log that is longer than what is kept of it. */
#define _GNU_SOURCE
#include "views/log_list.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "app/store/event.h"
#include "app/store/follow.h"
#include "app/store/run_dir.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"

enum { N_LINES = 50000, ROWS = 10, WARNING_AT = 1000, NEEDLE_AT = 300 };

typedef struct pane {
    char store[40];
    hl_model model;
    hl_watched *run;
    hl_log_list *list;
    hl_log_sight sight;
} pane;

static void write_lines(const char *dir, int from, int to)
{
    char object[120];
    hl_str b = {0};
    char *path = hl_fs_join(dir, HL_SEGMENT_PREFIX "1700000000.host.1.0");
    const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    cr_assert_geq(fd, 0);
    for (int i = from; i < to; i++) {
        const hl_stamp at = {i, 1700000000000000 + i};
        snprintf(object, sizeof object, "{\"level\":\"%s\",\"text\":\"line %d%s\"}",
                 i == WARNING_AT ? "warn" : "info", i, i == NEEDLE_AT ? " needle" : "");
        cr_assert(hl_event_put_json(&b, "run/log", at, "log", object));
    }
    cr_assert_eq(hl_fs_write_all(fd, b.s, b.n, path), HL_OK);
    close(fd);
    hl_str_done(&b);
    hl_free(path);
}

/* What has come is shown, and what is missing then is asked for, until nothing is. */
static void look(pane *p)
{
    const int64_t end = hl_clock_mono_ns() + INT64_C(60000000000);
    for (;;) {
        struct pollfd fd = {hl_watch_fd(p->model.watch), POLLIN, 0};
        if (p->run->window.has_found)
            p->sight.place = p->run->window.found;
        p->run->window.has_found = false;
        hl_log_list_make(p->list, &p->model, p->run, &p->sight);
        if (hl_model_is_settled(&p->model))
            return;
        cr_assert(hl_clock_mono_ns() < end, "the log does not settle");
        (void)poll(&fd, 1, 100);
        hl_model_update(&p->model, 5000000);
    }
}

static void wait_and_look(pane *p)
{
    struct pollfd fd = {hl_watch_fd(p->model.watch), POLLIN, 0};
    cr_assert_gt(poll(&fd, 1, 60000), 0);
    hl_model_update(&p->model, 5000000);
    look(p);
}

static void open_pane(pane *p, int n_lines)
{
    char *dir;
    *p = (pane){.store = "/tmp/hoplab-log.XXXXXX", .sight = {"", "", -1, ROWS}};
    cr_assert_not_null(mkdtemp(p->store));
    const hl_run_facts_in facts = {.id = "long", .name = "long"};
    cr_assert_eq(hl_run_dir_create(p->store, &facts, &dir), HL_OK);
    write_lines(dir, 0, n_lines);
    cr_assert_eq(hl_model_open(&p->model, p->store), HL_OK);
    p->run = hl_model_watch(&p->model, dir);
    p->list = hl_alloc(sizeof *p->list);
    cr_assert(p->run && p->list);
    look(p);
    hl_free(dir);
}

static void close_pane(pane *p)
{
    hl_model_close(&p->model);
    hl_free(p->list);
    HL_IGNORE(hl_fs_remove_tree(p->store));
}

static int64_t step_at(const pane *p, int i)
{
    cr_assert(i >= 0 && i < p->list->n);
    return p->list->at[i]->step;
}

static void expect_cursor(const pane *p, int64_t step)
{
    char text[40];
    cr_assert_eq(step_at(p, p->list->cursor), step);
    snprintf(text, sizeof text, "line %lld", (long long)step);
    cr_assert(hl_str_starts(p->list->at[p->list->cursor]->text, text));
}

/* Up through all of it, and down again: each line once, whether it is kept or read again. */
Test(log_list, every_line_of_a_long_log)
{
    pane p;
    open_pane(&p, N_LINES);
    const hl_log_list *l = p.list;
    cr_assert_geq(p.run->log_first, N_LINES - HL_LOG_MAX);
    cr_expect_leq(p.run->log.n, HL_LOG_MAX);
    expect_cursor(&p, N_LINES - 1);
    for (int64_t at = N_LINES - 1; at > 0;) {
        const int up = l->cursor < 700 ? l->cursor : 700;
        cr_assert_gt(up, 0);
        for (int i = l->cursor - up; i < l->cursor; i++)
            cr_assert_eq(step_at(&p, i + 1), step_at(&p, i) + 1);
        p.sight.place = l->at[l->cursor - up]->place;
        look(&p);
        expect_cursor(&p, at -= up);
        cr_assert_eq(l->below, N_LINES - 1 - step_at(&p, l->bottom));
        cr_assert(at == 0 || l->cursor > 0, "more of it has come");
    }
    cr_expect(l->is_from_first && l->bottom == ROWS - 1);
    for (int64_t at = 0; at < N_LINES - 1;) {
        const int left = l->n - 1 - l->cursor, down = left < 900 ? left : 900;
        cr_assert_gt(down, 0);
        p.sight.place = l->at[l->cursor + down]->place;
        look(&p);
        expect_cursor(&p, at += down);
    }
    cr_expect(l->is_to_last && l->below == 0 && p.run->window.lines.n <= HL_LOG_MAX);
    close_pane(&p);
}

Test(log_list, jumps_filters_and_searches)
{
    pane p;
    open_pane(&p, N_LINES);
    const hl_log_list *l = p.list;
    p.sight.place = 0;
    look(&p);
    expect_cursor(&p, 0);
    cr_expect(l->is_from_first && l->is_windowed && step_at(&p, l->bottom) == ROWS - 1);

    hl_model_ask_log(&p.model, p.run, HL_LOG_ASK_NUMBER, 12345);
    look(&p);
    expect_cursor(&p, 12345);
    cr_expect_eq(step_at(&p, l->cursor - 100), 12245);
    hl_model_ask_log(&p.model, p.run, HL_LOG_ASK_PERCENT, 20);
    look(&p);
    cr_expect(llabs(step_at(&p, l->cursor) - N_LINES / 5) < N_LINES / 50);
    hl_model_ask_log(&p.model, p.run, HL_LOG_ASK_EARLIER, l->at[0]->place);
    look(&p);
    expect_cursor(&p, WARNING_AT);
    hl_model_ask_log(&p.model, p.run, HL_LOG_ASK_EARLIER, l->at[l->cursor]->place);
    look(&p);
    cr_expect(p.run->window.found_none == HL_LOG_ASK_EARLIER);

    p.sight.words = "needle"; /* nothing that is kept has it */
    p.sight.place = -1;
    look(&p);
    cr_assert_eq(l->n, 1);
    expect_cursor(&p, NEEDLE_AT);
    cr_expect(l->is_from_first && l->is_to_last);
    p.sight.words = "";
    p.sight.levels = "WE";
    look(&p);
    cr_assert_eq(l->n, 1);
    expect_cursor(&p, WARNING_AT);

    p.sight.levels = ""; /* a search that is stopped is not begun again by looking */
    p.sight.words = "no line has this";
    hl_log_list_make(p.list, &p.model, p.run, &p.sight);
    cr_assert_neq(p.run->window.asking, HL_LOG_ASK_NOTHING);
    hl_model_stop_log(&p.model, p.run);
    look(&p);
    cr_expect(p.run->window.is_refused && l->n == 0 && !p.run->window.is_set);
    close_pane(&p);
}

/* The window stays where it is while the log goes on, and comes to follow it again; a file that is
 * cut off, or another one by then, is read anew. */
Test(log_list, logs_that_grow_are_cut_off_and_replaced)
{
    enum { SHORT = 300 };
    pane p;
    open_pane(&p, N_LINES);
    char *dir = hl_strdup(p.run->dir), *path;
    p.sight.place = 0;
    look(&p);
    write_lines(dir, N_LINES, N_LINES + 6000);
    while (p.run->log.at[p.run->log.n - 1].step != N_LINES + 5999)
        wait_and_look(&p);
    expect_cursor(&p, 0);
    cr_expect_eq(p.list->below, N_LINES + 6000 - ROWS);
    p.sight.place = -1;
    look(&p);
    expect_cursor(&p, N_LINES + 5999);

    p.sight.words = "needle"; /* what has been searched is not searched again */
    look(&p);
    expect_cursor(&p, NEEDLE_AT);
    const int64_t first = p.run->log_first;
    write_lines(dir, N_LINES + 6000, N_LINES + 12000);
    while (p.run->log.at[p.run->log.n - 1].step != N_LINES + 11999)
        wait_and_look(&p);
    expect_cursor(&p, NEEDLE_AT);
    cr_expect(p.run->log_first > first && p.run->window.has_met && !p.run->window.is_new);
    cr_expect(p.list->n == 1 && p.list->is_from_first && p.list->is_to_last);
    p.sight.words = "";

    path = hl_fs_join(dir, HL_SEGMENT_PREFIX "1700000000.host.1.0");
    cr_assert_eq(truncate(path, hl_fs_size(path) / 200), 0);
    while (p.run->log.n == 0 || p.run->log.n > SHORT * 2 || !p.run->caught_up)
        wait_and_look(&p);
    cr_expect(p.run->log_first == 0 && !p.run->window.is_set && !p.run->message);
    expect_cursor(&p, (int64_t)p.run->log.n - 1);

    char *other = hl_fs_join(p.store, hl_fs_base(path));
    write_lines(p.store, 0, 20);
    cr_assert_eq(rename(other, path), 0);
    while (p.run->log.n != 20)
        wait_and_look(&p);
    expect_cursor(&p, 19);
    hl_free(other);
    hl_free(path);
    hl_free(dir);
    close_pane(&p);
}

static void look_until_answered(pane *p)
{
    struct pollfd fd = {hl_watch_fd(p->model.watch), POLLIN, 0};
    for (;;) {
        hl_log_list_make(p->list, &p->model, p->run, &p->sight);
        if (p->run->window.asking == HL_LOG_ASK_NOTHING)
            return;
        cr_assert_gt(poll(&fd, 1, 60000), 0);
        hl_model_update(&p->model, 5000000);
    }
}

/* As it is while much of the files is still to be read: what is kept is of their middle. */
Test(log_list, the_end_is_shown_before_what_is_in_front_is_known)
{
    pane p;
    open_pane(&p, N_LINES);
    const hl_log_list *l = p.list;
    p.run->caught_up = false;
    p.run->bytes_total = p.run->bytes_done + (INT64_C(10) << 30);
    cr_assert(!hl_watched_has_end(p.run));
    look_until_answered(&p);
    expect_cursor(&p, N_LINES - 1);
    cr_expect(l->is_windowed && l->is_to_last && !l->is_from_first);
    p.sight.place = l->at[2]->place;
    const int64_t up = step_at(&p, 2);
    look_until_answered(&p);
    hl_log_list_make(p.list, &p.model, p.run, &p.sight);
    expect_cursor(&p, up);
    cr_expect(l->cursor > 2 * ROWS && l->below == -1);
    p.sight.place = 0;
    look_until_answered(&p);
    hl_log_list_make(p.list, &p.model, p.run, &p.sight);
    expect_cursor(&p, 0);
    p.sight.place = -1;
    look_until_answered(&p);
    hl_log_list_make(p.list, &p.model, p.run, &p.sight);
    expect_cursor(&p, N_LINES - 1);
    p.run->caught_up = true;
    look(&p);
    expect_cursor(&p, N_LINES - 1);
    cr_expect(!l->is_windowed && l->is_to_last && l->below == 0);
    close_pane(&p);
}
