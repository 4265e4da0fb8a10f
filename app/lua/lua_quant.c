/* Quantized models in scripts (hop.quantize): programs with quantizers, one per batch shape and
 * mode, which share the ranges. */
#include <string.h>

#include "app/exp/quantize.h"
#include "app/lua/host_internal.h"
#include "app/lua/lua_data.h"
#include "app/lua/lua_quant.h"

#define QUANT_META "hop.quant"
#define NAMES_MAX  64

typedef struct quant_program {
    hl_program *p;
    hl_storage **held; /* parameters and captured tensors, counted */
    int n_held;
    hl_quant_mode mode;
    int n_outputs; /* those asked for, then, but for OBSERVE, the values of sites */
} quant_program;

typedef struct quant {
    hl_quant_plan plan;
    hl_quant_model *model;
    HL_VEC(quant_program) programs;
    int64_t n_observed;
    hl_quant_saved *from; /* of model, if it stands in a file; NULL once its floats are loaded */
} quant;

/* ---- rules and recipe ---- */

/* The strings of a list as a NULL-terminated array; owned. */
static hl_status take_names(lua_State *L, int table, const char *field, char ***out)
{
    hl_status st = HL_OK;
    lua_getfield(L, table, field);
    const size_t n = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
    if (!lua_istable(L, -1) && !lua_isnil(L, -1))
        st = hl_err_set(HL_E_ARG, "%s must be a list of names", field);
    char **names = *out = hl_alloc_zero(n + 1, sizeof *names);
    for (size_t i = 0; names && i < n && st == HL_OK; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        if (!lua_isstring(L, -1))
            st = hl_err_set(HL_E_ARG, "%s must be a list of names", field);
        else if (!(names[i] = hl_strdup(lua_tostring(L, -1))))
            st = HL_E_NOMEM;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return names ? st : HL_E_NOMEM;
}

static bool flag_at(lua_State *L, int table, const char *field)
{
    lua_getfield(L, table, field);
    const bool is = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is;
}

static hl_range_method method_of(const char *name, hl_quant_scheme scheme)
{
    static const char *const names[] = {"current_minmax", "running_minmax", "mse_grid",
                                        "mse_golden_section"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0)
            return (hl_range_method)i;
    /* "mse": as the reference's programs choose */
    return scheme == HL_QUANT_SYMMETRIC ? HL_RANGE_MSE_GRID : HL_RANGE_MSE_GOLDEN_SECTION;
}

/* quant_methods() -> { names } */
int hl_lua_quant_methods(lua_State *L)
{
    lua_newtable(L);
    for (int i = 0; hl_quant_method_names[i]; i++) {
        lua_pushstring(L, hl_quant_method_names[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static void take_method(lua_State *L, int recipe, hl_quant_method_options *o)
{
    const char *name = hl_lua_field_text(L, recipe, "method");
    for (int i = 0; hl_quant_method_names[i]; i++)
        if (strcmp(name, hl_quant_method_names[i]) == 0)
            o->method = (hl_quant_method)i;
    o->alpha = (double)hl_lua_field_number(L, recipe, "alpha", o->alpha);
    o->group.group = (int64_t)hl_lua_field_number(L, recipe, "group", (double)o->group.group);
    o->group.bits = (int)hl_lua_field_number(L, recipe, "group_bits", o->group.bits);
    o->damping = (double)hl_lua_field_number(L, recipe, "damping", o->damping);
    o->threshold = (double)hl_lua_field_number(L, recipe, "threshold", o->threshold);
}

hl_status hl_lua_take_quant_plan(lua_State *L, int rules, int recipe, hl_quant_plan *out)
{
    hl_status st = HL_OK;
    hl_quant_recipe *r = &out->recipe;
    const char *setup = hl_lua_field_text(L, recipe, "setup");
    *r = hl_quant_recipe_default();
    out->rules.gate_first = flag_at(L, rules, "gate_first");
    HL_TRY(take_names(L, rules, "in_float", &out->in_float));
    HL_TRY(take_names(L, rules, "also", &out->also));
    HL_TRY(take_names(L, rules, "tables", &out->tables));
    HL_TRY(take_names(L, recipe, "skip", &out->skip));
    out->rules.in_float = (const char *const *)out->in_float;
    out->rules.also = (const char *const *)out->also;
    out->rules.tables = (const char *const *)out->tables;
    r->skip = (const char *const *)out->skip;
    const hl_quant_scheme scheme =
        strcmp(hl_lua_field_text(L, recipe, "act_scheme"), "symmetric") == 0 ? HL_QUANT_SYMMETRIC
                                                                             : HL_QUANT_ASYMMETRIC;
    const hl_quant_options w = {HL_QUANT_SYMMETRIC,
                                (int)hl_lua_field_number(L, recipe, "weight_bits", 8), 1, false},
                           a = {scheme, (int)hl_lua_field_number(L, recipe, "act_bits", 8), 1,
                                false};
    const bool is_mse = strcmp(hl_lua_field_text(L, recipe, "weight_range"), "mse") == 0;
    r->weight = hl_range_defaults(is_mse ? HL_RANGE_MSE_GRID : HL_RANGE_CURRENT_MINMAX, w);
    r->act = hl_range_defaults(method_of(hl_lua_field_text(L, recipe, "act_range"), scheme), a);
    r->act.momentum = (double)hl_lua_field_number(L, recipe, "momentum", 0.9);
    r->act.percentile = (double)hl_lua_field_number(L, recipe, "percentile", 0);
    if (r->act.percentile > 0 && r->act.method != HL_RANGE_RUNNING_MINMAX)
        HL_FAIL(HL_E_ARG, "percentile is for act_range = \"running_minmax\", not \"%s\"",
                hl_lua_field_text(L, recipe, "act_range"));
    take_method(L, recipe, &r->method);
    r->per_channel = flag_at(L, recipe, "per_channel");
    r->no_weights = !flag_at(L, recipe, "weights");
    r->no_acts = !flag_at(L, recipe, "acts");
    r->head = strcmp(setup, "all") == 0;
    r->norms = strstr(setup, "final_LN") ? HL_QUANT_NORMS_FINAL
               : strstr(setup, "all_LN") ? HL_QUANT_NORMS_ALL
                                         : HL_QUANT_NORMS_SAME;
    out->n_batches = (int64_t)hl_lua_field_number(L, recipe, "batches", 16);
    out->n_subsets = (int64_t)hl_lua_field_number(L, recipe, "at_end", 0);
    const char *part = hl_lua_field_text(L, recipe, "data");
    out->on_eval = part && strcmp(part, "eval") == 0;
    out->is_known = true;
out:
    return st;
}

/* ---- the object ---- */

static void free_program(quant_program *p)
{
    hl_program_free(p->p);
    for (int i = 0; i < p->n_held; i++)
        hl_storage_unref(p->held[i]);
    hl_free(p->held);
}

static int quant_gc(lua_State *L)
{
    quant *q = luaL_checkudata(L, 1, QUANT_META);
    for (size_t i = 0; i < q->programs.n; i++)
        free_program(&q->programs.at[i]);
    hl_vec_done(&q->programs);
    hl_quant_model_free(q->model);
    hl_quant_plan_done(&q->plan);
    q->model = NULL;
    return 0;
}

/* quant_new(rules, recipe, path): path of a quantized checkpoint's tensors, or nil */
int hl_lua_quant_new(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    quant *q = lua_newuserdatauv(L, sizeof *q, 0);
    *q = (quant){0};
    if (luaL_newmetatable(L, QUANT_META)) {
        lua_pushcfunction(L, quant_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    hl_status st = hl_lua_take_quant_plan(L, 1, 2, &q->plan);
    if (st == HL_OK)
        st = hl_quant_model_new(&q->plan.rules, &q->plan.recipe, hl_lua_of(L)->o.fp64, &q->model);
    if (st == HL_OK && lua_isstring(L, 3))
        st = hl_quant_saved_open(lua_tostring(L, 3), &q->from);
    if (st == HL_OK && q->from)
        hl_quant_model_restore(q->model, q->from);
    return st == HL_OK ? 1 : hl_lua_raise(L, st);
}

/* ---- programs ---- */

static hl_status bind_all(quant_program *p)
{
    const int n = hl_program_n_bindings(p->p);
    p->held = hl_alloc_zero((size_t)n + 1, sizeof *p->held);
    if (!p->held)
        return HL_E_NOMEM;
    for (int i = 0; i < n; i++) {
        hl_storage *to = hl_program_binding(p->p, i)->mark;
        if (!to)
            continue;
        p->held[p->n_held++] = hl_storage_ref(to);
        hl_program_bind(p->p, i, to->data);
    }
    return HL_OK;
}

/* The values of sites that are on and have one, behind the outputs in wanted. */
static int add_sites(const quant *q, hl_id *wanted, int n)
{
    int n_sites = 0;
    for (size_t i = 0; i < hl_quant_model_n(q->model); i++) {
        const hl_quant_site *s = hl_quant_model_site(q->model, i);
        if (s->role == HL_QUANT_ACT && s->is_on && s->value != HL_NONE)
            wanted[n + n_sites++] = s->value;
    }
    return n_sites;
}

/* Parameters that stay in float take the file's numbers; all others keep theirs, which nobody
 * reads. */
static hl_status load_floats(quant *q, const hl_quant_forward *of)
{
    hl_status st = HL_OK;
    size_t n_params = 0, n_floats;
    const hl_graph *g = of->g;
    hl_quant_float *list = hl_alloc((g->values.n + 1) * sizeof *list);
    if (!list)
        return HL_E_NOMEM;
    for (size_t v = 0; v < g->values.n; v++)
        if (g->values.at[v].kind == HL_VALUE_STATE && g->values.at[v].data)
            list[n_params++] = (hl_quant_float){g->values.at[v].name, g->values.at[v].data, false};
    HL_TRY(hl_quant_saved_list(q->model, of, list, n_params, &n_floats));
    for (size_t i = 0; i < n_floats; i++)
        HL_TRY(hl_quant_saved_float(q->from, &list[i]));
    HL_TRY(hl_quant_saved_end(q->from));
    q->from = NULL;
out:
    hl_free(list);
    return st;
}

/* From the outputs of a trace to a program with quantizers. */
static hl_status compile(hl_lua *h, quant *q, const hl_graph *g, hl_id *wanted, quant_program *out)
{
    hl_status st = HL_OK;
    hl_graph *needed = NULL, *quantized = NULL;
    hl_id *map = hl_alloc((g->values.n + 1) * sizeof *map), *all = NULL;
    hl_train_graph eg = {0};
    if (!map)
        HL_TRY(HL_E_NOMEM);
    HL_TRY(hl_graph_extract(g, wanted, out->n_outputs, &needed, map));
    for (int i = 0; i < out->n_outputs; i++)
        wanted[i] = map[wanted[i]];
    const hl_quant_forward of = {needed, wanted, out->n_outputs, h->o.team};
    if (q->from)
        HL_TRY(load_floats(q, &of));
    const hl_quant_wish wish = {.mode = out->mode, .outputs = wanted, .n_outputs = out->n_outputs};
    HL_TRY(hl_quant_model_graph(q->model, needed, &wish, h->o.team, &quantized));
    all = hl_alloc((hl_quant_model_n(q->model) + (size_t)out->n_outputs + 1) * sizeof *all);
    if (!all)
        HL_TRY(HL_E_NOMEM);
    memcpy(all, wanted, (size_t)out->n_outputs * sizeof *all);
    if (out->mode == HL_QUANT_SIMULATE || out->mode == HL_QUANT_EXECUTE)
        out->n_outputs += add_sites(q, all, out->n_outputs);
    const hl_train_options o = {.metrics = all + 1, .n_metrics = out->n_outputs - 1};
    HL_TRY(hl_eval_graph_new(quantized, all[0], &o, &eg));
    const hl_compile how = {.outputs = eg.outputs,
                            .n_outputs = eg.n_outputs,
                            .fp64 = h->o.fp64,
                            .n_workers = h->o.team ? h->o.team->n : 1};
    HL_TRY(hl_program_new(eg.g, &how, &out->p));
    HL_TRY(bind_all(out));
out:
    hl_train_graph_done(&eg);
    hl_graph_free(quantized);
    hl_graph_free(needed);
    hl_free(map);
    hl_free(all);
    return st;
}

/* quant_compile(q, "observe"|"run"|"execute"|"inputs", { outputs of a trace }) -> number of the
 * program */
int hl_lua_quant_compile(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    quant *q = luaL_checkudata(L, 1, QUANT_META);
    static const char *const modes[] = {"observe", "run", "execute", "inputs", NULL};
    static const hl_quant_mode of[] = {HL_QUANT_OBSERVE, HL_QUANT_SIMULATE, HL_QUANT_EXECUTE,
                                       HL_QUANT_INPUTS};
    const hl_quant_mode mode = of[luaL_checkoption(L, 2, NULL, modes)];
    luaL_checktype(L, 3, LUA_TTABLE);
    quant_program p = {.n_outputs = (int)lua_rawlen(L, 3), .mode = mode};
    hl_id wanted[NAMES_MAX];
    const recording *rec = NULL;
    if (p.n_outputs < 1 || p.n_outputs > NAMES_MAX)
        return luaL_argerror(L, 3, "1 to 64 tensors");
    for (int i = 0; i < p.n_outputs; i++) {
        lua_rawgeti(L, 3, i + 1);
        const slot *s = hl_lua_check_tensor(L, -1);
        if (!s->rec || !s->rec->traced || (rec && s->rec != rec))
            return luaL_argerror(L, 3, "not made from the batch and the model");
        rec = s->rec;
        wanted[i] = s->id;
        lua_pop(L, 1);
    }
    hl_status st = compile(h, q, rec->g, wanted, &p);
    if (st == HL_OK)
        st = hl_vec_push(&q->programs, p);
    if (st != HL_OK) {
        free_program(&p);
        return hl_lua_raise(L, st);
    }
    lua_pushinteger(L, (lua_Integer)q->programs.n);
    return 1;
}

static hl_status push_output(lua_State *L, const hl_program *p, int i)
{
    hl_storage *s;
    const hl_type *t = hl_program_output_type(p, i);
    hl_type f32 = *t;
    if (f32.dtype == HL_DTYPE_F64)
        f32.dtype = HL_DTYPE_F32;
    hl_status st = hl_storage_new(&f32, hl_lua_of(L)->o.fp64, &s);
    if (st != HL_OK)
        return st;
    memcpy(s->data, hl_program_output(p, i), hl_type_bytes(t));
    hl_lua_push_storage(L, s);
    return HL_OK;
}

/* quant_run(q, program, batch) -> { outputs, then values of sites } */
int hl_lua_quant_run(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    quant *q = luaL_checkudata(L, 1, QUANT_META);
    const lua_Integer which = luaL_checkinteger(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    if (which < 1 || (size_t)which > q->programs.n)
        return luaL_argerror(L, 2, "no such program");
    const quant_program *p = &q->programs.at[which - 1];
    hl_lua_bind_batch(L, 3, p->p);
    const hl_exec x = {.team = h->o.team, .seed = h->o.seed};
    hl_status st = hl_program_run(p->p, &x);
    if (p->mode == HL_QUANT_OBSERVE)
        st = hl_quant_model_explain(q->model, st);
    if (st == HL_OK && p->mode == HL_QUANT_OBSERVE && q->n_observed++ == 0)
        hl_quant_warn(q->model);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    lua_createtable(L, p->n_outputs, 0);
    for (int i = 0; i < p->n_outputs; i++) {
        st = push_output(L, p->p, i);
        if (st != HL_OK)
            return hl_lua_raise(L, st);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static void put_number(lua_State *L, const char *name, double x)
{
    lua_pushnumber(L, (lua_Number)x);
    lua_setfield(L, -2, name);
}

static void put_quantizer(lua_State *L, const hl_quantizer *q)
{
    put_number(L, "scale", (double)q->scale[0]);
    put_number(L, "zero_point", (double)q->zero_point[0]);
    put_number(L, "delta", q->delta[0]);
    put_number(L, "zero_float", q->zero_float[0]);
    put_number(L, "code_min", q->int_min);
    put_number(L, "code_max", q->int_max);
}

/* quant_sites(q) -> { { name, role, on, bits, seen, scale, … }, … } */
int hl_lua_quant_sites(lua_State *L)
{
    quant *q = luaL_checkudata(L, 1, QUANT_META);
    const size_t n = hl_quant_model_n(q->model);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        const hl_quant_site *s = hl_quant_model_site(q->model, i);
        lua_createtable(L, 0, 10);
        lua_pushstring(L, s->name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, s->role == HL_QUANT_WEIGHT ? "weight" : "act");
        lua_setfield(L, -2, "role");
        lua_pushboolean(L, s->is_on);
        lua_setfield(L, -2, "on");
        lua_pushboolean(L, s->is_on && s->value != HL_NONE);
        lua_setfield(L, -2, "has_value");
        put_number(L, "bits", s->how.quantizer.bits);
        const hl_quantizer *z =
            hl_quant_model_seen(q->model, i) ? hl_quant_model_quantizer(q->model, i) : NULL;
        if (z)
            put_quantizer(L, z);
        double mean, most;
        if (hl_quant_model_outliers(q->model, i, &mean, &most)) {
            put_number(L, "outliers", mean);
            put_number(L, "most_outliers", most);
        }
        const double *range = hl_quant_model_range(q->model, i);
        if (range) {
            put_number(L, "lo", range[HL_QUANT_LO]);
            put_number(L, "hi", range[HL_QUANT_HI]);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}
