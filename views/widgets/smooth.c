/* While the raw line is short its typical distance in x is not yet known, and its second point may
 * still be the last one; so a short line is smoothed anew each time it grows. */
#include "views/widgets/smooth.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

enum { N_DISTANCES = 32 }; /* of which the median is the unit */

struct hl_smooth {
    hl_pyramid *out;
    const hl_pyramid *raw; /* borrowed, compared only */
    uint64_t n_edits;
    double factor;
    bool log;

    double unit;            /* of distance */
    double x, mean, weight; /* mean: of y, or of log(y / first) */
    double first;
    double dx_before, decay_before; /* the last power taken */
    size_t n_seen;                  /* finite points */

    /* of a window: its values in the order they came (a ring), and sorted */
    int window; /* 0: exponential */
    bool is_median;
    double ring[HL_SMOOTH_WINDOW_MAX], sorted[HL_SMOOTH_WINDOW_MAX], sum;
};

hl_smooth *hl_smooth_new(void)
{
    hl_smooth *s = hl_alloc_zero(1, sizeof *s);
    if (!s)
        return NULL;
    s->out = hl_pyramid_new();
    if (!s->out) {
        hl_free(s);
        return NULL;
    }
    return s;
}

void hl_smooth_free(hl_smooth *s)
{
    if (!s)
        return;
    hl_pyramid_free(s->out);
    hl_free(s);
}

const hl_pyramid *hl_smooth_data(const hl_smooth *s)
{
    return s->out;
}

static int by_size(const void *a, const void *b)
{
    const double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}

static double typical_distance(const hl_pyramid *raw)
{
    double d[N_DISTANCES];
    size_t n = 0;
    for (size_t i = 1; i < hl_pyramid_n(raw) && i <= N_DISTANCES; i++) {
        const double dx = fabs(hl_pyramid_x(raw, i) - hl_pyramid_x(raw, i - 1));
        if (dx > 0 && isfinite(dx))
            d[n++] = dx;
    }
    if (n == 0)
        return 1;
    qsort(d, n, sizeof *d, by_size);
    return d[n / 2];
}

static bool counts(const hl_smooth *s, double y)
{
    return isfinite(y) && (!s->log || y > 0);
}

static double decay(hl_smooth *s, double dx)
{
    if (dx != s->dx_before) {
        s->dx_before = dx;
        s->decay_before = pow(s->factor, dx / s->unit);
    }
    return s->decay_before;
}

static double step(hl_smooth *s, double x, double y)
{
    const double dx = s->n_seen > 0 ? fabs(x - s->x) : s->unit;
    s->x = x;
    if (s->n_seen++ == 0) {
        s->first = y;
        s->mean = s->log ? 0 : y;
        s->weight = 1 - s->factor;
        return y;
    }
    const double v = s->log ? log(y / s->first) : y;
    const double kept = decay(s, dx);
    const double own = 1 - (dx > 0 ? kept : s->factor);
    s->weight = s->weight * kept + own;
    const double share = s->weight > 0 ? own / s->weight : 1;
    const double change = v - s->mean;
    s->mean = isfinite(change) ? s->mean + share * change : s->mean * (1 - share) + v * share;
    return s->log ? s->first * exp(s->mean) : s->mean;
}

/* What is smoothed is not known better than what it is made of, and takes half the memory. */
static double as_exact(const hl_pyramid *raw, double y)
{
    return hl_pyramid_is_wide(raw) || fabs(y) > (double)FLT_MAX ? y : (double)(float)y;
}

static size_t n_counted(const hl_smooth *s, const hl_pyramid *raw)
{
    size_t n = 0;
    for (size_t i = 0; i < hl_pyramid_n(raw) && n < 3; i++)
        n += counts(s, hl_pyramid_y(raw, i));
    return n;
}

static void begin(hl_smooth *s, const hl_pyramid *raw, double factor, bool log)
{
    hl_pyramid_clear(s->out);
    hl_pyramid_set_x_error(s->out, hl_pyramid_x_error(raw));
    s->raw = raw;
    s->n_edits = hl_pyramid_edits(raw);
    s->factor = factor;
    s->log = log;
    s->unit = typical_distance(raw);
    s->dx_before = (double)NAN;
    s->n_seen = 0;
}

hl_status hl_smooth_follow(hl_smooth *s, const hl_pyramid *raw, double factor, bool log)
{
    HL_ASSERT(factor > 0 && factor < 1);
    hl_status st = HL_OK;
    const size_t n = hl_pyramid_n(raw);
    size_t i = hl_pyramid_n(s->out);
    const bool another = s->window || s->raw != raw || s->n_edits != hl_pyramid_edits(raw) ||
                         s->factor != factor || s->log != log || i > n;
    s->window = 0;
    if (another || (i < n && (i <= N_DISTANCES || s->n_seen <= 2))) {
        begin(s, raw, factor, log);
        i = 0;
    }
    const bool as_is = i == 0 && n_counted(s, raw) <= 2;
    for (; i < n; i++) {
        const double x = hl_pyramid_x(raw, i), y = hl_pyramid_y(raw, i);
        double v = (double)NAN;
        if (counts(s, y)) {
            v = step(s, x, y);
            v = as_is ? y : as_exact(raw, v);
        }
        HL_TRY(hl_pyramid_push(s->out, x, v));
    }
out:
    return st;
}

/* ---- windows ---- */

static int place_in(const double *sorted, int n, double y)
{
    int lo = 0, hi = n; /* the first one that is not below y */
    while (lo < hi) {
        const int mid = (lo + hi) / 2;
        if (sorted[mid] < y)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The window with y in it instead of its oldest value. */
static double slide(hl_smooth *s, double y)
{
    const int at = (int)(s->n_seen % (size_t)s->window);
    int n = s->n_seen < (size_t)s->window ? (int)s->n_seen : s->window;
    if (n == s->window) {
        s->sum -= s->ring[at];
        const int gone = s->is_median ? place_in(s->sorted, n, s->ring[at]) : n - 1;
        n--;
        memmove(&s->sorted[gone], &s->sorted[gone + 1], (size_t)(n - gone) * sizeof(double));
    }
    s->ring[at] = y;
    s->sum += y;
    s->n_seen++;
    if (s->is_median) {
        const int place = place_in(s->sorted, n, y);
        memmove(&s->sorted[place + 1], &s->sorted[place], (size_t)(n - place) * sizeof(double));
        s->sorted[place] = y;
        n++;
        return s->sorted[(n - 1) / 2] / 2 + s->sorted[n / 2] / 2;
    }
    n++;
    if (at + 1 == s->window || !isfinite(s->sum)) { /* rounding does not gather */
        s->sum = 0;
        for (int i = 0; i < n; i++)
            s->sum += s->ring[i];
    }
    return s->sum / n;
}

hl_status hl_smooth_window(hl_smooth *s, const hl_pyramid *raw, int n, bool is_median)
{
    HL_ASSERT(n >= 2 && n <= HL_SMOOTH_WINDOW_MAX);
    hl_status st = HL_OK;
    if (s->raw != raw || s->n_edits != hl_pyramid_edits(raw) || s->window != n ||
        s->is_median != is_median || hl_pyramid_n(s->out) > hl_pyramid_n(raw)) {
        begin(s, raw, 0, false);
        s->window = n;
        s->is_median = is_median;
        s->sum = 0;
    }
    for (size_t i = hl_pyramid_n(s->out); i < hl_pyramid_n(raw); i++) {
        const double y = hl_pyramid_y(raw, i);
        const double v = isfinite(y) ? as_exact(raw, slide(s, y)) : (double)NAN;
        HL_TRY(hl_pyramid_push(s->out, hl_pyramid_x(raw, i), v));
    }
out:
    return st;
}
