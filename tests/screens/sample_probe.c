#include "tests/screens/sample_probe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/hl_app.h"
#include "app/store/run_dir.h"
#include "app/store/writer.h"
#include "engine/base/mem.h"

enum { LAYERS = 3, HEADS = 2, CHANNELS = 48, TOKENS = 40, SIDE = 16, STEPS = 100, EVERY = 20 };

static void put_scalar(const hl_sink *k, const char *tag, int64_t step, double v)
{
    k->scalar(k->self, k->series(k->self, tag, HL_SERIES_SCALAR, NULL), step, v);
}

static void put_curve(const hl_sink *k, const char *tag, int64_t step, const float *v, int rows,
                      int cols)
{
    k->curve(k->self, k->series(k->self, tag, HL_SERIES_CURVE, NULL), step, v, rows, cols);
}

/* Channel 7 is always heavy, channel 30 from the middle on; the first token and each tenth hold the
 * largest numbers. */
static void write_place(const hl_sink *k, int layer, int64_t step)
{
    float channels[CHANNELS], tokens[2 * TOKENS];
    char tag[96];
    for (int i = 0; i < CHANNELS; i++)
        channels[i] = (float)(1 + 0.5 * sin(i * 1.7 + (double)step + layer));
    channels[7] = 30.0F + (float)step;
    channels[30] = step >= STEPS / 2 ? 12 : 0.1F;
    for (int i = 0; i < TOKENS; i++) {
        tokens[i] = i == 0        ? channels[7]
                    : i % 10 == 0 ? 8.0F - (float)i / 10
                                  : 1 + 0.01F * (float)i;
        tokens[TOKENS + i] = i == 0 ? 2 : (float)(100 + i);
    }
    snprintf(tag, sizeof tag, "outliers/layer.%d/out/inf_norm", layer);
    put_scalar(k, tag, step, (double)channels[7]);
    snprintf(tag, sizeof tag, "outliers/layer.%d/out/n_channels", layer);
    put_scalar(k, tag, step, step >= STEPS / 2 ? 2 + layer : 1);
    snprintf(tag, sizeof tag, "outliers/layer.%d/out/channels", layer);
    put_curve(k, tag, step, channels, 1, CHANNELS);
    snprintf(tag, sizeof tag, "outliers/layer.%d/out/tokens", layer);
    put_curve(k, tag, step, tokens, 2, TOKENS);
}

/* The first head sees the first token, the second one the token before. */
static void write_heads(const hl_sink *k, int layer, int64_t step)
{
    float map[HEADS * SIDE * SIDE];
    char tag[96];
    for (int h = 0; h < HEADS; h++) {
        snprintf(tag, sizeof tag, "outliers/layer.%d.%d/attn.head/inf_norm", layer, h);
        put_scalar(k, tag, step, 2 + layer + 3 * h + 0.02 * (double)step);
        for (int i = 0; i < SIDE; i++)
            for (int s = 0; s < SIDE; s++)
                map[(h * SIDE + i) * SIDE + s] = s > i ? 0
                                                 : s == (h && i ? i - 1 : 0)
                                                     ? 0.9F
                                                     : 0.1F / (float)(i + 1);
    }
    snprintf(tag, sizeof tag, "attention/layer.%d", layer);
    put_curve(k, tag, step, map, HEADS * SIDE, SIDE);
}

/* What a ranking of tensors knew on its way. */
static void write_ranking(hl_writer *w)
{
    hl_writer_table(w, STEPS, "quantize/W8A8",
                    "{\"recipe\":\"W8A8\",\"by\":\"hoplab quantize\",\"calibration_batches\":16,"
                    "\"calibration_data\":\"train\",\"step\":100,\"metric\":\"perplexity\","
                    "\"value_float\":5,\"value_simulated\":5.5,\"sensitivity_batches\":4,"
                    "\"sensitivity_tried\":2,\"sensitivity_of\":5,\"sensitivity\":["
                    "{\"name\":\"layer.1.out\",\"loss\":1.7,\"growth\":0.1},"
                    "{\"name\":\"layer.0.out\",\"loss\":1.62,\"growth\":0.02}],\"tensors\":["
                    "{\"name\":\"layer.0.out\",\"role\":\"act\",\"tap\":\"layer.0/out\",\"bits\":8,"
                    "\"scale\":0.1,\"sqnr\":30}]}");
}

/* As vocabularies of all kinds spell them, in two events; 137 and 136 are beyond the vocabulary. */
static void write_spellings(const hl_sink *k)
{
    const int series = k->series(k->self, "data/tokens", HL_SERIES_JSON, "tokens");
    k->json(k->self, series, 0,
            "{\"2\":\"[CLS]\",\"110\":\" the\",\"120\":\"\\\\n\",\"130\":\"##ing\","
            "\"139\":\"\\\\xe2\\\\x80\",\"138\":\"caf\xC3\xA9\"}");
    k->json(k->self, series, EVERY,
            "{\"2\":\"too late\",\"135\":\"\\\\\\\"\",\"134\":\"\xE4\xB8\xAD\","
            "\"133\":\" of what is very long and was cut at its end ...\",\"-1\":\"no\","
            "\"x\":\"no\",\"132\":7}");
}

static hl_writer *begin(const char *runs_dir, const char *id, const char *name)
{
    char *dir;
    hl_writer *w;
    const hl_run_facts_in facts = {.id = id, .name = name, .script = "exp/sample.lua"};
    if (hl_run_dir_create(runs_dir, &facts, &dir) != HL_OK ||
        hl_run_dir_put_config(dir, "{\"model\":{\"kind\":\"nn.bert\"},\"seed\":1}") != HL_OK ||
        hl_writer_open(dir, NULL, &w) != HL_OK) {
        fprintf(stderr, "sample_store: %s\n", hl_err_message());
        exit(1);
    }
    hl_free(dir);
    return w;
}

static void end(hl_writer *w)
{
    const hl_sink k = hl_writer_sink(w);
    k.flush(k.self);
    hl_writer_set_state(w, STEPS, &(hl_state_note){.state = HL_RUN_DONE});
    if (hl_writer_close(w) != HL_OK)
        exit(1);
}

void sample_probe(const char *runs_dir)
{
    hl_writer *w = begin(runs_dir, "20260203-100000-000001", "probed");
    hl_sink k = hl_writer_sink(w);
    hl_writer_set_state(w, 0, &(hl_state_note){.state = HL_RUN_RUNNING, .step_total = STEPS});
    k.flush(k.self);
    for (int64_t step = 0; step <= STEPS; step += EVERY)
        for (int l = 0; l < LAYERS; l++) {
            write_place(&k, l, step);
            write_heads(&k, l, step);
            if (l == 0)
                put_scalar(&k, "sys/probe_ms", step, 0.4);
        }
    k.flush(k.self);
    write_spellings(&k);
    write_ranking(w);
    end(w);
    w = begin(runs_dir, "20260203-090000-000002", "unspelled"); /* as runs were before */
    k = hl_writer_sink(w);
    write_place(&k, 0, STEPS);
    end(w);
}
