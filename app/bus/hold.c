/* The controls of a run belong to one process at a time. A hold lasts as long as the connection
 * that took it, so a screen that dies leaves nothing behind, and lapses when its owner asks for
 * nothing for long: a forgotten screen locks nobody out. Who holds nothing may ask while nobody
 * does. */
#include <stdio.h>

#include "app/bus/bus_internal.h"
#include "engine/base/clock.h"

#define HOLD_NS (HL_BUS_HOLD_S * INT64_C(1000000000))

static bool is_owner(const hl_bus *bus, const hl_bus_peer *p)
{
    return bus->holder.pid == p->pid && bus->holder.uid == p->uid;
}

void hl_bus_hold_add(const hl_bus *bus, hl_str *b)
{
    hl_json_add_key(b, "holder");
    if (!bus->holder.pid) {
        hl_json_add_null(b);
        return;
    }
    hl_json_begin(b, '{');
    hl_json_put_int(b, "uid", bus->holder.uid);
    hl_json_put_int(b, "pid", bus->holder.pid);
    hl_json_end(b, '}');
}

/* p NULL: nobody has them from now on. */
static void give_to(hl_bus *bus, const hl_bus_peer *p, bool stolen)
{
    hl_str line = {0};
    bus->holder_peer = p ? p->serial : 0;
    bus->holder_ns = hl_clock_mono_ns();
    hl_mutex_lock(bus->lock);
    bus->holder = (hl_bus_holder){.uid = p ? p->uid : 0,
                                  .pid = p ? p->pid : 0,
                                  .stolen = stolen,
                                  .n_changes = bus->holder.n_changes + 1};
    hl_flag_set(&bus->n_holders, bus->holder.n_changes);
    bus->woken = true; /* a run that is paused records it, too */
    hl_mutex_unlock(bus->lock);
    hl_mutex_wake(bus->lock);
    hl_json_begin(&line, '{');
    hl_json_put_int(&line, "v", HL_BUS_VERSION);
    hl_json_put_str(&line, "ev", "holder");
    hl_bus_hold_add(bus, &line);
    hl_json_end(&line, '}');
    hl_str_addc(&line, '\n');
    hl_bus_net_broadcast(bus, &line, false);
    hl_str_done(&line);
}

static bool is_held_by_other(hl_bus *bus, const hl_bus_peer *p)
{
    if (bus->holder.pid && hl_clock_mono_ns() - bus->holder_ns > HOLD_NS)
        give_to(bus, NULL, false);
    return bus->holder.pid && !is_owner(bus, p);
}

static void explain(const hl_bus *bus, char *why, size_t n)
{
    snprintf(why, n, "process %lld of uid %lld controls it; steal takes over",
             (long long)bus->holder.pid, (long long)bus->holder.uid);
}

bool hl_bus_hold_allows(hl_bus *bus, const hl_bus_peer *p, char *why, size_t n)
{
    if (is_held_by_other(bus, p)) {
        explain(bus, why, n);
        return false;
    }
    bus->holder_ns = hl_clock_mono_ns();
    return true;
}

void hl_bus_hold_take(hl_bus *bus, const hl_bus_peer *p, bool steal, hl_str *answer)
{
    const bool other = is_held_by_other(bus, p);
    char why[200];
    if (other && !steal) {
        explain(bus, why, sizeof why);
        hl_json_put_str(answer, "status", "refused");
        hl_json_put_str(answer, "reason", why);
    } else {
        if (!is_owner(bus, p) || bus->holder_peer != p->serial)
            give_to(bus, p, other);
        hl_json_put_str(answer, "status", "applied");
    }
    hl_bus_hold_add(bus, answer);
}

void hl_bus_hold_release(hl_bus *bus, const hl_bus_peer *p, hl_str *answer)
{
    const bool mine = bus->holder.pid && is_owner(bus, p);
    if (mine)
        give_to(bus, NULL, false);
    hl_json_put_str(answer, "status", mine ? "applied" : "refused");
    if (!mine)
        hl_json_put_str(answer, "reason", "you do not have the controls");
}

void hl_bus_hold_left(hl_bus *bus, const hl_bus_peer *p)
{
    if (bus->holder.pid && bus->holder_peer == p->serial)
        give_to(bus, NULL, false);
}
