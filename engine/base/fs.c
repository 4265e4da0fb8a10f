#define _GNU_SOURCE
#include "engine/base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/str.h"

/* errno in words, with the status a caller can act on */
static hl_status io_error(const char *what, const char *path)
{
    int e = errno;
    hl_status code = e == ENOENT || e == ENOTDIR ? HL_E_NOTFOUND : HL_E_IO;
    const char *why = e == ENOENT   ? "no such file or directory"
                      : e == ENOSPC ? "the disk is full; free some space"
                      : e == EACCES ? "permission denied"
                      : e == EROFS  ? "the file system is read-only"
                      : e == EDQUOT ? "the disk quota is used up"
                                    : strerror(e);
    return hl_err_set(code, "%s %s: %s", what, path, why);
}

hl_status hl_fs_read(const char *path, size_t max_bytes, char **out, size_t *n)
{
    hl_status st = HL_OK;
    char *buf = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hang us */
    if (fd < 0)
        return io_error("cannot read", path);
    struct stat sb;
    if (fstat(fd, &sb) != 0) {
        st = io_error("cannot read", path);
        goto out;
    }
    if (!S_ISREG(sb.st_mode))
        HL_FAIL(HL_E_IO, "cannot read %s: it is %s, not a file", path,
                S_ISDIR(sb.st_mode) ? "a directory" : "a device or pipe");
    if ((uint64_t)sb.st_size > max_bytes)
        HL_FAIL(HL_E_FORMAT, "%s has %lld bytes; at most %zu are read here", path,
                (long long)sb.st_size, max_bytes);
    size_t cap = (size_t)sb.st_size, have = 0;
    buf = hl_alloc(cap + 1);
    if (!buf) {
        st = HL_E_NOMEM;
        goto out;
    }
    while (have < cap) {
        ssize_t got = read(fd, buf + have, cap - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            st = io_error("cannot read", path);
            goto out;
        }
        if (got == 0)
            break;
        have += (size_t)got;
    }
    buf[have] = '\0';
    *out = buf;
    if (n)
        *n = have;
    buf = NULL;
out:
    hl_free(buf);
    close(fd);
    return st;
}

hl_status hl_fs_write_all(int fd, const void *bytes, size_t n, const char *path)
{
    const char *p = bytes;
    while (n) {
        ssize_t put = write(fd, p, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return io_error("cannot write", path);
        p += put;
        n -= (size_t)put;
    }
    return HL_OK;
}

/* durable: once it returns, on the disk too. */
static hl_status replace(const char *path, const hl_fs_part *parts, size_t n, bool durable)
{
    hl_status st = HL_OK;
    int fd = -1;
    hl_str temp = {0};
    hl_str_addf(&temp, "%s.tmp-%ld", path, (long)getpid());
    HL_TRY(hl_str_status(&temp));
    fd = open(temp.s, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        st = io_error("cannot write", path);
        goto out;
    }
    for (size_t i = 0; i < n; i++)
        HL_TRY(hl_fs_write_all(fd, parts[i].bytes, parts[i].n, path));
    if (durable && fsync(fd) != 0)
        st = io_error("cannot write", path);
    if (close(fd) != 0 && st == HL_OK)
        st = io_error("cannot write", path);
    fd = -1;
    if (st != HL_OK)
        goto out;
    if (rename(temp.s, path) != 0) {
        st = io_error("cannot replace", path);
        goto out;
    }
    if (durable) {
        char *dir = hl_fs_parent(path);
        st = dir ? hl_fs_sync_dir(dir) : HL_E_NOMEM;
        hl_free(dir);
    }
out:
    if (fd >= 0)
        close(fd);
    if (st != HL_OK && temp.s)
        unlink(temp.s);
    hl_str_done(&temp);
    return st;
}

hl_status hl_fs_write_parts(const char *path, const hl_fs_part *parts, size_t n)
{
    return replace(path, parts, n, true);
}

hl_status hl_fs_write_atomic(const char *path, const void *bytes, size_t n)
{
    return replace(path, &(hl_fs_part){bytes, n}, 1, true);
}

hl_status hl_fs_write_soon(const char *path, const void *bytes, size_t n)
{
    return replace(path, &(hl_fs_part){bytes, n}, 1, false);
}

hl_status hl_fs_sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return io_error("cannot open", path);
    /* Some network file systems refuse fsync on a directory; the rename itself is done. */
    (void)fsync(fd);
    close(fd);
    return HL_OK;
}

hl_status hl_fs_make_dir(const char *path)
{
    if (mkdir(path, 0777) == 0)
        return HL_OK;
    const bool taken = errno == EEXIST;
    if (taken && hl_fs_is_dir(path))
        return HL_OK;
    if (taken)
        return hl_err_set(HL_E_IO, "cannot create directory %s: a file of that name is there",
                          path);
    if (errno != ENOENT)
        return io_error("cannot create directory", path);
    char *parent = hl_fs_parent(path);
    if (!parent)
        return HL_E_NOMEM;
    hl_status st = hl_fs_make_dir(parent);
    hl_free(parent);
    if (st == HL_OK && mkdir(path, 0777) != 0 && errno != EEXIST)
        st = io_error("cannot create directory", path);
    return st;
}

hl_status hl_fs_remove_tree(const char *path)
{
    struct stat sb;
    if (lstat(path, &sb) != 0)
        return errno == ENOENT ? HL_OK : io_error("cannot remove", path);
    if (!S_ISDIR(sb.st_mode))
        return unlink(path) == 0 ? HL_OK : io_error("cannot remove", path);
    hl_fs_list list;
    hl_status st = hl_fs_list_dir(path, &list);
    if (st != HL_OK)
        return st;
    for (size_t i = 0; i < list.n && st == HL_OK; i++) {
        char *child = hl_fs_join(path, list.name[i]);
        st = child ? hl_fs_remove_tree(child) : HL_E_NOMEM;
        hl_free(child);
    }
    hl_fs_list_free(&list);
    if (st == HL_OK && rmdir(path) != 0)
        st = io_error("cannot remove", path);
    return st;
}

bool hl_fs_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool hl_fs_is_dir(const char *path)
{
    struct stat sb;
    return stat(path, &sb) == 0 && S_ISDIR(sb.st_mode);
}

int64_t hl_fs_size(const char *path)
{
    struct stat sb;
    return stat(path, &sb) == 0 ? (int64_t)sb.st_size : -1;
}

int64_t hl_fs_changed_ns(const char *path)
{
    struct stat sb;
    if (stat(path, &sb) != 0)
        return -1;
    return (int64_t)sb.st_mtim.tv_sec * 1000000000 + sb.st_mtim.tv_nsec;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

hl_status hl_fs_list_dir(const char *path, hl_fs_list *out)
{
    hl_status st = HL_OK;
    hl_fs_list list = {0};
    size_t cap = 0;
    DIR *d = opendir(path);
    if (!d)
        return io_error("cannot list", path);
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (list.n == cap) {
            cap = cap ? cap * 2 : 32;
            char **p = hl_realloc(list.name, cap * sizeof *p);
            if (!p) {
                st = HL_E_NOMEM;
                goto out;
            }
            list.name = p;
        }
        list.name[list.n] = hl_strdup(e->d_name);
        if (!list.name[list.n]) {
            st = HL_E_NOMEM;
            goto out;
        }
        list.n++;
    }
    if (list.n)
        qsort(list.name, list.n, sizeof *list.name, by_name);
    *out = list;
out:
    closedir(d);
    if (st != HL_OK)
        hl_fs_list_free(&list);
    return st;
}

void hl_fs_list_free(hl_fs_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        hl_free(list->name[i]);
    hl_free(list->name);
    *list = (hl_fs_list){0};
}

char *hl_fs_join(const char *a, const char *b)
{
    if (b[0] == '/' || !*a)
        return hl_strdup(b);
    size_t n = strlen(a), m = strlen(b);
    bool slash = a[n - 1] != '/';
    char *p = hl_alloc(n + m + 2);
    if (!p)
        return NULL;
    memcpy(p, a, n);
    if (slash)
        p[n] = '/';
    memcpy(p + n + slash, b, m + 1);
    return p;
}

const char *hl_fs_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *hl_fs_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return hl_strdup(".");
    return slash == path ? hl_strdup("/") : hl_strndup(path, (size_t)(slash - path));
}

char *hl_fs_absolute(const char *path)
{
    if (path[0] == '/')
        return hl_strdup(path);
    char cwd[4096];
    if (!getcwd(cwd, sizeof cwd)) {
        (void)io_error("cannot find", "the working directory");
        return NULL;
    }
    return hl_fs_join(cwd, path);
}

/* $variable/hoplab, else ~/below/hoplab */
static bool user_dir(const char *variable, const char *below, char *buf, size_t n)
{
    const char *place = getenv(variable), *home = getenv("HOME");
    int used = -1;
    if (place && place[0] == '/')
        used = snprintf(buf, n, "%s/hoplab", place);
    else if (home && home[0] == '/')
        used = snprintf(buf, n, "%s/%s/hoplab", home, below);
    return used > 0 && (size_t)used < n;
}

bool hl_fs_state_dir(char *buf, size_t n)
{
    return user_dir("XDG_STATE_HOME", ".local/state", buf, n);
}

bool hl_fs_cache_dir(char *buf, size_t n)
{
    return user_dir("XDG_CACHE_HOME", ".cache", buf, n);
}

hl_status hl_fs_map_open(const char *path, hl_fs_map *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return io_error("cannot read", path);
    struct stat sb;
    if (fstat(fd, &sb) != 0 || !S_ISREG(sb.st_mode)) {
        bool dir = fstat(fd, &sb) == 0 && S_ISDIR(sb.st_mode);
        close(fd);
        return hl_err_set(HL_E_IO, "cannot read %s: it is %s, not a file", path,
                          dir ? "a directory" : "a device or pipe");
    }
    hl_fs_map map = {.n = (size_t)sb.st_size};
    if (map.n) {
        void *p = mmap(NULL, map.n, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            hl_status st = io_error("cannot map", path);
            close(fd);
            return st;
        }
        map.bytes = p;
    }
    close(fd);
    *out = map;
    return HL_OK;
}

void hl_fs_map_release(const hl_fs_map *map, const void *from, size_t n_bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t at = (size_t)((const unsigned char *)from - (const unsigned char *)map->bytes);
    const size_t begin = (at + page - 1) / page * page, end = (at + n_bytes) / page * page;
    if (begin < end)
        (void)madvise((unsigned char *)(uintptr_t)map->bytes + begin, end - begin, MADV_DONTNEED);
}

void hl_fs_map_close(hl_fs_map *map)
{
    if (map->bytes)
        munmap((void *)(uintptr_t)map->bytes, map->n);
    *map = (hl_fs_map){0};
}
