/* Passes over numbers in device memory that ranges are found from (range.h). The estimator stays on
 * the host and waits for each: the same sums in the same order, so the same ranges. */
#ifndef HL_QUANT_RANGE_GPU_H
#define HL_QUANT_RANGE_GPU_H

#include "engine/base/err.h"
#include "kernels/hl_gpu.h"

/* A device and room on it, made when it is needed. */
typedef struct hl_range_device {
    hl_gpu *gpu;
    void *room; /* owned */
    size_t bytes;
} hl_range_device;

/* Numbers in its memory. */
typedef struct hl_range_rows {
    int64_t n_rows, n_cols;
    const float *x;
} hl_range_rows;

void hl_range_device_done(hl_range_device *d);

/* All errors: NOMEM, DEVICE. */

/* Smallest and largest of n numbers; NaN, both, if any is. */
HL_MUST_CHECK hl_status hl_range_gpu_extremes(hl_range_device *d, int64_t n, const float *x,
                                              float ends[2]);
/* counts[65536] of the numbers' upper halves, or of the lower ones under one (percentile.h) */
HL_MUST_CHECK hl_status hl_range_gpu_counts(hl_range_device *d, int64_t n, const float *x,
                                            int64_t upper, int64_t *counts);
/* sums of squared errors of the pieces of rows, and of all rows on each of n grids */
HL_MUST_CHECK hl_status hl_range_gpu_errors(hl_range_device *d, const hl_range_rows *rows,
                                            int64_t piece, hl_quant_grid grid, double *sums);
HL_MUST_CHECK hl_status hl_range_gpu_losses(hl_range_device *d, const hl_range_rows *rows,
                                            int64_t n, const hl_quant_grid *grids, double *losses);

#endif
