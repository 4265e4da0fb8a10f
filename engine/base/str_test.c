#include "engine/base/str.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

/* --- builder --- */

Test(str, builds_text)
{
    hl_str b = {0};
    cr_expect_str_eq(hl_str_text(&b), "");
    cr_expect_eq(hl_str_status(&b), HL_OK);
    hl_str_add(&b, "");
    hl_str_addn(&b, NULL, 0);
    hl_str_add(&b, "ab");
    hl_str_addc(&b, '-');
    hl_str_addn(&b, "cdef", 2);
    hl_str_addf(&b, "%s%03d", "/", 7);
    cr_expect_str_eq(hl_str_text(&b), "ab-cd/007");
    cr_expect_eq(b.n, 9);
    const char *memory = b.s;
    hl_str_clear(&b);
    cr_expect_str_eq(b.s, "");
    hl_str_add(&b, "again");
    cr_expect(b.s == memory && b.n == 5);
    hl_str_done(&b);
    cr_expect(b.s == NULL && b.n == 0 && b.cap == 0);
    hl_str_done(&b);
}

Test(str, bytes_of_any_value)
{
    hl_str b = {0};
    hl_str_addn(&b, "a\0b", 3);
    hl_str_addc(&b, '\0');
    cr_expect_eq(b.n, 4);
    cr_expect_eq(memcmp(b.s, "a\0b\0", 5), 0);
    hl_str_done(&b);
}

Test(str, without_what_drives_a_terminal)
{
    hl_str b = {0};
    hl_str_add_clean(&b, "a\t\n\0\033[1m\x7f\xc2\x9b\xc3\xa9\xc2", 14);
    cr_expect_str_eq(hl_str_text(&b), "a\t\n??[1m??\xc3\xa9\xc2");
    hl_str_done(&b);
}

Test(str, grows_at_every_length)
{
    hl_str one = {0}, f = {0};
    for (int i = 0; i < 3000; i++) {
        hl_str_addc(&one, (char)('a' + i % 26));
        hl_str_addf(&f, "%c", 'a' + i % 26);
        cr_assert_eq(one.s[one.n], '\0');
        cr_assert(one.n < one.cap && f.n < f.cap);
    }
    cr_expect_str_eq(one.s, f.s);
    const size_t n = one.n;
    hl_str_addf(&one, "%*s", 100000, "end");
    cr_expect_eq(one.n, n + 100000);
    cr_expect_eq(strcmp(one.s + one.n - 4, " end"), 0);
    hl_str_done(&one);
    hl_str_done(&f);
}

Test(str, failure_is_sticky_until_clear)
{
    hl_str b = {0};
    hl_str_add(&b, "head");
    hl_mem_fail_after(0);
    hl_str_addf(&b, "%*d", 1000, 1);
    cr_expect_str_eq(hl_str_text(&b), "head");
    hl_str_add(&b, "tail"); /* would fit, but the text would lack its middle */
    hl_str_addc(&b, 'c');
    hl_str_addf(&b, "f");
    cr_expect_str_eq(hl_str_text(&b), "head");
    hl_err_clear();
    cr_expect_eq(hl_str_status(&b), HL_E_NOMEM);
    cr_expect_eq(hl_err_code(), HL_E_NOMEM);
    hl_str_clear(&b);
    hl_str_add(&b, "new");
    cr_expect_eq(hl_str_status(&b), HL_OK);
    cr_expect_str_eq(hl_str_text(&b), "new");
    hl_str_addn(&b, "x", SIZE_MAX - 2);
    cr_expect_eq(hl_str_status(&b), HL_E_NOMEM, "length wraps");
    hl_str_clear(&b);
    hl_str_addn(&b, "x", SIZE_MAX);
    cr_expect_eq(hl_str_status(&b), HL_E_NOMEM, "length and its terminator wrap");
    hl_str_done(&b);
}

/* --- numbers --- */

Test(str, parse_i64)
{
    static const struct {
        const char *text;
        int64_t want;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"+7", 7},
        {"007", 7},
        {"-1", -1},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"000000000000000000000000000001", 1},
    };
    static const char *const bad[] = {
        "",
        " ",
        " 1",
        "1 ",
        "\t1",
        "1\n",
        "+",
        "-",
        "+-1",
        "--1",
        "- 1",
        "1.0",
        "1e3",
        "0x10",
        "ten",
        "1,000",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999999999",
        "1-",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t v = 12345;
        cr_expect_eq(hl_parse_i64(good[i].text, &v), HL_OK, "'%s'", good[i].text);
        cr_expect_eq(v, good[i].want, "'%s'", good[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t v = 12345;
        hl_err_clear();
        cr_expect_eq(hl_parse_i64(bad[i], &v), HL_E_ARG, "'%s'", bad[i]);
        cr_expect_eq(v, 12345, "'%s' left its mark", bad[i]);
        cr_expect_not_null(strstr(hl_err_message(), bad[i]));
    }
}

Test(str, parse_f64)
{
    static const struct {
        const char *text;
        double want;
    } good[] = {
        {"0", 0},
        {"1.5", 1.5},
        {"-2e-3", -2e-3},
        {"+.5", .5},
        {"3.", 3},
        {"1E5", 1e5},
        {"1.7976931348623157e308", 1.7976931348623157e308},
        {"4.9406564584124654e-324", 0x1p-1074},
        {"1e-400", 0},
        {"inf", (double)INFINITY},
        {"-inf", -(double)INFINITY},
        {"Infinity", (double)INFINITY},
        {"0.1", 0.1},
    };
    static const char *const bad[] = {"",    " ",   " 1",  "1 ",    "\n1", "\v1",    "\f1",
                                      "\r1", "\t1", "1\n", "e5",    ".",   "-",      "1.2.3",
                                      "1,5", "1e",  "one", "1e999", "--1", "-1e999", "1 2"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double v = 12345;
        cr_expect_eq(hl_parse_f64(good[i].text, &v), HL_OK, "'%s'", good[i].text);
        cr_expect(v == good[i].want, "'%s' gives %g", good[i].text, v);
    }
    double v = 0;
    cr_expect(hl_parse_f64("nan", &v) == HL_OK && isnan(v));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        v = 12345;
        cr_expect_eq(hl_parse_f64(bad[i], &v), HL_E_ARG, "'%s'", bad[i]);
        cr_expect(v == 12345, "'%s' left its mark", bad[i]);
    }
}

/* --- tools --- */

Test(str, starts_and_ends)
{
    cr_expect(hl_str_starts("hl_err", "hl_") && hl_str_starts("x", "") && hl_str_starts("x", "x"));
    cr_expect(!hl_str_starts("hl", "hl_") && !hl_str_starts("", "a") && !hl_str_starts("xa", "a"));
    cr_expect(hl_str_ends("a.json", ".json") && hl_str_ends("x", "") && hl_str_ends("x", "x"));
    cr_expect(!hl_str_ends("json", ".json") && !hl_str_ends("", "a") &&
              !hl_str_ends("a.jsonx", ".json"));
}

static const char *const words[] = {"train",         "resume",       "softmax",
                                    "softmax1",      "entmax15",     "sparsemax",
                                    "learning_rate", "weight_decay", "seed"};

static const char *nearest(const char *word)
{
    const int i = hl_str_nearest(word, words, (int)(sizeof words / sizeof *words));
    return i < 0 ? "none" : words[i];
}

Test(str, nearest)
{
    cr_expect_str_eq(nearest("train"), "train");
    cr_expect_str_eq(nearest("trian"), "train", "swapped");
    cr_expect_str_eq(nearest("trai"), "train", "missing");
    cr_expect_str_eq(nearest("ttrain"), "train", "extra");
    cr_expect_str_eq(nearest("tsain"), "train", "wrong");
    cr_expect_str_eq(nearest("softmax"), "softmax", "exact before prefix");
    cr_expect_str_eq(nearest("softmax2"), "softmax", "the first of two equally near");
    cr_expect_str_eq(nearest("learn"), "learning_rate", "prefix");
    cr_expect_str_eq(nearest("lerning_rat"), "learning_rate");
    cr_expect_str_eq(nearest("seeed"), "seed");
    cr_expect_str_eq(nearest("zzzzzz"), "none");
    cr_expect_str_eq(nearest("checkpoint"), "none");
    cr_expect_str_eq(nearest(""), "none");
    cr_expect_eq(hl_str_nearest("x", NULL, 0), -1);
}

Test(str, nearest_with_long_words)
{
    char big[1000];
    for (size_t n = 1; n < sizeof big; n++) {
        memset(big, 'q', n);
        big[n] = '\0';
        cr_expect_str_eq(nearest(big), "none", "%zu times q", n);
    }
    memset(big, 'q', 63);
    big[63] = '\0';
    char close[64];
    memcpy(close, big, sizeof close);
    close[30] = 'r';
    const char *const one[] = {close};
    cr_expect_eq(hl_str_nearest(big, one, 1), 0);
}

Test(str, format_bytes)
{
    static const struct {
        int64_t n;
        const char *want;
    } rows[] = {
        {0, "0 B"},
        {1, "1 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {34 * 1024, "34.0 KiB"},
        {1 << 20, "1.0 MiB"},
        {(int64_t)1288490189, "1.2 GiB"},
        {(int64_t)1 << 40, "1.0 TiB"},
        {-2048, "-2.0 KiB"},
        {INT64_MAX, "8388608.0 TiB"},
        {INT64_MIN, "-8388608.0 TiB"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char buf[24];
        cr_expect(hl_format_bytes(buf, rows[i].n) == buf);
        cr_expect_str_eq(buf, rows[i].want);
    }
}

Test(str, format_duration)
{
    static const struct {
        double s;
        const char *want;
    } rows[] = {
        {0, "0ms"},
        {0.45, "450ms"},
        {1, "1.0s"},
        {12.34, "12.3s"},
        {60, "1m00s"},
        {185, "3m05s"},
        {3599.9, "59m59s"},
        {3600, "1h00m"},
        {8040, "2h14m"},
        {86400, "24h00m"},
        {-1, "?"},
        {(double)NAN, "?"},
        {(double)INFINITY, "?"},
        {1e300, "?"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char buf[24];
        cr_expect(hl_format_duration(buf, rows[i].s) == buf);
        cr_expect_str_eq(buf, rows[i].want);
    }
    /* the unit changes before the number outgrows it */
    for (double s = 0.99; s < 61; s += 0.0001) {
        char buf[24];
        hl_format_duration(buf, s);
        const double v = strtod(buf, NULL);
        cr_assert(strstr(buf, "ms") ? v < 1000 : strchr(buf, 'm') || v < 60, "%.4f is '%s'", s,
                  buf);
    }
}
