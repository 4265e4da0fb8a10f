/* Programs that scripts start: lines of their output become calls of a function.
 *
 * DESIGN. A project's file (hoplab.lua) may be anybody's, and it shares the state with the user's:
 * from its order on no script may start a program, unless the user allows it, by hand or in a file
 * that ran before. Orders are counted, so what a script says about itself does not matter. One
 * order at a time for each job: while its lines are looked at it is not read, and the program
 * waits. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "views/screen_lua.h"

enum { WORDS_MAX = 64, LINES_AT_ONCE = 200, LOOK_MS = 100 };

bool hl_scripted_may_jobs(const hl_screen *s)
{
    const hl_scripted *p = &s->scripted;
    if (*p->may_jobs)
        return strcmp(p->may_jobs, "on") == 0;
    return p->project == 0 || p->note_ticket < p->project;
}

/* ---- beginning and end ---- */

static hl_scripted_job *find(hl_scripted *p, int number)
{
    for (int i = 0; i < HL_SCRIPTED_JOBS_MAX; i++)
        if (p->jobs[i].job && p->jobs[i].number == number)
            return &p->jobs[i];
    return NULL;
}

static void forget(hl_scripted_job *j)
{
    hl_job_free(j->job);
    *j = (hl_scripted_job){0};
}

void hl_scripted_jobs_done(hl_scripted *p)
{
    for (int i = 0; i < HL_SCRIPTED_JOBS_MAX; i++)
        forget(&p->jobs[i]);
}

static hl_status start(hl_screen *s, const hl_json *words, hl_job **out)
{
    char *argv[WORDS_MAX + 1];
    int n = 0;
    if (!hl_scripted_may_jobs(s))
        return hl_err_set(
            HL_E_UNSUPPORTED,
            "no programs from scripts: the project's hoplab.lua has run beside them; "
            ":set jobs=on, or hop.ui.set { jobs = \"on\" } in config.lua, allows them");
    for (const hl_json *w = hl_json_at(words, 0); w && n < WORDS_MAX; w = hl_json_next(w))
        argv[n++] = (char *)(uintptr_t)hl_json_str(w, "");
    argv[n] = NULL;
    return n ? hl_job_start(argv, out) : hl_err_set(HL_E_ARG, "a program's name is wanted");
}

/* { number, argv } starts one, { number, stop } ends it. */
void hl_scripted_take_job(hl_screen *s, const hl_json *v)
{
    hl_scripted *p = &s->scripted;
    const int number = (int)hl_json_int(hl_json_get(v, "number"), 0);
    hl_scripted_job *free_one = NULL, *is = find(p, number);
    if (hl_json_bool(hl_json_get(v, "stop"), false)) {
        if (is)
            forget(is);
        return;
    }
    for (int i = 0; i < HL_SCRIPTED_JOBS_MAX && !free_one; i++)
        free_one = p->jobs[i].job ? NULL : &p->jobs[i];
    hl_job *job = NULL;
    hl_status st = free_one
                       ? start(s, hl_json_get(v, "argv"), &job)
                       : hl_err_set(HL_E_STATE, "%d programs run already", HL_SCRIPTED_JOBS_MAX);
    if (st != HL_OK) {
        hl_scripted_complain(s, hl_json_str(hl_json_get(v, "where"), ""), hl_err_message());
        return;
    }
    *free_one = (hl_scripted_job){.number = number, .job = job, .begun_ns = hl_clock_mono_ns()};
}

/* ---- what they say ---- */

/* The lines that are there, and whether that was all, to the functions of the script. */
static void hand_on(hl_screen *s, hl_scripted_job *j)
{
    hl_str b = {0}, line = {0};
    int n = 0, status = 0;
    hl_json_begin(&b, '{');
    hl_json_put_int(&b, "number", j->number);
    hl_json_add_key(&b, "lines");
    hl_json_begin(&b, '[');
    for (; n < LINES_AT_ONCE && hl_job_line(j->job, &line); n++)
        hl_json_add_str(&b, hl_str_text(&line));
    hl_json_end(&b, ']');
    j->is_told = n < LINES_AT_ONCE && hl_job_is_over(j->job, &status);
    if (j->is_told)
        hl_json_put_int(&b, "status", status);
    hl_json_end(&b, '}');
    if ((n || j->is_told) && hl_str_status(&b) == HL_OK)
        j->ticket = hl_console_order(s, "job", hl_str_text(&b), HL_SCRIPTED_LIMIT_MS);
    hl_str_done(&b);
    hl_str_done(&line);
    if (j->ticket < 0) /* the interpreter is overwhelmed: so is this job */
        forget(j);
}

void hl_scripted_jobs_update(hl_screen *s)
{
    for (int i = 0; i < HL_SCRIPTED_JOBS_MAX; i++)
        if (s->scripted.jobs[i].job && !s->scripted.jobs[i].ticket)
            hand_on(s, &s->scripted.jobs[i]);
}

/* A job whose function raised is over: it would raise at every line. */
bool hl_scripted_jobs_take(hl_screen *s, const hl_script_reply *r)
{
    if (strcmp(r->kind, "job") != 0)
        return false;
    for (int i = 0; i < HL_SCRIPTED_JOBS_MAX; i++) {
        hl_scripted_job *j = &s->scripted.jobs[i];
        if (!j->job || j->ticket != r->ticket)
            continue;
        j->ticket = 0;
        if (r->failed || j->is_told)
            forget(j);
    }
    if (r->failed)
        hl_scripted_complain(s, "", hl_json_str(hl_json_get(r->value, "message"), ""));
    return true;
}

/* ---- waiting for them ---- */

int hl_scripted_jobs_fds(const hl_screen *s, struct pollfd *fds)
{
    int n = 0;
    for (int i = 0; i < HL_SCRIPTED_JOBS_MAX; i++) {
        const hl_scripted_job *j = &s->scripted.jobs[i];
        if (j->job && !j->ticket && hl_job_fd(j->job) >= 0)
            fds[n++] = (struct pollfd){.fd = hl_job_fd(j->job), .events = POLLIN};
    }
    return n;
}

int hl_scripted_jobs_timeout_ms(const hl_screen *s, double *seconds)
{
    int ms = -1;
    double oldest = -1;
    for (int i = 0; i < HL_SCRIPTED_JOBS_MAX; i++) {
        const hl_scripted_job *j = &s->scripted.jobs[i];
        if (!j->job)
            continue;
        const double age = (double)(hl_clock_mono_ns() - j->begun_ns) * 1e-9;
        oldest = age > oldest ? age : oldest;
        ms = hl_job_fd(j->job) < 0 && !j->ticket ? LOOK_MS : ms;
    }
    if (seconds)
        *seconds = oldest;
    return ms;
}
