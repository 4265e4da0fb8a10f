/* Commit and state of a source tree, read from .git.
 *
 * The commit comes from HEAD and the refs. Whether the tree is changed is judged as git does first:
 * by size, type and time of each file in the index, with no hashing. So a file with another time
 * but the same size gives "cannot tell". Staged changes are seen by the index's own cached tree,
 * which git drops with the first staged file and writes again with a commit or checkout. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "app/proc/host.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"

#define TEXT_MAX    4096
#define PACKED_MAX  ((size_t)64 << 20)
#define INDEX_MAX   ((size_t)256 << 20)
#define ENTRY_FIXED 40 /* bytes of an index entry before the object id */

/* First line of a small file, owned; NULL if it cannot be read. */
static char *read_line(const char *dir, const char *name)
{
    char *path = hl_fs_join(dir, name), *text = NULL;
    if (path && hl_fs_read(path, TEXT_MAX, &text, NULL) == HL_OK)
        text[strcspn(text, "\r\n")] = '\0';
    hl_free(path);
    return text;
}

/* Walks up from `dir` to the directory that holds .git; both results owned. */
static bool find_repository(const char *dir, char **top, char **git_dir)
{
    char *at = hl_fs_absolute(dir);
    while (at) {
        char *git = hl_fs_join(at, ".git");
        if (git && hl_fs_is_dir(git)) {
            *top = at;
            *git_dir = git;
            return true;
        }
        hl_free(git);
        char *line = read_line(at, ".git"); /* a linked work tree or submodule */
        if (line && hl_str_starts(line, "gitdir: ")) {
            *git_dir = hl_fs_join(at, line + strlen("gitdir: "));
            *top = at;
            hl_free(line);
            return *git_dir != NULL;
        }
        hl_free(line);
        char *up = strcmp(at, "/") != 0 ? hl_fs_parent(at) : NULL;
        hl_free(at);
        at = up;
    }
    return false;
}

static bool is_object_id(const char *s)
{
    size_t n = strspn(s, "0123456789abcdef");
    return (n == 40 || n == 64) && s[n] == '\0';
}

/* "<id> <ref>" in packed-refs; owned id or NULL. */
static char *find_packed(const char *common_dir, const char *ref)
{
    char *path = hl_fs_join(common_dir, "packed-refs"), *text = NULL, *id = NULL;
    if (path && hl_fs_read(path, PACKED_MAX, &text, NULL) == HL_OK) {
        size_t n = strlen(ref);
        for (char *p = text; !id && (p = strstr(p, ref)); p += n)
            if (p > text + 40 && p[-1] == ' ' && (p[n] == '\n' || p[n] == '\0')) {
                char *start = p - 1;
                while (start > text && start[-1] != '\n')
                    start--;
                id = hl_strndup(start, (size_t)(p - 1 - start));
            }
    }
    hl_free(text);
    hl_free(path);
    return id;
}

static void read_commit(const char *git_dir, hl_git *out)
{
    char *line = read_line(git_dir, "commondir"); /* refs of a linked work tree are shared */
    char *common = hl_fs_join(git_dir, line ? line : ".");
    hl_free(line);
    line = read_line(git_dir, "HEAD");
    for (int depth = 0; depth < 5 && common && line && hl_str_starts(line, "ref: "); depth++) {
        const char *ref = line + strlen("ref: ");
        if (depth == 0 && hl_str_starts(ref, "refs/heads/"))
            snprintf(out->branch, sizeof out->branch, "%s", ref + strlen("refs/heads/"));
        char *next = read_line(git_dir, ref);
        if (!next)
            next = read_line(common, ref);
        if (!next)
            next = find_packed(common, ref);
        hl_free(line);
        line = next;
    }
    if (line && is_object_id(line))
        snprintf(out->commit, sizeof out->commit, "%s", line);
    hl_free(line);
    hl_free(common);
}

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* 1 changed, 0 same, -1 cannot tell; `e` is the fixed part of an index entry. */
static int compare_file(const char *top, const char *name, const unsigned char *e)
{
    uint32_t mode = be32(e + 24), size = be32(e + 36), s = be32(e + 8), ns = be32(e + 12);
    if ((mode & S_IFMT) == 0160000) /* a submodule */
        return 0;
    char *path = hl_fs_join(top, name);
    struct stat sb;
    bool there = path && lstat(path, &sb) == 0;
    hl_free(path);
    if (!path)
        return -1;
    if (!there || (sb.st_mode & S_IFMT) != (mode & S_IFMT) || (uint32_t)sb.st_size != size)
        return 1;
    if (S_ISREG(sb.st_mode) && !(sb.st_mode & S_IXUSR) != !(mode & S_IXUSR))
        return 1;
    return (uint32_t)sb.st_mtim.tv_sec == s && (ns == 0 || (uint32_t)sb.st_mtim.tv_nsec == ns) ? 0
                                                                                               : -1;
}

/* The extensions after the entries: 0 if the cached tree of the whole index is valid, else -1. */
static int check_extensions(const unsigned char *p, const unsigned char *end)
{
    int result = -1;
    while (end - p >= 8) {
        size_t n = be32(p + 4);
        if ((size_t)(end - p) - 8 < n || p[0] >= 'a') /* lower case: a part we must know, as a */
            return -1;                                /* split index, and do not */
        if (memcmp(p, "TREE", 4) == 0 && n > 2 && p[8] == '\0' && p[9] != '-')
            result = 0;
        p += 8 + n;
    }
    return result;
}

static int check_index(const char *top, const unsigned char *p, size_t n, size_t id_bytes)
{
    if (n < 12 + id_bytes || memcmp(p, "DIRC", 4) != 0 || be32(p + 4) < 2 || be32(p + 4) > 3)
        return -1;
    const unsigned char *end = p + n - id_bytes; /* before the checksum */
    int result = 0;
    uint32_t n_entries = be32(p + 8);
    p += 12;
    for (uint32_t i = 0; i < n_entries; i++) {
        size_t head = ENTRY_FIXED + id_bytes + 2;
        if ((size_t)(end - p) < head + 2)
            return -1;
        unsigned flags = (unsigned)p[head - 2] << 8 | p[head - 1], more = 0;
        if (flags & 0x4000) {
            more = (unsigned)p[head] << 8 | p[head + 1];
            head += 2;
        }
        const char *name = (const char *)p + head;
        const unsigned char *nul = memchr(name, '\0', (size_t)(end - p) - head);
        if (!nul)
            return -1;
        bool ignored = (flags & 0x8000) || (more & 0x4000); /* assume-unchanged, skip-worktree */
        int one = flags & 0x3000 ? 1 : ignored ? 0 : compare_file(top, name, p);
        if (one == 1)
            return 1;
        if (one < 0)
            result = -1;
        size_t bytes = ((size_t)(nul - p) + 8) & ~(size_t)7; /* 1 to 8 NULs of padding */
        if ((size_t)(end - p) < bytes)
            return -1;
        p += bytes;
    }
    int staged = check_extensions(p, end);
    return result == 0 ? staged : result;
}

void hl_git_read(const char *dir, hl_git *out)
{
    *out = (hl_git){.commit = "unknown", .dirty = -1};
    char *top = NULL, *git_dir = NULL, *index = NULL;
    size_t n = 0;
    if (find_repository(dir, &top, &git_dir)) {
        read_commit(git_dir, out);
        char *path = hl_fs_join(git_dir, "index");
        if (path && strcmp(out->commit, "unknown") != 0 &&
            hl_fs_read(path, INDEX_MAX, &index, &n) == HL_OK)
            out->dirty = check_index(top, (const unsigned char *)index, n, strlen(out->commit) / 2);
        hl_free(path);
    }
    hl_free(index);
    hl_free(git_dir);
    hl_free(top);
    hl_err_clear(); /* not to know is no error here */
}
