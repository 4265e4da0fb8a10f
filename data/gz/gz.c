/* gzip taken apart by zlib, which allocates through hl_alloc. A file may have several members. */
#include "data/gz/gz.h"

#include <stdint.h>
#include <zlib.h>

#include "engine/base/mem.h"

#define GZIP_RATIO  1032             /* deflate cannot do better: a bit for 258 bytes, twice */
#define CHUNK_BYTES (1u << 30)       /* zlib counts in unsigned int */
#define WINDOW_GZIP (MAX_WBITS + 16) /* gzip framing only */

struct hl_gz {
    const char *path;
    const uint8_t *bytes;
    size_t n, at;
    bool ended;
    z_stream z;
};

static voidpf zlib_alloc(voidpf opaque, uInt n, uInt each)
{
    (void)opaque;
    return hl_alloc_zero(n, each);
}

static void zlib_free(voidpf opaque, voidpf p)
{
    (void)opaque;
    hl_free(p);
}

bool hl_gz_is(const void *bytes, size_t n)
{
    const uint8_t *b = bytes;
    return n >= 2 && b[0] == 0x1F && b[1] == 0x8B;
}

size_t hl_gz_most(size_t n)
{
    size_t most;
    return hl_mul_size(n, GZIP_RATIO, &most) ? most : SIZE_MAX;
}

hl_status hl_gz_open(const char *path, const void *bytes, size_t n, hl_gz **out)
{
    hl_gz *s = hl_alloc_zero(1, sizeof *s);
    if (!s)
        return HL_E_NOMEM;
    *s = (hl_gz){.path = path, .bytes = bytes, .n = n};
    s->z.zalloc = zlib_alloc;
    s->z.zfree = zlib_free;
    const int rc = inflateInit2(&s->z, WINDOW_GZIP);
    if (rc == Z_OK) {
        *out = s;
        return HL_OK;
    }
    hl_free(s);
    return rc == Z_MEM_ERROR
               ? HL_E_NOMEM
               : hl_err_set(HL_E_INTERNAL, "'%s': zlib does not start (%d)", path, rc);
}

void hl_gz_close(hl_gz *s)
{
    if (!s)
        return;
    (void)inflateEnd(&s->z);
    hl_free(s);
}

/* A member has ended: is there another one? */
static hl_status next_member(hl_gz *s)
{
    const size_t left = s->n - s->at;
    if (left == 0) {
        s->ended = true;
        return HL_OK;
    }
    if (!hl_gz_is(s->bytes + s->at, left))
        return hl_err_set(HL_E_FORMAT,
                          "'%s' is damaged: %zu bytes that are not gzip follow the gzip stream, "
                          "which ends at offset %zu; the end of the file was expected",
                          s->path, left, s->at);
    return inflateReset(&s->z) == Z_OK
               ? HL_OK
               : hl_err_set(HL_E_INTERNAL, "'%s': zlib does not start again", s->path);
}

/* Unpacks once: some bytes more, or an error. */
static hl_status inflate_some(hl_gz *s, uint8_t *to, size_t room, size_t *got)
{
    const size_t n_in = s->n - s->at < CHUNK_BYTES ? s->n - s->at : CHUNK_BYTES;
    const size_t n_out = room < CHUNK_BYTES ? room : CHUNK_BYTES;
    s->z.next_in = (z_const Bytef *)(uintptr_t)(s->bytes + s->at);
    s->z.avail_in = (uInt)n_in;
    s->z.next_out = to;
    s->z.avail_out = (uInt)n_out;
    const int rc = inflate(&s->z, Z_NO_FLUSH);
    s->at += n_in - s->z.avail_in;
    *got = n_out - s->z.avail_out;
    if (rc == Z_STREAM_END)
        return next_member(s);
    if (rc == Z_MEM_ERROR)
        return HL_E_NOMEM;
    if (rc == Z_BUF_ERROR)
        return hl_err_set(HL_E_FORMAT,
                          "'%s' is cut short: the file ends after %zu bytes in the middle of its "
                          "gzip stream; get it again",
                          s->path, s->n);
    if (rc != Z_OK)
        return hl_err_set(HL_E_FORMAT, "'%s' is damaged: %s near offset %zu of its gzip stream",
                          s->path, s->z.msg ? s->z.msg : "no deflate data", s->at);
    return HL_OK;
}

hl_status hl_gz_read(hl_gz *s, void *to, size_t want, size_t *got)
{
    size_t have = 0;
    while (have < want && !s->ended) {
        size_t more = 0;
        hl_status st = inflate_some(s, (uint8_t *)to + have, want - have, &more);
        if (st != HL_OK)
            return st;
        have += more;
    }
    *got = have;
    return HL_OK;
}
