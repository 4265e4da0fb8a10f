/* Where a step's time goes. Now and then one step is run with a look at the clock before and behind
 * each operation, which tells forward, backward, update and watching apart; between such steps only
 * what lies around the programs is added up. */
#include "app/exp/train_internal.h"
#include "engine/base/clock.h"

enum { SECOND = 1000000000 };

/* Often at first, so that a short run has something; then every ten seconds. */
static int64_t pause_ns(const step_clock *k, int64_t now)
{
    return (int64_t)(now - k->start_ns < 60 * (int64_t)SECOND ? 2 : 10) * SECOND;
}

/* Sets of outputs: the loss; the gradient norm, which needs all gradients; metrics and taps. The
 * rest clips and updates. */
static hl_status divide(step_program *p)
{
    enum { SETS = 3 };
    hl_status st = HL_OK;
    const int n_taps = p->n_taps * (p->bins ? 2 : 1);
    const int n_watch = p->tg.first_tap - p->tg.first_metric + n_taps;
    int *outputs = hl_alloc((size_t)(2 + n_watch) * sizeof *outputs);
    const int first[SETS + 1] = {0, 1, 2, 2 + n_watch};
    if (!outputs)
        return HL_E_NOMEM;
    outputs[0] = HL_TRAIN_LOSS;
    outputs[1] = HL_TRAIN_GRAD_NORM;
    for (int i = 0; i < n_watch; i++)
        outputs[2 + i] = p->tg.first_metric + i;
    st = hl_program_divide(p->p, outputs, first, SETS);
    hl_free(outputs);
    return st;
}

/* What accumulates has a loss, and adds gradients up. */
static hl_status divide_gather(step_program *p)
{
    static const int loss[] = {HL_TRAIN_LOSS}, first[] = {0, 1};
    return hl_program_divide(p->p, loss, first, 1);
}

hl_status hl_train_time_open(hl_train *t)
{
    static const char *const tags[HL_TRAIN_TIMES] = {
        [HL_TIME_FORWARD] = "sys/forward_ms", [HL_TIME_BACKWARD] = "sys/backward_ms",
        [HL_TIME_WATCH] = "sys/watch_ms",     [HL_TIME_UPDATE] = "sys/update_ms",
        [HL_TIME_LOG] = "sys/log_ms",         [HL_TIME_EVAL] = "sys/eval_ms",
        [HL_TIME_SAVE] = "sys/save_ms"};
    hl_status st = HL_OK;
    step_program *const all[] = {&t->plain, &t->plain_rest, &t->watched};
    for (int i = 0; i < HL_TRAIN_TIMES; i++)
        t->clock.series[i] = t->sink.series(t->sink.self, tags[i], HL_SERIES_SCALAR, NULL);
    t->clock.probe_series = t->sink.series(t->sink.self, "sys/probe_ms", HL_SERIES_SCALAR, NULL);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i]->p)
            HL_TRY(divide(all[i]));
    if (t->gather.p)
        HL_TRY(divide_gather(&t->gather));
out:
    return st;
}

void hl_train_time_step(hl_train *t, bool watched, double ms)
{
    step_clock *k = &t->clock;
    if (k->samples ||
        t->step == 1) /* slowed by being measured, or by memory seen for the first time */
        return;
    k->steps[watched].ms += ms;
    k->steps[watched].n++;
}

/* What watching adds to a step, in the mean over all of them. */
static void tell_probe(hl_train *t)
{
    step_clock *k = &t->clock;
    const hl_sink *s = &t->sink;
    const double n_plain = (double)k->steps[0].n, n_watched = (double)k->steps[1].n;
    if (n_plain == 0 || n_watched == 0)
        return;
    const double more = k->steps[1].ms / n_watched - k->steps[0].ms / n_plain;
    s->scalar(s->self, k->probe_series, t->step,
              (more > 0 ? more : 0) * n_watched / (n_plain + n_watched));
    for (int i = 0; i < 2; i++) {
        k->steps[i].ms = 0;
        k->steps[i].n = 0;
    }
}

static void profile(hl_train *t, bool on)
{
    step_program *const all[] = {&t->plain, &t->plain_rest, &t->watched, &t->gather};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i]->p)
            hl_program_profile(all[i]->p, on);
}

void hl_train_time_begin(hl_train *t)
{
    step_clock *k = &t->clock;
    const int64_t now = hl_clock_mono_ns();
    if (!k->start_ns)
        k->start_ns = now;
    /* the second step is the first that is not slowed by memory seen for the first time */
    k->samples = k->sampled_ns ? now - k->sampled_ns >= pause_ns(k, now) : k->n_steps > 0;
    if (k->samples)
        profile(t, true);
    k->at_ns = now;
}

void hl_train_time_lap(hl_train *t, hl_train_time what)
{
    const int64_t now = hl_clock_mono_ns();
    t->clock.ms[what] += (double)(now - t->clock.at_ns) * 1e-6;
    t->clock.at_ns = now;
}

static void read_programs(hl_train *t)
{
    step_program *const all[] = {&t->plain, &t->plain_rest, &t->watched};
    double ms[HL_PROGRAM_PARTS], *out = t->clock.ms;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (!all[i]->p)
            continue;
        hl_program_part_ms(all[i]->p, ms);
        out[HL_TIME_FORWARD] += ms[0];
        out[HL_TIME_BACKWARD] += ms[1];
        out[HL_TIME_WATCH] += ms[2];
        out[HL_TIME_UPDATE] += ms[3];
    }
    if (t->gather.p) {
        hl_program_part_ms(t->gather.p, ms);
        out[HL_TIME_FORWARD] += ms[0];
        out[HL_TIME_BACKWARD] += ms[1];
    }
    profile(t, false);
}

void hl_train_time_end(hl_train *t)
{
    step_clock *k = &t->clock;
    const hl_sink *s = &t->sink;
    k->n_steps++;
    if (t->step == t->e->max_steps)
        tell_probe(t);
    if (!k->samples)
        return;
    tell_probe(t);
    read_programs(t);
    for (int i = 0; i < HL_TRAIN_TIMES; i++) {
        const double each = i < HL_TIME_LOG ? 1 : (double)k->n_steps;
        s->scalar(s->self, k->series[i], t->step, k->ms[i] / each);
        k->ms[i] = 0;
    }
    k->n_steps = 0;
    k->sampled_ns = hl_clock_mono_ns();
    k->samples = false;
}
