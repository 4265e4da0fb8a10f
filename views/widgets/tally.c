#include "views/widgets/tally.h"

#include <math.h>

#include "views/widgets/spark.h"
#include "views/widgets/ticks.h"

enum {
    W_AXIS = 20,  /* columns from which counts are labelled */
    H_LINE = 6,   /* rows from which the x axis has a line, */
    H_LABELS = 3, /* labels */
    APART = 2,    /* columns between the bins and the one apart */
    EACH_MAX = 4, /* columns of a bin */
    BY = 5        /* bins come and go by so many: the picture shall not move each time */
};

typedef struct view {
    hl_canvas all, plot;
    int axis_column, line_row, label_row; /* of `all`; -1: none */
    size_t n_bins, bins_each;             /* shown; in a column */
    int columns_each, n_columns;          /* of a bin; of all bins */
    int apart_w;                          /* columns of the bin apart */
    double top;                           /* count at full height */
} view;

static hl_style role(int r)
{
    return (hl_style){.role = (uint8_t)r};
}

static size_t count_in(const view *w, const hl_tally *t, int column)
{
    size_t sum = 0;
    const size_t first = 1 + (size_t)(column / w->columns_each) * w->bins_each;
    for (size_t i = first; i < first + w->bins_each && i <= t->n; i++)
        sum += t->count[i];
    return sum;
}

static void fit_columns(view *w, const hl_tally *t)
{
    size_t used = 1;
    for (size_t i = 1; i <= t->n; i++)
        used = t->count[i] > 0 ? i : used;
    const int left = w->plot.r.w - APART - 1;
    const size_t room = left > 0 ? (size_t)left : 1, rounded = (used + BY - 1) / BY * BY;
    w->n_bins = t->n <= room ? t->n : rounded < t->n ? rounded : t->n;
    w->n_bins = w->n_bins > 0 ? w->n_bins : 1;
    w->bins_each = (w->n_bins + room - 1) / room;
    w->columns_each = 1;
    if (w->bins_each == 1) {
        const size_t each = room / w->n_bins;
        w->columns_each = each > EACH_MAX ? EACH_MAX : (int)each;
    }
    w->n_columns = (int)((w->n_bins + w->bins_each - 1) / w->bins_each) * w->columns_each;
    w->apart_w = w->columns_each;
    if (w->n_columns + APART + w->apart_w > w->plot.r.w)
        w->apart_w = 1;
    w->top = t->n > 0 ? (double)t->count[0] : 0;
    for (int x = 0; x < w->n_columns; x += w->columns_each)
        w->top = fmax(w->top, (double)count_in(w, t, x));
    w->top = fmax(w->top, 1);
}

static void put_bar(const view *w, int x, int columns, size_t count, int r)
{
    const int rows = w->plot.r.h;
    int high = (int)lround((double)count / w->top * 8 * rows);
    high = count > 0 && high < 1 ? 1 : high;
    for (int y = 0; 8 * y < high; y++)
        for (int k = 0; k < columns; k++)
            hl_put_char(w->plot, x + k, rows - 1 - y, role(r),
                        hl_bar_char(w->plot.grid, high - 8 * y));
}

static void put_counts_axis(const view *w)
{
    const hl_scale s = {.lo = 0, .hi = w->top};
    hl_ticks t;
    if (w->axis_column < 0)
        return;
    hl_ticks_y(&s, w->plot.r.h, &t);
    for (int y = 0; y < w->plot.r.h; y++)
        hl_put_sign(w->all, w->axis_column, y, role(HL_ROLE_DIM), HL_SIGN_V_LIGHT);
    for (int i = 0; i < t.n; i++) {
        hl_put_sign(w->all, w->axis_column, t.tick[i].at, role(HL_ROLE_DIM), HL_SIGN_TICK_Y);
        hl_put_right(w->all, w->axis_column, t.tick[i].at, role(HL_ROLE_DIM), t.tick[i].label);
    }
}

static void put_bins_axis(const view *w)
{
    const int left = w->axis_column + 1, apart = left + w->n_columns + APART;
    const double shown = (double)(w->n_columns / w->columns_each) * (double)w->bins_each;
    const hl_scale s = {.lo = 0.5, .hi = 0.5 + shown}; /* labels in the middle of bins */
    hl_ticks t;
    hl_ticks_x(&s, w->n_columns, &t);
    for (int x = 0; w->line_row >= 0 && x < w->n_columns; x++)
        hl_put_sign(w->all, left + x, w->line_row, role(HL_ROLE_DIM), HL_SIGN_H_LIGHT);
    for (int x = 0; w->line_row >= 0 && x < w->apart_w; x++)
        hl_put_sign(w->all, apart + x, w->line_row, role(HL_ROLE_DIM), HL_SIGN_H_LIGHT);
    if (w->line_row >= 0 && w->axis_column >= 0)
        hl_put_sign(w->all, w->axis_column, w->line_row, role(HL_ROLE_DIM), HL_SIGN_BL_LIGHT);
    for (int i = 0; i < t.n; i++) {
        if (t.tick[i].value != floor(t.tick[i].value))
            continue;
        if (w->line_row >= 0)
            hl_put_sign(w->all, left + t.tick[i].at, w->line_row, role(HL_ROLE_DIM),
                        HL_SIGN_TICK_X);
        if (w->label_row >= 0)
            hl_put(w->all, left + t.tick[i].label_at, w->label_row, role(HL_ROLE_DIM),
                   t.tick[i].label);
    }
    if (w->label_row >= 0)
        hl_put_sign(w->all, apart + (w->apart_w - 1) / 2, w->label_row, role(HL_ROLE_BAD),
                    HL_SIGN_FAILED);
}

void hl_tally_draw(hl_canvas c, const hl_tally *t)
{
    hl_blank(c, 0, 0, c.r.w, c.r.h, role(HL_ROLE_TEXT));
    if (c.r.w <= APART + 1 || c.r.h <= 0)
        return;
    view w = {.all = c, .axis_column = -1, .line_row = -1, .label_row = -1};
    int bottom = c.r.h;
    if (c.r.h >= H_LABELS)
        w.label_row = --bottom;
    if (c.r.h >= H_LINE)
        w.line_row = --bottom;
    w.plot = hl_canvas_part(c, 0, 0, c.r.w, bottom);
    fit_columns(&w, t); /* for the counts; again when the width is known */
    if (c.r.w >= W_AXIS) {
        const hl_scale s = {.lo = 0, .hi = w.top};
        hl_ticks y;
        hl_ticks_y(&s, bottom, &y);
        w.axis_column = y.label_columns;
        w.plot = hl_canvas_part(c, w.axis_column + 1, 0, c.r.w - w.axis_column - 1, bottom);
        fit_columns(&w, t);
    }
    put_counts_axis(&w);
    for (int x = 0; x < w.n_columns; x += w.columns_each)
        put_bar(&w, x, w.columns_each, count_in(&w, t, x), t->role);
    if (t->n > 0)
        put_bar(&w, w.n_columns + APART, w.apart_w, t->count[0], HL_ROLE_BAD);
    put_bins_axis(&w);
}
