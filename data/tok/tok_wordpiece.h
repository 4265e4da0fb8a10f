/* WordPiece as BERT has it. */
#ifndef HL_DATA_TOK_WORDPIECE_H
#define HL_DATA_TOK_WORDPIECE_H

#include "data/tok/subword.h"
#include "data/tok/word_split.h"

hl_subword *hl_wordpiece_alloc(void); /* NULL: NOMEM */

/* Completes what hl_wordpiece_alloc gave once pieces and added are there. Errors: FORMAT (w->unk
 * is none). */
HL_MUST_CHECK hl_status hl_wordpiece_finish(hl_subword *w, hl_word_rules rules);

#endif
