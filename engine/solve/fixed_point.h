/* Shared by the solve and its adjoint; never leaves engine/solve. */
#ifndef HL_SOLVE_FIXED_POINT_H
#define HL_SOLVE_FIXED_POINT_H

#include "engine/ops/op.h"
#include "engine/solve/knob.h"

enum {
    SOLVER,
    MAX_ITER,
    TOL,
    STOP,
    PER,
    PICK,
    MEMORY,
    TAU,
    RIDGE,
    RELATIVE,
    SAFEGUARD,
    LINE_SEARCH,
    KEEP,
    LIVE,
    DAMPING,
    PATH,
    N_ATTR
};

/* Which knobs a solve takes while its program lives (LIVE). DAMPING: a backward solve, which is
 * damped as the forward one is. */
typedef enum hl_solve_live { HL_LIVE_NONE, HL_LIVE_DAMPING, HL_LIVE_ALL } hl_solve_live;

extern const char *const hl_solver_names[],
    *const hl_solve_stop_names[], *const hl_solve_per_names[], *const hl_solve_pick_names[],
                                                                   *const hl_solve_live_names[];

#define SOLVE_ATTRS                                                                                \
    {"solver", HL_ATTR_ENUM, 0, 0, 0, hl_solver_names},                                            \
        {"max_iter", HL_ATTR_INT, 40, 1, 1e5, NULL}, {"tol", HL_ATTR_REAL, 0, 0, 1e30, NULL},      \
        {"stop", HL_ATTR_ENUM, 0, 0, 0, hl_solve_stop_names},                                      \
        {"per", HL_ATTR_ENUM, 0, 0, 0, hl_solve_per_names},                                        \
        {"pick", HL_ATTR_ENUM, 0, 0, 0, hl_solve_pick_names},                                      \
        {"memory", HL_ATTR_INT, 4, 1, HL_SOLVE_MEMORY, NULL},                                      \
        {"tau", HL_ATTR_REAL, 1, 1e-6, 2, NULL}, {"ridge", HL_ATTR_REAL, 1e-10, 0, 1e30, NULL},    \
        {"relative", HL_ATTR_BOOL, 0, 0, 0, NULL}, {"safeguard", HL_ATTR_BOOL, 1, 0, 0, NULL},     \
        {"line_search", HL_ATTR_BOOL, 0, 0, 0, NULL}, {"keep", HL_ATTR_BOOL, 0, 0, 0, NULL},       \
        {"live", HL_ATTR_ENUM, 0, 0, 0, hl_solve_live_names},                                      \
        {"damping", HL_ATTR_REAL, 0, 0, HL_DAMPING_MAX, NULL},                                     \
    {                                                                                              \
        "path", HL_ATTR_BOOL, 0, 0, 0, NULL                                                        \
    }

/* The states and what the body gives for them. */
HL_MUST_CHECK hl_status hl_solve_check_states(const hl_call *c);

/* --- of the cases of both --- */
hl_id hl_solve_case_tanh(hl_graph *g, const hl_id *leaf);
hl_id hl_solve_case_wider(hl_graph *g, const hl_id *leaf);
/* z = tanh(z w + u), a contraction for these weights */
#define CONTRACTION                                                                                \
    HL_INS(HL_NORMAL(5, 8), HL_RANGE(-0.2, 0.2, 8, 8), HL_NORMAL(5, 8)), .body = hl_solve_case_tanh

#endif
