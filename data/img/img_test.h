/* For the tests of images: IDX files and gzip built byte by byte. */
#ifndef HL_DATA_IMG_TEST_H
#define HL_DATA_IMG_TEST_H

#include <criterion/criterion.h>
#include <zlib.h>

#include "data/data_test.h"
#include "data/img/idx.h"

typedef struct bytes {
    uint8_t at[1024];
    size_t n;
} bytes;

/* Header and elements 0, 1, 2, ... times `step`, modulo 256. */
HL_UNUSED static bytes idx_of(int rank, const uint32_t *dim, uint32_t step)
{
    bytes b = {.n = 4 + 4 * (size_t)rank};
    size_t n = 1;
    b.at[2] = 0x08;
    b.at[3] = (uint8_t)rank;
    for (int i = 0; i < rank; i++) {
        for (int k = 0; k < 4; k++)
            b.at[4 + 4 * i + k] = (uint8_t)(dim[i] >> (24 - 8 * k));
        n *= dim[i];
    }
    cr_assert_leq(b.n + n, sizeof b.at);
    for (size_t i = 0; i < n; i++)
        b.at[b.n + i] = (uint8_t)(i * step);
    b.n += n;
    return b;
}

/* One gzip member. */
HL_UNUSED static bytes gzip_of(const void *from, size_t n)
{
    bytes out = {.n = 0};
    z_stream z = {0};
    cr_assert_eq(deflateInit2(&z, 9, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)from;
    z.avail_in = (uInt)n;
    z.next_out = out.at;
    z.avail_out = sizeof out.at;
    cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    out.n = z.total_out;
    deflateEnd(&z);
    return out;
}

/* Fails with FORMAT, and the message has the file's name and `text`. */
HL_UNUSED static void expect_refused(const char *path, int rank, const char *text)
{
    hl_idx x = {0};
    cr_assert_eq(hl_idx_read(path, rank, &x), HL_E_FORMAT, "%s: not refused (%s)", path, text);
    cr_assert(strstr(hl_err_message(), hl_fs_base(path)), "no name: %s", hl_err_message());
    cr_assert(strstr(hl_err_message(), text), "'%s' not in: %s", text, hl_err_message());
    cr_assert_null(x.at);
}

#endif
