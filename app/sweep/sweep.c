#include "app/sweep/sweep.h"

#include <stdio.h>
#include <string.h>

#include "app/store/lock.h"
#include "app/store/run_dir.h"
#include "engine/base/mem.h"

const char *hl_trial_state_name(hl_trial_state s)
{
    static const char *const names[HL_TRIAL_STATE_COUNT] = {
        "new", "interrupted", "queued", "live", "running", "done", "stopped", "failed"};
    return names[s];
}

/* "<base>:lr=0.001,seed=2" */
static hl_status make_name(const char *base, const hl_json *values, char **out)
{
    hl_str b = {0};
    hl_str_add(&b, base);
    char separator = ':';
    for (const hl_json *v = hl_json_at(values, 0); v; v = hl_json_next(v), separator = ',')
        hl_str_addf(&b, "%c%s=%s", separator, hl_json_str(hl_json_at(v, 2), ""),
                    hl_json_str(hl_json_at(v, 1), ""));
    hl_status st = hl_str_status(&b);
    *out = st == HL_OK ? hl_strdup(hl_str_text(&b)) : NULL;
    hl_str_done(&b);
    return *out ? HL_OK : HL_E_NOMEM;
}

hl_status hl_sweep_init(hl_sweep *s, hl_json *plan)
{
    const hl_json *points = hl_json_get(plan, "points");
    *s = (hl_sweep){.plan = plan, .name = hl_json_str(hl_json_get(plan, "name"), "sweep")};
    s->trials = hl_alloc_zero((size_t)hl_json_len(points) + 1, sizeof *s->trials);
    if (!s->trials)
        return HL_E_NOMEM;
    for (const hl_json *p = hl_json_at(points, 0); p; p = hl_json_next(p)) {
        hl_trial *t = &s->trials[s->n++];
        t->values = p;
        if (make_name(s->name, p, &t->name) != HL_OK)
            return HL_E_NOMEM;
    }
    return HL_OK;
}

static void trial_done(hl_trial *t)
{
    hl_launch_free(t->launch);
    hl_run_close(t->run);
    hl_free(t->dir);
    hl_free(t->task_log);
    hl_free(t->name);
}

void hl_sweep_done(hl_sweep *s)
{
    for (size_t i = 0; i < s->n; i++)
        trial_done(&s->trials[i]);
    hl_free(s->trials);
    hl_json_free(s->plan);
    *s = (hl_sweep){0};
}

void hl_sweep_drop(hl_sweep *s, size_t i)
{
    trial_done(&s->trials[i]);
    memmove(&s->trials[i], &s->trials[i + 1], (s->n - i - 1) * sizeof *s->trials);
    s->n--;
}

/* ---- what the store knows ---- */

static bool has_identity(const char *dir, uint64_t identity)
{
    char text[20];
    hl_json *facts = NULL;
    snprintf(text, sizeof text, "%016llx", (unsigned long long)identity);
    const bool same = hl_run_dir_read_json(dir, "run.json", &facts) == HL_OK &&
                      strcmp(hl_json_str(hl_json_get(facts, "identity"), ""), text) == 0;
    hl_json_free(facts);
    return same;
}

static hl_trial_state state_of(const hl_run_row *row)
{
    hl_lock_view view;
    switch (row->state) {
    case HL_RUN_DONE:
        return HL_TRIAL_DONE;
    case HL_RUN_STOPPED:
        return HL_TRIAL_STOPPED;
    case HL_RUN_FAILED:
    case HL_RUN_DIVERGED:
        return HL_TRIAL_FAILED;
    case HL_RUN_INTERRUPTED:
    case HL_RUN_LOST:
    case HL_RUN_UNKNOWN:
        return HL_TRIAL_INTERRUPTED;
    default: /* of another machine: it lives as long as it is heard of in time */
        hl_lock_look(row->dir, &view);
        const hl_tristate live = hl_lock_is_live(&view);
        return live == HL_YES || (live == HL_UNKNOWN && row->state != HL_RUN_SILENT)
                   ? HL_TRIAL_LIVE
                   : HL_TRIAL_INTERRUPTED;
    }
}

static hl_status take_run(hl_trial *t, const hl_run_row *row, hl_trial_state state)
{
    char *dir = hl_strdup(row->dir);
    if (!dir)
        return HL_E_NOMEM;
    hl_free(t->dir);
    t->dir = dir;
    t->state = state;
    if (state == HL_TRIAL_FAILED)
        snprintf(t->message, sizeof t->message, "%s", row->message);
    return HL_OK;
}

static hl_status look_for(hl_trial *t, const hl_run_list *list, hl_trial_identify *identify,
                          void *arg)
{
    uint64_t identity = 0;
    bool known = false;
    for (size_t i = hl_run_list_n(list); i-- > 0;) { /* the newest first */
        const hl_run_row *row = hl_run_list_at(list, i);
        if (strcmp(row->name, t->name) != 0)
            continue;
        hl_status st = known ? HL_OK : identify(arg, t, &identity);
        if (st != HL_OK)
            return st;
        known = true;
        if (!has_identity(row->dir, identity))
            continue;
        const hl_trial_state state = state_of(row);
        if (!t->dir || state == HL_TRIAL_DONE)
            st = take_run(t, row, state);
        if (st != HL_OK || state == HL_TRIAL_DONE)
            return st == HL_OK ? hl_run_open(t->dir, &t->run) : st;
    }
    return HL_OK;
}

hl_status hl_sweep_look(hl_sweep *s, const char *runs_dir, hl_trial_identify *identify, void *arg)
{
    hl_status st = HL_OK;
    hl_run_list *list = NULL;
    HL_TRY(hl_run_list_open(runs_dir, &list));
    for (size_t i = 0; i < s->n; i++)
        if (s->trials[i].state != HL_TRIAL_DONE && s->trials[i].state != HL_TRIAL_QUEUED)
            HL_TRY(look_for(&s->trials[i], list, identify, arg));
out:
    hl_run_list_close(list);
    return st;
}
