#include "tests/screens/sample_deq.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/hl_app.h"
#include "app/store/run_dir.h"
#include "app/store/writer.h"
#include "engine/base/mem.h"

enum { STEPS = 400, EVERY = 20, ROWS_MAX = 40, BATCH = 64 };

typedef struct plan {
    const char *id, *name, *model; /* JSON of config.json's model */
    hl_run_state state;
    double slowest, start, damping, tol; /* slowest: factor per evaluation of the last sample */
    int rows;
    bool has_curves, has_metrics;
    int n_odd; /* samples that are not finite, diverge, or stop by their own residual: so many each
                */
} plan;

static const plan plans[] = {
    {"20260201-100000-000001", "deq-picard",
     "{\"forward\":{\"solver\":\"picard\",\"tol\":0.0001,"
     "\"stop\":\"rel\"},\"damping\":0.25,\"kind\":\"nn.hopfield\"}",
     HL_RUN_DONE, 0.84, 0.9, 0.25, 1e-4, 40, true, true, 0},
    {"20260201-110000-000002", "deq-anderson",
     "{\"core\":{\"forward\":{\"solver\":\"anderson\","
     "\"tol\":0.001}},\"kind\":\"deq-text\"}",
     HL_RUN_DONE, 0.52, 0.7, 0, 1e-3, 24, true, true, 2},
    {"20260201-120000-000003", "deq-odd", "{\"kind\":\"custom\"}", HL_RUN_DIVERGED, 0.75, 1, 0,
     1e-6, 30, true, true, 5},
    {"20260201-130000-000004", "deq-unwatched", "{\"forward\":{\"tol\":0.0001}}", HL_RUN_DONE, 0.7,
     1, 0, 1e-4, 30, false, true, 0},
    {"20260201-140000-000005", "no-deq", "{\"kind\":\"nn.bert\"}", HL_RUN_DONE, 0.7, 1, 0, 1e-4, 30,
     false, false, 0},
};

/* Of the run that has two. */
static const plan second_layer = {.slowest = 0.8, .start = 0.3, .tol = 1e-3, .rows = 30};

/* What a solve of sample b leaves in its column of m: a falling residual with a wave in it, NaN
 * once it is below the tolerance. Later in training everything falls faster. */
static void fill_sample(const plan *p, double progress, int b, float *m)
{
    const double place = (b * 37 % BATCH) / (double)(BATCH - 1); /* not in the order of speed */
    const double factor = (0.45 + (p->slowest - 0.45) * place) * (1 - 0.25 * progress);
    double r = p->start;
    bool is_going = b >= p->n_odd;
    for (int k = 0; k < p->rows; k++) {
        const double v = r * (1 + 0.3 * sin(1.3 * k + b));
        m[k * BATCH + b] = is_going ? (float)v : NAN;
        if (b >= p->n_odd && b < 2 * p->n_odd && k < 12) { /* it diverges */
            m[k * BATCH + b] = (float)(0.7 + 0.02 * k);
            is_going = k < 11;
        } else if (b >= 2 * p->n_odd && b < 3 * p->n_odd && k == 6) {
            is_going = false;
        } else {
            is_going = is_going && v >= p->tol;
        }
        r *= factor;
    }
}

static void write_solve(const hl_sink *k, const plan *p, const char *split, int64_t step)
{
    float m[ROWS_MAX * BATCH];
    char tag[64];
    for (int b = 0; b < BATCH; b++)
        fill_sample(p, (double)step / STEPS, b, m);
    snprintf(tag, sizeof tag, "%s/deq/movement", split);
    k->curve(k->self, k->series(k->self, tag, HL_SERIES_CURVE, NULL), step, m, p->rows, BATCH);
}

static void put_curve(const hl_sink *k, const char *tag, int64_t step, const float *v, int rows,
                      int cols)
{
    k->curve(k->self, k->series(k->self, tag, HL_SERIES_CURVE, NULL), step, v, rows, cols);
}

/* What else a run can record of a batch: absolute residuals, what ended them, the solve that
 * gradients take, radii, energies, and the states of three samples: two squares and a line. */
static void write_inside(const hl_sink *k, const plan *p, int64_t step)
{
    enum { SIDE = 12, N = SIDE * SIDE, SAMPLES = 2, BACK = 8 };
    float m[ROWS_MAX * BATCH], absolute[ROWS_MAX * BATCH], energy[ROWS_MAX * BATCH];
    float ended[BATCH], radius[BATCH], back[BACK * BATCH], state[SAMPLES * N];
    for (int b = 0; b < BATCH; b++) {
        fill_sample(p, (double)step / STEPS, b, m);
        ended[b] = isnan(m[(p->rows - 1) * BATCH + b]) ? 1 : 0;
        radius[b] = 0.5F + 0.005F * (float)b;
    }
    for (int i = 0; i < p->rows * BATCH; i++) {
        absolute[i] = 20 * m[i];
        energy[i] = isnan(m[i]) ? NAN : (float)(-40 - i % BATCH * 0.2) + 30 * m[i];
    }
    for (int i = 0; i < BACK * BATCH; i++)
        back[i] = (float)(0.4 * pow(0.5 + 0.002 * (i % BATCH), i / BATCH));
    for (int i = 0; i < SAMPLES * N; i++)
        state[i] = (float)hypot(i % N / SIDE - 5.5, i % SIDE - 5.5 + 4 * (i / N));
    put_curve(k, "train/deq/absolute", step, absolute, p->rows, BATCH);
    put_curve(k, "train/deq/energy", step, energy, p->rows, BATCH);
    put_curve(k, "train/deq/ended", step, ended, 1, BATCH);
    put_curve(k, "train/deq/spectral_radius", step, radius, 1, BATCH);
    put_curve(k, "train/deq/backward", step, back, BACK, BATCH);
    put_curve(k, "train/deq/state", step, state, SAMPLES, N);
    k->scalar(k->self, k->series(k->self, "train/deq/solve_ms", HL_SERIES_SCALAR, NULL), step,
              12.5);
    k->scalar(k->self, k->series(k->self, "train/deq/backward_ms", HL_SERIES_SCALAR, NULL), step,
              3.25);
}

static void write_metrics(const hl_sink *k, const plan *p, const char *split, int64_t step)
{
    const double progress = (double)step / STEPS, n = p->rows * (0.7 - 0.3 * progress);
    const struct {
        const char *name;
        double v;
    } metrics[] = {{"iterations", n},
                   {"time", n * (1 - p->damping)},
                   {"not_converged", 0.1 * (1 - progress)},
                   {"residual", p->tol * (1.5 - progress)},
                   {"calls", fmin(1.3 * n, p->rows)},
                   {"fallback", p->damping > 0 ? 0 : 3 - 2 * progress}};
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
        char tag[64];
        snprintf(tag, sizeof tag, "%s/deq/%s", split, metrics[i].name);
        k->scalar(k->self, k->series(k->self, tag, HL_SERIES_SCALAR, NULL), step, metrics[i].v);
    }
}

static void write_run(const char *runs_dir, const plan *p)
{
    char config[400], *dir;
    hl_writer *w;
    const hl_run_facts_in facts = {.id = p->id, .name = p->name, .script = "exp/sample.lua"};
    snprintf(config, sizeof config, "{\"model\":%s,\"seed\":1}", p->model);
    if (hl_run_dir_create(runs_dir, &facts, &dir) != HL_OK ||
        hl_run_dir_put_config(dir, config) != HL_OK || hl_writer_open(dir, NULL, &w) != HL_OK) {
        fprintf(stderr, "sample_store: %s: %s\n", p->id, hl_err_message());
        exit(1);
    }
    const hl_sink k = hl_writer_sink(w);
    const int loss = k.series(k.self, "train/loss", HL_SERIES_SCALAR, NULL);
    hl_writer_set_state(w, 0, &(hl_state_note){.state = HL_RUN_RUNNING, .step_total = STEPS});
    k.flush(k.self);
    for (int64_t step = 0; step <= STEPS; step += 10) {
        k.scalar(k.self, loss, step, 0.2 + exp(-(double)step / 100));
        if (p->has_metrics)
            write_metrics(&k, p, "train", step);
        if (p->has_curves && step % EVERY == 0)
            write_solve(&k, p, "train", step);
        if (p->damping > 0 && step % EVERY == 0)
            write_inside(&k, p, step);
        if (p->n_odd == 2 && step % EVERY == 0)
            write_solve(&k, &second_layer, "train/second", step);
        if (p->damping > 0 && step > 0 && step % 200 == 0) {
            write_metrics(&k, p, "eval", step);
            write_solve(&k, p, "eval", step);
        }
    }
    k.flush(k.self);
    hl_writer_set_state(w, STEPS, &(hl_state_note){.state = p->state});
    if (hl_writer_close(w) != HL_OK)
        exit(1);
    hl_free(dir);
}

void sample_deq(const char *runs_dir)
{
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        write_run(runs_dir, &plans[i]);
}
