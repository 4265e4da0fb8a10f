/* Elementwise groups and shared packing: the same bits as the nodes apart, on random graphs and on
 * small ones whose result is known. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/exec/trial_test.h"
#include "engine/pass/pass.h"

typedef hl_status (*pass_fn)(const hl_graph *, hl_id *, int, const bool *, hl_graph **, hl_id *);

/* The graph after a pass, with outputs renumbered. */
static hl_graph *after(pass_fn pass, const hl_graph *g, hl_id *outs, int n, const bool *marks)
{
    hl_graph *to = NULL;
    hl_id *map = hl_alloc((g->values.n + 1) * sizeof *map);
    cr_assert_eq(pass(g, outs, n, marks, &to, map), HL_OK, "%s", hl_err_message());
    cr_expect_eq(hl_graph_check(to), HL_OK, "%s", hl_err_message());
    hl_free(map);
    return to;
}

static void same_bits(const hl_graph *a, const hl_id *outs_a, const hl_graph *b,
                      const hl_id *outs_b, int n, const char *what)
{
    results x, y;
    cr_assert_eq(evaluate(a, outs_a, n, false, &x), HL_OK, "%s: %s", what, hl_err_message());
    cr_assert_eq(evaluate(b, outs_b, n, false, &y), HL_OK, "%s: %s", what, hl_err_message());
    for (int i = 0; i < n; i++)
        cr_expect(x.count[i] == y.count[i] &&
                      memcmp(x.value[i], y.value[i], (size_t)x.count[i] * sizeof(double)) == 0,
                  "%s: output %d has other bits", what, i);
    results_free(&x);
    results_free(&y);
}

static hl_id rho(hl_graph *g, hl_id x)
{
    return hl_g_op1(g, HL_OP_ID_sigmoid, hl_g_sub(g, hl_g_scale(g, x, 4), hl_graph_const(g, 2)));
}

Test(fuse_elementwise, a_chain_with_a_value_used_twice_is_one_node)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    hl_id s = hl_graph_input(g, "s", F32(33, 40)), c = hl_graph_input(g, "c", F32(33, 40)), x = s;
    for (int i = 0; i < 4; i++) { /* damped steps: x and rho(x) are both used twice */
        hl_id r = rho(g, x);
        hl_id slope = hl_g_mul(g, r, hl_g_sub(g, hl_graph_const(g, 1), r));
        x = hl_g_add(g, hl_g_scale(g, x, 0.5), hl_g_mul(g, slope, c));
    }
    hl_id out = x, moved = x;
    hl_graph *fused = after(hl_pass_fuse_elementwise, g, &moved, 1, NULL);
    cr_expect_eq(fused->nodes.n, 1, "%zu nodes", fused->nodes.n);
    cr_expect_eq(count_op(fused, HL_OP_ID_fused), 1);
    same_bits(g, &out, fused, &moved, 1, "chain");
    hl_graph_free(fused);
    hl_graph_free(g);
}

Test(fuse_elementwise, outputs_and_other_readers_end_a_group)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    hl_id a = hl_graph_input(g, "a", F32(20, 30)), w = hl_graph_input(g, "w", F32(30, 30));
    hl_id kept = hl_g_op1(g, HL_OP_ID_tanh, a);                /* an output itself */
    hl_id read = hl_g_op1(g, HL_OP_ID_exp, hl_g_neg(g, kept)); /* read by a product too */
    hl_id sum = hl_g_add(g, hl_g_mul(g, read, kept), hl_g_matmul(g, read, false, w, false));
    hl_id outs[2] = {kept, sum}, moved[2] = {kept, sum};
    hl_graph *fused = after(hl_pass_fuse_elementwise, g, moved, 2, NULL);
    /* tanh | neg exp | product | mul add */
    cr_expect_eq(fused->nodes.n, 4, "%zu nodes", fused->nodes.n);
    cr_expect_eq(count_op(fused, HL_OP_ID_fused), 2);
    same_bits(g, outs, fused, moved, 2, "ends");
    hl_graph_free(fused);
    hl_graph_free(g);
}

Test(fuse_elementwise, marked_nodes_stay_apart)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    hl_id z = hl_graph_input(g, "z", F32(20, 30)), u = hl_graph_input(g, "u", F32(20, 30));
    hl_id once = hl_g_op1(g, HL_OP_ID_tanh, hl_g_neg(g, u));
    hl_id out = hl_g_add(g, hl_g_op1(g, HL_OP_ID_square, z), once), moved = out;
    bool *depends = hl_alloc(g->values.n + 1);
    hl_graph_depends(g, &z, 1, depends);
    hl_graph *fused = after(hl_pass_fuse_elementwise, g, &moved, 1, depends);
    cr_expect_eq(count_op(fused, HL_OP_ID_fused), 2, "what stands still is a node of its own");
    same_bits(g, &out, fused, &moved, 1, "apart");
    hl_free(depends);
    hl_graph_free(fused);
    hl_graph_free(g);
}

Test(fuse_elementwise, long_chains_are_cut)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    hl_id x = hl_graph_input(g, "x", F32(300)), sum = x;
    for (int i = 0; i < 250; i++)
        x = hl_g_op1(g, i % 2 ? HL_OP_ID_tanh : HL_OP_ID_neg, x);
    for (int i = 0; i < 60; i++) { /* and sums of more inputs than a node takes */
        char name[8] = {'i', (char)('0' + i / 10), (char)('0' + i % 10)};
        sum = hl_g_add(g, sum, hl_graph_input(g, name, F32(300)));
    }
    hl_id outs[2] = {x, sum}, moved[2] = {x, sum};
    hl_graph *fused = after(hl_pass_fuse_elementwise, g, moved, 2, NULL);
    cr_expect_gt(count_op(fused, HL_OP_ID_fused), 1);
    same_bits(g, outs, fused, moved, 2, "long");
    hl_graph_free(fused);
    hl_graph_free(g);
}

Test(fuse_elementwise, random_graphs_keep_their_bits, .timeout = 300)
{
    int fused_nodes = 0;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        sketch s;
        char what[32];
        snprintf(what, sizeof what, "seed %d", (int)seed);
        cr_assert_eq(sketch_new(seed, 60, false, seed % 3 == 0, &s), HL_OK, "%s", hl_err_message());
        hl_id outs[4], moved[4];
        for (int i = 0; i < 4; i++)
            outs[i] = moved[i] = sketch_pick(&s);
        hl_graph *part;
        hl_id *map = hl_alloc((s.g->values.n + 1) * sizeof *map);
        cr_assert_eq(hl_graph_extract(s.g, outs, 4, &part, map), HL_OK);
        for (int i = 0; i < 4; i++)
            outs[i] = moved[i] = map[outs[i]];
        hl_graph *packed = after(hl_pass_pack, part, moved, 4, NULL);
        hl_graph *fused = after(hl_pass_fuse_elementwise, packed, moved, 4, NULL);
        fused_nodes += count_op(fused, HL_OP_ID_fused);
        same_bits(part, outs, fused, moved, 4, what);
        hl_free(map);
        hl_graph_free(part);
        hl_graph_free(packed);
        hl_graph_free(fused);
        sketch_free(&s);
    }
    cr_log_info("%d groups", fused_nodes);
}

/* --- packing --- */

static hl_id product(hl_graph *g, hl_id a, hl_id b, bool tb)
{
    return hl_g_op1(g, HL_OP_ID_tanh, hl_g_matmul(g, a, false, b, tb));
}

Test(pack, weights_of_an_unrolled_step_are_packed_once_for_each_orientation)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    hl_id z = hl_graph_input(g, "z", F32(64, 70)), w = hl_graph_input(g, "w", F32(70, 530));
    hl_id v = hl_graph_input(g, "v", F32(530, 530));
    for (int i = 0; i < 4; i++)
        z = product(g, product(g, product(g, z, w, false), v, false), w, true);
    hl_id out = z, moved = z;
    hl_graph *packed = after(hl_pass_pack, g, &moved, 1, NULL);
    cr_expect_eq(count_op(packed, HL_OP_ID_pack), 3, "w, its transpose, and v");
    cr_expect_eq(count_op(packed, HL_OP_ID_matmul), 0);
    cr_expect_eq(count_op(packed, HL_OP_ID_matmul_packed), 12);
    same_bits(g, &out, packed, &moved, 1, "unrolled");
    hl_graph_free(packed);
    hl_graph_free(g);
}

Test(pack, what_is_used_twice_or_small_or_moving_stays)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    hl_id z = hl_graph_input(g, "z", F32(8, 64)), w = hl_graph_input(g, "w", F32(64, 64));
    hl_id small = hl_graph_input(g, "s", F32(64, 8)), back = hl_graph_input(g, "b", F32(8, 64));
    for (int i = 0; i < 4; i++)
        z = product(g, product(g, z, small, false), back, false);
    z = product(g, product(g, z, w, false), w, false);
    hl_id out = z, moved = z, again = z;
    hl_graph *packed = after(hl_pass_pack, g, &moved, 1, NULL);
    cr_expect_eq(count_op(packed, HL_OP_ID_pack), 0);
    bool *only = hl_alloc_zero(g->values.n + 1, 1);
    only[w] = true; /* in a loop, once is often */
    hl_graph *loop = after(hl_pass_pack, g, &again, 1, only);
    cr_expect_eq(count_op(loop, HL_OP_ID_pack), 1);
    cr_expect_eq(count_op(loop, HL_OP_ID_matmul_packed), 2);
    same_bits(g, &out, loop, &again, 1, "marked");
    hl_free(only);
    hl_graph_free(packed);
    hl_graph_free(loop);
    hl_graph_free(g);
}
