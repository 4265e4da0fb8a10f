/* From a forward graph with a loss to one training step: forward, backward, gradient norm, clip,
 * masked update, taps, in one graph. */
#ifndef HL_OPTIM_TRAIN_GRAPH_H
#define HL_OPTIM_TRAIN_GRAPH_H

#include "engine/graph/graph.h"
#include "engine/pass/probes.h"

typedef enum hl_optim_kind {
    HL_OPTIM_ADAMW,
    HL_OPTIM_ADAM,
    HL_OPTIM_SGD,
    HL_OPTIM_MADAM,
    HL_OPTIM_COUNT
} hl_optim_kind;

typedef struct hl_optim {
    hl_optim_kind kind;
    double beta1, beta2, eps; /* AdamW, Adam */
    double momentum;          /* SGD */
    double p_scale, g_bound;  /* Madam */
    double weight_decay;
    const char *const *no_decay; /* substrings of parameter names, NULL-terminated; may be NULL */
} hl_optim;

#define HL_TRAIN_CLIP_INPUT "max_grad_norm"

typedef struct hl_train_options {
    hl_optim optim;
    double max_grad_norm; /* 0: no clipping */
    bool live_clip;       /* it is an input, the scalar HL_TRAIN_CLIP_INPUT, where it is not 0 */
    bool inf_norm;        /* clip by the largest absolute value instead of the 2-norm */
    int accumulate;       /* batches whose gradients are averaged for an update; 0, 1: one */
    bool fp16;            /* operands of linear layers and products are half floats of a device, the
                             loss is scaled (loss_scale.h); attention's stay f32 */
    bool bf16;            /* products of bf16 (hl_pass_bf16) in training; evaluation is f32 */
    bool watch;           /* moments of the taps */
    bool bins;            /* with their histograms */
    bool for_device;      /* matrices are not packed: that is an order for the CPU's products */
    hl_probe_wish probe;  /* with watch: what else of them */
    const hl_id *metrics; /* further outputs wanted, of the forward graph */
    int n_metrics;
} hl_train_options;

/* Leaves: the forward graph's, plus the input "lr" (scalar), the state "optim.t" (scalar: updates
 * made) and for each parameter p the states "p.exp_avg" and "p.exp_avg_sq" (AdamW, Adam),
 * "p.momentum" (SGD), or "p.exp_avg_sq" and the scalar "p.max" (Madam). Every STATE leaf of the
 * forward graph is a parameter.
 *
 * With fp16 also the states of loss_scale.h.
 *
 * Outputs, in order: loss, grad_norm, ok (1 if both are finite and the update was made), clip
 * scale, the loss scale of this step (1 without fp16), the metrics, then where it is watched for each
 * solve that gradients take (hl_op_adjoint) its movement and its absolute residuals, and for each
 * tap rows (and bins). The rest of `outputs` are the updates' own.
 *
 * With accumulate > 1 there are further states, zero between updates: "p.grad_sum" for each
 * parameter and "optim.loss_sum". An update is then accumulate - 1 runs of hl_accumulate_graph_new
 * and one of this graph, whose loss is the mean of all of them. */
typedef struct hl_train_graph {
    hl_graph *g;
    hl_id *outputs;
    int n_outputs;
    int first_metric, first_solve, n_solves, first_tap;
    hl_probes probes; /* their outputs are numbers in `outputs` */
} hl_train_graph;
enum {
    HL_TRAIN_LOSS,
    HL_TRAIN_GRAD_NORM,
    HL_TRAIN_OK,
    HL_TRAIN_SCALE,
    HL_TRAIN_LOSS_SCALE,
    HL_TRAIN_FIXED
};

HL_MUST_CHECK hl_status hl_train_graph_new(const hl_graph *forward, hl_id loss,
                                           const hl_train_options *o, hl_train_graph *out);
/* One batch whose gradients are added up and nothing is updated: outputs are its loss and the
 * additions' own. */
HL_MUST_CHECK hl_status hl_accumulate_graph_new(const hl_graph *forward, hl_id loss,
                                                const hl_train_options *o, hl_train_graph *out);
/* Forward only: outputs are loss, the metrics, the taps (o->optim is not looked at). */
HL_MUST_CHECK hl_status hl_eval_graph_new(const hl_graph *forward, hl_id loss,
                                          const hl_train_options *o, hl_train_graph *out);
void hl_train_graph_done(hl_train_graph *t);

/* "optim.madam"; false: there is none of that name */
bool hl_optim_parse(const char *name, hl_optim_kind *out);

/* Does weight decay apply to a parameter of this name? */
bool hl_optim_decays(const hl_optim *o, const char *name);

#endif
