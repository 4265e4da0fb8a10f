/* Shared by the solvers; never leaves engine/solve. */
#ifndef HL_SOLVE_INTERNAL_H
#define HL_SOLVE_INTERNAL_H

#include <math.h>
#include <string.h>

#include "engine/ops/op_common.h"
#include "engine/solve/solve.h"

/* A batch of states: its parts. */
typedef struct state {
    void *part[HL_SOLVE_PARTS];
} state;

typedef struct solve {
    const hl_problem *p;
    const hl_solve_options *o;
    hl_solve_report *r;
    unsigned char *work; /* what is left of it */
    int64_t total;       /* width of a sample */
    int n_calls, row;
    state best;             /* PICK_BEST */
    double *lowest, *first; /* [batch] residual of the best state; first absolute residual */
    unsigned char *done;    /* [batch] 1 + hl_solve_end once a sample is done */
    double *now;            /* [batch] residual that the stop rule looks at, of this iteration */
} solve;

size_t hl_state_bytes(const hl_problem *p);
state hl_state_carve(solve *s);
void *hl_solve_carve(solve *s, size_t bytes);

/* --- one sample --- */
void *hl_row(const solve *s, const state *x, int part, int64_t b);
/* sums: [0] += ||y - x||^2, [1] += ||y||^2 */
void hl_rows_change(const solve *s, const state *x, const state *y, int64_t b, double sums[2]);
double hl_rows_dot(const solve *s, const state *x, const state *y, int64_t b);
/* y = sum of by[i] x[i] */
void hl_rows_mix(const solve *s, int n, const double *by, const state *const *x, int64_t b,
                 const state *y);
void hl_rows_copy(const solve *s, const state *from, int64_t b, const state *to);

/* --- bookkeeping --- */
HL_MUST_CHECK hl_status hl_solve_eval(solve *s, const state *x, state *y);
void hl_solve_put(const solve *s, void *array, int64_t i, double v);
double hl_solve_get(const solve *s, const void *array, int64_t i);
/* Records evaluation s->row of sample b and says whether the sample is done by it. */
void hl_solve_record(solve *s, int64_t b, double abs, double rel, double movement);
/* After all samples of an iteration: is the solve over? Counts the row. */
bool hl_solve_over(solve *s);
/* Keeps `x` of sample b if its residual of this iteration is the lowest so far. */
void hl_solve_keep_best(solve *s, const state *x, int64_t b);

static inline bool is_done(const solve *s, int64_t b)
{
    return s->done[b] != 0;
}
static inline bool is_diverged(const solve *s, int64_t b)
{
    return s->done[b] == 1 + HL_ENDED_DIVERGED;
}
/* 0/0 is no change at all */
static inline double ratio(double a, double b)
{
    return a == 0 ? 0 : a / b;
}

/* Over the samples, on the team. small: what a sample costs beside passing over its state, in
 * numbers passed over. */
void hl_solve_each(solve *s, int64_t small, hl_part_fn body, void *arg);

size_t hl_anderson_bytes(const hl_problem *p, const hl_solve_options *o);
size_t hl_broyden_bytes(const hl_problem *p, const hl_solve_options *o);
HL_MUST_CHECK hl_status hl_anderson(solve *s);
HL_MUST_CHECK hl_status hl_broyden(solve *s);

#endif
