/* Checkpoints of a training run and resuming from them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/exp/train_internal.h"
#include "engine/base/fs.h"

enum { STATE_VERSION = 1 };

static hl_tensor_entry entry_of(const char *name, const hl_storage *s)
{
    hl_tensor_entry e = {.name = name, .type = s->type, .data = s->data};
    e.type.dtype = s->stored;
    return e;
}

static hl_status state_text(hl_train *t, hl_str *b)
{
    hl_status st = HL_OK;
    hl_json_begin(b, '{');
    hl_json_put_int(b, "version", STATE_VERSION);
    hl_json_put_int(b, "step", t->step);
    hl_json_put_int(b, "epoch", t->next.epoch);
    hl_json_put_int(b, "index", t->next.index);
    hl_json_put_int(b, t->e->source.items, t->n_items);
    hl_json_put_int(b, "skipped", t->n_skipped);
    hl_json_put_num(b, "train_seconds", t->train_seconds);
    hl_train_knobs_put(t, b);
    hl_json_put_num(b, "loss", t->loss);
    hl_json_put_bool(b, "has_best", t->has_best);
    hl_json_put_num(b, "best", t->best);
    hl_json_put_int(b, "best_step", t->best_step);
    hl_json_put_num(b, "best_eval", t->best_eval);
    hl_json_put_int(b, "n_worse", t->n_worse);
    /* 64-bit values as text: JSON numbers end at 2^53 */
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)t->e->seed);
    hl_json_put_str(b, "seed", text);
    snprintf(text, sizeof text, "%016llx", (unsigned long long)t->e->source.hash);
    hl_json_put_str(b, "corpus", text);
    snprintf(text, sizeof text, "%016llx", (unsigned long long)t->e->identity);
    hl_json_put_str(b, "identity", text);
    hl_json_put_int(b, "threads", t->s.team ? t->s.team->n : 1);
    hl_json_put_str(b, "isa", hl_experiment_isa(t->e));
    hl_json_put_str(b, "precision", hl_experiment_precision(t->e));
    hl_json_add_key(b, "tokenizer");
    if (t->e->source.tok)
        HL_TRY(hl_tok_to_json(t->e->source.tok, b));
    else
        hl_json_add_null(b);
    hl_json_add_key(b, "callbacks");
    if (t->e->hooks.save)
        HL_TRY(t->e->hooks.save(t->e->hooks.self, b));
    else
        hl_json_add_null(b);
    hl_json_end(b, '}');
    st = hl_str_status(b);
out:
    return st;
}

double hl_train_best_metric(const hl_train *t)
{
    if (!t->e->best_metric || !t->result.valid || t->result.step != t->step)
        return nan("");
    for (int i = 0; i < t->eval_values.n; i++)
        if (strcmp(t->e->best_metric, t->eval_values.tag[i]) == 0)
            return t->eval_values.value[i];
    return nan("");
}

bool hl_train_is_better(const hl_experiment *e, double v, double best)
{
    return (e->best_is_max ? v > best : v < best) || (e->tie_is_best && v == best);
}

bool hl_train_is_new_best(const hl_train *t)
{
    const double v = hl_train_best_metric(t);
    return !isnan(v) && (!t->has_best || hl_train_is_better(t->e, v, t->best));
}

/* A new best? Updates the record. */
static bool is_best(hl_train *t)
{
    if (!hl_train_is_new_best(t))
        return false;
    t->best = hl_train_best_metric(t);
    t->has_best = true;
    t->best_step = t->step;
    return true;
}

/* State that is zero between updates (train_graph.h). */
static bool is_passing(const char *name)
{
    const size_t n = strlen(name), tail = strlen(".grad_sum");
    return strcmp(name, "optim.loss_sum") == 0 ||
           (n > tail && strcmp(name + n - tail, ".grad_sum") == 0);
}

/* Names that people give: files of their own, which no reader takes for one of the run's. */
static hl_status check_name(const hl_train *t, const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const size_t n = strlen(name);
    if (n == 0 || n > 48 || name[0] == '.' || name[0] == '-' || strspn(name, letters) != n ||
        hl_str_starts(name, "step-") || strcmp(name, "last") == 0 || strcmp(name, "best") == 0)
        return hl_err_set(HL_E_ARG,
                          "a checkpoint's name has up to 48 letters, digits, '.', '_' and '-', and "
                          "is not 'last', 'best' or 'step-...'");
    char *path = hl_fs_join(t->ckpt_dir, name);
    const bool is_there = path && hl_fs_exists(path);
    hl_free(path);
    return is_there ? hl_err_set(HL_E_STATE, "there is a checkpoint '%s' already", name) : HL_OK;
}

hl_status hl_train_save(hl_train *t, const char *own_name, const char *why)
{
    hl_status st = HL_OK;
    hl_str state = {0};
    char name[64];
    char *path = NULL;
    if (!t->ckpt_dir)
        return hl_err_set(HL_E_STATE, "this run keeps no checkpoints");
    if (own_name && check_name(t, own_name) != HL_OK)
        return hl_err_code();
    t->s.host.phase(t->s.host.self, HL_PHASE_SAVING, t->step);
    const bool best = !own_name && is_best(t);
    const size_t n = t->e->n_params, m = t->extra.n;
    hl_tensor_entry *model = hl_alloc_zero(n + 1, sizeof *model);
    hl_tensor_entry *optim = hl_alloc_zero(m + 1, sizeof *optim);
    if (own_name)
        snprintf(name, sizeof name, "%s", own_name);
    else
        snprintf(name, sizeof name, "step-%010lld", (long long)t->step);
    path = hl_fs_join(t->ckpt_dir, name);
    if (!model || !optim || !path) {
        st = HL_E_NOMEM;
        goto out;
    }
    /* whoever resumes from here finds every value up to here, even if we are killed right after */
    t->sink.flush(t->sink.self);
    for (size_t i = 0; i < n; i++)
        model[i] = entry_of(t->e->params[i].name, t->e->params[i].storage);
    size_t n_optim = 0;
    for (size_t i = 0; i < m; i++)
        if (!is_passing(t->extra.at[i].name))
            optim[n_optim++] = entry_of(t->extra.at[i].name, t->extra.at[i].storage);
    HL_TRY(state_text(t, &state));
    hl_checkpoint_in in = {.model = model,
                           .n_model = n,
                           .optim = optim,
                           .n_optim = n_optim,
                           .state_json = state.s,
                           .config_json = t->e->config_json};
    HL_TRY_CTX(hl_checkpoint_write(path, &in), "saving checkpoint");
    t->s.host.saved(t->s.host.self, name, t->step, best);
    HL_TRY(hl_train_fire(t, HL_HOOK_SAVE, why));
out:
    hl_train_go_on(t);
    hl_str_done(&state);
    hl_free(model);
    hl_free(optim);
    hl_free(path);
    return st;
}

/* --- resuming --- */

/* exact: the numbers must be stored as they are computed with, so that a run goes on bit for bit.
 */
static hl_status load_into(const hl_safetensors *f, const char *file, const char *name, bool exact,
                           hl_storage *to)
{
    char want[96], have[96];
    const hl_tensor_entry *e = hl_safetensors_find(f, name);
    if (!e)
        return hl_err_set(HL_E_FORMAT, "%s has no tensor '%s': it belongs to another model", file,
                          name);
    if (!hl_shape_equal(&e->type, &to->type))
        return hl_err_set(HL_E_FORMAT, "%s: '%s' has shape %s, the model needs %s", file, name,
                          hl_shape_text(have, &e->type), hl_shape_text(want, &to->type));
    if (exact && e->type.dtype != to->stored)
        return hl_err_set(HL_E_FORMAT, "%s: '%s' was written in another precision (%s)", file, name,
                          hl_dtype_name(e->type.dtype));
    hl_status st = hl_storage_load(to, e->data, e->type.dtype, hl_type_count(&e->type));
    hl_safetensors_release(f, e);
    return st;
}

static hl_status check_state(const hl_train *t, const hl_json *s)
{
    char corpus[32];
    if (hl_json_int(hl_json_get(s, "version"), 0) != STATE_VERSION)
        return hl_err_set(HL_E_FORMAT, "state.json is of version %lld, this program reads %d",
                          (long long)hl_json_int(hl_json_get(s, "version"), 0), STATE_VERSION);
    snprintf(corpus, sizeof corpus, "%016llx", (unsigned long long)t->e->source.hash);
    if (strcmp(hl_json_str(hl_json_get(s, "corpus"), ""), corpus) != 0)
        return hl_err_set(HL_E_STATE,
                          "the training %s changed since the checkpoint was written: "
                          "it cannot be continued",
                          t->e->source.is_text ? "text has" : "data have");
    const char *precision = hl_json_str(hl_json_get(s, "precision"), "fp32");
    if (strcmp(precision, hl_experiment_precision(t->e)) != 0)
        return hl_err_set(HL_E_STATE,
                          "the run was computed in %s: give --precision %s to continue it, or start "
                          "a new run",
                          precision, precision);
    if (hl_json_int(hl_json_get(s, "step"), -1) < 0)
        return hl_err_set(HL_E_FORMAT, "state.json has no step");
    return HL_OK;
}

static hl_status take_state(hl_train *t, const hl_json *s)
{
    t->step = hl_json_int(hl_json_get(s, "step"), 0);
    t->next.epoch = hl_json_int(hl_json_get(s, "epoch"), 0);
    t->next.index = hl_json_int(hl_json_get(s, "index"), 0);
    t->n_items = hl_json_int(hl_json_get(s, t->e->source.items), 0);
    t->n_skipped = hl_json_int(hl_json_get(s, "skipped"), 0);
    t->train_seconds = hl_json_num(hl_json_get(s, "train_seconds"), 0);
    t->loss = hl_json_num(hl_json_get(s, "loss"), nan(""));
    t->has_best = hl_json_bool(hl_json_get(s, "has_best"), false);
    t->best = hl_json_num(hl_json_get(s, "best"), 0);
    t->best_step = hl_json_int(hl_json_get(s, "best_step"), -1);
    t->best_eval = hl_json_num(hl_json_get(s, "best_eval"), nan(""));
    t->n_worse = hl_json_int(hl_json_get(s, "n_worse"), 0);
    return hl_train_knobs_take(t, s);
}

/* The tokenizer that the checkpoint carries against that of the data. */
hl_status hl_train_check_vocabulary(const hl_source *s, const hl_json *saved)
{
    hl_status st = HL_OK;
    hl_str text = {0};
    hl_json *ours = NULL;
    if (!s->tok || !hl_json_is_object(saved))
        return HL_OK;
    HL_TRY(hl_tok_to_json(s->tok, &text));
    HL_TRY(hl_json_parse(text.s, text.n, &ours));
    if (strcmp(hl_json_str(hl_json_get(saved, "hash"), ""),
               hl_json_str(hl_json_get(ours, "hash"), "")) != 0)
        HL_FAIL(HL_E_FORMAT,
                "the vocabulary does not match the checkpoint: it was trained on '%.20s' with %lld "
                "entries, the data give '%.20s' with %lld (words are learnt from the training "
                "text: another text, or all of it instead of a share, gives others)",
                hl_json_str(hl_json_get(saved, "kind"), "?"),
                (long long)hl_json_int(hl_json_get(saved, "n_vocab"), 0),
                hl_json_str(hl_json_get(ours, "kind"), "?"),
                (long long)hl_json_int(hl_json_get(ours, "n_vocab"), 0));
out:
    hl_json_free(ours);
    hl_str_done(&text);
    return st;
}

hl_status hl_train_load(hl_train *t, const char *checkpoint)
{
    hl_status st = HL_OK;
    hl_checkpoint c = {0};
    HL_TRY(hl_checkpoint_open(checkpoint, &c));
    HL_TRY_CTX(hl_train_check_vocabulary(&t->e->source, hl_json_get(c.state, "tokenizer")), "%s",
               checkpoint);
    if (hl_safetensors_count(c.model) != t->e->n_params)
        HL_FAIL(HL_E_FORMAT, "%s has %zu tensors, the model has %zu: it belongs to another model",
                checkpoint, hl_safetensors_count(c.model), t->e->n_params);
    for (size_t i = 0; i < t->e->n_params; i++)
        HL_TRY(
            load_into(c.model, checkpoint, t->e->params[i].name, false, t->e->params[i].storage));
    t->step = hl_json_int(hl_json_get(c.state, "step"), 0);
out:
    hl_checkpoint_close(&c);
    return st;
}

hl_status hl_train_resume(hl_train *t, const char *checkpoint)
{
    hl_status st = HL_OK;
    hl_checkpoint c = {0};
    HL_TRY(hl_checkpoint_open(checkpoint, &c));
    HL_TRY_CTX(check_state(t, c.state), "%s", checkpoint);
    HL_TRY(hl_train_state(t));
    for (size_t i = 0; i < t->e->n_params; i++)
        HL_TRY(load_into(c.model, checkpoint, t->e->params[i].name, true, t->e->params[i].storage));
    for (size_t i = 0; i < t->extra.n; i++)
        if (!is_passing(t->extra.at[i].name))
            HL_TRY(
                load_into(c.optim, checkpoint, t->extra.at[i].name, true, t->extra.at[i].storage));
    const hl_json *callbacks = hl_json_get(c.state, "callbacks");
    if (t->e->hooks.load && callbacks && !hl_json_is_null(callbacks))
        HL_TRY_CTX(t->e->hooks.load(t->e->hooks.self, callbacks), "callback state of %s",
                   checkpoint);
    HL_TRY(take_state(t, c.state));
out:
    hl_checkpoint_close(&c);
    return st;
}
