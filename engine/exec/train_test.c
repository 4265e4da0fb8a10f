/* Whole training steps as one program: forward, backward, norm, clip, masked AdamW, counter. Floats
 * follow doubles, and a step that is not finite leaves no trace. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/exec/trial_test.h"
#include "engine/pass/pass.h"

enum { MOST = 40, STEPS = 50 };
enum { LOSS, NORM, OK, SCALE, FIXED };

/* One training step. `fault` is an input that the forward graph multiplies something with: 1. */
typedef struct trainer {
    hl_graph *g;
    hl_id outs[FIXED + 2];
} trainer;

static hl_type scalar(void)
{
    return hl_type_scalar(HL_DTYPE_F32);
}

static hl_id ew(hl_graph *g, hl_op_id op, hl_id a)
{
    return hl_g_op1(g, op, a);
}

/* Appends the update of all parameters; outs[LOSS] is set. */
static int append_update(hl_graph *g, hl_id *outs, const hl_id *wrt, const hl_id *grads, int n)
{
    hl_id in[4 + 4 * MOST], reached[MOST];
    int m = 0, count = 4;
    for (int i = 0; i < n; i++)
        if (grads[i] != HL_NONE)
            reached[m++] = grads[i];
    outs[NORM] = hl_graph_append(g, hl_op_get(HL_OP_ID_global_norm), reached, m, NULL);
    hl_id one = hl_graph_const(g, 1), t = hl_graph_state(g, "0t", scalar());
    outs[OK] =
        hl_g_mul(g, ew(g, HL_OP_ID_is_finite, outs[LOSS]), ew(g, HL_OP_ID_is_finite, outs[NORM]));
    outs[SCALE] = hl_g_op2(g, HL_OP_ID_minimum, one, hl_g_div(g, one, outs[NORM]));
    hl_id next = hl_g_add(g, t, outs[OK]);
    in[0] = hl_graph_input(g, "lr", scalar());
    in[1] = next;
    in[2] = outs[SCALE];
    in[3] = outs[OK];
    for (int i = 0; i < n; i++) {
        if (grads[i] == HL_NONE)
            continue;
        const hl_type type = *hl_graph_type(g, wrt[i]);
        in[count++] = wrt[i];
        in[count++] = grads[i];
        in[count++] = hl_graph_state(g, "0m", type);
        in[count++] = hl_graph_state(g, "0v", type);
    }
    outs[FIXED] = hl_graph_append(g, hl_op_get(HL_OP_ID_adamw), in, count, NULL);
    outs[FIXED + 1] = hl_g_op2(g, HL_OP_ID_assign, t, next);
    return FIXED + 2;
}

static trainer trainer_new(hl_graph *forward, hl_id loss)
{
    trainer t;
    hl_graph *g;
    hl_id wrt[MOST], grads[MOST], *map = hl_alloc(forward->values.n * sizeof *map);
    int n = 0;
    cr_assert_eq(forward->status, HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_pass_fuse_forward(forward, &loss, 1, &g, map), HL_OK);
    hl_free(map);
    hl_graph_free(forward);
    for (size_t v = 0; v < g->values.n; v++)
        if (g->values.at[v].kind == HL_VALUE_STATE)
            wrt[n++] = (hl_id)v;
    cr_assert_leq(n, MOST);
    cr_assert_eq(hl_pass_grad(g, loss, wrt, n, grads), HL_OK, "%s", hl_err_message());
    t.outs[LOSS] = loss;
    const int n_outs = append_update(g, t.outs, wrt, grads, n);
    cr_assert_eq(g->status, HL_OK, "%s", hl_err_message());
    map = hl_alloc(g->values.n * sizeof *map);
    cr_assert_eq(hl_pass_fuse_backward(g, t.outs, n_outs, &t.g, map), HL_OK);
    cr_assert_eq(hl_graph_check(t.g), HL_OK, "%s", hl_err_message());
    hl_free(map);
    hl_graph_free(g);
    return t;
}

/* --- the models --- */

/* Two layers, mean squared error. */
static trainer mlp(void)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    hl_id fault = hl_graph_input(g, "1fault", scalar());
    hl_id x = hl_g_mul(g, hl_graph_input(g, "x", F32(16, 8)), fault);
    hl_id y = linear(g, linear(g, x, "w1", "0b1", 32, HL_ACT_GELU), "w2", "0b2", 4, HL_ACT_NONE);
    hl_id off = hl_g_sub(g, y, hl_graph_input(g, "target", F32(16, 4)));
    hl_id loss = hl_g_scale(g, hl_g_sum(g, ew(g, HL_OP_ID_square, off), 0, false), 1.0 / 64);
    return trainer_new(g, loss);
}

static hl_id norm(hl_graph *g, hl_id x, const char *gain, const char *shift)
{
    const hl_type t = *hl_graph_type(g, x), row = F32(t.dim[t.rank - 1]);
    hl_id in[3] = {x, hl_graph_state(g, gain, row), hl_graph_state(g, shift, row)};
    return hl_graph_append(g, hl_op_get(HL_OP_ID_layernorm), in, 3, NULL);
}

static hl_id dropout(hl_graph *g, hl_id x)
{
    return hl_graph_append(g, hl_op_get(HL_OP_ID_dropout), &x, 1, NULL);
}

/* One block that normalises first, a tied output layer. */
static trainer transformer(void)
{
    enum { B = 2, T = 12, D = 16, V = 23 };
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    const hl_type ids = hl_type_make(HL_DTYPE_I32, 2, (int64_t[]){B, T});
    hl_id fault = hl_graph_input(g, "1fault", scalar());
    hl_id look[2] = {hl_graph_state(g, "table", F32(V, D)), hl_graph_input(g, "ids<23", ids)};
    hl_id x = hl_graph_append(g, hl_op_get(HL_OP_ID_embedding), look, 2, NULL);
    x = hl_g_mul(g, hl_g_add(g, x, hl_graph_state(g, "places", F32(T, D))), fault);
    hl_id n = norm(g, x, "1g1", "0s1"), in[3];
    static const char *const w[] = {"wq", "wk", "wv"}, *const b[] = {"0bq", "0bk", "0bv"};
    for (int i = 0; i < 3; i++)
        in[i] = linear(g, n, w[i], b[i], D, HL_ACT_NONE);
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_attention));
    a.v[0].i = 2;
    a.v[2].i = 1;
    a.v[3].i = HL_NORM_SOFTMAX1;
    a.v[6].f = 0.1;
    hl_id h = hl_graph_append(g, hl_op_get(HL_OP_ID_attention), in, 3, &a);
    x = hl_g_add(g, x, dropout(g, linear(g, h, "wo", "0bo", D, HL_ACT_NONE)));
    h = linear(g, norm(g, x, "1g2", "0s2"), "wu", "0bu", 2 * D, HL_ACT_GELU);
    x = hl_g_add(g, x, dropout(g, linear(g, h, "wd", "0bd", D, HL_ACT_NONE)));
    hl_id head[4] = {norm(g, x, "1g3", "0s3"), look[0], hl_graph_state(g, "0head", F32(V)),
                     hl_graph_input(g, "labels<23!", ids)};
    return trainer_new(g, hl_graph_append(g, hl_op_get(HL_OP_ID_lm_loss), head, 4, NULL));
}

/* --- runs --- */

/* A program with its states; batches are drawn anew each step. */
typedef struct session {
    const trainer *t;
    leaves l;
    hl_program *p;
} session;

static void set_all(const leaves *l, hl_id v, double factor, double value)
{
    const int64_t n = hl_type_count(hl_graph_type(l->g, v));
    for (int64_t i = 0; i < n; i++) {
        if (l->fp64)
            ((double *)l->data[v])[i] = ((double *)l->data[v])[i] * factor + value;
        else
            ((float *)l->data[v])[i] = ((float *)l->data[v])[i] * (float)factor + (float)value;
    }
}

/* Names that start with 0 begin at 0, with 1 at 1, the others small. A quarter is exact in both. */
static session session_new(const trainer *t, bool fp64)
{
    session s = {.t = t};
    cr_assert_eq(leaves_new(t->g, fp64, 0, &s.l), HL_OK);
    for (size_t v = 0; v < t->g->values.n; v++) {
        const hl_value *x = &t->g->values.at[v];
        if (x->kind == HL_VALUE_STATE)
            set_all(&s.l, (hl_id)v, x->name[0] == '0' ? 0 : x->name[0] == '1' ? 1 : 0.25, 0);
    }
    cr_assert_eq(program_for(&s.l, t->outs, FIXED + 2, 1, &s.p), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_program_prepare(s.p), HL_OK);
    return s;
}

static void session_free(session *s)
{
    hl_program_free(s->p);
    leaves_free(&s->l);
}

static double output(const session *s, int i)
{
    return number_at(hl_program_output(s->p, i), s->l.fp64 ? HL_DTYPE_F64 : HL_DTYPE_F32, 0);
}

/* One step on batch `k` (of four that come round), with the fault given. Returns the loss. */
static double step(session *s, int k, double fault)
{
    leaves batch;
    cr_assert_eq(leaves_new(s->t->g, s->l.fp64, 100 + (uint32_t)k % 4, &batch), HL_OK);
    for (size_t v = 0; v < s->t->g->values.n; v++) {
        const hl_value *x = &s->t->g->values.at[v];
        if (x->kind != HL_VALUE_INPUT)
            continue;
        memcpy(s->l.data[v], batch.data[v], leaf_bytes(&batch, (hl_id)v));
        if (strcmp(x->name, "1fault") == 0)
            set_all(&s->l, (hl_id)v, 0, fault);
        if (strcmp(x->name, "lr") == 0)
            set_all(&s->l, (hl_id)v, 0, 0x1p-7);
    }
    leaves_free(&batch);
    hl_exec x = {.seed = 7, .step = (uint32_t)k};
    const int64_t n_alloc = hl_mem_get_stats().n_alloc;
    cr_assert_eq(hl_program_run(s->p, &x), HL_OK, "%s", hl_err_message());
    /* the double references take memory of their own */
    cr_expect(s->l.fp64 || hl_mem_get_stats().n_alloc == n_alloc, "step %d allocates", k);
    return output(s, LOSS);
}

static void follows(trainer t, const char *name, double least_gain)
{
    session f = session_new(&t, false), d = session_new(&t, true);
    double first = 0, last = 0, worst = 0;
    for (int k = 0; k < STEPS; k++) {
        const double a = step(&f, k, 1), b = step(&d, k, 1);
        cr_expect(k >= 20 || fabs(a - b) <= 1e-4 * fabs(b), "%s, step %d: %.8g, in double %.8g",
                  name, k, a, b);
        cr_expect(isfinite(a) && output(&f, OK) == 1 && output(&d, OK) == 1);
        cr_expect(output(&f, SCALE) <= 1 && output(&f, SCALE) * output(&f, NORM) <= 1.0001);
        worst = k < 20 && fabs(a - b) > worst * fabs(b) ? fabs(a - b) / fabs(b) : worst;
        first += k < 4 ? a : 0;
        last += k >= STEPS - 4 ? a : 0;
    }
    fprintf(stderr, "%s: loss %.4f to %.4f, float off by %.1e at most\n", name, first / 4, last / 4,
            worst);
    cr_expect(last < first * least_gain, "%s learns: %g to %g", name, first / 4, last / 4);
    cr_expect_eq(*(const float *)leaf_named(&f.l, "0t"), STEPS);
    cr_expect_eq(*(const double *)leaf_named(&d.l, "0t"), STEPS);
    session_free(&f);
    session_free(&d);
    hl_graph_free(t.g);
}

Test(train, perceptron_in_float_follows_double)
{
    follows(mlp(), "perceptron", 0.9);
}

Test(train, transformer_in_float_follows_double)
{
    follows(transformer(), "transformer", 0.9);
}

/* States of two sessions of one trainer, inputs left out. */
static const char *state_that_differs(const session *a, const session *b)
{
    for (size_t v = 0; v < a->t->g->values.n; v++) {
        const hl_value *x = &a->t->g->values.at[v];
        if (x->kind == HL_VALUE_STATE &&
            memcmp(a->l.data[v], b->l.data[v], leaf_bytes(&a->l, (hl_id)v)) != 0)
            return x->name;
    }
    return NULL;
}

/* A session that meets a fault after five steps, beside one that does not. */
static void masks(trainer t, bool fp64)
{
    static const double faults[] = {(double)NAN, HUGE_VAL, -HUGE_VAL, 1e38};
    session hit = session_new(&t, fp64), spared = session_new(&t, fp64);
    int k = 0;
    for (; k < 5; k++) {
        step(&hit, k, 1);
        step(&spared, k, 1);
    }
    cr_assert_null(state_that_differs(&hit, &spared), "equal runs are equal");
    for (int i = 0; i < 4; i++) {
        const double loss = step(&hit, k, faults[i]);
        if (isfinite(loss) && output(&hit, OK) == 1)
            cr_assert(i == 3, "fault %g passed", faults[i]); /* large, and finite after all */
        if (i < 3)
            cr_expect(!isfinite(loss) && output(&hit, OK) == 0);
        if (output(&hit, OK) == 0)
            cr_expect_null(state_that_differs(&hit, &spared), "fault %g changed '%s'", faults[i],
                           state_that_differs(&hit, &spared));
        else
            step(&spared, k, faults[i]);
    }
    cr_expect_null(state_that_differs(&hit, &spared));
    for (; k < 8; k++) { /* and goes on as if nothing had been */
        cr_expect_eq(step(&hit, k, 1), step(&spared, k, 1));
        cr_expect_null(state_that_differs(&hit, &spared));
    }
    session_free(&hit);
    session_free(&spared);
    hl_graph_free(t.g);
}

Test(train, steps_that_are_not_finite_leave_no_trace)
{
    for (int fp64 = 0; fp64 < 2; fp64++) {
        masks(mlp(), fp64);
        masks(transformer(), fp64);
    }
}
