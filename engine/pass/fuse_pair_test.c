#include "engine/pass/fuse_pair_test.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPS 0x1p-24

hl_id op1(hl_graph *g, hl_op_id op, hl_id a)
{
    return hl_g_op1(g, op, a);
}

subject subject_new(void)
{
    subject s = {.loss = HL_NONE};
    cr_assert_eq(hl_graph_new(&s.g), HL_OK);
    return s;
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

/* Appends the gradients of all states; the ids of everything that is wanted. */
static hl_id *differentiate(hl_graph *g, const subject *s, const hl_id *map, int *n)
{
    hl_id *wrt, *out;
    const int n_wrt = states_of(g, &wrt);
    hl_id *grads = malloc(((size_t)n_wrt + 1) * sizeof *grads);
    if (s->loss != HL_NONE)
        cr_assert_eq(hl_pass_grad(g, map ? map[s->loss] : s->loss, wrt, n_wrt, grads), HL_OK, "%s",
                     hl_err_message());
    out = malloc(((size_t)s->n_outs + (size_t)n_wrt + 2) * sizeof *out);
    *n = 0;
    for (int i = 0; i < s->n_outs; i++)
        out[(*n)++] = map ? map[s->outs[i]] : s->outs[i];
    if (s->loss != HL_NONE)
        out[(*n)++] = map ? map[s->loss] : s->loss;
    for (int i = 0; i < n_wrt; i++)
        if (s->loss != HL_NONE && grads[i] != HL_NONE)
            out[(*n)++] = grads[i];
    free(wrt);
    free(grads);
    return out;
}

both both_of(const subject *s)
{
    both b = {0};
    int n_plain;
    hl_graph *fused;
    hl_id wanted[SUBJECT_OUTS + 1], *map = malloc((s->g->values.n + 1) * sizeof *map);
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

void both_free(both *b)
{
    hl_graph_free(b->plain);
    hl_graph_free(b->fused);
    hl_graph_free(b->forward);
    free(b->plain_out);
    free(b->fused_out);
}

double largest_difference(const double *a, const double *b, int64_t n, double *size)
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

void both_compare(const both *b, const char *what)
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
        const double d = largest_difference(f64.value[i], p64.value[i], n, &size);
        cr_expect(d <= 1e-12 * size, "%s, output %d: off by %g of %g in double", what, i, d, size);
        const double plain = largest_difference(p32.value[i], p64.value[i], n, &size);
        const double fused = largest_difference(f32.value[i], p64.value[i], n, &size);
        cr_expect(fused <= 2 * plain + 64 * EPS * size,
                  "%s, output %d: off by %g of %g in float, unfused by %g", what, i, fused, size,
                  plain);
    }
    results_free(&p64);
    results_free(&f64);
    results_free(&p32);
    results_free(&f32);
}

hl_id dropout_of(hl_graph *g, hl_id a)
{
    hl_attrs attrs = hl_op_defaults(hl_op_get(HL_OP_ID_dropout));
    attrs.v[0].f = 0.25;
    return hl_graph_append(g, hl_op_get(HL_OP_ID_dropout), &a, 1, &attrs);
}

hl_id layernorm_of(hl_graph *g, hl_id x, hl_id gamma, hl_id beta)
{
    hl_id in[3] = {x, gamma, beta};
    return hl_graph_append(g, hl_op_get(HL_OP_ID_layernorm), in, 3, NULL);
}
