/* Which trials the tasks of earlier submissions still have. */
#include "app/sweep/slurm.h"

#include <stdio.h>
#include <string.h>

#include "app/proc/call.h"
#include "app/store/run_dir.h"
#include "app/store/waiting.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

#define WAY_OUT "; --ignore-queue goes on without asking"

/* The trial of a task, or NULL: it is not of this sweep any more. */
static hl_trial *trial_of(hl_sweep *s, const hl_json *task)
{
    const char *key = hl_json_str(hl_json_get(task, "key"), "");
    char text[20];
    for (size_t i = 0; i < s->n; i++) {
        snprintf(text, sizeof text, "%016llx", (unsigned long long)s->trials[i].key);
        if (strcmp(text, key) == 0)
            return &s->trials[i];
    }
    return NULL;
}

/* ---- asking ---- */

/* A line "123_4" for each task that is not over; "" where Slurm has forgotten the job. */
static hl_status ask(const char *dir, const char *job, const char *cluster, hl_str *lines)
{
    hl_status st = HL_OK;
    hl_call c = {0};
    char jobs[80], clusters[96], complaint[400];
    snprintf(jobs, sizeof jobs, "--jobs=%s", job);
    snprintf(clusters, sizeof clusters, "--clusters=%s", cluster);
    char *words[] = {(char[]){"squeue"},
                     (char[]){"--noheader"},
                     (char[]){"--array"},
                     (char[]){"--format=%i"},
                     jobs,
                     *cluster ? clusters : NULL,
                     NULL};
    st = hl_call_run(words, &c);
    if (st == HL_E_NOMEM)
        return st;
    if (st != HL_OK)
        return hl_err_set(HL_E_STATE,
                          "%s, so nobody can say whether tasks of job %s (%s) still wait or "
                          "run" WAY_OUT,
                          hl_err_message(), job, dir);
    if (c.exit_status == 0)
        hl_str_add(lines, hl_str_text(&c.out));
    else if (!strstr(hl_str_text(&c.err), "Invalid job id")) {
        hl_call_complaint(&c, complaint, sizeof complaint);
        st = hl_err_set(HL_E_STATE,
                        "squeue does not say whether tasks of job %s (%s) still wait or run: "
                        "%s" WAY_OUT,
                        job, dir, complaint);
    }
    hl_call_done(&c);
    return st == HL_OK ? hl_str_status(lines) : st;
}

static bool has_line(const char *lines, const char *word)
{
    const size_t n = strlen(word);
    for (const char *p = lines; *p;) {
        p += strspn(p, " \n");
        const size_t k = strcspn(p, " \n");
        if (k == n && strncmp(p, word, n) == 0)
            return true;
        p += k;
    }
    return false;
}

/* ---- one submission ---- */

static hl_status note_log(hl_trial *t, const char *dir, int64_t task)
{
    char name[40];
    snprintf(name, sizeof name, "task-%lld.log", (long long)task);
    char *log = hl_fs_join(dir, name);
    if (!log)
        return HL_E_NOMEM;
    hl_free(t->task_log);
    t->task_log = log;
    return HL_OK;
}

/* Where the trials of its tasks left their words; *wanted: one of them is to be run now. */
static hl_status note_logs(hl_sweep *s, const char *dir, const hl_json *tasks, bool *wanted)
{
    hl_status st = HL_OK;
    int64_t k = 1;
    for (const hl_json *v = hl_json_at(tasks, 0); v && st == HL_OK; v = hl_json_next(v), k++) {
        hl_trial *t = trial_of(s, v);
        if (!t || t->state == HL_TRIAL_DONE)
            continue;
        st = note_log(t, dir, k);
        *wanted = *wanted || t->wanted;
    }
    return st;
}

static void take_tasks(hl_sweep *s, const char *job, const hl_json *tasks, const char *lines)
{
    int64_t k = 1;
    for (const hl_json *v = hl_json_at(tasks, 0); v; v = hl_json_next(v), k++) {
        hl_trial *t = trial_of(s, v);
        char id[80];
        snprintf(id, sizeof id, "%.50s_%lld", job, (long long)k);
        if (!t || t->state == HL_TRIAL_DONE || !has_line(lines, id))
            continue;
        snprintf(t->job, sizeof t->job, "%s", id);
        t->wanted = false;
        if (t->state != HL_TRIAL_LIVE)
            t->state = HL_TRIAL_QUEUED;
    }
}

/* For lists of runs, which ask nobody. */
static hl_status note_gone(const char *dir, const char *job, const hl_json *tasks,
                           const char *lines)
{
    hl_str gone = {0};
    int64_t k = 1;
    for (const hl_json *v = hl_json_at(tasks, 0); v; v = hl_json_next(v), k++) {
        char id[80];
        snprintf(id, sizeof id, "%.50s_%lld", job, (long long)k);
        if (!has_line(lines, id))
            hl_str_addf(&gone, "%lld\n", (long long)k);
    }
    char *path = hl_fs_join(dir, HL_WAITING_GONE);
    hl_status st = path ? hl_str_status(&gone) : HL_E_NOMEM;
    if (st == HL_OK && gone.n && hl_fs_write_atomic(path, gone.s, gone.n) != HL_OK)
        hl_err_clear(); /* they are shown as waiting a while longer */
    hl_free(path);
    hl_str_done(&gone);
    return st;
}

static hl_status look_at(hl_sweep *s, const char *dir, bool *asked)
{
    hl_json *record = NULL;
    hl_str lines = {0};
    bool wanted = false;
    hl_status st = hl_run_dir_read_json(dir, "submission.json", &record);
    if (st == HL_E_NOTFOUND) /* never submitted */
        return HL_OK;
    HL_TRY(st);
    const hl_json *tasks = hl_json_get(record, "trials");
    const char *job = hl_json_str(hl_json_get(record, "job"), "");
    HL_TRY(note_logs(s, dir, tasks, &wanted));
    if (!wanted)
        goto out;
    if (!*job)
        HL_FAIL(HL_E_STATE,
                "hoplab was killed while it submitted %s, so nobody knows whether Slurm has it; "
                "look with squeue, cancel what there is with scancel, and remove that folder",
                dir);
    HL_TRY(ask(dir, job, hl_json_str(hl_json_get(record, "cluster"), ""), &lines));
    take_tasks(s, job, tasks, hl_str_text(&lines));
    HL_TRY(note_gone(dir, job, tasks, hl_str_text(&lines)));
    *asked = true;
out:
    hl_json_free(record);
    hl_str_done(&lines);
    return st;
}

hl_status hl_slurm_look(hl_sweep *s, const char *runs_dir, bool *asked)
{
    hl_status st = HL_OK;
    hl_fs_list names = {0};
    int64_t number;
    char *top = hl_slurm_dir(runs_dir, s);
    if (!top)
        return HL_E_NOMEM;
    st = hl_fs_list_dir(top, &names);
    if (st == HL_E_NOTFOUND)
        st = HL_OK;
    for (size_t i = 0; i < names.n && st == HL_OK; i++) {
        if (hl_parse_i64(names.name[i], &number) != HL_OK)
            continue;
        char *dir = hl_fs_join(top, names.name[i]);
        st = dir ? look_at(s, dir, asked) : HL_E_NOMEM;
        hl_free(dir);
    }
    hl_fs_list_free(&names);
    hl_free(top);
    return st;
}
