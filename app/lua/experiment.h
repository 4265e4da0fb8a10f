/* From a script to an experiment that the drivers can run. */
#ifndef HL_LUA_EXPERIMENT_H
#define HL_LUA_EXPERIMENT_H

#include "app/exp/train.h"
#include "app/lua/host.h"

typedef struct hl_override {
    const char *path, *text; /* -s path=text */
} hl_override;

/* Runs the script and resolves what it returns. Errors carry the script's line; a wrong -s path is
 * HL_E_NOTFOUND. After it hl_lua_config has the resolved configuration without data opened. */
HL_MUST_CHECK hl_status hl_lua_load_experiment(hl_lua *h, const char *path,
                                               const hl_override *overrides, int n);
/* Opens the data, makes the model, records its losses. The experiment's hooks call into h, which
 * must outlive it. */
HL_MUST_CHECK hl_status hl_lua_build_experiment(hl_lua *h, hl_experiment **out);

/* Ties the hooks' run handle to a driver, for as long as it lives; NULL unties. */
void hl_lua_set_driver(hl_experiment *e, hl_train *driver);

/* Embedded script by name ("exp/demo.lua"), or NULL. */
const char *hl_lua_embedded(const char *name);

#endif
