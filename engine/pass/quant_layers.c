#include "engine/pass/quant_layers.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/graph/build.h"
#include "engine/pass/rewrite.h"
#include "engine/quant/inputs.h"

#define HEAD "lm_head.weight"

bool hl_quant_is_one_of(const char *name, const char *const *list, bool whole)
{
    for (; list && *list; list++)
        if (whole ? strcmp(name, *list) == 0 : strstr(name, *list) != NULL)
            return true;
    return false;
}

static bool is_weight(const hl_quant_rules *rules, const char *name)
{
    for (const char *const *t = rules->tables; t && *t; t++)
        if (hl_str_ends(name, *t))
            return true;
    return hl_str_ends(name, ".weight");
}

const char *hl_quant_weight_name(const hl_graph *g, const hl_quant_rules *rules, hl_id v)
{
    if (v == HL_NONE)
        return NULL;
    const hl_value *x = hl_graph_value(g, v);
    if (x->kind != HL_VALUE_STATE || !x->name || !is_weight(rules, x->name) ||
        hl_quant_is_one_of(x->name, rules->in_float, false))
        return NULL;
    return x->name;
}

bool hl_quant_is_table(const hl_graph *g, hl_id v)
{
    for (size_t i = 0; i < g->nodes.n; i++) {
        const hl_node *n = &g->nodes.at[i];
        if (n->op == hl_op_get(HL_OP_ID_embedding) && n->in[0] == v)
            return true;
    }
    return false;
}

hl_status hl_quant_check_skips(const hl_quant_recipe *recipe, const hl_quant_sites *sites)
{
    for (const char *const *s = recipe->skip; s && *s; s++) {
        bool found = false;
        for (size_t i = 0; i < sites->n && !found; i++)
            found = strcmp(sites->at[i].name, *s) == 0;
        if (!found)
            return hl_err_set(HL_E_ARG, "no quantizer is called '%s'", *s);
    }
    return HL_OK;
}

typedef struct walk {
    hl_rewrite r;
    const hl_quant_rules *rules;
    const hl_quant_recipe *recipe;
    hl_quant_mode mode;
    hl_quant_layers *layers;
    bool is_first;  /* layers are being listed */
    int n_groups;   /* so far */
    int32_t *group; /* of each old value: 1 + the group of the layers that take it; 0: none yet */
    hl_id *rounded; /* of each old value: its FP8 self, HL_NONE: not made */
    hl_arena names;
} walk;

static hl_id leaf(walk *w, const char *name, const char *what, hl_type type)
{
    const char *s = hl_arena_printf(&w->names, "%s:%s", name, what);
    if (!s)
        w->r.to->status = HL_E_NOMEM;
    return s ? hl_graph_state(w->r.to, s, type) : HL_NONE;
}

/* ---- layers and groups ---- */

/* Does the node multiply by a matrix that is quantized? Its name then; inputs 0 and 1 are the
 * operands. */
static const char *layer_name(const walk *w, const hl_node *n)
{
    const bool is_loss = n->op == hl_op_get(HL_OP_ID_lm_loss);
    const char *name = is_loss || n->op == hl_op_get(HL_OP_ID_linear)
                           ? hl_quant_weight_name(w->r.from, w->rules, n->in[1])
                           : NULL;
    if (!name || hl_graph_type(w->r.from, n->in[1])->rank != 2)
        return NULL;
    if (!is_loss && !hl_quant_is_table(w->r.from, n->in[1]))
        return name;
    return w->recipe->head ? HEAD : NULL;
}

/* Can the normalisation that makes x take a factor for each column? */
static const hl_node *norm_of(const walk *w, hl_id x)
{
    const hl_node *n = hl_graph_node_of(w->r.from, x);
    if (!n || n->op != hl_op_get(HL_OP_ID_layernorm) || !n->in || n->n_in < 2 ||
        n->in[1] == HL_NONE)
        return NULL;
    for (int i = 1; i < n->n_in && i < 3; i++)
        if (n->in[i] != HL_NONE &&
            (hl_graph_value(w->r.from, n->in[i])->kind != HL_VALUE_STATE ||
             !hl_graph_value(w->r.from, n->in[i])->data || w->r.uses[n->in[i]] != 1))
            return NULL;
    return n;
}

/* Groups are numbered as their inputs come, the same in every walk. */
static hl_status find_group(walk *w, hl_id x, int64_t k)
{
    if (w->group[x])
        return HL_OK;
    w->group[x] = ++w->n_groups;
    if ((size_t)w->n_groups <= w->layers->groups.n)
        return HL_OK;
    hl_quant_group g = {.k = k, .stats = HL_NONE, .gram = HL_NONE};
    const hl_node *norm = norm_of(w, x);
    if (norm) {
        g.gain = hl_graph_value(w->r.from, norm->in[1])->data;
        if (norm->n_in > 2 && norm->in[2] != HL_NONE)
            g.bias = hl_graph_value(w->r.from, norm->in[2])->data;
    }
    return hl_vec_push(&w->layers->groups, g);
}

static hl_status join_group(hl_quant_site *s, int group)
{
    for (size_t i = 0; i < s->groups.n; i++)
        if (s->groups.at[i] == group)
            return HL_OK;
    return hl_vec_push(&s->groups, group);
}

static hl_quant_site *find_layer(const walk *w, const char *name)
{
    for (size_t i = 0; i < w->layers->sites->n; i++)
        if (strcmp(w->layers->sites->at[i].name, name) == 0)
            return &w->layers->sites->at[i];
    return NULL;
}

static int bits_of(const hl_quant_recipe *c)
{
    const hl_quant_method m = c->method.method;
    return hl_quant_is_weight_only(m) ? c->method.group.bits
           : m >= HL_QUANT_FP8_E4M3   ? 8
                                      : c->weight.quantizer.bits;
}

/* Does the method leave anything to do with these flags? */
static bool does_something(const hl_quant_recipe *c)
{
    return !c->no_weights || (!c->no_acts && !hl_quant_is_weight_only(c->method.method));
}

static hl_quant_site *new_layer(walk *w, const hl_node *n, const char *name)
{
    const hl_value *v = hl_graph_value(w->r.from, n->in[1]);
    hl_quant_site s = {.name = hl_strdup(name),
                       .role = HL_QUANT_WEIGHT,
                       .how = w->recipe->weight,
                       .leaf = HL_NONE,
                       .run = HL_NONE,
                       .run_t = HL_NONE,
                       .codes = HL_NONE,
                       .scales = HL_NONE,
                       .value = HL_NONE,
                       .source = v->data,
                       .type = v->type};
    s.is_on = does_something(w->recipe) && !hl_quant_is_one_of(name, w->recipe->skip, true);
    s.is_read_once = w->r.uses[n->in[1]] == 1;
    s.how.quantizer.bits = bits_of(w->recipe);
    if (!s.name || hl_vec_push(w->layers->sites, s) != HL_OK) {
        hl_free(s.name);
        w->r.to->status = HL_E_NOMEM;
        return NULL;
    }
    return &w->layers->sites->at[w->layers->sites->n - 1];
}

/* The node's layer; one that several nodes share is one layer. NULL: status set. */
static hl_quant_site *layer_of(walk *w, const hl_node *n, const char *name)
{
    hl_quant_site *s = find_layer(w, name);
    if (!s && HL_NEVER(!w->is_first)) {
        w->r.to->status = hl_err_set(HL_E_INTERNAL, "layers of another graph (%s)", name);
        return NULL;
    }
    s = s ? s : new_layer(w, n, name);
    if (s && (find_group(w, n->in[0], s->type.dim[1]) != HL_OK ||
              join_group(s, w->group[n->in[0]] - 1) != HL_OK)) {
        w->r.to->status = HL_E_NOMEM;
        return NULL;
    }
    return s;
}

/* ---- inputs ---- */

static hl_status observe(walk *w, hl_id x, const hl_quant_site *s)
{
    hl_quant_group *g = &w->layers->groups.at[w->group[x] - 1];
    const int64_t k = g->k, fields = HL_INPUTS_FIELDS(k), square[2] = {k, k};
    const bool is_whole = w->recipe->method.method != HL_QUANT_SMOOTH;
    if (g->stats != HL_NONE)
        return HL_OK;
    g->stats = leaf(w, s->name, "inputs", hl_type_make(HL_DTYPE_F64, 1, &fields));
    if (is_whole)
        g->gram = leaf(w, s->name, "gram", hl_type_make(HL_DTYPE_F32, 2, square));
    const hl_id in[3] = {w->r.map[x], g->stats, g->gram};
    if (w->r.to->status == HL_OK)
        w->r.map[x] = hl_graph_append(w->r.to, hl_op_get(HL_OP_ID_observe_inputs), in,
                                      is_whole ? 3 : 2, NULL);
    return w->r.to->status;
}

/* ---- operands ---- */

static hl_id weights_of(walk *w, hl_quant_site *s)
{
    if (s->leaf == HL_NONE)
        s->leaf = leaf(w, s->name, "quantized", s->type);
    s->value = s->leaf;
    return s->leaf;
}

static hl_id fp8_of(walk *w, hl_id x)
{
    const hl_op *op = hl_op_get(HL_OP_ID_fake_fp8);
    hl_attrs a = hl_op_defaults(op);
    a.v[0].i = w->recipe->method.method == HL_QUANT_FP8_E5M2;
    if (w->rounded[x] == HL_NONE)
        w->rounded[x] = hl_graph_append(w->r.to, op, &w->r.map[x], 1, &a);
    return w->rounded[x];
}

/* Both operands at run time: outputs 0 and 1. */
static hl_id vectors_of(walk *w, const hl_node *n, hl_quant_site *s)
{
    const hl_quant_recipe *c = w->recipe;
    const hl_op *op = hl_op_get(HL_OP_ID_vector_quant);
    const int64_t fields = HL_OUTLIERS_FIELDS;
    hl_attrs a = hl_op_defaults(op);
    if (s->leaf == HL_NONE)
        s->leaf = leaf(w, s->name, "outliers", hl_type_make(HL_DTYPE_F64, 1, &fields));
    a.v[0].i = c->act.quantizer.bits;
    a.v[1].i = c->weight.quantizer.bits;
    a.v[2].f = c->method.method == HL_QUANT_LLM_INT8 ? c->method.threshold : HUGE_VAL;
    const hl_id in[3] = {w->r.map[n->in[0]], w->r.map[n->in[1]], s->leaf};
    return hl_graph_append(w->r.to, op, in, 3, &a);
}

static hl_status do_layer(walk *w, size_t index, hl_quant_site *s)
{
    const hl_node *n = &w->r.from->nodes.at[index];
    const hl_quant_recipe *c = w->recipe;
    const hl_quant_method m = c->method.method;
    const hl_id x = w->r.map[n->in[0]], weight = w->r.map[n->in[1]];
    hl_id new_x = x, new_w = weight;
    if (m == HL_QUANT_PER_TOKEN || m == HL_QUANT_LLM_INT8) {
        const hl_id both = vectors_of(w, n, s);
        new_x = both == HL_NONE || !c->no_acts ? both : x;
        new_w = both == HL_NONE || c->no_weights ? weight : both + 1;
    } else {
        if (!hl_quant_is_weight_only(m) && !c->no_acts)
            new_x = fp8_of(w, n->in[0]);
        if (!c->no_weights)
            new_w = weights_of(w, s);
    }
    if (new_x == HL_NONE || new_w == HL_NONE)
        return w->r.to->status;
    w->r.map[n->in[0]] = new_x;
    w->r.map[n->in[1]] = new_w;
    const hl_status st = hl_rewrite_copy(&w->r, index);
    w->r.map[n->in[0]] = x;
    w->r.map[n->in[1]] = weight;
    return st;
}

static hl_status do_node(walk *w, size_t index)
{
    const hl_node *n = &w->r.from->nodes.at[index];
    const char *name = layer_name(w, n);
    if (!name)
        return hl_rewrite_copy(&w->r, index);
    hl_quant_site *s = layer_of(w, n, name);
    if (!s)
        return w->r.to->status;
    if (w->mode != HL_QUANT_INPUTS)
        return s->is_on ? do_layer(w, index, s) : hl_rewrite_copy(&w->r, index);
    const hl_status st = observe(w, n->in[0], s);
    return st == HL_OK ? hl_rewrite_copy(&w->r, index) : st;
}

hl_status hl_pass_quant_layers(const hl_graph *g, const hl_quant_rules *rules,
                               const hl_quant_recipe *recipe, const hl_quant_wish *wish,
                               hl_quant_layers *layers, hl_graph **out)
{
    walk w = {.rules = rules,
              .recipe = recipe,
              .mode = wish->mode,
              .layers = layers,
              .is_first = layers->sites->n == 0};
    hl_id *map = hl_alloc((g->values.n + 1) * sizeof *map);
    w.group = hl_alloc_zero(g->values.n + 1, sizeof *w.group);
    w.rounded = hl_alloc((g->values.n + 1) * sizeof *w.rounded);
    hl_status st = map && w.group && w.rounded ? HL_OK : HL_E_NOMEM;
    for (size_t i = 0; i < layers->sites->n; i++)
        layers->sites->at[i].leaf = layers->sites->at[i].value = HL_NONE;
    for (size_t i = 0; i < layers->groups.n; i++)
        layers->groups.at[i].stats = layers->groups.at[i].gram = HL_NONE;
    if (st == HL_OK) {
        for (size_t v = 0; v < g->values.n; v++)
            w.rounded[v] = HL_NONE;
        st = hl_rewrite_begin(&w.r, g, wish->outputs, wish->n_outputs, map);
        for (size_t i = 0; i < g->nodes.n && st == HL_OK; i++)
            st = do_node(&w, i);
        if (st == HL_OK)
            st = hl_quant_check_skips(recipe, layers->sites);
        st = hl_rewrite_end(&w.r, st, wish->outputs, wish->n_outputs, out);
    }
    hl_arena_done(&w.names);
    hl_free(map);
    hl_free(w.group);
    hl_free(w.rounded);
    return st;
}

/* ---- SmoothQuant ---- */

static const hl_quant_group *group_of_norm(const hl_quant_layers *l, const hl_graph *g,
                                           const hl_node *n)
{
    const bool is_norm = n->op == hl_op_get(HL_OP_ID_layernorm) && n->n_in > 1 && n->in[1] >= 0;
    void *gain = is_norm ? hl_graph_value(g, n->in[1])->data : NULL;
    for (size_t i = 0; gain && i < l->groups.n; i++)
        if (l->groups.at[i].gain == gain && l->groups.at[i].scale)
            return &l->groups.at[i];
    return NULL;
}

/* The layer whose smoothed weights the node takes, or NULL. */
static const hl_quant_site *smoothed(const hl_quant_layers *l, const hl_graph *g, const hl_node *n)
{
    void *w = n->op == hl_op_get(HL_OP_ID_linear) || n->op == hl_op_get(HL_OP_ID_lm_loss)
                  ? hl_graph_value(g, n->in[1])->data
                  : NULL;
    for (size_t i = 0; w && i < l->sites->n; i++)
        if (l->sites->at[i].source == w && l->sites->at[i].stand_in)
            return &l->sites->at[i];
    return NULL;
}

static void stand_in(hl_rewrite *r, hl_id old, void *mark)
{
    if (old != HL_NONE && mark)
        r->to->values.at[r->map[old]].data = mark;
}

/* raw[v]: the smoothed value behind the old v. */
static hl_status smooth_norm(hl_rewrite *r, size_t index, const hl_quant_group *group, hl_id *raw)
{
    const hl_node *n = &r->from->nodes.at[index];
    stand_in(r, n->in[1], group->new_gain);
    stand_in(r, n->n_in > 2 ? n->in[2] : HL_NONE, group->new_bias);
    hl_status st = hl_rewrite_copy(r, index);
    if (st != HL_OK)
        return st;
    raw[n->out0] = r->map[n->out0];
    hl_str name = {0};
    hl_str_addf(&name, "%s:smooth", hl_graph_value(r->from, n->in[1])->name);
    st = hl_str_status(&name);
    if (st == HL_OK) {
        const hl_id s = hl_graph_state(r->to, name.s, hl_type_make(HL_DTYPE_F32, 1, &group->k));
        if (s != HL_NONE)
            r->to->values.at[s].data = group->scale;
        r->map[n->out0] = hl_g_mul(r->to, raw[n->out0], s);
        st = r->to->status;
    }
    hl_str_done(&name);
    return st;
}

static hl_status smooth_layer(hl_rewrite *r, size_t index, const hl_quant_site *s, const hl_id *raw)
{
    const hl_node *n = &r->from->nodes.at[index];
    const hl_id x = r->map[n->in[0]];
    if (HL_NEVER(raw[n->in[0]] == HL_NONE))
        return hl_err_set(HL_E_INTERNAL, "'%s' does not follow its normalisation", s->name);
    stand_in(r, n->in[1], s->stand_in);
    r->map[n->in[0]] = raw[n->in[0]];
    const hl_status st = hl_rewrite_copy(r, index);
    r->map[n->in[0]] = x;
    return st;
}

hl_status hl_pass_smooth(const hl_graph *g, const hl_quant_layers *layers,
                         const hl_quant_wish *wish, hl_graph **out)
{
    hl_rewrite r;
    hl_graph *all = NULL;
    hl_id *map = hl_alloc((g->values.n + 1) * sizeof *map);
    hl_id *raw = hl_alloc((g->values.n + 1) * sizeof *raw);
    hl_status st = map && raw ? HL_OK : HL_E_NOMEM;
    if (st == HL_OK) {
        for (size_t v = 0; v < g->values.n; v++)
            raw[v] = HL_NONE;
        st = hl_rewrite_begin(&r, g, wish->outputs, wish->n_outputs, map);
        for (size_t i = 0; i < g->nodes.n && st == HL_OK; i++) {
            const hl_node *n = &g->nodes.at[i];
            const hl_quant_group *group = group_of_norm(layers, g, n);
            const hl_quant_site *s = smoothed(layers, g, n);
            st = group ? smooth_norm(&r, i, group, raw)
                 : s   ? smooth_layer(&r, i, s, raw)
                       : hl_rewrite_copy(&r, i);
        }
        st = hl_rewrite_end(&r, st, wish->outputs, wish->n_outputs, &all);
    }
    hl_free(map);
    hl_free(raw);
    *out = all;
    return st;
}
