/* The one pool of worker threads that kernels run on: pinned, spinning for a few tens of
 * microseconds between regions, then asleep. The thread that calls run() is worker 0. */
#ifndef HL_BASE_TEAM_H
#define HL_BASE_TEAM_H

#include "engine/base/err.h"
#include "kernels/hl_kernel.h"

/* n_threads 0: one per core of the affinity mask. Worker i is pinned to the i-th core of the mask if
 * the team fills the mask, more than one worker runs and no other team is pinned already; the calling
 * thread is pinned too, and freed again by hl_team_free, which must be called on the same thread. */
HL_MUST_CHECK hl_status hl_team_new(int n_threads, hl_team **out);
void hl_team_free(hl_team *t);

int hl_team_cores(void); /* cores in the affinity mask, whether or not a team is pinned */

/* Gives the calling thread all cores that the process had before a team was pinned. */
void hl_team_unpin_self(void);

#endif
