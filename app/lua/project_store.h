/* What the project file says about the store, for commands that need no more of it. */
#ifndef HL_LUA_PROJECT_STORE_H
#define HL_LUA_PROJECT_STORE_H

#include "engine/base/err.h"

/* Runs the file in a state of its own that knows `hop.store` and takes everything else of `hop` for
 * what it does not need: no files, no processes, 16 MiB, a million instructions. *dir: the folder
 * it names, from the file's own (owned by the caller); NULL: it names none. Errors: FORMAT (it
 * raised, or went on for too long), IO, NOMEM. */
HL_MUST_CHECK hl_status hl_lua_project_store(const char *path, char **dir);

#endif
