/* Shared by the .cu files: the launchers, as the table has them. */
#ifndef HL_CUDA_INTERNAL_H
#define HL_CUDA_INTERNAL_H

#include "kernels/cuda/cuda_rt.h"

#define HL_GPU_KERNEL(name, params) void hl_cu_##name params;
#include "kernels/hl_gpu_kernel.def"

size_t hl_cu_attention_scratch(const hl_attn_args *a); /* hl_gpu_backend.attention_scratch */

/* *y = sum of n numbers, in an order of its own that is always the same */
void hl_cu_add_doubles(hl_gpu *g, int64_t n, const double *x, float *y);

/* cuBLASLt, opened at run time: where it is absent, our own product is used. */
void hl_lt_open(hl_gpu *g);
void hl_lt_close(hl_gpu *g);
/* The product and its addend; *biased: the bias too. False: not for this product, nothing was
 * queued. */
bool hl_lt_gemm(hl_gpu *g, const hl_gpu_gemm *a, bool *biased);

#endif
