/* What range.c and range_mse.c share. */
#ifndef HL_QUANT_RANGE_INTERNAL_H
#define HL_QUANT_RANGE_INTERNAL_H

#include "engine/base/err.h"
#include "engine/quant/range.h"

/* One batch of an estimator. */
typedef struct hl_range_batch {
    hl_team *team;
    hl_range_device *on; /* x lies there; NULL: on the host */
    int64_t n_rows, n_cols;
    const float *x;
    bool is_more;    /* it goes on with the batch before */
    double min, max; /* of all numbers, finite */
} hl_range_batch;

/* Where an MSE search looks; fixed by the first batch. */
typedef struct hl_mse_space {
    int one_sided;         /* -1: no first batch yet */
    double reach;          /* of the widest candidate */
    double thr_hi, thr_lo; /* which a skewed candidate does not exceed */
} hl_mse_space;

struct hl_range_estimator {
    hl_range_options o;
    int64_t n_batches;
    bool is_constant;
    double *lo, *hi;             /* [n_channels], owned */
    double *batch_lo, *batch_hi; /* of the tensor at hand */
    double *whole_lo, *whole_hi; /* of the batch it belongs to */
    double *before_lo, *before_hi; /* lo and hi before that batch */
    int64_t *counts;             /* scratch of percentiles, or NULL */
    hl_mse_space space;
    double
        *table; /* of a grid: [n_channels][entries] sums of losses; NULL before the first batch */
};

/* --- range_mse.c --- */
/* Losses of one channel in a space. */
int64_t hl_mse_entries(const hl_range_options *o, const hl_mse_space *space);
/* A table of zeros. Errors: UNSUPPORTED (too many candidates), NOMEM. */
HL_MUST_CHECK hl_status hl_mse_table_new(const hl_range_options *o, const hl_mse_space *space,
                                         double **out);
/* Puts the range into batch_lo, batch_hi; space and table follow only if all went well. */
HL_MUST_CHECK hl_status hl_mse_observe(hl_range_estimator *e, const hl_range_batch *b);

#endif
