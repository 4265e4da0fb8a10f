/* Gradients of whole expressions against formulas derived by hand. That each op's own rule is right
 * is the conformance suite's business; here it is how they are put together. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/exec/trial_test.h"
#include "engine/pass/pass.h"

static hl_graph *graph(void)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    return g;
}

static hl_id op1(hl_graph *g, hl_op_id op, hl_id a)
{
    return hl_g_op1(g, op, a);
}

static hl_id num(hl_graph *g, double x)
{
    return hl_graph_const(g, x);
}

static hl_id total(hl_graph *g, hl_id a)
{
    return hl_g_sum(g, a, 0, false);
}

static void gradients(hl_graph *g, hl_id y, const hl_id *wrt, int n, hl_id *grads)
{
    cr_assert_eq(hl_pass_grad(g, y, wrt, n, grads), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hl_graph_check(g), HL_OK);
    for (int i = 0; i < n; i++)
        cr_assert(grads[i] == HL_NONE ||
                  hl_type_equal(hl_graph_type(g, grads[i]), hl_graph_type(g, wrt[i])));
}

/* d y / d x, summed over x */
static hl_id derivative(hl_graph *g, hl_id y, hl_id x)
{
    hl_id d;
    gradients(g, y, &x, 1, &d);
    return d;
}

static results run(const hl_graph *g, const hl_id *outs, int n)
{
    results r;
    cr_assert_eq(evaluate(g, outs, n, true, &r), HL_OK, "%s", hl_err_message());
    return r;
}

static void expect_near(double got, double want, const char *what)
{
    cr_expect(fabs(got - want) <= 1e-11 * (fabs(want) + 1), "%s: %.15g, by hand %.15g", what, got,
              want);
}

/* --- elementwise expressions of x and w --- */

static hl_id e_tanh(hl_graph *g, hl_id x, hl_id w)
{
    return op1(g, HL_OP_ID_square, op1(g, HL_OP_ID_tanh, hl_g_mul(g, x, w)));
}
static void d_tanh(double x, double w, double d[2])
{
    const double t = tanh(x * w), slope = 2 * t * (1 - t * t);
    d[0] = slope * w;
    d[1] = slope * x;
}

static hl_id one_plus_square(hl_graph *g, hl_id a)
{
    return hl_g_add(g, num(g, 1), op1(g, HL_OP_ID_square, a));
}
static hl_id e_ratio(hl_graph *g, hl_id x, hl_id w)
{
    return hl_g_div(g, hl_g_neg(g, x), one_plus_square(g, w));
}
static void d_ratio(double x, double w, double d[2])
{
    d[0] = -1 / (1 + w * w);
    d[1] = 2 * x * w / ((1 + w * w) * (1 + w * w));
}

static hl_id e_roots(hl_graph *g, hl_id x, hl_id w)
{
    hl_id a = op1(g, HL_OP_ID_sqrt, one_plus_square(g, x));
    return hl_g_mul(g, a, op1(g, HL_OP_ID_log, one_plus_square(g, w)));
}
static void d_roots(double x, double w, double d[2])
{
    d[0] = x / sqrt(1 + x * x) * log(1 + w * w);
    d[1] = sqrt(1 + x * x) * 2 * w / (1 + w * w);
}

static hl_id e_powers(hl_graph *g, hl_id x, hl_id w)
{
    return hl_g_op2(g, HL_OP_ID_pow, one_plus_square(g, x), op1(g, HL_OP_ID_sigmoid, w));
}
static void d_powers(double x, double w, double d[2])
{
    const double b = 1 + x * x, s = 1 / (1 + exp(-w)), y = pow(b, s);
    d[0] = s * pow(b, s - 1) * 2 * x;
    d[1] = y * log(b) * s * (1 - s);
}

static hl_id e_kinks(hl_graph *g, hl_id x, hl_id w)
{
    hl_id m = hl_g_op2(g, HL_OP_ID_maximum, x, w), n = hl_g_op2(g, HL_OP_ID_minimum, x, w);
    hl_id r = op1(g, HL_OP_ID_relu, x), a = op1(g, HL_OP_ID_abs, w);
    return hl_g_add(g, hl_g_mul(g, m, a), hl_g_mul(g, hl_g_scale(g, n, 3), r));
}
static void d_kinks(double x, double w, double d[2])
{
    const double r = x > 0 ? x : 0, n = x < w ? x : w, m = x < w ? w : x;
    d[0] = (x > w) * fabs(w) + 3 * ((x < w) * r + n * (x > 0));
    d[1] = (x < w) * fabs(w) + m * (w < 0 ? -1 : 1) + 3 * (x > w) * r;
}

static hl_id e_gelu(hl_graph *g, hl_id x, hl_id w)
{
    return hl_g_sub(g, op1(g, HL_OP_ID_gelu, hl_g_mul(g, x, w)), op1(g, HL_OP_ID_exp, x));
}
static void d_gelu(double x, double w, double d[2])
{
    const double z = x * w;
    const double slope = 0.5 * (1 + erf(z / sqrt(2))) + z * exp(-z * z / 2) / sqrt(2 * acos(-1));
    d[0] = slope * w - exp(x);
    d[1] = slope * x;
}

static hl_id e_select(hl_graph *g, hl_id x, hl_id w)
{
    hl_id in[3] = {hl_g_op2(g, HL_OP_ID_lt, x, w), op1(g, HL_OP_ID_square, x),
                   hl_g_mul(g, x, op1(g, HL_OP_ID_erf, w))};
    return hl_graph_append(g, hl_op_get(HL_OP_ID_where), in, 3, NULL);
}
static void d_select(double x, double w, double d[2])
{
    d[0] = x < w ? 2 * x : erf(w);
    d[1] = x < w ? 0 : x * 2 / sqrt(acos(-1)) * exp(-w * w);
}

Test(autodiff, expressions_by_hand)
{
    static const struct {
        const char *name;
        hl_id (*build)(hl_graph *g, hl_id x, hl_id w);
        void (*slope)(double x, double w, double d[2]);
    } list[] = {{"tanh", e_tanh, d_tanh},      {"ratio", e_ratio, d_ratio},
                {"roots", e_roots, d_roots},   {"powers", e_powers, d_powers},
                {"kinks", e_kinks, d_kinks},   {"gelu", e_gelu, d_gelu},
                {"select", e_select, d_select}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        hl_graph *g = graph();
        hl_id wrt[2] = {hl_graph_input(g, "x", F32(40)), hl_graph_state(g, "w", F32(40))};
        hl_id outs[4] = {wrt[0], wrt[1]};
        gradients(g, total(g, list[i].build(g, wrt[0], wrt[1])), wrt, 2, outs + 2);
        results r = run(g, outs, 4);
        for (int k = 0; k < 40; k++) {
            double d[2];
            list[i].slope(r.value[0][k], r.value[1][k], d);
            expect_near(r.value[2][k], d[0], list[i].name);
            expect_near(r.value[3][k], d[1], list[i].name);
        }
        results_free(&r);
        hl_graph_free(g);
    }
}

/* --- wiring --- */

/* f = sum_ij ((a_i + b_j) c)^2 with a {3, 1}, b {4}, c a scalar */
Test(autodiff, broadcast_operands_get_sums)
{
    hl_graph *g = graph();
    hl_id wrt[3] = {hl_graph_state(g, "a", F32(3, 1)), hl_graph_state(g, "b", F32(4)),
                    hl_graph_state(g, "c", hl_type_scalar(HL_DTYPE_F32))};
    hl_id outs[6] = {wrt[0], wrt[1], wrt[2]};
    hl_id y = hl_g_mul(g, hl_g_add(g, wrt[0], wrt[1]), wrt[2]);
    gradients(g, total(g, op1(g, HL_OP_ID_square, y)), wrt, 3, outs + 3);
    results r = run(g, outs, 6);
    const double *a = r.value[0], *b = r.value[1], c = r.value[2][0];
    double da[3] = {0}, db[4] = {0}, dc = 0;
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 4; k++) {
            da[i] += 2 * (a[i] + b[k]) * c * c;
            db[k] += 2 * (a[i] + b[k]) * c * c;
            dc += 2 * (a[i] + b[k]) * (a[i] + b[k]) * c;
        }
    for (int i = 0; i < 3; i++)
        expect_near(r.value[3][i], da[i], "a");
    for (int k = 0; k < 4; k++)
        expect_near(r.value[4][k], db[k], "b");
    expect_near(r.value[5][0], dc, "c");
    results_free(&r);
    hl_graph_free(g);
}

Test(autodiff, values_read_many_times)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_state(g, "x", F32(5)), outs[5] = {x};
    hl_id squared = x, multiplied = x, added = x, diamond;
    for (int i = 0; i < 4; i++)
        squared = op1(g, HL_OP_ID_square, squared); /* x^16 */
    for (int i = 1; i < 16; i++)
        multiplied = hl_g_mul(g, i % 2 ? x : multiplied, i % 2 ? multiplied : x);
    for (int i = 1; i < 50; i++)
        added = hl_g_add(g, added, x);
    /* u = x^2, v = u + x, y = u v - v / u = x^4 + x^3 - 1 - 1/x */
    hl_id u = op1(g, HL_OP_ID_square, x), v = hl_g_add(g, u, x);
    diamond = hl_g_sub(g, hl_g_mul(g, u, v), hl_g_div(g, v, u));
    outs[1] = derivative(g, total(g, squared), x);
    outs[2] = derivative(g, total(g, multiplied), x);
    outs[3] = derivative(g, total(g, added), x);
    outs[4] = derivative(g, total(g, diamond), x);
    results r = run(g, outs, 5);
    for (int k = 0; k < 5; k++) {
        const double z = r.value[0][k];
        expect_near(r.value[1][k], 16 * pow(z, 15), "x^16 by squaring");
        expect_near(r.value[2][k], 16 * pow(z, 15), "x^16 by products");
        expect_near(r.value[3][k], 50, "50 x");
        expect_near(r.value[4][k], 4 * z * z * z + 3 * z * z + 1 / (z * z), "diamond");
    }
    results_free(&r);
    hl_graph_free(g);
}

/* loss = sum(m * (x w1) w2): dw1 = x^T (m w2^T), dw2 = (x w1)^T m, dx = (m w2^T) w1^T */
Test(autodiff, products_by_hand)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_input(g, "x", F32(5, 3)), m = hl_graph_input(g, "m", F32(5, 2));
    hl_id w1 = hl_graph_state(g, "w1", F32(3, 4)), w2 = hl_graph_state(g, "w2", F32(4, 2));
    hl_id h = hl_g_matmul(g, x, false, w1, false), y = hl_g_matmul(g, h, false, w2, false);
    hl_id wrt[3] = {x, w1, w2}, outs[6];
    gradients(g, total(g, hl_g_mul(g, m, y)), wrt, 3, outs);
    hl_id back = hl_g_matmul(g, m, false, w2, true);
    outs[3] = hl_g_matmul(g, back, false, w1, true);
    outs[4] = hl_g_matmul(g, x, true, back, false);
    outs[5] = hl_g_matmul(g, h, true, m, false);
    results r = run(g, outs, 6);
    for (int i = 0; i < 3; i++)
        for (int64_t k = 0; k < r.count[i]; k++)
            expect_near(r.value[i][k], r.value[3 + i][k], "product");
    results_free(&r);
    hl_graph_free(g);
}

/* A tied table: embedding below, output layer above; against the same in separate ops. */
Test(autodiff, tied_tables_add_both_parts)
{
    hl_graph *g = graph();
    hl_type ids = hl_type_make(HL_DTYPE_I32, 1, (int64_t[]){6});
    hl_id in[4] = {hl_graph_state(g, "table", F32(5, 4)), hl_graph_input(g, "ids<5", ids)};
    hl_id table = in[0], bias = hl_graph_state(g, "bias", F32(5));
    hl_id h = op1(g, HL_OP_ID_tanh, hl_graph_append(g, hl_op_get(HL_OP_ID_embedding), in, 2, NULL));
    hl_id labels = hl_graph_input(g, "labels<5!", ids), wrt[2] = {table, bias}, outs[4];
    hl_id head[4] = {h, table, bias, labels}, lin[3] = {h, table, bias};
    gradients(g, hl_graph_append(g, hl_op_get(HL_OP_ID_lm_loss), head, 4, NULL), wrt, 2, outs);
    hl_id logits[2] = {hl_graph_append(g, hl_op_get(HL_OP_ID_linear), lin, 3, NULL), labels};
    gradients(g, hl_graph_append(g, hl_op_get(HL_OP_ID_cross_entropy), logits, 2, NULL), wrt, 2,
              outs + 2);
    results r = run(g, outs, 4);
    for (int i = 0; i < 2; i++)
        for (int64_t k = 0; k < r.count[i]; k++)
            expect_near(r.value[i][k], r.value[2 + i][k], i ? "bias" : "table");
    results_free(&r);
    hl_graph_free(g);
}

/* Both outputs of one node carry gradients: residual_norm against add and layernorm, and the value
 * before an activation against the same made by hand. */
Test(autodiff, further_outputs_carry_gradients)
{
    hl_graph *g = graph();
    hl_id a = hl_graph_state(g, "a", F32(3, 4)), x = hl_graph_state(g, "x", F32(3, 4));
    hl_id ga = hl_graph_state(g, "ga", F32(4)), be = hl_graph_state(g, "be", F32(4));
    hl_id wrt[4] = {a, x, ga, be}, outs[14], in[4] = {a, x, ga, be};
    hl_id both = hl_graph_append(g, hl_op_get(HL_OP_ID_residual_norm), in, 4, NULL);
    hl_id sum = hl_g_add(g, a, x), ln_in[3] = {sum, ga, be};
    hl_id ln = hl_graph_append(g, hl_op_get(HL_OP_ID_layernorm), ln_in, 3, NULL);
    hl_id one = hl_g_mul(g, both, op1(g, HL_OP_ID_tanh, both + 1));
    hl_id two = hl_g_mul(g, sum, op1(g, HL_OP_ID_tanh, ln));
    gradients(g, total(g, one), wrt, 4, outs);
    gradients(g, total(g, two), wrt, 4, outs + 4);
    hl_id lin[3] = {x, a, HL_NONE};
    hl_attrs act = hl_op_defaults(hl_op_get(HL_OP_ID_linear));
    act.v[0].i = HL_ACT_GELU;
    hl_id fused = hl_graph_append(g, hl_op_get(HL_OP_ID_linear), lin, 3, &act);
    hl_id z = hl_g_matmul(g, x, false, a, true), y = op1(g, HL_OP_ID_gelu, z);
    gradients(g, total(g, hl_g_mul(g, fused, fused + 1)), wrt, 2, outs + 8);
    gradients(g, total(g, hl_g_mul(g, y, z)), wrt, 2, outs + 10);
    gradients(g, total(g, fused + 1), wrt, 1, outs + 12); /* the other output alone */
    gradients(g, total(g, z), wrt, 1, outs + 13);
    results r = run(g, outs, 14);
    for (int i = 0; i < 12; i++) {
        const int twin = i < 4 ? i + 4 : i < 8 ? i : i < 10 ? i + 2 : i;
        for (int64_t k = 0; k < r.count[i]; k++)
            expect_near(r.value[i][k], r.value[twin][k], "two ways");
    }
    for (int64_t k = 0; k < r.count[12]; k++)
        expect_near(r.value[12][k], r.value[13][k], "pre alone");
    results_free(&r);
    hl_graph_free(g);
}

/* --- what has no gradient --- */

Test(autodiff, nothing_where_the_loss_does_not_depend)
{
    hl_graph *g = graph();
    hl_type whole = hl_type_make(HL_DTYPE_I32, 1, (int64_t[]){3});
    hl_id x = hl_graph_input(g, "x", F32(3)), w = hl_graph_state(g, "w", F32(3));
    hl_id ids = hl_graph_input(g, "ids<3", whole), table = hl_graph_state(g, "table", F32(3, 1));
    hl_id unread = hl_graph_state(g, "unread", F32(2)), late = hl_g_neg(g, w);
    hl_id in[2] = {table, ids};
    hl_id row = hl_graph_append(g, hl_op_get(HL_OP_ID_embedding), in, 2, NULL);
    hl_id below = hl_g_op2(g, HL_OP_ID_lt, w, x); /* a comparison lets nothing through */
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_cast));
    a.v[0].i = 1;
    hl_id whole_w = hl_graph_append(g, hl_op_get(HL_OP_ID_cast), &w, 1, &a);
    a.v[0].i = 0;
    hl_id back = hl_graph_append(g, hl_op_get(HL_OP_ID_cast), &whole_w, 1, &a);
    hl_id sum = hl_g_add(g, hl_g_mul(g, x, below), hl_g_add(g, total(g, row), back));
    hl_id wrt[6] = {w, ids, unread, late, table, x}, grads[6];
    gradients(g, total(g, sum), wrt, 6, grads);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(grads[i], HL_NONE, "value %d", i);
    cr_expect(grads[4] != HL_NONE && grads[5] != HL_NONE);
    /* a constant loss, and one that is itself asked for */
    hl_id c = num(g, 3), self;
    cr_assert_eq(hl_pass_grad(g, c, wrt, 6, grads), HL_OK);
    for (int i = 0; i < 6; i++)
        cr_expect_eq(grads[i], HL_NONE);
    hl_id loss = total(g, x);
    cr_assert_eq(hl_pass_grad(g, loss, &loss, 1, &self), HL_OK);
    cr_expect_eq(evaluate_scalar(g, self, true), 1);
    hl_graph_free(g);
}

Test(autodiff, with_respect_to_values_in_between)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_state(g, "x", F32(4)), h = op1(g, HL_OP_ID_exp, x);
    hl_id y = total(g, op1(g, HL_OP_ID_square, h)), wrt[4] = {h, x, h, y}, outs[5] = {x};
    gradients(g, y, wrt, 4, outs + 1);
    cr_expect_eq(outs[1], outs[3], "asked for twice");
    results r = run(g, outs, 5);
    for (int k = 0; k < 4; k++) {
        expect_near(r.value[1][k], 2 * exp(r.value[0][k]), "h");
        expect_near(r.value[2][k], 2 * exp(2 * r.value[0][k]), "x");
    }
    expect_near(r.value[4][0], 1, "y");
    results_free(&r);
    /* made by an op without a derivative: nobody asked for what lies behind it */
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_moments));
    hl_id m = hl_graph_append(g, hl_op_get(HL_OP_ID_moments), &x, 1, &a);
    hl_id d = HL_NONE, z = total(g, op1(g, HL_OP_ID_neg, m));
    hl_id cotangent = hl_graph_input(g, "c", hl_type_scalar(HL_DTYPE_F64));
    cr_expect_eq(hl_pass_vjp(g, z, cotangent, &m, 1, &d), HL_OK, "%s", hl_err_message());
    cr_expect_neq(d, HL_NONE);
    hl_graph_free(g);
}

Test(autodiff, the_loss_is_one_float)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_state(g, "x", F32(2, 3)), d;
    hl_id k = hl_graph_input(g, "k", hl_type_scalar(HL_DTYPE_I32));
    cr_assert_eq(hl_pass_grad(g, op1(g, HL_OP_ID_tanh, x), &x, 1, &d), HL_E_SHAPE);
    cr_assert_str_eq(hl_err_message(), "the loss must be one float, not f32{2, 3}");
    cr_assert_eq(hl_pass_grad(g, k, &x, 1, &d), HL_E_SHAPE);
    cr_assert_str_eq(hl_err_message(), "the loss must be one float, not i32{}");
    /* one element in whatever rank */
    hl_id one = hl_g_reshape(g, total(g, x), 2, (int64_t[]){1, 1});
    cr_assert_eq(hl_pass_grad(g, one, &x, 1, &d), HL_OK);
    results r = run(g, &d, 1);
    cr_assert(r.count[0] == 6 && r.value[0][5] == 1);
    results_free(&r);
    /* a loss that could not be recorded: its reason stands */
    hl_id bad = hl_g_matmul(g, x, false, x, false);
    cr_assert_eq(bad, HL_NONE);
    cr_assert_eq(hl_pass_grad(g, bad, &x, 1, &d), HL_E_SHAPE);
    cr_assert(strstr(hl_err_message(), "matmul"), "%s", hl_err_message());
    hl_graph_free(g);
}

Test(autodiff, ops_without_derivative_are_named)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_state(g, "x", F32(2, 3)), d;
    hl_id ga = hl_graph_state(g, "gamma", F32(3)), in[3] = {x, ga, ga};
    g->where = "m.lua:9";
    hl_id y = hl_graph_append(g, hl_op_get(HL_OP_ID_layernorm), in, 3, NULL);
    g->where = "m.lua:10";
    hl_id loss = total(g, op1(g, HL_OP_ID_square, y));
    cr_assert_eq(hl_pass_grad(g, loss, &x, 1, &d), HL_OK);
    cr_assert_str_eq(g->where, "m.lua:10", "the line being recorded is still known");
    cr_assert_str_eq(hl_graph_node_of(g, d)->where, "m.lua:9");
    hl_id again = total(g, op1(g, HL_OP_ID_square, d)), second;
    cr_assert_eq(hl_pass_grad(g, again, &x, 1, &second), HL_E_UNSUPPORTED);
    cr_assert_str_eq(hl_err_message(), "m.lua:9: layernorm_vjp has no second derivative");
    cr_assert_str_eq(g->where, "m.lua:10");
    g->where = NULL;
    hl_id m = hl_graph_append(g, hl_op_get(HL_OP_ID_moments), &x, 1, NULL);
    hl_id one = hl_graph_input(g, "one", hl_type_scalar(HL_DTYPE_F64));
    cr_assert_eq(hl_pass_vjp(g, total(g, m), one, &x, 1, &d), HL_E_UNSUPPORTED);
    cr_assert_str_eq(hl_err_message(), "moments has no derivative");
    cr_assert_eq(g->status, HL_OK, "the graph is as good as before");
    hl_graph_free(g);
}

/* What a node keeps for its own backward pass is no function of x to the pass: said, not zero. */
Test(autodiff, statistics_have_no_derivative)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_state(g, "x", F32(2, 3)), ga = hl_graph_state(g, "g", F32(3)), d;
    hl_id in[4] = {x, ga, ga}, both[4] = {x, x, ga, ga};
    hl_id stats[4] = {hl_graph_append(g, hl_op_get(HL_OP_ID_layernorm), in, 3, NULL) + 2,
                      hl_graph_append(g, hl_op_get(HL_OP_ID_residual_norm), both, 4, NULL) + 2,
                      hl_graph_append(g, hl_op_get(HL_OP_ID_normalise), in, 1, NULL) + 1};
    hl_id wide = hl_g_reshape(g, x, 3, (int64_t[]){1, 2, 3}), qkv[3] = {wide, wide, wide};
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_attention));
    a.v[0].i = 1;
    stats[3] = hl_graph_append(g, hl_op_get(HL_OP_ID_attention), qkv, 3, &a) + 1;
    for (int i = 0; i < 4; i++)
        cr_expect_eq(hl_pass_grad(g, total(g, stats[i]), &x, 1, &d), HL_E_UNSUPPORTED, "%d", i);
    cr_expect_eq(g->status, HL_OK, "%s", hl_err_message());
    hl_graph_free(g);
}

/* --- derivatives of derivatives --- */

static hl_id fourth_power(hl_graph *g, hl_id x, int way)
{
    hl_id square = op1(g, HL_OP_ID_square, x);
    if (way == 0)
        return op1(g, HL_OP_ID_square, square);
    if (way == 1)
        return hl_g_mul(g, hl_g_mul(g, x, x), hl_g_mul(g, x, x));
    if (way == 2)
        return hl_g_op2(g, HL_OP_ID_pow, x, num(g, 4));
    return hl_g_div(g, hl_g_mul(g, square, hl_g_mul(g, square, x)), x);
}

Test(autodiff, derivatives_of_the_fourth_power)
{
    for (int way = 0; way < 4; way++) {
        hl_graph *g = graph();
        /* positive, as pow wants it */
        hl_id leaf = hl_graph_state(g, "x", F32(6)), x = op1(g, HL_OP_ID_exp, leaf);
        hl_id y = fourth_power(g, x, way), outs[5] = {x};
        for (int order = 1; order <= 4; order++) {
            y = derivative(g, total(g, y), x);
            outs[order] = y;
        }
        results r = run(g, outs, 5);
        for (int k = 0; k < 6; k++) {
            const double z = r.value[0][k];
            expect_near(r.value[1][k], 4 * z * z * z, "first");
            expect_near(r.value[2][k], 12 * z * z, "second");
            expect_near(r.value[3][k], 24 * z, "third");
            expect_near(r.value[4][k], 24, "fourth");
        }
        results_free(&r);
        hl_graph_free(g);
    }
}

Test(autodiff, derivatives_of_tanh_and_gelu)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_state(g, "x", F32(6)), outs[6] = {x};
    hl_id y = op1(g, HL_OP_ID_tanh, x);
    for (int order = 1; order <= 3; order++)
        outs[order] = y = derivative(g, total(g, y), x);
    outs[4] = derivative(g, total(g, derivative(g, total(g, op1(g, HL_OP_ID_gelu, x)), x)), x);
    outs[5] = derivative(g, total(g, outs[4]), x);
    results r = run(g, outs, 6);
    for (int k = 0; k < 6; k++) {
        const double z = r.value[0][k], t = tanh(z), s = 1 - t * t;
        const double phi = exp(-z * z / 2) / sqrt(2 * acos(-1));
        expect_near(r.value[1][k], s, "tanh'");
        expect_near(r.value[2][k], -2 * t * s, "tanh''");
        expect_near(r.value[3][k], -2 * s * (1 - 3 * t * t), "tanh'''");
        expect_near(r.value[4][k], phi * (2 - z * z), "gelu''");
        expect_near(r.value[5][k], phi * (z * z * z - 4 * z), "gelu'''");
    }
    results_free(&r);
    hl_graph_free(g);
}

/* f = sum x^2 exp(x w): the mixed partials agree in either order, and with the formula. */
Test(autodiff, mixed_partials_agree)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_state(g, "x", F32(6)), w = hl_graph_state(g, "w", F32(6));
    hl_id e = op1(g, HL_OP_ID_exp, hl_g_mul(g, x, w));
    hl_id f = total(g, hl_g_mul(g, op1(g, HL_OP_ID_square, x), e));
    hl_id outs[4] = {x, w, derivative(g, total(g, derivative(g, f, x)), w),
                     derivative(g, total(g, derivative(g, f, w)), x)};
    results r = run(g, outs, 4);
    for (int k = 0; k < 6; k++) {
        const double z = r.value[0][k], v = r.value[1][k];
        const double want = (3 * z * z + z * z * z * v) * exp(z * v); /* d/dx (x^3 exp(x w)) */
        expect_near(r.value[2][k], want, "x then w");
        expect_near(r.value[3][k], want, "w then x");
    }
    results_free(&r);
    hl_graph_free(g);
}

/* Norm of a gradient as a penalty, the use that second derivatives are for: with g = 2 a (a.x) a
 * for f = (a.x)^2, |df/dx|^2 = 4 (a.x)^2 |a|^2, whose gradient is 8 (a.x) |a|^2 a. */
Test(autodiff, gradient_penalty)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_state(g, "x", F32(1, 5)), a = hl_graph_input(g, "a", F32(5, 1));
    hl_id f = total(g, op1(g, HL_OP_ID_square, hl_g_matmul(g, x, false, a, false)));
    hl_id norm =
        hl_graph_append(g, hl_op_get(HL_OP_ID_global_norm), &(hl_id){derivative(g, f, x)}, 1, NULL);
    hl_id outs[3] = {x, a, derivative(g, hl_g_mul(g, norm, norm), x)};
    results r = run(g, outs, 3);
    double dot = 0, size = 0;
    for (int k = 0; k < 5; k++) {
        dot += r.value[0][k] * r.value[1][k];
        size += r.value[1][k] * r.value[1][k];
    }
    for (int k = 0; k < 5; k++)
        expect_near(r.value[2][k], 8 * dot * size * r.value[1][k], "penalty");
    results_free(&r);
    hl_graph_free(g);
}

/* --- vjp --- */

Test(autodiff, cotangents_weigh_the_rows)
{
    hl_graph *g = graph();
    hl_id x = hl_graph_state(g, "x", F32(3, 4)), c = hl_graph_input(g, "c", F32(3, 4));
    hl_id y = op1(g, HL_OP_ID_tanh, x), outs[3], d;
    cr_assert_eq(hl_pass_vjp(g, y, c, &x, 1, outs), HL_OK);
    outs[1] = derivative(g, total(g, hl_g_mul(g, c, y)), x);
    cr_assert_eq(hl_pass_vjp(g, y, c, &y, 1, &d), HL_OK);
    cr_assert_eq(d, c, "of itself");
    cr_assert_eq(hl_pass_vjp(g, y, HL_NONE, &x, 1, &d), HL_OK);
    cr_assert_eq(d, HL_NONE, "no cotangent, no gradient");
    cr_assert_eq(hl_pass_vjp(g, y, total(g, c), &x, 1, &d), HL_E_SHAPE, "of another shape");
    results r = run(g, outs, 2);
    for (int k = 0; k < 12; k++)
        expect_near(r.value[0][k], r.value[1][k], "cotangent");
    results_free(&r);
    hl_graph_free(g);
}

/* --- random graphs against differences --- */

/* The directional derivative of a random smooth loss along a random direction of all its
 * parameters, against a central difference of fourth order in double; the steps are small enough
 * not to cross the comparisons that these graphs contain. */
static void against_differences(uint64_t seed)
{
    sketch s;
    cr_assert_eq(sketch_new(seed, 10, true, false, &s), HL_OK);
    hl_id loss = sketch_loss(&s, seed % 2);
    for (size_t i = 0; i < s.g->nodes.n; i++) /* the padding row has no gradient by decree */
        if (s.g->nodes.at[i].op == hl_op_get(HL_OP_ID_embedding))
            s.g->nodes.at[i].attrs.v[0].i = -1;
    const int n = (int)s.states.n;
    hl_id *grads = hl_alloc(((size_t)n + 2) * sizeof *grads);
    gradients(s.g, loss, s.states.at, n, grads);
    int m = 0;
    for (int i = 0; i < n; i++)
        if (grads[i] != HL_NONE) {
            s.states.at[m] = s.states.at[i];
            grads[m++] = grads[i];
        }
    grads[m] = loss;
    leaves l;
    hl_program *p;
    hl_exec x = {.seed = 99, .step = 3};
    cr_assert_eq(leaves_new(s.g, true, 0, &l), HL_OK);
    cr_assert_eq(program_for(&l, grads, m + 1, 1, &p), HL_OK);
    cr_assert_eq(hl_program_run(p, &x), HL_OK, "%s", hl_err_message());
    double slope = 0, size = 0, f[4];
    for (int i = 0; i < m; i++) {
        hl_rng r = hl_rng_make(seed, HL_RNG_TEST, 5, (uint32_t)i);
        for (int64_t k = 0; k < hl_type_count(hl_graph_type(s.g, s.states.at[i])); k++) {
            const double part = ((const double *)hl_program_output(p, i))[k] * hl_rng_normal(&r);
            slope += part;
            size += fabs(part);
        }
    }
    static const double at[4] = {-2, -1, 1, 2}, h = 1e-4;
    for (int e = 0; e < 4; e++) {
        leaves moved;
        cr_assert_eq(leaves_new(s.g, true, 0, &moved), HL_OK);
        for (int i = 0; i < m; i++) {
            hl_rng r = hl_rng_make(seed, HL_RNG_TEST, 5, (uint32_t)i);
            double *w = moved.data[s.states.at[i]];
            for (int64_t k = 0; k < hl_type_count(hl_graph_type(s.g, s.states.at[i])); k++)
                w[k] += at[e] * h * hl_rng_normal(&r);
        }
        bind_leaves(p, &moved);
        cr_assert_eq(hl_program_run(p, &x), HL_OK);
        f[e] = *(const double *)hl_program_output(p, m);
        leaves_free(&moved);
    }
    const double want = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h);
    cr_expect(fabs(slope - want) <= 1e-6 * (size + 1), "graph %d: %.10g, differences %.10g",
              (int)seed, slope, want);
    hl_program_free(p);
    leaves_free(&l);
    hl_free(grads);
    sketch_free(&s);
}

Test(autodiff, random_graphs_against_differences, .timeout = 120)
{
    for (uint64_t seed = 0; seed < 200; seed++)
        against_differences(seed);
}

/* --- memory --- */

/* One random graph, its n-th allocation failing; true once nothing failed any more. */
static bool fail_at(uint64_t seed, int64_t n)
{
    sketch s;
    cr_assert_eq(sketch_new(seed, 14, true, false, &s), HL_OK);
    hl_id loss = sketch_loss(&s, true);
    hl_id *grads = hl_alloc((s.states.n + 1) * sizeof *grads);
    hl_mem_fail_after(n);
    hl_status st = hl_pass_grad(s.g, loss, s.states.at, (int)s.states.n, grads);
    hl_mem_fail_after(-1);
    cr_assert_eq(hl_graph_check(s.g), HL_OK);
    cr_assert(st == HL_OK || st == HL_E_NOMEM, "graph %d, allocation %d: %s", (int)seed, (int)n,
              hl_err_message());
    hl_free(grads);
    sketch_free(&s);
    return st == HL_OK;
}

Test(autodiff, every_allocation_may_fail, .timeout = 120)
{
    const int64_t live = hl_mem_get_stats().live_bytes;
    int n_failed = 0;
    for (uint64_t seed = 0; seed < 40; seed++)
        for (int64_t n = 0; !fail_at(seed, n); n++) {
            n_failed++;
            cr_assert_eq(hl_mem_get_stats().live_bytes, live, "graph %d, allocation %d leaks",
                         (int)seed, (int)n);
        }
    cr_assert_gt(n_failed, 1000);
}
