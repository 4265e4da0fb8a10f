/* Watching: a moments node behind every tap. */
#include "engine/pass/pass.h"

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
    return HL_OK;
}
