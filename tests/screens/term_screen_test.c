/* The terminal layer on an emulated terminal: what it shows, how few bytes that takes, what keys
 * come out of it. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/screens/probe.h"

#define GOLDEN "tests/screens/golden/"

TestSuite(term_screen, .init = probe_make_state, .fini = probe_remove_state, .timeout = 60);

/* --- pictures --- */

static const struct {
    const char *name, *term, *lang, *env;
} pictures[] = {
    {"xterm-256color", "xterm-256color", "C.UTF-8", NULL},
    {"xterm-256color-ascii", "xterm-256color", "C", NULL},
    {"xterm-256color-mono", "xterm-256color", "C.UTF-8", "NO_COLOR=1"},
    {"xterm-256color-light", "xterm-256color", "C.UTF-8", "HOPLAB_THEME=light"},
    {"xterm-256color-contrast", "xterm-256color", "C.UTF-8", "HOPLAB_THEME=high-contrast"},
    {"tmux-256color", "tmux-256color", "C.UTF-8", NULL},
    {"screen", "screen", "C.UTF-8", NULL},
    {"screen-contrast", "screen", "C.UTF-8", "HOPLAB_THEME=high-contrast"},
    {"linux", "linux", "C.UTF-8", NULL},
    {"linux-ascii", "linux", "C", NULL},
    {"vt100", "vt100", "C", NULL},
};

Test(term_screen, pictures)
{
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        const char *const env[] = {pictures[i].env, NULL};
        char path[128];
        screen *s = probe_start_shown(
            (screen_options){.term = pictures[i].term, .lang = pictures[i].lang, .env = env});
        snprintf(path, sizeof path, GOLDEN "term-%s.txt", pictures[i].name);
        cr_expect(screen_expect(s, path), "%s", path);
        snprintf(path, sizeof path, GOLDEN "term-%s.looks", pictures[i].name);
        char *looks = screen_looks(s);
        cr_expect(screen_expect_text(looks, path), "%s", path);
        free(looks);
        screen_send(s, "q");
        probe_expect_exit(s, 0);
        screen_end(s);
    }
}

Test(term_screen, mono_sends_no_colour)
{
    static const char *const env[] = {"NO_COLOR=1", NULL};
    screen *s = probe_start_shown((screen_options){.env = env});
    char *looks = screen_looks(s);
    cr_expect(strstr(looks, "bold") && strstr(looks, "reverse") && strstr(looks, "underline"));
    for (const char *at = looks; (at = strstr(at, "fg=")); at++)
        cr_expect(strncmp(at, "fg=- bg=-", 9) == 0);
    free(looks);
    cr_expect(!probe_printed(s, 0, "\033[39"));
    screen_end(s);
}

/* Where the description has direct colours they are used; the palette is nobody's to change. */
Test(term_screen, direct_colours)
{
    static const char entry[] =
        "xterm-direct|made by a test, RGB, colors#0x1000000, pairs#0x10000,\n"
        "\tsetaf=\\E[%?%p1%{8}%<%t3%p1%d%e38:2::%p1%{65536}%/%d:%p1%{256}%/%{255}%&%d:"
        "%p1%{255}%&%d%;m,\n"
        "\tsetab=\\E[%?%p1%{8}%<%t4%p1%d%e48:2::%p1%{65536}%/%d:%p1%{256}%/%{255}%&%d:"
        "%p1%{255}%&%d%;m,\n\tuse=xterm-256color,\n";
    char path[128], command[300], place[128];
    snprintf(path, sizeof path, "%s/direct.src", probe_state());
    snprintf(place, sizeof place, "TERMINFO=%s/terminfo", probe_state());
    snprintf(command, sizeof command, "tic -x -o %s %s 2>/dev/null", place + 9, path);
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(entry, f) >= 0 && fclose(f) == 0);
    if (system(command) != 0)
        cr_skip_test("tic cannot make a description");
    const char *const env[] = {place, NULL};
    screen *s = probe_start_shown((screen_options){.term = "xterm-direct", .env = env});
    int n = 0;
    for (int y = 0; y < 24; y++)
        for (int x = 0; x < 80; x++)
            n += screen_cell_at(s, x, y).fg == -2;
    cr_expect_gt(n, 0);
    cr_expect(probe_printed(s, 0, "38:2::"));
    cr_expect(!probe_printed(s, 0, "\033]4;") && !probe_printed(s, 0, "38;5;"));
    screen_send(s, "q");
    probe_expect_exit(s, 0);
    screen_end(s);
}

Test(term_screen, themes_change_without_a_clear)
{
    screen *s = probe_start_shown((screen_options){0});
    size_t from = screen_mark(s);
    screen_send(s, "t");
    cr_expect(screen_wait_text(s, " light", PROBE_LIMIT_MS) &&
              screen_wait_quiet(s, 80, PROBE_LIMIT_MS));
    cr_expect(!probe_printed(s, from, "\033[2J") && !probe_printed(s, from, "\033[J"));
    cr_expect_eq(screen_cell_at(s, 0, 11).fg, 25);
    screen_end(s);
}

Test(term_screen, old_terminals_get_no_questions)
{
    static const char *const terms[] = {"linux", "vt100"};
    for (size_t i = 0; i < 2; i++) {
        screen *s = probe_start_shown((screen_options){.term = terms[i]});
        cr_expect(!probe_printed(s, 0, "\033[5n") && !probe_printed(s, 0, "$p") &&
                  !probe_printed(s, 0, "\033[?1000") && !probe_printed(s, 0, "\033[?2004"));
        screen_end(s);
    }
}

Test(term_screen, unknown_terminals)
{
    static const char *const rows[][2] = {{"xterm-nosuch", "\"xterm\""},
                                          {"foot-extra-256color", "\"xterm-256color\""},
                                          {"nosuch", "\"xterm\""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        screen *s = probe_start_shown((screen_options){.term = rows[i][0]});
        cr_expect(probe_printed(s, 0, rows[i][0]) && probe_printed(s, 0, rows[i][1]), "%s",
                  rows[i][0]);
        cr_expect(screen_wait_text(s, "probe 80x24", PROBE_LIMIT_MS));
        screen_end(s);
    }
}

/* --- keys --- */

Test(term_screen, keys)
{
    static const char *const names[] = {"a",    "?",      "\xc3\xa9", "Up",       "Down", "Left",
                                        "Home", "End",    "PgUp",     "PgDn",     "F1",   "F4",
                                        "Tab",  "S-Tab",  "Enter",    "Esc",      "C-c",  "C-d",
                                        "A-x",  "Insert", "Delete",   "Backspace"};
    static const char *const terms[] = {"xterm-256color", "linux"};
    for (size_t t = 0; t < 2; t++) {
        screen *s = probe_start_shown((screen_options){.term = terms[t]});
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            cr_expect(screen_send_key(s, names[i]));
            if (strcmp(names[i], "\xc3\xa9") != 0 || t == 0)
                probe_expect_said(s, names[i]);
        }
        screen_end(s);
    }
}

Test(term_screen, escape_comes_alone)
{
    static const char *const env[] = {"ESCDELAY=10", NULL};
    screen *s = probe_start_shown((screen_options){.env = env});
    screen_send(s, "\033");
    screen_let_pass(s, 60);
    screen_send(s, "j");
    probe_expect_said(s, "j");
    cr_expect(screen_wait_text(s, "keys: 2", PROBE_LIMIT_MS));
    screen_end(s);
}

Test(term_screen, mouse)
{
    screen *s = probe_start_shown((screen_options){.cols = 250});
    screen_send_mouse(s, 0, 240, 5, false);
    probe_expect_said(s, "press at 240,5");
    screen_send_mouse(s, 0, 240, 5, true);
    probe_expect_said(s, "release at 240,5");
    screen_send_mouse(s, 0, 240, 5, false);
    screen_send_mouse(s, 32, 241, 5, false);
    probe_expect_said(s, "drag at 241,5");
    screen_send_mouse(s, 2, 3, 4, false);
    probe_expect_said(s, "right at 3,4");
    screen_send_mouse(s, 65, 3, 4, false);
    probe_expect_said(s, "wheel down at 3,4");
    cr_expect(screen_run_script(s, "<sleep:350><double:7,8>", NULL));
    probe_expect_said(s, "release at 7,8");
    cr_expect(screen_wait_text(s, "keys: 10", PROBE_LIMIT_MS));
    screen_let_pass(s, 350);
    screen_send_mouse(s, 0, 9, 9, false);
    screen_send_mouse(s, 0, 9, 9, false);
    probe_expect_said(s, "double at 9,9");
    screen_end(s);
}

Test(term_screen, paste_is_no_keys)
{
    screen *s = probe_start_shown((screen_options){0});
    screen_send(s, "\033[200~quit\033[A q\033[201~");
    probe_expect_said(s, "pasted 8: quit[A q");
    cr_expect(screen_wait_text(s, "keys: 1", PROBE_LIMIT_MS));
    screen_end(s);
}

/* --- size, bytes, pace --- */

Test(term_screen, resizes)
{
    screen *s = probe_start_shown((screen_options){0});
    static const int sizes[][2] = {{132, 43}, {20, 5}, {300, 10}, {80, 24}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char text[32];
        screen_resize(s, sizes[i][0], sizes[i][1]);
        snprintf(text, sizeof text, "probe %dx%d", sizes[i][0], sizes[i][1]);
        cr_expect(screen_wait_text(s, text, PROBE_LIMIT_MS), "%s", text);
        cr_expect(screen_wait_quiet(s, 80, PROBE_LIMIT_MS));
        cr_expect_eq(screen_cell_at(s, sizes[i][0] - 1, sizes[i][1] - 1).ch, '#');
    }
    screen_resize(s, 1, 1);
    cr_expect(screen_wait_quiet(s, 80, PROBE_LIMIT_MS));
    screen_resize(s, 80, 24);
    cr_expect(screen_wait_text(s, "probe 80x24", PROBE_LIMIT_MS));
    cr_expect(screen_wait_quiet(s, 80, PROBE_LIMIT_MS));
    cr_expect(screen_expect(s, GOLDEN "term-xterm-256color.txt"));
    screen_end(s);
}

/* The emulator gives ambiguous characters one column. That nothing is sent between one and what
 * follows it, and that a change behind it goes to its place, says that curses knows of two. */
Test(term_screen, ambiguous_characters_take_what_the_terminal_gives_them)
{
    screen *s = probe_start_shown((screen_options){0});
    cr_expect(probe_printed(s, 0, "accents: \xc3\xa9\xc3\xa5"));
    cr_expect(probe_printed(s, 0, "\xe2\x95\x94\xe2\x95\x90"), "a frame of lines");
    size_t from = screen_mark(s);
    screen_send(s, "w");
    cr_expect(screen_wait_text(s, "#= framed ", PROBE_LIMIT_MS), "a frame of ASCII");
    cr_expect(screen_wait_quiet(s, 80, PROBE_LIMIT_MS));
    cr_expect(probe_printed(s, from, "accents: \xc3\xa9\xc3\xa5"));
    cr_expect(!probe_printed(s, from, "\xe2\x95\x90") && !probe_printed(s, from, "\xef\xbf\xbd"));
    screen_send(s, "x");
    screen_let_pass(s, 50);
    cr_expect(screen_wait_quiet(s, 80, PROBE_LIMIT_MS));
    cr_expect_eq(screen_cell_at(s, 40, 6).ch, 'b');
    screen_send(s, "w");
    cr_expect(screen_wait_printed(s, "\xe2\x95\x94\xe2\x95\x90", PROBE_LIMIT_MS));
    screen_send(s, "q");
    probe_expect_exit(s, 0);
    screen_end(s);
}

static size_t bytes_for(screen *s, const char *keys)
{
    size_t from = screen_mark(s);
    screen_send(s, keys);
    screen_let_pass(s, 50);
    cr_expect(screen_wait_quiet(s, 80, PROBE_LIMIT_MS));
    return screen_mark(s) - from;
}

Test(term_screen, few_bytes)
{
    screen *s = probe_start_shown((screen_options){0});
    size_t first = screen_mark(s), cell = bytes_for(s, "x"), line = bytes_for(s, "l");
    size_t all = bytes_for(s, "p"), key = bytes_for(s, "k");
    screen_let_pass(s, 300);
    size_t still = screen_mark(s);
    screen_let_pass(s, 700);
    fprintf(stderr, "bytes: start %zu, one cell %zu, line of 60 %zu, key %zu, repaint %zu\n", first,
            cell, line, key, all);
    cr_expect_leq(cell, 45);
    cr_expect_leq(line, 60 * 3 + 40); /* 60 characters of three bytes at most */
    cr_expect_leq(key, 60);
    cr_expect_lt(all, 3000);
    cr_expect_eq(screen_mark(s), still, "a still screen sends nothing");
    screen_end(s);
}

static int count(const screen *s, const char *bytes)
{
    size_t n;
    int found = 0;
    for (const char *at = screen_printed(s, &n); (at = strstr(at, bytes)); at += strlen(bytes))
        found++;
    return found;
}

Test(term_screen, a_frame_waits_for_the_answer)
{
    screen *s = probe_start_shown((screen_options){0});
    int before = count(s, "\033[5n");
    for (int i = 0; i < 3; i++)
        bytes_for(s, "x");
    cr_expect_eq(count(s, "\033[5n"), before + 3);
    cr_expect_eq(count(s, "\033[?2026h"), 0);
    screen_send(s, "q");
    probe_expect_exit(s, 0);
    screen_end(s);
}

Test(term_screen, a_terminal_that_answers_nothing_is_not_waited_for)
{
    screen *s = probe_start_shown((screen_options){.silent = true});
    for (int i = 0; i < 5; i++)
        bytes_for(s, "x");
    cr_expect_eq(count(s, "\033[5n"), 1);
    screen_send(s, "k");
    probe_expect_said(s, "k");
    screen_send(s, "q");
    probe_expect_exit(s, 0);
    screen_end(s);
}

Test(term_screen, frames_in_marks_where_they_are_known)
{
    screen *s = probe_start_shown((screen_options){.knows_sync = true});
    bytes_for(s, "x");
    cr_expect_geq(count(s, "\033[?2026h"), 1);
    cr_expect_eq(count(s, "\033[?2026h"), count(s, "\033[?2026l"));
    screen_send(s, "q");
    probe_expect_exit(s, 0);
    screen_end(s);
}

/* --- the rest --- */

Test(term_screen, stderr_is_kept_from_the_screen)
{
    screen *s = probe_start_shown((screen_options){0});
    screen_send(s, "e");
    screen_send(s, "f");
    probe_expect_said(s, "fetched \"words to stderr\"");
    screen_send(s, "f");
    probe_expect_said(s, "fetched \"\"");
    screen_send(s, "e");
    screen_let_pass(s, 50);
    size_t from = screen_mark(s);
    cr_expect(screen_wait_quiet(s, 80, PROBE_LIMIT_MS));
    screen_send(s, "q");
    probe_expect_exit(s, 0);
    cr_expect(probe_printed(s, from, "words to stderr"));
    screen_end(s);
}

Test(term_screen, copies)
{
    screen *s = probe_start_shown((screen_options){0});
    screen_send(s, "y");
    cr_expect(screen_wait_printed(s, "\033]52;c;Y29waWVkIOKCrA==\a", PROBE_LIMIT_MS));
    screen_end(s);
}
