/* Products of bf16: every instruction set, and the blocks of AMX with its instructions emulated.
 * Small whole numbers are exact in bf16 and in every sum, so a term that is missing, doubled or
 * misplaced shows; fractions stay within the bound of recursive summation, as products are exact.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/team.h"
#include "kernels/hl_kernel.h"
#include "kernels/vec/bf16_body.h"

void hl_gemm_amx_emulated(hl_team *team, const hl_gemm_args *g, void *scratch);
size_t hl_gemm_scratch_bytes_amx_emulated(int64_t m, int64_t n, int64_t k, int n_workers);
size_t hl_gemm_sums_bytes_amx_emulated(int64_t m, int64_t n, int64_t k);

typedef struct product {
    const char *isa;
    void (*gemm)(hl_team *, const hl_gemm_args *, void *);
    size_t (*scratch_bytes)(int64_t, int64_t, int64_t, int);
    size_t (*sums_bytes)(int64_t, int64_t, int64_t);
    bool widens; /* the float kernel on widened operands */
} product;

static int all_products(product out[4])
{
    const hl_cpu_kernels *all[3];
    const int n = hl_cpu_all(all);
    for (int i = 0; i < n; i++)
        out[i] = (product){all[i]->isa, all[i]->gemm, all[i]->gemm_scratch_bytes,
                           all[i]->gemm_sums_bytes,
                           hl_cpu_bf16() == HL_BF16_WIDENED || strcmp(all[i]->isa, "avx512") != 0};
    out[n] = (product){"emulated AMX", hl_gemm_amx_emulated, hl_gemm_scratch_bytes_amx_emulated,
                       hl_gemm_sums_bytes_amx_emulated, false};
    return n + 1;
}

static uint32_t draws;
static uint32_t draw(uint32_t below)
{
    const hl_philox_key key = hl_philox_key_make(57, 0xF0000001u, 0);
    return (uint32_t)((uint64_t)hl_philox_u32(key, draws++) * below >> 32);
}

enum { GUARD = 32 };
#define UNTOUCHED 0x1.5p100f

typedef struct problem {
    hl_gemm_args g, wide; /* wide: the same operands as floats */
    hl_bf16 *a, *b;
    float *a32, *b32, *c, *before, *bias, *pre;
    int64_t n_a, n_b, n_c;
} problem;

static float number(bool whole)
{
    const float x = whole ? (float)draw(13) - 6.0f : (float)draw(1u << 24) * 0x1p-22f - 2.0f;
    return hl_from_bf16(hl_to_bf16(x));
}

/* bf16 in memory of exactly its size, and the same as floats. */
static hl_bf16 *matrix(int64_t n, bool whole, float **wide)
{
    hl_bf16 *p = malloc((size_t)n * sizeof *p);
    *wide = malloc((size_t)n * sizeof **wide);
    for (int64_t i = 0; i < n; i++)
        p[i] = hl_to_bf16((*wide)[i] = number(whole));
    return p;
}

static float *guarded(int64_t n)
{
    float *p = malloc((size_t)(n + 2 * GUARD) * sizeof *p);
    for (int64_t i = 0; i < n + 2 * GUARD; i++)
        p[i] = UNTOUCHED;
    return p + GUARD;
}

typedef struct form {
    bool ta, tb, add, bias, pre;
} form;

static form draw_form(void)
{
    return (form){draw(2), draw(2), draw(2), draw(2), draw(2)};
}

static void set_up(problem *p, int64_t m, int64_t n, int64_t k, form f, bool whole)
{
    *p = (problem){.n_a = m * k, .n_b = k * n, .n_c = m * (n + 3)};
    p->a = matrix(p->n_a, whole, &p->a32);
    p->b = matrix(p->n_b, whole, &p->b32);
    p->c = guarded(p->n_c);
    p->before = guarded(p->n_c);
    p->pre = guarded(p->n_c);
    p->bias = malloc((size_t)n * sizeof *p->bias);
    for (int64_t j = 0; j < n; j++)
        p->bias[j] = number(whole);
    for (int64_t i = 0; f.add && i < m; i++)
        for (int64_t j = 0; j < n; j++)
            p->before[i * (n + 3) + j] = number(whole);
    p->g = (hl_gemm_args){.m = m,
                          .n = n,
                          .k = k,
                          .a16 = p->a,
                          .b16 = p->b,
                          .c = p->c,
                          .c_row = n + 3,
                          .addend = f.add ? p->before : NULL,
                          .bias = f.bias ? p->bias : NULL,
                          .pre = f.pre ? p->pre : NULL};
    p->g.a_row = f.ta ? 1 : k;
    p->g.a_col = f.ta ? m : 1;
    p->g.b_row = f.tb ? 1 : n;
    p->g.b_col = f.tb ? k : 1;
    p->wide = p->g;
    p->wide.a16 = p->wide.b16 = NULL;
    p->wide.a = p->a32;
    p->wide.b = p->b32;
}

static void tear_down(problem *p)
{
    free(p->a);
    free(p->b);
    free(p->a32);
    free(p->b32);
    free(p->bias);
    free(p->c - GUARD);
    free(p->before - GUARD);
    free(p->pre - GUARD);
}

/* Scratch of exactly the size asked for, filled with NaN. */
static void run(const product *x, hl_team *team, problem *p, const hl_gemm_args *g)
{
    const size_t bytes = x->scratch_bytes(g->m, g->n, g->k, team ? team->n : 1);
    void *scratch = malloc(bytes);
    memset(scratch, 0xFF, bytes);
    for (int64_t i = -GUARD; i < p->n_c + GUARD; i++)
        p->c[i] = p->pre[i] = UNTOUCHED;
    x->gemm(team, g, scratch);
    free(scratch);
}

static bool is_inside(const problem *p, int64_t i)
{
    return i >= 0 && i < p->n_c && i % p->g.c_row < p->g.n;
}

static int64_t n_wrong(const problem *p, bool whole)
{
    const hl_gemm_args *g = &p->wide;
    int64_t wrong = 0;
    for (int64_t i = -GUARD; i < p->n_c + GUARD; i++)
        wrong += !is_inside(p, i) && (p->c[i] != UNTOUCHED || p->pre[i] != UNTOUCHED);
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            const int64_t at = i * g->c_row + j;
            double s = g->addend ? (double)p->before[at] : 0, size = fabs(s);
            for (int64_t x = 0; x < g->k; x++) {
                const double t = (double)g->a[i * g->a_row + x * g->a_col] *
                                 (double)g->b[x * g->b_row + j * g->b_col];
                s += t;
                size += fabs(t);
            }
            s += g->bias ? (double)g->bias[j] : 0;
            size += g->bias ? fabs((double)g->bias[j]) : 0;
            const double room = whole ? 0 : (double)(g->k + 3) * 0x1p-24 * size;
            wrong += !(fabs((double)p->c[at] - s) <= room);
            wrong += g->pre && p->pre[at] != p->c[at];
        }
    return wrong;
}

static void check(int64_t m, int64_t n, int64_t k, form f, bool whole, hl_team *team)
{
    product all[4];
    problem p;
    set_up(&p, m, n, k, f, whole);
    const int n_all = all_products(all);
    for (int t = 0; t < n_all; t++) {
        run(&all[t], team, &p, &p.g);
        const int64_t wrong = n_wrong(&p, whole);
        cr_assert(wrong == 0, "%s, %lld x %lld x %lld, A%s B%s add %d bias %d pre %d: %lld wrong",
                  all[t].isa, (long long)m, (long long)n, (long long)k, f.ta ? "^T" : "",
                  f.tb ? "^T" : "", f.add, f.bias, f.pre, (long long)wrong);
    }
    tear_down(&p);
}

Test(gemm_bf16, small, .timeout = 300)
{
    for (int round = 0; round < 300; round++)
        check(1 + draw(70), 1 + draw(70), 1 + draw(70), draw_form(), true, NULL);
}

/* Blocks of AMX are 768 deep at most, of dot products 1536, and 64 panels of 32 columns wide; the
 * others as in gemm_test.c. */
Test(gemm_bf16, around_the_blocks, .timeout = 300)
{
    const int64_t shape[][3] = {{7, 5, 511},    {29, 37, 512},   {33, 31, 513},  {40, 33, 1025},
                                {37, 35, 1537}, {66, 32, 3104},  {159, 3, 11},   {160, 33, 17},
                                {161, 33, 31},  {321, 32, 32},   {15, 2047, 3},  {3, 2049, 65},
                                {33, 2081, 33}, {173, 521, 397}, {100, 100, 769}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        check(shape[i][0], shape[i][1], shape[i][2], draw_form(), true, NULL);
}

Test(gemm_bf16, fractions, .timeout = 300)
{
    const int64_t shape[][3] = {{1, 1, 1}, {64, 64, 64}, {31, 130, 600}, {200, 17, 900}};
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
            check(shape[i][0], shape[i][1], shape[i][2], draw_form(), false, NULL);
}

Test(gemm_bf16, nothing_to_do)
{
    const int64_t shape[][3] = {{0, 5, 7}, {5, 0, 7}, {5, 7, 0}, {0, 0, 0}, {40, 40, 0}};
    for (size_t i = 0; i < 5; i++)
        check(shape[i][0], shape[i][1], shape[i][2], draw_form(), true, NULL);
}

/* Without AMX and dot products nothing but the rounding of the operands sets bf16 apart: the float kernel's bits. */
Test(gemm_bf16, widening_gives_the_bits_of_float)
{
    product all[4];
    const int n_all = all_products(all);
    const int64_t shape[][3] = {{17, 19, 23}, {65, 64, 64}, {83, 97, 401}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        problem p;
        set_up(&p, shape[i][0], shape[i][1], shape[i][2], draw_form(), false);
        float *want = malloc((size_t)p.n_c * sizeof *want);
        for (int t = 0; t < n_all; t++) {
            if (!all[t].widens)
                continue;
            run(&all[t], NULL, &p, &p.wide);
            memcpy(want, p.c, (size_t)p.n_c * sizeof *want);
            run(&all[t], NULL, &p, &p.g);
            cr_assert(memcmp(want, p.c, (size_t)p.n_c * sizeof *want) == 0, "%s", all[t].isa);
        }
        free(want);
        tear_down(&p);
    }
}

/* A team whose workers run one after another, last first. */
static void run_backwards(hl_team *team, hl_team_fn fn, void *arg)
{
    for (int w = team->n - 1; w >= 0; w--)
        fn(arg, w, team->n);
}

Test(gemm_bf16, teams_agree_to_the_bit, .timeout = 300)
{
    product all[4];
    const int n_all = all_products(all);
    const int64_t shape[][3] = {
        {65, 64, 64}, {3, 500, 90}, {83, 97, 601}, {200, 100, 60}, {173, 530, 70}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        problem p;
        set_up(&p, shape[i][0], shape[i][1], shape[i][2], draw_form(), false);
        float *alone = malloc((size_t)p.n_c * sizeof *alone);
        for (int t = 0; t < n_all; t++) {
            run(&all[t], NULL, &p, &p.g);
            memcpy(alone, p.c, (size_t)p.n_c * sizeof *alone);
            for (int n = 2; n <= 7; n++) {
                hl_team team = {n, run_backwards};
                run(&all[t], &team, &p, &p.g);
                cr_expect(memcmp(alone, p.c, (size_t)p.n_c * sizeof *alone) == 0,
                          "%s, shape %zu: other bits with %d workers", all[t].isa, i, n);
            }
        }
        free(alone);
        tear_down(&p);
    }
}

/* The result rounded where it is made: that of floats, rounded; beside it nothing is touched. Sums
 * have the room that they ask for. */
Test(gemm_bf16, results_are_rounded, .timeout = 300)
{
    product all[4];
    const int n_all = all_products(all);
    const int64_t shape[][3] = {{1, 1, 1},      {33, 65, 31},   {70, 40, 400}, {40, 33, 800},
                                {31, 70, 1600}, {64, 64, 1536}, {5, 7, 0},     {173, 40, 3100}};
    for (size_t i = 0; i < 2 * sizeof shape / sizeof *shape; i++) {
        const int64_t m = shape[i / 2][0], n = shape[i / 2][1], k = shape[i / 2][2];
        problem p;
        set_up(&p, m, n, k, draw_form(), false);
        p.g.act = i % 2 ? HL_ACT_GELU : HL_ACT_NONE;
        hl_bf16 *c = malloc((size_t)p.n_c * sizeof *c), *pre = malloc((size_t)p.n_c * sizeof *pre);
        for (int t = 0; t < n_all; t++) {
            run(&all[t], NULL, &p, &p.g);
            hl_gemm_args g = p.g;
            const size_t sums = all[t].sums_bytes(m, n, k);
            cr_assert(sums == 0 || sums == (size_t)(m * n) * sizeof(float));
            hl_team team = {3, run_backwards};
            void *scratch = malloc(all[t].scratch_bytes(m, n, k, 3));
            g.c = sums ? malloc((size_t)p.n_c * sizeof *g.c) : NULL; /* rows as those of c16 */
            g.c16 = c;
            g.pre16 = p.g.pre ? pre : NULL;
            g.pre = NULL;
            memset(c, 0x55, (size_t)p.n_c * sizeof *c);
            memset(pre, 0x55, (size_t)p.n_c * sizeof *pre);
            all[t].gemm(i % 4 < 2 ? NULL : &team, &g, scratch);
            int wrong = 0;
            for (int64_t x = 0; x < p.n_c; x++) {
                const bool inside = is_inside(&p, x);
                wrong += c[x] != (inside ? hl_to_bf16(p.c[x]) : 0x5555);
                wrong += pre[x] != (inside && p.g.pre ? hl_to_bf16(p.pre[x]) : 0x5555);
            }
            cr_expect_eq(wrong, 0, "%s, %lld x %lld x %lld: %d wrong", all[t].isa, (long long)m,
                         (long long)n, (long long)k, wrong);
            free(g.c);
            free(scratch);
        }
        free(c);
        free(pre);
        tear_down(&p);
    }
}

/* Rounding: to the nearest of the two neighbours, ties to the even one, over all upper halves. */
Test(gemm_bf16, rounding)
{
    for (uint32_t h = 0; h < 0x10000; h++) {
        const float x = hl_bits_to_float((int32_t)(h << 16));
        const bool nan = (h & 0x7FFF) > 0x7F80;
        cr_assert(nan ? isnan(hl_from_bf16(hl_to_bf16(x))) : hl_to_bf16(x) == h);
        if ((h & 0x7FFF) >= 0x7F80)
            continue;
        cr_assert_eq(hl_to_bf16(hl_bits_to_float((int32_t)(h << 16 | 0x7FFF))), h);
        cr_assert_eq(hl_to_bf16(hl_bits_to_float((int32_t)(h << 16 | 0x8000))), h + (h & 1));
        cr_assert_eq(hl_to_bf16(hl_bits_to_float((int32_t)(h << 16 | 0x8001))), h + 1);
    }
    cr_assert(isnan(hl_from_bf16(hl_to_bf16(hl_bits_to_float(0x7F800001))))); /* not infinity */
    const hl_cpu_kernels *all[3];
    for (int t = hl_cpu_all(all) - 1; t >= 0; t--) {
        float x[100], back[100];
        hl_bf16 y[100];
        for (int i = 0; i < 100; i++)
            x[i] = number(false) * 1.0017f;
        all[t]->to_bf16(100, x, y);
        all[t]->from_bf16(100, y, back);
        for (int i = 0; i < 100; i++)
            cr_assert(y[i] == hl_to_bf16(x[i]) && back[i] == hl_from_bf16(y[i]));
    }
    /* what an instruction could take for zero, or for a number: one beside 31 others each */
    static const uint32_t odd[] = {0x00000001, 0x807FFFFF, 0x007FFFFF, 0x7F800001,
                                   0xFFC00000, 0x7F800000, 0x7F7FFFFF, 0x80000000};
    for (int t = hl_cpu_all(all) - 1; t >= 0; t--)
        for (size_t o = 0; o < sizeof odd / sizeof *odd; o++)
            for (int place = 0; place < 96; place++) {
                float x[96];
                hl_bf16 y[96];
                for (int i = 0; i < 96; i++)
                    x[i] = (float)(i + 1) * 1.0017f;
                x[place] = hl_bits_to_float((int32_t)odd[o]);
                all[t]->to_bf16(96, x, y);
                for (int i = 0; i < 96; i++)
                    cr_assert_eq(y[i], hl_to_bf16(x[i]), "%s, %08x at %d", all[t]->isa, odd[o], i);
            }
}
