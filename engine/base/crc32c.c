#include "engine/base/crc32c.h"

/* A CRC is linear: row i of a table is the exclusive or of the rows of the bits set in i, so the
 * eight rows of single bits span it. Table k advances a byte that stands k bytes before the end. */
#define L2(v, a)                     (v), (v) ^ (a)
#define L4(v, a, b)                  L2(v, a), L2((v) ^ (b), a)
#define L8(v, a, b, c)               L4(v, a, b), L4((v) ^ (c), a, b)
#define L16(v, a, b, c, d)           L8(v, a, b, c), L8((v) ^ (d), a, b, c)
#define L32(v, a, b, c, d, e)        L16(v, a, b, c, d), L16((v) ^ (e), a, b, c, d)
#define L64(v, a, b, c, d, e, f)     L32(v, a, b, c, d, e), L32((v) ^ (f), a, b, c, d, e)
#define L128(v, a, b, c, d, e, f, g) L64(v, a, b, c, d, e, f), L64((v) ^ (g), a, b, c, d, e, f)
#define L256(a, b, c, d, e, f, g, h)                                                               \
    {                                                                                              \
        L128(0u, a, b, c, d, e, f, g), L128(h, a, b, c, d, e, f, g)                                \
    }

static const uint32_t table[8][256] = {
    L256(0xf26b8303u, 0xe13b70f7u, 0xc79a971fu, 0x8ad958cfu, 0x105ec76fu, 0x20bd8edeu, 0x417b1dbcu,
         0x82f63b78u),
    L256(0x13a29877u, 0x274530eeu, 0x4e8a61dcu, 0x9d14c3b8u, 0x3fc5f181u, 0x7f8be302u, 0xff17c604u,
         0xfbc3faf9u),
    L256(0xa541927eu, 0x4f6f520du, 0x9edea41au, 0x38513ec5u, 0x70a27d8au, 0xe144fb14u, 0xc76580d9u,
         0x8b277743u),
    L256(0xdd45aab8u, 0xbf672381u, 0x7b2231f3u, 0xf64463e6u, 0xe964b13du, 0xd725148bu, 0xaba65fe7u,
         0x52a0c93fu),
    L256(0x38116facu, 0x7022df58u, 0xe045beb0u, 0xc5670b91u, 0x8f2261d3u, 0x1ba8b557u, 0x37516aaeu,
         0x6ea2d55cu),
    L256(0xef306b19u, 0xdb8ca0c3u, 0xb2f53777u, 0x6006181fu, 0xc00c303eu, 0x85f4168du, 0x0e045bebu,
         0x1c08b7d6u),
    L256(0x68032cc8u, 0xd0065990u, 0xa5e0c5d1u, 0x4e2dfd53u, 0x9c5bfaa6u, 0x3d5b83bdu, 0x7ab7077au,
         0xf56e0ef4u),
    L256(0x493c7d27u, 0x9278fa4eu, 0x211d826du, 0x423b04dau, 0x847609b4u, 0x0d006599u, 0x1a00cb32u,
         0x34019664u),
};

static uint32_t load_le32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t hl_crc32c(uint32_t crc, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint32_t c = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t lo = load_le32(p) ^ c, hi = load_le32(p + 4);
        c = table[7][lo & 255] ^ table[6][lo >> 8 & 255] ^ table[5][lo >> 16 & 255] ^
            table[4][lo >> 24] ^ table[3][hi & 255] ^ table[2][hi >> 8 & 255] ^
            table[1][hi >> 16 & 255] ^ table[0][hi >> 24];
    }
    for (; n; n--, p++)
        c = c >> 8 ^ table[0][(c ^ *p) & 255];
    return ~c;
}

uint32_t hl_crc32c_mask(uint32_t crc)
{
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}
