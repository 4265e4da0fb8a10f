/* Dropout from counters: the mask is drawn again in the backward pass and needs no memory.
 *
 * Philox (philox_body.h) on vectors: a lane holds one 32-bit word of the state in 64 bits. The high
 * halves fill with rubbish, which nobody reads: the multiplication takes low halves, and the xors
 * never move bits between halves. */
#include "kernels/vec/hl_isa.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

typedef uint64_t vq __attribute__((vector_size(4 * HL_VW), may_alias));
enum { LANES = HL_VW / 2, GROUPS = 4, BLOCKS = LANES * GROUPS, WORDS = 4 * BLOCKS };

/* low half of a times m, 64-bit products */
static inline vq multiply(vq a, uint32_t m)
{
#if defined(__AVX512F__)
    return (vq)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(m));
#elif defined(__AVX2__)
    return (vq)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(m));
#elif defined(__SSE2__)
    return (vq)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(m));
#else
    return (a & 0xFFFFFFFFu) * m;
#endif
}

/* WORDS random words from block `first` on. */
static void fill_words(hl_philox_key key, uint64_t first, uint32_t out[WORDS])
{
    vq c0[GROUPS], c1[GROUPS], c2[GROUPS], c3[GROUPS];
    vq block;
    for (int l = 0; l < LANES; l++)
        block[l] = (uint64_t)l;
    block += first;
    HL_UNROLL
    for (int g = 0; g < GROUPS; g++, block += LANES) {
        c0[g] = block;
        c1[g] = block >> 32;
        c2[g] = (vq){0} + key.stream;
        c3[g] = (vq){0} + key.step;
    }
    uint32_t k0 = key.k0, k1 = key.k1;
    for (int round = 0; round < 10; round++) {
        HL_UNROLL
        for (int g = 0; g < GROUPS; g++) {
            const vq p0 = multiply(c0[g], 0xD2511F53u), p1 = multiply(c2[g], 0xCD9E8D57u);
            c0[g] = (p1 >> 32) ^ c1[g] ^ (uint64_t)k0;
            c1[g] = p1;
            c2[g] = (p0 >> 32) ^ c3[g] ^ (uint64_t)k1;
            c3[g] = p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int g = 0; g < GROUPS; g++) {
        const vq low = (c0[g] & 0xFFFFFFFFu) | (c1[g] << 32);
        const vq high = (c2[g] & 0xFFFFFFFFu) | (c3[g] << 32);
        uint64_t pair[2 * LANES];
        for (int l = 0; l < LANES; l++) {
            pair[2 * l] = low[l];
            pair[2 * l + 1] = high[l];
        }
        memcpy(out + 4 * LANES * g, pair, sizeof pair);
    }
}

void HL_K(dropout_mask)(int64_t n, float p, hl_philox_key key, uint64_t element0, float *keep)
{
    const uint32_t threshold = hl_dropout_threshold(p);
    const float scale = 1.0f / (1.0f - p);
    _Alignas(64) uint32_t words[WORDS];
    for (int64_t i = 0; i < n;) {
        const uint64_t e = element0 + (uint64_t)i;
        const int64_t skip = (int64_t)(e & 3);
        fill_words(key, e >> 2, words);
        const int64_t m = n - i < WORDS - skip ? n - i : WORDS - skip;
        if (m == WORDS) /* a loop of constant length costs half as much */
            for (int64_t j = 0; j < WORDS; j++)
                keep[i + j] = words[j] >= threshold ? scale : 0.0f;
        else
            for (int64_t j = 0; j < m; j++)
                keep[i + j] = words[skip + j] >= threshold ? scale : 0.0f;
        i += m;
    }
}

void HL_K(dropout)(int64_t n, float p, hl_philox_key key, uint64_t element0, const float *x,
                   float *y)
{
    float keep[1024];
    for (int64_t i = 0; i < n; i += 1024) {
        const int64_t m = n - i < 1024 ? n - i : 1024;
        HL_K(dropout_mask)(m, p, key, element0 + (uint64_t)i, keep);
        for (int64_t j = 0; j < m; j++)
            y[i + j] = keep[j] != 0.0f ? x[i + j] * keep[j] : 0.0f;
    }
}
