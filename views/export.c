/* What leaves the screen as a file: charts and lists as numbers, anything as a picture. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "views/layers.h"
#include "views/screen_lua.h"
#include "views/screenshot.h"

/* Points from which numbers are written by a process of their own: the screen never waits. */
enum { POINTS_HERE = 300000, POINTS_DRAWN = 8192 };

static const char *const kinds[] = {"csv", "json", "svg", "png", "html", "text", "ans", NULL};

const char *hl_export_kind(int i)
{
    return kinds[i];
}

/* ---- a chart as numbers ---- */

static void add_number(hl_str *out, double v)
{
    if (isfinite(v))
        hl_str_addf(out, "%.9g", v);
    else
        hl_str_add(out, isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
}

/* Columns of a line beside its x. */
static void csv_head(const hl_chart_lines *lines, const char *unit, hl_str *out)
{
    char text[128];
    for (int i = 0; i < lines->n; i++) {
        const hl_chart_line *l = &lines->line[i];
        const struct {
            bool is_there;
            const char *suffix;
        } columns[] = {{true, l->is_replaced ? " superseded" : ""},
                       {l->smooth != NULL, " smoothed"},
                       {l->lo != NULL, " low"},
                       {l->hi != NULL, " high"},
                       {lines->of[i].counts != NULL, " n"}};
        for (size_t k = 0; k < sizeof columns / sizeof columns[0]; k++) {
            if (!columns[k].is_there)
                continue;
            const bool has_unit = *unit && k < 4; /* members are a number of runs */
            snprintf(text, sizeof text, "%s%s%s%.20s%s", lines->of[i].name, columns[k].suffix,
                     has_unit ? " (" : "", has_unit ? unit : "", has_unit ? ")" : "");
            hl_str_addc(out, ',');
            hl_str_add_csv(out, text);
        }
    }
    hl_str_add(out, "\r\n");
}

static void csv_cells(const hl_chart_lines *lines, int i, size_t at, bool is_there, hl_str *out)
{
    const hl_chart_line *l = &lines->line[i];
    const hl_pyramid *const columns[] = {l->data, l->smooth, l->lo, l->hi, lines->of[i].counts};
    for (size_t k = 0; k < sizeof columns / sizeof columns[0]; k++) {
        if (!columns[k])
            continue;
        hl_str_addc(out, ',');
        if (is_there && at < hl_pyramid_n(columns[k]))
            add_number(out, hl_pyramid_y(columns[k], at));
    }
}

/* A row for each x; lines that have none there leave their cells empty. */
static void chart_csv(hl_screen *s, int chart, const hl_chart_lines *lines, hl_str *out)
{
    size_t at[HL_CHART_LINES_MAX] = {0};
    hl_str_add_csv(out, hl_chart_x_name(s));
    csv_head(lines, hl_chart_unit(s, chart), out);
    for (;;) {
        double x = HUGE_VAL;
        for (int i = 0; i < lines->n; i++)
            if (at[i] < hl_pyramid_n(lines->line[i].data))
                x = fmin(x, hl_pyramid_x(lines->line[i].data, at[i]));
        if (!(x < HUGE_VAL))
            return;
        hl_str_addf(out, "%.17g", x);
        for (int i = 0; i < lines->n; i++) {
            const hl_pyramid *p = lines->line[i].data;
            const bool is_there = at[i] < hl_pyramid_n(p) && hl_pyramid_x(p, at[i]) == x;
            csv_cells(lines, i, at[i], is_there, out);
            at[i] += is_there;
        }
        hl_str_add(out, "\r\n");
    }
}

static const char *const smoothings[HL_SMOOTH_KINDS] = {"ema", "mean", "median"};

static void put_column(hl_str *out, const char *key, const hl_pyramid *p, bool is_x)
{
    if (!p)
        return;
    hl_json_add_key(out, key);
    hl_json_begin(out, '[');
    for (size_t i = 0; i < hl_pyramid_n(p); i++)
        hl_json_add_num(out, is_x ? hl_pyramid_x(p, i) : hl_pyramid_y(p, i));
    hl_json_end(out, ']');
}

static void chart_json(hl_screen *s, int chart, const hl_chart_lines *lines, const char *command,
                       hl_str *out)
{
    hl_json_begin(out, '{');
    hl_json_put_str(out, "command", command);
    hl_json_put_str(out, "series", s->charts.at[chart].tag);
    hl_json_put_str(out, "x", hl_chart_x_name(s));
    if (*hl_chart_unit(s, chart))
        hl_json_put_str(out, "unit", hl_chart_unit(s, chart));
    if (s->look.smooth > 0)
        hl_json_put_num(out, smoothings[s->look.charts.smooth_by], s->look.smooth);
    hl_json_add_key(out, "lines");
    hl_json_begin(out, '[');
    for (int i = 0; i < lines->n; i++) {
        const hl_chart_line *l = &lines->line[i];
        hl_json_begin(out, '{');
        hl_json_put_str(out, "name", lines->of[i].name);
        hl_json_put_bool(out, "superseded", l->is_replaced);
        put_column(out, "x", l->data, true);
        put_column(out, "y", l->data, false);
        put_column(out, "smoothed", l->smooth, false);
        put_column(out, "low", l->lo, false);
        put_column(out, "high", l->hi, false);
        put_column(out, "n", lines->of[i].counts, false);
        hl_json_end(out, '}');
    }
    hl_json_end(out, ']');
    hl_json_end(out, '}');
    hl_str_addc(out, '\n');
}

/* ---- a chart as a picture ---- */

typedef struct drawn {
    double *x, *y;
    size_t n, cap;
} drawn;

static hl_status add_point(drawn *d, double x, double y)
{
    hl_status st = HL_OK;
    size_t cap_x = d->cap, cap_y = d->cap;
    HL_TRY(hl_vec_grow((void **)&d->x, &cap_x, d->n + 1, sizeof *d->x));
    HL_TRY(hl_vec_grow((void **)&d->y, &cap_y, d->n + 1, sizeof *d->y));
    d->cap = cap_x < cap_y ? cap_x : cap_y;
    d->x[d->n] = x;
    d->y[d->n++] = y;
out:
    return st;
}

/* The points in view; of very many the extremes of neighbours, so none is lost. */
static hl_status take_points(const hl_chart *view, const hl_pyramid *p, drawn *d)
{
    hl_status st = HL_OK;
    const int level = hl_pyramid_n(p) > POINTS_DRAWN ? hl_pyramid_level(p, POINTS_DRAWN / 2) : 0;
    for (size_t i = 0; i < hl_pyramid_n_buckets(p, level); i++) {
        hl_bucket b;
        hl_pyramid_bucket(p, level, i, &b);
        if (view->fixed_x && (b.x_max < view->x_range.lo || b.x_min > view->x_range.hi))
            continue;
        const bool max_first = b.x_of_max < b.x_of_min;
        if (b.n == b.n_non_finite) {
            HL_TRY(add_point(d, b.x_min, (double)NAN));
            continue;
        }
        HL_TRY(add_point(d, max_first ? b.x_of_max : b.x_of_min, max_first ? b.max : b.min));
        if (b.n > 1)
            HL_TRY(add_point(d, max_first ? b.x_of_min : b.x_of_max, max_first ? b.min : b.max));
    }
out:
    return st;
}

enum { SERIES_MAX = 2 * HL_CHART_LINES_MAX };
typedef struct figure {
    hl_line_series series[SERIES_MAX];
    drawn points[SERIES_MAX], low[SERIES_MAX], high[SERIES_MAX];
    char name[SERIES_MAX][96];
    int n;
} figure;

static hl_status add_series(figure *f, const hl_chart *view, const hl_pyramid *p, const char *name,
                            const char *suffix)
{
    const int i = f->n++;
    snprintf(f->name[i], sizeof f->name[i], "%s%s", name, suffix);
    const hl_status st = take_points(view, p, &f->points[i]);
    f->series[i] = (hl_line_series){
        .name = f->name[i], .x = f->points[i].x, .y = f->points[i].y, .n = f->points[i].n};
    return st;
}

/* Bands have few points: all of them. */
static hl_status add_band(figure *f, const hl_chart_line *l)
{
    hl_status st = HL_OK;
    const int i = f->n - 1;
    f->points[i].n = 0;
    for (size_t k = 0; k < hl_pyramid_n(l->data); k++) {
        HL_TRY(add_point(&f->points[i], hl_pyramid_x(l->data, k), hl_pyramid_y(l->data, k)));
        HL_TRY(add_point(&f->low[i], 0, hl_pyramid_y(l->lo, k)));
        HL_TRY(add_point(&f->high[i], 0, hl_pyramid_y(l->hi, k)));
    }
    f->series[i].x = f->points[i].x;
    f->series[i].y = f->points[i].y;
    f->series[i].n = f->points[i].n;
    f->series[i].low = f->low[i].y;
    f->series[i].high = f->high[i].y;
out:
    return st;
}

/* Behind the first tag: what made it. */
static void put_description(hl_str *svg, const char *command)
{
    hl_str with = {0};
    const char *end = strstr(hl_str_text(svg), "<svg");
    end = end ? strchr(end, '>') : NULL;
    if (!end)
        return;
    const size_t head = (size_t)(end + 1 - svg->s);
    hl_str_addn(&with, svg->s, head);
    hl_str_add(&with, "<desc>");
    hl_text_add_xml(&with, command);
    hl_str_add(&with, "</desc>");
    hl_str_addn(&with, svg->s + head, svg->n - head);
    hl_str_done(svg);
    *svg = with;
}

static hl_status chart_picture(hl_screen *s, int chart, const hl_chart_lines *lines, bool is_png,
                               hl_str *out)
{
    enum { W = 800, H = 480 };
    hl_status st = HL_OK;
    hl_paper *paper = NULL;
    hl_str title = {0};
    char made[200];
    hl_chart_mark marks[HL_CHART_MARKS_MAX];
    figure *f = hl_alloc_zero(1, sizeof *f);
    if (!f)
        return HL_E_NOMEM;
    hl_chart_made(s, chart, made, sizeof made);
    hl_chart_prepare(s, chart, lines, marks);
    hl_chart *view = &s->charts.at[chart].chart;
    for (int i = 0; i < lines->n; i++) {
        const hl_chart_line *l = &lines->line[i];
        if (l->smooth)
            HL_TRY(add_series(f, view, l->smooth, lines->of[i].name, " (smoothed)"));
        HL_TRY(add_series(f, view, l->data, lines->of[i].name, l->is_replaced ? "superseded" : ""));
        if (l->lo)
            HL_TRY(add_band(f, l));
    }
    hl_str_addf(&title, "%s%s%s", s->charts.at[chart].tag, *made ? "   " : "", made);
    const hl_line_chart figure_chart = {
        .title = hl_str_text(&title),
        .x_label = s->look.charts.x == HL_X_TIME ? "time (s)" : hl_chart_x_name(s),
        .y_label = view->unit,
        .log = view->log_y,
        .log_x = view->log_x,
        .symlog = hl_chart_linear_band(view),
        .y_from = view->fixed_y ? view->y_range.lo : 0,
        .y_to = view->fixed_y ? view->y_range.hi : 0,
        .series = f->series,
        .n_series = (size_t)f->n};
    HL_TRY(is_png ? hl_paper_png_new(W, H, &paper) : hl_paper_svg_new(W, H, &paper));
    HL_TRY(hl_line_chart_draw(&figure_chart, paper, (hl_box){0, 0, W, H}));
    HL_TRY(hl_paper_finish(paper, out));
out:
    view = &s->charts.at[chart].chart;
    view->line = NULL;
    view->mark = NULL;
    view->n_lines = view->n_marks = 0;
    for (int i = 0; i < f->n; i++) {
        hl_free(f->points[i].x);
        hl_free(f->points[i].y);
        hl_free(f->low[i].x);
        hl_free(f->low[i].y);
        hl_free(f->high[i].x);
        hl_free(f->high[i].y);
    }
    hl_free(f);
    hl_str_done(&title);
    hl_paper_free(paper);
    return st;
}

hl_status hl_chart_export(hl_screen *s, int chart, const char *what, hl_str *out)
{
    hl_status st = HL_OK;
    hl_chart_lines *lines = hl_alloc(sizeof *lines);
    hl_str command = {0};
    if (!lines)
        return HL_E_NOMEM;
    hl_chart_lines_make(s, chart, lines);
    hl_chart_command(s, chart, &command);
    if (strcmp(what, "csv") == 0) {
        hl_str_addf(out, "# %s\r\n", hl_str_text(&command));
        chart_csv(s, chart, lines, out);
    } else if (strcmp(what, "json") == 0) {
        chart_json(s, chart, lines, hl_str_text(&command), out);
    } else {
        const bool is_png = strcmp(what, "png") == 0;
        st = chart_picture(s, chart, lines, is_png, out);
        if (st == HL_OK && !is_png)
            put_description(out, hl_str_text(&command));
    }
    hl_free(lines);
    hl_str_done(&command);
    return st == HL_OK ? hl_str_status(out) : st;
}

/* ---- lists as numbers ---- */

static void runs_csv(hl_screen *s, hl_str *out)
{
    hl_str_add(out, "id,name,state,step,steps,attention,loss,eval,max_inf_norm,kurtosis\r\n");
    for (size_t i = 0; i < s->order.n; i++) {
        const hl_run_row *r = &s->model.rows->at[s->order.at[i]];
        const double v[] = {r->loss, r->eval, r->has_max_inf_norm ? r->max_inf_norm : (double)NAN,
                            r->has_kurtosis ? r->kurtosis : (double)NAN};
        const bool known[] = {*r->loss_tag != 0, *r->eval_tag != 0, r->has_max_inf_norm,
                              r->has_kurtosis};
        hl_str_add_csv(out, r->id);
        hl_str_addc(out, ',');
        hl_str_add_csv(out, r->name);
        hl_str_addf(out, ",%s,%lld,%lld,", hl_run_state_name(r->state), (long long)r->step,
                    (long long)r->step_total);
        hl_str_add_csv(out, r->variant);
        for (int k = 0; k < 4; k++) {
            hl_str_addc(out, ',');
            if (known[k])
                add_number(out, v[k]);
        }
        hl_str_add(out, "\r\n");
    }
}

static void log_csv(const hl_watched *w, hl_str *out)
{
    char clock[24];
    hl_str_add(out, "time,step,level,text\r\n");
    for (size_t i = 0; w && i < w->log.n; i++) {
        const hl_log_line *l = &w->log.at[i];
        hl_str_addf(out, "%s,%lld,%c,", l->t_us ? hl_clock_format_utc(clock, l->t_us) : "",
                    (long long)l->step, l->level);
        hl_str_add_csv(out, l->text);
        hl_str_add(out, "\r\n");
    }
}

/* The statistic that the strip shows, of all layers and sites. */
static void outliers_csv(const hl_screen *s, const hl_watched *w, hl_str *out)
{
    hl_str_add(out, "series,step,value\r\n");
    for (size_t i = 0; w && i < w->series.n; i++) {
        const hl_data *d = w->series.at[i];
        if (!d || d->statistic != (int)s->look.statistic)
            continue;
        for (size_t k = 0; k < hl_pyramid_n(d->points); k++) {
            hl_str_add_csv(out, d->tag);
            hl_str_addf(out, ",%.17g,", hl_pyramid_x(d->points, k));
            add_number(out, hl_pyramid_y(d->points, k));
            hl_str_add(out, "\r\n");
        }
    }
}

/* ---- which of them ---- */

static bool is_picture(const char *what)
{
    return strcmp(what, "svg") == 0 || strcmp(what, "png") == 0;
}

static hl_status make(hl_screen *s, const char *what, hl_str *out)
{
    const hl_pane pane = hl_screen_focus(s);
    const int chart = pane == HL_PANE_CHART || pane == HL_PANE_STRIP ? hl_charts_focused(s) : -1;
    const bool is_text = strcmp(what, "text") == 0 || strcmp(what, "ans") == 0;
    if (is_picture(what) && (pane == HL_PANE_HEAT || pane == HL_PANE_HIST)) {
        const bool is_png = strcmp(what, "png") == 0;
        const hl_status st = pane == HL_PANE_HEAT ? hl_strip_figure(s, is_png, out)
                                                  : hl_histogram_figure(s, is_png, out);
        if (st != HL_E_NOTFOUND) /* else the pane as it is, with its words */
            return st;
    }
    if (pane == HL_PANE_SCRIPTED && !is_text)
        return hl_scripted_export(s, what, out);
    if (is_text || (is_picture(what) && chart < 0)) {
        s->notice[0] = 0; /* without the command line that asked for it */
        hl_screen_draw(s);
        const hl_rect all = {0, 0, s->grid.cols, s->grid.rows};
        return hl_screenshot(&s->grid, is_text ? all : s->layout.pane[pane], hl_term_look(s->term),
                             what, out);
    }
    if (chart >= 0)
        return hl_chart_export(s, chart, what, out);
    if (strcmp(what, "csv") == 0 && pane == HL_PANE_RUNS)
        runs_csv(s, out);
    else if (strcmp(what, "csv") == 0 && pane == HL_PANE_LOG)
        log_csv(hl_screen_run(s), out);
    else if (strcmp(what, "csv") == 0 && pane == HL_PANE_HEAT)
        outliers_csv(s, hl_screen_run(s), out);
    else
        return hl_err_set(HL_E_UNSUPPORTED,
                          "%s: this pane has svg, png, text and ans; charts have csv and json too, "
                          "the lists of runs and log lines, outliers and tensors csv",
                          what);
    return hl_str_status(out);
}

/* hoplab export of the runs in view, by a process of its own. */
static void start_job(hl_screen *s, const char *what, const char *path)
{
    enum { WORDS = 10 };
    char program[] = "hoplab", command[] = "export", tag_option[] = "--tag", option[16];
    char view_option[] = "--view", key[24];
    char *argv[WORDS + HL_SHOWN_MAX + 1], *file = hl_strdup(path), *tag = NULL;
    hl_shown shown[HL_SHOWN_MAX];
    const int n = hl_screen_shown(s, shown), chart = hl_charts_focused(s);
    int used = 0;
    snprintf(option, sizeof option, "--%s", what);
    argv[used++] = program;
    argv[used++] = command;
    argv[used++] = option;
    argv[used++] = file;
    if (chart >= 0 && strcmp(what, "csv") == 0) {
        tag = hl_strdup(s->charts.at[chart].tag);
        argv[used++] = tag_option;
        argv[used++] = tag;
    }
    if (s->look.view == HL_VIEW_SCRIPTED && strcmp(what, "html") == 0) {
        argv[used++] = view_option;
        argv[used++] = (char *)(uintptr_t)hl_screen_tab(s, hl_screen_tab_now(s), key);
    }
    for (int i = 0; i < n; i++)
        argv[used++] = hl_strdup(shown[i].row->dir);
    argv[used] = NULL;
    bool has_memory = file != NULL && (chart < 0 || strcmp(what, "csv") != 0 || tag);
    for (int i = 0; i < n; i++)
        has_memory = has_memory && argv[used - n + i];
    if (has_memory && n > 0) {
        hl_screen_start_job(s, argv, path, shown[0].row->dir);
        hl_screen_say(s, HL_ROLE_TEXT, "writing %s", path);
    } else {
        hl_screen_say(s, HL_ROLE_WARN, n ? "no memory left" : "there is no run to export");
    }
    for (int i = 0; i < n; i++)
        hl_free(argv[used - n + i]);
    hl_free(file);
    hl_free(tag);
}

static size_t n_points(hl_screen *s)
{
    const int chart = hl_charts_focused(s);
    hl_chart_lines lines;
    size_t n = 0;
    if (chart < 0 || hl_screen_focus(s) != HL_PANE_CHART)
        return 0;
    hl_chart_lines_make(s, chart, &lines);
    for (int i = 0; i < lines.n; i++)
        n += hl_pyramid_n(lines.line[i].data);
    return n;
}

static const char *kind_of(const char *name)
{
    for (int i = 0; kinds[i]; i++)
        if (strcmp(name, kinds[i]) == 0)
            return kinds[i];
    return strcmp(name, "txt") == 0 ? "text" : strcmp(name, "htm") == 0 ? "html" : NULL;
}

void hl_screen_save(hl_screen *s, const char *path, hl_status st, hl_str *bytes)
{
    if (st == HL_OK)
        st = hl_fs_write_atomic(path, bytes->s, bytes->n);
    if (st == HL_OK)
        hl_screen_say(s, HL_ROLE_GOOD, "saved to %s", path);
    else
        hl_screen_say_error(s);
    hl_str_done(bytes);
}

void hl_screen_export(hl_screen *s, const char *what, const char *path)
{
    const char *dot = strrchr(hl_fs_base(path), '.');
    const char *kind = kind_of(what ? what : dot ? dot + 1 : "");
    hl_str bytes = {0};
    if (!kind) {
        hl_screen_say(
            s, HL_ROLE_BAD,
            "'%s': export writes csv, json, svg, png, html, text or ans; say which, or end "
            "the name so",
            what ? what : path);
        return;
    }
    if (strcmp(kind, "html") == 0 || (strcmp(kind, "csv") == 0 && n_points(s) > POINTS_HERE)) {
        start_job(s, kind, path);
        return;
    }
    hl_screen_save(s, path, make(s, kind, &bytes), &bytes);
}

/* A name from the run and the series, without what files cannot have. */
void hl_screen_ask_export(hl_screen *s)
{
    const hl_run_row *row = hl_screen_row(s);
    const hl_pane pane = hl_screen_focus(s);
    const int chart = pane == HL_PANE_CHART ? hl_charts_focused(s) : -1;
    char name[200];
    const bool has_csv = chart >= 0 || pane == HL_PANE_RUNS || pane == HL_PANE_LOG ||
                         pane == HL_PANE_HEAT || pane == HL_PANE_SCRIPTED;
    snprintf(name, sizeof name, "export %.60s-%.60s.%s",
             row && pane != HL_PANE_RUNS ? row->name : "hoplab",
             chart >= 0 ? s->charts.at[chart].tag : hl_pane_name(pane), has_csv ? "csv" : "svg");
    for (char *c = name + sizeof "export " - 1; *c; c++)
        if (*c == '/' || *c == ' ' || *c == '"' || (unsigned char)*c < ' ')
            *c = '_';
    hl_screen_begin_command(s, name);
}
