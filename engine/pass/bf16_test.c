/* Precision bf16 as a pass: what is rounded, how often, and what it does to memory. Values are
 * compared by tests/conform/bf16_test.c and tests/lua/bf16_test.lua. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/exec/trial_test.h"
#include "engine/optim/train_graph.h"
#include "engine/pass/pass.h"

/* bf16 goes into rows that take it, through shapes and back to floats, nowhere else; and no number
 * is rounded twice. */
static void check_types(const hl_graph *g)
{
    bool *rounded = hl_alloc_zero(g->values.n + 1, sizeof *rounded);
    cr_assert_eq(hl_graph_check(g), HL_OK, "%s", hl_err_message());
    for (size_t k = 0; k < g->nodes.n; k++) {
        const hl_node *n = &g->nodes.at[k];
        const bool passes =
            n->op == hl_op_get(HL_OP_ID_reshape) || n->op == hl_op_get(HL_OP_ID_from_bf16);
        for (int i = 0; i < n->n_in; i++)
            if (n->in[i] != HL_NONE && hl_graph_type(g, n->in[i])->dtype == HL_DTYPE_BF16)
                cr_expect(passes || hl_op_takes_bf16(n->op, i), "%s reads bf16 at %d", n->op->name,
                          i);
        if (n->op != hl_op_get(HL_OP_ID_to_bf16))
            continue;
        cr_expect(!rounded[n->in[0]], "a value is rounded twice");
        cr_expect_neq(hl_graph_node_of(g, n->in[0]) ? hl_graph_node_of(g, n->in[0])->op : NULL,
                      hl_op_get(HL_OP_ID_reshape), "another shape is rounded");
        rounded[n->in[0]] = true;
    }
    hl_free(rounded);
}

static hl_graph *after(hl_status (*pass)(const hl_graph *, hl_id *, int, hl_graph **, hl_id *),
                       const hl_graph *g, hl_id *outs, int n)
{
    hl_graph *to;
    hl_id *map = hl_alloc((g->values.n + 1) * sizeof *map);
    cr_assert_eq(pass(g, outs, n, &to, map), HL_OK, "%s", hl_err_message());
    hl_free(map);
    cr_assert_eq(hl_graph_check(to), HL_OK, "%s", hl_err_message());
    return to;
}

static hl_graph *rounded_copy(const hl_graph *g, hl_id *outs, int n)
{
    hl_graph *to = after(hl_pass_bf16, g, outs, n);
    check_types(to);
    return to;
}

/* Two layers and their gradients: four operands of the first order and two of the second. */
Test(bf16_pass, operands_are_rounded_once)
{
    hl_graph *g;
    hl_id wrt[4], outs[5];
    int n = 0;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    const hl_id x = hl_graph_input(g, "x", F32(2, 3, 8));
    const hl_id hidden = linear(g, x, "w1", "0b1", 16, HL_ACT_GELU);
    const hl_id y = linear(g, hidden, "w2", "0b2", 4, HL_ACT_NONE);
    outs[0] = hl_g_sum(g, hl_g_op1(g, HL_OP_ID_square, y), 0, false);
    for (size_t v = 0; v < g->values.n; v++)
        if (g->values.at[v].kind == HL_VALUE_STATE)
            wrt[n++] = (hl_id)v;
    cr_assert_eq(n, 4);
    cr_assert_eq(hl_pass_grad(g, outs[0], wrt, n, outs + 1), HL_OK, "%s", hl_err_message());
    hl_id rounded[5];
    memcpy(rounded, outs, sizeof rounded);
    hl_graph *half = rounded_copy(g, rounded, 5);
    /* x, w1, hidden, w2, what the gelu's slope is taken at, and the gradients of both products'
     * results */
    cr_expect_eq(count_op(half, HL_OP_ID_to_bf16), 7);
    cr_expect_eq(count_op(half, HL_OP_ID_from_bf16), 1);
    for (int i = 0; i < 5; i++)
        cr_expect(hl_type_equal(hl_graph_type(half, rounded[i]), hl_graph_type(g, outs[i])));
    results exact, got;
    cr_assert_eq(evaluate(g, outs, 5, true, &exact), HL_OK);
    cr_assert_eq(evaluate(half, rounded, 5, false, &got), HL_OK, "%s", hl_err_message());
    for (int i = 0; i < 5; i++) {
        double off = 0, size = 0;
        for (int64_t k = 0; k < exact.count[i]; k++) {
            off += (got.value[i][k] - exact.value[i][k]) * (got.value[i][k] - exact.value[i][k]);
            size += exact.value[i][k] * exact.value[i][k];
        }
        /* a gradient passes at most four products of two operands, and a slope */
        cr_expect(off > 0 && sqrt(off / size) < 9 * 0x1p-8, "output %d: %.2g", i, sqrt(off / size));
    }
    results_free(&exact);
    results_free(&got);
    hl_graph_free(half);
    hl_graph_free(g);
}

/* A random graph: its loss and the gradients that it has, to outs, of which as many are returned.
 */
static int sketch_with_gradients(uint64_t seed, sketch *s, hl_id outs[17])
{
    int n_outs = 1;
    cr_assert_eq(sketch_new(seed, 25, true, false, s), HL_OK);
    outs[0] = sketch_loss(s, seed % 2);
    const int n = s->states.n < 16 ? (int)s->states.n : 16;
    cr_assert_eq(hl_pass_grad(s->g, outs[0], s->states.at, n, outs + 1), HL_OK, "%s",
                 hl_err_message());
    for (int i = 1; i <= n; i++)
        if (outs[i] != HL_NONE)
            outs[n_outs++] = outs[i];
    return n_outs;
}

/* Whatever there is to record, with gradients: types agree, it compiles and runs. */
Test(bf16_pass, random_graphs)
{
    int n_rounded = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        sketch s;
        hl_id outs[17];
        const int n_outs = sketch_with_gradients(seed, &s, outs);
        hl_graph *half = rounded_copy(s.g, outs, n_outs);
        results r;
        cr_assert_eq(evaluate(half, outs, n_outs, false, &r), HL_OK, "%s", hl_err_message());
        n_rounded += count_op(half, HL_OP_ID_to_bf16) > 0;
        results_free(&r);
        hl_graph_free(half);
        sketch_free(&s);
    }
    cr_expect_gt(n_rounded, 30);
}

/* Rounding where numbers are made leaves out nodes, and changes no bit. */
Test(bf16_pass, rounding_results_changes_no_bit)
{
    int n_less = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        sketch s;
        hl_id outs[17], own[17];
        const int n_outs = sketch_with_gradients(seed, &s, outs);
        hl_graph *half = after(hl_pass_bf16_cpu, s.g, outs, n_outs);
        memcpy(own, outs, sizeof own);
        hl_graph *less = after(hl_pass_round_results, half, own, n_outs);
        results want, got;
        cr_assert_eq(evaluate(half, outs, n_outs, false, &want), HL_OK, "%s", hl_err_message());
        cr_assert_eq(evaluate(less, own, n_outs, false, &got), HL_OK, "%s", hl_err_message());
        for (int i = 0; i < n_outs; i++)
            cr_expect(memcmp(got.value[i], want.value[i],
                             (size_t)want.count[i] * sizeof *want.value[i]) == 0,
                      "seed %d, output %d", (int)seed, i);
        n_less += count_op(less, HL_OP_ID_to_bf16) < count_op(half, HL_OP_ID_to_bf16);
        results_free(&want);
        results_free(&got);
        hl_graph_free(less);
        hl_graph_free(half);
        sketch_free(&s);
    }
    cr_expect_gt(n_less, 20);
}

/* Of layers with their gradients nothing is rounded apart but what comes from outside. */
Test(bf16_pass, layers_round_their_own_results)
{
    hl_graph *g;
    hl_id wrt[6], outs[7];
    int n = 0;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    const hl_id x = hl_graph_input(g, "x", F32(2, 3, 8));
    hl_id y = linear(g, x, "w1", "0b1", 16, HL_ACT_GELU);
    y = linear(g, y, "w2", "0b2", 16, HL_ACT_NONE);
    y = linear(g, y, "w3", "0b3", 4, HL_ACT_NONE);
    outs[0] = hl_g_sum(g, hl_g_op1(g, HL_OP_ID_square, y), 0, false);
    for (size_t v = 0; v < g->values.n; v++)
        if (g->values.at[v].kind == HL_VALUE_STATE)
            wrt[n++] = (hl_id)v;
    cr_assert_eq(n, 6);
    cr_assert_eq(hl_pass_grad(g, outs[0], wrt, n, outs + 1), HL_OK, "%s", hl_err_message());
    hl_graph *half = after(hl_pass_bf16_cpu, g, outs, 7);
    hl_graph *less = after(hl_pass_round_results, half, outs, 7);
    /* x and the weights; not the two results of the first layer, that of the second, and the
     * gradients of three products */
    cr_expect_eq(count_op(half, HL_OP_ID_to_bf16), 10);
    cr_expect_eq(count_op(less, HL_OP_ID_to_bf16), 4);
    cr_expect_eq(count_op(less, HL_OP_ID_from_bf16), 0);
    hl_graph_free(less);
    hl_graph_free(half);
    hl_graph_free(g);
}

static hl_program_info train_info(const hl_graph *forward, hl_id loss, bool bf16)
{
    hl_train_graph t;
    hl_program *p;
    const hl_train_options o = {.optim = {.kind = HL_OPTIM_SGD}, .bf16 = bf16};
    cr_assert_eq(hl_train_graph_new(forward, loss, &o, &t), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_graph_check(t.g), HL_OK, "%s", hl_err_message());
    const hl_compile how = {.outputs = t.outputs, .n_outputs = t.n_outputs, .n_workers = 1};
    cr_assert_eq(hl_program_new(t.g, &how, &p), HL_OK, "%s", hl_err_message());
    const hl_program_info info = hl_program_get_info(p);
    hl_program_free(p);
    hl_train_graph_done(&t);
    return info;
}

/* Of a deep stack nearly all memory is what the layers keep; the states stay fp32. */
Test(bf16_pass, kept_activations_take_half)
{
    static const hl_act acts[] = {HL_ACT_GELU, HL_ACT_RELU, HL_ACT_GELU_TANH, HL_ACT_NONE};
    for (int a = 0; a < 4; a++) {
        hl_graph *g;
        cr_assert_eq(hl_graph_new(&g), HL_OK);
        hl_id x = hl_graph_input(g, "x", F32(4096, 16));
        for (int i = 0; i < 24; i++) {
            const char w[3] = {'w', (char)('a' + i), '\0'}, b[3] = {'b', (char)('a' + i), '\0'};
            x = linear(g, x, w, b, 16, acts[a]);
        }
        const hl_id loss = hl_g_sum(g, hl_g_op1(g, HL_OP_ID_square, x), 0, false);
        const hl_program_info wide = train_info(g, loss, false), half = train_info(g, loss, true);
        /* and four float tensors of the layer that is being computed */
        cr_expect_lt(half.arena_bytes, wide.arena_bytes / 2 + 4 * 4096 * 16 * sizeof(float),
                     "%d: %zu of %zu", a, half.arena_bytes, wide.arena_bytes);
        cr_expect_eq(half.state_bytes, wide.state_bytes);
        hl_graph_free(g);
    }
}
