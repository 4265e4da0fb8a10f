/* Recorded forecasts of runs: a picture with a row for each channel (history, truth and forecast;
 * what is left over), and their numbers as a table. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/export/export.h"
#include "app/export/line_chart.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

enum { ROW_H = 260, PICTURE_W = 1100, OUTLINE = 2 * HL_FORECAST_BINS };
static const double left_share = 0.66;

/* ---- reading ---- */

/* The newest of the test part, else the newest of any. */
typedef struct newest {
    hl_run *run;
    char *test, *other;
    bool is_lost; /* no memory */
} newest;

static void see_json(void *self, size_t series, int64_t step, int64_t t_us, const char *text,
                     size_t n)
{
    newest *k = self;
    const hl_series_info info = hl_run_series_at(k->run, series);
    (void)step;
    (void)t_us;
    if (strcmp(info.content, "table") != 0 || !hl_forecast_is_tag(info.tag))
        return;
    char **to = strcmp(info.tag, "forecast/test") == 0 ? &k->test : &k->other;
    hl_free(*to);
    *to = hl_strndup(text, n);
    k->is_lost |= !*to;
}

static hl_status read_newest(hl_run *run, hl_forecast_table *out)
{
    hl_status st = HL_OK;
    newest k = {.run = run};
    const hl_run_visitor v = {.self = &k, .json = see_json};
    const char *dir = hl_run_get_row(run)->dir;
    *out = (hl_forecast_table){0};
    HL_TRY(hl_run_scan(run, &v, false));
    const char *text = k.test ? k.test : k.other;
    if (k.is_lost)
        st = HL_E_NOMEM;
    else if (!text)
        st = hl_err_set(HL_E_NOTFOUND,
                        "%s has no recorded forecast: only runs of series that were evaluated "
                        "leave one",
                        dir);
    HL_TRY(st);
    HL_TRY_CTX(hl_forecast_table_read(text, strlen(text), out), "%s", dir);
out:
    hl_free(k.test);
    hl_free(k.other);
    return st;
}

/* ---- several runs ---- */

typedef struct runs {
    const hl_export *e;
    hl_forecast_table *table; /* of each run */
    char **name;
    size_t window;
} runs;

static void runs_done(runs *r)
{
    for (size_t i = 0; i < r->e->n_runs; i++) {
        if (r->table)
            hl_forecast_table_done(&r->table[i]);
        if (r->name)
            hl_free(r->name[i]);
    }
    hl_free(r->table);
    hl_free(r->name);
}

/* They can be laid over each other: the same windows of the same channels. */
static bool are_alike(const hl_forecast_table *a, const hl_forecast_table *b)
{
    bool same = strcmp(a->series, b->series) == 0 && strcmp(a->part, b->part) == 0 &&
                a->in_data_units == b->in_data_units && a->n_channels == b->n_channels &&
                a->n_windows == b->n_windows && a->history == b->history &&
                a->horizon == b->horizon;
    for (size_t i = 0; same && i < a->n_channels; i++)
        same = strcmp(a->channel[i].name, b->channel[i].name) == 0;
    for (size_t i = 0; same && i < a->n_windows; i++)
        same = a->window[i].row == b->window[i].row;
    return same;
}

static hl_status runs_init(runs *r, const hl_export *e)
{
    hl_status st = HL_OK;
    *r = (runs){.e = e, .window = e->window ? e->window - 1 : 0};
    r->table = hl_alloc_zero(e->n_runs, sizeof *r->table);
    r->name = hl_alloc_zero(e->n_runs, sizeof *r->name);
    if (!r->table || !r->name)
        return HL_E_NOMEM;
    for (size_t i = 0; i < e->n_runs; i++) {
        HL_TRY(read_newest(e->runs[i], &r->table[i]));
        r->name[i] = hl_export_run_name(e, i);
        if (!r->name[i])
            return HL_E_NOMEM;
        if (!are_alike(&r->table[0], &r->table[i]))
            HL_FAIL(HL_E_ARG,
                    "%s and %s recorded forecasts of different windows; export one at "
                    "a time",
                    r->name[0], r->name[i]);
    }
    if (r->window >= r->table[0].n_windows)
        HL_FAIL(HL_E_ARG, "there are %zu recorded windows; there is no window %zu",
                r->table[0].n_windows, r->window + 1);
out:
    return st;
}

/* ---- the picture ---- */

/* Room for the lines of one chart. */
typedef struct lines {
    hl_line_series *series;
    size_t n;
    double *at;
    size_t used;
} lines;

static hl_status lines_init(lines *l, size_t n_series, size_t n_numbers)
{
    l->series = hl_alloc_zero(n_series, sizeof *l->series);
    l->at = hl_alloc(2 * n_numbers * sizeof *l->at);
    l->n = l->used = 0;
    return l->series && l->at ? HL_OK : HL_E_NOMEM;
}

static void lines_done(lines *l)
{
    hl_free(l->series);
    hl_free(l->at);
}

/* The last value of the history first, if there is one: lines begin where they part. */
static void add_line(lines *l, const char *name, const float *v, size_t n, double first,
                     const float *before)
{
    double *x = l->at + l->used, *y = x + n + 1;
    size_t k = 0;
    if (before) {
        x[k] = first - 1;
        y[k++] = (double)*before;
    }
    for (size_t i = 0; i < n; i++, k++) {
        x[k] = first + (double)i;
        y[k] = (double)v[i];
    }
    l->used += 2 * (n + 1);
    l->series[l->n++] = (hl_line_series){.name = name, .x = x, .y = y, .n = k};
}

static hl_status draw_window(const runs *r, size_t channel, hl_paper *paper, hl_box box)
{
    const hl_forecast_table *t = &r->table[0];
    const size_t w = r->window, n_runs = r->e->n_runs, n = 2 + n_runs;
    const float *history = hl_forecast_values(t, w, channel, HL_FORECAST_HISTORY);
    const float *last = t->history ? history + t->history - 1 : NULL;
    char title[160];
    lines l;
    hl_status st = lines_init(&l, n, t->history + (1 + n_runs) * t->horizon + n);
    if (st == HL_OK) {
        snprintf(title, sizeof title, "%s%s%.60s: mse %.4g", r->e->title ? r->e->title : "",
                 r->e->title ? ", " : "", t->channel[channel].name, t->channel[channel].mse);
        add_line(&l, "history", history, t->history, 1 - (double)t->history, NULL);
        add_line(&l, "truth", hl_forecast_values(t, w, channel, HL_FORECAST_TRUTH), t->horizon, 1,
                 last);
        for (size_t i = 0; i < n_runs; i++)
            add_line(&l, n_runs > 1 ? r->name[i] : "forecast",
                     hl_forecast_values(&r->table[i], w, channel, HL_FORECAST_PREDICTION),
                     t->horizon, 1, last);
        st = hl_line_chart_draw(&(hl_line_chart){.title = title,
                                                 .x_label = "steps ahead",
                                                 .y_label = t->in_data_units ? "" : "standardised",
                                                 .series = l.series,
                                                 .n_series = n},
                                paper, box);
    }
    lines_done(&l);
    return st;
}

/* The outline of its bars, without empty ends. */
static void add_outline(lines *l, const char *name, const hl_forecast_channel *c)
{
    double *x = l->at + l->used, *y = x + OUTLINE;
    int first = 0, end = HL_FORECAST_BINS;
    while (first < HL_FORECAST_BINS / 2 - 1 && c->count[first] == 0)
        first++;
    while (end > HL_FORECAST_BINS / 2 + 1 && c->count[end - 1] == 0)
        end--;
    size_t k = 0;
    for (int i = first; i < end; i++)
        for (int side = 0; side < 2; side++, k++) {
            x[k] = (i + side - HL_FORECAST_BINS / 2) * c->width;
            y[k] = c->count[i] / c->n / c->width;
        }
    l->used += 2 * OUTLINE;
    l->series[l->n++] = (hl_line_series){.name = name, .x = x, .y = y, .n = k};
}

static hl_status draw_residuals(const runs *r, size_t channel, hl_paper *paper, hl_box box)
{
    const size_t n_runs = r->e->n_runs;
    char title[120];
    lines l;
    hl_status st = lines_init(&l, n_runs, n_runs * OUTLINE);
    if (st == HL_OK) {
        const hl_forecast_channel *c = &r->table[0].channel[channel];
        for (size_t i = 0; i < n_runs; i++)
            add_outline(&l, n_runs > 1 ? r->name[i] : "forecast - truth",
                        &r->table[i].channel[channel]);
        snprintf(title, sizeof title, "residuals: mean %.3g, sd %.3g", c->mean, c->sd);
        st = hl_line_chart_draw(&(hl_line_chart){.title = title,
                                                 .x_label = "forecast - truth",
                                                 .y_label = "density",
                                                 .series = l.series,
                                                 .n_series = n_runs},
                                paper, box);
    }
    lines_done(&l);
    return st;
}

static hl_status draw(const runs *r, hl_paper *paper, hl_picture_size size)
{
    hl_status st = HL_OK;
    const size_t n = r->table[0].n_channels;
    const double h = size.h / (double)n, w = size.w * left_share;
    for (size_t i = 0; i < n; i++) {
        HL_TRY(draw_window(r, i, paper, (hl_box){0, h * (double)i, w, h}));
        HL_TRY(draw_residuals(r, i, paper, (hl_box){w, h * (double)i, size.w - w, h}));
    }
out:
    return st;
}

hl_status hl_export_forecasts(const hl_export *e, hl_picture kind, hl_picture_size size,
                              hl_str *out)
{
    hl_paper *paper = NULL;
    runs r;
    hl_status st = runs_init(&r, e);
    HL_TRY(st);
    if (size.w <= 0)
        size = (hl_picture_size){PICTURE_W, ROW_H * (double)r.table[0].n_channels};
    HL_TRY(kind == HL_PICTURE_PNG ? hl_paper_png_new(size.w, size.h, &paper)
                                  : hl_paper_svg_new(size.w, size.h, &paper));
    HL_TRY(draw(&r, paper, size));
    HL_TRY(hl_paper_finish(paper, out));
out:
    hl_paper_free(paper);
    runs_done(&r);
    return st;
}

bool hl_export_has_forecast(const hl_run *run)
{
    for (const hl_json *t = hl_json_at(hl_run_tables(run), 0); t; t = hl_json_next(t))
        if (hl_json_key(t) && hl_forecast_is_tag(hl_json_key(t)))
            return true;
    return false;
}

/* ---- the table ---- */

hl_status hl_export_forecast_csv(const hl_export *e, hl_str *out)
{
    runs r;
    hl_status st = runs_init(&r, e);
    HL_TRY(st);
    hl_str_addf(out, "%s%s\r\n", e->n_runs > 1 ? "run," : "", hl_forecast_csv_head);
    for (size_t i = 0; i < e->n_runs; i++)
        hl_forecast_table_csv(
            &r.table[i], e->n_runs > 1 ? hl_fs_base(hl_run_get_row(e->runs[i])->dir) : NULL, out);
    st = hl_str_status(out);
out:
    runs_done(&r);
    return st;
}
