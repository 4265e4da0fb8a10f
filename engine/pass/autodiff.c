/* Reverse-mode differentiation on the graph: walk the nodes that lie between the parameters and the
 * loss backwards, let each op's rule append its vector-Jacobian product, add up what meets. The nodes
 * appended are ordinary ones, so the result can be differentiated again where the ops allow it. */
#include "engine/base/mem.h"
#include "engine/graph/build.h"
#include "engine/pass/pass.h"

typedef struct walk {
    hl_graph *g;
    hl_id *grad;    /* per value of the original graph */
    bool *depends;  /* value depends on one of wrt */
    size_t n_values, n_nodes;
} walk;

/* Does a gradient flow from this node into its input i? */
static bool flows(const walk *w, const hl_node *n, int i)
{
    return !n->stop && n->in[i] != HL_NONE && w->depends[n->in[i]] && !(i < 32 && n->op->no_grad >> i & 1);
}

static void mark_dependents(walk *w, const hl_id *wrt, int n)
{
    for (int i = 0; i < n; i++)
        w->depends[wrt[i]] = true;
    for (size_t k = 0; k < w->n_nodes; k++) {
        const hl_node *node = &w->g->nodes.at[k];
        bool any = false;
        for (int i = 0; i < node->n_in && !any; i++)
            any = flows(w, node, i);
        for (int i = 0; any && i < node->n_out; i++)
            w->depends[node->out0 + i] = true;
    }
}

static hl_status meet(walk *w, hl_id value, hl_id grad)
{
    if (grad == HL_NONE)
        return HL_OK;
    hl_id *slot = &w->grad[value];
    *slot = *slot == HL_NONE ? grad : hl_g_add(w->g, *slot, grad);
    return w->g->status;
}

static hl_status no_rule(const hl_graph *g, const hl_node *n)
{
    (void)g;
    return hl_err_set(HL_E_UNSUPPORTED, "%s%s%s has no %sderivative", n->where ? n->where : "",
                      n->where ? ": " : "", n->op->name,
                      n->op->flags & HL_OP_NO_LUA ? "second " : "");
}

static hl_status differentiate_node(walk *w, size_t index)
{
    hl_status st = HL_OK;
    const hl_node n = w->g->nodes.at[index]; /* a copy: appending moves the array */
    hl_id grad_out[HL_MAX_OUT], outs[HL_MAX_OUT];
    bool reached = false, wanted = false;
    for (int i = 0; i < n.n_out; i++) {
        outs[i] = n.out0 + i;
        grad_out[i] = w->grad[n.out0 + i];
        reached = reached || grad_out[i] != HL_NONE;
    }
    /* a value of wrt depends on itself, yet what it was made from may not be asked for */
    for (int i = 0; i < n.n_in; i++)
        wanted = wanted || flows(w, &n, i);
    if (!reached || !wanted)
        return HL_OK;
    if (!n.op->vjp)
        return no_rule(w->g, &n);
    hl_id *grad_in = hl_alloc((size_t)(n.n_in + 1) * sizeof *grad_in);
    bool *needed = hl_alloc((size_t)(n.n_in + 1) * sizeof *needed);
    if (!grad_in || !needed) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (int i = 0; i < n.n_in; i++) {
        grad_in[i] = HL_NONE;
        needed[i] = flows(w, &n, i);
    }
    hl_vjp v = {.g = w->g, .in = n.in, .out = outs, .n_in = n.n_in, .n_out = n.n_out,
                .attrs = &n.attrs, .stream = n.stream, .body = n.body, .grad_out = grad_out, .needed = needed,
                .grad_in = grad_in};
    w->g->where = n.where;
    HL_TRY_CTX(n.op->vjp(&v), "derivative of %s", n.op->name);
    HL_TRY(w->g->status);
    for (int i = 0; i < n.n_in; i++)
        if (needed[i])
            HL_TRY(meet(w, n.in[i], grad_in[i]));
out:
    hl_free(grad_in);
    hl_free(needed);
    return st;
}

static hl_status check_cotangent(const hl_graph *g, hl_id y, hl_id cotangent)
{
    char a[96], b[96];
    if (cotangent == HL_NONE || hl_type_equal(hl_graph_type(g, y), hl_graph_type(g, cotangent)))
        return HL_OK;
    return hl_err_set(HL_E_SHAPE, "the cotangent must be %s, not %s",
                      hl_type_text(a, hl_graph_type(g, y)),
                      hl_type_text(b, hl_graph_type(g, cotangent)));
}

hl_status hl_pass_vjp(hl_graph *g, hl_id y, hl_id cotangent, const hl_id *wrt, int n, hl_id *grads)
{
    return hl_pass_vjp_of(g, &(hl_cotangent){y, cotangent}, 1, wrt, n, grads);
}

hl_status hl_pass_vjp_of(hl_graph *g, const hl_cotangent *y, int n_y, const hl_id *wrt, int n,
                         hl_id *grads)
{
    hl_status st = HL_OK;
    const char *where = g->where; /* of the caller; the nodes appended get their origin's */
    if (g->status != HL_OK)
        return g->status;
    for (int i = 0; i < n_y && st == HL_OK; i++)
        st = check_cotangent(g, y[i].of, y[i].value);
    if (st != HL_OK)
        return st;
    walk w = {.g = g, .n_values = g->values.n, .n_nodes = g->nodes.n};
    w.grad = hl_alloc((w.n_values + 1) * sizeof *w.grad);
    w.depends = hl_alloc_zero(w.n_values + 1, sizeof *w.depends);
    if (!w.grad || !w.depends) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (size_t i = 0; i < w.n_values; i++)
        w.grad[i] = HL_NONE;
    mark_dependents(&w, wrt, n);
    for (int i = 0; i < n_y; i++)
        HL_TRY(meet(&w, y[i].of, y[i].value));
    for (size_t k = w.n_nodes; k-- > 0;)
        HL_TRY(differentiate_node(&w, k));
    for (int i = 0; i < n; i++)
        grads[i] = w.grad[wrt[i]];
out:
    g->where = where;
    hl_free(w.grad);
    hl_free(w.depends);
    return st;
}

hl_status hl_pass_grad(hl_graph *g, hl_id loss, const hl_id *wrt, int n, hl_id *grads)
{
    char text[96];
    if (g->status != HL_OK)
        return g->status; /* the loss may not be there */
    const hl_type t = *hl_graph_type(g, loss);
    if (hl_type_count(&t) != 1 || !hl_dtype_is_float(t.dtype))
        return hl_err_set(HL_E_SHAPE, "the loss must be one float, not %s", hl_type_text(text, &t));
    hl_id one = hl_g_reshape_like(g, hl_graph_const(g, 1), loss);
    return g->status != HL_OK ? g->status : hl_pass_vjp(g, loss, one, wrt, n, grads);
}
