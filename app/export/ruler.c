#include "app/export/ruler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The round step (1, 2 or 5 times a power of ten) that cuts `span` into about n pieces. */
static double round_step(double span, int n)
{
    const double raw = span / n, base = pow(10, floor(log10(raw)));
    const double f = raw / base;
    return (f < 1.5 ? 1 : f < 3.5 ? 2 : f < 7.5 ? 5 : 10) * base;
}

static void add_tick(hl_ruler *a, double v, const char *text)
{
    if (a->n_ticks >= HL_TICKS_MAX)
        return;
    a->tick[a->n_ticks] = v;
    snprintf(a->text[a->n_ticks++], HL_TICK_TEXT, "%s", text);
}

/* "0.25", "1500", "20k", "1.5M", "2e-7": as exact as the step needs. */
static void format_tick(char text[HL_TICK_TEXT], double v, double step)
{
    const double size = fmax(fabs(v), step);
    const char *unit = "";
    if (fabs(v) < step * 1e-6)
        v = 0;
    if (step >= 1e5 && size < 1e13) {
        const double scale = size >= 1e9 ? 1e9 : size >= 1e6 ? 1e6 : 1e3;
        unit = scale == 1e9 ? "G" : scale == 1e6 ? "M" : "k";
        v /= scale;
        step /= scale;
    } else if (size >= 1e4 && size < 1e7 && fmod(step, 1e3) == 0) {
        unit = "k";
        v /= 1e3;
        step /= 1e3;
    }
    const int decimals = (int)ceil(-log10(step) - 1e-9);
    if (decimals > 6 || fabs(v) >= 1e13)
        snprintf(text, HL_TICK_TEXT, "%.4g%s", v, unit);
    else
        snprintf(text, HL_TICK_TEXT, "%.*f%s", decimals > 0 ? decimals : 0, v, v != 0 ? unit : "");
}

static void linear_ticks(hl_ruler *a, int n_want)
{
    const double step = round_step(a->to - a->from, n_want);
    const double first = ceil(a->from / step - 1e-9) * step;
    char text[HL_TICK_TEXT];
    for (int i = 0; i < HL_TICKS_MAX && first + i * step <= a->to + step * 1e-9; i++) {
        format_tick(text, first + i * step, step);
        add_tick(a, first + i * step, text);
    }
}

/* Powers of ten; where there are few, with 2 and 5 between them; where there are many, only some.
 */
static void log_ticks(hl_ruler *a, int n_want)
{
    static const double parts[] = {1, 2, 5};
    const double lo = log10(a->from), hi = log10(a->to);
    const int n_parts = hi - lo < 2.5 ? 3 : 1;
    const int every = hi - lo > n_want ? (int)ceil((hi - lo) / n_want) : 1;
    char text[HL_TICK_TEXT];
    for (int e = (int)floor(lo + 1e-9); e <= (int)ceil(hi); e++)
        for (int i = 0; i < n_parts && e % every == 0; i++) {
            const double v = parts[i] * pow(10, e);
            if (log10(v) < lo - 1e-9 || log10(v) > hi + 1e-9)
                continue;
            if (e >= -3 && e < 4)
                snprintf(text, sizeof text, "%g", v);
            else
                snprintf(text, sizeof text, "%.0fe%d", parts[i], e);
            add_tick(a, v, text);
        }
}

void hl_ruler_fix(hl_ruler *a, double from, double to, bool log, int n_want)
{
    *a = (hl_ruler){.from = from, .to = to, .log = log};
    if (log)
        log_ticks(a, n_want);
    else
        linear_ticks(a, n_want);
}

/* Ends of a logarithmic axis: the next 1, 2 or 5 outside. */
static double round_log(double v, bool up)
{
    const double base = pow(10, floor(log10(v) + 1e-12)), f = v / base;
    if (up)
        return (f <= 1 + 1e-9 ? 1 : f <= 2 ? 2 : f <= 5 ? 5 : 10) * base;
    return (f >= 5 ? 5 : f >= 2 ? 2 : 1) * base;
}

void hl_ruler_fit(hl_ruler *a, double min, double max, bool log, int n_want)
{
    if (log) {
        double from = round_log(min, false), to = round_log(max, true);
        if (to <= from)
            to = round_log(from * 1.5, true);
        hl_ruler_fix(a, from, to, true, n_want);
        return;
    }
    if (max - min < fmax(fabs(min), fabs(max)) * 1e-9 || max == min) {
        const double pad = max != 0 ? fabs(max) * 0.1 : 1;
        min -= pad;
        max += pad;
    }
    const double step = round_step(max - min, n_want) / 2; /* half steps waste less room */
    hl_ruler_fix(a, floor(min / step + 1e-9) * step, ceil(max / step - 1e-9) * step, false, n_want);
}

static double warp(const hl_ruler *a, double v)
{
    if (a->log)
        return log10(v);
    const double size = a->linear > 0 ? fabs(v) / a->linear : 0;
    return a->linear > 0 ? copysign(size <= 1 ? size : 1 + log10(size), v) : v;
}

/* 0 and powers of ten times the band, the same ones on both sides. */
void hl_ruler_symmetric(hl_ruler *a, double min, double max, double linear, int n_want)
{
    const double most = fmax(fabs(min), fabs(max));
    const int n = (int)ceil(fmax(log10(most / linear), 0) - 1e-9) + 1;
    const int every = 2 * n > n_want ? (2 * n + n_want - 1) / n_want : 1;
    char text[HL_TICK_TEXT];
    *a = (hl_ruler){.from = min, .to = max > min ? max : min + linear, .linear = linear};
    for (int i = -n; i <= n; i++) {
        const double v = i == 0 ? 0 : copysign(linear * pow(10, abs(i) - 1), i);
        if (i % every != 0 || v < a->from || v > a->to)
            continue;
        format_tick(text, v, i ? fabs(v) : linear);
        add_tick(a, v, text);
    }
}

double hl_ruler_at(const hl_ruler *a, double value)
{
    const double u = (warp(a, value) - warp(a, a->from)) / (warp(a, a->to) - warp(a, a->from));
    return a->at_from + u * (a->at_to - a->at_from);
}
