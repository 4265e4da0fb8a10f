/* CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), the checksum of event files and checkpoints. */
#ifndef HL_BASE_CRC32C_H
#define HL_BASE_CRC32C_H

#include "kernels/hl_types.h"

/* Start with 0; feed the result back in to continue. hl_crc32c(0, "123456789", 9) = 0xE3069283. */
uint32_t hl_crc32c(uint32_t crc, const void *bytes, size_t n);

/* The form stored in files, so that a checksum over data holding checksums stays a good one. */
uint32_t hl_crc32c_mask(uint32_t crc);

#endif
