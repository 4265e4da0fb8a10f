#include "views/widgets/chart_test.h"

#include <math.h>
#include <string.h>

#include "views/widgets/smooth.h"

static void expect_picture(scene *s, const char *want)
{
    const char *got = draw(s);
    cr_expect(strcmp(got, want) == 0, "drawn:\n%swanted:\n%s", got, want);
}

/* ---- pictures ---- */

#define RAMP "0 1 2 3 4 5 6 7 8 9 10"

Test(chart, ramp_at_every_glyph_level)
{
    static const char *const want[HL_GLYPHS_COUNT] = {
        "ramp\n"
        "10┤                      ⢀⡠⠔⠒⠉\n"
        "  │                  ⣀⠤⠒⠊⠁   a\n"
        " 5┤             ⢀⡠⠤⠒⠉\n"
        "  │         ⣀⠤⠒⠊⠁\n"
        "  │    ⢀⡠⠤⠒⠉\n"
        " 0┤⣀⠤⠒⠊⠁\n"
        "  └┴────────────┴────────────┴\n"
        "   0            5           10\n",

        "ramp\n"
        "10┤                      ▗▄▞▀▀\n"
        "  │                  ▄▄▀▀▘   a\n"
        " 5┤             ▗▄▄▀▀\n"
        "  │         ▄▄▀▀▘\n"
        "  │    ▗▄▄▀▀\n"
        " 0┤▄▄▀▀▘\n"
        "  └┴────────────┴────────────┴\n"
        "   0            5           10\n",

        "ramp\n"
        "10┤                      ▄▄▄▀▀\n"
        "  │                  ▄▄▀▀    a\n"
        " 5┤             ▄▄▄▀▀\n"
        "  │         ▄▄▀▀▀\n"
        "  │    ▄▄▄▀▀\n"
        " 0┤▄▄▀▀\n"
        "  └┴────────────┴────────────┴\n"
        "   0            5           10\n",

        "ramp\n"
        "10+                      ...''\n"
        "  |                  ..''    a\n"
        " 5+             ...''\n"
        "  |         ..'''\n"
        "  |    ...''\n"
        " 0+..''\n"
        "  ++------------+------------+\n"
        "   0            5           10\n",
    };
    hl_pyramid *p = from_text(RAMP);
    for (int g = 0; g < HL_GLYPHS_COUNT; g++) {
        scene s;
        scene_init(&s, 30, 9, (hl_glyphs)g);
        s.chart.title = "ramp";
        s.line[0].data = p;
        expect_picture(&s, want[g]);
        scene_done(&s);
    }
    hl_pyramid_free(p);
}

/* A NaN and an infinity leave gaps and signs above; what has no logarithm lies on the floor. */
Test(chart, gaps_signs_and_floor)
{
    hl_pyramid *p = from_text("1 10 nan 0.1 -3 5 inf 2 2");
    scene s;
    char notes[HL_CHART_NOTES_MAX];
    scene_init(&s, 36, 10, HL_GLYPHS_BRAILLE);
    s.line[0].data = p;
    s.chart.log_y = true;
    expect_picture(&s, "          ×            ×\n"
                       " 10┤  ⣸⠁\n"
                       "   ┤ ⣰⠃             ⠁\n"
                       "   ┤⣰⠃                    ⠒⠒⠒⠒a\n"
                       "  1┤⠃\n"
                       "   ┤\n"
                       "   ┤\n"
                       "0.1┤         ⢀  ▾\n"
                       "   └┴─────┴─────┴──────┴─────┴─────┴\n"
                       "    0     2     4      6     8    10\n");
    cr_expect_str_eq(hl_chart_notes(&s.chart, notes), "log y  nan 2  <=0 1");
    scene_done(&s);
    scene_init(&s, 36, 10, HL_GLYPHS_ASCII);
    s.line[0].data = p;
    expect_picture(&s, "         x            x\n"
                       "10+  :'\n"
                       "  | .:\n"
                       " 5+.:             .:\n"
                       "  |:              :       ....a\n"
                       " 0+'        ..   :'\n"
                       "  |           '.:'\n"
                       "-5+             '\n"
                       "  ++-----+------+-----+------+-----+\n"
                       "   0     2      4     6      8    10\n");
    cr_expect_str_eq(hl_chart_notes(&s.chart, notes), "nan 2");
    scene_done(&s);
    hl_pyramid_free(p);
}

/* Both signs, and what is near 0 between them; the axis is dashed where it is linear. */
Test(chart, symmetric_logarithm)
{
    hl_pyramid *p = from_text("-1000 -100 -10 -1 -0.5 0 0.5 1 10 100 1000 1e4");
    scene s;
    char notes[HL_CHART_NOTES_MAX];
    scene_init(&s, 36, 16, HL_GLYPHS_BRAILLE);
    s.line[0].data = p;
    s.chart.symlog_y = true;
    expect_picture(&s, " 10k┤                ⡼⠁a\n"
                       "    ┤               ⣰⠃\n"
                       "    │              ⢠⠇\n"
                       " 100┤             ⢀⡞\n"
                       "    │             ⡼\n"
                       "    ┤            ⣸⠁\n"
                       "    ╎           ⢰⠃\n"
                       "   0┤       ⢀⣀⣀⣠⠏\n"
                       "    ╎   ⢀⡞⠉⠉⠉\n"
                       "    ┤   ⡼\n"
                       "    │  ⣸⠁\n"
                       "-100┤ ⢰⠃\n"
                       "    │⢠⠏\n"
                       "    ┤⡞\n"
                       "    └┴──────┴───────┴───────┴──────┴\n"
                       "     0      5      10      15     20\n");
    cr_expect_str_eq(hl_chart_notes(&s.chart, notes), "symlog y 10");
    s.grid.glyphs = HL_GLYPHS_ASCII;
    expect_picture(&s, " 10k+                :'a\n"
                       "    +               :'\n"
                       "    |              .:\n"
                       " 100+             .:\n"
                       "    |             :\n"
                       "    +            :'\n"
                       "    :           :'\n"
                       "   0+       ....:\n"
                       "    :   .:'''\n"
                       "    +   :\n"
                       "    |  :'\n"
                       "-100+ :'\n"
                       "    |.:\n"
                       "    +:\n"
                       "    ++------+-------+-------+------+\n"
                       "     0      5      10      15     20\n");
    scene_done(&s);
    hl_pyramid_free(p);
}

/* What a fixed range cuts off is told where it leaves. */
Test(chart, cut_off_lines_are_told)
{
    hl_pyramid *p = from_text("1 1 9 1 1 1 -7 1 1 1");
    scene s;
    scene_init(&s, 30, 9, HL_GLYPHS_BRAILLE);
    s.line[0].data = p;
    s.chart.fixed_y = s.chart.tells_cuts = true;
    s.chart.y_range = (hl_scale){.lo = 0, .hi = 2};
    expect_picture(&s, "2┤   ▲▲▲▲▲▲\n"
                       " │  ⢰⠃    ⡇\n"
                       " │  ⢸     ⡇\n"
                       "1┤⠒⠒⠚     ⠓⠒⠒⠒⠒⠒⡆    ⢰⠒⠒⠒⠒⠒⠂a\n"
                       " │              ⡇    ⡞\n"
                       " │              ⡇    ⡇\n"
                       "0┤              ▼▼▼▼▼▼\n"
                       " └┴─────────────┴────────────┴\n"
                       "  0             5           10\n");
    scene_done(&s);
    hl_pyramid_free(p);
}

Test(chart, two_lines_share_cells_under_marks)
{
    hl_pyramid *falls = from_text("10 9 8 7 6 5 4 3 2 1 0"), *rises = from_text(RAMP);
    const hl_chart_mark mark[] = {{5, HL_ROLE_WARN, false}, {2, HL_ROLE_GOOD, true}};
    scene s;
    scene_init(&s, 50, 10, HL_GLYPHS_BRAILLE);
    s.line[0].data = falls;
    s.line[1].data = rises;
    s.chart.n_lines = 2;
    s.chart.mark = mark;
    s.chart.n_marks = 2;
    expect_picture(&s, "   10┤⠉⠑⠒⠤⣀⡀                ╎               ⢀⣀⠤⠒⠊⠉\n"
                       "     │     ⠈⠉⠒⠢⢄⣀           ╎          ⣀⡠⠔⠒⠉⠁    b\n"
                       "     │           ⠉⠑⠒⠤⣀⡀     ╎    ⢀⣀⠤⠒⠊⠉\n"
                       "    5┤                ⠈⠉⠒⠢⢄⣀⣀⡠⠔⠒⠉⠁\n"
                       "     │                ⢀⣀⠤⠒⠊⠉⠉⠑⠒⠤⣀⡀\n"
                       "     │           ⣀⡠⠔⠒⠉⠁     ╎    ⠈⠉⠒⠢⢄⣀\n"
                       "     │╌╌╌╌╌⢀⣀⠤⠒⠊⠉╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌⠉⠑⠒⠤⣀⡀╌╌╌╌a\n"
                       "    0┤⣀⡠⠔⠒⠉⠁                ╎               ⠈⠉⠒⠢⢄⣀\n"
                       "     └┴───────┴────────┴────────┴────────┴───────┴\n"
                       "      0       2        4        6        8      10\n");
    scene_done(&s);
    hl_pyramid_free(falls);
    hl_pyramid_free(rises);
}

Test(chart, crossing_merges_dots_and_the_focused_line_gives_the_colour)
{
    hl_pyramid *falls = from_text("1 0"), *rises = from_text("0 1");
    for (int focused = 0; focused < 2; focused++) {
        scene s;
        scene_init(&s, 5, 3, HL_GLYPHS_BRAILLE);
        s.line[0] = (hl_chart_line){.data = falls, .role = HL_ROLE_SERIES};
        s.line[1] = (hl_chart_line){.data = rises, .role = HL_ROLE_SERIES + 1};
        s.line[focused].focused = true;
        s.chart.n_lines = 2;
        draw(&s);
        const hl_cell *middle = test_cell(&s.canvas, 2, 1);
        cr_expect_eq(middle->style.role, HL_ROLE_SERIES + focused);
        for (int k = 0; k < 2; k++) {
            scene alone;
            scene_init(&alone, 5, 3, HL_GLYPHS_BRAILLE);
            alone.line[0] = s.line[k];
            draw(&alone);
            const uint32_t dots = test_cell(&alone.canvas, 2, 1)->ch;
            cr_expect(dots > 0x2800 && (dots & middle->ch) == dots);
            scene_done(&alone);
        }
        scene_done(&s);
    }
    hl_pyramid_free(falls);
    hl_pyramid_free(rises);
}

Test(chart, little_data)
{
    hl_pyramid *p = from_text("3");
    scene s;
    scene_init(&s, 24, 6, HL_GLYPHS_BRAILLE);
    s.line[0].data = p;
    expect_picture(&s, "3.5┤\n"
                       "   │\n"
                       "3.0┤⠂a\n"
                       "   │\n"
                       "2.5┤\n"
                       "    0        0.5     1.0\n");
    scene_done(&s);
    hl_pyramid_free(p);
    p = from_text("3 3 3 3");
    scene_init(&s, 24, 6, HL_GLYPHS_ASCII);
    s.line[0].data = p;
    expect_picture(&s, "3.5+\n"
                       "   |\n"
                       "3.0+'''''''''''''a\n"
                       "   |\n"
                       "2.5+\n"
                       "    0       2       4\n");
    scene_done(&s);
    hl_pyramid_free(p);
    p = from_text("nan nan");
    scene_init(&s, 24, 6, HL_GLYPHS_ASCII);
    s.line[0].data = p;
    expect_picture(&s, "x                      x\n"
                       "\n"
                       "\n"
                       "    no finite value\n"
                       "\n"
                       "0          0.5       1.0\n");
    hl_pyramid_clear(p);
    cr_expect_not_null(strstr(draw(&s), "no points yet"));
    cr_assert_eq(hl_pyramid_push(p, 1, -1), HL_OK);
    s.chart.log_y = true;
    cr_expect_not_null(strstr(draw(&s), "no value > 0"));
    char notes[HL_CHART_NOTES_MAX];
    cr_expect_str_eq(hl_chart_notes(&s.chart, notes), "log y  <=0 1  no value > 0");
    scene_done(&s);
    hl_pyramid_free(p);
}

Test(chart, legend_takes_a_free_corner_or_none)
{
    hl_pyramid *rises = from_text(RAMP), *low = from_text("0 0 0 0 0 0 0 0 0 0 1");
    scene s;
    scene_init(&s, 60, 14, HL_GLYPHS_BRAILLE);
    s.line[0].data = rises;
    s.line[1].data = low;
    s.chart.n_lines = 2;
    cr_expect_not_null(strstr(draw(&s), "a first  10"));
    cr_expect_not_null(strstr(hl_str_text(&s.picture), "b second  1"));
    scene_done(&s);
    scene_init(&s, 24, 14, HL_GLYPHS_BRAILLE);
    s.line[0].data = rises;
    s.line[1].data = low;
    s.chart.n_lines = 2;
    cr_expect_null(strstr(draw(&s), "first"));
    scene_done(&s);
    hl_pyramid_free(rises);
    hl_pyramid_free(low);
}

Test(chart, smooth_line_over_the_dim_raw_one)
{
    hl_pyramid *p = from_text("1 9 1 9 1 9 1 9 1 9 1 9");
    hl_smooth *smooth = hl_smooth_new();
    cr_assert_eq(hl_smooth_follow(smooth, p, 0.9, false), HL_OK);
    scene s;
    scene_init(&s, 40, 12, HL_GLYPHS_BRAILLE);
    s.line[0].data = p;
    s.line[0].smooth = hl_smooth_data(smooth);
    s.chart.smoothing = 0.9;
    draw(&s);
    int n_dim = 0, n_line = 0;
    for (int y = 0; y < 10; y++)
        for (int x = 3; x < 40; x++) {
            const hl_cell *c = test_cell(&s.canvas, x, y);
            n_dim += c->ch > 0x2800 && c->ch < 0x2900 && c->style.role == HL_ROLE_DIM;
            n_line += c->ch > 0x2800 && c->ch < 0x2900 && c->style.role == HL_ROLE_SERIES;
        }
    cr_expect(n_dim > 20 && n_line >= 20, "%d dim, %d not", n_dim, n_line);
    char notes[HL_CHART_NOTES_MAX];
    cr_expect_str_eq(hl_chart_notes(&s.chart, notes), "ema .90");
    scene_done(&s);
    hl_smooth_free(smooth);
    hl_pyramid_free(p);
}

Test(chart, band_around_a_line)
{
    hl_pyramid *p = from_text("5 5 5 4 3"), *lo = from_text("4 2 1 1 nan");
    hl_pyramid *hi = from_text("6 8 9 9 9");
    for (int g = 0; g < HL_GLYPHS_COUNT; g++) {
        scene s;
        scene_init(&s, 30, 9, (hl_glyphs)g);
        s.line[0].data = p;
        s.line[0].lo = lo;
        s.line[0].hi = hi;
        draw(&s);
        cr_expect_leq(s.chart.y.scale.lo, 1, "the band is in the picture");
        cr_expect_geq(s.chart.y.scale.hi, 9);
        if (g == HL_GLYPHS_BRAILLE)
            expect_picture(&s, "                        ×\n"
                               "10┤       ⣀⣀⡠⡤⠤⡤⠤⡤⠤⡤⠤⠤⠤⠤⠤\n"
                               "  │  ⣀⠤⡒⠍⡋⠅⡂⠅⡂⠅⡂⠅⡂⠅⡂\n"
                               " 5┤⣊⣍⣂⣅⣂⣅⣂⣅⣂⣅⣂⠅⡂⠅⡂⠅⡂\n"
                               "  │⢆⣅⡂⠅⡂⠅⡂⠅⡂⠅⡊⠍⡋⠗⡒⠧⡦⢄⣀⣀\n"
                               "  │  ⠉⠓⠦⣅⣂⠅⡂⠅⡂⠅⡂⠅⡂⠅⡂   ⠉⠉a\n"
                               " 0┤       ⠉⠉⠑⠒⠓⠒⠓⠒⠓⠂\n"
                               "  └┴────┴────┴─────┴────┴────┴\n"
                               "   0    1    2     3    4    5\n");
        scene_done(&s);
    }
    hl_pyramid_free(p);
    hl_pyramid_free(lo);
    hl_pyramid_free(hi);
}
