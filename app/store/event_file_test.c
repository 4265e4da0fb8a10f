/* Reading files that are cut, damaged, or made of noise. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "app/store/frame.h"
#include "app/store/store_test.h"
#include "engine/base/rng.h"

#define N_RECORDS 12

/* A file with every kind of record; end[i] is where record i ends. */
static void build(hl_str *b, size_t end[N_RECORDS])
{
    hl_hist h = {.min = -1, .max = 1, .num = 2};
    float v[3] = {1, 2, 3};
    size_t n = 0;
    hl_stamp at = {5, 1700000000000000};
    cr_assert(hl_event_put_version(b));
    end[n++] = b->n;
    cr_assert(hl_event_put_start(b, (hl_stamp){0, at.t_us}));
    end[n++] = b->n;
    for (int i = 0; n < N_RECORDS; i++) {
        at.step = i;
        bool ok = i % 5 == 0   ? hl_event_put_scalar(b, "train/loss", at, (float)i)
                  : i % 5 == 1 ? hl_event_put_wide(b, "train/tokens", at, i)
                  : i % 5 == 2 ? hl_event_put_hist(b, "outliers/h", at, &h)
                  : i % 5 == 3 ? hl_event_put_curve(b, "deq/residual", at, v, 1, 3)
                               : hl_event_put_json(b, "run/log", at, "log", "{\"text\":\"x\"}");
        cr_assert(ok);
        end[n++] = b->n;
    }
}

static char *put_file(const char *dir, const void *bytes, size_t n)
{
    char *path = hl_fs_join(dir, HL_SEGMENT_PREFIX "1700000000.host.1.0");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    cr_assert_geq(fd, 0);
    cr_assert_eq(hl_fs_write_all(fd, bytes, n, path), HL_OK);
    close(fd);
    return path;
}

typedef struct result {
    int64_t n_records, pending;
    size_t n_damages;
    hl_damage first;
} result;

static result read_file(const char *path)
{
    hl_event_file *f;
    const unsigned char *payload;
    size_t n;
    bool got = true;
    cr_assert_eq(hl_event_file_open(path, &f), HL_OK);
    while (got)
        cr_assert_eq(hl_event_file_next(f, &payload, &n, &got), HL_OK);
    result r = {hl_event_file_records(f), hl_event_file_pending(f), hl_event_file_damages(f), {0}};
    if (r.n_damages)
        r.first = *hl_event_file_damage(f, 0);
    hl_event_file_close(f);
    return r;
}

Test(event_file, cut_at_every_byte_gives_the_valid_prefix)
{
    char *dir = test_dir();
    hl_str b = {0};
    size_t end[N_RECORDS];
    build(&b, end);
    char *path = put_file(dir, b.s, b.n);
    for (size_t cut = b.n + 1; cut-- > 0;) {
        cr_assert_eq(truncate(path, (off_t)cut), 0);
        int64_t whole = 0;
        while (whole < N_RECORDS && end[whole] <= cut)
            whole++;
        result r = read_file(path);
        cr_assert_eq(r.n_records, whole, "cut at %zu: %lld records", cut, (long long)r.n_records);
        cr_assert_eq(r.n_damages, 0);
        cr_assert_eq(r.pending, (int64_t)(cut - (whole ? end[whole - 1] : 0)));
    }
    hl_free(path);
    hl_str_done(&b);
    test_dir_done(dir);
}

Test(event_file, a_record_cut_anywhere_completes_when_the_rest_arrives)
{
    char *dir = test_dir();
    hl_str b = {0};
    size_t end[N_RECORDS];
    build(&b, end);
    for (size_t cut = 0; cut < b.n; cut += 3) {
        char *path = put_file(dir, b.s, cut);
        hl_event_file *f;
        const unsigned char *payload;
        size_t n;
        bool got = true;
        cr_assert_eq(hl_event_file_open(path, &f), HL_OK);
        while (got)
            cr_assert_eq(hl_event_file_next(f, &payload, &n, &got), HL_OK);
        int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        cr_assert_eq(hl_fs_write_all(fd, b.s + cut, b.n - cut, path), HL_OK);
        close(fd);
        for (got = true; got;)
            cr_assert_eq(hl_event_file_next(f, &payload, &n, &got), HL_OK);
        cr_assert_eq(hl_event_file_records(f), N_RECORDS);
        cr_assert_eq(hl_event_file_damages(f), 0);
        hl_event_file_close(f);
        hl_free(path);
    }
    hl_str_done(&b);
    test_dir_done(dir);
}

/* Zeros where the bytes of the last record have not arrived yet: pending, then complete. */
Test(event_file, a_hole_at_the_end_is_read_again)
{
    char *dir = test_dir();
    hl_str b = {0};
    size_t end[N_RECORDS];
    build(&b, end);
    char *copy = hl_strndup(b.s, b.n);
    memset(copy + end[N_RECORDS - 2], 0, b.n - end[N_RECORDS - 2]);
    char *path = put_file(dir, copy, b.n);
    hl_event_file *f;
    const unsigned char *payload;
    size_t n;
    bool got = true;
    cr_assert_eq(hl_event_file_open(path, &f), HL_OK);
    while (got)
        cr_assert_eq(hl_event_file_next(f, &payload, &n, &got), HL_OK);
    cr_assert_eq(hl_event_file_records(f), N_RECORDS - 1);
    cr_assert_eq(hl_event_file_damages(f), 0);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t tail = end[N_RECORDS - 2];
    cr_assert_eq(pwrite(fd, b.s + tail, b.n - tail, (off_t)tail), (ssize_t)(b.n - tail));
    close(fd);
    cr_assert_eq(hl_event_file_next(f, &payload, &n, &got), HL_OK);
    cr_assert(got);
    hl_event_file_close(f);
    hl_free(path);
    hl_free(copy);
    hl_str_done(&b);
    test_dir_done(dir);
}

Test(event_file, damage_in_the_middle_is_skipped_and_told)
{
    char *dir = test_dir();
    hl_str b = {0};
    size_t end[N_RECORDS];
    build(&b, end);
    const int hit = 5;
    for (size_t at = end[hit - 1]; at < end[hit]; at += at < end[hit - 1] + 20 ? 1 : 7) {
        b.s[at] = (char)(b.s[at] ^ 0x10);
        char *path = put_file(dir, b.s, b.n);
        result r = read_file(path);
        cr_assert_eq(r.n_records, N_RECORDS - 1, "byte %zu: %lld records", at,
                     (long long)r.n_records);
        cr_assert_eq(r.n_damages, 1);
        cr_assert_eq(r.first.offset, (int64_t)end[hit - 1]);
        cr_assert_eq(r.first.n_bytes, (int64_t)(end[hit] - end[hit - 1]));
        cr_assert(r.first.reason && *r.first.reason);
        cr_assert_eq(r.pending, 0);
        hl_free(path);
        b.s[at] = (char)(b.s[at] ^ 0x10);
    }
    hl_str_done(&b);
    test_dir_done(dir);
}

Test(event_file, noise_before_between_and_after)
{
    char *dir = test_dir();
    hl_str b = {0}, noisy = {0};
    size_t end[N_RECORDS];
    char noise[100];
    memset(noise, 0x5A, sizeof noise);
    build(&b, end);
    hl_str_addn(&noisy, noise, 37);
    hl_str_addn(&noisy, b.s, end[3]);
    hl_str_addn(&noisy, noise, 100);
    hl_str_addn(&noisy, b.s + end[3], b.n - end[3]);
    hl_str_addn(&noisy, noise, 11);
    char *path = put_file(dir, noisy.s, noisy.n);
    result r = read_file(path);
    cr_assert_eq(r.n_records, N_RECORDS);
    cr_assert_eq(r.n_damages, 2);
    cr_assert_eq(r.first.n_bytes, 37);
    cr_assert_eq(r.pending, 11);
    hl_free(path);
    hl_str_done(&b);
    hl_str_done(&noisy);
    test_dir_done(dir);
}

Test(event_file, records_larger_than_the_window)
{
    char *dir = test_dir();
    hl_str b = {0}, big = {0};
    for (int i = 0; i < 1 << 20; i++)
        hl_str_addc(&big, 'x');
    for (int i = 0; i < 3; i++) {
        cr_assert(hl_event_put_scalar(&b, "a", (hl_stamp){i, 1}, 1));
        cr_assert(hl_event_put_json(&b, "t", (hl_stamp){i, 1}, "table", big.s));
    }
    char *path = put_file(dir, b.s, b.n);
    result r = read_file(path);
    cr_assert_eq(r.n_records, 6);
    cr_assert_eq(r.n_damages, 0);
    b.s[1000] ^= 1; /* the first big one */
    hl_free(path);
    path = put_file(dir, b.s, b.n);
    r = read_file(path);
    cr_assert_eq(r.n_records, 5);
    cr_assert_eq(r.n_damages, 1);
    hl_free(path);
    hl_str_done(&b);
    hl_str_done(&big);
    test_dir_done(dir);
}

Test(event_file, missing_file_says_so)
{
    hl_event_file *f;
    cr_assert_eq(hl_event_file_open("/nowhere/events", &f), HL_E_NOTFOUND);
    cr_assert(strstr(hl_err_message(), "/nowhere/events"));
}

/* ---- mutations ---- */

static void mutate(hl_str *b, hl_rng *rng)
{
    size_t at = hl_rng_below(rng, (uint32_t)b->n), n = 1 + hl_rng_below(rng, 40);
    if (at + n > b->n)
        n = b->n - at;
    switch (hl_rng_below(rng, 6)) {
    case 0:
        b->s[at] = (char)(b->s[at] ^ (1 << hl_rng_below(rng, 8)));
        break;
    case 1:
        b->s[at] = (char)hl_rng_next(rng);
        break;
    case 2: /* cut out */
        memmove(b->s + at, b->s + at + n, b->n - at - n);
        b->n -= n;
        break;
    case 3:
        memset(b->s + at, 0, n);
        break;
    case 4: /* repeat a piece at the end */
        for (size_t i = 0; i < n; i++)
            hl_str_addc(b, b->s[at + i]);
        break;
    default:
        b->n = at + 1;
    }
}

/* Good checksums around mutated contents, so that the parsers behind them are reached too. */
static void reframe(hl_str *b, const hl_str *payloads, const size_t *end, hl_rng *rng)
{
    hl_str_clear(b);
    for (int i = 0; i < N_RECORDS; i++) {
        size_t from = i ? end[i - 1] : 0;
        hl_str part = {0};
        hl_str_addn(&part, payloads->s + from + 12, end[i] - from - 16);
        if (part.n && hl_rng_below(rng, 3) == 0)
            mutate(&part, rng);
        size_t begin = hl_frame_begin(b);
        hl_str_addn(b, hl_str_text(&part), part.n);
        cr_assert(hl_frame_end(b, begin));
        hl_str_done(&part);
    }
}

Test(event_file, ten_thousand_mutations, .timeout = 300)
{
    char *dir = test_dir();
    hl_str good = {0}, bad = {0};
    size_t end[N_RECORDS];
    build(&good, end);
    hl_rng rng = hl_rng_make(11, HL_RNG_TEST, 1, 0);
    for (int i = 0; i < 10000; i++) {
        if (i % 2) {
            reframe(&bad, &good, end, &rng);
        } else {
            hl_str_clear(&bad);
            hl_str_addn(&bad, good.s, good.n);
            for (uint32_t k = 1 + hl_rng_below(&rng, 4); k && bad.n; k--)
                mutate(&bad, &rng);
        }
        hl_free(put_file(dir, bad.s, bad.n));
        seen s;
        cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &s), HL_OK);
        seen_done(&s);
        hl_summary *summary;
        cr_assert_eq(hl_summary_rebuild(dir, NULL, &summary), HL_OK);
        hl_summary_free(summary);
    }
    hl_str_done(&good);
    hl_str_done(&bad);
    test_dir_done(dir);
}
