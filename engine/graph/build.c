#include "engine/graph/build.h"

hl_id hl_g_op1(hl_graph *g, hl_op_id op, hl_id a)
{
    return a == HL_NONE ? HL_NONE : hl_graph_append(g, hl_op_get(op), &a, 1, NULL);
}

hl_id hl_g_op2(hl_graph *g, hl_op_id op, hl_id a, hl_id b)
{
    hl_id in[2] = {a, b};
    return a == HL_NONE || b == HL_NONE ? HL_NONE
                                        : hl_graph_append(g, hl_op_get(op), in, 2, NULL);
}

hl_id hl_g_add(hl_graph *g, hl_id a, hl_id b)
{
    return hl_g_op2(g, HL_OP_ID_add, a, b);
}

hl_id hl_g_sub(hl_graph *g, hl_id a, hl_id b)
{
    return hl_g_op2(g, HL_OP_ID_sub, a, b);
}

hl_id hl_g_mul(hl_graph *g, hl_id a, hl_id b)
{
    return hl_g_op2(g, HL_OP_ID_mul, a, b);
}

hl_id hl_g_div(hl_graph *g, hl_id a, hl_id b)
{
    return hl_g_op2(g, HL_OP_ID_div, a, b);
}

hl_id hl_g_neg(hl_graph *g, hl_id a)
{
    return hl_g_op1(g, HL_OP_ID_neg, a);
}

hl_id hl_g_scale(hl_graph *g, hl_id a, double by)
{
    return by == 1 ? a : hl_g_mul(g, a, hl_graph_const(g, by));
}

static hl_id with_dims(hl_graph *g, hl_op_id id, hl_id a, int rank, const int64_t *dim)
{
    if (a == HL_NONE)
        return HL_NONE;
    const hl_type *t = hl_graph_type(g, a);
    hl_type want = hl_type_make(t->dtype, rank, dim);
    if (hl_shape_equal(t, &want))
        return a;
    hl_attrs attrs = hl_op_defaults(hl_op_get(id));
    attrs.n_dims = rank;
    for (int i = 0; i < rank; i++)
        attrs.dims[i] = dim[i];
    return hl_graph_append(g, hl_op_get(id), &a, 1, &attrs);
}

hl_id hl_g_reshape(hl_graph *g, hl_id a, int rank, const int64_t *dim)
{
    return with_dims(g, HL_OP_ID_reshape, a, rank, dim);
}

hl_id hl_g_reshape_like(hl_graph *g, hl_id a, hl_id like)
{
    if (like == HL_NONE)
        return HL_NONE;
    const hl_type t = *hl_graph_type(g, like);
    return hl_g_reshape(g, a, t.rank, t.dim);
}

hl_id hl_g_expand(hl_graph *g, hl_id a, int rank, const int64_t *dim)
{
    return with_dims(g, HL_OP_ID_expand, a, rank, dim);
}

hl_id hl_g_expand_like(hl_graph *g, hl_id a, hl_id like)
{
    if (like == HL_NONE)
        return HL_NONE;
    const hl_type t = *hl_graph_type(g, like);
    return hl_g_expand(g, a, t.rank, t.dim);
}

hl_id hl_g_sum(hl_graph *g, hl_id a, unsigned axes, bool keep)
{
    if (a == HL_NONE)
        return HL_NONE;
    hl_attrs attrs = hl_op_defaults(hl_op_get(HL_OP_ID_sum));
    attrs.v[0].i = axes;
    attrs.v[1].i = keep;
    return hl_graph_append(g, hl_op_get(HL_OP_ID_sum), &a, 1, &attrs);
}

hl_id hl_g_sum_to(hl_graph *g, hl_id a, hl_id like)
{
    if (a == HL_NONE || like == HL_NONE)
        return HL_NONE;
    const hl_type from = *hl_graph_type(g, a), to = *hl_graph_type(g, like);
    if (hl_shape_equal(&from, &to))
        return a;
    unsigned axes = 0;
    int lead = from.rank - to.rank;
    for (int i = 0; i < from.rank; i++)
        if (i < lead || (to.dim[i - lead] == 1 && from.dim[i] != 1))
            axes |= 1u << i;
    if (axes)
        a = hl_g_sum(g, a, axes, false);
    return hl_g_reshape(g, a, to.rank, to.dim);
}

hl_id hl_g_matmul(hl_graph *g, hl_id a, bool ta, hl_id b, bool tb)
{
    if (a == HL_NONE || b == HL_NONE)
        return HL_NONE;
    hl_attrs attrs = hl_op_defaults(hl_op_get(HL_OP_ID_matmul));
    attrs.v[0].i = ta;
    attrs.v[1].i = tb;
    hl_id in[2] = {a, b};
    return hl_graph_append(g, hl_op_get(HL_OP_ID_matmul), in, 2, &attrs);
}
