#define _GNU_SOURCE
#include "app/proc/system.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"

/* One card's PCIe in turn: the driver counts for 40 ms, and the run waits. */
enum { PCIE_EVERY_S = 60 };

struct hl_system {
    char *folder;
    hl_nvml *nvml;
    /* of the reading before */
    int64_t t_ns;
    int64_t pcie_ns; /* when a card's PCIe was read; */
    int pcie_card;   /* the next one's */
    double busy, ticks, own_s, written;
};

hl_status hl_system_new(const char *folder, hl_nvml *nvml, hl_system **out)
{
    hl_system *s = hl_alloc_zero(1, sizeof *s);
    char *copy = hl_strdup(folder);
    if (!s || !copy) {
        hl_free(s);
        hl_free(copy);
        hl_nvml_close(nvml);
        return HL_E_NOMEM;
    }
    *s = (hl_system){.folder = copy,
                     .nvml = nvml,
                     .busy = (double)NAN,
                     .ticks = (double)NAN,
                     .own_s = (double)NAN,
                     .written = (double)NAN};
    *out = s;
    return HL_OK;
}

void hl_system_free(hl_system *s)
{
    if (!s)
        return;
    hl_nvml_close(s->nvml);
    hl_free(s->folder);
    hl_free(s);
}

/* The head of a file of /proc, whose size nobody knows. */
static bool read_head(const char *path, char *out, size_t cap)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, out, cap - 1);
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = 0;
    return n > 0;
}

/* The number behind a word at the beginning of a line; NAN: there is none. */
static double number_behind(const char *text, const char *word)
{
    const size_t n = strlen(word);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, word, n) == 0)
            return strtod(line + n, NULL);
        if (!*line)
            break;
    }
    return (double)NAN;
}

static void read_processors(hl_system *s, hl_system_reading *r)
{
    enum { IDLE = 3, IO_WAIT = 4, FIELDS = 8 };
    char text[512];
    double all = 0, idle = 0;
    char *at = text + 3;
    if (!read_head("/proc/stat", text, sizeof text) || strncmp(text, "cpu", 3) != 0)
        return;
    for (int i = 0; i < FIELDS; i++) {
        const double v = strtod(at, &at);
        all += v;
        idle += i == IDLE || i == IO_WAIT ? v : 0;
    }
    r->cpu = all > s->ticks ? (all - idle - s->busy) / (all - s->ticks) : (double)NAN;
    s->ticks = all;
    s->busy = all - idle;
}

static void read_process(hl_system *s, hl_system_reading *r, double seconds)
{
    char text[4096];
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) == 0) {
        const double own = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
        r->own_cores = seconds > 0 ? (own - s->own_s) / seconds : (double)NAN;
        s->own_s = own;
    }
    if (read_head("/proc/self/status", text, sizeof text)) {
        r->rss = 1024 * number_behind(text, "VmRSS:");
        r->n_threads = number_behind(text, "Threads:");
    }
    if (read_head("/proc/self/io", text, sizeof text)) {
        const double written = number_behind(text, "write_bytes:");
        r->written_per_s = seconds > 0 ? (written - s->written) / seconds : (double)NAN;
        s->written = written;
    }
}

void hl_system_read(hl_system *s, hl_system_reading *out)
{
    const double none = (double)NAN;
    const int64_t now = hl_clock_mono_ns();
    const double seconds = s->t_ns ? (double)(now - s->t_ns) * 1e-9 : 0;
    char text[2048];
    struct statvfs fs;
    *out = (hl_system_reading){.cpu = none,
                               .own_cores = none,
                               .memory_used = none,
                               .memory_total = none,
                               .rss = none,
                               .n_threads = none,
                               .disk_free = none,
                               .written_per_s = none};
    read_processors(s, out);
    read_process(s, out, seconds);
    if (read_head("/proc/meminfo", text, sizeof text)) {
        out->memory_total = 1024 * number_behind(text, "MemTotal:");
        out->memory_used = out->memory_total - 1024 * number_behind(text, "MemAvailable:");
    }
    if (statvfs(s->folder, &fs) == 0)
        out->disk_free = (double)fs.f_bavail * (double)fs.f_frsize;
    out->n_gpus = hl_nvml_count(s->nvml);
    for (int i = 0; i < out->n_gpus; i++)
        hl_nvml_read(s->nvml, i, &out->gpu[i]);
    if (out->n_gpus && now - s->pcie_ns >= PCIE_EVERY_S * 1000000000ll) {
        const int i = s->pcie_card++ % out->n_gpus;
        hl_nvml_read_pcie(s->nvml, i, &out->gpu[i]);
        s->pcie_ns = now;
    }
    s->t_ns = now;
}

/* ---- as series ---- */

typedef struct value {
    const char *name;
    bool wide;
    double v;
} value;

static void put_values(const value *v, size_t n, const char *prefix, hl_system_put *put, void *self)
{
    char tag[64];
    for (size_t i = 0; i < n; i++) {
        snprintf(tag, sizeof tag, "sys/%s%s", prefix, v[i].name);
        if (!isnan(v[i].v))
            put(self, tag, v[i].wide, v[i].v);
    }
}

void hl_system_each(const hl_system_reading *r, hl_system_put *put, void *self)
{
    const value host[] = {{"cpu_percent", false, 100 * r->cpu},
                          {"process_cores", false, r->own_cores},
                          {"memory_bytes", true, r->memory_used},
                          {"rss_bytes", true, r->rss},
                          {"threads", false, r->n_threads},
                          {"disk_free_bytes", true, r->disk_free},
                          {"written_bytes_per_s", true, r->written_per_s}};
    put_values(host, sizeof host / sizeof host[0], "", put, self);
    for (int i = 0; i < r->n_gpus; i++) {
        const hl_gpu *g = &r->gpu[i];
        const value card[] = {{"util_percent", false, 100 * g->utilization},
                              {"memory_bytes", true, g->memory_used},
                              {"memory_own_bytes", true, g->memory_own},
                              {"memory_total_bytes", true, g->memory_total},
                              {"other_processes", false, g->n_others},
                              {"memory_other_bytes", true, g->memory_others},
                              {"pcie_sent_bytes_per_s", true, g->pcie_sent},
                              {"pcie_received_bytes_per_s", true, g->pcie_received},
                              {"power_w", false, g->power_w},
                              {"power_limit_w", false, g->power_limit_w},
                              {"temperature_c", false, g->temperature_c},
                              {"clock_mhz", false, g->clock_mhz}};
        char prefix[24];
        snprintf(prefix, sizeof prefix, "gpu.%d/", i);
        put_values(card, sizeof card / sizeof card[0], prefix, put, self);
    }
}
