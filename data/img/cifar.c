#include "data/img/cifar.h"

#include <string.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"

#include "data/gz/gz.h"
#include "data/img/images_internal.h"

#define N_PIXELS ((size_t)HL_CIFAR_CHANNELS * HL_CIFAR_SIDE * HL_CIFAR_SIDE)

const hl_cifar hl_cifar_10 = {
    .folder = "cifar-10-batches-bin",
    .file = {{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
              "data_batch_5.bin"},
             {"test_batch.bin"}},
    .label = {"CIFAR-10 train", "CIFAR-10 test"},
    .n_label_bytes = 1,
    .limit = {10},
};

const hl_cifar hl_cifar_100 = {
    .folder = "cifar-100-binary",
    .file = {{"train.bin"}, {"test.bin"}},
    .label = {"CIFAR-100 train", "CIFAR-100 test"},
    .n_label_bytes = 2,
    .limit = {20, 100},
};

/* ---- finding --------------------------------------------------------------------------------- */

static hl_status has_all(const hl_cifar *c, const char *dir, hl_part part, bool *out)
{
    *out = true;
    for (int i = 0; *out && i < HL_CIFAR_FILES_MAX && c->file[part][i]; i++) {
        char *path = hl_fs_join(dir, c->file[part][i]);
        if (!path)
            return HL_E_NOMEM;
        *out = hl_fs_exists(path) && !hl_fs_is_dir(path);
        hl_free(path);
    }
    return HL_OK;
}

hl_status hl_cifar_find(const hl_cifar *c, const char *dir, hl_part part, bool in_folder,
                        char **out)
{
    *out = NULL;
    for (int i = 0; i < (in_folder ? 2 : 1); i++) {
        char *where = i == 0 ? hl_strdup(dir) : hl_fs_join(dir, c->folder);
        bool is_it = false;
        hl_status st = where ? has_all(c, where, part, &is_it) : HL_E_NOMEM;
        if (st == HL_OK && is_it) {
            *out = where;
            return HL_OK;
        }
        hl_free(where);
        if (st != HL_OK)
            return st;
    }
    return HL_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct records {
    uint8_t *pixels, *labels; /* owned */
    size_t n;
} records;

static hl_status check_size(const char *path, const uint8_t *file, size_t bytes, size_t record)
{
    if (hl_gz_is(file, bytes))
        return hl_err_set(
            HL_E_FORMAT,
            "'%s' is packed with gzip; a file of CIFAR's binary version was expected: "
            "unpack it first",
            path);
    if (bytes == 0 || bytes % record != 0)
        return hl_err_set(
            HL_E_FORMAT,
            "'%s' has %zu bytes; a multiple of %zu, the size of a record, was expected", path,
            bytes, record);
    return HL_OK;
}

static hl_status check_labels(const hl_cifar *c, const char *path, const uint8_t *file, size_t n,
                              size_t record)
{
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < c->n_label_bytes; k++)
            if (file[i * record + (size_t)k] >= c->limit[k])
                return hl_err_set(HL_E_FORMAT,
                                  "'%s': label %d of image %zu is %d; 0 .. %d was expected", path,
                                  k + 1, i, file[i * record + (size_t)k], c->limit[k] - 1);
    return HL_OK;
}

static hl_status grow(records *r, size_t n)
{
    uint8_t *pixels = hl_realloc(r->pixels, (r->n + n) * N_PIXELS);
    if (!pixels)
        return HL_E_NOMEM;
    r->pixels = pixels;
    uint8_t *labels = hl_realloc(r->labels, r->n + n);
    if (!labels)
        return HL_E_NOMEM;
    r->labels = labels;
    return HL_OK;
}

static hl_status add_file(const hl_cifar *c, const char *path, records *r)
{
    hl_status st = HL_OK;
    char *text = NULL;
    size_t bytes = 0;
    HL_TRY(hl_fs_read(path, HL_CIFAR_BYTES_MAX, &text, &bytes));
    const uint8_t *file = (const uint8_t *)text;
    const size_t n_labels = (size_t)c->n_label_bytes, record = n_labels + N_PIXELS;
    HL_TRY(check_size(path, file, bytes, record));
    const size_t n = bytes / record;
    HL_TRY(check_labels(c, path, file, n, record));
    HL_TRY(grow(r, n));
    for (size_t i = 0; i < n; i++) {
        r->labels[r->n + i] = file[i * record + n_labels - 1];
        memcpy(r->pixels + (r->n + i) * N_PIXELS, file + i * record + n_labels, N_PIXELS);
    }
    r->n += n;
out:
    hl_free(text);
    return st;
}

hl_status hl_cifar_read(const hl_cifar *c, const char *dir, hl_part part, hl_images **out)
{
    hl_status st = HL_OK;
    records r = {0};
    for (int i = 0; i < HL_CIFAR_FILES_MAX && c->file[part][i]; i++) {
        char *path = hl_fs_join(dir, c->file[part][i]);
        st = path ? add_file(c, path, &r) : HL_E_NOMEM;
        hl_free(path);
        if (st != HL_OK)
            goto out;
    }
    const hl_images_info info = {.label = c->label[part],
                                 .n = (int64_t)r.n,
                                 .n_channels = HL_CIFAR_CHANNELS,
                                 .height = HL_CIFAR_SIDE,
                                 .width = HL_CIFAR_SIDE,
                                 .n_classes = c->limit[c->n_label_bytes - 1]};
    st = hl_images_from_owned(&info, r.pixels, r.labels, out);
    r = (records){0}; /* taken */
out:
    hl_free(r.pixels);
    hl_free(r.labels);
    return st;
}
