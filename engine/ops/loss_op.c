/* Cross entropy on given logits. A label of -100 is ignored; the loss is the mean over the others,
 * and 0 without gradient if there is none. lm_loss_op.c joins it with the output layer. */
#include "engine/ops/op_common.h"

enum { IGNORE = -100 };

static hl_status shape_cross_entropy(hl_call *c)
{
    const hl_type *x = &c->in[0], *labels = &c->in[1];
    hl_status st = hl_want_float(c, 0);
    if (st == HL_OK)
        st = hl_want_rank(c, 0, 1, HL_MAX_RANK);
    if (st == HL_OK)
        st = hl_want_dtype(c, 1, HL_DTYPE_I32);
    if (st != HL_OK)
        return st;
    bool fits = labels->rank == x->rank - 1 && x->dim[x->rank - 1] > 0;
    for (int i = 0; fits && i < labels->rank; i++)
        fits = labels->dim[i] == x->dim[i];
    if (!fits)
        return hl_err_set(HL_E_SHAPE, "labels must have the shape of the logits without the last "
                                      "dimension");
    c->out[0] = c->out[1] = hl_type_scalar(x->dtype);
    c->n_out = 2;
    return HL_OK;
}

static hl_status check_labels(const int32_t *label, int64_t n, int64_t v, int64_t *n_used)
{
    *n_used = 0;
    for (int64_t i = 0; i < n; i++) {
        if (label[i] == IGNORE)
            continue;
        if (label[i] < 0 || label[i] >= v)
            return hl_err_set(HL_E_ARG, "label %d at position %lld is outside the %lld classes",
                              label[i], (long long)i + 1, (long long)v);
        ++*n_used;
    }
    return HL_OK;
}

typedef struct ce_job {
    const float *x;
    float *loss, *gx;
    const int32_t *label;
    int64_t v;
    float slope;
} ce_job;

static size_t scratch_cross_entropy(const hl_call *c, int n_workers)
{
    const hl_type *x = &c->in[0];
    const int64_t v = x->dim[x->rank - 1];
    return (size_t)(hl_type_rows(x, x->rank - 1) + v * n_workers) * sizeof(float);
}

static void ce_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const ce_job *j = arg;
    for (int64_t i = begin; i < end; i++) {
        j->loss[i] = 0;
        /* without a slope the kernel only reads the row */
        if (j->label[i] != IGNORE)
            hl_cpu()->cross_entropy_row(j->v, (float *)(uintptr_t)(j->x + i * j->v), j->label[i], 0,
                                        &j->loss[i]);
    }
}

static hl_status cpu_cross_entropy(const hl_op_run *r)
{
    const hl_type *x = &r->call->in[0];
    const int64_t v = x->dim[x->rank - 1], rows = hl_type_rows(x, x->rank - 1);
    ce_job j = {.x = hl_in_f(r, 0), .label = r->in[1], .v = v, .loss = r->scratch};
    int64_t n_used;
    hl_status st = check_labels(j.label, rows, v, &n_used);
    if (st != HL_OK)
        return st;
    hl_parallel(r->exec, rows, 1, HL_GRAIN / v + 1, ce_part, &j);
    double total;
    hl_cpu()->sum(rows, j.loss, &total);
    *hl_out_f(r, 0) = n_used ? (float)(total / (double)n_used) : 0;
    *hl_out_f(r, 1) = (float)n_used;
    return HL_OK;
}

static hl_status gpu_cross_entropy(const hl_op_run *r)
{
    const hl_type *x = &r->call->in[0];
    hl_gpu_get()->cross_entropy(r->exec->gpu, hl_type_rows(x, x->rank - 1), x->dim[x->rank - 1],
                                hl_in_f(r, 0), r->in[1], hl_out_f(r, 0), hl_out_f(r, 1), r->scratch);
    return HL_OK;
}

static size_t gpu_scratch_cross_entropy(const hl_call *c)
{
    return (size_t)hl_type_rows(&c->in[0], c->in[0].rank - 1) * sizeof(float);
}

static double ref_lse(int64_t n, const double *x)
{
    double m = -HUGE_VAL, s = 0;
    for (int64_t k = 0; k < n; k++)
        m = x[k] > m ? x[k] : m;
    for (int64_t k = 0; k < n; k++)
        s += exp(x[k] - m);
    return m + log(s);
}

static hl_status ref_cross_entropy(const hl_op_run *r)
{
    const hl_type *x = &r->call->in[0];
    const int64_t v = x->dim[x->rank - 1], rows = hl_type_rows(x, x->rank - 1);
    const int32_t *label = r->in[1];
    int64_t n_used;
    double total = 0;
    hl_status st = check_labels(label, rows, v, &n_used);
    if (st != HL_OK)
        return st;
    for (int64_t i = 0; i < rows; i++)
        if (label[i] != IGNORE)
            total += ref_lse(v, hl_in_d(r, 0) + i * v) - hl_in_d(r, 0)[i * v + label[i]];
    *hl_out_d(r, 0) = n_used ? total / (double)n_used : 0;
    *hl_out_d(r, 1) = (double)n_used;
    return HL_OK;
}

static hl_status vjp_cross_entropy(hl_vjp *v)
{
    if (v->grad_out[0] == HL_NONE)
        return HL_OK;
    hl_id in[4] = {v->grad_out[0], v->in[0], v->in[1], v->out[1]};
    v->grad_in[0] = hl_graph_append(v->g, hl_op_get(HL_OP_ID_cross_entropy_vjp), in, 4, NULL);
    return v->g->status;
}

static const hl_case cases_cross_entropy[] = {
    {.what = "classes", HL_INS(HL_NORMAL(9, 33), HL_INDEX(33, 9))},
    {.what = "tokens, some ignored", HL_INS(HL_NORMAL(3, 7, 40), HL_LABEL(40, 3, 7))},
    {.what = "many classes", HL_INS(HL_RANGE(-30, 30, 2, 1025), HL_INDEX(1025, 2))},
    {.what = "nothing labelled", HL_INS(HL_NORMAL(0, 5), HL_INDEX(5, 0))},
    {.what = "label outside", HL_INS(HL_NORMAL(40, 5), HL_INDEX(500, 40)), .expect = HL_E_ARG},
    {.what = "labels of another shape", HL_INS(HL_NORMAL(9, 33), HL_INDEX(33, 8)),
     .expect = HL_E_SHAPE},
};
const hl_op hl_op_cross_entropy = {
    .name = "cross_entropy",
    .doc = "mean of lse(x) - x[label] over the rows with a label (0-based; -100: ignored), natural "
           "logarithm; 0 if there is none. The second output counts them",
    .ins = "logits labels", .outs = "loss count", .shape = shape_cross_entropy,
    .ref = ref_cross_entropy, .cpu = cpu_cross_entropy, .gpu = gpu_cross_entropy,
    .gpu_scratch = gpu_scratch_cross_entropy, .scratch = scratch_cross_entropy,
    .vjp = vjp_cross_entropy, .no_grad = 2, .no_second = true, HL_CASES(cases_cross_entropy),
    .tol = 64};

/* --- gradient --- */

static hl_status shape_cross_entropy_vjp(hl_call *c)
{
    hl_out_like(c, 0, 1);
    return HL_OK;
}

static void ce_vjp_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const ce_job *j = arg;
    float ignored;
    for (int64_t i = begin; i < end; i++) {
        float *g = j->gx + i * j->v;
        if (j->label[i] == IGNORE || j->slope == 0) {
            memset(g, 0, (size_t)j->v * sizeof *g);
            continue;
        }
        if (g != j->x + i * j->v)
            memcpy(g, j->x + i * j->v, (size_t)j->v * sizeof *g);
        hl_cpu()->cross_entropy_row(j->v, g, j->label[i], j->slope, &ignored);
    }
}

static hl_status cpu_cross_entropy_vjp(const hl_op_run *r)
{
    const hl_type *x = &r->call->in[1];
    const int64_t v = x->dim[x->rank - 1];
    const float count = *hl_in_f(r, 3);
    ce_job j = {.x = hl_in_f(r, 1), .label = r->in[2], .v = v, .gx = hl_out_f(r, 0),
                .slope = count > 0 ? *hl_in_f(r, 0) / count : 0};
    hl_parallel(r->exec, hl_type_rows(x, x->rank - 1), 1, HL_GRAIN / v + 1, ce_vjp_part, &j);
    return HL_OK;
}

static hl_status gpu_cross_entropy_vjp(const hl_op_run *r)
{
    const hl_type *x = &r->call->in[1];
    hl_gpu_get()->cross_entropy_vjp(r->exec->gpu, hl_type_rows(x, x->rank - 1), x->dim[x->rank - 1],
                                    hl_in_f(r, 0), hl_in_f(r, 1), r->in[2], hl_in_f(r, 3), hl_out_f(r, 0));
    return HL_OK;
}

static hl_status ref_cross_entropy_vjp(const hl_op_run *r)
{
    const hl_type *x = &r->call->in[1];
    const int64_t v = x->dim[x->rank - 1], rows = hl_type_rows(x, x->rank - 1);
    const int32_t *label = r->in[2];
    const double count = *hl_in_d(r, 3), slope = count > 0 ? *hl_in_d(r, 0) / count : 0;
    for (int64_t i = 0; i < rows; i++) {
        const double *row = hl_in_d(r, 1) + i * v;
        const double lse = ref_lse(v, row);
        for (int64_t k = 0; k < v; k++)
            hl_out_d(r, 0)[i * v + k] =
                label[i] == IGNORE ? 0 : slope * (exp(row[k] - lse) - (k == label[i] ? 1 : 0));
    }
    return HL_OK;
}

const hl_op hl_op_cross_entropy_vjp = {
    .name = "cross_entropy_vjp", .doc = "gradient of cross_entropy: g / count * (softmax - onehot)",
    .ins = "g logits labels count", .outs = "glogits", .flags = HL_OP_NO_LUA, .inplace = 2,
    .shape = shape_cross_entropy_vjp, .ref = ref_cross_entropy_vjp, .cpu = cpu_cross_entropy_vjp,
    .gpu = gpu_cross_entropy_vjp};
