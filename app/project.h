/* The project file: hoplab.lua in the working directory or above it. */
#ifndef HL_APP_PROJECT_H
#define HL_APP_PROJECT_H

#include "engine/base/err.h"

/* Its path, owned by the caller; NULL: there is none. */
char *hl_project_find(void);

#endif
