/* Recording and evaluating the session's graph.
 *
 * DESIGN. An operation appends a node to the current recording. When a value is asked for, the part
 * of the session's graph that leads to it is cut where values are known already, compiled (found in
 * the cache when its like has been compiled before) and run; live tensors on the way get their values
 * in the same run. Numbers become inputs of the session's graph, so that another number compiles
 * nothing; inside a trace they are constants.
 *
 * The session's graph only grows; when it has grown a lot, it is rebuilt from what live tensors still
 * need. History behind a known value is kept only while a gradient may flow through it. */
#include <string.h>

#include "app/lua/host_internal.h"
#include "engine/base/rng.h"

enum { COMPACT_NODES = 4096, GIVEN_MAX = 64 << 20 };

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
    hl_vec_done(&r->captures);
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
    r->grad.at[id] = s->grad;
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
    if (h->current->outer)
        return hl_lua_capture(L, s);
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

/* Tensors alive whose values come about on the way. There may be tens of thousands of them, dead ones
 * that the collector has not met: nothing here is quadratic. place: of a value in the list, from 1. */
static hl_status collect_wanted(hl_lua *h, const bool *needed, hl_id want, int *place, hl_id **ids,
                                int *n)
{
    const recording *r = h->session;
    HL_VEC(hl_id) list = {0};
    hl_status st = hl_vec_push(&list, want);
    place[want] = 1;
    for (size_t i = 0; i < h->slots.n && st == HL_OK; i++) {
        const slot *s = &h->slots.at[i];
        if (s->rec != r || s->storage || s->id == HL_NONE || place[s->id] || r->known.at[s->id] ||
            r->g->values.at[s->id].kind != HL_VALUE_NODE ||
            !needed[r->g->values.at[s->id].node])
            continue;
        st = hl_vec_push(&list, s->id);
        place[s->id] = (int)list.n;
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

static hl_status give_values(hl_lua *h, const hl_program *p, const int *place)
{
    recording *r = h->session;
    for (size_t i = 0; i < h->slots.n; i++) {
        slot *s = &h->slots.at[i];
        if (s->rec != r || s->storage || s->id == HL_NONE || !place[s->id])
            continue;
        hl_storage *made = r->known.at[s->id];
        if (made) {
            s->storage = hl_storage_ref(made);
            continue;
        }
        hl_status st = hl_storage_new(&s->type, h->o.fp64, &made);
        if (st != HL_OK)
            return st;
        memcpy(made->data, hl_program_output(p, place[s->id] - 1), made->bytes);
        h->given += made->bytes;
        r->known.at[s->id] = made;
        s->storage = made;
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
                      .n_workers = h->o.team ? h->o.team->n : 1,
                      .device = hl_device_current()};
    hl_program *p;
    HL_TRY(hl_program_cache_get(h->cache, part, &how, &p, NULL));
    for (int i = 0; i < hl_program_n_bindings(p); i++) {
        const hl_storage *s = hl_program_binding(p, i)->mark;
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
    int *place = hl_alloc_zero(r->g->values.n + 1, sizeof *place);
    if (!needed || !place) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(hl_recording_sync(r));
    mark_needed(r, want, needed);
    HL_TRY(collect_wanted(h, needed, want, place, &ids, &n));
    HL_TRY(run_cut(h, ids, n, &p));
    HL_TRY(give_values(h, p, place));
out:
    hl_free(place);
    hl_free(needed);
    hl_free(ids);
    return st;
}

/* Lua sees small handles, not the bytes behind them, and would keep dead tensors for long; and what
 * has a handle gets its value when it lies on the way. */
static void collect_in_proportion(hl_lua *h)
{
    if (h->given < GIVEN_MAX)
        return;
    lua_gc(h->L, LUA_GCCOLLECT);
    h->given = 0;
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
    collect_in_proportion(h);
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
            s->leaf_serial = h->last_serial + 1;
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
    h->current_serial = ++h->last_serial;
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
