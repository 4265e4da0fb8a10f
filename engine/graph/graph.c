/* Recording, extraction, printing and checking of graphs. */
#include "engine/graph/graph.h"

#include <math.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/graph/body.h"

hl_status hl_graph_new(hl_graph **out)
{
    hl_graph *g = hl_alloc_zero(1, sizeof *g);
    if (!g)
        return HL_E_NOMEM;
    *out = g;
    return HL_OK;
}

void hl_graph_free(hl_graph *g)
{
    if (!g)
        return;
    hl_vec_done(&g->values);
    hl_vec_done(&g->nodes);
    hl_vec_done(&g->taps);
    for (size_t i = 0; i < g->bodies.n; i++)
        hl_body_unref(g->bodies.at[i]);
    hl_vec_done(&g->bodies);
    hl_arena_done(&g->arena);
    hl_free(g);
}

static hl_id fail(hl_graph *g, hl_status st)
{
    if (g->status == HL_OK)
        g->status = st;
    return HL_NONE;
}

static hl_id push_value(hl_graph *g, hl_value v)
{
    if (g->values.n >= INT32_MAX)
        return fail(g, hl_err_set(HL_E_ARG, "a graph of more than 2^31 values"));
    hl_status st = hl_vec_push(&g->values, v);
    return st == HL_OK ? (hl_id)(g->values.n - 1) : fail(g, st);
}

/* Can its bytes be counted, and a few of its kind together? Sizes are not negative. Where one is 0 the
 * others count all the same: strides are products of them. */
static bool is_countable(const hl_type *t)
{
    size_t n = hl_dtype_bytes(t->dtype);
    bool fits = t->rank >= 0 && t->rank <= HL_MAX_RANK;
    for (int i = 0; fits && i < t->rank; i++)
        fits = hl_mul_size(n, t->dim[i] ? (size_t)t->dim[i] : 1, &n) && n < SIZE_MAX / 4;
    return fits;
}

static hl_id push_leaf(hl_graph *g, hl_value_kind kind, const char *name, hl_type type)
{
    for (int i = 0; i < type.rank && i < HL_MAX_RANK; i++)
        if (type.dim[i] < 0)
            return fail(g, hl_err_set(HL_E_SHAPE, "%s: negative size", name));
    if (!is_countable(&type))
        return fail(g, hl_err_set(HL_E_SHAPE, "%s: the tensor is too large", name));
    char *copy = hl_arena_strdup(&g->arena, name);
    if (!copy)
        return fail(g, HL_E_NOMEM);
    return push_value(g, (hl_value){.type = type, .kind = kind, .name = copy});
}

hl_id hl_graph_input(hl_graph *g, const char *name, hl_type type)
{
    return push_leaf(g, HL_VALUE_INPUT, name, type);
}

hl_id hl_graph_state(hl_graph *g, const char *name, hl_type type)
{
    return push_leaf(g, HL_VALUE_STATE, name, type);
}

hl_id hl_graph_const(hl_graph *g, double v)
{
    return push_value(g, (hl_value){.type = hl_type_scalar(HL_DTYPE_F32),
                                    .kind = HL_VALUE_CONST, .constant = v});
}

const hl_value *hl_graph_value(const hl_graph *g, hl_id v)
{
    HL_ASSERT(v >= 0 && (size_t)v < g->values.n);
    return &g->values.at[v];
}

const hl_type *hl_graph_type(const hl_graph *g, hl_id v)
{
    return &hl_graph_value(g, v)->type;
}

const hl_node *hl_graph_node_of(const hl_graph *g, hl_id v)
{
    const hl_value *x = hl_graph_value(g, v);
    return x->kind == HL_VALUE_NODE ? &g->nodes.at[x->node] : NULL;
}

void hl_graph_name_value(hl_graph *g, hl_id value, const char *name)
{
    char *copy = value == HL_NONE ? NULL : hl_arena_strdup(&g->arena, name);
    if (copy)
        g->values.at[value].name = copy;
}

/* Types of the inputs into t. */
static void input_types(const hl_graph *g, const hl_id *in, int n_in, hl_type *t)
{
    for (int i = 0; i < n_in; i++)
        t[i] = in[i] == HL_NONE ? (hl_type){.dtype = HL_DTYPE_COUNT} : *hl_graph_type(g, in[i]);
}

/* "file:12: matmul: message" with the shapes behind it */
static hl_status call_error(hl_graph *g, const hl_call *c, hl_status st)
{
    hl_str shapes = {0};
    for (int i = 0; i < c->n_in && i < 6; i++) {
        char word[32], shape[96];
        hl_str_addf(&shapes, "%s%s %s", i ? ", " : "", hl_op_word(c->op->ins, i, word),
                    hl_type_absent(&c->in[i]) ? "left out" : hl_type_text(shape, &c->in[i]));
    }
    char message[HL_ERR_MESSAGE_MAX];
    strncpy(message, hl_err_message(), sizeof message - 1);
    message[sizeof message - 1] = '\0';
    st = hl_err_set(st, "%s%s%s: %s (%s)", g->where ? g->where : "", g->where ? ": " : "",
                    c->op->name, message, hl_str_text(&shapes));
    hl_str_done(&shapes);
    return st;
}

static hl_status check_attrs(const hl_call *c)
{
    for (int i = 0; c->op->attr[i].kind != HL_ATTR_END; i++) {
        const hl_attr_spec *s = &c->op->attr[i];
        if (s->kind == HL_ATTR_REAL && isnan(c->attrs.v[i].f))
            return hl_err_set(HL_E_ARG, "option '%s' must be given", s->name);
        double v = s->kind == HL_ATTR_REAL ? c->attrs.v[i].f : (double)c->attrs.v[i].i;
        if (s->min < s->max && (v < s->min || v > s->max))
            return hl_err_set(HL_E_ARG, "option '%s' is %g; it must be between %g and %g", s->name,
                              v, s->min, s->max);
        if (s->kind == HL_ATTR_ENUM) {
            int n = 0;
            while (s->names[n])
                n++;
            if (c->attrs.v[i].i < 0 || c->attrs.v[i].i >= n)
                return hl_err_set(HL_E_ARG, "option '%s' is no known choice", s->name);
        }
    }
    return HL_OK;
}

/* Types as shape rules see them: floats where a row reads bf16 too. */
static void shape_types(const hl_graph *g, const hl_op *op, const hl_id *in, int n_in,
                        hl_type *types)
{
    input_types(g, in, n_in, types);
    for (int i = 0; i < n_in; i++)
        if (hl_op_reads_half(op, i) && types[i].dtype == HL_DTYPE_BF16)
            types[i].dtype = HL_DTYPE_F32;
}

static hl_status infer(hl_graph *g, hl_call *c, const hl_id *in)
{
    int least, most;
    hl_op_arity(c->op, &least, &most);
    if (c->n_in < least || (most >= 0 && c->n_in > most))
        return call_error(g, c, hl_err_set(HL_E_ARG, "takes %d inputs, not %d", least, c->n_in));
    for (int i = 0; i < c->n_in; i++)
        if (in[i] == HL_NONE && !hl_op_input_optional(c->op, i))
            return call_error(g, c, hl_err_set(HL_E_ARG, "input %d is missing", i + 1));
    hl_status st = check_attrs(c);
    if (st == HL_OK)
        st = c->op->shape(c);
    if (st != HL_OK)
        return call_error(g, c, st);
    for (int i = 0; i < c->n_out; i++)
        if (!is_countable(&c->out[i]))
            return call_error(g, c, hl_err_set(HL_E_SHAPE, "the result is too large"));
    return HL_OK;
}

/* The graph holds a reference of every body of its nodes. */
static hl_status hold_body(hl_graph *g, hl_body *body)
{
    if (!body)
        return HL_OK;
    hl_status st = hl_vec_push(&g->bodies, body);
    if (st == HL_OK)
        hl_body_ref(body);
    return st;
}

/* What few nodes have. */
typedef struct extras {
    const uint32_t *stream; /* NULL: the next one */
    hl_body *body;
} extras;

static hl_id append(hl_graph *g, const hl_op *op, const hl_id *in, int n_in, const hl_attrs *attrs,
                    extras x)
{
    hl_status st = HL_OK;
    hl_type out_types[HL_MAX_OUT];
    HL_VEC(hl_type) in_types = {0};
    if (g->status != HL_OK)
        return HL_NONE; /* an earlier failure; its message stands */
    HL_TRY(hl_vec_reserve(&in_types, (size_t)n_in + 1));
    shape_types(g, op, in, n_in, in_types.at);
    hl_call c = {.op = op, .in = in_types.at, .n_in = n_in, .out = out_types,
                 .attrs = attrs ? *attrs : hl_op_defaults(op), .body = x.body};
    HL_TRY(infer(g, &c, in));
    hl_id *ids = hl_arena_alloc(&g->arena, (size_t)(n_in + 1) * sizeof *ids);
    if (!ids) {
        st = HL_E_NOMEM;
        goto out;
    }
    if (n_in)
        memcpy(ids, in, (size_t)n_in * sizeof *ids);
    hl_node n = {.op = op, .attrs = c.attrs, .in = ids, .n_in = n_in,
                 .out0 = (hl_id)g->values.n, .n_out = c.n_out, .stop = g->stop, .body = x.body,
                 .where = g->where ? hl_arena_strdup(&g->arena, g->where) : NULL};
    if (op->flags & HL_OP_RANDOM)
        n.stream = x.stream ? *x.stream : g->n_streams++;
    if (g->where && !n.where) {
        st = HL_E_NOMEM;
        goto out;
    }
    /* room for its outputs first: a node without them would break the record */
    HL_TRY(hl_vec_reserve(&g->values, g->values.n + (size_t)c.n_out));
    HL_TRY(hold_body(g, x.body));
    HL_TRY(hl_vec_push(&g->nodes, n));
    for (int i = 0; i < c.n_out; i++)
        if (push_value(g, (hl_value){.type = c.out[i], .kind = HL_VALUE_NODE,
                                     .node = (int32_t)g->nodes.n - 1, .out = i}) == HL_NONE) {
            st = g->status;
            goto out;
        }
out:
    hl_vec_done(&in_types);
    return st == HL_OK ? g->nodes.at[g->nodes.n - 1].out0 : fail(g, st);
}

hl_id hl_graph_append(hl_graph *g, const hl_op *op, const hl_id *in, int n_in,
                      const hl_attrs *attrs)
{
    return append(g, op, in, n_in, attrs, (extras){0});
}

hl_id hl_graph_append_stream(hl_graph *g, const hl_op *op, const hl_id *in, int n_in,
                             const hl_attrs *attrs, uint32_t stream)
{
    return append(g, op, in, n_in, attrs, (extras){.stream = &stream});
}

hl_id hl_graph_append_body(hl_graph *g, const hl_op *op, const hl_id *in, int n_in,
                           const hl_attrs *attrs, hl_body *body)
{
    return append(g, op, in, n_in, attrs, (extras){.body = body});
}

hl_id hl_graph_append_like(hl_graph *g, const hl_node *like, const hl_id *in)
{
    const char *where = g->where;
    const bool stop = g->stop;
    g->where = like->where;
    g->stop = like->stop;
    const extras x = {.stream = &like->stream, .body = like->body};
    hl_id out = append(g, like->op, in, like->n_in, &like->attrs, x);
    g->where = where;
    g->stop = stop;
    return out;
}

void hl_graph_round_output(hl_graph *g, hl_id v)
{
    g->values.at[v].type.dtype = HL_DTYPE_BF16;
}

hl_status hl_graph_tap(hl_graph *g, const char *name, hl_id value, hl_tap_rows rows)
{
    if (value == HL_NONE)
        return g->status != HL_OK ? g->status : hl_err_set(HL_E_ARG, "tap '%s' has no value", name);
    char *copy = hl_arena_strdup(&g->arena, name);
    if (!copy)
        return HL_E_NOMEM;
    return hl_vec_push(&g->taps, ((hl_tap){.name = copy, .value = value, .rows = rows}));
}

void hl_graph_call(const hl_graph *g, const hl_node *n, hl_type *in_types, hl_type *out_types,
                   hl_call *call)
{
    input_types(g, n->in, n->n_in, in_types);
    for (int i = 0; i < n->n_out; i++)
        out_types[i] = *hl_graph_type(g, n->out0 + i);
    *call = (hl_call){.op = n->op, .in = in_types, .n_in = n->n_in, .out = out_types,
                      .n_out = n->n_out, .attrs = n->attrs, .stream = n->stream,
                      .body = n->body};
}

void hl_graph_depends(const hl_graph *g, const hl_id *on, int n, bool *depends)
{
    memset(depends, 0, g->values.n * sizeof *depends);
    for (int i = 0; i < n; i++)
        depends[on[i]] = true;
    for (size_t k = 0; k < g->nodes.n; k++) {
        const hl_node *x = &g->nodes.at[k];
        bool any = false;
        for (int i = 0; i < x->n_in && !any; i++)
            any = x->in[i] != HL_NONE && depends[x->in[i]];
        for (int i = 0; i < x->n_out; i++)
            depends[x->out0 + i] = any;
    }
}

/* --- extraction --- */

typedef struct extraction {
    const hl_graph *g;
    void *const *cut; /* NULL: nothing is cut */
    bool *needed_node, *needed_leaf;
} extraction;

static bool is_cut(const extraction *e, hl_id v)
{
    return e->cut && e->cut[v];
}

static void mark(extraction *e, hl_id v)
{
    const hl_value *x = hl_graph_value(e->g, v);
    if (x->kind == HL_VALUE_NODE && !is_cut(e, v))
        e->needed_node[x->node] = true;
    else
        e->needed_leaf[v] = true;
}

static hl_status copy_value(hl_graph *to, const hl_value *x, hl_id *out)
{
    hl_value v = *x;
    if (v.name) {
        v.name = hl_arena_strdup(&to->arena, v.name);
        if (!v.name)
            return HL_E_NOMEM;
    }
    *out = (hl_id)to->values.n;
    return hl_vec_push(&to->values, v);
}

static hl_status copy_node(hl_graph *to, const hl_graph *g, const hl_node *n, hl_id *map)
{
    hl_id *in = hl_arena_alloc(&to->arena, (size_t)(n->n_in + 1) * sizeof *in);
    if (!in)
        return HL_E_NOMEM;
    for (int i = 0; i < n->n_in; i++)
        in[i] = n->in[i] == HL_NONE ? HL_NONE : map[n->in[i]];
    hl_node copy = *n;
    copy.in = in;
    copy.out0 = (hl_id)to->values.n;
    copy.where = n->where ? hl_arena_strdup(&to->arena, n->where) : NULL;
    hl_status st = hold_body(to, n->body);
    if (st == HL_OK)
        st = hl_vec_push(&to->nodes, copy);
    for (int i = 0; i < n->n_out && st == HL_OK; i++) {
        hl_id made;
        st = copy_value(to, hl_graph_value(g, n->out0 + i), &made);
        if (st == HL_OK) {
            to->values.at[made].node = (int32_t)to->nodes.n - 1;
            if (map[n->out0 + i] == HL_NONE) /* a cut output keeps its leaf */
                map[n->out0 + i] = made;
        }
    }
    return st;
}

/* A cut value as an input. */
static hl_status copy_cut(hl_graph *to, const hl_value *x, void *data, hl_id *out)
{
    hl_value leaf = {.type = x->type, .kind = HL_VALUE_INPUT, .name = "value", .data = data};
    return copy_value(to, &leaf, out);
}

hl_status hl_graph_extract(const hl_graph *g, const hl_id *outputs, int n_outputs, hl_graph **out,
                           hl_id *map)
{
    return hl_graph_extract_cut(g, outputs, n_outputs, NULL, out, map);
}

static hl_status copy_needed(const extraction *e, hl_graph *to, hl_id *map)
{
    hl_status st = HL_OK;
    const hl_graph *g = e->g;
    /* leaves in their order first, then nodes: the same graph always gives the same record */
    for (size_t v = 0; v < g->values.n; v++)
        if (e->needed_leaf[v])
            HL_TRY(is_cut(e, (hl_id)v) ? copy_cut(to, &g->values.at[v], e->cut[v], &map[v])
                                       : copy_value(to, &g->values.at[v], &map[v]));
    for (size_t n = 0; n < g->nodes.n; n++)
        if (e->needed_node[n])
            HL_TRY(copy_node(to, g, &g->nodes.at[n], map));
    to->n_streams = g->n_streams;
    for (size_t i = 0; i < g->taps.n; i++)
        if (map[g->taps.at[i].value] != HL_NONE)
            HL_TRY(hl_graph_tap(to, g->taps.at[i].name, map[g->taps.at[i].value],
                                g->taps.at[i].rows));
out:
    return st;
}

hl_status hl_graph_extract_cut(const hl_graph *g, const hl_id *outputs, int n_outputs,
                               void *const *cut, hl_graph **out, hl_id *map)
{
    hl_status st = HL_OK;
    hl_graph *to = NULL;
    extraction e = {.g = g, .cut = cut};
    e.needed_node = hl_alloc_zero(g->nodes.n + 1, sizeof *e.needed_node);
    e.needed_leaf = hl_alloc_zero(g->values.n + 1, sizeof *e.needed_leaf);
    if (!e.needed_node || !e.needed_leaf) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(hl_graph_new(&to));
    for (int i = 0; i < n_outputs; i++)
        mark(&e, outputs[i]);
    for (size_t n = g->nodes.n; n-- > 0;)
        for (int i = 0; e.needed_node[n] && i < g->nodes.at[n].n_in; i++)
            if (g->nodes.at[n].in[i] != HL_NONE)
                mark(&e, g->nodes.at[n].in[i]);
    for (size_t v = 0; v < g->values.n; v++)
        map[v] = HL_NONE;
    HL_TRY(copy_needed(&e, to, map));
    *out = to;
    to = NULL;
out:
    hl_graph_free(to);
    hl_free(e.needed_node);
    hl_free(e.needed_leaf);
    return st;
}

/* --- identity --- */

static uint64_t hash_type(uint64_t h, const hl_type *t)
{
    h = hl_hash_bytes(h, &t->dtype, sizeof t->dtype);
    return hl_hash_bytes(h, t->dim, (size_t)t->rank * sizeof t->dim[0]);
}

uint64_t hl_graph_hash(const hl_graph *g)
{
    uint64_t h = HL_HASH_START;
    for (size_t v = 0; v < g->values.n; v++) {
        const hl_value *x = &g->values.at[v];
        h = hash_type(hl_hash_bytes(h, &x->kind, sizeof x->kind), &x->type);
        if (x->kind == HL_VALUE_CONST)
            h = hl_hash_bytes(h, &x->constant, sizeof x->constant);
    }
    for (size_t i = 0; i < g->nodes.n; i++) {
        const hl_node *n = &g->nodes.at[i];
        h = hl_hash_str(h, n->op->name);
        h = hl_hash_bytes(h, n->in, (size_t)n->n_in * sizeof *n->in);
        h = hl_hash_bytes(h, &n->attrs, sizeof n->attrs);
        h = hl_hash_bytes(h, &n->stream, sizeof n->stream);
        if (n->body)
            h = hl_body_hash(h, n->body);
    }
    return h;
}

static bool same_value(const hl_value *a, const hl_value *b)
{
    return a->kind == b->kind && hl_type_equal(&a->type, &b->type) &&
           (a->kind != HL_VALUE_CONST ||
            memcmp(&a->constant, &b->constant, sizeof a->constant) == 0);
}

static bool same_node(const hl_node *a, const hl_node *b)
{
    return a->op == b->op && a->n_in == b->n_in && a->stream == b->stream && a->out0 == b->out0 &&
           memcmp(a->in, b->in, (size_t)a->n_in * sizeof *a->in) == 0 &&
           memcmp(&a->attrs, &b->attrs, sizeof a->attrs) == 0 && hl_body_same(a->body, b->body);
}

bool hl_graph_same(const hl_graph *a, const hl_graph *b)
{
    if (a->values.n != b->values.n || a->nodes.n != b->nodes.n)
        return false;
    for (size_t v = 0; v < a->values.n; v++)
        if (!same_value(&a->values.at[v], &b->values.at[v]))
            return false;
    for (size_t i = 0; i < a->nodes.n; i++)
        if (!same_node(&a->nodes.at[i], &b->nodes.at[i]))
            return false;
    return true;
}

/* --- printing and checking --- */

static void print_attrs(const hl_node *n, hl_str *out)
{
    bool any = false;
    hl_attrs otherwise = hl_op_defaults(n->op);
    for (int i = 0; n->op->attr[i].kind != HL_ATTR_END; i++) {
        const hl_attr_spec *s = &n->op->attr[i];
        if (s->kind != HL_ATTR_DIMS && n->attrs.v[i].i == otherwise.v[i].i)
            continue;
        hl_str_addf(out, "%s%s = ", any ? ", " : " {", s->name);
        any = true;
        if (s->kind == HL_ATTR_DIMS) {
            char text[96];
            hl_type t = hl_type_make(HL_DTYPE_F32, (int)n->attrs.n_dims, n->attrs.dims);
            hl_str_add(out, hl_shape_text(text, &t));
        } else if (s->kind == HL_ATTR_REAL) {
            hl_str_addf(out, "%g", n->attrs.v[i].f);
        } else if (s->kind == HL_ATTR_ENUM) {
            hl_str_add(out, s->names[n->attrs.v[i].i]);
        } else if (s->kind == HL_ATTR_BOOL) {
            hl_str_add(out, n->attrs.v[i].i ? "true" : "false");
        } else {
            hl_str_addf(out, "%lld", (long long)n->attrs.v[i].i);
        }
    }
    if (any)
        hl_str_add(out, "}");
}

static void print_value(const hl_graph *g, hl_id v, hl_str *out)
{
    const hl_value *x = hl_graph_value(g, v);
    if (x->kind == HL_VALUE_CONST)
        hl_str_addf(out, " %g", x->constant);
    else if (x->kind != HL_VALUE_NODE)
        hl_str_addf(out, " @%s", x->name);
    else
        hl_str_addf(out, " %%%d", v);
}

void hl_graph_print(const hl_graph *g, hl_str *out)
{
    char text[96];
    for (size_t v = 0; v < g->values.n; v++) {
        const hl_value *x = &g->values.at[v];
        if (x->kind == HL_VALUE_INPUT || x->kind == HL_VALUE_STATE)
            hl_str_addf(out, "%s @%s : %s\n", x->kind == HL_VALUE_INPUT ? "input" : "state",
                        x->name, hl_type_text(text, &x->type));
    }
    for (size_t i = 0; i < g->nodes.n; i++) {
        const hl_node *n = &g->nodes.at[i];
        hl_str_addf(out, "%%%d = %s", n->out0, n->op->name);
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k] == HL_NONE)
                hl_str_add(out, " -");
            else
                print_value(g, n->in[k], out);
        print_attrs(n, out);
        hl_str_add(out, " :");
        for (int k = 0; k < n->n_out; k++)
            hl_str_addf(out, " %s", hl_type_text(text, hl_graph_type(g, n->out0 + k)));
        if (n->op->flags & HL_OP_RANDOM)
            hl_str_addf(out, "  stream %u", n->stream);
        hl_str_addf(out, "%s%s\n", n->where ? "   " : "", n->where ? n->where : "");
        if (n->body)
            hl_body_print(n->body, out);
    }
    for (size_t i = 0; i < g->taps.n; i++) {
        hl_str_addf(out, "tap %s =", g->taps.at[i].name);
        print_value(g, g->taps.at[i].value, out);
        hl_str_addf(out, " (rows: %s)\n",
                    g->taps.at[i].rows == HL_TAP_TOKEN ? "token" : "sequence");
    }
}

/* The shape rule gives the recorded outputs (their element types a pass may have widened). */
static hl_status check_types(const hl_graph *g, size_t index)
{
    hl_status st = HL_OK;
    const hl_node *n = &g->nodes.at[index];
    hl_type out[HL_MAX_OUT];
    HL_VEC(hl_type) in = {0};
    HL_TRY(hl_vec_reserve(&in, (size_t)n->n_in + 1));
    shape_types(g, n->op, n->in, n->n_in, in.at);
    hl_call c = {.op = n->op, .in = in.at, .n_in = n->n_in, .out = out, .attrs = n->attrs,
                 .body = n->body};
    bool same = n->op->shape(&c) == HL_OK && c.n_out == n->n_out;
    for (int i = 0; same && i < n->n_out; i++)
        same = hl_shape_equal(&out[i], hl_graph_type(g, n->out0 + i));
    if (!same)
        HL_FAIL(HL_E_INTERNAL, "node %zu (%s): its outputs do not follow from its inputs", index,
                n->op->name);
out:
    hl_vec_done(&in);
    return st;
}

static hl_status check_node(const hl_graph *g, size_t index)
{
    const hl_node *n = &g->nodes.at[index];
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] != HL_NONE && (n->in[k] < 0 || n->in[k] >= n->out0))
            return hl_err_set(HL_E_INTERNAL, "node %zu (%s) reads value %d, made later", index,
                              n->op->name, n->in[k]);
    for (int k = 0; k < n->n_out; k++) {
        const size_t v = (size_t)n->out0 + (size_t)k;
        const hl_value *x = v < g->values.n ? &g->values.at[v] : NULL;
        if (!x || x->kind != HL_VALUE_NODE || x->node != (int32_t)index || x->out != k)
            return hl_err_set(HL_E_INTERNAL, "node %zu (%s): output %d is not its own", index,
                              n->op->name, k);
    }
    return check_types(g, index);
}

hl_status hl_graph_check(const hl_graph *g)
{
    hl_status st = HL_OK;
    for (size_t i = 0; i < g->nodes.n && st == HL_OK; i++)
        st = check_node(g, i);
    for (size_t i = 0; i < g->taps.n && st == HL_OK; i++)
        if (g->taps.at[i].value < 0 || (size_t)g->taps.at[i].value >= g->values.n)
            st = hl_err_set(HL_E_INTERNAL, "tap %s watches no value", g->taps.at[i].name);
    return st;
}
