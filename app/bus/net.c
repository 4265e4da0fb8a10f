/* The net thread: one poll loop over the listener, the clients and a wake-up descriptor. No call
 * here waits for a client: what a client does not read piles up in `out` until the client is
 * dropped; so is one that floods, sends garbage, endless lines or half a line for too long. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/bus/bus_internal.h"
#include "engine/base/clock.h"

#define SECOND_NS   1000000000
#define FAREWELL_NS 200000000 /* for clients to read the last answers */

void hl_bus_net_wake(hl_bus *bus)
{
    uint64_t one = 1;
    if (write(bus->wake_fd, &one, sizeof one) < 0)
        return; /* the counter is full, so the thread is awake */
}

static void subscribe(hl_bus *bus, hl_bus_peer *p, int to)
{
    hl_flag_add(&bus->n_subscribed, (to != HL_BUS_NO_EVENTS) - (p->subscribed != HL_BUS_NO_EVENTS));
    hl_flag_add(&bus->n_step_readers,
                (to == HL_BUS_ALL_EVENTS) - (p->subscribed == HL_BUS_ALL_EVENTS));
    p->subscribed = to;
}

static void drop(hl_bus *bus, hl_bus_peer *p)
{
    const hl_bus_peer was = *p;
    subscribe(bus, p, HL_BUS_NO_EVENTS);
    close(p->fd);
    hl_str_done(&p->in);
    hl_str_done(&p->out);
    *p = (hl_bus_peer){.fd = -1};
    hl_bus_hold_left(bus, &was);
}

static void flush(hl_bus_peer *p)
{
    while (p->out_sent < p->out.n && !p->out.failed) {
        ssize_t n = send(p->fd, p->out.s + p->out_sent, p->out.n - p->out_sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            p->dropped |= errno != EAGAIN && errno != EWOULDBLOCK;
            break;
        }
        p->out_sent += (size_t)n;
    }
    p->dropped |= p->out.failed || p->out.n - p->out_sent > HL_BUS_OUT_MAX;
    if (p->out_sent == p->out.n) {
        hl_str_clear(&p->out);
        p->out_sent = 0;
    } else if (p->out_sent > HL_BUS_OUT_MAX) {
        p->out.n -= p->out_sent;
        memmove(p->out.s, p->out.s + p->out_sent, p->out.n + 1);
        p->out_sent = 0;
    }
}

/* A line is a JSON object: begin() opens it, send_line() closes and queues it. */
static hl_str begin(void)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_int(&b, "v", HL_BUS_VERSION);
    return b;
}

static void end(hl_str *b)
{
    hl_json_end(b, '}');
    hl_str_addc(b, '\n');
}

static void queue(hl_bus_peer *p, const hl_str *line)
{
    hl_str_addn(&p->out, hl_str_text(line), line->n);
    p->out.failed |= line->failed;
    flush(p);
}

void hl_bus_net_broadcast(hl_bus *bus, const hl_str *line, bool is_step)
{
    const int least = is_step ? HL_BUS_ALL_EVENTS : HL_BUS_QUIET;
    for (int i = 0; i < HL_BUS_PEERS; i++)
        if (bus->peer[i].serial && bus->peer[i].subscribed >= least && !bus->peer[i].dropped)
            queue(&bus->peer[i], line);
}

static void refuse(hl_bus_peer *p, int64_t id, const char *reason)
{
    hl_str b = begin();
    hl_json_add_key(&b, "id");
    if (id >= 0)
        hl_json_add_int(&b, id);
    else
        hl_json_add_null(&b);
    hl_json_put_str(&b, "status", "refused");
    hl_json_put_str(&b, "reason", reason);
    end(&b);
    queue(p, &b);
    hl_str_done(&b);
}

/* Tells the asker, and everyone who subscribed, what became of a request. */
static void report(hl_bus *bus, const hl_bus_request *r, int64_t peer, int64_t peer_id,
                   const char *members)
{
    hl_str b = begin();
    hl_json_put_int(&b, "id", peer_id);
    hl_json_put_int(&b, "request", r->id);
    hl_str_addf(&b, ",%s", members);
    end(&b);
    for (int i = 0; i < HL_BUS_PEERS; i++)
        if (bus->peer[i].serial == peer && !bus->peer[i].dropped)
            queue(&bus->peer[i], &b);
    hl_str_done(&b);
    if (hl_flag_get(&bus->n_subscribed) == 0)
        return;
    b = begin();
    hl_json_put_str(&b, "ev", "request");
    hl_json_put_int(&b, "request", r->id);
    hl_json_put_str(&b, "cmd", hl_bus_cmd_name(r->cmd));
    hl_json_put_int(&b, "uid", r->uid);
    hl_json_put_int(&b, "pid", r->pid);
    hl_str_addf(&b, ",%s", members);
    end(&b);
    hl_bus_net_broadcast(bus, &b, false);
    hl_str_done(&b);
}

/* What is not answered yet, oldest first. */
static void add_open_requests(hl_bus *bus, hl_str *b)
{
    int64_t last = 0;
    hl_json_add_key(b, "requests");
    hl_json_begin(b, '[');
    hl_mutex_lock(bus->lock);
    for (;;) {
        const hl_bus_slot *next = NULL;
        for (int i = 0; i < HL_BUS_SLOTS; i++) {
            const hl_bus_slot *s = &bus->slot[i];
            if ((s->state == HL_BUS_SLOT_WAITING || s->state == HL_BUS_SLOT_TAKEN) &&
                s->request.id > last && (!next || s->request.id < next->request.id))
                next = s;
        }
        if (!next)
            break;
        last = next->request.id;
        hl_json_begin(b, '{');
        hl_json_put_int(b, "request", next->request.id);
        hl_json_put_str(b, "cmd", hl_bus_cmd_name(next->request.cmd));
        hl_json_put_int(b, "uid", next->request.uid);
        hl_json_put_int(b, "pid", next->request.pid);
        hl_json_put_bool(b, "begun", next->state == HL_BUS_SLOT_TAKEN);
        hl_json_end(b, '}');
    }
    hl_mutex_unlock(bus->lock);
    hl_json_end(b, ']');
}

static void send_status(hl_bus *bus, hl_bus_peer *p, int64_t id)
{
    hl_mutex_lock(bus->lock);
    hl_bus_state state = bus->state;
    hl_mutex_unlock(bus->lock);
    hl_str b = begin();
    hl_json_put_int(&b, "id", id);
    hl_json_put_str(&b, "status", "applied");
    hl_json_put_bool(&b, "subscribed", p->subscribed != HL_BUS_NO_EVENTS);
    hl_bus_state_add(&b, &state);
    hl_bus_hold_add(bus, &b);
    add_open_requests(bus, &b);
    end(&b);
    queue(p, &b);
    hl_str_done(&b);
}

/* A request that waits is answered in its run's place; one that has begun is not. */
static void cancel(hl_bus *bus, const hl_bus_peer *p, const hl_json *args, hl_str *answer)
{
    const int64_t id = hl_json_int(hl_json_get(args, "request"), -1);
    char why[120];
    hl_bus_slot_state state = HL_BUS_SLOT_FREE;
    hl_mutex_lock(bus->lock);
    for (int i = 0; i < HL_BUS_SLOTS; i++) {
        hl_bus_slot *s = &bus->slot[i];
        if (s->request.id != id || s->state == HL_BUS_SLOT_FREE)
            continue;
        state = s->state;
        if (state != HL_BUS_SLOT_WAITING)
            continue;
        snprintf(why, sizeof why, "withdrawn by uid %lld pid %lld", (long long)p->uid,
                 (long long)p->pid);
        hl_json_put_str(&s->answer, "status", "refused");
        hl_json_put_str(&s->answer, "reason", why);
        s->state = HL_BUS_SLOT_ANSWERED;
        hl_flag_add(&bus->n_waiting, -1);
    }
    hl_mutex_unlock(bus->lock);
    if (state == HL_BUS_SLOT_WAITING) {
        hl_json_put_str(answer, "status", "applied");
        hl_bus_net_wake(bus);
        return;
    }
    if (state == HL_BUS_SLOT_FREE)
        snprintf(why, sizeof why, "no request %lld is open", (long long)id);
    else
        snprintf(why, sizeof why, "request %lld has begun; stop ends what goes on", (long long)id);
    hl_json_put_str(answer, "status", "refused");
    hl_json_put_str(answer, "reason", why);
}

/* What this thread answers by itself. */
static void answer_here(hl_bus *bus, hl_bus_peer *p, const hl_bus_line *line)
{
    hl_str b = begin();
    char why[240];
    hl_json_put_int(&b, "id", line->id);
    if (line->cmd == HL_BUS_CMD_TAKE) {
        hl_bus_hold_take(bus, p, hl_json_bool(hl_json_get(line->args, "steal"), false), &b);
    } else if (line->cmd == HL_BUS_CMD_RELEASE) {
        hl_bus_hold_release(bus, p, &b);
    } else if (!hl_bus_hold_allows(bus, p, why, sizeof why)) {
        hl_json_put_str(&b, "status", "refused");
        hl_json_put_str(&b, "reason", why);
    } else if (line->cmd == HL_BUS_CMD_CANCEL) {
        cancel(bus, p, line->args, &b);
    } else {
        hl_json_put_str(&b, "status", "applied");
    }
    end(&b);
    queue(p, &b);
    hl_str_done(&b);
}

/* Puts the request into the mailbox and says so. */
static void accept_request(hl_bus *bus, hl_bus_peer *p, hl_bus_line *line)
{
    hl_bus_slot *slot = NULL;
    char why[240];
    const bool changes_run = line->cmd != HL_BUS_CMD_KNOBS && line->cmd != HL_BUS_CMD_FLAG;
    if (changes_run && !hl_bus_hold_allows(bus, p, why, sizeof why)) {
        refuse(p, line->id, why);
        return;
    }
    hl_mutex_lock(bus->lock);
    for (int i = 0; i < HL_BUS_SLOTS && !slot; i++)
        if (bus->slot[i].state == HL_BUS_SLOT_FREE)
            slot = &bus->slot[i];
    hl_bus_state state = bus->state;
    if (slot) {
        slot->request =
            (hl_bus_request){++bus->last_request, line->cmd, line->args, p->uid, p->pid};
        slot->peer = p->serial;
        slot->peer_id = line->id;
        slot->root = line->root;
        line->root = NULL;
        p->n_open++;
    }
    hl_mutex_unlock(bus->lock);
    if (!slot) {
        char reason[120];
        snprintf(reason, sizeof reason, "%d requests wait already; the run is %s", HL_BUS_SLOTS,
                 state.doing[0] ? state.doing : state.state);
        refuse(p, line->id, reason);
        return;
    }
    /* Said before the control thread can see it, so that "accepted" always comes first. */
    hl_str members = {0};
    hl_json_put_str(&members, "status", "accepted");
    hl_bus_state_add(&members, &state);
    report(bus, &slot->request, p->serial, line->id, hl_str_text(&members));
    hl_str_done(&members);
    hl_mutex_lock(bus->lock);
    slot->state = HL_BUS_SLOT_WAITING;
    hl_flag_add(&bus->n_waiting, 1);
    hl_mutex_unlock(bus->lock);
    hl_mutex_wake(bus->lock);
    if (bus->options.on_accept)
        bus->options.on_accept(bus->options.arg, &slot->request);
}

/* Does not come back where the run's process ends. */
static void abort_run(hl_bus *bus, hl_bus_peer *p, const hl_bus_line *line)
{
    char why[240];
    const hl_bus_request r = {.cmd = line->cmd, .args = line->args, .uid = p->uid, .pid = p->pid};
    const bool may = hl_bus_hold_allows(bus, p, why, sizeof why);
    answer_here(bus, p, line);
    if (may && bus->options.on_accept)
        bus->options.on_accept(bus->options.arg, &r);
}

static void handle_line(hl_bus *bus, hl_bus_peer *p, const char *text, size_t n)
{
    int64_t second = hl_clock_mono_ns() / SECOND_NS;
    p->n_in_second = second == p->second ? p->n_in_second + 1 : 1;
    p->second = second;
    if (p->n_in_second > HL_BUS_LINES_PER_SECOND) {
        refuse(p, -1, "too many requests a second; the connection is closed");
        p->dropped = true;
        return;
    }
    hl_bus_line line = {.id = -1};
    if (hl_bus_line_parse(text, n, &line) != HL_OK) {
        refuse(p, line.id, hl_err_message());
        p->dropped |= ++p->n_bad >= HL_BUS_BAD_LINES;
        return;
    }
    p->n_bad = 0;
    if (line.subscribe >= 0)
        subscribe(bus, p, line.subscribe);
    if (line.cmd == HL_BUS_CMD_STATUS)
        send_status(bus, p, line.id);
    else if (line.cmd >= HL_BUS_CMD_TAKE)
        answer_here(bus, p, &line);
    else if (line.cmd == HL_BUS_CMD_STOP && hl_json_bool(hl_json_get(line.args, "now"), false))
        abort_run(bus, p, &line);
    else
        accept_request(bus, p, &line);
    hl_bus_line_done(&line);
}

static void drop_long(hl_bus_peer *p)
{
    refuse(p, -1, "a line may have at most 64 KiB; the connection is closed");
    p->dropped = true;
}

/* Handles the complete lines of p->in; the new bytes begin at `from`. */
static void handle_input(hl_bus *bus, hl_bus_peer *p, size_t from)
{
    size_t start = 0;
    char *nl;
    while (!p->dropped && (nl = memchr(p->in.s + from, '\n', p->in.n - from))) {
        size_t n = (size_t)(nl - p->in.s) - start;
        if (n > HL_BUS_LINE_MAX)
            drop_long(p);
        else if (n > 0)
            handle_line(bus, p, p->in.s + start, n);
        start = from = (size_t)(nl - p->in.s) + 1;
        p->half_since_ns = 0;
    }
    p->in.n -= start;
    memmove(p->in.s, p->in.s + start, p->in.n);
    if (p->in.n && !p->half_since_ns)
        p->half_since_ns = hl_clock_mono_ns();
    if (p->in.n > HL_BUS_LINE_MAX && !p->dropped)
        drop_long(p);
}

/* One read per round, so that no client keeps the others waiting. */
static void receive(hl_bus *bus, hl_bus_peer *p)
{
    char bytes[16 * 1024];
    ssize_t n = recv(p->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n == 0 && !p->eof) {
        p->eof = true; /* it may still read: "printf ... | nc -U" */
        return;
    }
    if (n <= 0) {
        p->dropped = true;
        return;
    }
    size_t from = p->in.n;
    hl_str_addn(&p->in, bytes, (size_t)n);
    if (p->in.failed)
        p->dropped = true;
    else
        handle_input(bus, p, from);
}

static hl_bus_peer *free_place(hl_bus *bus)
{
    for (int i = 0; i < HL_BUS_PEERS; i++)
        if (!bus->peer[i].serial)
            return &bus->peer[i];
    return NULL;
}

/* false: nobody waits. */
static bool accept_client(hl_bus *bus)
{
    int fd = accept4(bus->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        /* Out of descriptors: the pending client keeps the listener readable, so look away. */
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            bus->accept_after_ns = hl_clock_mono_ns() + SECOND_NS / 10;
        return false;
    }
    struct ucred who = {0};
    socklen_t n = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) != 0 ||
        (who.uid != geteuid() && who.uid != 0)) {
        close(fd);
        return true;
    }
    hl_bus_peer extra = {0}, *p = free_place(bus);
    bool full = !p;
    if (full)
        p = &extra;
    *p = (hl_bus_peer){.fd = fd, .serial = ++bus->last_serial, .uid = who.uid, .pid = who.pid};
    if (full) {
        refuse(p, -1, "32 clients are connected to this run already");
        drop(bus, p);
    }
    return true;
}

/* Sends the answers and the states that the control thread left. */
static void deliver(hl_bus *bus)
{
    hl_bus_event event[HL_BUS_EVENTS];
    hl_mutex_lock(bus->lock);
    int n = bus->n_events;
    memcpy(event, bus->event, (size_t)n * sizeof *event);
    bus->n_events = 0;
    hl_mutex_unlock(bus->lock);
    for (int i = 0; i < n; i++) {
        hl_str b = begin();
        hl_json_put_str(&b, "ev", event[i].is_step ? "step" : "state");
        hl_bus_state_add(&b, &event[i].state);
        end(&b);
        hl_bus_net_broadcast(bus, &b, event[i].is_step);
        hl_str_done(&b);
    }
    for (int i = 0; i < HL_BUS_SLOTS; i++) {
        hl_bus_slot done = {0};
        hl_mutex_lock(bus->lock);
        if (bus->slot[i].state == HL_BUS_SLOT_ANSWERED) {
            done = bus->slot[i];
            bus->slot[i] = (hl_bus_slot){0};
        }
        hl_mutex_unlock(bus->lock);
        if (done.state == HL_BUS_SLOT_FREE)
            continue;
        for (int k = 0; k < HL_BUS_PEERS; k++)
            bus->peer[k].n_open -= bus->peer[k].serial == done.peer;
        report(bus, &done.request, done.peer, done.peer_id,
               done.answer.failed ? "\"status\":\"applied\"" : hl_str_text(&done.answer));
        hl_json_free(done.root);
        hl_str_done(&done.answer);
    }
}

static void drop_gone(hl_bus *bus)
{
    for (int i = 0; i < HL_BUS_PEERS; i++) {
        hl_bus_peer *p = &bus->peer[i];
        p->dropped |= p->eof && p->n_open == 0 && p->out_sent == p->out.n;
        if (p->serial && p->dropped)
            drop(bus, p);
    }
}

/* Accepts who waits. Whoever has just left may still hold a place, so a full house is looked at
 * again (a last request, the end of the stream, the hang-up: one round each) before refusing. */
static void accept_clients(hl_bus *bus)
{
    drop_gone(bus);
    for (int i = 0; i < HL_BUS_PEERS; i++) {
        bus->n_full = free_place(bus) ? 0 : bus->n_full + 1;
        if ((bus->n_full > 0 && bus->n_full < 4) || !accept_client(bus))
            return;
    }
}

/* Milliseconds until the next half line or pause of accepting runs out, -1: none. */
static int drop_late(hl_bus *bus)
{
    int64_t now = hl_clock_mono_ns(), next = INT64_MAX;
    if (bus->accept_after_ns)
        next = bus->accept_after_ns;
    for (int i = 0; i < HL_BUS_PEERS; i++) {
        hl_bus_peer *p = &bus->peer[i];
        if (p->serial && !p->dropped && p->half_since_ns) {
            int64_t due = p->half_since_ns + bus->options.half_line_ms * 1000000;
            if (due <= now) {
                refuse(p, -1, "half a line and no more; the connection is closed");
                p->dropped = true;
            } else if (due < next) {
                next = due;
            }
        }
    }
    drop_gone(bus);
    if (bus->accept_after_ns && bus->accept_after_ns <= now)
        next = bus->accept_after_ns = 0;
    return next == INT64_MAX ? -1 : next <= now ? 0 : (int)((next - now) / 1000000) + 1;
}

static void serve(hl_bus *bus)
{
    int timeout_ms = drop_late(bus);
    struct pollfd fd[2 + HL_BUS_PEERS];
    fd[0] = (struct pollfd){.fd = bus->wake_fd, .events = POLLIN};
    fd[1] = (struct pollfd){.fd = bus->accept_after_ns ? -1 : bus->listen_fd, .events = POLLIN};
    for (int i = 0; i < HL_BUS_PEERS; i++) {
        hl_bus_peer *p = &bus->peer[i];
        int events = (p->eof ? 0 : POLLIN) | (p->out_sent < p->out.n ? POLLOUT : 0);
        fd[2 + i] = (struct pollfd){.fd = p->serial ? p->fd : -1, .events = (short)events};
    }
    if (poll(fd, 2 + HL_BUS_PEERS, timeout_ms) < 0)
        return;
    uint64_t count;
    if (fd[0].revents && read(bus->wake_fd, &count, sizeof count) > 0)
        deliver(bus);
    for (int i = 0; i < HL_BUS_PEERS; i++) {
        hl_bus_peer *p = &bus->peer[i];
        if (p->serial && (fd[2 + i].revents & POLLOUT))
            flush(p);
        if (p->serial && !p->dropped && (fd[2 + i].revents & (POLLIN | POLLHUP | POLLERR)))
            receive(bus, p);
    }
    if (fd[1].revents)
        accept_clients(bus);
}

/* Refuses what is still open and gives the clients a moment to read it. */
static void say_farewell(hl_bus *bus)
{
    hl_str why = {0};
    hl_json_put_str(&why, "status", "refused");
    hl_json_put_str(&why, "reason", "the run has ended");
    deliver(bus);
    for (int i = 0; i < HL_BUS_SLOTS; i++)
        if (bus->slot[i].state != HL_BUS_SLOT_FREE)
            report(bus, &bus->slot[i].request, bus->slot[i].peer, bus->slot[i].peer_id,
                   hl_str_text(&why));
    hl_str_done(&why);
    int64_t until = hl_clock_mono_ns() + FAREWELL_NS;
    for (bool busy = true; busy && hl_clock_mono_ns() < until;) {
        busy = false;
        for (int i = 0; i < HL_BUS_PEERS; i++) {
            hl_bus_peer *p = &bus->peer[i];
            if (p->serial && !p->dropped && p->out_sent < p->out.n) {
                flush(p);
                busy |= !p->dropped && p->out_sent < p->out.n;
            }
        }
        if (busy)
            hl_clock_sleep_ms(5);
    }
    for (int i = 0; i < HL_BUS_PEERS; i++)
        if (bus->peer[i].serial)
            drop(bus, &bus->peer[i]);
}

void hl_bus_net_main(void *arg)
{
    hl_bus *bus = arg;
    while (!hl_flag_get(&bus->closing))
        serve(bus);
    say_farewell(bus);
}
