/* Philox 4x32-10, a counter-based generator: random numbers as a pure function of
 * (seed, step, stream, element). Source: Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011. CPU and CUDA compile this file and draw the same bits. */
#ifndef HL_PHILOX_BODY_H
#define HL_PHILOX_BODY_H

#include <math.h>

#include "kernels/hl_types.h"

typedef struct hl_philox_key {
    uint32_t k0, k1;       /* seed, low and high */
    uint32_t stream, step; /* counter words 2 and 3 */
} hl_philox_key;

HL_HD hl_philox_key hl_philox_key_make(uint64_t seed, uint32_t stream, uint32_t step)
{
    hl_philox_key k;
    k.k0 = (uint32_t)seed;
    k.k1 = (uint32_t)(seed >> 32);
    k.stream = stream;
    k.step = step;
    return k;
}

/* The four words of counter `block`; element e of a stream is word e % 4 of block e / 4. */
HL_HD void hl_philox_block(hl_philox_key key, uint64_t block, uint32_t out[4])
{
    uint32_t c0 = (uint32_t)block, c1 = (uint32_t)(block >> 32), c2 = key.stream, c3 = key.step;
    uint32_t k0 = key.k0, k1 = key.k1;
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

HL_HD uint32_t hl_philox_u32(hl_philox_key key, uint64_t element)
{
    uint32_t w[4];
    hl_philox_block(key, element >> 2, w);
    return w[element & 3];
}

/* [0, 1) with 24 bits: every value is exact in float. */
HL_HD float hl_philox_unit(uint32_t word)
{
    return (float)(word >> 8) * 5.9604644775390625e-8f;
}

/* Two draws of N(0, 1) from two words: Box and Muller 1958. */
HL_HD void hl_philox_normal(const uint32_t w[2], double z[2])
{
    const double radius = sqrt(-2 * log((w[0] + 0.5) * 2.3283064365386963e-10)); /* 2^-32 */
    const double angle = 6.283185307179586 * (w[1] * 2.3283064365386963e-10);
    z[0] = radius * cos(angle);
    z[1] = radius * sin(angle);
}

/* Dropout keeps an element if its word is not below this: P(drop) = p to 2^-32. */
HL_HD uint32_t hl_dropout_threshold(float p)
{
    return (uint32_t)((double)p * 4294967296.0);
}

#endif
