/* Watching: a moments node behind every tap. */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/pass/pass.h"

hl_status hl_pass_move_to_producers(hl_graph *g, size_t n)
{
    const size_t total = g->nodes.n, before = total - n;
    hl_node *order = hl_alloc((total + 1) * sizeof *order);
    if (!order)
        return HL_E_NOMEM;
    size_t at = 0;
    for (size_t i = 0; i <= before; i++) { /* i = 0: behind the leaves */
        if (i > 0)
            order[at++] = g->nodes.at[i - 1];
        for (size_t k = before; k < total; k++) {
            const hl_value *x = &g->values.at[g->nodes.at[k].in[0]];
            if (i == (x->kind == HL_VALUE_NODE ? (size_t)x->node + 1 : 0))
                order[at++] = g->nodes.at[k];
        }
    }
    memcpy(g->nodes.at, order, total * sizeof *order);
    hl_free(order);
    for (size_t i = 0; i < total; i++)
        for (int k = 0; k < g->nodes.at[i].n_out; k++)
            g->values.at[g->nodes.at[i].out0 + k].node = (int32_t)i;
    return HL_OK;
}

hl_status hl_pass_taps(hl_graph *g, bool bins, hl_id *ids)
{
    for (size_t i = 0; i < g->taps.n; i++) {
        const hl_tap t = g->taps.at[i];
        const int rank = hl_graph_type(g, t.value)->rank;
        hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_moments));
        a.v[0].i = rank == 0 ? 0 : t.rows == HL_TAP_TOKEN ? rank - 1 : 1;
        a.v[1].i = bins;
        ids[i] = hl_graph_append(g, hl_op_get(HL_OP_ID_moments), &t.value, 1, &a);
        if (ids[i] == HL_NONE) {
            (void)hl_err_context("watching '%s'", t.name);
            return g->status;
        }
    }
    return hl_pass_move_to_producers(g, g->taps.n);
}
