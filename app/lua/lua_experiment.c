/* From a script to hl_experiment: the Lua side (scripts_lua/hop/experiment.lua) resolves, builds
 * and records; this file takes the pieces over. */
#include "app/lua/experiment.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/embedded.h"
#include "app/lua/host_internal.h"
#include "app/lua/lua_data.h"
#include "app/lua/lua_hooks.h"
#include "app/lua/lua_json.h"
#include "app/lua/lua_quant.h"
#include "app/lua/lua_study.h"
#include "engine/base/fs.h"
#include "engine/base/hash.h"

#define EXPERIMENT_KEY "hop.experiment.loaded"
#define SCRIPT_KEY     "hop.experiment.script"
#define PATH_KEY       "hop.experiment.path"

const char *hl_lua_embedded(const char *name)
{
    for (const hl_embedded_file *f = hl_embedded_scripts; f->name; f++)
        if (strcmp(f->name, name) == 0)
            return (const char *)f->bytes;
    return NULL;
}

/* --- loading --- */

/* Pushes hop.runner.<name>. */
static hl_status push_runner(hl_lua *h, const char *name)
{
    lua_State *L = h->L;
    lua_getglobal(L, "require");
    lua_pushstring(L, "hop");
    hl_status st = hl_lua_call(h, 1, 1);
    if (st != HL_OK)
        return st;
    lua_getfield(L, -1, "runner");
    lua_getfield(L, -1, name);
    lua_replace(L, -3);
    lua_pop(L, 1);
    return HL_OK;
}

static hl_status run_script(hl_lua *h, const char *path)
{
    lua_State *L = h->L;
    char *text = NULL;
    size_t n = 0;
    const char *embedded = hl_lua_embedded(path);
    hl_status st = embedded ? HL_OK : hl_fs_read(path, HL_LUA_SCRIPT_MAX, &text, &n);
    if (st != HL_OK)
        return st;
    const char *body = embedded ? embedded : text;
    n = embedded ? strlen(embedded) : n;
    lua_pushlstring(L, body, n);
    lua_setfield(L, LUA_REGISTRYINDEX, SCRIPT_KEY);
    lua_pushstring(L, path);
    lua_setfield(L, LUA_REGISTRYINDEX, PATH_KEY);
    st = hl_lua_load_script(h, path, body, n);
    hl_free(text);
    return st == HL_OK ? hl_lua_call(h, 0, 1) : st;
}

/* "return hop.experiment {" is a tail call and leaves no line behind: name the file at least. */
static hl_status name_script(hl_lua *h, hl_status st)
{
    if (st == HL_OK)
        return st;
    lua_getfield(h->L, LUA_REGISTRYINDEX, PATH_KEY);
    const char *path = lua_tostring(h->L, -1);
    if (path && h->unplaced && strncmp(hl_err_message(), "-s ", 3) != 0 &&
        strncmp(hl_err_message(), path, strlen(path)) != 0)
        st = hl_err_context("%s", path);
    lua_pop(h->L, 1);
    return st;
}

hl_status hl_lua_load_experiment(hl_lua *h, const char *path, const hl_override *overrides, int n)
{
    lua_State *L = h->L;
    const int base = lua_gettop(L);
    hl_status st = run_script(h, path);
    if (st == HL_OK)
        st = push_runner(h, "resolve");
    if (st == HL_OK) {
        lua_insert(L, -2);
        hl_lua_push_overrides(L, overrides, n);
        st = hl_lua_call(h, 2, 1);
    }
    st = name_script(h, st);
    if (st == HL_OK)
        lua_setfield(L, LUA_REGISTRYINDEX, EXPERIMENT_KEY);
    lua_settop(L, base);
    return st;
}

/* --- taking the pieces over --- */

static lua_Number number_at(lua_State *L, const char *path)
{
    /* path below the table on top: "train.max_steps"; true is 1 */
    const int top = lua_gettop(L);
    char word[64];
    lua_pushvalue(L, top);
    while (*path && lua_istable(L, -1)) {
        size_t n = strcspn(path, ".");
        snprintf(word, sizeof word, "%.*s", (int)(n < 63 ? n : 63), path);
        lua_getfield(L, -1, word);
        path += n + (path[n] == '.');
    }
    lua_Number v = lua_isboolean(L, -1)  ? lua_toboolean(L, -1)
                   : lua_isnumber(L, -1) ? lua_tonumber(L, -1)
                                         : 0;
    lua_settop(L, top);
    return v;
}

static const char *text_at(lua_State *L, const char *section, const char *name)
{
    const int top = lua_gettop(L);
    lua_getfield(L, top, section);
    const char *s = NULL;
    if (!name[0])
        s = lua_tostring(L, -1);
    else if (lua_istable(L, -1))
        s = (lua_getfield(L, -1, name), lua_tostring(L, -1));
    lua_settop(L, top); /* the configuration keeps the string */
    return s;
}

static bool counts_epochs(lua_State *L, const char *section)
{
    const char *per = text_at(L, section, "per");
    return per && strcmp(per, "epoch") == 0;
}

static hl_status copy_text(char **to, const char *s)
{
    *to = s ? hl_strdup(s) : NULL;
    return s && !*to ? HL_E_NOMEM : HL_OK;
}

static hl_status take_no_decay(lua_State *L, hl_experiment *e)
{
    /* configuration on top */
    const int top = lua_gettop(L);
    hl_status st = HL_OK;
    lua_getfield(L, top, "optim");
    lua_getfield(L, -1, "no_decay");
    const size_t n = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
    e->no_decay = hl_alloc_zero(n + 1, sizeof *e->no_decay);
    if (!e->no_decay)
        st = HL_E_NOMEM;
    for (size_t i = 0; i < n && st == HL_OK; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        st = copy_text(&e->no_decay[i], lua_tostring(L, -1) ? lua_tostring(L, -1) : "");
        lua_pop(L, 1);
    }
    e->optim.no_decay = (const char *const *)e->no_decay;
    lua_settop(L, top);
    return st;
}

static hl_status take_optim(lua_State *L, hl_experiment *e)
{
    const char *kind = text_at(L, "optim", "kind");
    if (!kind || !hl_optim_parse(kind, &e->optim.kind))
        return hl_err_set(HL_E_INTERNAL, "unknown optimiser '%s'", kind ? kind : "none");
    e->optim.p_scale = (double)number_at(L, "optim.p_scale");
    e->optim.g_bound = (double)number_at(L, "optim.g_bound");
    e->lr = (double)number_at(L, "optim.lr");
    e->optim.eps = (double)number_at(L, "optim.eps");
    e->optim.momentum = (double)number_at(L, "optim.momentum");
    e->optim.weight_decay = (double)number_at(L, "optim.weight_decay");
    if (e->optim.kind == HL_OPTIM_ADAMW || e->optim.kind == HL_OPTIM_ADAM) {
        const int top = lua_gettop(L);
        lua_getfield(L, top, "optim");
        lua_getfield(L, -1, "betas");
        double beta[2] = {0, 0};
        for (int i = 0; i < 2; i++) {
            lua_rawgeti(L, top + 2, i + 1);
            beta[i] = lua_isnumber(L, -1) ? (double)lua_tonumber(L, -1) : -1;
            lua_pop(L, 1);
        }
        lua_settop(L, top);
        if (!(beta[0] >= 0 && beta[0] < 1 && beta[1] >= 0 && beta[1] < 1))
            return hl_err_set(HL_E_ARG, "optim.betas must be two numbers in [0, 1)");
        e->optim.beta1 = beta[0];
        e->optim.beta2 = beta[1];
    }
    const char *schedule = text_at(L, "schedule", "kind");
    if (!hl_schedule_parse(schedule + strlen("optim."), &e->schedule.kind))
        return hl_err_set(HL_E_INTERNAL, "unknown schedule '%s'", schedule);
    e->schedule.warmup = (int64_t)number_at(L, "schedule.warmup");
    e->schedule.total = (int64_t)number_at(L, "schedule.total");
    e->schedule.final_fraction = (double)number_at(L, "schedule.final");
    e->schedule.per_epoch = counts_epochs(L, "schedule");
    e->schedule.warmup_from = (double)number_at(L, "schedule.warmup_from");
    e->schedule.overlaps = number_at(L, "schedule.overlap") != 0;
    return take_no_decay(L, e);
}

/* What every run has, of the configuration, which is on top. */
static hl_status take_facts(lua_State *L, hl_experiment *e)
{
    hl_status st = HL_OK;
    hl_str json = {0}, tags = {0};
    HL_TRY(copy_text(&e->name, text_at(L, "name", "")));
    HL_TRY(copy_text(&e->project, text_at(L, "project", "")));
    HL_TRY(hl_lua_to_json(L, "configuration", &json));
    HL_TRY(copy_text(&e->config_json, json.s));
    lua_getfield(L, -1, "tags");
    st = hl_lua_to_json(L, "tags", &tags);
    lua_pop(L, 1);
    HL_TRY(st);
    HL_TRY(copy_text(&e->tags_json, tags.s));
    e->seed = (uint64_t)number_at(L, "seed");
out:
    hl_str_done(&json);
    hl_str_done(&tags);
    return st;
}

/* Numbers of the configuration, which is on top. */
static hl_status take_config(lua_State *L, hl_experiment *e)
{
    hl_status st = HL_OK;
    const char *nan_policy = text_at(L, "on_nan", "");
    const char *grad_norm = text_at(L, "train", "grad_norm");
    HL_TRY(take_facts(L, e));
    e->batch_size = (int64_t)number_at(L, "data.batch_size");
    e->eval_batch_size = (int64_t)number_at(L, "data.eval_batch_size");
    e->max_steps = (int64_t)number_at(L, "train.max_steps");
    e->max_grad_norm = (double)number_at(L, "train.max_grad_norm");
    e->accumulate = (int)number_at(L, "train.accumulate");
    e->patience = (int64_t)number_at(L, "train.patience");
    e->tie_is_best = number_at(L, "train.tie_is_best") != 0;
    e->save_pred = number_at(L, "eval.save_pred") != 0;
    e->inverse = number_at(L, "eval.inverse") != 0;
    e->eval_by_epoch = counts_epochs(L, "eval");
    e->save_by_epoch = counts_epochs(L, "save");
    e->inf_norm = grad_norm && strcmp(grad_norm, "inf") == 0;
    e->log_every = (int64_t)number_at(L, "log.every");
    e->eval_every = (int64_t)number_at(L, "eval.every");
    e->eval_batches = (int64_t)number_at(L, "eval.batches");
    e->kurtosis_batches = (int64_t)number_at(L, "eval.kurtosis_batches");
    e->save_every = (int64_t)number_at(L, "save.every");
    e->save_keep = (int64_t)number_at(L, "save.keep");
    e->probe_every = (int64_t)number_at(L, "probe.every");
    lua_getfield(L, -1, "probe");
    lua_getfield(L, -1, "hist");
    e->probe_bins = lua_toboolean(L, -1);
    lua_getfield(L, -2, "weights");
    e->probe_weights = lua_toboolean(L, -1);
    lua_getfield(L, -3, "channels");
    e->probe_channels = lua_toboolean(L, -1);
    lua_pop(L, 4);
    e->probe_attention = (int64_t)number_at(L, "probe.attention");
    e->on_nan = strcmp(nan_policy, "skip") == 0     ? HL_ON_NAN_SKIP
                : strcmp(nan_policy, "ignore") == 0 ? HL_ON_NAN_IGNORE
                                                    : HL_ON_NAN_STOP;
    HL_TRY(take_optim(L, e));
out:
    return st;
}

/* { {name, tensor}, … } on top */
static hl_status take_params(lua_State *L, hl_experiment *e)
{
    const size_t n = lua_rawlen(L, -1);
    e->params = hl_alloc_zero(n + 1, sizeof *e->params);
    if (!e->params)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        slot *s = hl_lua_test_tensor(L, -1);
        hl_status st = copy_text(&e->params[i].name, lua_tostring(L, -2));
        if (st != HL_OK || !s || !s->storage)
            return st != HL_OK ? st : hl_err_set(HL_E_INTERNAL, "a parameter without storage");
        e->params[i].storage = hl_storage_ref(s->storage);
        e->n_params++;
        lua_pop(L, 3);
    }
    return HL_OK;
}

/* Captured tensors that are no parameters live as long as the experiment. */
static hl_status hold_constants(const hl_graph *g, hl_experiment *e)
{
    for (size_t v = 0; v < g->values.n; v++) {
        const hl_value *x = &g->values.at[v];
        if (x->kind != HL_VALUE_INPUT || !x->data)
            continue;
        hl_storage **list = hl_realloc(e->constants, (e->n_constants + 1) * sizeof *e->constants);
        if (!list)
            return HL_E_NOMEM;
        e->constants = list;
        list[e->n_constants++] = hl_storage_ref(x->data);
    }
    return HL_OK;
}

/* The tensor on top as a loss: its recording and its number there. */
static hl_status take_loss(lua_State *L, slot **out)
{
    slot *s = hl_lua_test_tensor(L, -1);
    if (!s || !s->rec || !s->rec->traced)
        return hl_err_set(HL_E_ARG, "the loss must be a tensor made from the batch and the model");
    if (hl_type_count(&s->type) != 1 || s->type.dtype != HL_DTYPE_F32) {
        char text[96];
        return hl_err_set(HL_E_SHAPE, "the loss must be one number, not %s",
                          hl_type_text(text, &s->type));
    }
    *out = s;
    return HL_OK;
}

/* { name, tensor } on top; the names come sorted, numbers first (scripts_lua/hop/experiment.lua).
 */
static hl_status take_metric(lua_State *L, const slot *loss, hl_exp_trace *t)
{
    hl_exp_metric *m = &t->metric[t->n_metrics];
    const int top = lua_gettop(L);
    lua_rawgeti(L, top, 1);
    lua_rawgeti(L, top, 2);
    const slot *s = hl_lua_test_tensor(L, -1);
    hl_status st = copy_text(&m->name, lua_tostring(L, -2));
    lua_settop(L, top);
    if (st != HL_OK)
        return st;
    t->n_metrics++;
    if (!s || s->rec != loss->rec)
        return hl_err_set(HL_E_ARG,
                          "metric '%s' must be made from the batch and the model, in the "
                          "same call as the loss",
                          m->name);
    m->value = s->id;
    t->has_prediction = s->type.rank == 3; /* the library lets nothing else through */
    m->rank = s->type.rank;
    t->n_numbers += m->rank == 0;
    return HL_OK;
}

/* Copies what `loss` and the metrics of the trace, { loss = …, metrics = { … } } in field `name` of
 * the table on top, need of their recording. */
static hl_status take_trace(lua_State *L, const char *name, hl_experiment *e, hl_exp_trace *t)
{
    hl_status st = HL_OK;
    hl_id *map = NULL, *want = NULL;
    slot *loss = NULL;
    const int top = lua_gettop(L);
    lua_getfield(L, top, name);
    if (lua_isnil(L, -1))
        goto out;
    lua_getfield(L, -1, "loss");
    HL_TRY(take_loss(L, &loss));
    lua_getfield(L, -2, "metrics");
    const size_t n = lua_rawlen(L, -1);
    t->metric = hl_alloc_zero(n + 1, sizeof *t->metric);
    map = hl_alloc((loss->rec->g->values.n + 1) * sizeof *map);
    want = hl_alloc((n + 1) * sizeof *want);
    if (!t->metric || !map || !want) {
        st = HL_E_NOMEM;
        goto out;
    }
    want[0] = loss->id;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        HL_TRY(take_metric(L, loss, t));
        lua_pop(L, 1);
        want[i + 1] = t->metric[i].value;
    }
    HL_TRY(hl_graph_extract(loss->rec->g, want, (int)n + 1, &t->g, map));
    t->loss = map[want[0]];
    for (size_t i = 0; i < n; i++)
        t->metric[i].value = map[want[i + 1]];
    HL_TRY(hold_constants(t->g, e));
out:
    lua_settop(L, top);
    hl_free(map);
    hl_free(want);
    return st;
}

/* Asks the library which metrics each tap counts for; build result on top. */
static hl_status take_groups(hl_lua *h, hl_experiment *e)
{
    hl_status st = HL_OK;
    lua_State *L = h->L;
    const int top = lua_gettop(L);
    const size_t n = e->eval.g->taps.n;
    e->tap_names = hl_alloc_zero(n + 1, sizeof *e->tap_names);
    e->tap_groups = hl_alloc_zero(n + 1, sizeof *e->tap_groups);
    if (!e->tap_names || !e->tap_groups)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const char *name = e->eval.g->taps.at[i].name;
        HL_TRY(copy_text(&e->tap_names[i], name));
        e->n_taps++;
        HL_TRY(push_runner(h, "group_flags"));
        lua_getfield(L, top, "groups");
        lua_pushstring(L, name);
        HL_TRY(hl_lua_call(h, 2, 1));
        e->tap_groups[i] = (unsigned char)lua_tointeger(L, -1);
        lua_settop(L, top);
    }
out:
    lua_settop(L, top);
    return st;
}

uint64_t hl_lua_hash_experiment(lua_State *L, const char *config_json)
{
    size_t n = 0;
    lua_getfield(L, LUA_REGISTRYINDEX, SCRIPT_KEY);
    const char *text = lua_tolstring(L, -1, &n);
    const uint64_t hash = hl_hash_str(HL_HASH_START, config_json);
    lua_pop(L, 1);
    return text ? hl_hash_bytes(hash, text, n) : hash;
}

/* The table that runner.build returned is on top. */
/* "knobs" of the table on top: { { name, min, max }, ... } */
static hl_status take_knobs(lua_State *L, hl_experiment *e)
{
    hl_status st = HL_OK;
    const int top = lua_gettop(L);
    lua_getfield(L, top, "knobs");
    const size_t n = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
    e->knobs = hl_alloc_zero(n + 1, sizeof *e->knobs);
    if (!e->knobs)
        HL_TRY(HL_E_NOMEM);
    for (size_t i = 0; i < n; i++) {
        hl_exp_knob *k = &e->knobs[e->n_knobs];
        lua_rawgeti(L, top + 1, (lua_Integer)i + 1);
        k->least = (double)hl_lua_field_number(L, top + 2, "min", nan(""));
        k->most = (double)hl_lua_field_number(L, top + 2, "max", nan(""));
        HL_TRY(copy_text(&k->name, hl_lua_field_text(L, top + 2, "name")));
        e->n_knobs++;
        lua_settop(L, top + 1);
    }
out:
    lua_settop(L, top);
    return st;
}

static hl_status take_all(hl_lua *h, hl_experiment *e)
{
    hl_status st = HL_OK;
    hl_str recipe = {0};
    lua_State *L = h->L;
    const int top = lua_gettop(L);
    lua_getfield(L, top, "config");
    HL_TRY(take_config(L, e));
    lua_settop(L, top);
    lua_getfield(L, top, "params");
    HL_TRY(take_params(L, e));
    lua_settop(L, top);
    lua_getfield(L, top, "data");
    lua_getfield(L, top, "config");
    lua_getfield(L, -1, "data");
    HL_TRY(hl_lua_take_source(L, top + 1, top + 3, e));
    lua_settop(L, top);
    HL_TRY(copy_text(&e->best_metric, hl_lua_field_text(L, top, "best")));
    lua_getfield(L, top, "best_max");
    e->best_is_max = lua_toboolean(L, -1);
    lua_settop(L, top);
    HL_TRY(take_trace(L, "train", e, &e->train));
    HL_TRY(take_trace(L, "eval", e, &e->eval));
    HL_TRY(take_trace(L, "eval_rest", e, &e->eval_rest));
    HL_TRY(take_trace(L, "test_rest", e, &e->test_rest));
    HL_TRY(take_trace(L, "train_rest", e, &e->train_rest));
    HL_TRY(take_groups(h, e));
    HL_TRY(take_knobs(L, e));
    lua_getfield(L, top, "quantization");
    lua_getfield(L, top, "recipe");
    if (lua_istable(L, -2)) {
        HL_TRY(hl_lua_take_quant_plan(L, top + 1, top + 2, &e->quant));
        HL_TRY(hl_lua_to_json(L, "quantize", &recipe));
        HL_TRY(copy_text(&e->quant.json, recipe.s));
    }
    lua_settop(L, top);
    e->identity = hl_lua_hash_experiment(L, e->config_json);
    HL_TRY(hl_lua_attach_hooks(h, e));
out:
    hl_str_done(&recipe);
    lua_settop(L, top);
    return st;
}

/* The table that runner.build returned is on top: is it that of a study? */
static bool is_study(lua_State *L)
{
    lua_getfield(L, -1, "study");
    const bool yes = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return yes;
}

static hl_status take_study(hl_lua *h, hl_experiment *e)
{
    hl_status st = HL_OK;
    lua_getfield(h->L, -1, "config");
    HL_TRY(take_facts(h->L, e));
    e->identity = hl_lua_hash_experiment(h->L, e->config_json);
    e->save_keep = 1;
    HL_TRY(hl_lua_attach_study(h, e));
out:
    return st;
}

hl_status hl_lua_build_experiment(hl_lua *h, hl_experiment **out)
{
    hl_status st = HL_OK;
    lua_State *L = h->L;
    const int base = lua_gettop(L);
    hl_experiment *e = hl_alloc_zero(1, sizeof *e);
    if (!e)
        return HL_E_NOMEM;
    e->fp64 = h->o.fp64;
    e->bf16 = h->o.bf16;
    e->fp16 = h->o.fp16;
    HL_TRY(push_runner(h, "build"));
    lua_getfield(L, LUA_REGISTRYINDEX, EXPERIMENT_KEY);
    HL_TRY(name_script(h, hl_lua_call(h, 1, 1)));
    HL_TRY(is_study(L) ? take_study(h, e) : take_all(h, e));
    *out = e;
    e = NULL;
out:
    lua_settop(L, base);
    hl_experiment_free(e);
    return st;
}

/* --- for other descriptions --- */

hl_status hl_lua_load_description(hl_lua *h, const char *path)
{
    return name_script(h, run_script(h, path));
}

hl_status hl_lua_call_runner(hl_lua *h, const char *name, int n_args)
{
    hl_status st = push_runner(h, name);
    if (st != HL_OK)
        return st;
    lua_insert(h->L, -n_args - 1);
    return name_script(h, hl_lua_call(h, n_args, 1));
}

void hl_lua_take_experiment(hl_lua *h)
{
    lua_setfield(h->L, LUA_REGISTRYINDEX, EXPERIMENT_KEY);
}

void hl_lua_push_overrides(lua_State *L, const hl_override *list, int n)
{
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        lua_createtable(L, 2, 0);
        lua_pushstring(L, list[i].path);
        lua_rawseti(L, -2, 1);
        lua_pushstring(L, list[i].text);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, i + 1);
    }
}

void hl_lua_push_experiment(hl_lua *h)
{
    lua_getfield(h->L, LUA_REGISTRYINDEX, EXPERIMENT_KEY);
}
