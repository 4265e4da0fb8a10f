/* Short names for the nodes that passes and VJP rules append. All return HL_NONE after a failure
 * (graph->status says why), so calls chain without checks. */
#ifndef HL_GRAPH_BUILD_H
#define HL_GRAPH_BUILD_H

#include "engine/graph/graph.h"

hl_id hl_g_op1(hl_graph *g, hl_op_id op, hl_id a);
hl_id hl_g_op2(hl_graph *g, hl_op_id op, hl_id a, hl_id b);

hl_id hl_g_add(hl_graph *g, hl_id a, hl_id b);
hl_id hl_g_sub(hl_graph *g, hl_id a, hl_id b);
hl_id hl_g_mul(hl_graph *g, hl_id a, hl_id b);
hl_id hl_g_div(hl_graph *g, hl_id a, hl_id b);
hl_id hl_g_neg(hl_graph *g, hl_id a);
hl_id hl_g_scale(hl_graph *g, hl_id a, double by); /* a itself if by is 1 */

hl_id hl_g_reshape(hl_graph *g, hl_id a, int rank, const int64_t *dim);
hl_id hl_g_reshape_like(hl_graph *g, hl_id a, hl_id like);
hl_id hl_g_expand(hl_graph *g, hl_id a, int rank, const int64_t *dim);
hl_id hl_g_expand_like(hl_graph *g, hl_id a, hl_id like);
hl_id hl_g_sum(hl_graph *g, hl_id a, unsigned axes, bool keep);
/* Sums away what broadcasting `like` to the shape of a had repeated. */
hl_id hl_g_sum_to(hl_graph *g, hl_id a, hl_id like);
/* op(a) op(b), transposing the last two axes on request */
hl_id hl_g_matmul(hl_graph *g, hl_id a, bool ta, hl_id b, bool tb);

#endif
