#include "engine/solve/shrink.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/graph/body.h"

typedef enum role { UNKNOWN, BY_ROW, WHOLE } role;

typedef struct shrinking {
    const hl_graph *g;
    const hl_cut *cut;
    role *role; /* per value */
} shrinking;

static bool is(const hl_node *n, hl_op_id id)
{
    return n->op == hl_op_get(id);
}

/* A leaf takes the role it is first used in; any other use must agree. */
static bool use(const shrinking *s, hl_id v, role as)
{
    if (s->role[v] == UNKNOWN)
        s->role[v] = as;
    return s->role[v] == as;
}

/* An operand whose rows meet those of the result. */
static bool use_beside(const shrinking *s, hl_id v, const hl_type *out)
{
    const hl_type *t = hl_graph_type(s->g, v);
    const bool aligned = t->rank == out->rank && t->dim[0] == s->cut->batch;
    return use(s, v, aligned ? BY_ROW : WHOLE);
}

static bool is_row_product(const shrinking *s, const hl_node *n, const hl_type *out)
{
    const hl_type *a = hl_graph_type(s->g, n->in[0]), *b = hl_graph_type(s->g, n->in[1]);
    const bool plain = is(n, HL_OP_ID_matmul) && !n->attrs.v[0].i && b->rank == 2;
    return (plain || is(n, HL_OP_ID_matmul_packed)) && a->rank == out->rank &&
           use(s, n->in[0], BY_ROW) && use(s, n->in[1], WHOLE) &&
           (n->n_in < 3 || n->in[2] == HL_NONE || use_beside(s, n->in[2], out));
}

/* Quantizers that measure nothing, and products of codes: the rest of their inputs is one for all.
 */
static bool is_row_quantized(const shrinking *s, const hl_node *n)
{
    const bool is_fake = is(n, HL_OP_ID_fake_quant) && !n->attrs.v[hl_op_attr(n->op, "measure")].i;
    bool good = (is_fake || is(n, HL_OP_ID_linear_int8) || is(n, HL_OP_ID_rescale)) &&
                use(s, n->in[0], BY_ROW);
    for (int i = 1; i < n->n_in; i++)
        good = good && (n->in[i] == HL_NONE || use(s, n->in[i], WHOLE));
    return good;
}

/* Gives its inputs and its result their roles; false: it mixes samples, or may. */
static bool is_apart(const shrinking *s, const hl_node *n)
{
    bool rows = false;
    for (int i = 0; i < n->n_in; i++)
        rows = rows || (n->in[i] != HL_NONE && s->role[n->in[i]] == BY_ROW);
    for (int i = 0; i < n->n_out; i++)
        s->role[n->out0 + i] = rows ? BY_ROW : WHOLE;
    if (!rows) {
        for (int i = 0; i < n->n_in; i++)
            if (n->in[i] != HL_NONE && !use(s, n->in[i], WHOLE))
                return false;
        return true;
    }
    const hl_type *out = hl_graph_type(s->g, n->out0);
    if (n->n_out != 1 || out->rank < 1 || out->dim[0] != s->cut->batch)
        return false;
    if (!hl_ew_is(n->op) && !is(n, HL_OP_ID_fused))
        return is_row_product(s, n, out) || is_row_quantized(s, n);
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] != HL_NONE && !use_beside(s, n->in[i], out))
            return false;
    return true;
}

static hl_id copy_leaf(const shrinking *s, hl_graph *to, hl_id v)
{
    const hl_value *x = hl_graph_value(s->g, v);
    if (x->kind == HL_VALUE_CONST)
        return hl_graph_const(to, x->constant);
    hl_type t = x->type;
    if (s->role[v] == BY_ROW)
        t.dim[0] = s->cut->rows;
    const hl_id id = x->kind == HL_VALUE_STATE ? hl_graph_state(to, x->name, t)
                                               : hl_graph_input(to, x->name ? x->name : "", t);
    if (id != HL_NONE)
        to->values.at[id].data = x->data;
    return id;
}

/* The body of a fused node, for fewer rows. */
static hl_status shrink_body(const shrinking *s, const hl_node *n, hl_body **out)
{
    hl_status st = HL_OK;
    const hl_body *b = n->body;
    const size_t values = b->g->values.n + 1;
    hl_graph *g = NULL;
    hl_id *map = hl_alloc(values * sizeof *map), *in = hl_alloc(values * sizeof *in);
    bool *by_row = hl_alloc(values * sizeof *by_row);
    int n_rows = 0;
    if (!map || !in || !by_row) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (int i = 0; i < b->n_in; i++)
        if (s->role[n->in[i]] == BY_ROW)
            in[n_rows++] = b->in[i];
    const hl_cut inside = {in, n_rows, s->cut->batch, s->cut->rows};
    HL_TRY(hl_shrink(b->g, &inside, &g, map, by_row));
    if (!g)
        HL_FAIL(HL_E_INTERNAL, "a fused operation that is not elementwise");
    for (int i = 0; i < b->n_in; i++)
        in[i] = map[b->in[i]];
    const hl_id result = map[b->out[0]];
    st = hl_body_new(g, in, b->n_in, &result, 1, out);
out:
    hl_graph_free(g);
    hl_free(map);
    hl_free(in);
    hl_free(by_row);
    return st;
}

static hl_status copy_node(const shrinking *s, hl_graph *to, const hl_node *n, hl_id *map)
{
    hl_node like = *n;
    hl_body *body = NULL;
    hl_id *in = hl_alloc((size_t)(n->n_in + 1) * sizeof *in);
    hl_status st = in ? HL_OK : HL_E_NOMEM;
    for (int i = 0; i < n->n_in && in; i++)
        in[i] = n->in[i] == HL_NONE ? HL_NONE : map[n->in[i]];
    if (st == HL_OK && n->body && s->role[n->out0] == BY_ROW)
        st = shrink_body(s, n, &body);
    if (body)
        like.body = body;
    if (st == HL_OK) {
        const hl_id first = hl_graph_append_like(to, &like, in);
        for (int i = 0; i < n->n_out; i++)
            map[n->out0 + i] = first + i;
        st = to->status;
    }
    hl_body_unref(body);
    hl_free(in);
    return st;
}

hl_status hl_shrink(const hl_graph *g, const hl_cut *c, hl_graph **out, hl_id *map, bool *by_row)
{
    hl_status st = HL_OK;
    hl_graph *to = NULL;
    shrinking s = {.g = g, .cut = c};
    *out = NULL;
    s.role = hl_alloc_zero(g->values.n + 1, sizeof *s.role);
    if (!s.role) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (int i = 0; i < c->n_z; i++)
        if (c->z[i] != HL_NONE)
            s.role[c->z[i]] = BY_ROW;
    for (size_t k = 0; k < g->nodes.n; k++)
        if (!is_apart(&s, &g->nodes.at[k]))
            goto out;
    HL_TRY(hl_graph_new(&to));
    for (size_t v = 0; v < g->values.n; v++) {
        by_row[v] = s.role[v] == BY_ROW;
        map[v] = g->values.at[v].kind == HL_VALUE_NODE ? HL_NONE : copy_leaf(&s, to, (hl_id)v);
    }
    HL_TRY(to->status);
    for (size_t k = 0; k < g->nodes.n; k++)
        HL_TRY(copy_node(&s, to, &g->nodes.at[k], map));
    *out = to;
    to = NULL;
out:
    hl_graph_free(to);
    hl_free(s.role);
    return st;
}
