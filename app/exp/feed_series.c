/* Windows of a time series as a source. They are gathered when they are asked for: a copy of some
 * stretches of memory costs less than handing batches over from another thread. */
#include "app/exp/feed.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"

enum { X, Y, SEEN, N_ARRAYS };

typedef struct series_feed {
    const hl_window_params *p; /* the source's, which outlives its feeds */
    hl_series *series;
    bool is_train;
    hl_series_part part;
    int64_t batch_size, n_windows, n_each[N_ARRAYS]; /* numbers of a window; 0: none */
    hl_position at;
    int64_t order_epoch; /* -1: none yet */
    void *block;         /* of all that follows */
    size_t block_bytes;
    uint32_t *order; /* training: windows of that epoch */
    int64_t *numbers;
    float *narrow[N_ARRAYS];
    double *wide[N_ARRAYS]; /* fp64 */
} series_feed;

/* ---- feed ------------------------------------------------------------------------------------ */

static hl_position after(const series_feed *f, int64_t n_rows)
{
    const hl_position p = {f->at.epoch, f->at.index + n_rows};
    const int64_t least = f->p->drop_rest ? f->batch_size : 1;
    return f->is_train && p.index + least > f->n_windows ? (hl_position){p.epoch + 1, 0} : p;
}

static hl_status gather(series_feed *f, int64_t rows)
{
    if (f->order && f->order_epoch != f->at.epoch) {
        hl_series_shuffle(f->series, f->p->seed, f->at.epoch, f->order);
        f->order_epoch = f->at.epoch;
    }
    for (int64_t i = 0; i < rows; i++)
        f->numbers[i] = f->order ? f->order[f->at.index + i] : f->at.index + i;
    const hl_series_batch to = {f->narrow[X], f->narrow[Y],
                                f->n_each[SEEN] ? f->narrow[SEEN] : NULL};
    hl_status st = hl_series_gather(f->series, f->part, f->numbers, rows, &to);
    for (int k = 0; st == HL_OK && f->p->fp64 && k < N_ARRAYS; k++)
        for (int64_t i = 0; i < rows * f->n_each[k]; i++)
            f->wide[k][i] = (double)f->narrow[k][i];
    return st;
}

static int64_t n_seen(const series_feed *f, int64_t rows)
{
    if (!f->n_each[SEEN])
        return rows * f->n_each[Y];
    int64_t n = 0;
    for (int64_t i = 0; i < rows * f->n_each[Y]; i++)
        n += f->narrow[SEEN][i] != 0;
    return n;
}

static hl_status series_next(void *self, hl_feed_batch *out)
{
    series_feed *f = self;
    const int64_t start = hl_clock_mono_ns(), left = f->n_windows - f->at.index;
    const int64_t rows = left < f->batch_size ? left : f->batch_size;
    *out = (hl_feed_batch){.next = f->at};
    if (rows == 0)
        return HL_OK;
    hl_status st = gather(f, rows);
    if (st != HL_OK)
        return st;
    f->at = after(f, rows);
    *out = (hl_feed_batch){.n_rows = rows,
                           .n_real = rows,
                           .n_items = rows,
                           .n_labelled = n_seen(f, rows),
                           .next = f->at,
                           .wait_ns = hl_clock_mono_ns() - start};
    for (int k = 0; k < N_ARRAYS; k++)
        out->data[k] = !f->n_each[k] ? NULL : f->p->fp64 ? (void *)f->wide[k] : f->narrow[k];
    return HL_OK;
}

static void series_give_back(void *self, const hl_feed_batch *b)
{
    (void)self, (void)b;
}

static hl_status series_seek(void *self, hl_position to)
{
    series_feed *f = self;
    const int64_t least = !f->is_train ? 0 : f->p->drop_rest ? f->batch_size : 1;
    if (to.epoch < 0 || to.epoch > (f->is_train ? UINT32_MAX : 0) || to.index < 0 ||
        to.index > f->n_windows - least)
        return hl_err_set(HL_E_ARG,
                          "position (epoch %lld, window %lld) is out of range: there are %lld "
                          "windows; is it of another series or batch_size?",
                          (long long)to.epoch, (long long)to.index, (long long)f->n_windows);
    f->at = to;
    return HL_OK;
}

static void series_close(void *self)
{
    series_feed *f = self;
    hl_series_unref(f->series);
    hl_block_free(f->block, f->block_bytes);
    hl_free(f);
}

/* ---- source ---------------------------------------------------------------------------------- */

/* Programs read aligned buffers. base NULL: only counts. */
static void *place(unsigned char *base, size_t *used, int64_t n, size_t each)
{
    const size_t at = *used;
    *used += hl_align64((size_t)n * each);
    return base && n > 0 ? base + at : NULL;
}

/* Fills in the feed's buffers from base, which may be NULL; returns their bytes. */
static size_t place_buffers(series_feed *f, unsigned char *base)
{
    size_t used = 0;
    f->order = place(base, &used, f->is_train ? f->n_windows : 0, sizeof *f->order);
    f->numbers = place(base, &used, f->batch_size, sizeof *f->numbers);
    for (int k = 0; k < N_ARRAYS; k++) {
        const int64_t n = f->batch_size * f->n_each[k];
        f->narrow[k] = place(base, &used, n, sizeof *f->narrow[k]);
        f->wide[k] = place(base, &used, f->p->fp64 ? n : 0, sizeof *f->wide[k]);
    }
    return used;
}

static series_feed feed_of(const hl_window_params *p, hl_part part)
{
    const hl_series_facts *i = hl_series_get_facts(p->series);
    const bool is_train = part == HL_PART_TRAIN;
    const int64_t n_y = i->out_len * i->n_channels;
    return (series_feed){.p = p,
                         .series = p->series,
                         .is_train = is_train,
                         .part = (hl_series_part)part,
                         .batch_size = is_train ? p->batch_size : p->eval_batch_size,
                         .n_windows = i->part[part].n_windows,
                         .n_each = {i->in_len * i->n_channels, n_y, i->masks ? n_y : 0},
                         .order_epoch = -1};
}

static hl_status series_plan(const void *self, hl_part part, int64_t *mem_bytes)
{
    series_feed f = feed_of(self, part);
    *mem_bytes = (int64_t)place_buffers(&f, NULL);
    return HL_OK;
}

static hl_status series_open(const void *self, hl_part part, hl_position start, hl_feed *out)
{
    hl_status st = HL_OK;
    series_feed *f = hl_alloc_zero(1, sizeof *f);
    if (!f)
        return HL_E_NOMEM;
    *f = feed_of(self, part);
    hl_series_ref(f->series);
    f->block_bytes = place_buffers(f, NULL);
    f->block = hl_block_new(f->block_bytes);
    if (!f->block) {
        st = HL_E_NOMEM;
        goto out;
    }
    (void)place_buffers(f, f->block);
    HL_TRY(series_seek(f, start));
    const int64_t whole = f->n_windows / f->batch_size * f->batch_size;
    *out = (hl_feed){f,           series_next,  series_give_back,
                     series_seek, series_close, f->p->drop_rest ? whole : f->n_windows,
                     false};
    f = NULL;
out:
    if (f)
        series_close(f);
    return st;
}

static void series_free(void *self)
{
    hl_series_unref(((hl_window_params *)self)->series);
    hl_free(self);
}

hl_status hl_source_series(const hl_window_params *p, hl_source *out)
{
    const hl_series_facts *i = hl_series_get_facts(p->series);
    const int64_t n = i->part[HL_SERIES_TRAIN].n_windows;
    if (p->batch_size < 1 || p->eval_batch_size < 1 || (p->drop_rest && p->batch_size > n))
        return hl_err_set(HL_E_SHAPE, "%s: a batch of %lld windows needs as many, there are %lld",
                          i->label, (long long)p->batch_size, (long long)n);
    hl_window_params *mine = hl_alloc(sizeof *mine);
    if (!mine)
        return HL_E_NOMEM;
    *mine = *p;
    hl_series_ref(mine->series);
    *out = (hl_source){
        .self = mine,
        .label = i->label,
        .is_generated = i->is_generated,
        .array = {"x", "y", i->masks ? "seen" : NULL},
        .items = "windows",
        .unit = "win",
        .n_items = {n, i->part[HL_SERIES_VAL].n_windows, i->part[HL_SERIES_TEST].n_windows},
        .hash = i->hash,
        .series = p->series,
        .plan = series_plan,
        .open = series_open,
        .free = series_free,
    };
    return HL_OK;
}
