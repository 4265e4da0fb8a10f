/* Recipes of quantization from scripts. */
#ifndef HL_LUA_QUANT_H
#define HL_LUA_QUANT_H

#include <lua.h>

#include "app/exp/experiment.h"

/* From the tables at these indices: a model's quantization() and options as in
 * scripts_lua/hop/quantize.lua. Errors: ARG, NOMEM; done with hl_quant_plan_done in any case. */
HL_MUST_CHECK hl_status hl_lua_take_quant_plan(lua_State *L, int rules, int recipe,
                                               hl_quant_plan *out);

#endif
