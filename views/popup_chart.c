/* Popups of charts: what x is, and the table of values at the crosshair. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "views/screen.h"
#include "views/widgets/number.h"

static bool is_close(int key)
{
    return key == HL_KEY_ESC || key == 'q' || key == HL_CTRL('c');
}

static void move_row(hl_screen *s, int key, int n)
{
    int to = s->popup_row;
    if (key == 'j' || key == HL_KEY_DOWN)
        to++;
    else if (key == 'k' || key == HL_KEY_UP)
        to--;
    else if (key == 'G' || key == HL_KEY_END)
        to = n - 1;
    else if (key == 'g' || key == HL_KEY_HOME)
        to = 0;
    s->popup_row = to < 0 || n == 0 ? 0 : to >= n ? n - 1 : to;
}

static int scrolled(hl_screen *s, int visible)
{
    if (s->popup_row < s->popup_top)
        s->popup_top = s->popup_row;
    if (visible > 0 && s->popup_row >= s->popup_top + visible)
        s->popup_top = s->popup_row - visible + 1;
    return s->popup_top;
}

/* ---- what x is ---- */

static const struct {
    const char *value, *help;
} quantities[] = {{"step", "optimiser steps"},
                  {"epoch", "passes over the training data"},
                  {"tokens", "tokens, samples or windows seen"},
                  {"time", "time since the first step"},
                  {"clock", "time of day, UTC"},
                  {"updates", "steps whose update was not left out"}};
enum { N_QUANTITIES = sizeof quantities / sizeof quantities[0], MENU_W = 56 };

/* Rows: quantities, the scale, then the series of the run. */
static int x_rows(hl_screen *s)
{
    int charts[HL_CHARTS_MAX], n, place;
    hl_charts_list(s, charts, &n, &place);
    return N_QUANTITIES + 1 + n;
}

static const char *x_series(hl_screen *s, int row)
{
    int charts[HL_CHARTS_MAX], n, place;
    hl_charts_list(s, charts, &n, &place);
    const int i = row - N_QUANTITIES - 1;
    return i >= 0 && i < n ? s->charts.at[charts[i]].tag : NULL;
}

static void x_size(hl_screen *s, int *w, int *h)
{
    *w = MENU_W;
    *h = x_rows(s);
}

static void x_draw(hl_screen *s, hl_canvas c)
{
    const int n = x_rows(s), top = scrolled(s, c.r.h);
    for (int i = top; i < n && i - top < c.r.h; i++) {
        const hl_style text = i == s->popup_row ? HL_STYLE(SELECT) : HL_STYLE(TEXT);
        const hl_canvas row = hl_canvas_part(c, 0, i - top, c.r.w, 1);
        const char *name = i < N_QUANTITIES ? quantities[i].value : x_series(s, i);
        hl_blank(row, 0, 0, row.r.w, 1, text);
        if (i == N_QUANTITIES) {
            hl_put_cut(row, 1, 0, row.r.w - 1, text,
                       s->look.charts.log_x ? "make x linear" : "make x logarithmic");
            continue;
        }
        const bool now = name && strcmp(name, hl_chart_x_name(s)) == 0;
        hl_put_char(row, 0, 0, text, now ? '*' : ' ');
        hl_put_cut(row, 1, 0, row.r.w - 1, text, name ? name : "");
        if (i < N_QUANTITIES)
            hl_put_cut(row, 12, 0, row.r.w - 12, text, quantities[i].help);
    }
}

static void x_choose(hl_screen *s, int row)
{
    char value[80];
    if (row == N_QUANTITIES) {
        hl_screen_command(s, s->look.charts.log_x ? "set xscale=linear" : "set xscale=log");
        return;
    }
    const char *name = row < N_QUANTITIES ? quantities[row].value : x_series(s, row);
    if (!name)
        return;
    snprintf(value, sizeof value, "%s", name);
    if (hl_option_set(s, "xaxis", value) != HL_OK)
        hl_screen_say_error(s);
}

static void x_key(hl_screen *s, int key)
{
    if (key == HL_KEY_ENTER) {
        const int row = s->popup_row;
        hl_screen_close_popup(s);
        x_choose(s, row);
    } else if (is_close(key)) {
        hl_screen_close_popup(s);
    } else {
        move_row(s, key, x_rows(s));
    }
}

const hl_popup_class hl_popup_x = {
    .title = "x axis of charts", .size = x_size, .draw = x_draw, .key = x_key};

/* ---- the table at the crosshair ---- */

/* Columns that it can be sorted by. */
typedef enum column { NAME, STEP, X, RAW, SMOOTHED, Z, COLUMNS } column;
static const char *const heads[COLUMNS] = {"run", "step", "x", "raw", "smoothed", "z"};

typedef struct table_row {
    char name[40];
    double v[COLUMNS]; /* NaN: not known */
    double t_us;       /* NaN: not known */
    uint8_t role;
} table_row;

static void fill_row(const hl_screen *s, const hl_chart_lines *lines, int i, double x,
                     table_row *out)
{
    const hl_chart_line *line = &lines->line[i];
    const hl_chart_source *of = &lines->of[i];
    const size_t at = hl_pyramid_nearest(line->data, x);
    *out = (table_row){.role = line->role, .t_us = (double)NAN};
    for (int k = 0; k < COLUMNS; k++)
        out->v[k] = (double)NAN;
    snprintf(out->name, sizeof out->name, "%c %.36s", line->letter ? line->letter : ' ', of->name);
    if (at == SIZE_MAX)
        return;
    out->v[X] = hl_pyramid_x(line->data, at);
    out->v[RAW] = hl_pyramid_y(line->data, at);
    if (line->smooth && at < hl_pyramid_n(line->smooth))
        out->v[SMOOTHED] = hl_pyramid_y(line->smooth, at);
    (void)hl_chart_z_score(line->data, at, &out->v[Z]);
    if (!of->run || !of->raw)
        return;
    const size_t n_raw = hl_pyramid_n(of->raw), n = hl_pyramid_n(line->data);
    if (s->look.charts.x == HL_X_STEP)
        out->v[STEP] = out->v[X];
    else if (at + (n_raw - n) < n_raw) /* points without an x are the first ones */
        out->v[STEP] = hl_pyramid_x(of->raw, at + (n_raw - n));
    if (isfinite(out->v[STEP]))
        (void)hl_step_clock_at(&of->run->clock, out->v[STEP], &out->t_us);
}

/* The rows, sorted by the column that s->popup_row chose; gives how many. */
static int fill_table(hl_screen *s, table_row rows[HL_CHART_LINES_MAX])
{
    const int chart = hl_charts_focused(s);
    const hl_watched *w = hl_screen_run(s);
    hl_chart_lines lines;
    double x;
    int n = 0;
    if (chart < 0 || !w)
        return 0;
    hl_chart_lines_make(s, chart, &lines);
    if (!hl_chart_crosshair(s, w, &x))
        x = HUGE_VAL;
    const double at = isfinite(x) ? x : HL_SCALE_EDGE;
    for (int i = 0; i < lines.n; i++)
        if (!lines.line[i].is_replaced)
            fill_row(s, &lines, i, at, &rows[n++]);
    const int by = s->popup_row % COLUMNS;
    for (int i = 1; i < n && by != NAME; i++)
        for (int k = i; k > 0 && (rows[k].v[by] < rows[k - 1].v[by] ||
                                  (isnan(rows[k - 1].v[by]) && !isnan(rows[k].v[by])));
             k--) {
            const table_row t = rows[k];
            rows[k] = rows[k - 1];
            rows[k - 1] = t;
        }
    return n;
}

enum { TABLE_W = 76, NAME_W = 20, VALUE_W = 9 };

static void table_size(hl_screen *s, int *w, int *h)
{
    table_row rows[HL_CHART_LINES_MAX];
    *w = TABLE_W;
    *h = fill_table(s, rows) + 3;
}

static void table_draw(hl_screen *s, hl_canvas c)
{
    table_row rows[HL_CHART_LINES_MAX];
    const int n = fill_table(s, rows), chart = hl_charts_focused(s), by = s->popup_row % COLUMNS;
    char text[HL_NUMBER_MAX], clock[24];
    if (chart >= 0)
        hl_putf(c, 0, 0, HL_STYLE(TITLE), "%s  %s", hl_series_title(s->charts.at[chart].tag),
                hl_chart_unit(s, chart));
    for (int k = 0; k < COLUMNS; k++) {
        const hl_style style = k == by ? HL_STYLE(KEY) : HL_STYLE(DIM);
        if (k == NAME)
            hl_put(c, 0, 1, style, heads[k]);
        else
            hl_put_right(c, NAME_W + VALUE_W * k, 1, style, k == X ? hl_chart_x_name(s) : heads[k]);
    }
    hl_put(c, NAME_W + VALUE_W * Z + 2, 1, HL_STYLE(DIM), "time");
    for (int i = 0; i < n && i + 2 < c.r.h - 1; i++) {
        hl_put_cut(c, 0, i + 2, NAME_W, (hl_style){.role = rows[i].role}, rows[i].name);
        for (int k = STEP; k < COLUMNS; k++) {
            const double v = rows[i].v[k];
            const bool known = !isnan(v) || k == RAW;
            hl_put_right(c, NAME_W + VALUE_W * k, i + 2, HL_STYLE(TEXT),
                         hl_format_known(text, known, v, hl_has_signs(c.grid)));
        }
        if (isfinite(rows[i].t_us)) {
            hl_clock_format_utc(clock, (int64_t)rows[i].t_us);
            hl_putf(c, NAME_W + VALUE_W * Z + 2, i + 2, HL_STYLE(DIM), "%.8s", clock + 11);
        }
    }
    hl_put_cut(c, 0, c.r.h - 1, c.r.w, HL_STYLE(DIM),
               "h l: sample before, next   j k: sort by a column   y: copy   Esc: close");
}

/* Tab-separated, as spreadsheets take it. */
static void copy_table(hl_screen *s)
{
    table_row rows[HL_CHART_LINES_MAX];
    const int n = fill_table(s, rows);
    hl_str text = {0};
    for (int k = 0; k < COLUMNS; k++)
        hl_str_addf(&text, "%s%s", k ? "\t" : "", k == X ? hl_chart_x_name(s) : heads[k]);
    for (int i = 0; i < n; i++) {
        hl_str_addf(&text, "\n%s", rows[i].name + 2);
        for (int k = STEP; k < COLUMNS; k++)
            hl_str_addf(&text, "\t%.9g", rows[i].v[k]);
    }
    hl_screen_copy(s, hl_str_text(&text));
    hl_str_done(&text);
}

static void table_key(hl_screen *s, int key)
{
    if (key == 'h' || key == HL_KEY_LEFT)
        (void)hl_chart_act(s, HL_ACTION_LEFT);
    else if (key == 'l' || key == HL_KEY_RIGHT)
        (void)hl_chart_act(s, HL_ACTION_RIGHT);
    else if (key == 'y')
        copy_table(s);
    else if (is_close(key) || key == 'i' || key == HL_KEY_ENTER)
        hl_screen_close_popup(s);
    else
        move_row(s, key, COLUMNS);
}

const hl_popup_class hl_popup_table = {
    .title = "values at the crosshair", .size = table_size, .draw = table_draw, .key = table_key};
