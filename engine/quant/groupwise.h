/* Weights on grids of few bits, a scale and a zero point for each group of columns of a row:
 * asymmetric round-to-nearest (RTN), s = (max - min) / (2^bits - 1) over the group and 0, the
 * baseline that GPTQ and AWQ are measured against. */
#ifndef HL_QUANT_GROUPWISE_H
#define HL_QUANT_GROUPWISE_H

#include "engine/quant/quantizer.h"

typedef struct hl_group_options {
    int bits;      /* 2 .. 8 */
    int64_t group; /* columns of one scale, the last group may be shorter; 0: a whole row */
} hl_group_options;

/* A quantizer for one group at a time; hl_quantizer_done. */
HL_MUST_CHECK hl_status hl_group_quantizer(const hl_group_options *o, hl_quantizer *q);
/* The grid of the group x [n] of finite numbers. */
hl_quant_grid hl_group_grid(hl_quantizer *q, int64_t n, const float *x);

int64_t hl_group_width(const hl_group_options *o, int64_t k); /* 1 .. k */
/* Bits that [n,k] weights take: codes, and per group a scale of 16 bits and a zero point. */
double hl_group_bits(const hl_group_options *o, int64_t n, int64_t k);

/* w, y [n,k]; y may be w. Rows are independent. Errors: ARG, NOMEM, NUMERIC (w is not finite). */
HL_MUST_CHECK hl_status hl_rtn(const hl_group_options *o, int64_t n, int64_t k, const float *w,
                               float *y);

/* Rows of a matrix for the team (NULL: the caller): body(arg, begin, end, worker), cut at multiples
 * of unit. */
typedef void (*hl_rows_fn)(void *arg, int64_t begin, int64_t end, int worker);
void hl_for_rows(hl_team *team, int64_t n, int64_t unit, hl_rows_fn body, void *arg);

#endif
