/* What the driver sees of the worker: requests from the socket, signals, the display, the store. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "app/flag.h"
#include "app/proc/spawn.h"
#include "app/worker_internal.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"

enum { HEARTBEAT_S = 30 };

/* --- requests --- */

static void command_of(const hl_bus_request *r, hl_request *c)
{
    static const hl_request_kind kinds[HL_BUS_CMD_COUNT] = {
        [HL_BUS_CMD_PAUSE] = HL_REQUEST_PAUSE,
        [HL_BUS_CMD_RESUME] = HL_REQUEST_RESUME,
        [HL_BUS_CMD_STOP] = HL_REQUEST_STOP,
        [HL_BUS_CMD_EVAL] = HL_REQUEST_EVAL,
        [HL_BUS_CMD_CHECKPOINT] = HL_REQUEST_CHECKPOINT,
        [HL_BUS_CMD_SET] = HL_REQUEST_SET,
        [HL_BUS_CMD_QUANTIZE] = HL_REQUEST_QUANTIZE,
        [HL_BUS_CMD_FLAG] = HL_REQUEST_OTHER,
        [HL_BUS_CMD_KNOBS] = HL_REQUEST_KNOBS,
        [HL_BUS_CMD_LUA] = HL_REQUEST_LUA,
        [HL_BUS_CMD_STATUS] = HL_REQUEST_OTHER,
        [HL_BUS_CMD_TAKE] = HL_REQUEST_OTHER,
        [HL_BUS_CMD_RELEASE] = HL_REQUEST_OTHER,
        [HL_BUS_CMD_CANCEL] = HL_REQUEST_OTHER,
    };
    *c = (hl_request){.kind = kinds[r->cmd], .id = r->id, .checkpoint = true, .args = r->args};
    snprintf(c->who, sizeof c->who, "uid %lld pid %lld", (long long)r->uid, (long long)r->pid);
    snprintf(c->name, sizeof c->name, "%.40s", hl_bus_cmd_name(r->cmd));
    if (c->kind == HL_REQUEST_STOP)
        c->checkpoint = hl_json_bool(hl_json_get(r->args, "checkpoint"), true);
    if (c->kind == HL_REQUEST_PAUSE && hl_json_bool(hl_json_get(r->args, "release"), false))
        snprintf(c->text, sizeof c->text, "release");
    if (c->kind == HL_REQUEST_CHECKPOINT)
        snprintf(c->text, sizeof c->text, "%.90s", hl_json_str(hl_json_get(r->args, "name"), ""));
    if (c->kind == HL_REQUEST_EVAL)
        snprintf(c->text, sizeof c->text, "%.40s", hl_json_str(hl_json_get(r->args, "set"), ""));
    if (c->kind == HL_REQUEST_LUA)
        c->code = hl_json_str(hl_json_get(r->args, "text"), "");
    if (c->kind == HL_REQUEST_SET) {
        const hl_json *knob = hl_json_at(r->args, 0);
        snprintf(c->name, sizeof c->name, "%.40s", hl_json_key(knob) ? hl_json_key(knob) : "?");
        c->value = hl_json_num(knob, nan(""));
        if (hl_json_len(r->args) != 1)
            c->kind = HL_REQUEST_OTHER;
        else if (hl_json_is_string(knob) && !hl_json_is_number(knob) &&
                 strcmp(hl_json_str(knob, ""), "schedule") != 0)
            snprintf(c->text, sizeof c->text, "%s", hl_json_str(knob, ""));
    }
}

static void put_control(worker *w, int64_t step, const hl_str *json)
{
    hl_sink k = hl_writer_sink(w->writer);
    if (hl_str_status(json) == HL_OK)
        k.json(k.self, k.series(k.self, "control", HL_SERIES_JSON, "control"), step, json->s);
}

/* Who has the controls is part of what happened. */
static void record_holder(worker *w)
{
    hl_bus_holder h;
    hl_str json = {0};
    char who[64];
    if (!w->writer || !hl_bus_holder_changed(w->bus, &w->holder_seen, &h))
        return;
    snprintf(who, sizeof who, "uid %lld pid %lld", (long long)h.uid, (long long)h.pid);
    hl_json_begin(&json, '{');
    hl_json_put_str(&json, "cmd", h.pid == 0 ? "release" : h.stolen ? "steal" : "take");
    if (h.pid)
        hl_json_put_str(&json, "who", who);
    hl_json_put_str(&json, "status", "applied");
    hl_json_end(&json, '}');
    put_control(w, w->state.step, &json);
    hl_str_done(&json);
}

/* A note in the run's record, which the driver need not know of. */
static bool take_flag(worker *w, const hl_bus_request *r)
{
    hl_flag_note n;
    hl_str json = {0}, tag = {0};
    char who[64];
    if (r->cmd != HL_BUS_CMD_FLAG)
        return false;
    if (hl_flag_read(r->args, &n) != HL_OK || !w->writer) {
        hl_bus_refuse(w->bus, r->id, "%s", hl_err_message());
        return true;
    }
    snprintf(who, sizeof who, "uid %lld pid %lld", (long long)r->uid, (long long)r->pid);
    n.who = who;
    n.step = n.step < 0 ? w->state.step : n.step;
    hl_str_addf(&tag, HL_FLAG_TAG "%s", n.place);
    if (hl_flag_put(&n, &json) == HL_OK && hl_str_status(&tag) == HL_OK)
        hl_writer_table(w->writer, n.step, tag.s, json.s);
    hl_bus_answer(w->bus, r->id, w->state.step, NULL);
    hl_str_done(&json);
    hl_str_done(&tag);
    return true;
}

static bool take(void *self, hl_request *out)
{
    worker *w = self;
    hl_bus_request r;
    if (hl_signals_take_checkpoint(w->o->signals)) {
        *out = (hl_request){
            .kind = HL_REQUEST_CHECKPOINT, .id = -1, .who = "SIGUSR1", .name = "checkpoint"};
        return true;
    }
    if (hl_signals_take_status(w->o->signals))
        hl_progress_show(w->progress);
    if (w->bus)
        record_holder(w);
    if (hl_worker_replay_next(w, out))
        return true;
    do {
        if (!w->bus || !hl_bus_take(w->bus, &r))
            return false;
    } while (take_flag(w, &r));
    command_of(&r, out);
    if (r.cmd == HL_BUS_CMD_STOP)
        hl_flag_set(&w->stop_waits, 0);
    return true;
}

/* On the net thread. */
void hl_worker_accepted(void *self, const hl_bus_request *r)
{
    worker *w = self;
    if (r->cmd != HL_BUS_CMD_STOP)
        return;
    if (hl_json_bool(hl_json_get(r->args, "now"), false))
        hl_signals_die(SIGKILL);
    hl_flag_set(&w->stop_waits, 1);
}

static bool stop_waits(void *self)
{
    worker *w = self;
    return hl_flag_get(&w->stop_waits) != 0;
}

/* Over the socket; what came of it goes along as "result". */
static void reply(worker *w, const hl_request *c, hl_status st, int64_t step, const char *text)
{
    hl_str result = {0};
    if (st != HL_OK) {
        hl_bus_refuse(w->bus, c->id, "%s", text);
        return;
    }
    if (c->kind == HL_REQUEST_KNOBS) {
        hl_str_add(&result, text);
    } else if (*text) {
        hl_json_begin(&result, '{');
        hl_json_put_str(&result, "text", text);
        hl_json_end(&result, '}');
    }
    hl_bus_answer(w->bus, c->id, step,
                  result.n && hl_str_status(&result) == HL_OK ? result.s : NULL);
    hl_str_done(&result);
}

/* What a request is about, for a line: " = 0.5", " keep"; of a text to evaluate the first line. */
static void put_value(hl_str *b, const hl_request *c)
{
    enum { SHOWN = 80 };
    if (c->kind == HL_REQUEST_LUA) {
        const size_t n = strcspn(c->code, "\n");
        hl_str_addc(b, ' ');
        hl_str_add_clean(b, c->code, n < SHOWN ? n : SHOWN);
        hl_str_add(b, c->code[n < SHOWN ? n : SHOWN] ? " ..." : "");
    } else if (c->text[0]) {
        hl_str_addf(b, "%s%s", c->kind == HL_REQUEST_SET ? " = " : " ", c->text);
    } else if (c->kind == HL_REQUEST_SET && isnan(c->value)) {
        hl_str_add(b, " as it was");
    } else if (c->kind == HL_REQUEST_SET) {
        hl_str_addf(b, " = %g", c->value);
    }
}

static void tell(worker *w, const hl_request *c, hl_status st, int64_t step, const char *text)
{
    hl_str line = {0};
    hl_str_add(&line, c->name[0] ? c->name : "request");
    put_value(&line, c);
    hl_str_addf(&line, " by %s", c->who);
    if (st == HL_OK)
        hl_str_addf(&line, ", applied at step %lld", (long long)step);
    else
        hl_str_addf(&line, " refused: %.200s", text);
    hl_progress_event(w->progress, HL_PROGRESS_CONTROL, hl_str_text(&line), NULL);
    hl_str_done(&line);
}

/* Of a text that was evaluated and raised, nobody knows what it has changed before. */
static const char *status_of(const hl_request *c, hl_status st)
{
    const bool was_run = c->kind == HL_REQUEST_LUA && st == HL_E_ARG;
    return st == HL_OK ? "applied" : was_run ? HL_CONTROL_FAILED : "refused";
}

static void record(worker *w, const hl_request *c, hl_status st, int64_t step, const char *text)
{
    hl_str json = {0};
    hl_json_begin(&json, '{');
    hl_json_put_int(&json, "request", c->id);
    hl_json_put_str(&json, "cmd", c->name);
    hl_json_put_str(&json, "who", c->who);
    if (c->kind == HL_REQUEST_LUA)
        hl_json_put_str(&json, "value", c->code);
    else if (c->text[0])
        hl_json_put_str(&json, "value", c->text);
    else if (c->kind == HL_REQUEST_SET)
        hl_json_put_num(&json, "value", c->value);
    hl_json_put_str(&json, "status", status_of(c, st));
    if (st != HL_OK)
        hl_json_put_str(&json, "reason", text);
    else if (c->kind == HL_REQUEST_LUA)
        hl_json_put_str(&json, "answer", text);
    hl_json_end(&json, '}');
    put_control(w, step, &json);
    hl_str_done(&json);
}

static void answer(void *self, const hl_request *c, hl_status st, int64_t step, const char *text)
{
    worker *w = self;
    if (c->kind != HL_REQUEST_KNOBS) { /* a question: nothing happened */
        tell(w, c, st, step, text);
        record(w, c, st, step, text);
    }
    if ((c->id >= 0 || c->kind == HL_REQUEST_KNOBS) && w->bus)
        reply(w, c, st, step, text);
}

static void wait(void *self, int64_t ms)
{
    worker *w = self;
    if (w->bus)
        (void)hl_bus_wait(w->bus, ms);
    else
        hl_clock_sleep_ms(ms < 50 ? ms : 50);
}

static int stop_signal(void *self)
{
    worker *w = self;
    int sig = hl_signals_stop_signal(w->o->signals);
    if (sig) {
        hl_flag_set(&w->give_up, 1);
        if (!w->told_interrupt) {
            w->told_interrupt = true;
            hl_progress_event(w->progress, HL_PROGRESS_INFO,
                              w->p->exp->study.run ? "ending the study"
                              : sig == SIGINT
                                  ? "interrupted: writing a checkpoint (Ctrl-C again to abort)"
                                  : "terminated: writing a checkpoint",
                              NULL);
        }
    }
    return sig;
}

/* --- phases, reports --- */

static void publish(worker *w)
{
    if (w->bus)
        hl_bus_publish(w->bus, &w->state);
}

static void phase(void *self, hl_train_phase ph, int64_t step)
{
    static const struct {
        const char *state, *doing;
        hl_run_state run;
        double within_s;
    } p[HL_PHASE_COUNT] = {
        [HL_PHASE_COMPILING] = {"starting", "compiling", HL_RUN_STARTING, 120},
        [HL_PHASE_TRAINING] = {"running", "", HL_RUN_RUNNING, HEARTBEAT_S * 4},
        [HL_PHASE_PAUSED] = {"paused", "", HL_RUN_PAUSED, HEARTBEAT_S * 4},
        [HL_PHASE_EVALUATING] = {"evaluating", "evaluating", HL_RUN_EVALUATING, 1800},
        [HL_PHASE_QUANTIZING] = {"evaluating", "quantizing", HL_RUN_EVALUATING, 1800},
        [HL_PHASE_SAVING] = {"running", "saving a checkpoint", HL_RUN_RUNNING, 600},
    };
    worker *w = self;
    snprintf(w->state.state, sizeof w->state.state, "%s", p[ph].state);
    snprintf(w->state.doing, sizeof w->state.doing, "%s", p[ph].doing);
    w->state.step = step;
    publish(w);
    if (!w->writer) {
        hl_progress_phase(w->progress, p[ph].doing, -1);
        return;
    }
    if (ph != HL_PHASE_SAVING)
        hl_writer_set_state(
            w->writer, step,
            &(hl_state_note){.state = p[ph].run, .step_total = w->p->exp->max_steps});
    hl_writer_heartbeat(w->writer, step, p[ph].within_s, p[ph].doing);
    w->t_heartbeat_ns = hl_clock_mono_ns();
}

/* For those who asked and wait; the display says the phase. */
static void doing(void *self, const char *text)
{
    worker *w = self;
    snprintf(w->state.doing, sizeof w->state.doing, "%s", text);
    publish(w);
}

/* The store's troubles are told once each way. */
static void look_at_store(worker *w)
{
    hl_writer_status s = hl_writer_get_status(w->writer);
    if ((s.trouble_since_us != 0) == (w->trouble_since != 0))
        return;
    w->trouble_since = s.trouble_since_us;
    char text[300];
    if (s.trouble_since_us)
        snprintf(text, sizeof text, "cannot write to %s (%s); the run goes on and tries again",
                 w->dir, strerror(s.trouble_errno));
    else
        snprintf(text, sizeof text, "%s can be written again", w->dir);
    hl_progress_event(w->progress, HL_PROGRESS_ALERT, text, NULL);
}

static void report(void *self, const hl_train_report *r)
{
    worker *w = self;
    hl_progress_step_info info = {.step = r->step,
                                  .steps = r->max_steps,
                                  .loss = r->loss,
                                  .grad_norm = r->grad_norm,
                                  .lr = r->lr,
                                  .max_abs = isnan(r->max_abs) ? -1 : r->max_abs,
                                  .n_non_finite = r->n_bad,
                                  .n_items = r->n_items};
    hl_progress_step(w->progress, &info);
    w->state.step = r->step;
    w->state.steps = r->max_steps;
    w->state.loss = r->loss;
    w->state.lr = r->lr;
    w->state.step_ms = r->step_ms;
    publish(w);
    if (r->samples)
        hl_worker_system_log(w, r->step);
    const int64_t now = hl_clock_mono_ns();
    if (now - w->t_heartbeat_ns > (int64_t)HEARTBEAT_S * 1000000000) {
        hl_writer_heartbeat(w->writer, r->step, HEARTBEAT_S * 4, "");
        w->t_heartbeat_ns = now;
        look_at_store(w);
    }
}

/* No shell: the words of an alert are arguments, whatever stands in them. While as many calls as are
 * allowed go on, further alerts are not called out; the log has them all. */
static void call_out(worker *w, int64_t step, const char *text)
{
    char at[24];
    int place = -1;
    for (int i = 0; i < HL_ALERT_CALLS; i++) {
        if (w->alert_call[i] && hl_spawn_ended(w->alert_call[i]))
            w->alert_call[i] = 0;
        if (!w->alert_call[i])
            place = i;
    }
    if (!w->o->on_alert || place < 0)
        return;
    snprintf(at, sizeof at, "%lld", (long long)step);
    char *const argv[] = {(char *)(uintptr_t)w->o->on_alert, (char *)(uintptr_t)hl_fs_base(w->dir), at,
                          (char *)(uintptr_t)text, NULL};
    if (hl_spawn_start(argv, &w->alert_call[place]) != HL_OK)
        hl_progress_event(w->progress, HL_PROGRESS_INFO, hl_err_message(), NULL);
}

static void notice(void *self, hl_notice kind, int64_t step, const char *text, const char *json)
{
    static const hl_progress_kind kinds[] = {[HL_NOTICE_EVAL] = HL_PROGRESS_EVAL,
                                             [HL_NOTICE_SAVE] = HL_PROGRESS_CHECKPOINT,
                                             [HL_NOTICE_CONTROL] = HL_PROGRESS_CONTROL,
                                             [HL_NOTICE_ALERT] = HL_PROGRESS_ALERT,
                                             [HL_NOTICE_INFO] = HL_PROGRESS_INFO};
    worker *w = self;
    hl_progress_event(w->progress, kinds[kind], text, json);
    hl_writer_log(w->writer, kind == HL_NOTICE_ALERT ? HL_LOG_WARN : HL_LOG_INFO, step, text);
    if (kind == HL_NOTICE_ALERT)
        call_out(w, step, text);
}

static void saved(void *self, const char *name, int64_t step, bool best)
{
    worker *w = self;
    char text[120];
    hl_worker_keep(w, name, step, best);
    snprintf(text, sizeof text, "checkpoint %s%s", name, best ? " (best)" : "");
    hl_progress_event(w->progress, HL_PROGRESS_CHECKPOINT, text, NULL);
}

static void artifact(void *self, const char *name, const char *text)
{
    worker *w = self;
    char *path = hl_fs_join(w->dir, name);
    if (!path || hl_fs_write_atomic(path, text, strlen(text)) != HL_OK)
        hl_progress_event(w->progress, HL_PROGRESS_ALERT, hl_err_message(), NULL);
    hl_free(path);
}

hl_train_host hl_worker_host(worker *w)
{
    return (hl_train_host){.self = w,
                           .take = take,
                           .answer = answer,
                           .wait = wait,
                           .stop_signal = stop_signal,
                           .stop_waits = stop_waits,
                           .doing = doing,
                           .phase = phase,
                           .report = report,
                           .notice = notice,
                           .saved = saved,
                           .artifact = artifact};
}
