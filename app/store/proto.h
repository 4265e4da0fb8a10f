/* The little of protobuf that event files need: append fields to a text buffer, walk the fields of
 * a message that may come from anywhere. */
#ifndef HL_STORE_PROTO_H
#define HL_STORE_PROTO_H

#include "engine/base/str.h"

/* Writing. Failure is the sticky one of hl_str. */
size_t hl_pb_varint_bytes(uint64_t v);
void hl_pb_add_varint(hl_str *b, uint64_t v);
void hl_pb_add_uint(hl_str *b, uint32_t field, uint64_t v); /* int64 too: two's complement */
void hl_pb_add_double(hl_str *b, uint32_t field, double v);
void hl_pb_add_float(hl_str *b, uint32_t field, float v);
void hl_pb_add_bytes(hl_str *b, uint32_t field, const void *bytes, size_t n);
void hl_pb_add_head(hl_str *b, uint32_t field, size_t n); /* n bytes of field follow */
void hl_pb_add_le64(hl_str *b, uint64_t v);
void hl_pb_add_le32(hl_str *b, uint32_t v);

/* Reading: `bytes` are borrowed from the message. */
typedef enum hl_pb_wire {
    HL_PB_VARINT = 0,
    HL_PB_FIXED64 = 1,
    HL_PB_BYTES = 2,
    HL_PB_FIXED32 = 5
} hl_pb_wire;

typedef struct hl_pb_field {
    uint32_t number;
    hl_pb_wire wire;
    uint64_t value; /* varint, fixed64, fixed32 */
    const unsigned char *bytes;
    size_t n;
} hl_pb_field;

typedef struct hl_pb {
    const unsigned char *at, *end;
    bool bad; /* stopped because the message is malformed */
} hl_pb;

hl_pb hl_pb_open(const void *bytes, size_t n);
bool hl_pb_next(hl_pb *p, hl_pb_field *out); /* false: end, or bad */
bool hl_pb_next_varint(hl_pb *p, uint64_t *out);
double hl_pb_as_double(uint64_t value);
float hl_pb_as_float(uint64_t value);
uint64_t hl_pb_load_le64(const unsigned char *p);
uint32_t hl_pb_load_le32(const unsigned char *p);

#endif
