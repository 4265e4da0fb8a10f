/* Forecasts that a run recorded (tables "forecast/eval", "forecast/test"): a bounded store of them.
 * Draws nothing, knows no screen. */
#ifndef HL_VIEWS_FORECASTS_H
#define HL_VIEWS_FORECASTS_H

#include "app/hl_app.h"
#include "engine/base/vec.h"

typedef struct hl_forecast_at {
    int64_t step; /* of the event; the table knows that of the weights */
    hl_forecast_table table;
} hl_forecast_at;

enum { HL_FORECASTS_KEPT = 24 }; /* the newest of each part */

typedef struct hl_forecasts {
    HL_VEC(hl_forecast_at) eval, test; /* oldest first */
    int n_damaged;                     /* tables that nobody can read */
} hl_forecasts;                        /* {0} is empty */

/* false: no memory. */
bool hl_forecasts_add(hl_forecasts *f, const char *tag, int64_t step, const char *text);
void hl_forecasts_cut(hl_forecasts *f, int64_t from); /* those of steps >= from go */
void hl_forecasts_done(hl_forecasts *f);

/* Mean of squared differences between a window's forecast and what came; NAN: nothing came. */
double hl_forecast_window_mse(const hl_forecast_table *t, size_t window, size_t channel);

#endif
