/* Reads any part of a followed run's log at a bounded cost, however long the log is: by a sparse
 * index where the follower has been, by looking for the next record where it has not. Belongs to
 * the thread of the follower.
 *
 * DESIGN. Of what the follower has met, only blocks of the index (log_index.h) are read. Elsewhere
 * a record is found from any byte on by its checksums, so that the end of a file can be read before
 * what is in front of it is known. A question is answered in slices, each of which reads a block or
 * a window of as many bytes. */
#ifndef HL_STORE_LOG_READER_H
#define HL_STORE_LOG_READER_H

#include "app/store/follow.h"
#include "app/store/log_page.h"

typedef struct hl_log_reader hl_log_reader;

/* The follower is borrowed; it knows which files there are. */
HL_MUST_CHECK hl_status hl_log_reader_new(const hl_follow *f, hl_log_reader **out);
void hl_log_reader_free(hl_log_reader *r); /* NULL is fine */

/* The line that a record at hand of the follower makes, if it makes one; `level` 0: none. Called
 * for every value, in their order: from these the index is made. Errors: NOMEM (the index ends
 * there, reading goes on without it). */
HL_MUST_CHECK hl_status hl_log_reader_meet(hl_log_reader *r, const char *tag, const char *content,
                                           const char *json, size_t n, hl_log_line *line);
/* The same for a record that begins a later part of a resumed run. */
HL_MUST_CHECK hl_status hl_log_reader_meet_start(hl_log_reader *r, int64_t step, hl_log_line *line);

/* From now on this is read; what was asked before is forgotten. */
void hl_log_reader_ask(hl_log_reader *r, const hl_log_want *want);
bool hl_log_reader_is_busy(const hl_log_reader *r);
/* Reads on: a quarter of a megabyte and what a record takes beyond. *out: an answer, or part of
 * one, for hl_log_page_free; NULL: none yet. Errors: IO, NOMEM: the question is forgotten. */
HL_MUST_CHECK hl_status hl_log_reader_slice(hl_log_reader *r, hl_log_page **out);

int64_t hl_log_reader_bytes(const hl_log_reader *r); /* read by slices, ever */
size_t hl_log_reader_index_bytes(const hl_log_reader *r);

#endif
