#include "views/request.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"

enum { LATE_MS = 2000 };

static void end(hl_asked *a, hl_request_state state)
{
    a->state = state;
    hl_bus_client_close(a->client);
    a->client = NULL;
}

static void forget(hl_asked *a)
{
    hl_bus_client_close(a->client);
    hl_free(a->dir);
}

void hl_requests_done(hl_requests *r)
{
    for (size_t i = 0; i < r->asked.n; i++)
        forget(&r->asked.at[i]);
    hl_vec_done(&r->asked);
}

bool hl_requests_is_open(const hl_asked *a)
{
    return a->client != NULL;
}

bool hl_requests_is_late(const hl_requests *r, const char *dir)
{
    for (size_t i = 0; i < r->asked.n; i++)
        if (r->asked.at[i].client && r->asked.at[i].state == HL_ASKED_LATE &&
            strcmp(r->asked.at[i].dir, dir) == 0)
            return true;
    return false;
}

hl_status hl_requests_send(hl_requests *r, const hl_run_row *row, hl_bus_cmd cmd,
                           const char *args_json, const char *what)
{
    hl_asked a = {.step = -1, .t_us = hl_clock_wall_us(), .sent_ns = hl_clock_mono_ns()};
    snprintf(a.run, sizeof a.run, "%s", row->name);
    snprintf(a.what, sizeof a.what, "%s", what);
    a.dir = hl_strdup(row->dir);
    if (!a.dir || hl_vec_reserve(&r->asked, r->asked.n + 1) != HL_OK) {
        hl_free(a.dir);
        return HL_E_NOMEM;
    }
    hl_status st = hl_bus_client_open(row->dir, &a.client);
    if (st == HL_OK)
        st = hl_bus_client_send(a.client, cmd, args_json, false, &a.id);
    if (st != HL_OK) {
        snprintf(a.message, sizeof a.message, "%s", hl_err_message());
        end(&a, HL_ASKED_FAILED);
    }
    if (r->asked.n >= HL_ASKED_KEPT) {
        forget(&r->asked.at[0]);
        memmove(r->asked.at, r->asked.at + 1, --r->asked.n * sizeof *r->asked.at);
    }
    r->asked.at[r->asked.n++] = a;
    return HL_OK;
}

int hl_requests_fds(const hl_requests *r, struct pollfd *fds, int n_max)
{
    int n = 0;
    for (size_t i = 0; i < r->asked.n && n < n_max; i++)
        if (r->asked.at[i].client)
            fds[n++] =
                (struct pollfd){.fd = hl_bus_client_fd(r->asked.at[i].client), .events = POLLIN};
    return n;
}

int hl_requests_timeout_ms(const hl_requests *r)
{
    int64_t least = -1;
    for (size_t i = 0; i < r->asked.n; i++) {
        const hl_asked *a = &r->asked.at[i];
        if (!a->client || a->state != HL_ASKED_SENT)
            continue;
        int64_t left = LATE_MS - (hl_clock_mono_ns() - a->sent_ns) / 1000000;
        left = left < 0 ? 0 : left;
        least = least < 0 || left < least ? left : least;
    }
    return least < 0 ? -1 : (int)least + 1;
}

/* One answer of the run. */
static void take_answer(hl_asked *a, const hl_json *line)
{
    const char *status = hl_json_str(hl_json_get(line, "status"), "");
    a->number = hl_json_int(hl_json_get(line, "request"), a->number);
    if (strcmp(status, "accepted") == 0) {
        a->state = HL_ASKED_ACCEPTED;
        snprintf(
            a->message, sizeof a->message, "%s",
            hl_json_str(hl_json_get(line, "doing"), hl_json_str(hl_json_get(line, "state"), "")));
    } else if (strcmp(status, "applied") == 0) {
        a->step = hl_json_int(hl_json_get(line, "step"), -1);
        end(a, HL_ASKED_APPLIED);
    } else {
        snprintf(a->message, sizeof a->message, "%s",
                 hl_json_str(hl_json_get(line, "reason"), "no reason was given"));
        end(a, HL_ASKED_REFUSED);
    }
}

static bool update(hl_asked *a)
{
    bool changed = false;
    while (a->client) {
        hl_json *line = NULL;
        if (hl_bus_client_read(a->client, 0, &line) != HL_OK) {
            snprintf(a->message, sizeof a->message, "%s", hl_err_message());
            end(a, HL_ASKED_FAILED);
            return true;
        }
        if (!line)
            break;
        if (hl_bus_line_answers(line, a->id)) {
            take_answer(a, line);
            changed = true;
        }
        hl_json_free(line);
    }
    if (a->client && a->state == HL_ASKED_SENT &&
        hl_clock_mono_ns() - a->sent_ns >= LATE_MS * INT64_C(1000000)) {
        a->state = HL_ASKED_LATE;
        snprintf(a->message, sizeof a->message, "not accepted within 2 s: the process is busy");
        changed = true;
    }
    return changed;
}

bool hl_requests_update(hl_requests *r, const hl_asked **news)
{
    bool any = false;
    for (size_t i = 0; i < r->asked.n; i++)
        if (r->asked.at[i].client && update(&r->asked.at[i])) {
            any = true;
            *news = &r->asked.at[i];
        }
    return any;
}

const char *hl_asked_text(const hl_asked *a, char *buf, size_t n)
{
    switch (a->state) {
    case HL_ASKED_SENT:
        snprintf(buf, n, "%s: asked", a->what);
        break;
    case HL_ASKED_LATE:
        snprintf(buf, n, "%s: %s", a->what, a->message);
        break;
    case HL_ASKED_ACCEPTED:
        snprintf(buf, n, "%s: accepted%s%s", a->what, a->message[0] ? ", the run is " : "",
                 a->message);
        break;
    case HL_ASKED_APPLIED:
        if (a->step >= 0)
            snprintf(buf, n, "%s: applied at step %lld", a->what, (long long)a->step);
        else
            snprintf(buf, n, "%s: applied", a->what);
        break;
    case HL_ASKED_REFUSED:
        snprintf(buf, n, "%s: refused: %s", a->what, a->message);
        break;
    case HL_ASKED_FAILED:
        snprintf(buf, n, "%s: %s", a->what, a->message);
        break;
    }
    return buf;
}
