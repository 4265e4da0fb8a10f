#include "engine/solve/body_program.h"

#include "engine/base/mem.h"
#include "engine/exec/program.h"
#include "engine/pass/pass.h"
#include "engine/solve/fewer.h"

struct hl_body_program {
    int n_in, n_z, n_out;
    hl_program *once, *loop; /* once: NULL if nothing is invariant */
    int n_once;              /* values that `once` makes for `loop` */
    int *loop_in, *once_in;  /* per input of the body: its binding, -1 if it is not read */
    int *handed;             /* per value of `once`: its binding in the loop, -1 */
    unsigned char *marks;    /* what tells those leaves apart */
    const void **bound;      /* per binding of the loop */
    hl_fewer *fewer;         /* NULL: every evaluation is of the whole batch */
    double flops;            /* since it began */
};

/* The body while it is being rewritten: a graph, its leaves and results. */
typedef struct work {
    hl_graph *g;
    hl_id *in, *out;
    int n_in, n_z, n_out;
    bool *depends; /* per value: on a state? */
} work;

static void work_done(work *w)
{
    hl_graph_free(w->g);
    hl_free(w->in);
    hl_free(w->out);
    hl_free(w->depends);
}

static hl_status find_dependents(work *w)
{
    hl_free(w->depends);
    w->depends = hl_alloc(w->g->values.n + 1);
    if (!w->depends)
        return HL_E_NOMEM;
    hl_graph_depends(w->g, w->in, w->n_z, w->depends);
    return HL_OK;
}

typedef enum rewriting { SUMS_INTO_PRODUCTS, PACK, ELEMENTWISE } rewriting;

static hl_status rewrite(work *w, rewriting how)
{
    hl_status st = HL_OK;
    hl_graph *to = NULL;
    const size_t n = w->g->values.n;
    hl_id *map = hl_alloc((n + 1) * sizeof *map);
    bool *fixed = hl_alloc((n + 1) * sizeof *fixed);
    if (!map || !fixed) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(find_dependents(w));
    for (size_t v = 0; v < n; v++)
        fixed[v] = !w->depends[v];
    if (how == SUMS_INTO_PRODUCTS)
        HL_TRY(hl_pass_fuse_backward(w->g, w->out, w->n_out, &to, map));
    else if (how == PACK)
        HL_TRY(hl_pass_pack(w->g, w->out, w->n_out, fixed, &to, map));
    else
        HL_TRY(hl_pass_fuse_elementwise(w->g, w->out, w->n_out, fixed, &to, map));
    for (int i = 0; i < w->n_in; i++)
        w->in[i] = map[w->in[i]];
    hl_graph_free(w->g);
    w->g = to;
out:
    hl_free(map);
    hl_free(fixed);
    return st;
}

/* Packed operands are a matter of the CPU. */
static hl_status work_begin(const hl_body *b, int n_z, bool packs, work *w)
{
    hl_status st = HL_OK;
    const int n = b->n_in + b->n_out;
    *w = (work){.n_in = b->n_in, .n_z = n_z, .n_out = b->n_out};
    hl_id *map = hl_alloc((b->g->values.n + 1) * sizeof *map);
    hl_id *all = hl_alloc((size_t)(n + 1) * sizeof *all);
    w->in = hl_alloc((size_t)(b->n_in + 1) * sizeof *w->in);
    w->out = hl_alloc((size_t)(b->n_out + 1) * sizeof *w->out);
    if (!map || !all || !w->in || !w->out) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (int i = 0; i < n; i++)
        all[i] = i < b->n_in ? b->in[i] : b->out[i - b->n_in];
    HL_TRY(hl_graph_extract(b->g, all, n, &w->g, map));
    for (int i = 0; i < b->n_in; i++)
        w->in[i] = map[b->in[i]];
    for (int i = 0; i < b->n_out; i++)
        w->out[i] = map[b->out[i]];
    HL_TRY(rewrite(w, SUMS_INTO_PRODUCTS));
    if (packs)
        HL_TRY(rewrite(w, PACK));
    HL_TRY(rewrite(w, ELEMENTWISE));
    st = find_dependents(w);
out:
    hl_free(map);
    hl_free(all);
    return st;
}

/* Values that do not depend on the states and are read by nodes that do, or are results. */
static hl_status find_boundary(const work *w, hl_id *boundary, int *n)
{
    bool *taken = hl_alloc_zero(w->g->values.n + 1, sizeof *taken);
    if (!taken)
        return HL_E_NOMEM;
    *n = 0;
    for (size_t k = 0; k <= w->g->nodes.n; k++) {
        const hl_node *node =
            k == w->g->nodes.n ? NULL : &w->g->nodes.at[k]; /* NULL: the results */
        if (node && !w->depends[node->out0])
            continue;
        const hl_id *in = node ? node->in : w->out;
        for (int i = 0; i < (node ? node->n_in : w->n_out); i++) {
            const hl_id v = in[i];
            if (v == HL_NONE || w->depends[v] || taken[v] ||
                w->g->values.at[v].kind != HL_VALUE_NODE)
                continue;
            taken[v] = true;
            boundary[(*n)++] = v;
        }
    }
    hl_free(taken);
    return HL_OK;
}

static hl_status compile_once(hl_body_program *p, const work *w, const hl_id *boundary,
                              const hl_compile *like)
{
    hl_compile how = *like;
    how.outputs = boundary;
    how.n_outputs = p->n_once;
    hl_status st = hl_program_new(w->g, &how, &p->once);
    for (int k = 0; st == HL_OK && k < hl_program_n_bindings(p->once); k++)
        for (int i = 0; i < w->n_in; i++)
            if (w->in[i] == hl_program_binding(p->once, k)->value)
                p->once_in[i] = k;
    return st;
}

/* Bindings of the loop: leaves of the body by their ids, handed-over values by their marks. */
static void find_bindings(hl_body_program *p, const work *w, const hl_id *map)
{
    for (int k = 0; k < hl_program_n_bindings(p->loop); k++) {
        const hl_binding *x = hl_program_binding(p->loop, k);
        const unsigned char *mark = x->mark;
        if (mark) {
            p->handed[mark - p->marks] = k;
            continue;
        }
        for (int i = 0; i < w->n_in; i++)
            if (map[w->in[i]] == x->value)
                p->loop_in[i] = k;
    }
}

static hl_status compile_fewer(hl_body_program *p, const work *w, const hl_graph *loop,
                               const hl_id *map, const hl_id *outs, const hl_compile *like)
{
    hl_id *z = hl_alloc((size_t)(w->n_z + 1) * sizeof *z);
    if (!z)
        return HL_E_NOMEM;
    for (int i = 0; i < w->n_z; i++)
        z[i] = map[w->in[i]];
    const hl_loop whole = {loop, z, outs, w->n_z, w->n_out, p->loop};
    hl_status st = hl_fewer_new(&whole, like, &p->fewer);
    hl_free(z);
    return st;
}

static hl_status compile_loop(hl_body_program *p, const work *w, const hl_id *boundary,
                              const hl_compile *like, bool shrinks)
{
    hl_status st = HL_OK;
    hl_graph *loop = NULL;
    const size_t n = w->g->values.n + 1;
    void **cut = hl_alloc_zero(n, sizeof *cut);
    hl_id *map = hl_alloc(n * sizeof *map), *outs = NULL;
    outs = hl_alloc((size_t)(w->n_out + 1) * sizeof *outs);
    if (!cut || !map || !outs) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (int i = 0; i < p->n_once; i++)
        cut[boundary[i]] = &p->marks[i];
    HL_TRY(hl_graph_extract_cut(w->g, w->out, w->n_out, cut, &loop, map));
    for (int i = 0; i < w->n_out; i++)
        outs[i] = map[w->out[i]];
    hl_compile how = *like;
    how.outputs = outs;
    how.n_outputs = w->n_out;
    HL_TRY(hl_program_new(loop, &how, &p->loop));
    find_bindings(p, w, map);
    p->bound = hl_alloc_zero((size_t)hl_program_n_bindings(p->loop) + 1, sizeof *p->bound);
    if (!p->bound)
        st = HL_E_NOMEM;
    else if (shrinks)
        st = compile_fewer(p, w, loop, map, outs, like);
out:
    hl_graph_free(loop);
    hl_free(cut);
    hl_free(map);
    hl_free(outs);
    return st;
}

hl_status hl_body_program_new(const hl_body *b, int n_z, bool shrinks, const hl_compile *how,
                              hl_body_program **out)
{
    hl_status st = HL_OK;
    hl_compile like = *how;
    like.inner = how->device != NULL;
    work w = {0};
    hl_id *boundary = NULL;
    hl_body_program *p = hl_alloc_zero(1, sizeof *p);
    if (!p) {
        st = HL_E_NOMEM;
        goto out;
    }
    p->n_in = b->n_in;
    p->n_z = n_z;
    p->n_out = b->n_out;
    HL_TRY(work_begin(b, n_z, !like.device, &w));
    boundary = hl_alloc((w.g->values.n + 1) * sizeof *boundary);
    if (!boundary) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(find_boundary(&w, boundary, &p->n_once));
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
        HL_TRY(compile_once(p, &w, boundary, &like));
    HL_TRY(compile_loop(p, &w, boundary, &like, shrinks));
    *out = p;
    p = NULL;
out:
    hl_free(boundary);
    work_done(&w);
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
    hl_free(p->bound);
    hl_fewer_free(p->fewer);
    hl_free(p);
}

bool hl_body_program_stays_there(const hl_body_program *p)
{
    return hl_program_stays_there(p->loop) && (!p->once || hl_program_stays_there(p->once));
}

static size_t once_bytes(const hl_body_program *p)
{
    return p->once ? hl_align64(hl_program_get_info(p->once).arena_bytes) : 0;
}

static size_t loop_bytes(const hl_body_program *p)
{
    return hl_align64(hl_program_get_info(p->loop).arena_bytes);
}

size_t hl_body_program_bytes(const hl_body_program *p)
{
    return once_bytes(p) + loop_bytes(p) + hl_fewer_bytes(p->fewer);
}

double hl_body_program_flops(const hl_body_program *p)
{
    return hl_program_get_info(p->loop).flops;
}

double hl_body_program_done(const hl_body_program *p)
{
    return p->flops;
}

static void bind(hl_program *p, int binding, const void *data)
{
    if (binding >= 0)
        hl_program_bind(p, binding, (void *)(uintptr_t)data);
}

static void bind_loop(hl_body_program *p, int binding, const void *data)
{
    bind(p->loop, binding, data);
    if (binding >= 0)
        p->bound[binding] = data;
}

hl_status hl_body_program_begin(hl_body_program *p, const void *const *in, void *arena,
                                const hl_exec *x)
{
    unsigned char *at = arena;
    if (p->once)
        hl_program_use_arena(p->once, at);
    at += once_bytes(p);
    hl_program_use_arena(p->loop, at);
    at += loop_bytes(p);
    if (p->fewer)
        hl_fewer_begin(p->fewer, at);
    p->flops = 0;
    if (p->once)
        hl_program_begin(p->once);
    hl_program_begin(p->loop);
    for (int i = p->n_z; i < p->n_in; i++) {
        bind_loop(p, p->loop_in[i], in[i]);
        if (p->once)
            bind(p->once, p->once_in[i], in[i]);
    }
    hl_status st = p->once ? hl_program_run(p->once, x) : HL_OK;
    for (int i = 0; i < p->n_once && st == HL_OK; i++)
        bind_loop(p, p->handed[i], hl_program_output(p->once, i));
    return st;
}

hl_status hl_body_program_eval(hl_body_program *p, void *const *x, const unsigned char *done,
                               const void **y, const hl_exec *exec)
{
    if (hl_fewer_fits(p->fewer, done)) {
        hl_status st = hl_fewer_eval(p->fewer, p->bound, x, done, y, exec);
        if (st == HL_OK)
            p->flops += hl_fewer_flops(p->fewer);
        return st;
    }
    for (int i = 0; i < p->n_z; i++)
        bind(p->loop, p->loop_in[i], x[i]);
    hl_status st = hl_program_run(p->loop, exec);
    for (int i = 0; i < p->n_out && st == HL_OK; i++)
        y[i] = hl_program_output(p->loop, i);
    p->flops += hl_body_program_flops(p);
    return st;
}
