/* Shared by the files of `hoplab sweep`; never leaves app. */
#ifndef HL_APP_CMD_SWEEP_H
#define HL_APP_CMD_SWEEP_H

#include "app/cli.h"
#include "app/proc/signals.h"
#include "app/store/lock.h"
#include "app/sweep/sweep.h"
#include "engine/base/vec.h"

typedef struct hl_sweep_session {
    const hl_cli *cli;
    const char *program, *script, *runs, *scripts; /* for workers; absolute with --slurm */
    char *script_dir;
    char *owned[5]; /* of the above */
    hl_signals *signals;
    hl_sweep sweep;
    HL_VEC(char *) words;  /* of the last worker's command line, owned, NULL at the end */
    FILE *out;             /* progress: standard error with --json */
    int64_t jobs, threads; /* with --slurm: 0 where it decides itself */
    bool usage;            /* the error lies in the command line */
    bool submitting;       /* as far as the store with --slurm */
    char hint[512];
} hl_sweep_session;

/* The command line of a worker, for hl_sweep_queue and hl_slurm_array. */
char **hl_sweep_worker_line(void *session, const hl_trial *t, const char *resume);

/* ---- as a job array (cmd_sweep_slurm.c) ---- */

/* Checks --sbatch and --array, and makes paths absolute. Errors: ARG, STATE. */
HL_MUST_CHECK hl_status hl_sweep_slurm_prepare(hl_sweep_session *s);
/* Nobody else may submit this sweep until hl_lock_release. Errors: STATE, IO. */
HL_MUST_CHECK hl_status hl_sweep_slurm_lock(const hl_sweep_session *s, hl_lock **out);
/* Submits what is wanted and tells how to watch it; if nothing is, prints the results. *status: the
 * exit status. */
HL_MUST_CHECK hl_status hl_sweep_slurm_submit(hl_sweep_session *s, int *status);
/* What --dry-run prints: the files that would be written. */
HL_MUST_CHECK hl_status hl_sweep_slurm_describe(hl_sweep_session *s);

/* ---- telling (cmd_sweep_tell.c) ---- */

void hl_sweep_tell_change(void *session, const hl_trial *t); /* for hl_sweep_queue.changed */
void hl_sweep_tell_overview(const hl_sweep_session *s);
void hl_sweep_tell_trials(const hl_sweep_session *s);
/* Which jobs have trials that are queued, if any. */
void hl_sweep_tell_queued(const hl_sweep_session *s);
/* Table or JSON; gives the exit status. */
int hl_sweep_tell_results(const hl_sweep_session *s);
/* What did not get to its end, in the end again: the lines above may be far away. Gives the exit
 * status of the sweep. */
int hl_sweep_tell_failures(const hl_sweep_session *s);

#endif
