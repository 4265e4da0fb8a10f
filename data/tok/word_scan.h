/* Cuts text into words, single digits and single marks; the rules of the "words" tokenizer. */
#ifndef HL_DATA_WORD_SCAN_H
#define HL_DATA_WORD_SCAN_H

#include "kernels/hl_types.h"

#define HL_WORD_BYTES_MAX 100

/* Set bytes, n and at; each hl_word_scan_next moves `at` behind the token it found. */
typedef struct hl_word_scan {
    const unsigned char *bytes;
    size_t n, at;
    unsigned char word[HL_WORD_BYTES_MAX]; /* ASCII letters lower-cased */
    size_t n_word; /* 0: no vocabulary holds it (too long, or a byte that is not UTF-8) */
    uint64_t hash; /* of the word */
} hl_word_scan;

bool hl_word_scan_next(hl_word_scan *s); /* false: no more tokens */

#endif
