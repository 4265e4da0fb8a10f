/* hoplab demo: the main job on an embedded default. A small OPT with plain softmax and with softmax1,
 * on real text if some is found, and a table of loss and outliers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/worker.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

#define SCRIPT "exp/demo.lua"

static const char *const methods[] = {"vanilla", "softmax1"};
enum { N_METHODS = sizeof methods / sizeof methods[0] };

/* A text file of the places where data is kept, or NULL: then the corpus is generated. */
static char *find_text(void)
{
    static const char *const files[] = {"text/war-and-peace/input.txt", "war-and-peace/input.txt",
                                        "text/tinyshakespeare/input.txt", "input.txt"};
    const char *roots[2] = {getenv("HOPLAB_DATA"), "../shared/data"};
    for (int r = 0; r < 2; r++)
        for (size_t f = 0; roots[r] && *roots[r] && f < sizeof files / sizeof files[0]; f++) {
            char *path = hl_fs_join(roots[r], files[f]);
            if (path && hl_fs_size(path) > 100000)
                return path;
            hl_free(path);
        }
    return NULL;
}

typedef struct demo_row {
    char run[80];
    double loss, ppl, bpb, inf_norm, kurtosis;
} demo_row;

static bool read_row(const hl_str *result, demo_row *row)
{
    hl_json *j = NULL;
    if (!result->n || hl_json_parse(result->s, result->n, &j) != HL_OK)
        return false;
    const hl_json *r = hl_json_get(j, "result");
    snprintf(row->run, sizeof row->run, "%s", hl_json_str(hl_json_get(j, "run"), "?"));
    row->loss = hl_json_num(hl_json_get(r, "eval_loss"), 0);
    row->ppl = hl_json_num(hl_json_get(r, "perplexity"), 0);
    row->bpb = hl_json_num(hl_json_get(r, "bits_per_byte"), 0);
    row->inf_norm = hl_json_num(hl_json_get(r, "max_inf_norm"), 0);
    row->kurtosis = hl_json_num(hl_json_get(r, "avg_kurtosis"), 0);
    const bool done = strcmp(hl_json_str(hl_json_get(j, "state"), ""), "done") == 0;
    hl_json_free(j);
    return done;
}

static int one_run(hl_cli *cli, const char *method, const char *text, demo_row *row, bool *done)
{
    hl_signals *signals = NULL;
    hl_prepared p = {0};
    hl_str result = {0};
    bool usage;
    char name[64];
    snprintf(name, sizeof name, "demo-%s", method);
    const hl_extra_override extra[] = {{.path = "model.attention.softmax", .text = method},
                                       {.path = "name", .text = name},
                                       {.path = "data.train", .text = text ? text : "generated"}};
    *done = false;
    hl_status st = hl_signals_start(&(hl_signals_options){0}, &signals);
    if (st != HL_OK)
        return hl_cli_fail(cli, st);
    st = hl_prepare_host(cli, SCRIPT, &p);
    if (st == HL_OK)
        st = hl_prepare_experiment(cli, SCRIPT, extra, sizeof extra / sizeof extra[0], &p, &usage);
    int status;
    if (st != HL_OK) {
        status = hl_prepare_fail(cli, &p, st, false);
    } else {
        hl_worker_options o = {.script = SCRIPT, .runs_dir = hl_cli_runs_dir(cli),
                               .argc = hl_cli_argc(cli), .argv = hl_cli_argv(cli),
                               .quiet = hl_cli_flag(cli, "quiet"), .signals = signals,
                               .result = &result};
        status = hl_worker_run(cli, &o, &p);
    }
    *done = read_row(&result, row);
    hl_prepared_done(&p);
    hl_signals_stop(signals);
    hl_str_done(&result);
    return status;
}

static void print_table(const hl_cli *cli, const demo_row *rows, const char *text)
{
    FILE *out = hl_cli_out(cli);
    fprintf(out, "\nA small OPT on %s: attention with plain softmax and with softmax1\n\n",
            text ? text : "a generated corpus");
    fprintf(out, "  %-10s %10s %12s %14s %14s %14s\n", "attention", "eval loss", "perplexity",
            "bits per byte", "max |x|", "avg kurtosis");
    for (int i = 0; i < N_METHODS; i++)
        fprintf(out, "  %-10s %10.4f %12.4g %14.4f %14.4g %14.4g\n", methods[i], rows[i].loss,
                rows[i].ppl, rows[i].bpb, rows[i].inf_norm, rows[i].kurtosis);
    fprintf(out, "\nmax |x|: largest infinity norm of any watched activation, averaged over sequences; "
                 "kurtosis: heaviness of their tails (a Gaussian has 3).\n"
                 "Outliers grow with training; these runs are short.\n\nruns: %s %s in %s\n"
                 "look closer: hoplab show %s    tensorboard --logdir %s\n",
            rows[0].run, rows[1].run, hl_cli_runs_dir(cli), rows[1].run, hl_cli_runs_dir(cli));
}

static int run(hl_cli *cli)
{
    demo_row rows[N_METHODS] = {0};
    int status = HL_EXIT_DONE;
    bool done = true;
    char *text = hl_cli_flag(cli, "generated") ? NULL : find_text();
    for (int i = 0; i < N_METHODS && done && status == HL_EXIT_DONE; i++)
        status = one_run(cli, methods[i], text, &rows[i], &done);
    if (done && status == HL_EXIT_DONE)
        print_table(cli, rows, text);
    hl_free(text);
    return status;
}

static const hl_option options[] = {
    HL_PREPARE_OPTIONS,
    {.name = "generated", .type = HL_OPTION_FLAG, .help = "use the generated corpus even if text is found"},
    {.name = "quiet", .letter = 'q', .type = HL_OPTION_FLAG, .help = "the final table only"},
    {0},
};

const hl_command hl_cmd_demo = {
    .name = "demo", .help = "train two small models and compare their outliers",
    .about = "Needs no network and no GPU; under two minutes on two cores. Text is looked for in "
             "HOPLAB_DATA and ../shared/data,\nelse generated.\n",
    .options = options, .run = run};
