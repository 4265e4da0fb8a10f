/* Where an experiment driver reports. The driver sees only this table, so it runs in a unit test
 * without store, socket or screen. All calls come from one thread, never block on the disk (a full
 * ring may make them wait, which the store counts and shows) and never fail: a store that cannot
 * write says so by its own means. */
#ifndef HL_EXP_SINK_H
#define HL_EXP_SINK_H

#include "kernels/hl_types.h"

/* Bin edges shared by all histograms of all runs: 0 and +-2^k, k = -19 .. 11; 64 bins, the
 * outermost open; zero counts as positive. Bin 32 is [0, 2^-19), bin 31 is (-2^-19, 0). */
#define HL_HIST_BINS 64

typedef struct hl_hist {
    double min, max, num, sum, sum_squares; /* of the finite values */
    double n_non_finite;                    /* counted apart, not in the bins */
    double bin[HL_HIST_BINS];
} hl_hist;

typedef enum hl_series_kind {
    HL_SERIES_SCALAR, /* float32 */
    HL_SERIES_WIDE,   /* double: token counts, bytes */
    HL_SERIES_HIST,
    HL_SERIES_CURVE, /* a float vector or matrix per step */
    HL_SERIES_JSON   /* table, log line, control request, alert, artifact, heartbeat */
} hl_series_kind;

typedef struct hl_sink {
    void *self;
    /* Number for a tag ("train/loss"); the same tag gives the same number. Call before the first
     * step. For HL_SERIES_JSON `content` is "table", "log", "control", ...; else NULL. */
    int (*series)(void *self, const char *tag, hl_series_kind kind, const char *content);
    void (*scalar)(void *self, int series, int64_t step, double value);   /* SCALAR and WIDE */
    void (*hist)(void *self, int series, int64_t step, const hl_hist *h); /* copied */
    /* rows x cols, row-major; a vector has one row. Copied. Values that are not finite are fine. */
    void (*curve)(void *self, int series, int64_t step, const float *v, int64_t rows, int64_t cols);
    void (*json)(void *self, int series, int64_t step, const char *object); /* copied */
    void (*flush)(void *self); /* returns when all so far is written to the file */
} hl_sink;

hl_sink hl_silent_sink(void); /* keeps nothing */

#endif
