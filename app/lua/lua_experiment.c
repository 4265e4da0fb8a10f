/* From a script to hl_experiment: the Lua side (scripts_lua/hop/experiment.lua) resolves, builds and
 * records; this file takes the pieces over. */
#include "app/lua/experiment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/embedded.h"
#include "app/lua/host_internal.h"
#include "app/lua/lua_hooks.h"
#include "app/lua/lua_json.h"
#include "data/hl_data.h"
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

/* --- corpora as userdata --- */

typedef struct corpus_handle {
    hl_corpus *corpus;
} corpus_handle;

static int corpus_gc(lua_State *L)
{
    corpus_handle *c = luaL_checkudata(L, 1, "hop.corpus");
    hl_corpus_unref(c->corpus);
    c->corpus = NULL;
    return 0;
}

static const char *field_text(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    const char *s = lua_tostring(L, -1); /* the table keeps it */
    lua_pop(L, 1);
    return s;
}

static lua_Number field_number(lua_State *L, int table, const char *name, lua_Number otherwise)
{
    lua_getfield(L, table, name);
    lua_Number v = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : otherwise;
    lua_pop(L, 1);
    return v;
}

/* A relative path is looked for from the working directory, then in HOPLAB_DATA. */
static char *find_data(const char *path)
{
    const char *data = getenv("HOPLAB_DATA");
    if (path[0] == '/' || hl_fs_exists(path) || !data || !*data)
        return hl_strdup(path);
    char *there = hl_fs_join(data, path);
    if (there && hl_fs_exists(there))
        return there;
    hl_free(there);
    return hl_strdup(path);
}

static hl_status open_texts(lua_State *L, int table, uint64_t seed, hl_text **train, hl_text **eval)
{
    hl_status st = HL_OK;
    char *paths[16] = {0};
    size_t n = 0;
    const char *eval_path = field_text(L, table, "eval");
    char *eval_found = eval_path ? find_data(eval_path) : NULL;
    lua_getfield(L, table, "train");
    const size_t count = lua_rawlen(L, -1);
    for (; n < count && n < 16; n++) {
        lua_rawgeti(L, -1, (lua_Integer)n + 1);
        paths[n] = lua_isstring(L, -1) ? find_data(lua_tostring(L, -1)) : NULL;
        lua_pop(L, 1);
        if (!paths[n])
            HL_FAIL(HL_E_ARG, "data.train must be a path, a list of paths, or \"generated\"");
    }
    if (count == 0 || count > 16)
        HL_FAIL(HL_E_ARG, "data.train must name 1 to 16 files");
    if (n == 1 && strcmp(paths[0], "generated") == 0)
        HL_TRY(hl_synth_text(seed, (size_t)field_number(L, table, "generated_bytes", 4e6), NULL,
                             train));
    else
        HL_TRY(hl_text_open((const char *const *)paths, n, train));
    if (eval_found)
        HL_TRY(hl_text_open((const char *const *)&eval_found, 1, eval));
out:
    lua_pop(L, 1);
    for (size_t i = 0; i < n; i++)
        hl_free(paths[i]);
    hl_free(eval_found);
    return st;
}

/* open_corpus{ train = {…}, eval, holdout, tokens, vocab, generated_bytes, seed, mask } */
int hl_lua_open_corpus(lua_State *L)
{
    hl_status st = HL_OK;
    hl_text *train = NULL, *eval = NULL;
    luaL_checktype(L, 1, LUA_TTABLE);
    corpus_handle *c = lua_newuserdatauv(L, sizeof *c, 0);
    c->corpus = NULL;
    if (luaL_newmetatable(L, "hop.corpus")) {
        lua_pushcfunction(L, corpus_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    hl_corpus_params p = hl_corpus_params_default();
    HL_TRY(open_texts(L, 1, (uint64_t)field_number(L, 1, "seed", 0), &train, &eval));
    p.train = train;
    p.eval = eval;
    p.holdout = (double)field_number(L, 1, "holdout", 0.1);
    p.tok_kind = field_text(L, 1, "tokens");
    p.max_vocab = (int32_t)field_number(L, 1, "vocab", 8192);
    lua_getfield(L, 1, "mask");
    p.with_mask = lua_toboolean(L, -1);
    lua_pop(L, 1);
    HL_TRY(hl_corpus_new(&p, &c->corpus));
out:
    hl_text_close(train);
    hl_text_close(eval);
    return st == HL_OK ? 1 : hl_lua_raise(L, st);
}

int hl_lua_corpus_info(lua_State *L)
{
    const corpus_handle *c = luaL_checkudata(L, 1, "hop.corpus");
    const hl_corpus_info *i = hl_corpus_get_info(c->corpus);
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, hl_tok_n_vocab(hl_corpus_tok(c->corpus)));
    lua_setfield(L, -2, "vocab");
    lua_pushstring(L, i->label);
    lua_setfield(L, -2, "label");
    lua_pushboolean(L, i->is_generated);
    lua_setfield(L, -2, "generated");
    lua_pushinteger(L, i->part[HL_PART_TRAIN].n_tokens);
    lua_setfield(L, -2, "train_tokens");
    lua_pushinteger(L, i->part[HL_PART_EVAL].n_tokens);
    lua_setfield(L, -2, "eval_tokens");
    return 1;
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
        lua_createtable(L, n, 0);
        for (int i = 0; i < n; i++) {
            lua_createtable(L, 2, 0);
            lua_pushstring(L, overrides[i].path);
            lua_rawseti(L, -2, 1);
            lua_pushstring(L, overrides[i].text);
            lua_rawseti(L, -2, 2);
            lua_rawseti(L, -2, i + 1);
        }
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
    /* path below the table on top: "train.max_steps" */
    const int top = lua_gettop(L);
    char word[64];
    lua_pushvalue(L, top);
    while (*path && lua_istable(L, -1)) {
        size_t n = strcspn(path, ".");
        snprintf(word, sizeof word, "%.*s", (int)(n < 63 ? n : 63), path);
        lua_getfield(L, -1, word);
        path += n + (path[n] == '.');
    }
    lua_Number v = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : 0;
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
    e->optim.kind = kind && strcmp(kind, "optim.sgd") == 0 ? HL_OPTIM_SGD : HL_OPTIM_ADAMW;
    e->lr = (double)number_at(L, "optim.lr");
    e->optim.eps = (double)number_at(L, "optim.eps");
    e->optim.momentum = (double)number_at(L, "optim.momentum");
    e->optim.weight_decay = (double)number_at(L, "optim.weight_decay");
    if (e->optim.kind == HL_OPTIM_ADAMW) {
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
    return take_no_decay(L, e);
}

/* Numbers of the configuration, which is on top. */
static hl_status take_config(lua_State *L, hl_experiment *e)
{
    hl_status st = HL_OK;
    hl_str json = {0}, tags = {0};
    const char *data = text_at(L, "data", "kind"), *nan_policy = text_at(L, "on_nan", "");
    const char *grad_norm = text_at(L, "train", "grad_norm");
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
    e->objective = strcmp(data, "data.mlm") == 0 ? HL_OBJECTIVE_MLM : HL_OBJECTIVE_CLM;
    e->batch_size = (int64_t)number_at(L, "data.batch_size");
    e->eval_batch_size = (int64_t)number_at(L, "data.eval_batch_size");
    e->seq_len = (int64_t)number_at(L, "data.seq_len");
    e->mask_prob = e->objective == HL_OBJECTIVE_MLM ? (double)number_at(L, "data.mask_prob") : 0.15;
    e->max_steps = (int64_t)number_at(L, "train.max_steps");
    e->max_grad_norm = (double)number_at(L, "train.max_grad_norm");
    e->inf_norm = grad_norm && strcmp(grad_norm, "inf") == 0;
    e->log_every = (int64_t)number_at(L, "log.every");
    e->eval_every = (int64_t)number_at(L, "eval.every");
    e->eval_batches = (int64_t)number_at(L, "eval.batches");
    e->save_every = (int64_t)number_at(L, "save.every");
    e->save_keep = (int64_t)number_at(L, "save.keep");
    e->probe_every = (int64_t)number_at(L, "probe.every");
    lua_getfield(L, -1, "probe");
    lua_getfield(L, -1, "hist");
    e->probe_bins = lua_toboolean(L, -1);
    lua_pop(L, 2);
    e->on_nan = strcmp(nan_policy, "skip") == 0     ? HL_ON_NAN_SKIP
                : strcmp(nan_policy, "ignore") == 0 ? HL_ON_NAN_IGNORE
                                                    : HL_ON_NAN_STOP;
    HL_TRY(take_optim(L, e));
out:
    hl_str_done(&json);
    hl_str_done(&tags);
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

/* Copies the traced graph that tensor `field` (a loss) of the table on top is recorded in. */
static hl_status take_trace(hl_lua *h, const char *field, hl_experiment *e, hl_graph **out,
                            hl_id *loss)
{
    hl_status st = HL_OK;
    hl_id *map = NULL;
    lua_getfield(h->L, -1, field);
    slot *s = hl_lua_test_tensor(h->L, -1);
    lua_pop(h->L, 1);
    if (!s || !s->rec || !s->rec->traced)
        return hl_err_set(HL_E_ARG, "the loss must be a tensor made from the batch and the model");
    if (hl_type_count(&s->type) != 1 || s->type.dtype != HL_DTYPE_F32) {
        char text[96];
        return hl_err_set(HL_E_SHAPE, "the loss must be one number, not %s",
                          hl_type_text(text, &s->type));
    }
    map = hl_alloc((s->rec->g->values.n + 1) * sizeof *map);
    if (!map)
        return HL_E_NOMEM;
    HL_TRY(hl_graph_extract(s->rec->g, &s->id, 1, out, map));
    *loss = map[s->id];
    /* captured tensors that are no parameters live as long as the experiment */
    for (size_t v = 0; v < (*out)->values.n; v++) {
        hl_value *x = &(*out)->values.at[v];
        if (x->kind != HL_VALUE_INPUT || !x->data)
            continue;
        hl_storage **list =
            hl_realloc(e->constants, (e->n_constants + 1) * sizeof *e->constants);
        if (!list) {
            st = HL_E_NOMEM;
            goto out;
        }
        e->constants = list;
        list[e->n_constants++] = hl_storage_ref(x->data);
    }
out:
    hl_free(map);
    return st;
}

/* Asks the library which metrics each tap counts for; build result on top. */
static hl_status take_groups(hl_lua *h, hl_experiment *e)
{
    hl_status st = HL_OK;
    lua_State *L = h->L;
    const int top = lua_gettop(L);
    const size_t n = e->eval->taps.n;
    e->tap_names = hl_alloc_zero(n + 1, sizeof *e->tap_names);
    e->tap_groups = hl_alloc_zero(n + 1, sizeof *e->tap_groups);
    if (!e->tap_names || !e->tap_groups)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const char *name = e->eval->taps.at[i].name;
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

static void take_identity(lua_State *L, hl_experiment *e)
{
    size_t n = 0;
    lua_getfield(L, LUA_REGISTRYINDEX, SCRIPT_KEY);
    const char *text = lua_tolstring(L, -1, &n);
    uint64_t hash = hl_hash_str(HL_HASH_START, e->config_json);
    e->identity = text ? hl_hash_bytes(hash, text, n) : hash;
    lua_pop(L, 1);
}

/* The table that runner.build returned is on top. */
static hl_status take_all(hl_lua *h, hl_experiment *e)
{
    hl_status st = HL_OK;
    lua_State *L = h->L;
    const int top = lua_gettop(L);
    lua_getfield(L, top, "config");
    HL_TRY(take_config(L, e));
    lua_settop(L, top);
    lua_getfield(L, top, "params");
    HL_TRY(take_params(L, e));
    lua_settop(L, top);
    lua_getfield(L, top, "corpus");
    const corpus_handle *c = luaL_testudata(L, -1, "hop.corpus");
    e->corpus = hl_corpus_ref(c->corpus);
    lua_settop(L, top);
    HL_TRY(copy_text(&e->best_metric, field_text(L, top, "best")));
    lua_getfield(L, top, "best_max");
    e->best_is_max = lua_toboolean(L, -1);
    lua_settop(L, top);
    HL_TRY(take_trace(h, "train_loss", e, &e->train, &e->train_loss));
    HL_TRY(take_trace(h, "eval_loss", e, &e->eval, &e->eval_loss));
    HL_TRY(take_groups(h, e));
    take_identity(L, e);
    HL_TRY(hl_lua_attach_hooks(h, e));
out:
    lua_settop(L, top);
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
    HL_TRY(push_runner(h, "build"));
    lua_getfield(L, LUA_REGISTRYINDEX, EXPERIMENT_KEY);
    HL_TRY(name_script(h, hl_lua_call(h, 1, 1)));
    HL_TRY(take_all(h, e));
    *out = e;
    e = NULL;
out:
    lua_settop(L, base);
    hl_experiment_free(e);
    return st;
}
