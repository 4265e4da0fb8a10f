#include "data/img/img_test.h"
#include "engine/base/clock.h"

#define N_TRAIN 2000
#define N_TEST  500
#define SIZE    784

static hl_images *make(uint64_t seed, hl_part part, int64_t n)
{
    hl_images *s = NULL;
    cr_assert_eq(hl_images_generate(seed, part, n, &s), HL_OK, "%s", hl_err_message());
    return s;
}

Test(digits, sizes)
{
    hl_images *s = NULL;
    cr_assert_eq(hl_images_generate(1, HL_PART_TRAIN, 0, &s), HL_E_ARG);
    cr_assert_eq(hl_images_generate(1, HL_PART_TRAIN, HL_DIGITS_MAX + 1, &s), HL_E_ARG);
    cr_assert_eq(hl_images_generate(1, HL_PART_COUNT, 1, &s), HL_E_ARG);
    for (int i = 0; i < 4; i++) {
        hl_mem_fail_after(i);
        cr_assert_eq(hl_images_generate(1, HL_PART_TRAIN, 3, &s), HL_E_NOMEM);
        cr_assert_eq(hl_mem_get_stats().live_bytes, 0);
    }
    hl_mem_fail_after(-1);
    s = make(1, HL_PART_TRAIN, 20);
    const hl_images_info *info = hl_images_get_info(s);
    cr_assert(info->is_generated && !info->is_transposed && info->n == 20 && info->n_classes == 10);
    cr_assert(info->height == 28 && info->width == 28);
    cr_assert_str_eq(info->label, "generated digits");
    hl_images_unref(s);
}

/* The same pixels on every machine and with every compiler. */
Test(digits, stored_hash)
{
    hl_images *s = make(1, HL_PART_TRAIN, 1000);
    cr_assert_eq(hl_images_get_info(s)->hash, UINT64_C(0x43f543d01cb01a90), "0x%016llx",
                 (unsigned long long)hl_images_get_info(s)->hash);
    hl_images_unref(s);
}

Test(digits, depend_on_seed_part_and_number)
{
    hl_images *a = make(7, HL_PART_TRAIN, 300), *b = make(7, HL_PART_TRAIN, 123);
    hl_images *test = make(7, HL_PART_EVAL, 300), *other = make(8, HL_PART_TRAIN, 300);
    cr_assert_arr_eq(hl_images_pixels(a), hl_images_pixels(b), 123 * SIZE);
    cr_assert_arr_eq(hl_images_labels(a), hl_images_labels(b), 123);
    for (int i = 0; i < 300; i++) {
        cr_assert_arr_neq(hl_images_pixels(a) + i * SIZE, hl_images_pixels(test) + i * SIZE, SIZE);
        cr_assert_arr_neq(hl_images_pixels(a) + i * SIZE, hl_images_pixels(other) + i * SIZE, SIZE);
    }
    cr_assert_arr_neq(hl_images_labels(a), hl_images_labels(test), 300);
    int seen[10] = {0};
    for (int i = 0; i < 300; i++) {
        seen[hl_images_labels(a)[i]]++;
        if (i % 10 == 9)
            for (int d = 0; d < 10; d++)
                cr_assert_eq(seen[d], i / 10 + 1);
    }
    hl_images_unref(a);
    hl_images_unref(b);
    hl_images_unref(test);
    hl_images_unref(other);
}

/* Ink in the middle, nearly none at the rim, brightness like MNIST's. */
Test(digits, look)
{
    hl_images *s = make(3, HL_PART_TRAIN, N_TRAIN);
    double all = 0, rim = 0;
    for (int64_t i = 0; i < N_TRAIN; i++) {
        int brightest = 0;
        for (int p = 0; p < SIZE; p++) {
            const int v = hl_images_pixels(s)[i * SIZE + p];
            const bool at_rim = p < 28 || p >= SIZE - 28 || p % 28 == 0 || p % 28 == 27;
            all += v;
            rim += at_rim ? v : 0;
            brightest = v > brightest ? v : brightest;
        }
        cr_assert_gt(brightest, 120);
    }
    all /= 255.0 * SIZE * N_TRAIN;
    rim /= 255.0 * 108 * N_TRAIN;
    fprintf(stderr, "# generated digits: mean %.4f, at the rim %.4f\n", all, rim);
    cr_assert(all > 0.08 && all < 0.20, "%f", all);
    cr_assert(rim < 0.02, "%f", rim);
    hl_images_unref(s);
}

/* ---- difficulty ------------------------------------------------------------------------------ */

static double distance(const float *a, const float *b)
{
    float sum = 0;
    for (int i = 0; i < SIZE; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return (double)sum;
}

/* Share of the test images whose nearest row has their label. */
static double nearest_accuracy(const float *row, const uint8_t *label, int n_rows, const float *x,
                               const uint8_t *truth)
{
    int n_right = 0;
    for (int i = 0; i < N_TEST; i++) {
        int best = 0;
        double least = 1e30;
        for (int k = 0; k < n_rows; k++) {
            double d = distance(row + (int64_t)k * SIZE, x + (int64_t)i * SIZE);
            if (d < least) {
                least = d;
                best = k;
            }
        }
        n_right += label[best] == truth[i];
    }
    return (double)n_right / N_TEST;
}

static float *floats_of(const hl_images *s)
{
    const int64_t n = hl_images_get_info(s)->n;
    int64_t *numbers = hl_alloc_zero((size_t)n, sizeof *numbers);
    float *x = hl_alloc_zero((size_t)n * SIZE, sizeof *x);
    for (int64_t i = 0; i < n; i++)
        numbers[i] = i;
    cr_assert_eq(hl_images_gather(s, NULL, numbers, n, x, NULL), HL_OK);
    hl_free(numbers);
    return x;
}

Test(digits, learnable_but_not_trivial)
{
    static const uint8_t digits[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    static float mean[10 * SIZE];
    hl_images *train = make(1, HL_PART_TRAIN, N_TRAIN), *test = make(1, HL_PART_EVAL, N_TEST);
    float *x = floats_of(train), *z = floats_of(test);
    const uint8_t *label = hl_images_labels(train), *truth = hl_images_labels(test);
    for (int i = 0; i < N_TRAIN; i++)
        for (int p = 0; p < SIZE; p++)
            mean[label[i] * SIZE + p] += x[i * SIZE + p] / (N_TRAIN / 10);
    const double by_mean = nearest_accuracy(mean, digits, 10, z, truth);
    const double by_neighbour = nearest_accuracy(x, label, N_TRAIN, z, truth);
    fprintf(stderr, "# generated digits: nearest class mean %.3f, nearest neighbour %.3f\n",
            by_mean, by_neighbour);
    cr_assert(by_mean > 0.65 && by_mean < 0.90, "%f", by_mean);
    cr_assert(by_neighbour > 0.85 && by_neighbour < 0.98, "%f", by_neighbour);
    cr_assert_gt(by_neighbour, by_mean);
    hl_free(x);
    hl_free(z);
    hl_images_unref(train);
    hl_images_unref(test);
}

Test(digits, speed)
{
    const int64_t since = hl_clock_mono_ns();
    hl_images *s = make(1, HL_PART_TRAIN, 10000);
    const double seconds = (double)(hl_clock_mono_ns() - since) * 1e-9;
    fprintf(stderr, "# generated digits: %.0f images/s\n", 10000 / seconds);
    hl_images_unref(s);
}
