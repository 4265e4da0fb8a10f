/* Zoom and pan of charts, and the selection that is zoomed to. */
#include <math.h>

#include "views/screen.h"

void hl_chart_zoom_to(hl_screen *s, double lo, double hi)
{
    hl_charts_look *look = &s->look.charts;
    if (!(lo < hi) || !isfinite(lo) || !isfinite(hi) || hi - lo < 1e-9 * fmax(fabs(lo), fabs(hi)))
        return;
    hl_screen_remember(s);
    look->zoomed = true;
    look->x_lo = lo;
    look->x_hi = hi;
    look->tail = 0;
}

/* The x of all lines of the focused chart. */
static bool whole_x(hl_screen *s, double *lo, double *hi)
{
    const int chart = hl_charts_focused(s);
    hl_chart_lines lines;
    *lo = HUGE_VAL;
    *hi = -HUGE_VAL;
    if (chart < 0)
        return false;
    hl_chart_lines_make(s, chart, &lines);
    for (int i = 0; i < lines.n; i++) {
        const hl_bucket *b = hl_pyramid_total(lines.line[i].data);
        *lo = b->n ? fmin(*lo, b->x_min) : *lo;
        *hi = b->n ? fmax(*hi, b->x_max) : *hi;
    }
    return *lo <= *hi;
}

static void fit(hl_screen *s)
{
    const int chart = hl_charts_focused(s);
    hl_screen_remember(s);
    s->look.charts.zoomed = false;
    s->look.charts.tail = 0;
    if (chart >= 0)
        s->look.charts.y[chart].range = HL_Y_FULL;
}

static void zoom_x(hl_screen *s, double factor)
{
    hl_scale x;
    double at, lo, hi;
    if (!hl_chart_shown_x(s, &x) || !whole_x(s, &lo, &hi))
        return;
    double t = 0.5;
    const hl_watched *w = hl_screen_run(s);
    if (w && hl_chart_crosshair(s, w, &at))
        t = fmin(fmax(hl_scale_to(&x, at), 0), 1);
    const double from = hl_scale_from(&x, t - t * factor);
    const double to = hl_scale_from(&x, t + (1 - t) * factor);
    if (factor > 1 && !s->look.charts.zoomed && s->look.charts.tail <= 0)
        return;
    if (factor > 1 && from <= lo && to >= hi) {
        hl_screen_remember(s);
        s->look.charts.zoomed = false;
        s->look.charts.tail = 0;
    } else {
        hl_chart_zoom_to(s, from, to);
    }
}

static void pan(hl_screen *s, double widths)
{
    hl_scale x;
    double lo, hi;
    if (!hl_chart_shown_x(s, &x) || !whole_x(s, &lo, &hi) || !s->look.charts.zoomed)
        return;
    const double from = hl_scale_from(&x, widths), to = hl_scale_from(&x, 1 + widths);
    if (to > lo && from < hi)
        hl_chart_zoom_to(s, from, to);
}

static void zoom_y(hl_screen *s, double factor)
{
    const int chart = hl_charts_focused(s);
    const hl_pyramid *p = hl_chart_points(s);
    const hl_scale *y = chart >= 0 ? &s->charts.at[chart].chart.shown_y : NULL;
    if (!y || !(y->lo < y->hi))
        return;
    double t = 0.5;
    const size_t i = p && s->has_crosshair ? hl_pyramid_nearest(p, s->crosshair_x) : SIZE_MAX;
    if (i != SIZE_MAX && isfinite(hl_pyramid_y(p, i)))
        t = fmin(fmax(hl_scale_to(y, hl_pyramid_y(p, i)), 0), 1);
    const double lo = hl_scale_from(y, t - t * factor), hi = hl_scale_from(y, t + (1 - t) * factor);
    if (!(lo < hi) || !isfinite(lo) || !isfinite(hi) || hi - lo < 1e-12 * fmax(fabs(lo), fabs(hi)))
        return;
    hl_screen_remember(s);
    hl_chart_look *look = &s->look.charts.y[chart];
    look->range = HL_Y_FIXED;
    look->lo = lo;
    look->hi = hi;
}

static void turn_tail(hl_screen *s)
{
    hl_charts_look *look = &s->look.charts;
    const bool is_time = look->x == HL_X_TIME || look->x == HL_X_CLOCK;
    hl_screen_remember(s);
    const double width = s->tail > 0 ? s->tail : is_time ? 600 : look->x == HL_X_EPOCH ? 1 : 1000;
    look->tail = look->tail > 0 ? 0 : width;
}

static void begin_selection(hl_screen *s)
{
    if (!s->has_crosshair)
        (void)hl_screen_act_on_crosshair(s, HL_ACTION_BOTTOM, hl_chart_points);
    s->has_anchor = s->has_crosshair && !s->has_anchor;
    s->anchor_x = s->crosshair_x;
    if (s->has_anchor)
        hl_screen_say(s, HL_ROLE_TEXT, "move to the other end; Enter zooms, Esc leaves");
}

/* Enter: what is selected; the steps of what is zoomed to; or this chart alone and back. */
static void open_chart(hl_screen *s)
{
    const hl_watched *w = hl_screen_run(s);
    double a, b;
    if (!w)
        return;
    const hl_x_map m = hl_chart_x_map(s, w);
    if (s->has_anchor) {
        if (hl_x_map_at(&m, s->anchor_x, &a) && hl_x_map_at(&m, s->crosshair_x, &b))
            hl_chart_zoom_to(s, fmin(a, b), fmax(a, b));
        s->has_anchor = false;
        return;
    }
    const int chart = hl_charts_focused(s);
    if (chart >= 0 && hl_chart_fold_of(s, chart) >= 0) {
        hl_chart_fold(s);
        return;
    }
    if (chart >= 0 && s->look.charts.zoomed) {
        s->look.chart = chart;
        hl_screen_popup(s, &hl_popup_steps);
        return;
    }
    if (chart < 0 || (!s->look.charts.large && hl_charts_per_page(s) == 1))
        return;
    hl_screen_remember(s);
    s->look.chart = chart;
    s->look.charts.large = !s->look.charts.large;
}

bool hl_chart_zoom_act(hl_screen *s, hl_action a)
{
    switch (a) {
    case HL_ACTION_ZOOM_IN:
        zoom_x(s, 0.5);
        return true;
    case HL_ACTION_ZOOM_OUT:
        zoom_x(s, 2);
        return true;
    case HL_ACTION_ZOOM_Y_IN:
        zoom_y(s, 0.5);
        return true;
    case HL_ACTION_ZOOM_Y_OUT:
        zoom_y(s, 2);
        return true;
    case HL_ACTION_PAN_LEFT:
        pan(s, -0.25);
        return true;
    case HL_ACTION_PAN_RIGHT:
        pan(s, 0.25);
        return true;
    case HL_ACTION_FIT:
        fit(s);
        return true;
    case HL_ACTION_TAIL:
        turn_tail(s);
        return true;
    case HL_ACTION_SELECT:
        begin_selection(s);
        return true;
    case HL_ACTION_OPEN:
        open_chart(s);
        return true;
    default:
        return false;
    }
}
