/* What the screen does to runs: requests to live ones, and new ones. */
#include <stdio.h>
#include <string.h>

#include "views/screen.h"

/* Its process is gone: another one goes on. */
static void resume_released(hl_screen *s, const hl_run_row *row)
{
    char program[] = "hoplab", ctl[] = "ctl", resume[] = "resume";
    char *const argv[] = {program, ctl, (char *)(uintptr_t)row->dir, resume, NULL};
    hl_screen_start_job(s, argv, "resume", row->dir);
}

bool hl_screen_ask(hl_screen *s, hl_bus_cmd cmd, const char *args_json, const char *what)
{
    const hl_run_row *row = hl_screen_row(s);
    char text[400];
    if (!row) {
        hl_screen_say(s, HL_ROLE_WARN, "%s: there is no run under the cursor", what);
        return false;
    }
    const hl_run_state state = hl_model_state(&s->model, row);
    if (hl_run_state_is_final(state) || state == HL_RUN_LOST) {
        hl_screen_say(s, HL_ROLE_WARN, "%s: refused: %s is %s", what, row->name,
                      hl_run_state_name(state));
        return false;
    }
    if (state == HL_RUN_PAUSED && strcmp(row->reason, HL_REASON_RELEASED) == 0) {
        if (cmd == HL_BUS_CMD_RESUME)
            resume_released(s, row);
        else
            hl_screen_say(s, HL_ROLE_WARN, "%s: refused: %s gave its device back; :resume starts it "
                                           "again", what, row->name);
        return false;
    }
    if (hl_requests_is_late(&s->requests, row->dir)) {
        hl_screen_say(s, HL_ROLE_WARN, "%s: %s has not answered the last request yet", what,
                      row->name);
        return false;
    }
    if (hl_requests_send(&s->requests, row, cmd, args_json, what) != HL_OK) {
        hl_screen_say_error(s);
        return false;
    }
    const hl_asked *a = &s->requests.asked.at[s->requests.asked.n - 1];
    s->notice[0] = 0;
    hl_screen_say(s, a->state == HL_ASKED_FAILED ? HL_ROLE_BAD : HL_ROLE_TEXT, "%s: %s", a->run,
                  hl_asked_text(a, text, sizeof text));
    return true;
}

bool hl_screen_ask_word(hl_screen *s, hl_bus_cmd cmd, const char *what, const char *word)
{
    hl_str args = {0};
    char text[80];
    bool asked = false;
    if (word && hl_bus_word_args(cmd, word, &args) != HL_OK) {
        hl_screen_say_error(s);
    } else {
        snprintf(text, sizeof text, "%s%s%.50s", what, word ? " " : "", word ? word : "");
        asked = hl_screen_ask(s, cmd, word ? args.s : NULL, text);
    }
    hl_str_done(&args);
    return asked;
}

const char *hl_screen_holder(hl_screen *s, const char *dir, char buf[80])
{
    const hl_link *l = hl_requests_link(&s->requests, dir);
    const hl_run_row *row = hl_model_row(&s->model, dir);
    const hl_watched *w = hl_screen_run(s);
    buf[0] = 0;
    if (l && l->holder && l->holder == l->my_pid)
        snprintf(buf, 80, "this screen");
    else if (l && l->holder)
        snprintf(buf, 80, "process %lld of uid %lld", (long long)l->holder, (long long)l->uid);
    else if (!l && row && hl_state_is_live(hl_model_state(&s->model, row)) && w &&
             strcmp(w->dir, dir) == 0)
        snprintf(buf, 80, "%s", w->holder);
    return buf;
}

void hl_screen_quantize(hl_screen *s, char *const *words, int n, const char *what)
{
    const hl_run_row *row = hl_screen_row(s);
    hl_str args = {0};
    if (!row || !hl_state_is_live(hl_model_state(&s->model, row)))
        hl_quant_start_job(s, words, n, what);
    else if (hl_bus_quantize_args(words, n, &args) != HL_OK)
        hl_screen_say_error(s);
    else
        hl_screen_ask(s, HL_BUS_CMD_QUANTIZE, hl_str_text(&args), what);
    hl_str_done(&args);
}

void hl_screen_cancel(hl_screen *s, const char *number)
{
    const hl_run_row *row = hl_screen_row(s);
    const hl_asked *a = row ? hl_requests_open(&s->requests, row->dir) : NULL;
    int64_t id = a ? a->number : 0;
    char args[48], what[48];
    if (number && hl_parse_i64(number, &id) != HL_OK) {
        hl_screen_say_error(s);
        return;
    }
    if (id <= 0) {
        hl_screen_say(s, HL_ROLE_TEXT, "no request of this screen waits; :cancel NUMBER names one");
        return;
    }
    snprintf(args, sizeof args, "{\"request\":%lld}", (long long)id);
    snprintf(what, sizeof what, "cancel %lld", (long long)id);
    hl_screen_ask(s, HL_BUS_CMD_CANCEL, args, what);
}

void hl_screen_abort(hl_screen *s)
{
    hl_screen_ask(s, HL_BUS_CMD_STOP, "{\"now\":true}", "abort");
}

void hl_screen_pause(hl_screen *s)
{
    const hl_run_row *row = hl_screen_row(s);
    const bool paused = row && hl_model_state(&s->model, row) == HL_RUN_PAUSED;
    hl_screen_ask(s, paused ? HL_BUS_CMD_RESUME : HL_BUS_CMD_PAUSE, NULL,
                  paused ? "resume" : "pause");
}

void hl_screen_stop(hl_screen *s, bool checkpoint)
{
    hl_screen_ask(s, HL_BUS_CMD_STOP, checkpoint ? NULL : "{\"checkpoint\":false}",
                  checkpoint ? "stop" : "stop without checkpoint");
}

static void launch(hl_screen *s, char *const *argv, const char *name, const char *job_of)
{
    /* the first ones are asked for at the end: they are not used again, and not by jobs */
    for (int i = job_of ? HL_WORKBENCH_LAUNCHES : 0; i < HL_LAUNCHES_MAX; i++) {
        hl_launched *l = &s->launched[i];
        if (l->launch || (i < HL_WORKBENCH_LAUNCHES && l->heard))
            continue;
        *l = (hl_launched){.is_job = job_of != NULL};
        snprintf(l->name, sizeof l->name, "%s", name);
        snprintf(l->dir, sizeof l->dir, "%s", job_of ? job_of : "");
        if (hl_launch_start(argv, &l->launch) != HL_OK) {
            l->heard = true;
            l->exit_status = 1;
            snprintf(l->message, sizeof l->message, "%s", hl_err_message());
            hl_screen_say_error(s);
        } else {
            hl_screen_say(s, HL_ROLE_TEXT, "%s%s ...", job_of ? "" : "starting ", name);
        }
        return;
    }
    hl_screen_say(s, HL_ROLE_WARN, "%d runs and jobs were started from here; wait for one to end",
                  HL_LAUNCHES_MAX);
}

void hl_screen_launch(hl_screen *s, char *const *argv, const char *name)
{
    launch(s, argv, name, NULL);
}

void hl_screen_start_job(hl_screen *s, char *const *argv, const char *name, const char *dir)
{
    launch(s, argv, name, dir);
}

static void hear(hl_screen *s, hl_launched *l, const hl_detach_result *r)
{
    l->heard = true;
    s->dirty = true;
    if (r->started && l->is_job) {
        hl_screen_say(s, HL_ROLE_GOOD, "%s: done", l->name);
    } else if (r->started) {
        snprintf(l->id, sizeof l->id, "%s", r->run_id);
        hl_screen_say(s, HL_ROLE_GOOD, "%s runs as %s", l->name, r->run_id);
    } else {
        l->exit_status = r->exit_status;
        snprintf(l->message, sizeof l->message, "%s", r->message);
        hl_screen_say(s, HL_ROLE_BAD, "%s%s: %s", l->name, l->is_job ? "" : " did not start",
                      r->message);
    }
    if (r->started)
        hl_watch_look(s->model.watch);
}

void hl_screen_reap(hl_screen *s)
{
    for (int i = 0; i < HL_LAUNCHES_MAX; i++) {
        hl_launched *l = &s->launched[i];
        hl_detach_result r;
        if (!l->launch || !hl_launch_result(l->launch, &r))
            continue;
        if (!l->heard)
            hear(s, l, &r);
        if (!r.started || hl_launch_reap(l->launch)) {
            hl_launch_free(l->launch);
            l->launch = NULL;
        }
    }
}
