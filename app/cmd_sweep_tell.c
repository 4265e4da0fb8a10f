/* What `hoplab sweep` prints. */
#include <stdio.h>
#include <string.h>

#include "app/cmd_sweep.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

static void put_head(const hl_sweep_session *s, const hl_trial *t, const char *what)
{
    fprintf(s->out, "[%zu/%zu] %-11s %s", (size_t)(t - s->sweep.trials) + 1, s->sweep.n, what,
            t->name);
}

void hl_sweep_tell_change(void *session, const hl_trial *t)
{
    const hl_sweep_session *s = session;
    char took[24];
    hl_str text = {0};
    if (t->state == HL_TRIAL_RUNNING) {
        if (!t->pid)
            return; /* its word is not there yet */
        put_head(s, t, "running");
        fprintf(s->out, "  %s\n", hl_fs_base(t->dir));
    } else {
        put_head(s, t, hl_trial_state_name(t->state));
        if (t->state == HL_TRIAL_DONE && hl_trial_result_text(t, &text) == HL_OK)
            fprintf(s->out, "  %s", hl_str_text(&text));
        else if (t->message[0])
            fprintf(s->out, ": %s", t->message);
        if (t->state == HL_TRIAL_FAILED && t->dir)
            fprintf(s->out, "; log: %s/stdout.log", t->dir);
        if (t->t_start_ns)
            fprintf(s->out, "  (%s)",
                    hl_format_duration(took, (double)(t->t_end_ns - t->t_start_ns) / 1e9));
        fputc('\n', s->out);
    }
    fflush(s->out);
    hl_str_done(&text);
}

void hl_sweep_tell_overview(const hl_sweep_session *s)
{
    const char *separator = ": ";
    fprintf(s->out, "sweep %s: %zu trials", s->sweep.name, s->sweep.n);
    for (int state = 0; state < HL_TRIAL_STATE_COUNT; state++) {
        size_t n = 0;
        for (size_t i = 0; i < s->sweep.n; i++)
            n += s->sweep.trials[i].state == (hl_trial_state)state;
        if (n) {
            fprintf(s->out, "%s%zu %s", separator, n, hl_trial_state_name((hl_trial_state)state));
            separator = ", ";
        }
    }
    if (s->jobs)
        fprintf(s->out, "; %lld at once", (long long)s->jobs);
    if (s->threads)
        fprintf(s->out, "%s %lld thread%s each", s->jobs ? "," : ";", (long long)s->threads,
                s->threads == 1 ? "" : "s");
    fputc('\n', s->out);
    fflush(s->out);
}

void hl_sweep_tell_trials(const hl_sweep_session *s)
{
    for (size_t i = 0; i < s->sweep.n; i++) {
        const hl_trial *t = &s->sweep.trials[i];
        put_head(s, t, hl_trial_state_name(t->state));
        fprintf(s->out, "%s%s%s%s%s\n", t->dir ? "  " : "", t->dir ? hl_fs_base(t->dir) : "",
                t->job[0] ? "  job " : "", t->job, t->wanted ? "  to run" : "");
    }
}

/* The first of the trials whose task is of the same job. */
static bool is_first_of_job(const hl_sweep *s, const hl_trial *t)
{
    const size_t n = strcspn(t->job, "_") + 1;
    for (const hl_trial *other = s->trials; other < t; other++)
        if (strncmp(other->job, t->job, n) == 0)
            return false;
    return true;
}

void hl_sweep_tell_queued(const hl_sweep_session *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->sweep.n; i++)
        n += s->sweep.trials[i].job[0] != '\0';
    if (n == 0)
        return;
    fprintf(s->out, "Slurm still has %zu of them: squeue --jobs=", n);
    const char *separator = "";
    for (size_t i = 0; i < s->sweep.n; i++) {
        const hl_trial *t = &s->sweep.trials[i];
        if (!t->job[0] || !is_first_of_job(&s->sweep, t))
            continue;
        fprintf(s->out, "%s%.*s", separator, (int)strcspn(t->job, "_"), t->job);
        separator = ",";
    }
    fputc('\n', s->out);
}

int hl_sweep_tell_results(const hl_sweep_session *s)
{
    hl_str text = {0};
    const char *metrics[32];
    size_t n = 0;
    hl_status st;
    FILE *out = hl_cli_out(s->cli);
    for (; n < hl_cli_many_n(s->cli, "metric") && n < 32; n++)
        metrics[n] = hl_cli_many(s->cli, "metric", n);
    if (hl_cli_flag(s->cli, "json"))
        st = hl_sweep_to_json(&s->sweep, &text);
    else
        st = hl_sweep_to_text(&s->sweep, metrics, n, &text);
    if (st == HL_OK && hl_cli_flag(s->cli, "json"))
        fprintf(out, "%s\n", text.s);
    else if (st == HL_OK)
        fprintf(out,
                "\n%s\nmean (standard deviation) over the runs of a row; runs: hoplab ls "
                "sweep:%s\n",
                hl_str_text(&text), s->sweep.name);
    hl_str_done(&text);
    return st == HL_OK ? HL_EXIT_DONE : hl_cli_fail(s->cli, st);
}

/* What it printed, owned by the caller; NULL: nothing is known. */
static char *log_of(const hl_trial *t)
{
    char *log = t->dir ? hl_fs_join(t->dir, "stdout.log") : NULL;
    if (log && hl_fs_exists(log))
        return log;
    hl_free(log); /* that of a task is beside its script */
    return t->task_log && hl_fs_exists(t->task_log) ? hl_strdup(t->task_log) : NULL;
}

int hl_sweep_tell_failures(const hl_sweep_session *s)
{
    int status = HL_EXIT_DONE;
    for (size_t i = 0; i < s->sweep.n; i++) {
        const hl_trial *t = &s->sweep.trials[i];
        if (t->state != HL_TRIAL_FAILED && t->state != HL_TRIAL_INTERRUPTED)
            continue;
        char *log = log_of(t);
        status = HL_EXIT_FAILED;
        (void)hl_cli_complain(
            s->cli, status, "%s %s: %s%s%s", t->name, hl_trial_state_name(t->state),
            t->message[0] ? t->message : "see its log", log ? "; log: " : "", log ? log : "");
        hl_free(log);
    }
    return status;
}
