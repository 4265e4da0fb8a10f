/* What the two halves of the writer share: writer.c (the caller's side) and writer_thread.c. */
#ifndef HL_STORE_WRITER_INTERNAL_H
#define HL_STORE_WRITER_INTERNAL_H

#include "app/store/lock.h"
#include "app/store/summary.h"
#include "app/store/tag_table.h"
#include "app/store/writer.h"
#include "engine/base/vec.h"

typedef enum hl_record_what {
    HL_RECORD_DEFINE, /* the next series number; packet: letter of the kind, tag, NUL, content, NUL
                       */
    HL_RECORD_SCALAR, /* also WIDE */
    HL_RECORD_HIST,
    HL_RECORD_CURVE,
    HL_RECORD_JSON,
    HL_RECORD_LINE, /* packet: finished JSON of a log line */
    HL_RECORD_FLUSH
} hl_record_what;

/* Memory that travels to the store thread, and back to be used again. */
typedef struct hl_packet {
    size_t n, cap;
    size_t rows, cols; /* of a curve */
    _Alignas(16) unsigned char bytes[];
} hl_packet;

typedef struct hl_record {
    hl_record_what what;
    int32_t series;
    int64_t step, t_us;
    union {
        double number;
        hl_packet *packet; /* owned by the record */
        int64_t ticket;
    };
} hl_record;

typedef struct hl_stored_series {
    char *tag, *content; /* owned */
    hl_series_kind kind;
    int64_t slot; /* in the summary; -1: no point yet */
} hl_stored_series;

struct hl_writer {
    /* set by open */
    char *dir;
    hl_lock *lock;
    hl_thread *thread;
    int64_t close_wait_ms;
    const hl_flag *give_up;

    /* channels: points from the run's thread; lines from any thread, which take turns; empty
     * packets on their way back; a place to sleep */
    hl_ring *points, *lines, *spent;
    hl_mutex *turn, *sleep;
    hl_flag kicked, stop, flushed;
    hl_flag trouble_us, trouble_errno, n_records, n_bytes;
    hl_flag n_waits, waited_ns, n_sys_dropped, n_dropped;
    hl_flag n_unwritten; /* bytes, set when the thread ends */

    /* the run's thread only */
    hl_tag_table tags;
    HL_VEC(hl_series_kind) kinds;
    HL_VEC(bool) is_sys;
    int64_t n_tickets;
    bool told_waiting;

    /* the store thread only, between open and close */
    hl_segment segment;
    hl_summary *summary;
    HL_VEC(hl_stored_series) series;
    int64_t t_last_us; /* of the last record: times do not go back within a segment */
    bool clock_held, orphan_told;
    int64_t n_sys_told, n_dropped_told;
    bool summary_stale;
    int64_t summary_next_ns;
    hl_trouble summary_trouble;
    int64_t trouble_told_us, trouble_told_ns;
    hl_record point, line; /* next of each channel, when has_*: they are merged by time */
    bool has_point, has_line;
    int64_t ticket; /* flush asked for, to be confirmed by the next complete write */
};

void hl_writer_thread(void *writer);
void hl_writer_kick(hl_writer *w); /* wakes the store thread */

#endif
