/* Callbacks. How often each hook is wanted is asked once; a step that no callback wants costs no
 * entry into Lua. */
#include "app/lua/lua_hooks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/lua/experiment.h"
#include "app/lua/host_internal.h"
#include "app/lua/lua_json.h"
#include "app/lua/lua_quant.h"
#include "engine/base/clock.h"

static const char *const hook_names[HL_HOOK_COUNT] = {
    "on_start", "on_step",    "on_log", "on_eval", "on_save",
    "on_epoch", "on_control", "on_nan", "on_stop", "on_error",
};

typedef struct hooks {
    hl_lua *h;
    hl_train *driver; /* while a run is on */
    int object;       /* registry reference of runner.callbacks' object, */
    int requantize;   /* of the function that changes the recipe, */
    int run;          /* of the handle that callbacks have */
    int64_t period[HL_HOOK_COUNT];
} hooks;

/* --- what callbacks do to the run --- */

static hooks *hooks_of(lua_State *L)
{
    hooks *k = lua_touserdata(L, lua_upvalueindex(1));
    if (!k->driver) {
        (void)hl_err_set(HL_E_STATE, "the run is over");
        hl_lua_raise(L, HL_E_STATE);
    }
    return k;
}

/* command(what, who, value) */
static int driver_command(lua_State *L)
{
    hooks *k = hooks_of(L);
    const char *what = luaL_checkstring(L, 1);
    hl_request c = {.id = -1, .value = (double)luaL_optnumber(L, 3, 0), .checkpoint = true};
    snprintf(c.who, sizeof c.who, "%.60s", luaL_checkstring(L, 2));
    if (strcmp(what, "stop") == 0) {
        c.kind = HL_REQUEST_STOP;
    } else if (strcmp(what, "checkpoint") == 0) {
        c.kind = HL_REQUEST_CHECKPOINT;
    } else if (strcmp(what, "eval") == 0) {
        c.kind = HL_REQUEST_EVAL;
    } else if (strcmp(what, "quantize") == 0) {
        c.kind = HL_REQUEST_QUANTIZE;
    } else {
        c.kind = HL_REQUEST_SET;
        snprintf(c.name, sizeof c.name, "%.40s", what + strlen("set "));
    }
    const int64_t began_ns = hl_clock_mono_ns();
    hl_status st = hl_train_request(k->driver, &c);
    k->h->until_ns += hl_clock_mono_ns() - began_ns; /* that time is not the script's */
    return st == HL_OK ? 0 : hl_lua_raise(L, st);
}

static int driver_knob(lua_State *L)
{
    double v = hl_train_knob(hooks_of(L)->driver, luaL_checkstring(L, 1));
    if (isnan(v))
        lua_pushnil(L);
    else
        lua_pushnumber(L, v);
    return 1;
}

static int driver_log(lua_State *L)
{
    hl_train_log_scalar(hooks_of(L)->driver, luaL_checkstring(L, 1), luaL_checknumber(L, 2));
    return 0;
}

static int driver_unit(lua_State *L)
{
    hl_train_declare_unit(hooks_of(L)->driver, luaL_checkstring(L, 1), luaL_checkstring(L, 2));
    return 0;
}

static int driver_notice(lua_State *L)
{
    const bool alert = strcmp(luaL_checkstring(L, 1), "alert") == 0;
    hl_train_notice(hooks_of(L)->driver, alert ? HL_NOTICE_ALERT : HL_NOTICE_INFO,
                    luaL_checkstring(L, 2));
    return 0;
}

/* --- the hook table --- */

static bool wants(void *self, hl_hook hook, int64_t step)
{
    const hooks *k = self;
    return k->period[hook] > 0 && (hook != HL_HOOK_STEP || step % k->period[hook] == 0);
}

/* Pushes object.<name>. */
static void push_method(const hooks *k, const char *name)
{
    lua_rawgeti(k->h->L, LUA_REGISTRYINDEX, k->object);
    lua_getfield(k->h->L, -1, name);
    lua_remove(k->h->L, -2);
}

static hl_status fire(void *self, const hl_hook_event *ev)
{
    hooks *k = self;
    lua_State *L = k->h->L;
    push_method(k, "fire");
    lua_pushstring(L, hook_names[ev->hook]);
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, ev->step);
    lua_setfield(L, -2, "step");
    lua_pushinteger(L, ev->epoch);
    lua_setfield(L, -2, "epoch");
    if (ev->text) {
        lua_pushstring(L, ev->text);
        lua_setfield(L, -2, "text");
    }
    lua_createtable(L, 0, ev->n);
    for (int i = 0; i < ev->n; i++) {
        lua_pushnumber(L, ev->value[i]);
        lua_setfield(L, -2, ev->tag[i]);
    }
    lua_setfield(L, -2, "metrics");
    hl_status st = hl_lua_call(k->h, 2, 0);
    if (st != HL_OK)
        (void)hl_err_context("callback %s at step %lld", hook_names[ev->hook], (long long)ev->step);
    return st;
}

static hl_status save(void *self, hl_str *out)
{
    hooks *k = self;
    push_method(k, "save");
    hl_status st = hl_lua_call(k->h, 0, 1);
    if (st != HL_OK)
        return st;
    st = hl_lua_to_json(k->h->L, "callback state", out);
    lua_pop(k->h->L, 1);
    return st;
}

static hl_status load(void *self, const hl_json *state)
{
    hooks *k = self;
    push_method(k, "load");
    hl_lua_push_json(k->h->L, state);
    return hl_lua_call(k->h, 1, 0);
}

static hl_status quant_plan(void *self, const hl_json *sets, hl_quant_plan *out)
{
    hooks *k = self;
    lua_State *L = k->h->L;
    const int top = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, k->requantize);
    hl_lua_push_json(L, sets);
    hl_status st = hl_lua_call(k->h, 1, 2);
    if (st == HL_OK && !lua_istable(L, top + 1))
        st = hl_err_set(HL_E_UNSUPPORTED, "this model does not say what of it may be quantized");
    if (st == HL_OK)
        st = hl_lua_take_quant_plan(L, top + 1, top + 2, out);
    lua_settop(L, top);
    return st;
}

static hl_status evaluate(void *self, const char *code, const char *who, hl_str *out)
{
    const hooks *k = self;
    char by[80];
    snprintf(by, sizeof by, "lua by %.64s", who);
    return hl_lua_answer(k->h, code, k->run, by, out);
}

static void free_hooks(void *self)
{
    hooks *k = self;
    luaL_unref(k->h->L, LUA_REGISTRYINDEX, k->object);
    luaL_unref(k->h->L, LUA_REGISTRYINDEX, k->requantize);
    luaL_unref(k->h->L, LUA_REGISTRYINDEX, k->run);
    hl_free(k);
}

static void push_driver(lua_State *L, hooks *k)
{
    static const luaL_Reg functions[] = {{"command", driver_command}, {"knob", driver_knob},
                                         {"log", driver_log},         {"notice", driver_notice},
                                         {"unit", driver_unit},       {NULL, NULL}};
    lua_newtable(L);
    lua_pushlightuserdata(L, k);
    luaL_setfuncs(L, functions, 1);
}

static hl_status ask_periods(hooks *k)
{
    for (int i = 0; i < HL_HOOK_COUNT; i++) {
        push_method(k, "period");
        lua_pushstring(k->h->L, hook_names[i]);
        hl_status st = hl_lua_call(k->h, 1, 1);
        if (st != HL_OK)
            return st;
        k->period[i] = lua_tointeger(k->h->L, -1);
        lua_pop(k->h->L, 1);
    }
    return HL_OK;
}

hl_status hl_lua_attach_hooks(hl_lua *h, hl_experiment *e)
{
    hl_status st = HL_OK;
    lua_State *L = h->L;
    const int top = lua_gettop(L);
    hooks *k = hl_alloc_zero(1, sizeof *k);
    if (!k)
        return HL_E_NOMEM;
    k->h = h;
    k->object = k->run = LUA_NOREF;
    lua_getfield(L, top, "requantize");
    k->requantize = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, top, "callbacks");
    push_driver(L, k);
    HL_TRY(hl_lua_call_runner(h, "run_handle", 1));
    lua_pushvalue(L, -1);
    k->run = luaL_ref(L, LUA_REGISTRYINDEX);
    HL_TRY(hl_lua_call_runner(h, "callbacks", 2));
    k->object = luaL_ref(L, LUA_REGISTRYINDEX);
    HL_TRY(ask_periods(k));
    e->hooks = (hl_hooks){.self = k,
                          .wants = wants,
                          .fire = fire,
                          .save = save,
                          .load = load,
                          .quant_plan = quant_plan,
                          .evaluate = evaluate};
    e->free_hooks = free_hooks;
    k = NULL;
out:
    lua_settop(L, top);
    if (k)
        free_hooks(k);
    return st;
}

void hl_lua_set_driver(hl_experiment *e, hl_train *driver)
{
    if (e->hooks.self && e->hooks.fire == fire)
        ((hooks *)e->hooks.self)->driver = driver;
}
