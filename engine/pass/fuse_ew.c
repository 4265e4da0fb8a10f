/* Chains and trees of elementwise nodes become one node that goes over memory once. A node joins
 * the one that reads it if nothing else does, or nothing outside of that one's group; so a group
 * has one result, and stands where its last node stood. */
#include "engine/base/mem.h"
#include "engine/graph/body.h"
#include "engine/pass/pass.h"
#include "engine/pass/rewrite.h"

enum { MOST_NODES = 96, MOST_INPUTS = 24, LEAST_ELEMENTS = 256 };

typedef struct grouping {
    const hl_graph *g;
    const bool *apart;
    int *group;  /* per node: its root node, itself if it is one, -1: not elementwise */
    int *joined; /* per value: the group of all its readers; -1: none yet, -2: several or outside */
    int *size;   /* per root */
} grouping;

static bool is_fusable(const hl_graph *g, const hl_node *n)
{
    if (!hl_ew_is(n->op) || n->n_out != 1)
        return false;
    const hl_type *y = hl_graph_type(g, n->out0);
    if (y->dtype != HL_DTYPE_F32 || hl_type_count(y) < LEAST_ELEMENTS)
        return false;
    for (int i = 0; i < n->n_in; i++) {
        const hl_type *x = hl_graph_type(g, n->in[i]);
        if (x->dtype != HL_DTYPE_F32 ||
            (hl_type_count(x) != hl_type_count(y) && hl_type_count(x) != 1))
            return false;
    }
    return true;
}

/* A value read by a node of group `root`, or from outside (-2). */
static void note_reader(grouping *w, hl_id v, int root)
{
    if (v == HL_NONE)
        return;
    w->joined[v] = w->joined[v] == -1 || w->joined[v] == root ? root : -2;
}

static void decide(grouping *w, int i)
{
    const hl_node *n = &w->g->nodes.at[i];
    int root = -1;
    if (is_fusable(w->g, n)) {
        root = w->joined[n->out0];
        const bool joins = root >= 0 && w->size[root] < MOST_NODES && !n->stop &&
                           hl_type_equal(hl_graph_type(w->g, n->out0),
                                         hl_graph_type(w->g, w->g->nodes.at[root].out0)) &&
                           (!w->apart || w->apart[n->out0] == w->apart[w->g->nodes.at[root].out0]);
        root = joins ? root : i;
        w->size[root]++;
    }
    w->group[i] = root;
    for (int k = 0; k < n->n_in; k++)
        note_reader(w, n->in[k], root < 0 ? -2 : root);
}

static hl_status group_nodes(grouping *w, const hl_id *outputs, int n_outputs)
{
    const hl_graph *g = w->g;
    w->group = hl_alloc((g->nodes.n + 1) * sizeof *w->group);
    w->size = hl_alloc_zero(g->nodes.n + 1, sizeof *w->size);
    w->joined = hl_alloc((g->values.n + 1) * sizeof *w->joined);
    if (!w->group || !w->size || !w->joined)
        return HL_E_NOMEM;
    for (size_t v = 0; v < g->values.n; v++)
        w->joined[v] = -1;
    for (int i = 0; i < n_outputs; i++)
        w->joined[outputs[i]] = -2;
    for (size_t i = 0; i < g->taps.n; i++)
        w->joined[g->taps.at[i].value] = -2;
    for (size_t i = g->nodes.n; i-- > 0;)
        decide(w, (int)i);
    return HL_OK;
}

/* --- writing a group --- */

typedef struct writer {
    hl_rewrite *r;
    const grouping *w;
    hl_graph *inner;
    hl_id *at; /* per old value: its value in inner */
    hl_id leaf[MOST_INPUTS], outside[MOST_INPUTS];
    int n_in;
} writer;

static bool operand_in(writer *x, hl_id v, hl_id *out)
{
    const hl_value *value = &x->r->from->values.at[v];
    if (x->at[v] == HL_NONE && value->kind == HL_VALUE_CONST)
        x->at[v] = hl_graph_const(x->inner, value->constant);
    if (x->at[v] == HL_NONE) {
        if (x->n_in == MOST_INPUTS)
            return false;
        x->leaf[x->n_in] = x->at[v] = hl_graph_input(x->inner, "x", value->type);
        x->outside[x->n_in++] = v;
    }
    *out = x->at[v];
    return true;
}

/* The nodes of the group of `root` into inner; *fits false: too many inputs. */
static hl_status write_nodes(writer *x, int first, int root, bool *fits)
{
    for (int i = first; i <= root; i++) {
        if (x->w->group[i] != root)
            continue;
        const hl_node *n = &x->r->from->nodes.at[i];
        hl_id in[3] = {0};
        for (int k = 0; k < n->n_in; k++)
            if (!operand_in(x, n->in[k], &in[k])) {
                *fits = false;
                return HL_OK;
            }
        x->at[n->out0] = hl_graph_append(x->inner, n->op, in, n->n_in, &n->attrs);
    }
    return x->inner->status;
}

static hl_status append_fused(writer *x, int root)
{
    hl_status st = HL_OK;
    hl_body *body = NULL;
    hl_id in[MOST_INPUTS];
    const hl_node *n = &x->r->from->nodes.at[root];
    hl_graph *to = x->r->to;
    HL_TRY(hl_body_new(x->inner, x->leaf, x->n_in, &x->at[n->out0], 1, &body));
    for (int i = 0; i < x->n_in; i++)
        in[i] = x->r->map[x->outside[i]];
    to->where = n->where;
    x->r->map[n->out0] =
        hl_graph_append_body(to, hl_op_get(HL_OP_ID_fused), in, x->n_in, NULL, body);
    to->where = NULL;
    st = to->status;
    if (st == HL_OK && x->r->from->values.at[n->out0].name)
        hl_graph_name_value(to, x->r->map[n->out0], x->r->from->values.at[n->out0].name);
out:
    hl_body_unref(body);
    return st;
}

/* One by one, where the group has too many inputs. */
static hl_status copy_group(hl_rewrite *r, const grouping *w, int first, int root)
{
    hl_status st = HL_OK;
    for (int i = first; i <= root && st == HL_OK; i++)
        if (w->group[i] == root)
            st = hl_rewrite_copy(r, (size_t)i);
    return st;
}

static hl_status write_group(hl_rewrite *r, const grouping *w, int first, int root)
{
    hl_status st = HL_OK;
    bool fits = true;
    writer x = {.r = r, .w = w};
    x.at = hl_alloc((r->from->values.n + 1) * sizeof *x.at);
    if (!x.at)
        return HL_E_NOMEM;
    for (size_t v = 0; v < r->from->values.n; v++)
        x.at[v] = HL_NONE;
    HL_TRY(hl_graph_new(&x.inner));
    HL_TRY(write_nodes(&x, first, root, &fits));
    st = fits && x.n_in > 0 ? append_fused(&x, root) : copy_group(r, w, first, root);
out:
    hl_graph_free(x.inner);
    hl_free(x.at);
    return st;
}

hl_status hl_pass_fuse_elementwise(const hl_graph *g, hl_id *outputs, int n_outputs,
                                   const bool *apart, hl_graph **out, hl_id *map)
{
    hl_rewrite r;
    grouping w = {.g = g, .apart = apart};
    hl_status st = hl_rewrite_begin(&r, g, outputs, n_outputs, map);
    int *first = hl_alloc((g->nodes.n + 1) * sizeof *first); /* of the group of each root */
    if (st == HL_OK)
        st = first ? group_nodes(&w, outputs, n_outputs) : HL_E_NOMEM;
    for (size_t i = g->nodes.n; st == HL_OK && i-- > 0;)
        if (w.group[i] >= 0)
            first[w.group[i]] = (int)i;
    for (size_t i = 0; st == HL_OK && i < g->nodes.n; i++) {
        const int root = w.group[i];
        if (root < 0 || w.size[root] == 1)
            st = hl_rewrite_copy(&r, i);
        else if (root == (int)i)
            st = write_group(&r, &w, first[root], root);
    }
    hl_free(first);
    hl_free(w.group);
    hl_free(w.size);
    hl_free(w.joined);
    return hl_rewrite_end(&r, st, outputs, st == HL_OK ? n_outputs : 0, out);
}
