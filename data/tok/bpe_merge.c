#include "data/tok/bpe_merge.h"

#include <string.h>

#include "engine/base/mem.h"

#define SHORT 128 /* symbols; beyond, the heap is faster */
#define NEVER INT32_MAX

static size_t place(const hl_merges *m, int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * UINT64_C(0x9E3779B97F4A7C15);
    size_t k = (size_t)(h >> 32) & (m->n_slots - 1);
    while (m->slot[k].rank >= 0 && (m->slot[k].left != left || m->slot[k].right != right))
        k = (k + 1) & (m->n_slots - 1);
    return k;
}

static const hl_merge *find(const hl_merges *m, int32_t left, int32_t right)
{
    const hl_merge *at = &m->slot[place(m, left, right)];
    return at->rank >= 0 ? at : NULL;
}

static int32_t rank_of(const hl_merges *m, const int32_t *pair)
{
    const hl_merge *at = find(m, pair[0], pair[1]);
    return at ? at->rank : NEVER;
}

hl_status hl_merges_alloc(hl_merges *m, size_t n)
{
    size_t n_slots = 16;
    while (n_slots < 2 * n)
        n_slots *= 2;
    m->slot = hl_alloc_zero(n_slots, sizeof *m->slot);
    if (!m->slot)
        return HL_E_NOMEM;
    m->n_slots = n_slots;
    m->n = 0;
    for (size_t i = 0; i < n_slots; i++)
        m->slot[i].rank = -1;
    return HL_OK;
}

void hl_merges_done(hl_merges *m)
{
    hl_free(m->slot);
    *m = (hl_merges){0};
}

void hl_merges_put(hl_merges *m, hl_merge pair)
{
    hl_merge *at = &m->slot[place(m, pair.left, pair.right)];
    m->n += at->rank < 0;
    HL_ASSERT(2 * m->n <= m->n_slots);
    *at = pair;
}

/* Merges symbols i and i + 1; gives how many are left. */
static size_t merge_at(const hl_merges *m, int32_t *s, size_t n, size_t i)
{
    s[i] = find(m, s[i], s[i + 1])->id;
    memmove(s + i + 1, s + i + 2, (n - i - 2) * sizeof *s);
    return n - 1;
}

/* rank: room for n, or NULL, which looks every pair up again each time. */
static size_t apply_short(const hl_merges *m, int32_t *s, size_t n, int32_t *rank)
{
    for (size_t i = 0; rank && i + 1 < n; i++)
        rank[i] = rank_of(m, s + i);
    while (n > 1) {
        size_t best = 0;
        int32_t least = NEVER;
        for (size_t i = 0; i + 1 < n; i++) {
            const int32_t r = rank ? rank[i] : rank_of(m, s + i);
            if (r < least) {
                least = r;
                best = i;
            }
        }
        if (least == NEVER)
            break;
        n = merge_at(m, s, n, best);
        if (!rank)
            continue;
        if (best + 1 < n) {
            memmove(rank + best + 1, rank + best + 2, (n - best - 1) * sizeof *rank);
            rank[best] = rank_of(m, s + best);
        }
        if (best > 0)
            rank[best - 1] = rank_of(m, s + best - 1);
    }
    return n;
}

/* ---- long words: a list of symbols, and a heap of pairs, some of which are gone when they come up
 */

typedef struct pair_at {
    int32_t rank;
    uint32_t at; /* of the left symbol */
    int32_t id;
} pair_at;

typedef struct long_word {
    const hl_merges *m;
    int32_t *s;
    uint32_t *next, *prev; /* n: none; a symbol that was merged into another has next = itself */
    uint32_t n;
    pair_at *heap;
    size_t n_heap;
} long_word;

static bool before(pair_at a, pair_at b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void push(long_word *w, uint32_t at)
{
    const uint32_t right = at < w->n ? w->next[at] : w->n;
    const hl_merge *m = right < w->n ? find(w->m, w->s[at], w->s[right]) : NULL;
    if (!m)
        return;
    const pair_at p = {m->rank, at, m->id};
    size_t k = w->n_heap++;
    for (; k > 0 && before(p, w->heap[(k - 1) / 2]); k = (k - 1) / 2)
        w->heap[k] = w->heap[(k - 1) / 2];
    w->heap[k] = p;
}

static pair_at pop(long_word *w)
{
    const pair_at top = w->heap[0], last = w->heap[--w->n_heap];
    size_t k = 0;
    for (;;) {
        size_t child = 2 * k + 1;
        if (child >= w->n_heap)
            break;
        if (child + 1 < w->n_heap && before(w->heap[child + 1], w->heap[child]))
            child++;
        if (!before(w->heap[child], last))
            break;
        w->heap[k] = w->heap[child];
        k = child;
    }
    w->heap[k] = last;
    return top;
}

static void merge_listed(long_word *w, pair_at p)
{
    const uint32_t right = w->next[p.at];
    if (right == p.at || right >= w->n)
        return; /* the left symbol is gone, or the last */
    const hl_merge *m = find(w->m, w->s[p.at], w->s[right]);
    if (!m || m->id != p.id || m->rank != p.rank)
        return; /* other symbols stand there now */
    const uint32_t after = w->next[right];
    w->s[p.at] = m->id;
    w->next[p.at] = after;
    w->next[right] = right;
    if (after < w->n)
        w->prev[after] = p.at;
    if (w->prev[p.at] < w->n)
        push(w, w->prev[p.at]);
    push(w, p.at);
}

/* n < 2^31. false: no memory, nothing done. */
static bool apply_long(const hl_merges *m, int32_t *s, size_t *n)
{
    long_word w = {.m = m, .s = s, .n = (uint32_t)*n};
    /* n - 1 pairs at first, and two more for each of at most n - 1 merges */
    w.heap = hl_alloc_zero(3 * *n, sizeof *w.heap);
    w.next = hl_alloc_zero(2 * *n, sizeof *w.next);
    const bool can = w.heap && w.next;
    if (can) {
        w.prev = w.next + *n;
        for (uint32_t i = 0; i < w.n; i++) {
            w.next[i] = i + 1;
            w.prev[i] = i ? i - 1 : w.n;
        }
        for (uint32_t i = 0; i < w.n; i++)
            push(&w, i);
        while (w.n_heap)
            merge_listed(&w, pop(&w));
        *n = 0;
        for (uint32_t i = 0; i < w.n; i = w.next[i])
            s[(*n)++] = s[i];
    } else {
        hl_err_clear();
    }
    hl_free(w.next);
    hl_free(w.heap);
    return can;
}

size_t hl_merges_apply(const hl_merges *m, int32_t *s, size_t n)
{
    int32_t rank[SHORT];
    if (n <= SHORT)
        return apply_short(m, s, n, rank);
    if (n > INT32_MAX || !apply_long(m, s, &n))
        return apply_short(m, s, n, NULL);
    return n;
}
