#include "app/store/summary.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/store/follow.h"
#include "app/store/run_dir.h"
#include "app/store/trace.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

typedef struct scalar {
    int64_t n, n_bad;
    double last, min, max, mean;
    int64_t last_step, min_step, max_step, bad_step;
} scalar;

typedef struct table {
    char *tag, *text; /* owned */
    int64_t step;
} table;

struct hl_summary {
    char *id, *name, *project, *tags, *host;
    double created; /* unix seconds; 0: unknown */
    hl_run_state state;
    char *reason, *message, *phase, *checkpoint; /* owned or NULL */
    int64_t step, step_total;
    int64_t t_first_us, t_last_us;
    double within_s;
    int64_t n_segments, n_controls, n_turned, n_alerts;
    hl_tag_table scalar_tags;
    HL_VEC(scalar) scalars;
    HL_VEC(table) tables;
    hl_trace trace;
    int trace_rank; /* of the series it shows; 0: none yet */
    size_t trace_slot;
};

static hl_status replace(char **where, const char *text)
{
    char *copy = hl_strdup(text);
    if (!copy)
        return HL_E_NOMEM;
    hl_free(*where);
    *where = copy;
    return HL_OK;
}

/* ---- what run.json says ---- */

static hl_status join_tags(const hl_json *list, char **out)
{
    hl_str b = {0};
    for (int i = 0; i < hl_json_len(list); i++)
        hl_str_addf(&b, "%s%s", i ? " " : "", hl_json_str(hl_json_at(list, i), ""));
    hl_status st = hl_str_status(&b);
    if (st == HL_OK)
        st = replace(out, hl_str_text(&b));
    hl_str_done(&b);
    return st;
}

static hl_status new_summary(const char *dir, hl_summary **out)
{
    hl_status st = HL_OK;
    hl_json *facts = NULL;
    char *absolute = NULL;
    hl_summary *s = hl_alloc_zero(1, sizeof *s);
    if (!s)
        return HL_E_NOMEM;
    s->step = s->step_total = -1;
    absolute = hl_fs_absolute(dir);
    const char *base = absolute ? hl_fs_base(absolute) : "";
    if (hl_run_dir_read_json(dir, "run.json", &facts) != HL_OK)
        facts = NULL; /* a run without a readable head still has its events */
    s->state = facts ? HL_RUN_QUEUED : HL_RUN_UNKNOWN;
    const char *id = hl_json_str(hl_json_get(facts, "id"), base);
    HL_TRY(replace(&s->id, id));
    HL_TRY(replace(&s->name, hl_json_str(hl_json_get(facts, "name"), id)));
    HL_TRY(replace(&s->project, hl_json_str(hl_json_get(facts, "project"), "")));
    HL_TRY(replace(&s->host, hl_json_str(hl_json_get(facts, "host"), "")));
    HL_TRY(join_tags(hl_json_get(facts, "tags"), &s->tags));
    s->created = hl_json_num(hl_json_get(facts, "created_unix"), 0);
    *out = s;
out:
    if (st != HL_OK)
        hl_summary_free(s);
    hl_free(absolute);
    hl_json_free(facts);
    return st;
}

void hl_summary_free(hl_summary *s)
{
    if (!s)
        return;
    char *const texts[] = {s->id,     s->name,    s->project, s->tags,      s->host,
                           s->reason, s->message, s->phase,   s->checkpoint};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        hl_free(texts[i]);
    for (size_t i = 0; i < s->tables.n; i++) {
        hl_free(s->tables.at[i].tag);
        hl_free(s->tables.at[i].text);
    }
    hl_vec_done(&s->tables);
    hl_vec_done(&s->scalars);
    hl_tag_table_done(&s->scalar_tags);
    hl_free(s);
}

/* ---- events ---- */

static void saw(hl_summary *s, int64_t t_us)
{
    if (s->t_first_us == 0 || t_us < s->t_first_us)
        s->t_first_us = t_us;
    if (t_us > s->t_last_us)
        s->t_last_us = t_us;
}

void hl_summary_mark(hl_summary *s, int64_t step, int64_t t_us)
{
    saw(s, t_us);
    if (step > s->step)
        s->step = step;
}

hl_status hl_summary_scalar(hl_summary *s, const char *tag, size_t *slot)
{
    hl_status st = hl_vec_reserve(&s->scalars, s->scalars.n + 1);
    if (st == HL_OK)
        st = hl_tag_table_add(&s->scalar_tags, tag, strlen(tag), slot);
    if (st != HL_OK || *slot < s->scalars.n)
        return st;
    s->scalars.at[s->scalars.n++] = (scalar){.min = (double)INFINITY, .max = -(double)INFINITY};
    const int rank = hl_trace_rank(tag);
    if (rank > s->trace_rank) { /* it has no points yet, so the trace misses none */
        s->trace = (hl_trace){0};
        s->trace_rank = rank;
        s->trace_slot = *slot;
    }
    return st;
}

void hl_summary_point(hl_summary *s, size_t slot, int64_t step, int64_t t_us, double value)
{
    scalar *c = &s->scalars.at[slot];
    hl_summary_mark(s, step, t_us);
    c->n++;
    c->last = value;
    c->last_step = step;
    if (s->trace_rank > 0 && slot == s->trace_slot)
        hl_trace_add(&s->trace, value);
    if (!isfinite(value)) {
        if (c->n_bad++ == 0)
            c->bad_step = step;
        return;
    }
    c->mean += (value - c->mean) / (double)(c->n - c->n_bad);
    if (value < c->min) {
        c->min = value;
        c->min_step = step;
    }
    if (value > c->max) {
        c->max = value;
        c->max_step = step;
    }
}

void hl_summary_segment(hl_summary *s)
{
    s->n_segments++;
}

hl_run_state hl_summary_state(const hl_summary *s)
{
    return s->state;
}

static hl_status set_state(hl_summary *s, const hl_json *v)
{
    s->state = hl_run_state_from(hl_json_str(hl_json_get(v, "state"), ""));
    s->step_total = hl_json_int(hl_json_get(v, "total"), s->step_total);
    hl_status st = replace(&s->reason, hl_json_str(hl_json_get(v, "reason"), ""));
    if (st == HL_OK)
        st = replace(&s->message, hl_json_str(hl_json_get(v, "message"), ""));
    if (st == HL_OK)
        st = replace(&s->phase, "");
    return st;
}

static hl_status set_artifact(hl_summary *s, const hl_json *v)
{
    if (strcmp(hl_json_str(hl_json_get(v, "kind"), ""), "checkpoint") != 0)
        return HL_OK;
    const char *path = hl_json_str(hl_json_get(v, "path"), "");
    if (!hl_json_bool(hl_json_get(v, "removed"), false))
        return replace(&s->checkpoint, path);
    bool current = s->checkpoint && strcmp(s->checkpoint, path) == 0;
    return current ? replace(&s->checkpoint, "") : HL_OK;
}

/* What the summary keeps of a table: of a quantization (quantize/RECIPE) and of forecasts
 * (forecast/PART) not the long lists, which whoever shows them takes from the events; a list of
 * runs reads every summary. Owned. */
static char *kept_text(const hl_summary_note *note, const hl_json *v)
{
    hl_str b = {0};
    if (!hl_str_starts(note->tag, "quantize/") && !hl_str_starts(note->tag, "forecast/"))
        return hl_strndup(note->text, note->n);
    hl_json_begin(&b, '{');
    for (const hl_json *m = hl_json_at(v, 0); m; m = hl_json_next(m)) {
        if (hl_json_is_array(m))
            continue;
        hl_json_add_key(&b, hl_json_key(m));
        hl_json_add_value(&b, m);
    }
    hl_json_put_num(&b, "time", (double)note->t_us / 1e6);
    hl_json_end(&b, '}');
    if (hl_str_status(&b) != HL_OK)
        hl_str_done(&b);
    return b.s;
}

static hl_status set_table(hl_summary *s, const hl_summary_note *note, const hl_json *v)
{
    table *t = NULL;
    for (size_t i = 0; i < s->tables.n && !t; i++)
        if (strcmp(s->tables.at[i].tag, note->tag) == 0)
            t = &s->tables.at[i];
    hl_status st = HL_OK;
    if (!t) {
        char *tag = hl_strdup(note->tag);
        st = tag ? hl_vec_push(&s->tables, ((table){.tag = tag})) : HL_E_NOMEM;
        if (st != HL_OK) {
            hl_free(tag);
            return st;
        }
        t = &s->tables.at[s->tables.n - 1];
    }
    char *text = kept_text(note, v);
    if (!text)
        return HL_E_NOMEM;
    hl_free(t->text);
    t->text = text;
    t->step = note->step;
    return HL_OK;
}

static hl_status set_heartbeat(hl_summary *s, const hl_json *v)
{
    s->within_s = hl_json_num(hl_json_get(v, "within_s"), 0);
    return replace(&s->phase, hl_json_str(hl_json_get(v, "phase"), ""));
}

bool hl_control_turns_knob(const hl_json *event)
{
    const char *cmd = hl_json_str(hl_json_get(event, "cmd"), "");
    const char *who = hl_json_str(hl_json_get(event, "who"), "");
    return hl_json_get(event, "value") && strcmp(cmd, "checkpoint") != 0 &&
           strcmp(cmd, "eval") != 0 && strcmp(cmd, "pause") != 0 && strcmp(cmd, "lua") != 0 &&
           strcmp(hl_json_str(hl_json_get(event, "status"), ""), "applied") == 0 &&
           (hl_str_starts(who, "uid ") || hl_str_starts(who, "replay of "));
}

bool hl_control_evaluates(const hl_json *event)
{
    const char *status = hl_json_str(hl_json_get(event, "status"), "");
    return strcmp(hl_json_str(hl_json_get(event, "cmd"), ""), "lua") == 0 &&
           (strcmp(status, "applied") == 0 || strcmp(status, HL_CONTROL_FAILED) == 0);
}

hl_status hl_summary_json(hl_summary *s, const hl_summary_note *note)
{
    saw(s, note->t_us);
    bool is_table = strcmp(note->content, "table") == 0;
    bool is_state = strcmp(note->content, "state") == 0;
    bool is_artifact = strcmp(note->content, "artifact") == 0;
    bool is_control = strcmp(note->content, "control") == 0;
    s->n_controls += is_control;
    s->n_alerts += strcmp(note->content, "alert") == 0;
    if (!is_table && !is_state && !is_artifact && !is_control &&
        strcmp(note->content, "heartbeat") != 0)
        return HL_OK;
    hl_json *v;
    if (hl_json_parse(note->text, note->n, &v) != HL_OK)
        return HL_OK; /* somebody else's text: nothing to know from it */
    hl_status st = HL_OK;
    if (is_control)
        s->n_turned += hl_control_turns_knob(v) || hl_control_evaluates(v);
    else if (hl_json_is_object(v))
        st = is_table      ? set_table(s, note, v)
             : is_state    ? set_state(s, v)
             : is_artifact ? set_artifact(s, v)
                           : set_heartbeat(s, v);
    hl_json_free(v);
    return st;
}

/* ---- from the events ---- */

typedef struct rebuild {
    hl_summary *s;
    hl_series_table series;
    hl_status st; /* first failure in a callback */
} rebuild;

static void rebuild_point(void *self, size_t series, int64_t step, int64_t t_us, double value)
{
    rebuild *r = self;
    size_t slot;
    if (r->st == HL_OK)
        r->st = hl_summary_scalar(r->s, hl_series_table_at(&r->series, series).tag, &slot);
    if (r->st == HL_OK)
        hl_summary_point(r->s, slot, step, t_us, value);
}

static void rebuild_hist(void *self, size_t series, int64_t step, int64_t t_us, const hl_hist *h)
{
    (void)series;
    (void)h;
    hl_summary_mark(((rebuild *)self)->s, step, t_us);
}

static void rebuild_curve(void *self, size_t series, int64_t step, int64_t t_us, const hl_curve *c)
{
    (void)series;
    (void)c;
    hl_summary_mark(((rebuild *)self)->s, step, t_us);
}

static void rebuild_json(void *self, size_t series, int64_t step, int64_t t_us, const char *text,
                         size_t n)
{
    rebuild *r = self;
    hl_series_info info = hl_series_table_at(&r->series, series);
    hl_summary_note note = {info.tag, info.content, step, t_us, text, n};
    if (r->st == HL_OK)
        r->st = hl_summary_json(r->s, &note);
}

hl_status hl_summary_rebuild(const char *dir, const int64_t *limit, hl_summary **out)
{
    rebuild r = {0};
    hl_follow *f = NULL;
    bool more;
    hl_status st = new_summary(dir, &r.s);
    if (st != HL_OK)
        return st;
    hl_run_visitor v = {&r, rebuild_point, rebuild_hist, rebuild_curve, rebuild_json, NULL};
    hl_follow_opts opts = {.has_limit = limit != NULL, .limit = limit ? *limit : 0};
    HL_TRY(hl_follow_open(dir, opts, &r.series, &f));
    HL_TRY(hl_follow_poll(f, &v, 0, &more));
    HL_TRY(r.st);
    r.s->n_segments = (int64_t)hl_follow_segments(f);
    *out = r.s;
    r.s = NULL;
out:
    hl_follow_close(f);
    hl_series_table_done(&r.series);
    hl_summary_free(r.s);
    return st;
}

/* ---- writing ---- */

static void put_time(hl_str *b, const char *key, int64_t t_us)
{
    if (t_us)
        hl_json_put_num(b, key, (double)t_us / 1e6);
}

static void put_scalar(hl_str *b, const char *tag, const scalar *c)
{
    hl_json_add_key(b, tag);
    hl_json_begin(b, '{');
    hl_json_put_int(b, "n", c->n);
    hl_json_put_num(b, "last", c->last);
    hl_json_put_int(b, "last_step", c->last_step);
    if (c->n > c->n_bad) {
        hl_json_put_num(b, "min", c->min);
        hl_json_put_int(b, "min_step", c->min_step);
        hl_json_put_num(b, "max", c->max);
        hl_json_put_int(b, "max_step", c->max_step);
        hl_json_put_num(b, "mean", c->mean);
    }
    if (c->n_bad) {
        hl_json_put_int(b, "non_finite", c->n_bad);
        hl_json_put_int(b, "non_finite_step", c->bad_step);
    }
    hl_json_end(b, '}');
}

static void put_first_bad(hl_str *b, const hl_summary *s)
{
    size_t first = s->scalars.n;
    for (size_t i = 0; i < s->scalars.n; i++)
        if (s->scalars.at[i].n_bad &&
            (first == s->scalars.n || s->scalars.at[i].bad_step < s->scalars.at[first].bad_step))
            first = i;
    if (first == s->scalars.n)
        return;
    hl_json_add_key(b, "first_non_finite");
    hl_json_begin(b, '{');
    hl_json_put_str(b, "tag", s->scalar_tags.name[first]);
    hl_json_put_int(b, "step", s->scalars.at[first].bad_step);
    hl_json_end(b, '}');
}

static void put_trace(hl_str *b, const hl_summary *s)
{
    hl_json_add_key(b, "trace");
    hl_json_begin(b, '[');
    for (int i = 0; i < s->trace.n; i++) {
        char text[32];
        double v = hl_trace_mean(&s->trace, i), rounded;
        snprintf(text, sizeof text, "%.4g", v);
        hl_json_add_num(b, hl_parse_f64(text, &rounded) == HL_OK ? rounded : v);
    }
    hl_json_end(b, ']');
}

static void put_head(hl_str *b, const hl_summary *s)
{
    hl_json_put_int(b, "format", HL_RUN_FORMAT);
    hl_json_put_str(b, "id", s->id);
    hl_json_put_str(b, "name", s->name);
    hl_json_put_str(b, "project", s->project);
    hl_json_put_str(b, "tags", s->tags);
    hl_json_put_str(b, "host", s->host);
    hl_json_put_num(b, "created", s->created);
    hl_json_put_str(b, "state", hl_run_state_name(s->state));
    hl_json_put_str(b, "reason", s->reason ? s->reason : "");
    hl_json_put_str(b, "message", s->message ? s->message : "");
    hl_json_put_str(b, "phase", s->phase ? s->phase : "");
    if (s->step >= 0)
        hl_json_put_int(b, "step", s->step);
    if (s->step_total >= 0)
        hl_json_put_int(b, "step_total", s->step_total);
    put_time(b, "time_first", s->t_first_us);
    put_time(b, "time_last", s->t_last_us);
    hl_json_put_num(b, "within_s", s->within_s);
    hl_json_put_int(b, "segments", s->n_segments);
    hl_json_put_int(b, "controls", s->n_controls);
    if (s->n_turned)
        hl_json_put_int(b, "turned", s->n_turned);
    hl_json_put_int(b, "alerts", s->n_alerts);
    hl_json_add_key(b, "checkpoint");
    if (s->checkpoint && *s->checkpoint)
        hl_json_add_str(b, s->checkpoint);
    else
        hl_json_add_null(b);
}

hl_status hl_summary_write(const hl_summary *s, hl_str *out)
{
    hl_str_clear(out);
    hl_json_begin(out, '{');
    put_head(out, s);
    put_first_bad(out, s);
    if (s->trace.n)
        put_trace(out, s);
    hl_json_add_key(out, "scalars");
    hl_json_begin(out, '{');
    for (size_t i = 0; i < s->scalars.n; i++)
        put_scalar(out, s->scalar_tags.name[i], &s->scalars.at[i]);
    hl_json_end(out, '}');
    hl_json_add_key(out, "tables");
    hl_json_begin(out, '{');
    for (size_t i = 0; i < s->tables.n; i++) {
        hl_json_add_key(out, s->tables.at[i].tag);
        hl_str_add(out, s->tables.at[i].text); /* checked to be an object when it came */
    }
    hl_json_end(out, '}');
    hl_json_end(out, '}');
    hl_str_addc(out, '\n');
    return hl_str_status(out);
}

hl_status hl_summary_save(const hl_summary *s, const char *dir)
{
    hl_str text = {0};
    char *path = hl_run_dir_path(dir, "summary.json");
    hl_status st = path ? hl_summary_write(s, &text) : HL_E_NOMEM;
    if (st == HL_OK)
        st = hl_fs_write_atomic(path, text.s, text.n);
    hl_str_done(&text);
    hl_free(path);
    return st;
}
