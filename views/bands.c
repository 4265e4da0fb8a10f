#include "views/bands.h"

#include <math.h>
#include <stdlib.h>

#include "engine/base/hash.h"
#include "views/derived.h"

static const char *const names[HL_BAND_COUNT] = {
#define HL_BAND_NAME(upper, name, help) name,
    HL_BANDS(HL_BAND_NAME)
#undef HL_BAND_NAME
};
static const char *const helps[HL_BAND_COUNT] = {
#define HL_BAND_HELP(upper, name, help) help,
    HL_BANDS(HL_BAND_HELP)
#undef HL_BAND_HELP
};

const char *hl_band_name(hl_band_kind k)
{
    return names[k];
}

const char *hl_band_help(hl_band_kind k)
{
    return helps[k];
}

void hl_band_done(hl_band *b)
{
    hl_pyramid_free(b->middle);
    hl_pyramid_free(b->lo);
    hl_pyramid_free(b->hi);
    hl_pyramid_free(b->n);
    *b = (hl_band){0};
}

/* What the members have at one place. */
typedef struct sample {
    int n;
    double v[HL_BAND_MEMBERS_MAX];
    double least, most;
} sample;

static void add_value(sample *s, double v, double least, double most)
{
    s->least = s->n ? fmin(s->least, least) : least;
    s->most = s->n ? fmax(s->most, most) : most;
    s->v[s->n++] = v;
}

static void take(sample *s, const hl_pyramid *p, double from, double to)
{
    const hl_bucket *all = hl_pyramid_total(p);
    hl_bucket b;
    double v;
    if (all->n == 0 || to < all->x_min || from > all->x_max)
        return;
    if (hl_pyramid_range(p, from, to > from ? to : nextafter(to, HUGE_VAL), &b)) {
        if (b.n > b.n_non_finite)
            add_value(s, b.mean, b.min, b.max);
    } else if (hl_pyramid_between(p, (from + to) / 2, &v)) {
        add_value(s, v, v, v);
    }
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted values, on a straight line between neighbours. */
static double quantile(const sample *s, double q)
{
    const double at = q * (s->n - 1);
    const int i = (int)at;
    return i + 1 < s->n ? s->v[i] + (at - i) * (s->v[i + 1] - s->v[i]) : s->v[s->n - 1];
}

static void summary(sample *s, hl_band_kind kind, double *middle, double *lo, double *hi)
{
    double mean = 0, squares = 0;
    for (int i = 0; i < s->n; i++)
        mean += s->v[i] / s->n;
    for (int i = 0; i < s->n; i++)
        squares += (s->v[i] - mean) * (s->v[i] - mean);
    const double sd = s->n > 1 ? sqrt(squares / (s->n - 1)) : 0;
    const double around = kind == HL_BAND_SE ? sd / sqrt(s->n) : sd;
    *middle = mean;
    *lo = kind == HL_BAND_MINMAX ? s->least : mean - around;
    *hi = kind == HL_BAND_MINMAX ? s->most : mean + around;
    if (kind == HL_BAND_P10_90) {
        qsort(s->v, (size_t)s->n, sizeof *s->v, by_size);
        *middle = quantile(s, 0.5);
        *lo = quantile(s, 0.1);
        *hi = quantile(s, 0.9);
    }
}

static bool put(hl_band *b, double x, sample *s, hl_band_kind kind)
{
    double middle, lo, hi;
    if (s->n == 0)
        return true;
    summary(s, kind, &middle, &lo, &hi);
    return hl_pyramid_push(b->middle, x, middle) == HL_OK &&
           hl_pyramid_push(b->lo, x, lo) == HL_OK && hl_pyramid_push(b->hi, x, hi) == HL_OK &&
           hl_pyramid_push(b->n, x, s->n) == HL_OK;
}

static bool have_few_x(const hl_pyramid *const *member, int n_members)
{
    const size_t n = hl_pyramid_n(member[0]);
    for (int k = 0; k < n_members; k++) {
        if (hl_pyramid_n(member[k]) != n || n > HL_BAND_PLACES)
            return false;
        for (size_t i = 0; i < n; i++)
            if (hl_pyramid_x(member[k], i) != hl_pyramid_x(member[0], i))
                return false;
    }
    return true;
}

static bool begin(hl_band *b, uint64_t key)
{
    hl_pyramid **const all[] = {&b->middle, &b->lo, &b->hi, &b->n};
    for (int i = 0; i < 4; i++) {
        if (!*all[i])
            *all[i] = hl_pyramid_new();
        if (!*all[i])
            return false;
        hl_pyramid_clear(*all[i]);
    }
    b->key = key;
    return true;
}

bool hl_band_make(hl_band *b, const hl_pyramid *const *member, int n_members, uint64_t id,
                  hl_band_kind kind)
{
    uint64_t key = hl_hash_bytes(HL_HASH_START, &id, sizeof id);
    double lo = HUGE_VAL, hi = -HUGE_VAL;
    n_members = n_members > HL_BAND_MEMBERS_MAX ? HL_BAND_MEMBERS_MAX : n_members;
    for (int k = 0; k < n_members; k++) {
        const hl_bucket *all = hl_pyramid_total(member[k]);
        const uint64_t parts[] = {(uint64_t)kind, all->n, hl_pyramid_edits(member[k])};
        key = hl_hash_bytes(key, parts, sizeof parts);
        lo = all->n ? fmin(lo, all->x_min) : lo;
        hi = all->n ? fmax(hi, all->x_max) : hi;
    }
    if (b->middle && b->key == key)
        return true;
    if (!begin(b, key))
        return false;
    if (n_members == 0 || !(lo <= hi))
        return true;
    const bool few = have_few_x(member, n_members);
    const size_t n = few ? hl_pyramid_n(member[0]) : lo < hi ? HL_BAND_PLACES : 1;
    for (size_t i = 0; i < n; i++) {
        const double width = (hi - lo) / HL_BAND_PLACES;
        const double from = few ? hl_pyramid_x(member[0], i) : lo + width * (double)i;
        const double to = few ? from : i + 1 == n ? hi : from + width;
        sample s = {.n = 0};
        for (int k = 0; k < n_members; k++)
            take(&s, member[k], from, few || i + 1 < n ? to : nextafter(hi, HUGE_VAL));
        if (!put(b, (from + to) / 2, &s, kind)) {
            b->key = ~key;
            return false;
        }
    }
    return true;
}
