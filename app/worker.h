/* A worker: one run, from a prepared experiment to the exit status. It owns the run directory, the
 * control socket, the signals and the display; the driver (app/exp) does the training. */
#ifndef HL_APP_WORKER_H
#define HL_APP_WORKER_H

#include "app/prepare.h"
#include "app/proc/signals.h"

typedef struct hl_worker_options {
    const char *script, *runs_dir;
    int argc; /* command line, for the record */
    char *const *argv;
    bool resume, resume_auto; /* --resume, --resume auto */
    const char *resume_run;   /* --resume RUN, or NULL: the newest that fits */
    const char *checkpoint;   /* of it; NULL: the last */
    const char *replay;       /* a run whose changes of knobs are made again; NULL: none */
    const char *on_alert;     /* program that is told of alerts; NULL: none */
    const char *sweep;        /* the run is a trial of it; NULL: of none */
    bool json, quiet, detached;
    int64_t log_every;
    hl_signals *signals;
    hl_str *result; /* NULL, or where the run's final JSON object goes */
} hl_worker_options;

/* Runs to the end and gives the exit status (docs/architecture.md, exit statuses). */
int hl_worker_run(const hl_cli *cli, const hl_worker_options *o, hl_prepared *p);

/* Wakes the worker's control thread; for the signal thread. */
void hl_worker_wake(void);

#endif
