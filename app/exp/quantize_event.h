/* What one quantization of a model found, as the table event of its run ("quantize/RECIPE";
 * docs/run-format.md), and the recipe in words. */
#ifndef HL_EXP_QUANTIZE_EVENT_H
#define HL_EXP_QUANTIZE_EVENT_H

#include "app/exp/quantize.h"

#define HL_QUANTIZE_TAG "quantize/"

/* "W8A8", "W4A8 per channel percentile 99.99 skip lm_head" */
void hl_quant_plan_text(const hl_quant_plan *p, hl_str *out);
/* The same, and how much is evaluated on if not all: what two results must have in common to be
 * compared. */
void hl_quantize_label(const hl_experiment *e, hl_str *out);

typedef struct hl_quantize_event {
    const hl_experiment *exp;
    const char *label; /* hl_quantize_label, and whatever else was not as in the run */
    const char *by;    /* "request", "end of run", "hoplab quantize" */
    int64_t step;      /* that the weights are of */
    /* hl_train_result_json of the three evaluations */
    const hl_json *in_float, *simulated, *executed;
    const hl_json *tensors;     /* hl_quantized_sites */
    const hl_json *sensitivity; /* hl_quantized_sensitivity, or NULL */
    int64_t sensitivity_batches;
    size_t n_tried, n_to_try;    /* while it goes on: tensors; 0, 0: it is over */
    const hl_json *loss_by_bits; /* {"W8A8": loss}, or NULL */
    const char *const *sets;     /* "quantize.percentile=99.9", as -s had it; NULL-terminated, */
                                 /* or NULL */
    int64_t n_subsets;           /* calibrations that the next two are over; 0: this one */
    double mean, deviation;      /* of the metric, simulated */
} hl_quantize_event;

/* The number that a run is compared by: "perplexity", the first of the model's own metrics, or
 * "eval_loss" (then *value may be NAN). Borrowed. */
const char *hl_quantize_metric(const hl_json *result, double *value);

/* The event's JSON object. */
HL_MUST_CHECK hl_status hl_quantize_event_put(const hl_quantize_event *e, hl_str *out);

#endif
