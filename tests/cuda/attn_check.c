/* Attention's kernels called directly, against the double loops of the kernels' own suite: every
 * kind of operands, shapes that are no multiples of tiles, masks, clips, dropout, gates, gaps
 * between rows. Few numbers each: the emulation is slow. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/attn/attn_truth_test.h"
#include "kernels/hl_gpu.h"
#include "kernels/vec/bf16_body.h"
#include "tests/cuda/device_checks.h"

enum { GUARD = 64 }; /* attn_truth_test.c */
enum kind { FP32, TF32, BF16, N_KINDS };
static const char *const kind_name[] = {"fp32", "tf32", "bf16"};

/* How the backward pass gets to know the rows' dots. */
enum known { KNOWS_O, KNOWS_NOTHING };

typedef struct trial {
    const char *what;
    hl_attn_args a;
    int mask_kind; /* 0 none; 1 random; 2 also a sequence without a key; 3 the first third */
    bool gated;
    enum known known;
} trial;

typedef struct bench {
    struct hl_gpu *g;
    const hl_gpu_backend *gpu;
    problem p;
    double *gate, *grad_gate; /* [B,T,H] */
    float *got_gate;
    enum kind kind;
    void *device[64];
    int n_device;
} bench;

static void *device_of(bench *b, const void *from, size_t bytes)
{
    void *p = b->gpu->alloc(b->g, bytes + 16);
    b->device[b->n_device++] = p;
    if (p && from)
        b->gpu->copy(b->g, p, from, bytes);
    return p;
}

static size_t tensor_bytes(const tensor *x)
{
    return (size_t)(x->n * x->row + 2 * GUARD) * sizeof *x->at;
}

/* The tensor with its guards; the address of its first element. */
static float *tensor_on_device(bench *b, int which)
{
    const tensor *x = &b->p.x[which];
    float *at = device_of(b, x->at - GUARD, tensor_bytes(x));
    return at ? at + GUARD : NULL;
}

static void tensor_back(bench *b, int which, const float *from)
{
    const tensor *x = &b->p.x[which];
    b->gpu->copy(b->g, x->at - GUARD, from - GUARD, tensor_bytes(x));
}

/* The same as bf16, with the same gaps. */
static hl_bf16 *rounded_on_device(bench *b, const tensor *x)
{
    const int64_t n = x->n * x->row;
    hl_bf16 *half = malloc((size_t)(n + 1) * sizeof *half);
    for (int64_t i = 0; i < n; i++)
        half[i] = hl_to_bf16(x->at[i]);
    hl_bf16 *at = device_of(b, half, (size_t)n * sizeof *half);
    free(half);
    return at;
}

/* Forward and backward on the device, results back in the problem's tensors. */
static bool run_there(bench *b, const trial *t)
{
    problem *p = &b->p;
    hl_attn_args a = p->t.a;
    const hl_gpu_key key = {a.key.k0, a.key.k1, a.key.step, a.key.stream - 3};
    const int64_t n_gates = a.n_batch * a.t * a.n_head;
    hl_gpu_fault fault;
    float *of[N_TENSORS], *gate32 = malloc((size_t)(n_gates + 1) * sizeof *gate32);
    for (int i = 0; i < N_TENSORS; i++)
        of[i] = tensor_on_device(b, i);
    for (int64_t i = 0; i < n_gates; i++)
        gate32[i] = (float)b->gate[i];
    a.q = of[Q], a.k = of[K], a.v = of[V], a.o = of[O], a.stat = of[STAT];
    a.q_row = p->x[Q].row, a.k_row = p->x[K].row, a.v_row = p->x[V].row, a.o_row = p->x[O].row;
    if (b->kind == BF16) {
        a.q16 = rounded_on_device(b, &p->x[Q]);
        a.k16 = rounded_on_device(b, &p->x[K]);
        a.v16 = rounded_on_device(b, &p->x[V]);
        a.q = a.k = a.v = NULL;
    }
    if (a.key_mask)
        a.key_mask = device_of(b, p->mask, (size_t)(a.n_batch * a.s));
    if (t->gated)
        a.gate = device_of(b, gate32, (size_t)n_gates * sizeof *gate32);
    const hl_gpu_key *there = device_of(b, &key, sizeof key);
    b->gpu->allow_tf32(b->g, b->kind == TF32);
    b->gpu->attention(b->g, &a, NULL, there, 3);
    tensor_back(b, O, of[O]);
    tensor_back(b, STAT, of[STAT]);
    hl_status st = b->gpu->sync(b->g, &fault);
    a.grad_o = of[GO], a.grad_o_row = p->x[GO].row;
    a.grad_q = of[GQ], a.grad_k = of[GK], a.grad_v = of[GV];
    if (t->known == KNOWS_NOTHING)
        a.o = NULL;
    else if (b->kind == BF16) {
        a.o16 = rounded_on_device(b, &p->x[O]);
        a.o = NULL;
    }
    if (t->gated)
        a.grad_gate = device_of(b, gate32, (size_t)n_gates * sizeof *gate32);
    b->gpu->attention_vjp(b->g, &a, NULL, there, 3, NULL,
                          device_of(b, NULL, b->gpu->attention_scratch(&a)));
    for (int i = GQ; i <= GV; i++)
        tensor_back(b, i, of[i]);
    if (t->gated)
        b->gpu->copy(b->g, b->got_gate, a.grad_gate, (size_t)n_gates * sizeof *gate32);
    if (st == HL_OK)
        st = b->gpu->sync(b->g, &fault);
    b->gpu->allow_tf32(b->g, false);
    while (b->n_device)
        b->gpu->free(b->g, b->device[--b->n_device]);
    free(gate32);
    return st == HL_OK;
}

/* Row of [B,T,H] to which element i of [B,T,H,D] belongs. */
static double sigmoid_of(const bench *b, int64_t i)
{
    return 1 / (1 + exp(-(double)(float)b->gate[i / b->p.t.a.d]));
}

/* The truth with a gate: that of go times gate, and then o times gate. */
static void find_gated(bench *b)
{
    truth *t = &b->p.t;
    const int64_t n = q_count(&t->a);
    double *go = t->go, *scaled = malloc((size_t)(n + 1) * sizeof *scaled);
    for (int64_t i = 0; i < n; i++)
        scaled[i] = go[i] * sigmoid_of(b, i);
    t->go = scaled;
    find_out(t);
    t->go = go;
    memset(b->grad_gate, 0, (size_t)(n / t->a.d) * sizeof *b->grad_gate);
    for (int64_t i = 0; i < n; i++) {
        b->grad_gate[i / t->a.d] += scaled[i] * t->o[i] * (1 - sigmoid_of(b, i));
        t->o[i] *= sigmoid_of(b, i);
    }
    free(scaled);
}

/* Error of a tensor over what is allowed. In fp32 and tf32 scores are rounded as their terms are,
 * and that goes into weights; of bf16 they are exact, and weights, go and gradients of scores, sums
 * of D terms, are rounded. */
static double excess(const bench *b, int which, const double *want, double largest)
{
    static const double unit[] = {0x1p-24, 0x1p-12, 0x1p-8};
    const tensor *got = &b->p.x[which];
    double most = 0;
    for (int64_t i = 0; i < got->n * got->width; i++) {
        const double e = fabs(tensor_get(got, i) - want[i]);
        largest = fmax(largest, fabs(want[i]));
        most = e <= most ? most : isnan(e) ? HUGE_VAL : e;
    }
    const double size = b->kind == BF16 ? 0 : b->p.t.size;
    return most == 0 ? 0 : most / (unit[b->kind] * 6 * (1 + size) * largest);
}

static int compare(bench *b, const trial *t, int *compared)
{
    static const char *const name[] = {"o", "grad q", "grad k", "grad v"};
    const truth *w = &b->p.t;
    const double *const want[] = {w->o, w->gq, w->gk, w->gv};
    int failed = 0;
    for (int i = 0; i < 4; i++) {
        const double e = excess(b, O + i, want[i], w->size_of[i]);
        (*compared)++;
        if (!(e <= 1)) {
            printf("FAILED: attention of %s, %s, %s: error %.2f times the allowed one\n",
                   kind_name[b->kind], t->what, name[i], e);
            failed++;
        }
    }
    for (int i = 0; i < N_TENSORS; i++)
        if (!tensor_gaps_kept(&b->p.x[i])) {
            printf("FAILED: attention of %s, %s: tensor %d written outside\n", kind_name[b->kind],
                   t->what, i);
            failed++;
        }
    /* a sequence without a key: exactly nothing */
    const int64_t n = w->a.t * w->a.n_head * w->a.d;
    for (int64_t i = 0; i < n && t->mask_kind == 2; i++)
        if (tensor_get(&b->p.x[O], i) != 0 || tensor_get(&b->p.x[GQ], i) != 0) {
            printf("FAILED: attention of %s, %s: a row without a key gives %g, %g\n",
                   kind_name[b->kind], t->what, tensor_get(&b->p.x[O], i),
                   tensor_get(&b->p.x[GQ], i));
            return failed + 1;
        }
    const int64_t rows = w->a.n_batch * w->a.t * w->a.n_head;
    for (int64_t i = 0; i < rows && t->gated; i++)
        if (!(fabs((double)b->got_gate[i] - b->grad_gate[i]) <=
              (b->kind == FP32 ? 1e-5 * (1 + w->size) : 0.05) * sqrt((double)w->a.d))) {
            printf("FAILED: attention of %s, %s: gate %lld has the gradient %g, not %g\n",
                   kind_name[b->kind], t->what, (long long)i, (double)b->got_gate[i],
                   b->grad_gate[i]);
            return failed + 1;
        }
    return failed;
}

static void round_to_bf16(int64_t n, double *x)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (double)hl_from_bf16(hl_to_bf16((float)x[i]));
}

/* Operands of the kind, away from the kinks of a clip. */
static void draw_operands(bench *b, const trial *t)
{
    static const double unit[] = {0x1p-24, 0x1p-12, 0x1p-24};
    truth *w = &b->p.t;
    for (int tries = 0; tries < 20; tries++) {
        fill(&b->p, false);
        if (b->kind == BF16) {
            round_to_bf16(q_count(&w->a), w->q);
            round_to_bf16(k_count(&w->a), w->k);
            round_to_bf16(k_count(&w->a), w->v);
            tensor_put(&b->p.x[Q], w->q);
            tensor_put(&b->p.x[K], w->k);
            tensor_put(&b->p.x[V], w->v);
        }
        if (t->gated)
            find_gated(b);
        else
            find_out(w);
        if (w->margin >= unit[b->kind] * (1 + w->size))
            return;
    }
}

static void open_bench(bench *b, const trial *t, enum kind kind)
{
    hl_attn_args a = t->a;
    a.scale = 1 / sqrtf((float)a.d);
    a.key = hl_philox_key_make(draw(1000), draw(1000) + 3, draw(1000));
    if (a.norm.eta == 0)
        a.norm.eta = 1;
    b->kind = kind;
    set_up(&b->p, a);
    for (int64_t j = 0; j < a.n_batch * a.s; j++)
        b->p.mask[j] = t->mask_kind == 3   ? j % a.s <= a.s / 3
                       : t->mask_kind == 2 ? j >= a.s && draw(4) != 0
                                           : draw(4) != 0;
    b->p.t.a.key_mask = t->mask_kind ? b->p.mask : NULL;
    const size_t n = (size_t)(a.n_batch * a.t * a.n_head) + 1;
    b->gate = calloc(n, sizeof *b->gate);
    b->grad_gate = calloc(n, sizeof *b->grad_gate);
    b->got_gate = calloc(n, sizeof *b->got_gate);
    for (size_t i = 0; i < n; i++)
        b->gate[i] = (draw(2000) - 1000.0) / 300;
}

static void close_bench(bench *b)
{
    tear_down(&b->p);
    free(b->gate);
    free(b->grad_gate);
    free(b->got_gate);
}

#define SHAPE(b, h, t_, s_, d_) .n_batch = b, .n_head = h, .t = t_, .s = s_, .d = d_
static const trial trials[] = {
    {"plain, head 16", {SHAPE(2, 2, 70, 70, 16), .norm = {HL_NORM_SOFTMAX}}, 0, 0, KNOWS_O},
    {"causal, head 40, more keys than queries",
     {SHAPE(1, 2, 68, 75, 40), .causal = true, .norm = {HL_NORM_SOFTMAX1}},
     0,
     0,
     KNOWS_O},
    {"sequence without a key, dropout, head 64",
     {SHAPE(2, 1, 66, 66, 64), .norm = {HL_NORM_SOFTMAX1}, .dropout = 0.2f},
     2,
     0,
     KNOWS_O},
    {"the same, softmax", {SHAPE(2, 1, 9, 66, 64), .norm = {HL_NORM_SOFTMAX}}, 2, 0, KNOWS_NOTHING},
    {"clipped, causal, mask, dropout, head 128",
     {SHAPE(1, 1, 70, 70, 128), .causal = true, .norm = {HL_NORM_SOFTMAX, -0.03f, 1.02f},
      .dropout = 0.2f},
     1,
     0,
     KNOWS_O},
    {"clipped softmax1, mask, head 24",
     {SHAPE(2, 1, 5, 131, 24), .norm = {HL_NORM_SOFTMAX1, -0.01f, 1}},
     1,
     0,
     KNOWS_O},
    {"padding, head 64, dots from a sweep",
     {SHAPE(1, 1, 40, 140, 64), .norm = {HL_NORM_SOFTMAX}},
     3,
     0,
     KNOWS_NOTHING},
    {"gate, causal, dropout, head 16",
     {SHAPE(2, 3, 70, 70, 16), .causal = true, .norm = {HL_NORM_SOFTMAX1}, .dropout = 0.2f},
     1,
     true,
     KNOWS_O},
    {"gate, clipped, head 80",
     {SHAPE(1, 2, 20, 33, 80), .norm = {HL_NORM_SOFTMAX, -0.02f, 1}},
     0,
     true,
     KNOWS_O},
    {"gate, head 20: the simple kernels",
     {SHAPE(1, 2, 9, 12, 20), .norm = {HL_NORM_SOFTMAX1}, .dropout = 0.2f},
     1,
     true,
     KNOWS_O},
    {"no query", {SHAPE(1, 2, 0, 5, 16), .norm = {HL_NORM_SOFTMAX}}, 0, 0, KNOWS_O},
    {"no key", {SHAPE(1, 2, 3, 0, 16), .norm = {HL_NORM_SOFTMAX1}}, 0, 0, KNOWS_O},
    {"one query, one key, head 128",
     {SHAPE(1, 1, 1, 1, 128), .norm = {HL_NORM_SOFTMAX1}},
     0,
     0,
     KNOWS_O},
};

/* Rows whose scores are all x: what softmax1 makes of 1 / (1 + S exp(x)). Where x >= 0 each
 * exponential is 1, which bf16 holds, so that nothing but the row's sum is left to be wrong. */
static int extra_term(bench *b, int *compared)
{
    static const double x[] = {-200, -40, -20, -3, -0.5, 0, 0.5, 2, 5, 9, 20, 60};
    enum { ROWS = sizeof x / sizeof *x, KEYS = 70, D = 16 };
    const trial t = {
        "extra term", {SHAPE(1, 1, ROWS, KEYS, D), .norm = {HL_NORM_SOFTMAX1}}, 0, false, KNOWS_O};
    int failed = 0;
    open_bench(b, &t, BF16);
    truth *w = &b->p.t;
    w->a.scale = 1;
    for (int64_t i = 0; i < ROWS * D; i++) {
        w->q[i] = i % D ? 0 : x[i / D];
        w->go[i] = 1;
    }
    for (int64_t i = 0; i < KEYS * D; i++) {
        w->k[i] = i % D == 0;
        w->v[i] = 1 + (double)(i % 8) / 8; /* sums of these are exact */
    }
    tensor_put(&b->p.x[Q], w->q);
    tensor_put(&b->p.x[K], w->k);
    tensor_put(&b->p.x[V], w->v);
    tensor_put(&b->p.x[GO], w->go);
    find_out(w);
    if (!run_there(b, &t))
        failed++;
    for (int64_t i = 0; i < ROWS; i++) {
        const double shift = (double)b->p.x[STAT].at[2 * i],
                     per = (double)b->p.x[STAT].at[2 * i + 1];
        const double null_mass = exp(-shift) * per, want = 1 / (1 + KEYS * exp(x[i]));
        bool right = fabs(null_mass - want) <= 2e-6 * want;
        for (int64_t e = 0; e < D; e++) {
            const double o = tensor_get(&b->p.x[O], i * D + e), should = w->o[i * D + e];
            right = right && fabs(o - should) <= (x[i] >= 0 ? 2e-6 : 0x1p-8) * should + 1e-45;
        }
        (*compared)++;
        if (!right) {
            printf("FAILED: softmax1 of bf16, scores %g: extra weight %.9g, not %.9g; o %.9g, not "
                   "%.9g\n",
                   x[i], null_mass, want, tensor_get(&b->p.x[O], i * D), w->o[i * D]);
            failed++;
        }
    }
    failed += compare(b, &t, compared);
    close_bench(b);
    return failed;
}

int attention_check(struct hl_gpu *g, int *compared)
{
    int failed = 0;
    bench b = {.g = g, .gpu = hl_gpu_get()};
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++)
        for (int kind = 0; kind < N_KINDS; kind++) {
            open_bench(&b, &trials[i], (enum kind)kind);
            draw_operands(&b, &trials[i]);
            if (!run_there(&b, &trials[i])) {
                printf("FAILED: attention, %s: %s\n", trials[i].what, b.gpu->error(g));
                failed++;
            }
            failed += compare(&b, &trials[i], compared);
            close_bench(&b);
        }
    return failed + extra_term(&b, compared);
}
