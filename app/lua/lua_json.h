/* Plain data between Lua and JSON. */
#ifndef HL_LUA_JSON_H
#define HL_LUA_JSON_H

#include <lua.h>

#include "engine/base/json.h"

/* The value on top of the stack, which stays; `what` names it in errors. */
HL_MUST_CHECK hl_status hl_lua_to_json(lua_State *L, const char *what, hl_str *out);
void hl_lua_push_json(lua_State *L, const hl_json *v);

#endif
