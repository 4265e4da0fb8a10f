/* The steps that a zoomed chart shows, each with the rows of the data that its batches were of. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/screen.h"
#include "views/widgets/number.h"

/* Points of the focused chart's series, those in view. */
typedef struct steps {
    const hl_watched *run;
    const hl_pyramid *raw;
    const char *tag;
    size_t first, n;
} steps;

static bool find(hl_screen *s, steps *out)
{
    const int chart = hl_charts_focused(s);
    const hl_charts_look *look = &s->look.charts;
    *out = (steps){.run = hl_screen_run(s), .tag = chart < 0 ? "" : s->charts.at[chart].tag};
    hl_data *d = out->run && chart >= 0 ? hl_watched_series(out->run, out->tag) : NULL;
    const hl_pyramid *p = d && d->points ? hl_chart_over_x(s, out->run, d) : NULL;
    if (!p || !look->zoomed || hl_pyramid_n(p) == 0)
        return false;
    out->raw = d->points;
    size_t from = hl_pyramid_nearest(p, look->x_lo), to = hl_pyramid_nearest(p, look->x_hi);
    while (from < hl_pyramid_n(p) && hl_pyramid_x(p, from) < look->x_lo)
        from++;
    while (from > 0 && hl_pyramid_x(p, from - 1) >= look->x_lo)
        from--;
    while (to > from && hl_pyramid_x(p, to) > look->x_hi)
        to--;
    if (from >= hl_pyramid_n(p) || to < from || hl_pyramid_x(p, from) > look->x_hi)
        return false;
    /* points without an x are the first ones */
    out->first = from + (p == d->points ? 0 : d->over.n_taken - hl_pyramid_n(p));
    out->n = to - from + 1;
    return true;
}

/* "2  4096-4351 of 20000", or why not. */
static const char *rows_text(const steps *k, int64_t step, char text[80])
{
    int64_t epoch, row, n;
    const hl_data_order *o = &k->run->order;
    if (!hl_data_order_at(o, step, &epoch, &row, &n))
        snprintf(text, 80, "not recorded");
    else if (row + n <= o->rows)
        snprintf(text, 80, "epoch %lld, rows %lld-%lld of %lld", (long long)epoch + 1,
                 (long long)row, (long long)(row + n - 1), (long long)o->rows);
    else
        snprintf(text, 80, "epoch %lld, from row %lld of %lld: %lld", (long long)epoch + 1,
                 (long long)row, (long long)o->rows, (long long)n);
    return text;
}

static void size(hl_screen *s, int *w, int *h)
{
    steps k;
    *w = 76;
    *h = (find(s, &k) ? (int)(k.n < 1000 ? k.n : 1000) : 1) + 2;
}

static void draw(hl_screen *s, hl_canvas c)
{
    steps k;
    char text[80], number[HL_NUMBER_MAX];
    double z;
    const bool is_there = find(s, &k);
    const int visible = c.r.h > 2 ? c.r.h - 2 : 1, top = hl_popup_scrolled(s, visible);
    hl_put_right(c, 12, 0, HL_STYLE(DIM), "step");
    hl_put_cut(c, 14, 0, 16, HL_STYLE(DIM), is_there ? hl_series_title(k.tag) : "");
    hl_put_right(c, 40, 0, HL_STYLE(DIM), "z");
    hl_put_cut(c, 42, 0, c.r.w - 42, HL_STYLE(DIM), "rows of its batches, in the epoch's order");
    for (int i = 0; is_there && i < visible && top + i < (int)k.n; i++) {
        const size_t at = k.first + (size_t)(top + i);
        const bool now = top + i == s->popup_row;
        const hl_style style = now ? HL_STYLE(SELECT) : HL_STYLE(TEXT);
        const double step = hl_pyramid_x(k.raw, at), y = hl_pyramid_y(k.raw, at);
        const hl_canvas row = hl_canvas_part(c, 0, 1 + i, c.r.w, 1);
        if (now)
            hl_blank(row, 0, 0, c.r.w, 1, style);
        snprintf(text, sizeof text, "%.0f", step);
        hl_put_right(row, 12, 0, style, text);
        hl_put(row, 14, 0, isfinite(y) ? style : HL_STYLE(BAD), hl_format_value(number, y));
        if (hl_chart_z_score(k.raw, at, &z)) {
            snprintf(text, sizeof text, "%+.1f", fmin(fmax(z, -999), 999));
            hl_put_right(row, 40, 0, style, text);
        }
        hl_put_cut(row, 42, 0, c.r.w - 42, style, rows_text(&k, (int64_t)step, text));
    }
    if (!is_there)
        hl_put_cut(c, 1, 1, c.r.w - 1, HL_STYLE(DIM), "there is no point in view");
    hl_put_cut(c, 0, c.r.h - 1, c.r.w, HL_STYLE(DIM),
               "Enter: crosshair there; y: copy all; Esc closes");
}

/* Tab-separated, as spreadsheets take it; epochs and rows count from 1 and 0. */
static void copy(hl_screen *s, const steps *k)
{
    hl_str b = {0};
    int64_t epoch, row, n;
    hl_str_addf(&b, "step\t%s\tepoch\tfirst row\trows", k->tag);
    for (size_t i = k->first; i < k->first + k->n; i++) {
        const double step = hl_pyramid_x(k->raw, i);
        hl_str_addf(&b, "\n%.0f\t%.9g", step, hl_pyramid_y(k->raw, i));
        if (hl_data_order_at(&k->run->order, (int64_t)step, &epoch, &row, &n))
            hl_str_addf(&b, "\t%lld\t%lld\t%lld", (long long)epoch + 1, (long long)row,
                        (long long)n);
    }
    hl_screen_copy(s, hl_str_text(&b));
    hl_str_done(&b);
}

static void key(hl_screen *s, int pressed)
{
    steps k;
    const bool is_there = find(s, &k);
    if (pressed == HL_KEY_ENTER && is_there && (size_t)s->popup_row < k.n) {
        s->has_crosshair = true;
        s->crosshair_x = hl_pyramid_x(k.raw, k.first + (size_t)s->popup_row);
        hl_screen_close_popup(s);
    } else if (pressed == 'y' && is_there) {
        copy(s, &k);
    } else if (!hl_popup_move(s, pressed, is_there ? (int)k.n : 0) && hl_popup_is_close(pressed)) {
        hl_screen_close_popup(s);
    }
}

const hl_popup_class hl_popup_steps = {
    .title = "steps in view", .size = size, .draw = draw, .key = key};
