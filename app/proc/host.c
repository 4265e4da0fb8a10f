/* Facts about the machine, from /proc and the system. */
#define _GNU_SOURCE
#include "app/proc/host.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "engine/base/str.h"
#include "engine/base/team.h"

/* The head of a /proc file (their size is given as 0, so hl_fs_read sees nothing). */
static bool read_head(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t n = 0;
    ssize_t got;
    while (n < cap - 1 && (got = read(fd, out + n, cap - 1 - n)) > 0)
        n += (size_t)got;
    close(fd);
    out[n] = '\0';
    return n > 0;
}

static void read_cpu(char *out, size_t cap)
{
    static const char *const keys[] = {"model name", "Model", "Hardware", "cpu model"};
    char text[8192];
    snprintf(out, cap, "unknown");
    struct utsname u;
    if (uname(&u) == 0)
        snprintf(out, cap, "%s", u.machine);
    if (!read_head("/proc/cpuinfo", text, sizeof text))
        return;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *line = strstr(text, keys[i]);
        const char *value = line ? strchr(line, ':') : NULL;
        if (!value)
            continue;
        value += 1 + strspn(value + 1, " \t");
        snprintf(out, cap, "%.*s", (int)strcspn(value, "\n"), value);
        return;
    }
}

void hl_host_read(hl_host *out)
{
    hl_host h = {.name = "unknown", .boot_id = "unknown", .memory_bytes = -1};
    if (gethostname(h.name, sizeof h.name - 1) != 0 || !h.name[0])
        snprintf(h.name, sizeof h.name, "unknown");
    char text[64];
    if (read_head("/proc/sys/kernel/random/boot_id", text, sizeof text))
        snprintf(h.boot_id, sizeof h.boot_id, "%.*s", (int)strcspn(text, "\n"), text);
    read_cpu(h.cpu, sizeof h.cpu);
    h.n_cores = hl_team_cores();
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0)
        h.memory_bytes = (int64_t)pages * page;
    *out = h;
}

/* The fields of /proc/PID/stat from the state on: the name before it may hold anything. */
static const char *read_stat(int64_t pid, char *buf, size_t cap)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    const char *end = pid > 0 && read_head(path, buf, cap) ? strrchr(buf, ')') : NULL;
    return end && end[1] == ' ' ? end + 2 : NULL;
}

char hl_host_process_state(int64_t pid)
{
    char buf[2048];
    const char *stat = read_stat(pid, buf, sizeof buf);
    if (!stat)
        return '\0';
    return stat[0];
}

int64_t hl_host_process_start(int64_t pid)
{
    char buf[2048];
    const char *stat = read_stat(pid, buf, sizeof buf);
    if (!stat || stat[0] == 'Z' || stat[0] == 'X')
        return -1;
    for (int field = 3; field < 22; field++) {
        stat = strchr(stat, ' ');
        if (!stat)
            return -1;
        stat++;
    }
    char text[24];
    int64_t ticks;
    snprintf(text, sizeof text, "%.*s", (int)strcspn(stat, " "), stat);
    return hl_parse_i64(text, &ticks) == HL_OK ? ticks : -1;
}
