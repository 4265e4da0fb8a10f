/* What the machine does, as series of the run: finished runs show it too. */
#include "app/worker_internal.h"
#include "engine/base/clock.h"

enum { EVERY_S = 10 };

static void tell_cards(worker *w, const hl_system_reading *r)
{
    hl_json_begin(&w->gpus, '[');
    for (int i = 0; i < r->n_gpus; i++) {
        hl_json_begin(&w->gpus, '{');
        hl_json_put_str(&w->gpus, "name", r->gpu[i].name);
        hl_json_put_num(&w->gpus, "memory_bytes", r->gpu[i].memory_total);
        if (*r->gpu[i].users)
            hl_json_put_str(&w->gpus, "others", r->gpu[i].users);
        hl_json_end(&w->gpus, '}');
    }
    hl_json_end(&w->gpus, ']');
}

void hl_worker_system_open(worker *w)
{
    hl_system_reading r;
    hl_nvml *nvml = NULL;
    if (hl_nvml_open(NULL, &nvml) != HL_OK)
        nvml = NULL; /* hoplab doctor says why */
    if (hl_system_new(w->o->runs_dir, nvml, &w->system) != HL_OK)
        return;
    hl_system_read(w->system, &r); /* what rates are counted from */
    if (r.n_gpus)
        tell_cards(w, &r);
}

static void put(void *self, const char *tag, bool wide, double value)
{
    worker *w = self;
    const hl_sink k = hl_writer_sink(w->writer);
    const int series = k.series(k.self, tag, wide ? HL_SERIES_WIDE : HL_SERIES_SCALAR, NULL);
    k.scalar(k.self, series, w->state.step, value);
}

void hl_worker_system_log(worker *w, int64_t step)
{
    hl_system_reading r;
    if (!w->system || !w->writer)
        return;
    w->state.step = step;
    hl_system_read(w->system, &r);
    hl_system_each(&r, put, w);
    w->t_system_ns = hl_clock_mono_ns();
}

void hl_worker_system_now_and_then(worker *w, int64_t step)
{
    if (hl_clock_mono_ns() - w->t_system_ns >= (int64_t)EVERY_S * 1000000000)
        hl_worker_system_log(w, step);
}

void hl_worker_system_close(worker *w)
{
    hl_system_free(w->system);
    hl_str_done(&w->gpus);
    w->system = NULL;
}
