#include "engine/base/json.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"

static hl_json *parsed(const char *text)
{
    hl_json *root = NULL;
    cr_assert_eq(hl_json_parse(text, strlen(text), &root), HL_OK, "%s: %s", text, hl_err_message());
    return root;
}

static hl_status status_of(const char *text, size_t n)
{
    /* exactly n bytes, so that the sanitizer sees a read past them */
    char *copy = malloc(n ? n : 1);
    memcpy(copy, text, n);
    hl_json *root = NULL;
    hl_err_clear();
    const hl_status st = hl_json_parse(copy, n, &root);
    cr_assert_eq(st == HL_OK, root != NULL);
    hl_json_free(root);
    free(copy);
    return st;
}

/* --- reading --- */

Test(json, reads_every_kind)
{
    hl_json *root =
        parsed("{\"s\": \"te\\u00e9xt\\n\", \"n\": -1.5e2, \"i\": 9007199254740992,"
               " \"t\": true, \"f\": false, \"z\": null, \"a\": [1, [2], {}], \"o\": {}}");
    cr_expect(hl_json_is_object(root) && !hl_json_is_array(root));
    cr_expect_eq(hl_json_len(root), 8);
    cr_expect_str_eq(hl_json_str(hl_json_get(root, "s"), "-"), "te\xC3\xA9xt\n");
    cr_expect_eq(hl_json_num(hl_json_get(root, "n"), 0), -150);
    cr_expect_eq(hl_json_int(hl_json_get(root, "n"), 0), -150);
    cr_expect_eq(hl_json_int(hl_json_get(root, "i"), 0), INT64_C(9007199254740992));
    cr_expect(hl_json_bool(hl_json_get(root, "t"), false));
    cr_expect_not(hl_json_bool(hl_json_get(root, "f"), true));
    cr_expect(hl_json_is_null(hl_json_get(root, "z")));
    const hl_json *a = hl_json_get(root, "a");
    cr_expect(hl_json_is_array(a));
    cr_expect_eq(hl_json_len(a), 3);
    cr_expect_eq(hl_json_int(hl_json_at(hl_json_at(a, 1), 0), 0), 2);
    cr_expect(hl_json_is_object(hl_json_at(a, 2)));
    cr_expect_null(hl_json_key(hl_json_at(a, 0)));
    cr_expect_str_eq(hl_json_key(hl_json_at(root, 6)), "a");
    hl_json_free(root);
}

Test(json, getters_take_what_is_not_there)
{
    hl_json *root = parsed("{\"a\": [1], \"s\": \"x\", \"A\": 2}");
    const hl_json *none = hl_json_get(root, "missing");
    cr_expect_null(none);
    cr_expect_null(hl_json_get(none, "x"));
    cr_expect_null(hl_json_get(hl_json_get(root, "a"), "x"), "an array has no keys");
    cr_expect_null(hl_json_get(hl_json_get(root, "s"), "x"));
    cr_expect_null(hl_json_at(none, 0));
    cr_expect_null(hl_json_at(root, -1));
    cr_expect_null(hl_json_at(root, 3));
    cr_expect_null(hl_json_next(none));
    cr_expect_null(hl_json_next(root));
    cr_expect_null(hl_json_key(none));
    cr_expect_eq(hl_json_len(none), 0);
    cr_expect_eq(hl_json_len(hl_json_get(root, "s")), 0);
    cr_expect_not(hl_json_is_null(none));
    cr_expect(!hl_json_is_object(none) && !hl_json_is_array(none) && !hl_json_is_string(none));
    cr_expect(!hl_json_is_number(none) && !hl_json_is_bool(none));
    cr_expect_str_eq(hl_json_str(none, "d"), "d");
    cr_expect_str_eq(hl_json_str(hl_json_get(root, "A"), "d"), "d");
    cr_expect_eq(hl_json_num(hl_json_get(root, "s"), 5), 5);
    cr_expect_eq(hl_json_int(none, -3), -3);
    cr_expect_eq(hl_json_int(hl_json_get(root, "s"), -3), -3);
    cr_expect(hl_json_bool(hl_json_get(root, "A"), true), "2 is not a bool");
    cr_expect_eq(hl_json_int(hl_json_get(root, "A"), 0), 2, "keys differ by case");
    hl_json_free(root);
    hl_json_free(NULL);
}

Test(json, walks_members_in_order)
{
    hl_json *root = parsed("[10, 20, 30]");
    int n = 0;
    for (const hl_json *v = hl_json_at(root, 0); v; v = hl_json_next(v))
        cr_expect_eq(hl_json_int(v, 0), 10 * ++n);
    cr_expect_eq(n, 3);
    hl_json_free(root);
}

Test(json, integers_beyond_2_to_53)
{
    hl_json *root =
        parsed("[9007199254740991, -9007199254740992, 1e300, -1e300, 18446744073709551615]");
    cr_expect_eq(hl_json_int(hl_json_at(root, 0), 0), INT64_C(9007199254740991));
    cr_expect_eq(hl_json_int(hl_json_at(root, 1), 0), INT64_C(-9007199254740992));
    for (int i = 2; i < 5; i++)
        cr_expect_eq(hl_json_int(hl_json_at(root, i), -7), -7, "element %d", i);
    hl_json_free(root);
}

Test(json, refuses_what_is_damaged)
{
    static const char *const bad[] = {
        "",         " ",      "{",     "[",          "\"",       "{\"a\"",    "{\"a\":",
        "{\"a\":1", "[1,",    "[1,]",  "{\"a\":1,}", "tru",      "nul",       "NaN",
        "Infinity", "-",      "{1:2}", "{a:1}",      "'a'",      "1 2",       "{} {}",
        "[] x",     "{}\n{}", "[1}",   "{\"a\" 1}",  "\"\\x\"",  "\"\\u12\"", "\"\\ud800\"",
        ",",        ":",      "]",     "}",          "\xEF\xBB", "[1 2]",     "{\"a\":1 \"b\":2}",
        "// c\n1",  "\"a\\",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(status_of(bad[i], strlen(bad[i])), HL_E_FORMAT, "%s", bad[i]);
        cr_expect_not_null(strstr(hl_err_message(), "line"), "%s: %s", bad[i], hl_err_message());
    }
    cr_expect_eq(status_of("1\0", 2), HL_E_FORMAT, "a NUL after the value");
    cr_expect_eq(status_of("[1]   \r\n\t", 9), HL_OK, "space after the value");
    cr_expect_eq(status_of("[1]junk", 3), HL_OK, "what lies past the length is not looked at");
}

Test(json, error_names_line_and_column)
{
    hl_json *root = NULL;
    const char *text = "{\n  \"a\": 1,\n  \"b\": oops\n}";
    cr_assert_eq(hl_json_parse(text, strlen(text), &root), HL_E_FORMAT);
    cr_expect_str_eq(hl_err_message(), "not valid JSON at line 3, column 8");
    cr_assert_eq(hl_json_parse("1\nx", 3, &root), HL_E_FORMAT);
    cr_expect_str_eq(hl_err_message(), "not valid JSON at line 2, column 1");
    cr_expect_null(root);
}

Test(json, nesting)
{
    hl_str b = {0};
    for (int kind = 0; kind < 2; kind++)
        for (int depth = 60; depth < 70; depth++) {
            hl_str_clear(&b);
            for (int i = 0; i < depth; i++)
                hl_str_add(&b, kind ? "{\"[\":" : "[");
            hl_str_add(&b, "0");
            for (int i = 0; i < depth; i++)
                hl_str_add(&b, kind ? "}" : "]");
            cr_expect_eq(status_of(b.s, b.n), depth <= 64 ? HL_OK : HL_E_FORMAT, "depth %d", depth);
        }
    hl_str_done(&b);
    /* hostile: a megabyte of brackets; brackets inside strings do not count */
    char *many = malloc(1 << 20);
    memset(many, '[', 1 << 20);
    cr_expect_eq(status_of(many, 1 << 20), HL_E_FORMAT);
    many[0] = many[(1 << 20) - 1] = '"';
    cr_expect_eq(status_of(many, 1 << 20), HL_OK);
    memcpy(many, "\"\\\"", 3);
    cr_expect_eq(status_of(many, 1 << 20), HL_OK);
    free(many);
}

/* Every cut and many corruptions of a valid text: a status, never a crash or a read outside. */
Test(json, damaged_at_random)
{
    const char *text = "{\"name\": \"b\\u00fcro \\ud83d\\ude00\", \"x\": [1, -2.5e-3, true, null, "
                       "{\"deep\": [[\"\\\\\", \"\\\"\"]]}], \"y\": {\"z\": \"NaN\"}}";
    const size_t n = strlen(text);
    cr_assert_eq(status_of(text, n), HL_OK);
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(status_of(text, i), HL_E_FORMAT, "cut to %zu", i);
    hl_rng r = hl_rng_make(5, HL_RNG_TEST, 2, 0);
    char copy[256];
    int n_bad = 0;
    for (int i = 0; i < 20000; i++) {
        memcpy(copy, text, n);
        for (uint32_t k = 1 + hl_rng_below(&r, 3); k; k--)
            copy[hl_rng_below(&r, (uint32_t)n)] = (char)hl_rng_next(&r);
        n_bad += status_of(copy, n) != HL_OK;
    }
    cr_expect(n_bad > 5000 && n_bad < 20000, "%d of 20000 refused", n_bad);
}

/* --- writing --- */

Test(json, writes_what_it_reads)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "s", "a\"b\\c\n\t\r\x01\x7F/\xC3\xA9");
    hl_json_put_num(&b, "n", 0.1);
    hl_json_put_int(&b, "i", INT64_MIN);
    hl_json_put_bool(&b, "t", true);
    hl_json_add_key(&b, "z");
    hl_json_add_null(&b);
    hl_json_add_key(&b, "a");
    hl_json_begin(&b, '[');
    hl_json_begin(&b, '[');
    hl_json_end(&b, ']');
    hl_json_begin(&b, '{');
    hl_json_end(&b, '}');
    hl_json_add_bool(&b, false);
    hl_json_add_str(&b, "");
    hl_json_end(&b, ']');
    hl_json_end(&b, '}');
    cr_assert_eq(hl_str_status(&b), HL_OK);
    cr_expect_str_eq(b.s,
                     "{\"s\":\"a\\\"b\\\\c\\n\\t\\u000d\\u0001\\u007f/\xC3\xA9\",\"n\":0.1,"
                     "\"i\":-9223372036854775808,\"t\":true,\"z\":null,\"a\":[[],{},false,\"\"]}");
    hl_json *root = parsed(b.s);
    cr_expect_str_eq(hl_json_str(hl_json_get(root, "s"), ""), "a\"b\\c\n\t\r\x01\x7F/\xC3\xA9");
    hl_str copy = {0};
    hl_json_add_value(&copy, hl_json_get(root, "a"));
    cr_expect_str_eq(copy.s, "[[],{},false,\"\"]");
    hl_json_free(root);
    hl_str_done(&copy);
    hl_str_done(&b);
}

static double written_and_read(double v)
{
    hl_str b = {0};
    hl_json_add_num(&b, v);
    hl_json *root = parsed(hl_str_text(&b));
    cr_expect(hl_json_is_number(root), "%s", b.s);
    const double back = hl_json_num(root, 12345);
    hl_json_free(root);
    hl_str_done(&b);
    return back;
}

Test(json, numbers_survive)
{
    const double some[] = {0,
                           -0.0,
                           1,
                           -1,
                           0.1,
                           1.0 / 3,
                           1e22,
                           1e23,
                           123456789,
                           5e-324,
                           2.2250738585072014e-308,
                           1.7976931348623157e308,
                           9007199254740992,
                           1e100,
                           (double)0.1f,
                           3.14159265358979};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        const double back = written_and_read(some[i]);
        cr_expect_eq(memcmp(&back, &some[i], sizeof back), 0, "%.17g became %.17g", some[i], back);
    }
    hl_rng r = hl_rng_make(7, HL_RNG_TEST, 3, 0);
    for (int i = 0; i < 20000; i++) {
        const uint64_t bits = (uint64_t)hl_rng_next(&r) << 32 | hl_rng_next(&r);
        double v;
        memcpy(&v, &bits, sizeof v);
        const double back = written_and_read(v);
        cr_assert(isnan(v) ? isnan(back) : back == v, "%.17g became %.17g", v, back);
    }
    cr_expect(isnan(written_and_read((double)NAN)));
    cr_expect_eq(written_and_read((double)INFINITY), (double)INFINITY);
    cr_expect_eq(written_and_read(-(double)INFINITY), -(double)INFINITY);
}

Test(json, numbers_are_short)
{
    static const struct {
        double v;
        const char *want;
    } rows[] = {{1, "1"},          {-2.5, "-2.5"},    {0.1, "0.1"},
                {1e-7, "1e-07"},   {1e300, "1e+300"}, {1.0 / 3, "0.3333333333333333"},
                {1e-310, "1e-310"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hl_str b = {0};
        hl_json_add_num(&b, rows[i].v);
        cr_expect_str_eq(hl_str_text(&b), rows[i].want);
        hl_str_done(&b);
    }
}

Test(json, invalid_utf8_is_replaced)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"a\xFFz", "a\xEF\xBF\xBDz"},                             /* never a first byte */
        {"\x80", "\xEF\xBF\xBD"},                                 /* a lone continuation */
        {"\xC3", "\xEF\xBF\xBD"},                                 /* cut short */
        {"\xE2\x82", "\xEF\xBF\xBD\xEF\xBF\xBD"},                 /* cut short */
        {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},                 /* overlong */
        {"\xE0\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, /* overlong */
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, /* surrogate */
        {"\xF4\x90\x80\x80",
         "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, /* past U+10FFFF */
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
        {"\xC2\x80\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF",
         "\xC2\x80\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hl_str b = {0};
        hl_json_add_str(&b, rows[i].in);
        hl_json *root = parsed(hl_str_text(&b));
        cr_expect_str_eq(hl_json_str(root, "-"), rows[i].out, "row %zu", i);
        hl_json_free(root);
        hl_str_done(&b);
    }
}

Test(json, tree_copies)
{
    const char *text = "{\"a\":[1,2.5,\"NaN\",\"x\",null,true,{\"k\\\"\":[]}],\"b\":{}}";
    hl_json *root = parsed(text);
    hl_str b = {0};
    hl_json_add_value(&b, root);
    cr_expect_str_eq(hl_str_text(&b), text);
    hl_str_clear(&b);
    hl_json_add_value(&b, NULL);
    cr_expect_str_eq(hl_str_text(&b), "null");
    hl_str_done(&b);
    hl_json_free(root);
}
