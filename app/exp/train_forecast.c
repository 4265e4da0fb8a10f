/* Forecasts: how good they are at each evaluation, and, once the run is done, on the test part. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/exp/train_internal.h"
#include "engine/base/fs.h"

const char *const hl_train_forecast_names[HL_TRAIN_FORECASTS + 1] = {
    "mae", "mse", "rmse", "mape", "mspe", "batch_loss", NULL};

hl_status hl_train_forecast_open(hl_train *t)
{
    hl_status st = HL_OK;
    const hl_experiment *e = t->e;
    if (!t->eval.p || !e->source.series)
        return HL_OK;
    const hl_forecast_params p = {.series = e->source.series,
                                  .inverse = e->inverse,
                                  .fp64 = e->fp64,
                                  .batch_size = e->eval_batch_size};
    HL_TRY(hl_forecast_new(&p, &t->eval_forecast));
    HL_TRY(hl_forecast_new(&p, &t->test_forecast));
    if (!t->s.eval_only && e->eval.has_prediction)
        HL_TRY(hl_forecast_record_new(&p, &t->record));
out:
    return st;
}

void hl_train_forecast_done(hl_train *t)
{
    hl_forecast_free(t->eval_forecast);
    hl_forecast_free(t->test_forecast);
    hl_forecast_record_free(t->record);
    hl_free(t->test.taps);
    hl_free(t->test.number);
}

/* Of the evaluation that is going on. */
static hl_forecast *current(const hl_train *t)
{
    return t->is_testing ? t->test_forecast : t->eval_forecast;
}

/* Files go beside the checkpoints' folder, or where the setup says. */
static hl_status pred_dir(const hl_train *t, char **dir)
{
    const bool wanted = t->s.pred_dir || (t->e->save_pred && t->is_testing && t->ckpt_dir);
    *dir = NULL;
    if (!wanted)
        return HL_OK;
    *dir = t->s.pred_dir ? hl_fs_absolute(t->s.pred_dir) : hl_fs_parent(t->ckpt_dir);
    if (!*dir)
        return HL_E_NOMEM;
    return t->s.pred_dir ? hl_fs_make_dir(*dir) : HL_OK;
}

static int64_t n_windows(const hl_train *t)
{
    const bool on_test = t->is_testing || t->s.eval_on_test;
    const int64_t all = t->e->source.n_items[on_test ? HL_PART_TEST : HL_PART_EVAL];
    const int64_t most = t->is_testing ? 0 : t->e->eval_batches * t->e->eval_batch_size;
    return most > 0 && most < all ? most : all;
}

hl_status hl_train_forecast_begin(hl_train *t)
{
    hl_status st = HL_OK;
    char *dir = NULL;
    if (!t->eval_forecast)
        return HL_OK;
    HL_TRY(pred_dir(t, &dir));
    if (dir && !t->e->eval.has_prediction)
        HL_FAIL(HL_E_STATE, "there are no forecasts to save: the loss must return them, as { "
                            "prediction = … } beside it");
    const bool naive = t->is_testing || t->s.eval_only;
    HL_TRY(hl_forecast_begin(current(t), naive, dir, n_windows(t)));
    if (t->record)
        HL_TRY(hl_forecast_record_begin(t->record, n_windows(t)));
out:
    hl_free(dir);
    return st;
}

hl_status hl_train_forecast_add(hl_train *t, const step_program *p, const hl_feed_batch *b)
{
    if (!t->eval_forecast)
        return HL_OK;
    const int last = p->tg.first_metric + p->trace->n_metrics - 1;
    const hl_forecast_batch batch = {
        .prediction = p->trace->has_prediction ? hl_program_output(p->p, last) : NULL,
        .x = b->data[0],
        .y = b->data[1],
        .seen = b->data[2],
        .n_rows = b->n_rows};
    if (t->record)
        hl_forecast_record_add(t->record, &batch);
    return hl_forecast_add(current(t), &batch);
}

hl_status hl_train_forecast_end(hl_train *t)
{
    if (t->is_testing && t->s.host.stop_signal(t->s.host.self))
        return hl_err_set(HL_E_CANCELLED, "interrupted: it has no numbers");
    return t->eval_forecast ? hl_forecast_end(current(t)) : HL_OK;
}

double hl_train_forecast_value(const hl_train *t, int i)
{
    return i < HL_MEASURE_COUNT
               ? hl_forecast_value(current(t), HL_FORECAST_MODEL, (hl_measure)i, HL_BY_ELEMENT)
               : hl_forecast_batch_loss(current(t));
}

void hl_train_forecast_report(hl_train *t)
{
    hl_str json = {0};
    const hl_sink *k = &t->sink;
    const hl_series_part part = t->is_testing || t->s.eval_on_test ? HL_SERIES_TEST : HL_SERIES_VAL;
    const int64_t step = t->is_testing ? t->test.step : t->step;
    if (t->record && hl_forecast_record_put(t->record, current(t), part, step, &json) &&
        hl_str_status(&json) == HL_OK)
        k->json(k->self,
                k->series(k->self, t->is_testing ? "forecast/test" : "forecast/eval",
                          HL_SERIES_JSON, "table"),
                t->step, json.s);
    hl_str_done(&json);
}

/* What turns forecasts into the data's units and other data into the model's. */
void hl_train_scale_report(hl_train *t)
{
    hl_str b = {0};
    if (!t->e->source.series)
        return;
    const hl_series_facts *i = hl_series_get_facts(t->e->source.series);
    hl_json_begin(&b, '[');
    for (int64_t c = 0; c < i->n_channels; c++) {
        hl_json_begin(&b, '{');
        hl_json_put_str(&b, "channel", i->names[c]);
        hl_json_put_num(&b, "mean", i->mean[c]);
        hl_json_put_num(&b, "std", i->std[c]);
        hl_json_end(&b, '}');
    }
    hl_json_end(&b, ']');
    if (hl_str_status(&b) == HL_OK)
        t->s.host.artifact(t->s.host.self, "scale.json", hl_str_text(&b));
    hl_str_done(&b);
}

/* ---- the test part --------------------------------------------------------------------------- */

/* The weights of the best checkpoint, if the run has chosen one; else they stay as they are. */
static hl_status take_best(hl_train *t, int64_t *step)
{
    hl_status st = HL_OK;
    const int64_t now = t->step;
    char name[40];
    *step = now;
    if (!t->ckpt_dir || !t->has_best || t->best_step < 0 || t->best_step == now)
        return HL_OK;
    snprintf(name, sizeof name, "step-%010lld", (long long)t->best_step);
    char *path = hl_fs_join(t->ckpt_dir, name);
    if (!path)
        return HL_E_NOMEM;
    HL_TRY(hl_train_load(t, path));
    *step = t->best_step;
out:
    t->step = now;
    hl_free(path);
    return st;
}

static void report_test(hl_train *t)
{
    const hl_sink *k = &t->sink;
    char text[200];
    hl_train_log_scalar(t, "test/loss", t->test.loss);
    for (int i = 0; i < HL_TRAIN_FORECASTS && t->e->eval.has_prediction; i++) {
        snprintf(text, sizeof text, "test/%s", hl_train_forecast_names[i]);
        k->scalar(k->self, k->series(k->self, text, HL_SERIES_SCALAR, NULL), t->step,
                  hl_train_forecast_value(t, i));
    }
    hl_train_forecast_report(t);
    snprintf(text, sizeof text, "test, weights of step %lld: loss %.4f, mae %.4f",
             (long long)t->test.step, t->test.loss, hl_train_forecast_value(t, HL_MEASURE_MAE));
    hl_train_notice(t, HL_NOTICE_INFO, text);
}

hl_status hl_train_test(hl_train *t)
{
    hl_status st = HL_OK;
    int64_t step;
    if (!t->eval.p || t->e->source.n_items[HL_PART_TEST] == 0)
        return HL_OK;
    t->s.host.phase(t->s.host.self, HL_PHASE_EVALUATING, t->step);
    HL_TRY_CTX(take_best(t, &step), "the best weights for the test part");
    HL_TRY_CTX(hl_train_measure_part(t, HL_PART_TEST, 0, &t->test), "the test part");
    t->test.step = step;
    t->is_testing = true;
    report_test(t);
    t->is_testing = false;
out:
    t->s.host.phase(t->s.host.self, HL_PHASE_TRAINING, t->step);
    return st;
}

/* ---- results --------------------------------------------------------------------------------- */

void hl_train_test_put(const hl_train *t, hl_str *b)
{
    char tag[40];
    for (int m = 0; t->test.valid && m < HL_MEASURE_COUNT; m++) {
        snprintf(tag, sizeof tag, "test/%s", hl_measure_names[m]);
        hl_json_put_num(
            b, tag,
            hl_forecast_value(t->test_forecast, HL_FORECAST_MODEL, (hl_measure)m, HL_BY_ELEMENT));
    }
}

void hl_train_forecast_put(const hl_train *t, hl_str *b)
{
    if (!t->eval_forecast)
        return;
    if (t->result.valid && t->e->eval.has_prediction) {
        hl_json_add_key(b, "forecast");
        hl_json_begin(b, '{');
        hl_forecast_put(t->eval_forecast, b);
        hl_json_end(b, '}');
    }
    if (!t->test.valid)
        return;
    hl_json_add_key(b, "test");
    hl_json_begin(b, '{');
    hl_json_put_int(b, "step", t->test.step);
    hl_json_put_num(b, "loss", t->test.loss);
    hl_forecast_put(t->test_forecast, b);
    for (int i = 0; i < HL_TRAIN_METRICS && t->eval.n_taps; i++)
        hl_json_put_num(b, hl_train_metric_names[i], hl_train_metric(&t->test, i));
    hl_json_end(b, '}');
}

void hl_train_forecasts(const hl_train *t, hl_str *out)
{
    if (t->eval_forecast && t->result.valid)
        hl_forecast_text(t->eval_forecast, out);
}

void hl_train_forecast_text(const hl_train *t, hl_str *b)
{
    if (!t->test.valid)
        return;
    hl_str_addf(b, "  test loss             %10.4f  (weights of step %lld)\n", t->test.loss,
                (long long)t->test.step);
    hl_forecast_text(t->test_forecast, b);
}
