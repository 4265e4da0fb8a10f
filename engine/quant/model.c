
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/quant/inputs.h"
#include "engine/quant/model_internal.h"

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
    hl_storage_unref(k->codes);
    hl_storage_unref(k->codes_t);
    hl_storage_unref(k->scales);
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
            HL_TRY_CTX(quantize_weight(m, i, team), "quantizing '%s'", s->name);
            m->sites.at[i].is_bytes = s->how.quantizer.bits <= 8;
            m->sites.at[i].is_unsigned = m->kept[i].q.int_min == 0;
        } else {
            HL_TRY(hl_quantizer_init(&m->kept[i].q, &s->how.quantizer));
            HL_TRY(hl_storage_new(&range, false, &m->kept[i].storage));
        }
    }
out:
    return st;
}

/* Codes and scales of a weight, made when they are first wanted. */
static hl_status make_codes(hl_quant_model *m, size_t i)
{
    hl_status st = HL_OK;
    const hl_quant_site *s = &m->sites.at[i];
    hl_quant_kept *k = &m->kept[i];
    const int64_t n = hl_type_count(&s->type), n_scales = s->how.quantizer.n_channels;
    hl_type codes = s->type, scales = hl_type_make(HL_DTYPE_F32, 1, &n_scales);
    float *owned = NULL;
    if (k->codes)
        return HL_OK;
    codes.dtype = HL_DTYPE_I8;
    const float *x = hl_quant_floats_of(s->source, &owned);
    if (!x)
        HL_TRY(HL_E_NOMEM);
    HL_TRY(hl_storage_new(&codes, false, &k->codes));
    HL_TRY(hl_storage_new(&scales, m->fp64, &k->scales));
    hl_quantizer_encode(&k->q, (hl_quant_part){n, 0, n}, x,
                        s->is_unsigned ? HL_CODE_U8 : HL_CODE_I8, k->codes->data);
    for (int64_t c = 0; s->is_unsigned && c < n; c++)
        ((uint8_t *)k->codes->data)[c] ^= 0x80; /* 128 lower */
    for (int64_t c = 0; c < n_scales; c++)
        hl_storage_set(k->scales, c, (double)k->q.scale[c]);
out:
    hl_free(owned);
    return st;
}

static hl_status transpose_codes(hl_quant_model *m, size_t i)
{
    const hl_quant_site *s = &m->sites.at[i];
    hl_quant_kept *k = &m->kept[i];
    const int64_t rows = s->type.dim[0], cols = s->type.dim[1], dim[2] = {cols, rows};
    if (s->codes_t == HL_NONE || k->codes_t)
        return HL_OK;
    const hl_type type = hl_type_make(HL_DTYPE_I8, 2, dim);
    hl_status st = hl_storage_new(&type, false, &k->codes_t);
    if (st != HL_OK)
        return st;
    const int8_t *from = k->codes->data;
    int8_t *to = k->codes_t->data;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            to[c * rows + r] = from[r * cols + c];
    return HL_OK;
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

hl_status hl_quant_model_graph(hl_quant_model *m, const hl_graph *g, const hl_quant_wish *wish,
                               hl_team *team, hl_graph **out)
{
    hl_status st = HL_OK;
    hl_graph *smoothed = NULL;
    *out = NULL;
    if (m->recipe->method.method != HL_QUANT_STATIC) {
        HL_TRY(hl_quant_model_by_layer(m, g, wish, team, out));
        m->is_ready |= m->is_settled && hl_quant_is_by_layer(m->recipe->method.method);
        if (hl_quant_is_by_layer(m->recipe->method.method) || wish->mode == HL_QUANT_INPUTS)
            return HL_OK;
        g = smoothed = *out;
        *out = NULL;
    }
    HL_TRY(hl_pass_quantize(g, m->rules, m->recipe, wish, &m->sites, out));
    if (!m->kept)
        HL_TRY(first_graph(m, team));
    hl_value *values = (*out)->values.at;
    for (size_t i = 0; i < m->sites.n; i++) {
        const hl_quant_site *x = &m->sites.at[i];
        if (x->leaf != HL_NONE)
            values[x->leaf].data = m->kept[i].storage;
        if (x->scales == HL_NONE)
            continue;
        HL_TRY(make_codes(m, i));
        HL_TRY(transpose_codes(m, i));
        if (x->codes != HL_NONE)
            values[x->codes].data = m->kept[i].codes;
        if (x->codes_t != HL_NONE)
            values[x->codes_t].data = m->kept[i].codes_t;
        values[x->scales].data = m->kept[i].scales;
    }
    m->is_ready = true;
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

void hl_quant_model_free(hl_quant_model *m)
{
    if (!m)
        return;
    forget_sites(m);
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
    if (!m->kept || !m->kept[i].storage || hl_quant_is_by_layer(m->recipe->method.method))
        return 0;
    return m->sites.at[i].role == HL_QUANT_WEIGHT
               ? 1
               : (int64_t)hl_storage_get(m->kept[i].storage, HL_QUANT_SEEN);
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
        m->sites.at[k].is_on = m->kept[k].storage && (i == HL_QUANT_ALL || i == k);
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
