/* The same function of fewer samples: a graph whose batch dimension is cut, so that a solve need
 * not go on computing the samples that are done. */
#ifndef HL_SOLVE_SHRINK_H
#define HL_SOLVE_SHRINK_H

#include "engine/graph/graph.h"

typedef struct hl_cut {
    const hl_id *z; /* leaves that are matrices of `batch` rows; HL_NONE: not in the graph */
    int n_z;
    int64_t batch, rows;
} hl_cut;

/* g for c->rows rows. map[v] (one per value of g): its like in *out. by_row[v]: row i of it belongs
 * to sample i, so it has `rows` rows there. *out is NULL where samples are not seen to be apart:
 * every node that depends on z must be elementwise, a quantizer, or a product of its rows with a
 * matrix that does not depend on z. */
HL_MUST_CHECK hl_status hl_shrink(const hl_graph *g, const hl_cut *c, hl_graph **out, hl_id *map,
                                  bool *by_row);

#endif
