/* What can be changed while a run goes on. A value held here outlives a resume. */
#include <math.h>
#include <string.h>

#include "app/exp/train_internal.h"

/* Of equilibrium solves (engine/solve/fixed_point_op.c). */
static const char *const solve_knobs[HL_TRAIN_SOLVE_KNOBS] = {"deq.tol", "deq.max_iter",
                                                              "deq.memory"};

static int solve_knob(const char *name)
{
    for (int i = 0; i < HL_TRAIN_SOLVE_KNOBS; i++)
        if (strcmp(name, solve_knobs[i]) == 0)
            return i;
    return -1;
}

void hl_train_knobs_list(const hl_train *t, hl_str *out)
{
    hl_str_add(out, "lr");
    for (int i = 0; i < HL_TRAIN_SOLVE_KNOBS; i++)
        if (!isnan(hl_program_knob(t->plain.p, solve_knobs[i])))
            hl_str_addf(out, ", %s", solve_knobs[i]);
}

double hl_train_knob(const hl_train *t, const char *name)
{
    if (solve_knob(name) >= 0)
        return hl_program_knob(t->plain.p, name);
    if (strcmp(name, "lr") != 0)
        return nan("");
    const int64_t k = t->e->schedule.per_epoch ? t->next.epoch : t->step;
    return isnan(t->lr_hold) ? hl_schedule_lr(&t->e->schedule, t->e->lr, k) : t->lr_hold;
}

static hl_status set_lr(hl_train *t, double lr)
{
    if (!isnan(lr) && (!(lr >= 0) || isinf(lr)))
        return hl_err_set(HL_E_ARG, "lr must be a number >= 0, not %g", lr);
    t->lr_hold = lr; /* NAN: back to the schedule */
    return HL_OK;
}

static hl_status set_solve(hl_train *t, int i, double value)
{
    step_program *all[HL_TRAIN_PROGRAMS];
    hl_train_programs(t, all);
    for (int k = 0; k < HL_TRAIN_PROGRAMS; k++)
        if (all[k]->p && hl_program_tune(all[k]->p, solve_knobs[i], value) == 0 && k == 0)
            return hl_err_set(
                HL_E_ARG,
                "%s cannot be %g: tol is 0 or more, max_iter and memory are 1 to what "
                "the run was started with",
                solve_knobs[i], value);
    t->solve_hold[i] = value;
    return HL_OK;
}

hl_status hl_train_set_knob(hl_train *t, const char *name, double value)
{
    const int i = solve_knob(name);
    if (i >= 0 && !isnan(hl_train_knob(t, name)))
        return set_solve(t, i, value);
    if (strcmp(name, "lr") == 0)
        return set_lr(t, value);
    hl_str list = {0};
    hl_train_knobs_list(t, &list);
    hl_status st =
        hl_err_set(HL_E_ARG, "there is no knob '%s'; knobs: %s", name, hl_str_text(&list));
    hl_str_done(&list);
    return st;
}

void hl_train_knobs_put(const hl_train *t, hl_str *json)
{
    hl_json_put_num(json, "lr_hold", t->lr_hold);
    for (int i = 0; i < HL_TRAIN_SOLVE_KNOBS; i++)
        if (!isnan(t->solve_hold[i]))
            hl_json_put_num(json, solve_knobs[i], t->solve_hold[i]);
}

hl_status hl_train_knobs_take(hl_train *t, const hl_json *state)
{
    t->lr_hold = hl_json_num(hl_json_get(state, "lr_hold"), nan(""));
    for (int i = 0; i < HL_TRAIN_SOLVE_KNOBS; i++) {
        const double v = hl_json_num(hl_json_get(state, solve_knobs[i]), nan(""));
        hl_status st = isnan(v) ? HL_OK : hl_train_set_knob(t, solve_knobs[i], v);
        if (st != HL_OK)
            return st;
    }
    return HL_OK;
}
