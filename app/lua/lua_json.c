/* Plain data between Lua and JSON: nil, booleans, numbers, strings, tables of those. A table with
 * keys 1..n is an array, any other an object with its keys sorted (so that equal data is equal
 * text); an empty table is an array. */
#include <stdlib.h>
#include <string.h>

#include "app/lua/host_internal.h"
#include "app/lua/lua_json.h"

enum { DEPTH_MAX = 32 };

static hl_status to_json(lua_State *L, hl_str *b, int depth, const char *path);

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static hl_status object_to_json(lua_State *L, hl_str *b, int depth, const char *path)
{
    hl_status st = HL_OK;
    const int table = lua_gettop(L);
    size_t n = 0, i = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1), n++)
        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_settop(L, table);
            return hl_err_set(HL_E_ARG, "%s mixes names and positions", path);
        }
    const char **keys = hl_alloc((n + 1) * sizeof *keys);
    if (!keys)
        return HL_E_NOMEM;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
        keys[i++] = lua_tostring(L, -2); /* the table keeps the string */
    qsort(keys, n, sizeof *keys, compare_text);
    hl_json_begin(b, '{');
    for (i = 0; i < n && st == HL_OK; i++) {
        char inner[256];
        snprintf(inner, sizeof inner, "%.120s.%.120s", path, keys[i]);
        hl_json_add_key(b, keys[i]);
        lua_getfield(L, table, keys[i]);
        st = to_json(L, b, depth + 1, inner);
        lua_pop(L, 1);
    }
    hl_json_end(b, '}');
    hl_free(keys);
    return st;
}

static hl_status to_json(lua_State *L, hl_str *b, int depth, const char *path)
{
    hl_status st = HL_OK;
    if (depth > DEPTH_MAX || !lua_checkstack(L, 6))
        return hl_err_set(HL_E_ARG, "%s is nested too deep (or contains itself)", path);
    switch (lua_type(L, -1)) {
    case LUA_TNIL:
        hl_json_add_null(b);
        return HL_OK;
    case LUA_TBOOLEAN:
        hl_json_add_bool(b, lua_toboolean(L, -1));
        return HL_OK;
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1))
            hl_json_add_int(b, lua_tointeger(L, -1));
        else
            hl_json_add_num(b, lua_tonumber(L, -1));
        return HL_OK;
    case LUA_TSTRING:
        hl_json_add_str(b, lua_tostring(L, -1));
        return HL_OK;
    case LUA_TTABLE:
        break;
    case LUA_TLIGHTUSERDATA: /* core.null: a member that is there and null */
        hl_json_add_null(b);
        return HL_OK;
    default:
        return hl_err_set(HL_E_ARG, "%s is a %s; only plain data can be stored", path,
                          luaL_typename(L, -1));
    }
    const lua_Unsigned n = lua_rawlen(L, -1);
    lua_pushnil(L);
    const bool empty = !lua_next(L, -2);
    if (!empty)
        lua_pop(L, 2);
    if (n == 0 && !empty)
        return object_to_json(L, b, depth, path);
    hl_json_begin(b, '[');
    for (lua_Unsigned i = 1; i <= n && st == HL_OK; i++) {
        char inner[256];
        snprintf(inner, sizeof inner, "%.200s[%llu]", path, (unsigned long long)i);
        lua_rawgeti(L, -1, (lua_Integer)i);
        st = to_json(L, b, depth + 1, inner);
        lua_pop(L, 1);
    }
    hl_json_end(b, ']');
    return st;
}

hl_status hl_lua_to_json(lua_State *L, const char *what, hl_str *out)
{
    hl_status st = to_json(L, out, 0, what);
    return st == HL_OK ? hl_str_status(out) : st;
}

void hl_lua_push_json(lua_State *L, const hl_json *v)
{
    luaL_checkstack(L, 6, "deep JSON");
    if (hl_json_is_object(v)) {
        lua_newtable(L);
        for (const hl_json *m = hl_json_at(v, 0); m; m = hl_json_next(m)) {
            hl_lua_push_json(L, m);
            lua_setfield(L, -2, hl_json_key(m));
        }
    } else if (hl_json_is_array(v)) {
        lua_newtable(L);
        lua_Integer i = 1;
        for (const hl_json *m = hl_json_at(v, 0); m; m = hl_json_next(m)) {
            hl_lua_push_json(L, m);
            lua_rawseti(L, -2, i++);
        }
    } else if (hl_json_is_bool(v)) {
        lua_pushboolean(L, hl_json_bool(v, false));
    } else if (hl_json_is_number(v)) {
        double x = hl_json_num(v, 0);
        lua_Integer whole;
        if (lua_numbertointeger(x, &whole) && (lua_Number)whole == x)
            lua_pushinteger(L, whole);
        else
            lua_pushnumber(L, x);
    } else if (hl_json_is_string(v)) {
        lua_pushstring(L, hl_json_str(v, ""));
    } else {
        lua_pushnil(L);
    }
}
