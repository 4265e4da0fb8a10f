/* Models made again from what a run or another program left (scripts_lua/hop/evaluate.lua, hf.lua).
 */
#ifndef HL_LUA_MODEL_H
#define HL_LUA_MODEL_H

#include "app/lua/experiment.h"
#include "engine/base/json.h"

typedef struct hl_eval_request {
    const hl_override *sets; /* of -s */
    int n_sets;
    bool other_model;  /* -s may change what the checkpoint was trained with */
    const char *data;  /* of a foreign model: text file, or NULL */
    bool same_batches; /* training batches as large as those of evaluation */
    /* Of a quantized checkpoint, else NULL: the recipe, which -s may not change; and how the model
     * it was made of was evaluated, where that is not the script's. Parameters are zeros then. */
    const hl_json *quantize, *config;
} hl_eval_request;

/* Like hl_lua_load_experiment, for evaluating: the script of a run, with model and data as its
 * config.json says. A wrong -s path is HL_E_NOTFOUND; a change of the model that was not asked for,
 * ARG. */
HL_MUST_CHECK hl_status hl_lua_load_evaluated(hl_lua *h, const char *script, const hl_json *config,
                                              const hl_eval_request *r);
/* The same for a directory that nn.from_hf reads. */
HL_MUST_CHECK hl_status hl_lua_load_evaluated_hf(hl_lua *h, const char *dir,
                                                 const hl_eval_request *r);

typedef struct hl_hf_about {
    const char *run; /* id, or NULL */
    int64_t step;
    bool fp64; /* the tensors are doubles */
} hl_hf_about;

/* config.json of a checkpoint of ours -> config.json as the transformers library reads it, with our
 * own options under "hoplab". Errors: UNSUPPORTED (a model that has no such form), FORMAT. */
HL_MUST_CHECK hl_status hl_lua_hf_config(hl_lua *h, const hl_json *config, const hl_hf_about *about,
                                         hl_str *out);

#endif
