/* The C side of the hop module, below the Lua library (scripts_lua/hop): creation and storage of
 * tensors, traces, gradients, files. Names here are internal; hop/init.lua gives them to users with
 * their checks and descriptions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/lua/host_internal.h"
#include "app/lua/lua_json.h"
#include "engine/base/clock.h"
#include "engine/base/rng.h"

/* --- tensors from Lua values --- */

static void read_dims(lua_State *L, int arg, hl_type *t)
{
    luaL_checktype(L, arg, LUA_TTABLE);
    const lua_Unsigned n = lua_rawlen(L, arg);
    if (n > HL_MAX_RANK)
        luaL_argerror(L, arg, "at most 6 dimensions");
    t->rank = (int)n;
    size_t bytes = 8;
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, arg, (lua_Integer)i + 1);
        lua_Integer d = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
        if (d < 0 || !hl_mul_size(bytes, (size_t)d, &bytes) || bytes > SIZE_MAX / 4)
            luaL_argerror(L, arg, "sizes must be non-negative integers of a possible tensor");
        t->dim[i] = d;
        lua_pop(L, 1);
    }
}

static hl_dtype read_dtype(lua_State *L, int arg)
{
    hl_dtype d = HL_DTYPE_F32;
    const char *name = luaL_optstring(L, arg, "f32");
    if (!hl_dtype_parse(name, &d) ||
        (d != HL_DTYPE_F32 && d != HL_DTYPE_I32 && d != HL_DTYPE_BOOL && d != HL_DTYPE_U8)) {
        (void)hl_err_set(HL_E_DTYPE, "element type '%s'; tensors of scripts are f32, i32 or bool",
                         name);
        hl_lua_raise(L, HL_E_DTYPE);
    }
    return d;
}

static hl_storage *new_storage(lua_State *L, const hl_type *t)
{
    hl_storage *s = NULL;
    hl_status st = hl_storage_new(t, hl_lua_of(L)->o.fp64, &s);
    if (st == HL_E_NOMEM) {
        lua_gc(L, LUA_GCCOLLECT);
        st = hl_storage_new(t, hl_lua_of(L)->o.fp64, &s);
    }
    if (st != HL_OK)
        hl_lua_raise(L, st);
    return s;
}

/* full(dims, value, dtype) */
static int core_full(lua_State *L)
{
    hl_type t = {.dtype = read_dtype(L, 3)};
    read_dims(L, 1, &t);
    const double x = luaL_optnumber(L, 2, 0);
    hl_storage *s = new_storage(L, &t);
    hl_lua_push_storage(L, s);
    const int64_t n = x == 0 ? 0 : hl_type_count(&t);
    for (int64_t i = 0; i < n; i++)
        hl_storage_set(s, i, x);
    return 1;
}

/* Shape of nested tables by their first elements. */
static void nested_shape(lua_State *L, int arg, hl_type *t)
{
    lua_pushvalue(L, arg);
    while (lua_istable(L, -1)) {
        if (t->rank == HL_MAX_RANK)
            luaL_argerror(L, arg, "nested deeper than 6");
        t->dim[t->rank++] = (int64_t)lua_rawlen(L, -1);
        lua_rawgeti(L, -1, 1);
        lua_remove(L, -2);
    }
    if (t->rank && !lua_isnumber(L, -1) && !lua_isboolean(L, -1) && t->dim[t->rank - 1] > 0)
        luaL_argerror(L, arg, "must hold numbers");
    lua_pop(L, 1);
}

static void fill_nested(lua_State *L, int arg, hl_storage *s, int dim, int64_t *at)
{
    luaL_checkstack(L, 4, "nested tables");
    if (dim == s->type.rank) {
        if (!lua_isnumber(L, -1) && !lua_isboolean(L, -1))
            luaL_argerror(L, arg, "must hold numbers in a regular shape");
        hl_storage_set(s, (*at)++,
                       lua_isboolean(L, -1) ? lua_toboolean(L, -1) : lua_tonumber(L, -1));
        return;
    }
    if (!lua_istable(L, -1) || (int64_t)lua_rawlen(L, -1) != s->type.dim[dim])
        luaL_argerror(L, arg, "rows of different lengths");
    for (int64_t i = 0; i < s->type.dim[dim]; i++) {
        lua_rawgeti(L, -1, i + 1);
        fill_nested(L, arg, s, dim + 1, at);
        lua_pop(L, 1);
    }
}

/* from(table or number, dtype) */
static int core_from(lua_State *L)
{
    hl_type t = {.dtype = read_dtype(L, 2)};
    int64_t at = 0;
    if (!lua_istable(L, 1) && !lua_isnumber(L, 1))
        return luaL_argerror(L, 1, "must be a number or nested tables of numbers");
    nested_shape(L, 1, &t);
    hl_storage *s = new_storage(L, &t);
    hl_lua_push_storage(L, s); /* owned by the collector before anything can fail */
    lua_pushvalue(L, 1);
    fill_nested(L, 1, s, 0, &at);
    lua_pop(L, 1);
    return 1;
}

/* --- parameters --- */

/* One run of a creation op into a fresh storage, on counters of the init space. */
static hl_status draw_into(hl_lua *h, hl_op_id op, double a, double b, uint32_t stream,
                           hl_storage *s)
{
    hl_status st = HL_OK;
    hl_graph *g = NULL;
    hl_program *p = NULL;
    HL_TRY(hl_graph_new(&g));
    hl_attrs attrs = hl_op_defaults(hl_op_get(op));
    attrs.v[0].f = a;
    attrs.v[1].f = b;
    attrs.n_dims = s->type.rank;
    memcpy(attrs.dims, s->type.dim, sizeof attrs.dims);
    hl_id out = hl_graph_append(g, hl_op_get(op), NULL, 0, &attrs);
    HL_TRY(g->status);
    hl_compile how = {.outputs = &out,
                      .n_outputs = 1,
                      .fp64 = h->o.fp64,
                      .n_workers = h->o.team ? h->o.team->n : 1,
                      .device = hl_device_current()};
    HL_TRY(hl_program_new(g, &how, &p));
    hl_exec x = {.team = h->o.team,
                 .seed = h->o.seed,
                 .stream_base = ((uint32_t)HL_RNG_INIT << 24) + stream};
    HL_TRY(hl_program_run(p, &x));
    memcpy(s->data, hl_program_output(p, 0), s->bytes);
out:
    hl_program_free(p);
    hl_graph_free(g);
    return st;
}

/* param(dims, kind, a, b, stream): kind "const" a, "normal" mean a std b, "uniform" [a, b) */
static int core_param(lua_State *L)
{
    hl_type t = {.dtype = HL_DTYPE_F32};
    read_dims(L, 1, &t);
    const char *kind = luaL_checkstring(L, 2);
    const double a = luaL_checknumber(L, 3), b = luaL_optnumber(L, 4, 0);
    const lua_Integer stream = luaL_checkinteger(L, 5);
    hl_storage *s = new_storage(L, &t);
    hl_lua_push_storage(L, s);
    slot *p = hl_lua_check_tensor(L, -1);
    p->param = p->grad = true;
    hl_status st = HL_OK;
    if (hl_lua_of(L)->blank)
        return 1;
    if (strcmp(kind, "const") == 0)
        for (int64_t i = 0, n = a == 0 ? 0 : hl_type_count(&t); i < n; i++)
            hl_storage_set(s, i, a);
    else
        st = draw_into(hl_lua_of(L),
                       strcmp(kind, "normal") == 0 ? HL_OP_ID_normal : HL_OP_ID_uniform, a, b,
                       (uint32_t)stream & 0xFFFFFF, s);
    return st == HL_OK ? 1 : hl_lua_raise(L, st);
}

/* name(tensor, text): what the tensor is called in graphs, checkpoints and messages */
static int core_name(lua_State *L)
{
    slot *s = hl_lua_check_tensor(L, 1);
    if (lua_isnoneornil(L, 2)) {
        lua_pushstring(L, s->name);
        return 1;
    }
    char *name = hl_strdup(luaL_checkstring(L, 2));
    if (!name)
        return hl_lua_raise(L, HL_E_NOMEM);
    hl_free(s->name);
    s->name = name;
    s->leaf_rec = NULL; /* a leaf made before carries the old name */
    return 0;
}

/* set_row(tensor, row, value): fills one row of a concrete tensor (padding rows at birth) */
static int core_set_row(lua_State *L)
{
    slot *s = hl_lua_check_tensor(L, 1);
    const lua_Integer row = luaL_checkinteger(L, 2);
    const double x = luaL_checknumber(L, 3);
    if (!s->storage || s->type.rank < 1 || row < 0 || row >= s->type.dim[0])
        return luaL_argerror(L, 2, "no such row");
    const int64_t n = hl_type_count(&s->type) / s->type.dim[0];
    for (int64_t i = 0; i < n; i++)
        hl_storage_set(s->storage, row * n + i, x);
    return 0;
}

/* --- traces --- */

/* trace(f, ...): calls f with a fresh recording as the current one; returns a trace handle and what
 * f returned. The handle (userdata "hop.trace") keeps the graph. */
typedef struct trace_handle {
    recording *rec;
} trace_handle;

static int trace_gc(lua_State *L)
{
    trace_handle *t = luaL_checkudata(L, 1, "hop.trace");
    hl_recording_unref(t->rec);
    t->rec = NULL;
    return 0;
}

static int core_trace(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    const int n_args = lua_gettop(L) - 1;
    trace_handle *t = lua_newuserdatauv(L, sizeof *t, 0);
    t->rec = NULL;
    luaL_setmetatable(L, "hop.trace");
    lua_insert(L, 1);
    hl_status st = hl_recording_new(true, &t->rec);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    recording *outer = h->current;
    const uint64_t serial = h->current_serial;
    h->current = t->rec;
    h->current_serial = ++h->last_serial;
    int status = lua_pcall(L, n_args, LUA_MULTRET, 0);
    h->current = outer;
    h->current_serial = serial;
    if (status != LUA_OK)
        return lua_error(L);
    return lua_gettop(L);
}

/* placeholder(name, dims, dtype): an input of the current trace */
static int core_placeholder(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    hl_type t = {.dtype = read_dtype(L, 3)};
    read_dims(L, 2, &t);
    if (!h->current->traced) {
        (void)hl_err_set(HL_E_STATE, "placeholders belong into a trace");
        return hl_lua_raise(L, HL_E_STATE);
    }
    hl_id id = hl_graph_input(h->current->g, luaL_checkstring(L, 1), t);
    if (id == HL_NONE || hl_recording_sync(h->current) != HL_OK)
        return hl_lua_raise(L, hl_err_code());
    hl_lua_push_value(L, id);
    return 1;
}

static int core_tracing(lua_State *L)
{
    lua_pushboolean(L, hl_lua_of(L)->current->traced);
    return 1;
}

/* tap(name, x, rows): marks an activation; returns x */
static int core_tap(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    const char *name = luaL_checkstring(L, 1);
    slot *s = hl_lua_check_tensor(L, 2);
    const char *rows = luaL_optstring(L, 3, "sequence");
    if (h->current->traced && !h->current->outer) { /* not inside a step: it runs many times */
        hl_id id = hl_lua_value_of(L, s);
        hl_status st = hl_graph_tap(h->current->g, name, id,
                                    strcmp(rows, "token") == 0 ? HL_TAP_TOKEN : HL_TAP_SEQUENCE);
        if (st != HL_OK)
            return hl_lua_raise(L, st);
    }
    lua_settop(L, 2);
    return 1;
}

/* label(x, name): what passes call the value that x is in a trace; returns x */
static int core_label(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    slot *s = hl_lua_check_tensor(L, 1);
    const char *name = luaL_checkstring(L, 2);
    if (h->current->traced) {
        const hl_id id = hl_lua_value_of(L, s);
        if (hl_graph_node_of(h->current->g, id)) /* a leaf has one of its own */
            hl_graph_name_value(h->current->g, id, name);
    }
    lua_settop(L, 1);
    return 1;
}

static int trace_text(lua_State *L)
{
    trace_handle *t = luaL_checkudata(L, 1, "hop.trace");
    hl_str text = {0};
    hl_graph_print(t->rec->g, &text);
    lua_pushstring(L, hl_str_text(&text));
    hl_str_done(&text);
    return 1;
}

/* --- gradients --- */

/* grad(y, {x…}): tensors dy/dx, nil where y does not depend on x; works in traces and outside */
static int core_grad(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    const int n = (int)lua_rawlen(L, 2);
    hl_id *wrt = lua_newuserdatauv(L, (size_t)(2 * n + 2) * sizeof *wrt, 0), *grads = wrt + n;
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, 2, i + 1);
        wrt[i] = hl_lua_value_of(L, hl_lua_check_tensor(L, -1));
        lua_pop(L, 1);
    }
    hl_id y = hl_lua_value_of(L, hl_lua_check_tensor(L, 1));
    hl_status st = hl_pass_grad(h->current->g, y, wrt, n, grads);
    h->current->g->status = HL_OK;
    if (st == HL_OK)
        st = hl_recording_sync(h->current);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        if (grads[i] == HL_NONE)
            continue;
        hl_lua_push_value(L, grads[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int core_no_grad(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    h->no_grad++;
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    h->no_grad--;
    return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

/* training(flag?): whether dropout and the like are on while a model is recorded */
static int core_training(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    lua_pushboolean(L, h->training);
    if (lua_isboolean(L, 1))
        h->training = lua_toboolean(L, 1);
    return 1;
}

/* --- the op table, for descriptions --- */

static void push_attr(lua_State *L, const hl_attr_spec *s)
{
    static const char *const kinds[] = {"",     "integer",   "number",     "boolean",
                                        "name", "dimension", "dimensions", "sizes"};
    lua_createtable(L, 0, 4);
    lua_pushstring(L, s->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, kinds[s->kind]);
    lua_setfield(L, -2, "type");
    if (!isnan(s->otherwise) && s->kind != HL_ATTR_DIMS && s->kind != HL_ATTR_AXES) {
        if (s->kind == HL_ATTR_ENUM)
            lua_pushstring(L, s->names[(int)s->otherwise]);
        else if (s->kind == HL_ATTR_BOOL)
            lua_pushboolean(L, s->otherwise != 0);
        else
            lua_pushnumber(L, s->otherwise);
        lua_setfield(L, -2, "default");
    }
    if (s->kind == HL_ATTR_ENUM) {
        lua_newtable(L);
        for (int i = 0; s->names[i]; i++) {
            lua_pushstring(L, s->names[i]);
            lua_rawseti(L, -2, i + 1);
        }
        lua_setfield(L, -2, "choices");
    }
}

/* ops(): list of { name, doc, ins, outs, attrs } */
static int core_ops(lua_State *L)
{
    lua_newtable(L);
    int n = 0;
    for (int id = 0; id < HL_OP_COUNT; id++) {
        const hl_op *op = hl_op_get((hl_op_id)id);
        if (op->flags & HL_OP_NO_LUA)
            continue;
        lua_createtable(L, 0, 6);
        lua_pushstring(L, op->name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, op->doc);
        lua_setfield(L, -2, "doc");
        lua_pushstring(L, op->ins);
        lua_setfield(L, -2, "ins");
        lua_pushstring(L, op->outs);
        lua_setfield(L, -2, "outs");
        lua_newtable(L);
        for (int i = 0; op->attr[i].kind != HL_ATTR_END; i++) {
            push_attr(L, &op->attr[i]);
            lua_rawseti(L, -2, i + 1);
        }
        lua_setfield(L, -2, "attrs");
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* --- small things --- */

/* nearest(word, list): the entry most like it, or nil */
static int core_nearest(lua_State *L)
{
    const char *word = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    const int n = (int)lua_rawlen(L, 2);
    const char **list = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *list, 0);
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, 2, i + 1);
        list[i] = luaL_tolstring(L, -1, NULL);
        lua_pop(L, 2); /* the list keeps the string */
    }
    int k = hl_str_nearest(word, list, n);
    if (k < 0)
        return 0;
    lua_rawgeti(L, 2, k + 1);
    return 1;
}

/* What was drawn under the old seed but not yet computed must not see the new one. */
static int core_seed(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    if (lua_isinteger(L, 1)) {
        for (size_t i = 0; i < h->slots.n; i++)
            if (h->slots.at[i].rec == h->session && !h->slots.at[i].storage)
                hl_lua_known(L, &h->slots.at[i]);
        h->session->g->n_streams = 0;
        h->o.seed = (uint64_t)lua_tointeger(L, 1);
    }
    lua_pushinteger(L, (lua_Integer)h->o.seed);
    return 1;
}

static int core_threads(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    lua_pushinteger(L, h->o.team ? h->o.team->n : 1);
    return 1;
}

static int core_clock(lua_State *L)
{
    lua_pushnumber(L, (double)hl_clock_mono_ns() * 1e-9);
    return 1;
}

/* where(): "script.lua:12" of the caller */
static int core_where(lua_State *L)
{
    char where[256];
    lua_pushstring(L, hl_lua_where(L, where));
    return 1;
}

static int core_fp64(lua_State *L)
{
    lua_pushboolean(L, hl_lua_of(L)->o.fp64);
    return 1;
}

/* available(): bytes that tensors may still take; -1: not known */
static int core_available(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)hl_storage_room());
    return 1;
}

/* stats(): what the session holds, for tests */
static int core_stats(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, (lua_Integer)(h->slots.n - h->free_slots.n));
    lua_setfield(L, -2, "tensors");
    lua_pushinteger(L, (lua_Integer)h->session->g->nodes.n);
    lua_setfield(L, -2, "nodes");
    lua_pushinteger(L, (lua_Integer)hl_mem_get_stats().live_bytes);
    lua_setfield(L, -2, "bytes");
    lua_pushinteger(L, (lua_Integer)h->n_calls);
    lua_setfield(L, -2, "calls");
    return 1;
}

static int is_tensor(lua_State *L)
{
    lua_pushboolean(L, hl_lua_test_tensor(L, 1) != NULL);
    return 1;
}

static int core_global(lua_State *L)
{
    lua_pushglobaltable(L);
    lua_pushvalue(L, 1);
    lua_pushboolean(L, 0);
    if (!lua_isnoneornil(L, 2)) {
        lua_pop(L, 1);
        lua_pushvalue(L, 2);
    }
    lua_rawset(L, -3);
    return 0;
}

/* exit(status): ends the script; no pcall stops it */
static int core_exit(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    h->exit_status = (int)luaL_optinteger(L, 1, 0);
    h->exiting = true;
    return hl_lua_raise_cancel(L);
}

/* part("hop/nn.lua"): the embedded file as a function */
static int core_part(lua_State *L)
{
    return hl_lua_load_part(L, luaL_checkstring(L, 1));
}

static const luaL_Reg core[] = {
    {"exit", core_exit},
    {"part", core_part},
    {"exists", hl_lua_exists},
    {"open_corpus", hl_lua_open_corpus},
    {"corpus_info", hl_lua_corpus_info},
    {"open_images", hl_lua_open_images},
    {"images_info", hl_lua_images_info},
    {"take_images", hl_lua_take_images},
    {"open_series", hl_lua_open_series},
    {"series_info", hl_lua_series_info},
    {"step_new", hl_lua_step_new},
    {"step_compile", hl_lua_step_compile},
    {"step_run", hl_lua_step_run},
    {"quant_methods", hl_lua_quant_methods},
    {"quant_new", hl_lua_quant_new},
    {"quant_compile", hl_lua_quant_compile},
    {"quant_run", hl_lua_quant_run},
    {"quant_sites", hl_lua_quant_sites},
    {"full", core_full},
    {"from", core_from},
    {"param", core_param},
    {"name", core_name},
    {"set_row", core_set_row},
    {"trace", core_trace},
    {"placeholder", core_placeholder},
    {"tracing", core_tracing},
    {"tap", core_tap},
    {"label", core_label},
    {"trace_text", trace_text},
    {"grad", core_grad},
    {"no_grad", core_no_grad},
    {"training", core_training},
    {"load", hl_lua_load},
    {"save", hl_lua_save},
    {"metadata", hl_lua_metadata},
    {"weights_open", hl_lua_weights_open},
    {"weights_list", hl_lua_weights_list},
    {"weights_read", hl_lua_weights_read},
    {"weights_same", hl_lua_weights_same},
    {"save_dir", hl_lua_save_dir},
    {"read_json", hl_lua_read_json},
    {"ops", core_ops},
    {"nearest", core_nearest},
    {"seed", core_seed},
    {"threads", core_threads},
    {"clock", core_clock},
    {"where", core_where},
    {"fp64", core_fp64},
    {"available", core_available},
    {"stats", core_stats},
    {"is_tensor", is_tensor},
    {"global", core_global},
    {"body", hl_lua_body},
    {"body_call", hl_lua_body_call},
    {"vjp", hl_lua_vjp},
    {"alias", hl_lua_alias},
    {NULL, NULL},
};

void hl_lua_open_hop(lua_State *L)
{
    luaL_newmetatable(L, "hop.trace");
    lua_pushcfunction(L, trace_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    hl_lua_open_solve(L);
    hl_lua_open_files(L);
    luaL_newlib(L, core);
    hl_lua_open_runs(L);
    hl_lua_open_control(L);
    hl_lua_open_tensor(L);
    hl_lua_open_ops(L);
    lua_setfield(L, -2, "T");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_getfield(L, LUA_REGISTRYINDEX, "hop.raise");
    lua_setfield(L, -2, "raise");
    /* require "hop.core" finds it */
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaded");
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "hop.core");
    lua_pop(L, 2);
}
