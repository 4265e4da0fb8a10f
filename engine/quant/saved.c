#include "engine/quant/saved.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

#define SCALE      ".scale"
#define ZERO_POINT ".zero_point"
#define RANGE      ".range"
#define FLOAT      ".float"
enum { CODE_BITS_MAX = 8, NAME_SHOWN = 160 };

/* ---- what stays in float ---- */

/* Exactly what a simulated evaluation reads; executing reads no more floats than that. */
static hl_status graph_read(hl_quant_model *m, const hl_quant_forward *of, hl_graph **out)
{
    hl_status st = HL_OK;
    const int n = of->n_outputs;
    hl_graph *quantized = NULL;
    hl_id *map = NULL, *ids = hl_alloc(((size_t)n + 1) * sizeof *ids);
    if (!ids)
        return HL_E_NOMEM;
    memcpy(ids, of->outputs, (size_t)n * sizeof *ids);
    const hl_quant_wish wish = {.mode = HL_QUANT_SIMULATE, .outputs = ids, .n_outputs = n};
    HL_TRY(hl_quant_model_sketch(m, of->g, &wish, of->team, &quantized));
    map = hl_alloc((quantized->values.n + 1) * sizeof *map);
    if (!map)
        HL_TRY(HL_E_NOMEM);
    HL_TRY(hl_graph_extract(quantized, ids, n, out, map));
out:
    hl_graph_free(quantized);
    hl_free(ids);
    hl_free(map);
    return st;
}

static bool reads(const hl_graph *g, const hl_storage *s)
{
    for (size_t v = 0; v < g->values.n; v++)
        if (g->values.at[v].kind == HL_VALUE_STATE && g->values.at[v].data == s)
            return true;
    return false;
}

static bool has_codes(const hl_quant_model *m, const hl_storage *s)
{
    for (size_t i = 0; i < hl_quant_model_n(m); i++) {
        const hl_quant_site *x = hl_quant_model_site(m, i);
        if (x->role == HL_QUANT_WEIGHT && x->is_on && x->source == s)
            return true;
    }
    return false;
}

hl_status hl_quant_saved_list(hl_quant_model *m, const hl_quant_forward *of, hl_quant_float *params,
                              size_t n, size_t *n_floats)
{
    hl_graph *read = NULL;
    hl_status st = graph_read(m, of, &read);
    *n_floats = 0;
    for (size_t i = 0; i < n && st == HL_OK; i++) {
        hl_quant_float f = params[i];
        f.has_codes = has_codes(m, f.storage);
        params[i] = f;
        if (f.has_codes && !reads(read, f.storage))
            continue;
        params[i] = params[*n_floats];
        params[(*n_floats)++] = f;
    }
    hl_graph_free(read);
    return st;
}

/* ---- writing ---- */

typedef struct writer {
    hl_arena names; /* and small tensors */
    HL_VEC(hl_tensor_entry) entries;
    HL_VEC(void *) owned;
} writer;

static hl_status put(writer *w, const char *name, const char *suffix, hl_type type,
                     const void *data)
{
    const char *whole = hl_arena_printf(&w->names, "%s%s", name, suffix);
    const hl_tensor_entry e = {.name = whole, .type = type, .data = data};
    return whole ? hl_vec_push(&w->entries, e) : HL_E_NOMEM;
}

/* The same with memory that is the writer's from now on, also after a failure. */
static hl_status put_owned(writer *w, const char *name, const char *suffix, hl_type type,
                           void *data)
{
    if (!data)
        return HL_E_NOMEM;
    if (hl_vec_push(&w->owned, data) != HL_OK) {
        hl_free(data);
        return HL_E_NOMEM;
    }
    return put(w, name, suffix, type, data);
}

static hl_type vector(hl_dtype dtype, int64_t n)
{
    return hl_type_make(dtype, 1, &n);
}

static void *copy(const void *from, size_t n_bytes)
{
    void *to = hl_alloc(n_bytes + 1);
    if (to)
        memcpy(to, from, n_bytes);
    return to;
}

static float *floats_of(const hl_storage *s)
{
    const int64_t n = hl_type_count(&s->type);
    float *x = hl_alloc(((size_t)n + 1) * sizeof *x);
    for (int64_t i = 0; x && i < n; i++)
        x[i] = (float)hl_storage_get(s, i);
    return x;
}

static hl_status put_float(writer *w, const hl_quant_float *f)
{
    const char *suffix = f->has_codes ? FLOAT : "";
    if (f->storage->stored == HL_DTYPE_F32)
        return put(w, f->name, suffix, f->storage->type, f->storage->data);
    return put_owned(w, f->name, suffix, f->storage->type, floats_of(f->storage));
}

static hl_dtype dtype_of(const hl_quant_site *s, const hl_quantizer *q)
{
    return s->how.quantizer.bits > CODE_BITS_MAX ? HL_DTYPE_F32
           : q->int_min < 0                      ? HL_DTYPE_I8
                                                 : HL_DTYPE_U8;
}

static hl_status put_weight(writer *w, hl_quant_model *m, size_t i, const hl_quantizer *q)
{
    hl_status st = HL_OK;
    const hl_quant_site *s = hl_quant_model_site(m, i);
    const int64_t n = hl_type_count(&s->type);
    hl_type type = s->type;
    type.dtype = dtype_of(s, q);
    void *codes = hl_quant_model_codes(m, i);
    if (codes && type.dtype == HL_DTYPE_F32) {
        float *y = hl_alloc(((size_t)n + 1) * sizeof *y);
        if (y)
            hl_quantizer_decode(q, (hl_quant_part){n, 0, n}, hl_quantizer_code_type(q), codes, y);
        hl_free(codes);
        codes = y;
    }
    HL_TRY(put_owned(w, s->name, "", type, codes));
    HL_TRY(put_owned(w, s->name, SCALE, vector(HL_DTYPE_F32, q->o.n_channels),
                     copy(q->scale, (size_t)q->o.n_channels * sizeof(float))));
out:
    return st;
}

static hl_status put_range(writer *w, hl_quant_model *m, size_t i, const hl_quantizer *q)
{
    hl_status st = HL_OK;
    const char *name = hl_quant_model_site(m, i)->name;
    const double *range = hl_quant_model_range(m, i);
    HL_TRY(put_owned(w, name, RANGE, vector(HL_DTYPE_F64, 2),
                     copy(range + HL_QUANT_LO, 2 * sizeof(double))));
    HL_TRY(put_owned(w, name, SCALE, vector(HL_DTYPE_F32, 1), copy(q->scale, sizeof(float))));
    HL_TRY(put_owned(w, name, ZERO_POINT, vector(HL_DTYPE_F32, 1),
                     copy(q->zero_point, sizeof(float))));
out:
    return st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const hl_tensor_entry *)a)->name, ((const hl_tensor_entry *)b)->name);
}

/* By bytes of an element, then by name, so that all are aligned in the file. */
static int by_size(const void *a, const void *b)
{
    const size_t x = hl_dtype_bytes(((const hl_tensor_entry *)a)->type.dtype),
                 y = hl_dtype_bytes(((const hl_tensor_entry *)b)->type.dtype);
    return x != y ? (x < y) - (x > y) : by_name(a, b);
}

static hl_status check_names(const writer *w)
{
    for (size_t i = 1; i < w->entries.n; i++)
        if (by_name(&w->entries.at[i - 1], &w->entries.at[i]) == 0)
            return hl_err_set(HL_E_UNSUPPORTED,
                              "the model has a parameter that is called as part of a quantizer: "
                              "'%.*s'; name it otherwise",
                              NAME_SHOWN, w->entries.at[i].name);
    return HL_OK;
}

hl_status hl_quant_saved_write(hl_quant_model *m, const hl_quant_float *floats, size_t n_floats,
                               const char *path)
{
    hl_status st = HL_OK;
    writer w = {0};
    for (size_t i = 0; i < n_floats; i++)
        HL_TRY(put_float(&w, &floats[i]));
    for (size_t i = 0; i < hl_quant_model_n(m); i++) {
        const hl_quant_site *s = hl_quant_model_site(m, i);
        const hl_quantizer *q = s->is_on ? hl_quant_model_quantizer(m, i) : NULL;
        if (s->is_on && !q)
            HL_TRY(hl_err_code());
        if (q)
            HL_TRY(s->role == HL_QUANT_WEIGHT ? put_weight(&w, m, i, q) : put_range(&w, m, i, q));
    }
    if (w.entries.n)
        qsort(w.entries.at, w.entries.n, sizeof *w.entries.at, by_name);
    HL_TRY(check_names(&w));
    if (w.entries.n)
        qsort(w.entries.at, w.entries.n, sizeof *w.entries.at, by_size);
    HL_TRY(hl_safetensors_write(path, w.entries.at, w.entries.n, NULL));
out:
    for (size_t i = 0; i < w.owned.n; i++)
        hl_free(w.owned.at[i]);
    hl_vec_done(&w.owned);
    hl_vec_done(&w.entries);
    hl_arena_done(&w.names);
    return st;
}

/* ---- reading ---- */

struct hl_quant_saved {
    hl_safetensors *f;
    char *path;
    bool *taken; /* of each tensor */
};

hl_status hl_quant_saved_open(const char *path, hl_quant_saved **out)
{
    hl_status st = HL_OK;
    hl_quant_saved *s = hl_alloc_zero(1, sizeof *s);
    if (!s)
        return HL_E_NOMEM;
    HL_TRY(hl_safetensors_open(path, &s->f));
    s->path = hl_strdup(path);
    s->taken = hl_alloc_zero(hl_safetensors_count(s->f) + 1, sizeof *s->taken);
    if (!s->path || !s->taken)
        HL_TRY(HL_E_NOMEM);
    *out = s;
    s = NULL;
out:
    hl_quant_saved_close(s);
    return st;
}

void hl_quant_saved_close(hl_quant_saved *s)
{
    if (!s)
        return;
    hl_safetensors_close(s->f);
    hl_free(s->path);
    hl_free(s->taken);
    hl_free(s);
}

void hl_quant_saved_release(const hl_quant_saved *s, const hl_tensor_entry *e)
{
    hl_safetensors_release(s->f, e);
}

/* The tensor `name``suffix`, which must have this shape; dtype HL_DTYPE_COUNT: any. */
static hl_status take(hl_quant_saved *s, const char *name, const char *suffix, hl_type want,
                      const hl_tensor_entry **out)
{
    hl_str whole = {0};
    char shape[96], have[96];
    hl_status st = HL_OK;
    hl_str_addf(&whole, "%s%s", name, suffix);
    HL_TRY(hl_str_status(&whole));
    const hl_tensor_entry *e = hl_safetensors_find(s->f, whole.s);
    if (!e)
        HL_FAIL(HL_E_FORMAT,
                "%s has no tensor '%.*s', which the model needs: it belongs to another model",
                s->path, NAME_SHOWN, whole.s);
    if (!hl_shape_equal(&e->type, &want))
        HL_FAIL(HL_E_FORMAT,
                "%s: '%.*s' has shape %s, the model needs %s: it belongs to another model", s->path,
                NAME_SHOWN, whole.s, hl_shape_text(have, &e->type), hl_shape_text(shape, &want));
    if (want.dtype != HL_DTYPE_COUNT && e->type.dtype != want.dtype)
        HL_FAIL(HL_E_FORMAT, "%s: '%.*s' holds %s, not %s", s->path, NAME_SHOWN, whole.s,
                hl_dtype_name(e->type.dtype), hl_dtype_name(want.dtype));
    s->taken[e - hl_safetensors_at(s->f, 0)] = true;
    *out = e;
out:
    hl_str_done(&whole);
    return st;
}

/* Element i of a tensor of floats or doubles, wherever it lies. */
static double number_at(const hl_tensor_entry *e, int64_t i)
{
    double d;
    float f;
    if (e->type.dtype == HL_DTYPE_F64) {
        memcpy(&d, (const char *)e->data + i * (int64_t)sizeof d, sizeof d);
        return d;
    }
    memcpy(&f, (const char *)e->data + i * (int64_t)sizeof f, sizeof f);
    return (double)f;
}

static hl_status check_codes(const hl_quant_saved *s, const hl_tensor_entry *e,
                             const hl_quantizer *q)
{
    const int64_t n = hl_type_count(&e->type);
    const bool is_signed = e->type.dtype == HL_DTYPE_I8;
    for (int64_t i = 0; i < n; i++) {
        const int code =
            is_signed ? (int)((const int8_t *)e->data)[i] : (int)((const uint8_t *)e->data)[i];
        if (code < q->int_min || code > q->int_max)
            return hl_err_set(HL_E_FORMAT,
                              "%s: '%.*s' has the code %d at element %lld; %d bits go from %d to "
                              "%d",
                              s->path, NAME_SHOWN, e->name, code, (long long)i, q->o.bits,
                              q->int_min, q->int_max);
    }
    return HL_OK;
}

static hl_status check_finite(const hl_quant_saved *s, const hl_tensor_entry *e)
{
    const int64_t n = hl_type_count(&e->type);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(number_at(e, i)))
            return hl_err_set(HL_E_FORMAT, "%s: '%.*s' has %g at element %lld", s->path, NAME_SHOWN,
                              e->name, number_at(e, i), (long long)i);
    return HL_OK;
}

static hl_status take_scales(hl_quant_saved *s, const char *name, bool is_signed, hl_quantizer *q)
{
    hl_status st = HL_OK;
    const int64_t n = q->o.n_channels;
    const hl_tensor_entry *e = NULL;
    float *scales = NULL;
    HL_TRY(take(s, name, SCALE, vector(HL_DTYPE_F32, n), &e));
    scales = hl_alloc((size_t)n * sizeof *scales);
    if (!scales)
        HL_TRY(HL_E_NOMEM);
    for (int64_t c = 0; c < n; c++)
        scales[c] = (float)number_at(e, c);
    HL_TRY_CTX(hl_quantizer_set_scales(q, is_signed, scales), "%s: '%.*s'", s->path, NAME_SHOWN,
               e->name);
out:
    hl_free(scales);
    return st;
}

static bool has_negative(const hl_tensor_entry *e)
{
    const int64_t n = hl_type_count(&e->type);
    for (int64_t i = 0; i < n; i++)
        if (number_at(e, i) < 0)
            return true;
    return false;
}

hl_status hl_quant_saved_weight(hl_quant_saved *s, const hl_quant_site *site, hl_quantizer *q,
                                const hl_tensor_entry **codes)
{
    hl_status st = HL_OK;
    const bool as_codes = site->how.quantizer.bits <= CODE_BITS_MAX;
    const hl_tensor_entry *e = NULL;
    hl_type want = site->type;
    want.dtype = as_codes ? HL_DTYPE_COUNT : HL_DTYPE_F32;
    HL_TRY(hl_quantizer_init(q, &site->how.quantizer));
    HL_TRY(take(s, site->name, "", want, &e));
    if (as_codes && e->type.dtype != HL_DTYPE_I8 && e->type.dtype != HL_DTYPE_U8)
        HL_FAIL(HL_E_FORMAT, "%s: '%.*s' holds %s, not codes (i8 or u8): it is not quantized",
                s->path, NAME_SHOWN, e->name, hl_dtype_name(e->type.dtype));
    HL_TRY(
        take_scales(s, site->name, as_codes ? e->type.dtype == HL_DTYPE_I8 : has_negative(e), q));
    HL_TRY(as_codes ? check_codes(s, e, q) : check_finite(s, e));
    hl_safetensors_release(s->f, e);
    *codes = e;
out:
    return st;
}

/* What stands beside a range is what it gives, for readers that do not make quantizers of ranges.
 */
static hl_status check_given(hl_quant_saved *s, const char *name, const char *suffix, float want)
{
    const hl_tensor_entry *e = NULL;
    hl_status st = take(s, name, suffix, vector(HL_DTYPE_F32, 1), &e);
    if (st == HL_OK && (float)number_at(e, 0) != want)
        st = hl_err_set(HL_E_FORMAT, "%s: '%.*s' is %g, the range gives %g", s->path, NAME_SHOWN,
                        e->name, number_at(e, 0), (double)want);
    return st;
}

hl_status hl_quant_saved_range(hl_quant_saved *s, const hl_quant_site *site, hl_quantizer *q,
                               double *range)
{
    hl_status st = HL_OK;
    const hl_tensor_entry *e = NULL;
    HL_TRY(take(s, site->name, RANGE, vector(HL_DTYPE_F64, 2), &e));
    const double lo = number_at(e, 0), hi = number_at(e, 1);
    if (!isfinite(lo) || !isfinite(hi) || lo > hi)
        HL_FAIL(HL_E_FORMAT, "%s: '%.*s' is a range from %g to %g", s->path, NAME_SHOWN, e->name,
                lo, hi);
    range[HL_QUANT_SEEN] = 1;
    range[HL_QUANT_LO] = lo;
    range[HL_QUANT_HI] = hi;
    HL_TRY_CTX(hl_quantizer_take_state(q, range, site->how.percentile > 0), "%s: '%.*s'", s->path,
               NAME_SHOWN, e->name);
    HL_TRY(check_given(s, site->name, SCALE, q->scale[0]));
    HL_TRY(check_given(s, site->name, ZERO_POINT, q->zero_point[0]));
out:
    return st;
}

hl_status hl_quant_saved_float(hl_quant_saved *s, const hl_quant_float *to)
{
    hl_status st = HL_OK;
    const hl_tensor_entry *e = NULL;
    HL_TRY(take(s, to->name, to->has_codes ? FLOAT : "", to->storage->type, &e));
    HL_TRY(check_finite(s, e));
    HL_TRY(hl_storage_load(to->storage, e->data, e->type.dtype, hl_type_count(&e->type)));
    hl_safetensors_release(s->f, e);
out:
    return st;
}

hl_status hl_quant_saved_end(const hl_quant_saved *s)
{
    for (size_t i = 0; i < hl_safetensors_count(s->f); i++)
        if (!s->taken[i])
            return hl_err_set(HL_E_FORMAT,
                              "%s: the model has no place for the tensor '%.*s': it belongs to "
                              "another model",
                              s->path, NAME_SHOWN, hl_safetensors_at(s->f, i)->name);
    return HL_OK;
}
