/* Runs that somebody is going to make: the trials a sweep has not started yet. They have no
 * directory; while the sweep lives its list of them stands in <runs>/.queue/<sweep>.<pid>/, with a
 * lock as in a run. A sweep that was killed announces nothing. */
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
    double since;    /* unix seconds */
} hl_waiting_run;
/* All that wait in a store, of sweeps that live as far as one can tell. Stops at a failure of
 * `each`. Errors: NOMEM, and those of `each`. */
HL_MUST_CHECK hl_status hl_waiting_each(const char *runs_dir,
                                        hl_status (*each)(void *self, const hl_waiting_run *r),
                                        void *self);

#endif
