#define _GNU_SOURCE /* setenv, before any header */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/proc/system.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

Test(nvml, a_library_that_is_not_there_is_told)
{
    hl_nvml *n = NULL;
    cr_assert_eq(hl_nvml_open("libno-such-thing.so.1", &n), HL_E_UNSUPPORTED);
    cr_assert(strstr(hl_err_message(), "libno-such-thing.so.1 is not there"));
    cr_assert_eq(hl_nvml_open("libm.so.6", &n), HL_E_UNSUPPORTED);
    cr_assert(strstr(hl_err_message(), "no NVML"));
    cr_assert_eq(hl_nvml_open("none", &n), HL_E_UNSUPPORTED);
    setenv("FAKE_NVML_DEAD", "1", 1);
    cr_assert_eq(hl_nvml_open(FAKE_NVML, &n), HL_E_UNSUPPORTED);
    cr_assert(strstr(hl_err_message(), "does not answer (9)"));
    cr_assert(n == NULL && hl_nvml_count(n) == 0);
}

Test(nvml, cards)
{
    const double gib = 1024.0 * 1024 * 1024;
    hl_nvml *n = NULL;
    hl_gpu g;
    cr_assert_eq(hl_nvml_open(FAKE_NVML, &n), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_nvml_count(n), 2);
    cr_assert_str_eq(hl_nvml_driver(n), "555.42");
    hl_nvml_read(n, 0, &g);
    cr_assert_str_eq(g.name, "Fake A100");
    cr_assert(g.utilization == 0.97 && g.memory_total == 80 * gib && g.memory_used == 58 * gib &&
              g.memory_own == 50 * gib && g.n_others == 2 && g.memory_others == 7 * gib);
    cr_assert(*g.users, "the owner of process 1");
    cr_assert(isnan(g.pcie_sent));
    hl_nvml_read_pcie(n, 0, &g);
    cr_assert(g.pcie_sent == 1.5e9 && g.pcie_received == 0.25e9);
    cr_assert(fabs(g.power_w - 392.5) < 1e-9 && g.temperature_c == 71 && g.clock_mhz == 1410);
    cr_assert(isnan(g.power_limit_w), "a function that the library lacks");
    hl_nvml_read(n, 1, &g); /* a card that knows little */
    cr_assert(g.memory_used == 58 * gib && isnan(g.utilization) && isnan(g.power_w) &&
              isnan(g.temperature_c) && isnan(g.clock_mhz) && isnan(g.n_others) &&
              isnan(g.memory_others));
    hl_nvml_read_pcie(n, 1, &g);
    cr_assert(isnan(g.pcie_sent) && isnan(g.pcie_received));
    hl_nvml_close(n);
}

static int n_put, n_cards;
static double rss, threads;

static void count(void *self, const char *tag, bool wide, double value)
{
    (void)self;
    n_put++;
    cr_assert(strncmp(tag, "sys/", 4) == 0 && !isnan(value));
    n_cards += strncmp(tag, "sys/gpu.", 8) == 0;
    cr_assert(!wide || strstr(tag, "_bytes"), "%s", tag);
    rss = strcmp(tag, "sys/rss_bytes") == 0 ? value : rss;
    threads = strcmp(tag, "sys/threads") == 0 ? value : threads;
}

Test(system, readings_of_this_process)
{
    hl_system *s = NULL;
    hl_nvml *n = NULL;
    hl_system_reading r;
    cr_assert_eq(hl_nvml_open(FAKE_NVML, &n), HL_OK);
    cr_assert_eq(hl_system_new(".", n, &s), HL_OK);
    hl_system_read(s, &r);
    cr_assert(isnan(r.cpu) && isnan(r.own_cores), "there was no reading before");
    cr_assert(r.memory_used > 0 && r.memory_used < r.memory_total && r.disk_free > 0 &&
              r.n_gpus == 2);
    const double before = r.rss;
    enum { BYTES = 64 << 20 };
    char *block = hl_alloc(BYTES);
    memset(block, 1, BYTES);
    const int64_t start = hl_clock_mono_ns();
    volatile double work = 0;
    while (hl_clock_mono_ns() - start < 60 * 1000 * 1000)
        work = work + 1;
    hl_system_read(s, &r);
    cr_assert(r.rss - before > 0.9 * BYTES && r.rss - before < 2.0 * BYTES, "%g", r.rss - before);
    cr_assert(r.own_cores > 0.02 && r.own_cores < 2, "%g", r.own_cores);
    cr_assert(r.cpu >= 0 && r.cpu <= 1, "%g", r.cpu);
    hl_system_each(&r, count, NULL);
    cr_assert(n_cards == 9 + 2 && n_put >= n_cards + 6, "%d of %d", n_cards, n_put);
    cr_assert(rss == r.rss && threads >= 1);
    hl_free(block);
    hl_system_free(s);
}
