/* The frame of one record in an event file:
 *   u64 LE payload length, u32 LE masked CRC-32C of those 8 bytes,
 *   payload, u32 LE masked CRC-32C of the payload. */
#ifndef HL_STORE_FRAME_H
#define HL_STORE_FRAME_H

#include "engine/base/str.h"

#define HL_FRAME_HEAD_BYTES  12
#define HL_FRAME_EXTRA_BYTES 16
/* A longer record is taken for damage: nothing we or TensorBoard write comes near. */
#define HL_FRAME_MAX_BYTES ((uint64_t)1 << 28)

/* Appending: begin, add the payload to `b`, end. After running out of memory, end takes the
 * half-built record off again, makes the buffer usable, and answers false. */
size_t hl_frame_begin(hl_str *b);
bool hl_frame_end(hl_str *b, size_t begin);

typedef enum hl_frame_check {
    HL_FRAME_OK,
    HL_FRAME_SHORT,       /* the bytes end before the record does: `total` says what it needs */
    HL_FRAME_BAD_LENGTH,  /* checksum of the length, or the length itself */
    HL_FRAME_BAD_PAYLOAD, /* length believable, payload not: the next record should be at `total` */
} hl_frame_check;

typedef struct hl_frame {
    const unsigned char *payload; /* borrowed from the bytes looked at */
    size_t n, total;
} hl_frame;

hl_frame_check hl_frame_look(const unsigned char *bytes, size_t n, hl_frame *out);

#endif
