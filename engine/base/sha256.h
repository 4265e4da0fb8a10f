/* SHA-256 (FIPS 180-4): whether a file that came over a network is the published one. */
#ifndef HL_BASE_SHA256_H
#define HL_BASE_SHA256_H

#include "kernels/hl_types.h"

#define HL_SHA256_HEX 65 /* 64 hexadecimal digits and a NUL */

typedef struct hl_sha256 {
    uint32_t state[8];
    uint64_t n_bytes;
    unsigned char block[64]; /* n_bytes % 64 of it wait */
} hl_sha256;

void hl_sha256_start(hl_sha256 *s);
void hl_sha256_add(hl_sha256 *s, const void *bytes, size_t n);
/* The sum in lower case; start again before adding more. */
const char *hl_sha256_finish(hl_sha256 *s, char hex[HL_SHA256_HEX]);

#endif
