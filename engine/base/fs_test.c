#define _GNU_SOURCE
#include "engine/base/fs.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/mem.h"

static char top[64];
static bool fsync_fails;

/* Stands before the one of libc: a disk that fails when the data must go out. */
int fsync(int fd)
{
    if (fsync_fails) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

static void open_top(void)
{
    snprintf(top, sizeof top, "/tmp/hoplab-fs-XXXXXX");
    cr_assert_not_null(mkdtemp(top));
}

static void close_top(void)
{
    cr_expect_eq(hl_fs_remove_tree(top), HL_OK, "%s", hl_err_message());
    cr_expect_not(hl_fs_exists(top));
}

TestSuite(fs, .init = open_top, .fini = close_top);

/* a path in the scratch directory; good until the fourth next call */
static const char *in_top(const char *name)
{
    static char path[4][256];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", top, name);
    return path[next];
}

static void put(const char *path, const char *text)
{
    cr_assert_eq(hl_fs_write_atomic(path, text, strlen(text)), HL_OK, "%s", hl_err_message());
}

static void expect_holds(const char *path, const char *text)
{
    char *got = NULL;
    size_t n = 0;
    cr_assert_eq(hl_fs_read(path, 1 << 20, &got, &n), HL_OK, "%s", hl_err_message());
    cr_expect_str_eq(got, text);
    cr_expect_eq(n, strlen(text));
    hl_free(got);
}

static size_t n_entries(const char *path)
{
    hl_fs_list list;
    cr_assert_eq(hl_fs_list_dir(path, &list), HL_OK);
    const size_t n = list.n;
    hl_fs_list_free(&list);
    return n;
}

static size_t n_open_files(void)
{
    return n_entries("/proc/self/fd");
}

/* --- reading and writing --- */

Test(fs, write_and_read)
{
    const char *path = in_top("f");
    put(path, "first");
    expect_holds(path, "first");
    put(path, "");
    expect_holds(path, "");
    put(path, "second, longer");
    expect_holds(path, "second, longer");
    cr_expect_eq(n_entries(top), 1, "no temporary file is left");
    char raw[5000];
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (char)(i * 7);
    cr_assert_eq(hl_fs_write_atomic(path, raw, sizeof raw), HL_OK);
    char *got;
    cr_assert_eq(hl_fs_read(path, sizeof raw, &got, NULL), HL_OK, "n may be NULL");
    cr_expect_eq(memcmp(got, raw, sizeof raw), 0);
    cr_expect_eq(got[sizeof raw], '\0');
    hl_free(got);
    cr_expect_eq(hl_fs_size(path), sizeof raw);
}

Test(fs, read_refuses)
{
    char *got = NULL;
    put(in_top("f"), "12345");
    cr_expect_eq(hl_fs_read(in_top("f"), 4, &got, NULL), HL_E_FORMAT);
    cr_expect_eq(hl_fs_read(in_top("f"), 5, &got, NULL), HL_OK);
    hl_free(got);
    got = NULL;
    cr_expect_eq(hl_fs_read(in_top("none"), 9, &got, NULL), HL_E_NOTFOUND);
    cr_expect_not_null(strstr(hl_err_message(), in_top("none")), "%s", hl_err_message());
    cr_expect_eq(hl_fs_read(in_top("f/below"), 9, &got, NULL), HL_E_NOTFOUND);
    cr_expect_eq(hl_fs_read(top, 9, &got, NULL), HL_E_IO);
    cr_expect_not_null(strstr(hl_err_message(), "directory"));
    cr_assert_eq(mkfifo(in_top("pipe"), 0600), 0);
    cr_expect_eq(hl_fs_read(in_top("pipe"), 9, &got, NULL), HL_E_IO, "and does not hang");
    cr_expect_eq(hl_fs_read("/dev/null", 9, &got, NULL), HL_E_IO);
    cr_expect_null(got);
}

Test(fs, write_refuses)
{
    cr_expect_eq(hl_fs_write_atomic(in_top("none/f"), "x", 1), HL_E_NOTFOUND);
    cr_expect_eq(hl_fs_write_atomic(top, "x", 1), HL_E_IO, "the target is a directory");
    char beside[128];
    snprintf(beside, sizeof beside, "%s.tmp-%ld", top, (long)getpid());
    cr_expect_not(hl_fs_exists(beside), "the temporary file is gone");
    const int full = open("/dev/full", O_WRONLY);
    cr_assert(full >= 0);
    cr_expect_eq(hl_fs_write_all(full, "x", 1, "name"), HL_E_IO);
    cr_expect_str_eq(hl_err_message(), "cannot write name: the disk is full; free some space");
    close(full);
    cr_expect_eq(hl_fs_write_all(-1, "x", 0, "name"), HL_OK, "nothing to write");
    cr_expect_eq(hl_fs_write_all(-1, "x", 1, "name"), HL_E_IO);
}

Test(fs, failed_replacement_keeps_the_old_file)
{
    put(in_top("f"), "old");
    const size_t open_before = n_open_files();
    fsync_fails = true;
    for (int i = 0; i < 20; i++)
        cr_expect_eq(hl_fs_write_atomic(in_top("f"), "new", 3), HL_E_IO);
    expect_holds(in_top("f"), "old");
    cr_expect_eq(hl_fs_write_soon(in_top("f"), "soon", 4), HL_OK, "it asks no disk");
    fsync_fails = false;
    expect_holds(in_top("f"), "soon");
    cr_expect_eq(n_entries(top), 1);
    cr_expect_eq(n_open_files(), open_before, "every descriptor was closed");
    for (int64_t n = 0;; n++) {
        hl_mem_fail_after(n);
        const hl_status st = hl_fs_write_atomic(in_top("f"), "new", 3);
        hl_mem_fail_after(-1);
        cr_assert(n < 20);
        if (st == HL_OK)
            break;
        cr_expect_eq(st, HL_E_NOMEM);
        cr_expect_eq(n_entries(top), 1);
        cr_expect_eq(n_open_files(), open_before);
    }
    expect_holds(in_top("f"), "new");
}

static void on_alarm(int sig)
{
    (void)sig;
}

/* A pipe that drains slowly while signals interrupt every write. */
Test(fs, write_all_survives_signals)
{
    enum { N = 3 << 20 };
    int fd[2];
    cr_assert_eq(pipe(fd), 0);
    const pid_t child = fork();
    if (child == 0) {
        close(fd[1]);
        usleep(20000); /* the pipe is full and signals find a write that has written nothing */
        static unsigned char buf[N + 1];
        size_t have = 0;
        for (ssize_t got; (got = read(fd[0], buf + have,
                                      sizeof buf - have < 4000 ? sizeof buf - have : 4000)) > 0;) {
            have += (size_t)got;
            if (have % (64 << 10) < 4000)
                usleep(500);
        }
        bool good = have == N;
        for (size_t i = 0; good && i < N; i++)
            good = buf[i] == (unsigned char)(i % 251);
        _exit(good ? 0 : 1);
    }
    close(fd[0]);
    struct sigaction act = {.sa_handler = on_alarm}; /* no SA_RESTART */
    sigaction(SIGALRM, &act, NULL);
    ualarm(1000, 1000);
    unsigned char *bytes = hl_alloc(N);
    for (size_t i = 0; i < N; i++)
        bytes[i] = (unsigned char)(i % 251);
    cr_expect_eq(hl_fs_write_all(fd[1], bytes, N, "pipe"), HL_OK, "%s", hl_err_message());
    ualarm(0, 0);
    close(fd[1]);
    hl_free(bytes);
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "what arrived is what was sent");
}

/* --- directories --- */

Test(fs, make_dir)
{
    cr_expect_eq(hl_fs_make_dir(in_top("a/b/c")), HL_OK);
    cr_expect(hl_fs_is_dir(in_top("a/b/c")));
    cr_expect_eq(hl_fs_make_dir(in_top("a/b/c")), HL_OK, "again");
    cr_expect_eq(hl_fs_make_dir(in_top("d/e/")), HL_OK, "slash at the end");
    cr_expect_eq(hl_fs_make_dir(in_top("g//h")), HL_OK, "two slashes");
    cr_expect(hl_fs_is_dir(in_top("d/e")) && hl_fs_is_dir(in_top("g/h")));
    cr_expect_eq(hl_fs_make_dir("/"), HL_OK);
    cr_expect_neq(hl_fs_make_dir(""), HL_OK);
    put(in_top("file"), "x");
    cr_expect_eq(hl_fs_make_dir(in_top("file")), HL_E_IO);
    cr_expect_not_null(strstr(hl_err_message(), "a file of that name"), "%s", hl_err_message());
    cr_expect_neq(hl_fs_make_dir(in_top("file/below")), HL_OK);
    cr_assert_eq(symlink("nowhere", in_top("dangling")), 0);
    cr_expect_eq(hl_fs_make_dir(in_top("dangling")), HL_E_IO);
}

Test(fs, looks)
{
    put(in_top("f"), "123");
    cr_expect(hl_fs_exists(in_top("f")) && hl_fs_exists(top) && !hl_fs_exists(in_top("none")));
    cr_expect(hl_fs_is_dir(top) && !hl_fs_is_dir(in_top("f")) && !hl_fs_is_dir(in_top("none")));
    cr_expect_eq(hl_fs_size(in_top("f")), 3);
    cr_expect_eq(hl_fs_size(in_top("none")), -1);
    cr_expect_eq(hl_fs_sync_dir(top), HL_OK);
    cr_expect_eq(hl_fs_sync_dir(in_top("none")), HL_E_NOTFOUND);
    cr_expect_neq(hl_fs_sync_dir(in_top("f")), HL_OK);
}

Test(fs, list_is_sorted_and_complete)
{
    char name[32];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "%c%02d", i % 2 ? 'b' : 'A', i * 37 % 100);
        put(in_top(name), "");
    }
    put(in_top(".hidden"), "");
    hl_fs_list list;
    cr_assert_eq(hl_fs_list_dir(top, &list), HL_OK);
    cr_assert_eq(list.n, 101);
    cr_expect_str_eq(list.name[0], ".hidden");
    for (size_t i = 1; i < list.n; i++)
        cr_expect(strcmp(list.name[i - 1], list.name[i]) < 0);
    hl_fs_list_free(&list);
    cr_expect(list.name == NULL && list.n == 0);
    cr_expect_eq(hl_fs_list_dir(in_top("none"), &list), HL_E_NOTFOUND);
    cr_expect_neq(hl_fs_list_dir(in_top(".hidden"), &list), HL_OK);
    const int64_t live = hl_mem_get_stats().live_bytes;
    const size_t open_before = n_open_files();
    for (int64_t n = 0;; n++) {
        hl_mem_fail_after(n);
        const hl_status st = hl_fs_list_dir(top, &list);
        hl_mem_fail_after(-1);
        cr_assert(n < 1000);
        if (st == HL_OK)
            break;
        cr_assert_eq(st, HL_E_NOMEM);
        cr_assert_eq(hl_mem_get_stats().live_bytes, live);
    }
    cr_expect_eq(list.n, 101);
    hl_fs_list_free(&list);
    cr_expect_eq(n_open_files(), open_before);
}

Test(fs, remove_tree_follows_no_link)
{
    cr_assert_eq(hl_fs_make_dir(in_top("outside/kept")), HL_OK);
    put(in_top("outside/file"), "kept");
    cr_assert_eq(hl_fs_make_dir(in_top("tree/a/b/c")), HL_OK);
    put(in_top("tree/a/file"), "x");
    cr_assert_eq(symlink(in_top("outside"), in_top("tree/a/link")), 0);
    cr_assert_eq(symlink("nowhere", in_top("tree/a/b/dangling")), 0);
    cr_expect_eq(hl_fs_remove_tree(in_top("tree")), HL_OK, "%s", hl_err_message());
    cr_expect_not(hl_fs_exists(in_top("tree")));
    cr_expect(hl_fs_is_dir(in_top("outside/kept")));
    expect_holds(in_top("outside/file"), "kept");
    cr_assert_eq(symlink("outside", in_top("link")), 0);
    cr_expect_eq(hl_fs_remove_tree(in_top("link")), HL_OK, "the link itself");
    cr_expect(hl_fs_is_dir(in_top("outside")));
    cr_expect_eq(hl_fs_remove_tree(in_top("never there")), HL_OK);
    cr_expect_eq(hl_fs_remove_tree(in_top("outside/file")), HL_OK, "a file");
    cr_expect_not(hl_fs_exists(in_top("outside/file")));
}

/* --- paths --- */

static void expect_path(char *got, const char *want)
{
    cr_expect_str_eq(got, want);
    hl_free(got);
}

Test(fs, paths)
{
    expect_path(hl_fs_join("a", "b"), "a/b");
    expect_path(hl_fs_join("a/", "b"), "a/b");
    expect_path(hl_fs_join("/", "b"), "/b");
    expect_path(hl_fs_join("", "b"), "b");
    expect_path(hl_fs_join("a", "/b"), "/b");
    expect_path(hl_fs_parent("a/b"), "a");
    expect_path(hl_fs_parent("b"), ".");
    expect_path(hl_fs_parent("/b"), "/");
    expect_path(hl_fs_parent("/"), "/");
    expect_path(hl_fs_parent(""), ".");
    cr_expect_str_eq(hl_fs_base("a/b"), "b");
    cr_expect_str_eq(hl_fs_base("b"), "b");
    cr_expect_str_eq(hl_fs_base("a/"), "");
    expect_path(hl_fs_absolute("/x/y"), "/x/y");
    char cwd[512], want[600];
    cr_assert_not_null(getcwd(cwd, sizeof cwd));
    snprintf(want, sizeof want, "%s/x", strcmp(cwd, "/") ? cwd : "");
    expect_path(hl_fs_absolute("x"), want);
    hl_mem_fail_after(0);
    cr_expect_null(hl_fs_join("a", "b"));
    hl_mem_fail_after(-1);
    cr_expect_eq(hl_err_code(), HL_E_NOMEM);
}

Test(fs, state_dir)
{
    char at[64], small[8];
    setenv("XDG_STATE_HOME", "/state", 1);
    cr_expect(hl_fs_state_dir(at, sizeof at));
    cr_expect_str_eq(at, "/state/hoplab");
    cr_expect_not(hl_fs_state_dir(small, sizeof small));
    setenv("XDG_STATE_HOME", "relative", 1);
    setenv("HOME", "/home/me", 1);
    cr_expect(hl_fs_state_dir(at, sizeof at));
    cr_expect_str_eq(at, "/home/me/.local/state/hoplab");
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    cr_expect_not(hl_fs_state_dir(at, sizeof at));
}

/* --- mappings --- */

Test(fs, time_of_the_last_change)
{
    const struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 1234, .tv_nsec = 567}};
    put(in_top("old"), "x");
    cr_assert_eq(utimensat(AT_FDCWD, in_top("old"), times, 0), 0);
    cr_assert_eq(hl_fs_changed_ns(in_top("old")), INT64_C(1234000000567));
    cr_assert_eq(hl_fs_changed_ns(in_top("none")), -1);
}

Test(fs, map)
{
    hl_fs_map map = {0};
    put(in_top("f"), "mapped");
    const size_t open_before = n_open_files();
    cr_assert_eq(hl_fs_map_open(in_top("f"), &map), HL_OK);
    cr_expect_eq(map.n, 6);
    put(in_top("f"), "a replacement"); /* a rename does not touch what is mapped */
    cr_expect_eq(memcmp(map.bytes, "mapped", 6), 0);
    hl_fs_map_close(&map);
    cr_expect(map.bytes == NULL && map.n == 0);
    hl_fs_map_close(&map);
    put(in_top("empty"), "");
    cr_assert_eq(hl_fs_map_open(in_top("empty"), &map), HL_OK);
    cr_expect_eq(map.n, 0);
    hl_fs_map_close(&map);
    cr_expect_eq(hl_fs_map_open(in_top("none"), &map), HL_E_NOTFOUND);
    cr_expect_eq(hl_fs_map_open(top, &map), HL_E_IO);
    cr_expect_not_null(strstr(hl_err_message(), "directory"));
    cr_assert_eq(mkfifo(in_top("pipe"), 0600), 0);
    cr_expect_eq(hl_fs_map_open(in_top("pipe"), &map), HL_E_IO, "and does not hang");
    cr_expect_eq(n_open_files(), open_before);
}
