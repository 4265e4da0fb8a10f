#include "engine/pass/probes.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/graph/build.h"
#include "engine/ops/op_common.h"
#include "engine/pass/pass.h"

typedef HL_VEC(hl_probe) probe_list;

/* The first attributes of the op attention. */
enum { HEADS, N_MASK = 3, DROPOUT = 6 };

void hl_probes_done(hl_probes *p)
{
    hl_free(p->at);
    *p = (hl_probes){0};
}

static hl_id push(hl_id_list *outputs, hl_id id)
{
    return id != HL_NONE && hl_vec_push(outputs, id) == HL_OK ? id : HL_NONE;
}

/* Both outputs; the number of the first, -1 after a failure. */
static int push_extents(hl_graph *g, hl_id x, hl_id_list *outputs)
{
    const int first = (int)outputs->n;
    const hl_id id = hl_g_op1(g, HL_OP_ID_extents, x);
    return push(outputs, id) != HL_NONE && push(outputs, id + 1) != HL_NONE ? first : -1;
}

/* ---- attention ---- */

static hl_id first_of(hl_graph *g, hl_id x)
{
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_slice));
    a.v[2].i = 1;
    return x == HL_NONE ? HL_NONE : hl_graph_append(g, hl_op_get(HL_OP_ID_slice), &x, 1, &a);
}

static hl_id count(hl_graph *g, double start, int64_t n, int at, int rank)
{
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_iota));
    a.v[0].f = start;
    a.n_dims = rank;
    for (int i = 0; i < rank; i++)
        a.dims[i] = i == at ? n : 1;
    return hl_graph_append(g, hl_op_get(HL_OP_ID_iota), NULL, 0, &a);
}

/* {1, S, H * D}: for each head the columns from_key .. of the identity, so that attention to these
 * values gives the probabilities of those keys. */
static hl_id identity_columns(hl_graph *g, const hl_probe *p, int64_t from_key)
{
    const int64_t by_head[4] = {1, p->s, p->n_head, p->d}, flat[3] = {1, p->s, p->n_head * p->d};
    const hl_id key = hl_g_expand(g, count(g, 0, p->s, 1, 4), 4, by_head),
                column = hl_g_expand(g, count(g, (double)from_key, p->d, 3, 4), 4, by_head);
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_cast));
    const hl_id same = hl_g_op2(g, HL_OP_ID_eq, key, column);
    const hl_id one = hl_graph_append(g, hl_op_get(HL_OP_ID_cast), &same, 1, &a);
    return hl_g_reshape(g, one, 3, flat);
}

/* An attention node that is still to be mapped: of its first sequence q, k and mask. */
typedef struct mapping {
    const hl_op *op;
    hl_attrs attrs;
    hl_id in[N_MASK + 2];
    int n_in;
} mapping;
typedef HL_VEC(mapping) mapping_list;

static mapping mapping_of(hl_graph *g, const hl_node *n)
{
    mapping m = {.op = n->op, .attrs = n->attrs, .n_in = n->n_in};
    for (int i = 0; i < N_MASK + 2; i++)
        m.in[i] = i >= n->n_in || i == 2 ? HL_NONE : i <= N_MASK ? first_of(g, n->in[i]) : n->in[i];
    m.attrs.v[DROPOUT].f = 0;
    return m;
}

static hl_status push_map(hl_graph *g, mapping *m, hl_probe *p, hl_id_list *outputs)
{
    p->map = (int)outputs->n;
    for (int64_t from = 0; from < p->s && g->status == HL_OK; from += p->d, p->n_maps++) {
        m->in[2] = identity_columns(g, p, from);
        if (push(outputs, hl_graph_append(g, m->op, m->in, m->n_in, &m->attrs)) == HL_NONE)
            break;
    }
    return g->status;
}

/* The beginning of the name of the first tap behind the node; "attention.2" where there is none. */
static void name_place(const hl_graph *g, size_t node, int number, char name[64])
{
    size_t nearest = g->nodes.n;
    const char *tap = NULL;
    for (size_t i = 0; i < g->taps.n; i++) {
        const hl_value *x = &g->values.at[g->taps.at[i].value];
        if (x->kind != HL_VALUE_NODE || (size_t)x->node <= node || (size_t)x->node >= nearest)
            continue;
        nearest = (size_t)x->node;
        tap = g->taps.at[i].name;
    }
    const char *slash = tap ? strrchr(tap, '/') : NULL;
    if (slash)
        snprintf(name, 64, "%.*s", (int)(slash - tap), tap);
    else
        snprintf(name, 64, "attention.%d", number);
}

/* What the pass makes; maps belong to the last probes of the list. */
typedef struct making {
    hl_graph *g;
    const hl_probe_wish *wish;
    hl_id_list *outputs;
    probe_list list;
    mapping_list maps;
} making;

static hl_status probe_attention(making *m, size_t node, int number)
{
    hl_status st = HL_OK;
    hl_graph *g = m->g;
    const hl_node n = g->nodes.at[node];
    const hl_type q = *hl_graph_type(g, n.in[0]), k = *hl_graph_type(g, n.in[1]);
    hl_probe p = {
        .n_head = n.attrs.v[HEADS].i, .t = q.dim[1], .s = k.dim[1], .extents = -1, .map = -1};
    p.d = q.dim[2] / p.n_head;
    name_place(g, node, number, p.name);
    if (m->wish->extents)
        p.extents = push_extents(g, n.out0, m->outputs);
    if (m->wish->attention)
        HL_TRY(hl_vec_push(&m->maps, mapping_of(g, &n)));
    HL_TRY(g->status);
    st = hl_vec_push(&m->list, p);
out:
    return st;
}

/* ---- all ---- */

static hl_status probe_taps(making *m)
{
    hl_status st = HL_OK;
    hl_graph *g = m->g;
    for (size_t i = 0; i < g->taps.n; i++) {
        const hl_type *t = hl_graph_type(g, g->taps.at[i].value);
        hl_probe p = {.map = -1, .t = t->dim[1]};
        if (t->rank != 3 || !hl_dtype_is_float(t->dtype))
            continue;
        snprintf(p.name, sizeof p.name, "%s", g->taps.at[i].name);
        p.extents = push_extents(g, g->taps.at[i].value, m->outputs);
        HL_TRY(g->status);
        HL_TRY(hl_vec_push(&m->list, p));
    }
out:
    return st;
}

hl_status hl_pass_probes(hl_graph *g, size_t n_nodes, const hl_probe_wish *wish,
                         hl_id_list *outputs, hl_probes *out)
{
    hl_status st = HL_OK;
    making m = {.g = g, .wish = wish, .outputs = outputs};
    int n = 0;
    const size_t before = g->nodes.n;
    if (!wish->extents && !wish->attention)
        return HL_OK;
    if (wish->extents)
        HL_TRY(probe_taps(&m));
    const size_t n_taps = m.list.n;
    for (size_t i = 0; i < n_nodes; i++)
        if (g->nodes.at[i].op == hl_op_get(HL_OP_ID_attention))
            HL_TRY(probe_attention(&m, i, n++));
    HL_TRY(hl_pass_move_to_producers(g, g->nodes.n - before));
    for (size_t i = 0; i < m.maps.n; i++)
        HL_TRY(push_map(g, &m.maps.at[i], &m.list.at[n_taps + i], outputs));
out:
    hl_vec_done(&m.maps);
    *out = (hl_probes){m.list.at, (int)m.list.n};
    return st;
}
