/* DESIGN. Counts of pairs lie in an open-addressed table. A heap holds candidates: a pair, the
 * count it had, and the words it was seen in since it last became more frequent. The top of the
 * heap may be out of date; then it goes back with its count of now. Counts only fall but by the
 * merge that makes one of the pair's symbols, so the top is the most frequent pair once its count
 * is right. */
#include "data/tok/pair_train.h"

#define NONE UINT32_MAX

typedef struct pair_count {
    int32_t left, right; /* left < 0: free */
    int64_t count;
    uint32_t pending; /* words that gave it more in this merge */
} pair_count;

typedef struct place {
    uint32_t word, next;
} place;

typedef struct candidate {
    int64_t count;
    int32_t left, right;
    uint32_t places;
} candidate;

typedef struct trainer {
    hl_pair_train *t;
    pair_count *slot;
    size_t n_slots, n_pairs;
    HL_VEC(place) places;
    HL_VEC(candidate) heap;
    HL_VEC(hl_train_pair) touched;
} trainer;

/* ---- the table ------------------------------------------------------------------------------- */

static pair_count *find(const trainer *x, int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * UINT64_C(0x9E3779B97F4A7C15);
    size_t k = (size_t)(h >> 32) & (x->n_slots - 1);
    while (x->slot[k].left >= 0 && (x->slot[k].left != left || x->slot[k].right != right))
        k = (k + 1) & (x->n_slots - 1);
    return &x->slot[k];
}

static hl_status grow(trainer *x)
{
    const size_t n_old = x->n_slots;
    pair_count *old = x->slot, *slot = hl_alloc_zero(n_old ? 2 * n_old : 4096, sizeof *slot);
    if (!slot)
        return HL_E_NOMEM;
    x->slot = slot;
    x->n_slots = n_old ? 2 * n_old : 4096;
    for (size_t k = 0; k < x->n_slots; k++)
        slot[k].left = -1;
    for (size_t k = 0; k < n_old; k++)
        if (old[k].left >= 0)
            *find(x, old[k].left, old[k].right) = old[k];
    hl_free(old);
    return HL_OK;
}

/* Adds to the count of a pair; more of it is remembered with the word. */
static hl_status change(trainer *x, hl_train_pair p, int64_t by, uint32_t word)
{
    hl_status st = HL_OK;
    if (2 * (x->n_pairs + 1) > x->n_slots)
        HL_TRY(grow(x));
    pair_count *c = find(x, p.left, p.right);
    if (c->left < 0) {
        *c = (pair_count){.left = p.left, .right = p.right, .pending = NONE};
        x->n_pairs++;
    }
    c->count += by;
    if (by <= 0)
        return HL_OK;
    if (c->pending == NONE)
        HL_TRY(hl_vec_push(&x->touched, p));
    else if (x->places.at[c->pending].word == word)
        return HL_OK;
    if (x->places.n >= NONE - 1)
        HL_FAIL(HL_E_ARG, "the text has too many distinct words to learn a vocabulary from; use "
                          "a part of it");
    HL_TRY(hl_vec_push(&x->places, ((place){word, c->pending})));
    c->pending = (uint32_t)x->places.n - 1;
out:
    return st;
}

/* ---- the heap -------------------------------------------------------------------------------- */

static bool before(const candidate *a, const candidate *b)
{
    if (a->count != b->count)
        return a->count > b->count;
    return a->left != b->left ? a->left < b->left : a->right < b->right;
}

static hl_status push(trainer *x, candidate c)
{
    hl_status st = hl_vec_push(&x->heap, c);
    if (st != HL_OK)
        return st;
    size_t k = x->heap.n - 1;
    for (; k > 0 && before(&c, &x->heap.at[(k - 1) / 2]); k = (k - 1) / 2)
        x->heap.at[k] = x->heap.at[(k - 1) / 2];
    x->heap.at[k] = c;
    return HL_OK;
}

static candidate pop(trainer *x)
{
    const candidate top = x->heap.at[0], last = x->heap.at[--x->heap.n];
    size_t k = 0;
    for (;;) {
        size_t child = 2 * k + 1;
        if (child >= x->heap.n)
            break;
        if (child + 1 < x->heap.n && before(&x->heap.at[child + 1], &x->heap.at[child]))
            child++;
        if (!before(&x->heap.at[child], &last))
            break;
        x->heap.at[k] = x->heap.at[child];
        k = child;
    }
    if (x->heap.n)
        x->heap.at[k] = last;
    return top;
}

/* Pairs that became more frequent are candidates (again). */
static hl_status push_touched(trainer *x)
{
    hl_status st = HL_OK;
    for (size_t i = 0; st == HL_OK && i < x->touched.n; i++) {
        const hl_train_pair p = x->touched.at[i];
        pair_count *c = find(x, p.left, p.right);
        if (c->count > 0)
            st = push(x, (candidate){c->count, p.left, p.right, c->pending});
        c->pending = NONE;
    }
    x->touched.n = 0;
    return st;
}

/* ---- merging --------------------------------------------------------------------------------- */

static hl_status merge_word(trainer *x, uint32_t number, const candidate *top, int32_t id)
{
    hl_status st = HL_OK;
    hl_train_word *w = &x->t->words.at[number];
    int32_t *s = x->t->symbols.at + w->start;
    uint32_t n = 0; /* symbols behind the one looked at, merged already */
    for (uint32_t i = 0; i < w->n; n++) {
        if (s[i] != top->left || i + 1 == w->n || s[i + 1] != top->right) {
            s[n] = s[i++];
            continue;
        }
        if (n > 0) {
            HL_TRY(change(x, (hl_train_pair){s[n - 1], top->left}, -w->count, number));
            HL_TRY(change(x, (hl_train_pair){s[n - 1], id}, w->count, number));
        }
        i += 2;
        if (i < w->n) {
            HL_TRY(change(x, (hl_train_pair){top->right, s[i]}, -w->count, number));
            HL_TRY(change(x, (hl_train_pair){id, s[i]}, w->count, number));
        }
        s[n] = id;
    }
    w->n = n;
out:
    return st;
}

/* The piece that a pair makes: there already, or a new one. */
static hl_status piece_of(hl_pair_train *t, const candidate *top, int32_t *id)
{
    size_t n_left, n_right;
    const char *left = hl_pieces_at(t->pieces, top->left, &n_left);
    const char *right = hl_pieces_at(t->pieces, top->right, &n_right);
    const size_t n_prefix = strlen(t->prefix);
    hl_str b = {0};
    hl_str_addn(&b, left, n_left);
    if (n_right >= n_prefix && memcmp(right, t->prefix, n_prefix) == 0)
        hl_str_addn(&b, right + n_prefix, n_right - n_prefix);
    else
        hl_str_addn(&b, right, n_right);
    hl_status st = hl_str_status(&b);
    if (st == HL_OK) {
        *id = hl_pieces_find(t->pieces, b.s, b.n);
        if (*id < 0) {
            *id = (int32_t)t->pieces->n;
            st = hl_pieces_add(t->pieces, b.s, b.n, NULL);
        }
    }
    hl_str_done(&b);
    return st;
}

static hl_status merge(trainer *x, const candidate *top)
{
    hl_status st = HL_OK;
    int32_t id = -1;
    HL_TRY(piece_of(x->t, top, &id));
    HL_TRY(hl_vec_push(&x->t->merges, ((hl_train_pair){top->left, top->right})));
    for (uint32_t k = top->places; k != NONE;) {
        const place p = x->places.at[k]; /* the list may move */
        HL_TRY(merge_word(x, p.word, top, id));
        k = p.next;
    }
    HL_TRY(push_touched(x));
out:
    return st;
}

static hl_status run(trainer *x)
{
    hl_status st = HL_OK;
    hl_pair_train *t = x->t;
    for (size_t i = 0; i < t->words.n; i++) {
        const hl_train_word *w = &t->words.at[i];
        for (uint32_t k = 0; k + 1 < w->n; k++) {
            const int32_t *s = t->symbols.at + w->start + k;
            HL_TRY(change(x, (hl_train_pair){s[0], s[1]}, w->count, (uint32_t)i));
        }
    }
    HL_TRY(push_touched(x));
    while (t->pieces->n < t->n_vocab && x->heap.n) {
        candidate top = pop(x);
        const int64_t now = find(x, top.left, top.right)->count;
        if (top.count != now) {
            top.count = now;
            HL_TRY(push(x, top));
            continue;
        }
        if (top.count < 1 || top.count < t->min_count)
            break;
        HL_TRY(merge(x, &top));
    }
out:
    return st;
}

hl_status hl_pair_train_run(hl_pair_train *t)
{
    trainer x = {.t = t};
    hl_status st = grow(&x);
    if (st == HL_OK)
        st = run(&x);
    hl_free(x.slot);
    hl_vec_done(&x.places);
    hl_vec_done(&x.heap);
    hl_vec_done(&x.touched);
    return st;
}

void hl_pair_train_done(hl_pair_train *t)
{
    hl_vec_done(&t->words);
    hl_vec_done(&t->symbols);
    hl_vec_done(&t->merges);
}
