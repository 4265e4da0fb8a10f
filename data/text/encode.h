/* A part of a text becomes tokens, unit by unit. What a unit gives depends on its bytes and the
 * job alone, so units may be encoded by any thread and put together in order. */
#ifndef HL_DATA_ENCODE_H
#define HL_DATA_ENCODE_H

#include "data/text/rows.h"
#include "data/text/token_list.h"
#include "engine/base/team.h"

/* Bytes [from, to) of the concatenated files; all borrowed. */
typedef struct hl_encode_job {
    const hl_tok *tok;
    const hl_text *text;
    size_t from, to;
    int width; /* bytes of a stored token */
    hl_rows rows;
    hl_row_frame frame; /* this and seq_len: unless rows is NONE */
    size_t seq_len;
} hl_encode_job;

/* Where the unit that begins at `from` < job->to ends: a chunk of some 256 KiB in one file; or
 * HL_ROWS_GROUP rows, over the ends of files, of which the last group has what is left. Cost: a
 * look at each line. */
size_t hl_encode_unit_end(const hl_encode_job *job, size_t from);

/* Room for ids that a thread needs for hl_encode_unit. NULL: NOMEM set. Free with hl_free. */
int32_t *hl_encode_scratch(const hl_encode_job *job);

/* Appends the tokens of a unit to the list. Of a group of rows these are whole blocks; the rest is
 * dropped. n_bytes: of the text they stand for: of the row that the cut goes through, in proportion
 * to its tokens. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_encode_unit(const hl_encode_job *job, size_t from, size_t to,
                                       int32_t *scratch, hl_token_list *list, size_t *n_bytes);

/* Gets the tokens of each unit in order, on the calling thread, with the bytes of text they stand
 * for and where the next unit begins; borrowed for the call. */
typedef hl_status (*hl_encode_sink)(void *arg, const hl_token_list *tokens, size_t n_bytes,
                                    size_t at);

/* Encodes the job by a team (NULL: one made for the call, where there is enough to do) and gives it
 * to the sink. Memory: a few units for each thread. Errors: NOMEM; those of the sink, which end it.
 */
HL_MUST_CHECK hl_status hl_encode_run(const hl_encode_job *job, hl_team *team, hl_encode_sink sink,
                                      void *arg);

#endif
