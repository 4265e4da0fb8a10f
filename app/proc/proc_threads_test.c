/* Signals of a worker, the script interrupt and detached starting. The program runs itself again
 * in the roles below and looks at exit statuses, as a shell would. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/proc/detach.h"
#include "app/proc/host.h"
#include "app/proc/signals.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"
#include "tests/plain.h"

static char top[64];

static int64_t now_ms(void)
{
    return hl_clock_mono_ns() / 1000000;
}

static void say(const char *text)
{
    if (write(1, text, strlen(text)) < 0)
        return;
}

/* --- the worker of the signal tests --------------------------------------------------------- */

/* argv: program "signals" flags log; flags: d detached, s stubborn (never ends), 1 usr1_stops,
 * g grace of 300 ms. */
static int signal_worker(const char *flags, const char *log)
{
    hl_signals_options options = {.detached = strchr(flags, 'd') != NULL,
                                  .usr1_stops = strchr(flags, '1') != NULL,
                                  .grace_ms = strchr(flags, 'g') ? 300 : 0};
    hl_signals *s;
    if (hl_signals_start(&options, &s) != HL_OK || hl_signals_set_log(s, log) != HL_OK)
        return 99;
    say("ready\n");
    bool told = false, hup = false;
    for (;;) {
        hl_clock_sleep_ms(2);
        if (hl_signals_take_checkpoint(s))
            say("checkpoint\n");
        if (hl_signals_take_status(s))
            say("status\n");
        if (!hup && hl_signals_hung_up(s)) {
            hup = true;
            say("hung up\n");
        }
        int stop = hl_signals_stop_signal(s);
        if (stop && strchr(flags, 's')) {
            if (!told)
                say("stopping\n");
            told = true;
        } else if (stop) {
            int64_t left = hl_signals_deadline_ns(s) - hl_clock_mono_ns();
            bool right = stop == SIGTERM ? left > 20000000000 && left <= 25000000000
                                         : hl_signals_deadline_ns(s) == 0;
            say(right || strchr(flags, 'g') ? "checkpoint and end\n" : "wrong deadline\n");
            hl_signals_stop(s);
            return 128 + stop;
        }
    }
}

typedef struct child {
    pid_t pid;
    int out; /* its standard output */
} child;

static child start(const char *role, const char *flags, const char *log)
{
    int end[2];
    child c = {0};
    CHECK(pipe(end) == 0);
    c.pid = fork();
    if (c.pid == 0) {
        setpgid(0, 0); /* in an orphaned group SIGTSTP would do nothing */
        dup2(end[1], 1);
        close(end[0]);
        close(end[1]);
        execl("/proc/self/exe", "worker", role, flags, log, (char *)NULL);
        _exit(127);
    }
    close(end[1]);
    c.out = end[0];
    return c;
}

/* Reads until `wanted` was seen, at most 10 s. */
static bool expect(int fd, const char *wanted)
{
    char text[4096];
    size_t n = 0;
    int64_t end = now_ms() + 10000;
    while (now_ms() < end && n < sizeof text - 1) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 50) <= 0)
            continue;
        ssize_t k = read(fd, text + n, sizeof text - 1 - n);
        if (k <= 0)
            break;
        n += (size_t)k;
        text[n] = '\0';
        if (strstr(text, wanted))
            return true;
    }
    return false;
}

/* The wait status, -1 if it does not end within 10 s. */
static int end_of(child *c)
{
    int status = -1;
    int64_t end = now_ms() + 10000;
    while (waitpid(c->pid, &status, WNOHANG) == 0 && now_ms() < end)
        hl_clock_sleep_ms(5);
    if (now_ms() >= end) {
        kill(c->pid, SIGKILL);
        waitpid(c->pid, &status, 0);
        status = -1;
    }
    close(c->out);
    return status;
}

static bool exited(int status, int code)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

static bool killed(int status, int signal_number)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == signal_number;
}

static void test_stop_signals(void)
{
    child c = start("signals", "-", "-");
    CHECK(expect(c.out, "ready") && kill(c.pid, SIGINT) == 0 && expect(c.out, "checkpoint and"));
    CHECK(exited(end_of(&c), 130));
    c = start("signals", "-", "-");
    CHECK(expect(c.out, "ready") && kill(c.pid, SIGTERM) == 0 && expect(c.out, "checkpoint and"));
    CHECK(exited(end_of(&c), 143));
    c = start("signals", "s", "-"); /* the second Ctrl-C */
    CHECK(expect(c.out, "ready") && kill(c.pid, SIGINT) == 0 && expect(c.out, "stopping"));
    CHECK(kill(c.pid, SIGINT) == 0 && killed(end_of(&c), SIGINT));
    c = start("signals", "sg", "-"); /* grace runs out; a second SIGTERM does not hasten it */
    CHECK(expect(c.out, "ready"));
    int64_t t = now_ms();
    CHECK(kill(c.pid, SIGTERM) == 0 && expect(c.out, "stopping"));
    CHECK(kill(c.pid, SIGTERM) == 0 && killed(end_of(&c), SIGTERM));
    CHECK(now_ms() - t >= 299 && now_ms() - t < 8000);
    c = start("signals", "sg", "-"); /* SIGTERM, then Ctrl-C */
    CHECK(expect(c.out, "ready") && kill(c.pid, SIGTERM) == 0 && expect(c.out, "stopping"));
    CHECK(kill(c.pid, SIGINT) == 0 && killed(end_of(&c), SIGINT));
    c = start("signals", "1", "-");
    CHECK(expect(c.out, "ready") && kill(c.pid, SIGUSR1) == 0 && exited(end_of(&c), 143));
}

static void test_other_signals(void)
{
    child c = start("signals", "d", "-");
    CHECK(expect(c.out, "ready"));
    CHECK(kill(c.pid, SIGUSR1) == 0 && expect(c.out, "checkpoint\n"));
    CHECK(kill(c.pid, SIGUSR2) == 0 && expect(c.out, "status\n"));
    CHECK(kill(c.pid, SIGUSR1) == 0 && expect(c.out, "checkpoint\n"));
    CHECK(kill(c.pid, SIGHUP) == 0 && kill(c.pid, SIGPIPE) == 0);
    CHECK(kill(c.pid, SIGUSR2) == 0 && expect(c.out, "status\n"));
    CHECK(kill(c.pid, SIGTSTP) == 0); /* by default: stops, as Ctrl-Z */
    int status;
    CHECK(waitpid(c.pid, &status, WUNTRACED) == c.pid && WIFSTOPPED(status));
    CHECK(kill(c.pid, SIGCONT) == 0);
    CHECK(kill(c.pid, SIGUSR2) == 0 && expect(c.out, "status\n"));
    CHECK(kill(c.pid, SIGTERM) == 0 && exited(end_of(&c), 143));
    c = start("signals", "-", "-"); /* attached, its output in a pipe: which it keeps */
    CHECK(expect(c.out, "ready") && kill(c.pid, SIGHUP) == 0 && expect(c.out, "hung up"));
    CHECK(kill(c.pid, SIGINT) == 0 && exited(end_of(&c), 130));
}

/* The terminal closes: the run goes on and writes to its log. */
static void test_hang_up(void)
{
    char *log = hl_fs_join(top, "stdout.log"), *text = NULL;
    child c = {0};
    c.pid = forkpty(&c.out, NULL, NULL, NULL);
    if (c.pid == 0) {
        execl("/proc/self/exe", "worker", "signals", "-", log, (char *)NULL);
        _exit(127);
    }
    CHECK(expect(c.out, "ready"));
    close(c.out);
    int64_t end = now_ms() + 10000;
    while (hl_fs_size(log) < 8 && now_ms() < end)
        hl_clock_sleep_ms(5);
    CHECK(hl_fs_read(log, 1000, &text, NULL) == HL_OK && strcmp(text, "hung up\n") == 0);
    CHECK(kill(c.pid, SIGTERM) == 0);
    c.out = open("/dev/null", O_RDONLY);
    CHECK(exited(end_of(&c), 143));
    hl_free(text);
    hl_free(log);
}

/* --- the script interrupt --------------------------------------------------------------------- */

static hl_flag interrupted, armed, again;

static void set_hook(void)
{
    hl_flag_add(&interrupted, 1);
}

static void script_main(void *arg)
{
    (void)arg;
    CHECK(hl_interrupt_arm(set_hook) == HL_OK);
    CHECK(hl_interrupt_arm(set_hook) == HL_E_STATE);
    hl_flag_set(&armed, 1);
    while (!hl_flag_get(&interrupted))
        ; /* a script that never comes back */
    hl_interrupt_disarm();
    hl_flag_set(&armed, 2);
    while (!hl_flag_get(&again))
        hl_clock_sleep_ms(1);
    CHECK(hl_interrupt_arm(set_hook) == HL_OK); /* an old interrupt does not hit a new script */
    hl_clock_sleep_ms(20);
    CHECK(hl_flag_get(&interrupted) == 1);
    hl_interrupt_disarm();
}

static void test_interrupt(void)
{
    hl_interrupt_send(); /* nobody is armed */
    hl_thread *t;
    CHECK(hl_thread_start("script", script_main, NULL, &t) == HL_OK);
    while (!hl_flag_get(&armed))
        hl_clock_sleep_ms(1);
    int64_t from = now_ms();
    hl_interrupt_send();
    while (hl_flag_get(&armed) != 2 && now_ms() < from + 5000)
        hl_clock_sleep_ms(1);
    CHECK(hl_flag_get(&armed) == 2 && now_ms() - from < 1000);
    hl_interrupt_send();
    hl_flag_set(&again, 1);
    hl_thread_join(t);
}

/* --- detached workers ------------------------------------------------------------------------- */

/* What a detached worker finds, as text. */
static void describe_self(hl_str *b, bool detached)
{
    sigset_t mask;
    struct sigaction pipe_action;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    sigaction(SIGPIPE, NULL, &pipe_action);
    char name[32] = "";
    FILE *f = fopen("/proc/self/comm", "re");
    if (!f || !fgets(name, sizeof name, f))
        name[0] = '\0';
    if (f)
        fclose(f);
    name[strcspn(name, "\n")] = '\0';
    int n_open = 0;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; d && (e = readdir(d));)
        n_open += e->d_name[0] != '.';
    closedir(d);
    hl_str_addf(b, "detached %d session %d masked %d pipe %d name %s open %d env %d", detached,
                getsid(0) == getpid(), sigismember(&mask, SIGINT),
                pipe_action.sa_handler == SIG_IGN, name, n_open - 1,
                getenv("HOPLAB_REPORT_FD") != NULL);
}

static int detached_worker(const char *how, const char *log)
{
    bool detached = hl_detach_init();
    if (strcmp(how, "ok") == 0) {
        hl_str b = {0};
        describe_self(&b, detached);
        hl_status st = hl_fs_write_atomic(log, b.s, b.n);
        hl_str_done(&b);
        printf("before\n");
        fflush(stdout);
        hl_detach_report_started(st == HL_OK ? "20310502-140631-7f3a9c" : "broken");
        hl_clock_sleep_ms(200);
        printf("after\n");
        return 7;
    }
    if (strcmp(how, "fail") == 0) {
        hl_detach_report_failed(3, "exp.lua:7: no model\nstack traceback:\n\t...");
        return 3;
    }
    if (strcmp(how, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(how, "silent") == 0)
        hl_clock_sleep_ms(1000);
    return 4;
}

static hl_status detach(const char *how, const char *file, const char *log, int64_t timeout_ms,
                        hl_detach_result *r)
{
    char *argv[] = {hl_strdup("hoplab"), hl_strdup("detached"), hl_strdup(how), hl_strdup(file),
                    NULL};
    hl_detach_options options = {.argv = argv, .log_path = log, .timeout_ms = timeout_ms};
    *r = (hl_detach_result){0};
    hl_status st = hl_detach_start(&options, r);
    for (int i = 0; argv[i]; i++)
        hl_free(argv[i]);
    return st;
}

static void test_detach(void)
{
    char *facts = hl_fs_join(top, "facts"), *log = hl_fs_join(top, "log"), *text = NULL;
    hl_detach_result r;
    int leak = open("/dev/null", O_RDONLY); /* not close-on-exec, as a library might leave it */
    sigset_t block;
    sigemptyset(&block);
    sigaddset(&block, SIGINT);
    sigprocmask(SIG_BLOCK, &block, NULL);
    signal(SIGPIPE, SIG_IGN);
    int64_t t = now_ms();
    CHECK(detach("ok", facts, log, 20000, &r) == HL_OK && r.started && now_ms() - t < 15000);
    CHECK(strcmp(r.run_id, "20310502-140631-7f3a9c") == 0);
    CHECK(hl_fs_read(facts, 1000, &text, NULL) == HL_OK);
    const char *expected =
        "detached 1 session 1 masked 0 pipe 0 name hoplab open 4 env 0"; /* 0 1 2 and the report */
    if (!text || strcmp(text, expected) != 0)
        fprintf(stderr, "%s\n", text ? text : "nothing");
    CHECK(text && strcmp(text, expected) == 0);
    hl_free(text);
    text = NULL;
    int status = 0; /* it lives on after the report */
    CHECK(waitpid((pid_t)r.pid, &status, 0) == r.pid && exited(status, 7));
    CHECK(hl_fs_read(log, 1000, &text, NULL) == HL_OK && strcmp(text, "before\nafter\n") == 0);
    close(leak);

    CHECK(detach("fail", "-", NULL, 0, &r) == HL_OK && !r.started && r.exit_status == 3);
    CHECK(strcmp(r.message, "exp.lua:7: no model\nstack traceback:\n\t...") == 0);
    CHECK(detach("exit", "-", NULL, 0, &r) == HL_OK && !r.started && r.exit_status == 4);
    CHECK(strstr(r.message, "with status 4"));
    CHECK(detach("kill", "-", NULL, 0, &r) == HL_OK && !r.started && r.exit_status == 1);
    CHECK(strstr(r.message, "killed by signal 9"));
    CHECK(detach("silent", "-", NULL, 100, &r) == HL_E_STATE && r.pid > 0);
    CHECK(waitpid((pid_t)r.pid, &status, 0) == r.pid && exited(status, 4));
    CHECK(detach("ok", "-", "/nonexistent-directory/log", 0, &r) == HL_E_IO);
    CHECK(strstr(hl_err_message(), "/nonexistent-directory/log"));
    CHECK(!hl_detach_init());
    hl_detach_report_started("nobody listens");
    /* with the standard streams closed the child's own do not land on its plumbing */
    int saved = fcntl(0, F_DUPFD_CLOEXEC, 10);
    close(0);
    CHECK(detach("fail", "-", NULL, 0, &r) == HL_OK && r.exit_status == 3);
    dup2(saved, 0);
    close(saved);
    sigprocmask(SIG_UNBLOCK, &block, NULL);
    hl_free(text);
    hl_free(log);
    hl_free(facts);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "signals") == 0)
        return signal_worker(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "detached") == 0)
        return detached_worker(argv[2], argv[3]);
    snprintf(top, sizeof top, "/tmp/hoplab-proc-test-XXXXXX");
    if (!mkdtemp(top))
        return 1;
    test_stop_signals();
    test_other_signals();
    test_hang_up();
    test_detach();
    test_interrupt();
    CHECK(hl_fs_remove_tree(top) == HL_OK);
    return plain_end();
}
