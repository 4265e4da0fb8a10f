#define _GNU_SOURCE
#include "engine/base/clock.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

Test(clock, frozen_wall_clock)
{
    setenv("HOPLAB_TEST_CLOCK", "1700000000.25", 1);
    cr_expect_eq(hl_clock_wall_us(), INT64_C(1700000000250000));
    cr_expect_eq(hl_clock_wall_us(), INT64_C(1700000000250000));
    setenv("HOPLAB_TEST_CLOCK", "0", 1);
    cr_expect_eq(hl_clock_wall_us(), 0);
    setenv("HOPLAB_TEST_CLOCK", "", 1);
    cr_expect(hl_clock_wall_us() > INT64_C(1600000000000000), "an empty value freezes nothing");
}

Test(clock, wall_agrees_with_time)
{
    unsetenv("HOPLAB_TEST_CLOCK");
    const int64_t before = (int64_t)time(NULL), us = hl_clock_wall_us(),
                  after = (int64_t)time(NULL);
    cr_expect(us / 1000000 >= before - 1 && us / 1000000 <= after + 1);
}

Test(clock, mono_never_steps_back)
{
    int64_t last = hl_clock_mono_ns();
    for (int i = 0; i < 100000; i++) {
        const int64_t now = hl_clock_mono_ns();
        cr_assert(now >= last);
        last = now;
    }
}

static void on_alarm(int sig)
{
    (void)sig;
}

Test(clock, sleeps_at_least_so_long, .timeout = 20)
{
    const int64_t ms[] = {0, 1, 20, 1001};
    for (int i = 0; i < 4; i++) {
        const int64_t start = hl_clock_mono_ns();
        hl_clock_sleep_ms(ms[i]);
        cr_expect(hl_clock_mono_ns() - start >= ms[i] * 1000000, "%d ms", (int)ms[i]);
    }
    struct sigaction act = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &act, NULL);
    ualarm(3000, 3000); /* signals do not shorten it */
    const int64_t start = hl_clock_mono_ns();
    hl_clock_sleep_ms(50);
    ualarm(0, 0);
    cr_expect(hl_clock_mono_ns() - start >= 50000000);
}

Test(clock, a_deadline_in_the_past_does_not_sleep, .timeout = 20)
{
    hl_clock_sleep_ms(-1);
    hl_clock_sleep_ms(-5000);
    hl_clock_sleep_ms(INT64_MIN);
}

Test(clock, format_utc)
{
    static const struct {
        int64_t us;
        const char *want;
    } rows[] = {
        {0, "1970-01-01T00:00:00Z"},
        {INT64_C(1769869353999999), "2026-01-31T14:22:33Z"},
        {INT64_C(951782400000000), "2000-02-29T00:00:00Z"},
        {INT64_C(253402300799000000), "9999-12-31T23:59:59Z"},
        {-1, "1969-12-31T23:59:59Z"},
        {-1000000, "1969-12-31T23:59:59Z"},
        {-1000001, "1969-12-31T23:59:58Z"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char buf[24];
        cr_expect(hl_clock_format_utc(buf, rows[i].us) == buf);
        cr_expect_str_eq(buf, rows[i].want);
    }
    char buf[24];
    cr_expect(strlen(hl_clock_format_utc(buf, INT64_MAX)) < sizeof buf);
    cr_expect(strlen(hl_clock_format_utc(buf, INT64_MIN)) < sizeof buf);
}
