/* The workbench: what main.c lends to the commands. */
#ifndef HL_VIEWS_WORKBENCH_H
#define HL_VIEWS_WORKBENCH_H

#include "app/hl_app.h"

/* app/workbench.h describes it. */
hl_workbench_fn hl_workbench;

#endif
