/* Body graphs: a function y = f(inputs) as a graph of its own, held by a node that evaluates it
 * again and again (a fixed-point solve). Immutable and counted; many nodes may share one. */
#ifndef HL_GRAPH_BODY_H
#define HL_GRAPH_BODY_H

#include "engine/graph/graph.h"

struct hl_body {
    int64_t refs;
    hl_graph *g;     /* owned; outputs need every node of it */
    hl_id *in, *out; /* leaves in the order of the node's inputs; results */
    int n_in, n_out;
    bool *writes; /* per input: does a node write into it? A state of whoever holds the body */
};

/* Takes what the outputs need out of `from`. A leaf that they do not depend on stays a leaf, a
 * state a state. Errors: UNSUPPORTED (an op inside draws random numbers, or writes into what is no
 * state: f must be a pure function but for ranges that quantizers gather). */
HL_MUST_CHECK hl_status hl_body_new(const hl_graph *from, const hl_id *in, int n_in,
                                    const hl_id *out, int n_out, hl_body **body);
hl_body *hl_body_ref(hl_body *b);
void hl_body_unref(hl_body *b); /* NULL is fine */

/* Structural identity, as of graphs; NULL is like NULL only. */
uint64_t hl_body_hash(uint64_t h, const hl_body *b);
bool hl_body_same(const hl_body *a, const hl_body *b);
void hl_body_print(const hl_body *b, hl_str *out); /* indented */

#endif
