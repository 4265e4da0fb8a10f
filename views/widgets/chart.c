/* Layout, axes and everything in letters; the lines themselves are plot.c's. */
#include "views/widgets/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/widgets/number.h"
#include "views/widgets/plot.h"

enum {
    PLOT_MIN_W = 6,    /* columns: below, the y axis goes */
    LABEL_W_USUAL = 5, /* kept free for y labels where there is room: the plot stays in place */
    W_ROOMY = 40,      /* columns from which this is so */
    H_X_LINE = 8,      /* rows of the chart from which the x axis has a line, */
    H_X_LABELS = 4,    /* labels, */
    H_TITLE = 3,       /* a title, */
    H_BAD_ROW = 3,     /* non-finite signs a row of their own */
    LEGEND_NAME_MAX = 24
};

typedef struct layout {
    hl_canvas all, plot;
    int bad_row, line_row, label_row; /* of `all`; -1: none */
    int axis_column;                  /* of `all`; -1: none */
    hl_scale x, y;
    bool has_y; /* there are values to scale y by */
} layout;

static hl_style role(int r)
{
    return (hl_style){.role = (uint8_t)r};
}

/* ---- ranges ---- */

static bool is_usable(const hl_scale *s)
{
    return isfinite(s->lo) && isfinite(s->hi) && s->lo < s->hi && (!s->log || s->lo > 0);
}

/* Adds the points in the visible x. */
static void add_visible(const hl_chart *c, const hl_pyramid *p, bool is_replaced, hl_bucket *sum)
{
    hl_bucket b = *hl_pyramid_total(p);
    if (c->fixed_x && is_usable(&c->x_range) && b.n > 0 &&
        !hl_pyramid_range(p, c->x_range.lo, nextafter(c->x_range.hi, HUGE_VAL), &b))
        return;
    if (b.n == 0)
        return;
    sum->x_min = sum->n > 0 ? fmin(sum->x_min, b.x_min) : b.x_min;
    sum->x_max = sum->n > 0 ? fmax(sum->x_max, b.x_max) : b.x_max;
    sum->n += b.n;
    sum->n_non_finite += is_replaced ? 0 : b.n_non_finite;
    sum->n_not_positive += b.n_not_positive;
    if (b.n > b.n_non_finite) {
        sum->min = fmin(sum->min, b.min);
        sum->max = fmax(sum->max, b.max);
        sum->min_positive = fmin(sum->min_positive, b.min_positive);
    }
}

/* All lines and bands. */
static hl_bucket visible(const hl_chart *c)
{
    hl_bucket sum = {.min = (double)NAN, .max = (double)NAN, .min_positive = (double)NAN};
    for (int i = 0; i < c->n_lines; i++) {
        add_visible(c, c->line[i].data, c->line[i].is_replaced, &sum);
        if (c->line[i].lo) {
            add_visible(c, c->line[i].lo, false, &sum);
            add_visible(c, c->line[i].hi, false, &sum);
        }
    }
    return sum;
}

static size_t count_points(const hl_chart *c)
{
    size_t n = 0;
    for (int i = 0; i < c->n_lines; i++)
        n += hl_pyramid_n(c->line[i].data);
    return n;
}

static double smallest_positive_x(const hl_chart *c, double max)
{
    double x = max;
    for (int i = 0; i < c->n_lines; i++) {
        const hl_pyramid *p = c->line[i].data;
        for (size_t k = 0; k < hl_pyramid_n(p) && k < 64; k++) /* it is among the first ones */
            if (hl_pyramid_x(p, k) > 0)
                x = fmin(x, hl_pyramid_x(p, k));
    }
    return x;
}

static void scale_x(layout *l, hl_chart *c, const hl_bucket *b)
{
    if (c->fixed_x && is_usable(&c->x_range)) {
        l->x = c->x_range;
    } else {
        if (c->log_x && b->x_max > 0)
            hl_axis_cover_log_x(&c->x, smallest_positive_x(c, b->x_max), b->x_max);
        else if (c->x_unit != HL_UNIT_NUMBER)
            hl_axis_cover_time(&c->x, b->x_min, b->x_max, c->x_unit == HL_UNIT_CLOCK);
        else
            hl_axis_cover_x(&c->x, b->x_min, b->x_max);
        l->x = c->x.scale;
    }
    l->x.unit = c->x_unit;
    c->shown_x = l->x;
}

/* Three decades below the largest value; 0: there is none. */
static double linear_band(const hl_chart *c, const hl_bucket *b)
{
    const double size = fmax(fabs(b->min), fabs(b->max));
    if (!c->symlog_y || c->log_y || !(size > 0))
        return 0;
    return pow(10, floor(log10(fmax(size, HL_SCALE_LOG_FLOOR * 1e6)) + 1e-9) - 3);
}

double hl_chart_linear_band(const hl_chart *chart)
{
    const hl_bucket b = visible(chart);
    return linear_band(chart, &b);
}

static void scale_y(layout *l, hl_chart *c, const hl_bucket *b, int n_rows)
{
    const size_t n_now = count_points(c);
    const bool updated = n_now != c->n_seen;
    c->n_seen = n_now;
    const double min = c->log_y ? b->min_positive : b->min;
    l->has_y = min <= b->max;
    l->y = (hl_scale){.lo = 1, .hi = 10, .log = c->log_y};
    const double linear = l->has_y ? linear_band(c, b) : 0;
    if (c->fixed_y && is_usable(&c->y_range)) {
        l->y = c->y_range;
        l->y.log = c->log_y && l->y.lo > 0;
        l->y.linear = linear;
    } else if (l->has_y) {
        const hl_scale want = {.lo = min, .hi = b->max, .log = c->log_y, .linear = linear};
        hl_axis_cover_y(&c->y, want, n_rows, updated);
        l->y = c->y.scale;
    }
    c->shown_y = l->y;
}

/* ---- axes ---- */

static void put_y_axis(const layout *l, const hl_ticks *t)
{
    const int column = l->axis_column, top = l->plot.r.y - l->all.r.y;
    if (column < 0)
        return;
    const int h = l->plot.r.h;
    for (int i = 0; i < h; i++) {
        const double v = hl_scale_from(&l->y, (h - 1 - i + 0.5) / h);
        const bool in_band = l->y.linear > 0 && fabs(v) < l->y.linear;
        hl_put_sign(l->all, column, top + i, role(HL_ROLE_DIM),
                    in_band ? HL_SIGN_DASH_V : HL_SIGN_V_LIGHT);
    }
    for (int i = 0; i < t->n; i++) {
        const hl_tick *k = &t->tick[i];
        hl_put_sign(l->all, column, top + k->at, role(HL_ROLE_DIM), HL_SIGN_TICK_Y);
        hl_put_right(l->all, column, top + k->at, role(HL_ROLE_DIM), k->label);
    }
}

static void put_x_axis(const layout *l)
{
    const int left = l->plot.r.x - l->all.r.x;
    hl_ticks t;
    hl_ticks_x(&l->x, l->plot.r.w, &t);
    if (l->line_row >= 0) {
        if (l->axis_column >= 0)
            hl_put_sign(l->all, l->axis_column, l->line_row, role(HL_ROLE_DIM), HL_SIGN_BL_LIGHT);
        for (int x = 0; x < l->plot.r.w; x++)
            hl_put_sign(l->all, left + x, l->line_row, role(HL_ROLE_DIM), HL_SIGN_H_LIGHT);
        for (int i = 0; i < t.n; i++)
            hl_put_sign(l->all, left + t.tick[i].at, l->line_row, role(HL_ROLE_DIM),
                        HL_SIGN_TICK_X);
    }
    if (l->label_row >= 0)
        for (int i = 0; i < t.n; i++)
            hl_put(l->all, left + t.tick[i].label_at, l->label_row, role(HL_ROLE_DIM),
                   t.tick[i].label);
}

/* Where there is room for a plot beside it. */
static void add_unit(const layout *l, const hl_chart *c, hl_ticks *t)
{
    int top = -1;
    if (!c->unit || !*c->unit || l->all.r.w < W_ROOMY)
        return;
    for (int i = 0; i < t->n; i++)
        if (*t->tick[i].label && (top < 0 || t->tick[i].at < t->tick[top].at))
            top = i;
    char *label = top < 0 ? NULL : t->tick[top].label;
    if (!label || strlen(label) + strlen(c->unit) + 2 > sizeof t->tick[top].label)
        return;
    strcat(label, " ");
    strcat(label, c->unit);
    const int columns = hl_text_columns(l->all.grid, label);
    t->label_columns = columns > t->label_columns ? columns : t->label_columns;
}

/* Divides the canvas; y labels come from the ticks, so the scale is made here too. */
static void lay_out(layout *l, hl_chart *c, const hl_bucket *b, hl_ticks *y_ticks)
{
    const int w = l->all.r.w, h = l->all.r.h;
    int top = c->title && h >= H_TITLE, bottom = h;
    l->bad_row = l->line_row = l->label_row = l->axis_column = -1;
    if (h >= H_X_LABELS)
        l->label_row = --bottom;
    if (h >= H_X_LINE)
        l->line_row = --bottom;
    if (b->n_non_finite > 0 && bottom - top >= H_BAD_ROW)
        l->bad_row = top++;
    int left = 0;
    y_ticks->n = y_ticks->label_columns = 0;
    if (bottom > top)
        scale_y(l, c, b, bottom - top);
    if (bottom > top && (l->has_y || c->fixed_y)) {
        hl_ticks_y(&l->y, bottom - top, y_ticks);
        add_unit(l, c, y_ticks);
        int label_w = y_ticks->label_columns;
        if (w >= W_ROOMY && label_w < LABEL_W_USUAL)
            label_w = LABEL_W_USUAL;
        if (w - label_w - 1 >= PLOT_MIN_W && h >= H_X_LABELS) {
            l->axis_column = label_w;
            left = label_w + 1;
        }
    }
    l->plot = hl_canvas_part(l->all, left, top, w - left, bottom - top);
    c->plot =
        (hl_rect){l->plot.r.x - l->all.r.x, l->plot.r.y - l->all.r.y, l->plot.r.w, l->plot.r.h};
}

/* ---- in the plot ---- */

static void put_column(const layout *l, double x, hl_style s)
{
    const int at = isfinite(x) ? hl_scale_cell(&l->x, x, l->plot.r.w) : -1;
    if (at >= 0 && at < l->plot.r.w)
        for (int y = 0; y < l->plot.r.h; y++)
            hl_put_sign(l->plot, at, y, s, HL_SIGN_DASH_V);
}

static void put_marks(const layout *l, const hl_chart *c)
{
    for (int i = 0; i < c->n_marks; i++) {
        const hl_chart_mark *m = &c->mark[i];
        if (!m->horizontal) {
            put_column(l, m->at, role(m->role));
            continue;
        }
        const int up = isfinite(m->at) ? hl_scale_cell(&l->y, m->at, l->plot.r.h) : -1;
        if (up >= 0 && up < l->plot.r.h)
            for (int x = 0; x < l->plot.r.w; x++)
                hl_put_sign(l->plot, x, l->plot.r.h - 1 - up, role(m->role), HL_SIGN_DASH_H);
    }
    if (c->has_anchor)
        put_column(l, c->anchor_x, role(HL_ROLE_KEY));
    if (c->has_crosshair)
        put_column(l, c->crosshair_x, role(HL_ROLE_FOCUS));
}

static void put_lines(const hl_chart *c, hl_plot *p)
{
    for (int i = 0; i < c->n_lines; i++)
        if (c->line[i].lo)
            hl_plot_band(p, c->line[i].lo, c->line[i].hi, role(HL_ROLE_DIM));
    for (int i = 0; i < c->n_lines; i++) {
        p->leaves_sets = c->line[i].is_replaced;
        if (c->line[i].smooth || c->line[i].is_replaced)
            hl_plot_line(p, c->line[i].data, role(HL_ROLE_DIM));
    }
    for (int focused = 0; focused < 2; focused++)
        for (int i = 0; i < c->n_lines; i++) {
            const hl_chart_line *line = &c->line[i];
            if (line->focused != (focused != 0) || line->is_replaced)
                continue;
            p->leaves_sets = line->smooth != NULL; /* the raw line has told */
            hl_plot_line(p, line->smooth ? line->smooth : line->data, role(line->role));
            p->leaves_sets = false;
        }
}

static void put_signs(const layout *l, const hl_chart *c, const hl_plot *p)
{
    const int left = l->plot.r.x - l->all.r.x, top = l->plot.r.y - l->all.r.y;
    for (int x = 0; x < l->plot.r.w; x++) {
        if (c->tells_cuts && hl_plot_column_has(p->above, x))
            hl_put_sign(l->plot, x, 0, role(HL_ROLE_WARN), HL_SIGN_UP);
        if (c->tells_cuts && hl_plot_column_has(p->below, x))
            hl_put_sign(l->plot, x, l->plot.r.h - 1, role(HL_ROLE_WARN), HL_SIGN_DOWN);
        if (hl_plot_column_has(p->low, x))
            hl_put_sign(l->plot, x, l->plot.r.h - 1, role(HL_ROLE_WARN), HL_SIGN_CLIP_LOW);
        if (hl_plot_column_has(p->bad, x))
            hl_put_sign(l->all, left + x, l->bad_row >= 0 ? l->bad_row : top, role(HL_ROLE_BAD),
                        HL_SIGN_NOT_FINITE);
    }
}

/* Beside the end of the line, where no dot is hidden if there is such a place. */
static void put_letter(const layout *l, const hl_plot *p, const hl_chart_line *line)
{
    static const int8_t beside[][2] = {{1, 0}, {1, -1}, {1, 1}, {0, -1}, {0, 1}, {-1, -1}};
    const hl_pyramid *data = line->smooth ? line->smooth : line->data;
    double x, y;
    if (!line->letter || !hl_pyramid_last_finite(data, &x, &y) || (l->y.log && y <= 0))
        return;
    const int column = hl_scale_cell(&l->x, x, l->plot.r.w);
    int row = l->plot.r.h - 1 - hl_scale_cell(&l->y, y, l->plot.r.h);
    if (column < 0 || column >= l->plot.r.w)
        return;
    row = row < 0 ? 0 : row >= l->plot.r.h ? l->plot.r.h - 1 : row;
    int at_x = column + (column + 1 < l->plot.r.w), at_y = row;
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        if (hl_plot_is_free(p, column + beside[i][0], row + beside[i][1], 1, 1)) {
            at_x = column + beside[i][0];
            at_y = row + beside[i][1];
            break;
        }
    const hl_style s = {.role = line->role, .marks = HL_BOLD};
    hl_put_char(l->plot, at_x, at_y, s, (unsigned char)line->letter);
}

/* What the legend says of a line: its last value, and its best if asked for. */
static int legend_value(const hl_chart_line *line, int which_best, char text[2 * HL_NUMBER_MAX])
{
    char last[HL_NUMBER_MAX], best[HL_NUMBER_MAX] = "";
    double x, y;
    text[0] = '\0';
    if (!hl_pyramid_last(line->data, &x, &y))
        return 0;
    hl_format_value(last, y);
    if (which_best != 0 && hl_pyramid_best(line->data, which_best < 0, &x, &y))
        hl_format_value(best, y);
    snprintf(text, 2 * HL_NUMBER_MAX, *best ? "%6s %6s" : "%s%s", last, best);
    return (int)strlen(text);
}

/* false: it has no room. */
static bool put_legend(const layout *l, const hl_plot *p, const hl_chart *c, int which_best)
{
    int name_w = 0, value_w = 0, n_rows = 0;
    char text[2 * HL_NUMBER_MAX];
    for (int i = 0; i < c->n_lines; i++) {
        if (c->line[i].is_replaced)
            continue;
        n_rows++;
        const int w = c->line[i].name ? hl_text_columns(l->all.grid, c->line[i].name) : 0;
        const int v = legend_value(&c->line[i], which_best, text);
        value_w = v > value_w ? v : value_w;
        name_w = w > name_w ? w : name_w;
    }
    name_w = name_w > LEGEND_NAME_MAX ? LEGEND_NAME_MAX : name_w;
    const bool has_head = which_best != 0;
    const int w = 2 + name_w + 1 + value_w, h = n_rows + has_head;
    if (c->has_crosshair || n_rows < 2 || /* who draws one tells what is there */
        name_w == 0 || w > l->plot.r.w / 2 || h > (l->plot.r.h + 1) / 2)
        return false;
    const int right = l->plot.r.w - w, low = l->plot.r.h - h;
    const int corner[4][2] = {{right, 0}, {0, 0}, {right, low}, {0, low}};
    int k = 0;
    while (k < 4 && !hl_plot_is_free(p, corner[k][0], corner[k][1], w, h))
        k++;
    if (k == 4)
        return false;
    const hl_canvas box = hl_canvas_part(l->plot, corner[k][0], corner[k][1], w, h);
    hl_blank(box, 0, 0, w, h, role(HL_ROLE_TEXT));
    if (has_head && c->unit)
        hl_put_cut(box, 2, 0, name_w, role(HL_ROLE_DIM), c->unit);
    if (has_head)
        hl_put_right(box, w, 0, role(HL_ROLE_DIM),
                     which_best < 0 ? "  last    min" : "  last    max");
    for (int i = 0, y = has_head; i < c->n_lines; i++) {
        const hl_chart_line *line = &c->line[i];
        if (line->is_replaced)
            continue;
        if (line->letter)
            hl_put_char(box, 0, y, role(line->role), (unsigned char)line->letter);
        if (line->name)
            hl_put_cut(box, 2, y, name_w, role(line->role), line->name);
        if (legend_value(line, which_best, text))
            hl_put_right(box, w, y, role(HL_ROLE_TEXT), text);
        y++;
    }
    return true;
}

static void put_title(const layout *l, const hl_chart *c)
{
    if (!c->title || l->all.r.h < H_TITLE)
        return;
    char notes[HL_CHART_NOTES_MAX];
    const int used =
        hl_put_cut(l->all, 0, 0, l->all.r.w, (hl_style){HL_ROLE_TITLE, HL_BOLD}, c->title);
    hl_put_cut(l->all, used + 2, 0, l->all.r.w - used - 2, role(HL_ROLE_DIM),
               hl_chart_notes(c, notes));
}

static void put_message(hl_canvas c, const char *text)
{
    const int w = hl_text_columns(c.grid, text), x = c.r.w > w ? (c.r.w - w) / 2 : 0;
    hl_put_cut(c, x, c.r.h / 2, c.r.w, role(HL_ROLE_DIM), text);
}

void hl_chart_draw(hl_canvas c, hl_chart *chart)
{
    layout l = {.all = c};
    hl_ticks y_ticks;
    hl_blank(c, 0, 0, c.r.w, c.r.h, role(HL_ROLE_TEXT));
    chart->plot = (hl_rect){0, 0, 0, 0};
    chart->shown_x = (hl_scale){0};
    if (c.r.w <= 0 || c.r.h <= 0)
        return;
    put_title(&l, chart);
    const hl_bucket b = visible(chart);
    if (b.n == 0 && !(chart->fixed_x && count_points(chart) > 0)) {
        put_message(c, "no points yet");
        return;
    }
    lay_out(&l, chart, &b, &y_ticks);
    if (l.plot.r.w <= 0 || l.plot.r.h <= 0)
        return;
    scale_x(&l, chart, &b);
    put_y_axis(&l, &y_ticks);
    put_x_axis(&l);
    hl_plot p;
    hl_plot_begin(&p, l.plot, &l.x, &l.y);
    put_marks(&l, chart);
    put_lines(chart, &p);
    hl_plot_end(&p);
    if (!l.has_y)
        put_message(l.plot, b.n == 0                ? "no points here"
                            : b.n_non_finite == b.n ? "no finite value"
                                                    : "no value > 0");
    put_signs(&l, chart, &p);
    for (int i = 0; i < chart->n_lines; i++)
        put_letter(&l, &p, &chart->line[i]);
    if (!put_legend(&l, &p, chart, chart->best) && chart->best != 0)
        put_legend(&l, &p, chart, 0);
}

/* ---- what is told about it ---- */

static void add_note(char buf[HL_CHART_NOTES_MAX], const char *name, const char *value)
{
    const size_t n = strlen(buf);
    snprintf(buf + n, HL_CHART_NOTES_MAX - n, "%s%s%s%s", n > 0 ? "  " : "", name,
             *value ? " " : "", value);
}

const char *hl_chart_notes(const hl_chart *chart, char buf[HL_CHART_NOTES_MAX])
{
    size_t n = 0, n_bad = 0, n_low = 0;
    for (int i = 0; i < chart->n_lines; i++) {
        const hl_bucket *b = hl_pyramid_total(chart->line[i].data);
        if (chart->line[i].is_replaced)
            continue;
        n += b->n;
        n_bad += b->n_non_finite;
        n_low += b->n_not_positive;
    }
    char text[HL_NUMBER_MAX];
    buf[0] = '\0';
    if (chart->log_x)
        add_note(buf, "log x", "");
    if (chart->log_y)
        add_note(buf, "log y", "");
    if (chart->symlog_y) {
        const double linear = chart->shown_y.linear;
        add_note(buf, "symlog y", linear > 0 ? hl_format_value(text, linear) : "");
    }
    if (chart->smoothing > 0 && chart->smoothing_by) {
        add_note(buf, chart->smoothing_by, hl_format_value(text, chart->smoothing));
    } else if (chart->smoothing > 0) {
        const int places = chart->smoothing > 0.99 ? 3 : 2;
        snprintf(text, sizeof text, "%.*f", places, fmin(chart->smoothing, 0.999));
        add_note(buf, "ema", text + 1); /* without its 0 */
    }
    if (n_bad > 0)
        add_note(buf, "nan", hl_format_count(text, (int64_t)n_bad));
    if (chart->log_y && n_low > 0)
        add_note(buf, "<=0", hl_format_count(text, (int64_t)n_low));
    if (chart->log_y && n > n_bad && n == n_bad + n_low)
        add_note(buf, "no value > 0", "");
    return buf;
}

double hl_chart_x_at(const hl_chart *chart, int column)
{
    const hl_scale *s = &chart->shown_x;
    const int at = column - chart->plot.x;
    if (!(s->lo < s->hi) || at < 0 || at >= chart->plot.w)
        return (double)NAN;
    return hl_scale_from(s, (at + 0.5) / chart->plot.w);
}

double hl_chart_y_at(const hl_chart *chart, int row)
{
    const hl_scale *s = &chart->shown_y;
    const int up = chart->plot.y + chart->plot.h - 1 - row;
    if (!(s->lo < s->hi) || up < 0 || up >= chart->plot.h)
        return (double)NAN;
    return hl_scale_from(s, (up + 0.5) / chart->plot.h);
}

int hl_chart_column(const hl_chart *chart, double x)
{
    const hl_scale *s = &chart->shown_x;
    if (!(s->lo < s->hi) || chart->plot.w <= 0 || isnan(x))
        return -1;
    const int at = hl_scale_cell(s, x, chart->plot.w);
    return at < 0 || at >= chart->plot.w ? -1 : chart->plot.x + at;
}
