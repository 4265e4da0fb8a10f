/* Loss scaling of fp16 (arXiv 1710.03740): the loss is multiplied before it is differentiated, so
 * that small gradients do not vanish in half floats; the update divides by it again. Halved where a
 * gradient is not finite, whose update is left out, doubled after a long time without one. Powers
 * of two, so that nothing else changes. */
#ifndef HL_OPTIM_LOSS_SCALE_H
#define HL_OPTIM_LOSS_SCALE_H

#include "engine/graph/graph.h"

#define HL_LOSS_SCALE_FIRST 65536.0
#define HL_LOSS_SCALE_LEAST 0x1p-14
#define HL_LOSS_SCALE_MOST  0x1p40
enum { HL_LOSS_SCALE_PATIENCE = 2000 }; /* good updates */

/* The scale of this step: of the state "optim.loss_scale", the first one where that is 0. HL_NONE
 * after a failure of the graph. */
hl_id hl_loss_scale(hl_graph *g);
/* Appends what the next step has, and its two writes to `write`; ok: 1 if the update is made. The
 * state "optim.good_steps" counts them. */
void hl_loss_scale_next(hl_graph *g, hl_id scale, hl_id ok, hl_id write[2]);

#endif
