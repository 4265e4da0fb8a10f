#include "app/export/study.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "app/export/export.h"
#include "app/export/line_chart.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

enum { FIGURE_W = 640, FIGURE_H = 400 };

static hl_status check_name(const char *name)
{
    size_t n = 0;
    while (isalnum((unsigned char)name[n]) || name[n] == '_' || name[n] == '-')
        n++;
    return n > 0 && n <= 100 && !name[n]
               ? HL_OK
               : hl_err_set(HL_E_ARG,
                            "'%s' is no name of a table or figure: up to 100 letters, digits, _ "
                            "and -",
                            name);
}

/* <run_dir>/<folder>/<name>.<extension> with these bytes. */
static hl_status put_as(const char *run_dir, const char *folder, const char *name,
                        const char *extension, const hl_str *bytes)
{
    hl_str file = {0};
    hl_str_addf(&file, "%s.%s", name, extension);
    char *dir = hl_fs_join(run_dir, folder),
         *path = dir && hl_str_status(&file) == HL_OK ? hl_fs_join(dir, file.s) : NULL;
    hl_status st = path ? hl_fs_make_dir(dir) : HL_E_NOMEM;
    if (st == HL_OK)
        st = hl_fs_write_atomic(path, bytes->s, bytes->n);
    hl_free(path);
    hl_free(dir);
    hl_str_done(&file);
    return st;
}

/* ---- tables ---- */

static void add_cell(hl_str *b, const hl_json *v)
{
    hl_str text = {0};
    if (hl_json_is_string(v))
        hl_str_add(&text, hl_json_str(v, ""));
    else
        hl_json_add_value(&text, v);
    hl_str_add_csv(b, hl_str_text(&text));
    hl_str_done(&text);
}

static void add_line(hl_str *b, const hl_json *cells)
{
    for (const hl_json *c = hl_json_at(cells, 0); c; c = hl_json_next(c)) {
        if (c != hl_json_at(cells, 0))
            hl_str_addc(b, ',');
        add_cell(b, c);
    }
    hl_str_add(b, "\r\n");
}

hl_status hl_study_put_table(const char *run_dir, const char *name, const char *object)
{
    hl_status st = HL_OK;
    hl_json *t = NULL;
    hl_str csv = {0};
    HL_TRY(check_name(name));
    HL_TRY(hl_json_parse(object, strlen(object), &t));
    add_line(&csv, hl_json_get(t, "columns"));
    for (const hl_json *r = hl_json_at(hl_json_get(t, "rows"), 0); r; r = hl_json_next(r))
        add_line(&csv, r);
    HL_TRY(hl_str_status(&csv));
    HL_TRY(put_as(run_dir, "tables", name, "csv", &csv));
out:
    hl_json_free(t);
    hl_str_done(&csv);
    return st;
}

/* ---- figures ---- */

/* The numbers of a list; *n is set by the first list of a series and asked for of the others. */
static hl_status read_numbers(const hl_json *series, const char *key, size_t *n, double **out)
{
    const hl_json *list = hl_json_get(series, key);
    const size_t length = (size_t)hl_json_len(list);
    *out = NULL;
    if (!list && *n)
        return HL_OK; /* only a band is left out */
    if (!list || (*n && length != *n))
        return hl_err_set(HL_E_ARG, "series '%s' of a figure: '%s' has %zu numbers, not %zu",
                          hl_json_str(hl_json_get(series, "name"), "?"), key, length, *n);
    *n = length;
    *out = hl_alloc((length + 1) * sizeof **out);
    if (!*out)
        return HL_E_NOMEM;
    size_t i = 0;
    for (const hl_json *v = hl_json_at(list, 0); v; v = hl_json_next(v))
        (*out)[i++] = hl_json_num(v, nan(""));
    return HL_OK;
}

typedef struct numbers {
    double *x, *y, *low, *high;
} numbers;

static hl_status read_series(const hl_json *v, numbers *own, hl_line_series *s)
{
    hl_status st = HL_OK;
    size_t n = 0;
    HL_TRY(read_numbers(v, "x", &n, &own->x));
    HL_TRY(read_numbers(v, "y", &n, &own->y));
    if (n && !own->y)
        HL_FAIL(HL_E_ARG, "series '%s' of a figure has no 'y'",
                hl_json_str(hl_json_get(v, "name"), "?"));
    HL_TRY(read_numbers(v, "low", &n, &own->low));
    HL_TRY(read_numbers(v, "high", &n, &own->high));
    *s = (hl_line_series){.name = hl_json_str(hl_json_get(v, "name"), ""),
                          .x = own->x,
                          .y = own->y,
                          .low = own->high ? own->low : NULL,
                          .high = own->low ? own->high : NULL,
                          .n = n,
                          .dots = hl_json_bool(hl_json_get(v, "dots"), false)};
out:
    return st;
}

hl_status hl_study_draw(const hl_json *figure, hl_paper *paper, hl_box box)
{
    hl_status st = HL_OK;
    const hl_json *list = hl_json_get(figure, "series");
    const size_t n = (size_t)hl_json_len(list);
    size_t i = 0;
    numbers *own = hl_alloc_zero(n + 1, sizeof *own);
    hl_line_series *series = hl_alloc_zero(n + 1, sizeof *series);
    if (!own || !series)
        HL_TRY(HL_E_NOMEM);
    for (const hl_json *v = hl_json_at(list, 0); v; v = hl_json_next(v), i++)
        HL_TRY(read_series(v, &own[i], &series[i]));
    const hl_line_chart chart = {.title = hl_json_str(hl_json_get(figure, "title"), ""),
                                 .x_label = hl_json_str(hl_json_get(figure, "x"), ""),
                                 .y_label = hl_json_str(hl_json_get(figure, "y"), ""),
                                 .log = hl_json_bool(hl_json_get(figure, "log_y"), false),
                                 .log_x = hl_json_bool(hl_json_get(figure, "log_x"), false),
                                 .series = series,
                                 .n_series = n};
    HL_TRY(hl_line_chart_draw(&chart, paper, box));
out:
    for (i = 0; own && i < n; i++) {
        hl_free(own[i].x);
        hl_free(own[i].y);
        hl_free(own[i].low);
        hl_free(own[i].high);
    }
    hl_free(own);
    hl_free(series);
    return st;
}

static hl_status put_picture(const char *run_dir, const char *name, const hl_json *figure,
                             const char *kind)
{
    hl_status st = HL_OK;
    hl_paper *paper = NULL;
    hl_str bytes = {0};
    HL_TRY(strcmp(kind, "svg") == 0 ? hl_paper_svg_new(FIGURE_W, FIGURE_H, &paper)
                                    : hl_paper_png_new(1.5 * FIGURE_W, 1.5 * FIGURE_H, &paper));
    const double size = strcmp(kind, "svg") == 0 ? 1 : 1.5;
    HL_TRY(hl_study_draw(figure, paper, (hl_box){0, 0, size * FIGURE_W, size * FIGURE_H}));
    HL_TRY(hl_paper_finish(paper, &bytes));
    HL_TRY(put_as(run_dir, "figures", name, kind, &bytes));
out:
    hl_paper_free(paper);
    hl_str_done(&bytes);
    return st;
}

hl_status hl_study_put_figure(const char *run_dir, const char *name, const char *object)
{
    hl_status st = HL_OK;
    hl_json *figure = NULL;
    hl_str text = {0};
    HL_TRY(check_name(name));
    HL_TRY(hl_json_parse(object, strlen(object), &figure));
    hl_str_add(&text, object);
    HL_TRY(hl_str_status(&text));
    HL_TRY(put_picture(run_dir, name, figure, "svg"));
    st = put_picture(run_dir, name, figure, "png");
    if (st == HL_E_UNSUPPORTED)
        st = HL_OK;
    HL_TRY(st);
    HL_TRY(put_as(run_dir, "figures", name, "json", &text));
out:
    hl_json_free(figure);
    hl_str_done(&text);
    return st;
}
