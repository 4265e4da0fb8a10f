
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/exec/device.h"
#include "engine/quant/inputs.h"
#include "engine/quant/int8_gemm.h"
#include "engine/quant/model_internal.h"
#include "engine/quant/saved.h"

hl_status hl_quant_model_new(const hl_quant_rules *rules, const hl_quant_recipe *recipe, bool fp64,
                             hl_quant_model **out)
{
    hl_status st = hl_quant_options_check(&recipe->weight.quantizer);
    if (st == HL_OK)
        st = hl_quant_options_check(&recipe->act.quantizer);
    if (st == HL_OK)
        st = hl_quant_method_check(&recipe->method);
    if (st != HL_OK)
        return st;
    hl_quant_model *m = hl_alloc_zero(1, sizeof *m);
    if (!m)
        return HL_E_NOMEM;
    *m = (hl_quant_model){.rules = rules, .recipe = recipe, .fp64 = fp64};
    *out = m;
    return HL_OK;
}

static void forget(hl_quant_kept *k)
{
    hl_storage_unref(k->storage);
    hl_storage_unref(k->run);
    hl_storage_unref(k->run_t);
    hl_storage_unref(k->scales);
    if (k->codes != &k->in_file)
        hl_storage_unref(k->codes);
    hl_quantizer_done(&k->q);
}

const float *hl_quant_floats_of(const hl_storage *s, float **owned)
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

static void measure(int64_t n, const float *x, const float *y, hl_quant_kept *k)
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
    hl_quant_kept *k = &m->kept[i];
    const hl_storage *from = s->source;
    float *owned = NULL, *twin = NULL;
    hl_range_estimator *e = NULL;
    hl_quant_range range;
    const int64_t rows = s->type.dim[0], n = hl_type_count(&s->type);
    const float *x = hl_quant_floats_of(from, &owned);
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
    if (m->fp64)
        st = hl_storage_load(k->storage, y, HL_DTYPE_F32, n);
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
            m->sites.at[i].is_bytes = s->how.quantizer.bits <= 8;
            m->sites.at[i].is_unsigned = m->kept[i].q.int_min == 0;
            m->sites.at[i].is_packed = !m->fp64 && !hl_device_current();
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
    const hl_quant_kept *k = &m->kept[i];
    const int64_t n = hl_type_count(&m->sites.at[i].type);
    const hl_code_type type = hl_quantizer_code_type(&k->q);
    float *owned = NULL;
    if (k->saved && has_codes(m, i)) {
        memcpy(codes, k->saved->data, (size_t)n * hl_code_bytes(type));
        hl_quant_saved_release(m->from, k->saved);
        return HL_OK;
    }
    const float *x = hl_quant_floats_of(k->storage, &owned);
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
    hl_quant_kept *k = &m->kept[i];
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
    hl_quant_kept *k = &m->kept[i];
    const int64_t n = m->sites.at[i].how.quantizer.n_channels;
    const hl_type type = hl_type_make(HL_DTYPE_F32, 1, &n);
    if (k->scales)
        return HL_OK;
    const hl_status st = hl_storage_new(&type, m->fp64, &k->scales);
    for (int64_t c = 0; c < n && st == HL_OK; c++)
        hl_storage_set(k->scales, c, (double)k->q.scale[c]);
    return st;
}

static void transpose(int64_t rows, int64_t cols, const int8_t *from, int8_t *to)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            to[c * rows + r] = from[r * cols + c];
}

/* Codes for linear_int8, of all graphs. Owned by the caller. NULL: NOMEM. */
static int8_t *codes_to_run(const hl_quant_model *m, size_t i, bool transposed)
{
    const hl_type *t = &m->sites.at[i].type;
    const int64_t n = hl_type_count(t);
    int8_t *codes = hl_quant_model_codes(m, i), *turned = NULL;
    for (int64_t c = 0; codes && m->sites.at[i].is_unsigned && c < n; c++)
        ((uint8_t *)codes)[c] ^= 0x80; /* 128 lower */
    if (!codes || !transposed)
        return codes;
    turned = hl_alloc((size_t)n + 1);
    if (turned)
        transpose(t->dim[0], t->dim[1], codes, turned);
    hl_free(codes);
    return turned;
}

/* For linear_int8: one byte for each weight, packed but in fp64. */
static hl_status make_run(const hl_quant_model *m, size_t i, bool transposed, hl_storage **at)
{
    hl_status st = HL_OK;
    const hl_quant_site *s = &m->sites.at[i];
    const int64_t n = s->type.dim[transposed ? 1 : 0], k = s->type.dim[transposed ? 0 : 1];
    const int64_t bytes = s->is_packed ? (int64_t)hl_int8_weights_bytes(n, k) : n * k;
    const hl_type type = hl_type_make(HL_DTYPE_I8, 1, &bytes);
    int8_t *codes = NULL;
    if (*at)
        return HL_OK;
    codes = codes_to_run(m, i, transposed);
    if (!codes)
        HL_TRY(HL_E_NOMEM);
    HL_TRY(hl_storage_new(&type, false, at));
    if (s->is_packed)
        hl_int8_weights_pack(n, k, codes, (*at)->data);
    else
        memcpy((*at)->data, codes, (size_t)bytes);
out:
    hl_free(codes);
    return st;
}

/* Those of a file are read where they are, if they are looked up: pages that nobody touches are
 * never loaded. */
static hl_status make_codes(const hl_quant_model *m, size_t i)
{
    hl_status st = HL_OK;
    hl_quant_kept *k = &m->kept[i];
    hl_type type = m->sites.at[i].type;
    type.dtype = HL_DTYPE_I8;
    const bool stays_in_file = k->saved && !m->sites.at[i].all_codes;
    if (k->codes && (k->codes != &k->in_file || stays_in_file))
        return HL_OK;
    if (stays_in_file) {
        k->in_file = (hl_storage){.type = type,
                                  .stored = HL_DTYPE_I8,
                                  .data = (void *)(uintptr_t)k->saved->data,
                                  .bytes = hl_type_bytes(&type),
                                  .refs = 1};
        k->codes = &k->in_file;
        return HL_OK;
    }
    HL_TRY(hl_storage_new(&type, false, &k->codes));
    HL_TRY(encode(m, i, k->codes->data));
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
    hl_quant_model_forget_layers(m);
}

static hl_status first_graph(hl_quant_model *m, hl_team *team)
{
    if (m->sites.n == 0)
        return hl_err_set(HL_E_UNSUPPORTED,
                          "there is nothing to quantize in this model: no layer and no product "
                          "with a parameter but those that it names in in_float");
    return keep_sites(m, team);
}

/* Does the graph of the method come with its storages? */
static bool is_bound(const hl_quant_model *m, const hl_quant_wish *wish)
{
    const hl_quant_method method = m->recipe->method.method;
    return hl_quant_is_by_layer(method) ||
           (method != HL_QUANT_STATIC && wish->mode == HL_QUANT_INPUTS);
}

hl_status hl_quant_model_sketch(hl_quant_model *m, const hl_graph *g, const hl_quant_wish *wish,
                                hl_team *team, hl_graph **out)
{
    hl_status st = HL_OK;
    hl_graph *smoothed = NULL;
    *out = NULL;
    if (m->from && m->recipe->method.method != HL_QUANT_STATIC)
        HL_FAIL(HL_E_FORMAT, "quantized checkpoints are of the static method, not of %s",
                hl_quant_method_names[m->recipe->method.method]);
    if (m->recipe->method.method != HL_QUANT_STATIC) {
        HL_TRY(hl_quant_model_by_layer(m, g, wish, team, out));
        m->is_ready |= m->is_settled && hl_quant_is_by_layer(m->recipe->method.method);
        if (is_bound(m, wish))
            return HL_OK;
        g = smoothed = *out;
        *out = NULL;
    }
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
    hl_graph_free(smoothed);
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
    hl_quant_kept *k = &m->kept[i];
    hl_value *values = g->values.at;
    if (x->leaf != HL_NONE && x->role == HL_QUANT_WEIGHT && is_read(g, x->leaf))
        HL_TRY(make_floats(m, i));
    if (x->leaf != HL_NONE)
        values[x->leaf].data = k->storage;
    if (x->run != HL_NONE) {
        HL_TRY(make_run(m, i, false, &k->run));
        values[x->run].data = k->run;
    }
    if (x->run_t != HL_NONE) {
        HL_TRY(make_run(m, i, true, &k->run_t));
        values[x->run_t].data = k->run_t;
    }
    if (x->codes != HL_NONE) {
        HL_TRY(make_codes(m, i));
        values[x->codes].data = k->codes;
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
    if (is_bound(m, wish))
        return HL_OK;
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
        const hl_quant_kept *k = &m->kept[i];
        const hl_storage *const forms[] = {k->storage, k->run, k->run_t, k->codes, k->scales};
        for (int f = 0; m->sites.at[i].role == HL_QUANT_WEIGHT && f < 5; f++)
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
    const hl_quant_kept *k = m->kept ? &m->kept[i] : NULL;
    if (!k || hl_quant_is_by_layer(m->recipe->method.method))
        return 0;
    if (m->sites.at[i].role == HL_QUANT_WEIGHT)
        return k->q.has_range;
    return k->storage ? (int64_t)hl_storage_get(k->storage, HL_QUANT_SEEN) : 0;
}

const hl_quantizer *hl_quant_model_quantizer(hl_quant_model *m, size_t i)
{
    hl_quant_kept *k = &m->kept[i];
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
    const hl_quant_kept *k = &m->kept[i];
    return m->sites.at[i].role == HL_QUANT_WEIGHT ? k->measured : k->storage->data;
}

double hl_quant_model_weight_bits(const hl_quant_model *m, size_t i)
{
    const hl_quant_site *s = &m->sites.at[i];
    const double n = (double)hl_type_count(&s->type);
    if (hl_quant_is_weight_only(m->recipe->method.method))
        return hl_group_bits(&m->recipe->method.group, s->type.dim[0], s->type.dim[1]);
    const hl_quant_method method = m->recipe->method.method;
    const bool by_row = method == HL_QUANT_PER_TOKEN || method == HL_QUANT_LLM_INT8;
    return n * s->how.quantizer.bits +
           32 * (double)(by_row ? s->type.dim[0] : s->how.quantizer.n_channels);
}

bool hl_quant_model_outliers(const hl_quant_model *m, size_t i, double *mean, double *most)
{
    const hl_storage *s = m->kept ? m->kept[i].storage : NULL;
    if (m->recipe->method.method != HL_QUANT_LLM_INT8 || !s ||
        !(hl_storage_get(s, HL_OUTLIERS_BATCHES) > 0))
        return false;
    *mean = hl_storage_get(s, HL_OUTLIERS_SUM) / hl_storage_get(s, HL_OUTLIERS_BATCHES);
    *most = hl_storage_get(s, HL_OUTLIERS_MOST);
    return true;
}

void hl_quant_model_only(hl_quant_model *m, size_t i)
{
    for (size_t k = 0; m->kept && k < m->sites.n; k++)
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
