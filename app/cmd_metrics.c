/* hoplab metrics RUN: the scalar series of a run, at their ends or around a step. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "app/commands.h"
#include "app/hl_app.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

/* A series within the window, and its point nearest to the step. */
typedef struct row {
    char *tag; /* owned */
    int64_t n, step;
    double value, min, max; /* NAN: nothing finite */
} row;

typedef struct metrics {
    const hl_cli *cli;
    hl_run *run;
    int64_t around, window;
    HL_VEC(row) rows; /* by number of series; without tag: no point of it */
    hl_status st;
} metrics;

static bool is_wanted(const hl_cli *cli, const char *tag)
{
    for (size_t i = 1; i < hl_cli_args_n(cli); i++)
        if (strcmp(tag, hl_cli_arg(cli, i)) == 0 ||
            (hl_str_ends(hl_cli_arg(cli, i), "/") && hl_str_starts(tag, hl_cli_arg(cli, i))))
            return true;
    return hl_cli_args_n(cli) == 1;
}

static int64_t distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

static void take_point(void *self, size_t series, int64_t step, int64_t t_us, double value)
{
    metrics *m = self;
    (void)t_us;
    if (m->st != HL_OK || distance(step, m->around) > m->window)
        return;
    const char *tag = hl_run_series_at(m->run, series).tag;
    while (m->st == HL_OK && m->rows.n <= series)
        m->st = hl_vec_push(&m->rows, ((row){.min = (double)NAN, .max = (double)NAN}));
    if (m->st != HL_OK || !is_wanted(m->cli, tag))
        return;
    row *r = &m->rows.at[series];
    if (!r->tag && !(r->tag = hl_strdup(tag))) {
        m->st = HL_E_NOMEM;
        return;
    }
    /* of two equally near the later one: it is what the run went on with */
    if (r->n == 0 || distance(step, m->around) <= distance(r->step, m->around)) {
        r->step = step;
        r->value = value;
    }
    r->n++;
    if (isfinite(value)) {
        r->min = fmin(r->min, value);
        r->max = fmax(r->max, value);
    }
}

static void put(const metrics *m, const row *r)
{
    FILE *out = hl_cli_out(m->cli);
    const bool csv = hl_cli_flag(m->cli, "csv"), tsv = hl_cli_flag(m->cli, "tsv");
    if (hl_cli_flag(m->cli, "json")) {
        hl_str b = {0};
        hl_json_begin(&b, '{');
        hl_json_put_str(&b, "metric", r->tag);
        hl_json_put_int(&b, "step", r->step);
        hl_json_put_num(&b, "value", r->value);
        hl_json_put_num(&b, "min", r->min);
        hl_json_put_num(&b, "max", r->max);
        hl_json_put_int(&b, "n", r->n);
        hl_json_end(&b, '}');
        fprintf(out, "%s\n", hl_str_text(&b));
        hl_str_done(&b);
        return;
    }
    if (csv)
        hl_cli_put_csv(m->cli, r->tag);
    else
        hl_cli_put_text(m->cli, r->tag);
    if (!csv && !tsv)
        for (int w = hl_cli_text_width(m->cli, r->tag); w < 40; w++)
            fputc(' ', out);
    fprintf(out,
            csv   ? ",%" PRId64 ",%.9g,%.9g,%.9g,%" PRId64 "\n"
            : tsv ? "\t%" PRId64 "\t%.9g\t%.9g\t%.9g\t%" PRId64 "\n"
                  : " %10" PRId64 " %13.6g %13.6g %13.6g %8" PRId64 "\n",
            r->step, r->value, r->min, r->max, r->n);
}

static void put_head(const metrics *m)
{
    FILE *out = hl_cli_out(m->cli);
    if (hl_cli_flag(m->cli, "csv"))
        fprintf(out, "metric,step,value,min,max,n\n");
    else if (hl_cli_flag(m->cli, "tsv"))
        fprintf(out, "metric\tstep\tvalue\tmin\tmax\tn\n");
    else if (!hl_cli_flag(m->cli, "json"))
        fprintf(out, "%-40s %10s %13s %13s %13s %8s\n", "metric", "step", "value", "min", "max",
                "n");
}

static hl_status around(metrics *m)
{
    const hl_run_visitor v = {.self = m, .point = take_point};
    hl_status st = hl_run_scan(m->run, &v, false);
    st = st == HL_OK ? m->st : st;
    for (size_t i = 0; st == HL_OK && i < m->rows.n; i++) {
        const row *r = &m->rows.at[i];
        if (r->tag)
            put(m, r);
    }
    return st;
}

/* Last values, from the summary: no event is read. */
static void ends(metrics *m)
{
    hl_run_scalar s;
    for (size_t i = 0; hl_run_scalar_at(m->run, i, &s); i++)
        if (is_wanted(m->cli, s.tag))
            put(m, &(row){(char *)(uintptr_t)s.tag, s.n, s.last_step, s.last, s.min, s.max});
}

static int run(hl_cli *cli)
{
    hl_status st = HL_OK;
    char *dir = NULL;
    metrics m = {
        .cli = cli, .around = hl_cli_int(cli, "around"), .window = hl_cli_int(cli, "window")};
    if (m.window < 0 || (hl_cli_given(cli, "window") && !hl_cli_given(cli, "around")))
        return hl_cli_complain(cli, HL_EXIT_USAGE,
                               "--window is a number of steps to each side of "
                               "--around STEP");
    HL_TRY(hl_run_find(hl_cli_runs_dir(cli), hl_cli_arg(cli, 0), &dir));
    HL_TRY(hl_run_open(dir, &m.run));
    put_head(&m);
    if (hl_cli_given(cli, "around"))
        HL_TRY(around(&m));
    else
        ends(&m);
out:
    for (size_t i = 0; i < m.rows.n; i++)
        hl_free(m.rows.at[i].tag);
    hl_vec_done(&m.rows);
    hl_run_close(m.run);
    hl_free(dir);
    return st == HL_OK           ? HL_EXIT_DONE
           : st == HL_E_NOTFOUND ? (hl_cli_fail(cli, st), HL_EXIT_INPUT)
                                 : hl_cli_fail(cli, st);
}

static const hl_option options[] = {
    {.name = "around",
     .type = HL_OPTION_INT,
     .value = "STEP",
     .help = "every metric near this step: its nearest value, least and greatest of the window"},
    {.name = "window",
     .type = HL_OPTION_INT,
     .value = "N",
     .otherwise = "100",
     .help = "with --around: so many steps to each side"},
    {.name = "json", .type = HL_OPTION_FLAG, .help = "one JSON object per metric"},
    {.name = "csv", .type = HL_OPTION_FLAG, .help = "as CSV"},
    {.name = "tsv", .type = HL_OPTION_FLAG, .help = "between tabs"},
    {0},
};

const hl_command hl_cmd_metrics = {
    .name = "metrics",
    .help = "the metrics of a run, at the end or around a step",
    .usage = "RUN [METRIC ...]",
    .about = "METRIC: a series, or a head that ends in /, as train/; none: all of them.\n",
    .options = options,
    .n_args_min = 1,
    .n_args_max = 40,
    .run = run};
