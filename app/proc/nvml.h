/* What the vendor's library says of the graphics cards. It is opened at run time and nothing of it
 * is needed to build; what it does not know, or has no function for, is NAN. */
#ifndef HL_PROC_NVML_H
#define HL_PROC_NVML_H

#include "engine/base/err.h"

enum { HL_GPUS_MAX = 16, HL_GPU_PROCESSES_MAX = 64 };

typedef struct hl_gpu {
    char name[96];
    double utilization;                           /* 0 to 1, over the last moments */
    double memory_total, memory_used, memory_own; /* bytes; own: of this process */
    double n_others, memory_others; /* other processes that compute there; bytes of those known */
    char users[64];                 /* whose they are: "ann, bob"; "": unknown */
    double pcie_sent, pcie_received; /* bytes a second; NAN where hl_nvml_read_pcie was not asked */
    double power_w, power_limit_w, temperature_c, clock_mhz;
} hl_gpu;

typedef struct hl_nvml hl_nvml;

/* library NULL: HOPLAB_NVML, else "libnvidia-ml.so.1"; "none" (or an empty HOPLAB_NVML) opens
 * nothing. Errors: UNSUPPORTED (there is no such library, or it knows no card: the message says
 * which), NOMEM. May take a second where the driver sleeps. */
HL_MUST_CHECK hl_status hl_nvml_open(const char *library, hl_nvml **out);
void hl_nvml_close(hl_nvml *n);               /* NULL is fine */
int hl_nvml_count(const hl_nvml *n);          /* of cards, at most HL_GPUS_MAX; NULL: 0 */
const char *hl_nvml_driver(const hl_nvml *n); /* its version, or "" */
/* Some hundred microseconds up to some milliseconds. 0 <= i < count. */
void hl_nvml_read(const hl_nvml *n, int i, hl_gpu *out);
/* Its pcie_sent and pcie_received. The driver counts for 20 ms each. */
void hl_nvml_read_pcie(const hl_nvml *n, int i, hl_gpu *out);

#endif
