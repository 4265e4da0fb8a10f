/* JSON as a list of "path = value": what a person compares. */
#ifndef HL_FLAT_H
#define HL_FLAT_H

#include "engine/base/json.h"
#include "engine/base/vec.h"

typedef struct hl_flat_entry {
    char *path;           /* "model.layers[2]" */
    char *text;           /* strings without quotes */
    const hl_json *value; /* borrowed from the tree */
} hl_flat_entry;

typedef HL_VEC(hl_flat_entry) hl_flat; /* {0} is empty */

/* Adds every leaf below v (NULL: none), in order; empty objects and arrays are leaves. */
HL_MUST_CHECK hl_status hl_flat_add(hl_flat *f, const hl_json *v);
void hl_flat_sort(hl_flat *f); /* by path */
void hl_flat_done(hl_flat *f);
/* The entry at a path, or NULL. */
const hl_flat_entry *hl_flat_find(const hl_flat *f, const char *path);

#endif
