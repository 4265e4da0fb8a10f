/* The loader's insides, shared by loader.c (life, threads) and loader_fill.c (what a batch holds).
 */
#ifndef HL_DATA_LOADER_INTERNAL_H
#define HL_DATA_LOADER_INTERNAL_H

#include "data/hl_data.h"
#include "engine/base/thread.h"

typedef struct hl_loader_slot {
    hl_batch batch; /* its pointers are the arrays below */
    int32_t *ids, *labels;
    int64_t *blocks;
    bool is_held; /* the consumer's */
} hl_loader_slot;

/* Makes batches; touched by one thread at a time (open, then the prefetch thread). */
typedef struct hl_loader_filler {
    const hl_corpus *corpus;
    hl_part part;
    bool is_train, is_mlm;
    int64_t batch_size, seq_len, n_blocks;
    uint64_t seed;
    uint64_t mask_below; /* a draw below this selects a position */
    uint32_t n_vocab;
    int32_t mask_id;
    int32_t exempt[3]; /* PAD, CLS, SEP; -1 where there is none */
    double bytes_per_token;
    hl_position at;      /* next block */
    uint32_t *order;     /* blocks of epoch order_epoch; NULL: as they lie */
    int64_t order_epoch; /* -1: none yet */
    bool (*is_interrupted)(const void *arg);
    const void *interrupt_arg;
} hl_loader_filler;

/* Fills a batch and moves on; an evaluation has blocks left. False: interrupted, batch undefined.
 */
bool hl_loader_fill(hl_loader_filler *f, hl_loader_slot *slot);

#endif
