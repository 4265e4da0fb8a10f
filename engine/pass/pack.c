/* Packing a product's right-hand matrix once where it serves several products (a step unrolled) or
 * the same product again and again (the body of a fixed-point solve). Same bits: only the order in
 * memory changes. */
#include "engine/base/mem.h"
#include "engine/pass/pass.h"
#include "engine/pass/rewrite.h"

/* Below this a product packs for itself faster than a further step starts. */
enum { LEAST_ELEMENTS = 2048 };

static bool is_candidate(const hl_graph *g, const hl_node *n, const bool *only)
{
    if (n->op != hl_op_get(HL_OP_ID_matmul) || n->attrs.v[0].i || (only && !only[n->in[1]]))
        return false;
    const hl_type *b = hl_graph_type(g, n->in[1]);
    return b->rank == 2 && b->dtype != HL_DTYPE_BF16 && hl_type_count(b) >= LEAST_ELEMENTS;
}

static hl_id packed_of(hl_rewrite *r, const hl_node *n, hl_id *packed)
{
    const bool tb = n->attrs.v[1].i;
    hl_id *at = &packed[2 * n->in[1] + tb];
    if (*at != HL_NONE)
        return *at;
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_pack));
    a.v[0].i = tb;
    r->to->where = n->where;
    *at = hl_graph_append(r->to, hl_op_get(HL_OP_ID_pack), &r->map[n->in[1]], 1, &a);
    r->to->where = NULL;
    return *at;
}

static hl_status replace(hl_rewrite *r, const hl_node *n, hl_id *packed)
{
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_matmul_packed));
    const hl_type *y = hl_graph_type(r->from, n->out0);
    a.v[0].i = y->dim[y->rank - 1];
    hl_id in[3] = {r->map[n->in[0]], packed_of(r, n, packed), HL_NONE};
    if (n->n_in > 2 && n->in[2] != HL_NONE)
        in[2] = r->map[n->in[2]];
    r->to->where = n->where;
    r->map[n->out0] = hl_graph_append(r->to, hl_op_get(HL_OP_ID_matmul_packed), in, 3, &a);
    r->to->where = NULL;
    return r->to->status;
}

hl_status hl_pass_pack(const hl_graph *g, hl_id *outputs, int n_outputs, const bool *only,
                       hl_graph **out, hl_id *map)
{
    hl_rewrite r;
    const int least = only ? 1 : 3;
    const size_t n = 2 * g->values.n + 1;
    int32_t *uses = hl_alloc_zero(n, sizeof *uses);
    hl_id *packed = hl_alloc(n * sizeof *packed);
    hl_status st = hl_rewrite_begin(&r, g, outputs, n_outputs, map);
    if (!uses || !packed)
        st = HL_E_NOMEM;
    for (size_t i = 0; st == HL_OK && i < n; i++)
        packed[i] = HL_NONE;
    for (size_t i = 0; st == HL_OK && i < g->nodes.n; i++)
        if (is_candidate(g, &g->nodes.at[i], only))
            uses[2 * g->nodes.at[i].in[1] + g->nodes.at[i].attrs.v[1].i]++;
    for (size_t i = 0; st == HL_OK && i < g->nodes.n; i++) {
        const hl_node *x = &g->nodes.at[i];
        const bool packs =
            is_candidate(g, x, only) && uses[2 * x->in[1] + x->attrs.v[1].i] >= least;
        st = packs ? replace(&r, x, packed) : hl_rewrite_copy(&r, i);
    }
    hl_free(uses);
    hl_free(packed);
    return hl_rewrite_end(&r, st, outputs, st == HL_OK ? n_outputs : 0, out);
}
