#include "engine/base/vec.h"

#include <criterion/criterion.h>

Test(vec, pushes_and_keeps_order)
{
    HL_VEC(int) v = {0};
    const int64_t live = hl_mem_get_stats().live_bytes, calls = hl_mem_get_stats().n_alloc;
    for (int i = 0; i < 100000; i++)
        cr_assert_eq(hl_vec_push(&v, i * 3), HL_OK);
    /* growth by 1.5 from 8 to 100000 */
    cr_expect(hl_mem_get_stats().n_alloc - calls < 30);
    cr_expect_eq(v.n, 100000);
    cr_expect(v.cap >= v.n && v.cap <= 150000);
    for (int i = 0; i < 100000; i++)
        cr_assert_eq(v.at[i], i * 3);
    hl_vec_done(&v);
    cr_expect(v.at == NULL && v.n == 0 && v.cap == 0);
    cr_expect_eq(hl_mem_get_stats().live_bytes, live);
    hl_vec_done(&v); /* twice is fine */
}

Test(vec, reserve)
{
    HL_VEC(double) v = {0};
    cr_assert_eq(hl_vec_reserve(&v, 0), HL_OK);
    cr_expect_null(v.at);
    cr_assert_eq(hl_vec_reserve(&v, 1), HL_OK);
    cr_expect(v.cap >= 1);
    cr_assert_eq(hl_vec_reserve(&v, 1000), HL_OK);
    const double *at = v.at;
    const size_t cap = v.cap;
    cr_expect(cap >= 1000);
    cr_assert_eq(hl_vec_reserve(&v, cap), HL_OK);
    cr_expect(v.at == at && v.cap == cap, "nothing to do");
    hl_vec_done(&v);
}

Test(vec, elements_of_any_size)
{
    typedef struct wide {
        char text[300];
    } wide;
    HL_VEC(wide) v = {0};
    for (int i = 0; i < 100; i++) {
        wide w = {.text = {(char)i}};
        w.text[299] = (char)-i;
        cr_assert_eq(hl_vec_push(&v, w), HL_OK);
    }
    for (int i = 0; i < 100; i++)
        cr_assert(v.at[i].text[0] == (char)i && v.at[i].text[299] == (char)-i);
    hl_vec_done(&v);
}

Test(vec, failure_keeps_what_was_there)
{
    HL_VEC(int64_t) v = {0};
    cr_assert_eq(hl_vec_push(&v, 5), HL_OK);
    while (v.n < v.cap)
        cr_assert_eq(hl_vec_push(&v, 6), HL_OK);
    const size_t n = v.n;
    hl_mem_fail_after(0);
    cr_expect_eq(hl_vec_push(&v, 7), HL_E_NOMEM);
    cr_expect(v.n == n && v.cap == n && v.at[0] == 5 && v.at[n - 1] == 6);
    cr_expect_eq(hl_vec_reserve(&v, SIZE_MAX / 4), HL_E_NOMEM, "product overflows");
    cr_expect_eq(hl_vec_reserve(&v, SIZE_MAX), HL_E_NOMEM);
    cr_expect_eq(hl_err_code(), HL_E_NOMEM);
    cr_expect_eq(hl_vec_push(&v, 7), HL_OK);
    cr_expect_eq(v.at[n], 7);
    hl_vec_done(&v);
}
