/* Quantizing the model of a run that is done: what its losses become, over some calibrations. */
#include <math.h>

#include "app/exp/quantize.h"
#include "app/exp/train_internal.h"

static const char *const keys[HL_TRAIN_QUANT] = {
    "quant_loss",           "quant_perplexity", "quant_perplexity_executed",
    "quant_perplexity_std", "quant_accuracy",   "quant_accuracy_executed"};
enum { LOSS, PERPLEXITY, EXECUTED, DEVIATION, ACCURACY, ACCURACY_EXECUTED };

/* Of models that give one. */
static double accuracy(const hl_json *result)
{
    return hl_json_num(hl_json_get(hl_json_get(result, "metrics"), "eval/accuracy"), nan(""));
}

static hl_status one_calibration(hl_train *t, int64_t subset, double v[HL_TRAIN_QUANT])
{
    hl_status st = HL_OK;
    hl_quantized *q = NULL;
    hl_json *simulated = NULL, *executed = NULL;
    double seconds;
    const hl_train_setup setup = {
        .exp = t->e, .team = t->s.team, .host = hl_silent_host(), .eval_only = true};
    HL_TRY(hl_quantized_new(&setup, &q));
    HL_TRY(hl_quantized_calibrate(q, subset));
    HL_TRY(hl_quantized_evaluate(q, false, &simulated, &seconds));
    HL_TRY(hl_quantized_evaluate(q, true, &executed, &seconds));
    v[LOSS] = hl_json_num(hl_json_get(simulated, "eval_loss"), nan(""));
    v[PERPLEXITY] = hl_json_num(hl_json_get(simulated, "perplexity"), nan(""));
    v[DEVIATION] = 0;
    v[ACCURACY] = accuracy(simulated);
    v[ACCURACY_EXECUTED] = accuracy(executed);
    v[EXECUTED] = hl_json_num(hl_json_get(executed, "perplexity"), nan(""));
out:
    hl_json_free(simulated);
    hl_json_free(executed);
    hl_quantized_free(q);
    return st;
}

hl_status hl_train_quantize(hl_train *t)
{
    hl_status st = HL_OK;
    const int64_t n = t->e->quant.n_subsets;
    double mean[HL_TRAIN_QUANT] = {0}, squares = 0; /* of distances to the mean (Welford) */
    for (int64_t i = 0; i < n; i++) {
        double v[HL_TRAIN_QUANT];
        HL_TRY(one_calibration(t, i, v));
        const double before = mean[PERPLEXITY];
        for (int k = 0; k < HL_TRAIN_QUANT; k++)
            mean[k] += (v[k] - mean[k]) / (double)(i + 1);
        squares += (v[PERPLEXITY] - before) * (v[PERPLEXITY] - mean[PERPLEXITY]);
    }
    mean[DEVIATION] = n > 1 ? sqrt(squares / (double)(n - 1)) : nan("");
    for (int k = 0; k < HL_TRAIN_QUANT; k++)
        t->quant[k] = mean[k];
    t->is_quantized = true;
    hl_train_log_scalar(t, "eval/quant_loss", mean[LOSS]);
    if (t->e->source.is_text)
        hl_train_log_scalar(t, "eval/quant_ppl", mean[PERPLEXITY]);
    if (!isnan(mean[ACCURACY]))
        hl_train_log_scalar(t, "eval/quant_accuracy", mean[ACCURACY]);
out:
    return st;
}

void hl_train_quant_put(const hl_train *t, hl_str *json)
{
    for (int k = 0; t->is_quantized && k < HL_TRAIN_QUANT; k++)
        if (!isnan(t->quant[k]))
            hl_json_put_num(json, keys[k], t->quant[k]);
}
