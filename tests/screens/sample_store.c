/* Writes runs for the screen suites: always the same, whatever the machine and the hour (set
 * HOPLAB_TEST_CLOCK).
 *
 *   sample_store RUNS                   the six runs of the golden screens
 *   sample_store RUNS deq               runs of equilibrium models (sample_deq.c)
 *   sample_store RUNS probe             a run that is probed in depth (sample_probe.c)
 *   sample_store RUNS quant             quantized runs (sample_quant.c)
 *   sample_store RUNS forecast          runs of series (sample_forecast.c)
 *   sample_store RUNS chart             seeds, a resumed run (sample_chart.c)
 *   sample_store RUNS compare           runs of two methods and their machine (sample_compare.c)
 *   sample_store RUNS many N            N finished runs
 *   sample_store RUNS long N            one finished run with N points in a series
 *   sample_store RUNS live N SECONDS    N runs that are written for so long, a step each 100 ms
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/hl_app.h"
#include "app/store/run_dir.h"
#include "app/store/writer.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "tests/screens/sample_chart.h"
#include "tests/screens/sample_compare.h"
#include "tests/screens/sample_deq.h"
#include "tests/screens/sample_forecast.h"
#include "tests/screens/sample_probe.h"
#include "tests/screens/sample_quant.h"

enum { LAYERS = 4, SITES = 2, LIVE_MAX = 64 };

static const char *const sites[SITES] = {"attn.out", "out"};

typedef struct plan {
    const char *id, *name, *softmax;
    double growth; /* of the outliers over the run */
    int64_t steps, bad_from;
    hl_run_state state;
    const char *message;
} plan;

static const plan plans[] = {
    {"20260131-100000-000001", "bert-vanilla-s1", "vanilla", 40, 400, -1, HL_RUN_DONE, NULL},
    {"20260131-110000-000002", "bert-softmax1-s1", "softmax1", 3, 400, -1, HL_RUN_DONE, NULL},
    {"20260131-120000-000003", "opt-vanilla-s1", "vanilla", 90, 240, 200, HL_RUN_DIVERGED,
     "train/loss is NaN at step 200"},
    {"20260131-130000-000004", "opt-typo", "softmax1", 1, 0, -1, HL_RUN_FAILED,
     "opt.lua:7: no option 'optim.rl'; did you mean 'optim.lr'?"},
    {"20260131-140000-000005", "\xe6\xbc\xa2\xe5\xad\x97 \x1b[31mred", "softmax1", 2, 60, -1,
     HL_RUN_STOPPED, NULL},
    {"20260131-150000-000006", "bert-softmax1-s2", "softmax1", 3, 400, -1, HL_RUN_DONE, NULL},
};
enum { N_PLANS = sizeof plans / sizeof plans[0] };

static void fail(const char *what)
{
    fprintf(stderr, "sample_store: %s: %s\n", what, hl_err_message());
    exit(1);
}

/* ---- one step ---- */

typedef struct writing {
    hl_writer *w;
    hl_sink k;
    int loss, grad, lr, tokens_per_s, ms;
    int norm[LAYERS][SITES], kurtosis[LAYERS][SITES], hist[LAYERS][SITES];
} writing;

static writing begin(const char *dir, int64_t steps)
{
    writing t = {0};
    char tag[96];
    if (hl_writer_open(dir, NULL, &t.w) != HL_OK)
        fail(dir);
    t.k = hl_writer_sink(t.w);
    hl_writer_set_state(t.w, 0, &(hl_state_note){.state = HL_RUN_RUNNING, .step_total = steps});
    hl_writer_heartbeat(t.w, 0, 120, "");
    t.loss = t.k.series(t.k.self, "train/loss", HL_SERIES_SCALAR, NULL);
    t.grad = t.k.series(t.k.self, "train/grad_norm", HL_SERIES_SCALAR, NULL);
    t.lr = t.k.series(t.k.self, "train/lr", HL_SERIES_SCALAR, NULL);
    t.tokens_per_s = t.k.series(t.k.self, "sys/tokens_per_s", HL_SERIES_SCALAR, NULL);
    t.ms = t.k.series(t.k.self, "sys/step_ms", HL_SERIES_SCALAR, NULL);
    for (int l = 0; l < LAYERS; l++)
        for (int s = 0; s < SITES; s++) {
            snprintf(tag, sizeof tag, "outliers/layer.%d/%s/inf_norm", l, sites[s]);
            t.norm[l][s] = t.k.series(t.k.self, tag, HL_SERIES_SCALAR, NULL);
            snprintf(tag, sizeof tag, "outliers/layer.%d/%s/kurtosis", l, sites[s]);
            t.kurtosis[l][s] = t.k.series(t.k.self, tag, HL_SERIES_SCALAR, NULL);
            snprintf(tag, sizeof tag, "outliers/layer.%d/%s/hist", l, sites[s]);
            t.hist[l][s] = t.k.series(t.k.self, tag, HL_SERIES_HIST, NULL);
        }
    return t;
}

static void add_value(hl_hist *h, double v)
{
    int bin = 0;
    while (v >= hl_hist_edge(bin))
        bin++;
    h->bin[bin]++;
    h->num++;
    h->sum += v;
    h->sum_squares += v * v;
}

/* A normal distribution of this width, and one far value. */
static hl_hist make_hist(double width, double far)
{
    enum { VALUES = 4000 };
    hl_hist h = {.min = -3 * width, .max = far};
    for (int i = 0; i < VALUES; i++) {
        const double u = (i + 0.5) / VALUES, tail = u < 0.5 ? u : 1 - u;
        add_value(&h, (u < 0.5 ? -width : width) * sqrt(-2 * log(2 * tail)));
    }
    add_value(&h, far);
    return h;
}

static void write_probe(writing *t, int64_t step, double progress, double growth)
{
    for (int l = 0; l < LAYERS; l++)
        for (int s = 0; s < SITES; s++) {
            const double norm = (2 + l) * (1 + growth * progress * (l == 2 ? 1 : 0.1));
            const hl_hist h = make_hist(1 + 0.1 * l, norm);
            t->k.scalar(t->k.self, t->norm[l][s], step, norm);
            t->k.scalar(t->k.self, t->kurtosis[l][s], step, 3 + norm / 4);
            t->k.hist(t->k.self, t->hist[l][s], step, &h);
        }
}

static void write_step(writing *t, const plan *p, int64_t step, hl_rng *rng)
{
    const double progress = (double)step / (double)(p->steps ? p->steps : 1);
    const bool bad = p->bad_from >= 0 && step >= p->bad_from;
    const double loss = 1.6 + 4 * exp(-6 * progress) + 0.05 * hl_rng_normal(rng);
    t->k.scalar(t->k.self, t->loss, step, bad ? (double)NAN : loss);
    t->k.scalar(t->k.self, t->grad, step,
                bad ? (double)INFINITY : 0.5 + 0.2 * fabs(hl_rng_normal(rng)));
    t->k.scalar(t->k.self, t->lr, step, 1e-3 * (1 - progress));
    t->k.scalar(t->k.self, t->tokens_per_s, step, 38000);
    t->k.scalar(t->k.self, t->ms, step, 53.5);
    if (step % 20 == 0)
        write_probe(t, step, progress, p->growth);
}

/* ---- one run ---- */

static char *create(const char *runs_dir, const plan *p)
{
    char config[600], *dir;
    const char *const tags[] = {"sample"};
    const hl_run_facts_in facts = {.id = p->id,
                                   .name = p->name,
                                   .tags = tags,
                                   .n_tags = 1,
                                   .device = "cpu",
                                   .script = "exp/sample.lua",
                                   .git = "4be1d07",
                                   .has_seed = true,
                                   .seed = 1,
                                   .extra = "{\"precision\":\"fp32\",\"threads\":2,"
                                            "\"data\":\"generated\"}"};
    if (hl_run_dir_create(runs_dir, &facts, &dir) != HL_OK)
        fail(p->id ? p->id : runs_dir);
    snprintf(config, sizeof config,
             "{\"model\":{\"kind\":\"nn.bert\",\"layers\":%d,\"width\":128,\"heads\":4,"
             "\"attention\":{\"softmax\":\"%s\"}},\"optim\":{\"kind\":\"optim.adamw\","
             "\"lr\":0.001,\"weight_decay\":0.1},\"schedule\":{\"kind\":\"optim.linear\","
             "\"warmup\":40},\"data\":{\"seq_len\":128,\"batch_size\":16},\"seed\":1}",
             LAYERS, p->softmax);
    if (hl_run_dir_put_config(dir, config) != HL_OK)
        fail("config");
    return dir;
}

static void write_eval(writing *t, const plan *p)
{
    static const char *const tags[] = {"eval/loss", "eval/ppl", "eval/max_inf_norm",
                                       "eval/avg_kurtosis"};
    const double values[] = {1.62, 5.05, 4 * (1 + p->growth), 3 + (1 + p->growth)};
    for (int i = 0; i < 4; i++)
        t->k.scalar(t->k.self, t->k.series(t->k.self, tags[i], HL_SERIES_SCALAR, NULL), p->steps,
                    values[i]);
}

static void write_run(const char *runs_dir, const plan *p)
{
    char *dir = create(runs_dir, p);
    writing t = begin(dir, 400);
    hl_rng rng = hl_rng_make(7, HL_RNG_TEST, 0, 1);
    t.k.flush(t.k.self);
    hl_writer_log(t.w, HL_LOG_INFO, 0, "training on 2 threads");
    t.k.flush(t.k.self); /* log lines take another way: the order shall always be the same */
    for (int64_t step = 0; step < p->steps; step++)
        write_step(&t, p, step, &rng);
    if (p->state == HL_RUN_DONE) {
        t.k.json(t.k.self, t.k.series(t.k.self, "control", HL_SERIES_JSON, "control"), 250,
                 "{\"request\":1,\"cmd\":\"set lr\",\"who\":\"uid 1000\",\"value\":0.0003,"
                 "\"status\":\"applied\"}");
        write_eval(&t, p);
        hl_writer_checkpoint(t.w, p->steps, "ckpt/step-0000000400", false);
    }
    t.k.flush(t.k.self);
    if (p->bad_from >= 0)
        hl_writer_log(t.w, HL_LOG_WARN, p->bad_from, "train/loss is not finite");
    t.k.flush(t.k.self);
    hl_writer_set_state(t.w, p->steps, &(hl_state_note){.state = p->state, .message = p->message});
    if (hl_writer_close(t.w) != HL_OK)
        fail("close");
    hl_free(dir);
}

/* ---- stores ---- */

static void write_many(const char *runs_dir, int n)
{
    for (int i = 0; i < n; i++) {
        char id[40], name[40];
        plan p = plans[1];
        snprintf(id, sizeof id, "20260130-%06d-0000aa", i);
        snprintf(name, sizeof name, "sweep-%03d", i);
        p.id = id;
        p.name = name;
        p.steps = 40;
        write_run(runs_dir, &p);
    }
}

static void write_long(const char *runs_dir, int64_t n)
{
    plan p = plans[0];
    p.id = NULL;
    p.name = "long";
    char *dir = create(runs_dir, &p);
    writing t = begin(dir, n);
    hl_rng rng = hl_rng_make(7, HL_RNG_TEST, 0, 2);
    for (int64_t step = 0; step < n; step++)
        t.k.scalar(t.k.self, t.loss, step, 2 + 0.1 * hl_rng_normal(&rng));
    hl_writer_set_state(t.w, n, &(hl_state_note){.state = HL_RUN_DONE});
    if (hl_writer_close(t.w) != HL_OK)
        fail("close");
    hl_free(dir);
}

static void write_live(const char *runs_dir, int n, double seconds)
{
    static writing t[LIVE_MAX];
    const int64_t steps = (int64_t)(seconds * 10);
    plan p = plans[1];
    hl_rng rng = hl_rng_make(7, HL_RNG_TEST, 0, 3);
    p.id = NULL;
    p.steps = steps;
    for (int i = 0; i < n; i++) {
        char name[40];
        snprintf(name, sizeof name, "live-%02d", i);
        p.name = name;
        char *dir = create(runs_dir, &p);
        t[i] = begin(dir, steps);
        hl_free(dir);
    }
    for (int64_t step = 0; step < steps; step++) {
        for (int i = 0; i < n; i++)
            write_step(&t[i], &p, step, &rng);
        hl_clock_sleep_ms(100);
    }
    for (int i = 0; i < n; i++) {
        hl_writer_set_state(t[i].w, steps, &(hl_state_note){.state = HL_RUN_DONE});
        if (hl_writer_close(t[i].w) != HL_OK)
            fail("close");
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[2] : "golden";
    const long n = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
    if (argc < 2) {
        fprintf(stderr, "sample_store RUNS [deq | probe | quant | compare | forecast | many N | "
                        "long N | live N SECONDS]\n");
        return 2;
    }
    if (strcmp(what, "many") == 0) {
        write_many(argv[1], (int)n);
    } else if (strcmp(what, "long") == 0) {
        write_long(argv[1], n);
    } else if (strcmp(what, "live") == 0 && n <= LIVE_MAX && argc > 4) {
        write_live(argv[1], (int)n, strtod(argv[4], NULL));
    } else if (strcmp(what, "deq") == 0) {
        sample_deq(argv[1]);
    } else if (strcmp(what, "probe") == 0) {
        sample_probe(argv[1]);
    } else if (strcmp(what, "quant") == 0) {
        sample_quant(argv[1]);
    } else if (strcmp(what, "forecast") == 0) {
        sample_forecast(argv[1]);
    } else if (strcmp(what, "chart") == 0) {
        sample_chart(argv[1]);
    } else if (strcmp(what, "compare") == 0) {
        sample_compare(argv[1]);
    } else {
        for (int i = 0; i < N_PLANS; i++)
            write_run(argv[1], &plans[i]);
    }
    return 0;
}
