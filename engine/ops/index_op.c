/* Table look-up and its gradient. */
#include "engine/ops/op_common.h"

static hl_status shape_embedding(hl_call *c)
{
    const hl_type *table = &c->in[0], *ids = &c->in[1];
    hl_status st = hl_want_float(c, 0);
    if (st == HL_OK)
        st = hl_want_rank(c, 0, 2, 2);
    if (st == HL_OK)
        st = hl_want_dtype(c, 1, HL_DTYPE_I32);
    if (st == HL_OK)
        st = hl_want_rank(c, 1, 0, HL_MAX_RANK - 1);
    if (st != HL_OK)
        return st;
    c->out[0] = *ids;
    c->out[0].dtype = table->dtype;
    c->out[0].dim[c->out[0].rank++] = table->dim[1];
    c->n_out = 1;
    return HL_OK;
}

hl_status hl_check_ids(const int32_t *ids, int64_t n, int64_t rows)
{
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= rows)
            return hl_err_set(HL_E_ARG, "id %d at position %lld is outside the table of %lld rows",
                              ids[i], (long long)i + 1, (long long)rows);
    return HL_OK;
}

typedef struct table_job {
    const unsigned char *from;
    unsigned char *to;
    const int32_t *ids;
    int64_t n, d, padding;
    size_t size; /* bytes of an element */
} table_job;

static void gather_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const table_job *j = arg;
    const size_t row = (size_t)j->d * j->size;
    for (int64_t i = begin; i < end; i++)
        memcpy(j->to + (size_t)i * row, j->from + (size_t)j->ids[i] * row, row);
}

static hl_status run_embedding(const hl_op_run *r)
{
    const hl_type *table = &r->call->in[0];
    table_job j = {.from = r->in[0], .to = r->out[0], .ids = r->in[1],
                   .n = hl_type_count(&r->call->in[1]), .d = table->dim[1],
                   .size = hl_dtype_bytes(table->dtype)};
    hl_status st = hl_check_ids(j.ids, j.n, table->dim[0]);
    if (st == HL_OK)
        hl_parallel(r->exec, j.n, 1, j.d ? HL_GRAIN / j.d + 1 : 1, gather_part, &j);
    return st;
}

static hl_status gpu_embedding(const hl_op_run *r)
{
    const hl_type *table = &r->call->in[0];
    hl_gpu_get()->embedding(r->exec->gpu, hl_type_count(&r->call->in[1]), table->dim[0], table->dim[1],
                            hl_dtype_bytes(table->dtype), r->in[0], r->in[1], r->out[0]);
    return HL_OK;
}

static hl_status vjp_embedding(hl_vjp *v)
{
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_embedding_vjp));
    a.v[0].i = hl_graph_type(v->g, v->in[0])->dim[0];
    a.v[1].i = v->attrs->v[0].i;
    hl_id in[2] = {v->grad_out[0], v->in[1]};
    v->grad_in[0] = hl_graph_append(v->g, hl_op_get(HL_OP_ID_embedding_vjp), in, 2, &a);
    return v->g->status;
}

static double flops_none(const hl_call *c)
{
    (void)c;
    return 0;
}

static const hl_case cases_embedding[] = {
    {.what = "tokens", HL_INS(HL_NORMAL(11, 33), HL_INDEX(11, 3, 7))},
    /* the padding row is not looked up: there the gradient is by decree, not by calculus */
    {.what = "padding row", HL_INS(HL_NORMAL(5, 8), HL_INDEX(4, 40)), .attr = {4}, .attr_given = 1},
    {.what = "nothing looked up", HL_INS(HL_NORMAL(5, 8), HL_INDEX(5, 0))},
    {.what = "float ids", HL_INS(HL_NORMAL(5, 8), HL_NORMAL(3)), .expect = HL_E_DTYPE},
    {.what = "no table", HL_INS(HL_NORMAL(5), HL_INDEX(5, 3)), .expect = HL_E_SHAPE},
    {.what = "id outside the table", HL_INS(HL_NORMAL(5, 8), HL_INDEX(500, 40)),
     .expect = HL_E_ARG},
};
const hl_op hl_op_embedding = {
    .name = "embedding",
    .doc = "rows of the table [V, D] at 0-based ids; row `padding` (-1: none) gets no gradient",
    .ins = "table ids", .outs = "y", .attr = {{"padding", HL_ATTR_INT, -1, 0, 0, NULL}},
    .shape = shape_embedding, .ref = run_embedding, .cpu = run_embedding, .gpu = gpu_embedding, .vjp = vjp_embedding,
    .no_grad = 2, .flops = flops_none, HL_CASES(cases_embedding)};

/* --- gradient of the table --- */

static hl_status shape_embedding_vjp(hl_call *c)
{
    const hl_type *g = &c->in[0], *ids = &c->in[1];
    hl_status st = hl_want_dtype(c, 1, HL_DTYPE_I32);
    if (st != HL_OK)
        return st;
    if (g->rank != ids->rank + 1)
        return hl_err_set(HL_E_SHAPE, "one cotangent row per id");
    for (int i = 0; i < ids->rank; i++)
        if (g->dim[i] != ids->dim[i])
            return hl_err_set(HL_E_SHAPE, "one cotangent row per id");
    int64_t dim[2] = {c->attrs.v[0].i, g->dim[g->rank - 1]};
    c->out[0] = hl_type_make(g->dtype, 2, dim);
    c->n_out = 1;
    if (c->n_in > 2 && !hl_type_absent(&c->in[2]) && !hl_type_equal(&c->in[2], &c->out[0]))
        return hl_err_set(HL_E_SHAPE, "the addend must have the shape of the table");
    return HL_OK;
}

/* Columns are cut among the workers, so that each sum is made by one of them in order of ids. */
static void scatter_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const table_job *j = arg;
    for (int64_t i = 0; i < j->n; i++) {
        if (j->ids[i] == j->padding)
            continue;
        if (j->size == sizeof(float)) {
            const float *from = (const float *)(const void *)j->from + i * j->d;
            float *to = (float *)(void *)j->to + j->ids[i] * j->d;
            for (int64_t c = begin; c < end; c++)
                to[c] += from[c];
        } else {
            const double *from = (const double *)(const void *)j->from + i * j->d;
            double *to = (double *)(void *)j->to + j->ids[i] * j->d;
            for (int64_t c = begin; c < end; c++)
                to[c] += from[c];
        }
    }
}

static hl_status run_embedding_vjp(const hl_op_run *r)
{
    const hl_type *out = &r->call->out[0];
    const void *addend = r->call->n_in > 2 ? r->in[2] : NULL;
    table_job j = {.from = r->in[0], .to = r->out[0], .ids = r->in[1],
                   .n = hl_type_count(&r->call->in[1]), .d = out->dim[1],
                   .padding = r->call->attrs.v[1].i, .size = hl_dtype_bytes(out->dtype)};
    hl_status st = hl_check_ids(j.ids, j.n, out->dim[0]);
    if (st != HL_OK)
        return st;
    if (!addend)
        memset(r->out[0], 0, hl_type_bytes(out));
    else if (addend != r->out[0])
        memcpy(r->out[0], addend, hl_type_bytes(out));
    hl_parallel(r->exec, j.d, 16, j.n ? HL_GRAIN / j.n + 1 : 1, scatter_part, &j);
    return HL_OK;
}

static hl_status gpu_embedding_vjp(const hl_op_run *r)
{
    const hl_type *out = &r->call->out[0];
    const void *addend = r->call->n_in > 2 ? r->in[2] : NULL;
    if (!addend)
        hl_clear(r, r->out[0], hl_type_bytes(out));
    else if (addend != r->out[0])
        hl_copy(r, r->out[0], addend, hl_type_bytes(out));
    hl_gpu_get()->embedding_vjp(r->exec->gpu, hl_type_count(&r->call->in[1]), out->dim[0], out->dim[1],
                                r->call->attrs.v[1].i, hl_in_f(r, 0), r->in[1], hl_out_f(r, 0));
    return HL_OK;
}

static hl_status vjp_embedding_vjp(hl_vjp *v)
{
    hl_id in[2] = {v->grad_out[0], v->in[1]};
    if (v->attrs->v[1].i >= 0)
        return hl_err_set(HL_E_UNSUPPORTED, "no second derivative with a padding row");
    v->grad_in[0] = hl_graph_append(v->g, hl_op_get(HL_OP_ID_embedding), in, 2, NULL);
    if (v->n_in > 2)
        v->grad_in[2] = v->grad_out[0];
    return v->g->status;
}

static const hl_case cases_embedding_vjp[] = {
    {.what = "tokens", HL_INS(HL_NORMAL(3, 7, 33), HL_INDEX(11, 3, 7)), .attr = {11},
     .attr_given = 1},
    {.what = "addend", HL_INS(HL_NORMAL(7, 8), HL_INDEX(5, 7), HL_NORMAL(5, 8)), .attr = {5},
     .attr_given = 1},
    {.what = "rows differ", HL_INS(HL_NORMAL(7, 8), HL_INDEX(5, 6)), .attr = {5}, .attr_given = 1,
     .expect = HL_E_SHAPE},
};
const hl_op hl_op_embedding_vjp = {
    .name = "embedding_vjp",
    .doc = "(c +) the table gradient of embedding: cotangent rows added up by id",
    .ins = "g ids c?", .outs = "gtable",
    .attr = {{"rows", HL_ATTR_INT, (double)NAN, 0, 0, NULL}, {"padding", HL_ATTR_INT, -1, 0, 0, NULL}},
    .flags = HL_OP_NO_LUA, .inplace = 4, .shape = shape_embedding_vjp, .ref = run_embedding_vjp,
    .cpu = run_embedding_vjp, .gpu = gpu_embedding_vjp, .vjp = vjp_embedding_vjp, .no_grad = 2,
    HL_CASES(cases_embedding_vjp)};
