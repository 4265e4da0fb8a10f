/* Statistics that are read off recorded histograms. */
#include <criterion/criterion.h>
#include <math.h>

#include "views/layers.h"

/* n numbers spread evenly over [-1, 1], and `far` ones at 100. */
static hl_hist sample(int n, int far)
{
    hl_hist h = {.min = -1, .max = far ? 100 : 1};
    for (int i = 0; i < n + far; i++) {
        const double v = i < n ? -1 + 2 * (i + 0.5) / n : 100;
        int bin = 0;
        while (v >= hl_hist_edge(bin))
            bin++;
        h.bin[bin]++;
        h.num++;
        h.sum += v;
        h.sum_squares += v * v;
    }
    return h;
}

static double of(const hl_hist *h, int statistic)
{
    return hl_hist_statistic(h, statistic, -0.5, 0.5);
}

Test(layers, statistics_of_histograms)
{
    const hl_hist even = sample(10000, 0), one = sample(10000, 5), many = sample(10000, 20),
                  none = {0};
    cr_expect_float_eq(of(&even, HL_STAT_P999), 0.999, 0.001);
    cr_expect_eq(of(&even, HL_STAT_BEYOND), 0);
    cr_expect_float_eq(of(&even, HL_STAT_CLIPPED), 0.5, 0.001);
    cr_expect_float_eq(of(&one, HL_STAT_BEYOND), 5.0 / 10005, 1e-4);
    cr_expect_float_eq(of(&one, HL_STAT_P999), 1, 0.01, "5 of 10005 are less than 0.1 %%");
    cr_expect_gt(of(&many, HL_STAT_P999), 50, "20 of 10020 are more");
    cr_expect_leq(of(&many, HL_STAT_P999), 100);
    for (int s = HL_STATISTICS; s < HL_STATISTICS_SHOWN; s++)
        cr_expect(isnan(of(&none, s)));
    cr_expect(isnan(hl_hist_statistic(&even, HL_STAT_CLIPPED, (double)NAN, (double)NAN)),
              "no grid is known");
}
