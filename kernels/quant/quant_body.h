/* Uniform affine quantization of one element (arXiv 2306.12929 appendix; arXiv 1806.08342):
 *
 *   q = clamp(rint(x / s) + z, int_min, int_max),   x_q = s (q - z)
 *
 * computed as r = rint(clamp(x / s, int_min - z, int_max - z)), x_q = s r, q = r + z. The bounds
 * are integers and rounding is monotone, so both orders give the same r; this one rounds small
 * numbers only, which needs no rounding instruction, and x_q has no sum in it that could be
 * contracted. Zero is always +0.
 *
 * Every operation is rounded to float by itself: no fused multiply-add (contraction is off where
 * this is compiled) and a true division, because x * (1/s) moves ties. So the codes are the same on
 * every instruction set and device. */
#ifndef HL_QUANT_BODY_H
#define HL_QUANT_BODY_H

#include "kernels/hl_types.h"

#ifdef __CUDA_ARCH__
#define HL_QUANT_MUL(a, b) __fmul_rn((a), (b))
#define HL_QUANT_ADD(a, b) __fadd_rn((a), (b))
#define HL_QUANT_SUB(a, b) __fsub_rn((a), (b))
#define HL_QUANT_DIV(a, b) __fdiv_rn((a), (b))
#else
#define HL_QUANT_MUL(a, b) ((a) * (b))
#define HL_QUANT_ADD(a, b) ((a) + (b))
#define HL_QUANT_SUB(a, b) ((a) - (b))
#define HL_QUANT_DIV(a, b) ((a) / (b))
#endif

/* What an element needs to know: integers but for the scale, as floats. */
typedef struct hl_quant_grid {
    float scale; /* > 0 */
    float zero;  /* z, the code of 0 */
    float r_min; /* int_min - z <= 0 */
    float r_max; /* int_max - z >= 0; |r| <= 65535 */
} hl_quant_grid;

/* Of candidates that share a scale. */
typedef struct hl_quant_bounds {
    float r_min, r_max; /* of hl_quant_grid */
} hl_quant_bounds;

typedef enum hl_code_type {
    HL_CODE_U8,
    HL_CODE_I8,
    HL_CODE_U16,
    HL_CODE_I16,
    HL_CODE_I32
} hl_code_type;

/* Ties to even for |v| < 2^22: the sum with 1.5 * 2^23 has no room for a fraction. NaN stays NaN.
 */
HL_HD float hl_quant_rint(float v)
{
    const float magic = 12582912.0f;
    return HL_QUANT_SUB(HL_QUANT_ADD(v, magic), magic);
}

/* r of x; NaN stays NaN, infinities saturate. */
HL_HD float hl_quant_steps(hl_quant_grid g, float x)
{
    float v = HL_QUANT_DIV(x, g.scale);
    v = v < g.r_min ? g.r_min : v;
    v = v > g.r_max ? g.r_max : v;
    return hl_quant_rint(v);
}

/* x_q */
HL_HD float hl_quant_apply(hl_quant_grid g, float x)
{
    return HL_QUANT_MUL(g.scale, hl_quant_steps(g, x));
}

/* q. NaN has no code and becomes int_min. */
HL_HD int32_t hl_quant_encode(hl_quant_grid g, float x)
{
    float v = HL_QUANT_DIV(x, g.scale);
    v = v > g.r_min ? v : g.r_min;
    v = v < g.r_max ? v : g.r_max;
    return (int32_t)HL_QUANT_ADD(hl_quant_rint(v), g.zero);
}

/* x_q of code q */
HL_HD float hl_quant_decode(hl_quant_grid g, int32_t q)
{
    return HL_QUANT_MUL(g.scale, HL_QUANT_SUB((float)q, g.zero));
}

/* rint(x / s) within +-2^17, which is beyond the bounds of every grid: what candidate grids with
 * the same scale have in common. */
HL_HD float hl_quant_steps_open(float scale, float x)
{
    float v = HL_QUANT_DIV(x, scale);
    v = v < -131072.0f ? -131072.0f : v;
    v = v > 131072.0f ? 131072.0f : v;
    return hl_quant_rint(v);
}

/* (x - x_q)^2 where r is hl_quant_steps_open of x */
HL_HD float hl_quant_error(float scale, float r_min, float r_max, float x, float r)
{
    r = r < r_min ? r_min : r;
    r = r > r_max ? r_max : r;
    const float d = HL_QUANT_SUB(x, HL_QUANT_MUL(scale, r));
    return HL_QUANT_MUL(d, d);
}

/* Derivatives of x_q, rounding being the identity to them and clamping passing its bounds (LSQ,
 * arXiv 1902.08153 eq. 3; the zero point as in LSQ+, arXiv 2004.09576). */
typedef struct hl_quant_grad {
    float dx, ds, dz;
} hl_quant_grad;

HL_HD hl_quant_grad hl_quant_vjp(hl_quant_grid g, float gy, float x)
{
    const float r = hl_quant_steps_open(g.scale, x);
    const bool below = r<g.r_min, above = r> g.r_max;
    hl_quant_grad d;
    d.dx = below || above ? 0.0f : gy;
    d.ds = HL_QUANT_MUL(gy, below   ? g.r_min
                            : above ? g.r_max
                                    : HL_QUANT_SUB(r, HL_QUANT_DIV(x, g.scale)));
    d.dz = below || above ? -HL_QUANT_MUL(gy, g.scale) : 0.0f;
    return d;
}

#endif
