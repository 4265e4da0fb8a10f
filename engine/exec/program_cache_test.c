/* The cache: what counts as the same program, which one goes, and what a hit says of the graph that
 * was asked for. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/exec/trial_test.h"

static const hl_exec here = {.seed = 99, .step = 3};

typedef struct asked {
    hl_graph *g;
    hl_id x, w, y, z;
} asked;

/* y = tanh(x w) * k, z = -y; `kind` shifts ids without changing what y needs */
static asked ask(double k, int kind)
{
    asked a;
    cr_assert_eq(hl_graph_new(&a.g), HL_OK);
    for (int i = 0; i < kind; i++)
        (void)hl_graph_input(a.g, "not needed", F32(1));
    a.x = hl_graph_input(a.g, kind ? "other x" : "x", F32(2, 3));
    a.w = hl_graph_state(a.g, kind ? "other w" : "w", F32(3, 2));
    a.g->where = kind ? "b.lua:2" : "a.lua:1";
    hl_id p = hl_g_matmul(a.g, a.x, false, a.w, false);
    a.y = hl_g_mul(a.g, hl_g_op1(a.g, HL_OP_ID_tanh, p), hl_graph_const(a.g, k));
    a.z = hl_g_neg(a.g, a.y);
    return a;
}

static hl_program *get(hl_program_cache *c, const asked *a, const hl_id *outs, int n, bool fp64,
                       bool expect_hit)
{
    hl_program *p;
    bool hit = !expect_hit;
    hl_compile how = {.outputs = outs, .n_outputs = n, .fp64 = fp64, .n_workers = 1};
    cr_assert_eq(hl_program_cache_get(c, a->g, &how, &p, &hit), HL_OK, "%s", hl_err_message());
    cr_assert_eq(hit, expect_hit);
    return p;
}

static void run_on(hl_program *p, const asked *a, bool fp64, hl_id out, double *first)
{
    leaves l;
    void **want;
    cr_assert_eq(leaves_new(a->g, fp64, 0, &l), HL_OK);
    bind_leaves(p, &l);
    cr_assert_eq(hl_program_run(p, &here), HL_OK, "%s", hl_err_message());
    cr_assert_eq(plain_run(&l, &here, &want), HL_OK);
    cr_assert(memcmp(hl_program_output(p, 0), want[out], fp64 ? 32 : 16) == 0);
    *first = number_at(hl_program_output(p, 0), fp64 ? HL_DTYPE_F64 : HL_DTYPE_F32, 0);
    plain_free(&l, want);
    leaves_free(&l);
}

Test(program_cache, the_same_structure_is_found)
{
    hl_program_cache *c;
    cr_assert_eq(hl_program_cache_new(8, &c), HL_OK);
    asked a = ask(2, 0), same = ask(2, 0), other = ask(3, 0);
    hl_program *p = get(c, &a, &a.y, 1, false, false);
    hl_graph_free(a.g);
    cr_assert_eq(get(c, &same, &same.y, 1, false, true), p);
    cr_assert_neq(get(c, &other, &other.y, 1, false, false), p, "another constant");
    cr_assert_neq(get(c, &same, &same.z, 1, false, false), p, "another output");
    hl_id two[2] = {same.y, same.z}, swapped[2] = {same.z, same.y}, twice[2] = {same.y, same.y};
    hl_program *q = get(c, &same, two, 2, false, false);
    cr_assert_neq(get(c, &same, swapped, 2, false, false), q, "outputs in another order");
    cr_assert_neq(get(c, &same, twice, 2, false, false), p, "an output twice");
    cr_assert_eq(get(c, &same, two, 2, false, true), q);
    hl_program *again;
    hl_compile how = {.outputs = &same.y, .n_outputs = 1, .n_workers = 1};
    cr_assert_eq(hl_program_cache_get(c, same.g, &how, &again, NULL), HL_OK);
    cr_assert_eq(again, p, "asking for was_cached is a choice");
    hl_program_cache_free(c);
    hl_graph_free(same.g);
    hl_graph_free(other.g);
}

Test(program_cache, precisions_and_teams_are_kept_apart)
{
    hl_program_cache *c;
    cr_assert_eq(hl_program_cache_new(8, &c), HL_OK);
    asked a = ask(2, 0);
    double plain, wide;
    hl_program *p = get(c, &a, &a.y, 1, false, false), *d = get(c, &a, &a.y, 1, true, false);
    cr_assert_neq(p, d);
    cr_assert_eq(get(c, &a, &a.y, 1, false, true), p);
    cr_assert_eq(get(c, &a, &a.y, 1, true, true), d);
    run_on(p, &a, false, a.y, &plain);
    run_on(d, &a, true, a.y, &wide);
    cr_assert(plain != wide && plain - wide < 1e-5 && wide - plain < 1e-5);
    /* scratch is sized for a team: a program for one worker is none for two */
    hl_program *two;
    bool hit;
    hl_compile how = {.outputs = &a.y, .n_outputs = 1, .n_workers = 2};
    cr_assert_eq(hl_program_cache_get(c, a.g, &how, &two, &hit), HL_OK);
    cr_assert(!hit && two != p);
    how.n_workers = 0; /* as if 1 */
    cr_assert_eq(hl_program_cache_get(c, a.g, &how, &two, &hit), HL_OK);
    cr_assert(hit && two == p);
    hl_program_cache_free(c);
    hl_graph_free(a.g);
}

/* A hit speaks of the graph that was asked for: ids, names, marks, lines. */
Test(program_cache, bindings_are_those_of_the_graph_asked_for)
{
    hl_program_cache *c;
    int mark_a, mark_b;
    double first;
    cr_assert_eq(hl_program_cache_new(4, &c), HL_OK);
    asked a = ask(2, 0);
    a.g->values.at[a.w].data = &mark_a;
    hl_program *p = get(c, &a, &a.y, 1, false, false);
    run_on(p, &a, false, a.y, &first);
    hl_graph_free(a.g);
    for (int round = 0; round < 3; round++) {
        asked b = ask(2, round % 2 ? 0 : 3);
        b.g->values.at[b.w].data = &mark_b;
        cr_assert_eq(get(c, &b, &b.y, 1, false, true), p);
        const hl_binding *x = hl_program_binding(p, 0), *w = hl_program_binding(p, 1);
        cr_assert(x->value == b.x && w->value == b.w && w->mark == &mark_b && !x->mark);
        cr_assert_str_eq(w->name, round % 2 ? "w" : "other w");
        run_on(p, &b, false, b.y, &first);
        hl_program_bind(p, 0, NULL);
        hl_graph_free(b.g); /* names are kept with the program */
        cr_assert_eq(hl_program_run(p, &here), HL_E_STATE);
        cr_assert_str_eq(hl_err_message(), round % 2 ? "'x' has no data" : "'other x' has no data");
    }
    hl_program_cache_free(c);
}

Test(program_cache, errors_name_the_line_that_asked)
{
    hl_program_cache *c;
    cr_assert_eq(hl_program_cache_new(4, &c), HL_OK);
    _Alignas(64) float table[6] = {0};
    _Alignas(64) int32_t ids[2] = {7, 0};
    static const char *const line[2] = {"a.lua:1", "b.lua:9"};
    for (int k = 0; k < 2; k++) {
        hl_graph *g;
        hl_program *p;
        cr_assert_eq(hl_graph_new(&g), HL_OK);
        g->where = line[k];
        hl_id in[2] = {hl_graph_state(g, "t", F32(3, 2)),
                       hl_graph_input(g, "i", hl_type_make(HL_DTYPE_I32, 1, (int64_t[]){2}))};
        hl_id y = hl_graph_append(g, hl_op_get(HL_OP_ID_embedding), in, 2, NULL);
        hl_compile how = {.outputs = &y, .n_outputs = 1};
        cr_assert_eq(hl_program_cache_get(c, g, &how, &p, NULL), HL_OK);
        hl_graph_free(g);
        hl_program_bind(p, 0, table);
        hl_program_bind(p, 1, ids);
        cr_assert_eq(hl_program_run(p, &here), HL_E_ARG);
        cr_assert(strncmp(hl_err_message(), line[k], 7) == 0, "%s", hl_err_message());
    }
    hl_program_cache_free(c);
}

Test(program_cache, the_longest_unused_goes)
{
    enum { KEPT = 3, KINDS = 6 };
    hl_program_cache *c;
    asked a[KINDS];
    int order[KINDS] = {0}, clock = 0; /* last use of each; 0: not there */
    cr_assert_eq(hl_program_cache_new(KEPT, &c), HL_OK);
    for (int k = 0; k < KINDS; k++)
        a[k] = ask(k, 0);
    hl_rng r = hl_rng_make(3, HL_RNG_TEST, 9, 0);
    int hits = 0;
    for (int step = 0; step < 300; step++) {
        const int k = (int)hl_rng_below(&r, KINDS);
        double first;
        int there = 0, oldest = -1;
        for (int i = 0; i < KINDS; i++) {
            there += order[i] > 0;
            oldest = order[i] > 0 && (oldest < 0 || order[i] < order[oldest]) ? i : oldest;
        }
        hl_program *p = get(c, &a[k], &a[k].y, 1, false, order[k] > 0);
        hits += order[k] > 0;
        if (order[k] == 0 && there == KEPT)
            order[oldest] = 0;
        order[k] = ++clock;
        run_on(p, &a[k], false, a[k].y, &first); /* alive, and the right one */
    }
    cr_assert(hits > 50 && hits < 250);
    hl_program_cache_free(c);
    for (int k = 0; k < KINDS; k++)
        hl_graph_free(a[k].g);
}

/* A program lives until max_programs newer ones have been used: all of those can be held at once.
 */
Test(program_cache, programs_live_as_long_as_promised)
{
    enum { KEPT = 4 };
    hl_program_cache *c;
    hl_program *p[KEPT];
    asked a[KEPT];
    double first;
    cr_assert_eq(hl_program_cache_new(KEPT, &c), HL_OK);
    for (int k = 0; k < KEPT; k++) {
        a[k] = ask(10 + k, 0);
        p[k] = get(c, &a[k], &a[k].y, 1, false, false);
    }
    for (int k = 0; k < KEPT; k++)
        run_on(p[k], &a[k], false, a[k].y, &first);
    hl_program_cache_free(c);
    for (int k = 0; k < KEPT; k++)
        hl_graph_free(a[k].g);
}

/* A cache for none keeps the one in use. */
Test(program_cache, smallest_caches)
{
    for (int max = 0; max < 2; max++) {
        hl_program_cache *c;
        double first;
        asked a = ask(1, 0), b = ask(2, 0);
        cr_assert_eq(hl_program_cache_new(max, &c), HL_OK);
        for (int k = 0; k < 4; k++) {
            asked *one = k % 2 ? &b : &a;
            run_on(get(c, one, &one->y, 1, false, false), one, false, one->y, &first);
        }
        get(c, &b, &b.y, 1, false, true);
        hl_program_cache_free(c);
        hl_graph_free(a.g);
        hl_graph_free(b.g);
    }
    hl_program_cache_free(NULL);
}

Test(program_cache, every_allocation_may_fail)
{
    const int64_t live = hl_mem_get_stats().live_bytes;
    asked a = ask(1, 0), b = ask(2, 0);
    int n_failed = 0;
    for (int64_t n = 0;; n++) {
        hl_program_cache *c = NULL;
        hl_program *p = NULL, *kept;
        double first;
        hl_compile how = {.outputs = &b.y, .n_outputs = 1, .n_workers = 1};
        cr_assert_eq(hl_program_cache_new(2, &c), HL_OK);
        kept = get(c, &a, &a.y, 1, false, false);
        hl_mem_fail_after(n);
        hl_status st = hl_program_cache_get(c, b.g, &how, &p, NULL);
        hl_mem_fail_after(-1);
        cr_assert(st == HL_OK || st == HL_E_NOMEM);
        cr_assert_eq(get(c, &a, &a.y, 1, false, true), kept);
        run_on(kept, &a, false, a.y, &first);
        run_on(get(c, &b, &b.y, 1, false, st == HL_OK), &b, false, b.y, &first);
        hl_program_cache_free(c);
        if (st == HL_OK)
            break;
        n_failed++;
    }
    cr_assert_gt(n_failed, 15);
    hl_mem_fail_after(0);
    hl_program_cache *none = NULL;
    cr_assert_eq(hl_program_cache_new(2, &none), HL_E_NOMEM);
    hl_mem_fail_after(-1);
    hl_graph_free(a.g);
    hl_graph_free(b.g);
    cr_assert_eq(hl_mem_get_stats().live_bytes, live);
}

/* tanh of n numbers, which lie in the arena; nothing is run, so none is allocated */
static void ask_large(hl_program_cache *c, int64_t n, bool expect_hit)
{
    asked a = {0};
    cr_assert_eq(hl_graph_new(&a.g), HL_OK);
    a.x = hl_graph_input(a.g, "x", F32(n));
    a.y = hl_g_op1(a.g, HL_OP_ID_tanh, a.x);
    get(c, &a, &a.y, 1, false, expect_hit);
    hl_graph_free(a.g);
}

Test(program_cache, large_arenas_are_not_kept_for_ever)
{
    hl_program_cache *c;
    cr_assert_eq(hl_program_cache_new(8, &c), HL_OK);
    ask_large(c, 100 << 18, false); /* 100 MiB a tensor */
    ask_large(c, 100 << 18, true);
    for (int i = 1; i < 7; i++)
        ask_large(c, (100 << 18) + 16 * i, false);
    ask_large(c, 100 << 18, false);
    hl_program_cache_free(c);
}
