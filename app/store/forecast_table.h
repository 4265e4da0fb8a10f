/* Forecasts as runs record them (tables "forecast/eval" and "forecast/test"; docs/run-format.md),
 * read back. */
#ifndef HL_STORE_FORECAST_TABLE_H
#define HL_STORE_FORECAST_TABLE_H

#include "engine/base/str.h"

enum { HL_FORECAST_BINS = 64 };

typedef struct hl_forecast_channel {
    char *name;
    double mse, mae;
    double *ahead; /* [n_ahead] mean squared error by place; NAN: not known */
    /* of prediction - truth; bin i from (i - HL_FORECAST_BINS / 2) * width on, outermost open */
    double width, n, n_non_finite, mean, sd, min, max;
    double count[HL_FORECAST_BINS];
} hl_forecast_channel;

typedef struct hl_forecast_window {
    int64_t window, row; /* its number; the row of the series that its forecast begins at */
} hl_forecast_window;

/* Numbers are standardised, or in the data's units. NAN: not known, or missing in the data. */
typedef struct hl_forecast_table {
    char part[16], series[64];
    bool in_data_units;
    int64_t step, in_len, out_len, n_all_windows, n_all_channels;
    double mse, mae, mse_mean, mse_repeat_last, mse_seasonal;
    size_t n_channels, n_windows, history, horizon; /* horizon: at least 1 */
    size_t n_ahead, ahead_each;                     /* places, and the steps in each */
    double *ahead;                                  /* [n_ahead] of all channels */
    hl_forecast_channel *channel;                   /* at least one */
    hl_forecast_window *window;
    float *values; /* [n_windows][n_channels][history + 2 * horizon]: history, truth, prediction */
} hl_forecast_table;

bool hl_forecast_is_tag(const char *tag); /* "forecast/test" */
/* Everything is checked, so sizes and pointers can be trusted. Errors: FORMAT (it is no such table,
 * or damaged), NOMEM. Then *out is empty. */
HL_MUST_CHECK hl_status hl_forecast_table_read(const char *text, size_t n, hl_forecast_table *out);
void hl_forecast_table_done(hl_forecast_table *t); /* {0} is fine */

typedef enum hl_forecast_row {
    HL_FORECAST_HISTORY,
    HL_FORECAST_TRUTH,
    HL_FORECAST_PREDICTION
} hl_forecast_row;
/* `history` numbers, or `horizon`; window and channel must be there. */
const float *hl_forecast_values(const hl_forecast_table *t, size_t window, size_t channel,
                                hl_forecast_row row);

/* All its numbers as lines of CSV, a first field `run` unless that is NULL. what: history, truth,
 * forecast (x: steps ahead), residuals (x: lower edge of a bin), mse_ahead (x: first step). */
extern const char hl_forecast_csv_head[]; /* "part,step,channel,what,window,row,x,value" */
void hl_forecast_table_csv(const hl_forecast_table *t, const char *run, hl_str *out);

#endif
