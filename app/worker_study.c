/* A study's desk: the store, the display, requests and signals. */
#include <stdio.h>

#include "app/export/study.h"
#include "app/worker_internal.h"
#include "engine/base/clock.h"

enum { HEARTBEAT_S = 30, WITHIN_S = 240, PAUSE_MS = 200 };

typedef struct desk {
    worker *w;
    hl_train_host host;
    int64_t t_heartbeat_ns, step;
    bool paused, stopped, lost; /* lost: the store could not be written */
} desk;

static void take_requests(desk *d)
{
    hl_request r;
    while (d->host.take(d->host.self, &r)) {
        hl_status st = HL_OK;
        if (r.kind == HL_REQUEST_PAUSE || r.kind == HL_REQUEST_RESUME)
            d->paused = r.kind == HL_REQUEST_PAUSE;
        else if (r.kind == HL_REQUEST_STOP)
            d->stopped = true;
        else
            st = HL_E_UNSUPPORTED;
        d->host.answer(d->host.self, &r, st, d->step, "a study can be paused, resumed and stopped");
    }
}

/* CANCELLED: a signal or a request ends the study. */
static hl_status look_around(desk *d)
{
    take_requests(d);
    hl_worker_system_now_and_then(d->w, d->step);
    if (d->paused)
        d->host.phase(d->host.self, HL_PHASE_PAUSED, d->step);
    while (d->paused && !d->stopped && !d->host.stop_signal(d->host.self)) {
        d->host.wait(d->host.self, PAUSE_MS);
        take_requests(d);
        if (!d->paused)
            d->host.phase(d->host.self, HL_PHASE_TRAINING, d->step);
    }
    if (!d->stopped && !d->host.stop_signal(d->host.self))
        return HL_OK;
    return hl_err_set(HL_E_CANCELLED, "the study was ended");
}

static hl_status scalar(void *self, const char *tag, int64_t step, double value)
{
    desk *d = self;
    hl_sink k = hl_writer_sink(d->w->writer);
    d->step = step;
    k.scalar(k.self, k.series(k.self, tag, HL_SERIES_SCALAR, NULL), step, value);
    return look_around(d);
}

static hl_status stored(desk *d, hl_status st)
{
    d->lost |= st == HL_E_IO;
    return st == HL_OK ? look_around(d) : st;
}

static hl_status table(void *self, const char *name, const char *object)
{
    desk *d = self;
    char tag[160];
    snprintf(tag, sizeof tag, "table/%.150s", name);
    hl_writer_table(d->w->writer, d->step, tag, object);
    return stored(d, hl_study_put_table(d->w->dir, name, object));
}

static hl_status figure(void *self, const char *name, const char *object)
{
    desk *d = self;
    return stored(d, hl_study_put_figure(d->w->dir, name, object));
}

static hl_status say(void *self, const char *text)
{
    desk *d = self;
    hl_progress_event(d->w->progress, HL_PROGRESS_INFO, text, NULL);
    hl_writer_log(d->w->writer, HL_LOG_INFO, d->step, text);
    return look_around(d);
}

static hl_status tick(void *self, const char *doing, double share)
{
    desk *d = self;
    const int64_t now = hl_clock_mono_ns();
    hl_progress_phase(d->w->progress, doing, share);
    if (now - d->t_heartbeat_ns > (int64_t)HEARTBEAT_S * 1000000000) {
        char text[120];
        snprintf(text, sizeof text, share >= 0 ? "%.100s, %.0f %%" : "%.100s", doing, 100 * share);
        hl_writer_heartbeat(d->w->writer, d->step, WITHIN_S, text);
        d->t_heartbeat_ns = now;
    }
    return look_around(d);
}

/* A study has no first step, so its input may turn out to be invalid at any time. */
static int exit_status(const desk *d, hl_status st)
{
    if (d->lost || st == HL_E_STATE || st == HL_E_INTERNAL)
        return HL_EXIT_FAILED;
    return st == HL_E_NOMEM || st == HL_E_DEVICE ? HL_EXIT_DEVICE : HL_EXIT_INPUT;
}

hl_status hl_worker_study(worker *w, hl_train_end *end)
{
    desk d = {.w = w, .host = hl_worker_host(w)};
    const hl_study *s = &w->p->exp->study;
    const hl_study_desk table_of = {
        .self = &d, .scalar = scalar, .table = table, .figure = figure, .say = say, .tick = tick};
    hl_progress_event(w->progress, HL_PROGRESS_INFO, w->dir, NULL);
    d.host.phase(d.host.self, HL_PHASE_TRAINING, 0);
    hl_status st = s->run(s->self, &table_of, &w->result_json, &w->result_text);
    if (st != HL_OK && d.stopped)
        *end = HL_TRAIN_STOPPED;
    else if (st != HL_OK && d.host.stop_signal(d.host.self))
        *end = HL_TRAIN_INTERRUPTED;
    else
        *end = st == HL_OK ? HL_TRAIN_DONE : HL_TRAIN_FAILED;
    if (*end != HL_TRAIN_FAILED)
        return HL_OK;
    w->failed = exit_status(&d, st);
    return st;
}
