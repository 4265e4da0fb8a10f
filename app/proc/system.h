/* What the machine does while a run trains: processor, memory, disk, cards. Read now and then by
 * the run itself and logged as series (hl_system_log), so that finished runs show it too. */
#ifndef HL_PROC_SYSTEM_H
#define HL_PROC_SYSTEM_H

#include "app/proc/nvml.h"

/* NAN: unknown. Rates are over the time since the reading before; of the first, since the process
 * began or unknown. */
typedef struct hl_system_reading {
    double cpu;                       /* share of all processors that was busy, 0 to 1 */
    double own_cores;                 /* processors that this process kept busy */
    double memory_used, memory_total; /* bytes; what programs could not have */
    double rss, n_threads;            /* of this process */
    double disk_free;                 /* bytes where runs are kept */
    double written_per_s;             /* bytes that this process gave to disks */
    int n_gpus;
    hl_gpu gpu[HL_GPUS_MAX];
} hl_system_reading;

typedef struct hl_system hl_system;
/* folder: where runs are kept (copied). nvml: owned from now on, or NULL. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_system_new(const char *folder, hl_nvml *nvml, hl_system **out);
void hl_system_free(hl_system *s); /* NULL is fine */
/* About 0.1 ms, and what the cards take: once a minute 40 ms for the PCIe of one of them. */
void hl_system_read(hl_system *s, hl_system_reading *out);

/* Each known number of a reading with its tag ("sys/cpu_percent", "sys/gpu.0/power_w"); wide: it is
 * counted in bytes. */
typedef void hl_system_put(void *self, const char *tag, bool wide, double value);
void hl_system_each(const hl_system_reading *r, hl_system_put *put, void *self);

#endif
