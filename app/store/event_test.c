/* The bytes of records: checksums, golden frames, every kind of value there and back. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>

#include "app/store/frame.h"
#include "app/store/store_test.h"
#include "engine/base/crc32c.h"

/* ---- checksum ---- */

static uint32_t crc_bit_by_bit(const unsigned char *p, size_t n)
{
    uint32_t c = ~0u;
    for (; n; n--, p++) {
        c ^= *p;
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (c & 1 ? 0x82F63B78u : 0);
    }
    return ~c;
}

Test(crc32c, check_value)
{
    cr_assert_eq(hl_crc32c(0, "123456789", 9), 0xE3069283u);
    cr_assert_eq(hl_crc32c_mask(0xE3069283u), 0xC78AB0E5u);
    cr_assert_eq(hl_crc32c(0, "", 0), 0);
}

Test(crc32c, agrees_with_the_definition_at_every_length_and_cut)
{
    unsigned char text[301];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (unsigned char)(i * 167 + (i >> 3));
    for (size_t n = 0; n <= 300; n++) {
        cr_assert_eq(hl_crc32c(0, text, n), crc_bit_by_bit(text, n), "length %zu", n);
        cr_assert_eq(hl_crc32c(hl_crc32c(0, text, n), text + n, 301 - n),
                     crc_bit_by_bit(text, 301));
    }
}

/* ---- golden bytes ---- */

static void assert_hex(const hl_str *b, const char *hex)
{
    char text[512];
    cr_assert_lt(2 * b->n, sizeof text);
    for (size_t i = 0; i < b->n; i++)
        snprintf(text + 2 * i, 3, "%02x", (unsigned char)b->s[i]);
    cr_assert_str_eq(text, hex);
}

Test(event, golden_version)
{
    hl_str b = {0};
    cr_assert(hl_event_put_version(&b));
    assert_hex(&b, "0f00000000000000"
                   "6d532b09"
                   "1a0d627261696e2e4576656e743a32"
                   "fc985129");
    hl_str_done(&b);
}

Test(event, golden_scalar)
{
    hl_str b = {0};
    cr_assert(hl_event_put_scalar(&b, "loss", (hl_stamp){3, 1585769947000000}, 0.5f));
    assert_hex(&b, "1a00000000000000"
                   "129bd82d"
                   "090000c0763ba1d741"
                   "1003"
                   "2a0d0a0b0a046c6f7373150000003f"
                   "5eb5133d");
    hl_str_done(&b);
}

/* ---- there and back ---- */

/* The only value of the only record in b. */
static hl_event_value read_back(const hl_str *b, hl_event *ev)
{
    hl_frame f;
    hl_event_value v;
    cr_assert_eq(hl_frame_look((const unsigned char *)b->s, b->n, &f), HL_FRAME_OK);
    cr_assert_eq(f.total, b->n);
    cr_assert(hl_event_parse(f.payload, f.n, ev));
    cr_assert(hl_event_next_value(ev, &v));
    hl_event_value other;
    cr_assert_not(hl_event_next_value(ev, &other));
    cr_assert_not(ev->values.bad);
    return v;
}

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static const int64_t steps[] = {0, 1, 127, 128, -1, -5, INT64_MAX, INT64_MIN};
static const double numbers[] = {0.0, -0.0, 0.5, 1e-45, 1.17e-38, (double)FLT_MAX, -3.25};

Test(event, scalars_come_back)
{
    hl_str b = {0};
    hl_event ev;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++) {
            float x = (float)numbers[k];
            hl_str_clear(&b);
            cr_assert(hl_event_put_scalar(&b, "a/b", (hl_stamp){steps[i], 1700000000123456}, x));
            hl_event_value v = read_back(&b, &ev);
            cr_assert_eq(ev.at.step, steps[i]);
            cr_assert_eq(ev.at.t_us, 1700000000123456);
            cr_assert(v.known && v.kind == HL_SERIES_SCALAR && hl_bytes_equal(v.tag, "a/b"));
            cr_assert(same_bits(v.number, (double)x));
        }
    hl_str_done(&b);
}

Test(event, non_finite_numbers_come_back)
{
    hl_str b = {0};
    hl_event ev;
    hl_stamp at = {7, 1};
    const double odd[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    for (size_t k = 0; k < 3; k++) {
        hl_str_clear(&b);
        cr_assert(hl_event_put_scalar(&b, "x", at, (float)odd[k]));
        double v = read_back(&b, &ev).number;
        cr_assert(isnan(odd[k]) ? isnan(v) : v == odd[k]);
        hl_str_clear(&b);
        cr_assert(hl_event_put_wide(&b, "x", at, odd[k]));
        hl_event_value w = read_back(&b, &ev);
        cr_assert_eq(w.kind, HL_SERIES_WIDE);
        cr_assert(same_bits(w.number, odd[k]));
    }
    hl_str_done(&b);
}

Test(event, wide_keeps_every_bit)
{
    hl_str b = {0};
    hl_event ev;
    const double wide[] = {0.0, -0.0, 4.9406564584124654e-324, DBL_MAX, 9007199254740993.0, 0.1};
    for (size_t k = 0; k < sizeof wide / sizeof wide[0]; k++) {
        hl_str_clear(&b);
        cr_assert(hl_event_put_wide(&b, "train/tokens", (hl_stamp){1, 2}, wide[k]));
        cr_assert(same_bits(read_back(&b, &ev).number, wide[k]));
    }
    hl_str_done(&b);
}

Test(event, times_keep_their_microsecond)
{
    hl_str b = {0};
    hl_event ev;
    for (int64_t t = 1700000000000000; t < 1700000000000000 + 3000000; t += 997) {
        hl_str_clear(&b);
        cr_assert(hl_event_put_scalar(&b, "x", (hl_stamp){1, t}, 1));
        read_back(&b, &ev);
        cr_assert_eq(ev.at.t_us, t);
    }
    hl_str_done(&b);
}

Test(event, histogram_comes_back)
{
    hl_str b = {0};
    hl_event ev;
    hl_hist h = {-3, 9, 64, 12.5, 99, 0, {0}}, back;
    for (int i = 0; i < HL_HIST_BINS; i++)
        h.bin[i] = i * 1.5;
    for (int bad = 0; bad < 2; bad++) {
        h.n_non_finite = bad;
        hl_str_clear(&b);
        cr_assert(hl_event_put_hist(&b, "h", (hl_stamp){4, 5}, &h));
        hl_event_value v = read_back(&b, &ev);
        cr_assert_eq(v.kind, HL_SERIES_HIST);
        cr_assert(hl_value_hist(&v, &back));
        cr_assert_eq(memcmp(&h, &back, sizeof h), 0);
    }
    hl_str_done(&b);
}

Test(event, histogram_edges)
{
    cr_assert_eq(hl_hist_edge(0), -2048.0);
    cr_assert_eq(hl_hist_edge(30), -ldexp(1, -19));
    cr_assert_eq(hl_hist_edge(31), 0.0);
    cr_assert_eq(hl_hist_edge(32), ldexp(1, -19));
    cr_assert_eq(hl_hist_edge(62), 2048.0);
    cr_assert_eq(hl_hist_edge(63), DBL_MAX);
    for (int i = 1; i < HL_HIST_BINS; i++)
        cr_assert_lt(hl_hist_edge(i - 1), hl_hist_edge(i));
}

Test(event, curves_come_back)
{
    hl_str b = {0};
    hl_event ev;
    float v[300], back[300];
    for (int i = 0; i < 300; i++)
        v[i] = (float)i * 0.25f - 3;
    v[5] = (float)NAN;
    for (size_t n = 0; n <= 300; n += n < 4 ? 1 : 37) {
        hl_str_clear(&b);
        cr_assert(hl_event_put_curve(&b, "deq/residual", (hl_stamp){4, 5}, v, 1, n));
        hl_event_value c = read_back(&b, &ev);
        cr_assert_eq(c.kind, HL_SERIES_CURVE);
        cr_assert(hl_bytes_equal(c.content, "curve"));
        cr_assert_eq(c.n_floats, n);
        cr_assert(c.rows == 1 && c.cols == n);
        hl_value_floats(&c, back);
        cr_assert_eq(memcmp(v, back, n * sizeof *v), 0);
    }
    hl_str_done(&b);
}

/* Shapes come back, and numbers row by row; one row is a vector. */
Test(event, matrices_come_back)
{
    static const size_t shape[][2] = {{2, 3}, {3, 2}, {300, 1}, {1, 300}, {0, 5}, {5, 0}, {0, 0}};
    hl_str b = {0};
    hl_event ev;
    float v[300], back[300];
    for (int i = 0; i < 300; i++)
        v[i] = i % 7 ? (float)i : (float)NAN;
    for (size_t k = 0; k < sizeof shape / sizeof shape[0]; k++) {
        const size_t rows = shape[k][0], cols = shape[k][1];
        hl_str_clear(&b);
        cr_assert(hl_event_put_curve(&b, "a", (hl_stamp){4, 5}, v, rows, cols));
        hl_event_value c = read_back(&b, &ev);
        cr_assert(c.known && c.kind == HL_SERIES_CURVE && c.n_floats == rows * cols);
        cr_assert(c.rows == rows && c.cols == cols, "%zu x %zu", c.rows, c.cols);
        hl_value_floats(&c, back);
        cr_assert_eq(memcmp(v, back, rows * cols * sizeof *v), 0);
    }
    hl_str_done(&b);
}

Test(event, json_comes_back)
{
    hl_str b = {0}, big = {0};
    hl_event ev;
    for (int i = 0; i < 20000; i++)
        hl_str_addc(&big, (char)('a' + i % 26));
    const char *const texts[] = {"", "{}", "{\"a\":\"\xCF\x80\"}", big.s};
    for (size_t k = 0; k < 4; k++) {
        hl_str_clear(&b);
        cr_assert(hl_event_put_json(&b, "quant/w8a8", (hl_stamp){4, 5}, "table", texts[k]));
        hl_event_value v = read_back(&b, &ev);
        cr_assert_eq(v.kind, HL_SERIES_JSON);
        cr_assert(hl_bytes_equal(v.content, "table"));
        cr_assert(hl_bytes_equal(v.detail, texts[k]));
    }
    hl_str_done(&b);
    hl_str_done(&big);
}

Test(event, start_comes_back)
{
    hl_str b = {0};
    hl_event ev;
    hl_frame f;
    cr_assert(hl_event_put_start(&b, (hl_stamp){12000, 5}));
    cr_assert_eq(hl_frame_look((const unsigned char *)b.s, b.n, &f), HL_FRAME_OK);
    cr_assert(hl_event_parse(f.payload, f.n, &ev));
    cr_assert(ev.is_start && ev.at.step == 12000);
    hl_str_done(&b);
}

/* Running out of memory leaves the buffer as it was, and usable. */
Test(event, no_memory_leaves_whole_records)
{
    for (int64_t n = 0; n < 6; n++) {
        hl_str b = {0};
        hl_stamp at = {1, 2};
        cr_assert(hl_event_put_scalar(&b, "x", at, 1));
        size_t before = b.n;
        char big[5000];
        memset(big, 'x', sizeof big - 1);
        big[sizeof big - 1] = '\0';
        hl_mem_fail_after(n);
        bool stored = hl_event_put_json(&b, "t", at, "log", big);
        hl_mem_fail_after(-1);
        cr_assert(stored || b.n == before);
        cr_assert(hl_event_put_scalar(&b, "y", at, 2));
        hl_frame f;
        size_t pos = 0, n_records = 0;
        while (pos < b.n) {
            cr_assert_eq(hl_frame_look((const unsigned char *)b.s + pos, b.n - pos, &f),
                         HL_FRAME_OK);
            pos += f.total;
            n_records++;
        }
        cr_assert_eq(n_records, stored ? 3 : 2);
        hl_str_done(&b);
    }
}

Test(proto, rejects_malformed_messages)
{
    static const char *const bad[] = {
        "\x08",                                     /* key without value */
        "\x0a\x05xyz",                              /* longer than the message */
        "\x09\x01\x02",                             /* short fixed64 */
        "\x0b",                                     /* group */
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", /* endless varint */
        "\x02",                                     /* field number 0 */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hl_pb p = hl_pb_open(bad[i], strlen(bad[i]));
        hl_pb_field f;
        cr_assert_not(hl_pb_next(&p, &f), "case %zu", i);
        cr_assert(p.bad);
    }
}
