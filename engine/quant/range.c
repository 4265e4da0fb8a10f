#include "engine/quant/range.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/quant/percentile.h"
#include "engine/quant/range_internal.h"

enum { PARTS = 64, TEAM_WORTH = 1 << 16 }; /* of one tensor; numbers that are worth a team */

hl_range_options hl_range_defaults(hl_range_method method, hl_quant_options quantizer)
{
    return (hl_range_options){.method = method,
                              .quantizer = quantizer,
                              .momentum = 0.9,
                              .n_candidates = 100,
                              .range_margin = 0.5};
}

static bool is_mse(const hl_range_options *o)
{
    return o->method == HL_RANGE_MSE_GRID || o->method == HL_RANGE_MSE_GOLDEN_SECTION;
}

static bool is_per_channel(const hl_range_options *o)
{
    return o->quantizer.n_channels > 1;
}

static bool has_percentile(const hl_range_options *o)
{
    return !is_mse(o) && o->percentile != 0 && !is_per_channel(o);
}

static hl_status check_percentile(const hl_range_options *o)
{
    const double p = o->percentile;
    if (p == 0 || is_mse(o))
        return HL_OK;
    if (o->method == HL_RANGE_RUNNING_MINMAX)
        return p > 50 && p <= 100 ? HL_OK
                                  : hl_err_set(HL_E_ARG,
                                               "percentile %g of a running range: the upper one is "
                                               "meant, above 50 and up to 100",
                                               p);
    if (is_per_channel(o))
        return hl_err_set(HL_E_UNSUPPORTED, "percentiles per channel");
    return p > 0 && p < 50 ? HL_OK
                           : hl_err_set(HL_E_ARG,
                                        "percentile %g of a current range: the tail to cut off is "
                                        "meant, between 0 and 50",
                                        p);
}

static hl_status check_options(const hl_range_options *o)
{
    hl_status st = HL_OK;
    HL_TRY(hl_quant_options_check(&o->quantizer));
    if (o->method > HL_RANGE_MSE_GOLDEN_SECTION)
        HL_FAIL(HL_E_ARG, "no range estimator %d", (int)o->method);
    if (!(o->momentum >= 0 && o->momentum < 1))
        HL_FAIL(HL_E_ARG, "momentum %g of a running range: at least 0 and below 1", o->momentum);
    if (o->n_candidates < 1 || o->n_candidates > 1000000)
        HL_FAIL(HL_E_ARG, "%d candidates of a range: 1 to 1000000 are possible", o->n_candidates);
    if (!(o->range_margin >= 0 && o->range_margin < 1e30))
        HL_FAIL(HL_E_ARG, "range margin %g: at least 0", o->range_margin);
    HL_TRY(check_percentile(o));
out:
    return st;
}

hl_status hl_range_estimator_new(const hl_range_options *o, hl_range_estimator **out)
{
    hl_status st = HL_OK;
    hl_range_estimator *e = NULL;
    HL_TRY(check_options(o));
    e = hl_alloc_zero(1, sizeof *e);
    if (!e)
        return HL_E_NOMEM;
    e->o = *o;
    e->space.one_sided = -1;
    const size_t n = (size_t)o->quantizer.n_channels;
    e->lo = hl_alloc_zero(n, 8 * sizeof *e->lo);
    if (has_percentile(o))
        e->counts = hl_alloc_zero(HL_PERCENTILE_COUNTS, sizeof *e->counts);
    if (!e->lo || (has_percentile(o) && !e->counts)) {
        st = HL_E_NOMEM;
        goto out;
    }
    e->hi = e->lo + n;
    e->batch_lo = e->hi + n;
    e->batch_hi = e->batch_lo + n;
    e->whole_lo = e->batch_hi + n;
    e->whole_hi = e->whole_lo + n;
    e->before_lo = e->whole_hi + n;
    e->before_hi = e->before_lo + n;
    *out = e;
    e = NULL;
out:
    hl_range_estimator_free(e);
    return st;
}

void hl_range_estimator_free(hl_range_estimator *e)
{
    if (!e)
        return;
    hl_free(e->lo);
    hl_free(e->counts);
    hl_free(e->table);
    hl_free(e);
}

void hl_range_estimator_reset(hl_range_estimator *e)
{
    e->n_batches = 0;
    e->is_constant = false;
    hl_free(e->table);
    e->table = NULL;
}

bool hl_range_estimator_is_constant(const hl_range_estimator *e)
{
    return e->is_constant;
}

/* --- extremes --- */

typedef struct extremes {
    int64_t n, n_parts; /* part p is [n p / n_parts, n (p + 1) / n_parts) */
    const float *x;
    double *lo, *hi; /* [n_parts] */
} extremes;

static void find_extremes(void *arg, int worker, int n_workers)
{
    const extremes *w = arg;
    int64_t begin, end;
    hl_slice(w->n_parts, 1, worker, n_workers, &begin, &end);
    const int64_t each = w->n / w->n_parts, rest = w->n % w->n_parts;
    for (int64_t p = begin; p < end; p++) {
        const int64_t from = p * each + p * rest / w->n_parts;
        const int64_t to = (p + 1) * each + (p + 1) * rest / w->n_parts;
        float lo, hi;
        hl_cpu()->min_max(to - from, w->x + from, &lo, &hi);
        w->lo[p] = (double)lo;
        w->hi[p] = (double)hi;
    }
}

static void run_extremes(hl_team *team, extremes *w)
{
    if (team && w->n >= TEAM_WORTH)
        team->run(team, find_extremes, w);
    else
        find_extremes(w, 0, 1);
}

/* Of all numbers into b, of the channels into batch_lo, batch_hi. */
static hl_status observe_extremes(hl_range_estimator *e, hl_range_batch *b)
{
    double lo[PARTS], hi[PARTS];
    const bool per_channel = is_per_channel(&e->o);
    extremes w = {.n = b->n_rows * b->n_cols, .x = b->x};
    w.n_parts = per_channel ? b->n_rows : PARTS;
    w.lo = per_channel ? e->batch_lo : lo;
    w.hi = per_channel ? e->batch_hi : hi;
    if (b->on) {
        float ends[2];
        const hl_status st = hl_range_gpu_extremes(b->on, w.n, b->x, ends);
        if (st != HL_OK)
            return st;
        w.n_parts = 1;
        lo[0] = (double)ends[0];
        hi[0] = (double)ends[1];
    } else {
        run_extremes(b->team, &w);
    }
    b->min = w.lo[0];
    b->max = w.hi[0];
    bool is_nan = false;
    for (int64_t p = 0; p < w.n_parts; p++) {
        is_nan |= isnan(w.lo[p]);
        b->min = fmin(b->min, w.lo[p]);
        b->max = fmax(b->max, w.hi[p]);
    }
    if (is_nan)
        return hl_err_set(HL_E_NUMERIC, "NaN among the numbers whose range is sought");
    if (!per_channel) {
        e->batch_lo[0] = b->min;
        e->batch_hi[0] = b->max;
    }
    return HL_OK;
}

static bool batch_is_constant(const hl_range_estimator *e, const hl_range_batch *b)
{
    const int64_t n = e->o.quantizer.n_channels;
    if (n == 1)
        return b->min == b->max && b->n_rows * b->n_cols > 1;
    for (int64_t c = 0; c < n; c++)
        if (e->batch_lo[c] == e->batch_hi[c] && b->n_cols > 1)
            return true;
    return false;
}

/* --- observe --- */

static hl_status count_there(void *arg, int64_t upper, int64_t *counts)
{
    const hl_range_batch *b = arg;
    return hl_range_gpu_counts(b->on, b->n_rows * b->n_cols, b->x, upper, counts);
}

static hl_status observe_percentiles(hl_range_estimator *e, hl_range_batch *b)
{
    hl_status st = HL_OK;
    const double p = e->o.percentile;
    const bool running = e->o.method == HL_RANGE_RUNNING_MINMAX;
    const double tails[2] = {running ? 100 - p : p, running ? p : 100 - p};
    double ends[2];
    if (b->on)
        HL_TRY(hl_percentiles_of(b->n_rows * b->n_cols, count_there, b, tails, e->counts, ends));
    else
        hl_percentiles(b->n_rows * b->n_cols, b->x, tails, e->counts, ends);
    e->batch_lo[0] = ends[0];
    e->batch_hi[0] = ends[1];
out:
    return st;
}

/* Float ranges move in float, each operation rounded, with coefficients rounded from double. */
static double average(const hl_range_estimator *e, double batch, double kept)
{
    const double m = e->o.momentum;
    if (has_percentile(&e->o))
        return (1 - m) * batch + m * kept;
    const float of_batch = (float)(1 - m) * (float)batch, of_kept = (float)m * (float)kept;
    return (double)(of_batch + of_kept);
}

static hl_status check_finite(const hl_range_estimator *e)
{
    for (int64_t c = 0; c < e->o.quantizer.n_channels; c++)
        if (!isfinite(e->batch_lo[c]) || !isfinite(e->batch_hi[c]))
            return hl_err_set(HL_E_NUMERIC, "the range of the numbers is infinite");
    return HL_OK;
}

static void take_range(hl_range_estimator *e, bool is_more)
{
    const bool averaged = e->o.method == HL_RANGE_RUNNING_MINMAX && e->n_batches > is_more;
    for (int64_t c = 0; c < e->o.quantizer.n_channels; c++) {
        if (!is_more) {
            e->before_lo[c] = e->lo[c];
            e->before_hi[c] = e->hi[c];
        }
        e->whole_lo[c] = is_more ? fmin(e->whole_lo[c], e->batch_lo[c]) : e->batch_lo[c];
        e->whole_hi[c] = is_more ? fmax(e->whole_hi[c], e->batch_hi[c]) : e->batch_hi[c];
        e->lo[c] = averaged ? average(e, e->whole_lo[c], e->before_lo[c]) : e->whole_lo[c];
        e->hi[c] = averaged ? average(e, e->whole_hi[c], e->before_hi[c]) : e->whole_hi[c];
    }
    e->n_batches += !is_more;
}

static hl_status observe(hl_range_estimator *e, hl_range_batch *b, hl_quant_range *out)
{
    hl_status st = HL_OK;
    const int64_t n_channels = e->o.quantizer.n_channels;
    if (b->n_rows < 1 || b->n_cols < 1)
        HL_FAIL(HL_E_SHAPE, "no numbers whose range could be estimated");
    if (n_channels > 1 && b->n_rows != n_channels)
        HL_FAIL(HL_E_SHAPE, "%lld rows, but the quantizer has %lld channels", (long long)b->n_rows,
                (long long)n_channels);
    HL_TRY(observe_extremes(e, b));
    const bool is_constant = batch_is_constant(e, b);
    if (has_percentile(&e->o))
        HL_TRY(observe_percentiles(e, b));
    HL_TRY(check_finite(e));
    if (is_mse(&e->o))
        HL_TRY(hl_mse_observe(e, b));
    e->is_constant = is_constant && (!b->is_more || (e->is_constant && e->whole_lo[0] == b->min));
    take_range(e, b->is_more);
    *out = (hl_quant_range){
        .n = n_channels, .is_f64 = has_percentile(&e->o), .lo = e->lo, .hi = e->hi};
out:
    return st;
}

hl_status hl_range_estimator_observe(hl_range_estimator *e, hl_team *team, int64_t n_rows,
                                     int64_t n_cols, const float *x, hl_quant_range *out)
{
    return observe(e, &(hl_range_batch){.team = team, .n_rows = n_rows, .n_cols = n_cols, .x = x},
                   out);
}

static hl_status observe_further(hl_range_estimator *e, hl_range_batch *b, hl_quant_range *out)
{
    if (is_mse(&e->o))
        return hl_err_set(HL_E_UNSUPPORTED,
                          "a search for the range of least error takes a batch as a whole");
    b->is_more = true;
    return observe(e, b, out);
}

hl_status hl_range_estimator_observe_more(hl_range_estimator *e, hl_team *team, int64_t n_rows,
                                          int64_t n_cols, const float *x, hl_quant_range *out)
{
    hl_range_batch b = {.team = team, .n_rows = n_rows, .n_cols = n_cols, .x = x};
    return observe_further(e, &b, out);
}

hl_status hl_range_estimator_observe_on(hl_range_estimator *e, hl_range_device *on,
                                        const hl_range_rows *x, bool is_more, hl_quant_range *out)
{
    hl_range_batch b = {.on = on, .n_rows = x->n_rows, .n_cols = x->n_cols, .x = x->x};
    HL_ASSERT(e->o.quantizer.n_channels == 1);
    return is_more ? observe_further(e, &b, out) : observe(e, &b, out);
}

/* --- state --- */

enum { STATE_HEAD = 2, STATE_SPACE = 3 };

static size_t state_count(const hl_range_options *o, const hl_mse_space *space, bool has_table)
{
    const int64_t n = o->quantizer.n_channels;
    int64_t count = STATE_HEAD + 2 * n + (is_mse(o) ? STATE_SPACE : 0);
    if (has_table)
        count += n * hl_mse_entries(o, space);
    return (size_t)count;
}

size_t hl_range_estimator_state_count(const hl_range_estimator *e)
{
    return state_count(&e->o, &e->space, e->table != NULL);
}

void hl_range_estimator_get_state(const hl_range_estimator *e, double *s)
{
    const size_t n = (size_t)e->o.quantizer.n_channels;
    *s++ = (double)e->n_batches;
    *s++ = e->space.one_sided;
    memcpy(s, e->lo, 2 * n * sizeof *s);
    s += 2 * n;
    if (is_mse(&e->o)) {
        *s++ = e->space.reach;
        *s++ = e->space.thr_hi;
        *s++ = e->space.thr_lo;
    }
    if (e->table)
        memcpy(s, e->table, n * (size_t)hl_mse_entries(&e->o, &e->space) * sizeof *s);
}

static bool all_finite(size_t n, const double *x)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static bool is_state(const hl_range_options *o, size_t n, const double *s, hl_mse_space *space,
                     bool *has_table)
{
    const size_t n_ends = 2 * (size_t)o->quantizer.n_channels;
    const size_t n_fixed = STATE_HEAD + n_ends + (is_mse(o) ? STATE_SPACE : 0);
    if (n < n_fixed || !all_finite(n_fixed, s) || s[0] < 0 || s[0] > 1e15 || s[0] != floor(s[0]) ||
        (s[1] != -1 && s[1] != 0 && s[1] != 1))
        return false;
    *space = (hl_mse_space){.one_sided = (int)s[1]};
    if (is_mse(o)) {
        const double *from = s + STATE_HEAD + n_ends;
        space->reach = from[0];
        space->thr_hi = from[1];
        space->thr_lo = from[2];
        if (space->reach < 0 || (s[0] > 0 && space->one_sided < 0))
            return false;
    }
    *has_table = o->method == HL_RANGE_MSE_GRID && s[0] > 0;
    if (n != state_count(o, space, *has_table))
        return false;
    for (size_t i = n_fixed; i < n; i++)
        if (!(s[i] >= 0)) /* infinite where there is no candidate */
            return false;
    return true;
}

hl_status hl_range_estimator_set_state(hl_range_estimator *e, size_t n, const double *s)
{
    hl_status st = HL_OK;
    hl_mse_space space;
    bool has_table;
    double *table = NULL;
    if (!is_state(&e->o, n, s, &space, &has_table))
        HL_FAIL(HL_E_FORMAT, "not the state of such a range estimator");
    const size_t n_channels = (size_t)e->o.quantizer.n_channels;
    if (has_table) {
        HL_TRY(hl_mse_table_new(&e->o, &space, &table));
        const size_t n_table = n_channels * (size_t)hl_mse_entries(&e->o, &space);
        memcpy(table, s + n - n_table, n_table * sizeof *s);
    }
    hl_free(e->table);
    e->table = table;
    e->space = space;
    e->n_batches = (int64_t)s[0];
    memcpy(e->lo, s + STATE_HEAD, 2 * n_channels * sizeof *s);
out:
    return st;
}
