#define _GNU_SOURCE
#include "app/store/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/store/follow.h"
#include "app/store/lock.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

#define MS             INT64_C(1000000)
#define PAUSE_FIRST_NS (250 * MS)
#define PAUSE_LAST_NS  (5000 * MS)

void hl_trouble_note(hl_trouble *t, int error, int64_t now_ns)
{
    if (!t->since_us) {
        t->since_us = hl_clock_wall_us();
        t->since_ns = now_ns;
        t->pause_ns = PAUSE_FIRST_NS;
    } else {
        t->pause_ns = t->pause_ns * 2 < PAUSE_LAST_NS ? t->pause_ns * 2 : PAUSE_LAST_NS;
    }
    t->retry_ns = now_ns + t->pause_ns;
    t->error = error;
}

bool hl_trouble_waits(const hl_trouble *t, int64_t now_ns)
{
    return t->since_us && now_ns < t->retry_ns;
}

const char *hl_trouble_reason(const hl_trouble *t)
{
    switch (t->error) {
    case ENOSPC:
        return "the disk is full; free some space";
    case EDQUOT:
        return "the disk quota is used up";
    case EFBIG:
        return "the file may not grow any further (ulimit -f)";
    case EROFS:
        return "the file system became read-only";
    default:
        return strerror(t->error);
    }
}

static ssize_t system_write_at(void *self, int fd, const void *bytes, size_t n, off_t offset)
{
    (void)self;
    return pwrite(fd, bytes, n, offset);
}

static int system_sync(void *self, int fd)
{
    (void)self;
    return fdatasync(fd);
}

/* Seconds in the name of the last segment of the directory, and how many there are. */
static hl_status survey(const char *run_dir, int64_t *last_s, size_t *n)
{
    hl_fs_list list;
    hl_status st = hl_fs_list_dir(run_dir, &list);
    if (st != HL_OK)
        return st;
    *last_s = -1;
    *n = 0;
    for (size_t i = 0; i < list.n; i++) {
        if (!hl_str_starts(list.name[i], HL_SEGMENT_PREFIX))
            continue;
        char seconds[11];
        int64_t s;
        snprintf(seconds, sizeof seconds, "%.10s", list.name[i] + strlen(HL_SEGMENT_PREFIX));
        if (hl_parse_i64(seconds, &s) == HL_OK && s > *last_s)
            *last_s = s;
        ++*n;
    }
    hl_fs_list_free(&list);
    return HL_OK;
}

/* TensorBoard reads segments in the order of their names: two in one second, or a clock set back,
 * must not put the new one before an old one. */
static hl_status choose_name(const char *run_dir, char **out)
{
    int64_t now_s = hl_clock_wall_us() / 1000000, last_s;
    size_t n;
    char host[80];
    hl_str b = {0};
    hl_status st = survey(run_dir, &last_s, &n);
    if (st != HL_OK)
        return st;
    if (now_s <= last_s)
        now_s = last_s + 1;
    hl_str_addf(&b, "%s/" HL_SEGMENT_PREFIX "%010lld.%s.%ld.%zu", run_dir, (long long)now_s,
                hl_host_name(host), (long)getpid(), n);
    st = hl_str_status(&b);
    if (st == HL_OK)
        *out = b.s;
    else
        hl_str_done(&b);
    return st;
}

hl_status hl_segment_open(const char *run_dir, const hl_store_io *io, hl_segment *out)
{
    hl_segment s = {.fd = -1, .io = {system_write_at, system_sync, NULL}};
    if (io)
        s.io = *io;
    hl_status st = choose_name(run_dir, &s.path);
    if (st != HL_OK)
        return st;
    s.fd = open(s.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (s.fd < 0) {
        st = hl_err_set(HL_E_IO, "cannot create %s: %s", s.path,
                        errno == EROFS ? "the file system is read-only" : strerror(errno));
        hl_free(s.path);
        return st;
    }
    s.synced_ns = hl_clock_mono_ns();
    *out = s;
    return HL_OK;
}

size_t hl_segment_pending(const hl_segment *s)
{
    return s->buffer.n - s->n_written;
}

size_t hl_segment_unsynced(const hl_segment *s)
{
    return s->n_written;
}

void hl_segment_write(hl_segment *s, int64_t now_ns)
{
    if (hl_trouble_waits(&s->trouble, now_ns))
        return;
    while (hl_segment_pending(s) > 0) {
        ssize_t put = s->io.write_at(s->io.self, s->fd, s->buffer.s + s->n_written,
                                     hl_segment_pending(s), s->base + (off_t)s->n_written);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            hl_trouble_note(&s->trouble, put < 0 ? errno : EIO, now_ns);
            return;
        }
        s->n_written += (size_t)put;
    }
    if (!s->sync_failed)
        s->trouble = (hl_trouble){0};
}

void hl_segment_sync(hl_segment *s, int64_t now_ns)
{
    if (s->n_written == 0 || hl_trouble_waits(&s->trouble, now_ns))
        return;
    if (s->io.sync(s->io.self, s->fd) != 0 && errno != EINVAL && errno != ENOSYS) {
        /* The system may have dropped what it could not store and call the next sync a success:
         * only writing those bytes again makes sure. */
        hl_trouble_note(&s->trouble, errno, now_ns);
        s->sync_failed = true;
        s->n_written = 0;
        return;
    }
    if (s->sync_failed)
        s->trouble = (hl_trouble){0};
    s->sync_failed = false;
    s->base += (int64_t)s->n_written;
    s->buffer.n -= s->n_written;
    memmove(s->buffer.s, s->buffer.s + s->n_written, s->buffer.n);
    s->n_written = 0;
    s->synced_ns = now_ns;
}

bool hl_segment_is_orphan(const hl_segment *s)
{
    struct stat sb;
    return fstat(s->fd, &sb) == 0 && sb.st_nlink == 0;
}

void hl_segment_close(hl_segment *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    hl_str_done(&s->buffer);
    hl_free(s->path);
    s->path = NULL;
}
