/* The merges of byte-pair encoding: pairs of tokens, their rank, and what they become. */
#ifndef HL_DATA_TOK_BPE_MERGE_H
#define HL_DATA_TOK_BPE_MERGE_H

#include "engine/base/err.h"

typedef struct hl_merge {
    int32_t left, right, rank, id; /* free: rank < 0 */
} hl_merge;

/* An open-addressed table at most half full. Immutable once made. */
typedef struct hl_merges {
    hl_merge *slot;
    size_t n_slots; /* power of two */
    size_t n;       /* distinct pairs */
} hl_merges;        /* {0} is empty */

/* Room for n pairs at once. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_merges_alloc(hl_merges *m, size_t n);
void hl_merges_done(hl_merges *m);

/* Adds a pair, or gives it another rank. There is room. */
void hl_merges_put(hl_merges *m, hl_merge pair);

/* Merges symbols in place, always the leftmost pair of the lowest rank, until there is none; gives
 * how many are left. Cost: about n^2 steps for short words, n log n for long ones, whose memory is
 * from the heap; where there is none it is n^2 for them too. */
size_t hl_merges_apply(const hl_merges *m, int32_t *symbols, size_t n);

#endif
