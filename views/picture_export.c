/* A picture from a script as it leaves the screen: its data as CSV, itself as letters or drawn. */
#include <math.h>
#include <string.h>

#include "app/hl_app.h"
#include "views/picture.h"
#include "views/screenshot.h"

enum { DEPTH_MAX = 16 };

static const char *text_of(const hl_json *v, const char *key)
{
    return hl_json_str(hl_json_get(v, key), "");
}

/* ---- as numbers ---- */

static void put_number(hl_str *out, const hl_json *v)
{
    const double x = hl_json_num(v, NAN);
    if (isfinite(x))
        hl_str_addf(out, "%.9g", x);
    else
        hl_str_add(out, isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
}

static void put_end(hl_str *out)
{
    hl_str_add(out, "\r\n");
}

static void put_line(const hl_json *e, hl_str *out)
{
    int i = 0;
    hl_str_add(out, "line,x,y\r\n");
    for (const hl_json *l = hl_json_at(hl_json_get(e, "lines"), 0); l; l = hl_json_next(l)) {
        const hl_json *x = hl_json_at(hl_json_get(l, "x"), 0);
        i++;
        for (const hl_json *y = hl_json_at(hl_json_get(l, "y"), 0); y; y = hl_json_next(y)) {
            if (*text_of(l, "name"))
                hl_str_add_csv(out, text_of(l, "name"));
            else
                hl_str_addf(out, "%d", i);
            hl_str_addc(out, ',');
            put_number(out, x);
            hl_str_addc(out, ',');
            put_number(out, y);
            put_end(out);
            x = x ? hl_json_next(x) : NULL;
        }
    }
}

static void put_bars(const hl_json *e, hl_str *out)
{
    hl_str_add(out, "name,value\r\n");
    for (const hl_json *b = hl_json_at(hl_json_get(e, "bars"), 0); b; b = hl_json_next(b)) {
        hl_str_add_csv(out, hl_json_str(hl_json_at(b, 0), ""));
        hl_str_addc(out, ',');
        put_number(out, hl_json_at(b, 1));
        put_end(out);
    }
}

static void put_hist(const hl_json *e, hl_str *out)
{
    const hl_json *counts = hl_json_get(e, "counts");
    const double lo = hl_json_num(hl_json_get(e, "lo"), 0),
                 hi = hl_json_num(hl_json_get(e, "hi"), 0);
    const int n = hl_json_len(counts);
    int i = 0;
    hl_str_add(out, "from,to,count\r\n");
    for (const hl_json *v = hl_json_at(counts, 0); v; v = hl_json_next(v), i++) {
        hl_str_addf(out, "%.9g,%.9g,", lo + (hi - lo) * i / n, lo + (hi - lo) * (i + 1) / n);
        put_number(out, v);
        put_end(out);
    }
}

/* A line for each cell: rows may differ in length. */
static void put_heat(const hl_json *e, hl_str *out)
{
    const hl_json *name = hl_json_at(hl_json_get(e, "names"), 0);
    int i = 0;
    hl_str_add_csv(out, text_of(e, "rows"));
    hl_str_addc(out, ',');
    hl_str_add_csv(out, text_of(e, "cols"));
    hl_str_add(out, ",value\r\n");
    for (const hl_json *row = hl_json_at(hl_json_get(e, "values"), 0); row;
         row = hl_json_next(row), name = name ? hl_json_next(name) : NULL) {
        const hl_json *x = hl_json_at(hl_json_get(e, "x"), 0);
        int k = 0;
        i++;
        for (const hl_json *v = hl_json_at(row, 0); v; v = hl_json_next(v)) {
            if (name)
                hl_str_add_csv(out, hl_json_str(name, ""));
            else
                hl_str_addf(out, "%d", i);
            hl_str_addf(out, ",%.9g,", hl_json_num(x, ++k));
            put_number(out, v);
            put_end(out);
            x = x ? hl_json_next(x) : NULL;
        }
    }
}

static void put_cells(const hl_json *row, hl_str *out)
{
    bool is_first = true;
    for (const hl_json *v = hl_json_at(row, 0); v; v = hl_json_next(v), is_first = false) {
        hl_str_add(out, is_first ? "" : ",");
        hl_str_add_csv(out, hl_json_str(hl_json_is_array(v) ? hl_json_at(v, 0) : v, ""));
    }
    put_end(out);
}

static void put_table(const hl_json *e, hl_str *out)
{
    if (hl_json_len(hl_json_get(e, "head")) > 0)
        put_cells(hl_json_get(e, "head"), out);
    for (const hl_json *r = hl_json_at(hl_json_get(e, "rows"), 0); r; r = hl_json_next(r))
        put_cells(r, out);
}

static void put_text(const hl_json *e, hl_str *out)
{
    hl_str_add(out, "text\r\n");
    for (const hl_json *l = hl_json_at(hl_json_get(e, "lines"), 0); l; l = hl_json_next(l)) {
        hl_str_add_csv(out, hl_json_str(l, ""));
        put_end(out);
    }
}

static void put_gauge(const hl_json *e, hl_str *out)
{
    hl_str_add(out, "value,text\r\n");
    put_number(out, hl_json_get(e, "value"));
    hl_str_addc(out, ',');
    hl_str_add_csv(out, text_of(e, "text"));
    put_end(out);
}

/* What a canvas says is its texts. */
static void put_canvas(const hl_json *e, hl_str *out)
{
    hl_str_add(out, "x,y,text\r\n");
    for (const hl_json *s = hl_json_at(hl_json_get(e, "strokes"), 0); s; s = hl_json_next(s)) {
        if (strcmp(hl_json_str(hl_json_at(s, 0), ""), "text") != 0)
            continue;
        put_number(out, hl_json_at(s, 1));
        hl_str_addc(out, ',');
        put_number(out, hl_json_at(s, 2));
        hl_str_addc(out, ',');
        hl_str_add_csv(out, hl_json_str(hl_json_at(s, 3), ""));
        put_end(out);
    }
}

/* A part for each element, "# kind: title" above it, an empty line between two. */
static void put_element(const hl_json *e, int depth, hl_str *out)
{
    static const struct {
        const char *kind;
        void (*put)(const hl_json *e, hl_str *out);
    } kinds[] = {{"line", put_line},    {"bars", put_bars},   {"hist", put_hist},
                 {"heat", put_heat},    {"table", put_table}, {"text", put_text},
                 {"tree", put_text},    {"log", put_text},    {"gauge", put_gauge},
                 {"canvas", put_canvas}};
    const char *kind = text_of(e, "element"), *title = text_of(e, "title");
    if (depth > DEPTH_MAX)
        return;
    for (const hl_json *k = hl_json_at(hl_json_get(e, "children"), 0); k; k = hl_json_next(k))
        put_element(k, depth + 1, out);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kind, kinds[i].kind) != 0)
            continue;
        hl_str_addf(out, "%s# %s%s", out->n ? "\r\n" : "", kind, *title ? ": " : "");
        hl_text_add_clean(out, title);
        put_end(out);
        kinds[i].put(e, out);
    }
}

/* ---- as a picture ---- */

hl_status hl_picture_export(const hl_json *element, const hl_picture_form *form, hl_str *out)
{
    hl_grid g = {.glyphs = form->glyphs, .wide_ambiguous = form->wide_ambiguous};
    if (strcmp(form->what, "csv") == 0) {
        put_element(element, 0, out);
        return hl_str_status(out);
    }
    if (strcmp(form->what, "json") == 0) {
        hl_json_add_value(out, element);
        return hl_str_status(out);
    }
    hl_status st = hl_grid_resize(&g, form->cols, form->rows);
    if (st == HL_OK) {
        const hl_rect all = {0, 0, g.cols, g.rows};
        hl_picture_draw(hl_grid_canvas(&g), element);
        st = hl_screenshot(&g, all, form->look, form->what, out);
    }
    hl_grid_done(&g);
    return st;
}
