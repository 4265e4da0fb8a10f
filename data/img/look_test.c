#include <math.h>

#include "data/img/images_internal.h"
#include "data/img/img_test.h"

/* n images of `channels` x 3 x 4 with pixels 1, 2, 3 … */
static hl_images *small_set(int64_t n, int64_t channels, bool is_transposed)
{
    const hl_images_info info = {.label = "small",
                                 .n = n,
                                 .n_channels = channels,
                                 .height = 3,
                                 .width = 4,
                                 .n_classes = 2,
                                 .is_transposed = is_transposed};
    const size_t n_pixels = (size_t)(n * channels * 12);
    uint8_t *pixels = hl_alloc(n_pixels), *labels = hl_alloc((size_t)n);
    cr_assert(pixels && labels);
    for (size_t i = 0; i < n_pixels; i++)
        pixels[i] = (uint8_t)(1 + i % 255);
    memset(labels, 1, (size_t)n);
    hl_images *s = NULL;
    cr_assert_eq(hl_images_from_owned(&info, pixels, labels, &s), HL_OK);
    return s;
}

static hl_image_look plain_look(void)
{
    hl_image_look k;
    hl_image_look_init(&k, NULL, NULL);
    return k;
}

Test(look, channels_are_scaled_each_by_its_own)
{
    const double mean[] = {0.5, 0.25, 0}, std[] = {0.5, 2, 1};
    hl_image_look k;
    hl_image_look_init(&k, mean, std);
    hl_images *s = small_set(2, 3, false);
    float x[36];
    const int64_t number = 1;
    cr_assert_eq(hl_images_gather(s, &k, &number, 1, x, NULL), HL_OK);
    for (int i = 0; i < 36; i++) {
        const double pixel = (37 + i) / 255.0;
        cr_assert_eq(x[i], (float)((pixel - mean[i / 12]) / std[i / 12]), "%d", i);
    }
    uint8_t seen[36];
    cr_assert_eq(hl_images_upright(s, 1, seen), HL_OK);
    cr_assert(seen[0] == 37 && seen[35] == 72);
    hl_images_unref(s);
}

/* Of 200 images about half are mirrored, each as a whole; another epoch mirrors others. */
Test(look, flips)
{
    for (int transposed = 0; transposed < 2; transposed++) {
        hl_images *s = small_set(200, 1, transposed);
        hl_image_look k = plain_look();
        k.flip = true;
        k.seed = 7;
        int n_flipped = 0, n_changed = 0;
        bool before[200] = {0};
        for (k.epoch = 0; k.epoch < 2; k.epoch++)
            for (int64_t i = 0; i < 200; i++) {
                float x[12], plain[12];
                cr_assert_eq(hl_images_gather(s, &k, &i, 1, x, NULL), HL_OK);
                cr_assert_eq(hl_images_gather(s, NULL, &i, 1, plain, NULL), HL_OK);
                const bool flipped = x[0] != plain[0];
                for (int r = 0; r < 3; r++)
                    for (int c = 0; c < 4; c++) {
                        const int row = flipped && transposed ? 2 - r : r,
                                  col = flipped && !transposed ? 3 - c : c;
                        cr_assert_eq(x[4 * r + c], plain[4 * row + col]);
                    }
                n_flipped += flipped;
                n_changed += k.epoch == 1 && flipped != before[i];
                before[i] = flipped;
            }
        cr_assert(n_flipped > 150 && n_flipped < 250, "%d of 400", n_flipped);
        cr_assert(n_changed > 70 && n_changed < 130, "%d of 200", n_changed);
        hl_images_unref(s);
    }
}

/* Every way of moving by -1 .. 1 occurs, what comes in is black, and a second look is the same. */
Test(look, crops)
{
    hl_images *s = small_set(300, 1, false);
    const double mean[] = {0.5, 0.5, 0.5}, std[] = {0.5, 0.5, 0.5};
    hl_image_look k;
    hl_image_look_init(&k, mean, std);
    k.crop = 1;
    int count[3][3] = {0};
    for (int64_t i = 0; i < 300; i++) {
        float x[12], again[12];
        cr_assert_eq(hl_images_gather(s, &k, &i, 1, x, NULL), HL_OK);
        cr_assert_eq(hl_images_gather(s, &k, &i, 1, again, NULL), HL_OK);
        cr_assert_arr_eq(x, again, sizeof x);
        int n_fits = 0;
        for (int down = -1; down <= 1; down++)
            for (int right = -1; right <= 1; right++) {
                bool fits = true;
                for (int p = 0; p < 12; p++) {
                    const int row = p / 4 + down, col = p % 4 + right;
                    const bool inside = row >= 0 && row < 3 && col >= 0 && col < 4;
                    const int at = (int)i * 12 + 4 * row + col;
                    fits = fits && x[p] == k.value[0][inside ? 1 + at % 255 : 0];
                }
                n_fits += fits;
                count[down + 1][right + 1] += fits;
            }
        cr_assert_eq(n_fits, 1, "image %d", (int)i);
    }
    for (int i = 0; i < 9; i++)
        cr_assert(count[i / 3][i % 3] > 15, "%d: %d", i, count[i / 3][i % 3]);
    hl_images_unref(s);
}
