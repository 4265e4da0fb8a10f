/* The caller's side of the writer: numbers series, fills the ring, waits when it must. */
#include "app/store/writer.h"

#include <string.h>
#include <unistd.h>

#include "app/store/event.h"
#include "app/store/run_dir.h"
#include "app/store/writer_internal.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

#define RING_DEFAULT  32768
#define LINES_DEFAULT 4096
#define SPENT_DEFAULT 1024
#define PACKET_BYTES  640 /* a histogram fits */
#define TELL_AFTER_NS (INT64_C(1000) * 1000000)
#define WAIT_MAX_NS   (INT64_C(2000) * 1000000)

/* ---- the ring ---- */

void hl_writer_kick(hl_writer *w)
{
    if (hl_flag_exchange(&w->kicked, 1))
        return;
    hl_mutex_lock(w->sleep);
    hl_mutex_wake(w->sleep);
    hl_mutex_unlock(w->sleep);
}

static bool has_packet(const hl_record *r)
{
    return r->what != HL_RECORD_SCALAR && r->what != HL_RECORD_FLUSH;
}

static void drop(hl_writer *w, hl_record *r)
{
    if (has_packet(r))
        hl_free(r->packet);
    hl_flag_add(&w->n_dropped, 1);
}

/* The run shall end, and the disk is no help: it refuses, or hangs. */
static bool is_hopeless(const hl_writer *w, int64_t waited_ns)
{
    return w->give_up && hl_flag_get(w->give_up) &&
           (hl_flag_get(&w->trouble_us) || waited_ns > WAIT_MAX_NS);
}

/* The ring is full: wait for room. false: gave up. */
static bool push_waiting(hl_writer *w, const hl_record *r)
{
    int64_t t0 = hl_clock_mono_ns(), now = t0;
    bool pushed = false;
    hl_flag_add(&w->n_waits, 1);
    while (!pushed && !is_hopeless(w, now - t0)) {
        bool trouble = hl_flag_get(&w->trouble_us) != 0;
        if (!trouble) /* else it wakes by itself when it is time to try again */
            hl_writer_kick(w);
        hl_clock_sleep_ms(trouble ? 20 : 1);
        pushed = hl_ring_push(w->points, r);
        now = hl_clock_mono_ns();
        if (!pushed && !w->told_waiting && now - t0 > TELL_AFTER_NS) {
            w->told_waiting = true;
            hl_log(HL_LOG_WARN, "run %s: training waits until its results can be written",
                   hl_fs_base(w->dir));
        }
    }
    w->told_waiting = w->told_waiting && !pushed;
    hl_flag_add(&w->waited_ns, now - t0);
    return pushed;
}

static bool push(hl_writer *w, hl_record *r, bool may_drop)
{
    if (!hl_ring_push(w->points, r)) {
        if (may_drop) {
            hl_flag_add(&w->n_sys_dropped, 1);
            return false;
        }
        if (!push_waiting(w, r)) {
            drop(w, r);
            return false;
        }
    }
    if (4 * hl_ring_used(w->points) >= hl_ring_capacity(w->points) && !hl_flag_get(&w->kicked))
        hl_writer_kick(w);
    return true;
}

/* Memory for a record: one that came back, or new. NULL: counted as dropped. */
static hl_packet *packet_new(hl_writer *w, size_t n)
{
    hl_packet *p = NULL;
    size_t cap = n > PACKET_BYTES ? n : PACKET_BYTES, n_bytes;
    if (hl_ring_pop(w->spent, &p) && p->cap >= n) {
        p->n = n;
        return p;
    }
    hl_free(p);
    p = hl_add_size(sizeof *p, cap, &n_bytes) ? hl_alloc(n_bytes) : NULL;
    if (!p) {
        hl_flag_add(&w->n_dropped, 1);
        return NULL;
    }
    p->cap = cap;
    p->n = n;
    return p;
}

static bool push_packet(hl_writer *w, hl_record_what what, int series, int64_t step, hl_packet *p)
{
    hl_record r = {
        .what = what, .series = series, .step = step, .t_us = hl_clock_wall_us(), .packet = p};
    return push(w, &r, false);
}

static bool push_bytes(hl_writer *w, hl_record_what what, int series, int64_t step,
                       const void *bytes, size_t n)
{
    hl_packet *p = packet_new(w, n);
    if (!p)
        return false;
    if (n)
        memcpy(p->bytes, bytes, n);
    return push_packet(w, what, series, step, p);
}

/* ---- the sink ---- */

static bool is_series(const hl_writer *w, int series, hl_series_kind kind)
{
    return series >= 0 && (size_t)series < w->kinds.n && w->kinds.at[series] == kind;
}

static bool define(hl_writer *w, const char *tag, hl_series_kind kind, const char *content,
                   size_t index)
{
    hl_str b = {0};
    hl_str_addc(&b, (char)('a' + (int)kind));
    hl_str_addn(&b, tag, strlen(tag) + 1);
    hl_str_addn(&b, content, strlen(content) + 1);
    bool ok = !b.failed && push_bytes(w, HL_RECORD_DEFINE, (int)index, 0, b.s, b.n);
    hl_str_done(&b);
    return ok;
}

static int sink_series(void *self, const char *tag, hl_series_kind kind, const char *content)
{
    hl_writer *w = self;
    size_t index;
    if (!*tag || hl_vec_reserve(&w->kinds, w->kinds.n + 1) != HL_OK ||
        hl_vec_reserve(&w->is_sys, w->is_sys.n + 1) != HL_OK ||
        hl_tag_table_add(&w->tags, tag, strlen(tag), &index) != HL_OK)
        return -1;
    if (index < w->kinds.n) {
        if (w->kinds.at[index] == kind)
            return (int)index;
        hl_log(HL_LOG_WARN,
               "series '%s' was used for another kind of value; this one is not stored", tag);
        return -1;
    }
    w->kinds.at[w->kinds.n++] = kind;
    w->is_sys.at[w->is_sys.n++] = hl_str_starts(tag, "sys/");
    return define(w, tag, kind, content ? content : "", index) ? (int)index : -1;
}

static void sink_scalar(void *self, int series, int64_t step, double value)
{
    hl_writer *w = self;
    if (!is_series(w, series, HL_SERIES_SCALAR) && !is_series(w, series, HL_SERIES_WIDE))
        return;
    hl_record r = {.what = HL_RECORD_SCALAR,
                   .series = series,
                   .step = step,
                   .t_us = hl_clock_wall_us(),
                   .number = value};
    push(w, &r, w->is_sys.at[series]);
}

static void sink_hist(void *self, int series, int64_t step, const hl_hist *h)
{
    if (is_series(self, series, HL_SERIES_HIST))
        push_bytes(self, HL_RECORD_HIST, series, step, h, sizeof *h);
}

static void sink_curve(void *self, int series, int64_t step, const float *v, int64_t rows,
                       int64_t cols)
{
    if (!is_series(self, series, HL_SERIES_CURVE) || rows < 0 || cols < 0)
        return;
    const size_t n_bytes = (size_t)(rows * cols) * sizeof *v;
    hl_packet *p = packet_new(self, n_bytes);
    if (!p)
        return;
    p->rows = (size_t)rows;
    p->cols = (size_t)cols;
    if (n_bytes)
        memcpy(p->bytes, v, n_bytes);
    push_packet(self, HL_RECORD_CURVE, series, step, p);
}

static void sink_json(void *self, int series, int64_t step, const char *object)
{
    if (!is_series(self, series, HL_SERIES_JSON))
        return;
    push_bytes(self, HL_RECORD_JSON, series, step, object, strlen(object) + 1);
    if (strstr(object, "\"level\":\"warning\"") || strstr(object, "\"level\":\"error\""))
        hl_writer_kick(self);
}

static void sink_flush(void *self)
{
    hl_writer *w = self;
    int64_t ticket = ++w->n_tickets, t0 = hl_clock_mono_ns();
    hl_record r = {.what = HL_RECORD_FLUSH, .t_us = hl_clock_wall_us(), .ticket = ticket};
    if (!push(w, &r, false))
        return;
    hl_writer_kick(w);
    while (hl_flag_get(&w->flushed) < ticket) {
        const int64_t waited = hl_clock_mono_ns() - t0, since_us = hl_flag_get(&w->trouble_us);
        /* trouble that is older has been waited for already: a run must not wait at every save */
        if ((since_us && (hl_clock_wall_us() - since_us) * 1000 > WAIT_MAX_NS) ||
            is_hopeless(w, waited))
            return;
        hl_clock_sleep_ms(1);
    }
}

hl_sink hl_writer_sink(hl_writer *w)
{
    return (hl_sink){w, sink_series, sink_scalar, sink_hist, sink_curve, sink_json, sink_flush};
}

/* ---- what a run says of itself ---- */

static void put_object(hl_writer *w, const char *tag, const char *content, int64_t step, hl_str *b)
{
    int series = sink_series(w, tag, HL_SERIES_JSON, content);
    if (series >= 0 && hl_str_status(b) == HL_OK)
        sink_json(w, series, step, hl_str_text(b));
    else
        hl_flag_add(&w->n_dropped, 1);
    hl_str_done(b);
}

void hl_writer_set_state(hl_writer *w, int64_t step, const hl_state_note *note)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "state", hl_run_state_name(note->state));
    if (note->reason)
        hl_json_put_str(&b, "reason", note->reason);
    if (note->message)
        hl_json_put_str(&b, "message", note->message);
    if (note->step_total > 0)
        hl_json_put_int(&b, "total", note->step_total);
    hl_json_end(&b, '}');
    put_object(w, "run/state", "state", step, &b);
    hl_writer_kick(w);
}

void hl_writer_heartbeat(hl_writer *w, int64_t step, double within_s, const char *phase)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_num(&b, "within_s", within_s);
    if (phase)
        hl_json_put_str(&b, "phase", phase);
    hl_json_end(&b, '}');
    put_object(w, "run/heartbeat", "heartbeat", step, &b);
}

void hl_writer_checkpoint(hl_writer *w, int64_t step, const char *path, bool removed)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "kind", "checkpoint");
    hl_json_put_str(&b, "path", path);
    if (removed)
        hl_json_put_bool(&b, "removed", true);
    hl_json_end(&b, '}');
    put_object(w, "run/checkpoint", "artifact", step, &b);
}

void hl_writer_table(hl_writer *w, int64_t step, const char *tag, const char *object)
{
    hl_str b = {0};
    hl_str_add(&b, object);
    put_object(w, tag, "table", step, &b);
}

static hl_packet *packet_of_line(hl_log_level level, const char *text)
{
    hl_str b = {0};
    hl_packet *p = NULL;
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "level", hl_log_level_name(level));
    hl_json_put_str(&b, "text", text);
    hl_json_end(&b, '}');
    if (!b.failed)
        p = hl_alloc(sizeof *p + b.n + 1);
    if (p) {
        p->n = p->cap = b.n + 1;
        memcpy(p->bytes, b.s, b.n + 1);
    }
    hl_str_done(&b);
    return p;
}

/* Called from hl_log sinks: must not log, and must not wait for the store thread, which may be the
 * caller. */
void hl_writer_log(hl_writer *w, hl_log_level level, int64_t step, const char *text)
{
    hl_record r = {.what = HL_RECORD_LINE,
                   .step = step,
                   .t_us = hl_clock_wall_us(),
                   .packet = packet_of_line(level, text)};
    bool pushed = false;
    if (r.packet) {
        hl_mutex_lock(w->turn);
        pushed = hl_ring_push(w->lines, &r);
        hl_mutex_unlock(w->turn);
    }
    if (!pushed)
        drop(w, &r);
    if (level >= HL_LOG_WARN || 4 * hl_ring_used(w->lines) >= hl_ring_capacity(w->lines))
        hl_writer_kick(w);
}

hl_writer_status hl_writer_get_status(const hl_writer *w)
{
    return (hl_writer_status){
        .trouble_since_us = hl_flag_get(&w->trouble_us),
        .trouble_errno = (int)hl_flag_get(&w->trouble_errno),
        .n_records = hl_flag_get(&w->n_records),
        .n_bytes = hl_flag_get(&w->n_bytes),
        .n_waits = hl_flag_get(&w->n_waits),
        .waited_ns = hl_flag_get(&w->waited_ns),
        .n_sys_dropped = hl_flag_get(&w->n_sys_dropped),
        .n_dropped = hl_flag_get(&w->n_dropped),
    };
}

/* ---- open and close ---- */

/* What a writer that was killed left half-made. */
static void sweep(const char *dir)
{
    hl_fs_list list;
    if (hl_fs_list_dir(dir, &list) != HL_OK)
        return;
    for (size_t i = 0; i < list.n; i++) {
        char *path =
            hl_str_starts(list.name[i], "summary.json.tmp-") ? hl_fs_join(dir, list.name[i]) : NULL;
        if (path)
            (void)unlink(path);
        hl_free(path);
    }
    hl_fs_list_free(&list);
}

/* start NULL: nothing of earlier segments is superseded. */
static hl_status open_segment(hl_writer *w, const int64_t *start, const hl_store_io *io)
{
    hl_stamp at = {start ? *start : 0, hl_clock_wall_us()};
    hl_status st = hl_segment_open(w->dir, io, &w->segment);
    if (st != HL_OK)
        return st;
    bool built = hl_event_put_version(&w->segment.buffer) &&
                 (!start || hl_event_put_start(&w->segment.buffer, at));
    if (built)
        hl_segment_write(&w->segment, hl_clock_mono_ns());
    if (built && hl_segment_pending(&w->segment) == 0) {
        w->t_last_us = at.t_us;
        hl_flag_set(&w->n_bytes, (int64_t)w->segment.buffer.n);
        hl_flag_set(&w->n_records, start ? 2 : 1);
        return HL_OK;
    }
    (void)unlink(w->segment.path);
    return built ? hl_err_set(HL_E_IO, "cannot write %s: %s", w->segment.path,
                              hl_trouble_reason(&w->segment.trouble))
                 : hl_err_nomem("the head of an event file", 128);
}

static hl_status make_channels(hl_writer *w, const hl_writer_opts *opts)
{
    hl_status st = HL_OK;
    size_t n_points = opts->n_ring ? opts->n_ring : RING_DEFAULT;
    HL_TRY(hl_ring_new(n_points, sizeof(hl_record), &w->points));
    HL_TRY(hl_ring_new(LINES_DEFAULT, sizeof(hl_record), &w->lines));
    HL_TRY(hl_ring_new(SPENT_DEFAULT, sizeof(hl_packet *), &w->spent));
    HL_TRY(hl_mutex_new(&w->turn));
    HL_TRY(hl_mutex_new(&w->sleep));
out:
    return st;
}

int64_t hl_writer_memory_bytes(const hl_writer *w)
{
    const size_t n = hl_ring_capacity(w->points) + hl_ring_capacity(w->lines);
    return (int64_t)(n * sizeof(hl_record) + hl_ring_capacity(w->spent) * sizeof(hl_packet *));
}

static void empty_ring(hl_ring *ring)
{
    hl_record r;
    while (ring && hl_ring_pop(ring, &r))
        if (has_packet(&r))
            hl_free(r.packet);
    hl_ring_free(ring);
}

static void writer_free(hl_writer *w)
{
    hl_packet *p;
    while (w->spent && hl_ring_pop(w->spent, &p))
        hl_free(p);
    hl_ring_free(w->spent);
    if (w->has_point && has_packet(&w->point))
        hl_free(w->point.packet);
    if (w->has_line)
        hl_free(w->line.packet);
    empty_ring(w->points);
    empty_ring(w->lines);
    hl_mutex_free(w->turn);
    hl_mutex_free(w->sleep);
    hl_tag_table_done(&w->tags);
    hl_vec_done(&w->kinds);
    hl_vec_done(&w->is_sys);
    hl_segment_close(&w->segment);
    hl_summary_free(w->summary);
    for (size_t i = 0; i < w->series.n; i++) {
        hl_free(w->series.at[i].tag);
        hl_free(w->series.at[i].content);
    }
    hl_vec_done(&w->series);
    hl_lock_release(w->lock);
    hl_free(w->dir);
    hl_free(w);
}

hl_status hl_writer_open(const char *run_dir, const hl_writer_opts *opts, hl_writer **out)
{
    static const hl_writer_opts defaults = {0};
    hl_status st = HL_OK;
    hl_writer *w = hl_alloc_zero(1, sizeof *w);
    if (!w)
        return HL_E_NOMEM;
    if (!opts)
        opts = &defaults;
    const int64_t from = opts->resume ? opts->resume_step : 0;
    const int64_t *start = opts->append ? NULL : &from;
    w->segment.fd = -1;
    w->give_up = opts->give_up;
    w->close_wait_ms = opts->close_wait_ms ? opts->close_wait_ms : 10000;
    w->dir = hl_strdup(run_dir);
    if (!w->dir) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(hl_lock_take(run_dir, &w->lock));
    sweep(run_dir);
    HL_TRY(hl_summary_rebuild(run_dir, start, &w->summary));
    HL_TRY(make_channels(w, opts));
    HL_TRY(open_segment(w, start, opts->io));
    hl_summary_segment(w->summary);
    HL_TRY(hl_thread_start("store", hl_writer_thread, w, &w->thread));
    *out = w;
out:
    if (st != HL_OK)
        writer_free(w);
    return st;
}

hl_status hl_run_add_table(const char *run_dir, int64_t step, const char *tag, const char *object)
{
    hl_writer *w = NULL;
    hl_status st = hl_writer_open(run_dir, &(hl_writer_opts){.append = true}, &w);
    if (st != HL_OK)
        return st;
    hl_writer_table(w, step, tag, object);
    return hl_writer_close(w);
}

hl_status hl_writer_close(hl_writer *w)
{
    if (!w)
        return HL_OK;
    hl_flag_set(&w->stop, 1);
    hl_writer_kick(w);
    hl_thread_join(w->thread);
    hl_status st = HL_OK;
    int64_t missing = hl_flag_get(&w->n_unwritten);
    if (missing)
        st = hl_err_set(HL_E_IO, "run %s: the last %lld bytes of results could not be written: %s",
                        hl_fs_base(w->dir), (long long)missing,
                        hl_trouble_reason(&w->segment.trouble));
    writer_free(w);
    return st;
}
