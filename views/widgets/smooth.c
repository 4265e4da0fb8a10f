/* While the raw line is short its typical distance in x is not yet known, and its second point may
 * still be the last one; so a short line is smoothed anew each time it grows. */
#include "views/widgets/smooth.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/base/ema.h"
#include "engine/base/mem.h"

struct hl_smooth {
    hl_pyramid *out;
    const hl_pyramid *raw; /* borrowed, compared only */
    uint64_t n_edits;
    hl_ema ema;

    /* of a window: its values in the order they came (a ring), and sorted */
    int window; /* 0: exponential */
    bool is_median;
    size_t n_seen; /* finite points */
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

static double typical_distance(const hl_pyramid *raw)
{
    double d[HL_EMA_DISTANCES];
    size_t n = 0;
    for (size_t i = 1; i < hl_pyramid_n(raw) && i <= HL_EMA_DISTANCES; i++)
        d[n++] = fabs(hl_pyramid_x(raw, i) - hl_pyramid_x(raw, i - 1));
    return hl_ema_unit(d, n);
}

static bool counts(const hl_smooth *s, double y)
{
    return isfinite(y) && (!s->ema.log || y > 0);
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
    hl_ema_init(&s->ema, factor, typical_distance(raw), log);
    s->n_seen = 0;
}

hl_status hl_smooth_follow(hl_smooth *s, const hl_pyramid *raw, double factor, bool log)
{
    HL_ASSERT(factor > 0 && factor < 1);
    hl_status st = HL_OK;
    const size_t n = hl_pyramid_n(raw);
    size_t i = hl_pyramid_n(s->out);
    const bool another = s->window || s->raw != raw || s->n_edits != hl_pyramid_edits(raw) ||
                         s->ema.factor != factor || s->ema.log != log || i > n;
    s->window = 0;
    if (another || (i < n && (i <= HL_EMA_DISTANCES || s->ema.n <= 2))) {
        begin(s, raw, factor, log);
        i = 0;
    }
    const bool as_is = i == 0 && n_counted(s, raw) <= 2;
    for (; i < n; i++) {
        const double x = hl_pyramid_x(raw, i), y = hl_pyramid_y(raw, i);
        double v = (double)NAN;
        if (counts(s, y)) {
            v = hl_ema_add(&s->ema, x, y);
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
