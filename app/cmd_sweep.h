/* Shared by the files of `hoplab sweep`; never leaves app. */
#ifndef HL_APP_CMD_SWEEP_H
#define HL_APP_CMD_SWEEP_H

#include "app/cli.h"
#include "app/proc/signals.h"
#include "app/sweep/sweep.h"
#include "engine/base/vec.h"

typedef struct hl_sweep_session {
    const hl_cli *cli;
    const char *script;
    char *script_dir;
    hl_signals *signals;
    hl_sweep sweep;
    HL_VEC(char *) words; /* of the last worker's command line, owned, NULL at the end */
    FILE *out;            /* progress: standard error with --json */
    int64_t jobs, threads;
    bool usage; /* the error lies in the command line */
    char hint[512];
} hl_sweep_session;

/* ---- telling (cmd_sweep_tell.c) ---- */

void hl_sweep_tell_change(void *session, const hl_trial *t); /* for hl_sweep_queue.changed */
void hl_sweep_tell_overview(const hl_sweep_session *s);
void hl_sweep_tell_trials(const hl_sweep_session *s);
/* Table or JSON; gives the exit status. */
int hl_sweep_tell_results(const hl_sweep_session *s);
/* What did not get to its end, in the end again: the lines above may be far away. Gives the exit
 * status of the sweep. */
int hl_sweep_tell_failures(const hl_sweep_session *s);

#endif
