/* The chosen metric of the compared runs in one chart, or how it stands to the reference's. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/hash.h"
#include "views/screen.h"
#include "views/widgets/number.h"

/* ---- lines ---- */

typedef struct paired {
    hl_chart_line line[HL_SHOWN_MAX]; /* of runs, */
    size_t run[HL_SHOWN_MAX];         /* these */
    int n_runs;
    hl_chart_line shown[HL_SHOWN_MAX];      /* of runs or groups of them */
    const hl_pyramid *counts[HL_SHOWN_MAX]; /* members at each x; NULL: of a run */
    int n;
    uint64_t of; /* hash of what the axes are made for */
} paired;

/* The points of the run over the chart's x; NULL: nothing (yet). */
static const hl_pyramid *over_x(const hl_screen *s, const hl_watched *w, hl_data *d)
{
    static const hl_x_axis axes[HL_ALIGNMENTS] = {HL_X_STEP, HL_X_TOKENS, HL_X_TIME, HL_X_STEP};
    const int alignment = s->look.compare.alignment;
    const hl_crossing *from = alignment == HL_ALIGN_CROSSING ? &s->look.charts.align : NULL;
    const hl_x_map m = hl_x_map_of(s, w, &(hl_x_wanted){axes[alignment], "", from});
    const hl_pyramid *p =
        alignment == HL_ALIGN_STEP ? d->points : hl_derived_over(&d->over, d->points, &m);
    return p && hl_pyramid_n(p) ? p : NULL;
}

/* The row under the cursor first, so that it is there and in front, and the reference. */
static bool takes_part(hl_screen *s, size_t run, int nth, int n_left)
{
    return nth < n_left || run == hl_compare_row_shown(s) || run == hl_compare_reference(s);
}

/* Of everything that the axes are made for but the runs. */
static uint64_t hash_of(const hl_screen *s, const char *tag, const char *ref_dir)
{
    const hl_charts_look *look = &s->look.charts;
    uint64_t h = hl_hash_bytes(HL_HASH_START, &s->look.compare, offsetof(hl_compare_look, all));
    h = hl_hash_bytes(h, &look->band, sizeof look->band);
    h = hl_hash_bytes(hl_hash_str(h, look->align.tag), &look->align.value, sizeof(double));
    return hl_hash_str(hl_hash_str(h, tag), ref_dir);
}

/* Lines of runs that differ in their seed alone become one with a band. */
static void gather(hl_screen *s, paired *p)
{
    const hl_comparison *c = s->compare.now;
    const hl_band_kind kind = (hl_band_kind)s->look.charts.band;
    int n = 0, n_bands = 0;
    for (int i = 0; i < p->n; i++) {
        const hl_pyramid *member[HL_SHOWN_MAX];
        int n_members = 0;
        uint64_t id = p->of;
        bool focused = false, is_first = true;
        const int group = c->runs[p->run[i]].group;
        for (int k = 0; k < i; k++)
            is_first = is_first && c->runs[p->run[k]].group != group;
        for (int k = i; k < p->n && is_first; k++) {
            if (c->runs[p->run[k]].group != group)
                continue;
            id = hl_hash_str(id, hl_run_get_row(c->runs[p->run[k]].run)->dir);
            focused |= p->line[k].focused;
            member[n_members++] = p->line[k].data;
        }
        if (!is_first || (n_members > 1 && n_bands == HL_COMPARE_BANDS_MAX))
            continue;
        hl_chart_line line = p->line[i];
        hl_band *b = n_members > 1 ? &s->compare.band[n_bands++] : NULL;
        if (b && hl_band_make(b, member, n_members, id, kind)) {
            line.data = b->middle;
            line.lo = b->lo;
            line.hi = b->hi;
            line.focused = focused;
            p->counts[n] = b->n;
        }
        p->shown[n++] = line;
    }
    p->n = n;
}

static void collect_runs(hl_screen *s, paired *p)
{
    const hl_comparison *c = s->compare.now;
    const size_t ref = hl_compare_reference(s), now = hl_compare_row_shown(s);
    const hl_relation relation = (hl_relation)s->look.compare.relation;
    const char *tag = c->metrics.at[hl_compare_metric_shown(s)].key;
    const char *ref_dir = hl_run_get_row(c->runs[ref].run)->dir;
    const hl_watched *ref_run = hl_model_watch(&s->model, ref_dir);
    hl_data *ref_data = ref_run ? hl_watched_series(ref_run, tag) : NULL;
    const hl_pyramid *other =
        relation && ref_data && ref_data->points ? over_x(s, ref_run, ref_data) : NULL;
    p->of = hash_of(s, tag, ref_dir);
    for (size_t i = 0; i < c->n && p->n < HL_SHOWN_MAX; i++) {
        const hl_run_row *row = hl_run_get_row(c->runs[i].run);
        if ((relation && i == ref) || !takes_part(s, i, p->n, HL_SHOWN_MAX - 2))
            continue;
        const hl_watched *w = hl_model_watch(&s->model, row->dir);
        hl_data *d = w ? hl_watched_series(w, tag) : NULL;
        const hl_pyramid *points = d && d->points ? over_x(s, w, d) : NULL;
        if (points && relation)
            points = other ? hl_derived_versus(&d->versus, points, other,
                                               hl_hash_str(HL_HASH_START, ref_dir), relation)
                           : NULL;
        if (!points)
            continue;
        const int color = hl_screen_color(s, row->dir);
        p->of = hl_hash_str(p->of, row->dir);
        p->run[p->n] = i;
        p->line[p->n++] = (hl_chart_line){.data = points,
                                          .name = row->name,
                                          .role = hl_color_style(color).role,
                                          .letter = hl_color_letter(color),
                                          .focused = i == now};
    }
}

static void collect(hl_screen *s, paired *p)
{
    *p = (paired){.n = 0};
    if (hl_compare_metric_shown(s) == SIZE_MAX)
        return;
    collect_runs(s, p);
    p->n_runs = p->n;
    if (s->look.charts.band != HL_BAND_OFF)
        gather(s, p);
    else
        memcpy(p->shown, p->line, sizeof p->shown);
}

/* ---- the pane ---- */

static const char *x_name(const hl_screen *s, char buf[HL_CROSSING_TEXT + 16])
{
    static const char *const names[HL_ALIGN_CROSSING] = {"step", "tokens or samples", "seconds"};
    const int alignment = s->look.compare.alignment;
    if (alignment < HL_ALIGN_CROSSING)
        return names[alignment];
    (void)hl_crossing_text(&s->look.charts.align, buf + snprintf(buf, 16, "steps from "));
    return buf;
}

static void title(hl_screen *s, char *buf, size_t n)
{
    const hl_comparison *c = hl_compare_shown(s);
    const size_t metric = c ? hl_compare_metric_shown(s) : SIZE_MAX;
    paired p;
    if (metric == SIZE_MAX) {
        snprintf(buf, n, "chart");
        return;
    }
    collect(s, &p);
    const char *ref = hl_run_get_row(c->runs[hl_compare_reference(s)].run)->name;
    const int relation = s->look.compare.relation;
    char x[HL_CROSSING_TEXT + 16];
    const int band = s->look.charts.band;
    snprintf(buf, n, "%s%s%s  x=%s%s%s  %d of %zu runs", hl_series_title(c->metrics.at[metric].key),
             relation == HL_RELATION_DIFFERENCE ? " less that of "
             : relation == HL_RELATION_RATIO    ? " over that of "
                                                : "",
             relation ? ref : "", x_name(s, x), band ? "  " : "",
             band ? hl_band_name((hl_band_kind)band) : "", p.n_runs, c->n);
}

/* What the lines have at the crosshair, in the upper right corner. */
static void put_reading(const hl_screen *s, hl_canvas c, const paired *p)
{
    char x[HL_NUMBER_MAX], value[HL_NUMBER_MAX];
    const int left = c.r.w - 18;
    hl_putf(c, left, 0, HL_STYLE(KEY), "at %s", hl_format_value(x, s->crosshair_x));
    for (int i = 0; i < p->n; i++) {
        const hl_chart_line *l = &p->shown[i];
        const size_t at = hl_pyramid_nearest(l->data, s->crosshair_x);
        if (at == SIZE_MAX)
            continue;
        const hl_style style = {.role = l->role};
        hl_format_value(value, hl_pyramid_y(l->data, at));
        if (p->counts[i])
            hl_putf(c, left, 1 + i, style, "%c %s n=%.0f", l->letter, value,
                    hl_pyramid_y(p->counts[i], at));
        else
            hl_putf(c, left, 1 + i, style, "%c %s", l->letter, value);
    }
}

/* Why there is no line. */
static void put_no_lines(hl_screen *s, hl_canvas c)
{
    const hl_comparison *of = s->compare.now;
    bool reading = false;
    for (size_t i = 0; i < of->n && i < HL_SHOWN_MAX; i++) {
        const hl_watched *w = hl_model_watch(&s->model, hl_run_get_row(of->runs[i].run)->dir);
        reading |= w && !w->caught_up && !w->message;
    }
    hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM),
               reading                     ? "reading ..."
               : s->look.compare.alignment ? "the runs did not record that axis: X goes on"
               : s->look.compare.relation  ? "no step at which both have it: d goes on"
                                           : "no run has points of this metric");
}

static void draw(hl_screen *s, hl_canvas c, bool focused)
{
    paired p;
    hl_chart *view = &s->compare.chart;
    const hl_chart_mark zero = {.at = s->look.compare.relation == HL_RELATION_RATIO ? 1 : 0,
                                .role = HL_ROLE_DIM,
                                .horizontal = true};
    (void)focused;
    if (!hl_compare_shown(s))
        return;
    collect(s, &p);
    if (p.n == 0) {
        put_no_lines(s, c);
        return;
    }
    if (p.of != s->compare.chart_of)
        *view = (hl_chart){0};
    s->compare.chart_of = p.of;
    view->line = p.shown;
    view->n_lines = p.n;
    view->mark = &zero;
    view->n_marks = s->look.compare.relation != HL_RELATION_NONE;
    view->has_crosshair = s->has_crosshair;
    view->crosshair_x = s->crosshair_x;
    hl_chart_draw(c, view);
    if (s->has_crosshair)
        put_reading(s, hl_canvas_part(c, view->plot.x, view->plot.y, view->plot.w, view->plot.h),
                    &p);
    view->line = NULL;
    view->mark = NULL;
}

/* The points of the row under the cursor, or of the first line; NULL: none. */
static const hl_pyramid *focused_points(hl_screen *s)
{
    paired p;
    collect(s, &p);
    for (int i = 0; i < p.n; i++)
        if (p.shown[i].focused)
            return p.shown[i].data;
    return p.n ? p.shown[0].data : NULL;
}

static bool act(hl_screen *s, hl_action a)
{
    if (hl_compare_shown(s) && hl_screen_act_on_crosshair(s, a, focused_points))
        return true;
    if (a == HL_ACTION_UP || a == HL_ACTION_DOWN) { /* the next metric */
        const hl_pane was = hl_screen_focus(s);
        s->look.focus[s->look.view] = HL_PANE_SCORES;
        const bool done = hl_compare_act(s, a == HL_ACTION_UP ? HL_ACTION_LEFT : HL_ACTION_RIGHT);
        s->look.focus[s->look.view] = was;
        return done;
    }
    return hl_compare_act(s, a);
}

static void click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    (void)y;
    if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN) {
        act(s, what == HL_MOUSE_WHEEL_UP ? HL_ACTION_UP : HL_ACTION_DOWN);
        return;
    }
    const double at = hl_chart_x_at(&s->compare.chart, x);
    if (isfinite(at) && what != HL_MOUSE_RELEASE) {
        s->has_crosshair = true;
        s->crosshair_x = at;
    }
}

const hl_pane_class hl_pane_paired = {
    .framed = true, .focusable = true, .title = title, .draw = draw, .act = act, .click = click};
