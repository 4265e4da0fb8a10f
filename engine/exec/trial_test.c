/* Leaves, programs on them, the plain executor. */
#define _POSIX_C_SOURCE 200809L
#include "engine/exec/trial_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "kernels/vec/bf16_body.h"

/* --- leaves --- */

static hl_dtype stored(const leaves *l, hl_dtype t)
{
    return l->fp64 && t == HL_DTYPE_F32 ? HL_DTYPE_F64 : t;
}

size_t leaf_bytes(const leaves *l, hl_id v)
{
    const hl_type *t = hl_graph_type(l->g, v);
    return (size_t)hl_type_count(t) * hl_dtype_bytes(stored(l, t->dtype));
}

static void *buffer_new(size_t bytes)
{
    void *p; /* not rounded up: a sanitizer sees the first stray byte */
    if (posix_memalign(&p, 64, bytes ? bytes : 1) != 0)
        return NULL;
    memset(p, 0xA5, bytes ? bytes : 1);
    return p;
}

static double draw_float(const char *name, hl_rng *r)
{
    return name[0] == '1' ? 1 : 0.7 * hl_rng_normal(r);
}

static int32_t draw_index(const char *name, hl_rng *r)
{
    const char *limit = strchr(name, '<');
    if (!limit)
        return 0;
    if (limit[strlen(limit) - 1] == '!' && hl_rng_below(r, 3) == 0)
        return -100;
    return (int32_t)hl_rng_below(r, (uint32_t)strtol(limit + 1, NULL, 10));
}

static void fill(const leaves *l, hl_id v, uint32_t salt)
{
    const hl_value *x = hl_graph_value(l->g, v);
    const int64_t n = hl_type_count(&x->type);
    const hl_dtype t = stored(l, x->type.dtype);
    hl_rng r = hl_rng_make(hl_hash_str(HL_HASH_START, x->name), HL_RNG_TEST, salt, 0);
    for (int64_t i = 0; i < n; i++) {
        if (t == HL_DTYPE_F32)
            ((float *)l->data[v])[i] = (float)draw_float(x->name, &r);
        else if (t == HL_DTYPE_F64)
            ((double *)l->data[v])[i] = (double)(float)draw_float(x->name, &r);
        else if (t == HL_DTYPE_I32)
            ((int32_t *)l->data[v])[i] = draw_index(x->name, &r);
        else
            ((uint8_t *)l->data[v])[i] = hl_rng_below(&r, 3) != 0;
    }
}

static bool has_data(const hl_value *x)
{
    return x->kind == HL_VALUE_INPUT || x->kind == HL_VALUE_STATE;
}

hl_status leaves_new(const hl_graph *g, bool fp64, uint32_t salt, leaves *out)
{
    *out = (leaves){.g = g, .fp64 = fp64};
    out->data = calloc(g->values.n + 1, sizeof *out->data);
    for (size_t v = 0; out->data && v < g->values.n; v++) {
        if (!has_data(&g->values.at[v]))
            continue;
        out->data[v] = buffer_new(leaf_bytes(out, (hl_id)v));
        if (!out->data[v])
            return HL_E_NOMEM;
        fill(out, (hl_id)v, salt);
    }
    return out->data ? HL_OK : HL_E_NOMEM;
}

void leaves_free(leaves *l)
{
    for (size_t v = 0; l->data && v < l->g->values.n; v++)
        free(l->data[v]);
    free(l->data);
    l->data = NULL;
}

hl_id leaves_differ(const leaves *a, const leaves *b)
{
    for (size_t v = 0; v < a->g->values.n; v++)
        if (a->data[v] && memcmp(a->data[v], b->data[v], leaf_bytes(a, (hl_id)v)) != 0)
            return (hl_id)v;
    return HL_NONE;
}

void *leaf_named(const leaves *l, const char *name)
{
    for (size_t v = 0; v < l->g->values.n; v++)
        if (l->data[v] && strcmp(l->g->values.at[v].name, name) == 0)
            return l->data[v];
    return NULL;
}

/* --- programs --- */

void bind_leaves(hl_program *p, const leaves *l)
{
    for (int i = 0; i < hl_program_n_bindings(p); i++)
        hl_program_bind(p, i, l->data[hl_program_binding(p, i)->value]);
}

hl_status program_for(const leaves *l, const hl_id *outs, int n, int n_workers, hl_program **out)
{
    hl_compile how = {.outputs = outs, .n_outputs = n, .fp64 = l->fp64, .n_workers = n_workers};
    hl_status st = hl_program_new(l->g, &how, out);
    if (st == HL_OK)
        bind_leaves(*out, l);
    return st;
}

double number_at(const void *p, hl_dtype t, int64_t i)
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

hl_status results_of(const hl_program *p, int n, results *out)
{
    *out = (results){.n = n};
    out->value = calloc((size_t)n + 1, sizeof *out->value);
    out->count = calloc((size_t)n + 1, sizeof *out->count);
    for (int i = 0; i < n; i++) {
        const hl_type *t = hl_program_output_type(p, i);
        out->count[i] = hl_type_count(t);
        out->value[i] = malloc((size_t)out->count[i] * sizeof(double) + 1);
        if (!out->value[i])
            return HL_E_NOMEM;
        for (int64_t k = 0; k < out->count[i]; k++)
            out->value[i][k] = number_at(hl_program_output(p, i), t->dtype, k);
    }
    return HL_OK;
}

void results_free(results *r)
{
    for (int i = 0; i < r->n; i++)
        free(r->value[i]);
    free(r->value);
    free(r->count);
    *r = (results){0};
}

hl_status evaluate(const hl_graph *g, const hl_id *outs, int n, bool fp64, results *out)
{
    hl_status st = HL_OK;
    hl_program *p = NULL;
    hl_exec x = {.seed = 99, .step = 3};
    leaves l;
    HL_TRY(leaves_new(g, fp64, 0, &l));
    HL_TRY(program_for(&l, outs, n, 1, &p));
    HL_TRY(hl_program_run(p, &x));
    HL_TRY(results_of(p, n, out));
out:
    hl_program_free(p);
    leaves_free(&l);
    return st;
}

double evaluate_scalar(const hl_graph *g, hl_id v, bool fp64)
{
    results r;
    if (v == HL_NONE || evaluate(g, &v, 1, fp64, &r) != HL_OK)
        return (double)NAN;
    double x = r.count[0] == 1 ? r.value[0][0] : (double)NAN;
    results_free(&r);
    return x;
}

/* --- the plain executor --- */

static void widen(const leaves *l, hl_type *t, int n)
{
    for (int i = 0; i < n; i++)
        t[i].dtype = stored(l, t[i].dtype);
}

static hl_status run_node(const leaves *l, const hl_node *n, const hl_exec *x, void **values)
{
    hl_type out_types[HL_MAX_OUT], *in_types = calloc((size_t)n->n_in + 1, sizeof *in_types);
    const void **in = calloc((size_t)n->n_in + 1, sizeof *in);
    void *out[HL_MAX_OUT], *scratch = NULL;
    hl_call c;
    hl_graph_call(l->g, n, in_types, out_types, &c);
    widen(l, in_types, n->n_in);
    widen(l, out_types, n->n_out);
    for (int i = 0; i < n->n_in; i++)
        in[i] = n->in[i] == HL_NONE ? NULL : values[n->in[i]];
    for (int i = 0; i < n->n_out; i++)
        out[i] = values[n->out0 + i] = buffer_new(hl_type_bytes(&out_types[i]));
    if (n->op->scratch && !l->fp64)
        scratch = buffer_new(n->op->scratch(&c, x->team ? x->team->n : 1));
    hl_op_run r = {.call = &c, .in = in, .out = out, .scratch = scratch, .exec = x};
    hl_status st = l->fp64 ? n->op->ref(&r) : n->op->cpu(&r);
    free(scratch);
    free(in);
    free(in_types);
    return st;
}

hl_status plain_run(const leaves *l, const hl_exec *x, void ***values)
{
    const hl_graph *g = l->g;
    void **v = calloc(g->values.n + 1, sizeof *v);
    *values = v;
    for (size_t i = 0; i < g->values.n; i++) {
        v[i] = l->data[i];
        if (g->values.at[i].kind != HL_VALUE_CONST)
            continue;
        v[i] = buffer_new(sizeof(double));
        if (l->fp64)
            *(double *)v[i] = g->values.at[i].constant;
        else
            *(float *)v[i] = (float)g->values.at[i].constant;
    }
    for (size_t k = 0; k < g->nodes.n; k++) {
        hl_status st = run_node(l, &g->nodes.at[k], x, v);
        if (st != HL_OK)
            return st;
    }
    return HL_OK;
}

void plain_free(const leaves *l, void **values)
{
    for (size_t v = 0; v < l->g->values.n; v++)
        if (values[v] != l->data[v])
            free(values[v]);
    free(values);
}

/* --- small things --- */

int count_op(const hl_graph *g, hl_op_id op)
{
    int n = 0;
    for (size_t i = 0; i < g->nodes.n; i++)
        n += g->nodes.at[i].op == hl_op_get(op);
    return n;
}

hl_type f32(int rank, const int64_t *dim)
{
    return hl_type_make(HL_DTYPE_F32, rank, dim);
}

hl_id linear(hl_graph *g, hl_id x, const char *w, const char *b, int64_t n, hl_act act)
{
    const hl_type t = *hl_graph_type(g, x);
    hl_id in[3] = {x, hl_graph_state(g, w, F32(n, t.dim[t.rank - 1])),
                   hl_graph_state(g, b, F32(n))};
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_linear));
    a.v[0].i = act;
    return hl_graph_append(g, hl_op_get(HL_OP_ID_linear), in, 3, &a);
}
