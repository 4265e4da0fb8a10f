/* DESIGN. One walk over the nodes in order, copying. Of each old value it is known what kind of
 * layer it comes from, across reshapes: that decides where sums and gathered contexts are
 * quantized, and what their sites are called. Attention is written out, as its scores and weights
 * have quantizers of their own. */
#include "engine/pass/quantize.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/graph/build.h"
#include "engine/pass/quant_layers.h"
#include "engine/pass/quantize_internal.h"

#define HEAD "lm_head" /* of logits */

/* What made a value. Of two operands the one further down this list names their sum. */
typedef enum source_kind { NOTHING, SUM, NORM, TABLE, LINEAR, ACTIVATED, CONTEXT } source_kind;

typedef struct hl_quant_source {
    source_kind kind;
    const char *name; /* of its layer, in the old graph's arena or the walk's */
} source;

typedef hl_quant_walk walk;

hl_quant_recipe hl_quant_recipe_default(void)
{
    const hl_quant_options w = {HL_QUANT_SYMMETRIC, 8, 1, false},
                           a = {HL_QUANT_ASYMMETRIC, 8, 1, false};
    return (hl_quant_recipe){.weight = hl_range_defaults(HL_RANGE_CURRENT_MINMAX, w),
                             .act = hl_range_defaults(HL_RANGE_RUNNING_MINMAX, a),
                             .method = hl_quant_method_default()};
}

void hl_quant_sites_done(hl_quant_sites *s)
{
    for (size_t i = 0; i < s->n; i++) {
        hl_free(s->at[i].name);
        hl_vec_done(&s->at[i].groups);
    }
    hl_vec_done(s);
}

/* ---- names ---- */

const char *hl_quant_parent(walk *w, const char *name)
{
    char *s = hl_arena_strdup(&w->names, name), *dot = s ? strrchr(s, '.') : NULL;
    if (dot)
        *dot = '\0';
    else if (!s)
        w->r.to->status = HL_E_NOMEM;
    return s ? s : "";
}

const char *hl_quant_below(walk *w, const char *name, const char *part)
{
    const char *s = hl_arena_printf(&w->names, "%s.%s", name, part);
    if (!s)
        w->r.to->status = HL_E_NOMEM;
    return s ? s : "";
}

bool hl_quant_in_float(const walk *w, const char *name)
{
    return hl_quant_is_one_of(name, w->rules->in_float, false);
}

static const char *weight_name(const walk *w, hl_id v)
{
    return hl_quant_weight_name(w->r.from, w->rules, v);
}

/* The parameter behind the weights v of a layer, also where they are reshaped: a convolution's. */
static hl_id parameter_of(const walk *w, hl_id v)
{
    const hl_node *n = hl_graph_node_of(w->r.from, v);
    return n && n->op == hl_op_get(HL_OP_ID_reshape) ? n->in[0] : v;
}

/* The one node that reads v, if it is a nonlinearity: then that has the quantizer (spec 4.5). */
static bool is_activated(const walk *w, hl_id v)
{
    static const hl_op_id acts[] = {HL_OP_ID_gelu, HL_OP_ID_gelu_tanh, HL_OP_ID_relu};
    const hl_op *op = NULL;
    int n_readers = 0;
    for (size_t i = 0; i < w->r.from->nodes.n; i++)
        for (int k = 0; k < w->r.from->nodes.at[i].n_in; k++)
            if (w->r.from->nodes.at[i].in[k] == v) {
                op = w->r.from->nodes.at[i].op;
                n_readers++;
            }
    for (size_t i = 0; n_readers == 1 && i < sizeof acts / sizeof *acts; i++)
        if (op == hl_op_get(acts[i]))
            return true;
    return false;
}

/* ---- sites ---- */

typedef hl_quant_site_wish site_wish;

static hl_range_options how_of(const walk *w, site_wish s)
{
    const hl_quant_recipe *c = w->recipe;
    hl_range_options o = s.role == HL_QUANT_WEIGHT ? c->weight : c->act;
    if (s.is_norm &&
        (c->norms == HL_QUANT_NORMS_ALL || (c->norms == HL_QUANT_NORMS_FINAL && s.is_final)))
        o.quantizer.bits = 16;
    return o;
}

/* Is this the site's name, of several layers' of one name with "#2", "#3" … behind it? */
static bool is_called(const hl_quant_site *s, const char *name)
{
    const size_t n = strlen(name);
    return strncmp(s->name, name, n) == 0 && (s->name[n] == '\0' || s->name[n] == '#');
}

/* Owned; NULL: NOMEM set. */
static char *new_name(const walk *w, const char *name)
{
    int n_before = 0;
    hl_str s = {0};
    for (size_t i = 0; i < w->sites->n; i++)
        n_before += is_called(&w->sites->at[i], name);
    hl_str_add(&s, name);
    if (n_before)
        hl_str_addf(&s, "#%d", n_before + 1);
    if (hl_str_status(&s) == HL_OK)
        return s.s;
    hl_str_done(&s);
    return NULL;
}

/* The next site; NULL: status set. */
hl_quant_site *hl_quant_next_site(walk *w, hl_quant_site_wish s)
{
    const hl_quant_recipe *c = w->recipe;
    if (w->is_first) {
        hl_quant_site site = {.name = new_name(w, s.name), .role = s.role, .how = how_of(w, s)};
        site.is_on = !(s.role == HL_QUANT_WEIGHT ? c->no_weights : c->no_acts) && site.name &&
                     !hl_quant_is_one_of(site.name, c->skip, true);
        if (!site.name || hl_vec_push(w->sites, site) != HL_OK) {
            hl_free(site.name);
            w->r.to->status = HL_E_NOMEM;
            return NULL;
        }
    }
    if (HL_NEVER(w->n_seen >= w->sites->n || !is_called(&w->sites->at[w->n_seen], s.name))) {
        w->r.to->status = hl_err_set(HL_E_INTERNAL, "quantizers of another graph (%s)", s.name);
        return NULL;
    }
    hl_quant_site *site = &w->sites->at[w->n_seen++];
    site->leaf = site->value = site->codes = site->run = site->run_t = site->scales = HL_NONE;
    site->is_run = site->all_codes = false;
    return site;
}

static void put_on_grid(walk *w, hl_id v, int32_t grid)
{
    if (v == HL_NONE || grid == 0)
        return;
    while (w->grid.n <= (size_t)v)
        if (hl_vec_push(&w->grid, 0) != HL_OK) {
            w->r.to->status = HL_E_NOMEM;
            return;
        }
    w->grid.at[v] = grid;
}

int32_t hl_quant_grid_of(const walk *w, hl_id v)
{
    return v != HL_NONE && (size_t)v < w->grid.n ? w->grid.at[v] : 0;
}

hl_id hl_quant_range_leaf(walk *w, const char *name)
{
    const int64_t fields = HL_QUANT_RANGE_FIELDS;
    return hl_graph_state(w->r.to, name, hl_type_make(HL_DTYPE_F64, 1, &fields));
}

const hl_op *hl_quant_act_op(const walk *w, const hl_quant_site *s, bool in_solve, hl_attrs *out)
{
    const bool observes = w->mode == HL_QUANT_OBSERVE;
    const hl_op *op = hl_op_get(observes ? HL_OP_ID_observe : HL_OP_ID_fake_quant);
    hl_attrs a = hl_op_defaults(op);
    a.v[0].i = s->how.quantizer.scheme;
    a.v[1].i = s->how.quantizer.bits;
    if (observes) {
        a.v[2].i = s->how.method;
        a.v[3].f = s->how.percentile;
        a.v[4].f = s->how.momentum;
        a.v[5].i = s->how.n_candidates;
        a.v[6].f = s->how.range_margin;
        a.v[7].i = in_solve;
    } else {
        a.v[2].i = s->how.percentile > 0;
        a.v[3].i = w->mode == HL_QUANT_MEASURE;
    }
    *out = a;
    return op;
}

/* What the activation x (new) is behind its quantizer. */
static hl_id quantize_act(walk *w, hl_id x, site_wish wish)
{
    hl_quant_site *s = x == HL_NONE ? NULL : hl_quant_next_site(w, wish);
    if (!s)
        return HL_NONE;
    s->value = x;
    if (!s->is_on)
        return x;
    hl_attrs a;
    const hl_op *op = hl_quant_act_op(w, s, false, &a);
    s->leaf = hl_quant_range_leaf(w, s->name);
    const hl_id in[2] = {x, s->leaf};
    s->value = s->leaf == HL_NONE ? HL_NONE : hl_graph_append(w->r.to, op, in, 2, &a);
    put_on_grid(w, s->value, (int32_t)(s - w->sites->at) + 1);
    return s->value;
}

/* The leaf that stands for parameter v (old) in quantized layers; the parameter's own where its
 * site is off. */
hl_id hl_quant_weight(walk *w, hl_id v, bool is_norm)
{
    if (w->weight[v] != HL_NONE)
        return w->weight[v];
    const hl_value *x = hl_graph_value(w->r.from, v);
    const site_wish wish = {x->name, HL_QUANT_WEIGHT, is_norm, v == w->last_norm};
    hl_quant_site *s = hl_quant_next_site(w, wish);
    if (!s)
        return HL_NONE;
    if (w->is_first) {
        s->source = x->data;
        s->type = x->type;
        if (w->recipe->per_channel)
            s->how.quantizer.n_channels = x->type.dim[0];
    }
    w->weight[v] = w->r.map[v];
    if (s->is_on) {
        const char *name = hl_arena_printf(&w->names, "%s:quantized", x->name);
        w->weight[v] = name ? hl_graph_state(w->r.to, name, x->type) : HL_NONE;
        s->leaf = w->weight[v];
    }
    s->value = w->weight[v];
    return w->weight[v];
}

/* ---- nodes ---- */

/* Copies the node with the quantized parameter in place of input i. */
static hl_status copy_with(walk *w, size_t index, int i, hl_id weight)
{
    const hl_id v = w->r.from->nodes.at[index].in[i], own = w->r.map[v];
    if (weight == HL_NONE)
        return w->r.to->status;
    w->r.map[v] = weight;
    hl_status st = hl_rewrite_copy(&w->r, index);
    w->r.map[v] = own;
    return st;
}

/* The old value stands for its quantized self from here on. */
static hl_status put_behind(walk *w, hl_id v, site_wish wish)
{
    w->r.map[v] = quantize_act(w, w->r.map[v], wish);
    return w->r.to->status;
}

hl_quant_site *hl_quant_site_of_weight(const walk *w, const char *name)
{
    for (size_t i = 0; i < w->sites->n; i++)
        if (w->sites->at[i].role == HL_QUANT_WEIGHT && strcmp(w->sites->at[i].name, name) == 0)
            return &w->sites->at[i];
    return NULL;
}

/* Are the weights of this name read as codes? */
static hl_quant_site *as_codes(const walk *w, const char *name)
{
    hl_quant_site *s = w->mode == HL_QUANT_EXECUTE ? hl_quant_site_of_weight(w, name) : NULL;
    return s && s->is_on && s->is_bytes && !s->is_unsigned ? s : NULL;
}

hl_quant_site *hl_quant_of_bytes(const walk *w, int32_t grid, const char *name)
{
    hl_quant_site *s = grid ? hl_quant_site_of_weight(w, name) : NULL;
    const hl_quant_site *of_x = grid ? &w->sites->at[grid - 1] : NULL;
    return s && s->is_on && s->is_bytes && of_x->is_on &&
                   s->type.dim[1] <= HL_INT8_K_MAX / (s->is_unsigned ? 2 : 1) &&
                   of_x->how.quantizer.bits <= 8
               ? s
               : NULL;
}

static hl_quant_site *runs_in_integers(const walk *w, int32_t grid, const char *name)
{
    return w->mode == HL_QUANT_EXECUTE ? hl_quant_of_bytes(w, grid, name) : NULL;
}

static hl_id leaf_below(walk *w, const char *name, const char *what, hl_type type)
{
    const char *s = hl_arena_printf(&w->names, "%s:%s", name, what);
    return s ? hl_graph_state(w->r.to, s, type) : HL_NONE;
}

static void scales_leaf(walk *w, hl_quant_site *s)
{
    const int64_t n = s->how.quantizer.n_channels;
    if (s->scales == HL_NONE)
        s->scales = leaf_below(w, s->name, "scales", hl_type_make(HL_DTYPE_F32, 1, &n));
}

hl_id hl_quant_codes(walk *w, hl_quant_site *s)
{
    hl_type codes = s->type;
    codes.dtype = HL_DTYPE_I8;
    if (s->codes == HL_NONE)
        s->codes = leaf_below(w, s->name, "codes", codes);
    scales_leaf(w, s);
    return s->codes;
}

hl_id hl_quant_run_codes(walk *w, hl_quant_site *s, bool transposed)
{
    hl_id *at = transposed ? &s->run_t : &s->run;
    hl_type codes = s->type;
    codes.dtype = HL_DTYPE_I8;
    if (transposed) {
        codes.dim[0] = s->type.dim[1];
        codes.dim[1] = s->type.dim[0];
    }
    if (*at == HL_NONE)
        *at = leaf_below(w, s->name, transposed ? "run:transposed" : "run", codes);
    scales_leaf(w, s);
    s->is_run = true;
    return *at;
}

/* What is looked up becomes float there. */
static hl_id look_up(walk *w, const hl_node *n, hl_quant_site *s)
{
    const hl_id codes = hl_quant_codes(w, s), in[3] = {s->scales, codes, w->r.map[n->in[1]]};
    return hl_graph_append(w->r.to, hl_op_get(HL_OP_ID_embedding_int8), in, 3, NULL);
}

/* The layer in float, its weights as codes. */
static hl_id run_on_codes(walk *w, const hl_node *n, hl_quant_site *s)
{
    const hl_id codes = hl_quant_codes(w, s);
    s->all_codes = true;
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_linear_codes));
    if (n->op == hl_op_get(HL_OP_ID_linear)) /* not a loss with its own logits */
        a.v[0] = n->attrs.v[0];
    const hl_id in[4] = {w->r.map[n->in[0]], s->scales, codes,
                         n->n_in > 2 && n->in[2] != HL_NONE ? w->r.map[n->in[2]] : HL_NONE};
    return hl_graph_append(w->r.to, hl_op_get(HL_OP_ID_linear_codes), in, 4, &a);
}

/* The layer in integers, with the quantizer of its result (NULL or off: none) in its epilogue. */
static hl_id run_in_integers(walk *w, const hl_node *n, hl_quant_site *s, hl_quant_site *y)
{
    hl_graph *g = w->r.to;
    const hl_id x = w->r.map[n->in[0]];
    const hl_quant_site *of_x = &w->sites->at[hl_quant_grid_of(w, x) - 1];
    const hl_id codes = hl_quant_run_codes(w, s, false);
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_linear_int8));
    a.v[0].i = of_x->how.quantizer.bits;
    a.v[1].i = of_x->how.percentile > 0;
    a.v[6].i = of_x->how.quantizer.scheme;
    a.v[7].i = s->is_unsigned;
    if (n->op == hl_op_get(HL_OP_ID_linear)) /* not a loss with its own logits */
        a.v[2] = n->attrs.v[0];
    hl_id in[6] = {x,
                   of_x->leaf,
                   codes,
                   s->scales,
                   n->n_in > 2 && n->in[2] != HL_NONE ? w->r.map[n->in[2]] : HL_NONE,
                   HL_NONE};
    if (y && y->is_on) {
        a.v[3].i = y->how.quantizer.bits;
        a.v[4].i = y->how.quantizer.scheme;
        a.v[5].i = y->how.percentile > 0;
        in[5] = y->leaf = hl_quant_range_leaf(w, y->name);
    }
    a.v[9].i = s->is_packed;
    const hl_id out = hl_graph_append(g, hl_op_get(HL_OP_ID_linear_int8), in, 6, &a);
    if (y)
        y->value = out;
    if (y && y->is_on)
        put_on_grid(w, out, (int32_t)(y - w->sites->at) + 1);
    return out;
}

static hl_status do_linear(walk *w, size_t index)
{
    const hl_node *n = &w->r.from->nodes.at[index];
    const hl_id parameter = parameter_of(w, n->in[1]);
    const char *name = weight_name(w, parameter);
    if (!name)
        return hl_rewrite_copy(&w->r, index);
    const source *x = &w->source[n->in[0]];
    hl_status st = HL_OK;
    if (x->kind == CONTEXT && w->rules->gate_first) {
        st = put_behind(w, n->in[0], (site_wish){.name = x->name, .role = HL_QUANT_ACT});
        w->source[n->in[0]].kind = NOTHING; /* once */
    }
    const bool is_whole = parameter == n->in[1]; /* else its reshaped self is quantized already */
    const hl_id weight = st == HL_OK ? hl_quant_weight(w, parameter, false) : HL_NONE;
    const int32_t grid = hl_quant_grid_of(w, w->r.map[n->in[0]]);
    hl_quant_site *own = st == HL_OK && is_whole ? runs_in_integers(w, grid, name) : NULL;
    const site_wish wish = {.name = hl_quant_parent(w, name), .role = HL_QUANT_ACT};
    const bool is_active = is_activated(w, n->out0);
    w->source[n->out0] = (source){is_active ? ACTIVATED : LINEAR, wish.name};
    if (st != HL_OK || weight == HL_NONE)
        return st != HL_OK ? st : w->r.to->status;
    if (own) {
        hl_quant_site *y = is_active ? NULL : hl_quant_next_site(w, wish);
        if (is_active || y)
            w->r.map[n->out0] = run_in_integers(w, n, own, y);
        return w->r.to->status;
    }
    hl_quant_site *codes = is_whole ? as_codes(w, name) : NULL;
    if (codes)
        w->r.map[n->out0] = run_on_codes(w, n, codes);
    st = codes      ? w->r.to->status
         : is_whole ? copy_with(w, index, 1, weight)
                    : hl_rewrite_copy(&w->r, index);
    if (st == HL_OK && !is_active)
        st = put_behind(w, n->out0, wish);
    return st;
}

static hl_status do_norm(walk *w, size_t index)
{
    const hl_node *n = &w->r.from->nodes.at[index];
    const char *name = weight_name(w, n->in[1]);
    if (!name)
        return hl_rewrite_copy(&w->r, index);
    hl_status st = copy_with(w, index, 1, hl_quant_weight(w, n->in[1], true));
    w->source[n->out0] = (source){NORM, hl_quant_parent(w, name)};
    if (st == HL_OK)
        st = put_behind(w, n->out0,
                        (site_wish){.name = w->source[n->out0].name,
                                    .role = HL_QUANT_ACT,
                                    .is_norm = true,
                                    .is_final = n->in[1] == w->last_norm});
    return st;
}

/* A table that is looked up, or a parameter of which a part is taken. */
static hl_status do_table(walk *w, size_t index)
{
    const hl_node *n = &w->r.from->nodes.at[index];
    const char *name = weight_name(w, n->in[0]);
    const hl_id weight = hl_quant_weight(w, n->in[0], false);
    hl_quant_site *s = n->op == hl_op_get(HL_OP_ID_embedding) ? as_codes(w, name) : NULL;
    w->source[n->out0] = (source){TABLE, hl_quant_parent(w, name)};
    if (!s || weight == HL_NONE)
        return copy_with(w, index, 0, weight);
    w->r.map[n->out0] = look_up(w, n, s);
    return w->r.to->status;
}

static hl_status do_add(walk *w, size_t index)
{
    const hl_node *n = &w->r.from->nodes.at[index];
    const source a = w->source[n->in[0]], b = w->source[n->in[1]];
    hl_status st = hl_rewrite_copy(&w->r, index);
    source *s = &w->source[n->out0];
    *s = b.kind >= a.kind ? b : a;
    if (st != HL_OK || a.kind == NOTHING || b.kind == NOTHING)
        return st;
    *s = (source){SUM, hl_quant_below(w, s->name, "sum")};
    return put_behind(w, n->out0, (site_wish){.name = s->name, .role = HL_QUANT_ACT});
}

/* {B, T, H*D} to {B, H, T, D} */
static hl_id split_heads(hl_graph *g, hl_id x, int64_t heads)
{
    const hl_type *t = hl_graph_type(g, x);
    const int64_t dim[4] = {t->dim[0], t->dim[1], heads, t->dim[2] / heads};
    hl_attrs a = {.dims = {0, 2, 1, 3}, .n_dims = 4};
    x = hl_g_reshape(g, x, 4, dim);
    return hl_graph_append(g, hl_op_get(HL_OP_ID_permute), &x, 1, &a);
}

static hl_id join_heads(hl_graph *g, hl_id x)
{
    if (x == HL_NONE)
        return HL_NONE;
    const hl_type t = *hl_graph_type(g, x);
    const int64_t dim[3] = {t.dim[0], t.dim[2], t.dim[1] * t.dim[3]};
    hl_attrs a = {.dims = {0, 2, 1, 3}, .n_dims = 4};
    x = hl_graph_append(g, hl_op_get(HL_OP_ID_permute), &x, 1, &a);
    return hl_g_reshape(g, x, 3, dim);
}

enum { HEADS, SCALE, CAUSAL, BASE, GAMMA, ETA }; /* attributes of attention */
enum { ALPHA = 4 };                              /* an input of it */

/* Is the value on a grid of bytes, of as many bits as that of `like`? */
static bool is_on_bytes(const walk *w, hl_id v, const hl_quant_site *like)
{
    const int32_t grid = hl_quant_grid_of(w, v);
    const int bits = like->how.quantizer.bits;
    return grid && bits <= 8 && w->sites->at[grid - 1].how.quantizer.bits == bits;
}

/* In one op, where its quantizers stand fast; the sites of scores, weights and, unless it is
 * quantized behind the gate, context (NULL then). */
static hl_id fused_attention(walk *w, const hl_node *n, hl_quant_site *const site[3])
{
    const hl_op *op = hl_op_get(HL_OP_ID_attention_quant);
    hl_attrs a = hl_op_defaults(op);
    for (int i = HEADS; i <= ETA; i++)
        a.v[i] = n->attrs.v[i];
    a.v[6].i = site[0]->how.quantizer.bits;
    a.v[7].i = site[0]->how.quantizer.scheme;
    a.v[8].i = site[0]->how.percentile > 0;
    hl_id in[10] = {w->r.map[n->in[0]],
                   w->r.map[n->in[1]],
                   w->r.map[n->in[2]],
                   HL_NONE,
                   HL_NONE,
                   n->n_in > 3 && n->in[3] != HL_NONE ? w->r.map[n->in[3]] : HL_NONE,
                   HL_NONE,
                   HL_NONE,
                   HL_NONE,
                   HL_NONE};
    if (is_on_bytes(w, in[0], site[0]) && is_on_bytes(w, in[1], site[0]) &&
        is_on_bytes(w, in[2], site[0]))
        for (int i = 0; i < 3; i++)
            in[7 + i] = w->sites->at[hl_quant_grid_of(w, in[i]) - 1].leaf;
    static const int at[3] = {3, 4, 6};
    for (int i = 0; i < 3; i++)
        if (site[i] && site[i]->is_on)
            in[at[i]] = site[i]->leaf = hl_quant_range_leaf(w, site[i]->name);
    const hl_id o = hl_graph_append(w->r.to, op, in, 10, &a);
    if (site[2])
        site[2]->value = o;
    if (site[2] && site[2]->is_on)
        put_on_grid(w, o, (int32_t)(site[2] - w->sites->at) + 1);
    return o;
}

static hl_id written_out_attention(walk *w, const hl_node *n, const char *of, const char *context)
{
    hl_graph *g = w->r.to;
    const int64_t heads = n->attrs.v[HEADS].i;
    const hl_type *qt = hl_graph_type(w->r.from, n->in[0]);
    const double d = (double)(qt->dim[2] / heads);
    hl_id part[3];
    for (int i = 0; i < 3; i++)
        part[i] = split_heads(g, w->r.map[n->in[i]], heads);
    hl_id scores = hl_g_scale(g, hl_g_matmul(g, part[0], false, part[1], true),
                              n->attrs.v[SCALE].f != 0 ? n->attrs.v[SCALE].f : 1 / sqrt(d));
    scores = quantize_act(
        w, scores, (site_wish){.name = hl_quant_below(w, of, "scores"), .role = HL_QUANT_ACT});
    const hl_op *op = hl_op_get(HL_OP_ID_masked_normalise);
    hl_attrs a = hl_op_defaults(op);
    for (int i = 0; i < 4; i++)
        a.v[i] = n->attrs.v[CAUSAL + i];
    const hl_id in[3] = {
        scores,
        n->n_in > 3 && n->in[3] != HL_NONE ? w->r.map[n->in[3]] : HL_NONE,
        n->n_in > ALPHA && n->in[ALPHA] != HL_NONE ? w->r.map[n->in[ALPHA]] : HL_NONE,
    };
    hl_id p = scores == HL_NONE ? HL_NONE : hl_graph_append(g, op, in, 3, &a);
    p = quantize_act(w, p,
                     (site_wish){.name = hl_quant_below(w, of, "probs"), .role = HL_QUANT_ACT});
    const hl_id c = join_heads(g, hl_g_matmul(g, p, false, part[2], false));
    return w->rules->gate_first
               ? c
               : quantize_act(w, c, (site_wish){.name = context, .role = HL_QUANT_ACT});
}

/* Are the next two sites, of scores and weights, on? They are known: this is no first walk. */
static bool fuses_attention(const walk *w, const hl_node *n)
{
    return w->mode == HL_QUANT_EXECUTE && n->attrs.v[BASE].i != HL_NORM_ENTMAX &&
           w->n_seen + 1 < w->sites->n && w->sites->at[w->n_seen].is_on &&
           w->sites->at[w->n_seen + 1].is_on;
}

static hl_status do_attention(walk *w, size_t index)
{
    const hl_node *n = &w->r.from->nodes.at[index];
    hl_graph *g = w->r.to;
    const source q = w->source[n->in[0]];
    if (q.kind != LINEAR)
        return hl_rewrite_copy(&w->r, index);
    const char *of = hl_quant_parent(w, q.name), *context = hl_quant_below(w, of, "context");
    g->where = n->where;
    if (fuses_attention(w, n)) {
        hl_quant_site *site[3] = {NULL};
        const char *const names[3] = {hl_quant_below(w, of, "scores"),
                                      hl_quant_below(w, of, "probs"), context};
        for (int i = 0; i < (w->rules->gate_first ? 2 : 3); i++)
            if (!(site[i] =
                      hl_quant_next_site(w, (site_wish){.name = names[i], .role = HL_QUANT_ACT})))
                return g->status;
        w->r.map[n->out0] = fused_attention(w, n, site);
    } else {
        w->r.map[n->out0] = written_out_attention(w, n, of, context);
    }
    g->where = NULL;
    w->source[n->out0] = (source){CONTEXT, context};
    return g->status;
}

/* Logits of the linear layer or loss at `index`, quantized. */
static hl_id logits_of(walk *w, size_t index)
{
    const hl_node *n = &w->r.from->nodes.at[index];
    const hl_id weight = hl_quant_weight(w, n->in[1], false);
    hl_quant_site *own = weight == HL_NONE
                             ? NULL
                             : runs_in_integers(w, hl_quant_grid_of(w, w->r.map[n->in[0]]),
                                                weight_name(w, n->in[1]));
    if (own) {
        hl_quant_site *y = hl_quant_next_site(w, (site_wish){.name = HEAD, .role = HL_QUANT_ACT});
        return y ? run_in_integers(w, n, own, y) : HL_NONE;
    }
    hl_quant_site *codes = weight == HL_NONE ? NULL : as_codes(w, weight_name(w, n->in[1]));
    const hl_id in[3] = {w->r.map[n->in[0]], weight,
                         n->n_in < 3 || n->in[2] == HL_NONE ? HL_NONE : w->r.map[n->in[2]]};
    const hl_id y = weight == HL_NONE ? HL_NONE
                    : codes
                        ? run_on_codes(w, n, codes)
                        : hl_graph_append(w->r.to, hl_op_get(HL_OP_ID_linear), in, 3,
                                          n->op == hl_op_get(HL_OP_ID_linear) ? &n->attrs : NULL);
    return quantize_act(w, y, (site_wish){.name = HEAD, .role = HL_QUANT_ACT});
}

static hl_status do_head(walk *w, size_t index)
{
    const hl_node *n = &w->r.from->nodes.at[index];
    if (!w->recipe->head)
        return hl_rewrite_copy(&w->r, index);
    w->r.map[n->out0] = logits_of(w, index);
    return w->r.to->status;
}

/* The loss that makes its own logits becomes one of logits that are there. */
static hl_status do_loss(walk *w, size_t index)
{
    const hl_node *n = &w->r.from->nodes.at[index];
    hl_graph *g = w->r.to;
    const hl_id y = logits_of(w, index);
    const hl_id of[2] = {y, w->r.map[n->in[3]]};
    const hl_id loss =
        y == HL_NONE ? HL_NONE : hl_graph_append(g, hl_op_get(HL_OP_ID_cross_entropy), of, 2, NULL);
    w->r.map[n->out0] = loss;
    w->r.map[n->out0 + 1] = loss == HL_NONE ? HL_NONE : loss + 1;
    return g->status;
}

static bool keeps_source(const hl_node *n)
{
    static const hl_op_id same[] = {HL_OP_ID_reshape, HL_OP_ID_expand,  HL_OP_ID_permute,
                                    HL_OP_ID_slice,   HL_OP_ID_dropout, HL_OP_ID_cast};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (n->op == hl_op_get(same[i]))
            return true;
    return false;
}

static hl_status do_other(walk *w, size_t index)
{
    const hl_node *n = &w->r.from->nodes.at[index];
    if (n->op == hl_op_get(HL_OP_ID_mul)) /* a gate, or a gate's scale; SmoothQuant's */
        for (int i = 0; i < 2; i++)
            if (w->source[n->in[i]].kind == CONTEXT || w->source[n->in[i]].kind == NORM)
                w->source[n->out0] = w->source[n->in[i]];
    if (keeps_source(n))
        w->source[n->out0] = w->source[n->in[0]];
    if (n->op == hl_op_get(HL_OP_ID_cat))
        for (int i = 0; i < n->n_in; i++)
            if (w->source[n->in[i]].kind > w->source[n->out0].kind)
                w->source[n->out0] = w->source[n->in[i]];
    hl_status st = hl_rewrite_copy(&w->r, index);
    if (st == HL_OK && n->n_in == 1 && w->source[n->in[0]].kind == ACTIVATED && !keeps_source(n)) {
        w->source[n->out0] = (source){LINEAR, w->source[n->in[0]].name};
        return put_behind(w, n->out0,
                          (site_wish){.name = w->source[n->out0].name, .role = HL_QUANT_ACT});
    }
    if (st == HL_OK && keeps_source(n) && n->op != hl_op_get(HL_OP_ID_dropout) &&
        n->op != hl_op_get(HL_OP_ID_cast))
        put_on_grid(w, w->r.map[n->out0], hl_quant_grid_of(w, w->r.map[n->in[0]]));
    return st;
}

/* Quantizes value v (old) if a tap of the model's list watches it. */
static hl_status do_tap(walk *w, hl_id v)
{
    hl_status st = HL_OK;
    for (size_t i = 0; i < w->r.from->taps.n && st == HL_OK; i++) {
        const hl_tap *t = &w->r.from->taps.at[i];
        if (t->value == v && hl_quant_is_one_of(t->name, w->rules->also, true))
            st = put_behind(w, v, (site_wish){.name = t->name, .role = HL_QUANT_ACT});
    }
    return st;
}

static hl_status do_node(walk *w, size_t index)
{
    const hl_node *n = &w->r.from->nodes.at[index];
    const bool of_weight = n->n_in > 0 && weight_name(w, n->in[0]) != NULL;
    if (n->op == hl_op_get(HL_OP_ID_fixed_point))
        return hl_quant_solve(w, index);
    if (w->has_solve && hl_quant_is_product(&w->products, n) &&
        !(n->op == hl_op_get(HL_OP_ID_linear) && hl_quant_is_table(w->r.from, n->in[1])))
        return hl_quant_product(&w->products, index);
    if (n->op == hl_op_get(HL_OP_ID_linear))
        return weight_name(w, n->in[1]) && hl_quant_is_table(w->r.from, n->in[1])
                   ? do_head(w, index)
                   : do_linear(w, index);
    if (n->op == hl_op_get(HL_OP_ID_layernorm))
        return do_norm(w, index);
    if (of_weight && (n->op == hl_op_get(HL_OP_ID_embedding) || keeps_source(n)))
        return do_table(w, index);
    if (n->op == hl_op_get(HL_OP_ID_add))
        return do_add(w, index);
    if (n->op == hl_op_get(HL_OP_ID_attention))
        return do_attention(w, index);
    if (n->op == hl_op_get(HL_OP_ID_lm_loss) && w->recipe->head && weight_name(w, n->in[1]))
        return do_loss(w, index);
    return do_other(w, index);
}

/* ---- the pass ---- */

static hl_id find_last_norm(const walk *w)
{
    for (size_t i = w->r.from->nodes.n; i-- > 0;) {
        const hl_node *n = &w->r.from->nodes.at[i];
        if (n->op == hl_op_get(HL_OP_ID_layernorm) && weight_name(w, n->in[1]))
            return n->in[1];
    }
    return HL_NONE;
}

static bool has_solve(const hl_graph *g)
{
    for (size_t i = 0; i < g->nodes.n; i++)
        if (g->nodes.at[i].op == hl_op_get(HL_OP_ID_fixed_point))
            return true;
    return false;
}

hl_status hl_pass_quantize(const hl_graph *g, const hl_quant_rules *rules,
                           const hl_quant_recipe *recipe, const hl_quant_wish *wish,
                           hl_quant_sites *sites, hl_graph **out)
{
    walk w = {.rules = rules,
              .recipe = recipe,
              .mode = wish->mode,
              .sites = sites,
              .is_first = sites->n == 0};
    hl_id *map = hl_alloc((g->values.n + 1) * sizeof *map);
    w.source = hl_alloc_zero(g->values.n + 1, sizeof *w.source);
    w.weight = hl_alloc((g->values.n + 1) * sizeof *w.weight);
    hl_status st = map && w.source && w.weight ? HL_OK : HL_E_NOMEM;
    if (st == HL_OK) {
        st = hl_rewrite_begin(&w.r, g, wish->outputs, wish->n_outputs, map);
        for (size_t v = 0; v < g->values.n; v++)
            w.weight[v] = HL_NONE;
        w.last_norm = find_last_norm(&w);
        w.has_solve = has_solve(g);
        if (st == HL_OK)
            st = hl_quant_products_init(&w.products, &w, &w.r);
        for (size_t v = 0; v < g->values.n && st == HL_OK; v++)
            if (g->values.at[v].kind == HL_VALUE_INPUT)
                st = do_tap(&w, (hl_id)v);
        for (size_t i = 0; i < g->nodes.n && st == HL_OK; i++) {
            st = do_node(&w, i);
            if (st == HL_OK)
                st = do_tap(&w, g->nodes.at[i].out0);
        }
        if (st == HL_OK)
            st = hl_quant_check_skips(recipe, sites);
        st = hl_rewrite_end(&w.r, st, wish->outputs, wish->n_outputs, out);
    }
    hl_quant_products_done(&w.products);
    hl_arena_done(&w.names);
    hl_vec_done(&w.grid);
    hl_free(map);
    hl_free(w.source);
    hl_free(w.weight);
    return st;
}
