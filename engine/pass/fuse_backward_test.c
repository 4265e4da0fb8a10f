/* Fusion after differentiation, whole transformers, random graphs. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/pass/fuse_pair_test.h"

/* --- the backward pass --- */

static hl_id embedding(hl_graph *g, hl_id table, hl_id ids)
{
    hl_id in[2] = {table, ids};
    return hl_graph_append(g, hl_op_get(HL_OP_ID_embedding), in, 2, NULL);
}

static hl_id whole(hl_graph *g, const char *name, int64_t n)
{
    return hl_graph_input(g, name, hl_type_make(HL_DTYPE_I32, 1, &n));
}

static hl_id lm_loss(hl_graph *g, hl_id h, hl_id w, hl_id bias, hl_id labels)
{
    hl_id in[4] = {h, w, bias, labels};
    return hl_graph_append(g, hl_op_get(HL_OP_ID_lm_loss), in, 4, NULL);
}

/* embedding, a block, output layer with the embedding's own table */
static void tied(subject *s, double scale, bool bias)
{
    hl_graph *g = s->g;
    hl_id table = hl_graph_state(g, "table", F32(7, 6)), w = hl_graph_state(g, "w", F32(6, 6));
    hl_id h = embedding(g, table, whole(g, "ids<7", 5));
    h = hl_g_add(g, h, op1(g, HL_OP_ID_tanh, hl_g_matmul(g, h, false, w, false)));
    hl_id b = bias ? hl_graph_state(g, "b", F32(7)) : HL_NONE;
    hl_id loss = lm_loss(g, h, table, b, whole(g, "labels<7!", 5));
    s->outs[s->n_outs++] = loss + 1; /* how many labels there are */
    s->loss = hl_g_scale(g, loss, scale);
}

Test(fuse, loss_and_gradient_become_one)
{
    for (int k = 0; k < 4; k++) {
        subject s = subject_new();
        tied(&s, k & 1 ? 0.5 : 1, k & 2);
        both b = both_of(&s);
        /* a scaled loss: its cotangent is computed after the loss, so the pair stays two nodes */
        cr_expect_eq(count_op(b.fused, HL_OP_ID_lm_loss_grad), k & 1 ? 0 : 1);
        cr_expect_eq(count_op(b.fused, HL_OP_ID_lm_loss_vjp), k & 1 ? 1 : 0);
        cr_expect_eq(count_op(b.fused, HL_OP_ID_lm_loss), k & 1 ? 1 : 0);
        /* the table's gradient: scattered onto the output layer's; the residual's: onto a product
         */
        cr_expect_eq(count_op(b.plain, HL_OP_ID_embedding_vjp), 1);
        cr_expect_eq(count_op(b.plain, HL_OP_ID_add), 3);
        cr_expect_eq(count_op(b.fused, HL_OP_ID_add), 1, "only the forward sum is left");
        cr_expect_eq(count_op(b.fused, HL_OP_ID_embedding_vjp), 1);
        both_compare(&b, k & 1 ? "scaled" : "tied");
        both_free(&b);
    }
}

/* Two gradients of one loss, and two equal losses: each pair is used once. */
Test(fuse, losses_and_gradients_are_paired_once)
{
    subject s = subject_new();
    hl_graph *g = s.g;
    hl_id h = hl_graph_state(g, "h", F32(5, 6)), w = hl_graph_state(g, "w", F32(7, 6));
    hl_id labels = whole(g, "labels<7!", 5);
    hl_id one = lm_loss(g, h, w, HL_NONE, labels), two = lm_loss(g, h, w, HL_NONE, labels);
    hl_id c = hl_graph_input(g, "c", hl_type_scalar(HL_DTYPE_F32)), wrt[2] = {h, w}, outs[8];
    cr_assert_eq(hl_pass_vjp(g, one, c, wrt, 2, outs), HL_OK);
    cr_assert_eq(hl_pass_grad(g, one, wrt, 2, outs + 2), HL_OK);
    cr_assert_eq(hl_pass_vjp(g, two, one, wrt, 2, outs + 4), HL_OK); /* weighed by the first loss */
    outs[6] = one;
    outs[7] = two;
    hl_graph *fused;
    hl_id map[64], moved[8];
    memcpy(moved, outs, sizeof outs);
    cr_assert_eq(hl_pass_fuse_backward(g, moved, 8, &fused, map), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_graph_check(fused), HL_OK);
    cr_expect_eq(count_op(fused, HL_OP_ID_lm_loss_grad), 2);
    cr_expect_eq(count_op(fused, HL_OP_ID_lm_loss) + count_op(fused, HL_OP_ID_lm_loss_vjp), 1);
    results a, b;
    cr_assert_eq(evaluate(g, outs, 8, true, &a), HL_OK);
    cr_assert_eq(evaluate(fused, moved, 8, true, &b), HL_OK);
    for (int i = 0; i < 8; i++) {
        double size, d = largest_difference(b.value[i], a.value[i], a.count[i], &size);
        cr_expect(d <= 1e-12 * size, "output %d: %g of %g", i, d, size);
    }
    results_free(&a);
    results_free(&b);
    hl_graph_free(fused);
    hl_graph_free(g);
}

/* The cotangent of the second loss depends on the first: it may not move up before it. */
Test(fuse, a_gradient_stays_behind_its_cotangent)
{
    subject s = subject_new();
    hl_graph *g = s.g;
    hl_id h = hl_graph_state(g, "h", F32(5, 6)), w = hl_graph_state(g, "w", F32(7, 6));
    hl_id labels = whole(g, "labels<7!", 5), wrt[2] = {h, w};
    hl_id loss = lm_loss(g, h, w, HL_NONE, labels), c = op1(g, HL_OP_ID_exp, loss),
          outs[3] = {loss};
    cr_assert_eq(hl_pass_vjp(g, loss, c, wrt, 2, outs + 1), HL_OK);
    hl_graph *fused;
    hl_id map[64], moved[3];
    memcpy(moved, outs, sizeof outs);
    cr_assert_eq(hl_pass_fuse_backward(g, moved, 3, &fused, map), HL_OK, "%s", hl_err_message());
    cr_expect_eq(count_op(fused, HL_OP_ID_lm_loss_grad), 0);
    cr_expect_eq(hl_graph_check(fused), HL_OK);
    hl_graph_free(fused);
    hl_graph_free(g);
}

typedef struct chain_case {
    const char *name;
    int add, matmul; /* left after fusion, of the forward part */
} chain_case;

/* Forward chains of sums and products, fused by the backward pass; no loss. */
static hl_id chain(subject *s, int k)
{
    hl_graph *g = s->g;
    hl_id x = hl_graph_state(g, "x", F32(4, 5)), a = hl_graph_state(g, "a", F32(4, 3));
    hl_id b = hl_graph_state(g, "b", F32(3, 5)), row = hl_graph_state(g, "row", F32(5));
    hl_id p = hl_g_matmul(g, a, false, b, false);
    switch (k) {
    case 0:
        return hl_g_add(g, x, p);
    case 1:
        return hl_g_add(g, p, x);
    case 2: /* two products: one takes the other */
        return hl_g_add(g, p, hl_g_matmul(g, a, false, b, false));
    case 3: /* a chain: x + p + q + r */
        for (int i = 0; i < 3; i++) {
            x = hl_g_add(g, i == 1 ? p : x, i == 1 ? x : p);
            p = hl_g_matmul(g, a, false, b, false);
        }
        return hl_g_add(g, x, p);
    case 4: /* the product has another reader */
        s->outs[s->n_outs++] = p;
        return hl_g_add(g, x, p);
    case 5:
        cr_assert_eq(hl_graph_tap(g, "product", p, HL_TAP_TOKEN), HL_OK);
        return hl_g_add(g, x, p);
    case 6: /* onto itself */
        return hl_g_add(g, p, p);
    case 7: /* broadcast: not an addend */
        return hl_g_add(g, p, row);
    default: { /* it has an addend already */
        hl_id in[3] = {a, b, x};
        p = hl_graph_append(g, hl_op_get(HL_OP_ID_matmul), in, 3, NULL);
        return hl_g_add(g, p, x);
    }
    }
}

Test(fuse, sums_go_into_products)
{
    static const chain_case cases[] = {
        {"x + p", 0, 1},       {"p + x", 0, 1},  {"p + q", 0, 2}, {"a chain", 0, 4},
        {"read twice", 1, 1},  {"tapped", 1, 1}, {"p + p", 1, 1}, {"broadcast", 1, 1},
        {"addend there", 1, 2}}; /* and one that nobody reads */
    for (int k = 0; k < 9; k++) {
        subject s = subject_new();
        s.outs[s.n_outs++] = chain(&s, k);
        both b = both_of(&s);
        cr_expect_eq(count_op(b.fused, HL_OP_ID_add), cases[k].add, "%s: %d adds", cases[k].name,
                     count_op(b.fused, HL_OP_ID_add));
        cr_expect_eq(count_op(b.fused, HL_OP_ID_matmul), cases[k].matmul, "%s", cases[k].name);
        both_compare(&b, cases[k].name);
        both_free(&b);
    }
    for (int k = 0; k < 9; k++) { /* the same below a loss */
        subject s = subject_new();
        hl_id y = chain(&s, k);
        s.loss = hl_g_sum(s.g, op1(s.g, HL_OP_ID_tanh, y), 0, false);
        both b = both_of(&s);
        both_compare(&b, cases[k].name);
        both_free(&b);
    }
}

/* Several tables' worth of gradients meet: three look-ups of one table. */
Test(fuse, look_ups_scatter_onto_each_other)
{
    subject s = subject_new();
    hl_graph *g = s.g;
    hl_id table = hl_graph_state(g, "table", F32(7, 6)), y = HL_NONE;
    static const char *const names[] = {"i<7", "j<7", "k<7"};
    for (int i = 0; i < 3; i++) {
        hl_id part = hl_g_sum(
            g, op1(g, HL_OP_ID_tanh, embedding(g, table, whole(g, names[i], 4 + i))), 0, false);
        y = i ? hl_g_add(g, y, part) : part;
    }
    s.loss = y;
    both b = both_of(&s);
    cr_expect_eq(count_op(b.fused, HL_OP_ID_add), 2, "the forward sums alone are left");
    cr_expect_eq(count_op(b.fused, HL_OP_ID_embedding_vjp), 3);
    both_compare(&b, "three look-ups");
    both_free(&b);
}

/* --- a transformer by hand --- */

enum { BATCH = 2, TIME = 5, WIDE = 8, VOCABULARY = 11 };

static hl_id attend(hl_graph *g, hl_id n, int layer)
{
    char w[3][8], b[3][8];
    hl_id in[3];
    for (int i = 0; i < 3; i++) {
        snprintf(w[i], sizeof w[i], "w%d%c", layer, "qkv"[i]);
        snprintf(b[i], sizeof b[i], "b%d%c", layer, "qkv"[i]);
        in[i] = linear(g, n, w[i], b[i], WIDE, HL_ACT_NONE);
    }
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_attention));
    a.v[0].i = 2;
    a.v[2].i = 1;
    a.v[3].i = HL_NORM_SOFTMAX1;
    a.v[6].f = 0.1;
    return hl_graph_append(g, hl_op_get(HL_OP_ID_attention), in, 3, &a);
}

static hl_id norm_of(hl_graph *g, hl_id x, const char *name)
{
    char beta[16];
    snprintf(beta, sizeof beta, "%s.b", name);
    return layernorm_of(g, x, hl_graph_state(g, name, F32(WIDE)),
                        hl_graph_state(g, beta, F32(WIDE)));
}

static void transformer(subject *s, int layers, bool norm_goes_first)
{
    static const char *const name[2][5] = {{"n0", "o0", "m0", "u0", "d0"},
                                           {"n1", "o1", "m1", "u1", "d1"}};
    hl_graph *g = s->g;
    hl_type ids = hl_type_make(HL_DTYPE_I32, 2, (int64_t[]){BATCH, TIME});
    hl_id table = hl_graph_state(g, "table", F32(VOCABULARY, WIDE));
    hl_id x = embedding(g, table, hl_graph_input(g, "ids<11", ids));
    for (int l = 0; l < layers; l++) {
        const char *const *n = name[l];
        hl_id h = attend(g, norm_goes_first ? norm_of(g, x, n[0]) : x, l);
        h = dropout_of(g, linear(g, h, n[1], "ob", WIDE, HL_ACT_NONE));
        x = hl_g_add(g, x, h);
        if (!norm_goes_first)
            x = norm_of(g, x, n[0]);
        cr_assert_eq(hl_graph_tap(g, "residual", x, HL_TAP_TOKEN), HL_OK);
        h = linear(g, norm_goes_first ? norm_of(g, x, n[2]) : x, n[3], "ub", 2 * WIDE, HL_ACT_GELU);
        h = dropout_of(g, linear(g, h, n[4], "db", WIDE, HL_ACT_NONE));
        x = hl_g_add(g, h, x);
        if (!norm_goes_first)
            x = norm_of(g, x, n[2]);
    }
    if (norm_goes_first)
        x = norm_of(g, x, "last");
    s->outs[s->n_outs++] = x;
    s->loss = lm_loss(g, x, table, hl_graph_state(g, "head", F32(VOCABULARY)),
                      hl_graph_input(g, "labels<11!", ids));
    cr_assert_eq(g->status, HL_OK, "%s", hl_err_message());
}

Test(fuse, transformers)
{
    for (int k = 0; k < 4; k++) {
        const int layers = 1 + k / 2, first = k % 2;
        subject s = subject_new();
        transformer(&s, layers, first);
        const size_t nodes = s.g->nodes.n;
        both b = both_of(&s);
        /* every residual and its layernorm and dropout became one node */
        cr_expect_eq(count_op(b.forward, HL_OP_ID_residual_norm), 2 * layers);
        cr_expect_eq(count_op(b.forward, HL_OP_ID_layernorm), first ? 1 : 0);
        cr_expect_eq(count_op(b.forward, HL_OP_ID_dropout), 0);
        cr_expect_eq(b.forward->nodes.n, nodes - 4 * (size_t)layers);
        cr_expect_eq(count_op(b.fused, HL_OP_ID_lm_loss_grad), 1);
        cr_expect_lt(b.fused->nodes.n, b.plain->nodes.n - 4 * (size_t)layers);
        both_compare(&b, first ? "normalises first" : "normalises last");
        both_free(&b);
    }
}

/* --- 300 random graphs --- */

static int fused_norms, fused_losses, fused_sums;

static int addends(const hl_graph *g)
{
    int n = 0;
    for (size_t i = 0; i < g->nodes.n; i++) {
        const hl_node *k = &g->nodes.at[i];
        n += (k->op == hl_op_get(HL_OP_ID_matmul) || k->op == hl_op_get(HL_OP_ID_embedding_vjp)) &&
             k->n_in > 2 && k->in[2] != HL_NONE;
    }
    return n;
}

static void random_graph(uint64_t seed)
{
    char name[32];
    sketch k;
    cr_assert_eq(sketch_new(seed, 6 + (int)(seed % 30), true, false, &k), HL_OK);
    subject s = {.g = k.g};
    s.loss = sketch_loss(&k, seed % 4 != 0);
    for (int i = 0; i < 3; i++)
        s.outs[s.n_outs++] = sketch_pick(&k);
    snprintf(name, sizeof name, "graph %d", (int)seed);
    both b = both_of(&s);
    fused_norms +=
        count_op(b.fused, HL_OP_ID_residual_norm) - count_op(b.plain, HL_OP_ID_residual_norm);
    fused_losses += count_op(b.fused, HL_OP_ID_lm_loss_grad);
    fused_sums += addends(b.fused) - addends(b.plain);
    both_compare(&b, name);
    k.g = NULL; /* freed with the pair */
    both_free(&b);
    sketch_free(&k);
}

Test(fuse, random_graphs, .timeout = 300)
{
    for (uint64_t seed = 0; seed < 300; seed++)
        random_graph(seed);
    fprintf(stderr, "%d layernorms, %d losses, %d sums fused\n", fused_norms, fused_losses,
            fused_sums);
    cr_expect(fused_norms > 100 && fused_losses > 50 && fused_sums > 200);
}

/* --- memory --- */

Test(fuse, every_allocation_may_fail)
{
    for (int backward = 0; backward < 2; backward++) {
        subject s = subject_new();
        transformer(&s, 2, true);
        hl_id w = s.outs[0], grad, outs[2], map[512];
        if (backward)
            cr_assert_eq(hl_pass_grad(s.g, s.loss, &w, 1, &grad), HL_OK);
        const int64_t live = hl_mem_get_stats().live_bytes;
        int n_failed = 0;
        for (int64_t n = 0;; n++) {
            hl_graph *fused = NULL;
            outs[0] = s.loss;
            outs[1] = backward ? grad : s.loss;
            hl_mem_fail_after(n);
            hl_status st = backward ? hl_pass_fuse_backward(s.g, outs, 2, &fused, map)
                                    : hl_pass_fuse_forward(s.g, outs, 2, &fused, map);
            hl_mem_fail_after(-1);
            if (st == HL_OK)
                cr_assert_eq(hl_graph_check(fused), HL_OK);
            for (size_t v = 0; st == HL_OK && v < s.g->values.n; v++)
                if (s.g->values.at[v].name)
                    cr_assert_str_eq(hl_graph_value(fused, map[v])->name, s.g->values.at[v].name);
            hl_graph_free(fused);
            cr_assert_eq(hl_mem_get_stats().live_bytes, live, "allocation %d leaks", (int)n);
            if (st == HL_OK)
                break;
            n_failed++;
            cr_assert(st == HL_E_NOMEM && outs[0] == s.loss, "allocation %d: %s", (int)n,
                      hl_err_message());
        }
        cr_assert_gt(n_failed, 10);
        hl_graph_free(s.g);
    }
}
