/* Placing of buffers in one arena by lifetime. */
#ifndef HL_EXEC_PLAN_H
#define HL_EXEC_PLAN_H

#include "engine/base/err.h"

typedef struct hl_plan_item {
    size_t bytes;
    int first, last; /* steps during which it must exist, inclusive */
    size_t offset;   /* result, a multiple of 64 */
} hl_plan_item;

/* Greedy by size: the largest first, each at the lowest offset where nothing alive overlaps it.
 * O(n^2). *arena_bytes: end of the last one, rounded up to 64; PTRDIFF_MAX (and NOMEM) if the items
 * add up to more than can be addressed. */
HL_MUST_CHECK hl_status hl_plan_place(hl_plan_item *items, size_t n, size_t *arena_bytes);

#endif
