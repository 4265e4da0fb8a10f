/* Kernels: arithmetic on raw pointers. No allocation, no I/O, no globals but the choice of
 * instruction set, no threads of their own (a caller lends a team).
 *
 * The CPU sources are compiled once per instruction set; hl_cpu() returns the table of the best one
 * that this processor has. Legend: B batch, T time, S key length, H heads, D head size, N rows,
 * C channels, V vocabulary. All tensors row-major; float unless said. */
#ifndef HL_KERNEL_H
#define HL_KERNEL_H

#include "kernels/hl_types.h"
#include "kernels/quant/quant_body.h"
#include "kernels/rng/philox_body.h"
#include "kernels/row/moments_body.h"

/* Workers lent by the caller. run() calls fn(arg, worker, n) once for each worker 0..n-1, the
 * caller being worker 0, and returns when all are done. */
typedef struct hl_team hl_team;
typedef void (*hl_team_fn)(void *arg, int worker, int n_workers);
struct hl_team {
    int n;
    void (*run)(hl_team *team, hl_team_fn fn, void *arg);
};

/* Half-open part `worker` of [0, n) cut into n_workers nearly equal parts at multiples of unit. */
HL_HD void hl_slice(int64_t n, int64_t unit, int worker, int n_workers, int64_t *begin,
                    int64_t *end)
{
    int64_t units = (n + unit - 1) / unit;
    int64_t a = units * worker / n_workers * unit, b = units * (worker + 1) / n_workers * unit;
    *begin = a < n ? a : n;
    *end = b < n ? b : n;
}

/* --- elementwise (kernels/ew/hl_ew.def) --- */
typedef enum hl_ew1_id {
#define HL_EW1(name, f32, f64, doc, lo, hi, abs) HL_EW1_##name,
#define HL_EW2(name, f32, f64, doc, lo, hi, abs)
#include "kernels/ew/hl_ew.def"
    HL_EW1_COUNT
} hl_ew1_id;
typedef enum hl_ew2_id {
#define HL_EW1(name, f32, f64, doc, lo, hi, abs)
#define HL_EW2(name, f32, f64, doc, lo, hi, abs) HL_EW2_##name,
#include "kernels/ew/hl_ew.def"
    HL_EW2_COUNT
} hl_ew2_id;
/* Which operands of a binary loop move with the index; a standing one is read once. */
typedef enum hl_ew2_form { HL_EW2_VV, HL_EW2_VS, HL_EW2_SV } hl_ew2_form;

/* --- normalisers of attention scores (spec: arXiv 2404.03828, 2306.12929, 1905.05702) --- */
typedef enum hl_normaliser_base {
    HL_NORM_SOFTMAX,
    HL_NORM_SOFTMAX1, /* one extra logit 0: arXiv 2404.03828 */
    HL_NORM_ENTMAX15, /* arXiv 1905.05702 */
    HL_NORM_SPARSEMAX, /* arXiv 1602.02068 */
    HL_NORM_ENTMAX     /* arXiv 1905.05702, of a learned alpha */
} hl_normaliser_base;
/* y = clip((eta - gamma) p + gamma, 0, 1) after the base; gamma 0, eta 1 is no clip.
 * Clipped softmax: arXiv 2306.12929 eq. 4. */
typedef struct hl_normaliser {
    hl_normaliser_base base;
    float gamma, eta;
    double alpha; /* of ENTMAX, in (1, HL_ENTMAX_MAX]; others do not read it */
} hl_normaliser;
#define HL_ENTMAX_MAX 8 /* above, float does not tell small weights from none */

typedef enum hl_act { HL_ACT_NONE, HL_ACT_GELU, HL_ACT_GELU_TANH, HL_ACT_RELU } hl_act;

/* C[m,n] = act(A[m,k] B[k,n] (+ C) + bias). Element (i,k) of A lies at a[i*a_row + k*a_col]; one of
 * the two strides is 1; likewise B. C has unit column stride. No operand overlaps C. */
typedef struct hl_gemm_args {
    int64_t m, n, k;
    const float *a;
    int64_t a_row, a_col;
    const float *b;
    int64_t b_row, b_col;
    const hl_bf16 *a16, *b16; /* if not NULL: both instead of a and b; sums are float all the same */
    float *c;
    int64_t c_row;
    hl_bf16 *c16; /* with a16, if not NULL: C, rounded; c is then where sums wait, of gemm_sums_bytes, and
                     holds nothing afterwards. Not with add */
    bool add;          /* add to what C holds */
    const float *addend; /* if not NULL, rows as C: add to this instead; may be C */
    const float *bias; /* [n] or NULL */
    hl_act act;
    float *pre; /* if not NULL: A B + bias before act, laid out as C */
    hl_bf16 *pre16;        /* likewise, rounded */
    const float *packed_b; /* if not NULL: B from gemm_pack, and b is not read; not with a16 */
} hl_gemm_args;

/* C[m,n] = sum over k of A[m,k] W[n,k], exact. Rows of A lie a_row apart, of C c_row. */
typedef struct hl_int8_gemm_args {
    int group; /* of packed_b */
    int64_t m, n, k; /* k <= HL_INT8_K_MAX */
    const uint8_t *a;
    int64_t a_row;
    const int8_t *packed_b; /* W from int8_pack or int8_pack_codes */
    int64_t packed_n, packed_k; /* what was packed, of which this is the upper left part; 0: as n, k */
    int32_t *c;
    int64_t c_row;
} hl_int8_gemm_args;

/* A matrix [n,k] of bytes: element (j,i) lies at data[j*row + i*col]. */
typedef struct hl_int8_matrix {
    int64_t n, k;
    const uint8_t *data;
    int64_t row, col;
} hl_int8_matrix;

/* What follows such a product: v = act((acc + row_shift + col_shift) * scale + bias), then on a grid
 * or to its codes, which are bytes. Sums in 32 bits; each float operation is rounded by itself. */
typedef struct hl_int8_finish {
    int64_t m, n;
    const int32_t *acc;
    int64_t acc_row;
    const int32_t *row_shift; /* [m] or NULL */
    const int32_t *col_shift; /* [n] or NULL */
    const float *scale;       /* [n] */
    const float *bias;        /* [n] or NULL */
    hl_act act;
    const hl_quant_grid *grid; /* NULL: values stay as they are */
    float *y;                  /* NULL: codes are wanted, and there is a grid */
    uint8_t *codes;
    int64_t y_row; /* of y or codes */
} hl_int8_finish;

#define HL_INT8_K_MAX 65793 /* 255 * 128 * k < 2^31 */

/* Attention on codes (spec: quantization 12.3, 12.4). q {B,T,H*D}, k and v {B,S,H*D}: bytes on grids
 * whose codes count from 0. Scores go to their grid, weights to codes whose zero is 0, and what is
 * gathered to floats or codes. One task per (sequence, head). */
typedef struct hl_attn_int8_args {
    int64_t n_head, t, s, d;
    const uint8_t *q, *k, *v;
    int64_t row; /* bytes, or floats of o, from a row to the next */
    hl_quant_grid of_q, of_k, of_v, of_scores, of_weights;
    float scale; /* of q k^T */
    bool causal;
    const uint8_t *key_mask; /* [B,S] or NULL */
    hl_normaliser norm;
    const hl_quant_grid *of_o; /* NULL: o stays as it is */
    float *o;                  /* NULL: codes are wanted, and of_o is there */
    uint8_t *o_codes;
} hl_attn_int8_args;

/* Fused attention, one task per (sequence, head). Row r of head h of sequence b of q lies at
 * q + (b*T + r) * q_row + h*D; k, v (S rows) and o likewise. */
typedef struct hl_attn_args {
    int64_t n_batch, n_head, t, s, d;
    const float *q, *k, *v;
    /* If not NULL: all three instead of q, k, v. A CPU that multiplies pairs (hl_cpu_bf16) rounds what
     * else its products take: weights after dropout, grad_o, gradients of scores. */
    const hl_bf16 *q16, *k16, *v16;
    int64_t q_row, k_row, v_row, o_row;
    float scale;             /* of q k^T */
    bool causal;             /* key j is permitted for query i if j <= i + (S - T) */
    const uint8_t *key_mask; /* [B,S], 0 = forbidden for every query; NULL: all permitted */
    hl_normaliser norm;
    float dropout; /* of the normalised rows */
    hl_philox_key key;
    float *stat; /* [B,H,T,2]: what turns a score back into its probability */
    float *o;    /* forward: written; backward: what that was, used on a GPU, NULL or o16 instead */
    const hl_bf16 *o16;
    /* on a GPU: o is multiplied by the sigmoid of these, [B,T,H]; NULL: it is not */
    const float *gate;
    /* backward only */
    const float *grad_o;
    int64_t grad_o_row;
    float *grad_q, *grad_k, *grad_v; /* rows as q, k, v */
    hl_bf16 *rounded_o, *rounded_q, *rounded_k, *rounded_v; /* on a CPU, each if not NULL: instead
                                                               of o, grad_q, grad_k, grad_v */
    double *grad_alpha;              /* ENTMAX: added to; NULL: not wanted */
    float *grad_gate;                /* with a gate, and o or o16 */
    void *scratch;                   /* attn_scratch_bytes per worker */
} hl_attn_args;

#define HL_MOMENT_BINS 64 /* edges 0 and +-2^k, k = -19..11; zero counts as positive */

typedef struct hl_adamw_coefs {
    float lr, beta1, beta2, eps, weight_decay;
    float rest1, rest2; /* 1 - beta, rounded once: 1.0f - 0.999f is off by 5e-5 of itself */
    float l2; /* of the parameter, added to its gradient behind the clip: Adam's weight decay */
    float correct1, correct2; /* 1 - beta^t */
    float grad_scale;         /* from clipping */
} hl_adamw_coefs;

typedef struct hl_madam_coefs {
    float lr, beta, g_bound;
    float correct; /* 1 - beta^t */
    float p_max;   /* of |p| */
    float grad_scale;
} hl_madam_coefs;

typedef struct hl_cpu_kernels {
    const char *isa; /* "avx512", "avx2", "generic" */
#define HL_KERNEL(name, params)      void(*name) params;
#define HL_KERNEL_SIZE(name, params) size_t(*name) params;
#include "kernels/hl_kernel.def"
} hl_cpu_kernels;

/* The best table this processor can run; HOPLAB_ISA=generic|avx2|avx512 asks for a lesser one.
 * Chosen once, never changes. */
const hl_cpu_kernels *hl_cpu(void);
/* All tables this processor can run, for tests; returns how many. */
int hl_cpu_all(const hl_cpu_kernels *out[3]);

/* How products of bf16 are made; exact products of two numbers all the same. */
typedef enum hl_bf16_way {
    HL_BF16_WIDENED, /* on the float kernels */
    HL_BF16_DOT,     /* by dot products of pairs (AVX512-BF16), twice the products an instruction */
    HL_BF16_TILES,   /* on tiles (AMX) */
} hl_bf16_way;

/* Asked of the processor and of the system once; HOPLAB_ISA makes it WIDENED. */
hl_bf16_way hl_cpu_bf16(void);

/* C = A B (+ C) of hl_gemm_args without bias, act and pre through OpenBLAS, single-threaded; false
 * if the library is not there. Loaded at run time with the kernel set that fits this processor. */
bool hl_openblas_gemm(const hl_gemm_args *g);

#endif
