/* Every row of the op table as a Lua function: T.name(inputs…, options). Inputs first, then options
 * by position or in one table by name. Dimensions count from 1 here, from 0 in the engine. A table
 * option `all = true` returns every output; otherwise the first (losses: all). */
#include <math.h>
#include <string.h>

#include "app/lua/host_internal.h"

/* A number among tensors: an input of the session (another number finds the same program), a
 * constant of a trace. */
static hl_id number_value(lua_State *L, double x)
{
    hl_lua *h = hl_lua_of(L);
    recording *r = h->current;
    if (r->traced)
        return hl_graph_const(r->g, x);
    hl_type scalar = hl_type_scalar(HL_DTYPE_F32);
    hl_storage *s = NULL;
    hl_status st = hl_storage_new(&scalar, h->o.fp64, &s);
    if (st == HL_OK) {
        hl_storage_set(s, 0, x);
        st = hl_vec_push(&r->leaves, s);
        if (st != HL_OK)
            hl_storage_unref(s);
    }
    hl_id id = st == HL_OK ? hl_graph_input(r->g, "number", scalar) : HL_NONE;
    if (id == HL_NONE || hl_recording_sync(r) != HL_OK)
        hl_lua_raise(L, hl_err_code());
    r->g->values.at[id].data = s;
    r->known.at[id] = s;
    return id;
}

static hl_id input_value(lua_State *L, int arg)
{
    if (lua_type(L, arg) == LUA_TNUMBER)
        return number_value(L, lua_tonumber(L, arg));
    slot *s = hl_lua_check_tensor(L, arg);
    return hl_lua_value_of(L, s);
}

/* --- options --- */

static int bad_option(lua_State *L, const hl_op *op, const char *name, const char *want)
{
    (void)hl_err_set(HL_E_ARG, "%s: option '%s' must be %s, not %s", op->name, name, want,
                     luaL_typename(L, -1));
    return hl_lua_raise(L, HL_E_ARG);
}

/* 1-based or negative dimension to what the engine takes; raises on 0. */
static int64_t axis_value(lua_State *L, const hl_op *op, const char *name, lua_Integer d)
{
    if (d == 0) {
        (void)hl_err_set(HL_E_ARG, "%s: option '%s' is 0; dimensions start at 1", op->name, name);
        hl_lua_raise(L, HL_E_ARG);
    }
    return d > 0 ? d - 1 : d;
}

static int64_t axes_mask(lua_State *L, const hl_op *op, const char *name, int rank)
{
    int64_t mask = 0;
    const int n = lua_istable(L, -1) ? (int)lua_rawlen(L, -1) : 1;
    for (int i = 1; i <= n; i++) {
        if (lua_istable(L, -1))
            lua_rawgeti(L, -1, i);
        else
            lua_pushvalue(L, -1);
        if (!lua_isinteger(L, -1))
            bad_option(L, op, name, "a dimension or a list of dimensions");
        int64_t d = axis_value(L, op, name, lua_tointeger(L, -1));
        d = d < 0 ? d + rank : d;
        if (d < 0 || d >= rank) {
            (void)hl_err_set(HL_E_ARG, "%s: no dimension %lld among %d", op->name,
                             (long long)lua_tointeger(L, -1), rank);
            hl_lua_raise(L, HL_E_ARG);
        }
        mask |= (int64_t)1 << d;
        lua_pop(L, 1);
    }
    return mask;
}

static void dims_value(lua_State *L, const hl_op *op, const char *name, hl_attrs *attrs)
{
    if (!lua_istable(L, -1))
        bad_option(L, op, name, "a list of integers");
    const lua_Unsigned n = lua_rawlen(L, -1);
    if (n > HL_MAX_RANK) {
        (void)hl_err_set(HL_E_SHAPE, "%s: at most %d dimensions", op->name, HL_MAX_RANK);
        hl_lua_raise(L, HL_E_SHAPE);
    }
    const bool axes = strcmp(name, "axes") == 0;
    attrs->n_dims = (int64_t)n;
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        if (!lua_isinteger(L, -1))
            bad_option(L, op, name, "a list of integers");
        lua_Integer d = lua_tointeger(L, -1);
        attrs->dims[i] = axes ? axis_value(L, op, name, d) : d;
        lua_pop(L, 1);
    }
}

static int64_t enum_value(lua_State *L, const hl_op *op, const hl_attr_spec *s)
{
    if (lua_type(L, -1) != LUA_TSTRING)
        bad_option(L, op, s->name, "a name");
    int n = 0;
    for (; s->names[n]; n++)
        if (strcmp(s->names[n], lua_tostring(L, -1)) == 0)
            return n;
    int near = hl_str_nearest(lua_tostring(L, -1), s->names, n);
    (void)hl_err_set(HL_E_ARG, "%s: unknown %s '%s'%s%s%s", op->name, s->name, lua_tostring(L, -1),
                     near >= 0 ? " (did you mean '" : "", near >= 0 ? s->names[near] : "",
                     near >= 0 ? "'?)" : "");
    hl_lua_raise(L, HL_E_ARG);
    return 0;
}

/* The value on top of the stack into attribute i. rank: of the first input. */
static void set_attr(lua_State *L, const hl_op *op, int i, int rank, hl_attrs *attrs)
{
    const hl_attr_spec *s = &op->attr[i];
    switch (s->kind) {
    case HL_ATTR_REAL:
        if (lua_type(L, -1) != LUA_TNUMBER)
            bad_option(L, op, s->name, "a number");
        attrs->v[i].f = lua_tonumber(L, -1);
        break;
    case HL_ATTR_BOOL:
        if (!lua_isboolean(L, -1))
            bad_option(L, op, s->name, "true or false");
        attrs->v[i].i = lua_toboolean(L, -1);
        break;
    case HL_ATTR_ENUM:
        attrs->v[i].i = enum_value(L, op, s);
        break;
    case HL_ATTR_AXES:
        attrs->v[i].i = axes_mask(L, op, s->name, rank);
        break;
    case HL_ATTR_DIMS:
        dims_value(L, op, s->name, attrs);
        break;
    default:
        if (!lua_isinteger(L, -1))
            bad_option(L, op, s->name, "an integer");
        attrs->v[i].i = s->kind == HL_ATTR_AXIS
                            ? axis_value(L, op, s->name, lua_tointeger(L, -1))
                            : lua_tointeger(L, -1);
    }
}

/* Options by name from the table on top; `all` is ours. */
static void named_attrs(lua_State *L, const hl_op *op, int rank, hl_attrs *attrs, bool *all)
{
    const int table = lua_gettop(L);
    const char *names[HL_MAX_ATTR + 1];
    int n = 0;
    for (; op->attr[n].kind != HL_ATTR_END; n++)
        names[n] = op->attr[n].name;
    names[n] = "all";
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            (void)hl_err_set(HL_E_ARG, "%s: options have names", op->name);
            hl_lua_raise(L, HL_E_ARG);
        }
        const char *key = lua_tostring(L, -2);
        int i = hl_op_attr(op, key);
        if (i >= 0) {
            set_attr(L, op, i, rank, attrs);
        } else if (strcmp(key, "all") == 0) {
            *all = lua_toboolean(L, -1);
        } else {
            int near = hl_str_nearest(key, names, n + 1);
            (void)hl_err_set(HL_E_ARG, "%s: unknown option '%s'%s%s%s", op->name, key,
                             near >= 0 ? " (did you mean '" : "", near >= 0 ? names[near] : "",
                             near >= 0 ? "'?)" : "");
            hl_lua_raise(L, HL_E_ARG);
        }
    }
}

void hl_lua_named_attrs(lua_State *L, const hl_op *op, hl_attrs *attrs)
{
    bool all = false;
    named_attrs(L, op, 0, attrs, &all);
}

static bool is_option_table(lua_State *L, const hl_op *op, int arg)
{
    if (!lua_istable(L, arg))
        return false;
    const bool list_first = op->attr[0].kind == HL_ATTR_DIMS || op->attr[0].kind == HL_ATTR_AXES;
    return !list_first || lua_rawlen(L, arg) == 0;
}

static void parse_attrs(lua_State *L, const hl_op *op, int arg, int rank, hl_attrs *attrs, bool *all)
{
    const int n_args = lua_gettop(L);
    for (int i = 0; arg <= n_args; arg++) {
        if (arg == n_args && is_option_table(L, op, arg)) {
            lua_pushvalue(L, arg);
            named_attrs(L, op, rank, attrs, all);
            lua_pop(L, 1);
            return;
        }
        if (op->attr[i].kind == HL_ATTR_END) {
            (void)hl_err_set(HL_E_ARG, "%s: too many arguments", op->name);
            hl_lua_raise(L, HL_E_ARG);
        }
        if (!lua_isnil(L, arg)) {
            lua_pushvalue(L, arg);
            set_attr(L, op, i, rank, attrs);
            lua_pop(L, 1);
        }
        i++;
    }
}

/* --- the call --- */

typedef struct inputs {
    hl_id fixed[12];
    hl_id *at;
    int n;
} inputs;

/* Tensors of a variadic op come as a list; their ids live in a userdata that the collector frees. */
static int gather_list(lua_State *L, const hl_op *op, inputs *in)
{
    if (!lua_istable(L, 1)) {
        (void)hl_err_set(HL_E_ARG, "%s: takes a list of tensors", op->name);
        hl_lua_raise(L, HL_E_ARG);
    }
    in->n = (int)lua_rawlen(L, 1);
    in->at = lua_newuserdatauv(L, (size_t)(in->n + 1) * sizeof *in->at, 0);
    lua_insert(L, 1); /* keep it alive, out of the way */
    for (int i = 0; i < in->n; i++) {
        lua_rawgeti(L, 2, i + 1);
        in->at[i] = input_value(L, lua_gettop(L));
        lua_pop(L, 1);
    }
    return 3;
}

static int gather_inputs(lua_State *L, const hl_op *op, int most, int n_args, inputs *in)
{
    int arg = 1;
    in->at = in->fixed;
    for (in->n = 0; in->n < most; in->n++, arg++) {
        const bool optional = hl_op_input_optional(op, in->n);
        const bool given = arg <= n_args && !lua_isnil(L, arg);
        const bool value = given && (lua_type(L, arg) == LUA_TNUMBER ||
                                     luaL_testudata(L, arg, HL_TENSOR_META));
        if (value) {
            in->at[in->n] = input_value(L, arg);
        } else if (optional) {
            in->at[in->n] = HL_NONE;
            if (given)
                arg--; /* options start here */
        } else {
            char word[32];
            (void)hl_err_set(HL_E_ARG, "%s: %s must be a tensor, not %s", op->name,
                             hl_op_word(op->ins, in->n, word), luaL_typename(L, arg));
            hl_lua_raise(L, HL_E_ARG);
        }
    }
    return arg;
}

static int op_call(lua_State *L)
{
    const hl_op *op = lua_touserdata(L, lua_upvalueindex(1));
    hl_lua *h = hl_lua_of(L);
    int least, most;
    hl_op_arity(op, &least, &most);
    hl_lua_maybe_compact(L);
    inputs in;
    int arg = most < 0 ? gather_list(L, op, &in)
                       : gather_inputs(L, op, most, lua_gettop(L), &in);
    hl_attrs attrs = hl_op_defaults(op);
    bool all = false;
    const int rank = in.n && in.at[0] != HL_NONE ? hl_graph_type(h->current->g, in.at[0])->rank : 0;
    parse_attrs(L, op, arg, rank, &attrs, &all);
    char where[256];
    h->current->g->where = hl_lua_where(L, where)[0] ? where : NULL;
    h->current->g->stop = h->no_grad > 0;
    hl_id out = hl_graph_append(h->current->g, op, in.at, in.n, &attrs);
    hl_status st = h->current->g->status;
    h->current->g->where = NULL;
    h->current->g->stop = false;
    if (out == HL_NONE) {
        h->current->g->status = HL_OK; /* the session goes on */
        return hl_lua_raise(L, st);
    }
    st = hl_recording_sync(h->current);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    int n = hl_graph_node_of(h->current->g, out)->n_out;
    if (h->no_grad)
        for (int i = 0; i < n; i++)
            h->current->grad.at[out + i] = 0;
    n = all || strstr(op->outs, "loss") ? n : 1;
    luaL_checkstack(L, n, "outputs");
    for (int i = 0; i < n; i++)
        hl_lua_push_value(L, out + i);
    return n;
}

void hl_lua_open_ops(lua_State *L)
{
    for (int id = 0; id < HL_OP_COUNT; id++) {
        const hl_op *op = hl_op_get((hl_op_id)id);
        if (op->flags & HL_OP_NO_LUA)
            continue;
        lua_pushlightuserdata(L, (void *)(uintptr_t)op);
        lua_pushcclosure(L, op_call, 1);
        lua_setfield(L, -2, op->name);
    }
}
