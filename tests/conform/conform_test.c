#include "tests/conform/conform.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/team.h"
#include "engine/pass/pass.h"

/* --- forward --- */

static void forward(case_data *d)
{
    hl_graph *g;
    hl_id leaves[HL_CASE_INPUTS], first, outs[HL_MAX_OUT];
    cr_assert_eq(case_record(d, &g, leaves, &first), HL_OK, "%s, %s: %s", d->op->name, d->c->what,
                 hl_err_message());
    cr_expect_eq(hl_graph_check(g), HL_OK);
    const int n = n_outputs(g, first);
    double *want[HL_MAX_OUT], *got[HL_MAX_OUT], *again[HL_MAX_OUT];
    int64_t count[HL_MAX_OUT];
    for (int i = 0; i < n; i++)
        outs[i] = first + i;
    /* An update writes its state: what it wrote is compared in `updates` below. */
    cr_assert_eq(case_run(d, g, outs, n, true, NULL, want, count), HL_OK, "%s, %s: %s", d->op->name,
                 d->c->what, hl_err_message());
    cr_assert_eq(case_run(d, g, outs, n, false, NULL, got, count), HL_OK, "%s, %s: %s", d->op->name,
                 d->c->what, hl_err_message());
    for (int i = 0; i < n; i++) {
        double w = worst(d->op, got[i], want[i], count[i], tolerance(d->op));
        cr_expect(w <= 1, "%s, %s, output %d: error %.2f times the tolerance", d->op->name,
                  d->c->what, i, w);
    }
    /* the same bits with one, two and three workers */
    for (int workers = 2; workers <= 3 && !case_updates(d->op); workers++) {
        hl_team *team;
        cr_assert_eq(hl_team_new(workers, &team), HL_OK);
        cr_assert_eq(case_run(d, g, outs, n, false, team, again, count), HL_OK);
        for (int i = 0; i < n; i++) {
            bool exact = d->op != hl_op_get(HL_OP_ID_layernorm_vjp);
            cr_expect(!exact || memcmp(again[i], got[i], (size_t)count[i] * sizeof(double)) == 0,
                      "%s, %s, output %d: other bits with %d workers", d->op->name, d->c->what, i,
                      workers);
            free(again[i]);
        }
        hl_team_free(team);
    }
    for (int i = 0; i < n; i++) {
        free(want[i]);
        free(got[i]);
    }
    hl_graph_free(g);
}

Test(conform, forward, .timeout = 600)
{
    cr_assert(each_case(forward, HL_OK) > 0);
}

/* --- stray writes, inputs left alone, bits equal from run to run --- */

#define GUARD 1024

typedef struct guarded {
    unsigned char *base, *data;
    size_t bytes;
} guarded;

static guarded guarded_new(size_t bytes, const void *content)
{
    guarded b = {.bytes = bytes};
    b.base = hl_block_new(bytes + 2 * GUARD + 64);
    memset(b.base, 0xA5, bytes + 2 * GUARD + 64);
    b.data = b.base + GUARD;
    if (content)
        memcpy(b.data, content, bytes);
    return b;
}

static bool guards_intact(const guarded *b)
{
    for (size_t i = 0; i < GUARD; i++)
        if (b->base[i] != 0xA5 || b->data[b->bytes + i] != 0xA5)
            return false;
    return true;
}

static void guarded_free(guarded *b)
{
    hl_block_free(b->base, b->bytes + 2 * GUARD + 64);
}

static void run_guarded(case_data *d, const hl_call *call, hl_team *team, guarded *in, guarded *out,
                        guarded *scratch)
{
    const void *inputs[HL_CASE_INPUTS];
    void *outputs[HL_MAX_OUT];
    for (int i = 0; i < d->c->n_in; i++)
        inputs[i] = d->c->in[i].absent ? NULL : in[i].data;
    for (int i = 0; i < call->n_out; i++)
        outputs[i] = out[i].data;
    hl_exec x = {.team = team, .seed = 99, .step = 3};
    hl_op_run r = {
        .call = call, .in = inputs, .out = outputs, .scratch = scratch->data, .exec = &x};
    cr_expect_eq(d->op->cpu(&r), HL_OK, "%s, %s: %s", d->op->name, d->c->what, hl_err_message());
}

static void prepare(const case_data *d, hl_call *call)
{
    if (d->op->prepare)
        cr_assert_eq(d->op->prepare(call, false, 2, &call->state), HL_OK, "%s", hl_err_message());
}

static void stray_writes(case_data *d)
{
    hl_graph *g;
    hl_team *team;
    hl_id leaves[HL_CASE_INPUTS], first;
    cr_assert_eq(case_record(d, &g, leaves, &first), HL_OK);
    cr_assert_eq(hl_team_new(2, &team), HL_OK);
    hl_type in_types[HL_CASE_INPUTS], out_types[HL_MAX_OUT];
    hl_call call;
    hl_graph_call(g, hl_graph_node_of(g, first), in_types, out_types, &call);
    guarded in[HL_CASE_INPUTS], out[2][HL_MAX_OUT], scratch;
    prepare(d, &call);
    scratch = guarded_new(d->op->scratch ? d->op->scratch(&call, 2) : 0, NULL);
    for (int i = 0; i < d->c->n_in; i++)
        in[i] = guarded_new(d->c->in[i].absent ? 0 : hl_type_bytes(&d->type[i]), d->as_f32[i]);
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < call.n_out; i++) {
            out[k][i] = guarded_new(hl_type_bytes(&out_types[i]), NULL);
            /* rubbish that differs from run to run must not show in the result */
            memset(out[k][i].data, k ? 0x7F : 0x3C, out[k][i].bytes);
        }
        memset(scratch.data, k ? 0x7F : 0x3C, scratch.bytes);
        for (int i = 0; k && i < d->c->n_in; i++) /* states as they were */
            if (d->op->mutates && d->op->mutates(&call, i))
                memcpy(in[i].data, d->as_f32[i], in[i].bytes);
        if (k && d->op->release) {
            d->op->release(call.state);
            prepare(d, &call);
        }
        run_guarded(d, &call, team, in, out[k], &scratch);
    }
    for (int i = 0; i < d->c->n_in; i++) {
        bool written = d->op->mutates && d->op->mutates(&call, i);
        cr_expect(guards_intact(&in[i]), "%s, %s: wrote beside input %d", d->op->name, d->c->what,
                  i);
        cr_expect(written || d->c->in[i].absent ||
                      memcmp(in[i].data, d->as_f32[i], in[i].bytes) == 0,
                  "%s, %s: changed input %d", d->op->name, d->c->what, i);
        guarded_free(&in[i]);
    }
    for (int i = 0; i < call.n_out; i++) {
        cr_expect(guards_intact(&out[0][i]), "%s, %s: wrote beside output %d", d->op->name,
                  d->c->what, i);
        cr_expect(memcmp(out[0][i].data, out[1][i].data, out[0][i].bytes) == 0,
                  "%s, %s, output %d: other bits in the second run", d->op->name, d->c->what, i);
        guarded_free(&out[0][i]);
        guarded_free(&out[1][i]);
    }
    cr_expect(guards_intact(&scratch), "%s, %s: wrote beside its scratch", d->op->name, d->c->what);
    guarded_free(&scratch);
    if (d->op->release)
        d->op->release(call.state);
    hl_team_free(team);
    hl_graph_free(g);
}

Test(conform, stray_writes, .timeout = 600)
{
    cr_assert(each_case(stray_writes, HL_OK) > 0);
}

/* --- updates: the state after the float and the double update --- */

static void updates(case_data *d)
{
    if (!case_updates(d->op))
        return;
    hl_graph *g;
    hl_id leaves[HL_CASE_INPUTS], first;
    double *out[1];
    int64_t count[1];
    cr_assert_eq(case_record(d, &g, leaves, &first), HL_OK);
    cr_assert_eq(case_run(d, g, &first, 1, true, NULL, out, count), HL_OK);
    free(out[0]);
    cr_assert_eq(case_run(d, g, &first, 1, false, NULL, out, count), HL_OK);
    free(out[0]);
    for (int i = 0; i < d->c->n_in; i++) {
        const int64_t n = hl_type_count(&d->type[i]);
        double *got = malloc((size_t)n * sizeof *got);
        for (int64_t k = 0; k < n; k++)
            got[k] = d->type[i].dtype == HL_DTYPE_F64 ? ((double *)d->as_f32[i])[k]
                                                      : (double)((float *)d->as_f32[i])[k];
        double w = worst(d->op, got, d->as_f64[i], n, tolerance(d->op));
        cr_expect(w <= 1, "%s, %s, state %d: error %.2f times the tolerance", d->op->name,
                  d->c->what, i, w);
        free(got);
    }
    hl_graph_free(g);
}

Test(conform, updates)
{
    cr_assert(each_case(updates, HL_OK) > 0);
}

/* --- gradients --- */

/* Central difference of output 0 (a scalar) along direction v of input i; sets *kink when the two
 * one-sided slopes at two step sizes disagree. */
static double difference(evaluator *f, int input, const double *v, int64_t n, bool *kink)
{
    double *x = f->d->as_f64[input], slope[2] = {0, 0}, left = 0, right = 0;
    double *saved = malloc((size_t)n * sizeof *saved + 8);
    memcpy(saved, x, (size_t)n * sizeof *saved);
    cr_assert_eq(evaluate(f), HL_OK);
    const double middle = value_at(f, 0, 0);
    for (int s = 0; s < 2; s++) {
        const double h = s ? 1e-5 : 1e-4;
        double y[2];
        for (int side = 0; side < 2; side++) {
            for (int64_t k = 0; k < n; k++)
                x[k] = saved[k] + (side ? h : -h) * v[k];
            cr_assert_eq(evaluate(f), HL_OK);
            y[side] = value_at(f, 0, 0);
        }
        slope[s] = (y[1] - y[0]) / (2 * h);
        left = (middle - y[0]) / h;
        right = (y[1] - middle) / h;
    }
    memcpy(x, saved, (size_t)n * sizeof *saved);
    free(saved);
    const double size = fabs(slope[1]) + fabs(middle) + 1;
    *kink = fabs(left - right) > 1e-2 * size || fabs(slope[0] - slope[1]) > 1e-4 * size;
    return slope[1];
}

static int checked, kinks;

/* Differences are taken in double, by code that no instruction set has its own of: every element in
 * the plain run, three directions where another one is asked for and under sanitizers. */
static bool in_full(void)
{
    return !getenv("HOPLAB_ISA") && !getenv("HOPLAB_SANITIZED");
}

/* Compares the gradient programs (outputs 0..n-1 per input of `which`) with differences of f. */
static void compare_gradient(case_data *d, evaluator *f, evaluator *g64, evaluator *g32,
                             const int *which, int n, const char *order)
{
    cr_assert_eq(evaluate(g64), HL_OK);
    cr_assert_eq(evaluate(g32), HL_OK);
    for (int w = 0; w < n; w++) {
        const int64_t count = hl_type_count(&d->type[which[w]]);
        double size = 0, off = 0;
        for (int64_t k = 0; k < count; k++)
            size += value_at(g64, w, k) * value_at(g64, w, k);
        size = count ? sqrt(size / (double)count) : 0;
        for (int64_t k = 0; k < count; k++) {
            double e = fabs(value_at(g32, w, k) - value_at(g64, w, k)) /
                       (size + fabs(value_at(g64, w, k)) + 1e-4);
            off = e > off ? e : off;
        }
        cr_expect(off < 1e-3, "%s, %s: %s of input %d in float is off by %.2e", d->op->name,
                  d->c->what, order, which[w], off);
        const bool full = count <= 256 && in_full();
        double *v = malloc((size_t)(count + 1) * sizeof *v);
        for (int64_t dir = 0; dir < (full ? count : 3) + (full ? 1 : 0); dir++) {
            double expected = 0, norm = 0;
            for (int64_t k = 0; k < count; k++) {
                v[k] = full && dir < count ? (k == dir) : case_noise(90 + (uint32_t)dir, k);
                expected += v[k] * value_at(g64, w, k);
                norm += fabs(v[k] * value_at(g64, w, k));
            }
            bool kink;
            double slope = difference(f, which[w], v, count, &kink);
            kinks += kink;
            checked += !kink;
            cr_expect(kink || fabs(slope - expected) <= 1e-5 * (norm + size + 1),
                      "%s, %s: %s of input %d along %d is %.9g, differences give %.9g", d->op->name,
                      d->c->what, order, which[w], (int)dir, expected, slope);
        }
        free(v);
    }
}

static int wanted_inputs(const case_data *d, const hl_id *leaves, hl_id *wrt, int *which)
{
    int n = 0;
    for (int i = 0; i < d->c->n_in; i++)
        if (leaves[i] != HL_NONE && is_float(&d->type[i]) && !(d->op->no_grad >> i & 1)) {
            wrt[n] = leaves[i];
            which[n++] = i;
        }
    return n;
}

/* Gradients of `target` by the pass, against differences of it. Returns the gradient values. */
static void check_order(case_data *d, hl_graph *g, hl_id target, const hl_id *wrt, const int *which,
                        int n, hl_id *grads, const char *order)
{
    evaluator f, g64, g32;
    cr_assert_eq(hl_pass_grad(g, target, wrt, n, grads), HL_OK, "%s, %s: %s", d->op->name,
                 d->c->what, hl_err_message());
    hl_id reached[HL_CASE_INPUTS];
    int reached_which[HL_CASE_INPUTS], m = 0;
    for (int i = 0; i < n; i++)
        if (grads[i] != HL_NONE) {
            reached[m] = grads[i];
            reached_which[m++] = which[i];
        }
    if (m == 0)
        return;
    cr_assert_eq(evaluator_open(&f, d, g, &target, 1, true), HL_OK);
    cr_assert_eq(evaluator_open(&g64, d, g, reached, m, true), HL_OK, "%s", hl_err_message());
    cr_assert_eq(evaluator_open(&g32, d, g, reached, m, false), HL_OK);
    compare_gradient(d, &f, &g64, &g32, reached_which, m, order);
    evaluator_close(&f);
    evaluator_close(&g64);
    evaluator_close(&g32);
}

static void gradient(case_data *d)
{
    if (!d->op->vjp || case_updates(d->op) || (d->op->flags & HL_OP_OTHER_GRADIENT))
        return;
    hl_graph *g;
    hl_id leaves[HL_CASE_INPUTS], first, wrt[HL_CASE_INPUTS], weights[8], grads[HL_CASE_INPUTS];
    int which[HL_CASE_INPUTS], n_weights = 0;
    cr_assert_eq(case_record(d, &g, leaves, &first), HL_OK);
    const int n = wanted_inputs(d, leaves, wrt, which);
    if (n && is_float(hl_graph_type(g, first))) {
        hl_id target = weighted_sum(g, d->op, first, 1, weights, &n_weights);
        check_order(d, g, target, wrt, which, n, grads, "gradient");
    }
    hl_graph_free(g);
}

Test(conform, gradients, .timeout = 900)
{
    cr_assert(each_case(gradient, HL_OK) > 0);
    fprintf(stderr, "%d directions checked, %d left out at kinks\n", checked, kinks);
    cr_expect(checked > 20 * kinks, "too many directions were left out");
}

static void second(case_data *d)
{
    if (!d->op->vjp || d->op->no_second || case_updates(d->op) ||
        (d->op->flags & HL_OP_OTHER_GRADIENT))
        return;
    hl_graph *g;
    hl_id leaves[HL_CASE_INPUTS], first, wrt[HL_CASE_INPUTS], weights[8], grads[HL_CASE_INPUTS];
    int which[HL_CASE_INPUTS], n_weights = 0;
    cr_assert_eq(case_record(d, &g, leaves, &first), HL_OK);
    const int n = wanted_inputs(d, leaves, wrt, which);
    int64_t elements = 0;
    for (int i = 0; i < n; i++)
        elements += hl_type_count(&d->type[which[i]]);
    if (n && is_float(hl_graph_type(g, first)) && elements < 2000) {
        hl_id target = weighted_sum(g, d->op, first, 1, weights, &n_weights);
        cr_assert_eq(hl_pass_grad(g, target, wrt, n, grads), HL_OK);
        /* <noise, gradient> as the next target */
        hl_id next = HL_NONE;
        for (int i = 0; i < n; i++) {
            if (grads[i] == HL_NONE)
                continue;
            char name[8];
            snprintf(name, sizeof name, "%c2", 'K' + i);
            hl_id w = hl_graph_input(g, name, *hl_graph_type(g, grads[i]));
            hl_id part = hl_g_sum(g, hl_g_mul(g, w, grads[i]), 0, false);
            next = next == HL_NONE ? part : hl_g_add(g, next, part);
        }
        if (next != HL_NONE)
            check_order(d, g, next, wrt, which, n, grads, "second derivative");
    }
    hl_graph_free(g);
}

Test(conform, second_derivatives, .timeout = 900)
{
    cr_assert(each_case(second, HL_OK) > 0);
}

/* --- values that are not finite go where the reference says --- */

static void special_value(case_data *d, double special)
{
    for (int i = 0; i < d->c->n_in; i++) {
        if (d->c->in[i].absent || !is_float(&d->type[i]) || hl_type_count(&d->type[i]) == 0)
            continue;
        const double before = ((double *)d->as_f64[i])[0];
        case_set(d, i, 0, special);
        hl_graph *g;
        hl_id leaves[HL_CASE_INPUTS], first, outs[HL_MAX_OUT];
        double *want[HL_MAX_OUT], *got[HL_MAX_OUT];
        int64_t count[HL_MAX_OUT];
        cr_assert_eq(case_record(d, &g, leaves, &first), HL_OK);
        const int n = n_outputs(g, first);
        for (int o = 0; o < n; o++)
            outs[o] = first + o;
        const hl_status st = case_run(d, g, outs, n, true, NULL, want, count);
        cr_assert(st == HL_OK || st == HL_E_NUMERIC, "%s, %s: %s", d->op->name, d->c->what,
                  hl_err_message());
        cr_assert_eq(case_run(d, g, outs, n, false, NULL, got, count), st, "%s, %s with %g in %d",
                     d->op->name, d->c->what, special, i);
        for (int o = 0; o < n && st == HL_OK; o++) {
            const bool stat = o > 0; /* row statistics may say it in another way */
            for (int64_t k = 0; k < count[o] && !stat; k++)
                if (isnan(want[o][k]) != isnan(got[o][k])) {
                    cr_expect(false, "%s, %s: with %g in input %d, output %d[%d] is %g, not %g",
                              d->op->name, d->c->what, special, i, o, (int)k, got[o][k],
                              want[o][k]);
                    break;
                }
            free(want[o]);
            free(got[o]);
        }
        hl_graph_free(g);
        case_set(d, i, 0, before);
    }
}

static void specials(case_data *d)
{
    if (case_updates(d->op) || d->op == hl_op_get(HL_OP_ID_moments))
        return;
    special_value(d, (double)NAN);
    special_value(d, HUGE_VAL);
    special_value(d, -HUGE_VAL);
}

Test(conform, values_that_are_not_finite, .timeout = 300)
{
    cr_assert(each_case(specials, HL_OK) > 0);
}

/* --- forbidden calls --- */

static void forbidden(case_data *d)
{
    hl_graph *g = NULL;
    hl_id leaves[HL_CASE_INPUTS], first;
    double *out[HL_MAX_OUT];
    int64_t count[HL_MAX_OUT];
    hl_status st = case_record(d, &g, leaves, &first);
    if (st == HL_OK)
        st = case_run(d, g, &first, 1, false, NULL, out, count);
    cr_expect_eq(st, d->c->expect, "%s, %s: %s instead of %s", d->op->name, d->c->what,
                 hl_status_name(st), hl_status_name(d->c->expect));
    cr_expect(st == HL_OK || strstr(hl_err_message(), d->op->name),
              "%s: the message does not name it: %s", d->op->name, hl_err_message());
    hl_graph_free(g);
}

Test(conform, forbidden)
{
    cr_assert(each_case(forbidden, HL_E_ARG) > 0);
}

/* --- the table itself --- */

Test(conform, table)
{
    for (int id = 0; id < HL_OP_COUNT; id++) {
        const hl_op *op = hl_op_get((hl_op_id)id);
        bool through_another = strstr(op->name, "_vjp") != NULL;
        int good = 0;
        for (int i = 0; i < op->n_cases; i++)
            good += op->cases[i].expect == HL_OK;
        cr_expect(good > 0 || through_another, "%s has no case", op->name);
        cr_expect(op->doc && op->ref && op->cpu && op->shape, "%s: the row is not complete",
                  op->name);
        cr_expect(hl_op_find(op->name) == op && hl_op_index(op) == id);
    }
}
