/* Learning pieces from counted words: the frequent pair of neighbours becomes a piece, again and
 * again (Gage 1994; arXiv 1508.07909). What BPE and WordPiece vocabularies are made by. */
#ifndef HL_DATA_TOK_PAIR_TRAIN_H
#define HL_DATA_TOK_PAIR_TRAIN_H

#include "data/tok/pieces.h"
#include "engine/base/vec.h"

/* Word i: symbol[start .. start + n - 1], ids of pieces, `count` times in the text. */
typedef struct hl_train_word {
    size_t start;
    uint32_t n;
    int64_t count;
} hl_train_word;

typedef struct hl_train_pair {
    int32_t left, right;
} hl_train_pair;

typedef struct hl_pair_train {
    hl_pieces *pieces; /* in: specials and alphabet; out: all, in order of learning */
    HL_VEC(hl_train_word) words;
    HL_VEC(int32_t) symbols; /* of all words; merged in place */
    HL_VEC(hl_train_pair) merges;
    size_t n_vocab;
    int64_t min_count;  /* rarer pairs are not merged */
    const char *prefix; /* taken off the right part, "##" or "" */
} hl_pair_train;

/* Merges until there are n_vocab pieces or no pair is left. Ties: the pair with the smaller left
 * id, then right id; with this, pieces and merges are those of the reference trainer (Hugging Face
 * `tokenizers`), its repeated pairs included (one whose piece was made in two ways may be learnt
 * twice). Cost: about 1 s per 100 000 distinct words. Errors: NOMEM; FORMAT (too many). */
HL_MUST_CHECK hl_status hl_pair_train_run(hl_pair_train *t);
void hl_pair_train_done(hl_pair_train *t); /* not the pieces */

#endif
