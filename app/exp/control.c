/* A host that nobody listens to. */
#include "app/exp/control.h"

#include "app/exp/sink.h"

static bool no_request(void *self, hl_request *out)
{
    (void)self;
    (void)out;
    return false;
}
static void no_answer(void *self, const hl_request *c, hl_status st, int64_t step, const char *text)
{
    (void)self;
    (void)c;
    (void)st;
    (void)step;
    (void)text;
}
static void no_wait(void *self, int64_t ms)
{
    (void)self;
    (void)ms;
}
static int no_signal(void *self)
{
    (void)self;
    return 0;
}
static bool no_stop(void *self)
{
    (void)self;
    return false;
}
static void no_doing(void *self, const char *text)
{
    (void)self;
    (void)text;
}
static void no_phase(void *self, hl_train_phase phase, int64_t step)
{
    (void)self;
    (void)phase;
    (void)step;
}
static void no_report(void *self, const hl_train_report *r)
{
    (void)self;
    (void)r;
}
static void no_notice(void *self, hl_notice kind, int64_t step, const char *text, const char *json)
{
    (void)self;
    (void)kind;
    (void)step;
    (void)text;
    (void)json;
}
static void no_saved(void *self, const char *name, int64_t step, bool best)
{
    (void)self;
    (void)name;
    (void)step;
    (void)best;
}
static void no_artifact(void *self, const char *name, const char *text)
{
    (void)self;
    (void)name;
    (void)text;
}

hl_train_host hl_silent_host(void)
{
    return (hl_train_host){.take = no_request,
                           .answer = no_answer,
                           .wait = no_wait,
                           .stop_signal = no_signal,
                           .stop_waits = no_stop,
                           .doing = no_doing,
                           .phase = no_phase,
                           .report = no_report,
                           .notice = no_notice,
                           .saved = no_saved,
                           .artifact = no_artifact};
}

static int no_series(void *self, const char *tag, hl_series_kind kind, const char *content)
{
    (void)self;
    (void)tag;
    (void)kind;
    (void)content;
    return 0;
}

static void no_scalar(void *self, int series, int64_t step, double value)
{
    (void)self;
    (void)series;
    (void)step;
    (void)value;
}

static void no_hist(void *self, int series, int64_t step, const hl_hist *h)
{
    (void)self;
    (void)series;
    (void)step;
    (void)h;
}

static void no_curve(void *self, int series, int64_t step, const float *v, int64_t rows,
                     int64_t cols)
{
    (void)self;
    (void)series;
    (void)step;
    (void)v;
    (void)rows;
    (void)cols;
}

static void no_object(void *self, int series, int64_t step, const char *object)
{
    (void)self;
    (void)series;
    (void)step;
    (void)object;
}

static void no_flush(void *self)
{
    (void)self;
}

hl_sink hl_silent_sink(void)
{
    return (hl_sink){.series = no_series,
                     .scalar = no_scalar,
                     .hist = no_hist,
                     .curve = no_curve,
                     .json = no_object,
                     .flush = no_flush};
}
