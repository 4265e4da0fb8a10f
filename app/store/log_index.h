/* Where the lines of a log stand, sparsely. A block is up to 1024 lines whose records begin within
 * 256 KiB of each other; what is between blocks has no lines. 32 bytes a block: 1 GB of lines has
 * an index of some 200 kB. */
#ifndef HL_STORE_LOG_INDEX_H
#define HL_STORE_LOG_INDEX_H

#include "app/store/log_page.h"

#define HL_LOG_BLOCK_BYTES ((int64_t)256 << 10)
enum { HL_LOG_BLOCK_LINES = 1024 };

typedef struct hl_log_block {
    int64_t first, end, number; /* places; of its first line */
    uint64_t said;              /* what the adder said with that */
} hl_log_block;

typedef struct hl_log_index {
    HL_VEC(hl_log_block) blocks;
    int64_t n; /* lines */
    int64_t last_record;
    int n_of_record; /* lines that it had before its last one */
} hl_log_index;      /* {0} is empty */
void hl_log_index_done(hl_log_index *x);

/* A line of the record between two places, behind all lines before it. Records are longer than the
 * lines in them are many, so the k-th line of one stands k places behind its begin. Sets the line's
 * place and number. Errors: NOMEM. */
HL_MUST_CHECK hl_status hl_log_index_add(hl_log_index *x, int64_t record, int64_t end,
                                         uint64_t said, hl_log_line *line);

/* Borrowed until lines are added; NULL: there is none. */
const hl_log_block *hl_log_index_before(const hl_log_index *x,
                                        int64_t place);                    /* begins before it */
const hl_log_block *hl_log_index_at(const hl_log_index *x, int64_t place); /* has it, or is next */
const hl_log_block *hl_log_index_of(const hl_log_index *x, int64_t number);

#endif
