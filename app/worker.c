/* The life of a worker. */
#include "app/worker.h"

#include <stdio.h>
#include <string.h>

#include "app/peak.h"
#include "app/proc/detach.h"
#include "app/store/run_dir.h"
#include "app/worker_internal.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

/* The signal thread has no other way to the worker that is running; there is one per process. */
static hl_bus *current_bus;

void hl_worker_wake(void)
{
    if (current_bus)
        hl_bus_wake(current_bus);
}

static void log_line(void *arg, hl_log_level level, const char *message)
{
    worker *w = arg;
    if (w->writer)
        hl_writer_log(w->writer, level, -1, message);
}

/* --- opening --- */

static hl_status open_progress(worker *w)
{
    hl_progress_options o = {.json = w->o->json,
                             .quiet = w->o->quiet,
                             .every_steps = w->o->log_every,
                             .unit = w->p->exp->source.unit};
    return hl_progress_new(&o, &w->progress);
}

/* What this run began to make again, after a resume. */
static hl_status open_own_replay(worker *w)
{
    hl_run *own = NULL;
    hl_status st = HL_OK;
    HL_TRY(hl_run_open(w->dir, &own));
    const char *of = hl_json_str(hl_json_get(hl_run_facts(own), "replay"), "");
    if (*of)
        HL_TRY_CTX(hl_worker_replay_open(w, of), "replay");
out:
    hl_run_close(own);
    return st;
}

static hl_status open_store(worker *w)
{
    hl_status st = HL_OK;
    bool none = true;
    w->resume_step = -1;
    if (w->o->replay) /* before anything is made */
        HL_TRY_CTX(hl_worker_replay_open(w, w->o->replay), "--replay");
    if (w->o->resume) {
        HL_TRY(hl_worker_find_resume(w, &none));
        if (none && !w->o->resume_auto)
            HL_FAIL(HL_E_NOTFOUND,
                    "there is no run of this script and configuration to resume in %s",
                    w->o->runs_dir);
    }
    if (none)
        HL_TRY(hl_worker_make_dir(w));
    HL_TRY(hl_worker_load(w));
    if (!none && !w->o->replay)
        HL_TRY(open_own_replay(w));
    hl_writer_opts opts = {
        .resume = w->resume_step >= 0, .resume_step = w->resume_step + 1, .give_up = &w->give_up};
    HL_TRY(hl_writer_open(w->dir, &opts, &w->writer));
out:
    return st;
}

static hl_status open_bus(worker *w)
{
    hl_bus_options o = {.run_dir = w->dir, .on_accept = hl_worker_accepted, .arg = w};
    hl_status st = hl_bus_open(&o, &w->bus);
    current_bus = w->bus;
    if (st == HL_E_IO) { /* a run that cannot be controlled still runs */
        hl_progress_event(w->progress, HL_PROGRESS_ALERT, hl_err_message(), NULL);
        return HL_OK;
    }
    return st;
}

/* Where the display goes when its terminal hangs up; that of a sweep's trial goes there at once. */
static hl_status redirect_target(worker *w)
{
    char *path = hl_run_dir_path(w->dir, "stdout.log");
    hl_status st = path ? hl_signals_set_log(w->o->signals, path) : HL_E_NOMEM;
    if (st == HL_OK && w->o->sweep && w->o->detached)
        st = hl_streams_redirect(path);
    hl_free(path);
    return st;
}

static void print_plan(worker *w)
{
    const hl_train_plan p = hl_train_get_plan(w->train);
    const hl_source *s = &w->p->exp->source;
    char b[6][24], text[700];
    snprintf(text, sizeof text,
             "%s\ndata %s%s: %lld training and %lld evaluation %s\n"
             "memory %s: program and data %s, optimiser %s, activations %s, batches %s "
             "(weights %s); up to %.2f GFLOP in %d operations a step; %d threads, %s",
             w->dir, s->label, s->is_generated ? " (generated)" : "",
             (long long)s->n_items[HL_PART_TRAIN], (long long)s->n_items[HL_PART_EVAL], s->items,
             hl_format_bytes(b[0], p.total), hl_format_bytes(b[1], p.baseline),
             hl_format_bytes(b[2], p.optimiser), hl_format_bytes(b[3], p.activations),
             hl_format_bytes(b[4], p.data), hl_format_bytes(b[5], p.weights), p.flops_step * 1e-9,
             p.n_ops, w->p->team->n, hl_cpu()->isa);
    hl_progress_event(w->progress, HL_PROGRESS_INFO, text, NULL);
    if (w->resume_step > 0) {
        snprintf(text, sizeof text, "resuming at step %lld", (long long)w->resume_step);
        hl_progress_event(w->progress, HL_PROGRESS_INFO, text, NULL);
    }
}

/* --- ending --- */

typedef struct ending {
    hl_run_state state;
    const char *reason;
    char message[HL_ERR_MESSAGE_MAX];
    int exit_status;
    bool die; /* by the signal itself: no checkpoint was possible */
} ending;

static ending ending_of(worker *w, hl_status st, hl_train_end end)
{
    ending e = {.state = HL_RUN_DONE, .exit_status = HL_EXIT_DONE};
    const int sig = hl_signals_stop_signal(w->o->signals);
    if (st != HL_OK)
        snprintf(e.message, sizeof e.message, "%s", hl_err_message());
    switch (end) {
    case HL_TRAIN_DONE:
        break;
    case HL_TRAIN_STOPPED:
        e.state = HL_RUN_STOPPED;
        e.reason = "request";
        break;
    case HL_TRAIN_RELEASED:
        e.state = HL_RUN_PAUSED;
        e.reason = HL_REASON_RELEASED;
        snprintf(e.message, sizeof e.message, "paused; hoplab ctl %s resume goes on",
                 hl_fs_base(w->dir));
        break;
    case HL_TRAIN_INTERRUPTED:
        e.state = HL_RUN_INTERRUPTED;
        e.reason = "signal";
        e.exit_status = 128 + sig;
        break;
    case HL_TRAIN_DIVERGED:
        e.state = HL_RUN_DIVERGED;
        e.reason = "diverged";
        e.exit_status = HL_EXIT_FAILED;
        break;
    case HL_TRAIN_FAILED:
        e.state = HL_RUN_FAILED;
        e.reason = st == HL_E_IO && w->failed != HL_EXIT_INPUT ? "store"
                   : st == HL_E_NOMEM || st == HL_E_DEVICE     ? "device"
                                                               : "script";
        e.exit_status = w->failed            ? w->failed
                        : st == HL_E_DEVICE ? HL_EXIT_DEVICE
                                            : HL_EXIT_FAILED;
        e.die = sig != 0;
    }
    return e;
}

static void end_json(const worker *w, const ending *e, hl_str *b)
{
    hl_json_begin(b, '{');
    hl_json_put_str(b, "run", hl_fs_base(w->dir));
    hl_json_put_str(b, "state", hl_run_state_name(e->state));
    hl_json_add_key(b, "reason");
    if (e->reason)
        hl_json_add_str(b, e->reason);
    else
        hl_json_add_null(b);
    hl_json_add_key(b, "checkpoint");
    if (w->checkpoint[0])
        hl_json_add_str(b, w->checkpoint);
    else
        hl_json_add_null(b);
    if (e->message[0])
        hl_json_put_str(b, "message", e->message);
    hl_json_add_key(b, "result");
    hl_str_add(b, w->result_json.s ? w->result_json.s : "null");
    hl_json_end(b, '}');
}

static void complain(const worker *w, const ending *e)
{
    if (e->state == HL_RUN_PAUSED) {
        hl_progress_event(w->progress, HL_PROGRESS_INFO, e->message, NULL);
        return;
    }
    hl_progress_event(w->progress, HL_PROGRESS_ERROR, e->message, NULL);
    if (hl_lua_hint(w->p->lua)[0])
        hl_progress_event(w->progress, HL_PROGRESS_ERROR, hl_lua_hint(w->p->lua), NULL);
    if (hl_lua_traceback(w->p->lua)[0])
        hl_progress_event(w->progress, HL_PROGRESS_ERROR, hl_lua_traceback(w->p->lua), NULL);
}

static int finish(worker *w, hl_status st, hl_train_end end)
{
    ending e = ending_of(w, st, end);
    const int64_t step = w->train ? hl_train_step(w->train) : 0;
    hl_str json = {0};
    if (e.message[0])
        complain(w, &e);
    if (w->train)
        HL_IGNORE(hl_train_result_text(w->train, &w->result_text));
    if (w->train ? hl_train_result_json(w->train, &w->result_json) == HL_OK : w->result_json.n > 0)
        hl_writer_table(w->writer, step, "result", w->result_json.s);
    hl_bus_close(w->bus);
    w->bus = current_bus = NULL;
    hl_log_set_sink(NULL, NULL);
    hl_writer_set_state(w->writer, step,
                        &(hl_state_note){.state = e.state,
                                         .reason = e.reason,
                                         .message = e.message[0] ? e.message : NULL,
                                         .step_total = w->p->exp->max_steps});
    st = hl_writer_close(w->writer);
    w->writer = NULL;
    if (st != HL_OK) {
        snprintf(e.message, sizeof e.message, "%s", hl_err_message());
        hl_progress_event(w->progress, HL_PROGRESS_ERROR, e.message, NULL);
        e.exit_status = e.exit_status ? e.exit_status : HL_EXIT_FAILED;
        e.reason = "store";
    }
    end_json(w, &e, &json);
    hl_progress_finish(w->progress, hl_str_text(&w->result_text), json.s);
    if (w->o->result)
        hl_str_add(w->o->result, hl_str_text(&json));
    hl_str_done(&json);
    if (e.die)
        hl_signals_die(hl_signals_stop_signal(w->o->signals));
    return e.exit_status;
}

static void worker_done(worker *w)
{
    hl_log_set_sink(NULL, NULL);
    hl_bus_close(w->bus);
    current_bus = NULL;
    if (w->writer) {
        hl_writer_set_state(w->writer, 0,
                            &(hl_state_note){.state = HL_RUN_FAILED,
                                             .reason = "script",
                                             .message = hl_err_message()});
        HL_IGNORE(hl_writer_close(w->writer));
    }
    if (w->p->exp)
        hl_lua_set_driver(w->p->exp, NULL);
    hl_train_free(w->train);
    hl_worker_system_close(w);
    hl_progress_free(w->progress);
    hl_worker_replay_done(w);
    hl_str_done(&w->result_text);
    hl_str_done(&w->result_json);
    hl_free(w->resume_from);
    hl_free(w->ckpt_dir);
    hl_free(w->dir);
}

/* A failure before the first step: nothing has been trained, so the status is that of the input. */
static int fail_early(worker *w, hl_status st)
{
    char message[HL_ERR_MESSAGE_MAX];
    snprintf(message, sizeof message, "%s", hl_err_message());
    int status = hl_prepare_fail(w->cli, w->p, st, false);
    if (st == HL_E_IO)
        status = HL_EXIT_FAILED; /* a store that cannot be written */
    hl_detach_report_failed(status, message);
    return status;
}

int hl_worker_run(const hl_cli *cli, const hl_worker_options *o, hl_prepared *p)
{
    hl_status st = HL_OK;
    worker w = {.cli = cli, .o = o, .p = p, .resume_step = -1};
    int status;
    w.state.step = w.state.steps = -1;
    HL_TRY(open_progress(&w));
    hl_train_setup setup = {.exp = p->exp,
                            .team = p->team,
                            .baseline_bytes = p->baseline_bytes,
                            .host = hl_worker_host(&w)};
    const bool is_study = p->exp->study.run != NULL;
    if (!is_study && !hl_device_current()) /* the ceiling of another device is not known */
        setup.peak_flops = hl_peak_flops(p->team, p->exp->bf16);
    if (!is_study) {
        HL_TRY(hl_train_new(&setup, &w.train));
        HL_TRY(hl_train_fits(w.train));
    }
    hl_worker_system_open(&w);
    HL_TRY(open_store(&w));
    HL_TRY(open_bus(&w));
    hl_log_set_sink(log_line, &w);
    HL_TRY(redirect_target(&w));
    hl_train_end end;
    if (is_study) {
        hl_detach_report_started(hl_fs_base(w.dir));
        st = hl_worker_study(&w, &end);
    } else {
        hl_lua_set_driver(p->exp, w.train);
        hl_train_plan_more(w.train, hl_writer_memory_bytes(w.writer));
        print_plan(&w);
        HL_TRY(hl_train_open(w.train, hl_writer_sink(w.writer), w.ckpt_dir));
        hl_detach_report_started(hl_fs_base(w.dir));
        st = hl_train_run(w.train, &end);
    }
    status = finish(&w, st, end);
    st = HL_OK;
out:
    if (st != HL_OK)
        status = fail_early(&w, st);
    worker_done(&w);
    return status;
}
