/* One recorded graph as it is and fused, for the fusion tests. */
#ifndef HL_PASS_FUSE_PAIR_TEST_H
#define HL_PASS_FUSE_PAIR_TEST_H

#include "engine/exec/trial_test.h"
#include "engine/pass/pass.h"

enum { SUBJECT_OUTS = 8 };

/* A recorded graph with what is wanted of it. */
typedef struct subject {
    hl_graph *g;
    hl_id outs[SUBJECT_OUTS];
    int n_outs;
    hl_id loss; /* HL_NONE: no gradients */
} subject;

/* Outputs, loss and the gradients of all states, of the graph as it is and of the fused one. */
typedef struct both {
    hl_graph *plain, *fused;
    hl_graph *forward; /* after fusion, before differentiation */
    hl_id *plain_out, *fused_out;
    int n;
} both;

subject subject_new(void);
both both_of(const subject *s); /* takes the graph over */
void both_free(both *b);

/* In double: equal to 1e-12. In float: the fused result is at most twice as far from the double one
 * as the unfused is, and a few roundings. */
void both_compare(const both *b, const char *what);

/* Largest difference, and largest size of b. */
double largest_difference(const double *a, const double *b, int64_t n, double *size);

hl_id op1(hl_graph *g, hl_op_id op, hl_id a);
hl_id dropout_of(hl_graph *g, hl_id a); /* a quarter dropped */
hl_id layernorm_of(hl_graph *g, hl_id x, hl_id gamma, hl_id beta);

#endif
