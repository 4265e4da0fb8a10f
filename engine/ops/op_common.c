#include "engine/ops/op_common.h"

#include "engine/base/thread.h"
#include "engine/quant/range_state.h"

typedef struct part_job {
    int64_t n, unit;
    hl_part_fn body;
    void *arg;
} part_job;

static void run_part(void *arg, int worker, int n_workers)
{
    const part_job *j = arg;
    int64_t begin, end;
    hl_slice(j->n, j->unit, worker, n_workers, &begin, &end);
    if (begin < end)
        j->body(j->arg, begin, end, worker);
}

void hl_parallel(const hl_exec *x, int64_t n, int64_t unit, int64_t grain, hl_part_fn body,
                 void *arg)
{
    if (n <= 0)
        return;
    if (!x->team || x->team->n == 1 || n < 2 * grain) {
        body(arg, 0, n, 0);
        return;
    }
    part_job j = {.n = n, .unit = unit, .body = body, .arg = arg};
    x->team->run(x->team, run_part, &j);
}

void hl_clear(const hl_op_run *r, void *to, size_t bytes)
{
    if (r->exec->gpu)
        hl_gpu_get()->zero(r->exec->gpu, to, bytes);
    else if (bytes)
        memset(to, 0, bytes);
}

void hl_copy(const hl_op_run *r, void *to, const void *from, size_t bytes)
{
    if (r->exec->gpu)
        hl_gpu_get()->copy(r->exec->gpu, to, from, bytes);
    else if (bytes)
        memcpy(to, from, bytes);
}

const float *hl_gpu_alpha(const hl_op_run *r, int input)
{
    return hl_has_input(r->call, input) ? hl_in_f(r, input) : NULL;
}

hl_gpu_quantizer hl_gpu_quantizer_of(const hl_op_run *r, int i, hl_quant_form form)
{
    return (hl_gpu_quantizer){hl_has_input(r->call, i) ? r->in[i] : NULL, form};
}

int64_t hl_type_rows(const hl_type *t, int k)
{
    int64_t n = 1;
    for (int i = 0; i < k; i++)
        n *= t->dim[i];
    return n;
}

int64_t hl_type_cols(const hl_type *t, int k)
{
    int64_t n = 1;
    for (int i = k; i < t->rank; i++)
        n *= t->dim[i];
    return n;
}

hl_status hl_want_float(const hl_call *c, int input)
{
    hl_dtype d = c->in[input].dtype;
    if (d == HL_DTYPE_F32 || d == HL_DTYPE_F64 ||
        (d == HL_DTYPE_BF16 && hl_op_takes_bf16(c->op, input)))
        return HL_OK;
    char word[32];
    return hl_err_set(HL_E_DTYPE, "%s must be a float tensor, not %s",
                      hl_op_word(c->op->ins, input, word), hl_dtype_name(d));
}

hl_status hl_want_alike(const hl_call *c, int input, int j)
{
    char a[32], b[32];
    if ((c->in[input].dtype == HL_DTYPE_BF16) == (c->in[j].dtype == HL_DTYPE_BF16))
        return HL_OK;
    return hl_err_set(HL_E_DTYPE, "%s is %s and %s is %s: bf16 is taken for both or neither",
                      hl_op_word(c->op->ins, input, a), hl_dtype_name(c->in[input].dtype),
                      hl_op_word(c->op->ins, j, b), hl_dtype_name(c->in[j].dtype));
}

hl_status hl_want_dtype(const hl_call *c, int input, hl_dtype d)
{
    if (c->in[input].dtype == d)
        return HL_OK;
    char word[32];
    return hl_err_set(HL_E_DTYPE, "%s must be %s, not %s", hl_op_word(c->op->ins, input, word),
                      hl_dtype_name(d), hl_dtype_name(c->in[input].dtype));
}

hl_status hl_want_rank(const hl_call *c, int input, int least, int most)
{
    int r = c->in[input].rank;
    if (r >= least && r <= most)
        return HL_OK;
    char word[32];
    if (least == most)
        return hl_err_set(HL_E_SHAPE, "%s must have %d dimension%s, not %d",
                          hl_op_word(c->op->ins, input, word), least, least == 1 ? "" : "s", r);
    return hl_err_set(HL_E_SHAPE, "%s must have %d to %d dimensions, not %d",
                      hl_op_word(c->op->ins, input, word), least, most, r);
}

hl_philox_key hl_run_key(const hl_op_run *r)
{
    return hl_philox_key_make(r->exec->seed, r->exec->stream_base + r->call->stream,
                              r->exec->step);
}

bool hl_has_input(const hl_call *c, int input)
{
    return c->n_in > input && !hl_type_absent(&c->in[input]);
}

hl_status hl_want_range(const hl_call *c, int input)
{
    hl_status st = hl_want_dtype(c, input, HL_DTYPE_F64);
    if (st != HL_OK || (c->in[input].rank == 1 && c->in[input].dim[0] == HL_QUANT_RANGE_FIELDS))
        return st;
    return hl_err_set(HL_E_SHAPE, "a range is f64{%d}", HL_QUANT_RANGE_FIELDS);
}

hl_status hl_want_alpha(const hl_call *c, int input, int64_t base)
{
    if (base != HL_NORM_ENTMAX && hl_has_input(c, input))
        return hl_err_set(HL_E_ARG, "alpha belongs to the base entmax alone");
    if (base != HL_NORM_ENTMAX)
        return HL_OK;
    if (!hl_has_input(c, input))
        return hl_err_set(HL_E_ARG, "the base entmax needs alpha");
    const hl_dtype own = c->in[0].dtype == HL_DTYPE_BF16 ? HL_DTYPE_F32 : c->in[0].dtype;
    hl_status st = hl_want_dtype(c, input, own);
    if (st == HL_OK && hl_type_count(&c->in[input]) != 1)
        st = hl_err_set(HL_E_SHAPE, "alpha must have one element");
    return st;
}

double hl_alpha_f32(const hl_op_run *r, int input)
{
    return hl_has_input(r->call, input) ? (double)*hl_in_f(r, input) : 0;
}

double hl_alpha_f64(const hl_op_run *r, int input)
{
    return hl_has_input(r->call, input) ? *hl_in_d(r, input) : 0;
}

double hl_act_f64(hl_act act, double x)
{
    switch (act) {
    case HL_ACT_GELU:
        return 0.5 * x * (1 + erf(x * 0.70710678118654752));
    case HL_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
    case HL_ACT_RELU:
        return x < 0 ? 0 : x;
    default:
        return x;
    }
}

const char *const hl_normaliser_names[] = {"softmax", "softmax1", "entmax15", "sparsemax",
                                             "entmax",  NULL};
const char *const hl_act_names[] = {"none", "gelu", "gelu_tanh", "relu", NULL};
const char *const hl_quant_scheme_names[] = {"symmetric", "asymmetric", NULL};

typedef struct encode_job {
    hl_quant_grid g;
    const float *from;
    uint8_t *codes;
    hl_flag bad;
} encode_job;

static void encode_part(void *arg, int64_t begin, int64_t end, int worker)
{
    encode_job *j = arg;
    enum { PIECE = 4096 };
    (void)worker;
    for (int64_t i = begin; i < end; i += PIECE) {
        const int64_t n = end - i < PIECE ? end - i : PIECE;
        float least, most;
        hl_cpu()->min_max(n, j->from + i, &least, &most);
        if (!isfinite(least) || !isfinite(most))
            hl_flag_set(&j->bad, 1);
        hl_cpu()->quant_encode(j->g, HL_CODE_U8, n, j->from + i, j->codes + i);
    }
}

hl_status hl_encode_bytes(const hl_exec *x, hl_quant_grid g, int64_t n, const float *from,
                          uint8_t *codes)
{
    encode_job j = {.g = g, .from = from, .codes = codes};
    hl_parallel(x, n, 64, HL_GRAIN, encode_part, &j);
    return hl_flag_get(&j.bad) ? hl_no_codes() : HL_OK;
}

hl_status hl_no_codes(void)
{
    return hl_err_set(HL_E_NUMERIC, "numbers that are not finite have no codes");
}
