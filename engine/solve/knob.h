/* Names by which hl_program_knob, hl_program_tune and hl_program_measured ask fixed-point solves.
 */
#ifndef HL_SOLVE_KNOB_H
#define HL_SOLVE_KNOB_H

/* Of forward solves. Limits: tol >= 0; the others from 1 to what was recorded. */
#define HL_KNOB_TOL      "deq.tol"
#define HL_KNOB_MAX_ITER "deq.max_iter"
#define HL_KNOB_MEMORY   "deq.memory"
/* Of forward and backward solves: the whole damping, that of the recorded step included. */
#define HL_KNOB_DAMPING "deq.damping"
#define HL_DAMPING_MAX  0.999999

/* Measured: how long the newest solve took, forward and backward. */
#define HL_KNOB_SOLVE_MS    "deq.solve_ms"
#define HL_KNOB_BACKWARD_MS "deq.backward_ms"

/* Reports of the op fixed_point, behind the parts of the state. */
enum {
    HL_SOLVE_RESIDUAL,
    HL_SOLVE_ABS,
    HL_SOLVE_MOVEMENT,
    HL_SOLVE_ITERATIONS,
    HL_SOLVE_ENDED,
    HL_SOLVE_FALLBACK,
    HL_SOLVE_CALLS,
    HL_SOLVE_STEP,
    HL_SOLVE_REPORTS
};

#endif
