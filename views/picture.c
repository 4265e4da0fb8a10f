#include "views/picture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/widgets/chart.h"
#include "views/widgets/gauge.h"
#include "views/widgets/heat.h"
#include "views/widgets/number.h"
#include "views/widgets/spark.h"

enum { DEPTH_MAX = 16, CHILDREN_MAX = 64, LINES_MAX = 8, HEAT_ROWS_MAX = 256, COLUMNS_MAX = 32 };

static const char *text_of(const hl_json *v, const char *key)
{
    return hl_json_str(hl_json_get(v, key), "");
}

static int number_of(const hl_json *v, const char *key, int otherwise)
{
    const double n = hl_json_num(hl_json_get(v, key), otherwise);
    return n >= 0 && n <= 10000 ? (int)n : otherwise;
}

static uint8_t role_of(const char *look)
{
    const int role = hl_role_find(look);
    return (uint8_t)(role < 0 ? HL_ROLE_TEXT : role);
}

static hl_style style_of(const char *look)
{
    return (hl_style){.role = role_of(look)};
}

/* ---- text ---- */

static void draw_lines(hl_canvas c, const hl_json *e, bool newest)
{
    const hl_json *lines = hl_json_get(e, "lines");
    const int n = hl_json_len(lines), skip = newest && n > c.r.h ? n - c.r.h : 0;
    int i = 0;
    for (const hl_json *l = hl_json_at(lines, 0); l && i - skip < c.r.h; l = hl_json_next(l), i++)
        if (i >= skip)
            hl_put_cut(c, 0, i - skip, c.r.w, style_of(text_of(e, "look")), hl_json_str(l, ""));
}

static void draw_text(hl_canvas c, const hl_json *e)
{
    draw_lines(c, e, false);
}

static void draw_log(hl_canvas c, const hl_json *e)
{
    draw_lines(c, e, true);
}

static void draw_gauge(hl_canvas c, const hl_json *e)
{
    hl_gauge_draw(c, HL_STYLE(LIVE), hl_json_num(hl_json_get(e, "value"), NAN),
                  *text_of(e, "text") ? text_of(e, "text") : NULL);
}

/* ---- tables ---- */

static const char *cell_text(const hl_json *cell)
{
    return hl_json_str(hl_json_is_array(cell) ? hl_json_at(cell, 0) : cell, "");
}

static void measure(const hl_grid *g, const hl_json *row, int width[COLUMNS_MAX])
{
    int i = 0;
    for (const hl_json *v = hl_json_at(row, 0); v && i < COLUMNS_MAX; v = hl_json_next(v), i++) {
        const int w = hl_text_columns(g, cell_text(v));
        width[i] = w > width[i] ? w : width[i];
    }
}

static void put_row(hl_canvas c, const hl_json *row, const int width[COLUMNS_MAX], hl_style s)
{
    int x = 0, i = 0;
    for (const hl_json *v = hl_json_at(row, 0); v && i < COLUMNS_MAX && x < c.r.w;
         v = hl_json_next(v), i++) {
        const int room = width[i] < c.r.w - x ? width[i] : c.r.w - x;
        const bool right = hl_json_bool(hl_json_at(v, 1), false);
        const int pad = right ? room - hl_text_columns(c.grid, cell_text(v)) : 0;
        hl_put_cut(c, x + (pad > 0 ? pad : 0), 0, room, s, cell_text(v));
        x += width[i] + 2;
    }
}

static void draw_table(hl_canvas c, const hl_json *e)
{
    const hl_json *head = hl_json_get(e, "head"), *rows = hl_json_get(e, "rows");
    int width[COLUMNS_MAX] = {0}, y = hl_json_len(head) > 0, k = y;
    measure(c.grid, head, width);
    for (const hl_json *r = hl_json_at(rows, 0); r && k < c.r.h; r = hl_json_next(r), k++)
        measure(c.grid, r, width);
    if (y)
        put_row(hl_canvas_part(c, 0, 0, c.r.w, 1), head, width, HL_STYLE(DIM));
    for (const hl_json *r = hl_json_at(rows, 0); r && y < c.r.h; r = hl_json_next(r), y++)
        put_row(hl_canvas_part(c, 0, y, c.r.w, 1), r, width, HL_STYLE(TEXT));
}

/* ---- bars and histograms ---- */

static void draw_bars(hl_canvas c, const hl_json *e)
{
    const hl_json *bars = hl_json_get(e, "bars");
    double most = 0;
    int names = 0, y = 0;
    for (const hl_json *b = hl_json_at(bars, 0); b; b = hl_json_next(b)) {
        const double v = fabs(hl_json_num(hl_json_at(b, 1), NAN));
        const int w = hl_text_columns(c.grid, cell_text(b));
        most = v > most && isfinite(v) ? v : most;
        names = w > names ? w : names;
    }
    names = names > c.r.w / 3 ? c.r.w / 3 : names;
    for (const hl_json *b = hl_json_at(bars, 0); b && y < c.r.h; b = hl_json_next(b), y++) {
        const double v = hl_json_num(hl_json_at(b, 1), NAN);
        char text[HL_NUMBER_MAX];
        hl_put_cut(c, 0, y, names, HL_STYLE(TEXT), cell_text(b));
        hl_gauge_draw(hl_canvas_part(c, names + 1, y, c.r.w - names - 1, 1),
                      v < 0 ? HL_STYLE(BAD) : HL_STYLE(SERIES),
                      isfinite(v) ? fabs(v) / (most > 0 ? most : 1) : (double)NAN,
                      hl_format_value(text, v));
    }
}

static double count_of(double n, bool log)
{
    n = n > 0 ? n : 0;
    return log ? log1p(n) : n;
}

/* Bins of a column: those that begin in it, or the one that covers it. */
static double column_count(const hl_json *counts, int n, int column, int w)
{
    const int from = (int)((int64_t)column * n / w);
    int to = (int)((int64_t)(column + 1) * n / w);
    double sum = 0;
    to = to > from ? to : from + 1;
    for (int i = from; i < to; i++)
        sum += hl_json_num(hl_json_at(counts, i), 0);
    return sum;
}

static void draw_hist(hl_canvas c, const hl_json *e)
{
    enum { EIGHTHS = 8 };
    const hl_json *counts = hl_json_get(e, "counts");
    const bool log = strcmp(text_of(e, "scale"), "log") == 0;
    const int n = hl_json_len(counts), h = c.r.h - 1;
    char lo[HL_NUMBER_MAX], hi[HL_NUMBER_MAX];
    double most = 0;
    if (n == 0 || h < 1 || c.r.w < 1)
        return;
    for (int x = 0; x < c.r.w; x++) {
        const double v = count_of(column_count(counts, n, x, c.r.w), log);
        most = v > most ? v : most;
    }
    for (int x = 0; x < c.r.w && most > 0; x++) {
        const double v = count_of(column_count(counts, n, x, c.r.w), log);
        int level = (int)(v / most * h * EIGHTHS + .5);
        level = v > 0 && level == 0 ? 1 : level; /* a single count is visible */
        for (int y = h - 1; y >= 0 && level > 0; y--, level -= EIGHTHS)
            hl_put_char(c, x, y, HL_STYLE(SERIES),
                        hl_bar_char(c.grid, level > EIGHTHS ? EIGHTHS : level));
    }
    hl_put(c, 0, h, HL_STYLE(DIM), hl_format_value(lo, hl_json_num(hl_json_get(e, "lo"), 0)));
    hl_put_right(c, c.r.w, h, HL_STYLE(DIM),
                 hl_format_value(hi, hl_json_num(hl_json_get(e, "hi"), 0)));
}

/* ---- charts ---- */

/* Two lists of numbers as points; NULL without memory. */
static hl_pyramid *points_of(const hl_json *x, const hl_json *y)
{
    hl_pyramid *p = hl_pyramid_new();
    const hl_json *vx = hl_json_at(x, 0), *vy = hl_json_at(y, 0);
    for (double i = 1; p && vy; vy = hl_json_next(vy), vx = vx ? hl_json_next(vx) : NULL, i++)
        if (hl_pyramid_push(p, vx ? hl_json_num(vx, i) : i, hl_json_num(vy, NAN)) != HL_OK)
            break;
    return p;
}

static void draw_line(hl_canvas c, const hl_json *e)
{
    hl_pyramid *points[LINES_MAX] = {0};
    hl_chart_line line[LINES_MAX] = {0};
    int n = 0;
    bool any = false;
    for (const hl_json *l = hl_json_at(hl_json_get(e, "lines"), 0); l && n < LINES_MAX;
         l = hl_json_next(l)) {
        points[n] = points_of(hl_json_get(l, "x"), hl_json_get(l, "y"));
        if (!points[n])
            break;
        any |= hl_pyramid_n(points[n]) > 0;
        line[n] = (hl_chart_line){.data = points[n],
                                  .name = *text_of(l, "name") ? text_of(l, "name") : NULL,
                                  .role = (uint8_t)(HL_ROLE_SERIES + n % HL_SERIES_ROLES)};
        n++;
    }
    hl_chart chart = {.title = *text_of(e, "title") ? text_of(e, "title") : NULL,
                      .line = line,
                      .n_lines = n,
                      .log_x = strcmp(text_of(e, "xscale"), "log") == 0,
                      .log_y = strcmp(text_of(e, "yscale"), "log") == 0};
    hl_chart_draw(c, &chart);
    if (!any && c.r.h > 2)
        hl_put_cut(c, c.r.w > 24 ? 8 : 0, c.r.h / 2, c.r.w, HL_STYLE(DIM), "nothing yet");
    for (int i = 0; i < n; i++)
        hl_pyramid_free(points[i]);
}

static void draw_heat(hl_canvas c, const hl_json *e)
{
    static const char *const nameless = "";
    hl_pyramid *points[HEAT_ROWS_MAX];
    hl_heat_row row[HEAT_ROWS_MAX];
    char label[HEAT_ROWS_MAX][24];
    int n = 0;
    const hl_json *names = hl_json_get(e, "names"), *name = hl_json_at(names, 0);
    for (const hl_json *v = hl_json_at(hl_json_get(e, "values"), 0); v && n < HEAT_ROWS_MAX;
         v = hl_json_next(v), name = name ? hl_json_next(name) : NULL) {
        points[n] = points_of(hl_json_get(e, "x"), v);
        if (!points[n])
            break;
        snprintf(label[n], sizeof label[n], "%.16s", hl_json_str(name, nameless));
        if (!name)
            snprintf(label[n], sizeof label[n], "%.12s %d", text_of(e, "rows"), n + 1);
        row[n] = (hl_heat_row){.label = label[n], .data = points[n]};
        n++;
    }
    hl_heat heat = {.row = row,
                    .n_rows = n,
                    .cursor_row = -1,
                    .linear = strcmp(text_of(e, "scale"), "log") != 0};
    if (n)
        hl_heat_draw(c, &heat);
    else
        hl_put_cut(c, 0, 0, c.r.w, HL_STYLE(DIM), "nothing yet");
    for (int i = 0; i < n; i++)
        hl_pyramid_free(points[i]);
}

/* ---- the canvas ---- */

static int at(const hl_json *stroke, int i)
{
    return (int)hl_json_int(hl_json_at(stroke, i), 0);
}

static void put_fill(hl_canvas c, const hl_json *s)
{
    int x = at(s, 1) - 1, y = at(s, 2) - 1, x_end = x + at(s, 3), y_end = y + at(s, 4);
    const char *text = hl_json_str(hl_json_at(s, 5), " ");
    uint32_t ch = ' ';
    if (!hl_utf8_next(text, strlen(text), &ch) || hl_char_columns(c.grid, ch) != 1 ||
        (ch > 126 && !hl_is_utf8(&c)))
        ch = ch > 126 ? '#' : ' ';
    x = x < 0 ? 0 : x;
    y = y < 0 ? 0 : y;
    x_end = x_end > c.r.w ? c.r.w : x_end;
    y_end = y_end > c.r.h ? c.r.h : y_end;
    for (; y < y_end; y++)
        for (int k = x; k < x_end; k++)
            hl_put_char(c, k, y, style_of(hl_json_str(hl_json_at(s, 6), "")), ch);
}

/* One cell for each column, or row where it is steep, of the part inside. */
static void put_line(hl_canvas c, const hl_json *s)
{
    double a = at(s, 1) - 1, b = at(s, 2) - 1, a_end = at(s, 3) - 1, b_end = at(s, 4) - 1;
    const bool steep = fabs(b_end - b) > fabs(a_end - a);
    const bool straight = a == a_end || b == b_end;
    const hl_style style = style_of(hl_json_str(hl_json_at(s, 5), ""));
    if (steep) {
        double t = a;
        a = b, b = t;
        t = a_end, a_end = b_end, b_end = t;
    }
    if (a > a_end) {
        double t = a;
        a = a_end, a_end = t;
        t = b, b = b_end, b_end = t;
    }
    const double slope = a_end > a ? (b_end - b) / (a_end - a) : 0;
    const int limit = steep ? c.r.h : c.r.w, last = a_end < limit - 1 ? (int)a_end : limit - 1;
    for (int k = a > 0 ? (int)a : 0; k <= last; k++) {
        const int other = (int)floor(b + slope * (k - a) + .5);
        const hl_sign sign = steep ? HL_SIGN_V_LIGHT : HL_SIGN_H_LIGHT;
        if (straight)
            hl_put_sign(c, steep ? other : k, steep ? k : other, style, sign);
        else
            hl_put_char(c, steep ? other : k, steep ? k : other, style, '*');
    }
}

static void draw_canvas(hl_canvas c, const hl_json *e)
{
    for (const hl_json *s = hl_json_at(hl_json_get(e, "strokes"), 0); s; s = hl_json_next(s)) {
        const char *kind = hl_json_str(hl_json_at(s, 0), "");
        if (strcmp(kind, "fill") == 0)
            put_fill(c, s);
        else if (strcmp(kind, "line") == 0)
            put_line(c, s);
        else
            hl_put(c, at(s, 1) - 1, at(s, 2) - 1, style_of(hl_json_str(hl_json_at(s, 4), "")),
                   hl_json_str(hl_json_at(s, 3), ""));
    }
}

/* ---- layout ---- */

static void draw_element(hl_canvas c, const hl_json *e, int depth);

/* Cells that a child asks for along its parent; 0: a share of what is left. */
static int wanted(const hl_json *e, bool rows)
{
    const char *kind = text_of(e, "element");
    const int given = number_of(e, rows ? "height" : "width", 0), title = *text_of(e, "title") != 0;
    if (given || !rows)
        return given;
    if (strcmp(kind, "gauge") == 0)
        return 1 + title;
    if (strcmp(kind, "text") == 0 || strcmp(kind, "tree") == 0)
        return hl_json_len(hl_json_get(e, "lines")) + title;
    return 0;
}

static void draw_children(hl_canvas c, const hl_json *e, bool rows, int depth)
{
    const hl_json *children = hl_json_get(e, "children");
    const int gap = rows ? 0 : 1;
    int cells[CHILDREN_MAX], n = 0, shares = 0, left = rows ? c.r.h : c.r.w;
    for (const hl_json *k = hl_json_at(children, 0); k && n < CHILDREN_MAX; k = hl_json_next(k)) {
        cells[n] = wanted(k, rows);
        shares += cells[n] == 0;
        left -= cells[n++];
    }
    left -= gap * (n - 1);
    int from = 0, i = 0;
    for (const hl_json *k = hl_json_at(children, 0); k && i < n; k = hl_json_next(k), i++) {
        int size = cells[i];
        if (size == 0 && shares > 0) {
            size = left > 0 ? left / shares : 0;
            left -= size;
            shares--;
        }
        draw_element(rows ? hl_canvas_part(c, 0, from, c.r.w, size)
                          : hl_canvas_part(c, from, 0, size, c.r.h),
                     k, depth + 1);
        from += size + gap;
    }
}

static void draw_element(hl_canvas c, const hl_json *e, int depth)
{
    static const struct {
        const char *kind;
        void (*draw)(hl_canvas c, const hl_json *e);
    } kinds[] = {{"line", draw_line},    {"bars", draw_bars},   {"hist", draw_hist},
                 {"heat", draw_heat},    {"table", draw_table}, {"text", draw_text},
                 {"tree", draw_text},    {"log", draw_log},     {"gauge", draw_gauge},
                 {"canvas", draw_canvas}};
    const char *kind = text_of(e, "element"), *title = text_of(e, "title");
    if (c.r.w < 1 || c.r.h < 1 || depth > DEPTH_MAX)
        return;
    if (*title && strcmp(kind, "line") != 0) { /* a chart has its own first row */
        hl_put_cut(c, 0, 0, c.r.w, HL_STYLE(TITLE), title);
        c = hl_canvas_part(c, 0, 1, c.r.w, c.r.h - 1);
    }
    if (strcmp(kind, "rows") == 0 || strcmp(kind, "cols") == 0)
        draw_children(c, e, *kind == 'r', depth);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kind, kinds[i].kind) == 0)
            kinds[i].draw(c, e);
}

static int rows_of(const hl_json *e, int share, int depth)
{
    const char *kind = text_of(e, "element");
    const bool below = strcmp(kind, "rows") == 0, beside = strcmp(kind, "cols") == 0;
    int n = wanted(e, true), most = 0, sum = 0;
    if (n > 0 || depth > DEPTH_MAX)
        return n;
    for (const hl_json *k = hl_json_at(hl_json_get(e, "children"), 0); k; k = hl_json_next(k)) {
        n = rows_of(k, share, depth + 1);
        sum += n;
        most = n > most ? n : most;
    }
    if (below || beside)
        return (below ? sum : most) + (*text_of(e, "title") != 0);
    if (strcmp(kind, "table") == 0)
        return hl_json_len(hl_json_get(e, "rows")) + (hl_json_len(hl_json_get(e, "head")) > 0) +
               (*text_of(e, "title") != 0);
    if (strcmp(kind, "bars") == 0)
        return hl_json_len(hl_json_get(e, "bars")) + (*text_of(e, "title") != 0);
    return share;
}

int hl_picture_rows(const hl_json *element, int share)
{
    return rows_of(element, share, 0);
}

void hl_picture_draw(hl_canvas c, const hl_json *element)
{
    draw_element(c, element, 0);
}
