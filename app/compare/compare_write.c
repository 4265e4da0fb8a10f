/* A comparison as a table for other programs: CSV, TSV, Markdown, LaTeX. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/compare/compare.h"
#include "app/export/export.h"
#include "app/hl_app.h"
#include "engine/base/str.h"

enum { CELL_MAX = 48 };

const char *hl_compare_form_name(hl_compare_form f)
{
    static const char *const names[HL_COMPARE_FORMS] = {"csv", "tsv", "markdown", "latex"};
    return names[f];
}

typedef struct sheet {
    const hl_comparison *c;
    const hl_compare_table *how;
    hl_str *out;
    int column;
} sheet;

static bool for_people(const sheet *t)
{
    return t->how->form == HL_COMPARE_MARKDOWN || t->how->form == HL_COMPARE_LATEX;
}

/* What means something to Markdown or LaTeX is escaped. */
static void add_escaped(hl_str *b, const char *text, hl_compare_form form)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\n' || *p == '\r' || *p == '\t')
            hl_str_addc(b, ' ');
        else if (form == HL_COMPARE_MARKDOWN)
            hl_str_addf(b, strchr("|*_`\\<[", *p) ? "\\%c" : "%c", *p);
        else if (form == HL_COMPARE_LATEX && strchr("\\~^", *p))
            hl_str_addf(b, "\\text%s{}",
                        *p == '\\'  ? "backslash"
                        : *p == '~' ? "asciitilde"
                                    : "asciicircum");
        else if (form == HL_COMPARE_LATEX)
            hl_str_addf(b, strchr("&%$#_{}", *p) ? "\\%c" : "%c", *p);
        else
            hl_str_addc(b, *p);
    }
}

static void add_cell(sheet *t, const char *text, bool bold)
{
    static const char *const between[] = {",", "\t", " | ", " & "};
    const hl_compare_form form = t->how->form;
    if (t->column++ > 0)
        hl_str_add(t->out, between[form]);
    else if (form == HL_COMPARE_MARKDOWN)
        hl_str_add(t->out, "| ");
    if (form == HL_COMPARE_CSV) {
        hl_str_add_csv(t->out, text);
        return;
    }
    hl_str_add(t->out, !bold ? "" : form == HL_COMPARE_MARKDOWN ? "**" : "\\textbf{");
    add_escaped(t->out, text, form);
    hl_str_add(t->out, !bold ? "" : form == HL_COMPARE_MARKDOWN ? "**" : "}");
}

static void end_line(sheet *t)
{
    static const char *const ends[] = {"\r\n", "\n", " |\n", " \\\\\n"};
    hl_str_add(t->out, ends[t->how->form]);
    t->column = 0;
}

static bool takes(const sheet *t, const hl_compare_row *row, bool is_metric)
{
    return t->how->all || (is_metric ? row->is_main : row->is_main && row->differs);
}

static void add_head(sheet *t)
{
    const hl_comparison *c = t->c;
    if (t->how->form == HL_COMPARE_LATEX) {
        hl_str_add(t->out, "\\begin{tabular}{l");
        for (size_t i = 0; i < c->options.n; i++)
            hl_str_add(t->out, takes(t, &c->options.at[i], false) ? "l" : "");
        for (size_t i = 0; i < c->metrics.n; i++)
            hl_str_add(t->out, takes(t, &c->metrics.at[i], true) ? "r" : "");
        hl_str_add(t->out, "}\n\\hline\n");
    }
    add_cell(t, "run", false);
    for (size_t i = 0; i < c->options.n; i++)
        if (takes(t, &c->options.at[i], false))
            add_cell(t, c->options.at[i].key, false);
    for (size_t i = 0; i < c->metrics.n; i++)
        if (takes(t, &c->metrics.at[i], true))
            add_cell(t, c->metrics.at[i].key, false);
    const int n = t->column;
    end_line(t);
    if (t->how->form == HL_COMPARE_LATEX)
        hl_str_add(t->out, "\\hline\n");
    for (int i = 0; t->how->form == HL_COMPARE_MARKDOWN && i < n; i++)
        hl_str_add(t->out, i ? "---|" : "|---|");
    if (t->how->form == HL_COMPARE_MARKDOWN)
        hl_str_addc(t->out, '\n');
}

static void number(const sheet *t, double v, char buf[CELL_MAX])
{
    if (isnan(v))
        snprintf(buf, CELL_MAX, "nan");
    else if (isinf(v))
        snprintf(buf, CELL_MAX, v > 0 ? "inf" : "-inf");
    else
        snprintf(buf, CELL_MAX, for_people(t) ? "%.4g" : "%.9g", v);
}

static void add_run(sheet *t, size_t run)
{
    const hl_comparison *c = t->c;
    char buf[CELL_MAX];
    double v;
    add_cell(t, hl_run_get_row(c->runs[run].run)->name, false);
    for (size_t i = 0; i < c->options.n; i++)
        if (takes(t, &c->options.at[i], false))
            add_cell(t, hl_compare_text(&c->runs[run].config, c->options.at[i].key), false);
    for (size_t i = 0; i < c->metrics.n; i++) {
        if (!takes(t, &c->metrics.at[i], true))
            continue;
        const bool known = hl_compare_get(c, run, i, t->how->which, &v, NULL);
        if (known)
            number(t, v, buf);
        add_cell(t,
                 known           ? buf
                 : for_people(t) ? "-"
                                 : "",
                 for_people(t) && hl_compare_is_best(c, run, i, t->how->which));
    }
    end_line(t);
}

/* What the runs of a group have in common; "" where they differ: the seed. */
static const char *of_group(const hl_comparison *c, size_t g, const char *key)
{
    const char *text = NULL;
    for (size_t i = 0; i < c->n; i++) {
        const char *one = hl_compare_text(&c->runs[i].config, key);
        if (c->runs[i].group != (int)g)
            continue;
        if (text && strcmp(text, one) != 0)
            return "";
        text = one;
    }
    return text ? text : "";
}

static void mean_text(const sheet *t, hl_compare_mean m, bool sd, char buf[2 * CELL_MAX])
{
    char mean[CELL_MAX], dev[CELL_MAX];
    number(t, m.mean, mean);
    number(t, m.sd, dev);
    if (m.n == 0)
        buf[0] = 0;
    else if (!for_people(t))
        snprintf(buf, 2 * CELL_MAX, "%s", sd ? dev : mean);
    else if (m.n == 1)
        snprintf(buf, 2 * CELL_MAX, "%s", mean);
    else
        snprintf(buf, 2 * CELL_MAX, "%s (%.2g)", mean, m.sd);
}

/* One line with "mean (sd)" for people, two lines for programs. */
static void add_group(sheet *t, size_t g, bool sd)
{
    const hl_comparison *c = t->c;
    const hl_compare_group *group = &c->groups.at[g];
    char buf[2 * CELL_MAX];
    hl_str name = {0};
    hl_str_addf(&name, "%s of %d like %s", sd ? "sd" : "mean", group->n,
                hl_run_get_row(c->runs[group->first].run)->name);
    add_cell(t, hl_str_text(&name), false);
    hl_str_done(&name);
    for (size_t i = 0; i < c->options.n; i++)
        if (takes(t, &c->options.at[i], false))
            add_cell(t, of_group(c, g, c->options.at[i].key), false);
    for (size_t i = 0; i < c->metrics.n; i++)
        if (takes(t, &c->metrics.at[i], true)) {
            mean_text(t, hl_compare_group_mean(c, g, i, t->how->which), sd, buf);
            add_cell(t, buf, false);
        }
    end_line(t);
}

hl_status hl_compare_write(const hl_comparison *c, const hl_compare_table *how, hl_str *out)
{
    sheet t = {.c = c, .how = how, .out = out};
    add_head(&t);
    for (size_t i = 0; i < c->n; i++)
        add_run(&t, i);
    for (size_t g = 0; g < c->groups.n; g++) {
        if (c->groups.at[g].n < 2)
            continue;
        add_group(&t, g, false);
        if (!for_people(&t))
            add_group(&t, g, true);
    }
    if (how->form == HL_COMPARE_LATEX)
        hl_str_add(out, "\\hline\n\\end{tabular}\n");
    return hl_str_status(out);
}
