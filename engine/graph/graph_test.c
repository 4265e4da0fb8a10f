/* Recording, extraction, identity, printing and checking. What runs is tested in exec. */
#include "engine/graph/graph.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/exec/trial_test.h"

static hl_graph *graph(void)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    return g;
}

static const hl_op *op(hl_op_id id)
{
    return hl_op_get(id);
}

/* --- appending --- */

Test(graph, leaves_keep_name_type_kind_and_value)
{
    hl_graph *g = graph();
    char name[8] = "x";
    hl_id x = hl_graph_input(g, name, F32(2, 3)), w = hl_graph_state(g, "w", F32(3)),
          c = hl_graph_const(g, 0.25);
    strcpy(name, "gone"); /* the name was copied */
    cr_assert(x == 0 && w == 1 && c == 2 && g->values.n == 3 && g->nodes.n == 0);
    cr_assert_str_eq(hl_graph_value(g, x)->name, "x");
    cr_assert_eq(hl_graph_value(g, x)->kind, HL_VALUE_INPUT);
    cr_assert_eq(hl_graph_value(g, w)->kind, HL_VALUE_STATE);
    cr_assert_eq(hl_graph_value(g, c)->kind, HL_VALUE_CONST);
    cr_assert_eq(hl_graph_value(g, c)->constant, 0.25);
    cr_assert_null(hl_graph_value(g, c)->name);
    cr_assert(hl_graph_type(g, c)->rank == 0 && hl_graph_type(g, x)->dim[1] == 3);
    cr_assert_null(hl_graph_node_of(g, w));
    hl_graph_free(g);
}

Test(graph, a_node_keeps_op_inputs_attributes_line_and_outputs)
{
    hl_graph *g = graph();
    char line[16] = "a.lua:3";
    hl_id x = hl_graph_input(g, "x", F32(2, 3)), gamma = hl_graph_state(g, "g", F32(3));
    hl_id in[3] = {x, gamma, gamma};
    hl_attrs a = hl_op_defaults(op(HL_OP_ID_layernorm));
    a.v[0].f = 0.5;
    g->where = line;
    hl_id y = hl_graph_append(g, op(HL_OP_ID_layernorm), in, 3, &a);
    strcpy(line, "b.lua:4");
    hl_id z = hl_g_neg(g, y);
    in[0] = HL_NONE; /* inputs were copied */
    const hl_node *n = hl_graph_node_of(g, y);
    cr_assert(n && n->op == op(HL_OP_ID_layernorm) && n->n_in == 3 && n->in[0] == x);
    cr_assert(n->n_out == 3 && n->out0 == y && n->attrs.v[0].f == 0.5);
    for (int i = 0; i < 3; i++) {
        const hl_value *v = hl_graph_value(g, y + i);
        cr_assert(v->kind == HL_VALUE_NODE && v->node == 0 && v->out == i && !v->name);
        cr_assert_eq(v->type.rank, i == 0 ? 2 : 1);
    }
    cr_assert_str_eq(n->where, "a.lua:3");
    cr_assert_str_eq(hl_graph_node_of(g, z)->where, "b.lua:4");
    cr_assert_eq(hl_graph_check(g), HL_OK);
    hl_graph_free(g);
}

Test(graph, streams_are_numbered_when_recorded)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_input(g, "x", F32(4));
    hl_id a = hl_g_op1(g, HL_OP_ID_dropout, x), n = hl_g_neg(g, a);
    hl_id b = hl_g_op1(g, HL_OP_ID_dropout, n);
    hl_id again = hl_graph_append_stream(g, op(HL_OP_ID_dropout), &b, 1, NULL, 0);
    hl_id c = hl_g_op1(g, HL_OP_ID_dropout, again);
    cr_assert_eq(hl_graph_node_of(g, a)->stream, 0);
    cr_assert_eq(hl_graph_node_of(g, n)->stream, 0);
    cr_assert_eq(hl_graph_node_of(g, b)->stream, 1);
    cr_assert_eq(hl_graph_node_of(g, again)->stream, 0);
    cr_assert_eq(hl_graph_node_of(g, c)->stream, 2, "a given stream takes no number");
    cr_assert_eq(g->n_streams, 3);
    hl_graph_free(g);
}

/* --- errors --- */

static void expect_error(hl_graph *g, hl_id v, hl_status st, const char *message)
{
    cr_expect_eq(v, HL_NONE);
    cr_expect_eq(g->status, st, "%s instead of %s", hl_status_name(g->status), hl_status_name(st));
    cr_expect_str_eq(hl_err_message(), message);
    g->status = HL_OK;
}

Test(graph, errors_name_op_shapes_and_line)
{
    hl_graph *g = graph();
    hl_id a = hl_graph_input(g, "a", F32(2, 3)), b = hl_graph_input(g, "b", F32(4, 5));
    hl_id k = hl_graph_input(g, "k", hl_type_make(HL_DTYPE_I32, 1, (int64_t[]){3}));
    hl_id three[3] = {a, b, a}, missing[2] = {a, HL_NONE};
    hl_attrs attrs = hl_op_defaults(op(HL_OP_ID_dropout));
    g->where = "exp/a.lua:7";
    expect_error(g, hl_g_matmul(g, a, false, b, false), HL_E_SHAPE,
                 "exp/a.lua:7: matmul: inner dimensions are 3 and 4 (a f32{2, 3}, b f32{4, 5})");
    g->where = NULL;
    expect_error(g, hl_g_add(g, a, k), HL_E_DTYPE,
                 "add: b must be a float tensor, not i32 (a f32{2, 3}, b i32{3})");
    expect_error(g, hl_graph_append(g, op(HL_OP_ID_add), three, 1, NULL), HL_E_ARG,
                 "add: takes 2 inputs, not 1 (a f32{2, 3})");
    expect_error(g, hl_graph_append(g, op(HL_OP_ID_neg), three, 3, NULL), HL_E_ARG,
                 "neg: takes 1 inputs, not 3 (x f32{2, 3},  f32{4, 5},  f32{2, 3})");
    expect_error(g, hl_graph_append(g, op(HL_OP_ID_add), missing, 2, NULL), HL_E_ARG,
                 "add: input 2 is missing (a f32{2, 3}, b left out)");
    attrs.v[0].f = 1.5;
    expect_error(g, hl_graph_append(g, op(HL_OP_ID_dropout), &a, 1, &attrs), HL_E_ARG,
                 "dropout: option 'p' is 1.5; it must be between 0 and 0.999 (x f32{2, 3})");
    attrs.v[0].f = (double)NAN;
    expect_error(g, hl_graph_append(g, op(HL_OP_ID_dropout), &a, 1, &attrs), HL_E_ARG,
                 "dropout: option 'p' must be given (x f32{2, 3})");
    attrs = hl_op_defaults(op(HL_OP_ID_normalise));
    attrs.v[0].i = 99;
    expect_error(g, hl_graph_append(g, op(HL_OP_ID_normalise), &a, 1, &attrs), HL_E_ARG,
                 "normalise: option 'base' is no known choice (x f32{2, 3})");
    cr_assert_eq(g->nodes.n, 0, "a refused call leaves no node");
    cr_assert_eq(hl_graph_check(g), HL_OK);
    hl_graph_free(g);
}

Test(graph, sizes_that_memory_cannot_hold_are_refused)
{
    hl_graph *g = graph();
    const int64_t big = INT64_C(1) << 32;
    hl_id x = hl_graph_input(g, "x", F32(big, 1));
    hl_id y = hl_graph_input(g, "y", F32(1, big));
    cr_assert_neq(x, HL_NONE);
    hl_id product = hl_g_add(g, x, y);
    cr_expect(product == HL_NONE && g->status == HL_E_SHAPE);
    cr_expect(strstr(hl_err_message(), "add: the result is too large"), "%s", hl_err_message());
    g->status = HL_OK;
    expect_error(g, hl_graph_input(g, "x", F32(3, -1)), HL_E_SHAPE, "x: negative size");
    hl_id leaf = hl_graph_state(g, "w", F32(big, big)); /* 2^64 elements */
    cr_expect(leaf == HL_NONE && g->status == HL_E_SHAPE, "a leaf is held to the same limit");
    cr_expect(strstr(hl_err_message(), "w"), "%s", hl_err_message());
    g->status = HL_OK;
    cr_expect_eq(hl_graph_state(g, "w", F32(0, big, big)), HL_NONE,
                 "strides must be countable too");
    hl_graph_free(g);
}

Test(graph, the_first_failure_stands)
{
    hl_graph *g = graph();
    hl_id a = hl_graph_input(g, "a", F32(2)), b = hl_graph_input(g, "b", F32(3));
    hl_id bad = hl_g_add(g, a, b);
    char first[HL_ERR_MESSAGE_MAX];
    strcpy(first, hl_err_message());
    const size_t nodes = g->nodes.n;
    cr_assert_eq(bad, HL_NONE);
    /* everything built on the failure, and everything after it, is nothing and says nothing */
    cr_assert_eq(hl_g_neg(g, bad), HL_NONE);
    cr_assert_eq(hl_g_mul(g, bad, a), HL_NONE);
    cr_assert_eq(hl_g_sum(g, bad, 0, false), HL_NONE);
    cr_assert_eq(hl_g_matmul(g, a, false, bad, true), HL_NONE);
    cr_assert_eq(hl_g_scale(g, bad, 2), HL_NONE);
    cr_assert_eq(hl_g_reshape(g, bad, 0, NULL), HL_NONE);
    cr_assert_eq(hl_g_neg(g, a), HL_NONE);
    /* "all return HL_NONE after a failure": also where the failed value is the pattern */
    cr_assert_eq(hl_g_reshape_like(g, a, bad), HL_NONE);
    cr_assert_eq(hl_g_expand_like(g, a, bad), HL_NONE);
    cr_assert_eq(hl_g_sum_to(g, a, bad), HL_NONE);
    cr_assert_neq(hl_graph_tap(g, "t", bad, HL_TAP_TOKEN), HL_OK);
    cr_assert_eq(g->taps.n, 0);
    hl_graph_name_value(g, bad, "name");
    cr_assert_eq(g->status, HL_E_SHAPE);
    cr_assert_eq(g->nodes.n, nodes);
    cr_assert_str_eq(hl_err_message(), first);
    hl_graph_free(g);
}

/* --- extraction --- */

/* x w -> h = tanh(x w), d = dropout(h), dead = dropout(x), y = d + c, taps on h and dead */
typedef struct sample {
    hl_graph *g;
    hl_id x, w, unread, h, product, dead, d, c, y;
} sample;

static sample sample_new(void)
{
    sample s = {.g = graph()};
    s.w = hl_graph_state(s.g, "w", F32(3, 4));
    s.g->where = "m.lua:1";
    s.x = hl_graph_input(s.g, "x", F32(2, 3));
    s.g->values.at[s.x].data = &s; /* a mark, compared only */
    s.product = hl_g_matmul(s.g, s.x, false, s.w, false);
    s.h = hl_g_op1(s.g, HL_OP_ID_tanh, s.product);
    s.unread = hl_graph_input(s.g, "unread", F32(1));
    s.dead = hl_g_op1(s.g, HL_OP_ID_dropout, s.x);
    s.g->where = "m.lua:2";
    s.d = hl_g_op1(s.g, HL_OP_ID_dropout, s.h);
    s.c = hl_graph_const(s.g, 2);
    s.y = hl_g_add(s.g, s.d, s.c);
    hl_graph_name_value(s.g, s.d, "dropped");
    cr_assert_eq(hl_graph_tap(s.g, "h", s.h, HL_TAP_TOKEN), HL_OK);
    cr_assert_eq(hl_graph_tap(s.g, "dead", s.dead, HL_TAP_SEQUENCE), HL_OK);
    return s;
}

Test(graph, extraction_takes_what_the_outputs_need_in_order)
{
    sample s = sample_new();
    hl_graph *e;
    hl_id map[16], outs[3] = {s.y, s.h, s.y};
    cr_assert_eq(hl_graph_extract(s.g, outs, 3, &e, map), HL_OK);
    /* leaves first, in their order, then nodes */
    cr_assert(map[s.w] == 0 && map[s.x] == 1 && map[s.c] == 2);
    cr_assert(map[s.product] == 3 && map[s.h] == 4 && map[s.d] == 5 && map[s.y] == 6);
    cr_assert(map[s.unread] == HL_NONE && map[s.dead] == HL_NONE);
    cr_assert(e->values.n == 7 && e->nodes.n == 4);
    cr_assert_eq(hl_graph_node_of(e, map[s.d])->stream, 1, "streams stay");
    cr_assert_eq(e->n_streams, 2, "what is recorded next draws other numbers");
    cr_assert_str_eq(hl_graph_value(e, map[s.d])->name, "dropped");
    cr_assert_str_eq(hl_graph_value(e, map[s.x])->name, "x");
    cr_assert_eq(hl_graph_value(e, map[s.x])->data, s.g->values.at[s.x].data);
    cr_assert_str_eq(hl_graph_node_of(e, map[s.y])->where, "m.lua:2");
    cr_assert(e->taps.n == 1 && e->taps.at[0].value == map[s.h]);
    cr_assert_str_eq(e->taps.at[0].name, "h");
    cr_assert_eq(e->taps.at[0].rows, HL_TAP_TOKEN);
    cr_assert_eq(hl_graph_check(e), HL_OK);
    /* the extract stands alone, and is its own extract */
    hl_graph_free(s.g);
    hl_graph *again;
    hl_id map2[16], all[2] = {6, 4};
    cr_assert_eq(hl_graph_extract(e, all, 2, &again, map2), HL_OK);
    cr_assert(hl_graph_same(e, again) && hl_graph_hash(e) == hl_graph_hash(again));
    for (int v = 0; v < 7; v++)
        cr_assert_eq(map2[v], v);
    hl_graph_free(e);
    hl_graph_free(again);
}

Test(graph, extraction_of_leaves_and_of_nothing)
{
    sample s = sample_new();
    hl_graph *e;
    hl_id map[16], outs[3] = {s.c, s.unread, s.c};
    cr_assert_eq(hl_graph_extract(s.g, outs, 3, &e, map), HL_OK);
    cr_assert(e->values.n == 2 && e->nodes.n == 0 && map[s.unread] == 0 && map[s.c] == 1);
    hl_graph_free(e);
    cr_assert_eq(hl_graph_extract(s.g, NULL, 0, &e, map), HL_OK);
    cr_assert(e->values.n == 0 && e->nodes.n == 0 && e->taps.n == 0);
    hl_graph_free(e);
    /* one output of several brings its whole node */
    hl_id in[3] = {s.x, hl_graph_state(s.g, "gamma", F32(3)), hl_graph_state(s.g, "beta", F32(3))};
    hl_id ln = hl_graph_append(s.g, op(HL_OP_ID_layernorm), in, 3, NULL), rstd = ln + 2;
    hl_id wide[32];
    cr_assert_eq(hl_graph_extract(s.g, &rstd, 1, &e, wide), HL_OK);
    cr_assert(e->values.n == 6 && e->nodes.n == 1 && wide[rstd] == 5 && wide[ln] == 3);
    hl_graph_free(e);
    hl_graph_free(s.g);
}

Test(graph, extraction_cut_at_known_values)
{
    sample s = sample_new();
    hl_graph *e;
    hl_id map[16], outs[2] = {s.y, s.h};
    void *cut[16] = {NULL};
    int mark;
    cut[s.h] = &mark;
    cut[s.dead] = &mark; /* not needed: not there */
    cr_assert_eq(hl_graph_extract_cut(s.g, outs, 2, cut, &e, map), HL_OK);
    cr_assert(map[s.x] == HL_NONE && map[s.w] == HL_NONE && map[s.product] == HL_NONE);
    const hl_value *h = hl_graph_value(e, map[s.h]);
    cr_assert(h->kind == HL_VALUE_INPUT && h->data == &mark);
    cr_assert(hl_type_equal(&h->type, hl_graph_type(s.g, s.h)));
    cr_assert(e->nodes.n == 2 && hl_graph_node_of(e, map[s.d])->in[0] == map[s.h]);
    cr_assert_eq(hl_graph_check(e), HL_OK);
    cr_assert(e->taps.n == 1 && e->taps.at[0].value == map[s.h]);
    hl_graph_free(e);
    /* the second output of a node cut, the first needed: the node comes, its reader takes the leaf
     */
    hl_id gamma = hl_graph_state(s.g, "gamma", F32(3)), in[3] = {s.x, gamma, gamma};
    hl_id ln = hl_graph_append(s.g, op(HL_OP_ID_layernorm), in, 3, NULL);
    hl_id use = hl_g_neg(s.g, ln + 1), both[2] = {use, ln};
    void *cuts[32] = {NULL};
    hl_id wide[32];
    cuts[ln + 1] = &mark;
    cr_assert_eq(hl_graph_extract_cut(s.g, both, 2, cuts, &e, wide), HL_OK);
    cr_assert_eq(hl_graph_value(e, wide[ln + 1])->kind, HL_VALUE_INPUT);
    cr_assert_eq(hl_graph_node_of(e, wide[use])->in[0], wide[ln + 1]);
    cr_assert_eq(hl_graph_node_of(e, wide[ln])->op, op(HL_OP_ID_layernorm));
    cr_assert_eq(hl_graph_check(e), HL_OK);
    hl_graph_free(e);
    hl_graph_free(s.g);
}

/* --- identity --- */

enum { VARIANTS = 22 };

/* A graph that differs from variant 0 in one respect. */
static hl_graph *variant(int k)
{
    hl_graph *g = graph();
    const hl_dtype dtype = k == 1 ? HL_DTYPE_F64 : HL_DTYPE_F32;
    const int64_t n = k == 3 ? 3 : 4, matrix[2] = {n, n}, batch[3] = {1, n, n};
    hl_type t = k == 2 ? hl_type_make(dtype, 3, batch) : hl_type_make(dtype, 2, matrix);
    hl_id x = k == 4 ? hl_graph_state(g, "x", t) : hl_graph_input(g, "x", t);
    hl_id w = hl_graph_state(g, "w", t);
    static const double constants[] = {0.0, -0.0, 1, 2, (double)NAN};
    hl_id c = hl_graph_const(g, k >= 5 && k < 9 ? constants[k - 4] : constants[0]);
    if (k == 9)
        (void)hl_graph_input(g, "extra", F32(1));
    hl_id p = hl_g_matmul(g, k == 10 ? w : x, k == 11, k == 10 ? x : w, k == 12);
    if (k == 13)
        (void)hl_g_op1(g, HL_OP_ID_dropout, x); /* moves the next stream on, and is there */
    hl_attrs a = hl_op_defaults(op(HL_OP_ID_dropout));
    a.v[0].f = k == 14 ? 0.1 + 1e-16 : 0.1;
    hl_id d = k == 15 ? hl_graph_append_stream(g, op(HL_OP_ID_dropout), &p, 1, &a, 7)
                      : hl_graph_append(g, op(HL_OP_ID_dropout), &p, 1, &a);
    hl_id s = hl_g_op2(g, k == 16 ? HL_OP_ID_sub : HL_OP_ID_add, k == 17 ? c : d, k == 17 ? d : c);
    s = hl_g_sum(g, s, k == 18 ? 1 : 2, k != 19);
    hl_attrs r = hl_op_defaults(op(HL_OP_ID_reshape));
    r.n_dims = k == 20 ? 1 : 2;
    r.dims[0] = n;
    r.dims[1] = k == 20 ? 0 : 1;
    s = hl_graph_append(g, op(HL_OP_ID_reshape), &s, 1, &r);
    if (k == 21)
        (void)hl_g_neg(g, s);
    cr_assert_eq(g->status == HL_OK, k != 1, "%d: %s", k, hl_err_message()); /* f64 + f32 */
    return g;
}

Test(graph, identity_sees_every_difference)
{
    hl_graph *v[VARIANTS];
    for (int k = 0; k < VARIANTS; k++)
        v[k] = variant(k);
    for (int i = 0; i < VARIANTS; i++)
        for (int k = 0; k < VARIANTS; k++) {
            cr_expect_eq(hl_graph_same(v[i], v[k]), i == k, "variants %d and %d", i, k);
            cr_expect_eq(hl_graph_hash(v[i]) == hl_graph_hash(v[k]), i == k, "variants %d and %d",
                         i, k);
        }
    for (int k = 0; k < VARIANTS; k++) {
        hl_graph *again = variant(k);
        cr_expect(hl_graph_same(v[k], again) && hl_graph_hash(v[k]) == hl_graph_hash(again), "%d",
                  k);
        hl_graph_free(again);
        hl_graph_free(v[k]);
    }
}

Test(graph, identity_does_not_look_at_names_lines_marks_and_taps)
{
    hl_graph *a = variant(0), *b = variant(0);
    b->values.at[0].name = "other";
    b->values.at[0].data = b;
    hl_graph_name_value(b, 4, "named");
    b->nodes.at[0].where = "elsewhere.lua:1";
    cr_assert_eq(hl_graph_tap(b, "t", 4, HL_TAP_TOKEN), HL_OK);
    cr_assert(hl_graph_same(a, b));
    cr_assert_eq(hl_graph_hash(a), hl_graph_hash(b));
    hl_graph_free(a);
    hl_graph_free(b);
}

Test(graph, constants_are_told_apart_by_their_bits)
{
    double quiet = (double)NAN, payload;
    uint64_t bits = UINT64_C(0x7FF8000000000001);
    memcpy(&payload, &bits, sizeof payload);
    const double c[] = {0.0, -0.0, quiet, payload, 1, 1 + 0x1p-52, HUGE_VAL, -HUGE_VAL, 0x1p-1074};
    const int n = (int)(sizeof c / sizeof c[0]);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++) {
            hl_graph *a = graph(), *b = graph();
            (void)hl_graph_const(a, c[i]);
            (void)hl_graph_const(b, c[k]);
            cr_expect_eq(hl_graph_same(a, b), i == k, "%g and %g", c[i], c[k]);
            cr_expect_eq(hl_graph_hash(a) == hl_graph_hash(b), i == k, "%g and %g", c[i], c[k]);
            hl_graph_free(a);
            hl_graph_free(b);
        }
}

/* --- printing --- */

Test(graph, prints_every_part)
{
    hl_graph *g = graph();
    hl_str text = {0};
    g->where = "a.lua:2";
    hl_id x = hl_graph_input(g, "x", F32(2, 3)), w = hl_graph_state(g, "w", F32(4, 3));
    hl_id k = hl_graph_input(g, "labels", hl_type_make(HL_DTYPE_I32, 1, (int64_t[]){2}));
    hl_id lin[3] = {x, w, HL_NONE};
    hl_attrs a = hl_op_defaults(op(HL_OP_ID_linear));
    a.v[0].i = 1;
    hl_id y = hl_graph_append(g, op(HL_OP_ID_linear), lin, 3, &a);
    g->where = NULL;
    hl_id m = hl_g_matmul(g, y, false, w, false);
    hl_id d = hl_g_op1(g, HL_OP_ID_dropout, m);
    hl_id s = hl_g_scale(g, hl_g_reshape(g, d, 3, (int64_t[]){2, 1, 3}), 0.5);
    hl_id loss[4] = {m, hl_graph_state(g, "head", F32(5, 3)), HL_NONE, k};
    (void)hl_graph_append(g, op(HL_OP_ID_lm_loss), loss, 4, NULL);
    cr_assert_eq(hl_graph_tap(g, "scaled", s, HL_TAP_SEQUENCE), HL_OK);
    cr_assert_eq(hl_graph_tap(g, "the input", x, HL_TAP_TOKEN), HL_OK);
    cr_assert_eq(g->status, HL_OK);
    hl_graph_print(g, &text);
    cr_assert_str_eq(hl_str_text(&text),
                     "input @x : f32{2, 3}\n"
                     "state @w : f32{4, 3}\n"
                     "input @labels : i32{2}\n"
                     "state @head : f32{5, 3}\n"
                     "%3 = linear @x @w - {act = gelu} : f32{2, 4} f32{2, 4}   a.lua:2\n"
                     "%5 = matmul %3 @w : f32{2, 3}\n"
                     "%6 = dropout %5 : f32{2, 3}  stream 0\n"
                     "%7 = reshape %6 {shape = {2, 1, 3}} : f32{2, 1, 3}\n"
                     "%9 = mul %7 0.5 : f32{2, 1, 3}\n"
                     "%11 = lm_loss %5 @head - @labels : f32{} f32{}\n"
                     "tap scaled = %9 (rows: sequence)\n"
                     "tap the input = @x (rows: token)\n");
    hl_str_done(&text);
    hl_graph_free(g);
}

/* --- check --- */

static void expect_broken(hl_graph *g, const char *what)
{
    cr_expect_eq(hl_graph_check(g), HL_E_INTERNAL, "%s", what);
    cr_expect(strstr(hl_err_message(), what), "'%s' does not say '%s'", hl_err_message(), what);
}

Test(graph, check_finds_what_is_broken)
{
    sample s = sample_new();
    cr_assert_eq(hl_graph_check(s.g), HL_OK);
    hl_id *in = (hl_id *)(uintptr_t)s.g->nodes.at[1].in; /* tanh of the product */
    const hl_id was = in[0];
    in[0] = s.y;
    expect_broken(s.g, "node 1 (tanh)");
    in[0] = (hl_id)s.g->values.n;
    expect_broken(s.g, "node 1 (tanh)");
    in[0] = -2;
    expect_broken(s.g, "node 1 (tanh)");
    in[0] = was;
    cr_assert_eq(hl_graph_check(s.g), HL_OK);
    s.g->values.at[s.h].node = 0;
    expect_broken(s.g, "node 1 (tanh): output 0");
    s.g->values.at[s.h].node = 1;
    s.g->values.at[s.h].out = 1;
    expect_broken(s.g, "node 1 (tanh): output 0");
    s.g->values.at[s.h].out = 0;
    s.g->taps.at[0].value = (hl_id)s.g->values.n;
    expect_broken(s.g, "tap h");
    s.g->taps.at[0].value = s.h;
    s.g->values.at[s.h].type.dim[0]++;
    expect_broken(s.g, "node 1 (tanh)");
    s.g->values.at[s.h].type.dim[0]--;
    cr_assert_eq(hl_graph_check(s.g), HL_OK);
    hl_graph_free(s.g);
}

/* --- memory --- */

static hl_status record_all(hl_graph **g, hl_graph **e)
{
    hl_status st = HL_OK;
    hl_str text = {0};
    hl_id map[700];
    *g = *e = NULL;
    HL_TRY(hl_graph_new(g));
    hl_id x = hl_graph_input(*g, "x", F32(4, 4)), y = x;
    (*g)->where = "a.lua:1";
    for (int i = 0; i < 300; i++)
        y = hl_g_op1(*g, i % 3 ? HL_OP_ID_tanh : HL_OP_ID_dropout, y);
    HL_TRY((*g)->status);
    hl_graph_name_value(*g, y, "y");
    HL_TRY(hl_graph_tap(*g, "tap", y, HL_TAP_TOKEN));
    HL_TRY(hl_graph_extract(*g, &y, 1, e, map));
    hl_graph_print(*e, &text);
    HL_TRY(hl_str_status(&text));
out:
    hl_str_done(&text);
    return st;
}

Test(graph, every_allocation_may_fail)
{
    const int64_t live = hl_mem_get_stats().live_bytes;
    int n_failed = 0;
    for (int64_t n = 0;; n++) {
        hl_graph *g, *e;
        hl_mem_fail_after(n);
        hl_status st = record_all(&g, &e);
        hl_mem_fail_after(-1);
        hl_str text = {0};
        if (g) { /* what there is can be looked at */
            cr_assert_eq(hl_graph_check(g), HL_OK);
            hl_graph_print(g, &text);
            (void)hl_graph_hash(g);
        }
        hl_str_done(&text);
        hl_graph_free(g);
        hl_graph_free(e);
        cr_assert_eq(hl_mem_get_stats().live_bytes, live, "allocation %d leaks", (int)n);
        if (st == HL_OK)
            break;
        n_failed++;
        cr_assert_eq(st, HL_E_NOMEM, "allocation %d: %s", (int)n, hl_status_name(st));
    }
    cr_assert_gt(n_failed, 50);
}
