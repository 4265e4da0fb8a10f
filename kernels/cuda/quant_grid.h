/* The grid of a quantizer, made where it is needed. Included by .cu files that are compiled without
 * contraction. */
#ifndef HL_CUDA_QUANT_GRID_H
#define HL_CUDA_QUANT_GRID_H

#include "kernels/cuda/cuda_internal.h"

/* Where there is none, the grid of the range 0: nothing that comes of it is kept. */
__device__ inline hl_quant_grid hl_gpu_grid(const hl_gpu_quantizer &q, hl_gpu_fault *fault,
                                            int32_t tag)
{
    double lo = q.range[HL_QUANT_LO], hi = q.range[HL_QUANT_HI];
    const bool is_seen = q.range[HL_QUANT_SEEN] != 0, is_range = hl_quant_is_range(lo, hi);
    if (!is_seen || !is_range) {
        if (threadIdx.x == 0)
            hl_gpu_found(fault, tag, is_seen ? HL_FAULT_RANGE : HL_FAULT_NO_RANGE, 0, 0, 0);
        lo = hi = 0;
    }
    return hl_quant_grid_from(q.form, lo, hi);
}

/* infinite or NaN */
__device__ inline bool hl_gpu_has_no_code(float x)
{
    return !(x - x == 0.0f);
}

#endif
