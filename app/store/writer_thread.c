/* The store thread: takes records from the channels, turns them into bytes, brings the bytes to the
 * disk, keeps the summary.
 *
 * Every 250 ms, or when woken: empty the channels into the segment's buffer, one write. Once a
 * second: one sync, and the summary if it changed. While the disk refuses, the buffer grows to
 * BUFFER_MAX_BYTES; then records stay in the ring, and when that is full the run waits. */
#include "app/store/writer_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app/store/event.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

#define MS               INT64_C(1000000)
#define NAP_MS           250
#define SYNC_NS          (1000 * MS)
#define SUMMARY_NS       (1000 * MS)
#define SUMMARY_SHARE    20 /* at most this part (1/20) of the time goes into summaries */
#define BUFFER_MAX_BYTES ((size_t)8 << 20)
#define CLOCK_SLACK_US   1000000
#define SPENT_MAX_BYTES  ((size_t)64 << 10)

/* ---- records ---- */

static void count(hl_writer *w, bool stored)
{
    if (stored)
        hl_flag_add(&w->n_records, 1);
    else
        hl_flag_add(&w->n_dropped, 1);
}

static void put_note(hl_writer *w, const char *tag, const char *content, hl_stamp at,
                     const char *text)
{
    hl_summary_note note = {tag, content, at.step, at.t_us, text, strlen(text)};
    bool stored = hl_event_put_json(&w->segment.buffer, tag, at, content, text);
    count(w, stored);
    if (stored && hl_summary_json(w->summary, &note) != HL_OK)
        hl_log(HL_LOG_WARN, "summary of the run: %s", hl_err_message());
}

/* A log line of the store itself. */
static void put_own_line(hl_writer *w, int64_t step, const char *text)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "level", "warning");
    hl_json_put_str(&b, "text", text);
    hl_json_end(&b, '}');
    if (!b.failed)
        put_note(w, "run/log", "log", (hl_stamp){step, w->t_last_us}, b.s);
    hl_str_done(&b);
}

/* Times never go back within a segment, whatever the clock does. Small steps back are the rule: the
 * two channels are read one after the other. */
static hl_stamp stamp(hl_writer *w, const hl_record *r)
{
    int64_t behind = w->t_last_us - r->t_us;
    if (behind <= 0) {
        w->t_last_us = r->t_us;
        w->clock_held = false;
    } else if (behind > CLOCK_SLACK_US && !w->clock_held) {
        char text[160], dur[24];
        w->clock_held = true;
        snprintf(text, sizeof text,
                 "the clock went back by %s; recorded times stand still until it has caught up",
                 hl_format_duration(dur, (double)behind / 1e6));
        put_own_line(w, r->step, text);
    }
    return (hl_stamp){r->step, w->t_last_us};
}

static void define_series(hl_writer *w, const hl_record *r)
{
    const char *tag = (const char *)r->packet->bytes + 1;
    const char *content = tag + strlen(tag) + 1;
    size_t n = (size_t)r->series + 1;
    hl_stored_series s = {.tag = hl_strdup(tag),
                          .content = hl_strdup(content),
                          .kind = (hl_series_kind)(r->packet->bytes[0] - 'a'),
                          .slot = -1};
    if (!s.tag || !s.content || hl_vec_reserve(&w->series, n) != HL_OK) {
        hl_free(s.tag);
        hl_free(s.content);
        count(w, false);
        return;
    }
    while (w->series.n < n) /* a number whose definition got lost stays without a tag */
        w->series.at[w->series.n++] = (hl_stored_series){.slot = -1};
    w->series.at[r->series] = s;
}

static void put_point(hl_writer *w, hl_stored_series *s, hl_stamp at, double value)
{
    size_t slot;
    hl_str *out = &w->segment.buffer;
    if (s->kind == HL_SERIES_SCALAR)
        value = (double)(float)value;
    bool stored = s->kind == HL_SERIES_SCALAR ? hl_event_put_scalar(out, s->tag, at, (float)value)
                                              : hl_event_put_wide(out, s->tag, at, value);
    count(w, stored);
    if (stored && s->slot < 0 && hl_summary_scalar(w->summary, s->tag, &slot) == HL_OK)
        s->slot = (int64_t)slot;
    if (stored && s->slot >= 0)
        hl_summary_point(w->summary, (size_t)s->slot, at.step, at.t_us, value);
}

static void put_data(hl_writer *w, const hl_record *r, const hl_stored_series *s, hl_stamp at)
{
    hl_str *out = &w->segment.buffer;
    const hl_packet *p = r->packet;
    bool stored = r->what == HL_RECORD_HIST
                      ? hl_event_put_hist(out, s->tag, at, (const hl_hist *)p->bytes)
                      : hl_event_put_curve(out, s->tag, at, p->bytes, p->rows, p->cols);
    count(w, stored);
    if (stored)
        hl_summary_mark(w->summary, at.step, at.t_us);
}

static void store(hl_writer *w, const hl_record *r)
{
    if (r->what == HL_RECORD_DEFINE) {
        define_series(w, r);
        return;
    }
    if (r->what == HL_RECORD_FLUSH) {
        w->ticket = r->ticket;
        return;
    }
    hl_stamp at = stamp(w, r);
    w->summary_stale = true;
    if (r->what == HL_RECORD_LINE) {
        put_note(w, "run/log", "log", at, (const char *)r->packet->bytes);
        return;
    }
    hl_stored_series *s = (size_t)r->series < w->series.n ? &w->series.at[r->series] : NULL;
    if (!s || !s->tag)
        count(w, false);
    else if (r->what == HL_RECORD_SCALAR)
        put_point(w, s, at, r->number);
    else if (r->what == HL_RECORD_JSON)
        put_note(w, s->tag, s->content, at, (const char *)r->packet->bytes);
    else
        put_data(w, r, s, at);
}

/* ---- channels ---- */

/* The earlier one of the next point and the next line. */
static bool next_record(hl_writer *w, hl_record *out)
{
    if (!w->has_line)
        w->has_line = hl_ring_pop(w->lines, &w->line);
    if (!w->has_point)
        w->has_point = hl_ring_pop(w->points, &w->point);
    if (w->has_line && (!w->has_point || w->line.t_us < w->point.t_us)) {
        w->has_line = false;
        *out = w->line;
        return true;
    }
    if (!w->has_point)
        return false;
    w->has_point = false;
    *out = w->point;
    return true;
}

static void recycle(hl_writer *w, const hl_record *r)
{
    if (r->what == HL_RECORD_SCALAR || r->what == HL_RECORD_FLUSH)
        return;
    hl_packet *p = r->packet;
    if (r->what == HL_RECORD_LINE || p->cap > SPENT_MAX_BYTES || !hl_ring_push(w->spent, &p))
        hl_free(p);
}

/* false: stopped because the buffer is full */
static bool take_records(hl_writer *w)
{
    hl_record r;
    size_t before = w->segment.buffer.n;
    bool room = true;
    while ((room = w->segment.buffer.n < BUFFER_MAX_BYTES) && next_record(w, &r)) {
        store(w, &r);
        recycle(w, &r);
    }
    hl_flag_add(&w->n_bytes, (int64_t)(w->segment.buffer.n - before));
    return room;
}

/* ---- the disk ---- */

/* Says once when the disk starts to refuse and once when it takes again. */
static void tell_trouble(hl_writer *w, int64_t now_ns)
{
    const hl_trouble *t = &w->segment.trouble;
    hl_flag_set(&w->trouble_errno, t->error);
    hl_flag_set(&w->trouble_us, t->since_us);
    if (t->since_us && !w->trouble_told_us) {
        w->trouble_told_ns = now_ns;
        hl_log(HL_LOG_WARN, "cannot write %s: %s. The run goes on and keeps its results in memory",
               w->segment.path, hl_trouble_reason(t));
    } else if (!t->since_us && w->trouble_told_us) {
        char dur[24];
        hl_log(HL_LOG_WARN, "%s can be written again after %s; nothing was lost", w->segment.path,
               hl_format_duration(dur, (double)(now_ns - w->trouble_told_ns) / 1e9));
    }
    w->trouble_told_us = t->since_us;
}

/* Points that were not stored, in the run's own log, at most once a second. */
static void tell_drops(hl_writer *w)
{
    char text[160];
    int64_t n_sys = hl_flag_get(&w->n_sys_dropped) - w->n_sys_told;
    int64_t n_other = hl_flag_get(&w->n_dropped) - w->n_dropped_told;
    if (n_sys > 0) {
        w->n_sys_told += n_sys;
        snprintf(text, sizeof text,
                 "%lld points of sys/ series were dropped: the store could not keep up",
                 (long long)n_sys);
        put_own_line(w, 0, text);
    }
    if (n_other > 0) {
        w->n_dropped_told += n_other;
        snprintf(text, sizeof text,
                 "%lld values or log lines were dropped: no memory, or too many at once",
                 (long long)n_other);
        put_own_line(w, 0, text);
    }
}

static void save_summary(hl_writer *w, int64_t now_ns)
{
    if (!w->summary_stale || hl_trouble_waits(&w->summary_trouble, now_ns))
        return;
    hl_status st = hl_summary_save(w->summary, w->dir);
    int64_t took_ns = hl_clock_mono_ns() - now_ns;
    if (st != HL_OK) {
        if (!w->summary_trouble.since_us && !w->segment.trouble.since_us)
            hl_log(HL_LOG_WARN, "%s. The run goes on; its summary can be rebuilt",
                   hl_err_message());
        hl_trouble_note(&w->summary_trouble, EIO, now_ns);
        return;
    }
    w->summary_trouble = (hl_trouble){0};
    w->summary_stale = false;
    w->summary_next_ns =
        now_ns + (took_ns * SUMMARY_SHARE > SUMMARY_NS ? took_ns * SUMMARY_SHARE : SUMMARY_NS);
}

static void once_a_second(hl_writer *w, int64_t now_ns)
{
    tell_drops(w);
    hl_segment_sync(&w->segment, now_ns);
    if (!w->orphan_told && hl_segment_is_orphan(&w->segment)) {
        w->orphan_told = true;
        hl_log(HL_LOG_ERROR,
               "%s was deleted while the run writes it: its results are lost from here on, "
               "stop the run",
               w->segment.path);
    }
    w->segment.synced_ns = now_ns;
}

static void cycle(hl_writer *w)
{
    int64_t now_ns;
    bool room;
    do {
        room = take_records(w);
        now_ns = hl_clock_mono_ns();
        hl_segment_write(&w->segment, now_ns);
        if (now_ns - w->segment.synced_ns >= SYNC_NS || !room)
            once_a_second(w, now_ns);
        tell_trouble(w, now_ns);
    } while (!room && w->segment.buffer.n < BUFFER_MAX_BYTES);
    if (hl_segment_pending(&w->segment) == 0)
        hl_flag_set(&w->flushed, w->ticket);
    if (now_ns >= w->summary_next_ns)
        save_summary(w, now_ns);
}

static bool channels_are_empty(const hl_writer *w)
{
    return !w->has_point && !w->has_line && hl_ring_used(w->points) == 0 &&
           hl_ring_used(w->lines) == 0;
}

/* Everything to the disk, with the patience that the caller of close asked for. */
static void finish(hl_writer *w)
{
    int64_t deadline = hl_clock_mono_ns() + (w->close_wait_ms > 0 ? w->close_wait_ms * MS : 0);
    w->segment.trouble.retry_ns = w->summary_trouble.retry_ns = 0;
    for (;;) {
        int64_t now_ns = hl_clock_mono_ns();
        cycle(w);
        tell_drops(w);
        hl_segment_write(&w->segment, now_ns);
        hl_segment_sync(&w->segment, now_ns);
        save_summary(w, now_ns);
        tell_trouble(w, now_ns);
        bool on_disk = channels_are_empty(w) && w->segment.buffer.n == 0;
        if ((on_disk && !w->summary_stale) || hl_clock_mono_ns() >= deadline)
            break;
        hl_clock_sleep_ms(20);
    }
    size_t left = hl_segment_pending(&w->segment);
    left += (hl_ring_used(w->points) + w->has_point) * sizeof(hl_record);
    hl_flag_set(&w->n_unwritten, (int64_t)left);
}

void hl_writer_thread(void *writer)
{
    hl_writer *w = writer;
    while (!hl_flag_get(&w->stop)) {
        hl_mutex_lock(w->sleep);
        if (!hl_flag_get(&w->kicked))
            hl_mutex_wait(w->sleep, NAP_MS);
        hl_mutex_unlock(w->sleep);
        hl_flag_set(&w->kicked, 0);
        cycle(w);
    }
    finish(w);
}
