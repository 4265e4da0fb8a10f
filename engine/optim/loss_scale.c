#include "engine/optim/loss_scale.h"

#include <string.h>

#include "engine/graph/build.h"

#define SCALE "optim.loss_scale"

/* The state of this name, once in a graph. */
static hl_id state_of(hl_graph *g, const char *name)
{
    for (size_t v = 0; v < g->values.n; v++)
        if (g->values.at[v].kind == HL_VALUE_STATE && g->values.at[v].name &&
            strcmp(g->values.at[v].name, name) == 0)
            return (hl_id)v;
    return hl_graph_state(g, name, hl_type_scalar(HL_DTYPE_F32));
}

hl_id hl_loss_scale(hl_graph *g)
{
    const hl_id s = state_of(g, SCALE);
    const hl_id unset = hl_g_op2(g, HL_OP_ID_eq, s, hl_graph_const(g, 0));
    return hl_g_add(g, s, hl_g_scale(g, unset, HL_LOSS_SCALE_FIRST));
}

void hl_loss_scale_next(hl_graph *g, hl_id scale, hl_id ok, hl_id write[2])
{
    const hl_id good = state_of(g, "optim.good_steps"), one = hl_graph_const(g, 1);
    const hl_id now = hl_g_mul(g, hl_g_add(g, good, one), ok);
    const hl_id grows = hl_g_op2(g, HL_OP_ID_le, hl_graph_const(g, HL_LOSS_SCALE_PATIENCE), now);
    /* a half, one, or two */
    const hl_id by =
        hl_g_add(g, hl_g_add(g, hl_g_scale(g, ok, 0.5), hl_graph_const(g, 0.5)), grows);
    const hl_id wide = hl_g_op2(g, HL_OP_ID_maximum, hl_g_mul(g, scale, by),
                                hl_graph_const(g, HL_LOSS_SCALE_LEAST));
    const hl_id next = hl_g_op2(g, HL_OP_ID_minimum, wide, hl_graph_const(g, HL_LOSS_SCALE_MOST));
    const hl_id count = hl_g_mul(g, now, hl_g_sub(g, one, grows));
    write[0] = hl_g_op2(g, HL_OP_ID_assign, state_of(g, SCALE), next);
    write[1] = hl_g_op2(g, HL_OP_ID_assign, good, count);
}
