/* Quantizing the model of a run: at its end over some calibrations, or now, on request. Both look
 * at the weights and change nothing of the training: what is run has drivers of its own. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/exp/quantize_event.h"
#include "app/exp/train_internal.h"
#include "engine/base/clock.h"

static const char *const keys[HL_TRAIN_QUANT] = {
    "quant_loss",           "quant_perplexity", "quant_perplexity_executed",
    "quant_perplexity_std", "quant_accuracy",   "quant_accuracy_executed"};
enum { LOSS, PERPLEXITY, EXECUTED, DEVIATION, ACCURACY, ACCURACY_EXECUTED };

/* What one calibration comes to. */
typedef struct outcome {
    hl_json *in_float, *simulated, *executed, *tensors; /* in_float: NULL unless asked for */
} outcome;

static void outcome_done(outcome *o)
{
    hl_json_free(o->in_float);
    hl_json_free(o->simulated);
    hl_json_free(o->executed);
    hl_json_free(o->tensors);
}

/* Of models that give one. */
static double accuracy(const hl_json *result)
{
    return hl_json_num(hl_json_get(hl_json_get(result, "metrics"), "eval/accuracy"), nan(""));
}

/* Somebody who wants the run to stop does not wait for what can be had again. */
static int has_to_end(void *self)
{
    const hl_train *t = self;
    const int sig = t->s.host.stop_signal(t->s.host.self);
    return sig ? sig : t->s.host.stop_waits(t->s.host.self) ? -1 : 0;
}

static hl_status open_quantized(hl_train *t, hl_experiment *e, hl_quantized **q)
{
    hl_train_host host = hl_silent_host();
    host.self = t; /* the others look at nothing */
    host.stop_signal = has_to_end;
    const hl_train_setup setup = {.exp = e, .team = t->s.team, .host = host, .eval_only = true};
    return hl_quantized_new(&setup, q);
}

static void say(const hl_train *t, const char *text)
{
    t->s.host.doing(t->s.host.self, text);
}

static hl_status one_calibration(hl_train *t, hl_quantized *q, int64_t subset, outcome *o)
{
    hl_status st = HL_OK;
    double seconds;
    say(t, "quantizing: ranges");
    HL_TRY(hl_quantized_calibrate(q, subset));
    say(t, "quantizing: simulated");
    HL_TRY(hl_quantized_evaluate(q, false, &o->simulated, &seconds));
    say(t, "quantizing: in integers");
    if (hl_quantized_executes(q))
        HL_TRY(hl_quantized_evaluate(q, true, &o->executed, &seconds));
    HL_TRY(hl_quantized_sites(q, &o->tensors));
out:
    return st;
}

static hl_status in_float(hl_train *t, hl_quantized *q, bool as_run, outcome *o)
{
    double seconds;
    if (as_run && t->result.valid && t->result.step == t->step)
        return hl_train_result(t, &o->in_float);
    say(t, "quantizing: in float");
    return hl_quantized_in_float(q, &o->in_float, &seconds);
}

/* As an event. */
static hl_status put_event(hl_train *t, const outcome *o, hl_quantize_event *e)
{
    hl_status st = HL_OK;
    hl_str label = {0}, tag = {0}, json = {0};
    const hl_sink *k = &t->sink;
    hl_quantize_label(e->exp, &label);
    hl_str_addf(&tag, HL_QUANTIZE_TAG "%s", hl_str_text(&label));
    e->label = hl_str_text(&label);
    e->step = t->step;
    e->in_float = o->in_float;
    e->simulated = o->simulated;
    e->executed = o->executed;
    e->tensors = o->tensors;
    HL_TRY(hl_quantize_event_put(e, &json));
    k->json(k->self, k->series(k->self, hl_str_text(&tag), HL_SERIES_JSON, "table"), t->step,
            json.s);
out:
    e->label = NULL;
    hl_str_done(&label);
    hl_str_done(&tag);
    hl_str_done(&json);
    return st;
}

/* As an event and as a line, which text gets too. */
static hl_status tell(hl_train *t, const outcome *o, hl_quantize_event *e, hl_str *text)
{
    double before, after;
    const hl_status st = put_event(t, o, e);
    if (st != HL_OK)
        return st;
    hl_str_add(text, "quantized ");
    hl_quantize_label(e->exp, text);
    const char *metric = hl_quantize_metric(o->in_float, &before);
    (void)hl_quantize_metric(o->executed ? o->executed : o->simulated, &after);
    hl_str_addf(text, ": %s %.4g becomes %.4g (%+.3g)", metric, before, after, after - before);
    hl_train_notice(t, HL_NOTICE_INFO, hl_str_text(text));
    return hl_str_status(text);
}

static void log_loss(hl_train *t, double loss, double perplexity)
{
    hl_train_log_scalar(t, "eval/quant_loss", loss);
    if (t->e->source.is_text)
        hl_train_log_scalar(t, "eval/quant_ppl", perplexity);
}

static hl_status at_end(hl_train *t)
{
    hl_status st = HL_OK;
    const int64_t n = t->e->quant.n_subsets;
    double mean[HL_TRAIN_QUANT] = {0}, squares = 0; /* of distances to the mean (Welford) */
    outcome first = {0}, o = {0};
    hl_quantized *q = NULL;
    hl_str text = {0};
    for (int64_t i = 0; i < n; i++) {
        hl_quantized_free(q); /* ranges begin anew */
        q = NULL;
        HL_TRY(open_quantized(t, t->e, &q));
        if (i == 0)
            HL_TRY(in_float(t, q, true, &o));
        HL_TRY(one_calibration(t, q, i, &o));
        const double v[HL_TRAIN_QUANT] = {[LOSS] = hl_json_num_at(o.simulated, "eval_loss"),
                                          [PERPLEXITY] = hl_json_num_at(o.simulated, "perplexity"),
                                          [EXECUTED] = hl_json_num_at(o.executed, "perplexity"),
                                          [ACCURACY] = accuracy(o.simulated),
                                          [ACCURACY_EXECUTED] = accuracy(o.executed)};
        const double before = mean[PERPLEXITY];
        for (int k = 0; k < HL_TRAIN_QUANT; k++)
            mean[k] += (v[k] - mean[k]) / (double)(i + 1);
        squares += (v[PERPLEXITY] - before) * (v[PERPLEXITY] - mean[PERPLEXITY]);
        if (i == 0)
            first = o;
        else
            outcome_done(&o);
        o = (outcome){0};
    }
    mean[DEVIATION] = n > 1 ? sqrt(squares / (double)(n - 1)) : nan("");
    for (int k = 0; k < HL_TRAIN_QUANT; k++)
        t->quant[k] = mean[k];
    t->is_quantized = true;
    log_loss(t, mean[LOSS], mean[PERPLEXITY]);
    if (!isnan(mean[ACCURACY]))
        hl_train_log_scalar(t, "eval/quant_accuracy", mean[ACCURACY]);
    hl_quantize_event e = {.exp = t->e,
                           .by = "end of run",
                           .n_subsets = isnan(mean[PERPLEXITY]) ? 0 : n,
                           .mean = mean[PERPLEXITY],
                           .deviation = mean[DEVIATION]};
    HL_TRY(tell(t, &first, &e, &text));
out:
    hl_quantized_free(q);
    hl_str_done(&text);
    outcome_done(&first);
    outcome_done(&o);
    return st;
}

/* ---- on request ---- */

enum { SETS_MAX = 32 };

/* What was asked for, and what it comes to. */
typedef struct asked {
    hl_train *t;
    hl_experiment e; /* the run's, with this recipe */
    hl_quant_plan plan;
    bool has_plan;
    const char *sets[SETS_MAX + 1]; /* without those that the recipe itself says */
    int64_t sensitivity;
    outcome o;
    hl_quantize_event event;
    int64_t told_ns;
} asked;

static hl_status count_at(const hl_json *args, const char *key, int64_t otherwise, int64_t *out)
{
    const hl_json *v = hl_json_get(args, key);
    *out = v ? hl_json_int(v, -1) : otherwise;
    return v && *out < 1 ? hl_err_set(HL_E_ARG, "%s must be at least 1 batch", key) : HL_OK;
}

static hl_status read_args(asked *a, const hl_json *args)
{
    hl_status st = HL_OK;
    const hl_json *sets = hl_json_get(args, "set");
    const hl_hooks *h = &a->t->e->hooks;
    int n = 0;
    a->e = *a->t->e;
    HL_TRY(count_at(args, "limit", a->e.eval_batches, &a->e.eval_batches));
    HL_TRY(count_at(args, "sensitivity", 0, &a->sensitivity));
    for (const hl_json *s = hl_json_at(sets, 0); s; s = hl_json_next(s)) {
        const char *text = hl_json_str(s, "");
        if (!hl_str_starts(text, "quantize.") || !strchr(text, '='))
            HL_FAIL(HL_E_ARG,
                    "'%.60s': of a live run the recipe alone can be changed, as "
                    "quantize.percentile=99.9",
                    text);
        if (n == SETS_MAX)
            HL_FAIL(HL_E_ARG, "at most %d settings", SETS_MAX);
        if (!hl_str_starts(text, "quantize.skip="))
            a->sets[n++] = text;
    }
    if (hl_json_len(sets) > 0 && !h->quant_plan)
        HL_FAIL(HL_E_UNSUPPORTED, "the recipe of this run cannot be changed");
    a->has_plan = hl_json_len(sets) > 0;
    if (a->has_plan) {
        HL_TRY(h->quant_plan(h->self, sets, &a->plan));
        a->e.quant = a->plan;
    }
out:
    return st;
}

/* Every few seconds what is known of the ranks is told. */
static void ranked(void *self, size_t n, size_t of, const hl_json *so_far)
{
    enum { EACH_NS = 2000000000 };
    asked *a = self;
    char text[60];
    snprintf(text, sizeof text, "sensitivity, %zu of %zu tensors", n, of);
    say(a->t, text);
    const int64_t now = hl_clock_mono_ns();
    if (now - a->told_ns < EACH_NS)
        return;
    a->told_ns = now;
    a->event.sensitivity = so_far;
    a->event.n_tried = n;
    a->event.n_to_try = of;
    HL_IGNORE(put_event(a->t, &a->o, &a->event));
    a->t->sink.flush(a->t->sink.self);
    a->event.sensitivity = NULL;
    a->event.n_tried = a->event.n_to_try = 0;
}

static hl_status rank(asked *a, hl_quantized *q, hl_json **list)
{
    const hl_quantized_watch watch = {.self = a, .ranked = ranked};
    a->told_ns = hl_clock_mono_ns();
    return a->sensitivity ? hl_quantized_sensitivity(q, a->sensitivity, &watch, list) : HL_OK;
}

static void log_request(const asked *a)
{
    if (!a->has_plan && a->e.eval_batches == a->t->e->eval_batches)
        log_loss(a->t, hl_json_num(hl_json_get(a->o.simulated, "eval_loss"), nan("")),
                 hl_json_num(hl_json_get(a->o.simulated, "perplexity"), nan("")));
}

static hl_status now(asked *a, const hl_json *args, hl_str *result)
{
    hl_status st = HL_OK;
    hl_quantized *q = NULL;
    hl_json *list = NULL;
    HL_TRY(read_args(a, args));
    HL_TRY(open_quantized(a->t, &a->e, &q));
    HL_TRY(in_float(a->t, q, a->e.eval_batches == a->t->e->eval_batches, &a->o));
    HL_TRY(one_calibration(a->t, q, 0, &a->o));
    a->event = (hl_quantize_event){
        .exp = &a->e, .by = "request", .sets = a->sets, .sensitivity_batches = a->sensitivity};
    HL_TRY(rank(a, q, &list));
    a->event.sensitivity = list;
    HL_TRY(tell(a->t, &a->o, &a->event, result));
    log_request(a);
out:
    hl_quantized_free(q);
    hl_json_free(list);
    return st;
}

static hl_status begin(hl_train *t)
{
    if (!t->eval.p)
        return hl_err_set(HL_E_STATE, "this experiment has nothing to evaluate on");
    t->s.host.phase(t->s.host.self, HL_PHASE_QUANTIZING, t->step);
    return HL_OK;
}

hl_status hl_train_quantize_end(hl_train *t)
{
    hl_status st = begin(t);
    if (st != HL_OK)
        return st;
    st = at_end(t);
    hl_train_go_on(t);
    return st;
}

hl_status hl_train_quantize_now(hl_train *t, const hl_json *args, hl_str *result)
{
    hl_status st = begin(t);
    if (st != HL_OK)
        return st;
    asked *a = hl_alloc_zero(1, sizeof *a); /* too large for a stack of frames */
    if (a) {
        a->t = t;
        st = now(a, args, result);
        outcome_done(&a->o);
        hl_quant_plan_done(&a->plan);
        hl_free(a);
    }
    hl_train_go_on(t);
    return a ? st : HL_E_NOMEM;
}

void hl_train_quant_put(const hl_train *t, hl_str *json)
{
    for (int k = 0; t->is_quantized && k < HL_TRAIN_QUANT; k++)
        if (!isnan(t->quant[k]))
            hl_json_put_num(json, keys[k], t->quant[k]);
}
