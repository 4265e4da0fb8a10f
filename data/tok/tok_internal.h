/* What a tokenizer is made of. A new kind fills an hl_tok_ops, embeds hl_tok as its first member,
 * and adds its name to the table in tok.c. */
#ifndef HL_DATA_TOK_INTERNAL_H
#define HL_DATA_TOK_INTERNAL_H

#include "data/hl_data.h"
#include "engine/base/json.h"
#include "engine/base/thread.h"

typedef struct hl_tok_ops {
    const char *kind;
    size_t (*encode)(const hl_tok *t, const unsigned char *bytes, size_t n, int32_t *ids);
    /* one id inside the vocabulary that is no special; is_first: of this decode */
    void (*decode)(const hl_tok *t, int32_t id, bool is_first, hl_str *out);
    bool decodes_specials;  /* decode takes them too */
    bool keeps_space_ahead; /* text may be cut before white space only, never behind it */
    int ids_per_byte;       /* 0: 1 */
    const char *separator;  /* between a special and its neighbours */
    void (*write)(const hl_tok *t, hl_str *json); /* its own members of the JSON object */
    hl_status (*read)(const hl_json *object, hl_tok **out);
    void (*done)(hl_tok *t); /* NULL: nothing beyond the struct */
} hl_tok_ops;

struct hl_tok {
    const hl_tok_ops *ops;
    hl_flag n_refs;
    int32_t n_vocab;
    int32_t n_plain; /* encode gives ids below this; the corpus is stored by it */
    int32_t special[HL_TOK_SPECIAL_COUNT];
    uint64_t hash;
};

/* Whether what a user calls a tokenizer is a path. */
bool hl_tok_is_path(const char *kind);

extern const hl_tok_ops hl_tok_bytes_ops;
extern const hl_tok_ops hl_tok_words_ops;
extern const hl_tok_ops hl_tok_wordpiece_ops;
extern const hl_tok_ops hl_tok_bpe_ops;

/* size bytes, zeroed, one reference, no specials. NULL: NOMEM set. */
hl_tok *hl_tok_alloc(const hl_tok_ops *ops, size_t size);

/* Errors: ARG (no kind that is made from a text alone, and no path; proposes the nearest) */
HL_MUST_CHECK hl_status hl_tok_check_kind(const char *kind);

const char *hl_tok_special_name(hl_tok_special which); /* "[PAD]" */

#endif
