#include "app/watch/watch_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/mem.h"

#define N_ITEMS  ((size_t)16384)
#define N_ORDERS ((size_t)4 * HL_WATCH_SLOTS)

void hl_watch_item_done(hl_watch_item *item)
{
    switch (item->kind) {
    case HL_WATCH_LIST:
        hl_run_rows_free(item->u.rows);
        break;
    case HL_WATCH_FOLLOWED:
    case HL_WATCH_FACTS:
        hl_free(item->u.facts.config);
        hl_free(item->u.facts.run);
        break;
    case HL_WATCH_SERIES:
        hl_free(item->u.info.tag);
        break;
    case HL_WATCH_HIST:
        hl_free(item->u.hist);
        break;
    case HL_WATCH_CURVE:
        hl_free(item->u.curve.v);
        break;
    case HL_WATCH_JSON:
        hl_free(item->u.json.text);
        break;
    case HL_WATCH_LINE:
        hl_free(item->u.line.text);
        break;
    case HL_WATCH_PAGE:
        hl_log_page_free(item->u.page);
        break;
    case HL_WATCH_FAILED:
        hl_free(item->u.message);
        break;
    case HL_WATCH_EDITED:
        hl_free(item->u.edited.message);
        break;
    case HL_WATCH_POINT:
    case HL_WATCH_SUPERSEDED:
    case HL_WATCH_PROGRESS:
    case HL_WATCH_DUG:
    case HL_WATCH_UNFOLLOWED:
    case HL_WATCH_KIND_COUNT:
        break;
    }
    memset(&item->u, 0, sizeof item->u);
}

/* ---- open and close ---- */

static int new_eventfd(hl_status *st)
{
    const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0)
        *st = hl_err_set(HL_E_IO, "no event descriptor for reading runs: %s", strerror(errno));
    return fd;
}

hl_status hl_watch_open(const char *runs_dir, hl_watch **out)
{
    hl_status st = HL_OK;
    hl_watch *w = hl_alloc_zero(1, sizeof *w);
    if (!w)
        return HL_E_NOMEM;
    w->items_fd = w->orders_fd = w->runs_fd = w->list.fd = -1;
    HL_TRY(hl_ring_new(N_ITEMS, sizeof(hl_watch_item), &w->items));
    HL_TRY(hl_ring_new(N_ORDERS, sizeof(hl_watch_order), &w->orders));
    w->items_fd = new_eventfd(&st);
    HL_TRY(st);
    w->orders_fd = new_eventfd(&st);
    HL_TRY(st);
    w->out.ring = w->items;
    w->out.fd = w->items_fd;
    w->runs_fd = hl_notice_open();
    HL_TRY(hl_watch_list_init(&w->list, runs_dir));
    HL_TRY(hl_thread_start("watch", hl_watch_thread, w, &w->thread));
    *out = w;
out:
    if (st != HL_OK)
        hl_watch_close(w);
    return st;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void hl_watch_close(hl_watch *w)
{
    hl_watch_item item;
    hl_watch_order order;
    if (!w)
        return;
    if (w->thread) {
        hl_flag_set(&w->stop, 1);
        hl_eventfd_signal(w->orders_fd);
        hl_thread_join(w->thread);
    }
    while (w->items && hl_ring_pop(w->items, &item))
        hl_watch_item_done(&item);
    while (w->orders && hl_ring_pop(w->orders, &order)) {
        hl_watch_run_free(order.run);
        hl_watch_edit_free(order.edit);
        hl_free(order.keys);
        hl_free(order.want);
    }
    while (w->runs) {
        hl_watch_run *r = w->runs;
        w->runs = r->next;
        hl_watch_run_free(r);
    }
    hl_outbox_done(&w->out);
    hl_watch_list_done(&w->list);
    hl_notice_close(w->runs_fd);
    close_fd(w->items_fd);
    close_fd(w->orders_fd);
    hl_ring_free(w->items);
    hl_ring_free(w->orders);
    hl_free(w);
}

/* ---- items ---- */

int hl_watch_fd(const hl_watch *w)
{
    return w->items_fd;
}

bool hl_watch_take(hl_watch *w, hl_watch_item *out)
{
    uint64_t count;
    if (hl_ring_pop(w->items, out))
        return true;
    if (read(w->items_fd, &count, sizeof count) < 0)
        return false;
    /* What came between the two looks has lost its signal. */
    if (!hl_ring_pop(w->items, out))
        return false;
    hl_eventfd_signal(w->items_fd);
    return true;
}

/* ---- orders ---- */

/* Room for an order to unfollow is kept for every slot, so that those cannot fail. */
static void give(hl_watch *w, hl_watch_order order)
{
    if (HL_NEVER(!hl_ring_push(w->orders, &order))) {
        hl_watch_run_free(order.run);
        hl_watch_edit_free(order.edit);
        hl_free(order.keys);
        hl_free(order.want);
    }
    hl_eventfd_signal(w->orders_fd);
}

hl_status hl_watch_follow(hl_watch *w, int slot, const char *dir)
{
    hl_watch_run *run;
    if (slot < 0 || slot >= HL_WATCH_SLOTS)
        return hl_err_set(HL_E_ARG, "slot %d of a watch: 0 to %d are there", slot,
                          HL_WATCH_SLOTS - 1);
    if (hl_ring_used(w->orders) + w->n_open + 3 > hl_ring_capacity(w->orders))
        return hl_err_set(HL_E_STATE, "too many runs are waiting to be read: try again later");
    hl_status st = hl_watch_run_new(slot, dir, &run);
    if (st != HL_OK)
        return st;
    hl_watch_unfollow(w, slot);
    w->is_open[slot] = true;
    w->n_open++;
    give(w, (hl_watch_order){.slot = slot, .run = run});
    return HL_OK;
}

void hl_watch_unfollow(hl_watch *w, int slot)
{
    if (slot < 0 || slot >= HL_WATCH_SLOTS || !w->is_open[slot])
        return;
    w->is_open[slot] = false;
    w->n_open--;
    give(w, (hl_watch_order){.slot = slot});
}

void hl_watch_edit_free(hl_watch_edit_order *e)
{
    for (int i = 0; e && e->dirs && i < e->n; i++)
        hl_free(e->dirs[i]);
    if (e) {
        hl_free(e->dirs);
        hl_free(e->text);
    }
    hl_free(e);
}

hl_status hl_watch_edit(hl_watch *w, int what, const char *text, const char *const *dirs, int n)
{
    if (hl_ring_used(w->orders) + w->n_open + 3 > hl_ring_capacity(w->orders))
        return hl_err_set(HL_E_STATE, "too much is waiting to be done: try again later");
    hl_watch_edit_order *e = hl_alloc_zero(1, sizeof *e);
    bool good = e != NULL;
    if (good) {
        *e = (hl_watch_edit_order){.what = what, .n = n};
        e->text = text ? hl_strdup(text) : NULL;
        e->dirs = hl_alloc_zero((size_t)n + 1, sizeof *e->dirs);
        good = e->dirs && (!text || e->text);
    }
    for (int i = 0; good && i < n; i++)
        good = (e->dirs[i] = hl_strdup(dirs[i])) != NULL;
    if (good)
        give(w, (hl_watch_order){.slot = -1, .edit = e});
    else
        hl_watch_edit_free(e);
    return good ? HL_OK : HL_E_NOMEM;
}

hl_status hl_watch_want(hl_watch *w, const hl_deep_keys *keys)
{
    if (hl_ring_used(w->orders) + w->n_open + 3 > hl_ring_capacity(w->orders))
        return hl_err_set(HL_E_STATE, "too much is waiting to be done: try again later");
    hl_deep_keys *copy = hl_alloc(sizeof *copy);
    if (!copy)
        return HL_E_NOMEM;
    *copy = *keys;
    give(w, (hl_watch_order){.slot = -1, .keys = copy});
    return HL_OK;
}

hl_status hl_watch_log(hl_watch *w, int slot, const hl_log_want *want)
{
    if (slot < 0 || slot >= HL_WATCH_SLOTS || !w->is_open[slot])
        return hl_err_set(HL_E_ARG, "slot %d of a watch follows nothing", slot);
    if (hl_ring_used(w->orders) + w->n_open + 3 > hl_ring_capacity(w->orders))
        return hl_err_set(HL_E_STATE, "too much is waiting to be done: try again later");
    hl_log_want *copy = hl_alloc(sizeof *copy);
    if (!copy)
        return HL_E_NOMEM;
    *copy = *want;
    give(w, (hl_watch_order){.slot = slot, .want = copy});
    return HL_OK;
}

void hl_watch_look(hl_watch *w)
{
    hl_flag_set(&w->look, 1);
    hl_eventfd_signal(w->orders_fd);
}

int64_t hl_watch_wakeups(const hl_watch *w)
{
    return hl_flag_get(&w->n_wakeups);
}
