#include "engine/quant/model.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/quant/int8_gemm.h"
#include "engine/quant/saved.h"

/* What is kept of a site. */
typedef struct kept {
    hl_storage
        *storage; /* ACT: the range; WEIGHT: its quantized copy, if it is wanted; NULL: off */
    hl_quantizer q;
    double measured[HL_QUANT_RANGE_FIELDS]; /* of a weight */
    hl_storage *codes, *scales;             /* of a weight that is run in integers */
    hl_storage *rows;                       /* of one that is looked up as codes */
    const hl_tensor_entry *saved;           /* of a weight from a file: its codes there */
    hl_storage in_file;                     /* what `rows` points to then: no memory of its own */
} kept;

struct hl_quant_model {
    const hl_quant_rules *rules;
    const hl_quant_recipe *recipe;
    bool fp64;
    hl_quant_sites sites;
    kept *kept;           /* NULL before the first graph */
    bool is_ready;        /* a graph was made */
    hl_quant_saved *from; /* NULL: weights are quantized here */
};

hl_status hl_quant_model_new(const hl_quant_rules *rules, const hl_quant_recipe *recipe, bool fp64,
                             hl_quant_model **out)
{
    hl_status st = hl_quant_options_check(&recipe->weight.quantizer);
    if (st == HL_OK)
        st = hl_quant_options_check(&recipe->act.quantizer);
    if (st != HL_OK)
        return st;
    hl_quant_model *m = hl_alloc_zero(1, sizeof *m);
    if (!m)
        return HL_E_NOMEM;
    *m = (hl_quant_model){.rules = rules, .recipe = recipe, .fp64 = fp64};
    *out = m;
    return HL_OK;
}

static void forget(kept *k)
{
    hl_storage_unref(k->storage);
    hl_storage_unref(k->codes);
    hl_storage_unref(k->scales);
    if (k->rows != &k->in_file)
        hl_storage_unref(k->rows);
    hl_quantizer_done(&k->q);
}

/* The numbers as floats: those of the storage, or a copy in *owned. */
static const float *floats_of(const hl_storage *s, float **owned)
{
    const int64_t n = hl_type_count(&s->type);
    *owned = NULL;
    if (s->stored == HL_DTYPE_F32)
        return s->data;
    float *x = *owned = hl_alloc(((size_t)n + 1) * sizeof *x);
    for (int64_t i = 0; x && i < n; i++)
        x[i] = (float)hl_storage_get(s, i);
    return x;
}

static void measure(int64_t n, const float *x, const float *y, kept *k)
{
    double *m = k->measured;
    m[HL_QUANT_NUMBERS] = (double)n;
    const int64_t each = n / k->q.o.n_channels; /* a whole number */
    for (int64_t i = 0; i < n; i++) {
        const double v = (double)x[i], e = v - (double)y[i];
        m[HL_QUANT_SIGNAL] += v * v;
        m[HL_QUANT_NOISE] += e * e;
        m[HL_QUANT_CLIPPED] += fabs(e) > 0.5001 * (double)k->q.scale[i / each];
    }
}

static hl_status quantize_weight(hl_quant_model *m, size_t i, hl_team *team)
{
    hl_status st = HL_OK;
    const hl_quant_site *s = &m->sites.at[i];
    kept *k = &m->kept[i];
    const hl_storage *from = s->source;
    float *owned = NULL, *twin = NULL;
    hl_range_estimator *e = NULL;
    hl_quant_range range;
    const int64_t rows = s->type.dim[0], n = hl_type_count(&s->type);
    const float *x = floats_of(from, &owned);
    if (!x)
        HL_TRY(HL_E_NOMEM);
    HL_TRY(hl_quantizer_init(&k->q, &s->how.quantizer));
    HL_TRY(hl_range_estimator_new(&s->how, &e));
    HL_TRY(hl_range_estimator_observe(e, team, rows, rows ? n / rows : 0, x, &range));
    HL_TRY(hl_quantizer_set_range(&k->q, &range));
    HL_TRY(hl_storage_new(&s->type, m->fp64, &k->storage));
    if (m->fp64 && !(twin = hl_alloc(((size_t)n + 1) * sizeof *twin)))
        HL_TRY(HL_E_NOMEM);
    float *y = m->fp64 ? twin : k->storage->data;
    hl_quantizer_apply(&k->q, (hl_quant_part){n, 0, n}, x, y);
    measure(n, x, y, k);
    for (int64_t e_ = 0; m->fp64 && e_ < n; e_++)
        hl_storage_set(k->storage, e_, (double)y[e_]);
out:
    hl_range_estimator_free(e);
    hl_free(owned);
    hl_free(twin);
    return st;
}

static hl_status keep_sites(hl_quant_model *m, hl_team *team)
{
    hl_status st = HL_OK;
    const int64_t fields = HL_QUANT_RANGE_FIELDS;
    const hl_type range = hl_type_make(HL_DTYPE_F64, 1, &fields);
    m->kept = hl_alloc_zero(m->sites.n + 1, sizeof *m->kept);
    if (!m->kept)
        return HL_E_NOMEM;
    for (size_t i = 0; i < m->sites.n; i++) {
        const hl_quant_site *s = &m->sites.at[i];
        if (!s->is_on)
            continue;
        if (s->role == HL_QUANT_WEIGHT) {
            if (m->from)
                HL_TRY(hl_quant_saved_weight(m->from, s, &m->kept[i].q, &m->kept[i].saved));
            else
                HL_TRY_CTX(quantize_weight(m, i, team), "quantizing '%s'", s->name);
            m->sites.at[i].is_bytes = m->kept[i].q.int_min < 0 && s->how.quantizer.bits <= 8;
            m->sites.at[i].is_packed = !m->fp64;
        } else {
            HL_TRY(hl_quantizer_init(&m->kept[i].q, &s->how.quantizer));
            HL_TRY(hl_storage_new(&range, false, &m->kept[i].storage));
            if (m->from)
                HL_TRY(hl_quant_saved_range(m->from, s, &m->kept[i].q, m->kept[i].storage->data));
        }
    }
out:
    return st;
}

/* ---- forms of a weight, made when a graph first reads them ---- */

static bool has_codes(const hl_quant_model *m, size_t i)
{
    return m->sites.at[i].how.quantizer.bits <= 8;
}

/* Into memory for all codes of weight i. */
static hl_status encode(const hl_quant_model *m, size_t i, void *codes)
{
    const kept *k = &m->kept[i];
    const int64_t n = hl_type_count(&m->sites.at[i].type);
    const hl_code_type type = hl_quantizer_code_type(&k->q);
    float *owned = NULL;
    if (k->saved && has_codes(m, i)) {
        memcpy(codes, k->saved->data, (size_t)n * hl_code_bytes(type));
        hl_quant_saved_release(m->from, k->saved);
        return HL_OK;
    }
    const float *x = floats_of(k->storage, &owned);
    if (!x)
        return HL_E_NOMEM;
    hl_quantizer_encode(&k->q, (hl_quant_part){n, 0, n}, x, type, codes);
    hl_free(owned);
    return HL_OK;
}

void *hl_quant_model_codes(const hl_quant_model *m, size_t i)
{
    const size_t n = (size_t)hl_type_count(&m->sites.at[i].type);
    void *codes = hl_alloc(n * hl_code_bytes(hl_quantizer_code_type(&m->kept[i].q)) + 1);
    if (codes && encode(m, i, codes) == HL_OK)
        return codes;
    hl_free(codes);
    return NULL;
}

static hl_status make_floats(const hl_quant_model *m, size_t i)
{
    hl_status st = HL_OK;
    kept *k = &m->kept[i];
    const hl_type *t = &m->sites.at[i].type;
    const int64_t n = hl_type_count(t);
    float *twin = NULL;
    if (k->storage)
        return HL_OK;
    HL_TRY(hl_storage_new(t, m->fp64, &k->storage));
    if (!has_codes(m, i)) {
        st = hl_storage_load(k->storage, k->saved->data, HL_DTYPE_F32, n);
    } else {
        float *y = m->fp64 ? twin = hl_alloc(((size_t)n + 1) * sizeof *twin) : k->storage->data;
        if (!y)
            HL_TRY(HL_E_NOMEM);
        hl_quantizer_decode(&k->q, (hl_quant_part){n, 0, n}, hl_quantizer_code_type(&k->q),
                            k->saved->data, y);
        if (m->fp64)
            st = hl_storage_load(k->storage, y, HL_DTYPE_F32, n);
    }
    hl_quant_saved_release(m->from, k->saved);
out:
    hl_free(twin);
    return st;
}

static hl_status make_scales(const hl_quant_model *m, size_t i)
{
    kept *k = &m->kept[i];
    const int64_t n = m->sites.at[i].how.quantizer.n_channels;
    const hl_type type = hl_type_make(HL_DTYPE_F32, 1, &n);
    if (k->scales)
        return HL_OK;
    const hl_status st = hl_storage_new(&type, m->fp64, &k->scales);
    for (int64_t c = 0; c < n && st == HL_OK; c++)
        hl_storage_set(k->scales, c, (double)k->q.scale[c]);
    return st;
}

/* For linear_int8: packed, one byte for each weight, for all graphs. */
static hl_status make_codes(const hl_quant_model *m, size_t i)
{
    hl_status st = HL_OK;
    kept *k = &m->kept[i];
    const hl_type *t = &m->sites.at[i].type;
    hl_type codes = *t;
    int8_t *plain = NULL;
    if (k->codes)
        return HL_OK;
    codes.dtype = HL_DTYPE_I8;
    if (!m->sites.at[i].is_packed) {
        HL_TRY(hl_storage_new(&codes, false, &k->codes));
        return encode(m, i, k->codes->data);
    }
    const int64_t bytes = (int64_t)hl_int8_weights_bytes(t->dim[0], t->dim[1]);
    codes = hl_type_make(HL_DTYPE_I8, 1, &bytes);
    plain = k->saved ? NULL : hl_quant_model_codes(m, i);
    if (!plain && !k->saved)
        HL_TRY(HL_E_NOMEM);
    HL_TRY(hl_storage_new(&codes, false, &k->codes));
    hl_int8_weights_pack(t->dim[0], t->dim[1], k->saved ? k->saved->data : plain, k->codes->data);
    if (k->saved)
        hl_quant_saved_release(m->from, k->saved);
out:
    hl_free(plain);
    return st;
}

/* Those of a file are read where they are, if they are looked up: pages that nobody touches are
 * never loaded. */
static hl_status make_rows(const hl_quant_model *m, size_t i)
{
    hl_status st = HL_OK;
    kept *k = &m->kept[i];
    hl_type codes = m->sites.at[i].type;
    codes.dtype = HL_DTYPE_I8;
    const bool stays_in_file = k->saved && !m->sites.at[i].all_rows;
    if (k->rows && (k->rows != &k->in_file || stays_in_file))
        return HL_OK;
    if (stays_in_file) {
        k->in_file = (hl_storage){.type = codes,
                                  .stored = HL_DTYPE_I8,
                                  .data = (void *)(uintptr_t)k->saved->data,
                                  .bytes = hl_type_bytes(&codes),
                                  .refs = 1};
        k->rows = &k->in_file;
        return HL_OK;
    }
    HL_TRY(hl_storage_new(&codes, false, &k->rows));
    HL_TRY(encode(m, i, k->rows->data));
out:
    return st;
}

/* As before the first graph. */
static void forget_sites(hl_quant_model *m)
{
    for (size_t i = 0; m->kept && i < m->sites.n; i++)
        forget(&m->kept[i]);
    hl_free(m->kept);
    m->kept = NULL;
    hl_quant_sites_done(&m->sites);
}

static hl_status first_graph(hl_quant_model *m, hl_team *team)
{
    if (m->sites.n == 0)
        return hl_err_set(HL_E_UNSUPPORTED,
                          "there is nothing to quantize in this model: layers inside of "
                          "equilibrium solves stay in float, as do those that the model "
                          "names in in_float");
    return keep_sites(m, team);
}

hl_status hl_quant_model_sketch(hl_quant_model *m, const hl_graph *g, const hl_quant_wish *wish,
                                hl_team *team, hl_graph **out)
{
    hl_status st = HL_OK;
    *out = NULL;
    HL_TRY(hl_pass_quantize(g, m->rules, m->recipe, wish, &m->sites, out));
    if (!m->kept)
        HL_TRY(first_graph(m, team));
out:
    if (st != HL_OK && !m->is_ready)
        forget_sites(m);
    if (st != HL_OK) {
        hl_graph_free(*out);
        *out = NULL;
    }
    return st;
}

static bool is_read(const hl_graph *g, hl_id v)
{
    for (size_t i = 0; i < g->nodes.n; i++)
        for (int k = 0; k < g->nodes.at[i].n_in; k++)
            if (g->nodes.at[i].in[k] == v)
                return true;
    return false;
}

/* Storages for the leaves that stand for site i. */
static hl_status bind_site(hl_quant_model *m, size_t i, const hl_graph *g)
{
    hl_status st = HL_OK;
    const hl_quant_site *x = &m->sites.at[i];
    const kept *k = &m->kept[i];
    hl_value *values = g->values.at;
    if (x->leaf != HL_NONE && x->role == HL_QUANT_WEIGHT && is_read(g, x->leaf))
        HL_TRY(make_floats(m, i));
    if (x->leaf != HL_NONE)
        values[x->leaf].data = k->storage;
    if (x->codes != HL_NONE) {
        HL_TRY(make_codes(m, i));
        values[x->codes].data = k->codes;
    }
    if (x->rows != HL_NONE) {
        HL_TRY(make_rows(m, i));
        values[x->rows].data = k->rows;
    }
    if (x->scales != HL_NONE) {
        HL_TRY(make_scales(m, i));
        values[x->scales].data = k->scales;
    }
out:
    return st;
}

hl_status hl_quant_model_graph(hl_quant_model *m, const hl_graph *g, const hl_quant_wish *wish,
                               hl_team *team, hl_graph **out)
{
    hl_status st = HL_OK;
    HL_TRY(hl_quant_model_sketch(m, g, wish, team, out));
    for (size_t i = 0; i < m->sites.n; i++)
        HL_TRY(bind_site(m, i, *out));
    m->is_ready = true;
out:
    if (st != HL_OK && !m->is_ready)
        forget_sites(m);
    if (st != HL_OK) {
        hl_graph_free(*out);
        *out = NULL;
    }
    return st;
}

void hl_quant_model_restore(hl_quant_model *m, hl_quant_saved *from)
{
    m->from = from;
}

int64_t hl_quant_model_weight_bytes(const hl_quant_model *m, int64_t *in_file)
{
    int64_t n = 0;
    *in_file = 0;
    for (size_t i = 0; m->kept && i < m->sites.n; i++) {
        const kept *k = &m->kept[i];
        const hl_storage *const forms[] = {k->storage, k->codes, k->scales, k->rows};
        for (int f = 0; m->sites.at[i].role == HL_QUANT_WEIGHT && f < 4; f++)
            if (forms[f])
                *(forms[f] == &k->in_file ? in_file : &n) += (int64_t)forms[f]->bytes;
    }
    return n;
}

void hl_quant_model_free(hl_quant_model *m)
{
    if (!m)
        return;
    forget_sites(m);
    hl_quant_saved_close(m->from);
    hl_free(m);
}

size_t hl_quant_model_n(const hl_quant_model *m)
{
    return m->sites.n;
}

const hl_quant_site *hl_quant_model_site(const hl_quant_model *m, size_t i)
{
    return &m->sites.at[i];
}

int64_t hl_quant_model_seen(const hl_quant_model *m, size_t i)
{
    const kept *k = &m->kept[i];
    if (m->sites.at[i].role == HL_QUANT_WEIGHT)
        return k->q.has_range;
    return k->storage ? (int64_t)hl_storage_get(k->storage, HL_QUANT_SEEN) : 0;
}

const hl_quantizer *hl_quant_model_quantizer(hl_quant_model *m, size_t i)
{
    kept *k = &m->kept[i];
    const hl_quant_site *s = &m->sites.at[i];
    if (hl_quant_model_seen(m, i) == 0) {
        (void)hl_err_set(HL_E_STATE, "'%s' has no range: %s", s->name,
                         s->is_on ? "nothing has been observed" : "it stays in float");
        return NULL;
    }
    if (s->role == HL_QUANT_WEIGHT)
        return &k->q;
    return hl_quantizer_take_state(&k->q, k->storage->data, s->how.percentile > 0) == HL_OK ? &k->q
                                                                                            : NULL;
}

const double *hl_quant_model_range(const hl_quant_model *m, size_t i)
{
    const hl_storage *s = m->sites.at[i].role == HL_QUANT_ACT ? m->kept[i].storage : NULL;
    return s ? s->data : NULL;
}

const double *hl_quant_model_measures(const hl_quant_model *m, size_t i)
{
    const kept *k = &m->kept[i];
    return m->sites.at[i].role == HL_QUANT_WEIGHT ? k->measured : k->storage->data;
}

void hl_quant_model_only(hl_quant_model *m, size_t i)
{
    for (size_t k = 0; k < m->sites.n; k++)
        m->sites.at[k].is_on =
            (m->kept[k].storage || m->kept[k].q.has_range) && (i == HL_QUANT_ALL || i == k);
}

static bool is_observed(const hl_quant_model *m, size_t i)
{
    return m->sites.at[i].is_on && m->sites.at[i].role == HL_QUANT_ACT;
}

hl_status hl_quant_model_explain(const hl_quant_model *m, hl_status st)
{
    int64_t most = 0;
    size_t n = m->sites.n, first = n, behind = n;
    if (st != HL_E_NUMERIC || !m->kept) /* the latter: it was a weight, and is named */
        return st;
    for (size_t i = 0; i < n; i++)
        if (is_observed(m, i) && hl_quant_model_seen(m, i) > most)
            most = hl_quant_model_seen(m, i);
    for (size_t i = n; i-- > 0;)
        if (is_observed(m, i)) {
            first = i;
            behind = hl_quant_model_seen(m, i) < most ? i : behind;
        }
    /* if none is behind, it was the first of the next batch */
    const size_t at = behind < n ? behind : first;
    return at < n ? hl_err_context("the quantizer of '%s', batch %lld", m->sites.at[at].name,
                                   (long long)hl_quant_model_seen(m, at) + 1)
                  : st;
}
