/* Fused and unfused graphs: the same numbers, the same random bits, the nodes that were to go gone. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/exec/trial_test.h"
#include "engine/pass/pass.h"

enum { MOST = 8 }; /* outputs of a case */
#define EPS 0x1p-24

static hl_id op1(hl_graph *g, hl_op_id op, hl_id a)
{
    return hl_g_op1(g, op, a);
}

/* --- one graph both ways --- */

/* A recorded graph with what is wanted of it. */
typedef struct subject {
    hl_graph *g;
    hl_id outs[MOST];
    int n_outs;
    hl_id loss;
} subject;

static subject subject_new(void)
{
    subject s = {.loss = HL_NONE};
    cr_assert_eq(hl_graph_new(&s.g), HL_OK);
    return s;
}

/* Outputs, loss and the gradients of all states, of the graph as it is and of the fused one. */
typedef struct both {
    hl_graph *plain, *fused;
    hl_graph *forward; /* after fusion, before differentiation */
    hl_id *plain_out, *fused_out;
    int n;
} both;

static hl_id *every_output(const subject *s, const hl_id *map, const hl_graph *g, const hl_id *wrt,
                           int n_wrt, const hl_id *grads, int *n)
{
    hl_id *out = malloc(((size_t)s->n_outs + (size_t)n_wrt + 2) * sizeof *out);
    *n = 0;
    for (int i = 0; i < s->n_outs; i++)
        out[(*n)++] = map ? map[s->outs[i]] : s->outs[i];
    if (s->loss != HL_NONE)
        out[(*n)++] = map ? map[s->loss] : s->loss;
    for (int i = 0; i < n_wrt; i++)
        if (s->loss != HL_NONE && grads[i] != HL_NONE)
            out[(*n)++] = grads[i];
    (void)g;
    (void)wrt;
    return out;
}

static int states_of(const hl_graph *g, hl_id **out)
{
    int n = 0;
    *out = malloc((g->values.n + 1) * sizeof **out);
    for (size_t v = 0; v < g->values.n; v++)
        if (g->values.at[v].kind == HL_VALUE_STATE)
            (*out)[n++] = (hl_id)v;
    return n;
}

static hl_id *differentiate(hl_graph *g, const subject *s, const hl_id *map, int *n)
{
    hl_id *wrt, *out;
    const int n_wrt = states_of(g, &wrt);
    hl_id *grads = malloc(((size_t)n_wrt + 1) * sizeof *grads);
    if (s->loss != HL_NONE)
        cr_assert_eq(hl_pass_grad(g, map ? map[s->loss] : s->loss, wrt, n_wrt, grads), HL_OK, "%s",
                     hl_err_message());
    out = every_output(s, map, g, wrt, n_wrt, grads, n);
    free(wrt);
    free(grads);
    return out;
}

static both both_of(const subject *s)
{
    both b = {0};
    int n_plain;
    hl_graph *fused;
    hl_id wanted[MOST + 1], *map = malloc((s->g->values.n + 1) * sizeof *map);
    memcpy(wanted, s->outs, sizeof s->outs);
    wanted[s->n_outs] = s->loss;
    const int n = s->n_outs + (s->loss != HL_NONE);
    /* the fused way first: the other differentiates the graph itself */
    cr_assert_eq(hl_pass_fuse_forward(s->g, wanted, n, &fused, map), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_graph_check(fused), HL_OK, "%s", hl_err_message());
    for (int i = 0; i < s->n_outs; i++)
        cr_assert_eq(wanted[i], map[s->outs[i]]);
    hl_id *identity = malloc((fused->values.n + 1) * sizeof *identity);
    hl_id *all = malloc((fused->values.n + 1) * sizeof *all);
    for (size_t v = 0; v < fused->values.n; v++)
        all[v] = (hl_id)v;
    cr_assert_eq(hl_graph_extract(fused, all, (int)fused->values.n, &b.forward, identity), HL_OK);
    b.fused_out = differentiate(fused, s, map, &b.n);
    free(identity);
    free(all);
    free(map);
    map = malloc((fused->values.n + 1) * sizeof *map);
    cr_assert_eq(hl_pass_fuse_backward(fused, b.fused_out, b.n, &b.fused, map), HL_OK, "%s",
                 hl_err_message());
    cr_assert_eq(hl_graph_check(b.fused), HL_OK, "%s", hl_err_message());
    hl_graph_free(fused);
    free(map);
    b.plain = s->g;
    b.plain_out = differentiate(s->g, s, NULL, &n_plain);
    cr_assert_eq(n_plain, b.n, "as many gradients");
    return b;
}

static void both_free(both *b)
{
    hl_graph_free(b->plain);
    hl_graph_free(b->fused);
    hl_graph_free(b->forward);
    free(b->plain_out);
    free(b->fused_out);
}

/* Largest difference, and largest size of b. */
static double difference(const double *a, const double *b, int64_t n, double *size)
{
    double d = 0;
    *size = 0;
    for (int64_t i = 0; i < n; i++) {
        const double e = fabs(a[i] - b[i]);
        d = e > d || e != e ? e : d;
        *size = fabs(b[i]) > *size ? fabs(b[i]) : *size;
    }
    return d;
}

/* In double: equal to 1e-12. In float: the fused result is at most twice as far from the double one
 * as the unfused is, and a few roundings. */
static void compare(const both *b, const char *what)
{
    results p64, f64, p32, f32;
    cr_assert_eq(evaluate(b->plain, b->plain_out, b->n, true, &p64), HL_OK, "%s", hl_err_message());
    cr_assert_eq(evaluate(b->fused, b->fused_out, b->n, true, &f64), HL_OK, "%s", hl_err_message());
    cr_assert_eq(evaluate(b->plain, b->plain_out, b->n, false, &p32), HL_OK);
    cr_assert_eq(evaluate(b->fused, b->fused_out, b->n, false, &f32), HL_OK);
    for (int i = 0; i < b->n; i++) {
        double size;
        cr_assert_eq(p64.count[i], f64.count[i], "%s, output %d", what, i);
        const int64_t n = p64.count[i];
        const double d = difference(f64.value[i], p64.value[i], n, &size);
        cr_expect(d <= 1e-12 * size, "%s, output %d: off by %g of %g in double", what, i, d, size);
        const double plain = difference(p32.value[i], p64.value[i], n, &size);
        const double fused = difference(f32.value[i], p64.value[i], n, &size);
        cr_expect(fused <= 2 * plain + 64 * EPS * size,
                  "%s, output %d: off by %g of %g in float, unfused by %g", what, i, fused, size,
                  plain);
    }
    results_free(&p64);
    results_free(&f64);
    results_free(&p32);
    results_free(&f32);
}

/* --- the forward pass: what surrounds layernorm(x + dropout(a)) --- */

typedef struct parts {
    hl_id x, a, gamma, beta, drop, sum, y;
} parts;

static hl_id dropout(hl_graph *g, hl_id a)
{
    hl_attrs attrs = hl_op_defaults(hl_op_get(HL_OP_ID_dropout));
    attrs.v[0].f = 0.25;
    return hl_graph_append(g, hl_op_get(HL_OP_ID_dropout), &a, 1, &attrs);
}

static hl_id layernorm(hl_graph *g, hl_id x, hl_id gamma, hl_id beta)
{
    hl_id in[3] = {x, gamma, beta};
    return hl_graph_append(g, hl_op_get(HL_OP_ID_layernorm), in, 3, NULL);
}

static void leaves_of(subject *s, parts *p)
{
    p->x = hl_graph_state(s->g, "x", F32(3, 6));
    p->a = op1(s->g, HL_OP_ID_tanh, hl_graph_state(s->g, "a", F32(3, 6)));
    p->gamma = hl_graph_state(s->g, "gamma", F32(6));
    p->beta = hl_graph_state(s->g, "beta", F32(6));
}

/* The loss reads y and whatever else is an output. */
static void finish(subject *s, hl_id y)
{
    s->loss = hl_g_sum(s->g, op1(s->g, HL_OP_ID_tanh, y), 0, false);
    for (int i = 0; i < s->n_outs; i++)
        s->loss = hl_g_add(s->g, s->loss,
                           hl_g_sum(s->g, op1(s->g, HL_OP_ID_sigmoid, s->outs[i]), 0, false));
    cr_assert_eq(s->g->status, HL_OK, "%s", hl_err_message());
}

static void usual(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout(s->g, p->a);
    p->sum = hl_g_add(s->g, p->x, p->drop);
    p->y = layernorm(s->g, p->sum, p->gamma, p->beta);
    finish(s, p->y);
}

static void the_other_way_round(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout(s->g, p->a);
    p->sum = hl_g_add(s->g, p->drop, p->x);
    finish(s, layernorm(s->g, p->sum, p->gamma, p->beta));
}

static void without_dropout(subject *s, parts *p)
{
    leaves_of(s, p);
    p->sum = hl_g_add(s->g, p->x, p->a);
    finish(s, layernorm(s->g, p->sum, p->gamma, p->beta));
}

static void read_before(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout(s->g, p->a);
    p->sum = hl_g_add(s->g, p->x, p->drop);
    s->outs[s->n_outs++] = op1(s->g, HL_OP_ID_square, p->sum);
    finish(s, layernorm(s->g, p->sum, p->gamma, p->beta));
}

static void read_after(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout(s->g, p->a);
    p->sum = hl_g_add(s->g, p->x, p->drop);
    p->y = layernorm(s->g, p->sum, p->gamma, p->beta);
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
    p->drop = dropout(s->g, p->a);
    p->sum = hl_g_add(s->g, p->x, p->drop);
    p->y = layernorm(s->g, p->sum, p->gamma, p->beta);
    finish(s, hl_g_mul(s->g, p->drop, p->y));
}

static void dropout_on_both_sides(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout(s->g, p->a);
    p->sum = hl_g_add(s->g, dropout(s->g, p->x), p->drop);
    finish(s, layernorm(s->g, p->sum, p->gamma, p->beta));
}

static void twice_the_same(subject *s, parts *p)
{
    leaves_of(s, p);
    p->sum = hl_g_add(s->g, p->x, p->x);
    finish(s, layernorm(s->g, p->sum, p->gamma, p->beta));
}

static void one_dropped_onto_itself(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout(s->g, p->x);
    p->sum = hl_g_add(s->g, p->x, p->drop);
    finish(s, layernorm(s->g, p->sum, p->gamma, p->beta));
}

static void the_same_dropout_twice(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout(s->g, p->x);
    p->sum = hl_g_add(s->g, p->drop, p->drop);
    finish(s, layernorm(s->g, p->sum, p->gamma, p->beta));
}

static void two_norms(subject *s, parts *p)
{
    leaves_of(s, p);
    p->drop = dropout(s->g, p->a);
    p->sum = hl_g_add(s->g, p->x, p->drop);
    hl_id one = layernorm(s->g, p->sum, p->gamma, p->beta);
    finish(s, hl_g_mul(s->g, one, layernorm(s->g, p->sum, p->beta, p->gamma)));
}

static void broadcast_sum(subject *s, parts *p)
{
    leaves_of(s, p);
    p->sum = hl_g_add(s->g, p->x, dropout(s->g, p->gamma));
    finish(s, layernorm(s->g, p->sum, p->gamma, p->beta));
}

/* The gain of the layernorm is the very sum that it normalises. */
static void sum_as_gain(subject *s, parts *p)
{
    leaves_of(s, p);
    p->sum = hl_g_add(s->g, p->gamma, dropout(s->g, p->beta));
    finish(s, layernorm(s->g, p->sum, p->sum, p->beta));
}

static void sum_as_shift(subject *s, parts *p)
{
    leaves_of(s, p);
    p->sum = hl_g_add(s->g, p->gamma, p->beta);
    finish(s, layernorm(s->g, p->sum, p->gamma, p->sum));
}

/* The gain is a sum that another layernorm is about to make. */
static void gain_of_another(subject *s, parts *p)
{
    leaves_of(s, p);
    p->sum = hl_g_add(s->g, p->gamma, dropout(s->g, p->beta));
    hl_id first = layernorm(s->g, hl_g_add(s->g, p->x, p->a), p->sum, p->beta);
    finish(s, hl_g_mul(s->g, first, layernorm(s->g, p->sum, p->gamma, p->beta)));
}

/* Sums of sums; the second is read by a layernorm before the first is. */
static void norms_in_the_other_order(subject *s, parts *p)
{
    leaves_of(s, p);
    hl_id inner = hl_g_add(s->g, p->x, dropout(s->g, p->a));
    p->sum = hl_g_add(s->g, inner, dropout(s->g, p->x));
    hl_id outer = layernorm(s->g, p->sum, p->gamma, p->beta);
    finish(s, hl_g_mul(s->g, outer, layernorm(s->g, inner, p->gamma, p->beta)));
}

/* residual stream of a model that normalises first: three blocks and a last layernorm */
static void norm_first(subject *s, parts *p)
{
    leaves_of(s, p);
    hl_id x = p->x, w = hl_graph_state(s->g, "w", F32(6, 6));
    for (int i = 0; i < 3; i++) {
        hl_id h = hl_g_matmul(s->g, layernorm(s->g, x, p->gamma, p->beta), false, w, i == 1);
        x = hl_g_add(s->g, x, dropout(s->g, op1(s->g, HL_OP_ID_gelu, h)));
    }
    finish(s, layernorm(s->g, x, p->gamma, p->beta));
}

/* and one that normalises last */
static void norm_last(subject *s, parts *p)
{
    leaves_of(s, p);
    hl_id x = p->x, w = hl_graph_state(s->g, "w", F32(6, 6));
    for (int i = 0; i < 3; i++) {
        hl_id h = op1(s->g, HL_OP_ID_tanh, hl_g_matmul(s->g, x, false, w, i == 1));
        x = layernorm(s->g, hl_g_add(s->g, dropout(s->g, h), x), p->gamma, p->beta);
    }
    finish(s, x);
}

static const struct {
    const char *name;
    void (*build)(subject *s, parts *p);
    int residual_norm, layernorm, add, dropout; /* left in the forward graph, less finish()'s adds */
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
        const int adds = s.n_outs && s.outs[0] != p.drop && s.outs[0] != p.sum ? s.n_outs : 0;
        const size_t n_taps = s.g->taps.n;
        both b = both_of(&s);
        const char *name = forward_cases[i].name;
        cr_expect_eq(count_op(b.forward, HL_OP_ID_residual_norm), forward_cases[i].residual_norm,
                     "%s: %d fused", name, count_op(b.forward, HL_OP_ID_residual_norm));
        cr_expect_eq(count_op(b.forward, HL_OP_ID_layernorm), forward_cases[i].layernorm, "%s",
                     name);
        cr_expect_eq(count_op(b.forward, HL_OP_ID_add), forward_cases[i].add + adds, "%s", name);
        cr_expect_eq(count_op(b.forward, HL_OP_ID_dropout), forward_cases[i].dropout, "%s", name);
        cr_expect(b.forward->taps.n == n_taps && b.fused->taps.n == n_taps, "%s: taps", name);
        compare(&b, name);
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
    hl_id zero = hl_g_scale(s.g, p.x, 0), first = dropout(s.g, p.a);
    hl_id one = hl_g_add(s.g, zero, first), n1 = layernorm(s.g, one, p.gamma, p.beta);
    hl_id two = hl_g_add(s.g, dropout(s.g, p.a), hl_g_scale(s.g, n1, 0));
    hl_id n2 = layernorm(s.g, two, p.gamma, p.beta);
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
        cr_expect(memcmp(r.value[i], f.value[i], (size_t)r.count[i] * sizeof(double)) == 0, "%d", i);
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
        /* the table's gradient: scattered onto the output layer's; the residual's: onto a product */
        cr_expect_eq(count_op(b.plain, HL_OP_ID_embedding_vjp), 1);
        cr_expect_eq(count_op(b.plain, HL_OP_ID_add), 3);
        cr_expect_eq(count_op(b.fused, HL_OP_ID_add), 1, "only the forward sum is left");
        cr_expect_eq(count_op(b.fused, HL_OP_ID_embedding_vjp), 1);
        compare(&b, k & 1 ? "scaled" : "tied");
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
        double size, d = difference(b.value[i], a.value[i], a.count[i], &size);
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
    hl_id loss = lm_loss(g, h, w, HL_NONE, labels), c = op1(g, HL_OP_ID_exp, loss), outs[3] = {loss};
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
        {"x + p", 0, 1},     {"p + x", 0, 1},  {"p + q", 0, 2}, {"a chain", 0, 4},
        {"read twice", 1, 1}, {"tapped", 1, 1}, {"p + p", 1, 1}, {"broadcast", 1, 1},
        {"addend there", 1, 2}}; /* and one that nobody reads */
    for (int k = 0; k < 9; k++) {
        subject s = subject_new();
        s.outs[s.n_outs++] = chain(&s, k);
        both b = both_of(&s);
        cr_expect_eq(count_op(b.fused, HL_OP_ID_add), cases[k].add, "%s: %d adds", cases[k].name,
                     count_op(b.fused, HL_OP_ID_add));
        cr_expect_eq(count_op(b.fused, HL_OP_ID_matmul), cases[k].matmul, "%s", cases[k].name);
        compare(&b, cases[k].name);
        both_free(&b);
    }
    for (int k = 0; k < 9; k++) { /* the same below a loss */
        subject s = subject_new();
        hl_id y = chain(&s, k);
        s.loss = hl_g_sum(s.g, op1(s.g, HL_OP_ID_tanh, y), 0, false);
        both b = both_of(&s);
        compare(&b, cases[k].name);
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
        hl_id part = hl_g_sum(g, op1(g, HL_OP_ID_tanh, embedding(g, table, whole(g, names[i], 4 + i))),
                              0, false);
        y = i ? hl_g_add(g, y, part) : part;
    }
    s.loss = y;
    both b = both_of(&s);
    cr_expect_eq(count_op(b.fused, HL_OP_ID_add), 2, "the forward sums alone are left");
    cr_expect_eq(count_op(b.fused, HL_OP_ID_embedding_vjp), 3);
    compare(&b, "three look-ups");
    both_free(&b);
}

/* --- a transformer by hand --- */

enum { BATCH = 2, TIME = 5, WIDE = 8, VOCABULARY = 11 };

static hl_id linear(hl_graph *g, hl_id x, const char *w, const char *b, int64_t out, int act)
{
    const hl_type t = *hl_graph_type(g, x);
    hl_id in[3] = {x, hl_graph_state(g, w, F32(out, t.dim[t.rank - 1])),
                   hl_graph_state(g, b, F32(out))};
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_linear));
    a.v[0].i = act;
    return hl_graph_append(g, hl_op_get(HL_OP_ID_linear), in, 3, &a);
}

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
    return layernorm(g, x, hl_graph_state(g, name, F32(WIDE)), hl_graph_state(g, beta, F32(WIDE)));
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
        h = dropout(g, linear(g, h, n[1], "ob", WIDE, HL_ACT_NONE));
        x = hl_g_add(g, x, h);
        if (!norm_goes_first)
            x = norm_of(g, x, n[0]);
        cr_assert_eq(hl_graph_tap(g, "residual", x, HL_TAP_TOKEN), HL_OK);
        h = linear(g, norm_goes_first ? norm_of(g, x, n[2]) : x, n[3], "ub", 2 * WIDE, HL_ACT_GELU);
        h = dropout(g, linear(g, h, n[4], "db", WIDE, HL_ACT_NONE));
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
        compare(&b, first ? "normalises first" : "normalises last");
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
    fused_norms += count_op(b.fused, HL_OP_ID_residual_norm) -
                   count_op(b.plain, HL_OP_ID_residual_norm);
    fused_losses += count_op(b.fused, HL_OP_ID_lm_loss_grad);
    fused_sums += addends(b.fused) - addends(b.plain);
    compare(&b, name);
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
