/* Starts a program and goes on: nothing waits for it, and its output goes nowhere. */
#ifndef HL_APP_PROC_SPAWN_H
#define HL_APP_PROC_SPAWN_H

#include "engine/base/err.h"

/* As hl_call_run (call.h) starts one. Who started it asks hl_spawn_ended now and then. Errors:
 * NOTFOUND (there is no such program), IO, NOMEM. */
HL_MUST_CHECK hl_status hl_spawn_start(char *const *argv, int64_t *pid);
bool hl_spawn_ended(int64_t pid); /* it has, and is gone from the process table. Never waits. */

#endif
