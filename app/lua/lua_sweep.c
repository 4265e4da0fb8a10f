#include "app/lua/sweep.h"

#include "app/lua/host_internal.h"
#include "app/lua/lua_json.h"

/* The options of runner.sweep as a table on top. */
static void push_request(lua_State *L, const hl_sweep_request *r)
{
    lua_newtable(L);
    hl_lua_push_overrides(L, r->sets, r->n_sets);
    lua_setfield(L, -2, "sets");
    lua_pushinteger(L, r->repeats);
    lua_setfield(L, -2, "repeats");
    lua_pushinteger(L, r->random);
    lua_setfield(L, -2, "random");
    if (r->name) {
        lua_pushstring(L, r->name);
        lua_setfield(L, -2, "name");
    }
}

hl_status hl_lua_plan_sweep(hl_lua *h, const hl_sweep_request *r, hl_json **plan)
{
    hl_status st = HL_OK;
    lua_State *L = h->L;
    const int base = lua_gettop(L);
    hl_str json = {0};
    HL_TRY(hl_lua_load_description(h, r->script));
    push_request(L, r);
    HL_TRY(hl_lua_call_runner(h, "sweep", 2));
    HL_TRY(hl_lua_to_json(L, "sweep", &json));
    HL_TRY(hl_json_parse(json.s, json.n, plan));
out:
    lua_settop(L, base);
    hl_str_done(&json);
    return st;
}

hl_status hl_lua_sweep_wants(hl_lua *h, bool *wanted)
{
    lua_State *L = h->L;
    const int base = lua_gettop(L);
    hl_lua_push_experiment(h);
    const hl_status st = hl_lua_call_runner(h, "sweep_wants", 1);
    if (st == HL_OK)
        *wanted = lua_toboolean(L, -1);
    lua_settop(L, base);
    return st;
}

hl_status hl_lua_sweep_key(hl_lua *h, uint64_t *key)
{
    hl_status st = HL_OK;
    lua_State *L = h->L;
    const int base = lua_gettop(L);
    hl_str json = {0};
    hl_lua_push_experiment(h);
    HL_TRY(hl_lua_call_runner(h, "config", 1));
    HL_TRY(hl_lua_to_json(L, "configuration", &json));
    *key = hl_lua_hash_experiment(L, hl_str_text(&json));
out:
    lua_settop(L, base);
    hl_str_done(&json);
    return st;
}
