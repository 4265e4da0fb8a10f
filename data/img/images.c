/* Labelled images: files found and held against each other, batches gathered. */
#include "data/img/images_internal.h"

#include <string.h>

#include "data/img/cifar.h"
#include "data/img/idx.h"
#include "data/img/tiny.h"
#include "engine/base/fs.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/base/thread.h"

#define N_DIGITS 10

enum { CHOOSING = 0x7fffffff }; /* in place of an epoch, which it is never */

struct hl_images {
    hl_images_info info;
    char *label;
    uint8_t *pixels, *labels;
    hl_image_look plain; /* pixel / 255 */
    hl_flag n_refs;
};

static int64_t pixels_of(const hl_images_info *info)
{
    return info->n_channels * info->height * info->width;
}

hl_status hl_images_from_owned(const hl_images_info *info, uint8_t *pixels, uint8_t *labels,
                               hl_images **out)
{
    hl_images *s = hl_alloc_zero(1, sizeof *s);
    if (!s) {
        hl_free(pixels);
        hl_free(labels);
        return HL_E_NOMEM;
    }
    hl_flag_set(&s->n_refs, 1);
    s->info = *info;
    s->pixels = pixels;
    s->labels = labels;
    s->label = hl_strdup(info->label);
    if (!s->label) {
        hl_images_unref(s);
        return HL_E_NOMEM;
    }
    hl_image_look_init(&s->plain, NULL, NULL);
    const int64_t n_pixels = info->n * pixels_of(info);
    const int64_t sizes[] = {info->n, info->n_channels * info->height, info->width,
                             info->n_classes};
    uint64_t h = hl_hash_bytes(HL_HASH_START, sizes, sizeof sizes);
    h = hl_hash_bytes(h, pixels, (size_t)n_pixels);
    s->info.hash = hl_hash_bytes(h, labels, (size_t)info->n);
    s->info.mem_bytes = n_pixels + info->n;
    s->info.label = s->label;
    *out = s;
    return HL_OK;
}

hl_images *hl_images_ref(hl_images *s)
{
    hl_flag_add(&s->n_refs, 1);
    return s;
}

void hl_images_unref(hl_images *s)
{
    if (!s || hl_flag_add(&s->n_refs, -1) > 0)
        return;
    hl_free(s->pixels);
    hl_free(s->labels);
    hl_free(s->label);
    hl_free(s);
}

const hl_images_info *hl_images_get_info(const hl_images *s)
{
    return &s->info;
}

const uint8_t *hl_images_pixels(const hl_images *s)
{
    return s->pixels;
}

const uint8_t *hl_images_labels(const hl_images *s)
{
    return s->labels;
}

/* ---- batches --------------------------------------------------------------------------------- */

static hl_status check_number(const hl_images *s, int64_t i)
{
    if (i >= 0 && i < s->info.n)
        return HL_OK;
    return hl_err_set(HL_E_ARG, "%s: image %lld is out of range; there are %lld, from 0",
                      s->info.label, (long long)i, (long long)s->info.n);
}

hl_status hl_images_gather(const hl_images *s, const hl_image_look *look, const int64_t *numbers,
                           int64_t batch_size, float *x, float *y)
{
    const int64_t n_pixels = pixels_of(&s->info), n_classes = s->info.n_classes;
    for (int64_t b = 0; b < batch_size; b++) {
        hl_status st = check_number(s, numbers[b]);
        if (st != HL_OK)
            return st;
    }
    for (int64_t b = 0; x && b < batch_size; b++)
        hl_image_look_show(look ? look : &s->plain, &s->info, s->pixels + numbers[b] * n_pixels,
                           numbers[b], x + b * n_pixels);
    for (int64_t b = 0; y && b < batch_size; b++) {
        float *row = y + b * n_classes;
        for (int64_t c = 0; c < n_classes; c++)
            row[c] = 0.0f;
        row[s->labels[numbers[b]]] = 1.0f;
    }
    return HL_OK;
}

/* Counters (seed, HL_RNG_SHUFFLE, stream 1, epoch); stream 0 orders the blocks of texts. */
void hl_images_shuffle(const hl_images *s, uint64_t seed, int64_t epoch, uint32_t *order)
{
    hl_rng rng = hl_rng_make(seed, HL_RNG_SHUFFLE, 1, (uint32_t)epoch);
    hl_rng_permute(&rng, (uint32_t)s->info.n, order);
}

hl_status hl_images_choose(const hl_images *s, uint64_t seed, int64_t n, hl_images **out)
{
    const size_t n_pixels = (size_t)pixels_of(&s->info);
    if (n < 1 || n > s->info.n)
        return hl_err_set(HL_E_ARG, "%s has %lld images; %lld of them cannot be taken",
                          s->info.label, (long long)s->info.n, (long long)n);
    uint32_t *order = hl_alloc((size_t)s->info.n * sizeof *order);
    uint8_t *pixels = hl_alloc((size_t)n * n_pixels), *labels = hl_alloc((size_t)n);
    if (!order || !pixels || !labels) {
        hl_free(order);
        hl_free(pixels);
        hl_free(labels);
        return HL_E_NOMEM;
    }
    hl_images_shuffle(s, seed, CHOOSING, order);
    for (int64_t i = 0; i < n; i++) {
        memcpy(pixels + (size_t)i * n_pixels, s->pixels + order[i] * n_pixels, n_pixels);
        labels[i] = s->labels[order[i]];
    }
    hl_free(order);
    hl_images_info info = s->info;
    info.n = n;
    return hl_images_from_owned(&info, pixels, labels, out);
}

hl_status hl_images_upright(const hl_images *s, int64_t i, uint8_t *out)
{
    const int64_t h = s->info.height, w = s->info.width;
    hl_status st = check_number(s, i);
    if (st != HL_OK)
        return st;
    const uint8_t *pixels = s->pixels + i * pixels_of(&s->info);
    if (!s->info.is_transposed) {
        memcpy(out, pixels, (size_t)pixels_of(&s->info));
        return HL_OK;
    }
    for (int64_t plane = 0; plane < s->info.n_channels; plane++)
        for (int64_t row = 0; row < h; row++)
            for (int64_t col = 0; col < w; col++)
                out[plane * h * w + col * h + row] = pixels[plane * h * w + row * w + col];
    return HL_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

static hl_status check_pair(const char *images_path, const hl_idx *images, const char *labels_path,
                            const hl_idx *labels, int64_t n_classes)
{
    if (labels->n != images->dim[0])
        return hl_err_set(HL_E_FORMAT,
                          "'%s' has %zu labels; %zu were expected, one for each image of '%s'",
                          labels_path, labels->n, images->dim[0], images_path);
    for (size_t i = 0; i < labels->n; i++)
        if (labels->at[i] >= n_classes)
            return hl_err_set(HL_E_FORMAT, "'%s': label %zu is %d; 0 .. %lld was expected",
                              labels_path, i, labels->at[i], (long long)n_classes - 1);
    return HL_OK;
}

/* label NULL: the name of the images */
static hl_status open_pair(const char *images_path, const char *labels_path, int64_t n_classes,
                           const char *label, hl_images **out)
{
    hl_status st = HL_OK;
    hl_idx images = {0}, labels = {0};
    HL_TRY(hl_idx_read(images_path, 3, &images));
    HL_TRY(hl_idx_read(labels_path, 1, &labels));
    HL_TRY(check_pair(images_path, &images, labels_path, &labels, n_classes));
    const char *name = hl_fs_base(images_path);
    hl_images_info info = {.label = label ? label : name,
                           .n = (int64_t)images.dim[0],
                           .n_channels = 1,
                           .height = (int64_t)images.dim[1],
                           .width = (int64_t)images.dim[2],
                           .n_classes = n_classes,
                           .is_transposed = hl_str_starts(name, "emnist-")};
    st = hl_images_from_owned(&info, images.at, labels.at, out);
    images = labels = (hl_idx){0}; /* taken */
out:
    hl_idx_done(&images);
    hl_idx_done(&labels);
    return st;
}

hl_status hl_images_open_files(const char *images, const char *labels, int64_t n_classes,
                               hl_images **out)
{
    if (n_classes < 1 || n_classes > HL_IMAGE_CLASSES_MAX)
        return hl_err_set(HL_E_ARG, "%lld classes are out of range: 1 .. %d", (long long)n_classes,
                          HL_IMAGE_CLASSES_MAX);
    return open_pair(images, labels, n_classes, NULL, out);
}

/* ---- directories ----------------------------------------------------------------------------- */

typedef struct image_set {
    const char *name;
    const char *stem[HL_PART_COUNT];
    const char *label[HL_PART_COUNT];
    const hl_cifar *cifar; /* then stems and labels are those of its files */
    bool is_tiny;          /* likewise */
} image_set;

/* in the order in which they are looked for; EMNIST's "mnist" is what the reference trains on */
static const image_set image_sets[] = {
    {"emnist-mnist",
     {"emnist-mnist-train", "emnist-mnist-test"},
     .label = {"EMNIST mnist train", "EMNIST mnist test"}},
    {"mnist", {"train", "t10k"}, .label = {"MNIST train", "MNIST test"}},
    {"emnist-digits",
     {"emnist-digits-train", "emnist-digits-test"},
     .label = {"EMNIST digits train", "EMNIST digits test"}},
    {"cifar-10", .cifar = &hl_cifar_10},
    {"cifar-100", .cifar = &hl_cifar_100},
    {"tiny-imagenet", .is_tiny = true},
};
#define N_SETS (sizeof image_sets / sizeof *image_sets)

typedef enum file_kind { FILE_IMAGES, FILE_LABELS, FILE_KINDS } file_kind;

/* *out: owned path, NULL if there is no such file. Some archives unpack to a directory of the
 * file's name. */
static hl_status find_file(const char *dir, const char *stem, file_kind kind, char **out)
{
    static const char *const tail[FILE_KINDS][4] = {
        {"images-idx3-ubyte", "images.idx3-ubyte", "images-idx3-ubyte.gz", "images.idx3-ubyte.gz"},
        {"labels-idx1-ubyte", "labels.idx1-ubyte", "labels-idx1-ubyte.gz", "labels.idx1-ubyte.gz"}};
    *out = NULL;
    for (int i = 0; i < 4; i++) {
        hl_str path = {0};
        hl_str_addf(&path, "%s/%s-%s", dir, stem, tail[kind][i]);
        hl_status st = hl_str_status(&path);
        if (st == HL_OK && hl_fs_exists(path.s) && !hl_fs_is_dir(path.s)) {
            *out = path.s;
            return HL_OK;
        }
        hl_str_done(&path);
        if (st != HL_OK)
            return st;
    }
    return HL_OK;
}

static void free_pair(char *path[FILE_KINDS])
{
    for (int kind = 0; kind < FILE_KINDS; kind++) {
        hl_free(path[kind]);
        path[kind] = NULL;
    }
}

/* Both files of a part; all or nothing. */
static hl_status find_pair(const char *dir, const char *stem, char *path[FILE_KINDS])
{
    hl_status st = find_file(dir, stem, FILE_IMAGES, &path[FILE_IMAGES]);
    if (st == HL_OK && path[FILE_IMAGES])
        st = find_file(dir, stem, FILE_LABELS, &path[FILE_LABELS]);
    if (st != HL_OK || !path[FILE_LABELS])
        free_pair(path);
    return st;
}

static hl_status is_complete(const char *dir, const image_set *set, bool *out)
{
    *out = true;
    for (int part = 0; *out && part < HL_PART_COUNT; part++) {
        char *path[FILE_KINDS] = {0};
        hl_status st = set->cifar ? hl_cifar_find(set->cifar, dir, (hl_part)part, false, path)
                       : set->is_tiny ? hl_tiny_find(dir, false, path)
                                      : find_pair(dir, set->stem[part], path);
        if (st != HL_OK)
            return st;
        *out = path[FILE_IMAGES] != NULL;
        free_pair(path);
    }
    return HL_OK;
}

/* The set of that name; NULL: the first that is there. */
static hl_status choose_set(const char *dir, const char *name, const image_set **out)
{
    for (size_t i = 0; i < N_SETS; i++) {
        bool is_it = name && strcmp(name, image_sets[i].name) == 0;
        hl_status st = name ? HL_OK : is_complete(dir, &image_sets[i], &is_it);
        if (st != HL_OK)
            return st;
        if (is_it) {
            *out = &image_sets[i];
            return HL_OK;
        }
    }
    if (name)
        return hl_err_set(HL_E_ARG,
                          "no set of images is called '%s'; there are mnist, emnist-mnist, "
                          "emnist-digits, cifar-10, cifar-100 and tiny-imagenet",
                          name);
    return hl_err_set(HL_E_NOTFOUND,
                      "no whole set of images in '%s'%s: looked for {train,t10k}-{images-idx3,"
                      "labels-idx1}-ubyte and emnist-{mnist,digits}-{train,test}-{images-idx3,"
                      "labels-idx1}-ubyte, plain or .gz; data_batch_{1..5}.bin and test_batch.bin; "
                      "train.bin and test.bin; wnids.txt, train and val",
                      dir, hl_fs_is_dir(dir) ? "" : " (no such directory)");
}

static hl_status open_digits(const image_set *set, const char *dir, hl_part part, hl_images **out)
{
    char *path[FILE_KINDS] = {0};
    hl_status st = find_pair(dir, set->stem[part], path);
    if (st == HL_OK && !path[FILE_IMAGES])
        st = hl_err_set(HL_E_NOTFOUND,
                        "no %s in '%s'%s: looked for %s-images-idx3-ubyte and "
                        "%s-labels-idx1-ubyte, plain or .gz",
                        set->label[part], dir, hl_fs_is_dir(dir) ? "" : " (no such directory)",
                        set->stem[part], set->stem[part]);
    if (st == HL_OK)
        st = open_pair(path[FILE_IMAGES], path[FILE_LABELS], N_DIGITS, set->label[part], out);
    free_pair(path);
    return st;
}

static hl_status open_cifar(const hl_cifar *c, const char *dir, hl_part part, hl_images **out)
{
    char *where = NULL;
    hl_status st = hl_cifar_find(c, dir, part, true, &where);
    if (st == HL_OK && !where)
        st = hl_err_set(HL_E_NOTFOUND, "no %s in '%s'%s or its folder %s: looked for %s%s",
                        c->label[part], dir, hl_fs_is_dir(dir) ? "" : " (no such directory)",
                        c->folder, c->file[part][0], c->file[part][1] ? " and the others" : "");
    if (st == HL_OK)
        st = hl_cifar_read(c, where, part, out);
    hl_free(where);
    return st;
}

static hl_status open_tiny(const char *dir, hl_part part, hl_images **out)
{
    char *where = NULL;
    hl_status st = hl_tiny_find(dir, true, &where);
    if (st == HL_OK && !where)
        st = hl_err_set(HL_E_NOTFOUND,
                        "no Tiny ImageNet in '%s'%s or its folder " HL_TINY_FOLDER
                        ": looked for wnids.txt, train and val",
                        dir, hl_fs_is_dir(dir) ? "" : " (no such directory)");
    if (st == HL_OK)
        st = hl_tiny_read(where, part, out);
    hl_free(where);
    return st;
}

hl_status hl_images_open(const char *dir, const char *set_name, hl_part part, hl_images **out)
{
    const image_set *set = &image_sets[0];
    if (!dir || !*dir)
        return hl_err_set(HL_E_ARG, "the directory of images is empty; name one");
    if ((unsigned)part >= HL_PART_COUNT)
        return hl_err_set(HL_E_ARG, "images have no part %d", (int)part);
    hl_status st = choose_set(dir, set_name, &set);
    if (st != HL_OK)
        return st;
    if (set->cifar)
        return open_cifar(set->cifar, dir, part, out);
    return set->is_tiny ? open_tiny(dir, part, out) : open_digits(set, dir, part, out);
}
