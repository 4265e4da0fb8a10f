/* Writing and submitting a job array. */
#include <stdio.h>
#include <string.h>

#include "app/proc/call.h"
#include "app/sweep/slurm.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

/* What is written and called, made before anything is touched. */
typedef struct texts {
    char *dir;
    int64_t n_tasks;
    hl_str tasks, script, trials;
    HL_VEC(char *) words; /* of the call of sbatch, owned, NULL at the end */
} texts;

char *hl_slurm_dir(const char *runs_dir, const hl_sweep *s)
{
    hl_str b = {0};
    hl_str_addf(&b, "%s/slurm/", runs_dir);
    const size_t head = b.n;
    for (const char *p = s->name; *p; p++) { /* one plain component, fit for a job's name too */
        const bool plain = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-+=._",
                                  *p) != NULL;
        hl_str_addc(&b, plain && (b.n > head || *p != '.') ? *p : '_');
    }
    if (b.n == head)
        hl_str_addc(&b, '_');
    char *dir = hl_str_status(&b) == HL_OK ? hl_strdup(b.s) : NULL;
    hl_str_done(&b);
    return dir;
}

/* The folder of the next submission: one more than the last one's number. */
static hl_status next_dir(const hl_slurm_array *a, char **out)
{
    hl_status st = HL_OK;
    hl_fs_list names = {0};
    int64_t last = 0, number;
    char text[24];
    char *top = hl_slurm_dir(a->runs_dir, a->sweep);
    if (!top)
        return HL_E_NOMEM;
    st = hl_fs_list_dir(top, &names);
    if (st == HL_E_NOTFOUND)
        st = HL_OK;
    HL_TRY(st);
    for (size_t i = 0; i < names.n; i++)
        if (hl_parse_i64(names.name[i], &number) == HL_OK && number > last)
            last = number;
    snprintf(text, sizeof text, "%lld", (long long)last + 1);
    *out = hl_fs_join(top, text);
    st = *out ? HL_OK : HL_E_NOMEM;
out:
    hl_fs_list_free(&names);
    hl_free(top);
    return st;
}

/* ---- words for bash ---- */

static void add_quoted(hl_str *b, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789-+=._/:,@%";
    if (*word && strspn(word, plain) == strlen(word)) {
        hl_str_add(b, word);
        return;
    }
    bool control = false; /* a line must stay one */
    for (const char *p = word; *p; p++)
        control = control || (unsigned char)*p < 0x20 || *p == 0x7f;
    hl_str_add(b, control ? "$'" : "'");
    for (const char *p = word; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        if (control && (c < 0x20 || c == 0x7f))
            hl_str_addf(b, "\\%03o", (unsigned)c);
        else if (control && (c == '\'' || c == '\\'))
            hl_str_addf(b, "\\%c", c);
        else if (c == '\'')
            hl_str_add(b, "'\\''");
        else
            hl_str_addc(b, *p);
    }
    hl_str_addc(b, '\'');
}

static void add_line(hl_str *b, char *const *words)
{
    for (size_t i = 0; words[i]; i++) {
        if (i)
            hl_str_addc(b, ' ');
        add_quoted(b, words[i]);
    }
    hl_str_addc(b, '\n');
}

/* ---- the three texts ---- */

static hl_status make_tasks(const hl_slurm_array *a, texts *x)
{
    hl_json_begin(&x->trials, '[');
    for (size_t i = 0; i < a->sweep->n; i++) {
        const hl_trial *t = &a->sweep->trials[i];
        char key[20];
        if (!t->wanted)
            continue;
        /* A trial that is new has no run to go on with now. When its task starts there may be one,
         * live or interrupted, which a second one must not be made beside. */
        const char *resume = t->state == HL_TRIAL_INTERRUPTED ? hl_fs_base(t->dir)
                             : t->state == HL_TRIAL_NEW       ? "auto"
                                                              : NULL;
        char **words = a->worker_line(a->arg, t, resume);
        if (!words)
            return HL_E_NOMEM;
        add_line(&x->tasks, words);
        snprintf(key, sizeof key, "%016llx", (unsigned long long)t->key);
        hl_json_begin(&x->trials, '{');
        hl_json_put_str(&x->trials, "name", t->name);
        hl_json_put_str(&x->trials, "key", key);
        hl_json_end(&x->trials, '}');
        x->n_tasks++;
    }
    hl_json_end(&x->trials, ']');
    const hl_status st = hl_str_status(&x->tasks);
    return st == HL_OK ? hl_str_status(&x->trials) : st;
}

static hl_status push_word(texts *x, hl_str *b)
{
    hl_status st = hl_str_status(b);
    char *copy = st == HL_OK ? hl_strdup(hl_str_text(b)) : NULL;
    st = copy ? hl_vec_push(&x->words, copy) : HL_E_NOMEM;
    if (st != HL_OK)
        hl_free(copy);
    hl_str_clear(b);
    return st;
}

/* The pattern of a file's name, where % is special, and a backslash would switch that off. */
static hl_status add_output(const texts *x, hl_str *b)
{
    if (strchr(x->dir, '\\'))
        return hl_err_set(HL_E_ARG,
                          "%s: Slurm cannot write its output below a folder with a backslash in "
                          "its name; choose another one with --runs",
                          x->dir);
    hl_str_add(b, "--output=");
    for (const char *p = x->dir; *p; p++)
        hl_str_addf(b, *p == '%' ? "%c%c" : "%c", *p, *p);
    hl_str_add(b, "/task-%a.log");
    return HL_OK;
}

static hl_status make_words(const hl_slurm_array *a, texts *x)
{
    hl_status st = HL_OK;
    hl_str b = {0};
    static const char *const fixed[] = {"sbatch", "--parsable", "--requeue", "--open-mode=append"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        hl_str_add(&b, fixed[i]);
        HL_TRY(push_word(x, &b));
    }
    char *top = hl_fs_parent(x->dir);
    hl_str_addf(&b, "--job-name=%s", top ? hl_fs_base(top) : "sweep");
    hl_free(top);
    HL_TRY(push_word(x, &b));
    hl_str_addf(&b, "--array=1-%lld", (long long)x->n_tasks);
    if (a->jobs > 0)
        hl_str_addf(&b, "%%%lld", (long long)a->jobs);
    HL_TRY(push_word(x, &b));
    if (a->threads > 0) {
        hl_str_addf(&b, "--cpus-per-task=%lld", (long long)a->threads);
        HL_TRY(push_word(x, &b));
    }
    HL_TRY(add_output(x, &b));
    HL_TRY(push_word(x, &b));
    for (size_t i = 0; i < a->n_options; i++) {
        hl_str_add(&b, a->options[i]);
        HL_TRY(push_word(x, &b));
    }
    hl_str_addf(&b, "%s/array.sh", x->dir);
    HL_TRY(push_word(x, &b));
    HL_TRY(hl_vec_push(&x->words, NULL));
out:
    hl_str_done(&b);
    return st;
}

/* The worker takes the place of the shell, so that it gets Slurm's SIGTERM itself. A task that was
 * preempted, or whose node failed, starts again with the same line and goes on with its run. */
static hl_status make_script(const hl_slurm_array *a, texts *x)
{
    hl_str *b = &x->script;
    hl_str_add(b, "#!/bin/bash\n# Sweep ");
    add_quoted(b, a->sweep->name);
    hl_str_add(b, " of hoplab: task k of the job array runs line k of the file 'tasks' beside this "
                  "one.\n# Submitted by:\n# ");
    add_line(b, x->words.at);
    hl_str_add(b, "cd -- ");
    add_quoted(b, a->work_dir);
    hl_str_add(b, " || exit 1\nmapfile -t -s $((SLURM_ARRAY_TASK_ID - 1)) -n 1 line <");
    add_quoted(b, x->dir);
    hl_str_add(b, "/tasks || exit 1\n"
                  "[ -n \"${line[0]}\" ] || { echo \"there is no task $SLURM_ARRAY_TASK_ID\" >&2; "
                  "exit 1; }\nmore=()\n");
    if (a->threads <= 0)
        hl_str_add(b, "more+=(--threads \"${SLURM_CPUS_PER_TASK:-1}\")\n");
    hl_str_add(b, "[ \"${SLURM_RESTART_COUNT:-0}\" = 0 ] || more+=(--resume auto)\n"
                  "eval \"exec ${line[0]}\" '\"${more[@]}\"'\n");
    return hl_str_status(b);
}

static void texts_done(texts *x)
{
    for (size_t i = 0; i < x->words.n; i++)
        hl_free(x->words.at[i]);
    hl_vec_done(&x->words);
    hl_str_done(&x->tasks);
    hl_str_done(&x->script);
    hl_str_done(&x->trials);
    hl_free(x->dir);
    *x = (texts){0};
}

static hl_status make_texts(const hl_slurm_array *a, texts *x)
{
    hl_status st = HL_OK;
    *x = (texts){0};
    HL_TRY(next_dir(a, &x->dir));
    HL_TRY(make_tasks(a, x));
    HL_TRY(make_words(a, x));
    HL_TRY(make_script(a, x));
out:
    if (st != HL_OK)
        texts_done(x);
    return st;
}

/* ---- submitting ---- */

static hl_status put(const char *dir, const char *name, const hl_str *text)
{
    char *path = hl_fs_join(dir, name);
    const hl_status st = path ? hl_fs_write_atomic(path, text->s, text->n) : HL_E_NOMEM;
    hl_free(path);
    return st;
}

static hl_status put_record(const hl_slurm_array *a, const texts *x, const hl_slurm_job *job)
{
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "sweep", a->sweep->name);
    hl_json_put_str(&b, "job", job->id);
    hl_json_put_str(&b, "cluster", job->cluster);
    hl_json_add_key(&b, "trials");
    hl_str_add(&b, x->trials.s);
    hl_json_end(&b, '}');
    hl_str_addc(&b, '\n');
    hl_status st = hl_str_status(&b);
    if (st == HL_OK)
        st = put(x->dir, "submission.json", &b);
    hl_str_done(&b);
    return st;
}

/* "123" or "123;cluster" */
static bool read_job(const char *text, hl_slurm_job *job)
{
    const size_t n = strspn(text, "0123456789");
    if (n == 0 || n >= sizeof job->id || !strchr(";\n", text[n])) /* '\0' is found as well */
        return false;
    snprintf(job->id, sizeof job->id, "%.*s", (int)n, text);
    if (text[n] == ';')
        snprintf(job->cluster, sizeof job->cluster, "%.*s", (int)strcspn(text + n + 1, "\n"),
                 text + n + 1);
    return true;
}

/* What most often is too much for it; "" if the array is small. */
static const char *too_many(const texts *x)
{
    return x->n_tasks > 1000 ? "; most clusters take 1000 tasks in an array (MaxArraySize): submit "
                               "a part with --random 1000, and the rest when that is done"
                             : "";
}

static hl_status call_sbatch(const texts *x, hl_slurm_job *job)
{
    hl_call c = {0};
    char complaint[400];
    hl_status st = hl_call_run(x->words.at, &c);
    if (st == HL_E_NOTFOUND)
        return hl_err_set(HL_E_STATE, "%s; --slurm needs Slurm's client programs on this machine",
                          hl_err_message());
    if (st != HL_OK)
        return st;
    if (c.exit_status != 0 || !read_job(hl_str_text(&c.out), job)) {
        hl_call_complaint(&c, complaint, sizeof complaint);
        st = c.exit_status == 0
                 ? hl_err_set(HL_E_STATE, "sbatch named no job: %s", complaint)
                 : hl_err_set(HL_E_STATE,
                              "sbatch failed with status %d: %s; nothing was submitted%s",
                              c.exit_status, complaint, too_many(x));
    }
    hl_call_done(&c);
    return st;
}

hl_status hl_slurm_submit(const hl_slurm_array *a, hl_slurm_job *out)
{
    hl_status st = HL_OK;
    texts x;
    hl_slurm_job job = {0};
    bool submitted = false;
    HL_TRY(make_texts(a, &x));
    HL_TRY(hl_fs_make_dir(x.dir));
    HL_TRY(put(x.dir, "tasks", &x.tasks));
    HL_TRY(put(x.dir, "array.sh", &x.script));
    HL_TRY(put_record(a, &x, &job));
    HL_TRY(call_sbatch(&x, &job));
    submitted = true;
    st = put_record(a, &x, &job);
    if (st != HL_OK)
        HL_FAIL(st,
                "job %s was submitted, but that cannot be recorded (%s); cancel it with scancel "
                "%s and remove %s",
                job.id, hl_err_message(), job.id, x.dir);
    *out = job;
    out->dir = x.dir;
    x.dir = NULL;
out:
    if (st != HL_OK && !submitted && x.dir) {
        char message[HL_ERR_MESSAGE_MAX];
        snprintf(message, sizeof message, "%s", hl_err_message());
        HL_IGNORE(hl_fs_remove_tree(x.dir));
        st = hl_err_set(st, "%s", message);
    }
    texts_done(&x);
    return st;
}

hl_status hl_slurm_describe(const hl_slurm_array *a, hl_str *out)
{
    texts x;
    hl_status st = make_texts(a, &x);
    if (st != HL_OK)
        return st;
    hl_str_addf(out, "\n%s/array.sh would be:\n\n%s\n%s/tasks would be:\n\n%s", x.dir, x.script.s,
                x.dir, x.tasks.s);
    texts_done(&x);
    return hl_str_status(out);
}
