/* Every row that takes bf16, every case: on rounded operands it must agree with the double
 * reference as closely as with floats, since products of bf16 are exact and sums are float. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/team.h"
#include "engine/pass/pass.h"
#include "kernels/vec/bf16_body.h"
#include "tests/conform/conform.h"

#define ROUNDOFF_RATIO 0x1p16 /* of bf16 to float */

static int n_rows_seen;

static bool is_operand(const case_data *d, int i)
{
    return hl_op_takes_bf16(d->op, i) && !d->c->in[i].absent;
}

/* What the operands are as bf16. */
static void round_operands(case_data *d)
{
    for (int i = 0; i < d->c->n_in; i++)
        for (int64_t k = 0; is_operand(d, i) && k < hl_type_count(&d->type[i]); k++)
            case_set(d, i, k, (double)hl_from_bf16(hl_to_bf16(((float *)d->as_f32[i])[k])));
}

/* The call with to_bf16 in front of its operands but `spared`; HL_NONE: not recorded. */
static hl_id record_bf16(const case_data *d, hl_graph *g, int spared)
{
    hl_id in[HL_CASE_INPUTS];
    for (int i = 0; i < d->c->n_in; i++) {
        const char name[2] = {(char)('a' + i), '\0'};
        in[i] = d->c->in[i].absent ? HL_NONE : hl_graph_input(g, name, d->type[i]);
        if (is_operand(d, i) && i != spared)
            in[i] = hl_graph_append(g, hl_op_get(HL_OP_ID_to_bf16), &in[i], 1, NULL);
    }
    return hl_graph_append(g, d->op, in, d->c->n_in, &d->attrs);
}

static void compare(const case_data *d, const hl_graph *half, hl_id first, hl_team *team)
{
    hl_graph *g;
    hl_id leaves[HL_CASE_INPUTS], exact, of_half[HL_MAX_OUT], of_exact[HL_MAX_OUT];
    double *got[HL_MAX_OUT], *again[HL_MAX_OUT], *want[HL_MAX_OUT];
    int64_t count[HL_MAX_OUT];
    cr_assert_eq(case_record(d, &g, leaves, &exact), HL_OK);
    const int n = hl_graph_node_of(half, first)->n_out;
    for (int i = 0; i < n; i++) {
        of_half[i] = first + i;
        of_exact[i] = exact + i;
        cr_expect_neq(hl_graph_type(half, first + i)->dtype, HL_DTYPE_BF16, "results are floats");
    }
    cr_assert_eq(case_run(d, g, of_exact, n, true, NULL, want, count), HL_OK);
    cr_assert_eq(case_run(d, half, of_half, n, false, NULL, got, count), HL_OK, "%s, %s: %s",
                 d->op->name, d->c->what, hl_err_message());
    cr_assert_eq(case_run(d, half, of_half, n, false, team, again, count), HL_OK);
    const double tol = d->op->tol_bf16 > 0 ? d->op->tol_bf16 * ROUNDOFF_RATIO : tolerance(d->op);
    for (int i = 0; i < n; i++) {
        const double w = worst(d->op, got[i], want[i], count[i], tol);
        cr_expect(w <= 1, "%s, %s, output %d: error %.2f times the tolerance", d->op->name,
                  d->c->what, i, w);
        cr_expect(memcmp(got[i], again[i], (size_t)count[i] * sizeof(double)) == 0,
                  "%s, %s, output %d: other bits with a team", d->op->name, d->c->what, i);
        free(got[i]);
        free(again[i]);
        free(want[i]);
    }
    hl_graph_free(g);
}

static void one_case(case_data *d)
{
    hl_team *team;
    hl_graph *g;
    if (!d->op->bf16)
        return;
    n_rows_seen++;
    round_operands(d);
    cr_assert_eq(hl_team_new(3, &team), HL_OK);
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    const hl_id first = record_bf16(d, g, -1);
    cr_assert_neq(first, HL_NONE, "%s, %s: %s", d->op->name, d->c->what, hl_err_message());
    cr_expect_eq(hl_graph_check(g), HL_OK);
    compare(d, g, first, team);
    hl_graph_free(g);
    hl_team_free(team);
    /* half of the operands as bf16 is refused while recording, bf16 on doubles while compiling */
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    const int spared = __builtin_ctz(d->op->bf16);
    cr_expect_eq(record_bf16(d, g, spared), HL_NONE, "%s takes a mixture", d->op->name);
    cr_expect_eq(g->status, HL_E_DTYPE);
    hl_graph_free(g);
}

Test(bf16, rows_on_rounded_operands, .timeout = 600)
{
    each_case(one_case, HL_OK);
    cr_assert_gt(n_rows_seen, 20);
}

static hl_id there_and_back(hl_graph *g, hl_id x)
{
    const hl_id half = hl_graph_append(g, hl_op_get(HL_OP_ID_to_bf16), &x, 1, NULL);
    return hl_graph_append(g, hl_op_get(HL_OP_ID_from_bf16), &half, 1, NULL);
}

static int count_rounding(const hl_graph *g)
{
    int n = 0;
    for (size_t k = 0; k < g->nodes.n; k++)
        n += g->nodes.at[k].op == hl_op_get(HL_OP_ID_to_bf16) ||
             g->nodes.at[k].op == hl_op_get(HL_OP_ID_from_bf16);
    return n;
}

/* The call on rounded inputs, its results rounded: to the outs, of which as many are returned. */
static int record_rounding(const case_data *d, hl_graph *g, hl_id outs[HL_MAX_OUT])
{
    const hl_op *op = d->op;
    hl_id in[HL_CASE_INPUTS];
    for (int i = 0; i < d->c->n_in; i++) {
        const char name[2] = {(char)('a' + i), '\0'};
        in[i] = d->c->in[i].absent ? HL_NONE : hl_graph_input(g, name, d->type[i]);
        if (is_operand(d, i))
            in[i] = hl_graph_append(g, hl_op_get(HL_OP_ID_to_bf16), &in[i], 1, NULL);
        else if (in[i] != HL_NONE && hl_op_reads_half(op, i))
            in[i] = there_and_back(g, in[i]);
    }
    const hl_id first = hl_graph_append(g, op, in, d->c->n_in, &d->attrs);
    cr_assert_neq(first, HL_NONE, "%s, %s: %s", op->name, d->c->what, hl_err_message());
    const int n = hl_graph_node_of(g, first)->n_out;
    for (int o = 0; o < n; o++)
        outs[o] = hl_op_writes_half(op, o) ? there_and_back(g, first + o) : first + o;
    return n;
}

/* Rows that read or write bf16 by themselves: the bits of rounding apart from them, with and
 * without a team. */
static void one_rounding(case_data *d)
{
    if (!d->op->half_ins && !d->op->half_outs)
        return;
    n_rows_seen++;
    hl_team *team;
    hl_graph *apart, *own;
    hl_id outs[HL_MAX_OUT], own_outs[HL_MAX_OUT];
    double *want[HL_MAX_OUT], *got[HL_MAX_OUT];
    int64_t count[HL_MAX_OUT];
    cr_assert_eq(hl_graph_new(&apart), HL_OK);
    const int n = record_rounding(d, apart, outs);
    memcpy(own_outs, outs, sizeof outs);
    hl_id *map = malloc((apart->values.n + 1) * sizeof *map);
    cr_assert_eq(hl_pass_round_results(apart, own_outs, n, &own, map), HL_OK);
    cr_expect_eq(hl_graph_check(own), HL_OK, "%s", hl_err_message());
    cr_expect_lt(count_rounding(own), count_rounding(apart), "%s, %s", d->op->name, d->c->what);
    cr_assert_eq(case_run(d, apart, outs, n, false, NULL, want, count), HL_OK);
    cr_assert_eq(hl_team_new(3, &team), HL_OK);
    for (int t = 0; t < 2; t++) {
        cr_assert_eq(case_run(d, own, own_outs, n, false, t ? team : NULL, got, count), HL_OK,
                     "%s, %s: %s", d->op->name, d->c->what, hl_err_message());
        for (int i = 0; i < n; i++) {
            cr_expect(memcmp(got[i], want[i], (size_t)count[i] * sizeof(double)) == 0,
                      "%s, %s, output %d: other bits", d->op->name, d->c->what, i);
            free(got[i]);
        }
    }
    for (int i = 0; i < n; i++)
        free(want[i]);
    hl_team_free(team);
    free(map);
    hl_graph_free(own);
    hl_graph_free(apart);
}

Test(bf16, rows_that_round_themselves, .timeout = 600)
{
    n_rows_seen = 0;
    each_case(one_rounding, HL_OK);
    cr_assert_gt(n_rows_seen, 40);
}

/* An operand of floats of as many bytes as the rounded result has, but half the elements: its buffer
 * is not the result's. */
Test(bf16, results_of_other_width_take_over_nothing)
{
    hl_graph *apart, *own;
    hl_id map[64], out[2], own_out[2];
    const int64_t column[2] = {64, 1}, row[2] = {1, 2};
    float a[64], b[2] = {3, -5};
    cr_assert_eq(hl_graph_new(&apart), HL_OK);
    const hl_id x = hl_graph_input(apart, "x", hl_type_make(HL_DTYPE_F32, 2, column));
    const hl_id y = hl_graph_input(apart, "y", hl_type_make(HL_DTYPE_F32, 2, row));
    out[0] = there_and_back(apart, hl_g_mul(apart, hl_g_op1(apart, HL_OP_ID_neg, x), y));
    own_out[0] = out[0];
    cr_assert_eq(hl_pass_round_results(apart, own_out, 1, &own, map), HL_OK);
    for (int i = 0; i < 64; i++)
        a[i] = (float)(i % 16 + 1); /* all products exact in bf16 */
    hl_program *p;
    const hl_compile how = {.outputs = own_out, .n_outputs = 1, .n_workers = 1};
    cr_assert_eq(hl_program_new(own, &how, &p), HL_OK, "%s", hl_err_message());
    for (int i = 0; i < 2; i++)
        hl_program_bind(p, i, hl_program_binding(p, i)->name[0] == 'x' ? a : b);
    cr_assert_eq(hl_program_run(p, &(hl_exec){0}), HL_OK);
    const float *got = hl_program_output(p, 0);
    for (int i = 0; i < 128; i++)
        cr_expect_eq(got[i], -a[i / 2] * b[i % 2], "%d: %g", i, (double)got[i]);
    hl_program_free(p);
    hl_graph_free(own);
    hl_graph_free(apart);
}

Test(bf16, does_not_run_on_doubles)
{
    hl_graph *g;
    hl_program *p = NULL;
    const int64_t dim[2] = {4, 4};
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    const hl_id x = hl_graph_input(g, "x", hl_type_make(HL_DTYPE_F32, 2, dim));
    const hl_id half = hl_graph_append(g, hl_op_get(HL_OP_ID_to_bf16), &x, 1, NULL);
    const hl_id y = hl_g_matmul(g, half, false, half, false);
    const hl_compile how = {.outputs = &y, .n_outputs = 1, .fp64 = true};
    cr_expect_eq(hl_program_new(g, &how, &p), HL_E_DTYPE);
    hl_graph_free(g);
}

/* Scores stay float: with softmax1 the virtual key has logit 0, and where all logits lie far below
 * it the weights are exp(logit), not one and not nothing. At 16 neighbours of bf16 lie 1/8 apart,
 * at 256 and beyond 2, so that scores or statistics in bf16 would be off by far more than the
 * tolerance. */
static void virtual_key(double logit)
{
    enum { T = 3, D = 8 };
    const int64_t dim[3] = {1, T, D}, n = T * D;
    hl_graph *g;
    hl_program *p;
    hl_id in[3];
    float q[T * D], k[T * D], v[T * D];
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    for (int i = 0; i < 3; i++) {
        const char name[2] = {"qkv"[i], '\0'};
        in[i] = hl_graph_input(g, name, hl_type_make(HL_DTYPE_F32, 3, dim));
        in[i] = hl_graph_append(g, hl_op_get(HL_OP_ID_to_bf16), &in[i], 1, NULL);
    }
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_attention));
    a.v[hl_op_attr(hl_op_get(HL_OP_ID_attention), "heads")].i = 1;
    a.v[hl_op_attr(hl_op_get(HL_OP_ID_attention), "scale")].f = 1;
    a.v[hl_op_attr(hl_op_get(HL_OP_ID_attention), "base")].i = HL_NORM_SOFTMAX1;
    const hl_id o = hl_graph_append(g, hl_op_get(HL_OP_ID_attention), in, 3, &a);
    cr_assert_neq(o, HL_NONE, "%s", hl_err_message());
    const hl_compile how = {.outputs = &o, .n_outputs = 1, .n_workers = 1};
    cr_assert_eq(hl_program_new(g, &how, &p), HL_OK);
    /* score of key j: logit + j / 4 - 1/16, a number that bf16 has no room for */
    for (int64_t i = 0; i < n; i++) {
        q[i] = i % D < 3 ? 1 : 0;
        k[i] = i % D == 0   ? (float)logit
               : i % D == 1 ? (float)(i / D) / 4
               : i % D == 2 ? -0.0625f
                            : 0;
        v[i] = (float)(1 + i % 5) / 4;
    }
    float *const data[3] = {q, k, v};
    for (int i = 0; i < hl_program_n_bindings(p); i++)
        hl_program_bind(p, i, data[strchr("qkv", hl_program_binding(p, i)->name[0]) - "qkv"]);
    cr_assert_eq(hl_program_run(p, &(hl_exec){0}), HL_OK);
    const float *got = hl_program_output(p, 0);
    double s[T], top = 0, sum;
    for (int j = 0; j < T; j++) {
        s[j] = logit + j / 4.0 - 0.0625;
        top = s[j] > top ? s[j] : top;
    }
    sum = exp(-top);
    for (int j = 0; j < T; j++)
        sum += exp(s[j] - top);
    /* weights multiplied in pairs are rounded, and all terms are positive */
    const double room = 64 * 0x1p-24 + (hl_cpu_bf16() == HL_BF16_WIDENED ? 0 : 0x1p-8);
    for (int e = 0; e < D; e++) {
        double want = 0;
        for (int j = 0; j < T; j++)
            want += exp(s[j] - top) / sum * (double)v[j * D + e];
        cr_expect(fabs((double)got[e] - want) <= room * want, "logit %g: %.9g, not %.9g", logit,
                  (double)got[e], want);
    }
    hl_program_free(p);
    hl_graph_free(g);
}

Test(bf16, virtual_key_of_softmax1)
{
    const double logit[] = {-60, -20, -8, -1, -0.00390625, 0, 0.00390625, 1, 8, 300};
    for (size_t i = 0; i < sizeof logit / sizeof *logit; i++)
        virtual_key(logit[i]);
}

/* The output layer, wider than one piece of the rounding of its logits' gradient: each element
 * within 2^-8 of the sizes of its terms, which is what rounding one factor of each may do. */
Test(bf16, gradients_of_a_wide_output_layer)
{
    enum { R = 3, D = 5, V = 2500 };
    static float h[R * D], w[V * D];
    static double slope[R][V];
    const float g1 = 1;
    const int32_t labels[R] = {7, 1023, 2499};
    hl_graph *g;
    hl_program *p;
    hl_id in[5], outs[3];
    for (int i = 0; i < R * D; i++)
        h[i] = hl_from_bf16(hl_to_bf16((float)case_noise(1, i)));
    for (int i = 0; i < V * D; i++)
        w[i] = hl_from_bf16(hl_to_bf16((float)case_noise(2, i)));
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    in[0] = hl_graph_input(g, "g", hl_type_scalar(HL_DTYPE_F32));
    in[1] = hl_graph_input(g, "h", hl_type_make(HL_DTYPE_F32, 2, (int64_t[]){R, D}));
    in[2] = hl_graph_input(g, "w", hl_type_make(HL_DTYPE_F32, 2, (int64_t[]){V, D}));
    in[3] = HL_NONE;
    in[4] = hl_graph_input(g, "y", hl_type_make(HL_DTYPE_I32, 1, (int64_t[]){R}));
    for (int i = 1; i < 3; i++)
        in[i] = hl_graph_append(g, hl_op_get(HL_OP_ID_to_bf16), &in[i], 1, NULL);
    outs[0] = hl_graph_append(g, hl_op_get(HL_OP_ID_lm_loss_grad), in, 5, NULL);
    outs[1] = outs[0] + 2;
    outs[2] = outs[0] + 3;
    const hl_compile how = {.outputs = outs, .n_outputs = 3, .n_workers = 1};
    cr_assert_eq(hl_program_new(g, &how, &p), HL_OK, "%s", hl_err_message());
    for (int i = 0; i < hl_program_n_bindings(p); i++) {
        const char name = hl_program_binding(p, i)->name[0];
        hl_program_bind(p, i,
                        (void *)(uintptr_t)(name == 'g'   ? (const void *)&g1
                                            : name == 'h' ? (const void *)h
                                            : name == 'w' ? (const void *)w
                                                          : (const void *)labels));
    }
    cr_assert_eq(hl_program_run(p, &(hl_exec){0}), HL_OK);
    const float *gh = hl_program_output(p, 1), *gw = hl_program_output(p, 2);
    for (int r = 0; r < R; r++) {
        double sum = 0;
        for (int c = 0; c < V; c++) {
            double x = 0;
            for (int e = 0; e < D; e++)
                x += (double)h[r * D + e] * (double)w[c * D + e];
            sum += slope[r][c] = exp(x);
        }
        for (int c = 0; c < V; c++)
            slope[r][c] = (slope[r][c] / sum - (c == labels[r])) / R;
    }
    for (int e = 0; e < D; e++) {
        for (int r = 0; r < R; r++) {
            double want = 0, size = 0;
            for (int c = 0; c < V; c++) {
                want += slope[r][c] * (double)w[c * D + e];
                size += fabs(slope[r][c] * (double)w[c * D + e]);
            }
            cr_expect(fabs((double)gh[r * D + e] - want) <= 1.01 * 0x1p-8 * size, "gh %d %d", r, e);
        }
        for (int c = 0; c < V; c++) {
            double want = 0, size = 0;
            for (int r = 0; r < R; r++) {
                want += slope[r][c] * (double)h[r * D + e];
                size += fabs(slope[r][c] * (double)h[r * D + e]);
            }
            cr_expect(fabs((double)gw[c * D + e] - want) <= 1.01 * 0x1p-8 * size, "gw %d %d", c, e);
        }
    }
    hl_program_free(p);
    hl_graph_free(g);
}
