#include "tests/screens/sample_forecast.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/hl_app.h"
#include "app/store/run_dir.h"
#include "app/store/writer.h"
#include "engine/base/mem.h"

enum { STEPS = 300, HISTORY = 48, HORIZON = 24, WINDOWS = 3, CHANNELS = 3 };

typedef struct plan {
    const char *id, *name;
    hl_run_state state;
    bool has_eval, has_test, is_odd;
    const char *damaged;
} plan;

static const plan plans[] = {
    {"20260203-100000-000001", "etth1-softmax1", HL_RUN_DONE, true, true, false, NULL},
    {"20260203-110000-000002", "etth1-running", HL_RUN_RUNNING, true, false, false, NULL},
    {"20260203-120000-000003", "gaps-diverged", HL_RUN_DIVERGED, false, true, true, NULL},
    {"20260203-130000-000004", "etth1-damaged", HL_RUN_DONE, false, false, false,
     "{\"part\":\"test\",\"channels\":7}"},
    {"20260203-140000-000005", "no-series", HL_RUN_DONE, false, false, false, NULL},
};

static const char *const names[CHANNELS] = {"HUFL", "\xe6\xb2\xb9\xe6\xb8\xa9", "OT \x1b[31m"};

static double value(int channel, int window, int t)
{
    const double day = 6.283185307179586 / 24;
    return (1 + channel) * sin(day * (t + 5 * window)) + 0.3 * cos(3 * day * t) + 0.02 * t;
}

static void put_list(hl_str *b, const char *key, const double *v, int n, bool gaps)
{
    hl_json_add_key(b, key);
    hl_json_begin(b, '[');
    for (int i = 0; i < n; i++) {
        if (gaps && i % 6 == 2)
            hl_json_add_null(b);
        else
            hl_json_add_num(b, v[i]);
    }
    hl_json_end(b, ']');
}

static void put_window(hl_str *b, const plan *p, int window, double error)
{
    double v[HISTORY + HORIZON], said[HORIZON];
    hl_json_begin(b, '{');
    hl_json_put_int(b, "window", 100 * window);
    hl_json_put_int(b, "row", 100 * window + 96);
    hl_json_add_key(b, "channels");
    hl_json_begin(b, '[');
    for (int c = 0; c < CHANNELS; c++) {
        for (int t = 0; t < HISTORY + HORIZON; t++)
            v[t] = value(c, window, t);
        for (int t = 0; t < HORIZON; t++)
            said[t] = p->is_odd && c == 1 && t > 9
                          ? (double)NAN
                          : v[HISTORY + t] * (1 - error) + error * 0.05 * t;
        hl_json_begin(b, '{');
        put_list(b, "history", v, HISTORY, false);
        put_list(b, "truth", v + HISTORY, HORIZON, p->is_odd);
        put_list(b, "prediction", said, HORIZON, false);
        hl_json_end(b, '}');
    }
    hl_json_end(b, ']');
    hl_json_end(b, '}');
}

static void put_ahead(hl_str *b, double error)
{
    double v[HORIZON];
    for (int t = 0; t < HORIZON; t++)
        v[t] = error * sqrt(1 + t) / 4;
    put_list(b, "mse_ahead", v, HORIZON, false);
}

static void put_channel(hl_str *b, const plan *p, int c, double error)
{
    double count[HL_FORECAST_BINS];
    for (int i = 0; i < HL_FORECAST_BINS; i++) {
        const double away = (i + 0.5 - HL_FORECAST_BINS / 2) / (3 + 20 * error);
        count[i] = floor(900 * exp(-away * away));
    }
    count[0] += p->is_odd ? 40 : 0;
    hl_json_begin(b, '{');
    hl_json_put_str(b, "name", names[c]);
    hl_json_put_int(b, "channel", c);
    hl_json_put_num(b, "mse", error * (1 + c));
    hl_json_put_num(b, "mae", error);
    put_ahead(b, error * (1 + c));
    hl_json_add_key(b, "residual");
    hl_json_begin(b, '{');
    hl_json_put_num(b, "width", 0.0625);
    hl_json_put_num(b, "n", 9000);
    hl_json_put_int(b, "n_non_finite", p->is_odd && c == 1 ? 42 : 0);
    hl_json_put_num(b, "mean", 0.0123 * (c - 1));
    hl_json_put_num(b, "sd", sqrt(error));
    hl_json_put_num(b, "min", -1.75);
    hl_json_put_num(b, "max", 2.5);
    put_list(b, "count", count, HL_FORECAST_BINS, false);
    hl_json_end(b, '}');
    hl_json_end(b, '}');
}

static void write_forecast(hl_writer *w, const plan *p, int64_t step, bool is_test)
{
    hl_str b = {0};
    const double error = 0.1 + 60.0 / (double)(100 + step);
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "part", is_test ? "test" : "validation");
    hl_json_put_str(&b, "series", "ETTh1.csv");
    hl_json_put_str(&b, "units", "standardised");
    hl_json_put_int(&b, "step", is_test ? 200 : step);
    hl_json_put_int(&b, "in_len", 96);
    hl_json_put_int(&b, "out_len", HORIZON);
    hl_json_put_int(&b, "n_windows", 300);
    hl_json_put_int(&b, "n_channels", CHANNELS);
    hl_json_put_int(&b, "history", HISTORY);
    hl_json_put_int(&b, "horizon", HORIZON);
    hl_json_put_int(&b, "ahead_each", 1);
    hl_json_put_num(&b, "mae", error);
    hl_json_put_num(&b, "mse", error);
    if (is_test)
        hl_json_put_num(&b, "mse_seasonal", 0.4245);
    put_ahead(&b, error);
    hl_json_add_key(&b, "channels");
    hl_json_begin(&b, '[');
    for (int c = 0; c < CHANNELS; c++)
        put_channel(&b, p, c, error);
    hl_json_end(&b, ']');
    hl_json_add_key(&b, "windows");
    hl_json_begin(&b, '[');
    for (int i = 0; i < WINDOWS; i++)
        put_window(&b, p, i, error);
    hl_json_end(&b, ']');
    hl_json_end(&b, '}');
    hl_writer_table(w, step, is_test ? "forecast/test" : "forecast/eval", hl_str_text(&b));
    hl_str_done(&b);
}

static void write_run(const char *runs_dir, const plan *p)
{
    char config[120], *dir;
    hl_writer *w;
    const hl_run_facts_in facts = {.id = p->id, .name = p->name, .script = "exp/sample.lua"};
    snprintf(config, sizeof config, "{\"name\":\"%s\",\"model\":{\"kind\":\"nn.stanhop\"}}",
             p->name);
    if (hl_run_dir_create(runs_dir, &facts, &dir) != HL_OK ||
        hl_run_dir_put_config(dir, config) != HL_OK || hl_writer_open(dir, NULL, &w) != HL_OK) {
        fprintf(stderr, "sample_store: %s: %s\n", p->id, hl_err_message());
        exit(1);
    }
    const hl_sink k = hl_writer_sink(w);
    hl_writer_set_state(w, 0, &(hl_state_note){.state = HL_RUN_RUNNING, .step_total = STEPS});
    k.scalar(k.self, k.series(k.self, "train/loss", HL_SERIES_SCALAR, NULL), STEPS, 0.35);
    for (int64_t step = 100; step <= STEPS && p->has_eval; step += 100)
        write_forecast(w, p, step, false);
    if (p->has_test)
        write_forecast(w, p, STEPS, true);
    if (p->damaged)
        hl_writer_table(w, STEPS, "forecast/test", p->damaged);
    hl_writer_set_state(w, STEPS, &(hl_state_note){.state = p->state});
    k.flush(k.self);
    if (hl_writer_close(w) != HL_OK)
        exit(1);
    hl_free(dir);
}

void sample_forecast(const char *runs_dir)
{
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        write_run(runs_dir, &plans[i]);
}
