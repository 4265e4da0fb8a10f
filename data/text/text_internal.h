/* What the other parts of data/ see of a text. */
#ifndef HL_DATA_TEXT_INTERNAL_H
#define HL_DATA_TEXT_INTERNAL_H

#include "data/hl_data.h"

/* Bytes of one file of a text; borrowed from it. */
typedef struct hl_text_span {
    const unsigned char *bytes;
    size_t n;
    size_t offset;          /* of bytes[0] in the file */
    const size_t *row_ends; /* of a file of rows: where each ends in the file, its line end
                               included; NULL: the rows are for the reader to find */
    size_t n_rows;
} hl_text_span;

/* What is left of a span from byte `from` <= n on, at most n bytes of it. */
hl_text_span hl_text_slice(hl_text_span s, size_t from, size_t n);

/* The first end of a row behind byte `at` < n of a span with row_ends. */
size_t hl_text_row_end(hl_text_span s, size_t at);

size_t hl_text_n_files(const hl_text *t);
hl_text_span hl_text_file(const hl_text *t, size_t i);

/* Drops what is behind the first n bytes of a file. */
void hl_text_cut_file(hl_text *t, size_t i, size_t n);

/* Equal for equal texts: of files, by path, size and time of the last change when they were opened,
 * and how much of them is kept, not by their bytes; of other texts, by their bytes. */
uint64_t hl_text_fingerprint(const hl_text *t);

/* bytes: from hl_alloc, owned by the text on success. The label is copied. */
HL_MUST_CHECK hl_status hl_text_from_owned(const char *label, char *bytes, size_t n,
                                           bool is_generated, hl_text **out);

/* A place to cut at or after `at` <= n: the next line start within `window` bytes, else behind the
 * next white space in it, else the next character. At most n. */
size_t hl_text_break(hl_text_span s, size_t at, size_t window);

/* Where white space begins behind something else, at most `window` bytes after `at`; what
 * hl_text_break gives if nowhere. For tokenizers whose tokens begin with the space before a word.
 */
size_t hl_text_break_ahead(hl_text_span s, size_t at, size_t window);

/* Offset in the concatenated files where the last `share` of the bytes begins, cut as above, in a
 * file of rows at the end of one. */
size_t hl_text_cut(const hl_text *t, double share);

#endif
