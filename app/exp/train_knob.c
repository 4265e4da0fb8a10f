/* What can be changed while a run goes on. A value held here outlives a resume. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/exp/train_internal.h"

enum {
    LR,
    LR_SCALE,
    CLIP,
    LOG_EVERY,
    EVAL_EVERY,
    SAVE_EVERY,
    PROBE_EVERY,
    SOLVE, /* from here on the engine's: engine/solve/knob.h */
    DAMPING,
    MAX_ITER, /* and from here on at most what the run began with */
    MEMORY
};

/* least: of a whole number, or of any. What a run does not have is no knob of it. */
static const struct {
    const char *name;
    double least;
    bool is_whole;
} knobs[HL_TRAIN_KNOBS] = {
    [LR] = {"lr", 0, false},
    [LR_SCALE] = {"lr.scale", 0, false},
    [CLIP] = {"train.max_grad_norm", 1e-12, false},
    [LOG_EVERY] = {"log.every", 1, true},
    [EVAL_EVERY] = {"eval.every", 0, true},
    [SAVE_EVERY] = {"save.every", 0, true},
    [PROBE_EVERY] = {"probe.every", 0, true},
    [SOLVE] = {HL_KNOB_TOL, 0, false},
    [DAMPING] = {HL_KNOB_DAMPING, 0, false},
    [MAX_ITER] = {HL_KNOB_MAX_ITER, 1, true},
    [MEMORY] = {HL_KNOB_MEMORY, 1, true},
};

static const hl_exp_knob *declared(const hl_train *t, int k)
{
    for (size_t i = 0; i < t->e->n_knobs; i++)
        if (strcmp(t->e->knobs[i].name, knobs[k].name) == 0)
            return &t->e->knobs[i];
    return NULL;
}

static double by_schedule(const hl_train *t)
{
    if (t->other.from >= 0)
        return hl_schedule_lr(&t->other.s, t->other.peak, t->step - t->other.from);
    const int64_t k = t->e->schedule.per_epoch ? t->next.epoch : t->step;
    return hl_schedule_lr(&t->e->schedule, t->e->lr, k);
}

/* What applies now; NAN: the run has no such knob. */
static double value_of(const hl_train *t, int k)
{
    if (!t->plain.p)
        return nan("");
    switch (k) {
    case LR:
        return isnan(t->hold[LR]) ? by_schedule(t) * value_of(t, LR_SCALE) : t->hold[LR];
    case LR_SCALE:
        return isnan(t->hold[LR_SCALE]) ? 1 : t->hold[LR_SCALE];
    case CLIP:
        return t->e->max_grad_norm > 0 ? t->e->max_grad_norm : nan("");
    case LOG_EVERY:
        return (double)t->e->log_every;
    case EVAL_EVERY:
        return t->eval.p ? (double)t->e->eval_every : nan("");
    case SAVE_EVERY:
        return (double)t->e->save_every;
    case PROBE_EVERY:
        return t->watched.p ? (double)t->e->probe_every : nan("");
    default:
        return hl_program_knob(t->plain.p, knobs[k].name);
    }
}

static bool is_there(const hl_train *t, int k)
{
    return !isnan(value_of(t, k)) && (t->e->n_knobs == 0 || declared(t, k));
}

static int find(const char *name)
{
    for (int k = 0; k < HL_TRAIN_KNOBS; k++)
        if (strcmp(name, knobs[k].name) == 0)
            return k;
    return -1;
}

double hl_train_knob(const hl_train *t, const char *name)
{
    const int k = find(name);
    return k >= 0 ? value_of(t, k) : nan("");
}

/* ---- turning one ---- */

static void set_solve(hl_train *t, int k, double value)
{
    step_program *all[HL_TRAIN_PROGRAMS];
    hl_train_programs(t, all);
    for (int i = 0; i < HL_TRAIN_PROGRAMS; i++)
        if (all[i]->p)
            (void)hl_program_tune(all[i]->p, knobs[k].name, value);
}

/* value NAN: back to what the run began with. */
static void apply(hl_train *t, int k, double value)
{
    const double v = isnan(value) ? t->start[k] : value;
    t->hold[k] = value;
    switch (k) {
    case LR:
        t->other.from = -1;
        break;
    case LR_SCALE: /* of the schedule, so that is what applies */
        t->hold[LR] = nan("");
        break;
    case CLIP:
        t->e->max_grad_norm = v;
        break;
    case LOG_EVERY:
        t->e->log_every = (int64_t)v;
        break;
    case EVAL_EVERY:
        t->e->eval_every = (int64_t)v;
        break;
    case SAVE_EVERY:
        t->e->save_every = (int64_t)v;
        break;
    case PROBE_EVERY:
        t->e->probe_every = (int64_t)v;
        break;
    default:
        set_solve(t, k, value);
    }
}

/* The ends of what it may be: its own, narrowed to what the script says. */
static void range_of(const hl_train *t, int k, double *least, double *most)
{
    const hl_exp_knob *d = declared(t, k);
    *least = knobs[k].least;
    *most = k >= MAX_ITER       ? t->start[k]
            : k == DAMPING      ? HL_DAMPING_MAX
            : knobs[k].is_whole ? 1e15
                                : HUGE_VAL;
    if (d && !isnan(d->least))
        *least = fmax(*least, d->least);
    if (d && !isnan(d->most))
        *most = fmin(*most, d->most);
}

static hl_status check(const hl_train *t, int k, double value)
{
    double least, most;
    range_of(t, k, &least, &most);
    if (value >= least && value <= most && isfinite(value) &&
        (!knobs[k].is_whole || value == floor(value)))
        return HL_OK;
    const char *what = knobs[k].is_whole ? "a whole number" : "a number";
    if (most > 1e14)
        return hl_err_set(HL_E_ARG, "%s must be %s of %g or more, not %g", knobs[k].name, what,
                          least, value);
    return hl_err_set(HL_E_ARG, "%s must be %s from %g to %g, not %g", knobs[k].name, what, least,
                      most, value);
}

static hl_status unknown(const hl_train *t, const char *name)
{
    const char *names[HL_TRAIN_KNOBS];
    hl_str list = {0};
    int n = 0;
    for (int k = 0; k < HL_TRAIN_KNOBS; k++)
        if (is_there(t, k)) {
            hl_str_addf(&list, "%s%s", n ? ", " : "", knobs[k].name);
            names[n++] = knobs[k].name;
        }
    const int near = hl_str_nearest(name, names, n);
    const hl_status st = hl_err_set(HL_E_ARG, "there is no knob '%s'%s%s; knobs: %s", name,
                                    near >= 0 ? ", did you mean " : "",
                                    near >= 0 ? names[near] : "", hl_str_text(&list));
    hl_str_done(&list);
    return st;
}

hl_status hl_train_set_knob(hl_train *t, const char *name, double value)
{
    const int k = find(name);
    if (k < 0 || !is_there(t, k))
        return unknown(t, name);
    if (!isnan(value)) {
        const hl_status st = check(t, k, value);
        if (st != HL_OK)
            return st;
    }
    apply(t, k, value);
    return HL_OK;
}

hl_status hl_train_set_schedule(hl_train *t, const char *name, const char *text)
{
    hl_status st = HL_OK;
    other_schedule o = {.from = t->step};
    if (strcmp(name, knobs[LR].name) != 0)
        return find(name) < 0 || !is_there(t, find(name))
                   ? unknown(t, name)
                   : hl_err_set(HL_E_ARG, "%s takes a number, not '%s'", name, text);
    if (!is_there(t, LR))
        return unknown(t, name);
    HL_TRY_CTX(hl_schedule_read(text, &o.s, &o.peak), "lr");
    if (isnan(o.peak))
        o.peak = value_of(t, LR);
    HL_TRY(check(t, LR, o.peak));
    if (o.s.total == 0)
        o.s.total = t->e->max_steps > t->step ? t->e->max_steps - t->step : 1;
    snprintf(o.text, sizeof o.text, "%s", text);
    t->hold[LR] = t->hold[LR_SCALE] = nan("");
    t->other = o;
out:
    return st;
}

/* ---- what there is ---- */

void hl_train_knobs_open(hl_train *t)
{
    t->other.from = -1;
    for (int k = 0; k < HL_TRAIN_KNOBS; k++) {
        t->hold[k] = nan("");
        t->start[k] = nan("");
    }
}

hl_status hl_train_knobs_begin(hl_train *t)
{
    const char *names[HL_TRAIN_KNOBS];
    for (int k = 0; k < HL_TRAIN_KNOBS; k++) {
        names[k] = knobs[k].name;
        t->start[k] = k == LR ? nan("") : value_of(t, k);
    }
    for (size_t i = 0; i < t->e->n_knobs; i++) {
        const char *name = t->e->knobs[i].name;
        const int near = find(name) < 0 ? hl_str_nearest(name, names, HL_TRAIN_KNOBS) : -1;
        if (find(name) < 0)
            return hl_err_set(HL_E_ARG, "knobs: there is no knob '%s'%s%s", name,
                              near >= 0 ? ", did you mean " : "", near >= 0 ? names[near] : "");
    }
    return HL_OK;
}

void hl_train_knobs_json(const hl_train *t, hl_str *b)
{
    hl_json_begin(b, '{');
    for (int k = 0; k < HL_TRAIN_KNOBS; k++) {
        double least, most;
        if (!is_there(t, k))
            continue;
        range_of(t, k, &least, &most);
        hl_json_add_key(b, knobs[k].name);
        hl_json_begin(b, '{');
        hl_json_put_num(b, "value", value_of(t, k));
        hl_json_put_bool(b, "held", !isnan(t->hold[k]));
        if (k == LR && t->other.from >= 0)
            hl_json_put_str(b, "schedule", t->other.text);
        hl_json_put_num(b, "min", least);
        if (most < 1e15)
            hl_json_put_num(b, "max", most);
        hl_json_put_bool(b, "whole", knobs[k].is_whole);
        hl_json_end(b, '}');
    }
    hl_json_end(b, '}');
}

void hl_train_knobs_tell(hl_train *t)
{
    const hl_sink *k = &t->sink;
    hl_str b = {0};
    hl_train_knobs_json(t, &b);
    if (hl_str_status(&b) == HL_OK)
        k->json(k->self, k->series(k->self, "knobs", HL_SERIES_JSON, "knobs"), t->step, b.s);
    hl_str_done(&b);
}

/* ---- across a resume ---- */

static const char *key_of(int k)
{
    return k == LR ? "lr_hold" : knobs[k].name;
}

void hl_train_knobs_put(const hl_train *t, hl_str *json)
{
    for (int k = 0; k < HL_TRAIN_KNOBS; k++)
        if (!isnan(t->hold[k]) || k == LR)
            hl_json_put_num(json, key_of(k), t->hold[k]);
    if (t->other.from < 0)
        return;
    hl_json_add_key(json, "lr_schedule");
    hl_json_begin(json, '{');
    hl_json_put_str(json, "text", t->other.text);
    hl_json_put_int(json, "from", t->other.from);
    hl_json_put_int(json, "steps", t->other.s.total);
    hl_json_put_num(json, "peak", t->other.peak);
    hl_json_end(json, '}');
}

/* As it was: what the text leaves open was decided when it was asked for. */
static hl_status take_schedule(hl_train *t, const hl_json *saved)
{
    hl_status st = HL_OK;
    other_schedule o = {.from = hl_json_int(hl_json_get(saved, "from"), -1)};
    if (o.from < 0)
        return HL_OK;
    snprintf(o.text, sizeof o.text, "%s", hl_json_str(hl_json_get(saved, "text"), ""));
    HL_TRY_CTX(hl_schedule_read(o.text, &o.s, &o.peak), "lr_schedule");
    o.peak = hl_json_num_at(saved, "peak");
    o.s.total = hl_json_int(hl_json_get(saved, "steps"), 0);
    if (!(o.peak >= 0) || o.s.total < 1)
        HL_FAIL(HL_E_FORMAT, "state.json: lr_schedule has no peak or no steps");
    t->other = o;
out:
    return st;
}

hl_status hl_train_knobs_take(hl_train *t, const hl_json *state)
{
    const hl_status taken = take_schedule(t, hl_json_get(state, "lr_schedule"));
    if (taken != HL_OK)
        return taken;
    for (int k = 0; k < HL_TRAIN_KNOBS; k++) {
        const double v = hl_json_num(hl_json_get(state, key_of(k)), nan(""));
        const hl_status st = isnan(v) ? HL_OK : hl_train_set_knob(t, knobs[k].name, v);
        if (st != HL_OK)
            return st;
    }
    return HL_OK;
}
