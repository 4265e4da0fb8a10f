/* Drawing inputs, recording and running cases. */
#include "tests/conform/conform.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/graph/body.h"
#include "kernels/vec/bf16_body.h"

hl_device *case_device;

#define EPS 5.9604644775390625e-8 /* 2^-24 */

bool is_float(const hl_type *t)
{
    return t->dtype == HL_DTYPE_F32 || t->dtype == HL_DTYPE_F64;
}

double case_noise(uint32_t stream, int64_t i)
{
    hl_rng r = hl_rng_make(42, HL_RNG_TEST, stream, 7);
    r.element = (uint64_t)i * 2;
    return hl_rng_normal(&r);
}

static double draw(const hl_case_input *in, hl_rng *r)
{
    switch (in->fill) {
    case HL_FILL_NORMAL:
        return hl_rng_normal(r);
    case HL_FILL_RANGE:
        return in->lo + (in->hi - in->lo) * hl_rng_unit(r);
    case HL_FILL_INDEX:
        if (in->lo < 0 && hl_rng_below(r, 3) == 0)
            return -100;
        return hl_rng_below(r, (uint32_t)in->hi);
    case HL_FILL_MASK:
        return hl_rng_below(r, 3) != 0;
    case HL_FILL_POSITIVE:
        return 0.1 + 1.9 * hl_rng_unit(r);
    default:
        return in->lo;
    }
}

static void fill_input(case_data *d, int i, uint32_t stream)
{
    const hl_case_input *in = &d->c->in[i];
    d->type[i] = hl_type_make(in->dtype, in->rank, in->dim);
    if (in->absent)
        return;
    const int64_t n = hl_type_count(&d->type[i]);
    hl_rng r = hl_rng_make(1234, HL_RNG_TEST, stream, (uint32_t)i);
    d->as_f32[i] = hl_block_new((size_t)n * 8 + 64);
    d->as_f64[i] = hl_block_new((size_t)n * 8 + 64);
    for (int64_t k = 0; k < n; k++) {
        double x = draw(in, &r);
        if (in->dtype == HL_DTYPE_F32) {
            ((float *)d->as_f32[i])[k] = (float)x;
            ((double *)d->as_f64[i])[k] = (double)(float)x;
        } else if (in->dtype == HL_DTYPE_F64) {
            ((double *)d->as_f32[i])[k] = ((double *)d->as_f64[i])[k] = x;
        } else if (in->dtype == HL_DTYPE_BF16) {
            ((hl_bf16 *)d->as_f32[i])[k] = ((hl_bf16 *)d->as_f64[i])[k] = hl_to_bf16((float)x);
        } else if (in->dtype == HL_DTYPE_I8) {
            ((int8_t *)d->as_f32[i])[k] = ((int8_t *)d->as_f64[i])[k] = (int8_t)lrint(x);
        } else if (in->dtype == HL_DTYPE_U8) {
            ((uint8_t *)d->as_f32[i])[k] = ((uint8_t *)d->as_f64[i])[k] = (uint8_t)lrint(x);
        } else if (in->dtype == HL_DTYPE_I32) {
            ((int32_t *)d->as_f32[i])[k] = ((int32_t *)d->as_f64[i])[k] = (int32_t)x;
        } else {
            ((uint8_t *)d->as_f32[i])[k] = ((uint8_t *)d->as_f64[i])[k] = x != 0;
        }
    }
}

/* A case of the table by its place there; others share one. */
static uint32_t stream_of(const hl_op *op, const hl_case *c)
{
    for (int i = 0; i < op->n_cases; i++)
        if (c == &op->cases[i])
            return (uint32_t)i;
    return 1u << 16;
}

void case_open(case_data *d, const hl_op *op, const hl_case *c)
{
    *d = (case_data){.op = op, .c = c, .attrs = hl_op_defaults(op)};
    for (int i = 0; i < HL_MAX_ATTR && op->attr[i].kind != HL_ATTR_END; i++) {
        if (!(c->attr_given >> i & 1))
            continue;
        if (op->attr[i].kind == HL_ATTR_REAL)
            d->attrs.v[i].f = c->attr[i];
        else
            d->attrs.v[i].i = (int64_t)c->attr[i];
    }
    d->attrs.n_dims = c->n_dims;
    memcpy(d->attrs.dims, c->dims, sizeof d->attrs.dims);
    for (int i = 0; i < c->n_in; i++)
        fill_input(d, i, stream_of(op, c));
}

void case_close(case_data *d)
{
    for (int i = 0; i < d->c->n_in; i++) {
        const size_t bytes = (size_t)hl_type_count(&d->type[i]) * 8 + 64;
        hl_block_free(d->as_f32[i], bytes);
        hl_block_free(d->as_f64[i], bytes);
    }
}

void case_set(case_data *d, int i, int64_t k, double x)
{
    ((float *)d->as_f32[i])[k] = (float)x;
    ((double *)d->as_f64[i])[k] = x;
}

/* The case's body on leaves of its own, then the node that holds it. */
static hl_status record_body(const case_data *d, hl_graph *g, const hl_id *leaves, hl_id *first)
{
    hl_status st = HL_OK;
    hl_graph *inner = NULL;
    hl_body *body = NULL;
    hl_id leaf[HL_CASE_INPUTS];
    HL_TRY(hl_graph_new(&inner));
    for (int i = 0; i < d->c->n_in; i++)
        leaf[i] = hl_graph_input(inner, "x", d->type[i]);
    const hl_id y = d->c->body(inner, leaf);
    HL_TRY(inner->status);
    HL_TRY(hl_body_new(inner, leaf, d->c->n_in, &y, 1, &body));
    *first = hl_graph_append_body(g, d->op, leaves, d->c->n_in, &d->attrs, body);
    st = g->status;
out:
    hl_body_unref(body);
    hl_graph_free(inner);
    return st;
}

bool case_updates(const hl_op *op)
{
    return op->mutates && !(op->flags & HL_OP_BODY);
}

hl_status case_record(const case_data *d, hl_graph **g, hl_id *leaves, hl_id *first)
{
    hl_status st = hl_graph_new(g);
    if (st != HL_OK)
        return st;
    for (int i = 0; i < d->c->n_in; i++) {
        char name[8] = {(char)('a' + i), '\0'};
        bool mutated = case_updates(d->op);
        leaves[i] = d->c->in[i].absent ? HL_NONE
                    : mutated          ? hl_graph_state(*g, name, d->type[i])
                                       : hl_graph_input(*g, name, d->type[i]);
    }
    if (d->op->flags & HL_OP_BODY)
        return record_body(d, *g, leaves, first);
    *first = hl_graph_append(*g, d->op, leaves, d->c->n_in, &d->attrs);
    return (*g)->status;
}

static double element(const void *p, hl_dtype t, int64_t i)
{
    switch (t) {
    case HL_DTYPE_F32:
        return (double)((const float *)p)[i];
    case HL_DTYPE_F64:
        return ((const double *)p)[i];
    case HL_DTYPE_I32:
        return ((const int32_t *)p)[i];
    case HL_DTYPE_BF16:
        return (double)hl_from_bf16(((const hl_bf16 *)p)[i]);
    default:
        return ((const uint8_t *)p)[i];
    }
}

hl_status case_run(const case_data *d, const hl_graph *g, const hl_id *outputs, int n, bool fp64,
                   hl_team *team, double **out, int64_t *count)
{
    hl_program *p = NULL;
    hl_compile how = {
        .outputs = outputs, .n_outputs = n, .fp64 = fp64, .n_workers = team ? team->n : 1,
        .device = case_device};
    hl_status st = hl_program_new(g, &how, &p);
    if (st != HL_OK)
        return st;
    for (int i = 0; i < hl_program_n_bindings(p); i++) {
        int input = hl_program_binding(p, i)->name[0] - 'a';
        hl_program_bind(p, i, fp64 ? d->as_f64[input] : d->as_f32[input]);
    }
    hl_exec x = {.team = team, .seed = 99, .step = 3};
    st = hl_program_run(p, &x);
    for (int i = 0; i < n && st == HL_OK; i++) {
        const hl_type *t = hl_program_output_type(p, i);
        count[i] = hl_type_count(t);
        out[i] = malloc((size_t)count[i] * sizeof(double) + 8);
        for (int64_t k = 0; k < count[i]; k++)
            out[i][k] = element(hl_program_output(p, i), t->dtype, k);
    }
    hl_program_free(p);
    return st;
}

/* --- comparing --- */

int each_case(void (*body)(case_data *d), hl_status expect_ok)
{
    int n = 0;
    for (int id = 0; id < HL_OP_COUNT; id++) {
        const hl_op *op = hl_op_get((hl_op_id)id);
        for (int i = 0; i < op->n_cases; i++) {
            if ((op->cases[i].expect == HL_OK) != (expect_ok == HL_OK))
                continue;
            case_data d;
            case_open(&d, op, &op->cases[i]);
            body(&d);
            case_close(&d);
            n++;
        }
    }
    fprintf(stderr, "%d cases with %s\n", n, hl_cpu()->isa);
    return n;
}

static double rms(const double *x, int64_t n)
{
    double s = 0;
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(x[i])) {
            s += x[i] * x[i];
            m++;
        }
    return m ? sqrt(s / (double)m) : 0;
}

double worst(const hl_op *op, const double *got, const double *want, int64_t n, double tol)
{
    const double scale = op->flags & HL_OP_ELEMENTWISE ? op->tol_abs : rms(want, n);
    double w = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(got[i]) || isnan(want[i]) || isinf(got[i]) || isinf(want[i])) {
            bool same = (isnan(got[i]) && isnan(want[i])) || got[i] == want[i];
            w = same ? w : HUGE_VAL;
            continue;
        }
        double allowed = tol * EPS * (fabs(want[i]) + scale) + 1e-37;
        double e = fabs(got[i] - want[i]) / allowed;
        w = e > w ? e : w;
    }
    return w;
}

double tolerance(const hl_op *op)
{
    return op->tol > 0 ? op->tol : 16;
}

/* --- gradients --- */

int n_outputs(const hl_graph *g, hl_id first)
{
    return hl_graph_node_of(g, first)->n_out;
}

hl_id weighted_sum(hl_graph *g, const hl_op *op, hl_id first, uint32_t stream,
                          hl_id *weights, int *n_weights)
{
    const unsigned outs = op->grad_outs ? op->grad_outs : 1;
    hl_id total = HL_NONE;
    const int n = n_outputs(g, first);
    for (int o = 0; o < n; o++) {
        if (!(outs >> o & 1))
            continue;
        const hl_type t = *hl_graph_type(g, first + o);
        if (!is_float(&t))
            continue;
        char name[8];
        snprintf(name, sizeof name, "%c%u", 'A' + *n_weights, stream);
        hl_id w = hl_graph_input(g, name, t);
        weights[(*n_weights)++] = w;
        hl_id part = hl_g_sum(g, hl_g_mul(g, w, first + o), 0, false);
        total = total == HL_NONE ? part : hl_g_add(g, total, part);
    }
    return total;
}

hl_status evaluator_open(evaluator *e, case_data *d, const hl_graph *g, const hl_id *outs,
                                int n, bool fp64)
{
    *e = (evaluator){.d = d, .fp64 = fp64};
    hl_compile how = {.outputs = outs, .n_outputs = n, .fp64 = fp64, .n_workers = 1,
                      .device = case_device};
    hl_status st = hl_program_new(g, &how, &e->p);
    for (int i = 0; st == HL_OK && i < hl_program_n_bindings(e->p); i++) {
        const hl_binding *b = hl_program_binding(e->p, i);
        if (b->name[0] >= 'a') {
            hl_program_bind(e->p, i,
                            fp64 ? d->as_f64[b->name[0] - 'a'] : d->as_f32[b->name[0] - 'a']);
            continue;
        }
        const int64_t n_el = hl_type_count(&b->type);
        e->noise_bytes[i] = (size_t)n_el * 8 + 8;
        e->noise[i] = hl_block_new(e->noise_bytes[i]);
        for (int64_t k = 0; k < n_el; k++) {
            double z = case_noise((uint32_t)(b->name[0] * 256 + b->name[1]), k);
            if (fp64)
                ((double *)e->noise[i])[k] = (double)(float)z;
            else
                ((float *)e->noise[i])[k] = (float)z;
        }
        hl_program_bind(e->p, i, e->noise[i]);
    }
    return st;
}

void evaluator_close(evaluator *e)
{
    hl_program_free(e->p);
    for (int i = 0; i < 16; i++)
        if (e->noise[i])
            hl_block_free(e->noise[i], e->noise_bytes[i]);
}

hl_status evaluate(evaluator *e)
{
    hl_exec x = {.seed = 99, .step = 3};
    return hl_program_run(e->p, &x);
}

double value_at(const evaluator *e, int out, int64_t k)
{
    const void *p = hl_program_output(e->p, out);
    return e->fp64 ? ((const double *)p)[k] : (double)((const float *)p)[k];
}
