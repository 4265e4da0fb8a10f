#define _GNU_SOURCE
#include "engine/ckpt/new_dir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"

static bool is_taken(const char *path)
{
    hl_fs_list list;
    if (!hl_fs_exists(path))
        return false;
    if (!hl_fs_is_dir(path) || hl_fs_list_dir(path, &list) != HL_OK)
        return true;
    const bool empty = list.n == 0;
    hl_fs_list_free(&list);
    return !empty;
}

/* The name to fill under; checks `path` on the way. */
static hl_status name_beside(const char *path, hl_str *temp)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    if (length == 0)
        return hl_err_set(HL_E_ARG, "no directory to write to");
    if (is_taken(path))
        return hl_err_set(HL_E_STATE, "%s exists and is no empty directory; name another", path);
    hl_str_addf(temp, "%.*s.tmp-%ld", (int)length, path, (long)getpid());
    hl_status st = hl_str_status(temp);
    char *parent = st == HL_OK ? hl_fs_parent(temp->s) : NULL;
    if (st == HL_OK && !parent)
        st = HL_E_NOMEM;
    if (st == HL_OK && !hl_fs_is_dir(parent))
        st = hl_err_set(HL_E_IO, "cannot write %s: there is no directory %s", path, parent);
    hl_free(parent);
    return st;
}

hl_status hl_new_dir_check(const char *path)
{
    hl_str temp = {0};
    hl_status st = name_beside(path, &temp);
    hl_str_done(&temp);
    return st;
}

static hl_status put_in_place(const char *temp, const char *path)
{
    char *parent = hl_fs_parent(temp);
    if (!parent) /* before anything is in place */
        return HL_E_NOMEM;
    hl_status st = rename(temp, path) == 0
                       ? hl_fs_sync_dir(parent)
                       : hl_err_set(HL_E_IO, "cannot write %s: %s", path, strerror(errno));
    hl_free(parent);
    return st;
}

hl_status hl_new_dir(const char *path, hl_status (*fill)(void *self, const char *dir), void *self)
{
    hl_str temp = {0};
    hl_status st = name_beside(path, &temp);
    if (st != HL_OK) {
        hl_str_done(&temp);
        return st;
    }
    HL_TRY(hl_fs_remove_tree(temp.s));
    HL_TRY(hl_fs_make_dir(temp.s));
    HL_TRY(fill(self, temp.s));
    HL_TRY(hl_fs_sync_dir(temp.s));
    HL_TRY(put_in_place(temp.s, path));
out:
    if (st != HL_OK) {
        char message[HL_ERR_MESSAGE_MAX]; /* the removal must not replace the message */
        snprintf(message, sizeof message, "%s", hl_err_message());
        HL_IGNORE(hl_fs_remove_tree(temp.s));
        st = st == HL_E_NOTFOUND ? HL_E_IO : st;
        (void)hl_err_set(st, "%s", message);
    }
    hl_str_done(&temp);
    return st;
}
