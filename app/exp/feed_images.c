/* Labelled images as a source. Batches are gathered when they are asked for: some microseconds,
 * less than handing them over from another thread would cost. */
#include "app/exp/feed.h"

#include <math.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"

typedef struct images_feed {
    const hl_images_params *p; /* the source's, which outlives its feeds */
    hl_images *images;
    bool is_train;
    int64_t batch_size, n_pixels, n_classes;
    hl_position at;
    int64_t order_epoch; /* -1: none yet */
    hl_image_look look;
    void *block; /* of all that follows */
    size_t block_bytes;
    uint32_t *order; /* training: images of that epoch */
    int64_t *numbers;
    float *x, *y;
    double *wide_x, *wide_y; /* fp64 */
} images_feed;

/* ---- feed ------------------------------------------------------------------------------------ */

static void widen(double *to, const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = (double)from[i];
}

static hl_position after(const images_feed *f, int64_t n_rows)
{
    const hl_position p = {f->at.epoch, f->at.index + n_rows};
    const bool is_over = p.index + f->batch_size > hl_images_get_info(f->images)->n;
    return f->is_train && is_over ? (hl_position){p.epoch + 1, 0} : p;
}

static hl_status images_next(void *self, hl_feed_batch *out)
{
    images_feed *f = self;
    const int64_t start = hl_clock_mono_ns(), n = hl_images_get_info(f->images)->n;
    const int64_t rows = f->at.index + f->batch_size > n ? n - f->at.index : f->batch_size;
    *out = (hl_feed_batch){.next = f->at};
    if (rows == 0)
        return HL_OK;
    if (f->order && f->order_epoch != f->at.epoch) {
        hl_images_shuffle(f->images, f->p->seed, f->at.epoch, f->order);
        f->order_epoch = f->at.epoch;
    }
    for (int64_t i = 0; i < rows; i++)
        f->numbers[i] = f->order ? f->order[f->at.index + i] : f->at.index + i;
    f->look.epoch = f->at.epoch;
    hl_status st = hl_images_gather(f->images, &f->look, f->numbers, rows, f->x, f->y);
    if (st != HL_OK)
        return st;
    if (f->wide_x) {
        widen(f->wide_x, f->x, rows * f->n_pixels);
        widen(f->wide_y, f->y, rows * f->n_classes);
    }
    f->at = after(f, rows);
    *out = (hl_feed_batch){
        .data = {f->wide_x ? (void *)f->wide_x : f->x, f->wide_y ? (void *)f->wide_y : f->y},
        .n_rows = rows,
        .n_real = rows,
        .n_items = rows,
        .n_labelled = rows,
        .next = f->at,
        .wait_ns = hl_clock_mono_ns() - start};
    return HL_OK;
}

static void images_give_back(void *self, const hl_feed_batch *b)
{
    (void)self, (void)b;
}

static hl_status images_seek(void *self, hl_position to)
{
    images_feed *f = self;
    const int64_t n = hl_images_get_info(f->images)->n, last = f->is_train ? n - f->batch_size : n;
    if (to.epoch < 0 || to.epoch > (f->is_train ? UINT32_MAX : 0) || to.index < 0 ||
        to.index > last)
        return hl_err_set(HL_E_ARG,
                          "position (epoch %lld, image %lld) is out of range: there are %lld "
                          "images; is it of another set or batch_size?",
                          (long long)to.epoch, (long long)to.index, (long long)n);
    f->at = to;
    return HL_OK;
}

static void images_close(void *self)
{
    images_feed *f = self;
    hl_images_unref(f->images);
    hl_block_free(f->block, f->block_bytes);
    hl_free(f);
}

/* ---- source ---------------------------------------------------------------------------------- */

static int64_t batch_of(const hl_images_params *p, hl_part part)
{
    return part == HL_PART_TRAIN ? p->batch_size : p->eval_batch_size;
}

/* Programs read aligned buffers. */
static size_t place(size_t *used, int64_t n, size_t each)
{
    const size_t at = *used;
    *used += hl_align64((size_t)n * each);
    return at;
}

/* Fills in the feed's buffers, as offsets from a base that may be NULL; returns their bytes. */
static size_t place_buffers(images_feed *f, unsigned char *base)
{
    size_t used = 0;
    const int64_t b = f->batch_size, n_x = b * f->n_pixels, n_y = b * f->n_classes;
    const size_t at_order = place(&used, f->is_train ? hl_images_get_info(f->images)->n : 0, 4);
    const size_t at_numbers = place(&used, b, sizeof *f->numbers);
    const size_t at_x = place(&used, n_x, sizeof *f->x), at_y = place(&used, n_y, sizeof *f->y);
    const size_t wide = f->p->fp64 ? sizeof(double) : 0;
    const size_t at_wide_x = place(&used, n_x, wide), at_wide_y = place(&used, n_y, wide);
    if (!base)
        return used;
    f->order = f->is_train ? (void *)(base + at_order) : NULL;
    f->numbers = (void *)(base + at_numbers);
    f->x = (void *)(base + at_x);
    f->y = (void *)(base + at_y);
    f->wide_x = wide ? (void *)(base + at_wide_x) : NULL;
    f->wide_y = wide ? (void *)(base + at_wide_y) : NULL;
    return used;
}

static images_feed feed_of(const hl_images_params *p, hl_part part)
{
    const hl_images_info *i = hl_images_get_info(p->part[part]);
    return (images_feed){.p = p,
                         .images = p->part[part],
                         .is_train = part == HL_PART_TRAIN,
                         .batch_size = batch_of(p, part),
                         .n_pixels = i->n_channels * i->height * i->width,
                         .n_classes = i->n_classes,
                         .order_epoch = -1};
}

static hl_status images_plan(const void *self, hl_part part, int64_t *mem_bytes)
{
    images_feed f = feed_of(self, part);
    *mem_bytes = (int64_t)place_buffers(&f, NULL);
    return HL_OK;
}

static hl_status images_open(const void *self, hl_part part, hl_position start, hl_feed *out)
{
    hl_status st = HL_OK;
    images_feed *f = hl_alloc_zero(1, sizeof *f);
    if (!f)
        return HL_E_NOMEM;
    *f = feed_of(self, part);
    hl_images_ref(f->images);
    hl_image_look_init(&f->look, f->p->scaled ? f->p->mean : NULL, f->p->scaled ? f->p->std : NULL);
    if (f->is_train) {
        f->look.flip = f->p->flip;
        f->look.crop = f->p->crop;
        f->look.seed = f->p->seed;
    }
    f->block_bytes = place_buffers(f, NULL);
    f->block = hl_block_new(f->block_bytes);
    if (!f->block) {
        st = HL_E_NOMEM;
        goto out;
    }
    (void)place_buffers(f, f->block);
    HL_TRY(images_seek(f, start));
    const int64_t n = hl_images_get_info(f->images)->n; /* whole batches */
    *out = (hl_feed){f,           images_next,  images_give_back,
                     images_seek, images_close, n / f->batch_size * f->batch_size,
                     false};
    f = NULL;
out:
    if (f)
        images_close(f);
    return st;
}

static void images_free(void *self)
{
    hl_images_params *p = self;
    for (int part = 0; part < HL_PART_COUNT; part++)
        hl_images_unref(p->part[part]);
    hl_free(p);
}

static hl_status check_batch(const hl_images_params *p, hl_part part)
{
    const hl_images_info *i = hl_images_get_info(p->part[part]);
    const int64_t batch = batch_of(p, part);
    if (batch >= 1 && batch <= i->n)
        return HL_OK;
    return hl_err_set(HL_E_SHAPE, "%s: a batch of %lld images needs as many, there are %lld",
                      i->label, (long long)batch, (long long)i->n);
}

static hl_status check_look(const hl_images_params *p)
{
    const hl_images_info *i = hl_images_get_info(p->part[HL_PART_TRAIN]);
    for (int c = 0; p->scaled && c < i->n_channels; c++)
        if (!(p->std[c] > 0) || !isfinite(p->std[c]) || !isfinite(p->mean[c]))
            return hl_err_set(HL_E_ARG,
                              "images less %g, divided by %g, are no finite numbers; the deviation "
                              "must be above 0",
                              p->mean[c], p->std[c]);
    if (p->crop < 0 || p->crop >= i->height || p->crop >= i->width)
        return hl_err_set(HL_E_ARG,
                          "a border of %lld pixels is out of range; images of %lld x %lld",
                          (long long)p->crop, (long long)i->height, (long long)i->width);
    return HL_OK;
}

hl_status hl_source_images(const hl_images_params *p, hl_source *out)
{
    hl_status st = check_batch(p, HL_PART_TRAIN);
    if (st == HL_OK)
        st = check_batch(p, HL_PART_EVAL);
    if (st == HL_OK)
        st = check_look(p);
    if (st != HL_OK)
        return st;
    hl_images_params *mine = hl_alloc(sizeof *mine);
    if (!mine)
        return HL_E_NOMEM;
    *mine = *p;
    for (int part = 0; part < HL_PART_COUNT; part++)
        hl_images_ref(mine->part[part]);
    const hl_images_info *train = hl_images_get_info(p->part[HL_PART_TRAIN]);
    const hl_images_info *eval = hl_images_get_info(p->part[HL_PART_EVAL]);
    const uint64_t both[2] = {train->hash, eval->hash};
    *out = (hl_source){
        .self = mine,
        .label = train->label,
        .is_generated = train->is_generated,
        .array = {"x", "y"},
        .items = "samples",
        .unit = "img",
        .n_items = {train->n, eval->n},
        .hash = hl_hash_bytes(HL_HASH_START, both, sizeof both),
        .plan = images_plan,
        .open = images_open,
        .free = images_free,
    };
    return HL_OK;
}
