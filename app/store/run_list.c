#define _GNU_SOURCE
#include "app/hl_app.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "app/store/deep.h"
#include "app/store/follow.h"
#include "app/store/list_cache.h"
#include "app/store/run_dir.h"
#include "app/store/run_known.h"
#include "app/store/run_row.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

typedef struct entry {
    hl_row_store row;
    hl_row_version read_version;
    const hl_run_metrics *plain; /* those of the summary; the row has the deep ones, too */
    hl_deep *deep;
    bool deep_due; /* its events are to be read for the keys of the list */
    bool taken; /* by the list that a refresh is building */
} entry;

struct hl_run_list {
    char *dir;
    HL_VEC(entry *) entries; /* oldest first */
    int64_t n_changes;
    hl_list_cache *cache; /* during the first look */
    size_t n_read;        /* since it was written */
    hl_deep_keys keys;
    bool waiting;         /* with the runs that wait to be made */
};

static bool add_version(hl_row_version *v, const char *run_dir, const char *name)
{
    struct stat sb;
    char *path = hl_run_dir_path(run_dir, name);
    const bool there = path && stat(path, &sb) == 0;
    hl_free(path);
    if (!there)
        return false;
    const int64_t t_ns = (int64_t)sb.st_mtim.tv_sec * 1000000000 + sb.st_mtim.tv_nsec;
    v->inode = v->inode % 1000003 * 31 + (int64_t)(sb.st_ino & 0xffffffff) + 1;
    v->size += sb.st_size;
    v->t_ns = t_ns > v->t_ns ? t_ns : v->t_ns;
    return true;
}

static hl_row_version version_of(const char *run_dir)
{
    hl_row_version v = {0};
    hl_fs_list names = {0};
    if (add_version(&v, run_dir, "summary.json")) {
        (void)add_version(&v, run_dir, "notes.json");
        return v;
    }
    if (hl_fs_list_dir(run_dir, &names) != HL_OK)
        return v;
    for (size_t i = 0; i < names.n; i++)
        if (strcmp(names.name[i], "run.json") == 0 || strcmp(names.name[i], "notes.json") == 0 ||
            hl_str_starts(names.name[i], HL_SEGMENT_PREFIX))
            (void)add_version(&v, run_dir, names.name[i]);
    hl_fs_list_free(&names);
    return v;
}

static bool same_version(hl_row_version a, hl_row_version b)
{
    return a.inode && a.inode == b.inode && a.size == b.size && a.t_ns == b.t_ns;
}

static void entry_free(entry *e)
{
    if (e) {
        hl_row_done(&e->row);
        hl_run_metrics_unref(e->plain);
        hl_deep_free(e->deep);
    }
    hl_free(e);
}

static int by_age(const void *a, const void *b)
{
    const entry *x = *(entry *const *)a, *y = *(entry *const *)b;
    if (x->row.created != y->row.created)
        return x->row.created < y->row.created ? -1 : 1;
    return strcmp(x->row.row.dir, y->row.row.dir);
}

static int by_dir(const void *a, const void *b)
{
    const entry *x = *(entry *const *)a, *y = *(entry *const *)b;
    return strcmp(x->row.row.dir, y->row.row.dir);
}

static int dir_against_entry(const void *dir, const void *e)
{
    return strcmp(dir, (*(entry *const *)e)->row.row.dir);
}

/* The known entry of a directory, while the list is sorted by directory. */
static entry *take(hl_run_list *list, const char *dir)
{
    entry **e = list->entries.n ? bsearch(dir, list->entries.at, list->entries.n,
                                          sizeof *list->entries.at, dir_against_entry)
                                : NULL;
    if (!e)
        return NULL;
    (*e)->taken = true;
    return *e;
}

/* Not in the list that comes. A known one is still in the list that was, which frees it. */
static void drop(entry *e, bool known)
{
    if (known)
        e->taken = false;
    else
        entry_free(e);
}

/* ---- values from the events ---- */

/* The row's metrics with what was found. */
static void merge_deep(const hl_run_list *list, entry *e)
{
    const hl_run_metrics *all = !e->plain      ? NULL
                                : list->keys.n ? hl_deep_merge(e->deep, &list->keys, e->plain)
                                               : hl_run_metrics_ref(e->plain);
    if (!all)
        return; /* without memory what was known before stays */
    hl_run_metrics_unref(e->row.row.metrics);
    e->row.row.metrics = all;
}

/* The row was read anew. */
static void note_plain(const hl_run_list *list, entry *e)
{
    hl_run_metrics_unref(e->plain);
    e->plain = hl_run_metrics_ref(e->row.row.metrics);
    e->deep_due = list->keys.n > 0;
    if (list->keys.n)
        merge_deep(list, e);
}

void hl_run_list_want(hl_run_list *list, const hl_deep_keys *keys)
{
    if (hl_deep_keys_equal(&list->keys, keys))
        return;
    list->keys = *keys;
    list->n_changes++;
    for (size_t i = 0; i < list->entries.n; i++) {
        entry *e = list->entries.at[i];
        hl_deep_free(e->deep);
        e->deep = NULL;
        e->deep_due = keys->n > 0;
        merge_deep(list, e);
    }
}

/* Reads on in one run; done: to its end. */
static void dig(hl_run_list *list, entry *e)
{
    enum { SLICE_BYTES = 4 << 20 };
    bool more = false;
    const hl_run_state state = e->row.row.state;
    if (!e->plain || e->row.row.waits || hl_deep_is_known(e->deep, &list->keys, e->plain)) {
        e->deep_due = false;
        return;
    }
    if (hl_deep_read(&e->deep, e->row.row.dir, &list->keys, SLICE_BYTES, &more) != HL_OK) {
        hl_err_clear(); /* what cannot be read is not known */
        more = false;
    }
    if (more)
        return;
    e->deep_due = false;
    if (state < HL_RUN_STARTING || state > HL_RUN_EVALUATING)
        hl_deep_rest(e->deep); /* nobody writes it */
    merge_deep(list, e);
    list->n_changes++;
}

bool hl_run_list_dig(hl_run_list *list, int64_t budget_ns)
{
    const int64_t end_ns = hl_clock_mono_ns() + budget_ns;
    for (size_t i = 0; i < list->entries.n; i++)
        while (list->entries.at[i]->deep_due) {
            dig(list, list->entries.at[i]);
            if (budget_ns && hl_clock_mono_ns() > end_ns)
                return true;
        }
    return false;
}

/* ---- looking ---- */

/* Brings the entry of a directory up to date. *out = NULL with HL_OK: not a run (any more). */
static hl_status look(hl_run_list *list, const char *dir, entry **out)
{
    entry *e = take(list, dir);
    const hl_row_version now = version_of(dir);
    *out = e;
    if (e && same_version(e->read_version, now)) {
        const bool was_lost = e->row.row.state == HL_RUN_LOST;
        if (!hl_row_judge(&e->row, dir))
            return HL_OK;
        list->n_changes++;
        if (was_lost || e->row.row.state != HL_RUN_LOST)
            return HL_OK; /* else look closer: it may have ended properly just now */
    }
    if (!now.inode && !hl_run_dir_is_run(dir)) {
        if (e)
            drop(e, true);
        *out = NULL;
        return HL_OK;
    }
    const bool known = e != NULL;
    list->n_changes++;
    if (!e)
        *out = e = hl_alloc_zero(1, sizeof *e);
    if (!e)
        return HL_E_NOMEM;
    e->read_version = now;
    if (hl_list_cache_get(list->cache, dir, now, &e->row)) {
        (void)hl_row_judge(&e->row, dir);
        note_plain(list, e);
        return HL_OK;
    }
    list->n_read++;
    hl_status st = hl_row_read(dir, &e->row, NULL);
    if (st != HL_OK && st != HL_E_NOMEM) /* it must not hide the others, nor itself */
        st = hl_row_blank(dir, hl_err_message(), &e->row);
    if (st != HL_OK) {
        drop(e, known);
        *out = NULL;
    } else {
        note_plain(list, e);
    }
    return st;
}

static void free_entries(hl_run_list *list, bool all)
{
    for (size_t i = 0; i < list->entries.n; i++)
        if (all || !list->entries.at[i]->taken) {
            entry_free(list->entries.at[i]);
            list->n_changes++;
        }
    hl_vec_done(&list->entries);
}

/* When many rows had to be read: a list that grows, or that nobody has kept yet. */
static void keep_rows(hl_run_list *list)
{
    if (list->entries.n < HL_LIST_CACHED_MIN || 8 * list->n_read < list->entries.n)
        return;
    hl_list_saving *s = hl_list_saving_begin();
    for (size_t i = 0; s && i < list->entries.n; i++) {
        const entry *e = list->entries.at[i];
        hl_row_store row = e->row; /* borrowed, with what its summary has */
        row.row.metrics = e->plain ? e->plain : row.row.metrics;
        hl_list_saving_add(s, &row, e->read_version);
    }
    hl_list_saving_end(s, list->dir);
    list->n_read = 0;
}

typedef HL_VEC(entry *) entry_list;

typedef struct waiting_rows {
    hl_run_list *list;
    entry_list *fresh;
} waiting_rows;

static hl_status add_waiting(void *self, const hl_waiting_run *w)
{
    const waiting_rows *a = self;
    entry *e = take(a->list, w->dir);
    hl_status st = hl_vec_reserve(a->fresh, a->fresh->n + 1);
    if (st == HL_OK && !e) {
        e = hl_alloc_zero(1, sizeof *e);
        st = e ? hl_row_waiting(w, &e->row) : HL_E_NOMEM;
        a->list->n_changes++;
    }
    if (st == HL_OK) {
        e->taken = true;
        a->fresh->at[a->fresh->n++] = e;
    } else if (e && !e->taken) {
        entry_free(e);
    }
    return st;
}

hl_status hl_run_list_refresh(hl_run_list *list)
{
    hl_fs_list names = {0};
    entry_list fresh = {0};
    hl_status st = hl_fs_list_dir(list->dir, &names);
    if (st == HL_E_NOTFOUND) /* no store yet */
        st = HL_OK;
    if (st == HL_OK)
        st = hl_vec_reserve(&fresh, names.n + 1);
    if (st != HL_OK)
        goto out;
    if (list->entries.n)
        qsort(list->entries.at, list->entries.n, sizeof *list->entries.at, by_dir);
    for (size_t i = 0; i < names.n && st == HL_OK; i++) {
        if (names.name[i][0] == '.')
            continue;
        entry *e = NULL;
        char *dir = hl_fs_join(list->dir, names.name[i]);
        st = dir ? look(list, dir, &e) : HL_E_NOMEM;
        if (e)
            fresh.at[fresh.n++] = e;
        hl_free(dir);
    }
    if (st == HL_OK && list->waiting)
        st = hl_waiting_each(list->dir, add_waiting, &(waiting_rows){list, &fresh});
    free_entries(list, false); /* the directories of these are gone, or memory is */
    for (size_t i = 0; i < fresh.n; i++)
        fresh.at[i]->taken = false;
    if (fresh.n)
        qsort(fresh.at, fresh.n, sizeof *fresh.at, by_age);
    list->entries.at = fresh.at;
    list->entries.n = fresh.n;
    list->entries.cap = fresh.cap;
    fresh.at = NULL;
out:
    hl_free(fresh.at);
    hl_fs_list_free(&names);
    return st;
}

static hl_status open_list(const char *runs_dir, bool waiting, hl_run_list **out)
{
    hl_run_list *list = hl_alloc_zero(1, sizeof *list);
    if (!list)
        return HL_E_NOMEM;
    list->waiting = waiting;
    list->dir = hl_strdup(runs_dir);
    list->cache = hl_list_cache_open(runs_dir);
    hl_status st = list->dir ? hl_run_list_refresh(list) : HL_E_NOMEM;
    hl_list_cache_close(list->cache);
    list->cache = NULL;
    if (st == HL_OK)
        *out = list;
    else
        hl_run_list_close(list);
    return st;
}

hl_status hl_run_list_open(const char *runs_dir, hl_run_list **out)
{
    return open_list(runs_dir, false, out);
}

hl_status hl_run_list_open_all(const char *runs_dir, hl_run_list **out)
{
    return open_list(runs_dir, true, out);
}

int64_t hl_run_list_changes(const hl_run_list *list)
{
    return list->n_changes;
}

size_t hl_run_list_n(const hl_run_list *list)
{
    return list->entries.n;
}

const hl_run_row *hl_run_list_at(const hl_run_list *list, size_t i)
{
    return &list->entries.at[i]->row.row;
}

void hl_run_list_close(hl_run_list *list)
{
    if (!list)
        return;
    keep_rows(list);
    free_entries(list, true);
    hl_free(list->dir);
    hl_free(list);
}
