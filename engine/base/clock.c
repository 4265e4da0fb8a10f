#define _GNU_SOURCE
#include "engine/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

int64_t hl_clock_wall_us(void)
{
    const char *fixed = getenv("HOPLAB_TEST_CLOCK");
    if (fixed && *fixed)
        return (int64_t)(strtod(fixed, NULL) * 1e6);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t hl_clock_mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void hl_clock_sleep_ms(int64_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

const char *hl_clock_format_utc(char buf[24], int64_t t_us)
{
    time_t s = (time_t)(t_us / 1000000 - (t_us % 1000000 < 0));
    struct tm tm;
    gmtime_r(&s, &tm);
    strftime(buf, 24, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return buf;
}
