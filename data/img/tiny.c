#include "data/img/tiny.h"

#include <string.h>

#include "data/img/images_internal.h"
#include "data/img/jpeg.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

#define N_PIXELS ((size_t)HL_TINY_CHANNELS * HL_TINY_SIDE * HL_TINY_SIDE)

enum { TEXT_MAX = 16 << 20, FILE_MAX = 1 << 20, IMAGES_MAX = 1 << 20 }; /* bytes, bytes, images */

/* A text file as lines that end in '\0'. */
typedef struct lines {
    char *text; /* owned */
    HL_VEC(char *) list;
} lines;

typedef struct item {
    char *path; /* owned */
    uint8_t label;
} item;

typedef struct reader {
    const char *dir;
    lines classes;
    HL_VEC(item) items;
} reader;

/* ---- finding --------------------------------------------------------------------------------- */

/* dir/a/b/c; b and c may be NULL. Owned, NULL: no memory. */
static char *path_of(const char *dir, const char *a, const char *b, const char *c)
{
    hl_str path = {0};
    hl_str_addf(&path, "%s/%s%s%s%s%s", dir, a, b ? "/" : "", b ? b : "", c ? "/" : "", c ? c : "");
    if (hl_str_status(&path) != HL_OK)
        hl_str_done(&path);
    return path.s;
}

static hl_status has_all(const char *dir, bool *out)
{
    static const char *const name[] = {"wnids.txt", "train", "val"};
    *out = true;
    for (int i = 0; *out && i < 3; i++) {
        char *path = hl_fs_join(dir, name[i]);
        if (!path)
            return HL_E_NOMEM;
        *out = hl_fs_exists(path);
        hl_free(path);
    }
    return HL_OK;
}

hl_status hl_tiny_find(const char *dir, bool in_folder, char **out)
{
    *out = NULL;
    for (int i = 0; i < (in_folder ? 2 : 1); i++) {
        char *where = i == 0 ? hl_strdup(dir) : hl_fs_join(dir, HL_TINY_FOLDER);
        bool is_it = false;
        hl_status st = where ? has_all(where, &is_it) : HL_E_NOMEM;
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

/* ---- what there is to read ------------------------------------------------------------------- */

static hl_status read_lines(const char *path, lines *out)
{
    size_t n = 0;
    hl_status st = hl_fs_read(path, TEXT_MAX, &out->text, &n);
    if (st != HL_OK)
        return st;
    if (memchr(out->text, '\0', n))
        return hl_err_set(HL_E_FORMAT, "'%s' is no text file", path);
    for (char *at = out->text; at && *at;) {
        char *end = strpbrk(at, "\r\n");
        if (end)
            *end++ = '\0';
        if (*at && hl_vec_push(&out->list, at) != HL_OK)
            return HL_E_NOMEM;
        at = end;
    }
    return HL_OK;
}

static void lines_done(lines *l)
{
    hl_free(l->text);
    hl_vec_done(&l->list);
}

/* A name that came from a file and becomes part of a path */
static bool is_name(const char *s)
{
    return *s && *s != '.' && !strchr(s, '/');
}

static hl_status read_classes(reader *r)
{
    char *path = path_of(r->dir, "wnids.txt", NULL, NULL);
    hl_status st = path ? read_lines(path, &r->classes) : HL_E_NOMEM;
    if (st == HL_OK && (r->classes.list.n < 2 || r->classes.list.n > HL_IMAGE_CLASSES_MAX))
        st = hl_err_set(HL_E_FORMAT, "'%s' names %zu classes; 2 to %d were expected (200)", path,
                        r->classes.list.n, HL_IMAGE_CLASSES_MAX);
    for (size_t i = 0; st == HL_OK && i < r->classes.list.n; i++)
        if (!is_name(r->classes.list.at[i]))
            st = hl_err_set(HL_E_FORMAT, "'%s': '%s' is no name of a class", path,
                            r->classes.list.at[i]);
    hl_free(path);
    return st;
}

static hl_status add_item(reader *r, char *path, size_t label)
{
    if (!path)
        return HL_E_NOMEM;
    if (r->items.n == IMAGES_MAX) {
        hl_free(path);
        return hl_err_set(HL_E_FORMAT, "'%s' has more than %d images", r->dir, IMAGES_MAX);
    }
    if (hl_vec_push(&r->items, ((item){path, (uint8_t)label})) == HL_OK)
        return HL_OK;
    hl_free(path);
    return HL_E_NOMEM;
}

static hl_status list_train(reader *r)
{
    for (size_t c = 0; c < r->classes.list.n; c++) {
        hl_fs_list files = {0};
        char *dir = path_of(r->dir, "train", r->classes.list.at[c], "images");
        hl_status st = dir ? hl_fs_list_dir(dir, &files) : HL_E_NOMEM;
        for (size_t i = 0; st == HL_OK && i < files.n; i++)
            if (strstr(files.name[i], ".JPEG"))
                st = add_item(r, hl_fs_join(dir, files.name[i]), c);
        hl_fs_list_free(&files);
        hl_free(dir);
        if (st != HL_OK)
            return st;
    }
    return HL_OK;
}

/* "val_0.JPEG <tab> n03444034 <tab> …" */
static hl_status add_annotated(reader *r, const char *path, size_t number, char *line)
{
    char *tab = strchr(line, '\t'), *name = tab ? tab + 1 : NULL;
    if (tab) {
        *tab = '\0';
        name[strcspn(name, "\t")] = '\0';
    }
    if (!tab || !is_name(line))
        return hl_err_set(HL_E_FORMAT,
                          "'%s', entry %zu: a name of a file, a tab and a class were expected",
                          path, number);
    for (size_t c = 0; c < r->classes.list.n; c++)
        if (strcmp(r->classes.list.at[c], name) == 0)
            return add_item(r, path_of(r->dir, "val", "images", line), c);
    return hl_err_set(HL_E_FORMAT, "'%s', entry %zu: wnids.txt has no class '%s'", path, number,
                      name);
}

static hl_status list_val(reader *r)
{
    lines notes = {0};
    char *path = path_of(r->dir, "val", "val_annotations.txt", NULL);
    hl_status st = path ? read_lines(path, &notes) : HL_E_NOMEM;
    for (size_t i = 0; st == HL_OK && i < notes.list.n; i++)
        st = add_annotated(r, path, i + 1, notes.list.at[i]);
    lines_done(&notes);
    hl_free(path);
    return st;
}

/* ---- reading --------------------------------------------------------------------------------- */

static hl_status decode_all(const reader *r, uint8_t *pixels, uint8_t *labels)
{
    hl_status st = HL_OK;
    for (size_t i = 0; st == HL_OK && i < r->items.n; i++) {
        const item *it = &r->items.at[i];
        char *file = NULL;
        size_t bytes = 0;
        st = hl_fs_read(it->path, FILE_MAX, &file, &bytes);
        if (st == HL_OK)
            st = hl_jpeg_decode(it->path, (const uint8_t *)file, bytes, HL_TINY_SIDE,
                                pixels + i * N_PIXELS);
        labels[i] = it->label;
        hl_free(file);
    }
    return st;
}

hl_status hl_tiny_read(const char *dir, hl_part part, hl_images **out)
{
    hl_status st = HL_OK;
    reader r = {.dir = dir};
    uint8_t *pixels = NULL, *labels = NULL;
    HL_TRY(read_classes(&r));
    HL_TRY(part == HL_PART_TRAIN ? list_train(&r) : list_val(&r));
    if (r.items.n == 0)
        HL_FAIL(HL_E_FORMAT, "'%s/%s' holds no images (*.JPEG)", dir,
                part == HL_PART_TRAIN ? "train" : "val");
    pixels = hl_alloc(r.items.n * N_PIXELS);
    labels = hl_alloc(r.items.n);
    if (!pixels || !labels) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(decode_all(&r, pixels, labels));
    const hl_images_info info = {.label = part == HL_PART_TRAIN ? "Tiny ImageNet train"
                                                                : "Tiny ImageNet val",
                                 .n = (int64_t)r.items.n,
                                 .n_channels = HL_TINY_CHANNELS,
                                 .height = HL_TINY_SIDE,
                                 .width = HL_TINY_SIDE,
                                 .n_classes = (int64_t)r.classes.list.n};
    st = hl_images_from_owned(&info, pixels, labels, out);
    pixels = labels = NULL; /* taken */
out:
    for (size_t i = 0; i < r.items.n; i++)
        hl_free(r.items.at[i].path);
    hl_vec_done(&r.items);
    lines_done(&r.classes);
    hl_free(pixels);
    hl_free(labels);
    return st;
}
