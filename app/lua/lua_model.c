#include "app/lua/model.h"

#include "app/lua/host_internal.h"
#include "app/lua/lua_json.h"

static void push_options(hl_lua *h, const hl_eval_request *r)
{
    lua_State *L = h->L;
    h->blank = r->quantize != NULL;
    lua_createtable(L, 0, 5);
    if (r->quantize) {
        hl_lua_push_json(L, r->quantize);
        lua_setfield(L, -2, "quantize");
    }
    if (r->config) {
        hl_lua_push_json(L, r->config);
        lua_setfield(L, -2, "config");
    }
    lua_pushboolean(L, r->other_model);
    lua_setfield(L, -2, "other_model");
    lua_pushboolean(L, r->same_batches);
    lua_setfield(L, -2, "same_batches");
    lua_pushstring(L, r->data);
    lua_setfield(L, -2, "data");
}

hl_status hl_lua_load_evaluated(hl_lua *h, const char *script, const hl_json *config,
                                const hl_eval_request *r)
{
    hl_status st = HL_OK;
    lua_State *L = h->L;
    const int base = lua_gettop(L);
    HL_TRY(hl_lua_load_description(h, script));
    hl_lua_push_json(L, config);
    hl_lua_push_overrides(L, r->sets, r->n_sets);
    push_options(h, r);
    HL_TRY(hl_lua_call_runner(h, "evaluated", 4));
    hl_lua_take_experiment(h);
out:
    lua_settop(L, base);
    return st;
}

hl_status hl_lua_load_evaluated_hf(hl_lua *h, const char *dir, const hl_eval_request *r)
{
    lua_State *L = h->L;
    const int base = lua_gettop(L);
    lua_pushstring(L, dir);
    hl_lua_push_overrides(L, r->sets, r->n_sets);
    push_options(h, r);
    const hl_status st = hl_lua_call_runner(h, "evaluated_hf", 3);
    if (st == HL_OK)
        hl_lua_take_experiment(h);
    lua_settop(L, base);
    return st;
}

hl_status hl_lua_hf_config(hl_lua *h, const hl_json *config, const hl_hf_about *about, hl_str *out)
{
    lua_State *L = h->L;
    const int base = lua_gettop(L);
    hl_lua_push_json(L, config);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, about->run);
    lua_setfield(L, -2, "run");
    lua_pushinteger(L, about->step);
    lua_setfield(L, -2, "step");
    lua_pushstring(L, about->fp64 ? "float64" : "float32");
    lua_setfield(L, -2, "dtype");
    hl_status st = hl_lua_call_runner(h, "hf_config", 2);
    if (st == HL_OK)
        st = hl_lua_to_json(L, "config.json", out);
    lua_settop(L, base);
    return st;
}
