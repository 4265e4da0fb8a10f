/* Several elementwise operations in one pass over memory: the body is evaluated in blocks that stay
 * in the nearest cache. The same operations on the same numbers as apart: the same bits. Appended
 * by engine/pass/fuse_ew.c. */
#include "engine/base/mem.h"
#include "engine/graph/body.h"
#include "engine/ops/op_common.h"

enum { BLOCK = 1024, N_OPERANDS = 3 };

/* Where an operand comes from. */
typedef enum source { FULL = HL_GPU_FULL, ONE = HL_GPU_ONE, NUMBER = HL_GPU_NUMBER, REGISTER = HL_GPU_REGISTER } source;

typedef struct operand {
    source from;
    int at; /* FULL, ONE: input; NUMBER: index into numbers; REGISTER */
} operand;

typedef struct instruction {
    const hl_op *op;
    int row;          /* hl_ew_row */
    hl_ew2_form form; /* of two operands */
    int n_in, to;     /* register, or -1: the result */
    operand in[N_OPERANDS];
} instruction;

typedef struct plan {
    int n, n_registers, n_numbers;
    instruction *code;
    float *numbers; /* constants, as floats and as doubles */
    double *numbers_f64;
} plan;

/* --- preparing --- */

static void free_plan(void *state)
{
    plan *p = state;
    if (!p)
        return;
    hl_free(p->code);
    hl_free(p->numbers);
    hl_free(p->numbers_f64);
    hl_free(p);
}

static int input_of(const hl_body *b, hl_id v)
{
    for (int i = 0; i < b->n_in; i++)
        if (b->in[i] == v)
            return i;
    return -1;
}

static operand operand_of(const hl_body *b, hl_id v, const int *reg, plan *p)
{
    const hl_value *x = hl_graph_value(b->g, v);
    if (x->kind == HL_VALUE_NODE)
        return (operand){REGISTER, reg[v]};
    if (x->kind == HL_VALUE_CONST) {
        p->numbers[p->n_numbers] = (float)x->constant;
        p->numbers_f64[p->n_numbers] = x->constant;
        return (operand){NUMBER, p->n_numbers++};
    }
    const bool whole = hl_type_count(&x->type) == hl_type_count(hl_graph_type(b->g, b->out[0]));
    return (operand){whole ? FULL : ONE, input_of(b, v)};
}

/* Is it one number, not one per element? */
static bool is_single(operand o)
{
    return o.from == ONE || o.from == NUMBER;
}

static hl_ew2_form form_of(const instruction *x)
{
    return is_single(x->in[1]) ? HL_EW2_VS : is_single(x->in[0]) ? HL_EW2_SV : HL_EW2_VV;
}

/* Registers by the last use of what they hold. */
static void assign(const hl_body *b, plan *p, int *reg, int *last, bool *busy)
{
    for (size_t k = 0; k < b->g->nodes.n; k++)
        for (int i = 0; i < b->g->nodes.at[k].n_in; i++)
            last[b->g->nodes.at[k].in[i]] = (int)k;
    for (size_t k = 0; k < b->g->nodes.n; k++) {
        const hl_node *n = &b->g->nodes.at[k];
        instruction *x = &p->code[p->n++];
        *x = (instruction){.op = n->op, .row = hl_ew_row(n->op), .n_in = n->n_in, .to = -1};
        for (int i = 0; i < n->n_in; i++)
            x->in[i] = operand_of(b, n->in[i], reg, p);
        x->form = form_of(x);
        for (int i = 0; i < n->n_in; i++)
            if (x->in[i].from == REGISTER && last[n->in[i]] == (int)k)
                busy[x->in[i].at] = false;
        if (n->out0 == b->out[0])
            continue;
        int r = 0;
        while (busy[r])
            r++;
        busy[r] = true;
        x->to = reg[n->out0] = r;
        p->n_registers = r + 1 > p->n_registers ? r + 1 : p->n_registers;
    }
}

static hl_status prepare_fused(const hl_call *c, bool fp64, int n_workers, void **state)
{
    (void)fp64;
    (void)n_workers;
    hl_status st = HL_OK;
    const hl_body *b = c->body;
    const size_t n = b->g->nodes.n, n_values = b->g->values.n + 1;
    plan *p = hl_alloc_zero(1, sizeof *p);
    int *reg = hl_alloc_zero(n_values, sizeof *reg), *last = hl_alloc_zero(n_values, sizeof *last);
    bool *busy = hl_alloc_zero(n + 1, sizeof *busy);
    if (p) {
        p->code = hl_alloc((n + 1) * sizeof *p->code);
        p->numbers = hl_alloc((N_OPERANDS * n + 1) * sizeof *p->numbers);
        p->numbers_f64 = hl_alloc((N_OPERANDS * n + 1) * sizeof *p->numbers_f64);
    }
    if (!p || !reg || !last || !busy || !p->code || !p->numbers || !p->numbers_f64) {
        st = HL_E_NOMEM;
        free_plan(p);
        goto out;
    }
    assign(b, p, reg, last, busy);
    *state = p;
out:
    hl_free(reg);
    hl_free(last);
    hl_free(busy);
    return st;
}

/* --- shapes --- */

static hl_status shape_fused(hl_call *c)
{
    if (!c->body || c->body->n_out != 1 || c->n_in != c->body->n_in)
        return hl_err_set(HL_E_ARG, "needs a body of one result with these inputs");
    for (size_t k = 0; k < c->body->g->nodes.n; k++)
        if (!hl_ew_is(c->body->g->nodes.at[k].op))
            return hl_err_set(HL_E_ARG, "%s is not elementwise", c->body->g->nodes.at[k].op->name);
    c->out[0] = *hl_graph_type(c->body->g, c->body->out[0]);
    if (c->n_in)
        c->out[0].dtype = c->in[0].dtype;
    c->n_out = 1;
    return HL_OK;
}

static size_t scratch_fused(const hl_call *c, int n_workers)
{
    const plan *p = c->state;
    return (size_t)p->n_registers * BLOCK * sizeof(double) * (size_t)n_workers + 64;
}

/* --- running --- */

typedef struct fused_job {
    const hl_op_run *r;
    const plan *p;
    bool doubles;
} fused_job;

static size_t size_of(const fused_job *j)
{
    return j->doubles ? sizeof(double) : sizeof(float);
}

static const void *find(const fused_job *j, operand o, int64_t at, unsigned char *registers)
{
    const unsigned char *in = o.from == FULL || o.from == ONE ? j->r->in[o.at] : NULL;
    switch (o.from) {
    case FULL:
        return in + (size_t)at * size_of(j);
    case ONE:
        return in;
    case NUMBER:
        return j->doubles ? (const void *)&j->p->numbers_f64[o.at] : &j->p->numbers[o.at];
    default:
        return registers + (size_t)o.at * BLOCK * sizeof(double);
    }
}

/* One operation on a block through its own reference. */
static hl_status run_reference(const instruction *x, int64_t n, const void *const *in, void *out)
{
    hl_type types[N_OPERANDS], result = hl_type_make(HL_DTYPE_F64, 1, &n);
    for (int i = 0; i < x->n_in; i++)
        types[i] = is_single(x->in[i]) ? hl_type_scalar(HL_DTYPE_F64) : result;
    const hl_call c = {.op = x->op,
                       .in = types,
                       .n_in = x->n_in,
                       .out = &result,
                       .n_out = 1,
                       .attrs = hl_op_defaults(x->op)};
    const hl_op_run r = {.call = &c, .in = in, .out = &out};
    return x->op->ref(&r);
}

static void run_kernel(const instruction *x, int64_t n, const void *const *in, void *out)
{
    if (x->n_in == 1)
        hl_cpu()->ew1((hl_ew1_id)x->row, n, in[0], out);
    else if (x->n_in == 2)
        hl_cpu()->ew2((hl_ew2_id)x->row, x->form, n, in[0], in[1], out);
    else
        hl_cpu()->select(n, in[0], in[1], in[2], out);
}

static void run_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const fused_job *j = arg;
    const plan *p = j->p;
    unsigned char *registers = (unsigned char *)j->r->scratch +
                               (size_t)worker * (size_t)p->n_registers * BLOCK * sizeof(double);
    for (int64_t at = begin; at < end; at += BLOCK) {
        const int64_t n = end - at < BLOCK ? end - at : BLOCK;
        for (int k = 0; k < p->n; k++) {
            const instruction *x = &p->code[k];
            const void *in[N_OPERANDS];
            for (int i = 0; i < x->n_in; i++)
                in[i] = find(j, x->in[i], at, registers);
            void *out = x->to < 0 ? (unsigned char *)j->r->out[0] + (size_t)at * size_of(j)
                                  : registers + (size_t)x->to * BLOCK * sizeof(double);
            if (j->doubles)
                HL_IGNORE(run_reference(x, n, in, out));
            else
                run_kernel(x, n, in, out);
        }
    }
}

static hl_status run(const hl_op_run *r, bool doubles)
{
    fused_job j = {.r = r, .p = r->call->state, .doubles = doubles};
    const int64_t n = hl_type_count(&r->call->out[0]);
    hl_parallel(r->exec, n, BLOCK, HL_GRAIN / (j.p->n + 1) + 1, run_part, &j);
    return HL_OK;
}

static hl_status cpu_fused(const hl_op_run *r)
{
    return run(r, r->call->in[0].dtype == HL_DTYPE_F64);
}

static hl_status gpu_fused(const hl_op_run *r)
{
    const plan *p = r->call->state;
    hl_gpu_code c = {.n = p->n};
    if (HL_NEVER(p->n > HL_GPU_CODE || r->call->n_in > HL_GPU_INPUTS || p->n_numbers > HL_GPU_NUMBERS ||
                 p->n_registers > HL_GPU_REGISTERS))
        return hl_err_set(HL_E_INTERNAL, "%d operations are too many for one pass", p->n);
    for (int k = 0; k < p->n; k++) {
        const instruction *x = &p->code[k];
        hl_gpu_instruction *y = &c.code[k];
        y->n_in = (uint8_t)x->n_in;
        y->row = (uint8_t)x->row;
        y->to = (int8_t)x->to;
        for (int i = 0; i < x->n_in; i++) {
            y->from[i] = (uint8_t)x->in[i].from;
            y->at[i] = (uint8_t)x->in[i].at;
        }
    }
    for (int i = 0; i < r->call->n_in; i++)
        c.in[i] = hl_in_f(r, i);
    memcpy(c.number, p->numbers, (size_t)p->n_numbers * sizeof *c.number);
    hl_gpu_get()->fused(r->exec->gpu, &c, hl_type_count(&r->call->out[0]), hl_out_f(r, 0));
    return HL_OK;
}

static hl_status ref_fused(const hl_op_run *r)
{
    return run(r, true);
}

static double flops_fused(const hl_call *c)
{
    return (double)hl_type_count(&c->out[0]) * (double)c->body->g->nodes.n;
}

static hl_id body_chain(hl_graph *g, const hl_id *leaf)
{
    hl_id r = hl_g_op1(g, HL_OP_ID_sigmoid, hl_g_sub(g, hl_g_scale(g, leaf[0], 4), leaf[2]));
    hl_id slope = hl_g_mul(g, r, hl_g_sub(g, hl_graph_const(g, 1), r));
    return hl_g_add(g, hl_g_mul(g, slope, leaf[1]), hl_g_mul(g, leaf[0], slope));
}

static hl_id body_choice(hl_graph *g, const hl_id *leaf)
{
    hl_id in[3] = {leaf[0], hl_g_op1(g, HL_OP_ID_square, leaf[1]),
                   hl_g_op1(g, HL_OP_ID_neg, leaf[1])};
    return hl_graph_append(g, hl_op_get(HL_OP_ID_where), in, 3, NULL);
}

static hl_id body_sum(hl_graph *g, const hl_id *leaf)
{
    return hl_g_sum(g, leaf[0], 0, false);
}

static const hl_case cases_fused[] = {
    {.what = "chain", HL_INS(HL_NORMAL(3, 5), HL_NORMAL(3, 5), HL_SCALAR(2)), .body = body_chain},
    {.what = "blocks",
     HL_INS(HL_NORMAL(67, 301), HL_NORMAL(67, 301), HL_SCALAR(2)),
     .body = body_chain},
    {.what = "choice", HL_INS(HL_MASK01(3, 700), HL_NORMAL(3, 700)), .body = body_choice},
    {.what = "not elementwise", HL_INS(HL_NORMAL(3, 5)), .body = body_sum, .expect = HL_E_ARG},
};

const hl_op hl_op_fused = {.name = "fused",
                           .doc = "the elementwise operations of the body in one pass",
                           .ins = "values*",
                           .outs = "y",
                           .flags = HL_OP_BODY | HL_OP_NO_LUA | HL_OP_ELEMENTWISE,
                           .shape = shape_fused,
                           .ref = ref_fused,
                           .cpu = cpu_fused,
                           .gpu = gpu_fused,
                           .scratch = scratch_fused,
                           .prepare = prepare_fused,
                           .release = free_plan,
                           .inplace = ~0u,
                           .flops = flops_fused,
                           HL_CASES(cases_fused),
                           .tol = 64,
                           .tol_abs = 1};
