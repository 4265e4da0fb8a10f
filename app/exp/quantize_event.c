#include "app/exp/quantize_event.h"

#include <math.h>

#include "app/exp/train.h"

/* ---- the recipe in words ---- */

static void put_bits(const hl_quant_recipe *r, hl_str *b)
{
    if (r->no_weights)
        hl_str_add(b, "W-");
    else
        hl_str_addf(b, "W%d", r->weight.quantizer.bits);
    if (r->no_acts)
        hl_str_add(b, "A-");
    else
        hl_str_addf(b, "A%d", r->act.quantizer.bits);
}

static void put_ranges(const hl_quant_recipe *r, hl_str *b)
{
    static const char *const acts[] = {" last batch", "", " mse grid", " mse golden section"};
    if (r->per_channel)
        hl_str_add(b, " per channel");
    if (r->weight.method != HL_RANGE_CURRENT_MINMAX)
        hl_str_add(b, " weights mse");
    if (r->no_acts)
        return;
    hl_str_add(b, acts[r->act.method]);
    if (r->act.quantizer.scheme == HL_QUANT_SYMMETRIC)
        hl_str_add(b, " symmetric");
    if (r->act.percentile > 0)
        hl_str_addf(b, " percentile %g", r->act.percentile);
    if (r->act.method == HL_RANGE_RUNNING_MINMAX && r->act.momentum != 0.9)
        hl_str_addf(b, " momentum %g", r->act.momentum);
}

void hl_quant_plan_text(const hl_quant_plan *p, hl_str *b)
{
    static const char *const norms[] = {"", " final LN 16 bits", " all LN 16 bits"};
    const hl_quant_recipe *r = &p->recipe;
    const hl_quant_method method = r->method.method;
    if (method != HL_QUANT_STATIC)
        hl_str_addf(b, "%s ", hl_quant_method_names[method]);
    if (hl_quant_is_weight_only(method)) {
        hl_str_addf(b, "W%d", r->method.group.bits);
        if (r->method.group.group > 0)
            hl_str_addf(b, " groups of %lld", (long long)r->method.group.group);
    } else {
        put_bits(r, b);
        put_ranges(r, b);
    }
    if (r->head)
        hl_str_add(b, " with head");
    hl_str_add(b, norms[r->norms]);
    for (int i = 0; r->skip && r->skip[i]; i++)
        hl_str_addf(b, "%s%s", i ? "," : " skip ", r->skip[i]);
}

void hl_quantize_label(const hl_experiment *e, hl_str *b)
{
    hl_quant_plan_text(&e->quant, b);
    if (e->eval_batches)
        hl_str_addf(b, ", %lld batches", (long long)e->eval_batches);
}

/* ---- the event ---- */

const char *hl_quantize_metric(const hl_json *result, double *value)
{
    const hl_json *own = hl_json_get(result, "metrics");
    *value = hl_json_num(hl_json_get(result, "perplexity"), nan(""));
    if (!isnan(*value))
        return "perplexity";
    for (const hl_json *m = hl_json_at(own, 0); m; m = hl_json_next(m))
        if (hl_str_starts(hl_json_key(m), "eval/")) {
            *value = hl_json_num(m, nan(""));
            return hl_json_key(m);
        }
    *value = hl_json_num(hl_json_get(result, "eval_loss"), nan(""));
    return "eval_loss";
}

static void put_number(const hl_json *from, const char *key, hl_str *b)
{
    const hl_json *v = hl_json_get(from, key);
    if (hl_json_is_number(v))
        hl_json_put_num(b, key, hl_json_num(v, 0));
}

/* The evaluation's own numbers, without the lists of its activations. */
static void put_result(const char *name, const hl_json *result, hl_str *b)
{
    static const char *const keys[] = {"eval_loss", "eval_loss_token", "perplexity",
                                       "bits_per_byte"};
    hl_json_add_key(b, name);
    hl_json_begin(b, '{');
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        put_number(result, keys[i], b);
    for (int i = 0; i < HL_TRAIN_METRICS; i++)
        put_number(result, hl_train_metric_names[i], b);
    const hl_json *own = hl_json_get(result, "metrics");
    for (const hl_json *m = hl_json_at(own, 0); m; m = hl_json_next(m))
        if (hl_str_starts(hl_json_key(m), "eval/"))
            put_number(own, hl_json_key(m), b);
    hl_json_end(b, '}');
}

static void put_recipe(const hl_quantize_event *e, hl_str *b)
{
    const hl_quant_plan *plan = &e->exp->quant;
    const hl_quant_recipe *r = &plan->recipe;
    hl_json_put_str(b, "recipe", e->label);
    hl_json_put_int(b, "weight_bits", r->no_weights ? 0 : r->weight.quantizer.bits);
    hl_json_put_int(b, "act_bits", r->no_acts ? 0 : r->act.quantizer.bits);
    hl_json_put_bool(b, "per_channel", r->per_channel);
    hl_json_put_int(b, "calibration_batches", plan->n_batches);
    hl_json_put_str(b, "calibration_data", plan->on_eval ? "eval" : "train");
}

/* What it takes to do the same again: hoplab quantize RUN --limit N -s ... */
static void put_settings(const hl_quantize_event *e, hl_str *b)
{
    const char *const *skip = e->exp->quant.recipe.skip;
    hl_json_put_int(b, "eval_batches", e->exp->eval_batches);
    hl_json_add_key(b, "set");
    hl_json_begin(b, '[');
    for (int i = 0; e->sets && e->sets[i]; i++)
        hl_json_add_str(b, e->sets[i]);
    hl_json_end(b, ']');
    hl_json_add_key(b, "skip");
    hl_json_begin(b, '[');
    for (int i = 0; skip && skip[i]; i++)
        hl_json_add_str(b, skip[i]);
    hl_json_end(b, ']');
}

/* What a list of runs shows of it. */
static void put_metric(const hl_quantize_event *e, hl_str *b)
{
    double value[3];
    const char *name = hl_quantize_metric(e->in_float, &value[0]);
    (void)hl_quantize_metric(e->simulated, &value[1]);
    (void)hl_quantize_metric(e->executed, &value[2]);
    hl_json_put_str(b, "metric", name);
    hl_json_put_num(b, "value_float", value[0]);
    hl_json_put_num(b, "value_simulated", value[1]);
    hl_json_put_num(b, "value_executed", value[2]);
    if (e->n_subsets > 1) {
        hl_json_put_int(b, "calibrations", e->n_subsets);
        hl_json_put_num(b, "value_mean", e->mean);
        hl_json_put_num(b, "value_deviation", e->deviation);
    }
}

static void put_list(const char *key, const hl_json *list, hl_str *b)
{
    if (!list)
        return;
    hl_json_add_key(b, key);
    hl_json_add_value(b, list);
}

hl_status hl_quantize_event_put(const hl_quantize_event *e, hl_str *b)
{
    hl_json_begin(b, '{');
    put_recipe(e, b);
    put_settings(e, b);
    hl_json_put_str(b, "by", e->by);
    hl_json_put_int(b, "step", e->step);
    put_metric(e, b);
    put_result("float", e->in_float, b);
    put_result("simulated", e->simulated, b);
    put_result("executed", e->executed, b);
    put_list("loss_by_bits", e->loss_by_bits, b);
    if (e->sensitivity)
        hl_json_put_int(b, "sensitivity_batches", e->sensitivity_batches);
    if (e->sensitivity && e->n_to_try > 0) {
        hl_json_put_int(b, "sensitivity_tried", (int64_t)e->n_tried);
        hl_json_put_int(b, "sensitivity_of", (int64_t)e->n_to_try);
    }
    put_list("sensitivity", e->sensitivity, b);
    put_list("tensors", e->tensors, b);
    hl_json_end(b, '}');
    return hl_str_status(b);
}
