/* A run again with the changes of knobs and the evaluations that another one met: they are asked
 * for at the same steps, by nobody but the record. An evaluation is made again also where it
 * failed, since it may have changed something before. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/hl_app.h"
#include "app/worker_internal.h"
#include "engine/base/fs.h"

static void add(worker *w, int64_t step, const hl_json *v)
{
    hl_replayed r = {.step = step};
    const hl_json *value = hl_json_get(v, "value");
    const char *text = hl_json_str(value, "");
    snprintf(r.knob, sizeof r.knob, "%s", hl_json_str(hl_json_get(v, "cmd"), ""));
    r.value = hl_json_num(value, nan(""));
    if (hl_json_is_string(value) && !hl_json_is_number(value))
        snprintf(r.text, sizeof r.text, "%s", text);
    if (hl_vec_push(&w->replay, r) != HL_OK)
        w->replay_failed = true;
}

static void add_code(worker *w, int64_t step, const hl_json *v)
{
    const hl_replayed r = {.step = step,
                           .code = hl_strdup(hl_json_str(hl_json_get(v, "value"), ""))};
    if (r.code && hl_vec_push(&w->replay, r) == HL_OK)
        return;
    hl_free(r.code);
    w->replay_failed = true;
}

static void take_json(void *self, size_t series, int64_t step, int64_t t_us, const char *text,
                      size_t n)
{
    worker *w = self;
    hl_json *v;
    (void)t_us;
    if (strcmp(hl_run_series_at(w->replay_of, series).content, "control") != 0 ||
        hl_json_parse(text, n, &v) != HL_OK)
        return;
    if (hl_control_turns_knob(v))
        add(w, step, v);
    else if (hl_control_evaluates(v))
        add_code(w, step, v);
    hl_json_free(v);
}

/* That run was resumed from before: what it had met since is met no more. */
static void forget(void *self, int64_t from)
{
    worker *w = self;
    while (w->replay.n && w->replay.at[w->replay.n - 1].step >= from)
        hl_free(w->replay.at[--w->replay.n].code);
}

void hl_worker_replay_done(worker *w)
{
    forget(w, INT64_MIN);
    hl_vec_done(&w->replay);
}

hl_status hl_worker_replay_open(worker *w, const char *run)
{
    hl_status st = HL_OK;
    char *dir = NULL;
    const hl_run_visitor v = {.self = w, .json = take_json, .superseded = forget};
    HL_TRY(hl_run_find(w->o->runs_dir, run, &dir));
    HL_TRY(hl_run_open(dir, &w->replay_of));
    HL_TRY(hl_run_scan(w->replay_of, &v, false));
    if (w->replay_failed)
        HL_FAIL(HL_E_NOMEM, "no memory for the changes of %s", dir);
    snprintf(w->replay_id, sizeof w->replay_id, "%.40s", hl_fs_base(dir));
out:
    hl_run_close(w->replay_of);
    w->replay_of = NULL;
    hl_free(dir);
    return st;
}

bool hl_worker_replay_next(worker *w, hl_request *out)
{
    while (w->replayed < w->replay.n && w->replay.at[w->replayed].step < w->resume_step)
        w->replayed++; /* the checkpoint knows them */
    if (w->replayed >= w->replay.n || w->state.step < w->replay.at[w->replayed].step)
        return false;
    const hl_replayed *r = &w->replay.at[w->replayed++];
    *out = (hl_request){.kind = r->code ? HL_REQUEST_LUA : HL_REQUEST_SET,
                        .id = -1,
                        .value = r->value,
                        .code = r->code};
    snprintf(out->name, sizeof out->name, "%s", r->code ? "lua" : r->knob);
    snprintf(out->text, sizeof out->text, "%s", r->text);
    snprintf(out->who, sizeof out->who, "replay of %s", w->replay_id);
    return true;
}
