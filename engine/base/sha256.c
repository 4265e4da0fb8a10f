#include "engine/base/sha256.h"

#include <string.h>

enum { BLOCK = 64, LENGTH_AT = 56, ROUNDS = 64 };

/* clang-format off */
static const uint32_t round_constants[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
/* clang-format on */

static uint32_t turn(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static uint32_t word_at(const unsigned char *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void take_block(uint32_t state[8], const unsigned char *block)
{
    uint32_t w[ROUNDS];
    for (size_t t = 0; t < 16; t++)
        w[t] = word_at(block + 4 * t);
    for (int t = 16; t < ROUNDS; t++) {
        const uint32_t x = w[t - 15], y = w[t - 2];
        const uint32_t small0 = turn(x, 7) ^ turn(x, 18) ^ x >> 3;
        const uint32_t small1 = turn(y, 17) ^ turn(y, 19) ^ y >> 10;
        w[t] = w[t - 16] + small0 + w[t - 7] + small1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < ROUNDS; t++) {
        const uint32_t big1 = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25);
        const uint32_t big0 = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22);
        const uint32_t t1 = h + big1 + (g ^ (e & (f ^ g))) + round_constants[t] + w[t];
        const uint32_t t2 = big0 + ((a & b) | (c & (a | b)));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    const uint32_t v[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

void hl_sha256_start(hl_sha256 *s)
{
    *s = (hl_sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                               0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void hl_sha256_add(hl_sha256 *s, const void *bytes, size_t n)
{
    const unsigned char *from = bytes;
    size_t used = (size_t)(s->n_bytes % BLOCK);
    s->n_bytes += n;
    while (n > 0) {
        if (used == 0 && n >= BLOCK) {
            take_block(s->state, from);
            from += BLOCK;
            n -= BLOCK;
            continue;
        }
        const size_t part = n < BLOCK - used ? n : BLOCK - used;
        memcpy(s->block + used, from, part);
        from += part;
        n -= part;
        used += part;
        if (used == BLOCK) {
            take_block(s->state, s->block);
            used = 0;
        }
    }
}

const char *hl_sha256_finish(hl_sha256 *s, char hex[HL_SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    static const unsigned char padding[BLOCK] = {0x80};
    unsigned char length[8];
    const uint64_t n_bits = s->n_bytes * 8;
    const size_t used = (size_t)(s->n_bytes % BLOCK);
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(n_bits >> (56 - 8 * i));
    hl_sha256_add(s, padding, used < LENGTH_AT ? LENGTH_AT - used : BLOCK + LENGTH_AT - used);
    hl_sha256_add(s, length, sizeof length);
    for (int i = 0; i < 64; i++)
        hex[i] = digits[s->state[i / 8] >> (28 - 4 * (i % 8)) & 15];
    hex[64] = '\0';
    return hex;
}
