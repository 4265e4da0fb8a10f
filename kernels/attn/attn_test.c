/* Fused attention of every instruction set, forward and backward, against double loops that share
 * nothing with it: thresholds by bisection, dropout from the scalar generator, gradients written out
 * and themselves checked by differences. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/hl_kernel.h"

enum { GUARD = 64, SENTINEL = 0x7FA5A5A5 }; /* a NaN of our own */

#ifdef HL_DEBUG
enum { SAMPLE = 20 }; /* sanitizers: one case in so many */
#else
enum { SAMPLE = 2 };
#endif

static uint32_t draws;
static uint32_t draw(uint32_t below)
{
    const hl_philox_key key = hl_philox_key_make(37, 0xF0000002u, 0);
    return (uint32_t)((uint64_t)hl_philox_u32(key, draws++) * below >> 32);
}

/* --- the truth: doubles, [B, T or S, H, D] without gaps --- */

typedef struct truth {
    hl_attn_args a; /* sizes, scale, masks, norm, dropout, key */
    double *q, *k, *v, *go, *o, *gq, *gk, *gv;
    /* largest sum of magnitudes of the terms of a score, and of an element of o, gq, gk, gv */
    double size, size_of[4];
    double margin; /* distance of the nearest weight from a kink */
} truth;

static int64_t q_count(const hl_attn_args *a)
{
    return a->n_batch * a->t * a->n_head * a->d;
}

static int64_t k_count(const hl_attn_args *a)
{
    return a->n_batch * a->s * a->n_head * a->d;
}

static bool permitted(const hl_attn_args *a, int64_t b, int64_t i, int64_t j)
{
    return (!a->causal || j <= i + a->s - a->t) && (!a->key_mask || a->key_mask[b * a->s + j]);
}

/* 1 / (1 - p) or 0: element ((b H + h) T + i) S + j of the stream */
static double kept(const hl_attn_args *a, int64_t task, int64_t i, int64_t j)
{
    const uint64_t e = (uint64_t)((task * a->t + i) * a->s + j);
    if (a->dropout == 0.0f)
        return 1;
    return hl_philox_u32(a->key, e) < (uint32_t)((double)a->dropout * 0x1p32)
               ? 0
               : 1 / (1 - (double)a->dropout);
}

/* tau with sum max(h - tau, 0)^power = 1; the largest h is 0 */
static double threshold(int64_t n, const double *h, int power)
{
    double lo = -1, hi = 0;
    for (int step = 0; step < 80; step++) {
        const double tau = 0.5 * (lo + hi);
        double sum = 0;
        for (int64_t j = 0; j < n; j++)
            if (h[j] > tau)
                sum += power == 2 ? (h[j] - tau) * (h[j] - tau) : h[j] - tau;
        if (sum > 1)
            lo = tau;
        else
            hi = tau;
    }
    return 0.5 * (lo + hi);
}

/* p of n scores, before the clip */
static void base_weights(truth *t, int64_t n, const double *x, double *p)
{
    const hl_normaliser_base base = t->a.norm.base;
    double m = -HUGE_VAL, sum = 0;
    for (int64_t j = 0; j < n; j++)
        m = x[j] > m ? x[j] : m;
    memset(p, 0, (size_t)n * sizeof *p);
    if (m == -HUGE_VAL)
        return;
    if (base == HL_NORM_SOFTMAX || base == HL_NORM_SOFTMAX1) {
        const double top = base == HL_NORM_SOFTMAX1 && m < 0 ? 0 : m;
        for (int64_t j = 0; j < n; j++)
            sum += p[j] = exp(x[j] - top);
        sum += base == HL_NORM_SOFTMAX1 ? exp(-top) : 0;
        for (int64_t j = 0; j < n; j++)
            p[j] /= sum;
        return;
    }
    const int power = base == HL_NORM_ENTMAX15 ? 2 : 1;
    double *h = malloc((size_t)(n + 1) * sizeof *h);
    for (int64_t j = 0; j < n; j++)
        h[j] = (x[j] - m) / power;
    const double tau = threshold(n, h, power);
    for (int64_t j = 0; j < n; j++) {
        const double d = h[j] - tau;
        p[j] = d <= 0 ? 0 : power == 2 ? d * d : d;
        if (power == 1 && fabs(d) < t->margin)
            t->margin = fabs(d);
    }
    free(h);
}

static bool clips(hl_normaliser f)
{
    return f.gamma < 0.0f || f.eta > 1.0f;
}

/* y = clip(p); g becomes dL/dp */
static void clip(truth *t, int64_t n, const double *p, double *y, double *g)
{
    const hl_normaliser f = t->a.norm;
    const double gamma = (double)f.gamma, eta = (double)f.eta;
    for (int64_t j = 0; j < n; j++) {
        const double s = clips(f) ? (eta - gamma) * p[j] + gamma : p[j];
        y[j] = s < 0 ? 0 : s > 1 ? 1 : s;
        if (!clips(f))
            continue;
        g[j] = s < 0 || s > 1 ? 0 : g[j] * (eta - gamma);
        if (f.gamma < 0.0f && fabs(s) < t->margin)
            t->margin = fabs(s);
        if (f.eta > 1.0f && fabs(s - 1) < t->margin)
            t->margin = fabs(s - 1);
    }
}

/* dL/dx from dL/dp: p (g - sum p g) for softmax; roots of p for entmax15 (arXiv 1905.05702, eq.
 * 14), the support for sparsemax (arXiv 1602.02068, eq. 12). Returns the largest magnitude that was
 * cancelled. */
static double base_slope(hl_normaliser_base base, int64_t n, const double *p, const double *g,
                         double *gx)
{
    double dot = 0, total = 0, most = 0;
    for (int64_t j = 0; j < n; j++) {
        const double w = base == HL_NORM_ENTMAX15    ? sqrt(p[j])
                         : base == HL_NORM_SPARSEMAX ? p[j] > 0
                                                     : p[j];
        gx[j] = w;
        dot += w * g[j];
        total += w;
        most = w * fabs(g[j]) > most ? w * fabs(g[j]) : most;
    }
    if (base == HL_NORM_SOFTMAX || base == HL_NORM_SOFTMAX1)
        total = 1;
    for (int64_t j = 0; j < n; j++)
        gx[j] *= total > 0 ? g[j] - dot / total : 0;
    return most;
}

/* One query: o, and its part of the gradients. buf: 5 rows of s. */
static void one_query(truth *t, int64_t b, int64_t h, int64_t i, double *buf)
{
    const hl_attn_args *a = &t->a;
    const int64_t s = a->s, d = a->d, w = a->n_head * d, task = b * a->n_head + h;
    double *x = buf, *p = buf + s, *y = buf + 2 * s, *g = buf + 3 * s, *gx = buf + 4 * s;
    const int64_t qi = (b * a->t + i) * w + h * d, k0 = b * s * w + h * d;
    for (int64_t j = 0; j < s; j++) {
        double dot = 0, size = 0, slope = 0;
        for (int64_t e = 0; e < d; e++) {
            dot += t->q[qi + e] * t->k[k0 + j * w + e];
            size += fabs(t->q[qi + e] * t->k[k0 + j * w + e]);
            slope += t->go[qi + e] * t->v[k0 + j * w + e];
        }
        x[j] = permitted(a, b, i, j) ? (double)a->scale * dot : -HUGE_VAL;
        g[j] = slope * kept(a, task, i, j);
        t->size = (double)a->scale * size > t->size ? (double)a->scale * size : t->size;
    }
    base_weights(t, s, x, p);
    clip(t, s, p, y, g);
    const double cancelled = base_slope(a->norm.base, s, p, g, gx);
    for (int64_t j = 0; j < s; j++)
        for (int64_t e = 0; e < d; e++) {
            const double weight = y[j] * kept(a, task, i, j);
            t->o[qi + e] += weight * t->v[k0 + j * w + e];
            t->gv[k0 + j * w + e] += weight * t->go[qi + e];
            t->gq[qi + e] += (double)a->scale * gx[j] * t->k[k0 + j * w + e];
            t->gk[k0 + j * w + e] += (double)a->scale * gx[j] * t->q[qi + e];
            const double terms[] = {weight * t->v[k0 + j * w + e],
                                    (double)a->scale * cancelled * t->k[k0 + j * w + e],
                                    (double)a->scale * cancelled * t->q[qi + e],
                                    weight * t->go[qi + e]};
            for (int i4 = 0; i4 < 4; i4++)
                t->size_of[i4] = fmax(t->size_of[i4], fabs(terms[i4]));
        }
}

static void find_out(truth *t)
{
    const hl_attn_args *a = &t->a;
    double *buf = malloc((size_t)(5 * a->s + 1) * sizeof *buf);
    memset(t->o, 0, (size_t)q_count(a) * sizeof(double));
    memset(t->gq, 0, (size_t)q_count(a) * sizeof(double));
    memset(t->gk, 0, (size_t)k_count(a) * sizeof(double));
    memset(t->gv, 0, (size_t)k_count(a) * sizeof(double));
    t->size = 0;
    memset(t->size_of, 0, sizeof t->size_of);
    t->margin = HUGE_VAL;
    for (int64_t b = 0; b < a->n_batch; b++)
        for (int64_t h = 0; h < a->n_head; h++)
            for (int64_t i = 0; i < a->t; i++)
                one_query(t, b, h, i, buf);
    free(buf);
}

/* --- the same problem in float, with gaps and guards --- */

/* A tensor of n rows of `width` floats, `row` apart, between guards. */
typedef struct tensor {
    float *at;
    int64_t n, width, row;
} tensor;

static float sentinel(void)
{
    const uint32_t bits = SENTINEL;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static tensor tensor_of(int64_t n, int64_t width, int64_t gap)
{
    tensor x = {.n = n, .width = width, .row = width + gap};
    const int64_t count = n * x.row + 2 * GUARD;
    x.at = malloc((size_t)count * sizeof *x.at);
    for (int64_t i = 0; i < count; i++)
        x.at[i] = sentinel();
    x.at += GUARD;
    return x;
}

static void tensor_done(tensor *x)
{
    free(x->at - GUARD);
}

static void tensor_put(tensor *x, const double *from)
{
    for (int64_t i = 0; i < x->n * x->width; i++)
        x->at[i / x->width * x->row + i % x->width] = (float)from[i];
}

static double tensor_get(const tensor *x, int64_t i)
{
    return (double)x->at[i / x->width * x->row + i % x->width];
}

static bool tensor_gaps_kept(const tensor *x)
{
    bool same = true;
    for (int64_t i = -GUARD; i < x->n * x->row + GUARD; i++) {
        uint32_t bits;
        memcpy(&bits, &x->at[i], sizeof bits);
        const bool inside = i >= 0 && i < x->n * x->row && i % x->row < x->width;
        same = same && (inside || bits == SENTINEL);
    }
    return same;
}

enum { Q, K, V, GO, O, GQ, GK, GV, STAT, N_TENSORS };

typedef struct problem {
    truth t;
    tensor x[N_TENSORS];
    uint8_t *mask;
} problem;

/* exact: whole numbers whose scores are exact in float */
static double number(bool exact)
{
    if (exact)
        return (double)draw(101) - 50;
    double sum = 0;
    for (int i = 0; i < 4; i++)
        sum += draw(1u << 20) * 0x1p-20 - 0.5;
    return (double)(float)(sum * 1.7320508);
}

static void fill(problem *p, bool exact)
{
    truth *t = &p->t;
    const int64_t nq = q_count(&t->a), nk = k_count(&t->a);
    for (int64_t i = 0; i < nq; i++) {
        t->q[i] = number(exact);
        t->go[i] = number(false);
    }
    for (int64_t i = 0; i < nk; i++) {
        t->k[i] = number(exact);
        t->v[i] = number(false);
    }
    tensor_put(&p->x[Q], t->q);
    tensor_put(&p->x[K], t->k);
    tensor_put(&p->x[V], t->v);
    tensor_put(&p->x[GO], t->go);
}

/* Sizes, norm, masks and dropout are set in a; the rest is made. */
static void set_up(problem *p, hl_attn_args a)
{
    *p = (problem){.t.a = a};
    truth *t = &p->t;
    const size_t nq = (size_t)q_count(&a) + 1, nk = (size_t)k_count(&a) + 1;
    double **const of_q[] = {&t->q, &t->go, &t->o, &t->gq}, **const of_k[] = {&t->k, &t->v, &t->gk,
                                                                              &t->gv};
    for (int i = 0; i < 4; i++) {
        *of_q[i] = calloc(nq, sizeof(double));
        *of_k[i] = calloc(nk, sizeof(double));
    }
    const int64_t w = a.n_head * a.d, n = a.n_batch * a.t, m = a.n_batch * a.s;
    const int64_t gap[4] = {draw(2) * 3, draw(2) * 5, draw(2) * 7, draw(2) * 9};
    p->x[Q] = tensor_of(n, w, gap[0]);
    p->x[GQ] = tensor_of(n, w, gap[0]);
    p->x[K] = tensor_of(m, w, gap[1]);
    p->x[GK] = tensor_of(m, w, gap[1]);
    p->x[V] = tensor_of(m, w, gap[2]);
    p->x[GV] = tensor_of(m, w, gap[2]);
    p->x[O] = tensor_of(n, w, gap[3]);
    p->x[GO] = tensor_of(n, w, gap[0]);
    p->x[STAT] = tensor_of(a.n_batch * a.n_head * a.t, 2, 0);
    p->mask = malloc((size_t)m + 1);
}

static void tear_down(problem *p)
{
    truth *t = &p->t;
    double *const all[] = {t->q, t->k, t->v, t->go, t->o, t->gq, t->gk, t->gv};
    for (int i = 0; i < 8; i++)
        free(all[i]);
    for (int i = 0; i < N_TENSORS; i++)
        tensor_done(&p->x[i]);
    free(p->mask);
}

static hl_attn_args args_of(problem *p)
{
    hl_attn_args a = p->t.a;
    tensor *x = p->x;
    a.q = x[Q].at;
    a.k = x[K].at;
    a.v = x[V].at;
    a.q_row = x[Q].row;
    a.k_row = x[K].row;
    a.v_row = x[V].row;
    a.o_row = x[O].row;
    a.o = x[O].at;
    a.stat = x[STAT].at;
    a.grad_o = x[GO].at;
    a.grad_o_row = x[GO].row;
    a.grad_q = x[GQ].at;
    a.grad_k = x[GK].at;
    a.grad_v = x[GV].at;
    return a;
}

/* Scratch of exactly the size asked for, full of NaN; tasks in pieces of `piece`. */
static void run(const hl_cpu_kernels *kernels, problem *p, int64_t piece)
{
    hl_attn_args a = args_of(p);
    const size_t bytes = kernels->attention_scratch_bytes(&a);
    const int64_t n_tasks = a.n_batch * a.n_head;
    void *scratch = malloc(bytes);
    for (int back = 0; back < 2; back++) {
        memset(scratch, 0xFF, bytes);
        for (int64_t i = 0; i < n_tasks; i += piece) {
            const int64_t end = i + piece < n_tasks ? i + piece : n_tasks;
            if (back)
                kernels->attention_vjp(&a, i, end, scratch);
            else
                kernels->attention(&a, i, end, scratch);
        }
    }
    free(scratch);
}

/* Largest error of a tensor over what is allowed. Rounding errors of a score grow with the size of
 * its terms and go into weights as they are; `largest` is the size of what a sum was made of. */
static double worst(const truth *t, const tensor *got, const double *want, double largest,
                    bool exact)
{
    double most = 0;
    for (int64_t i = 0; i < got->n * got->width; i++) {
        const double e = fabs(tensor_get(got, i) - want[i]);
        largest = fmax(largest, fabs(want[i]));
        most = e <= most ? most : isnan(e) ? HUGE_VAL : e;
    }
    const double room = 0x1p-24 * 6 * (1 + (exact ? 0 : t->size)) * largest;
    return most == 0 ? 0 : most / room;
}

static const char *const tensor_name[] = {"", "", "", "", "o", "grad q", "grad k", "grad v"};
static double worst_of_all[2];

static void check(problem *p, bool exact, const char *what)
{
    const truth *t = &p->t;
    const hl_attn_args *a = &t->a;
    const double *const want[] = {NULL, NULL, NULL, NULL, t->o, t->gq, t->gk, t->gv};
    const hl_cpu_kernels *all[3];
    const int n_all = hl_cpu_all(all);
    for (int k = 0; k < n_all; k++) {
        run(all[k], p, 1 + draw(7));
        for (int i = O; i <= GV; i++) {
            const double w = worst(t, &p->x[i], want[i], t->size_of[i - O], exact);
            worst_of_all[exact] = fmax(worst_of_all[exact], w);
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
static void try_case(hl_attn_args a, int mask_kind, bool exact, const char *what)
{
    problem p;
    a.key = hl_philox_key_make(draw(1000), draw(1000), draw(1000));
    set_up(&p, a);
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

static const hl_normaliser norms[] = {
    {HL_NORM_SOFTMAX, 0, 1},          {HL_NORM_SOFTMAX1, 0, 1},
    {HL_NORM_ENTMAX15, 0, 1},         {HL_NORM_SPARSEMAX, 0, 1},
    {HL_NORM_SOFTMAX, -0.03f, 1},     {HL_NORM_SOFTMAX1, -0.03f, 1.02f},
    {HL_NORM_ENTMAX15, -0.05f, 1.1f},
};
enum { N_NORMS = sizeof norms / sizeof *norms };

/* --- tests --- */

/* The gradients of the double loops are what differences of their outputs say. */
Test(attention, truth_against_differences)
{
    for (int n = 0; n < N_NORMS; n++) {
        problem p;
        set_up(&p, (hl_attn_args){.n_batch = 1, .n_head = 2, .t = 4, .s = 5, .d = 3, .scale = 0.7f,
                                  .causal = true, .norm = norms[n], .dropout = n % 2 ? 0.2f : 0});
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
    const int64_t shape[][3] = {{1, 1, 1},   {1, 7, 3},    {5, 5, 8},    {9, 17, 33}, {33, 64, 5},
                                {63, 63, 16}, {64, 65, 17}, {65, 65, 64}, {70, 131, 12},
                                {129, 129, 7}, {3, 200, 33}};
    int n_cases = 0;
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int n = 0; n < N_NORMS; n++)
            for (int kind = 0; kind < 12; kind++) {
                if (draw(SAMPLE) != 0)
                    continue;
                const int64_t *s = shape[i];
                const hl_attn_args a = {.n_batch = 2, .n_head = 1 + draw(3), .t = s[0], .s = s[1],
                                        .d = s[2], .norm = norms[n], .causal = kind & 1,
                                        .scale = 1 / sqrtf((float)s[2]) * (kind & 4 ? 2.0f : 1.0f),
                                        .dropout = kind & 2 ? 0.3f : 0.0f};
                try_case(a, kind / 4, false, "sweep");
                n_cases++;
            }
    cr_assert(n_cases > 11 * N_NORMS * 12 / SAMPLE / 2);
    fprintf(stderr, "%d cases, at most %.3f of the error allowed\n", n_cases, worst_of_all[0]);
}

/* Under the causal rule the first queries see nothing if there are fewer keys. */
Test(attention, fewer_keys_than_queries, .timeout = 300)
{
    const int64_t shape[][2] = {{5, 3}, {70, 66}, {65, 1}, {100, 10}, {140, 70}, {200, 3}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int n = 0; n < N_NORMS; n++)
            try_case((hl_attn_args){.n_batch = 2, .n_head = 2, .t = shape[i][0], .s = shape[i][1],
                                    .d = 9, .norm = norms[n], .causal = true, .scale = 0.3f,
                                    .dropout = n % 2 ? 0.25f : 0},
                     (int)i % 3, false, "fewer keys");
}

Test(attention, nothing_to_do)
{
    const int64_t shape[][4] = {{2, 0, 5, 4}, {2, 5, 0, 4}, {0, 5, 5, 4}, {2, 0, 0, 4}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int causal = 0; causal < 2; causal++)
            try_case((hl_attn_args){.n_batch = shape[i][0], .n_head = 2, .t = shape[i][1],
                                    .s = shape[i][2], .d = shape[i][3], .norm = norms[0],
                                    .causal = causal, .scale = 1},
                     0, false, "empty");
}

/* Scores up to 1e4 with equal ones among them: one key, or a tie, takes all. */
Test(attention, huge_scores, .timeout = 300)
{
    for (int n = 0; n < N_NORMS; n++)
        for (int round = 0; round < 8; round++)
            try_case((hl_attn_args){.n_batch = 2, .n_head = 2, .t = 1 + draw(70), .s = 1 + draw(90),
                                    .d = 4, .norm = norms[n], .scale = round % 2 ? 1.0f : 16.0f},
                     round % 3, true, "huge scores");
    fprintf(stderr, "huge scores: at most %.3f of the error allowed\n", worst_of_all[1]);
}

/* Without a permitted key: exactly zero, forward and backward. */
Test(attention, fully_masked_rows_are_exact_zeros)
{
    const hl_cpu_kernels *all[3];
    const int n_all = hl_cpu_all(all);
    for (int n = 0; n < N_NORMS; n++)
        for (int k = 0; k < n_all; k++) {
            problem p;
            set_up(&p, (hl_attn_args){.n_batch = 2, .n_head = 2, .t = 70, .s = 70, .d = 5,
                                      .norm = norms[n], .scale = 1, .causal = n % 2});
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
static void with_nan(problem *p, const hl_cpu_kernels *k, int input, int64_t row,
                     bool spread[][2])
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
            cr_expect(spread[r][h] || memcmp(&o->at[r * o->row + h * a->d],
                                             &clean[r * o->row + h * a->d],
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
                set_up(&p, (hl_attn_args){.n_batch = B, .n_head = 2, .t = T, .s = S, .d = 6,
                                          .norm = norms[n], .scale = 0.4f, .causal = causal});
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
            set_up(&p, (hl_attn_args){.n_batch = B, .n_head = H, .t = N, .s = N, .d = N,
                                      .norm = norms[0], .scale = 0.1f, .dropout = rate[i],
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
    const uint64_t start[] = {0, 1, 2, 3, 61, (UINT64_C(1) << 34) - 130, (UINT64_C(1) << 34) - 3,
                              (UINT64_C(1) << 40) + 5, UINT64_C(1) << 62};
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
    const hl_cpu_kernels *all[3];
    const int n_all = hl_cpu_all(all);
    for (int n = 0; n < N_NORMS; n++)
        for (int k = 0; k < n_all; k++) {
            problem p;
            set_up(&p, (hl_attn_args){.n_batch = 3, .n_head = 3, .t = 67, .s = 70, .d = 10,
                                      .norm = norms[n], .scale = 0.3f, .causal = true,
                                      .dropout = 0.1f});
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
