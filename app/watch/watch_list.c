#include "app/watch/watch_internal.h"

#include <string.h>

#include "app/store/run_known.h"
#include "app/store/run_row.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

/* ---- a copy of the rows ---- */

/* hl_run_rows, the rows, and their texts in one block. */
typedef struct block {
    hl_run_rows rows;
    hl_run_row row[];
} block;

static hl_run_rows *copy_rows(const hl_run_list *list)
{
    const size_t n = hl_run_list_n(list);
    const char **slot[HL_ROW_TEXTS];
    size_t n_bytes = sizeof(block) + n * sizeof(hl_run_row);
    for (size_t i = 0; i < n; i++) {
        hl_run_row row = *hl_run_list_at(list, i);
        hl_row_slots(&row, slot);
        for (size_t t = 0; t < HL_ROW_TEXTS; t++)
            n_bytes += strlen(*slot[t]) + 1;
    }
    block *b = hl_alloc(n_bytes);
    if (!b)
        return NULL;
    char *to = (char *)(b->row + n);
    for (size_t i = 0; i < n; i++) {
        b->row[i] = *hl_run_list_at(list, i);
        (void)hl_run_values_ref(b->row[i].config);
        (void)hl_run_metrics_ref(b->row[i].metrics);
        hl_row_slots(&b->row[i], slot);
        for (size_t t = 0; t < HL_ROW_TEXTS; t++) {
            const size_t length = strlen(*slot[t]) + 1;
            memcpy(to, *slot[t], length);
            *slot[t] = to;
            to += length;
        }
    }
    b->rows = (hl_run_rows){b->row, n};
    return &b->rows;
}

hl_status hl_run_rows_add(hl_run_rows *rows, size_t i, const hl_run_value *more, size_t n)
{
    hl_run_row *row = &((block *)(void *)rows)->row[i];
    const hl_run_values *fresh = hl_run_values_with(row->config, more, n);
    if (!fresh)
        return HL_E_NOMEM;
    hl_run_values_unref(row->config);
    row->config = fresh;
    return HL_OK;
}

void hl_run_rows_free(hl_run_rows *rows)
{
    for (size_t i = 0; rows && i < rows->n; i++) {
        hl_run_values_unref(rows->at[i].config);
        hl_run_metrics_unref(rows->at[i].metrics);
    }
    hl_free(rows); /* the first member of its block */
}

/* ---- notices ---- */

hl_status hl_watch_list_init(hl_watch_list *l, const char *dir)
{
    *l = (hl_watch_list){.fd = hl_notice_open(), .root = -1, .newest_watch = -1};
    l->by_clock = l->fd < 0;
    l->dir = hl_fs_absolute(dir);
    return l->dir ? HL_OK : HL_E_NOMEM;
}

void hl_watch_list_done(hl_watch_list *l)
{
    hl_run_list_close(l->list);
    hl_notice_close(l->fd);
    hl_free(l->dir);
    hl_free(l->failure);
    *l = (hl_watch_list){.fd = -1};
}

/* Watches the directory of the runs, or the nearest one above it that is there. true: look again,
 * for one below that may have appeared before the watch was there. */
static bool watch_root(hl_watch_list *l)
{
    if (l->by_clock || (l->root >= 0 && l->root_is_dir))
        return false;
    const int was = l->root;
    char *dir = hl_strdup(l->dir);
    l->root = -1;
    l->root_is_dir = true;
    while (dir) {
        l->root = hl_notice_add(l->fd, dir, HL_NOTICE_NAMES);
        if (l->root != -1 || strcmp(dir, "/") == 0)
            break;
        char *above = hl_fs_parent(dir);
        hl_free(dir);
        dir = above;
        l->root_is_dir = false;
    }
    hl_free(dir);
    l->by_clock = l->root < 0;
    l->newest_watch = l->root > l->newest_watch ? l->root : l->newest_watch;
    if (was >= 0 && was != l->root)
        hl_notice_remove(l->fd, was);
    return !l->root_is_dir && l->root != was;
}

static void list_notice(void *self, const hl_notice *n)
{
    hl_watch_list *l = self;
    if (n->watch != l->root) {
        l->quiet_changed = true;
    } else if (n->gone) {
        hl_notice_remove(l->fd, l->root); /* moved, it would go on telling */
        l->root = -1;
    }
    hl_pace_hint(&l->pace, l->worked_ns);
}

void hl_watch_list_notices(hl_watch_list *l, int64_t worked_ns)
{
    l->worked_ns = worked_ns;
    hl_notice_read(l->fd, list_notice, l);
}

/* ---- looking ---- */

/* Somebody writes it, as far as is known: it will change by itself. */
static bool is_live(hl_run_state s)
{
    return (s >= HL_RUN_STARTING && s <= HL_RUN_EVALUATING) || s == HL_RUN_SILENT;
}

/* Runs that nobody writes are not looked at by the clock, so somebody has to tell when one of them
 * is resumed, started or repaired. true: some are watched only from now on. */
static bool watch_quiet(hl_watch_list *l, size_t n_quiet)
{
    bool fresh = false;
    if (l->by_clock || (n_quiet == l->n_quiet && !l->quiet_changed))
        return false;
    l->n_quiet = n_quiet;
    l->quiet_changed = false;
    for (size_t i = 0; i < hl_run_list_n(l->list); i++) {
        const hl_run_row *row = hl_run_list_at(l->list, i);
        if (is_live(row->state))
            continue;
        const int watch = hl_notice_add(l->fd, row->dir, HL_NOTICE_ONCE);
        fresh = fresh || watch > l->newest_watch;
        l->newest_watch = watch > l->newest_watch ? watch : l->newest_watch;
        l->by_clock = l->by_clock || watch == -2;
    }
    return fresh;
}

static bool tell_list(hl_watch_list *l, hl_outbox *out)
{
    const int64_t n_changes = hl_run_list_changes(l->list);
    if (l->told && n_changes == l->n_changes)
        return true;
    hl_watch_item item = {.kind = HL_WATCH_LIST, .slot = -1, .u.rows = copy_rows(l->list)};
    l->told = item.u.rows && hl_outbox_add(out, &item);
    l->n_changes = n_changes;
    return l->told;
}

static void tell_failure(hl_watch_list *l, hl_outbox *out)
{
    if (l->failure && strcmp(l->failure, hl_err_message()) == 0)
        return;
    hl_free(l->failure);
    l->failure = hl_strdup(hl_err_message());
    hl_watch_item item = {.kind = HL_WATCH_FAILED, .slot = -1};
    item.u.message = l->failure ? hl_strdup(l->failure) : NULL;
    if (!item.u.message || !hl_outbox_add(out, &item)) {
        hl_free(l->failure); /* to be told another time */
        l->failure = NULL;
    }
    l->told = false; /* the next list says that it is over */
}

void hl_watch_list_look(hl_watch_list *l, hl_outbox *out, int64_t now_ns)
{
    const bool again = watch_root(l);
    const hl_status st =
        l->list ? hl_run_list_refresh(l->list) : hl_run_list_open_all(l->dir, &l->list);
    if (st != HL_OK) {
        tell_failure(l, out);
        hl_pace_looked(&l->pace, now_ns + HL_PACE_TICK_NS);
        return;
    }
    hl_free(l->failure);
    l->failure = NULL;
    size_t n_live = 0;
    for (size_t i = 0; i < hl_run_list_n(l->list); i++)
        n_live += is_live(hl_run_list_at(l->list, i)->state);
    const bool told = tell_list(l, out);
    const bool fresh = watch_quiet(l, hl_run_list_n(l->list) - n_live);
    const bool by_clock = !told || n_live || l->by_clock;
    hl_pace_looked(&l->pace, by_clock ? now_ns + HL_PACE_TICK_NS : HL_PACE_NEVER);
    if (fresh || again)
        hl_pace_hint(&l->pace, now_ns); /* something may have happened before the watch was there */
}
