/* What lies inside a solve: the energy along its iterations, and the states it ended in. */
#include <math.h>
#include <stdio.h>

#include "views/screen.h"
#include "views/widgets/heat.h"
#include "views/widgets/number.h"

/* ---- energy ---- */

static hl_pyramid *line_of(const hl_solved *x, hl_quantile q)
{
    hl_pyramid *p = hl_pyramid_new();
    for (size_t row = 0; p && row < x->n_made; row++) {
        const double v = (double)x->quantile[(size_t)q * x->curve.rows + row];
        if (!isnan(v) && hl_pyramid_push(p, (double)(row + 1), v) != HL_OK)
            break;
    }
    return p;
}

void hl_solves_draw_energy(hl_screen *s, hl_canvas c)
{
    hl_solve_shown shown[HL_SHOWN_MAX];
    hl_pyramid *line[3] = {NULL, NULL, NULL};
    const int n = hl_solves_shown(s, shown);
    const hl_solved *x = n ? hl_solves_of_batch(s, &shown[0], "deq/energy") : NULL;
    if (!x) {
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM),
                   "no energy is recorded of this batch (deq.metrics { energy = true })");
        return;
    }
    line[0] = line_of(x, HL_QUANTILE_MEDIAN);
    line[1] = line_of(x, s->look.solve_extremes ? HL_QUANTILE_MIN : HL_QUANTILE_LOW);
    line[2] = line_of(x, s->look.solve_extremes ? HL_QUANTILE_MAX : HL_QUANTILE_HIGH);
    const bool band = line[1] && line[2];
    const hl_chart_line drawn = {.data = line[0],
                                 .lo = band ? line[1] : NULL,
                                 .hi = band ? line[2] : NULL,
                                 .name = shown[0].of.row->name,
                                 .role = hl_color_style(shown[0].of.color).role,
                                 .letter = hl_color_letter(shown[0].of.color),
                                 .focused = true};
    hl_chart chart = {.line = &drawn, .n_lines = 1};
    if (line[0])
        hl_chart_draw(c, &chart);
    for (int i = 0; i < 3; i++)
        hl_pyramid_free(line[i]);
}

/* ---- states ---- */

/* The numbers of a sample as a picture: a square one where they make one, else in lines. */
typedef struct shape {
    size_t w, h;       /* in numbers */
    int columns, rows; /* in cells, which are twice as high as wide */
} shape;

static shape shape_of(size_t n, int columns, int rows)
{
    const size_t side = (size_t)lround(sqrt((double)n));
    shape p = {.w = side, .h = side};
    if (side * side != n) {
        p.w = (size_t)columns < n ? (size_t)columns : n;
        p.h = (n + p.w - 1) / p.w;
        p.rows = (int)p.h;
    } else {
        p.rows = (int)(side + 1) / 2;
    }
    p.columns = p.w < (size_t)columns ? (int)p.w : columns;
    p.rows = p.rows < rows ? p.rows : rows;
    return p;
}

/* Mean of the numbers under a cell; NAN: there are none. */
static double under(const shape *p, const float *v, size_t n, int column, int row)
{
    const size_t x0 = (size_t)column * p->w / (size_t)p->columns,
                 x1 = (size_t)(column + 1) * p->w / (size_t)p->columns,
                 y0 = (size_t)row * p->h / (size_t)p->rows,
                 y1 = (size_t)(row + 1) * p->h / (size_t)p->rows;
    double sum = 0;
    size_t count = 0;
    for (size_t y = y0; y < y1; y++)
        for (size_t x = x0; x < x1 && y * p->w + x < n; x++, count++)
            sum += (double)v[y * p->w + x];
    return count ? sum / (double)count : (double)NAN;
}

/* One sample; rows used. */
static int draw_sample(hl_canvas c, const float *v, size_t n, size_t sample)
{
    char lo_text[HL_NUMBER_MAX], hi_text[HL_NUMBER_MAX];
    const shape p = shape_of(n, c.r.w, c.r.h - 1);
    double lo = HUGE_VAL, hi = -HUGE_VAL;
    for (size_t i = 0; i < n; i++) {
        lo = fmin(lo, (double)v[i]);
        hi = fmax(hi, (double)v[i]);
    }
    hl_putf(c, 0, 0, HL_STYLE(DIM), "%zu: %s .. %s", sample + 1, hl_format_value(lo_text, lo),
            hl_format_value(hi_text, hi));
    for (int y = 0; y < p.rows; y++)
        for (int x = 0; x < p.columns; x++) {
            const double t = under(&p, v, n, x, y);
            if (!isnan(t))
                hl_heat_put_shade(c, x, 1 + y, hi > lo ? (t - lo) / (hi - lo) : 0, 0);
        }
    return 1 + p.rows;
}

void hl_solves_draw_state(hl_screen *s, hl_canvas c)
{
    hl_solve_shown shown[HL_SHOWN_MAX];
    const int n = hl_solves_shown(s, shown);
    const hl_solved *x = n ? hl_solves_of_batch(s, &shown[0], "deq/state") : NULL;
    if (!x) {
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM), "no state is recorded (state = 4)");
        return;
    }
    int y = 0;
    for (size_t i = 0; i < x->curve.rows && y + 1 < c.r.h; i++)
        y += draw_sample(hl_canvas_part(c, 0, y, c.r.w, c.r.h - y), x->curve.v + i * x->curve.cols,
                         x->curve.cols, i);
}
