/* A library that pretends to be the vendor's, for tests: two cards, of which the second knows only
 * its memory. FAKE_NVML_DEAD makes the driver refuse. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct card {
    int number;
} card;

static card cards[2] = {{0}, {1}};
enum { NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9 };

#define CALL(name) int name

CALL(nvmlInit_v2)(void);
CALL(nvmlShutdown)(void);
CALL(nvmlSystemGetDriverVersion)(char *out, unsigned n);
CALL(nvmlDeviceGetCount_v2)(unsigned *n);
CALL(nvmlDeviceGetHandleByIndex_v2)(unsigned i, void **out);
CALL(nvmlDeviceGetName)(void *d, char *out, unsigned n);
CALL(nvmlDeviceGetUtilizationRates)(void *d, unsigned out[2]);
CALL(nvmlDeviceGetMemoryInfo)(void *d, unsigned long long out[3]);
CALL(nvmlDeviceGetPowerUsage)(void *d, unsigned *out);
CALL(nvmlDeviceGetTemperature)(void *d, int which, unsigned *out);
CALL(nvmlDeviceGetClockInfo)(void *d, int which, unsigned *out);

CALL(nvmlDeviceGetPcieThroughput)(void *d, int which, unsigned *out);

typedef struct process {
    unsigned pid;
    unsigned long long used;
    unsigned a, b;
} process;
CALL(nvmlDeviceGetComputeRunningProcesses_v3)(void *d, unsigned *n, process *out);

static int knows(const void *d)
{
    return ((const card *)d)->number == 0 ? 0 : NOT_SUPPORTED;
}

CALL(nvmlInit_v2)(void)
{
    return getenv("FAKE_NVML_DEAD") ? DRIVER_NOT_LOADED : 0;
}

CALL(nvmlShutdown)(void)
{
    return 0;
}

CALL(nvmlSystemGetDriverVersion)(char *out, unsigned n)
{
    snprintf(out, n, "555.42");
    return 0;
}

CALL(nvmlDeviceGetCount_v2)(unsigned *n)
{
    *n = 2;
    return 0;
}

CALL(nvmlDeviceGetHandleByIndex_v2)(unsigned i, void **out)
{
    *out = &cards[i];
    return 0;
}

CALL(nvmlDeviceGetName)(void *d, char *out, unsigned n)
{
    snprintf(out, n, "Fake %c100", knows(d) ? 'B' : 'A');
    return 0;
}

CALL(nvmlDeviceGetUtilizationRates)(void *d, unsigned out[2])
{
    out[0] = 97;
    out[1] = 40;
    return knows(d);
}

CALL(nvmlDeviceGetMemoryInfo)(void *d, unsigned long long out[3])
{
    (void)d;
    out[0] = 80ull << 30;
    out[1] = 22ull << 30;
    out[2] = 58ull << 30;
    return 0;
}

CALL(nvmlDeviceGetPowerUsage)(void *d, unsigned *out)
{
    *out = 392500;
    return knows(d);
}

CALL(nvmlDeviceGetTemperature)(void *d, int which, unsigned *out)
{
    *out = 71;
    return which == 0 ? knows(d) : NOT_SUPPORTED;
}

CALL(nvmlDeviceGetClockInfo)(void *d, int which, unsigned *out)
{
    *out = 1410;
    return which == 1 ? knows(d) : NOT_SUPPORTED;
}

CALL(nvmlDeviceGetPcieThroughput)(void *d, int which, unsigned *out)
{
    *out = which == 0 ? 1500000 : 250000;
    return knows(d);
}

CALL(nvmlDeviceGetComputeRunningProcesses_v3)(void *d, unsigned *n, process *out)
{
    if (knows(d))
        return NOT_SUPPORTED;
    out[0] = (process){(unsigned)getpid(), 50ull << 30, 0, 0};
    out[1] = (process){1, 7ull << 30, 0, 0};
    out[2] = (process){2, ~0ull, 0, 0};
    *n = 3;
    return 0;
}
