/* Table look-up where the rows are codes (spec: quantization 12.6): only what is looked up becomes
 * float. */
#include "engine/ops/op_common.h"

enum { SCALES, TABLE, IDS };

static hl_status shape_embedding_int8(hl_call *c)
{
    const hl_type *s = &c->in[SCALES], *table = &c->in[TABLE];
    hl_status st = hl_want_float(c, SCALES);
    if (st == HL_OK)
        st = hl_want_rank(c, SCALES, 1, 1);
    if (st == HL_OK)
        st = hl_want_dtype(c, TABLE, HL_DTYPE_I8);
    if (st == HL_OK)
        st = hl_want_rank(c, TABLE, 2, 2);
    if (st == HL_OK)
        st = hl_want_dtype(c, IDS, HL_DTYPE_I32);
    if (st == HL_OK)
        st = hl_want_rank(c, IDS, 0, HL_MAX_RANK - 1);
    if (st != HL_OK)
        return st;
    if (s->dim[0] != 1 && s->dim[0] != table->dim[0])
        return hl_err_set(HL_E_SHAPE, "the table has one scale or %lld", (long long)table->dim[0]);
    c->out[0] = c->in[IDS];
    c->out[0].dtype = s->dtype;
    c->out[0].dim[c->out[0].rank++] = table->dim[1];
    c->n_out = 1;
    return HL_OK;
}

typedef struct rows_job {
    const hl_op_run *r;
    int64_t d;
    bool per_row; /* a scale each */
} rows_job;

static hl_status start(const hl_op_run *r, rows_job *j)
{
    const hl_type *table = &r->call->in[TABLE];
    *j = (rows_job){r, table->dim[1], r->call->in[SCALES].dim[0] > 1};
    return hl_check_ids(r->in[IDS], hl_type_count(&r->call->in[IDS]), table->dim[0]);
}

static void decode_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const rows_job *j = arg;
    const float *scales = hl_in_f(j->r, SCALES);
    const int8_t *table = j->r->in[TABLE];
    const int32_t *ids = j->r->in[IDS];
    for (int64_t i = begin; i < end; i++) {
        const hl_quant_grid g = {.scale = scales[j->per_row ? ids[i] : 0]};
        hl_cpu()->quant_decode(g, HL_CODE_I8, j->d, table + (int64_t)ids[i] * j->d,
                               hl_out_f(j->r, 0) + i * j->d);
    }
}

static hl_status cpu_embedding_int8(const hl_op_run *r)
{
    rows_job j;
    hl_status st = start(r, &j);
    if (st == HL_OK)
        hl_parallel(r->exec, hl_type_count(&r->call->in[IDS]), 1, j.d ? HL_GRAIN / j.d + 1 : 1,
                    decode_part, &j);
    return st;
}

static hl_status gpu_embedding_int8(const hl_op_run *r)
{
    const hl_type *table = &r->call->in[TABLE];
    hl_gpu_get()->decode_rows(r->exec->gpu, hl_type_count(&r->call->in[IDS]), table->dim[1],
                              table->dim[0], r->in[IDS], r->in[TABLE], hl_in_f(r, SCALES),
                              r->call->in[SCALES].dim[0] > 1, hl_out_f(r, 0));
    return HL_OK;
}

static hl_status ref_embedding_int8(const hl_op_run *r)
{
    rows_job j;
    hl_status st = start(r, &j);
    const int8_t *table = r->in[TABLE];
    const int32_t *ids = r->in[IDS];
    const int64_t n = st == HL_OK ? hl_type_count(&r->call->in[IDS]) : 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < j.d; k++)
            hl_out_d(r, 0)[i * j.d + k] =
                hl_in_d(r, SCALES)[j.per_row ? ids[i] : 0] * table[ids[i] * j.d + k];
    return st;
}

static const hl_case cases_embedding_int8[] = {
    {.what = "tokens", HL_INS(HL_POSITIVE(1), HL_CODES_I8(11, 33), HL_INDEX(11, 3, 7))},
    {.what = "a scale for each row", HL_INS(HL_POSITIVE(5), HL_CODES_I8(5, 8), HL_INDEX(5, 40))},
    {.what = "one id", HL_INS(HL_POSITIVE(5), HL_CODES_I8(5, 8), HL_INDEX(5))},
    {.what = "nothing looked up", HL_INS(HL_POSITIVE(1), HL_CODES_I8(5, 8), HL_INDEX(5, 0))},
    {.what = "scales of other rows",
     HL_INS(HL_POSITIVE(4), HL_CODES_I8(5, 8), HL_INDEX(5, 3)),
     .expect = HL_E_SHAPE},
    {.what = "a table of floats",
     HL_INS(HL_POSITIVE(1), HL_NORMAL(5, 8), HL_INDEX(5, 3)),
     .expect = HL_E_DTYPE},
    {.what = "id outside the table",
     HL_INS(HL_POSITIVE(1), HL_CODES_I8(5, 8), HL_INDEX(500, 40)),
     .expect = HL_E_ARG},
};
const hl_op hl_op_embedding_int8 = {
    .name = "embedding_int8",
    .doc = "rows of the table [V, D] at 0-based ids, where the table holds codes of a symmetric "
           "quantizer with one scale or one for each row",
    .ins = "scales table ids",
    .outs = "y",
    .flags = HL_OP_NO_LUA | HL_OP_MIXED,
    .shape = shape_embedding_int8,
    .ref = ref_embedding_int8,
    .cpu = cpu_embedding_int8,
    .gpu = gpu_embedding_int8,
    HL_CASES(cases_embedding_int8)};
