/* Text to words as BERT does it: normalize, cut at white space, punctuation alone. */
#ifndef HL_DATA_TOK_WORD_SPLIT_H
#define HL_DATA_TOK_WORD_SPLIT_H

#include "kernels/hl_types.h"

/* Drop control characters; ideographs stand alone; take accents off; lower the case. All true:
 * BERT uncased. */
typedef struct hl_word_rules {
    bool clean, cjk, strip_accents, lowercase;
} hl_word_rules;

/* A longer word is unknown to WordPiece, in characters. */
#define HL_WORD_CHARS_MAX 100

/* Gets every word in order: UTF-8, borrowed for the call; is_long: only its beginning. */
typedef void (*hl_word_sink)(void *arg, const unsigned char *word, size_t n, bool is_long);

/* Normalization is: control characters out, NFD, marks out, lower case, in this order, character by
 * character where the reference goes over the text once for each. What is not UTF-8 counts as
 * U+FFFD, which is dropped with the control characters. */
void hl_word_split(const hl_word_rules *rules, const unsigned char *s, size_t n, hl_word_sink sink,
                   void *arg);

#endif
