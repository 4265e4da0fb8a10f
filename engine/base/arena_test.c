#include "engine/base/arena.h"

#include <criterion/criterion.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"

Test(arena, pieces_are_aligned_zeroed_and_apart)
{
    enum { N = 3000 };
    static unsigned char *at[N];
    static size_t size[N];
    hl_arena a = {0};
    const int64_t before = hl_mem_get_stats().live_bytes;
    for (int round = 0; round < 2; round++) { /* the second round meets dirty memory */
        hl_rng r = hl_rng_make(1, HL_RNG_TEST, 1, (uint32_t)round);
        for (int i = 0; i < N; i++) {
            const uint32_t kind = hl_rng_below(&r, 100);
            size[i] = kind == 0  ? 16384 + hl_rng_below(&r, 50000)
                      : kind < 5 ? 4096 * hl_rng_below(&r, 5)
                                 : hl_rng_below(&r, 200);
            at[i] = hl_arena_alloc(&a, size[i]);
            cr_assert_not_null(at[i]);
            cr_assert_eq((uintptr_t)at[i] % 16, 0);
            for (size_t k = 0; k < size[i]; k++)
                cr_assert_eq(at[i][k], 0);
            memset(at[i], i % 255 + 1, size[i]);
        }
        for (int i = 0; i < N; i++)
            for (size_t k = 0; k < size[i]; k++)
                cr_assert_eq(at[i][k], i % 255 + 1, "piece %d was overwritten", i);
        hl_arena_done(&a);
        cr_expect_eq(hl_mem_get_stats().live_bytes, before);
    }
    hl_arena_done(&a); /* empty */
}

Test(arena, sizes_around_a_chunk)
{
    for (size_t n = 16384 - 40; n <= 16384 + 40; n++) {
        hl_arena a = {0};
        unsigned char *p = hl_arena_alloc(&a, 8), *q = hl_arena_alloc(&a, n);
        cr_assert(p && q);
        memset(q, 1, n); /* the sanitizer watches the end */
        cr_expect_eq(*p, 0);
        hl_arena_done(&a);
    }
}

Test(arena, sizes_no_machine_has)
{
    hl_arena a = {0};
    cr_assert_not_null(hl_arena_alloc(&a, 100));
    for (size_t less = 0; less < 100; less++) {
        hl_err_clear();
        cr_assert_null(hl_arena_alloc(&a, SIZE_MAX - less));
        cr_assert_eq(hl_err_code(), HL_E_NOMEM, "SIZE_MAX - %zu", less);
    }
    cr_expect_not_null(hl_arena_alloc(&a, 100));
    hl_arena_done(&a);
}

Test(arena, text)
{
    hl_arena a = {0};
    char *p = hl_arena_strdup(&a, "layer.0"), *q = hl_arena_strdup(&a, "");
    char *r = hl_arena_printf(&a, "%s.%d", p, 12), *big = hl_arena_printf(&a, "%*d", 50000, 7);
    cr_expect_str_eq(p, "layer.0");
    cr_expect_str_eq(q, "");
    cr_expect_str_eq(r, "layer.0.12");
    cr_assert_eq(strlen(big), 50000);
    cr_expect_eq(big[49999], '7');
    hl_arena_done(&a);
}

Test(arena, usable_after_a_failure)
{
    hl_arena a = {0};
    hl_mem_fail_after(0);
    cr_expect_null(hl_arena_strdup(&a, "x"));
    cr_expect_eq(hl_err_code(), HL_E_NOMEM);
    char *kept = hl_arena_strdup(&a, "kept");
    hl_mem_fail_after(0);
    cr_expect_null(hl_arena_printf(&a, "%*d", 20000, 1));
    cr_expect_str_eq(kept, "kept");
    cr_expect_str_eq(hl_arena_strdup(&a, "y"), "y");
    hl_mem_fail_after(-1);
    hl_arena_done(&a);
}
