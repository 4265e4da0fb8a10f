#include "app/store/follow.h"

#include <string.h>

#include "app/store/event.h"
#include "app/store/event_file.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

typedef struct segment {
    char *path;
    bool has_start; /* its START record is known */
    int64_t start;  /* the step of that */
    int64_t limit;  /* points with step >= limit are superseded by a later segment */
} segment;

struct hl_follow {
    char *dir;
    hl_follow_opts opts;
    hl_series_table *series;
    HL_VEC(segment) segments;
    size_t at;           /* the segment being read */
    hl_event_file *file; /* of that segment, or NULL */
    int64_t done_bytes, done_damages, n_unknown;
    hl_str text; /* key or JSON text of the value at hand */
    HL_VEC(float) floats;
};

/* ---- series ---- */

size_t hl_series_table_n(const hl_series_table *t)
{
    return t->keys.n;
}

hl_series_info hl_series_table_at(const hl_series_table *t, size_t i)
{
    const char *key = t->keys.name[i];
    return (hl_series_info){key + 1, (hl_series_kind)(key[0] - 'a'), t->content[i]};
}

static int64_t find_key(const hl_series_table *t, hl_str *key, hl_bytes tag, hl_series_kind kind)
{
    hl_str_clear(key);
    hl_str_addc(key, (char)('a' + (int)kind));
    hl_str_addn(key, tag.s, tag.n);
    return key->failed ? -1 : hl_tag_table_find(&t->keys, key->s, key->n);
}

int64_t hl_series_table_find(const hl_series_table *t, const char *tag, hl_series_kind kind)
{
    hl_str key = {0};
    int64_t i = find_key(t, &key, (hl_bytes){tag, strlen(tag)}, kind);
    hl_str_done(&key);
    return i;
}

void hl_series_table_done(hl_series_table *t)
{
    for (size_t i = 0; i < t->keys.n; i++)
        hl_free(t->content[i]);
    hl_free(t->content);
    hl_tag_table_done(&t->keys);
    *t = (hl_series_table){0};
}

static hl_status add_series(hl_series_table *t, const hl_str *key, hl_bytes content, size_t *out)
{
    hl_status st = hl_vec_grow((void **)&t->content, &t->cap, t->keys.n + 1, sizeof *t->content);
    if (st != HL_OK)
        return st;
    char *copy = hl_strndup(content.n ? content.s : "", content.n);
    if (!copy)
        return HL_E_NOMEM;
    st = hl_tag_table_add(&t->keys, key->s, key->n, out);
    if (st == HL_OK)
        t->content[*out] = copy;
    else
        hl_free(copy);
    return st;
}

static hl_status series_of(hl_follow *f, const hl_event_value *v, size_t *out)
{
    int64_t have = find_key(f->series, &f->text, v->tag, v->kind);
    hl_status st = hl_str_status(&f->text);
    if (st != HL_OK)
        return st;
    if (have < 0)
        return add_series(f->series, &f->text, v->content, out);
    *out = (size_t)have;
    return HL_OK;
}

/* ---- segments ---- */

/* Reads the START record, which stands among the first three of a segment of ours. */
static hl_status peek_start(segment *s)
{
    hl_event_file *file;
    hl_status st = hl_event_file_open(s->path, &file);
    if (st == HL_E_NOTFOUND)
        return HL_OK; /* deleted since it was listed */
    if (st != HL_OK)
        return st;
    for (int i = 0; i < 3 && !s->has_start; i++) {
        const unsigned char *payload;
        size_t n;
        bool got;
        hl_event ev;
        st = hl_event_file_next(file, &payload, &n, &got);
        if (st != HL_OK || !got)
            break;
        if (hl_event_parse(payload, n, &ev) && ev.is_start) {
            s->has_start = true;
            s->start = ev.at.step;
        }
    }
    hl_event_file_close(file);
    return st;
}

/* Appends the segments that sort behind the last one known. */
static hl_status list_segments(hl_follow *f)
{
    hl_fs_list list;
    hl_status st = hl_fs_list_dir(f->dir, &list);
    if (st != HL_OK)
        return st;
    for (size_t i = 0; i < list.n && st == HL_OK; i++) {
        const char *last = f->segments.n ? hl_fs_base(f->segments.at[f->segments.n - 1].path) : "";
        if (!hl_str_starts(list.name[i], HL_SEGMENT_PREFIX) || strcmp(list.name[i], last) <= 0)
            continue;
        segment s = {.path = hl_fs_join(f->dir, list.name[i]), .limit = INT64_MAX};
        st = s.path ? hl_vec_push(&f->segments, s) : HL_E_NOMEM;
        if (st != HL_OK)
            hl_free(s.path);
    }
    hl_fs_list_free(&list);
    return st;
}

static hl_status set_limits(hl_follow *f)
{
    int64_t limit = f->opts.has_limit ? f->opts.limit : INT64_MAX;
    for (size_t i = f->segments.n; i-- > 0;) {
        segment *s = &f->segments.at[i];
        s->limit = limit;
        hl_status st = peek_start(s);
        if (st != HL_OK)
            return st;
        if (s->has_start && s->start < limit)
            limit = s->start;
    }
    return HL_OK;
}

hl_status hl_follow_open(const char *dir, hl_follow_opts opts, hl_series_table *series,
                         hl_follow **out)
{
    hl_status st = HL_OK;
    hl_follow *f = hl_alloc_zero(1, sizeof *f);
    if (!f)
        return HL_E_NOMEM;
    f->opts = opts;
    f->series = series;
    f->dir = hl_strdup(dir);
    if (!f->dir) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(list_segments(f));
    if (!opts.with_superseded && !opts.as_it_came)
        HL_TRY(set_limits(f));
    *out = f;
out:
    if (st != HL_OK)
        hl_follow_close(f);
    return st;
}

void hl_follow_close(hl_follow *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->segments.n; i++)
        hl_free(f->segments.at[i].path);
    hl_vec_done(&f->segments);
    hl_vec_done(&f->floats);
    hl_event_file_close(f->file);
    hl_str_done(&f->text);
    hl_free(f->dir);
    hl_free(f);
}

/* ---- values ---- */

static hl_status give_curve(hl_follow *f, const hl_run_visitor *v, size_t series, hl_stamp at,
                            const hl_event_value *value)
{
    hl_status st = hl_vec_reserve(&f->floats, value->n_floats + 1);
    if (st != HL_OK)
        return st;
    hl_value_floats(value, f->floats.at);
    const hl_curve c = {f->floats.at, value->rows, value->cols};
    v->curve(v->self, series, at.step, at.t_us, &c);
    return HL_OK;
}

static hl_status give_json(hl_follow *f, const hl_run_visitor *v, size_t series, hl_stamp at,
                           const hl_event_value *value)
{
    hl_str_clear(&f->text);
    hl_str_addn(&f->text, value->detail.s, value->detail.n);
    hl_status st = hl_str_status(&f->text);
    if (st == HL_OK)
        v->json(v->self, series, at.step, at.t_us, f->text.s, f->text.n);
    return st;
}

static hl_status give_value(hl_follow *f, const hl_run_visitor *v, hl_stamp at,
                            hl_event_value *value)
{
    const char *nul = value->tag.n ? memchr(value->tag.s, '\0', value->tag.n) : NULL;
    if (nul)
        value->tag.n = (size_t)(nul - value->tag.s);
    bool replaced = !f->opts.with_superseded && at.step >= f->segments.at[f->at].limit;
    bool chronicle = value->kind == HL_SERIES_JSON && !hl_bytes_equal(value->content, "table");
    size_t series;
    hl_hist h;
    if (!value->known || value->tag.n == 0 ||
        (value->kind == HL_SERIES_HIST && !hl_value_hist(value, &h))) {
        f->n_unknown++;
        return HL_OK;
    }
    hl_status st = series_of(f, value, &series);
    if (st != HL_OK || (replaced && !chronicle))
        return st;
    switch (value->kind) {
    case HL_SERIES_SCALAR:
    case HL_SERIES_WIDE:
        if (v->point)
            v->point(v->self, series, at.step, at.t_us, value->number);
        break;
    case HL_SERIES_HIST:
        if (v->hist)
            v->hist(v->self, series, at.step, at.t_us, &h);
        break;
    case HL_SERIES_CURVE:
        return v->curve ? give_curve(f, v, series, at, value) : HL_OK;
    case HL_SERIES_JSON:
        return v->json ? give_json(f, v, series, at, value) : HL_OK;
    }
    return HL_OK;
}

static hl_status give_record(hl_follow *f, const hl_run_visitor *v, const unsigned char *payload,
                             size_t n)
{
    hl_event ev;
    hl_event_value value;
    if (!hl_event_parse(payload, n, &ev)) {
        hl_event_file_reject(f->file, "checksums hold, but it is not an event");
        return HL_OK;
    }
    segment *s = &f->segments.at[f->at];
    if (ev.is_start && !s->has_start) { /* it was not there when the limits were set */
        s->has_start = true;
        if (f->at > 0 && !f->opts.with_superseded && v->superseded)
            v->superseded(v->self, ev.at.step);
    }
    while (hl_event_next_value(&ev, &value)) {
        hl_status st = give_value(f, v, ev.at, &value);
        if (st != HL_OK)
            return st;
    }
    if (ev.values.bad)
        hl_event_file_reject(f->file, "checksums hold, but a value in it is malformed");
    return HL_OK;
}

/* ---- reading on ---- */

static void leave_segment(hl_follow *f)
{
    f->done_bytes += hl_event_file_offset(f->file) + hl_event_file_pending(f->file);
    f->done_damages += (int64_t)hl_event_file_damages(f->file);
    hl_event_file_close(f->file);
    f->file = NULL;
    f->at++;
}

/* The file at hand has no more records. Goes to the next one if there is one: its writer wrote its
 * last byte before the next file was made, so one more look after seeing the name is enough. */
static hl_status step_segment(hl_follow *f, bool *at_end)
{
    hl_status st = HL_OK;
    *at_end = false;
    if (f->at + 1 >= f->segments.n)
        st = list_segments(f);
    *at_end = f->at + 1 >= f->segments.n;
    return st;
}

static hl_status next_record(hl_follow *f, const unsigned char **payload, size_t *n, bool *got)
{
    *got = false;
    bool newer = false; /* a newer segment is known to be there */
    for (;;) {
        if (!f->file) {
            if (f->at >= f->segments.n) {
                hl_status st = list_segments(f);
                if (st != HL_OK || f->at >= f->segments.n)
                    return st;
            }
            hl_status st = hl_event_file_open(f->segments.at[f->at].path, &f->file);
            if (st == HL_E_NOTFOUND) { /* deleted under us: what was read stays read */
                f->at++;
                continue;
            }
            if (st != HL_OK)
                return st;
            newer = false;
        }
        hl_status st = hl_event_file_next(f->file, payload, n, got);
        if (st != HL_OK || *got)
            return st;
        if (newer) {
            leave_segment(f);
            continue;
        }
        bool at_end;
        st = step_segment(f, &at_end);
        if (st != HL_OK || at_end)
            return st;
        newer = true;
    }
}

hl_status hl_follow_poll(hl_follow *f, const hl_run_visitor *v, int64_t max_bytes, bool *more)
{
    int64_t taken = 0;
    *more = false;
    for (;;) {
        const unsigned char *payload;
        size_t n;
        bool got;
        hl_status st = next_record(f, &payload, &n, &got);
        if (st != HL_OK || !got)
            return st;
        st = give_record(f, v, payload, n);
        if (st != HL_OK)
            return st;
        taken += (int64_t)n;
        if (max_bytes > 0 && taken >= max_bytes) {
            *more = true;
            return HL_OK;
        }
    }
}

void hl_follow_progress(const hl_follow *f, int64_t *done, int64_t *total)
{
    *done = f->done_bytes + (f->file ? hl_event_file_offset(f->file) : 0);
    *total = *done;
    for (size_t i = f->at; i < f->segments.n; i++) {
        int64_t size = hl_fs_size(f->segments.at[i].path);
        if (i == f->at && f->file)
            size -= hl_event_file_offset(f->file);
        *total += size > 0 ? size : 0;
    }
}

int64_t hl_follow_damages(const hl_follow *f)
{
    return f->done_damages + (f->file ? (int64_t)hl_event_file_damages(f->file) : 0);
}

int64_t hl_follow_unknown(const hl_follow *f)
{
    return f->n_unknown;
}

size_t hl_follow_segments(const hl_follow *f)
{
    return f->segments.n;
}

const char *hl_follow_segment_path(const hl_follow *f, size_t i)
{
    return f->segments.at[i].path;
}

void hl_follow_at(const hl_follow *f, size_t *which, int64_t *record, int64_t *next)
{
    *which = f->at;
    *record = f->file ? hl_event_file_record(f->file) : 0;
    *next = f->file ? hl_event_file_offset(f->file) : 0;
}

bool hl_follow_has_shrunk(const hl_follow *f)
{
    return f->file && hl_event_file_has_shrunk(f->file);
}
