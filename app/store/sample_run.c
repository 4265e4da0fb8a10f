/* Test program: writes a run with every kind of value and prints what our reader reads back.
 *
 *   sample_run write RUNS [SECONDS]   makes a run below RUNS, prints its directory; with SECONDS
 * the writing is spread over that time sample_run dump RUN               CSV of all values:
 * kind,tag,step,wall_us,data
 *
 * tests/oracle/tensorboard_agrees.py compares the dump with what TensorBoard reads. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/hl_app.h"
#include "app/store/run_dir.h"
#include "app/store/writer.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"

#define N_STEPS   400
#define RESUME_AT 250
#define CURVE_MAX 40

static int fail(const char *what)
{
    fprintf(stderr, "sample_run: %s: %s\n", what, hl_err_message());
    return 1;
}

static hl_hist make_hist(hl_rng *rng, int64_t step)
{
    hl_hist h = {.min = DBL_MAX, .max = -DBL_MAX, .n_non_finite = step % 3 ? 0 : (double)step};
    for (int i = 0; i < 200; i++) {
        double v = hl_rng_normal(rng) * (1 + (double)step);
        int bin = 0;
        while (v >= hl_hist_edge(bin))
            bin++;
        h.bin[bin]++;
        h.num++;
        h.sum += v;
        h.sum_squares += v * v;
        h.min = v < h.min ? v : h.min;
        h.max = v > h.max ? v : h.max;
    }
    return h;
}

static void write_specials(const hl_sink *s)
{
    static const float odd[] = {
        0.0f,   -0.0f,           (float)NAN, (float)INFINITY, -(float)INFINITY,
        1e-45f, -1.1754942e-38f, FLT_MAX,    -FLT_MAX,        0.1f};
    int a = s->series(s->self, "odd/value", HL_SERIES_SCALAR, NULL);
    int b = s->series(s->self, "odd/wide", HL_SERIES_WIDE, NULL);
    int c = s->series(s->self, "odd/\xCF\x80 \"quoted\", and a comma", HL_SERIES_SCALAR, NULL);
    for (int i = 0; i < 10; i++) {
        s->scalar(s->self, a, i - 3, (double)odd[i]);
        s->scalar(s->self, b, i - 3, (double)odd[i] * 1.0000000001);
    }
    s->scalar(s->self, a, INT64_MIN, 1);
    s->scalar(s->self, a, 100, 2);
    s->scalar(s->self, b, 7, 4.9e-324);
    s->scalar(s->self, b, 8, 9007199254740993.0);
    s->scalar(s->self, c, 0, 0);
}

static void write_steps(hl_writer *w, int64_t from, int64_t to, int64_t pause_ms)
{
    hl_sink s = hl_writer_sink(w);
    hl_rng rng = hl_rng_make(7, HL_RNG_TEST, 0, (uint32_t)from);
    int loss = s.series(s.self, "train/loss", HL_SERIES_SCALAR, NULL);
    int tokens = s.series(s.self, "train/tokens", HL_SERIES_WIDE, NULL);
    int ppl = s.series(s.self, "eval/ppl", HL_SERIES_SCALAR, NULL);
    int hist = s.series(s.self, "outliers/layer.3/ffn.out/hist", HL_SERIES_HIST, NULL);
    int curve = s.series(s.self, "deq/residual", HL_SERIES_CURVE, NULL);
    int table = s.series(s.self, "quant/w8a8", HL_SERIES_JSON, "table");
    int control = s.series(s.self, "run/control", HL_SERIES_JSON, "control");
    for (int64_t i = from; i < to; i++) {
        float v[CURVE_MAX];
        int64_t n = i % CURVE_MAX;
        s.scalar(s.self, loss, i, 5 * exp(-(double)i / 100) + 0.01 * hl_rng_normal(&rng));
        s.scalar(s.self, tokens, i, (double)i * 123456789.0 + 0.5);
        for (int64_t k = 0; k < n; k++)
            v[k] = (float)hl_rng_normal(&rng);
        if (i % 10 == 0) {
            hl_hist h = make_hist(&rng, i);
            s.hist(s.self, hist, i, &h);
            const int64_t rows = i % 20 ? 1 : 2;
            s.curve(s.self, curve, i, v, rows, n / rows);
        }
        if (i % 50 == 49) {
            s.scalar(s.self, ppl, i, 400.0 / (double)(i + 1));
            s.json(s.self, table, i,
                   "{\"rows\":[[\"fp32\",1.5],[\"w8a8\",\"NaN\"]],\"note\":\"\xCF\x80\"}");
            s.json(s.self, control, i,
                   "{\"request\":\"set\",\"lr\":0.001,\"outcome\":\"applied\"}");
            hl_writer_heartbeat(w, i, 30, "training");
        }
        if (pause_ms)
            hl_clock_sleep_ms(pause_ms);
    }
}

static hl_status write_segment(const char *dir, const hl_writer_opts *opts, int64_t to,
                               int64_t pause_ms)
{
    hl_writer *w;
    hl_status st = hl_writer_open(dir, opts, &w);
    if (st != HL_OK)
        return st;
    hl_sink s = hl_writer_sink(w);
    hl_writer_set_state(w, 0, &(hl_state_note){HL_RUN_RUNNING, NULL, NULL, N_STEPS});
    if (!opts->resume)
        write_specials(&s);
    hl_writer_log(w, HL_LOG_INFO, 0, "a line with \"quotes\" and\ttabs");
    write_steps(w, opts->resume ? opts->resume_step : 0, to, pause_ms);
    hl_writer_checkpoint(w, to, "ckpt/step-0000000300", false);
    hl_writer_set_state(w, to, &(hl_state_note){HL_RUN_DONE, NULL, NULL, 0});
    return hl_writer_close(w);
}

static int write_run(const char *runs_dir, double seconds)
{
    char *dir;
    hl_run_facts_in facts = {.name = "sample"};
    int64_t pause_ms = (int64_t)(seconds * 1000 / (300 + N_STEPS - RESUME_AT));
    if (hl_run_dir_create(runs_dir, &facts, &dir) != HL_OK)
        return fail("create");
    printf("%s\n", dir);
    fflush(stdout);
    hl_writer_opts resume = {.resume = true, .resume_step = RESUME_AT};
    hl_status st = write_segment(dir, &(hl_writer_opts){0}, 300, pause_ms);
    if (st == HL_OK)
        st = write_segment(dir, &resume, N_STEPS, pause_ms);
    hl_free(dir);
    return st == HL_OK ? 0 : fail("write");
}

/* ---- dump ---- */

static void print_head(const hl_run *run, size_t series, int64_t step, int64_t t_us)
{
    static const char *const kinds[] = {"scalar", "wide", "hist", "curve", "json"};
    hl_series_info info = hl_run_series_at(run, series);
    printf("%s,\"", kinds[info.kind]);
    for (const char *p = info.tag; *p; p++)
        printf(*p == '"' ? "\"\"" : "%c", *p);
    printf("\",%" PRId64 ",%" PRId64 ",", step, t_us);
}

static void dump_point(void *self, size_t series, int64_t step, int64_t t_us, double value)
{
    print_head(self, series, step, t_us);
    printf("%.17g\n", value);
}

static void dump_hist(void *self, size_t series, int64_t step, int64_t t_us, const hl_hist *h)
{
    print_head(self, series, step, t_us);
    printf("%.17g %.17g %.17g %.17g %.17g", h->min, h->max, h->num, h->sum, h->sum_squares);
    for (int i = 0; i < HL_HIST_BINS; i++)
        printf(" %.17g", h->bin[i]);
    printf("\n");
}

static void dump_curve(void *self, size_t series, int64_t step, int64_t t_us, const hl_curve *c)
{
    print_head(self, series, step, t_us);
    if (c->rows != 1)
        printf("%zux%zu ", c->rows, c->cols);
    for (size_t i = 0; i < c->rows * c->cols; i++)
        printf("%s%.9g", i ? " " : "", (double)c->v[i]);
    printf("\n");
}

static void dump_json(void *self, size_t series, int64_t step, int64_t t_us, const char *text,
                      size_t n)
{
    print_head(self, series, step, t_us);
    printf("\"");
    for (size_t i = 0; i < n; i++)
        printf(text[i] == '"' ? "\"\"" : "%c", text[i]);
    printf("\"\n");
}

static int dump_run(const char *dir)
{
    hl_run *run;
    if (hl_run_open(dir, &run) != HL_OK)
        return fail("open");
    printf("kind,tag,step,wall_us,data\n");
    hl_run_visitor v = {run, dump_point, dump_hist, dump_curve, dump_json, NULL};
    hl_status st = hl_run_scan(run, &v, false);
    hl_run_close(run);
    return st == HL_OK ? 0 : fail("read");
}

int main(int argc, char **argv)
{
    double seconds = 0;
    if (argc == 4 && hl_parse_f64(argv[3], &seconds) != HL_OK)
        return fail("SECONDS");
    if (argc >= 3 && strcmp(argv[1], "write") == 0)
        return write_run(argv[2], seconds);
    if (argc == 3 && strcmp(argv[1], "dump") == 0)
        return dump_run(argv[2]);
    fprintf(stderr, "usage: sample_run write RUNS [SECONDS] | sample_run dump RUN\n");
    return 2;
}
