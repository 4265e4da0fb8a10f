#include "tests/screens/sample_quant.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/hl_app.h"
#include "app/store/run_dir.h"
#include "app/store/writer.h"
#include "engine/base/mem.h"

enum { STEPS = 400, LAYERS = 4 };

typedef struct plan {
    const char *id, *name, *softmax;
    int seed;
    hl_run_state state;
    double in_float, loss8, loss4; /* metric, and what 8 and 4 bits add; 0: not quantized so */
    bool has_more;                 /* sensitivity, bits, histograms */
    const char *damaged;           /* a table that cannot be read */
} plan;

static const plan plans[] = {
    {"20260202-100000-000001", "bert-vanilla-s1", "vanilla", 1, HL_RUN_DONE, 6.05, 120, 0, false,
     NULL},
    {"20260202-110000-000002", "bert-vanilla-s2", "vanilla", 2, HL_RUN_DONE, 6.21, 31.5, 0, false,
     NULL},
    {"20260202-120000-000003", "bert-vanilla-s3", "vanilla", 3, HL_RUN_FAILED, 0, 0, 0, false,
     NULL},
    {"20260202-130000-000004", "bert-oeh-s1", "softmax1", 1, HL_RUN_DONE, 6.1, 0.12, 1.9, true,
     NULL},
    {"20260202-140000-000005", "bert-oeh-s2", "softmax1", 2, HL_RUN_DONE, 6.14, 0.09, 0, false,
     NULL},
    {"20260202-150000-000006", "bert-clip-s1", "clipped", 1, HL_RUN_STOPPED, 6.3, 0, 0, false,
     NULL},
    {"20260202-160000-000007", "opt-broken-s1", "vanilla", 1, HL_RUN_DONE, 7, 0, 0, false,
     "{\"recipe\":\"W8A8\",\"tensors\":7}"},
};

/* ---- the event ---- */

static void put_tensor(hl_str *b, const char *name, const char *tap, bool weight, int bits,
                       double most)
{
    const double sqnr = 60 - 8 * log2(most) - 5 * (8 - bits);
    hl_json_begin(b, '{');
    hl_json_put_str(b, "name", name);
    hl_json_put_str(b, "role", weight ? "weight" : "activation");
    hl_json_put_bool(b, "float", bits == 0);
    if (*tap)
        hl_json_put_str(b, "tap", tap);
    if (bits) {
        hl_json_put_int(b, "bits", bits);
        hl_json_put_int(b, "channels", 1);
        hl_json_put_num(b, "scale", 2 * most / ((1 << bits) - 1));
        hl_json_put_int(b, "zero_point", weight ? 0 : 1 << (bits - 1));
        hl_json_put_num(b, "least", -most);
        hl_json_put_num(b, "most", most * 0.99);
        hl_json_put_num(b, "sqnr", sqnr);
        hl_json_put_num(b, "mse", most * most * pow(10, -sqnr / 10));
        hl_json_put_num(b, "clipped", weight ? 0 : 2e-6 * most);
    }
    if (weight)
        hl_json_put_int(b, "bytes", 65536);
    hl_json_end(b, '}');
}

static void put_tensors(hl_str *b, const plan *p, int bits)
{
    char name[80], tap[40];
    hl_json_add_key(b, "tensors");
    hl_json_begin(b, '[');
    put_tensor(b, "bert.embeddings.word_embeddings.weight", "", true, bits, 0.56);
    for (int l = 0; l < LAYERS; l++) {
        const double growth = l == 2 ? 1 + p->loss8 / 2 : 1 + p->loss8 / 20;
        snprintf(name, sizeof name, "bert.encoder.layer.%d.attention.self.query.weight", l);
        put_tensor(b, name, "", true, bits, 0.26);
        snprintf(name, sizeof name, "bert.encoder.layer.%d.attention.output.dense", l);
        snprintf(tap, sizeof tap, "layer.%d/attn.out", l);
        put_tensor(b, name, tap, false, 8, (2 + l) * growth);
        snprintf(name, sizeof name, "bert.encoder.layer.%d.output.dense", l);
        snprintf(tap, sizeof tap, "layer.%d/ffn.out", l);
        put_tensor(b, name, tap, false, 8, (1 + l) * growth);
    }
    put_tensor(b, "cls.predictions.decoder.weight", "", true, 0, 1);
    hl_json_end(b, ']');
}

static void put_more(hl_str *b)
{
    static const char *const names[] = {"bert.encoder.layer.2.attention.output.dense",
                                        "bert.encoder.layer.3.output.dense",
                                        "bert.embeddings.word_embeddings.weight"};
    hl_json_put_int(b, "sensitivity_batches", 4);
    hl_json_add_key(b, "sensitivity");
    hl_json_begin(b, '[');
    for (int i = 0; i < 3; i++) {
        hl_json_begin(b, '{');
        hl_json_put_str(b, "name", names[i]);
        hl_json_put_num(b, "loss", 1.82 + 0.01 / (1 + i));
        hl_json_put_num(b, "growth", 0.01 / (1 + i));
        hl_json_end(b, '}');
    }
    hl_json_end(b, ']');
    hl_json_add_key(b, "loss_by_bits");
    hl_json_begin(b, '{');
    hl_json_put_num(b, "W8A8", 1.83);
    hl_json_put_num(b, "W4A6", 2.9);
    hl_json_end(b, '}');
}

static void write_table(hl_writer *w, const plan *p, int bits, double more)
{
    hl_str b = {0};
    char tag[40];
    if (more <= 0)
        return;
    snprintf(tag, sizeof tag, "quantize/W%dA8", bits);
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "recipe", tag + sizeof "quantize/" - 1);
    hl_json_put_str(&b, "by", "hoplab quantize");
    hl_json_put_int(&b, "calibration_batches", 16);
    hl_json_put_str(&b, "calibration_data", "train");
    hl_json_put_int(&b, "step", STEPS);
    hl_json_put_str(&b, "metric", "perplexity");
    hl_json_put_num(&b, "value_float", p->in_float);
    hl_json_put_num(&b, "value_simulated", p->in_float + more);
    hl_json_put_num(&b, "value_executed", p->in_float + more * 1.01);
    if (p->has_more && bits == 8)
        put_more(&b);
    put_tensors(&b, p, bits);
    hl_json_end(&b, '}');
    hl_writer_table(w, STEPS, tag, hl_str_text(&b));
    hl_str_done(&b);
}

/* ---- a run ---- */

static void write_hist(const hl_sink *k, const char *tap, double far)
{
    char tag[64];
    hl_hist h = {.min = -far, .max = far, .num = 4000, .sum_squares = 4000};
    for (int i = 0; i < 6; i++)
        h.bin[49 - i] = h.bin[14 + i] = 300;
    h.bin[32 + 20 + (int)log2(far)] = 1;
    snprintf(tag, sizeof tag, "outliers/%s/hist", tap);
    k->hist(k->self, k->series(k->self, tag, HL_SERIES_HIST, NULL), STEPS, &h);
    snprintf(tag, sizeof tag, "outliers/%s/inf_norm", tap);
    k->scalar(k->self, k->series(k->self, tag, HL_SERIES_SCALAR, NULL), STEPS, far);
}

static void write_values(hl_writer *w, const plan *p)
{
    static const char *const tags[] = {"eval/ppl", "eval/max_inf_norm", "eval/avg_kurtosis"};
    const hl_sink k = hl_writer_sink(w);
    const double values[] = {p->in_float, 4 + p->loss8, 3 + p->loss8 * p->loss8};
    char tap[40];
    for (int i = 0; i < 3 && p->in_float > 0; i++)
        k.scalar(k.self, k.series(k.self, tags[i], HL_SERIES_SCALAR, NULL), STEPS, values[i]);
    for (int l = 0; l < LAYERS && p->has_more; l++) {
        snprintf(tap, sizeof tap, "layer.%d/attn.out", l);
        write_hist(&k, tap, 2 + l);
    }
    write_table(w, p, 4, p->loss4);
    k.flush(k.self);
    write_table(w, p, 8, p->loss8);
    if (p->damaged)
        hl_writer_table(w, STEPS, "quantize/W8A8", p->damaged);
    k.flush(k.self);
}

static void write_run(const char *runs_dir, const plan *p)
{
    char config[300], *dir;
    hl_writer *w;
    const hl_run_facts_in facts = {.id = p->id, .name = p->name, .script = "exp/sample.lua"};
    snprintf(config, sizeof config,
             "{\"name\":\"%s\",\"model\":{\"kind\":\"nn.%.4s\",\"attention\":{\"softmax\":\"%s\"}},"
             "\"seed\":%d}",
             p->name, p->name, p->softmax, p->seed);
    if (hl_run_dir_create(runs_dir, &facts, &dir) != HL_OK ||
        hl_run_dir_put_config(dir, config) != HL_OK || hl_writer_open(dir, NULL, &w) != HL_OK) {
        fprintf(stderr, "sample_store: %s: %s\n", p->id, hl_err_message());
        exit(1);
    }
    hl_writer_set_state(w, 0, &(hl_state_note){.state = HL_RUN_RUNNING, .step_total = STEPS});
    write_values(w, p);
    hl_writer_set_state(w, STEPS, &(hl_state_note){.state = p->state});
    if (hl_writer_close(w) != HL_OK)
        exit(1);
    hl_free(dir);
}

void sample_quant(const char *runs_dir)
{
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        write_run(runs_dir, &plans[i]);
}
