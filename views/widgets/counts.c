#include "views/widgets/counts.h"

#include <math.h>

#include "views/widgets/spark.h"

enum {
    W_AXIS = 20, /* columns from which counts are labelled */
    H_LINE = 6,  /* rows from which the x axis has a line, */
    H_LABELS = 3 /* labels */
};

void hl_counts_begin(hl_counts *f, hl_canvas c)
{
    hl_blank(c, 0, 0, c.r.w, c.r.h, HL_STYLE(TEXT));
    *f = (hl_counts){.all = c, .axis_column = -1, .line_row = -1, .label_row = -1, .top = 1};
    int bottom = c.r.h;
    if (c.r.h >= H_LABELS)
        f->label_row = --bottom;
    if (c.r.h >= H_LINE)
        f->line_row = --bottom;
    f->plot = hl_canvas_part(c, 0, 0, c.r.w, bottom);
}

bool hl_counts_make_axis(hl_counts *f)
{
    const hl_scale s = {.lo = 0, .hi = f->top};
    hl_ticks t;
    if (f->all.r.w < W_AXIS)
        return false;
    hl_ticks_y(&s, f->plot.r.h, &t);
    f->axis_column = t.label_columns;
    f->plot =
        hl_canvas_part(f->all, f->axis_column + 1, 0, f->all.r.w - f->axis_column - 1, f->plot.r.h);
    return true;
}

void hl_counts_put_bar(const hl_counts *f, int x, int columns, double count, int role)
{
    const int rows = f->plot.r.h;
    int high = (int)lround(count / f->top * 8 * rows);
    high = count > 0 && high < 1 ? 1 : high;
    for (int y = 0; 8 * y < high; y++)
        for (int k = 0; k < columns; k++)
            hl_put_char(f->plot, x + k, rows - 1 - y, (hl_style){.role = (uint8_t)role},
                        hl_bar_char(f->plot.grid, high - 8 * y));
}

void hl_counts_put_axis(const hl_counts *f)
{
    const hl_scale s = {.lo = 0, .hi = f->top};
    hl_ticks t;
    if (f->axis_column < 0)
        return;
    hl_ticks_y(&s, f->plot.r.h, &t);
    for (int y = 0; y < f->plot.r.h; y++)
        hl_put_sign(f->all, f->axis_column, y, HL_STYLE(DIM), HL_SIGN_V_LIGHT);
    for (int i = 0; i < t.n; i++) {
        hl_put_sign(f->all, f->axis_column, t.tick[i].at, HL_STYLE(DIM), HL_SIGN_TICK_Y);
        hl_put_right(f->all, f->axis_column, t.tick[i].at, HL_STYLE(DIM), t.tick[i].label);
    }
    if (f->line_row >= 0)
        hl_put_sign(f->all, f->axis_column, f->line_row, HL_STYLE(DIM), HL_SIGN_BL_LIGHT);
}

void hl_counts_put_line(const hl_counts *f, int x, int columns)
{
    for (int k = 0; f->line_row >= 0 && k < columns; k++)
        hl_put_sign(f->all, f->axis_column + 1 + x + k, f->line_row, HL_STYLE(DIM),
                    HL_SIGN_H_LIGHT);
}

void hl_counts_put_ticks(const hl_counts *f, const hl_scale *s, int columns, bool whole)
{
    const int left = f->axis_column + 1;
    hl_ticks t;
    hl_ticks_x(s, columns, &t);
    for (int i = 0; i < t.n; i++) {
        if (whole && t.tick[i].value != floor(t.tick[i].value))
            continue;
        if (f->line_row >= 0)
            hl_put_sign(f->all, left + t.tick[i].at, f->line_row, HL_STYLE(DIM), HL_SIGN_TICK_X);
        if (f->label_row >= 0)
            hl_put(f->all, left + t.tick[i].label_at, f->label_row, HL_STYLE(DIM), t.tick[i].label);
    }
}
