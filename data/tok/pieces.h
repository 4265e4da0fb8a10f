/* The vocabulary of a subword tokenizer: spellings by id, ids by spelling. */
#ifndef HL_DATA_TOK_PIECES_H
#define HL_DATA_TOK_PIECES_H

#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/str.h"

/* An open-addressed table at most half full; free entries have id -1. The tag is the upper half of
 * the hash, so that a wrong entry is rarely looked at twice. */
typedef struct hl_piece_slot {
    uint32_t tag;
    int32_t id;
} hl_piece_slot;

/* Spelling i is chars[start[i] .. start[i+1]-1]; all distinct, none empty. Immutable once made. */
typedef struct hl_pieces {
    char *chars;
    uint32_t *start; /* n + 1 */
    size_t n, n_chars, cap, cap_chars;
    size_t longest; /* in bytes */
    hl_piece_slot *slot;
    size_t n_slots; /* power of two */
} hl_pieces;        /* {0} is empty */

/* Appends a spelling, whose id is the number of those before. Errors: NOMEM; FORMAT (empty, twice:
 * *twin gets the id it has). twin: may be NULL. */
HL_MUST_CHECK hl_status hl_pieces_add(hl_pieces *p, const void *bytes, size_t n, int32_t *twin);
void hl_pieces_done(hl_pieces *p);

static inline const char *hl_pieces_at(const hl_pieces *p, int32_t id, size_t *n)
{
    *n = p->start[id + 1] - p->start[id];
    return p->chars + p->start[id];
}

static inline uint64_t hl_piece_hash(uint64_t h, const unsigned char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ s[i]) * UINT64_C(0x100000001b3);
    return h;
}

/* The id of head + s, -1 if there is none; hash: that of both (hl_piece_hash from HL_HASH_START).
 * The head lets "##ing" be found without being written down. */
static inline int32_t hl_pieces_find_tail(const hl_pieces *p, const char *head, size_t n_head,
                                          const void *s, size_t n, uint64_t hash)
{
    const uint32_t tag = (uint32_t)(hash >> 32);
    const size_t mask = p->n_slots - 1;
    if (!p->n_slots)
        return -1;
    for (size_t k = (hash ^ hash >> 32) & mask; p->slot[k].id >= 0; k = (k + 1) & mask) {
        const int32_t id = p->slot[k].id;
        if (p->slot[k].tag != tag || p->start[id + 1] - p->start[id] != n_head + n)
            continue;
        const char *at = p->chars + p->start[id];
        if (memcmp(at, head, n_head) == 0 && memcmp(at + n_head, s, n) == 0)
            return id;
    }
    return -1;
}

static inline int32_t hl_pieces_find(const hl_pieces *p, const void *s, size_t n)
{
    return hl_pieces_find_tail(p, "", 0, s, n, hl_piece_hash(HL_HASH_START, s, n));
}

/* All spellings, one per line; the caller knows that none holds a line end. */
void hl_pieces_join(const hl_pieces *p, hl_str *out);

#endif
