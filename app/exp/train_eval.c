/* Evaluation: loss in the reference's weighting and per token, perplexity, bits per byte, and the
 * outlier metrics of the model's activations (spec: language-models 8). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/exp/train_internal.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

const char *const hl_train_metric_names[HL_TRAIN_METRICS] = {
    "max_inf_norm", "max_ffn_inf_norm", "max_layer_inf_norm",
    "avg_kurtosis", "max_kurtosis",     "max_kurtosis_layers"};

double hl_train_metric(const eval_result *r, int i)
{
    const double v[HL_TRAIN_METRICS] = {r->max_inf_norm,       r->max_ffn_inf_norm,
                                        r->max_layer_inf_norm, r->avg_kurtosis,
                                        r->max_kurtosis,       r->max_kurtosis_layers};
    return v[i];
}

void hl_train_eval_series(hl_train *t)
{
    const hl_sink *k = &t->sink;
    if (!t->eval.p)
        return;
    t->s_eval_loss = k->series(k->self, "eval/loss", HL_SERIES_SCALAR, NULL);
    if (t->e->source.is_text) {
        t->s_eval_loss_token = k->series(k->self, "eval/loss_token", HL_SERIES_SCALAR, NULL);
        t->s_eval_ppl = k->series(k->self, "eval/ppl", HL_SERIES_SCALAR, NULL);
        t->s_eval_bpb = k->series(k->self, "eval/bpb", HL_SERIES_SCALAR, NULL);
    }
    for (int i = 0; i < HL_TRAIN_METRICS && t->eval.n_taps; i++) {
        char tag[64];
        snprintf(tag, sizeof tag, "eval/%s", hl_train_metric_names[i]);
        t->s_eval_metric[i] = k->series(k->self, tag, HL_SERIES_SCALAR, NULL);
    }
}

hl_status hl_train_eval_open(hl_train *t)
{
    if (!t->eval.p)
        return HL_OK;
    const hl_source *s = &t->e->source;
    t->result.taps = hl_alloc_zero((size_t)t->eval.n_taps + 1, sizeof *t->result.taps);
    const hl_part part = t->s.eval_on_train  ? HL_PART_TRAIN
                         : t->s.eval_on_test ? HL_PART_TEST
                                             : HL_PART_EVAL;
    if (part == HL_PART_TEST && s->n_items[part] == 0)
        return hl_err_set(HL_E_STATE, "%s has no test part", s->label);
    return t->result.taps ? s->open(s->self, part, (hl_position){0, 0}, &t->eval_data) : HL_E_NOMEM;
}

typedef struct sums {
    double by_sequence, n_sequences; /* the reference's weighting */
    double by_token, n_tokens;
    double seconds;
} sums;

static void add_taps(hl_train *t, const step_program *p, const hl_feed_batch *b, int64_t n_before)
{
    const int64_t limit = t->e->kurtosis_batches;
    for (int i = 0; i < p->n_taps; i++) {
        const int out = p->tg.first_tap + i * (p->bins ? 2 : 1);
        const int64_t rows = hl_program_output_type(p->p, out)->dim[0];
        /* rows of the filling blocks of the last batch do not count; histograms are of all */
        const int64_t real = rows / b->n_rows * b->n_real;
        t->result.taps[i].has_kurtosis = limit > 0 && n_before >= limit;
        hl_outliers_add(&t->result.taps[i], hl_program_output(p->p, out), real, NULL);
    }
}

static hl_status eval_batch(hl_train *t, const hl_feed_batch *b, int64_t n_before, sums *s)
{
    const bool on_test = t->is_testing || t->s.eval_on_test;
    step_program *p = b->n_rows == t->e->eval_batch_size ? &t->eval
                      : on_test                          ? &t->test_rest
                                                         : &t->eval_rest;
    if (!p->p)
        return hl_err_set(HL_E_INTERNAL, "no program for an evaluation batch of %lld rows",
                          (long long)b->n_rows);
    hl_status st = hl_train_run_batch(t, p, b, t->step);
    if (st != HL_OK)
        return st;
    const double loss = hl_train_output(t, p, 0);
    if (s->n_sequences == 0 && !t->is_testing)
        hl_train_curves_report(t, p);
    s->by_sequence += loss * (double)b->n_real;
    s->n_sequences += (double)b->n_real;
    s->by_token += loss * (double)b->n_labelled;
    s->n_tokens += (double)b->n_labelled;
    hl_train_eval_numbers_add(t, p, (double)b->n_real);
    add_taps(t, p, b, n_before);
    st = hl_train_forecast_add(t, p, b);
    return st == HL_OK ? hl_train_trajectory_add(t, p, b->n_real) : st;
}

/* "evaluating, 12 of 40 batches, 3 s left", once a second at most. */
static void say_progress(const hl_train *t, int64_t n, int64_t limit, int64_t start_ns,
                         int64_t *told_ns)
{
    const int64_t now = hl_clock_mono_ns(), size = t->e->eval_batch_size;
    const int64_t all = size > 0 ? (t->e->source.n_items[HL_PART_EVAL] + size - 1) / size : 0;
    const int64_t of = limit > 0 && (limit < all || all == 0) ? limit : all;
    char text[80];
    if (n == 0 || now - *told_ns < INT64_C(1000000000) || n > of || t->is_testing)
        return;
    *told_ns = now;
    snprintf(text, sizeof text, "evaluating, %lld of %lld batches, %.0f s left", (long long)n,
             (long long)of, (double)(now - start_ns) * 1e-9 / (double)n * (double)(of - n));
    t->s.host.doing(t->s.host.self, text);
}

static hl_status eval_batches(hl_train *t, sums *s)
{
    hl_status st = HL_OK;
    hl_feed_batch b = {0};
    const hl_feed *f = &t->eval_data;
    const int64_t limit = t->is_testing ? t->part_batches : t->e->eval_batches;
    HL_TRY(f->seek(f->self, (hl_position){t->s.eval_epoch, 0}));
    const int64_t start_ns = hl_clock_mono_ns();
    int64_t told_ns = start_ns;
    for (int64_t n = 0; limit == 0 || n < limit; n++) {
        say_progress(t, n, limit, start_ns, &told_ns);
        HL_TRY(f->next(f->self, &b));
        if (b.n_rows == 0 || t->s.host.stop_signal(t->s.host.self))
            break;
        HL_TRY(eval_batch(t, &b, n, s));
        f->give_back(f->self, &b);
        b = (hl_feed_batch){0};
    }
out:
    f->give_back(f->self, &b);
    return st;
}

/* Maxima and means over activations, each first averaged over its rows. */
static void summarise_taps(hl_train *t)
{
    eval_result *r = &t->result;
    double sum = 0, n = 0;
    r->max_inf_norm = r->max_ffn_inf_norm = r->max_layer_inf_norm = nan("");
    r->avg_kurtosis = r->max_kurtosis = r->max_kurtosis_layers = nan("");
    for (int i = 0; i < t->eval.n_taps; i++) {
        const unsigned groups = hl_experiment_groups(t->e, t->eval.tap_names[i]);
        const double inf = hl_outliers_inf_norm(&r->taps[i]);
        const double kurtosis = hl_outliers_kurtosis(&r->taps[i]);
        if (groups & HL_TAP_ALL)
            r->max_inf_norm = fmax(r->max_inf_norm, inf);
        if (groups & HL_TAP_FFN)
            r->max_ffn_inf_norm = fmax(r->max_ffn_inf_norm, inf);
        if (groups & HL_TAP_LAYER) {
            r->max_layer_inf_norm = fmax(r->max_layer_inf_norm, inf);
            r->max_kurtosis_layers = fmax(r->max_kurtosis_layers, kurtosis);
        }
        if (groups & HL_TAP_KURTOSIS) {
            r->max_kurtosis = fmax(r->max_kurtosis, kurtosis);
            sum += kurtosis;
            n++;
        }
    }
    if (n > 0)
        r->avg_kurtosis = sum / n;
}

static void report_text(const hl_train *t, hl_str *b)
{
    const eval_result *r = &t->result;
    char took[24];
    hl_str_addf(b, "evaluation: loss %.4f", r->loss);
    if (t->e->source.is_text)
        hl_str_addf(b, ", perplexity %.4g, %.4f bits per byte", r->ppl, r->bpb);
    for (int i = 0; i < t->e->eval.n_numbers; i++)
        hl_str_addf(b, ", %s %.4g", t->e->eval.metric[i].name, r->number[i]);
    if (t->e->source.is_text || t->eval.n_taps)
        hl_str_addf(b, ", max|x| %.4g, kurtosis %.4g", r->max_inf_norm, r->avg_kurtosis);
    hl_str_addf(b, " (%s)", hl_format_duration(took, r->seconds));
}

static void report(hl_train *t)
{
    const hl_sink *k = &t->sink;
    const eval_result *r = &t->result;
    k->scalar(k->self, t->s_eval_loss, t->step, r->loss);
    if (t->e->source.is_text) {
        k->scalar(k->self, t->s_eval_loss_token, t->step, r->loss_token);
        k->scalar(k->self, t->s_eval_ppl, t->step, r->ppl);
        k->scalar(k->self, t->s_eval_bpb, t->step, r->bpb);
    }
    for (int i = 0; i < HL_TRAIN_METRICS && t->eval.n_taps; i++)
        k->scalar(k->self, t->s_eval_metric[i], t->step, hl_train_metric(r, i));
    hl_train_forecast_report(t);
    hl_str json = {0}, text = {0};
    report_text(t, &text);
    if (hl_train_result_json(t, &json) == HL_OK)
        t->s.host.notice(t->s.host.self, HL_NOTICE_EVAL, t->step, hl_str_text(&text), json.s);
    hl_str_done(&json);
    hl_str_done(&text);
}

hl_status hl_train_measure(hl_train *t)
{
    hl_status st = HL_OK;
    sums s = {0};
    const int64_t start = hl_clock_mono_ns();
    memset(t->result.taps, 0, (size_t)t->eval.n_taps * sizeof *t->result.taps);
    memset(t->result.number, 0, (size_t)t->e->eval.n_numbers * sizeof *t->result.number);
    HL_TRY(hl_train_trajectory_begin(t));
    HL_TRY(hl_train_forecast_begin(t));
    HL_TRY_CTX(eval_batches(t, &s), "evaluating");
    HL_TRY(hl_train_forecast_end(t));
    eval_result *r = &t->result;
    r->step = t->step;
    r->loss = hl_unsigned_nan(s.by_sequence / s.n_sequences);
    r->loss_token = hl_unsigned_nan(s.by_token / s.n_tokens);
    r->ppl = exp(r->loss);
    r->bpb = r->loss_token / 0.6931471805599453 / t->e->source.bytes_per_item;
    r->n_sequences = (int64_t)s.n_sequences;
    r->n_labels = (int64_t)s.n_tokens;
    r->seconds = (double)(hl_clock_mono_ns() - start) * 1e-9;
    r->valid = true;
    summarise_taps(t);
out:
    return st;
}

hl_status hl_train_measure_part(hl_train *t, hl_part part, int64_t n_batches, eval_result *out)
{
    hl_status st = HL_OK;
    const hl_source *s = &t->e->source;
    const eval_result before = t->result;
    hl_feed own = t->eval_data, feed = {0};
    *out = (eval_result){.taps = hl_alloc_zero((size_t)t->eval.n_taps + 1, sizeof *out->taps),
                         .number = hl_alloc_zero((size_t)t->e->eval.n_numbers + 1,
                                                 sizeof *out->number)};
    t->is_testing = true;
    t->part_batches = n_batches;
    t->result = *out;
    if (!out->taps || !out->number) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(s->open(s->self, part, (hl_position){0, 0}, &feed));
    t->eval_data = feed;
    HL_TRY(hl_train_measure(t));
    *out = t->result;
out:
    t->eval_data = own;
    t->result = before;
    t->is_testing = false;
    hl_feed_close(&feed);
    return st;
}

/* How many batches of the part make an evaluation; 0: all. Errors: STATE. */
static hl_status batches_of(const hl_train *t, hl_part part, int64_t *out)
{
    const hl_experiment *e = t->e;
    const int64_t n_eval = (e->source.n_items[HL_PART_EVAL] + e->eval_batch_size - 1) /
                           e->eval_batch_size;
    *out = 0;
    if (!t->eval.p || e->source.n_items[part] == 0)
        return hl_err_set(HL_E_STATE, "%s has no %s part", e->source.label,
                          part == HL_PART_TEST ? "test" : "training");
    if (part == HL_PART_TEST)
        return HL_OK;
    if (e->batch_size != e->eval_batch_size)
        return hl_err_set(HL_E_STATE,
                          "batches of the training part have %lld rows, the evaluation takes %lld: "
                          "they must be as many",
                          (long long)e->batch_size, (long long)e->eval_batch_size);
    *out = e->eval_batches > 0 ? e->eval_batches : n_eval;
    const int64_t whole = e->source.n_items[part] / e->batch_size;
    *out = *out < whole ? *out : whole;
    return *out > 0 ? HL_OK : hl_err_set(HL_E_STATE, "the training part is smaller than a batch");
}

hl_status hl_train_evaluate_set(hl_train *t, const char *set, hl_str *result)
{
    hl_status st = HL_OK;
    eval_result r = {0};
    int64_t n;
    const bool on_test = strcmp(set, "test") == 0;
    if (strcmp(set, "eval") == 0)
        return hl_train_evaluate(t);
    if (!on_test && strcmp(set, "train") != 0)
        return hl_err_set(HL_E_ARG, "eval takes eval, test or train, not '%s'", set);
    const hl_part part = on_test ? HL_PART_TEST : HL_PART_TRAIN;
    HL_TRY(batches_of(t, part, &n));
    t->s.host.phase(t->s.host.self, HL_PHASE_EVALUATING, t->step);
    HL_TRY_CTX(hl_train_measure_part(t, part, n, &r), "the %s part", set);
    hl_str_addf(result, "%s part: loss %.4f", set, r.loss);
    if (t->e->source.is_text)
        hl_str_addf(result, ", perplexity %.4g", r.ppl);
    for (int i = 0; i < t->e->eval.n_numbers; i++)
        hl_str_addf(result, ", %s %.4g", t->e->eval.metric[i].name,
                    r.number[i] / (double)r.n_sequences);
    hl_train_notice(t, HL_NOTICE_INFO, hl_str_text(result));
    hl_train_log_scalar(t, on_test ? "test/loss" : "eval/train_loss", r.loss);
out:
    hl_free(r.taps);
    hl_free(r.number);
    hl_train_go_on(t);
    return st;
}

hl_status hl_train_evaluate(hl_train *t)
{
    hl_status st = HL_OK;
    if (!t->eval.p)
        return hl_err_set(HL_E_STATE, "this experiment has nothing to evaluate on");
    t->s.host.phase(t->s.host.self, HL_PHASE_EVALUATING, t->step);
    HL_TRY(hl_train_measure(t));
    hl_train_eval_numbers_end(t, (double)t->result.n_sequences);
    report(t);
    hl_train_trajectory_end(t);
    HL_TRY(hl_train_fire_metrics(t, HL_HOOK_EVAL, &t->eval_values));
out:
    hl_train_go_on(t);
    return st;
}

void hl_train_eval_counts(const hl_train *t, int64_t *n_sequences, int64_t *n_labels)
{
    *n_sequences = t->result.n_sequences;
    *n_labels = t->result.n_labels;
}

static void put_activations(const hl_train *t, hl_str *b)
{
    hl_json_add_key(b, "activations");
    hl_json_begin(b, '[');
    for (int i = 0; i < t->eval.n_taps; i++) {
        hl_json_begin(b, '{');
        hl_json_put_str(b, "name", t->eval.tap_names[i]);
        hl_json_put_num(b, "inf_norm", hl_outliers_inf_norm(&t->result.taps[i]));
        hl_json_put_num(b, "kurtosis", hl_outliers_kurtosis(&t->result.taps[i]));
        hl_json_end(b, '}');
    }
    hl_json_end(b, ']');
}

/* The model's own numbers: of the last step and of the last evaluation. */
static void put_metrics(const hl_train *t, hl_str *b)
{
    const tagged_values *v[2] = {&t->train_values, &t->eval_values};
    if (v[0]->n_owned + v[1]->n_owned == 0)
        return;
    hl_json_add_key(b, "metrics");
    hl_json_begin(b, '{');
    for (int k = 0; k < (t->result.valid ? 2 : 1); k++)
        for (int i = v[k]->n - v[k]->n_owned; i < v[k]->n; i++)
            hl_json_put_num(b, v[k]->tag[i], v[k]->value[i]);
    hl_train_test_put(t, b);
    hl_json_end(b, '}');
}

hl_status hl_train_result_json(const hl_train *t, hl_str *b)
{
    const eval_result *r = &t->result;
    hl_json_begin(b, '{');
    hl_json_put_int(b, "step", t->step);
    hl_json_put_num(b, "train_loss", t->loss);
    hl_json_put_int(b, t->e->source.items, t->n_items);
    hl_json_put_num(b, "train_seconds", t->train_seconds);
    hl_json_put_num(b, "step_seconds", t->step > 0 ? t->train_seconds / (double)t->step : nan(""));
    hl_json_put_int(b, "skipped", t->n_skipped);
    hl_json_put_int(b, "planned_bytes", t->plan.total);
    hl_json_put_int(b, "peak_bytes", hl_mem_process_peak_bytes());
    if (r->valid) {
        hl_json_put_int(b, "eval_step", r->step);
        hl_json_put_num(b, "eval_loss", r->loss);
        if (t->e->source.is_text) {
            hl_json_put_num(b, "eval_loss_token", r->loss_token);
            hl_json_put_num(b, "perplexity", r->ppl);
            hl_json_put_num(b, "bits_per_byte", r->bpb);
        }
        for (int i = 0; i < HL_TRAIN_METRICS && t->eval.n_taps; i++)
            hl_json_put_num(b, hl_train_metric_names[i], hl_train_metric(r, i));
        hl_train_quant_put(t, b);
        put_activations(t, b);
    }
    put_metrics(t, b);
    hl_train_forecast_put(t, b);
    hl_json_end(b, '}');
    return hl_str_status(b);
}

hl_status hl_train_result(const hl_train *t, hl_json **out)
{
    hl_str text = {0};
    hl_status st = hl_train_result_json(t, &text);
    if (st == HL_OK)
        st = hl_json_parse(text.s, text.n, out);
    hl_str_done(&text);
    return st;
}

static void put_numbers(const tagged_values *v, hl_str *b)
{
    for (int i = v->n - v->n_owned; i < v->n; i++)
        hl_str_addf(b, "  %-21s %10.4g\n", v->tag[i], v->value[i]);
}

hl_status hl_train_result_text(const hl_train *t, hl_str *b)
{
    const eval_result *r = &t->result;
    char took[24], peak[24], planned[24];
    hl_str_addf(b, "%s: %lld steps, %lld %s in %s\n", t->e->name, (long long)t->step,
                (long long)t->n_items, t->e->source.items,
                hl_format_duration(took, t->train_seconds));
    hl_str_addf(b, "  train loss            %10.4f\n", t->loss);
    put_numbers(&t->train_values, b);
    if (r->valid) {
        hl_str_addf(b, "  eval loss             %10.4f\n", r->loss);
        put_numbers(&t->eval_values, b);
        if (t->e->source.is_text)
            hl_str_addf(b, "  perplexity            %10.4g\n  bits per byte         %10.4f\n",
                        r->ppl, r->bpb);
        for (int i = 0; i < HL_TRAIN_METRICS && t->eval.n_taps; i++)
            if (!isnan(hl_train_metric(r, i))) /* of which the model has no such activation */
                hl_str_addf(b, "  %-21s %10.4g\n", hl_train_metric_names[i], hl_train_metric(r, i));
    }
    hl_train_forecast_text(t, b);
    hl_str_addf(b, "  peak memory           %10s (planned: %s)\n",
                hl_format_bytes(peak, hl_mem_process_peak_bytes()),
                hl_format_bytes(planned, t->plan.total));
    return hl_str_status(b);
}
