/* hoplab bench: measures steps of an experiment, alone or in turns with a peer; and single kernels.
 *
 * Everything is a ratio or comes with the ceiling of the same run: this machine's speed at another
 * minute says nothing. Pairs A B A B …, median and quartiles. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/exp/quantize.h"
#include "app/peak.h"
#include "app/prepare.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Value at quantile q; sorts. */
static double quantile(double *v, int n, double q)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    const double at = q * (n - 1);
    const int i = (int)at;
    return i + 1 < n ? v[i] + (at - i) * (v[i + 1] - v[i]) : v[i];
}

/* --- steps --- */

typedef struct peer {
    pid_t pid;
    FILE *to, *from;
} peer;

/* Starts the peer's command; it answers each line "step" with "<ms> <loss>". */
static hl_status peer_start(const char *command, peer *p)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        return hl_err_set(HL_E_IO, "cannot make a pipe");
    p->pid = fork();
    if (p->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    p->to = fdopen(in[1], "w");
    p->from = fdopen(out[0], "r");
    return p->pid > 0 && p->to && p->from ? HL_OK
                                          : hl_err_set(HL_E_IO, "cannot start '%s'", command);
}

static hl_status peer_answer(peer *p, const char *question, double *ms, double *loss)
{
    char line[256];
    fputs(question, p->to);
    fflush(p->to);
    if (!fgets(line, sizeof line, p->from) || sscanf(line, "%lf %lf", ms, loss) != 2)
        return hl_err_set(HL_E_IO, "the peer gave no answer '<ms> <loss>'");
    return HL_OK;
}

static hl_status peer_step(peer *p, double *ms, double *loss)
{
    return peer_answer(p, "step\n", ms, loss);
}

static void peer_stop(peer *p)
{
    if (p->to)
        fclose(p->to);
    if (p->from)
        fclose(p->from);
    if (p->pid > 0) {
        kill(p->pid, SIGTERM);
        waitpid(p->pid, NULL, 0);
    }
}

typedef struct timing {
    double ours[512], other[512], ratio[512];
    int n;
} timing;

static hl_status timed_step(hl_train *t, bool watched, double *ms, double *loss)
{
    const int64_t start = hl_clock_mono_ns();
    hl_status st = hl_train_steps(t, 1, watched, loss);
    *ms = (double)(hl_clock_mono_ns() - start) * 1e-6;
    return st;
}

/* n pairs of our step and the other side's: the peer, or an own one, watched if it is the same. */
static hl_status measure_pairs(hl_train *t, peer *p, hl_train *own, int n, timing *out)
{
    hl_status st = HL_OK;
    double loss;
    for (int i = -3; i < n; i++) {
        double a, b;
        HL_TRY(timed_step(t, false, &a, &loss));
        if (p)
            HL_TRY(peer_step(p, &b, &loss));
        else
            HL_TRY(timed_step(own, own == t, &b, &loss));
        if (i < 0)
            continue; /* warm-up */
        out->ours[i] = a;
        out->other[i] = b;
        out->ratio[i] = b / a;
        out->n = i + 1;
    }
out:
    return st;
}

static void print_pairs(FILE *f, const char *other, timing *t)
{
    const double q1 = quantile(t->ratio, t->n, 0.25), q2 = quantile(t->ratio, t->n, 0.5),
                 q3 = quantile(t->ratio, t->n, 0.75);
    fprintf(f, "%-28s %8.2f ms, ours %8.2f ms (medians of %d pairs); ratio %.3f (quartiles %.3f %.3f)\n",
            other, quantile(t->other, t->n, 0.5), quantile(t->ours, t->n, 0.5), t->n, q2, q1, q3);
}

static void print_captures(FILE *f, const hl_train *t)
{
    int n_host_steps;
    int64_t n_replayed;
    hl_train_captures(t, &n_host_steps, &n_replayed);
    if (hl_device_current())
        fprintf(f, "on the device: %lld steps replayed, %d operations of a step on the host\n",
                (long long)n_replayed, n_host_steps);
}

static void print_arena(FILE *f, const char *precision, hl_train *t)
{
    char text[24];
    fprintf(f, "%s: activations and scratch %s\n", precision,
            hl_format_bytes(text, hl_train_get_plan(t).activations));
}

/* Both train the same weights in turns. */
static hl_status pairs_with_fp32(hl_train *t, const hl_train_setup *setup, int n, timing *times,
                                 FILE *out)
{
    hl_status st = HL_OK;
    hl_train *wide = NULL;
    hl_experiment e = *setup->exp;
    hl_train_setup s = *setup;
    e.bf16 = false;
    s.exp = &e;
    HL_TRY(hl_train_new(&s, &wide));
    HL_TRY(hl_train_open(wide, hl_silent_sink(), NULL));
    HL_TRY(measure_pairs(t, NULL, wide, n, times));
    print_pairs(out, "fp32 (ours: bf16)", times);
    print_arena(out, "fp32", wide);
    print_arena(out, "bf16", t);
out:
    hl_train_free(wide);
    return st;
}

/* How fast batches come with no step between them, next to steps of ms each. */
static hl_status bench_data(const hl_experiment *e, int n, double ms, FILE *out)
{
    hl_status st = HL_OK;
    double n_items = 0;
    const hl_source *s = &e->source;
    hl_feed f = {0};
    hl_feed_batch b = {0};
    HL_TRY(s->open(s->self, HL_PART_TRAIN, (hl_position){0, 0}, &f));
    const int64_t start = hl_clock_mono_ns();
    for (int i = 0; i < n; i++) {
        HL_TRY(f.next(f.self, &b));
        n_items += (double)b.n_items;
        f.give_back(f.self, &b);
    }
    const double seconds = (double)(hl_clock_mono_ns() - start) * 1e-9;
    fprintf(out, "data alone: %.4f ms a batch, %.4g %s/s: %.0f times what training takes\n",
            seconds / n * 1e3, n_items / seconds, s->items,
            ms * 1e-3 / e->accumulate / (seconds / n));
out:
    hl_feed_close(&f);
    return st;
}

static hl_status bench_steps(hl_cli *cli, hl_prepared *p, bool *usage)
{
    hl_status st = HL_OK;
    hl_train *t = NULL;
    peer other = {0};
    static timing times;
    hl_str text = {0};
    FILE *out = hl_cli_out(cli);
    const int n = (int)hl_cli_int(cli, "pairs");
    const hl_extra_override extra[1] = {{.path = "probe.every", .text = "1"}};
    HL_TRY(hl_prepare_host(cli, hl_cli_arg(cli, 0), p));
    HL_TRY(hl_prepare_experiment(cli, hl_cli_arg(cli, 0), extra, 1, p, usage));
    hl_train_setup setup = {.exp = p->exp, .team = p->team, .baseline_bytes = p->baseline_bytes,
                            .host = hl_silent_host()};
    HL_TRY(hl_train_new(&setup, &t));
    HL_TRY(hl_train_fits(t));
    HL_TRY(hl_train_open(t, hl_silent_sink(), NULL));
    const double gemm = hl_peak_gemm(p->team, 2048, 1024, 256, HL_PEAK_FLOAT);
    if (hl_cli_str(cli, "peer")) {
        HL_TRY(peer_start(hl_cli_str(cli, "peer"), &other));
        HL_TRY(measure_pairs(t, &other, NULL, n, &times));
        print_pairs(out, "peer", &times);
    }
    if (p->exp->bf16)
        HL_TRY(pairs_with_fp32(t, &setup, n, &times, out));
    HL_TRY(measure_pairs(t, NULL, t, n, &times));
    const double ms = quantile(times.ours, times.n, 0.5), flops = hl_train_flops(t);
    fprintf(out, "%s: %.2f ms a step, %.2f GFLOP, %.1f GFLOP/s (gemm 2048x1024x256 in this run: %.1f), "
                 "%d threads, %s\n",
            p->exp->name, ms, flops * 1e-9, flops / ms * 1e-6, gemm, p->team->n,
            hl_cpu()->isa);
    print_pairs(out, "taps on every step", &times);
    print_captures(out, t);
    HL_TRY(bench_data(p->exp, 20 * n, ms, out));
    if (hl_cli_flag(cli, "profile")) {
        double loss;
        hl_train_profile(t, true);
        HL_TRY(hl_train_steps(t, n, false, &loss));
        hl_train_profile_text(t, &text);
        fputs(hl_str_text(&text), out);
    }
out:
    peer_stop(&other);
    hl_str_done(&text);
    hl_train_free(t);
    return st;
}

/* --- evaluations in float, simulated and executed INT8 --- */

enum { IN_FLOAT, SIMULATED, EXECUTED, PEER, N_WAYS };

typedef struct quant_bench {
    hl_quantized *q;
    hl_quantized_view *view[2];
    hl_train *train[3], *own;
    peer other;
    int n_ways;
    double ms[N_WAYS][512], ratio[N_WAYS][512]; /* ratio: to executed */
} quant_bench;

static hl_status open_quantized(hl_prepared *p, quant_bench *b)
{
    hl_status st = HL_OK;
    hl_train_setup setup = {.exp = p->exp, .team = p->team, .baseline_bytes = p->baseline_bytes,
                            .host = hl_silent_host(), .eval_only = true};
    p->exp->eval_batches = 1;
    HL_TRY(hl_quantized_new(&setup, &b->q));
    HL_TRY(hl_quantized_calibrate(b->q, 0));
    HL_TRY(hl_train_new(&setup, &b->own));
    HL_TRY(hl_train_fits(b->own));
    HL_TRY(hl_train_open(b->own, hl_silent_sink(), NULL));
    b->train[IN_FLOAT] = b->own;
    for (int i = 0; i < 2; i++) {
        HL_TRY(hl_quantized_open(b->q, i == 1, &b->view[i]));
        b->train[SIMULATED + i] = hl_quantized_driver(b->view[i]);
    }
out:
    return st;
}

static hl_status measure_ways(quant_bench *b, int n)
{
    hl_status st = HL_OK;
    double loss;
    for (int i = -3; i < n; i++) {
        double ms[N_WAYS] = {0};
        for (int w = 0; w < 3; w++) {
            const int64_t start = hl_clock_mono_ns();
            HL_TRY(hl_train_evaluate(b->train[w]));
            ms[w] = (double)(hl_clock_mono_ns() - start) * 1e-6;
        }
        if (b->n_ways == N_WAYS)
            HL_TRY(peer_step(&b->other, &ms[PEER], &loss));
        for (int w = 0; i >= 0 && w < b->n_ways; w++) {
            b->ms[w][i] = ms[w];
            b->ratio[w][i] = ms[w] / ms[EXECUTED];
        }
    }
out:
    return st;
}

static hl_status bench_quantized(hl_cli *cli, hl_prepared *p, bool *usage)
{
    static const char *const name[N_WAYS] = {"float", "simulated", "executed", "peer"};
    hl_status st = HL_OK;
    static quant_bench b;
    hl_str text = {0};
    FILE *out = hl_cli_out(cli);
    const int n = (int)hl_cli_int(cli, "pairs");
    b = (quant_bench){.n_ways = hl_cli_str(cli, "peer") ? N_WAYS : N_WAYS - 1};
    HL_TRY(hl_prepare_host(cli, hl_cli_arg(cli, 0), p));
    HL_TRY(hl_prepare_experiment(cli, hl_cli_arg(cli, 0), NULL, 0, p, usage));
    if (hl_cli_flag(cli, "no-taps") && p->exp->eval.g)
        p->exp->eval.g->taps.n = 0;
    HL_TRY(open_quantized(p, &b));
    if (b.n_ways == N_WAYS)
        HL_TRY(peer_start(hl_cli_str(cli, "peer"), &b.other));
    HL_TRY(measure_ways(&b, n));
    fprintf(out, "%s: evaluating a batch, %d threads, %s, medians of %d; ratios to executed (quartiles)\n",
            p->exp->name, p->team->n, hl_cpu()->isa, n);
    for (int w = 0; w < b.n_ways; w++)
        fprintf(out, "  %-10s %9.2f ms  %6.3f (%.3f %.3f)\n", name[w], quantile(b.ms[w], n, 0.5),
                quantile(b.ratio[w], n, 0.5), quantile(b.ratio[w], n, 0.25), quantile(b.ratio[w], n, 0.75));
    for (int w = 0; w < 3 && hl_cli_flag(cli, "profile"); w++) {
        hl_train_profile(b.train[w], true);
        for (int i = 0; i < n; i++)
            HL_TRY(hl_train_evaluate(b.train[w]));
        hl_str_addf(&text, "%s\n", name[w]);
        hl_train_profile_text(b.train[w], &text);
    }
    fputs(hl_str_text(&text), out);
out:
    peer_stop(&b.other);
    hl_str_done(&text);
    for (int i = 0; i < 2; i++)
        hl_quantized_close(b.view[i]);
    hl_train_free(b.own);
    hl_quantized_free(b.q);
    return st;
}

/* --- INT8 layers --- */

enum { OF_X, RANGE, OF_W, SCALE, N_LEAVES };

typedef struct layer {
    hl_graph *g;
    hl_program *p;
    void *data[N_LEAVES];
    size_t bytes[N_LEAVES];
} layer;

static void layer_done(layer *l)
{
    hl_graph_free(l->g);
    hl_program_free(l->p);
    for (int i = 0; i < N_LEAVES; i++)
        hl_block_free(l->data[i], l->bytes[i]);
}

static hl_status layer_bind(layer *l, const hl_type *type)
{
    for (int i = 0; i < N_LEAVES; i++) {
        l->bytes[i] = hl_type_bytes(&type[i]);
        l->data[i] = hl_block_new(l->bytes[i]);
        if (!l->data[i])
            return HL_E_NOMEM;
        memset(l->data[i], i == OF_X ? 131 : 5, l->bytes[i]);
        hl_program_bind(l->p, i, l->data[i]);
    }
    *(float *)l->data[SCALE] = 1e-3f;
    for (int64_t i = 0; i < type[RANGE].dim[0]; i++) /* seen before, from -1 to 1 */
        ((double *)l->data[RANGE])[i] = i == 1 ? -1 : 1;
    return HL_OK;
}

/* linear_int8 from codes to codes, of numbers that do not matter. */
static hl_status layer_open(const int64_t s[3], hl_team *team, layer *l)
{
    hl_status st = HL_OK;
    const int64_t one = 1, fields = HL_QUANT_RANGE_FIELDS, x[2] = {s[0], s[2]}, w[2] = {s[1], s[2]};
    const hl_type type[N_LEAVES] = {
        hl_type_make(HL_DTYPE_U8, 2, x), hl_type_make(HL_DTYPE_F64, 1, &fields),
        hl_type_make(HL_DTYPE_I8, 2, w), hl_type_make(HL_DTYPE_F32, 1, &one)};
    hl_id leaf[N_LEAVES];
    HL_TRY(hl_graph_new(&l->g));
    for (int i = 0; i < N_LEAVES; i++)
        leaf[i] = hl_graph_state(l->g, "operand", type[i]);
    const hl_op *op = hl_op_find("linear_int8");
    hl_attrs a = hl_op_defaults(op);
    a.v[hl_op_attr(op, "y_codes")].i = 1;
    const hl_id in[6] = {leaf[OF_X], leaf[RANGE], leaf[OF_W], leaf[SCALE], HL_NONE, leaf[RANGE]};
    const hl_id y = hl_graph_append(l->g, op, in, 6, &a);
    HL_TRY(l->g->status);
    const hl_compile how = {.outputs = &y, .n_outputs = 1, .n_workers = team->n};
    HL_TRY(hl_program_new(l->g, &how, &l->p));
    HL_TRY(layer_bind(l, type));
out:
    return st;
}

static hl_status measure_layer(layer *l, hl_team *team, peer *other, const char *question, timing *t)
{
    hl_status st = HL_OK;
    const hl_exec x = {.team = team};
    double loss;
    for (int i = -3; i < t->n; i++) {
        const int64_t start = hl_clock_mono_ns();
        HL_TRY(hl_program_run(l->p, &x));
        const double ms = (double)(hl_clock_mono_ns() - start) * 1e-6;
        double ms_other = ms;
        if (other)
            HL_TRY(peer_answer(other, question, &ms_other, &loss));
        if (i < 0)
            continue;
        t->ours[i] = ms;
        t->other[i] = ms_other;
        t->ratio[i] = ms_other / ms;
    }
out:
    return st;
}

static hl_status bench_layer(FILE *out, const int64_t s[3], hl_team *team, peer *other, timing *t)
{
    layer l = {0};
    char question[64];
    snprintf(question, sizeof question, "%lld %lld %lld\n", (long long)s[0], (long long)s[1],
             (long long)s[2]);
    hl_status st = layer_open(s, team, &l);
    if (st == HL_OK)
        st = measure_layer(&l, team, other, question, t);
    layer_done(&l);
    if (st != HL_OK)
        return st;
    const double ms = quantile(t->ours, t->n, 0.5);
    fprintf(out, "%5lld x %5lld x %5lld %9.3f ms %8.1f GOP/s", (long long)s[0], (long long)s[1],
            (long long)s[2], ms, 2e-6 * (double)(s[0] * s[1] * s[2]) / ms);
    if (other)
        fprintf(out, "   peer %9.3f ms, ratio %.2f (%.2f %.2f)", quantile(t->other, t->n, 0.5),
                quantile(t->ratio, t->n, 0.5), quantile(t->ratio, t->n, 0.25),
                quantile(t->ratio, t->n, 0.75));
    fputc('\n', out);
    return HL_OK;
}

static hl_status bench_layers(hl_cli *cli)
{
    /* BERT-base at 4 and 256 x 128, a small model, one row */
    static const int64_t shapes[][3] = {{512, 768, 768},    {512, 3072, 768},   {512, 768, 3072},
                                        {32768, 768, 768},  {32768, 3072, 768}, {32768, 768, 3072},
                                        {2048, 128, 128},   {2048, 512, 128},   {1, 768, 768}};
    hl_status st = HL_OK;
    hl_team *team = NULL;
    peer other = {0};
    static timing times;
    const bool has_peer = hl_cli_str(cli, "peer") != NULL;
    FILE *out = hl_cli_out(cli);
    HL_TRY(hl_team_new((int)hl_cli_int(cli, "threads"), &team));
    if (has_peer)
        HL_TRY(peer_start(hl_cli_str(cli, "peer"), &other));
    times.n = (int)hl_cli_int(cli, "pairs");
    fprintf(out, "INT8, codes to codes, M x N x K; %d threads, %s, medians of %d\n", team->n,
            hl_cpu()->isa, times.n);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        HL_TRY(bench_layer(out, shapes[i], team, has_peer ? &other : NULL, &times));
out:
    peer_stop(&other);
    hl_team_free(team);
    return st;
}

/* --- products --- */

static hl_status bench_gemm(hl_cli *cli)
{
    static const int64_t shapes[][3] = {{2048, 256, 256},  {2048, 1024, 256}, {2048, 256, 1024},
                                        {2048, 8192, 256}, {4096, 768, 768},  {4096, 3072, 768},
                                        {4096, 768, 3072}, {64, 2000, 2000}};
    hl_team *one = NULL, *team = NULL;
    hl_status st = HL_OK;
    FILE *out = hl_cli_out(cli);
    HL_TRY(hl_team_new((int)hl_cli_int(cli, "threads"), &team));
    HL_TRY(hl_team_new(1, &one));
    fprintf(out, "GFLOP/s, x W^T          1 thread  openblas  ratio   %d threads      bf16%s\n", team->n,
            hl_cpu_bf16() == HL_BF16_TILES ? " (AMX)"
            : hl_cpu_bf16() == HL_BF16_DOT ? " (dot)"
                                           : "");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const int64_t *s = shapes[i];
        const double a = hl_peak_gemm(one, s[0], s[1], s[2], HL_PEAK_FLOAT);
        const double b = hl_peak_gemm(one, s[0], s[1], s[2], HL_PEAK_OPENBLAS);
        const double c = hl_peak_gemm(team, s[0], s[1], s[2], HL_PEAK_FLOAT);
        const double h = hl_peak_gemm(team, s[0], s[1], s[2], HL_PEAK_BF16);
        fprintf(out, "%5lld x %5lld x %5lld  %9.1f %9.1f %6.2f %11.1f %9.1f\n", (long long)s[0],
                (long long)s[1], (long long)s[2], a, b, b > 0 ? a / b : 0, c, h);
    }
out:
    hl_team_free(one);
    hl_team_free(team);
    return st;
}

static int run(hl_cli *cli)
{
    hl_prepared p = {0};
    bool usage = false;
    hl_status st;
    const int64_t n = hl_cli_int(cli, "pairs");
    if (n < 1 || n > 512)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--pairs must be 1 to 512");
    if (hl_cli_args_n(cli) && hl_cli_flag(cli, "quantized"))
        st = bench_quantized(cli, &p, &usage);
    else if (hl_cli_args_n(cli))
        st = bench_steps(cli, &p, &usage);
    else
        st = hl_cli_flag(cli, "quantized") ? bench_layers(cli) : bench_gemm(cli);
    int status = st == HL_OK ? HL_EXIT_DONE : hl_prepare_fail(cli, &p, st, usage);
    hl_prepared_done(&p);
    return status;
}

static const hl_option options[] = {
    HL_PREPARE_OPTIONS,
    {.name = "pairs", .letter = 'n', .type = HL_OPTION_INT, .value = "N", .otherwise = "15",
     .help = "pairs of steps"},
    {.name = "peer", .type = HL_OPTION_STRING, .value = "CMD",
     .help = "program that does one step per line of input and prints \"<ms> <loss>\""},
    {.name = "profile", .type = HL_OPTION_FLAG, .help = "time by operation"},
    {.name = "quantized", .type = HL_OPTION_FLAG,
     .help = "evaluations instead of steps: in float, on the grids of INT8, and executed in integers; "
             "without a script: INT8 layers"},
    {.name = "no-taps", .type = HL_OPTION_FLAG, .help = "of --quantized: without statistics of activations"},
    {0},
};

const hl_command hl_cmd_bench = {
    .name = "bench", .help = "measure the steps of an experiment, or matrix products",
    .usage = "[SCRIPT]", .options = options, .n_args_max = 1, .run = run};
