#include "engine/base/hash.h"

#include <string.h>

uint64_t hl_hash_bytes(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

uint64_t hl_hash_str(uint64_t h, const char *s)
{
    return hl_hash_bytes(h, s, strlen(s) + 1);
}
