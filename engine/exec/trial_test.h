/* What the tests of graph, pass and exec share: leaves filled from their names, programs run on
 * them, a plain executor to compare with, and random graphs. Test programs only. */
#ifndef HL_EXEC_TRIAL_TEST_H
#define HL_EXEC_TRIAL_TEST_H

#include "engine/base/rng.h"
#include "engine/exec/program.h"
#include "engine/graph/build.h"

/* Data for the leaves of a graph, each in a buffer of exactly its size. What a leaf holds is a
 * function of its name and the salt, so that two graphs with the same leaves see the same numbers:
 *   floats          0.7 N(0, 1), the same in float and double; a name that starts with '1': 1
 *   i32 "name<N"    uniform in 0 .. N-1;  "name<N!": a third of them -100
 *   bool            true with probability 2/3 */
typedef struct leaves {
    const hl_graph *g; /* borrowed */
    bool fp64;
    void **data; /* per value of g; NULL: no leaf, or a constant */
} leaves;

HL_MUST_CHECK hl_status leaves_new(const hl_graph *g, bool fp64, uint32_t salt, leaves *out);
void leaves_free(leaves *l);
/* The first leaf whose data differ in any bit, or HL_NONE. Both of the same graph. */
hl_id leaves_differ(const leaves *a, const leaves *b);
size_t leaf_bytes(const leaves *l, hl_id v);
void *leaf_named(const leaves *l, const char *name); /* NULL */

/* Binds every leaf that the program reads to these data. */
void bind_leaves(hl_program *p, const leaves *l);
/* Compiled for these leaves and bound to them. */
HL_MUST_CHECK hl_status program_for(const leaves *l, const hl_id *outs, int n, int n_workers,
                                    hl_program **out);

/* Element i of a buffer as a number. */
double number_at(const void *p, hl_dtype t, int64_t i);

/* Outputs of a program, as numbers, in memory of their own. */
typedef struct results {
    int n;
    double **value;
    int64_t *count;
} results;
HL_MUST_CHECK hl_status results_of(const hl_program *p, int n, results *out);
void results_free(results *r);
/* Compiles, runs on salt 0 and collects. */
HL_MUST_CHECK hl_status evaluate(const hl_graph *g, const hl_id *outs, int n, bool fp64,
                                 results *out);
/* The same for one scalar; NAN on an error. */
double evaluate_scalar(const hl_graph *g, hl_id v, bool fp64);

/* The plain executor: every value of l->g in a buffer of its own, filled with rubbish before the
 * op's kernel is called, no views, no reuse. values: per value, the caller's to free with
 * plain_free; leaves point into l. Effects write into the leaves. */
HL_MUST_CHECK hl_status plain_run(const leaves *l, const hl_exec *x, void ***values);
void plain_free(const leaves *l, void **values);

/* --- random graphs --- */

typedef struct sketch {
    hl_graph *g;
    hl_rng rng;
    bool smooth; /* tame and differentiable, kinks and side outputs left out */
    bool empty;  /* sizes of 0 occur */
    HL_VEC(hl_id) floats;
    HL_VEC(hl_id) states; /* float leaves that gradients are wanted of */
} sketch;

/* n_calls calls of ops drawn from all families. */
HL_MUST_CHECK hl_status sketch_new(uint64_t seed, int n_calls, bool smooth, bool empty,
                                   sketch *out);
void sketch_free(sketch *s);
/* A float value, the latest ones more often. */
hl_id sketch_pick(sketch *s);
/* Ends a smooth sketch in a scalar that depends on many of its values, through lm_loss with a tied
 * embedding where `head` says so. */
hl_id sketch_loss(sketch *s, bool head);

/* Nodes of this op. */
int count_op(const hl_graph *g, hl_op_id op);
/* "f32" types in short */
hl_type f32(int rank, const int64_t *dim);
#define F32(...)                                                                                   \
    f32((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

/* act(x w^T + b) with states of these names: w {n, the last of x}, b {n} */
hl_id linear(hl_graph *g, hl_id x, const char *w, const char *b, int64_t n, hl_act act);

#endif
