/* Fused attention of every instruction set, forward and backward, against double loops whose
 * gradients are themselves checked by differences. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/attn/attn_truth_test.h"

#ifdef HL_DEBUG
enum { SAMPLE = 20 }; /* sanitizers: one case in so many */
#else
enum { SAMPLE = 2 };
#endif

/* Largest error of a tensor over what is allowed. Rounding errors of a score grow with the size of
 * its terms and go into weights as they are; `largest` is the size of what a sum was made of. */
static double worst(const truth *t, const tensor *got, const double *want, double largest,
                    bool exact, const double *rounding)
{
    const int64_t n = got->n * got->width;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(want[i]));
    const double room = 0x1p-24 * 6 * (1 + (exact ? 0 : t->size)) * largest;
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        const double e = fabs(tensor_get(got, i) - want[i]);
        const double part = e == 0 ? 0 : e / (room + (rounding ? rounding[i] : 0));
        most = part <= most ? most : isnan(e) ? HUGE_VAL : part;
    }
    return most;
}

/* What the processor here may lack: tiles, their instructions in C. */
extern size_t hl_attention_scratch_bytes_amx_emulated(const hl_attn_args *a);
extern void hl_attention_amx_emulated(const hl_attn_args *a, int64_t begin, int64_t end,
                                      void *scratch);
extern void hl_attention_vjp_amx_emulated(const hl_attn_args *a, int64_t begin, int64_t end,
                                          void *scratch);
extern void hl_dropout_mask_amx_emulated(int64_t n, float p, hl_philox_key key, uint64_t element0,
                                         float *keep);
static const hl_cpu_kernels with_tiles = {.isa = "emulated AMX",
                                          .attention_scratch_bytes =
                                              hl_attention_scratch_bytes_amx_emulated,
                                          .attention = hl_attention_amx_emulated,
                                          .attention_vjp = hl_attention_vjp_amx_emulated};

void hl_dropout_mask_amx_emulated(int64_t n, float p, hl_philox_key key, uint64_t element0,
                                  float *keep)
{
    hl_cpu()->dropout_mask(n, p, key, element0, keep);
}

static int kernels_for(const problem *p, const hl_cpu_kernels *all[4])
{
    int n = hl_cpu_all(all);
    if (p->half)
        all[n++] = &with_tiles;
    return n;
}

static bool multiplies_pairs(const problem *p, const hl_cpu_kernels *k)
{
    return p->half && (k == &with_tiles ||
                       (strcmp(k->isa, "avx512") == 0 && hl_cpu_bf16() != HL_BF16_WIDENED));
}

static const char *const tensor_name[] = {"", "", "", "", "o", "grad q", "grad k", "grad v"};
static double worst_of_all[3]; /* numbers of any size, exact scores, bf16 in pairs */

static void check(problem *p, bool exact, const char *what)
{
    const truth *t = &p->t;
    const hl_attn_args *a = &t->a;
    const double *const want[] = {NULL, NULL, NULL, NULL, t->o, t->gq, t->gk, t->gv};
    const hl_cpu_kernels *all[4];
    const int n_all = kernels_for(p, all);
    for (int k = 0; k < n_all; k++) {
        const bool pairs = multiplies_pairs(p, all[k]);
        run(all[k], p, 1 + draw(7));
        for (int i = O; i <= GV; i++) {
            const double w = worst(t, &p->x[i], want[i], t->size_of[i - O], exact,
                                   pairs ? t->rounding[i - O] : NULL);
            double *most = &worst_of_all[pairs ? 2 : exact];
            *most = fmax(*most, w);
            cr_assert(w <= 1,
                      "%s, %s, %s: error %.2f times the allowed one (B %lld H %lld T %lld S %lld D "
                      "%lld, norm %d %g %g, causal %d, mask %d, dropout %g)",
                      all[k]->isa, what, tensor_name[i], w, (long long)a->n_batch,
                      (long long)a->n_head, (long long)a->t, (long long)a->s, (long long)a->d,
                      (int)a->norm.base, (double)a->norm.gamma, (double)a->norm.eta, a->causal,
                      a->key_mask != NULL, (double)a->dropout);
        }
        for (int i = 0; i < N_TENSORS; i++)
            cr_assert(tensor_gaps_kept(&p->x[i]), "%s, %s: tensor %d written outside", all[k]->isa,
                      what, i);
    }
}

/* mask_kind: 0 none, 1 random, 2 also a sequence with no key at all */
static void try_heads(hl_attn_args a, bool half, int mask_kind, bool exact, const char *what)
{
    problem p;
    a.key = hl_philox_key_make(draw(1000), draw(1000), draw(1000));
    set_up(&p, a);
    p.half = half;
    for (int64_t j = 0; j < a.n_batch * a.s; j++)
        p.mask[j] = mask_kind == 2 && j < a.s ? 0 : draw(4) != 0;
    p.t.a.key_mask = mask_kind ? p.mask : NULL;
    int tries = 0;
    do { /* away from the kinks, where float and double may fall on different sides */
        fill(&p, exact);
        find_out(&p.t);
    } while (!exact && p.t.margin < 4 * 0x1p-24 * (1 + p.t.size) && ++tries < 20);
    cr_assert(tries < 20);
    check(&p, exact, what);
    tear_down(&p);
}

static void try_case(hl_attn_args a, int mask_kind, bool exact, const char *what)
{
    try_heads(a, false, mask_kind, exact, what);
}

static const hl_normaliser norms[] = {
    {HL_NORM_SOFTMAX, 0, 1, 0},          {HL_NORM_SOFTMAX1, 0, 1, 0},
    {HL_NORM_ENTMAX15, 0, 1, 0},         {HL_NORM_SPARSEMAX, 0, 1, 0},
    {HL_NORM_SOFTMAX, -0.03f, 1, 0},     {HL_NORM_SOFTMAX1, -0.03f, 1.02f, 0},
    {HL_NORM_ENTMAX15, -0.05f, 1.1f, 0},
};
enum { N_NORMS = sizeof norms / sizeof *norms };

/* --- tests --- */

/* The gradients of the double loops are what differences of their outputs say. */
Test(attention, truth_against_differences)
{
    for (int n = 0; n < N_NORMS; n++) {
        problem p;
        set_up(&p, (hl_attn_args){.n_batch = 1,
                                  .n_head = 2,
                                  .t = 4,
                                  .s = 5,
                                  .d = 3,
                                  .scale = 0.7f,
                                  .causal = true,
                                  .norm = norms[n],
                                  .dropout = n % 2 ? 0.2f : 0});
        truth *t = &p.t;
        do {
            fill(&p, false);
            find_out(t);
        } while (t->margin < 1e-3);
        double *const in[] = {t->q, t->k, t->v}, *const grad[] = {t->gq, t->gk, t->gv};
        const int64_t count[] = {q_count(&t->a), k_count(&t->a), k_count(&t->a)};
        for (int which = 0; which < 3; which++) {
            double *want = malloc((size_t)count[which] * sizeof *want);
            find_out(t);
            memcpy(want, grad[which], (size_t)count[which] * sizeof *want);
            for (int64_t i = 0; i < count[which]; i++) {
                const double x = in[which][i], step = 1e-5;
                double loss[2] = {0};
                for (int side = 0; side < 2; side++) {
                    in[which][i] = side ? x + step : x - step;
                    find_out(t);
                    for (int64_t e = 0; e < q_count(&t->a); e++)
                        loss[side] += t->o[e] * t->go[e];
                }
                in[which][i] = x;
                const double slope = (loss[1] - loss[0]) / (2 * step);
                cr_expect(fabs(slope - want[i]) < 1e-6, "norm %d, input %d, element %d: %g, not %g",
                          n, which, (int)i, want[i], slope);
            }
            free(want);
        }
        tear_down(&p);
    }
}

Test(attention, sweep, .timeout = 300)
{
    const int64_t shape[][3] = {{1, 1, 1},     {1, 7, 3},     {5, 5, 8},    {9, 17, 33},
                                {33, 64, 5},   {63, 63, 16},  {64, 65, 17}, {65, 65, 64},
                                {70, 131, 12}, {129, 129, 7}, {3, 200, 33}};
    int n_cases = 0;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int n = 0; n < N_NORMS; n++)
            for (int kind = 0; kind < 12; kind++) {
                if (draw(SAMPLE) != 0)
                    continue;
                const int64_t *s = shape[i];
                const hl_attn_args a = {.n_batch = 2,
                                        .n_head = 1 + draw(3),
                                        .t = s[0],
                                        .s = s[1],
                                        .d = s[2],
                                        .norm = norms[n],
                                        .causal = kind & 1,
                                        .scale = 1 / sqrtf((float)s[2]) * (kind & 4 ? 2.0f : 1.0f),
                                        .dropout = kind & 2 ? 0.3f : 0.0f};
                try_case(a, kind / 4, false, "sweep");
                n_cases++;
            }
    cr_assert(n_cases > 11 * N_NORMS * 12 / SAMPLE / 2);
    fprintf(stderr, "%d cases, at most %.3f of the error allowed\n", n_cases, worst_of_all[0]);
}

/* Heads of bf16: widened they are as exact as floats; multiplied in pairs each element may be off
 * by what rounding the factors of its terms may do. */
Test(attention, heads_of_bf16, .timeout = 300)
{
    const int64_t shape[][3] = {{1, 1, 16},   {7, 5, 24},    {31, 33, 64},  {33, 64, 80},
                                {64, 31, 32}, {65, 97, 64},  {70, 131, 24}, {100, 100, 64},
                                {129, 65, 5}, {128, 128, 64}};
    const hl_normaliser entmax = {HL_NORM_ENTMAX, 0, 1, 1.3};
    int n_cases = 0;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int n = 0; n <= N_NORMS; n++)
            for (int kind = 0; kind < 12; kind++) {
                if (draw(3 * SAMPLE) != 0)
                    continue;
                const int64_t *s = shape[i];
                const hl_attn_args a = {.n_batch = 2,
                                        .n_head = 1 + draw(2),
                                        .t = s[0],
                                        .s = s[1],
                                        .d = s[2],
                                        .norm = n < N_NORMS ? norms[n] : entmax,
                                        .causal = kind & 1,
                                        .scale = 1 / sqrtf((float)s[2]) * (kind & 4 ? 2.0f : 1.0f),
                                        .dropout = kind & 2 ? 0.3f : 0.0f};
                try_heads(a, true, kind / 4, false, "heads of bf16");
                n_cases++;
            }
    cr_assert(n_cases > 10 * N_NORMS * 12 / (3 * SAMPLE) / 2);
    fprintf(stderr, "%d cases, at most %.3f of the error allowed, in pairs %.3f\n", n_cases,
            worst_of_all[0], worst_of_all[2]);
}

/* Under the causal rule the first queries see nothing if there are fewer keys. */
Test(attention, fewer_keys_than_queries, .timeout = 300)
{
    const int64_t shape[][2] = {{5, 3}, {70, 66}, {65, 1}, {100, 10}, {140, 70}, {200, 3}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int n = 0; n < N_NORMS; n++)
            try_case((hl_attn_args){.n_batch = 2,
                                    .n_head = 2,
                                    .t = shape[i][0],
                                    .s = shape[i][1],
                                    .d = 9,
                                    .norm = norms[n],
                                    .causal = true,
                                    .scale = 0.3f,
                                    .dropout = n % 2 ? 0.25f : 0},
                     (int)i % 3, false, "fewer keys");
}

Test(attention, nothing_to_do)
{
    const int64_t shape[][4] = {{2, 0, 5, 4}, {2, 5, 0, 4}, {0, 5, 5, 4}, {2, 0, 0, 4}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int causal = 0; causal < 2; causal++)
            try_case((hl_attn_args){.n_batch = shape[i][0],
                                    .n_head = 2,
                                    .t = shape[i][1],
                                    .s = shape[i][2],
                                    .d = shape[i][3],
                                    .norm = norms[0],
                                    .causal = causal,
                                    .scale = 1},
                     0, false, "empty");
}

/* Scores up to 1e4 with equal ones among them: one key, or a tie, takes all. */
Test(attention, huge_scores, .timeout = 300)
{
    for (int n = 0; n < N_NORMS; n++)
        for (int round = 0; round < 8; round++)
            try_case((hl_attn_args){.n_batch = 2,
                                    .n_head = 2,
                                    .t = 1 + draw(70),
                                    .s = 1 + draw(90),
                                    .d = 4,
                                    .norm = norms[n],
                                    .scale = round % 2 ? 1.0f : 16.0f},
                     round % 3, true, "huge scores");
    fprintf(stderr, "huge scores: at most %.3f of the error allowed\n", worst_of_all[1]);
}

/* Without a permitted key: exactly zero, forward and backward. */
Test(attention, fully_masked_rows_are_exact_zeros)
{
    const hl_cpu_kernels *all[4];
    const int n_all = kernels_for(&(problem){.half = true}, all);
    for (int n = 0; n < 2 * N_NORMS; n++)
        for (int k = 0; k < n_all; k++) {
            problem p;
            set_up(&p, (hl_attn_args){.n_batch = 2,
                                      .n_head = 2,
                                      .t = 70,
                                      .s = 70,
                                      .d = 5,
                                      .norm = norms[n / 2],
                                      .scale = 1,
                                      .causal = n % 2});
            p.half = n >= N_NORMS || all[k] == &with_tiles;
            fill(&p, false);
            for (int j = 0; j < 140; j++)
                p.mask[j] = j >= 70; /* the first sequence has no key */
            p.t.a.key_mask = p.mask;
            run(all[k], &p, 4);
            for (int i = O; i <= GV; i++)
                for (int64_t e = 0; e < 70 * 10; e++)
                    cr_assert_eq(tensor_get(&p.x[i], e), 0, "%s, norm %d, %s", all[k]->isa, n,
                                 tensor_name[i]);
            tear_down(&p);
        }
}

/* --- not a number --- */

static bool row_is_nan(const tensor *x, int64_t row, int64_t col, int64_t d)
{
    bool all = true;
    for (int64_t e = 0; e < d; e++)
        all = all && isnan(x->at[row * x->row + col + e]);
    return all;
}

/* Runs twice, the second time with a NaN at row `row` (head 1) of an input, and says which (row,
 * head) of o became NaN; those that did not must have kept their bits. */
static void with_nan(problem *p, const hl_cpu_kernels *k, int input, int64_t row, bool spread[][2])
{
    const hl_attn_args *a = &p->t.a;
    tensor *o = &p->x[O];
    run(k, p, 4);
    const size_t bytes = (size_t)(o->n * o->row) * sizeof(float);
    float *clean = malloc(bytes), *at = &p->x[input].at[row * p->x[input].row + a->d + 1];
    memcpy(clean, o->at, bytes);
    const float saved = *at;
    *at = NAN;
    run(k, p, 4);
    *at = saved;
    for (int64_t r = 0; r < o->n; r++)
        for (int64_t h = 0; h < 2; h++) {
            spread[r][h] = row_is_nan(o, r, h * a->d, a->d);
            cr_expect(spread[r][h] ||
                          memcmp(&o->at[r * o->row + h * a->d], &clean[r * o->row + h * a->d],
                                 (size_t)a->d * sizeof(float)) == 0,
                      "%s: row %d, head %d has other bits", k->isa, (int)r, (int)h);
        }
    free(clean);
}

/* A NaN reaches every query that sees it and no other. */
Test(attention, nan_goes_where_it_is_seen)
{
    enum { T = 70, S = 75, B = 2 };
    const hl_cpu_kernels *all[3];
    const int n_all = hl_cpu_all(all);
    for (int n = 0; n < N_NORMS; n++)
        for (int causal = 0; causal < 2; causal++)
            for (int k = 0; k < n_all; k++) {
                problem p;
                set_up(&p, (hl_attn_args){.n_batch = B,
                                          .n_head = 2,
                                          .t = T,
                                          .s = S,
                                          .d = 6,
                                          .norm = norms[n],
                                          .scale = 0.4f,
                                          .causal = causal});
                fill(&p, false);
                for (int j = 0; j < B * S; j++)
                    p.mask[j] = j != 7 && j % S != 20;
                p.t.a.key_mask = p.mask;
                bool spread[B * T][2];
                with_nan(&p, all[k], Q, T + 3, spread);
                for (int r = 0; r < B * T; r++)
                    for (int h = 0; h < 2; h++)
                        cr_assert_eq(spread[r][h], r == T + 3 && h == 1, "q, row %d", r);
                const int key[] = {30, 7, 20, 74, 0};
                for (int i = 0; i < 5; i++) {
                    with_nan(&p, all[k], K, key[i], spread);
                    for (int r = 0; r < B * T; r++)
                        for (int h = 0; h < 2; h++)
                            cr_assert_eq(spread[r][h],
                                         r < T && h == 1 && permitted(&p.t.a, 0, r, key[i]),
                                         "%s, norm %d: key %d, row %d", all[k]->isa, n, key[i], r);
                }
                tear_down(&p);
            }
}

/* --- dropout --- */

/* With v (or grad o) the unit matrix, o (or grad v) are the weights themselves. */
Test(attention, dropout_shares_one_mask)
{
    enum { N = 64, B = 3, H = 4 };
    const hl_cpu_kernels *all[3];
    const int n_all = hl_cpu_all(all);
    const float rate[] = {0.1f, 0.5f, 0.9f};
    for (int k = 0; k < n_all; k++)
        for (int i = 0; i < 3; i++) {
            problem p;
            set_up(&p, (hl_attn_args){.n_batch = B,
                                      .n_head = H,
                                      .t = N,
                                      .s = N,
                                      .d = N,
                                      .norm = norms[0],
                                      .scale = 0.1f,
                                      .dropout = rate[i],
                                      .key = hl_philox_key_make(5, 6, 7)});
            fill(&p, false);
            for (int64_t e = 0; e < q_count(&p.t.a); e++)
                p.t.v[e] = p.t.go[e] = e / (N * H) % N == e % N;
            tensor_put(&p.x[V], p.t.v);
            tensor_put(&p.x[GO], p.t.go);
            run(all[k], &p, 5);
            int64_t n_kept = 0;
            const int64_t n = (int64_t)B * H * N * N;
            for (int64_t task = 0; task < B * H; task++)
                for (int64_t r = 0; r < N; r++)
                    for (int64_t j = 0; j < N; j++) {
                        const int64_t b = task / H, col = task % H * N;
                        const double fwd = tensor_get(&p.x[O], (b * N + r) * H * N + col + j),
                                     bwd = tensor_get(&p.x[GV], (b * N + j) * H * N + col + r);
                        cr_assert(fwd == bwd, "%s: forward %g, backward %g", all[k]->isa, fwd, bwd);
                        cr_assert_eq(fwd != 0, kept(&p.t.a, task, r, j) != 0);
                        n_kept += fwd != 0;
                    }
            const double share = 1 - (double)rate[i], sigma = sqrt(share * (1 - share) * (double)n);
            cr_expect(fabs((double)n_kept - share * (double)n) < 4 * sigma, "%s, %g: %lld of %lld",
                      all[k]->isa, (double)rate[i], (long long)n_kept, (long long)n);
            tear_down(&p);
        }
}

/* The vector generator draws the words of the scalar one, wherever in the stream it starts. */
Test(attention, dropout_mask_is_the_generators)
{
    const hl_cpu_kernels *all[3];
    const int n_all = hl_cpu_all(all);
    const uint64_t start[] = {0,
                              1,
                              2,
                              3,
                              61,
                              (UINT64_C(1) << 34) - 130,
                              (UINT64_C(1) << 34) - 3,
                              (UINT64_C(1) << 40) + 5,
                              UINT64_C(1) << 62};
    const hl_philox_key key = hl_philox_key_make(0xFEDCBA9876543210, 0xF0F0F0F0, 0xFFFFFFFF);
    float x[1400], y[1400], keep[1400];
    for (int i = 0; i < 1400; i++)
        x[i] = i % 5 ? (float)i : NAN;
    for (int k = 0; k < n_all; k++)
        for (size_t s = 0; s < sizeof start / sizeof *start; s++)
            for (int n = 0; n < 1400; n = n < 140 ? n + 1 : n * 3 - 7) {
                keep[n] = y[n] = -7.0f;
                all[k]->dropout_mask(n, 0.25f, key, start[s], keep);
                all[k]->dropout(n, 0.25f, key, start[s], x, y);
                cr_assert(keep[n] == -7.0f && y[n] == -7.0f, "written past the end");
                for (int i = 0; i < n; i++) {
                    const bool kept_here = hl_philox_u32(key, start[s] + (uint64_t)i) >= 1u << 30;
                    cr_assert_eq(keep[i], kept_here ? 1.0f / 0.75f : 0.0f, "%s, %d of %d",
                                 all[k]->isa, i, n);
                    const float want = kept_here ? x[i] * (1.0f / 0.75f) : 0.0f;
                    cr_assert(isnan(want) ? isnan(y[i]) : y[i] == want);
                }
            }
}

/* --- the same bits however the tasks are cut --- */

Test(attention, pieces_agree_to_the_bit)
{
    const hl_cpu_kernels *all[4];
    const int n_all = kernels_for(&(problem){.half = true}, all);
    for (int n = 0; n < 2 * N_NORMS; n++)
        for (int k = 0; k < n_all; k++) {
            problem p;
            set_up(&p, (hl_attn_args){.n_batch = 3,
                                      .n_head = 3,
                                      .t = 67,
                                      .s = 70,
                                      .d = n % 2 ? 32 : 10,
                                      .norm = norms[n / 2],
                                      .scale = 0.3f,
                                      .causal = true,
                                      .dropout = 0.1f});
            p.half = n % 4 < 2 || all[k] == &with_tiles;
            fill(&p, false);
            run(all[k], &p, 9);
            float *first[N_TENSORS];
            size_t bytes[N_TENSORS];
            for (int i = O; i < N_TENSORS; i++) {
                bytes[i] = (size_t)(p.x[i].n * p.x[i].row) * sizeof(float);
                first[i] = malloc(bytes[i]);
                memcpy(first[i], p.x[i].at, bytes[i]);
            }
            for (int64_t piece = 1; piece < 9; piece += 2) {
                run(all[k], &p, piece);
                for (int i = O; i < N_TENSORS; i++)
                    cr_assert_eq(memcmp(first[i], p.x[i].at, bytes[i]), 0, "%s, norm %d, %d tasks",
                                 all[k]->isa, n, (int)piece);
            }
            for (int i = O; i < N_TENSORS; i++)
                free(first[i]);
            tear_down(&p);
        }
}
