/* Shared by the files of programs; never leaves engine/exec. */
#ifndef HL_EXEC_PROGRAM_INTERNAL_H
#define HL_EXEC_PROGRAM_INTERNAL_H

#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "engine/exec/plan.h"
#include "engine/exec/program.h"

typedef struct step {
    hl_call call;
    int32_t in0;   /* first of n_in entries in p->in_values */
    hl_id out0;
    int scratch;   /* item, or -1 */
    bool doubles;  /* runs on the double reference */
    bool on_device;
    const char *where;
    int64_t ns, n_runs;
    int part; /* hl_program_divide */
    double flops; /* of the last run; before the first, at most */
} step;

struct hl_program {
    hl_graph *g; /* the compiled graph, owned */
    bool fp64;
    int n_workers;
    HL_VEC(step) steps;
    HL_VEC(hl_id) in_values;
    HL_VEC(hl_type) types; /* of all calls: inputs then outputs */
    HL_VEC(hl_binding) bindings;
    HL_VEC(hl_plan_item) items;
    hl_id *root;       /* per value */
    int *item;         /* per value: of its root, or -1 */
    int *binding_of;   /* per value: of a leaf, or -1 */
    void **data;       /* per value: resolved at run */
    void **bound;      /* per binding */
    const void **in;   /* room for the widest step */
    unsigned char *arena;
    bool arena_borrowed;
    size_t arena_bytes;
    hl_id *outputs;
    int n_outputs;
    bool profile;
    struct gpu_side *gpu; /* program_gpu.c; NULL: runs on the CPU */
};

/* --- program_gpu.c --- */
typedef struct gpu_side gpu_side;
HL_MUST_CHECK hl_status hl_gpu_side_new(hl_program *p, hl_device *d, bool inner);
hl_device *hl_gpu_side_device(const hl_program *p);
void hl_gpu_side_use_arena(hl_program *p, void *arena); /* of inner programs */
void hl_gpu_side_forget(hl_program *p);                 /* what was captured */
void hl_gpu_side_free(hl_program *p);
HL_MUST_CHECK hl_status hl_gpu_side_prepare(hl_program *p);
HL_MUST_CHECK hl_status hl_gpu_side_run(hl_program *p, const hl_exec *x);
HL_MUST_CHECK hl_status hl_gpu_side_ahead(hl_program *p, int i, const void *data);
const void *hl_gpu_side_ahead_drop(hl_program *p, int i);
int64_t hl_gpu_side_replayed(const hl_program *p); /* runs */
const void *hl_gpu_side_output(const hl_program *p, hl_id v);

/* --- program.c, for it --- */
/* An error about memory, naming the largest tensors. */
hl_status hl_program_no_arena(const hl_program *p);
/* Runs a step on buffers. */
HL_MUST_CHECK hl_status hl_step_run(const hl_program *p, step *s, const hl_op_run *r);

/* At least one output, all of them values of g. */
HL_MUST_CHECK hl_status hl_compile_check(const hl_graph *g, const hl_compile *how);
int hl_compile_workers(const hl_compile *how);

#endif
