#define _GNU_SOURCE /* setenv */
#include "tests/screens/sample_chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/hl_app.h"
#include "app/store/run_dir.h"
#include "app/store/writer.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"

enum { STEPS = 300, RESUMED_AT = 180, START = 1769864400 };

typedef struct plan {
    const char *id, *name, *softmax;
    int seed;
    bool is_resumed;
} plan;

static const plan plans[] = {
    {"20260203-100000-000001", "oeh-s1", "softmax1", 1, true},
    {"20260203-110000-000002", "oeh-s2", "softmax1", 2, false},
    {"20260203-120000-000003", "oeh-s3", "softmax1", 3, false},
    {"20260203-130000-000004", "vanilla-s1", "vanilla", 1, false},
};

static void check(hl_status st, const char *what)
{
    if (st == HL_OK)
        return;
    fprintf(stderr, "sample_chart: %s: %s\n", what, hl_err_message());
    exit(1);
}

static char *create(const char *runs_dir, const plan *p)
{
    char config[400], *dir = NULL;
    const hl_run_facts_in facts = {.id = p->id,
                                   .name = p->name,
                                   .device = "cpu",
                                   .script = "exp/sample.lua",
                                   .has_seed = true,
                                   .seed = (uint64_t)p->seed};
    check(hl_run_dir_create(runs_dir, &facts, &dir), p->name);
    snprintf(config, sizeof config,
             "{\"model\":{\"kind\":\"nn.bert\",\"attention\":{\"softmax\":\"%s\"}},"
             "\"train\":{\"epochs\":3},\"seed\":%d}",
             p->softmax, p->seed);
    check(hl_run_dir_put_config(dir, config), "config");
    return dir;
}

/* The clock of the machine, and with it of every event from now on. */
static void set_clock(double seconds)
{
    char text[32];
    snprintf(text, sizeof text, "%.0f", START + seconds);
    setenv("HOPLAB_TEST_CLOCK", text, 1);
}

static void write_steps(const plan *p, hl_writer *w, int64_t from, int64_t to, double late)
{
    const hl_sink k = hl_writer_sink(w);
    const int loss = k.series(k.self, "train/loss", HL_SERIES_SCALAR, NULL);
    const int tokens = k.series(k.self, "train/tokens", HL_SERIES_WIDE, NULL);
    const int shift = k.series(k.self, "probe/shift", HL_SERIES_SCALAR, NULL);
    const int eval = k.series(k.self, "eval/loss", HL_SERIES_SCALAR, NULL);
    for (int64_t step = from; step < to; step++) {
        hl_rng rng = hl_rng_make((uint64_t)p->seed, HL_RNG_TEST, (uint64_t)step, 1);
        const double calm = 2 + 8 * exp(-(double)step / 40) + 0.1 * p->seed +
                            (p->softmax[0] == 'v' ? 0.8 : 0) + 0.1 * hl_rng_normal(&rng);
        const bool spikes = p->is_resumed && late == 0 && step > 190 && step < 196;
        set_clock(late + 2 * (double)step);
        k.scalar(k.self, loss, step,
                 p->is_resumed && step == 150 ? (double)NAN
                 : spikes                     ? 3 * calm
                                              : calm);
        k.scalar(k.self, tokens, step, 4096.0 * (double)(step + 1));
        k.scalar(k.self, shift, step, pow(-1, (double)(step / 25)) * exp((double)step / 30));
        if (step % 50 == 49)
            k.scalar(k.self, eval, step, calm + 0.1);
        k.flush(k.self);
    }
    hl_writer_log(w, HL_LOG_INFO, to - 20, "reading 10 %\rreading 55 %\rreading 100 %");
    k.flush(k.self);
    hl_writer_log(w, HL_LOG_INFO, to - 15,
                  "a line that is so long that it does not fit into a pane of eighty columns, and "
                  "still goes on, until nobody reads it any more");
    k.flush(k.self);
    hl_writer_log(w, HL_LOG_ERROR, to - 12, "a batch was \x1b[31mbroken\x1b[0m and left out");
    k.flush(k.self);
    hl_writer_log(w, HL_LOG_WARN, to - 10, "the step takes long");
    k.flush(k.self);
}

static void write_run(const char *runs_dir, const plan *p)
{
    char *dir = create(runs_dir, p);
    hl_writer *w;
    int64_t from = 0;
    set_clock(0);
    if (p->is_resumed) {
        check(hl_writer_open(dir, NULL, &w), dir);
        hl_writer_set_state(w, 0, &(hl_state_note){.state = HL_RUN_RUNNING, .step_total = STEPS});
        write_steps(p, w, 0, RESUMED_AT + 30, 0);
        check(hl_writer_close(w), "close");
        from = RESUMED_AT;
    }
    const double late = p->is_resumed ? 600 : 0;
    set_clock(late + 2 * (double)from);
    check(hl_writer_open(
              dir,
              p->is_resumed ? &(hl_writer_opts){.resume = true, .resume_step = RESUMED_AT} : NULL,
              &w),
          dir);
    hl_writer_set_state(w, from, &(hl_state_note){.state = HL_RUN_RUNNING, .step_total = STEPS});
    const hl_sink k = hl_writer_sink(w);
    k.json(k.self, k.series(k.self, "units", HL_SERIES_JSON, "units"), from,
           "{\"probe/shift\":\"mV\"}");
    if (p->is_resumed) /* the others are from before it was recorded */
        k.json(k.self, k.series(k.self, "data/order", HL_SERIES_JSON, "order"), from,
               "{\"rows\":1000,\"carries\":true,\"batch\":16,\"accumulate\":1}");
    k.flush(k.self);
    write_steps(p, w, from, STEPS, late);
    hl_writer_set_state(w, STEPS, &(hl_state_note){.state = HL_RUN_DONE});
    check(hl_writer_close(w), "close");
    hl_free(dir);
}

void sample_chart(const char *runs_dir)
{
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++)
        write_run(runs_dir, &plans[i]);
}
