/* The terminal is given back, whatever happens to the program: end, signals, crashes, suspension,
 * loss. And it is not taken where it must not be. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <glob.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/screens/probe.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

TestSuite(term_end, .init = probe_make_state, .fini = probe_remove_state, .timeout = 60);

/* --- refusals --- */

Test(term_end, refuses)
{
    static const char *const no_input[] = {"sh", "-c", TERM_PROBE " < /dev/null", NULL};
    static const char *const no_output[] = {"sh", "-c", TERM_PROBE " | cat; exit 2", NULL};
    static const char *const behind[] = {"bash", "-c", "set -m; " TERM_PROBE " & wait $!", NULL};
    static const struct {
        const char *term;
        const char *const *argv;
        const char *why;
    } rows[] = {{"dumb", NULL, "TERM is dumb"},
                {"", NULL, "TERM is not set"},
                {NULL, no_input, "stdin is none"},
                {NULL, no_output, "stdout is none"},
                {NULL, behind, "cannot start in the background"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        screen *s =
            probe_start((screen_options){.term = rows[i].term, .argv = rows[i].argv, .cols = 200});
        probe_expect_exit(s, 2);
        cr_expect(probe_printed(s, 0, rows[i].why), "%s", rows[i].why);
        cr_expect(probe_printed(s, 0, "hoplab ls"));
        cr_expect(!probe_printed(s, 0, "\033[?"), "modes were touched: %s", rows[i].why);
        screen_end(s);
    }
}

/* --- the end --- */

Test(term_end, takes_and_gives_back)
{
    screen *s = probe_start_shown((screen_options){0});
    cr_expect(screen_is_raw(s));
    static const int modes[] = {1049, 1000, 1002, 1006, 2004};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        cr_expect(screen_mode(s, modes[i]), "mode %d", modes[i]);
    cr_expect(!screen_mode(s, 25));
    screen_send(s, "m"); /* the mouse is off already when the end comes */
    cr_expect(screen_wait_printed(s, "\033[?1000l", PROBE_LIMIT_MS));
    screen_send(s, "c");
    cr_expect(screen_wait_quiet(s, 50, PROBE_LIMIT_MS) && screen_mode(s, 25));
    int x, y;
    screen_cursor(s, &x, &y);
    cr_expect(x == 6 && y == 8);
    screen_send(s, "q");
    probe_expect_exit(s, 0);
    cr_expect(screen_wait_text(s, "probe: the end", PROBE_LIMIT_MS));
    screen_end(s);
}

Test(term_end, ends_by_signals)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGQUIT};
    static const char *const terms[] = {"xterm-256color", "vt100"};
    for (size_t i = 0; i < 8; i++) {
        screen *s = probe_start_shown((screen_options){.term = terms[i / 4]});
        screen_kill(s, signals[i % 4]);
        probe_expect_exit(s, 100 + signals[i % 4]);
        screen_end(s);
    }
}

Test(term_end, a_program_that_hangs_ends_by_a_second_signal)
{
    int status;
    screen *s = probe_start_shown((screen_options){0});
    screen_send(s, "H");
    screen_let_pass(s, 50);
    screen_kill(s, SIGTERM);
    cr_expect(!screen_wait_exit(s, 2200, &status));
    screen_kill(s, SIGTERM);
    cr_assert(screen_wait_exit(s, PROBE_LIMIT_MS, &status));
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    cr_expect(screen_is_given_back(s));
    screen_end(s);
}

Test(term_end, nohup_is_respected)
{
    static const char *const argv[] = {"sh", "-c", "trap '' HUP; exec " TERM_PROBE, NULL};
    screen *s = probe_start_shown((screen_options){.argv = argv});
    screen_kill(s, SIGHUP);
    screen_send(s, "k");
    probe_expect_said(s, "k");
    screen_end(s);
}

Test(term_end, the_terminal_goes_away)
{
    int status;
    screen *s = probe_start_shown((screen_options){0});
    screen_hang_up(s);
    cr_assert(screen_wait_exit(s, PROBE_LIMIT_MS, &status));
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 100 + SIGHUP, "%#x", (unsigned)status);
    screen_end(s);
}

/* No signal tells it: the session leader is another one, that ignores the loss. */
Test(term_end, the_terminal_goes_away_silently)
{
    static const char *const argv[] = {"sh", "-c", "trap '' HUP; " TERM_PROBE "; exit $?", NULL};
    int status;
    screen *s = probe_start_shown((screen_options){.argv = argv});
    screen_hang_up(s);
    cr_assert(screen_wait_exit(s, PROBE_LIMIT_MS, &status));
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 100 + SIGHUP, "%#x", (unsigned)status);
    screen_end(s);
}

static void expect_trace(const char *pattern, bool there)
{
    glob_t found;
    char path[128];
    snprintf(path, sizeof path, "%s/hoplab/%s", probe_state(), pattern);
    cr_expect_eq(glob(path, 0, NULL, &found) == 0, there);
    globfree(&found);
}

static void expect_crash(screen *s, int signal_number)
{
    int status = 0;
    cr_assert(screen_wait_exit(s, PROBE_LIMIT_MS, &status));
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == signal_number, "signal %d: status %#x",
              signal_number, (unsigned)status);
    cr_expect(screen_is_given_back(s), "signal %d", signal_number);
    char text[32];
    snprintf(text, sizeof text, "crashed, signal %d", signal_number);
    cr_expect(probe_printed(s, 0, text) && probe_printed(s, 0, probe_state()));
    cr_expect(probe_printed(s, 0, "words to stderr"));
}

Test(term_end, crashes)
{
    static const int plain[] = {SIGSEGV, SIGBUS,  SIGILL,  SIGFPE, SIGABRT,
                                SIGSYS,  SIGXCPU, SIGXFSZ, 0};
    static const int sanitized[] = {SIGABRT, SIGSYS, SIGXCPU, SIGXFSZ, 0};
    for (const int *n = SANITIZED ? sanitized : plain; *n; n++) {
        screen *s = probe_start_shown((screen_options){0});
        screen_send(s, "e");
        cr_expect(screen_wait_quiet(s, 80, PROBE_LIMIT_MS));
        screen_kill(s, *n);
        expect_crash(s, *n);
        screen_end(s);
    }
    expect_trace("crash-*.txt", true);
}

Test(term_end, crashes_of_its_own)
{
    static const char *const keys[] = {"S", "A", "F"};
    static const int signals[] = {SIGSEGV, SIGABRT, SIGFPE};
    for (size_t i = 0; i < 3; i++) {
        int status;
        screen *s = probe_start_shown((screen_options){0});
        screen_send(s, "e");
        screen_send(s, keys[i]);
        if (SANITIZED && signals[i] != SIGABRT) {
            cr_expect(screen_wait_exit(s, PROBE_LIMIT_MS, &status));
            cr_expect(screen_is_given_back(s));
            cr_expect(probe_printed(s, 0, "Sanitizer") || probe_printed(s, 0, "runtime error"));
        } else {
            expect_crash(s, signals[i]);
        }
        screen_end(s);
    }
}

Test(term_end, a_crash_without_a_place_for_its_trace)
{
    static const char *const env[] = {"XDG_STATE_HOME=/proc/nowhere", NULL};
    int status;
    screen *s = probe_start_shown((screen_options){.env = env});
    screen_send(s, "A");
    cr_assert(screen_wait_exit(s, PROBE_LIMIT_MS, &status));
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    cr_expect(screen_is_given_back(s) && probe_printed(s, 0, "crashed, signal 6; runs go on"));
    screen_end(s);
}

/* --- suspension --- */

static const char *const in_shell[] = {
    "bash", "-c", "set -m; " TERM_PROBE "; echo stopped; read x; fg; echo status $?", NULL};

static void go_on_and_quit(screen *s)
{
    cr_assert(screen_wait_printed(s, "stopped", PROBE_LIMIT_MS));
    cr_expect(screen_is_given_back(s));
    screen_resize(s, 70, 20);
    screen_send(s, "\n");
    cr_assert(screen_wait_text(s, "probe 70x20", PROBE_LIMIT_MS));
    cr_expect(screen_wait_quiet(s, 80, PROBE_LIMIT_MS));
    cr_expect(screen_is_raw(s) && screen_mode(s, 1049) && screen_mode(s, 1006) &&
              screen_mode(s, 2004) && !screen_mode(s, 25));
    screen_send(s, "k");
    probe_expect_said(s, "k");
    screen_send(s, "q");
    probe_expect_exit(s, 0);
    cr_expect(screen_wait_text(s, "status 0", PROBE_LIMIT_MS));
}

Test(term_end, suspends_by_its_key)
{
    screen *s = probe_start_shown((screen_options){.argv = in_shell});
    screen_send_key(s, "C-z");
    cr_expect(screen_wait_text(s, "hoplab: suspended; runs go on", PROBE_LIMIT_MS));
    go_on_and_quit(s);
    screen_end(s);
}

static int child_of(int pid)
{
    char command[64], line[32] = "";
    snprintf(command, sizeof command, "pgrep -P %d", pid);
    FILE *f = popen(command, "r");
    cr_assert(f && fgets(line, sizeof line, f));
    pclose(f);
    return (int)strtol(line, NULL, 10);
}

Test(term_end, suspends_by_signal)
{
    screen *s = probe_start_shown((screen_options){.argv = in_shell});
    kill(child_of(screen_pid(s)), SIGTSTP);
    cr_expect(screen_wait_text(s, "hoplab: suspended; runs go on", PROBE_LIMIT_MS));
    go_on_and_quit(s);
    screen_end(s);
}

Test(term_end, stopped_from_outside)
{
    screen *s = probe_start_shown((screen_options){0});
    screen_kill(s, SIGSTOP);
    screen_let_pass(s, 50);
    screen_reset_termios(s); /* the shell has the terminal now */
    cr_expect(!screen_is_raw(s));
    size_t from = screen_mark(s);
    screen_kill(s, SIGCONT);
    cr_expect(screen_wait_quiet(s, 100, PROBE_LIMIT_MS));
    cr_expect(screen_is_raw(s) && screen_mode(s, 1049) && screen_mode(s, 2004));
    cr_expect(probe_printed(s, from, "probe 80x24"), "it paints all");
    screen_send(s, "q");
    probe_expect_exit(s, 0);
    screen_end(s);
}

/* Nobody could wake it again, so it does not stop. */
Test(term_end, does_not_stop_without_a_shell)
{
    screen *s = probe_start_shown((screen_options){0});
    screen_send_key(s, "C-z");
    screen_send(s, "k");
    probe_expect_said(s, "k");
    cr_expect(screen_is_raw(s) && screen_mode(s, 1049));
    screen_end(s);
}
