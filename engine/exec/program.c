/* Compiling and running.
 *
 * DESIGN. A value's storage is its root: a reshape shares its input's, an in-place op may take over
 * an input that dies there. Roots are bindings (caller's memory), constants (one cell each at the
 * start of the arena) or arena buffers. Each arena root lives from the step that makes it to the last
 * step that reads it (outputs: to the end). Scratch of a step lives during that step. Steps run in
 * graph order; a state buffer that an update writes may not be read by a later step, which is checked
 * here. Pointers are resolved at the start of each run, because bindings may move. Kernels take f32;
 * a step on f64 values (all steps of an fp64 program, in others what moments lead to) runs on the
 * op's double reference, never in place. */
#include <math.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/exec/program_internal.h"
#include "engine/pass/pass.h"

/* --- lifetimes --- */

/* May this step's output 0 live in its input i? The input's root must be an arena buffer of as many
 * elements of the same size, which nothing reads later. */
static bool can_take_over(const hl_program *p, const hl_node *n, int i, int at, const int *last)
{
    if (!(n->op->inplace >> i & 1) || i >= n->n_in || n->in[i] == HL_NONE ||
        p->steps.at[at].doubles)
        return false;
    const hl_id root = p->root[n->in[i]];
    if (p->item[root] < 0 || p->g->values.at[root].kind != HL_VALUE_NODE || last[root] != at)
        return false;
    for (int k = 0; k < n->n_in; k++) /* not while another operand reads it in another way */
        if (k != i && n->in[k] != HL_NONE && p->root[n->in[k]] == root)
            return false;
    const hl_type *a = hl_graph_type(p->g, n->in[i]), *b = hl_graph_type(p->g, n->out0);
    return hl_dtype_bytes(a->dtype) == hl_dtype_bytes(b->dtype) &&
           hl_type_bytes(a) == hl_type_bytes(b) &&
           p->items.at[p->item[root]].bytes == hl_type_bytes(b);
}

/* Last step that reads each value, following views and outputs to the end. */
static void last_uses(const hl_program *p, int *last)
{
    const int end = (int)p->g->nodes.n;
    for (size_t v = 0; v < p->g->values.n; v++)
        last[v] = -1;
    for (int i = 0; i < p->n_outputs; i++)
        last[p->outputs[i]] = end;
    for (int k = end - 1; k >= 0; k--) {
        const hl_node *n = &p->g->nodes.at[k];
        for (int i = 0; i < n->n_in; i++)
            if (n->in[i] != HL_NONE && last[n->in[i]] < k)
                last[n->in[i]] = k;
        if ((n->op->flags & HL_OP_VIEW) && last[n->out0] > last[n->in[0]])
            last[n->in[0]] = last[n->out0];
    }
}

static hl_status new_item(hl_program *p, size_t bytes, int first, int last, int *out)
{
    *out = (int)p->items.n;
    return hl_vec_push(&p->items,
                       ((hl_plan_item){.bytes = bytes, .first = first, .last = last}));
}

static hl_status place_outputs(hl_program *p, int at, int *last)
{
    hl_status st = HL_OK;
    const hl_node *n = &p->g->nodes.at[at];
    for (int o = 0; o < n->n_out; o++) {
        const hl_id v = n->out0 + o;
        p->root[v] = v;
        if (o == 0 && (n->op->flags & HL_OP_VIEW)) {
            p->root[v] = p->root[n->in[0]];
            continue;
        }
        bool taken = false;
        for (int i = 0; o == 0 && i < n->n_in && i < 32 && !taken; i++) {
            if (!can_take_over(p, n, i, at, last))
                continue;
            const hl_id root = p->root[n->in[i]];
            p->root[v] = root;
            last[root] = last[v] > at ? last[v] : at;
            p->items.at[p->item[root]].last = last[root];
            taken = true;
        }
        if (!taken)
            HL_TRY(new_item(p, hl_type_bytes(hl_graph_type(p->g, v)), at,
                            last[v] > at ? last[v] : at, &p->item[v]));
    }
out:
    return st;
}

static const char *name_of(const hl_program *p, hl_id root)
{
    const char *name = p->g->values.at[root].name;
    return name ? name : "a value that is computed";
}

/* An update writes into states alone, and each of them is one operand only: its workers go through
 * the operands in no order. */
static hl_status check_update(const hl_program *p, size_t k)
{
    const hl_node *n = &p->g->nodes.at[k];
    for (int i = 0; i < n->n_in; i++) {
        if (n->in[i] == HL_NONE || !n->op->mutates(&p->steps.at[k].call, i))
            continue;
        const hl_id root = p->root[n->in[i]];
        if (p->g->values.at[root].kind != HL_VALUE_STATE)
            return hl_err_set(HL_E_INTERNAL, "%s writes into '%s', which is no state", n->op->name,
                              name_of(p, root));
        for (int other = 0; other < n->n_in; other++)
            if (other != i && n->in[other] != HL_NONE && p->root[n->in[other]] == root)
                return hl_err_set(HL_E_INTERNAL, "%s takes '%s' twice", n->op->name,
                                  name_of(p, root));
    }
    return HL_OK;
}

/* No step may read a state buffer after an update has written it. */
static hl_status check_effects(const hl_program *p)
{
    hl_status st = HL_OK;
    bool *written = hl_alloc_zero(p->g->values.n + 1, sizeof *written);
    if (!written)
        return HL_E_NOMEM;
    for (size_t k = 0; k < p->g->nodes.n; k++) {
        const hl_node *n = &p->g->nodes.at[k];
        for (int i = 0; i < n->n_in; i++)
            if (n->in[i] != HL_NONE && written[p->root[n->in[i]]])
                HL_FAIL(HL_E_INTERNAL, "%s reads '%s' after it was updated", n->op->name,
                        name_of(p, p->root[n->in[i]]));
        if (!(n->op->flags & HL_OP_EFFECT))
            continue;
        HL_TRY(check_update(p, k));
        for (int i = 0; i < n->n_in; i++)
            if (n->in[i] != HL_NONE && n->op->mutates(&p->steps.at[k].call, i))
                written[p->root[n->in[i]]] = true;
    }
out:
    hl_free(written);
    return st;
}

/* --- compiling --- */

static hl_status add_leaves(hl_program *p)
{
    hl_status st = HL_OK;
    for (size_t v = 0; v < p->g->values.n; v++) {
        const hl_value *x = &p->g->values.at[v];
        p->root[v] = (hl_id)v;
        p->item[v] = -1;
        p->binding_of[v] = -1;
        if (x->kind == HL_VALUE_CONST) {
            HL_TRY(new_item(p, hl_dtype_bytes(x->type.dtype), 0, (int)p->g->nodes.n, &p->item[v]));
        } else if (x->kind != HL_VALUE_NODE) {
            p->binding_of[v] = (int)p->bindings.n;
            HL_TRY(hl_vec_push(&p->bindings,
                               ((hl_binding){.value = (hl_id)v, .kind = x->kind, .type = x->type,
                                             .name = x->name, .mark = x->data})));
        }
    }
out:
    return st;
}

/* Does the step run on doubles? DTYPE if floats and doubles meet in an op that does more than move
 * bytes (an op whose reference is its kernel serves all types). */
static hl_status find_precision(const hl_program *p, const hl_call *c, const char *where,
                                bool *doubles)
{
    int n_float = 0, n_double = 0;
    for (int i = 0; i < (c->op->flags & HL_OP_MIXED ? 1 : c->n_in); i++) {
        n_float += c->in[i].dtype == HL_DTYPE_F32;
        n_double += c->in[i].dtype == HL_DTYPE_F64;
    }
    *doubles = p->fp64 || (n_double && c->op->ref != c->op->cpu);
    for (int i = 0; *doubles && i < c->n_in; i++)
        if ((hl_op_takes_bf16(c->op, i) || hl_op_reads_half(c->op, i)) &&
            c->in[i].dtype == HL_DTYPE_BF16)
            return hl_err_set(HL_E_DTYPE, "%s%s%s of bf16 does not run on doubles",
                              where ? where : "", where ? ": " : "", c->op->name);
    if (!*doubles || n_float == 0)
        return HL_OK;
    return hl_err_set(HL_E_DTYPE, "%s%s%s takes f32 or f64, not both at once", where ? where : "",
                      where ? ": " : "", c->op->name);
}

/* What kernels of a device do not know: bf16 where only the CPU's read or write it. */
static bool is_for_cpu(const hl_call *c)
{
    bool any = false;
    for (int i = 0; i < c->n_in; i++)
        any |= hl_op_reads_half(c->op, i) && c->in[i].dtype == HL_DTYPE_BF16;
    for (int o = 0; o < c->n_out; o++)
        any |= hl_op_writes_half(c->op, o) && c->out[o].dtype == HL_DTYPE_BF16;
    return any;
}

static hl_status add_step(hl_program *p, size_t at)
{
    hl_status st = HL_OK;
    const hl_node *n = &p->g->nodes.at[at];
    step s = {.in0 = (int32_t)p->in_values.n, .out0 = n->out0, .scratch = -1, .where = n->where};
    if (!n->op->cpu)
        return hl_err_set(HL_E_UNSUPPORTED, "%s does not run on the CPU", n->op->name);
    for (int i = 0; i < n->n_in; i++)
        HL_TRY(hl_vec_push(&p->in_values, n->in[i]));
    hl_graph_call(p->g, n, p->types.at + p->types.n, p->types.at + p->types.n + n->n_in, &s.call);
    p->types.n += (size_t)(n->n_in + n->n_out);
    s.flops = n->op->flops ? n->op->flops(&s.call) : (double)hl_type_count(&s.call.out[0]);
    HL_TRY(find_precision(p, &s.call, n->where, &s.doubles));
    if (n->op->prepare)
        HL_TRY_CTX(n->op->prepare(&s.call, p->fp64, p->n_workers, &s.call.state), "%s%s%s",
                   n->where ? n->where : "", n->where ? ": " : "", n->op->name);
    s.on_device = p->gpu && n->op->gpu && !s.doubles && !is_for_cpu(&s.call);
    if (s.on_device && n->op->gpu_prepare)
        HL_TRY(n->op->gpu_prepare(&s.call, hl_gpu_side_device(p), &s.on_device));
    const bool has_scratch = n->op->scratch && (!s.doubles || n->op->prepare);
    size_t scratch = has_scratch ? n->op->scratch(&s.call, p->n_workers) : 0;
    if (s.on_device)
        scratch = n->op->gpu_scratch ? n->op->gpu_scratch(&s.call) : 0;
    if (scratch)
        HL_TRY(new_item(p, scratch, (int)at, (int)at, &s.scratch));
    HL_TRY(hl_vec_push(&p->steps, s));
    return HL_OK;
out:
    if (n->op->release)
        n->op->release(s.call.state);
    return st;
}

static hl_status allocate_tables(hl_program *p)
{
    const size_t n = p->g->values.n + 1;
    size_t n_types = 0, widest = 0;
    for (size_t k = 0; k < p->g->nodes.n; k++) {
        const hl_node *node = &p->g->nodes.at[k];
        n_types += (size_t)(node->n_in + node->n_out);
        widest = (size_t)node->n_in > widest ? (size_t)node->n_in : widest;
    }
    p->root = hl_alloc(n * sizeof *p->root);
    p->item = hl_alloc(n * sizeof *p->item);
    p->binding_of = hl_alloc(n * sizeof *p->binding_of);
    p->data = hl_alloc_zero(n, sizeof *p->data);
    p->in = hl_alloc_zero(widest + 1, sizeof *p->in);
    if (!p->root || !p->item || !p->binding_of || !p->data || !p->in)
        return HL_E_NOMEM;
    /* never moves again: calls point into it */
    return hl_vec_reserve(&p->types, n_types + 1);
}

hl_status hl_program_no_arena(const hl_program *p)
{
    hl_str text = {0};
    char need[24];
    hl_program_largest(p, &text);
    hl_status st = hl_err_set(HL_E_NOMEM, "not enough memory: the program needs %s; largest: %s",
                              hl_format_bytes(need, (int64_t)p->arena_bytes), hl_str_text(&text));
    hl_str_done(&text);
    return st;
}

static hl_status compile(hl_program *p)
{
    hl_status st = HL_OK;
    int *last = NULL;
    HL_TRY(allocate_tables(p));
    HL_TRY(add_leaves(p));
    last = hl_alloc((p->g->values.n + 1) * sizeof *last);
    if (!last) {
        st = HL_E_NOMEM;
        goto out;
    }
    last_uses(p, last);
    for (size_t k = 0; k < p->g->nodes.n; k++) {
        HL_TRY(add_step(p, k));
        HL_TRY(place_outputs(p, (int)k, last));
    }
    HL_TRY(check_effects(p));
    p->bound = hl_alloc_zero(p->bindings.n + 1, sizeof *p->bound);
    if (!p->bound) {
        st = HL_E_NOMEM;
        goto out;
    }
    st = hl_plan_place(p->items.at, p->items.n, &p->arena_bytes);
    if (st != HL_OK && p->arena_bytes)
        st = hl_program_no_arena(p);
    else if (p->items.n && p->arena_bytes == 0)
        p->arena_bytes = 64; /* values without elements have an address too */
out:
    hl_free(last);
    return st;
}

int hl_compile_workers(const hl_compile *how)
{
    return how->n_workers > 0 ? how->n_workers : 1;
}

/* A graph whose recording failed has no program; its own error stands. */
hl_status hl_compile_check(const hl_graph *g, const hl_compile *how)
{
    for (int i = 0; i < how->n_outputs; i++) {
        const hl_id v = how->outputs[i];
        if (v == HL_NONE && g->status != HL_OK)
            return g->status;
        if (v < 0 || (size_t)v >= g->values.n)
            return hl_err_set(HL_E_ARG, "output %d of the program is no value", i + 1);
    }
    return HL_OK;
}

hl_status hl_program_new(const hl_graph *g, const hl_compile *how, hl_program **out)
{
    hl_status st = hl_compile_check(g, how);
    if (st != HL_OK)
        return st;
    hl_graph *wide = NULL;
    hl_id *map = hl_alloc((g->values.n + 1) * sizeof *map);
    hl_program *p = hl_alloc_zero(1, sizeof *p);
    if (!map || !p) {
        st = HL_E_NOMEM;
        goto out;
    }
    p->fp64 = how->fp64;
    p->n_workers = hl_compile_workers(how);
    p->outputs = hl_alloc((size_t)(how->n_outputs + 1) * sizeof *p->outputs);
    if (!p->outputs) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(hl_graph_extract(g, how->outputs, how->n_outputs, &p->g, map));
    p->n_outputs = how->n_outputs;
    for (int i = 0; i < how->n_outputs; i++)
        p->outputs[i] = map[how->outputs[i]];
    if (p->fp64) {
        /* extraction of everything keeps the order, hence the numbers */
        HL_TRY(hl_pass_fp64(p->g, &wide));
        hl_graph_free(p->g);
        p->g = wide;
    }
    if (how->device && !p->fp64)
        HL_TRY(hl_gpu_side_new(p, how->device, how->inner));
    HL_TRY(compile(p));
    if (p->gpu && how->inner)
        HL_TRY(hl_gpu_side_prepare(p));
    /* bindings name values of the graph that was handed in */
    for (size_t v = 0; v < g->values.n; v++)
        if (map[v] != HL_NONE && p->binding_of[map[v]] >= 0)
            p->bindings.at[p->binding_of[map[v]]].value = (hl_id)v;
    *out = p;
    p = NULL;
out:
    hl_program_free(p);
    hl_free(map);
    return st;
}

void hl_program_free(hl_program *p)
{
    if (!p)
        return;
    hl_gpu_side_free(p);
    if (!p->arena_borrowed)
        hl_block_free(p->arena, p->arena_bytes);
    for (size_t k = 0; k < p->steps.n; k++)
        if (p->steps.at[k].call.op->release)
            p->steps.at[k].call.op->release(p->steps.at[k].call.state);
    hl_vec_done(&p->steps);
    hl_vec_done(&p->in_values);
    hl_vec_done(&p->types);
    hl_vec_done(&p->bindings);
    hl_vec_done(&p->items);
    hl_free(p->root);
    hl_free(p->item);
    hl_free(p->binding_of);
    hl_free(p->data);
    hl_free(p->bound);
    hl_free(p->in);
    hl_free(p->outputs);
    hl_graph_free(p->g);
    hl_free(p);
}

/* --- running --- */

/* Where each root of the arena lies. */
static void lay_out(hl_program *p)
{
    for (size_t v = 0; v < p->g->values.n; v++)
        if (p->item[v] >= 0 && p->root[v] == (hl_id)v)
            p->data[v] = p->arena + p->items.at[p->item[v]].offset;
}

hl_status hl_program_prepare(hl_program *p)
{
    if (p->gpu)
        return hl_gpu_side_prepare(p);
    if (p->arena || p->arena_bytes == 0)
        return HL_OK;
    p->arena = hl_block_new(p->arena_bytes);
    if (!p->arena)
        return hl_program_no_arena(p);
    lay_out(p);
    return HL_OK;
}

void hl_program_use_arena(hl_program *p, void *arena)
{
    if (p->gpu) {
        hl_gpu_side_use_arena(p, arena);
        return;
    }
    if (!p->arena_borrowed)
        hl_block_free(p->arena, p->arena_bytes);
    p->arena = arena;
    p->arena_borrowed = true;
    lay_out(p);
}

int hl_program_n_bindings(const hl_program *p)
{
    return (int)p->bindings.n;
}

const hl_binding *hl_program_binding(const hl_program *p, int i)
{
    return &p->bindings.at[i];
}

void hl_program_bind(hl_program *p, int i, void *data)
{
    p->bound[i] = data;
}

hl_status hl_program_ahead(hl_program *p, int i, const void *data)
{
    return p->gpu ? hl_gpu_side_ahead(p, i, data)
                  : hl_err_set(HL_E_STATE, "the program runs on no device");
}

const void *hl_program_ahead_drop(hl_program *p, int i)
{
    return p->gpu ? hl_gpu_side_ahead_drop(p, i) : NULL;
}

static void *bound_data(const hl_program *p, int binding)
{
    static const uint64_t nothing = 0; /* of a leaf without elements */
    return p->bound[binding] ? p->bound[binding] : (void *)(uintptr_t)&nothing;
}

static hl_status resolve(hl_program *p)
{
    for (size_t i = 0; i < p->bindings.n; i++)
        if (!p->bound[i] && hl_type_count(&p->bindings.at[i].type) > 0)
            return hl_err_set(HL_E_STATE, "'%s' has no data", p->bindings.at[i].name);
    for (size_t v = 0; v < p->g->values.n; v++) {
        const hl_id root = p->root[v];
        const hl_value *x = &p->g->values.at[v];
        p->data[v] = p->binding_of[root] >= 0 ? bound_data(p, p->binding_of[root]) : p->data[root];
        if (x->kind != HL_VALUE_CONST) /* constants anew: the arena may be shared */
            continue;
        if (x->type.dtype == HL_DTYPE_F64)
            *(double *)p->data[v] = x->constant;
        else
            *(float *)p->data[v] = (float)x->constant;
    }
    return HL_OK;
}

hl_status hl_step_run(const hl_program *p, step *s, const hl_op_run *r)
{
    const int64_t start = p->profile ? hl_clock_mono_ns() : 0;
    hl_status st = s->on_device ? s->call.op->gpu(r)
                   : s->doubles ? s->call.op->ref(r)
                                : s->call.op->cpu(r);
    if (p->profile) {
        s->ns += hl_clock_mono_ns() - start;
        s->n_runs++;
    }
    if (st != HL_OK)
        (void)hl_err_context("%s%s%s", s->where ? s->where : "", s->where ? ": " : "",
                             s->call.op->name);
    return st;
}

static hl_status run_step(hl_program *p, step *s, const hl_exec *x)
{
    void *out[HL_MAX_OUT];
    for (int i = 0; i < s->call.n_in; i++) {
        const hl_id v = p->in_values.at[s->in0 + i];
        p->in[i] = v == HL_NONE ? NULL : p->data[v];
    }
    for (int i = 0; i < s->call.n_out; i++)
        out[i] = p->data[s->out0 + i];
    hl_op_run r = {.call = &s->call, .in = p->in, .out = out, .exec = x, .flops = &s->flops};
    if (s->scratch >= 0)
        r.scratch = p->arena + p->items.at[s->scratch].offset;
    return hl_step_run(p, s, &r);
}

hl_status hl_program_run(hl_program *p, const hl_exec *x)
{
    if (HL_NEVER(x->team && x->team->n > p->n_workers)) /* scratch would not do */
        return hl_err_set(HL_E_INTERNAL, "compiled for %d workers, run on %d", p->n_workers,
                          x->team->n);
    if (p->gpu)
        return hl_gpu_side_run(p, x);
    hl_status st = hl_program_prepare(p);
    if (st == HL_OK)
        st = resolve(p);
    for (size_t k = 0; k < p->steps.n && st == HL_OK; k++)
        if (!(p->steps.at[k].call.op->flags & HL_OP_VIEW))
            st = run_step(p, &p->steps.at[k], x);
    return st;
}

void hl_program_begin(hl_program *p)
{
    for (size_t k = 0; k < p->steps.n; k++) {
        const hl_call *c = &p->steps.at[k].call;
        if (c->op->begin)
            c->op->begin(c->state);
    }
}

bool hl_program_stays_there(const hl_program *p)
{
    bool all = p->gpu != NULL;
    for (size_t k = 0; k < p->steps.n; k++) {
        const step *s = &p->steps.at[k];
        const hl_op *op = s->call.op;
        all &=
            (op->flags & HL_OP_VIEW) || (s->on_device && !(op->flags & HL_OP_WAITS) && !op->begin);
    }
    return all;
}

double hl_program_knob(const hl_program *p, const char *name)
{
    double v = (double)NAN;
    for (size_t k = 0; k < p->steps.n && isnan(v); k++) {
        const hl_call *c = &p->steps.at[k].call;
        v = c->op->knob ? c->op->knob(c->state, name, NULL) : v;
    }
    return v;
}

double hl_program_measured(const hl_program *p, const char *name)
{
    double sum = (double)NAN;
    for (size_t k = 0; k < p->steps.n; k++) {
        const hl_call *c = &p->steps.at[k].call;
        const double v = c->op->knob ? c->op->knob(c->state, name, NULL) : (double)NAN;
        sum = isnan(v) ? sum : isnan(sum) ? v : sum + v;
    }
    return sum;
}

int hl_program_tune(hl_program *p, const char *name, double value)
{
    int n = 0;
    for (size_t k = 0; k < p->steps.n; k++) {
        const hl_call *c = &p->steps.at[k].call;
        const double v = c->op->knob ? c->op->knob(c->state, name, &value) : (double)NAN;
        n += !isnan(v) && (isnan(value) || v == value);
    }
    if (p->gpu && n > 0)
        hl_gpu_side_forget(p);
    return n;
}

const void *hl_program_output(const hl_program *p, int i)
{
    return p->gpu ? hl_gpu_side_output(p, p->outputs[i]) : p->data[p->outputs[i]];
}

const hl_type *hl_program_output_type(const hl_program *p, int i)
{
    return hl_graph_type(p->g, p->outputs[i]);
}
