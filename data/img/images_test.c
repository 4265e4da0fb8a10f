#include <math.h>
#include <sys/stat.h>

#include "data/img/img_test.h"

/* A directory of this process, removed by test_dir_done. */
static const char *test_dir(void)
{
    static char path[256];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/hoplab-data-test-%ld.d", tmp ? tmp : "/tmp", (long)getpid());
    HL_IGNORE(hl_fs_remove_tree(path));
    cr_assert_eq(hl_fs_make_dir(path), HL_OK, "%s", hl_err_message());
    return path;
}

static void put(const char *dir, const char *name, const bytes *b)
{
    char *path = hl_fs_join(dir, name);
    cr_assert_eq(hl_fs_write_atomic(path, b->at, b->n), HL_OK, "%s", hl_err_message());
    hl_free(path);
}

static bytes images_of(uint32_t n)
{
    const uint32_t dim[] = {n, 3, 2};
    return idx_of(3, dim, 7);
}

static bytes labels_of(uint32_t n)
{
    bytes b = idx_of(1, &n, 1);
    for (uint32_t i = 0; i < n; i++)
        b.at[8 + i] = (uint8_t)(i % 10);
    return b;
}

static hl_images *open_of(const char *dir, const char *set, hl_part part)
{
    hl_images *s = NULL;
    cr_assert_eq(hl_images_open(dir, set, part, &s), HL_OK, "%s", hl_err_message());
    return s;
}

Test(images, names)
{
    static const char *const name[][3] = {
        {"mnist", "train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
        {"mnist", "train-images.idx3-ubyte", "train-labels.idx1-ubyte"},
        {"mnist", "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"},
        {"mnist", "train-images.idx3-ubyte.gz", "train-labels.idx1-ubyte.gz"},
        {"emnist-mnist", "emnist-mnist-train-images-idx3-ubyte",
         "emnist-mnist-train-labels-idx1-ubyte.gz"},
        {"emnist-digits", "emnist-digits-train-images-idx3-ubyte.gz",
         "emnist-digits-train-labels-idx1-ubyte"}};
    const bytes images = images_of(4), labels = labels_of(4), packed = gzip_of(images.at, images.n);
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        const char *dir = test_dir();
        put(dir, name[i][1], i % 2 ? &packed : &images); /* what is inside decides, not ".gz" */
        put(dir, name[i][2], &labels);
        hl_images *s = open_of(dir, name[i][0], HL_PART_TRAIN);
        const hl_images_info *info = hl_images_get_info(s);
        cr_assert(info->n == 4 && info->height == 3 && info->width == 2 && info->n_classes == 10);
        cr_assert_eq(info->is_transposed, name[i][0][0] == 'e');
        cr_assert(!info->is_generated && info->mem_bytes == 28);
        cr_assert_arr_eq(hl_images_pixels(s), images.at + 16, 24);
        cr_assert_arr_eq(hl_images_labels(s), labels.at + 8, 4);
        hl_images_unref(s);
        cr_assert_eq(hl_images_open(dir, name[i][0], HL_PART_EVAL, &s), HL_E_NOTFOUND);
        cr_assert_eq(hl_images_open(dir, NULL, HL_PART_TRAIN, &s), HL_E_NOTFOUND);
        HL_IGNORE(hl_fs_remove_tree(dir));
    }
}

/* Without a name: a whole set, EMNIST first; both parts come from the same one. */
Test(images, choice_of_the_set)
{
    const char *dir = test_dir();
    const bytes images = images_of(4), labels = labels_of(4);
    put(dir, "train-images-idx3-ubyte", &images);
    put(dir, "train-labels-idx1-ubyte", &labels);
    put(dir, "t10k-images-idx3-ubyte", &images);
    put(dir, "t10k-labels-idx1-ubyte", &labels);
    put(dir, "emnist-mnist-train-images-idx3-ubyte", &images);
    put(dir, "emnist-mnist-train-labels-idx1-ubyte", &labels);
    hl_images *s = open_of(dir, NULL, HL_PART_TRAIN);
    cr_assert_str_eq(hl_images_get_info(s)->label, "MNIST train");
    hl_images_unref(s);
    put(dir, "emnist-mnist-test-images-idx3-ubyte", &images);
    put(dir, "emnist-mnist-test-labels-idx1-ubyte", &labels);
    s = open_of(dir, NULL, HL_PART_EVAL);
    cr_assert_str_eq(hl_images_get_info(s)->label, "EMNIST mnist test");
    hl_images_unref(s);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

static void refuse(const char *dir, const char *set, hl_status code, const char *text)
{
    hl_images *s = NULL;
    cr_assert_eq(hl_images_open(dir, set, HL_PART_TRAIN, &s), code, "%s", hl_err_message());
    cr_assert(strstr(hl_err_message(), text), "'%s' not in: %s", text, hl_err_message());
    cr_assert_null(s);
}

Test(images, refused)
{
    const char *dir = test_dir();
    bytes images = images_of(4), labels = labels_of(5);
    refuse("/tmp/hoplab-no-such-dir", NULL, HL_E_NOTFOUND, "(no such directory)");
    refuse("/tmp/hoplab-no-such-dir", "mnist", HL_E_NOTFOUND, "(no such directory)");
    refuse("", NULL, HL_E_ARG, "empty");
    refuse(dir, "cifar", HL_E_ARG, "no set of images is called 'cifar'");
    refuse(dir, "mnist", HL_E_NOTFOUND, "no MNIST train in");
    char *as_dir = hl_fs_join(dir, "train-images-idx3-ubyte"); /* some archives unpack so */
    cr_assert_eq(hl_fs_make_dir(as_dir), HL_OK);
    put(dir, "train-labels-idx1-ubyte", &labels);
    refuse(dir, "mnist", HL_E_NOTFOUND, "looked for train-images-idx3-ubyte");
    put(dir, "train-images.idx3-ubyte", &images);
    refuse(dir, "mnist", HL_E_FORMAT, "has 5 labels; 4 were expected, one for each image of");
    labels = labels_of(4);
    labels.at[10] = 10;
    put(dir, "train-labels-idx1-ubyte", &labels);
    refuse(dir, "mnist", HL_E_FORMAT, "label 2 is 10; 0 .. 9 was expected");
    put(dir, "train-labels-idx1-ubyte", &images);
    refuse(dir, "mnist", HL_E_FORMAT, "rank 3; 1 was expected");
    hl_free(as_dir);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

Test(images, any_two_files)
{
    const char *dir = test_dir();
    bytes images = images_of(4), labels = labels_of(4);
    labels.at[9] = 26;
    put(dir, "emnist-letters-images", &images);
    put(dir, "labels", &labels);
    char *a = hl_fs_join(dir, "emnist-letters-images"), *b = hl_fs_join(dir, "labels");
    hl_images *s = NULL;
    cr_assert_eq(hl_images_open_files(a, b, 26, &s), HL_E_FORMAT);
    cr_assert_eq(hl_images_open_files(a, b, 0, &s), HL_E_ARG);
    cr_assert_eq(hl_images_open_files(a, b, 257, &s), HL_E_ARG);
    cr_assert_eq(hl_images_open_files(a, NULL, 27, &s), HL_E_ARG);
    cr_assert_eq(hl_images_open_files(a, b, 27, &s), HL_OK, "%s", hl_err_message());
    cr_assert_str_eq(hl_images_get_info(s)->label, "emnist-letters-images");
    cr_assert(hl_images_get_info(s)->is_transposed);
    /* rows 0 7 | 14 21 | 28 35 as stored are columns of what people see */
    const uint8_t seen[] = {0, 14, 28, 7, 21, 35};
    uint8_t out[6];
    cr_assert_eq(hl_images_upright(s, 0, out), HL_OK);
    cr_assert_arr_eq(out, seen, 6);
    cr_assert_eq(hl_images_upright(s, 4, out), HL_E_ARG);
    hl_images_unref(s);
    HL_IGNORE(hl_fs_remove_tree(dir));
    hl_free(a);
    hl_free(b);
}

Test(images, batches)
{
    const char *dir = test_dir();
    bytes images = images_of(43), labels = labels_of(43); /* 258 pixels: every value */
    for (size_t i = 0; i < 258; i++)
        images.at[16 + i] = (uint8_t)i;
    put(dir, "t10k-images-idx3-ubyte", &images);
    put(dir, "t10k-labels-idx1-ubyte", &labels);
    hl_images *s = open_of(dir, "mnist", HL_PART_EVAL);
    int64_t numbers[43], wrong[] = {0, 43}, minus[] = {-1};
    float x[43 * 6], y[43 * 10];
    for (int i = 0; i < 43; i++)
        numbers[i] = 42 - i;
    numbers[42] = 42; /* the first twice */
    const int64_t n_alloc = hl_mem_get_stats().n_alloc;
    cr_assert_eq(hl_images_gather(s, NULL, numbers, 43, x, y), HL_OK);
    cr_assert_eq(hl_mem_get_stats().n_alloc, n_alloc);
    for (int b = 0; b < 43; b++) {
        for (int i = 0; i < 6; i++) {
            const uint8_t pixel = (uint8_t)(numbers[b] * 6 + i);
            cr_assert_eq(x[b * 6 + i], (float)(pixel / 255.0), "pixel %d", pixel);
        }
        for (int c = 0; c < 10; c++)
            cr_assert_eq(y[b * 10 + c], c == numbers[b] % 10 ? 1.0f : 0.0f);
    }
    x[0] = y[0] = 9;
    cr_assert_eq(hl_images_gather(s, NULL, wrong, 2, x, y), HL_E_ARG);
    cr_assert(strstr(hl_err_message(), "image 43 is out of range; there are 43"));
    cr_assert_eq(hl_images_gather(s, NULL, minus, 1, x, y), HL_E_ARG);
    cr_assert_eq(hl_images_gather(s, NULL, wrong, 1, NULL, NULL), HL_OK);
    cr_assert_eq(hl_images_gather(s, NULL, wrong, 0, x, y), HL_OK);
    cr_assert(x[0] == 9 && y[0] == 9);
    cr_assert_eq(hl_images_gather(s, NULL, numbers, 1, x, NULL), HL_OK);
    cr_assert(x[0] == 252 / 255.0f && y[0] == 9);
    cr_assert_eq(hl_images_ref(s), s);
    hl_images_unref(s);
    hl_images_unref(s);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

Test(images, allocations_that_fail)
{
    const char *dir = test_dir();
    const bytes images = images_of(4), labels = labels_of(4);
    static const char *const part[] = {"train", "t10k"};
    for (int i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s-images-idx3-ubyte.gz", part[i]);
        put(dir, name, &images);
        snprintf(name, sizeof name, "%s-labels-idx1-ubyte.gz", part[i]);
        put(dir, name, &labels);
    }
    const int64_t live = hl_mem_get_stats().live_bytes;
    int n_failed = 0;
    for (int i = 0; i < 200; i++) {
        hl_images *s = NULL;
        hl_mem_fail_after(i);
        hl_status st = hl_images_open(dir, NULL, HL_PART_TRAIN, &s);
        hl_mem_fail_after(-1);
        cr_assert(st == HL_OK || st == HL_E_NOMEM, "%s", hl_err_message());
        n_failed += st != HL_OK;
        hl_images_unref(s);
        cr_assert_eq(hl_mem_get_stats().live_bytes, live, "allocation %d leaks", i);
    }
    cr_assert(n_failed >= 6 && n_failed < 200, "%d", n_failed);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

/* ---- the real thing -------------------------------------------------------------------------- */

static void check_real(const char *dir, hl_part part, int64_t n, const int *histogram,
                       const uint8_t *first)
{
    hl_images *s = open_of(dir, "mnist", part);
    const hl_images_info *info = hl_images_get_info(s);
    cr_assert(info->n == n && info->height == 28 && info->width == 28 && !info->is_transposed);
    int count[10] = {0};
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++)
        count[hl_images_labels(s)[i]]++;
    for (int64_t i = 0; i < n * 784; i++) {
        double v = hl_images_pixels(s)[i] / 255.0;
        sum += v;
        squares += v * v;
    }
    const double mean = sum / (double)(n * 784),
                 deviation = sqrt(squares / (double)(n * 784) - mean * mean);
    cr_assert_arr_eq(count, histogram, sizeof count);
    cr_assert_arr_eq(hl_images_labels(s), first, 5);
    fprintf(stderr, "# %s: mean %.6f, deviation %.6f\n", info->label, mean, deviation);
    if (part == HL_PART_TRAIN) { /* the two numbers of every MNIST example program */
        cr_assert_float_eq(mean, 0.1307, 5e-5);
        cr_assert_float_eq(deviation, 0.3081, 5e-5);
    }
    hl_images_unref(s);
}

Test(images, real_mnist)
{
    const char *dir = find_data("mnist");
    if (!dir) {
        fprintf(stderr,
                "# real_mnist skipped: no mnist folder in $HOPLAB_DATA or ../shared/data\n");
        cr_skip_test("no MNIST here");
    }
    const int train[] = {5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949};
    const int test[] = {980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009};
    check_real(dir, HL_PART_TRAIN, 60000, train, (const uint8_t[]){5, 0, 4, 1, 9});
    check_real(dir, HL_PART_EVAL, 10000, test, (const uint8_t[]){7, 2, 1, 0, 4});
}
