/* Setting a training run up: programs, memory, data. The loop is train_loop.c. */
#include "app/exp/train.h"

#include <math.h>
#include <string.h>

#include "app/exp/train_internal.h"

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

static void find_bindings(step_program *s)
{
    s->ids = s->labels = s->lr = -1;
    for (int i = 0; i < hl_program_n_bindings(s->p); i++) {
        const hl_binding *b = hl_program_binding(s->p, i);
        if (b->kind != HL_VALUE_INPUT || b->mark)
            continue;
        if (strcmp(b->name, "ids") == 0)
            s->ids = i;
        else if (strcmp(b->name, "labels") == 0)
            s->labels = i;
        else if (strcmp(b->name, "lr") == 0)
            s->lr = i;
    }
}

static hl_status compile(hl_train *t, step_program *s, bool training, bool watch)
{
    hl_status st = HL_OK;
    hl_train_options o = {.optim = t->e->optim, .max_grad_norm = t->e->max_grad_norm,
                          .inf_norm = t->e->inf_norm, .watch = watch,
                          .bins = watch && t->e->probe_bins};
    if (training)
        HL_TRY(hl_train_graph_new(t->e->train, t->e->train_loss, &o, &s->tg));
    else
        HL_TRY(hl_eval_graph_new(t->e->eval, t->e->eval_loss, &o, &s->tg));
    s->bins = o.bins;
    hl_compile how = {.outputs = s->tg.outputs, .n_outputs = s->tg.n_outputs, .fp64 = t->e->fp64,
                      .n_workers = t->s.team ? t->s.team->n : 1};
    HL_TRY(hl_program_new(s->tg.g, &how, &s->p));
    if (watch)
        HL_TRY(keep_tap_names(s));
    find_bindings(s);
    hl_graph_free(s->tg.g);
    s->tg.g = NULL;
out:
    return st;
}

/* --- binding of state --- */

static hl_status extra_storage(hl_train *t, const char *name, const hl_type *type,
                               hl_storage **out)
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
        } else if (i != s->ids && i != s->labels) {
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

static hl_status make_plan(hl_train *t)
{
    hl_status st = HL_OK;
    const step_program *all[3] = {&t->plain, &t->watched, &t->eval};
    for (int i = 0; i < 3; i++) {
        if (!all[i]->p)
            continue;
        size_t bytes = hl_program_get_info(all[i]->p).arena_bytes;
        t->arena_bytes = bytes > t->arena_bytes ? bytes : t->arena_bytes;
    }
    hl_program_info info = hl_program_get_info(t->plain.p);
    int64_t train = 0, eval = 0;
    HL_TRY(hl_loader_plan(&t->train_params, &train));
    if (t->eval.p)
        HL_TRY(hl_loader_plan(&t->eval_params, &eval));
    t->plan = (hl_train_plan){.weights = storage_bytes(t->e), .activations = (int64_t)t->arena_bytes,
                              .data = train + eval, .baseline = t->s.baseline_bytes,
                              .flops_step = info.flops, .n_ops = info.n_steps};
    t->plan.optimiser = (int64_t)info.state_bytes - t->plan.weights;
    t->plan.total = t->plan.baseline + t->plan.optimiser + t->plan.activations + t->plan.data;
out:
    return st;
}

void hl_train_plan_more(hl_train *t, int64_t bytes)
{
    t->plan.baseline += bytes;
    t->plan.total += bytes;
}

static void loader_params(hl_train *t)
{
    hl_loader_params p = hl_loader_params_default();
    const hl_experiment *e = t->e;
    p.corpus = e->corpus;
    p.objective = e->objective;
    p.seq_len = e->seq_len;
    p.batch_size = e->batch_size;
    p.seed = e->seed;
    p.mask_prob = e->mask_prob;
    p.part = HL_PART_TRAIN;
    p.mode = HL_LOADER_TRAIN;
    t->train_params = p;
    p.batch_size = e->eval_batch_size;
    p.part = HL_PART_EVAL;
    p.mode = HL_LOADER_EVAL;
    t->eval_params = p;
}

static void open_series(hl_train *t)
{
    const hl_sink *k = &t->sink;
#define SERIES(field, tag, kind) t->field = k->series(k->self, tag, kind, NULL)
    SERIES(s_loss, "train/loss", HL_SERIES_SCALAR);
    SERIES(s_norm, "train/grad_norm", HL_SERIES_SCALAR);
    SERIES(s_lr, "train/lr", HL_SERIES_SCALAR);
    SERIES(s_tokens, "train/tokens", HL_SERIES_WIDE);
    SERIES(s_skipped, "train/skipped", HL_SERIES_SCALAR);
    SERIES(s_step_ms, "sys/step_ms", HL_SERIES_SCALAR);
    SERIES(s_tps, "sys/tokens_per_s", HL_SERIES_SCALAR);
    SERIES(s_wait, "sys/data_wait_ms", HL_SERIES_SCALAR);
#undef SERIES
    hl_train_eval_series(t);
    hl_train_watch_series(t);
}

hl_status hl_train_new(const hl_train_setup *s, hl_train **out)
{
    hl_status st = HL_OK;
    hl_train *t = hl_alloc_zero(1, sizeof *t);
    if (!t)
        return HL_E_NOMEM;
    t->s = *s;
    t->e = s->exp;
    t->lr_hold = nan("");
    t->loss = t->grad_norm = nan("");
    loader_params(t);
    t->s.host.phase(t->s.host.self, HL_PHASE_COMPILING, 0);
    HL_TRY_CTX(compile(t, &t->plain, true, false), "compiling the training step");
    if (t->e->probe_every > 0)
        HL_TRY_CTX(compile(t, &t->watched, true, true), "compiling the watched step");
    if (t->e->eval)
        HL_TRY_CTX(compile(t, &t->eval, false, true), "compiling the evaluation");
    HL_TRY(make_plan(t));
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
    hl_loader_close(t->train_data);
    hl_loader_close(t->eval_data);
    program_done(&t->plain);
    program_done(&t->watched);
    program_done(&t->eval);
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
    hl_free(t);
}

hl_train_plan hl_train_get_plan(const hl_train *t)
{
    return t->plan;
}

void hl_train_largest(const hl_train *t, hl_str *out)
{
    hl_program_largest(t->plain.p, out);
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
        "not enough memory: the run needs %s, %s is available; make the batch, seq_len or model "
        "smaller. Largest: %s",
        hl_format_bytes(need, t->plan.total - t->plan.baseline),
        hl_format_bytes(have, hl_mem_available_bytes()), hl_str_text(&text));
    hl_str_done(&text);
    return st;
}

hl_status hl_train_fits(hl_train *t)
{
    const int64_t available = hl_mem_available_bytes();
    return available >= 0 && t->plan.total - t->plan.baseline > available ? too_large(t) : HL_OK;
}

hl_status hl_train_open(hl_train *t, hl_sink sink, const char *ckpt_dir)
{
    hl_status st = HL_OK;
    step_program *all[3] = {&t->plain, &t->watched, &t->eval};
    t->sink = sink;
    t->ckpt_dir = ckpt_dir;
    open_series(t);
    t->arena = hl_block_new(t->arena_bytes ? t->arena_bytes : 64);
    if (!t->arena)
        return too_large(t);
    for (int i = 0; i < 3; i++) {
        if (!all[i]->p)
            continue;
        hl_program_use_arena(all[i]->p, t->arena);
        HL_TRY(bind_state(t, all[i]));
    }
    t->train_params.start = t->next;
    HL_TRY(hl_loader_open(&t->train_params, &t->train_data));
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

hl_status hl_train_run_batch(hl_train *t, step_program *p, const hl_batch *b, int64_t step)
{
    hl_exec x = hl_train_exec(t, step);
    if (p->ids >= 0)
        hl_program_bind(p->p, p->ids, (void *)(uintptr_t)b->ids);
    if (p->labels >= 0)
        hl_program_bind(p->p, p->labels, (void *)(uintptr_t)b->labels);
    return hl_program_run(p->p, &x);
}

void hl_train_profile(hl_train *t, bool on)
{
    hl_program_profile(t->plain.p, on);
}

double hl_train_flops(const hl_train *t)
{
    return hl_program_get_info(t->plain.p).flops;
}

void hl_train_profile_text(const hl_train *t, hl_str *out)
{
    hl_program_profile_text(t->plain.p, out);
}
