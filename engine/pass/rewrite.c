#include "engine/pass/rewrite.h"

#include "engine/base/mem.h"

hl_status hl_rewrite_begin(hl_rewrite *r, const hl_graph *from, const hl_id *outputs, int n_outputs,
                           hl_id *map)
{
    hl_status st = HL_OK;
    *r = (hl_rewrite){.from = from, .map = map};
    r->uses = hl_alloc_zero(from->values.n + 1, sizeof *r->uses);
    r->skip = hl_alloc_zero(from->nodes.n + 1, sizeof *r->skip);
    if (!r->uses || !r->skip) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(hl_graph_new(&r->to));
    for (size_t i = 0; i < from->nodes.n; i++)
        for (int k = 0; k < from->nodes.at[i].n_in; k++)
            if (from->nodes.at[i].in[k] != HL_NONE)
                r->uses[from->nodes.at[i].in[k]]++;
    for (int i = 0; i < n_outputs; i++)
        r->uses[outputs[i]]++;
    for (size_t i = 0; i < from->taps.n; i++)
        r->uses[from->taps.at[i].value]++;
    for (size_t v = 0; v < from->values.n; v++) {
        map[v] = HL_NONE;
        if (from->values.at[v].kind == HL_VALUE_NODE)
            continue;
        hl_value leaf = from->values.at[v];
        leaf.name = leaf.name ? hl_arena_strdup(&r->to->arena, leaf.name) : NULL;
        if (from->values.at[v].name && !leaf.name) {
            st = HL_E_NOMEM;
            goto out;
        }
        map[v] = (hl_id)r->to->values.n;
        HL_TRY(hl_vec_push(&r->to->values, leaf));
    }
    r->to->n_streams = from->n_streams;
out:
    return st;
}

hl_status hl_rewrite_copy_on(hl_rewrite *r, size_t index, const hl_id *in)
{
    const hl_node *n = &r->from->nodes.at[index];
    hl_id out = hl_graph_append_like(r->to, n, in);
    if (r->to->status != HL_OK)
        return r->to->status;
    for (int i = 0; i < n->n_out; i++) {
        r->map[n->out0 + i] = out + i;
        if (r->from->values.at[n->out0 + i].name)
            hl_graph_name_value(r->to, out + i, r->from->values.at[n->out0 + i].name);
    }
    return HL_OK;
}

hl_status hl_rewrite_copy(hl_rewrite *r, size_t index)
{
    const hl_node *n = &r->from->nodes.at[index];
    hl_id *in = hl_alloc((size_t)(n->n_in + 1) * sizeof *in);
    if (!in)
        return HL_E_NOMEM;
    for (int i = 0; i < n->n_in; i++)
        in[i] = n->in[i] == HL_NONE ? HL_NONE : r->map[n->in[i]];
    const hl_status st = hl_rewrite_copy_on(r, index, in);
    hl_free(in);
    return st;
}

hl_status hl_rewrite_end(hl_rewrite *r, hl_status st, hl_id *outputs, int n_outputs, hl_graph **out)
{
    for (size_t i = 0; st == HL_OK && i < r->from->taps.n; i++) {
        const hl_tap *t = &r->from->taps.at[i];
        if (r->map[t->value] != HL_NONE)
            st = hl_graph_tap(r->to, t->name, r->map[t->value], t->rows);
    }
    for (int i = 0; st == HL_OK && i < n_outputs; i++) {
        outputs[i] = r->map[outputs[i]];
        if (HL_NEVER(outputs[i] == HL_NONE))
            st = hl_err_set(HL_E_INTERNAL, "a fusion lost an output");
    }
    hl_free(r->uses);
    hl_free(r->skip);
    if (st == HL_OK)
        *out = r->to;
    else
        hl_graph_free(r->to);
    return st;
}

const hl_node *hl_rewrite_match(const hl_rewrite *r, hl_id v, hl_op_id op, int out)
{
    if (v == HL_NONE || r->from->values.at[v].kind != HL_VALUE_NODE ||
        r->from->values.at[v].out != out)
        return NULL;
    const hl_node *n = &r->from->nodes.at[r->from->values.at[v].node];
    return n->op == hl_op_get(op) && !n->stop ? n : NULL;
}
