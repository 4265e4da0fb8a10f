#include "engine/solve/fewer.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/solve/shrink.h"
#include "engine/solve/solve.h"

enum { MAX_LEVELS = 4, LEAST_ROWS = 4 };

/* A leaf of the whole loop. */
typedef struct leaf {
    int z;            /* which state it is, or -1 */
    size_t row_bytes; /* 0: it belongs to all samples */
    void *rows;       /* those gathered */
} leaf;

typedef struct level {
    int64_t rows;
    hl_program *p;
    int *leaf; /* per binding */
} level;

struct hl_fewer {
    int64_t batch, n_going;
    int n_levels, now; /* now: -1 until the first use in a solve */
    level at[MAX_LEVELS];
    int n_leaves, n_y;
    leaf *leaves;    /* per binding of the whole loop */
    int64_t *sample; /* [batch] whose rows were gathered: of level `now` */
    size_t y_row_bytes[HL_SOLVE_PARTS];
    unsigned char *y[HL_SOLVE_PARTS]; /* [batch, …] results where the whole loop would put them */
};

/* --- making --- */

static hl_status find_leaves(hl_fewer *f, const hl_loop *s, const bool *by_row)
{
    f->n_leaves = hl_program_n_bindings(s->whole);
    f->leaves = hl_alloc_zero((size_t)f->n_leaves + 1, sizeof *f->leaves);
    if (!f->leaves)
        return HL_E_NOMEM;
    for (int k = 0; k < f->n_leaves; k++) {
        const hl_binding *b = hl_program_binding(s->whole, k);
        leaf *l = &f->leaves[k];
        l->z = -1;
        for (int i = 0; i < s->n_z; i++)
            if (s->z[i] == b->value)
                l->z = i;
        l->row_bytes = by_row[b->value] ? hl_type_bytes(&b->type) / (size_t)f->batch : 0;
    }
    for (int i = 0; i < f->n_y; i++)
        f->y_row_bytes[i] = hl_type_bytes(hl_program_output_type(s->whole, i)) / (size_t)f->batch;
    return HL_OK;
}

static hl_status find_bindings(const hl_fewer *f, const hl_loop *s, const hl_id *map, level *l)
{
    const int n = hl_program_n_bindings(l->p);
    l->leaf = hl_alloc((size_t)(n + 1) * sizeof *l->leaf);
    if (!l->leaf)
        return HL_E_NOMEM;
    for (int k = 0; k < n; k++)
        for (int i = 0; i < f->n_leaves; i++)
            if (map[hl_program_binding(s->whole, i)->value] == hl_program_binding(l->p, k)->value)
                l->leaf[k] = i;
    return HL_OK;
}

/* false in *apart: samples are not. */
static hl_status add_level(hl_fewer *f, const hl_loop *s, const hl_compile *like, int64_t rows,
                           bool *apart)
{
    hl_status st = HL_OK;
    hl_graph *g = NULL;
    hl_id y[HL_SOLVE_PARTS];
    const size_t n = s->g->values.n + 1;
    hl_id *map = hl_alloc(n * sizeof *map);
    bool *by_row = hl_alloc(n * sizeof *by_row);
    level *l = &f->at[f->n_levels];
    const hl_cut cut = {s->z, s->n_z, f->batch, rows};
    *apart = false;
    if (!map || !by_row) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(hl_shrink(s->g, &cut, &g, map, by_row));
    if (!g)
        goto out;
    for (int i = 0; i < s->n_y; i++) {
        if (!by_row[s->y[i]])
            goto out;
        y[i] = map[s->y[i]];
    }
    if (f->n_levels == 0)
        HL_TRY(find_leaves(f, s, by_row));
    hl_compile how = *like;
    how.outputs = y;
    how.n_outputs = s->n_y;
    f->n_levels++;
    l->rows = rows;
    HL_TRY(hl_program_new(g, &how, &l->p));
    HL_TRY(find_bindings(f, s, map, l));
    *apart = true;
out:
    hl_graph_free(g);
    hl_free(map);
    hl_free(by_row);
    return st;
}

hl_status hl_fewer_new(const hl_loop *loop, const hl_compile *like, hl_fewer **out)
{
    hl_status st = HL_OK;
    hl_fewer *f = hl_alloc_zero(1, sizeof *f);
    bool apart = true;
    *out = NULL;
    if (!f)
        return HL_E_NOMEM;
    f->batch = hl_graph_type(loop->g, loop->y[0])->dim[0]; /* results are shaped as the states */
    f->n_y = loop->n_y;
    f->sample = hl_alloc((size_t)f->batch * sizeof *f->sample);
    if (!f->sample) {
        st = HL_E_NOMEM;
        goto out;
    }
    const int eighths[MAX_LEVELS] = {6, 4, 2, 1};
    for (int i = 0; i < MAX_LEVELS && apart; i++)
        if (f->batch * eighths[i] / 8 >= LEAST_ROWS)
            HL_TRY(add_level(f, loop, like, f->batch * eighths[i] / 8, &apart));
    if (f->n_levels && apart) {
        *out = f;
        f = NULL;
    }
out:
    hl_fewer_free(f);
    return st;
}

void hl_fewer_free(hl_fewer *f)
{
    if (!f)
        return;
    for (int i = 0; i < f->n_levels; i++) {
        hl_program_free(f->at[i].p);
        hl_free(f->at[i].leaf);
    }
    hl_free(f->leaves);
    hl_free(f->sample);
    hl_free(f);
}

/* --- memory --- */

static size_t program_bytes(const hl_fewer *f)
{
    size_t most = 0;
    for (int i = 0; i < f->n_levels; i++) {
        const size_t n = hl_program_get_info(f->at[i].p).arena_bytes;
        most = n > most ? n : most;
    }
    return hl_align64(most);
}

static size_t gathered_bytes(const hl_fewer *f, const leaf *l)
{
    return hl_align64(l->row_bytes * (size_t)f->at[0].rows);
}

size_t hl_fewer_bytes(const hl_fewer *f)
{
    if (!f)
        return 0;
    size_t n = program_bytes(f);
    for (int k = 0; k < f->n_leaves; k++)
        n += gathered_bytes(f, &f->leaves[k]);
    for (int i = 0; i < f->n_y; i++)
        n += hl_align64(f->y_row_bytes[i] * (size_t)f->batch);
    return n;
}

void hl_fewer_begin(hl_fewer *f, void *arena)
{
    unsigned char *at = arena;
    f->now = -1;
    for (int i = 0; i < f->n_levels; i++)
        hl_program_use_arena(f->at[i].p, at);
    at += program_bytes(f);
    for (int k = 0; k < f->n_leaves; k++) {
        f->leaves[k].rows = at;
        at += gathered_bytes(f, &f->leaves[k]);
    }
    for (int i = 0; i < f->n_y; i++) {
        f->y[i] = at;
        at += hl_align64(f->y_row_bytes[i] * (size_t)f->batch);
    }
}

/* --- running --- */

bool hl_fewer_fits(hl_fewer *f, const unsigned char *done)
{
    if (!f || !done)
        return false;
    f->n_going = 0;
    for (int64_t b = 0; b < f->batch; b++)
        f->n_going += !done[b];
    return f->n_going <= f->at[0].rows;
}

static void gather(const hl_fewer *f, const leaf *l, const void *from)
{
    for (int64_t r = 0; r < f->at[f->now].rows; r++)
        memcpy((unsigned char *)l->rows + (size_t)r * l->row_bytes,
               (const unsigned char *)from + (size_t)f->sample[r] * l->row_bytes, l->row_bytes);
}

/* Samples that are going first; any others fill the level up. */
static void choose_samples(hl_fewer *f, const unsigned char *done)
{
    int64_t n = 0, rest = f->batch;
    for (int64_t b = 0; b < f->batch; b++) {
        if (!done[b])
            f->sample[n++] = b;
        else
            f->sample[--rest] = b;
    }
}

static void descend(hl_fewer *f, int to, const void *const *bound, const unsigned char *done)
{
    f->now = to;
    choose_samples(f, done);
    const level *l = &f->at[to];
    for (int k = 0; k < hl_program_n_bindings(l->p); k++) {
        const leaf *x = &f->leaves[l->leaf[k]];
        const void *from = bound[l->leaf[k]];
        if (x->row_bytes && x->z < 0)
            gather(f, x, from);
        hl_program_bind(l->p, k, x->row_bytes ? x->rows : (void *)(uintptr_t)from);
    }
}

hl_status hl_fewer_eval(hl_fewer *f, const void *const *bound, void *const *x,
                        const unsigned char *done, const void **y, const hl_exec *exec)
{
    int to = f->now < 0 ? 0 : f->now;
    while (to + 1 < f->n_levels && f->n_going <= f->at[to + 1].rows)
        to++;
    if (to != f->now)
        descend(f, to, bound, done);
    const level *l = &f->at[to];
    for (int k = 0; k < f->n_leaves; k++)
        if (f->leaves[k].z >= 0 && f->leaves[k].row_bytes)
            gather(f, &f->leaves[k], x[f->leaves[k].z]);
    hl_status st = hl_program_run(l->p, exec);
    for (int i = 0; i < f->n_y && st == HL_OK; i++) {
        const unsigned char *made = hl_program_output(l->p, i);
        for (int64_t r = 0; r < l->rows; r++)
            memcpy(f->y[i] + (size_t)f->sample[r] * f->y_row_bytes[i],
                   made + (size_t)r * f->y_row_bytes[i], f->y_row_bytes[i]);
        y[i] = f->y[i];
    }
    return st;
}

double hl_fewer_flops(const hl_fewer *f)
{
    return hl_program_get_info(f->at[f->now].p).flops;
}
