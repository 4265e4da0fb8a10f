/* One HTML page, self-contained: no script, no other file, readable without colours. */
#include <stdio.h>
#include <string.h>

#include "app/export/export.h"
#include "app/export/study.h"
#include "app/store/run_dir.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

/* The series a page shows when none are asked for, as far as the runs have them. */
static const char *const main_tags[] = {"train/loss", "eval/loss",         "eval/accuracy",
                                        "eval/ppl",   "eval/bpb",          "train/grad_norm",
                                        "train/lr",   "eval/max_inf_norm", "eval/avg_kurtosis"};
enum { CHART_W = 640, CHART_H = 400 };

static const char style[] =
    "body{font:15px/1.5 system-ui,'DejaVu Sans',sans-serif;margin:2em auto;max-width:1340px;"
    "padding:0 1em;color:#222}\nh1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em}\n"
    "table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right;"
    "border-bottom:1px solid #ddd;vertical-align:top}\ntd:first-child,th:first-child{"
    "text-align:left}thead th{border-bottom:2px solid #222}\n.charts{display:flex;flex-wrap:wrap;"
    "gap:1em}figure{margin:0;max-width:640px}svg{max-width:100%;height:auto}\ntd.differs{"
    "background:#fff3d6}\n"
    "@media print{details{display:block}}\n";

static void add_cell(hl_str *b, const char *tag, const char *text)
{
    hl_str_addf(b, "<%s>", tag);
    hl_text_add_xml(b, text);
    hl_str_addf(b, "</%.2s>", tag);
}

/* First column empty, then the runs. */
static hl_status add_head(const hl_export *e, hl_str *b)
{
    hl_str_add(b, "<table><thead><tr><th></th>");
    for (size_t i = 0; i < e->n_runs; i++) {
        char *name = hl_export_run_name(e, i);
        if (!name)
            return HL_E_NOMEM;
        add_cell(b, "th", name);
        hl_free(name);
    }
    hl_str_add(b, "</tr></thead><tbody>\n");
    return HL_OK;
}

/* ---- charts ---- */

/* Identifiers are those of the whole page. */
static void add_svg(hl_str *b, const char *svg)
{
    for (const char *p = svg; *p;) {
        const char *next = strstr(p, "\"c1\""), *use = strstr(p, "#c1)");
        const char *at = !next ? use : !use ? next : next < use ? next : use;
        if (!at) {
            hl_str_add(b, p);
            break;
        }
        hl_str_addn(b, p, (size_t)(at - p));
        hl_str_addf(b, at == next ? "\"c%zu\"" : "#c%zu)", b->n);
        p = at + 4;
    }
}

static hl_status add_chart(const hl_export *e, const char *tag, hl_str *b)
{
    hl_status st = HL_OK;
    hl_paper *paper = NULL;
    hl_str svg = {0};
    HL_TRY(hl_paper_svg_new(CHART_W, CHART_H, &paper));
    HL_TRY(hl_export_chart(e, tag, paper, (hl_box){0, 0, CHART_W, CHART_H}));
    HL_TRY(hl_paper_finish(paper, &svg));
    add_svg(b, svg.s);
out:
    hl_paper_free(paper);
    hl_str_done(&svg);
    return st;
}

/* ---- figures and tables of studies ---- */

/* What the caller drew: views of scripts. */
static void add_given(const hl_export *e, hl_str *b)
{
    if (e->n_figures)
        hl_str_add(b, "<h2>Views</h2>\n<div class=\"charts\">\n");
    for (size_t i = 0; i < e->n_figures; i++) {
        hl_str_add(b, "<figure>\n");
        add_svg(b, e->figures[i].svg);
        hl_str_add(b, "<figcaption>");
        hl_text_add_xml(b, e->figures[i].title);
        hl_str_add(b, "</figcaption></figure>\n");
    }
    hl_str_add(b, e->n_figures ? "</div>\n" : "");
}

static hl_status add_figure(const char *dir, const char *file, hl_str *b)
{
    hl_status st = HL_OK;
    hl_json *figure = NULL;
    hl_paper *paper = NULL;
    hl_str svg = {0}, path = {0};
    hl_str_addf(&path, "figures/%s", file);
    HL_TRY(hl_str_status(&path));
    HL_TRY(hl_run_dir_read_json(dir, path.s, &figure));
    HL_TRY(hl_paper_svg_new(CHART_W, CHART_H, &paper));
    HL_TRY(hl_study_draw(figure, paper, (hl_box){0, 0, CHART_W, CHART_H}));
    HL_TRY(hl_paper_finish(paper, &svg));
    hl_str_add(b, "<figure>\n");
    add_svg(b, svg.s);
    hl_str_add(b, "<figcaption>");
    hl_text_add_xml(b, hl_json_str(hl_json_get(figure, "caption"), ""));
    hl_str_add(b, "</figcaption></figure>\n");
out:
    hl_json_free(figure);
    hl_paper_free(paper);
    hl_str_done(&svg);
    hl_str_done(&path);
    return st;
}

static hl_status add_figures(const hl_run *run, hl_str *b)
{
    hl_status st = HL_OK;
    hl_fs_list files = {0};
    const char *dir = hl_run_get_row(run)->dir;
    char *folder = hl_run_dir_path(dir, "figures");
    if (!folder)
        return HL_E_NOMEM;
    if (!hl_fs_is_dir(folder))
        goto out;
    HL_TRY(hl_fs_list_dir(folder, &files));
    hl_str_add(b, "<h2>Figures</h2>\n<div class=\"charts\">\n");
    for (size_t i = 0; i < files.n; i++)
        if (hl_str_ends(files.name[i], ".json"))
            HL_TRY(add_figure(dir, files.name[i], b));
    hl_str_add(b, "</div>\n");
out:
    hl_fs_list_free(&files);
    hl_free(folder);
    return st;
}

static hl_status add_forecast(hl_run *run, hl_str *b)
{
    hl_status st = HL_OK;
    hl_str svg = {0};
    hl_run *const one[] = {run};
    const hl_export e = {.runs = one, .n_runs = 1};
    if (!hl_export_has_forecast(run))
        return HL_OK;
    hl_str_add(b, "<h2>Forecast: ");
    hl_text_add_xml(b, hl_run_get_row(run)->name);
    hl_str_add(b, "</h2>\n");
    st = hl_export_forecasts(&e, HL_PICTURE_SVG, (hl_picture_size){0, 0}, &svg);
    if (st == HL_OK) {
        add_svg(b, svg.s);
    } else if (st != HL_E_NOMEM) { /* damaged: the rest of the page is none the worse */
        add_cell(b, "p", hl_err_message());
        st = HL_OK;
    }
    hl_str_done(&svg);
    return st;
}

static void value_text(const hl_json *v, hl_str *b)
{
    hl_str_clear(b);
    if (!v)
        hl_str_add(b, "\xE2\x80\x93");
    else if (hl_json_is_string(v))
        hl_str_add(b, hl_json_str(v, ""));
    else if (hl_json_is_number(v))
        hl_str_addf(b, "%.6g", hl_json_num(v, 0));
    else
        hl_json_add_value(b, v);
}

static void add_cells(const hl_json *cells, const char *tag, hl_str *b)
{
    hl_str text = {0};
    hl_str_add(b, "<tr>");
    for (const hl_json *c = hl_json_at(cells, 0); c; c = hl_json_next(c)) {
        value_text(c, &text);
        add_cell(b, tag, hl_str_text(&text));
    }
    hl_str_add(b, "</tr>\n");
    hl_str_done(&text);
}

static void add_study_tables(const hl_run *run, hl_str *b)
{
    for (const hl_json *t = hl_json_at(hl_run_tables(run), 0); t; t = hl_json_next(t)) {
        const char *tag = hl_json_key(t), *caption = hl_json_str(hl_json_get(t, "caption"), "");
        if (!tag || !hl_str_starts(tag, "table/"))
            continue;
        hl_str_add(b, "<h2>");
        hl_text_add_xml(b, tag + strlen("table/"));
        hl_str_add(b, "</h2>\n<p>");
        hl_text_add_xml(b, caption);
        hl_str_add(b, "</p>\n<table><thead>");
        add_cells(hl_json_get(t, "columns"), "th", b);
        hl_str_add(b, "</thead><tbody>\n");
        for (const hl_json *r = hl_json_at(hl_json_get(t, "rows"), 0); r; r = hl_json_next(r))
            add_cells(r, "td", b);
        hl_str_add(b, "</tbody></table>\n");
    }
}

static bool has_curve(const hl_export *e, const char *tag)
{
    hl_run_scalar s;
    for (size_t i = 0; i < e->n_runs; i++)
        if (hl_run_scalar_find(e->runs[i], tag, &s) && s.n > 1)
            return true;
    return false;
}

static hl_status add_charts(const hl_export *e, hl_str *b)
{
    hl_status st = HL_OK;
    hl_tag_set tags = {0};
    bool any = e->n_tags > 0;
    for (size_t i = 0; i < sizeof main_tags / sizeof main_tags[0]; i++)
        any = any || has_curve(e, main_tags[i]);
    if (!any)
        return HL_OK;
    hl_str_add(b, "<h2>Curves</h2>\n<div class=\"charts\">\n");
    if (e->n_tags) {
        HL_TRY(hl_tag_set_init(&tags, e));
        for (size_t i = 0; i < tags.n; i++)
            HL_TRY(add_chart(e, tags.tag[i], b));
    }
    for (size_t i = 0; e->n_tags == 0 && i < sizeof main_tags / sizeof main_tags[0]; i++)
        if (has_curve(e, main_tags[i]))
            HL_TRY(add_chart(e, main_tags[i], b));
out:
    hl_str_add(b, "</div>\n");
    hl_tag_set_done(&tags);
    return st;
}

/* ---- tables: a row per name, a column per run ---- */

typedef struct names {
    hl_tag_set set;
    hl_status st;
} names;

static void add_name(names *n, const char *name)
{
    for (size_t i = 0; i < n->set.n; i++)
        if (strcmp(n->set.tag[i], name) == 0)
            return;
    char **more = hl_realloc(n->set.tag, (n->set.n + 1) * sizeof *more);
    if (more)
        n->set.tag = more;
    char *copy = more ? hl_strdup(name) : NULL;
    if (copy)
        n->set.tag[n->set.n++] = copy;
    else
        n->st = HL_E_NOMEM;
}

/* Paths of all plain values below v. */
static void collect(names *n, const hl_json *v, const char *prefix)
{
    for (const hl_json *m = hl_json_at(v, 0); m; m = hl_json_next(m)) {
        hl_str path = {0};
        hl_str_addf(&path, "%s%s%s", prefix, *prefix ? "." : "",
                    hl_json_key(m) ? hl_json_key(m) : "");
        if (hl_json_is_object(m))
            collect(n, m, hl_str_text(&path));
        else
            add_name(n, hl_str_text(&path));
        hl_str_done(&path);
    }
}

static const hl_json *value_at(const hl_json *v, const char *path)
{
    while (v && *path) {
        char key[256];
        const size_t n = strcspn(path, ".");
        const hl_json *whole = hl_json_get(v, path); /* a key with dots in it */
        if (whole)
            return whole;
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        v = hl_json_get(v, key);
        path += n + (path[n] == '.');
    }
    return v;
}

static void add_row(const hl_export *e, const hl_json *(*root)(const hl_run *), const char *path,
                    hl_str *b)
{
    hl_str first = {0}, text = {0};
    bool differs = false;
    value_text(value_at(root(e->runs[0]), path), &first);
    for (size_t i = 1; i < e->n_runs; i++) {
        value_text(value_at(root(e->runs[i]), path), &text);
        differs = differs || strcmp(hl_str_text(&text), hl_str_text(&first)) != 0;
    }
    hl_str_add(b, "<tr>");
    add_cell(b, "td", path);
    for (size_t i = 0; i < e->n_runs; i++) {
        value_text(value_at(root(e->runs[i]), path), &text);
        add_cell(b, differs ? "td class=\"differs\"" : "td", hl_str_text(&text));
    }
    hl_str_add(b, "</tr>\n");
    hl_str_done(&first);
    hl_str_done(&text);
}

static hl_status add_table(const hl_export *e, const hl_json *(*root)(const hl_run *),
                           bool numbers_only, hl_str *b)
{
    names n = {0};
    for (size_t i = 0; i < e->n_runs; i++) {
        if (!numbers_only) {
            collect(&n, root(e->runs[i]), "");
            continue;
        }
        for (const hl_json *m = hl_json_at(root(e->runs[i]), 0); m; m = hl_json_next(m))
            if (hl_json_key(m) && hl_json_is_number(m))
                add_name(&n, hl_json_key(m));
    }
    if (n.st == HL_OK)
        n.st = add_head(e, b);
    for (size_t i = 0; i < n.set.n; i++)
        add_row(e, root, n.set.tag[i], b);
    hl_str_add(b, "</tbody></table>\n");
    hl_tag_set_done(&n.set);
    return n.st;
}

static const hl_json *results(const hl_run *run)
{
    return hl_json_get(hl_run_tables(run), "result");
}

/* What quantizing made of the metric, by recipe. */
static hl_status add_quantizations(const hl_export *e, hl_str *b)
{
    names n = {0};
    char cell[120];
    for (size_t i = 0; i < e->n_runs; i++)
        for (const hl_json *t = hl_json_at(hl_run_tables(e->runs[i]), 0); t; t = hl_json_next(t))
            if (hl_json_key(t) && hl_quant_is_tag(hl_json_key(t)))
                add_name(&n, hl_json_key(t));
    if (n.st == HL_OK && n.set.n) {
        hl_str_add(b, "<h2>Quantization</h2>\n");
        n.st = add_head(e, b);
        for (size_t r = 0; r < n.set.n; r++) {
            hl_str_add(b, "<tr>");
            add_cell(b, "td", strchr(n.set.tag[r], '/') + 1);
            for (size_t i = 0; i < e->n_runs; i++) {
                const hl_json *t = hl_json_get(hl_run_tables(e->runs[i]), n.set.tag[r]);
                snprintf(cell, sizeof cell, "%.40s %.6g \xE2\x86\x92 %.6g",
                         hl_json_str(hl_json_get(t, "metric"), ""),
                         hl_json_num(hl_json_get(t, "value_float"), 0),
                         hl_json_num(hl_json_get(t, "value_executed"), 0));
                add_cell(b, "td", t ? cell : "\xE2\x80\x93");
            }
            hl_str_add(b, "</tr>\n");
        }
        hl_str_add(b, "</tbody></table>\n");
    }
    hl_tag_set_done(&n.set);
    return n.st;
}

static hl_status add_runs(const hl_export *e, hl_str *b)
{
    char start[24];
    hl_status st = add_head(e, b);
    static const char *const rows[] = {"run", "state", "step", "started", "host"};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        hl_str_addf(b, "<tr><td>%s</td>", rows[r]);
        for (size_t i = 0; i < e->n_runs; i++) {
            const hl_run_row *row = hl_run_get_row(e->runs[i]);
            char step[24];
            snprintf(step, sizeof step, "%lld", (long long)row->step);
            const char *const cells[] = {
                hl_fs_base(row->dir), hl_run_state_name(row->state), step,
                row->t_start_us ? hl_clock_format_utc(start, row->t_start_us) : "-", row->host};
            add_cell(b, "td", cells[r]);
        }
        hl_str_add(b, "</tr>\n");
    }
    hl_str_add(b, "</tbody></table>\n");
    return st;
}

hl_status hl_export_page(const hl_export *e, hl_str *b)
{
    hl_status st = HL_OK;
    char *name = hl_export_run_name(e, 0);
    if (!name)
        return HL_E_NOMEM;
    hl_str_add(b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<title>");
    hl_text_add_xml(b, e->title ? e->title : name);
    hl_str_addf(b, "</title>\n<style>\n%s</style></head><body>\n<h1>", style);
    hl_text_add_xml(b, e->title ? e->title : name);
    if (!e->title && e->n_runs > 1)
        hl_str_addf(b, " and %zu more", e->n_runs - 1);
    hl_str_add(b, "</h1>\n");
    const hl_export untitled = {
        .runs = e->runs, .n_runs = e->n_runs, .tags = e->tags, .n_tags = e->n_tags, .log = e->log};
    HL_TRY(add_runs(e, b));
    HL_TRY(add_charts(&untitled, b));
    add_given(e, b);
    for (size_t i = 0; i < e->n_runs; i++) {
        HL_TRY(add_figures(e->runs[i], b));
        HL_TRY(add_forecast(e->runs[i], b));
        add_study_tables(e->runs[i], b);
    }
    hl_str_add(b, "<h2>Results</h2>\n");
    HL_TRY(add_table(e, results, true, b));
    HL_TRY(add_quantizations(e, b));
    hl_str_add(b, "<h2>Configuration</h2>\n<details><summary>every option</summary>\n");
    HL_TRY(add_table(e, hl_run_config, false, b));
    hl_str_add(b, "</details>\n</body></html>\n");
    HL_TRY(hl_str_status(b));
out:
    hl_free(name);
    return st;
}
