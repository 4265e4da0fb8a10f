/* Crossing between C and Lua: calls with a traceback, error objects, interruption.
 *
 * DESIGN. An error object is a table { code, message, hint, file, line, traceback } with __tostring.
 * Cancellation is one light userdata; pcall, xpcall and the coroutine functions of scripts are our
 * wrappers, which raise it again, so that a loop around pcall ends too. The hook that raises it is
 * set from the signal handler and stays until the outermost call returns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/lua/host_internal.h"
#include "engine/base/clock.h"

static const char cancel_key = 0; /* its address is the cancellation object */

static void push_cancel(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)&cancel_key);
}

static bool is_cancel(lua_State *L, int i)
{
    return lua_islightuserdata(L, i) && lua_touserdata(L, i) == (const void *)&cancel_key;
}

/* Our own files are named "=hop/..." and are folded out of positions. */
static bool is_user_frame(const lua_Debug *ar)
{
    return ar->currentline > 0 && strncmp(ar->source, "=hop/", 5) != 0;
}

const char *hl_lua_where(lua_State *L, char buf[256])
{
    lua_Debug ar;
    buf[0] = '\0';
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (!is_user_frame(&ar))
            continue;
        const char *name = ar.source[0] == '@' || ar.source[0] == '=' ? ar.source + 1 : ar.short_src;
        snprintf(buf, 256, "%.200s:%d", name, ar.currentline);
        break;
    }
    return buf;
}

static int error_tostring(lua_State *L)
{
    lua_getfield(L, 1, "message");
    if (lua_getfield(L, 1, "hint") == LUA_TSTRING) {
        lua_pushfstring(L, "%s\nhint: %s", lua_tostring(L, -2), lua_tostring(L, -1));
        return 1;
    }
    lua_pop(L, 1);
    return 1;
}

/* Pushes an error object; `where` may be empty. */
static void push_error(lua_State *L, const char *code, const char *where, const char *message,
                       const char *hint)
{
    lua_createtable(L, 0, 6);
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    if (where[0] && strncmp(message, where, strlen(where)) != 0)
        lua_pushfstring(L, "%s: %s", where, message);
    else
        lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    if (hint && hint[0]) {
        lua_pushstring(L, hint);
        lua_setfield(L, -2, "hint");
    }
    const char *colon = strrchr(where, ':');
    if (colon) {
        lua_pushlstring(L, where, (size_t)(colon - where));
        lua_setfield(L, -2, "file");
        lua_pushinteger(L, strtol(colon + 1, NULL, 10));
        lua_setfield(L, -2, "line");
    }
    luaL_setmetatable(L, "hop.error");
}

int hl_lua_raise_hint(lua_State *L, hl_status st, const char *hint)
{
    char where[256];
    push_error(L, hl_status_name(st), hl_lua_where(L, where), hl_err_message(), hint);
    return lua_error(L);
}

int hl_lua_raise(lua_State *L, hl_status st)
{
    return hl_lua_raise_hint(L, st, NULL);
}

/* hop._raise(code, message, hint, level?): for the library's Lua files. */
static int raise_from_lua(lua_State *L)
{
    char where[256];
    push_error(L, luaL_checkstring(L, 1), hl_lua_where(L, where), luaL_checkstring(L, 2),
               luaL_optstring(L, 3, NULL));
    return lua_error(L);
}

int hl_lua_raise_cancel(lua_State *L)
{
    push_cancel(L);
    return lua_error(L);
}

static bool is_ours(lua_State *L, int i)
{
    luaL_getmetatable(L, "hop.error");
    const bool ours = lua_getmetatable(L, i) && lua_rawequal(L, -1, -2);
    lua_settop(L, i);
    return ours;
}

/* Message handler: turns anything into an error object with a traceback, once. */
static int on_error(lua_State *L)
{
    if (is_cancel(L, 1))
        return 1;
    if (!is_ours(L, 1)) {
        const bool plain = lua_isstring(L, 1) || luaL_getmetafield(L, 1, "__tostring");
        const char *text = luaL_tolstring(L, 1, NULL);
        if (!plain)
            text = lua_pushfstring(L, "error() was called with a %s", luaL_typename(L, 1));
        push_error(L, "E_ARG", "", text, NULL);
        lua_replace(L, 1);
    }
    if (lua_getfield(L, 1, "traceback") == LUA_TNIL) {
        luaL_traceback(L, L, NULL, 1);
        lua_setfield(L, 1, "traceback");
    }
    lua_settop(L, 1);
    return 1;
}

static hl_status status_from_name(const char *code)
{
    for (int s = HL_OK; s < HL_STATUS_COUNT; s++)
        if (strcmp(code, hl_status_name((hl_status)s)) == 0)
            return (hl_status)s;
    return HL_E_ARG;
}

static void keep_text(lua_State *L, int object, const char *field, hl_str *to)
{
    hl_str_clear(to);
    if (lua_getfield(L, object, field) == LUA_TSTRING)
        hl_str_add(to, lua_tostring(L, -1));
    lua_pop(L, 1);
}

/* The error object on top into hl_err; pops it. */
static hl_status take_error(hl_lua *h)
{
    lua_State *L = h->L;
    hl_status st;
    hl_str_clear(&h->traceback);
    hl_str_clear(&h->hint);
    h->unplaced = false;
    if (is_cancel(L, -1)) {
        st = hl_err_set(HL_E_CANCELLED, h->exiting ? "the script ended itself"
                                                   : "the script was interrupted");
    } else if (lua_istable(L, -1)) {
        const int object = lua_gettop(L);
        keep_text(L, object, "traceback", &h->traceback);
        keep_text(L, object, "hint", &h->hint);
        h->unplaced = lua_getfield(L, object, "file") == LUA_TNIL;
        lua_getfield(L, object, "code");
        hl_status code = status_from_name(lua_isstring(L, -1) ? lua_tostring(L, -1) : "");
        lua_getfield(L, object, "message");
        st = hl_err_set(code, "%s", luaL_tolstring(L, -1, NULL));
        lua_settop(L, object);
    } else {
        /* raised by Lua itself where not even an error object could be made */
        char limit[24];
        st = hl_err_set(HL_E_NOMEM,
                        "the script's own memory is at its limit of %s; keep less alive at once, or "
                        "large data in tensors",
                        hl_format_bytes(limit, h->limit));
    }
    lua_pop(L, 1);
    return st;
}

hl_status hl_lua_call(hl_lua *h, int n_args, int n_results)
{
    lua_State *L = h->L;
    const int base = lua_gettop(L) - n_args;
    lua_pushcfunction(L, on_error);
    lua_insert(L, base);
    h->n_calls++;
    h->depth++;
    int status = lua_pcall(L, n_args, n_results, base);
    h->depth--;
    lua_remove(L, base);
    if (h->interrupted) {
        lua_sethook(L, NULL, 0, 0);
        h->interrupted = 2; /* seen */
    }
    return status == LUA_OK ? HL_OK : take_error(h);
}

/* --- interruption --- */

enum { EVERYWHERE = LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT };

static void cancel_hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    push_cancel(L);
    lua_error(L);
}

void hl_lua_interrupt(hl_lua *h)
{
    /* in the signal handler of the thread that runs the script: lua_sethook is made for this */
    h->interrupted = 1;
    if (h->depth == 0) /* between calls: whoever calls next, the saving of callbacks, say, may */
        return;
    lua_sethook(h->running, cancel_hook, EVERYWHERE, 1);
}

/* --- a limit --- */

enum { SLICE = 1000 }; /* instructions between two looks */

/* A coroutine keeps its hook beyond the limit's end, until it is run again. */
static void look(lua_State *L, lua_Debug *ar)
{
    hl_lua *h = hl_lua_of(L);
    if (!h->limited) {
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    h->instructions_left -= SLICE;
    if (h->instructions_left > 0 && hl_clock_mono_ns() < h->until_ns && !h->interrupted)
        return;
    h->overran |= !h->interrupted;
    lua_sethook(L, cancel_hook, EVERYWHERE, 1);
    cancel_hook(L, ar);
}

void hl_lua_limit(hl_lua *h, bool on, int64_t instructions, double seconds)
{
    h->limited = on;
    h->overran = false;
    h->instructions_left = instructions;
    h->until_ns = hl_clock_mono_ns() + (int64_t)(seconds * 1e9);
    lua_sethook(h->L, on ? look : NULL, on ? LUA_MASKCOUNT : 0, SLICE);
}

bool hl_lua_was_interrupted(const hl_lua *h)
{
    return h->interrupted != 0;
}

/* pcall and xpcall that let the cancellation through. */
static int finish_pcall(lua_State *L, int status, lua_KContext extra)
{
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L) - (int)extra;
    if (is_cancel(L, -1))
        return lua_error(L);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static int safe_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish_pcall);
    return finish_pcall(L, status, 0);
}

/* The handler must not run for the cancellation, whatever it returns. */
static int guarded_handler(lua_State *L)
{
    if (is_cancel(L, 1))
        return 1;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int safe_xpcall(lua_State *L)
{
    const int n = lua_gettop(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, guarded_handler, 1);
    lua_replace(L, 2);
    lua_pushboolean(L, 1); /* first result */
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2);
    int status = lua_pcallk(L, n - 2, LUA_MULTRET, 2, 2, finish_pcall);
    return finish_pcall(L, status, 2);
}

/* Resumes co with the n arguments on top of L. The host must know which state runs, because a hook
 * belongs to one. Returns the number of results moved to L, or -1 with the error on top. */
static int resume(lua_State *L, lua_State *co, int n)
{
    hl_lua *h = hl_lua_of(L);
    lua_State *before = h->running;
    int n_results = 0;
    if (!lua_checkstack(co, n)) {
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    lua_xmove(L, co, n);
    h->running = co;
    if (h->limited)
        lua_sethook(co, look, LUA_MASKCOUNT, SLICE);
    int status = lua_resume(co, L, n, &n_results);
    h->running = before;
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return -1;
    }
    if (!lua_checkstack(L, n_results + 1)) {
        lua_pop(co, n_results);
        lua_pushliteral(L, "too many results to resume");
        return -1;
    }
    lua_xmove(co, L, n_results);
    return n_results;
}

static int safe_resume(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "coroutine");
    int n = resume(L, co, lua_gettop(L) - 1);
    if (n < 0 && is_cancel(L, -1))
        return lua_error(L);
    lua_pushboolean(L, n >= 0);
    const int results = n < 0 ? 1 : n;
    lua_insert(L, -(results + 1));
    return results + 1;
}

static int call_wrapped(lua_State *L)
{
    int n = resume(L, lua_tothread(L, lua_upvalueindex(1)), lua_gettop(L));
    return n < 0 ? lua_error(L) : n;
}

static int safe_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, call_wrapped, 1);
    return 1;
}

void hl_lua_open_edge(lua_State *L)
{
    luaL_newmetatable(L, "hop.error");
    lua_pushcfunction(L, error_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushstring(L, "hop.error");
    lua_setfield(L, -2, "__name");
    lua_pop(L, 1);
    lua_pushcfunction(L, safe_pcall);
    lua_setglobal(L, "pcall");
    lua_pushcfunction(L, safe_xpcall);
    lua_setglobal(L, "xpcall");
    lua_getglobal(L, "coroutine");
    lua_pushcfunction(L, safe_resume);
    lua_setfield(L, -2, "resume");
    lua_pushcfunction(L, safe_wrap);
    lua_setfield(L, -2, "wrap");
    lua_pop(L, 1);
    lua_pushcfunction(L, raise_from_lua);
    lua_setfield(L, LUA_REGISTRYINDEX, "hop.raise");
}
