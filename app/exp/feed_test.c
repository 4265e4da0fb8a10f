/* Images as a source: orders, ends of epochs and evaluations, continuing, both precisions. */
#include "app/exp/feed.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "engine/base/err.h"

enum { N_TRAIN = 50, N_EVAL = 20, N_PIXELS = 28 * 28 };

static hl_source open_params(hl_images_params p)
{
    hl_source s;
    cr_assert_eq(hl_images_generate(1, HL_PART_TRAIN, N_TRAIN, &p.part[0]), HL_OK);
    cr_assert_eq(hl_images_generate(1, HL_PART_EVAL, N_EVAL, &p.part[1]), HL_OK);
    cr_assert_eq(hl_source_images(&p, &s), HL_OK, "%s", hl_err_message());
    hl_images_unref(p.part[0]); /* the source has its own */
    hl_images_unref(p.part[1]);
    return s;
}

static hl_source open_source(int64_t batch, int64_t eval_batch, uint64_t seed, bool fp64)
{
    return open_params((hl_images_params){
        .batch_size = batch, .eval_batch_size = eval_batch, .seed = seed, .fp64 = fp64});
}

static hl_feed open_feed(const hl_source *s, hl_part part, hl_position start)
{
    hl_feed f;
    int64_t bytes = 0;
    cr_assert_eq(s->plan(s->self, part, &bytes), HL_OK);
    cr_assert_gt(bytes, 0);
    cr_assert_eq(s->open(s->self, part, start, &f), HL_OK, "%s", hl_err_message());
    return f;
}

/* A number that tells one batch from another. */
static double sum_of(const hl_feed_batch *b)
{
    double sum = 0;
    const float *x = b->data[0];
    for (int64_t i = 0; i < b->n_rows * N_PIXELS; i++)
        sum += (double)x[i] * (double)(i % 1009);
    return sum;
}

static void check_continuing(hl_source s)
{
    enum { BATCHES = 12 };
    hl_feed f = open_feed(&s, HL_PART_TRAIN, (hl_position){0, 0}), g;
    hl_position at[BATCHES + 1] = {{0, 0}};
    double sum[BATCHES];
    hl_feed_batch b;
    for (int i = 0; i < BATCHES; i++) {
        cr_assert_eq(f.next(f.self, &b), HL_OK);
        cr_assert(b.n_rows == 16 && b.n_real == 16 && b.n_items == 16 && b.n_labelled == 16);
        at[i + 1] = b.next;
        sum[i] = sum_of(&b);
        f.give_back(f.self, &b);
        /* 50 images are three batches; two images are left out */
        cr_assert(b.next.epoch == (i + 1) / 3 && b.next.index == (i + 1) % 3 * 16);
        for (int k = 0; k < i; k++)
            cr_assert_neq(sum[k], sum[i], "batches %d and %d", k, i);
    }
    for (int i = 0; i < BATCHES; i++) {
        g = open_feed(&s, HL_PART_TRAIN, at[i]);
        cr_assert_eq(g.next(g.self, &b), HL_OK);
        cr_assert_eq(sum_of(&b), sum[i]);
        hl_feed_close(&g);
        cr_assert_eq(f.seek(f.self, at[i]), HL_OK);
        cr_assert_eq(f.next(f.self, &b), HL_OK);
        cr_assert_eq(sum_of(&b), sum[i]);
    }
    const hl_position wrong[] = {{-1, 0}, {0, -1}, {0, 35}, {0, 50}};
    for (int i = 0; i < 4; i++)
        cr_assert_eq(f.seek(f.self, wrong[i]), HL_E_ARG);
    hl_feed_close(&f);
    hl_source_done(&s);
}

Test(images_feed, training_goes_on_from_any_position)
{
    check_continuing(open_source(16, 8, 5, false));
    check_continuing(open_params((hl_images_params){
        .batch_size = 16, .eval_batch_size = 8, .seed = 5, .flip = true, .crop = 3}));
}

/* The same rows, scaled; in training moved as well. */
Test(images_feed, images_are_scaled_and_moved)
{
    const hl_images_params plain = {.batch_size = 16, .eval_batch_size = 8, .seed = 5};
    hl_images_params p = plain;
    p.scaled = p.flip = true;
    p.mean[0] = 0.5;
    p.std[0] = 0.25;
    p.crop = 2;
    for (int part = 0; part < HL_PART_COUNT; part++) {
        hl_source s = open_params(plain), t = open_params(p);
        hl_feed f = open_feed(&s, (hl_part)part, (hl_position){0, 0});
        hl_feed g = open_feed(&t, (hl_part)part, (hl_position){0, 0});
        hl_feed_batch a, b;
        cr_assert_eq(f.next(f.self, &a), HL_OK);
        cr_assert_eq(g.next(g.self, &b), HL_OK);
        int n_other = 0;
        for (int64_t i = 0; i < a.n_rows * N_PIXELS; i++) {
            const double x = (double)((const float *)a.data[0])[i],
                         y = (double)((const float *)b.data[0])[i];
            n_other += fabs((x - 0.5) / 0.25 - y) > 1e-5;
        }
        cr_assert_eq(n_other > 0, part == HL_PART_TRAIN, "%d", n_other);
        cr_assert_eq(memcmp(a.data[1], b.data[1], (size_t)a.n_rows * 40), 0);
        hl_feed_close(&f);
        hl_feed_close(&g);
        hl_source_done(&s);
        hl_source_done(&t);
    }
}

Test(images_feed, an_order_is_a_permutation_of_seed_and_epoch)
{
    hl_images *images;
    uint32_t a[N_TRAIN], b[N_TRAIN];
    cr_assert_eq(hl_images_generate(1, HL_PART_TRAIN, N_TRAIN, &images), HL_OK);
    hl_images_shuffle(images, 5, 2, a);
    hl_images_shuffle(images, 5, 2, b);
    cr_assert_eq(memcmp(a, b, sizeof a), 0);
    hl_images_shuffle(images, 5, 3, b);
    cr_assert_neq(memcmp(a, b, sizeof a), 0);
    hl_images_shuffle(images, 6, 2, b);
    cr_assert_neq(memcmp(a, b, sizeof a), 0);
    bool seen[N_TRAIN] = {0};
    for (int i = 0; i < N_TRAIN; i++) {
        cr_assert(a[i] < N_TRAIN && !seen[a[i]]);
        seen[a[i]] = true;
    }
    hl_images_unref(images);
}

Test(images_feed, an_evaluation_ends_with_what_is_left)
{
    hl_source s = open_source(16, 8, 5, false);
    hl_feed f = open_feed(&s, HL_PART_EVAL, (hl_position){0, 0});
    hl_feed_batch b;
    for (int pass = 0; pass < 2; pass++) {
        static const int64_t rows[] = {8, 8, 4, 0, 0};
        cr_assert_eq(f.seek(f.self, (hl_position){0, 0}), HL_OK);
        for (int i = 0; i < 5; i++) {
            cr_assert_eq(f.next(f.self, &b), HL_OK);
            cr_assert(b.n_rows == rows[i] && b.n_real == rows[i]);
            const float *y = b.data[1];
            for (int64_t r = 0; r < b.n_rows; r++) { /* each ten in a row hold every digit once */
                float sum = 0;
                for (int c = 0; c < 10; c++)
                    sum += y[r * 10 + c];
                cr_assert_eq(sum, 1.0F);
            }
        }
    }
    hl_feed_close(&f);
    hl_source_done(&s);
}

Test(images_feed, doubles_hold_the_same_numbers)
{
    hl_source s = open_source(16, 8, 5, false), t = open_source(16, 8, 5, true);
    hl_feed f = open_feed(&s, HL_PART_TRAIN, (hl_position){1, 16});
    hl_feed g = open_feed(&t, HL_PART_TRAIN, (hl_position){1, 16});
    hl_feed_batch a, b;
    cr_assert_eq(f.next(f.self, &a), HL_OK);
    cr_assert_eq(g.next(g.self, &b), HL_OK);
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < 16 * (k ? 10 : N_PIXELS); i++)
            cr_assert_eq((double)((const float *)a.data[k])[i], ((const double *)b.data[k])[i]);
    for (int k = 0; k < 2; k++)
        cr_assert_eq((uintptr_t)a.data[k] % 64 + (uintptr_t)b.data[k] % 64, 0);
    hl_feed_close(&f);
    hl_feed_close(&g);
    hl_source_done(&s);
    hl_source_done(&t);
}

Test(images_feed, a_batch_that_is_too_large)
{
    hl_source s = {0};
    hl_images_params p = {.batch_size = N_TRAIN + 1, .eval_batch_size = 1};
    cr_assert_eq(hl_images_generate(1, HL_PART_TRAIN, N_TRAIN, &p.part[0]), HL_OK);
    cr_assert_eq(hl_images_generate(1, HL_PART_EVAL, N_EVAL, &p.part[1]), HL_OK);
    cr_assert_eq(hl_source_images(&p, &s), HL_E_SHAPE);
    cr_assert(strstr(hl_err_message(), "51") && strstr(hl_err_message(), "50"));
    cr_assert_null(s.self);
    hl_images_unref(p.part[0]);
    hl_images_unref(p.part[1]);
}
