#include "app/store/forecast_table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"

/* Beyond what is ever written: of damaged files. */
enum { CHANNELS_MAX = 256, WINDOWS_MAX = 256, ROWS_MAX = 1 << 16, VALUES_MAX = 1 << 22 };

bool hl_forecast_is_tag(const char *tag)
{
    return hl_str_starts(tag, "forecast/");
}

static hl_status bad(const char *what)
{
    return hl_err_set(HL_E_FORMAT, "a recorded forecast has no such %s", what);
}

static double num(const hl_json *object, const char *key)
{
    return hl_json_num(hl_json_get(object, key), nan(""));
}

static hl_status size_of(const hl_json *o, const char *key, size_t min, size_t max, size_t *out)
{
    const int64_t v = hl_json_int(hl_json_get(o, key), -1);
    *out = (size_t)v;
    return v >= (int64_t)min && v <= (int64_t)max ? HL_OK : bad(key);
}

/* Exactly n numbers into one of the two; null is NAN. */
static hl_status read_numbers(const hl_json *list, size_t n, double *wide, float *narrow,
                              const char *what)
{
    size_t i = 0;
    if (!hl_json_is_array(list))
        return bad(what);
    for (const hl_json *v = hl_json_at(list, 0); v; v = hl_json_next(v), i++) {
        if (i == n || (!hl_json_is_number(v) && !hl_json_is_null(v)))
            return bad(what);
        const double x = hl_json_num(v, nan(""));
        if (wide)
            wide[i] = x;
        else
            narrow[i] = (float)x;
    }
    return i == n ? HL_OK : bad(what);
}

static hl_status read_channel(const hl_json *c, size_t n_ahead, hl_forecast_channel *out)
{
    hl_status st = HL_OK;
    const hl_json *r = hl_json_get(c, "residual");
    out->name = hl_strdup(hl_json_str(hl_json_get(c, "name"), "?"));
    out->ahead = hl_alloc(n_ahead * sizeof *out->ahead);
    if (!out->name || !out->ahead)
        return HL_E_NOMEM;
    out->mse = num(c, "mse");
    out->mae = num(c, "mae");
    out->width = num(r, "width");
    out->n = num(r, "n");
    out->n_non_finite = hl_json_num(hl_json_get(r, "n_non_finite"), 0);
    out->mean = num(r, "mean");
    out->sd = num(r, "sd");
    out->min = num(r, "min");
    out->max = num(r, "max");
    if (!(out->width > 0) || !isfinite(out->width))
        return bad("width");
    HL_TRY(read_numbers(hl_json_get(c, "mse_ahead"), n_ahead, out->ahead, NULL, "mse_ahead"));
    HL_TRY(read_numbers(hl_json_get(r, "count"), HL_FORECAST_BINS, out->count, NULL, "count"));
out:
    return st;
}

static hl_status read_channels(const hl_json *list, hl_forecast_table *t)
{
    hl_status st = HL_OK;
    const int n = hl_json_is_array(list) ? hl_json_len(list) : 0;
    if (n < 1 || n > CHANNELS_MAX)
        return bad("channels");
    t->channel = hl_alloc_zero((size_t)n, sizeof *t->channel);
    if (!t->channel)
        return HL_E_NOMEM;
    for (const hl_json *c = hl_json_at(list, 0); c; c = hl_json_next(c))
        HL_TRY(read_channel(c, t->n_ahead, &t->channel[t->n_channels++]));
out:
    return st;
}

static size_t row_length(const hl_forecast_table *t)
{
    return t->history + 2 * t->horizon;
}

static hl_status read_window(const hl_json *w, hl_forecast_table *t, size_t at)
{
    hl_status st = HL_OK;
    const hl_json *list = hl_json_get(w, "channels");
    size_t i = 0;
    t->window[at].window = hl_json_int(hl_json_get(w, "window"), -1);
    t->window[at].row = hl_json_int(hl_json_get(w, "row"), -1);
    if (!hl_json_is_array(list) || (size_t)hl_json_len(list) != t->n_channels)
        return bad("channels of a window");
    for (const hl_json *c = hl_json_at(list, 0); c; c = hl_json_next(c), i++) {
        float *v = t->values + (at * t->n_channels + i) * row_length(t);
        HL_TRY(read_numbers(hl_json_get(c, "history"), t->history, NULL, v, "history"));
        v += t->history;
        HL_TRY(read_numbers(hl_json_get(c, "truth"), t->horizon, NULL, v, "truth"));
        v += t->horizon;
        HL_TRY(read_numbers(hl_json_get(c, "prediction"), t->horizon, NULL, v, "prediction"));
    }
out:
    return st;
}

static hl_status read_windows(const hl_json *list, hl_forecast_table *t)
{
    hl_status st = HL_OK;
    const int n = hl_json_is_array(list) ? hl_json_len(list) : -1;
    if (n < 0 || n > WINDOWS_MAX || (size_t)n * t->n_channels * row_length(t) > VALUES_MAX)
        return bad("windows");
    t->window = hl_alloc_zero((size_t)n + 1, sizeof *t->window);
    t->values = hl_alloc_zero((size_t)n * t->n_channels * row_length(t) + 1, sizeof *t->values);
    if (!t->window || !t->values)
        return HL_E_NOMEM;
    for (const hl_json *w = hl_json_at(list, 0); w; w = hl_json_next(w))
        HL_TRY(read_window(w, t, t->n_windows++));
out:
    return st;
}

static hl_status read_table(const hl_json *v, hl_forecast_table *t)
{
    hl_status st = HL_OK;
    snprintf(t->part, sizeof t->part, "%s", hl_json_str(hl_json_get(v, "part"), ""));
    snprintf(t->series, sizeof t->series, "%s", hl_json_str(hl_json_get(v, "series"), ""));
    t->in_data_units = strcmp(hl_json_str(hl_json_get(v, "units"), ""), "data") == 0;
    t->step = hl_json_int(hl_json_get(v, "step"), -1);
    t->in_len = hl_json_int(hl_json_get(v, "in_len"), -1);
    t->out_len = hl_json_int(hl_json_get(v, "out_len"), -1);
    t->n_all_windows = hl_json_int(hl_json_get(v, "n_windows"), -1);
    t->n_all_channels = hl_json_int(hl_json_get(v, "n_channels"), -1);
    t->mse = num(v, "mse");
    t->mae = num(v, "mae");
    t->mse_mean = num(v, "mse_mean");
    t->mse_repeat_last = num(v, "mse_repeat_last");
    t->mse_seasonal = num(v, "mse_seasonal");
    HL_TRY(size_of(v, "history", 0, ROWS_MAX, &t->history));
    HL_TRY(size_of(v, "horizon", 1, ROWS_MAX, &t->horizon));
    HL_TRY(size_of(v, "ahead_each", 1, ROWS_MAX, &t->ahead_each));
    const hl_json *ahead = hl_json_get(v, "mse_ahead");
    const int n = hl_json_is_array(ahead) ? hl_json_len(ahead) : 0;
    if (n < 1 || n > ROWS_MAX)
        return bad("mse_ahead");
    t->n_ahead = (size_t)n;
    t->ahead = hl_alloc(t->n_ahead * sizeof *t->ahead);
    if (!t->ahead)
        return HL_E_NOMEM;
    HL_TRY(read_numbers(ahead, t->n_ahead, t->ahead, NULL, "mse_ahead"));
    HL_TRY(read_channels(hl_json_get(v, "channels"), t));
    HL_TRY(read_windows(hl_json_get(v, "windows"), t));
out:
    return st;
}

hl_status hl_forecast_table_read(const char *text, size_t n, hl_forecast_table *out)
{
    hl_json *v = NULL;
    *out = (hl_forecast_table){0};
    hl_status st = hl_json_parse(text, n, &v);
    if (st == HL_OK)
        st = read_table(v, out);
    hl_json_free(v);
    if (st != HL_OK)
        hl_forecast_table_done(out);
    return st;
}

void hl_forecast_table_done(hl_forecast_table *t)
{
    for (size_t i = 0; i < t->n_channels; i++) {
        hl_free(t->channel[i].name);
        hl_free(t->channel[i].ahead);
    }
    hl_free(t->channel);
    hl_free(t->window);
    hl_free(t->ahead);
    hl_free(t->values);
    *t = (hl_forecast_table){0};
}

const float *hl_forecast_values(const hl_forecast_table *t, size_t window, size_t channel,
                                hl_forecast_row row)
{
    const float *v = t->values + (window * t->n_channels + channel) * row_length(t);
    return row == HL_FORECAST_HISTORY ? v
           : row == HL_FORECAST_TRUTH ? v + t->history
                                      : v + t->history + t->horizon;
}

/* ---- CSV ---- */

const char hl_forecast_csv_head[] = "part,step,channel,what,window,row,x,value";

typedef struct lines {
    const hl_forecast_table *t;
    const char *run;
    size_t channel;
    hl_str *out;
} lines;

static void put(const lines *l, const char *what, int64_t window, int64_t row, double x, double v)
{
    if (l->run) {
        hl_str_add_csv(l->out, l->run);
        hl_str_addc(l->out, ',');
    }
    hl_str_addf(l->out, "%s,%lld,", l->t->part, (long long)l->t->step);
    hl_str_add_csv(l->out, l->t->channel[l->channel].name);
    hl_str_addf(l->out, ",%s,", what);
    if (window >= 0)
        hl_str_addf(l->out, "%lld,%lld", (long long)window, (long long)row);
    else
        hl_str_addc(l->out, ',');
    hl_str_addf(l->out, isnan(v) ? ",%.9g,nan\r\n" : ",%.9g,%.9g\r\n", x, v);
}

static void put_windows(const lines *l)
{
    static const char *const names[] = {"history", "truth", "forecast"};
    const hl_forecast_table *t = l->t;
    for (size_t w = 0; w < t->n_windows; w++)
        for (int k = 0; k < 3; k++) {
            const bool past = k == HL_FORECAST_HISTORY;
            const float *v = hl_forecast_values(t, w, l->channel, (hl_forecast_row)k);
            const int64_t n = (int64_t)(past ? t->history : t->horizon), first = past ? 1 - n : 1;
            for (int64_t i = 0; i < n; i++)
                put(l, names[k], t->window[w].window, t->window[w].row + first + i - 1,
                    (double)(first + i), (double)v[i]);
        }
}

void hl_forecast_table_csv(const hl_forecast_table *t, const char *run, hl_str *out)
{
    for (size_t c = 0; c < t->n_channels; c++) {
        const lines l = {t, run, c, out};
        const hl_forecast_channel *k = &t->channel[c];
        put_windows(&l);
        for (int b = 0; b < HL_FORECAST_BINS; b++)
            put(&l, "residuals", -1, -1, (b - HL_FORECAST_BINS / 2) * k->width, k->count[b]);
        for (size_t a = 0; a < t->n_ahead; a++)
            put(&l, "mse_ahead", -1, -1, (double)(a * t->ahead_each + 1), k->ahead[a]);
    }
}
