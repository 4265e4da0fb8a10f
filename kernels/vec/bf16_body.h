/* bf16 is the upper half of a float: 8 bits of significand, unit roundoff 2^-8, the range of float.
 * Compiled by both compilers. */
#ifndef HL_BF16_BODY_H
#define HL_BF16_BODY_H

#include "kernels/vec/math_body.h"

/* To the nearest, ties to even; what lies beyond the largest becomes infinite, NaN stays NaN. */
HL_HD hl_bf16 hl_to_bf16(float x)
{
    const uint32_t u = (uint32_t)hl_float_to_bits(x);
    const uint32_t nearest = (u + 0x7FFFu + (u >> 16 & 1u)) >> 16, quiet = u >> 16 | 0x40u;
    return (hl_bf16)((u & 0x7FFFFFFFu) > 0x7F800000u ? quiet : nearest);
}

HL_HD float hl_from_bf16(hl_bf16 x)
{
    return hl_bits_to_float((int32_t)((uint32_t)x << 16));
}

#endif
