/* The final table of runs on series: a row for each data set and horizon, a column for each method
 * with mean and standard deviation over its seeds, beside forecasts without a model. */
#ifndef HL_STORE_HORIZONS_H
#define HL_STORE_HORIZONS_H

#include "app/hl_app.h"

/* Appends the test's MSE and MAE of those that were tested; nothing if none was. Methods are told
 * by their configuration without the seed; several of one name in a row are numbered, in the order
 * of the runs. NULL runs are left out. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_horizons_text(const hl_run *const *runs, size_t n, hl_str *out);
/* A member "horizons" of an object: [{data, in_len, out_len, units, methods: {name: {n, mse, mae:
 * {mean, std}}}, naive: {mean, repeat_last, seasonal: {mse, mae}}}]; no member if none was tested.
 */
HL_MUST_CHECK hl_status hl_horizons_put(const hl_run *const *runs, size_t n, hl_str *json);

#endif
