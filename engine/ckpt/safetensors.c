#define _GNU_SOURCE
#include "engine/ckpt/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

#define HEADER_MAX 100000000u

static const struct {
    const char *name;
    hl_dtype dtype;
} dtypes[] = {
    {"F32", HL_DTYPE_F32}, {"F64", HL_DTYPE_F64}, {"BF16", HL_DTYPE_BF16}, {"F16", HL_DTYPE_F16},
    {"I8", HL_DTYPE_I8},   {"U8", HL_DTYPE_U8},   {"I32", HL_DTYPE_I32},   {"I64", HL_DTYPE_I64},
    {"BOOL", HL_DTYPE_BOOL},
};
enum { N_DTYPES = sizeof dtypes / sizeof dtypes[0] };

/* --- writing --- */

static void header_text(hl_str *b, const hl_tensor_entry *t, size_t n, const char *const *metadata)
{
    size_t at = 0;
    hl_json_begin(b, '{');
    hl_json_add_key(b, "__metadata__");
    hl_json_begin(b, '{');
    hl_json_put_str(b, "format", "pt");
    for (; metadata && metadata[0]; metadata += 2)
        hl_json_put_str(b, metadata[0], metadata[1]);
    hl_json_end(b, '}');
    for (size_t i = 0; i < n; i++) {
        hl_json_add_key(b, t[i].name);
        hl_json_begin(b, '{');
        for (int k = 0; k < N_DTYPES; k++)
            if (dtypes[k].dtype == t[i].type.dtype)
                hl_json_put_str(b, "dtype", dtypes[k].name);
        hl_json_add_key(b, "shape");
        hl_json_begin(b, '[');
        for (int k = 0; k < t[i].type.rank; k++)
            hl_json_add_int(b, t[i].type.dim[k]);
        hl_json_end(b, ']');
        hl_json_add_key(b, "data_offsets");
        hl_json_begin(b, '[');
        hl_json_add_int(b, (int64_t)at);
        at += hl_type_bytes(&t[i].type);
        hl_json_add_int(b, (int64_t)at);
        hl_json_end(b, ']');
        hl_json_end(b, '}');
    }
    hl_json_end(b, '}');
    hl_str_addn(b, "        ", (8 - b->n % 8) % 8);
}

hl_status hl_safetensors_write(const char *path, const hl_tensor_entry *tensors, size_t n,
                               const char *const *metadata)
{
    hl_status st = HL_OK;
    hl_str header = {0};
    unsigned char length[8];
    hl_fs_part *parts = hl_alloc_zero(n + 2, sizeof *parts);
    if (!parts)
        return HL_E_NOMEM;
    header_text(&header, tensors, n, metadata);
    HL_TRY(hl_str_status(&header));
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)header.n >> (8 * i));
    parts[0] = (hl_fs_part){length, sizeof length};
    parts[1] = (hl_fs_part){header.s, header.n};
    for (size_t i = 0; i < n; i++)
        parts[i + 2] = (hl_fs_part){tensors[i].data, hl_type_bytes(&tensors[i].type)};
    st = hl_fs_write_parts(path, parts, n + 2);
out:
    hl_free(parts);
    hl_str_done(&header);
    return st;
}

/* --- reading --- */

struct hl_safetensors {
    hl_fs_map map;
    hl_json *header;
    HL_VEC(hl_tensor_entry) entries; /* in order of offset */
    hl_tensor_entry **by_name;
};

typedef struct span {
    uint64_t begin, end;
    size_t entry;
} span;

static hl_status parse_shape(const char *path, const char *name, const hl_json *shape, hl_type *t,
                             size_t *bytes)
{
    const int rank = hl_json_len(shape);
    if (!hl_json_is_array(shape) || rank > HL_MAX_RANK)
        return hl_err_set(HL_E_FORMAT, "%s: tensor '%s' has no shape of at most %d dimensions",
                          path, name, HL_MAX_RANK);
    t->rank = rank;
    *bytes = hl_dtype_bytes(t->dtype);
    for (int i = 0; i < rank; i++) {
        int64_t d = hl_json_int(hl_json_at(shape, i), -1);
        if (d < 0 || !hl_mul_size(*bytes, (size_t)d, bytes))
            return hl_err_set(HL_E_FORMAT, "%s: tensor '%s' has an impossible shape", path, name);
        t->dim[i] = d;
    }
    return HL_OK;
}

static hl_status parse_entry(hl_safetensors *f, const char *path, const hl_json *j, size_t buffer0,
                             span *where)
{
    const char *name = hl_json_key(j);
    const char *dtype = hl_json_str(hl_json_get(j, "dtype"), "");
    const hl_json *offsets = hl_json_get(j, "data_offsets");
    hl_tensor_entry e = {.name = name, .type = {.dtype = HL_DTYPE_COUNT}};
    for (int k = 0; k < N_DTYPES; k++)
        if (strcmp(dtypes[k].name, dtype) == 0)
            e.type.dtype = dtypes[k].dtype;
    if (e.type.dtype == HL_DTYPE_COUNT)
        return hl_err_set(HL_E_FORMAT, "%s: tensor '%s' has the unknown element type '%.20s'", path,
                          name, dtype);
    size_t bytes;
    hl_status st = parse_shape(path, name, hl_json_get(j, "shape"), &e.type, &bytes);
    if (st != HL_OK)
        return st;
    const int64_t begin = hl_json_int(hl_json_at(offsets, 0), -1);
    const int64_t end = hl_json_int(hl_json_at(offsets, 1), -1);
    if (hl_json_len(offsets) != 2 || begin < 0 || end < begin ||
        (uint64_t)end > f->map.n - buffer0 || (uint64_t)(end - begin) != bytes)
        return hl_err_set(HL_E_FORMAT,
                          "%s: tensor '%s' needs %zu bytes at offsets [%lld, %lld) of %zu", path,
                          name, bytes, (long long)begin, (long long)end, f->map.n - buffer0);
    e.data = f->map.bytes + buffer0 + begin;
    *where = (span){(uint64_t)begin, (uint64_t)end, f->entries.n};
    return hl_vec_push(&f->entries, e);
}

static int span_order(const void *a, const void *b)
{
    const span *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int entry_order(const void *a, const void *b)
{
    return strcmp((*(hl_tensor_entry *const *)a)->name, (*(hl_tensor_entry *const *)b)->name);
}

/* No holes, no overlaps, nothing behind the last tensor. */
static hl_status check_spans(const hl_safetensors *f, const char *path, span *spans, size_t n,
                             size_t buffer_bytes)
{
    uint64_t at = 0;
    if (n)
        qsort(spans, n, sizeof *spans, span_order);
    for (size_t i = 0; i < n; i++) {
        if (spans[i].begin != at)
            return hl_err_set(HL_E_FORMAT, "%s: tensor '%s' starts at %llu instead of %llu", path,
                              f->entries.at[spans[i].entry].name,
                              (unsigned long long)spans[i].begin, (unsigned long long)at);
        at = spans[i].end;
    }
    if (at != buffer_bytes)
        return hl_err_set(HL_E_FORMAT, "%s: %llu bytes of tensors in a buffer of %zu", path,
                          (unsigned long long)at, buffer_bytes);
    return HL_OK;
}

static hl_status index_names(hl_safetensors *f, const char *path)
{
    const size_t n = f->entries.n;
    f->by_name = hl_alloc((n + 1) * sizeof *f->by_name);
    if (!f->by_name)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n; i++)
        f->by_name[i] = &f->entries.at[i];
    if (n)
        qsort(f->by_name, n, sizeof *f->by_name, entry_order);
    for (size_t i = 1; i < n; i++)
        if (strcmp(f->by_name[i - 1]->name, f->by_name[i]->name) == 0)
            return hl_err_set(HL_E_FORMAT, "%s: tensor '%s' stands there twice", path,
                              f->by_name[i]->name);
    return HL_OK;
}

static hl_status read_header(hl_safetensors *f, const char *path, size_t *buffer0)
{
    uint64_t n = 0;
    if (f->map.n < 8)
        return hl_err_set(HL_E_FORMAT, "%s has %zu bytes: no safetensors file", path, f->map.n);
    for (int i = 7; i >= 0; i--)
        n = n << 8 | f->map.bytes[i];
    if (n > HEADER_MAX || n > f->map.n - 8)
        return hl_err_set(HL_E_FORMAT,
                          "%s: the header says it is %llu bytes long in a file of %zu: damaged, or "
                          "no safetensors file",
                          path, (unsigned long long)n, f->map.n);
    *buffer0 = (size_t)n + 8;
    const char *text = (const char *)f->map.bytes + 8;
    if (n == 0 || text[0] != '{' || memchr(text, '\0', (size_t)n))
        return hl_err_set(HL_E_FORMAT, "%s: the header is no JSON object", path);
    hl_status st = hl_json_parse(text, (size_t)n, &f->header);
    if (st != HL_OK)
        return hl_err_context("%s: header", path);
    if (!hl_json_is_object(f->header))
        return hl_err_set(HL_E_FORMAT, "%s: the header is no JSON object", path);
    return HL_OK;
}

static hl_status check_metadata(const hl_json *meta, const char *path)
{
    if (!hl_json_is_object(meta))
        return hl_err_set(HL_E_FORMAT, "%s: __metadata__ is no object", path);
    for (int i = 0, n = hl_json_len(meta); i < n; i++)
        if (!hl_json_is_string(hl_json_at(meta, i)))
            return hl_err_set(HL_E_FORMAT, "%s: __metadata__ maps strings to strings only", path);
    return HL_OK;
}

hl_status hl_safetensors_open(const char *path, hl_safetensors **out)
{
    hl_status st = HL_OK;
    span *spans = NULL;
    size_t buffer0 = 0, n_spans = 0;
    hl_safetensors *f = hl_alloc_zero(1, sizeof *f);
    if (!f)
        return HL_E_NOMEM;
    HL_TRY(hl_fs_map_open(path, &f->map));
    HL_TRY(read_header(f, path, &buffer0));
    const int n = hl_json_len(f->header);
    spans = hl_alloc_zero((size_t)n + 1, sizeof *spans);
    if (!spans) {
        st = HL_E_NOMEM;
        goto out;
    }
    const hl_json *j = hl_json_at(f->header, 0);
    for (int i = 0; i < n; i++, j = hl_json_next(j)) {
        if (strcmp(hl_json_key(j), "__metadata__") == 0)
            HL_TRY(check_metadata(j, path));
        else
            HL_TRY(parse_entry(f, path, j, buffer0, &spans[n_spans++]));
    }
    HL_TRY(check_spans(f, path, spans, n_spans, f->map.n - buffer0));
    HL_TRY(index_names(f, path));
    *out = f;
    f = NULL;
out:
    hl_free(spans);
    hl_safetensors_close(f);
    return st;
}

void hl_safetensors_close(hl_safetensors *f)
{
    if (!f)
        return;
    hl_free(f->by_name);
    hl_vec_done(&f->entries);
    hl_json_free(f->header);
    hl_fs_map_close(&f->map);
    hl_free(f);
}

size_t hl_safetensors_count(const hl_safetensors *f)
{
    return f->entries.n;
}

const hl_tensor_entry *hl_safetensors_at(const hl_safetensors *f, size_t i)
{
    return &f->entries.at[i];
}

const hl_tensor_entry *hl_safetensors_find(const hl_safetensors *f, const char *name)
{
    size_t lo = 0, hi = f->entries.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(f->by_name[mid]->name, name);
        if (c == 0)
            return f->by_name[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

void hl_safetensors_release(const hl_safetensors *f, const hl_tensor_entry *e)
{
    hl_fs_map_release(&f->map, e->data, hl_type_bytes(&e->type));
}

const char *hl_safetensors_metadata(const hl_safetensors *f, const char *key)
{
    return hl_json_str(hl_json_get(hl_json_get(f->header, "__metadata__"), key), NULL);
}
