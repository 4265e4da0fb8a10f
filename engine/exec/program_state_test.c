/* Bindings, updates of state, element types, errors of a run. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/team.h"
#include "engine/exec/trial_test.h"

static const hl_exec here = {.seed = 99, .step = 3};

static hl_graph *graph(void)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    return g;
}

static hl_type scalar(void)
{
    return hl_type_scalar(HL_DTYPE_F32);
}

static hl_status compile(const hl_graph *g, const hl_id *outs, int n, hl_program **p)
{
    hl_compile how = {.outputs = outs, .n_outputs = n, .n_workers = 1};
    *p = NULL;
    return hl_program_new(g, &how, p);
}

/* --- bindings --- */

Test(program_state, bindings_say_what_the_program_reads)
{
    hl_graph *g = graph();
    int mark;
    (void)hl_graph_input(g, "unread", F32(9));
    hl_id w = hl_graph_state(g, "w", F32(3, 2)), c = hl_graph_const(g, 2);
    hl_id x = hl_graph_input(g, "x", F32(4, 3));
    g->values.at[w].data = &mark;
    hl_id y = hl_g_mul(g, hl_g_matmul(g, x, false, w, false), c);
    for (int fp64 = 0; fp64 < 2; fp64++) {
        hl_compile how = {.outputs = &y, .n_outputs = 1, .fp64 = fp64};
        hl_program *p;
        cr_assert_eq(hl_program_new(g, &how, &p), HL_OK);
        cr_assert_eq(hl_program_n_bindings(p), 2);
        const hl_binding *a = hl_program_binding(p, 0), *b = hl_program_binding(p, 1);
        cr_assert(a->value == w && a->kind == HL_VALUE_STATE && a->mark == &mark);
        cr_assert(b->value == x && b->kind == HL_VALUE_INPUT && b->mark == NULL);
        cr_assert_str_eq(a->name, "w");
        cr_assert_eq(a->type.dtype, fp64 ? HL_DTYPE_F64 : HL_DTYPE_F32);
        const hl_program_info i = hl_program_get_info(p);
        cr_assert_eq(i.state_bytes, fp64 ? 48 : 24);
        cr_assert_eq(i.input_bytes, fp64 ? 96 : 48);
        cr_assert_eq(i.n_steps, 2);
        cr_assert_eq(i.flops, 2.0 * 4 * 2 * 3 + 8);
        cr_assert_eq(hl_program_output_type(p, 0)->dtype, fp64 ? HL_DTYPE_F64 : HL_DTYPE_F32);
        hl_program_free(p);
    }
    hl_graph_free(g);
}

Test(program_state, a_leaf_without_data_is_named)
{
    hl_graph *g = graph();
    hl_program *p;
    _Alignas(64) float x[4] = {1, 2, 3, 4}, w[4] = {1, 1, 1, 1};
    hl_id a = hl_graph_input(g, "x", F32(4)), b = hl_graph_state(g, "block.w", F32(4));
    hl_id y = hl_g_add(g, a, b);
    cr_assert_eq(compile(g, &y, 1, &p), HL_OK);
    hl_graph_free(g); /* the program stands alone */
    cr_assert_eq(hl_program_run(p, &here), HL_E_STATE);
    cr_assert_str_eq(hl_err_message(), "'x' has no data");
    hl_program_bind(p, 0, x);
    cr_assert_eq(hl_program_run(p, &here), HL_E_STATE);
    cr_assert_str_eq(hl_err_message(), "'block.w' has no data");
    hl_program_bind(p, 1, w);
    cr_assert_eq(hl_program_run(p, &here), HL_OK);
    cr_assert_eq(((const float *)hl_program_output(p, 0))[3], 5);
    hl_program_bind(p, 0, NULL);
    cr_assert_eq(hl_program_run(p, &here), HL_E_STATE);
    hl_program_free(p);
}

Test(program_state, errors_of_ops_name_op_and_line)
{
    hl_graph *g = graph();
    hl_program *p;
    g->where = "m.lua:4";
    hl_id in[2] = {hl_graph_state(g, "table", F32(3, 2)),
                   hl_graph_input(g, "ids", hl_type_make(HL_DTYPE_I32, 1, (int64_t[]){2}))};
    hl_id y = hl_graph_append(g, hl_op_get(HL_OP_ID_embedding), in, 2, NULL);
    cr_assert_eq(compile(g, &y, 1, &p), HL_OK);
    hl_graph_free(g);
    _Alignas(64) float table[6] = {0};
    _Alignas(64) int32_t ids[2] = {2, 3};
    hl_program_bind(p, 0, table);
    hl_program_bind(p, 1, ids);
    cr_assert_eq(hl_program_run(p, &here), HL_E_ARG);
    cr_assert_str_eq(hl_err_message(),
                     "m.lua:4: embedding: id 3 at position 2 is outside the table of 3 rows");
    ids[1] = 0;
    cr_assert_eq(hl_program_run(p, &here), HL_OK, "usable after an error");
    hl_program_free(p);
}

Test(program_state, a_graph_with_a_failed_call_does_not_compile)
{
    hl_graph *g = graph();
    hl_program *p;
    hl_program_cache *c;
    hl_id x = hl_graph_input(g, "x", F32(4)), good = hl_g_neg(g, x);
    hl_id outs[2] = {good, hl_g_add(g, good, hl_graph_input(g, "y", F32(3)))};
    cr_assert_eq(outs[1], HL_NONE);
    cr_assert_eq(compile(g, outs, 2, &p), HL_E_SHAPE);
    cr_assert(strstr(hl_err_message(), "add: sizes 4 and 3"), "%s", hl_err_message());
    g->status = HL_OK;
    outs[1] = (hl_id)g->values.n;
    cr_assert_eq(compile(g, outs, 2, &p), HL_E_ARG);
    hl_compile how = {.outputs = outs, .n_outputs = 2};
    cr_assert_eq(hl_program_cache_new(2, &c), HL_OK);
    cr_assert_eq(hl_program_cache_get(c, g, &how, &p, NULL), HL_E_ARG);
    hl_program_cache_free(c);
    hl_graph_free(g);
}

/* --- updates --- */

/* Runs g both ways on states of its own; outputs and states must agree in every bit. */
static void compare_updates(const hl_graph *g, const hl_id *outs, int n, bool fp64, hl_team *team)
{
    leaves a, b, before;
    hl_program *p;
    void **want;
    hl_exec x = here;
    x.team = team;
    cr_assert_eq(leaves_new(g, fp64, 0, &a), HL_OK);
    cr_assert_eq(leaves_new(g, fp64, 0, &b), HL_OK);
    cr_assert_eq(leaves_new(g, fp64, 0, &before), HL_OK);
    cr_assert_eq(program_for(&a, outs, n, team ? team->n : 1, &p), HL_OK, "%s", hl_err_message());
    for (int k = 0; k < 3; k++) { /* each run goes on from where the last one stopped */
        cr_assert_eq(hl_program_run(p, &x), HL_OK, "%s", hl_err_message());
        cr_assert_eq(plain_run(&b, &x, &want), HL_OK);
        cr_assert_eq(leaves_differ(&a, &b), HL_NONE, "run %d: '%s' differs", k,
                     g->values.at[leaves_differ(&a, &b)].name);
        plain_free(&b, want);
    }
    cr_assert_neq(leaves_differ(&a, &before), HL_NONE, "nothing was updated");
    for (size_t v = 0; v < g->values.n; v++)
        if (g->values.at[v].kind == HL_VALUE_INPUT)
            cr_assert(memcmp(a.data[v], before.data[v], leaf_bytes(&a, (hl_id)v)) == 0,
                      "input '%s' was written", g->values.at[v].name);
    hl_program_free(p);
    leaves_free(&a);
    leaves_free(&b);
    leaves_free(&before);
}

/* tanh layer; g of both parameters; the update named */
static int step_graph(hl_graph *g, hl_op_id update, hl_id outs[4])
{
    hl_id w = hl_graph_state(g, "w", F32(5, 3)), x = hl_graph_input(g, "x", F32(4, 5));
    hl_id b = hl_graph_state(g, "b", F32(3)), t = hl_graph_state(g, "1t", scalar());
    hl_id y = hl_g_op1(g, HL_OP_ID_tanh, hl_g_add(g, hl_g_matmul(g, x, false, w, false), b));
    hl_id gw = hl_g_matmul(g, x, true, y, false), gb = hl_g_sum(g, y, 1, false);
    hl_id lr = hl_graph_const(g, 0.01), one = hl_graph_const(g, 1), next = hl_g_add(g, t, one);
    hl_id moment[4];
    static const char *const name[4] = {"mw", "vw", "mb", "vb"};
    for (int i = 0; i < 4; i++)
        moment[i] = hl_graph_state(g, name[i], i < 2 ? F32(5, 3) : F32(3));
    hl_id adamw[12] = {lr, next, one,       one,
                       w,  gw,   moment[0], hl_g_op1(g, HL_OP_ID_neg, moment[1]),
                       b,  gb,   moment[2], moment[3]};
    adamw[7] = moment[1];
    const hl_id sgd[9] = {lr, one, one, w, gw, moment[0], b, gb, moment[2]};
    outs[0] = hl_g_sum(g, y, 0, false);
    outs[1] = update == HL_OP_ID_adamw ? hl_graph_append(g, hl_op_get(update), adamw, 12, NULL)
                                       : hl_graph_append(g, hl_op_get(update), sgd, 9, NULL);
    outs[2] = hl_g_op2(g, HL_OP_ID_assign, t, next);
    cr_assert_eq(g->status, HL_OK, "%s", hl_err_message());
    return 3;
}

Test(program_state, updates_write_in_place)
{
    hl_team *team;
    cr_assert_eq(hl_team_new(2, &team), HL_OK);
    for (int k = 0; k < 6; k++) {
        hl_graph *g = graph();
        hl_id outs[4];
        const int n = step_graph(g, k % 2 ? HL_OP_ID_sgd : HL_OP_ID_adamw, outs);
        /* second moments are squares: data that are drawn negative would give NaN, bit for bit */
        compare_updates(g, outs, n, k / 2 == 1, k / 2 == 2 ? team : NULL);
        hl_graph_free(g);
    }
    hl_team_free(team);
}

Test(program_state, updates_not_asked_for_do_not_happen)
{
    hl_graph *g = graph();
    hl_id outs[4];
    hl_program *p;
    leaves l, before;
    step_graph(g, HL_OP_ID_adamw, outs);
    cr_assert_eq(leaves_new(g, false, 0, &l), HL_OK);
    cr_assert_eq(leaves_new(g, false, 0, &before), HL_OK);
    cr_assert_eq(program_for(&l, outs, 1, 1, &p), HL_OK);
    cr_assert_eq(hl_program_n_bindings(p), 3, "moments and counter are not read");
    cr_assert_eq(hl_program_run(p, &here), HL_OK);
    cr_assert_eq(leaves_differ(&l, &before), HL_NONE);
    hl_program_free(p);
    leaves_free(&l);
    leaves_free(&before);
    hl_graph_free(g);
}

static void refused(hl_graph *g, const hl_id *outs, int n, const char *what)
{
    hl_program *p;
    cr_assert_eq(g->status, HL_OK, "%s", hl_err_message());
    cr_expect_eq(compile(g, outs, n, &p), HL_E_INTERNAL, "%s", what);
    cr_expect(strstr(hl_err_message(), what), "'%s' does not say '%s'", hl_err_message(), what);
    hl_program_free(p);
    hl_graph_free(g);
}

Test(program_state, reading_after_the_update_is_refused)
{
    hl_graph *g = graph();
    hl_id s = hl_graph_state(g, "s", F32(4)), x = hl_graph_input(g, "x", F32(4)), outs[2];
    outs[0] = hl_g_op2(g, HL_OP_ID_assign, s, hl_g_add(g, s, x));
    outs[1] = hl_g_neg(g, s);
    refused(g, outs, 2, "neg reads 's' after it was updated");
    /* through a view taken before */
    g = graph();
    s = hl_graph_state(g, "s", F32(4));
    x = hl_graph_input(g, "x", F32(4));
    hl_id view = hl_g_reshape(g, s, 2, (int64_t[]){2, 2});
    outs[0] = hl_g_op2(g, HL_OP_ID_assign, s, x);
    outs[1] = hl_g_op1(g, HL_OP_ID_tanh, view);
    refused(g, outs, 2, "tanh reads");
    /* by a second update */
    g = graph();
    s = hl_graph_state(g, "s", F32(4));
    x = hl_graph_input(g, "x", F32(4));
    outs[0] = hl_g_op2(g, HL_OP_ID_assign, s, x);
    outs[1] = hl_g_op2(g, HL_OP_ID_assign, s, x);
    refused(g, outs, 2, "assign reads 's' after it was updated");
    /* before the update, in any number, is what updates are for; here through views */
    g = graph();
    s = hl_graph_state(g, "s", F32(4));
    hl_id square = hl_g_mul(g, s, s);
    outs[0] = hl_g_op2(g, HL_OP_ID_assign, hl_g_reshape(g, s, 2, (int64_t[]){4, 1}),
                       hl_g_reshape(g, square, 2, (int64_t[]){4, 1}));
    hl_program *p;
    _Alignas(64) float data[4] = {1, 2, 3, -4};
    cr_assert_eq(compile(g, outs, 1, &p), HL_OK, "%s", hl_err_message());
    hl_program_bind(p, 0, data);
    cr_assert_eq(hl_program_run(p, &here), HL_OK);
    cr_assert_eq(hl_program_run(p, &here), HL_OK);
    cr_expect(data[0] == 1 && data[1] == 16 && data[2] == 81 && data[3] == 256);
    hl_program_free(p);
    hl_graph_free(g);
}

Test(program_state, only_states_are_updated_and_each_by_one)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_input(g, "x", F32(4)), s = hl_graph_state(g, "s", F32(4)), out;
    out = hl_g_op2(g, HL_OP_ID_assign, x, s);
    refused(g, &out, 1, "assign writes into 'x'");
    g = graph();
    s = hl_graph_state(g, "s", scalar());
    out = hl_g_op2(g, HL_OP_ID_assign, hl_graph_const(g, 2), s);
    refused(g, &out, 1, "assign writes into");
    g = graph();
    s = hl_graph_state(g, "s", F32(4));
    out = hl_g_op2(g, HL_OP_ID_assign, hl_g_neg(g, s), s);
    refused(g, &out, 1, "assign writes into");
    /* one state in two places of one call, the case of a tied parameter listed twice */
    g = graph();
    s = hl_graph_state(g, "s", F32(4));
    hl_id lr = hl_graph_const(g, 1), b = hl_graph_state(g, "b", F32(4));
    hl_id c = hl_graph_state(g, "c", F32(4)), d = hl_g_neg(g, s);
    hl_id twice[9] = {lr, lr, lr, s, d, b, s, d, c};
    out = hl_graph_append(g, hl_op_get(HL_OP_ID_sgd), twice, 9, NULL);
    refused(g, &out, 1, "sgd takes 's' twice");
    g = graph();
    s = hl_graph_state(g, "s", F32(4));
    out = hl_g_op2(g, HL_OP_ID_assign, s, hl_g_reshape(g, s, 1, (int64_t[]){4}));
    refused(g, &out, 1, "assign takes 's' twice");
}

/* --- element types --- */

/* f64 values in a float program: moments are such, and what is computed from them. */
Test(program_state, doubles_in_float_programs_are_doubles)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_input(g, "x", F32(5, 7));
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_moments));
    hl_id rows = hl_graph_append(g, hl_op_get(HL_OP_ID_moments), &x, 1, &a);
    hl_id d = hl_graph_input(g, "d", hl_type_make(HL_DTYPE_F64, 2, (int64_t[]){5, 8}));
    hl_id sum = hl_g_add(g, rows, d), y = hl_g_op1(g, HL_OP_ID_tanh, sum);
    hl_id outs[4] = {rows, sum, y, hl_g_sum(g, y, 2, false)};
    results r, f;
    cr_assert_eq(evaluate(g, outs, 4, false, &r), HL_OK, "%s", hl_err_message());
    cr_assert_eq(evaluate(g, outs, 4, true, &f), HL_OK);
    for (int i = 0; i < 4; i++)
        for (int64_t k = 0; k < r.count[i]; k++)
            cr_expect(fabs(r.value[i][k] - f.value[i][k]) < 1e-5, "output %d[%d]: %g, not %g", i,
                      (int)k, r.value[i][k], f.value[i][k]);
    results_free(&r);
    results_free(&f);
    /* mixed in one call: refused, not misread */
    hl_program *p;
    hl_id m[2] = {hl_graph_input(g, "e", hl_type_make(HL_DTYPE_F64, 2, (int64_t[]){4, 5})), x};
    hl_id mixed = hl_graph_append(g, hl_op_get(HL_OP_ID_matmul), m, 2, NULL);
    if (mixed != HL_NONE) {
        cr_expect_eq(compile(g, &mixed, 1, &p), HL_E_DTYPE);
        cr_expect(strstr(hl_err_message(), "matmul"), "%s", hl_err_message());
    }
    hl_graph_free(g);
}

Test(program_state, a_team_larger_than_compiled_for_is_refused)
{
#ifndef HL_DEBUG
    hl_graph *g = graph();
    hl_id x = hl_graph_input(g, "x", F32(4, 4)), y = hl_g_matmul(g, x, false, x, true);
    hl_program *p;
    hl_team *team;
    hl_exec on_team = here;
    _Alignas(64) float data[16] = {0};
    cr_assert_eq(hl_team_new(2, &team), HL_OK);
    cr_assert_eq(compile(g, &y, 1, &p), HL_OK);
    hl_program_bind(p, 0, data);
    on_team.team = team;
    cr_assert_eq(hl_program_run(p, &on_team), HL_E_INTERNAL);
    cr_assert_eq(hl_program_run(p, &here), HL_OK);
    hl_program_free(p);
    hl_team_free(team);
    hl_graph_free(g);
#endif
}

/* --- profile --- */

Test(program_state, parts_of_a_program)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_input(g, "x", F32(64, 64));
    const hl_id a = hl_g_matmul(g, x, false, x, false);             /* needed by all */
    const hl_id b = hl_g_op1(g, HL_OP_ID_tanh, a);                  /* part 0 */
    const hl_id c = hl_g_matmul(g, hl_g_matmul(g, b, false, a, false), false, x, false); /* 1 */
    const hl_id d = hl_g_op1(g, HL_OP_ID_exp, c);                   /* what is left */
    const hl_id out[3] = {d, b, c};
    const int outputs[] = {1, 2}, first[] = {0, 1, 2};
    double ms[HL_PROGRAM_PARTS];
    leaves l;
    hl_program *p;
    cr_assert_eq(leaves_new(g, false, 0, &l), HL_OK);
    cr_assert_eq(program_for(&l, out, 3, 1, &p), HL_OK);
    cr_assert_eq(hl_program_divide(p, outputs, first, 2), HL_OK);
    cr_assert_eq(hl_program_run(p, &here), HL_OK);
    hl_program_part_ms(p, ms);
    cr_assert(ms[0] == 0 && ms[1] == 0 && ms[2] == 0, "off: nothing is measured");
    bool less = false; /* an exponential takes less than two products, unless somebody is in the way */
    for (int tries = 0; tries < 50 && !less; tries++) {
        hl_program_profile(p, true);
        for (int k = 0; k < 5; k++)
            cr_assert_eq(hl_program_run(p, &here), HL_OK);
        hl_program_part_ms(p, ms);
        cr_assert(ms[0] > 0 && ms[1] > 0 && ms[2] > 0 && ms[3] == 0);
        less = ms[2] < ms[1];
    }
    cr_assert(less);
    hl_program_free(p);
    leaves_free(&l);
    hl_graph_free(g);
}

Test(program_state, profile_counts_by_op)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_input(g, "x", F32(64, 64)), y = x;
    for (int i = 0; i < 3; i++)
        y = hl_g_reshape(g, hl_g_matmul(g, y, false, x, false), 2, (int64_t[]){64, 64});
    y = hl_g_op1(g, HL_OP_ID_tanh, hl_g_reshape(g, y, 1, (int64_t[]){4096}));
    leaves l;
    hl_program *p;
    hl_str text = {0};
    cr_assert_eq(leaves_new(g, false, 0, &l), HL_OK);
    cr_assert_eq(program_for(&l, &y, 1, 1, &p), HL_OK);
    static const char head[] = "   share   ms/run  calls   GFLOP/s  op\n";
    cr_assert_eq(hl_program_run(p, &here), HL_OK);
    hl_program_profile_text(p, &text);
    cr_assert_str_eq(hl_str_text(&text), head, "off: nothing is measured");
    hl_program_profile(p, true);
    for (int k = 0; k < 5; k++)
        cr_assert_eq(hl_program_run(p, &here), HL_OK);
    hl_str_clear(&text);
    hl_program_profile_text(p, &text);
    double share[2], ms[2], rate[2], sum = 0;
    int calls[2];
    const char *at = hl_str_text(&text) + strlen(head);
    static const char *const name[2] = {"tanh\n", "matmul\n"};
    for (int i = 0; i < 2; i++) { /* in the table's order; views take no time and are not there */
        char op[16];
        cr_assert_eq(
            sscanf(at, " %lf%% %lf %d %lf %15s", &share[i], &ms[i], &calls[i], &rate[i], op), 5,
            "%s", at);
        cr_assert(strncmp(op, name[i], strlen(op)) == 0, "%s", op);
        sum += share[i];
        at = strchr(at, '\n') + 1;
    }
    cr_assert_str_eq(at, "", "%s", hl_str_text(&text));
    cr_expect(calls[0] == 1 && calls[1] == 3);
    cr_expect(fabs(sum - 100) < 0.2, "%s", hl_str_text(&text));
    /* GFLOP/s is flops over time: 3 products of 2 * 64^3 per run */
    cr_expect(ms[1] <= 0.002 || fabs(rate[1] * ms[1] * 1e6 / (6.0 * 64 * 64 * 64) - 1) < 0.3, "%s",
              hl_str_text(&text));
    hl_program_profile(p, true); /* starts anew */
    hl_str_clear(&text);
    hl_program_profile_text(p, &text);
    cr_assert_str_eq(hl_str_text(&text), head);
    hl_str_done(&text);
    hl_program_free(p);
    leaves_free(&l);
    hl_graph_free(g);
}
