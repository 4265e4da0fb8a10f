/* What attention on one worker works in: its scratch, one (sequence, head) and one block of rows.
 * Included by sources compiled once per instruction set. */
#ifndef HL_ATTN_SPACE_H
#define HL_ATTN_SPACE_H

#include "kernels/mm/pairs_block.h"

enum { BLOCK_ROWS = 64 };
enum { MASKS = 1024 }; /* numbers of dropout */

static int64_t padded(int64_t n)
{
    return (n + HL_NR - 1) / HL_NR * HL_NR;
}

/* Operands of products are floats, or with a way of multiplying pairs bf16 in rows and panels. */
typedef struct workspace {
    hl_bf16_way way;
    int64_t d_pad, s_pad;
    int64_t end;    /* of the tasks of this call */
    int64_t w_row;  /* from a row of w to the next: 0 where each is rounded when it is made */
    float *kt;      /* [D, s_pad]: k transposed */
    float *vt;      /* [D, s_pad], backward */
    float *v;       /* [S, d_pad]: v, or k in the backward pass (dq = dX k) */
    float *q, *go;  /* [BLOCK_ROWS, d_pad], backward: this block of q and of grad_o */
    float *wide[3]; /* [T, D], [S, D] twice: q, k, v of this head if they are bf16 */
    float *x;       /* [BLOCK_ROWS, s_pad]: scores, then weights */
    float *g;       /* [BLOCK_ROWS, s_pad], backward: dP, then dX */
    float *w;       /* [BLOCK_ROWS, s_pad], backward: P after dropout */
    float *keep;    /* [s_pad, at least MASKS]: dropout factors of a row, or of some short ones */
    float *o;       /* [BLOCK_ROWS, d_pad]: o, or dq */
    float *gk, *gv; /* [s_pad, d_pad], backward */
    hl_bf16 *kb;    /* [s_pad, d_pad], panels of B: k^T */
    hl_bf16 *vb;    /* v; backward: v^T */
    hl_bf16 *kb2;   /* backward: k */
    hl_bf16 *qa;    /* [BLOCK_ROWS, d_pad], rows of A: this block of q */
    hl_bf16 *qb;    /* backward: the same, panels of B */
    hl_bf16 *go16;  /* backward: grad_o rounded; as A and as B */
    hl_bf16 *goa, *gob;
    hl_bf16 *p16; /* [BLOCK_ROWS, s_pad]: P after dropout, rounded, and as A for P v or P^T do */
    hl_bf16 *pa;
    hl_bf16 *dx16; /* backward: dX rounded, and as A of dX k and of dX^T q */
    hl_bf16 *dxa, *dxta;
} workspace;

static size_t lay_out(const hl_attn_args *a, void *scratch, workspace *w)
{
    float *p = (float *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63), *start = p;
    w->way = HL_BF16_WIDENED;
#ifdef HL_HAS_PAIRS
    if (a->q16)
        w->way = BF16_WAY();
#endif
    w->d_pad = padded(a->d);
    w->s_pad = padded(a->s);
    w->w_row = w->way == HL_BF16_WIDENED ? w->s_pad : 0;
    const int64_t pairs = w->way != HL_BF16_WIDENED, floats = !pairs, widened = a->q16 && floats;
    const int64_t sd = w->s_pad * w->d_pad, ds = a->d * w->s_pad;
    const int64_t bs = BLOCK_ROWS * w->s_pad, bd = BLOCK_ROWS * w->d_pad;
#define TAKE(field, n)                                                                             \
    w->field = p;                                                                                  \
    p += (n)
#define TAKE16(field, n)                                                                           \
    w->field = (hl_bf16 *)p;                                                                       \
    p += pairs * (n) / 2 /* whole vectors */
    TAKE(kt, floats * ds);
    TAKE(vt, floats * ds);
    TAKE(v, floats * sd);
    TAKE(q, floats * bd);
    TAKE(go, floats * bd);
    TAKE(wide[0], widened * a->t * a->d);
    TAKE(wide[1], widened * a->s * a->d);
    TAKE(wide[2], widened * a->s * a->d);
    TAKE16(kb, sd);
    TAKE16(vb, sd);
    TAKE16(kb2, sd);
    TAKE16(qa, bd);
    TAKE16(qb, bd);
    TAKE16(go16, bd);
    TAKE16(goa, bd);
    TAKE16(gob, bd);
    TAKE16(p16, bs);
    TAKE16(pa, bs);
    TAKE16(dx16, bs);
    TAKE16(dxa, bs);
    TAKE16(dxta, bs);
    TAKE(x, bs);
    TAKE(g, bs);
    TAKE(w, floats ? bs : w->s_pad);
    TAKE(keep, w->s_pad > MASKS ? w->s_pad : MASKS);
    TAKE(o, bd);
    TAKE(gk, sd);
    TAKE(gv, sd);
#undef TAKE
#undef TAKE16
    return (size_t)(p - start) * sizeof(float) + 64;
}

/* One (sequence, head): q, k, v where the products take them from. */
typedef struct head {
    const float *q, *k, *v;
    const hl_bf16 *q16, *k16, *v16; /* multiplied in pairs: instead */
    int64_t q_row, k_row, v_row;
} head;

/* Where the head's rows begin in q, and in k and v. */
typedef struct origin {
    int64_t q, k, v;
} origin;

/* Rows of d_pad numbers that a product writes. */
typedef struct place {
    float *at;
    int64_t row;
} place;

typedef struct gradients {
    place q, k, v;
} gradients;

/* One block of query rows of one (sequence, head). */
typedef struct block {
    int64_t batch, head, row0, rows;
    int64_t keys, keys_pad; /* keys any of its rows may see */
} block;

static block block_at(const hl_attn_args *a, int64_t task, int64_t row0)
{
    block k = {.batch = task / a->n_head, .head = task % a->n_head, .row0 = row0};
    k.rows = a->t - row0 < BLOCK_ROWS ? a->t - row0 : BLOCK_ROWS;
    k.keys = a->s;
    if (a->causal) {
        const int64_t seen = row0 + k.rows + (a->s - a->t);
        k.keys = seen < 0 ? 0 : seen < a->s ? seen : a->s;
    }
    k.keys_pad = padded(k.keys);
    return k;
}

static origin origin_of(const hl_attn_args *a, int64_t task)
{
    const int64_t batch = task / a->n_head, col = task % a->n_head * a->d;
    return (origin){batch * a->t * a->q_row + col, batch * a->s * a->k_row + col,
                    batch * a->s * a->v_row + col};
}

/* Inlined: GCC drops calls of functions that do nothing but fetch. */
#define FETCHES static inline __attribute__((always_inline)) void

FETCHES fetch_row(const void *row, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch((const char *)row + i, 0, 2);
}

/* Row r of a task's tensors is on its way to L2: rows lie too far apart for the processor to see
 * them coming. */
FETCHES fetch_rows(const hl_attn_args *a, int64_t task, int64_t r)
{
    const origin at = origin_of(a, task);
    const int64_t q = at.q + r * a->q_row, k = at.k + r * a->k_row, v = at.v + r * a->v_row;
    const size_t d = (size_t)a->d, bytes = d * (a->q16 ? sizeof(hl_bf16) : sizeof(float));
    fetch_row(a->q16 ? (const void *)(a->q16 + q) : (const void *)(a->q + q), bytes);
    if (r < a->s) {
        fetch_row(a->q16 ? (const void *)(a->k16 + k) : (const void *)(a->k + k), bytes);
        fetch_row(a->q16 ? (const void *)(a->v16 + v) : (const void *)(a->v + v), bytes);
    }
    if (a->grad_o)
        fetch_row(a->grad_o + (task / a->n_head * a->t + r) * a->grad_o_row +
                      task % a->n_head * a->d,
                  d * sizeof(float));
}

#endif
