/* One step of Anderson mixing as an operation, for gradients through an unrolled Anderson solve
 * (spec deq 2.3). Small and rarely on a hot path: one accessor serves floats and doubles. */
#include <assert.h>

#include "engine/ops/op_common.h"
#include "engine/solve/solve.h"

enum { Q_MAX = HL_MAX_OUT / 2 };

static double get(const void *p, bool doubles, int64_t i)
{
    return doubles ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static void put(void *p, bool doubles, int64_t i, double v)
{
    if (doubles)
        ((double *)p)[i] = v;
    else
        ((float *)p)[i] = (float)v;
}

/* One sample: pairs (x_i, g_i), oldest first, of width d. */
typedef struct sample {
    const hl_op_run *r;
    bool doubles;
    int q;
    int64_t d, at; /* at: first element of the row */
    double ridge;
    bool safeguard;
    double alpha[Q_MAX], sum; /* weights; sum: of the solution before scaling */
    double a[Q_MAX * Q_MAX];  /* the system */
} sample;

static double x_of(const sample *s, int i, int64_t j)
{
    return get(s->r->in[2 * i], s->doubles, s->at + j);
}

static double g_of(const sample *s, int i, int64_t j)
{
    return get(s->r->in[2 * i + 1], s->doubles, s->at + j);
}

static double f_of(const sample *s, int i, int64_t j)
{
    return g_of(s, i, j) - x_of(s, i, j);
}

static double mixed(const sample *s, int64_t j)
{
    double v = 0;
    for (int i = 0; i < s->q; i++)
        v += s->alpha[i] * g_of(s, i, j);
    return v;
}

/* Does mixing lower the relative residual? */
static bool is_better(const sample *s)
{
    double change = 0, size = 0, plain = 0, x = 0;
    for (int64_t j = 0; j < s->d; j++) {
        const double v = mixed(s, j), g = g_of(s, s->q - 1, j), xj = x_of(s, s->q - 1, j);
        change += (g - v) * (g - v);
        size += v * v;
        plain += (g - xj) * (g - xj);
        x += xj * xj;
    }
    return sqrt(change) / sqrt(size) < sqrt(plain) / sqrt(x);
}

/* Weights of the sample; false: it takes the plain step. */
static bool weigh(sample *s)
{
    double a[Q_MAX * Q_MAX];
    for (int i = 0; i < s->q; i++)
        for (int k = 0; k < s->q; k++) {
            double sum = 0;
            for (int64_t j = 0; j < s->d; j++)
                sum += f_of(s, i, j) * f_of(s, k, j);
            s->a[i * s->q + k] = a[i * s->q + k] = sum;
        }
    if (s->q < 2 || !hl_anderson_weights(s->q, a, s->ridge, false, s->alpha, &s->sum))
        return false;
    return !s->safeguard || is_better(s);
}

static sample sample_of(const hl_op_run *r, int n_pairs_in, int64_t b)
{
    const hl_call *c = r->call;
    const int64_t d = hl_type_cols(&c->in[0], 1);
    return (sample){.r = r,
                    .doubles = c->in[0].dtype == HL_DTYPE_F64,
                    .q = n_pairs_in / 2,
                    .d = d,
                    .at = b * d,
                    .ridge = c->attrs.v[0].f,
                    .safeguard = c->attrs.v[1].i};
}

static hl_status check_pairs(const hl_call *c, int n)
{
    if (n < 2 || n % 2 || n / 2 > Q_MAX)
        return hl_err_set(HL_E_ARG, "takes 1 to %d pairs of a state and its value", Q_MAX);
    for (int i = 0; i < n; i++) {
        if (hl_type_absent(&c->in[i]) || !hl_dtype_is_float(c->in[i].dtype) || c->in[i].rank < 1)
            return hl_err_set(HL_E_SHAPE,
                              "every one must be a float tensor with a batch dimension");
        if (!hl_type_equal(&c->in[i], &c->in[0]))
            return hl_err_set(HL_E_SHAPE, "all must have one type and shape");
    }
    return HL_OK;
}

static hl_status shape_mix(hl_call *c)
{
    hl_status st = check_pairs(c, c->n_in);
    if (st == HL_OK)
        hl_out_like(c, 0, 0);
    return st;
}

static hl_status run_mix(const hl_op_run *r)
{
    for (int64_t b = 0; b < r->call->in[0].dim[0]; b++) {
        sample s = sample_of(r, r->call->n_in, b);
        const bool ok = weigh(&s);
        for (int64_t j = 0; j < s.d; j++)
            put(r->out[0], s.doubles, s.at + j, ok ? mixed(&s, j) : g_of(&s, s.q - 1, j));
    }
    return HL_OK;
}

/* Inputs x, g of each pair. */
static hl_gpu_pairs pairs_of(const hl_op_run *r, int n_in)
{
    static_assert((int)HL_GPU_PAIRS == Q_MAX, "one limit");
    const hl_call *c = r->call;
    hl_gpu_pairs k = {.n = n_in / 2,
                      .batch = c->in[0].dim[0],
                      .d = hl_type_cols(&c->in[0], 1),
                      .ridge = c->attrs.v[0].f,
                      .safeguard = c->attrs.v[1].i};
    for (int i = 0; i < k.n; i++) {
        k.x[i] = r->in[2 * i];
        k.g[i] = r->in[2 * i + 1];
    }
    return k;
}

static hl_status gpu_mix(const hl_op_run *r)
{
    const hl_gpu_pairs k = pairs_of(r, r->call->n_in);
    hl_gpu_get()->anderson_mix(r->exec->gpu, &k, r->out[0]);
    return HL_OK;
}

static hl_status vjp_mix(hl_vjp *v)
{
    hl_id in[2 * Q_MAX + 1];
    for (int i = 0; i < v->n_in; i++)
        in[i] = v->in[i];
    in[v->n_in] = v->grad_out[0];
    const hl_id first =
        hl_graph_append(v->g, hl_op_get(HL_OP_ID_anderson_mix_vjp), in, v->n_in + 1, v->attrs);
    for (int i = 0; i < v->n_in && first != HL_NONE; i++)
        v->grad_in[i] = first + i;
    return v->g->status;
}

static const hl_case cases_mix[] = {
    {.what = "one pair", HL_INS(HL_NORMAL(3, 7), HL_NORMAL(3, 7))},
    {.what = "two pairs, always mixed",
     HL_INS(HL_NORMAL(3, 7), HL_NORMAL(3, 7), HL_NORMAL(3, 7), HL_NORMAL(3, 7)),
     .attr = {1e-3, 0},
     .attr_given = 3},
    {.what = "three pairs, safeguarded",
     HL_INS(HL_NORMAL(4, 9), HL_NORMAL(4, 9), HL_NORMAL(4, 9), HL_NORMAL(4, 9), HL_NORMAL(4, 9),
            HL_NORMAL(4, 9))},
    {.what = "no pair", HL_INS(HL_NORMAL(3, 7)), .expect = HL_E_ARG},
    {.what = "shapes differ", HL_INS(HL_NORMAL(3, 7), HL_NORMAL(3, 8)), .expect = HL_E_SHAPE},
};

const hl_op hl_op_anderson_mix = {
    .name = "anderson_mix",
    .doc = "The next state of Anderson mixing from pairs x_i, f(x_i), oldest first, per sample "
           "(Walker & Ni 2011): sum of alpha_i f(x_i), or f of the newest where that is closer",
    .ins = "pairs*",
    .outs = "x",
    .attr = {{"ridge", HL_ATTR_REAL, 1e-10, 0, 1e30, NULL},
             {"safeguard", HL_ATTR_BOOL, 1, 0, 0, NULL}},
    .shape = shape_mix,
    .ref = run_mix,
    .cpu = run_mix,
    .gpu = gpu_mix,
    .vjp = vjp_mix,
    .no_second = true,
    HL_CASES(cases_mix),
    .tol = 256};

/* --- its derivative --- */

static hl_status shape_mix_vjp(hl_call *c)
{
    hl_status st = check_pairs(c, c->n_in - 1);
    if (st == HL_OK && !hl_type_equal(&c->in[c->n_in - 1], &c->in[0]))
        st = hl_err_set(HL_E_SHAPE, "the cotangent must have the shape of the states");
    for (int i = 0; st == HL_OK && i < c->n_in - 1; i++)
        hl_out_like(c, i, i);
    return st;
}

/* For a mixed step with cotangent v: with a' = <g_i, v> and b' = (a' - <a', alpha>) / sum(beta),
 * l = A^-1 b', the residuals get F' = -F (l beta^T + beta l^T), values g_i alpha_i v + F'_i and
 * states -F'_i. */
static void back(sample *s)
{
    const int q = s->q;
    const void *cotangent = s->r->in[2 * q];
    double l[Q_MAX], beta[Q_MAX], right[Q_MAX], a[Q_MAX * Q_MAX], mean = 0;
    for (int i = 0; i < q; i++) {
        right[i] = 0;
        for (int64_t j = 0; j < s->d; j++)
            right[i] += g_of(s, i, j) * get(cotangent, s->doubles, s->at + j);
        mean += right[i] * s->alpha[i];
    }
    memcpy(a, s->a, sizeof a);
    for (int i = 0; i < q; i++) {
        right[i] = (right[i] - mean) / s->sum;
        beta[i] = s->alpha[i] * s->sum;
        a[i * q + i] += s->ridge;
    }
    if (!hl_solve_dense(q, a, right, l))
        memset(l, 0, sizeof l);
    for (int i = 0; i < q; i++)
        for (int64_t j = 0; j < s->d; j++) {
            double f = 0;
            for (int k = 0; k < q; k++)
                f -= f_of(s, k, j) * (l[k] * beta[i] + beta[k] * l[i]);
            put(s->r->out[2 * i], s->doubles, s->at + j, -f);
            put(s->r->out[2 * i + 1], s->doubles, s->at + j,
                s->alpha[i] * get(cotangent, s->doubles, s->at + j) + f);
        }
}

static hl_status run_mix_vjp(const hl_op_run *r)
{
    const int n = r->call->n_out;
    for (int64_t b = 0; b < r->call->in[0].dim[0]; b++) {
        sample s = sample_of(r, n, b);
        if (weigh(&s)) {
            back(&s);
            continue;
        }
        for (int i = 0; i < n; i++)
            for (int64_t j = 0; j < s.d; j++)
                put(r->out[i], s.doubles, s.at + j,
                    i == n - 1 ? get(r->in[n], s.doubles, s.at + j) : 0);
    }
    return HL_OK;
}

static hl_status gpu_mix_vjp(const hl_op_run *r)
{
    hl_gpu_pairs k = pairs_of(r, r->call->n_out);
    for (int i = 0; i < k.n; i++) {
        k.gx[i] = r->out[2 * i];
        k.gg[i] = r->out[2 * i + 1];
    }
    hl_gpu_get()->anderson_mix_vjp(r->exec->gpu, &k, r->in[2 * k.n]);
    return HL_OK;
}

static const hl_case cases_mix_vjp[] = {
    {.what = "one pair", HL_INS(HL_NORMAL(3, 7), HL_NORMAL(3, 7), HL_NORMAL(3, 7))},
    {.what = "two pairs",
     HL_INS(HL_NORMAL(3, 7), HL_NORMAL(3, 7), HL_NORMAL(3, 7), HL_NORMAL(3, 7), HL_NORMAL(3, 7)),
     .attr = {1e-3, 0},
     .attr_given = 3},
    {.what = "shapes differ",
     HL_INS(HL_NORMAL(3, 7), HL_NORMAL(3, 7), HL_NORMAL(3, 8)),
     .expect = HL_E_SHAPE},
};

const hl_op hl_op_anderson_mix_vjp = {
    .name = "anderson_mix_vjp",
    .doc = "vector-Jacobian product of anderson_mix: pairs and cotangent to those of the pairs",
    .ins = "pairs_and_cotangent*",
    .outs = "grads*",
    .attr = {{"ridge", HL_ATTR_REAL, 1e-10, 0, 1e30, NULL},
             {"safeguard", HL_ATTR_BOOL, 1, 0, 0, NULL}},
    .flags = HL_OP_NO_LUA,
    .shape = shape_mix_vjp,
    .ref = run_mix_vjp,
    .cpu = run_mix_vjp,
    .gpu = gpu_mix_vjp,
    .no_second = true,
    HL_CASES(cases_mix_vjp),
    .tol = 256};
