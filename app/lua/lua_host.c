/* Birth, death and entry points of an interpreter. */
#include "app/lua/host.h"

#include <stdlib.h>
#include <string.h>

#include "app/lua/host_internal.h"
#include "engine/base/fs.h"
#include "engine/base/str.h"

enum { CACHE_PROGRAMS = 256 };

hl_lua *hl_lua_of(lua_State *L)
{
    return *(hl_lua **)lua_getextraspace(L);
}

/* Every byte of the interpreter is counted against its limit. */
static void *allocate(void *arg, void *p, size_t old, size_t n)
{
    hl_lua *h = arg;
    if (!p)
        old = 0; /* then it is a type tag */
    if (n == 0) {
        free(p);
        h->used -= (int64_t)old;
        return NULL;
    }
    if (n > old && h->used + (int64_t)(n - old) > h->limit)
        return NULL;
    void *q = realloc(p, n);
    if (q)
        h->used += (int64_t)n - (int64_t)old;
    return q;
}

static int open_all(lua_State *L)
{
    hl_lua_open_env(L);
    hl_lua_open_hop(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "hop.core");
    return 0;
}

hl_status hl_lua_new(const hl_lua_options *o, hl_lua **out)
{
    hl_status st = HL_OK;
    hl_lua *h = hl_alloc_zero(1, sizeof *h);
    if (!h)
        return HL_E_NOMEM;
    h->o = *o;
    h->limit = o->memory_limit > 0 ? o->memory_limit : (int64_t)2 << 30;
    h->training = true;
    HL_TRY(hl_program_cache_new(CACHE_PROGRAMS, &h->cache));
    HL_TRY(hl_recording_new(false, &h->session));
    h->current = h->session;
    h->current_serial = h->last_serial = 1;
    h->L = lua_newstate(allocate, h);
    if (!h->L) {
        st = hl_err_nomem("the interpreter", 65536);
        goto out;
    }
    h->running = h->L;
    *(hl_lua **)lua_getextraspace(h->L) = h;
    lua_gc(h->L, LUA_GCGEN, 0, 0);
    lua_pushcfunction(h->L, open_all);
    HL_TRY_CTX(hl_lua_call(h, 0, 0), "starting the interpreter");
    *out = h;
    h = NULL;
out:
    hl_lua_free(h);
    return st;
}

void hl_lua_free(hl_lua *h)
{
    if (!h)
        return;
    if (h->L)
        lua_close(h->L);
    for (size_t i = 0; i < h->slots.n; i++) { /* closed already, unless __gc could not run */
        hl_storage_unref(h->slots.at[i].storage);
        hl_recording_unref(h->slots.at[i].rec);
        hl_free(h->slots.at[i].name);
    }
    for (size_t i = 0; i < h->files.n; i++)
        hl_free(h->files.at[i]);
    hl_vec_done(&h->files);
    hl_vec_done(&h->slots);
    hl_vec_done(&h->free_slots);
    hl_recording_unref(h->session);
    hl_program_cache_free(h->cache);
    hl_str_done(&h->traceback);
    hl_str_done(&h->hint);
    hl_free(h);
}

/* A syntax error's text starts with the chunk's name and line already. */
static hl_status load_error(hl_lua *h)
{
    const char *text = lua_tostring(h->L, -1);
    hl_status st = hl_err_set(HL_E_FORMAT, "%s", text ? text : "cannot load the script");
    lua_pop(h->L, 1);
    return st;
}

/* For the length of a run: what `arg` holds, as the stand-alone interpreter does. */
static void set_arg(lua_State *L, const char *script, int argc, char *const *argv)
{
    lua_createtable(L, argc, 1);
    lua_pushstring(L, script);
    lua_rawseti(L, -2, 0);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushglobaltable(L);
    lua_pushstring(L, "arg");
    lua_rotate(L, -3, -1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

hl_status hl_lua_load_script(hl_lua *h, const char *path, const char *text, size_t n)
{
    if (memchr(text, '\0', n) || (n && text[0] == '\x1b'))
        return hl_err_set(HL_E_FORMAT, "%s is not a Lua script: it holds binary data", path);
    const size_t skip = n && text[0] == '#' ? strcspn(text, "\n") : 0;
    lua_pushfstring(h->L, "@%s", path);
    int status = luaL_loadbufferx(h->L, text + skip, n - skip, lua_tostring(h->L, -1), "t");
    lua_remove(h->L, -2);
    return status == LUA_OK ? HL_OK : load_error(h);
}

hl_status hl_lua_run_file(hl_lua *h, const char *path, int argc, char *const *argv)
{
    char *text = NULL;
    size_t n = 0;
    hl_status st = hl_fs_read(path, HL_LUA_SCRIPT_MAX, &text, &n);
    if (st == HL_OK)
        st = hl_lua_load_script(h, path, text, n);
    hl_free(text);
    if (st != HL_OK)
        return st;
    set_arg(h->L, path, argc, argv);
    luaL_checkstack(h->L, argc, "arguments");
    for (int i = 0; i < argc; i++)
        lua_pushstring(h->L, argv[i]);
    return hl_lua_call(h, argc, 0);
}

hl_status hl_lua_make_console(hl_lua *h)
{
    lua_pushglobaltable(h->L);
    if (lua_getmetatable(h->L, -1)) {
        lua_pushnil(h->L);
        lua_setfield(h->L, -2, "__newindex");
        lua_pop(h->L, 1);
    }
    lua_pop(h->L, 1);
    return hl_lua_run_text(h, "console", "hop = require 'hop' T = hop.T help = hop.help");
}

hl_status hl_lua_run_text(hl_lua *h, const char *name, const char *text)
{
    lua_pushfstring(h->L, "=%s", name);
    int status = luaL_loadbufferx(h->L, text, strlen(text), lua_tostring(h->L, -1), "t");
    lua_remove(h->L, -2);
    if (status != LUA_OK)
        return load_error(h);
    return hl_lua_call(h, 0, 0);
}

hl_status hl_lua_console_line(hl_lua *h, const char *text, bool *incomplete)
{
    lua_State *L = h->L;
    *incomplete = false;
    lua_pushfstring(L, "return %s", text);
    int status = luaL_loadbufferx(L, lua_tostring(L, -1), lua_rawlen(L, -1), "=console", "t");
    lua_remove(L, -2);
    bool expression = status == LUA_OK;
    if (!expression) {
        lua_pop(L, 1);
        status = luaL_loadbufferx(L, text, strlen(text), "=console", "t");
    }
    if (status != LUA_OK) {
        *incomplete = hl_str_ends(lua_tostring(L, -1), "near <eof>");
        return load_error(h);
    }
    const int base = lua_gettop(L) - 1;
    hl_status st = hl_lua_call(h, 0, expression ? LUA_MULTRET : 0);
    int n = lua_gettop(L) - base;
    if (st == HL_OK && n > 0) {
        lua_getglobal(L, "print");
        lua_insert(L, base + 1);
        st = hl_lua_call(h, n, 0);
    }
    lua_settop(L, base);
    return st;
}

const char *hl_lua_traceback(const hl_lua *h)
{
    return hl_str_text(&h->traceback);
}

const char *hl_lua_hint(const hl_lua *h)
{
    return hl_str_text(&h->hint);
}

int hl_lua_n_files(const hl_lua *h)
{
    return (int)h->files.n;
}

const char *hl_lua_file(const hl_lua *h, int i)
{
    return h->files.at[i];
}

bool hl_lua_exited(const hl_lua *h, int *status)
{
    if (h->exiting)
        *status = h->exit_status;
    return h->exiting;
}

int64_t hl_lua_memory(const hl_lua *h)
{
    return h->used;
}

int64_t hl_lua_calls(const hl_lua *h)
{
    return h->n_calls;
}

hl_status hl_lua_describe(hl_lua *h, const char *form, hl_str *out)
{
    lua_State *L = h->L;
    const int base = lua_gettop(L);
    lua_getglobal(L, "require");
    lua_pushstring(L, "hop.describe");
    hl_status st = hl_lua_call(h, 1, 1);
    if (st == HL_OK) {
        lua_pushstring(L, form);
        st = hl_lua_call(h, 1, 1);
    }
    if (st == HL_OK && lua_isstring(L, -1)) {
        hl_str_add(out, lua_tostring(L, -1));
        st = hl_str_status(out);
    }
    lua_settop(L, base);
    return st;
}
