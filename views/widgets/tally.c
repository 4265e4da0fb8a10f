#include "views/widgets/tally.h"

#include <math.h>

#include "views/widgets/counts.h"

enum {
    APART = 2,    /* columns between the bins and the one apart */
    EACH_MAX = 4, /* columns of a bin */
    BY = 5        /* bins come and go by so many: the picture shall not move each time */
};

typedef struct view {
    hl_counts frame;
    size_t n_bins, bins_each;    /* shown; in a column */
    int columns_each, n_columns; /* of a bin; of all bins */
    int apart_w;                 /* columns of the bin apart */
} view;

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
    const int left = w->frame.plot.r.w - APART - 1;
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
    if (w->n_columns + APART + w->apart_w > w->frame.plot.r.w)
        w->apart_w = 1;
    w->frame.top = t->n > 0 ? (double)t->count[0] : 0;
    for (int x = 0; x < w->n_columns; x += w->columns_each)
        w->frame.top = fmax(w->frame.top, (double)count_in(w, t, x));
    w->frame.top = fmax(w->frame.top, 1);
}

void hl_tally_draw(hl_canvas c, const hl_tally *t)
{
    view w;
    hl_counts_begin(&w.frame, c);
    if (c.r.w <= APART + 1 || c.r.h <= 0)
        return;
    fit_columns(&w, t); /* for the counts; again when the width is known */
    if (hl_counts_make_axis(&w.frame))
        fit_columns(&w, t);
    const int apart = w.n_columns + APART;
    hl_counts_put_axis(&w.frame);
    for (int x = 0; x < w.n_columns; x += w.columns_each)
        hl_counts_put_bar(&w.frame, x, w.columns_each, (double)count_in(&w, t, x), t->role);
    if (t->n > 0)
        hl_counts_put_bar(&w.frame, apart, w.apart_w, (double)t->count[0], HL_ROLE_BAD);
    const double shown = (double)(w.n_columns / w.columns_each) * (double)w.bins_each;
    hl_counts_put_line(&w.frame, 0, w.n_columns);
    hl_counts_put_line(&w.frame, apart, w.apart_w);
    /* labels in the middle of bins */
    hl_counts_put_ticks(&w.frame, &(hl_scale){.lo = 0.5, .hi = 0.5 + shown}, w.n_columns, true);
    if (w.frame.label_row >= 0)
        hl_put_sign(c, w.frame.axis_column + 1 + apart + (w.apart_w - 1) / 2, w.frame.label_row,
                    HL_STYLE(BAD), HL_SIGN_FAILED);
}
