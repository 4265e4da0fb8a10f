/* The user's editor, on this process's terminal. */
#ifndef HL_APP_PROC_EDITOR_H
#define HL_APP_PROC_EDITOR_H

#include "engine/base/err.h"

/* $VISUAL, else $EDITOR, else vi, with a file; waits until it ends. The terminal must have been
 * given back. An editor that is stopped (Ctrl-Z) is woken at once: there is no shell to come back
 * from. Errors: IO (it cannot be started, or ended badly: the message names it). */
HL_MUST_CHECK hl_status hl_editor_run(const char *path);

#endif
