/* FP8 simulated with one scale per tensor (Micikevicius et al. 2022, arXiv 2209.05433):
 *   x_q = cast(x / s) s,   s = max|x| / (largest number of the format)
 * which is cast(x 448 / amax) amax / 448 of E4M3. */
#ifndef HL_QUANT_FP8_H
#define HL_QUANT_FP8_H

#include "kernels/hl_kernel.h"

typedef enum hl_fp8 { HL_FP8_E4M3, HL_FP8_E5M2 } hl_fp8;

float hl_fp8_max(hl_fp8 format); /* 448, 57344 */

/* s of a tensor whose largest absolute number is amax; never 0. NaN where amax is. */
float hl_fp8_scale(hl_fp8 format, float amax);

/* y may be x. */
void hl_fp8_apply(hl_fp8 format, float scale, int64_t n, const float *x, float *y);

/* max|x|; NaN where one is. */
float hl_amax(int64_t n, const float *x);

#endif
