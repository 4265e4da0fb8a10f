/* Client of a run's control socket. */
#define _GNU_SOURCE
#include "app/bus/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/bus/bus_internal.h"
#include "app/proc/host.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

#define LINE_MAX_BYTES ((size_t)4 << 20) /* results can be tables */
#define SEND_MS        2000

struct hl_bus_client {
    int fd;
    int64_t last_id;
    int64_t pid; /* of the worker */
    hl_str in;
    size_t used; /* bytes of `in` already returned */
};

hl_status hl_bus_client_open(const char *run_dir, hl_bus_client **out)
{
    hl_bus_client *c = hl_alloc_zero(1, sizeof *c);
    if (!c)
        return HL_E_NOMEM;
    hl_status st = hl_bus_address_connect(run_dir, &c->fd);
    if (st != HL_OK) {
        hl_free(c);
        return st;
    }
    struct ucred who = {0};
    socklen_t n = sizeof who;
    if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0)
        c->pid = who.pid;
    *out = c;
    return HL_OK;
}

void hl_bus_client_close(hl_bus_client *c)
{
    if (!c)
        return;
    close(c->fd);
    hl_str_done(&c->in);
    hl_free(c);
}

int hl_bus_client_fd(const hl_bus_client *c)
{
    return c->fd;
}

/* Remaining milliseconds for poll(); -1 when there is no deadline. */
static int left_ms(int64_t end_ns)
{
    if (end_ns == INT64_MAX)
        return -1;
    int64_t left = end_ns - hl_clock_mono_ns();
    return left <= 0 ? 0 : left >= INT64_C(3600000000000) ? 3600000 : (int)(left / 1000000) + 1;
}

static int64_t deadline(int64_t ms)
{
    return ms < 0 ? INT64_MAX : hl_clock_mono_ns() + ms * 1000000;
}

/* What the worker process is doing, from outside. */
static const char *describe_process(int64_t pid)
{
    switch (hl_host_process_state(pid)) {
    case 'T':
    case 't':
        return "stopped by a signal or a debugger";
    case 'D':
        return "waiting for a disk or device";
    case 'Z':
    case 'X':
    case 0:
        return "gone";
    default:
        return "alive but busy";
    }
}

static hl_status no_answer(const hl_bus_client *c, int64_t ms)
{
    return hl_err_set(HL_E_STATE, "the run did not answer within %.3g s; it is %s (process %lld)",
                      (double)ms / 1000, describe_process(c->pid), (long long)c->pid);
}

static hl_status send_all(hl_bus_client *c, const hl_str *text)
{
    int64_t end = deadline(SEND_MS);
    for (size_t sent = 0; sent < text->n;) {
        ssize_t n = send(c->fd, text->s + sent, text->n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            sent += (size_t)n;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return hl_err_set(HL_E_IO, "the run closed the connection: %s", strerror(errno));
        struct pollfd p = {.fd = c->fd, .events = POLLOUT};
        if (left_ms(end) == 0)
            return no_answer(c, SEND_MS);
        (void)poll(&p, 1, left_ms(end));
    }
    return HL_OK;
}

hl_status hl_bus_client_send(hl_bus_client *c, hl_bus_cmd cmd, const char *args_json,
                             hl_bus_subscription events, int64_t *id)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_int(&b, "v", HL_BUS_VERSION);
    hl_json_put_int(&b, "id", c->last_id + 1);
    hl_json_put_str(&b, "cmd", hl_bus_cmd_name(cmd));
    if (args_json) {
        hl_json_add_key(&b, "args");
        hl_str_add(&b, args_json);
    }
    if (events == HL_BUS_ALL_EVENTS)
        hl_json_put_bool(&b, "subscribe", true);
    else if (events == HL_BUS_QUIET)
        hl_json_put_str(&b, "subscribe", "quiet");
    hl_json_end(&b, '}');
    hl_str_addc(&b, '\n');
    hl_status st = hl_str_status(&b);
    if (st == HL_OK && b.n > HL_BUS_LINE_MAX)
        st = hl_err_set(HL_E_ARG, "a request may have at most %d bytes", HL_BUS_LINE_MAX);
    if (st == HL_OK)
        st = send_all(c, &b);
    if (st == HL_OK)
        *id = ++c->last_id;
    hl_str_done(&b);
    return st;
}

/* A complete line out of the buffer; false: more bytes are needed. */
static bool next_line(hl_bus_client *c, hl_status *st, hl_json **line)
{
    char *nl = c->in.n > c->used ? memchr(c->in.s + c->used, '\n', c->in.n - c->used) : NULL;
    if (!nl) {
        if (c->used) {
            c->in.n -= c->used;
            memmove(c->in.s, c->in.s + c->used, c->in.n);
            c->used = 0;
        }
        return false;
    }
    const char *text = c->in.s + c->used;
    c->used = (size_t)(nl - c->in.s) + 1;
    *st = hl_json_parse(text, (size_t)(nl - text), line);
    if (*st != HL_OK)
        *st = hl_err_context("answer of the run");
    return true;
}

hl_status hl_bus_client_read(hl_bus_client *c, int64_t ms, hl_json **line)
{
    hl_status st = HL_OK;
    hl_json *found = NULL;
    int64_t end = deadline(ms);
    while (!next_line(c, &st, &found)) {
        if (c->in.n > LINE_MAX_BYTES)
            return hl_err_set(HL_E_FORMAT, "the run sent a line of more than %zu bytes",
                              LINE_MAX_BYTES);
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        int wait_ms = left_ms(end), ready = poll(&p, 1, wait_ms);
        if (ready <= 0) {
            if (wait_ms != 0)
                continue;
            break;
        }
        char bytes[16 * 1024];
        ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n <= 0)
            return hl_err_set(HL_E_IO, "the run closed the connection%s",
                              n < 0 && errno != ECONNRESET ? " after an error" : "");
        hl_str_addn(&c->in, bytes, (size_t)n);
        if (hl_str_status(&c->in) != HL_OK)
            return HL_E_NOMEM;
    }
    if (st == HL_OK)
        *line = found;
    return st;
}

bool hl_bus_line_answers(const hl_json *line, int64_t id)
{
    const hl_json *number = hl_json_get(line, "id");
    return hl_json_int(number, -1) == id || (hl_json_is_null(number) && !hl_json_get(line, "ev"));
}

/* Next line that answers request `id`; events and answers to others are skipped. */
static hl_status read_answer(hl_bus_client *c, int64_t id, int64_t end_ns, hl_json **out)
{
    for (;;) {
        hl_json *line = NULL;
        hl_status st = hl_bus_client_read(c, left_ms(end_ns), &line);
        if (st != HL_OK)
            return st;
        if (!line || hl_bus_line_answers(line, id)) {
            *out = line;
            return HL_OK;
        }
        hl_json_free(line);
        if (left_ms(end_ns) == 0) {
            *out = NULL;
            return HL_OK;
        }
    }
}

/* Fills the message of a request that stands but was not applied in time. */
static void explain_delay(hl_bus_client *c, int64_t apply_ms, hl_bus_reply *r)
{
    int64_t id;
    hl_json *line = NULL;
    const char *doing = describe_process(c->pid);
    if (hl_bus_client_send(c, HL_BUS_CMD_STATUS, NULL, HL_BUS_NO_EVENTS, &id) == HL_OK &&
        read_answer(c, id, deadline(300), &line) == HL_OK && line) {
        doing = hl_json_str(hl_json_get(line, "state"), doing);
        doing = hl_json_str(hl_json_get(line, "doing"), doing);
    }
    snprintf(r->message, sizeof r->message,
             "accepted, but not applied within %.3g s; the run is %.100s", (double)apply_ms / 1000,
             doing);
    hl_json_free(line);
}

hl_status hl_bus_client_call(hl_bus_client *c, hl_bus_cmd cmd, const char *args_json,
                             int64_t accept_ms, int64_t apply_ms, hl_bus_reply *out)
{
    int64_t id, end = deadline(accept_ms);
    hl_bus_reply r = {.outcome = HL_BUS_OUTCOME_ACCEPTED, .step = -1};
    bool accepted = false;
    hl_status st = HL_OK;
    HL_TRY(hl_bus_client_send(c, cmd, args_json, HL_BUS_NO_EVENTS, &id));
    for (;;) {
        hl_json *line = NULL;
        HL_TRY(read_answer(c, id, end, &line));
        if (!line && !accepted) {
            st = no_answer(c, accept_ms);
            goto out;
        }
        if (!line) {
            explain_delay(c, apply_ms, &r);
            break;
        }
        hl_json_free(r.line);
        r.line = line;
        r.request = hl_json_int(hl_json_get(line, "request"), 0);
        const char *status = hl_json_str(hl_json_get(line, "status"), "");
        if (strcmp(status, "accepted") == 0) {
            accepted = true;
            end = deadline(apply_ms);
            continue;
        }
        bool applied = strcmp(status, "applied") == 0;
        r.outcome = applied ? HL_BUS_OUTCOME_APPLIED : HL_BUS_OUTCOME_REFUSED;
        r.step = hl_json_int(hl_json_get(line, "step"), -1);
        if (!applied)
            snprintf(r.message, sizeof r.message, "%s",
                     hl_json_str(hl_json_get(line, "reason"), "no reason was given"));
        break;
    }
    *out = r;
    r.line = NULL;
out:
    hl_json_free(r.line);
    return st;
}

void hl_bus_reply_done(hl_bus_reply *reply)
{
    hl_json_free(reply->line);
    reply->line = NULL;
}
