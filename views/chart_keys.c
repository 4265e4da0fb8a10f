/* Keys of charts: which one, how it is drawn, the crosshair. chart_zoom.c has zoom and pan. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/screen.h"
#include "views/widgets/number.h"

/* ---- which chart ---- */

static void go(hl_screen *s, int by)
{
    int charts[HL_CHARTS_MAX], n, place;
    if (!hl_charts_list(s, charts, &n, &place))
        return;
    place = (place + by % n + n) % n;
    s->look.chart = charts[place];
}

/* A page, or a chart where all fit on one. */
static void turn_page(hl_screen *s, int by)
{
    int charts[HL_CHARTS_MAX], n, place;
    if (!hl_charts_list(s, charts, &n, &place))
        return;
    const int each = hl_charts_per_page(s);
    if (each >= n || each == 1) {
        go(s, by);
        return;
    }
    const int pages = (n + each - 1) / each;
    s->look.chart = charts[(place / each + by + pages) % pages * each];
}

/* Before the first move all charts stand by their names; from then on by their places. */
static void move_chart(hl_screen *s, int by)
{
    int charts[HL_CHARTS_MAX], n, place;
    if (!hl_charts_list(s, charts, &n, &place))
        return;
    const int to = place + by;
    if (to < 0 || to >= n || s->charts.at[charts[to]].pinned != s->charts.at[charts[place]].pinned)
        return;
    s->look.chart = charts[place];
    for (int i = 0; i < n; i++)
        s->charts.at[charts[i]].place = i == place ? to + 1 : i == to ? place + 1 : i + 1;
}

static void pin(hl_screen *s)
{
    const int chart = hl_charts_focused(s);
    if (chart < 0)
        return;
    s->look.chart = chart;
    s->charts.at[chart].pinned = !s->charts.at[chart].pinned;
}

/* ---- how it is drawn ---- */

static void next_smoothing(hl_screen *s)
{
    static const double steps[] = {0, .6, .9, .99};
    const int n = (int)(sizeof steps / sizeof steps[0]);
    int i = 0;
    while (i < n && steps[i] <= s->look.smooth)
        i++;
    hl_screen_remember(s);
    s->look.charts.smooth_by = HL_SMOOTH_EMA;
    s->look.smooth = i < n ? steps[i] : 0;
    if (s->look.smooth > 0)
        hl_screen_say(s, HL_ROLE_TEXT, "smoothing: exponential mean, factor %g; raw stays behind",
                      s->look.smooth);
    else
        hl_screen_say(s, HL_ROLE_TEXT, "smoothing off");
}

static void turn_scale(hl_screen *s)
{
    const int chart = hl_charts_focused(s);
    if (chart < 0)
        return;
    hl_screen_remember(s);
    hl_chart_look *y = &s->look.charts.y[chart];
    y->scale = (uint8_t)((y->scale + 1) % HL_Y_SCALES);
}

static void turn_range(hl_screen *s)
{
    const int chart = hl_charts_focused(s);
    if (chart < 0)
        return;
    hl_screen_remember(s);
    hl_chart_look *y = &s->look.charts.y[chart];
    const bool has_limits = y->lo < y->hi;
    y->range = (uint8_t)((y->range + 1) % (has_limits ? HL_Y_RANGES : HL_Y_FIXED));
    hl_screen_say(s, HL_ROLE_TEXT,
                  y->range == HL_Y_FULL ? "y: everything"
                  : y->range == HL_Y_ROBUST
                      ? "y: 1 to 99 %% of the points; the title counts the rest"
                      : "y: fixed");
}

static void turn_overlay(hl_screen *s)
{
    hl_screen_remember(s);
    s->look.overlay = !s->look.overlay;
    hl_screen_say(s, HL_ROLE_TEXT,
                  s->look.overlay ? "marked runs are laid over this one" : "this run alone");
}

static void turn_band(hl_screen *s)
{
    hl_screen_remember(s);
    s->look.charts.band = (uint8_t)((s->look.charts.band + 1) % HL_BAND_COUNT);
    hl_screen_say(s, HL_ROLE_TEXT, "%s", hl_band_help((hl_band_kind)s->look.charts.band));
}

static void turn_versus(hl_screen *s)
{
    static const char *const said[HL_RELATIONS] = {
        "runs themselves", "the other runs minus this one", "the other runs over this one"};
    hl_shown shown[HL_SHOWN_MAX];
    if (hl_screen_shown(s, shown) < 2) {
        hl_screen_say(s, HL_ROLE_WARN,
                      "there is no other run to compare with: mark some (Space) "
                      "and overlay them (o)");
        return;
    }
    hl_screen_remember(s);
    s->look.charts.versus = (uint8_t)((s->look.charts.versus + 1) % HL_RELATIONS);
    hl_screen_say(s, HL_ROLE_TEXT, "%s", said[s->look.charts.versus]);
}

/* ---- the crosshair ---- */

const hl_pyramid *hl_chart_points(hl_screen *s)
{
    const int chart = hl_charts_focused(s);
    hl_watched *w = hl_screen_run(s);
    const hl_data *d = chart >= 0 && w ? hl_watched_series(w, s->charts.at[chart].tag) : NULL;
    return d ? d->points : NULL;
}

bool hl_chart_shown_x(hl_screen *s, hl_scale *x)
{
    const int chart = hl_charts_focused(s);
    if (chart < 0)
        return false;
    *x = s->charts.at[chart].chart.shown_x;
    return x->lo < x->hi;
}

static void put_crosshair(hl_screen *s, double x)
{
    double step;
    if (!hl_chart_step_at(s, x, &step))
        return;
    s->has_crosshair = true;
    s->crosshair_x = step;
}

/* Its place on the x axis, else that of the newest sample. */
static bool crosshair(hl_screen *s, double *x)
{
    const hl_watched *w = hl_screen_run(s);
    hl_scale shown;
    if (w && hl_chart_crosshair(s, w, x))
        return true;
    if (!hl_chart_shown_x(s, &shown))
        return false;
    *x = shown.hi;
    return true;
}

static void jump(hl_screen *s, double widths)
{
    hl_scale x;
    double at;
    if (!hl_chart_shown_x(s, &x) || !crosshair(s, &at))
        return;
    const double t = fmin(fmax(hl_scale_to(&x, at) + widths, 0), 1);
    const double before = s->crosshair_x;
    const bool had = s->has_crosshair;
    put_crosshair(s, hl_scale_from(&x, t));
    if (had && s->crosshair_x == before) /* samples are further apart */
        (void)hl_screen_act_on_crosshair(s, widths < 0 ? HL_ACTION_LEFT : HL_ACTION_RIGHT,
                                         hl_chart_points);
}

static void to_edge(hl_screen *s, bool last)
{
    hl_scale x;
    if (hl_chart_shown_x(s, &x))
        put_crosshair(s, last ? x.hi : x.lo);
}

static void to_extreme(hl_screen *s)
{
    const int chart = hl_charts_focused(s);
    hl_chart_lines lines;
    hl_bucket b;
    hl_scale x;
    double at;
    if (chart < 0 || !hl_chart_shown_x(s, &x))
        return;
    hl_chart_lines_make(s, chart, &lines);
    if (!lines.n || !hl_pyramid_range(lines.line[0].data, x.lo, nextafter(x.hi, HUGE_VAL), &b) ||
        b.n == b.n_non_finite)
        return;
    const bool on_max = s->has_crosshair && crosshair(s, &at) && at == b.x_of_max;
    put_crosshair(s, on_max ? b.x_of_min : b.x_of_max);
}

/* The smallest step behind `from` that has a mark or a non-finite value. */
static bool next_mark_behind(hl_screen *s, double from, double *found)
{
    const hl_pyramid *p = hl_chart_points(s);
    const hl_watched *w = hl_screen_run(s);
    *found = HUGE_VAL;
    for (size_t i = 0; p && (i = hl_pyramid_next_bad(p, i)) != SIZE_MAX; i++)
        if (hl_pyramid_x(p, i) > from) {
            *found = hl_pyramid_x(p, i);
            break;
        }
    for (size_t i = 0; w && i < w->log.n; i++) {
        const hl_log_line *l = &w->log.at[i];
        if ((l->level == 'C' || l->level == 'W') && l->step > 0 && (double)l->step > from)
            *found = fmin(*found, (double)l->step);
    }
    for (size_t i = 0; w && i < s->chart_notes.n; i++)
        if (strcmp(s->chart_notes.at[i].dir, w->dir) == 0 &&
            (double)s->chart_notes.at[i].step > from)
            *found = fmin(*found, (double)s->chart_notes.at[i].step);
    return isfinite(*found);
}

static void to_next_mark(hl_screen *s)
{
    double step;
    if (!next_mark_behind(s, s->has_crosshair ? s->crosshair_x : -HUGE_VAL, &step) &&
        !next_mark_behind(s, -HUGE_VAL, &step)) {
        hl_screen_say(s, HL_ROLE_TEXT, "no marks, every value is finite");
        return;
    }
    s->has_crosshair = true;
    s->crosshair_x = step;
}

static bool copy_crosshair(hl_screen *s)
{
    char text[80];
    const hl_pyramid *p = hl_chart_points(s);
    const size_t at = p && s->has_crosshair ? hl_pyramid_nearest(p, s->crosshair_x) : SIZE_MAX;
    if (at == SIZE_MAX)
        return false;
    snprintf(text, sizeof text, "%.17g\t%.9g", hl_pyramid_x(p, at), hl_pyramid_y(p, at));
    hl_screen_copy(s, text);
    return true;
}

static void note(hl_screen *s)
{
    if (s->has_crosshair)
        hl_screen_begin_command(s, "annotate ");
    else
        hl_screen_say(s, HL_ROLE_WARN, "first put the crosshair (h l) where the mark shall be");
}

static bool go_back(hl_screen *s)
{
    if (s->has_anchor)
        s->has_anchor = false;
    else if (s->has_crosshair)
        s->has_crosshair = false;
    else if (s->look.charts.large)
        s->look.charts.large = false;
    else
        return false;
    return true;
}

/* ---- commands ---- */

void hl_chart_pick(hl_screen *s, const char *what)
{
    if (what[0] >= '1' && what[0] <= '9' && what[1] == 'x') {
        if (hl_option_set(s, "grid", what) != HL_OK)
            hl_screen_say_error(s);
        return;
    }
    hl_screen_remember(s);
    s->look.charts.large = false;
    snprintf(s->look.charts.pick, sizeof s->look.charts.pick, "%s",
             strcmp(what, "all") == 0 ? "" : what);
}

void hl_chart_formula(hl_screen *s, const char *formula)
{
    hl_watched *w = hl_screen_run(s);
    char tag[160];
    snprintf(tag, sizeof tag, "= %s", formula);
    if (!w)
        hl_screen_say(s, HL_ROLE_BAD, "there is no run whose series it could be made of");
    else if (strlen(formula) + 3 > sizeof tag)
        hl_screen_say(s, HL_ROLE_BAD, "the formula is too long");
    else if (hl_watched_compute(w, tag) != HL_OK)
        hl_screen_say_error(s);
    else if (!hl_charts_add(s, tag))
        hl_screen_say(s, HL_ROLE_BAD, "there are too many charts");
    else
        hl_screen_set_view(s, HL_VIEW_RUN);
}

void hl_chart_annotate(hl_screen *s, const char *text)
{
    hl_chart_note n = {.step = (int64_t)s->crosshair_x};
    if (!s->has_crosshair || !s->selected) {
        hl_screen_say(s, HL_ROLE_BAD, "there is no crosshair in a chart");
        return;
    }
    n.dir = hl_strdup(s->selected);
    n.text = hl_strdup(text);
    if (!n.dir || !n.text || hl_vec_push(&s->chart_notes, n) != HL_OK) {
        hl_free(n.dir);
        hl_free(n.text);
        return;
    }
    hl_screen_say(s, HL_ROLE_TEXT, "marked; # goes from mark to mark");
}

/* ---- all of them ---- */

static bool act_on_samples(hl_screen *s, hl_action a)
{
    switch (a) {
    case HL_ACTION_SAMPLE_LEFT:
        jump(s, -0.1);
        return true;
    case HL_ACTION_SAMPLE_RIGHT:
        jump(s, 0.1);
        return true;
    case HL_ACTION_FIRST_SAMPLE:
        to_edge(s, false);
        return true;
    case HL_ACTION_LAST_SAMPLE:
        to_edge(s, true);
        return true;
    case HL_ACTION_EXTREME:
        to_extreme(s);
        return true;
    case HL_ACTION_NEXT_MARK:
        to_next_mark(s);
        return true;
    case HL_ACTION_LINK:
        s->crosshair_alone = !s->crosshair_alone;
        return true;
    case HL_ACTION_TABLE:
        hl_screen_popup(s, &hl_popup_table);
        return true;
    case HL_ACTION_NOTE:
        note(s);
        return true;
    case HL_ACTION_COPY:
        return copy_crosshair(s);
    default:
        return false;
    }
}

static bool act_on_looks(hl_screen *s, hl_action a)
{
    switch (a) {
    case HL_ACTION_SMOOTH:
        next_smoothing(s);
        return true;
    case HL_ACTION_SMOOTH_ASK:
        hl_screen_begin_command(s, "set smooth=");
        return true;
    case HL_ACTION_SCALE:
        turn_scale(s);
        return true;
    case HL_ACTION_RANGE:
        turn_range(s);
        return true;
    case HL_ACTION_X_MENU:
        hl_screen_popup(s, &hl_popup_x);
        return true;
    case HL_ACTION_OVERLAY:
        turn_overlay(s);
        return true;
    case HL_ACTION_BAND:
        turn_band(s);
        return true;
    case HL_ACTION_VERSUS:
        turn_versus(s);
        return true;
    default:
        return false;
    }
}

bool hl_chart_act(hl_screen *s, hl_action a)
{
    switch (a) {
    case HL_ACTION_UP:
        go(s, -1);
        return true;
    case HL_ACTION_DOWN:
        go(s, 1);
        return true;
    case HL_ACTION_PREVIOUS_CHART:
        turn_page(s, -1);
        return true;
    case HL_ACTION_NEXT_CHART:
        turn_page(s, 1);
        return true;
    case HL_ACTION_MOVE_CHART_LEFT:
        move_chart(s, -1);
        return true;
    case HL_ACTION_MOVE_CHART_RIGHT:
        move_chart(s, 1);
        return true;
    case HL_ACTION_FOLD:
        hl_chart_fold(s);
        return true;
    case HL_ACTION_PIN:
        pin(s);
        return true;
    case HL_ACTION_BACK:
        return go_back(s);
    default:
        return act_on_looks(s, a) || act_on_samples(s, a) || hl_chart_zoom_act(s, a) ||
               hl_screen_act_on_crosshair(s, a, hl_chart_points);
    }
}
