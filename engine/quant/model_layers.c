/* The methods that are not static: what goes into their layers is observed in float, all of it in
 * one go, then their weights are made (engine/quant/method.h). */
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/quant/awq.h"
#include "engine/quant/fp8.h"
#include "engine/quant/inputs.h"
#include "engine/quant/model_internal.h"
#include "engine/quant/smooth.h"

static void forget_group(hl_quant_kept_group *g)
{
    hl_storage_unref(g->stats);
    hl_storage_unref(g->gram);
    hl_storage_unref(g->gain);
    hl_storage_unref(g->bias);
    hl_storage_unref(g->scale);
}

void hl_quant_model_forget_layers(hl_quant_model *m)
{
    for (size_t i = 0; m->groups && i < m->layers.groups.n; i++)
        forget_group(&m->groups[i]);
    for (size_t i = 0; m->smoothed && i < m->smooth_sites.n; i++)
        hl_storage_unref(m->smoothed[i]);
    hl_free(m->groups);
    hl_free(m->smoothed);
    hl_vec_done(&m->layers.groups);
    hl_quant_sites_done(&m->smooth_sites);
    m->groups = NULL;
    m->smoothed = NULL;
    m->is_settled = false;
}

/* ---- what is observed ---- */

static hl_status keep_groups(hl_quant_model *m)
{
    hl_status st = HL_OK;
    const size_t n = m->layers.groups.n;
    if (m->groups)
        return HL_OK;
    m->groups = hl_alloc_zero(n + 1, sizeof *m->groups);
    if (!m->groups)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n && hl_quant_needs_inputs(m->recipe->method.method); i++) {
        const int64_t k = m->layers.groups.at[i].k, fields = HL_INPUTS_FIELDS(k), kk[2] = {k, k};
        const hl_type stats = hl_type_make(HL_DTYPE_F64, 1, &fields),
                      gram = hl_type_make(HL_DTYPE_F32, 2, kk);
        HL_TRY(hl_storage_new(&stats, false, &m->groups[i].stats));
        if (m->recipe->method.method != HL_QUANT_SMOOTH)
            HL_TRY(hl_storage_new(&gram, m->fp64, &m->groups[i].gram));
    }
out:
    return st;
}

static hl_status inputs_graph(hl_quant_model *m, const hl_graph *g, const hl_quant_wish *wish,
                              hl_graph **out)
{
    hl_status st = HL_OK;
    if (!hl_quant_needs_inputs(m->recipe->method.method) || m->is_settled)
        return hl_err_set(HL_E_STATE, "%s",
                          m->is_settled ? "the weights are made already: observe inputs before"
                                        : "this method does not look at the inputs of layers");
    HL_TRY(hl_pass_quant_layers(g, m->rules, m->recipe, wish, &m->layers, out));
    HL_TRY(keep_groups(m));
    for (size_t i = 0; i < m->layers.groups.n; i++) {
        const hl_quant_group *x = &m->layers.groups.at[i];
        if (x->stats != HL_NONE)
            (*out)->values.at[x->stats].data = m->groups[i].stats;
        if (x->gram != HL_NONE)
            (*out)->values.at[x->gram].data = m->groups[i].gram;
    }
out:
    return st;
}

static hl_status check_inputs(const hl_quant_kept_group *g, int64_t k)
{
    const double *stats = g->stats ? g->stats->data : NULL;
    if (!stats || !(stats[HL_INPUTS_TOKENS] > 0))
        return hl_err_set(HL_E_STATE, "nothing has gone into the layer: observe inputs first");
    for (int64_t c = 0; c < k; c++)
        if (!isfinite(stats[HL_INPUTS_MAX + k + c]))
            return hl_err_set(HL_E_NUMERIC, "what goes into the layer is not finite");
    return HL_OK;
}

/* ---- weights ---- */

static void measure(int64_t n, const float *x, const float *y, double m[HL_QUANT_RANGE_FIELDS])
{
    m[HL_QUANT_NUMBERS] = (double)n;
    for (int64_t i = 0; i < n; i++) {
        const double v = (double)x[i], e = v - (double)y[i];
        m[HL_QUANT_SIGNAL] += v * v;
        m[HL_QUANT_NOISE] += e * e;
    }
}

static hl_status round_weights(const hl_quant_model *m, hl_team *team, const hl_layer_inputs *in,
                               float *y)
{
    const hl_quant_method_options *o = &m->recipe->method;
    double alpha, errors[2];
    switch (o->method) {
    case HL_QUANT_RTN:
        return hl_rtn(&o->group, in->n, in->k, in->w, y);
    case HL_QUANT_GPTQ:
        return hl_gptq(team, &o->group, o->damping, in, y);
    case HL_QUANT_AWQ:
        return hl_awq(team, &o->group, in, y, &alpha, errors);
    default: {
        const hl_fp8 format = o->method == HL_QUANT_FP8_E5M2 ? HL_FP8_E5M2 : HL_FP8_E4M3;
        const float amax = hl_amax(in->n * in->k, in->w);
        hl_fp8_apply(format, hl_fp8_scale(format, amax), in->n * in->k, in->w, y);
        return HL_OK;
    }
    }
}

static hl_status store(hl_storage *to, int64_t n, const float *y)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(y[i]))
            return hl_err_set(HL_E_NUMERIC, "a weight is not finite");
    return hl_storage_load(to, y, HL_DTYPE_F32, n);
}

/* Sums over all that goes into the layer, the caller's; several groups where nodes share weights.
 */
static hl_status sum_inputs(const hl_quant_model *m, const hl_quant_site *s, float *gram,
                            double *sum)
{
    const int64_t k = s->type.dim[1];
    for (size_t i = 0; i < s->groups.n; i++) {
        const hl_quant_kept_group *g = &m->groups[s->groups.at[i]];
        const double *stats = g->stats->data;
        hl_status st = check_inputs(g, k);
        if (st != HL_OK)
            return st;
        for (int64_t c = 0; c < k; c++)
            sum[c] += stats[HL_INPUTS_MAX + k + c];
        for (int64_t c = 0; c < k * k; c++)
            gram[c] += (float)hl_storage_get(g->gram, c);
    }
    return HL_OK;
}

static hl_status settle_layer(hl_quant_model *m, size_t i, hl_team *team)
{
    hl_status st = HL_OK;
    const hl_quant_site *s = &m->sites.at[i];
    const int64_t k = s->type.dim[1], n = hl_type_count(&s->type);
    float *owned = NULL, *gram = NULL, *y = NULL;
    double *sum = NULL;
    hl_layer_inputs in = {.n = s->type.dim[0], .k = k};
    in.w = hl_quant_floats_of(s->source, &owned);
    y = hl_alloc(((size_t)n + 1) * sizeof *y);
    if (!in.w || !y)
        HL_TRY(HL_E_NOMEM);
    if (hl_quant_needs_inputs(m->recipe->method.method)) {
        in.gram = gram = hl_alloc_zero((size_t)(k * k) + 1, sizeof *gram);
        in.sum = sum = hl_alloc_zero((size_t)k + 1, sizeof *sum);
        if (!gram || !sum)
            HL_TRY(HL_E_NOMEM);
        HL_TRY(sum_inputs(m, s, gram, sum));
    }
    HL_TRY(hl_storage_new(&s->type, m->fp64, &m->kept[i].storage));
    HL_TRY(round_weights(m, team, &in, y));
    HL_TRY(store(m->kept[i].storage, n, y));
    measure(n, in.w, y, m->kept[i].measured);
out:
    hl_free(owned);
    hl_free(gram);
    hl_free(sum);
    hl_free(y);
    return st;
}

static hl_status settle_layers(hl_quant_model *m, hl_team *team)
{
    hl_status st = HL_OK;
    const hl_quant_method method = m->recipe->method.method;
    const int64_t fields = HL_OUTLIERS_FIELDS;
    const hl_type counts = hl_type_make(HL_DTYPE_F64, 1, &fields);
    m->kept = hl_alloc_zero(m->sites.n + 1, sizeof *m->kept);
    if (!m->kept)
        return HL_E_NOMEM;
    for (size_t i = 0; i < m->sites.n; i++) {
        if (!m->sites.at[i].is_on)
            continue;
        if (method == HL_QUANT_PER_TOKEN || method == HL_QUANT_LLM_INT8)
            HL_TRY(hl_storage_new(&counts, false, &m->kept[i].storage));
        else
            HL_TRY_CTX(settle_layer(m, i, team), "quantizing '%s'", m->sites.at[i].name);
    }
    for (size_t i = 0; i < m->layers.groups.n; i++) { /* k^2 numbers each */
        hl_storage_unref(m->groups[i].gram);
        m->groups[i].gram = NULL;
    }
    m->is_settled = true;
out:
    return st;
}

/* ---- SmoothQuant ---- */

static bool joins(const hl_quant_site *s, size_t group)
{
    return s->is_read_once && s->groups.n == 1 && s->groups.at[0] == (int)group;
}

/* new = old times or over s, by columns. */
static hl_status scaled(const hl_quant_model *m, const hl_storage *old, int64_t k, const float *s,
                        bool over, hl_storage **new)
{
    hl_status st = hl_storage_new(&old->type, m->fp64, new);
    const int64_t n = hl_type_count(&old->type);
    for (int64_t i = 0; st == HL_OK && i < n; i++) {
        const double by = (double)s[i % k];
        hl_storage_set(*new, i, over ? hl_storage_get(old, i) / by : hl_storage_get(old, i) * by);
    }
    return st;
}

static void column_maxima(const hl_storage *w, int64_t k, double *most)
{
    const int64_t n = hl_type_count(&w->type);
    for (int64_t i = 0; i < n; i++)
        most[i % k] = fmax(most[i % k], fabs(hl_storage_get(w, i)));
}

static hl_status smooth_group(hl_quant_model *m, size_t group)
{
    hl_status st = HL_OK;
    hl_quant_group *g = &m->layers.groups.at[group];
    hl_quant_kept_group *own = &m->groups[group];
    const int64_t k = g->k;
    bool is_joined = false;
    double *w_max = hl_alloc_zero((size_t)k + 1, sizeof *w_max);
    if (!w_max)
        return HL_E_NOMEM;
    HL_TRY(check_inputs(own, k));
    for (size_t i = 0; i < m->smooth_sites.n; i++)
        if (joins(&m->smooth_sites.at[i], group)) {
            column_maxima(m->smooth_sites.at[i].source, k, w_max);
            is_joined = true;
        }
    if (!is_joined)
        goto out;
    float *s = hl_alloc(((size_t)k + 1) * sizeof *s);
    if (!s)
        HL_TRY(HL_E_NOMEM);
    hl_smooth_scales(m->recipe->method.alpha, k, (const double *)own->stats->data + HL_INPUTS_MAX,
                     w_max, s);
    const hl_type type = hl_type_make(HL_DTYPE_F32, 1, &k);
    st = hl_storage_new(&type, m->fp64, &own->scale);
    if (st == HL_OK)
        st = hl_storage_load(own->scale, s, HL_DTYPE_F32, k);
    if (st == HL_OK)
        st = scaled(m, g->gain, k, s, true, &own->gain);
    if (st == HL_OK && g->bias)
        st = scaled(m, g->bias, k, s, true, &own->bias);
    for (size_t i = 0; st == HL_OK && i < m->smooth_sites.n; i++) {
        hl_quant_site *x = &m->smooth_sites.at[i];
        if (!joins(x, group))
            continue;
        st = scaled(m, x->source, k, s, false, &m->smoothed[i]);
        x->stand_in = m->smoothed[i];
    }
    hl_free(s);
    g->new_gain = own->gain;
    g->new_bias = own->bias;
    g->scale = own->scale;
out:
    hl_free(w_max);
    return st;
}

static hl_status settle_smooth(hl_quant_model *m)
{
    hl_status st = HL_OK;
    if (!m->groups)
        return hl_err_set(HL_E_STATE,
                          "nothing has gone into the layers of this model: SmoothQuant observes "
                          "inputs first");
    m->smoothed = hl_alloc_zero(m->smooth_sites.n + 1, sizeof(hl_storage *));
    if (!m->smoothed)
        return HL_E_NOMEM;
    for (size_t i = 0; i < m->layers.groups.n; i++)
        if (m->layers.groups.at[i].gain)
            HL_TRY_CTX(smooth_group(m, i), "smoothing what goes into a layer of %lld columns",
                       (long long)m->layers.groups.at[i].k);
    m->is_settled = true;
out:
    return st;
}

/* ---- graphs ---- */

static hl_status layers_graph(hl_quant_model *m, const hl_graph *g, const hl_quant_wish *wish,
                              hl_team *team, hl_graph **out)
{
    hl_status st = HL_OK;
    HL_TRY(hl_pass_quant_layers(g, m->rules, m->recipe, wish, &m->layers, out));
    if (m->sites.n == 0)
        HL_FAIL(HL_E_UNSUPPORTED, "this model has no linear layers that may be quantized");
    HL_TRY(keep_groups(m));
    if (!m->is_settled)
        HL_TRY(settle_layers(m, team));
    for (size_t i = 0; i < m->sites.n; i++)
        if (m->sites.at[i].leaf != HL_NONE)
            (*out)->values.at[m->sites.at[i].leaf].data = m->kept[i].storage;
out:
    return st;
}

hl_status hl_quant_model_by_layer(hl_quant_model *m, const hl_graph *g, const hl_quant_wish *wish,
                                  hl_team *team, hl_graph **out)
{
    hl_status st = HL_OK;
    const bool is_smooth = m->recipe->method.method == HL_QUANT_SMOOTH;
    m->layers.sites = is_smooth ? &m->smooth_sites : &m->sites;
    if (wish->mode == HL_QUANT_INPUTS) {
        st = inputs_graph(m, g, wish, out);
    } else if (!is_smooth) {
        st = wish->mode == HL_QUANT_OBSERVE
                 ? hl_err_set(HL_E_STATE, "method %s has no ranges of activations to observe",
                              hl_quant_method_names[m->recipe->method.method])
                 : layers_graph(m, g, wish, team, out);
    } else {
        st = m->is_settled ? HL_OK : settle_smooth(m);
        if (st == HL_OK)
            st = hl_pass_smooth(g, &m->layers, wish, out);
    }
    if (st != HL_OK) {
        hl_graph_free(*out);
        *out = NULL;
    }
    return st;
}
