#define _GNU_SOURCE
/* The run list of the whole screen, with runs that are made in memory. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/store/run_dir.h"
#include "app/store/run_known.h"
#include "app/store/writer.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "views/screen_lua.h"

static hl_screen s;
static hl_term *term;

/* n runs, the newest last: run-0 .., each with its own seed, every second one with a clip. */
static hl_run_rows *make_rows(size_t n)
{
    HL_VEC(hl_run_row) all = {0};
    HL_VEC(const hl_run_row *) at = {0};
    char(*dir)[32] = hl_alloc_zero(n, sizeof *dir);
    cr_assert(dir && hl_vec_reserve(&all, n) == HL_OK && hl_vec_reserve(&at, n) == HL_OK);
    for (size_t i = 0; i < n; i++) {
        char seed[16];
        snprintf(dir[i], sizeof dir[i], "runs/run-%zu", i);
        snprintf(seed, sizeof seed, "%zu", i);
        const hl_run_value config[] = {{"optim.lr", "0.001", .001}, {"seed", seed, (double)i}};
        const hl_run_value clipped[] = {{"clip", "1", 1}, config[0], config[1]};
        all.at[i] = (hl_run_row){.id = dir[i] + 5,
                                 .name = dir[i] + 5,
                                 .project = "",
                                 .tags = "",
                                 .dir = dir[i],
                                 .reason = "",
                                 .message = "",
                                 .phase = "",
                                 .host = "",
                                 .loss_tag = "train/loss",
                                 .eval_tag = "",
                                 .checkpoint = "",
                                 .variant = i % 2 ? "softmax1" : "vanilla",
                                 .note = "",
                                 .state = HL_RUN_DONE,
                                 .step = (int64_t)i,
                                 .loss = (double)(i % 1000),
                                 .t_start_us = (int64_t)(i + 1) * 1000000,
                                 .config = i % 2 ? hl_run_values_copy(config, 2)
                                                 : hl_run_values_copy(clipped, 3)};
        at.at[i] = &all.at[i];
    }
    hl_run_rows *rows = hl_run_rows_copy(at.at, n);
    for (size_t i = 0; i < n; i++)
        hl_run_values_unref(all.at[i].config);
    hl_vec_done(&all);
    hl_vec_done(&at);
    hl_free(dir);
    cr_assert_not_null(rows);
    return rows;
}

static void show(size_t n)
{
    hl_run_rows_free(s.model.rows);
    s.model.rows = make_rows(n);
    s.model.has_rows = true;
    s.model.n_lists++;
    hl_screen_order(&s);
}

static void begin(void)
{
    setenv("XDG_STATE_HOME", "/proc/nowhere", 1); /* nothing is kept */
    cr_assert_eq(hl_term_dump_open(&(hl_term_options){.glyphs = "ascii", .color = "never"}, 80, 24,
                                   "", &term),
                 HL_OK);
    cr_assert_eq(hl_screen_open(&s, term, "/nowhere/runs"), HL_OK);
}

static void end(void)
{
    s.columns_changed = s.colors_changed = false;
    hl_screen_close(&s);
    hl_term_close(term);
}

TestSuite(list, .init = begin, .fini = end, .timeout = 120);

static void press(const char *keys)
{
    for (const char *at = keys; *at;) {
        int key;
        cr_assert_eq(hl_key_script_next(&at, &key), HL_OK);
        hl_screen_input(&s, &(hl_input){.key = key});
    }
}

static bool is_shown(const char *text)
{
    hl_str picture = {0};
    hl_screen_draw(&s);
    hl_grid_print(&s.grid, &picture);
    const bool is = strstr(hl_str_text(&picture), text) != NULL;
    if (!is)
        fputs(hl_str_text(&picture), stderr);
    hl_str_done(&picture);
    return is;
}

Test(list, a_hundred_thousand_runs_scroll)
{
    enum { N = 100000, DOWN = 5000 };
    show(N);
    cr_assert_eq(s.lines.n, N);
    cr_expect(is_shown("run-99999"));
    for (int i = 0; i < DOWN; i++)
        press("j");
    cr_expect_eq(hl_screen_line(&s), DOWN);
    cr_expect_str_eq(s.selected, "runs/run-94999");
    cr_expect(is_shown("run-94999"));
    press("G");
    cr_expect_str_eq(s.selected, "runs/run-0");
    press(":sort -name<Enter>"); /* the cursor stays on its run */
    cr_expect_str_eq(s.selected, "runs/run-0");
    cr_expect_eq(hl_screen_line(&s), N - 1);
    press("gg");
    cr_expect_str_eq(s.selected, "runs/run-99999");
    press(":filter seed<lt>10<Enter>");
    cr_expect_eq(s.lines.n, 10);
    cr_expect(is_shown("10 of 100000"));
    press(":filter<Enter>:group attn<Enter>");
    cr_expect_eq(s.lines.n, 2);
    press("Ggg<Enter>j");
    cr_expect_eq(s.lines.n, 2 + N / 2);
    cr_expect_eq(hl_screen_line(&s), 1);
    cr_expect(!s.on_group);
}

/* However many are marked: a column that is the same in all but the last one is shown. */
Test(list, what_differs_among_many)
{
    enum { N = 3000 };
    show(N);
    press(":columns optim.lr seed attn<Enter>jj<Space>");
    press("GkV"); /* all but the first two and the last one */
    cr_expect_eq(s.marks.n, N - 3);
    const hl_differ *d = hl_screen_differ(&s);
    cr_assert_eq(d->rows.n, N - 3);
    cr_assert_eq(d->keys.n, 2);
    cr_expect(!strcmp(d->keys.at[0], "seed") || !strcmp(d->keys.at[1], "seed"));
    cr_expect(!strcmp(d->keys.at[0], "clip") || !strcmp(d->keys.at[1], "clip"));
    press("D");
    cr_expect(is_shown("what differs among 2997 runs"));
    cr_expect(s.columns[1].differs && s.columns[2].differs && !s.columns[0].differs);
    cr_expect(!is_shown(" lr "));
}

/* No two marked runs have one colour; a run that had one before has it again. */
Test(list, colours_stay_with_their_runs)
{
    show(5);
    press("<Space><Space><Space>");
    const int first = hl_screen_color(&s, "runs/run-4"), third = hl_screen_color(&s, "runs/run-2");
    cr_expect_eq(first, 0);
    cr_expect_eq(third, 2);
    press("gg<Space><Space>"); /* the first two no longer */
    hl_screen_mark(&s, "runs/run-0", true);
    cr_expect_eq(hl_screen_color(&s, "runs/run-0"), 3);
    hl_screen_mark(&s, "runs/run-4", true);
    cr_expect_eq(hl_screen_color(&s, "runs/run-4"), first);
    show(40); /* more than there are letters */
    bool seen[64] = {false};
    for (int i = 0; i < 40; i++) {
        char dir[32];
        snprintf(dir, sizeof dir, "runs/run-%d", i);
        hl_screen_mark(&s, dir, true);
        const int color = hl_screen_color(&s, dir);
        cr_assert(color >= 0 && color < 64 && !seen[color], "%s: %d", dir, color);
        seen[color] = true;
    }
}

/* ---- before the first step ---- */

static char store[] = "/tmp/hoplab-list.XXXXXX";

static void look_until(bool (*is_there)(void))
{
    for (int i = 0; i < 6000 && !is_there(); i++) {
        hl_screen_update(&s);
        hl_screen_draw(&s);
        hl_clock_sleep_ms(5);
    }
    cr_assert(is_there());
}

static bool has_phase(void)
{
    const hl_run_row *row = hl_screen_row(&s);
    const hl_watched *w = hl_screen_run(&s);
    return row && *row->phase && w && w->caught_up;
}

static bool has_points(void)
{
    const hl_watched *w = hl_screen_run(&s);
    return w && w->caught_up && hl_watched_series(w, "train/loss");
}

/* Its phase, for how long, and a bar where the phase knows its whole; then how far the events are
 * read. */
Test(list, a_picture_before_the_first_step)
{
    char *dir;
    hl_writer *w;
    const hl_run_facts_in facts = {.id = "run-1", .name = "early"};
    cr_assert_not_null(mkdtemp(store));
    cr_assert_eq(hl_run_dir_create(store, &facts, &dir), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_writer_open(dir, NULL, &w), HL_OK);
    hl_writer_set_state(w, 0, &(hl_state_note){.state = HL_RUN_STARTING});
    hl_writer_heartbeat(w, 0, 600, "reading data, 31 %");
    const hl_sink k = hl_writer_sink(w);
    k.flush(k.self);
    hl_screen_close(&s);
    cr_assert_eq(hl_screen_open(&s, term, store), HL_OK);
    look_until(has_phase);
    press("2");
    cr_expect(is_shown("starting: reading data, 31 %, no points yet"));
    cr_expect(is_shown("since "));
    int n = 0; /* of the bar: 31 % of 76 columns */
    for (int x = 2; x < 78; x++)
        n += s.grid.cell[5 * 80 + x].ch == '#';
    cr_expect(n >= 23 && n <= 24, "%d columns of the bar", n);
    k.scalar(k.self, k.series(k.self, "train/loss", HL_SERIES_SCALAR, NULL), 0, 3);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    look_until(has_points);
    hl_watched *run = hl_screen_run(&s);
    run->caught_up = false; /* of a larger file */
    run->bytes_total = 2000000000;
    run->bytes_done = 620000000;
    cr_expect(is_shown("reading 31 % of "));
    hl_free(dir);
    HL_IGNORE(hl_fs_remove_tree(store));
}

Test(list, shares_of_phases)
{
    double share = -1;
    cr_expect(hl_phase_share("reading, 31 %", &share) && share == .31);
    cr_expect(hl_phase_share("x 100 %", &share) && share == 1);
    static const char *const none[] = {"", "%", " %", "compiling", "31 %", "x 101 %", "x y %"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        cr_expect(!hl_phase_share(none[i], &share), "%s", none[i]);
}

/* ---- counts ---- */

/* Keys this long after each other; 0: it is not known when they came, as in a script. */
static void type(const char *keys, int64_t each_ms)
{
    static int64_t now_ms = 1000000;
    for (; *keys; keys++, now_ms += each_ms)
        hl_screen_input(&s, &(hl_input){.key = *keys, .t_ms = each_ms ? now_ms : 0});
    now_ms += 10000;
}

Test(list, digits_are_views_and_counts)
{
    show(200);
    type("5j", 100);
    cr_expect_eq(s.look.view, HL_VIEW_RUNS);
    cr_expect_eq(hl_screen_line(&s), 5);
    type("12j", 100);
    cr_expect_eq(hl_screen_line(&s), 17);
    type("10k", 100);
    cr_expect_eq(hl_screen_line(&s), 7);
    type("30G", 100);
    cr_expect_eq(hl_screen_line(&s), 29);
    type("4gg", 100);
    cr_expect_eq(hl_screen_line(&s), 3);
    type("3", 100); /* alone it is the view */
    cr_expect_eq(s.look.view, HL_VIEW_OUTLIERS);
    type("1j", 900); /* with a pause, too */
    cr_expect_eq(s.look.view, HL_VIEW_RUNS);
    cr_expect_eq(hl_screen_line(&s), 4);
    type("2", 100);
    type("3s", 100); /* no movement: the view, and what the key does there */
    cr_expect_eq(s.look.view, HL_VIEW_OUTLIERS);
    cr_expect_eq(s.look.statistic, 1);
    cr_expect_eq(s.last_view, HL_VIEW_RUN);
    type("1", 100);
    type("2jj", 0); /* a script has no pauses, and no counts */
    cr_expect_eq(s.look.view, HL_VIEW_RUN);
    type("1", 100);
    type("z", 100);
    type("2j", 100);
    cr_expect(s.look.zoom && s.look.view == HL_VIEW_RUNS);
    cr_expect_eq(hl_screen_line(&s), 6);
}

/* The run under the cursor may go while somebody types: files are deleted, lists change. */
Test(list, the_script_stays_while_one_types_in_it)
{
    show(3);
    const hl_pane_class *pane = hl_pane_get(HL_PANE_SCRIPT);
    pane->draw(&s, hl_grid_canvas(&s.grid), true);
    cr_assert_not_null(s.script.of);
    char *first = hl_strdup(s.script.of);
    const char *other = strcmp(first, "runs/run-0") == 0 ? "runs/run-1" : "runs/run-0";
    hl_script_search(&s);
    hl_screen_select(&s, other);
    pane->draw(&s, hl_grid_canvas(&s.grid), true);
    cr_expect_str_eq(s.script.of, first);
    hl_screen_input(&s, &(hl_input){.key = HL_KEY_PASTE, .text = "word"});
    cr_expect_str_eq(hl_str_text(&s.script.word.text), "word");
    press("<Enter>");
    pane->draw(&s, hl_grid_canvas(&s.grid), true);
    cr_expect_str_eq(s.script.of, other);
    hl_free(first);
}
