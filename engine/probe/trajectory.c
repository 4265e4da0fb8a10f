#include "engine/probe/trajectory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

#define LOG10_MIN (-8.0)
#define LOG10_MAX 0.0
#define BINS      HL_TRAJECTORY_BINS
#define N_TOL     HL_TRAJECTORY_TOLERANCES

typedef struct tally {
    int64_t sum_index; /* literal; 0 and none as T */
    int64_t sum_iteration, n_converged;
    int64_t n_not_literal;
} tally;

struct hl_trajectory {
    int64_t T, n_samples;
    double damping;
    tally at[N_TOL];
    int64_t *bins; /* (T, BINS) */
};

double hl_trajectory_tolerance(int i)
{
    return LOG10_MIN + 0.5 * i;
}

int hl_trajectory_threshold(void)
{
    return 8;
}

hl_status hl_trajectory_new(int64_t n_iterations, double damping, hl_trajectory **out)
{
    if (n_iterations < 1 || n_iterations > HL_TRAJECTORY_T_MAX)
        return hl_err_set(HL_E_ARG, "a trajectory has 1 to %d iterations, not %lld",
                          HL_TRAJECTORY_T_MAX, (long long)n_iterations);
    if (!(damping >= 0 && damping < 1))
        return hl_err_set(HL_E_ARG, "damping is %g; it must be in [0, 1)", damping);
    hl_trajectory *t = hl_alloc_zero(1, sizeof *t);
    if (!t)
        return HL_E_NOMEM;
    t->T = n_iterations;
    t->damping = damping;
    t->bins = hl_alloc_zero((size_t)n_iterations, BINS * sizeof *t->bins);
    if (!t->bins) {
        hl_free(t);
        return HL_E_NOMEM;
    }
    *out = t;
    return HL_OK;
}

void hl_trajectory_free(hl_trajectory *t)
{
    if (!t)
        return;
    hl_free(t->bins);
    hl_free(t);
}

/* Bin of a logarithm, -1 outside. */
static int bin_of(double log10_r)
{
    if (!(log10_r >= LOG10_MIN && log10_r <= LOG10_MAX))
        return -1;
    const int bin = (int)((log10_r - LOG10_MIN) * (BINS / (LOG10_MAX - LOG10_MIN)));
    return bin < BINS ? bin : BINS - 1;
}

static void count_sample(hl_trajectory *t, const int64_t first[N_TOL])
{
    for (int i = 0; i < N_TOL; i++) {
        tally *a = &t->at[i];
        a->sum_index += first[i] > 0 ? first[i] : t->T;
        a->n_not_literal += first[i] <= 0;
        if (first[i] >= 0) {
            a->sum_iteration += first[i] + 1;
            a->n_converged++;
        }
    }
    t->n_samples++;
}

/* Column r[0], r[B], r[2B], ... */
static void add_column(hl_trajectory *t, const float *r, int64_t B)
{
    int64_t first[N_TOL];
    double held = (double)NAN;
    int n_left = N_TOL; /* tolerances not reached yet: the smaller ones */
    for (int i = 0; i < N_TOL; i++)
        first[i] = -1;
    for (int64_t k = 0; k < t->T; k++) {
        const double x = (double)r[k * B];
        if (!isnan(x))
            held = log10(x);
        if (isnan(held))
            continue;
        const int bin = bin_of(held);
        if (bin >= 0)
            t->bins[k * BINS + bin]++;
        while (n_left > 0 && held < hl_trajectory_tolerance(n_left - 1))
            first[--n_left] = k;
    }
    count_sample(t, first);
}

hl_status hl_trajectory_add(hl_trajectory *t, const float *r, int64_t B, int64_t n_real)
{
    if (n_real < 0 || n_real > B)
        return hl_err_set(HL_E_ARG, "%lld of %lld columns cannot count", (long long)n_real,
                          (long long)B);
    for (int64_t b = 0; b < n_real; b++)
        add_column(t, r + b, B);
    return HL_OK;
}

int64_t hl_trajectory_iterations(const hl_trajectory *t)
{
    return t->T;
}

int64_t hl_trajectory_samples(const hl_trajectory *t)
{
    return t->n_samples;
}

double hl_trajectory_damping(const hl_trajectory *t)
{
    return t->damping;
}

const int64_t *hl_trajectory_bins(const hl_trajectory *t, int64_t iteration)
{
    HL_ASSERT(iteration >= 0 && iteration < t->T);
    return t->bins + iteration * BINS;
}

static double mean(int64_t sum, int64_t n)
{
    return n ? (double)sum / (double)n : (double)NAN;
}

hl_trajectory_count hl_trajectory_at(const hl_trajectory *t, int tolerance)
{
    HL_ASSERT(tolerance >= 0 && tolerance < N_TOL);
    const tally *a = &t->at[tolerance];
    return (hl_trajectory_count){.mean_index = mean(a->sum_index, t->n_samples),
                                 .mean_iteration = mean(a->sum_iteration, a->n_converged),
                                 .n_not_literal = a->n_not_literal,
                                 .n_not_converged = t->n_samples - a->n_converged};
}

/* ---- JSON ---- */

/* A row of counts as [first bin, count, count, ...] up to the last one that is not 0; [] if none
 * is.
 */
static void add_bins(hl_str *b, const int64_t *bins)
{
    int from = 0, to = BINS;
    while (from < to && bins[from] == 0)
        from++;
    while (to > from && bins[to - 1] == 0)
        to--;
    hl_json_begin(b, '[');
    if (from < to)
        hl_json_add_int(b, from);
    for (int i = from; i < to; i++)
        hl_json_add_int(b, bins[i]);
    hl_json_end(b, ']');
}

static void add_counts(const hl_trajectory *t, hl_str *b)
{
    static const char *const keys[] = {"tolerances_log10", "mean_index", "did_not_converge",
                                       "mean_iteration", "not_converged"};
    for (int k = 0; k < 5; k++) {
        hl_json_add_key(b, keys[k]);
        hl_json_begin(b, '[');
        for (int i = 0; i < N_TOL; i++) {
            const hl_trajectory_count c = hl_trajectory_at(t, i);
            const double v[] = {hl_trajectory_tolerance(i), c.mean_index, (double)c.n_not_literal,
                                c.mean_iteration, (double)c.n_not_converged};
            hl_json_add_num(b, v[k]);
        }
        hl_json_end(b, ']');
    }
}

hl_status hl_trajectory_to_json(const hl_trajectory *t, hl_str *out)
{
    const hl_trajectory_count c = hl_trajectory_at(t, hl_trajectory_threshold());
    hl_json_begin(out, '{');
    hl_json_put_int(out, "format", 1);
    hl_json_put_int(out, "iterations", t->T);
    hl_json_put_int(out, "samples", t->n_samples);
    hl_json_put_num(out, "damping", t->damping);
    hl_json_put_num(out, "time_to_convergence", c.mean_index * (1 - t->damping));
    hl_json_put_num(out, "time_to_convergence_honest", c.mean_iteration * (1 - t->damping));
    add_counts(t, out);
    hl_json_put_num(out, "log10_min", LOG10_MIN);
    hl_json_put_num(out, "log10_max", LOG10_MAX);
    hl_json_put_int(out, "n_bins", BINS);
    hl_json_add_key(out, "bins");
    hl_json_begin(out, '[');
    for (int64_t k = 0; k < t->T; k++)
        add_bins(out, hl_trajectory_bins(t, k));
    hl_json_end(out, ']');
    hl_json_end(out, '}');
    return hl_str_status(out);
}

static hl_status no_trajectory(const char *what)
{
    return hl_err_set(HL_E_FORMAT, "no statistics of trajectories: %s", what);
}

/* Element i of an array of N_TOL numbers; NAN where there is none. */
static double element(const hl_json *v, const char *key, int i)
{
    return hl_json_num(hl_json_at(hl_json_get(v, key), i), (double)NAN);
}

static bool is_count(double v, int64_t most)
{
    return v >= 0 && v <= (double)most && v == floor(v);
}

static hl_status read_tally(const hl_json *v, int i, hl_trajectory *t)
{
    const double n = (double)t->n_samples, literal = element(v, "mean_index", i);
    const double missed = element(v, "did_not_converge", i);
    const double missing = element(v, "not_converged", i), mean_n = element(v, "mean_iteration", i);
    if (!is_count(missed, t->n_samples) || !is_count(missing, t->n_samples) ||
        element(v, "tolerances_log10", i) != hl_trajectory_tolerance(i) ||
        (n > 0 && !(literal >= 0 && literal <= (double)t->T)) ||
        (n > missing && !(mean_n >= 1 && mean_n <= (double)t->T)))
        return no_trajectory("its counts per tolerance are wrong or missing");
    t->at[i] = (tally){.n_not_literal = (int64_t)missed,
                       .n_converged = t->n_samples - (int64_t)missing,
                       .sum_index = n > 0 ? (int64_t)llround(literal * n) : 0,
                       .sum_iteration = n > missing ? (int64_t)llround(mean_n * (n - missing)) : 0};
    return HL_OK;
}

static hl_status read_bins(const hl_json *row, int64_t *bins, int64_t n_samples)
{
    if (!hl_json_is_array(row))
        return no_trajectory("a row of 'bins' is no list");
    const hl_json *v = hl_json_at(row, 0);
    if (!v)
        return HL_OK;
    int64_t at = hl_json_int(v, -1);
    for (v = hl_json_next(v); v; v = hl_json_next(v), at++) {
        const double count = hl_json_num(v, -1);
        if (at < 0 || at >= BINS || !is_count(count, n_samples))
            return no_trajectory("a row of 'bins' holds what is no count, or too many");
        bins[at] = (int64_t)count;
    }
    return HL_OK;
}

hl_status hl_trajectory_from_json(const hl_json *v, hl_trajectory **out)
{
    hl_status st = HL_OK;
    hl_trajectory *t = NULL;
    const hl_json *rows = hl_json_get(v, "bins");
    const int64_t T = hl_json_int(hl_json_get(v, "iterations"), -1);
    const int64_t n = hl_json_int(hl_json_get(v, "samples"), -1);
    const double damping = hl_json_num(hl_json_get(v, "damping"), (double)NAN);
    if (hl_json_int(hl_json_get(v, "format"), -1) != 1)
        return no_trajectory("'format' is not 1");
    if (T < 1 || T > HL_TRAJECTORY_T_MAX || n < 0 || !(damping >= 0 && damping < 1))
        return no_trajectory("'iterations', 'samples' or 'damping' is wrong or missing");
    if (hl_json_int(hl_json_get(v, "n_bins"), -1) != BINS || hl_json_len(rows) != T ||
        hl_json_num(hl_json_get(v, "log10_min"), 1) != LOG10_MIN ||
        hl_json_num(hl_json_get(v, "log10_max"), 1) != LOG10_MAX)
        return no_trajectory("its bins are others than 400 on [-8, 0] per iteration");
    HL_TRY(hl_trajectory_new(T, damping, &t));
    t->n_samples = n;
    for (int i = 0; i < N_TOL; i++)
        HL_TRY(read_tally(v, i, t));
    const hl_json *row = hl_json_at(rows, 0);
    for (int64_t k = 0; k < T; k++, row = hl_json_next(row))
        HL_TRY(read_bins(row, t->bins + k * BINS, n));
    *out = t;
out:
    if (st != HL_OK)
        hl_trajectory_free(t);
    return st;
}

/* ---- percentiles of a batch ---- */

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static float quantile(const float *sorted, size_t n, double q)
{
    if (n == 0)
        return NAN;
    const double at = q * (double)(n - 1);
    const size_t i = (size_t)at;
    if (i + 1 >= n || sorted[i] == sorted[i + 1])
        return sorted[i];
    return (float)((double)sorted[i] +
                   (at - (double)i) * ((double)sorted[i + 1] - (double)sorted[i]));
}

hl_status hl_trajectory_quantiles(const float *r, int64_t T, int64_t B, int64_t n_real,
                                  hl_trajectory_curves out)
{
    HL_ASSERT(n_real >= 0 && n_real <= B);
    float *held = hl_alloc_zero(2 * (size_t)n_real + 1, sizeof *held);
    if (!held)
        return HL_E_NOMEM;
    float *sorted = held + n_real;
    for (int64_t b = 0; b < n_real; b++)
        held[b] = NAN;
    for (int64_t k = 0; k < T; k++) {
        size_t n = 0;
        for (int64_t b = 0; b < n_real; b++) {
            if (!isnan(r[k * B + b]))
                held[b] = r[k * B + b];
            if (!isnan(held[b]))
                sorted[n++] = held[b];
        }
        qsort(sorted, n, sizeof *sorted, compare);
        out.median[k] = quantile(sorted, n, 0.5);
        out.p10[k] = quantile(sorted, n, 0.1);
        out.p90[k] = quantile(sorted, n, 0.9);
    }
    hl_free(held);
    return HL_OK;
}
