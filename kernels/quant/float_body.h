/* Rounding to binary floats of fewer bits: FP8 E4M3 and E5M2 (arXiv 2209.05433), IEEE binary16.
 * Ties to even, subnormals as the format has them, what is larger than its largest finite number
 * saturates to that; infinities and NaN stay. Exact: only divisions by powers of two round nothing
 * away. */
#ifndef HL_FLOAT_BODY_H
#define HL_FLOAT_BODY_H

#include <string.h>

#include "kernels/quant/quant_body.h"

typedef struct hl_small_float {
    float ulp;          /* of 1: 2^-(bits of the fraction) */
    float least_normal; /* power of two */
    float max;
} hl_small_float;

HL_HD hl_small_float hl_float_e4m3(void) /* E4M3FN: no infinities */
{
    const hl_small_float f = {0x1p-3f, 0x1p-6f, 448.0f};
    return f;
}

HL_HD hl_small_float hl_float_e5m2(void)
{
    const hl_small_float f = {0x1p-2f, 0x1p-14f, 57344.0f};
    return f;
}

HL_HD hl_small_float hl_float_f16(void)
{
    const hl_small_float f = {0x1p-10f, 0x1p-14f, 65504.0f};
    return f;
}

HL_HD float hl_float_round(hl_small_float f, float x)
{
    uint32_t bits;
    float power; /* of two, at most |v| */
    const float v = x > f.max ? f.max : x < -f.max ? -f.max : x;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7F800000u) == 0x7F800000u)
        return x;
    memcpy(&bits, &v, sizeof bits);
    bits &= 0x7F800000u;
    memcpy(&power, &bits, sizeof power);
    const float step = HL_QUANT_MUL(power > f.least_normal ? power : f.least_normal, f.ulp);
    return HL_QUANT_MUL(hl_quant_rint(HL_QUANT_DIV(v, step)), step);
}

#endif
