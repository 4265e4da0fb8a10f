/* An operation: one row that says everything about it. Lua function, documentation, profiler row,
 * benchmark and conformance tests are derived from the row; nothing else names an op.
 *
 * Adding one: write x_op.c with the row, add HL_OP(x) to hl_op.def (CONTRIBUTING.md). */
#ifndef HL_OPS_OP_H
#define HL_OPS_OP_H

#include "engine/base/err.h"
#include "kernels/hl_gpu.h"

typedef int32_t hl_id; /* a value of a graph */
#define HL_NONE (-1)

typedef struct hl_graph hl_graph;
typedef struct hl_node hl_node;
typedef struct hl_op hl_op;
typedef struct hl_device hl_device; /* engine/exec/device.h */
typedef struct hl_body hl_body; /* a graph inside a node: engine/graph/body.h */

typedef struct hl_type {
    hl_dtype dtype;
    int rank;
    int64_t dim[HL_MAX_RANK];
} hl_type;

#define HL_MAX_ATTR 16
#define HL_MAX_OUT  16

typedef enum hl_attr_kind {
    HL_ATTR_END = 0,
    HL_ATTR_INT,
    HL_ATTR_REAL,
    HL_ATTR_BOOL,
    HL_ATTR_ENUM,  /* names in hl_attr_spec.names, the value is the index */
    HL_ATTR_AXIS,  /* one dimension, 0-based; negative counts from the end */
    HL_ATTR_AXES,  /* a set of dimensions as a bit mask; 0 means all */
    HL_ATTR_DIMS   /* a list of sizes or dimensions, in hl_attrs.dims; one per op */
} hl_attr_kind;

typedef struct hl_attr_spec {
    const char *name;
    hl_attr_kind kind;
    double otherwise;         /* default; NAN: must be given */
    double min, max;          /* of numbers; equal: no limits */
    const char *const *names; /* ENUM: NULL-terminated */
} hl_attr_spec;

typedef union hl_attr {
    int64_t i;
    double f;
} hl_attr;

typedef struct hl_attrs {
    hl_attr v[HL_MAX_ATTR]; /* as in the row's attr list */
    int64_t dims[HL_MAX_RANK];
    int64_t n_dims; /* no padding: attributes are compared and hashed as bytes */
} hl_attrs;

/* A call without its data: what shape rules, costs and scratch sizes look at. */
typedef struct hl_call {
    const hl_op *op;
    const hl_type *in; /* an input left out has dtype HL_DTYPE_COUNT */
    int n_in;
    hl_type *out;
    int n_out;
    hl_attrs attrs;
    uint32_t stream; /* of random numbers, numbered when recorded */
    const hl_body *body; /* of ops that iterate one, else NULL */
    void *state;         /* what op->prepare made; NULL while shapes are looked at */
} hl_call;

/* Where and with what a program runs. */
typedef struct hl_exec {
    hl_team *team;
    uint64_t seed;
    uint32_t step;
    uint32_t stream_base; /* added to each call's stream */
    hl_gpu *gpu;           /* of programs compiled for a device, set by them */
    const hl_gpu_key *key; /* there: seed, step and stream_base, in device memory */
} hl_exec;

/* One execution of a call. Buffers are contiguous, 64-byte aligned, and do not overlap except as
 * the row's flags say. In fp64 programs every float buffer holds doubles. */
typedef struct hl_op_run {
    const hl_call *call;
    const void *const *in; /* NULL where left out */
    void *const *out;
    void *scratch;
    const hl_exec *exec;
    double *flops; /* for ops whose work depends on their values to tell it; NULL: nobody asks */
} hl_op_run;

/* Builds the nodes of the vector-Jacobian product. */
typedef struct hl_vjp {
    hl_graph *g;
    const hl_id *in, *out;    /* of the node */
    int n_in, n_out;
    const hl_attrs *attrs;
    uint32_t stream;
    const hl_body *body;
    const hl_id *grad_out;    /* HL_NONE: zero */
    const bool *needed;       /* per input */
    hl_id *grad_in;           /* to fill; HL_NONE stays zero */
} hl_vjp;

typedef enum hl_op_flags {
    HL_OP_ELEMENTWISE = 1,     /* tests compare relative to each element */
    HL_OP_VIEW = 2,            /* out 0 is input 0 under another shape: no code, no memory */
    HL_OP_RANDOM = 4,          /* draws numbers: gets a stream when recorded */
    HL_OP_EFFECT = 8,          /* writes into the state inputs named by op->mutates */
    HL_OP_NO_LUA = 16,         /* built by passes or the library only: no Lua function */
    HL_OP_BODY = 32,           /* holds a body graph */
    HL_OP_OTHER_GRADIENT = 64, /* its VJP is not the derivative of its value, on purpose */
    HL_OP_MIXED = 128, /* runs in the precision of input 0; others have types of their own */
    HL_OP_WAITS = 256  /* on a device how much there is to do depends on data: captured where the
                          driver can decide that (hl_gpu_backend.decides), else it waits */
} hl_op_flags;

/* --- cases: what the conformance suite runs --- */
typedef enum hl_fill {
    HL_FILL_NORMAL,   /* N(0, 1) */
    HL_FILL_RANGE,    /* uniform in [lo, hi] */
    HL_FILL_INDEX,    /* integers 0 .. hi-1; lo < 0: also -100 (ignore) */
    HL_FILL_MASK,     /* 0 or 1 */
    HL_FILL_POSITIVE, /* uniform in [0.1, 2] */
    HL_FILL_CONST     /* lo */
} hl_fill;

typedef struct hl_case_input {
    hl_dtype dtype;
    int rank;
    int64_t dim[HL_MAX_RANK];
    hl_fill fill;
    double lo, hi;
    bool absent;
} hl_case_input;

#define HL_CASE_INPUTS 10
typedef struct hl_case {
    const char *what; /* what this case is about */
    hl_case_input in[HL_CASE_INPUTS];
    int n_in;
    double attr[HL_MAX_ATTR]; /* values as in the row's attr list, for those given */
    unsigned attr_given;      /* bit i: attr[i] is given */
    int64_t dims[HL_MAX_RANK];
    int n_dims;
    /* BODY ops: appends y = f(leaves) to g and returns y; the leaves are those of in[] */
    hl_id (*body)(hl_graph *g, const hl_id *leaf);
    hl_status expect; /* HL_OK, or the status that a forbidden call must give */
} hl_case;

struct hl_op {
    const char *name;
    const char *doc;  /* what it computes; shapes in the legend of hl_kernel.h; source of the formula */
    const char *ins;  /* input names, space separated; "name?" may be left out, a last "name*" repeats */
    const char *outs; /* output names */
    hl_attr_spec attr[HL_MAX_ATTR + 1];
    unsigned flags;
    /* Checks inputs and attributes, sets out types. Messages are about shapes only; the caller adds
     * op and script line. */
    hl_status (*shape)(hl_call *c);
    /* Slow, obvious, on doubles. */
    hl_status (*ref)(const hl_op_run *r);
    /* On floats, with the team. */
    hl_status (*cpu)(const hl_op_run *r);
    size_t (*scratch)(const hl_call *c, int n_workers); /* NULL: none */
    /* On floats, on exec->gpu: queues kernels, waits for nothing. NULL: runs on the host in programs
     * for a device too, between copies. */
    hl_status (*gpu)(const hl_op_run *r);
    size_t (*gpu_scratch)(const hl_call *c); /* NULL: none */
    /* After prepare, in programs for a device: *there is set to false if this very call has to run
     * on the host. NULL: it has not. */
    hl_status (*gpu_prepare)(const hl_call *c, hl_device *d, bool *there);
    /* BODY ops: compiles the body, once per program, into *state, which is then c->state. */
    hl_status (*prepare)(const hl_call *c, bool fp64, int n_workers, void **state);
    void (*release)(void *state);
    /* What the state gathers over the evaluations of one solve starts anew (bodies only). */
    void (*begin)(void *state);
    /* Live changes: the value of a knob of the state, NAN if it has none of that name; with `set`, to
     * that value (NAN: as recorded) if it may be. Returns what holds afterwards. */
    double (*knob)(void *state, const char *name, const double *set);
    hl_status (*vjp)(hl_vjp *v);                        /* NULL: not differentiable */
    unsigned inplace;      /* bit i: out 0 may take over the buffer of input i, of equal size */
    unsigned no_grad;      /* bit i: no gradient flows into input i */
    unsigned bf16; /* bit i: input i is an operand of products and may be bf16, all of them or none;
                      outputs stay f32 (engine/pass/bf16.c) */
    unsigned half_ins;     /* bit i: on the CPU input i may be bf16 too, whatever the others are */
    unsigned half_outs;    /* bit i: on the CPU output i may be bf16, rounded from what it would be; of
                              rows with `bf16` where those are (engine/pass/round_results.c) */
    unsigned grad_outs;    /* bit i: output i carries a gradient; 0: output 0 alone */
    bool no_second;        /* the VJP cannot be differentiated again */
    bool (*mutates)(const hl_call *c, int input); /* EFFECT ops */
    double (*flops)(const hl_call *c); /* at most; NULL: one per output element */
    const hl_case *cases;
    int n_cases;
    double tol; /* conformance: allowed error of floats in units of 2^-24, of the element itself for
                   elementwise ops, else of the tensor's root mean square; 0: 16 */
    double tol_bf16; /* with bf16 operands, in units of 2^-8, for rows that round further numbers to
                        bf16 inside; 0: they do not, and tol holds for the rounded operands */
    double tol_abs; /* elementwise: magnitude added to each element's, for functions that cancel */
};

/* --- the table --- */
typedef enum hl_op_id {
#define HL_OP(name) HL_OP_ID_##name,
#include "engine/ops/hl_op.def"
    HL_OP_COUNT
} hl_op_id;

const hl_op *hl_op_get(hl_op_id id);
const hl_op *hl_op_find(const char *name); /* NULL */
int hl_op_index(const hl_op *op);

/* May input i be bf16? */
static inline bool hl_op_takes_bf16(const hl_op *op, int i)
{
    return i < 32 && op->bf16 >> i & 1;
}
/* Does its CPU code also read input i as bf16, and write output o rounded to it? */
static inline bool hl_op_reads_half(const hl_op *op, int i)
{
    return i < 32 && op->half_ins >> i & 1;
}
static inline bool hl_op_writes_half(const hl_op *op, int o)
{
    return op->half_outs >> o & 1;
}
/* Number of inputs an op takes: least and most (-1: any number). */
void hl_op_arity(const hl_op *op, int *least, int *most);
bool hl_op_input_optional(const hl_op *op, int i);
/* The i-th word of op->ins or op->outs without its mark, into buf. */
const char *hl_op_word(const char *words, int i, char buf[32]);
/* Index of an attribute, or -1 */
int hl_op_attr(const hl_op *op, const char *name);
/* Is it of kernels/ew/hl_ew.def, or `where`? */
bool hl_ew_is(const hl_op *op);
/* Attributes at their defaults; the ones that must be given stay NAN or 0. */
hl_attrs hl_op_defaults(const hl_op *op);

/* --- types --- */
hl_type hl_type_make(hl_dtype dtype, int rank, const int64_t *dim);
hl_type hl_type_scalar(hl_dtype dtype);
int64_t hl_type_count(const hl_type *t); /* elements */
size_t hl_type_bytes(const hl_type *t);
bool hl_type_equal(const hl_type *a, const hl_type *b);
bool hl_shape_equal(const hl_type *a, const hl_type *b);
bool hl_type_absent(const hl_type *t);
/* "f32{64, 512}" into buf, which is returned */
const char *hl_type_text(char buf[96], const hl_type *t);
/* "{64, 512}" */
const char *hl_shape_text(char buf[96], const hl_type *t);
const char *hl_dtype_name(hl_dtype t);
bool hl_dtype_parse(const char *name, hl_dtype *out);

#endif
