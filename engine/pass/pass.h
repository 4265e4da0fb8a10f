/* Graph passes. Each appends to a graph or writes a new one; none computes. */
#ifndef HL_PASS_PASS_H
#define HL_PASS_PASS_H

#include "engine/graph/graph.h"

/* Appends the gradient of the scalar `loss` with respect to wrt[0..n): grads[i] has the shape of
 * wrt[i]; HL_NONE where the loss does not depend on it. Errors: SHAPE (loss is no scalar),
 * UNSUPPORTED (an op on the way has no derivative; the message names it). */
HL_MUST_CHECK hl_status hl_pass_grad(hl_graph *g, hl_id loss, const hl_id *wrt, int n,
                                     hl_id *grads);

/* The same for any value and its cotangent, of its type (HL_NONE: zero). */
HL_MUST_CHECK hl_status hl_pass_vjp(hl_graph *g, hl_id y, hl_id cotangent, const hl_id *wrt, int n,
                                    hl_id *grads);

/* The same for several values at once: the sum of their products. */
typedef struct hl_cotangent {
    hl_id of, value;
} hl_cotangent;
HL_MUST_CHECK hl_status hl_pass_vjp_of(hl_graph *g, const hl_cotangent *y, int n_y,
                                       const hl_id *wrt, int n, hl_id *grads);

/* Rewrites by pattern, before differentiation: layernorm(x + dropout(a)) to residual_norm. A new
 * graph with the same leaves; outputs[] are renumbered in place, as are the leaves through map
 * (n values of the old graph), where a value that was fused away is HL_NONE. */
HL_MUST_CHECK hl_status hl_pass_fuse_forward(const hl_graph *g, hl_id *outputs, int n_outputs,
                                             hl_graph **out, hl_id *map);

/* After differentiation: lm_loss and its vjp to lm_loss_grad; x + a b to one matmul with an addend;
 * embedding gradients added into the gradient they meet. */
HL_MUST_CHECK hl_status hl_pass_fuse_backward(const hl_graph *g, hl_id *outputs, int n_outputs,
                                              hl_graph **out, hl_id *map);

/* Groups of elementwise nodes to one `fused` node each; same bits. apart (per value, may be NULL):
 * nodes of which one is marked and the other is not stay apart. After all passes that look for
 * patterns. */
HL_MUST_CHECK hl_status hl_pass_fuse_elementwise(const hl_graph *g, hl_id *outputs, int n_outputs,
                                                 const bool *apart, hl_graph **out, hl_id *map);

/* Packs the right-hand matrices of products once: those used three times and more, or, with `only`
 * (per value), those marked there. After hl_pass_fuse_backward. */
HL_MUST_CHECK hl_status hl_pass_pack(const hl_graph *g, hl_id *outputs, int n_outputs,
                                     const bool *only, hl_graph **out, hl_id *map);

/* Mixed precision: what rows take as bf16 (hl_op.bf16), the operands of products, is rounded where it
 * was made, once; results, sums and everything else stay f32. The operand of an activation's slope is
 * kept as bf16 too. Bodies of nodes (fixed points) stay as they are. After hl_pass_fuse_backward,
 * before packing. */
HL_MUST_CHECK hl_status hl_pass_bf16(const hl_graph *g, hl_id *outputs, int n_outputs,
                                     hl_graph **out, hl_id *map);

/* The same for programs of the CPU: sums along leading dimensions (the gradients of biases) read
 * what is rounded for products anyway. */
HL_MUST_CHECK hl_status hl_pass_bf16_cpu(const hl_graph *g, hl_id *outputs, int n_outputs,
                                         hl_graph **out, hl_id *map);

/* Behind it, and behind all passes that look for patterns: rows write bf16 themselves where nothing
 * reads their floats, and read it where they can (hl_op.half_outs, half_ins). Same bits. */
HL_MUST_CHECK hl_status hl_pass_round_results(const hl_graph *g, hl_id *outputs, int n_outputs,
                                              hl_graph **out, hl_id *map);

/* The same as hl_pass_bf16 for fp16: there attention's operands stay f32. In programs of a device
 * that took hl_device_use_f16, what a graph calls bf16 are IEEE half floats. */
HL_MUST_CHECK hl_status hl_pass_fp16(const hl_graph *g, hl_id *outputs, int n_outputs,
                                     hl_graph **out, hl_id *map);

/* Codes instead of numbers between products of integers (linear_int8, attention_quant); same
 * results. Behind taps, before passes that fuse elementwise. */
HL_MUST_CHECK hl_status hl_pass_codes(const hl_graph *g, hl_id *outputs, int n_outputs,
                                      hl_graph **out, hl_id *map);

/* A copy in which every f32 is f64: runs on the double references of the ops. */
HL_MUST_CHECK hl_status hl_pass_fp64(const hl_graph *g, hl_graph **out);

/* Adds a moments node for each tap, right behind what it watches; ids (n = g->taps.n) are the nodes' first outputs (rows), the
 * histogram is the output behind it if `bins`. */
HL_MUST_CHECK hl_status hl_pass_taps(hl_graph *g, bool bins, hl_id *ids);
/* Moves the last n nodes, each to right behind the node that makes its first input: there the
 * numbers are still in cache and need not be kept. They must not use each other. */
HL_MUST_CHECK hl_status hl_pass_move_to_producers(hl_graph *g, size_t n);

#endif
