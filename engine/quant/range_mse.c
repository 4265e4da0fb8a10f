/* The range of least squared error: L = sum over rows of sum (x - x_q)^2.
 *
 * Summation: a row's errors in blocks of 2048, over 32 float lanes each; blocks in double; the
 * row's sum is rounded to float, rows are added in double and that is rounded to float. The golden
 * section adds pieces of 16384 within a row. Neither depends on the number of workers. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/quant/brent.h"
#include "engine/quant/range_internal.h"

enum { MAX_ENTRIES = 1 << 21, PIECE = 16384, TEAM_WORTH = 1 << 16 };

static bool is_2d(const hl_range_options *o, const hl_mse_space *space)
{
    return o->quantizer.scheme == HL_QUANT_ASYMMETRIC && space->one_sided == 0;
}

static int64_t skews(const hl_range_options *o)
{
    return (int64_t)1 << o->quantizer.bits >> 2;
}

int64_t hl_mse_entries(const hl_range_options *o, const hl_mse_space *space)
{
    return (o->n_candidates + (int64_t)1) * (is_2d(o, space) ? 2 * skews(o) : 1);
}

hl_status hl_mse_table_new(const hl_range_options *o, const hl_mse_space *space, double **out)
{
    const int64_t n = hl_mse_entries(o, space);
    if (n > MAX_ENTRIES)
        return hl_err_set(HL_E_UNSUPPORTED,
                          "a grid of %lld ranges is too large; use fewer bits or candidates, or "
                          "the golden section",
                          (long long)n);
    double *table = hl_alloc_zero((size_t)o->quantizer.n_channels, (size_t)n * sizeof *table);
    if (!table)
        return HL_E_NOMEM;
    *out = table;
    return HL_OK;
}

/* All double, from the float extremes of the whole batch. one_sided outlives a reset. */
static hl_status space_of(const hl_range_estimator *e, const hl_range_batch *b, hl_mse_space *s)
{
    const double margin = e->o.range_margin;
    *s = e->space;
    if (e->n_batches > 0)
        return HL_OK;
    if (s->one_sided < 0)
        s->one_sided = b->min >= 0;
    if (is_2d(&e->o, s)) {
        s->thr_hi = b->max + margin;
        s->thr_lo = b->min - margin;
        s->reach = fmax(fabs(s->thr_hi), fabs(s->thr_lo));
    } else {
        s->reach = fmax(fabs(b->min), b->max) + margin;
        s->thr_hi = s->reach;
        s->thr_lo = -s->reach;
    }
    if (s->reach > (double)FLT_MAX / 4)
        return hl_err_set(HL_E_NUMERIC, "numbers up to %g: too large for a search of their range",
                          s->reach);
    return HL_OK;
}

/* --- grid --- */

typedef struct ends {
    double lo, hi;
} ends;

/* Of entry `index` of the table: candidate, and in two dimensions skew and its sign. */
static ends ends_at(const hl_range_options *o, const hl_mse_space *s, int64_t index)
{
    const double step = s->reach / o->n_candidates;
    if (!is_2d(o, s)) {
        const double hi = step * (double)index;
        return (ends){s->one_sided ? 0 : -hi, hi};
    }
    const int64_t each = 2 * skews(o), rest = index % each;
    const double hi = step * (double)(index / each), lo = -hi;
    const double width = (hi - lo) / (double)((1 << o->quantizer.bits) - 1);
    const double shift = (rest % 2 ? -1 : 1) * ((double)(rest / 2) * width);
    return (ends){fmax(lo + shift, s->thr_lo), fmin(hi + shift, s->thr_hi)};
}

/* Sorted by scale, then by bounds: what quant_errors likes. */
typedef struct candidate {
    hl_quant_grid grid;
    int64_t index;
} candidate;

static int by_grid(const void *pa, const void *pb)
{
    const candidate *a = pa, *b = pb;
    if (a->grid.scale != b->grid.scale)
        return a->grid.scale < b->grid.scale ? -1 : 1;
    if (a->grid.r_min != b->grid.r_min)
        return a->grid.r_min < b->grid.r_min ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

/* A range of nothing but zeros leaves the former one. Needs |ends| <= FLT_MAX / 4. */
static hl_status set_ends(hl_quantizer *q, ends t)
{
    const double lo = (double)(float)t.lo, hi = (double)(float)t.hi;
    if (lo == 0 && hi == 0 && q->has_range)
        return HL_OK;
    return hl_quantizer_set_range(q, &(hl_quant_range){.n = 1, .lo = &lo, .hi = &hi});
}

/* A quantizer for the tensor, for trying ranges. */
static hl_status trial_init(hl_quantizer *q, const hl_range_options *o)
{
    return hl_quantizer_init(q, &(hl_quant_options){.scheme = o->quantizer.scheme,
                                                    .bits = o->quantizer.bits,
                                                    .n_channels = 1});
}

typedef struct grid {
    const hl_range_batch *b;
    bool per_channel;
    int64_t n, n_entries; /* candidates; entries of one channel's losses */
    candidate *candidates;
    hl_quant_bounds *bounds; /* [n] */
    double *sums;            /* [n], of one row */
    double *losses;
} grid;

/* Candidates [begin, end) on one row. */
static void add_row(const grid *w, int64_t row, int64_t begin, int64_t end)
{
    const candidate *k = w->candidates;
    memset(w->sums + begin, 0, (size_t)(end - begin) * sizeof *w->sums);
    for (int64_t i = begin, next; i < end; i = next) {
        for (next = i + 1; next < end && k[next].grid.scale == k[i].grid.scale;)
            next++;
        hl_cpu()->quant_errors(k[i].grid.scale, w->b->n_cols, w->b->x + row * w->b->n_cols,
                               next - i, w->bounds + i, w->sums + i);
    }
    double *losses = w->losses + (w->per_channel ? row * w->n_entries : 0);
    for (int64_t i = begin; i < end; i++)
        losses[k[i].index] += (double)(float)w->sums[i];
}

static void add_rows(void *arg, int worker, int n_workers)
{
    const grid *w = arg;
    int64_t begin, end;
    hl_slice(w->n, 1, worker, n_workers, &begin, &end);
    for (int64_t r = 0; begin < end && r < w->b->n_rows; r++)
        add_row(w, r, begin, end);
}

static hl_status make_candidates(const hl_range_options *o, const hl_mse_space *s, grid *w)
{
    hl_status st = HL_OK;
    hl_quantizer q;
    HL_TRY(trial_init(&q, o));
    const int64_t first = w->n_entries - w->n;
    for (int64_t i = 0; i < w->n; i++) {
        HL_TRY(set_ends(&q, ends_at(o, s, first + i)));
        w->candidates[i] = (candidate){hl_quantizer_grid(&q, 0), first + i};
    }
    qsort(w->candidates, (size_t)w->n, sizeof *w->candidates, by_grid);
    for (int64_t i = 0; i < w->n; i++)
        w->bounds[i] = (hl_quant_bounds){w->candidates[i].grid.r_min, w->candidates[i].grid.r_max};
out:
    hl_quantizer_done(&q);
    return st;
}

/* The same on a device, from candidates as they come. */
static hl_status losses_there(const grid *w)
{
    hl_status st = HL_OK;
    hl_quant_grid *grids = hl_alloc((size_t)w->n * sizeof *grids);
    if (!grids)
        return HL_E_NOMEM;
    for (int64_t i = 0; i < w->n; i++)
        grids[i] = w->candidates[i].grid;
    const hl_range_rows rows = {w->b->n_rows, w->b->n_cols, w->b->x};
    HL_TRY(hl_range_gpu_losses(w->b->on, &rows, w->n, grids, w->sums));
    for (int64_t i = 0; i < w->n; i++)
        w->losses[w->candidates[i].index] = w->sums[i];
out:
    hl_free(grids);
    return st;
}

static hl_status grid_losses(const hl_range_options *o, const hl_mse_space *s, grid *w)
{
    hl_status st = HL_OK;
    const size_t each = sizeof *w->sums + sizeof *w->candidates + sizeof *w->bounds;
    char *memory = NULL;
    w->n = w->n_entries / (o->n_candidates + 1) * o->n_candidates; /* candidate 0 is none */
    memory = hl_alloc_zero((size_t)w->n, each);
    if (!memory)
        return HL_E_NOMEM;
    w->sums = (double *)(void *)memory;
    w->candidates = (candidate *)(void *)(w->sums + w->n);
    w->bounds = (hl_quant_bounds *)(void *)(w->candidates + w->n);
    HL_TRY(make_candidates(o, s, w));
    hl_team *team = w->b->team;
    if (w->b->on)
        st = losses_there(w);
    else if (team && w->n * w->b->n_rows * w->b->n_cols >= TEAM_WORTH)
        team->run(team, add_rows, w);
    else
        add_rows(w, 0, 1);
out:
    hl_free(memory);
    return st;
}

/* table += losses of the batch, and the first minimum of each channel */
static hl_status choose(hl_range_estimator *e, const hl_mse_space *s, const grid *w, double *table)
{
    const int64_t n_channels = e->o.quantizer.n_channels, none = w->n_entries - w->n;
    for (int64_t c = 0; c < n_channels; c++) {
        const double *losses = w->losses + c * w->n_entries;
        double *sums = table + c * w->n_entries;
        int64_t best = none;
        for (int64_t i = 0; i < w->n_entries; i++) {
            sums[i] = i < none ? (double)INFINITY : sums[i] + (double)(float)losses[i];
            best = sums[i] < sums[best] ? i : best;
        }
        if (!isfinite(sums[best]))
            return hl_err_set(HL_E_NUMERIC, "the squares of the numbers overflow");
        const ends t = ends_at(&e->o, s, best);
        e->batch_lo[c] = (double)(float)t.lo;
        e->batch_hi[c] = (double)(float)t.hi;
    }
    return HL_OK;
}

static hl_status observe_grid(hl_range_estimator *e, const hl_range_batch *b, const hl_mse_space *s)
{
    hl_status st = HL_OK;
    double *table = NULL;
    grid w = {.b = b, .per_channel = e->o.quantizer.n_channels > 1};
    w.n_entries = hl_mse_entries(&e->o, s);
    const size_t n = (size_t)(e->o.quantizer.n_channels * w.n_entries);
    HL_TRY(hl_mse_table_new(&e->o, s, &table));
    if (e->table)
        memcpy(table, e->table, n * sizeof *table);
    HL_TRY(hl_mse_table_new(&e->o, s, &w.losses));
    HL_TRY(grid_losses(&e->o, s, &w));
    HL_TRY(choose(e, s, &w, table));
    hl_free(e->table);
    e->table = table;
    table = NULL;
out:
    hl_free(w.losses);
    hl_free(table);
    return st;
}

/* --- golden section --- */

typedef struct search {
    const hl_range_options *o;
    const hl_mse_space *space;
    const hl_range_batch *b;
    int64_t row_begin, row_end;
    int64_t per_row;  /* pieces */
    double *partial;  /* [rows][per_row] */
    hl_quantizer q;   /* of the range being tried */
    double reach;     /* of which the best shift is sought */
    hl_status failed; /* of set_range */
} search;

static void add_pieces(void *arg, int worker, int n_workers)
{
    const search *w = arg;
    const hl_quant_grid g = hl_quantizer_grid(&w->q, 0);
    const hl_quant_bounds bounds = {g.r_min, g.r_max};
    const int64_t n_cols = w->b->n_cols;
    int64_t begin, end;
    hl_slice((w->row_end - w->row_begin) * w->per_row, 1, worker, n_workers, &begin, &end);
    for (int64_t p = begin; p < end; p++) {
        const int64_t row = w->row_begin + p / w->per_row, col = p % w->per_row * PIECE;
        const int64_t n = n_cols - col < PIECE ? n_cols - col : PIECE;
        w->partial[p] = 0;
        hl_cpu()->quant_errors(g.scale, n, w->b->x + row * n_cols + col, 1, &bounds,
                               w->partial + p);
    }
}

static float loss_of(search *w, ends t)
{
    const int64_t n_rows = w->row_end - w->row_begin;
    const hl_status st = set_ends(&w->q, t);
    w->failed = st != HL_OK ? st : w->failed;
    if (w->failed != HL_OK)
        return 0;
    const hl_range_rows rows = {n_rows, w->b->n_cols, w->b->x + w->row_begin * w->b->n_cols};
    if (w->b->on)
        w->failed = hl_range_gpu_errors(w->b->on, &rows, PIECE, hl_quantizer_grid(&w->q, 0),
                                        w->partial);
    else if (w->b->team && n_rows * w->b->n_cols >= TEAM_WORTH)
        w->b->team->run(w->b->team, add_pieces, w);
    else
        add_pieces(w, 0, 1);
    double loss = 0;
    for (int64_t r = 0; r < n_rows; r++) {
        double row = 0;
        for (int64_t p = 0; p < w->per_row; p++)
            row += w->partial[r * w->per_row + p];
        loss += (double)(float)row;
    }
    return (float)loss;
}

static float loss_of_reach(void *arg, double r)
{
    search *w = arg;
    return loss_of(w, (ends){w->space->one_sided ? 0 : -r, r});
}

static float loss_of_shift(void *arg, double o)
{
    search *w = arg;
    return loss_of(w, (ends){-w->reach + o, w->reach + o});
}

static float best_shift(search *w, double r, double *o)
{
    const double most = (double)skews(w->o) * 2 * r / (double)((1 << w->o->quantizer.bits) - 1);
    float loss;
    w->reach = r;
    hl_brent_minimum(loss_of_shift, w, -most, most, o, &loss);
    return loss;
}

static float loss_of_best_shift(void *arg, double r)
{
    double o;
    return best_shift(arg, r, &o);
}

static ends search_rows(search *w)
{
    const bool skewed = is_2d(w->o, w->space);
    double r, o = 0;
    float loss;
    hl_brent_minimum(skewed ? loss_of_best_shift : loss_of_reach, w, 0.01 * w->space->reach,
                     w->space->reach, &r, &loss);
    if (skewed)
        (void)best_shift(w, r, &o);
    if (w->failed == HL_OK && !isfinite(loss))
        w->failed = hl_err_set(HL_E_NUMERIC, "the squares of the numbers overflow");
    return (ends){w->space->one_sided ? 0 : -r + o, r + o};
}

static hl_status observe_golden(hl_range_estimator *e, const hl_range_batch *b,
                                const hl_mse_space *s)
{
    hl_status st = HL_OK;
    const int64_t n_channels = e->o.quantizer.n_channels, n_rows = b->n_rows / n_channels;
    search w = {.o = &e->o, .space = s, .b = b, .per_row = (b->n_cols + PIECE - 1) / PIECE};
    HL_TRY(trial_init(&w.q, &e->o));
    w.partial = hl_alloc_zero((size_t)n_rows, (size_t)w.per_row * sizeof *w.partial);
    if (!w.partial) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (int64_t c = 0; c < n_channels; c++) {
        w.row_begin = c * n_rows;
        w.row_end = w.row_begin + n_rows;
        const ends t = search_rows(&w);
        HL_TRY(w.failed);
        e->batch_lo[c] = (double)(float)t.lo;
        e->batch_hi[c] = (double)(float)t.hi;
    }
out:
    hl_free(w.partial);
    hl_quantizer_done(&w.q);
    return st;
}

hl_status hl_mse_observe(hl_range_estimator *e, const hl_range_batch *b)
{
    hl_status st = HL_OK;
    hl_mse_space space;
    HL_TRY(space_of(e, b, &space));
    HL_TRY(e->o.method == HL_RANGE_MSE_GRID ? observe_grid(e, b, &space)
                                            : observe_golden(e, b, &space));
    e->space = space;
out:
    return st;
}
