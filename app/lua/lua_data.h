/* Data for experiments: what scripts open, and the source that the driver gets of it. */
#ifndef HL_LUA_DATA_H
#define HL_LUA_DATA_H

#include <lua.h>

#include "app/exp/experiment.h"

/* Fields of a table; the table keeps the text. */
const char *hl_lua_field_text(lua_State *L, int table, const char *name); /* NULL: none */
lua_Number hl_lua_field_number(lua_State *L, int table, const char *name, lua_Number otherwise);

/* e->source from an opened corpus, set of images or series at stack index `handle` and the options of the
 * experiment's data at `options`. e->seed, fp64 and the batch sizes are set. */
HL_MUST_CHECK hl_status hl_lua_take_source(lua_State *L, int handle, int options, hl_experiment *e);

/* The same of an opened series; *is_one: it is one. */
HL_MUST_CHECK hl_status hl_lua_take_series(lua_State *L, int handle, int options, hl_experiment *e,
                                           bool *is_one);

#endif
