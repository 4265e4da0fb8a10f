/* IEEE half: 10 bits of fraction, 5 of exponent; 65504 is the largest, 2^-24 the smallest. Compiled
 * by both compilers. */
#ifndef HL_F16_BODY_H
#define HL_F16_BODY_H

#include "kernels/vec/math_body.h"

/* To the nearest, ties to even; what lies beyond the largest becomes infinite, NaN stays NaN. */
HL_HD uint16_t hl_to_f16(float x)
{
    const uint32_t u = (uint32_t)hl_float_to_bits(x), a = u & 0x7FFFFFFFu, sign = u >> 16 & 0x8000u;
    if (a > 0x7F800000u)
        return (uint16_t)(sign | 0x7E00u);
    if (a >= 0x47800000u) /* 65536 */
        return (uint16_t)(sign | 0x7C00u);
    if (a <
        0x38800000u) { /* below 2^-14: a multiple of 2^-24, added where the sum's last bit is one */
        const float sum = hl_bits_to_float((int32_t)a) + 0.5f;
        return (uint16_t)(sign | ((uint32_t)hl_float_to_bits(sum) - 0x3F000000u));
    }
    const uint32_t half = (a - 0x38000000u) >> 13, rest = a & 0x1FFFu;
    return (uint16_t)(sign | (half + (rest > 0x1000u || (rest == 0x1000u && (half & 1u)))));
}

HL_HD float hl_from_f16(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = h >> 10 & 31u, m = h & 0x3FFu;
    if (e == 0) {
        const float x = (float)m * 5.9604644775390625e-8f; /* 2^-24 */
        return sign ? -x : x;
    }
    return hl_bits_to_float((int32_t)(sign | (e == 31 ? 0x7F800000u : (e + 112u) << 23) | m << 13));
}

#endif
