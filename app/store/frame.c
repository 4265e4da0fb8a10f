#include "app/store/frame.h"

#include <string.h>

#include "engine/base/crc32c.h"
#include "app/store/proto.h"

size_t hl_frame_begin(hl_str *b)
{
    static const char blank[HL_FRAME_HEAD_BYTES];
    size_t begin = b->n;
    hl_str_addn(b, blank, sizeof blank);
    return begin;
}

static void store_le32(char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (char)(v >> 8 * i);
}

bool hl_frame_end(hl_str *b, size_t begin)
{
    size_t payload = begin + HL_FRAME_HEAD_BYTES;
    if (!b->failed)
        hl_pb_add_le32(b, hl_crc32c_mask(hl_crc32c(0, b->s + payload, b->n - payload)));
    if (b->failed) {
        b->failed = false;
        b->n = begin < b->n ? begin : b->n;
        if (b->s)
            b->s[b->n] = '\0';
        return false;
    }
    uint64_t n = b->n - payload - 4;
    char *head = b->s + begin;
    store_le32(head, (uint32_t)n);
    store_le32(head + 4, (uint32_t)(n >> 32));
    store_le32(head + 8, hl_crc32c_mask(hl_crc32c(0, head, 8)));
    return true;
}

hl_frame_check hl_frame_look(const unsigned char *bytes, size_t n, hl_frame *out)
{
    *out = (hl_frame){.total = HL_FRAME_HEAD_BYTES};
    if (n < HL_FRAME_HEAD_BYTES)
        return HL_FRAME_SHORT;
    uint64_t length = hl_pb_load_le64(bytes);
    if (hl_crc32c_mask(hl_crc32c(0, bytes, 8)) != hl_pb_load_le32(bytes + 8) ||
        length > HL_FRAME_MAX_BYTES)
        return HL_FRAME_BAD_LENGTH;
    out->n = (size_t)length;
    out->total = out->n + HL_FRAME_EXTRA_BYTES;
    if (n < out->total)
        return HL_FRAME_SHORT;
    out->payload = bytes + HL_FRAME_HEAD_BYTES;
    uint32_t crc = hl_crc32c_mask(hl_crc32c(0, out->payload, out->n));
    return crc == hl_pb_load_le32(out->payload + out->n) ? HL_FRAME_OK : HL_FRAME_BAD_PAYLOAD;
}
