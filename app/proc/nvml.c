#define _GNU_SOURCE
#include "app/proc/nvml.h"

#include <dlfcn.h>
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/str.h"

/* The few declarations that are needed, as the library's own manual gives them. */
typedef void *device;
typedef struct rates {
    unsigned gpu, memory; /* percent */
} rates;
typedef struct memory_info {
    unsigned long long total, free, used;
} memory_info;
typedef struct process_info { /* of the third version of its function */
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
} process_info;
enum { HL_GPU_USERS_MAX = 8 };
enum { SUCCESS = 0, TEMPERATURE_GPU = 0, CLOCK_SM = 1, PCIE_SENT = 0, PCIE_RECEIVED = 1 };

/* function, type of its arguments */
#define FUNCTIONS(X)                                                                               \
    X(nvmlInit_v2, (void))                                                                         \
    X(nvmlShutdown, (void))                                                                        \
    X(nvmlSystemGetDriverVersion, (char *, unsigned))                                              \
    X(nvmlDeviceGetCount_v2, (unsigned *))                                                         \
    X(nvmlDeviceGetHandleByIndex_v2, (unsigned, device *))                                         \
    X(nvmlDeviceGetName, (device, char *, unsigned))                                               \
    X(nvmlDeviceGetUtilizationRates, (device, rates *))                                            \
    X(nvmlDeviceGetMemoryInfo, (device, memory_info *))                                            \
    X(nvmlDeviceGetPowerUsage, (device, unsigned *))                                               \
    X(nvmlDeviceGetEnforcedPowerLimit, (device, unsigned *))                                       \
    X(nvmlDeviceGetTemperature, (device, int, unsigned *))                                         \
    X(nvmlDeviceGetClockInfo, (device, int, unsigned *))                                           \
    X(nvmlDeviceGetPcieThroughput, (device, int, unsigned *))                                      \
    X(nvmlDeviceGetComputeRunningProcesses_v3, (device, unsigned *, process_info *))

typedef struct api {
#define FUNCTION_MEMBER(name, arguments) int(*name) arguments; /* NULL: it has none */
    FUNCTIONS(FUNCTION_MEMBER)
#undef FUNCTION_MEMBER
} api;

struct hl_nvml {
    void *library;
    api f;
    bool begun;
    int n;
    device at[HL_GPUS_MAX];
    char driver[80];
};

/* A function's address as ISO C lets one take it from dlsym. */
static void find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
}

static void find_all(hl_nvml *n)
{
#define FUNCTION_FIND(name, arguments) find(n->library, #name, &n->f.name);
    FUNCTIONS(FUNCTION_FIND)
#undef FUNCTION_FIND
}

static hl_status begin(hl_nvml *n, const char *library)
{
    unsigned count = 0;
    n->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!n->library)
        return hl_err_set(HL_E_UNSUPPORTED, "%s is not there", library);
    find_all(n);
    if (!n->f.nvmlInit_v2 || !n->f.nvmlShutdown || !n->f.nvmlDeviceGetCount_v2 ||
        !n->f.nvmlDeviceGetHandleByIndex_v2)
        return hl_err_set(HL_E_UNSUPPORTED, "%s is no NVML that we know", library);
    const int st = n->f.nvmlInit_v2();
    if (st != SUCCESS)
        return hl_err_set(HL_E_UNSUPPORTED, "%s: the driver does not answer (%d)", library, st);
    n->begun = true;
    if (n->f.nvmlDeviceGetCount_v2(&count) != SUCCESS || count == 0)
        return hl_err_set(HL_E_UNSUPPORTED, "%s: the driver has no card", library);
    for (unsigned i = 0; i < count && n->n < HL_GPUS_MAX; i++)
        if (n->f.nvmlDeviceGetHandleByIndex_v2(i, &n->at[n->n]) == SUCCESS)
            n->n++;
    if (n->f.nvmlSystemGetDriverVersion &&
        n->f.nvmlSystemGetDriverVersion(n->driver, sizeof n->driver) != SUCCESS)
        n->driver[0] = 0;
    n->driver[sizeof n->driver - 1] = 0;
    return n->n ? HL_OK : hl_err_set(HL_E_UNSUPPORTED, "%s: no card may be looked at", library);
}

hl_status hl_nvml_open(const char *library, hl_nvml **out)
{
    const char *named = getenv("HOPLAB_NVML");
    library = library ? library : named ? named : "libnvidia-ml.so.1";
    if (!*library || strcmp(library, "none") == 0)
        return hl_err_set(HL_E_UNSUPPORTED, "HOPLAB_NVML says not to look");
    hl_nvml *n = hl_alloc_zero(1, sizeof *n);
    if (!n)
        return HL_E_NOMEM;
    const hl_status st = begin(n, library);
    if (st == HL_OK)
        *out = n;
    else
        hl_nvml_close(n);
    return st;
}

void hl_nvml_close(hl_nvml *n)
{
    if (!n)
        return;
    if (n->begun)
        (void)n->f.nvmlShutdown();
    if (n->library)
        dlclose(n->library);
    hl_free(n);
}

int hl_nvml_count(const hl_nvml *n)
{
    return n ? n->n : 0;
}

const char *hl_nvml_driver(const hl_nvml *n)
{
    return n->driver;
}

static void read_memory(const hl_nvml *n, device d, hl_gpu *g)
{
    memory_info m;
    if (!n->f.nvmlDeviceGetMemoryInfo || n->f.nvmlDeviceGetMemoryInfo(d, &m) != SUCCESS)
        return;
    g->memory_total = (double)m.total;
    g->memory_used = (double)m.used;
}

/* The owner of a process, if that one is not among the n users yet. */
static int add_user(unsigned pid, uid_t *user, int n, char *names, size_t size)
{
    char path[32], room[1024];
    struct stat at;
    struct passwd entry, *known = NULL;
    snprintf(path, sizeof path, "/proc/%u", pid);
    if (n == HL_GPU_USERS_MAX || stat(path, &at) != 0)
        return n;
    for (int i = 0; i < n; i++)
        if (user[i] == at.st_uid)
            return n;
    const size_t used = strlen(names);
    if (getpwuid_r(at.st_uid, &entry, room, sizeof room, &known) == 0 && known)
        snprintf(names + used, size - used, "%s%s", n ? ", " : "", known->pw_name);
    else
        snprintf(names + used, size - used, "%suser %u", n ? ", " : "", (unsigned)at.st_uid);
    user[n] = at.st_uid;
    return n + 1;
}

/* Who computes there, we and others. */
static void read_processes(const hl_nvml *n, device d, hl_gpu *g)
{
    process_info p[HL_GPU_PROCESSES_MAX];
    uid_t user[HL_GPU_USERS_MAX];
    int n_users = 0;
    unsigned count = HL_GPU_PROCESSES_MAX;
    const unsigned own = (unsigned)getpid();
    if (!n->f.nvmlDeviceGetComputeRunningProcesses_v3 ||
        n->f.nvmlDeviceGetComputeRunningProcesses_v3(d, &count, p) != SUCCESS)
        return;
    g->memory_own = g->n_others = g->memory_others = 0;
    for (unsigned i = 0; i < count && i < HL_GPU_PROCESSES_MAX; i++) {
        const bool known = p[i].used != ~0ull; /* a container may not be told */
        if (p[i].pid != own) {
            g->n_others++;
            n_users = add_user(p[i].pid, user, n_users, g->users, sizeof g->users);
        }
        if (known)
            *(p[i].pid == own ? &g->memory_own : &g->memory_others) += (double)p[i].used;
    }
}

/* A number of a card in another unit; get NULL: the library has no such function. */
static double number(int (*get)(device, unsigned *), device d, double unit)
{
    unsigned v = 0;
    return get && get(d, &v) == SUCCESS ? v * unit : (double)NAN;
}

static double number_of(int (*get)(device, int, unsigned *), device d, int which)
{
    unsigned v = 0;
    return get && get(d, which, &v) == SUCCESS ? v : (double)NAN;
}

void hl_nvml_read(const hl_nvml *n, int i, hl_gpu *out)
{
    const double none = (double)NAN;
    const api *f = &n->f;
    device d = n->at[i];
    rates r;
    *out = (hl_gpu){.utilization = none,
                    .memory_total = none,
                    .memory_used = none,
                    .memory_own = none,
                    .n_others = none,
                    .memory_others = none,
                    .pcie_sent = none,
                    .pcie_received = none,
                    .power_w = none,
                    .power_limit_w = none,
                    .temperature_c = none,
                    .clock_mhz = none};
    if (!f->nvmlDeviceGetName || f->nvmlDeviceGetName(d, out->name, sizeof out->name) != SUCCESS)
        snprintf(out->name, sizeof out->name, "unknown");
    out->name[sizeof out->name - 1] = 0;
    if (f->nvmlDeviceGetUtilizationRates && f->nvmlDeviceGetUtilizationRates(d, &r) == SUCCESS)
        out->utilization = r.gpu / 100.0;
    read_memory(n, d, out);
    read_processes(n, d, out);
    out->power_w = number(f->nvmlDeviceGetPowerUsage, d, 1e-3);
    out->power_limit_w = number(f->nvmlDeviceGetEnforcedPowerLimit, d, 1e-3);
    out->temperature_c = number_of(f->nvmlDeviceGetTemperature, d, TEMPERATURE_GPU);
    out->clock_mhz = number_of(f->nvmlDeviceGetClockInfo, d, CLOCK_SM);
}

void hl_nvml_read_pcie(const hl_nvml *n, int i, hl_gpu *out)
{
    const double kb = 1000; /* the library counts in these */
    out->pcie_sent = kb * number_of(n->f.nvmlDeviceGetPcieThroughput, n->at[i], PCIE_SENT);
    out->pcie_received = kb * number_of(n->f.nvmlDeviceGetPcieThroughput, n->at[i], PCIE_RECEIVED);
}
