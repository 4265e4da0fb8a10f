/* Rounding where numbers are made: a row that can write an output as bf16 (hl_op.half_outs) does so
 * where nothing reads its floats, one that can read bf16 (half_ins) gets no floats made of it. What
 * the step computes stays the same to the bit. */
#include "engine/base/mem.h"
#include "engine/pass/pass.h"
#include "engine/pass/rewrite.h"

static const hl_node *made_by(const hl_graph *g, hl_id v, hl_op_id op)
{
    const hl_node *n = v == HL_NONE ? NULL : hl_graph_node_of(g, v);
    return n && n->op == hl_op_get(op) ? n : NULL;
}

/* What input i is to be: the bf16 behind it where the node reads that as well. */
static hl_id input_of(const hl_graph *g, const hl_node *n, int i)
{
    const hl_node *wide =
        hl_op_reads_half(n->op, i) ? made_by(g, n->in[i], HL_OP_ID_from_bf16) : NULL;
    return wide ? wide->in[0] : n->in[i];
}

/* Readers of each value that lead to an output; nodes that do not are skipped, as earlier passes
 * leave behind what was read of the floats. */
static void count_readers(hl_rewrite *r, const hl_id *outputs, int n_outputs, int32_t *readers)
{
    const hl_graph *g = r->from;
    for (int i = 0; i < n_outputs; i++)
        readers[outputs[i]]++;
    for (size_t k = g->nodes.n; k-- > 0;) {
        const hl_node *n = &g->nodes.at[k];
        int32_t read = 0;
        for (int o = 0; o < n->n_out; o++)
            read += readers[n->out0 + o];
        r->skip[k] = read == 0;
        for (int i = 0; read && i < n->n_in; i++) {
            const hl_id v = input_of(g, n, i);
            if (v != HL_NONE)
                readers[v]++;
        }
    }
}

/* Products round their results where their operands are bf16 too. */
static bool takes_rounded(const hl_graph *g, const hl_node *n)
{
    for (int i = 0; i < n->n_in; i++)
        if (hl_op_takes_bf16(n->op, i) && n->in[i] != HL_NONE &&
            hl_graph_type(g, n->in[i])->dtype != HL_DTYPE_BF16)
            return false;
    return true;
}

/* Is the node's operand an output that is read by it alone and may be written rounded? */
static bool is_free(const hl_graph *g, const hl_node *to_bf16, const int32_t *readers)
{
    const hl_id v = to_bf16->in[0];
    const hl_node *maker = hl_graph_node_of(g, v);
    return readers[v] == 1 && maker && hl_op_writes_half(maker->op, v - maker->out0) &&
           takes_rounded(g, maker) && hl_graph_type(g, v)->dtype == HL_DTYPE_F32;
}

static hl_status copy(hl_rewrite *r, size_t index, const bool *rounded)
{
    const hl_node *n = &r->from->nodes.at[index];
    hl_id *in = hl_alloc((size_t)(n->n_in + 1) * sizeof *in);
    if (!in)
        return HL_E_NOMEM;
    for (int i = 0; i < n->n_in; i++) {
        const hl_id v = input_of(r->from, n, i);
        in[i] = v == HL_NONE ? HL_NONE : r->map[v];
    }
    const hl_status st = hl_rewrite_copy_on(r, index, in);
    for (int o = 0; st == HL_OK && o < n->n_out; o++)
        if (rounded[n->out0 + o])
            hl_graph_round_output(r->to, r->map[n->out0 + o]);
    hl_free(in);
    return st;
}

hl_status hl_pass_round_results(const hl_graph *g, hl_id *outputs, int n_outputs, hl_graph **out,
                                hl_id *map)
{
    hl_rewrite r;
    bool *rounded = hl_alloc_zero(g->values.n + 1, sizeof *rounded);
    int32_t *readers = hl_alloc_zero(g->values.n + 1, sizeof *readers);
    hl_status st = hl_rewrite_begin(&r, g, outputs, n_outputs, map);
    if (!rounded || !readers)
        st = HL_E_NOMEM;
    if (st == HL_OK)
        count_readers(&r, outputs, n_outputs, readers);
    for (size_t k = 0; st == HL_OK && k < g->nodes.n; k++) {
        const hl_node *n = &g->nodes.at[k];
        if (!r.skip[k] && n->op == hl_op_get(HL_OP_ID_to_bf16) && is_free(g, n, readers))
            rounded[n->in[0]] = true;
    }
    for (size_t k = 0; st == HL_OK && k < g->nodes.n; k++) {
        const hl_node *n = &g->nodes.at[k];
        if (n->op == hl_op_get(HL_OP_ID_to_bf16) && rounded[n->in[0]])
            map[n->out0] = map[n->in[0]];
        else if (!r.skip[k])
            st = copy(&r, k, rounded);
    }
    hl_free(rounded);
    hl_free(readers);
    return hl_rewrite_end(&r, st, outputs, st == HL_OK ? n_outputs : 0, out);
}
