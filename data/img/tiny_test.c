/* Tiny ImageNet's folders, their JPEGs made by libjpeg here. */
#include <stdio.h>

#include "data/img/img_test.h"
#include "data/img/tiny.h"
#include "engine/base/mem.h"

#ifdef HOPLAB_JPEG
#include <jpeglib.h>
#endif

static const char *tiny_dir(void)
{
    static char path[256];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/hoplab-tiny-test-%ld.d", tmp ? tmp : "/tmp", (long)getpid());
    HL_IGNORE(hl_fs_remove_tree(path));
    cr_assert_eq(hl_fs_make_dir(path), HL_OK, "%s", hl_err_message());
    return path;
}

static void put(const char *dir, const char *name, const void *from, size_t n)
{
    char *path = hl_fs_join(dir, name), *folder = hl_fs_parent(path);
    cr_assert_eq(hl_fs_make_dir(folder), HL_OK);
    cr_assert_eq(hl_fs_write_atomic(path, from, n), HL_OK, "%s", hl_err_message());
    hl_free(folder);
    hl_free(path);
}

static void put_text(const char *dir, const char *name, const char *text)
{
    put(dir, name, text, strlen(text));
}

static void refuse(const char *dir, hl_part part, hl_status code, const char *text)
{
    hl_images *s = NULL;
    cr_assert_eq(hl_images_open(dir, "tiny-imagenet", part, &s), code, "%s", hl_err_message());
    cr_assert(strstr(hl_err_message(), text), "'%s' not in: %s", text, hl_err_message());
    cr_assert_null(s);
}

#ifdef HOPLAB_JPEG
typedef struct jpeg {
    unsigned char *at; /* libjpeg's */
    unsigned long n;
} jpeg;

/* Left half of one colour, right half black; grey where colour is NULL */
static jpeg jpeg_of(unsigned side, const uint8_t *colour)
{
    struct jpeg_compress_struct j;
    struct jpeg_error_mgr errors;
    jpeg out = {0};
    const size_t n = colour ? 3 : 1;
    uint8_t row[3 * 256] = {0};
    for (size_t x = 0; x < side / 2; x++)
        for (size_t c = 0; c < n; c++)
            row[x * n + c] = colour ? colour[c] : 100;
    j.err = jpeg_std_error(&errors);
    jpeg_create_compress(&j);
    jpeg_mem_dest(&j, &out.at, &out.n);
    j.image_width = j.image_height = side;
    j.input_components = (int)n;
    j.in_color_space = colour ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_set_defaults(&j);
    jpeg_set_quality(&j, 100, TRUE);
    jpeg_start_compress(&j, TRUE);
    for (unsigned y = 0; y < side; y++)
        jpeg_write_scanlines(&j, (JSAMPROW[]){row}, 1);
    jpeg_finish_compress(&j);
    jpeg_destroy_compress(&j);
    return out;
}

static void put_jpeg(const char *dir, const char *name, unsigned side, const uint8_t *colour)
{
    jpeg j = jpeg_of(side, colour);
    put(dir, name, j.at, j.n);
    free(j.at);
}

static void put_set(const char *dir)
{
    const uint8_t red[3] = {200, 10, 20}, green[3] = {30, 180, 40};
    put_text(dir, "wnids.txt", "n02\nn01\n");
    put_jpeg(dir, "train/n02/images/n02_0.JPEG", 64, red);
    put_jpeg(dir, "train/n02/images/n02_1.JPEG", 64, NULL);
    put_text(dir, "train/n02/n02_boxes.txt", "n02_0.JPEG\t0\t0\t9\t9\n");
    put_jpeg(dir, "train/n01/images/n01_0.JPEG", 64, green);
    put_jpeg(dir, "val/images/val_0.JPEG", 64, green);
    put_jpeg(dir, "val/images/val_1.JPEG", 64, red);
    put_text(dir, "val/val_annotations.txt",
             "val_1.JPEG\tn02\t0\t0\t9\t9\r\nval_0.JPEG\tn01\t0\t0\t9\t9\r\n");
}

/* Planes of image i are `colour` in the left half and black in the right one. */
static void check_image(const hl_images *s, int64_t i, int label, const uint8_t *colour)
{
    const uint8_t *p = hl_images_pixels(s) + i * 3 * 64 * 64;
    cr_assert_eq(hl_images_labels(s)[i], label);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < 64; y += 9)
            for (int x = 4; x < 64; x += 11) { /* colours are stored at half of the resolution */
                const int want = x < 30 ? colour[c] : 0, got = p[(c * 64 + y) * 64 + x];
                cr_assert(x > 24 && x < 40 ? true : abs(got - want) <= 4, "%d %d %d: %d, not %d", c,
                          y, x, got, want);
            }
}

Test(tiny, folders_are_read)
{
    const uint8_t red[3] = {200, 10, 20}, green[3] = {30, 180, 40}, grey[3] = {100, 100, 100};
    const char *dir = tiny_dir();
    char *folder = hl_fs_join(dir, HL_TINY_FOLDER);
    put_set(folder);
    hl_images *s = NULL;
    cr_assert_eq(hl_images_open(dir, "tiny-imagenet", HL_PART_TRAIN, &s), HL_OK, "%s",
                 hl_err_message());
    const hl_images_info *info = hl_images_get_info(s);
    cr_assert(info->n == 3 && info->n_channels == 3 && info->height == 64 && info->width == 64);
    cr_assert_eq(info->n_classes, 2);
    cr_assert_str_eq(info->label, "Tiny ImageNet train");
    check_image(s, 0, 0, red);
    check_image(s, 1, 0, grey);
    check_image(s, 2, 1, green);
    hl_images_unref(s);
    cr_assert_eq(hl_images_open(folder, NULL, HL_PART_EVAL, &s), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_images_get_info(s)->n, 2);
    check_image(s, 0, 0, red);
    check_image(s, 1, 1, green);
    hl_images_unref(s);
    hl_free(folder);
    HL_IGNORE(hl_fs_remove_tree(dir));
}

Test(tiny, damage_is_refused)
{
    const uint8_t red[3] = {200, 10, 20};
    const char *dir = tiny_dir();
    refuse(dir, HL_PART_TRAIN, HL_E_NOTFOUND, "looked for wnids.txt, train and val");
    put_set(dir);
    put_jpeg(dir, "train/n01/images/n01_0.JPEG", 32, red);
    refuse(dir, HL_PART_TRAIN, HL_E_FORMAT, "n01_0.JPEG' is 32 x 32 pixels; 64 x 64 were expected");
    put_text(dir, "train/n01/images/n01_0.JPEG", "GIF89a");
    refuse(dir, HL_PART_TRAIN, HL_E_FORMAT, "n01_0.JPEG' is no whole JPEG image");
    jpeg j = jpeg_of(64, red);
    for (unsigned long n = 0; n + 2 < j.n; n += 41) { /* the last two end the file */
        put(dir, "train/n01/images/n01_0.JPEG", j.at, n);
        refuse(dir, HL_PART_TRAIN, HL_E_FORMAT, "n01_0.JPEG' is no whole JPEG image");
    }
    free(j.at);
    static const struct {
        const char *file, *text, *message;
        hl_part part;
    } damage[] = {
        {"val/val_annotations.txt", "val_0.JPEG\tn03\n", "entry 1: wnids.txt has no class 'n03'",
         HL_PART_EVAL},
        {"val/val_annotations.txt", "val_0.JPEG\n", "entry 1: a name of a file, a tab",
         HL_PART_EVAL},
        {"val/val_annotations.txt", "../x\tn01\n", "entry 1: a name of a file, a tab",
         HL_PART_EVAL},
        {"val/val_annotations.txt", "\n", "holds no images", HL_PART_EVAL},
        {"wnids.txt", "n01\n", "names 1 classes; 2 to 256", HL_PART_TRAIN},
        {"wnids.txt", "n01\n../n02\n", "'../n02' is no name of a class", HL_PART_TRAIN},
    };
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        put_text(dir, damage[i].file, damage[i].text);
        refuse(dir, damage[i].part, HL_E_FORMAT, damage[i].message);
    }
    put_text(dir, "wnids.txt", "n01\nn09\n");
    refuse(dir, HL_PART_TRAIN, HL_E_NOTFOUND, "train/n09/images");
    HL_IGNORE(hl_fs_remove_tree(dir));
}
#else
Test(tiny, a_build_without_libjpeg_says_so)
{
    const char *dir = tiny_dir();
    put_text(dir, "wnids.txt", "n02\nn01\n");
    put_text(dir, "train/n02/images/n02_0.JPEG", "GIF89a");
    put_text(dir, "train/n01/images/n01_0.JPEG", "GIF89a");
    put_text(dir, "val/val_annotations.txt", "");
    refuse(dir, HL_PART_TRAIN, HL_E_UNSUPPORTED, "this build has no libjpeg");
    HL_IGNORE(hl_fs_remove_tree(dir));
}
#endif
