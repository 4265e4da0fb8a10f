/* Starts a worker that outlives its starter: fork, setsid, exec of this same program. The worker
 * says through a pipe whether it started, so `hoplab run --detach` prints the run or the failure.
 */
#ifndef HL_APP_PROC_DETACH_H
#define HL_APP_PROC_DETACH_H

#include "engine/base/err.h"

typedef struct hl_detach_options {
    char *const *argv;    /* of the worker, NULL at the end; argv[0] is its name */
    const char *log_path; /* stdout and stderr are appended here; NULL: /dev/null until the
                           * worker calls hl_streams_redirect */
    int64_t timeout_ms;   /* for the worker's word; <= 0: none */
    int give_up_fd;       /* readable: do not wait for the word any longer; 0: none */
} hl_detach_options;

typedef struct hl_detach_result {
    bool started;
    int64_t pid;      /* of the worker; a starter that lives on reaps it with waitpid */
    int exit_status;  /* if not started: what this process should exit with */
    char run_id[128]; /* if started */
    char message[HL_ERR_MESSAGE_MAX]; /* if not started: why */
} hl_detach_result;

/* The worker gets the environment, working directory and argv, no open file but the standard
 * streams, default signals and no controlling terminal. A worker that reports its failure or dies
 * gives HL_OK with started = false. IO, NOMEM: it could not be made. STATE: no word in time, the
 * worker goes on; pid is set even then. */
HL_MUST_CHECK hl_status hl_detach_start(const hl_detach_options *options, hl_detach_result *out);

/* Worker side; all do nothing in a process that was not started so. */

/* Call first in main, before any thread: true in a detached worker. */
bool hl_detach_init(void);
void hl_detach_report_started(const char *run_id);
void hl_detach_report_failed(int exit_status, const char *message);

#endif
