/* Learning rates per step and per epoch, the latter against reference numbers. */
#include "engine/optim/schedule.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/ckpt/safetensors.h"

Test(schedule, per_epoch_follows_the_reference)
{
    static const double peaks[] = {0.01, 0.005};
    char path[512], name[40];
    hl_safetensors *f;
    snprintf(path, sizeof path, "%s/tests/golden/deq/madam.safetensors", getenv("HOPLAB_SOURCE"));
    cr_assert_eq(hl_safetensors_open(path, &f), HL_OK, "%s", hl_err_message());
    for (int p = 0; p < 2; p++) {
        const hl_schedule s = {
            .kind = HL_SCHEDULE_LINEAR, .total = 9, .final_fraction = 0.1, .per_epoch = true};
        snprintf(name, sizeof name, "lr_schedule.%g", peaks[p]);
        const hl_tensor_entry *want = hl_safetensors_find(f, name);
        cr_assert(want && hl_type_count(&want->type) == 12, "%s", name);
        for (int e = 0; e < 12; e++)
            cr_expect_float_eq(hl_schedule_lr(&s, peaks[p], e), ((const float *)want->data)[e],
                               1e-7 * peaks[p], "epoch %d", e);
        cr_expect_eq(hl_schedule_lr(&s, peaks[p], 9), hl_schedule_lr(&s, peaks[p], 1000));
    }
    hl_safetensors_close(f);
}

/* Every curve ends at the final share and stays there; per step the bits are those of before. */
Test(schedule, per_epoch_ends_where_it_is_told)
{
    for (int kind = HL_SCHEDULE_LINEAR; kind <= HL_SCHEDULE_COSINE_WITH_RESTARTS; kind++) {
        const hl_schedule s = {.kind = (hl_schedule_kind)kind,
                               .warmup = 2,
                               .total = 7,
                               .final_fraction = 0.25,
                               .per_epoch = true};
        cr_expect_eq(hl_schedule_lr(&s, 1, 0), 0);
        cr_expect_eq(hl_schedule_lr(&s, 1, 1), 0.5);
        cr_expect_eq(hl_schedule_lr(&s, 1, 2), 1);
        cr_expect_float_eq(hl_schedule_lr(&s, 1, 7), 0.25, 1e-12);
        cr_expect_float_eq(hl_schedule_lr(&s, 1, 50), 0.25, 1e-12);
    }
    const hl_schedule one = {.kind = HL_SCHEDULE_LINEAR, .total = 1, .per_epoch = true};
    cr_expect_eq(hl_schedule_lr(&one, 1, 0), 1);
    const hl_schedule step = {.kind = HL_SCHEDULE_LINEAR, .warmup = 10, .total = 110};
    cr_expect_eq(hl_schedule_lr(&step, 2, 5), 1);
    cr_expect_eq(hl_schedule_lr(&step, 2, 60), 1);
    cr_expect_eq(hl_schedule_lr(&step, 2, 200), 0);
}

/* Epochs count from 0 here, from 1 in the recipes: 1 and 2 at the peak, 3 and 4 at half of it. */
Test(schedule, halved_with_the_epochs)
{
    const hl_schedule two = {.kind = HL_SCHEDULE_TYPE1, .total = 3, .per_epoch = true},
                      five = {.kind = HL_SCHEDULE_TYPE2, .total = 3, .per_epoch = true};
    for (int e = 0; e < 40; e++) {
        cr_expect_eq(hl_schedule_lr(&two, 1e-4, e), 1e-4 / (1 << (e / 2 < 5 ? e / 2 : 5)));
        cr_expect_eq(hl_schedule_lr(&five, 1e-4, e), 1e-4 / (1 << (e / 5 < 5 ? e / 5 : 5)));
    }
}

/* The published ViT schedule (spec: language-models 11), and the same overlap per step. */
Test(schedule, a_curve_under_its_warmup)
{
    const double pi = 3.141592653589793, peak = 1e-3, low = 1e-5, from = 1e-6;
    const hl_schedule s = {.kind = HL_SCHEDULE_COSINE,
                           .warmup = 10,
                           .total = 150,
                           .final_fraction = low / peak,
                           .warmup_from = from / peak,
                           .overlaps = true,
                           .per_epoch = true};
    for (int e = 0; e < 160; e++) {
        const double curve = low + (peak - low) * (1 + cos(pi * fmin(e, 150) / 150)) / 2;
        const double want = e < 10 ? from + e * (peak - from) / 10 : curve;
        cr_expect_float_eq(hl_schedule_lr(&s, peak, e), want, 1e-15, "epoch %d", e);
    }
    const hl_schedule step = {.kind = HL_SCHEDULE_LINEAR,
                              .warmup = 10,
                              .total = 100,
                              .warmup_from = 0.5,
                              .overlaps = true};
    cr_expect_eq(hl_schedule_lr(&step, 2, 0), 1);
    cr_expect_float_eq(hl_schedule_lr(&step, 2, 5), 1.5, 1e-15);
    cr_expect_float_eq(hl_schedule_lr(&step, 2, 10), 1.8, 1e-15);
    cr_expect_float_eq(hl_schedule_lr(&step, 2, 60), 0.8, 1e-15);
}
