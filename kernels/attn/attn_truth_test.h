/* What the attention suite compares with: attention in double loops that share nothing with the
 * kernels (thresholds by bisection, dropout from the scalar generator, gradients written out), and
 * the same problem in float, with gaps between rows and guards around every tensor. */
#ifndef HL_ATTN_TRUTH_TEST_H
#define HL_ATTN_TRUTH_TEST_H

#include "kernels/hl_kernel.h"

uint32_t draw(uint32_t below); /* the next of one fixed stream */

/* Doubles, [B, T or S, H, D] without gaps. */
typedef struct truth {
    hl_attn_args a; /* sizes, scale, masks, norm, dropout, key */
    double *q, *k, *v, *go, *o, *gq, *gk, *gv;
    /* largest sum of magnitudes of the terms of a score, and of an element of o, gq, gk, gv */
    double size, size_of[4];
    double margin; /* distance of the nearest weight from a kink */
    /* Like o, gq, gk, gv: by how much those may be off, to first order, if the weights, go and the
     * slopes of the scores are each rounded to bf16 for their products. */
    double *rounding[4];
} truth;

int64_t q_count(const hl_attn_args *a); /* elements of q, o and their gradients; of k and v */
int64_t k_count(const hl_attn_args *a);
bool permitted(const hl_attn_args *a, int64_t b, int64_t i, int64_t j);
/* 1 / (1 - p) or 0: element ((b H + h) T + i) S + j of the stream */
double kept(const hl_attn_args *a, int64_t task, int64_t i, int64_t j);
/* Fills o, gq, gk, gv and the sizes from q, k, v, go. */
void find_out(truth *t);

/* A tensor of n rows of `width` floats, `row` apart, between guards. */
typedef struct tensor {
    float *at;
    int64_t n, width, row;
} tensor;

void tensor_put(tensor *x, const double *from);
double tensor_get(const tensor *x, int64_t i);
bool tensor_gaps_kept(const tensor *x);

enum { Q, K, V, GO, O, GQ, GK, GV, STAT, N_TENSORS };

typedef struct problem {
    truth t;
    tensor x[N_TENSORS];
    bool half;       /* q, k, v are bf16: set before fill */
    hl_bf16 *x16[3]; /* those, rows as in x */
    uint8_t *mask;
} problem;

/* Sizes, norm, masks and dropout are set in a; the rest is made. */
void set_up(problem *p, hl_attn_args a);
void tear_down(problem *p);
/* Draws q, k, v, go. exact: q and k are whole numbers whose scores are exact in float. */
void fill(problem *p, bool exact);
/* Forward and backward, tasks in pieces of `piece`, on scratch of exactly the size asked for and
 * full of NaN. */
void run(const hl_cpu_kernels *kernels, problem *p, int64_t piece);

#endif
