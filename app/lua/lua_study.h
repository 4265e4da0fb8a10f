#ifndef HL_LUA_STUDY_H
#define HL_LUA_STUDY_H

#include "app/lua/experiment.h"

/* Makes e a study: the one that was loaded last. */
HL_MUST_CHECK hl_status hl_lua_attach_study(hl_lua *h, hl_experiment *e);

#endif
