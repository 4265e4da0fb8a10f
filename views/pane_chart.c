/* Charts of the run under the cursor, with the marked runs laid over it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "views/screen.h"
#include "views/widgets/number.h"

enum { CHART_MIN_W = 48, CHART_MIN_H = 11, MARKS_MAX = 24 };

/* ---- which charts there are ---- */

/* What one wants to see first. */
static int priority(const char *tag)
{
    static const char *const first[] = {"train/loss", HL_TAG_INF_NORM, HL_TAG_KURTOSIS,
                                        "eval/loss"};
    static const char *const then[] = {"eval/", "train/", "", "sys/", "outliers/"};
    const int n = (int)(sizeof first / sizeof first[0]);
    for (int i = 0; i < n; i++)
        if (strcmp(tag, first[i]) == 0)
            return i;
    for (int i = 0; i < (int)(sizeof then / sizeof then[0]); i++)
        if (i != 2 && hl_str_starts(tag, then[i]))
            return n + i;
    return n + 2;
}

static int find_chart(const hl_screen *s, const char *tag)
{
    for (size_t i = 0; i < s->charts.n; i++)
        if (strcmp(s->charts.at[i].tag, tag) == 0)
            return (int)i;
    return -1;
}

/* Single activations are the outlier strip's. */
static bool has_chart(const hl_data *d)
{
    return d && d->points && d->statistic < 0;
}

static void add_chart(hl_screen *s, const hl_data *d)
{
    if (!has_chart(d) || find_chart(s, d->tag) >= 0 || s->charts.n >= HL_CHARTS_MAX)
        return;
    hl_chart_state fresh = {.tag = hl_strdup(d->tag)};
    if (!fresh.tag || hl_vec_push(&s->charts, fresh) != HL_OK)
        hl_free(fresh.tag);
}

typedef struct ranked {
    int chart, priority;
} ranked;

static int by_rank(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->priority != y->priority ? x->priority - y->priority : x->chart - y->chart;
}

/* The charts that this run has something for, in order; gives how many. */
static int list_charts(hl_screen *s, const hl_watched *w, int out[HL_CHARTS_MAX])
{
    ranked list[HL_CHARTS_MAX];
    int n = 0;
    for (int i = 0; i < HL_STATISTICS; i++)
        add_chart(s, w->gathered[i].data);
    for (size_t i = 0; i < w->series.n; i++)
        add_chart(s, w->series.at[i]);
    for (size_t i = 0; i < s->charts.n; i++)
        if (has_chart(hl_watched_series(w, s->charts.at[i].tag)))
            list[n++] = (ranked){(int)i, priority(s->charts.at[i].tag)};
    qsort(list, (size_t)n, sizeof *list, by_rank);
    for (int i = 0; i < n; i++)
        out[i] = list[i].chart;
    return n;
}

static int place_of(const int *charts, int n, int chart)
{
    for (int i = 0; i < n; i++)
        if (charts[i] == chart)
            return i;
    return 0;
}

static bool is_log(const hl_screen *s, int chart)
{
    return s->look.log_y[chart / 8] >> chart % 8 & 1;
}

/* ---- the grid of charts ---- */

typedef struct page {
    int cols, rows, first, n; /* charts first .. first + n - 1 of the list are shown */
} page;

static page make_page(const hl_screen *s, int w, int h, int n_charts, int focused)
{
    page p = {.cols = s->settings.grid_cols, .rows = s->settings.grid_rows};
    if (!p.cols) {
        p.cols = w / CHART_MIN_W;
        p.rows = h / CHART_MIN_H;
    }
    p.cols = p.cols < 1 ? 1 : p.cols > w / 12 + 1 ? w / 12 + 1 : p.cols;
    p.rows = p.rows < 1 ? 1 : p.rows > h / 4 + 1 ? h / 4 + 1 : p.rows;
    if (n_charts < p.cols * p.rows) { /* fewer and larger */
        p.rows = (n_charts + p.cols - 1) / p.cols;
        p.rows = p.rows < 1 ? 1 : p.rows;
        p.cols = (n_charts + p.rows - 1) / p.rows;
        p.cols = p.cols < 1 ? 1 : p.cols;
    }
    const int each = p.cols * p.rows;
    p.first = focused / each * each;
    p.n = n_charts - p.first < each ? n_charts - p.first : each;
    return p;
}

/* ---- one chart ---- */

static int collect_lines(hl_screen *s, const hl_shown *shown, int n_shown, int chart,
                         hl_chart_line out[HL_SHOWN_MAX])
{
    int n = 0;
    for (int i = 0; i < n_shown; i++) {
        hl_data *d = shown[i].run ? hl_watched_series(shown[i].run, s->charts.at[chart].tag) : NULL;
        if (!d || !d->points)
            continue;
        hl_chart_line *line = &out[n++];
        *line = (hl_chart_line){.data = d->points,
                                .name = shown[i].row->name,
                                .role = hl_color_style(shown[i].color).role,
                                .letter = hl_color_letter(shown[i].color),
                                .focused = i == 0};
        if (s->look.smooth <= 0)
            continue;
        if (!d->smooth)
            d->smooth = hl_smooth_new();
        if (d->smooth &&
            hl_smooth_follow(d->smooth, d->points, s->look.smooth, is_log(s, chart)) == HL_OK)
            line->smooth = hl_smooth_data(d->smooth);
    }
    return n;
}

/* Where somebody touched the run, or it raised an alert. */
static int collect_marks(const hl_watched *w, hl_chart_mark out[MARKS_MAX])
{
    int n = 0;
    for (size_t i = w->log.n; i-- > 0 && n < MARKS_MAX;) {
        const hl_log_line *l = &w->log.at[i];
        if (l->level == 'C' || (l->level == 'W' && l->step > 0))
            out[n++] = (hl_chart_mark){.at = (double)l->step,
                                       .role = l->level == 'C' ? HL_ROLE_KEY : HL_ROLE_WARN};
    }
    return n;
}

/* What the lines have at the crosshair, in the upper right corner. */
static void draw_reading(const hl_screen *s, hl_canvas c, const hl_chart *chart)
{
    char step[HL_NUMBER_MAX], value[HL_NUMBER_MAX];
    int y = 0;
    hl_putf(c, c.r.w - 16, y++, HL_STYLE(KEY), "step %s",
            hl_format_count(step, (int64_t)s->crosshair_x));
    for (int i = 0; i < chart->n_lines; i++) {
        const hl_chart_line *l = &chart->line[i];
        const size_t at = hl_pyramid_nearest(l->data, s->crosshair_x);
        if (at == SIZE_MAX)
            continue;
        hl_putf(c, c.r.w - 16, y++, (hl_style){.role = l->role}, "%c %s", l->letter,
                hl_format_value(value, hl_pyramid_y(l->data, at)));
    }
}

static void draw_one(hl_screen *s, hl_canvas c, int chart, const hl_shown *shown, int n_shown,
                     const char *title)
{
    hl_chart *view = &s->charts.at[chart].chart;
    hl_chart_line lines[HL_SHOWN_MAX];
    hl_chart_mark marks[MARKS_MAX];
    view->title = title;
    view->line = lines;
    view->n_lines = collect_lines(s, shown, n_shown, chart, lines);
    view->mark = marks;
    view->n_marks = n_shown && shown[0].run ? collect_marks(shown[0].run, marks) : 0;
    view->log_y = is_log(s, chart);
    view->smoothing = s->look.smooth;
    view->has_crosshair = s->has_crosshair;
    view->crosshair_x = s->crosshair_x;
    hl_chart_draw(c, view);
    if (s->has_crosshair)
        draw_reading(s, hl_canvas_part(c, view->plot.x, view->plot.y, view->plot.w, view->plot.h),
                     view);
    view->line = NULL;
    view->mark = NULL;
    view->title = NULL;
}

/* ---- the pane ---- */

/* The charts of the run and the place of the focused one: the first until one was chosen. */
static bool focused_chart(hl_screen *s, int charts[HL_CHARTS_MAX], int *n, int *place)
{
    hl_watched *w = hl_screen_run(s);
    *n = w ? list_charts(s, w, charts) : 0;
    *place = *n ? place_of(charts, *n, s->look.chart) : 0;
    return *n > 0;
}

static void notes_of(hl_screen *s, int chart, char notes[HL_CHART_NOTES_MAX])
{
    hl_shown shown[HL_SHOWN_MAX];
    hl_chart_line lines[HL_SHOWN_MAX];
    const int n = hl_screen_shown(s, shown);
    const hl_chart view = {.line = lines,
                           .n_lines = collect_lines(s, shown, n, chart, lines),
                           .log_y = is_log(s, chart),
                           .smoothing = s->look.smooth};
    hl_chart_notes(&view, notes);
}

static void title(hl_screen *s, char *buf, size_t n)
{
    int charts[HL_CHARTS_MAX], n_charts, place;
    char notes[HL_CHART_NOTES_MAX], bytes[24];
    const hl_watched *w = hl_screen_run(s);
    if (!focused_chart(s, charts, &n_charts, &place)) {
        snprintf(buf, n, "Charts");
        return;
    }
    const int chart = charts[place];
    notes_of(s, chart, notes);
    int used = snprintf(buf, n, "%s  %s%sx=step  %d/%d", hl_series_title(s->charts.at[chart].tag),
                        notes, *notes ? "  " : "", place + 1, n_charts);
    if (!w->caught_up && w->bytes_total > 0 && used > 0 && (size_t)used < n)
        snprintf(buf + used, n - (size_t)used, "  reading %.0f %% of %s",
                 100.0 * (double)w->bytes_done / (double)w->bytes_total,
                 hl_format_bytes(bytes, w->bytes_total));
}

static void draw_nothing(hl_screen *s, hl_canvas c)
{
    const hl_run_row *row = hl_screen_row(s);
    const hl_style dim = HL_STYLE(DIM);
    char age[24];
    if (hl_screen_put_trouble(s, c))
        return;
    hl_putf(c, 1, 0, dim, "%s%s%s, no points yet", hl_run_state_name(row->state),
            *row->phase ? ": " : "", row->phase);
    if (*row->message)
        hl_put_cut(c, 1, 1, c.r.w - 1, HL_STYLE(BAD), row->message);
    else if (row->t_start_us)
        hl_putf(c, 1, 1, dim, "since %s", hl_ago(age, row->t_start_us));
}

/* Axes remember what they have shown, so that new points move little; other runs begin anew. */
static void forget_axes(hl_screen *s, const hl_shown *shown, int n_shown)
{
    uint64_t now = HL_HASH_START;
    for (int i = 0; i < n_shown; i++)
        now = hl_hash_str(now, shown[i].row->dir);
    for (size_t i = 0; now != s->charts_of && i < s->charts.n; i++)
        s->charts.at[i].chart = (hl_chart){0};
    s->charts_of = now;
}

static void draw(hl_screen *s, hl_canvas c, bool focused)
{
    int charts[HL_CHARTS_MAX], n, place;
    hl_shown shown[HL_SHOWN_MAX];
    (void)focused;
    if (!focused_chart(s, charts, &n, &place)) {
        draw_nothing(s, c);
        return;
    }
    const int n_shown = hl_screen_shown(s, shown);
    forget_axes(s, shown, n_shown);
    const page p = make_page(s, c.r.w, c.r.h, n, place);
    if (p.cols * p.rows == 1) {
        draw_one(s, c, charts[place], shown, n_shown, NULL);
        return;
    }
    for (int i = 0; i < p.n; i++) {
        char name[96];
        const int chart = charts[p.first + i], col = i % p.cols, row = i / p.cols;
        const int x = c.r.w * col / p.cols, y = c.r.h * row / p.rows;
        const hl_canvas part = hl_canvas_part(c, x, y, c.r.w * (col + 1) / p.cols - x - 1,
                                              c.r.h * (row + 1) / p.rows - y);
        snprintf(name, sizeof name, "%s%s", p.first + i == place ? "> " : "  ",
                 hl_series_title(s->charts.at[chart].tag));
        draw_one(s, part, chart, shown, n_shown, name);
    }
}

/* ---- actions ---- */

static void go(hl_screen *s, int by)
{
    int charts[HL_CHARTS_MAX], n, place;
    if (!focused_chart(s, charts, &n, &place))
        return;
    place = (place + by % n + n) % n;
    s->look.chart = charts[place];
}

/* The points of the focused chart's run; NULL: none. */
static const hl_pyramid *focused_points(hl_screen *s)
{
    int charts[HL_CHARTS_MAX], n, place;
    if (!focused_chart(s, charts, &n, &place))
        return NULL;
    const hl_data *d = hl_watched_series(hl_screen_run(s), s->charts.at[charts[place]].tag);
    return d ? d->points : NULL;
}

static void next_smoothing(hl_screen *s)
{
    static const double steps[] = {0, .6, .9, .99};
    const int n = (int)(sizeof steps / sizeof steps[0]);
    int i = 0;
    while (i < n && steps[i] <= s->look.smooth)
        i++;
    hl_screen_remember(s);
    s->look.smooth = i < n ? steps[i] : 0;
    if (s->look.smooth > 0)
        hl_screen_say(s, HL_ROLE_TEXT, "smoothing: exponential mean, factor %g; raw stays behind",
                      s->look.smooth);
    else
        hl_screen_say(s, HL_ROLE_TEXT, "smoothing off");
}

static void turn_scale(hl_screen *s)
{
    int charts[HL_CHARTS_MAX], n, place;
    if (!focused_chart(s, charts, &n, &place))
        return;
    hl_screen_remember(s);
    s->look.log_y[charts[place] / 8] ^= (uint8_t)(1 << charts[place] % 8);
}

static void turn_overlay(hl_screen *s)
{
    hl_screen_remember(s);
    s->look.overlay = !s->look.overlay;
    hl_screen_say(s, HL_ROLE_TEXT,
                  s->look.overlay ? "marked runs are laid over this one" : "this run alone");
}

static bool copy_crosshair(hl_screen *s)
{
    char text[64];
    if (!s->has_crosshair)
        return false;
    snprintf(text, sizeof text, "%.17g", s->crosshair_x);
    hl_screen_copy(s, text);
    return true;
}

static bool act(hl_screen *s, hl_action a)
{
    switch (a) {
    case HL_ACTION_UP:
    case HL_ACTION_PREVIOUS_CHART:
        go(s, -1);
        return true;
    case HL_ACTION_DOWN:
    case HL_ACTION_NEXT_CHART:
        go(s, 1);
        return true;
    case HL_ACTION_SMOOTH:
        next_smoothing(s);
        return true;
    case HL_ACTION_SCALE:
        turn_scale(s);
        return true;
    case HL_ACTION_OVERLAY:
        turn_overlay(s);
        return true;
    case HL_ACTION_COPY:
        return copy_crosshair(s);
    default:
        return hl_screen_act_on_crosshair(s, a, focused_points);
    }
}

static void click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    int charts[HL_CHARTS_MAX], n, place;
    if (!focused_chart(s, charts, &n, &place))
        return;
    if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN) {
        go(s, what == HL_MOUSE_WHEEL_UP ? -1 : 1);
        return;
    }
    const hl_rect r = s->layout.pane[HL_PANE_CHART];
    const int w = r.w - 2 * s->layout.frames, h = r.h - 2 * s->layout.frames;
    const page p = make_page(s, w, h, n, place);
    const int col = w > 0 ? x * p.cols / w : 0, row = h > 0 ? y * p.rows / h : 0;
    const int at = p.first + row * p.cols + col;
    if (at >= p.first + p.n)
        return;
    s->look.chart = charts[at];
    const hl_chart *view = &s->charts.at[s->look.chart].chart;
    const double step = hl_chart_x_at(view, x - w * col / p.cols);
    if (isfinite(step) && what != HL_MOUSE_RELEASE) {
        s->has_crosshair = true;
        s->crosshair_x = step;
    }
}

const hl_pane_class hl_pane_chart = {
    .framed = true, .focusable = true, .title = title, .draw = draw, .act = act, .click = click};
