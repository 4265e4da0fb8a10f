/* What a model gives beside its loss: numbers under their tags, and curves. */
#include <math.h>
#include <string.h>

#include "app/exp/train_internal.h"

/* ---- opening --------------------------------------------------------------------------------- */

static int open_metric(const hl_train *t, const char *tag, hl_series_kind kind)
{
    return t->sink.series(t->sink.self, tag, kind, NULL);
}

/* Behind the last curve of a trace. */
static int curves_end(const hl_exp_trace *trace)
{
    return trace->n_metrics - trace->has_prediction;
}

static hl_status make_tag(const char *prefix, const char *name, char **out)
{
    hl_str tag = {0};
    hl_str_addf(&tag, "%s/%s", prefix, name);
    hl_status st = hl_str_status(&tag);
    *out = st == HL_OK ? hl_strdup(tag.s) : NULL;
    hl_str_done(&tag);
    return st == HL_OK && !*out ? HL_E_NOMEM : st;
}

/* The tags given, which have series of their own, and then those of the trace's numbers and of
 * forecasts. */
static hl_status open_values(hl_train *t, tagged_values *v, const char *const *tags,
                             const char *prefix, const hl_exp_trace *trace)
{
    hl_status st = HL_OK;
    int n = 0;
    while (tags[n])
        n++;
    const int n_own = trace->n_numbers + (trace->has_prediction ? HL_TRAIN_FORECASTS : 0);
    const size_t all = (size_t)(n + n_own);
    v->tag = hl_alloc_zero(all, sizeof *v->tag);
    v->value = hl_alloc_zero(all, sizeof *v->value);
    v->owned = hl_alloc_zero((size_t)n_own + 1, sizeof *v->owned);
    v->series = hl_alloc_zero((size_t)n_own + 1, sizeof *v->series);
    if (!v->tag || !v->value || !v->owned || !v->series)
        return HL_E_NOMEM;
    for (int i = 0; i < n_own; i++) {
        const int k = i - trace->n_numbers;
        HL_TRY(make_tag(prefix, k < 0 ? trace->metric[i].name : hl_train_forecast_names[k],
                        &v->owned[i]));
        v->n_owned++;
        v->series[i] = open_metric(t, v->owned[i], HL_SERIES_SCALAR);
    }
    for (int i = 0; i < (int)all; i++) {
        v->tag[i] = i < n ? tags[i] : v->owned[i - n];
        v->value[i] = nan("");
    }
    v->n = (int)all;
out:
    return st;
}

static void values_done(tagged_values *v)
{
    for (int i = 0; i < v->n_owned; i++)
        hl_free(v->owned[i]);
    hl_free(v->owned);
    hl_free(v->tag);
    hl_free(v->value);
    hl_free(v->series);
}

static hl_status open_curves(hl_train *t, const char *prefix, const hl_exp_trace *trace, int **out)
{
    hl_status st = HL_OK;
    char *tag = NULL;
    *out = hl_alloc_zero((size_t)(trace->n_metrics - trace->n_numbers) + 1, sizeof **out);
    if (!*out)
        return HL_E_NOMEM;
    for (int i = trace->n_numbers; i < curves_end(trace); i++) {
        HL_TRY(make_tag(prefix, trace->metric[i].name, &tag));
        (*out)[i - trace->n_numbers] = open_metric(t, tag, HL_SERIES_CURVE);
        hl_free(tag);
        tag = NULL;
    }
out:
    hl_free(tag);
    return st;
}

/* Elements of the largest curve of a program. */
static int64_t largest_curve(const step_program *p)
{
    int64_t most = 0;
    for (int i = p->p ? p->trace->n_numbers : 0; p->p && i < curves_end(p->trace); i++) {
        const int64_t n = hl_type_count(hl_program_output_type(p->p, p->tg.first_metric + i));
        most = n > most ? n : most;
    }
    return most;
}

hl_status hl_train_metrics_open(hl_train *t)
{
    static const char *const train[] = {"train/loss", "train/grad_norm", "train/lr", NULL};
    static const char *const eval[] = {"eval/loss", "eval/max_inf_norm", NULL};
    static const char *const text[] = {"eval/loss", "eval/ppl", "eval/bpb", "eval/max_inf_norm",
                                       NULL};
    hl_status st = HL_OK;
    const hl_experiment *e = t->e;
    HL_TRY(open_values(t, &t->train_values, train, "train", &e->train));
    if (t->watched.p)
        HL_TRY(open_curves(t, "train", &e->train, &t->s_train_curve));
    if (t->eval.p) {
        HL_TRY(open_values(t, &t->eval_values, e->source.is_text ? text : eval, "eval", &e->eval));
        HL_TRY(open_curves(t, "eval", &e->eval, &t->s_eval_curve));
        t->result.number = hl_alloc_zero((size_t)e->eval.n_numbers + 1, sizeof(double));
        if (!t->result.number)
            return HL_E_NOMEM;
    }
    int64_t most = hl_train_solve_largest(t);
    for (int i = 0; i < 2; i++) {
        const int64_t n = largest_curve(i ? &t->eval : &t->watched);
        most = n > most ? n : most;
    }
    if (e->fp64 && most > 0) {
        t->narrow = hl_alloc((size_t)most * sizeof *t->narrow);
        st = t->narrow ? HL_OK : HL_E_NOMEM;
    }
out:
    return st;
}

void hl_train_metrics_done(hl_train *t)
{
    values_done(&t->train_values);
    values_done(&t->eval_values);
    hl_free(t->s_train_curve);
    hl_free(t->s_eval_curve);
    hl_free(t->result.number);
    hl_free(t->narrow);
    hl_trajectory_free(t->trajectory);
}

/* ---- steps ----------------------------------------------------------------------------------- */

void hl_train_numbers_read(hl_train *t, const step_program *p)
{
    tagged_values *v = &t->train_values;
    const int first = v->n - v->n_owned;
    v->value[0] = t->loss;
    v->value[1] = t->grad_norm;
    v->value[2] = t->lr_now;
    for (int i = 0; i < v->n_owned; i++)
        v->value[first + i] = hl_unsigned_nan(hl_train_output(t, p, p->tg.first_metric + i));
}

void hl_train_numbers_log(hl_train *t)
{
    const tagged_values *v = &t->train_values;
    for (int i = 0; i < v->n_owned; i++)
        t->sink.scalar(t->sink.self, v->series[i], t->step, v->value[v->n - v->n_owned + i]);
}

const float *hl_train_curve(hl_train *t, const step_program *p, int out, const hl_type **type)
{
    *type = hl_program_output_type(p->p, out);
    const void *data = hl_program_output(p->p, out);
    for (int64_t k = 0; t->narrow && k < hl_type_count(*type); k++)
        t->narrow[k] = (float)((const double *)data)[k];
    return t->narrow ? t->narrow : data;
}

void hl_train_curves_report(hl_train *t, const step_program *p)
{
    const int first = p->trace->n_numbers;
    const int *series = p == &t->watched ? t->s_train_curve : t->s_eval_curve;
    for (int i = first; i < curves_end(p->trace); i++) {
        const hl_type *type;
        const float *v = hl_train_curve(t, p, p->tg.first_metric + i, &type);
        t->sink.curve(t->sink.self, series[i - first], t->step, v,
                      type->rank == 2 ? type->dim[0] : 1, type->dim[type->rank - 1]);
    }
}

/* ---- evaluations ----------------------------------------------------------------------------- */

void hl_train_eval_numbers_add(hl_train *t, const step_program *p, double weight)
{
    for (int i = 0; i < p->trace->n_numbers; i++)
        t->result.number[i] += weight * hl_train_output(t, p, p->tg.first_metric + i);
}

void hl_train_eval_numbers_end(hl_train *t, double weights)
{
    const eval_result *r = &t->result;
    tagged_values *v = &t->eval_values;
    int n = 0;
    v->value[n++] = r->loss;
    if (t->e->source.is_text) {
        v->value[n++] = r->ppl;
        v->value[n++] = r->bpb;
    }
    v->value[n++] = r->max_inf_norm;
    for (int i = 0; i < v->n_owned; i++) {
        const int k = i - t->e->eval.n_numbers;
        if (k < 0)
            r->number[i] /= weights;
        v->value[n] = hl_unsigned_nan(k < 0 ? r->number[i] : hl_train_forecast_value(t, k));
        t->sink.scalar(t->sink.self, v->series[i], t->step, v->value[n++]);
    }
}
