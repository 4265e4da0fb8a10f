/* The device behind the table: memory, order of work, and the GPU kernels (hl_gpu_kernel.def). One
 * stream per opened device; everything below is queued there and returns at once, unless said.
 *
 * The kernels are CUDA sources (kernels/cuda/). With a CUDA toolkit they are in the program, which
 * also starts where there is no driver; the tests compile the same sources for the host
 * (tests/cuda/emulation.h). Legend of shapes: hl_kernel.h. Pointers are device pointers unless
 * said. */
#ifndef HL_GPU_H
#define HL_GPU_H

#include "kernels/hl_kernel.h"
#include "kernels/quant/range_body.h"

typedef struct hl_gpu hl_gpu; /* an opened device */

typedef struct hl_gpu_info {
    char name[80];
    int index, major, minor; /* compute capability */
    int n_multiprocessors;
    size_t total_bytes, free_bytes;
} hl_gpu_info;

/* What a kernel found wrong with its data; the first one since the last sync. Later updates of
 * state are not made. */
typedef enum hl_gpu_fault_kind {
    HL_FAULT_NONE,
    HL_FAULT_ID,    /* an id outside of its table */
    HL_FAULT_LABEL, /* a label outside of the classes */
    HL_FAULT_NO_RANGE, /* a quantizer that has seen no batch */
    HL_FAULT_RANGE,    /* a range that is not finite */
    HL_FAULT_NO_CODE,  /* a number that is not finite where codes are wanted */
    HL_FAULT_WEIGHTS   /* attention weights on a grid with negative numbers */
} hl_gpu_fault_kind;
typedef struct hl_gpu_fault {
    int32_t kind, tag; /* tag: what hl_gpu_backend.tag said when the kernel was queued */
    int32_t value, limit;
    int64_t position; /* 0-based */
} hl_gpu_fault;

/* Key of random numbers that is read when a kernel runs, not when it is queued: a captured step is
 * replayed with other ones. In device memory. */
typedef struct hl_gpu_key {
    uint32_t k0, k1, step, stream_base;
} hl_gpu_key;

/* Sizes and strides (in elements) of up to HL_MAX_RANK dimensions, two operands. Elementwise:
 * result contiguous, operands a and b. Copy: from a to b. */
typedef struct hl_gpu_box {
    int rank;
    int64_t dim[HL_MAX_RANK], a[HL_MAX_RANK], b[HL_MAX_RANK];
} hl_gpu_box;

/* A short program of elementwise operations, run per element (engine/ops/fused_op.c). */
enum { HL_GPU_CODE = 96, HL_GPU_INPUTS = 24, HL_GPU_NUMBERS = 48, HL_GPU_REGISTERS = 24 };
typedef enum hl_gpu_source {
    HL_GPU_FULL,
    HL_GPU_ONE,
    HL_GPU_NUMBER,
    HL_GPU_REGISTER
} hl_gpu_source;
typedef struct hl_gpu_instruction {
    uint8_t n_in, row; /* 1: hl_ew1_id, 2: hl_ew2_id, 3: select */
    int8_t to;         /* register, -1: the result */
    uint8_t from[3], at[3];
} hl_gpu_instruction;
typedef struct hl_gpu_code {
    int n;
    hl_gpu_instruction code[HL_GPU_CODE];
    const float *in[HL_GPU_INPUTS];
    float number[HL_GPU_NUMBERS];
} hl_gpu_code;

/* A batch of products: C_i = act(A_i B_i (+ addend) + bias) as hl_gemm_args; elements from one
 * operand of the batch to the next. */
typedef struct hl_gpu_gemm {
    hl_gemm_args g; /* packed_b is not used */
    int64_t batch, a_batch, b_batch, c_batch;
} hl_gpu_gemm;

/* A tensor of many that one launch goes through, a block per HL_GPU_CHUNK numbers; first: which
 * block of all begins it. The table of them lies in device memory; put_tensors writes up to
 * HL_GPU_TENSORS of them. */
enum { HL_GPU_CHUNK = 4096, HL_GPU_TENSORS = 64 };
typedef struct hl_gpu_tensor {
    int64_t first, count;
    float *p; /* parameter, or what is only read */
    const float *g;
    float *m, *v;
} hl_gpu_tensor;
typedef struct hl_gpu_tensors {
    int n;
    int64_t n_blocks;
    const hl_gpu_tensor *at;
} hl_gpu_tensors;

/* layernorm_vjp: rows are cut into at most this many parts, two rows of n floats of scratch each */
enum { HL_GPU_LAYERNORM_PARTS = 256 };

/* moments: parts that a row is cut into, and doubles of scratch for all. */
static inline int64_t hl_gpu_moment_parts(int64_t n_rows, int64_t n)
{
    const int64_t blocks = (n + 8191) / 8192, wanted = n_rows > 0 ? (256 + n_rows - 1) / n_rows : 1;
    const int64_t parts = blocks < wanted ? blocks : wanted;
    return parts < 1 ? 1 : parts;
}
static inline size_t hl_gpu_moment_scratch(int64_t n_rows, int64_t n, bool bins)
{
    return (size_t)(n_rows * hl_gpu_moment_parts(n_rows, n)) * (size_t)(8 + (bins ? 64 : 0));
}

typedef struct hl_gpu_adamw {
    double beta1, beta2;
    float eps, weight_decay, l2;
    const float *lr, *t, *scale, *ok;
} hl_gpu_adamw;

/* --- quantization --- */

/* A quantizer whose range, f64{HL_QUANT_RANGE_FIELDS}, is read when a kernel runs. */
typedef struct hl_gpu_quantizer {
    const double *range; /* NULL: there is none, numbers stay as they are */
    hl_quant_form form;
} hl_gpu_quantizer;

/* Parts that sums and extremes of a tensor are made in; HL_GPU_TENSOR_PARTS * 4 doubles are room for all. */
enum { HL_GPU_TENSOR_PARTS = 128 };

/* What follows a product of codes: hl_int8_finish, whose `grid` is not read, and whose rows with
 * spoiled[row] != 0 become NaN (NULL: there are none). */
typedef struct hl_gpu_int8_finish {
    hl_int8_finish f;
    hl_gpu_quantizer of_y;
    const int32_t *spoiled;
} hl_gpu_int8_finish;

/* Weights of linear_int8 on their way: codes w [n,k], scales [n] or [1]. */
typedef struct hl_gpu_int8_columns {
    int64_t n, k;
    const int8_t *w;
    const float *scales;
    bool per_row;
    hl_gpu_quantizer of_x; /* codes from 0 */
    int32_t *shift;        /* [n]: what makes sums of (code - 128) w sums of (code - zero) w */
    float *scale;          /* [n]: of x times that of w */
} hl_gpu_int8_columns;

/* Codes of x [m,k] less 128, rows `row` bytes apart (a multiple of 16, filled up with zeros). From
 * floats x or codes u. */
typedef struct hl_gpu_int8_rows {
    int64_t m, k, row;
    const float *x;   /* NULL: u */
    const uint8_t *u;
    hl_gpu_quantizer of_x;
    bool all_finite;    /* a number that is not is a fault, else NaN spoils its row */
    int8_t *codes;
    int32_t *shift;     /* [m]: 128 times the sum of (code - zero), of weights 128 lower; or NULL */
    int32_t *spoiled;   /* [m] or NULL */
} hl_gpu_int8_rows;

/* Attention on grids (attention_quant): q {B,T,H*D}, k and v {B,S,H*D}, as floats or all as codes. */
typedef struct hl_gpu_attn_quant {
    int64_t n_batch, n_head, t, s, d;
    const float *q, *k, *v;
    const uint8_t *q8, *k8, *v8;          /* if not NULL: products are of integers */
    hl_gpu_quantizer of_q, of_k, of_v;    /* then */
    hl_gpu_quantizer of_scores, of_weights, of_o;
    float scale;
    bool causal;
    const uint8_t *key_mask; /* [B,S] or NULL */
    hl_normaliser norm;
    float *o; /* NULL: codes */
    uint8_t *o_codes;
} hl_gpu_attn_quant;
/* A batch of states of a fixed-point solve: matrices [batch, width_i]; a ring of them: one after
 * another in each part. */
enum { HL_GPU_PARTS = 8, HL_GPU_PAIRS = 8, HL_GPU_MEMORY = 64 };
typedef struct hl_gpu_parts {
    float *part[HL_GPU_PARTS];
} hl_gpu_parts;

/* A solve z = f(z) as engine/solve/solve.h has it; what a field means is told there. */
typedef enum hl_gpu_solver { HL_GPU_PICARD, HL_GPU_ANDERSON, HL_GPU_BROYDEN } hl_gpu_solver;
enum { HL_GPU_ROW, HL_GPU_AGAIN, HL_GPU_AT }; /* hl_gpu_solve.at: evaluations; is there another? */
typedef struct hl_gpu_solve {
    hl_gpu_solver solver;
    int n_parts, max_iter, memory;
    int rows; /* of the reports [rows, batch] */
    int64_t batch, width[HL_GPU_PARTS];
    double tol, tau, ridge;
    bool stops_abs, per_batch, picks_best, relative, safeguard, keep;
    hl_gpu_parts x, y, z;                  /* the point to evaluate, f there, the newest state */
    hl_gpu_parts best;                     /* picks_best */
    hl_gpu_parts f, g;                     /* Anderson: rings of residuals and values */
    double *gram;                          /* Anderson: [batch, memory, memory] */
    hl_gpu_parts p, r, d;                  /* Broyden: newest point, residual there, direction */
    hl_gpu_parts new_r, dx, dr, spare;     /* ... residual at x, differences */
    hl_gpu_parts u, v;                     /* ... rings of pairs */
    double *lowest, *first, *residual_now; /* [batch] */
    int32_t *done;                         /* [batch] 0, or 1 + how it ended */
    int32_t *at;                           /* [HL_GPU_AT] */
    float *residual, *abs, *movement, *iterations, *ended, *fallback, *calls;
} hl_gpu_solve;

/* One step of Anderson mixing from n pairs of a state and its value, [batch, d] each. */
typedef struct hl_gpu_pairs {
    int n;
    int64_t batch, d;
    double ridge;
    bool safeguard;
    const float *x[HL_GPU_PAIRS], *g[HL_GPU_PAIRS];
    float *gx[HL_GPU_PAIRS], *gg[HL_GPU_PAIRS]; /* of the vjp */
} hl_gpu_pairs;

typedef struct hl_gpu_backend {
    const char *name; /* "cuda", "emulated" */

    /* How many devices there are; 0: why says what is missing, in words for the user. */
    int (*count)(char *why, size_t size);
    /* Errors: DEVICE, with why in words. */
    hl_status (*open)(int index, hl_gpu **out, char *why, size_t size);
    void (*close)(hl_gpu *g);
    void (*info)(hl_gpu *g, hl_gpu_info *out);

    /* Device memory, 256-byte aligned; NULL: there is not enough. free waits for the device. */
    void *(*alloc)(hl_gpu *g, size_t bytes);
    /* Memory that host and device both read and write, zeroed; the host only after sync. */
    void *(*alloc_shared)(hl_gpu *g, size_t bytes);
    void (*free)(hl_gpu *g, void *p);
    /* Is it memory of either kind? */
    bool (*reaches)(hl_gpu *g, const void *p);

    /* Between any memories; host memory may be reused at once when it was read, when it is written
     * only after sync. */
    void (*copy)(hl_gpu *g, void *to, const void *from, size_t bytes);
    void (*zero)(hl_gpu *g, void *p, size_t bytes);
    /* Host memory that copies beside kernels are made from; NULL: there is not enough. */
    void *(*alloc_pinned)(hl_gpu *g, size_t bytes);
    void (*free_pinned)(hl_gpu *g, void *p); /* waits for the copies */
    /* Begins a copy from pinned memory beside what is queued. slot: 0 or 1. `from` is not to be
     * written, `to` not to be used, before await_ahead of that slot. */
    void (*copy_ahead)(hl_gpu *g, int slot, void *to, const void *from, size_t bytes);
    /* What is queued from now on waits for the copies of the slot that were begun. */
    void (*await_ahead)(hl_gpu *g, int slot);
    /* Waits. DEVICE: a kernel could not run, error() says why and the device is lost. *fault (kind
     * NONE: all is well) is what a kernel found since the last sync. */
    hl_status (*sync)(hl_gpu *g, hl_gpu_fault *fault);
    /* Waits; faults stay for sync. */
    hl_status (*wait)(hl_gpu *g);
    const char *(*error)(hl_gpu *g);
    void (*tag)(hl_gpu *g, int32_t tag);
    /* May products of floats round their operands to tf32 (10 bits of significand)? */
    void (*allow_tf32)(hl_gpu *g, bool yes);

    /* Are numbers of 16 bits, from now on, IEEE half floats instead of bf16? In products and
     * conversions; attention does not take them. */
    void (*use_f16)(hl_gpu *g, bool yes);

    /* What is queued between begin and end is not run but kept, to be run again and again. end
     * gives NULL where that could not be. */
    hl_status (*capture_begin)(hl_gpu *g);
    void *(*capture_end)(hl_gpu *g);
    void (*replay)(hl_gpu *g, void *captured);
    void (*capture_free)(hl_gpu *g, void *captured);

    /* Decisions that a captured step makes on the device when it is replayed. They do not nest. */
    bool (*decides)(hl_gpu *g); /* can this driver do so at all? */
    /* While capturing: what is queued up to when_end is done only if *count > at. false: not
     * capturing, or it cannot be; what follows is queued in any case and must change nothing then,
     * and when_end is not called. */
    bool (*when_begin)(hl_gpu *g, const float *count, int64_t at);
    void (*when_end)(hl_gpu *g);
    /* While capturing: what is queued up to loop_end is done once and then again as long as *again
     * is not 0. false: not capturing, or it cannot be; the caller repeats it. */
    bool (*loop_begin)(hl_gpu *g);
    void (*loop_end)(hl_gpu *g, const int32_t *again);
    /* Bytes of scratch of attention_vjp; looks at sizes, the normaliser, and whether there
     * is q16. */
    size_t (*attention_scratch)(const hl_attn_args *a);

#define HL_GPU_KERNEL(name, params) void(*name) params;
#include "kernels/hl_gpu_kernel.def"
} hl_gpu_backend;

/* The backend of this program, NULL if it was built without one. */
const hl_gpu_backend *hl_gpu_get(void);
/* Another one instead, for tests; before anything is opened. */
void hl_gpu_use(const hl_gpu_backend *b);

#endif
