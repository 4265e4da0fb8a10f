/* Fusion before differentiation: the same numbers, the same random bits, the nodes that were to go
 * gone. */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/pass/fuse_pair_test.h"

/* --- the forward pass: what surrounds layernorm(x + dropout(a)) --- */

typedef struct parts {
    hl_id x, a, gamma, beta, drop, sum, y;
} parts;

static void leaves_of(subject *s, parts *p)
{
    p->x = hl_graph_state(s->g, "x", F32(3, 6));
    p->a = op1(s->g, HL_OP_ID_tanh, hl_graph_state(s->g, "a", F32(3, 6)));
    p->gamma = hl_graph_state(s->g, "gamma", F32(6));
    p->beta = hl_graph_state(s->g, "beta", F32(6));
}

static int adds_of_loss; /* of the last finish() */

/* The loss reads y and whatever else is an output. */
static void finish(subject *s, hl_id y)
{
    adds_of_loss = s->n_outs;
    s->loss = hl_g_sum(s->g, op1(s->g, HL_OP_ID_tanh, y), 0, false);
    for (int i = 0; i < s->n_outs; i++)
        s->loss = hl_g_add(s->g, s->loss,
                           hl_g_sum(s->g, op1(s->g, HL_OP_ID_sigmoid, s->outs[i]), 0, false));
    cr_assert_eq(s->g->status, HL_OK, "%s", hl_err_message());
}

static void usual(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout_of(s->g, p->a);
    p->sum = hl_g_add(s->g, p->x, p->drop);
    p->y = layernorm_of(s->g, p->sum, p->gamma, p->beta);
    finish(s, p->y);
}

static void the_other_way_round(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout_of(s->g, p->a);
    p->sum = hl_g_add(s->g, p->drop, p->x);
    finish(s, layernorm_of(s->g, p->sum, p->gamma, p->beta));
}

static void without_dropout(subject *s, parts *p)
{
    leaves_of(s, p);
    p->sum = hl_g_add(s->g, p->x, p->a);
    finish(s, layernorm_of(s->g, p->sum, p->gamma, p->beta));
}

static void read_before(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout_of(s->g, p->a);
    p->sum = hl_g_add(s->g, p->x, p->drop);
    s->outs[s->n_outs++] = op1(s->g, HL_OP_ID_square, p->sum);
    finish(s, layernorm_of(s->g, p->sum, p->gamma, p->beta));
}

static void read_after(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout_of(s->g, p->a);
    p->sum = hl_g_add(s->g, p->x, p->drop);
    p->y = layernorm_of(s->g, p->sum, p->gamma, p->beta);
    finish(s, hl_g_mul(s->g, p->sum, p->y));
}

static void sum_tapped(subject *s, parts *p)
{
    usual(s, p);
    cr_assert_eq(hl_graph_tap(s->g, "sum", p->sum, HL_TAP_TOKEN), HL_OK);
}

static void branch_tapped(subject *s, parts *p)
{
    usual(s, p);
    cr_assert_eq(hl_graph_tap(s->g, "branch", p->a, HL_TAP_TOKEN), HL_OK);
}

static void dropout_tapped(subject *s, parts *p)
{
    usual(s, p);
    cr_assert_eq(hl_graph_tap(s->g, "dropped", p->drop, HL_TAP_TOKEN), HL_OK);
}

static void dropout_wanted(subject *s, parts *p)
{
    usual(s, p);
    s->outs[s->n_outs++] = p->drop;
}

static void sum_and_norm_wanted(subject *s, parts *p)
{
    usual(s, p);
    s->outs[s->n_outs++] = p->sum;
    s->outs[s->n_outs++] = p->y;
    s->outs[s->n_outs++] = p->y + 1; /* mean */
    s->outs[s->n_outs++] = p->y + 2; /* 1 / deviation */
}

static void dropout_read_twice(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout_of(s->g, p->a);
    p->sum = hl_g_add(s->g, p->x, p->drop);
    p->y = layernorm_of(s->g, p->sum, p->gamma, p->beta);
    finish(s, hl_g_mul(s->g, p->drop, p->y));
}

static void dropout_on_both_sides(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout_of(s->g, p->a);
    p->sum = hl_g_add(s->g, dropout_of(s->g, p->x), p->drop);
    finish(s, layernorm_of(s->g, p->sum, p->gamma, p->beta));
}

static void twice_the_same(subject *s, parts *p)
{
    leaves_of(s, p);
    p->sum = hl_g_add(s->g, p->x, p->x);
    finish(s, layernorm_of(s->g, p->sum, p->gamma, p->beta));
}

static void one_dropped_onto_itself(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout_of(s->g, p->x);
    p->sum = hl_g_add(s->g, p->x, p->drop);
    finish(s, layernorm_of(s->g, p->sum, p->gamma, p->beta));
}

static void the_same_dropout_twice(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout_of(s->g, p->x);
    p->sum = hl_g_add(s->g, p->drop, p->drop);
    finish(s, layernorm_of(s->g, p->sum, p->gamma, p->beta));
}

static void two_norms(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout_of(s->g, p->a);
    p->sum = hl_g_add(s->g, p->x, p->drop);
    hl_id one = layernorm_of(s->g, p->sum, p->gamma, p->beta);
    finish(s, hl_g_mul(s->g, one, layernorm_of(s->g, p->sum, p->beta, p->gamma)));
}

static void broadcast_sum(subject *s, parts *p)
{
    leaves_of(s, p);
    p->sum = hl_g_add(s->g, p->x, dropout_of(s->g, p->gamma));
    finish(s, layernorm_of(s->g, p->sum, p->gamma, p->beta));
}

/* The gain of the layernorm is the very sum that it normalises. */
static void sum_as_gain(subject *s, parts *p)
{
    leaves_of(s, p);
    p->sum = hl_g_add(s->g, p->gamma, dropout_of(s->g, p->beta));
    finish(s, layernorm_of(s->g, p->sum, p->sum, p->beta));
}

static void sum_as_shift(subject *s, parts *p)
{
    leaves_of(s, p);
    p->sum = hl_g_add(s->g, p->gamma, p->beta);
    finish(s, layernorm_of(s->g, p->sum, p->gamma, p->sum));
}

/* The gain is a sum that another layernorm is about to make. */
static void gain_of_another(subject *s, parts *p)
{
    leaves_of(s, p);
    p->sum = hl_g_add(s->g, p->gamma, dropout_of(s->g, p->beta));
    hl_id first = layernorm_of(s->g, hl_g_add(s->g, p->x, p->a), p->sum, p->beta);
    finish(s, hl_g_mul(s->g, first, layernorm_of(s->g, p->sum, p->gamma, p->beta)));
}

/* Sums of sums; the second is read by a layernorm before the first is. */
static void norms_in_the_other_order(subject *s, parts *p)
{
    leaves_of(s, p);
    hl_id inner = hl_g_add(s->g, p->x, dropout_of(s->g, p->a));
    p->sum = hl_g_add(s->g, inner, dropout_of(s->g, p->x));
    hl_id outer = layernorm_of(s->g, p->sum, p->gamma, p->beta);
    finish(s, hl_g_mul(s->g, outer, layernorm_of(s->g, inner, p->gamma, p->beta)));
}

/* residual stream of a model that normalises first: three blocks and a last layernorm */
static void norm_first(subject *s, parts *p)
{
    leaves_of(s, p);
    hl_id x = p->x, w = hl_graph_state(s->g, "w", F32(6, 6));
    for (int i = 0; i < 3; i++) {
        hl_id h = hl_g_matmul(s->g, layernorm_of(s->g, x, p->gamma, p->beta), false, w, i == 1);
        x = hl_g_add(s->g, x, dropout_of(s->g, op1(s->g, HL_OP_ID_gelu, h)));
    }
    finish(s, layernorm_of(s->g, x, p->gamma, p->beta));
}

/* and one that normalises last */
static void norm_last(subject *s, parts *p)
{
    leaves_of(s, p);
    hl_id x = p->x, w = hl_graph_state(s->g, "w", F32(6, 6));
    for (int i = 0; i < 3; i++) {
        hl_id h = op1(s->g, HL_OP_ID_tanh, hl_g_matmul(s->g, x, false, w, i == 1));
        x = layernorm_of(s->g, hl_g_add(s->g, dropout_of(s->g, h), x), p->gamma, p->beta);
    }
    finish(s, x);
}

static const struct {
    const char *name;
    void (*build)(subject *s, parts *p);
    int residual_norm, layernorm, add,
        dropout; /* left in the forward graph, less finish()'s adds */
} forward_cases[] = {
    {"usual", usual, 1, 0, 0, 0},
    {"the other way round", the_other_way_round, 1, 0, 0, 0},
    {"without dropout", without_dropout, 1, 0, 0, 0},
    {"sum read before", read_before, 0, 1, 1, 1},
    {"sum read after", read_after, 1, 0, 0, 0},
    {"sum tapped", sum_tapped, 1, 0, 0, 0},
    {"branch tapped", branch_tapped, 1, 0, 0, 0},
    {"dropout tapped", dropout_tapped, 1, 0, 0, 1},
    {"dropout wanted", dropout_wanted, 1, 0, 0, 1},
    {"sum and norm wanted", sum_and_norm_wanted, 1, 0, 0, 0},
    {"dropout read twice", dropout_read_twice, 1, 0, 0, 1},
    {"dropout on both sides", dropout_on_both_sides, 1, 0, 0, 1},
    {"twice the same", twice_the_same, 1, 0, 0, 0},
    {"one dropped onto itself", one_dropped_onto_itself, 1, 0, 0, 0},
    {"the same dropout twice", the_same_dropout_twice, 1, 0, 0, 1},
    {"two norms", two_norms, 1, 1, 0, 0},
    {"broadcast sum", broadcast_sum, 0, 1, 1, 1},
    {"sum as gain", sum_as_gain, 0, 1, 1, 1},
    {"sum as shift", sum_as_shift, 0, 1, 1, 0},
    {"gain of another", gain_of_another, 1, 1, 1, 1},
    {"norms in the other order", norms_in_the_other_order, 1, 1, 1, 1},
    {"norm first", norm_first, 3, 1, 0, 0},
    {"norm last", norm_last, 3, 0, 0, 0},
};

Test(fuse, layernorm_of_a_sum_in_all_surroundings)
{
    for (size_t i = 0; i < sizeof forward_cases / sizeof forward_cases[0]; i++) {
        subject s = subject_new();
        parts p;
        forward_cases[i].build(&s, &p);
        const size_t n_taps = s.g->taps.n;
        both b = both_of(&s);
        const char *name = forward_cases[i].name;
        cr_expect_eq(count_op(b.forward, HL_OP_ID_residual_norm), forward_cases[i].residual_norm,
                     "%s: %d fused", name, count_op(b.forward, HL_OP_ID_residual_norm));
        cr_expect_eq(count_op(b.forward, HL_OP_ID_layernorm), forward_cases[i].layernorm, "%s",
                     name);
        cr_expect_eq(count_op(b.forward, HL_OP_ID_add), forward_cases[i].add + adds_of_loss, "%s",
                     name);
        cr_expect_eq(count_op(b.forward, HL_OP_ID_dropout), forward_cases[i].dropout, "%s", name);
        cr_expect(b.forward->taps.n == n_taps && b.fused->taps.n == n_taps, "%s: taps", name);
        both_compare(&b, name);
        both_free(&b);
    }
}

Test(fuse, taps_watch_the_same_numbers)
{
    subject s = subject_new();
    parts p;
    usual(&s, &p);
    hl_id watched[3] = {p.sum, p.drop, p.y}, ids[3], outs[1] = {s.loss};
    static const char *const names[] = {"sum", "drop", "y"};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(hl_graph_tap(s.g, names[i], watched[i], i ? HL_TAP_TOKEN : HL_TAP_SEQUENCE),
                     HL_OK);
    hl_graph *fused;
    hl_id map[64];
    cr_assert_eq(hl_pass_fuse_forward(s.g, outs, 1, &fused, map), HL_OK);
    cr_assert_eq(count_op(fused, HL_OP_ID_residual_norm), 1);
    for (int i = 0; i < 3; i++) {
        cr_assert_str_eq(fused->taps.at[i].name, names[i]);
        cr_assert_eq(fused->taps.at[i].rows, s.g->taps.at[i].rows);
        cr_assert_eq(fused->taps.at[i].value, map[watched[i]]);
        ids[i] = fused->taps.at[i].value;
    }
    results a, b;
    cr_assert_eq(evaluate(s.g, watched, 3, false, &a), HL_OK);
    cr_assert_eq(evaluate(fused, ids, 3, false, &b), HL_OK);
    for (int i = 0; i < 3; i++)
        cr_expect(memcmp(a.value[i], b.value[i], (size_t)a.count[i] * sizeof(double)) == 0, "%s",
                  names[i]);
    results_free(&a);
    results_free(&b);
    hl_graph_free(fused);
    hl_graph_free(s.g);
}

/* The masks of every dropout, seen as gradients and as sums onto zero; and what draws later. */
Test(fuse, random_bits_stay)
{
    subject s = subject_new();
    parts p;
    leaves_of(&s, &p);
    hl_id zero = hl_g_scale(s.g, p.x, 0), first = dropout_of(s.g, p.a);
    hl_id one = hl_g_add(s.g, zero, first), n1 = layernorm_of(s.g, one, p.gamma, p.beta);
    hl_id two = hl_g_add(s.g, dropout_of(s.g, p.a), hl_g_scale(s.g, n1, 0));
    hl_id n2 = layernorm_of(s.g, two, p.gamma, p.beta);
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_uniform));
    a.n_dims = 1;
    a.dims[0] = 9;
    hl_id noise = hl_graph_append(s.g, hl_op_get(HL_OP_ID_uniform), NULL, 0, &a);
    s.loss = hl_g_add(s.g, hl_g_sum(s.g, hl_g_add(s.g, one, two), 0, false),
                      hl_g_sum(s.g, n2, 0, false));
    hl_id outs[4] = {one, two, noise, s.loss}, plain[4] = {one, two, noise}, map[64], grad, fgrad;
    hl_graph *fused;
    cr_assert_eq(hl_pass_fuse_forward(s.g, outs, 4, &fused, map), HL_OK);
    cr_assert_eq(count_op(fused, HL_OP_ID_dropout), 0);
    cr_assert_eq(hl_pass_grad(s.g, s.loss, &p.a, 1, &grad), HL_OK);
    cr_assert_eq(hl_pass_grad(fused, outs[3], &map[p.a], 1, &fgrad), HL_OK);
    cr_assert_eq(fused->n_streams, s.g->n_streams);
    plain[3] = grad;
    outs[3] = fgrad;
    results r, f;
    cr_assert_eq(evaluate(s.g, plain, 4, false, &r), HL_OK);
    cr_assert_eq(evaluate(fused, outs, 4, false, &f), HL_OK);
    for (int i = 0; i < 3; i++)
        cr_expect(memcmp(r.value[i], f.value[i], (size_t)r.count[i] * sizeof(double)) == 0, "%d",
                  i);
    int dropped[2] = {0, 0};
    for (int64_t k = 0; k < r.count[3]; k++) {
        cr_expect_eq(r.value[3][k] == 0, f.value[3][k] == 0, "gradient %d", (int)k);
        for (int i = 0; i < 2; i++)
            dropped[i] += r.value[i][k] == 0;
    }
    cr_expect(dropped[0] > 0 && dropped[0] < 18 && dropped[1] > 0 && dropped[1] < 18);
    cr_expect(memcmp(r.value[0], r.value[1], sizeof(double) * 18) != 0, "two streams");
    results_free(&r);
    results_free(&f);
    hl_graph_free(fused);
    hl_graph_free(s.g);
}

Test(fuse, leaves_lines_and_marks_come_along)
{
    subject s = subject_new();
    parts p;
    s.g->where = "m.lua:5";
    usual(&s, &p);
    int mark;
    s.g->values.at[p.x].data = &mark;
    hl_graph *fused;
    hl_id map[64], outs[1] = {s.loss};
    (void)hl_graph_input(s.g, "unread", F32(2));
    cr_assert_eq(hl_pass_fuse_forward(s.g, outs, 1, &fused, map), HL_OK);
    cr_assert_eq(hl_graph_value(fused, map[p.x])->data, &mark);
    cr_assert_str_eq(hl_graph_value(fused, map[p.gamma])->name, "gamma");
    cr_assert_eq(hl_graph_value(fused, map[p.gamma])->kind, HL_VALUE_STATE);
    cr_assert_str_eq(hl_graph_node_of(fused, map[p.y])->where, "m.lua:5");
    cr_assert_eq(map[p.drop], HL_NONE, "what was fused away is nowhere");
    cr_assert_neq(map[p.sum], HL_NONE);
    cr_assert_neq(map[s.g->values.n - 1], HL_NONE, "all leaves are kept");
    hl_graph_free(fused);
    hl_graph_free(s.g);
}
