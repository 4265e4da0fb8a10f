#define _POSIX_C_SOURCE 200809L
#include "data/img/img_test.h"
#include "engine/base/rng.h"

static const uint32_t DIM3[] = {3, 2, 4};

static hl_idx read_of(const bytes *b, int rank)
{
    const char *path = write_temp("good.idx", b->at, b->n);
    hl_idx x = {0};
    cr_assert_eq(hl_idx_read(path, rank, &x), HL_OK, "%s", hl_err_message());
    remove(path);
    return x;
}

static void refuse(const bytes *b, int rank, const char *text)
{
    const char *path = write_temp("bad.idx", b->at, b->n);
    expect_refused(path, rank, text);
    remove(path);
}

Test(idx, golden_bytes)
{
    static const uint8_t file[] = {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 7, 0, 255, 128};
    const char *path = write_temp("golden.idx", file, sizeof file);
    hl_idx x;
    cr_assert_eq(hl_idx_read(path, 3, &x), HL_OK, "%s", hl_err_message());
    cr_assert(x.rank == 3 && x.n == 4 && x.dim[0] == 1 && x.dim[1] == 2 && x.dim[2] == 2);
    cr_assert_arr_eq(x.at, file + 16, 4);
    hl_idx_done(&x);
    remove(path);
}

Test(idx, every_rank_plain_and_gzip)
{
    const uint32_t dim[] = {2, 3, 5, 7};
    for (int rank = 1; rank <= 4; rank++) {
        const bytes plain = idx_of(rank, dim, 3), gzip = gzip_of(plain.at, plain.n);
        hl_idx a = read_of(&plain, rank), b = read_of(&gzip, 0);
        const size_t header = 4 + 4 * (size_t)rank;
        cr_assert(a.rank == rank && b.rank == rank && a.n == b.n && a.n == plain.n - header);
        cr_assert_arr_eq(a.dim, b.dim, sizeof a.dim);
        cr_assert_arr_eq(a.at, plain.at + header, a.n);
        cr_assert_arr_eq(b.at, plain.at + header, b.n);
        hl_idx_done(&a);
        hl_idx_done(&b);
    }
}

/* bgzip and the like write several members */
Test(idx, several_members)
{
    const bytes plain = idx_of(3, DIM3, 11);
    for (size_t cut = 0; cut <= plain.n; cut++) {
        bytes a = gzip_of(plain.at, cut), b = gzip_of(plain.at + cut, plain.n - cut);
        memcpy(a.at + a.n, b.at, b.n);
        a.n += b.n;
        hl_idx x = read_of(&a, 3);
        cr_assert_arr_eq(x.at, plain.at + 16, x.n);
        hl_idx_done(&x);
    }
}

Test(idx, wrong_kind)
{
    bytes b = idx_of(3, DIM3, 1);
    b.at[0] = 1;
    refuse(&b, 3, "starts with 01 00 08 03; 00 00 08");
    b = idx_of(3, DIM3, 1);
    b.at[2] = 0x0D;
    refuse(&b, 3, "type 0x0D (32-bit floats); 0x08 (unsigned bytes) was expected");
    b.at[2] = 0x42;
    refuse(&b, 3, "type 0x42;");
    b = idx_of(3, DIM3, 1);
    b.at[3] = 0;
    refuse(&b, 0, "rank 0; 1 .. 4");
    b.at[3] = 5;
    refuse(&b, 0, "rank 5; 1 .. 4");
    b.at[3] = 3;
    refuse(&b, 1, "rank 3; 1 was expected (images in place of labels?)");
    const uint32_t dim[] = {9};
    b = idx_of(1, dim, 1);
    refuse(&b, 3, "rank 1; 3 was expected (labels in place of images?)");
    memcpy(b.at, "PK\3\4", 4);
    refuse(&b, 1, "zip archive");
}

Test(idx, sizes_that_lie)
{
    bytes b = idx_of(3, DIM3, 1);
    memset(b.at + 4, 0xFF, 12); /* (2^32-1)^3 overflows 64 bits */
    refuse(&b, 3, "is too large: its first 1 dimensions");
    bytes z = gzip_of(b.at, b.n);
    refuse(&z, 3, "is too large");
    b = idx_of(3, DIM3, 1);
    memset(b.at + 8, 0, 4);
    b.at[8] = 0x40; /* 3 * 2^30 */
    refuse(&b, 3, "its first 2 dimensions ask for more than 2147483648 bytes");
    b = idx_of(3, DIM3, 1);
    b.at[6] = 1; /* 259 images */
    refuse(&b, 3, "has 40 bytes; its dimensions ask for 2088");
    z = gzip_of(b.at, b.n);
    refuse(&z, 3, "unpacks to 24 elements; its dimensions ask for 2072");
    b = idx_of(3, DIM3, 1);
    b.at[7] = 0;
    refuse(&b, 3, "dimension 1 is 0");
    b.at[7] = 2;
    refuse(&b, 3, "has 40 bytes; its dimensions ask for 32");
    z = gzip_of(b.at, b.n);
    refuse(&z, 3, "goes on after the 16 elements");
}

/* A small file cannot make us take much memory: 2 GB are claimed, 60 bytes are there. */
Test(idx, memory_follows_the_file)
{
    bytes b = idx_of(3, DIM3, 1);
    memcpy(b.at + 4, (const uint8_t[]){0x7F, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, 12);
    bytes z = gzip_of(b.at, b.n);
    hl_mem_set_limit(hl_mem_get_stats().live_bytes + (1 << 20));
    refuse(&z, 3, "which cannot hold the 2130706432 elements");
    refuse(&b, 3, "has 40 bytes; its dimensions ask for 2130706448");
    hl_mem_set_limit(0);
}

/* 1000 zeros to a byte is what deflate can do, and it is let through. */
Test(idx, densest_gzip)
{
    const size_t n = (size_t)8 << 20;
    uint8_t *file = hl_alloc_zero(1, n + 8), *packed = hl_alloc(n);
    cr_assert(file && packed);
    memcpy(file, (const uint8_t[]){0, 0, 8, 1, 0, 0x80, 0, 0}, 8);
    z_stream z = {
        .next_in = file, .avail_in = (uInt)(n + 8), .next_out = packed, .avail_out = (uInt)n};
    cr_assert_eq(deflateInit2(&z, 9, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    const char *path = write_temp("dense.gz", packed, z.total_out);
    hl_idx x;
    cr_assert_eq(hl_idx_read(path, 1, &x), HL_OK, "%s", hl_err_message());
    cr_assert_eq(x.n, n);
    hl_idx_done(&x);
    deflateEnd(&z);
    remove(path);
    hl_free(file);
    hl_free(packed);
}

Test(idx, every_truncation)
{
    const bytes plain = idx_of(3, DIM3, 37), gzip = gzip_of(plain.at, plain.n);
    for (size_t n = 0; n < plain.n; n++) {
        bytes b = plain;
        b.n = n;
        refuse(&b, 3, n < 4 ? "at least 8 was expected" : n < 16 ? "inside its header" : "ask for");
    }
    for (size_t n = 0; n < gzip.n; n++) {
        bytes b = gzip;
        b.n = n;
        refuse(&b, 3, n < 2 ? "at least 8 was expected" : "is cut short");
    }
}

Test(idx, trailing_bytes)
{
    bytes plain = idx_of(3, DIM3, 37), gzip = gzip_of(plain.at, plain.n);
    bytes longer = plain;
    longer.n++;
    refuse(&longer, 3, "has 41 bytes; its dimensions ask for 40");
    bytes packed = gzip_of(longer.at, longer.n);
    refuse(&packed, 3, "goes on after the 24 elements");
    gzip.n += 3; /* zeros */
    refuse(&gzip, 3, "3 bytes that are not gzip follow");
}

Test(idx, damaged_check_sum)
{
    const bytes plain = idx_of(3, DIM3, 37), gzip = gzip_of(plain.at, plain.n);
    for (size_t i = 1; i <= 8; i++) { /* CRC and length are the last eight bytes */
        bytes b = gzip;
        b.at[b.n - i] ^= 0x10;
        refuse(&b, 3, i > 4 ? "incorrect data check" : "incorrect length check");
    }
}

/* Any change of a header is refused; any change of a gzip file is refused or harmless. */
Test(idx, every_byte_altered)
{
    const bytes plain = idx_of(3, DIM3, 37), gzip = gzip_of(plain.at, plain.n);
    for (size_t i = 0; i < 16; i++)
        for (int v = 0; v < 256; v++) {
            bytes b = plain;
            b.at[i] = (uint8_t)v;
            if (v != plain.at[i])
                refuse(&b, 3, "bad.idx");
        }
    int n_good = 0;
    for (size_t i = 0; i < gzip.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            bytes b = gzip;
            b.at[i] ^= (uint8_t)(1 << bit);
            const char *path = write_temp("bits.gz", b.at, b.n);
            hl_idx x = {0};
            hl_status st = hl_idx_read(path, 3, &x);
            cr_assert(st == HL_OK || st == HL_E_FORMAT, "byte %zu bit %d: %d", i, bit, (int)st);
            if (st == HL_OK) {
                cr_assert_arr_eq(x.at, plain.at + 16, x.n);
                n_good++;
            }
            hl_idx_done(&x);
            remove(path);
        }
    cr_assert_gt(n_good, 0); /* time of day, system, level: ten bytes of no consequence */
    cr_assert_lt(n_good, 10 * 8);
}

Test(idx, random_files)
{
    hl_rng rng = hl_rng_make(1, HL_RNG_TEST, 0, 0);
    for (int round = 0; round < 500; round++) {
        bytes b = {.n = hl_rng_below(&rng, 200)};
        for (size_t i = 0; i < b.n; i++)
            b.at[i] = (uint8_t)hl_rng_next(&rng);
        const uint8_t start[2][4] = {{0x1F, 0x8B, 8, 0}, {0, 0, 8, 1}};
        memcpy(b.at, start[round % 2], 4);
        const char *path = write_temp("random", b.at, b.n);
        hl_idx x = {0};
        cr_assert_neq(hl_idx_read(path, 0, &x), HL_OK);
        cr_assert_null(x.at);
        remove(path);
    }
}

Test(idx, files_that_are_none)
{
    hl_idx x = {0};
    cr_assert_eq(hl_idx_read("", 3, &x), HL_E_ARG);
    cr_assert_eq(hl_idx_read("/tmp/hoplab-no-such-file", 3, &x), HL_E_NOTFOUND);
    cr_assert(strstr(hl_err_message(), "hoplab-no-such-file"));
    cr_assert_eq(hl_idx_read("/tmp", 3, &x), HL_E_IO);
    cr_assert_eq(hl_idx_read("/dev/zero", 3, &x), HL_E_IO);
}

/* Refused by its size, before anything is read; the file is a hole. */
Test(idx, larger_than_the_cap)
{
    const bytes b = idx_of(3, DIM3, 1);
    const char *path = write_temp("huge.idx", b.at, b.n);
    cr_assert_eq(truncate(path, (off_t)3 << 30), 0);
    hl_mem_set_limit(hl_mem_get_stats().live_bytes + (1 << 20));
    expect_refused(path, 3, "has 3221225472 bytes; at most 2147483668 are read here");
    hl_mem_set_limit(0);
    remove(path);
}

Test(idx, allocations_that_fail)
{
    const bytes plain = idx_of(3, DIM3, 37), gzip = gzip_of(plain.at, plain.n);
    const char *path = write_temp("oom.gz", gzip.at, gzip.n);
    const int64_t live = hl_mem_get_stats().live_bytes;
    int n_failed = 0;
    for (int i = 0; i < 20; i++) {
        hl_idx x = {0};
        hl_mem_fail_after(i);
        hl_status st = hl_idx_read(path, 3, &x);
        hl_mem_fail_after(-1);
        cr_assert(st == HL_OK || st == HL_E_NOMEM, "%s", hl_err_message());
        n_failed += st != HL_OK;
        hl_idx_done(&x);
        cr_assert_eq(hl_mem_get_stats().live_bytes, live);
    }
    cr_assert(n_failed >= 3 && n_failed < 20, "%d", n_failed);
    remove(path);
}
