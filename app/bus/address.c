/* Where the socket of a run is, for the worker that listens and the clients that look for it.
 *
 * First choice is <run dir>/control.sock. If that path does not fit into sun_path, or the file
 * system refuses sockets, a private directory takes it and <run dir>/control.path names it. The
 * name there is the run directory's device and inode number, and clients check it: a copied run
 * directory carries a copy of control.path, which must not lead to the original run. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/bus/bus_internal.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

#define CONNECT_TRIES 100

static hl_status set_address(const char *path, struct sockaddr_un *out)
{
    size_t n = strlen(path);
    if (n >= sizeof out->sun_path)
        return hl_err_set(HL_E_ARG, "%s is too long for a socket (%zu bytes, at most %zu)", path, n,
                          sizeof out->sun_path - 1);
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->sun_path, path, n + 1);
    return HL_OK;
}

static int new_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Somebody's file is at the address: HL_OK once a dead worker's socket is removed. */
static hl_status clear_stale(const struct sockaddr_un *a)
{
    struct stat sb;
    if (lstat(a->sun_path, &sb) == 0 && !S_ISSOCK(sb.st_mode))
        return hl_err_set(HL_E_IO, "%s is in the way: it is not a socket", a->sun_path);
    int fd = new_socket();
    if (fd < 0)
        return hl_err_set(HL_E_IO, "cannot make a socket: %s", strerror(errno));
    int e = connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 ? 0 : errno;
    close(fd);
    if (e == 0 || e == EAGAIN)
        return hl_err_set(HL_E_STATE, "a worker listens at %s already: the run is live",
                          a->sun_path);
    if (e != ECONNREFUSED && e != ENOENT)
        return hl_err_set(HL_E_IO, "cannot use %s: %s", a->sun_path, strerror(e));
    if (unlink(a->sun_path) != 0 && errno != ENOENT)
        return hl_err_set(HL_E_IO, "cannot remove %s: %s", a->sun_path, strerror(errno));
    return HL_OK;
}

static hl_status listen_at(const char *path, int *out)
{
    hl_status st = HL_OK;
    struct sockaddr_un a;
    int fd = -1;
    HL_TRY(set_address(path, &a));
    fd = new_socket();
    if (fd < 0)
        HL_FAIL(HL_E_IO, "cannot make a socket: %s", strerror(errno));
    /* Before bind, so that the file never exists with wider rights. */
    if (fchmod(fd, 0600) != 0)
        HL_FAIL(HL_E_IO, "cannot restrict a socket: %s", strerror(errno));
    if (bind(fd, (const struct sockaddr *)&a, sizeof a) != 0) {
        if (errno != EADDRINUSE)
            HL_FAIL(HL_E_IO, "cannot make the socket %s: %s", path, strerror(errno));
        HL_TRY(clear_stale(&a));
        if (bind(fd, (const struct sockaddr *)&a, sizeof a) != 0)
            HL_FAIL(HL_E_IO, "cannot make the socket %s: %s", path, strerror(errno));
    }
    if (chmod(path, 0600) != 0 || listen(fd, 64) != 0)
        HL_FAIL(HL_E_IO, "cannot listen at %s: %s", path, strerror(errno));
    *out = fd;
    fd = -1;
out:
    if (fd >= 0)
        close(fd);
    return st;
}

/* A directory that only this user can enter, made if need be. */
static hl_status private_dir(const char *path)
{
    struct stat sb;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return hl_err_set(HL_E_IO, "cannot create directory %s: %s", path, strerror(errno));
    if (lstat(path, &sb) != 0)
        return hl_err_set(HL_E_IO, "cannot use %s: %s", path, strerror(errno));
    if (!S_ISDIR(sb.st_mode) || sb.st_uid != geteuid() || (sb.st_mode & 077))
        return hl_err_set(HL_E_IO, "%s must be a directory that only its owner, this user, can use",
                          path);
    return HL_OK;
}

/* "<device>-<inode>.sock" of the run directory */
static hl_status socket_name(const char *run_dir, char out[64])
{
    struct stat sb;
    if (stat(run_dir, &sb) != 0)
        return hl_err_set(errno == ENOENT ? HL_E_NOTFOUND : HL_E_IO, "cannot look at %s: %s",
                          run_dir, strerror(errno));
    snprintf(out, 64, "%llx-%llx.sock", (unsigned long long)sb.st_dev,
             (unsigned long long)sb.st_ino);
    return HL_OK;
}

/* Listens in the first private directory that works and writes control.path. */
static hl_status listen_outside(const char *run_dir, const char *pointer, int *fd, hl_str *path)
{
    hl_status st = HL_OK;
    char name[64];
    HL_TRY(socket_name(run_dir, name));
    const char *runtime = getenv("XDG_RUNTIME_DIR"), *temp = getenv("TMPDIR");
    for (int i = 0; i < 3; i++) {
        const char *base = i == 0 ? runtime : i == 1 ? temp : "/tmp";
        if (!base || base[0] != '/')
            continue;
        hl_str_clear(path);
        hl_str_addf(path, i == 0 ? "%s/hoplab" : "%s/hoplab-%lu", base, (unsigned long)geteuid());
        HL_TRY(hl_str_status(path));
        st = private_dir(path->s);
        if (st != HL_OK)
            continue;
        hl_str_addf(path, "/%s", name);
        HL_TRY(hl_str_status(path));
        st = listen_at(path->s, fd);
        if (st == HL_OK || st == HL_E_STATE)
            break;
    }
    if (st != HL_OK)
        goto out;
    hl_str line = {0};
    hl_str_addf(&line, "%s\n", path->s);
    st = hl_str_status(&line);
    if (st == HL_OK)
        st = hl_fs_write_atomic(pointer, line.s, line.n);
    hl_str_done(&line);
    if (st != HL_OK) {
        close(*fd);
        unlink(path->s);
    }
out:
    return st;
}

hl_status hl_bus_address_listen(const char *run_dir, int *fd, char path[HL_BUS_PATH_MAX])
{
    hl_status st = HL_OK;
    hl_str outside = {0};
    char *inside = hl_fs_join(run_dir, "control.sock");
    char *pointer = hl_fs_join(run_dir, "control.path");
    if (!inside || !pointer) {
        st = HL_E_NOMEM;
        goto out;
    }
    st = listen_at(inside, fd);
    if (st == HL_OK) {
        unlink(pointer);
        snprintf(path, HL_BUS_PATH_MAX, "%s", inside);
        goto out;
    }
    if (st == HL_E_STATE)
        goto out;
    HL_TRY_CTX(listen_outside(run_dir, pointer, fd, &outside), "control socket of %s", run_dir);
    snprintf(path, HL_BUS_PATH_MAX, "%s", outside.s);
out:
    hl_str_done(&outside);
    hl_free(inside);
    hl_free(pointer);
    return st;
}

void hl_bus_address_remove(const hl_bus *bus)
{
    struct stat sb;
    if (lstat(bus->path, &sb) != 0 || sb.st_dev != bus->device || sb.st_ino != bus->inode)
        return;
    unlink(bus->path);
    if (strcmp(hl_fs_base(bus->path), "control.sock") == 0)
        return;
    char *pointer = hl_fs_join(bus->run_dir, "control.path");
    if (pointer)
        unlink(pointer);
    hl_free(pointer);
}

/* The socket that control.path names, or <run dir>/control.sock; owned by the caller. */
static hl_status find_address(const char *run_dir, char **out)
{
    hl_status st = HL_OK;
    char *pointer = hl_fs_join(run_dir, "control.path"), *text = NULL, *path = NULL;
    if (!pointer) {
        st = HL_E_NOMEM;
        goto out;
    }
    char name[64];
    HL_TRY(socket_name(run_dir, name));
    if (hl_fs_exists(pointer)) {
        HL_TRY(hl_fs_read(pointer, 4096, &text, NULL));
        text[strcspn(text, "\n")] = '\0';
        if (text[0] != '/' || strcmp(hl_fs_base(text), name) != 0)
            HL_FAIL(HL_E_NOTFOUND,
                    "%s belongs to another run directory, from which this one "
                    "was copied",
                    pointer);
    }
    path = text ? hl_strdup(text) : hl_fs_join(run_dir, "control.sock");
    if (!path) {
        st = HL_E_NOMEM;
        goto out;
    }
    *out = path;
out:
    hl_free(text);
    hl_free(pointer);
    return st;
}

hl_status hl_bus_address_connect(const char *run_dir, int *fd)
{
    hl_status st = HL_OK;
    char *path = NULL;
    int s = -1;
    struct sockaddr_un a;
    HL_TRY_CTX(find_address(run_dir, &path), "the run is not live");
    if (!path || set_address(path, &a) != HL_OK)
        HL_FAIL(HL_E_NOTFOUND, "the run is not live: no worker listens in %s", run_dir);
    s = new_socket();
    if (s < 0)
        HL_FAIL(HL_E_IO, "cannot make a socket: %s", strerror(errno));
    int tries = 0;
    while (connect(s, (const struct sockaddr *)&a, sizeof a) != 0) {
        if (errno == EAGAIN && tries++ < CONNECT_TRIES) {
            hl_clock_sleep_ms(10); /* more ask at this moment than may wait in line */
            continue;
        }
        if (errno == EAGAIN)
            HL_FAIL(HL_E_STATE, "the run takes no more connections at %s now", path);
        if (errno == EACCES || errno == EPERM)
            HL_FAIL(HL_E_IO, "cannot reach the run at %s: it belongs to another user", path);
        HL_FAIL(HL_E_NOTFOUND, "the run is not live on this machine: no worker listens at %s",
                path);
    }
    *fd = s;
    s = -1;
out:
    if (s >= 0)
        close(s);
    hl_free(path);
    return st;
}
