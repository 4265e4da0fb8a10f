#include "engine/exec/plan.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

static int larger_first(const void *a, const void *b)
{
    const hl_plan_item *x = *(hl_plan_item *const *)a, *y = *(hl_plan_item *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : x > y; /* a fixed order, so that a plan is reproducible */
}

/* Lowest gap among the placed ones (by offset) that overlap in time. */
static size_t lowest_gap(hl_plan_item *const *placed, size_t n, const hl_plan_item *item)
{
    size_t at = 0;
    for (size_t i = 0; i < n && placed[i]->offset < at + item->bytes; i++) {
        if (placed[i]->first > item->last || item->first > placed[i]->last)
            continue;
        const size_t end = hl_align64(placed[i]->offset + placed[i]->bytes);
        at = end > at ? end : at;
    }
    return at;
}

/* Keeps them by offset. */
static void insert(hl_plan_item **placed, size_t n, hl_plan_item *item)
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (placed[middle]->offset < item->offset)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(placed + low + 1, placed + low, (n - low) * sizeof *placed);
    placed[low] = item;
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
    hl_plan_item **placed = hl_alloc((n + 1) * sizeof *placed);
    size_t end = 0, n_placed = 0;
    if (order && placed) {
        for (size_t i = 0; i < n; i++)
            order[i] = &items[i];
        if (n)
            qsort(order, n, sizeof *order, larger_first);
        for (size_t i = 0; i < n; i++) {
            order[i]->offset = lowest_gap(placed, n_placed, order[i]);
            if (order[i]->bytes) /* nothing takes no room */
                insert(placed, n_placed++, order[i]);
            if (order[i]->offset + order[i]->bytes > end)
                end = order[i]->offset + order[i]->bytes;
        }
        *arena_bytes = hl_align64(end);
    }
    hl_status st = order && placed ? HL_OK : HL_E_NOMEM;
    hl_free(order);
    hl_free(placed);
    return st;
}
