/* The workbench and live runs: nothing that happens to the screen reaches the run, and what is
 * asked of the run gets an answer on the screen. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/screens/harness.h"

enum { LIMIT_MS = 30000 };

static char folder[] = "/tmp/hoplab-live.XXXXXX";
static char run_id[64];

/* ---- the run ---- */

/* The output of a shell command in the folder of the test. */
static const char *shell(const char *command)
{
    static char out[8192];
    size_t n = 0, got;
    FILE *p = popen(command, "r");
    cr_assert_not_null(p);
    while (n + 1 < sizeof out && (got = fread(out + n, 1, sizeof out - 1 - n, p)) > 0)
        n += got;
    pclose(p);
    out[n] = 0;
    out[strcspn(out, "\n")] = 0;
    return out;
}

static void begin(void)
{
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
    setenv("HOPLAB_RUNS", "runs", 1);
    setenv("HOME", folder, 1);
    setenv("XDG_STATE_HOME", folder, 1);
    unsetenv("HOPLAB_TEST_CLOCK");
}

static void end(void)
{
    char command[128];
    for (int i = 0; i < 3; i++)
        shell(HOPLAB " ctl last stop >/dev/null 2>&1");
    snprintf(command, sizeof command, "cd / && rm -rf %s", folder);
    shell(command);
}

/* A run that does not end by itself. */
static void start_run(void)
{
    snprintf(run_id, sizeof run_id, "%s",
             shell(HOPLAB " run " TINY " --detach --threads 1 -s train.max_steps=100000000 "
                          "-s save.every=0 -s eval.every=0 2>&1"));
    cr_assert(strlen(run_id) > 10 && run_id[0] == '2', "no run: %s", run_id);
}

static long step(void)
{
    const char *status = shell(HOPLAB " ctl last status --json 2>/dev/null");
    const char *at = strstr(status, "\"step\":");
    return at ? strtol(at + 7, NULL, 10) : -1;
}

static void expect_goes_on(const char *after)
{
    const long before = step();
    for (int i = 0; i < 200; i++) {
        usleep(50000);
        if (step() > before && before >= 0)
            return;
    }
    cr_expect(false, "the run stands still after %s, at step %ld", after, before);
}

static screen *watch(const char *const *more)
{
    const char *argv[12] = {HOPLAB, "watch", "last"};
    for (int i = 0; more && more[i]; i++)
        argv[3 + i] = more[i];
    screen *s = screen_start(&(screen_options){.argv = argv});
    cr_assert_not_null(s);
    screen_set_limit(s, LIMIT_MS);
    if (!screen_wait_text(s, "train/loss", LIMIT_MS))
        cr_assert(false, "no chart:\n%s", screen_text(s));
    return s;
}

static void script(screen *s, const char *keys)
{
    if (!screen_run_script(s, keys, stdout))
        cr_expect(false, "%s:\n%s", keys, screen_text(s));
}

TestSuite(live, .init = begin, .fini = end, .timeout = 240);

/* ---- the run does not depend on the screen ---- */

Test(live, whatever_ends_the_screen_the_run_goes_on)
{
    static const struct {
        int signal;
        const char *name;
        int exits; /* or dies by the signal: 0 */
    } cases[] = {{SIGHUP, "HUP", 128 + SIGHUP},
                 {SIGINT, "INT", 128 + SIGINT},
                 {SIGTERM, "TERM", 128 + SIGTERM},
                 {SIGSEGV, "SEGV", 0},
                 {SIGABRT, "ABRT", 0},
                 {SIGKILL, "KILL", 0}};
    start_run();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = 0;
        screen *s = watch(NULL);
        script(s, (const char *[]){"1", "2", "3", "4", "5", "2?"}[i]); /* in every view */
        screen_kill(s, cases[i].signal);
        cr_assert(screen_wait_exit(s, LIMIT_MS, &status), "%s", cases[i].name);
#ifndef __SANITIZE_ADDRESS__
        if (cases[i].exits)
            cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == cases[i].exits, "%s: %#x",
                      cases[i].name, (unsigned)status);
        else
            cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == cases[i].signal, "%s: %#x",
                      cases[i].name, (unsigned)status);
#endif
        if (cases[i].signal != SIGKILL)
            cr_expect(screen_is_given_back(s), "%s", cases[i].name);
        screen_end(s);
        expect_goes_on(cases[i].name);
    }
    int status = 0;
    screen *s = watch(NULL);
    screen_hang_up(s);
    cr_assert(screen_wait_exit(s, LIMIT_MS, &status), "the terminal went away, the screen did not");
    screen_end(s);
    expect_goes_on("the loss of the terminal");
}

Test(live, suspended_and_back)
{
    start_run();
    static const char *const argv[] = {
        "bash", "-c", "set -m; " HOPLAB " watch last; echo BACK; fg; echo OVER", NULL};
    screen *s = screen_start(&(screen_options){.argv = argv});
    cr_assert_not_null(s);
    screen_set_limit(s, LIMIT_MS);
    script(s, "<wait:train/loss><C-z>");
    cr_expect(screen_wait_printed(s, "runs go on", LIMIT_MS)); /* the shell goes on at once */
    const long before = step();
    script(s, "<wait:train/loss>");
    expect_goes_on("a suspension");
    cr_expect_gt(step(), before);
    script(s, "q<wait:OVER>");
    cr_expect(screen_is_given_back(s));
    screen_end(s);
}

/* Only when asked for, and not by anybody else's words. */
Test(live, a_window_title_is_given_back)
{
    shell(SAMPLE_STORE " runs");
    screen *s = watch(NULL);
    size_t n;
    script(s, "<sleep:200>");
    cr_expect(!strstr(screen_printed(s, &n), "\033]2;"));
    script(s, ":set title=on<Enter>");
    cr_expect(screen_wait_printed(s, "\033[22;2t\033]2;hoplab - ", LIMIT_MS));
    script(s, ":view runs<Enter>jj");
    cr_expect(screen_wait_printed(s, "opt-typo\a", LIMIT_MS));
    script(s, "q");
    cr_expect(screen_wait_printed(s, "\033[23;2t", LIMIT_MS));
    screen_end(s);
}

/* Ctrl-C there is the command's, not the screen's; the run goes on. */
Test(live, a_command_of_the_shell)
{
    start_run();
    screen *s = watch(NULL);
    script(s, ":!echo two $((1+1)) >&2; exit 3<Enter><wait:two 2><wait:Enter goes back>");
    cr_expect(screen_is_given_back(s));
    script(s, "<Enter><wait:exit status 3>");
    cr_expect(screen_is_raw(s) && screen_mode(s, 1049));
    script(s, ":!echo be''gun; sleep 100<Enter><wait:begun><sleep:500><C-c><sleep:200><Enter>"
              "<wait:by signal 2>");
    expect_goes_on("a command of the shell");
    script(s, "q");
    screen_end(s);
}

/* ---- controls ---- */

Test(live, each_request_is_answered_with_its_step)
{
    start_run();
    screen *s = watch(NULL);
    script(s, "P<wait:pause: applied at step><wait:paused>");
    const long at = step();
    usleep(300000);
    cr_expect_eq(step(), at, "paused, it went from %ld to %ld", at, step());
    script(s, "P<wait:resume: applied at step>");
    expect_goes_on("resume");
    script(s, ":knob lr.s<Tab>1<Enter><wait:set lr.scale=1: applied at step>"); /* Tab knows knobs */
    script(s, ":knob lr=0.0005<Enter><wait:set lr=0.0005: applied at step>");
    script(s, ":knob lr=fast<Enter><wait:lr: ><C-c>");
    script(s, ":knob momentum=1<Enter><wait:refused>");
    script(s, ":knob lr=cosine:warmup=2<Enter><wait:lr=cosine:warmup=2: applied at step>");
    cr_expect(strstr(shell(HOPLAB " ctl last knobs | grep '^lr '"), "cosine:warmup=2"));
    script(s, "1<wait:~tiny>2");
    cr_expect(strstr(shell(HOPLAB " ctl last set lr=cosnie 2>&1"), "did you mean cosine"));
    script(s, "C<wait:checkpoint: applied at step>");
    script(s, ":checkpoint keep<Enter><wait:checkpoint keep: applied at step>");
    script(s, ":checkpoint keep<Enter><wait:a checkpoint 'keep' already>");
    cr_expect(strstr(shell(HOPLAB " show last | grep -c '^  keep$'"), "1"));
    script(s, "E<wait:evaluate: applied at step>");
    script(s, ":eval test<Enter><wait:has no test part>");
    script(s, ":eval tset<Enter><wait:eval takes><C-c>");
    cr_expect(strstr(shell(HOPLAB " ctl last eval tset 2>&1"), "eval takes"));
    script(s, "Q<wait:quantize: applied at step>5<wait:47 tensors>S<wait:sensitivity: "
              "applied>=<wait:tiny: restore >");
    script(s, ":quantize -s quantize.percentile=99<Enter><wait:W8A8 percentile 99,>");
    script(s, ":quantize -s quantize.precentile=99<Enter><wait:no option 'precent>2");
    script(s, ":knob lr.scale=0.5<Enter><wait:lr.scale=0.5: applied at step>");
    script(s, ":knob log.every=0<Enter><wait:log.every must be>");
    script(s, ":lua! hop.global('n', 7)<Enter><wait:lua! hop.global('n', 7): applied at step>");
    script(s, ":lua! print(6 * n) return n<Enter><wait:applied at step><wait:, 42>8<wait:tiny> "
              "print(6 * n) return n><Esc>:lua! nil + 1<Enter><wait:refused: console:1: attempt>2");
    script(s, ":queue<Enter><wait:no request waits>:cancel 999<Enter><wait:no request 999>");
    script(s, ":knob<Enter><wait:held><Esc>");
    script(s, "3<wait:infinity norm>:flag spikes<Enter><wait:  spikes >m<wait:unflag: done>2");
    cr_expect(strstr(shell(HOPLAB " show last | grep -c train/lr"), "1"));
    script(s, "K<wait:do not stop><Down><Down><Down><Enter>");
    expect_goes_on("a stop that was not wanted");
    script(s, "K<wait:do not stop><Enter><wait:stop: applied at step><wait:stopped>");
    script(s, "P<wait:is stopped>");
    script(s, ":lua! 1<Enter><wait:lua! 1: refused: tiny is stopped>");
    int status = 0;
    script(s, "q");
    cr_expect(screen_wait_exit(s, LIMIT_MS, &status) && WIFEXITED(status) &&
              WEXITSTATUS(status) == 0);
    cr_expect(screen_is_given_back(s));
    screen_end(s);
}

/* Foreground colour of the cell where the text begins; -9: it is not there. */
static int colour_of(screen *s, const char *text)
{
    char *all = screen_text(s), *at = strstr(all, text);
    int x = 0, y = 0;
    for (const char *c = all; at && c < at; c++) {
        y += *c == '\n';
        x = *c == '\n' ? 0 : x + ((*c & 0xc0) != 0x80);
    }
    const int fg = at ? screen_cell_at(s, x, y).fg : -9;
    free(all);
    return fg;
}

/* The process is stopped, so nobody takes the request: after two seconds that is told in yellow. */
Test(live, a_late_answer_is_told_in_yellow)
{
    enum { YELLOW = 172 }; /* of 256: as the default theme has it */
    start_run();
    screen *s = watch(NULL);
    const int pid = atoi(shell("grep -o '\"pid\":[0-9]*' runs/2*/lock | cut -d: -f2"));
    cr_assert_gt(pid, 1);
    char moving[80];
    snprintf(moving, sizeof moving, "grep -L 'State:.T' /proc/%d/task/*/status", pid);
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    while (*shell(moving)) /* each thread stops on its own */
        usleep(10000);
    script(s, "P<wait:not accepted within 2 s>");
    cr_expect_eq(colour_of(s, "not accepted"), YELLOW, "it is %d", colour_of(s, "not accepted"));
    script(s, "C<wait:has not answered the last request>");
    cr_assert_eq(kill(pid, SIGCONT), 0);
    script(s, "<wait:pause: applied at step>");
    cr_expect_neq(colour_of(s, "pause: applied"), YELLOW);
    script(s, "<wait:‖ paused>P<wait:resume: applied at step>");
    script(s, ":pause --release<Enter><wait:pause --release: applied at step>");
    for (int i = 0; i < 200 && kill(pid, 0) == 0; i++)
        usleep(50000);
    script(s, "C<wait:gave its device back>P<wait:resume: done><wait:● running>");
    screen_end(s);
}

/* An alert of the run rings where that is asked for, and calls a program with the words as they are. */
Test(live, an_alert_rings_and_calls)
{
    static const char alerts[] =
        "local hop = require 'hop'\n"
        "local shout = hop.callback { name = 'shout', on_control = function(_, ev)\n"
        "  ev.run:alert('odd', '$(touch pwned); `id`') end }\n"
        "return hop.experiment { name = 'loud', callbacks = { shout },\n"
        "  model = hop.nn.opt { layers = 1, width = 16, heads = 1, max_len = 16 },\n"
        "  data = hop.data.clm { train = 'generated', seq_len = 16, batch_size = 2 },\n"
        "  optim = hop.optim.adamw { lr = 1e-3 }, train = { max_steps = 100000000 },\n"
        "  save = { every = 0 }, eval = { every = 0 } }\n";
    FILE *f = fopen("loud.lua", "w");
    cr_assert(f && fputs(alerts, f) >= 0 && fclose(f) == 0);
    shell("printf '#!/bin/sh\\nprintf \"%%s|\" \"$@\" >>told\\nwhile [ -e told ]; do sleep 0.2; done\\n' "
          ">tell.sh; chmod +x tell.sh");
    cr_assert(*shell(HOPLAB " run loud.lua --detach --on-alert ./tell.sh"));
    screen *s = watch(NULL);
    const size_t quiet = screen_mark(s);
    script(s, ":knob lr=2e-3<Enter><wait:odd: $(touch><wait:applied at step>");
    screen_let_pass(s, 100);
    size_t n;
    const char *printed = screen_printed(s, &n);
    cr_expect_null(memchr(printed + quiet, '\a', n - quiet));
    script(s, ":set bell=on<Enter><wait:bell=on>");
    for (int i = 0; i < 6; i++) /* the program sleeps; the run does not wait for it */
        script(s, ":knob lr=1e-3<Enter><wait:lr=1e-3: applied>:knob lr=2e-3<Enter><wait:lr=2e-3: applied>");
    cr_expect(screen_wait_printed(s, "\a", LIMIT_MS));
    for (int i = 0; i < 100 && !strstr(shell("cat told 2>&1"), "`id`|"); i++)
        usleep(50000);
    cr_expect(strstr(shell("cat told"), "|odd: $(touch pwned); `id`|"), "%s", shell("cat told"));
    cr_expect(strstr(shell("ls pwned 2>&1"), "No such file"));
    cr_expect_str_eq(shell("tr '|' '\\n' <told | grep -c '^odd:'"), "4", "no more at a time");
    screen_end(s);
}

/* The second screen is told who has the controls, and takes them. */
Test(live, the_controls_belong_to_one_screen)
{
    start_run();
    screen *a = watch(NULL), *b = watch(NULL);
    script(a, "P<wait:pause: applied at step>");
    script(b, "<wait:paused>P<wait:resume: refused: process>!<wait:controls: process>t<wait:steal: "
              "applied>");
    script(a, "<wait:paused>P<wait:resume: refused: process>");
    cr_expect(strstr(shell(HOPLAB " ctl last resume 2>&1"), "controls it"));
    cr_expect(strstr(shell(HOPLAB " ctl last lua 1 2>&1"), "controls it"));
    cr_expect(strstr(shell(HOPLAB " ctl last status"), "paused"));
    cr_expect(strstr(shell(HOPLAB " ctl last status | tail -1"), "controls: process"));
    script(b, "P<wait:resume: applied at step>");
    script(b, ":release<Enter><wait:release: applied>");
    script(a, "<wait:● running>P<wait:pause: applied at step>");
    int status = 0;
    screen_kill(a, SIGKILL); /* what it had is free */
    cr_assert(screen_wait_exit(a, LIMIT_MS, &status));
    script(b, "<wait:controls: release><sleep:300>P<wait:resume: applied at step>");
    cr_expect(strstr(shell(HOPLAB " ctl last pause --steal"), "applied at step"));
    script(b, "<wait:controls: release>!<wait:pause>r<wait:lr.scale>d<wait:set lr=schedule: "
              "applied><Esc>");
    script(b, "K<wait:do not stop>atiny<Enter><wait:abort: applied>");
    for (int i = 0; i < 100 && !strstr(shell(HOPLAB " ls | grep lost"), "lost"); i++)
        usleep(50000);
    cr_expect(strstr(shell(HOPLAB " ls | grep -c lost"), "1"));
    screen_end(a);
    screen_end(b);
}

/* ---- runs that are started from the screen ---- */

static screen *start(const char *const *argv)
{
    screen *s = screen_start(&(screen_options){.argv = argv, .cols = 100, .rows = 30});
    cr_assert_not_null(s);
    screen_set_limit(s, LIMIT_MS);
    return s;
}

/* The question about one run is not answered for another. */
Test(live, a_new_run_waits_for_an_open_question)
{
    start_run();
    screen *s = watch(NULL);
    script(s,
           ":run " TINY
           " -s train.max_steps=100000000 -s save.every=0 -s name=other<Enter>K<wait:stop tiny>");
    script(s, "<wait:tiny.lua runs as><wait:stop tiny>f<wait:tiny: stop: applied>");
    cr_expect(strstr(shell(HOPLAB " ls | grep other"), "running"));
    screen_end(s);
}

Test(live, run_tui)
{
    static const char *const argv[] = {HOPLAB,  "run",          TINY,
                                       "--tui", "-s",           "train.max_steps=100000000",
                                       "-s",    "save.every=0", NULL};
    int status = 0;
    screen *s = start(argv);
    script(s, "<wait:train/loss><wait:running  step>q<wait:1 run goes on; hoplab watch>");
    cr_expect(screen_wait_exit(s, LIMIT_MS, &status) && WEXITSTATUS(status) == 0);
    screen_end(s);
    expect_goes_on("leaving run --tui");
}

Test(live, run_tui_says_why_a_run_does_not_start)
{
    static const char *const argv[] = {HOPLAB, "run", TINY, "--tui", "-s", "train.stesp=3", NULL};
    int status = 0;
    screen *s = start(argv);
    script(s, "<wait:did not start><wait:stesp>q");
    cr_expect(screen_wait_exit(s, LIMIT_MS, &status) && WEXITSTATUS(status) == 2, "%#x",
              (unsigned)status);
    cr_expect(strstr(screen_text(s), "stesp") != NULL);
    screen_end(s);
}

/* A script that never comes back keeps nobody in the screen. */
Test(live, leaving_while_a_run_starts)
{
    static const char *const argv[] = {HOPLAB, "run", "slow.lua", "--tui", NULL};
    int status = 0;
    shell("echo 'while true do end' > slow.lua");
    screen *s = start(argv);
    script(s, "<wait:starting slow.lua>q<wait:1 run is still starting; hoplab ls>");
    cr_expect(screen_wait_exit(s, 3000, &status) && WEXITSTATUS(status) == 0);
    screen_end(s);
    shell("pkill -9 -f 'run slow.lua'");
}

Test(live, a_command_starts_a_run)
{
    static const char *const argv[] = {HOPLAB, NULL};
    screen *s = start(argv);
    script(s,
           "<wait:no runs in>:run " TINY " -s train.max_steps=40 -s name=from-the-screen<Enter>");
    script(s, "<wait:from-the-screen><wait:done>");
    script(s, ":run /nowhere.lua<Enter><wait:did not start>");
    script(s, ":sweep " TINY " -s seed=1,2 -s train.max_steps=2 --name=two<Enter><wait:sweep tiny.lua ...>"
              "<wait:sweep tiny.lua: done>");
    cr_expect(strstr(shell(HOPLAB " ls sweep:two | grep -c done"), "2"));
    script(s, ":sweep /nowhere.lua<Enter><wait:sweep nowhere.lua: ><wait:/nowhere.lua>");
    script(s, ":doctor<Enter><wait:all is well><wait:Enter goes back><Enter><wait:Runs  3>q");
    screen_end(s);
}

Test(live, the_demo_shows_its_runs)
{
    static const char *const argv[] = {HOPLAB,
                                       "demo",
                                       "--generated",
                                       "-s",
                                       "train.max_steps=40",
                                       "-s",
                                       "log.every=1",
                                       "-s",
                                       "eval.batches=2",
#ifdef __SANITIZE_ADDRESS__
                                       "-s", /* a step takes seconds there */
                                       "data.batch_size=2",
#endif
                                       NULL};
    int status = 0;
    screen *s = start(argv);
    script(s, "<wait:train/loss><wait:a demo-><wait:b "
              "demo->1<wait:demo-vanilla><wait:demo-softmax1><wait:demo-hopfield>");
#ifdef __SANITIZE_ADDRESS__
    script(s, "q<wait:hoplab watch>"); /* training takes minutes there: it is not waited for */
#else
    for (int i = 0; i < 100 && !strstr(shell(HOPLAB " ls | grep -c done"), "3"); i++)
        screen_let_pass(s, 500);
    script(s, "q<wait:max |x|><wait:softmax1><wait:hopfield>");
#endif
    cr_expect(screen_wait_exit(s, LIMIT_MS, &status) && WEXITSTATUS(status) == 0);
    screen_end(s);
}

/* ---- sizes ---- */

static size_t n_pictures(const screen *s, size_t from)
{
    size_t n, found = 0; /* a status question follows each picture */
    for (const char *at = screen_printed(s, &n) + from; (at = strstr(at, "\033[5n")); at++)
        found++;
    return found;
}

/* A window's edge that is dragged: one picture a frame, and the last size is the one that stays. */
Test(live, a_storm_of_sizes_costs_a_picture_per_frame)
{
    enum { SIZES = 120, EACH_MS = 8, FRAME_MS = 100 };
    static const char *const argv[] = {HOPLAB, NULL};
    screen *s = start(argv);
    script(s, "<wait:no runs in><sleep:300>");
    const size_t from = screen_mark(s);
    struct timespec begin_at, now;
    clock_gettime(CLOCK_MONOTONIC, &begin_at);
    for (int i = 0; i < SIZES; i++) {
        screen_resize(s, 60 + i, 20 + i % 7);
        screen_let_pass(s, EACH_MS);
    }
    screen_resize(s, 90, 25);
    clock_gettime(CLOCK_MONOTONIC, &now);
    const double ms = (double)(now.tv_sec - begin_at.tv_sec) * 1e3 +
                      (double)(now.tv_nsec - begin_at.tv_nsec) / 1e6;
    script(s, "<sleep:400>");
    cr_expect_leq((double)n_pictures(s, from), (ms + 400) / FRAME_MS + 2);
    cr_expect_geq(n_pictures(s, from), 1);
    int x, y = 24; /* the hint line is the last one */
    for (x = 0; x < 89 && screen_cell_at(s, x, y).ch != '?'; x++)
        continue;
    cr_expect_lt(x, 89, "%s", screen_text(s));
    script(s, "q");
    screen_end(s);
}

/* It survives what it is told and is whole again when the truth comes. */
Test(live, a_terminal_that_lies_about_its_size)
{
    static const int lies[][2] = {{65535, 65535}, {0, 0}, {1, 1}, {300, 3}, {3, 300}, {200, 60}};
    static const char *const argv[] = {HOPLAB, NULL};
    int status = 0;
    screen *s = start(argv);
    script(s, "<wait:no runs in>");
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        screen_tell_size(s, lies[i][0], lies[i][1]);
        script(s, "<sleep:150>j2?<Esc>1");
    }
    screen_tell_size(s, 100, 30);
    script(s, "<C-l><wait:no runs in>q");
    cr_expect(screen_wait_exit(s, LIMIT_MS, &status) && WIFEXITED(status) &&
              WEXITSTATUS(status) == 0);
    cr_expect(screen_is_given_back(s));
    screen_end(s);
}

/* ---- what it costs ---- */

/* Times that any of its threads went to sleep, from /proc. */
static long n_sleeps(int pid)
{
    char command[128];
    snprintf(command, sizeof command,
             "cat /proc/%d/task/*/status | awk '/^voluntary/ { n += $2 } END { print n }'", pid);
    return strtol(shell(command), NULL, 10);
}

/* Nothing happens: nothing wakes. Runs that are over are there, and one of them is shown. */
Test(live, a_still_screen_sleeps)
{
    shell(SAMPLE_STORE " runs");
    screen *s = watch((const char *const[]){NULL});
    script(s, "<sleep:1000>");
    const long before = n_sleeps(screen_pid(s));
    const size_t shown = screen_mark(s);
    script(s, "<sleep:2500>");
    cr_expect_gt(before, 0);
    cr_expect_eq(n_sleeps(screen_pid(s)), before, "%ld wake-ups in 2.5 s",
                 n_sleeps(screen_pid(s)) - before);
    cr_expect_eq(screen_mark(s), shown);
    screen_end(s);
}

static int by_size(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* Bytes of the pictures from now on, the mean and the median; a status question follows each. */
static double bytes_of_a_picture(screen *s, size_t *median)
{
    enum { PICTURES = 14, SECONDS_MAX = 60, KEPT = 256 };
    const size_t from = screen_mark(s);
    size_t n = 0, frames = 0, size[KEPT];
    for (int i = 0; i < SECONDS_MAX && frames < PICTURES; i++) {
        screen_let_pass(s, 1000);
        const char *begin = screen_printed(s, &n) + from;
        frames = 0;
        for (const char *at; frames < KEPT && (at = strstr(begin, "\033[5n")); begin = at + 1)
            size[frames++] = (size_t)(at - begin);
    }
    cr_assert_geq(frames, PICTURES);
    qsort(size, frames, sizeof *size, by_size);
    *median = size[frames / 2];
    return (double)(n - from) / (double)frames;
}

/* With a new point in each, at 80x24: all of the Run view, and a chart alone (of whose pictures few
 * are those in which its axis doubles). */
Test(live, an_update_costs_few_bytes)
{
    char writer[64];
    snprintf(writer, sizeof writer, "kill %s",
             shell(SAMPLE_STORE " runs live 1 120 >/dev/null 2>&1 & echo $!"));
    for (int i = 0; i < 100 && !strstr(shell(HOPLAB " ls 2>/dev/null"), "live"); i++)
        usleep(100000);
    screen *s = watch(NULL);
    screen_let_pass(s, 2000);
    size_t median;
    const double all = bytes_of_a_picture(s, &median);
    script(s, "z");
    screen_let_pass(s, 500);
    (void)bytes_of_a_picture(s, &median);
    shell(writer);
    printf("live: %.0f bytes a picture, %zu of a chart alone\n", all, median);
    cr_expect_lt(all, 500);
    cr_expect_leq(median, 100);
    screen_end(s);
}
