/* Programs by structural identity of their graph. */
#include "engine/base/hash.h"
#include "engine/exec/program_internal.h"
#include "engine/pass/pass.h"

typedef struct entry {
    uint64_t hash;
    hl_program *program;
    hl_graph *graph; /* as last asked for, extracted: what identity is compared with, owner of the
                        names and lines that the program shows */
    int64_t used;    /* clock of the last use */
} entry;

struct hl_program_cache {
    HL_VEC(entry) entries;
    int max;
    int64_t clock;
};

/* Bytes of arenas that programs in the cache keep: as many as make the next run of each cheap, not
 * so many that expressions of ever new shapes fill a laptop. */
enum { ARENAS_MAX = 512 << 20 };

hl_status hl_program_cache_new(int max_programs, hl_program_cache **out)
{
    hl_program_cache *c = hl_alloc_zero(1, sizeof *c);
    if (!c)
        return HL_E_NOMEM;
    c->max = max_programs;
    *out = c;
    return HL_OK;
}

static void drop_entry(hl_program_cache *c, size_t i)
{
    hl_program_free(c->entries.at[i].program);
    hl_graph_free(c->entries.at[i].graph);
    c->entries.at[i] = c->entries.at[--c->entries.n];
}

void hl_program_cache_free(hl_program_cache *c)
{
    if (!c)
        return;
    while (c->entries.n)
        drop_entry(c, c->entries.n - 1);
    hl_vec_done(&c->entries);
    hl_free(c);
}

static size_t arena_bytes(const hl_program_cache *c)
{
    size_t sum = 0;
    for (size_t i = 0; i < c->entries.n; i++)
        sum += c->entries.at[i].program->arena_bytes;
    return sum;
}

/* For one more program, which may be larger than all of the room. */
static void make_room(hl_program_cache *c, const hl_program *next)
{
    while (c->entries.n &&
           ((int)c->entries.n >= c->max || arena_bytes(c) + next->arena_bytes > ARENAS_MAX)) {
        size_t oldest = 0;
        for (size_t i = 1; i < c->entries.n; i++)
            if (c->entries.at[i].used < c->entries.at[oldest].used)
                oldest = i;
        drop_entry(c, oldest);
    }
}

/* Makes the entry speak of the graph asked for now: same structure, but ids, marks, names and lines
 * of its own. Takes key over. */
static void adopt(entry *e, const hl_graph *g, const hl_id *map, hl_graph *key)
{
    hl_program *p = e->program;
    for (size_t v = 0; v < g->values.n; v++) {
        const int i = map[v] == HL_NONE ? -1 : p->binding_of[map[v]];
        if (i < 0)
            continue;
        p->bindings.at[i].value = (hl_id)v;
        p->bindings.at[i].mark = g->values.at[v].data;
        p->bindings.at[i].name = key->values.at[map[v]].name;
    }
    for (size_t k = 0; k < p->steps.n; k++)
        p->steps.at[k].where = key->nodes.at[k].where;
    hl_graph_free(e->graph);
    e->graph = key;
}

static bool is_entry(const entry *e, uint64_t hash, const hl_graph *key, const hl_compile *how,
                     const hl_id *map)
{
    const hl_program *p = e->program;
    bool same = e->hash == hash && p->fp64 == how->fp64 && p->n_outputs == how->n_outputs &&
                p->n_workers == hl_compile_workers(how) && hl_graph_same(e->graph, key);
    for (int k = 0; same && k < how->n_outputs; k++)
        same = p->outputs[k] == map[how->outputs[k]];
    return same;
}

hl_status hl_program_cache_get(hl_program_cache *c, const hl_graph *g, const hl_compile *how,
                               hl_program **out, bool *was_cached)
{
    hl_status st = hl_compile_check(g, how);
    if (st != HL_OK)
        return st;
    hl_graph *key = NULL;
    hl_program *p = NULL;
    hl_id *map = hl_alloc((g->values.n + 1) * sizeof *map);
    if (!map)
        return HL_E_NOMEM;
    HL_TRY(hl_graph_extract(g, how->outputs, how->n_outputs, &key, map));
    uint64_t hash = hl_graph_hash(key);
    for (int i = 0; i < how->n_outputs; i++)
        hash = hl_hash_bytes(hash, &map[how->outputs[i]], sizeof(hl_id));
    for (size_t i = 0; i < c->entries.n; i++) {
        entry *e = &c->entries.at[i];
        if (!is_entry(e, hash, key, how, map))
            continue;
        adopt(e, g, map, key);
        key = NULL;
        e->used = ++c->clock;
        *out = e->program;
        if (was_cached)
            *was_cached = true;
        goto out;
    }
    HL_TRY(hl_program_new(g, how, &p));
    make_room(c, p);
    HL_TRY(hl_vec_push(&c->entries,
                       ((entry){.hash = hash, .program = p, .graph = key, .used = ++c->clock})));
    *out = p;
    p = NULL;
    key = NULL;
    if (was_cached)
        *was_cached = false;
out:
    hl_program_free(p);
    hl_graph_free(key);
    hl_free(map);
    return st;
}
