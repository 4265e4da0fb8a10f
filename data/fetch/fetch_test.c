/* Downloads from a server that does everything that servers do to one. No test leaves this
 * machine. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "data/fetch/server_test.h"

#include "data/data_test.h"
#include "data/fetch/fetch.h"
#include "engine/base/clock.h"

enum { N = 300000 };

/* One test: a server, a directory, parameters for the file "x" with mirrors as named. */
typedef struct bench {
    server s;
    char dir[64], path[96], part[128], from[128];
    char *bytes;
    char sum[HL_SHA256_HEX];
    char address[MIRRORS][64];
    const char *addresses[MIRRORS];
    hl_fetch_params p;
    hl_fetch_result r;
    int n_faults;
    char fault[512]; /* the last one */
    hl_flag stop;
    int64_t stop_at; /* bytes at which the display stops the transfer; -1: never */
    int64_t live;
} bench;

static void on_event(void *arg, const hl_fetch_event *e)
{
    bench *b = arg;
    if (e->kind == HL_FETCH_FAULT) {
        b->n_faults++;
        snprintf(b->fault, sizeof b->fault, "%s", e->message);
    }
    if (b->stop_at >= 0 && e->kind == HL_FETCH_BYTES && e->have >= b->stop_at)
        hl_flag_set(&b->stop, 1);
}

static void start(bench *b, const char *mirrors)
{
    hl_sha256 sum;
    memset(b, 0, sizeof *b);
    setenv("no_proxy", "*", 1);
    snprintf(b->dir, sizeof b->dir, "/tmp/hoplab-fetch-XXXXXX");
    cr_assert_not_null(mkdtemp(b->dir));
    snprintf(b->path, sizeof b->path, "%s/sub/x", b->dir);
    snprintf(b->part, sizeof b->part, "%s.part", b->path);
    snprintf(b->from, sizeof b->from, "%s.part.from", b->path);
    b->bytes = malloc(N);
    for (size_t i = 0; i < N; i++)
        b->bytes[i] = (char)(i * 2654435761u >> 13);
    hl_sha256_start(&sum);
    hl_sha256_add(&sum, b->bytes, N);
    hl_sha256_finish(&sum, b->sum);
    server_start(&b->s, b->bytes, N);
    b->p = hl_fetch_params_default();
    for (size_t i = 0; mirrors[i]; i++) {
        snprintf(b->address[i], sizeof b->address[i], "http://127.0.0.1:%d/%c", b->s.port,
                 mirrors[i]);
        b->addresses[b->p.n_addresses++] = b->address[i];
    }
    b->p.addresses = b->addresses;
    b->p.path = b->path;
    b->p.n_bytes = N;
    b->p.sha256 = b->sum;
    b->p.stall_ms = 400;
    b->p.connect_ms = 2000;
    b->p.pause_ms = 10;
    b->p.on_event = on_event;
    b->p.arg = b;
    b->p.stop = &b->stop;
    b->stop_at = -1;
    b->live = hl_mem_get_stats().live_bytes;
}

static void unknown(bench *b) /* neither size nor sum */
{
    b->p.n_bytes = -1;
    b->p.sha256 = NULL;
}

static void finish(bench *b)
{
    server_stop(&b->s);
    cr_assert_eq(hl_fs_remove_tree(b->dir), HL_OK);
    free(b->bytes);
}

static int n_seen(bench *b)
{
    return (int)hl_flag_get(&b->s.n_seen);
}

static void run(bench *b, hl_status want)
{
    hl_flag_set(&b->stop, 0);
    hl_status st = hl_fetch(&b->p, &b->r);
    cr_assert_eq(st, want, "%s: %s", hl_status_name(st), hl_err_message());
    cr_assert_eq(hl_mem_get_stats().live_bytes - b->live, 0);
}

static void expect_file(bench *b)
{
    char *got = NULL;
    size_t n = 0;
    cr_assert_eq(hl_fs_read(b->path, 2 * N, &got, &n), HL_OK, "%s", hl_err_message());
    cr_assert_eq(n, N);
    cr_assert_eq(memcmp(got, b->bytes, N), 0);
    hl_free(got);
    cr_assert(!hl_fs_exists(b->part) && !hl_fs_exists(b->from));
    cr_assert_str_eq(b->r.sha256, b->sum);
    cr_assert_eq(b->r.n_bytes, N);
}

static void expect_message(const char *part)
{
    cr_assert_not_null(strstr(hl_err_message(), part), "%s", hl_err_message());
}

static void make_part(bench *b, const void *bytes, size_t n)
{
    char dir[96];
    snprintf(dir, sizeof dir, "%s/sub", b->dir);
    cr_assert_eq(hl_fs_make_dir(dir), HL_OK);
    cr_assert_eq(hl_fs_write_atomic(b->part, bytes, n), HL_OK);
}

#define PLAY(mirror, ...) server_add(&b.s, mirror, (act){.kind = __VA_ARGS__})

static void expect_seen(bench *b, int i, char mirror, long offset, bool if_range)
{
    const request_seen *q = &b->s.seen[i];
    cr_assert(i < n_seen(b) && q->mirror == mirror && q->offset == offset &&
                  q->if_range == if_range,
              "request %d of %d: /%c from %ld%s", i, n_seen(b), q->mirror, q->offset,
              q->if_range ? ", If-Range" : "");
}

/* ---- what goes well -------------------------------------------------------------------------- */

Test(fetch, whole_file_and_never_again)
{
    bench b;
    start(&b, "a");
    PLAY('a', SERVE, .etag = "\"v1\"");
    run(&b, HL_OK);
    expect_file(&b);
    cr_assert(!b.r.was_there && b.r.n_resumed == 0 && b.r.address == b.address[0]);
    run(&b, HL_OK);
    cr_assert(b.r.was_there && b.r.address == NULL && b.r.n_bytes == N);
    cr_assert_str_eq(b.r.sha256, b.sum);
    cr_assert_eq(n_seen(&b), 1);
    expect_seen(&b, 0, 'a', -1, false);
    finish(&b);
}

Test(fetch, size_and_sum_may_be_unknown)
{
    bench b;
    start(&b, "a");
    unknown(&b);
    PLAY('a', UNSIZED, .n = N);
    run(&b, HL_OK);
    expect_file(&b);
    run(&b, HL_OK);
    cr_assert(b.r.was_there);
    finish(&b);
}

Test(fetch, from_a_file)
{
    bench b;
    char address[128], source[96];
    start(&b, "");
    snprintf(source, sizeof source, "%s/source", b.dir);
    snprintf(address, sizeof address, "file://%s", source);
    b.addresses[0] = address;
    b.p.n_addresses = 1;
    run(&b, HL_E_IO); /* there is none yet */
    cr_assert(!hl_fs_exists(b.path) && !hl_fs_exists(b.part));
    cr_assert_eq(hl_fs_write_atomic(source, b.bytes, N), HL_OK);
    make_part(&b, b.bytes, 1000);
    run(&b, HL_OK);
    expect_file(&b);
    cr_assert_eq(b.r.n_resumed, 1000);
    unlink(b.path);
    make_part(&b, b.bytes, N); /* all of it was there already */
    run(&b, HL_OK);
    expect_file(&b);
    unlink(b.path);
    cr_assert_eq(hl_fs_write_atomic(source, b.bytes, N - 1), HL_OK);
    run(&b, HL_E_FORMAT);
    expect_message("it offers 299999 bytes; the file has 300000");
    finish(&b);
}

Test(fetch, redirects_are_followed_within_limits)
{
    bench b;
    char address[64], elsewhere[96];
    start(&b, "a");
    snprintf(address, sizeof address, "http://127.0.0.1:%d/b", b.s.port);
    PLAY('a', REDIRECT, .to = address);
    PLAY('b', SERVE);
    run(&b, HL_OK);
    expect_file(&b);
    unlink(b.path);
    b.address[0][strlen(b.address[0]) - 1] = 'c';
    PLAY('c', REDIRECT); /* to itself */
    run(&b, HL_E_IO);
    cr_assert_eq(n_seen(&b), 2 + 6);
    snprintf(elsewhere, sizeof elsewhere, "file://%s/secret", b.dir);
    cr_assert_eq(hl_fs_write_atomic(elsewhere + 7, b.bytes, N), HL_OK);
    b.address[0][strlen(b.address[0]) - 1] = 'd';
    PLAY('d', REDIRECT, .to = elsewhere);
    run(&b, HL_E_IO);
    cr_assert(!hl_fs_exists(b.path) && !hl_fs_exists(b.part));
    finish(&b);
}

/* ---- mirrors --------------------------------------------------------------------------------- */

Test(fetch, the_next_mirror_where_one_fails)
{
    static const act failing[] = {
        {.kind = MISSING},
        {.kind = WRONG},
        {.kind = SILENT},
        {.kind = DROP, .n = 0},
        {.kind = LARGER, .n = N + 1},
        {.kind = UNSIZED, .n = N + 1},
        {.kind = UNSIZED, .n = 0},
    };
    static const char *const why[] = {"answers 404", "its sha256 is",    "too slow",
                                      "broke",       "it offers 300001", "sends more than 300000",
                                      "no bytes"};
    for (size_t i = 0; i < sizeof failing / sizeof *failing; i++) {
        bench b;
        start(&b, "ab");
        server_add(&b.s, 'a', failing[i]);
        PLAY('b', SERVE);
        const int64_t from = hl_clock_mono_ns();
        run(&b, HL_OK);
        cr_assert_lt(hl_clock_mono_ns() - from, INT64_C(5000000000));
        expect_file(&b);
        cr_assert_eq(b.r.address, b.address[1]);
        cr_assert_geq(b.n_faults, 1);
        cr_assert_not_null(strstr(b.fault, why[i]), "%s", b.fault);
        finish(&b);
    }
}

Test(fetch, when_all_fail_each_is_named)
{
    bench b;
    start(&b, "ab");
    PLAY('a', MISSING);
    PLAY('b', MISSING);
    run(&b, HL_E_IO);
    expect_message(b.path);
    expect_message("/a: the server answers 404; http");
    expect_message("/b: the server answers 404");
    cr_assert(!hl_fs_exists(b.part));
    PLAY('b', WRONG);
    b.s.at[1] = 1;
    run(&b, HL_E_FORMAT); /* something came, and it was wrong */
    cr_assert(!hl_fs_exists(b.path) && !hl_fs_exists(b.part) && !hl_fs_exists(b.from));
    finish(&b);
    start(&b, "a");
    server_stop(&b.s); /* nobody listens */
    b.live = hl_mem_get_stats().live_bytes;
    run(&b, HL_E_IO);
    expect_message("/a: ");
    cr_assert_eq(hl_fs_remove_tree(b.dir), HL_OK);
    free(b.bytes);
}

Test(fetch, a_page_is_no_file)
{
    bench b;
    start(&b, "ab");
    unknown(&b);
    PLAY('a', PAGE);
    PLAY('b', SERVE);
    run(&b, HL_OK);
    expect_file(&b);
    cr_assert_not_null(strstr(b.fault, "a web page"), "%s", b.fault);
    finish(&b);
}

/* What a slow mirror brought is used by the next one. */
Test(fetch, a_part_goes_on_at_another_mirror)
{
    bench b;
    start(&b, "ab");
    PLAY('a', HANG, .n = 100000, .etag = "\"v1\"");
    PLAY('b', SERVE, .etag = "\"v1\"");
    b.p.n_tries = 1;
    run(&b, HL_OK);
    expect_file(&b);
    expect_seen(&b, 1, 'b', 100000, false); /* its words mean nothing there; the sum will tell */
    cr_assert_eq(b.r.n_resumed, 100000);
    finish(&b);
}

Test(fetch, without_a_sum_mirrors_are_not_mixed)
{
    bench b;
    start(&b, "ab");
    unknown(&b);
    PLAY('a', HANG, .n = 100000, .etag = "\"v1\"");
    PLAY('b', SERVE, .etag = "\"v1\"");
    b.p.n_tries = 1;
    run(&b, HL_OK);
    expect_file(&b);
    expect_seen(&b, 1, 'b', -1, false);
    cr_assert_eq(b.r.n_resumed, 0);
    finish(&b);
}

/* ---- parts ----------------------------------------------------------------------------------- */

Test(fetch, broken_connections_are_continued)
{
    bench b;
    start(&b, "a");
    PLAY('a', DROP, .n = 100000, .etag = "\"v1\"");
    PLAY('a', DROP, .n = 50000, .etag = "\"v1\"");
    PLAY('a', SERVE, .etag = "\"v1\"");
    run(&b, HL_OK);
    expect_file(&b);
    cr_assert(n_seen(&b) == 3 && b.n_faults == 2);
    expect_seen(&b, 1, 'a', 100000, true);
    expect_seen(&b, 2, 'a', 150000, true);
    finish(&b);
    start(&b, "a"); /* a connection that ends early without having said how much would come */
    PLAY('a', UNSIZED, .n = 1000);
    PLAY('a', SERVE);
    run(&b, HL_OK);
    expect_file(&b);
    expect_seen(&b, 1, 'a', 1000, false);
    finish(&b);
    start(&b, "a"); /* patience ends */
    PLAY('a', DROP, .n = 1000);
    b.p.n_tries = 3;
    run(&b, HL_E_IO);
    cr_assert_eq(n_seen(&b), 3);
    cr_assert_eq(hl_fs_size(b.part), 3000); /* and what came is kept */
    finish(&b);
}

Test(fetch, stopping_keeps_the_part)
{
    bench b;
    start(&b, "a");
    unknown(&b);
    PLAY('a', HANG, .n = 100000, .etag = "\"v1\"");
    PLAY('a', SERVE, .etag = "\"v1\"");
    b.p.stall_ms = 60000;
    b.stop_at = 1;
    const int64_t from = hl_clock_mono_ns();
    run(&b, HL_E_CANCELLED);
    cr_assert_lt(hl_clock_mono_ns() - from, INT64_C(1000000000));
    cr_assert_eq(hl_fs_size(b.part), 100000);
    cr_assert(!hl_fs_exists(b.path));
    b.stop_at = -1;
    run(&b, HL_OK);
    expect_file(&b);
    expect_seen(&b, 1, 'a', 100000, true);
    cr_assert_eq(b.r.n_resumed, 100000);
    finish(&b);
}

static void stop_soon(void *arg)
{
    hl_clock_sleep_ms(300);
    hl_flag_set(arg, 1);
}

Test(fetch, stopping_a_silent_server_takes_less_than_a_second)
{
    bench b;
    hl_thread *t = NULL;
    start(&b, "a");
    PLAY('a', SILENT);
    b.p.stall_ms = b.p.connect_ms = 60000;
    const int64_t from = hl_clock_mono_ns();
    cr_assert_eq(hl_thread_start("stopper", stop_soon, &b.stop, &t), HL_OK);
    cr_assert_eq(hl_fetch(&b.p, &b.r), HL_E_CANCELLED, "%s", hl_err_message());
    cr_assert_lt(hl_clock_mono_ns() - from, INT64_C(1300000000));
    hl_thread_join(t);
    finish(&b);
}

Test(fetch, a_server_that_ignores_ranges_starts_again)
{
    bench b;
    start(&b, "a");
    PLAY('a', NO_RANGE);
    make_part(&b, b.bytes, 12345);
    run(&b, HL_OK);
    expect_file(&b);
    expect_seen(&b, 0, 'a', 12345, false);
    cr_assert(n_seen(&b) == 1 && b.r.n_resumed == 0);
    finish(&b);
}

Test(fetch, a_wrong_part_is_thrown_away_once)
{
    bench b;
    start(&b, "a");
    PLAY('a', SERVE);
    make_part(&b, "other bytes", 11);
    run(&b, HL_OK);
    expect_file(&b);
    expect_seen(&b, 0, 'a', 11, false);
    expect_seen(&b, 1, 'a', -1, false);
    cr_assert(n_seen(&b) == 2 && b.n_faults == 1 && b.r.n_resumed == 0);
    finish(&b);
    start(&b, "ab"); /* wrong again: the next mirror */
    PLAY('a', WRONG);
    PLAY('b', SERVE);
    make_part(&b, b.bytes, 1000);
    run(&b, HL_OK);
    expect_file(&b);
    expect_seen(&b, 0, 'a', 1000, false);
    expect_seen(&b, 1, 'a', -1, false);
    expect_seen(&b, 2, 'b', -1, false);
    finish(&b);
    start(&b, "a"); /* larger than the file */
    PLAY('a', SERVE);
    char *long_part = calloc(1, N + 5);
    make_part(&b, long_part, N + 5);
    run(&b, HL_OK);
    expect_file(&b);
    expect_seen(&b, 0, 'a', -1, false);
    free(long_part);
    finish(&b);
}

Test(fetch, a_changed_file_is_fetched_anew)
{
    bench b;
    start(&b, "a");
    unknown(&b);
    PLAY('a', HANG, .n = 100000, .etag = "\"v1\"");
    PLAY('a', SERVE, .etag = "\"v2\"");
    run(&b, HL_OK);
    expect_file(&b);
    expect_seen(&b, 1, 'a', 100000, true);
    cr_assert(n_seen(&b) == 2 && b.r.n_resumed == 0);
    finish(&b);
    start(&b, "a"); /* a weak ETag promises nothing: from the beginning */
    unknown(&b);
    PLAY('a', HANG, .n = 100000, .etag = "W/\"v1\"");
    PLAY('a', SERVE, .etag = "W/\"v1\"");
    run(&b, HL_OK);
    expect_file(&b);
    expect_seen(&b, 1, 'a', -1, false);
    finish(&b);
}

Test(fetch, ranges_that_do_not_fit)
{
    bench b;
    start(&b, "a");
    PLAY('a', WRONG_RANGE);
    PLAY('a', SERVE);
    make_part(&b, b.bytes, 1000);
    run(&b, HL_OK);
    expect_file(&b);
    expect_seen(&b, 1, 'a', -1, false);
    finish(&b);
    start(&b, "a"); /* all of it is there, and nobody knew */
    PLAY('a', SERVE);
    b.p.n_bytes = -1;
    make_part(&b, b.bytes, N);
    run(&b, HL_OK);
    expect_file(&b);
    cr_assert_eq(n_seen(&b), 1);
    unlink(b.path);
    char *more = calloc(1, N + 1); /* more than there is */
    make_part(&b, more, N + 1);
    run(&b, HL_OK);
    expect_file(&b);
    expect_seen(&b, 2, 'a', -1, false);
    free(more);
    finish(&b);
}

/* ---- limits, and what is there already ------------------------------------------------------- */

Test(fetch, never_more_than_allowed)
{
    bench b;
    static const act acts[] = {{.kind = SERVE}, {.kind = UNSIZED, .n = N}};
    static const char *const says[] = {"it offers 300000 bytes; at most 299999 are taken",
                                       "sends more than 299999 bytes, the most that are taken"};
    for (int i = 0; i < 2; i++) {
        start(&b, "a");
        unknown(&b);
        b.p.max_bytes = N - 1;
        server_add(&b.s, 'a', acts[i]);
        run(&b, HL_E_FORMAT);
        expect_message(says[i]);
        cr_assert_lt(hl_fs_size(b.part), N);
        cr_assert(!hl_fs_exists(b.path));
        finish(&b);
    }
}

Test(fetch, what_is_there_is_left_alone)
{
    bench b;
    char *got = NULL;
    size_t n = 0;
    start(&b, "a");
    PLAY('a', SERVE);
    make_part(&b, b.bytes, 10);
    cr_assert_eq(hl_fs_write_atomic(b.path, "mine", 4), HL_OK);
    run(&b, HL_E_FORMAT);
    expect_message("is left alone");
    expect_message("it has 4 bytes, the published file 300000");
    b.bytes[7] ^= 1;
    cr_assert_eq(hl_fs_write_atomic(b.path, b.bytes, N), HL_OK);
    run(&b, HL_E_FORMAT);
    expect_message("its sha256 is ");
    b.bytes[7] ^= 1;
    unknown(&b); /* then anything is good */
    run(&b, HL_OK);
    cr_assert(b.r.was_there);
    cr_assert_eq(hl_fs_read(b.path, 2 * N, &got, &n), HL_OK);
    cr_assert(n == N && got[7] != b.bytes[7]);
    hl_free(got);
    unlink(b.path);
    cr_assert_eq(mkdir(b.path, 0700), 0);
    run(&b, HL_E_IO);
    expect_message("is a directory");
    cr_assert_eq(n_seen(&b), 0);
    finish(&b);
}

Test(fetch, one_process_at_a_time)
{
    bench b;
    start(&b, "a");
    PLAY('a', SERVE);
    make_part(&b, b.bytes, 10);
    const int fd = open(b.part, O_RDWR | O_CLOEXEC);
    cr_assert_eq(flock(fd, LOCK_EX), 0);
    run(&b, HL_E_STATE);
    expect_message("another process");
    cr_assert_eq(hl_fs_size(b.part), 10);
    close(fd);
    run(&b, HL_OK);
    expect_file(&b);
    finish(&b);
}

Test(fetch, wrong_parameters)
{
    bench b;
    start(&b, "a");
    b.addresses[0] = "ftp://127.0.0.1/x";
    run(&b, HL_E_ARG);
    expect_message("'ftp://127.0.0.1/x'");
    b.addresses[0] = "/etc/hostname";
    run(&b, HL_E_ARG);
    b.addresses[0] = b.address[0];
    b.p.sha256 = "ABC";
    run(&b, HL_E_ARG);
    b.p.sha256 = NULL;
    b.p.n_addresses = 0;
    run(&b, HL_E_ARG);
    b.p.n_addresses = 1;
    b.p.path = "/proc/nowhere/x";
    run(&b, HL_E_NOTFOUND);
    b.p.path = "/dev/null/x";
    run(&b, HL_E_IO);
    finish(&b);
}

Test(fetch, sums_of_files)
{
    bench b;
    char hex[HL_SHA256_HEX];
    start(&b, "");
    make_part(&b, b.bytes, N);
    cr_assert_eq(hl_file_sha256(b.part, NULL, hex), HL_OK);
    cr_assert_str_eq(hex, b.sum);
    hl_flag_set(&b.stop, 1);
    cr_assert_eq(hl_file_sha256(b.part, &b.stop, hex), HL_E_CANCELLED);
    cr_assert_eq(hl_file_sha256("/nowhere", NULL, hex), HL_E_NOTFOUND);
    cr_assert_eq(hl_file_sha256("/", NULL, hex), HL_E_IO);
    finish(&b);
}

Test(fetch, no_leak_when_memory_fails)
{
    bench b;
    int n_failed = 0;
    start(&b, "a");
    PLAY('a', SERVE, .etag = "\"v1\"");
    for (int64_t i = 0; i < 60; i++) {
        hl_mem_fail_after(i);
        hl_status st = hl_fetch(&b.p, &b.r);
        hl_mem_fail_after(-1);
        cr_assert(st == HL_OK || st == HL_E_NOMEM, "%s", hl_err_message());
        cr_assert_eq(hl_mem_get_stats().live_bytes, b.live, "failure %lld", (long long)i);
        n_failed += st == HL_E_NOMEM;
        unlink(b.path);
        unlink(b.part);
        unlink(b.from);
    }
    cr_assert_geq(n_failed, 8);
    finish(&b);
}
