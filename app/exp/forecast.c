#include "app/exp/forecast.h"

#include <math.h>
#include <stdio.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"

const char *const hl_measure_names[HL_MEASURE_COUNT] = {"mae", "mse", "rmse", "mape", "mspe"};

static const char *const forecaster_keys[HL_FORECASTERS] = {"model", "mean", "repeat_last",
                                                            "seasonal"};

/* Of one forecaster. */
typedef struct score {
    double sum[HL_MEASURE_COUNT], n;           /* over elements; RMSE's is empty */
    double by_batch[HL_MEASURE_COUNT], weight; /* over batches */
    double batch_mse, n_batches;
} score;

struct hl_forecast {
    hl_forecast_params p;
    const hl_series_facts *info;
    score score[HL_FORECASTERS];
    hl_npy *prediction, *truth;
    float *row; /* a batch as it is stored */
    bool naive;
};

hl_status hl_forecast_new(const hl_forecast_params *p, hl_forecast **out)
{
    hl_forecast *f = hl_alloc_zero(1, sizeof *f);
    if (!f)
        return HL_E_NOMEM;
    f->p = *p;
    f->info = hl_series_get_facts(p->series);
    *out = f;
    return HL_OK;
}

static void discard_files(hl_forecast *f)
{
    hl_npy_discard(f->prediction);
    hl_npy_discard(f->truth);
    f->prediction = f->truth = NULL;
}

void hl_forecast_free(hl_forecast *f)
{
    if (!f)
        return;
    discard_files(f);
    hl_free(f->row);
    hl_free(f);
}

/* ---- measuring ------------------------------------------------------------------------------- */

static double number(const hl_forecast *f, const void *at, int64_t i)
{
    return f->p.fp64 ? ((const double *)at)[i] : (double)((const float *)at)[i];
}

static double in_units(const hl_forecast *f, int64_t c, double v)
{
    return f->p.inverse ? hl_series_unscale(f->p.series, c, v) : v;
}

/* What `who` says of all channels at step h of a window begins at *first of the array returned;
 * NULL: zeros. */
static const void *said(const hl_forecast *f, hl_forecaster who, const hl_forecast_batch *b,
                        int64_t window, int64_t h, int64_t *first)
{
    const hl_series_facts *i = f->info;
    int64_t row = window * i->in_len + i->in_len;
    switch (who) {
    case HL_FORECAST_MODEL:
        *first = (window * i->out_len + h) * i->n_channels;
        return b->prediction;
    case HL_FORECAST_LAST:
        row -= 1;
        break;
    case HL_FORECAST_SEASON:
        row += h % i->period - i->period;
        break;
    default:
        return NULL;
    }
    *first = row * i->n_channels;
    return b->x;
}

static bool is_measured(const hl_forecast *f, hl_forecaster who, const hl_forecast_batch *b)
{
    const bool has_season = f->info->period >= 1 && f->info->period <= f->info->in_len;
    return who == HL_FORECAST_MODEL ? b->prediction != NULL
                                    : f->naive && (who != HL_FORECAST_SEASON || has_season);
}

static void add_element(double sum[HL_MEASURE_COUNT], double p, double t)
{
    const double d = p - t, share = d / t;
    sum[HL_MEASURE_MAE] += fabs(d);
    sum[HL_MEASURE_MSE] += d * d;
    sum[HL_MEASURE_MAPE] += fabs(share);
    sum[HL_MEASURE_MSPE] += share * share;
}

static void add_batch(score *s, const double sum[HL_MEASURE_COUNT], double n, double rows)
{
    if (n == 0)
        return;
    for (int m = 0; m < HL_MEASURE_COUNT; m++) {
        s->sum[m] += sum[m];
        s->by_batch[m] +=
            (m == HL_MEASURE_RMSE ? sqrt(sum[HL_MEASURE_MSE] / n) : sum[m] / n) * rows;
    }
    s->n += n;
    s->weight += rows;
    s->batch_mse += sum[HL_MEASURE_MSE] / n;
    s->n_batches++;
}

static void measure(hl_forecast *f, hl_forecaster who, const hl_forecast_batch *b)
{
    const int64_t n_channels = f->info->n_channels, out_len = f->info->out_len;
    double sum[HL_MEASURE_COUNT] = {0}, n = 0;
    for (int64_t r = 0; r < b->n_rows * out_len; r++) {
        int64_t first = 0;
        const void *p = said(f, who, b, r / out_len, r % out_len, &first);
        for (int64_t c = 0; c < n_channels; c++) {
            const int64_t k = r * n_channels + c;
            if (b->seen && number(f, b->seen, k) == 0)
                continue;
            const double guess = p ? number(f, p, first + c) : 0;
            add_element(sum, in_units(f, c, guess), in_units(f, c, number(f, b->y, k)));
            n++;
        }
    }
    add_batch(&f->score[who], sum, n, (double)b->n_rows);
}

/* ---- files ----------------------------------------------------------------------------------- */

static hl_status open_file(const hl_forecast *f, const char *dir, const char *name,
                           int64_t n_windows, hl_npy **out)
{
    const int64_t dim[] = {n_windows, f->info->out_len, f->info->n_channels};
    char *path = hl_fs_join(dir, name);
    hl_status st = path ? hl_npy_open(path, dim, 3, out) : HL_E_NOMEM;
    hl_free(path);
    return st;
}

hl_status hl_forecast_begin(hl_forecast *f, bool naive, const char *dir, int64_t n_windows)
{
    hl_status st = HL_OK;
    for (int who = 0; who < HL_FORECASTERS; who++)
        f->score[who] = (score){0};
    f->naive = naive;
    discard_files(f);
    if (!dir)
        return HL_OK;
    const int64_t n = f->p.batch_size * f->info->out_len * f->info->n_channels;
    hl_free(f->row);
    f->row = hl_alloc((size_t)n * sizeof *f->row);
    if (!f->row)
        return HL_E_NOMEM;
    HL_TRY(open_file(f, dir, "prediction.npy", n_windows, &f->prediction));
    HL_TRY(open_file(f, dir, "truth.npy", n_windows, &f->truth));
out:
    return st;
}

static hl_status write_batch(hl_forecast *f, const hl_forecast_batch *b, const void *from,
                             const void *seen, hl_npy *to)
{
    const int64_t n = b->n_rows * f->info->out_len * f->info->n_channels;
    for (int64_t k = 0; k < n; k++) {
        const bool is_there = !seen || number(f, seen, k) != 0;
        f->row[k] =
            is_there ? (float)in_units(f, k % f->info->n_channels, number(f, from, k)) : NAN;
    }
    return hl_npy_add(to, f->row, n);
}

hl_status hl_forecast_add(hl_forecast *f, const hl_forecast_batch *b)
{
    for (int who = 0; who < HL_FORECASTERS; who++)
        if (is_measured(f, (hl_forecaster)who, b))
            measure(f, (hl_forecaster)who, b);
    hl_status st = HL_OK;
    if (f->prediction && b->prediction)
        st = write_batch(f, b, b->prediction, NULL, f->prediction);
    if (st == HL_OK && f->truth)
        st = write_batch(f, b, b->y, b->seen, f->truth);
    return st;
}

hl_status hl_forecast_end(hl_forecast *f)
{
    hl_npy *prediction = f->prediction, *truth = f->truth;
    f->prediction = f->truth = NULL;
    hl_status st = prediction ? hl_npy_close(prediction) : HL_OK;
    if (st == HL_OK && truth)
        return hl_npy_close(truth);
    hl_npy_discard(truth);
    return st;
}

/* ---- what came out --------------------------------------------------------------------------- */

double hl_forecast_value(const hl_forecast *f, hl_forecaster who, hl_measure m, hl_weighting w)
{
    const score *s = &f->score[who];
    if (s->n == 0)
        return nan("");
    if (w == HL_BY_BATCH)
        return s->by_batch[m] / s->weight;
    return m == HL_MEASURE_RMSE ? sqrt(s->sum[HL_MEASURE_MSE] / s->n) : s->sum[m] / s->n;
}

double hl_forecast_batch_loss(const hl_forecast *f)
{
    const score *s = &f->score[HL_FORECAST_MODEL];
    return s->n_batches > 0 ? s->batch_mse / s->n_batches : nan("");
}

static void put_measures(const hl_forecast *f, hl_forecaster who, hl_weighting w, hl_str *json)
{
    for (int m = 0; m < HL_MEASURE_COUNT; m++)
        hl_json_put_num(json, hl_measure_names[m], hl_forecast_value(f, who, (hl_measure)m, w));
}

static void put_object(const hl_forecast *f, const char *key, hl_forecaster who, hl_weighting w,
                       hl_str *json)
{
    hl_json_add_key(json, key);
    hl_json_begin(json, '{');
    put_measures(f, who, w, json);
    hl_json_end(json, '}');
}

void hl_forecast_put(const hl_forecast *f, hl_str *json)
{
    put_measures(f, HL_FORECAST_MODEL, HL_BY_ELEMENT, json);
    hl_json_put_num(json, "batch_loss", hl_forecast_batch_loss(f));
    put_object(f, "reference", HL_FORECAST_MODEL, HL_BY_BATCH, json);
    if (!f->naive)
        return;
    hl_json_add_key(json, "naive");
    hl_json_begin(json, '{');
    for (int who = HL_FORECAST_MEAN; who < HL_FORECASTERS; who++)
        if (f->score[who].n > 0)
            put_object(f, forecaster_keys[who], (hl_forecaster)who, HL_BY_ELEMENT, json);
    hl_json_end(json, '}');
}

static void put_line(const hl_forecast *f, const char *name, hl_forecaster who, hl_weighting w,
                     hl_str *b)
{
    hl_str_addf(b, "  %-21s", name);
    for (int m = 0; m < HL_MEASURE_COUNT; m++)
        hl_str_addf(b, " %10.5g", hl_forecast_value(f, who, (hl_measure)m, w));
    hl_str_addc(b, '\n');
}

void hl_forecast_text(const hl_forecast *f, hl_str *b)
{
    static const char *const names[HL_FORECASTERS] = {"this model", "mean", "last value"};
    hl_str_addf(b, "  %-21s", f->p.inverse ? "in the data's units" : "standardised");
    for (int m = 0; m < HL_MEASURE_COUNT; m++)
        hl_str_addf(b, " %10s", hl_measure_names[m]);
    hl_str_addc(b, '\n');
    for (int who = 0; who < HL_FORECASTERS; who++) {
        char season[40];
        (void)snprintf(season, sizeof season, "%lld steps earlier", (long long)f->info->period);
        if (f->score[who].n > 0)
            put_line(f, who == HL_FORECAST_SEASON ? season : names[who], (hl_forecaster)who,
                     HL_BY_ELEMENT, b);
        if (who == HL_FORECAST_MODEL && f->score[who].n > 0)
            put_line(f, "  averaged by batch", HL_FORECAST_MODEL, HL_BY_BATCH, b);
    }
}
