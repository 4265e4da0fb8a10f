#include "data/img/cifar.h"
#include "data/img/img_test.h"

#define N_PIXELS 3072

/* A directory of this process. */
static const char *test_dir(void)
{
    static char path[256];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/hoplab-cifar-test-%ld.d", tmp ? tmp : "/tmp", (long)getpid());
    HL_IGNORE(hl_fs_remove_tree(path));
    cr_assert_eq(hl_fs_make_dir(path), HL_OK, "%s", hl_err_message());
    return path;
}

/* n records with labels `first`, first + 1, … and pixels that tell record and place; `more` bytes
 * behind them (or fewer, below 0). */
static void put(const char *dir, const char *name, int n_labels, int n, int first, int more)
{
    const size_t record = (size_t)n_labels + N_PIXELS, size = record * (size_t)n;
    uint8_t *at = hl_alloc_zero(size + 64, 1);
    for (int i = 0; i < n; i++) {
        uint8_t *r = at + (size_t)i * record;
        r[n_labels - 1] = (uint8_t)(first + i);
        for (int p = 0; p < N_PIXELS; p++)
            r[n_labels + p] = (uint8_t)(p + 5 * (first + i));
    }
    char *path = hl_fs_join(dir, name);
    cr_assert_eq(hl_fs_write_atomic(path, at, (size_t)((int64_t)size + more)), HL_OK);
    hl_free(path);
    hl_free(at);
}

static void put_cifar_10(const char *dir)
{
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i + 1);
        put(dir, name, 1, 2, 2 * i, 0);
    }
    put(dir, "test_batch.bin", 1, 3, 4, 0);
}

static hl_images *open_of(const char *dir, const char *set, hl_part part)
{
    hl_images *s = NULL;
    cr_assert_eq(hl_images_open(dir, set, part, &s), HL_OK, "%s", hl_err_message());
    return s;
}

static void check_set(hl_images *s, int64_t n, int64_t n_classes, int first)
{
    const hl_images_info *info = hl_images_get_info(s);
    cr_assert(info->n == n && info->n_channels == 3 && info->height == 32 && info->width == 32);
    cr_assert(info->n_classes == n_classes && info->mem_bytes == n * (N_PIXELS + 1));
    cr_assert(!info->is_generated && !info->is_transposed);
    for (int64_t i = 0; i < n; i++) {
        cr_assert_eq(hl_images_labels(s)[i], first + i);
        for (int p = 0; p < N_PIXELS; p++)
            cr_assert_eq(hl_images_pixels(s)[i * N_PIXELS + p], (uint8_t)(p + 5 * (first + i)));
    }
    hl_images_unref(s);
}

Test(cifar, files_are_read_in_order)
{
    const char *dir = test_dir();
    put_cifar_10(dir);
    check_set(open_of(dir, "cifar-10", HL_PART_TRAIN), 10, 10, 0);
    check_set(open_of(dir, NULL, HL_PART_EVAL), 3, 10, 4);
    char *sub = hl_fs_join(dir, "cifar-100-binary");
    cr_assert_eq(hl_fs_make_dir(sub), HL_OK);
    put(sub, "train.bin", 2, 4, 96, 0);
    put(sub, "test.bin", 2, 1, 50, 0);
    hl_images *s = open_of(dir, "cifar-100", HL_PART_TRAIN);
    cr_assert_str_eq(hl_images_get_info(s)->label, "CIFAR-100 train");
    check_set(s, 4, 100, 96);
    check_set(open_of(sub, NULL, HL_PART_EVAL), 1, 100, 50);
    hl_free(sub);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

static void refuse(const char *dir, const char *set, hl_status code, const char *text)
{
    hl_images *s = NULL;
    cr_assert_eq(hl_images_open(dir, set, HL_PART_TRAIN, &s), code, "%s", hl_err_message());
    cr_assert(strstr(hl_err_message(), text), "'%s' not in: %s", text, hl_err_message());
    cr_assert_null(s);
}

Test(cifar, refused)
{
    const char *dir = test_dir();
    refuse(dir, "cifar-10", HL_E_NOTFOUND, "looked for data_batch_1.bin and the others");
    refuse(dir, "cifar-100", HL_E_NOTFOUND, "its folder cifar-100-binary: looked for train.bin");
    put_cifar_10(dir);
    put(dir, "data_batch_4.bin", 1, 2, 0, -1);
    refuse(dir, "cifar-10", HL_E_FORMAT, "data_batch_4.bin' has 6145 bytes; a multiple of 3073");
    put(dir, "data_batch_4.bin", 1, 2, 0, 60);
    refuse(dir, "cifar-10", HL_E_FORMAT, "6206 bytes");
    put(dir, "data_batch_4.bin", 1, 0, 0, 0);
    refuse(dir, "cifar-10", HL_E_FORMAT, "has 0 bytes");
    put(dir, "data_batch_4.bin", 1, 2, 9, 0);
    refuse(dir, "cifar-10", HL_E_FORMAT, "label 1 of image 1 is 10; 0 .. 9 was expected");
    const bytes packed = gzip_of("packed", 6);
    char *path = hl_fs_join(dir, "data_batch_4.bin");
    cr_assert_eq(hl_fs_write_atomic(path, packed.at, packed.n), HL_OK);
    refuse(dir, "cifar-10", HL_E_FORMAT, "packed with gzip");
    hl_free(path);
    put(dir, "train.bin", 2, 1, 100, 0);
    put(dir, "test.bin", 2, 1, 0, 0);
    refuse(dir, "cifar-100", HL_E_FORMAT, "label 2 of image 0 is 100; 0 .. 99 was expected");
    path = hl_fs_join(dir, "train.bin");
    uint8_t *record = hl_alloc_zero(3074, 1);
    record[0] = 20;
    cr_assert_eq(hl_fs_write_atomic(path, record, 3074), HL_OK);
    refuse(dir, "cifar-100", HL_E_FORMAT, "label 1 of image 0 is 20; 0 .. 19 was expected");
    hl_free(record);
    hl_free(path);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

Test(cifar, allocations_that_fail)
{
    const char *dir = test_dir();
    put_cifar_10(dir);
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
    cr_assert(n_failed >= 15 && n_failed < 200, "%d", n_failed);
    HL_IGNORE(hl_fs_remove_tree(dir));
}
