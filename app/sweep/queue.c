#define _GNU_SOURCE
/* A queue of worker processes. Workers are detached, so they outlive us; those that an earlier
 * sweep left behind are taken over by watching the locks of their runs. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "app/store/lock.h"
#include "app/store/waiting.h"
#include "app/sweep/sweep.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

enum { TICK_MS = 20 };

static void fail_trial(hl_trial *t, const char *message)
{
    t->state = HL_TRIAL_FAILED;
    t->t_end_ns = hl_clock_mono_ns();
    snprintf(t->message, sizeof t->message, "%s", message);
}

static void start(const hl_sweep_queue *q, hl_trial *t)
{
    const bool resume = t->state == HL_TRIAL_INTERRUPTED;
    char **argv = q->worker_line(q->arg, t, resume ? hl_fs_base(t->dir) : NULL);
    t->wanted = false;
    t->message[0] = '\0';
    t->t_start_ns = hl_clock_mono_ns();
    t->state = HL_TRIAL_RUNNING;
    if (!argv || hl_launch_start(argv, &t->launch) != HL_OK)
        fail_trial(t, hl_err_message());
    q->changed(q->arg, t);
}

/* The worker is gone: the run says what became of it. */
static void finish(const hl_sweep_queue *q, hl_trial *t)
{
    hl_launch_free(t->launch);
    t->launch = NULL;
    t->pid = 0;
    t->t_end_ns = hl_clock_mono_ns();
    t->state = HL_TRIAL_INTERRUPTED;
    if (hl_run_open(t->dir, &t->run) != HL_OK) {
        fail_trial(t, hl_err_message());
        q->changed(q->arg, t);
        return;
    }
    const hl_run_row *row = hl_run_get_row(t->run);
    if (row->state == HL_RUN_DONE)
        t->state = HL_TRIAL_DONE;
    else if (row->state == HL_RUN_STOPPED)
        t->state = HL_TRIAL_STOPPED;
    else if (row->state == HL_RUN_FAILED || row->state == HL_RUN_DIVERGED)
        fail_trial(t, row->message);
    else
        snprintf(t->message, sizeof t->message, "%s",
                 row->state == HL_RUN_INTERRUPTED ? "interrupted" : "its process was killed");
    q->changed(q->arg, t);
}

/* Our own worker: first its word, then its end. */
static void follow_launch(const hl_sweep_queue *q, hl_trial *t)
{
    hl_detach_result r;
    if (!hl_launch_result(t->launch, &r))
        return;
    if (!r.started) {
        hl_launch_free(t->launch);
        t->launch = NULL;
        fail_trial(t, r.message);
        q->changed(q->arg, t);
        return;
    }
    if (!t->pid) {
        char *dir = hl_fs_join(q->runs_dir, r.run_id);
        if (dir) {
            hl_free(t->dir);
            t->dir = dir;
        }
        t->pid = r.pid;
        q->changed(q->arg, t);
    }
    if (hl_launch_reap(t->launch))
        finish(q, t);
}

static void follow_stranger(const hl_sweep_queue *q, hl_trial *t)
{
    hl_lock_view view;
    hl_lock_look(t->dir, &view);
    t->pid = view.process == HL_YES ? view.pid : 0;
    if (hl_lock_is_live(&view) == HL_NO)
        finish(q, t);
}

static bool is_active(const hl_trial *t)
{
    return t->state == HL_TRIAL_RUNNING || t->state == HL_TRIAL_LIVE;
}

static void tell_to_stop(hl_trial *t)
{
    if (t->told_to_stop || t->pid <= 0)
        return;
    t->told_to_stop = true;
    kill((pid_t)t->pid, SIGTERM);
}

/* Lists show what waits. It is a convenience: a queue that cannot be told runs all the same. */
static void tell_waiting(const hl_sweep *s, hl_waiting *w)
{
    HL_VEC(const char *) names = {0};
    hl_status st = HL_OK;
    for (size_t i = 0; i < s->n && st == HL_OK; i++)
        if (s->trials[i].wanted)
            st = hl_vec_push(&names, s->trials[i].name);
    if (st == HL_OK)
        st = hl_waiting_put(w, names.at, names.n);
    if (st != HL_OK)
        hl_err_clear();
    hl_vec_done(&names);
}

static size_t count_wanted(const hl_sweep *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->trials[i].wanted;
    return n;
}

static hl_status run_trials(const hl_sweep_queue *q, hl_waiting *queue)
{
    hl_sweep *s = q->sweep;
    size_t n_told = 0;
    for (;;) {
        int n_active = 0;
        bool waiting = false;
        const bool stop = q->stop_signal(q->arg) != 0;
        for (size_t i = 0; i < s->n; i++) {
            hl_trial *t = &s->trials[i];
            if (is_active(t) && stop)
                tell_to_stop(t);
            if (t->state == HL_TRIAL_RUNNING)
                follow_launch(q, t);
            else if (t->state == HL_TRIAL_LIVE)
                follow_stranger(q, t);
            n_active += is_active(t);
        }
        for (size_t i = 0; i < s->n && !stop; i++) {
            hl_trial *t = &s->trials[i];
            if (!t->wanted)
                continue;
            waiting = true;
            if (n_active >= q->jobs)
                break;
            start(q, t);
            n_active += is_active(t);
        }
        const size_t n_wanted = count_wanted(s);
        if (queue && n_wanted != n_told)
            tell_waiting(s, queue);
        n_told = n_wanted;
        if (n_active == 0 && (stop || !waiting))
            return HL_OK;
        hl_clock_sleep_ms(TICK_MS);
    }
}

hl_status hl_sweep_run(const hl_sweep_queue *q)
{
    hl_waiting *queue = NULL;
    if (count_wanted(q->sweep) > (size_t)q->jobs &&
        hl_waiting_open(q->runs_dir, q->sweep->name, &queue) != HL_OK) {
        queue = NULL;
        hl_err_clear();
    }
    hl_status st = run_trials(q, queue);
    hl_waiting_close(queue);
    return st;
}
