/* A linear layer in integers (spec: quantization 12.2): activations on the grid of a quantizer, as
 * numbers or as their codes, weights that are bytes already; sums are exact, and only what follows
 * them is float.
 *
 * DESIGN. A task is a block of rows times a part of the columns, whose packed weights stay in the
 * second cache while a worker goes through its blocks of rows; sums go from the product straight
 * into what follows. Numbers become codes once, before all tasks. */
#include "engine/base/mem.h"
#include "engine/ops/op_common.h"
#include "engine/pass/quantize.h"
#include "engine/quant/int8_gemm.h"

enum { BITS, IS_F64, ACT, Y_BITS, Y_SCHEME, Y_IS_F64, SCHEME, W_UNSIGNED, Y_CODES, PACKED };
enum { X, RANGE, W, SCALES, BIAS, Y_RANGE };
enum { ROWS = 168, COLUMNS = HL_INT8_PART }; /* of a task, at most */

static hl_status check_operands(hl_call *c)
{
    const hl_type *x = &c->in[X], *w = &c->in[W], *s = &c->in[SCALES];
    if (x->dim[x->rank - 1] != w->dim[1])
        return hl_err_set(HL_E_SHAPE, "x has %lld features, the weights take %lld",
                          (long long)x->dim[x->rank - 1], (long long)w->dim[1]);
    if (s->rank != 1 || (s->dim[0] != 1 && s->dim[0] != w->dim[0]))
        return hl_err_set(HL_E_SHAPE, "the weights have one scale or %lld", (long long)w->dim[0]);
    if (hl_has_input(c, BIAS) && (c->in[BIAS].rank != 1 || c->in[BIAS].dim[0] != w->dim[0]))
        return hl_err_set(HL_E_SHAPE, "the bias must have %lld elements", (long long)w->dim[0]);
    if (c->attrs.v[Y_CODES].i && (!hl_has_input(c, Y_RANGE) || c->attrs.v[Y_BITS].i > 8))
        return hl_err_set(HL_E_ARG, "codes of the result need its range and at most 8 bits");
    return HL_OK;
}

static hl_status shape_linear_int8(hl_call *c)
{
    const hl_type *x = &c->in[X];
    hl_status st = x->dtype == HL_DTYPE_U8 ? HL_OK : hl_want_float(c, X);
    if (st == HL_OK)
        st = hl_want_rank(c, X, 1, HL_MAX_RANK);
    if (st == HL_OK)
        st = hl_want_range(c, RANGE);
    if (st == HL_OK && hl_has_input(c, Y_RANGE))
        st = hl_want_range(c, Y_RANGE);
    if (st == HL_OK)
        st = hl_want_dtype(c, W, HL_DTYPE_I8);
    if (st == HL_OK)
        st = hl_want_rank(c, W, 2, 2);
    if (st == HL_OK)
        st = hl_want_float(c, SCALES);
    if (st == HL_OK)
        st = check_operands(c);
    if (st != HL_OK)
        return st;
    hl_out_like(c, 0, X);
    c->out[0].dim[x->rank - 1] = c->in[W].dim[0];
    c->out[0].dtype = c->attrs.v[Y_CODES].i ? HL_DTYPE_U8 : c->in[SCALES].dtype;
    return HL_OK;
}

typedef struct int8_state {
    hl_quantizer q, q_y;   /* of x, and of the result */
    int64_t n, k, n_parts; /* of COLUMNS columns, the last of what is left */
    hl_int8_weights *part; /* of `packed`, or of what the leaf holds */
    void *packed;          /* made by the first run on the CPU; NULL: it comes packed */
    bool is_packed;
    int32_t *shift; /* [n], behind the product; of the range of this run, as is scale */
    float *scale;
    float *narrow; /* of fp64 programs: x as floats */
} int8_state;

static void release_int8(void *state)
{
    int8_state *s = state;
    if (!s)
        return;
    hl_quantizer_done(&s->q);
    hl_quantizer_done(&s->q_y);
    hl_free(s->part);
    hl_free(s->packed);
    hl_free(s->shift);
    hl_free(s->scale);
    hl_free(s->narrow);
    hl_free(s);
}

/* packed NULL: sizes only. */
static hl_status find_parts(int8_state *s, const void *packed)
{
    hl_status st = HL_OK;
    for (int64_t i = 0; i < s->n_parts && st == HL_OK; i++)
        st = hl_int8_weights_borrow(&s->part[i], s->n, s->k, i * COLUMNS, packed);
    return st;
}

/* Weights are constant: those that do not come packed are packed at the first run. */
static hl_status prepare_int8(const hl_call *c, bool fp64, int n_workers, void **state)
{
    hl_status st = HL_OK;
    const hl_attr *v = c->attrs.v;
    const hl_quant_options o = {(hl_quant_scheme)v[SCHEME].i, (int)v[BITS].i, 1, false};
    const hl_quant_options y = {(hl_quant_scheme)v[Y_SCHEME].i, (int)v[Y_BITS].i, 1, false};
    int8_state *s = hl_alloc_zero(1, sizeof *s);
    (void)n_workers;
    if (!s)
        return HL_E_NOMEM;
    s->n = c->in[W].dim[0];
    s->k = c->in[W].dim[1];
    s->n_parts = (s->n + COLUMNS - 1) / COLUMNS;
    s->part = hl_alloc_zero((size_t)s->n_parts + 1, sizeof *s->part);
    s->shift = hl_alloc_zero((size_t)s->n + 1, sizeof *s->shift);
    s->scale = hl_alloc_zero((size_t)s->n + 1, sizeof *s->scale);
    if (!s->part || !s->shift || !s->scale)
        HL_TRY(HL_E_NOMEM);
    HL_TRY(hl_quantizer_init(&s->q, &o));
    HL_TRY(hl_quantizer_init(&s->q_y, &y));
    HL_TRY(find_parts(s, NULL));
    if (fp64 && !(s->narrow = hl_alloc(((size_t)hl_type_count(&c->in[X]) + 1) * sizeof(float))))
        st = HL_E_NOMEM;
out:
    if (st == HL_OK)
        *state = s;
    else
        release_int8(s);
    return st;
}

typedef struct int8_job {
    const hl_op_run *r;
    const int8_state *s;
    int64_t m, rows, n_blocks;  /* rows of a block, and how many there are */
    const uint8_t *codes;       /* [m,k] of x */
    hl_quant_grid grid, grid_y; /* of codes from 0 on; of the result or its codes */
    unsigned char *scratch;
    size_t each; /* bytes of scratch per worker, behind codes */
} int8_job;

static size_t codes_bytes(const hl_call *c)
{
    return c->in[X].dtype == HL_DTYPE_U8 ? 0 : hl_align64((size_t)hl_type_count(&c->in[X]));
}

static size_t scratch_each(const hl_call *c)
{
    const int8_state *s = c->state;
    return hl_align64(ROWS * COLUMNS * sizeof(int32_t)) + hl_align64(ROWS * sizeof(int32_t)) +
           hl_align64(s && s->n_parts ? hl_int8_scratch_bytes(&s->part[0], 1) : 0);
}

static size_t scratch_int8(const hl_call *c, int n_workers)
{
    return codes_bytes(c) + (size_t)n_workers * scratch_each(c);
}

/* Weights from 0 to 255 are kept 128 lower: what that takes from each row's sums. */
static void make_up(const int8_job *j, const uint8_t *codes, int64_t rows, int32_t *shift)
{
    const int64_t k = j->s->k;
    for (int64_t i = 0; i < rows; i++) {
        int32_t sum = 0;
        for (int64_t e = 0; e < k; e++)
            sum += codes[i * k + e];
        shift[i] = 128 * (sum - (int32_t)k * (int32_t)j->grid.zero);
    }
}

static void int8_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const int8_job *j = arg;
    const int8_state *s = j->s;
    const hl_call *c = j->r->call;
    int32_t *acc = (void *)(j->scratch + j->each * (size_t)worker),
            *row_shift = acc + ROWS * COLUMNS;
    void *own = (unsigned char *)row_shift + hl_align64(ROWS * sizeof *acc);
    for (int64_t i = begin; i < end; i++) {
        const int64_t part = i / j->n_blocks, first = i % j->n_blocks * j->rows,
                      at = part * COLUMNS;
        const int64_t rows = j->m - first < j->rows ? j->m - first : j->rows;
        const int64_t to = first * s->n + at;
        const uint8_t *codes = j->codes + first * s->k;
        hl_int8_gemm(NULL, &s->part[part], rows, codes, acc, own);
        if (c->attrs.v[W_UNSIGNED].i)
            make_up(j, codes, rows, row_shift);
        const hl_int8_finish f = {.m = rows,
                                  .n = s->part[part].n,
                                  .acc = acc,
                                  .acc_row = s->part[part].n,
                                  .row_shift = c->attrs.v[W_UNSIGNED].i ? row_shift : NULL,
                                  .col_shift = s->shift + at,
                                  .scale = s->scale + at,
                                  .bias = hl_has_input(c, BIAS) ? hl_in_f(j->r, BIAS) + at : NULL,
                                  .act = (hl_act)c->attrs.v[ACT].i,
                                  .grid = hl_has_input(c, Y_RANGE) ? &j->grid_y : NULL,
                                  .y = c->attrs.v[Y_CODES].i ? NULL : hl_out_f(j->r, 0) + to,
                                  .codes = (uint8_t *)j->r->out[0] + to,
                                  .y_row = s->n};
        hl_cpu()->int8_finish(&f);
    }
}

static hl_status take_operands(const hl_op_run *r)
{
    int8_state *s = r->call->state;
    hl_status st = HL_OK;
    if (!s->is_packed) {
        if (!r->call->attrs.v[PACKED].i) {
            s->packed = hl_alloc(hl_int8_weights_bytes(s->n, s->k) + 1);
            if (!s->packed)
                return HL_E_NOMEM;
            hl_int8_weights_pack(s->n, s->k, r->in[W], s->packed);
        }
        HL_TRY(find_parts(s, s->packed ? s->packed : r->in[W]));
        s->is_packed = true;
    }
    HL_TRY(hl_quantizer_take_state(&s->q, r->in[RANGE], r->call->attrs.v[IS_F64].i));
    if (hl_has_input(r->call, Y_RANGE))
        st = hl_quantizer_take_state(&s->q_y, r->in[Y_RANGE], r->call->attrs.v[Y_IS_F64].i);
out:
    return st;
}

static hl_quant_grid grid_of_result(const hl_call *c)
{
    const int8_state *s = c->state;
    if (!hl_has_input(c, Y_RANGE))
        return (hl_quant_grid){0};
    return c->attrs.v[Y_CODES].i ? hl_quantizer_bytes(&s->q_y) : hl_quantizer_grid(&s->q_y, 0);
}

static void set_shift_and_scale(const hl_op_run *r, int8_state *s, hl_quant_grid g)
{
    const float *scales = r->in[SCALES];
    const bool per_row = r->call->in[SCALES].dim[0] > 1;
    for (int64_t i = 0; i < s->n; i++) {
        s->shift[i] = -(int32_t)g.zero * s->part[i / COLUMNS].sums[i % COLUMNS];
        s->scale[i] = g.scale * scales[per_row ? i : 0];
    }
}

/* NaN has no code: a row that has one gives nothing else, as it does where numbers are floats. What
 * is infinite takes the outermost code. */
static void spoil_rows(const hl_op_run *r, int64_t m)
{
    const int8_state *s = r->call->state;
    for (int64_t i = 0; i < m; i++) {
        float least, most, *y = hl_out_f(r, 0) + i * s->n;
        hl_cpu()->min_max(s->k, hl_in_f(r, X) + i * s->k, &least, &most);
        for (int64_t o = isnan(least) ? 0 : s->n; o < s->n; o++)
            y[o] = NAN;
    }
}

/* Blocks of rows as even as can be, and enough of them for all workers where parts of columns are
 * not. */
static void cut_rows(const hl_exec *x, int8_job *j)
{
    const int64_t n_workers = x->team ? x->team->n : 1, n_parts = j->s->n_parts;
    const int64_t wanted = (n_workers + n_parts - 1) / n_parts, most = (j->m + 7) / 8;
    j->n_blocks = (j->m + ROWS - 1) / ROWS;
    if (j->n_blocks < wanted)
        j->n_blocks = wanted < most ? wanted : most;
    j->rows = (j->m + j->n_blocks - 1) / j->n_blocks;
    j->n_blocks = (j->m + j->rows - 1) / j->rows;
}

static hl_status cpu_linear_int8(const hl_op_run *r)
{
    const hl_call *c = r->call;
    int8_state *s = c->state;
    hl_status st = take_operands(r);
    if (st != HL_OK)
        return st;
    int8_job j = {.r = r,
                  .s = s,
                  .m = hl_type_rows(&c->in[X], c->in[X].rank - 1),
                  .grid = hl_quantizer_bytes(&s->q),
                  .grid_y = grid_of_result(c),
                  .codes = r->scratch,
                  .scratch = (unsigned char *)r->scratch + codes_bytes(c),
                  .each = scratch_each(c)};
    if (j.m == 0 || s->n == 0)
        return HL_OK;
    set_shift_and_scale(r, s, j.grid);
    if (c->in[X].dtype == HL_DTYPE_U8)
        j.codes = r->in[X];
    else
        st = hl_encode_bytes(r->exec, j.grid, j.m * s->k, hl_in_f(r, X), r->scratch);
    const bool is_spoiled = st == HL_E_NUMERIC && !c->attrs.v[Y_CODES].i;
    if (st != HL_OK && !is_spoiled)
        return st;
    cut_rows(r->exec, &j);
    hl_parallel(r->exec, j.n_blocks * s->n_parts, 1, 1, int8_part, &j);
    if (is_spoiled)
        spoil_rows(r, j.m);
    return HL_OK;
}

/* --- on a device: weights come as they are; x as codes less 128, sums of some rows at a time --- */

enum { GPU_SUMS = 16 << 20 }; /* that are kept at once, at most */

typedef struct gpu_job {
    int64_t m, n, k, row, rows; /* bytes of a row of codes; rows at a time */
    int8_t *codes;
    int32_t *acc, *col_shift, *row_shift, *spoiled;
    float *scale;
    size_t bytes;
} gpu_job;

static gpu_job gpu_lay_out(const hl_call *c, unsigned char *base)
{
    gpu_job j = {.m = hl_type_rows(&c->in[X], c->in[X].rank - 1),
                 .n = c->in[W].dim[0],
                 .k = c->in[W].dim[1]};
    j.row = (j.k + 15) / 16 * 16;
    j.rows = j.n && GPU_SUMS / j.n < j.m ? GPU_SUMS / j.n + 1 : j.m;
    const size_t each[6] = {(size_t)(j.rows * j.row), (size_t)(j.rows * j.n) * sizeof(int32_t),
                            (size_t)j.n * sizeof(int32_t), (size_t)j.rows * sizeof(int32_t),
                            (size_t)j.rows * sizeof(int32_t), (size_t)j.n * sizeof(float)};
    void *at[6];
    for (int i = 0; i < 6; i++) {
        at[i] = base ? base + j.bytes : NULL;
        j.bytes += hl_align64(each[i]);
    }
    j.codes = at[0];
    j.acc = at[1];
    j.col_shift = at[2];
    j.row_shift = at[3];
    j.spoiled = at[4];
    j.scale = at[5];
    return j;
}

static size_t gpu_scratch_int8(const hl_call *c)
{
    return gpu_lay_out(c, NULL).bytes + 64;
}

static hl_gpu_quantizer x_there(const hl_op_run *r)
{
    const hl_attr *v = r->call->attrs.v;
    return hl_gpu_quantizer_of(r, RANGE,
                               (hl_quant_form){v[SCHEME].i == HL_QUANT_ASYMMETRIC, v[IS_F64].i,
                                               true, (int)v[BITS].i});
}

static hl_gpu_quantizer y_there(const hl_op_run *r)
{
    const hl_attr *v = r->call->attrs.v;
    return hl_gpu_quantizer_of(r, Y_RANGE,
                               (hl_quant_form){v[Y_SCHEME].i == HL_QUANT_ASYMMETRIC,
                                               v[Y_IS_F64].i, v[Y_CODES].i, (int)v[Y_BITS].i});
}

/* Rows [first, first + n) */
static void gpu_rows(const hl_op_run *r, const gpu_job *j, int64_t first, int64_t n)
{
    const hl_gpu_backend *b = hl_gpu_get();
    const hl_call *c = r->call;
    const bool from_codes = c->in[X].dtype == HL_DTYPE_U8, to_codes = c->attrs.v[Y_CODES].i;
    const hl_gpu_int8_rows rows = {
        .m = n,
        .k = j->k,
        .row = j->row,
        .x = from_codes ? NULL : hl_in_f(r, X) + first * j->k,
        .u = from_codes ? (const uint8_t *)r->in[X] + first * j->k : NULL,
        .of_x = x_there(r),
        .all_finite = to_codes,
        .codes = j->codes,
        .shift = c->attrs.v[W_UNSIGNED].i ? j->row_shift : NULL,
        .spoiled = from_codes || to_codes ? NULL : j->spoiled};
    const hl_gpu_int8_finish finish = {
        .f = {.m = n,
              .n = j->n,
              .acc = j->acc,
              .acc_row = j->n,
              .row_shift = rows.shift,
              .col_shift = j->col_shift,
              .scale = j->scale,
              .bias = hl_has_input(c, BIAS) ? hl_in_f(r, BIAS) : NULL,
              .act = (hl_act)c->attrs.v[ACT].i,
              .y = to_codes ? NULL : hl_out_f(r, 0) + first * j->n,
              .codes = to_codes ? (uint8_t *)r->out[0] + first * j->n : NULL,
              .y_row = j->n},
        .of_y = y_there(r),
        .spoiled = rows.spoiled};
    b->int8_rows(r->exec->gpu, &rows);
    b->int8_gemm(r->exec->gpu, n, j->n, j->k, j->codes, j->row, r->in[W], j->acc);
    b->int8_finish(r->exec->gpu, &finish);
}

static hl_status gpu_linear_int8(const hl_op_run *r)
{
    const hl_call *c = r->call;
    const gpu_job j = gpu_lay_out(c, r->scratch);
    if (c->attrs.v[PACKED].i)
        return hl_err_set(HL_E_UNSUPPORTED, "weights packed for the CPU do not run on a device");
    if (j.m == 0 || j.n == 0)
        return HL_OK;
    const hl_gpu_int8_columns columns = {.n = j.n,
                                         .k = j.k,
                                         .w = r->in[W],
                                         .scales = hl_in_f(r, SCALES),
                                         .per_row = c->in[SCALES].dim[0] > 1,
                                         .of_x = x_there(r),
                                         .shift = j.col_shift,
                                         .scale = j.scale};
    hl_gpu_get()->int8_columns(r->exec->gpu, &columns);
    for (int64_t first = 0; first < j.m; first += j.rows)
        gpu_rows(r, &j, first, j.m - first < j.rows ? j.m - first : j.rows);
    return HL_OK;
}

/* Codes of x from 0 on; NULL with a status. */
static hl_status ref_codes(const hl_op_run *r, hl_quant_grid g, uint8_t **out)
{
    const int8_state *s = r->call->state;
    const int64_t n = hl_type_count(&r->call->in[X]);
    const bool is_codes = r->call->in[X].dtype == HL_DTYPE_U8;
    for (int64_t i = 0; i < n && !is_codes; i++) {
        if (r->call->attrs.v[Y_CODES].i && !isfinite(hl_in_d(r, X)[i]))
            return hl_no_codes();
        s->narrow[i] = (float)hl_in_d(r, X)[i];
    }
    uint8_t *codes = *out = hl_alloc((size_t)n + 1);
    if (!codes)
        return HL_E_NOMEM;
    for (int64_t i = 0; i < n; i++)
        codes[i] = is_codes              ? ((const uint8_t *)r->in[X])[i]
                   : isnan(s->narrow[i]) ? 0
                                         : (uint8_t)hl_quant_encode(g, s->narrow[i]);
    return HL_OK;
}

static void put_ref(const hl_op_run *r, int64_t i, double y)
{
    const hl_call *c = r->call;
    const hl_quant_grid g = grid_of_result(c);
    if (c->attrs.v[Y_CODES].i)
        ((uint8_t *)r->out[0])[i] = (uint8_t)hl_quant_encode(g, (float)y);
    else
        hl_out_d(r, 0)[i] = hl_has_input(c, Y_RANGE) ? (double)hl_quant_apply(g, (float)y) : y;
}

static hl_status ref_linear_int8(const hl_op_run *r)
{
    hl_status st = take_operands(r);
    const int8_state *s = r->call->state;
    const hl_call *c = r->call;
    const hl_quant_grid g = hl_quantizer_bytes(&s->q);
    const int64_t m = hl_type_rows(&c->in[X], c->in[X].rank - 1), n = s->n, k = s->k;
    const int8_t *w = r->in[W];
    const double *scales = r->in[SCALES], *bias = c->n_in > BIAS ? r->in[BIAS] : NULL;
    const int offset = c->attrs.v[W_UNSIGNED].i ? 128 : 0;
    uint8_t *codes = NULL;
    if (st == HL_OK)
        st = ref_codes(r, g, &codes);
    if (st != HL_OK)
        return st;
    for (int64_t i = 0; i < m; i++)
        for (int64_t o = 0; o < n; o++) {
            int64_t acc = 0;
            bool is_nan = false;
            for (int64_t e = 0; e < k; e++) {
                acc += ((int64_t)codes[i * k + e] - (int64_t)g.zero) * (w[o * k + e] + offset);
                is_nan |= c->in[X].dtype != HL_DTYPE_U8 && isnan(s->narrow[i * k + e]);
            }
            const double y = (is_nan ? (double)NAN : (double)acc) *
                             ((double)g.scale * scales[c->in[SCALES].dim[0] > 1 ? o : 0]);
            put_ref(r, i * n + o, hl_act_f64((hl_act)c->attrs.v[ACT].i, y + (bias ? bias[o] : 0)));
        }
    hl_free(codes);
    return HL_OK;
}

static double flops_int8(const hl_call *c)
{
    return 2.0 * (double)hl_type_count(&c->in[X]) * (double)c->in[W].dim[0];
}

static const hl_case cases_linear_int8[] = {
    {.what = "bias",
     HL_INS(HL_NORMAL(9, 17), HL_RANGE_STATE(-2, 2), HL_CODES_I8(33, 17), HL_POSITIVE(1),
            HL_NORMAL(33))},
    {.what = "no bias, a scale for each row",
     HL_INS(HL_NORMAL(2, 5, 64), HL_RANGE_STATE(-2, 2), HL_CODES_I8(6, 64), HL_POSITIVE(6))},
    {.what = "gelu",
     HL_INS(HL_NORMAL(70, 40), HL_RANGE_STATE(-2, 2), HL_CODES_I8(40, 40), HL_POSITIVE(1),
            HL_NORMAL(40)),
     .attr = {8, 0, 1},
     .attr_given = 7},
    {.what = "relu, 4 bits",
     HL_INS(HL_NORMAL(7, 6), HL_RANGE_STATE(-2, 2), HL_CODES_I8(11, 6), HL_POSITIVE(1)),
     .attr = {4, 1, 3},
     .attr_given = 7},
    {.what = "blocks of rows",
     HL_INS(HL_NORMAL(131, 100), HL_RANGE_STATE(-2, 2), HL_CODES_I8(65, 100), HL_POSITIVE(65),
            HL_NORMAL(65))},
    {.what = "a vector",
     HL_INS(HL_NORMAL(12), HL_RANGE_STATE(-2, 2), HL_CODES_I8(5, 12), HL_POSITIVE(1))},
    {.what = "nothing",
     HL_INS(HL_NORMAL(0, 12), HL_RANGE_STATE(-2, 2), HL_CODES_I8(5, 12), HL_POSITIVE(1))},
    {.what = "quantized, relu",
     HL_INS(HL_NORMAL(70, 24), HL_RANGE_STATE(-2, 2), HL_CODES_I8(33, 24), HL_POSITIVE(1),
            HL_NORMAL(33), HL_RANGE_STATE(-3000, 3000)),
     .attr = {8, 0, 3, 4, 1, 0},
     .attr_given = 63},
    {.what = "quantized, no bias",
     HL_INS(HL_NORMAL(3, 24), HL_RANGE_STATE(-2, 2), HL_CODES_I8(9, 24), HL_POSITIVE(9), HL_ABSENT,
            HL_RANGE_STATE(-3000, 3000)),
     .attr = {8, 0, 0, 4, 0, 1},
     .attr_given = 63},
    {.what = "parts of columns, symmetric, weights from 0 on",
     HL_INS(HL_NORMAL(5, 30), HL_RANGE_STATE(-2, 2), HL_CODES_I8(300, 30), HL_POSITIVE(300),
            HL_NORMAL(300)),
     .attr = {8, 0, 0, 8, 1, 0, 0, 1},
     .attr_given = 255},
    {.what = "codes to codes, relu",
     HL_INS(HL_CODES_U8(175, 24), HL_RANGE_STATE(-2, 2), HL_CODES_I8(33, 24), HL_POSITIVE(1),
            HL_NORMAL(33), HL_RANGE_STATE(-3000, 3000)),
     .attr = {8, 0, 3, 4, 1, 0, 1, 0, 1},
     .attr_given = 511},
    {.what = "codes to numbers",
     HL_INS(HL_CODES_U8(6, 13), HL_RANGE_STATE(-2, 2), HL_CODES_I8(9, 13), HL_POSITIVE(9))},
    {.what = "numbers to codes, symmetric",
     HL_INS(HL_NORMAL(6, 12), HL_RANGE_STATE(-2, 2), HL_CODES_I8(9, 12), HL_POSITIVE(9), HL_ABSENT,
            HL_RANGE_STATE(-3000, 3000)),
     .attr = {8, 0, 0, 4, 0, 0, 1, 0, 1},
     .attr_given = 511},
    {.what = "codes without a range",
     HL_INS(HL_NORMAL(9, 17), HL_RANGE_STATE(-2, 2), HL_CODES_I8(33, 17), HL_POSITIVE(1)),
     .attr = {8, 0, 0, 8, 1, 0, 1, 0, 1},
     .attr_given = 511,
     .expect = HL_E_ARG},
    {.what = "features differ",
     HL_INS(HL_NORMAL(9, 17), HL_RANGE_STATE(-2, 2), HL_CODES_I8(33, 16), HL_POSITIVE(1)),
     .expect = HL_E_SHAPE},
    {.what = "scales of other rows",
     HL_INS(HL_NORMAL(9, 17), HL_RANGE_STATE(-2, 2), HL_CODES_I8(33, 17), HL_POSITIVE(2)),
     .expect = HL_E_SHAPE},
    {.what = "weights of floats",
     HL_INS(HL_NORMAL(9, 17), HL_RANGE_STATE(-2, 2), HL_NORMAL(33, 17), HL_POSITIVE(1)),
     .expect = HL_E_DTYPE},
    {.what = "9 bits",
     HL_INS(HL_NORMAL(9, 17), HL_RANGE_STATE(-2, 2), HL_CODES_I8(33, 17), HL_POSITIVE(1)),
     .attr = {9},
     .attr_given = 1,
     .expect = HL_E_ARG},
};
const hl_op hl_op_linear_int8 = {
    .name = "linear_int8",
    .doc =
        "act(x w^T + b) where x is on the grid of the quantizer whose `range` {7} is given, or u8 "
        "codes of it counted from 0, and w [out, in] are codes of a symmetric one with one scale "
        "or "
        "one for each row (w_unsigned: 128 lower than the codes): sums of products of codes are "
        "exact, "
        "float begins behind them. With y_range {7}, the result on the grid of that quantizer, or, "
        "with y_codes, u8 codes of it counted from 0. packed: w is as hl_int8_weights_pack leaves "
        "it (not in fp64)",
    .ins = "x range w scales b? y_range?",
    .outs = "y",
    .attr = {{"bits", HL_ATTR_INT, 8, 2, 8, NULL},
             {"f64", HL_ATTR_BOOL, 0, 0, 0, NULL},
             {"act", HL_ATTR_ENUM, 0, 0, 0, hl_act_names},
             {"y_bits", HL_ATTR_INT, 8, 2, 16, NULL},
             {"y_scheme", HL_ATTR_ENUM, 1, 0, 0, hl_quant_scheme_names},
             {"y_f64", HL_ATTR_BOOL, 0, 0, 0, NULL},
             {"scheme", HL_ATTR_ENUM, 1, 0, 0, hl_quant_scheme_names},
             {"w_unsigned", HL_ATTR_BOOL, 0, 0, 0, NULL},
             {"y_codes", HL_ATTR_BOOL, 0, 0, 0, NULL},
             {"packed", HL_ATTR_BOOL, 0, 0, 0, NULL}},
    .flags = HL_OP_NO_LUA | HL_OP_MIXED,
    .shape = shape_linear_int8,
    .ref = ref_linear_int8,
    .cpu = cpu_linear_int8,
    .gpu = gpu_linear_int8,
    .gpu_scratch = gpu_scratch_int8,
    .scratch = scratch_int8,
    .prepare = prepare_int8,
    .release = release_int8,
    .flops = flops_int8,
    HL_CASES(cases_linear_int8),
    .tol = 64};

/* --- rescale: the same where the sums are floats --- */

enum { OF_X = 1, OF_W };

/* From sums of products of codes, less the zero point, to numbers. */
typedef struct rescaling {
    int64_t n;
    float s_x;
    const float *scales, *bias; /* of the weights, [1] or [n]; [n] or NULL */
    bool per_row;
} rescaling;

static void rescale(const rescaling *k, float *y)
{
    hl_cpu()->rescale(k->n, k->s_x, k->scales, k->per_row, k->bias, y);
}

static rescaling rescaling_of(const hl_op_run *r, int scales, const hl_quantizer *of_x, int64_t n)
{
    const hl_call *c = r->call;
    return (rescaling){.n = n,
                       .s_x = of_x->scale[0],
                       .scales = r->in[scales],
                       .bias = c->n_in > scales + 1 ? r->in[scales + 1] : NULL,
                       .per_row = c->in[scales].dim[0] > 1};
}

/* One number of its reference. */
static double rescaled(const hl_op_run *r, int scales, const hl_quantizer *of_x, double y,
                       int64_t o)
{
    const hl_call *c = r->call;
    const double *s = r->in[scales], *bias = c->n_in > scales + 1 ? r->in[scales + 1] : NULL;
    return y * ((double)of_x->scale[0] * s[c->in[scales].dim[0] > 1 ? o : 0]) +
           (bias ? bias[o] : 0);
}

static hl_status shape_rescale(hl_call *c)
{
    hl_status st = hl_want_float(c, X);
    if (st == HL_OK)
        st = hl_want_rank(c, X, 1, HL_MAX_RANK);
    if (st == HL_OK)
        st = hl_want_range(c, OF_X);
    if (st != HL_OK)
        return st;
    const int64_t n = c->in[X].dim[c->in[X].rank - 1];
    if (c->in[OF_W].rank != 1 || (c->in[OF_W].dim[0] != 1 && c->in[OF_W].dim[0] != n))
        return hl_err_set(HL_E_SHAPE, "the weights have one scale or %lld", (long long)n);
    if (hl_has_input(c, OF_W + 1) && (c->in[OF_W + 1].rank != 1 || c->in[OF_W + 1].dim[0] != n))
        return hl_err_set(HL_E_SHAPE, "the bias must have %lld elements", (long long)n);
    hl_out_like(c, 0, X);
    return HL_OK;
}

static hl_status prepare_rescale(const hl_call *c, bool fp64, int n_workers, void **state)
{
    (void)fp64;
    (void)n_workers;
    const hl_quant_options o = {HL_QUANT_ASYMMETRIC, (int)c->attrs.v[BITS].i, 1, false};
    hl_quantizer *q = hl_alloc_zero(1, sizeof *q);
    hl_status st = q ? hl_quantizer_init(q, &o) : HL_E_NOMEM;
    if (st == HL_OK)
        *state = q;
    else
        hl_free(q);
    return st;
}

static void release_rescale(void *state)
{
    if (state)
        hl_quantizer_done(state);
    hl_free(state);
}

typedef struct rescale_job {
    rescaling k;
    const float *x;
    float *y;
} rescale_job;

static void rescale_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    const rescale_job *j = arg;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        float *y = j->y + i * j->k.n;
        if (y != j->x + i * j->k.n)
            memcpy(y, j->x + i * j->k.n, (size_t)j->k.n * sizeof *y);
        rescale(&j->k, y);
    }
}

static hl_status cpu_rescale(const hl_op_run *r)
{
    hl_quantizer *q = r->call->state;
    const hl_type *t = &r->call->in[X];
    const int64_t n = t->dim[t->rank - 1];
    hl_status st = hl_quantizer_take_state(q, r->in[OF_X], r->call->attrs.v[IS_F64].i);
    if (st != HL_OK)
        return st;
    rescale_job j = {rescaling_of(r, OF_W, q, n), hl_in_f(r, X), hl_out_f(r, 0)};
    hl_parallel(r->exec, hl_type_rows(t, t->rank - 1), 1, HL_GRAIN / (n + 1) + 1, rescale_rows, &j);
    return HL_OK;
}

static hl_status gpu_rescale(const hl_op_run *r)
{
    const hl_call *c = r->call;
    const hl_type *t = &c->in[X];
    const hl_gpu_quantizer q = hl_gpu_quantizer_of(
        r, OF_X, (hl_quant_form){true, c->attrs.v[IS_F64].i, false, (int)c->attrs.v[BITS].i});
    hl_gpu_get()->rescale(r->exec->gpu, &q, hl_type_rows(t, t->rank - 1), t->dim[t->rank - 1],
                          hl_in_f(r, OF_W), c->in[OF_W].dim[0] > 1,
                          hl_has_input(c, OF_W + 1) ? hl_in_f(r, OF_W + 1) : NULL, hl_in_f(r, X),
                          hl_out_f(r, 0));
    return HL_OK;
}

static hl_status ref_rescale(const hl_op_run *r)
{
    hl_quantizer *q = r->call->state;
    const hl_type *t = &r->call->in[X];
    hl_status st = hl_quantizer_take_state(q, r->in[OF_X], r->call->attrs.v[IS_F64].i);
    for (int64_t i = 0; st == HL_OK && i < hl_type_count(t); i++)
        hl_out_d(r, 0)[i] = rescaled(r, OF_W, q, hl_in_d(r, X)[i], i % t->dim[t->rank - 1]);
    return st;
}

static const hl_case cases_rescale[] = {
    {.what = "one scale", HL_INS(HL_NORMAL(9, 33), HL_RANGE_STATE(-2, 2), HL_POSITIVE(1))},
    {.what = "a scale for each, bias",
     HL_INS(HL_NORMAL(2, 5, 600), HL_RANGE_STATE(-2, 2), HL_POSITIVE(600), HL_NORMAL(600)),
     .attr = {4, 1},
     .attr_given = 3},
    {.what = "scales of other columns",
     HL_INS(HL_NORMAL(9, 17), HL_RANGE_STATE(-2, 2), HL_POSITIVE(2)),
     .expect = HL_E_SHAPE},
};
const hl_op hl_op_rescale = {
    .name = "rescale",
    .doc = "x s_x s_w + b: from products of codes, less the zero point, to numbers, as linear_int8 "
           "does it: s_x is the scale of the asymmetric quantizer whose `range` {7} is given, s_w "
           "one scale or one for each column",
    .ins = "x range scales b?",
    .outs = "y",
    .attr = {{"bits", HL_ATTR_INT, 8, 2, 8, NULL}, {"f64", HL_ATTR_BOOL, 0, 0, 0, NULL}},
    .flags = HL_OP_NO_LUA | HL_OP_MIXED,
    .shape = shape_rescale,
    .ref = ref_rescale,
    .cpu = cpu_rescale,
    .gpu = gpu_rescale,
    .prepare = prepare_rescale,
    .release = release_rescale,
    .inplace = 1,
    HL_CASES(cases_rescale),
    .tol = 64};
