#include "engine/solve/body_program.h"

#include "engine/base/mem.h"
#include "engine/exec/program.h"
#include "engine/pass/pass.h"

struct hl_body_program {
    int n_in, n_z, n_out;
    hl_program *once, *loop; /* once: NULL if nothing is invariant */
    int n_once;              /* values that `once` makes for `loop` */
    int *loop_in, *once_in;  /* per input of the body: its binding, -1 if it is not read */
    int *handed;             /* per value of `once`: its binding in the loop, -1 */
    unsigned char *marks;    /* what tells those leaves apart */
};

/* Values that do not depend on the states and are read by nodes that do, or are results. */
static hl_status find_boundary(const hl_body *b, int n_z, hl_id *boundary, int *n)
{
    bool *depends = hl_alloc(b->g->values.n + 1), *taken = hl_alloc_zero(b->g->values.n + 1, 1);
    *n = 0;
    if (!depends || !taken) {
        hl_free(depends);
        hl_free(taken);
        return HL_E_NOMEM;
    }
    hl_body_depends(b, n_z, depends);
    for (size_t k = 0; k <= b->g->nodes.n; k++) {
        const bool last = k == b->g->nodes.n; /* the results read too */
        const hl_node *node = last ? NULL : &b->g->nodes.at[k];
        if (node && !depends[node->out0])
            continue;
        const hl_id *in = last ? b->out : node->in;
        for (int i = 0; i < (last ? b->n_out : node->n_in); i++) {
            const hl_id v = in[i];
            if (v == HL_NONE || depends[v] || taken[v] || b->g->values.at[v].kind != HL_VALUE_NODE)
                continue;
            taken[v] = true;
            boundary[(*n)++] = v;
        }
    }
    hl_free(depends);
    hl_free(taken);
    return HL_OK;
}

static hl_status compile_once(hl_body_program *p, const hl_body *b, const hl_id *boundary,
                              const hl_compile *like)
{
    hl_compile how = *like;
    how.outputs = boundary;
    how.n_outputs = p->n_once;
    hl_status st = hl_program_new(b->g, &how, &p->once);
    for (int k = 0; st == HL_OK && k < hl_program_n_bindings(p->once); k++)
        for (int i = 0; i < b->n_in; i++)
            if (b->in[i] == hl_program_binding(p->once, k)->value)
                p->once_in[i] = k;
    return st;
}

/* Bindings of the loop: leaves of the body by their ids, handed-over values by their marks. */
static void find_bindings(hl_body_program *p, const hl_body *b, const hl_id *map)
{
    for (int k = 0; k < hl_program_n_bindings(p->loop); k++) {
        const hl_binding *x = hl_program_binding(p->loop, k);
        const unsigned char *mark = x->mark;
        if (mark) {
            p->handed[mark - p->marks] = k;
            continue;
        }
        for (int i = 0; i < b->n_in; i++)
            if (map[b->in[i]] == x->value)
                p->loop_in[i] = k;
    }
}

static hl_status compile_loop(hl_body_program *p, const hl_body *b, const hl_id *boundary,
                              const hl_compile *like)
{
    hl_status st = HL_OK;
    hl_graph *loop = NULL, *fused = NULL;
    const size_t n = b->g->values.n + 1;
    void **cut = hl_alloc_zero(n, sizeof *cut);
    hl_id *map = hl_alloc(n * sizeof *map), *again = NULL, *outs = NULL;
    outs = hl_alloc((size_t)(b->n_out + 1) * sizeof *outs);
    if (!cut || !map || !outs) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (int i = 0; i < p->n_once; i++)
        cut[boundary[i]] = &p->marks[i];
    HL_TRY(hl_graph_extract_cut(b->g, b->out, b->n_out, cut, &loop, map));
    again = hl_alloc((loop->values.n + 1) * sizeof *again);
    if (!again) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (int i = 0; i < b->n_out; i++)
        outs[i] = map[b->out[i]];
    HL_TRY(hl_pass_fuse_backward(loop, outs, b->n_out, &fused, again));
    for (size_t v = 0; v < b->g->values.n; v++)
        map[v] = map[v] == HL_NONE ? HL_NONE : again[map[v]];
    hl_compile how = *like;
    how.outputs = outs;
    how.n_outputs = b->n_out;
    HL_TRY(hl_program_new(fused, &how, &p->loop));
    find_bindings(p, b, map);
out:
    hl_graph_free(loop);
    hl_graph_free(fused);
    hl_free(cut);
    hl_free(map);
    hl_free(again);
    hl_free(outs);
    return st;
}

hl_status hl_body_program_new(const hl_body *b, int n_z, bool fp64, int n_workers,
                              hl_body_program **out)
{
    hl_status st = HL_OK;
    const hl_compile like = {.fp64 = fp64, .n_workers = n_workers};
    hl_id *boundary = hl_alloc((b->g->values.n + 1) * sizeof *boundary);
    hl_body_program *p = hl_alloc_zero(1, sizeof *p);
    if (!boundary || !p) {
        st = HL_E_NOMEM;
        goto out;
    }
    p->n_in = b->n_in;
    p->n_z = n_z;
    p->n_out = b->n_out;
    HL_TRY(find_boundary(b, n_z, boundary, &p->n_once));
    p->loop_in = hl_alloc((size_t)(2 * b->n_in + p->n_once + 1) * sizeof *p->loop_in);
    p->marks = hl_alloc_zero((size_t)p->n_once + 1, 1);
    if (!p->loop_in || !p->marks) {
        st = HL_E_NOMEM;
        goto out;
    }
    p->once_in = p->loop_in + b->n_in;
    p->handed = p->once_in + b->n_in;
    for (int i = 0; i < 2 * b->n_in + p->n_once; i++)
        p->loop_in[i] = -1;
    if (p->n_once)
        HL_TRY(compile_once(p, b, boundary, &like));
    HL_TRY(compile_loop(p, b, boundary, &like));
    *out = p;
    p = NULL;
out:
    hl_free(boundary);
    hl_body_program_free(p);
    return st;
}

void hl_body_program_free(hl_body_program *p)
{
    if (!p)
        return;
    hl_program_free(p->once);
    hl_program_free(p->loop);
    hl_free(p->loop_in);
    hl_free(p->marks);
    hl_free(p);
}

static size_t round64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

size_t hl_body_program_bytes(const hl_body_program *p)
{
    const size_t once = p->once ? hl_program_get_info(p->once).arena_bytes : 0;
    return round64(once) + round64(hl_program_get_info(p->loop).arena_bytes);
}

double hl_body_program_flops(const hl_body_program *p)
{
    return hl_program_get_info(p->loop).flops;
}

static void bind(hl_program *p, int binding, const void *data)
{
    if (binding >= 0)
        hl_program_bind(p, binding, (void *)(uintptr_t)data);
}

hl_status hl_body_program_begin(hl_body_program *p, const void *const *in, void *arena,
                                const hl_exec *x)
{
    unsigned char *at = arena;
    if (p->once) {
        hl_program_use_arena(p->once, at);
        at += round64(hl_program_get_info(p->once).arena_bytes);
    }
    hl_program_use_arena(p->loop, at);
    for (int i = p->n_z; i < p->n_in; i++) {
        bind(p->loop, p->loop_in[i], in[i]);
        if (p->once)
            bind(p->once, p->once_in[i], in[i]);
    }
    hl_status st = p->once ? hl_program_run(p->once, x) : HL_OK;
    for (int i = 0; i < p->n_once && st == HL_OK; i++)
        bind(p->loop, p->handed[i], hl_program_output(p->once, i));
    return st;
}

hl_status hl_body_program_eval(hl_body_program *p, void *const *x, const void **y,
                               const hl_exec *exec)
{
    for (int i = 0; i < p->n_z; i++)
        bind(p->loop, p->loop_in[i], x[i]);
    hl_status st = hl_program_run(p->loop, exec);
    for (int i = 0; i < p->n_out && st == HL_OK; i++)
        y[i] = hl_program_output(p->loop, i);
    return st;
}
