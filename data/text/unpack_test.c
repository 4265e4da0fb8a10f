/* Packed texts and rows: the same bytes as the plain file, and a message for every damage. */
#define _POSIX_C_SOURCE 200809L

#include <criterion/criterion.h>
#include <zlib.h>

#include "data/data_test.h"
#include "data/text/text_internal.h"
#include "data/text/unpack.h"

/* One gzip member; owned by the caller. */
static char *pack(const char *bytes, size_t n, size_t *n_out)
{
    z_stream z = {0};
    cr_assert_eq(deflateInit2(&z, 9, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    const size_t cap = deflateBound(&z, n) + 64;
    char *out = malloc(cap);
    z.next_in = (Bytef *)(uintptr_t)bytes;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)cap;
    cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    *n_out = cap - z.avail_out;
    deflateEnd(&z);
    return out;
}

static hl_status open_one(const char *path, hl_text **out)
{
    return hl_text_open(&path, 1, out);
}

static void expect_text(const char *path, const char *want, size_t n)
{
    hl_text *t = NULL;
    cr_assert_eq(open_one(path, &t), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_text_n_bytes(t), n, "%zu", hl_text_n_bytes(t));
    cr_assert_eq(memcmp(hl_text_file(t, 0).bytes, want, n), 0);
    hl_text_close(t);
}

static void expect_fault(const char *path, const char *part1, const char *part2)
{
    hl_text *t = NULL;
    const int64_t live = hl_mem_get_stats().live_bytes;
    cr_assert_eq(open_one(path, &t), HL_E_FORMAT, "%s", hl_err_message());
    cr_assert_not_null(strstr(hl_err_message(), path), "%s", hl_err_message());
    cr_assert_not_null(strstr(hl_err_message(), part1), "%s", hl_err_message());
    cr_assert_not_null(strstr(hl_err_message(), part2), "%s", hl_err_message());
    cr_assert_eq(hl_mem_get_stats().live_bytes, live);
}

/* A book of n bytes; owned by the caller. */
static char *book(size_t n)
{
    hl_text *t = NULL;
    char *s = malloc(n + 1);
    cr_assert_eq(hl_synth_text(7, n, NULL, &t), HL_OK);
    memcpy(s, hl_text_file(t, 0).bytes, n);
    s[n] = '\0';
    hl_text_close(t);
    return s;
}

Test(unpack, packed_text_is_the_text)
{
    static const size_t sizes[] = {1, 100, 262143, 262144, 262145, 700001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n;
        char *plain = book(sizes[i]), *packed = pack(plain, sizes[i], &n);
        const char *path = write_temp("book.txt.gz", packed, n);
        expect_text(path, plain, sizes[i]);
        unlink(path);
        path = write_temp("book.txt", packed, n); /* the name does not matter */
        expect_text(path, plain, sizes[i]);
        hl_text *t = NULL;
        cr_assert_eq(open_one(path, &t), HL_OK);
        hl_text_measures m = hl_text_measure(t);
        cr_assert(m.is_packed && m.n_file_bytes == (int64_t)n && m.n_bytes == (int64_t)sizes[i]);
        cr_assert(m.n_rows == -1 && m.invalid_at == -1);
        hl_text_close(t);
        unlink(path);
        free(plain);
        free(packed);
    }
}

Test(unpack, members_follow_each_other)
{
    size_t n1, n2;
    char *a = pack("one\n", 4, &n1), *b = pack("two\n", 4, &n2), both[200];
    memcpy(both, a, n1);
    memcpy(both + n1, b, n2);
    const char *path = write_temp("two.gz", both, n1 + n2);
    expect_text(path, "one\ntwo\n", 8);
    unlink(path);
    memcpy(both + n1 + n2, "junk", 4);
    path = write_temp("junk.gz", both, n1 + n2 + 4);
    expect_fault(path, "4 bytes that are not gzip", "damaged");
    unlink(path);
    free(a);
    free(b);
}

/* Wherever a packed file ends too early, and whichever bit flips, nothing wrong is taken for text.
 */
Test(unpack, damage_is_found)
{
    size_t n;
    char *plain = book(3000), *packed = pack(plain, 3000, &n), *hurt = malloc(n);
    int n_refused = 0;
    for (size_t cut = 2; cut < n; cut++) {
        const char *path = write_temp("cut.gz", packed, cut);
        expect_fault(path, "cut short", "get it again");
        unlink(path);
    }
    for (size_t bit = 0; bit < 8 * n; bit++) {
        memcpy(hurt, packed, n);
        hurt[bit / 8] = (char)(hurt[bit / 8] ^ 1 << bit % 8);
        const char *path = write_temp("bit.gz", hurt, n);
        hl_text *t = NULL;
        hl_status st = open_one(path, &t);
        if (st == HL_OK) {
            /* fields that are no content, bits behind the last code, a match found elsewhere */
            cr_assert_eq(hl_text_n_bytes(t), 3000);
            cr_assert_eq(memcmp(hl_text_file(t, 0).bytes, plain, 3000), 0);
        } else {
            cr_assert_eq(st, HL_E_FORMAT, "bit %zu: %s", bit, hl_err_message());
            cr_assert_not_null(strstr(hl_err_message(), path));
            n_refused++;
        }
        hl_text_close(t);
        unlink(path);
    }
    cr_assert_geq(n_refused, (int)(8 * (n - 10)));
    free(plain);
    free(packed);
    free(hurt);
}

Test(unpack, what_is_packed_is_judged_like_text)
{
    size_t n;
    char *packed = pack("abc\0def", 7, &n);
    const char *path = write_temp("nul.gz", packed, n);
    expect_fault(path, "NUL byte at offset 3", "looks binary");
    unlink(path);
    free(packed);
    packed = pack("", 0, &n);
    path = write_temp("nothing.gz", packed, n);
    expect_fault(path, "is empty", "text in it");
    unlink(path);
    free(packed);
}

Test(unpack, rows_are_lines)
{
    static const char rows[] =
        "{\"text\": \"one\"}\n"
        "\n"
        "  {\"id\":[1,{\"text\":\"no\"}],\"text\":\"t\\u00e9 \\\"q\\\" \\ud83d\\ude00\"}\r\n"
        "{\"text\":\"\"}\n"
        "{\"text\":\"a\\nb \\\\u0000\"}";
    static const char want[] = "one\nt\xC3\xA9 \"q\" \xF0\x9F\x98\x80\n\na\nb \\u0000\n";
    size_t n;
    const char *names[] = {"r.jsonl", "r.ndjson"};
    for (int i = 0; i < 2; i++) {
        const char *path = write_temp(names[i], rows, sizeof rows - 1);
        expect_text(path, want, sizeof want - 1);
        unlink(path);
    }
    char *packed = pack(rows, sizeof rows - 1, &n);
    const char *path = write_temp("r.jsonl.gz", packed, n);
    expect_text(path, want, sizeof want - 1);
    hl_text *t = NULL;
    cr_assert_eq(open_one(path, &t), HL_OK);
    hl_text_measures m = hl_text_measure(t);
    cr_assert(m.n_rows == 4 && m.n_lines == 5 && m.is_packed);
    hl_text_close(t);
    unlink(path);
    free(packed);
}

Test(unpack, wrong_rows_are_named_by_line)
{
    static const struct {
        const char *bytes, *line, *what;
    } cases[] = {
        {"{\"text\":\"a\"}\n{\"txt\":\"b\"}\n", "line 2:", "is absent"},
        {"\n\n{\"text\":5}\n", "line 3:", "is a number"},
        {"{\"text\":null}", "line 1:", "is null"},
        {"{\"text\":[\"a\"]}", "line 1:", "is an array"},
        {"{\"text\":{}}", "line 1:", "is an object"},
        {"{\"text\":true}", "line 1:", "is a boolean"},
        {"[1]\n", "line 1:", "not a JSON object"},
        {"{\"text\":\"a\"}\n{\"text\":\"b\"", "line 2:", "not JSON"},
        {"{\"text\":\"a\"} {\"text\":\"b\"}", "line 1:", "not JSON"},
        {"plain words\n", "line 1:", "not JSON"},
        {"{\"text\":\"a\\u0000b\"}", "line 1:", "NUL"},
        {"{\"text\":\"\\\\\\u0000b\"}", "line 1:", "NUL"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = write_temp("bad.jsonl", cases[i].bytes, strlen(cases[i].bytes));
        expect_fault(path, cases[i].line, cases[i].what);
        unlink(path);
    }
    const char *path = write_temp("raw.jsonl", "{\"text\":\"a\0b\"}", 14);
    expect_fault(path, "line 1:", "NUL");
    unlink(path);
    path = write_temp("blank.jsonl", "\n  \n", 4);
    expect_fault(path, "is empty", "text in it");
    unlink(path);
}

/* Any bytes under a name with rows: an answer, never more than the room there is. */
Test(unpack, rows_from_noise)
{
    static const char seed[] =
        "{\"text\":\"one \\n two\"}\n{\"a\":1,\"text\":\"\\ud83d\\ude00\"}\n";
    char noise[sizeof seed], to[sizeof seed];
    uint64_t x = 12345;
    for (int i = 0; i < 20000; i++) {
        memcpy(noise, seed, sizeof seed);
        for (int k = 0; k < 3; k++) {
            x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
            noise[(x >> 33) % (sizeof seed - 1)] = (char)(x >> 20);
        }
        size_t n = 0;
        hl_row_ends rows;
        if (hl_text_rows("noise", noise, sizeof seed - 1, to, &n, &rows) == HL_OK) {
            cr_assert_lt(n, sizeof seed);
            cr_assert(rows.n == 0 || rows.at[rows.n - 1] == n);
        }
        hl_vec_done(&rows);
    }
}

Test(unpack, no_leak_when_memory_fails)
{
    size_t n;
    char *packed = pack("{\"text\":\"a\"}\n{\"text\":\"b\"}\n", 26, &n);
    const char *path = write_temp("m.jsonl.gz", packed, n);
    const int64_t live = hl_mem_get_stats().live_bytes;
    int n_failed = 0;
    for (int64_t i = 0;; i++) {
        hl_text *t = NULL;
        hl_mem_fail_after(i);
        hl_status st = open_one(path, &t);
        hl_mem_fail_after(-1);
        hl_text_close(t);
        cr_assert_eq(hl_mem_get_stats().live_bytes, live, "failure %lld", (long long)i);
        if (st == HL_OK)
            break;
        cr_assert_eq(st, HL_E_NOMEM, "%s", hl_err_message());
        n_failed++;
    }
    cr_assert_geq(n_failed, 5);
    unlink(path);
    free(packed);
}
