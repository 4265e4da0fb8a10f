/* Placing by lifetime: the properties that any plan must have, on many random ones. */
#include "engine/exec/plan.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"

static size_t round64(size_t n)
{
    return (n + 63) / 64 * 64;
}

static bool together(const hl_plan_item *a, const hl_plan_item *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Bytes alive at a step, each item rounded up to whole lines: no plan needs less at its worst step.
 */
static size_t lower_bound(const hl_plan_item *items, size_t n)
{
    size_t most = 0;
    for (size_t k = 0; k < n; k++) { /* the worst step is one at which something begins */
        size_t alive = 0;
        for (size_t i = 0; i < n; i++)
            if (items[i].first <= items[k].first && items[k].first <= items[i].last)
                alive += round64(items[i].bytes);
        most = alive > most ? alive : most;
    }
    return most;
}

static void check_plan(const hl_plan_item *items, size_t n, size_t arena, int seed)
{
    size_t end = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(items[i].offset % 64, 0, "plan %d, item %zu at %zu", seed, i, items[i].offset);
        end = items[i].offset + items[i].bytes > end ? items[i].offset + items[i].bytes : end;
        sum += round64(items[i].bytes);
        for (size_t k = 0; k < i; k++)
            cr_assert(!together(&items[i], &items[k]) || items[i].bytes == 0 ||
                          items[k].bytes == 0 ||
                          items[i].offset + items[i].bytes <= items[k].offset ||
                          items[k].offset + items[k].bytes <= items[i].offset,
                      "plan %d: items %zu and %zu overlap", seed, i, k);
    }
    cr_assert_eq(arena, round64(end), "plan %d", seed);
    cr_assert_leq(arena, sum, "plan %d", seed);
    cr_assert_geq(arena, lower_bound(items, n), "plan %d", seed);
}

/* Sizes of several kinds (lines and odd numbers, equal ones, zeros), short and long lives. */
static void draw(hl_plan_item *items, size_t n, int seed)
{
    hl_rng r = hl_rng_make((uint64_t)seed, HL_RNG_TEST, 1, 0);
    const uint32_t n_steps = 1 + hl_rng_below(&r, 60), kind = hl_rng_below(&r, 4);
    for (size_t i = 0; i < n; i++) {
        const uint32_t first = hl_rng_below(&r, n_steps);
        const uint32_t life = hl_rng_below(&r, 5) == 0 ? n_steps : hl_rng_below(&r, 6);
        static const uint32_t most[4] = {3, 200, 5000, 100000};
        size_t bytes = hl_rng_below(&r, most[kind]);
        bytes = kind == 0 ? bytes * 64 : bytes; /* 0, 64 or 128 */
        if (hl_rng_below(&r, 10) == 0)
            bytes = 0;
        items[i] = (hl_plan_item){
            .bytes = bytes, .first = (int)first, .last = (int)(first + life), .offset = 12345};
    }
}

Test(plan, random_lifetimes)
{
    hl_plan_item items[120], again[120];
    for (int seed = 0; seed < 1000; seed++) {
        const size_t n = (size_t)seed % 120;
        size_t arena, arena2;
        draw(items, n, seed);
        draw(again, n, seed);
        cr_assert_eq(hl_plan_place(items, n, &arena), HL_OK);
        check_plan(items, n, arena, seed);
        cr_assert_eq(hl_plan_place(again, n, &arena2), HL_OK);
        cr_assert_eq(arena, arena2);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(items[i].offset, again[i].offset, "plan %d is not reproducible", seed);
    }
}

Test(plan, two_thousand_items, .timeout = 60)
{
    hl_plan_item *items = malloc(2000 * sizeof *items);
    size_t arena;
    for (int seed = 0; seed < 4; seed++) {
        draw(items, 2000, 7000 + seed);
        cr_assert_eq(hl_plan_place(items, 2000, &arena), HL_OK);
        check_plan(items, 2000, arena, seed);
    }
    free(items);
}

Test(plan, nothing_to_place)
{
    size_t arena = 99;
    cr_assert_eq(hl_plan_place(NULL, 0, &arena), HL_OK);
    cr_assert_eq(arena, 0);
    hl_plan_item empty[2] = {{.bytes = 0, .first = 0, .last = 9},
                             {.bytes = 0, .first = 3, .last = 3}};
    cr_assert_eq(hl_plan_place(empty, 2, &arena), HL_OK);
    cr_assert_eq(arena, 0);
    cr_assert_eq(empty[0].offset % 64, 0);
}

/* What a chain of layers looks like: each step reads the last and writes the next; two buffers do.
 */
Test(plan, chains_take_two_buffers)
{
    hl_plan_item items[50];
    size_t arena;
    for (int i = 0; i < 50; i++)
        items[i] = (hl_plan_item){.bytes = 1000, .first = i, .last = i + 1};
    cr_assert_eq(hl_plan_place(items, 50, &arena), HL_OK);
    cr_assert_eq(arena, 2 * 1024 - 24 + 24);
    /* last reader and next writer in one step are alive together */
    cr_assert_neq(items[0].offset, items[1].offset);
}

/* A gap is used only if it holds the item, and the lowest one is. */
Test(plan, gaps)
{
    hl_plan_item items[] = {{.bytes = 640, .first = 0, .last = 9}, /* at 0 */
                            {.bytes = 512, .first = 0, .last = 1}, /* at 640, leaves a gap */
                            {.bytes = 448, .first = 0, .last = 9}, /* at 1152 */
                            {.bytes = 384, .first = 2, .last = 3}, /* into the gap */
                            {.bytes = 128, .first = 2, .last = 3}, /* beside it */
                            {.bytes = 64, .first = 2, .last = 3}}; /* behind everything */
    const size_t want[] = {0, 640, 1152, 640, 1024, 1600};
    size_t arena;
    cr_assert_eq(hl_plan_place(items, 6, &arena), HL_OK);
    for (int i = 0; i < 6; i++)
        cr_expect_eq(items[i].offset, want[i], "item %d at %zu", i, items[i].offset);
    cr_expect_eq(arena, 1664);
}

/* Three items that each can be counted and together cannot: an error, not an arena of a few bytes.
 */
Test(plan, sums_that_overflow)
{
    const size_t huge = SIZE_MAX / 4;
    hl_plan_item items[6];
    size_t arena = 0;
    for (int i = 0; i < 6; i++)
        items[i] = (hl_plan_item){.bytes = huge, .first = 0, .last = 1};
    cr_expect_eq(hl_plan_place(items, 6, &arena), HL_E_NOMEM, "an arena of %zu bytes", arena);
    items[0].bytes = SIZE_MAX; /* rounding up overflows */
    cr_expect_eq(hl_plan_place(items, 1, &arena), HL_E_NOMEM, "an arena of %zu bytes", arena);
}

Test(plan, every_allocation_may_fail)
{
    hl_plan_item item = {.bytes = 100};
    size_t arena;
    const int64_t live = hl_mem_get_stats().live_bytes;
    for (int64_t n = 0; n < 2; n++) {
        hl_mem_fail_after(n);
        cr_assert_eq(hl_plan_place(&item, 1, &arena), HL_E_NOMEM);
        hl_mem_fail_after(-1);
        cr_assert_eq(hl_mem_get_stats().live_bytes, live);
    }
    cr_assert_eq(hl_plan_place(&item, 1, &arena), HL_OK);
}
