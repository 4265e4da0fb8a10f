/* The worker's end of the report pipe is descriptor 3, announced by HOPLAB_REPORT_FD. It sends one
 * report: "started <run id>\n" or "failed <exit status> <message>" up to the end of the pipe. */
#define _GNU_SOURCE
#include "app/proc/detach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/str.h"
#include "engine/base/vec.h"

#define REPORT_FD  3
#define REPORT_VAR "HOPLAB_REPORT_FD"
#define REPORT_MAX 65536
#define REAP_NS    INT64_C(5000000000)

static int report_fd = -1; /* of this process, if it is a detached worker */

/* Everything the child needs; made before the fork, after which nothing may be allocated. */
typedef struct child_plan {
    char *const *argv;
    char *const *envp;
    int in, out, report;
} child_plan;

/* From fork to exec only calls that are safe in the copy of a process with threads. */
static void run_child(const child_plan *plan)
{
    setsid();
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    for (int i = 1; i < NSIG; i++)
        sigaction(i, &by_default, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* The sources lie above REPORT_FD, so no dup2 closes one that is still needed. */
    bool ok = dup2(plan->in, 0) >= 0 && dup2(plan->out, 1) >= 0 && dup2(plan->out, 2) >= 0 &&
              dup2(plan->report, REPORT_FD) >= 0;
    if (ok && close_range(REPORT_FD + 1, ~0U, 0) != 0)
        for (int fd = REPORT_FD + 1; fd < 65536; fd++)
            close(fd);
    if (ok)
        execve("/proc/self/exe", plan->argv, plan->envp);
    static const char text[] = "failed 1 cannot start the worker: exec of /proc/self/exe failed";
    if (write(ok ? REPORT_FD : plan->report, text, sizeof text - 1) < 0)
        _exit(126);
    _exit(127);
}

/* open() on a descriptor above those that the child fills */
static int open_high(const char *path, int flags)
{
    int low = open(path, flags | O_CLOEXEC, 0666);
    if (low < 0)
        return -1;
    int high = fcntl(low, F_DUPFD_CLOEXEC, REPORT_FD + 1);
    int e = errno;
    close(low);
    errno = e;
    return high;
}

static hl_status make_pipe(int end[2])
{
    int low[2];
    if (pipe2(low, O_CLOEXEC) != 0)
        return hl_err_set(HL_E_IO, "cannot make a pipe: %s", strerror(errno));
    end[0] = fcntl(low[0], F_DUPFD_CLOEXEC, REPORT_FD + 1);
    end[1] = fcntl(low[1], F_DUPFD_CLOEXEC, REPORT_FD + 1);
    close(low[0]);
    close(low[1]);
    if (end[0] < 0 || end[1] < 0)
        return hl_err_set(HL_E_IO, "cannot make a pipe: too many open files");
    return HL_OK;
}

/* Reads the report: a line that says "started", or all there is. */
static hl_status read_report(int fd, const hl_detach_options *o, hl_str *text)
{
    const int64_t timeout_ms = o->timeout_ms;
    int64_t end = timeout_ms > 0 ? hl_clock_mono_ns() + timeout_ms * 1000000 : 0;
    for (;;) {
        int64_t left = end ? (end - hl_clock_mono_ns()) / 1000000 + 1 : -1;
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN},
                              {.fd = o->give_up_fd > 0 ? o->give_up_fd : -1, .events = POLLIN}};
        int ready = end && left <= 0 ? 0 : poll(p, 2, left > 3600000 ? 3600000 : (int)left);
        if (ready == 0 && end && hl_clock_mono_ns() >= end)
            return hl_err_set(HL_E_STATE, "the worker said nothing within %.3g s; it goes on",
                              (double)timeout_ms / 1000);
        if (ready > 0 && p[1].revents && !p[0].revents)
            return hl_err_set(HL_E_STATE, "the worker is still starting; it goes on");
        if (ready <= 0)
            continue;
        char bytes[1024];
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return HL_OK;
        if (text->n < REPORT_MAX)
            hl_str_addn(text, bytes, (size_t)n);
        if (hl_str_status(text) != HL_OK)
            return HL_E_NOMEM;
        if (hl_str_starts(text->s, "started ") && strchr(text->s, '\n'))
            return HL_OK;
    }
}

/* A worker that closed its pipe is about to end; false: it does not. */
static bool reap(pid_t pid, int *status)
{
    int64_t end = hl_clock_mono_ns() + REAP_NS;
    pid_t got;
    while ((got = waitpid(pid, status, WNOHANG)) == 0 && hl_clock_mono_ns() < end)
        hl_clock_sleep_ms(2);
    return got == pid;
}

/* The worker ended without a word: its exit status tells. */
static void explain_death(pid_t pid, hl_detach_result *r)
{
    int status = 0;
    if (!reap(pid, &status))
        snprintf(r->message, sizeof r->message, "the worker closed its report without a word");
    else if (WIFSIGNALED(status))
        snprintf(r->message, sizeof r->message, "the worker was killed by signal %d (%s)",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(r->message, sizeof r->message,
                 "the worker ended before it started the run, "
                 "with status %d",
                 WEXITSTATUS(status));
    r->exit_status = WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
}

static void read_result(const char *text, pid_t pid, hl_detach_result *r)
{
    if (hl_str_starts(text, "started ")) {
        text += strlen("started ");
        r->started = true;
        snprintf(r->run_id, sizeof r->run_id, "%.*s", (int)strcspn(text, "\n"), text);
        return;
    }
    if (!hl_str_starts(text, "failed ")) {
        explain_death(pid, r);
        return;
    }
    text += strlen("failed ");
    char number[16];
    int64_t status;
    snprintf(number, sizeof number, "%.*s", (int)strcspn(text, " "), text);
    r->exit_status =
        hl_parse_i64(number, &status) == HL_OK && status > 0 && status < 256 ? (int)status : 1;
    text += strcspn(text, " ");
    snprintf(r->message, sizeof r->message, "%s", text + (*text == ' '));
    int ignored;
    (void)reap(pid, &ignored);
}

hl_status hl_detach_start(const hl_detach_options *options, hl_detach_result *out)
{
    hl_status st = HL_OK;
    hl_detach_result r = {0};
    char announcement[] = REPORT_VAR "=3";
    HL_VEC(char *) envp = {0};
    hl_str text = {0};
    int end[2] = {-1, -1};
    child_plan plan = {.argv = options->argv, .in = -1, .out = -1};
    out->pid = 0;
    for (char **e = environ; *e; e++)
        if (!hl_str_starts(*e, REPORT_VAR "="))
            HL_TRY(hl_vec_push(&envp, *e));
    HL_TRY(hl_vec_push(&envp, announcement));
    HL_TRY(hl_vec_push(&envp, NULL));
    plan.envp = envp.at;
    const char *log_path = options->log_path ? options->log_path : "/dev/null";
    plan.in = open_high("/dev/null", O_RDONLY);
    plan.out = open_high(log_path, O_WRONLY | O_APPEND | O_CREAT);
    if (plan.in < 0 || plan.out < 0)
        HL_FAIL(HL_E_IO, "cannot write %s: %s", log_path, strerror(errno));
    HL_TRY(make_pipe(end));
    plan.report = end[1];
    pid_t pid = fork();
    if (pid == 0)
        run_child(&plan);
    if (pid < 0)
        HL_FAIL(HL_E_NOMEM, "cannot start a process: %s", strerror(errno));
    r.pid = out->pid = pid;
    close(end[1]);
    end[1] = -1;
    HL_TRY(read_report(end[0], options, &text));
    read_result(hl_str_text(&text), pid, &r);
    *out = r;
out:
    for (int i = 0; i < 2; i++)
        if (end[i] >= 0)
            close(end[i]);
    if (plan.in >= 0)
        close(plan.in);
    if (plan.out >= 0)
        close(plan.out);
    hl_vec_done(&envp);
    hl_str_done(&text);
    return st;
}

bool hl_detach_init(void)
{
    const char *var = getenv(REPORT_VAR);
    if (!var || strcmp(var, "3") != 0 || fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC) != 0)
        return false;
    unsetenv(REPORT_VAR);
    report_fd = REPORT_FD;
    prctl(PR_SET_NAME, "hoplab"); /* else it is "exe", after /proc/self/exe */
    return true;
}

static void report(const hl_str *text)
{
    if (report_fd < 0)
        return;
    /* The starter may be gone, which is no reason for the worker to fail. */
    struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
    sigaction(SIGPIPE, &ignore, &old);
    if (hl_fs_write_all(report_fd, hl_str_text(text), text->n, "report") != HL_OK)
        hl_err_clear();
    sigaction(SIGPIPE, &old, NULL);
    close(report_fd);
    report_fd = -1;
}

void hl_detach_report_started(const char *run_id)
{
    hl_str b = {0};
    hl_str_addf(&b, "started %s\n", run_id);
    report(&b);
    hl_str_done(&b);
}

void hl_detach_report_failed(int exit_status, const char *message)
{
    hl_str b = {0};
    hl_str_addf(&b, "failed %d %s", exit_status, message);
    report(&b);
    hl_str_done(&b);
}
