#define _GNU_SOURCE
#include "app/store/retention.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/store/lock.h"
#include "app/store/run_dir.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

#define TRASH_PREFIX ".trash-"
#define TRASH        ".trash"

/* <dir of path>/.trash-<name>-<unique> takes the place of path, then goes. */
static hl_status trash(const char *path)
{
    hl_status st = HL_OK;
    hl_str aside = {0};
    char *parent = hl_fs_parent(path);
    if (!parent)
        return HL_E_NOMEM;
    hl_str_addf(&aside, "%s/" TRASH_PREFIX "%s-%ld-%llx", parent, hl_fs_base(path), (long)getpid(),
                (unsigned long long)hl_clock_mono_ns());
    HL_TRY(hl_str_status(&aside));
    if (rename(path, aside.s) != 0)
        HL_FAIL(HL_E_IO, "cannot remove %s: %s", path, strerror(errno));
    HL_TRY_CTX(hl_fs_remove_tree(aside.s), "removing %s", path);
    HL_TRY(hl_fs_sync_dir(parent));
out:
    hl_free(parent);
    hl_str_done(&aside);
    return st;
}

static bool is_real_dir(const char *path)
{
    struct stat sb;
    return lstat(path, &sb) == 0 && S_ISDIR(sb.st_mode);
}

/* A path that names the directory itself, not a link to it, and ends in its own name. */
static hl_status real_run_path(const char *dir, char **out)
{
    if (!is_real_dir(dir))
        return hl_err_set(HL_E_ARG, "%s is %s; nothing was removed", dir,
                          hl_fs_exists(dir) ? "a link or a file, not a run directory"
                                            : "not there");
    char *real = realpath(dir, NULL);
    if (!real)
        return hl_err_set(HL_E_IO, "cannot look at %s: %s", dir, strerror(errno));
    char *copy = hl_strdup(real);
    free(real);
    if (!copy)
        return HL_E_NOMEM;
    *out = copy;
    return HL_OK;
}

/* Only what says of itself that it is a run of ours. */
static hl_status check_is_ours(const char *path)
{
    hl_json *facts;
    hl_status st = hl_run_dir_read_json(path, "run.json", &facts);
    if (st != HL_OK)
        return hl_err_set(HL_E_ARG, "%s is not a run of hoplab (%s); nothing was removed", path,
                          hl_err_message());
    bool has_id = *hl_json_str(hl_json_get(facts, "id"), "") != '\0';
    hl_json_free(facts);
    return has_id ? HL_OK
                  : hl_err_set(HL_E_ARG, "%s/run.json names no id; nothing was removed", path);
}

/* A run that nobody writes, under its lock: `away` takes its directory away. */
static hl_status take_away(const char *dir, hl_status (*away)(const char *path))
{
    char *path = NULL;
    hl_lock *lock = NULL;
    hl_status st = real_run_path(dir, &path);
    if (st != HL_OK)
        return st;
    HL_TRY(check_is_ours(path));
    hl_lock_view view;
    hl_lock_look(path, &view);
    if (hl_lock_is_live(&view) == HL_UNKNOWN)
        HL_FAIL(HL_E_STATE,
                "run %s may still be written by process %lld on %s, which cannot be seen from "
                "here; remove it there, or delete its lock file if that process is gone",
                hl_fs_base(path), (long long)view.pid, view.host);
    HL_TRY(hl_lock_take(path, &lock)); /* nobody starts writing while it goes */
    HL_TRY(away(path));
out:
    hl_lock_release(lock);
    hl_free(path);
    return st;
}

hl_status hl_run_remove(const char *dir)
{
    return take_away(dir, trash);
}

/* <runs>/.trash/<name of dir>; NULL: NOMEM set. */
static char *place_in_trash(const char *dir)
{
    char *runs = hl_fs_parent(dir), *folder = runs ? hl_fs_join(runs, TRASH) : NULL;
    char *place = folder ? hl_fs_join(folder, hl_fs_base(dir)) : NULL;
    hl_free(folder);
    hl_free(runs);
    return place;
}

static hl_status move(const char *from, const char *to)
{
    char *folder = hl_fs_parent(to);
    hl_status st = folder ? hl_fs_make_dir(folder) : HL_E_NOMEM;
    if (st == HL_OK && hl_fs_exists(to))
        st = hl_err_set(HL_E_STATE, "%s is there already", to);
    if (st == HL_OK && rename(from, to) != 0)
        st = hl_err_set(HL_E_IO, "cannot move %s to %s: %s", from, to, strerror(errno));
    if (st == HL_OK)
        st = hl_fs_sync_dir(folder);
    hl_free(folder);
    return st;
}

static hl_status discard(const char *path)
{
    char *place = place_in_trash(path);
    hl_status st = place ? move(path, place) : HL_E_NOMEM;
    hl_free(place);
    return st;
}

hl_status hl_run_discard(const char *dir)
{
    return take_away(dir, discard);
}

hl_status hl_run_restore(const char *dir)
{
    char *place = place_in_trash(dir);
    hl_status st = place ? HL_OK : HL_E_NOMEM;
    if (st == HL_OK && !is_real_dir(place))
        st = hl_err_set(HL_E_NOTFOUND, "no run %s was deleted, or 'hoplab gc' has removed it",
                        hl_fs_base(dir));
    if (st == HL_OK)
        st = move(place, dir);
    hl_free(place);
    return st;
}

hl_status hl_trash_empty(const char *runs_dir, int64_t *n_runs)
{
    hl_fs_list list = {0};
    char *folder = hl_fs_join(runs_dir, TRASH);
    hl_status st = folder ? HL_OK : HL_E_NOMEM;
    *n_runs = 0;
    hl_trash_sweep(runs_dir);
    if (st == HL_OK && is_real_dir(folder))
        st = hl_fs_list_dir(folder, &list);
    for (size_t i = 0; st == HL_OK && i < list.n; i++) {
        char *path = hl_fs_join(folder, list.name[i]);
        st = path ? hl_fs_remove_tree(path) : HL_E_NOMEM;
        *n_runs += st == HL_OK;
        hl_free(path);
    }
    if (st == HL_OK && is_real_dir(folder))
        st = hl_fs_remove_tree(folder);
    hl_fs_list_free(&list);
    hl_free(folder);
    return st;
}

hl_status hl_checkpoint_remove(const char *run_dir, const char *name)
{
    hl_status st = HL_OK;
    hl_str path = {0};
    if (!hl_run_id_is_valid(name))
        return hl_err_set(HL_E_ARG, "'%s' is not the name of a checkpoint directory", name);
    hl_str_addf(&path, "%s/ckpt", run_dir);
    HL_TRY(hl_str_status(&path));
    bool inside = is_real_dir(path.s); /* a linked ckpt/ leads out of the run */
    hl_str_addf(&path, "/%s", name);
    HL_TRY(hl_str_status(&path));
    if (!inside || !is_real_dir(path.s))
        HL_FAIL(HL_E_NOTFOUND, "no checkpoint %s in %s", name, run_dir);
    HL_TRY(trash(path.s));
out:
    hl_str_done(&path);
    return st;
}

void hl_retention_choose(hl_retention rule, const int64_t *steps, size_t n, bool *keep)
{
    for (size_t i = 0; i < n; i++)
        keep[i] =
            i + 1 == n || steps[i] == rule.best || (rule.every > 0 && steps[i] % rule.every == 0);
}

void hl_trash_sweep(const char *dir)
{
    hl_fs_list list;
    if (hl_fs_list_dir(dir, &list) != HL_OK)
        return;
    for (size_t i = 0; i < list.n; i++) {
        char *path =
            hl_str_starts(list.name[i], TRASH_PREFIX) ? hl_fs_join(dir, list.name[i]) : NULL;
        if (path && hl_fs_remove_tree(path) != HL_OK)
            hl_err_clear(); /* the next sweep tries again */
        hl_free(path);
    }
    hl_fs_list_free(&list);
}
