/* Reads one event file, finished or still growing, record by record, with pread.
 *
 * A record counts when both of its checksums hold. Bytes that do not form one are
 *   pending, when nothing valid follows: still being written, or torn off when the writer died;
 *   damage, when a valid record follows: skipped, counted, remembered. */
#ifndef HL_STORE_EVENT_FILE_H
#define HL_STORE_EVENT_FILE_H

#include "engine/base/err.h"

typedef struct hl_damage {
    int64_t offset, n_bytes; /* what was skipped */
    const char *reason;      /* static text */
} hl_damage;

typedef struct hl_event_file hl_event_file;

HL_MUST_CHECK hl_status hl_event_file_open(const char *path, hl_event_file **out);
void hl_event_file_close(hl_event_file *f);

/* The next valid record; *payload is borrowed until the next call. *got = false: none for now, try
 * again when the file has grown. Errors: IO, NOMEM. */
HL_MUST_CHECK hl_status hl_event_file_next(hl_event_file *f, const unsigned char **payload,
                                           size_t *n, bool *got);

/* Reads on from this byte; the search for the next record, if none begins there, ends before
 * search_end. What was skipped or damaged before is still counted. */
void hl_event_file_seek(hl_event_file *f, int64_t offset, int64_t search_end);

/* The record just read has good checksums and senseless contents. */
void hl_event_file_reject(hl_event_file *f, const char *reason);

const char *hl_event_file_path(const hl_event_file *f);
int64_t hl_event_file_offset(const hl_event_file *f);  /* end of the last record read */
int64_t hl_event_file_record(const hl_event_file *f);  /* and where it begins */
int64_t hl_event_file_bytes_read(const hl_event_file *f);
bool hl_event_file_has_shrunk(const hl_event_file *f); /* below what was read, at the last look */
int64_t hl_event_file_records(const hl_event_file *f); /* valid ones so far */
int64_t hl_event_file_pending(const hl_event_file *f); /* bytes behind it at the last look */
size_t hl_event_file_damages(const hl_event_file *f);  /* number of damaged places */
/* i below the number of places; only the first 1000 are remembered, NULL after. */
const hl_damage *hl_event_file_damage(const hl_event_file *f, size_t i);

#endif
