/* hoplab sweep SCRIPT: trains an experiment in many configurations, each an ordinary run of a
 * worker of its own. This process computes nothing: it expands, looks what is there, starts and
 * waits. */
#include <stdio.h>
#include <string.h>

#include "app/cmd_sweep.h"
#include "app/commands.h"
#include "app/lua/sweep.h"
#include "app/prepare.h"
#include "app/proc/detach.h"
#include "app/sweep/slurm.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

typedef hl_sweep_session session;

/* ---- planning ---- */

static hl_status open_host(session *s, hl_lua **out)
{
    const hl_lua_options o = {.script_dir = s->script_dir,
                              .scripts = hl_cli_str(s->cli, "scripts"),
                              .sandbox = hl_cli_flag(s->cli, "sandbox")};
    return hl_lua_new(&o, out);
}

/* Keeps what the host knows about its error before it goes. */
static void close_host(session *s, hl_lua *h, hl_status st)
{
    if (st != HL_OK && h) {
        s->usage = st == HL_E_NOTFOUND && hl_str_starts(hl_err_message(), "-s ");
        snprintf(s->hint, sizeof s->hint, "%s", hl_lua_hint(h));
    }
    hl_lua_free(h);
}

/* -s a=b as pairs; the copies are owned by the caller. */
static hl_status split_sets(session *s, hl_override *sets, char **copies, int *n)
{
    for (size_t i = 0; i < hl_cli_many_n(s->cli, "set"); i++) {
        const char *word = hl_cli_many(s->cli, "set", i);
        char *copy = copies[i] = hl_strdup(word), *eq = copy ? strchr(copy, '=') : NULL;
        if (!copy)
            return HL_E_NOMEM;
        if (!eq || eq == copy) {
            s->usage = true;
            return hl_err_set(HL_E_NOTFOUND, "-s %s: write -s path=value or path=v1,v2", word);
        }
        *eq = '\0';
        sets[(*n)++] = (hl_override){.path = copy, .text = eq + 1};
    }
    return HL_OK;
}

static hl_status make_plan(session *s)
{
    hl_status st = HL_OK;
    const size_t n_set = hl_cli_many_n(s->cli, "set");
    hl_override *sets = hl_alloc_zero(n_set + 1, sizeof *sets);
    char **copies = hl_alloc_zero(n_set + 1, sizeof *copies);
    hl_lua *h = NULL;
    hl_json *plan = NULL;
    hl_sweep_request r = {.script = s->script,
                          .sets = sets,
                          .repeats = hl_cli_int(s->cli, "repeat"),
                          .random = hl_cli_int(s->cli, "random"),
                          .name = hl_cli_str(s->cli, "name")};
    if (!sets || !copies) {
        st = HL_E_NOMEM;
        goto out;
    }
    HL_TRY(split_sets(s, sets, copies, &r.n_sets));
    if (hl_cli_given(s->cli, "seed"))
        sets[r.n_sets++] = (hl_override){.path = "seed", .text = hl_cli_str(s->cli, "seed")};
    HL_TRY(open_host(s, &h));
    HL_TRY(hl_lua_plan_sweep(h, &r, &plan));
    HL_TRY(hl_sweep_init(&s->sweep, plan));
out:
    if (h)
        close_host(s, h, st);
    for (size_t i = 0; copies && i < n_set; i++)
        hl_free(copies[i]);
    hl_free(copies);
    hl_free(sets);
    return st;
}

/* ---- one trial ---- */

/* What a trial sets, as for hl_lua_load_experiment; borrowed from the plan and the trial. Owned. */
static hl_override *overrides_of(const session *s, const hl_trial *t, int *n)
{
    const hl_json *fixed = hl_json_get(s->sweep.plan, "fixed");
    const size_t most = (size_t)hl_json_len(fixed) + (size_t)hl_json_len(t->values) + 1;
    hl_override *list = hl_alloc_zero(most, sizeof *list);
    *n = 0;
    if (!list)
        return NULL;
    for (int part = 0; part < 2; part++)
        for (const hl_json *v = hl_json_at(part ? t->values : fixed, 0); v; v = hl_json_next(v))
            list[(*n)++] = (hl_override){.path = hl_json_str(hl_json_at(v, 0), ""),
                                         .text = hl_json_str(hl_json_at(v, 1), "")};
    list[(*n)++] = (hl_override){.path = "name", .text = t->name};
    return list;
}

/* Resolves a trial's configuration in an interpreter of its own, as its worker will; *identity, if
 * asked for, needs the data and the weights too. */
static hl_status resolve(session *s, const hl_trial *t, bool *wanted, uint64_t *key,
                         uint64_t *identity)
{
    hl_status st = HL_OK;
    hl_lua *h = NULL;
    hl_experiment *e = NULL;
    int n;
    hl_override *list = overrides_of(s, t, &n);
    if (!list)
        return HL_E_NOMEM;
    HL_TRY(open_host(s, &h));
    HL_TRY(hl_lua_load_experiment(h, s->script, list, n));
    if (wanted)
        HL_TRY(hl_lua_sweep_wants(h, wanted));
    if (key)
        HL_TRY(hl_lua_sweep_key(h, key));
    if (identity) {
        HL_TRY(hl_lua_build_experiment(h, &e));
        *identity = e->identity;
    }
out:
    hl_experiment_free(e);
    close_host(s, h, st);
    hl_free(list);
    return st;
}

static hl_status identify(void *arg, const hl_trial *t, uint64_t *identity)
{
    session *s = arg;
    if (hl_signals_stop_signal(s->signals))
        return hl_err_set(HL_E_CANCELLED, "interrupted");
    return resolve(s, t, NULL, NULL, identity);
}

/* Every configuration is resolved before the first one is trained, so that a slip shows at once. */
static hl_status check_trials(session *s)
{
    for (size_t i = 0; i < s->sweep.n;) {
        bool wanted = true;
        if (hl_signals_stop_signal(s->signals))
            return hl_err_set(HL_E_CANCELLED, "interrupted");
        hl_trial *t = &s->sweep.trials[i];
        hl_status st = resolve(s, t, &wanted, &t->key, NULL);
        if (st != HL_OK)
            return st;
        if (wanted)
            i++;
        else
            hl_sweep_drop(&s->sweep, i);
    }
    if (s->sweep.n == 0)
        return hl_err_set(HL_E_ARG, "%s: 'where' leaves no configuration", s->script);
    return HL_OK;
}

static void choose_trials(session *s)
{
    const bool rerun = hl_cli_given(s->cli, "rerun");
    for (size_t i = 0; i < s->sweep.n; i++) {
        hl_trial *t = &s->sweep.trials[i];
        t->wanted = t->state == HL_TRIAL_NEW || t->state == HL_TRIAL_INTERRUPTED ||
                    (rerun && (t->state == HL_TRIAL_FAILED || t->state == HL_TRIAL_STOPPED));
    }
}

static hl_status look(session *s)
{
    bool asked = false;
    hl_status st = hl_sweep_look(&s->sweep, s->runs, identify, s);
    if (st != HL_OK)
        return st;
    choose_trials(s);
    if (!hl_cli_flag(s->cli, "ignore-queue"))
        st = hl_slurm_look(&s->sweep, s->runs, &asked);
    if (st != HL_OK || !asked)
        return st;
    st = hl_sweep_look(&s->sweep, s->runs, identify, s);
    choose_trials(s);
    return st;
}

/* ---- workers ---- */

static void clear_words(session *s)
{
    for (size_t i = 0; i < s->words.n; i++)
        hl_free(s->words.at[i]);
    s->words.n = 0;
}

static hl_status add_word(session *s, const char *word)
{
    char *copy = hl_strdup(word);
    hl_status st = copy ? hl_vec_push(&s->words, copy) : HL_E_NOMEM;
    if (st != HL_OK)
        hl_free(copy);
    return st;
}

static hl_status add_option(session *s, const char *option, const char *value)
{
    hl_status st = value ? add_word(s, option) : HL_OK;
    return st == HL_OK && value ? add_word(s, value) : st;
}

static hl_status add_values(session *s, const hl_json *list)
{
    hl_status st = HL_OK;
    for (const hl_json *v = hl_json_at(list, 0); v && st == HL_OK; v = hl_json_next(v)) {
        hl_str b = {0};
        hl_str_addf(&b, "%s=%s", hl_json_str(hl_json_at(v, 0), ""),
                    hl_json_str(hl_json_at(v, 1), ""));
        st = hl_str_status(&b);
        if (st == HL_OK)
            st = add_option(s, "-s", b.s);
        hl_str_done(&b);
    }
    return st;
}

char **hl_sweep_worker_line(void *arg, const hl_trial *t, const char *resume)
{
    hl_status st = HL_OK;
    session *s = arg;
    char threads[24];
    snprintf(threads, sizeof threads, "%lld", (long long)s->threads);
    clear_words(s);
    HL_TRY(add_word(s, s->program));
    HL_TRY(add_option(s, "run", s->script));
    HL_TRY(add_values(s, hl_json_get(s->sweep.plan, "fixed")));
    HL_TRY(add_values(s, t->values));
    HL_TRY(add_option(s, "--name", t->name));
    HL_TRY(add_option(s, "--sweep", s->sweep.name));
    HL_TRY(add_option(s, "--resume", resume));
    HL_TRY(add_option(s, "--threads", s->threads ? threads : NULL));
    HL_TRY(add_option(s, "--device", hl_cli_str(s->cli, "device")));
    HL_TRY(add_option(s, "--precision", hl_cli_str(s->cli, "precision")));
    HL_TRY(add_option(s, "--scripts", s->scripts));
    if (hl_cli_flag(s->cli, "sandbox"))
        HL_TRY(add_word(s, "--sandbox"));
    HL_TRY(add_option(s, "--runs", s->runs));
    HL_TRY(hl_vec_push(&s->words, NULL));
out:
    return st == HL_OK ? s->words.at : NULL;
}

static int stop_signal(void *arg)
{
    return hl_signals_stop_signal(((session *)arg)->signals);
}

/* ---- the command ---- */

static hl_status check_options(session *s)
{
    const hl_cli *cli = s->cli;
    const char *rerun = hl_cli_str(cli, "rerun");
    const bool slurm = hl_cli_flag(cli, "slurm");
    s->usage = true;
    if (rerun && strcmp(rerun, "failed") != 0)
        return hl_err_set(HL_E_ARG, "--rerun takes 'failed', not '%s'", rerun);
    s->jobs = hl_cli_int(cli, "jobs");
    if (s->jobs < 1 || s->jobs > 1024)
        return hl_err_set(HL_E_ARG, "--jobs must be 1 to 1024");
    if (hl_cli_int(cli, "repeat") < 0 || hl_cli_int(cli, "random") < 0 ||
        (hl_cli_given(cli, "repeat") && hl_cli_int(cli, "repeat") == 0) ||
        (hl_cli_given(cli, "random") && hl_cli_int(cli, "random") == 0))
        return hl_err_set(HL_E_ARG, "--repeat and --random must be at least 1");
    if (!slurm && hl_cli_given(cli, "sbatch"))
        return hl_err_set(HL_E_ARG, "--sbatch goes with --slurm");
    const int64_t share = hl_team_cores() / s->jobs;
    s->threads = hl_cli_int(cli, "threads");
    if (s->threads <= 0)
        s->threads = slurm ? 0 : share > 1 ? share : 1;
    if (slurm && !hl_cli_given(cli, "jobs"))
        s->jobs = 0;
    hl_status st = hl_prepare_check(cli);
    if (st == HL_OK && slurm)
        st = hl_sweep_slurm_prepare(s);
    s->usage = st == HL_E_ARG;
    if (st != HL_OK)
        return st;
    s->script_dir = hl_fs_parent(s->script);
    return s->script_dir ? HL_OK : HL_E_NOMEM;
}

static int train(session *s)
{
    const hl_sweep_queue q = {.sweep = &s->sweep,
                              .jobs = (int)s->jobs,
                              .runs_dir = s->runs,
                              .arg = s,
                              .worker_line = hl_sweep_worker_line,
                              .stop_signal = stop_signal,
                              .changed = hl_sweep_tell_change};
    const hl_status st = hl_sweep_run(&q);
    if (st != HL_OK)
        return hl_cli_fail(s->cli, st);
    const int sig = hl_signals_stop_signal(s->signals);
    if (sig) {
        fprintf(s->out, "interrupted; the same command goes on with what is missing\n");
        return 128 + sig;
    }
    int status = hl_sweep_tell_results(s);
    if (status == HL_EXIT_DONE)
        status = hl_sweep_tell_failures(s);
    hl_sweep_tell_queued(s);
    return status;
}

static int fail(const session *s, hl_status st)
{
    const int sig = s->signals ? hl_signals_stop_signal(s->signals) : 0;
    if (st == HL_E_CANCELLED && sig)
        return 128 + sig;
    const int status = hl_cli_fail(s->cli, st);
    if (s->hint[0])
        fprintf(stderr, "hint: %s\n", s->hint);
    if (s->submitting && st == HL_E_IO)
        return HL_EXIT_FAILED; /* a store that cannot be written */
    return s->usage ? HL_EXIT_USAGE : status;
}

/* --dry-run */
static hl_status describe(session *s, int *status)
{
    if (hl_cli_flag(s->cli, "json")) {
        *status = hl_sweep_tell_results(s);
        return HL_OK;
    }
    hl_sweep_tell_trials(s);
    return hl_cli_flag(s->cli, "slurm") ? hl_sweep_slurm_describe(s) : HL_OK;
}

/* To a screen that started it and waits for its end. */
static void report(int status)
{
    const char *why = hl_err_message();
    if (status == HL_EXIT_DONE)
        hl_detach_report_started("");
    else
        hl_detach_report_failed(status, *why ? why : "not all runs got to their end; hoplab ls");
}

static int run(hl_cli *cli)
{
    hl_status st = HL_OK;
    const bool slurm = hl_cli_flag(cli, "slurm"), dry = hl_cli_flag(cli, "dry-run");
    session s = {.cli = cli,
                 .program = hl_cli_argv(cli)[0],
                 .script = hl_cli_arg(cli, 0),
                 .runs = hl_cli_runs_dir(cli),
                 .scripts = hl_cli_str(cli, "scripts"),
                 .out = hl_cli_flag(cli, "json") ? stderr : hl_cli_out(cli)};
    hl_lock *lock = NULL;
    int status = HL_EXIT_DONE;
    (void)hl_detach_init(); /* a screen may have started this */
    /* Workers have 25 s for their checkpoints, and this process waits for them. */
    HL_TRY(hl_signals_start(&(hl_signals_options){.grace_ms = 60000}, &s.signals));
    HL_TRY(check_options(&s));
    HL_TRY(make_plan(&s));
    HL_TRY(check_trials(&s));
    s.submitting = slurm && !dry;
    if (s.submitting)
        HL_TRY(hl_sweep_slurm_lock(&s, &lock));
    HL_TRY(look(&s));
    hl_sweep_tell_overview(&s);
    if (dry)
        HL_TRY(describe(&s, &status));
    else if (slurm)
        HL_TRY(hl_sweep_slurm_submit(&s, &status));
    else
        status = train(&s);
out:
    if (st != HL_OK)
        status = fail(&s, st);
    report(status);
    clear_words(&s);
    hl_vec_done(&s.words);
    hl_lock_release(lock);
    hl_sweep_done(&s.sweep);
    for (size_t i = 0; i < sizeof s.owned / sizeof *s.owned; i++)
        hl_free(s.owned[i]);
    hl_free(s.script_dir);
    hl_signals_stop(s.signals);
    return status;
}

static const hl_option options[] = {
    HL_PREPARE_OPTIONS,
    {.name = "name", .type = HL_OPTION_STRING, .value = "S", .help = "name of the sweep"},
    {.name = "repeat",
     .type = HL_OPTION_INT,
     .value = "N",
     .otherwise = "0",
     .help = "N runs of each point, with seeds seed, seed+1, ..."},
    {.name = "random",
     .type = HL_OPTION_INT,
     .value = "N",
     .otherwise = "0",
     .help = "N of the points, drawn at random, instead of all; more of them keep the first"},
    {.name = "jobs",
     .letter = 'j',
     .type = HL_OPTION_INT,
     .value = "N",
     .otherwise = "1",
     .help = "at most so many runs at once, the cores shared among them"},
    {.name = "slurm",
     .type = HL_OPTION_FLAG,
     .help = "submit what is missing as a job array; --threads: cores of a task"},
    {.name = "sbatch",
     .type = HL_OPTION_MANY,
     .value = "OPTION",
     .help = "with --slurm: an option for sbatch, e.g. --sbatch --partition=gpu"},
    {.name = "ignore-queue",
     .type = HL_OPTION_FLAG,
     .help = "do not ask Slurm which trials it still has from before"},
    {.name = "rerun",
     .type = HL_OPTION_STRING,
     .value = "failed",
     .help = "also repeat what failed or was stopped by request"},
    {.name = "metric",
     .type = HL_OPTION_MANY,
     .value = "NAME",
     .help = "a column of the table, instead of the main ones"},
    {.name = "dry-run",
     .type = HL_OPTION_FLAG,
     .help = "say which trials there are, run none; with --slurm, show its script, write none"},
    {.name = "json", .type = HL_OPTION_FLAG, .help = "trials and table as one JSON object"},
    {0},
};

const hl_command hl_cmd_sweep = {
    .name = "sweep",
    .help = "train an experiment in many configurations",
    .usage = "SCRIPT",
    .about =
        "-s path=v1,v2 makes an axis; all combinations are trained, each an ordinary run tagged "
        "sweep:NAME.\nA comma in brackets does not separate, one of a value itself is written "
        "'\\,'. The script returns an\nexperiment, or hop.sweep{...} with axes of its own.\n"
        "Started again, only what is missing is trained: finished runs of the same configuration "
        "and script are\nkept, interrupted ones resumed. Exit status: 0 all trials are done, 1 "
        "some failed, 2 usage, 3 invalid\ninput, 130/143 interrupted after checkpoints.\n"
        "With --slurm the command ends when sbatch has taken the job (0; 1 if it did not): one "
        "task per trial, each the\nline that would be run here. Script, list of tasks and their "
        "output are kept in RUNS/slurm/NAME/1, 2, ...\nTasks write a checkpoint when Slurm ends "
        "them; requeued or submitted again, they go on from it. Started\nagain, what Slurm still "
        "has is left to it, the rest is submitted; nothing missing: the table.\n",
    .options = options,
    .n_args_min = 1,
    .n_args_max = 1,
    .run = run};
