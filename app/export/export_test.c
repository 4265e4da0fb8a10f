#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/export/figure.h"
#include "app/export/line_chart.h"
#include "app/export/ruler.h"

/* --- rulers --- */

static void check_ruler(double min, double max, bool log)
{
    hl_ruler r;
    hl_ruler_fit(&r, min, max, log, 6);
    r.at_from = 300;
    r.at_to = 0;
    const double slack = (max - min) * 1e-8;
    cr_expect(r.from < r.to && r.from <= min + slack + fabs(min) * 1e-12, "[%g, %g] gives %g", min,
              max, r.from);
    cr_expect(r.to >= max - slack - fabs(max) * 1e-12, "[%g, %g] ends at %g", min, max, r.to);
    cr_expect(r.n_ticks >= 2 && r.n_ticks <= 16, "[%g, %g]: %d ticks", min, max, r.n_ticks);
    for (int i = 0; i < r.n_ticks; i++) {
        const double at = hl_ruler_at(&r, r.tick[i]);
        cr_expect(at >= -0.01 && at <= 300.01, "[%g, %g]: tick %g at %g", min, max, r.tick[i], at);
        cr_expect(strlen(r.text[i]) > 0 && strlen(r.text[i]) <= 9, "tick '%s'", r.text[i]);
        cr_expect(i == 0 || strcmp(r.text[i], r.text[i - 1]) != 0, "[%g, %g]: '%s' twice", min, max,
                  r.text[i]);
    }
}

Test(ruler, fits_every_range)
{
    static const double ends[] = {-1e9, -3.7, -1, -1e-4, 0, 1e-7, 0.3, 1, 99.5, 12345, 2.5e6, 1e12};
    const size_t n = sizeof ends / sizeof ends[0];
    for (size_t a = 0; a < n; a++)
        for (size_t b = a; b < n; b++) {
            check_ruler(ends[a], ends[b], false);
            if (ends[a] > 0)
                check_ruler(ends[a], ends[b], true);
        }
}

Test(ruler, both_sides_of_a_linear_band)
{
    hl_ruler r;
    hl_ruler_symmetric(&r, -22026, 8103, 10, 8);
    r.at_from = 0;
    r.at_to = 100;
    double before = -1;
    bool has_zero = false;
    cr_assert_geq(r.n_ticks, 4);
    for (int i = 0; i < r.n_ticks; i++) {
        const double at = hl_ruler_at(&r, r.tick[i]);
        cr_expect(at > before && at <= 100, "tick %s at %g", r.text[i], at);
        before = at;
        has_zero |= r.tick[i] == 0;
    }
    cr_expect(has_zero);
    cr_expect_str_eq(r.text[0], "-10k");
    /* a decade is as high as the band on either side of 0 */
    const double zero = hl_ruler_at(&r, 0), ten = hl_ruler_at(&r, 10), more = hl_ruler_at(&r, 100);
    cr_expect_float_eq(ten - zero, more - ten, 1e-9);
    cr_expect_float_eq(zero - hl_ruler_at(&r, -10), ten - zero, 1e-9);
}

Test(ruler, round_numbers)
{
    static const struct {
        double min, max;
        bool log;
        const char *text;
    } cases[] = {{0, 1, false, "0.0 0.2 0.4 0.6 0.8 1.0"},
                 {2.1, 5.6, false, "2.0 2.5 3.0 3.5 4.0 4.5 5.0 5.5"},
                 {0, 50000, false, "0 10k 20k 30k 40k 50k"},
                 {0, 3e6, false, "0 500k 1.0M 1.5M 2.0M 2.5M 3.0M"},
                 {1e-8, 1e-2, true, "1e-8 1e-7 1e-6 1e-5 1e-4 0.001 0.01"},
                 {3, 80, true, "2 5 10 20 50 100"}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        hl_ruler r;
        char text[400] = "";
        hl_ruler_fit(&r, cases[k].min, cases[k].max, cases[k].log, 6);
        for (int i = 0; i < r.n_ticks; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "",
                     r.text[i]);
        cr_expect_str_eq(text, cases[k].text);
    }
}

/* --- text --- */

Test(paper, text_is_clean)
{
    hl_str b = {0};
    hl_text_add_xml(&b, "a<b>&\"c\" \xC3\xA9\xFF\n\x01\xEF\xBF\xBF");
    cr_expect_str_eq(b.s, "a&lt;b&gt;&amp;&quot;c&quot; \xC3\xA9\xEF\xBF\xBD  \xEF\xBF\xBD");
    hl_str_clear(&b);
    hl_text_add_clean(&b, "<\xE2\x80");
    cr_expect_str_eq(b.s, "<\xEF\xBF\xBD\xEF\xBF\xBD");
    hl_str_done(&b);
}

/* --- charts --- */

static char *drawn(const hl_line_chart *c, double w, double h)
{
    hl_paper *paper = NULL;
    hl_str out = {0};
    cr_assert_eq(hl_paper_svg_new(w, h, &paper), HL_OK);
    cr_assert_eq(hl_line_chart_draw(c, paper, (hl_box){0, 0, w, h}), HL_OK);
    cr_assert_eq(hl_paper_finish(paper, &out), HL_OK);
    hl_paper_free(paper);
    return out.s;
}

static size_t n_of(const char *text, const char *word)
{
    size_t n = 0;
    for (const char *p = strstr(text, word); p; p = strstr(p + 1, word))
        n++;
    return n;
}

static void expect_sane(const char *svg)
{
    cr_expect(!strstr(svg, "nan") && !strstr(svg, "inf"), "%s", svg);
    cr_expect_eq(n_of(svg, "<g "), n_of(svg, "</g>"));
    cr_expect(strstr(svg, "</svg>"));
}

Test(line_chart, odd_series)
{
    const double x[] = {1, 2, 3, 4, 5, 6}, gap[] = {1, 2, (double)NAN, 3, (double)INFINITY, -4};
    const double none[] = {(double)NAN, (double)NAN};
    const hl_line_series series[] = {
        {.name = "with gaps", .x = x, .y = gap, .n = 6},
        {.name = "one", .x = x, .y = x, .n = 1},
        {.name = "no values", .x = x, .y = none, .n = 2},
        {.name = "empty", .x = x, .y = x}};
    for (size_t n = 0; n <= 4; n++)
        for (int log = 0; log < 2; log++)
            for (size_t first = 0; first + n <= 4; first++) {
                const hl_line_chart c = {.title = "T",
                                         .x_label = "step",
                                         .log = log,
                                         .series = series + first,
                                         .n_series = n};
                char *svg = drawn(&c, 400, 300);
                expect_sane(svg);
                cr_expect(strstr(svg, ">T</text>"));
                if (first == 0 && n)
                    cr_expect(strstr(svg, ">step</text>") && strstr(svg, ">with gaps</text>"));
                if (first == 3 && n == 1)
                    cr_expect(strstr(svg, log ? ">no positive values<" : ">no values<"));
                hl_free(svg);
            }
}

Test(line_chart, many_points_become_few)
{
    enum { N = 50000 };
    double *x = hl_alloc_zero(N, sizeof *x), *y = hl_alloc_zero(N, sizeof *y);
    for (int i = 0; i < N; i++) {
        x[i] = i;
        y[i] = 3 + (i % 7) * 0.1 + (i == 777 ? 50 : 0);
    }
    const hl_line_series s = {.name = "s", .x = x, .y = y, .n = N};
    const hl_line_chart c = {.series = &s, .n_series = 1};
    char *svg = drawn(&c, 800, 400);
    expect_sane(svg);
    cr_expect(strlen(svg) < 60000, "%zu bytes", strlen(svg));
    cr_expect_eq(n_of(svg, "<polygon"), 1, "the band");
    cr_expect(strstr(svg, "moving average"));
    cr_expect(strstr(svg, ">50</text>"), "the one high point is in the extent");
    hl_free(svg);
    for (int i = 0; i < N; i++)
        y[i] = i; /* without noise there is nothing to smooth */
    svg = drawn(&c, 800, 400);
    expect_sane(svg);
    cr_expect(!strstr(svg, "moving average") && !strstr(svg, "<polygon"));
    hl_free(svg);
    hl_free(x);
    hl_free(y);
}

/* --- the trajectory figure --- */

Test(figure, panels)
{
    const float r[] = {0.5f, 0.4f, 1e-3f, 2e-2f, 5e-5f, 1e-4f, 1e-9f, 1e-6f};
    hl_trajectory *t = NULL, *empty = NULL;
    cr_assert_eq(hl_trajectory_new(4, 0, &t), HL_OK);
    cr_assert_eq(hl_trajectory_new(1, 0, &empty), HL_OK);
    cr_assert_eq(hl_trajectory_add(t, r, 2, 2), HL_OK);
    for (size_t n = 0; n <= 4; n++) {
        const hl_figure_panel panels[] = {{"A<1>", t}, {"B", empty}, {"C", t}, {"D", t}};
        hl_paper *paper = NULL;
        hl_str out = {0};
        cr_assert_eq(hl_paper_svg_new(900, 700, &paper), HL_OK);
        cr_assert_eq(hl_figure_draw(panels, n, paper, (hl_box){0, 0, 900, 700}), HL_OK);
        cr_assert_eq(hl_paper_finish(paper, &out), HL_OK);
        expect_sane(out.s);
        cr_expect_eq(n_of(out.s, ">1e-8</text>"), n);
        cr_expect_eq(n_of(out.s, ">relative residual</text>"), n);
        cr_expect_eq(n_of(out.s, "state trajectory density (raw counts)"), 1);
        cr_expect(n == 0 || strstr(out.s, "A&lt;1&gt;"));
        hl_paper_free(paper);
        hl_str_done(&out);
    }
    hl_trajectory_free(t);
    hl_trajectory_free(empty);
}
