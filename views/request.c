#include "views/request.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"

enum { LATE_MS = 2000 };

/* ---- connections ---- */

static void close_link(hl_link *l)
{
    hl_bus_client_close(l->client);
    hl_free(l->dir);
}

static void drop_link(hl_requests *r, size_t i)
{
    close_link(&r->links.at[i]);
    r->links.n--;
    memmove(&r->links.at[i], &r->links.at[i + 1], (r->links.n - i) * sizeof *r->links.at);
}

static hl_link *find_link(const hl_requests *r, const char *dir)
{
    for (size_t i = 0; i < r->links.n; i++)
        if (strcmp(r->links.at[i].dir, dir) == 0)
            return &r->links.at[i];
    return NULL;
}

const hl_link *hl_requests_link(const hl_requests *r, const char *dir)
{
    return find_link(r, dir);
}

static bool has_open(const hl_requests *r, const char *dir)
{
    return hl_requests_open(r, dir) != NULL;
}

/* The run's connection, made if there is none; of many the first one without a question open goes.
 */
static hl_status get_link(hl_requests *r, const char *dir, hl_link **out)
{
    *out = find_link(r, dir);
    if (*out)
        return HL_OK;
    hl_link l = {.dir = hl_strdup(dir)};
    hl_status st = l.dir ? hl_bus_client_open(dir, &l.client) : HL_E_NOMEM;
    for (size_t i = 0; st == HL_OK && r->links.n >= HL_LINKS_MAX && i < r->links.n; i++)
        if (!has_open(r, r->links.at[i].dir) || i + 1 == r->links.n) {
            drop_link(r, i);
            break;
        }
    if (st == HL_OK)
        st = hl_vec_push(&r->links, l);
    if (st != HL_OK) {
        hl_bus_client_close(l.client);
        hl_free(l.dir);
        return st;
    }
    *out = &r->links.at[r->links.n - 1];
    return HL_OK;
}

/* ---- asking ---- */

static void end(hl_asked *a, hl_request_state state)
{
    a->state = state;
    a->is_open = false;
    if (a->cmd == HL_BUS_CMD_LUA && !a->answer)
        a->answer = hl_strdup(a->message);
}

static void forget(hl_asked *a)
{
    hl_free(a->dir);
    hl_free(a->answer);
}

void hl_requests_done(hl_requests *r)
{
    for (size_t i = 0; i < r->asked.n; i++)
        forget(&r->asked.at[i]);
    for (size_t i = 0; i < r->links.n; i++)
        close_link(&r->links.at[i]);
    hl_vec_done(&r->asked);
    hl_vec_done(&r->links);
}

const hl_asked *hl_requests_open(const hl_requests *r, const char *dir)
{
    for (size_t i = r->asked.n; i-- > 0;)
        if (r->asked.at[i].is_open && strcmp(r->asked.at[i].dir, dir) == 0)
            return &r->asked.at[i];
    return NULL;
}

bool hl_requests_is_late(const hl_requests *r, const char *dir)
{
    for (size_t i = 0; i < r->asked.n; i++)
        if (r->asked.at[i].is_open && r->asked.at[i].state == HL_ASKED_LATE &&
            strcmp(r->asked.at[i].dir, dir) == 0)
            return true;
    return false;
}

static bool has_controls(const hl_link *l)
{
    return l->holder && l->holder == l->my_pid;
}

static hl_status send(hl_link *l, hl_bus_cmd cmd, const char *args_json, int64_t *id)
{
    hl_status st = HL_OK;
    if (cmd == HL_BUS_CMD_TAKE)
        st = hl_bus_client_send(l->client, cmd, args_json, HL_BUS_QUIET, id);
    else if (cmd != HL_BUS_CMD_RELEASE && cmd != HL_BUS_CMD_STATUS && !has_controls(l))
        st = hl_bus_client_send(l->client, HL_BUS_CMD_TAKE, NULL, HL_BUS_QUIET, &l->take_id);
    if (st == HL_OK && cmd != HL_BUS_CMD_TAKE)
        st = hl_bus_client_send(l->client, cmd, args_json, HL_BUS_NO_EVENTS, id);
    return st;
}

hl_status hl_requests_send(hl_requests *r, const hl_run_row *row, hl_bus_cmd cmd,
                           const char *args_json, const char *what)
{
    hl_asked a = {.cmd = cmd,
                  .step = -1,
                  .is_open = true,
                  .t_us = hl_clock_wall_us(),
                  .sent_ns = hl_clock_mono_ns()};
    hl_link *l;
    snprintf(a.run, sizeof a.run, "%s", row->name);
    snprintf(a.what, sizeof a.what, "%s", what);
    a.dir = hl_strdup(row->dir);
    if (!a.dir || hl_vec_reserve(&r->asked, r->asked.n + 1) != HL_OK) {
        hl_free(a.dir);
        return HL_E_NOMEM;
    }
    hl_status st = get_link(r, row->dir, &l);
    if (st == HL_OK)
        st = send(l, cmd, args_json, &a.id);
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

/* ---- waiting ---- */

int hl_requests_fds(const hl_requests *r, struct pollfd *fds, int n_max)
{
    int n = 0;
    for (size_t i = 0; i < r->links.n && n < n_max; i++)
        fds[n++] = (struct pollfd){.fd = hl_bus_client_fd(r->links.at[i].client), .events = POLLIN};
    return n;
}

int hl_requests_timeout_ms(const hl_requests *r)
{
    int64_t least = -1;
    for (size_t i = 0; i < r->asked.n; i++) {
        const hl_asked *a = &r->asked.at[i];
        if (!a->is_open || a->state != HL_ASKED_SENT)
            continue;
        int64_t left = LATE_MS - (hl_clock_mono_ns() - a->sent_ns) / 1000000;
        left = left < 0 ? 0 : left;
        least = least < 0 || left < least ? left : least;
    }
    return least < 0 ? -1 : (int)least + 1;
}

/* ---- answers ---- */

static const char *doing_of(const hl_json *line)
{
    return hl_json_str(hl_json_get(line, "doing"), hl_json_str(hl_json_get(line, "state"), ""));
}

/* "2 requests: #3 eval by pid 42, begun; #4 quantize by pid 42" */
static void put_queue(hl_asked *a, const hl_json *list)
{
    size_t used = (size_t)snprintf(a->message, sizeof a->message, "%s",
                                   hl_json_len(list) ? "" : "no request waits");
    for (const hl_json *r = hl_json_at(list, 0); r && used < sizeof a->message; r = hl_json_next(r))
        used += (size_t)snprintf(a->message + used, sizeof a->message - used,
                                 "%s#%lld %.20s by pid %lld%s", used ? "; " : "",
                                 (long long)hl_json_int(hl_json_get(r, "request"), 0),
                                 hl_json_str(hl_json_get(r, "cmd"), "?"),
                                 (long long)hl_json_int(hl_json_get(r, "pid"), 0),
                                 hl_json_bool(hl_json_get(r, "begun"), false) ? ", begun" : "");
}

static void take_answer(hl_asked *a, const hl_json *line)
{
    const char *status = hl_json_str(hl_json_get(line, "status"), "");
    a->number = hl_json_int(hl_json_get(line, "request"), a->number);
    if (strcmp(status, "accepted") == 0) {
        a->state = HL_ASKED_ACCEPTED;
        snprintf(a->message, sizeof a->message, "%s", doing_of(line));
    } else if (strcmp(status, "applied") == 0) {
        a->step = hl_json_int(hl_json_get(line, "step"), -1);
        const char *text = hl_json_str(hl_json_get(hl_json_get(line, "result"), "text"), "");
        snprintf(a->message, sizeof a->message, "%.*s", (int)strcspn(text, "\n"), text);
        if (a->cmd == HL_BUS_CMD_LUA)
            a->answer = hl_strdup(text);
        if (a->cmd == HL_BUS_CMD_STATUS)
            put_queue(a, hl_json_get(line, "requests"));
        end(a, HL_ASKED_APPLIED);
    } else {
        snprintf(a->message, sizeof a->message, "%s",
                 hl_json_str(hl_json_get(line, "reason"), "no reason was given"));
        end(a, HL_ASKED_REFUSED);
    }
}

static void take_holder(hl_link *l, const hl_json *line, bool is_mine)
{
    const hl_json *holder = hl_json_get(line, "holder");
    if (!holder)
        return;
    l->holder = hl_json_int(hl_json_get(holder, "pid"), 0);
    l->uid = hl_json_int(hl_json_get(holder, "uid"), -1);
    if (is_mine)
        l->my_pid = l->holder;
}

/* What goes on in the run is what its accepted requests wait for; gives one of them. */
static hl_asked *take_state(hl_requests *r, hl_link *l, const hl_json *line)
{
    hl_asked *last = NULL;
    snprintf(l->doing, sizeof l->doing, "%s", doing_of(line));
    for (size_t i = 0; i < r->asked.n; i++) {
        hl_asked *a = &r->asked.at[i];
        if (!a->is_open || a->state != HL_ASKED_ACCEPTED || strcmp(a->dir, l->dir) != 0)
            continue;
        snprintf(a->message, sizeof a->message, "%s", l->doing);
        last = a;
    }
    return last;
}

/* The entry that the line answers; NULL: none does. */
static hl_asked *take_line(hl_requests *r, hl_link *l, const hl_json *line)
{
    const char *ev = hl_json_str(hl_json_get(line, "ev"), "");
    const bool applied = strcmp(hl_json_str(hl_json_get(line, "status"), ""), "applied") == 0;
    if (strcmp(ev, "holder") == 0)
        take_holder(l, line, false);
    else if (strcmp(ev, "state") == 0)
        return take_state(r, l, line);
    if (*ev)
        return NULL;
    if (l->take_id && hl_bus_line_answers(line, l->take_id))
        take_holder(l, line, applied);
    for (size_t i = 0; i < r->asked.n; i++) {
        hl_asked *a = &r->asked.at[i];
        if (!a->is_open || strcmp(a->dir, l->dir) != 0 || !hl_bus_line_answers(line, a->id))
            continue;
        if (a->cmd == HL_BUS_CMD_TAKE)
            take_holder(l, line, applied);
        if (a->cmd == HL_BUS_CMD_RELEASE && applied)
            l->holder = 0;
        take_answer(a, line);
        return a;
    }
    return NULL;
}

/* The connection broke: nothing more will come. */
static hl_asked *lose(hl_requests *r, const hl_link *l)
{
    hl_asked *last = NULL;
    for (size_t i = 0; i < r->asked.n; i++) {
        hl_asked *a = &r->asked.at[i];
        if (!a->is_open || strcmp(a->dir, l->dir) != 0)
            continue;
        snprintf(a->message, sizeof a->message, "%s", hl_err_message());
        end(a, HL_ASKED_FAILED);
        last = a;
    }
    return last;
}

/* false: the connection is over. */
static bool update_link(hl_requests *r, hl_link *l, bool *changed, const hl_asked **news)
{
    for (;;) {
        hl_json *line = NULL;
        if (hl_bus_client_read(l->client, 0, &line) != HL_OK) {
            const hl_asked *lost = lose(r, l);
            *news = lost ? lost : *news;
            *changed = true;
            return false;
        }
        if (!line)
            return true;
        const hl_asked *a = take_line(r, l, line);
        *news = a ? a : *news;
        *changed = true;
        hl_json_free(line);
    }
}

bool hl_requests_update(hl_requests *r, const hl_asked **news)
{
    bool changed = false;
    *news = NULL;
    for (size_t i = r->links.n; i-- > 0;)
        if (!update_link(r, &r->links.at[i], &changed, news))
            drop_link(r, i);
    for (size_t i = 0; i < r->asked.n; i++) {
        hl_asked *a = &r->asked.at[i];
        if (!a->is_open || a->state != HL_ASKED_SENT ||
            hl_clock_mono_ns() - a->sent_ns < LATE_MS * INT64_C(1000000))
            continue;
        a->state = HL_ASKED_LATE;
        snprintf(a->message, sizeof a->message, "not accepted within 2 s: the process is busy");
        *news = a;
        changed = true;
    }
    return changed;
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
        if (a->cmd == HL_BUS_CMD_STATUS)
            snprintf(buf, n, "%s: %s", a->what, a->message);
        else if (a->step >= 0)
            snprintf(buf, n, "%s: applied at step %lld%s%s", a->what, (long long)a->step,
                     a->message[0] ? ", " : "", a->message);
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
