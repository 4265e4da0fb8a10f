/* The graph: an append-only record of typed operations with known shapes. Recording computes
 * nothing; passes read a graph and append to it or write a new one; hl_program compiles it.
 *
 * A value is either a leaf (input, state, constant) or an output of a node. Nodes stand in
 * topological order by construction. Not thread-safe; owned by whoever made it. */
#ifndef HL_GRAPH_GRAPH_H
#define HL_GRAPH_GRAPH_H

#include "engine/base/arena.h"
#include "engine/base/str.h"
#include "engine/base/vec.h"
#include "engine/ops/op.h"

typedef enum hl_value_kind {
    HL_VALUE_NODE,
    HL_VALUE_INPUT, /* bound at each run: batches, learning rate */
    HL_VALUE_STATE, /* lives between runs: parameters, optimiser moments */
    HL_VALUE_CONST
} hl_value_kind;

typedef struct hl_value {
    hl_type type;
    hl_value_kind kind;
    int32_t node;     /* NODE: index */
    int32_t out;      /* NODE: which output */
    const char *name; /* leaves and named values, else NULL */
    double constant;  /* CONST */
    void *data;       /* leaves: the caller's mark (a storage); not looked at */
} hl_value;

struct hl_node {
    const hl_op *op;
    hl_attrs attrs;
    const hl_id *in; /* HL_NONE where an input is left out */
    int n_in;
    hl_id out0; /* outputs are out0 .. out0 + n_out - 1 */
    int n_out;
    uint32_t stream;
    hl_body *body;     /* BODY ops; held by the graph */
    bool stop;         /* no gradient passes: recorded under no_grad, or a detached value */
    const char *where; /* "script.lua:12" or NULL */
};

/* Which numbers of a tapped activation form one row (spec: language-models 8.2). */
typedef enum hl_tap_rows { HL_TAP_SEQUENCE, HL_TAP_TOKEN } hl_tap_rows;

typedef struct hl_tap {
    const char *name;
    hl_id value;
    hl_tap_rows rows; /* SEQUENCE: first axis; TOKEN: all axes but the last */
} hl_tap;

struct hl_graph {
    hl_arena arena; /* names, input lists */
    HL_VEC(hl_value) values;
    HL_VEC(hl_node) nodes;
    HL_VEC(hl_tap) taps;
    HL_VEC(hl_body *) bodies; /* of its nodes, counted */
    uint32_t n_streams;
    const char *where; /* stamped on new nodes, as is stop */
    bool stop;
    hl_status status;  /* of the first failed append; later appends return HL_NONE */
};

HL_MUST_CHECK hl_status hl_graph_new(hl_graph **out);
void hl_graph_free(hl_graph *g);

/* Leaves. Names are copied. On failure HL_NONE, and g->status keeps the reason. */
hl_id hl_graph_input(hl_graph *g, const char *name, hl_type type);
hl_id hl_graph_state(hl_graph *g, const char *name, hl_type type);
hl_id hl_graph_const(hl_graph *g, double v); /* f32 scalar */

/* Appends a node. in: n_in values, HL_NONE for an optional one; attrs NULL: defaults. Returns the
 * first output or HL_NONE; the error names op, shapes and script line. If any required input is
 * HL_NONE because an earlier append failed, nothing is set anew. */
hl_id hl_graph_append(hl_graph *g, const hl_op *op, const hl_id *in, int n_in,
                      const hl_attrs *attrs);
/* The same with a stream given, for passes that draw the numbers of another node again. */
hl_id hl_graph_append_stream(hl_graph *g, const hl_op *op, const hl_id *in, int n_in,
                             const hl_attrs *attrs, uint32_t stream);

/* The same for an op that holds a body; the graph takes a reference of its own. */
hl_id hl_graph_append_body(hl_graph *g, const hl_op *op, const hl_id *in, int n_in,
                           const hl_attrs *attrs, hl_body *body);
/* A node like another one (op, attributes, stream, body, line, stop) on other inputs. */
hl_id hl_graph_append_like(hl_graph *g, const hl_node *like, const hl_id *in);
/* v, an output that its row can round (hl_op.half_outs), becomes bf16. */
void hl_graph_round_output(hl_graph *g, hl_id v);

HL_MUST_CHECK hl_status hl_graph_tap(hl_graph *g, const char *name, hl_id value, hl_tap_rows rows);
void hl_graph_name_value(hl_graph *g, hl_id value, const char *name);

const hl_value *hl_graph_value(const hl_graph *g, hl_id v);
const hl_type *hl_graph_type(const hl_graph *g, hl_id v);
const hl_node *hl_graph_node_of(const hl_graph *g, hl_id v); /* NULL for leaves */

/* depends[v], one per value: is v one of `on` (n of them), or made from one? */
void hl_graph_depends(const hl_graph *g, const hl_id *on, int n, bool *depends);

/* Fills call (types point into out_types and in_types, sized n_in and HL_MAX_OUT or n_out). */
void hl_graph_call(const hl_graph *g, const hl_node *n, hl_type *in_types, hl_type *out_types,
                   hl_call *call);

/* A new graph with what the outputs need, in the same order. map[v] (n values of the old graph) is
 * the new id or HL_NONE. Taps whose values survive are kept. */
HL_MUST_CHECK hl_status hl_graph_extract(const hl_graph *g, const hl_id *outputs, int n_outputs,
                                         hl_graph **out, hl_id *map);
/* The same, but a value with cut[v] != NULL becomes an input whose mark (hl_value.data) is cut[v]:
 * what is known already is not computed again. */
HL_MUST_CHECK hl_status hl_graph_extract_cut(const hl_graph *g, const hl_id *outputs, int n_outputs,
                                             void *const *cut, hl_graph **out, hl_id *map);

/* Structural identity: ops, attributes, types, wiring, streams, leaf kinds; not names. */
uint64_t hl_graph_hash(const hl_graph *g);
bool hl_graph_same(const hl_graph *a, const hl_graph *b);

/* One line per node: "%12 = matmul %3 %7 {ta = true} : f32{64, 512}   exp/a.lua:12". */
void hl_graph_print(const hl_graph *g, hl_str *out);
/* Every invariant of the record; HL_E_INTERNAL with the node if one is broken. */
HL_MUST_CHECK hl_status hl_graph_check(const hl_graph *g);

#endif
