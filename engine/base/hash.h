/* 64-bit FNV-1a, for identities and look-up only (never against an adversary). */
#ifndef HL_BASE_HASH_H
#define HL_BASE_HASH_H

#include "kernels/hl_types.h"

#define HL_HASH_START UINT64_C(0xcbf29ce484222325)

uint64_t hl_hash_bytes(uint64_t h, const void *bytes, size_t n);
uint64_t hl_hash_str(uint64_t h, const char *s); /* with its terminating NUL */

#endif
