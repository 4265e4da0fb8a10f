/* Output that never blocks. SIGPIPE must be ignored. */
#define _GNU_SOURCE
#include "app/proc/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PENDING_MAX (1 << 20)
#define CHUNK       4096 /* a pipe that polls writable takes as much at once */

void hl_stream_open(hl_stream *s, int fd)
{
    struct stat sb;
    *s = (hl_stream){.fd = fd, .own_fd = -1, .terminal = isatty(fd) == 1};
    /* A second open of a terminal or pipe has flags of its own: O_NONBLOCK on the descriptor we
     * were given would reach whoever shares it. Not for files, where the position would differ. */
    if (s->terminal || (fstat(fd, &sb) == 0 && S_ISFIFO(sb.st_mode))) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        s->own_fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    }
}

void hl_stream_close(hl_stream *s)
{
    if (s->own_fd >= 0)
        close(s->own_fd);
    hl_str_done(&s->pending);
    *s = (hl_stream){.fd = -1, .own_fd = -1, .dead = true};
}

void hl_stream_refresh(hl_stream *s)
{
    struct stat sb;
    if (!s->terminal || isatty(s->fd) == 1)
        return;
    if (fstat(s->fd, &sb) != 0 || S_ISCHR(sb.st_mode))
        return; /* hung up and not yet redirected */
    if (s->own_fd >= 0)
        close(s->own_fd);
    hl_str_clear(&s->pending);
    s->own_fd = -1;
    s->terminal = s->dead = false;
}

void hl_stream_flush(hl_stream *s, int wait_ms)
{
    int fd = s->own_fd >= 0 ? s->own_fd : s->fd;
    size_t sent = 0;
    while (sent < s->pending.n && !s->dead) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int ready = poll(&p, 1, wait_ms);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            break;
        size_t n = s->pending.n - sent;
        ssize_t put = write(fd, s->pending.s + sent, n < CHUNK ? n : CHUNK);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN)
            break;
        if (put < 0) /* a full disk may get room again, a reader that left never comes back */
            s->dead = errno != ENOSPC && errno != EDQUOT;
        sent = put < 0 ? s->pending.n : sent + (size_t)put;
    }
    s->pending.n -= sent;
    if (sent && s->pending.n)
        memmove(s->pending.s, s->pending.s + sent, s->pending.n);
}

void hl_stream_put(hl_stream *s, const hl_str *text, bool keep)
{
    hl_stream_flush(s, 0);
    if (s->dead || text->failed || s->pending.n + text->n > PENDING_MAX || (s->pending.n && !keep))
        return;
    hl_str_addn(&s->pending, hl_str_text(text), text->n);
    s->pending.failed = false;
    hl_stream_flush(s, 0);
}
