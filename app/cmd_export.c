/* hoplab export RUN ...: scalars as CSV, charts as SVG or PNG, all of it as a page, the model as a
 * directory for other programs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "app/export/export.h"
#include "app/hf_export.h"
#include "app/proc/detach.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

enum { TAGS_MAX = 64, VIEWS_MAX = 16, SIDE_MIN = 100, SIDE_MAX = 20000 };

typedef struct job {
    const hl_cli *cli;
    hl_export e;
    hl_run **runs;
    const char *tags[TAGS_MAX];
    hl_picture_size size;
    bool trajectory, forecast;
    hl_export_figure views[VIEWS_MAX];
    hl_str drawn[VIEWS_MAX]; /* what they point to */
} job;

static hl_status make(const job *j, const char *what, hl_str *out)
{
    if (strcmp(what, "csv") == 0)
        return j->forecast ? hl_export_forecast_csv(&j->e, out) : hl_export_csv(&j->e, out);
    if (strcmp(what, "quant") == 0)
        return hl_export_quant_csv(&j->e, out);
    if (strcmp(what, "tokens") == 0)
        return hl_export_tokens_csv(&j->e, out);
    if (strcmp(what, "html") == 0)
        return hl_export_page(&j->e, out);
    const hl_picture kind = strcmp(what, "png") == 0 ? HL_PICTURE_PNG : HL_PICTURE_SVG;
    return j->trajectory ? hl_export_trajectories(&j->e, kind, j->size, out)
           : j->forecast ? hl_export_forecasts(&j->e, kind, j->size, out)
                         : hl_export_charts(&j->e, kind, j->size, out);
}

/* To the file, or to standard output for "-". */
static hl_status put(const job *j, const char *path, const hl_str *bytes)
{
    if (strcmp(path, "-") != 0)
        return hl_fs_write_atomic(path, bytes->s, bytes->n);
    FILE *out = hl_cli_out(j->cli);
    if (fwrite(bytes->s, 1, bytes->n, out) != bytes->n || fflush(out) != 0)
        return errno == EPIPE ? HL_OK : hl_err_set(HL_E_IO, "standard output: %s", strerror(errno));
    return HL_OK;
}

/* "WIDTHxHEIGHT" */
static bool read_size(const char *text, hl_picture_size *size)
{
    char w[24];
    const size_t n = strcspn(text, "x");
    if (n >= sizeof w || text[n] != 'x')
        return false;
    snprintf(w, sizeof w, "%.*s", (int)n, text);
    return hl_parse_f64(w, &size->w) == HL_OK && hl_parse_f64(text + n + 1, &size->h) == HL_OK &&
           size->w >= SIDE_MIN && size->w <= SIDE_MAX && size->h >= SIDE_MIN && size->h <= SIDE_MAX;
}

/* A wrong word on the command line, or HL_EXIT_DONE. */
static int read_options(job *j)
{
    const hl_cli *cli = j->cli;
    const char *figure = hl_cli_str(cli, "figure"), *size = hl_cli_str(cli, "size");
    if (!hl_cli_given(cli, "csv") && !hl_cli_given(cli, "svg") && !hl_cli_given(cli, "png") &&
        !hl_cli_given(cli, "html") && !hl_cli_given(cli, "hf") && !hl_cli_given(cli, "quant") &&
        !hl_cli_given(cli, "tokens"))
        return hl_cli_complain(cli, HL_EXIT_USAGE,
                               "say what to write: --csv, --quant, --tokens, --svg, --png or "
                               "--html FILE, or --hf DIR");
    if (hl_cli_given(cli, "hf") && hl_cli_args_n(cli) != 1)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--hf takes one run");
    j->trajectory = strcmp(figure, "trajectory") == 0;
    j->forecast = strcmp(figure, "forecast") == 0;
    if (!j->trajectory && !j->forecast && strcmp(figure, "curves") != 0)
        return hl_cli_complain(cli, HL_EXIT_USAGE,
                               "--figure takes curves, trajectory or forecast, not '%s'", figure);
    const int64_t window = hl_cli_int(cli, "window");
    if (window < 1)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--window counts from 1");
    j->e.window = (size_t)window;
    if (size && !read_size(size, &j->size))
        return hl_cli_complain(cli, HL_EXIT_USAGE,
                               "--size takes WIDTHxHEIGHT from %d to %d, not '%s'", SIDE_MIN,
                               SIDE_MAX, size);
    if (hl_cli_many_n(cli, "tag") > TAGS_MAX)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "more than %d times --tag", TAGS_MAX);
    for (size_t i = 0; i < hl_cli_many_n(cli, "tag"); i++)
        j->tags[i] = hl_cli_many(cli, "tag", i);
    j->e.tags = j->tags;
    j->e.n_tags = hl_cli_many_n(cli, "tag");
    j->e.title = hl_cli_str(cli, "title");
    j->e.log = hl_cli_flag(cli, "log");
    return HL_EXIT_DONE;
}

static hl_status open_runs(job *j)
{
    const size_t n = hl_cli_args_n(j->cli);
    j->runs = hl_alloc_zero(n, sizeof(hl_run *));
    if (!j->runs)
        return HL_E_NOMEM;
    j->e.runs = j->runs;
    for (size_t i = 0; i < n; i++) {
        char *dir = NULL;
        hl_status st = hl_run_find(hl_cli_runs_dir(j->cli), hl_cli_arg(j->cli, i), &dir);
        if (st == HL_OK)
            st = hl_run_open(dir, &j->runs[i]);
        hl_free(dir);
        if (st != HL_OK)
            return st;
        j->e.n_runs++;
    }
    return HL_OK;
}

/* --view NAME: as the workbench draws it for the first run, with all of them marked. */
static int draw_view(job *j, size_t i)
{
    enum { COLS = 100, ROWS = 34, RUNS_MAX = 12 };
    const hl_cli *cli = j->cli;
    const size_t n = j->e.n_runs < RUNS_MAX ? j->e.n_runs : RUNS_MAX;
    const char *commands[RUNS_MAX + 2];
    hl_str line[RUNS_MAX + 2] = {0};
    hl_workbench_result result;
    char *store = hl_fs_parent(hl_run_get_row(j->runs[0])->dir);
    hl_workbench_options o = {.runs_dir = store,
                              .dump_cols = COLS,
                              .dump_rows = ROWS,
                              .dump_keys = "",
                              .commands = commands,
                              .view_as = "svg",
                              .picture = &j->drawn[i]};
    hl_status st = store ? HL_OK : HL_E_NOMEM;
    for (size_t k = 0; k < n + 2; k++) {
        const char *word =
            k == n + 1 ? hl_cli_many(cli, "view", i) : hl_run_get_row(j->runs[k < n ? k : 0])->id;
        hl_str_addf(&line[k], "%s \"%s\"", k < n ? "mark" : k == n ? "open" : "view", word);
        if (st == HL_OK)
            st = hl_str_status(&line[k]);
        commands[k] = hl_str_text(&line[k]);
    }
    o.n_commands = n + 2;
    int status = st == HL_OK ? hl_cmd_show_workbench(cli, &o, &result) : hl_cli_fail(cli, st);
    for (size_t k = 0; k < n + 2; k++)
        hl_str_done(&line[k]);
    hl_free(store);
    j->views[i] = (hl_export_figure){hl_cli_many(cli, "view", i), hl_str_text(&j->drawn[i])};
    return status;
}

static int draw_views(job *j)
{
    const size_t n = hl_cli_many_n(j->cli, "view");
    int status = HL_EXIT_DONE;
    if (n > VIEWS_MAX)
        return hl_cli_complain(j->cli, HL_EXIT_USAGE, "more than %d times --view", VIEWS_MAX);
    if (n && !hl_cli_given(j->cli, "html"))
        return hl_cli_complain(j->cli, HL_EXIT_USAGE,
                               "--view is a part of a page: --html FILE; for one view as a file "
                               "there is hoplab plot view:NAME -o FILE");
    for (size_t i = 0; i < n && status == HL_EXIT_DONE; i++)
        status = draw_view(j, i);
    j->e.figures = j->views;
    j->e.n_figures = n;
    return status;
}

static int run(hl_cli *cli)
{
    static const char *const kinds[] = {"csv", "quant", "tokens", "svg", "png", "html"};
    enum { N_KINDS = sizeof kinds / sizeof kinds[0] };
    job j = {.cli = cli};
    hl_status st = HL_OK;
    bool pictures = false;
    char why[HL_ERR_MESSAGE_MAX] = "wrong use";
    (void)hl_detach_init(); /* a screen may have started this, and waits for a word */
    int status = read_options(&j);
    for (int i = 0; i < N_KINDS; i++)
        pictures = pictures || hl_cli_given(cli, kinds[i]);
    if (status == HL_EXIT_DONE && hl_cli_given(cli, "hf"))
        status = hl_hf_export(cli, hl_cli_arg(cli, 0), hl_cli_str(cli, "hf"));
    if (status == HL_EXIT_DONE && pictures)
        st = open_runs(&j);
    if (status == HL_EXIT_DONE && st == HL_OK)
        status = draw_views(&j);
    for (int i = 0; i < N_KINDS; i++) {
        hl_str bytes = {0};
        if (status != HL_EXIT_DONE || st != HL_OK || !hl_cli_given(cli, kinds[i]))
            continue;
        st = make(&j, kinds[i], &bytes);
        if (st == HL_OK)
            st = put(&j, hl_cli_str(cli, kinds[i]), &bytes);
        hl_str_done(&bytes);
    }
    if (st != HL_OK)
        snprintf(why, sizeof why, "%s", hl_err_message());
    if (st == HL_E_UNSUPPORTED)
        status = hl_cli_complain(cli, HL_EXIT_USAGE, "%s", hl_err_message());
    else if (st != HL_OK)
        status = hl_cli_fail(cli, st);
    if (status != HL_EXIT_DONE)
        hl_detach_report_failed(status, why);
    else
        hl_detach_report_started("");
    for (size_t i = 0; i < j.e.n_runs; i++)
        hl_run_close(j.runs[i]);
    for (size_t i = 0; i < VIEWS_MAX; i++)
        hl_str_done(&j.drawn[i]);
    hl_free(j.runs);
    return status;
}

static const hl_option options[] = {
    {.name = "csv", .type = HL_OPTION_STRING, .value = "FILE", .help = "all scalars, one per line"},
    {.name = "quant",
     .type = HL_OPTION_STRING,
     .value = "FILE",
     .help = "quantizations as CSV, a line for each tensor"},
    {.name = "tokens",
     .type = HL_OPTION_STRING,
     .value = "FILE",
     .help = "token positions with the largest values as CSV (probe.channels)"},
    {.name = "svg", .type = HL_OPTION_STRING, .value = "FILE", .help = "charts as vectors"},
    {.name = "png", .type = HL_OPTION_STRING, .value = "FILE", .help = "charts as pixels"},
    {.name = "html",
     .type = HL_OPTION_STRING,
     .value = "FILE",
     .help = "a page with charts, results and configuration"},
    {.name = "hf",
     .type = HL_OPTION_STRING,
     .value = "DIR",
     .help = "the model for the transformers library: config.json and safetensors"},
    {.name = "checkpoint",
     .type = HL_OPTION_STRING,
     .value = "NAME",
     .help = "with --hf: best, last or a step's name; default the last"},
    {.name = "tag",
     .letter = 't',
     .type = HL_OPTION_MANY,
     .value = "PATTERN",
     .help = "series to take, with * and ?; default all for CSV, the loss for charts"},
    {.name = "figure",
     .type = HL_OPTION_STRING,
     .value = "F",
     .otherwise = "curves",
     .help = "curves, trajectory (convergence of equilibrium models, 1 to 4 runs) or forecast"},
    {.name = "window",
     .type = HL_OPTION_INT,
     .value = "N",
     .otherwise = "1",
     .help = "which of the recorded windows the forecast figure shows"},
    {.name = "view",
     .type = HL_OPTION_MANY,
     .value = "NAME",
     .help = "with --html: a view written in Lua, too (docs/extending.md)"},
    {.name = "log", .type = HL_OPTION_FLAG, .help = "logarithmic values"},
    {.name = "title", .type = HL_OPTION_STRING, .value = "TEXT", .help = "above the picture"},
    {.name = "size", .type = HL_OPTION_STRING, .value = "WxH", .help = "of the picture in pixels"},
    {0},
};

const hl_command hl_cmd_export = {
    .name = "export",
    .help = "write runs as CSV, charts (SVG, PNG) or a page, or a model",
    .usage = "RUN ...",
    .about =
        "FILE '-' is standard output. Several runs are laid over each other. --hf also takes a "
        "checkpoint\ndirectory; DIR must not exist, or be empty.\n",
    .options = options,
    .n_args_min = 1,
    .n_args_max = -1,
    .run = run};
