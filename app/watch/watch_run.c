#include "app/watch/watch_internal.h"

#include <string.h>

#include "app/store/run_dir.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

#define SLICE_BYTES    ((int64_t)256 << 10)
#define PROGRESS_BYTES ((int64_t)4 << 20)
#define FACTS_MAX      ((size_t)64 << 20)

hl_status hl_watch_run_new(int slot, const char *dir, hl_watch_run **out)
{
    hl_watch_run *r = hl_alloc_zero(1, sizeof *r);
    if (!r)
        return HL_E_NOMEM;
    r->slot = slot;
    r->watch = -1;
    r->dir = hl_fs_absolute(dir);
    if (!r->dir) {
        hl_free(r);
        return HL_E_NOMEM;
    }
    *out = r;
    return HL_OK;
}

static void close_run(hl_watch_run *r)
{
    hl_log_reader_free(r->log);
    r->log = NULL;
    r->want = (hl_log_want){0};
    hl_follow_close(r->follow);
    hl_series_table_done(&r->series);
    r->follow = NULL;
    r->n_told = 0;
    r->lost = r->told_progress = r->has_config = false;
}

void hl_watch_run_free(hl_watch_run *r)
{
    if (!r)
        return;
    close_run(r);
    hl_free(r->failure);
    hl_free(r->dir);
    hl_free(r);
}

/* ---- events become items ---- */

static void tell(hl_watch_run *r, hl_watch_item *item)
{
    item->slot = r->slot;
    if (r->lost)
        hl_watch_item_done(item);
    else
        r->lost = !hl_outbox_add(r->out, item);
}

/* A copy of n bytes and a NUL, or NULL and an item lost. */
static void *copy_of(hl_watch_run *r, const void *bytes, size_t n)
{
    char *copy = hl_alloc(n + 1);
    if (!copy) {
        r->lost = true;
        return NULL;
    }
    if (n)
        memcpy(copy, bytes, n);
    copy[n] = '\0';
    return copy;
}

static void tell_series(hl_watch_run *r, size_t series)
{
    for (; r->n_told <= series; r->n_told++) {
        const hl_series_info info = hl_series_table_at(&r->series, r->n_told);
        const size_t n_tag = strlen(info.tag) + 1, n_content = strlen(info.content) + 1;
        char *text = hl_alloc(n_tag + n_content);
        if (!text) {
            r->lost = true;
            return;
        }
        memcpy(text, info.tag, n_tag);
        memcpy(text + n_tag, info.content, n_content);
        hl_watch_item item = {.kind = HL_WATCH_SERIES, .series = r->n_told};
        item.u.info.tag = text;
        item.u.info.content = text + n_tag;
        item.u.info.kind = info.kind;
        tell(r, &item);
    }
}

static void see_point(void *self, size_t series, int64_t step, int64_t t_us, double value)
{
    hl_watch_run *r = self;
    hl_watch_item item = {HL_WATCH_POINT, 0, series, step, t_us, .u.value = value};
    if (series >= r->n_told)
        tell_series(r, series);
    tell(r, &item);
}

static void see_hist(void *self, size_t series, int64_t step, int64_t t_us, const hl_hist *h)
{
    hl_watch_run *r = self;
    hl_watch_item item = {HL_WATCH_HIST, 0, series, step, t_us, .u.hist = NULL};
    tell_series(r, series);
    item.u.hist = copy_of(r, h, sizeof *h);
    tell(r, &item);
}

static void see_curve(void *self, size_t series, int64_t step, int64_t t_us, const hl_curve *c)
{
    hl_watch_run *r = self;
    hl_watch_item item = {HL_WATCH_CURVE, 0,    series,
                          step,           t_us, .u.curve = {NULL, c->rows, c->cols}};
    tell_series(r, series);
    item.u.curve.v = copy_of(r, c->v, c->rows * c->cols * sizeof *c->v);
    tell(r, &item);
}

/* What an event says in the log, if it does. */
static void tell_line(hl_watch_run *r, hl_status met, const hl_log_line *line, int64_t step,
                      int64_t t_us)
{
    hl_watch_item item = {HL_WATCH_LINE, .step = step, .t_us = t_us};
    r->lost |= met != HL_OK;
    if (met != HL_OK || !line->level)
        return;
    item.u.line.place = line->place;
    item.u.line.number = line->number;
    item.u.line.level = line->level;
    item.u.line.text = line->text;
    tell(r, &item);
}

static void see_json(void *self, size_t series, int64_t step, int64_t t_us, const char *text,
                     size_t n)
{
    hl_watch_run *r = self;
    hl_watch_item item = {HL_WATCH_JSON, 0, series, step, t_us, .u.json = {NULL, n}};
    const hl_series_info info = hl_series_table_at(&r->series, series);
    hl_log_line line;
    tell_series(r, series);
    if (strcmp(info.content, "log") != 0) {
        item.u.json.text = copy_of(r, text, n);
        tell(r, &item);
    }
    const hl_status st = hl_log_reader_meet(r->log, info.tag, info.content, text, n, &line);
    tell_line(r, st, &line, step, t_us);
}

static void see_superseded(void *self, int64_t from)
{
    hl_watch_run *r = self;
    hl_watch_item item = {.kind = HL_WATCH_SUPERSEDED, .step = from};
    hl_log_line line;
    tell(r, &item);
    const hl_status st = hl_log_reader_meet_start(r->log, from, &line);
    tell_line(r, st, &line, from, 0);
}

/* ---- looking ---- */

static char *text_of(const char *dir, const char *name)
{
    char *path = hl_fs_join(dir, name), *text = NULL;
    if (path && hl_fs_read(path, FACTS_MAX, &text, NULL) != HL_OK)
        text = NULL;
    hl_free(path);
    return text;
}

static void tell_facts(hl_watch_run *r, hl_watch_kind kind)
{
    hl_watch_item item = {.kind = kind};
    item.u.facts.config = text_of(r->dir, "config.json");
    item.u.facts.run = text_of(r->dir, "run.json");
    r->has_config = item.u.facts.config != NULL;
    if (r->has_config || kind == HL_WATCH_FOLLOWED)
        tell(r, &item);
    else
        hl_watch_item_done(&item);
}

static hl_status open_run(hl_watch_run *r, int fd)
{
    if (r->watch < 0) { /* first, so that nothing is missed */
        r->watch = hl_notice_add(fd, r->dir, HL_NOTICE_WRITES);
        r->by_clock = r->watch == -2;
    }
    if (!hl_run_dir_is_run(r->dir))
        return hl_err_set(HL_E_NOTFOUND,
                          "%s is not a run (any more): it has no run.json and no "
                          "events",
                          r->dir);
    const hl_follow_opts opts = {.as_it_came = true};
    hl_status st = hl_follow_open(r->dir, opts, &r->series, &r->follow);
    if (st == HL_OK)
        st = hl_log_reader_new(r->follow, &r->log);
    if (st != HL_OK)
        return st;
    hl_log_reader_ask(r->log, &r->want);
    tell_facts(r, HL_WATCH_FOLLOWED);
    return HL_OK;
}

static void tell_progress(hl_watch_run *r, bool caught_up)
{
    hl_watch_item item = {.kind = HL_WATCH_PROGRESS};
    const int64_t damages = hl_follow_damages(r->follow);
    hl_follow_progress(r->follow, &item.u.progress.done, &item.u.progress.total);
    if (r->told_progress && item.u.progress.done < r->done + PROGRESS_BYTES &&
        damages == r->damages && !(caught_up && !r->caught_up))
        return;
    r->told_progress = true;
    r->done = item.u.progress.done;
    r->damages = item.u.progress.damages = damages;
    r->caught_up = item.u.progress.caught_up = caught_up;
    tell(r, &item);
}

static void tell_failure(hl_watch_run *r)
{
    if (r->failure && strcmp(r->failure, hl_err_message()) == 0)
        return;
    hl_free(r->failure);
    r->failure = hl_strdup(hl_err_message());
    hl_watch_item item = {.kind = HL_WATCH_FAILED, .slot = r->slot};
    item.u.message = r->failure ? hl_strdup(r->failure) : NULL;
    if (!item.u.message || !hl_outbox_add(r->out, &item)) {
        hl_free(r->failure); /* to be told another time */
        r->failure = NULL;
    }
}

void hl_watch_run_want_log(hl_watch_run *r, const hl_log_want *want)
{
    r->want = *want;
    if (r->log)
        hl_log_reader_ask(r->log, want);
}

bool hl_watch_run_read_log(hl_watch_run *r)
{
    hl_watch_item item = {.kind = HL_WATCH_PAGE};
    if (!r->log || !hl_log_reader_is_busy(r->log))
        return false;
    if (hl_log_reader_slice(r->log, &item.u.page) != HL_OK) {
        tell_failure(r); /* until the next look, which tells what is the case */
        r->pace.due_ns = 0;
        return true;
    }
    if (item.u.page)
        tell(r, &item);
    return true;
}

void hl_watch_run_look(hl_watch_run *r, int fd, int64_t now_ns)
{
    const hl_run_visitor visitor = {r, see_point, see_hist, see_curve, see_json, see_superseded};
    bool more = false;
    hl_status st = r->follow ? HL_OK : open_run(r, fd);
    if (st == HL_OK)
        st = hl_follow_poll(r->follow, &visitor, SLICE_BYTES, &more);
    if (st == HL_OK && hl_follow_has_shrunk(r->follow))
        st = hl_err_set(HL_E_FORMAT, "%s: its events became shorter; they are read anew", r->dir);
    if (st == HL_OK && r->lost)
        st = hl_err_set(HL_E_NOMEM, "no memory to read %s", r->dir);
    if (st != HL_OK) {
        tell_failure(r);
        if (st != HL_E_IO)
            close_run(r); /* what was missed can only be found again from the start */
        hl_pace_looked(&r->pace, now_ns + HL_PACE_TICK_NS);
        return;
    }
    if (r->failure)
        r->told_progress = false; /* the next item says that it is over */
    hl_free(r->failure);
    r->failure = NULL;
    if (!r->has_config)
        tell_facts(r, HL_WATCH_FACTS);
    tell_progress(r, !more);
    const int64_t later_ns = r->by_clock ? now_ns + HL_PACE_TICK_NS : HL_PACE_NEVER;
    hl_pace_looked(&r->pace, more ? now_ns : later_ns);
}

static bool knows_segment(const hl_watch_run *r, const char *name)
{
    for (size_t i = 0; r->follow && i < hl_follow_segments(r->follow); i++)
        if (strcmp(hl_fs_base(hl_follow_segment_path(r->follow, i)), name) == 0)
            return true;
    return false;
}

void hl_watch_run_notice(hl_watch_run *r, const hl_notice *n, int64_t worked_ns)
{
    const bool segment = hl_str_starts(n->name, HL_SEGMENT_PREFIX);
    if (n->gone)
        r->watch = -1;
    /* What is there under the name from now on is another run. An open file would also keep its
     * deleted directory from going. */
    if (n->gone || (segment && (n->removed || (n->arrived && knows_segment(r, n->name)))))
        close_run(r);
    if (n->gone || n->watch < 0 || segment || strcmp(n->name, "config.json") == 0)
        hl_pace_hint(&r->pace, worked_ns);
}
