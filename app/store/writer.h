/* Writes what a run reports: events, summary, lock. One writer per run directory.
 *
 * Threads: the sink and the hl_writer_* functions belong to the thread of the run (control), except
 * hl_writer_log and hl_writer_get_status, which any thread may call. A store thread of its own does
 * all writing. A scalar costs the caller neither a system call nor an allocation, unless the ring
 * reaches a quarter full, which wakes the store thread, or is full, which makes the caller wait. */
#ifndef HL_STORE_WRITER_H
#define HL_STORE_WRITER_H

#include "app/exp/sink.h"
#include "app/hl_app.h"
#include "app/store/segment.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

typedef struct hl_writer hl_writer;

typedef struct hl_writer_opts {
    bool resume;           /* go on with an earlier run: its points with step >= resume_step */
    int64_t resume_step;   /* are superseded */
    bool append;           /* add to what is there, of which nothing is superseded */
    size_t n_ring;         /* records; 0: 32768 (1 MiB) */
    int64_t close_wait_ms; /* of a disk that refuses; 0: 10 s, < 0: none */
    /* Set by anybody when the run shall end: a full ring is then no longer waited for while the
     * disk refuses, or for more than 2 s. NULL: none. */
    const hl_flag *give_up;
    const hl_store_io *io; /* NULL: the system's */
} hl_writer_opts;

/* Takes the lock of an existing run directory and opens a new segment. opts NULL: all defaults.
 * STATE: another process writes the run. IO: the message says what and where. */
HL_MUST_CHECK hl_status hl_writer_open(const char *run_dir, const hl_writer_opts *opts,
                                       hl_writer **out);

/* Where a driver reports; valid until close. Tags starting with "sys/" may lose points when the
 * ring is full; nothing else does. flush returns when all is in the file, or when there has been trouble for 2 s.
 */
hl_sink hl_writer_sink(hl_writer *w);

/* The run's state from now on. Final states are the run's farewell: set one before closing. */
typedef struct hl_state_note {
    hl_run_state state;
    const char *reason;  /* of a final state: "script", "diverged", "store", "device", "signal",
                            "request"; or NULL */
    const char *message; /* in words, or NULL */
    int64_t step_total;  /* 0: not known */
} hl_state_note;
void hl_writer_set_state(hl_writer *w, int64_t step, const hl_state_note *note);

/* "I am alive and shall be heard of again within so many seconds"; phase: what it is doing now. */
void hl_writer_heartbeat(hl_writer *w, int64_t step, double within_s, const char *phase);

/* A checkpoint was completed (or removed); path is relative to the run directory. */
void hl_writer_checkpoint(hl_writer *w, int64_t step, const char *path, bool removed);

/* A result that the summary keeps: object is JSON. The last one per tag counts. */
void hl_writer_table(hl_writer *w, int64_t step, const char *tag, const char *object);

/* The same for a run that nobody writes, in a segment of its own; what is there stays as it is.
 * Errors: as hl_writer_open and hl_writer_close. */
HL_MUST_CHECK hl_status hl_run_add_table(const char *run_dir, int64_t step, const char *tag,
                                         const char *object);

/* A line for the run's log. Any thread; never waits, and may be called from an hl_log sink. */
void hl_writer_log(hl_writer *w, hl_log_level level, int64_t step, const char *text);

typedef struct hl_writer_status {
    int64_t trouble_since_us; /* the disk refuses since then; 0: all is well */
    int trouble_errno;
    int64_t n_records, n_bytes; /* handed to the file so far */
    int64_t n_waits, waited_ns; /* of the producer, for a full ring */
    int64_t n_sys_dropped,
        n_dropped; /* sys/ points; anything else (memory, giving up, log flood) */
} hl_writer_status;
hl_writer_status hl_writer_get_status(const hl_writer *w);
int64_t hl_writer_memory_bytes(const hl_writer *w); /* that its rings come to need */

/* Writes what is left and the final summary, drops the lock, frees w (NULL is fine). IO: the disk
 * refused to the end; the message says how much is missing. Nobody may log any more. */
HL_MUST_CHECK hl_status hl_writer_close(hl_writer *w);

#endif
