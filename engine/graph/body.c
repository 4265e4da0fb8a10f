#include "engine/graph/body.h"

#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"

/* Ops that can drop out do not draw when they are told not to. */
static bool draws(const hl_node *n)
{
    if (!(n->op->flags & HL_OP_RANDOM))
        return false;
    int p = hl_op_attr(n->op, "dropout");
    if (p < 0)
        p = hl_op_attr(n->op, "p");
    return p < 0 || n->attrs.v[p].f != 0;
}

/* Marks the leaves that a node writes into; *pure: they are all states. */
static hl_status find_writes(const hl_body *b, const hl_node *n, bool *pure)
{
    hl_call c;
    hl_type out[HL_MAX_OUT], *in;
    *pure = true;
    if (!n->op->mutates)
        return HL_OK;
    if (!(in = hl_alloc((size_t)(n->n_in + 1) * sizeof *in)))
        return HL_E_NOMEM;
    hl_graph_call(b->g, n, in, out, &c);
    for (int i = 0; i < n->n_in; i++) {
        if (n->in[i] == HL_NONE || !n->op->mutates(&c, i))
            continue;
        *pure = *pure && hl_graph_value(b->g, n->in[i])->kind == HL_VALUE_STATE;
        for (int k = 0; k < b->n_in; k++)
            b->writes[k] = b->writes[k] || b->in[k] == n->in[i];
    }
    hl_free(in);
    return HL_OK;
}

static hl_status check_pure(const hl_body *b)
{
    for (size_t i = 0; i < b->g->nodes.n; i++) {
        const hl_node *n = &b->g->nodes.at[i];
        const bool random = draws(n);
        bool pure;
        hl_status st = find_writes(b, n, &pure);
        if (st != HL_OK)
            return st;
        if (random || !pure)
            return hl_err_set(HL_E_UNSUPPORTED,
                              "%s%s%s %s, which a step must not: it is evaluated "
                              "again and again%s",
                              n->where ? n->where : "", n->where ? ": " : "", n->op->name,
                              random ? "draws random numbers" : "writes state",
                              random ? "; draw them outside (in prepare)" : "");
    }
    return HL_OK;
}

/* Leaves first, in the order of the inputs, so that equal functions give equal graphs. */
static hl_status copy_leaves(hl_graph *to, const hl_graph *from, const hl_id *in, int n_in,
                             hl_id *map)
{
    for (int i = 0; i < n_in; i++) {
        const hl_value *x = hl_graph_value(from, in[i]);
        const char *name = x->name ? x->name : "x";
        map[in[i]] = x->kind == HL_VALUE_STATE ? hl_graph_state(to, name, x->type)
                                               : hl_graph_input(to, name, x->type);
    }
    return to->status;
}

static hl_status copy_nodes(hl_graph *to, const hl_graph *part, hl_id *map)
{
    hl_status st = HL_OK;
    HL_VEC(hl_id) in = {0};
    for (size_t v = 0; v < part->values.n; v++)
        if (part->values.at[v].kind == HL_VALUE_CONST)
            map[v] = hl_graph_const(to, part->values.at[v].constant);
    for (size_t k = 0; k < part->nodes.n; k++) {
        const hl_node *n = &part->nodes.at[k];
        HL_TRY(hl_vec_reserve(&in, (size_t)n->n_in + 1));
        for (int i = 0; i < n->n_in; i++)
            in.at[i] = n->in[i] == HL_NONE ? HL_NONE : map[n->in[i]];
        const hl_id made = hl_graph_append_like(to, n, in.at);
        HL_TRY(to->status);
        for (int i = 0; i < n->n_out; i++) {
            map[n->out0 + i] = made + i;
            if (part->values.at[n->out0 + i].name)
                hl_graph_name_value(to, made + i, part->values.at[n->out0 + i].name);
        }
    }
    st = to->status;
out:
    hl_vec_done(&in);
    return st;
}

/* `part` holds what the outputs need; at[] are leaves and results in it. */
static hl_status fill(hl_body *b, const hl_graph *part, const hl_id *in, const hl_id *out)
{
    hl_status st = HL_OK;
    hl_id *map = hl_alloc((part->values.n + 1) * sizeof *map);
    if (!map)
        return HL_E_NOMEM;
    HL_TRY(hl_graph_new(&b->g));
    HL_TRY(copy_leaves(b->g, part, in, b->n_in, map));
    HL_TRY(copy_nodes(b->g, part, map));
    for (int i = 0; i < b->n_in; i++)
        b->in[i] = map[in[i]];
    for (int i = 0; i < b->n_out; i++)
        b->out[i] = map[out[i]];
    st = check_pure(b);
out:
    hl_free(map);
    return st;
}

hl_status hl_body_new(const hl_graph *from, const hl_id *in, int n_in, const hl_id *out, int n_out,
                      hl_body **body)
{
    hl_status st = HL_OK;
    hl_graph *part = NULL;
    hl_body *b = hl_alloc_zero(1, sizeof *b);
    hl_id *map = hl_alloc((from->values.n + 1) * sizeof *map);
    hl_id *all = hl_alloc((size_t)(n_in + n_out + 1) * sizeof *all);
    if (b) {
        *b = (hl_body){.refs = 1, .n_in = n_in, .n_out = n_out};
        b->in = hl_alloc((size_t)(n_in + 1) * sizeof *b->in);
        b->out = hl_alloc((size_t)(n_out + 1) * sizeof *b->out);
        b->writes = hl_alloc_zero((size_t)n_in + 1, sizeof *b->writes);
    }
    if (!b || !map || !all || !b->in || !b->out || !b->writes) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (int i = 0; i < n_in + n_out; i++)
        all[i] = i < n_in ? in[i] : out[i - n_in];
    HL_TRY(hl_graph_extract(from, all, n_in + n_out, &part, map));
    for (int i = 0; i < n_in + n_out; i++)
        all[i] = map[all[i]];
    HL_TRY(fill(b, part, all, all + n_in));
    *body = b;
    b = NULL;
out:
    hl_graph_free(part);
    hl_free(map);
    hl_free(all);
    hl_body_unref(b);
    return st;
}

hl_body *hl_body_ref(hl_body *b)
{
    b->refs++;
    return b;
}

void hl_body_unref(hl_body *b)
{
    if (!b || --b->refs > 0)
        return;
    hl_graph_free(b->g);
    hl_free(b->in);
    hl_free(b->out);
    hl_free(b->writes);
    hl_free(b);
}

uint64_t hl_body_hash(uint64_t h, const hl_body *b)
{
    const uint64_t inner = hl_graph_hash(b->g);
    h = hl_hash_bytes(h, &inner, sizeof inner);
    return hl_hash_bytes(h, b->out, (size_t)b->n_out * sizeof *b->out);
}

bool hl_body_same(const hl_body *a, const hl_body *b)
{
    if (!a || !b || a == b)
        return a == b;
    return a->n_in == b->n_in && a->n_out == b->n_out &&
           memcmp(a->in, b->in, (size_t)a->n_in * sizeof *a->in) == 0 &&
           memcmp(a->out, b->out, (size_t)a->n_out * sizeof *a->out) == 0 &&
           hl_graph_same(a->g, b->g);
}

void hl_body_print(const hl_body *b, hl_str *out)
{
    hl_str text = {0};
    hl_graph_print(b->g, &text);
    for (const char *line = hl_str_text(&text); *line;) {
        const size_t n = strcspn(line, "\n");
        hl_str_addf(out, "    | %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
    hl_str_add(out, "    | gives");
    for (int i = 0; i < b->n_out; i++)
        hl_str_addf(out, " %%%d", b->out[i]);
    hl_str_add(out, "\n");
    hl_str_done(&text);
}
