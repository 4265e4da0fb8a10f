#include "app/watch/watch_internal.h"

#include <poll.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"

#define FULL_WAIT_MS 5 /* for room in the ring */

/* ---- orders ---- */

static hl_watch_run **end_of(hl_watch_run **runs)
{
    while (*runs)
        runs = &(*runs)->next;
    return runs;
}

static void do_edit(hl_watch *w, hl_watch_edit_order *e)
{
    hl_watch_item item = {.kind = HL_WATCH_EDITED, .slot = -1};
    item.u.edited.what = e->what;
    for (int i = 0; i < e->n; i++) {
        if (hl_run_edit_do((hl_run_edit)e->what, e->text, e->dirs[i]) == HL_OK)
            item.u.edited.n_done++;
        else if (!item.u.edited.message)
            item.u.edited.message = hl_strdup(hl_err_message());
    }
    hl_watch_list_look(&w->list, &w->out, hl_clock_mono_ns()); /* the list comes before the word */
    (void)hl_outbox_add(&w->out, &item); /* without memory the list shows it all the same */
    hl_watch_edit_free(e);
}

static void take_orders(hl_watch *w)
{
    hl_watch_order order;
    while (hl_ring_pop(w->orders, &order)) {
        if (order.edit) {
            do_edit(w, order.edit);
            continue;
        }
        if (order.keys) {
            hl_watch_list_want(&w->list, order.keys);
            hl_free(order.keys);
            continue;
        }
        if (order.want) {
            for (hl_watch_run *r = w->runs; r; r = r->next)
                if (r->slot == order.slot && !r->leaving)
                    hl_watch_run_want_log(r, order.want);
            hl_free(order.want);
            continue;
        }
        if (order.run) {
            order.run->out = &w->out;
            *end_of(&w->runs) = order.run;
            continue;
        }
        hl_outbox_drop(&w->out, order.slot);
        for (hl_watch_run *r = w->runs; r; r = r->next)
            r->leaving = r->leaving || r->slot == order.slot;
    }
    if (hl_flag_exchange(&w->look, 0))
        w->list.pace.due_ns = 0;
}

static bool is_shared_watch(const hl_watch *w, const hl_watch_run *r)
{
    for (const hl_watch_run *other = w->runs; other; other = other->next)
        if (other != r && other->watch == r->watch)
            return true;
    return false;
}

/* true: all that was to be said has been said. */
static bool say_farewells(hl_watch *w)
{
    for (hl_watch_run **at = &w->runs; *at;) {
        hl_watch_run *r = *at;
        const hl_watch_item item = {.kind = HL_WATCH_UNFOLLOWED, .slot = r->slot};
        if (!r->leaving) {
            at = &r->next;
            continue;
        }
        if (!hl_outbox_add_now(&w->out, &item))
            return false;
        if (!is_shared_watch(w, r))
            hl_notice_remove(w->runs_fd, r->watch);
        *at = r->next;
        hl_watch_run_free(r);
    }
    return true;
}

/* ---- work ---- */

/* What somebody looks at goes first, but keeps nothing else from going on. */
static bool read_logs(hl_watch *w)
{
    bool any = false;
    for (hl_watch_run *r = w->runs; r; r = r->next)
        any |= hl_watch_run_read_log(r);
    return any;
}

/* Does the next thing that is due. false: nothing is. */
static bool work_on(hl_watch *w)
{
    const int64_t now_ns = hl_clock_mono_ns();
    if (w->list.pace.due_ns <= now_ns) {
        w->worked_ns = now_ns;
        hl_watch_list_look(&w->list, &w->out, now_ns);
        return true;
    }
    for (hl_watch_run **at = &w->runs; *at; at = &(*at)->next) {
        hl_watch_run *r = *at;
        if (r->pace.due_ns > now_ns)
            continue;
        *at = r->next; /* the others have their turn before it comes again */
        r->next = NULL;
        w->worked_ns = now_ns;
        *end_of(&w->runs) = r;
        hl_watch_run_look(r, w->runs_fd, now_ns);
        return true;
    }
    if (!w->list.digging)
        return false;
    hl_watch_list_dig(&w->list, &w->out, now_ns);
    return true;
}

static bool work(hl_watch *w)
{
    const bool read = read_logs(w);
    return work_on(w) || read;
}

/* ---- sleep ---- */

static void runs_notice(void *self, const hl_notice *n)
{
    hl_watch *w = self;
    for (hl_watch_run *r = w->runs; r; r = r->next)
        if (n->watch < 0 || n->watch == r->watch)
            hl_watch_run_notice(r, n, w->worked_ns);
    if (n->gone)
        hl_notice_remove(w->runs_fd, n->watch); /* moved, it would go on telling */
}

/* Until the next look is due; -1: none is. *hinted: something has happened for which it is. */
static int wait_ms(const hl_watch *w, bool *hinted)
{
    int64_t due_ns = w->list.pace.due_ns;
    *hinted = w->list.pace.hinted;
    for (const hl_watch_run *r = w->runs; r; r = r->next) {
        due_ns = r->pace.due_ns < due_ns ? r->pace.due_ns : due_ns;
        *hinted = *hinted || r->pace.hinted;
    }
    if (due_ns == HL_PACE_NEVER)
        return -1;
    const int64_t left_ns = due_ns - hl_clock_mono_ns();
    return left_ns > 0 ? (int)((left_ns + 999999) / 1000000) : 0;
}

/* Once something has happened, what else happens need not wake us before that is due. */
static void wait(hl_watch *w, bool full)
{
    uint64_t count;
    bool deaf;
    const int ms = wait_ms(w, &deaf);
    deaf = deaf || full;
    struct pollfd fds[3] = {
        {.fd = w->orders_fd, .events = POLLIN},
        {.fd = deaf ? -1 : w->list.fd, .events = POLLIN},
        {.fd = deaf ? -1 : w->runs_fd, .events = POLLIN},
    };
    (void)poll(fds, 3, full ? FULL_WAIT_MS : ms);
    hl_flag_add(&w->n_wakeups, 1);
    if ((fds[0].revents & POLLIN) && read(w->orders_fd, &count, sizeof count) < 0)
        return; /* somebody else's signal */
    if (full)
        return;
    hl_watch_list_notices(&w->list, w->worked_ns);
    hl_notice_read(w->runs_fd, runs_notice, w);
}

void hl_watch_thread(void *watch)
{
    hl_watch *w = watch;
    while (!hl_flag_get(&w->stop)) {
        take_orders(w);
        const bool said = say_farewells(w);
        const bool full = !hl_outbox_flush(&w->out) || !said;
        if (full || !work(w))
            wait(w, full);
    }
}
