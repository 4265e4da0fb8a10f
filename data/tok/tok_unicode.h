/* What the subword tokenizers know about characters. The tables are utf8proc's (Unicode 15), held
 * to those of the reference implementations where a token would differ. */
#ifndef HL_DATA_TOK_UNICODE_H
#define HL_DATA_TOK_UNICODE_H

#include "kernels/hl_types.h"

#define HL_UNI_REPLACEMENT 0xFFFDu
#define HL_UNI_NFD_MAX     4 /* code points of a canonical decomposition */

/* The character at s (n >= 1 bytes left) and its length, never 0. Bytes that are no UTF-8 give
 * HL_UNI_REPLACEMENT for each longest piece that could have begun a character (Unicode 15, 3.9,
 * table 3-8), as most decoders do; *is_valid tells. */
size_t hl_uni_read(const unsigned char *s, size_t n, uint32_t *code, bool *is_valid);

/* UTF-8 of a code point, 1 to 4 bytes. */
size_t hl_uni_write(uint32_t code, unsigned char s[4]);

bool hl_uni_is_space(uint32_t code); /* White_Space */

/* ---- byte-level BPE ---- */

typedef enum hl_uni_class { HL_UNI_OTHER, HL_UNI_SPACE, HL_UNI_LETTER, HL_UNI_NUMBER } hl_uni_class;
hl_uni_class hl_uni_class_of(uint32_t code);

/* ---- BERT ---- */

bool hl_uni_is_control(uint32_t code); /* Cc but TAB, LF, CR; Cf; Co */
bool hl_uni_is_punct(uint32_t code);   /* P*, and every ASCII mark */
bool hl_uni_is_mark(uint32_t code);    /* Mn: what stripping accents takes away */
bool hl_uni_is_cjk(uint32_t code);     /* ideographs, as BERT counts them */

size_t hl_uni_nfd(uint32_t code, uint32_t out[HL_UNI_NFD_MAX]);
int hl_uni_order(uint32_t code);                     /* canonical combining class */
size_t hl_uni_lower(uint32_t code, uint32_t out[2]); /* simple, but U+0130 gives two */

#endif
