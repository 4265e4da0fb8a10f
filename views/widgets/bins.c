#include "views/widgets/bins.h"

#include <math.h>

#include "views/widgets/spark.h"
#include "views/widgets/ticks.h"

enum {
    W_AXIS = 20,  /* columns from which counts are labelled */
    H_LINE = 6,   /* rows from which the x axis has a line, */
    H_LABELS = 3, /* labels */
    EACH_MAX = 4, /* columns of a bin */
    HALF_MIN = 4  /* bins on either side of zero that are always shown */
};

typedef struct view {
    hl_canvas all, plot;
    int axis_column, line_row, label_row; /* of `all`; -1: none */
    int half;                             /* bins shown on either side of zero */
    int bins_each, columns_each;          /* bins in a bar; columns of a bar */
    int n_bars;
    double top; /* count at full height */
} view;

static hl_style role(int r)
{
    return (hl_style){.role = (uint8_t)r};
}

/* The bar's first bin, counted from the first of all. */
static int first_of(const view *w, const hl_bins *b, int bar)
{
    return b->n / 2 + (bar - w->n_bars / 2) * w->bins_each;
}

static double count_in(const view *w, const hl_bins *b, int bar)
{
    double sum = 0;
    const int first = first_of(w, b, bar);
    for (int i = first < 0 ? 0 : first; i < first + w->bins_each && i < b->n; i++)
        sum += b->count[i];
    return sum;
}

/* Something lies beyond the first or the last bin. */
static bool is_open(const view *w, const hl_bins *b, int bar)
{
    const int first = first_of(w, b, bar);
    return (first <= 0 && b->count[0] > 0) ||
           (first + w->bins_each >= b->n && b->count[b->n - 1] > 0);
}

static void fit(view *w, const hl_bins *b)
{
    const int room = w->plot.r.w > 1 ? w->plot.r.w / 2 : 1; /* on either side */
    w->half = HALF_MIN < b->n / 2 ? HALF_MIN : b->n / 2;
    for (int i = 0; i < b->n; i++) {
        const int away = i < b->n / 2 ? b->n / 2 - i : i - b->n / 2 + 1;
        if (b->count[i] > 0 && away > w->half)
            w->half = away;
    }
    w->bins_each = (w->half + room - 1) / room;
    const int bars = (w->half + w->bins_each - 1) / w->bins_each, each = room / bars;
    w->columns_each = each > EACH_MAX ? EACH_MAX : each < 1 ? 1 : each;
    w->n_bars = 2 * bars;
    w->top = 1;
    for (int k = 0; k < w->n_bars; k++)
        w->top = fmax(w->top, count_in(w, b, k));
}

static void put_bars(const view *w, const hl_bins *b)
{
    const int rows = w->plot.r.h;
    for (int k = 0; k < w->n_bars; k++) {
        const double count = count_in(w, b, k);
        const int r = is_open(w, b, k) ? HL_ROLE_WARN : b->role;
        int high = (int)lround(count / w->top * 8 * rows);
        high = count > 0 && high < 1 ? 1 : high;
        for (int y = 0; 8 * y < high; y++)
            for (int x = 0; x < w->columns_each; x++)
                hl_put_char(w->plot, k * w->columns_each + x, rows - 1 - y, role(r),
                            hl_bar_char(w->plot.grid, high - 8 * y));
    }
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

static void put_values_axis(const view *w, const hl_bins *b)
{
    const int left = w->axis_column + 1, columns = w->n_bars * w->columns_each;
    const double end = w->n_bars / 2 * w->bins_each * b->width;
    const hl_scale s = {.lo = -end, .hi = end};
    hl_ticks t;
    hl_ticks_x(&s, columns, &t);
    for (int x = 0; w->line_row >= 0 && x < columns; x++)
        hl_put_sign(w->all, left + x, w->line_row, role(HL_ROLE_DIM), HL_SIGN_H_LIGHT);
    if (w->line_row >= 0 && w->axis_column >= 0)
        hl_put_sign(w->all, w->axis_column, w->line_row, role(HL_ROLE_DIM), HL_SIGN_BL_LIGHT);
    for (int i = 0; i < t.n; i++) {
        if (w->line_row >= 0)
            hl_put_sign(w->all, left + t.tick[i].at, w->line_row, role(HL_ROLE_DIM),
                        HL_SIGN_TICK_X);
        if (w->label_row >= 0)
            hl_put(w->all, left + t.tick[i].label_at, w->label_row, role(HL_ROLE_DIM),
                   t.tick[i].label);
    }
}

void hl_bins_draw(hl_canvas c, const hl_bins *b)
{
    hl_blank(c, 0, 0, c.r.w, c.r.h, role(HL_ROLE_TEXT));
    if (c.r.w < 2 || c.r.h <= 0 || b->n < 2)
        return;
    view w = {.all = c, .axis_column = -1, .line_row = -1, .label_row = -1};
    int bottom = c.r.h;
    if (c.r.h >= H_LABELS)
        w.label_row = --bottom;
    if (c.r.h >= H_LINE)
        w.line_row = --bottom;
    w.plot = hl_canvas_part(c, 0, 0, c.r.w, bottom);
    fit(&w, b); /* for the counts; again when the width is known */
    if (c.r.w >= W_AXIS) {
        const hl_scale s = {.lo = 0, .hi = w.top};
        hl_ticks y;
        hl_ticks_y(&s, bottom, &y);
        w.axis_column = y.label_columns;
        w.plot = hl_canvas_part(c, w.axis_column + 1, 0, c.r.w - w.axis_column - 1, bottom);
        fit(&w, b);
    }
    put_counts_axis(&w);
    put_bars(&w, b);
    put_values_axis(&w, b);
}
