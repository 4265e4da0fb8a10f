/* Tensors of scripts: userdata, methods, metatable.
 *
 * DESIGN. A userdata holds (slot, generation); the slot says where the tensor is recorded (a value of
 * a recording's graph), or what its value is (a storage), or both. lua_record.c records and
 * evaluates. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/lua/host_internal.h"

/* --- slots --- */

typedef struct handle {
    uint32_t slot, gen;
} handle;

static hl_status new_slot(hl_lua *h, uint32_t *out)
{
    if (h->free_slots.n) {
        *out = h->free_slots.at[--h->free_slots.n];
    } else {
        *out = (uint32_t)h->slots.n;
        hl_status st = hl_vec_push(&h->slots, (slot){0});
        if (st == HL_OK) /* room to free it again without asking for memory */
            st = hl_vec_reserve(&h->free_slots, h->slots.n);
        if (st != HL_OK)
            return st;
    }
    slot *s = &h->slots.at[*out];
    *s = (slot){.gen = s->gen + 1, .id = HL_NONE, .leaf_id = HL_NONE, .grad_ref = LUA_NOREF};
    return HL_OK;
}

/* Pushes a userdata for a fresh slot, filled in by the caller. */
static slot *push_slot(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    handle *u = lua_newuserdatauv(L, sizeof *u, 0);
    *u = (handle){0};
    luaL_setmetatable(L, HL_TENSOR_META);
    uint32_t i;
    hl_status st = new_slot(h, &i);
    if (st != HL_OK)
        hl_lua_raise(L, st);
    *u = (handle){i, h->slots.at[i].gen};
    return &h->slots.at[i];
}

slot *hl_lua_test_tensor(lua_State *L, int arg)
{
    const handle *u = luaL_testudata(L, arg, HL_TENSOR_META);
    hl_lua *h = hl_lua_of(L);
    if (!u || u->gen == 0 || u->slot >= h->slots.n || h->slots.at[u->slot].gen != u->gen)
        return NULL;
    return &h->slots.at[u->slot];
}

slot *hl_lua_check_tensor(lua_State *L, int arg)
{
    luaL_checkudata(L, arg, HL_TENSOR_META);
    slot *s = hl_lua_test_tensor(L, arg);
    if (!s)
        luaL_argerror(L, arg, "this tensor was freed");
    return s;
}

void hl_lua_push_value(lua_State *L, hl_id id)
{
    hl_lua *h = hl_lua_of(L);
    slot *s = push_slot(L);
    s->rec = h->current;
    s->rec->refs++;
    s->id = id;
    s->type = *hl_graph_type(s->rec->g, id);
}

void hl_lua_push_storage(lua_State *L, hl_storage *st)
{
    slot *s = push_slot(L);
    s->storage = st;
    s->type = st->type;
    /* Lua's collector does not see these bytes: make it work in proportion. */
    if (st->bytes >= 1024)
        lua_gc(L, LUA_GCSTEP, (int)(st->bytes / 1024 < 1000000 ? st->bytes / 1024 : 1000000));
}

/* The recording borrows a value from the slot that holds it: it is computed anew when it is needed
 * after that slot lets go. */
static void forget_known(const slot *s)
{
    if (s->rec && s->storage && s->id != HL_NONE && (size_t)s->id < s->rec->known.n &&
        s->rec->known.at[s->id] == s->storage)
        s->rec->known.at[s->id] = NULL;
}

static int tensor_gc(lua_State *L)
{
    handle *u = luaL_checkudata(L, 1, HL_TENSOR_META);
    hl_lua *h = hl_lua_of(L);
    if (u->gen == 0 || u->slot >= h->slots.n || h->slots.at[u->slot].gen != u->gen)
        return 0;
    slot *s = &h->slots.at[u->slot];
    forget_known(s);
    hl_storage_unref(s->storage);
    hl_recording_unref(s->rec);
    hl_free(s->name);
    luaL_unref(L, LUA_REGISTRYINDEX, s->grad_ref);
    *s = (slot){.gen = s->gen + 1, .grad_ref = LUA_NOREF};
    h->free_slots.at[h->free_slots.n++] = u->slot;
    u->gen = 0;
    return 0;
}

/* --- metatable --- */

static void describe_numbers(const hl_storage *s, hl_str *out)
{
    const int64_t n = hl_type_count(&s->type);
    double lo = HUGE_VAL, hi = -HUGE_VAL, sum = 0;
    int64_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        double x = hl_storage_get(s, i);
        if (!isfinite(x)) {
            bad++;
            continue;
        }
        lo = x < lo ? x : lo;
        hi = x > hi ? x : hi;
        sum += x;
    }
    if (n > bad)
        hl_str_addf(out, " min %.6g max %.6g mean %.6g", lo, hi, sum / (double)(n - bad));
    if (bad)
        hl_str_addf(out, ", %lld not finite", (long long)bad);
    hl_str_add(out, "\n");
    const int64_t cols = s->type.rank ? s->type.dim[s->type.rank - 1] : 1;
    const int64_t rows = cols ? n / cols : 0;
    for (int64_t r = 0; r < rows && r < 4; r++) {
        for (int64_t c = 0; c < cols && c < 8; c++)
            hl_str_addf(out, "%s%10.5g", c ? " " : "  ", hl_storage_get(s, r * cols + c));
        hl_str_add(out, cols > 8 ? "  …\n" : "\n");
    }
    if (rows > 4)
        hl_str_add(out, "  …\n");
}

static int tensor_tostring(lua_State *L)
{
    slot *s = hl_lua_test_tensor(L, 1);
    char type[96];
    if (!s) {
        lua_pushliteral(L, "tensor (freed)");
        return 1;
    }
    hl_type_text(type, &s->type);
    if (s->rec && s->rec->traced) {
        lua_pushfstring(L, "tensor %s (traced)", type);
        return 1;
    }
    hl_storage *st = hl_lua_known(L, s);
    hl_str text = {0};
    hl_str_addf(&text, "tensor %s cpu", type);
    describe_numbers(st, &text);
    while (text.n && text.s[text.n - 1] == '\n')
        text.s[--text.n] = '\0';
    lua_pushstring(L, hl_str_text(&text));
    hl_str_done(&text);
    return 1;
}

static int tensor_item(lua_State *L)
{
    slot *s = hl_lua_check_tensor(L, 1);
    char shape[96];
    if (hl_type_count(&s->type) != 1) {
        (void)hl_err_set(HL_E_SHAPE, "item: a tensor of shape %s is not one number",
                         hl_shape_text(shape, &s->type));
        return hl_lua_raise_hint(L, HL_E_SHAPE, "t:table() gives all of a small tensor");
    }
    const bool whole = s->type.dtype == HL_DTYPE_I32 || s->type.dtype == HL_DTYPE_I64;
    double x = hl_storage_get(hl_lua_known(L, s), 0);
    if (whole)
        lua_pushinteger(L, (lua_Integer)x);
    else if (s->type.dtype == HL_DTYPE_BOOL)
        lua_pushboolean(L, x != 0);
    else
        lua_pushnumber(L, x);
    return 1;
}

static void push_nested(lua_State *L, const hl_storage *s, int dim, int64_t *at)
{
    luaL_checkstack(L, 4, "a deep table");
    if (dim == s->type.rank) {
        double x = hl_storage_get(s, (*at)++);
        if (hl_dtype_is_float(s->type.dtype))
            lua_pushnumber(L, x);
        else
            lua_pushinteger(L, (lua_Integer)x);
        return;
    }
    const int64_t n = s->type.dim[dim];
    lua_createtable(L, (int)n, 0);
    for (int64_t i = 0; i < n; i++) {
        push_nested(L, s, dim + 1, at);
        lua_rawseti(L, -2, i + 1);
    }
}

static int tensor_table(lua_State *L)
{
    slot *s = hl_lua_check_tensor(L, 1);
    bool force = lua_istable(L, 2) && (lua_getfield(L, 2, "force"), lua_toboolean(L, -1));
    int64_t n = hl_type_count(&s->type), at = 0;
    if (n > 1000000 && !force) {
        (void)hl_err_set(HL_E_ARG, "table: %lld elements would make a very large Lua table",
                         (long long)n);
        return hl_lua_raise_hint(L, HL_E_ARG, "t:table{force = true}, or hop.save");
    }
    push_nested(L, hl_lua_known(L, s), 0, &at);
    return 1;
}

static int tensor_size(lua_State *L)
{
    slot *s = hl_lua_check_tensor(L, 1);
    if (lua_isnoneornil(L, 2)) {
        lua_createtable(L, s->type.rank, 0);
        for (int i = 0; i < s->type.rank; i++) {
            lua_pushinteger(L, s->type.dim[i]);
            lua_rawseti(L, -2, i + 1);
        }
        return 1;
    }
    lua_Integer d = luaL_checkinteger(L, 2);
    lua_Integer k = d < 0 ? d + s->type.rank : d - 1;
    if (d == 0 || k < 0 || k >= s->type.rank)
        return luaL_argerror(L, 2, d == 0 ? "dimensions start at 1" : "no such dimension");
    lua_pushinteger(L, s->type.dim[k]);
    return 1;
}

static int tensor_dim(lua_State *L)
{
    lua_pushinteger(L, hl_lua_check_tensor(L, 1)->type.rank);
    return 1;
}

static int tensor_numel(lua_State *L)
{
    lua_pushinteger(L, hl_type_count(&hl_lua_check_tensor(L, 1)->type));
    return 1;
}

static int tensor_dtype(lua_State *L)
{
    lua_pushstring(L, hl_dtype_name(hl_lua_check_tensor(L, 1)->type.dtype));
    return 1;
}

static int tensor_len(lua_State *L)
{
    slot *s = hl_lua_check_tensor(L, 1);
    lua_pushinteger(L, s->type.rank ? s->type.dim[0] : 1);
    return 1;
}

/* a:rebind_(b): a stands for what b is from now on (in-place methods) */
static int tensor_rebind(lua_State *L)
{
    slot *a = hl_lua_check_tensor(L, 1), *b = hl_lua_check_tensor(L, 2);
    if (a->param || a->grad) {
        (void)hl_err_set(HL_E_ARG, "in-place change of a parameter or of a tensor with grad = true");
        return hl_lua_raise(L, HL_E_ARG);
    }
    if (!hl_shape_equal(&a->type, &b->type)) {
        char x[96], y[96];
        (void)hl_err_set(HL_E_SHAPE, "an in-place method cannot change the shape from %s to %s",
                         hl_shape_text(x, &a->type), hl_shape_text(y, &b->type));
        return hl_lua_raise(L, HL_E_SHAPE);
    }
    if (a != b) {
        hl_storage *st = b->storage ? hl_storage_ref(b->storage) : NULL;
        recording *r = b->rec;
        if (r)
            r->refs++;
        forget_known(a);
        hl_storage_unref(a->storage);
        hl_recording_unref(a->rec);
        a->storage = st;
        a->rec = r;
        a->id = b->id;
        a->type = b->type;
        a->leaf_rec = NULL;
    }
    lua_settop(L, 1);
    return 1;
}

/* The same value, without a way back for gradients. */
static int tensor_detach(lua_State *L)
{
    slot *s = hl_lua_check_tensor(L, 1);
    if (s->storage || !(s->rec && s->rec->traced)) {
        hl_lua_push_storage(L, hl_storage_ref(hl_lua_known(L, s)));
        return 1;
    }
    recording *r = hl_lua_of(L)->current;
    const hl_id x = hl_lua_value_of(L, s);
    hl_attrs same = hl_op_defaults(hl_op_get(HL_OP_ID_reshape));
    same.n_dims = s->type.rank;
    memcpy(same.dims, s->type.dim, sizeof same.dims);
    r->g->stop = true;
    const hl_id out = hl_graph_append(r->g, hl_op_get(HL_OP_ID_reshape), &x, 1, &same);
    r->g->stop = false;
    hl_status st = out == HL_NONE ? r->g->status : hl_recording_sync(r);
    if (st != HL_OK)
        return hl_lua_raise(L, st);
    r->grad.at[out] = 0;
    hl_lua_push_value(L, out);
    return 1;
}

static int tensor_grad_get(lua_State *L)
{
    slot *s = hl_lua_check_tensor(L, 1);
    if (s->grad_ref == LUA_NOREF)
        lua_pushnil(L);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->grad_ref);
    return 1;
}

static int tensor_grad_clear(lua_State *L)
{
    slot *s = hl_lua_check_tensor(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, s->grad_ref);
    s->grad_ref = LUA_NOREF;
    return 0;
}

/* loss:backward(): adds to .grad of every leaf made with grad = true. */
static int tensor_backward(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    hl_id loss = hl_lua_value_of(L, hl_lua_check_tensor(L, 1));
    recording *r = h->current;
    hl_status st = HL_OK;
    HL_VEC(hl_id) wrt = {0};
    HL_VEC(uint32_t) slots = {0};
    for (size_t i = 0; i < h->slots.n && st == HL_OK; i++) {
        const slot *s = &h->slots.at[i];
        if (!s->grad || s->leaf_rec != r || s->leaf_serial != h->current_serial ||
            s->leaf_id == HL_NONE)
            continue;
        st = hl_vec_push(&wrt, s->leaf_id);
        if (st == HL_OK)
            st = hl_vec_push(&slots, (uint32_t)i);
    }
    hl_id *grads = hl_alloc((wrt.n + 1) * sizeof *grads);
    if (st == HL_OK && !grads)
        st = HL_E_NOMEM;
    if (st == HL_OK)
        st = hl_pass_grad(r->g, loss, wrt.at, (int)wrt.n, grads);
    if (st == HL_OK)
        st = hl_recording_sync(r);
    for (size_t k = 0; k < wrt.n && st == HL_OK; k++) {
        if (grads[k] == HL_NONE)
            continue;
        slot *s = &h->slots.at[slots.at[k]];
        hl_id g = grads[k];
        if (s->grad_ref != LUA_NOREF) {
            lua_rawgeti(L, LUA_REGISTRYINDEX, s->grad_ref);
            g = hl_g_add(r->g, hl_lua_value_of(L, hl_lua_check_tensor(L, -1)), g);
            lua_pop(L, 1);
            st = hl_recording_sync(r);
        }
        hl_lua_push_value(L, g);
        s = &h->slots.at[slots.at[k]];
        luaL_unref(L, LUA_REGISTRYINDEX, s->grad_ref);
        s->grad_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    hl_vec_done(&wrt);
    hl_vec_done(&slots);
    hl_free(grads);
    return st == HL_OK ? 0 : hl_lua_raise(L, st);
}

static int tensor_require_grad(lua_State *L)
{
    slot *s = hl_lua_check_tensor(L, 1);
    (void)hl_lua_known(L, s);
    s = hl_lua_check_tensor(L, 1);
    /* a leaf from now on: what led to it is not differentiated */
    hl_recording_unref(s->rec);
    s->rec = NULL;
    s->id = HL_NONE;
    s->grad = true;
    s->leaf_rec = NULL;
    lua_settop(L, 1);
    return 1;
}

static int tensor_is_param(lua_State *L)
{
    lua_pushboolean(L, hl_lua_check_tensor(L, 1)->param);
    return 1;
}

/* t:set_(u): copies the values of u into the storage of t, which keeps its identity (parameters) */
static int tensor_copy(lua_State *L)
{
    slot *b = hl_lua_check_tensor(L, 2);
    const hl_storage *from = hl_lua_known(L, b);
    slot *a = hl_lua_check_tensor(L, 1);
    hl_storage *to = hl_lua_known(L, a);
    char x[96], y[96];
    if (!hl_shape_equal(&to->type, &from->type)) {
        (void)hl_err_set(HL_E_SHAPE, "cannot set a tensor of shape %s from one of shape %s",
                         hl_shape_text(x, &to->type), hl_shape_text(y, &from->type));
        return hl_lua_raise(L, HL_E_SHAPE);
    }
    hl_status st = hl_storage_load(to, from->data, from->stored, hl_type_count(&from->type));
    lua_settop(L, 1);
    return st == HL_OK ? 1 : hl_lua_raise(L, st);
}

/* alias(t): another handle of the same value; in-place methods on one leave the other alone */
int hl_lua_alias(lua_State *L)
{
    slot *s = hl_lua_check_tensor(L, 1);
    const hl_id id = hl_lua_value_of(L, s);
    hl_lua_push_value(L, id);
    return 1;
}

/* a < b, a <= b: Lua would make a boolean of whatever came back. */
static int compared(lua_State *L)
{
    (void)hl_err_set(HL_E_ARG, "a comparison of tensors is no single true or false");
    return hl_lua_raise_hint(L, HL_E_ARG,
                             "t:lt(x), t:le(x), t:gt(x) compare elements; T.where chooses by them");
}

static const luaL_Reg methods[] = {
    {"item", tensor_item},       {"table", tensor_table},
    {"size", tensor_size},       {"dim", tensor_dim},
    {"numel", tensor_numel},     {"dtype", tensor_dtype},
    {"rebind_", tensor_rebind},  {"detach", tensor_detach},
    {"get_grad", tensor_grad_get}, {"clear_grad", tensor_grad_clear},
    {"backward", tensor_backward}, {"require_grad", tensor_require_grad},
    {"is_param", tensor_is_param}, {"set_", tensor_copy},
    {NULL, NULL},
};

/* t.grad is a field; everything else is a method. Upvalue: the method table. */
static int tensor_index(lua_State *L)
{
    if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "grad") == 0)
        return tensor_grad_get(L);
    if (lua_type(L, 2) == LUA_TNUMBER) { /* t[i] */
        lua_getfield(L, lua_upvalueindex(1), "select");
        lua_pushvalue(L, 1);
        lua_pushinteger(L, 1);
        lua_pushvalue(L, 2);
        lua_call(L, 3, 1);
        return 1;
    }
    lua_pushvalue(L, 2);
    if (lua_gettable(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    (void)hl_err_set(HL_E_ARG, "a tensor has no method or field '%s'", luaL_tolstring(L, 2, NULL));
    return hl_lua_raise(L, HL_E_ARG);
}

/* Arithmetic metamethods look their method up, so that Lua code can refine it. Upvalues: methods,
 * name, number of operands (Lua gives that of the minus sign twice). */
static int arithmetic(lua_State *L)
{
    lua_settop(L, (int)lua_tointeger(L, lua_upvalueindex(3)));
    lua_getfield(L, lua_upvalueindex(1), lua_tostring(L, lua_upvalueindex(2)));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

void hl_lua_open_tensor(lua_State *L)
{
    static const char *const meta_methods[][2] = {
        {"__add", "add"}, {"__sub", "sub"}, {"__mul", "mul"},      {"__div", "div"},
        {"__pow", "pow"}, {"__unm", "neg"}, {"__idiv", "floordiv"},
    };
    luaL_newmetatable(L, HL_TENSOR_META);
    const int meta = lua_gettop(L);
    lua_newtable(L); /* methods, and the module T */
    luaL_setfuncs(L, methods, 0);
    const int module = lua_gettop(L);
    for (size_t i = 0; i < sizeof meta_methods / sizeof meta_methods[0]; i++) {
        lua_pushvalue(L, module);
        lua_pushstring(L, meta_methods[i][1]);
        lua_pushinteger(L, strcmp(meta_methods[i][0], "__unm") == 0 ? 1 : 2);
        lua_pushcclosure(L, arithmetic, 3);
        lua_setfield(L, meta, meta_methods[i][0]);
    }
    lua_pushvalue(L, module);
    lua_pushcclosure(L, tensor_index, 1);
    lua_setfield(L, meta, "__index");
    lua_pushcfunction(L, tensor_gc);
    lua_setfield(L, meta, "__gc");
    lua_pushcfunction(L, tensor_gc);
    lua_setfield(L, meta, "__close");
    lua_pushcfunction(L, compared);
    lua_setfield(L, meta, "__lt");
    lua_pushcfunction(L, compared);
    lua_setfield(L, meta, "__le");
    lua_pushcfunction(L, tensor_tostring);
    lua_setfield(L, meta, "__tostring");
    lua_pushcfunction(L, tensor_len);
    lua_setfield(L, meta, "__len");
    lua_pushliteral(L, "tensor");
    lua_setfield(L, meta, "__metatable");
    lua_replace(L, meta); /* the module takes its place on the stack */
}
