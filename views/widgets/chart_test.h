/* For the tests of charts: a chart of up to three lines on a guarded canvas. */
#ifndef HL_VIEWS_WIDGETS_CHART_TEST_H
#define HL_VIEWS_WIDGETS_CHART_TEST_H

#include <criterion/criterion.h>
#include <stdlib.h>

#include "views/widgets/chart.h"
#include "views/widgets/widget_test.h"

/* "1 2 nan" at x = 0, 1, 2 */
static inline hl_pyramid *from_text(const char *values)
{
    hl_pyramid *p = hl_pyramid_new();
    char *end;
    for (int i = 0; *values; i++) {
        const double y = strtod(values, &end);
        cr_assert(end != values && hl_pyramid_push(p, i, y) == HL_OK);
        values = *end == ' ' ? end + 1 : end;
    }
    return p;
}

typedef struct scene {
    hl_grid grid;
    hl_canvas canvas;
    hl_chart_line line[3];
    hl_chart chart;
    hl_str picture;
} scene;

static inline void scene_init(scene *s, int w, int h, hl_glyphs glyphs)
{
    *s = (scene){.line = {{.role = HL_ROLE_SERIES, .letter = 'a', .name = "first"},
                          {.role = HL_ROLE_SERIES + 1, .letter = 'b', .name = "second"},
                          {.role = HL_ROLE_SERIES + 2, .letter = 'c', .name = "third"}}};
    s->canvas = test_canvas(&s->grid, w, h, glyphs);
    s->chart.line = s->line;
    s->chart.n_lines = 1;
}

static inline const char *draw(scene *s)
{
    s->canvas = test_canvas(&s->grid, s->canvas.r.w, s->canvas.r.h, s->grid.glyphs);
    hl_chart_draw(s->canvas, &s->chart);
    cr_expect(test_stayed_inside(&s->canvas));
    test_picture(&s->canvas, &s->picture);
    return hl_str_text(&s->picture);
}

static inline void scene_done(scene *s)
{
    hl_grid_done(&s->grid);
    hl_str_done(&s->picture);
}

#endif
