/* Removing runs and checkpoints. What is to go is first renamed to .trash-*, so that a reader sees
 * it whole or not at all, then removed; what a crash leaves in between is removed by the next
 * sweep. Symbolic links are never followed, and nothing outside a run directory is touched. */
#ifndef HL_STORE_RETENTION_H
#define HL_STORE_RETENTION_H

#include "engine/base/err.h"

/* Removes a whole run. STATE: it is being written. ARG: not a run directory of ours, or a link. */
HL_MUST_CHECK hl_status hl_run_remove(const char *dir);

/* Moves a whole run to .trash/ beside it, where no list looks; errors as above. */
HL_MUST_CHECK hl_status hl_run_discard(const char *dir);
/* Brings it back to `dir`. NOTFOUND: it is not there (any more). STATE: there is such a run. */
HL_MUST_CHECK hl_status hl_run_restore(const char *dir);
/* Removes what was discarded of a store; gives how many runs. Errors: IO. */
HL_MUST_CHECK hl_status hl_trash_empty(const char *runs_dir, int64_t *n_runs);

/* Removes <run_dir>/ckpt/<name>. The caller holds the run's lock. ARG: no such plain name. */
HL_MUST_CHECK hl_status hl_checkpoint_remove(const char *run_dir, const char *name);

/* Which checkpoints to keep: steps ascending, n of them. best: a step, or -1. Kept are the last,
 * the best, and those whose step is a multiple of every (0: none). */
typedef struct hl_retention {
    int64_t best, every;
} hl_retention;
void hl_retention_choose(hl_retention rule, const int64_t *steps, size_t n, bool *keep);

/* Removes .trash-* entries of a directory; what cannot be removed stays. */
void hl_trash_sweep(const char *dir);

#endif
