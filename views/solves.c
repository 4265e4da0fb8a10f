#include "views/solves.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define STILL_MOVING 0.1f

/* ---- quantiles ---- */

static void swap(float *a, float *b)
{
    const float t = *a;
    *a = *b;
    *b = t;
}

/* The k-th smallest of v[0 .. n), k < n; what is not larger comes before it, what is not smaller
 * behind. No NaN. */
static float choose(float *v, size_t n, size_t k)
{
    size_t lo = 0, hi = n - 1;
    while (lo < hi) {
        const size_t middle = lo + (hi - lo) / 2;
        if (v[middle] < v[lo])
            swap(&v[middle], &v[lo]);
        if (v[hi] < v[lo])
            swap(&v[hi], &v[lo]);
        if (v[hi] < v[middle])
            swap(&v[hi], &v[middle]);
        const float pivot = v[middle];
        size_t i = lo, j = hi;
        while (i <= j) {
            while (v[i] < pivot)
                i++;
            while (pivot < v[j])
                j--;
            if (i > j)
                break;
            swap(&v[i++], &v[j]);
            if (j == 0)
                break;
            j--;
        }
        if (k <= j)
            hi = j;
        else if (k >= i)
            lo = i;
        else
            break;
    }
    return v[k];
}

/* 0-based nearest rank of a quantile of n values, in percent. */
static size_t rank_of(size_t n, size_t percent)
{
    const size_t rank = (n * percent + 99) / 100;
    return rank > 0 ? rank - 1 : 0;
}

static void put_quantiles(float *v, size_t n, float *out, size_t stride)
{
    const size_t low = rank_of(n, 10), median = rank_of(n, 50), high = rank_of(n, 90);
    float min = v[0], max = v[0];
    for (size_t i = 1; i < n; i++) {
        min = v[i] < min ? v[i] : min;
        max = v[i] > max ? v[i] : max;
    }
    out[HL_QUANTILE_MIN * stride] = min;
    out[HL_QUANTILE_MAX * stride] = max;
    out[HL_QUANTILE_MEDIAN * stride] = choose(v, n, median);
    out[HL_QUANTILE_LOW * stride] = low < median ? choose(v, median, low) : v[median];
    out[HL_QUANTILE_HIGH * stride] =
        high > median ? choose(v + median + 1, n - median - 1, high - median - 1) : v[median];
}

hl_status hl_residual_quantiles(const hl_curve *c, float *out, size_t *n_made)
{
    *n_made = 0;
    if (c->rows == 0 || c->cols == 0)
        return HL_OK;
    float *last = hl_alloc(2 * c->cols * sizeof *last), *known = last ? last + c->cols : NULL;
    if (!last)
        return HL_E_NOMEM;
    for (size_t b = 0; b < c->cols; b++)
        last[b] = NAN;
    for (size_t k = 0; k < c->rows; k++) {
        size_t n = 0;
        for (size_t b = 0; b < c->cols; b++) {
            const float v = c->v[k * c->cols + b];
            if (!isnan(v)) {
                last[b] = v;
                *n_made = k + 1;
            }
            if (!isnan(last[b]))
                known[n++] = last[b];
        }
        for (size_t q = 0; n == 0 && q < HL_QUANTILES; q++)
            out[q * c->rows + k] = NAN;
        if (n > 0)
            put_quantiles(known, n, out + k, c->rows);
    }
    hl_free(last);
    return HL_OK;
}

/* ---- evaluations to the tolerance ---- */

size_t hl_residual_evaluations(const hl_curve *c, size_t sample, double tol)
{
    size_t n_made = 0;
    float last = NAN;
    for (size_t k = 0; k < c->rows; k++) {
        const float v = c->v[k * c->cols + sample];
        if ((double)v < tol)
            return k + 1;
        if (!isnan(v)) {
            n_made = k + 1;
            last = v;
        }
    }
    return n_made < c->rows && last < STILL_MOVING ? n_made : 0;
}

/* The evaluations of the sample of this rank. */
static size_t of_rank(const size_t *count, size_t rows, size_t rank)
{
    size_t n = 0;
    for (size_t k = 1; k <= rows; k++) {
        n += count[k];
        if (n > rank)
            return k;
    }
    return rows;
}

void hl_residual_count(const hl_curve *c, double tol, size_t *count, hl_evaluations *out)
{
    memset(count, 0, (c->rows + 1) * sizeof *count);
    *out = (hl_evaluations){.n_samples = c->rows > 0 ? c->cols : 0};
    for (size_t b = 0; b < out->n_samples; b++)
        count[hl_residual_evaluations(c, b, tol)]++;
    out->n_not = count[0];
    if (out->n_samples == 0)
        return;
    out->median = of_rank(count, c->rows, rank_of(out->n_samples, 50));
    out->p90 = of_rank(count, c->rows, rank_of(out->n_samples, 90));
    out->max = of_rank(count, c->rows, out->n_samples - 1);
}

/* ---- configuration ---- */

enum { DEPTH = 4 };

/* The first object with a member `forward` that is one too, looked for outside in. */
static const hl_json *layer_in(const hl_json *v, int depth)
{
    const hl_json *found = NULL;
    if (hl_json_is_object(v) && hl_json_is_object(hl_json_get(v, "forward")))
        return v;
    if (depth == 0 || (!hl_json_is_object(v) && !hl_json_is_array(v)))
        return NULL;
    for (const hl_json *k = hl_json_at(v, 0); k && !found; k = hl_json_next(k))
        found = layer_in(k, depth - 1);
    return found;
}

/* What the layer's solves are configured by; NULL: nothing is said. */
static const hl_json *solve_of(const hl_json *config, bool backward)
{
    const hl_json *model = config ? hl_json_get(config, "model") : NULL;
    const hl_json *layer = model ? layer_in(model, DEPTH) : NULL;
    return layer ? hl_json_get(layer, backward ? "backward" : "forward") : backward ? NULL : model;
}

/* As it is now: a knob if the run has it, else its configuration. */
static double now_of(const hl_json *of, const hl_json *knobs, const char *key)
{
    char name[40];
    snprintf(name, sizeof name, "deq.%s", key);
    const double v = hl_json_num_at(hl_json_get(knobs, name), "value");
    return isnan(v) ? hl_json_num_at(of, key) : v;
}

static bool is_absolute(const hl_json *of)
{
    return of && strcmp(hl_json_str(hl_json_get(of, "stop"), ""), "abs") == 0;
}

double hl_solves_tolerance(const hl_json *config, const hl_json *knobs, hl_solve_kind kind,
                           bool *known)
{
    const hl_json *of = solve_of(config, kind.backward);
    const double tol = of ? now_of(of, kind.backward ? NULL : knobs, "tol") : 0;
    *known = tol > 0 && isfinite(tol) && is_absolute(of) == kind.absolute;
    return *known ? tol : HL_TOLERANCE_USUAL;
}

const char *hl_solves_rule(const hl_json *config, const hl_json *knobs,
                           char buf[HL_SOLVES_RULE_MAX])
{
    const hl_json *of = solve_of(config, false);
    const char *solver = hl_json_str(hl_json_get(of, "solver"), "");
    const double tol = now_of(of, knobs, "tol"), most = now_of(of, knobs, "max_iter"),
                 memory = now_of(of, knobs, "memory");
    int n = snprintf(buf, HL_SOLVES_RULE_MAX, "%.40s", solver);
    if (*solver && !isnan(memory))
        n += snprintf(buf + n, HL_SOLVES_RULE_MAX - (size_t)n, "(%.4g)", memory);
    if (!isnan(tol))
        n += snprintf(buf + n, HL_SOLVES_RULE_MAX - (size_t)n, "%stol %.3g %s", n ? ", " : "", tol,
                      is_absolute(of) ? "abs" : "rel");
    if (!isnan(most))
        snprintf(buf + n, HL_SOLVES_RULE_MAX - (size_t)n, "%sat most %.6g", n ? ", " : "", most);
    return buf;
}

double hl_solves_damping(const hl_json *config, const hl_json *knobs)
{
    const hl_json *model = config ? hl_json_get(config, "model") : NULL;
    const hl_json *layer = model ? layer_in(model, DEPTH) : NULL;
    const hl_json *of = layer ? layer : model;
    const double damping = of ? now_of(of, knobs, "damping") : 0;
    return damping > 0 && damping < 1 ? damping : 0;
}

/* ---- the solves of a run ---- */

bool hl_solves_is_tag(const char *tag)
{
    static const char *const kept[] = {
        "movement", "absolute",        "backward", "backward_absolute",
        "ended",    "spectral_radius", "energy",   "state"};
    const char *name = strrchr(tag, '/');
    if (hl_str_starts(tag, "attention/") || hl_spellings_is_tag(tag) ||
        (hl_str_starts(tag, "outliers/") && hl_str_ends(tag, "/channels")))
        return true;
    if (!name || name - tag < 4 || strncmp(name - 4, "/deq", 4) != 0)
        return false;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (strcmp(name + 1, kept[i]) == 0)
            return true;
    return false;
}

static void solved_done(hl_solved *x)
{
    hl_free((void *)(uintptr_t)x->curve.v);
    hl_free(x->quantile);
    hl_free(x->count);
}

const size_t *hl_solved_count(hl_solved *x, double tol)
{
    if (x->count && x->tol == tol)
        return x->count;
    if (!x->count)
        x->count = hl_alloc_zero(x->curve.rows + 1, sizeof *x->count);
    if (x->count)
        hl_residual_count(&x->curve, tol, x->count, &x->evaluations);
    x->tol = tol;
    return x->count;
}

static size_t bytes_of(const hl_solved *x)
{
    return x->curve.rows * (x->curve.cols + HL_QUANTILES) * sizeof(float);
}

/* The oldest go until what is kept fits; the newest stays whatever its size. */
static void drop_oldest(hl_solves *s)
{
    size_t bytes = 0, first = s->kept.n;
    while (first > 0 && s->kept.n - first < HL_SOLVES_KEPT) {
        bytes += bytes_of(&s->kept.at[first - 1]);
        if (bytes > HL_SOLVES_BYTES && first < s->kept.n)
            break;
        first--;
    }
    for (size_t i = 0; i < first; i++)
        solved_done(&s->kept.at[i]);
    if (first > 0)
        memmove(s->kept.at, s->kept.at + first, (s->kept.n - first) * sizeof *s->kept.at);
    s->kept.n -= first;
}

static void thin_medians(hl_solves *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->medians.n; i++) {
        if (i % 2 == 0 || i + 1 == s->medians.n)
            s->medians.at[kept++] = s->medians.at[i];
        else
            hl_free(s->medians.at[i].v);
    }
    s->medians.n = kept;
    s->stride *= 2;
}

static hl_status add_medians(hl_solves *s, const hl_solved *x)
{
    const size_t each = (x->n_made + HL_SOLVE_MEDIAN_ROWS - 1) / HL_SOLVE_MEDIAN_ROWS;
    const float *median = x->quantile + HL_QUANTILE_MEDIAN * x->curve.rows;
    hl_solve_medians m = {.step = x->step, .each = each ? each : 1};
    const bool newest_is_extra = s->medians.n > 0 && (s->n_met - 1) % s->stride != 0;
    m.n = (x->n_made + m.each - 1) / m.each;
    m.v = hl_alloc((m.n + 1) * sizeof *m.v);
    s->n_met++;
    if (newest_is_extra)
        hl_free(s->medians.at[--s->medians.n].v);
    if (!m.v || hl_vec_push(&s->medians, m) != HL_OK) {
        hl_free(m.v);
        return HL_E_NOMEM;
    }
    for (size_t i = 0; i < m.n; i++) {
        m.v[i] = median[i * m.each];
        for (size_t k = i * m.each; k < (i + 1) * m.each && k < x->n_made; k++)
            m.v[i] = fmaxf(m.v[i], median[k]);
    }
    if (s->medians.n > HL_SOLVE_MEDIANS)
        thin_medians(s);
    return HL_OK;
}

hl_status hl_solves_add(hl_solves *s, int64_t step, float *v, size_t rows, size_t cols)
{
    hl_solved x = {.step = step, .curve = {v, rows, cols}};
    s->stride = s->stride ? s->stride : 1;
    x.quantile = hl_alloc((rows * HL_QUANTILES + 1) * sizeof *x.quantile);
    hl_status st = x.quantile ? HL_OK : HL_E_NOMEM;
    if (st == HL_OK)
        st = hl_residual_quantiles(&x.curve, x.quantile, &x.n_made);
    if (st == HL_OK)
        st = add_medians(s, &x);
    if (st == HL_OK)
        st = hl_vec_push(&s->kept, x);
    if (st != HL_OK)
        solved_done(&x);
    drop_oldest(s);
    return st;
}

void hl_solves_cut(hl_solves *s, int64_t from)
{
    while (s->kept.n && s->kept.at[s->kept.n - 1].step >= from)
        solved_done(&s->kept.at[--s->kept.n]);
    while (s->medians.n && s->medians.at[s->medians.n - 1].step >= from)
        hl_free(s->medians.at[--s->medians.n].v);
    /* the newest of those that stay counts as one of every stride-th */
    s->n_met = s->medians.n ? (int64_t)(s->medians.n - 1) * s->stride + 1 : 0;
}

void hl_solves_done(hl_solves *s)
{
    hl_solves_cut(s, INT64_MIN);
    hl_vec_done(&s->kept);
    hl_vec_done(&s->medians);
    *s = (hl_solves){0};
}

int hl_solves_find(const hl_solves *s, int64_t step)
{
    const int n = (int)s->kept.n;
    int i = n - 1;
    while (step >= 0 && i > 0 && s->kept.at[i].step > step)
        i--;
    return i;
}
