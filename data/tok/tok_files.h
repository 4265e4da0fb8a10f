/* Between the readers of tokenizer files. */
#ifndef HL_DATA_TOK_FILES_H
#define HL_DATA_TOK_FILES_H

#include "data/tok/tok_bpe.h"
#include "data/tok/tok_wordpiece.h"

/* {"token": id, ...} with the ids 0 .. n-1. Errors: FORMAT, NOMEM. */
HL_MUST_CHECK hl_status hl_tok_read_vocab(const hl_json *object, hl_pieces *out);

/* The parsed file. Errors: FORMAT, UNSUPPORTED (names the part), NOMEM. */
HL_MUST_CHECK hl_status hl_tok_from_tokenizer_json(const hl_json *root, hl_tok **out);

#endif
