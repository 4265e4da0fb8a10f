#include "views/widgets/bins.h"

#include <math.h>

#include "views/widgets/counts.h"

enum {
    EACH_MAX = 4, /* columns of a bin */
    HALF_MIN = 4  /* bins on either side of zero that are always shown */
};

typedef struct view {
    hl_counts frame;
    int half;                    /* bins shown on either side of zero */
    int bins_each, columns_each; /* bins in a bar; columns of a bar */
    int n_bars;
} view;

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
    const int room = w->frame.plot.r.w > 1 ? w->frame.plot.r.w / 2 : 1; /* on either side */
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
    w->frame.top = 1;
    for (int k = 0; k < w->n_bars; k++)
        w->frame.top = fmax(w->frame.top, count_in(w, b, k));
}

static void put_bars(const view *w, const hl_bins *b)
{
    for (int k = 0; k < w->n_bars; k++)
        hl_counts_put_bar(&w->frame, k * w->columns_each, w->columns_each, count_in(w, b, k),
                          is_open(w, b, k) ? HL_ROLE_WARN : b->role);
}

void hl_bins_draw(hl_canvas c, const hl_bins *b)
{
    view w;
    hl_counts_begin(&w.frame, c);
    if (c.r.w < 2 || c.r.h <= 0 || b->n < 2)
        return;
    fit(&w, b); /* for the counts; again when the width is known */
    if (hl_counts_make_axis(&w.frame))
        fit(&w, b);
    hl_counts_put_axis(&w.frame);
    put_bars(&w, b);
    const int columns = w.n_bars * w.columns_each;
    const double end = w.n_bars / 2 * w.bins_each * b->width;
    hl_counts_put_line(&w.frame, 0, columns);
    hl_counts_put_ticks(&w.frame, &(hl_scale){.lo = -end, .hi = end}, columns, false);
}
