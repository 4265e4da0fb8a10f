/* What statistics take from the bits of a number: its bin in the histogram of HL_MOMENT_BINS bins
 * (kernels/hl_kernel.h), its size. */
#ifndef HL_MOMENT_BIN_BODY_H
#define HL_MOMENT_BIN_BODY_H

#include "kernels/vec/math_body.h"

/* From the exponent bits, no arithmetic on the value. */
HL_HD int32_t hl_moment_bin(float x)
{
    const int32_t bits = hl_float_to_bits(x);
    int32_t k = ((bits >> 23) & 0xFF) - 127 + 20; /* [2^-20, 2^-19) would be 0, below: negative */
    k = k < 0 ? 0 : k > 31 ? 31 : k;
    return x < 0.0f ? 31 - k : 32 + k;
}

/* |x| as a pattern of bits: these have the order of the numbers, and NaN is the last. */
HL_HD int32_t hl_size_bits(float x)
{
    return hl_float_to_bits(x) & 0x7FFFFFFF;
}

#endif
