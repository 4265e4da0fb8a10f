/* What fusion passes share: copying a graph node by node with substitutions. */
#ifndef HL_PASS_REWRITE_H
#define HL_PASS_REWRITE_H

#include "engine/graph/graph.h"

typedef struct hl_rewrite {
    const hl_graph *from;
    hl_graph *to;
    hl_id *map;     /* old value -> new value, HL_NONE until copied */
    int32_t *uses;  /* readers of each old value, outputs included */
    bool *skip;     /* old nodes that a pattern has swallowed */
} hl_rewrite;

/* map is the caller's, of from->values.n entries. Copies all leaves. */
HL_MUST_CHECK hl_status hl_rewrite_begin(hl_rewrite *r, const hl_graph *from, const hl_id *outputs,
                                         int n_outputs, hl_id *map);
/* Copies old node `index` as it is. */
HL_MUST_CHECK hl_status hl_rewrite_copy(hl_rewrite *r, size_t index);
/* The same on other inputs, values of the new graph. */
HL_MUST_CHECK hl_status hl_rewrite_copy_on(hl_rewrite *r, size_t index, const hl_id *in);
/* Renumbers outputs, moves taps, hands the new graph over; on failure st passes through. */
HL_MUST_CHECK hl_status hl_rewrite_end(hl_rewrite *r, hl_status st, hl_id *outputs, int n_outputs,
                                       hl_graph **out);

/* The node that makes old value v if it is of this op and v is its output `out`, else NULL. */
const hl_node *hl_rewrite_match(const hl_rewrite *r, hl_id v, hl_op_id op, int out);

#endif
