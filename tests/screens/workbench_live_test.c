/* The workbench and live runs: nothing that happens to the screen reaches the run, and what is
 * asked of the run gets an answer on the screen. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
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
    script(s, ":knob lr=0.0005<Enter><wait:set lr=0.0005: applied at step>");
    script(s, ":knob lr=fast<Enter><wait:lr: ><C-c>");
    script(s, ":knob momentum=1<Enter><wait:refused>");
    script(s, "C<wait:checkpoint: applied at step>");
    script(s, "E<wait:evaluate: applied at step>");
    script(s, "Q<wait:quantize: applied at step>5<wait:47 tensors>S<wait:sensitivity: "
              "applied>=<wait:tiny: restore >");
    script(s, ":quantize -s quantize.percentile=99<Enter><wait:W8A8 percentile 99,>");
    script(s, ":quantize -s quantize.precentile=99<Enter><wait:no option 'precent>2");
    script(s, ":knob lr.scale=0.5<Enter><wait:lr.scale=0.5: applied at step>");
    script(s, ":knob log.every=0<Enter><wait:log.every must be>");
    script(s, ":queue<Enter><wait:no request waits>:cancel 999<Enter><wait:no request 999>");
    script(s, ":knob<Enter><wait:held><Esc>");
    script(s, "3<wait:infinity norm>:flag spikes<Enter><wait:  spikes >m<wait:unflag: done>2");
    cr_expect(strstr(shell(HOPLAB " show last | grep -c train/lr"), "1"));
    script(s, "K<wait:do not stop><Down><Down><Down><Enter>");
    expect_goes_on("a stop that was not wanted");
    script(s, "K<wait:do not stop><Enter><wait:stop: applied at step><wait:stopped>");
    script(s, "P<wait:is stopped>");
    int status = 0;
    script(s, "q");
    cr_expect(screen_wait_exit(s, LIMIT_MS, &status) && WIFEXITED(status) &&
              WEXITSTATUS(status) == 0);
    cr_expect(screen_is_given_back(s));
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
    script(s, ":run /nowhere.lua<Enter><wait:did not start>q");
    screen_end(s);
}

Test(live, the_demo_shows_its_runs)
{
    static const char *const argv[] = {
        HOPLAB,        "demo", "--generated",    "-s", "train.max_steps=40", "-s",
        "log.every=1", "-s",   "eval.batches=2", NULL};
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

/* ---- what it costs ---- */

/* Mean bytes of a picture with a new point, at 80x24. */
Test(live, an_update_costs_few_bytes)
{
    enum { PICTURES = 12, SECONDS_MAX = 60 };
    const char *bytes;
    char writer[64];
    size_t n = 0, frames = 0;
    snprintf(writer, sizeof writer, "kill %s",
             shell(SAMPLE_STORE " runs live 1 120 >/dev/null 2>&1 & echo $!"));
    for (int i = 0; i < 100 && !strstr(shell(HOPLAB " ls 2>/dev/null"), "live"); i++)
        usleep(100000);
    screen *s = watch(NULL);
    screen_let_pass(s, 2000);
    const size_t from = screen_mark(s);
    for (int i = 0; i < SECONDS_MAX && frames < PICTURES; i++) {
        screen_let_pass(s, 1000);
        bytes = screen_printed(s, &n) + from;
        frames = 0; /* a status question follows each picture */
        for (const char *at = bytes; (at = strstr(at, "\033[5n")); at++)
            frames++;
    }
    shell(writer);
    cr_assert_geq(frames, PICTURES);
    const double each = (double)(n - from) / (double)frames;
    printf("live: %.0f bytes a picture\n", each);
    cr_expect_lt(each, 500);
    screen_end(s);
}
