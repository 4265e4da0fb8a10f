#include "app/store/proto.h"

#include <string.h>

size_t hl_pb_varint_bytes(uint64_t v)
{
    size_t n = 1;
    for (; v >= 128; v >>= 7)
        n++;
    return n;
}

void hl_pb_add_varint(hl_str *b, uint64_t v)
{
    char text[10];
    size_t n = 0;
    for (; v >= 128; v >>= 7)
        text[n++] = (char)(v | 128);
    text[n++] = (char)v;
    hl_str_addn(b, text, n);
}

void hl_pb_add_le64(hl_str *b, uint64_t v)
{
    char text[8];
    for (int i = 0; i < 8; i++)
        text[i] = (char)(v >> 8 * i);
    hl_str_addn(b, text, sizeof text);
}

void hl_pb_add_le32(hl_str *b, uint32_t v)
{
    char text[4];
    for (int i = 0; i < 4; i++)
        text[i] = (char)(v >> 8 * i);
    hl_str_addn(b, text, sizeof text);
}

static void add_key(hl_str *b, uint32_t field, hl_pb_wire wire)
{
    hl_pb_add_varint(b, (uint64_t)field << 3 | wire);
}

void hl_pb_add_uint(hl_str *b, uint32_t field, uint64_t v)
{
    add_key(b, field, HL_PB_VARINT);
    hl_pb_add_varint(b, v);
}

void hl_pb_add_double(hl_str *b, uint32_t field, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    add_key(b, field, HL_PB_FIXED64);
    hl_pb_add_le64(b, bits);
}

void hl_pb_add_float(hl_str *b, uint32_t field, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    add_key(b, field, HL_PB_FIXED32);
    hl_pb_add_le32(b, bits);
}

void hl_pb_add_head(hl_str *b, uint32_t field, size_t n)
{
    add_key(b, field, HL_PB_BYTES);
    hl_pb_add_varint(b, n);
}

void hl_pb_add_bytes(hl_str *b, uint32_t field, const void *bytes, size_t n)
{
    hl_pb_add_head(b, field, n);
    hl_str_addn(b, bytes, n);
}

hl_pb hl_pb_open(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    return (hl_pb){.at = p, .end = n ? p + n : p};
}

uint64_t hl_pb_load_le64(const unsigned char *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

uint32_t hl_pb_load_le32(const unsigned char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v |= (uint32_t)p[i] << 8 * i;
    return v;
}

bool hl_pb_next_varint(hl_pb *p, uint64_t *out)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64 && p->at < p->end; shift += 7) {
        unsigned char c = *p->at++;
        v |= (uint64_t)(c & 127) << shift;
        if (c < 128) {
            *out = v;
            return true;
        }
    }
    p->bad = true;
    return false;
}

bool hl_pb_next(hl_pb *p, hl_pb_field *out)
{
    uint64_t key, n = 0;
    if (p->bad || p->at == p->end || !hl_pb_next_varint(p, &key))
        return false;
    hl_pb_field f = {.number = (uint32_t)(key >> 3), .wire = (hl_pb_wire)(key & 7)};
    size_t left = (size_t)(p->end - p->at);
    switch (f.wire) {
    case HL_PB_VARINT:
        if (!hl_pb_next_varint(p, &f.value))
            return false;
        break;
    case HL_PB_FIXED64:
        n = 8;
        break;
    case HL_PB_FIXED32:
        n = 4;
        break;
    case HL_PB_BYTES:
        if (!hl_pb_next_varint(p, &n))
            return false;
        left = (size_t)(p->end - p->at);
        break;
    default: /* groups are gone since protobuf 2; anything else never was */
        p->bad = true;
        return false;
    }
    if (f.number == 0 || key >> 32 || n > left) {
        p->bad = true;
        return false;
    }
    f.bytes = p->at;
    f.n = (size_t)n;
    p->at += f.n;
    if (f.wire == HL_PB_FIXED64)
        f.value = hl_pb_load_le64(f.bytes);
    else if (f.wire == HL_PB_FIXED32)
        f.value = hl_pb_load_le32(f.bytes);
    *out = f;
    return true;
}

double hl_pb_as_double(uint64_t value)
{
    double v;
    memcpy(&v, &value, sizeof v);
    return v;
}

float hl_pb_as_float(uint64_t value)
{
    uint32_t bits = (uint32_t)value;
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}
