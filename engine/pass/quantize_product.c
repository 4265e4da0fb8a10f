/* DESIGN. Products of activations with parameters, where quantizers stand at the entrance. The same
 * code serves the model's graph and the step of an equilibrium solve. A step is a graph of its own,
 * whose leaves are inputs of the node that holds it; what quantizing adds to it (ranges, quantized
 * weights, codes) are leaves of the model's graph, carried in as further inputs. Ranges that are
 * written to are states there and in the step, so the solve is known to write into them. */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/graph/body.h"
#include "engine/graph/build.h"
#include "engine/pass/quantize_internal.h"

typedef hl_quant_products products;

hl_status hl_quant_products_init(products *p, hl_quant_walk *w, hl_rewrite *r)
{
    const size_t n = r->from->values.n + 1;
    *p = (products){.w = w, .r = r};
    p->site = hl_alloc_zero(n, sizeof *p->site);
    p->on_grid = hl_alloc(n * sizeof *p->on_grid);
    p->centred = hl_alloc(n * sizeof *p->centred);
    if (!p->site || !p->on_grid || !p->centred)
        return HL_E_NOMEM;
    for (size_t v = 0; v < n; v++)
        p->on_grid[v] = p->centred[v] = HL_NONE;
    return HL_OK;
}

void hl_quant_products_done(products *p)
{
    hl_free(p->site);
    hl_free(p->on_grid);
    hl_free(p->centred);
    hl_free(p->outside);
    hl_vec_done(&p->carried);
}

/* ---- weights ---- */

/* The parameter (old value of the model's graph) that leaf v is; HL_NONE: it is none, or shall stay
 * in float. */
static hl_id parameter_of(const products *p, hl_id v)
{
    const hl_id outside = p->outside ? p->outside[v] : v;
    const hl_value *x = outside == HL_NONE ? NULL : hl_graph_value(p->w->r.from, outside);
    return x && x->kind == HL_VALUE_STATE && x->name && x->type.rank == 2 &&
                   x->type.dtype == HL_DTYPE_F32 && !hl_quant_in_float(p->w, x->name)
               ? outside
               : HL_NONE;
}

static bool is_transposed(const hl_node *n)
{
    return n->op == hl_op_get(HL_OP_ID_permute) && n->attrs.n_dims == 2 && n->attrs.dims[0] == 1;
}

/* The node behind v if it is of this op, else NULL. */
static const hl_node *made_by(const products *p, hl_id v, hl_op_id op)
{
    const hl_node *n = v == HL_NONE ? NULL : hl_graph_node_of(p->r->from, v);
    return n && n->op == hl_op_get(op) ? n : NULL;
}

/* Is v 1 where x is not 0, and 0 elsewhere: 1 - (x == 0)? A quantizer keeps zeros, so x times v is
 * x quantized, too. */
static bool is_mask_of(const products *p, hl_id v, hl_id x)
{
    const hl_node *sub = made_by(p, v, HL_OP_ID_sub);
    const hl_node *eq = sub ? made_by(p, sub->in[1], HL_OP_ID_eq) : NULL;
    if (!eq || eq->in[0] != x)
        return false;
    const hl_value *one = hl_graph_value(p->r->from, sub->in[0]),
                   *zero = hl_graph_value(p->r->from, eq->in[1]);
    return one->kind == HL_VALUE_CONST && one->constant == 1 && zero->kind == HL_VALUE_CONST &&
           zero->constant == 0;
}

/* The matrix of a product: a parameter (of the model's old graph), and whether it is transposed. */
typedef struct matrix {
    hl_id parameter; /* HL_NONE: it is no parameter */
    bool transposed;
} matrix;

static matrix matrix_of(const products *p, const hl_node *n)
{
    const bool is_linear = n->op == hl_op_get(HL_OP_ID_linear);
    if (!is_linear && (n->op != hl_op_get(HL_OP_ID_matmul) || n->attrs.v[0].i))
        return (matrix){HL_NONE, false};
    bool transposed = is_linear || n->attrs.v[1].i;
    hl_id v = n->in[1];
    for (const hl_node *from; (from = hl_graph_node_of(p->r->from, v));) {
        if (is_transposed(from))
            transposed = !transposed;
        else if (from->op != hl_op_get(HL_OP_ID_mul) || !is_mask_of(p, from->in[1], from->in[0]))
            return (matrix){HL_NONE, false};
        v = from->in[0];
    }
    return (matrix){parameter_of(p, v), transposed};
}

bool hl_quant_is_product(const products *p, const hl_node *n)
{
    const bool is_linear = n->op == hl_op_get(HL_OP_ID_linear);
    return matrix_of(p, n).parameter != HL_NONE &&
           !(is_linear && !p->outside && hl_quant_grid_of(p->w, p->r->map[n->in[0]]));
}

/* What stands in this graph for a leaf of the model's new graph. */
static hl_id carry(products *p, hl_id leaf)
{
    if (!p->outside || leaf == HL_NONE)
        return leaf;
    for (size_t i = 0; i < p->carried.n; i++)
        if (p->carried.at[i].outside == leaf)
            return p->carried.at[i].inside;
    const hl_value *x = hl_graph_value(p->w->r.to, leaf);
    const hl_id inside = hl_graph_state(p->r->to, x->name ? x->name : "value", x->type);
    if (inside != HL_NONE && hl_vec_push(&p->carried, ((hl_quant_carried){leaf, inside})) != HL_OK)
        p->r->to->status = HL_E_NOMEM;
    return inside;
}

/* ---- activations ---- */

/* What the quantizer of value v is called: as v, or after the weight of the product it enters. */
static const char *name_of(products *p, hl_id v, const char *weight)
{
    const hl_value *x = hl_graph_value(p->r->from, v);
    if (x->kind == HL_VALUE_NODE && x->name)
        return x->name;
    const bool of_layer = hl_str_ends(weight, ".weight");
    return hl_quant_below(p->w, of_layer ? hl_quant_parent(p->w, weight) : weight, "in");
}

/* v (old) behind its quantizer. */
static hl_id on_grid(products *p, hl_id v)
{
    const hl_quant_site *s = &p->w->sites->at[p->site[v] - 1];
    if (p->on_grid[v] != HL_NONE)
        return p->on_grid[v];
    p->on_grid[v] = p->r->map[v];
    if (s->is_on) {
        hl_attrs a;
        const hl_op *op = hl_quant_act_op(p->w, s, p->outside != NULL, &a);
        const hl_id in[2] = {p->r->map[v], carry(p, s->leaf)};
        p->on_grid[v] = hl_graph_append(p->r->to, op, in, 2, &a);
    }
    return p->on_grid[v];
}

/* Finds the quantizer by which v (old) enters products; the first one makes it. */
static hl_status enter(products *p, hl_id v, const char *weight)
{
    hl_quant_walk *w = p->w;
    if (p->site[v])
        return HL_OK;
    p->site[v] = p->outside ? 0 : hl_quant_grid_of(w, p->r->map[v]);
    if (p->site[v]) {
        p->on_grid[v] = p->r->map[v];
        return HL_OK;
    }
    hl_quant_site *s = hl_quant_next_site(
        w, (hl_quant_site_wish){.name = name_of(p, v, weight), .role = HL_QUANT_ACT});
    if (!s)
        return w->r.to->status;
    p->site[v] = (int32_t)(s - w->sites->at) + 1;
    if (s->is_on)
        s->leaf = hl_quant_range_leaf(w, s->name);
    if (!p->outside) /* for who asks for values; where nobody does, it goes */
        s->value = on_grid(p, v);
    return w->r.to->status;
}

/* Codes less the zero point, as floats. */
static hl_id centred(products *p, hl_id v)
{
    const hl_quant_site *s = &p->w->sites->at[p->site[v] - 1];
    if (p->centred[v] == HL_NONE) {
        hl_attrs a;
        const hl_op *op = hl_quant_act_op(p->w, s, p->outside != NULL, &a);
        const hl_id in[2] = {p->r->map[v], carry(p, s->leaf)};
        a.v[hl_op_attr(op, "centred")].i = 1;
        p->centred[v] = hl_graph_append(p->r->to, op, in, 2, &a);
    }
    return p->centred[v];
}

/* ---- products ---- */

/* The matrix lies as it is needed where rows are results; scales of rows must be those of results.
 */
static hl_quant_site *run_of(const products *p, const hl_node *n, const char *name, bool by_rows)
{
    hl_quant_site *s = hl_quant_of_bytes(p->w, p->site[n->in[0]], name);
    /* what is simulated exactly: codes from a zero point on, by signed weights */
    const bool fits = s && s->type.dim[0] <= HL_INT8_K_MAX && !s->is_unsigned &&
                      p->w->sites->at[p->site[n->in[0]] - 1].how.quantizer.scheme ==
                          HL_QUANT_ASYMMETRIC;
    return fits && (by_rows || s->how.quantizer.n_channels == 1) ? s : NULL;
}

/* In integers, from numbers that are not on the grid yet: the codes are the same. */
static hl_id in_integers(products *p, const hl_node *n, hl_quant_site *own, bool by_rows)
{
    const hl_quant_site *of_x = &p->w->sites->at[p->site[n->in[0]] - 1];
    const bool is_linear = n->op == hl_op_get(HL_OP_ID_linear),
               has_third = n->n_in > 2 && n->in[2] != HL_NONE;
    const hl_op *op = hl_op_get(HL_OP_ID_linear_int8);
    const hl_id codes = hl_quant_run_codes(p->w, own, !by_rows);
    hl_attrs a = hl_op_defaults(op);
    a.v[0].i = of_x->how.quantizer.bits;
    a.v[1].i = of_x->how.percentile > 0;
    a.v[9].i = own->is_packed;
    if (is_linear)
        a.v[2] = n->attrs.v[0];
    const hl_id third = has_third ? p->r->map[n->in[2]] : HL_NONE;
    const hl_id in[6] = {p->r->map[n->in[0]],   carry(p, of_x->leaf),        carry(p, codes),
                         carry(p, own->scales), is_linear ? third : HL_NONE, HL_NONE};
    const hl_id y = hl_graph_append(p->r->to, op, in, 6, &a);
    return is_linear || !has_third ? y : hl_g_add(p->r->to, y, third);
}

static hl_id activated(hl_graph *g, hl_act act, hl_id y)
{
    static const hl_op_id f[] = {[HL_ACT_GELU] = HL_OP_ID_gelu,
                                 [HL_ACT_GELU_TANH] = HL_OP_ID_gelu_tanh,
                                 [HL_ACT_RELU] = HL_OP_ID_relu};
    return act == HL_ACT_NONE ? y : hl_g_op1(g, f[act], y);
}

/* What integers give, in floats: sums of products of codes are exact as long as they stay below
 * 2^24. A solver goes where the last bit leads, so rounding must not tell simulation and execution
 * apart. */
static hl_id like_integers(products *p, const hl_node *n, hl_quant_site *own, bool by_rows)
{
    hl_graph *g = p->r->to;
    const hl_quant_site *of_x = &p->w->sites->at[p->site[n->in[0]] - 1];
    const bool is_linear = n->op == hl_op_get(HL_OP_ID_linear);
    own->all_codes = true;
    const hl_id third = n->n_in > 2 && n->in[2] != HL_NONE ? p->r->map[n->in[2]] : HL_NONE,
                codes = hl_g_op1(g, HL_OP_ID_cast, carry(p, hl_quant_codes(p->w, own)));
    const hl_id sums = hl_g_matmul(g, centred(p, n->in[0]), false, codes, by_rows),
                in[4] = {sums, carry(p, of_x->leaf), carry(p, own->scales),
                         is_linear ? third : HL_NONE};
    const hl_op *op = hl_op_get(HL_OP_ID_rescale);
    hl_attrs a = hl_op_defaults(op);
    a.v[0].i = of_x->how.quantizer.bits;
    a.v[1].i = of_x->how.percentile > 0;
    const hl_id y = hl_graph_append(g, op, in, 4, &a);
    if (is_linear)
        return activated(g, (hl_act)n->attrs.v[0].i, y);
    return third == HL_NONE ? y : hl_g_add(g, y, third);
}

static hl_id in_floats(products *p, const hl_node *n, hl_id weight, bool by_rows)
{
    hl_attrs a = n->attrs;
    if (n->op == hl_op_get(HL_OP_ID_matmul))
        a.v[1].i = by_rows;
    const hl_id in[3] = {on_grid(p, n->in[0]), carry(p, weight),
                         n->n_in > 2 && n->in[2] != HL_NONE ? p->r->map[n->in[2]] : HL_NONE};
    return hl_graph_append(p->r->to, n->op, in, 3, &a);
}

hl_status hl_quant_product(products *p, size_t index)
{
    const hl_node *n = &p->r->from->nodes.at[index];
    const matrix m = matrix_of(p, n);
    const char *name = hl_graph_value(p->w->r.from, m.parameter)->name;
    hl_graph *g = p->r->to;
    hl_status st = enter(p, n->in[0], name);
    const hl_id weight = st == HL_OK ? hl_quant_weight(p->w, m.parameter, false) : HL_NONE;
    if (weight == HL_NONE)
        return st != HL_OK ? st : p->w->r.to->status;
    const hl_quant_mode mode = p->w->mode;
    hl_quant_site *own = mode == HL_QUANT_EXECUTE || mode == HL_QUANT_SIMULATE
                             ? run_of(p, n, name, m.transposed)
                             : NULL;
    g->where = n->where;
    p->r->map[n->out0] = !own                       ? in_floats(p, n, weight, m.transposed)
                         : mode == HL_QUANT_EXECUTE ? in_integers(p, n, own, m.transposed)
                                                    : like_integers(p, n, own, m.transposed);
    g->where = NULL;
    for (int i = 1; i < n->n_out && !own; i++)
        p->r->map[n->out0 + i] = p->r->map[n->out0] + i;
    return p->w->r.to->status != HL_OK ? p->w->r.to->status : g->status;
}

/* ---- solves ---- */

/* The step while it is rewritten: the products of its graph, old and new results. */
typedef struct step {
    const hl_body *body;
    hl_rewrite r;
    products p;
    hl_graph *g; /* the new one */
    hl_id *map, *out;
    hl_id *in;      /* leaves of the new body */
    hl_id *outside; /* what the node gives it */
    int n_in;
} step;

static void step_done(step *s)
{
    hl_quant_products_done(&s->p);
    hl_graph_free(s->g);
    hl_free(s->map);
    hl_free(s->out);
    hl_free(s->in);
    hl_free(s->outside);
}

static hl_status step_begin(step *s, hl_quant_walk *w, const hl_node *n)
{
    hl_status st = HL_OK;
    const hl_body *b = s->body = n->body;
    s->map = hl_alloc((b->g->values.n + 1) * sizeof *s->map);
    s->out = hl_alloc((size_t)(b->n_out + 1) * sizeof *s->out);
    if (!s->map || !s->out)
        return HL_E_NOMEM;
    memcpy(s->out, b->out, (size_t)b->n_out * sizeof *s->out);
    HL_TRY(hl_rewrite_begin(&s->r, b->g, s->out, b->n_out, s->map));
    HL_TRY(hl_quant_products_init(&s->p, w, &s->r));
    s->p.outside = hl_alloc((b->g->values.n + 1) * sizeof *s->p.outside);
    if (!s->p.outside) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (size_t v = 0; v < b->g->values.n; v++)
        s->p.outside[v] = HL_NONE;
    for (int i = b->n_out; i < b->n_in; i++)
        s->p.outside[b->in[i]] = n->in[i];
out:
    return st;
}

/* Which leaves of the new graph are read? */
static bool *find_read(const step *s)
{
    bool *read = hl_alloc_zero(s->g->values.n + 1, sizeof *read);
    for (size_t k = 0; read && k < s->g->nodes.n; k++)
        for (int i = 0; i < s->g->nodes.at[k].n_in; i++)
            if (s->g->nodes.at[k].in[i] != HL_NONE)
                read[s->g->nodes.at[k].in[i]] = true;
    for (int i = 0; read && i < s->body->n_out; i++)
        read[s->out[i]] = true;
    return read;
}

/* States, then what is still read of what the step captured, and what was carried in. */
static hl_status find_inputs(step *s, const hl_rewrite *outer, const hl_node *n)
{
    const hl_body *b = s->body;
    const size_t most = (size_t)b->n_in + s->p.carried.n + 1;
    bool *read = find_read(s);
    s->in = hl_alloc(most * sizeof *s->in);
    s->outside = hl_alloc(most * sizeof *s->outside);
    hl_status st = read && s->in && s->outside ? HL_OK : HL_E_NOMEM;
    for (int i = 0; st == HL_OK && i < b->n_in; i++) {
        const hl_id inside = s->map[b->in[i]];
        if (i >= b->n_out && !read[inside])
            continue;
        s->in[s->n_in] = inside;
        s->outside[s->n_in++] = outer->map[n->in[i]];
    }
    for (size_t i = 0; st == HL_OK && i < s->p.carried.n; i++) {
        if (!read[s->p.carried.at[i].inside])
            continue;
        s->in[s->n_in] = s->p.carried.at[i].inside;
        s->outside[s->n_in++] = s->p.carried.at[i].outside;
    }
    hl_free(read);
    return st;
}

/* The node with the new step in place of its own. */
static hl_status append_solve(const step *s, hl_rewrite *outer, const hl_node *n)
{
    hl_node like = *n;
    hl_body *body = NULL;
    hl_status st = hl_body_new(s->g, s->in, s->n_in, s->out, s->body->n_out, &body);
    if (st != HL_OK)
        return st;
    like.body = body;
    like.n_in = s->n_in;
    const hl_id out = hl_graph_append_like(outer->to, &like, s->outside);
    hl_body_unref(body);
    for (int i = 0; i < n->n_out; i++)
        outer->map[n->out0 + i] = out == HL_NONE ? HL_NONE : out + i;
    return outer->to->status;
}

hl_status hl_quant_solve(hl_quant_walk *w, size_t index)
{
    const hl_node *n = &w->r.from->nodes.at[index];
    step s = {0};
    hl_status st = step_begin(&s, w, n);
    for (size_t i = 0; st == HL_OK && i < s.r.from->nodes.n; i++)
        st = hl_quant_is_product(&s.p, &s.r.from->nodes.at[i]) ? hl_quant_product(&s.p, i)
                                                               : hl_rewrite_copy(&s.r, i);
    if (s.r.from)
        st = hl_rewrite_end(&s.r, st, s.out, st == HL_OK ? n->body->n_out : 0, &s.g);
    if (st == HL_OK)
        st = find_inputs(&s, &w->r, n);
    if (st == HL_OK)
        st = append_solve(&s, &w->r, n);
    step_done(&s);
    return st;
}
