/* IDX files.
 *
 * DESIGN. The whole file is read first: its size bounds everything after. A source then gives its
 * bytes, unpacked where they are packed; the header is taken from it, judged, and only then are the
 * elements taken. */
#include "data/img/idx.h"

#include <string.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"

#include "data/gz/gz.h"

#define HEADER_MAX (4 + 4 * HL_IDX_RANK_MAX)
#define TYPE_U8    0x08

typedef struct source {
    const char *path;
    const uint8_t *bytes; /* the file */
    size_t n, at;
    bool is_gzip;
    hl_gz *gz;
} source;

/* ---- bytes ----------------------------------------------------------------------------------- */

static hl_status source_open(source *s)
{
    s->is_gzip = hl_gz_is(s->bytes, s->n);
    return s->is_gzip ? hl_gz_open(s->path, s->bytes, s->n, &s->gz) : HL_OK;
}

/* Up to `want` bytes; fewer only at the end. */
static hl_status source_read(source *s, uint8_t *to, size_t want, size_t *got)
{
    if (s->is_gzip)
        return hl_gz_read(s->gz, to, want, got);
    *got = want < s->n - s->at ? want : s->n - s->at;
    if (*got)
        memcpy(to, s->bytes + s->at, *got);
    s->at += *got;
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
    if (s->is_gzip && header + product > hl_gz_most(s->n))
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
    hl_gz_close(s.gz);
    hl_free(file);
    return st;
}

void hl_idx_done(hl_idx *x)
{
    hl_free(x->at);
    *x = (hl_idx){0};
}
