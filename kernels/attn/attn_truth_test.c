#include "kernels/attn/attn_truth_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/vec/bf16_body.h"

enum { GUARD = 64, SENTINEL = 0x7FA5A5A5 }; /* a NaN of our own */

static uint32_t draws;
uint32_t draw(uint32_t below)
{
    const hl_philox_key key = hl_philox_key_make(37, 0xF0000002u, 0);
    return (uint32_t)((uint64_t)hl_philox_u32(key, draws++) * below >> 32);
}

/* --- the truth --- */

int64_t q_count(const hl_attn_args *a)
{
    return a->n_batch * a->t * a->n_head * a->d;
}

int64_t k_count(const hl_attn_args *a)
{
    return a->n_batch * a->s * a->n_head * a->d;
}

bool permitted(const hl_attn_args *a, int64_t b, int64_t i, int64_t j)
{
    return (!a->causal || j <= i + a->s - a->t) && (!a->key_mask || a->key_mask[b * a->s + j]);
}

double kept(const hl_attn_args *a, int64_t task, int64_t i, int64_t j)
{
    const uint64_t e = (uint64_t)((task * a->t + i) * a->s + j);
    if (a->dropout == 0.0f)
        return 1;
    return hl_philox_u32(a->key, e) < (uint32_t)((double)a->dropout * 0x1p32)
               ? 0
               : 1 / (1 - (double)a->dropout);
}

/* tau with sum max(h - tau, 0)^power = 1; the largest h is 0 */
static double threshold(int64_t n, const double *h, double power)
{
    double lo = -1, hi = 0;
    for (int step = 0; step < 80; step++) {
        const double tau = 0.5 * (lo + hi);
        double sum = 0;
        for (int64_t j = 0; j < n; j++)
            if (h[j] > tau)
                sum += pow(h[j] - tau, power);
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
    /* entmax: p = ((alpha - 1) x - tau)+^(1 / (alpha - 1)); alpha is 1.5 or 2 for the others */
    const double power = base == HL_NORM_ENTMAX     ? 1 / (t->a.norm.alpha - 1)
                         : base == HL_NORM_ENTMAX15 ? 2
                                                    : 1;
    double *h = malloc((size_t)(n + 1) * sizeof *h);
    for (int64_t j = 0; j < n; j++)
        h[j] = (x[j] - m) / power;
    const double tau = threshold(n, h, power);
    for (int64_t j = 0; j < n; j++) {
        const double d = h[j] - tau;
        p[j] = d <= 0 ? 0 : pow(d, power);
        if (base == HL_NORM_SPARSEMAX && fabs(d) < t->margin)
            t->margin = fabs(d);
    }
    free(h);
}

static bool clips(hl_normaliser f)
{
    return f.gamma < 0.0f || f.eta > 1.0f;
}

/* y = clip(p); g becomes dL/dp, and its error likewise */
static void clip(truth *t, int64_t n, const double *p, double *y, double *g, double *error)
{
    const hl_normaliser f = t->a.norm;
    const double gamma = (double)f.gamma, eta = (double)f.eta;
    for (int64_t j = 0; j < n; j++) {
        const double s = clips(f) ? (eta - gamma) * p[j] + gamma : p[j];
        y[j] = s < 0 ? 0 : s > 1 ? 1 : s;
        if (!clips(f))
            continue;
        g[j] = s < 0 || s > 1 ? 0 : g[j] * (eta - gamma);
        error[j] = s < 0 || s > 1 ? 0 : error[j] * (eta - gamma);
        if (f.gamma < 0.0f && fabs(s) < t->margin)
            t->margin = fabs(s);
        if (f.eta > 1.0f && fabs(s - 1) < t->margin)
            t->margin = fabs(s - 1);
    }
}

/* dL/dx from dL/dp: p (g - sum p g) for softmax; p^(2 - alpha) instead of p for entmax (arXiv
 * 1905.05702, eq. 14), the support for sparsemax (arXiv 1602.02068, eq. 12). An error of g may make
 * that of gx. Returns the largest magnitude that was cancelled. */
static double base_slope(hl_normaliser f, int64_t n, const double *p, const double *g, double *gx,
                         double *error)
{
    double dot = 0, total = 0, most = 0, off = 0;
    for (int64_t j = 0; j < n; j++) {
        const double w = f.base == HL_NORM_ENTMAX15    ? sqrt(p[j])
                         : f.base == HL_NORM_SPARSEMAX ? p[j] > 0
                         : f.base == HL_NORM_ENTMAX    ? p[j] > 0 ? pow(p[j], 2 - f.alpha) : 0
                                                       : p[j];
        gx[j] = w;
        dot += w * g[j];
        off += w * error[j];
        total += w;
        most = w * fabs(g[j]) > most ? w * fabs(g[j]) : most;
    }
    if (f.base == HL_NORM_SOFTMAX || f.base == HL_NORM_SOFTMAX1)
        total = 1;
    for (int64_t j = 0; j < n; j++) {
        error[j] = gx[j] * (total > 0 ? error[j] + off / total : 0);
        gx[j] *= total > 0 ? g[j] - dot / total : 0;
    }
    return most;
}

/* Unit roundoff of bf16: rounding changes a number by at most that much of it. */
static const double unit = 0x1p-8;

/* One query: o, and its part of the gradients. buf: 6 rows of s. */
static void one_query(truth *t, int64_t b, int64_t h, int64_t i, double *buf)
{
    const hl_attn_args *a = &t->a;
    const int64_t s = a->s, d = a->d, w = a->n_head * d, task = b * a->n_head + h;
    double *x = buf, *p = buf + s, *y = buf + 2 * s, *g = buf + 3 * s, *gx = buf + 4 * s,
           *error = buf + 5 * s;
    const int64_t qi = (b * a->t + i) * w + h * d, k0 = b * s * w + h * d;
    for (int64_t j = 0; j < s; j++) {
        double dot = 0, size = 0, slope = 0, slope_size = 0;
        for (int64_t e = 0; e < d; e++) {
            dot += t->q[qi + e] * t->k[k0 + j * w + e];
            size += fabs(t->q[qi + e] * t->k[k0 + j * w + e]);
            slope += t->go[qi + e] * t->v[k0 + j * w + e];
            slope_size += fabs(t->go[qi + e] * t->v[k0 + j * w + e]);
        }
        x[j] = permitted(a, b, i, j) ? (double)a->scale * dot : -HUGE_VAL;
        g[j] = slope * kept(a, task, i, j);
        error[j] = unit * slope_size * kept(a, task, i, j);
        t->size = (double)a->scale * size > t->size ? (double)a->scale * size : t->size;
    }
    base_weights(t, s, x, p);
    clip(t, s, p, y, g, error);
    const double cancelled = base_slope(a->norm, s, p, g, gx, error);
    for (int64_t j = 0; j < s; j++) {
        const double off = (double)a->scale * (error[j] + unit * (fabs(gx[j]) + error[j]));
        for (int64_t e = 0; e < d; e++) {
            const double weight = y[j] * kept(a, task, i, j);
            t->o[qi + e] += weight * t->v[k0 + j * w + e];
            t->gv[k0 + j * w + e] += weight * t->go[qi + e];
            t->gq[qi + e] += (double)a->scale * gx[j] * t->k[k0 + j * w + e];
            t->gk[k0 + j * w + e] += (double)a->scale * gx[j] * t->q[qi + e];
            const double terms[] = {
                weight * t->v[k0 + j * w + e], (double)a->scale * cancelled * t->k[k0 + j * w + e],
                (double)a->scale * cancelled * t->q[qi + e], weight * t->go[qi + e]};
            for (int c = 0; c < 4; c++)
                t->size_of[c] = fmax(t->size_of[c], fabs(terms[c]));
            t->rounding[0][qi + e] += unit * fabs(terms[0]);
            t->rounding[1][qi + e] += off * fabs(t->k[k0 + j * w + e]);
            t->rounding[2][k0 + j * w + e] += off * fabs(t->q[qi + e]);
            t->rounding[3][k0 + j * w + e] += unit * (2 + unit) * fabs(terms[3]);
        }
    }
}

void find_out(truth *t)
{
    const hl_attn_args *a = &t->a;
    double *buf = malloc((size_t)(6 * a->s + 1) * sizeof *buf);
    memset(t->o, 0, (size_t)q_count(a) * sizeof(double));
    memset(t->gq, 0, (size_t)q_count(a) * sizeof(double));
    memset(t->gk, 0, (size_t)k_count(a) * sizeof(double));
    memset(t->gv, 0, (size_t)k_count(a) * sizeof(double));
    for (int i = 0; i < 4; i++)
        memset(t->rounding[i], 0, (size_t)(i < 2 ? q_count(a) : k_count(a)) * sizeof(double));
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

void tensor_put(tensor *x, const double *from)
{
    for (int64_t i = 0; i < x->n * x->width; i++)
        x->at[i / x->width * x->row + i % x->width] = (float)from[i];
}

double tensor_get(const tensor *x, int64_t i)
{
    return (double)x->at[i / x->width * x->row + i % x->width];
}

bool tensor_gaps_kept(const tensor *x)
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

static double number(bool exact)
{
    if (exact)
        return (double)draw(101) - 50;
    double sum = 0;
    for (int i = 0; i < 4; i++)
        sum += draw(1u << 20) * 0x1p-20 - 0.5;
    return (double)(float)(sum * 1.7320508);
}

static void round_tensor(double *x, int64_t n, const tensor *like, hl_bf16 *x16)
{
    memset(x16, 0xFF, (size_t)(like->n * like->row) * sizeof *x16); /* gaps of NaN */
    for (int64_t i = 0; i < n; i++) {
        const hl_bf16 h = hl_to_bf16((float)x[i]);
        x16[i / like->width * like->row + i % like->width] = h;
        x[i] = (double)hl_from_bf16(h);
    }
}

void fill(problem *p, bool exact)
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
    double *const inputs[] = {t->q, t->k, t->v};
    for (int i = Q; i <= V && p->half; i++)
        round_tensor(inputs[i], i == Q ? nq : nk, &p->x[i], p->x16[i]);
    tensor_put(&p->x[Q], t->q);
    tensor_put(&p->x[K], t->k);
    tensor_put(&p->x[V], t->v);
    tensor_put(&p->x[GO], t->go);
}

void set_up(problem *p, hl_attn_args a)
{
    *p = (problem){.t.a = a};
    truth *t = &p->t;
    const size_t nq = (size_t)q_count(&a) + 1, nk = (size_t)k_count(&a) + 1;
    double **const of_q[] = {&t->q, &t->go, &t->o, &t->gq},
                   **const of_k[] = {&t->k, &t->v, &t->gk, &t->gv};
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
    for (int i = Q; i <= V; i++)
        p->x16[i] = malloc((size_t)(p->x[i].n * p->x[i].row + 1) * sizeof(hl_bf16));
    for (int i = 0; i < 4; i++)
        t->rounding[i] = calloc(i < 2 ? nq : nk, sizeof(double));
}

void tear_down(problem *p)
{
    truth *t = &p->t;
    double *const all[] = {t->q, t->k, t->v, t->go, t->o, t->gq, t->gk, t->gv};
    for (int i = 0; i < 8; i++)
        free(all[i]);
    for (int i = 0; i < N_TENSORS; i++)
        tensor_done(&p->x[i]);
    free(p->mask);
    for (int i = 0; i < 3; i++)
        free(p->x16[i]);
    for (int i = 0; i < 4; i++)
        free(t->rounding[i]);
}

static hl_attn_args args_of(problem *p)
{
    hl_attn_args a = p->t.a;
    tensor *x = p->x;
    a.q = x[Q].at;
    a.k = x[K].at;
    a.v = x[V].at;
    if (p->half) {
        a.q = a.k = a.v = NULL;
        a.q16 = p->x16[Q];
        a.k16 = p->x16[K];
        a.v16 = p->x16[V];
    }
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

void run(const hl_cpu_kernels *kernels, problem *p, int64_t piece)
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
