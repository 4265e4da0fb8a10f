/* Precision bf16. What is kept from the forward pass for the backward one is mostly operands of
 * products; rounded right where they are made, they take half the memory, and the floats behind
 * them none. Which they are, the op table says. */
#include "engine/base/mem.h"
#include "engine/pass/pass.h"
#include "engine/pass/rewrite.h"

typedef struct rounding {
    hl_rewrite r;
    bool no_attention, sums; /* sums of columns read what is rounded for others */
    bool *wanted; /* per old value: rounded right behind the node that makes it */
    hl_id *half;  /* per old value: the new one as bf16, HL_NONE until it is there */
} rounding;

/* The slope of an activation is taken at an operand that is kept for nothing else. */
static bool is_slope(const hl_node *n)
{
    return n->op == hl_op_get(HL_OP_ID_gelu_slope) ||
           n->op == hl_op_get(HL_OP_ID_gelu_tanh_slope) || n->op == hl_op_get(HL_OP_ID_relu_slope);
}

static bool rounds(const hl_node *n, int i)
{
    return (hl_op_takes_bf16(n->op, i) || (is_slope(n) && i == 1)) && n->in[i] != HL_NONE;
}

/* All operands or none. */
static bool is_rounded(const rounding *x, const hl_node *n)
{
    const hl_graph *g = x->r.from;
    bool any = false;
    if (x->no_attention &&
        (n->op == hl_op_get(HL_OP_ID_attention) || n->op == hl_op_get(HL_OP_ID_attention_vjp)))
        return false;
    for (int i = 0; i < n->n_in; i++) {
        if (!rounds(n, i))
            continue;
        if (hl_graph_type(g, n->in[i])->dtype != HL_DTYPE_F32)
            return false;
        any = true;
    }
    return any;
}

/* Another shape of the same numbers is not rounded again. */
static hl_id seen_through(const hl_graph *g, hl_id v)
{
    const hl_node *n = hl_graph_node_of(g, v);
    while (n && n->op == hl_op_get(HL_OP_ID_reshape)) {
        v = n->in[0];
        n = hl_graph_node_of(g, v);
    }
    return v;
}

static hl_id append_to_bf16(rounding *x, hl_id v)
{
    if (x->half[v] == HL_NONE)
        x->half[v] = hl_graph_append(x->r.to, hl_op_get(HL_OP_ID_to_bf16), &x->r.map[v], 1, NULL);
    return x->half[v];
}

static hl_id half_of(rounding *x, hl_id v)
{
    const hl_id root = seen_through(x->r.from, v);
    const hl_id half = append_to_bf16(x, root);
    if (root != v && half != HL_NONE && x->half[v] == HL_NONE)
        x->half[v] = hl_graph_append_like(x->r.to, hl_graph_node_of(x->r.from, v), &half);
    return x->half[v];
}

/* The gradient of a bias is such a sum. */
static bool sums_columns(const hl_graph *g, const hl_node *n)
{
    return n->op == hl_op_get(HL_OP_ID_sum) && hl_graph_type(g, n->out0)->rank > 0 &&
           n->attrs.v[0].i != 0 && !(n->attrs.v[0].i >> (hl_graph_type(g, n->in[0])->rank - 1) & 1);
}

static hl_id widened(rounding *x, hl_id half)
{
    return hl_graph_append(x->r.to, hl_op_get(HL_OP_ID_from_bf16), &half, 1, NULL);
}

/* A node whose first input is rounded anyway. */
static hl_status copy_on_rounded(rounding *x, size_t index)
{
    const hl_node *n = &x->r.from->nodes.at[index];
    const hl_id half = half_of(x, n->in[0]), in = half == HL_NONE ? HL_NONE : widened(x, half);
    return x->r.to->status == HL_OK ? hl_rewrite_copy_on(&x->r, index, &in) : x->r.to->status;
}

static hl_status copy_rounded(rounding *x, size_t index)
{
    const hl_node *n = &x->r.from->nodes.at[index];
    hl_id *in = hl_alloc((size_t)(n->n_in + 1) * sizeof *in);
    if (!in)
        return HL_E_NOMEM;
    x->r.to->where = n->where;
    for (int i = 0; i < n->n_in; i++) {
        in[i] = n->in[i] == HL_NONE ? HL_NONE : x->r.map[n->in[i]];
        if (rounds(n, i))
            in[i] = half_of(x, n->in[i]);
        if (is_slope(n) && i == 1)
            in[i] = widened(x, in[i]);
    }
    x->r.to->where = NULL;
    hl_status st = x->r.to->status;
    if (st == HL_OK)
        st = hl_rewrite_copy_on(&x->r, index, in);
    hl_free(in);
    return st;
}

static hl_status one_node(rounding *x, size_t index)
{
    const hl_node *n = &x->r.from->nodes.at[index];
    const bool sum =
        x->sums && sums_columns(x->r.from, n) && x->wanted[seen_through(x->r.from, n->in[0])];
    hl_status st = is_rounded(x, n) ? copy_rounded(x, index)
                   : sum            ? copy_on_rounded(x, index)
                                    : hl_rewrite_copy(&x->r, index);
    for (int o = 0; st == HL_OK && o < n->n_out; o++)
        if (x->wanted[n->out0 + o] && append_to_bf16(x, n->out0 + o) == HL_NONE)
            st = x->r.to->status;
    return st;
}

static hl_status round_operands(const hl_graph *g, hl_id *outputs, int n_outputs, rounding how,
                                hl_graph **out, hl_id *map)
{
    rounding x = {.no_attention = how.no_attention,
                  .sums = how.sums,
                  .wanted = hl_alloc_zero(g->values.n + 1, sizeof *x.wanted),
                  .half = hl_alloc((g->values.n + 1) * sizeof *x.half)};
    hl_status st = hl_rewrite_begin(&x.r, g, outputs, n_outputs, map);
    if (!x.wanted || !x.half)
        st = HL_E_NOMEM;
    for (size_t v = 0; st == HL_OK && v < g->values.n; v++)
        x.half[v] = HL_NONE;
    for (size_t k = 0; st == HL_OK && k < g->nodes.n; k++) {
        const hl_node *n = &g->nodes.at[k];
        const int n_in = is_rounded(&x, n) ? n->n_in : 0;
        for (int i = 0; i < n_in; i++)
            if (rounds(n, i))
                x.wanted[seen_through(g, n->in[i])] = true;
    }
    for (size_t k = 0; st == HL_OK && k < g->nodes.n; k++)
        st = one_node(&x, k);
    hl_free(x.wanted);
    hl_free(x.half);
    return hl_rewrite_end(&x.r, st, outputs, st == HL_OK ? n_outputs : 0, out);
}

hl_status hl_pass_bf16(const hl_graph *g, hl_id *outputs, int n_outputs, hl_graph **out, hl_id *map)
{
    return round_operands(g, outputs, n_outputs, (rounding){0}, out, map);
}

hl_status hl_pass_bf16_cpu(const hl_graph *g, hl_id *outputs, int n_outputs, hl_graph **out,
                           hl_id *map)
{
    return round_operands(g, outputs, n_outputs, (rounding){.sums = true}, out, map);
}

hl_status hl_pass_fp16(const hl_graph *g, hl_id *outputs, int n_outputs, hl_graph **out, hl_id *map)
{
    return round_operands(g, outputs, n_outputs, (rounding){.no_attention = true}, out, map);
}
