/* Sparklines, gauges, histograms and heat strips. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/widgets/bins.h"
#include "views/widgets/gauge.h"
#include "views/widgets/heat.h"
#include "views/widgets/histogram.h"
#include "views/widgets/number.h"
#include "views/widgets/spark.h"
#include "views/widgets/tally.h"
#include "views/widgets/widget_test.h"

static void expect_picture(const hl_canvas *c, const char *want)
{
    hl_str got = {0};
    cr_expect(test_stayed_inside(c));
    test_picture(c, &got);
    cr_expect(strcmp(hl_str_text(&got), want) == 0, "drawn:\n%swanted:\n%s", hl_str_text(&got),
              want);
    hl_str_done(&got);
}

static bool shows(const hl_canvas *c, const char *text)
{
    hl_str got = {0};
    test_picture(c, &got);
    const bool found = strstr(hl_str_text(&got), text) != NULL;
    hl_str_done(&got);
    return found;
}

static hl_canvas blank(hl_grid *g, int w, int h, hl_glyphs glyphs)
{
    const hl_canvas c = test_canvas(g, w, h, glyphs);
    hl_blank(c, 0, 0, w, h, HL_STYLE(TEXT));
    return c;
}

/* ---- sparklines and gauges ---- */

Test(spark, pictures)
{
    hl_grid g = {0};
    const float v[] = {0, 1, 2, 3, 4, 5, 6, 7, (float)NAN, 7, 0};
    static const char *const want[] = {"▁▂▃▄▅▆▇█!█▁\n", "▁▂▃▄▅▆▇█!█▁\n", "__▄▄▄▄██!█_\n",
                                       ".:-=+*%#!#.\n"};
    for (int k = 0; k < HL_GLYPHS_COUNT; k++) {
        hl_canvas c = blank(&g, 14, 1, (hl_glyphs)k);
        cr_expect_eq(hl_spark_draw(c, HL_STYLE(TEXT), v, 11), 11);
        expect_picture(&c, want[k]);
    }
    hl_canvas c = blank(&g, 4, 1, HL_GLYPHS_BRAILLE);
    cr_expect_eq(hl_spark_draw(c, HL_STYLE(TEXT), v, 8), 4);
    expect_picture(&c, "▂▄▆█\n");
    c = blank(&g, 4, 1, HL_GLYPHS_BRAILLE);
    cr_expect_eq(hl_spark_draw(c, HL_STYLE(TEXT), (const float[]){2, 2, 2}, 3), 3);
    expect_picture(&c, "▄▄▄\n");
    cr_expect_eq(hl_spark_draw(c, HL_STYLE(TEXT), NULL, 0), 0);
    hl_grid_done(&g);
}

Test(spark, one_spike_of_many_values_is_seen)
{
    static float v[100000];
    hl_grid g = {0};
    v[77777] = 1;
    hl_canvas c = blank(&g, 20, 1, HL_GLYPHS_BRAILLE);
    cr_expect_eq(hl_spark_draw(c, HL_STYLE(TEXT), v, 100000), 20);
    expect_picture(&c, "▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁█▁▁▁▁\n");
    v[3] = (float)INFINITY;
    hl_spark_draw(c, HL_STYLE(TEXT), v, 100000);
    expect_picture(&c, "!▁▁▁▁▁▁▁▁▁▁▁▁▁▁█▁▁▁▁\n");
    hl_grid_done(&g);
}

Test(gauge, pictures)
{
    hl_grid g = {0};
    hl_canvas c = blank(&g, 14, 1, HL_GLYPHS_BRAILLE);
    hl_gauge_draw(c, HL_STYLE(LIVE), 0.5, "50%");
    expect_picture(&c, "█████░░░░░ 50%\n");
    hl_gauge_draw(c, HL_STYLE(LIVE), 0.999, "99%");
    expect_picture(&c, "█████████░ 99%\n");
    hl_gauge_draw(c, HL_STYLE(LIVE), 7, NULL);
    expect_picture(&c, "██████████████\n");
    hl_gauge_draw(c, HL_STYLE(LIVE), (double)NAN, "reading");
    expect_picture(&c, "reading\n");
    c = blank(&g, 14, 1, HL_GLYPHS_ASCII);
    hl_gauge_draw(c, HL_STYLE(LIVE), 0.25, "x");
    expect_picture(&c, "###......... x\n");
    hl_grid_done(&g);
}

/* ---- histograms ---- */

static void add(hl_hist *h, double v, double n)
{
    int i = 0;
    while (v >= hl_hist_edge(i))
        i++;
    h->min = h->num > 0 ? fmin(h->min, v) : v;
    h->max = h->num > 0 ? fmax(h->max, v) : v;
    h->bin[i] += n;
    h->num += n;
    h->sum += v * n;
    h->sum_squares += v * v * n;
}

Test(histogram, one_bin_one_column)
{
    hl_hist h = {0};
    add(&h, 1.5, 1000);
    add(&h, -1.5, 10);
    add(&h, 100, 1);
    add(&h, -5000, 1);
    hl_grid g = {0};
    hl_canvas c = test_canvas(&g, 69, 8, HL_GLYPHS_ASCII);
    hl_histogram_draw(c, &(hl_histogram){.data = &h, .role = HL_ROLE_SERIES});
    hl_str got = {0};
    test_picture(&c, &got);
    int n_columns = 0;
    for (int x = 5; x < 69; x++) {
        const bool is_full = test_cell(&c, x, 5)->style.role == HL_ROLE_SERIES;
        const double v = hl_hist_edge(x - 5) > 0 ? hl_hist_edge(x - 5) / 1.9 : hl_hist_edge(x - 5);
        hl_hist one = {0};
        add(&one, v, 1);
        cr_expect_eq(is_full, h.bin[x - 5] > 0, "column %d", x);
        n_columns += is_full;
    }
    cr_expect_eq(n_columns, 4, "%s", hl_str_text(&got));
    hl_str_done(&got);
    hl_grid_done(&g);
}

/* Wherever a value is counted, its place on the axis lies in that bin: the sign of the maximum
 * stands below its bar. */
Test(histogram, places_agree_with_the_edges)
{
    hl_grid g = {0};
    uint64_t seed = 3;
    for (int i = 0; i < 4000; i++) {
        double v = pow(10, test_uniform(&seed) * 12 - 7);
        v = i < 64 ? nextafter(hl_hist_edge(i < 63 ? i : 62), i % 2 ? HUGE_VAL : -HUGE_VAL) : v;
        v = i >= 64 && i % 2 ? -v : v;
        hl_hist h = {0};
        add(&h, v, 1);
        hl_canvas c = test_canvas(&g, 69, 8, HL_GLYPHS_BRAILLE);
        hl_histogram_draw(c, &(hl_histogram){.data = &h, .role = HL_ROLE_SERIES});
        int bar = -1, arrow = -2;
        for (int x = 0; x < 69; x++) {
            bar = test_cell(&c, x, 5)->style.role == HL_ROLE_SERIES ? x : bar;
            arrow = test_cell(&c, x, 6)->ch == hl_sign_char(&g, HL_SIGN_UP) ? x : arrow;
        }
        cr_assert_eq(bar, arrow, "%.17g: bar %d, arrow %d", v, bar, arrow);
    }
    hl_grid_done(&g);
}

Test(histogram, a_single_count_beside_a_hundred_million)
{
    hl_hist h = {0};
    add(&h, 0.5, 1e8);
    add(&h, 300, 1);
    hl_grid g = {0};
    for (int k = 0; k < HL_GLYPHS_COUNT; k++)
        for (int w = 8; w < 140; w++) {
            hl_canvas c = test_canvas(&g, w, 3, (hl_glyphs)k);
            hl_histogram_draw(c, &(hl_histogram){.data = &h, .role = HL_ROLE_SERIES});
            int n = 0;
            for (int x = 0; x < w; x++)
                n += test_cell(&c, x, 1)->style.role == HL_ROLE_SERIES;
            cr_expect_geq(n, 2, "glyphs %d, %d columns", k, w);
        }
    hl_grid_done(&g);
}

Test(histogram, notes_and_nothing)
{
    char buf[HL_HISTOGRAM_NOTES_MAX];
    hl_hist h = {.n_non_finite = 3};
    hl_grid g = {0};
    hl_canvas c = test_canvas(&g, 30, 5, HL_GLYPHS_ASCII);
    hl_histogram_draw(c, &(hl_histogram){.data = NULL});
    cr_expect(shows(&c, "no histogram yet"));
    hl_histogram_draw(c, &(hl_histogram){.data = &h});
    cr_expect(shows(&c, "no finite value"));
    cr_expect_str_eq(hl_histogram_notes(NULL, buf), "");
    cr_expect_str_eq(hl_histogram_notes(&h, buf), "n 0  nan 3");
    add(&h, -14.3, 1);
    add(&h, 13.5, 1);
    cr_expect_str_eq(hl_histogram_notes(&h, buf), "n 2  min -14.3  max 13.5  sd 13.9  nan 3");
    hl_grid_done(&g);
}

Test(histogram, overlay_sigma_and_limits)
{
    hl_hist a = {0}, b = {0};
    for (int i = -20; i <= 20; i++) {
        add(&a, i / 20.0, 1000 * exp(-i * i / 50.0));
        add(&b, i / 10.0, 10);
    }
    add(&a, 900, 1e-3);
    hl_grid g = {0};
    hl_canvas c = test_canvas(&g, 70, 10, HL_GLYPHS_BRAILLE);
    hl_histogram_draw(c, &(hl_histogram){.data = &a,
                                         .over = &b,
                                         .role = HL_ROLE_SERIES,
                                         .over_role = HL_ROLE_SERIES + 1,
                                         .has_clip = true,
                                         .clip_lo = -30,
                                         .clip_hi = 30});
    cr_expect(test_stayed_inside(&c));
    int n_over = 0, n_dash = 0, n_clip = 0;
    for (int x = 5; x < 70; x++) {
        n_dash += test_cell(&c, x, 0)->ch == hl_sign_char(&g, HL_SIGN_DASH_V);
        n_clip += test_cell(&c, x, 0)->style.role == HL_ROLE_BAD;
        for (int y = 0; y < 8; y++)
            n_over += test_cell(&c, x, y)->style.role == HL_ROLE_SERIES + 1;
    }
    int n_bins = 0;
    for (int i = 0; i < HL_HIST_BINS; i++)
        n_bins += b.bin[i] > 0;
    cr_expect_eq(n_over, n_bins);
    cr_expect_eq(n_dash, 2);
    cr_expect_eq(n_clip, 2);
    hl_grid_done(&g);
}

/* Bins are spread over the columns that they cover, from the outermost value to its mirror. */
Test(histogram, linear_axis)
{
    hl_hist h = {0};
    add(&h, 4, 10);
    add(&h, 0.6, 5000); /* bin from 1/2 to 1 */
    hl_grid g = {0};
    hl_canvas c = test_canvas(&g, 69, 8, HL_GLYPHS_ASCII); /* 64 columns: 8 from one number to the next */
    hl_histogram_draw(c, &(hl_histogram){.data = &h, .role = HL_ROLE_SERIES, .linear = true});
    for (int x = 5; x < 69; x++) {
        const double from = (x - 5) / 8.0 - 4;
        const bool wanted = (from >= 0.6 - 0.125 && from < 1) || x == 68;
        cr_expect_eq(test_cell(&c, x, 5)->style.role == HL_ROLE_SERIES, wanted, "column %d", x);
    }
    cr_expect(shows(&c, "-4") && shows(&c, "4"));
    hl_grid_done(&g);
}

Test(histogram, every_size_stays_inside)
{
    static hl_hist odd[4]; /* the third stays empty */
    odd[0].num = 1;
    odd[1].num = odd[1].sum = 1e300;
    odd[1].sum_squares = DBL_MAX;
    for (int i = 0; i < HL_HIST_BINS; i++)
        odd[1].bin[i] = i % 7 == 0 ? DBL_MAX : 0.5;
    odd[1].min = -DBL_MAX;
    odd[1].max = DBL_MAX;
    odd[0].min = odd[0].max = (double)NAN;
    add(&odd[3], 1e-7, 3);
    add(&odd[3], -1, 3);
    hl_grid g = {0};
    for (int w = 0; w <= 140; w += w < 70 ? 1 : 9)
        for (int h = 0; h <= 14; h++)
            for (int k = 0; k < 16; k++) {
                hl_canvas c = test_canvas(&g, w, h, (hl_glyphs)(k % 4));
                hl_histogram_draw(c, &(hl_histogram){.data = &odd[k / 4],
                                                     .over = h % 2 ? &odd[3] : NULL,
                                                     .has_clip = w % 2,
                                                     .linear = w % 3 == 1,
                                                     .step = h % 3 * 0.25,
                                                     .clip_lo = -(double)INFINITY,
                                                     .clip_hi = (double)NAN});
                cr_assert(test_stayed_inside(&c), "%d x %d, kind %d", w, h, k);
            }
    hl_grid_done(&g);
}

/* ---- heat strips ---- */

static void fill(hl_pyramid *p, const double *v, int n, double dx)
{
    for (int i = 0; i < n; i++)
        cr_assert_eq(hl_pyramid_push(p, i * dx, v[i]), HL_OK);
}

Test(heat, picture)
{
    hl_pyramid *a = hl_pyramid_new(), *b = hl_pyramid_new(), *none = hl_pyramid_new();
    fill(a, (const double[]){1, 2, 5, 10, 100, 1000, 900, 1000, 1000, 1000, 1000}, 11, 100);
    fill(b, (const double[]){1, 1, (double)NAN, 0, -5, 30}, 6, 100);
    const hl_heat_row row[] = {{"L0", a}, {"L1 attn", b}, {"L2", none}, {"L3", NULL}};
    hl_heat h = {.row = row, .n_rows = 4, .cursor_row = 1};
    hl_grid g = {0};
    hl_canvas c = test_canvas(&g, 31, 7, HL_GLYPHS_ASCII);
    hl_heat_draw(c, &h);
    expect_picture(&c, " L0      ....--==###@@@@@@@@@@@\n"
                       ">L1 attn ....!!.....+\n"
                       " L2\n"
                       " L3\n"
                       "         0         500     1.0k\n"
                       "         1 .:-=++*#%@ 1k  log10\n"
                       "\n");
    hl_grid_done(&g);
    hl_pyramid_free(a);
    hl_pyramid_free(b);
    hl_pyramid_free(none);
}

Test(heat, maximum_of_a_cell_and_values_at_the_right)
{
    hl_pyramid *p = hl_pyramid_new();
    for (int i = 0; i < 50000; i++)
        cr_assert_eq(hl_pyramid_push(p, i, i == 12345 ? 512 : 1 + i % 3), HL_OK);
    const hl_heat_row row = {"L10", p};
    hl_heat h = {
        .row = &row, .n_rows = 1, .cursor_row = -1, .has_cursor_x = true, .cursor_x = 12345};
    hl_grid g = {0};
    hl_canvas c = test_canvas(&g, 80, 4, HL_GLYPHS_BRAILLE);
    hl_heat_draw(c, &h);
    int n_full = 0, at = 0;
    for (int x = h.strip.x; x < h.strip.x + h.strip.w; x++)
        if (test_cell(&c, x, 0)->ch == 0x2588) {
            n_full++;
            at = x;
        }
    cr_expect_eq(n_full, 1);
    cr_expect(fabs(hl_heat_x_at(&h, at) - 12345) < 50000.0 / h.strip.w);
    cr_expect_eq(test_cell(&c, at, 0)->style.marks, HL_REVERSE);
    cr_expect_eq(test_cell(&c, at, 0)->style.role, HL_ROLE_HEAT + HL_HEAT_ROLES - 1);
    cr_expect(shows(&c, "2       512  12.3"), "now, max and its step");
    cr_expect(isnan(hl_heat_x_at(&h, 0)) && isnan(hl_heat_x_at(&h, 79)));
    hl_grid_done(&g);
    hl_pyramid_free(p);
}

Test(heat, fixed_scale_and_range)
{
    hl_pyramid *p = hl_pyramid_new();
    fill(p, (const double[]){-3, 0, 4, 10, 10}, 5, 1);
    const hl_heat_row row = {"L", p};
    hl_heat h = {.row = &row, .n_rows = 1, .cursor_row = -1};
    double lo = 0, hi = 0;
    cr_expect(hl_heat_range(&h, &lo, &hi) && lo == 4 && hi == 10);
    h.linear = true;
    cr_expect(hl_heat_range(&h, &lo, &hi) && lo == -3 && hi == 10);
    h = (hl_heat){.row = &row, .n_rows = 1, .fixed = true, .lo = 1, .hi = 1e4};
    hl_grid g = {0};
    hl_canvas c = test_canvas(&g, 20, 6, HL_GLYPHS_ASCII);
    hl_heat_draw(c, &h);
    cr_expect(shows(&c, "1 .:-=++*#%@ 10k"));
    cr_expect_eq(test_cell(&c, h.strip.x + h.strip.w * 7 / 10, 0)->ch, '-', "10 is a quarter");
    hl_grid_done(&g);
    hl_pyramid_free(p);
}

Test(heat, every_size_stays_inside)
{
    hl_pyramid *p[3] = {hl_pyramid_new(), hl_pyramid_new(), hl_pyramid_new()};
    const double inf = (double)INFINITY;
    fill(p[0], (const double[]){1e300, 1e-300, inf, -inf, 0}, 5, 1e300);
    fill(p[1], (const double[]){(double)NAN, 5, 5, 5, 5, 5}, 6, 1e-3);
    const hl_heat_row row[] = {{"first", p[0]}, {"\xe5\xb1\x82", p[1]}, {NULL, p[2]}, {"L", NULL}};
    hl_grid g = {0};
    for (int w = 0; w <= 90; w++)
        for (int h = 0; h <= 10; h++)
            for (int k = 0; k < 16; k++) {
                hl_heat heat = {.row = row + (w % 3 == 0),
                                .n_rows = 4 - (w % 3 == 0) - (h == 9) * 3,
                                .row_first = k / 8,
                                .cursor_row = k / 4 - 1,
                                .has_cursor_x = k % 2,
                                .cursor_x = h % 2 ? inf : 2.5,
                                .linear = k / 4 % 2,
                                .fixed = h % 3 == 0,
                                .lo = 1,
                                .hi = 2};
                hl_canvas c = test_canvas(&g, w, h, (hl_glyphs)(k % 4));
                hl_heat_draw(c, &heat);
                cr_assert(test_stayed_inside(&c), "%d x %d, kind %d", w, h, k);
            }
    hl_grid_done(&g);
    for (int i = 0; i < 3; i++)
        hl_pyramid_free(p[i]);
}

/* ---- tallies ---- */

Test(tally, pictures)
{
    hl_grid g = {0};
    const size_t count[] = {2, 0, 1, 8, 4, 0, 1};
    const hl_tally t = {.count = count, .n = 6};
    hl_canvas c = blank(&g, 24, 8, HL_GLYPHS_BRAILLE);
    hl_tally_draw(c, &t);
    expect_picture(&c, " │      ███\n"
                       " │      ███\n"
                       "5┤      ███\n"
                       " │      ██████\n"
                       " │      ██████        ▄\n"
                       "0┤   ▆▆▆██████   ▆▆▆  █\n"
                       " └────┴─────┴─────┴─  ─\n"
                       "      2     4     6   ✗\n");
    c = blank(&g, 12, 5, HL_GLYPHS_ASCII);
    hl_tally_draw(c, &t);
    expect_picture(&c, "  #\n"
                       "  #\n"
                       "  ##\n"
                       " =## =  #\n"
                       " 2 4 6  x\n");
    c = blank(&g, 5, 2, HL_GLYPHS_BRAILLE); /* three bins a column */
    hl_tally_draw(c, &t);
    expect_picture(&c, "█▁\n"
                       "██  ▄\n");
    hl_grid_done(&g);
}

Test(tally, one_of_a_thousand_is_visible_at_every_size)
{
    static size_t count[301];
    hl_grid g = {0};
    count[0] = 1;
    count[7] = 1000;
    count[299] = 1;
    for (int w = 0; w <= 90; w++)
        for (int h = 0; h <= 12; h++)
            for (int k = 0; k < HL_GLYPHS_COUNT; k++) {
                hl_canvas c = blank(&g, w, h, (hl_glyphs)k);
                hl_tally_draw(c, &(hl_tally){.count = count, .n = 300});
                cr_assert(test_stayed_inside(&c), "%d x %d", w, h);
                hl_tally_draw(c, &(hl_tally){.count = count, .n = 0});
                cr_assert(test_stayed_inside(&c), "%d x %d, no bins", w, h);
            }
    hl_canvas c = blank(&g, 40, 6, HL_GLYPHS_ASCII);
    hl_tally_draw(c, &(hl_tally){.count = count, .n = 300});
    expect_picture(&c, "1k+#\n"
                       "  |#\n"
                       "  |#\n"
                       " 0+#                                .  .\n"
                       "  +-----------+----------+----------+  -\n"
                       "             100        200       300  x\n");
    hl_grid_done(&g);
}

Test(bins, pictures)
{
    hl_grid g = {0};
    const double count[16] = {[5] = 1, [7] = 8, [8] = 8, [9] = 4};
    hl_bins b = {.count = count, .n = 16, .width = 0.5};
    hl_canvas c = blank(&g, 24, 7, HL_GLYPHS_BRAILLE);
    hl_bins_draw(c, &b);
    expect_picture(&c, " │      ████\n"
                       "5┤      ████\n"
                       " │      ████▄▄\n"
                       " │      ██████\n"
                       "0┤  ▅▅  ██████\n"
                       " └┴───────┴──────┴\n"
                       "  -2      0      2\n");
    hl_grid_done(&g);
}

/* What lies beyond the ends is seen, at every size. */
Test(bins, one_of_a_thousand_is_visible_at_every_size)
{
    hl_grid g = {0};
    double count[64] = {[32] = 999, [63] = 1};
    for (int w = 0; w < 90; w++)
        for (int h = 0; h < 12; h++) {
            int seen = 0;
            const hl_canvas c = blank(&g, w, h, HL_GLYPHS_BRAILLE);
            hl_bins_draw(c, &(hl_bins){.count = count, .n = 64, .width = 1});
            cr_expect(test_stayed_inside(&c));
            for (int i = 0; i < g.cols * g.rows; i++)
                seen += g.cell[i].style.role == HL_ROLE_WARN && g.cell[i].ch != ' ';
            cr_expect(seen > 0 || w < 3 || h < 1, "%dx%d", w, h);
        }
    hl_grid_done(&g);
}
