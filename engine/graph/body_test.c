#include "engine/graph/body.h"

#include <criterion/criterion.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/exec/trial_test.h"

/* tanh(z w + u) with something beside it that nobody needs */
static hl_graph *step(double scale, hl_id in[3], hl_id *out)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    in[2] = hl_graph_input(g, "u", F32(4, 3));
    in[1] = hl_graph_input(g, "w", F32(3, 3));
    in[0] = hl_graph_input(g, "z", F32(4, 3));
    hl_g_neg(g, in[1]);
    hl_id y = hl_g_add(g, hl_g_matmul(g, in[0], false, in[1], false), in[2]);
    *out = hl_g_scale(g, hl_g_op1(g, HL_OP_ID_tanh, y), scale);
    return g;
}

static hl_body *body_of(double scale)
{
    hl_id in[3], out;
    hl_body *b = NULL;
    hl_graph *g = step(scale, in, &out);
    cr_assert_eq(hl_body_new(g, in, 3, &out, 1, &b), HL_OK, "%s", hl_err_message());
    hl_graph_free(g);
    return b;
}

Test(body, leaves_come_in_the_order_of_the_inputs)
{
    hl_body *b = body_of(2);
    cr_expect_eq(hl_graph_check(b->g), HL_OK);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(b->in[i], i);
    cr_expect_str_eq(hl_graph_value(b->g, b->in[0])->name, "z");
    cr_expect_eq(b->g->nodes.n, 4, "what nobody needs is gone");
    hl_body_unref(b);
}

Test(body, identity_is_structure)
{
    hl_body *a = body_of(2), *same = body_of(2), *other = body_of(3);
    cr_expect(hl_body_same(a, same));
    cr_expect_not(hl_body_same(a, other));
    cr_expect_not(hl_body_same(a, NULL));
    cr_expect(hl_body_same(NULL, NULL));
    cr_expect_eq(hl_body_hash(HL_HASH_START, a), hl_body_hash(HL_HASH_START, same));
    cr_expect_neq(hl_body_hash(HL_HASH_START, a), hl_body_hash(HL_HASH_START, other));
    hl_body_unref(a);
    hl_body_unref(same);
    hl_body_unref(other);
}

Test(body, a_graph_holds_the_bodies_of_its_nodes)
{
    hl_body *b = body_of(2);
    hl_graph *g, *part;
    hl_id map[32];
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    hl_id in[3] = {hl_graph_input(g, "z", F32(4, 3)), hl_graph_input(g, "w", F32(3, 3)),
                   hl_graph_input(g, "u", F32(4, 3))};
    hl_id z = hl_graph_append_body(g, hl_op_get(HL_OP_ID_fixed_point), in, 3, NULL, b);
    cr_assert_neq(z, HL_NONE, "%s", hl_err_message());
    cr_expect_eq(b->refs, 2);
    hl_body_unref(b);
    cr_assert_eq(hl_graph_extract(g, &z, 1, &part, map), HL_OK);
    hl_graph_free(g);
    hl_body *held = part->nodes.at[0].body;
    cr_expect_eq(held->refs, 1);
    cr_expect_eq(hl_graph_check(part), HL_OK, "%s", hl_err_message());
    hl_str text = {0};
    hl_graph_print(part, &text);
    cr_expect(strstr(text.s, "    | %") && strstr(text.s, "tanh"), "%s", text.s);
    hl_str_done(&text);
    hl_graph_free(part);
}

static hl_status purity(hl_op_id op, double p)
{
    hl_graph *g;
    hl_body *b = NULL;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    hl_id z = hl_graph_input(g, "z", F32(4, 3));
    hl_attrs a = hl_op_defaults(hl_op_get(op));
    a.v[hl_op_attr(hl_op_get(op), "p")].f = p;
    g->where = "a.lua:3";
    hl_id out = hl_graph_append(g, hl_op_get(op), &z, 1, &a);
    hl_status st = hl_body_new(g, &z, 1, &out, 1, &b);
    hl_body_unref(b);
    hl_graph_free(g);
    return st;
}

Test(body, a_step_draws_no_random_numbers)
{
    cr_expect_eq(purity(HL_OP_ID_dropout, 0), HL_OK, "%s", hl_err_message());
    cr_expect_eq(purity(HL_OP_ID_dropout, 0.1), HL_E_UNSUPPORTED);
    cr_expect(strstr(hl_err_message(), "a.lua:3") && strstr(hl_err_message(), "random"), "%s",
              hl_err_message());
}

/* A quantizer that gathers its range, in a step; *writes: per input. */
static hl_status gathers(bool in_state, bool writes[2])
{
    hl_graph *g;
    hl_body *b = NULL;
    const int64_t fields = 7;
    const hl_type range = hl_type_make(HL_DTYPE_F64, 1, &fields);
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    const hl_id in[2] = {hl_graph_input(g, "z", F32(4, 3)),
                         in_state ? hl_graph_state(g, "r", range) : hl_graph_input(g, "r", range)};
    const hl_id out = hl_graph_append(g, hl_op_get(HL_OP_ID_observe), in, 2, NULL);
    hl_status st = hl_body_new(g, in, 2, &out, 1, &b);
    for (int i = 0; st == HL_OK && i < 2; i++)
        writes[i] = b->writes[i];
    hl_body_unref(b);
    hl_graph_free(g);
    return st;
}

Test(body, a_step_writes_into_states_alone)
{
    bool writes[2] = {true, false};
    cr_expect_eq(gathers(true, writes), HL_OK, "%s", hl_err_message());
    cr_expect(!writes[0] && writes[1]);
    cr_expect_eq(gathers(false, writes), HL_E_UNSUPPORTED);
    cr_expect(strstr(hl_err_message(), "writes state"), "%s", hl_err_message());
}
