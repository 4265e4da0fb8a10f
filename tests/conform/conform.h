/* The conformance suite: every row of the op table, every case, checked against the row's own double
 * reference and against central differences. Derived from the table: a new op is tested by being in
 * it. */
#ifndef HL_CONFORM_H
#define HL_CONFORM_H

#include "engine/exec/program.h"
#include "engine/graph/build.h"
#include "engine/ops/op.h"

/* Inputs of one case, drawn from a fixed seed; float ones both as float and as double. */
typedef struct case_data {
    const hl_op *op;
    const hl_case *c;
    hl_attrs attrs;
    hl_type type[HL_CASE_INPUTS];
    void *as_f32[HL_CASE_INPUTS]; /* integers and bools: the same bytes in both */
    void *as_f64[HL_CASE_INPUTS];
} case_data;

void case_open(case_data *d, const hl_op *op, const hl_case *c);
void case_close(case_data *d);
/* Changes element k of float input i in both copies. */
void case_set(case_data *d, int i, int64_t k, double x);

/* The call recorded in a fresh graph; leaves[i] is HL_NONE where an input is absent. Returns the
 * status of recording; *first: first output. */
/* Does the op write into states? One with a body does where its body does, which no case's does. */
bool case_updates(const hl_op *op);
hl_status case_record(const case_data *d, hl_graph **g, hl_id *leaves, hl_id *first);

/* Runs outputs of g (leaves bound to the case's data) and copies each into a fresh array of doubles
 * (whatever the element type); count[i] elements. Fails the test on an error. */
hl_status case_run(const case_data *d, const hl_graph *g, const hl_id *outputs, int n, bool fp64,
                   hl_team *team, double **out, int64_t *count);

/* Calls body with every case that must be allowed (HL_OK), or must not; how many there were. */
int each_case(void (*body)(case_data *d), hl_status expect_ok);
/* Largest error in units of tol 2^-24; > 1 fails. Values that are not finite must agree. */
double worst(const hl_op *op, const double *got, const double *want, int64_t n, double tol);
double tolerance(const hl_op *op);

/* What case_run compiles for; NULL, as at first: the CPU. */
extern hl_device *case_device;

/* One program in which leaves named 'a'.. are the case's inputs and 'A'.. are noise. */
typedef struct evaluator {
    hl_program *p;
    case_data *d;
    bool fp64;
    void *noise[16];
    size_t noise_bytes[16];
} evaluator;

/* Binds; errors of compiling. */
hl_status evaluator_open(evaluator *e, case_data *d, const hl_graph *g, const hl_id *outs, int n,
                         bool fp64);
void evaluator_close(evaluator *e);
hl_status evaluate(evaluator *e);
double value_at(const evaluator *e, int out, int64_t k);
int n_outputs(const hl_graph *g, hl_id first);
/* sum over differentiable outputs of <noise, output> */
hl_id weighted_sum(hl_graph *g, const hl_op *op, hl_id first, uint32_t stream, hl_id *weights,
                   int *n_weights);

double case_noise(uint32_t stream, int64_t i); /* N(0,1), fixed */
bool is_float(const hl_type *t);

#endif
