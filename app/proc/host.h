/* Facts about the machine and about a source tree, for the record of a run. Nothing here fails:
 * what cannot be found out is "unknown", or -1. */
#ifndef HL_APP_PROC_HOST_H
#define HL_APP_PROC_HOST_H

#include "kernels/hl_types.h"

typedef struct hl_host {
    char name[256];
    char boot_id[40]; /* differs after each boot */
    char cpu[128];    /* model */
    int n_cores;      /* this process may run on */
    int64_t memory_bytes;
} hl_host;
void hl_host_read(hl_host *out);

/* When a process started, in clock ticks since boot: with pid and boot id this names a process for
 * good. -1: no such process, or it has ended. */
int64_t hl_host_process_start(int64_t pid);
char hl_host_process_state(int64_t pid); /* 'R' 'S' 'D' 'T' 'Z' ... as ps shows it; 0: none */

typedef struct hl_git {
    char commit[65];  /* hexadecimal or "unknown" */
    char branch[128]; /* "" when detached or unknown */
    int dirty; /* 1: a tracked file was changed or removed. 0: tracked files are as in the index and
                * nothing is staged. -1: cannot be told without hashing. Untracked files are not
                * looked at. */
} hl_git;
/* The repository that holds `dir`, read from .git without running git. */
void hl_git_read(const char *dir, hl_git *out);

#endif
