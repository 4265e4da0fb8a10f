/* A disk that is full, breaks, or goes away loses nothing that it did not lose itself. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "app/store/store_test.h"
#include "engine/base/log.h"

static const hl_state_note done = {HL_RUN_DONE, NULL, NULL, 0};

static hl_writer *open_writer(const char *dir, const hl_writer_opts *opts)
{
    hl_writer *w = NULL;
    cr_assert_eq(hl_writer_open(dir, opts, &w), HL_OK, "%s", hl_err_message());
    return w;
}

/* Warnings and worse that the store gave to hl_log. */
static int n_logged;
static char logged[8][256];
static void catch_log(void *arg, hl_log_level level, const char *message)
{
    (void)arg;
    if (level >= HL_LOG_WARN && n_logged < 8)
        snprintf(logged[n_logged++], sizeof logged[0], "%s", message);
}

/* A disk with so many bytes left; grows when the test says so. */
typedef struct small_disk {
    hl_flag room; /* bytes that may still be written */
    hl_flag n_failed_syncs;
    hl_flag n_refused;
} small_disk;

static ssize_t small_write(void *self, int fd, const void *bytes, size_t n, off_t offset)
{
    small_disk *d = self;
    int64_t room = hl_flag_get(&d->room);
    if (room <= 0) {
        hl_flag_add(&d->n_refused, 1);
        errno = ENOSPC;
        return -1;
    }
    ssize_t put = pwrite(fd, bytes, (int64_t)n < room ? n : (size_t)room, offset);
    hl_flag_add(&d->room, -put);
    return put;
}

static int small_sync(void *self, int fd)
{
    small_disk *d = self;
    if (hl_flag_get(&d->n_failed_syncs) > 0) {
        hl_flag_add(&d->n_failed_syncs, -1);
        /* as the system does: what was not stored yet is gone */
        if (ftruncate(fd, 60) != 0)
            abort();
        errno = EIO;
        return -1;
    }
    return fdatasync(fd);
}

static void wait_for_trouble(const hl_writer *w, bool trouble)
{
    int64_t t0 = hl_clock_mono_ns();
    while ((hl_writer_get_status(w).trouble_since_us != 0) != trouble) {
        cr_assert_lt(hl_clock_mono_ns() - t0, INT64_C(10000000000));
        hl_clock_sleep_ms(5);
    }
}

Test(writer, full_disk_loses_nothing, .timeout = 60)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    small_disk disk = {0};
    hl_flag_set(&disk.room, 1000);
    hl_store_io io = {small_write, small_sync, &disk};
    hl_log_set_sink(catch_log, NULL);
    hl_writer *w = open_writer(dir, &(hl_writer_opts){.io = &io});
    test_put_losses(w, 0, 5000);
    wait_for_trouble(w, true);
    hl_writer_status status = hl_writer_get_status(w);
    cr_assert_eq(status.trouble_errno, ENOSPC);
    cr_assert_lt(hl_clock_wall_us() - status.trouble_since_us, INT64_C(10000000));
    test_put_losses(w, 5000, 6000);
    seen r;
    cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK); /* readers are not disturbed */
    cr_assert_eq(r.n_damages, 0);
    cr_assert(seen_is_losses(&r, 0, (int64_t)seen_n(&r, "train/loss")));
    seen_done(&r);
    hl_clock_sleep_ms(600);
    int64_t refused = hl_flag_get(&disk.n_refused);
    cr_assert(refused >= 2 && refused <= 5, "%lld tries", (long long)refused); /* back-off */
    hl_flag_set(&disk.room, INT64_MAX / 2);
    wait_for_trouble(w, false);
    test_put_losses(w, 6000, 7000);
    hl_writer_set_state(w, 7000, &done);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    hl_log_set_sink(NULL, NULL);
    cr_assert_eq(n_logged, 2, "%s | %s | %s", logged[0], logged[1], logged[2]);
    cr_assert(strstr(logged[0], "the disk is full"));
    cr_assert(strstr(logged[1], "can be written again"));
    cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
    cr_assert(seen_is_losses(&r, 0, 7000));
    cr_assert_eq(r.n_damages, 0);
    seen_done(&r);
    cr_assert(test_summary_is_right(dir));
    hl_free(dir);
    test_dir_done(runs);
}

Test(writer, a_failed_sync_is_answered_by_writing_again, .timeout = 60)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    small_disk disk = {0};
    hl_flag_set(&disk.room, INT64_MAX / 2);
    hl_flag_set(&disk.n_failed_syncs, 2);
    hl_store_io io = {small_write, small_sync, &disk};
    hl_log_set_sink(catch_log, NULL);
    hl_writer *w = open_writer(dir, &(hl_writer_opts){.io = &io});
    test_put_losses(w, 0, 500);
    wait_for_trouble(w, true);
    test_put_losses(w, 500, 1000);
    wait_for_trouble(w, false);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    hl_log_set_sink(NULL, NULL);
    cr_assert_eq(n_logged, 2);
    seen r;
    cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
    cr_assert(seen_is_losses(&r, 0, 1000));
    seen_done(&r);
    hl_free(dir);
    test_dir_done(runs);
}

Test(writer, closing_on_a_full_disk_says_what_is_missing, .timeout = 60)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    small_disk disk = {0};
    hl_flag_set(&disk.room, 500);
    hl_store_io io = {small_write, small_sync, &disk};
    hl_writer *w = open_writer(dir, &(hl_writer_opts){.io = &io, .close_wait_ms = 300});
    test_put_losses(w, 0, 100);
    cr_assert_eq(hl_writer_close(w), HL_E_IO);
    cr_assert(strstr(hl_err_message(), "bytes of results could not be written: the disk is full"),
              "%s", hl_err_message());
    hl_lock_view v;
    hl_lock_look(dir, &v);
    cr_assert_eq(hl_lock_is_live(&v), HL_NO);
    hl_free(dir);
    test_dir_done(runs);
}

Test(writer, a_store_that_never_takes_a_byte_is_an_error_at_once)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    small_disk disk = {0};
    hl_store_io io = {small_write, small_sync, &disk};
    hl_writer *w;
    cr_assert_eq(hl_writer_open(dir, &(hl_writer_opts){.io = &io}, &w), HL_E_IO);
    cr_assert(strstr(hl_err_message(), "the disk is full"), "%s", hl_err_message());
    seen r;
    cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
    seen_done(&r);
    hl_free(dir);
    test_dir_done(runs);
}

/* Ring of 64, disk shut: sys/ points fall away, counted; others wait until the run gives up. */
Test(writer, a_full_ring_drops_only_sys, .timeout = 60)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    small_disk disk = {0};
    hl_flag give_up = {0};
    hl_flag_set(&disk.room, 1000);
    hl_store_io io = {small_write, small_sync, &disk};
    hl_writer_opts opts = {.io = &io, .n_ring = 64, .give_up = &give_up};
    hl_writer *w = open_writer(dir, &opts);
    hl_sink s = hl_writer_sink(w);
    int sys = s.series(s.self, "sys/step_ms", HL_SERIES_SCALAR, NULL);
    int loss = s.series(s.self, "train/loss", HL_SERIES_SCALAR, NULL);
    char *big = hl_alloc(9 << 20);
    memset(big, ' ', (9 << 20) - 3);
    memcpy(big + (9 << 20) - 3, "{}", 3);
    s.json(s.self, s.series(s.self, "t", HL_SERIES_JSON, "table"), 0, big); /* fills the buffer */
    hl_free(big);
    wait_for_trouble(w, true);
    for (int i = 0; i < 100; i++)
        s.scalar(s.self, sys, i, i);
    hl_writer_status status = hl_writer_get_status(w);
    cr_assert_geq(status.n_sys_dropped, 30);
    cr_assert_eq(status.n_dropped, 0);
    cr_assert_eq(status.n_waits, 0);
    hl_flag_set(&disk.room, INT64_MAX / 2);
    s.scalar(s.self, loss, 1, 10.0); /* waits, and gets through */
    wait_for_trouble(w, false);
    cr_assert_eq(hl_writer_get_status(w).n_waits, 1);
    hl_flag_set(&give_up, 1);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    seen r;
    cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
    cr_assert_eq(seen_n(&r, "train/loss"), 1);
    cr_assert_eq((int64_t)seen_n(&r, "sys/step_ms"), 100 - status.n_sys_dropped);
    char told[64];
    snprintf(told, sizeof told, "%lld points of sys/ series were dropped",
             (long long)status.n_sys_dropped);
    cr_assert(strstr(r.last_log, told), "%s", r.last_log);
    seen_done(&r);
    hl_free(dir);
    test_dir_done(runs);
}

Test(writer, giving_up_ends_the_wait, .timeout = 60)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    small_disk disk = {0};
    hl_flag give_up = {0};
    hl_flag_set(&disk.room, 300);
    hl_flag_set(&give_up, 1);
    hl_store_io io = {small_write, small_sync, &disk};
    hl_writer_opts opts = {.io = &io, .n_ring = 4, .give_up = &give_up, .close_wait_ms = -1};
    hl_writer *w = open_writer(dir, &opts);
    hl_sink s = hl_writer_sink(w);
    int loss = s.series(s.self, "train/loss", HL_SERIES_SCALAR, NULL);
    for (int i = 0; i < 100000; i++)
        s.scalar(s.self, loss, i, i);
    cr_assert_gt(hl_writer_get_status(w).n_dropped, 0);
    cr_assert_eq(hl_writer_close(w), HL_E_IO);
    hl_free(dir);
    test_dir_done(runs);
}

/* The system's own refusals. */
Test(writer, file_size_limit, .timeout = 60)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 20000;
    signal(SIGXFSZ, SIG_IGN);
    hl_writer *w = open_writer(dir, NULL);
    setrlimit(RLIMIT_FSIZE, &small);
    test_put_losses(w, 0, 5000);
    wait_for_trouble(w, true);
    cr_assert_eq(hl_writer_get_status(w).trouble_errno, EFBIG);
    setrlimit(RLIMIT_FSIZE, &old);
    wait_for_trouble(w, false);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    seen r;
    cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
    cr_assert(seen_is_losses(&r, 0, 5000));
    seen_done(&r);
    hl_free(dir);
    test_dir_done(runs);
}

Test(writer, a_real_full_disk, .timeout = 60)
{
    char *mnt = test_dir();
    if (mount("tmpfs", mnt, "tmpfs", 0, "size=512k") != 0) {
        test_dir_done(mnt);
        cr_skip_test("no file system may be mounted here");
    }
    char *dir = test_run(mnt, "r"), *filler = hl_fs_join(mnt, "filler");
    hl_writer *w = open_writer(dir, NULL);
    test_put_losses(w, 0, 100);
    hl_writer_sink(w).flush(w);
    int fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    char block[4096] = {1};
    while (write(fd, block, sizeof block) > 0)
        ;
    close(fd);
    test_put_losses(w, 100, 3000);
    wait_for_trouble(w, true);
    cr_assert_eq(hl_writer_get_status(w).trouble_errno, ENOSPC);
    cr_assert_eq(unlink(filler), 0);
    wait_for_trouble(w, false);
    hl_writer_set_state(w, 3000, &done);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    seen r;
    cr_assert_eq(see_all(dir, (hl_follow_opts){0}, &r), HL_OK);
    cr_assert(seen_is_losses(&r, 0, 3000));
    seen_done(&r);
    cr_assert(test_summary_is_right(dir));
    hl_free(filler);
    hl_free(dir);
    umount(mnt);
    test_dir_done(mnt);
}

Test(writer, a_deleted_event_file_is_told, .timeout = 60)
{
    char *runs = test_dir(), *dir = test_run(runs, "r");
    hl_log_set_sink(catch_log, NULL);
    hl_writer *w = open_writer(dir, NULL);
    hl_fs_list list;
    cr_assert_eq(hl_fs_list_dir(dir, &list), HL_OK);
    for (size_t i = 0; i < list.n; i++)
        if (hl_str_starts(list.name[i], HL_SEGMENT_PREFIX)) {
            char *path = hl_fs_join(dir, list.name[i]);
            unlink(path);
            hl_free(path);
        }
    hl_fs_list_free(&list);
    for (int i = 0; i < 300 && !n_logged; i++) {
        test_put_losses(w, i, i + 1);
        hl_clock_sleep_ms(10);
    }
    cr_assert_eq(hl_writer_close(w), HL_OK);
    hl_log_set_sink(NULL, NULL);
    cr_assert_eq(n_logged, 1);
    cr_assert(strstr(logged[0], "was deleted while the run writes it"));
    hl_free(dir);
    test_dir_done(runs);
}
