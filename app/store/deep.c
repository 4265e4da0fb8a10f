#include "app/store/deep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/store/follow.h"
#include "app/store/run_known.h"
#include "engine/base/ema.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

/* What is found of one key. An exponential mean needs the first points for its unit of distance:
 * they wait in x and y until there are enough of them. */
typedef struct found {
    int64_t n, step; /* points that count; of the value */
    double value;
    size_t series; /* of the metric; SIZE_MAX: not met */
    bool is_over;  /* later points change nothing */
    bool is_early; /* of AT: the run was not there yet */
    hl_ema ema;
    double x[HL_EMA_DISTANCES + 1], y[HL_EMA_DISTANCES + 1];
} found;

struct hl_deep {
    hl_follow *follow; /* NULL: resting, or to be opened */
    hl_series_table series;
    bool replaced; /* a resume took back points: read anew */
    size_t n;
    found at[];
};

/* The keys, for the visitor. */
typedef struct reading {
    hl_deep *a;
    const hl_deep_keys *keys;
} reading;

/* ---- points ---- */

static double start_ema(found *f, const hl_deep_key *k, size_t n)
{
    double d[HL_EMA_DISTANCES], v = 0;
    for (size_t i = 1; i < n; i++)
        d[i - 1] = fabs(f->x[i] - f->x[i - 1]);
    hl_ema_init(&f->ema, k->number, hl_ema_unit(d, n ? n - 1 : 0), false);
    for (size_t i = 0; i < n; i++)
        v = hl_ema_add(&f->ema, f->x[i], f->y[i]);
    return n <= 2 && n > 0 ? f->y[n - 1] : v;
}

static void smooth(found *f, const hl_deep_key *k, int64_t step, double value)
{
    enum { FIRST = HL_EMA_DISTANCES + 1 };
    if (!isfinite(value))
        return;
    f->step = step;
    if (f->n < FIRST) {
        f->x[f->n] = (double)step;
        f->y[f->n] = value;
        f->value = start_ema(f, k, (size_t)++f->n);
    } else {
        f->n++;
        f->value = hl_ema_add(&f->ema, (double)step, value);
    }
}

static void take(found *f, const hl_deep_key *k, int64_t step, double value)
{
    switch (k->kind) {
    case HL_DEEP_EMA:
        smooth(f, k, step, value);
        break;
    case HL_DEEP_AT:
        if ((double)step <= k->number) {
            f->n++;
            f->step = step;
            f->value = value;
        }
        f->is_over = (double)step > k->number;
        f->is_early = (double)step < k->number;
        break;
    default:
        if (k->kind == HL_DEEP_BELOW ? value < k->number : value > k->number) {
            f->n++;
            f->step = step;
            f->value = (double)step;
            f->is_over = true;
        }
    }
}

static void on_point(void *self, size_t series, int64_t step, int64_t t_us, double value)
{
    const reading *r = self;
    (void)t_us;
    for (size_t i = 0; i < r->a->n; i++) {
        found *f = &r->a->at[i];
        if (f->series == SIZE_MAX &&
            strcmp(hl_series_table_at(&r->a->series, series).tag, r->keys->at[i].tag) == 0)
            f->series = series;
        if (f->series == series && !f->is_over)
            take(f, &r->keys->at[i], step, value);
    }
}

static void on_superseded(void *self, int64_t from)
{
    (void)from;
    ((const reading *)self)->a->replaced = true;
}

/* ---- reading ---- */

static void begin(hl_deep *a)
{
    hl_follow_close(a->follow);
    hl_series_table_done(&a->series);
    a->follow = NULL;
    a->series = (hl_series_table){0};
    a->replaced = false;
    for (size_t i = 0; i < a->n; i++)
        a->at[i] = (found){.series = SIZE_MAX};
}

hl_status hl_deep_read(hl_deep **out, const char *dir, const hl_deep_keys *keys, int64_t max_bytes,
                       bool *more)
{
    hl_deep *a = *out;
    hl_status st = HL_OK;
    *more = false;
    if (a && a->n != keys->n) {
        hl_deep_free(a);
        a = *out = NULL;
    }
    if (!a) {
        a = *out = hl_alloc_zero(1, sizeof *a + keys->n * sizeof *a->at);
        if (!a)
            return HL_E_NOMEM;
        a->n = keys->n;
        begin(a);
    }
    reading r = {a, keys};
    const hl_run_visitor v = {.self = &r, .point = on_point, .superseded = on_superseded};
    if (!a->follow) {
        begin(a);
        st = hl_follow_open(dir, (hl_follow_opts){0}, &a->series, &a->follow);
    }
    if (st == HL_OK)
        st = hl_follow_poll(a->follow, &v, max_bytes, more);
    if (st == HL_OK && a->replaced) {
        begin(a);
        *more = true;
    }
    return st;
}

void hl_deep_rest(hl_deep *a)
{
    if (!a)
        return;
    hl_follow_close(a->follow);
    a->follow = NULL;
}

void hl_deep_free(hl_deep *a)
{
    if (!a)
        return;
    hl_follow_close(a->follow);
    hl_series_table_done(&a->series);
    hl_free(a);
}

/* ---- results ---- */

static int by_tag(const void *a, const void *b)
{
    return strcmp(((const hl_run_scalar *)a)->tag, ((const hl_run_scalar *)b)->tag);
}

static bool is_found(const found *f)
{
    return f->n > 0 && !f->is_early;
}

const hl_run_metrics *hl_deep_merge(const hl_deep *a, const hl_deep_keys *keys,
                                    const hl_run_metrics *plain)
{
    HL_VEC(hl_run_scalar) all = {0};
    const hl_run_metrics *out = NULL;
    const double none = (double)NAN;
    if (hl_vec_reserve(&all, plain->n + keys->n + 1) != HL_OK)
        return NULL;
    for (size_t i = 0; i < plain->n; i++)
        all.at[all.n++] = plain->at[i];
    for (size_t i = 0; i < keys->n; i++) {
        const found *f = a && a->n == keys->n && is_found(&a->at[i]) ? &a->at[i] : NULL;
        const double v = f ? f->value : none;
        all.at[all.n++] = (hl_run_scalar){.tag = keys->at[i].text,
                                          .n = f ? f->n : 0,
                                          .last = v,
                                          .min = v,
                                          .max = v,
                                          .mean = v,
                                          .last_step = f ? f->step : -1,
                                          .min_step = f ? f->step : -1,
                                          .max_step = f ? f->step : -1,
                                          .bad_step = -1};
    }
    qsort(all.at, all.n, sizeof *all.at, by_tag);
    out = hl_run_metrics_copy(all.at, all.n);
    hl_vec_done(&all);
    return out;
}

static const hl_run_scalar *find_metric(const hl_run_metrics *m, const char *tag)
{
    const hl_run_scalar key = {.tag = tag};
    return m->n ? bsearch(&key, m->at, m->n, sizeof *m->at, by_tag) : NULL;
}

/* What can be read of the events, by what the summary says of the metric. */
static bool is_there(const hl_deep_key *k, const hl_run_scalar *m)
{
    switch (k->kind) {
    case HL_DEEP_AT:
        return (double)m->last_step >= k->number;
    case HL_DEEP_BELOW:
        return m->min < k->number;
    case HL_DEEP_ABOVE:
        return m->max > k->number;
    default:
        return true;
    }
}

bool hl_deep_is_known(const hl_deep *a, const hl_deep_keys *keys, const hl_run_metrics *plain)
{
    for (size_t i = 0; i < keys->n; i++) {
        const hl_run_scalar *m = find_metric(plain, keys->at[i].tag);
        const found *f = a && a->n == keys->n ? &a->at[i] : NULL;
        const bool is_final = f && is_found(f) && keys->at[i].kind != HL_DEEP_EMA;
        if (m && is_there(&keys->at[i], m) && !is_final)
            return false;
    }
    return true;
}
