/* Runs that gave their device back: `pause --release` ends the process behind a checkpoint, and
 * resuming starts another one with the same command line. */
#ifndef HL_APP_RELEASE_H
#define HL_APP_RELEASE_H

#include "app/proc/detach.h"

/* Is the run in this directory paused, with its device given back? */
bool hl_release_is(const char *dir);
/* Starts it again where it was started first, from its last checkpoint, and waits for its word.
 * *out as hl_detach_start's. Changes the working directory. Errors: those of hl_detach_start;
 * STATE: it was not made by `hoplab run`. */
HL_MUST_CHECK hl_status hl_release_resume(const char *dir, hl_detach_result *out);

#endif
