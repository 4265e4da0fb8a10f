/* How good forecasts of a series are, and how good one would be without a model. */
#ifndef HL_EXP_FORECAST_H
#define HL_EXP_FORECAST_H

#include "data/hl_data.h"
#include "engine/base/json.h"

/* |p - t|, (p - t)^2, its root, |(p - t) / t|, ((p - t) / t)^2; the last two have no guard against
 * t near 0. Source: stanhop.md 8.1. */
typedef enum hl_measure {
    HL_MEASURE_MAE,
    HL_MEASURE_MSE,
    HL_MEASURE_RMSE,
    HL_MEASURE_MAPE,
    HL_MEASURE_MSPE,
    HL_MEASURE_COUNT
} hl_measure;
extern const char *const hl_measure_names[HL_MEASURE_COUNT]; /* "mae" … */

/* MEAN: of the training rows; LAST: the last value of the history again and again; SEASON: its last
 * `period` values again and again, if the history is as long. */
typedef enum hl_forecaster {
    HL_FORECAST_MODEL,
    HL_FORECAST_MEAN,
    HL_FORECAST_LAST,
    HL_FORECAST_SEASON,
    HL_FORECASTERS
} hl_forecaster;

/* Two weightings. ELEMENT: the mean over all values that there are. BATCH: the reference's, the
 * mean of the batches' values, weighted by their windows; other for RMSE alone, unless values are
 * missing. */
typedef enum hl_weighting { HL_BY_ELEMENT, HL_BY_BATCH } hl_weighting;

typedef struct hl_forecast hl_forecast;

typedef struct hl_forecast_params {
    const hl_series *series; /* borrowed */
    bool inverse;            /* in the units of the series, not of its scale */
    bool fp64;               /* batches are doubles */
    int64_t batch_size;      /* the largest */
} hl_forecast_params;
HL_MUST_CHECK hl_status hl_forecast_new(const hl_forecast_params *p, hl_forecast **out);
void hl_forecast_free(hl_forecast *f); /* NULL is fine */

/* One of n_rows windows: x {B, in_len, C}, y and prediction {B, out_len, C}, seen {B, out_len, C}
 * or NULL; numbers as the model has them. prediction NULL: there is no model. */
typedef struct hl_forecast_batch {
    const void *prediction, *x, *y, *seen;
    int64_t n_rows;
} hl_forecast_batch;

/* Starts again. naive: also without a model; dir: prediction.npy and truth.npy are written there
 * {n_windows, out_len, C}, NaN where there is no value; NULL: they are not. Errors: IO, NOMEM. */
HL_MUST_CHECK hl_status hl_forecast_begin(hl_forecast *f, bool naive, const char *dir,
                                          int64_t n_windows);
HL_MUST_CHECK hl_status hl_forecast_add(hl_forecast *f, const hl_forecast_batch *b); /* IO */
HL_MUST_CHECK hl_status hl_forecast_end(hl_forecast *f); /* puts the files in place. Errors: IO */

/* NAN: not measured. */
double hl_forecast_value(const hl_forecast *f, hl_forecaster who, hl_measure m, hl_weighting w);
/* The plain mean of the batches' MSE, whatever their sizes: the reference's validation loss. */
double hl_forecast_batch_loss(const hl_forecast *f);

/* Members of an object: the model's measures, "reference" (by batch), "batch_loss", and "naive". */
void hl_forecast_put(const hl_forecast *f, hl_str *json);
/* A table of all of them. */
void hl_forecast_text(const hl_forecast *f, hl_str *b);

#endif
