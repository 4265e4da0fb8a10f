/* Quantizing the model of a run: at its end over some calibrations, or now, on request. Both look
 * at the weights and change nothing of the training: what is run has drivers of its own. */
#include <math.h>
#include <stdio.h>

#include "app/exp/quantize_event.h"
#include "app/exp/train_internal.h"

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

static hl_status one_calibration(hl_train *t, int64_t subset, bool in_float, outcome *o)
{
    hl_status st = HL_OK;
    hl_quantized *q = NULL;
    double seconds;
    hl_train_host host = hl_silent_host();
    host.self = t->s.host.self; /* the others look at nothing */
    host.stop_signal = t->s.host.stop_signal;
    const hl_train_setup setup = {.exp = t->e, .team = t->s.team, .host = host, .eval_only = true};
    HL_TRY(hl_quantized_new(&setup, &q));
    if (in_float && t->result.valid && t->result.step == t->step)
        HL_TRY(hl_train_result(t, &o->in_float));
    else if (in_float)
        HL_TRY(hl_quantized_in_float(q, &o->in_float, &seconds));
    HL_TRY(hl_quantized_calibrate(q, subset));
    HL_TRY(hl_quantized_evaluate(q, false, &o->simulated, &seconds));
    if (hl_quantized_executes(q))
        HL_TRY(hl_quantized_evaluate(q, true, &o->executed, &seconds));
    HL_TRY(hl_quantized_sites(q, &o->tensors));
out:
    hl_quantized_free(q);
    return st;
}

/* As an event, as points of the curves, and as a line. */
static hl_status tell(hl_train *t, const outcome *o, const char *by, hl_quantize_event *e)
{
    hl_status st = HL_OK;
    hl_str label = {0}, tag = {0}, json = {0}, text = {0};
    double before, after;
    const hl_sink *k = &t->sink;
    hl_quantize_label(t->e, &label);
    hl_str_addf(&tag, HL_QUANTIZE_TAG "%s", hl_str_text(&label));
    e->exp = t->e;
    e->label = hl_str_text(&label);
    e->by = by;
    e->step = t->step;
    e->in_float = o->in_float;
    e->simulated = o->simulated;
    e->executed = o->executed;
    e->tensors = o->tensors;
    HL_TRY(hl_quantize_event_put(e, &json));
    k->json(k->self, k->series(k->self, hl_str_text(&tag), HL_SERIES_JSON, "table"), t->step,
            json.s);
    const char *metric = hl_quantize_metric(o->in_float, &before);
    (void)hl_quantize_metric(o->executed ? o->executed : o->simulated, &after);
    hl_str_addf(&text, "quantized %s: %s %.4g becomes %.4g (%+.3g)", e->label, metric, before,
                after, after - before);
    hl_train_notice(t, HL_NOTICE_INFO, hl_str_text(&text));
out:
    hl_str_done(&label);
    hl_str_done(&tag);
    hl_str_done(&json);
    hl_str_done(&text);
    return st;
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
    for (int64_t i = 0; i < n; i++) {
        HL_TRY(one_calibration(t, i, i == 0, &o));
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
    hl_quantize_event e = {.n_subsets = isnan(mean[PERPLEXITY]) ? 0 : n,
                           .mean = mean[PERPLEXITY],
                           .deviation = mean[DEVIATION]};
    HL_TRY(tell(t, &first, "end of run", &e));
out:
    outcome_done(&first);
    outcome_done(&o);
    return st;
}

static hl_status now(hl_train *t)
{
    outcome o = {0};
    hl_quantize_event e = {0};
    hl_status st = one_calibration(t, 0, true, &o);
    if (st == HL_OK)
        st = tell(t, &o, "request", &e);
    if (st == HL_OK)
        log_loss(t, hl_json_num_at(o.simulated, "eval_loss"),
                 hl_json_num_at(o.simulated, "perplexity"));
    outcome_done(&o);
    return st;
}

hl_status hl_train_quantize(hl_train *t, bool is_end)
{
    if (!t->eval.p)
        return hl_err_set(HL_E_STATE, "this experiment has nothing to evaluate on");
    t->s.host.phase(t->s.host.self, HL_PHASE_QUANTIZING, t->step);
    hl_status st = is_end ? at_end(t) : now(t);
    hl_train_go_on(t);
    return st;
}

void hl_train_quant_put(const hl_train *t, hl_str *json)
{
    for (int k = 0; t->is_quantized && k < HL_TRAIN_QUANT; k++)
        if (!isnan(t->quant[k]))
            hl_json_put_num(json, keys[k], t->quant[k]);
}
