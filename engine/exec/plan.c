#include "engine/exec/plan.h"

#include <stdlib.h>

#include "engine/base/mem.h"

static int larger_first(const void *a, const void *b)
{
    const hl_plan_item *x = *(hl_plan_item *const *)a, *y = *(hl_plan_item *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : x > y; /* a fixed order, so that a plan is reproducible */
}

static int lower_first(const void *a, const void *b)
{
    const hl_plan_item *x = *(hl_plan_item *const *)a, *y = *(hl_plan_item *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Lowest gap among the placed ones that overlap in time. alive: room for n pointers. */
static size_t lowest_gap(hl_plan_item *const *placed, size_t n, const hl_plan_item *item,
                         hl_plan_item **alive)
{
    size_t n_alive = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        if (placed[i]->first <= item->last && item->first <= placed[i]->last && placed[i]->bytes)
            alive[n_alive++] = placed[i];
    if (n_alive)
        qsort(alive, n_alive, sizeof *alive, lower_first);
    for (size_t i = 0; i < n_alive; i++) {
        if (alive[i]->offset >= at + item->bytes)
            break;
        size_t end = hl_align64(alive[i]->offset + alive[i]->bytes);
        at = end > at ? end : at;
    }
    return at;
}

/* Can all items together be addressed? Then no sum below overflows. */
static bool is_addressable(const hl_plan_item *items, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++)
        if (items[i].bytes > PTRDIFF_MAX - 63 || !hl_add_size(sum, hl_align64(items[i].bytes), &sum) ||
            sum > PTRDIFF_MAX)
            return false;
    return true;
}

hl_status hl_plan_place(hl_plan_item *items, size_t n, size_t *arena_bytes)
{
    if (!is_addressable(items, n)) {
        *arena_bytes = PTRDIFF_MAX;
        return hl_err_nomem("the buffers of a program", PTRDIFF_MAX);
    }
    hl_plan_item **order = hl_alloc((n + 1) * sizeof *order);
    hl_plan_item **alive = hl_alloc((n + 1) * sizeof *alive);
    size_t end = 0;
    if (order && alive) {
        for (size_t i = 0; i < n; i++)
            order[i] = &items[i];
        if (n)
            qsort(order, n, sizeof *order, larger_first);
        for (size_t i = 0; i < n; i++) {
            order[i]->offset = lowest_gap(order, i, order[i], alive);
            if (order[i]->offset + order[i]->bytes > end)
                end = order[i]->offset + order[i]->bytes;
        }
        *arena_bytes = hl_align64(end);
    }
    hl_status st = order && alive ? HL_OK : HL_E_NOMEM;
    hl_free(order);
    hl_free(alive);
    return st;
}
