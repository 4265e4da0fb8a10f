/* Memory: none is allocated while running, too little is an error that says where it would have
 * gone, and every allocation may fail. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/team.h"
#include "engine/exec/trial_test.h"
#include "engine/pass/pass.h"

static const hl_exec here = {.seed = 99, .step = 3};

/* A random loss with its gradients, fused: outs is the caller's to hl_free. */
static hl_graph *training_graph(uint64_t seed, int n_calls, hl_id **outs, int *n)
{
    sketch s;
    hl_graph *fused;
    cr_assert_eq(sketch_new(seed, n_calls, true, false, &s), HL_OK);
    hl_id loss = sketch_loss(&s, true);
    *outs = hl_alloc((s.states.n + 1) * sizeof **outs);
    *n = 0;
    cr_assert_eq(hl_pass_grad(s.g, loss, s.states.at, (int)s.states.n, *outs), HL_OK);
    for (size_t i = 0; i < s.states.n; i++)
        if ((*outs)[i] != HL_NONE)
            (*outs)[(*n)++] = (*outs)[i];
    (*outs)[(*n)++] = loss;
    hl_id *map = hl_alloc((s.g->values.n + 1) * sizeof *map);
    cr_assert_eq(hl_pass_fuse_backward(s.g, *outs, *n, &fused, map), HL_OK);
    hl_free(map);
    sketch_free(&s);
    return fused;
}

Test(program_memory, running_allocates_nothing)
{
    hl_team *team;
    cr_assert_eq(hl_team_new(2, &team), HL_OK);
    for (uint64_t seed = 0; seed < 40; seed++) {
        hl_id *outs;
        int n;
        hl_graph *g = training_graph(seed, 20, &outs, &n);
        leaves l;
        hl_program *p;
        hl_exec x = here;
        x.team = seed % 2 ? team : NULL;
        cr_assert_eq(leaves_new(g, false, 0, &l), HL_OK);
        cr_assert_eq(program_for(&l, outs, n, 2, &p), HL_OK);
        hl_program_profile(p, seed % 4 == 0);
        cr_assert_eq(hl_program_run(p, &x), HL_OK, "%s", hl_err_message());
        const hl_mem_stats before = hl_mem_get_stats();
        for (int k = 0; k < 10; k++) {
            bind_leaves(p, &l);
            x.step++;
            cr_assert_eq(hl_program_run(p, &x), HL_OK);
        }
        cr_expect_eq(hl_mem_get_stats().n_alloc, before.n_alloc, "graph %d", (int)seed);
        cr_expect_eq(hl_mem_get_stats().live_bytes, before.live_bytes);
        hl_program_free(p);
        leaves_free(&l);
        hl_graph_free(g);
        hl_free(outs);
    }
    hl_team_free(team);
}

/* Looking at a plan costs no arena; preparing it costs exactly that. */
Test(program_memory, the_arena_comes_with_prepare)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    hl_id y = hl_g_neg(g, hl_graph_input(g, "x", F32(1 << 20)));
    hl_compile how = {.outputs = &y, .n_outputs = 1};
    hl_program *p;
    const int64_t before = hl_mem_get_stats().live_bytes;
    cr_assert_eq(hl_program_new(g, &how, &p), HL_OK);
    cr_assert_eq(hl_program_get_info(p).arena_bytes, 4 << 20);
    cr_assert_lt(hl_mem_get_stats().live_bytes, before + (1 << 20));
    cr_assert_eq(hl_program_prepare(p), HL_OK);
    cr_assert_geq(hl_mem_get_stats().live_bytes, before + (4 << 20));
    const int64_t n = hl_mem_get_stats().n_alloc;
    cr_assert_eq(hl_program_prepare(p), HL_OK);
    cr_assert_eq(hl_mem_get_stats().n_alloc, n, "once");
    hl_program_free(p);
    cr_assert_eq(hl_mem_get_stats().live_bytes, before);
    hl_graph_free(g);
}

Test(program_memory, programs_share_an_arena_given_to_them)
{
    leaves l[2];
    hl_graph *g[2];
    hl_program *p[2];
    hl_id *outs[2];
    int n[2];
    results want[2], got;
    size_t most = 0;
    const int64_t before = hl_mem_get_stats().live_bytes;
    for (int i = 0; i < 2; i++) {
        g[i] = training_graph(70 + (uint64_t)i, 15, &outs[i], &n[i]);
        cr_assert_eq(evaluate(g[i], outs[i], n[i], false, &want[i]), HL_OK);
        cr_assert_eq(leaves_new(g[i], false, 0, &l[i]), HL_OK);
        cr_assert_eq(program_for(&l[i], outs[i], n[i], 1, &p[i]), HL_OK);
        const size_t bytes = hl_program_get_info(p[i]).arena_bytes;
        most = bytes > most ? bytes : most;
    }
    cr_assert_eq(hl_program_prepare(p[1]), HL_OK); /* its own arena is given back */
    void *arena = aligned_alloc(64, most);
    for (int i = 0; i < 2; i++)
        hl_program_use_arena(p[i], arena);
    for (int k = 0; k < 6; k++) {
        const int i = k % 2;
        cr_assert_eq(hl_program_run(p[i], &here), HL_OK, "%s", hl_err_message());
        cr_assert_eq(results_of(p[i], n[i], &got), HL_OK);
        for (int o = 0; o < n[i]; o++)
            cr_expect(
                memcmp(got.value[o], want[i].value[o], (size_t)got.count[o] * sizeof(double)) == 0);
        results_free(&got);
    }
    for (int i = 0; i < 2; i++) {
        hl_program_free(p[i]);
        leaves_free(&l[i]);
        hl_graph_free(g[i]);
        hl_free(outs[i]);
        results_free(&want[i]);
    }
    free(arena);
    cr_assert_eq(hl_mem_get_stats().live_bytes, before);
}

Test(program_memory, too_little_memory_says_what_wanted_it)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    hl_id x = hl_graph_input(g, "x", F32(1024, 1024));
    g->where = "big.lua:3";
    hl_id y = hl_g_matmul(g, x, false, x, true);
    g->where = "big.lua:4";
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_cat));
    hl_id in[2] = {y, hl_g_op1(g, HL_OP_ID_exp, y)};
    hl_id z = hl_graph_append(g, hl_op_get(HL_OP_ID_cat), in, 2, &a);
    hl_compile how = {.outputs = &z, .n_outputs = 1};
    hl_program *p;
    leaves l;
    cr_assert_eq(leaves_new(g, false, 0, &l), HL_OK);
    cr_assert_eq(hl_program_new(g, &how, &p), HL_OK);
    bind_leaves(p, &l);
    const int64_t live = hl_mem_get_stats().live_bytes;
    hl_mem_set_limit(live + (8 << 20));
    for (int k = 0; k < 2; k++) {
        cr_assert_eq(k ? hl_program_prepare(p) : hl_program_run(p, &here), HL_E_NOMEM);
        const char *m = hl_err_message();
        cr_expect(strncmp(m, "not enough memory: the program needs ", 37) == 0, "%s", m);
        cr_expect(strstr(m, "largest: 8.0 MiB cat f32{2048, 1024} big.lua:4; "), "%s", m);
        cr_expect(strstr(m, "; 4.0 MiB matmul f32{1024, 1024} big.lua:3"), "%s", m);
        cr_expect(strstr(m, "; 4.0 MiB x f32{1024, 1024}"), "%s", m);
        cr_expect_eq(hl_mem_get_stats().live_bytes, live, "the failure holds nothing");
    }
    hl_mem_set_limit(0);
    cr_assert_eq(hl_program_run(p, &here), HL_OK, "everything is usable: %s", hl_err_message());
    hl_program_free(p);
    leaves_free(&l);
    hl_graph_free(g);
}

/* Tensors that each can be counted and together cannot: refused when compiled, by name. */
Test(program_memory, more_than_can_be_addressed)
{
    hl_graph *g;
    cr_assert_eq(hl_graph_new(&g), HL_OK);
    hl_id x = hl_graph_input(g, "x", F32(INT64_C(1) << 30, 1)), parts[6];
    hl_id wide = hl_g_expand(g, x, 2, (int64_t[]){INT64_C(1) << 30, INT64_C(1) << 29});
    for (int i = 0; i < 6; i++)
        parts[i] = hl_g_op1(g, i % 2 ? HL_OP_ID_exp : HL_OP_ID_tanh, wide);
    cr_assert_eq(g->status, HL_OK, "%s", hl_err_message());
    hl_compile how = {.outputs = parts, .n_outputs = 6};
    hl_program *p = NULL;
    cr_assert_eq(hl_program_new(g, &how, &p), HL_E_NOMEM);
    cr_assert(strstr(hl_err_message(), "largest: ") && strstr(hl_err_message(), " tanh f32{"), "%s",
              hl_err_message());
    hl_program_free(p);
    hl_graph_free(g);
}

/* --- every allocation may fail --- */

static hl_status compile_and_run(const hl_graph *g, const hl_id *outs, int n, bool fp64,
                                 const leaves *l)
{
    hl_program *p = NULL;
    hl_compile how = {.outputs = outs, .n_outputs = n, .fp64 = fp64, .n_workers = 2};
    hl_status st = hl_program_new(g, &how, &p);
    if (st == HL_OK) {
        bind_leaves(p, l);
        st = hl_program_run(p, &here);
    }
    hl_program_free(p);
    return st;
}

Test(program_memory, every_allocation_may_fail, .timeout = 120)
{
    int n_failed = 0;
    for (uint64_t seed = 0; seed < 12; seed++) {
        hl_id *outs;
        int n;
        hl_graph *g = training_graph(seed, 12, &outs, &n);
        leaves l;
        cr_assert_eq(leaves_new(g, seed % 2, 0, &l), HL_OK);
        const int64_t live = hl_mem_get_stats().live_bytes;
        for (int64_t k = 0;; k++) {
            hl_mem_fail_after(k);
            hl_status st = compile_and_run(g, outs, n, seed % 2, &l);
            hl_mem_fail_after(-1);
            cr_assert_eq(hl_mem_get_stats().live_bytes, live, "graph %d, allocation %d leaks",
                         (int)seed, (int)k);
            if (st == HL_OK)
                break;
            n_failed++;
            cr_assert_eq(st, HL_E_NOMEM, "graph %d, allocation %d: %s, %s", (int)seed, (int)k,
                         hl_status_name(st), hl_err_message());
        }
        cr_assert_eq(compile_and_run(g, outs, n, seed % 2, &l), HL_OK);
        leaves_free(&l);
        hl_graph_free(g);
        hl_free(outs);
    }
    cr_assert_gt(n_failed, 200);
}

/* The passes that were not tried elsewhere. */
Test(program_memory, every_allocation_of_taps_and_widening_may_fail)
{
    int n_failed = 0;
    for (int64_t k = 0;; k++) {
        sketch s;
        hl_graph *wide = NULL;
        hl_id ids[64];
        cr_assert_eq(sketch_new(5, 40, true, false, &s), HL_OK);
        for (size_t i = 0; i < s.floats.n && i < 30; i++)
            cr_assert_eq(hl_graph_tap(s.g, "t", s.floats.at[i], i % 2), HL_OK);
        const int64_t live = hl_mem_get_stats().live_bytes;
        hl_mem_fail_after(k);
        hl_status st = hl_pass_fp64(s.g, &wide);
        if (st == HL_OK) {
            hl_graph_free(wide);
            cr_assert_eq(hl_mem_get_stats().live_bytes, live);
            st = hl_pass_taps(s.g, true, ids);
        }
        hl_mem_fail_after(-1);
        if (st != HL_OK)
            cr_assert_eq(st, HL_E_NOMEM);
        sketch_free(&s);
        if (st == HL_OK)
            break;
        n_failed++;
    }
    cr_assert_gt(n_failed, 8);
}
