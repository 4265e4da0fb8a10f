/* Places on the x axis are counted in bins (0 .. 64), in which log2 |x| is linear outside of the
 * two bins at zero; inside of them x is. */
#include "views/widgets/histogram.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/widgets/number.h"
#include "views/widgets/spark.h"

enum {
    N_BINS = HL_HIST_BINS,
    ZERO = N_BINS / 2, /* bin whose left edge is 0 */
    LABEL_W = 4,       /* "1e10" */
    W_LABELS = 24,     /* columns from which counts are labelled */
    H_LINE = 6,        /* rows from which the x axis has a line, */
    H_LABELS = 3,      /* labels */
    N_LABELS_MAX = 24
};

typedef struct view {
    hl_canvas all, plot;
    int axis_column, line_row, label_row; /* of `all`; -1: none */
    int first, n_bins;                    /* shown */
    int columns_each;                     /* of a bin; 1 if bins are merged */
    int bins_each;                        /* in a column */
    int n_columns;
    double decades; /* full height */
    double end;     /* linear x: columns reach from -end to end; else 0 */
} view;

static hl_style role(int r)
{
    return (hl_style){.role = (uint8_t)r};
}

/* ---- x ---- */

/* Within its bin a value keeps a little off the edges it does not touch, so that mirroring and
 * rounding leave it there. */
static double off_the_edges(double part, bool touches)
{
    return touches ? part : fmin(fmax(part, 1e-9), 1 - 1e-9);
}

double hl_histogram_place(double v)
{
    if (v < 0)
        return N_BINS - hl_histogram_place(-v);
    if (v < 0x1p-19)
        return ZERO + off_the_edges(v * 0x1p19, v == 0);
    int exponent;
    const double m = frexp(fmin(v, DBL_MAX), &exponent); /* 1/2 <= m < 1 */
    return fmin(exponent + 51 + off_the_edges(log2(2 * m), m == 0.5), N_BINS - 1e-6);
}

/* -1: not shown */
static int column_of(const view *w, double v)
{
    if (isnan(v))
        return -1;
    if (w->end > 0) {
        const double at = floor((v / w->end + 1) / 2 * w->n_columns);
        return v == w->end ? w->n_columns - 1 : at < 0 || at >= w->n_columns ? -1 : (int)at;
    }
    const double bins = hl_histogram_place(v) - w->first;
    const int column = (int)floor(bins * w->columns_each / w->bins_each);
    return bins < 0 || column >= w->n_columns ? -1 : column;
}

/* Of what lies evenly in its bin; the outer bins end with the outermost values. */
double hl_histogram_between(const hl_hist *h, double from, double to)
{
    double sum = 0;
    for (int i = 0; i < N_BINS; i++) {
        const double lo = fmax(i ? hl_hist_edge(i - 1) : -HUGE_VAL, h->min),
                     hi = fmin(hl_hist_edge(i), h->max);
        const double part = fmin(hi, to) - fmax(lo, from);
        if (h->bin[i] > 0 && hi <= lo) /* all of it are one value */
            sum += lo >= from && lo < to ? h->bin[i] : 0;
        else if (part > 0)
            sum += h->bin[i] * part / (hi - lo);
    }
    return sum;
}

static double count_in(const view *w, const hl_hist *h, int column)
{
    if (w->end > 0) {
        const double each = 2 * w->end / w->n_columns, from = column * each - w->end;
        const bool is_last = column == w->n_columns - 1;
        return hl_histogram_between(h, from, is_last ? HUGE_VAL : from + each);
    }
    double sum = 0;
    const int first = w->first + column / w->columns_each * w->bins_each;
    for (int i = first; i < first + w->bins_each && i < N_BINS; i++)
        sum += h->bin[i];
    return sum;
}

/* Bins used on either side of zero, the wider of the two. */
static int reach(const hl_hist *h)
{
    int n = 0;
    for (int i = 0; h && i < N_BINS; i++)
        if (h->bin[i] > 0) {
            const int out = i < ZERO ? ZERO - i : i - ZERO + 1;
            n = out > n ? out : n;
        }
    return n;
}

static double outermost(const hl_hist *h)
{
    return h && h->num > 0 ? fmax(fabs(h->min), fabs(h->max)) : 0;
}

static void fit_columns(view *w, const hl_histogram *h)
{
    const int room = w->plot.r.w;
    w->end = h->linear ? fmax(outermost(h->data), outermost(h->over)) : 0;
    if (w->end > 0 && w->end < 1e300) {
        w->n_columns = room;
        return;
    }
    w->end = 0;
    w->first = 0;
    w->n_bins = N_BINS;
    w->columns_each = room >= N_BINS ? room / N_BINS : 1;
    w->bins_each = 1;
    if (room < N_BINS) {
        const int a = reach(h->data), b = reach(h->over);
        const int side = ((a > b ? a : b) + 3) / 4 * 4; /* by fours: it shall not move each time */
        if (side > 0 && 2 * side <= room) {
            w->first = ZERO - side;
            w->n_bins = 2 * side;
        } else {
            while (N_BINS / w->bins_each > room)
                w->bins_each *= 2;
        }
    }
    w->n_columns = w->n_bins / w->bins_each * w->columns_each;
    w->plot = hl_canvas_part(w->plot, (room - w->n_columns) / 2, 0, w->n_columns, w->plot.r.h);
}

/* ---- y ---- */

static int eighths(const view *w, double count)
{
    if (!(count > 0))
        return 0;
    const double t = fmax(log10(count), 0) / w->decades;
    return 1 + (int)floor(fmin(t, 1) * (8 * w->plot.r.h - 1) + 1e-9);
}

static void fit_rows(view *w, const hl_histogram *h)
{
    double max = 1;
    for (int x = 0; x < w->n_columns; x++) {
        max = fmax(max, count_in(w, h->data, x));
        if (h->over)
            max = fmax(max, count_in(w, h->over, x));
    }
    w->decades = fmax(ceil(log10(fmin(max, DBL_MAX)) - 1e-9), 1);
}

static void put_count_labels(const view *w)
{
    const int top = w->plot.r.y - w->all.r.y, rows = w->plot.r.h;
    int last = rows + 2;
    if (w->axis_column < 0)
        return;
    for (int y = 0; y < rows; y++)
        hl_put_sign(w->all, w->axis_column, top + y, role(HL_ROLE_DIM), HL_SIGN_V_LIGHT);
    for (int e = 0; e <= (int)w->decades; e++) {
        const int row = rows - 1 - (eighths(w, pow(10, e)) - 1) / 8;
        char text[16];
        if (last - row < 2)
            continue;
        last = row;
        snprintf(text, sizeof text, "1e%d", e);
        hl_put_sign(w->all, w->axis_column, top + row, role(HL_ROLE_DIM), HL_SIGN_TICK_Y);
        hl_put_right(w->all, w->axis_column, top + row, role(HL_ROLE_DIM), text);
    }
}

/* ---- parts ---- */

static void put_bars(const view *w, const hl_histogram *h)
{
    const int rows = w->plot.r.h;
    for (int x = 0; x < w->n_columns; x++) {
        const int high = eighths(w, count_in(w, h->data, x));
        for (int y = 0; 8 * y < high; y++)
            hl_put_char(w->plot, x, rows - 1 - y, role(h->role),
                        hl_bar_char(w->plot.grid, high - 8 * y));
        const int over = h->over ? eighths(w, count_in(w, h->over, x)) : 0;
        if (over > 0)
            hl_put_sign(w->plot, x, rows - 1 - (over - 1) / 8, role(h->over_role), HL_SIGN_H_LIGHT);
    }
}

static void put_limit(const view *w, double v, int r, hl_sign sign)
{
    const int x = column_of(w, v);
    for (int y = 0; x >= 0 && y < w->plot.r.h; y++)
        hl_put_sign(w->plot, x, y, role(r), sign);
}

double hl_histogram_deviation(const hl_hist *h, double *mean)
{
    *mean = h->sum / h->num;
    return sqrt(fmax(h->sum_squares / h->num - *mean * *mean, 0));
}

static void put_limits(const view *w, const hl_histogram *h)
{
    double mean;
    const double sd = hl_histogram_deviation(h->data, &mean);
    put_limit(w, mean - 6 * sd, HL_ROLE_WARN, HL_SIGN_DASH_V);
    put_limit(w, mean + 6 * sd, HL_ROLE_WARN, HL_SIGN_DASH_V);
    if (h->has_clip) {
        put_limit(w, h->clip_lo, HL_ROLE_BAD, HL_SIGN_V_LIGHT);
        put_limit(w, h->clip_hi, HL_ROLE_BAD, HL_SIGN_V_LIGHT);
    }
}

/* From the first level beside 0 on, a tick in each column with a level in it. */
static void put_levels(const view *w, const hl_histogram *h)
{
    enum { LEVELS_MAX = 1 << 16 };
    const int left = w->plot.r.x - w->all.r.x;
    if (!(h->step > 0) || !h->has_clip)
        return;
    for (int side = -1; side <= 1; side += 2) {
        const double end = side < 0 ? h->clip_lo : h->clip_hi;
        for (int k = 0; isfinite(end) && k <= LEVELS_MAX && k * h->step <= fabs(end) * (1 + 1e-9);
             k++) {
            const int x = end * side > 0 ? column_of(w, side * k * h->step) : -1;
            if (x >= 0)
                hl_put_sign(w->all, left + x, w->line_row, role(HL_ROLE_WARN), HL_SIGN_TICK_X);
        }
    }
}

static void put_x_line(const view *w, const hl_histogram *of)
{
    const hl_hist *h = of->data;
    const int left = w->plot.r.x - w->all.r.x;
    if (w->line_row < 0)
        return;
    for (int x = 0; x < w->n_columns; x++)
        hl_put_sign(w->all, left + x, w->line_row, role(HL_ROLE_DIM), HL_SIGN_H_LIGHT);
    if (w->axis_column >= 0)
        hl_put_sign(w->all, w->axis_column, w->line_row, role(HL_ROLE_DIM), HL_SIGN_BL_LIGHT);
    put_levels(w, of);
    const double ends[2] = {h->min, h->max};
    for (int i = 0; i < 2; i++) {
        const int x = column_of(w, ends[i]);
        if (x >= 0)
            hl_put_sign(w->all, left + x, w->line_row, role(HL_ROLE_KEY), HL_SIGN_UP);
    }
}

/* The most useful numbers first, each where it does not touch one that stands already. */
static void put_x_labels(const view *w)
{
    static const double wanted[] = {0,    1,   -1,   1e3,  -1e3,  1e-3, -1e-3, 10,   -10,  0.1,
                                    -0.1, 100, -100, 0.01, -0.01, 1e-4, -1e-4, 1e-5, -1e-5};
    static const double parts[] = {0, 1, -1, 0.5, -0.5, 0.25, -0.25, 0.75, -0.75};
    int begin[N_LABELS_MAX], end[N_LABELS_MAX], n = 0;
    const int left = w->plot.r.x - w->all.r.x;
    const size_t n_wanted =
        w->end > 0 ? sizeof parts / sizeof *parts : sizeof wanted / sizeof *wanted;
    for (size_t i = 0; w->label_row >= 0 && i < n_wanted; i++) {
        const double v = w->end > 0 ? parts[i] * w->end : wanted[i];
        const int x = column_of(w, v);
        char text[HL_NUMBER_MAX];
        const int len = (int)strlen(hl_format_value(text, v));
        const int from = left + x - len / 2;
        bool has_room = x >= 0 && from >= 0 && from + len <= w->all.r.w && n < N_LABELS_MAX;
        for (int k = 0; k < n && has_room; k++)
            has_room = from + len < begin[k] || from > end[k];
        if (!has_room)
            continue;
        hl_put(w->all, from, w->label_row, role(HL_ROLE_DIM), text);
        begin[n] = from;
        end[n++] = from + len;
    }
}

/* ---- all of it ---- */

void hl_histogram_draw(hl_canvas c, const hl_histogram *h)
{
    hl_blank(c, 0, 0, c.r.w, c.r.h, role(HL_ROLE_TEXT));
    if (c.r.w <= 0 || c.r.h <= 0)
        return;
    if (!h->data || !(h->data->num > 0)) {
        const bool is_bad = h->data && h->data->n_non_finite > 0;
        hl_put_cut(c, 0, c.r.h / 2, c.r.w, role(HL_ROLE_DIM),
                   is_bad ? "no finite value" : "no histogram yet");
        return;
    }
    view w = {.all = c, .axis_column = -1, .line_row = -1, .label_row = -1};
    int bottom = c.r.h;
    if (c.r.h >= H_LABELS)
        w.label_row = --bottom;
    if (c.r.h >= H_LINE)
        w.line_row = --bottom;
    if (c.r.w >= W_LABELS)
        w.axis_column = LABEL_W;
    const int left = w.axis_column + 1;
    w.plot = hl_canvas_part(c, left, 0, c.r.w - left, bottom);
    fit_columns(&w, h);
    fit_rows(&w, h);
    put_count_labels(&w);
    put_limits(&w, h); /* the bars stand before them */
    put_bars(&w, h);
    put_x_line(&w, h);
    put_x_labels(&w);
}

const char *hl_histogram_notes(const hl_hist *h, char buf[HL_HISTOGRAM_NOTES_MAX])
{
    buf[0] = '\0';
    if (!h)
        return buf;
    char a[HL_NUMBER_MAX], b[HL_NUMBER_MAX], d[HL_NUMBER_MAX], e[HL_NUMBER_MAX];
    double mean;
    int n = snprintf(buf, HL_HISTOGRAM_NOTES_MAX, "n %s", hl_format_value(a, h->num));
    if (h->num > 0)
        n += snprintf(buf + n, HL_HISTOGRAM_NOTES_MAX - (size_t)n, "  min %s  max %s  sd %s",
                      hl_format_value(a, h->min), hl_format_value(b, h->max),
                      hl_format_value(d, hl_histogram_deviation(h, &mean)));
    if (h->n_non_finite > 0)
        snprintf(buf + n, HL_HISTOGRAM_NOTES_MAX - (size_t)n, "  nan %s",
                 hl_format_value(e, h->n_non_finite));
    return buf;
}
