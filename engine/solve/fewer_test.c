/* Samples that are done are left out of a solve: the others' numbers must not know it. */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/base/team.h"
#include "engine/exec/trial_test.h"
#include "engine/graph/body.h"
#include "engine/solve/shrink.h"
#include "engine/solve/solve.h"

enum { B = 24, D = 24, MAX = 40, N_IN = 4 };

typedef hl_id (*step_fn)(hl_graph *g, const hl_id in[N_IN]);

/* Rows apart; gain {B, 1} makes some samples slower than others. w is as high as the batch. */
static hl_id apart(hl_graph *g, const hl_id in[N_IN])
{
    const hl_id w = hl_g_scale(g, in[1], 0.08);
    hl_id y = hl_g_add(g, hl_g_matmul(g, in[0], false, w, true), in[2]);
    return hl_g_mul(g, hl_g_op1(g, HL_OP_ID_tanh, y), in[3]);
}

/* Each sample sees the mean of all. */
static hl_id mixing(hl_graph *g, const hl_id in[N_IN])
{
    const hl_id mean = hl_g_scale(g, hl_g_sum(g, in[0], 1, true), 1.0 / B);
    return hl_g_scale(g, hl_g_add(g, apart(g, in), mean), 0.5);
}

/* The weights are elementwise too: there row i meets sample i, in the product all of them. */
static hl_id twofold(hl_graph *g, const hl_id in[N_IN])
{
    return hl_g_add(g, apart(g, in), hl_g_scale(g, in[1], 0.01));
}

/* The transposed state. */
static hl_id turned(hl_graph *g, const hl_id in[N_IN])
{
    return hl_g_scale(g, hl_g_matmul(g, in[0], true, in[1], false), 0.05);
}

static hl_graph *graph_with(hl_id in[N_IN])
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    in[0] = hl_graph_input(g, "z", F32(B, D));
    in[1] = hl_graph_input(g, "w", F32(D, D));
    in[2] = hl_graph_input(g, "u", F32(B, D));
    in[3] = hl_graph_input(g, "gain", F32(B, 1));
    return g;
}

static hl_body *body_of(step_fn step)
{
    hl_id in[N_IN];
    hl_body *b = NULL;
    hl_graph *g = graph_with(in);
    const hl_id y = step(g, in);
    cr_assert_eq(hl_body_new(g, in, N_IN, &y, 1, &b), HL_OK, "%s", hl_err_message());
    hl_graph_free(g);
    return b;
}

static hl_program *solve_of(step_fn step, hl_solver solver, int max_iter, double tol, bool fp64,
                            leaves *l, const hl_exec *x)
{
    const hl_op *op = hl_op_get(HL_OP_ID_fixed_point);
    hl_attrs a = hl_op_defaults(op);
    a.v[hl_op_attr(op, "solver")].i = solver;
    a.v[hl_op_attr(op, "max_iter")].i = max_iter;
    a.v[hl_op_attr(op, "tol")].f = tol;
    hl_id in[N_IN];
    hl_graph *g = graph_with(in);
    hl_body *b = body_of(step);
    const hl_id z = hl_graph_append_body(g, op, in, N_IN, &a, b);
    cr_assert_neq(z, HL_NONE, "%s", hl_err_message());
    hl_body_unref(b);
    const hl_id outs[3] = {z, z + 1 + 3, z + 1 + 6}; /* solution, iterations, calls */
    hl_program *p;
    cr_assert_eq(leaves_new(g, fp64, 0, l), HL_OK);
    cr_assert_eq(program_for(l, outs, 3, x->team ? x->team->n : 1, &p), HL_OK, "%s",
                 hl_err_message());
    cr_assert_eq(hl_program_run(p, x), HL_OK, "%s", hl_err_message());
    return p;
}

static void let_go(hl_program *p, leaves *l)
{
    hl_program_free(p);
    hl_graph *g = (hl_graph *)(uintptr_t)l->g;
    leaves_free(l);
    hl_graph_free(g);
}

/* Every sample ends where a solve of the whole batch is after as many evaluations, bit for bit. */
static void compare(step_fn step, hl_solver solver, bool fp64, const hl_exec *x)
{
    leaves l, other;
    const hl_dtype t = fp64 ? HL_DTYPE_F64 : HL_DTYPE_F32;
    const size_t row = D * hl_dtype_bytes(t);
    hl_program *p = solve_of(step, solver, MAX, 1e-5, fp64, &l, x);
    int least = MAX, most = 0;
    for (int b = 0; b < B; b++) {
        const int n = (int)number_at(hl_program_output(p, 1), t, b);
        least = n < least ? n : least;
        most = n > most ? n : most;
        hl_program *q = solve_of(step, solver, n, 0, fp64, &other, x);
        cr_assert_eq(memcmp((const char *)hl_program_output(p, 0) + (size_t)b * row,
                            (const char *)hl_program_output(q, 0) + (size_t)b * row, row),
                     0, "sample %d of solver %d after %d evaluations", b, solver, n);
        let_go(q, &other);
    }
    cr_assert(most - least >= 4 && most < MAX, "%d to %d evaluations: too alike", least, most);
    cr_assert_eq((int)number_at(hl_program_output(p, 2), t, 0), most);
    let_go(p, &l);
}

Test(fewer, samples_that_are_done_change_no_bit_of_the_others)
{
    hl_team *team;
    cr_assert_eq(hl_team_new(2, &team), HL_OK);
    const hl_exec alone = {.seed = 1}, both = {.seed = 1, .team = team};
    for (int solver = HL_SOLVER_PICARD; solver <= HL_SOLVER_ANDERSON; solver++) {
        compare(apart, (hl_solver)solver, false, &alone);
        compare(apart, (hl_solver)solver, false, &both);
        compare(apart, (hl_solver)solver, true, &alone);
    }
    hl_team_free(team);
}

/* flops of the last run per evaluation made, of a full one */
static double work(step_fn step, double tol)
{
    leaves l;
    const hl_exec x = {.seed = 1};
    hl_program *p = solve_of(step, HL_SOLVER_PICARD, MAX, tol, false, &l, &x);
    const double n = number_at(hl_program_output(p, 2), HL_DTYPE_F32, 0);
    const double flops = hl_program_get_info(p).flops / n;
    let_go(p, &l);
    return flops;
}

Test(fewer, their_work_is_saved_where_samples_are_apart)
{
    cr_expect_lt(work(apart, 1e-5), 0.9 * work(apart, 0));
    cr_expect_float_eq(work(mixing, 1e-5), work(mixing, 0), 1);
}

static hl_graph *shrunk(step_fn step, bool *by_row, hl_id *w)
{
    hl_id in[N_IN], map[64];
    hl_graph *out, *g = graph_with(in);
    cr_assert_neq(step(g, in), HL_NONE);
    const hl_cut cut = {in, 1, B, 6};
    cr_assert_eq(hl_shrink(g, &cut, &out, map, by_row), HL_OK);
    *w = in[1];
    hl_graph_free(g);
    return out;
}

Test(fewer, graphs_that_mix_samples_are_not_cut)
{
    bool by_row[64];
    hl_id w;
    hl_graph *g = shrunk(apart, by_row, &w);
    cr_assert_not_null(g);
    cr_expect_not(by_row[w], "weights as high as the batch");
    cr_expect_eq(hl_graph_type(g, g->nodes.at[g->nodes.n - 1].out0)->dim[0], 6);
    cr_expect_eq(hl_graph_check(g), HL_OK);
    hl_graph_free(g);
    cr_expect_null(shrunk(mixing, by_row, &w));
    cr_expect_null(shrunk(turned, by_row, &w));
    hl_id in[N_IN], map[64];
    g = graph_with(in);
    const hl_id product = hl_g_matmul(g, in[0], false, in[1], false);
    hl_g_add(g, product, in[1]);
    hl_graph *out;
    const hl_cut cut = {in, 1, B, 6};
    cr_assert_eq(hl_shrink(g, &cut, &out, map, by_row), HL_OK);
    cr_expect_null(out, "one leaf, by row and as a whole");
    hl_graph_free(g);
    const hl_exec alone = {.seed = 1};
    leaves l;
    let_go(solve_of(twofold, HL_SOLVER_PICARD, MAX, 1e-5, false, &l, &alone), &l);
}

/* Of a step whose product runs in integers, with a quantizer before it; NULL: samples are not seen
 * to be apart. */
static hl_graph *shrunk_quantized(bool measures)
{
    const int64_t fields = 7, one = 1, square[2] = {D, D};
    bool by_row[16];
    hl_id map[16];
    hl_graph *g, *out;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    const hl_op *quantizer = hl_op_get(HL_OP_ID_fake_quant);
    hl_attrs a = hl_op_defaults(quantizer);
    a.v[hl_op_attr(quantizer, "measure")].i = measures;
    const hl_id z = hl_graph_input(g, "z", F32(B, D)),
                range = hl_graph_state(g, "range", hl_type_make(HL_DTYPE_F64, 1, &fields)),
                codes = hl_graph_state(g, "codes", hl_type_make(HL_DTYPE_I8, 2, square)),
                scales = hl_graph_state(g, "scales", hl_type_make(HL_DTYPE_F32, 1, &one));
    const hl_id x[2] = {z, range}, on_grid = hl_graph_append(g, quantizer, x, 2, &a);
    const hl_id product[4] = {on_grid, range, codes, scales};
    const hl_id y = hl_graph_append(g, hl_op_get(HL_OP_ID_linear_int8), product, 4, NULL);
    const hl_id scaled[3] = {y, range, scales};
    cr_assert_neq(hl_graph_append(g, hl_op_get(HL_OP_ID_rescale), scaled, 3, NULL), HL_NONE, "%s",
                  hl_err_message());
    const hl_cut cut = {&z, 1, B, 6};
    cr_assert_eq(hl_shrink(g, &cut, &out, map, by_row), HL_OK);
    cr_expect(!out || (by_row[y] && !by_row[range] && !by_row[codes]));
    hl_graph_free(g);
    return out;
}

Test(fewer, quantizers_are_by_row_unless_they_measure)
{
    hl_graph *g = shrunk_quantized(false);
    cr_assert_not_null(g);
    cr_expect_eq(hl_graph_type(g, g->nodes.at[g->nodes.n - 1].out0)->dim[0], 6);
    hl_graph_free(g);
    cr_expect_null(shrunk_quantized(true));
}
