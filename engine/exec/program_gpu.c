/* Programs on a device.
 *
 * DESIGN. Each value has two places: on the device (data) and on the host (host). Values of the
 * arena lie at the same offset in the device's arena and in a mirror on the host, which is touched
 * only where something there is needed: outputs, and steps whose op has no kernel, which run on the
 * host between copies. Constants are uploaded once. Bindings that the device reaches (storage.h)
 * are used where they are; others are copied in before the run and, if kernels write into them,
 * back after it.
 *
 * A program whose steps all run on the device, none of them waiting for its data, is captured at
 * its second run and replayed from then on, as long as arena and bindings stay where they are. */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/exec/program_internal.h"

enum { CELL = 16 }; /* bytes of a constant */

typedef struct side_binding {
    const void *asked; /* the pointer that `reached` is about */
    bool reached;
    bool written; /* by kernels */
    void *copy;   /* on the device, of bindings that are not reached; NULL: none yet */
    void *host;   /* in this run: what is bound, or was staged */
    /* hl_program_ahead: pinned and device memory of two, and which of them wait, oldest first */
    void *staged[2], *ahead[2];
    int first, n_ahead;
} side_binding;

struct gpu_side {
    hl_device *device;
    bool inner;
    const hl_gpu_backend *b;
    hl_gpu_key *key;
    unsigned char *arena; /* the device's, as laid out last */
    unsigned char *mirror;
    size_t mirror_bytes;
    unsigned char *consts, *host_consts;
    bool *host_fresh; /* per value: the mirror of its root has it, in this run */
    void **host;      /* per value */
    side_binding *bindings;
    bool prepared, all_there;
    int n_runs;
    int64_t n_replayed;
    void *captured;
    bool refused;       /* the driver does not capture it */
    void **captured_at; /* per binding: device pointers of the capture */
};

hl_status hl_gpu_side_new(hl_program *p, hl_device *d, bool inner)
{
    gpu_side *g = hl_alloc_zero(1, sizeof *g);
    if (!g)
        return HL_E_NOMEM;
    g->device = d;
    g->inner = inner;
    g->b = hl_gpu_get();
    p->gpu = g;
    return HL_OK;
}

hl_device *hl_gpu_side_device(const hl_program *p)
{
    return p->gpu->device;
}

static void forget_capture(gpu_side *g)
{
    if (g->captured)
        g->b->capture_free(g->device->gpu, g->captured);
    g->captured = NULL;
}

void hl_gpu_side_forget(hl_program *p)
{
    forget_capture(p->gpu);
}

void hl_gpu_side_free(hl_program *p)
{
    gpu_side *g = p->gpu;
    if (!g)
        return;
    hl_gpu *gpu = g->device->gpu;
    forget_capture(g);
    for (size_t i = 0; g->bindings && i < p->bindings.n; i++) {
        side_binding *s = &g->bindings[i];
        for (int k = 0; k < 2; k++) {
            g->b->free_pinned(gpu, s->staged[k]);
            g->b->free(gpu, s->ahead[k]);
        }
        g->b->free(gpu, s->copy);
    }
    g->b->free(gpu, g->key);
    g->b->free(gpu, g->consts);
    hl_block_free(g->mirror, g->mirror_bytes);
    hl_free(g->host_consts);
    hl_free(g->host_fresh);
    hl_free(g->host);
    hl_free(g->bindings);
    hl_free(g->captured_at);
    hl_free(g);
    p->gpu = NULL;
}

/* --- preparing --- */

static void mark_written(hl_program *p)
{
    gpu_side *g = p->gpu;
    for (size_t k = 0; k < p->steps.n; k++) {
        const step *s = &p->steps.at[k];
        const hl_op *op = s->call.op;
        if (!s->on_device || !op->mutates)
            continue;
        for (int i = 0; i < s->call.n_in; i++) {
            const hl_id v = p->in_values.at[s->in0 + i];
            if (v != HL_NONE && op->mutates(&s->call, i) && p->binding_of[p->root[v]] >= 0)
                g->bindings[p->binding_of[p->root[v]]].written = true;
        }
    }
}

static hl_status upload_constants(hl_program *p)
{
    gpu_side *g = p->gpu;
    size_t n = 0;
    for (size_t v = 0; v < p->g->values.n; v++)
        n += p->g->values.at[v].kind == HL_VALUE_CONST;
    g->host_consts = hl_alloc_zero(n + 1, CELL);
    g->consts = g->b->alloc(g->device->gpu, (n + 1) * CELL);
    if (!g->host_consts || !g->consts)
        return HL_E_NOMEM;
    n = 0;
    for (size_t v = 0; v < p->g->values.n; v++) {
        const hl_value *x = &p->g->values.at[v];
        if (x->kind != HL_VALUE_CONST)
            continue;
        unsigned char *cell = g->host_consts + n * CELL;
        if (x->type.dtype == HL_DTYPE_F64)
            memcpy(cell, &x->constant, sizeof x->constant);
        else
            memcpy(cell, &(float){(float)x->constant}, sizeof(float));
        g->host[v] = cell;
        p->data[v] = g->consts + n++ * CELL;
    }
    g->b->copy(g->device->gpu, g->consts, g->host_consts, (n + 1) * CELL);
    return HL_OK;
}

/* What only this program needs, once. */
static hl_status prepare_once(hl_program *p)
{
    gpu_side *g = p->gpu;
    hl_status st = HL_OK;
    const size_t n_values = p->g->values.n + 1, n_bindings = p->bindings.n + 1;
    g->host = hl_alloc_zero(n_values, sizeof *g->host);
    g->host_fresh = hl_alloc_zero(n_values, sizeof *g->host_fresh);
    g->bindings = hl_alloc_zero(n_bindings, sizeof *g->bindings);
    g->captured_at = hl_alloc_zero(n_bindings, sizeof *g->captured_at);
    if (!g->inner) {
        g->key = g->b->alloc(g->device->gpu, sizeof *g->key);
        g->mirror_bytes = p->arena_bytes + 64;
        g->mirror = hl_block_new(g->mirror_bytes);
    }
    if (!g->host || !g->host_fresh || !g->bindings || !g->captured_at ||
        (!g->inner && (!g->key || !g->mirror)))
        return hl_program_no_arena(p);
    mark_written(p);
    g->all_there = true;
    for (size_t k = 0; k < p->steps.n; k++) {
        const step *s = &p->steps.at[k];
        const unsigned flags = s->call.op->flags;
        g->all_there &= (flags & HL_OP_VIEW) ||
                        (s->on_device && (!(flags & HL_OP_WAITS) || g->b->decides(g->device->gpu)));
    }
    HL_TRY(upload_constants(p));
    g->prepared = true;
out:
    return st;
}

static void lay_out(hl_program *p, unsigned char *arena)
{
    gpu_side *g = p->gpu;
    g->arena = arena;
    for (size_t v = 0; v < p->g->values.n; v++)
        if (p->item[v] >= 0 && p->root[v] == (hl_id)v &&
            p->g->values.at[v].kind != HL_VALUE_CONST) {
            const size_t at = p->items.at[p->item[v]].offset;
            p->data[v] = g->arena + at;
            g->host[v] = g->mirror ? g->mirror + at : NULL;
        }
}

/* Another program may have made the arena larger, elsewhere. */
hl_status hl_gpu_side_prepare(hl_program *p)
{
    gpu_side *g = p->gpu;
    hl_status st = g->prepared ? HL_OK : prepare_once(p);
    if (g->inner)
        return st;
    if (st == HL_OK && hl_device_arena(g->device, p->arena_bytes) != HL_OK)
        st = hl_program_no_arena(p);
    if (st != HL_OK || g->arena == g->device->arena)
        return st;
    forget_capture(g);
    lay_out(p, g->device->arena);
    return HL_OK;
}

void hl_gpu_side_use_arena(hl_program *p, void *arena)
{
    if (p->gpu->inner && p->gpu->arena != arena)
        lay_out(p, arena);
}

/* --- bindings --- */

hl_status hl_gpu_side_ahead(hl_program *p, int i, const void *data)
{
    gpu_side *g = p->gpu;
    hl_gpu *gpu = g->device->gpu;
    hl_status st = g->prepared ? HL_OK : hl_gpu_side_prepare(p);
    if (st != HL_OK)
        return st;
    side_binding *s = &g->bindings[i];
    const size_t bytes = hl_type_bytes(&p->bindings.at[i].type);
    const int slot = (s->first + s->n_ahead) % 2;
    if (s->n_ahead == 2)
        return hl_err_set(HL_E_STATE, "two of '%s' are waiting", p->bindings.at[i].name);
    if (!s->staged[slot])
        s->staged[slot] = g->b->alloc_pinned(gpu, bytes + 64);
    if (!s->ahead[slot])
        s->ahead[slot] = g->b->alloc(gpu, bytes + 64);
    if (!s->copy)
        s->copy = g->b->alloc(gpu, bytes + 64);
    if (!s->staged[slot] || !s->ahead[slot] || !s->copy)
        return hl_program_no_arena(p);
    memcpy(s->staged[slot], data, bytes);
    g->b->copy_ahead(gpu, slot, s->ahead[slot], s->staged[slot], bytes);
    s->n_ahead++;
    return HL_OK;
}

static int take_ahead(side_binding *s)
{
    const int slot = s->first;
    s->first = 1 - slot;
    s->n_ahead--;
    return slot;
}

const void *hl_gpu_side_ahead_drop(hl_program *p, int i)
{
    side_binding *s = p->gpu->bindings ? &p->gpu->bindings[i] : NULL;
    return s && s->n_ahead ? s->staged[take_ahead(s)] : NULL;
}

/* Its place there stays the same, for what was captured. */
static void bind_ahead(gpu_side *g, side_binding *s, size_t bytes)
{
    const int slot = take_ahead(s);
    s->asked = NULL;
    s->reached = false;
    s->host = s->staged[slot];
    g->b->await_ahead(g->device->gpu, slot);
    g->b->copy(g->device->gpu, s->copy, s->ahead[slot], bytes);
}

static hl_status bind_one(hl_program *p, size_t i)
{
    gpu_side *g = p->gpu;
    side_binding *s = &g->bindings[i];
    hl_gpu *gpu = g->device->gpu;
    const size_t bytes = hl_type_bytes(&p->bindings.at[i].type);
    void *bound = p->bound[i];
    if (s->n_ahead) {
        bind_ahead(g, s, bytes);
        return HL_OK;
    }
    s->host = bound;
    if (!bound && hl_type_count(&p->bindings.at[i].type) > 0)
        return hl_err_set(HL_E_STATE, "'%s' has no data", p->bindings.at[i].name);
    if (s->asked != bound || !bound) {
        s->asked = bound;
        s->reached = bound && g->b->reaches(gpu, bound);
    }
    if (s->reached)
        return HL_OK;
    if (!s->copy)
        s->copy = g->b->alloc(gpu, bytes + 64);
    if (!s->copy)
        return hl_program_no_arena(p);
    g->b->copy(gpu, s->copy, bound, bytes);
    return HL_OK;
}

static hl_status resolve(hl_program *p)
{
    gpu_side *g = p->gpu;
    hl_status st = HL_OK;
    for (size_t i = 0; i < p->bindings.n; i++)
        HL_TRY(bind_one(p, i));
    for (size_t v = 0; v < p->g->values.n; v++) {
        const hl_id root = p->root[v];
        const int k = p->binding_of[root];
        if (k >= 0) {
            p->data[v] = g->bindings[k].reached ? p->bound[k] : g->bindings[k].copy;
            g->host[v] = g->bindings[k].host;
        } else {
            p->data[v] = p->data[root];
            g->host[v] = g->host[root];
        }
        g->host_fresh[v] = p->g->values.at[root].kind != HL_VALUE_NODE;
    }
out:
    return st;
}

/* --- running --- */

/* Queues a copy to the host of what kernels have written there, if that was not done yet. */
static void to_host(hl_program *p, hl_id v)
{
    gpu_side *g = p->gpu;
    if (g->host_fresh[v])
        return;
    g->b->copy(g->device->gpu, g->host[v], p->data[v], hl_type_bytes(hl_graph_type(p->g, v)));
    g->host_fresh[v] = true;
}

static hl_status lost(const gpu_side *g, hl_status st)
{
    return hl_err_set(st, "cuda:%d: %s; the run cannot go on, its last checkpoint stands",
                      g->device->info.index, g->b->error(g->device->gpu));
}

static hl_status run_on_device(hl_program *p, int k, const hl_exec *x)
{
    gpu_side *g = p->gpu;
    step *s = &p->steps.at[k];
    void *out[HL_MAX_OUT];
    for (int i = 0; i < s->call.n_in; i++) {
        const hl_id v = p->in_values.at[s->in0 + i];
        p->in[i] = v == HL_NONE ? NULL : p->data[v];
    }
    for (int i = 0; i < s->call.n_out; i++) {
        out[i] = p->data[s->out0 + i];
        g->host_fresh[s->out0 + i] = false;
    }
    hl_op_run r = {.call = &s->call, .in = p->in, .out = out, .exec = x, .flops = &s->flops};
    if (s->scratch >= 0)
        r.scratch = g->arena + p->items.at[s->scratch].offset;
    if (!g->inner) /* faults are told by the outermost step */
        g->b->tag(g->device->gpu, k);
    return hl_step_run(p, s, &r);
}

static hl_status run_on_host(hl_program *p, int k, const hl_exec *x)
{
    gpu_side *g = p->gpu;
    step *s = &p->steps.at[k];
    void *out[HL_MAX_OUT];
    for (int i = 0; i < s->call.n_in; i++) {
        const hl_id v = p->in_values.at[s->in0 + i];
        p->in[i] = v == HL_NONE ? NULL : g->host[v];
        if (v != HL_NONE)
            to_host(p, v);
    }
    if (g->b->wait(g->device->gpu) != HL_OK)
        return lost(g, HL_E_DEVICE);
    for (int i = 0; i < s->call.n_out; i++)
        out[i] = g->host[s->out0 + i];
    hl_exec here = *x;
    here.gpu = NULL;
    hl_op_run r = {.call = &s->call, .in = p->in, .out = out, .exec = &here, .flops = &s->flops};
    if (s->scratch >= 0)
        r.scratch = g->mirror + p->items.at[s->scratch].offset;
    const hl_status st = hl_step_run(p, s, &r);
    for (int i = 0; i < s->call.n_out; i++) {
        const hl_id v = s->out0 + i;
        g->b->copy(g->device->gpu, p->data[v], g->host[v], hl_type_bytes(hl_graph_type(p->g, v)));
        g->host_fresh[v] = true;
    }
    return st;
}

static hl_status run_steps(hl_program *p, const hl_exec *x)
{
    hl_status st = HL_OK;
    for (int k = 0; k < (int)p->steps.n && st == HL_OK; k++) {
        const step *s = &p->steps.at[k];
        if (s->call.op->flags & HL_OP_VIEW)
            continue;
        st = s->on_device ? run_on_device(p, k, x) : run_on_host(p, k, x);
    }
    return st;
}

static bool as_captured(const hl_program *p)
{
    const gpu_side *g = p->gpu;
    for (size_t i = 0; i < p->bindings.n; i++)
        if (g->captured_at[i] != (g->bindings[i].reached ? p->bound[i] : g->bindings[i].copy))
            return false;
    return true;
}

/* The first run goes step by step (libraries make their plans in it), the second one is captured.
 */
static hl_status run_captured(hl_program *p, const hl_exec *x)
{
    gpu_side *g = p->gpu;
    hl_gpu *gpu = g->device->gpu;
    if (g->captured && !as_captured(p))
        forget_capture(g);
    if (!g->captured) {
        g->refused = g->b->capture_begin(gpu) != HL_OK;
        if (g->refused)
            return run_steps(p, x);
        const hl_status st = run_steps(p, x);
        g->captured = g->b->capture_end(gpu);
        g->refused = !g->captured;
        if (st != HL_OK || !g->captured)
            return st != HL_OK ? st : run_steps(p, x);
        for (size_t i = 0; i < p->bindings.n; i++)
            g->captured_at[i] = g->bindings[i].reached ? p->bound[i] : g->bindings[i].copy;
    }
    for (size_t v = 0; v < p->g->values.n; v++)
        g->host_fresh[v] = p->g->values.at[p->root[v]].kind != HL_VALUE_NODE;
    g->b->replay(gpu, g->captured);
    g->n_replayed++;
    return HL_OK;
}

/* In the words of the CPU. */
static hl_status describe_fault(const hl_gpu_fault *f)
{
    switch (f->kind) {
    case HL_FAULT_ID:
        return hl_err_set(HL_E_ARG, "id %d at position %lld is outside the table of %d rows",
                          f->value, (long long)f->position + 1, f->limit);
    case HL_FAULT_LABEL:
        return hl_err_set(HL_E_ARG, "label %d at position %lld is outside the %d classes", f->value,
                          (long long)f->position + 1, f->limit);
    case HL_FAULT_NO_RANGE:
        return hl_err_set(HL_E_STATE, "a quantizer has no range yet; observe a batch first");
    case HL_FAULT_RANGE:
        return hl_err_set(HL_E_NUMERIC, "a range that is not finite cannot be quantized");
    case HL_FAULT_NO_CODE:
        return hl_err_set(HL_E_NUMERIC, "numbers that are not finite have no codes");
    case HL_FAULT_WEIGHTS:
        return hl_err_set(HL_E_ARG, "attention weights are never negative, but their range is");
    default:
        return hl_err_set(HL_E_INTERNAL, "a kernel found fault %d", f->kind);
    }
}

static hl_status tell_fault(const hl_program *p, const hl_gpu_fault *f)
{
    const bool known = f->tag >= 0 && f->tag < (int)p->steps.n;
    const step *s = known ? &p->steps.at[f->tag] : NULL;
    const hl_status st = describe_fault(f);
    if (s)
        (void)hl_err_context("%s%s%s", s->where ? s->where : "", s->where ? ": " : "",
                             s->call.op->name);
    return st;
}

/* Waits; outputs are on the host then. */
static hl_status finish(hl_program *p)
{
    gpu_side *g = p->gpu;
    hl_gpu *gpu = g->device->gpu;
    hl_gpu_fault fault = {.kind = HL_FAULT_NONE};
    for (int i = 0; i < p->n_outputs; i++)
        to_host(p, p->outputs[i]);
    for (size_t i = 0; i < p->bindings.n; i++)
        if (g->bindings[i].written && !g->bindings[i].reached)
            g->b->copy(gpu, p->bound[i], g->bindings[i].copy,
                       hl_type_bytes(&p->bindings.at[i].type));
    if (g->b->sync(gpu, &fault) != HL_OK)
        return lost(g, HL_E_DEVICE);
    return fault.kind == HL_FAULT_NONE ? HL_OK : tell_fault(p, &fault);
}

static hl_status run_inner(hl_program *p, const hl_exec *x)
{
    for (size_t v = 0; v < p->g->values.n; v++) {
        const int k = p->binding_of[p->root[v]];
        p->data[v] = k >= 0 ? p->bound[k] : p->data[p->root[v]];
    }
    return run_steps(p, x);
}

hl_status hl_gpu_side_run(hl_program *p, const hl_exec *x)
{
    gpu_side *g = p->gpu;
    hl_status st = HL_OK;
    if (g->inner)
        return run_inner(p, x);
    HL_TRY(hl_gpu_side_prepare(p));
    HL_TRY(resolve(p));
    const hl_gpu_key key = {.k0 = (uint32_t)x->seed,
                            .k1 = (uint32_t)(x->seed >> 32),
                            .step = x->step,
                            .stream_base = x->stream_base};
    g->b->copy(g->device->gpu, g->key, &key, sizeof key);
    hl_exec there = *x;
    there.gpu = g->device->gpu;
    there.key = g->key;
    const bool may = g->all_there && !g->refused && !p->profile;
    st = may && g->n_runs++ > 0 ? run_captured(p, &there) : run_steps(p, &there);
    hl_status end = finish(p);
    return st != HL_OK ? st : end;
out:
    return st;
}

int64_t hl_gpu_side_replayed(const hl_program *p)
{
    return p->gpu->n_replayed;
}

const void *hl_gpu_side_output(const hl_program *p, hl_id v)
{
    const gpu_side *g = p->gpu;
    if (g->inner)
        return p->data[v];
    return g->host ? g->host[v] : NULL;
}
