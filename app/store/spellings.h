/* How the tokens of a run are spelled, as its events of content "tokens" tell (docs/run-format.md).
 * Screens, exports and scripts read them here: none of them has the tokenizer. */
#ifndef HL_STORE_SPELLINGS_H
#define HL_STORE_SPELLINGS_H

#include "engine/base/json.h"
#include "engine/base/vec.h"

#define HL_SPELLINGS_CONTENT "tokens"
#define HL_SPELLINGS_MAX     (1 << 20) /* ids that are kept: 0 .. that - 1 */

typedef struct hl_spellings {
    HL_VEC(char *) at; /* by id; NULL: not told */
} hl_spellings;        /* {0} knows none */

/* Takes one event; what is no spelling in it is passed over. What was told first stays: a run has
 * one vocabulary. Without memory some are missing. */
void hl_spellings_take(hl_spellings *s, const hl_json *event);
/* The same of an event's text; nothing if it is of another content. */
void hl_spellings_read(hl_spellings *s, const char *content, const char *text, size_t n);
void hl_spellings_done(hl_spellings *s);

/* As between quotes (hl_tok_spell). NULL: not told, or not an id (a curve's NaN). */
const char *hl_spellings_get(const hl_spellings *s, double id);

/* Is this curve one of positions and ids of tokens: two rows, the second ids? */
bool hl_spellings_is_tag(const char *tag);

#endif
