/* Runs that somebody is going to make: the trials a sweep has not started yet. They have no
 * directory; while the sweep lives its list of them stands in <runs>/.queue/<sweep>.<pid>/, with a
 * lock as in a run. A sweep that was killed announces nothing. Of job arrays of Slurm nobody lives
 * while they wait: a task waits from its submission (<runs>/slurm/<sweep>/<n>, app/sweep/slurm.h)
 * until it has written its first line, until somebody who asked Slurm has noted that it is gone, or
 * for a month. */
#ifndef HL_STORE_WAITING_H
#define HL_STORE_WAITING_H

#include "engine/base/err.h"

typedef struct hl_waiting hl_waiting;

/* What dead sweeps left there is removed. Errors: IO, NOMEM. */
HL_MUST_CHECK hl_status hl_waiting_open(const char *runs_dir, const char *sweep, hl_waiting **out);
/* The names of those that wait now, first come first; replaces what was there. */
HL_MUST_CHECK hl_status hl_waiting_put(hl_waiting *w, const char *const *names, size_t n);
void hl_waiting_close(hl_waiting *w); /* nothing waits any more; NULL is fine */

typedef struct hl_waiting_run {
    const char *name, *sweep, *host;
    const char *dir; /* where it would be; names it, and is not there */
    const char *job; /* "41_2": of Slurm; "": of none */
    double since;    /* unix seconds */
} hl_waiting_run;
/* Which tasks of a submission Slurm no longer has: a file in its folder, their numbers, a line
 * each. */
#define HL_WAITING_GONE "gone"

/* All that wait in a store, of sweeps that live as far as one can tell. Stops at a failure of
 * `each`. Errors: NOMEM, and those of `each`. */
HL_MUST_CHECK hl_status hl_waiting_each(const char *runs_dir,
                                        hl_status (*each)(void *self, const hl_waiting_run *r),
                                        void *self);

#endif
