/* Codes from layer to layer: where a quantizer's numbers are read by products of integers, the
 * codes are handed on instead, and numbers are made of them for everybody else. The same codes, so
 * the same results.
 *
 * A value is handed on as codes if its maker can give them (a quantizer, linear_int8 with its
 * result's, attention_quant in integers), they are bytes, and some reader takes them. Numbers that
 * nobody reads then are left out when the graph is compiled. */
#include "engine/base/mem.h"
#include "engine/pass/pass.h"
#include "engine/pass/rewrite.h"

enum { RANGE = 1 }; /* input of quantizers */
enum { INT8_Y_RANGE = 5, INT8_Y_BITS = 3, INT8_Y_SCHEME, INT8_Y_F64, INT8_Y_CODES = 8 };
enum { ATTN_O_RANGE = 6, ATTN_Q_RANGE, ATTN_BITS = 6, ATTN_SCHEME, ATTN_F64, ATTN_O_CODES };

/* The grid of what a node makes; range HL_NONE: it is on none of bytes. Attributes of
 * quant_encode. */
typedef struct byte_grid {
    hl_id range; /* in the old graph */
    hl_attr scheme, bits, is_f64;
} byte_grid;

static bool has(const hl_node *n, int input)
{
    return n->n_in > input && n->in[input] != HL_NONE;
}

static byte_grid grid_of(const hl_node *n)
{
    const hl_attr *v = n->attrs.v;
    byte_grid g = {.range = HL_NONE};
    if (n->op == hl_op_get(HL_OP_ID_fake_quant) && !v[3].i)
        g = (byte_grid){n->in[RANGE], v[0], v[1], v[2]};
    else if (n->op == hl_op_get(HL_OP_ID_linear_int8) && has(n, INT8_Y_RANGE))
        g = (byte_grid){n->in[INT8_Y_RANGE], v[INT8_Y_SCHEME], v[INT8_Y_BITS], v[INT8_Y_F64]};
    else if (n->op == hl_op_get(HL_OP_ID_attention_quant) && has(n, ATTN_Q_RANGE) &&
             has(n, ATTN_O_RANGE))
        g = (byte_grid){n->in[ATTN_O_RANGE], v[ATTN_SCHEME], v[ATTN_BITS], v[ATTN_F64]};
    if (g.range != HL_NONE && g.bits.i > 8)
        g.range = HL_NONE;
    return g;
}

/* Can the maker of v give its codes? */
static bool is_on_bytes(const hl_graph *g, hl_id v)
{
    const hl_node *n = hl_graph_node_of(g, v);
    return n && grid_of(n).range != HL_NONE;
}

/* How many of its first inputs does the node take as codes, all or none? */
static int takes_codes(const hl_graph *g, const hl_node *n)
{
    int n_first = n->op == hl_op_get(HL_OP_ID_linear_int8) ? 1 : 0;
    if (n->op == hl_op_get(HL_OP_ID_attention_quant) && has(n, ATTN_Q_RANGE))
        n_first = 3;
    for (int i = 0; i < n_first; i++)
        if (!is_on_bytes(g, n->in[i]))
            return 0;
    return n_first;
}

typedef struct walk {
    hl_rewrite r;
    bool *wanted; /* of old values: as codes */
    hl_id *codes; /* of old values: in the new graph */
} walk;

static void want(walk *w, const hl_graph *g)
{
    for (size_t i = 0; i < g->nodes.n; i++) {
        const hl_node *n = &g->nodes.at[i];
        for (int k = takes_codes(g, n); k-- > 0;)
            w->wanted[n->in[k]] = true;
    }
}

static hl_attrs codec_attrs(byte_grid of)
{
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_quant_encode));
    a.v[0] = of.scheme;
    a.v[1] = of.bits;
    a.v[2] = of.is_f64;
    return a;
}

/* The node with its first inputs as codes, and giving codes if they are wanted. */
static hl_status do_node(walk *w, size_t index)
{
    hl_graph *g = w->r.to;
    hl_node like = w->r.from->nodes.at[index];
    const int n_codes = takes_codes(w->r.from, &like);
    const bool gives = w->wanted[like.out0];
    if (!gives && n_codes == 0)
        return hl_rewrite_copy(&w->r, index);
    hl_id in[16];
    if (HL_NEVER(like.n_in > 16))
        return HL_E_INTERNAL;
    for (int i = 0; i < like.n_in; i++)
        in[i] = like.in[i] == HL_NONE ? HL_NONE
                : i < n_codes         ? w->codes[like.in[i]]
                                      : w->r.map[like.in[i]];
    const byte_grid of = grid_of(&like);
    hl_attrs a = codec_attrs(of);
    if (gives && like.op == hl_op_get(HL_OP_ID_linear_int8))
        like.attrs.v[INT8_Y_CODES].i = 1;
    else if (gives && like.op == hl_op_get(HL_OP_ID_attention_quant))
        like.attrs.v[ATTN_O_CODES].i = 1;
    g->where = like.where;
    const hl_id y = gives && like.op == hl_op_get(HL_OP_ID_fake_quant)
                        ? hl_graph_append(g, hl_op_get(HL_OP_ID_quant_encode), in, 2, &a)
                        : hl_graph_append_like(g, &like, in);
    w->r.map[like.out0] = y;
    if (gives && y != HL_NONE) {
        const hl_id decode[2] = {y, w->r.map[of.range]};
        w->codes[like.out0] = y;
        w->r.map[like.out0] = hl_graph_append(g, hl_op_get(HL_OP_ID_quant_decode), decode, 2, &a);
    }
    g->where = NULL;
    return g->status;
}

hl_status hl_pass_codes(const hl_graph *g, hl_id *outputs, int n_outputs, hl_graph **out,
                        hl_id *map)
{
    walk w = {.wanted = hl_alloc_zero(g->values.n + 1, sizeof *w.wanted),
              .codes = hl_alloc((g->values.n + 1) * sizeof *w.codes)};
    hl_status st = HL_E_NOMEM;
    if (w.wanted && w.codes) {
        want(&w, g);
        st = hl_rewrite_begin(&w.r, g, outputs, n_outputs, map);
        for (size_t i = 0; i < g->nodes.n && st == HL_OK; i++)
            st = do_node(&w, i);
        st = hl_rewrite_end(&w.r, st, outputs, n_outputs, out);
    }
    hl_free(w.wanted);
    hl_free(w.codes);
    return st;
}
