/* Setting a training run up: programs, memory, data. The loop is train_loop.c. */
#include "app/exp/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/exp/train_internal.h"
#include "engine/base/log.h"

/* --- programs --- */

static void program_done(step_program *s)
{
    hl_program_free(s->p);
    for (int i = 0; i < s->n_taps; i++)
        hl_free(s->tap_names[i]);
    hl_free(s->tap_names);
    hl_train_graph_done(&s->tg);
    *s = (step_program){0};
}

static hl_status keep_tap_names(step_program *s)
{
    const size_t n = s->tg.g->taps.n;
    s->tap_names = hl_alloc_zero(n + 1, sizeof *s->tap_names);
    if (!s->tap_names)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        s->tap_names[i] = hl_strdup(s->tg.g->taps.at[i].name);
        if (!s->tap_names[i])
            return HL_E_NOMEM;
        s->n_taps++;
    }
    return HL_OK;
}

static void find_bindings(const hl_source *source, step_program *s)
{
    s->lr = s->clip = -1;
    for (int k = 0; k < HL_FEED_ARRAYS; k++)
        s->input[k] = -1;
    for (int i = 0; i < hl_program_n_bindings(s->p); i++) {
        const hl_binding *b = hl_program_binding(s->p, i);
        if (b->kind != HL_VALUE_INPUT || b->mark)
            continue;
        if (strcmp(b->name, "lr") == 0)
            s->lr = i;
        if (strcmp(b->name, HL_TRAIN_CLIP_INPUT) == 0)
            s->clip = i;
        for (int k = 0; source->array[k]; k++)
            if (strcmp(b->name, source->array[k]) == 0)
                s->input[k] = i;
    }
}

typedef hl_status graph_fn(const hl_graph *forward, hl_id loss, const hl_train_options *o,
                           hl_train_graph *out);

static hl_status build_graph(const hl_train *t, const hl_exp_trace *trace, graph_fn *make,
                             bool watch, hl_train_graph *out)
{
    hl_train_options o = {.optim = t->e->optim,
                          .max_grad_norm = t->e->max_grad_norm,
                          .live_clip = true,
                          .inf_norm = t->e->inf_norm,
                          .accumulate = t->e->accumulate,
                          .bf16 = t->e->bf16,
                          .fp16 = t->e->fp16,
                          .watch = watch,
                          .bins = watch && t->e->probe_bins,
                          .for_device = hl_device_current() != NULL,
                          .probe = {t->e->probe_channels, t->e->probe_attention > 0}};
    /* a step that nobody watches does not compute curves */
    o.n_metrics = watch ? trace->n_metrics : trace->n_numbers;
    hl_id *metrics = hl_alloc(((size_t)o.n_metrics + 1) * sizeof *metrics);
    if (!metrics)
        return HL_E_NOMEM;
    for (int i = 0; i < o.n_metrics; i++)
        metrics[i] = trace->metric[i].value;
    o.metrics = metrics;
    hl_status st = make(trace->g, trace->loss, &o, out);
    hl_free(metrics);
    return st;
}

static hl_status compile(hl_train *t, step_program *s, const hl_exp_trace *trace, graph_fn *make,
                         bool watch)
{
    hl_status st = HL_OK;
    HL_TRY(build_graph(t, trace, make, watch, &s->tg));
    s->trace = trace;
    s->bins = watch && t->e->probe_bins;
    hl_compile how = {.outputs = s->tg.outputs,
                      .n_outputs = s->tg.n_outputs,
                      .fp64 = t->e->fp64,
                      .n_workers = t->s.team ? t->s.team->n : 1,
                      .device = hl_device_current()};
    HL_TRY(hl_program_new(s->tg.g, &how, &s->p));
    if (watch)
        HL_TRY(keep_tap_names(s));
    find_bindings(&t->e->source, s);
    hl_graph_free(s->tg.g);
    s->tg.g = NULL;
out:
    return st;
}

/* --- binding of state --- */

static hl_status extra_storage(hl_train *t, const char *name, const hl_type *type, hl_storage **out)
{
    for (size_t i = 0; i < t->extra.n; i++)
        if (strcmp(t->extra.at[i].name, name) == 0) {
            *out = t->extra.at[i].storage;
            return HL_OK;
        }
    hl_type f32 = *type;
    f32.dtype = HL_DTYPE_F32;
    extra_state x = {.name = hl_strdup(name)};
    hl_status st = x.name ? hl_storage_new(&f32, t->e->fp64, &x.storage) : HL_E_NOMEM;
    if (st == HL_OK)
        st = hl_vec_push(&t->extra, x);
    if (st != HL_OK) {
        hl_free(x.name);
        hl_storage_unref(x.storage);
        return st;
    }
    *out = x.storage;
    return HL_OK;
}

static bool is_batch_input(const step_program *s, int binding)
{
    for (int k = 0; k < HL_FEED_ARRAYS; k++)
        if (s->input[k] == binding)
            return true;
    return false;
}

static hl_status bind_state(hl_train *t, step_program *s)
{
    hl_status st = HL_OK;
    for (int i = 0; i < hl_program_n_bindings(s->p); i++) {
        const hl_binding *b = hl_program_binding(s->p, i);
        if (b->mark) { /* a parameter, or a constant that the model captured */
            hl_program_bind(s->p, i, ((hl_storage *)b->mark)->data);
        } else if (b->kind == HL_VALUE_STATE) {
            hl_storage *x;
            HL_TRY(extra_storage(t, b->name, &b->type, &x));
            hl_program_bind(s->p, i, x->data);
        } else if (i == s->lr) {
            hl_program_bind(s->p, i, t->e->fp64 ? (void *)&t->lr_f64 : (void *)&t->lr_f32);
        } else if (i == s->clip) {
            hl_program_bind(s->p, i,
                            t->e->fp64 ? (void *)&t->e->max_grad_norm : (void *)&t->clip_f32);
        } else if (!is_batch_input(s, i)) {
            HL_FAIL(HL_E_STATE, "the model reads the input '%s', which the data does not give",
                    b->name);
        }
    }
out:
    return st;
}

/* --- the plan --- */

static int64_t storage_bytes(const hl_experiment *e)
{
    int64_t n = 0;
    for (size_t i = 0; i < e->n_params; i++)
        n += (int64_t)e->params[i].storage->bytes;
    return n;
}

void hl_train_programs(hl_train *t, step_program *out[HL_TRAIN_PROGRAMS])
{
    step_program *all[HL_TRAIN_PROGRAMS] = {&t->plain, &t->plain_rest, &t->watched,  &t->gather,
                                            &t->eval,  &t->eval_rest,  &t->test_rest};
    memcpy(out, all, sizeof all);
}

static hl_status make_plan(hl_train *t)
{
    hl_status st = HL_OK;
    step_program *all[HL_TRAIN_PROGRAMS];
    hl_train_programs(t, all);
    for (int i = 0; i < HL_TRAIN_PROGRAMS; i++) {
        if (!all[i]->p)
            continue;
        size_t bytes = hl_program_get_info(all[i]->p).arena_bytes;
        t->arena_bytes = bytes > t->arena_bytes ? bytes : t->arena_bytes;
    }
    hl_program_info info = hl_program_get_info(t->s.eval_only ? t->eval.p : t->plain.p);
    int64_t train = 0, eval = 0;
    const hl_source *s = &t->e->source;
    if (!t->s.eval_only)
        HL_TRY(s->plan(s->self, HL_PART_TRAIN, &train));
    if (t->eval.p)
        HL_TRY(s->plan(s->self, HL_PART_EVAL, &eval));
    t->plan = (hl_train_plan){.weights = storage_bytes(t->e),
                              .activations = (int64_t)t->arena_bytes,
                              .data = train + eval,
                              .baseline = t->s.baseline_bytes,
                              .flops_step = t->s.eval_only ? info.flops : hl_train_flops(t),
                              .n_ops = info.n_steps};
    t->plan.optimiser = t->s.eval_only ? 0 : (int64_t)info.state_bytes - t->plan.weights;
    t->plan.total = t->plan.baseline + t->plan.optimiser + t->plan.activations + t->plan.data;
out:
    return st;
}

void hl_train_plan_more(hl_train *t, int64_t bytes)
{
    t->plan.baseline += bytes;
    t->plan.total += bytes;
}

static void open_series(hl_train *t)
{
    const hl_sink *k = &t->sink;
    char items[64], per_s[64];
    snprintf(items, sizeof items, "train/%s", t->e->source.items);
    snprintf(per_s, sizeof per_s, "sys/%s_per_s", t->e->source.items);
#define SERIES(field, tag, kind) t->field = k->series(k->self, tag, kind, NULL)
    SERIES(s_loss, "train/loss", HL_SERIES_SCALAR);
    SERIES(s_norm, "train/grad_norm", HL_SERIES_SCALAR);
    SERIES(s_lr, "train/lr", HL_SERIES_SCALAR);
    SERIES(s_items, items, HL_SERIES_WIDE);
    SERIES(s_skipped, "train/skipped", HL_SERIES_SCALAR);
    if (t->e->fp16)
        SERIES(s_loss_scale, "train/loss_scale", HL_SERIES_SCALAR);
    SERIES(s_step_ms, "sys/step_ms", HL_SERIES_SCALAR);
    SERIES(s_per_s, per_s, HL_SERIES_SCALAR);
    if (t->s.peak_flops > 0)
        SERIES(s_share, "sys/peak_share_percent", HL_SERIES_SCALAR);
    SERIES(s_wait, "sys/data_wait_ms", HL_SERIES_SCALAR);
#undef SERIES
    hl_train_eval_series(t);
    hl_train_watch_series(t);
}

static hl_status compile_training(hl_train *t)
{
    hl_status st = HL_OK;
    HL_TRY_CTX(compile(t, &t->plain, &t->e->train, hl_train_graph_new, false),
               "compiling the training step");
    if (t->e->train_rest.g)
        HL_TRY_CTX(compile(t, &t->plain_rest, &t->e->train_rest, hl_train_graph_new, false),
                   "compiling the last step of an epoch");
    if (t->e->probe_every > 0)
        HL_TRY_CTX(compile(t, &t->watched, &t->e->train, hl_train_graph_new, true),
                   "compiling the watched step");
    if (t->e->accumulate > 1)
        HL_TRY_CTX(compile(t, &t->gather, &t->e->train, hl_accumulate_graph_new, false),
                   "compiling the accumulating step");
out:
    return st;
}

hl_status hl_train_new(const hl_train_setup *s, hl_train **out)
{
    hl_status st = HL_OK;
    hl_train *t = hl_alloc_zero(1, sizeof *t);
    if (!t)
        return HL_E_NOMEM;
    t->s = *s;
    t->e = s->exp;
    t->best_step = -1;
    hl_train_knobs_open(t);
    t->loss = t->grad_norm = t->best_eval = nan("");
    t->s.host.phase(t->s.host.self, HL_PHASE_COMPILING, 0);
    if (s->eval_only && !t->e->eval.g)
        HL_FAIL(HL_E_STATE, "this experiment has nothing to evaluate on");
    if (!s->eval_only)
        HL_TRY(compile_training(t));
    if (t->e->eval.g)
        HL_TRY_CTX(compile(t, &t->eval, &t->e->eval, hl_eval_graph_new, true),
                   "compiling the evaluation");
    if (t->e->eval_rest.g)
        HL_TRY_CTX(compile(t, &t->eval_rest, &t->e->eval_rest, hl_eval_graph_new, true),
                   "compiling the end of an evaluation");
    if (t->e->test_rest.g)
        HL_TRY_CTX(compile(t, &t->test_rest, &t->e->test_rest, hl_eval_graph_new, true),
                   "compiling the end of the test");
    HL_TRY(make_plan(t));
    HL_TRY(hl_train_knobs_begin(t));
    *out = t;
    t = NULL;
out:
    hl_train_free(t);
    return st;
}

void hl_train_free(hl_train *t)
{
    if (!t)
        return;
    hl_feed_close(&t->train_data);
    hl_feed_close(&t->eval_data);
    step_program *all[HL_TRAIN_PROGRAMS];
    hl_train_programs(t, all);
    for (int i = 0; i < HL_TRAIN_PROGRAMS; i++)
        program_done(all[i]);
    hl_train_metrics_done(t);
    hl_train_forecast_done(t);
    hl_train_probe_done(t);
    for (size_t i = 0; i < t->extra.n; i++) {
        hl_free(t->extra.at[i].name);
        hl_storage_unref(t->extra.at[i].storage);
    }
    hl_vec_done(&t->extra);
    hl_block_free(t->arena, t->arena_bytes);
    hl_free(t->result.taps);
    hl_free(t->s_inf);
    hl_free(t->s_kurtosis);
    hl_free(t->s_hist);
    hl_free(t->s_weight);
    hl_free(t->s_backward);
    hl_free(t);
}

hl_train_plan hl_train_get_plan(const hl_train *t)
{
    return t->plan;
}

void hl_train_largest(const hl_train *t, hl_str *out)
{
    hl_program_largest(t->s.eval_only ? t->eval.p : t->plain.p, out);
}

int64_t hl_train_step(const hl_train *t)
{
    return t->step;
}

static hl_status too_large(hl_train *t)
{
    char need[24], have[24];
    hl_str text = {0};
    hl_train_largest(t, &text);
    hl_status st = hl_err_set(
        HL_E_NOMEM,
        "not enough memory: the run needs %s, %s is available%s; make the batch, seq_len or model "
        "smaller. Largest: %s",
        hl_format_bytes(need, t->plan.total - t->plan.baseline),
        hl_format_bytes(have, hl_device_available_bytes(hl_device_current())),
        hl_device_current() ? " on the device" : "", hl_str_text(&text));
    hl_str_done(&text);
    return st;
}

hl_status hl_train_fits(hl_train *t)
{
    const int64_t available = hl_device_available_bytes(hl_device_current());
    return available >= 0 && t->plan.total - t->plan.baseline > available ? too_large(t) : HL_OK;
}

/* Said once, where a run says things: what bf16 and fp16 do not reach. */
static void tell_precision(const hl_train *t)
{
    const hl_graph *g = t->e->train.g;
    bool solves = false;
    for (size_t i = 0; (t->e->bf16 || t->e->fp16) && g && i < g->nodes.n; i++)
        solves = solves || g->nodes.at[i].op == hl_op_get(HL_OP_ID_fixed_point);
    if (solves)
        hl_log(HL_LOG_WARN, "precision %s: fixed points are iterated in fp32",
               t->e->bf16 ? "bf16" : "fp16");
}

/* Batches are handed on between training programs, so all must read the same arrays. */
static bool can_look_ahead(const hl_train *t)
{
    const step_program *const all[] = {&t->plain_rest, &t->watched, &t->gather};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (int k = 0; all[i]->p && k < HL_FEED_ARRAYS; k++)
            if ((all[i]->input[k] >= 0) != (t->plain.input[k] >= 0))
                return false;
    return hl_device_current() && t->plain.p;
}

hl_status hl_train_open(hl_train *t, hl_sink sink, const char *ckpt_dir)
{
    hl_status st = HL_OK;
    step_program *all[HL_TRAIN_PROGRAMS];
    hl_train_programs(t, all);
    t->sink = sink;
    t->ckpt_dir = ckpt_dir;
    tell_precision(t);
    open_series(t);
    HL_TRY(hl_train_time_open(t));
    HL_TRY(hl_train_metrics_open(t));
    HL_TRY(hl_train_solve_open(t));
    HL_TRY(hl_train_probe_open(t));
    HL_TRY(hl_train_forecast_open(t));
    if (!hl_device_current()) { /* a device has an arena of its own */
        t->arena = hl_block_new(t->arena_bytes ? t->arena_bytes : 64);
        if (!t->arena)
            return too_large(t);
    }
    for (int i = 0; i < HL_TRAIN_PROGRAMS; i++) {
        if (!all[i]->p)
            continue;
        if (t->arena)
            hl_program_use_arena(all[i]->p, t->arena);
        HL_TRY(hl_program_prepare(all[i]->p)); /* a device's memory: too little is told now */
        HL_TRY(bind_state(t, all[i]));
    }
    t->looks_ahead = can_look_ahead(t);
    const hl_source *s = &t->e->source;
    if (!t->s.eval_only)
        HL_TRY(s->open(s->self, HL_PART_TRAIN, t->next, &t->train_data));
    HL_TRY(hl_train_eval_open(t));
out:
    return st == HL_E_NOMEM ? too_large(t) : st;
}

hl_status hl_train_state(hl_train *t)
{
    /* the optimiser's storages exist once a program that has them is bound */
    return bind_state(t, &t->plain);
}

double hl_train_output(const hl_train *t, const step_program *p, int i)
{
    const void *data = hl_program_output(p->p, i);
    return t->e->fp64 ? *(const double *)data : (double)*(const float *)data;
}

hl_exec hl_train_exec(const hl_train *t, int64_t step)
{
    return (hl_exec){.team = t->s.team, .seed = t->e->seed, .step = (uint32_t)step};
}

hl_status hl_train_run_batch(hl_train *t, step_program *p, const hl_feed_batch *b, int64_t step)
{
    hl_exec x = hl_train_exec(t, step);
    for (int k = 0; k < HL_FEED_ARRAYS; k++)
        if (p->input[k] >= 0)
            hl_program_bind(p->p, p->input[k], (void *)(uintptr_t)b->data[k]);
    return hl_program_run(p->p, &x);
}

void hl_train_profile(hl_train *t, bool on)
{
    hl_program_profile(t->s.eval_only ? t->eval.p : t->plain.p, on);
}

void hl_train_captures(const hl_train *t, int *n_host_steps, int64_t *n_replayed)
{
    const hl_program_info i = hl_program_get_info(t->s.eval_only ? t->eval.p : t->plain.p);
    *n_host_steps = i.n_host_steps;
    *n_replayed = i.n_replayed;
}

double hl_train_flops(const hl_train *t)
{
    const double gather = t->gather.p ? hl_program_get_info(t->gather.p).flops : 0;
    return hl_program_get_info(t->plain.p).flops + (t->e->accumulate - 1) * gather;
}

void hl_train_profile_text(const hl_train *t, hl_str *out)
{
    hl_program_profile_text(t->s.eval_only ? t->eval.p : t->plain.p, out);
}
