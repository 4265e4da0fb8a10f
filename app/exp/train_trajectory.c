/* How the equilibrium solves of a whole evaluation converged, kept as trajectory.json in the run
 * directory (docs/run-format.md): the numbers behind the figures of `hoplab export`. */
#include <string.h>

#include "app/exp/train_internal.h"

/* Number of the metric of this name among the curves of an evaluation, or -1. */
static int movement_of(const step_program *p)
{
    for (int i = p->trace->n_numbers; i < p->trace->n_metrics; i++)
        if (strcmp(p->trace->metric[i].name, HL_METRIC_MOVEMENT) == 0)
            return p->tg.first_metric + i;
    return -1;
}

hl_status hl_train_trajectory_begin(hl_train *t)
{
    const int out = movement_of(&t->eval);
    hl_trajectory_free(t->trajectory);
    t->trajectory = NULL;
    if (out < 0)
        return HL_OK;
    /* the first row is the movement away from the start, which the statistics leave out */
    const hl_type *type = hl_program_output_type(t->eval.p, out);
    if (type->rank != 2 || type->dim[0] < 2)
        return HL_OK;
    return hl_trajectory_new(type->dim[0] - 1, 0, &t->trajectory);
}

hl_status hl_train_trajectory_add(hl_train *t, const step_program *p, int64_t n_real)
{
    const int out = t->trajectory ? movement_of(p) : -1;
    if (out < 0)
        return HL_OK;
    const hl_type *type;
    const float *r = hl_train_curve(t, p, out, &type);
    const int64_t batch = type->dim[1];
    return hl_trajectory_add(t->trajectory, r + batch, batch, n_real < batch ? n_real : batch);
}

void hl_train_trajectory_end(hl_train *t)
{
    hl_str json = {0};
    if (t->trajectory && hl_trajectory_to_json(t->trajectory, &json) == HL_OK)
        t->s.host.artifact(t->s.host.self, "trajectory.json", hl_str_text(&json));
    hl_str_done(&json);
}
