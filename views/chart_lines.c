/* What charts show: the lines of the runs or of groups of them (chart_x.c: over which x), and the
 * ranges of their axes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "views/screen.h"
#include "views/widgets/number.h"

/* ---- lines ---- */

static hl_chart_line *add_line(hl_chart_lines *out, const hl_pyramid *data, const char *name)
{
    if (!data || out->n == HL_CHART_LINES_MAX)
        return NULL;
    hl_chart_source *of = &out->of[out->n];
    hl_chart_line *line = &out->line[out->n++];
    *of = (hl_chart_source){0};
    snprintf(of->name, sizeof of->name, "%s", name);
    *line = (hl_chart_line){.data = data, .name = of->name};
    return line;
}

static void smooth_line(const hl_screen *s, int chart, hl_data *d, hl_chart_line *line)
{
    const double factor = s->look.smooth;
    if (factor <= 0)
        return;
    if (!d->smooth)
        d->smooth = hl_smooth_new();
    const bool log = s->look.charts.y[chart].scale == HL_Y_LOG;
    const hl_smooth_kind kind = (hl_smooth_kind)s->look.charts.smooth_by;
    if (!d->smooth)
        return;
    const hl_status st =
        kind == HL_SMOOTH_EMA
            ? hl_smooth_follow(d->smooth, line->data, factor, log)
            : hl_smooth_window(d->smooth, line->data, (int)factor, kind == HL_SMOOTH_MEDIAN);
    if (st == HL_OK)
        line->smooth = hl_smooth_data(d->smooth);
}

static hl_data *data_of(const hl_screen *s, const hl_shown *shown, int chart)
{
    hl_data *d = shown->run ? hl_watched_series(shown->run, s->charts.at[chart].tag) : NULL;
    return d && d->points ? d : NULL;
}

static uint64_t id_of(const hl_screen *s, uint64_t from, const hl_shown *shown)
{
    const hl_crossing *align = &s->look.charts.align;
    const uint64_t h = hl_hash_str(hl_hash_str(from, shown->row->dir), hl_chart_x_name(s));
    return hl_hash_bytes(hl_hash_str(h, align->tag), &align->value, sizeof align->value);
}

static void add_runs(hl_screen *s, int chart, const hl_shown *shown, int n_shown,
                     hl_chart_lines *out)
{
    const hl_charts_look *look = &s->look.charts;
    hl_data *first = n_shown ? data_of(s, &shown[0], chart) : NULL;
    const bool is_relative = look->versus != HL_RELATION_NONE && first && n_shown > 1;
    const hl_pyramid *reference = is_relative ? hl_chart_over_x(s, shown[0].run, first) : NULL;
    for (int i = is_relative; i < n_shown; i++) {
        hl_data *d = data_of(s, &shown[i], chart);
        const hl_pyramid *data = d ? hl_chart_over_x(s, shown[i].run, d) : NULL;
        if (data && reference)
            data = hl_derived_versus(&d->versus, data, reference,
                                     id_of(s, HL_HASH_START, &shown[0]), (hl_relation)look->versus);
        hl_chart_line *line = add_line(out, data, shown[i].row->name);
        if (!line)
            continue;
        line->role = hl_color_style(shown[i].color).role;
        line->letter = hl_color_letter(shown[i].color);
        line->focused = i == 0;
        out->of[out->n - 1].raw = is_relative ? NULL : d->points;
        out->of[out->n - 1].run = shown[i].run;
        smooth_line(s, chart, d, line);
        if (look->superseded && d->replaced && look->x == HL_X_STEP && !is_relative &&
            (line = add_line(out, d->replaced, "")) != NULL) {
            line->role = HL_ROLE_DIM;
            line->is_replaced = true;
        }
    }
}

/* The runs that groups are made of: marked ones if they are laid over, else those that differ from
 * the one under the cursor in their seed alone. */
static int group_runs(hl_screen *s, hl_shown out[HL_SHOWN_MAX])
{
    int n = hl_screen_shown(s, out);
    const hl_run_row *row = hl_screen_row(s);
    if (n != 1 || !row || !row->method)
        return n;
    for (size_t i = 0; i < s->model.rows->n && n < HL_SHOWN_MAX; i++) {
        const hl_run_row *other = &s->model.rows->at[i];
        if (other == row || other->method != row->method)
            continue;
        hl_watched *w = hl_model_watch(&s->model, other->dir);
        out[n++] = (hl_shown){other, w, out[0].color};
    }
    return n;
}

typedef struct group {
    const hl_shown *shown; /* of all groups */
    int n_shown, first, number;
} group;

static void add_group(hl_screen *s, int chart, const group *g, hl_chart_lines *out)
{
    const hl_pyramid *member[HL_SHOWN_MAX];
    const hl_shown *shown = g->shown;
    const int first = g->first;
    hl_chart_state *state = &s->charts.at[chart];
    uint64_t id = HL_HASH_START;
    int n = 0;
    char name[64];
    for (int i = first; i < g->n_shown; i++) {
        hl_data *d = data_of(s, &shown[i], chart);
        const hl_pyramid *p =
            d && (i == first ||
                  (shown[i].row->method == shown[first].row->method && shown[first].row->method))
                ? hl_chart_over_x(s, shown[i].run, d)
                : NULL;
        if (!p)
            continue;
        id = id_of(s, id, &shown[i]);
        member[n++] = p;
    }
    if (!state->bands)
        state->bands = hl_alloc_zero(HL_GROUPS_MAX, sizeof *state->bands);
    if (n == 0 || !state->bands || g->number >= HL_GROUPS_MAX)
        return;
    hl_band *b = &state->bands[g->number];
    if (!hl_band_make(b, member, n, id, (hl_band_kind)s->look.charts.band))
        return;
    snprintf(name, sizeof name, "%.40s n=%d",
             n > 1 && *shown[first].row->variant ? shown[first].row->variant
                                                 : shown[first].row->name,
             n);
    hl_chart_line *line = add_line(out, b->middle, name);
    if (!line)
        return;
    out->of[out->n - 1].counts = b->n;
    line->lo = n > 1 ? b->lo : NULL;
    line->hi = n > 1 ? b->hi : NULL;
    line->role = hl_color_style(shown[first].color).role;
    line->letter = hl_color_letter(shown[first].color);
    line->focused = first == 0;
}

/* Runs that differ in their seed alone are a group. */
static void add_groups(hl_screen *s, int chart, hl_chart_lines *out)
{
    hl_shown shown[HL_SHOWN_MAX];
    const int n = group_runs(s, shown);
    int number = 0;
    for (int i = 0; i < n; i++) {
        bool is_first = true;
        for (int k = 0; k < i && shown[i].row->method; k++)
            is_first = is_first && shown[k].row->method != shown[i].row->method;
        if (is_first)
            add_group(s, chart, &(group){shown, n, i, number++}, out);
    }
}

void hl_chart_lines_make(hl_screen *s, int chart, hl_chart_lines *out)
{
    hl_shown shown[HL_SHOWN_MAX];
    out->n = 0;
    if (s->look.charts.band != HL_BAND_OFF)
        add_groups(s, chart, out);
    else
        add_runs(s, chart, shown, hl_screen_shown(s, shown), out);
}

bool hl_chart_z_score(const hl_pyramid *p, size_t i, double *z)
{
    enum { BEFORE = 100, FEWEST = 8 };
    double mean = 0, squares = 0;
    int n = 0;
    for (size_t k = i > BEFORE ? i - BEFORE : 0; k < i; k++) {
        const double y = hl_pyramid_y(p, k);
        if (!isfinite(y))
            continue;
        const double change = y - mean;
        mean += change / ++n;
        squares += change * (y - mean);
    }
    const double sd = n > 1 ? sqrt(squares / (n - 1)) : 0;
    if (n < FEWEST || !(sd > 0) || !isfinite(sd))
        return false;
    *z = (hl_pyramid_y(p, i) - mean) / sd;
    return isfinite(*z);
}

/* ---- ranges ---- */

/* The newest stretch; its end is a multiple of a quarter of it, so it seldom moves. */
static void show_tail(const hl_screen *s, hl_chart *view)
{
    const double w = s->look.charts.tail;
    double last = -HUGE_VAL;
    for (int i = 0; i < view->n_lines; i++) {
        const hl_bucket *b = hl_pyramid_total(view->line[i].data);
        last = b->n ? fmax(last, b->x_max) : last;
    }
    const double end = ceil(last / (w / 4)) * (w / 4);
    view->fixed_x = isfinite(end) && end - w < end;
    view->x_range = (hl_scale){.lo = end - w, .hi = end};
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* From the 1st to the 99th percentile of what is in view, from evenly spread points of each line.
 */
static bool find_robust(const hl_chart *view, double *lo, double *hi)
{
    enum { EACH = 4096, MOST = 4 * EACH };
    double *v = hl_alloc(MOST * sizeof *v);
    size_t n = 0;
    for (int i = 0; v && i < view->n_lines; i++) {
        const hl_pyramid *p = view->line[i].data;
        const size_t room = MOST / (size_t)view->n_lines, n_points = hl_pyramid_n(p);
        const size_t stride = n_points / (room < EACH ? room : EACH) + 1;
        for (size_t k = 0; k < n_points && n < MOST; k += stride) {
            const double x = hl_pyramid_x(p, k), y = hl_pyramid_y(p, k);
            if (isfinite(y) && (!view->log_y || y > 0) &&
                (!view->fixed_x || (x >= view->x_range.lo && x <= view->x_range.hi)))
                v[n++] = y;
        }
    }
    if (n > 0) {
        qsort(v, n, sizeof *v, by_size);
        *lo = v[n / 100];
        *hi = v[n - 1 - n / 100];
        const double room = (*hi - *lo) * 0.05;
        if (!view->log_y) {
            *lo -= room;
            *hi += room;
        }
    }
    hl_free(v);
    return n > 0 && *lo < *hi;
}

static uint64_t hash_of(const hl_chart *view)
{
    uint64_t h = hl_hash_bytes(HL_HASH_START, &view->n_lines, sizeof view->n_lines);
    for (int i = 0; i < view->n_lines; i++) {
        const uint64_t parts[] = {(uint64_t)(uintptr_t)view->line[i].data,
                                  hl_pyramid_n(view->line[i].data),
                                  hl_pyramid_edits(view->line[i].data)};
        h = hl_hash_bytes(h, parts, sizeof parts);
    }
    if (view->fixed_x)
        h = hl_hash_bytes(h, &view->x_range.lo, 2 * sizeof(double));
    return hl_hash_bytes(h, &view->log_y, sizeof view->log_y);
}

static void set_ranges(hl_screen *s, int chart, hl_chart *view)
{
    hl_chart_state *state = &s->charts.at[chart];
    const hl_charts_look *look = &s->look.charts;
    const hl_chart_look *y = &look->y[chart];
    const hl_scale before = view->fixed_x ? view->x_range : (hl_scale){0};
    view->fixed_x = view->fixed_y = false;
    if (look->tail > 0) {
        show_tail(s, view);
    } else if (look->zoomed) {
        view->fixed_x = true;
        view->x_range = (hl_scale){.lo = look->x_lo, .hi = look->x_hi};
    }
    view->x_range.log = look->log_x && view->x_range.lo > 0;
    const hl_scale shown = view->fixed_x ? view->x_range : (hl_scale){0};
    if (shown.lo != before.lo || shown.hi != before.hi) /* other points are in view */
        view->y = (hl_axis){0};
    if (y->range == HL_Y_ROBUST) {
        const uint64_t now = hash_of(view);
        if (state->robust_of != now && !find_robust(view, &state->robust_lo, &state->robust_hi))
            state->robust_lo = state->robust_hi = 0;
        state->robust_of = now;
        view->y_range = (hl_scale){.lo = state->robust_lo, .hi = state->robust_hi};
        view->fixed_y = state->robust_lo < state->robust_hi;
    } else if (y->range == HL_Y_FIXED) {
        view->y_range = (hl_scale){.lo = y->lo, .hi = y->hi};
        view->fixed_y = true;
    }
}

/* ---- marks ---- */

static void add_mark(hl_chart *view, hl_chart_mark *marks, double at, hl_role role)
{
    if (view->n_marks < HL_CHART_MARKS_MAX)
        marks[view->n_marks++] = (hl_chart_mark){.at = at, .role = (uint8_t)role};
}

/* Where somebody touched the run, it raised an alert, or something was noted. */
static void add_marks(const hl_screen *s, const hl_watched *w, hl_chart *view, hl_chart_mark *marks)
{
    const hl_x_map m = hl_chart_x_map(s, w);
    double x;
    for (size_t i = 0; i < s->chart_notes.n; i++) {
        const hl_chart_note *note = &s->chart_notes.at[i];
        if (strcmp(note->dir, w->dir) == 0 && hl_x_map_at(&m, (double)note->step, &x))
            add_mark(view, marks, x, HL_ROLE_GOOD);
    }
    for (size_t i = w->log.n; i-- > 0 && view->n_marks < HL_CHART_MARKS_MAX;) {
        const hl_log_line *l = &w->log.at[i];
        if ((l->level == 'C' || (l->level == 'W' && l->step > 0)) &&
            hl_x_map_at(&m, (double)l->step, &x))
            add_mark(view, marks, x, l->level == 'C' ? HL_ROLE_KEY : HL_ROLE_WARN);
    }
}

/* ---- a chart ---- */

void hl_chart_prepare(hl_screen *s, int chart, const hl_chart_lines *lines,
                      hl_chart_mark marks[HL_CHART_MARKS_MAX])
{
    hl_chart *view = &s->charts.at[chart].chart;
    const hl_charts_look *look = &s->look.charts;
    const hl_watched *w = hl_screen_run(s);
    view->line = lines->line;
    view->n_lines = lines->n;
    view->mark = marks;
    view->n_marks = 0;
    if (w)
        add_marks(s, w, view, marks);
    view->log_y = look->y[chart].scale == HL_Y_LOG;
    view->symlog_y = look->y[chart].scale == HL_Y_SYMLOG;
    view->log_x = look->log_x;
    view->x_unit = look->x == HL_X_TIME && !look->log_x ? HL_UNIT_DURATION
                   : look->x == HL_X_CLOCK              ? HL_UNIT_CLOCK
                                                        : HL_UNIT_NUMBER;
    view->smoothing = look->band == HL_BAND_OFF ? s->look.smooth : 0;
    view->smoothing_by = look->smooth_by == HL_SMOOTH_MEAN     ? "mean"
                         : look->smooth_by == HL_SMOOTH_MEDIAN ? "median"
                                                               : NULL;
    const bool here = !s->crosshair_alone || hl_charts_focused(s) == chart;
    view->has_crosshair = here && w && hl_chart_crosshair(s, w, &view->crosshair_x);
    const hl_x_map m = w ? hl_chart_x_map(s, w) : (hl_x_map){0};
    view->has_anchor = s->has_anchor && w && hl_x_map_at(&m, s->anchor_x, &view->anchor_x);
    uint64_t edits = 0;
    for (int i = 0; i < lines->n; i++)
        edits += lines->of[i].raw ? hl_pyramid_edits(lines->of[i].raw) : 0;
    /* a resume has taken points away, or they were those of a part of a file: axes change in jumps
     * for what is live */
    if (edits != s->charts.at[chart].edits || s->charts.at[chart].reading)
        view->y = (hl_axis){0};
    s->charts.at[chart].edits = edits;
    s->charts.at[chart].reading = !hl_model_is_settled(&s->model);
    view->unit = hl_chart_unit(s, chart);
    view->best = hl_chart_goal(s->charts.at[chart].tag);
    view->tells_cuts = true;
    set_ranges(s, chart, view);
}

static void add_text(char *buf, size_t n, const char *text)
{
    const size_t used = strlen(buf);
    if (*text && used < n)
        snprintf(buf + used, n - used, "%s%s", used ? "  " : "", text);
}

/* How many points are outside of the y range of a prepared chart. */
static void tell_outside(const hl_chart *view, const char *what, char *buf, size_t n)
{
    size_t above = 0, below = 0;
    char a[HL_NUMBER_MAX], b[HL_NUMBER_MAX], text[80];
    const double x[2] = {view->fixed_x ? view->x_range.lo : -HUGE_VAL,
                         view->fixed_x ? nextafter(view->x_range.hi, HUGE_VAL) : HUGE_VAL};
    const double y[2] = {view->y_range.lo, view->y_range.hi};
    for (int i = 0; i < view->n_lines; i++) {
        size_t more_above, more_below;
        hl_pyramid_outside(view->line[i].data, x, y, &more_above, &more_below);
        above += more_above;
        below += more_below;
    }
    snprintf(text, sizeof text, "%s %s above %s below", what, hl_format_count(a, (int64_t)above),
             hl_format_count(b, (int64_t)below));
    add_text(buf, n, text);
}

void hl_chart_made(hl_screen *s, int chart, char *buf, size_t n)
{
    static const char *const versus[HL_RELATIONS] = {"", "minus this run", "over this run"};
    hl_chart_lines lines;
    hl_chart_mark marks[HL_CHART_MARKS_MAX];
    char notes[HL_CHART_NOTES_MAX], text[HL_NUMBER_MAX], tail[40], aligned[HL_CROSSING_TEXT + 8];
    hl_chart_lines_make(s, chart, &lines);
    hl_chart_prepare(s, chart, &lines, marks);
    hl_chart *view = &s->charts.at[chart].chart;
    const hl_charts_look *look = &s->look.charts;
    *buf = 0;
    add_text(buf, n, hl_chart_notes(view, notes));
    if (look->band != HL_BAND_OFF)
        add_text(buf, n, hl_band_name((hl_band_kind)look->band));
    if (lines.n && hl_screen_row(s))
        add_text(buf, n, look->versus && s->look.overlay ? versus[look->versus] : "");
    if (view->fixed_y)
        tell_outside(view, look->y[chart].range == HL_Y_ROBUST ? "robust" : "fixed", buf, n);
    if (*look->align.tag) {
        char crossing[HL_CROSSING_TEXT];
        snprintf(aligned, sizeof aligned, "0 at %s", hl_crossing_text(&look->align, crossing));
        add_text(buf, n, aligned);
    }
    if (look->tail > 0) {
        snprintf(tail, sizeof tail, "tail %s", hl_format_value(text, look->tail));
        add_text(buf, n, tail);
    } else if (look->zoomed) {
        add_text(buf, n, "zoomed");
    }
    view->line = NULL;
    view->mark = NULL;
    view->n_lines = view->n_marks = 0;
}
