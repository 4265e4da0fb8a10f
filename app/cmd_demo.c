/* hoplab demo: the main job on embedded defaults. A small OPT with plain softmax and with softmax1,
 * on real text if some is found, an even-odd Hopfield network on digits, and tables of how they
 * did. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/hl_app.h"
#include "app/quantize_record.h"
#include "app/trained.h"
#include "app/worker.h"
#include "data/hl_data.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

typedef struct demo_part {
    const char *name, *script;
    bool is_text;
} demo_part;

static const demo_part parts[] = {{"vanilla", "exp/demo.lua", true},
                                  {"softmax1", "exp/demo.lua", true},
                                  {"hopfield", "exp/demo_deq.lua", false}};
enum { N_PARTS = sizeof parts / sizeof parts[0] };

/* A text file of the places where data is kept, or NULL: then the corpus is generated. */
static char *find_text(void)
{
    static const char *const files[] = {"text/war-and-peace/input.txt", "war-and-peace/input.txt",
                                        "text/tinyshakespeare/input.txt", "input.txt"};
    const char *place;
    for (size_t i = 0; (place = hl_data_place(i)); i++)
        for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
            char *path = hl_fs_join(place, files[f]);
            if (path && hl_fs_size(path) > 100000)
                return path;
            hl_free(path);
        }
    return NULL;
}

typedef struct demo_row {
    char run[80];
    double loss, ppl, bpb, inf_norm, kurtosis;  /* text */
    double ppl_w8a8[2];                         /* simulated, executed */
    double accuracy, iterations, not_converged; /* digits */
} demo_row;

static void fill_row(const char *run, const hl_json *r, demo_row *row)
{
    snprintf(row->run, sizeof row->run, "%s", run);
    row->loss = hl_json_num(hl_json_get(r, "eval_loss"), 0);
    row->ppl = hl_json_num(hl_json_get(r, "perplexity"), 0);
    row->bpb = hl_json_num(hl_json_get(r, "bits_per_byte"), 0);
    row->inf_norm = hl_json_num(hl_json_get(r, "max_inf_norm"), 0);
    row->kurtosis = hl_json_num(hl_json_get(r, "avg_kurtosis"), 0);
    const hl_json *m = hl_json_get(r, "metrics");
    row->accuracy = hl_json_num(hl_json_get(m, "eval/accuracy"), 0);
    row->iterations = hl_json_num(hl_json_get(m, "eval/deq/iterations"), 0);
    row->not_converged = hl_json_num(hl_json_get(m, "eval/deq/not_converged"), 0);
}

/* Of the run's final JSON object; false: it did not get to its end. */
static bool read_row(const hl_str *result, demo_row *row)
{
    hl_json *j = NULL;
    if (!result->n || hl_json_parse(result->s, result->n, &j) != HL_OK)
        return false;
    fill_row(hl_json_str(hl_json_get(j, "run"), "?"), hl_json_get(j, "result"), row);
    const bool done = strcmp(hl_json_str(hl_json_get(j, "state"), ""), "done") == 0;
    hl_json_free(j);
    return done;
}

/* The same from the directory of a run. */
static bool read_finished(const char *runs_dir, const char *id, demo_row *row)
{
    hl_run *run = NULL;
    char *dir = hl_fs_join(runs_dir, id);
    bool done = false;
    if (dir && *id && hl_run_open(dir, &run) == HL_OK) {
        done = hl_run_get_row(run)->state == HL_RUN_DONE;
        fill_row(id, hl_json_get(hl_run_tables(run), "result"), row);
    }
    hl_run_close(run);
    hl_free(dir);
    return done;
}

/* What sets one part apart, as -s does; returns how many. */
static size_t overrides(const demo_part *part, const char *text, bool generated, const char *name,
                        hl_extra_override extra[3])
{
    size_t n = 0;
    extra[n++] = (hl_extra_override){.path = "name", .text = name};
    if (part->is_text) {
        extra[n++] = (hl_extra_override){.path = "model.attention.softmax", .text = part->name};
        extra[n++] = (hl_extra_override){.path = "data.train", .text = text ? text : "generated"};
    } else if (generated) {
        extra[n++] = (hl_extra_override){.path = "data.set", .text = "generated"};
    }
    return n;
}

static int one_run(hl_cli *cli, const demo_part *part, const char *text, demo_row *row, bool *done)
{
    hl_signals *signals = NULL;
    hl_prepared p = {0};
    hl_str result = {0};
    bool usage;
    char name[64];
    snprintf(name, sizeof name, "demo-%s", part->name);
    hl_extra_override extra[3];
    const size_t n = overrides(part, text, hl_cli_flag(cli, "generated"), name, extra);
    *done = false;
    const bool detached = hl_detach_init();
    hl_status st = hl_signals_start(&(hl_signals_options){.detached = detached}, &signals);
    if (st != HL_OK)
        return hl_cli_fail(cli, st);
    st = hl_prepare_host(cli, part->script, &p);
    if (st == HL_OK)
        st = hl_prepare_experiment(cli, part->script, extra, n, &p, &usage);
    int status;
    if (st != HL_OK) {
        char message[HL_ERR_MESSAGE_MAX];
        snprintf(message, sizeof message, "%s", hl_err_message());
        status = hl_prepare_fail(cli, &p, st, false);
        hl_detach_report_failed(status, message);
    } else {
        hl_worker_options o = {.script = part->script,
                               .runs_dir = hl_cli_runs_dir(cli),
                               .argc = hl_cli_argc(cli),
                               .argv = hl_cli_argv(cli),
                               .quiet = hl_cli_flag(cli, "quiet"),
                               .signals = signals,
                               .detached = detached,
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
    fprintf(out, "  %-10s %10s %12s %14s %10s %12s %12s %12s\n", "attention", "eval loss",
            "perplexity", "bits per byte", "max |x|", "avg kurtosis", "ppl W8A8", "in integers");
    for (int i = 0; i < N_PARTS; i++)
        if (parts[i].is_text)
            fprintf(out, "  %-10s %10.4f %12.4f %14.4f %10.4g %12.4g %12.4f %12.4f\n",
                    parts[i].name, rows[i].loss, rows[i].ppl, rows[i].bpb, rows[i].inf_norm,
                    rows[i].kurtosis, rows[i].ppl_w8a8[0], rows[i].ppl_w8a8[1]);
    fprintf(out,
            "\nmax |x|: largest infinity norm of any watched activation, averaged over sequences; "
            "kurtosis: heaviness of their tails (a Gaussian has 3).\n"
            "W8A8: weights and activations on the grids of 8-bit codes, then the linear layers in "
            "integers.\n"
            "Outliers grow with training; these runs are short.\n"
            "\nAn even-odd Hopfield network on digits, solved to its fixed point\n\n");
    fprintf(out, "  %-10s %10s %12s %14s %14s\n", "network", "eval loss", "accuracy", "iterations",
            "not converged");
    for (int i = 0; i < N_PARTS; i++)
        if (!parts[i].is_text)
            fprintf(out, "  %-10s %10.4f %12.4f %14.2f %13.2f%%\n", parts[i].name, rows[i].loss,
                    rows[i].accuracy, rows[i].iterations, 100 * rows[i].not_converged);
    fprintf(out, "\nruns:");
    for (int i = 0; i < N_PARTS; i++)
        fprintf(out, " %s", rows[i].run);
    fprintf(out, " in %s\nlook closer: hoplab show %s    tensorboard --logdir %s\n",
            hl_cli_runs_dir(cli), rows[N_PARTS - 1].run, hl_cli_runs_dir(cli));
}

/* W8A8 of a finished run, simulated and with linear layers in integers. */
static hl_status quantize(const hl_cli *cli, demo_row *row)
{
    hl_status st = HL_OK;
    bool usage;
    const hl_trained_ask ask = {.name = row->run, .same_batches = true};
    hl_trained m = {0};
    hl_train *train = NULL;
    hl_quantized *q = NULL;
    hl_json *in_float = NULL, *result[2] = {0}, *sites = NULL;
    double seconds;
    HL_TRY(hl_trained_open(cli, &ask, &m, &usage));
    /* on what the run itself evaluated on, for the numbers stand side by side */
    m.p.exp->eval_batches = hl_json_int(hl_json_get(hl_json_get(m.config, "eval"), "batches"), 0);
    const hl_train_setup setup = hl_trained_setup(&m);
    HL_TRY(hl_train_new(&setup, &train));
    HL_TRY(hl_trained_load(&m, train));
    HL_TRY(hl_quantized_new(&setup, &q));
    HL_TRY(hl_quantized_calibrate(q, 0));
    for (int executed = 0; executed < 2; executed++) {
        HL_TRY(hl_quantized_evaluate(q, executed, &result[executed], &seconds));
        row->ppl_w8a8[executed] = hl_json_num(hl_json_get(result[executed], "perplexity"), 0);
    }
    HL_TRY(hl_quantized_in_float(q, &in_float, &seconds));
    HL_TRY(hl_quantized_sites(q, &sites));
    hl_quantize_event e = {.by = "hoplab demo",
                           .step = hl_train_step(train),
                           .in_float = in_float,
                           .simulated = result[0],
                           .executed = result[1],
                           .tensors = sites};
    HL_IGNORE(hl_quantize_record(NULL, &m, &e)); /* for view 5; the table is printed all the same */
out:
    hl_json_free(in_float);
    hl_json_free(result[0]);
    hl_json_free(result[1]);
    hl_json_free(sites);
    hl_quantized_free(q);
    hl_train_free(train);
    hl_trained_done(&m);
    return st;
}

static int finish(const hl_cli *cli, demo_row *rows, const char *text)
{
    for (int i = 0; i < N_PARTS; i++) {
        hl_status st = parts[i].is_text ? quantize(cli, &rows[i]) : HL_OK;
        if (st != HL_OK)
            return hl_cli_fail(cli, st);
    }
    print_table(cli, rows, text);
    return HL_EXIT_DONE;
}

/* ---- on a terminal: a worker for each, and the workbench to watch them ---- */

enum { MORE_WORDS = 5 };

/* This command line for one of the runs, in a process of its own; owned by the caller. */
static char **worker_line(const hl_cli *cli, const char *part, char threads[24])
{
    const int argc = hl_cli_argc(cli);
    char **argv = hl_alloc_zero((size_t)argc + MORE_WORDS + 1, sizeof *argv);
    static char only[] = "--only", n_threads[] = "--threads";
    int n = 0;
    for (; argv && n < argc; n++)
        argv[n] = hl_cli_argv(cli)[n];
    if (!argv)
        return NULL;
    argv[n++] = only;
    argv[n++] = (char *)(uintptr_t)part; /* a word of a command line is never written to */
    if (!hl_cli_given(cli, "threads")) {
        const int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
        snprintf(threads, 24, "%lld", (long long)(cores > N_PARTS ? cores / N_PARTS : 1));
        argv[n++] = n_threads;
        argv[n++] = threads;
    }
    return argv;
}

static int watch_all(const hl_cli *cli, const char *text)
{
    hl_workbench_options o = {.runs_dir = hl_cli_runs_dir(cli), .n_launches = N_PARTS};
    hl_workbench_result result;
    demo_row rows[N_PARTS] = {0};
    char threads[24];
    char **lines[N_PARTS] = {0};
    int status = HL_EXIT_DEVICE;
    bool done = true;
    for (int i = 0; i < N_PARTS; i++) {
        o.launches[i] = lines[i] = worker_line(cli, parts[i].name, threads);
        o.launch_names[i] = parts[i].name;
        done &= lines[i] != NULL;
    }
    if (done)
        status = hl_cmd_show_workbench(cli, &o, &result);
    for (int i = 0; i < N_PARTS; i++) {
        done &=
            status == HL_EXIT_DONE && read_finished(hl_cli_runs_dir(cli), result.runs[i], &rows[i]);
        hl_free(lines[i]);
    }
    return done ? finish(cli, rows, text) : status;
}

/* One run as a worker of watch_all. */
static int only_run(hl_cli *cli, const char *name, const char *text)
{
    demo_row row;
    bool done;
    for (int i = 0; i < N_PARTS; i++)
        if (strcmp(name, parts[i].name) == 0)
            return one_run(cli, &parts[i], text, &row, &done);
    return hl_cli_complain(cli, HL_EXIT_USAGE, "--only takes %s, %s or %s", parts[0].name,
                           parts[1].name, parts[2].name);
}

static int all_runs(hl_cli *cli, const char *text)
{
    demo_row rows[N_PARTS] = {0};
    int status = HL_EXIT_DONE;
    bool done = true;
    for (int i = 0; i < N_PARTS && done && status == HL_EXIT_DONE; i++)
        status = one_run(cli, &parts[i], text, &rows[i], &done);
    return done && status == HL_EXIT_DONE ? finish(cli, rows, text) : status;
}

static int run(hl_cli *cli)
{
    const bool screen = !hl_cli_flag(cli, "quiet") && !hl_cli_flag(cli, "no-tui") &&
                        isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) &&
                        hl_cli_program(cli)->workbench;
    const char *only = hl_cli_str(cli, "only");
    char *text = hl_cli_flag(cli, "generated") ? NULL : find_text();
    const int status = only     ? only_run(cli, only, text)
                       : screen ? watch_all(cli, text)
                                : all_runs(cli, text);
    hl_free(text);
    return status;
}

static const hl_option options[] = {
    HL_PREPARE_OPTIONS,
    {.name = "generated",
     .type = HL_OPTION_FLAG,
     .help = "use the generated corpus and digits even if real ones are found"},
    {.name = "quiet", .letter = 'q', .type = HL_OPTION_FLAG, .help = "the final table only"},
    {.name = "no-tui", .type = HL_OPTION_FLAG, .help = "no workbench, one run after the other"},
    {.name = "only",
     .type = HL_OPTION_STRING,
     .value = "PART",
     .help = "one of the runs: vanilla, softmax1 or hopfield"},
    {0},
};

const hl_command hl_cmd_demo = {
    .name = "demo",
    .help = "train three small models: outliers, and a network at equilibrium",
    .about = "On a terminal they train side by side and the workbench shows them; elsewhere one "
             "after the other.\nNeeds no network and no GPU; under two minutes on two cores. Text "
             "and digits are "
             "looked for in HOPLAB_DATA,\ndata and ../shared/data, else generated.\n",
    .options = options,
    .run = run};
