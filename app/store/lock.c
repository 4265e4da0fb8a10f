#define _GNU_SOURCE
#include "app/store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/proc/host.h"
#include "engine/base/fs.h"
#include "engine/base/json.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

struct hl_lock {
    int fd;
};

/* Who a process is, so that a recycled process id is not taken for it. */
typedef struct identity {
    char boot[64];  /* one per start of the machine */
    char space[64]; /* of process ids: containers have their own */
    int64_t start;  /* clock ticks since boot; -1: not running, or this system does not tell */
} identity;

/* First line of a small /proc file, "" if it cannot be read. */
static void read_line(const char *path, char *out, size_t cap)
{
    out[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = read(fd, out, cap - 1);
    close(fd);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

static void identify(identity *out, int64_t pid)
{
    *out = (identity){.start = hl_host_process_start(pid)};
    read_line("/proc/sys/kernel/random/boot_id", out->boot, sizeof out->boot);
    ssize_t n = readlink("/proc/self/ns/pid", out->space, sizeof out->space - 1);
    out->space[n > 0 ? n : 0] = '\0';
}

const char *hl_host_name(char buf[80])
{
    char name[256];
    if (gethostname(name, sizeof name) != 0)
        name[0] = '\0';
    name[sizeof name - 1] = '\0';
    size_t n = 0;
    for (const char *p = name; *p && n < 63; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || *p == '-';
        buf[n++] = (char)(plain ? *p : '_'); /* a dot would look like a field of a segment's name */
    }
    if (!n)
        buf[n++] = '_';
    buf[n] = '\0';
    return buf;
}

static char *lock_path(const char *run_dir)
{
    return hl_fs_join(run_dir, "lock");
}

/* Locks of an open file description: unlike classic ones they do not vanish when the process closes
 * some other descriptor of the file, and they can be looked at without being taken. */
static int set_lock(int fd)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &l) == 0 ? 0 : errno;
}

static hl_tristate is_locked(int fd)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_GETLK, &l) != 0)
        return HL_UNKNOWN;
    return l.l_type == F_UNLCK ? HL_NO : HL_YES;
}

static hl_status write_holder(int fd, const char *path)
{
    identity me;
    char host[80];
    identify(&me, getpid());
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_int(&b, "pid", getpid());
    hl_json_put_int(&b, "start", me.start);
    hl_json_put_str(&b, "boot", me.boot);
    hl_json_put_str(&b, "space", me.space);
    hl_json_put_str(&b, "host", hl_host_name(host));
    hl_json_end(&b, '}');
    hl_str_addc(&b, '\n');
    hl_status st = hl_str_status(&b);
    if (st == HL_OK && (ftruncate(fd, 0) != 0 || pwrite(fd, b.s, b.n, 0) != (ssize_t)b.n))
        st = hl_err_set(HL_E_IO, "cannot write %s: %s", path, strerror(errno));
    hl_str_done(&b);
    return st;
}

static hl_status refuse(const char *run_dir, const hl_lock_view *v)
{
    char who[160] = "another process";
    if (v->named)
        snprintf(who, sizeof who, "process %lld on %s", (long long)v->pid, v->host);
    return hl_err_set(HL_E_STATE,
                      "run %s is being written by %s; stop that one first (hoplab ctl %s stop), or "
                      "start a run of its own",
                      hl_fs_base(run_dir), who, hl_fs_base(run_dir));
}

hl_status hl_lock_take(const char *run_dir, hl_lock **out)
{
    hl_status st = HL_OK;
    hl_lock *lock = hl_alloc_zero(1, sizeof *lock);
    char *path = lock_path(run_dir);
    if (!lock || !path) {
        hl_free(lock);
        hl_free(path);
        return HL_E_NOMEM;
    }
    lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock->fd < 0)
        HL_FAIL(errno == ENOENT ? HL_E_NOTFOUND : HL_E_IO, "cannot write %s: %s", path,
                errno == EROFS ? "the file system is read-only" : strerror(errno));
    int e = set_lock(lock->fd);
    hl_lock_view v;
    hl_lock_look(run_dir, &v);
    if (e == EAGAIN || e == EACCES) {
        st = refuse(run_dir, &v);
        goto out;
    }
    if (e) { /* no locks on this file system: the name in the file has to do */
        if (v.named && v.process == HL_YES) {
            st = refuse(run_dir, &v);
            goto out;
        }
        hl_log(HL_LOG_WARN,
               "%s: this file system has no locks (%s); a second writer of the run would only be "
               "noticed on this machine",
               path, strerror(e));
    }
    HL_TRY(write_holder(lock->fd, path));
    *out = lock;
out:
    if (st != HL_OK) {
        if (lock->fd >= 0)
            close(lock->fd);
        hl_free(lock);
    }
    hl_free(path);
    return st;
}

void hl_lock_release(hl_lock *lock)
{
    if (!lock)
        return;
    if (ftruncate(lock->fd, 0) != 0) /* a stale name is caught by the process's start time */
        hl_log(HL_LOG_WARN, "cannot empty the lock file: %s", strerror(errno));
    close(lock->fd);
    hl_free(lock);
}

static void judge_process(const hl_json *holder, hl_lock_view *v)
{
    identity me; /* whoever has that number here and now */
    identify(&me, v->pid);
    const char *boot = hl_json_str(hl_json_get(holder, "boot"), "");
    const char *space = hl_json_str(hl_json_get(holder, "space"), "");
    int64_t start = hl_json_int(hl_json_get(holder, "start"), -1);
    char host[80];
    bool same_host = strcmp(v->host, hl_host_name(host)) == 0;
    if (strcmp(boot, me.boot) != 0) {
        /* our machine under an earlier boot, or another machine */
        v->process = same_host && *boot && *me.boot ? HL_NO : HL_UNKNOWN;
        return;
    }
    if ((!*boot && !same_host) || strcmp(space, me.space) != 0)
        return;
    if (start >= 0)
        v->process = start == me.start ? HL_YES : HL_NO;
    else
        v->process = kill((pid_t)v->pid, 0) == 0 || errno == EPERM ? HL_YES : HL_NO;
}

void hl_lock_look(const char *run_dir, hl_lock_view *out)
{
    *out = (hl_lock_view){.locked = HL_UNKNOWN, .process = HL_UNKNOWN};
    char text[1024];
    char *path = lock_path(run_dir);
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    hl_free(path);
    if (fd < 0)
        return;
    out->exists = true;
    out->locked = is_locked(fd);
    ssize_t n = pread(fd, text, sizeof text, 0);
    close(fd);
    hl_json *holder = NULL;
    if (n <= 0 || hl_json_parse(text, (size_t)n, &holder) != HL_OK)
        return;
    int64_t pid = hl_json_int(hl_json_get(holder, "pid"), 0);
    if (pid > 0 && pid <= INT32_MAX) {
        out->named = true;
        out->pid = pid;
        snprintf(out->host, sizeof out->host, "%s", hl_json_str(hl_json_get(holder, "host"), "?"));
        judge_process(holder, out);
    }
    hl_json_free(holder);
}

hl_tristate hl_lock_is_live(const hl_lock_view *v)
{
    /* A process known to be gone may have left the lock to a child that it forked. */
    if (v->process == HL_NO)
        return HL_NO;
    if (v->locked == HL_YES)
        return HL_YES;
    if (!v->named)
        return HL_NO;
    /* Named but not locked: on this machine a copy of the directory (or a file system that cannot
     * tell); seen from another machine, locks may simply not reach here. */
    if (v->process == HL_YES)
        return v->locked == HL_NO ? HL_NO : HL_YES;
    return HL_UNKNOWN;
}
