/* Charts of the run under the cursor, with the marked runs laid over it. */
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "views/screen.h"
#include "views/widgets/gauge.h"
#include "views/widgets/number.h"

enum { CHART_MIN_W = 48, CHART_MIN_H = 11 };

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

int hl_chart_goal(const char *tag)
{
    static const char *const small[] = {"loss", "ppl",  "bpb",      "mse",      "mae",
                                        "mape", "mspe", "inf_norm", "kurtosis", "residual"};
    static const char *const large[] = {"accuracy", "sqnr"};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        if (strstr(tag, large[i]))
            return 1;
    for (size_t i = 0; i < sizeof small / sizeof *small; i++)
        if (strstr(tag, small[i]))
            return -1;
    return 0;
}

/* One of the patterns between blanks, as a whole or as a part of the name. */
static bool is_picked(const char *pick, const char *tag)
{
    char pattern[HL_PICK_MAX + 3];
    for (pick += strspn(pick, " "); *pick; pick += strspn(pick, " ")) {
        const size_t n = strcspn(pick, " ");
        const bool exact = memchr(pick, '/', n) || memchr(pick, '*', n);
        snprintf(pattern, sizeof pattern, exact ? "%.*s" : "*%.*s*", (int)n, pick);
        if (fnmatch(pattern, tag, 0) == 0)
            return true;
        pick += n;
    }
    return false;
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
    int chart, priority, place;
    bool pinned;
} ranked;

/* Pinned ones first, then by what one wants to see; moved ones stand where they were moved to. */
static int by_rank(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->pinned != y->pinned)
        return x->pinned ? -1 : 1;
    if (x->place != y->place)
        return x->place - y->place;
    return x->priority != y->priority ? x->priority - y->priority : x->chart - y->chart;
}

/* Formulas, of all runs that are shown. What a run has no series for is not there. */
static void compute(hl_screen *s)
{
    hl_shown shown[HL_SHOWN_MAX];
    const int n = hl_screen_shown(s, shown);
    for (size_t i = 0; i < s->charts.n; i++)
        for (int k = 0; k < n && *s->charts.at[i].tag == '='; k++)
            if (shown[k].run)
                HL_IGNORE(hl_watched_compute(shown[k].run, s->charts.at[i].tag));
}

bool hl_charts_add(hl_screen *s, const char *tag)
{
    const int there = find_chart(s, tag);
    hl_chart_state fresh = {.tag = there < 0 ? hl_strdup(tag) : NULL, .pinned = true};
    s->look.chart = there < 0 ? (int)s->charts.n : there;
    if (there >= 0)
        return true;
    if (s->charts.n >= HL_CHARTS_MAX || !fresh.tag || hl_vec_push(&s->charts, fresh) != HL_OK) {
        hl_free(fresh.tag);
        return false;
    }
    return true;
}

int hl_chart_fold_of(const hl_screen *s, int chart)
{
    for (int i = 0; i < HL_FOLDS_MAX; i++)
        if (*s->look.charts.fold[i] &&
            hl_str_starts(s->charts.at[chart].tag, s->look.charts.fold[i]))
            return i;
    return -1;
}

void hl_chart_fold(hl_screen *s)
{
    const int chart = hl_charts_focused(s), at = chart < 0 ? -1 : hl_chart_fold_of(s, chart);
    const char *tag = chart < 0 ? "" : s->charts.at[chart].tag;
    const size_t n = strcspn(tag, "/") + 1;
    int free_at = 0;
    while (free_at < HL_FOLDS_MAX && *s->look.charts.fold[free_at])
        free_at++;
    if (at >= 0) {
        hl_screen_remember(s);
        *s->look.charts.fold[at] = 0;
    } else if (!strchr(tag, '/') || *tag == '=' || n >= sizeof s->look.charts.fold[0]) {
        hl_screen_say(s, HL_ROLE_TEXT, "the name of this chart has no head to fold by");
    } else if (free_at == HL_FOLDS_MAX) {
        hl_screen_say(s, HL_ROLE_WARN, "so many groups are folded already");
    } else {
        hl_screen_remember(s);
        snprintf(s->look.charts.fold[free_at], sizeof s->look.charts.fold[0], "%.*s", (int)n, tag);
    }
    s->look.chart = chart;
}

/* Of a folded group the first one stands for all; the focused one, if it is of them, is that. */
static int unfolded(hl_screen *s, const ranked *list, int n_all, int out[HL_CHARTS_MAX])
{
    int first[HL_FOLDS_MAX], n = 0;
    for (int i = 0; i < HL_FOLDS_MAX; i++)
        first[i] = -1;
    for (int i = 0; i < n_all; i++) {
        const int chart = list[i].chart, fold = hl_chart_fold_of(s, chart);
        if (fold >= 0 && first[fold] >= 0) {
            s->look.chart = s->look.chart == chart ? first[fold] : s->look.chart;
            continue;
        }
        if (fold >= 0)
            first[fold] = chart;
        out[n++] = chart;
    }
    return n;
}

/* The charts that this run has something for, in order; gives how many. */
static int list_charts(hl_screen *s, const hl_watched *w, int out[HL_CHARTS_MAX])
{
    ranked list[HL_CHARTS_MAX];
    const char *pick = s->look.charts.pick;
    int n = 0;
    for (int i = 0; i < HL_STATISTICS; i++)
        add_chart(s, w->gathered[i].data);
    for (size_t i = 0; i < w->series.n; i++)
        add_chart(s, w->series.at[i]);
    compute(s);
    for (size_t i = 0; i < s->charts.n; i++) {
        const hl_chart_state *c = &s->charts.at[i];
        if (has_chart(hl_watched_series(w, c->tag)) && (!*pick || is_picked(pick, c->tag)))
            list[n++] = (ranked){(int)i, priority(c->tag), c->place, c->pinned};
    }
    qsort(list, (size_t)n, sizeof *list, by_rank);
    return unfolded(s, list, n, out);
}

bool hl_charts_list(hl_screen *s, int charts[HL_CHARTS_MAX], int *n, int *place)
{
    hl_watched *w = hl_screen_run(s);
    *n = w ? list_charts(s, w, charts) : 0;
    *place = 0;
    for (int i = 0; i < *n; i++)
        if (charts[i] == s->look.chart)
            *place = i;
    return *n > 0;
}

int hl_charts_focused(hl_screen *s)
{
    int charts[HL_CHARTS_MAX], n, place;
    return hl_charts_list(s, charts, &n, &place) ? charts[place] : -1;
}

void hl_charts_free(hl_screen *s)
{
    for (size_t i = 0; i < s->charts.n; i++) {
        hl_chart_state *c = &s->charts.at[i];
        for (int k = 0; c->bands && k < HL_GROUPS_MAX; k++)
            hl_band_done(&c->bands[k]);
        hl_free(c->bands);
        hl_free(c->tag);
    }
    hl_vec_done(&s->charts);
    for (size_t i = 0; i < s->chart_notes.n; i++) {
        hl_free(s->chart_notes.at[i].dir);
        hl_free(s->chart_notes.at[i].text);
    }
    hl_vec_done(&s->chart_notes);
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
    if (s->look.charts.large)
        p.cols = p.rows = 1;
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

static hl_rect inside(const hl_screen *s)
{
    const hl_rect r = s->layout.pane[HL_PANE_CHART];
    return (hl_rect){0, 0, r.w - 2 * s->layout.frames, r.h - 2 * s->layout.frames};
}

int hl_charts_per_page(const hl_screen *s)
{
    const hl_rect r = inside(s);
    const page p = make_page(s, r.w, r.h, HL_CHARTS_MAX, 0);
    return p.cols * p.rows;
}

/* ---- one chart ---- */

/* "a 2.417 ~2.402 z+0.4" of a line at the crosshair. */
static bool read_line(const hl_chart_line *line, const hl_chart_source *of, double x, bool named,
                      const char *unit, char text[80])
{
    char value[HL_NUMBER_MAX];
    double z;
    const size_t at = line->is_replaced ? SIZE_MAX : hl_pyramid_nearest(line->data, x);
    if (at == SIZE_MAX)
        return false;
    int n = snprintf(text, 80, "%c %.*s%s%s%s%.8s", line->letter, named ? 20 : 0, of->name,
                     named ? " " : "", hl_format_value(value, hl_pyramid_y(line->data, at)),
                     *unit ? " " : "", unit);
    if (line->smooth && at < hl_pyramid_n(line->smooth))
        n += snprintf(text + n, 80 - (size_t)n, " ~%s",
                      hl_format_value(value, hl_pyramid_y(line->smooth, at)));
    if (of->counts && at < hl_pyramid_n(of->counts))
        n += snprintf(text + n, 80 - (size_t)n, " n=%.0f", hl_pyramid_y(of->counts, at));
    if (line->lo && line->hi && at < hl_pyramid_n(line->lo)) {
        n += snprintf(text + n, 80 - (size_t)n, " %s",
                      hl_format_value(value, hl_pyramid_y(line->lo, at)));
        snprintf(text + n, 80 - (size_t)n, "..%s",
                 hl_format_value(value, hl_pyramid_y(line->hi, at)));
    } else if (!of->counts && hl_chart_z_score(line->data, at, &z)) {
        snprintf(text + n, 80 - (size_t)n, " z%+.1f", fabs(z) < 999 ? z : copysign(999, z));
    }
    return true;
}

/* What was noted at the crosshair's step. */
static const char *note_at(const hl_screen *s)
{
    for (size_t i = 0; i < s->chart_notes.n; i++)
        if ((double)s->chart_notes.at[i].step == s->crosshair_x && s->selected &&
            strcmp(s->chart_notes.at[i].dir, s->selected) == 0)
            return s->chart_notes.at[i].text;
    return NULL;
}

/* What the lines have at the crosshair, in an upper corner; not where the crosshair is. */
static void draw_reading(const hl_screen *s, hl_canvas c, const hl_chart *chart,
                         const hl_chart_lines *lines)
{
    char text[HL_CHART_LINES_MAX + 2][80], step[HL_NUMBER_MAX], x[24];
    uint8_t roles[HL_CHART_LINES_MAX + 2];
    int n = 0, w = 0;
    roles[n] = HL_ROLE_KEY;
    if (s->look.charts.x == HL_X_STEP || s->look.charts.x == HL_X_CLOCK)
        snprintf(text[n++], 80, "step %s", hl_format_count(step, (int64_t)s->crosshair_x));
    else
        snprintf(text[n++], 80, "step %s  %s %s", hl_format_count(step, (int64_t)s->crosshair_x),
                 hl_chart_x_name(s),
                 s->look.charts.x == HL_X_TIME ? hl_format_duration(x, chart->crosshair_x)
                                               : hl_format_value(x, chart->crosshair_x));
    if (note_at(s)) {
        roles[n] = HL_ROLE_GOOD;
        snprintf(text[n++], 80, "%s", note_at(s));
    }
    for (int i = 0; i < lines->n && n < c.r.h; i++)
        if (read_line(&lines->line[i], &lines->of[i], chart->crosshair_x,
                      lines->n > 1 && c.r.w >= 60, chart->unit ? chart->unit : "", text[n])) {
            roles[n] = lines->line[i].role;
            n++;
        }
    for (int i = 0; i < n; i++) {
        const int columns = hl_text_columns(c.grid, text[i]);
        w = columns > w ? columns : w;
    }
    const int at = hl_chart_column(chart, chart->crosshair_x) - chart->plot.x;
    const int left = at >= c.r.w - w - 2 && at > w + 1 ? 1 : c.r.w - w - 1;
    for (int i = 0; i < n && i < c.r.h; i++) {
        hl_blank(c, left, i, w, 1, HL_STYLE(TEXT));
        hl_put(c, left, i, (hl_style){.role = roles[i]}, text[i]);
    }
}

/* "sys/  14 charts" and their names. */
static void draw_folded(hl_screen *s, hl_canvas c, int fold, bool has_cursor)
{
    const char *head = s->look.charts.fold[fold];
    const hl_watched *w = hl_screen_run(s);
    int n = 0;
    for (size_t i = 0; w && i < s->charts.n; i++) {
        const char *tag = s->charts.at[i].tag;
        if (!hl_str_starts(tag, head) || !has_chart(hl_watched_series(w, tag)))
            continue;
        if (++n < c.r.h)
            hl_put_cut(c, 4, n, c.r.w - 4, HL_STYLE(DIM), tag + strlen(head));
    }
    hl_putf(c, 0, 0, HL_STYLE(TITLE), "%s %s  %d charts, c unfolds", has_cursor ? ">" : " ", head,
            n);
}

static void draw_one(hl_screen *s, hl_canvas c, int chart, const char *title)
{
    const int fold = hl_chart_fold_of(s, chart);
    if (fold >= 0) {
        draw_folded(s, c, fold, title && *title == '>');
        return;
    }
    hl_chart *view = &s->charts.at[chart].chart;
    hl_chart_lines lines;
    hl_chart_mark marks[HL_CHART_MARKS_MAX];
    hl_chart_lines_make(s, chart, &lines);
    hl_chart_prepare(s, chart, &lines, marks);
    view->title = title;
    hl_chart_draw(c, view);
    if (view->has_crosshair)
        draw_reading(s, hl_canvas_part(c, view->plot.x, view->plot.y, view->plot.w, view->plot.h),
                     view, &lines);
    view->line = NULL;
    view->mark = NULL;
    view->title = NULL;
    view->n_lines = view->n_marks = 0;
}

/* ---- the pane ---- */

static void title(hl_screen *s, char *buf, size_t n)
{
    int charts[HL_CHARTS_MAX], n_charts, place;
    char made[200], bytes[24];
    const hl_watched *w = hl_screen_run(s);
    if (!hl_charts_list(s, charts, &n_charts, &place)) {
        snprintf(buf, n, "Charts%s%s", *s->look.charts.pick ? "  " : "", s->look.charts.pick);
        return;
    }
    const int chart = charts[place];
    hl_chart_made(s, chart, made, sizeof made);
    const int fold = hl_chart_fold_of(s, chart);
    const char *name =
        fold < 0 ? hl_series_title(s->charts.at[chart].tag) : s->look.charts.fold[fold];
    int used = snprintf(buf, n, "%s%s  %s%sx=%s  %d/%d", name,
                        s->charts.at[chart].pinned ? " (pinned)" : "", made, *made ? "  " : "",
                        hl_chart_x_name(s), place + 1, n_charts);
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
    double share;
    if (hl_screen_put_trouble(s, c))
        return;
    if (*s->look.charts.pick) {
        hl_putf(c, 1, 0, dim, "no series fits '%s'; :grid all shows all", s->look.charts.pick);
        return;
    }
    hl_putf(c, 1, 0, dim, "%s%s%s, no points yet", hl_run_state_name(row->state),
            *row->phase ? ": " : "", row->phase);
    if (*row->message)
        hl_put_cut(c, 1, 1, c.r.w - 1, HL_STYLE(BAD), row->message);
    else if (row->t_start_us)
        hl_putf(c, 1, 1, dim, "since %s", hl_ago(age, row->t_start_us));
    if (hl_phase_share(row->phase, &share))
        hl_gauge_draw(hl_canvas_part(c, 1, 2, c.r.w - 2, 1), HL_STYLE(LIVE), share, NULL);
}

/* Axes remember what they have shown, so that new points move little; other runs begin anew. */
static void forget_axes(hl_screen *s)
{
    hl_shown shown[HL_SHOWN_MAX];
    const int n = hl_screen_shown(s, shown);
    uint64_t now = hl_hash_str(HL_HASH_START, hl_chart_x_name(s));
    for (int i = 0; i < n; i++)
        now = hl_hash_str(now, shown[i].row->dir);
    now = hl_hash_bytes(now, &s->look.charts.versus, sizeof s->look.charts.versus);
    now = hl_hash_bytes(now, &s->look.charts.align, sizeof s->look.charts.align);
    for (size_t i = 0; now != s->charts_of && i < s->charts.n; i++)
        s->charts.at[i].chart = (hl_chart){0};
    s->charts_of = now;
}

static void draw(hl_screen *s, hl_canvas c, bool focused)
{
    int charts[HL_CHARTS_MAX], n, place;
    (void)focused;
    if (!hl_charts_list(s, charts, &n, &place)) {
        draw_nothing(s, c);
        return;
    }
    forget_axes(s);
    const char *missing = hl_chart_x_missing(s);
    if (missing) {
        hl_putf(c, 1, 0, HL_STYLE(WARN), "x=%s: %s; X chooses another", hl_chart_x_name(s),
                missing);
        return;
    }
    const page p = make_page(s, c.r.w, c.r.h, n, place);
    if (p.cols * p.rows == 1) {
        draw_one(s, c, charts[place], NULL);
        return;
    }
    for (int i = 0; i < p.n; i++) {
        char name[96];
        const int chart = charts[p.first + i], col = i % p.cols, row = i / p.cols;
        const int x = c.r.w * col / p.cols, y = c.r.h * row / p.rows;
        const hl_canvas part = hl_canvas_part(c, x, y, c.r.w * (col + 1) / p.cols - x - 1,
                                              c.r.h * (row + 1) / p.rows - y);
        snprintf(name, sizeof name, "%s%s%s", p.first + i == place ? "> " : "  ",
                 hl_series_title(s->charts.at[chart].tag),
                 s->charts.at[chart].pinned ? " (pinned)" : "");
        draw_one(s, part, chart, name);
    }
}

/* ---- the mouse ---- */

/* A press puts the crosshair there, a drag selects what a release zooms to; the wheel zooms around
 * the pointer. */
static void click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    int charts[HL_CHARTS_MAX], n, place;
    if (!hl_charts_list(s, charts, &n, &place))
        return;
    const hl_rect r = inside(s);
    const page p = make_page(s, r.w, r.h, n, place);
    const int col = r.w > 0 ? x * p.cols / r.w : 0, row = r.h > 0 ? y * p.rows / r.h : 0;
    const int at = p.first + row * p.cols + col;
    if (at >= p.first + p.n || at < 0)
        return;
    if (what == HL_MOUSE_PRESS)
        s->look.chart = charts[at];
    const hl_chart *view = &s->charts.at[charts[at]].chart;
    double step;
    if (!hl_chart_step_at(s, hl_chart_x_at(view, x - r.w * col / p.cols), &step))
        return;
    if (what == HL_MOUSE_PRESS)
        s->has_anchor = false;
    if (what == HL_MOUSE_DRAG && !s->has_anchor && s->has_crosshair) {
        s->has_anchor = true;
        s->anchor_x = s->crosshair_x;
    }
    s->crosshair_x = step;
    s->has_crosshair = true;
    if (what == HL_MOUSE_RELEASE && s->has_anchor)
        hl_screen_act(s, HL_ACTION_OPEN);
    else if (what == HL_MOUSE_DOUBLE)
        s->look.charts.large = !s->look.charts.large;
    else if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN)
        hl_chart_act(s, what == HL_MOUSE_WHEEL_UP ? HL_ACTION_ZOOM_IN : HL_ACTION_ZOOM_OUT);
}

const hl_pane_class hl_pane_chart = {.framed = true,
                                     .focusable = true,
                                     .title = title,
                                     .draw = draw,
                                     .act = hl_chart_act,
                                     .click = click};
