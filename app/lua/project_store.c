#include "app/lua/project_store.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"

enum { MEMORY_MAX = 16 << 20, INSTRUCTIONS_MAX = 1000 * 1000 };

static void *allocate(void *used, void *p, size_t old, size_t n)
{
    size_t *bytes = used;
    old = p ? old : 0;
    if (n > old && *bytes + (n - old) > MEMORY_MAX)
        return NULL;
    void *q = NULL;
    if (n)
        q = realloc(p, n);
    else
        free(p);
    if (q || !n)
        *bytes += n - old;
    return q;
}

static void too_long(lua_State *L, lua_Debug *ar)
{
    lua_getinfo(L, "Sl", ar);
    luaL_error(L, "%s:%d: it goes on for too long", ar->short_src, ar->currentline);
}

/* Setup that leaves `store`, and whatever else, to be taken: a value that can be called and
 * indexed, and gives itself. Standard functions that reach outside are not there. */
static const char setup[] =
    "local nothing = setmetatable({}, {})\n"
    "local m = getmetatable(nothing)\n"
    "local function self() return nothing end\n"
    "for _, k in ipairs { 'index', 'call', 'concat', 'add', 'sub', 'mul', 'div', 'unm' } do\n"
    "  m['__' .. k] = self end\n"
    "local hop = setmetatable({ store = function(dir)\n"
    "  if type(dir) ~= 'string' or dir == '' then error('hop.store takes a folder', 2) end\n"
    "  chosen = dir end }, { __index = self })\n"
    "require = function(name) return name == 'hop' and hop or nothing end\n"
    "dofile, loadfile, load, print, collectgarbage = nil, nil, nil, self, nil\n";

static int run_file(lua_State *L)
{
    static const luaL_Reg libs[] = {{"_G", luaopen_base},
                                    {LUA_TABLIBNAME, luaopen_table},
                                    {LUA_STRLIBNAME, luaopen_string},
                                    {LUA_MATHLIBNAME, luaopen_math},
                                    {NULL, NULL}};
    const char *path = lua_touserdata(L, 1), *text = lua_touserdata(L, 2);
    lua_settop(L, 0);
    for (const luaL_Reg *l = libs; l->name; l++) {
        luaL_requiref(L, l->name, l->func, 1);
        lua_pop(L, 1);
    }
    if (luaL_dostring(L, setup) != LUA_OK)
        return lua_error(L);
    lua_sethook(L, too_long, LUA_MASKCOUNT, INSTRUCTIONS_MAX);
    lua_pushfstring(L, "@%s", path);
    if (luaL_loadbufferx(L, text, strlen(text), lua_tostring(L, -1), "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 0);
    lua_getglobal(L, "chosen");
    return 1;
}

static hl_status resolve(const char *path, const char *chosen, char **dir)
{
    char *folder = hl_fs_parent(path);
    *dir = chosen[0] == '/' ? hl_strdup(chosen) : folder ? hl_fs_join(folder, chosen) : NULL;
    hl_free(folder);
    return *dir ? HL_OK : HL_E_NOMEM;
}

hl_status hl_lua_project_store(const char *path, char **dir)
{
    hl_status st = HL_OK;
    size_t used = 0;
    char *text = NULL;
    lua_State *L = NULL;
    *dir = NULL;
    HL_TRY(hl_fs_read(path, 1 << 20, &text, NULL));
    L = lua_newstate(allocate, &used);
    if (!L)
        HL_FAIL(HL_E_NOMEM, "no memory for an interpreter");
    lua_pushcfunction(L, run_file);
    lua_pushlightuserdata(L, (void *)(uintptr_t)path);
    lua_pushlightuserdata(L, text);
    if (lua_pcall(L, 2, 1, 0) != LUA_OK)
        HL_FAIL(HL_E_FORMAT, "%s", lua_tostring(L, -1) ? lua_tostring(L, -1) : path);
    if (lua_isstring(L, -1))
        HL_TRY(resolve(path, lua_tostring(L, -1), dir));
out:
    if (L)
        lua_close(L);
    hl_free(text);
    return st;
}
