/* The screen's Lua, for whoever starts a screen. */
#ifndef HL_LUA_SCRIPTING_H
#define HL_LUA_SCRIPTING_H

#include "app/scripting.h"

extern const hl_scripting_class hl_lua_scripting;

#endif
