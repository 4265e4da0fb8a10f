/* The matrix product of every instruction set against double loops. Small whole numbers make most
 * of the suite exact: a term that is missing, doubled or misplaced shows whatever its size. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/team.h"
#include "kernels/hl_kernel.h"

enum { GUARD = 64, SENTINEL = 0x7FA5A5A5 }; /* a NaN of our own */

#ifdef HL_DEBUG
enum { SAMPLE = 29 }; /* sanitizers: one shape in so many */
#else
enum { SAMPLE = 3 };
#endif

typedef struct layout {
    bool ta, tb;                 /* stored transposed */
    int64_t a_gap, b_gap, c_gap; /* stride minus width */
    bool add, pre, bias;
    hl_act act;
} layout;

/* One product: operands, what C held, and room for the result, all between guards. */
typedef struct problem {
    hl_gemm_args g;
    layout l;
    float *a, *b, *c, *c_before, *pre, *bias;
    int64_t n_a, n_b, n_c;
} problem;

static uint32_t draws;
static uint32_t draw(uint32_t below)
{
    const hl_philox_key key = hl_philox_key_make(31, 0xF0000001u, 0);
    return (uint32_t)((uint64_t)hl_philox_u32(key, draws++) * below >> 32);
}

static float sentinel(void)
{
    const uint32_t bits = SENTINEL;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static bool is_sentinel(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits == SENTINEL;
}

/* n floats between guards. With whole: numbers -6 .. 6; else about N(0, 1) by its range. */
static float *numbers(int64_t n, bool whole)
{
    float *p = malloc((size_t)(n + 2 * GUARD) * sizeof *p);
    for (int64_t i = 0; i < n + 2 * GUARD; i++)
        p[i] = sentinel();
    for (int64_t i = 0; i < n; i++)
        p[GUARD + i] = whole ? (float)draw(13) - 6.0f : (float)draw(1u << 24) * 0x1p-22f - 2.0f;
    return p + GUARD;
}

static void release(float *p)
{
    if (p)
        free(p - GUARD);
}

/* an m x n matrix, stored transposed or not; sets the strides of element (i, j) */
static float *matrix(int64_t m, int64_t n, bool t, int64_t gap, bool whole, int64_t *row,
                     int64_t *col, int64_t *count)
{
    const int64_t width = (t ? m : n) + gap;
    *row = t ? 1 : width;
    *col = t ? width : 1;
    *count = width * (t ? n : m);
    return numbers(*count, whole);
}

static void set_up(problem *p, int64_t m, int64_t n, int64_t k, layout l, bool whole)
{
    *p = (problem){.l = l};
    hl_gemm_args *g = &p->g;
    *g = (hl_gemm_args){.m = m, .n = n, .k = k, .add = l.add, .act = l.act};
    p->a = matrix(m, k, l.ta, l.a_gap, whole, &g->a_row, &g->a_col, &p->n_a);
    p->b = matrix(k, n, l.tb, l.b_gap, whole, &g->b_row, &g->b_col, &p->n_b);
    g->c_row = n + l.c_gap;
    p->n_c = m * g->c_row;
    p->c = numbers(p->n_c, whole);
    p->c_before = numbers(p->n_c, whole);
    p->pre = l.pre ? numbers(p->n_c, whole) : NULL;
    p->bias = l.bias ? numbers(n, whole) : NULL;
    for (int64_t i = 0; i < p->n_c; i++) {
        const bool inside = i % g->c_row < n;
        p->c_before[i] = inside && l.add ? p->c_before[i] : sentinel(); /* not read without add */
    }
    g->a = p->a;
    g->b = p->b;
    g->c = p->c;
    g->pre = p->pre;
    g->bias = p->bias;
}

static void put_c(problem *p)
{
    memcpy(p->c, p->c_before, (size_t)p->n_c * sizeof(float));
    for (int64_t i = 0; p->pre && i < p->n_c; i++)
        p->pre[i] = sentinel();
}

static void tear_down(problem *p)
{
    release(p->a);
    release(p->b);
    release(p->c);
    release(p->c_before);
    release(p->pre);
    release(p->bias);
}

/* Scratch of exactly the size asked for, filled with NaN. */
static void run(const hl_cpu_kernels *k, hl_team *team, problem *p)
{
    const size_t bytes = k->gemm_scratch_bytes(p->g.m, p->g.n, p->g.k, team ? team->n : 1);
    void *scratch = malloc(bytes);
    memset(scratch, 0xFF, bytes);
    put_c(p);
    k->gemm(team, &p->g, scratch);
    free(scratch);
}

static double activated(hl_act act, double x)
{
    switch (act) {
    case HL_ACT_GELU:
        return 0.5 * x * erfc(-x * 0.70710678118654752440);
    case HL_ACT_GELU_TANH:
        return x / (1 + exp(-2 * 0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case HL_ACT_RELU:
        return x < 0 ? 0 : x;
    default:
        return x;
    }
}

typedef struct expected {
    double *before; /* the activation */
    double *size;   /* sum of the magnitudes of all terms */
} expected;

static expected expect(const problem *p)
{
    const hl_gemm_args *g = &p->g;
    const size_t bytes = (size_t)(g->m * g->n + 1) * sizeof(double);
    expected e = {malloc(bytes), malloc(bytes)};
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            double s = 0, size = 0;
            for (int64_t x = 0; x < g->k; x++) {
                const double t = (double)g->a[i * g->a_row + x * g->a_col] *
                                 (double)g->b[x * g->b_row + j * g->b_col];
                s += t;
                size += fabs(t);
            }
            const double old = g->add ? (double)p->c_before[i * g->c_row + j] : 0;
            const double bias = g->bias ? (double)g->bias[j] : 0;
            e.before[i * g->n + j] = s + old + bias;
            e.size[i * g->n + j] = size + fabs(old) + fabs(bias);
        }
    return e;
}

static void forget(expected e)
{
    free(e.before);
    free(e.size);
}

/* Number of wrong elements; whole numbers must be exact, others within the bound of recursive
 * summation (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 4.4). */
static int64_t n_wrong(const problem *p, const expected *e, bool whole)
{
    const hl_gemm_args *g = &p->g;
    const double u = 0x1p-24;
    int64_t wrong = 0;
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            const double before = e->before[i * g->n + j], size = e->size[i * g->n + j];
            const double room = whole ? 0 : (double)(g->k + 3) * u * size;
            const double want = activated(g->act, before), got = (double)g->c[i * g->c_row + j];
            const double curved = g->act == HL_ACT_GELU || g->act == HL_ACT_GELU_TANH ? 2.5 * u : 0;
            wrong += !(fabs(got - want) <= 1.2 * room + curved * fabs(before));
            if (g->pre)
                wrong += !(fabs((double)g->pre[i * g->c_row + j] - before) <= room);
        }
    return wrong;
}

/* Nothing outside the m x n elements has been written. */
static int64_t n_touched(const problem *p)
{
    int64_t touched = 0;
    for (int which = 0; which < 2; which++) {
        const float *c = which ? p->pre : p->c;
        for (int64_t i = -GUARD; c && i < p->n_c + GUARD; i++) {
            const bool inside = i >= 0 && i < p->n_c && i % p->g.c_row < p->g.n;
            touched += !inside && !is_sentinel(c[i]);
        }
    }
    return touched;
}

static void check(problem *p, hl_team *team, bool whole, const char *what)
{
    const hl_cpu_kernels *all[3];
    const int n_all = hl_cpu_all(all);
    const hl_gemm_args *g = &p->g;
    const expected e = expect(p);
    for (int t = 0; t < n_all; t++) {
        run(all[t], team, p);
        const int64_t wrong = n_wrong(p, &e, whole), touched = n_touched(p);
        cr_assert(wrong == 0 && touched == 0,
                  "%s, %s, %lld x %lld x %lld, A%s B%s gaps %lld %lld %lld, add %d bias %d act %d "
                  "pre %d: %lld elements wrong, %lld written outside",
                  what, all[t]->isa, (long long)g->m, (long long)g->n, (long long)g->k,
                  p->l.ta ? "^T" : "", p->l.tb ? "^T" : "", (long long)p->l.a_gap,
                  (long long)p->l.b_gap, (long long)p->l.c_gap, g->add, g->bias != NULL,
                  (int)g->act, g->pre != NULL, (long long)wrong, (long long)touched);
    }
    forget(e);
}

static layout draw_layout(void)
{
    layout l = {.ta = draw(2),
                .tb = draw(2),
                .add = draw(2),
                .bias = draw(2),
                .pre = draw(2),
                .act = (hl_act)draw(4)};
    if (draw(2)) {
        l.a_gap = draw(6);
        l.b_gap = draw(6);
        l.c_gap = draw(6);
    }
    return l;
}

static void try_shape(int64_t m, int64_t n, int64_t k, hl_team *team, const char *what)
{
    problem p;
    set_up(&p, m, n, k, draw_layout(), true);
    check(&p, team, true, what);
    tear_down(&p);
}

/* A team whose workers run one after another, last first: any number of them, no threads. */
static void run_backwards(hl_team *team, hl_team_fn fn, void *arg)
{
    for (int w = team->n - 1; w >= 0; w--)
        fn(arg, w, team->n);
}

Test(gemm, small_cube, .timeout = 300)
{
    int64_t n_shapes = 0;
    for (int64_t m = 1; m <= 40; m++)
        for (int64_t n = 1; n <= 40; n++)
            for (int64_t k = 1; k <= 40; k++)
                if (draw(SAMPLE) == 0) {
                    try_shape(m, n, k, NULL, "small");
                    n_shapes++;
                }
    cr_assert(n_shapes > 64000 / SAMPLE / 2);
}

/* Every height of tile and every width of edge with every flag, at one awkward depth. */
Test(gemm, every_combination, .timeout = 300)
{
    for (int bits = 0; bits < 128; bits++) {
        const layout l = {.ta = bits & 1,
                          .tb = bits >> 1 & 1,
                          .add = bits >> 2 & 1,
                          .bias = bits >> 3 & 1,
                          .pre = bits >> 4 & 1,
                          .act = (hl_act)(bits >> 5 & 3),
                          .a_gap = bits % 3,
                          .b_gap = bits % 4,
                          .c_gap = bits % 5};
        const int64_t sizes[] = {1, 15, 33};
        for (int i = 0; i < 9; i++) {
            problem p;
            set_up(&p, sizes[i % 3], sizes[i / 3], 19, l, true);
            check(&p, NULL, true, "combination");
            tear_down(&p);
        }
    }
}

/* Blocks are 384 deep, 12 tiles high (72 or 168 rows) and 64 panels wide (512 to 2048 columns). */
Test(gemm, around_the_blocks, .timeout = 300)
{
    const int64_t deep[] = {383, 384, 385, 399, 400, 767, 768, 769, 1153};
    const int64_t high[] = {71, 72, 73, 83, 84, 85, 167, 168, 169, 181, 337};
    const int64_t wide[] = {511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049, 2081, 4099};
    for (size_t i = 0; i < sizeof deep / sizeof *deep; i++) {
        try_shape(7, 5, deep[i], NULL, "deep");
        try_shape(29, 37, deep[i], NULL, "deep");
    }
    for (size_t i = 0; i < sizeof high / sizeof *high; i++) {
        try_shape(high[i], 3, 11, NULL, "high");
        try_shape(high[i], 33, 17, NULL, "high");
    }
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        try_shape(1, wide[i], 5, NULL, "wide");
        try_shape(15, wide[i], 3, NULL, "wide");
    }
    try_shape(3, 2051, 389, NULL, "wide and deep");
    try_shape(173, 521, 397, NULL, "all blocks");
    try_shape(13, 1031, 769, NULL, "wide and twice deep");
}

Test(gemm, primes, .timeout = 300)
{
    const int64_t prime[] = {2, 3, 5, 7, 13, 17, 31, 61, 97, 127, 211};
    for (int i = 0; i < 11; i++)
        for (int j = 0; j < 11; j++)
            for (int k = 0; k < 11; k++)
                if (draw(2 * SAMPLE) == 0)
                    try_shape(prime[i], prime[j], prime[k], NULL, "prime");
}

Test(gemm, fractions, .timeout = 300)
{
    const int64_t shape[][3] = {{1, 1, 1},      {17, 19, 23},   {64, 64, 64},  {14, 32, 384},
                                {100, 90, 500}, {31, 530, 400}, {200, 17, 900}};
    for (int round = 0; round < 4; round++)
        for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
            problem p;
            set_up(&p, shape[i][0], shape[i][1], shape[i][2], draw_layout(), false);
            check(&p, NULL, false, "fractions");
            tear_down(&p);
        }
}

Test(gemm, nothing_to_do)
{
    const int64_t shape[][3] = {{0, 5, 7},   {5, 0, 7}, {5, 7, 0}, {0, 0, 0},
                                {40, 40, 0}, {0, 3, 0}, {3, 0, 0}};
    for (int round = 0; round < 40; round++)
        for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
            try_shape(shape[i][0], shape[i][1], shape[i][2], NULL, "empty");
}

/* Teams of any size give the bits of one worker. */
Test(gemm, teams_agree_to_the_bit, .timeout = 300)
{
    const int64_t shape[][3] = {{5, 7, 9},      {64, 64, 64},  {65, 64, 64},   {3, 2000, 90},
                                {27, 530, 400}, {83, 97, 401}, {200, 100, 60}, {173, 1030, 770}};
    const hl_cpu_kernels *all[3];
    const int n_all = hl_cpu_all(all);
    hl_team *real[4] = {NULL};
    for (int n = 1; n <= 3; n++)
        cr_assert_eq(hl_team_new(n, &real[n]), HL_OK);
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        problem p;
        set_up(&p, shape[i][0], shape[i][1], shape[i][2], draw_layout(), false);
        const size_t bytes = (size_t)p.n_c * sizeof(float);
        float *alone = malloc(bytes), *pre = malloc(bytes);
        for (int t = 0; t < n_all; t++) {
            run(all[t], NULL, &p);
            memcpy(alone, p.c, bytes);
            if (p.pre)
                memcpy(pre, p.pre, bytes);
            for (int n = 1; n <= 20; n++) {
                hl_team pretended = {n, run_backwards};
                for (int threads = 0; threads <= (n <= 3); threads++) {
                    run(all[t], threads ? real[n] : &pretended, &p);
                    cr_expect(memcmp(alone, p.c, bytes) == 0 && n_touched(&p) == 0,
                              "%s, shape %zu: other bits with %d %s", all[t]->isa, i, n,
                              threads ? "threads" : "workers in turn");
                    cr_expect(!p.pre || memcmp(pre, p.pre, bytes) == 0);
                }
            }
        }
        free(alone);
        free(pre);
        tear_down(&p);
    }
    for (int n = 1; n <= 3; n++)
        hl_team_free(real[n]);
}

Test(gemm, large_on_a_team, .timeout = 300)
{
    hl_team *team;
    cr_assert_eq(hl_team_new(2, &team), HL_OK);
    try_shape(181, 531, 400, team, "team, by rows");
    try_shape(19, 2100, 390, team, "team, by columns");
    try_shape(1, 700, 700, team, "team, one row");
    try_shape(700, 1, 700, team, "team, one column");
    hl_team_free(team);
}

/* NaN and inf stay in their row and column; padding of edge panels multiplies nothing that is kept.
 */
Test(gemm, not_a_number_stays_in_its_row)
{
    const hl_cpu_kernels *all[3];
    const int n_all = hl_cpu_all(all);
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int round = 0; round < 200; round++) {
        problem p;
        const int64_t m = 1 + draw(40), n = 1 + draw(40), k = 1 + draw(400);
        layout l = draw_layout();
        l.act = HL_ACT_NONE;
        set_up(&p, m, n, k, l, true);
        const int64_t row = draw((uint32_t)m), col = draw((uint32_t)n), x = draw((uint32_t)k);
        const bool in_a = draw(2);
        float *at =
            in_a ? &p.a[row * p.g.a_row + x * p.g.a_col] : &p.b[x * p.g.b_row + col * p.g.b_col];
        *at = bad[draw(3)];
        for (int t = 0; t < n_all; t++) {
            run(all[t], NULL, &p);
            for (int64_t i = 0; i < m; i++)
                for (int64_t j = 0; j < n; j++)
                    /* never 0 * inf by luck: an infinite factor gives inf or NaN */
                    cr_assert_eq(!isfinite(p.c[i * p.g.c_row + j]), in_a ? i == row : j == col,
                                 "%s, %lld x %lld x %lld at %lld, %lld", all[t]->isa, (long long)m,
                                 (long long)n, (long long)k, (long long)i, (long long)j);
        }
        tear_down(&p);
    }
}

Test(gemm, openblas_agrees, .timeout = 300)
{
    problem p;
    set_up(&p, 2, 2, 2, (layout){0}, true);
    put_c(&p);
    if (!hl_openblas_gemm(&p.g)) {
        tear_down(&p);
        cr_skip_test("OpenBLAS is not installed");
    }
    tear_down(&p);
    for (int round = 0; round < 2000; round++) {
        layout l = draw_layout();
        l.act = HL_ACT_NONE;
        l.pre = l.bias = false;
        const uint32_t most = round % 20 ? 40 : 400;
        set_up(&p, 1 + draw(most), 1 + draw(most), round % 50 ? 1 + draw(most) : 0, l, true);
        /* a matrix of one row or column may have any stride along it */
        if (p.g.m == 1 && !l.ta && draw(2))
            p.g.a_row = 1;
        if (p.g.k <= 1 && !l.tb && draw(2))
            p.g.b_row = 1;
        put_c(&p);
        cr_assert(hl_openblas_gemm(&p.g));
        const expected e = expect(&p);
        const int64_t wrong = n_wrong(&p, &e, true), touched = n_touched(&p);
        cr_assert(wrong == 0 && touched == 0,
                  "%lld x %lld x %lld, strides %lld %lld, %lld %lld, %lld, add %d: %lld wrong, "
                  "%lld outside",
                  (long long)p.g.m, (long long)p.g.n, (long long)p.g.k, (long long)p.g.a_row,
                  (long long)p.g.a_col, (long long)p.g.b_row, (long long)p.g.b_col,
                  (long long)p.g.c_row, p.g.add, (long long)wrong, (long long)touched);
        forget(e);
        tear_down(&p);
    }
}
