/* The event file being written: bytes go to a buffer, from there to the file, from there to the
 * disk. The buffer keeps what is not yet known to be on the disk, so that a refused write (disk
 * full) goes on at the very byte where it stopped, and a failed sync is answered by writing again.
 */
#ifndef HL_STORE_SEGMENT_H
#define HL_STORE_SEGMENT_H

#include <sys/types.h>

#include "engine/base/str.h"

/* The system calls of the store, replaceable by tests that let the disk be full. */
typedef struct hl_store_io {
    ssize_t (*write_at)(void *self, int fd, const void *bytes, size_t n, off_t offset);
    int (*sync)(void *self, int fd);
    void *self;
} hl_store_io;

/* Trouble with the disk: when it began, when to try again. */
typedef struct hl_trouble {
    int64_t since_us; /* unix time; 0: none */
    int64_t since_ns, retry_ns, pause_ns;
    int error; /* errno */
} hl_trouble;
/* A try failed: the next one in 250 ms, then twice as late each time, at most 5 s. */
void hl_trouble_note(hl_trouble *t, int error, int64_t now_ns);
bool hl_trouble_waits(const hl_trouble *t, int64_t now_ns); /* not yet time for another try */
const char *hl_trouble_reason(const hl_trouble *t);         /* in the user's words */

typedef struct hl_segment {
    int fd; /* -1: closed */
    char *path;
    hl_store_io io;
    hl_str buffer;    /* records appended here are bytes [base, base + buffer.n) of the file */
    size_t n_written; /* of the buffer, these are in the file */
    int64_t base;     /* bytes before this one are on the disk */
    int64_t synced_ns;
    hl_trouble trouble;
    bool sync_failed; /* since the last good sync; a good write alone does not end the trouble */
} hl_segment;

/* Makes a new event file in run_dir whose name sorts behind all others there. io: NULL for the
 * system's. */
HL_MUST_CHECK hl_status hl_segment_open(const char *run_dir, const hl_store_io *io,
                                        hl_segment *out);
/* Tries to bring everything into the file; afterwards hl_segment_pending tells what is left. */
void hl_segment_write(hl_segment *s, int64_t now_ns);
/* Tries to bring everything in the file to the disk. */
void hl_segment_sync(hl_segment *s, int64_t now_ns);
size_t hl_segment_pending(const hl_segment *s);  /* bytes not yet in the file */
size_t hl_segment_unsynced(const hl_segment *s); /* bytes not yet on the disk */
bool hl_segment_is_orphan(const hl_segment *s);  /* somebody deleted the file */
void hl_segment_close(hl_segment *s);            /* neither writes nor syncs */

#endif
