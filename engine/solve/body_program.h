/* A body graph as a program that is run again and again with other states: what does not depend on
 * the states runs once. */
#ifndef HL_SOLVE_BODY_PROGRAM_H
#define HL_SOLVE_BODY_PROGRAM_H

#include "engine/exec/program.h"
#include "engine/graph/body.h"

typedef struct hl_body_program hl_body_program;

/* The first n_z inputs of the body are states. shrinks: samples that are done are to be left out
 * (fewer.h). how: fp64, n_workers, device alone
 * (with one it runs inside a step there). Errors: as hl_program_new. */
HL_MUST_CHECK hl_status hl_body_program_new(const hl_body *b, int n_z, bool shrinks,
                                            const hl_compile *how, hl_body_program **out);
/* For a device: does all of it run there, and none of it wait? */
bool hl_body_program_stays_there(const hl_body_program *p);
void hl_body_program_free(hl_body_program *p);          /* NULL is fine */
size_t hl_body_program_bytes(const hl_body_program *p); /* of arena */
double hl_body_program_flops(const hl_body_program *p); /* of one evaluation of the whole batch */
double hl_body_program_done(const hl_body_program *p);  /* flops since it began */

/* Binds the inputs behind the states (in[n_z ..]) and runs what depends on them alone. */
HL_MUST_CHECK hl_status hl_body_program_begin(hl_body_program *p, const void *const *in,
                                              void *arena, const hl_exec *x);
/* y[i] = f(x)[i], valid until the next call. done: [batch], rows of y that nobody will read, now or
 * later; NULL: none. */
HL_MUST_CHECK hl_status hl_body_program_eval(hl_body_program *p, void *const *x,
                                             const unsigned char *done, const void **y,
                                             const hl_exec *exec);

#endif
