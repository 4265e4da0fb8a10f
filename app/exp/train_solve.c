/* What the driver itself records of fixed-point solves, beside the curves that a model's metrics
 * give (scripts_lua/hop/deq_tools.lua): those that gradients take, and how long they all took. */
#include <math.h>
#include <stdio.h>

#include "app/exp/train_internal.h"

enum { EACH = 2 }; /* curves of a solve: movement, absolute residual */

static int curve_of(const hl_train *t, int i)
{
    char tag[64], place[16] = "";
    if (i >= EACH) /* several layers, in the order in which gradients pass them */
        snprintf(place, sizeof place, "%d/", i / EACH + 1);
    snprintf(tag, sizeof tag, "train/%sdeq/%s", place,
             i % EACH == 0 ? "backward" : "backward_absolute");
    return t->sink.series(t->sink.self, tag, HL_SERIES_CURVE, NULL);
}

hl_status hl_train_solve_open(hl_train *t)
{
    const hl_sink *k = &t->sink;
    const int n = EACH * t->watched.tg.n_solves;
    if (t->plain.p && !isnan(hl_program_knob(t->plain.p, HL_KNOB_DAMPING))) {
        t->s_solve_ms = k->series(k->self, "train/deq/solve_ms", HL_SERIES_SCALAR, NULL);
        t->s_backward_ms = k->series(k->self, "train/deq/backward_ms", HL_SERIES_SCALAR, NULL);
    }
    t->s_backward = hl_alloc_zero((size_t)n + 1, sizeof *t->s_backward);
    for (int i = 0; t->s_backward && i < n; i++)
        t->s_backward[i] = curve_of(t, i);
    return t->s_backward ? HL_OK : HL_E_NOMEM;
}

int64_t hl_train_solve_largest(const hl_train *t)
{
    const hl_train_graph *g = &t->watched.tg;
    int64_t most = 0;
    for (int i = 0; i < EACH * g->n_solves; i++) {
        const int64_t n = hl_type_count(hl_program_output_type(t->watched.p, g->first_solve + i));
        most = n > most ? n : most;
    }
    return most;
}

void hl_train_solve_report(hl_train *t)
{
    for (int i = 0; i < EACH * t->watched.tg.n_solves; i++) {
        const hl_type *type;
        const float *v = hl_train_curve(t, &t->watched, t->watched.tg.first_solve + i, &type);
        t->sink.curve(t->sink.self, t->s_backward[i], t->step, v, type->dim[0], type->dim[1]);
    }
}

static void log_ms(const hl_train *t, const step_program *p, int series, const char *what)
{
    const double ms = hl_program_measured(p->p, what);
    if (!isnan(ms))
        t->sink.scalar(t->sink.self, series, t->step, ms);
}

void hl_train_solve_log(hl_train *t, const step_program *p)
{
    log_ms(t, p, t->s_solve_ms, HL_KNOB_SOLVE_MS);
    log_ms(t, p, t->s_backward_ms, HL_KNOB_BACKWARD_MS);
}
