#define _POSIX_C_SOURCE 200809L

#include <criterion/criterion.h>
#include <sys/stat.h>

#include "data/data_test.h"
#include "data/text/text_internal.h"
#include "data/text/utf8.h"

static hl_status open_one(const char *path, hl_text **out)
{
    return hl_text_open(&path, 1, out);
}

static void expect_refused(const char *path, hl_status code, const char *part1, const char *part2)
{
    hl_text *t = NULL;
    int64_t live = hl_mem_get_stats().live_bytes;
    cr_assert_eq(open_one(path, &t), code, "%s: %s", path, hl_err_message());
    cr_assert_null(t);
    cr_assert_not_null(strstr(hl_err_message(), part1), "%s", hl_err_message());
    cr_assert_not_null(strstr(hl_err_message(), part2), "%s", hl_err_message());
    cr_assert_null(strchr(hl_err_message(), '\n'));
    cr_assert_eq(hl_mem_get_stats().live_bytes, live);
}

Test(text, refuses_what_is_no_text_file)
{
    expect_refused("/nowhere/book.txt", HL_E_NOTFOUND, "'/nowhere/book.txt'", "check the path");
    expect_refused("no-such-book.txt", HL_E_NOTFOUND, "looked for /", "check the path");
    expect_refused("/tmp", HL_E_IO, "'/tmp' is a directory", "name a text file in it");
    expect_refused("", HL_E_ARG, "path of a text file is empty", "name a file");
    const char *path = write_temp("empty", "", 0);
    expect_refused(path, HL_E_FORMAT, path, "give a file with text");
    expect_refused("/dev/zero", HL_E_FORMAT, "/dev/zero", "is empty");
    unlink(path);
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_refused(path, HL_E_FORMAT, path, "is empty"); /* and does not wait for a writer */
    unlink(path);
    hl_text *t = NULL;
    cr_assert_eq(hl_text_open(NULL, 0, &t), HL_E_ARG);
    cr_assert_not_null(strstr(hl_err_message(), "at least one path"));
    cr_assert_eq(open_one(NULL, &t), HL_E_ARG);
}

Test(text, refuses_binary_naming_the_offset)
{
    char buf[2000];
    memset(buf, 'a', sizeof buf);
    buf[1234] = 0;
    const char *path = write_temp("nul", buf, sizeof buf);
    expect_refused(path, HL_E_FORMAT, "looks binary: NUL byte at offset 1234", "plain text");
    unlink(path);
    memset(buf, 'a', sizeof buf);
    for (int i = 0; i < 101; i++)
        buf[7 + 3 * i] = (char)(i % 2 ? 0x01 : 0x7F);
    path = write_temp("control", buf, sizeof buf);
    expect_refused(path, HL_E_FORMAT, "101 of the first 2000 bytes are control", "at offset 7;");
    unlink(path);
    memset(buf, 'a', sizeof buf);
    for (int i = 0; i < 21; i++)
        buf[50 + 9 * i] = (char)0xE9;
    path = write_temp("latin1", buf, sizeof buf);
    expect_refused(path, HL_E_FORMAT, "looks binary: 21 of the first 2000 bytes are not UTF-8",
                   "(0xE9) at offset 50; text in another encoding can be converted: iconv");
    unlink(path);
}

Test(text, accepts_the_limits_and_looks_at_64_kib_only)
{
    static char buf[70000];
    hl_text *t = NULL;
    memset(buf, 'a', sizeof buf);
    for (int i = 0; i < 100; i++)
        buf[3 * i] = 0x02; /* 5 % of 2000 */
    cr_assert_eq(hl_text_from_bytes("x", buf, 2000, &t), HL_OK, "%s", hl_err_message());
    hl_text_close(t);
    memset(buf, 'a', sizeof buf);
    for (int i = 0; i < 20; i++)
        buf[3 * i] = (char)0xFF; /* 1 % of 2000 */
    cr_assert_eq(hl_text_from_bytes("x", buf, 2000, &t), HL_OK, "%s", hl_err_message());
    hl_text_close(t);
    memset(buf, 'a', sizeof buf);
    buf[65536] = 0;
    cr_assert_eq(hl_text_from_bytes("x", buf, sizeof buf, &t), HL_OK, "%s", hl_err_message());
    hl_text_close(t);
    /* nothing but two-byte characters, one of them across the 64 KiB line */
    buf[0] = 'a';
    for (size_t i = 1; i + 1 < sizeof buf; i += 2)
        memcpy(buf + i, "\xC3\xA9", 2);
    cr_assert_eq(hl_text_from_bytes("x", buf, sizeof buf - 1, &t), HL_OK, "%s", hl_err_message());
    hl_text_close(t);
}

Test(text, several_files_are_one_text_and_bytes_stay)
{
    const char *paths[3] = {write_temp("1", "one\r\ntwo\r\n", 10), write_temp("2", "x", 1),
                            write_temp("3", "\xEF\xBB\xBFz\n", 5)};
    hl_text *t = NULL;
    cr_assert_eq(hl_text_open(paths, 3, &t), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_text_n_bytes(t), 16);
    cr_assert_eq(hl_text_n_files(t), 3);
    cr_assert_eq(memcmp(hl_text_file(t, 0).bytes, "one\r\ntwo\r\n", 10), 0);
    cr_assert(!hl_text_is_generated(t));
    cr_assert_not_null(strstr(hl_text_label(t), "-1 + 2 more"), "%s", hl_text_label(t));
    hl_text_close(t);
    unlink(paths[1]);
    cr_assert_eq(hl_text_open(paths, 3, &t), HL_E_NOTFOUND);
    cr_assert_not_null(strstr(hl_err_message(), paths[1]));
    unlink(paths[0]);
    unlink(paths[2]);
}

Test(text, labels_are_short)
{
    static const char *const cases[][2] = {{"war-and-peace/input.txt", "war-and-peace/input.txt"},
                                           {"a/b/input.txt", "b/input.txt"},
                                           {"input.txt", "input.txt"},
                                           {"./input.txt", "input.txt"},
                                           {"../input.txt", "input.txt"}};
    char dir[] = "/tmp/hoplab-data-label-XXXXXX";
    cr_assert_not_null(mkdtemp(dir));
    for (size_t i = 0; i < 10; i++) {
        hl_str path = {0};
        if (i < 5) /* absolute, then relative to the directory `here` */
            hl_str_addf(&path, "%s/here/", dir);
        hl_str_add(&path, cases[i % 5][0]);
        char *parent = hl_fs_parent(path.s);
        cr_assert_eq(hl_fs_make_dir(parent), HL_OK, "%s", hl_err_message());
        hl_free(parent);
        cr_assert_eq(hl_fs_write_atomic(path.s, "text", 4), HL_OK, "%s", hl_err_message());
        hl_text *t = NULL;
        cr_assert_eq(open_one(path.s, &t), HL_OK, "%s", hl_err_message());
        if (i != 2) /* .../here/input.txt */
            cr_assert_str_eq(hl_text_label(t), cases[i % 5][1]);
        else
            cr_assert_str_eq(hl_text_label(t), "here/input.txt");
        hl_text_close(t);
        hl_str_clear(&path);
        hl_str_addf(&path, "%s/here", dir);
        if (i == 4)
            cr_assert_eq(chdir(path.s), 0);
        hl_str_done(&path);
    }
    cr_assert_eq(hl_fs_remove_tree(dir), HL_OK);
}

static size_t break_of(const char *s, size_t at, size_t window)
{
    return hl_text_break((hl_text_span){.bytes = (const unsigned char *)s, .n = strlen(s)}, at,
                         window);
}

Test(text, breaks_at_lines_then_blanks_then_characters)
{
    cr_assert_eq(break_of("one two\nthree\n", 3, 100), 8);
    cr_assert_eq(break_of("one two\nthree\n", 8, 100), 8); /* is a line start already */
    cr_assert_eq(break_of("one two\nthree\n", 9, 100), 14);
    cr_assert_eq(break_of("one two\nthree\n", 2, 3), 4);
    cr_assert_eq(break_of("one\r\ntwo", 1, 100), 5);
    cr_assert_eq(break_of("abcdef", 3, 100), 3);
    cr_assert_eq(break_of("ab\xE2\x82\xAC"
                          "f",
                          3, 1),
                 5);
    cr_assert_eq(break_of("ab\xE2\x82\xAC"
                          "f",
                          4, 0),
                 5);
    cr_assert_eq(break_of("abc", 0, 10), 0);
    cr_assert_eq(break_of("abc", 3, 10), 3);
    for (size_t at = 0; at <= 14; at++)
        for (size_t window = 0; window < 20; window++) {
            size_t p = break_of("a b\n\xC3\xA9\xC3\xA9 d\r\ne", at > 12 ? 12 : at, window);
            cr_assert(p >= (at > 12 ? 12 : at) && p <= 12);
        }
}

Test(text, utf8_is_strict)
{
    static const struct {
        const char *s;
        size_t n, len;
    } cases[] = {{"a", 1, 1},
                 {"\xC3\xA9", 2, 2},
                 {"\xE2\x82\xAC", 3, 3},
                 {"\xF0\x9F\x98\x80", 4, 4},
                 {"\xC3", 1, 0},
                 {"\xC0\x80", 2, 0},
                 {"\xE0\x80\x80", 3, 0},
                 {"\xED\xA0\x80", 3, 0},
                 {"\xF4\x90\x80\x80", 4, 0},
                 {"\xF8\x88\x80\x80", 4, 0},
                 {"\x80", 1, 0},
                 {"\xE2\x28\xA1", 3, 0},
                 {"\xF4\x8F\xBF\xBF", 4, 4},
                 {"\xF0\x8F\xBF\xBF", 4, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t code;
        cr_assert_eq(hl_utf8_read((const unsigned char *)cases[i].s, cases[i].n, &code),
                     cases[i].len, "case %zu", i);
    }
}

Test(text, no_leak_when_memory_fails)
{
    const char *paths[2] = {write_temp("m1", "some text\n", 10), write_temp("m2", "more\n", 5)};
    int64_t live = hl_mem_get_stats().live_bytes;
    int n_failed = 0;
    for (int64_t n = 0;; n++) {
        hl_text *t = NULL;
        hl_mem_fail_after(n);
        hl_status st = hl_text_open(paths, 2, &t);
        hl_mem_fail_after(-1);
        hl_text_close(t);
        cr_assert_eq(hl_mem_get_stats().live_bytes, live, "failure %lld", (long long)n);
        if (st == HL_OK)
            break;
        cr_assert_eq(st, HL_E_NOMEM);
        n_failed++;
    }
    cr_assert_geq(n_failed, 3);
    for (int64_t n = 0; n < 4; n++) {
        hl_text *t = NULL;
        hl_mem_fail_after(n);
        hl_status st = hl_text_from_bytes("label", "some text", 9, &t);
        hl_mem_fail_after(-1);
        cr_assert_eq(st, HL_E_NOMEM);
        cr_assert_null(t);
        cr_assert_eq(hl_mem_get_stats().live_bytes, live, "failure %lld", (long long)n);
    }
    unlink(paths[0]);
    unlink(paths[1]);
}
