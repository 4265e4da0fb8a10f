/* Shared by the .cu files: the launchers, as the table has them. */
#ifndef HL_CUDA_INTERNAL_H
#define HL_CUDA_INTERNAL_H

#include "kernels/cuda/cuda_rt.h"

#define HL_GPU_KERNEL(name, params) void hl_cu_##name params;
#include "kernels/hl_gpu_kernel.def"

size_t hl_cu_attention_scratch(const hl_attn_args *a); /* hl_gpu_backend.attention_scratch */

/* *y = sum of n numbers, in an order of its own that is always the same */
void hl_cu_add_doubles(hl_gpu *g, int64_t n, const double *x, float *y);

/* decide.cu, as hl_gpu_backend has them */
bool hl_cu_decides(hl_gpu *g);
bool hl_cu_when_begin(hl_gpu *g, const float *count, int64_t at);
void hl_cu_when_end(hl_gpu *g);
bool hl_cu_loop_begin(hl_gpu *g);
void hl_cu_loop_end(hl_gpu *g, const int32_t *again);

/* cuBLASLt, opened at run time: where it is absent, our own product is used. */
void hl_lt_open(hl_gpu *g);
void hl_lt_close(hl_gpu *g);
/* The product and its addend; *done: what else of what follows. False: not for this product,
 * nothing was queued. */
enum { HL_LT_BIAS = 1, HL_LT_ACT = 2 /* with `pre` */ };
bool hl_lt_gemm(hl_gpu *g, const hl_gpu_gemm *a, int *done);
/* acc [m,n] = a w^T of codes, as the kernel int8_gemm; false: not for this product. */
bool hl_lt_int8_gemm(hl_gpu *g, int64_t m, int64_t n, int64_t k, const int8_t *a, int64_t a_row,
                     const int8_t *w, int32_t *acc);

#endif
