/* The data of an experiment as its driver sees it: batches of named buffers, whatever they hold. A
 * source opens feeds, one for training and one for evaluation; feed_text.c, feed_images.c and
 * feed_series.c are those there are. */
#ifndef HL_EXP_FEED_H
#define HL_EXP_FEED_H

#include "data/hl_data.h"

#define HL_FEED_ARRAYS 4

typedef struct hl_feed_batch {
    const void *data[HL_FEED_ARRAYS]; /* buffers, in the order of hl_source.array */
    int64_t n_rows;     /* rows of each buffer: the batch size that its program is recorded for */
    int64_t n_real;     /* rows that count; fewer where a text's evaluation is filled up */
    int64_t n_items;    /* tokens or samples of these */
    int64_t n_labelled; /* that the loss is a mean over */
    hl_position next;   /* where a feed must start to continue after this batch */
    int64_t wait_ns;    /* how long it was waited for */
    const void *of;     /* the feed's own */
} hl_feed_batch;

/* Belongs to one thread. Training goes on without end; an evaluation is one pass, in order. What a
 * batch holds depends on the source's parameters and its position alone. */
typedef struct hl_feed {
    void *self; /* NULL: not open */
    /* out->n_rows is 0 at the end of an evaluation. Buffers are borrowed until given back. */
    hl_status (*next)(void *self, hl_feed_batch *out);
    void (*give_back)(void *self, const hl_feed_batch *b);
    hl_status (*seek)(void *self, hl_position to);
    void (*close)(void *self);
    int64_t n_rows; /* of training: taken in an epoch; 0: not known */
    bool
        carries; /* a batch goes on with the next epoch's rows; else an epoch begins with a batch */
} hl_feed;

typedef struct hl_source {
    void *self;        /* NULL: none */
    const char *label; /* "MNIST train" */
    bool is_generated;
    const char *array[HL_FEED_ARRAYS + 1]; /* names of the buffers, as the model's inputs */
    const char *items, *unit;              /* what is counted: "tokens", "tok" */
    int64_t n_items[HL_PART_TEST + 1];     /* 0: there is no such part */
    uint64_t hash;                         /* of the data: a resumed run compares it */
    bool is_text;                          /* losses mean perplexity and bits per byte */
    double bytes_per_item;                 /* of a text's evaluation part */
    const hl_tok *tok;                     /* what a text's "ids" mean, the source's own; or NULL */
    const hl_series *series;               /* what is forecast; NULL: this is no series */
    hl_status (*plan)(const void *self, hl_part part, int64_t *mem_bytes);
    hl_status (*open)(const void *self, hl_part part, hl_position start, hl_feed *out);
    void (*free)(void *self);
} hl_source;

typedef struct hl_text_params {
    hl_corpus *corpus; /* shared */
    hl_objective objective;
    int64_t batch_size, eval_batch_size, seq_len;
    double mask_prob;
    uint64_t seed;
} hl_text_params;
/* Blocks of a text: "ids" and "labels", i32 {B, T}. */
HL_MUST_CHECK hl_status hl_source_text(const hl_text_params *p, hl_source *out);

typedef struct hl_images_params {
    hl_images *part[HL_PART_COUNT]; /* shared */
    int64_t batch_size, eval_batch_size;
    uint64_t seed;
    bool fp64;   /* buffers of doubles, as programs of that precision read them */
    bool scaled; /* by mean and std of the channels, as hl_image_look_init does */
    double mean[HL_IMAGE_CHANNELS_MAX], std[HL_IMAGE_CHANNELS_MAX];
    bool flip;    /* of training images, and: */
    int64_t crop; /* see hl_image_look */
} hl_images_params;
/* Images: "x" {B, channels * height * width} and "y" {B, classes}, floats as hl_images_gather gives
 * them. A training epoch is a permutation of its own, its last incomplete batch left out; the last
 * batch of an evaluation has as many rows as are left. Errors: SHAPE (fewer images than a batch),
 * ARG (a deviation that is not above 0, a crop as large as the images). */
HL_MUST_CHECK hl_status hl_source_images(const hl_images_params *p, hl_source *out);

typedef struct hl_window_params {
    hl_series *series; /* shared */
    int64_t batch_size, eval_batch_size;
    uint64_t seed;
    bool fp64;
    bool drop_rest; /* a training epoch ends with its last whole batch; false: with a smaller one */
} hl_window_params;
/* Windows of a series: "x" {B, in_len, C}, "y" {B, out_len, C} and, where values may be missing,
 * "seen" {B, out_len, C}, as hl_series_gather gives them. A training epoch is a permutation of its
 * own; evaluations are in order, with as many rows in the last batch as are left. Errors: SHAPE (no
 * whole batch, and the rest is dropped). */
HL_MUST_CHECK hl_status hl_source_series(const hl_window_params *p, hl_source *out);

void hl_source_done(hl_source *s);
void hl_feed_close(hl_feed *f);

#endif
