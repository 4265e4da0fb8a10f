/* IDX files.
 *
 * DESIGN. The whole file is read first: its size bounds everything after. A source then gives its
 * bytes, unpacked where they are packed; the header is taken from it, judged, and only then are the
 * elements taken. zlib allocates through hl_alloc. A gzip file may have several members. */
#include "data/img/idx.h"

#include <string.h>
#include <zlib.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"

#define HEADER_MAX  (4 + 4 * HL_IDX_RANK_MAX)
#define TYPE_U8     0x08
#define GZIP_RATIO  1032             /* deflate cannot do better: a bit for 258 bytes, twice */
#define CHUNK_BYTES (1u << 30)       /* zlib counts in unsigned int */
#define WINDOW_GZIP (MAX_WBITS + 16) /* gzip framing only */

typedef struct source {
    const char *path;
    const uint8_t *bytes; /* the file */
    size_t n, at;
    bool is_gzip, is_open, ended; /* of the unpacker */
    z_stream z;
} source;

/* ---- bytes ----------------------------------------------------------------------------------- */

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

static hl_status source_open(source *s)
{
    s->is_gzip = s->n >= 2 && s->bytes[0] == 0x1F && s->bytes[1] == 0x8B;
    if (!s->is_gzip)
        return HL_OK;
    s->z.zalloc = zlib_alloc;
    s->z.zfree = zlib_free;
    int rc = inflateInit2(&s->z, WINDOW_GZIP);
    if (rc == Z_MEM_ERROR)
        return HL_E_NOMEM;
    if (rc != Z_OK)
        return hl_err_set(HL_E_INTERNAL, "'%s': zlib does not start (%d)", s->path, rc);
    s->is_open = true;
    return HL_OK;
}

static void source_close(source *s)
{
    if (s->is_open)
        (void)inflateEnd(&s->z);
    s->is_open = false;
}

/* A member has ended: is there another one? */
static hl_status next_member(source *s)
{
    size_t left = s->n - s->at;
    if (left == 0) {
        s->ended = true;
        return HL_OK;
    }
    if (left < 2 || s->bytes[s->at] != 0x1F || s->bytes[s->at + 1] != 0x8B)
        return hl_err_set(HL_E_FORMAT,
                          "'%s' is damaged: %zu bytes that are not gzip follow the gzip stream, "
                          "which ends at offset %zu; the end of the file was expected",
                          s->path, left, s->at);
    return inflateReset(&s->z) == Z_OK
               ? HL_OK
               : hl_err_set(HL_E_INTERNAL, "'%s': zlib does not start again", s->path);
}

/* Unpacks once: some bytes more, or an error. */
static hl_status inflate_some(source *s, uint8_t *to, size_t room, size_t *got)
{
    size_t n_in = s->n - s->at < CHUNK_BYTES ? s->n - s->at : CHUNK_BYTES;
    size_t n_out = room < CHUNK_BYTES ? room : CHUNK_BYTES;
    s->z.next_in = (z_const Bytef *)(uintptr_t)(s->bytes + s->at);
    s->z.avail_in = (uInt)n_in;
    s->z.next_out = to;
    s->z.avail_out = (uInt)n_out;
    int rc = inflate(&s->z, Z_NO_FLUSH);
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

/* Up to `want` bytes; fewer only at the end. */
static hl_status source_read(source *s, uint8_t *to, size_t want, size_t *got)
{
    size_t have = 0;
    if (!s->is_gzip) {
        have = want < s->n - s->at ? want : s->n - s->at;
        if (have)
            memcpy(to, s->bytes + s->at, have);
        s->at += have;
    }
    while (s->is_gzip && have < want && !s->ended) {
        size_t more = 0;
        hl_status st = inflate_some(s, to + have, want - have, &more);
        if (st != HL_OK)
            return st;
        have += more;
    }
    *got = have;
    return HL_OK;
}

/* ---- header ---------------------------------------------------------------------------------- */

static uint32_t be32(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static const char *type_name(uint8_t type)
{
    switch (type) {
    case 0x09:
        return " (signed bytes)";
    case 0x0B:
        return " (16-bit integers)";
    case 0x0C:
        return " (32-bit integers)";
    case 0x0D:
        return " (32-bit floats)";
    case 0x0E:
        return " (64-bit floats)";
    default:
        return "";
    }
}

static hl_status check_magic(const source *s, const uint8_t *h, int rank)
{
    if (h[0] == 'P' && h[1] == 'K')
        return hl_err_set(HL_E_FORMAT,
                          "'%s' is a zip archive; an IDX file, plain or gzip, was expected: unpack "
                          "it first",
                          s->path);
    if (h[0] != 0 || h[1] != 0)
        return hl_err_set(HL_E_FORMAT,
                          "'%s' is not an IDX file: it starts with %02X %02X %02X %02X; 00 00 08 "
                          "and the rank were expected",
                          s->path, h[0], h[1], h[2], h[3]);
    if (h[2] != TYPE_U8)
        return hl_err_set(HL_E_FORMAT,
                          "'%s' has elements of type 0x%02X%s; 0x08 (unsigned bytes) was expected",
                          s->path, h[2], type_name(h[2]));
    if (h[3] < 1 || h[3] > HL_IDX_RANK_MAX)
        return hl_err_set(HL_E_FORMAT, "'%s' has rank %d; 1 .. %d was expected", s->path, h[3],
                          HL_IDX_RANK_MAX);
    if (rank && h[3] != rank)
        return hl_err_set(HL_E_FORMAT, "'%s' has rank %d; %d was expected%s", s->path, h[3], rank,
                          rank == 3 && h[3] == 1   ? " (labels in place of images?)"
                          : rank == 1 && h[3] == 3 ? " (images in place of labels?)"
                                                   : "");
    return HL_OK;
}

/* The number of elements, if the file can hold them. */
static hl_status check_size(const source *s, const hl_idx *x, size_t *n)
{
    size_t product = 1;
    for (int i = 0; i < x->rank; i++) {
        if (x->dim[i] == 0)
            return hl_err_set(HL_E_FORMAT, "'%s': dimension %d is 0; at least 1 was expected",
                              s->path, i + 1);
        if (!hl_mul_size(product, x->dim[i], &product) || product > HL_IDX_BYTES_MAX)
            return hl_err_set(HL_E_FORMAT,
                              "'%s' is too large: its first %d dimensions ask for more than %zu "
                              "bytes, the most that is read here",
                              s->path, i + 1, HL_IDX_BYTES_MAX);
    }
    size_t header = 4 + 4 * (size_t)x->rank;
    if (!s->is_gzip && s->n != header + product)
        return hl_err_set(HL_E_FORMAT,
                          "'%s' has %zu bytes; its dimensions ask for %zu (a header of %zu and %zu "
                          "elements)",
                          s->path, s->n, header + product, header, product);
    if (s->is_gzip && (header + product) / GZIP_RATIO > s->n)
        return hl_err_set(HL_E_FORMAT,
                          "'%s' has %zu bytes of gzip, which cannot hold the %zu elements that its "
                          "dimensions ask for",
                          s->path, s->n, product);
    *n = product;
    return HL_OK;
}

static hl_status read_header(source *s, int rank, hl_idx *x)
{
    uint8_t h[HEADER_MAX] = {0};
    size_t got;
    hl_status st = source_read(s, h, 4, &got);
    if (st == HL_OK && got < 4)
        st = hl_err_set(HL_E_FORMAT, "'%s' has %zu bytes; an IDX header of at least 8 was expected",
                        s->path, got);
    if (st == HL_OK)
        st = check_magic(s, h, rank);
    if (st != HL_OK)
        return st;
    x->rank = h[3];
    size_t want = 4 * (size_t)x->rank;
    st = source_read(s, h + 4, want, &got);
    if (st == HL_OK && got < want)
        st = hl_err_set(HL_E_FORMAT, "'%s' ends inside its header, after %zu of %zu bytes", s->path,
                        4 + got, 4 + want);
    for (int i = 0; st == HL_OK && i < x->rank; i++)
        x->dim[i] = be32(h + 4 + 4 * (size_t)i);
    return st != HL_OK ? st : check_size(s, x, &x->n);
}

/* ---- files ----------------------------------------------------------------------------------- */

static hl_status read_elements(source *s, hl_idx *x)
{
    size_t got = 0;
    x->at = hl_alloc(x->n);
    if (!x->at)
        return HL_E_NOMEM;
    hl_status st = source_read(s, x->at, x->n, &got);
    if (st != HL_OK)
        return st;
    if (got < x->n)
        return hl_err_set(HL_E_FORMAT, "'%s' unpacks to %zu elements; its dimensions ask for %zu",
                          s->path, got, x->n);
    /* one byte more: there must be none, and the check sum of gzip is compared only now */
    uint8_t beyond;
    st = source_read(s, &beyond, 1, &got);
    if (st == HL_OK && got)
        st = hl_err_set(HL_E_FORMAT,
                        "'%s' goes on after the %zu elements that its dimensions ask for", s->path,
                        x->n);
    return st;
}

hl_status hl_idx_read(const char *path, int rank, hl_idx *out)
{
    hl_status st = HL_OK;
    source s = {.path = path};
    hl_idx x = {0};
    char *file = NULL;
    if (!path || !*path)
        return hl_err_set(HL_E_ARG, "the path of an IDX file is empty; name a file");
    HL_TRY(hl_fs_read(path, HL_IDX_BYTES_MAX + HEADER_MAX, &file, &s.n));
    s.bytes = (const uint8_t *)file;
    HL_TRY(source_open(&s));
    HL_TRY(read_header(&s, rank, &x));
    HL_TRY(read_elements(&s, &x));
    *out = x;
    x = (hl_idx){0};
out:
    hl_idx_done(&x);
    source_close(&s);
    hl_free(file);
    return st;
}

void hl_idx_done(hl_idx *x)
{
    hl_free(x->at);
    *x = (hl_idx){0};
}
