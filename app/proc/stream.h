/* Output to a stream that is never waited for: what its reader does not take is kept or left out.
 */
#ifndef HL_APP_PROC_STREAM_H
#define HL_APP_PROC_STREAM_H

#include "engine/base/str.h"

typedef struct hl_stream {
    int fd;        /* the caller's; may come to lead elsewhere (hl_streams_redirect) */
    int own_fd;    /* the same terminal or pipe opened again, non-blocking; -1: use fd */
    bool terminal; /* see hl_stream_refresh */
    bool dead;     /* the reader is gone */
    hl_str pending;
} hl_stream;

void hl_stream_open(hl_stream *s, int fd); /* fd stays the caller's */
void hl_stream_close(hl_stream *s);
/* After a hang-up fd may lead to a log: then `terminal` becomes false and writing goes on there. */
void hl_stream_refresh(hl_stream *s);
/* keep: queue it (up to 1 MiB) for a reader that is behind; else leave it out. */
void hl_stream_put(hl_stream *s, const hl_str *text, bool keep);
void hl_stream_flush(hl_stream *s, int wait_ms); /* waits so long for each 4 KiB to be taken */

#endif
