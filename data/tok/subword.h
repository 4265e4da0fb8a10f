/* What WordPiece and byte-level BPE share: a vocabulary, and special tokens that are cut out of the
 * text before anything else is done to it.
 *
 * A special that is spelled in running text ("[MASK]", "<|endoftext|>") becomes its id, as in the
 * reference tokenizers: leftmost first, the longest of those that begin there. */
#ifndef HL_DATA_TOK_SUBWORD_H
#define HL_DATA_TOK_SUBWORD_H

#include "data/tok/pieces.h"
#include "data/tok/tok_internal.h"
#include "engine/base/vec.h"

typedef struct hl_added {
    int32_t id;
    bool lstrip, rstrip; /* takes the white space before, after it */
} hl_added;

typedef struct hl_subword {
    hl_tok base;
    hl_pieces pieces;
    HL_VEC(hl_added) added;
    bool first[256]; /* bytes that an added token begins with */
    int32_t unk;     /* -1: none */
} hl_subword;

static inline const hl_subword *hl_subword_of(const hl_tok *t)
{
    return (const hl_subword *)(const void *)t;
}

/* Cuts specials out and gives what lies between to `segment`, which appends ids and returns how
 * many. */
typedef size_t (*hl_subword_segment)(const hl_subword *w, const unsigned char *s, size_t n,
                                     int32_t *ids);
size_t hl_subword_encode(const hl_subword *w, const unsigned char *s, size_t n, int32_t *ids,
                         hl_subword_segment segment);

/* Errors: FORMAT (no such id, twice), NOMEM. */
HL_MUST_CHECK hl_status hl_subword_add_special(hl_subword *w, hl_added added);

/* Sets the roles of the specials by their spellings, the sizes, and the hash of what is shared;
 * the kind goes on from there. The vocabulary is complete and not empty. */
void hl_subword_finish(hl_subword *w);

/* Their part of the JSON object. Reading fills pieces (no special is called yet) and added. */
void hl_subword_write(const hl_subword *w, hl_str *json);
HL_MUST_CHECK hl_status hl_subword_read(hl_subword *w, const hl_json *object);

/* Lines of text, distinct and UTF-8, to a vocabulary: id = line number from 0. A line may end in CR
 * LF; the last needs no end. Errors: FORMAT (empty, twice, not UTF-8; names the line), NOMEM. */
HL_MUST_CHECK hl_status hl_subword_read_lines(hl_pieces *p, const char *s, size_t n);

bool hl_subword_is_utf8(const char *s, size_t n); /* and without NUL, CR and LF */

void hl_subword_done(hl_tok *t);

#endif
