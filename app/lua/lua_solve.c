/* Body graphs from Lua functions: a step of an equilibrium model is called once with placeholders,
 * which records it; tensors from outside that it uses become inputs of the node that holds it. */
#include <string.h>

#include "app/lua/host_internal.h"

#define BODY_META "hop.body"

/* Uservalue 1: list of captured tensors, of the recording the body was made in. */
typedef struct body_handle {
    hl_body *body;
    int n_z;
} body_handle;

static int body_gc(lua_State *L)
{
    body_handle *b = luaL_checkudata(L, 1, BODY_META);
    hl_body_unref(b->body);
    b->body = NULL;
    return 0;
}

/* --- captured values --- */

hl_id hl_lua_capture(lua_State *L, slot *s)
{
    hl_lua *h = hl_lua_of(L);
    recording *inner = h->current;
    const uint64_t serial = h->current_serial;
    const uint32_t index = (uint32_t)(s - h->slots.at);
    h->current = inner->outer;
    h->current_serial = inner->outer_serial;
    const hl_id outside = hl_lua_value_of(L, &h->slots.at[index]);
    h->current = inner;
    h->current_serial = serial;
    for (size_t i = 0; i < inner->captures.n; i++)
        if (inner->captures.at[i].outside == outside)
            return inner->captures.at[i].inside;
    const hl_value *x = hl_graph_value(inner->outer->g, outside);
    const hl_id inside = hl_graph_input(inner->g, x->name ? x->name : "value", x->type);
    hl_status st = inside == HL_NONE ? hl_err_code() : hl_recording_sync(inner);
    if (st == HL_OK)
        st = hl_vec_push(&inner->captures, ((capture){.outside = outside, .inside = inside}));
    if (st != HL_OK)
        hl_lua_raise(L, st);
    inner->grad.at[inside] = inner->outer->grad.at[outside];
    return inside;
}

/* --- recording a body --- */

/* Placeholders of the shapes of the states (list at arg), on the stack. */
static int push_states(lua_State *L, int arg, hl_id *in)
{
    hl_lua *h = hl_lua_of(L);
    const int n = (int)lua_rawlen(L, arg);
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, arg, i + 1);
        const hl_type type = hl_lua_check_tensor(L, -1)->type;
        lua_pop(L, 1);
        in[i] = hl_graph_input(h->current->g, "z", type);
        if (in[i] == HL_NONE || hl_recording_sync(h->current) != HL_OK)
            hl_lua_raise(L, hl_err_code());
        hl_lua_push_value(L, in[i]);
    }
    return n;
}

/* What runs in the recording of the body: (step, states, in) -> results. */
static int record_step(lua_State *L)
{
    hl_id *in = lua_touserdata(L, 3);
    lua_pushvalue(L, 1);
    const int n = push_states(L, 2, in);
    lua_call(L, n, LUA_MULTRET);
    const int n_out = lua_gettop(L) - 3;
    if (n_out != n) {
        (void)hl_err_set(HL_E_ARG, "the step must return its state%s: %d tensor%s, not %d value%s",
                         n > 1 ? "s" : "", n, n > 1 ? "s" : "", n_out, n_out == 1 ? "" : "s");
        hl_lua_raise(L, HL_E_ARG);
    }
    for (int i = 0; i < n; i++) {
        slot *s = hl_lua_test_tensor(L, 4 + i);
        if (!s) {
            (void)hl_err_set(HL_E_ARG, "the step must return a tensor, not %s",
                             luaL_typename(L, 4 + i));
            hl_lua_raise(L, HL_E_ARG);
        }
        in[n + i] = hl_lua_value_of(L, s);
    }
    return 0;
}

/* The captured tensors, as values of the outer recording (current again), into the uservalue. */
static void keep_captures(lua_State *L, int handle, const recording *inner)
{
    lua_createtable(L, (int)inner->captures.n, 0);
    for (size_t i = 0; i < inner->captures.n; i++) {
        hl_lua_push_value(L, inner->captures.at[i].outside);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setiuservalue(L, handle, 1);
}

static hl_status make_body(const recording *inner, const hl_id *states, int n, hl_body **out)
{
    const size_t n_in = (size_t)n + inner->captures.n;
    hl_id *in = hl_alloc((n_in + 1) * sizeof *in);
    if (!in)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n_in; i++)
        in[i] = i < (size_t)n ? states[i] : inner->captures.at[i - (size_t)n].inside;
    hl_status st = hl_body_new(inner->g, in, (int)n_in, states + n, n, out);
    hl_free(in);
    return st;
}

/* body(step, {z…}) -> body: step(z…) recorded; it must return as many tensors */
int hl_lua_body(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_checktype(L, 2, LUA_TTABLE);
    const int n = (int)lua_rawlen(L, 2);
    body_handle *b = lua_newuserdatauv(L, sizeof *b, 1);
    *b = (body_handle){.n_z = n};
    luaL_setmetatable(L, BODY_META);
    hl_id *states = lua_newuserdatauv(L, (size_t)(2 * n + 1) * sizeof *states, 0);
    recording *inner = NULL;
    hl_status st = hl_recording_new(true, &inner);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    inner->outer = h->current;
    inner->outer_serial = h->current_serial;
    const int no_grad = h->no_grad;
    h->current = inner;
    h->current_serial = ++h->last_serial;
    h->no_grad = 0; /* how a solution is differentiated is decided where the body is used */
    lua_pushcfunction(L, record_step);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 4);
    const int status = lua_pcall(L, 3, 0, 0);
    h->current = inner->outer;
    h->current_serial = inner->outer_serial;
    h->no_grad = no_grad;
    if (status == LUA_OK) {
        st = make_body(inner, states, n, &b->body);
        keep_captures(L, 3, inner);
    }
    hl_recording_unref(inner);
    if (status != LUA_OK)
        return lua_error(L);
    lua_settop(L, 3);
    return st == HL_OK ? 1 : hl_lua_raise(L, st);
}

/* --- using one --- */

/* Ids of the states (list at arg 3) and the captured values. */
static hl_id *gather(lua_State *L, const body_handle *b)
{
    luaL_checktype(L, 3, LUA_TTABLE);
    hl_id *in = lua_newuserdatauv(L, (size_t)(b->body->n_in + 1) * sizeof *in, 0);
    if ((int)lua_rawlen(L, 3) != b->n_z)
        luaL_argerror(L, 3, "as many states as the body has");
    lua_getiuservalue(L, 2, 1);
    for (int i = 0; i < b->body->n_in; i++) {
        lua_rawgeti(L, i < b->n_z ? 3 : -1, i < b->n_z ? i + 1 : i - b->n_z + 1);
        in[i] = hl_lua_value_of(L, hl_lua_check_tensor(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return in;
}

/* body_call(op, body, {z…}, options) -> every output of the node, as a list. A solution carries no
 * gradient of its own (engine/solve/fixed_point_op.c). */
int hl_lua_body_call(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    const hl_op *op = hl_op_find(luaL_checkstring(L, 1));
    const body_handle *b = luaL_checkudata(L, 2, BODY_META);
    if (!op || !(op->flags & HL_OP_BODY))
        return luaL_argerror(L, 1, "no op with a body");
    hl_attrs attrs = hl_op_defaults(op);
    if (lua_istable(L, 4)) {
        lua_pushvalue(L, 4);
        hl_lua_named_attrs(L, op, &attrs);
        lua_pop(L, 1);
    }
    hl_id *in = gather(L, b);
    char where[256];
    recording *r = h->current;
    const bool stop = h->no_grad > 0 || !op->vjp;
    r->g->where = hl_lua_where(L, where)[0] ? where : NULL;
    r->g->stop = stop;
    const hl_id out = hl_graph_append_body(r->g, op, in, b->body->n_in, &attrs, b->body);
    hl_status st = r->g->status;
    r->g->where = NULL;
    r->g->stop = false;
    r->g->status = HL_OK;
    if (st == HL_OK)
        st = hl_recording_sync(r);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    const int n = hl_graph_node_of(r->g, out)->n_out;
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        if (stop)
            r->grad.at[out + i] = 0;
        hl_lua_push_value(L, out + i);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* --- vector-Jacobian products --- */

static hl_id id_at(lua_State *L, int list, int i)
{
    lua_rawgeti(L, list, i + 1);
    const hl_id id = hl_lua_value_of(L, hl_lua_check_tensor(L, -1));
    lua_pop(L, 1);
    return id;
}

/* vjp({y…}, {v…}, {x…}) -> list of sum_i v_i dy_i/dx_k, nil where no y depends on x_k */
int hl_lua_vjp(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    for (int arg = 1; arg <= 3; arg++)
        luaL_checktype(L, arg, LUA_TTABLE);
    const int n_y = (int)lua_rawlen(L, 1), n_x = (int)lua_rawlen(L, 3);
    if ((int)lua_rawlen(L, 2) != n_y)
        return luaL_argerror(L, 2, "as many cotangents as values");
    hl_cotangent *y = lua_newuserdatauv(L, (size_t)(n_y + 1) * sizeof *y, 0);
    hl_id *x = lua_newuserdatauv(L, (size_t)(2 * n_x + 1) * sizeof *x, 0), *grads = x + n_x;
    for (int i = 0; i < n_y; i++)
        y[i] = (hl_cotangent){id_at(L, 1, i), id_at(L, 2, i)};
    for (int i = 0; i < n_x; i++)
        x[i] = id_at(L, 3, i);
    hl_status st = hl_pass_vjp_of(h->current->g, y, n_y, x, n_x, grads);
    h->current->g->status = HL_OK;
    if (st == HL_OK)
        st = hl_recording_sync(h->current);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    lua_createtable(L, n_x, 0);
    for (int i = 0; i < n_x; i++) {
        if (grads[i] == HL_NONE)
            continue;
        hl_lua_push_value(L, grads[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

void hl_lua_open_solve(lua_State *L)
{
    luaL_newmetatable(L, BODY_META);
    lua_pushcfunction(L, body_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}
