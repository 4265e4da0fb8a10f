/* The mailbox between the net thread and the control thread.
 *
 * A request lives in one slot from acceptance to answer: free -> waiting (net) -> taken (control)
 * -> answered (control) -> free (net, which sends the answer). So nothing is freed under the other
 * thread's hands, and what is still open when the bus closes is found in the same table. */
#define _GNU_SOURCE
#include "app/bus/bus.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/bus/bus_internal.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

#define STEP_EVENT_NS 200000000 /* at most 5 step events a second */

hl_status hl_bus_open(const hl_bus_options *options, hl_bus **out)
{
    hl_status st = HL_OK;
    hl_bus *bus = hl_alloc_zero(1, sizeof *bus);
    if (!bus)
        return HL_E_NOMEM;
    bus->options = *options;
    if (bus->options.half_line_ms <= 0)
        bus->options.half_line_ms = 10000;
    bus->listen_fd = bus->wake_fd = -1;
    bus->state = (hl_bus_state){.state = "starting", .step = -1, .steps = -1};
    bus->run_dir = hl_strdup(options->run_dir);
    if (!bus->run_dir) {
        st = HL_E_NOMEM;
        goto out;
    }
    bus->options.run_dir = bus->run_dir;
    HL_TRY(hl_mutex_new(&bus->lock));
    bus->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bus->wake_fd < 0)
        HL_FAIL(HL_E_IO, "cannot make an event descriptor: too many open files?");
    HL_TRY(hl_bus_address_listen(bus->run_dir, &bus->listen_fd, bus->path));
    struct stat sb;
    if (lstat(bus->path, &sb) == 0) {
        bus->device = sb.st_dev;
        bus->inode = sb.st_ino;
    }
    HL_TRY(hl_thread_start("net", hl_bus_net_main, bus, &bus->net));
    *out = bus;
    bus = NULL;
out:
    hl_bus_close(bus);
    return st;
}

void hl_bus_close(hl_bus *bus)
{
    if (!bus)
        return;
    if (bus->net) {
        hl_flag_set(&bus->closing, 1);
        hl_bus_net_wake(bus);
        hl_thread_join(bus->net);
    }
    if (bus->listen_fd >= 0) {
        close(bus->listen_fd);
        hl_bus_address_remove(bus);
    }
    if (bus->wake_fd >= 0)
        close(bus->wake_fd);
    for (int i = 0; i < HL_BUS_SLOTS; i++) {
        hl_json_free(bus->slot[i].root);
        hl_str_done(&bus->slot[i].answer);
    }
    hl_mutex_free(bus->lock);
    hl_free(bus->run_dir);
    hl_free(bus);
}

const char *hl_bus_path(const hl_bus *bus)
{
    return bus->path;
}

bool hl_bus_take(hl_bus *bus, hl_bus_request *out)
{
    if (hl_flag_get(&bus->n_waiting) == 0)
        return false;
    hl_bus_slot *oldest = NULL;
    hl_mutex_lock(bus->lock);
    for (int i = 0; i < HL_BUS_SLOTS; i++) {
        hl_bus_slot *s = &bus->slot[i];
        if (s->state == HL_BUS_SLOT_WAITING && (!oldest || s->request.id < oldest->request.id))
            oldest = s;
    }
    if (oldest) {
        oldest->state = HL_BUS_SLOT_TAKEN;
        hl_flag_add(&bus->n_waiting, -1);
        *out = oldest->request;
    }
    hl_mutex_unlock(bus->lock);
    return oldest != NULL;
}

bool hl_bus_holder_changed(hl_bus *bus, int64_t *seen, hl_bus_holder *out)
{
    if (hl_flag_get(&bus->n_holders) == *seen)
        return false;
    hl_mutex_lock(bus->lock);
    *out = bus->holder;
    hl_mutex_unlock(bus->lock);
    *seen = out->n_changes;
    return true;
}

bool hl_bus_wait(hl_bus *bus, int64_t ms)
{
    int64_t end = hl_clock_mono_ns() + ms * 1000000;
    hl_mutex_lock(bus->lock);
    while (hl_flag_get(&bus->n_waiting) == 0 && !bus->woken) {
        int64_t left_ns = end - hl_clock_mono_ns();
        if (left_ns <= 0)
            break;
        hl_mutex_wait(bus->lock, (left_ns + 999999) / 1000000);
    }
    bus->woken = false;
    hl_mutex_unlock(bus->lock);
    return hl_flag_get(&bus->n_waiting) > 0;
}

void hl_bus_wake(hl_bus *bus)
{
    hl_mutex_lock(bus->lock);
    bus->woken = true;
    hl_mutex_unlock(bus->lock);
    hl_mutex_wake(bus->lock);
}

/* The slot of an open request, NULL if there is none; call with the lock. */
static hl_bus_slot *open_slot(hl_bus *bus, int64_t id)
{
    for (int i = 0; i < HL_BUS_SLOTS; i++) {
        hl_bus_slot *s = &bus->slot[i];
        if (s->state == HL_BUS_SLOT_TAKEN && s->request.id == id)
            return s;
    }
    return NULL;
}

/* Takes over `members`. */
static void finish(hl_bus *bus, int64_t id, hl_str *members)
{
    hl_mutex_lock(bus->lock);
    hl_bus_slot *s = open_slot(bus, id);
    if (s) {
        s->answer = *members;
        s->state = HL_BUS_SLOT_ANSWERED;
        *members = (hl_str){0};
    }
    hl_mutex_unlock(bus->lock);
    hl_str_done(members);
    hl_bus_net_wake(bus);
}

void hl_bus_answer(hl_bus *bus, int64_t id, int64_t step, const char *result_json)
{
    hl_str members = {0};
    hl_json_put_str(&members, "status", "applied");
    hl_json_put_int(&members, "step", step);
    if (result_json) {
        hl_json_add_key(&members, "result");
        hl_str_add(&members, result_json);
    }
    finish(bus, id, &members);
}

void hl_bus_refuse(hl_bus *bus, int64_t id, const char *fmt, ...)
{
    char reason[HL_ERR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof reason, fmt, ap);
    va_end(ap);
    hl_str members = {0};
    hl_json_put_str(&members, "status", "refused");
    hl_json_put_str(&members, "reason", reason);
    finish(bus, id, &members);
}

void hl_bus_publish(hl_bus *bus, const hl_bus_state *state)
{
    bool watched = hl_flag_get(&bus->n_subscribed) > 0;
    bool steps = hl_flag_get(&bus->n_step_readers) > 0;
    int64_t now = steps ? hl_clock_mono_ns() : 0;
    hl_mutex_lock(bus->lock);
    bool changed =
        strcmp(state->state, bus->state.state) != 0 || strcmp(state->doing, bus->state.doing) != 0;
    bool push = watched && (changed || (steps && state->step != bus->state.step &&
                                        now - bus->pushed_ns >= STEP_EVENT_NS));
    bus->state = *state;
    if (push) {
        if (bus->n_events < HL_BUS_EVENTS)
            bus->n_events++;
        bus->event[bus->n_events - 1] = (hl_bus_event){*state, !changed};
        bus->pushed_ns = now;
    }
    hl_mutex_unlock(bus->lock);
    if (push)
        hl_bus_net_wake(bus);
}
