#include "views/derived.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/str.h"

/* ---- when steps were reached ---- */

static void thin(hl_step_clock *c)
{
    for (int i = 0; i < HL_STEP_CLOCK_KEPT / 2; i++) {
        c->step[i] = c->step[2 * i];
        c->t_us[i] = c->t_us[2 * i];
    }
    c->n = HL_STEP_CLOCK_KEPT / 2;
    c->stride *= 2;
}

void hl_step_clock_add(hl_step_clock *c, int64_t step, int64_t t_us)
{
    if (c->n_met > 0 && step <= c->last_step)
        return;
    c->last_step = step;
    c->last_us = t_us;
    if (c->stride == 0)
        c->stride = 1;
    if (c->n_met++ % c->stride != 0)
        return;
    if (c->n == HL_STEP_CLOCK_KEPT)
        thin(c);
    c->step[c->n] = step;
    c->t_us[c->n++] = t_us;
}

void hl_step_clock_cut(hl_step_clock *c, int64_t from)
{
    if (c->n_met == 0 || c->last_step < from)
        return;
    while (c->n > 0 && c->step[c->n - 1] >= from)
        c->n--;
    if (c->n == 0) {
        *c = (hl_step_clock){0};
        return;
    }
    c->last_step = c->step[c->n - 1];
    c->last_us = c->t_us[c->n - 1];
    c->n_met = (c->n - 1) * c->stride + 1;
}

bool hl_step_clock_at(const hl_step_clock *c, double step, double *t_us)
{
    if (c->n == 0 || !(step >= (double)c->step[0]) || step > (double)c->last_step)
        return false;
    int lo = 0, hi = c->n; /* step[lo] <= step, the next one is beyond */
    while (hi - lo > 1) {
        const int mid = (lo + hi) / 2;
        if ((double)c->step[mid] <= step)
            lo = mid;
        else
            hi = mid;
    }
    const int64_t s1 = lo + 1 < c->n ? c->step[lo + 1] : c->last_step;
    const int64_t t1 = lo + 1 < c->n ? c->t_us[lo + 1] : c->last_us;
    const double width = (double)(s1 - c->step[lo]);
    const double t = width > 0 ? (step - (double)c->step[lo]) / width : 0;
    *t_us = (double)c->t_us[lo] + t * (double)(t1 - c->t_us[lo]);
    return true;
}

/* ---- other x ---- */

bool hl_pyramid_between(const hl_pyramid *p, double x, double *y)
{
    const size_t n = hl_pyramid_n(p), at = hl_pyramid_nearest(p, x);
    if (at == SIZE_MAX)
        return false;
    const double x0 = hl_pyramid_x(p, at), y0 = hl_pyramid_y(p, at);
    const size_t next = x > x0 ? at + 1 : at - 1; /* SIZE_MAX before the first one */
    *y = y0;
    if (x == x0)
        return isfinite(y0);
    if (next >= n)
        return false;
    const double x1 = hl_pyramid_x(p, next), y1 = hl_pyramid_y(p, next);
    if (x1 != x0)
        *y = y0 + (x - x0) / (x1 - x0) * (y1 - y0);
    return isfinite(*y);
}

/* How many updates were left out up to this step: what was counted last. */
static double skipped_at(const hl_pyramid *p, double step)
{
    size_t i = p ? hl_pyramid_nearest(p, step) : SIZE_MAX;
    if (i != SIZE_MAX && hl_pyramid_x(p, i) > step)
        i = i > 0 ? i - 1 : SIZE_MAX;
    return i != SIZE_MAX && isfinite(hl_pyramid_y(p, i)) ? hl_pyramid_y(p, i) : 0;
}

static bool from_start(const hl_x_map *m, double step, double *x)
{
    double t;
    switch (m->kind) {
    case HL_X_EPOCH:
        *x = step / m->steps_per_epoch;
        return m->steps_per_epoch > 0;
    case HL_X_TIME:
    case HL_X_CLOCK:
        if (!m->clock || !hl_step_clock_at(m->clock, step, &t))
            return false;
        *x = (m->kind == HL_X_TIME ? t - (double)m->clock->t_us[0] : t) / 1e6;
        return true;
    case HL_X_TOKENS:
    case HL_X_METRIC:
        return m->metric && hl_pyramid_between(m->metric, step, x);
    case HL_X_UPDATES:
        *x = step - skipped_at(m->skipped, step);
        return true;
    case HL_X_STEP:
    default:
        *x = step;
        return true;
    }
}

bool hl_x_map_at(const hl_x_map *m, double step, double *x)
{
    const bool known = from_start(m, step, x) && !isnan(m->origin);
    *x -= known ? m->origin : 0;
    return known;
}

void hl_x_map_from(hl_x_map *m, double step)
{
    double x;
    m->origin = isfinite(step) && from_start(m, step, &x) ? x : (double)NAN;
}

/* ---- crossings ---- */

hl_status hl_crossing_parse(const char *text, hl_crossing *out)
{
    const size_t n = strcspn(text, "<>");
    *out = (hl_crossing){.above = text[n] == '>'};
    if (strcmp(text, "off") == 0)
        return HL_OK;
    if (n == 0 || n >= sizeof out->tag || !text[n] ||
        hl_parse_f64(text + n + 1, &out->value) != HL_OK || !isfinite(out->value))
        return hl_err_set(HL_E_ARG, "'%s' says no crossing: write off, or as train/loss<3", text);
    snprintf(out->tag, sizeof out->tag, "%.*s", (int)n, text);
    return HL_OK;
}

const char *hl_crossing_text(const hl_crossing *c, char buf[HL_CROSSING_TEXT])
{
    if (*c->tag)
        snprintf(buf, HL_CROSSING_TEXT, "%s%c%.9g", c->tag, c->above ? '>' : '<', c->value);
    else
        snprintf(buf, HL_CROSSING_TEXT, "off");
    return buf;
}

bool hl_crossing_step(const hl_crossing *c, const hl_pyramid *p, double *step)
{
    const size_t i = p ? hl_pyramid_next_beyond(p, c->value, c->above) : SIZE_MAX;
    if (i == SIZE_MAX)
        return false;
    *step = hl_pyramid_x(p, i);
    return true;
}

/* ---- series ---- */

void hl_derived_done(hl_derived *d)
{
    hl_pyramid_free(d->out);
    *d = (hl_derived){0};
}

/* Empty again if it was made of something else. false: no memory. */
static bool begin(hl_derived *d, uint64_t key, double x_error)
{
    const bool is_new = !d->out;
    if (!d->out)
        d->out = hl_pyramid_new();
    if (!d->out)
        return false;
    if (is_new || d->key != key) {
        hl_pyramid_clear(d->out);
        hl_pyramid_set_x_error(d->out, x_error);
        d->n_taken = 0;
    }
    d->key = key;
    return true;
}

static uint64_t key_of_map(const hl_x_map *m, const hl_pyramid *raw)
{
    const uint64_t parts[] = {(uint64_t)m->kind,
                              hl_pyramid_edits(raw),
                              (uint64_t)(uintptr_t)raw,
                              m->metric ? hl_pyramid_edits(m->metric) : 0,
                              (uint64_t)(uintptr_t)m->metric,
                              (uint64_t)(uintptr_t)m->skipped,
                              m->skipped ? hl_pyramid_edits(m->skipped) : 0,
                              m->clock ? (uint64_t)m->clock->stride : 0};
    const double numbers[] = {m->steps_per_epoch, m->origin};
    return hl_hash_bytes(hl_hash_bytes(HL_HASH_START, parts, sizeof parts), numbers,
                         sizeof numbers);
}

/* Up to which step the map is known. */
static double end_of_map(const hl_x_map *m)
{
    double x = -HUGE_VAL, y;
    if (m->kind == HL_X_STEP || m->kind == HL_X_EPOCH || m->kind == HL_X_UPDATES)
        return HUGE_VAL;
    if (m->clock && (m->kind == HL_X_TIME || m->kind == HL_X_CLOCK))
        return m->clock->n ? (double)m->clock->last_step : x;
    if (m->metric)
        (void)hl_pyramid_last(m->metric, &x, &y);
    return x;
}

/* How exactly the quantity is known, in its units: times to the microsecond. */
static double error_of(const hl_x_map *m)
{
    const bool is_time = m->kind == HL_X_TIME || m->kind == HL_X_CLOCK;
    return is_time ? 1e-6 : m->kind == HL_X_EPOCH ? 1e-9 : 0;
}

const hl_pyramid *hl_derived_over(hl_derived *d, const hl_pyramid *raw, const hl_x_map *m)
{
    if (!begin(d, key_of_map(m, raw), error_of(m)))
        return NULL;
    const double end = end_of_map(m);
    double before = -HUGE_VAL, y;
    if (m->clock)
        (void)hl_pyramid_last(d->out, &before, &y);
    for (; d->n_taken < hl_pyramid_n(raw); d->n_taken++) {
        const double step = hl_pyramid_x(raw, d->n_taken);
        double x;
        if (step > end)
            break;
        if (!hl_x_map_at(m, step, &x))
            continue;
        if (m->clock) /* now that it knows more, it may set a step before the last one */
            x = before = fmax(x, before);
        if (hl_pyramid_push(d->out, x, hl_pyramid_y(raw, d->n_taken)) != HL_OK)
            return NULL;
    }
    return d->out;
}

const hl_pyramid *hl_derived_versus(hl_derived *d, const hl_pyramid *mine, const hl_pyramid *other,
                                    uint64_t other_id, hl_relation relation)
{
    const uint64_t parts[] = {
        (uint64_t)(uintptr_t)mine,  hl_pyramid_edits(mine),  other_id,
        (uint64_t)(uintptr_t)other, hl_pyramid_edits(other), (uint64_t)relation};
    if (!begin(d, hl_hash_bytes(HL_HASH_START, parts, sizeof parts), hl_pyramid_x_error(mine)))
        return NULL;
    const double end = hl_pyramid_n(other) ? hl_pyramid_total(other)->x_max : -HUGE_VAL;
    for (; d->n_taken < hl_pyramid_n(mine); d->n_taken++) {
        const double x = hl_pyramid_x(mine, d->n_taken), y = hl_pyramid_y(mine, d->n_taken);
        double o;
        if (x > end)
            break; /* it may still come */
        if (hl_pyramid_between(other, x, &o) &&
            hl_pyramid_push(d->out, x, relation == HL_RELATION_RATIO ? y / o : y - o) != HL_OK)
            return NULL;
    }
    return d->out;
}

bool hl_formula_follow(const hl_formula *f, const hl_pyramid *const *series, size_t *n_taken,
                       hl_pyramid *out)
{
    double v[HL_FORMULA_NAMES], x_last, y;
    for (; *n_taken < hl_pyramid_n(series[0]); ++*n_taken) {
        const double x = hl_pyramid_x(series[0], *n_taken);
        bool is_known = true;
        v[0] = hl_pyramid_y(series[0], *n_taken);
        for (int i = 1; i < f->n_names; i++) {
            if (hl_pyramid_last(series[i], &x_last, &y) && x_last < x)
                return true; /* it will come */
            is_known = is_known && hl_pyramid_between(series[i], x, &v[i]);
        }
        if (is_known && hl_pyramid_push(out, x, hl_formula_value(f, v)) != HL_OK)
            return false;
    }
    return true;
}
