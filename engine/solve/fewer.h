/* A loop's program for the samples that are still going: one for three quarters of the
 * batch, a half, a quarter, an eighth. Rows of what belongs to a sample are gathered when the solve
 * changes to a smaller one, those of the states in every evaluation. A sample's numbers are the
 * same in each, bit for bit. */
#ifndef HL_SOLVE_FEWER_H
#define HL_SOLVE_FEWER_H

#include "engine/exec/program.h"

typedef struct hl_fewer hl_fewer;

/* A loop: its graph with states z (HL_NONE: never read) and results y, and its program. */
typedef struct hl_loop {
    const hl_graph *g;
    const hl_id *z, *y;
    int n_z, n_y;
    const hl_program *whole;
} hl_loop;

/* *out is NULL where the batch is small or its samples are not apart (shrink.h). */
HL_MUST_CHECK hl_status hl_fewer_new(const hl_loop *loop, const hl_compile *like, hl_fewer **out);
void hl_fewer_free(hl_fewer *f);          /* NULL is fine */
size_t hl_fewer_bytes(const hl_fewer *f); /* of arena; NULL: 0 */

/* Before each solve. */
void hl_fewer_begin(hl_fewer *f, void *arena);
/* Is there a program for as few samples as are not done? done: [batch], or NULL: all are going. */
bool hl_fewer_fits(hl_fewer *f, const unsigned char *done);
/* If so: y[i] = f(x)[i] in the rows of samples that are not done, the others undefined. bound: what
 * is bound to `whole`, by binding. */
HL_MUST_CHECK hl_status hl_fewer_eval(hl_fewer *f, const void *const *bound, void *const *x,
                                      const unsigned char *done, const void **y,
                                      const hl_exec *exec);
double hl_fewer_flops(const hl_fewer *f); /* of the last evaluation */

#endif
