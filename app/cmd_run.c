/* hoplab run SCRIPT: trains. The process is the worker; --detach starts another one for it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/hl_app.h"
#include "app/proc/detach.h"
#include "app/worker.h"
#include "engine/base/mem.h"

static hl_lua *interrupted_host;

static void interrupt_script(void)
{
    hl_lua_interrupt(interrupted_host);
}

static void on_signal(void *arg, int sig)
{
    (void)arg;
    hl_worker_wake();
    /* The step is finished in any case; a script in a callback is told to come back. A second
     * signal interrupts it in the middle. */
    if (sig == SIGINT || sig == SIGTERM)
        hl_interrupt_send();
}

/* --resume takes a RUN; a word that is there already as the script is none */
static bool is_run_word(const char *word)
{
    return !hl_str_ends(word, ".lua");
}

static const hl_option options[] = {
    HL_PREPARE_OPTIONS,
    {.name = "name", .type = HL_OPTION_STRING, .value = "S", .help = "name of the run"},
    {.name = "steps", .type = HL_OPTION_INT, .value = "N", .help = "at most so many steps"},
    {.name = "resume",
     .type = HL_OPTION_OPTIONAL,
     .value = "RUN|auto",
     .accepts = is_run_word,
     .help =
         "continue the newest run of this script and configuration, or RUN; auto: or start anew"},
    {.name = "checkpoint",
     .type = HL_OPTION_STRING,
     .value = "NAME",
     .help = "with --resume: from this checkpoint instead of the last"},
    {.name = "replay",
     .type = HL_OPTION_STRING,
     .value = "RUN",
     .help = "change the knobs as they were changed in RUN, and evaluate what it was asked to, at "
             "the same steps"},
    {.name = "on-alert",
     .type = HL_OPTION_STRING,
     .value = "PROGRAM",
     .help = "called at each alert with the run, the step and the text; nothing waits for it"},
    {.name = "sweep",
     .type = HL_OPTION_STRING,
     .value = "NAME",
     .help = "the run is a trial of this sweep: tag sweep:NAME, output to its stdout.log"},
    {.name = "detach", .type = HL_OPTION_FLAG, .help = "leave it running in the background"},
    {.name = "tui",
     .type = HL_OPTION_FLAG,
     .help = "watch it in the workbench; leaving that leaves it running"},
    {.name = "dry-run", .type = HL_OPTION_FLAG, .help = "like check: everything but training"},
    {.name = "json", .type = HL_OPTION_FLAG, .help = "one JSON object per line on standard output"},
    {.name = "quiet", .letter = 'q', .type = HL_OPTION_FLAG, .help = "errors only"},
    {.name = "log-every",
     .type = HL_OPTION_INT,
     .value = "N",
     .otherwise = "0",
     .help = "print a line each N steps; 0: by time"},
    {.name = "grace",
     .type = HL_OPTION_FLOAT,
     .value = "S",
     .otherwise = "25",
     .help = "seconds that SIGTERM leaves for the checkpoint"},
    {.name = "on-usr1",
     .type = HL_OPTION_STRING,
     .value = "W",
     .otherwise = "checkpoint",
     .help = "what SIGUSR1 does: checkpoint, or exit (checkpoint and end)"},
    {0},
};

/* The same command line without the words that start this process's own way of running it: for a
 * worker in a new session. Owned by the caller; NULL: NOMEM set. */
static char **worker_line(const hl_cli *cli)
{
    const int argc = hl_cli_argc(cli);
    char **argv = hl_alloc_zero((size_t)argc + 1, sizeof *argv);
    int n = 0;
    for (int i = 0; argv && i < argc; i++)
        if (strcmp(hl_cli_argv(cli)[i], "--detach") != 0 &&
            strcmp(hl_cli_argv(cli)[i], "--tui") != 0)
            argv[n++] = hl_cli_argv(cli)[i];
    return argv;
}

static int detach(const hl_cli *cli)
{
    char **argv = worker_line(cli);
    hl_detach_result r;
    int status = HL_EXIT_FAILED;
    hl_detach_options o = {.argv = argv, .timeout_ms = 0};
    hl_status st = argv ? hl_detach_start(&o, &r) : HL_E_NOMEM;
    if (st != HL_OK) {
        status = hl_cli_fail(cli, st);
    } else if (!r.started) {
        status =
            hl_cli_complain(cli, r.exit_status ? r.exit_status : HL_EXIT_FAILED, "%s", r.message);
    } else {
        fprintf(hl_cli_out(cli), "%s\n", r.run_id);
        status = HL_EXIT_DONE;
    }
    hl_free(argv);
    return status;
}

static int watch(const hl_cli *cli)
{
    char **argv = worker_line(cli);
    hl_workbench_result result;
    hl_workbench_options o = {.runs_dir = hl_cli_runs_dir(cli),
                              .launches = {argv},
                              .launch_names = {hl_cli_arg(cli, 0)},
                              .n_launches = 1};
    const int status =
        argv ? hl_cmd_show_workbench(cli, &o, &result) : hl_cli_fail(cli, HL_E_NOMEM);
    hl_free(argv);
    return status;
}

static int train(const hl_cli *cli, hl_prepared *p, hl_signals *signals, bool detached)
{
    const char *script = hl_cli_arg(cli, 0), *resume = hl_cli_str(cli, "resume");
    char steps[24] = "";
    if (hl_cli_given(cli, "steps"))
        snprintf(steps, sizeof steps, "%lld", (long long)hl_cli_int(cli, "steps"));
    const hl_extra_override extra[] = {{.path = "name", .text = hl_cli_str(cli, "name")},
                                       {.path = "train.max_steps", .text = steps}};
    bool usage = false;
    p->takes_study = true;
    hl_status st = hl_prepare_host(cli, script, p);
    const bool wrong_flag = st == HL_E_ARG;
    if (st == HL_OK) {
        interrupted_host = p->lua;
        st = hl_interrupt_arm(interrupt_script);
    }
    if (st == HL_OK)
        st = hl_prepare_experiment(cli, script, extra, 2, p, &usage);
    if (st != HL_OK) {
        char message[HL_ERR_MESSAGE_MAX];
        snprintf(message, sizeof message, "%s", hl_err_message());
        const int stop = hl_signals_stop_signal(signals);
        int status = st == HL_E_CANCELLED && stop
                         ? 128 + stop
                         : hl_prepare_fail(cli, p, st, usage || wrong_flag);
        hl_detach_report_failed(status, message);
        return status;
    }
    hl_worker_options o = {.script = script,
                           .runs_dir = hl_cli_runs_dir(cli),
                           .argc = hl_cli_argc(cli),
                           .argv = hl_cli_argv(cli),
                           .resume = hl_cli_given(cli, "resume"),
                           .resume_auto = resume && strcmp(resume, "auto") == 0,
                           .checkpoint = hl_cli_str(cli, "checkpoint"),
                           .replay = hl_cli_str(cli, "replay"),
                           .on_alert = hl_cli_str(cli, "on-alert"),
                           .sweep = hl_cli_str(cli, "sweep"),
                           .json = hl_cli_flag(cli, "json"),
                           .quiet = hl_cli_flag(cli, "quiet"),
                           .log_every = hl_cli_int(cli, "log-every"),
                           .signals = signals,
                           .detached = detached};
    if (resume && !o.resume_auto && resume[0])
        o.resume_run = resume;
    return hl_worker_run(cli, &o, p);
}

static int run(hl_cli *cli)
{
    const bool detached = hl_detach_init();
    if (hl_cli_flag(cli, "detach") && !detached)
        return detach(cli);
    if (hl_cli_flag(cli, "dry-run"))
        return hl_cmd_check_run(cli);
    if (hl_cli_flag(cli, "tui") && !detached)
        return watch(cli);
    hl_signals *signals = NULL;
    hl_prepared p = {0};
    hl_signals_options so = {.detached = detached,
                             .usr1_stops = strcmp(hl_cli_str(cli, "on-usr1"), "exit") == 0,
                             .grace_ms = (int64_t)(hl_cli_float(cli, "grace") * 1000),
                             .on_signal = on_signal};
    hl_status st = hl_signals_start(&so, &signals);
    if (st != HL_OK)
        return hl_cli_fail(cli, st);
    int status = train(cli, &p, signals, detached);
    hl_interrupt_disarm();
    hl_prepared_done(&p);
    hl_signals_stop(signals);
    return status;
}

const hl_command hl_cmd_run = {
    .name = "run",
    .help = "train an experiment",
    .usage = "SCRIPT",
    .about =
        "Trains what the script describes, in a run directory of its own. Exit status: 0 done, 1 "
        "the run failed,\n2 usage, 3 invalid input, 4 device or memory, 130/143 interrupted after "
        "a checkpoint.\n",
    .options = options,
    .n_args_min = 1,
    .n_args_max = 1,
    .run = run};
