/* hoplab compare: in what some runs differ, and what came of it. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/cli.h"
#include "app/hl_app.h"
#include "app/store/horizons.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

enum { CELL_MAX = 64 };

typedef struct compare {
    hl_cli *cli;
    FILE *out;
    hl_comparison *c;
    hl_compare_value which;
    bool all;
} compare;

static const hl_run_row *row_of(const compare *p, size_t run)
{
    return hl_run_get_row(p->c->runs[run].run);
}

static bool takes_option(const compare *p, size_t i)
{
    const hl_compare_row *o = &p->c->options.at[i];
    return p->all || (o->differs && o->is_main);
}

static bool takes_metric(const compare *p, size_t i)
{
    return p->all || p->c->metrics.at[i].is_main;
}

/* --- text --- */

static const char *state_of(const compare *p, size_t run, char buf[CELL_MAX])
{
    const hl_run_row *row = row_of(p, run);
    snprintf(buf, CELL_MAX, "%s, step %lld", hl_run_state_name(row->state), (long long)row->step);
    return buf;
}

/* The value, and behind the first run how far it is from the first, relative to it. */
static const char *metric_of(const compare *p, size_t run, size_t metric, char buf[CELL_MAX])
{
    double v, first = (double)NAN;
    (void)hl_compare_get(p->c, 0, metric, p->which, &first, NULL);
    if (!hl_compare_get(p->c, run, metric, p->which, &v, NULL))
        snprintf(buf, CELL_MAX, "-");
    else if (run == 0 || !isfinite(v) || !isfinite(first) || first == 0 || v == first)
        snprintf(buf, CELL_MAX, "%.6g", v);
    else
        snprintf(buf, CELL_MAX,
                 fabs(v - first) < fabs(first) ? "%.6g (%+.2g %%)" : "%.6g (%+.0f %%)", v,
                 100 * (v - first) / fabs(first));
    return buf;
}

typedef enum row_kind { NAMES, STATES, OPTION, FACT, METRIC } row_kind;

static const char *cell(const compare *p, row_kind kind, size_t run, size_t i, char buf[CELL_MAX])
{
    switch (kind) {
    case NAMES:
        return row_of(p, run)->name;
    case STATES:
        return state_of(p, run, buf);
    case OPTION:
        return hl_compare_text(&p->c->runs[run].config, p->c->options.at[i].key);
    case FACT:
        return hl_compare_text(&p->c->runs[run].facts, p->c->facts.at[i].key);
    default:
        return metric_of(p, run, i, buf);
    }
}

static const char *label(const compare *p, row_kind kind, size_t i)
{
    return kind == NAMES    ? "run"
           : kind == STATES ? "state"
           : kind == OPTION ? p->c->options.at[i].key
           : kind == FACT   ? p->c->facts.at[i].key
                            : p->c->metrics.at[i].key;
}

typedef struct widths {
    int label, *run;
    bool print; /* else they are found out */
} widths;

static void one_row(const compare *p, widths *w, row_kind kind, size_t i)
{
    char buf[CELL_MAX];
    const char *name = label(p, kind, i);
    const int n = hl_cli_text_width(p->cli, name);
    if (w->print) {
        hl_cli_put_text(p->cli, name);
        fprintf(p->out, "%*s", w->label - n, "");
    } else if (n > w->label) {
        w->label = n;
    }
    for (size_t run = 0; run < p->c->n; run++) {
        const char *text = cell(p, kind, run, i, buf);
        const int k = hl_cli_text_width(p->cli, text);
        if (!w->print) {
            w->run[run] = k > w->run[run] ? k : w->run[run];
            continue;
        }
        fputs("  ", p->out);
        hl_cli_put_text(p->cli, text);
        fprintf(p->out, "%*s", run + 1 < p->c->n ? w->run[run] - k : 0, "");
    }
    if (w->print)
        fputc('\n', p->out);
}

static void all_rows(const compare *p, widths *w)
{
    size_t n = 0;
    one_row(p, w, NAMES, 0);
    one_row(p, w, STATES, 0);
    for (size_t i = 0; i < p->c->options.n; i++)
        n += takes_option(p, i);
    if (w->print)
        fputs(n ? "\n" : "\nno option differs\n", p->out);
    for (size_t i = 0; i < p->c->options.n; i++)
        if (takes_option(p, i))
            one_row(p, w, OPTION, i);
    if (w->print && hl_cli_flag(p->cli, "environment"))
        fputc('\n', p->out);
    for (size_t i = 0; hl_cli_flag(p->cli, "environment") && i < p->c->facts.n; i++)
        if (p->all || p->c->facts.at[i].differs)
            one_row(p, w, FACT, i);
    if (w->print)
        fputc('\n', p->out);
    for (size_t i = 0; i < p->c->metrics.n; i++)
        if (takes_metric(p, i))
            one_row(p, w, METRIC, i);
}

/* Runs of the same configuration but for their seed. */
static void print_groups(const compare *p)
{
    for (size_t g = 0; g < p->c->groups.n; g++) {
        const hl_compare_group *group = &p->c->groups.at[g];
        if (group->n < 2)
            continue;
        fprintf(p->out, "\nmean (standard deviation) of %d runs like ", group->n);
        hl_cli_put_text(p->cli, row_of(p, (size_t)group->first)->name);
        fputc('\n', p->out);
        for (size_t i = 0; i < p->c->metrics.n; i++) {
            const hl_compare_mean m = hl_compare_group_mean(p->c, g, i, p->which);
            if (!takes_metric(p, i) || m.n == 0)
                continue;
            hl_cli_put_text(p->cli, p->c->metrics.at[i].key);
            fprintf(p->out, m.n > 1 ? "  %.6g (%.2g)\n" : "  %.6g\n", m.mean, m.sd);
        }
    }
}

/* As a member of the object, or as a table behind a blank line; nothing where no run has a test. */
static hl_status add_horizons(const compare *p, bool as_json, hl_str *b)
{
    const hl_run **runs = hl_alloc_zero(p->c->n, sizeof *runs);
    if (!runs)
        return HL_E_NOMEM;
    for (size_t i = 0; i < p->c->n; i++)
        runs[i] = p->c->runs[i].run;
    const hl_status st =
        as_json ? hl_horizons_put(runs, p->c->n, b) : hl_horizons_text(runs, p->c->n, b);
    hl_free(runs);
    return st;
}

static hl_status print_text(const compare *p)
{
    hl_str horizons = {0};
    widths w = {.run = hl_alloc_zero(p->c->n, sizeof *w.run)};
    if (!w.run)
        return HL_E_NOMEM;
    all_rows(p, &w);
    w.print = true;
    all_rows(p, &w);
    hl_free(w.run);
    print_groups(p);
    const hl_status st = add_horizons(p, false, &horizons);
    if (st == HL_OK && horizons.n)
        fprintf(p->out, "\n%s", hl_str_text(&horizons));
    hl_str_done(&horizons);
    return st;
}

/* --- JSON --- */

static void add_options(const compare *p, hl_str *b)
{
    hl_json_add_key(b, "options");
    hl_json_begin(b, '{');
    for (size_t i = 0; i < p->c->options.n; i++) {
        if (!takes_option(p, i))
            continue;
        hl_json_add_key(b, p->c->options.at[i].key);
        hl_json_begin(b, '[');
        for (size_t k = 0; k < p->c->n; k++) {
            const hl_flat_entry *e = hl_flat_find(&p->c->runs[k].config, p->c->options.at[i].key);
            if (e)
                hl_json_add_value(b, e->value);
            else
                hl_json_add_null(b);
        }
        hl_json_end(b, ']');
    }
    hl_json_end(b, '}');
}

static void add_metrics(const compare *p, hl_str *b)
{
    hl_json_add_key(b, "metrics");
    hl_json_begin(b, '{');
    for (size_t i = 0; i < p->c->metrics.n; i++) {
        if (!takes_metric(p, i))
            continue;
        hl_json_add_key(b, p->c->metrics.at[i].key);
        hl_json_begin(b, '[');
        for (size_t k = 0; k < p->c->n; k++) {
            double v;
            if (hl_compare_get(p->c, k, i, p->which, &v, NULL))
                hl_json_add_num(b, v);
            else
                hl_json_add_null(b);
        }
        hl_json_end(b, ']');
    }
    hl_json_end(b, '}');
}

static void add_group(const compare *p, size_t g, hl_str *b)
{
    hl_json_begin(b, '{');
    hl_json_add_key(b, "runs");
    hl_json_begin(b, '[');
    for (size_t k = 0; k < p->c->n; k++)
        if (p->c->runs[k].group == (int)g)
            hl_json_add_str(b, row_of(p, k)->id);
    hl_json_end(b, ']');
    hl_json_add_key(b, "metrics");
    hl_json_begin(b, '{');
    for (size_t i = 0; i < p->c->metrics.n; i++) {
        const hl_compare_mean m = hl_compare_group_mean(p->c, g, i, p->which);
        if (!takes_metric(p, i) || m.n == 0)
            continue;
        hl_json_add_key(b, p->c->metrics.at[i].key);
        hl_json_begin(b, '{');
        hl_json_put_num(b, "mean", m.mean);
        if (m.n > 1)
            hl_json_put_num(b, "std", m.sd);
        hl_json_put_int(b, "n", m.n);
        hl_json_end(b, '}');
    }
    hl_json_end(b, '}');
    hl_json_end(b, '}');
}

static hl_status print_json(const compare *p)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_add_key(&b, "runs");
    hl_json_begin(&b, '[');
    for (size_t i = 0; i < p->c->n; i++) {
        const hl_run_row *row = row_of(p, i);
        hl_json_begin(&b, '{');
        hl_json_put_str(&b, "id", row->id);
        hl_json_put_str(&b, "name", row->name);
        hl_json_put_str(&b, "state", hl_run_state_name(row->state));
        hl_json_put_int(&b, "step", row->step);
        hl_json_end(&b, '}');
    }
    hl_json_end(&b, ']');
    add_options(p, &b);
    add_metrics(p, &b);
    hl_json_add_key(&b, "groups");
    hl_json_begin(&b, '[');
    for (size_t g = 0; g < p->c->groups.n; g++)
        if (p->c->groups.at[g].n > 1)
            add_group(p, g, &b);
    hl_json_end(&b, ']');
    hl_status st = add_horizons(p, true, &b);
    hl_json_end(&b, '}');
    hl_str_addc(&b, '\n');
    st = st == HL_OK ? hl_str_status(&b) : st;
    if (st == HL_OK)
        fputs(b.s, p->out);
    hl_str_done(&b);
    return st;
}

/* --- other forms --- */

/* To the file, or to standard output for "-". */
static hl_status write_table(const compare *p, hl_compare_form form, const char *path)
{
    hl_str b = {0};
    const hl_compare_table how = {.form = form, .which = p->which, .all = p->all};
    hl_status st = hl_compare_write(p->c, &how, &b);
    if (st == HL_OK && strcmp(path, "-") != 0)
        st = hl_fs_write_atomic(path, b.s, b.n);
    else if (st == HL_OK && (fwrite(b.s, 1, b.n, p->out) != b.n || fflush(p->out) != 0) &&
             errno != EPIPE)
        st = hl_err_set(HL_E_IO, "standard output: %s", strerror(errno));
    hl_str_done(&b);
    return st;
}

/* What each other script has that the first has not, and the other way round. */
static hl_status print_scripts(const compare *p)
{
    enum { CONTEXT = 2 };
    hl_status st = HL_OK;
    hl_str b = {0};
    for (size_t i = 1; i < p->c->n && st == HL_OK; i++) {
        const char *first = p->c->runs[0].script, *other = p->c->runs[i].script;
        hl_str_clear(&b);
        if (first && other)
            st = hl_text_diff(first, other, CONTEXT, &b);
        fprintf(p->out, "%s--- ", i > 1 ? "\n" : "");
        hl_cli_put_text(p->cli, row_of(p, 0)->name);
        fputs("\n+++ ", p->out);
        hl_cli_put_text(p->cli, row_of(p, i)->name);
        fputs(!first || !other ? "\nno script is stored with one of them\n"
              : b.n            ? "\n"
                               : "\nthe scripts are the same\n",
              p->out);
        for (char *line = b.n ? b.s : NULL, *end; line && *line; line = end + 1) {
            end = strchr(line, '\n');
            *end = 0;
            hl_cli_put_text(p->cli, line);
            fputc('\n', p->out);
        }
    }
    hl_str_done(&b);
    return st;
}

static hl_status print_causes(const compare *p, const char *metric)
{
    hl_compare_causes causes = {0};
    const size_t m = hl_compare_metric(p->c, metric);
    hl_status st = m == SIZE_MAX ? hl_err_set(HL_E_NOTFOUND, "no run has a metric '%s'", metric)
                                 : hl_compare_explain(p->c, m, p->which, &causes);
    if (st == HL_OK && causes.n == 0)
        fputs("no option differs\n", p->out);
    for (size_t i = 0; st == HL_OK && i < causes.n; i++) {
        const hl_compare_cause *k = &causes.at[i];
        fprintf(p->out, "%5.1f %%  ", 100 * k->share);
        hl_cli_put_text(p->cli, p->c->options.at[k->option].key);
        fprintf(p->out, "  %d values, best mean %.6g with ", k->n_values, k->best_mean);
        hl_cli_put_text(p->cli, k->best);
        fputc('\n', p->out);
    }
    hl_vec_done(&causes);
    return st;
}

/* --- the command --- */

static hl_status read_runs(compare *p)
{
    hl_status st = HL_OK;
    const size_t n = hl_cli_args_n(p->cli);
    char **dirs = hl_alloc_zero(n, sizeof *dirs);
    if (!dirs)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n; i++)
        HL_TRY(hl_run_find(hl_cli_runs_dir(p->cli), hl_cli_arg(p->cli, i), &dirs[i]));
    const hl_compare_wanted w = {.dirs = (const char *const *)dirs,
                                 .n = n,
                                 .at = p->which == HL_COMPARE_AT ? hl_cli_int(p->cli, "at") : -1,
                                 .scripts = hl_cli_flag(p->cli, "script")};
    HL_TRY(hl_comparison_new(&w, &p->c));
    if (p->c->n_failed)
        HL_FAIL(HL_E_IO, "%s", p->c->failed);
out:
    for (size_t i = 0; i < n; i++)
        hl_free(dirs[i]);
    hl_free(dirs);
    return st;
}

static hl_status compare_all(compare *p)
{
    hl_status st = HL_OK;
    bool written = false;
    HL_TRY(read_runs(p));
    for (int f = 0; f < HL_COMPARE_FORMS; f++) {
        const char *path = hl_cli_str(p->cli, hl_compare_form_name((hl_compare_form)f));
        if (path)
            HL_TRY(write_table(p, (hl_compare_form)f, path));
        written |= path != NULL;
    }
    if (written)
        goto out;
    if (hl_cli_flag(p->cli, "json"))
        st = print_json(p);
    else if (hl_cli_flag(p->cli, "script"))
        st = print_scripts(p);
    else if (hl_cli_given(p->cli, "why"))
        st = print_causes(p, hl_cli_str(p->cli, "why"));
    else
        st = print_text(p);
out:
    return st;
}

static int run(hl_cli *cli)
{
    compare p = {.cli = cli, .out = hl_cli_out(cli), .all = hl_cli_flag(cli, "all")};
    if (hl_cli_flag(cli, "best") && hl_cli_given(cli, "at"))
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--best and --at STEP: take one of them");
    if (hl_cli_given(cli, "at") && hl_cli_int(cli, "at") < 0)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--at takes a step from 0 on");
    p.which = hl_cli_flag(cli, "best")  ? HL_COMPARE_BEST
              : hl_cli_given(cli, "at") ? HL_COMPARE_AT
                                        : HL_COMPARE_LAST;
    const hl_status st = compare_all(&p);
    hl_comparison_free(p.c);
    return st == HL_OK ? HL_EXIT_DONE : hl_cli_fail(cli, st);
}

static const hl_option options[] = {
    {.name = "json", .type = HL_OPTION_FLAG, .help = "one JSON object"},
    {.name = "all", .type = HL_OPTION_FLAG, .help = "options that are equal and all series too"},
    {.name = "best", .type = HL_OPTION_FLAG, .help = "the best value of each series"},
    {.name = "at",
     .type = HL_OPTION_INT,
     .value = "STEP",
     .help = "the value at a step: the newest one up to there"},
    {.name = "environment",
     .type = HL_OPTION_FLAG,
     .help = "also where they ran: host, processor, threads, git"},
    {.name = "script", .type = HL_OPTION_FLAG, .help = "instead, how their scripts differ"},
    {.name = "why",
     .type = HL_OPTION_STRING,
     .value = "METRIC",
     .help = "instead, how much of its spread each option explains"},
    {.name = "csv", .type = HL_OPTION_STRING, .value = "FILE", .help = "one line per run"},
    {.name = "tsv", .type = HL_OPTION_STRING, .value = "FILE", .help = "the same with tabulators"},
    {.name = "markdown",
     .type = HL_OPTION_STRING,
     .value = "FILE",
     .help = "a table for people, the best in bold"},
    {.name = "latex", .type = HL_OPTION_STRING, .value = "FILE", .help = "the same as a tabular"},
    {0},
};

const hl_command hl_cmd_compare = {
    .name = "compare",
    .help = "in what runs differ, and what came of it",
    .usage = "RUN RUN ...",
    .about = "Options that are not the same in all of them, and the last value of each series, "
             "with its\n"
             "distance from the first run's; means where runs differ in their seed alone.\n"
             "FILE '-' is standard output.\n",
    .options = options,
    .n_args_min = 2,
    .n_args_max = -1,
    .run = run,
};
