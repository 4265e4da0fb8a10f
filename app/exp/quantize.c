/* DESIGN. The driver evaluates whatever graph the experiment has; so each way of quantizing is a
 * copy of the experiment whose evaluation graphs have quantizers in them. Parameters, data and
 * ranges are shared. */
#include "app/exp/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

struct hl_quantized {
    hl_train_setup setup;
    hl_quant_model *model;
    double seconds; /* of the last evaluation */
    int64_t n_sequences, n_labels;
    hl_str forecasts; /* of the last evaluation, as a table */
    int64_t subset;
    HL_VEC(char *) taps; /* per site: the tap that watches it, or NULL */
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
    for (size_t i = 0; i < q->taps.n; i++)
        hl_free(q->taps.at[i]);
    hl_vec_done(&q->taps);
    hl_str_done(&q->forecasts);
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

/* Under which names a watched run recorded what the quantizers see. g: of the newest trace. */
static hl_status note_taps(hl_quantized *q, const hl_graph *g)
{
    hl_status st = HL_OK;
    for (size_t i = q->taps.n; i < hl_quant_model_n(q->model); i++) {
        const hl_quant_site *s = hl_quant_model_site(q->model, i);
        char *name = NULL;
        for (size_t k = 0; s->role == HL_QUANT_ACT && s->is_on && k < g->taps.n && !name; k++)
            if (g->taps.at[k].value == s->value) {
                name = hl_strdup(g->taps.at[k].name);
                HL_TRY(name ? HL_OK : HL_E_NOMEM);
            }
        st = hl_vec_push(&q->taps, name);
        if (st != HL_OK)
            hl_free(name);
        HL_TRY(st);
    }
out:
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

typedef struct hl_quantized_view {
    const hl_quantized *q;
    hl_experiment e; /* a copy with other evaluation graphs */
    hl_train *train;
} view;

static void close_view(view *v)
{
    const hl_experiment *of = v->q->setup.exp;
    hl_train_free(v->train);
    done_trace(&of->eval, &v->e.eval);
    done_trace(&of->eval_rest, &v->e.eval_rest);
    done_trace(&of->test_rest, &v->e.test_rest);
}

#define IN_FLOAT ((hl_quant_mode)-1) /* no quantizers */

/* n_batches 0: all of the evaluation part. */
static hl_status open_view(hl_quantized *q, hl_quant_mode mode, int64_t n_batches, bool on_train,
                           view *v)
{
    hl_status st = HL_OK;
    v->q = q;
    v->e = *q->setup.exp;
    v->e.hooks = (hl_hooks){0}; /* callbacks are of the run's own evaluations */
    if (mode != IN_FLOAT) {
        HL_TRY(quantize_trace(q, &q->setup.exp->eval, mode, &v->e.eval));
        if (v->e.eval.g)
            HL_TRY(note_taps(q, v->e.eval.g));
        HL_TRY(quantize_trace(q, &q->setup.exp->eval_rest, mode, &v->e.eval_rest));
        HL_TRY(quantize_trace(q, &q->setup.exp->test_rest, mode, &v->e.test_rest));
    }
    if (n_batches)
        v->e.eval_batches = n_batches;
    hl_train_setup setup = q->setup;
    setup.eval_on_test = setup.eval_on_test && n_batches == 0; /* ranges are not taken from it */
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
    HL_TRY(open_view(q, mode, n_batches, on_train, &v));
    const int64_t start = hl_clock_mono_ns();
    HL_TRY(hl_train_evaluate(v.train));
    if (q->setup.host.stop_signal(q->setup.host.self))
        HL_FAIL(HL_E_CANCELLED, "quantizing was interrupted");
    q->seconds = (double)(hl_clock_mono_ns() - start) * 1e-9;
    hl_train_eval_counts(v.train, &q->n_sequences, &q->n_labels);
    hl_str_clear(&q->forecasts);
    hl_train_forecasts(v.train, &q->forecasts);
    if (result)
        HL_TRY(hl_train_result(v.train, result));
out:
    close_view(&v);
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
    const hl_quant_method method = plan->recipe.method.method;
    hl_status st = HL_OK;
    if (hl_quant_needs_inputs(method))
        st = evaluate(q, HL_QUANT_INPUTS, plan->n_batches, !plan->on_eval, NULL);
    if (st != HL_OK || hl_quant_is_by_layer(method))
        return st;
    st = hl_quant_model_explain(
        q->model, evaluate(q, HL_QUANT_OBSERVE, plan->n_batches, !plan->on_eval, NULL));
    if (st != HL_OK)
        return st;
    hl_quant_warn(q->model);
    return evaluate(q, HL_QUANT_MEASURE, plan->n_batches, !plan->on_eval, NULL);
}

void hl_quant_warn(const hl_quant_model *m)
{
    for (size_t i = 0; i < hl_quant_model_n(m); i++) {
        const double *range = hl_quant_model_range(m, i);
        if (range && hl_quant_model_seen(m, i) > 0 && range[HL_QUANT_LO] == range[HL_QUANT_HI])
            hl_log(HL_LOG_WARN,
                   "'%s' was %g in all of calibration: a range of one number; other numbers will "
                   "be cut off",
                   hl_quant_model_site(m, i)->name, range[HL_QUANT_LO]);
    }
}

bool hl_quantized_executes(const hl_quantized *q)
{
    return !hl_quant_is_by_layer(q->setup.exp->quant.recipe.method.method);
}

hl_status hl_quantized_evaluate(hl_quantized *q, bool execute, hl_json **result, double *seconds)
{
    hl_status st = evaluate(q, execute ? HL_QUANT_EXECUTE : HL_QUANT_SIMULATE, 0, false, result);
    if (st == HL_OK)
        *seconds = q->seconds;
    return st;
}

hl_status hl_quantized_in_float(hl_quantized *q, hl_json **result, double *seconds)
{
    hl_status st = evaluate(q, IN_FLOAT, 0, false, result);
    if (st == HL_OK)
        *seconds = q->seconds;
    return st;
}

hl_status hl_quantized_open(hl_quantized *q, bool execute, hl_quantized_view **out)
{
    *out = hl_alloc_zero(1, sizeof **out);
    return *out ? open_view(q, execute ? HL_QUANT_EXECUTE : HL_QUANT_SIMULATE, 0, false, *out)
                : HL_E_NOMEM;
}

hl_train *hl_quantized_driver(hl_quantized_view *v)
{
    return v->train;
}

void hl_quantized_close(hl_quantized_view *v)
{
    if (!v)
        return;
    close_view(v);
    hl_free(v);
}

void hl_quantized_counts(const hl_quantized *q, int64_t *n_sequences, int64_t *n_labels)
{
    *n_sequences = q->n_sequences;
    *n_labels = q->n_labels;
}

const char *hl_quantized_forecasts(const hl_quantized *q)
{
    return hl_str_text(&q->forecasts);
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

static hl_status loss_of(hl_quantized *q, hl_quant_mode mode, int64_t n_batches, double *loss)
{
    hl_json *result = NULL;
    hl_status st = evaluate(q, mode, n_batches, false, &result);
    if (st == HL_OK)
        *loss = hl_json_num(hl_json_get(result, "eval_loss"), nan(""));
    hl_json_free(result);
    return st;
}

/* By descending growth. */
static hl_status list_effects(effect *effects, size_t n, double in_float, hl_json **list)
{
    hl_str b = {0};
    qsort(effects, n, sizeof *effects, by_loss);
    hl_json_begin(&b, '[');
    for (size_t i = 0; i < n; i++) {
        hl_json_begin(&b, '{');
        hl_json_put_str(&b, "name", effects[i].name);
        hl_json_put_num(&b, "loss", effects[i].loss);
        hl_json_put_num(&b, "growth", effects[i].loss - in_float);
        hl_json_end(&b, '}');
    }
    hl_json_end(&b, ']');
    hl_status st = hl_str_status(&b);
    if (st == HL_OK)
        st = hl_json_parse(b.s, b.n, list);
    hl_str_done(&b);
    return st;
}

hl_status hl_quantized_sensitivity(hl_quantized *q, int64_t n_batches,
                                   const hl_quantized_watch *watch, hl_json **list)
{
    hl_status st = HL_OK;
    const size_t n = hl_quant_model_n(q->model);
    size_t n_effects = 0;
    double in_float;
    hl_json *so_far = NULL;
    effect *effects = hl_alloc((n + 1) * sizeof *effects);
    if (!effects)
        return HL_E_NOMEM;
    HL_TRY(loss_of(q, IN_FLOAT, n_batches, &in_float));
    for (size_t i = 0; i < n; i++) {
        hl_quant_model_only(q->model, i);
        if (!hl_quant_model_site(q->model, i)->is_on)
            continue;
        effect *e = &effects[n_effects++];
        e->name = hl_quant_model_site(q->model, i)->name;
        HL_TRY(loss_of(q, HL_QUANT_SIMULATE, n_batches, &e->loss));
        if (!watch)
            continue;
        HL_TRY(list_effects(effects, n_effects, in_float, &so_far));
        watch->ranked(watch->self, i + 1, n, so_far);
        hl_json_free(so_far);
        so_far = NULL;
    }
    HL_TRY(list_effects(effects, n_effects, in_float, list));
out:
    hl_quant_model_only(q->model, HL_QUANT_ALL);
    hl_free(effects);
    return st;
}

/* ---- how much the weights take ---- */

/* The site of a weight whose quantized self leaf v is. */
static const hl_quant_site *site_of_leaf(const hl_quantized *q, hl_id v, size_t *index)
{
    for (*index = 0; *index < hl_quant_model_n(q->model); ++*index) {
        const hl_quant_site *s = hl_quant_model_site(q->model, *index);
        if (s->leaf == v)
            return s;
    }
    return NULL;
}

/* Of leaf v of a graph (of the model's last one): 4 for each number in float, its codes and scales
 * where it is a quantized weight. */
static double bytes_of_leaf(const hl_quantized *q, const hl_graph *g, hl_id v, bool is_float)
{
    size_t i;
    const hl_type *t = hl_graph_type(g, v);
    const hl_quant_site *s = is_float ? NULL : site_of_leaf(q, v, &i);
    const double n = (double)hl_type_count(t);
    if (!s)
        return t->dtype == HL_DTYPE_F32 ? 4 * n : 0;
    if (s->role != HL_QUANT_WEIGHT)
        return 0;
    /* at run time: the parameter is a leaf, too */
    const bool is_counter = t->dtype != HL_DTYPE_F32;
    if (is_counter && q->setup.exp->quant.recipe.no_weights)
        return 0;
    return hl_quant_model_weight_bits(q->model, i) / 8 -
           (is_counter && s->is_read_once ? 4 * (double)hl_type_count(&s->type) : 0);
}

static hl_status weight_bytes(hl_quantized *q, const hl_exp_trace *t, bool is_float, double *bytes)
{
    bool *is_read = hl_alloc_zero(t->g->values.n + 1, sizeof *is_read);
    if (!is_read)
        return HL_E_NOMEM;
    for (size_t i = 0; i < t->g->nodes.n; i++)
        for (int k = 0; k < t->g->nodes.at[i].n_in; k++)
            if (t->g->nodes.at[i].in[k] != HL_NONE)
                is_read[t->g->nodes.at[i].in[k]] = true;
    *bytes = 0;
    for (size_t v = 0; v < t->g->values.n; v++)
        if (t->g->values.at[v].kind == HL_VALUE_STATE && is_read[v])
            *bytes += bytes_of_leaf(q, t->g, (hl_id)v, is_float);
    hl_free(is_read);
    return HL_OK;
}

hl_status hl_quantized_bytes(hl_quantized *q, double *in_float, double *quantized)
{
    hl_exp_trace t = {0};
    const hl_exp_trace *from = &q->setup.exp->eval;
    hl_status st = quantize_trace(q, from, HL_QUANT_SIMULATE, &t);
    if (st == HL_OK)
        st = weight_bytes(q, from, true, in_float);
    if (st == HL_OK)
        st = weight_bytes(q, &t, false, quantized);
    done_trace(from, &t);
    return st;
}

/* ---- what the quantizers are ---- */

/* Codes of so many bits lie in whole bytes; a weight in float in four. */
static int64_t code_bytes(const hl_quant_site *s)
{
    const int bits = s->is_on ? s->how.quantizer.bits : 32;
    return bits <= 8 ? 1 : bits <= 16 ? 2 : 4;
}

static void put_measures(hl_str *b, const double m[HL_QUANT_RANGE_FIELDS])
{
    if (!(m[HL_QUANT_NUMBERS] > 0))
        return;
    hl_json_put_num(b, "sqnr", 10 * log10(m[HL_QUANT_SIGNAL] / m[HL_QUANT_NOISE]));
    hl_json_put_num(b, "mse", m[HL_QUANT_NOISE] / m[HL_QUANT_NUMBERS]);
    hl_json_put_num(b, "clipped", m[HL_QUANT_CLIPPED] / m[HL_QUANT_NUMBERS]);
}

/* Of a layer that a method quantizes without ranges. */
static void put_layer(hl_quantized *q, size_t i, hl_str *b)
{
    double mean, most;
    hl_json_put_int(b, "bits", hl_quant_model_site(q->model, i)->how.quantizer.bits);
    put_measures(b, hl_quant_model_measures(q->model, i));
    if (hl_quant_model_outliers(q->model, i, &mean, &most)) {
        hl_json_put_int(b, "columns", hl_quant_model_site(q->model, i)->type.dim[1]);
        hl_json_put_num(b, "outlier_columns", mean);
        hl_json_put_num(b, "most_outlier_columns", most);
    }
}

static hl_status put_site(hl_quantized *q, size_t i, hl_str *b)
{
    const hl_quant_site *s = hl_quant_model_site(q->model, i);
    const bool has_quantizer = s->is_on && hl_quantized_executes(q);
    hl_json_begin(b, '{');
    hl_json_put_str(b, "name", s->name);
    hl_json_put_str(b, "role", s->role == HL_QUANT_WEIGHT ? "weight" : "activation");
    hl_json_put_bool(b, "float", !s->is_on);
    if (i < q->taps.n && q->taps.at[i])
        hl_json_put_str(b, "tap", q->taps.at[i]);
    if (s->role == HL_QUANT_WEIGHT) {
        hl_json_put_bool(b, "in_integers", s->is_run);
        hl_json_put_int(b, "bytes", hl_type_count(&s->type) * code_bytes(s));
    }
    const hl_quantizer *z = has_quantizer ? hl_quant_model_quantizer(q->model, i) : NULL;
    if (has_quantizer && !z)
        return hl_err_code();
    if (s->is_on && !has_quantizer)
        put_layer(q, i, b);
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
