/* Updates of state: they write into the buffers of their state inputs and do nothing when `ok` is
 * 0, so that a step with a loss or norm that is not finite leaves no trace. */
#include "engine/ops/gpu_tensors.h"
#include "engine/ops/op_common.h"

static hl_status shape_update(hl_call *c, int n_scalars, int group)
{
    if (c->n_in < n_scalars + group || (c->n_in - n_scalars) % group)
        return hl_err_set(HL_E_ARG, "takes %d scalars and then groups of %d tensors", n_scalars,
                          group);
    for (int i = 0; i < c->n_in; i++) {
        hl_status st = hl_want_float(c, i);
        if (st != HL_OK)
            return st;
        int first = n_scalars + (i - n_scalars) / group * group;
        if (i < n_scalars ? c->in[i].rank != 0 : !hl_type_equal(&c->in[i], &c->in[first]))
            return hl_err_set(HL_E_SHAPE, "parameter %d and its moments differ",
                              (i - n_scalars) / group + 1);
    }
    c->out[0] = hl_type_scalar(c->in[0].dtype);
    c->n_out = 1;
    return HL_OK;
}

/* Calls body on the worker's share of every group; shares are cut at multiples of 16 of the running
 * total, which rounds to whole vectors. */
typedef void (*group_fn)(const hl_op_run *r, int first, int64_t begin, int64_t end);
typedef struct group_job {
    const hl_op_run *r;
    int n_scalars, group;
    group_fn body;
} group_job;

static void group_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const group_job *j = arg;
    const hl_call *c = j->r->call;
    int64_t at = 0;
    for (int i = j->n_scalars; i < c->n_in; i += j->group) {
        const int64_t n = hl_type_count(&c->in[i]);
        const int64_t a = begin > at ? begin - at : 0, b = end - at < n ? end - at : n;
        if (a < b)
            j->body(j->r, i, a, b);
        at += n;
    }
}

static hl_status run_groups(const hl_op_run *r, int n_scalars, int group, group_fn body)
{
    int64_t n = 0;
    for (int i = n_scalars; i < r->call->n_in; i += group)
        n += hl_type_count(&r->call->in[i]);
    group_job j = {r, n_scalars, group, body};
    hl_parallel(r->exec, n, 16, HL_GRAIN, group_part, &j);
    return HL_OK;
}

/* State inputs are writable; the run's table of inputs is const for everybody else. */
static void *state_of(const hl_op_run *r, int i)
{
    return (void *)(uintptr_t)r->in[i];
}

/* --- adamw: lr t scale ok (p g m v)* --- */

enum { LR, T, SCALE, OK, ADAMW_SCALARS };

static hl_status shape_adamw(hl_call *c)
{
    return shape_update(c, ADAMW_SCALARS, 4);
}

static bool mutates_adamw(const hl_call *c, int input)
{
    (void)c;
    return input >= ADAMW_SCALARS && (input - ADAMW_SCALARS) % 4 != 1;
}

static void adamw_group(const hl_op_run *r, int first, int64_t begin, int64_t end)
{
    const hl_attr *a = r->call->attrs.v;
    const double t = (double)*hl_in_f(r, T);
    hl_adamw_coefs k = {.lr = *hl_in_f(r, LR),
                        .beta1 = (float)a[0].f,
                        .beta2 = (float)a[1].f,
                        .rest1 = (float)(1 - a[0].f),
                        .rest2 = (float)(1 - a[1].f),
                        .eps = (float)a[2].f,
                        .weight_decay = a[4].i ? 0 : (float)a[3].f,
                        .l2 = a[4].i ? (float)a[3].f : 0,
                        .correct1 = (float)(1 - pow(a[0].f, t)),
                        .correct2 = (float)(1 - pow(a[1].f, t)),
                        .grad_scale = *hl_in_f(r, SCALE)};
    float *p = state_of(r, first), *m = state_of(r, first + 2), *v = state_of(r, first + 3);
    hl_cpu()->adamw(end - begin, k, p + begin, hl_in_f(r, first + 1) + begin, m + begin, v + begin);
}

static hl_status cpu_adamw(const hl_op_run *r)
{
    *hl_out_f(r, 0) = *hl_in_f(r, OK);
    return *hl_in_f(r, OK) == 0 ? HL_OK : run_groups(r, ADAMW_SCALARS, 4, adamw_group);
}

static hl_status gpu_adamw(const hl_op_run *r)
{
    const hl_attr *a = r->call->attrs.v;
    const hl_gpu_adamw k = {.beta1 = a[0].f,
                            .beta2 = a[1].f,
                            .eps = (float)a[2].f,
                            .weight_decay = a[4].i ? 0 : (float)a[3].f,
                            .l2 = a[4].i ? (float)a[3].f : 0,
                            .lr = hl_in_f(r, LR),
                            .t = hl_in_f(r, T),
                            .scale = hl_in_f(r, SCALE),
                            .ok = hl_in_f(r, OK)};
    hl_gpu_tensors t;
    hl_status st = hl_gpu_tensors_of(r, ADAMW_SCALARS, 4, &t);
    if (st != HL_OK)
        return st;
    hl_gpu_get()->adamw(r->exec->gpu, &k, &t);
    hl_copy(r, r->out[0], r->in[OK], sizeof(float));
    return HL_OK;
}

static hl_status ref_adamw(const hl_op_run *r)
{
    const hl_attr *a = r->call->attrs.v;
    const double lr = *hl_in_d(r, LR), t = *hl_in_d(r, T), scale = *hl_in_d(r, SCALE);
    const double b1 = a[0].f, b2 = a[1].f;
    *hl_out_d(r, 0) = *hl_in_d(r, OK);
    for (int i = ADAMW_SCALARS; *hl_in_d(r, OK) != 0 && i < r->call->n_in; i += 4) {
        double *p = state_of(r, i), *m = state_of(r, i + 2), *v = state_of(r, i + 3);
        for (int64_t k = 0; k < hl_type_count(&r->call->in[i]); k++) {
            const double g = hl_in_d(r, i + 1)[k] * scale + (a[4].i ? a[3].f * p[k] : 0);
            p[k] *= a[4].i ? 1 : 1 - lr * a[3].f;
            m[k] = b1 * m[k] + (1 - b1) * g;
            v[k] = b2 * v[k] + (1 - b2) * g * g;
            p[k] -= lr / (1 - pow(b1, t)) * m[k] / (sqrt(v[k]) / sqrt(1 - pow(b2, t)) + a[2].f);
        }
    }
    return HL_OK;
}

static const hl_case cases_adamw[] = {
    {.what = "two parameters",
     HL_INS(HL_SCALAR(0.01), HL_SCALAR(3), HL_SCALAR(0.5), HL_SCALAR(1), HL_NORMAL(33),
            HL_NORMAL(33), HL_NORMAL(33), HL_POSITIVE(33)),
     .attr = {0.9, 0.95, 1e-8, 0.1},
     .attr_given = 15},
    {.what = "decay in the gradient",
     HL_INS(HL_SCALAR(0.01), HL_SCALAR(3), HL_SCALAR(0.5), HL_SCALAR(1), HL_NORMAL(33),
            HL_NORMAL(33), HL_NORMAL(33), HL_POSITIVE(33)),
     .attr = {0.9, 0.95, 1e-8, 0.1, 1},
     .attr_given = 31},
    {.what = "masked",
     HL_INS(HL_SCALAR(0.01), HL_SCALAR(1), HL_SCALAR(1), HL_SCALAR(0), HL_NORMAL(5, 7),
            HL_NORMAL(5, 7), HL_NORMAL(5, 7), HL_POSITIVE(5, 7))},
    {.what = "moments of another shape",
     HL_INS(HL_SCALAR(0.01), HL_SCALAR(1), HL_SCALAR(1), HL_SCALAR(1), HL_NORMAL(5), HL_NORMAL(5),
            HL_NORMAL(4), HL_POSITIVE(5)),
     .expect = HL_E_SHAPE},
    {.what = "half a group",
     HL_INS(HL_SCALAR(0.01), HL_SCALAR(1), HL_SCALAR(1), HL_SCALAR(1), HL_NORMAL(5), HL_NORMAL(5)),
     .expect = HL_E_ARG},
};
const hl_op hl_op_adamw = {
    .name = "adamw",
    .doc = "AdamW (arXiv 1711.05101, algorithm 2) on groups p, g, m, v: learning rate lr, update "
           "number t, gradients times scale; coupled: weight_decay times p is added to the gradient "
           "instead (algorithm 1); nothing happens if ok is 0",
    .ins = "lr t scale ok pgmv*",
    .outs = "done",
    .attr = {{"beta1", HL_ATTR_REAL, 0.9, 0, 0.999999, NULL},
             {"beta2", HL_ATTR_REAL, 0.999, 0, 0.9999999, NULL},
             {"eps", HL_ATTR_REAL, 1e-8, 0, 1, NULL},
             {"weight_decay", HL_ATTR_REAL, 0.01, 0, 10, NULL},
             {"coupled", HL_ATTR_BOOL, 0, 0, 0, NULL}},
    .flags = HL_OP_EFFECT | HL_OP_NO_LUA,
    .shape = shape_adamw,
    .ref = ref_adamw,
    .cpu = cpu_adamw,
    .gpu = gpu_adamw,
    .prepare = hl_gpu_tensors_prepare,
    .release = hl_gpu_tensors_release,
    .mutates = mutates_adamw,
    HL_CASES(cases_adamw)};

/* --- madam: lr t scale ok (p g v max)* --- */

/* max is a scalar beside each parameter, 0 until its first update sets it. */
static hl_status shape_madam(hl_call *c)
{
    if (c->n_in < ADAMW_SCALARS + 4 || c->n_in % 4)
        return hl_err_set(HL_E_ARG, "takes 4 scalars and then groups of 4 tensors");
    for (int i = 0; i < c->n_in; i++) {
        hl_status st = hl_want_float(c, i);
        if (st != HL_OK)
            return st;
        const bool is_scalar = i < ADAMW_SCALARS || i % 4 == 3;
        if (is_scalar ? c->in[i].rank != 0 : !hl_type_equal(&c->in[i], &c->in[i / 4 * 4]))
            return hl_err_set(HL_E_SHAPE,
                              "parameter %d: gradient and mean square must be like it, "
                              "the scalars of rank 0",
                              i / 4);
    }
    c->out[0] = hl_type_scalar(c->in[0].dtype);
    c->n_out = 1;
    return HL_OK;
}

enum { MADAM_P_SCALE, MADAM_G_BOUND, MADAM_BETA };

static void madam_group(const hl_op_run *r, int first, int64_t begin, int64_t end)
{
    const hl_attr *a = r->call->attrs.v;
    const double t = (double)*hl_in_f(r, T);
    hl_madam_coefs k = {.lr = *hl_in_f(r, LR),
                        .beta = (float)a[MADAM_BETA].f,
                        .g_bound = (float)a[MADAM_G_BOUND].f,
                        .correct = (float)(1 - pow(a[MADAM_BETA].f, t)),
                        .p_max = *hl_in_f(r, first + 3),
                        .grad_scale = *hl_in_f(r, SCALE)};
    float *p = state_of(r, first), *v = state_of(r, first + 2);
    hl_cpu()->madam(end - begin, k, p + begin, hl_in_f(r, first + 1) + begin, v + begin);
}

static hl_status cpu_madam(const hl_op_run *r)
{
    *hl_out_f(r, 0) = *hl_in_f(r, OK);
    if (*hl_in_f(r, OK) == 0)
        return HL_OK;
    for (int i = ADAMW_SCALARS; i < r->call->n_in; i += 4) {
        const int64_t n = hl_type_count(&r->call->in[i]);
        float *max = state_of(r, i + 3);
        double sum = 0;
        if (*max != 0 || n == 0)
            continue;
        hl_cpu()->sum_squares(n, hl_in_f(r, i), &sum);
        *max = (float)(r->call->attrs.v[MADAM_P_SCALE].f * sqrt(sum / (double)n));
    }
    return run_groups(r, ADAMW_SCALARS, 4, madam_group);
}

static hl_status gpu_madam(const hl_op_run *r)
{
    const hl_attr *a = r->call->attrs.v;
    hl_gpu_tensors t;
    hl_status st = hl_gpu_tensors_of(r, ADAMW_SCALARS, 4, &t);
    if (st != HL_OK)
        return st;
    hl_gpu_get()->madam(r->exec->gpu, (float)a[MADAM_P_SCALE].f, (float)a[MADAM_G_BOUND].f,
                        a[MADAM_BETA].f, hl_in_f(r, LR), hl_in_f(r, T), hl_in_f(r, SCALE),
                        hl_in_f(r, OK), &t);
    hl_copy(r, r->out[0], r->in[OK], sizeof(float));
    return HL_OK;
}

static void ref_madam_max(const hl_op_run *r, int first, double *max)
{
    const int64_t n = hl_type_count(&r->call->in[first]);
    double sum = 0;
    for (int64_t k = 0; k < n; k++)
        sum += hl_in_d(r, first)[k] * hl_in_d(r, first)[k];
    if (*max == 0 && n > 0)
        *max = r->call->attrs.v[MADAM_P_SCALE].f * sqrt(sum / (double)n);
}

static hl_status ref_madam(const hl_op_run *r)
{
    const hl_attr *a = r->call->attrs.v;
    const double beta = a[MADAM_BETA].f, bound = a[MADAM_G_BOUND].f;
    const double bias = 1 - pow(beta, *hl_in_d(r, T));
    *hl_out_d(r, 0) = *hl_in_d(r, OK);
    for (int i = ADAMW_SCALARS; *hl_in_d(r, OK) != 0 && i < r->call->n_in; i += 4) {
        double *p = state_of(r, i), *v = state_of(r, i + 2), *max = state_of(r, i + 3);
        ref_madam_max(r, i, max);
        for (int64_t k = 0; k < hl_type_count(&r->call->in[i]); k++) {
            const double g = hl_in_d(r, i + 1)[k] * *hl_in_d(r, SCALE);
            v[k] = beta * v[k] + (1 - beta) * g * g;
            double step = g / sqrt(v[k] / bias);
            step = isnan(step) ? 0 : fmin(fmax(step, -bound), bound);
            p[k] *= exp(-*hl_in_d(r, LR) * step * (p[k] > 0 ? 1 : p[k] < 0 ? -1 : 0));
            p[k] = fmin(fmax(p[k], -*max), *max);
        }
    }
    return HL_OK;
}

static const hl_case cases_madam[] = {
    {.what = "two parameters, one at its first update",
     HL_INS(HL_SCALAR(0.01), HL_SCALAR(3), HL_SCALAR(0.5), HL_SCALAR(1), HL_NORMAL(33),
            HL_NORMAL(33), HL_POSITIVE(33), HL_SCALAR(0)),
     .attr = {3, 10, 0.999},
     .attr_given = 7},
    {.what = "both bounds",
     HL_INS(HL_SCALAR(0.25), HL_SCALAR(1), HL_SCALAR(1), HL_SCALAR(1), HL_NORMAL(5, 7),
            HL_NORMAL(5, 7), HL_POSITIVE(5, 7), HL_SCALAR(0.5)),
     .attr = {1.3, 0.02, 0.9},
     .attr_given = 7},
    {.what = "nothing to divide by",
     HL_INS(HL_SCALAR(0.1), HL_SCALAR(1), HL_SCALAR(0), HL_SCALAR(1), HL_NORMAL(9), HL_NORMAL(9),
            HL_RANGE(0, 0, 9), HL_SCALAR(0))},
    {.what = "masked",
     HL_INS(HL_SCALAR(0.01), HL_SCALAR(1), HL_SCALAR(1), HL_SCALAR(0), HL_NORMAL(9), HL_NORMAL(9),
            HL_POSITIVE(9), HL_SCALAR(0))},
    {.what = "a bound for each element",
     HL_INS(HL_SCALAR(0.01), HL_SCALAR(1), HL_SCALAR(1), HL_SCALAR(1), HL_NORMAL(5), HL_NORMAL(5),
            HL_POSITIVE(5), HL_POSITIVE(5)),
     .expect = HL_E_SHAPE},
    {.what = "half a group",
     HL_INS(HL_SCALAR(0.01), HL_SCALAR(1), HL_SCALAR(1), HL_SCALAR(1), HL_NORMAL(5), HL_NORMAL(5)),
     .expect = HL_E_ARG},
};
const hl_op hl_op_madam = {
    .name = "madam",
    .doc =
        "Madam (arXiv 2006.14560) on groups p, g, v, max: v = beta v + (1 - beta) g^2, "
        "u = g / sqrt(v / (1 - beta^t)) within +-g_bound, p = p exp(-lr u sign(p)) within +-max; "
        "max = p_scale sqrt(mean(p^2)) where it is 0; gradients times scale; nothing happens if "
        "ok is 0",
    .ins = "lr t scale ok pgvmax*",
    .outs = "done",
    .attr = {{"p_scale", HL_ATTR_REAL, 3, 0, 1e9, NULL},
             {"g_bound", HL_ATTR_REAL, 10, 0, 1e9, NULL},
             {"beta", HL_ATTR_REAL, 0.999, 0, 0.9999999, NULL}},
    .flags = HL_OP_EFFECT | HL_OP_NO_LUA,
    .shape = shape_madam,
    .ref = ref_madam,
    .cpu = cpu_madam,
    .gpu = gpu_madam,
    .prepare = hl_gpu_tensors_prepare,
    .release = hl_gpu_tensors_release,
    .mutates = mutates_adamw,
    HL_CASES(cases_madam)};

/* --- sgd: lr scale ok (p g b)* --- */

enum { SGD_LR, SGD_SCALE, SGD_OK, SGD_SCALARS };

static hl_status shape_sgd(hl_call *c)
{
    return shape_update(c, SGD_SCALARS, 3);
}

static bool mutates_sgd(const hl_call *c, int input)
{
    (void)c;
    return input >= SGD_SCALARS && (input - SGD_SCALARS) % 3 != 1;
}

static void sgd_group(const hl_op_run *r, int first, int64_t begin, int64_t end)
{
    const float lr = *hl_in_f(r, SGD_LR), scale = *hl_in_f(r, SGD_SCALE);
    const float momentum = (float)r->call->attrs.v[0].f, decay = (float)r->call->attrs.v[1].f;
    float *p = state_of(r, first), *b = state_of(r, first + 2);
    const float *g = r->in[first + 1];
    for (int64_t i = begin; i < end; i++) {
        b[i] = momentum * b[i] + (g[i] * scale + decay * p[i]);
        p[i] -= lr * b[i];
    }
}

static hl_status cpu_sgd(const hl_op_run *r)
{
    *hl_out_f(r, 0) = *hl_in_f(r, SGD_OK);
    return *hl_in_f(r, SGD_OK) == 0 ? HL_OK : run_groups(r, SGD_SCALARS, 3, sgd_group);
}

static hl_status gpu_sgd(const hl_op_run *r)
{
    const hl_attr *a = r->call->attrs.v;
    hl_gpu_tensors t;
    hl_status st = hl_gpu_tensors_of(r, SGD_SCALARS, 3, &t);
    if (st != HL_OK)
        return st;
    hl_gpu_get()->sgd(r->exec->gpu, (float)a[0].f, (float)a[1].f, hl_in_f(r, SGD_LR),
                      hl_in_f(r, SGD_SCALE), hl_in_f(r, SGD_OK), &t);
    hl_copy(r, r->out[0], r->in[SGD_OK], sizeof(float));
    return HL_OK;
}

static hl_status ref_sgd(const hl_op_run *r)
{
    const double lr = *hl_in_d(r, SGD_LR), scale = *hl_in_d(r, SGD_SCALE);
    const hl_attr *a = r->call->attrs.v;
    *hl_out_d(r, 0) = *hl_in_d(r, SGD_OK);
    for (int i = SGD_SCALARS; *hl_in_d(r, SGD_OK) != 0 && i < r->call->n_in; i += 3) {
        double *p = state_of(r, i), *b = state_of(r, i + 2);
        for (int64_t k = 0; k < hl_type_count(&r->call->in[i]); k++) {
            b[k] = a[0].f * b[k] + hl_in_d(r, i + 1)[k] * scale + a[1].f * p[k];
            p[k] -= lr * b[k];
        }
    }
    return HL_OK;
}

static const hl_case cases_sgd[] = {
    {.what = "momentum",
     HL_INS(HL_SCALAR(0.1), HL_SCALAR(0.5), HL_SCALAR(1), HL_NORMAL(33), HL_NORMAL(33),
            HL_NORMAL(33)),
     .attr = {0.9, 0.01},
     .attr_given = 3},
    {.what = "masked",
     HL_INS(HL_SCALAR(0.1), HL_SCALAR(1), HL_SCALAR(0), HL_NORMAL(5), HL_NORMAL(5), HL_NORMAL(5))},
};
const hl_op hl_op_sgd = {
    .name = "sgd",
    .doc =
        "b = momentum b + g scale + weight_decay p; p -= lr b, on groups p, g, b; nothing happens "
        "if ok is 0",
    .ins = "lr scale ok pgb*",
    .outs = "done",
    .attr = {{"momentum", HL_ATTR_REAL, 0, 0, 0.999999, NULL},
             {"weight_decay", HL_ATTR_REAL, 0, 0, 10, NULL}},
    .flags = HL_OP_EFFECT | HL_OP_NO_LUA,
    .shape = shape_sgd,
    .ref = ref_sgd,
    .cpu = cpu_sgd,
    .gpu = gpu_sgd,
    .prepare = hl_gpu_tensors_prepare,
    .release = hl_gpu_tensors_release,
    .mutates = mutates_sgd,
    HL_CASES(cases_sgd)};

/* --- assign --- */

static hl_status shape_assign(hl_call *c)
{
    if (!hl_type_equal(&c->in[0], &c->in[1]))
        return hl_err_set(HL_E_SHAPE, "state and value differ");
    c->out[0] = hl_type_scalar(HL_DTYPE_F32);
    if (c->in[0].dtype == HL_DTYPE_F64)
        c->out[0].dtype = HL_DTYPE_F64;
    c->n_out = 1;
    return HL_OK;
}

static bool mutates_assign(const hl_call *c, int input)
{
    (void)c;
    return input == 0;
}

static hl_status run_assign(const hl_op_run *r)
{
    hl_copy(r, state_of(r, 0), r->in[1], hl_type_bytes(&r->call->in[0]));
    hl_clear(r, r->out[0], hl_type_bytes(&r->call->out[0]));
    return HL_OK;
}

static const hl_case cases_assign[] = {
    {.what = "vector", HL_INS(HL_NORMAL(33), HL_NORMAL(33))},
    {.what = "shapes differ", HL_INS(HL_NORMAL(33), HL_NORMAL(32)), .expect = HL_E_SHAPE},
};
const hl_op hl_op_assign = {.name = "assign",
                            .doc = "write x into the state s",
                            .ins = "s x",
                            .outs = "done",
                            .flags = HL_OP_EFFECT | HL_OP_NO_LUA,
                            .shape = shape_assign,
                            .ref = run_assign,
                            .cpu = run_assign,
                            .gpu = run_assign,
                            .mutates = mutates_assign,
                            HL_CASES(cases_assign)};
