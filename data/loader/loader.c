/* The loader: a prefetch thread that keeps a ring of batches full.
 *
 * DESIGN. HL_LOADER_DEPTH slots are allocated at open. A slot belongs to exactly one side at a
 * time and changes sides only through two single-producer rings: `ready` (prefetch thread to
 * consumer, with the generation it was made for) and `idle` (back). The mutex protects nothing; it
 * is where either side sleeps, and whoever changes a ring or a flag wakes it.
 *
 * A seek raises `generation`; the prefetch thread drops what it is doing, takes seek_to, and
 * answers in `served`. The consumer waits for that answer, so seek_to has one writer at a time, and
 * drops ready slots of older generations. At the end of an evaluation the record END is pushed.
 *
 * Shutdown: close sets `stop`, wakes, joins; the thread looks at `stop` before each block, each
 * 65536 draws of a shuffle and in every wait. cancel only makes the consumer's calls return. */
#include "data/loader/loader_internal.h"

#include <math.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"

#define END         (-1)       /* in place of a slot number */
#define FIXED_BYTES (16 << 10) /* at most: rings, mutex, thread, the loader itself */

typedef struct ready_record {
    int64_t generation;
    int32_t slot;
} ready_record;

struct hl_loader {
    hl_corpus *corpus;
    hl_loader_slot slot[HL_LOADER_DEPTH];
    void *block; /* arrays of all slots and the order */
    size_t block_bytes;
    hl_ring *ready, *idle;
    hl_mutex *sleep;
    hl_thread *thread;
    hl_flag stop, cancel, generation, served;
    hl_position seek_to;
    hl_loader_filler filler; /* the prefetch thread's after open */
    bool at_end;             /* from here the consumer's */
    int64_t n_blocks;
    bool is_train;
    hl_loader_totals totals;
};

hl_loader_params hl_loader_params_default(void)
{
    return (hl_loader_params){.part = HL_PART_TRAIN,
                              .mode = HL_LOADER_TRAIN,
                              .objective = HL_OBJECTIVE_CLM,
                              .batch_size = 16,
                              .seq_len = 128,
                              .mask_prob = 0.15};
}

/* ---- plan ------------------------------------------------------------------------------------ */

typedef struct layout {
    size_t n_bytes, row_bytes, blocks_bytes, order_bytes; /* row_bytes: of one [B, T] array */
} layout;

static hl_status check_sizes(const hl_loader_params *p)
{
    if (p->seq_len < 2 || p->seq_len > HL_BLOCK_TOKENS_MAX)
        return hl_err_set(HL_E_ARG, "seq_len = %lld is out of range: 2 .. %d tokens",
                          (long long)p->seq_len, HL_BLOCK_TOKENS_MAX);
    if (p->batch_size < 1)
        return hl_err_set(HL_E_ARG, "batch_size = %lld is out of range: at least 1 block",
                          (long long)p->batch_size);
    if (p->batch_size > INT32_MAX / p->seq_len)
        return hl_err_set(HL_E_SHAPE,
                          "batch_size %lld x seq_len %lld is more than 2^31 - 1 tokens in a batch; "
                          "lower one of them",
                          (long long)p->batch_size, (long long)p->seq_len);
    const hl_corpus_info *c = hl_corpus_get_info(p->corpus);
    if (c->seq_len && c->seq_len != p->seq_len)
        return hl_err_set(HL_E_ARG,
                          "the rows of '%s' are cut into blocks of %lld tokens, not of seq_len "
                          "%lld; make both the same",
                          c->label, (long long)c->seq_len, (long long)p->seq_len);
    return HL_OK;
}

static hl_status check_objective(const hl_loader_params *p)
{
    if (p->objective == HL_OBJECTIVE_CLM)
        return HL_OK;
    if (p->objective != HL_OBJECTIVE_MLM)
        return hl_err_set(HL_E_ARG, "unknown objective %d; there are CLM and MLM",
                          (int)p->objective);
    if (!(p->mask_prob > 0 && p->mask_prob <= 1))
        return hl_err_set(HL_E_ARG, "mask_prob = %g is out of range: 0 < mask_prob <= 1, e.g. 0.15",
                          p->mask_prob);
    const hl_tok *tok = hl_corpus_tok(p->corpus);
    if (hl_tok_special_id(tok, HL_TOK_SPECIAL_MASK) < 0)
        return hl_err_set(HL_E_ARG,
                          "MLM needs a [MASK] token and the %s vocabulary of '%s' has none; use a "
                          "tokenizer that has one (bytes: with_mask)",
                          hl_tok_kind(tok), hl_corpus_get_info(p->corpus)->label);
    return HL_OK;
}

static hl_status check_position(hl_position at, int64_t n_blocks, bool is_train)
{
    int64_t index_max = is_train ? n_blocks - 1 : n_blocks;
    int64_t epoch_max = is_train ? UINT32_MAX : 0;
    if (at.epoch < 0 || at.epoch > epoch_max || at.index < 0 || at.index > index_max)
        return hl_err_set(HL_E_ARG,
                          "position (epoch %lld, block %lld) is out of range: epoch 0 .. %lld, "
                          "block 0 .. %lld; is it of another text or seq_len?",
                          (long long)at.epoch, (long long)at.index, (long long)epoch_max,
                          (long long)index_max);
    return HL_OK;
}

static hl_status count_blocks(const hl_loader_params *p, int64_t *out)
{
    if (!p->corpus)
        return hl_err_set(HL_E_ARG, "a loader needs a corpus; none is given");
    if ((unsigned)p->part >= HL_PART_COUNT)
        return hl_err_set(HL_E_ARG, "a corpus has no part %d", (int)p->part);
    if (p->mode != HL_LOADER_TRAIN && p->mode != HL_LOADER_EVAL)
        return hl_err_set(HL_E_ARG, "unknown loader mode %d", (int)p->mode);
    const hl_corpus_part_info *part = &hl_corpus_get_info(p->corpus)->part[p->part];
    if (part->n_tokens == 0)
        return hl_err_set(HL_E_ARG,
                          "the corpus '%s' has no evaluation part; name an evaluation text or set "
                          "holdout > 0",
                          hl_corpus_get_info(p->corpus)->label);
    hl_status st = check_sizes(p);
    if (st != HL_OK)
        return st;
    *out = part->n_tokens / p->seq_len;
    if (*out == 0)
        return hl_err_set(HL_E_SHAPE,
                          "'%s' has %lld tokens, fewer than one block of seq_len %lld; use a "
                          "longer text%s or a smaller seq_len",
                          part->label, (long long)part->n_tokens, (long long)p->seq_len,
                          p->part == HL_PART_EVAL ? ", a larger holdout" : "");
    if (*out > UINT32_MAX - 1)
        return hl_err_set(HL_E_SHAPE,
                          "'%s' has %lld blocks of seq_len %lld, more than 4 billion; "
                          "use a larger seq_len",
                          part->label, (long long)*out, (long long)p->seq_len);
    return HL_OK;
}

/* All parameters are checked here. */
static hl_status plan(const hl_loader_params *p, layout *out, int64_t *n_blocks)
{
    hl_status st = HL_OK;
    HL_TRY(count_blocks(p, n_blocks));
    HL_TRY(check_objective(p));
    HL_TRY(check_position(p->start, *n_blocks, p->mode == HL_LOADER_TRAIN));
    const size_t line = 64; /* arrays begin on cache lines */
    layout a;
    a.row_bytes = ((size_t)(p->batch_size * p->seq_len) * sizeof(int32_t) + line - 1) / line * line;
    a.blocks_bytes = ((size_t)p->batch_size * sizeof(int64_t) + line - 1) / line * line;
    a.order_bytes = p->mode == HL_LOADER_TRAIN ? (size_t)*n_blocks * sizeof(uint32_t) : 0;
    a.n_bytes = HL_LOADER_DEPTH * (2 * a.row_bytes + a.blocks_bytes) + a.order_bytes;
    *out = a;
out:
    return st;
}

hl_status hl_loader_plan(const hl_loader_params *params, int64_t *mem_bytes)
{
    layout a;
    int64_t n_blocks = 0;
    hl_status st = plan(params, &a, &n_blocks);
    if (st == HL_OK)
        *mem_bytes = (int64_t)a.n_bytes + FIXED_BYTES;
    return st;
}

/* ---- prefetch thread ------------------------------------------------------------------------- */

static void wake(hl_loader *l)
{
    /* Taking the lock puts the wake behind a sleeper's look at its condition. */
    hl_mutex_lock(l->sleep);
    hl_mutex_wake(l->sleep);
    hl_mutex_unlock(l->sleep);
}

static bool is_disturbed(const void *arg)
{
    const hl_loader *l = arg;
    return hl_flag_get(&l->stop) || hl_flag_get(&l->generation) != hl_flag_get(&l->served);
}

static void push_ready(hl_loader *l, int32_t slot, int64_t generation)
{
    ready_record r = {.generation = generation, .slot = slot};
    bool fits = hl_ring_push(l->ready, &r);
    HL_ASSERT(fits); /* each slot once, and one END per generation at most two alive */
    (void)fits;
    wake(l);
}

static void sleep_until_disturbed(hl_loader *l, bool or_idle_slot)
{
    hl_mutex_lock(l->sleep);
    while (!is_disturbed(l) && !(or_idle_slot && hl_ring_used(l->idle)))
        hl_mutex_wait(l->sleep, -1);
    hl_mutex_unlock(l->sleep);
}

static void prefetch(void *arg)
{
    hl_loader *l = arg;
    hl_loader_filler *f = &l->filler;
    int64_t generation = 0;
    int32_t slot = END;
    bool has_ended = false;
    while (!hl_flag_get(&l->stop)) {
        if (hl_flag_get(&l->generation) != generation) {
            generation = hl_flag_get(&l->generation);
            f->at = l->seek_to;
            has_ended = false;
            hl_flag_set(&l->served, generation);
            wake(l);
        } else if (has_ended) {
            sleep_until_disturbed(l, false);
        } else if (!f->is_train && f->at.index == f->n_blocks) {
            push_ready(l, END, generation);
            has_ended = true;
        } else if (slot == END && !hl_ring_pop(l->idle, &slot)) {
            slot = END;
            sleep_until_disturbed(l, true);
        } else if (hl_loader_fill(f, &l->slot[slot])) {
            push_ready(l, slot, generation);
            slot = END;
        }
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static void place_arrays(hl_loader *l, const layout *a, const hl_loader_params *p)
{
    unsigned char *at = l->block;
    for (int i = 0; i < HL_LOADER_DEPTH; i++) {
        hl_loader_slot *s = &l->slot[i];
        s->ids = (int32_t *)(void *)at;
        s->labels = (int32_t *)(void *)(at + a->row_bytes);
        s->blocks = (int64_t *)(void *)(at + 2 * a->row_bytes);
        s->batch = (hl_batch){.ids = s->ids,
                              .labels = s->labels,
                              .blocks = s->blocks,
                              .batch_size = p->batch_size,
                              .seq_len = p->seq_len};
        at += 2 * a->row_bytes + a->blocks_bytes;
    }
    l->filler.order = a->order_bytes ? (uint32_t *)(void *)at : NULL;
}

static void init_filler(hl_loader *l, const hl_loader_params *p)
{
    const hl_tok *tok = hl_corpus_tok(p->corpus);
    hl_loader_filler *f = &l->filler;
    f->corpus = p->corpus;
    f->part = p->part;
    f->is_train = p->mode == HL_LOADER_TRAIN;
    f->is_mlm = p->objective == HL_OBJECTIVE_MLM;
    f->batch_size = p->batch_size;
    f->seq_len = p->seq_len;
    f->n_blocks = l->n_blocks;
    f->seed = p->seed;
    f->mask_below = f->is_mlm ? (uint64_t)llround(p->mask_prob * 0x1p32) : 0;
    f->n_vocab = (uint32_t)hl_tok_n_vocab(tok);
    f->mask_id = hl_tok_special_id(tok, HL_TOK_SPECIAL_MASK);
    f->exempt[0] = hl_tok_special_id(tok, HL_TOK_SPECIAL_PAD);
    f->exempt[1] = hl_tok_special_id(tok, HL_TOK_SPECIAL_CLS);
    f->exempt[2] = hl_tok_special_id(tok, HL_TOK_SPECIAL_SEP);
    f->bytes_per_token = hl_corpus_get_info(p->corpus)->part[p->part].bytes_per_token;
    f->at = p->start;
    f->order_epoch = -1;
    f->is_interrupted = is_disturbed;
    f->interrupt_arg = l;
}

hl_status hl_loader_open(const hl_loader_params *params, hl_loader **out)
{
    hl_status st = HL_OK;
    layout a;
    int64_t n_blocks = 0;
    hl_loader *l = NULL;
    HL_TRY(plan(params, &a, &n_blocks));
    l = hl_alloc_zero(1, sizeof *l);
    if (!l)
        HL_TRY(HL_E_NOMEM);
    l->corpus = hl_corpus_ref(params->corpus);
    l->n_blocks = n_blocks;
    l->is_train = params->mode == HL_LOADER_TRAIN;
    l->block = hl_block_new(a.n_bytes);
    if (!l->block)
        HL_TRY(hl_err_nomem("the ring of batches (lower batch_size or seq_len)", a.n_bytes));
    l->block_bytes = a.n_bytes;
    place_arrays(l, &a, params);
    init_filler(l, params);
    HL_TRY(hl_ring_new(HL_LOADER_DEPTH + 2, sizeof(ready_record), &l->ready));
    HL_TRY(hl_ring_new(HL_LOADER_DEPTH, sizeof(int32_t), &l->idle));
    HL_TRY(hl_mutex_new(&l->sleep));
    for (int32_t i = 0; i < HL_LOADER_DEPTH; i++)
        (void)hl_ring_push(l->idle, &i);
    HL_TRY(hl_thread_start("loader", prefetch, l, &l->thread));
    *out = l;
    l = NULL;
out:
    hl_loader_close(l);
    return st;
}

void hl_loader_close(hl_loader *l)
{
    if (!l)
        return;
    if (l->thread) {
        hl_flag_set(&l->stop, 1);
        wake(l);
        hl_thread_join(l->thread);
    }
    hl_mutex_free(l->sleep);
    hl_ring_free(l->idle);
    hl_ring_free(l->ready);
    hl_block_free(l->block, l->block_bytes);
    hl_corpus_unref(l->corpus);
    hl_free(l);
}

void hl_loader_cancel(hl_loader *l)
{
    hl_flag_set(&l->cancel, 1);
    wake(l);
}

/* ---- consumer -------------------------------------------------------------------------------- */

static hl_status cancelled(void)
{
    return hl_err_set(HL_E_CANCELLED, "loading batches was cancelled");
}

static void recycle(hl_loader *l, int32_t slot)
{
    bool fits = hl_ring_push(l->idle, &slot);
    HL_ASSERT(fits);
    (void)fits;
}

static int n_held(const hl_loader *l)
{
    int n = 0;
    for (int i = 0; i < HL_LOADER_DEPTH; i++)
        n += l->slot[i].is_held;
    return n;
}

/* The next record of this generation; older ones go back to the prefetch thread. */
static bool pop_ready(hl_loader *l, int32_t *slot)
{
    int64_t generation = hl_flag_get(&l->generation);
    for (ready_record r; hl_ring_pop(l->ready, &r);) {
        *slot = r.slot;
        if (r.generation == generation)
            return true;
        if (r.slot != END) {
            recycle(l, r.slot);
            wake(l);
        }
    }
    return false;
}

static hl_status wait_ready(hl_loader *l, int32_t *slot, int64_t *wait_ns)
{
    int64_t since = 0;
    while (!hl_flag_get(&l->cancel)) {
        if (pop_ready(l, slot)) {
            *wait_ns = since ? hl_clock_mono_ns() - since : 0;
            return HL_OK;
        }
        if (!since)
            since = hl_clock_mono_ns();
        hl_mutex_lock(l->sleep);
        while (!hl_flag_get(&l->cancel) && hl_ring_used(l->ready) == 0)
            hl_mutex_wait(l->sleep, -1);
        hl_mutex_unlock(l->sleep);
    }
    return cancelled();
}

hl_status hl_loader_next(hl_loader *l, const hl_batch **out)
{
    int32_t slot = END;
    int64_t wait_ns = 0;
    if (n_held(l) == HL_LOADER_DEPTH)
        return hl_err_set(HL_E_STATE,
                          "all %d batches of the loader are held; give one back before asking for "
                          "the next",
                          HL_LOADER_DEPTH);
    if (!l->at_end || hl_flag_get(&l->cancel)) {
        hl_status st = wait_ready(l, &slot, &wait_ns);
        if (st != HL_OK)
            return st;
    }
    l->at_end = slot == END;
    l->totals.wait_ns += wait_ns;
    *out = NULL;
    if (l->at_end)
        return HL_OK;
    hl_batch *b = &l->slot[slot].batch;
    l->slot[slot].is_held = true;
    b->wait_ns = wait_ns;
    l->totals.n_batches++;
    l->totals.n_tokens += b->n_tokens;
    l->totals.n_labelled += b->n_labelled;
    l->totals.n_bytes += b->n_bytes;
    *out = b;
    return HL_OK;
}

void hl_loader_give_back(hl_loader *l, const hl_batch *batch)
{
    for (int32_t i = 0; i < HL_LOADER_DEPTH; i++)
        if (&l->slot[i].batch == batch && l->slot[i].is_held) {
            l->slot[i].is_held = false;
            recycle(l, i);
            wake(l);
            return;
        }
    HL_ASSERT(!batch); /* not of this loader, or given back before */
}

hl_status hl_loader_seek(hl_loader *l, hl_position to)
{
    hl_status st = check_position(to, l->n_blocks, l->is_train);
    if (st != HL_OK)
        return st;
    if (hl_flag_get(&l->cancel))
        return cancelled();
    /* Room for one END of the old and one of the new generation. */
    for (ready_record r; hl_ring_pop(l->ready, &r);)
        if (r.slot != END)
            recycle(l, r.slot);
    l->seek_to = to;
    l->at_end = false;
    int64_t generation = hl_flag_add(&l->generation, 1);
    wake(l);
    hl_mutex_lock(l->sleep);
    while (hl_flag_get(&l->served) != generation)
        hl_mutex_wait(l->sleep, -1);
    hl_mutex_unlock(l->sleep);
    return HL_OK;
}

int64_t hl_loader_n_blocks(const hl_loader *l)
{
    return l->n_blocks;
}

hl_loader_totals hl_loader_get_totals(const hl_loader *l)
{
    return l->totals;
}
