#include "views/paired.h"

#include <math.h>

#include "views/derived.h"

/* y at x, linearly between the points around it; NAN beyond the ends, or where one is not finite. */
static double between(const hl_pyramid *p, double x)
{
    double y;
    return hl_pyramid_between(p, x, &y) ? y : (double)NAN;
}

/* The step at which a clock shows x: where its rising y passes it; NAN beyond its ends. */
static double step_at(const hl_pyramid *clock, double x)
{
    const size_t n = hl_pyramid_n(clock);
    size_t lo = 0, hi = n;
    while (lo < hi) { /* the first with y >= x */
        const size_t mid = lo + (hi - lo) / 2;
        if (hl_pyramid_y(clock, mid) < x)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == n)
        return (double)NAN;
    const double x1 = hl_pyramid_x(clock, lo), y1 = hl_pyramid_y(clock, lo);
    if (lo == 0)
        return y1 == x ? x1 : (double)NAN;
    const double x0 = hl_pyramid_x(clock, lo - 1), y0 = hl_pyramid_y(clock, lo - 1);
    return y1 == y0 ? x1 : x0 + (x1 - x0) * (x - y0) / (y1 - y0);
}

/* *beyond: x lies behind the clock's end, and follows from its mean pace. */
static double time_at(const hl_pyramid *clock, double step, bool *beyond)
{
    double last_step, last_x;
    if (!hl_pyramid_last(clock, &last_step, &last_x) || step <= last_step)
        return between(clock, step);
    const double from = hl_pyramid_x(clock, 0), from_x = hl_pyramid_y(clock, 0);
    *beyond = true;
    return last_step > from ? last_x + (step - last_step) * (last_x - from_x) / (last_step - from)
                            : (double)NAN;
}

static size_t clocks_n(const hl_paired_of *of)
{
    return (of->clock ? hl_pyramid_n(of->clock) : 0) +
           (of->reference_clock ? hl_pyramid_n(of->reference_clock) : 0);
}

static void edits_of(const hl_paired_of *of, uint64_t out[4])
{
    const hl_pyramid *const all[4] = {of->data, of->reference, of->clock, of->reference_clock};
    for (int i = 0; i < 4; i++)
        out[i] = all[i] ? hl_pyramid_edits(all[i]) : 0;
}

static bool is_another(const hl_paired *d, const hl_paired_of *of)
{
    uint64_t edits[4];
    edits_of(of, edits);
    bool other = d->of.data != of->data || d->of.reference != of->reference ||
                 d->of.clock != of->clock || d->of.reference_clock != of->reference_clock ||
                 d->of.relation != of->relation || d->of.reference_of != of->reference_of ||
                 d->n_seen > hl_pyramid_n(of->data) ||
                 (of->reference && d->n_known > hl_pyramid_n(of->reference));
    for (int i = 0; i < 4; i++)
        other |= d->edits[i] != edits[i];
    return other || (d->clock_n && d->clock_n != clocks_n(of));
}

/* Where and what a point is; false: not (yet) known. */
static bool derive(hl_paired *d, const hl_paired_of *of, double *x, double *y)
{
    bool beyond = false;
    if (of->clock)
        *x = time_at(of->clock, *x, &beyond);
    if (beyond)
        d->clock_n = clocks_n(of);
    if (!isfinite(*x))
        return false;
    if (of->relation == HL_RELATION_NONE)
        return true;
    const double step = of->reference_clock ? step_at(of->reference_clock, *x) : *x;
    const double other = isfinite(step) ? between(of->reference, step) : (double)NAN;
    *y = of->relation == HL_RELATION_RATIO ? *y / other : *y - other;
    return !isnan(other);
}

/* Is the reference known as far as there? If not, it may still come. */
static bool is_reached(const hl_paired_of *of, double x)
{
    double last, y;
    if (of->relation == HL_RELATION_NONE)
        return true;
    if (of->reference_clock)
        return hl_pyramid_last(of->reference_clock, &y, &last) && x <= last;
    return hl_pyramid_last(of->reference, &last, &y) && x <= last;
}

const hl_pyramid *hl_paired_follow(hl_paired *d, const hl_paired_of *of)
{
    if (!d->out)
        d->out = hl_pyramid_new();
    if (!d->out)
        return NULL;
    if (is_another(d, of)) {
        hl_pyramid_clear(d->out);
        d->of = *of;
        d->n_seen = d->clock_n = 0;
        edits_of(of, d->edits);
    }
    d->n_known = of->reference ? hl_pyramid_n(of->reference) : 0;
    for (; d->n_seen < hl_pyramid_n(of->data); d->n_seen++) {
        double x = hl_pyramid_x(of->data, d->n_seen), y = hl_pyramid_y(of->data, d->n_seen);
        const bool known = derive(d, of, &x, &y);
        if (!known && !is_reached(of, x))
            break;
        if (known && hl_pyramid_push(d->out, x, y) != HL_OK)
            return NULL;
    }
    return d->out;
}

void hl_paired_done(hl_paired *d)
{
    hl_pyramid_free(d->out);
    *d = (hl_paired){0};
}
