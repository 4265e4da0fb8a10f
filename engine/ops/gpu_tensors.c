#include "engine/ops/gpu_tensors.h"

#include <string.h>

#include "engine/base/mem.h"

typedef struct table {
    hl_gpu *gpu;
    hl_gpu_tensor *there; /* what `here` says; NULL: not yet */
    int n;                /* of `here` */
    hl_gpu_tensor *here, *next;
} table;

hl_status hl_gpu_tensors_prepare(const hl_call *c, bool fp64, int n_workers, void **state)
{
    (void)fp64;
    (void)n_workers;
    table *t = hl_alloc_zero(1, sizeof *t);
    if (!t)
        return HL_E_NOMEM;
    t->here = hl_alloc_zero(2 * (size_t)c->n_in + 1, sizeof *t->here);
    t->next = t->here ? t->here + c->n_in : NULL;
    *state = t;
    if (t->here)
        return HL_OK;
    hl_gpu_tensors_release(t);
    *state = NULL;
    return HL_E_NOMEM;
}

void hl_gpu_tensors_release(void *state)
{
    table *t = state;
    if (!t)
        return;
    if (t->there)
        hl_gpu_get()->free(t->gpu, t->there);
    hl_free(t->here);
    hl_free(t);
}

int64_t hl_gpu_chunks(int64_t n)
{
    return (n + HL_GPU_CHUNK - 1) / HL_GPU_CHUNK;
}

static hl_status upload(table *t, int n)
{
    const hl_gpu_backend *b = hl_gpu_get();
    if (!t->there)
        t->there = b->alloc(t->gpu, (size_t)(t->next - t->here) * sizeof *t->there);
    if (!t->there)
        return hl_err_set(HL_E_NOMEM, "not enough memory on the device for a table of tensors");
    memcpy(t->here, t->next, (size_t)n * sizeof *t->here);
    t->n = n;
    for (int i = 0; i < n; i += HL_GPU_TENSORS)
        b->put_tensors(t->gpu, n - i < HL_GPU_TENSORS ? n - i : HL_GPU_TENSORS, t->here + i,
                       t->there + i);
    return HL_OK;
}

hl_status hl_gpu_tensors_of(const hl_op_run *r, int n_scalars, int group, hl_gpu_tensors *out)
{
    table *t = r->call->state;
    int64_t blocks = 0;
    int n = 0;
    t->gpu = r->exec->gpu;
    for (int i = n_scalars; i < r->call->n_in; i += group, n++) {
        void *at[4] = {NULL};
        for (int k = 0; k < group && k < 4; k++)
            at[k] = (void *)(uintptr_t)r->in[i + k]; /* states among them are writable */
        t->next[n] = (hl_gpu_tensor){.first = blocks,
                                     .count = hl_type_count(&r->call->in[i]),
                                     .p = at[0],
                                     .g = at[1],
                                     .m = at[2],
                                     .v = at[3]};
        blocks += hl_gpu_chunks(t->next[n].count);
    }
    if (n != t->n || memcmp(t->here, t->next, (size_t)n * sizeof *t->here) != 0) {
        const hl_status st = upload(t, n);
        if (st != HL_OK)
            return st;
    }
    *out = (hl_gpu_tensors){.n = n, .n_blocks = blocks, .at = t->there};
    return HL_OK;
}
