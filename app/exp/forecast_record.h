/* What a run records of its forecasts at an evaluation, as the table event "forecast/eval" or
 * "forecast/test" (docs/run-format.md): some windows with history, truth and forecast, what is left
 * over between the two, and the error at each step ahead. Bounded: at most HL_RECORD_CHANNELS
 * channels, HL_RECORD_WINDOWS windows and HL_RECORD_NUMBERS numbers in them, whatever the series.
 */
#ifndef HL_EXP_FORECAST_RECORD_H
#define HL_EXP_FORECAST_RECORD_H

#include "app/exp/forecast.h"

enum {
    HL_RECORD_CHANNELS = 16,
    HL_RECORD_WINDOWS = 6,
    HL_RECORD_NUMBERS = 12288,
    HL_RECORD_BINS = 64, /* of residuals, the outermost open */
    HL_RECORD_AHEAD = 48 /* places of the error by step, each the mean of as many steps */
};

/* What of a series is recorded: a function of its sizes alone. Channels i * all / n, windows
 * (2 i + 1) * all / (2 n); the newest `history` rows before a window's forecast, the first
 * `horizon` steps of it. */
typedef struct hl_record_plan {
    int64_t n_channels, n_windows, history, horizon;
    int64_t ahead_each; /* steps in a place of the error by step */
} hl_record_plan;
hl_record_plan hl_record_plan_of(const hl_series_facts *series, int64_t n_windows);

typedef struct hl_forecast_record hl_forecast_record;

HL_MUST_CHECK hl_status hl_forecast_record_new(const hl_forecast_params *p,
                                               hl_forecast_record **out);
void hl_forecast_record_free(hl_forecast_record *r); /* NULL is fine */

/* Starts again, with windows that will come in their order. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_forecast_record_begin(hl_forecast_record *r, int64_t n_windows);
/* The next windows; those without a prediction are not looked at. Cost: a look at each value of the
 * recorded channels. */
void hl_forecast_record_add(hl_forecast_record *r, const hl_forecast_batch *b);

/* The event's JSON object; measured: of the same evaluation; step: of the weights. false: there was
 * no forecast, and nothing was put. */
bool hl_forecast_record_put(const hl_forecast_record *r, const hl_forecast *measured,
                            hl_series_part part, int64_t step, hl_str *json);

#endif
