/* A script's study (scripts_lua/hop/study.lua) as the worker runs it. */
#include "app/lua/lua_study.h"
#include "app/exp/study.h"
#include "app/lua/host_internal.h"
#include "app/lua/lua_json.h"

typedef struct study {
    hl_lua *h;
    const hl_study_desk *desk; /* while the study runs */
} study;

static const hl_study_desk *desk_of(lua_State *L)
{
    const study *s = lua_touserdata(L, lua_upvalueindex(1));
    if (!s->desk) {
        (void)hl_err_set(HL_E_STATE, "the study is over");
        hl_lua_raise(L, HL_E_STATE);
    }
    return s->desk;
}

static int done(lua_State *L, hl_status st)
{
    if (st == HL_E_CANCELLED)
        return hl_lua_raise_cancel(L);
    return st == HL_OK ? 0 : hl_lua_raise(L, st);
}

/* scalar(tag, step, value) */
static int desk_scalar(lua_State *L)
{
    const hl_study_desk *d = desk_of(L);
    return done(L, d->scalar(d->self, luaL_checkstring(L, 1), luaL_checkinteger(L, 2),
                             (double)luaL_checknumber(L, 3)));
}

static int put(lua_State *L, hl_status (*to)(void *self, const char *name, const char *object))
{
    const hl_study_desk *d = desk_of(L);
    const char *name = luaL_checkstring(L, 1);
    hl_str json = {0};
    lua_settop(L, 2);
    hl_status st = hl_lua_to_json(L, name, &json);
    if (st == HL_OK)
        st = to(d->self, name, json.s);
    hl_str_done(&json);
    return done(L, st);
}

/* table(name, object), figure(name, object) */
static int desk_table(lua_State *L)
{
    return put(L, desk_of(L)->table);
}
static int desk_figure(lua_State *L)
{
    return put(L, desk_of(L)->figure);
}

/* say(text) */
static int desk_say(lua_State *L)
{
    const hl_study_desk *d = desk_of(L);
    return done(L, d->say(d->self, luaL_checkstring(L, 1)));
}

/* tick(doing, share) */
static int desk_tick(lua_State *L)
{
    const hl_study_desk *d = desk_of(L);
    return done(L, d->tick(d->self, luaL_checkstring(L, 1), (double)luaL_optnumber(L, 2, -1)));
}

static void push_desk(lua_State *L, study *s)
{
    static const luaL_Reg functions[] = {{"scalar", desk_scalar}, {"table", desk_table},
                                         {"figure", desk_figure}, {"say", desk_say},
                                         {"tick", desk_tick},     {NULL, NULL}};
    lua_newtable(L);
    lua_pushlightuserdata(L, s);
    luaL_setfuncs(L, functions, 1);
}

static hl_status run(void *self, const hl_study_desk *desk, hl_str *result, hl_str *text)
{
    hl_status st = HL_OK;
    study *s = self;
    lua_State *L = s->h->L;
    const int top = lua_gettop(L);
    s->desk = desk;
    hl_lua_push_experiment(s->h);
    push_desk(L, s);
    HL_TRY(hl_lua_call_runner(s->h, "run_study", 2));
    lua_getfield(L, -1, "text");
    hl_str_add(text, lua_tostring(L, -1) ? lua_tostring(L, -1) : "");
    lua_getfield(L, -2, "result");
    HL_TRY(hl_lua_to_json(L, "result", result));
    HL_TRY(hl_str_status(text));
out:
    if (st != HL_OK && st != HL_E_CANCELLED && s->h->unplaced)
        st = HL_E_STATE; /* raised by the script, not by what it called */
    s->desk = NULL;
    lua_settop(L, top);
    return st;
}

hl_status hl_lua_attach_study(hl_lua *h, hl_experiment *e)
{
    study *s = hl_alloc_zero(1, sizeof *s);
    if (!s)
        return HL_E_NOMEM;
    s->h = h;
    e->study = (hl_study){.self = s, .run = run};
    e->hooks.self = s;
    e->free_hooks = hl_free;
    return HL_OK;
}
