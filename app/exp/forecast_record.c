#include "app/exp/forecast_record.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

/* Residuals are counted on the series' scale in bins of 1/64 from -16 to 16, from which
 * HL_RECORD_BINS wider ones are made. */
#define FINE_WIDTH (1.0 / 64)
enum { FINE = 2048, FINE_HALF = FINE / 2, WINDOWS_BEFORE_HISTORY = 3, HISTORY_MIN = 48 };

typedef struct residuals {
    int64_t count[FINE];
    double n, sum, squares, abs, min, max; /* of finite ones, in the record's units */
    int64_t n_non_finite;
} residuals;

typedef struct mean {
    double sum, n;
} mean;

struct hl_forecast_record {
    hl_forecast_params p;
    const hl_series_facts *info;
    hl_record_plan plan;
    int64_t n_all, n_seen; /* windows: of the evaluation; so far */
    int n_places;          /* of the error by step */
    residuals *residual;   /* [n_channels] */
    mean *ahead;           /* [n_channels + 1][n_places]; the last of all channels */
    float *values;         /* [n_windows][n_channels][history + 2 * horizon] */
};

/* ---- what is recorded ---- */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool is_too_much(const hl_record_plan *p)
{
    return p->n_windows * p->n_channels * (p->history + 2 * p->horizon) > HL_RECORD_NUMBERS;
}

hl_record_plan hl_record_plan_of(const hl_series_facts *s, int64_t n_windows)
{
    const int64_t longest = HL_RECORD_NUMBERS / 4;
    hl_record_plan p = {.n_channels = least(s->n_channels, HL_RECORD_CHANNELS),
                        .n_windows = least(n_windows, HL_RECORD_WINDOWS),
                        .history = least(s->in_len, most(2 * s->out_len, HISTORY_MIN)),
                        .horizon = least(s->out_len, longest)};
    const int64_t shortest = least(p.history, most(p.horizon / 4, HISTORY_MIN));
    p.ahead_each = (s->out_len + HL_RECORD_AHEAD - 1) / HL_RECORD_AHEAD;
    while (is_too_much(&p) && p.n_windows > WINDOWS_BEFORE_HISTORY)
        p.n_windows--;
    while (is_too_much(&p) && p.history > shortest)
        p.history = most(p.history / 2, shortest);
    while (is_too_much(&p) && p.n_windows > 1)
        p.n_windows--;
    while (is_too_much(&p) && p.n_channels > 1)
        p.n_channels--;
    return p;
}

static int64_t channel_at(const hl_forecast_record *r, int64_t i)
{
    return i * r->info->n_channels / r->plan.n_channels;
}

static int64_t window_at(const hl_forecast_record *r, int64_t i)
{
    return (2 * i + 1) * r->n_all / (2 * r->plan.n_windows);
}

static int64_t row_length(const hl_forecast_record *r)
{
    return r->plan.history + 2 * r->plan.horizon;
}

/* ---- life ---- */

hl_status hl_forecast_record_new(const hl_forecast_params *p, hl_forecast_record **out)
{
    hl_forecast_record *r = hl_alloc_zero(1, sizeof *r);
    if (!r)
        return HL_E_NOMEM;
    r->p = *p;
    r->info = hl_series_get_facts(p->series);
    *out = r;
    return HL_OK;
}

static void forget(hl_forecast_record *r)
{
    hl_free(r->residual);
    hl_free(r->ahead);
    hl_free(r->values);
    r->residual = NULL;
    r->ahead = NULL;
    r->values = NULL;
}

void hl_forecast_record_free(hl_forecast_record *r)
{
    if (!r)
        return;
    forget(r);
    hl_free(r);
}

hl_status hl_forecast_record_begin(hl_forecast_record *r, int64_t n_windows)
{
    const hl_record_plan p = hl_record_plan_of(r->info, n_windows);
    forget(r);
    r->plan = p;
    r->n_all = n_windows;
    r->n_seen = 0;
    r->n_places = (int)((r->info->out_len + p.ahead_each - 1) / p.ahead_each);
    const size_t n_values = (size_t)(p.n_windows * p.n_channels * row_length(r));
    r->residual = hl_alloc_zero((size_t)p.n_channels, sizeof *r->residual);
    r->ahead = hl_alloc_zero((size_t)((p.n_channels + 1) * r->n_places), sizeof *r->ahead);
    r->values = hl_alloc_zero(n_values + 1, sizeof *r->values);
    if (!r->residual || !r->ahead || !r->values)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n_values; i++)
        r->values[i] = NAN;
    return HL_OK;
}

/* ---- a batch ---- */

static double number(const hl_forecast_record *r, const void *at, int64_t i)
{
    return r->p.fp64 ? ((const double *)at)[i] : (double)((const float *)at)[i];
}

static double in_units(const hl_forecast_record *r, int64_t channel, double v)
{
    return r->p.inverse ? hl_series_unscale(r->p.series, channel, v) : v;
}

static double unit(const hl_forecast_record *r, int64_t channel)
{
    return r->p.inverse ? r->info->std[channel] : 1;
}

static void count(residuals *s, double d, double u)
{
    if (!isfinite(d)) {
        s->n_non_finite++;
        return;
    }
    const double place = fmin(fmax(floor(d / FINE_WIDTH), -FINE_HALF), FINE_HALF - 1);
    const double v = d * u;
    s->count[(int)place + FINE_HALF]++;
    s->min = s->n == 0 ? v : fmin(s->min, v);
    s->max = s->n == 0 ? v : fmax(s->max, v);
    s->n++;
    s->sum += v;
    s->squares += v * v;
    s->abs += fabs(v);
}

/* Every value of the batch: into the error of all channels and, of recorded ones, into theirs. */
static void add_errors(hl_forecast_record *r, const hl_forecast_batch *b)
{
    const int64_t n_channels = r->info->n_channels, out_len = r->info->out_len;
    for (int64_t row = 0; row < b->n_rows * out_len; row++) {
        const int64_t place = row % out_len / r->plan.ahead_each;
        for (int64_t c = 0, recorded = 0, next = channel_at(r, 0); c < n_channels; c++) {
            const int64_t k = row * n_channels + c, own = recorded;
            const bool is_recorded = c == next;
            if (is_recorded) /* behind the last one: n_channels */
                next = channel_at(r, ++recorded);
            if (b->seen && number(r, b->seen, k) == 0)
                continue;
            const double d = number(r, b->prediction, k) - number(r, b->y, k), u = unit(r, c);
            mean *all = &r->ahead[r->plan.n_channels * r->n_places + place];
            all->sum += d * d * u * u;
            all->n++;
            if (!is_recorded)
                continue;
            r->ahead[own * r->n_places + place].sum += d * d * u * u;
            r->ahead[own * r->n_places + place].n++;
            count(&r->residual[own], d, u);
        }
    }
}

static void keep_window(hl_forecast_record *r, const hl_forecast_batch *b, int64_t in_batch,
                        int64_t window)
{
    const hl_series_facts *s = r->info;
    const hl_record_plan *p = &r->plan;
    for (int64_t i = 0; i < p->n_channels; i++) {
        const int64_t c = channel_at(r, i);
        float *to = r->values + (window * p->n_channels + i) * row_length(r);
        for (int64_t h = 0; h < p->history; h++) {
            const int64_t row = in_batch * s->in_len + s->in_len - p->history + h;
            to[h] = (float)in_units(r, c, number(r, b->x, row * s->n_channels + c));
        }
        for (int64_t h = 0; h < p->horizon; h++) {
            const int64_t k = (in_batch * s->out_len + h) * s->n_channels + c;
            if (!b->seen || number(r, b->seen, k) != 0)
                to[p->history + h] = (float)in_units(r, c, number(r, b->y, k));
            to[p->history + p->horizon + h] = (float)in_units(r, c, number(r, b->prediction, k));
        }
    }
}

void hl_forecast_record_add(hl_forecast_record *r, const hl_forecast_batch *b)
{
    if (!b->prediction || !r->values)
        return;
    add_errors(r, b);
    for (int64_t i = 0; i < r->plan.n_windows; i++) {
        const int64_t at = window_at(r, i) - r->n_seen;
        if (at >= 0 && at < b->n_rows)
            keep_window(r, b, at, i);
    }
    r->n_seen += b->n_rows;
}

/* ---- the event ---- */

/* Five digits are more than a picture shows. A value that is not there is null. */
static void add_short(hl_str *json, double v, bool is_there)
{
    char text[32];
    if (!is_there) {
        hl_json_add_null(json);
        return;
    }
    snprintf(text, sizeof text, "%.5g", v);
    hl_json_add_num(json, isfinite(v) ? strtod(text, NULL) : v);
}

static void put_floats(const char *key, const float *v, int64_t n, bool nan_is_missing,
                       hl_str *json)
{
    hl_json_add_key(json, key);
    hl_json_begin(json, '[');
    for (int64_t i = 0; i < n; i++)
        add_short(json, (double)v[i], !nan_is_missing || !isnan(v[i]));
    hl_json_end(json, ']');
}

static void put_ahead(const hl_forecast_record *r, int64_t i, hl_str *json)
{
    const mean *m = r->ahead + i * r->n_places;
    hl_json_add_key(json, "mse_ahead");
    hl_json_begin(json, '[');
    for (int k = 0; k < r->n_places; k++)
        add_short(json, m[k].sum / m[k].n, m[k].n > 0);
    hl_json_end(json, ']');
}

/* As many fine bins to a wide one that at most one value in a thousand lies beyond the ends. */
static int fine_each(const residuals *s)
{
    int each = 1;
    for (; each < FINE / HL_RECORD_BINS; each *= 2) {
        int64_t inside = 0;
        for (int i = -HL_RECORD_BINS / 2 * each; i < HL_RECORD_BINS / 2 * each; i++)
            inside += s->count[FINE_HALF + i];
        if ((double)inside >= 0.999 * s->n)
            break;
    }
    return each;
}

static void put_residuals(const hl_forecast_record *r, int64_t i, hl_str *json)
{
    const residuals *s = &r->residual[i];
    const int each = fine_each(s);
    int64_t bin[HL_RECORD_BINS] = {0};
    for (int k = -FINE_HALF; k < FINE_HALF; k++) {
        const double at = floor((double)k / each) + HL_RECORD_BINS / 2;
        bin[(int)fmin(fmax(at, 0), HL_RECORD_BINS - 1)] += s->count[FINE_HALF + k];
    }
    const double m = s->sum / s->n, variance = s->squares / s->n - m * m;
    hl_json_add_key(json, "residual");
    hl_json_begin(json, '{');
    hl_json_put_num(json, "width", each * FINE_WIDTH * unit(r, channel_at(r, i)));
    hl_json_put_num(json, "n", s->n);
    hl_json_put_int(json, "n_non_finite", s->n_non_finite);
    hl_json_put_num(json, "mean", m);
    hl_json_put_num(json, "sd", sqrt(fmax(variance, 0)));
    hl_json_put_num(json, "min", s->n > 0 ? s->min : nan(""));
    hl_json_put_num(json, "max", s->n > 0 ? s->max : nan(""));
    hl_json_add_key(json, "count");
    hl_json_begin(json, '[');
    for (int k = 0; k < HL_RECORD_BINS; k++)
        hl_json_add_int(json, bin[k]);
    hl_json_end(json, ']');
    hl_json_end(json, '}');
}

static void put_channels(const hl_forecast_record *r, hl_str *json)
{
    hl_json_add_key(json, "channels");
    hl_json_begin(json, '[');
    for (int64_t i = 0; i < r->plan.n_channels; i++) {
        const residuals *s = &r->residual[i];
        const int64_t c = channel_at(r, i);
        const double n = s->n_non_finite ? nan("") : s->n;
        hl_json_begin(json, '{');
        hl_json_put_str(json, "name", r->info->names[c]);
        hl_json_put_int(json, "channel", c);
        hl_json_put_num(json, "mse", s->squares / n);
        hl_json_put_num(json, "mae", s->abs / n);
        put_ahead(r, i, json);
        put_residuals(r, i, json);
        hl_json_end(json, '}');
    }
    hl_json_end(json, ']');
}

static void put_windows(const hl_forecast_record *r, hl_series_part part, hl_str *json)
{
    const hl_record_plan *p = &r->plan;
    hl_json_add_key(json, "windows");
    hl_json_begin(json, '[');
    for (int64_t i = 0; i < p->n_windows && window_at(r, i) < r->n_seen; i++) {
        const int64_t window = window_at(r, i);
        hl_json_begin(json, '{');
        hl_json_put_int(json, "window", window);
        hl_json_put_int(json, "row", r->info->part[part].first + window + r->info->in_len);
        hl_json_add_key(json, "channels");
        hl_json_begin(json, '[');
        for (int64_t c = 0; c < p->n_channels; c++) {
            const float *v = r->values + (i * p->n_channels + c) * row_length(r);
            hl_json_begin(json, '{');
            put_floats("history", v, p->history, false, json);
            put_floats("truth", v + p->history, p->horizon, true, json);
            put_floats("prediction", v + p->history + p->horizon, p->horizon, false, json);
            hl_json_end(json, '}');
        }
        hl_json_end(json, ']');
        hl_json_end(json, '}');
    }
    hl_json_end(json, ']');
}

/* Of all channels; of forecasts without a model where they were measured too. */
static void put_errors(const hl_forecast *f, hl_str *json)
{
    static const char *const keys[HL_FORECASTERS] = {"mse", "mse_mean", "mse_repeat_last",
                                                     "mse_seasonal"};
    hl_json_put_num(json, "mae",
                    hl_forecast_value(f, HL_FORECAST_MODEL, HL_MEASURE_MAE, HL_BY_ELEMENT));
    for (int who = 0; who < HL_FORECASTERS; who++) {
        const double mse = hl_forecast_value(f, (hl_forecaster)who, HL_MEASURE_MSE, HL_BY_ELEMENT);
        if (who == HL_FORECAST_MODEL || !isnan(mse))
            hl_json_put_num(json, keys[who], mse);
    }
}

bool hl_forecast_record_put(const hl_forecast_record *r, const hl_forecast *measured,
                            hl_series_part part, int64_t step, hl_str *json)
{
    if (r->n_seen == 0)
        return false;
    hl_json_begin(json, '{');
    hl_json_put_str(json, "part", hl_series_part_name(part));
    hl_json_put_str(json, "series", r->info->label);
    hl_json_put_str(json, "units", r->p.inverse ? "data" : "standardised");
    hl_json_put_int(json, "step", step);
    hl_json_put_int(json, "in_len", r->info->in_len);
    hl_json_put_int(json, "out_len", r->info->out_len);
    hl_json_put_int(json, "n_windows", r->n_seen);
    hl_json_put_int(json, "n_channels", r->info->n_channels);
    hl_json_put_int(json, "history", r->plan.history);
    hl_json_put_int(json, "horizon", r->plan.horizon);
    hl_json_put_int(json, "ahead_each", r->plan.ahead_each);
    put_errors(measured, json);
    put_ahead(r, r->plan.n_channels, json);
    put_channels(r, json);
    put_windows(r, part, json);
    hl_json_end(json, '}');
    return true;
}
