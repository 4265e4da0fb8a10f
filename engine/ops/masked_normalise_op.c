/* Attention weights of scores that are there, with the keys that a query may not see left out: what
 * the attention op does inside, for graphs in which scores are values of their own. */
#include "engine/ops/normalise_ref.h"
#include "engine/ops/op_common.h"
#include "kernels/row/score_mask_body.h"

enum { CAUSAL, BASE, GAMMA, ETA };

static hl_status shape_masked(hl_call *c)
{
    const hl_type *x = &c->in[0], *mask = &c->in[1];
    hl_status st = hl_want_float(c, 0);
    if (st == HL_OK)
        st = hl_want_rank(c, 0, 4, 4);
    if (st != HL_OK)
        return st;
    if (c->attrs.v[CAUSAL].i && x->dim[2] > x->dim[3])
        return hl_err_set(HL_E_SHAPE, "causal attention needs at least as many keys as queries");
    st = hl_want_alpha(c, 2, c->attrs.v[BASE].i);
    if (st != HL_OK)
        return st;
    if (c->n_in > 1 && !hl_type_absent(mask) &&
        (mask->dtype != HL_DTYPE_BOOL || mask->rank != 2 || mask->dim[0] != x->dim[0] ||
         mask->dim[1] != x->dim[3]))
        return hl_err_set(HL_E_SHAPE, "the key mask must be bool{%lld, %lld}", (long long)x->dim[0],
                          (long long)x->dim[3]);
    hl_out_like(c, 0, 0);
    return HL_OK;
}

static hl_normaliser normaliser_of(const hl_attrs *a, double alpha)
{
    return (hl_normaliser){.alpha = alpha,
                           .base = (hl_normaliser_base)a->v[BASE].i,
                           .gamma = (float)a->v[GAMMA].f,
                           .eta = (float)a->v[ETA].f};
}

typedef struct masked_job {
    const hl_op_run *r;
    hl_score_mask m;
    hl_normaliser f;
    float *scratch; /* s + 2 floats per worker */
} masked_job;

static void masked_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const masked_job *j = arg;
    float *x = j->scratch + (j->m.s + 2) * worker, *stat = x + j->m.s;
    for (int64_t r = begin; r < end; r++) {
        const float *row = hl_in_f(j->r, 0) + r * j->m.s;
        for (int64_t k = 0; k < j->m.s; k++)
            x[k] = hl_may_see(&j->m, r, k) ? row[k] : -HUGE_VALF;
        hl_cpu()->normalise_row(j->f, j->m.s, x, hl_out_f(j->r, 0) + r * j->m.s, stat);
    }
}

static masked_job job_of(const hl_op_run *r, double alpha)
{
    const hl_type *x = &r->call->in[0];
    return (masked_job){.r = r,
                        .m = {.mask = r->call->n_in > 1 ? r->in[1] : NULL,
                              .rows_each = x->dim[1] * x->dim[2],
                              .t = x->dim[2],
                              .s = x->dim[3],
                              .causal = r->call->attrs.v[CAUSAL].i},
                        .f = normaliser_of(&r->call->attrs, alpha)};
}

static size_t scratch_masked(const hl_call *c, int n_workers)
{
    return (size_t)n_workers * ((size_t)c->in[0].dim[3] + 2) * sizeof(float);
}

static hl_status cpu_masked(const hl_op_run *r)
{
    masked_job j = job_of(r, hl_alpha_f32(r, 2));
    j.scratch = r->scratch;
    hl_parallel(r->exec, hl_type_rows(&r->call->in[0], 3), 1, j.m.s ? HL_GRAIN / j.m.s + 1 : 1,
                masked_part, &j);
    return HL_OK;
}

static hl_status gpu_masked(const hl_op_run *r)
{
    const masked_job j = job_of(r, 0);
    hl_gpu_get()->masked_normalise(r->exec->gpu, j.f, hl_gpu_alpha(r, 2), r->call->in[0].dim, j.m.causal,
                                   j.m.mask, hl_in_f(r, 0), hl_out_f(r, 0));
    return HL_OK;
}

static hl_status ref_masked(const hl_op_run *r)
{
    const masked_job j = job_of(r, hl_alpha_f64(r, 2));
    const int64_t rows = hl_type_rows(&r->call->in[0], 3);
    double stat[2];
    for (int64_t i = 0; i < rows; i++) {
        double *x = (double *)(uintptr_t)hl_out_d(r, 0) + i * j.m.s;
        double *y = hl_alloc((size_t)(j.m.s + 1) * sizeof *y);
        if (!y)
            return HL_E_NOMEM;
        for (int64_t k = 0; k < j.m.s; k++)
            x[k] = hl_may_see(&j.m, i, k) ? hl_in_d(r, 0)[i * j.m.s + k] : -HUGE_VAL;
        const bool ok = hl_ref_normalise(j.f, j.m.s, x, y, stat);
        memcpy(x, y, (size_t)j.m.s * sizeof *y);
        hl_free(y);
        if (!ok)
            return HL_E_NOMEM;
    }
    return HL_OK;
}

static const hl_case cases_masked[] = {
    {.what = "all keys", HL_INS(HL_NORMAL(2, 3, 5, 33))},
    {.what = "key mask", HL_INS(HL_NORMAL(3, 2, 4, 17), HL_KEYMASK(3, 17))},
    {.what = "causal",
     HL_INS(HL_NORMAL(2, 2, 19, 19)),
     .attr = {1, HL_NORM_SOFTMAX1},
     .attr_given = 3},
    {.what = "causal, older keys",
     HL_INS(HL_NORMAL(2, 2, 5, 9), HL_KEYMASK(2, 9)),
     .attr = {1, HL_NORM_SOFTMAX, -0.03, 1.02},
     .attr_given = 15},
    {.what = "entmax",
     HL_INS(HL_NORMAL(2, 1, 7, 40)),
     .attr = {1, HL_NORM_ENTMAX15},
     .attr_given = 3},
    {.what = "entmax of alpha",
     HL_INS(HL_NORMAL(2, 3, 5, 9), HL_KEYMASK(2, 9),
            {HL_DTYPE_F32, 1, {1}, HL_FILL_CONST, 1.7, 1.7, 0}),
     .attr = {0, HL_NORM_ENTMAX},
     .attr_given = 3},
    {.what = "fewer keys than causal queries",
     HL_INS(HL_NORMAL(2, 2, 9, 5)),
     .attr = {1},
     .attr_given = 1,
     .expect = HL_E_SHAPE},
    {.what = "mask of another length",
     HL_INS(HL_NORMAL(2, 2, 9, 9), HL_KEYMASK(2, 8)),
     .expect = HL_E_SHAPE},
    {.what = "no heads", HL_INS(HL_NORMAL(2, 9, 9)), .expect = HL_E_SHAPE},
};
const hl_op hl_op_masked_normalise = {
    .name = "masked_normalise",
    .doc =
        "attention weights of scores {B, H, T, S} by the normalisers of normalise; mask {B, S}: "
        "false forbids a key; causal: so does being behind the query. A query without a permitted "
        "key gets zeros",
    .ins = "x mask? alpha?",
    .outs = "y",
    .attr = {{"causal", HL_ATTR_BOOL, 0, 0, 0, NULL},
             {"base", HL_ATTR_ENUM, 0, 0, 0, hl_normaliser_names},
             {"gamma", HL_ATTR_REAL, 0, -1e6, 0, NULL},
             {"eta", HL_ATTR_REAL, 1, 1, 1e6, NULL}},
    .shape = shape_masked,
    .ref = ref_masked,
    .cpu = cpu_masked,
    .gpu = gpu_masked,
    .scratch = scratch_masked,
    .no_grad = 6,
    HL_CASES(cases_masked)};
