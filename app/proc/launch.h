/* Starts a detached worker without waiting for its word: for the screen, which never waits. */
#ifndef HL_APP_PROC_LAUNCH_H
#define HL_APP_PROC_LAUNCH_H

#include "app/proc/detach.h"

typedef struct hl_launch hl_launch;

/* The command line `argv` (NULL at the end, copied) in a worker of its own, as hl_detach_start. */
HL_MUST_CHECK hl_status hl_launch_start(char *const *argv, hl_launch **out);
int hl_launch_fd(const hl_launch *l); /* readable once the worker's word is there */
/* false: not yet. A worker that could not be made at all has started false and a message. */
bool hl_launch_result(const hl_launch *l, hl_detach_result *out);
/* Lets a worker that has ended go from the process table; true once it has. Never waits. */
bool hl_launch_reap(hl_launch *l);
/* Does not wait: a worker that is still starting goes on starting. NULL is fine. */
void hl_launch_free(hl_launch *l);

#endif
