/* Recipes of quantization from scripts. */
#ifndef HL_LUA_QUANT_H
#define HL_LUA_QUANT_H

#include <lua.h>

#include "engine/hl_engine.h"

typedef struct hl_quant_plan {
    hl_quant_rules rules;
    hl_quant_recipe recipe;
    char **in_float, **skip; /* behind both; owned */
} hl_quant_plan;

/* From the tables at these indices: a model's quantization() and options as in
 * scripts_lua/hop/quantize.lua. Errors: ARG, NOMEM; done with hl_quant_plan_done in any case. */
HL_MUST_CHECK hl_status hl_lua_take_quant_plan(lua_State *L, int rules, int recipe,
                                               hl_quant_plan *out);
void hl_quant_plan_done(hl_quant_plan *p);

#endif
