/* Ticks are tried from dense to sparse; the first set whose labels have room is taken. Ends of
 * axes stay within +-5e307, so that no difference of two overflows. */
#include "views/widgets/ticks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"

static const double SPAN_MIN = 1e-290; /* a linear axis shows no less */
static const double TIME_EDGE = 1e15;  /* seconds */
static const double ROUNDING = 1e-9;   /* of a step or of a scale: what arithmetic may lose */

static double between(double v, double lo, double hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

/* ---- scales ---- */

double hl_scale_warp(const hl_scale *s, double v)
{
    if (s->log)
        return v > 0 ? log10(fmax(v, HL_SCALE_LOG_FLOOR)) : -HUGE_VAL;
    if (!(s->linear > 0))
        return v / 2;
    const double size = fabs(v) / s->linear;
    return copysign(size <= 1 ? size : 1 + log10(size), v);
}

double hl_scale_to(const hl_scale *s, double v)
{
    if (s->log && !(v > 0))
        return -1;
    const double lo = hl_scale_warp(s, s->lo);
    v = between(v, -HL_SCALE_EDGE, HL_SCALE_EDGE);
    return between((hl_scale_warp(s, v) - lo) / (hl_scale_warp(s, s->hi) - lo), -1, 2);
}

double hl_scale_from(const hl_scale *s, double t)
{
    if (!s->log && !(s->linear > 0))
        return s->lo * (1 - t) + s->hi * t;
    const double at = hl_scale_warp(s, s->lo) * (1 - t) + hl_scale_warp(s, s->hi) * t;
    if (s->log)
        return pow(10, at);
    return copysign(s->linear * (fabs(at) <= 1 ? fabs(at) : pow(10, fabs(at) - 1)), at);
}

int hl_scale_cell(const hl_scale *s, double v, int n)
{
    HL_ASSERT(n >= 1);
    const double t = hl_scale_to(s, v);
    if (t < -ROUNDING)
        return -1;
    if (t > 1 + ROUNDING)
        return n;
    return (int)between(floor(t * n), 0, n - 1);
}

/* The smallest of 1, 2, 5 times a power of ten that is not below x; x > 0. */
static double round_up(double x)
{
    static const double mantissa[] = {1, 2, 5, 10};
    const double unit = pow(10, floor(log10(x)));
    for (int i = 0; i < 3; i++)
        if (x <= mantissa[i] * unit * (1 + ROUNDING))
            return mantissa[i] * unit;
    return 10 * unit;
}

static double round_down(double x)
{
    const double up = round_up(x);
    if (up <= x * (1 + ROUNDING))
        return up;
    const double m = up / pow(10, floor(log10(up) + ROUNDING));
    return m > 4.5 ? up * 0.4 : up * 0.5; /* 5 -> 2, 2 -> 1, 1 -> 0.5 */
}

static hl_scale snap_to_step(hl_scale s, double step)
{
    s.lo = floor(s.lo / step + ROUNDING) * step;
    s.hi = ceil(s.hi / step - ROUNDING) * step;
    return s;
}

/* ---- axes ---- */

/* A range that can be divided: finite, of some extent. */
static hl_scale widen(hl_scale s)
{
    s.lo = between(s.lo, s.log ? HL_SCALE_LOG_FLOOR : -HL_SCALE_EDGE, HL_SCALE_EDGE);
    s.hi = between(s.hi, s.lo, HL_SCALE_EDGE);
    const double size = fmax(fabs(s.lo), fabs(s.hi));
    double need = fmax(size * 1e-9, SPAN_MIN);
    if (s.log)
        need = s.lo * 1e-9;
    if (s.hi - s.lo >= need)
        return s;
    double pad = s.hi == s.lo ? size * 0.1 : need / 2;
    if (!s.log && size == 0)
        pad = 1;
    else if (!s.log)
        pad = fmax(pad, SPAN_MIN / 2);
    s.lo = fmax(s.lo - pad, s.log ? HL_SCALE_LOG_FLOOR : -HL_SCALE_EDGE);
    s.hi = s.hi + pad;
    return s;
}

/* An end of a symmetric scale: 1, 2, 5 times a power of ten, away from 0; the band whole. */
static double snap_symmetric(double v, double linear, bool outward)
{
    const double size = fabs(v);
    if (size <= linear)
        return outward ? copysign(linear, v) : 0;
    return copysign(outward ? round_up(size) : round_down(size), v);
}

static hl_scale snap_y(hl_scale want, int n_cells)
{
    hl_scale s = widen(want);
    if (s.linear > 0) {
        s.lo = snap_symmetric(s.lo, s.linear, s.lo < 0);
        s.hi = snap_symmetric(s.hi, s.linear, s.hi > 0);
        s.hi = s.hi > s.lo ? s.hi : s.lo + s.linear;
        return s;
    }
    const int halves =
        (n_cells - 1) / 2; /* a tick each second row: little room is lost at the ends */
    const double n_steps = between(halves, 1, 6);
    const double step = round_up((s.hi - s.lo) / n_steps);
    if (!s.log)
        return snap_to_step(s, step);
    const hl_scale narrow = snap_to_step(s, step);
    if (s.hi < 3 * s.lo && narrow.lo > s.lo / 3)
        return narrow;
    s.lo = round_down(s.lo);
    s.hi = round_up(s.hi);
    if (s.hi <= s.lo)
        s.hi = round_up(s.lo * 1.5);
    return s;
}

void hl_axis_cover_y(hl_axis *a, hl_scale want, int n_cells, bool updated)
{
    HL_ASSERT(want.lo <= want.hi && (!want.log || want.lo > 0));
    const hl_scale snapped = snap_y(want, n_cells);
    if (!a->is_set || a->scale.log != want.log || a->scale.linear != want.linear ||
        a->n_cells != n_cells) {
        *a = (hl_axis){.scale = snapped, .is_set = true, .n_cells = n_cells};
        return;
    }
    const bool fits = a->scale.lo <= snapped.lo && a->scale.hi >= snapped.hi;
    if (!fits) {
        want.lo = fmin(a->scale.lo, want.lo);
        want.hi = fmax(a->scale.hi, want.hi);
        a->scale = snap_y(want, n_cells);
        a->n_quiet = 0;
    } else if (a->scale.lo == snapped.lo && a->scale.hi == snapped.hi) {
        a->n_quiet = 0;
    } else if (updated && ++a->n_quiet >= HL_AXIS_QUIET) {
        a->scale = snapped;
        a->n_quiet = 0;
    }
}

void hl_axis_cover_x(hl_axis *a, double min, double max)
{
    HL_ASSERT(min <= max);
    min = between(min, -HL_SCALE_EDGE, HL_SCALE_EDGE);
    max = between(max, -HL_SCALE_EDGE, HL_SCALE_EDGE);
    const double size = fmax(fabs(min), fabs(max));
    const double span = fmax(fmax(max - min, size * 1e-12), SPAN_MIN);
    double lo = a->scale.lo;
    const bool keeps = a->is_set && !a->scale.log && lo <= min && min - lo <= (max - lo) / 2 &&
                       max - lo >= (a->scale.hi - lo) / 4;
    if (keeps && max <= a->scale.hi)
        return;
    if (!keeps) {
        const double step = round_up(max > min ? span : fmax(span, 1)) / 5;
        lo = min >= 0 && min <= max / 2 ? 0 : floor(min / step + ROUNDING) * step;
    }
    const double reach = fmax(max - lo, max > min ? span : fmax(span, 1));
    *a = (hl_axis){.scale = {.lo = lo, .hi = lo + round_up(reach)}, .is_set = true};
}

/* Seconds that clocks count in; below a second decimals, above days round numbers of them. */
static double round_up_time(double s)
{
    static const double nice[] = {1,   2,   5,    10,   15,   30,    60,    120,   300,
                                  600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400};
    if (s <= 0.5)
        return round_up(s);
    for (size_t i = 0; i < sizeof nice / sizeof *nice; i++)
        if (s <= nice[i] * (1 + ROUNDING))
            return nice[i];
    return 86400 * round_up(s / 86400);
}

void hl_axis_cover_time(hl_axis *a, double min, double max, bool is_clock)
{
    HL_ASSERT(min <= max);
    min = between(min, -TIME_EDGE, TIME_EDGE);
    max = between(max, -TIME_EDGE, TIME_EDGE);
    const double span = fmax(max - min, fmax(1e-3, fmax(fabs(min), fabs(max)) * 1e-12));
    const double lo = a->scale.lo, size = a->scale.hi - lo;
    if (a->is_set && !a->scale.log && lo <= min && max <= a->scale.hi && max - lo >= size / 4 &&
        min - lo <= size / 2)
        return;
    const double step = round_up_time(span / 5);
    const double begin = is_clock || min < 0 || min > max / 2 ? floor(min / step) * step : 0;
    const double need = fmax(max - begin, span);
    double end = begin + round_up_time(need);
    if (is_clock) /* twice as much is too much to wait for */
        end = begin + ceil(need * (a->is_set ? 1.5 : 1) / step) * step;
    *a = (hl_axis){.scale = {.lo = begin, .hi = end}, .is_set = true};
}

void hl_axis_cover_log_x(hl_axis *a, double min_positive, double max)
{
    HL_ASSERT(min_positive > 0 && min_positive <= max);
    const double lo = round_down(between(min_positive, HL_SCALE_LOG_FLOOR, HL_SCALE_EDGE / 10));
    hl_scale s = {
        .lo = lo, .hi = round_up(between(max, HL_SCALE_LOG_FLOOR, HL_SCALE_EDGE)), .log = true};
    if (s.hi <= s.lo)
        s.hi = round_up(s.lo * 1.5);
    *a = (hl_axis){.scale = s, .is_set = true};
}

/* ---- ticks ---- */

typedef struct room {
    const hl_scale *scale;
    int n; /* cells */
    bool vertical;
    int gap; /* cells from the end of a label to the next one; rows from label to label */
} room;

/* "1h30m": whole units, the ones that are 0 left out. */
static void format_duration(char label[HL_NUMBER_MAX], double v, double step)
{
    static const struct {
        double size;
        char letter;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    double rest = floor(fabs(v) + 0.5);
    int used = snprintf(label, HL_NUMBER_MAX, "%s", v < 0 ? "-" : "");
    if (step < 1 || fabs(v) > 1e12) {
        hl_format_tick(label, v, step);
        return;
    }
    for (size_t i = 0; i < 4; i++) {
        const double n = floor(rest / units[i].size);
        rest -= n * units[i].size;
        if (n > 0 && used < HL_NUMBER_MAX - 1)
            used +=
                snprintf(label + used, HL_NUMBER_MAX - (size_t)used, "%.0f%c", n, units[i].letter);
    }
    if (fabs(v) < 0.5)
        snprintf(label, HL_NUMBER_MAX, "0");
}

/* The time of day, the day where it begins. */
static void format_clock(char label[HL_NUMBER_MAX], double v, double step)
{
    char text[40];
    if (!(fabs(v) < 9e9)) {
        hl_format_tick(label, v, step);
        return;
    }
    hl_clock_format_utc(text, (int64_t)floor(v + 0.5) * 1000000); /* 2026-01-31T14:05:09... */
    const bool midnight = strncmp(text + 11, "00:00:00", 8) == 0;
    if (midnight || step >= 86400)
        snprintf(label, HL_NUMBER_MAX, "%.5s", text + 5);
    else
        snprintf(label, HL_NUMBER_MAX, "%.*s", step >= 60 ? 5 : 8, text + 11);
}

static void format_label(const hl_scale *s, char label[HL_NUMBER_MAX], double v, double step)
{
    if (s->unit == HL_UNIT_DURATION)
        format_duration(label, v, step);
    else if (s->unit == HL_UNIT_CLOCK)
        format_clock(label, v, step);
    else
        hl_format_tick(label, v, step);
}

/* Values come rising. false: its label has no room; what lies outside is left out. */
static bool add_labelled(const room *r, hl_ticks *t, double v, double step)
{
    const int cell = hl_scale_cell(r->scale, v, r->n);
    if (cell < 0 || cell >= r->n)
        return true;
    hl_tick k = {.value = v, .at = r->vertical ? r->n - 1 - cell : cell};
    format_label(r->scale, k.label, v, step);
    const int len = (int)strlen(k.label);
    if (len == 0 || t->n == HL_TICKS_MAX || (!r->vertical && len > r->n))
        return false;
    const int centred = k.at - len / 2;
    k.label_at = k.at;
    if (!r->vertical)
        k.label_at = (int)between(centred, 0, r->n - len);
    const int gap = k.label_at < centred ? 1 : r->gap; /* the last one, pushed in */
    if (t->n > 0 && t->tick[t->n - 1].at == k.at && t->tick[t->n - 1].label[0] == '\0')
        t->n--;
    for (int i = t->n - 1; i >= 0; i--) {
        const hl_tick *before = &t->tick[i];
        if (before->label[0] == '\0')
            continue;
        const int end = before->label_at + (int)strlen(before->label);
        if (strcmp(before->label, k.label) == 0 ||
            (r->vertical ? before->at - k.at < r->gap : k.label_at - end < gap))
            return false;
        break;
    }
    if (len > t->label_columns)
        t->label_columns = len;
    t->tick[t->n++] = k;
    return true;
}

static void add_minor(const room *r, hl_ticks *t, double v)
{
    const int cell = hl_scale_cell(r->scale, v, r->n);
    const int at = r->vertical ? r->n - 1 - cell : cell;
    if (cell < 0 || cell >= r->n || t->n == HL_TICKS_MAX ||
        (t->n > 0 && t->tick[t->n - 1].at == at))
        return;
    t->tick[t->n++] = (hl_tick){.value = v, .at = at, .label_at = at};
}

static int n_labels(const hl_ticks *t)
{
    int n = 0;
    for (int i = 0; i < t->n; i++)
        n += t->tick[i].label[0] != '\0';
    return n;
}

static bool try_step(const room *r, double step, hl_ticks *out)
{
    out->n = out->label_columns = 0;
    const double begin = ceil(r->scale->lo / step - ROUNDING);
    const double end = floor(r->scale->hi / step + ROUNDING);
    if (end - begin >= HL_TICKS_MAX)
        return false;
    for (int i = 0; i <= (int)(end - begin); i++)
        if (!add_labelled(r, out, (begin + i) * step, step))
            return false;
    return true;
}

static void linear_ticks(const room *r, hl_ticks *out)
{
    const double span = r->scale->hi - r->scale->lo;
    double (*const next)(double) = r->scale->unit == HL_UNIT_NUMBER ? round_up : round_up_time;
    double step = next(span / between(r->n, 1, HL_TICKS_MAX - 2));
    for (int i = 0; i < 12; i++) {
        if (try_step(r, step, out))
            return;
        step = next(step * 1.2);
    }
    out->n = out->label_columns = 0;
}

/* Labels at the mantissas of `labelled` (bit m: m times a power of ten) of every n_th decade. */
static bool try_decades(const room *r, unsigned labelled, int nth, hl_ticks *out)
{
    out->n = out->label_columns = 0;
    const int begin = (int)floor(log10(r->scale->lo) - ROUNDING);
    const int end = (int)ceil(log10(r->scale->hi) + ROUNDING);
    for (int e = begin; e <= end; e++) {
        const double unit = pow(10, e);
        const bool counts = (e % nth + nth) % nth == 0;
        for (int m = 1; m <= 9 && (nth == 1 || m == 1); m++) {
            if (m * unit < r->scale->lo * (1 - ROUNDING))
                continue;
            if (!(counts && (labelled >> m & 1)))
                add_minor(r, out, m * unit);
            else if (!add_labelled(r, out, m * unit, unit))
                return false;
        }
    }
    return true;
}

static void log_ticks(const room *r, hl_ticks *out)
{
    static const struct {
        unsigned labelled;
        int nth;
    } ladder[] = {{0x3fe, 1}, {0x26, 1}, {2, 1},  {2, 2},  {2, 5},
                  {2, 10},    {2, 20},   {2, 50}, {2, 100}};
    out->n = out->label_columns = 0;
    for (size_t i = 0; i < sizeof ladder / sizeof *ladder; i++) {
        if (try_decades(r, ladder[i].labelled, ladder[i].nth, out))
            break;
        out->n = out->label_columns = 0;
    }
    if (r->scale->hi > 10 * r->scale->lo || n_labels(out) >= 3)
        return;
    hl_ticks even;
    linear_ticks(r, &even);
    if (n_labels(&even) > n_labels(out))
        *out = even;
}

/* 0, the ends of the linear band and powers of ten beyond it on both sides; every n_th from 0 on
 * has a label. */
static bool try_symmetric(const room *r, int nth, hl_ticks *out)
{
    out->n = out->label_columns = 0;
    const double linear = r->scale->linear;
    const double most = fmax(fabs(r->scale->lo), fabs(r->scale->hi));
    const int n = (int)ceil(log10(fmax(most / linear, 1)) + ROUNDING);
    for (int i = -n - 1; i <= n + 1; i++) {
        const double v = i == 0 ? 0 : copysign(linear * pow(10, abs(i) - 1), i);
        const bool counts = abs(i) % nth == 0;
        if (v < r->scale->lo * (1 + (r->scale->lo < 0 ? ROUNDING : -ROUNDING)))
            continue;
        if (!counts)
            add_minor(r, out, v);
        else if (!add_labelled(r, out, v, i == 0 ? linear : fabs(v)))
            return false;
    }
    return true;
}

static void symmetric_ticks(const room *r, hl_ticks *out)
{
    for (int nth = 1; nth <= 64; nth *= 2)
        if (try_symmetric(r, nth, out))
            return;
    out->n = out->label_columns = 0;
}

static void find_ticks(const hl_scale *s, int n, bool vertical, int gap, hl_ticks *out)
{
    HL_ASSERT(s->lo < s->hi && (!s->log || s->lo > 0));
    out->n = out->label_columns = 0;
    hl_ticks best = {.n = 0};
    const int least = vertical && n >= 3 ? 2 : 1;
    for (; gap >= least; gap--) { /* closer labels only where there would be less than two */
        const room r = {.scale = s, .n = n, .vertical = vertical, .gap = gap};
        if (s->log)
            log_ticks(&r, out);
        else if (s->linear > 0)
            symmetric_ticks(&r, out);
        else
            linear_ticks(&r, out);
        if (n_labels(out) > n_labels(&best) || best.n == 0)
            best = *out;
        if (n_labels(out) >= 2)
            break;
    }
    *out = best;
}

void hl_ticks_x(const hl_scale *s, int n_columns, hl_ticks *out)
{
    out->n = out->label_columns = 0;
    if (n_columns > 0)
        find_ticks(s, n_columns, false, 4, out);
}

void hl_ticks_y(const hl_scale *s, int n_rows, hl_ticks *out)
{
    out->n = out->label_columns = 0;
    if (n_rows > 0)
        find_ticks(s, n_rows, true, n_rows >= 9 ? 3 : n_rows >= 3 ? 2 : 1, out);
}
