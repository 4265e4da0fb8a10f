/* Rows: the lines or documents that a text is made of, and the tokens put around them. */
#ifndef HL_DATA_ROWS_H
#define HL_DATA_ROWS_H

#include "data/text/text_internal.h"

#define HL_ROWS_GROUP 1000 /* rows whose tokens are cut into blocks together */

/* text: what is encoded, inside the bytes [at, end) that the row takes of its file. */
typedef struct hl_row {
    hl_text_span text;
    size_t end;
    bool is_gap; /* blank lines without a document: no row */
} hl_row;

/* The row that begins at `at` < s.n. LINE: up to and with its line end; of a line of white space
 * alone the text is empty. DOCUMENT: up to the next line that is not blank behind one that is; the
 * text has neither the blank lines around it nor its last line end. In a file of rows (JSONL) these
 * are what the file says, for both kinds. */
hl_row hl_row_next(hl_text_span s, size_t at, hl_rows kind);

/* Ids before and behind the tokens of a row; -1: none. */
typedef struct hl_row_frame {
    int32_t head, tail;
} hl_row_frame;

/* wordpiece: [CLS] and [SEP]; bpe: </s>, else <|endoftext|>, and nothing. Errors: ARG (another
 * kind, or the vocabulary has no such token). Source: language-models.md 5.2. */
HL_MUST_CHECK hl_status hl_row_frame_of(const hl_tok *tok, hl_row_frame *out);

#endif
