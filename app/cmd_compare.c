/* hoplab compare: in what some runs differ, and what came of it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/cli.h"
#include "app/flat.h"
#include "app/hl_app.h"
#include "app/store/horizons.h"
#include "engine/base/mem.h"

enum { CELL_MAX = 64 };

typedef struct compared {
    hl_run *run;
    hl_flat config;
} compared;

typedef struct compare {
    hl_cli *cli;
    FILE *out;
    compared *runs;
    size_t n;
    HL_VEC(const char *) options, metrics; /* rows; borrowed from the runs */
} compare;

static bool is_among(const char *name, const char *const *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(at[i], name) == 0)
            return true;
    return false;
}

/* --- rows --- */

/* What the run makes of its options by itself is no option. */
static bool is_derived(const char *path)
{
    return strcmp(path, "name") == 0 || strncmp(path, "tags[", 5) == 0 ||
           strncmp(path, "model.normaliser.", 17) == 0;
}

static bool differs(const compare *c, const char *path)
{
    const hl_flat_entry *first = hl_flat_find(&c->runs[0].config, path);
    for (size_t i = 1; i < c->n; i++) {
        const hl_flat_entry *other = hl_flat_find(&c->runs[i].config, path);
        if (!first != !other || (first && strcmp(first->text, other->text) != 0))
            return true;
    }
    return false;
}

static hl_status choose_options(compare *c)
{
    hl_status st = HL_OK;
    const bool all = hl_cli_flag(c->cli, "all");
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < c->runs[i].config.n && st == HL_OK; k++) {
            const char *path = c->runs[i].config.at[k].path;
            if (!is_among(path, c->options.at, c->options.n) &&
                (all || (!is_derived(path) && differs(c, path))))
                st = hl_vec_push(&c->options, path);
        }
    return st;
}

/* Timings and per-activation series are left out unless asked for. */
static bool is_main_metric(const char *tag)
{
    return strncmp(tag, "train/", 6) == 0 || strncmp(tag, "eval/", 5) == 0 ||
           strncmp(tag, "test/", 5) == 0 ||
           strcmp(tag, "sys/step_ms") == 0;
}

static hl_status choose_metrics(compare *c)
{
    hl_status st = HL_OK;
    hl_run_scalar s;
    const bool all = hl_cli_flag(c->cli, "all");
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < hl_run_scalar_n(c->runs[i].run) && st == HL_OK; k++)
            if (hl_run_scalar_at(c->runs[i].run, k, &s) && (all || is_main_metric(s.tag)) &&
                !is_among(s.tag, c->metrics.at, c->metrics.n))
                st = hl_vec_push(&c->metrics, s.tag);
    return st;
}

/* --- text --- */

/* The last value of a series; false: the run has none. */
static bool last_of(const compare *c, size_t run, const char *tag, double *v)
{
    hl_run_scalar s = {.last = (double)NAN};
    const bool has = hl_run_scalar_find(c->runs[run].run, tag, &s);
    *v = s.last;
    return has;
}

static const char *state_of(const compare *c, size_t run, char buf[CELL_MAX])
{
    const hl_run_row *row = hl_run_get_row(c->runs[run].run);
    snprintf(buf, CELL_MAX, "%s, step %lld", hl_run_state_name(row->state), (long long)row->step);
    return buf;
}

static const char *option_of(const compare *c, size_t run, const char *path)
{
    const hl_flat_entry *e = hl_flat_find(&c->runs[run].config, path);
    return e ? e->text : "-";
}

/* The value, and behind the first run how far it is from the first, relative to it. */
static const char *metric_of(const compare *c, size_t run, const char *tag, char buf[CELL_MAX])
{
    double v, first = (double)NAN;
    (void)last_of(c, 0, tag, &first);
    if (!last_of(c, run, tag, &v))
        snprintf(buf, CELL_MAX, "-");
    else if (run == 0 || !isfinite(v) || !isfinite(first) || first == 0 || v == first)
        snprintf(buf, CELL_MAX, "%.6g", v);
    else
        snprintf(buf, CELL_MAX,
                 fabs(v - first) < fabs(first) ? "%.6g (%+.2g %%)" : "%.6g (%+.0f %%)", v,
                 100 * (v - first) / fabs(first));
    return buf;
}

typedef enum row_kind { NAMES, STATES, OPTION, METRIC } row_kind;

static const char *cell(const compare *c, row_kind kind, size_t run, const char *row,
                        char buf[CELL_MAX])
{
    switch (kind) {
    case NAMES:
        return hl_run_get_row(c->runs[run].run)->name;
    case STATES:
        return state_of(c, run, buf);
    case OPTION:
        return option_of(c, run, row);
    default:
        return metric_of(c, run, row, buf);
    }
}

typedef struct widths {
    int label, *run;
} widths;

static void widen(const compare *c, widths *w, row_kind kind, const char *label)
{
    char buf[CELL_MAX];
    const int n = hl_cli_text_width(c->cli, label);
    w->label = n > w->label ? n : w->label;
    for (size_t i = 0; i < c->n; i++) {
        const int k = hl_cli_text_width(c->cli, cell(c, kind, i, label, buf));
        w->run[i] = k > w->run[i] ? k : w->run[i];
    }
}

static void print_row(const compare *c, const widths *w, row_kind kind, const char *label)
{
    char buf[CELL_MAX];
    hl_cli_put_text(c->cli, label);
    fprintf(c->out, "%*s", w->label - hl_cli_text_width(c->cli, label), "");
    for (size_t i = 0; i < c->n; i++) {
        const char *text = cell(c, kind, i, label, buf);
        const int pad = i + 1 < c->n ? w->run[i] - hl_cli_text_width(c->cli, text) : 0;
        fputs("  ", c->out);
        hl_cli_put_text(c->cli, text);
        fprintf(c->out, "%*s", pad, "");
    }
    fputc('\n', c->out);
}

/* As a member of the object, or as a table behind a blank line; nothing where no run has a test. */
static hl_status add_horizons(const compare *c, bool as_json, hl_str *b)
{
    const hl_run **runs = hl_alloc_zero(c->n, sizeof *runs);
    if (!runs)
        return HL_E_NOMEM;
    for (size_t i = 0; i < c->n; i++)
        runs[i] = c->runs[i].run;
    const hl_status st =
        as_json ? hl_horizons_put(runs, c->n, b) : hl_horizons_text(runs, c->n, b);
    hl_free(runs);
    return st;
}

static hl_status print_text(const compare *c)
{
    hl_str horizons = {0};
    widths w = {.run = hl_alloc_zero(c->n, sizeof *w.run)};
    if (!w.run)
        return HL_E_NOMEM;
    widen(c, &w, NAMES, "run");
    widen(c, &w, STATES, "state");
    for (size_t i = 0; i < c->options.n; i++)
        widen(c, &w, OPTION, c->options.at[i]);
    for (size_t i = 0; i < c->metrics.n; i++)
        widen(c, &w, METRIC, c->metrics.at[i]);
    print_row(c, &w, NAMES, "run");
    print_row(c, &w, STATES, "state");
    fputs(c->options.n ? "\n" : "\nno option differs\n", c->out);
    for (size_t i = 0; i < c->options.n; i++)
        print_row(c, &w, OPTION, c->options.at[i]);
    fputc('\n', c->out);
    for (size_t i = 0; i < c->metrics.n; i++)
        print_row(c, &w, METRIC, c->metrics.at[i]);
    hl_free(w.run);
    const hl_status st = add_horizons(c, false, &horizons);
    if (st == HL_OK && horizons.n)
        fprintf(c->out, "\n%s", hl_str_text(&horizons));
    hl_str_done(&horizons);
    return st;
}

/* --- JSON --- */

static void add_options(const compare *c, hl_str *b)
{
    hl_json_add_key(b, "options");
    hl_json_begin(b, '{');
    for (size_t i = 0; i < c->options.n; i++) {
        hl_json_add_key(b, c->options.at[i]);
        hl_json_begin(b, '[');
        for (size_t k = 0; k < c->n; k++) {
            const hl_flat_entry *e = hl_flat_find(&c->runs[k].config, c->options.at[i]);
            if (e)
                hl_json_add_value(b, e->value);
            else
                hl_json_add_null(b);
        }
        hl_json_end(b, ']');
    }
    hl_json_end(b, '}');
}

static void add_metrics(const compare *c, hl_str *b)
{
    hl_json_add_key(b, "metrics");
    hl_json_begin(b, '{');
    for (size_t i = 0; i < c->metrics.n; i++) {
        hl_json_add_key(b, c->metrics.at[i]);
        hl_json_begin(b, '[');
        for (size_t k = 0; k < c->n; k++) {
            double v;
            if (last_of(c, k, c->metrics.at[i], &v))
                hl_json_add_num(b, v);
            else
                hl_json_add_null(b);
        }
        hl_json_end(b, ']');
    }
    hl_json_end(b, '}');
}

static hl_status print_json(const compare *c)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_add_key(&b, "runs");
    hl_json_begin(&b, '[');
    for (size_t i = 0; i < c->n; i++) {
        const hl_run_row *row = hl_run_get_row(c->runs[i].run);
        hl_json_begin(&b, '{');
        hl_json_put_str(&b, "id", row->id);
        hl_json_put_str(&b, "name", row->name);
        hl_json_put_str(&b, "state", hl_run_state_name(row->state));
        hl_json_put_int(&b, "step", row->step);
        hl_json_end(&b, '}');
    }
    hl_json_end(&b, ']');
    add_options(c, &b);
    add_metrics(c, &b);
    hl_status st = add_horizons(c, true, &b);
    hl_json_end(&b, '}');
    hl_str_addc(&b, '\n');
    st = st == HL_OK ? hl_str_status(&b) : st;
    if (st == HL_OK)
        fputs(b.s, c->out);
    hl_str_done(&b);
    return st;
}

/* --- the command --- */

static hl_status open_run(compare *c, const char *name)
{
    char *dir = NULL;
    compared *r = &c->runs[c->n];
    hl_status st = hl_run_find(hl_cli_runs_dir(c->cli), name, &dir);
    if (st == HL_OK)
        st = hl_run_open(dir, &r->run);
    hl_free(dir);
    if (st != HL_OK)
        return st;
    c->n++;
    return hl_flat_add(&r->config, hl_run_config(r->run));
}

static hl_status compare_all(compare *c)
{
    hl_status st = HL_OK;
    c->runs = hl_alloc_zero(hl_cli_args_n(c->cli), sizeof *c->runs);
    if (!c->runs)
        return HL_E_NOMEM;
    for (size_t i = 0; i < hl_cli_args_n(c->cli); i++)
        HL_TRY(open_run(c, hl_cli_arg(c->cli, i)));
    HL_TRY(choose_options(c));
    HL_TRY(choose_metrics(c));
    st = hl_cli_flag(c->cli, "json") ? print_json(c) : print_text(c);
out:
    return st;
}

static int run(hl_cli *cli)
{
    compare c = {.cli = cli, .out = hl_cli_out(cli)};
    const hl_status st = compare_all(&c);
    for (size_t i = 0; i < c.n; i++) {
        hl_flat_done(&c.runs[i].config);
        hl_run_close(c.runs[i].run);
    }
    hl_free(c.runs);
    hl_vec_done(&c.options);
    hl_vec_done(&c.metrics);
    return st == HL_OK ? HL_EXIT_DONE : hl_cli_fail(cli, st);
}

static const hl_option options[] = {
    {"json", 0, HL_OPTION_FLAG, NULL, NULL, "one JSON object", NULL},
    {"all", 0, HL_OPTION_FLAG, NULL, NULL, "options that are equal and all series too", NULL},
    {0},
};

const hl_command hl_cmd_compare = {
    .name = "compare",
    .help = "in what runs differ, and what came of it",
    .usage = "RUN RUN ...",
    .about = "Options that are not the same in all of them, and the last value of each series, "
             "with its\n"
             "distance from the first run's.\n",
    .options = options,
    .n_args_min = 2,
    .n_args_max = -1,
    .run = run,
};
