#include "engine/optim/train_graph.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/graph/body.h"
#include "engine/graph/build.h"
#include "engine/optim/loss_scale.h"
#include "engine/pass/pass.h"
#include "engine/solve/knob.h"

bool hl_optim_decays(const hl_optim *o, const char *name)
{
    for (int i = 0; o->no_decay && o->no_decay[i]; i++)
        if (strstr(name, o->no_decay[i]))
            return false;
    return o->weight_decay != 0;
}

/* What an optimiser's update takes: some of lr, t, scale, ok, then for each parameter p itself, its
 * gradient and its states. */
typedef struct optim_row {
    const char *name;
    hl_op_id op;
    bool takes_t;
    const char *state[3]; /* suffixes, NULL-terminated */
    const char *scalar;   /* the one of them that is a single number, or NULL */
} optim_row;

static const optim_row optim_rows[HL_OPTIM_COUNT] = {
    [HL_OPTIM_ADAMW] = {"optim.adamw", HL_OP_ID_adamw, true, {"exp_avg", "exp_avg_sq"}, NULL},
    [HL_OPTIM_ADAM] = {"optim.adam", HL_OP_ID_adamw, true, {"exp_avg", "exp_avg_sq"}, NULL},
    [HL_OPTIM_SGD] = {"optim.sgd", HL_OP_ID_sgd, false, {"momentum"}, NULL},
    [HL_OPTIM_MADAM] = {"optim.madam", HL_OP_ID_madam, true, {"exp_avg_sq", "max"}, "max"},
};

bool hl_optim_parse(const char *name, hl_optim_kind *out)
{
    for (int i = 0; i < HL_OPTIM_COUNT; i++)
        if (strcmp(name, optim_rows[i].name) == 0) {
            *out = (hl_optim_kind)i;
            return true;
        }
    return false;
}

typedef hl_id_list id_list;

/* One step under construction. */
typedef struct builder {
    hl_graph *g;
    const hl_train_options *o;
    id_list params, grads, outputs;
    id_list sums; /* with accumulate: states, of the gradients and the loss */
    hl_id loss_scale; /* of fp16, else HL_NONE: what gradients are multiplied by */
    int n_solves; /* of the backward pass */
    hl_probes probes;
} builder;

static hl_id moment(builder *b, hl_id param, const char *suffix, bool is_scalar)
{
    const hl_value *p = hl_graph_value(b->g, param);
    const hl_type type = is_scalar ? hl_type_scalar(p->type.dtype) : p->type;
    hl_str name = {0};
    hl_str_addf(&name, "%s.%s", p->name, suffix);
    hl_id id = hl_str_status(&name) == HL_OK ? hl_graph_state(b->g, name.s, type) : HL_NONE;
    hl_str_done(&name);
    return id;
}

static hl_status push_update(builder *b, id_list *in, size_t i)
{
    hl_status st = HL_OK;
    const optim_row *row = &optim_rows[b->o->optim.kind];
    HL_TRY(hl_vec_push(in, b->params.at[i]));
    HL_TRY(hl_vec_push(in, b->grads.at[i]));
    for (int k = 0; row->state[k]; k++) {
        const bool is_scalar = row->scalar && strcmp(row->state[k], row->scalar) == 0;
        HL_TRY(hl_vec_push(in, moment(b, b->params.at[i], row->state[k], is_scalar)));
    }
    st = b->g->status;
out:
    return st;
}

static hl_attrs optim_attrs(const hl_optim *o, bool decays)
{
    hl_attrs a = hl_op_defaults(hl_op_get(optim_rows[o->kind].op));
    const double decay = decays ? o->weight_decay : 0;
    switch (o->kind) {
    case HL_OPTIM_SGD:
        a.v[0].f = o->momentum;
        a.v[1].f = decay;
        break;
    case HL_OPTIM_MADAM:
        a.v[0].f = o->p_scale;
        a.v[1].f = o->g_bound;
        break;
    default:
        a.v[0].f = o->beta1;
        a.v[1].f = o->beta2;
        a.v[2].f = o->eps;
        a.v[3].f = decay;
        a.v[4].i = o->kind == HL_OPTIM_ADAM;
    }
    return a;
}

/* The update node of the parameters with (or without) weight decay. */
static hl_status update_group(builder *b, bool decays, const hl_id *scalars, int n_scalars)
{
    hl_status st = HL_OK;
    id_list in = {0};
    const hl_optim *o = &b->o->optim;
    for (int i = 0; i < n_scalars; i++)
        HL_TRY(hl_vec_push(&in, scalars[i]));
    for (size_t i = 0; i < b->params.n; i++)
        if (b->grads.at[i] != HL_NONE &&
            hl_optim_decays(o, hl_graph_value(b->g, b->params.at[i])->name) == decays)
            HL_TRY(push_update(b, &in, i));
    if ((int)in.n == n_scalars)
        goto out;
    const hl_attrs a = optim_attrs(o, decays);
    hl_id done = hl_graph_append(b->g, hl_op_get(optim_rows[o->kind].op), in.at, (int)in.n, &a);
    HL_TRY(b->g->status);
    HL_TRY(hl_vec_push(&b->outputs, done));
out:
    hl_vec_done(&in);
    return st;
}

/* min(1, max / (norm + 1e-6)), or 1 */
static hl_id clip_scale(builder *b, hl_id norm)
{
    hl_id one = hl_graph_const(b->g, 1);
    if (b->o->max_grad_norm <= 0)
        return one;
    const hl_id most = b->o->live_clip
                           ? hl_graph_input(b->g, HL_TRAIN_CLIP_INPUT, hl_type_scalar(HL_DTYPE_F32))
                           : hl_graph_const(b->g, b->o->max_grad_norm);
    hl_id room = hl_g_div(b->g, most, hl_g_add(b->g, norm, hl_graph_const(b->g, 1e-6)));
    return hl_g_op2(b->g, HL_OP_ID_minimum, one, room);
}

static hl_status append_updates(builder *b, hl_id loss)
{
    hl_status st = HL_OK;
    hl_graph *g = b->g;
    id_list reached = {0};
    for (size_t i = 0; i < b->grads.n; i++)
        if (b->grads.at[i] != HL_NONE)
            HL_TRY(hl_vec_push(&reached, b->grads.at[i]));
    if (reached.n == 0)
        HL_FAIL(HL_E_ARG, "the loss does not depend on any parameter");
    hl_attrs a = hl_op_defaults(hl_op_get(HL_OP_ID_global_norm));
    a.v[0].i = b->o->inf_norm;
    hl_id norm =
        hl_graph_append(g, hl_op_get(HL_OP_ID_global_norm), reached.at, (int)reached.n, &a);
    const hl_id undo =
        b->loss_scale == HL_NONE ? HL_NONE : hl_g_div(g, hl_graph_const(g, 1), b->loss_scale);
    if (undo != HL_NONE)
        norm = hl_g_mul(g, norm, undo);
    hl_id scale = clip_scale(b, norm);
    hl_id ok =
        hl_g_mul(g, hl_g_op1(g, HL_OP_ID_is_finite, loss), hl_g_op1(g, HL_OP_ID_is_finite, norm));
    hl_id lr = hl_graph_input(g, "lr", hl_type_scalar(HL_DTYPE_F32));
    hl_id t = hl_graph_state(g, "optim.t", hl_type_scalar(HL_DTYPE_F32));
    hl_id next = hl_g_add(g, t, ok);
    HL_TRY(g->status);
    b->outputs.at[HL_TRAIN_GRAD_NORM] = norm;
    b->outputs.at[HL_TRAIN_OK] = ok;
    b->outputs.at[HL_TRAIN_SCALE] = scale;
    b->outputs.at[HL_TRAIN_LOSS_SCALE] = undo == HL_NONE ? hl_graph_const(g, 1) : b->loss_scale;
    if (undo != HL_NONE)
        scale = hl_g_mul(g, scale, undo);
    const hl_id with_t[4] = {lr, next, scale, ok}, without[3] = {lr, scale, ok};
    const bool takes_t = optim_rows[b->o->optim.kind].takes_t;
    for (int decays = 0; decays < 2; decays++)
        HL_TRY(update_group(b, decays, takes_t ? with_t : without, takes_t ? 4 : 3));
    hl_id write = hl_g_op2(g, HL_OP_ID_assign, t, next);
    HL_TRY(g->status);
    HL_TRY(hl_vec_push(&b->outputs, write));
    if (undo != HL_NONE) {
        hl_id kept[2];
        hl_loss_scale_next(g, b->loss_scale, ok, kept);
        HL_TRY(g->status);
        HL_TRY(hl_vec_push(&b->outputs, kept[0]));
        HL_TRY(hl_vec_push(&b->outputs, kept[1]));
    }
out:
    hl_vec_done(&reached);
    return st;
}

/* --- several batches per update --- */

static bool accumulates(const builder *b)
{
    return b->o->accumulate > 1;
}

/* What was gathered so far is added to the gradients and to the loss, which is returned. */
static hl_id add_sums(builder *b, hl_id loss)
{
    for (size_t i = 0; i < b->grads.n; i++) {
        if (b->grads.at[i] == HL_NONE)
            continue;
        const hl_id sum = moment(b, b->params.at[i], "grad_sum", false);
        if (hl_vec_push(&b->sums, sum) != HL_OK)
            return HL_NONE;
        b->grads.at[i] = hl_g_add(b->g, sum, b->grads.at[i]);
    }
    const hl_id sum = hl_graph_state(b->g, "optim.loss_sum", *hl_graph_type(b->g, loss));
    return hl_vec_push(&b->sums, sum) == HL_OK ? hl_g_add(b->g, sum, loss) : HL_NONE;
}

static void take_means(builder *b, hl_id *loss)
{
    const double share = 1.0 / b->o->accumulate;
    for (size_t i = 0; i < b->grads.n; i++)
        if (b->grads.at[i] != HL_NONE)
            b->grads.at[i] = hl_g_scale(b->g, b->grads.at[i], share);
    *loss = hl_g_scale(b->g, *loss, share);
}

static hl_status write_sum(builder *b, hl_id sum, hl_id value)
{
    const hl_id write = hl_g_op2(b->g, HL_OP_ID_assign, sum, value);
    return b->g->status == HL_OK ? hl_vec_push(&b->outputs, write) : b->g->status;
}

/* Zero, for the next update. Behind everything that reads them. */
static hl_status clear_sums(builder *b)
{
    hl_status st = HL_OK;
    for (size_t i = 0; i < b->sums.n; i++)
        HL_TRY(write_sum(b, b->sums.at[i],
                         hl_g_expand_like(b->g, hl_graph_const(b->g, 0), b->sums.at[i])));
out:
    return st;
}

static hl_status keep_sums(builder *b, hl_id loss)
{
    hl_status st = HL_OK;
    size_t k = 0;
    for (size_t i = 0; i < b->grads.n; i++)
        if (b->grads.at[i] != HL_NONE)
            HL_TRY(write_sum(b, b->sums.at[k++], b->grads.at[i]));
    st = write_sum(b, b->sums.at[k], loss);
out:
    return st;
}

static hl_status append_taps(builder *b)
{
    hl_status st = HL_OK;
    if (!b->o->watch || b->g->taps.n == 0)
        return HL_OK;
    hl_id *ids = hl_alloc(b->g->taps.n * sizeof *ids);
    if (!ids)
        return HL_E_NOMEM;
    HL_TRY(hl_pass_taps(b->g, b->o->bins, ids));
    for (size_t i = 0; i < b->g->taps.n; i++) {
        HL_TRY(hl_vec_push(&b->outputs, ids[i]));
        if (b->o->bins)
            HL_TRY(hl_vec_push(&b->outputs, ids[i] + 1));
    }
out:
    hl_free(ids);
    return st;
}

/* Of the nodes from `first` on, which the backward pass has made. */
static hl_status append_solves(builder *b, size_t first)
{
    hl_status st = HL_OK;
    for (size_t i = first; b->o->watch && i < b->g->nodes.n; i++) {
        const hl_node *n = &b->g->nodes.at[i];
        if (n->op != hl_op_get(HL_OP_ID_fixed_point))
            continue;
        HL_TRY(hl_vec_push(&b->outputs, n->out0 + n->body->n_out + HL_SOLVE_MOVEMENT));
        HL_TRY(hl_vec_push(&b->outputs, n->out0 + n->body->n_out + HL_SOLVE_ABS));
        b->n_solves++;
    }
out:
    return st;
}

static hl_status gradients(builder *b, hl_id loss)
{
    hl_status st = HL_OK;
    for (size_t v = 0; v < b->g->values.n; v++)
        if (b->g->values.at[v].kind == HL_VALUE_STATE)
            HL_TRY(hl_vec_push(&b->params, (hl_id)v));
    HL_TRY(hl_vec_reserve(&b->grads, b->params.n + 1));
    b->grads.n = b->params.n;
    b->loss_scale = b->o->fp16 ? hl_loss_scale(b->g) : HL_NONE;
    if (b->o->fp16)
        loss = hl_g_mul(b->g, loss, b->loss_scale);
    HL_TRY(b->g->status);
    HL_TRY(hl_pass_grad(b->g, loss, b->params.at, (int)b->params.n, b->grads.at));
out:
    return st;
}

/* The forward graph, fused, with outputs set to its loss and metrics. `fixed` places come first. */
static hl_status begin(builder *b, const hl_graph *forward, hl_id loss, int fixed)
{
    hl_status st = HL_OK;
    hl_graph *needed = NULL;
    const int n = 1 + b->o->n_metrics + (int)forward->taps.n;
    hl_id *map = hl_alloc((forward->values.n + 1) * sizeof *map);
    hl_id *outs = hl_alloc((size_t)n * sizeof *outs);
    if (!map || !outs) {
        st = HL_E_NOMEM;
        goto out;
    }
    outs[0] = loss;
    for (int i = 0; i < b->o->n_metrics; i++)
        outs[1 + i] = b->o->metrics[i];
    /* Taps are wanted only where the loss passes by. */
    HL_TRY(hl_graph_extract(forward, outs, 1 + b->o->n_metrics, &needed, map));
    for (int i = 0; i < 1 + b->o->n_metrics; i++)
        outs[i] = map[outs[i]];
    hl_free(map);
    map = hl_alloc((needed->values.n + 1) * sizeof *map);
    if (!map) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(hl_pass_fuse_forward(needed, outs, 1 + b->o->n_metrics, &b->g, map));
    for (int i = 0; i < fixed; i++)
        HL_TRY(hl_vec_push(&b->outputs, outs[0]));
    for (int i = 0; i < b->o->n_metrics; i++)
        HL_TRY(hl_vec_push(&b->outputs, outs[1 + i]));
out:
    hl_graph_free(needed);
    hl_free(map);
    hl_free(outs);
    return st;
}

/* Passes that change no bit: shared packing, then fewer trips through memory. */
static hl_status last_passes(builder *b)
{
    hl_status st = HL_OK;
    hl_graph *packed = NULL, *fused = NULL;
    hl_id *map = hl_alloc((b->g->values.n + 1) * sizeof *map), *again = NULL;
    if (!map) {
        st = HL_E_NOMEM;
        goto out;
    }
    if (!b->o->for_device)
        HL_TRY(hl_pass_pack(b->g, b->outputs.at, (int)b->outputs.n, NULL, &packed, map));
    const hl_graph *from = packed ? packed : b->g;
    again = hl_alloc((from->values.n + 1) * sizeof *again);
    if (!again) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(hl_pass_fuse_elementwise(from, b->outputs.at, (int)b->outputs.n, NULL, &fused, again));
    hl_graph_free(b->g);
    b->g = fused;
out:
    hl_graph_free(packed);
    hl_free(map);
    hl_free(again);
    return st;
}

static hl_status end(builder *b, hl_status st, int fixed, hl_train_graph *out)
{
    hl_vec_done(&b->params);
    hl_vec_done(&b->grads);
    hl_vec_done(&b->sums);
    if (st == HL_OK) {
        *out = (hl_train_graph){.g = b->g,
                                .outputs = b->outputs.at,
                                .n_outputs = (int)b->outputs.n,
                                .first_metric = fixed,
                                .first_solve = fixed + b->o->n_metrics,
                                .n_solves = b->n_solves,
                                .probes = b->probes,
                                .first_tap = fixed + b->o->n_metrics + 2 * b->n_solves};
    } else {
        hl_graph_free(b->g);
        hl_probes_done(&b->probes);
        hl_vec_done(&b->outputs);
    }
    return st;
}

typedef hl_status pass_fn(const hl_graph *g, hl_id *outputs, int n_outputs, hl_graph **out,
                          hl_id *map);

static hl_status replace(builder *b, pass_fn *pass)
{
    hl_graph *to = NULL;
    hl_id *map = hl_alloc((b->g->values.n + 1) * sizeof *map);
    if (!map)
        return HL_E_NOMEM;
    const hl_status st = pass(b->g, b->outputs.at, (int)b->outputs.n, &to, map);
    hl_free(map);
    if (st != HL_OK)
        return st;
    hl_graph_free(b->g);
    b->g = to;
    return HL_OK;
}

static hl_status passes_after_backward(builder *b)
{
    hl_status st = replace(b, hl_pass_fuse_backward);
    const bool on_cpu = !b->o->for_device;
    if (st == HL_OK && b->o->bf16)
        st = replace(b, on_cpu ? hl_pass_bf16_cpu : hl_pass_bf16);
    if (st == HL_OK && b->o->fp16)
        st = replace(b, hl_pass_fp16);
    if (st == HL_OK)
        st = last_passes(b);
    if (st == HL_OK && b->o->bf16 && on_cpu)
        st = replace(b, hl_pass_round_results);
    return st;
}

hl_status hl_train_graph_new(const hl_graph *forward, hl_id loss, const hl_train_options *o,
                             hl_train_graph *out)
{
    hl_status st = HL_OK;
    builder b = {.o = o};
    HL_TRY(begin(&b, forward, loss, HL_TRAIN_FIXED));
    hl_id mean = b.outputs.at[HL_TRAIN_LOSS];
    const size_t n_forward = b.g->nodes.n;
    HL_TRY(gradients(&b, mean));
    HL_TRY(append_solves(&b, n_forward));
    HL_TRY(append_taps(&b));
    if (o->watch)
        HL_TRY(hl_pass_probes(b.g, b.g->nodes.n, &o->probe, &b.outputs, &b.probes));
    if (accumulates(&b)) {
        mean = add_sums(&b, mean);
        take_means(&b, &mean);
        HL_TRY(b.g->status);
        b.outputs.at[HL_TRAIN_LOSS] = mean;
    }
    HL_TRY(append_updates(&b, mean));
    if (accumulates(&b))
        HL_TRY(clear_sums(&b));
    HL_TRY(passes_after_backward(&b));
out:
    return end(&b, st, HL_TRAIN_FIXED, out);
}

hl_status hl_accumulate_graph_new(const hl_graph *forward, hl_id loss, const hl_train_options *o,
                                  hl_train_graph *out)
{
    hl_status st = HL_OK;
    hl_train_options bare = *o;
    bare.watch = false;
    bare.n_metrics = 0;
    builder b = {.o = &bare};
    HL_TRY(begin(&b, forward, loss, 1));
    HL_TRY(gradients(&b, b.outputs.at[0]));
    const hl_id sum = add_sums(&b, b.outputs.at[0]);
    HL_TRY(b.g->status);
    HL_TRY(keep_sums(&b, sum));
    HL_TRY(passes_after_backward(&b));
out:
    return end(&b, st, 1, out);
}

/* Of quantized graphs that are executed. */
static hl_status hand_on_codes(builder *b)
{
    hl_graph *g = NULL;
    hl_id *map = hl_alloc((b->g->values.n + 1) * sizeof *map);
    if (!map)
        return HL_E_NOMEM;
    hl_status st = hl_pass_codes(b->g, b->outputs.at, (int)b->outputs.n, &g, map);
    hl_free(map);
    if (st != HL_OK)
        return st;
    hl_graph_free(b->g);
    b->g = g;
    return HL_OK;
}

hl_status hl_eval_graph_new(const hl_graph *forward, hl_id loss, const hl_train_options *o,
                            hl_train_graph *out)
{
    hl_status st = HL_OK;
    builder b = {.o = o};
    HL_TRY(begin(&b, forward, loss, 1));
    HL_TRY(append_taps(&b));
    HL_TRY(hand_on_codes(&b));
    HL_TRY(last_passes(&b));
out:
    return end(&b, st, 1, out);
}

void hl_train_graph_done(hl_train_graph *t)
{
    hl_graph_free(t->g);
    hl_free(t->outputs);
    hl_probes_done(&t->probes);
    *t = (hl_train_graph){0};
}
