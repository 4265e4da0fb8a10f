/* Elementary functions in float, branch-free so that loops over them vectorise, and compiled by both
 * compilers. Polynomials are minimax fits of our own (tests/oracle/fit_math.py); the errors named
 * are maxima over the range, checked by kernels/vec/math_test.c. NaN goes in, NaN comes out. */
#ifndef HL_MATH_BODY_H
#define HL_MATH_BODY_H

#include <math.h>

#include "kernels/hl_types.h"

#ifdef __CUDA_ARCH__
HL_HD float hl_bits_to_float(int32_t i)
{
    return __int_as_float(i);
}
HL_HD int32_t hl_float_to_bits(float x)
{
    return __float_as_int(x);
}
#else
HL_HD float hl_bits_to_float(int32_t i)
{
    union {
        int32_t i;
        float f;
    } u;
    u.i = i;
    return u.f;
}
HL_HD int32_t hl_float_to_bits(float x)
{
    union {
        float f;
        int32_t i;
    } u;
    u.f = x;
    return u.i;
}
#endif

/* exp(x) = 2^n p; *bits end in n. */
HL_HD float hl_exp_reduced(float x, uint32_t *bits)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float t = x * 1.44269504f + magic, n = t - magic;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.38368499939e-3f;
    p = p * r + 8.37481585908e-3f;
    p = p * r + 4.16682255028e-2f;
    p = p * r + 1.66664201690e-1f;
    p = p * r + 4.99999920800e-1f;
    p = p * r + 1.00000003632f;
    *bits = (uint32_t)hl_float_to_bits(t);
    return p * r + 1.0f;
}

/* exp(x): relative error 1.2e-7. 0 below -103.97 (also at -inf: a masked score weighs exactly 0),
 * inf above 88.73. Scaled by 2^n in two factors, so that results down to the denormals are right. */
HL_HD float hl_exp(float x)
{
    uint32_t bits;
    float p = hl_exp_reduced(x, &bits);
    uint32_t i = bits + 254u; /* ends in n + 254: two biased exponents */
    uint32_t half = i >> 1;
    float y =
        p * hl_bits_to_float((int32_t)(half << 23)) * hl_bits_to_float((int32_t)((i - half) << 23));
    y = x > 89.0f ? INFINITY : y; /* where those are rubbish */
    return x < -103.97f ? 0.0f : y;
}

/* The bits of hl_exp for -87 < x < 88, cheaper; garbage, but defined, elsewhere. */
HL_HD float hl_exp_within(float x)
{
    uint32_t bits;
    const float p = hl_exp_reduced(x, &bits);
    return p * hl_bits_to_float((int32_t)((bits + 127u) << 23));
}

/* erf(x): relative error 2e-7. */
HL_HD float hl_erf(float x)
{
    float a = x < 0.0f ? -x : x;
    float t = x * x;
    float s = -6.01529044965e-4f;
    s = s * t + 4.99787725621e-3f;
    s = s * t - 2.67697460791e-2f;
    s = s * t + 1.12819003133e-1f;
    s = s * t - 3.76125014933e-1f;
    s = s * t + 1.12837915070f;
    s = s * x;
    float b = a > 4.05f ? 4.05f : a; /* erf(4.05) rounds to 1 */
    float q = -2.05310502086e-5f;
    q = q * b + 4.27990140386e-4f;
    q = q * b - 4.13996428323e-3f;
    q = q * b + 2.50382979629e-2f;
    q = q * b - 1.08155916038e-1f;
    q = q * b - 6.33458481615e-1f;
    q = q * b - 1.12946039366f;
    q = q * b + 1.63489014027e-4f;
    float l = 1.0f - hl_exp_within(q);
    l = a > 4.05f ? 1.0f : l;
    l = x < 0.0f ? -l : l;
    return a > 0.9f ? l : s; /* NaN compares false and leaves through s */
}

/* tanh(x): relative error 2e-7. */
HL_HD float hl_tanh(float x)
{
    float a = x < 0.0f ? -x : x;
    float t = x * x;
    float s = -5.54486593383e-3f;
    s = s * t + 2.04870882129e-2f;
    s = s * t - 5.36886252660e-2f;
    s = s * t + 1.33307200429e-1f;
    s = s * t + -3.33332429490e-1f;
    s = s * t * x + x;
    float l = 1.0f - 2.0f / (hl_exp(2.0f * a) + 1.0f);
    l = x < 0.0f ? -l : l;
    return a > 0.625f ? l : s;
}

/* Relative error 2e-7 down to x = -87.3; below, where the result is denormal, off by 3e-39. */
HL_HD float hl_sigmoid(float x)
{
    return 1.0f / (1.0f + hl_exp(-x));
}

/* log(2^n (1 + f)) for f in [sqrt(1/2) - 1, sqrt(2) - 1] */
HL_HD float hl_log_reduced(float n, float f)
{
    float p = -7.63450138806e-2f;
    p = p * f + 1.27615758830e-1f;
    p = p * f - 1.31601797357e-1f;
    p = p * f + 1.42017580083e-1f;
    p = p * f - 1.66233576604e-1f;
    p = p * f + 2.00012268906e-1f;
    p = p * f - 2.50008210246e-1f;
    p = p * f + 3.33333317071e-1f;
    return n * 0.693359375f + (f + (f * f * (f * p - 0.5f) - n * 2.12194440e-4f));
}

/* log(x): relative error 1e-7; -inf at 0, NaN below. */
HL_HD float hl_log(float x)
{
    float scaled = x < 1.17549435e-38f ? x * 8388608.0f : x; /* denormals: times 2^23 */
    uint32_t bits = (uint32_t)hl_float_to_bits(scaled);
    int32_t e = (int32_t)(bits - 0x3F3504F3u) >> 23; /* mantissa in [sqrt(1/2), sqrt(2)) */
    float m = hl_bits_to_float((int32_t)(bits - ((uint32_t)e << 23)));
    float n = (float)e - (x < 1.17549435e-38f ? 23.0f : 0.0f);
    float y = hl_log_reduced(n, m - 1.0f);
    y = x > 3.40282347e+38f ? x : y;
    y = x == 0.0f ? -INFINITY : y;
    return x >= 0.0f ? y : NAN;
}

/* log(1 + x) for x in (-1, 0], also for tiny x: relative error 2e-7. NaN stays; else garbage, but
 * defined. */
HL_HD float hl_log1p_below(float x)
{
    uint32_t bits = (uint32_t)hl_float_to_bits(1.0f + x);
    int32_t e = (int32_t)(bits - 0x3F3504F3u) >> 23;
    float m = hl_bits_to_float((int32_t)(bits - ((uint32_t)e << 23)));
    float y = hl_log_reduced((float)e, e == 0 ? x : m - 1.0f);
    return x != x ? x : y;
}

/* x * Phi(x), the exact form: Hendrycks and Gimpel, arXiv 1606.08415. Error 1.5e-7 |x|: 1 + erf(x)
 * cancels where the result is small. */
HL_HD float hl_gelu(float x)
{
    return 0.5f * x * (1.0f + hl_erf(x * 0.707106781f));
}

/* Error 2e-7. */
HL_HD float hl_gelu_slope(float x)
{
    return 0.5f * (1.0f + hl_erf(x * 0.707106781f)) + x * 0.398942280f * hl_exp(-0.5f * x * x);
}

/* The tanh form of the same paper. Error 1.5e-7 |x|. */
HL_HD float hl_gelu_tanh(float x)
{
    return 0.5f * x * (1.0f + hl_tanh(0.797884561f * (x + 0.044715f * x * x * x)));
}

/* Error 6e-7. Beyond 10, where it is 0 or 1, x * x must not overflow: 0 * inf is NaN, as at the
 * infinities. */
HL_HD float hl_gelu_tanh_slope(float x)
{
    float c = x < -10.0f ? -10.0f : x;
    c = (c > 10.0f ? 10.0f : c) + (x - x);
    float t = hl_tanh(0.797884561f * (c + 0.044715f * c * c * c));
    return 0.5f * (1.0f + t) +
           0.5f * c * (1.0f - t * t) * 0.797884561f * (1.0f + 3.0f * 0.044715f * c * c);
}

#endif
