/* What must hold for any picture of a chart, whatever the data, the size and the glyphs. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "views/widgets/chart_test.h"
#include "views/widgets/plot.h"

static int count_char(const hl_canvas *c, uint32_t ch)
{
    int n = 0;
    for (int y = 0; y < c->r.h; y++)
        for (int x = 0; x < c->r.w; x++)
            n += test_cell(c, x, y)->ch == ch;
    return n;
}

static int lit_columns(const scene *s, int x)
{
    const hl_rect r = s->chart.plot;
    int n = 0;
    for (int y = 0; y < r.h; y++)
        n += test_cell(&s->canvas, r.x + x, r.y + y)->ch != ' ';
    return n;
}

Test(chart, a_spike_in_ten_million_points_is_visible_in_40_columns)
{
    hl_pyramid *p = hl_pyramid_new();
    const int n = 10000000, at = 7654321;
    for (int i = 0; i < n; i++)
        cr_assert_eq(hl_pyramid_push(p, i, i == at ? 100 : 1), HL_OK);
    for (int g = 0; g < HL_GLYPHS_COUNT; g++) {
        scene s;
        scene_init(&s, 40, 12, (hl_glyphs)g);
        s.line[0].data = p;
        s.line[0].letter = 0;
        draw(&s);
        const int column = hl_chart_column(&s.chart, at);
        cr_expect_geq(column, s.chart.plot.x);
        for (int x = 0; x < s.chart.plot.w; x++)
            cr_expect_eq(lit_columns(&s, x), x + s.chart.plot.x == column ? s.chart.plot.h : 1);
        scene_done(&s);
    }
    hl_pyramid_free(p);
}

static double milliseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

Test(chart, redraw_time_is_printed)
{
    hl_pyramid *p = hl_pyramid_new();
    uint64_t seed = 4;
    for (int i = 0; i < 100000; i++)
        cr_assert_eq(hl_pyramid_push(p, i, test_uniform(&seed) + 10 * exp(-i / 2e4)), HL_OK);
    for (int log = 0; log < 2; log++) {
        scene s;
        scene_init(&s, 80, 20, HL_GLYPHS_BRAILLE);
        s.line[0].data = p;
        s.chart.log_y = log;
        draw(&s);
        double best = HUGE_VAL;
        for (int i = 0; i < 20; i++) {
            const double begin = milliseconds();
            hl_chart_draw(s.canvas, &s.chart);
            best = fmin(best, milliseconds() - begin);
        }
        printf("chart: 100000 points on 80x20%s in %.3f ms\n", log ? ", log y" : "", best);
        scene_done(&s);
    }
    hl_pyramid_free(p);
}

/* The dots of one line, however it is summarised: every point joined to the next one. */
static void draw_plain(hl_plot *plot, const hl_pyramid *p)
{
    for (size_t i = 0; i < hl_pyramid_n(p); i++) {
        hl_pyramid *two = hl_pyramid_new();
        for (size_t k = i > 0 ? i - 1 : 0; k <= i; k++)
            cr_assert_eq(hl_pyramid_push(two, hl_pyramid_x(p, k), hl_pyramid_y(p, k)), HL_OK);
        hl_plot_line(plot, two, HL_STYLE(TEXT));
        hl_pyramid_free(two);
    }
}

Test(plot, summaries_draw_what_the_points_draw)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        uint64_t r = seed * 1000;
        hl_pyramid *p = hl_pyramid_new();
        const bool wild = seed % 5 == 4; /* x in no order */
        for (int i = 0; i < 3000; i++) {
            const double x = wild ? test_uniform(&r) * 3000 : i + (i % 700 == 3 ? -40 : 0);
            const double y = test_uniform(&r) * (i % 97 == 0 ? 30 : 3) - 0.5;
            cr_assert_eq(hl_pyramid_push(p, x, i % 1000 == 500 ? (double)NAN : y), HL_OK);
        }
        hl_grid a = {0}, b = {0};
        hl_canvas ca = test_canvas(&a, 30, 8, seed % 4), cb = test_canvas(&b, 30, 8, seed % 4);
        const bool log = seed % 2 == 1;
        const hl_scale x = {.lo = seed % 3 == 1 ? 700 : 0, .hi = seed % 3 == 1 ? 1500 : 3000};
        const hl_scale y = {.lo = log ? 0.01 : -1, .hi = 20, .log = log};
        hl_plot plot;
        hl_blank(ca, 0, 0, 30, 8, HL_STYLE(TEXT));
        hl_blank(cb, 0, 0, 30, 8, HL_STYLE(TEXT));
        hl_plot_begin(&plot, ca, &x, &y);
        hl_plot_line(&plot, p, HL_STYLE(TEXT));
        hl_plot_end(&plot);
        hl_plot_begin(&plot, cb, &x, &y);
        draw_plain(&plot, p);
        hl_plot_end(&plot);
        int n_missing = 0, n_more = 0;
        for (int row = 0; row < 8; row++)
            for (int c = 0; c < 30; c++) {
                const uint32_t got = test_cell(&ca, c, row)->ch, want = test_cell(&cb, c, row)->ch;
                n_missing += got == ' ' && want != ' ';
                n_more += got != ' ' && want == ' ';
            }
        cr_expect(n_missing == 0, "seed %d: %d cells missing", (int)seed, n_missing);
        cr_expect(n_more <= (log ? 12 : 2), "seed %d: %d more", (int)seed, n_more);
        hl_grid_done(&a);
        hl_grid_done(&b);
        hl_pyramid_free(p);
    }
}

static hl_pyramid *strange(int kind)
{
    hl_pyramid *p = hl_pyramid_new();
    uint64_t r = (uint64_t)kind;
    const double inf = (double)INFINITY, nan = (double)NAN;
    const double some[] = {0, nan, inf, -inf, 1.7e308, -1.7e308, 4.9e-324, -1, 1, 1e-300, 1e300};
    const int n = kind % 7 == 0 ? kind % 3 : 200;
    for (int i = 0; i < n; i++) {
        double x = i, y = test_uniform(&r);
        if (kind % 5 == 1)
            x = (test_uniform(&r) - 0.5) * 1.7e308;
        else if (kind % 5 == 2)
            x = 1e-300 * i;
        else if (kind % 5 == 3)
            x = some[test_bits(&r) % 11];
        if (kind % 4 == 1)
            y = some[test_bits(&r) % 11];
        else if (kind % 4 == 2)
            y = (y - 0.5) * pow(10, (double)(test_bits(&r) % 600) - 300);
        else if (kind % 4 == 3)
            y = kind % 8 == 3 ? 1e300 : 1 + y * 1e-15;
        cr_assert_eq(hl_pyramid_push(p, x, y), HL_OK);
    }
    return p;
}

Test(chart, every_size_and_strange_data_stay_inside)
{
    enum { N = 16 };
    hl_pyramid *data[N];
    const hl_chart_mark mark[] = {{50, HL_ROLE_WARN, false},
                                  {(double)NAN, HL_ROLE_WARN, false},
                                  {1e308, HL_ROLE_WARN, true},
                                  {0.5, HL_ROLE_WARN, true}};
    for (int i = 0; i < N; i++)
        data[i] = strange(i);
    uint64_t r = 9;
    scene s;
    scene_init(&s, 1, 1, HL_GLYPHS_BRAILLE);
    for (int w = 0; w <= 60; w++)
        for (int h = 0; h <= 20; h++)
            for (int g = 0; g < HL_GLYPHS_COUNT; g++) {
                const uint64_t bits = test_bits(&r);
                s.canvas.r.w = w;
                s.canvas.r.h = h;
                s.grid.glyphs = (hl_glyphs)g;
                for (int i = 0; i < 3; i++)
                    s.line[i].data = data[bits >> (4 * i) & 15];
                s.chart.n_lines = (int)(bits >> 12 & 3);
                s.chart.title = bits >> 14 & 1 ? "a title" : NULL;
                s.chart.log_y = bits >> 15 & 1;
                s.chart.log_x = (bits >> 16 & 3) == 0;
                s.chart.mark = mark;
                s.chart.n_marks = bits >> 18 & 1 ? 4 : 0;
                s.chart.fixed_x = (bits >> 19 & 3) == 0;
                s.chart.x_range = (hl_scale){.lo = 20.5, .hi = 60.25};
                s.chart.fixed_y = (bits >> 21 & 3) == 0;
                s.chart.y_range = (hl_scale){.lo = 0.2, .hi = 0.6};
                s.chart.has_crosshair = bits >> 23 & 1;
                s.chart.crosshair_x = bits >> 24 & 1 ? 33 : -(double)INFINITY;
                s.chart.symlog_y = bits >> 25 & 1;
                s.chart.x_unit = (hl_scale_unit)((bits >> 26 & 15) % 3);
                s.chart.tells_cuts = bits >> 30 & 1;
                s.chart.has_anchor = bits >> 31 & 1;
                s.chart.anchor_x = 12;
                s.chart.best = (int)(bits >> 32 & 1) - (int)(bits >> 33 & 1);
                draw(&s);
                cr_assert(test_stayed_inside(&s.canvas), "%d x %d", w, h);
                cr_assert(s.chart.plot.x + s.chart.plot.w <= w);
                cr_assert(s.chart.plot.y + s.chart.plot.h <= h);
                const double x = hl_chart_x_at(&s.chart, w / 2);
                cr_assert(isnan(x) || hl_chart_column(&s.chart, x) == w / 2);
            }
    scene_done(&s);
    for (int i = 0; i < N; i++)
        hl_pyramid_free(data[i]);
}

/* Same picture, fewer dots. */
Test(chart, coarser_glyphs_light_the_same_cells_or_their_neighbours)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        hl_pyramid *p = hl_pyramid_new();
        uint64_t r = seed;
        double y = 5;
        for (int i = 0; i < 400; i++) {
            y += test_uniform(&r) - 0.5;
            cr_assert_eq(hl_pyramid_push(p, i, i % 90 == 3 ? 20 : y), HL_OK);
        }
        scene fine, coarse;
        scene_init(&fine, 50, 14, HL_GLYPHS_BRAILLE);
        fine.line[0].data = p;
        draw(&fine);
        for (int g = HL_GLYPHS_BLOCK; g < HL_GLYPHS_COUNT; g++) {
            scene_init(&coarse, 50, 14, (hl_glyphs)g);
            coarse.line[0].data = p;
            draw(&coarse);
            const hl_rect plot = fine.chart.plot;
            cr_assert_eq(memcmp(&plot, &coarse.chart.plot, sizeof plot), 0);
            for (int i = 0; i < plot.w * plot.h * 2; i++) {
                const scene *from = i % 2 ? &fine : &coarse, *to = i % 2 ? &coarse : &fine;
                const int x = plot.x + i / 2 % plot.w, row = plot.y + i / 2 / plot.w;
                bool is_near = test_cell(&from->canvas, x, row)->ch == ' ';
                for (int k = 0; k < 9 && !is_near; k++) {
                    const int nx = x + k % 3 - 1, ny = row + k / 3 - 1;
                    is_near =
                        hl_rect_has(plot, nx, ny) && test_cell(&to->canvas, nx, ny)->ch != ' ';
                }
                cr_assert(is_near, "glyphs %d: cell %d, %d", g, x, row);
            }
            scene_done(&coarse);
        }
        scene_done(&fine);
        hl_pyramid_free(p);
    }
}

/* New points change few cells: the axes stay until they are full. */
Test(chart, new_points_change_few_cells)
{
    hl_pyramid *p = hl_pyramid_new();
    uint64_t r = 1;
    scene s;
    hl_grid before = {0};
    scene_init(&s, 80, 20, HL_GLYPHS_BRAILLE);
    s.line[0].data = p;
    int n_changed = 0, n_frames = 0;
    for (int i = 0; i < 40000; i++) {
        cr_assert_eq(hl_pyramid_push(p, i, 2 + 8 * exp(-i / 5e3) + test_uniform(&r)), HL_OK);
        if (i < 20000 || i % 100 != 0)
            continue;
        draw(&s);
        const size_t n = (size_t)s.grid.cols * (size_t)s.grid.rows;
        for (size_t k = 0; k < n && n_frames > 0; k++)
            n_changed += before.cell[k].ch != s.grid.cell[k].ch;
        if (n_frames++ == 0)
            cr_assert_eq(hl_grid_resize(&before, s.grid.cols, s.grid.rows), HL_OK);
        memcpy(before.cell, s.grid.cell, n * sizeof *before.cell);
    }
    printf("chart: %.1f cells change for 100 new points\n", (double)n_changed / n_frames);
    cr_expect_lt((double)n_changed / n_frames, 12);
    hl_grid_done(&before);
    scene_done(&s);
    hl_pyramid_free(p);
}

Test(chart, zoom_shows_the_window_only)
{
    hl_pyramid *p = from_text("0 100 3 4 5 6 7 8 100 0");
    scene s;
    scene_init(&s, 40, 12, HL_GLYPHS_BRAILLE);
    s.line[0].data = p;
    s.line[0].letter = 0;
    s.chart.fixed_x = true;
    s.chart.x_range = (hl_scale){.lo = 2, .hi = 7};
    draw(&s);
    cr_expect(s.chart.y.scale.hi <= 10, "y fits what is seen: %g", s.chart.y.scale.hi);
    cr_expect_eq(lit_columns(&s, 20), 1);
    cr_expect_null(strstr(hl_str_text(&s.picture), "100"));
    s.chart.x_range = (hl_scale){.lo = 20, .hi = 30};
    cr_expect_not_null(strstr(draw(&s), "no points here"));
    scene_done(&s);
    hl_pyramid_free(p);
}

Test(chart, signs_stand_at_their_x)
{
    hl_pyramid *p = hl_pyramid_new();
    for (int i = 0; i < 100000; i++)
        cr_assert_eq(hl_pyramid_push(p, i, i == 71234 ? -(double)INFINITY : 1 + i % 3), HL_OK);
    scene s;
    scene_init(&s, 60, 12, HL_GLYPHS_BRAILLE);
    s.line[0].data = p;
    draw(&s);
    const uint32_t sign = hl_sign_char(&s.grid, HL_SIGN_NOT_FINITE);
    cr_expect_eq(count_char(&s.canvas, sign), 1);
    const int column = hl_chart_column(&s.chart, 71234);
    cr_expect_eq(test_cell(&s.canvas, column, s.chart.plot.y - 1)->ch, sign);
    cr_expect_eq(test_cell(&s.canvas, column, s.chart.plot.y - 1)->style.role, HL_ROLE_BAD);
    scene_done(&s);
    hl_pyramid_free(p);
}

/* x in no order at all: above some number of points only the extremes of neighbours are drawn. */
Test(chart, wild_x_is_drawn_in_bounded_time)
{
    hl_pyramid *p = hl_pyramid_new();
    uint64_t r = 11;
    for (int i = 0; i < 1000000; i++)
        cr_assert_eq(hl_pyramid_push(p, test_uniform(&r), i == 800000 ? 50 : test_uniform(&r)),
                     HL_OK);
    scene s;
    scene_init(&s, 80, 20, HL_GLYPHS_BRAILLE);
    s.line[0].data = p;
    s.line[0].letter = 0;
    const double begin = milliseconds();
    draw(&s);
    printf("chart: 1000000 points in no order in %.1f ms\n", milliseconds() - begin);
    const int column = hl_chart_column(&s.chart, hl_pyramid_x(p, 800000));
    double x, y;
    cr_assert(hl_pyramid_best(p, false, &x, &y) && y == 50);
    int top = 0;
    while (test_cell(&s.canvas, column, s.chart.plot.y + top)->ch == ' ')
        top++;
    cr_expect_leq(top, 2, "the spike is drawn");
    scene_done(&s);
    hl_pyramid_free(p);
}
