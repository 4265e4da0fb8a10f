/* The main loop of the screen.
 *
 * DESIGN: one thread sleeps in poll() on the terminal, the signal pipe, the watcher, requests under
 * way and starting runs; nothing else wakes it, and without a reason it sleeps for ever. News make
 * the picture dirty; a dirty picture is drawn at most settings.fps times a second, at once after a
 * key, and never while the terminal has not taken the last one. */
#include "views/hl_workbench.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "views/screen_lua.h"
#include "views/screenshot.h"

enum {
    OWN_FDS = 5,
    FDS_MAX = OWN_FDS + HL_LAUNCHES_MAX + HL_SCRIPTED_JOBS_MAX + HL_LINKS_MAX,
    NOT_READY_MS = 50,
    CONFIGURED_MS = 300, /* a configuration that takes longer changes what is shown */
    DUMP_LIMIT_MS = 30000,
    DUMP_LUA_S = 2 /* a script that takes longer is shown as it is */
};

typedef struct loop {
    hl_screen screen;
    hl_term *term;
    int64_t drawn_ns; /* when the last picture was shown */
    bool key;         /* a key came since */
    bool had_rows;    /* the list was there */
    hl_str said;      /* on stderr while the screen was up */
} loop;

/* ---- sleeping ---- */

static int fds_of(loop *l, struct pollfd fds[FDS_MAX])
{
    const int own[OWN_FDS] = {hl_term_fd(l->term), hl_term_signal_fd(l->term),
                              hl_watch_fd(l->screen.model.watch),
                              l->screen.compare.reader
                                  ? hl_compare_reader_fd(l->screen.compare.reader)
                                  : -1,
                              hl_console_fd(&l->screen)};
    int n = 0;
    for (int i = 0; i < OWN_FDS; i++)
        if (own[i] >= 0)
            fds[n++] = (struct pollfd){.fd = own[i], .events = POLLIN};
    for (int i = 0; i < HL_LAUNCHES_MAX; i++)
        if (l->screen.launched[i].launch && !l->screen.launched[i].heard)
            fds[n++] =
                (struct pollfd){.fd = hl_launch_fd(l->screen.launched[i].launch), .events = POLLIN};
    n += hl_scripted_jobs_fds(&l->screen, fds + n);
    return n + hl_requests_fds(&l->screen.requests, fds + n, FDS_MAX - n);
}

static int sooner(int a, int b)
{
    return a < 0 ? b : b < 0 || a < b ? a : b;
}

/* Until the next picture may be shown. */
static int64_t pause_ns(const loop *l)
{
    const int64_t each = 1000000000 / l->screen.settings.fps;
    if (l->key || l->had_rows != l->screen.model.has_rows) /* the first list is waited for */
        return 0;
    return l->drawn_ns + each - hl_clock_mono_ns();
}

/* Milliseconds until something is to be done without being asked; -1: never. */
static int sleep_ms(loop *l)
{
    int ms = sooner(hl_requests_timeout_ms(&l->screen.requests),
                    hl_console_timeout_ms(&l->screen));
    if (l->screen.dirty) {
        const int64_t pause = pause_ns(l);
        ms = sooner(ms, pause > 0                ? (int)(pause / 1000000) + 1
                        : hl_term_ready(l->term) ? 0
                                                 : NOT_READY_MS);
    }
    return ms;
}

/* ---- drawing ---- */

/* What libraries say: its newest line is shown, all of it is printed at the end. */
static void take_stderr(loop *l)
{
    char text[400];
    size_t n;
    while ((n = hl_term_take_stderr(l->term, text, sizeof text - 1)) > 0) {
        hl_str_addn(&l->said, text, n);
        text[n] = 0;
        text[strcspn(text, "\n")] = 0;
        hl_screen_say(&l->screen, HL_ROLE_WARN, "%s", text);
    }
}

static void show(loop *l)
{
    if (!l->screen.dirty || pause_ns(l) > 0 || !hl_term_ready(l->term))
        return;
    l->drawn_ns = hl_clock_mono_ns();
    hl_screen_draw(&l->screen);
    hl_term_show(l->term, &l->screen.grid);
    l->key = false;
    l->had_rows = l->screen.model.has_rows;
}

/* Keys that are there, all before the next picture: the latest position wins. */
static void take_keys(loop *l)
{
    hl_input in;
    while (!l->screen.quit && hl_term_read(l->term, &in)) {
        hl_screen_input(&l->screen, &in);
        l->key |= in.key != HL_KEY_RESIZE; /* a storm of sizes costs a picture per frame */
    }
}

/* So that the first picture has the user's theme, characters and widths. */
static void await_configuration(loop *l)
{
    const int64_t end = hl_clock_mono_ns() + (int64_t)CONFIGURED_MS * 1000000;
    struct pollfd fds[FDS_MAX];
    double seconds;
    while (!l->screen.quit && hl_console_running(&l->screen, &seconds)) {
        const int64_t left_ns = end - hl_clock_mono_ns();
        if (left_ns <= 0)
            return;
        (void)poll(fds, (nfds_t)fds_of(l, fds), (int)(left_ns / 1000000) + 1);
        take_keys(l);
        hl_screen_update(&l->screen);
    }
}

static void run_terminal(loop *l)
{
    struct pollfd fds[FDS_MAX];
    await_configuration(l);
    while (!l->screen.quit) {
        show(l);
        const int n = fds_of(l, fds);
        (void)poll(fds, (nfds_t)n, sleep_ms(l));
        take_keys(l);
        take_stderr(l);
        hl_screen_update(&l->screen);
    }
}

/* ---- without a terminal ---- */

/* Until the list and the followed runs are read and every request has its answer. */
static void settle(loop *l)
{
    const int64_t end = hl_clock_mono_ns() + (int64_t)DUMP_LIMIT_MS * 1000000;
    struct pollfd fds[FDS_MAX];
    for (;;) {
        bool waits = !hl_model_is_settled(&l->screen.model) || hl_compare_is_busy(&l->screen);
        for (size_t i = 0; i < l->screen.requests.asked.n; i++)
            waits |= l->screen.requests.asked.at[i].is_open;
        for (int i = 0; i < HL_LAUNCHES_MAX; i++)
            waits |= l->screen.launched[i].launch && !l->screen.launched[i].heard;
        double seconds;
        waits |= hl_console_running(&l->screen, &seconds) && seconds < DUMP_LUA_S;
        waits |= hl_scripted_timeout_ms(&l->screen) >= 0;
        (void)hl_scripted_jobs_timeout_ms(&l->screen, &seconds);
        waits |= seconds >= 0 && seconds < DUMP_LUA_S;
        if (!waits || hl_clock_mono_ns() > end)
            return;
        const int ms = hl_console_timeout_ms(&l->screen);
        (void)poll(fds, (nfds_t)fds_of(l, fds), ms < 0 || ms > 100 ? 100 : ms);
        hl_screen_update(&l->screen);
        hl_screen_draw(&l->screen); /* what it shows is what is followed */
    }
}

/* false: one of them failed. */
static bool run_commands(loop *l, const hl_workbench_options *o, hl_workbench_result *out)
{
    hl_screen *s = &l->screen;
    for (size_t i = 0; i < o->n_commands; i++) {
        s->notice[0] = 0;
        hl_screen_command(s, o->commands[i]);
        if (s->notice[0] && s->notice_role == HL_ROLE_BAD) {
            snprintf(out->message, sizeof out->message, "%s", s->notice);
            out->exit_status = 3; /* invalid input */
            return false;
        }
        hl_screen_draw(s);
        settle(l);
    }
    s->notice[0] = 0;
    return true;
}

static void run_dump(loop *l, const hl_workbench_options *o, hl_workbench_result *out)
{
    hl_input in;
    l->screen.look.zoom = o->chart_alone || o->view_as;
    settle(l);
    hl_screen_draw(&l->screen);
    settle(l);
    if (!run_commands(l, o, out))
        return;
    while (!l->screen.quit && hl_term_read(l->term, &in)) {
        if (in.key == HL_KEY_QUIT)
            break;
        hl_screen_input(&l->screen, &in);
        hl_screen_draw(&l->screen);
        settle(l);
    }
    hl_screen_draw(&l->screen);
}

/* ---- beginning and end ---- */

/* The run to begin with is shown before the list has come: its events need no list. */
static void open_first(hl_screen *s, const char *dir)
{
    char *absolute = hl_fs_absolute(dir); /* as the list has it */
    if (!absolute)
        return;
    hl_screen_select(s, absolute);
    hl_screen_set_view(s, HL_VIEW_RUN);
    s->last_view = HL_VIEW_RUNS;
    (void)hl_model_watch(&s->model, absolute);
    hl_free(absolute);
}

static hl_status begin(loop *l, const hl_workbench_options *o)
{
    const hl_term_options t = {.color = o->color, .no_mouse = o->no_mouse};
    hl_status st = o->dump_cols
                       ? hl_term_dump_open(&t, o->dump_cols, o->dump_rows, o->dump_keys, &l->term)
                       : hl_term_curses_open(&t, &l->term);
    if (st != HL_OK)
        return st;
    st = hl_screen_open(&l->screen, l->term, o->runs_dir);
    if (st != HL_OK) {
        hl_term_close(l->term);
        return st;
    }
    l->screen.settings.mouse = !o->no_mouse;
    if (!o->dump_cols) /* a picture follows from its keys alone */
        hl_colors_load(&l->screen);
    hl_console_open(&l->screen, o->scripting);
    if (o->no_mouse)
        hl_scripted_set_source(&l->screen, "mouse", "command line");
    hl_scripted_configure(&l->screen);
    if (o->open)
        open_first(&l->screen, o->open);
    l->screen.open_launched = o->n_launches > 0;
    for (size_t i = 0; i < o->n_launches; i++)
        hl_screen_launch(&l->screen, o->launches[i], o->launch_names[i]);
    return HL_OK;
}

static void report(loop *l, const hl_workbench_options *o, hl_workbench_result *out)
{
    const hl_screen *s = &l->screen;
    for (size_t i = 0; i < o->n_launches && i < HL_WORKBENCH_LAUNCHES; i++) {
        const hl_launched *run = &s->launched[i];
        snprintf(out->runs[i], sizeof out->runs[i], "%s", run->id);
        if (run->heard && !run->id[0]) {
            out->exit_status = run->exit_status;
            snprintf(out->message, sizeof out->message, "%s", run->message);
        }
    }
    if (hl_term_end_signal(l->term))
        out->exit_status = 128 + hl_term_end_signal(l->term);
    for (size_t i = 0; s->model.rows && i < s->model.rows->n; i++)
        out->n_live += hl_state_is_live(s->model.rows->at[i].state);
    for (int i = 0; i < HL_LAUNCHES_MAX; i++)
        out->n_starting +=
            s->launched[i].launch && !s->launched[i].heard && !s->launched[i].is_job;
    const int chart = o->describe ? hl_charts_focused(&l->screen) : -1;
    if (o->view_as) {
        if (out->exit_status == 0 &&
            hl_scripted_export(&l->screen, o->view_as, o->picture) != HL_OK) {
            snprintf(out->message, sizeof out->message, "%s", hl_err_message());
            out->exit_status = 1;
        }
    } else if (o->picture && chart >= 0)
        hl_chart_describe(&l->screen, chart, o->picture);
    else if (o->picture && o->chart_alone)
        HL_IGNORE(hl_screenshot(&s->grid, s->layout.pane[HL_PANE_CHART], hl_theme_at(0), "text",
                                o->picture));
    else if (o->picture)
        hl_grid_print(&s->grid, o->picture);
}

hl_status hl_workbench(const hl_workbench_options *o, hl_workbench_result *out)
{
    *out = (hl_workbench_result){0};
    if (o->manual)
        return hl_screen_manual(o->manual);
    loop *l = hl_alloc_zero(1, sizeof *l);
    if (!l)
        return HL_E_NOMEM;
    hl_status st = begin(l, o);
    if (st == HL_OK) {
        if (o->dump_cols)
            run_dump(l, o, out);
        else
            run_terminal(l);
        report(l, o, out);
        if (o->dump_cols) { /* nobody sat there */
            l->screen.commands.n_added = l->screen.console.history.n_added = 0;
            l->screen.sizes_changed = false;
            l->screen.columns_changed = l->screen.colors_changed = false;
        }
        hl_term_close(l->term);
        hl_screen_close(&l->screen);
        if (l->said.n)
            fputs(hl_str_text(&l->said), stderr);
        hl_str_done(&l->said);
    }
    hl_free(l);
    return st;
}
