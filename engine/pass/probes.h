/* What watched steps tell beside the moments of taps: which channels and tokens are heavy, and how
 * the first sequence attends. */
#ifndef HL_PASS_PROBES_H
#define HL_PASS_PROBES_H

#include "engine/base/vec.h"
#include "engine/graph/graph.h"

typedef struct hl_probe_wish {
    bool extents;   /* of taps {B, T, C} and of what attention gives, by channel and token */
    bool attention; /* probabilities of the first sequence */
} hl_probe_wish;

/* One place, and where it begins among the outputs of its graph. */
typedef struct hl_probe {
    char name[64];   /* of the tap; of attention the beginning of the tap behind it: "layer.3" */
    int64_t n_head;  /* 0: a tap */
    int64_t t, s, d; /* tokens, keys and size of a head of attention */
    int extents;     /* two outputs: tokens {B, T}, channels {B, C}; -1: none */
    int map;         /* n_maps outputs {1, T, H*D}: keys j * D .. of the j-th; -1: none */
    int n_maps;
} hl_probe;

typedef struct hl_probes {
    hl_probe *at;
    int n;
} hl_probes;
void hl_probes_done(hl_probes *p);

typedef HL_VEC(hl_id) hl_id_list;

/* Appends to g, pushing the ids onto outputs. n_nodes: attention is looked for in the first so
 * many. Errors: NOMEM, those of appending. */
HL_MUST_CHECK hl_status hl_pass_probes(hl_graph *g, size_t n_nodes, const hl_probe_wish *wish,
                                       hl_id_list *outputs, hl_probes *out);

#endif
