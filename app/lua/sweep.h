/* From a script to the points of a sweep (scripts_lua/hop/sweep.lua). */
#ifndef HL_LUA_SWEEP_H
#define HL_LUA_SWEEP_H

#include "app/lua/experiment.h"
#include "engine/base/json.h"

typedef struct hl_sweep_request {
    const char *script;
    const hl_override *sets; /* of -s, with lists of values still in their texts */
    int n_sets;
    int64_t repeats, random; /* --repeat, --random; 0: not given */
    const char *name;        /* --name, or NULL */
} hl_sweep_request;

/* Runs the script, which returns a sweep or an experiment, and expands it:
 *   {"name": S, "fixed": [[path, text], ...], "points": [[[path, text, key], ...], ...]}
 * where key is the short name of a path that no other one has. The caller frees *plan. A wrong -s
 * is HL_E_NOTFOUND, as with hl_lua_load_experiment. */
HL_MUST_CHECK hl_status hl_lua_plan_sweep(hl_lua *h, const hl_sweep_request *r, hl_json **plan);

/* After hl_lua_load_experiment: does the sweep's `where` want this configuration? true without one.
 */
HL_MUST_CHECK hl_status hl_lua_sweep_wants(hl_lua *h, bool *wanted);

/* After hl_lua_load_experiment: hash of configuration and script before data is opened. It tells
 * trials apart as well as the identity of a run does, which also holds what follows from the data,
 * but costs no more than the script. */
HL_MUST_CHECK hl_status hl_lua_sweep_key(hl_lua *h, uint64_t *key);

#endif
