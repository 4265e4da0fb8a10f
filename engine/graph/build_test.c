/* The short names, and sums over what broadcasting had repeated. */
#include "engine/graph/build.h"

#include <criterion/criterion.h>
#include <math.h>

#include "engine/exec/trial_test.h"

static hl_graph *graph(void)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    return g;
}

Test(build, names_append_the_op_they_name)
{
    hl_graph *g = graph();
    hl_id a = hl_graph_input(g, "a", F32(2, 3)), b = hl_graph_input(g, "b", F32(2, 3));
    struct {
        hl_id v;
        hl_op_id op;
    } made[] = {{hl_g_add(g, a, b), HL_OP_ID_add},
                {hl_g_sub(g, a, b), HL_OP_ID_sub},
                {hl_g_mul(g, a, b), HL_OP_ID_mul},
                {hl_g_div(g, a, b), HL_OP_ID_div}};
    for (int i = 0; i < 4; i++) {
        const hl_node *n = hl_graph_node_of(g, made[i].v);
        cr_assert(n->op == hl_op_get(made[i].op) && n->in[0] == a && n->in[1] == b);
    }
    hl_id s = hl_g_sum(g, a, 2, true);
    cr_assert(hl_graph_type(g, s)->rank == 2 && hl_graph_type(g, s)->dim[1] == 1);
    hl_id scaled = hl_g_scale(g, a, 2);
    cr_assert_eq(hl_graph_value(g, hl_graph_node_of(g, scaled)->in[1])->constant, 2);
    static const int64_t shape[4][2] = {{2, 2}, {3, 3}};
    for (int ta = 0; ta < 2; ta++) { /* a^T b and a b^T */
        hl_id m = hl_g_matmul(g, a, ta, b, !ta);
        const hl_type want = f32(
            2, (const int64_t[]){ta ? shape[1][0] : shape[0][0], ta ? shape[1][1] : shape[0][1]});
        cr_assert(m != HL_NONE && hl_type_equal(hl_graph_type(g, m), &want));
    }
    hl_graph_free(g);
}

Test(build, what_changes_nothing_appends_nothing)
{
    hl_graph *g = graph();
    hl_id a = hl_graph_input(g, "a", F32(2, 3)), like = hl_graph_input(g, "b", F32(2, 3));
    const size_t values = g->values.n;
    cr_assert_eq(hl_g_scale(g, a, 1), a);
    cr_assert_eq(hl_g_reshape(g, a, 2, (int64_t[]){2, 3}), a);
    cr_assert_eq(hl_g_reshape_like(g, a, like), a);
    cr_assert_eq(hl_g_expand_like(g, a, like), a);
    cr_assert_eq(hl_g_sum_to(g, a, like), a);
    cr_assert_eq(g->values.n, values);
    cr_assert_neq(hl_g_reshape(g, a, 3, (int64_t[]){2, 3, 1}), a);
    cr_assert_neq(hl_g_reshape(g, a, 2, (int64_t[]){3, 2}), a);
    hl_graph_free(g);
}

/* The sum by hand: every element of `from` is added where broadcasting had taken it from. */
static void sum_by_hand(const hl_type *from, const hl_type *to, const double *x, double *y)
{
    const int64_t n = hl_type_count(from);
    const int lead = from->rank - to->rank;
    for (int64_t i = 0; i < hl_type_count(to); i++)
        y[i] = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t rest = i, at = 0, stride = 1;
        for (int k = from->rank - 1; k >= 0; k--) {
            const int64_t index = rest % from->dim[k];
            rest /= from->dim[k];
            if (k < lead)
                continue;
            at += to->dim[k - lead] == 1 ? 0 : index * stride;
            stride *= to->dim[k - lead];
        }
        y[at] += x[i];
    }
}

static void check_sum_to(hl_type from, hl_type to)
{
    char a[96], b[96];
    hl_graph *g = graph();
    hl_id x = hl_graph_input(g, "x", from), like = hl_graph_input(g, "like", to);
    hl_id y = hl_g_sum_to(g, x, like), outs[2] = {x, y};
    double want[64];
    results r;
    cr_assert_neq(y, HL_NONE, "%s to %s: %s", hl_type_text(a, &from), hl_type_text(b, &to),
                  hl_err_message());
    cr_assert(hl_type_equal(hl_graph_type(g, y), &to));
    cr_assert_eq(evaluate(g, outs, 2, true, &r), HL_OK);
    sum_by_hand(&from, &to, r.value[0], want);
    for (int64_t i = 0; i < r.count[1]; i++)
        cr_assert(fabs(r.value[1][i] - want[i]) < 1e-13, "%s to %s: element %d is %g, not %g",
                  hl_type_text(a, &from), hl_type_text(b, &to), (int)i, r.value[1][i], want[i]);
    results_free(&r);
    hl_graph_free(g);
}

/* All ways in which a shape of up to four dimensions can have been repeated from a smaller one:
 * leading dimensions missing or not, each of the others kept or 1; sizes 1 and 0 among them. */
Test(build, sum_to_undoes_every_broadcast)
{
    static const int64_t shapes[][4] = {{2, 3, 2, 2}, {2, 1, 3, 1}, {1, 2, 1, 3},
                                        {1, 1, 1, 1}, {3, 0, 2, 1}, {0, 1, 1, 2}};
    int n = 0;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int rank = 0; rank <= 4; rank++)
            for (int lead = 0; lead <= rank; lead++)
                for (unsigned ones = 0; ones < 1u << (rank - lead); ones++) {
                    const hl_type from = f32(rank, shapes[s]);
                    hl_type to = f32(rank - lead, shapes[s] + lead);
                    for (int i = 0; i < to.rank; i++)
                        to.dim[i] = ones >> i & 1 ? 1 : to.dim[i];
                    check_sum_to(from, to);
                    n++;
                }
    cr_assert_geq(n, 300);
}
