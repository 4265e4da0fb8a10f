/* Host facts, the reading of .git, calls of other programs. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/proc/call.h"
#include "app/proc/host.h"
#include "app/proc/stream.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

static const char id_a[] = "0123456789abcdef0123456789abcdef01234567";
static const char id_b[] = "89abcdef0123456789abcdef0123456789abcdef";

static char *scratch(void)
{
    char *dir = hl_strdup("/tmp/hoplab-proc-test-XXXXXX");
    cr_assert(dir && mkdtemp(dir));
    return dir;
}

static void put(const char *dir, const char *name, const char *text)
{
    char *path = hl_fs_join(dir, name), *parent = hl_fs_parent(path);
    cr_assert(hl_fs_make_dir(parent) == HL_OK);
    cr_assert(hl_fs_write_atomic(path, text, strlen(text)) == HL_OK);
    hl_free(parent);
    hl_free(path);
}

static void remove_scratch(char *dir)
{
    cr_assert(hl_fs_remove_tree(dir) == HL_OK);
    hl_free(dir);
}

Test(host, facts)
{
    hl_host h;
    hl_host_read(&h);
    cr_assert(h.name[0] && h.cpu[0]);
    cr_assert(strlen(h.boot_id) == 36);
    cr_assert(h.n_cores >= 1 && h.memory_bytes > 0);
}

Test(host, process)
{
    int64_t mine = hl_host_process_start(getpid());
    cr_assert(mine > 0 && mine == hl_host_process_start(getpid()));
    cr_assert(hl_host_process_start(0) == -1 && hl_host_process_start(-5) == -1);
    cr_assert(hl_host_process_start(INT64_MAX) == -1);
    cr_assert(hl_host_process_state(getpid()) == 'R');
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    siginfo_t info;
    cr_assert(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
    cr_assert(hl_host_process_state(pid) == 'Z');
    cr_assert(hl_host_process_start(pid) == -1); /* a zombie is over */
    cr_assert(waitpid(pid, NULL, 0) == pid);
    cr_assert(hl_host_process_state(pid) == 0);
}

Test(git, commit_of_refs)
{
    char *dir = scratch();
    hl_git git;
    hl_git_read(dir, &git);
    cr_assert_str_eq(git.commit, "unknown");
    cr_assert(git.dirty == -1);
    put(dir, ".git/HEAD", "ref: refs/heads/main\n");
    hl_git_read(dir, &git);
    cr_assert_str_eq(git.commit, "unknown"); /* no commit yet */
    cr_assert_str_eq(git.branch, "main");
    put(dir, ".git/packed-refs",
        "# pack-refs with: peeled fully-peeled sorted\n"
        "89abcdef0123456789abcdef0123456789abcdef refs/heads/main2\n"
        "0123456789abcdef0123456789abcdef01234567 refs/heads/main\n");
    hl_git_read(dir, &git);
    cr_assert_str_eq(git.commit, id_a);
    put(dir, ".git/refs/heads/main", "89abcdef0123456789abcdef0123456789abcdef\n");
    put(dir, "deep/down/file", "");
    char *deep = hl_fs_join(dir, "deep/down");
    hl_git_read(deep, &git);
    cr_assert_str_eq(git.commit, id_b); /* a loose ref is newer than a packed one */
    put(dir, ".git/HEAD", id_a);
    hl_git_read(deep, &git);
    cr_assert_str_eq(git.commit, id_a);
    cr_assert_str_eq(git.branch, "");
    put(dir, ".git/HEAD", "ref: ../../../../etc/hostname\n");
    hl_git_read(deep, &git);
    cr_assert_str_eq(git.commit, "unknown");
    put(dir, ".git/HEAD", "ref: refs/heads/loop\n");
    put(dir, ".git/refs/heads/loop", "ref: refs/heads/loop\n");
    hl_git_read(deep, &git);
    cr_assert_str_eq(git.commit, "unknown");
    hl_free(deep);
    remove_scratch(dir);
}

Test(git, linked_work_tree)
{
    char *dir = scratch();
    hl_git git;
    put(dir, "main/.git/refs/heads/side", "89abcdef0123456789abcdef0123456789abcdef\n");
    put(dir, "main/.git/worktrees/w/HEAD", "ref: refs/heads/side\n");
    put(dir, "main/.git/worktrees/w/commondir", "../..\n");
    put(dir, "w/.git", "gitdir: ../main/.git/worktrees/w\n");
    char *tree = hl_fs_join(dir, "w");
    hl_git_read(tree, &git);
    cr_assert_str_eq(git.commit, id_b);
    cr_assert_str_eq(git.branch, "side");
    hl_free(tree);
    remove_scratch(dir);
}

static int sh(const char *dir, const char *script)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (chdir(dir) == 0)
            execl("/bin/sh", "sh", "-ec", script, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

static int dirty(const char *dir)
{
    hl_git git;
    hl_git_read(dir, &git);
    return git.dirty;
}

Test(git, dirty)
{
    char *dir = scratch();
    if (sh(dir, "command -v git >/dev/null") != 0) {
        remove_scratch(dir);
        cr_skip_test("git is not installed");
    }
    setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1);
    const char *init = "git -c init.defaultBranch=main init -q . && git config user.name n && "
                       "git config user.email e && mkdir sub && echo one >a && echo two >sub/b && "
                       "ln -s a link && git add . && git commit -qm first";
    cr_assert(sh(dir, init) == 0);
    hl_git git;
    hl_git_read(dir, &git);
    cr_assert(strlen(git.commit) == 40);
    cr_assert_str_eq(git.branch, "main");
    cr_assert(git.dirty == 0, "%d", git.dirty);
    cr_assert(sh(dir, "echo untracked >c") == 0);
    cr_assert(dirty(dir) == 0);
    cr_assert(sh(dir, "git add c") == 0);
    cr_assert(dirty(dir) == -1); /* staged: the tree of the commit is not read */
    cr_assert(sh(dir, "git commit -qm second") == 0);
    cr_assert(dirty(dir) == 0);
    cr_assert(sh(dir, "touch -d '2001-01-01' a") == 0);
    cr_assert(dirty(dir) == -1); /* same size, other time */
    cr_assert(sh(dir, "echo longer >a") == 0);
    cr_assert(dirty(dir) == 1);
    cr_assert(sh(dir, "git checkout -q a && chmod +x sub/b") == 0);
    cr_assert(dirty(dir) == 1);
    cr_assert(sh(dir, "git checkout -q . && rm sub/b") == 0);
    cr_assert(dirty(dir) == 1);
    cr_assert(sh(dir, "git reset -q --hard && git update-index --index-version 4") == 0);
    cr_assert(dirty(dir) == -1);
    remove_scratch(dir);
}

Test(git, no_memory)
{
    char *dir = scratch();
    put(dir, "main/.git/packed-refs", "89abcdef0123456789abcdef0123456789abcdef refs/heads/side\n");
    put(dir, "main/.git/worktrees/w/HEAD", "ref: refs/heads/side\n");
    put(dir, "main/.git/worktrees/w/commondir", "../..\n");
    put(dir, "w/.git", "gitdir: ../main/.git/worktrees/w\n");
    char *tree = hl_fs_join(dir, "w");
    for (int n = 1; n < 40; n++) {
        hl_git git;
        hl_mem_fail_after(n);
        hl_git_read(tree, &git);
        hl_mem_fail_after(-1);
        cr_assert(strcmp(git.commit, id_b) == 0 || strcmp(git.commit, "unknown") == 0);
    }
    hl_free(tree);
    remove_scratch(dir);
}

/* Any bytes in the index give an answer, never a crash. */
Test(git, damaged_index)
{
    char *dir = scratch();
    put(dir, ".git/HEAD", id_a);
    char bytes[400];
    unsigned seed = 1;
    char *path = hl_fs_join(dir, ".git/index");
    for (int round = 0; round < 300; round++) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[i] = round % 2 ? 0 : (char)(seed >> 24);
        }
        memcpy(bytes, "DIRC\0\0\0\2\0\0", 10);
        bytes[4 + 3] = (char)(round % 6);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        size_t n = (seed >> 8) % sizeof bytes;
        cr_assert(write(fd, bytes, n) == (ssize_t)n);
        close(fd);
        int d = dirty(dir);
        cr_assert(d == -1 || d == 1 || d == 0);
    }
    hl_free(path);
    remove_scratch(dir);
}

Test(stream, slow_and_gone_readers)
{
    signal(SIGPIPE, SIG_IGN);
    int end[2];
    cr_assert(pipe(end) == 0);
    hl_stream s;
    hl_stream_open(&s, end[1]);
    cr_assert((fcntl(end[1], F_GETFL) & O_NONBLOCK) == 0); /* what others share stays as it was */
    hl_str line = {0};
    for (int i = 0; i < 999; i++)
        hl_str_addc(&line, 'x');
    hl_str_addc(&line, '\n');
    for (int i = 0; i < 5000; i++)
        hl_stream_put(&s, &line, false); /* would block 64 KiB on */
    size_t behind = s.pending.n;
    hl_stream_put(&s, &line, true);
    cr_assert(behind > 0 && behind < 4096 && s.pending.n == behind + 1000);
    char bytes[1000];
    size_t n = 0;
    for (;;) {
        hl_stream_flush(&s, 0);
        if (s.pending.n == 0)
            fcntl(end[0], F_SETFL, O_NONBLOCK);
        ssize_t k = read(end[0], bytes, sizeof bytes);
        if (k <= 0)
            break;
        n += (size_t)k;
    }
    cr_assert(n > 60000 && n % 1000 == 0, "%zu", n); /* whole lines only */
    close(end[0]);
    hl_stream_put(&s, &line, true);
    cr_assert(s.dead);
    hl_stream_close(&s);
    close(end[1]);
    hl_str_done(&line);
}

static hl_call call(const char *script)
{
    char *words[] = {(char[]){"sh"}, (char[]){"-c"}, hl_strdup(script), NULL};
    hl_call c = {0};
    cr_assert(hl_call_run(words, &c) == HL_OK, "%s", hl_err_message());
    hl_free(words[2]);
    return c;
}

Test(call, keeps_output_and_status)
{
    char text[80];
    hl_call c = call("echo a; echo b >&2; echo c >&2; cat; exit 3");
    cr_expect(c.exit_status == 3);
    cr_expect_str_eq(hl_str_text(&c.out), "a\n");
    hl_call_complaint(&c, text, sizeof text);
    cr_expect_str_eq(text, "b c");
    hl_call_done(&c);
    c = call("kill -9 $$");
    cr_expect(c.exit_status == 128 + 9);
    hl_call_complaint(&c, text, sizeof text);
    cr_expect_str_eq(text, "");
    hl_call_done(&c);
    c = call("head -c 300000 /dev/zero >&2; head -c 200000 /dev/zero"); /* more than pipes hold */
    cr_expect(c.exit_status == 0 && c.err.n == 300000 && c.out.n == 200000);
    hl_call_done(&c);
    char *none[] = {(char[]){"hoplab-no-such-program"}, NULL};
    cr_expect(hl_call_run(none, &c) == HL_E_NOTFOUND);
    cr_expect(strstr(hl_err_message(), "no program hoplab-no-such-program"));
}
