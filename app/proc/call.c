#define _GNU_SOURCE
#include "app/proc/call.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/proc/spawn.h"

#define KEEP_MAX ((size_t)64 << 20)

extern char **environ;

typedef struct channel {
    int end[2]; /* ours, the program's; -1: closed */
    hl_str *text;
} channel;

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

hl_status hl_call_spawn(char *const *argv, int out_fd, int err_fd, pid_t *pid)
{
    const int fd[2] = {out_fd, err_fd};
    posix_spawnattr_t how;
    posix_spawn_file_actions_t files;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    if (posix_spawnattr_init(&how) != 0)
        return HL_E_NOMEM;
    if (posix_spawn_file_actions_init(&files) != 0) {
        posix_spawnattr_destroy(&how);
        return HL_E_NOMEM;
    }
    int e = posix_spawnattr_setsigmask(&how, &none);
    e = e ? e : posix_spawnattr_setsigdefault(&how, &all);
    e = e ? e : posix_spawnattr_setpgroup(&how, 0);
    e = e ? e
          : posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                               POSIX_SPAWN_SETPGROUP);
    e = e ? e : posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    for (int i = 0; i < 2 && !e; i++)
        e = fd[i] >= 0
                ? posix_spawn_file_actions_adddup2(&files, fd[i], i + 1)
                : posix_spawn_file_actions_addopen(&files, i + 1, "/dev/null", O_WRONLY, 0);
    e = e ? e : posix_spawnp(pid, argv[0], &files, &how, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    if (e == ENOENT)
        return hl_err_set(HL_E_NOTFOUND, "there is no program %s on PATH", argv[0]);
    return e ? hl_err_set(HL_E_IO, "cannot run %s: %s", argv[0], strerror(e)) : HL_OK;
}

/* false: nothing more will come */
static bool read_some(channel *c)
{
    char bytes[4096];
    const ssize_t n = read(c->end[0], bytes, sizeof bytes);
    if (n > 0 && c->text->n < KEEP_MAX)
        hl_str_addn(c->text, bytes, (size_t)n);
    return n > 0 || (n < 0 && errno == EINTR);
}

static void read_all(channel c[2])
{
    while (c[0].end[0] >= 0 || c[1].end[0] >= 0) {
        struct pollfd p[2] = {{.fd = c[0].end[0], .events = POLLIN},
                              {.fd = c[1].end[0], .events = POLLIN}};
        if (poll(p, 2, -1) < 0)
            continue;
        for (int i = 0; i < 2; i++)
            if (p[i].revents && !read_some(&c[i]))
                close_end(&c[i].end[0]);
    }
}

hl_status hl_call_run(char *const *argv, hl_call *out)
{
    hl_status st = HL_OK;
    hl_call r = {0};
    channel c[2] = {{.end = {-1, -1}, .text = &r.out}, {.end = {-1, -1}, .text = &r.err}};
    pid_t pid = 0;
    int status = 0;
    for (int i = 0; i < 2; i++)
        if (pipe2(c[i].end, O_CLOEXEC) != 0)
            HL_FAIL(HL_E_IO, "cannot make a pipe: %s", strerror(errno));
    HL_TRY(hl_call_spawn(argv, c[0].end[1], c[1].end[1], &pid));
    close_end(&c[0].end[1]);
    close_end(&c[1].end[1]);
    read_all(c);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    r.exit_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    HL_TRY(hl_str_status(&r.out));
    HL_TRY(hl_str_status(&r.err));
    *out = r;
    r = (hl_call){0};
out:
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++)
            close_end(&c[i].end[k]);
    hl_call_done(&r);
    return st;
}

hl_status hl_spawn_start(char *const *argv, int64_t *pid)
{
    pid_t child = 0;
    const hl_status st = hl_call_spawn(argv, -1, -1, &child);
    if (st == HL_OK)
        *pid = child;
    return st;
}

bool hl_spawn_ended(int64_t pid)
{
    return waitpid((pid_t)pid, NULL, WNOHANG) != 0;
}

void hl_call_done(hl_call *c)
{
    hl_str_done(&c->out);
    hl_str_done(&c->err);
}

void hl_call_complaint(const hl_call *c, char *buf, size_t n)
{
    const char *text = c->err.n ? c->err.s : hl_str_text(&c->out);
    int k = (int)strlen(text);
    while (k > 0 && text[k - 1] == '\n')
        k--;
    snprintf(buf, n, "%.*s", k, text);
    for (char *p = buf; *p; p++)
        if (*p == '\n')
            *p = ' ';
}
