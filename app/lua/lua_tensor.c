/* Tensors of scripts.
 *
 * DESIGN. A userdata holds (slot, generation); the slot says where the tensor is recorded (a value of
 * a recording's graph), or what its value is (a storage), or both. An operation appends a node to the
 * current recording. When a value is asked for, the part of the session's graph that leads to it is
 * cut where values are known already, compiled (found in the cache when its like has been compiled
 * before) and run; live tensors on the way get their values in the same run. Numbers become inputs of
 * the session's graph, so that another number compiles nothing; inside a trace they are constants.
 *
 * The session's graph only grows; when it has grown a lot, it is rebuilt from what live tensors still
 * need. History behind a known value is kept only while a gradient may flow through it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/lua/host_internal.h"
#include "engine/base/rng.h"

enum { COMPACT_NODES = 4096 };

/* --- recordings --- */

hl_status hl_recording_new(bool traced, recording **out)
{
    recording *r = hl_alloc_zero(1, sizeof *r);
    if (!r)
        return HL_E_NOMEM;
    hl_status st = hl_graph_new(&r->g);
    if (st != HL_OK) {
        hl_free(r);
        return st;
    }
    r->traced = traced;
    r->refs = 1;
    *out = r;
    return HL_OK;
}

void hl_recording_unref(recording *r)
{
    if (!r || --r->refs > 0)
        return;
    for (size_t i = 0; i < r->leaves.n; i++)
        hl_storage_unref(r->leaves.at[i]);
    hl_vec_done(&r->leaves);
    hl_vec_done(&r->known);
    hl_vec_done(&r->grad);
    hl_graph_free(r->g);
    hl_free(r);
}

hl_status hl_recording_sync(recording *r)
{
    hl_status st = HL_OK;
    HL_TRY(hl_vec_reserve(&r->known, r->g->values.n));
    HL_TRY(hl_vec_reserve(&r->grad, r->g->values.n));
    for (; r->known.n < r->g->values.n; r->known.n++)
        r->known.at[r->known.n] = NULL;
    for (; r->grad.n < r->g->values.n; r->grad.n++) {
        const hl_node *n = hl_graph_node_of(r->g, (hl_id)r->grad.n);
        unsigned char flows = 0;
        for (int i = 0; n && i < n->n_in && !flows; i++)
            flows = n->in[i] != HL_NONE && r->grad.at[n->in[i]];
        r->grad.at[r->grad.n] = flows;
    }
out:
    return st;
}

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

static int tensor_gc(lua_State *L)
{
    handle *u = luaL_checkudata(L, 1, HL_TENSOR_META);
    hl_lua *h = hl_lua_of(L);
    if (u->gen == 0 || u->slot >= h->slots.n || h->slots.at[u->slot].gen != u->gen)
        return 0;
    slot *s = &h->slots.at[u->slot];
    if (s->rec && s->storage && s->id != HL_NONE && (size_t)s->id < s->rec->known.n &&
        s->rec->known.at[s->id] == s->storage)
        s->rec->known.at[s->id] = NULL;
    hl_storage_unref(s->storage);
    hl_recording_unref(s->rec);
    hl_free(s->name);
    luaL_unref(L, LUA_REGISTRYINDEX, s->grad_ref);
    *s = (slot){.gen = s->gen + 1, .grad_ref = LUA_NOREF};
    h->free_slots.at[h->free_slots.n++] = u->slot;
    u->gen = 0;
    return 0;
}

/* --- leaves --- */

static hl_id make_leaf(hl_lua *h, slot *s)
{
    recording *r = h->current;
    hl_id id = s->param ? hl_graph_state(r->g, s->name ? s->name : "parameter", s->type)
                        : hl_graph_input(r->g, s->name ? s->name : "value", s->type);
    if (id == HL_NONE || hl_vec_push(&r->leaves, hl_storage_ref(s->storage)) != HL_OK ||
        hl_recording_sync(r) != HL_OK)
        return HL_NONE;
    r->g->values.at[id].data = s->storage;
    r->known.at[id] = r->traced ? NULL : s->storage;
    r->grad.at[id] = s->grad && !h->no_grad;
    s->leaf_rec = r;
    s->leaf_serial = h->current_serial;
    s->leaf_id = id;
    return id;
}

hl_id hl_lua_value_of(lua_State *L, slot *s)
{
    hl_lua *h = hl_lua_of(L);
    if (s->rec == h->current && s->id != HL_NONE)
        return s->id;
    if (s->storage) {
        if (s->leaf_rec == h->current && s->leaf_serial == h->current_serial)
            return s->leaf_id;
        hl_id id = make_leaf(h, s);
        if (id == HL_NONE)
            hl_lua_raise(L, hl_err_code());
        return id;
    }
    if (s->rec && !s->rec->traced) { /* a session tensor captured by a trace: its value is a constant */
        recording *trace = h->current;
        h->current = h->session;
        (void)hl_lua_known(L, s);
        h->current = trace;
        return hl_lua_value_of(L, s);
    }
    (void)hl_err_set(HL_E_STATE, "this tensor belongs to a trace that has ended");
    hl_lua_raise(L, HL_E_STATE);
    return HL_NONE;
}

/* --- evaluation --- */

/* Values of the session that must be computed for `want`: marks nodes. */
static void mark_needed(const recording *r, hl_id want, bool *needed)
{
    const hl_graph *g = r->g;
    const hl_node *top = hl_graph_node_of(g, want);
    if (!top)
        return;
    needed[top - g->nodes.at] = true;
    for (size_t n = (size_t)(top - g->nodes.at) + 1; n-- > 0;)
        for (int i = 0; needed[n] && i < g->nodes.at[n].n_in; i++) {
            const hl_id v = g->nodes.at[n].in[i];
            if (v == HL_NONE || r->known.at[v] || g->values.at[v].kind != HL_VALUE_NODE)
                continue;
            needed[g->values.at[v].node] = true;
        }
}

/* Tensors alive whose values come about on the way. */
static hl_status collect_wanted(hl_lua *h, const bool *needed, hl_id want, hl_id **ids, int *n)
{
    const recording *r = h->session;
    HL_VEC(hl_id) list = {0};
    hl_status st = hl_vec_push(&list, want);
    for (size_t i = 0; i < h->slots.n && st == HL_OK; i++) {
        const slot *s = &h->slots.at[i];
        if (s->rec != r || s->storage || s->id == want || s->id == HL_NONE ||
            r->known.at[s->id] || r->g->values.at[s->id].kind != HL_VALUE_NODE ||
            !needed[r->g->values.at[s->id].node])
            continue;
        bool listed = false;
        for (size_t k = 0; k < list.n && !listed; k++)
            listed = list.at[k] == s->id;
        if (!listed)
            st = hl_vec_push(&list, s->id);
    }
    *ids = list.at;
    *n = (int)list.n;
    return st;
}

/* The random nodes of a part of the session are renumbered from 0, so that the same expression finds
 * its program again; the base carries the difference. */
static uint32_t rebase_streams(hl_graph *g)
{
    uint32_t least = UINT32_MAX;
    for (size_t i = 0; i < g->nodes.n; i++)
        if ((g->nodes.at[i].op->flags & HL_OP_RANDOM) && g->nodes.at[i].stream < least)
            least = g->nodes.at[i].stream;
    for (size_t i = 0; i < g->nodes.n && least != UINT32_MAX; i++)
        if (g->nodes.at[i].op->flags & HL_OP_RANDOM)
            g->nodes.at[i].stream -= least;
    return least == UINT32_MAX ? 0 : least;
}

static hl_status give_values(hl_lua *h, const hl_program *p, const hl_id *ids, int n)
{
    recording *r = h->session;
    for (int k = 0; k < n; k++) {
        hl_storage *made = NULL;
        for (size_t i = 0; i < h->slots.n; i++) {
            slot *s = &h->slots.at[i];
            if (s->rec != r || s->id != ids[k] || s->storage)
                continue;
            if (!made) {
                hl_status st = hl_storage_new(&s->type, h->o.fp64, &made);
                if (st != HL_OK)
                    return st;
                memcpy(made->data, hl_program_output(p, k), made->bytes);
                r->known.at[ids[k]] = made;
                s->storage = made;
            } else {
                s->storage = hl_storage_ref(made);
            }
        }
    }
    return HL_OK;
}

static hl_status run_cut(hl_lua *h, const hl_id *ids, int n, hl_program **out)
{
    hl_status st = HL_OK;
    hl_graph *part = NULL;
    recording *r = h->session;
    hl_id *map = hl_alloc((r->g->values.n + 1) * sizeof *map);
    hl_id *outs = hl_alloc((size_t)n * sizeof *outs);
    if (!map || !outs) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(hl_graph_extract_cut(r->g, ids, n, (void *const *)r->known.at, &part, map));
    for (int i = 0; i < n; i++)
        outs[i] = map[ids[i]];
    uint32_t base = rebase_streams(part);
    hl_compile how = {.outputs = outs, .n_outputs = n, .fp64 = h->o.fp64,
                      .n_workers = h->o.team ? h->o.team->n : 1};
    hl_program *p;
    HL_TRY(hl_program_cache_get(h->cache, part, &how, &p, NULL));
    /* The cached program's marks are those of the graph it was compiled from: bind by position. */
    for (int i = 0; i < hl_program_n_bindings(p); i++) {
        const hl_storage *s = NULL;
        int seen = 0;
        for (size_t v = 0; v < part->values.n && !s; v++)
            if (part->values.at[v].kind == HL_VALUE_INPUT ||
                part->values.at[v].kind == HL_VALUE_STATE)
                if (seen++ == i)
                    s = part->values.at[v].data;
        if (!s)
            HL_FAIL(HL_E_INTERNAL, "a leaf without its value");
        hl_program_bind(p, i, s->data);
    }
    hl_exec x = {.team = h->o.team, .seed = h->o.seed, .step = base >> 20,
                 .stream_base = ((uint32_t)HL_RNG_EAGER << 24) + (base & 0xFFFFF)};
    HL_TRY(hl_program_run(p, &x));
    *out = p;
out:
    hl_graph_free(part);
    hl_free(map);
    hl_free(outs);
    return st;
}

static hl_status evaluate(hl_lua *h, hl_id want)
{
    hl_status st = HL_OK;
    recording *r = h->session;
    hl_id *ids = NULL;
    int n = 0;
    hl_program *p = NULL;
    bool *needed = hl_alloc_zero(r->g->nodes.n + 1, sizeof *needed);
    if (!needed)
        return HL_E_NOMEM;
    HL_TRY(hl_recording_sync(r));
    mark_needed(r, want, needed);
    HL_TRY(collect_wanted(h, needed, want, &ids, &n));
    HL_TRY(run_cut(h, ids, n, &p));
    HL_TRY(give_values(h, p, ids, n));
out:
    hl_free(needed);
    hl_free(ids);
    return st;
}

hl_storage *hl_lua_known(lua_State *L, slot *s)
{
    hl_lua *h = hl_lua_of(L);
    if (s->storage)
        return s->storage;
    if (s->rec->traced || h->current->traced) {
        (void)hl_err_set(HL_E_STATE, "the value of a traced tensor is not known here");
        hl_lua_raise_hint(L, HL_E_STATE, "use T.where for choices that depend on values");
    }
    hl_status st = hl_recording_sync(s->rec);
    if (st == HL_OK && s->rec->known.at[s->id]) {
        s->storage = hl_storage_ref(s->rec->known.at[s->id]);
        return s->storage;
    }
    const uint32_t index = (uint32_t)(s - h->slots.at);
    if (st == HL_OK)
        st = evaluate(h, s->id);
    if (st == HL_E_NOMEM) { /* dead tensors may hold what is missing */
        lua_gc(L, LUA_GCCOLLECT);
        st = evaluate(h, h->slots.at[index].id);
    }
    if (st != HL_OK)
        hl_lua_raise(L, st);
    return h->slots.at[index].storage;
}

/* --- compaction of the session --- */

static hl_status compact(hl_lua *h)
{
    hl_status st = HL_OK;
    recording *old = h->session, *fresh = NULL;
    hl_graph *g = NULL;
    HL_VEC(hl_id) outs = {0};
    hl_storage **cut = hl_alloc_zero(old->g->values.n + 1, sizeof *cut);
    hl_id *map = hl_alloc((old->g->values.n + 1) * sizeof *map);
    HL_TRY(hl_recording_sync(old));
    if (!cut || !map) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (size_t v = 0; v < old->g->values.n; v++)
        cut[v] = old->grad.at[v] ? NULL : old->known.at[v];
    for (size_t i = 0; i < h->slots.n; i++)
        if (h->slots.at[i].rec == old && h->slots.at[i].id != HL_NONE)
            HL_TRY(hl_vec_push(&outs, h->slots.at[i].id));
    HL_TRY(hl_graph_extract_cut(old->g, outs.at, (int)outs.n, (void *const *)cut, &g, map));
    HL_TRY(hl_recording_new(false, &fresh));
    hl_graph_free(fresh->g);
    fresh->g = g;
    g = NULL;
    for (size_t v = 0; v < fresh->g->values.n; v++)
        if (fresh->g->values.at[v].data)
            HL_TRY(hl_vec_push(&fresh->leaves, hl_storage_ref(fresh->g->values.at[v].data)));
    HL_TRY(hl_vec_reserve(&fresh->grad, fresh->g->values.n + 1));
    HL_TRY(hl_vec_reserve(&fresh->known, fresh->g->values.n + 1));
    fresh->grad.n = fresh->known.n = fresh->g->values.n;
    memset(fresh->known.at, 0, fresh->known.n * sizeof *fresh->known.at);
    for (size_t v = 0; v < old->g->values.n; v++)
        if (map[v] != HL_NONE) {
            fresh->grad.at[map[v]] = old->grad.at[v];
            fresh->known.at[map[v]] = old->known.at[v];
        }
    for (size_t i = 0; i < h->slots.n; i++) {
        slot *s = &h->slots.at[i];
        if (s->leaf_rec == old && s->leaf_serial == h->current_serial) {
            s->leaf_id = map[s->leaf_id];
            s->leaf_rec = s->leaf_id == HL_NONE ? NULL : fresh;
            s->leaf_serial = h->current_serial + 1;
        }
        if (s->rec != old)
            continue;
        s->rec = fresh;
        fresh->refs++;
        s->id = map[s->id];
        old->refs--; /* the session's own reference goes last, below */
    }
    h->session = fresh;
    h->current = fresh;
    h->current_serial++;
    hl_recording_unref(old);
    fresh = NULL;
out:
    hl_recording_unref(fresh);
    hl_graph_free(g);
    hl_vec_done(&outs);
    hl_free(cut);
    hl_free(map);
    return st;
}

void hl_lua_maybe_compact(lua_State *L)
{
    hl_lua *h = hl_lua_of(L);
    if (h->current != h->session)
        return;
    size_t n = h->session->g->nodes.n + h->session->g->values.n / 4;
    if (n < h->compact_at || n < COMPACT_NODES)
        return;
    lua_gc(L, LUA_GCCOLLECT); /* only now are dead tensors known to be dead */
    hl_status st = compact(h);
    if (st != HL_OK)
        hl_lua_raise(L, st);
    h->compact_at = 2 * (h->session->g->nodes.n + h->session->g->values.n / 4);
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
    (void)hl_err_set(HL_E_UNSUPPORTED, "detach inside a trace");
    return hl_lua_raise(L, HL_E_UNSUPPORTED);
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

/* Arithmetic metamethods look their method up, so that Lua code can refine it. */
static int arithmetic(lua_State *L)
{
    lua_getfield(L, lua_upvalueindex(1), lua_tostring(L, lua_upvalueindex(2)));
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_call(L, 2, 1);
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
        lua_pushcclosure(L, arithmetic, 2);
        lua_setfield(L, meta, meta_methods[i][0]);
    }
    lua_pushvalue(L, module);
    lua_pushcclosure(L, tensor_index, 1);
    lua_setfield(L, meta, "__index");
    lua_pushcfunction(L, tensor_gc);
    lua_setfield(L, meta, "__gc");
    lua_pushcfunction(L, tensor_gc);
    lua_setfield(L, meta, "__close");
    lua_pushcfunction(L, tensor_tostring);
    lua_setfield(L, meta, "__tostring");
    lua_pushcfunction(L, tensor_len);
    lua_setfield(L, meta, "__len");
    lua_pushliteral(L, "tensor");
    lua_setfield(L, meta, "__metatable");
    lua_replace(L, meta); /* the module takes its place on the stack */
}
