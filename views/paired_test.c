#include <criterion/criterion.h>
#include <math.h>

#include "views/paired.h"

static hl_pyramid *line(int from, int to, int by, double slope, double start)
{
    hl_pyramid *p = hl_pyramid_new();
    for (int i = from; i < to; i += by)
        cr_assert_eq(hl_pyramid_push(p, i, start + slope * i), HL_OK);
    return p;
}

static void point_is(const hl_pyramid *p, size_t i, double x, double y)
{
    cr_assert_lt(i, hl_pyramid_n(p));
    cr_assert_float_eq(hl_pyramid_x(p, i), x, 1e-9, "x of %zu: %g", i, hl_pyramid_x(p, i));
    cr_assert_float_eq(hl_pyramid_y(p, i), y, 1e-9, "y of %zu: %g", i, hl_pyramid_y(p, i));
}

Test(derived, differences_and_ratios_where_the_reference_is_known)
{
    hl_pyramid *a = line(0, 40, 3, 2, 5), *b = line(6, 31, 5, 1, 1);
    hl_paired d = {0}, r = {0};
    const hl_paired_of of = {.data = a, .reference = b, .relation = HL_RELATION_DIFFERENCE};
    const hl_paired_of ratio = {.data = a, .reference = b, .relation = HL_RELATION_RATIO};
    const hl_pyramid *out = hl_paired_follow(&d, &of);
    cr_assert_eq(hl_pyramid_n(out), 7); /* steps 6 to 24: the reference ends at 26 */
    point_is(out, 0, 6, 17 - 7);
    point_is(out, 6, 24, 53 - 25);
    cr_assert_eq(hl_pyramid_push(b, 31, 32), HL_OK);
    point_is(hl_paired_follow(&r, &ratio), 8, 30, 65.0 / 31);
    /* points that come later, of the reference too, and a cut of a resumed run */
    cr_assert_eq(hl_pyramid_push(b, 36, 37), HL_OK);
    const hl_paired_of now = {.data = a, .reference = b, .relation = HL_RELATION_DIFFERENCE};
    out = hl_paired_follow(&d, &now);
    point_is(out, hl_pyramid_n(out) - 1, 36, 77 - 37);
    hl_pyramid_cut(a, 20);
    out = hl_paired_follow(&d, &now);
    cr_assert_eq(hl_pyramid_n(out), 5); /* 6 9 12 15 18 */
    cr_assert_eq(hl_pyramid_push(a, 21, (double)NAN), HL_OK);
    out = hl_paired_follow(&d, &now);
    cr_assert(hl_pyramid_n(out) == 6 && isnan(hl_pyramid_y(out, 5)), "a gap stays one");
    hl_paired_done(&d);
    hl_paired_done(&r);
    hl_pyramid_free(a);
    hl_pyramid_free(b);
}

Test(derived, another_clock)
{
    /* 100 and 50 tokens a step */
    hl_pyramid *a = line(0, 11, 1, 1, 0), *b = line(0, 21, 1, 1, 0);
    hl_pyramid *ta = line(0, 10, 1, 100, 0), *tb = line(0, 21, 1, 50, 0);
    hl_paired d = {0};
    hl_paired_of of = {.data = a, .clock = ta};
    const hl_pyramid *out = hl_paired_follow(&d, &of);
    cr_assert_eq(hl_pyramid_n(out), 11);
    point_is(out, 3, 300, 3);
    point_is(out, 10, 1000, 10); /* behind the clock's end: its pace */
    cr_assert_eq(hl_pyramid_push(ta, 10, 1100), HL_OK);
    out = hl_paired_follow(&d, &of);
    point_is(out, 10, 1100, 10); /* and as it was, once that is known */
    /* at equal tokens b is at twice the step */
    of = (hl_paired_of){a, b, ta, tb, HL_RELATION_DIFFERENCE, 1};
    out = hl_paired_follow(&d, &of);
    cr_assert_eq(hl_pyramid_n(out), 10); /* not at 1100 tokens */
    for (size_t i = 0; i < 10; i++)
        point_is(out, i, 100 * (double)i, -(double)i);
    hl_paired_done(&d);
    hl_pyramid_free(a);
    hl_pyramid_free(b);
    hl_pyramid_free(ta);
    hl_pyramid_free(tb);
}
