#define _GNU_SOURCE
#include "app/proc/job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/proc/call.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

enum { ASKED_MS = 200 };

struct hl_job {
    pid_t pid;
    int fd;      /* -1: its output has ended */
    hl_str said; /* not taken yet */
    bool is_reaped;
    int status;
};

hl_status hl_job_start(char *const *argv, hl_job **out)
{
    hl_status st = HL_OK;
    int end[2] = {-1, -1};
    hl_job *j = hl_alloc_zero(1, sizeof *j);
    if (!j)
        return HL_E_NOMEM;
    if (pipe2(end, O_CLOEXEC) != 0)
        HL_FAIL(HL_E_IO, "cannot make a pipe: %s", strerror(errno));
    HL_TRY(hl_call_spawn(argv, end[1], end[1], &j->pid));
    (void)fcntl(end[0], F_SETFL, O_NONBLOCK);
    j->fd = end[0];
    end[0] = -1;
    *out = j;
    j = NULL;
out:
    for (int i = 0; i < 2; i++)
        if (end[i] >= 0)
            close(end[i]);
    hl_free(j);
    return st;
}

int hl_job_fd(const hl_job *j)
{
    return j->fd;
}

static void read_more(hl_job *j)
{
    char bytes[4096];
    const ssize_t n = j->fd >= 0 ? read(j->fd, bytes, sizeof bytes) : 0;
    if (n > 0) {
        hl_str_addn(&j->said, bytes, (size_t)n);
        return;
    }
    if (j->fd >= 0 && (n == 0 || (errno != EINTR && errno != EAGAIN))) {
        close(j->fd);
        j->fd = -1;
    }
}

bool hl_job_line(hl_job *j, hl_str *line)
{
    const char *end = j->said.n ? memchr(j->said.s, '\n', j->said.n) : NULL;
    if (!end && j->said.n < HL_JOB_LINE_MAX) {
        read_more(j);
        end = j->said.n ? memchr(j->said.s, '\n', j->said.n) : NULL;
    }
    hl_str_clear(line);
    if (j->said.n == 0 || (!end && j->fd >= 0 && j->said.n < HL_JOB_LINE_MAX))
        return false;
    const size_t n = end ? (size_t)(end - j->said.s) : j->said.n, used = n + (end != NULL);
    hl_str_addn(line, j->said.s, n);
    memmove(j->said.s, j->said.s + used, j->said.n - used);
    j->said.n -= used;
    return true;
}

static bool reap(hl_job *j)
{
    int status = 0;
    if (!j->is_reaped && waitpid(j->pid, &status, WNOHANG) == j->pid) {
        j->is_reaped = true;
        j->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    return j->is_reaped;
}

bool hl_job_is_over(hl_job *j, int *status)
{
    if (j->fd >= 0 || j->said.n || !reap(j))
        return false;
    *status = j->status;
    return true;
}

void hl_job_free(hl_job *j)
{
    if (!j)
        return;
    if (!reap(j))
        (void)kill(-j->pid, SIGTERM);
    for (int ms = 0; ms < ASKED_MS && !reap(j); ms += 5)
        hl_clock_sleep_ms(5);
    if (!j->is_reaped || j->fd >= 0) /* what it has started may hold on */
        (void)kill(-j->pid, SIGKILL);
    while (!j->is_reaped && waitpid(j->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (j->fd >= 0)
        close(j->fd);
    hl_str_done(&j->said);
    hl_free(j);
}
