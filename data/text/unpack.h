/* Files that are no plain text yet: gzip, and JSONL, a JSON object on each line. */
#ifndef HL_DATA_TEXT_UNPACK_H
#define HL_DATA_TEXT_UNPACK_H

#include "engine/base/vec.h"

#define HL_ROW_FIELD "text" /* the field of a row that is read */

/* Whether a file of this name holds rows: .jsonl, .ndjson, either with .gz. */
bool hl_text_name_has_rows(const char *path);

/* The whole of n bytes of gzip. *out: from hl_alloc, owned by the caller. Memory: the unpacked
 * bytes, while it grows up to three times as many. Errors: FORMAT (see hl_gz_read), NOMEM, also
 * where the machine has not that much left. path: for messages. */
HL_MUST_CHECK hl_status hl_text_unpack(const char *path, const void *bytes, size_t n, char **out,
                                       size_t *n_out);

typedef HL_VEC(size_t) hl_row_ends;

/* The text of n bytes of JSONL: of each line the string HL_ROW_FIELD and a line end behind it, as
 * if the rows had been the lines of a text file. Lines of white space are none. `to` has room for
 * n + 1 bytes and may be `bytes`: what is written never overtakes what is read. row_ends: where
 * each row's line end ends in `to`; the caller frees it. Errors, naming file and line: FORMAT (no
 * JSON object, no such field, not a string, or a NUL in it), NOMEM. */
HL_MUST_CHECK hl_status hl_text_rows(const char *path, const char *bytes, size_t n, char *to,
                                     size_t *n_to, hl_row_ends *row_ends);

#endif
