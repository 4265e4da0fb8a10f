/* The product of 8-bit integers of every instruction set and group against sums in 64 bits. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/team.h"

enum { GUARD = 100, SENTINEL = 0x5A5A5A5A };

static uint32_t draws;
static uint32_t draw(void)
{
    const hl_philox_key key = hl_philox_key_make(80, 0xF0000005u, 0);
    return hl_philox_u32(key, draws++);
}

typedef struct problem {
    int64_t m, n, k, a_row, c_row;
    uint8_t *a;
    int8_t *w;
    int32_t *want; /* [m,n] */
} problem;

/* Extremes make any intermediate sum of 16 bits saturate. */
typedef enum values { RANDOM, LARGEST, SMALLEST, N_VALUES } values;

static problem problem_new(int64_t m, int64_t n, int64_t k, values v)
{
    problem p = {.m = m, .n = n, .k = k, .a_row = k + draw() % 3, .c_row = n + draw() % 3};
    p.a = malloc((size_t)(m * p.a_row + 1));
    p.w = malloc((size_t)(n * k + 1));
    p.want = malloc((size_t)(m * n) * sizeof *p.want + 1);
    for (int64_t i = 0; i < m * p.a_row; i++)
        p.a[i] = v == RANDOM ? (uint8_t)draw() : 255;
    for (int64_t i = 0; i < n * k; i++)
        p.w[i] = v == RANDOM ? (int8_t)(uint8_t)draw() : v == LARGEST ? 127 : -128;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            int64_t sum = 0;
            for (int64_t x = 0; x < k; x++)
                sum += (int64_t)p.a[i * p.a_row + x] * p.w[j * k + x];
            cr_assert(sum >= INT32_MIN && sum <= INT32_MAX);
            p.want[i * n + j] = (int32_t)sum;
        }
    return p;
}

static void problem_free(problem *p)
{
    free(p->a);
    free(p->w);
    free(p->want);
}

static void check(const hl_cpu_kernels *cpu, int group, hl_team *team, const problem *p)
{
    const int64_t n_c = p->m * p->c_row + 2 * GUARD;
    const size_t packed_bytes = cpu->int8_packed_bytes(group, p->n, p->k);
    int8_t *packed = malloc(packed_bytes + 1);
    int32_t *c = malloc((size_t)n_c * sizeof *c);
    void *scratch = malloc(cpu->int8_scratch_bytes(group, team ? team->n : 1));
    for (int64_t i = 0; i < n_c; i++)
        c[i] = SENTINEL;
    packed[packed_bytes] = 77;
    cpu->int8_pack(group, p->n, p->k, p->w, packed);
    cr_expect_eq(packed[packed_bytes], 77, "%s packs beyond its room", cpu->isa);
    const hl_int8_gemm_args g = {.group = group,
                                 .m = p->m,
                                 .n = p->n,
                                 .k = p->k,
                                 .a = p->a,
                                 .a_row = p->a_row,
                                 .packed_b = packed,
                                 .c = c + GUARD,
                                 .c_row = p->c_row};
    cpu->int8_gemm(team, &g, scratch);
    int64_t n_wrong = 0, n_stray = 0;
    for (int64_t i = 0; i < n_c; i++) {
        const int64_t at = i - GUARD, row = at / p->c_row, col = at % p->c_row;
        if (at >= 0 && row < p->m && col < p->n)
            n_wrong += c[i] != p->want[row * p->n + col];
        else
            n_stray += c[i] != SENTINEL;
    }
    cr_expect(n_wrong == 0 && n_stray == 0,
              "%s, group %d, %lld x %lld x %lld: %lld wrong, %lld stray", cpu->isa, group,
              (long long)p->m, (long long)p->n, (long long)p->k, (long long)n_wrong,
              (long long)n_stray);
    free(packed);
    free(c);
    free(scratch);
}

static void check_all(hl_team *team, const problem *p)
{
    const hl_cpu_kernels *all[3];
    const int n_isa = hl_cpu_all(all);
    for (int i = 0; i < n_isa; i++)
        for (int group = 2; group <= (int)all[i]->int8_group(); group += 2)
            check(all[i], group, team, p);
}

/* Every tile height and every edge, around the sizes of tiles, groups and blocks. */
Test(int8_gemm, small_products)
{
    static const int64_t m[] = {1, 2, 5, 6, 7, 13, 14, 15, 29, 43},
                         n[] = {1, 15, 16, 17, 31, 33, 64}, k[] = {1, 2, 3, 4, 5, 7, 64, 65};
    for (int i = 0; i < 10; i++)
        for (int j = 0; j < 7; j++)
            for (int x = (i + j) % 2; x < 8; x += 2) {
                problem p = problem_new(m[i], n[j], k[x], RANDOM);
                check_all(NULL, &p);
                problem_free(&p);
            }
    for (int64_t height = 1; height <= 14; height++) {
        problem p = problem_new(height, 40, 37, RANDOM);
        check_all(NULL, &p);
        problem_free(&p);
    }
}

Test(int8_gemm, several_blocks_and_teams)
{
    hl_team *team = NULL;
    cr_assert_eq(hl_team_new(2, &team), HL_OK);
    static const int64_t sizes[][3] = {
        {190, 35, 1030}, {20, 130, 2049}, {37, 70, 511}, {170, 65, 513}, {3, 200, 700}};
    for (int i = 0; i < 5; i++) {
        problem p = problem_new(sizes[i][0], sizes[i][1], sizes[i][2], RANDOM);
        check_all(NULL, &p);
        check_all(team, &p);
        problem_free(&p);
    }
    hl_team_free(team);
}

Test(int8_gemm, nothing_saturates)
{
    for (values v = LARGEST; v < N_VALUES; v++) {
        problem p = problem_new(7, 33, 1500, v);
        check_all(NULL, &p);
        problem_free(&p);
        p = problem_new(1, 2, HL_INT8_K_MAX, v); /* as far as 32 bits go */
        check_all(NULL, &p);
        problem_free(&p);
    }
}

Test(int8_gemm, sums_over_nothing_are_zero)
{
    problem p = problem_new(3, 5, 0, RANDOM);
    check_all(NULL, &p);
    problem_free(&p);
    p = problem_new(0, 5, 3, RANDOM);
    check_all(NULL, &p);
    problem_free(&p);
}

/* Codes packed 128 lower, from rows or from columns, and products of the upper left part of them.
 */
Test(int8, parts_of_packed_codes)
{
    enum { M = 16, N = 70, K = 1100, N_PART = 45 };
    static uint8_t a[M * K], w[N * K];
    static int32_t c[M * N];
    const hl_cpu_kernels *all[3];
    for (int i = 0; i < M * K; i++)
        a[i] = (uint8_t)draw();
    for (int i = 0; i < N * K; i++)
        w[i] = (uint8_t)draw();
    for (int n_isa = hl_cpu_all(all), t = 0; t < 4 * n_isa; t++) {
        const hl_cpu_kernels *cpu = all[t / 4];
        const bool by_columns = t % 2;
        const int group = t / 2 % 2 ? 2 : (int)cpu->int8_group();
        const hl_int8_matrix of = {
            .n = N, .k = K, .data = w, .row = by_columns ? 1 : K, .col = by_columns ? N : 1};
        int8_t *packed = malloc(cpu->int8_packed_bytes(group, N, K));
        void *scratch = malloc(cpu->int8_scratch_bytes(group, 1));
        cpu->int8_pack_codes(group, &of, packed);
        static const int64_t parts[] = {K, 1028, 513};
        for (int p = 0; p < 3; p++) {
            const hl_int8_gemm_args g = {.group = group,
                                         .m = M,
                                         .n = p == 2 ? N : N_PART,
                                         .k = parts[p],
                                         .a = a,
                                         .a_row = K,
                                         .packed_b = packed,
                                         .packed_n = N,
                                         .packed_k = K,
                                         .c = c,
                                         .c_row = N};
            int64_t n_wrong = 0;
            cpu->int8_gemm(NULL, &g, scratch);
            for (int64_t i = 0; i < g.m * g.n; i++) {
                const int64_t row = i / g.n, col = i % g.n;
                int64_t sum = 0;
                for (int64_t k = 0; k < g.k; k++)
                    sum += a[row * K + k] * (w[col * of.row + k * of.col] - 128);
                n_wrong += c[row * N + col] != sum;
            }
            cr_expect_eq(n_wrong, 0, "%s, groups of %d, %s, k %lld: %lld wrong", cpu->isa, group,
                         by_columns ? "columns" : "rows", (long long)parts[p], (long long)n_wrong);
        }
        free(packed);
        free(scratch);
    }
}
