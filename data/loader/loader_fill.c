/* What a batch holds: a function of the parameters and the position, of nothing else.
 *
 * DESIGN. Random counters. Order: (seed, HL_RNG_SHUFFLE, epoch), Fisher-Yates, inside out. Masks:
 * (seed, HL_RNG_MASK, step, element) with element = (block << 22 | position) * 4 + draw; draw 0
 * selects, 1 says what happens, 2 is the random id. Training uses stream 0 and step = epoch,
 * evaluation stream 1 and step 0, so that a block is masked alike whatever the batch around it. */
#include "data/loader/loader_internal.h"

#include <math.h>
#include <string.h>

#include "data/text/corpus_internal.h"
#include "engine/base/rng.h"

_Static_assert(HL_BLOCK_TOKENS_MAX <= 1 << 22, "a position has 22 bits in a mask counter");

#define SHUFFLE_POLL (1u << 16) /* draws between two looks for an interruption: about 1 ms */

static bool interrupted(const hl_loader_filler *f)
{
    return f->is_interrupted && f->is_interrupted(f->interrupt_arg);
}

static bool shuffle(hl_loader_filler *f)
{
    hl_rng rng = hl_rng_make(f->seed, HL_RNG_SHUFFLE, 0, (uint32_t)f->at.epoch);
    uint32_t n = (uint32_t)f->n_blocks;
    f->order_epoch = -1;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = hl_rng_below(&rng, i + 1);
        f->order[i] = f->order[k];
        f->order[k] = i;
        if (i % SHUFFLE_POLL == 0 && interrupted(f))
            return false;
    }
    f->order_epoch = f->at.epoch;
    return true;
}

/* Selects positions of a block, and hides or swaps four fifths and a tenth of them.
 * Source: language-models.md 5.4 (BERT's 80/10/10 rule, arXiv 1810.04805 A.1). The random id is
 * from the whole vocabulary; its bias, V / 2^32, is far below what any count could show.
 * Specials are known by their ids. One that running text spells, which tokenizers from files allow,
 * is exempt too, where the reference would select it. */
static int64_t mask_block(const hl_loader_filler *f, int64_t block, int32_t *ids, int32_t *labels)
{
    hl_rng rng = hl_rng_make(f->seed, HL_RNG_MASK, f->is_train ? 0 : 1,
                             f->is_train ? (uint32_t)f->at.epoch : 0);
    const uint64_t to_mask = (uint64_t)(0.8 * 0x1p32), to_random = (uint64_t)(0.9 * 0x1p32);
    int64_t n_labelled = 0;
    for (int64_t t = 0; t < f->seq_len; t++) {
        int32_t id = ids[t];
        uint64_t element = ((uint64_t)block << 22 | (uint64_t)t) << 2;
        bool is_exempt = id == f->exempt[0] || id == f->exempt[1] || id == f->exempt[2];
        labels[t] = HL_LABEL_NONE;
        if (is_exempt || hl_rng_at(&rng, element) >= f->mask_below)
            continue;
        labels[t] = id;
        n_labelled++;
        uint32_t what = hl_rng_at(&rng, element + 1);
        if (what < to_mask)
            ids[t] = f->mask_id;
        else if (what < to_random)
            ids[t] = (int32_t)((uint64_t)hl_rng_at(&rng, element + 2) * f->n_vocab >> 32);
    }
    return n_labelled;
}

static int64_t fill_block(const hl_loader_filler *f, int64_t block, int32_t *ids, int32_t *labels)
{
    int64_t n = f->seq_len;
    hl_corpus_copy(f->corpus, f->part, block * n, n, ids);
    if (f->is_mlm)
        return mask_block(f, block, ids, labels);
    memcpy(labels, ids + 1, (size_t)(n - 1) * sizeof *labels);
    labels[n - 1] = HL_LABEL_NONE;
    return n - 1;
}

static hl_position normal_position(const hl_loader_filler *f, hl_position p)
{
    return f->is_train && p.index == f->n_blocks ? (hl_position){p.epoch + 1, 0} : p;
}

static void fill_up(hl_loader_slot *slot, int64_t row, int64_t n)
{
    memcpy(slot->ids + row * n, slot->ids, (size_t)n * sizeof *slot->ids);
    for (int64_t t = 0; t < n; t++)
        slot->labels[row * n + t] = HL_LABEL_NONE;
    slot->blocks[row] = -1;
}

bool hl_loader_fill(hl_loader_filler *f, hl_loader_slot *slot)
{
    hl_batch *b = &slot->batch;
    int64_t n = f->seq_len;
    b->n_real = b->n_labelled = 0;
    b->at = f->at;
    for (int64_t row = 0; row < f->batch_size; row++) {
        if (interrupted(f) || (f->order && f->order_epoch != f->at.epoch && !shuffle(f)))
            return false;
        if (f->at.index == f->n_blocks) {
            HL_ASSERT(!f->is_train && row > 0);
            fill_up(slot, row, n);
            continue;
        }
        int64_t block = f->order ? f->order[f->at.index] : f->at.index;
        b->n_labelled += fill_block(f, block, slot->ids + row * n, slot->labels + row * n);
        b->n_real++;
        slot->blocks[row] = block;
        f->at.index++;
        f->at = normal_position(f, f->at);
    }
    b->next = f->at;
    b->n_tokens = b->n_real * n;
    b->n_bytes = llround((double)b->n_tokens * f->bytes_per_token);
    b->wait_ns = 0;
    return true;
}
