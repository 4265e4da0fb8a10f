/* The chosen metric of the compared runs in one chart, or how it stands to the reference's. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/hash.h"
#include "views/screen.h"
#include "views/widgets/number.h"

/* ---- lines ---- */

/* Step against tokens, samples or seconds; NULL: the run has none. */
static const hl_pyramid *clock_of(const hl_screen *s, hl_watched *w)
{
    static const char *const counts[] = {"train/tokens", "train/samples", "train/windows"};
    if (s->look.compare.alignment == HL_ALIGN_TIME)
        return hl_watched_clock(w);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const hl_data *d = hl_watched_series(w, counts[i]);
        if (d && d->points && hl_pyramid_n(d->points))
            return d->points;
    }
    return NULL;
}

typedef struct paired {
    hl_chart_line line[HL_SHOWN_MAX];
    size_t run[HL_SHOWN_MAX];
    int n;
    uint64_t of; /* hash of what the axes are made for */
} paired;

/* What the run gives to the chart; NULL: nothing (yet). */
static const hl_pyramid *points_of(hl_screen *s, hl_data *d, hl_watched *w, const hl_data *ref,
                                   hl_watched *ref_run, uint64_t ref_of)
{
    const hl_compare_look *look = &s->look.compare;
    hl_paired_of of = {.data = d->points, .reference_of = ref_of};
    if (look->relation != HL_RELATION_NONE) {
        if (!ref || !ref->points)
            return NULL;
        of.reference = ref->points;
        of.relation = (hl_relation)look->relation;
    }
    if (look->alignment != HL_ALIGN_STEP) {
        of.clock = clock_of(s, w);
        of.reference_clock = of.relation ? clock_of(s, ref_run) : NULL;
        if (!of.clock || (of.relation && !of.reference_clock))
            return NULL;
    }
    return of.relation || of.clock ? hl_paired_follow(&d->paired, &of) : d->points;
}

/* The row under the cursor first, so that it is there and in front, and the reference. */
static bool takes_part(hl_screen *s, size_t run, int nth, int n_left)
{
    return nth < n_left || run == hl_compare_row_shown(s) || run == hl_compare_reference(s);
}

static void collect(hl_screen *s, paired *p)
{
    const hl_comparison *c = s->compare.now;
    const hl_compare_look *look = &s->look.compare;
    const size_t ref = hl_compare_reference(s), now = hl_compare_row_shown(s);
    const size_t metric = hl_compare_metric_shown(s);
    p->n = 0;
    p->of = hl_hash_bytes(HL_HASH_START, look, offsetof(hl_compare_look, all));
    if (metric == SIZE_MAX)
        return;
    const char *tag = c->metrics.at[metric].key, *ref_dir = hl_run_get_row(c->runs[ref].run)->dir;
    hl_watched *ref_run = hl_model_watch(&s->model, ref_dir);
    const hl_data *ref_data = ref_run ? hl_watched_series(ref_run, tag) : NULL;
    const uint64_t ref_of = hl_hash_str(HL_HASH_START, ref_dir);
    p->of = hl_hash_str(hl_hash_str(p->of, tag), ref_dir);
    for (size_t i = 0; i < c->n && p->n < HL_SHOWN_MAX; i++) {
        const hl_run_row *row = hl_run_get_row(c->runs[i].run);
        if ((look->relation && i == ref) || !takes_part(s, i, p->n, HL_SHOWN_MAX - 2))
            continue;
        hl_watched *w = hl_model_watch(&s->model, row->dir);
        hl_data *d = w ? hl_watched_series(w, tag) : NULL;
        const hl_pyramid *points =
            d && d->points ? points_of(s, d, w, ref_data, ref_run, ref_of) : NULL;
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

/* ---- the pane ---- */

static const char *x_name(const hl_screen *s)
{
    static const char *const names[HL_ALIGNMENTS] = {"step", "tokens or samples", "seconds"};
    return names[s->look.compare.alignment];
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
    snprintf(buf, n, "%s%s%s  x=%s  %d of %zu runs", hl_series_title(c->metrics.at[metric].key),
             relation == HL_RELATION_DIFFERENCE ? " less that of "
             : relation == HL_RELATION_RATIO    ? " over that of "
                                                : "",
             relation ? ref : "", x_name(s), p.n, c->n);
}

/* What the lines have at the crosshair, in the upper right corner. */
static void put_reading(const hl_screen *s, hl_canvas c, const paired *p)
{
    char x[HL_NUMBER_MAX], value[HL_NUMBER_MAX];
    const int left = c.r.w - 18;
    hl_putf(c, left, 0, HL_STYLE(KEY), "at %s", hl_format_value(x, s->crosshair_x));
    for (int i = 0; i < p->n; i++) {
        const size_t at = hl_pyramid_nearest(p->line[i].data, s->crosshair_x);
        if (at != SIZE_MAX)
            hl_putf(c, left, 1 + i, (hl_style){.role = p->line[i].role}, "%c %s", p->line[i].letter,
                    hl_format_value(value, hl_pyramid_y(p->line[i].data, at)));
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
    view->line = p.line;
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
        if (p.line[i].focused)
            return p.line[i].data;
    return p.n ? p.line[0].data : NULL;
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
