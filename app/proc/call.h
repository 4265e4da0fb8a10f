/* Runs another program to its end and keeps what it printed. */
#ifndef HL_APP_PROC_CALL_H
#define HL_APP_PROC_CALL_H

#include <sys/types.h>

#include "engine/base/str.h"

typedef struct hl_call {
    int exit_status; /* 128 + the signal's number if one killed it */
    hl_str out, err; /* at most 64 MiB of each; what comes after that is dropped */
} hl_call;           /* {0} is empty */

/* argv[0] is looked for on PATH. The program gets this environment and working directory, an empty
 * standard input, default signals, and a process group of its own: Ctrl-C is for this process.
 * Waits without a limit. Errors: NOTFOUND (there is no such program), IO, NOMEM. */
HL_MUST_CHECK hl_status hl_call_run(char *const *argv, hl_call *out);
/* Only starts it, so: its output goes to two descriptors, which may be one, or -1: nowhere; the
 * caller waits. */
HL_MUST_CHECK hl_status hl_call_spawn(char *const *argv, int out_fd, int err_fd, pid_t *pid);
void hl_call_done(hl_call *c);
/* What it said on standard error, or else on standard output, in one line; "" for nothing. */
void hl_call_complaint(const hl_call *c, char *buf, size_t n);

#endif
