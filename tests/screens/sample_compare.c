#include "tests/screens/sample_compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/hl_app.h"
#include "app/store/run_dir.h"
#include "app/store/writer.h"
#include "engine/base/mem.h"

enum { STEPS = 400 };

typedef struct plan {
    const char *id, *name, *softmax;
    int seed, batch;
    double loss; /* at the end */
} plan;

static const plan plans[] = {
    {"20260203-100000-000001", "vanilla-s1", "vanilla", 1, 16, 2.10},
    {"20260203-110000-000002", "vanilla-s2", "vanilla", 2, 16, 2.16},
    {"20260203-120000-000003", "softmax1-s1", "softmax1", 1, 16, 2.02},
    {"20260203-130000-000004", "softmax1-s2", "softmax1", 2, 16, 2.05},
    {"20260203-140000-000005", "softmax1-large", "softmax1", 1, 32, 1.91},
};

static const char script[] = "local hop = require \"hop\"\n"
                             "local nn = hop.nn\n"
                             "return hop.experiment {\n"
                             "  model = nn.opt { layers = 2, width = 64,\n"
                             "    attention = nn.attention { softmax = \"%s\" } },\n"
                             "  data = hop.data.text { seq_len = 64, batch_size = %d },\n"
                             "  train = { steps = 400 },\n"
                             "}\n";

static void put(const hl_sink *k, const char *tag, int64_t step, double v)
{
    const bool wide = hl_str_ends(tag, "_bytes") || hl_str_ends(tag, "tokens");
    const int series = k->series(k->self, tag, wide ? HL_SERIES_WIDE : HL_SERIES_SCALAR, NULL);
    k->scalar(k->self, series, step, v);
}

/* One machine with a card, and an hour in which somebody else was there. */
static void put_machine(const hl_sink *k, const plan *p, int64_t step, double wave)
{
    const double gib = 1024.0 * 1024 * 1024;
    const bool busy = step > 200 && step < 280;
    const double ms = 3.2 * p->batch;
    put(k, "sys/cpu_percent", step, busy ? 98 : 52 + 100 * wave);
    put(k, "sys/process_cores", step, busy ? 1.1 : 1.95 + wave);
    put(k, "sys/memory_bytes", step, (6 + 2 * busy) * gib);
    put(k, "sys/rss_bytes", step, 0.75 * gib);
    put(k, "sys/threads", step, 7);
    put(k, "sys/disk_free_bytes", step, 812 * gib - (double)step * 1e6);
    put(k, "sys/data_wait_ms", step, busy ? 9 : 0.4);
    put(k, "sys/forward_ms", step, ms * 0.3);
    put(k, "sys/backward_ms", step, ms * 0.55);
    put(k, "sys/watch_ms", step, ms * 0.02);
    put(k, "sys/update_ms", step, ms * 0.12);
    put(k, "sys/log_ms", step, 0.02);
    put(k, "sys/eval_ms", step, 1.5);
    put(k, "sys/save_ms", step, 0.3);
    if (p->batch < 32)
        return;
    put(k, "sys/gpu.0/util_percent", step, 97 + 50 * wave);
    put(k, "sys/gpu.0/memory_bytes", step, 58 * gib);
    put(k, "sys/gpu.0/memory_total_bytes", step, 80 * gib);
    put(k, "sys/gpu.0/power_w", step, 392);
    put(k, "sys/gpu.0/temperature_c", step, 71);
    put(k, "sys/gpu.0/other_processes", step, busy);
    put(k, "sys/gpu.0/memory_other_bytes", step, 7 * gib);
    put(k, "sys/gpu.0/pcie_sent_bytes_per_s", step, 1.5e9);
    put(k, "sys/gpu.0/pcie_received_bytes_per_s", step, 2.5e8);
}

static void write_values(hl_writer *w, const plan *p)
{
    const hl_sink k = hl_writer_sink(w);
    for (int64_t step = 1; step <= STEPS; step++) {
        const double t = (double)step / STEPS;
        const double wave = sin((double)(step * (3 + p->seed))) * 0.03;
        put(&k, "train/loss", step, p->loss + 3 * exp(-7 * t) + wave);
        put(&k, "train/tokens", step, (double)(step * p->batch * 64));
        put(&k, "sys/step_ms", step, 3.2 * p->batch + 2 * fabs(wave));
        put(&k, "sys/tokens_per_s", step, 64e3 / 3.2);
        if (step % 5 == 0 && p->seed == 1)
            put_machine(&k, p, step, wave);
        if (step % 100 == 0) {
            put(&k, "eval/ppl", step, exp(p->loss + 2 * exp(-7 * t)));
            put(&k, "eval/max_inf_norm", step, p->softmax[0] == 'v' ? 40 * t : 3 + t);
        }
    }
}

static void write_run(const char *runs_dir, const plan *p)
{
    char config[300], text[600], *dir;
    hl_writer *w;
    const hl_run_facts_in facts = {
        .id = p->id,
        .name = p->name,
        .script = "exp/sample.lua",
        .device = "cpu",
        .extra = p->batch > 16 ? "{\"threads\":8,\"precision\":\"fp32\",\"cores\":8,"
                                 "\"memory_bytes\":68719476736,\"gpus\":[{\"name\":\"A100\","
                                 "\"others\":\"ann, bob\"}]}"
                               : "{\"threads\":2,\"precision\":\"fp32\",\"cores\":2,"
                                 "\"memory_bytes\":25769803776}"};
    snprintf(config, sizeof config,
             "{\"name\":\"%s\",\"model\":{\"kind\":\"nn.opt\",\"layers\":2,\"attention\":{"
             "\"softmax\":\"%s\"}},\"data\":{\"batch_size\":%d},\"seed\":%d}",
             p->name, p->softmax, p->batch, p->seed);
    snprintf(text, sizeof text, script, p->softmax, p->batch);
    if (hl_run_dir_create(runs_dir, &facts, &dir) != HL_OK ||
        hl_run_dir_put_config(dir, config) != HL_OK ||
        hl_run_dir_put_script(dir, "sample.lua", text, strlen(text)) != HL_OK ||
        hl_writer_open(dir, NULL, &w) != HL_OK) {
        fprintf(stderr, "sample_store: %s: %s\n", p->id, hl_err_message());
        exit(1);
    }
    hl_writer_set_state(w, 0, &(hl_state_note){.state = HL_RUN_RUNNING, .step_total = STEPS});
    write_values(w, p);
    const hl_sink k = hl_writer_sink(w);
    const int control = k.series(k.self, "control", HL_SERIES_JSON, "control");
    if (p->batch > 16) {
        k.json(k.self, control, 120,
               "{\"request\":1,\"cmd\":\"lr\",\"who\":\"ui\",\"value\":0.0005,"
               "\"status\":\"applied\"}");
        k.json(k.self, control, 200,
               "{\"request\":2,\"cmd\":\"lr\",\"who\":\"ui\",\"value\":\"NaN\","
               "\"status\":\"applied\"}");
    }
    hl_writer_set_state(w, STEPS, &(hl_state_note){.state = HL_RUN_DONE});
    if (hl_writer_close(w) != HL_OK)
        exit(1);
    hl_free(dir);
}

void sample_compare(const char *runs_dir)
{
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        write_run(runs_dir, &plans[i]);
}
