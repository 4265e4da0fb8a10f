/* The normalisers of rows, by who owns a row: 8, 16 or 32 lanes, or a block. */
#ifndef HL_CUDA_NORMALISE_H
#define HL_CUDA_NORMALISE_H

#include "kernels/cuda/cuda_internal.h"
#include "kernels/row/score_mask_body.h"

/* Forward: y and stat (or NULL) from scores x, those left out that mask (or NULL) hides. Backward:
 * y is gx, from gy, and galpha [rows] or NULL. */
typedef struct hl_normalise_call {
    hl_normaliser f;
    const float *alpha;
    const hl_score_mask *mask;
    int64_t rows, n;
    const float *x;
    float *y, *stat;
    const float *gy;
    double *galpha;
} hl_normalise_call;

#define HL_ROW_KIND(kind)                                                                          \
    void hl_normalise_rows_##kind(hl_gpu *g, const hl_normalise_call *c, unsigned blocks,          \
                                  size_t shared);                                                  \
    void hl_normalise_rows_vjp_##kind(hl_gpu *g, const hl_normalise_call *c, unsigned blocks);
HL_ROW_KIND(8)
HL_ROW_KIND(16)
HL_ROW_KIND(32)
HL_ROW_KIND(block)
#undef HL_ROW_KIND

#endif
