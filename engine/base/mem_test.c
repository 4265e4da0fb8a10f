#include "engine/base/mem.h"

#include <criterion/criterion.h>
#include <string.h>

#include "engine/base/err.h"

static int64_t live(void)
{
    return hl_mem_get_stats().live_bytes;
}

static void expect_no_memory(const void *p, const char *what)
{
    cr_expect_null(p, "%s", what);
    cr_expect_eq(hl_err_code(), HL_E_NOMEM, "%s", what);
    hl_err_clear();
}

Test(mem, counts_what_is_live)
{
    const hl_mem_stats before = hl_mem_get_stats();
    char *p = hl_alloc(1000), *q = hl_alloc(0);
    cr_assert(p && q);
    const hl_mem_stats in_use = hl_mem_get_stats();
    cr_expect(in_use.live_bytes >= before.live_bytes + 1000);
    cr_expect(in_use.live_bytes < before.live_bytes + 1000 + 200);
    cr_expect(in_use.peak_bytes >= in_use.live_bytes);
    cr_expect_eq(in_use.n_alloc, before.n_alloc + 2);
    p = hl_realloc(p, 5000);
    cr_assert(p);
    cr_expect(live() >= before.live_bytes + 5000);
    p = hl_realloc(p, 10);
    cr_expect(live() < before.live_bytes + 1000);
    hl_free(p);
    hl_free(q);
    hl_free(NULL);
    cr_expect_eq(live(), before.live_bytes);
    cr_expect(hl_mem_get_stats().peak_bytes >= before.live_bytes + 5000);
}

Test(mem, zeroed_memory_is_zero_on_used_heap)
{
    for (size_t n = 1; n < 5000; n += 97) {
        unsigned char *p = hl_alloc(n);
        cr_assert(p);
        memset(p, 0xAA, n);
        hl_free(p);
        p = hl_alloc_zero(n, 1);
        cr_assert(p);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(p[i], 0);
        hl_free(p);
    }
    void *empty = hl_alloc_zero(0, 100);
    cr_expect_not_null(empty);
    hl_free(empty);
}

Test(mem, sizes_no_machine_has)
{
    const int64_t before = live();
    expect_no_memory(hl_alloc(SIZE_MAX), "alloc");
    expect_no_memory(hl_alloc((size_t)PTRDIFF_MAX + 1), "alloc past PTRDIFF_MAX");
    expect_no_memory(hl_alloc_zero(SIZE_MAX / 2, 3), "product");
    expect_no_memory(hl_alloc_zero((size_t)1 << 32, (size_t)1 << 32), "product is 0 modulo 2^64");
    expect_no_memory(hl_block_new(SIZE_MAX), "block");
    expect_no_memory(hl_strndup("x", SIZE_MAX), "strndup");
    char *p = hl_strdup("kept");
    expect_no_memory(hl_realloc(p, SIZE_MAX), "realloc");
    cr_expect_str_eq(p, "kept");
    hl_mem_set_limit(1 << 30); /* live + wanted must not wrap */
    expect_no_memory(hl_alloc(PTRDIFF_MAX), "alloc under a limit");
    expect_no_memory(hl_block_new(PTRDIFF_MAX), "block under a limit");
    hl_mem_set_limit(0);
    hl_free(p);
    cr_expect_eq(live(), before);
}

Test(mem, realloc_moves_contents_and_starts_from_nothing)
{
    unsigned char *p = hl_realloc(NULL, 16);
    cr_assert(p);
    for (int i = 0; i < 16; i++)
        p[i] = (unsigned char)i;
    p = hl_realloc(p, 1 << 20);
    for (int i = 0; i < 16; i++)
        cr_assert_eq(p[i], i);
    p = hl_realloc(p, 4);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(p[i], i);
    p = hl_realloc(p, 0);
    cr_expect_not_null(p);
    hl_free(p);
}

Test(mem, limit)
{
    hl_mem_set_limit(live() + 100000);
    char *p = hl_alloc(60000);
    cr_assert(p);
    expect_no_memory(hl_alloc(60000), "past the limit");
    expect_no_memory(hl_block_new(60000), "a block past the limit");
    /* growing by 20000 fits: what counts is what is live afterwards */
    char *q = hl_realloc(p, 80000);
    cr_expect_not_null(q);
    p = q ? q : p;
    expect_no_memory(hl_realloc(p, 120000), "growing past the limit");
    q = hl_realloc(p, 1000);
    cr_expect_not_null(q, "shrinking never runs into the limit");
    p = q ? q : p;
    hl_mem_set_limit(live() - 500); /* under what is live already */
    expect_no_memory(hl_alloc(1), "over the limit already");
    hl_mem_set_limit(0);
    hl_free(p);
    p = hl_alloc(1 << 20);
    cr_expect_not_null(p);
    hl_free(p);
}

Test(mem, the_nth_allocation_fails_once)
{
    for (int64_t n = 0; n < 5; n++) {
        hl_mem_fail_after(n);
        for (int64_t i = 0; i < 8; i++) {
            void *p = i % 3 == 0 ? hl_alloc(8) : i % 3 == 1 ? hl_block_new(8) : hl_realloc(NULL, 8);
            cr_expect_eq(p == NULL, i == n, "fail_after(%d), allocation %d", (int)n, (int)i);
            if (i % 3 == 1)
                hl_block_free(p, 8);
            else
                hl_free(p);
        }
    }
    hl_mem_fail_after(0);
    hl_mem_fail_after(-1);
    void *p = hl_alloc(1);
    cr_expect_not_null(p);
    hl_mem_fail_after(0);
    void *q = hl_realloc(p, 100);
    cr_expect_null(q);
    hl_free(p);
}

Test(mem, text_copies)
{
    char *p = hl_strdup("");
    cr_expect_str_eq(p, "");
    hl_free(p);
    p = hl_strndup("abcdef", 3);
    cr_expect_str_eq(p, "abc");
    hl_free(p);
    const char raw[3] = {'x', 'y', 'z'}; /* no terminator */
    p = hl_strndup(raw, 3);
    cr_expect_str_eq(p, "xyz");
    hl_free(p);
    p = hl_strndup("abc", 0);
    cr_expect_str_eq(p, "");
    hl_free(p);
}

Test(mem, blocks_are_aligned_zeroed_and_counted)
{
    const size_t sizes[] = {0, 1, 63, 4095, 4096, 4097, (4u << 20) - 1, 4u << 20, (4u << 20) + 1};
    const int64_t before = live();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t n = sizes[i];
        for (int round = 0; round < 2; round++) { /* the second time the pages were dirty once */
            unsigned char *p = hl_block_new(n);
            cr_assert(p);
            cr_expect_eq((uintptr_t)p % 64, 0);
            size_t sum = 0;
            for (size_t k = 0; k < n; k++)
                sum += p[k];
            cr_expect_eq(sum, 0, "%zu bytes", n);
            cr_expect(live() - before >= (int64_t)n && live() - before <= (int64_t)n + 4096);
            memset(p, 0xFF, n);
            hl_block_free(p, n);
            cr_expect_eq(live(), before);
        }
    }
    hl_block_free(NULL, 100);
    cr_expect_eq(live(), before);
}

Test(mem, checked_arithmetic)
{
    size_t r = 7;
    cr_expect(hl_mul_size(SIZE_MAX, 1, &r) && r == SIZE_MAX);
    cr_expect(hl_mul_size(0, SIZE_MAX, &r) && r == 0);
    cr_expect(hl_mul_size((size_t)1 << 31, (size_t)1 << 32, &r) && r == (size_t)1 << 63);
    cr_expect_not(hl_mul_size((size_t)1 << 32, (size_t)1 << 32, &r));
    cr_expect(hl_add_size(SIZE_MAX, 0, &r) && r == SIZE_MAX);
    cr_expect_not(hl_add_size(SIZE_MAX, 1, &r));
}

Test(mem, what_the_system_says)
{
    enum { N = 32 << 20 };
    const int64_t before = hl_mem_process_bytes();
    cr_expect(before > 0);
    char *p = hl_block_new(N);
    cr_assert(p);
    memset(p, 1, N);
    const int64_t touched = hl_mem_process_bytes();
    cr_expect(touched >= before + N / 2, "%lld to %lld", (long long)before, (long long)touched);
    hl_block_free(p, N);
    cr_expect(hl_mem_process_bytes() <= touched - N / 2);
    cr_expect(hl_mem_process_peak_bytes() >= touched - (1 << 20));
    cr_expect(hl_mem_available_bytes() > 0);
}
