/* hoplab sweep --slurm: the trials that are missing as a job array. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/cmd_sweep.h"
#include "app/lua/experiment.h"
#include "app/sweep/slurm.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

/* ---- the command line ---- */

static hl_status check_sbatch(const hl_cli *cli)
{
    for (size_t i = 0; i < hl_cli_many_n(cli, "sbatch"); i++) {
        const char *word = hl_cli_many(cli, "sbatch", i);
        if (word[0] != '-' || !word[1])
            return hl_err_set(HL_E_ARG,
                              "--sbatch %s: give an option of sbatch as one word, such as "
                              "--sbatch --partition=gpu",
                              word);
        if (hl_str_starts(word, "--array") || hl_str_starts(word, "-a"))
            return hl_err_set(HL_E_ARG,
                              "--sbatch %s: the sweep makes the array itself; --jobs N runs at "
                              "most N tasks at once",
                              word);
    }
    return HL_OK;
}

static hl_status own_program(char **out)
{
    char path[4096];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    if (n <= 0 || hl_str_ends(path, " (deleted)"))
        return hl_err_set(HL_E_STATE, "the file of this program cannot be found any more, so no "
                                      "task could start it; start hoplab again");
    *out = hl_strdup(path);
    return *out ? HL_OK : HL_E_NOMEM;
}

static hl_status absolute(const char *path, char **out)
{
    *out = hl_fs_absolute(path);
    return *out ? HL_OK : HL_E_NOMEM;
}

hl_status hl_sweep_slurm_prepare(hl_sweep_session *s)
{
    hl_status st = check_sbatch(s->cli);
    char cwd[4096];
    if (st != HL_OK)
        return st;
    if (!getcwd(cwd, sizeof cwd))
        return hl_err_set(HL_E_IO, "cannot find the working directory: %s", strerror(errno));
    HL_TRY(own_program(&s->owned[0]));
    HL_TRY(absolute(s->runs, &s->owned[1]));
    HL_TRY(absolute(cwd, &s->owned[2]));
    s->program = s->owned[0];
    s->runs = s->owned[1];
    if (!hl_lua_embedded(s->script)) {
        HL_TRY(absolute(s->script, &s->owned[3]));
        s->script = s->owned[3];
    }
    if (s->scripts) {
        HL_TRY(absolute(s->scripts, &s->owned[4]));
        s->scripts = s->owned[4];
    }
out:
    return st;
}

hl_status hl_sweep_slurm_lock(const hl_sweep_session *s, hl_lock **out)
{
    char *dir = hl_slurm_dir(s->runs, &s->sweep);
    hl_status st = dir ? hl_fs_make_dir(dir) : HL_E_NOMEM;
    if (st == HL_OK)
        st = hl_lock_take(dir, out);
    if (st == HL_E_STATE)
        st = hl_err_set(HL_E_STATE,
                        "another hoplab is submitting sweep %s right now; try again when it is "
                        "through",
                        s->sweep.name);
    hl_free(dir);
    return st;
}

/* ---- the array ---- */

/* The words of --sbatch as a list, owned by the caller. */
static hl_status make_array(hl_sweep_session *s, const char ***words, hl_slurm_array *a)
{
    const size_t n = hl_cli_many_n(s->cli, "sbatch");
    *words = hl_alloc_zero(n + 1, sizeof **words);
    if (!*words)
        return HL_E_NOMEM;
    for (size_t i = 0; i < n; i++)
        (*words)[i] = hl_cli_many(s->cli, "sbatch", i);
    *a = (hl_slurm_array){.sweep = &s->sweep,
                          .runs_dir = s->runs,
                          .work_dir = s->owned[2],
                          .options = *words,
                          .n_options = n,
                          .jobs = s->jobs,
                          .threads = s->threads,
                          .arg = s,
                          .worker_line = hl_sweep_worker_line};
    return HL_OK;
}

static size_t n_wanted(const hl_sweep *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->trials[i].wanted;
    return n;
}

hl_status hl_sweep_slurm_describe(hl_sweep_session *s)
{
    hl_status st = HL_OK;
    hl_str text = {0};
    const char **words = NULL;
    hl_slurm_array a;
    if (n_wanted(&s->sweep) == 0)
        return HL_OK;
    HL_TRY(make_array(s, &words, &a));
    HL_TRY(hl_slurm_describe(&a, &text));
    fputs(text.s, s->out);
out:
    hl_str_done(&text);
    hl_free(words);
    return st;
}

/* A trial whose task ended before it had a run would be submitted for ever without a word. */
static void tell_lost(const hl_sweep_session *s)
{
    for (size_t i = 0; i < s->sweep.n; i++) {
        const hl_trial *t = &s->sweep.trials[i];
        if (t->wanted && t->state == HL_TRIAL_NEW && t->task_log)
            fprintf(s->out, "%s was submitted before, but its task left no run; see %s\n", t->name,
                    t->task_log);
    }
}

static void mark_submitted(hl_sweep *s, const hl_slurm_job *job)
{
    size_t task = 0;
    for (size_t i = 0; i < s->n; i++) {
        hl_trial *t = &s->trials[i];
        if (!t->wanted)
            continue;
        t->wanted = false;
        t->state = HL_TRIAL_QUEUED;
        snprintf(t->job, sizeof t->job, "%.50s_%zu", job->id, ++task);
    }
}

hl_status hl_sweep_slurm_submit(hl_sweep_session *s, int *status)
{
    hl_status st = HL_OK;
    const char **words = NULL;
    hl_slurm_array a;
    hl_slurm_job job = {0};
    const size_t n = n_wanted(&s->sweep);
    *status = HL_EXIT_DONE;
    if (n == 0) {
        *status = hl_sweep_tell_results(s);
        if (*status == HL_EXIT_DONE)
            *status = hl_sweep_tell_failures(s);
        hl_sweep_tell_queued(s);
        return HL_OK;
    }
    tell_lost(s);
    HL_TRY(make_array(s, &words, &a));
    HL_TRY(hl_slurm_submit(&a, &job));
    mark_submitted(&s->sweep, &job);
    fprintf(s->out,
            "submitted %zu task%s as job %s%s%s\nwatch:  squeue --jobs=%s%s%s\noutput: "
            "%s/task-*.log\nthe same command prints the table when they are done, and submits "
            "again what did not get there\n",
            n, n == 1 ? "" : "s", job.id, *job.cluster ? " on cluster " : "", job.cluster, job.id,
            *job.cluster ? " --clusters=" : "", job.cluster, job.dir);
    if (hl_cli_flag(s->cli, "json"))
        *status = hl_sweep_tell_results(s);
out:
    hl_free(job.dir);
    hl_free(words);
    return st;
}
