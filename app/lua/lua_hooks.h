/* Callbacks of a script as hooks of an experiment. */
#ifndef HL_LUA_HOOKS_H
#define HL_LUA_HOOKS_H

#include "app/exp/train.h"
#include "app/lua/host.h"

/* The table that runner.build returned is on top of h's stack. Fills e->hooks. */
HL_MUST_CHECK hl_status hl_lua_attach_hooks(hl_lua *h, hl_experiment *e);

#endif
