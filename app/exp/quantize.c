/* DESIGN. The driver evaluates whatever graph the experiment has; so each way of quantizing is a
 * copy of the experiment whose evaluation graphs have quantizers in them. Parameters, data and
 * ranges are shared. */
#include "app/exp/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"

struct hl_quantized {
    hl_train_setup setup;
    hl_quant_model *model;
    double seconds; /* of the last evaluation */
    int64_t n_sequences, n_labels;
    int64_t subset;
};

hl_status hl_quantized_new(const hl_train_setup *setup, hl_quantized **out)
{
    const hl_experiment *e = setup->exp;
    if (!e->quant.is_known)
        return hl_err_set(HL_E_UNSUPPORTED,
                          "this model does not say what of it may be quantized; give its module a "
                          "function quantization (hop.quantize in docs/lua-api.md)");
    hl_quantized *q = hl_alloc_zero(1, sizeof *q);
    if (!q)
        return HL_E_NOMEM;
    q->setup = *setup;
    q->setup.eval_only = true;
    hl_status st = hl_quant_model_new(&e->quant.rules, &e->quant.recipe, e->fp64, &q->model);
    if (st == HL_OK)
        *out = q;
    else
        hl_free(q);
    return st;
}

void hl_quantized_free(hl_quantized *q)
{
    if (!q)
        return;
    hl_quant_model_free(q->model);
    hl_free(q);
}

/* ---- graphs ---- */

/* What an evaluation needs of the trace, and the loss and the metrics there, 1 + n_metrics; also
 * after a failure the caller's. */
static hl_status needed_of(const hl_exp_trace *from, hl_graph **needed, hl_id **ids)
{
    hl_status st = HL_OK;
    const int n = 1 + from->n_metrics;
    hl_id *map = hl_alloc((from->g->values.n + 1) * sizeof *map);
    *ids = hl_alloc((size_t)n * sizeof **ids);
    if (!map || !*ids)
        HL_TRY(HL_E_NOMEM);
    (*ids)[0] = from->loss;
    for (int i = 0; i < from->n_metrics; i++)
        (*ids)[1 + i] = from->metric[i].value;
    HL_TRY(hl_graph_extract(from->g, *ids, n, needed, map));
    for (int i = 0; i < n; i++)
        (*ids)[i] = map[(*ids)[i]];
out:
    hl_free(map);
    return st;
}

/* The trace with quantizers; names are those of `from`. */
static hl_status quantize_trace(hl_quantized *q, const hl_exp_trace *from, hl_quant_mode mode,
                                hl_exp_trace *out)
{
    hl_status st = HL_OK;
    const int n = 1 + from->n_metrics;
    hl_graph *needed = NULL;
    hl_id *ids = NULL;
    if (!from->g)
        return HL_OK;
    *out = *from;
    out->g = NULL;
    out->metric = hl_alloc(((size_t)from->n_metrics + 1) * sizeof *out->metric);
    if (!out->metric)
        HL_TRY(HL_E_NOMEM);
    HL_TRY(needed_of(from, &needed, &ids));
    const hl_quant_wish wish = {.mode = mode, .outputs = ids, .n_outputs = n};
    HL_TRY(hl_quant_model_graph(q->model, needed, &wish, q->setup.team, &out->g));
    out->loss = ids[0];
    for (int i = 0; i < from->n_metrics; i++) {
        out->metric[i] = from->metric[i];
        out->metric[i].value = ids[1 + i];
    }
out:
    hl_graph_free(needed);
    hl_free(ids);
    return st;
}

static void done_trace(const hl_exp_trace *from, hl_exp_trace *t)
{
    if (t->g != from->g)
        hl_graph_free(t->g);
    if (t->metric != from->metric)
        hl_free(t->metric);
}

/* ---- evaluations ---- */

typedef struct view {
    hl_experiment e; /* a copy with other evaluation graphs */
    hl_train *train;
} view;

static void close_view(const hl_quantized *q, view *v)
{
    hl_train_free(v->train);
    done_trace(&q->setup.exp->eval, &v->e.eval);
    done_trace(&q->setup.exp->eval_rest, &v->e.eval_rest);
}

/* n_batches 0: all of the evaluation part. */
static hl_status open_view(hl_quantized *q, hl_quant_mode mode, int64_t n_batches, bool on_train,
                           view *v)
{
    hl_status st = HL_OK;
    v->e = *q->setup.exp;
    HL_TRY(quantize_trace(q, &q->setup.exp->eval, mode, &v->e.eval));
    HL_TRY(quantize_trace(q, &q->setup.exp->eval_rest, mode, &v->e.eval_rest));
    if (n_batches)
        v->e.eval_batches = n_batches;
    hl_train_setup setup = q->setup;
    setup.exp = &v->e;
    setup.eval_on_train = on_train;
    setup.eval_epoch = on_train ? q->subset : 0;
    HL_TRY(hl_train_new(&setup, &v->train));
    HL_TRY(hl_train_fits(v->train));
    HL_TRY(hl_train_open(v->train, hl_silent_sink(), NULL));
out:
    return st;
}

/* result: NULL if nobody wants it. */
static hl_status evaluate(hl_quantized *q, hl_quant_mode mode, int64_t n_batches, bool on_train,
                          hl_json **result)
{
    hl_status st = HL_OK;
    view v = {0};
    hl_str text = {0};
    HL_TRY(open_view(q, mode, n_batches, on_train, &v));
    const int64_t start = hl_clock_mono_ns();
    HL_TRY(hl_train_evaluate(v.train));
    q->seconds = (double)(hl_clock_mono_ns() - start) * 1e-9;
    hl_train_eval_counts(v.train, &q->n_sequences, &q->n_labels);
    if (result) {
        HL_TRY(hl_train_result_json(v.train, &text));
        HL_TRY(hl_json_parse(text.s, text.n, result));
    }
out:
    hl_str_done(&text);
    close_view(q, &v);
    return st;
}

hl_status hl_quantized_calibrate(hl_quantized *q, int64_t subset)
{
    const hl_experiment *e = q->setup.exp;
    if (!e->quant.on_eval && e->batch_size != e->eval_batch_size)
        return hl_err_set(HL_E_ARG,
                          "ranges are estimated from training data, in batches of %lld, and an "
                          "evaluation has %lld; make data.eval_batch_size the same, or take "
                          "quantize.data = \"eval\"",
                          (long long)e->batch_size, (long long)e->eval_batch_size);
    q->subset = subset;
    const hl_quant_plan *plan = &e->quant;
    hl_status st = hl_quant_model_explain(
        q->model, evaluate(q, HL_QUANT_OBSERVE, plan->n_batches, !plan->on_eval, NULL));
    return st == HL_OK ? evaluate(q, HL_QUANT_MEASURE, plan->n_batches, !plan->on_eval, NULL) : st;
}

hl_status hl_quantized_evaluate(hl_quantized *q, bool execute, hl_json **result, double *seconds)
{
    hl_status st = evaluate(q, execute ? HL_QUANT_EXECUTE : HL_QUANT_SIMULATE, 0, false, result);
    if (st == HL_OK)
        *seconds = q->seconds;
    return st;
}

void hl_quantized_counts(const hl_quantized *q, int64_t *n_sequences, int64_t *n_labels)
{
    *n_sequences = q->n_sequences;
    *n_labels = q->n_labels;
}

/* ---- on disk ---- */

/* All parameters; those behind *n are read as codes only. Owned by the caller. */
static hl_status list_floats(hl_quantized *q, hl_quant_float **out, size_t *n)
{
    hl_status st = HL_OK;
    const hl_experiment *e = q->setup.exp;
    hl_graph *needed = NULL;
    hl_id *ids = NULL;
    hl_quant_float *list = hl_alloc((e->n_params + 1) * sizeof *list);
    if (!list)
        return HL_E_NOMEM;
    for (size_t i = 0; i < e->n_params; i++)
        list[i] = (hl_quant_float){e->params[i].name, e->params[i].storage, false};
    HL_TRY(needed_of(&e->eval, &needed, &ids));
    const hl_quant_forward of = {needed, ids, 1 + e->eval.n_metrics, q->setup.team};
    HL_TRY(hl_quant_saved_list(q->model, &of, list, e->n_params, n));
    *out = list;
    list = NULL;
out:
    hl_graph_free(needed);
    hl_free(ids);
    hl_free(list);
    return st;
}

hl_status hl_quantized_save(hl_quantized *q, const char *path)
{
    hl_quant_float *floats = NULL;
    size_t n;
    hl_status st = list_floats(q, &floats, &n);
    if (st == HL_OK)
        st = hl_quant_saved_write(q->model, floats, n, path);
    hl_free(floats);
    return st;
}

hl_status hl_quantized_restore(hl_quantized *q, const char *path)
{
    hl_status st = HL_OK;
    hl_quant_saved *from = NULL;
    hl_quant_float *list = NULL;
    size_t n;
    HL_TRY(hl_quant_saved_open(path, &from));
    hl_quant_model_restore(q->model, from);
    HL_TRY(list_floats(q, &list, &n));
    for (size_t i = 0; i < n; i++)
        HL_TRY(hl_quant_saved_float(from, &list[i]));
    for (size_t i = n; i < q->setup.exp->n_params; i++)
        hl_storage_drop(list[i].storage);
    HL_TRY(hl_quant_saved_end(from));
out:
    hl_free(list);
    return st;
}

hl_quant_memory hl_quantized_memory(const hl_quantized *q)
{
    const hl_experiment *e = q->setup.exp;
    hl_quant_memory m = {0};
    m.held = hl_quant_model_weight_bytes(q->model, &m.in_file);
    for (size_t i = 0; i < e->n_params; i++) {
        const hl_storage *s = e->params[i].storage;
        m.held += (int64_t)s->bytes;
        m.in_float += hl_type_count(&s->type) * (int64_t)hl_dtype_bytes(s->stored);
    }
    return m;
}

/* ---- one at a time ---- */

typedef struct effect {
    const char *name;
    double loss;
} effect;

static int by_loss(const void *a, const void *b)
{
    const double x = ((const effect *)a)->loss, y = ((const effect *)b)->loss;
    return isnan(x) || isnan(y) ? isnan(y) - isnan(x) : (x < y) - (x > y); /* NaN first */
}

static hl_status loss_of(hl_quantized *q, int64_t n_batches, double *loss)
{
    hl_json *result = NULL;
    hl_status st = evaluate(q, HL_QUANT_SIMULATE, n_batches, false, &result);
    if (st == HL_OK)
        *loss = hl_json_num(hl_json_get(result, "eval_loss"), nan(""));
    hl_json_free(result);
    return st;
}

hl_status hl_quantized_sensitivity(hl_quantized *q, int64_t n_batches, hl_json **list)
{
    hl_status st = HL_OK;
    const size_t n = hl_quant_model_n(q->model);
    size_t n_effects = 0;
    hl_str b = {0};
    effect *effects = hl_alloc((n + 1) * sizeof *effects);
    if (!effects)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        hl_quant_model_only(q->model, i);
        if (!hl_quant_model_site(q->model, i)->is_on)
            continue;
        effect *e = &effects[n_effects++];
        e->name = hl_quant_model_site(q->model, i)->name;
        HL_TRY(loss_of(q, n_batches, &e->loss));
    }
    qsort(effects, n_effects, sizeof *effects, by_loss);
    hl_json_begin(&b, '[');
    for (size_t i = 0; i < n_effects; i++) {
        hl_json_begin(&b, '{');
        hl_json_put_str(&b, "name", effects[i].name);
        hl_json_put_num(&b, "loss", effects[i].loss);
        hl_json_end(&b, '}');
    }
    hl_json_end(&b, ']');
    HL_TRY(hl_str_status(&b));
    HL_TRY(hl_json_parse(b.s, b.n, list));
out:
    hl_quant_model_only(q->model, HL_QUANT_ALL);
    hl_free(effects);
    hl_str_done(&b);
    return st;
}

/* ---- what the quantizers are ---- */

static void put_measures(hl_str *b, const double m[HL_QUANT_RANGE_FIELDS])
{
    if (!(m[HL_QUANT_NUMBERS] > 0))
        return;
    hl_json_put_num(b, "sqnr", 10 * log10(m[HL_QUANT_SIGNAL] / m[HL_QUANT_NOISE]));
    hl_json_put_num(b, "mse", m[HL_QUANT_NOISE] / m[HL_QUANT_NUMBERS]);
    hl_json_put_num(b, "clipped", m[HL_QUANT_CLIPPED] / m[HL_QUANT_NUMBERS]);
}

static hl_status put_site(hl_quantized *q, size_t i, hl_str *b)
{
    const hl_quant_site *s = hl_quant_model_site(q->model, i);
    hl_json_begin(b, '{');
    hl_json_put_str(b, "name", s->name);
    hl_json_put_str(b, "role", s->role == HL_QUANT_WEIGHT ? "weight" : "activation");
    hl_json_put_bool(b, "float", !s->is_on);
    if (s->role == HL_QUANT_WEIGHT)
        hl_json_put_bool(b, "in_integers", s->is_run);
    const hl_quantizer *z = s->is_on ? hl_quant_model_quantizer(q->model, i) : NULL;
    if (s->is_on && !z)
        return hl_err_code();
    if (z) {
        const double least = (double)z->scale[0] * ((double)z->int_min - (double)z->zero_point[0]),
                     most = (double)z->scale[0] * ((double)z->int_max - (double)z->zero_point[0]);
        hl_json_put_int(b, "bits", s->how.quantizer.bits);
        hl_json_put_int(b, "channels", s->how.quantizer.n_channels);
        hl_json_put_int(b, "code_min", z->int_min);
        hl_json_put_int(b, "code_max", z->int_max);
        hl_json_put_num(b, "scale", (double)z->scale[0]);
        hl_json_put_num(b, "zero_point", (double)z->zero_point[0]);
        hl_json_put_num(b, "least", least);
        hl_json_put_num(b, "most", most);
        hl_json_put_bool(b, "empty_range", z->is_floored);
        put_measures(b, hl_quant_model_measures(q->model, i));
    }
    hl_json_end(b, '}');
    return HL_OK;
}

hl_status hl_quantized_sites(hl_quantized *q, hl_json **list)
{
    hl_status st = HL_OK;
    hl_str b = {0};
    hl_json_begin(&b, '[');
    for (size_t i = 0; i < hl_quant_model_n(q->model); i++)
        HL_TRY(put_site(q, i, &b));
    hl_json_end(&b, ']');
    HL_TRY(hl_str_status(&b));
    HL_TRY(hl_json_parse(b.s, b.n, list));
out:
    hl_str_done(&b);
    return st;
}
