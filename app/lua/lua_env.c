/* What a script finds: the standard library without what would harm the host, `require` that looks
 * in the program first and then beside the script, globals that cannot be made by a slip. */
#include <stdlib.h>
#include <string.h>

#include "app/embedded.h"
#include "app/lua/host_internal.h"
#include "engine/base/fs.h"

static int load_text(lua_State *L, const char *text, size_t n, const char *chunk)
{
    if (luaL_loadbufferx(L, text, n, chunk, "t") != LUA_OK)
        return lua_error(L);
    return 1;
}

/* --- require --- */

/* "a.b" -> "a/b.lua" in buf */
static const char *module_file(const char *name, char buf[256])
{
    snprintf(buf, 256, "%.240s", name);
    for (char *p = buf; *p; p++)
        if (*p == '.')
            *p = '/';
    strncat(buf, ".lua", 255 - strlen(buf));
    return buf;
}

int hl_lua_load_part(lua_State *L, const char *file)
{
    const hl_lua *h = hl_lua_of(L);
    char chunk[300];
    snprintf(chunk, sizeof chunk, "=%.290s", file);
    if (h->o.scripts) {
        char *path = hl_fs_join(h->o.scripts, file), *text = NULL;
        size_t n = 0;
        hl_status st = path ? hl_fs_read(path, HL_LUA_SCRIPT_MAX, &text, &n) : HL_E_NOMEM;
        hl_free(path);
        if (st == HL_OK) {
            int status = luaL_loadbufferx(L, text, n, chunk, "t");
            hl_free(text);
            return status == LUA_OK ? 1 : lua_error(L);
        }
    }
    for (const hl_embedded_file *f = hl_embedded_scripts; f->name; f++)
        if (strcmp(f->name, file) == 0)
            return load_text(L, (const char *)f->bytes, f->n, chunk);
    lua_pushfstring(L, "no embedded module '%s'", file);
    return 1;
}

static int search_embedded(lua_State *L)
{
    char file[256];
    module_file(luaL_checkstring(L, 1), file);
    return hl_lua_load_part(L, strcmp(file, "hop.lua") == 0 ? "hop/init.lua" : file);
}

static bool load_from(lua_State *L, const char *dir, const char *file)
{
    char *path = hl_fs_join(dir, file), *text = NULL;
    size_t n = 0;
    if (!path || !hl_fs_exists(path) || hl_fs_read(path, HL_LUA_SCRIPT_MAX, &text, &n) != HL_OK) {
        hl_free(path);
        return false;
    }
    lua_pushfstring(L, "@%s", path);
    int status = luaL_loadbufferx(L, text, n, lua_tostring(L, -1), "t");
    hl_free(text);
    if (hl_vec_push(&hl_lua_of(L)->files, path) != HL_OK)
        hl_free(path);
    if (status != LUA_OK)
        lua_error(L);
    return true;
}

/* Directory of the script, its lua/, each entry of HOPLAB_PATH, $XDG_DATA_HOME/hoplab/lua. */
static int search_files(lua_State *L)
{
    const hl_lua *h = hl_lua_of(L);
    char file[256], dir[1024];
    module_file(luaL_checkstring(L, 1), file);
    if (h->o.script_dir) {
        if (load_from(L, h->o.script_dir, file))
            return 1;
        snprintf(dir, sizeof dir, "%.1000s/lua", h->o.script_dir);
        if (load_from(L, dir, file))
            return 1;
    }
    const char *p = getenv("HOPLAB_PATH");
    while (p && *p && !h->o.sandbox) {
        size_t n = strcspn(p, ":");
        snprintf(dir, sizeof dir, "%.*s", (int)(n < 1000 ? n : 1000), p);
        if (n && load_from(L, dir, file))
            return 1;
        p += n + (p[n] == ':');
    }
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (data || home) {
        snprintf(dir, sizeof dir, "%.900s%s/hoplab/lua", data ? data : home,
                 data ? "" : "/.local/share");
        if (load_from(L, dir, file))
            return 1;
    }
    lua_pushfstring(L, "no file '%s' beside the script or in HOPLAB_PATH", file);
    return 1;
}

static void open_require(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_createtable(L, 3, 0);
    lua_getfield(L, -2, "searchers");
    lua_rawgeti(L, -1, 1); /* package.preload */
    lua_rawseti(L, -3, 1);
    lua_pop(L, 1);
    lua_pushcfunction(L, search_embedded);
    lua_rawseti(L, -2, 2);
    lua_pushcfunction(L, search_files);
    lua_rawseti(L, -2, 3);
    lua_setfield(L, -2, "searchers");
    lua_pushstring(L, "");
    lua_setfield(L, -2, "path");
    lua_pushstring(L, "");
    lua_setfield(L, -2, "cpath");
    lua_pushnil(L);
    lua_setfield(L, -2, "loadlib");
    lua_pop(L, 1);
}

/* --- loading text only --- */

/* load, loadfile and dofile with the mode fixed to text. Upvalue: the original. */
static int text_load(lua_State *L)
{
    lua_settop(L, lua_gettop(L) < 4 ? 3 : 4); /* an environment that is nil is one, too */
    lua_pushstring(L, "t");
    lua_replace(L, 3);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int text_loadfile(lua_State *L)
{
    lua_settop(L, lua_gettop(L) < 3 ? 2 : 3);
    lua_pushstring(L, "t");
    lua_replace(L, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static void wrap(lua_State *L, const char *name, lua_CFunction f)
{
    lua_getglobal(L, name);
    lua_pushcclosure(L, f, 1);
    lua_setglobal(L, name);
}

static void remove_field(lua_State *L, const char *table, const char *field)
{
    lua_getglobal(L, table);
    lua_pushnil(L);
    lua_setfield(L, -2, field);
    lua_pop(L, 1);
}

static void close_doors(lua_State *L, bool sandbox)
{
    wrap(L, "load", text_load);
    wrap(L, "loadfile", text_loadfile);
    lua_pushnil(L);
    lua_setglobal(L, "dofile");
    remove_field(L, "os", "exit");      /* hop.exit ends a run properly */
    remove_field(L, "os", "setlocale"); /* it is the whole process's */
    remove_field(L, "string", "dump");
    if (!sandbox)
        return;
    static const char *const os_gone[] = {"execute", "remove", "rename", "tmpname"};
    for (size_t i = 0; i < sizeof os_gone / sizeof os_gone[0]; i++)
        remove_field(L, "os", os_gone[i]);
    lua_pushnil(L);
    lua_setglobal(L, "io");
    lua_pushnil(L);
    lua_setglobal(L, "loadfile");
    lua_getglobal(L, "debug");
    lua_createtable(L, 0, 1);
    lua_getfield(L, -2, "traceback");
    lua_setfield(L, -2, "traceback");
    lua_setglobal(L, "debug");
    lua_pop(L, 1);
}

/* --- globals --- */

static int no_new_global(lua_State *L)
{
    (void)hl_err_set(HL_E_ARG, "assignment to the global '%s', which does not exist",
                     luaL_tolstring(L, 2, NULL));
    return hl_lua_raise_hint(L, HL_E_ARG, "say 'local', or declare it with hop.global");
}

static int no_such_global(lua_State *L)
{
    const char *name = luaL_tolstring(L, 2, NULL);
    (void)hl_err_set(HL_E_ARG, "the global '%s' does not exist", name);
    return hl_lua_raise_hint(L, HL_E_ARG,
                             strcmp(name, "hop") == 0 ? "local hop = require \"hop\"" : NULL);
}

void hl_lua_open_env(lua_State *L)
{
    const hl_lua *h = hl_lua_of(L);
    luaL_openlibs(L);
    hl_lua_open_edge(L);
    open_require(L);
    close_doors(L, h->o.sandbox);
    wrap(L, "print", hl_lua_print);
    lua_pushglobaltable(L);
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, no_new_global);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, no_such_global);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, "globals");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}
