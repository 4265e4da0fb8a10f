#define _GNU_SOURCE
#include "engine/ckpt/weights.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "engine/ckpt/new_dir.h"

#define SINGLE    "model.safetensors"
#define INDEX     "model.safetensors.index.json"
#define INDEX_MAX ((size_t)64 << 20)
enum { FILES_MAX = 4096, NAME_SHOWN = 120 };

typedef struct part {
    char *name; /* within the directory; NULL: the only file */
    hl_safetensors *f;
} part;

typedef struct named {
    const hl_tensor_entry *entry;
    size_t part;
} named;

struct hl_weights {
    HL_VEC(part) parts;
    size_t count;
    named *by_name; /* sorted; NULL until all files are open */
};

/* --- reading --- */

static hl_status open_part(hl_weights *w, const char *dir, const char *name, const char *path)
{
    part p = {.name = name ? hl_strdup(name) : NULL};
    char *file = name ? hl_fs_join(dir, name) : hl_strdup(path);
    hl_status st = (name && !p.name) || !file ? HL_E_NOMEM : hl_safetensors_open(file, &p.f);
    if (st == HL_E_NOTFOUND && name)
        st = hl_err_set(HL_E_NOTFOUND, "%s/" INDEX " names the file '%s', which is not there", dir,
                        name);
    hl_free(file);
    if (st == HL_OK)
        st = hl_vec_push(&w->parts, p);
    if (st != HL_OK) {
        hl_safetensors_close(p.f);
        hl_free(p.name);
        return st;
    }
    w->count += hl_safetensors_count(p.f);
    return HL_OK;
}

static const part *part_named(const hl_weights *w, const char *name)
{
    for (size_t i = 0; i < w->parts.n; i++)
        if (strcmp(w->parts.at[i].name, name) == 0)
            return &w->parts.at[i];
    return NULL;
}

/* A file beside the index and nothing else: no separators, so neither "/x" nor "..". */
static bool is_plain_file(const char *name)
{
    return *name && *name != '.' && !strchr(name, '/') && !strchr(name, '\\') &&
           hl_str_ends(name, ".safetensors");
}

static hl_status open_listed(hl_weights *w, const char *dir, const char *index,
                             const hl_json *entry)
{
    const char *tensor = hl_json_key(entry), *file = hl_json_str(entry, NULL);
    if (!file || !hl_json_is_string(entry) || !is_plain_file(file))
        return hl_err_set(HL_E_FORMAT,
                          "%s: tensor '%.*s' is said to be in '%.*s', which is no safetensors file "
                          "of this directory",
                          index, NAME_SHOWN, tensor, NAME_SHOWN, file ? file : "");
    const part *p = part_named(w, file);
    if (!p) {
        if (w->parts.n == FILES_MAX)
            return hl_err_set(HL_E_FORMAT, "%s names more than %d files", index, FILES_MAX);
        hl_status st = open_part(w, dir, file, NULL);
        if (st != HL_OK)
            return st;
        p = &w->parts.at[w->parts.n - 1];
    }
    if (!hl_safetensors_find(p->f, tensor))
        return hl_err_set(HL_E_FORMAT, "%s: tensor '%.*s' is not in %s", index, NAME_SHOWN, tensor,
                          file);
    return HL_OK;
}

static int named_order(const void *a, const void *b)
{
    return strcmp(((const named *)a)->entry->name, ((const named *)b)->entry->name);
}

static const named *find(const hl_weights *w, const char *name)
{
    size_t lo = 0, hi = w->count;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const int c = strcmp(w->by_name[mid].entry->name, name);
        if (c == 0)
            return &w->by_name[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static hl_status index_names(hl_weights *w, const char *path)
{
    size_t n = 0;
    w->by_name = hl_alloc((w->count + 1) * sizeof *w->by_name);
    if (!w->by_name)
        return HL_E_NOMEM;
    for (size_t k = 0; k < w->parts.n; k++)
        for (size_t i = 0; i < hl_safetensors_count(w->parts.at[k].f); i++)
            w->by_name[n++] = (named){hl_safetensors_at(w->parts.at[k].f, i), k};
    if (n)
        qsort(w->by_name, n, sizeof *w->by_name, named_order);
    for (size_t i = 1; i < n; i++)
        if (named_order(&w->by_name[i - 1], &w->by_name[i]) == 0)
            return hl_err_set(HL_E_FORMAT, "%s: tensor '%.*s' is in two files, %s and %s", path,
                              NAME_SHOWN, w->by_name[i].entry->name,
                              w->parts.at[w->by_name[i - 1].part].name,
                              w->parts.at[w->by_name[i].part].name);
    return HL_OK;
}

/* Every listed tensor is in its file; does a file hold one that is not listed? */
static hl_status check_no_more(const hl_weights *w, const char *index, const hl_json *map)
{
    hl_status st = HL_OK;
    bool *listed = hl_alloc_zero(w->count + 1, sizeof *listed);
    if (!listed)
        return HL_E_NOMEM;
    for (const hl_json *e = hl_json_at(map, 0); e; e = hl_json_next(e)) {
        const named *x = find(w, hl_json_key(e));
        if (listed[x - w->by_name])
            HL_FAIL(HL_E_FORMAT, "%s names the tensor '%.*s' twice", index, NAME_SHOWN,
                    x->entry->name);
        listed[x - w->by_name] = true;
    }
    for (size_t i = 0; i < w->count; i++)
        if (!listed[i])
            HL_FAIL(HL_E_FORMAT, "%s: tensor '%.*s' of %s is not in the index", index, NAME_SHOWN,
                    w->by_name[i].entry->name, w->parts.at[w->by_name[i].part].name);
out:
    hl_free(listed);
    return st;
}

static hl_status open_index(hl_weights *w, const char *path)
{
    hl_status st = HL_OK;
    hl_json *root = NULL;
    char *text = NULL, *dir = hl_fs_parent(path);
    size_t n = 0;
    if (!dir)
        return HL_E_NOMEM;
    HL_TRY(hl_fs_read(path, INDEX_MAX, &text, &n));
    HL_TRY_CTX(hl_json_parse(text, n, &root), "%s", path);
    const hl_json *map = hl_json_get(root, "weight_map");
    if (!hl_json_is_object(map) || hl_json_len(map) == 0)
        HL_FAIL(HL_E_FORMAT, "%s has no weight_map from tensors to files", path);
    for (const hl_json *e = hl_json_at(map, 0); e; e = hl_json_next(e))
        HL_TRY(open_listed(w, dir, path, e));
    HL_TRY(index_names(w, path));
    HL_TRY(check_no_more(w, path, map));
out:
    hl_json_free(root);
    hl_free(text);
    hl_free(dir);
    return st;
}

static hl_status open_dir(hl_weights *w, const char *path)
{
    hl_status st = HL_OK;
    char *single = hl_fs_join(path, SINGLE), *index = hl_fs_join(path, INDEX);
    char *pickled = hl_fs_join(path, "pytorch_model.bin");
    if (!single || !index || !pickled) {
        st = HL_E_NOMEM;
        goto out;
    }
    if (hl_fs_exists(single))
        HL_TRY(open_part(w, NULL, NULL, single));
    else if (hl_fs_exists(index))
        HL_TRY(open_index(w, index));
    else if (hl_fs_exists(pickled))
        HL_FAIL(HL_E_NOTFOUND,
                "%s has pytorch_model.bin, which can run code and is not read; save the model as "
                "safetensors",
                path);
    else
        HL_FAIL(HL_E_NOTFOUND, "%s has neither " SINGLE " nor " INDEX, path);
out:
    hl_free(single);
    hl_free(index);
    hl_free(pickled);
    return st;
}

hl_status hl_weights_open(const char *path, hl_weights **out)
{
    hl_weights *w = hl_alloc_zero(1, sizeof *w);
    if (!w)
        return HL_E_NOMEM;
    hl_status st = hl_fs_is_dir(path)           ? open_dir(w, path)
                   : hl_str_ends(path, ".json") ? open_index(w, path)
                                                : open_part(w, NULL, NULL, path);
    if (st == HL_OK && !w->by_name)
        st = index_names(w, path);
    if (st != HL_OK) {
        hl_weights_close(w);
        return st;
    }
    *out = w;
    return HL_OK;
}

void hl_weights_close(hl_weights *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->parts.n; i++) {
        hl_safetensors_close(w->parts.at[i].f);
        hl_free(w->parts.at[i].name);
    }
    hl_vec_done(&w->parts);
    hl_free(w->by_name);
    hl_free(w);
}

size_t hl_weights_count(const hl_weights *w)
{
    return w->count;
}

const hl_tensor_entry *hl_weights_at(const hl_weights *w, size_t i)
{
    return w->by_name[i].entry;
}

const hl_tensor_entry *hl_weights_find(const hl_weights *w, const char *name)
{
    const named *x = find(w, name);
    return x ? x->entry : NULL;
}

void hl_weights_release(const hl_weights *w, const hl_tensor_entry *e)
{
    const named *x = find(w, e->name);
    if (x)
        hl_safetensors_release(w->parts.at[x->part].f, e);
}

/* --- writing --- */

typedef struct dir_content {
    const hl_tensor_entry *tensors;
    size_t n;
    const char *config_json;
} dir_content;

static hl_status fill_dir(void *self, const char *dir)
{
    hl_status st = HL_OK;
    const dir_content *c = self;
    char *config = hl_fs_join(dir, "config.json"), *weights = hl_fs_join(dir, SINGLE);
    if (!config || !weights) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(hl_safetensors_write(weights, c->tensors, c->n, NULL));
    HL_TRY(hl_fs_write_atomic(config, c->config_json, strlen(c->config_json)));
out:
    hl_free(config);
    hl_free(weights);
    return st;
}

hl_status hl_weights_write_dir(const char *path, const hl_tensor_entry *tensors, size_t n,
                               const char *config_json)
{
    dir_content c = {tensors, n, config_json};
    return hl_new_dir(path, fill_dir, &c);
}
