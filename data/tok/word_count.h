/* Counts the distinct words of a text. */
#ifndef HL_DATA_WORD_COUNT_H
#define HL_DATA_WORD_COUNT_H

#include "data/text/text_internal.h"
#include "engine/base/vec.h"

typedef struct hl_word_entry {
    uint64_t hash;
    int64_t count;
    size_t start; /* in chars */
    uint32_t len;
    uint32_t order; /* of first appearance */
} hl_word_entry;

typedef struct hl_word_count {
    HL_VEC(hl_word_entry) words;
    HL_VEC(char) chars;
    uint32_t *slot; /* open addressing: index + 1 into words, 0 free */
    size_t n_slots; /* power of two */
} hl_word_count;    /* {0} is empty */

/* Counts one word; hash: of its bytes. Errors: NOMEM, ARG (more than 4 billion words). */
HL_MUST_CHECK hl_status hl_word_count_add(hl_word_count *c, const void *word, size_t n,
                                          uint64_t hash);
HL_MUST_CHECK hl_status hl_word_count_text(hl_word_count *c, const hl_text *text, size_t n_bytes);

/* The most frequent first, ties in order of first appearance. The table cannot be added to after.
 */
void hl_word_count_sort(hl_word_count *c);
void hl_word_count_done(hl_word_count *c);

#endif
