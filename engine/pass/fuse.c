/* Fusion by pattern. Each rule looks at one node, decides from its neighbours, and appends the fused
 * node in place of what it covers. The fused and the unfused graph give the same numbers up to
 * rounding; random numbers are the same bits (streams move along). */
#include "engine/base/mem.h"
#include "engine/graph/build.h"
#include "engine/pass/pass.h"
#include "engine/pass/rewrite.h"

static hl_status finish_append(hl_rewrite *r, hl_id first, const hl_id *old, int n)
{
    if (first == HL_NONE)
        return r->to->status;
    for (int i = 0; i < n; i++)
        if (old[i] != HL_NONE)
            r->map[old[i]] = first + i;
    return HL_OK;
}

/* --- layernorm(x + dropout(a)) --- */

/* The operands of the add behind a layernorm: the branch (with dropout, if one side has it and
 * nobody else reads it) and the residual. */
static void split_sum(const hl_rewrite *r, const hl_node *add, hl_id *branch, hl_id *residual,
                      const hl_node **drop)
{
    *branch = add->in[0];
    *residual = add->in[1];
    for (int side = 0; side < 2; side++) {
        const hl_node *d = hl_rewrite_match(r, add->in[side], HL_OP_ID_dropout, 0);
        if (!d || r->uses[add->in[side]] != 1)
            continue;
        *branch = d->in[0];
        *residual = add->in[1 - side];
        *drop = d;
        return;
    }
}

/* Is this add what exactly one layernorm reads, of equal shapes? Then the pair becomes one node when
 * the layernorm comes; the sum is an output of it, so it must not be needed earlier, nor as gain or
 * shift of that layernorm. */
static const hl_node *norm_of_sum(const hl_rewrite *r, const hl_node *ln)
{
    const hl_node *add = hl_rewrite_match(r, ln->in[0], HL_OP_ID_add, 0);
    if (!add || ln->stop || ln->in[1] == ln->in[0] || ln->in[2] == ln->in[0] ||
        !hl_type_equal(hl_graph_type(r->from, add->in[0]), hl_graph_type(r->from, add->in[1])))
        return NULL;
    return add;
}

static hl_status fuse_norm(hl_rewrite *r, const hl_node *ln, const hl_node *add)
{
    const hl_node *drop = NULL;
    hl_id a, x;
    split_sum(r, add, &a, &x, &drop);
    hl_attrs attrs = hl_op_defaults(hl_op_get(HL_OP_ID_residual_norm));
    attrs.v[0].f = ln->attrs.v[0].f;
    attrs.v[1].f = drop ? drop->attrs.v[0].f : 0;
    hl_id in[4] = {r->map[a], r->map[x], r->map[ln->in[1]], r->map[ln->in[2]]};
    r->to->where = ln->where;
    hl_id first = hl_graph_append_stream(r->to, hl_op_get(HL_OP_ID_residual_norm), in, 4, &attrs,
                                         drop ? drop->stream : 0);
    r->to->where = NULL;
    const hl_id old[4] = {add->out0, ln->out0, ln->out0 + 1, ln->out0 + 2};
    return finish_append(r, first, old, 4);
}

/* Marks adds (and their dropouts) that a later layernorm will make, when nobody reads the sum before
 * that layernorm. The first layernorm of a sum takes it. */
static void plan_norms(hl_rewrite *r)
{
    const hl_graph *g = r->from;
    for (size_t i = 0; i < g->nodes.n; i++) {
        const hl_node *ln = &g->nodes.at[i];
        if (ln->op != hl_op_get(HL_OP_ID_layernorm))
            continue;
        const hl_node *add = norm_of_sum(r, ln);
        if (!add)
            continue;
        size_t at = (size_t)g->values.at[add->out0].node;
        bool early = r->skip[at];
        for (size_t k = at + 1; k < i && !early; k++)
            for (int j = 0; j < g->nodes.at[k].n_in; j++)
                early = early || g->nodes.at[k].in[j] == add->out0;
        if (early)
            continue;
        r->skip[at] = true;
        hl_id a, x;
        const hl_node *drop = NULL;
        split_sum(r, add, &a, &x, &drop);
        if (drop)
            r->skip[g->values.at[drop->out0].node] = true;
    }
}

hl_status hl_pass_fuse_forward(const hl_graph *g, hl_id *outputs, int n_outputs, hl_graph **out,
                               hl_id *map)
{
    hl_rewrite r;
    hl_status st = hl_rewrite_begin(&r, g, outputs, n_outputs, map);
    if (st != HL_OK)
        return hl_rewrite_end(&r, st, outputs, 0, out);
    plan_norms(&r);
    for (size_t i = 0; i < g->nodes.n && st == HL_OK; i++) {
        const hl_node *n = &g->nodes.at[i];
        if (r.skip[i])
            continue;
        const hl_node *add =
            n->op == hl_op_get(HL_OP_ID_layernorm) ? norm_of_sum(&r, n) : NULL;
        if (add && r.map[add->out0] == HL_NONE)
            st = fuse_norm(&r, n, add);
        else
            st = hl_rewrite_copy(&r, i);
    }
    return hl_rewrite_end(&r, st, outputs, n_outputs, out);
}

/* --- lm_loss + lm_loss_vjp --- */

/* The vjp node of an lm_loss whose cotangent does not depend on the loss (a leaf, or made before). */
static const hl_node *gradient_of_loss(const hl_rewrite *r, const hl_node *loss)
{
    for (size_t i = 0; i < r->from->nodes.n; i++) {
        const hl_node *n = &r->from->nodes.at[i];
        if (n->op != hl_op_get(HL_OP_ID_lm_loss_vjp) || r->skip[i])
            continue;
        bool same = n->in[0] < loss->out0 || r->from->values.at[n->in[0]].kind != HL_VALUE_NODE;
        for (int k = 0; k < 4; k++)
            same = same && n->in[k + 1] == loss->in[k];
        if (same)
            return n;
    }
    return NULL;
}

static hl_status fuse_loss(hl_rewrite *r, const hl_node *loss, const hl_node *vjp)
{
    hl_id in[5];
    for (int k = 0; k < 5; k++)
        in[k] = vjp->in[k] == HL_NONE ? HL_NONE : r->map[vjp->in[k]];
    r->to->where = loss->where;
    hl_id first = hl_graph_append(r->to, hl_op_get(HL_OP_ID_lm_loss_grad), in, 5, NULL);
    r->to->where = NULL;
    const hl_id old[5] = {loss->out0, loss->out0 + 1, vjp->out0, vjp->out0 + 1,
                          vjp->n_out > 2 ? vjp->out0 + 2 : HL_NONE};
    r->skip[r->from->values.at[vjp->out0].node] = true;
    return finish_append(r, first, old, vjp->n_out > 2 ? 5 : 4);
}

/* --- sums into the product or scatter that makes one side --- */

/* An operand of the add that only the add reads, made by `op` without an addend yet. */
static const hl_node *single_use(const hl_rewrite *r, hl_id v, hl_op_id op)
{
    const hl_node *n = hl_rewrite_match(r, v, op, 0);
    bool has_addend = n && n->n_in > 2 && n->in[2] != HL_NONE;
    return n && r->uses[v] == 1 && !has_addend ? n : NULL;
}

/* Which side of the add can take the other as its addend; -1: none. The producer moves down to the
 * place of the add, so that the addend exists. */
static int addend_side(const hl_rewrite *r, const hl_node *add)
{
    if (!hl_type_equal(hl_graph_type(r->from, add->in[0]), hl_graph_type(r->from, add->in[1])))
        return -1;
    for (int side = 1; side >= 0; side--)
        if (single_use(r, add->in[side], HL_OP_ID_matmul) ||
            single_use(r, add->in[side], HL_OP_ID_embedding_vjp))
            return side;
    return -1;
}

static hl_status fuse_addend(hl_rewrite *r, const hl_node *add, int side)
{
    const hl_node *n = &r->from->nodes.at[r->from->values.at[add->in[side]].node];
    hl_id in[3] = {r->map[n->in[0]], r->map[n->in[1]], r->map[add->in[1 - side]]};
    r->to->where = n->where;
    hl_id first = hl_graph_append(r->to, n->op, in, 3, &n->attrs);
    r->to->where = NULL;
    return finish_append(r, first, &add->out0, 1);
}

static void plan_addends(hl_rewrite *r)
{
    for (size_t i = 0; i < r->from->nodes.n; i++) {
        const hl_node *n = &r->from->nodes.at[i];
        int side = n->op == hl_op_get(HL_OP_ID_add) ? addend_side(r, n) : -1;
        if (side >= 0)
            r->skip[r->from->values.at[n->in[side]].node] = true;
    }
}

hl_status hl_pass_fuse_backward(const hl_graph *g, hl_id *outputs, int n_outputs, hl_graph **out,
                                hl_id *map)
{
    hl_rewrite r;
    hl_status st = hl_rewrite_begin(&r, g, outputs, n_outputs, map);
    if (st != HL_OK)
        return hl_rewrite_end(&r, st, outputs, 0, out);
    plan_addends(&r);
    for (size_t i = 0; i < g->nodes.n && st == HL_OK; i++) {
        const hl_node *n = &g->nodes.at[i];
        if (r.skip[i])
            continue;
        const hl_node *vjp = n->op == hl_op_get(HL_OP_ID_lm_loss) ? gradient_of_loss(&r, n) : NULL;
        int side = n->op == hl_op_get(HL_OP_ID_add) ? addend_side(&r, n) : -1;
        if (vjp)
            st = fuse_loss(&r, n, vjp);
        else if (side >= 0)
            st = fuse_addend(&r, n, side);
        else
            st = hl_rewrite_copy(&r, i);
    }
    return hl_rewrite_end(&r, st, outputs, n_outputs, out);
}
