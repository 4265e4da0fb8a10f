/* Files: whole reads, atomic replacement, read-only mappings, directory lists. Messages name the
 * path and, where there is one, the remedy. */
#ifndef HL_BASE_FS_H
#define HL_BASE_FS_H

#include "engine/base/err.h"

/* Reads a whole regular file, at most max_bytes; *out is NUL-terminated and owned by the caller. */
HL_MUST_CHECK hl_status hl_fs_read(const char *path, size_t max_bytes, char **out, size_t *n);

/* Temporary file beside `path`, write, fsync, rename, fsync of the directory. */
HL_MUST_CHECK hl_status hl_fs_write_atomic(const char *path, const void *bytes, size_t n);
/* Without waiting for the disk, which a busy one makes a minute: if the machine then crashes, the
 * file may be the old one or empty. For what is a convenience. */
HL_MUST_CHECK hl_status hl_fs_write_soon(const char *path, const void *bytes, size_t n);

/* The same for a file of several parts, one behind the other. */
typedef struct hl_fs_part {
    const void *bytes;
    size_t n;
} hl_fs_part;
HL_MUST_CHECK hl_status hl_fs_write_parts(const char *path, const hl_fs_part *parts, size_t n);

/* Writes all n bytes to fd, restarting after signals. */
HL_MUST_CHECK hl_status hl_fs_write_all(int fd, const void *bytes, size_t n, const char *path);

HL_MUST_CHECK hl_status hl_fs_make_dir(const char *path);    /* with parents; fine if it exists */
HL_MUST_CHECK hl_status hl_fs_sync_dir(const char *path);    /* makes renames inside durable */
HL_MUST_CHECK hl_status hl_fs_remove_tree(const char *path); /* no symbolic link is followed */
bool hl_fs_exists(const char *path);
bool hl_fs_is_dir(const char *path);
int64_t hl_fs_size(const char *path);       /* -1 if it cannot be looked at */
int64_t hl_fs_changed_ns(const char *path); /* time of its last change, unix ns; -1 as above */

/* Sorted names in a directory, without "." and "..". Free with hl_fs_list_free. */
typedef struct hl_fs_list {
    char **name;
    size_t n;
} hl_fs_list;
HL_MUST_CHECK hl_status hl_fs_list_dir(const char *path, hl_fs_list *out);
void hl_fs_list_free(hl_fs_list *list);

/* "a/b" into an owned string; b absolute gives b. NULL: NOMEM set. */
char *hl_fs_join(const char *a, const char *b);
const char *hl_fs_base(const char *path); /* after the last '/'; borrowed */
char *hl_fs_parent(const char *path);     /* owned; "." when there is no '/' */
char *hl_fs_absolute(const char *path);   /* owned; made from the working directory, not resolved */

/* Where this program keeps what it remembers of its user: $XDG_STATE_HOME/hoplab, else
 * ~/.local/state/hoplab; it need not exist. false: neither variable names a place, or n is too
 * small. */
bool hl_fs_state_dir(char *buf, size_t n);
/* Where it keeps what can be made again: $XDG_CACHE_HOME/hoplab, else ~/.cache/hoplab. */
bool hl_fs_cache_dir(char *buf, size_t n);

/* Read-only mapping of a whole file that nobody truncates while it is open (data sets, weights). */
typedef struct hl_fs_map {
    const unsigned char *bytes;
    size_t n;
} hl_fs_map;
HL_MUST_CHECK hl_status hl_fs_map_open(const char *path, hl_fs_map *out);
/* These bytes have been read and need not stay in memory; they may be read again. */
void hl_fs_map_release(const hl_fs_map *map, const void *from, size_t n_bytes);
void hl_fs_map_close(hl_fs_map *map);

#endif
