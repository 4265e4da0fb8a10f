/* Byte-level byte-pair encoding as GPT-2 has it. */
#ifndef HL_DATA_TOK_BPE_H
#define HL_DATA_TOK_BPE_H

#include "data/tok/subword.h"

/* ---- bytes as characters: vocabularies spell every byte as a printable character ---- */

uint32_t hl_bpe_char_of(unsigned char byte);
int hl_bpe_byte_of(uint32_t code); /* -1: stands for none */

/* ---- pre-splitting ---- */

/* Length of the piece that begins s (n >= 1), by GPT-2's rule
 *   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * is_valid: all of it is UTF-8; other bytes count as U+FFFD. */
size_t hl_bpe_split(const unsigned char *s, size_t n, bool *is_valid);

/* ---- the tokenizer ---- */

hl_subword *hl_bpe_alloc(void); /* NULL: NOMEM */

/* Completes what hl_bpe_alloc gave once pieces and added are there. merges: "left right" lines in
 * order of rank; a line "#version..." is skipped; a pair there twice has the later rank.
 * Errors: FORMAT (a line that is no pair, a token that is not in the vocabulary; names the line),
 * NOMEM. */
HL_MUST_CHECK hl_status hl_bpe_finish(hl_subword *w, const char *merges, size_t n);

/* "left right" lines, in order of rank. */
void hl_bpe_write_merges(const hl_subword *w, hl_str *out);

#endif
