/* Programs against the plain executor: whatever the planner shares, takes over or reuses, the bits
 * are those of a run in which every value has a buffer of its own. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/team.h"
#include "engine/exec/trial_test.h"
#include "engine/pass/pass.h"

static const hl_exec here = {.seed = 99, .step = 3};

/* --- 500 random graphs --- */

enum { OUTPUTS = 12 };

/* Outputs at random: any value, leaves and constants too, some twice. */
static int draw_outputs(sketch *s, hl_id outs[OUTPUTS])
{
    const int n = 1 + (int)hl_rng_below(&s->rng, OUTPUTS - 1);
    for (int i = 0; i < n; i++) {
        outs[i] = (hl_id)hl_rng_below(&s->rng, (uint32_t)s->g->values.n);
        if (hl_rng_below(&s->rng, 4) == 0)
            outs[i] = s->floats.at[s->floats.n - 1];
        if (i && hl_rng_below(&s->rng, 8) == 0)
            outs[i] = outs[i - 1];
    }
    return n;
}

static size_t value_bytes(const leaves *l, hl_id v)
{
    const hl_type *t = hl_graph_type(l->g, v);
    const bool wide = l->fp64 && t->dtype == HL_DTYPE_F32;
    return (size_t)hl_type_count(t) * (wide ? 8 : hl_dtype_bytes(t->dtype));
}

/* Runs the program and compares every output with the plain executor's, bit by bit. */
static void compare(const char *when, uint64_t seed, hl_program *p, const leaves *l,
                    const hl_id *outs, int n, const hl_exec *x)
{
    void **want;
    cr_assert_eq(plain_run(l, x, &want), HL_OK, "graph %llu: %s", (unsigned long long)seed,
                 hl_err_message());
    cr_assert_eq(hl_program_run(p, x), HL_OK, "graph %llu: %s", (unsigned long long)seed,
                 hl_err_message());
    for (int i = 0; i < n; i++) {
        const size_t bytes = value_bytes(l, outs[i]);
        const void *got = hl_program_output(p, i);
        if (bytes == 0 || memcmp(got, want[outs[i]], bytes) == 0)
            continue;
        hl_str text = {0};
        hl_graph_print(l->g, &text);
        cr_assert(false, "graph %llu, %s: output %d (%%%d) differs\n%s", (unsigned long long)seed,
                  when, i, outs[i], hl_str_text(&text));
    }
    plain_free(l, want);
}

static void one_graph(uint64_t seed, bool fp64, hl_team *team)
{
    sketch s;
    hl_id outs[OUTPUTS];
    leaves l[2], before[2];
    hl_program *p;
    hl_exec x = here;
    x.team = team;
    cr_assert_eq(sketch_new(seed, 4 + (int)(seed % 40), false, seed % 3 == 0, &s), HL_OK, "%s",
                 hl_err_message());
    const int n = draw_outputs(&s, outs);
    for (int k = 0; k < 2; k++) {
        cr_assert_eq(leaves_new(s.g, fp64, (uint32_t)k, &l[k]), HL_OK);
        cr_assert_eq(leaves_new(s.g, fp64, (uint32_t)k, &before[k]), HL_OK);
    }
    cr_assert_eq(program_for(&l[0], outs, n, team ? team->n : 1, &p), HL_OK, "%s",
                 hl_err_message());
    compare("first run", seed, p, &l[0], outs, n, &x);
    compare("second run", seed, p, &l[0], outs, n, &x);
    bind_leaves(p, &l[1]);
    compare("bound to other data", seed, p, &l[1], outs, n, &x);
    bind_leaves(p, &l[0]);
    x.step++;
    compare("bound back, next step", seed, p, &l[0], outs, n, &x);
    for (int k = 0; k < 2; k++) {
        cr_assert_eq(leaves_differ(&l[k], &before[k]), HL_NONE, "graph %llu: a leaf was written",
                     (unsigned long long)seed);
        leaves_free(&l[k]);
        leaves_free(&before[k]);
    }
    hl_program_free(p);
    sketch_free(&s);
}

Test(program, random_graphs_give_the_bits_of_separate_buffers, .timeout = 300)
{
    for (uint64_t seed = 0; seed < 500; seed++)
        one_graph(seed, false, NULL);
}

Test(program, random_graphs_in_double, .timeout = 300)
{
    for (uint64_t seed = 1000; seed < 1200; seed++)
        one_graph(seed, true, NULL);
}

Test(program, random_graphs_on_a_team, .timeout = 300)
{
    for (int n = 2; n <= 3; n++) {
        hl_team *team;
        cr_assert_eq(hl_team_new(n, &team), HL_OK);
        for (uint64_t seed = 2000; seed < 2060; seed++)
            one_graph(seed, false, team);
        hl_team_free(team);
    }
}

/* The same for whole training graphs: forward, backward, fused. */
static void one_gradient(uint64_t seed, hl_team *team)
{
    sketch s;
    hl_graph *fused;
    hl_exec x = here;
    x.team = team;
    cr_assert_eq(sketch_new(seed, 6 + (int)(seed % 20), true, false, &s), HL_OK);
    hl_id loss = sketch_loss(&s, true);
    const int n_wrt = (int)s.states.n;
    hl_id *outs = hl_alloc(((size_t)n_wrt + 1) * sizeof *outs);
    cr_assert_eq(hl_pass_grad(s.g, loss, s.states.at, n_wrt, outs), HL_OK, "%s", hl_err_message());
    int n = 0;
    for (int i = 0; i < n_wrt; i++)
        if (outs[i] != HL_NONE)
            outs[n++] = outs[i];
    outs[n++] = loss;
    hl_id *map = hl_alloc((s.g->values.n + 1) * sizeof *map);
    cr_assert_eq(hl_pass_fuse_backward(s.g, outs, n, &fused, map), HL_OK, "%s", hl_err_message());
    leaves l;
    hl_program *p;
    cr_assert_eq(leaves_new(fused, false, 0, &l), HL_OK);
    cr_assert_eq(program_for(&l, outs, n, team ? team->n : 1, &p), HL_OK);
    compare("gradients", seed, p, &l, outs, n, &x);
    compare("gradients again", seed, p, &l, outs, n, &x);
    hl_program_free(p);
    leaves_free(&l);
    hl_free(map);
    hl_free(outs);
    hl_graph_free(fused);
    sketch_free(&s);
}

Test(program, gradients_give_the_bits_of_separate_buffers, .timeout = 300)
{
    hl_team *team;
    cr_assert_eq(hl_team_new(2, &team), HL_OK);
    for (uint64_t seed = 0; seed < 200; seed++)
        one_gradient(seed, seed % 4 ? NULL : team);
    hl_team_free(team);
}

/* --- sharing by hand --- */

typedef struct recorded {
    hl_graph *g;
    hl_id x, y; /* inputs of {4, 4} */
} recorded;

static recorded record(void)
{
    recorded r;
    cr_assert_eq(hl_graph_new(&r.g), HL_OK);
    r.x = hl_graph_input(r.g, "x", F32(4, 4));
    r.y = hl_graph_input(r.g, "y", F32(4, 4));
    return r;
}

/* Compiles, compares with the plain executor twice, returns the arena's size. */
static size_t check(hl_graph *g, const hl_id *outs, int n)
{
    leaves l;
    hl_program *p;
    cr_assert_eq(g->status, HL_OK, "%s", hl_err_message());
    cr_assert_eq(leaves_new(g, false, 0, &l), HL_OK);
    cr_assert_eq(program_for(&l, outs, n, 1, &p), HL_OK, "%s", hl_err_message());
    compare("first", 0, p, &l, outs, n, &here);
    compare("second", 0, p, &l, outs, n, &here);
    const size_t arena = hl_program_get_info(p).arena_bytes;
    hl_program_free(p);
    leaves_free(&l);
    return arena;
}

enum { ONE = 64 }; /* bytes of a {4, 4} and of a constant, rounded */

Test(program, chains_of_elementwise_ops_live_in_one_buffer)
{
    recorded r = record();
    hl_id v = hl_g_neg(r.g, r.x); /* may not write into the input */
    for (int i = 0; i < 20; i++) {
        v = hl_g_op1(r.g, i % 2 ? HL_OP_ID_tanh : HL_OP_ID_square, v);
        v = hl_g_reshape(r.g, v, 1 + i % 2, (int64_t[]){i % 2 ? 2 : 16, 8});
    }
    v = hl_g_reshape(r.g, v, 2, (int64_t[]){4, 4});
    v = hl_g_sub(r.g, r.y, v); /* takes over its second operand */
    cr_expect_eq(check(r.g, &v, 1), ONE);
    hl_graph_free(r.g);
}

Test(program, values_read_later_are_not_taken_over)
{
    recorded r = record();
    hl_id a = hl_g_neg(r.g, r.x), flat = hl_g_reshape(r.g, a, 1, (int64_t[]){16});
    hl_id b = hl_g_op1(r.g, HL_OP_ID_tanh, a);   /* flat still reads a's buffer */
    hl_id c = hl_g_op1(r.g, HL_OP_ID_exp, flat); /* now it may go */
    hl_id d = hl_g_mul(r.g, c, hl_g_reshape(r.g, b, 1, (int64_t[]){16}));
    hl_id twice = hl_g_add(r.g, d, d); /* one buffer read twice */
    hl_id view = hl_g_reshape(r.g, twice, 2, (int64_t[]){2, 8});
    hl_id late = hl_g_op1(r.g, HL_OP_ID_square, view), outs[3] = {late, view, twice};
    check(r.g, outs, 3);
    check(r.g, &late, 1);
    /* the product of a value with a view of itself, each way */
    hl_id p = hl_g_matmul(r.g, b, false, hl_g_reshape(r.g, flat, 2, (int64_t[]){4, 4}), true);
    check(r.g, &p, 1);
    hl_graph_free(r.g);
}

Test(program, products_write_onto_their_addend)
{
    recorded r = record();
    hl_id c = hl_g_op1(r.g, HL_OP_ID_tanh, r.x), in[3] = {r.x, r.y, c};
    hl_id alone = hl_graph_append(r.g, hl_op_get(HL_OP_ID_matmul), in, 3, NULL);
    const size_t took = check(r.g, &alone, 1);
    hl_id kept[2] = {alone, c}; /* the addend is wanted as well */
    cr_expect_geq(check(r.g, kept, 2), took + ONE);
    hl_id self[3] = {c, r.y, c}; /* the addend is a factor too: it may not be overwritten */
    hl_id square = hl_graph_append(r.g, hl_op_get(HL_OP_ID_matmul), self, 3, NULL);
    check(r.g, &square, 1);
    hl_id leaf[3] = {r.x, r.y, r.x}; /* the addend is the caller's */
    hl_id onto = hl_graph_append(r.g, hl_op_get(HL_OP_ID_matmul), leaf, 3, NULL);
    check(r.g, &onto, 1);
    hl_graph_free(r.g);
}

/* The scatter reads rows of its addend after it has added to others. */
Test(program, an_operand_read_twice_is_not_overwritten)
{
    recorded r = record();
    hl_id rows = hl_g_op1(r.g, HL_OP_ID_tanh, hl_graph_state(r.g, "rows", F32(40, 3)));
    hl_id ids = hl_graph_input(r.g, "ids<40", hl_type_make(HL_DTYPE_I32, 1, (int64_t[]){40}));
    hl_id in[3] = {rows, ids, rows};
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_embedding_vjp));
    a.v[0].i = 40;
    hl_id y = hl_graph_append(r.g, hl_op_get(HL_OP_ID_embedding_vjp), in, 3, &a);
    check(r.g, &y, 1);
    in[2] = hl_g_reshape(r.g, hl_g_reshape(r.g, rows, 1, (int64_t[]){120}), 2, (int64_t[]){40, 3});
    y = hl_graph_append(r.g, hl_op_get(HL_OP_ID_embedding_vjp), in, 3, &a);
    check(r.g, &y, 1);
    hl_graph_free(r.g);
}

Test(program, constants_survive)
{
    recorded r = record();
    hl_id c = hl_graph_const(r.g, 2.5), d = hl_graph_const(r.g, 0);
    hl_id one = hl_g_reshape(r.g, c, 2, (int64_t[]){1, 1}); /* a view of a constant */
    hl_id v = hl_g_neg(r.g, one);                           /* of equal size: still not in place */
    hl_id w = hl_g_mul(r.g, hl_g_add(r.g, c, d), v);
    hl_id outs[6] = {c, one, v, w, d, c};
    check(r.g, outs, 6);
    leaves l;
    hl_program *p;
    cr_assert_eq(leaves_new(r.g, false, 0, &l), HL_OK);
    cr_assert_eq(program_for(&l, outs, 6, 1, &p), HL_OK);
    cr_expect_eq(hl_program_n_bindings(p), 0, "constants are not bound");
    for (int k = 0; k < 3; k++) {
        cr_assert_eq(hl_program_run(p, &here), HL_OK);
        cr_expect_eq(*(const float *)hl_program_output(p, 0), 2.5f);
        cr_expect_eq(*(const float *)hl_program_output(p, 3), -6.25f);
        cr_expect_eq(*(const float *)hl_program_output(p, 4), 0);
    }
    hl_program_free(p);
    leaves_free(&l);
    hl_graph_free(r.g);
}

Test(program, outputs_that_are_leaves_follow_their_binding)
{
    recorded r = record();
    hl_id flat = hl_g_reshape(r.g, r.x, 1, (int64_t[]){16}), outs[3] = {r.x, flat, r.x};
    hl_compile how = {.outputs = outs, .n_outputs = 3};
    hl_program *p;
    _Alignas(64) float a[16] = {1}, b[16] = {2};
    cr_assert_eq(hl_program_new(r.g, &how, &p), HL_OK);
    cr_assert_eq(hl_program_n_bindings(p), 1);
    cr_assert_eq(hl_program_get_info(p).arena_bytes, 0);
    float *const data[2] = {a, b};
    for (int k = 0; k < 2; k++) {
        hl_program_bind(p, 0, data[k]);
        cr_assert_eq(hl_program_run(p, &here), HL_OK);
        for (int i = 0; i < 3; i++)
            cr_expect_eq(hl_program_output(p, i), data[k]);
    }
    cr_expect_eq(hl_program_output_type(p, 1)->rank, 1);
    hl_program_free(p);
    hl_graph_free(r.g);
}

Test(program, nothing_and_empty_tensors)
{
    recorded r = record();
    hl_id none = hl_graph_input(r.g, "none", F32(0, 3)), sums = hl_g_sum(r.g, none, 1, false);
    hl_id v = hl_g_op1(r.g, HL_OP_ID_tanh, hl_g_add(r.g, none, hl_graph_const(r.g, 1)));
    hl_attrs pad = hl_op_defaults(hl_op_get(HL_OP_ID_pad));
    pad.v[0].i = 1;
    hl_id wide = hl_graph_append(r.g, hl_op_get(HL_OP_ID_pad), &v, 1, &pad);
    hl_id bare = hl_graph_append(r.g, hl_op_get(HL_OP_ID_pad), &none, 1, &pad);
    hl_id outs[3] = {v, sums, wide};
    check(r.g, outs, 3);
    check(r.g, outs, 1);
    check(r.g, &bare, 1); /* nothing in the arena has a size */
    check(r.g, NULL, 0);
    /* an empty leaf needs no data */
    hl_program *p;
    hl_compile how = {.outputs = outs, .n_outputs = 3};
    cr_assert_eq(hl_program_new(r.g, &how, &p), HL_OK);
    cr_assert_eq(hl_program_run(p, &here), HL_OK, "%s", hl_err_message());
    for (int k = 0; k < 3; k++)
        cr_expect_eq(((const float *)hl_program_output(p, 1))[k], 0);
    hl_program_free(p);
    hl_graph_free(r.g);
}
