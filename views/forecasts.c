#include "views/forecasts.h"

#include <math.h>
#include <string.h>

static void forget(hl_forecast_at *at, size_t *n, size_t i)
{
    hl_forecast_table_done(&at[i].table);
    (*n)--;
    memmove(&at[i], &at[i + 1], (*n - i) * sizeof *at);
}

bool hl_forecasts_add(hl_forecasts *f, const char *tag, int64_t step, const char *text)
{
    hl_forecast_at x = {.step = step};
    const bool is_test = strcmp(tag, "forecast/test") == 0;
    hl_status st = hl_forecast_table_read(text, strlen(text), &x.table);
    if (st != HL_OK) {
        f->n_damaged += st != HL_E_NOMEM;
        return st != HL_E_NOMEM;
    }
    st = is_test ? hl_vec_push(&f->test, x) : hl_vec_push(&f->eval, x);
    if (st != HL_OK)
        hl_forecast_table_done(&x.table);
    if (f->eval.n > HL_FORECASTS_KEPT)
        forget(f->eval.at, &f->eval.n, 0);
    if (f->test.n > HL_FORECASTS_KEPT)
        forget(f->test.at, &f->test.n, 0);
    return st == HL_OK;
}

void hl_forecasts_cut(hl_forecasts *f, int64_t from)
{
    for (size_t i = f->eval.n; i-- > 0;)
        if (f->eval.at[i].step >= from)
            forget(f->eval.at, &f->eval.n, i);
    for (size_t i = f->test.n; i-- > 0;)
        if (f->test.at[i].step >= from)
            forget(f->test.at, &f->test.n, i);
}

void hl_forecasts_done(hl_forecasts *f)
{
    hl_forecasts_cut(f, INT64_MIN);
    hl_vec_done(&f->eval);
    hl_vec_done(&f->test);
    *f = (hl_forecasts){0};
}

double hl_forecast_window_mse(const hl_forecast_table *t, size_t window, size_t channel)
{
    const float *truth = hl_forecast_values(t, window, channel, HL_FORECAST_TRUTH),
                *said = hl_forecast_values(t, window, channel, HL_FORECAST_PREDICTION);
    double sum = 0, n = 0;
    for (size_t i = 0; i < t->horizon; i++) {
        const double d = (double)said[i] - (double)truth[i];
        if (isnan(truth[i]))
            continue;
        sum += d * d;
        n++;
    }
    return n > 0 ? sum / n : (double)NAN;
}
