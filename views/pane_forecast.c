/* Forecasts of a series: which recorded one is looked at, its channels as charts, and the keys of
 * the view. What is left over and the error by step are in pane_forecast_more.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/fs.h"
#include "views/screen.h"
#include "views/widgets/number.h"

enum { CHART_MIN_W = 60, CHART_MIN_H = 12, CHARTS_MAX = 16 };

/* ---- what there is ---- */

static const hl_forecast_at *all_of(const hl_watched *w, bool eval, size_t *n)
{
    *n = !w ? 0 : eval ? w->forecasts.eval.n : w->forecasts.test.n;
    return *n == 0 ? NULL : eval ? w->forecasts.eval.at : w->forecasts.test.at;
}

bool hl_forecast_shown_get(hl_screen *s, hl_forecast_shown *out)
{
    const hl_watched *w = hl_screen_run(s);
    *out = (hl_forecast_shown){.is_eval = s->look.forecast_eval};
    const hl_forecast_at *at = all_of(w, out->is_eval, &out->n);
    if (!at) { /* a live run has no test yet; one that was stopped has no more than that */
        out->is_eval = !out->is_eval;
        at = all_of(w, out->is_eval, &out->n);
    }
    if (!at)
        return false;
    out->place = out->n - 1;
    while (s->forecast_step >= 0 && out->place > 0 && at[out->place].step > s->forecast_step)
        out->place--;
    const hl_forecast_table *t = out->table = &at[out->place].table;
    out->channel = s->forecast_channel < t->n_channels ? s->forecast_channel : t->n_channels - 1;
    out->has_window = t->n_windows > 0;
    out->window = s->forecast_window < t->n_windows ? s->forecast_window
                  : out->has_window                 ? t->n_windows - 1
                                                    : 0;
    return true;
}

/* ---- titles ---- */

static void title(hl_screen *s, char *buf, size_t n)
{
    hl_forecast_shown f;
    char step[HL_NUMBER_MAX], mse[HL_NUMBER_MAX], season[HL_NUMBER_MAX];
    if (!hl_forecast_shown_get(s, &f)) {
        snprintf(buf, n, "forecast");
        return;
    }
    const hl_forecast_table *t = f.table;
    const bool wide = s->layout.pane[HL_PANE_FORECAST].w >= 72;
    const int used = snprintf(buf, n, "%s%s @%s  window %zu/%zu  channel %zu/%zu  mse %s",
                              wide ? "forecast  " : "", t->part, hl_format_count(step, t->step),
                              f.has_window ? f.window + 1 : 0, t->n_windows, f.channel + 1,
                              t->n_channels, hl_format_value(mse, t->mse));
    if (wide && !isnan(t->mse_seasonal) && used > 0 && (size_t)used < n)
        snprintf(buf + used, n - (size_t)used, ", seasonal %s",
                 hl_format_value(season, t->mse_seasonal));
}

/* "> OT  mse 0.12  here 0.09", the marked one of several in bold */
static void put_channel_title(const hl_forecast_shown *f, hl_canvas c, size_t channel, bool several)
{
    char mse[HL_NUMBER_MAX], here[HL_NUMBER_MAX], text[160];
    const hl_forecast_channel *k = &f->table->channel[channel];
    const bool now = several && channel == f->channel;
    const hl_style style = now ? (hl_style){HL_ROLE_FOCUS, HL_BOLD} : HL_STYLE(TITLE);
    snprintf(text, sizeof text, "%.60s  mse %s  here %s", k->name, hl_format_value(mse, k->mse),
             hl_format_value(here, hl_forecast_window_mse(f->table, f->window, channel)));
    if (now)
        hl_put_sign(c, 0, 0, style, HL_SIGN_CURSOR);
    hl_put_cut(c, several ? 2 : 1, 0, c.r.w - 2, style, text);
}

/* ---- a run without forecasts ---- */

static void draw_nothing(hl_screen *s, hl_canvas c)
{
    const hl_run_row *row = hl_screen_row(s);
    const hl_watched *w = hl_screen_run(s);
    if (hl_screen_put_trouble(s, c))
        return;
    const bool over = w && w->caught_up && !hl_state_is_live(row->state);
    const char *text = w && w->forecasts.n_damaged ? "what it recorded of forecasts is damaged"
                       : over                      ? "this run recorded no forecast of a series"
                                                   : "no forecast of a series yet: the next "
                                                     "evaluation records one";
    hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM), text);
}

/* ---- a chart ---- */

typedef struct lines {
    hl_pyramid *history, *truth, *prediction;
} lines;

/* Missing values are left out. x is 0 at the last value of the history. */
static void push_all(hl_pyramid *p, const float *v, size_t n, double first, bool nan_is_missing)
{
    for (size_t i = 0; p && i < n; i++)
        if (!nan_is_missing || !isnan(v[i]))
            HL_IGNORE(hl_pyramid_push(p, first + (double)i, (double)v[i]));
}

/* Truth and forecast begin at the last value that is known. */
static lines make_lines(const hl_forecast_table *t, size_t window, size_t channel)
{
    const float *history = hl_forecast_values(t, window, channel, HL_FORECAST_HISTORY);
    lines l = {hl_pyramid_new(), hl_pyramid_new(), hl_pyramid_new()};
    const size_t n = t->history;
    push_all(l.history, history, n, 1 - (double)n, true);
    if (n > 0) {
        push_all(l.truth, history + n - 1, 1, 0, true);
        push_all(l.prediction, history + n - 1, 1, 0, true);
    }
    push_all(l.truth, hl_forecast_values(t, window, channel, HL_FORECAST_TRUTH), t->horizon, 1,
             true);
    push_all(l.prediction, hl_forecast_values(t, window, channel, HL_FORECAST_PREDICTION),
             t->horizon, 1, false);
    return l;
}

static void draw_channel(const hl_forecast_shown *f, hl_canvas c, size_t channel)
{
    const hl_forecast_table *t = f->table;
    const lines l = make_lines(t, f->window, channel);
    const hl_chart_mark now = {.at = 0, .role = HL_ROLE_DIM};
    const hl_chart_line line[] = {
        {.data = l.history, .name = "history", .role = HL_ROLE_TEXT},
        {.data = l.truth, .name = "truth", .role = HL_ROLE_SERIES, .letter = 't'},
        {.data = l.prediction,
         .name = "forecast",
         .role = HL_ROLE_SERIES + 1,
         .letter = 'f',
         .focused = true}};
    hl_chart chart = {
        .line = line,
        .n_lines = l.history && l.truth && l.prediction ? 3 : 0,
        .mark = &now,
        .n_marks = 1,
        .fixed_x = true,
        .x_range = {.lo = t->history ? 1 - (double)t->history : 0, .hi = (double)t->horizon}};
    if (t->history == 1)
        chart.x_range.lo = 0;
    hl_chart_draw(c, &chart);
    hl_pyramid_free(l.history);
    hl_pyramid_free(l.truth);
    hl_pyramid_free(l.prediction);
}

/* One number per line, for the smallest terminals. */
static void put_lines(const hl_forecast_shown *f, hl_canvas c)
{
    const hl_forecast_channel *k = &f->table->channel[f->channel];
    const struct {
        const char *name;
        double v;
    } rows[] = {{"mse", f->table->mse},
                {"seasonal", f->table->mse_seasonal},
                {k->name, k->mse},
                {"mae", f->table->mae}};
    for (int i = 0; i < 4 && i < c.r.h; i++) {
        char text[HL_NUMBER_MAX];
        const int used = hl_put_cut(c, 0, i, c.r.w - 8, HL_STYLE(DIM), rows[i].name) + 1;
        hl_put(c, used, i, HL_STYLE(TEXT),
               hl_format_known(text, !isnan(rows[i].v), rows[i].v, hl_has_signs(c.grid)));
    }
}

/* As many channels as there is room for, the one looked at among them. */
static void draw_page(const hl_forecast_shown *f, hl_canvas c)
{
    int cols = c.r.w / CHART_MIN_W, rows = c.r.h / CHART_MIN_H;
    const int all = (int)f->table->n_channels;
    cols = cols < 1 ? 1 : cols;
    rows = rows < 1 ? 1 : rows;
    while (cols * rows > CHARTS_MAX || (rows > 1 && (rows - 1) * cols >= all))
        rows--;
    cols = cols > all ? all : cols;
    const int each = cols * rows, first = (int)f->channel / each * each;
    for (int i = 0; i < each && first + i < all; i++) {
        const int x = i % cols * c.r.w / cols, y = i / cols * c.r.h / rows;
        const hl_canvas part = hl_canvas_part(c, x, y, (i % cols + 1) * c.r.w / cols - x,
                                              (i / cols + 1) * c.r.h / rows - y);
        put_channel_title(f, part, (size_t)(first + i), each > 1);
        draw_channel(f, hl_canvas_part(part, 0, 1, part.r.w, part.r.h - 1), (size_t)(first + i));
    }
}

static void draw(hl_screen *s, hl_canvas c, bool focused)
{
    hl_forecast_shown f;
    (void)focused;
    if (!hl_forecast_shown_get(s, &f))
        draw_nothing(s, c);
    else if (s->layout.size == HL_SIZE_MINIMAL || !f.has_window)
        put_lines(&f, c);
    else
        draw_page(&f, c);
}

/* ---- keys ---- */

/* Round and round. */
static size_t turn(size_t now, size_t n, int by)
{
    return n == 0 ? 0 : by > 0 ? (now + 1) % n : (now + n - 1) % n;
}

static void step_by(hl_screen *s, const hl_forecast_shown *f, int by)
{
    size_t n;
    const hl_forecast_at *at = all_of(hl_screen_run(s), f->is_eval, &n);
    if (by < 0 && f->place == 0) {
        hl_screen_say(s, HL_ROLE_TEXT, "this is the oldest one that is kept");
        return;
    }
    const size_t place = f->place + (by < 0 ? (size_t)-1 : 1);
    s->forecast_step = place + 1 >= n ? -1 : at[place].step;
}

static void other_part(hl_screen *s, const hl_forecast_shown *f)
{
    size_t n;
    (void)all_of(hl_screen_run(s), !f->is_eval, &n);
    if (n == 0) {
        hl_screen_say(s, HL_ROLE_TEXT, "%s",
                      f->is_eval ? "no forecast of the test part is recorded"
                                 : "no forecast of the validation part is recorded");
        return;
    }
    hl_screen_remember(s);
    s->look.forecast_eval = !f->is_eval;
    s->forecast_step = -1;
}

/* The window of the channel, step by step. */
static void copy(hl_screen *s, const hl_forecast_shown *f)
{
    hl_str b = {0};
    if (!f->has_window)
        return;
    const float *truth = hl_forecast_values(f->table, f->window, f->channel, HL_FORECAST_TRUTH),
                *said = hl_forecast_values(f->table, f->window, f->channel, HL_FORECAST_PREDICTION);
    hl_str_add(&b, "ahead,truth,forecast\n");
    for (size_t i = 0; i < f->table->horizon; i++)
        hl_str_addf(&b, "%zu,%.6g,%.6g\n", i + 1, (double)truth[i], (double)said[i]);
    if (hl_str_status(&b) == HL_OK && hl_term_copy(s->term, hl_str_text(&b)))
        hl_screen_say(s, HL_ROLE_TEXT, "copied truth and forecast of %zu steps", f->table->horizon);
    else
        hl_screen_say(s, HL_ROLE_WARN,
                      "this terminal takes no copies; hoplab export RUN --figure "
                      "forecast --csv FILE writes them");
    hl_str_done(&b);
}

/* As the Quant view writes its tensors: into the folder that the program was started in. */
static void export(hl_screen *s, const hl_forecast_shown *f)
{
    char path[200];
    hl_str b = {0};
    snprintf(path, sizeof path, "%.100s-forecast.csv", hl_screen_row(s)->id);
    hl_str_addf(&b, "%s\r\n", hl_forecast_csv_head);
    hl_forecast_table_csv(f->table, NULL, &b);
    hl_screen_save(s, path, hl_str_status(&b), &b);
}

bool hl_forecast_act(hl_screen *s, hl_action a)
{
    hl_forecast_shown f;
    if (!hl_forecast_shown_get(s, &f))
        return false;
    switch (a) {
    case HL_ACTION_DOWN:
    case HL_ACTION_NEXT_CHANNEL:
        s->forecast_channel = turn(f.channel, f.table->n_channels, 1);
        return true;
    case HL_ACTION_UP:
        s->forecast_channel = turn(f.channel, f.table->n_channels, -1);
        return true;
    case HL_ACTION_RIGHT:
    case HL_ACTION_NEXT_WINDOW:
        s->forecast_window = turn(f.window, f.table->n_windows, 1);
        return true;
    case HL_ACTION_LEFT:
        s->forecast_window = turn(f.window, f.table->n_windows, -1);
        return true;
    case HL_ACTION_OLDER_FORECAST:
        step_by(s, &f, -1);
        return true;
    case HL_ACTION_NEWER_FORECAST:
        step_by(s, &f, 1);
        return true;
    case HL_ACTION_BOTTOM:
        s->forecast_step = -1;
        return true;
    case HL_ACTION_COPY:
        copy(s, &f);
        return true;
    case HL_ACTION_EXPORT:
        export(s, &f);
        return true;
    case HL_ACTION_FORECAST_PART:
        other_part(s, &f);
        return true;
    default:
        return false;
    }
}

const hl_pane_class hl_pane_forecast = {
    .framed = true, .focusable = true, .title = title, .draw = draw, .act = hl_forecast_act};
