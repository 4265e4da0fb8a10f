/* Fixed-point solvers: z = f(z) for a batch of states, each sample by itself.
 *
 * A state is a list of parts, matrices [batch, width_i] (the layers of a network); a sample's norms
 * and products run over all of its parts. Everything scalar is double; states are float, or double
 * when the program runs on references. Sources: spec deq 2 and 11; Walker & Ni 2011 (Anderson),
 * Broyden 1965 in its "good", inverse, limited-memory form. */
#ifndef HL_SOLVE_SOLVE_H
#define HL_SOLVE_SOLVE_H

#include "engine/ops/op.h"

#define HL_SOLVE_PARTS  8
#define HL_SOLVE_MEMORY 64

typedef enum hl_solver { HL_SOLVER_PICARD, HL_SOLVER_ANDERSON, HL_SOLVER_BROYDEN } hl_solver;
typedef enum hl_solve_stop { HL_STOP_REL, HL_STOP_ABS } hl_solve_stop;
/* SAMPLE: a sample that is within tolerance keeps its state, the solve ends when all are done.
 * BATCH: the solve ends when all samples are within tolerance in the same iteration. */
typedef enum hl_solve_per { HL_PER_SAMPLE, HL_PER_BATCH } hl_solve_per;
/* LAST: the newest state. BEST: per sample the one with the lowest residual. */
typedef enum hl_solve_pick { HL_PICK_LAST, HL_PICK_BEST } hl_solve_pick;
typedef enum hl_solve_end { HL_ENDED_MAX_ITER, HL_ENDED_TOL, HL_ENDED_DIVERGED } hl_solve_end;

typedef struct hl_solve_options {
    hl_solver solver;
    int max_iter; /* evaluations of f, those of a line search not counted */
    double tol;   /* 0: always max_iter */
    hl_solve_stop stop;
    hl_solve_per per;
    hl_solve_pick pick;
    int memory;       /* Anderson, Broyden: pairs kept */
    double tau;       /* Picard, Anderson: step size; 1 is none */
    double ridge;     /* Anderson: added to the diagonal of the small system */
    bool relative;    /* ... times the mean of that diagonal */
    bool safeguard;   /* Anderson: a plain step where mixing does not lower the residual */
    bool line_search; /* Broyden: Armijo, one step length for the batch */
    bool keep;        /* a sample that diverges keeps its last finite state; else it becomes NaN */
} hl_solve_options;

/* One problem. eval: y = f(x); y[i] stay valid until the next call and are not written to. done:
 * [batch], samples whose values nobody will read any more; NULL: none. */
typedef struct hl_problem {
    int n_parts;
    int64_t batch, width[HL_SOLVE_PARTS];
    bool doubles; /* type of all states and reports */
    hl_status (*eval)(void *self, void *const *x, const unsigned char *done, const void **y);
    void *self;
    const hl_exec *exec;
} hl_problem;

/* What a solve reports, float or double as the states. Row k of the matrices [rows, batch] belongs
 * to evaluation k; NaN where there was none (any more) for that sample. */
typedef struct hl_solve_report {
    void *z[HL_SOLVE_PARTS]; /* in: start, out: solution */
    int rows;         /* of the matrices: hl_solve_rows of the most evaluations there may be */
    void *residual;   /* ||f(x) - x|| / ||f(x)||; a Picard step with tau: of the step it makes */
    void *abs;        /* ||f(x) - x|| */
    void *movement;   /* ||g_k - g_{k-1}|| / ||g_k||, g_k = f(x_k), g_{-1} the start (spec deq 8) */
    void *iterations; /* [batch] evaluations until the sample was done */
    void *ended;      /* [batch] hl_solve_end */
    void *fallback;   /* [batch] Anderson: plain steps taken instead of mixed ones */
    void *calls;      /* [1] evaluations of f in all */
    void *path; /* [rows, batch, width of all parts] f(x) of each evaluation; NULL: not kept */
} hl_solve_report;

int hl_solve_rows(const hl_solve_options *o);
/* Bytes of `work`, 64-byte aligned. */
size_t hl_solve_bytes(const hl_problem *p, const hl_solve_options *o);
HL_MUST_CHECK hl_status hl_solve(const hl_problem *p, const hl_solve_options *o, hl_solve_report *r,
                                 void *work);

/* The same problem with a shorter step, or a longer one: f is (1 - step) z + step f, which has the
 * same solutions. */
typedef struct hl_solve_damped {
    double step;
    bool on_device; /* pointers are of device memory, evaluations are queued */
    hl_problem of;
    void *y[HL_SOLVE_PARTS];
} hl_solve_damped;
size_t hl_solve_damped_bytes(const hl_problem *p);
/* d->of is the problem as it is; *out becomes the damped one, which borrows d. Takes its bytes from
 * *work. */
void hl_solve_damp(hl_solve_damped *d, hl_problem *out, unsigned char **work);

/* --- on a device: floats, without a line search --- */

/* Evaluations between two looks of the host at whether a solve is over. */
enum { HL_SOLVE_ASK = 8 };
/* Bytes of `work` there, 256-byte aligned. */
size_t hl_solve_gpu_bytes(const hl_problem *p, const hl_solve_options *o);
/* As hl_solve, all pointers device memory: queues, p->eval too. Waits where the solve may end early
 * and no capture is under way. A sample that is done is evaluated on, and keeps its state. */
HL_MUST_CHECK hl_status hl_solve_gpu(const hl_problem *p, const hl_solve_options *o,
                                     const hl_solve_report *r, void *work);

/* Weights of Anderson mixing for q residuals with Gram matrix a [q*q], which is destroyed: the
 * solution of (A + ridge) b = 1, scaled to sum 1. *b_sum (may be NULL): the sum before scaling.
 * false: singular, or not finite. */
bool hl_anderson_weights(int q, double *a, double ridge, bool relative, double *alpha,
                         double *b_sum);
/* x = A^-1 b by elimination with partial pivoting; a and b are destroyed. false: singular. */
bool hl_solve_dense(int q, double *a, double *b, double *x);

#endif
