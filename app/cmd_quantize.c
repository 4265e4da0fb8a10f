/* hoplab quantize RUN|CHECKPOINT|DIR: a trained model in float and on the grids of its quantizers,
 * and what each quantizer does to its tensor (spec: quantization). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "app/exp/quant_methods.h"
#include "app/proc/detach.h"
#include "app/quant_ckpt.h"
#include "app/quantize_methods.h"
#include "app/quantize_record.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"

static const struct {
    int weights, acts;
} bits[] = {{8, 8}, {8, 6}, {6, 8}, {6, 6}, {4, 8}, {4, 6}};
enum { N_BITS = sizeof bits / sizeof bits[0] };

typedef struct job {
    const hl_cli *cli;
    hl_trained m;
    hl_train *train; /* in float */
    hl_quantized *quantized;
    hl_json *before, *after, *executed, *sites, *sensitivity;
    hl_json *methods;  /* --methods: these alone */
    double seconds[3]; /* of the evaluations */
    double losses[N_BITS];
} job;

/* The same recipe with fewer bits, each with ranges of its own. */
static hl_status sweep_bits(job *j, const hl_train_setup *setup)
{
    hl_status st = HL_OK;
    hl_quant_recipe *r = &j->m.p.exp->quant.recipe;
    const hl_quant_recipe own = *r;
    hl_quantized *q = NULL;
    hl_json *result = NULL;
    double seconds;
    for (int i = 0; i < N_BITS; i++) {
        r->weight.quantizer.bits = bits[i].weights;
        r->act.quantizer.bits = bits[i].acts;
        HL_TRY(hl_quantized_new(setup, &q));
        HL_TRY(hl_quantized_calibrate(q, 0));
        HL_TRY(hl_quantized_evaluate(q, false, &result, &seconds));
        j->losses[i] = hl_json_num(hl_json_get(result, "eval_loss"), nan(""));
        hl_json_free(result);
        hl_quantized_free(q);
        result = NULL;
        q = NULL;
    }
out:
    *r = own;
    hl_json_free(result);
    hl_quantized_free(q);
    return st;
}

/* What is known when all evaluations are over. */
static hl_quantize_event event_of(const job *j)
{
    return (hl_quantize_event){.by = "hoplab quantize",
                               .step = hl_train_step(j->train),
                               .in_float = j->before,
                               .simulated = j->after,
                               .executed = j->executed,
                               .tensors = j->sites,
                               .sensitivity_batches = hl_cli_int(j->cli, "sensitivity")};
}

/* The ranks so far are kept with the run for those who look at it: after the first tensor, then at
 * growing distances, as each is a segment. */
typedef struct ranking {
    const job *j;
    int64_t next_ns, pause_ns;
} ranking;

static void ranked(void *self, size_t n, size_t of, const hl_json *so_far)
{
    enum { PAUSE_MAX = 60 };
    const int64_t second = 1000000000, now = hl_clock_mono_ns();
    ranking *r = self;
    if (now < r->next_ns || n == of || hl_cli_flag(r->j->cli, "no-record"))
        return;
    r->pause_ns = r->pause_ns ? 2 * r->pause_ns : second;
    if (r->pause_ns > PAUSE_MAX * second)
        r->pause_ns = PAUSE_MAX * second;
    r->next_ns = now + r->pause_ns;
    hl_quantize_event e = event_of(r->j);
    e.sensitivity = so_far;
    e.n_tried = n;
    e.n_to_try = of;
    HL_IGNORE(hl_quantize_record(r->j->cli, &r->j->m, &e)); /* all of it is kept at the end */
}

static hl_status rank(job *j)
{
    ranking r = {.j = j};
    const hl_quantized_watch watch = {.self = &r, .ranked = ranked};
    return hl_quantized_sensitivity(j->quantized, hl_cli_int(j->cli, "sensitivity"), &watch,
                                    &j->sensitivity);
}

static hl_status run_methods(job *j, const hl_train_setup *setup, const bool *wanted)
{
    hl_status st = hl_trained_evaluate(&j->m, &j->train, &j->before, &j->seconds[0]);
    return st == HL_OK ? hl_quant_methods_run(setup, wanted, &j->methods) : st;
}

static hl_status save(job *j)
{
    hl_str recipe = {0};
    const char *path = hl_cli_str(j->cli, "save");
    if (!path)
        return HL_OK;
    hl_quant_plan_text(&j->m.p.exp->quant, &recipe);
    const hl_quant_made made = {.of = &j->m,
                                .quantized = j->quantized,
                                .step = hl_train_step(j->train),
                                .recipe = hl_str_text(&recipe),
                                .before = j->before,
                                .simulated = j->after,
                                .executed = j->executed,
                                .sites = j->sites};
    hl_status st = hl_quant_ckpt_write(&made, path);
    hl_str_done(&recipe);
    return st;
}

static hl_status work(job *j, bool *usage)
{
    hl_status st = HL_OK;
    hl_trained_ask ask = hl_trained_ask_of(j->cli);
    bool wanted[HL_QUANT_METHODS];
    const bool has_methods = hl_cli_given(j->cli, "methods");
    const char *list = has_methods ? hl_cli_str(j->cli, "methods") : NULL;
    ask.same_batches = true;
    *usage = has_methods;
    if (has_methods)
        HL_TRY(hl_quant_methods_parse(list ? list : "all", wanted));
    *usage = has_methods && hl_cli_given(j->cli, "save");
    if (*usage)
        HL_FAIL(HL_E_ARG, "--save is for one quantization, --methods is a table of several; name "
                          "one by -s quantize.method=…");
    if (hl_cli_given(j->cli, "save"))
        HL_TRY(hl_new_dir_check(hl_cli_str(j->cli, "save")));
    HL_TRY(hl_trained_open(j->cli, &ask, &j->m, usage));
    const hl_train_setup setup = hl_trained_setup(&j->m);
    const hl_quant_recipe *r = &j->m.p.exp->quant.recipe;
    if (hl_cli_given(j->cli, "save"))
        HL_TRY(hl_quant_ckpt_check(&j->m));
    HL_TRY(hl_quantized_new(&setup, &j->quantized));
    if (has_methods)
        return run_methods(j, &setup, wanted);
    HL_TRY(hl_trained_evaluate(&j->m, &j->train, &j->before, &j->seconds[0]));
    hl_prepare_listen(j->cli, true);
    st = hl_quantized_calibrate(j->quantized, 0);
    hl_prepare_listen(j->cli, false);
    HL_TRY(st);
    HL_TRY(hl_quantized_evaluate(j->quantized, false, &j->after, &j->seconds[1]));
    if (hl_quantized_executes(j->quantized))
        HL_TRY(hl_quantized_evaluate(j->quantized, true, &j->executed, &j->seconds[2]));
    HL_TRY(hl_quantized_sites(j->quantized, &j->sites));
    if (hl_cli_given(j->cli, "sensitivity"))
        HL_TRY(rank(j));
    if (hl_cli_flag(j->cli, "bits") && (r->no_weights || r->no_acts))
        HL_FAIL(HL_E_ARG, "--bits is for weights and activations; leave quantize.weights and "
                          "quantize.acts as they are");
    if (hl_cli_flag(j->cli, "bits") && !hl_quantized_executes(j->quantized))
        HL_FAIL(HL_E_ARG, "--bits is for the methods static and smoothquant");
    if (hl_cli_flag(j->cli, "bits"))
        HL_TRY(sweep_bits(j, &setup));
    HL_TRY(save(j));
out:
    return st;
}

/* ---- what came out ---- */

/* The recipe in a few letters: W8A8, W4A8 per channel. */
static void put_recipe(const job *j, hl_str *b)
{
    hl_quant_plan_text(&j->m.p.exp->quant, b);
}

/* The tensor that loses most: the least ratio of signal to noise. NULL: none was measured. */
static const hl_json *worst_site(const job *j)
{
    const hl_json *worst = NULL;
    for (const hl_json *s = hl_json_at(j->sites, 0); s; s = hl_json_next(s))
        if (hl_json_num_at(s, "sqnr") < (worst ? hl_json_num_at(worst, "sqnr") : HUGE_VAL))
            worst = s;
    return worst;
}

static void put_bits(const job *j, hl_str *b)
{
    hl_json_add_key(b, "loss_by_bits");
    hl_json_begin(b, '{');
    for (int i = 0; i < N_BITS; i++) {
        char name[8];
        snprintf(name, sizeof name, "W%dA%d", bits[i].weights, bits[i].acts);
        hl_json_put_num(b, name, j->losses[i]);
    }
    hl_json_end(b, '}');
}

static void put_methods(const job *j, hl_str *b)
{
    hl_json_add_key(b, "methods");
    hl_json_add_value(b, j->methods);
}

static void put_results(const job *j, hl_str *b)
{
    hl_json_add_key(b, "simulated");
    hl_json_add_value(b, j->after);
    if (j->executed) {
        hl_json_add_key(b, "executed");
        hl_json_add_value(b, j->executed);
    }
    static const char *const of[3] = {"seconds_float", "seconds_simulated", "seconds_executed"};
    for (int i = 0; i < (j->executed ? 3 : 2); i++)
        hl_json_put_num(b, of[i], j->seconds[i]);
    hl_json_add_key(b, "quantizers");
    hl_json_add_value(b, j->sites);
    if (j->sensitivity) {
        hl_json_add_key(b, "sensitivity");
        hl_json_add_value(b, j->sensitivity);
    }
    if (hl_cli_flag(j->cli, "bits"))
        put_bits(j, b);
}

static hl_status print_json(const job *j)
{
    hl_str b = {0}, recipe = {0};
    const hl_quant_plan *plan = &j->m.p.exp->quant;
    put_recipe(j, &recipe);
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "checkpoint", j->m.place.dir);
    hl_json_put_int(&b, "step", hl_train_step(j->train));
    hl_json_put_str(&b, "recipe", hl_str_text(&recipe));
    hl_json_put_int(&b, "calibration_batches", plan->n_batches);
    hl_json_put_str(&b, "calibration_data", plan->on_eval ? "eval" : "train");
    hl_json_put_str(&b, "method", hl_quant_method_names[plan->recipe.method.method]);
    hl_json_add_key(&b, "float");
    hl_json_add_value(&b, j->before);
    if (j->methods)
        put_methods(j, &b);
    else
        put_results(j, &b);
    hl_json_end(&b, '}');
    hl_status st = hl_str_status(&b);
    if (st == HL_OK)
        fprintf(hl_cli_out(j->cli), "%s\n", b.s);
    hl_str_done(&b);
    hl_str_done(&recipe);
    return st;
}

static void print_numbers(const job *j, const char *name, const hl_json *const of[3],
                          const char *key)
{
    const double a = hl_json_num_at(of[0], key), b = hl_json_num_at(of[1], key),
                 c = hl_json_num_at(of[2], key);
    if (!isnan(a) && j->executed)
        fprintf(hl_cli_out(j->cli), "  %-20s %12.6g %12.6g %12.6g %+12.4g\n", name, a, b, c, c - a);
    else if (!isnan(a))
        fprintf(hl_cli_out(j->cli), "  %-20s %12.6g %12.6g %12s %+12.4g\n", name, a, b, "-", b - a);
}

static void print_row(const job *j, const char *name, const char *key)
{
    print_numbers(j, name, (const hl_json *const[3]){j->before, j->after, j->executed}, key);
}

/* The model's own numbers of an evaluation: accuracy, iterations of a solve … */
static void print_metrics(const job *j)
{
    const hl_json *of[3] = {hl_json_get(j->before, "metrics"), hl_json_get(j->after, "metrics"),
                            hl_json_get(j->executed, "metrics")};
    for (const hl_json *m = hl_json_at(of[0], 0); m; m = hl_json_next(m))
        if (strncmp(hl_json_key(m), "eval/", 5) == 0)
            print_numbers(j, hl_json_key(m) + 5, of, hl_json_key(m));
}

static int widest_name(const job *j)
{
    int widest = 9;
    for (const hl_json *s = hl_json_at(j->sites, 0); s; s = hl_json_next(s)) {
        const int width = hl_cli_text_width(j->cli, hl_json_str(hl_json_get(s, "name"), ""));
        widest = width > widest ? width : widest;
    }
    return widest;
}

static void print_sites(const job *j)
{
    FILE *out = hl_cli_out(j->cli);
    const int widest = widest_name(j);
    fprintf(out, "\n%-*s %4s %11s %11s %10s %9s %10s\n", widest, "quantizer", "bits", "least",
            "most", "scale", "SQNR dB", "clipped");
    for (const hl_json *s = hl_json_at(j->sites, 0); s; s = hl_json_next(s)) {
        const char *name = hl_json_str(hl_json_get(s, "name"), "");
        hl_cli_put_text(j->cli, name);
        fprintf(out, "%*s", widest - hl_cli_text_width(j->cli, name), "");
        if (hl_json_bool(hl_json_get(s, "float"), false))
            fprintf(out, " %4s\n", "-");
        else if (isnan(hl_json_num_at(s, "scale")) && isnan(hl_json_num_at(s, "sqnr")))
            fprintf(out, " %4.0f\n", hl_json_num_at(s, "bits"));
        else if (isnan(hl_json_num_at(s, "scale")))
            fprintf(out, " %4.0f %44.2f\n", hl_json_num_at(s, "bits"), hl_json_num_at(s, "sqnr"));
        else
            fprintf(out, " %4.0f %11.4g %11.4g %10.3g %9.2f %9.3g%%\n", hl_json_num_at(s, "bits"),
                    hl_json_num_at(s, "least"), hl_json_num_at(s, "most"),
                    hl_json_num_at(s, "scale"), hl_json_num_at(s, "sqnr"),
                    100 * hl_json_num_at(s, "clipped"));
    }
}

static void print_bits(const job *j)
{
    FILE *out = hl_cli_out(j->cli);
    const bool is_text = j->m.p.exp->source.is_text;
    fprintf(out, "\n  %-6s %12s %12s\n", "bits", "loss", is_text ? "perplexity" : "");
    for (int i = 0; i < N_BITS; i++) {
        fprintf(out, "  W%dA%d   %12.6f", bits[i].weights, bits[i].acts, j->losses[i]);
        if (is_text)
            fprintf(out, " %12.6g", exp(j->losses[i]));
        fputc('\n', out);
    }
}

enum { SENSITIVE = 10 };

static void print_sensitivity(const job *j)
{
    FILE *out = hl_cli_out(j->cli);
    fprintf(out, "\nquantized alone, the ten that cost most, loss over %lld batches\n",
            (long long)hl_cli_int(j->cli, "sensitivity"));
    int n = 0;
    for (const hl_json *s = hl_json_at(j->sensitivity, 0); s && n < SENSITIVE;
         s = hl_json_next(s), n++) {
        fprintf(out, "  %12.6f  ", hl_json_num_at(s, "loss"));
        hl_cli_put_text(j->cli, hl_json_str(hl_json_get(s, "name"), ""));
        fputc('\n', out);
    }
}

/* Which model, how it is quantized, and what was looked at for it. */
static void print_head(const job *j)
{
    const hl_quant_plan *plan = &j->m.p.exp->quant;
    const hl_quant_method method = plan->recipe.method.method;
    hl_str line = {0};
    if (!j->methods)
        put_recipe(j, &line);
    if (j->methods)
        hl_str_add(&line, "calibrated on");
    else if (!hl_quant_is_by_layer(method))
        hl_str_add(&line, ", ranges from");
    else if (hl_quant_needs_inputs(method))
        hl_str_add(&line, ", inputs of layers from");
    if (j->methods || !hl_quant_is_by_layer(method) || hl_quant_needs_inputs(method))
        hl_str_addf(&line, " %lld batches of %s data", (long long)plan->n_batches,
                    plan->on_eval ? "evaluation" : "training");
    hl_cli_put_text(j->cli, j->m.place.dir);
    fprintf(hl_cli_out(j->cli), ", step %lld\n%s\n", (long long)hl_train_step(j->train),
            hl_str_text(&line));
    hl_str_done(&line);
}

static void print_text(const job *j)
{
    FILE *out = hl_cli_out(j->cli);
    print_head(j);
    if (j->methods) {
        hl_quantize_print_methods(j->cli, j->before, j->methods);
        return;
    }
    fprintf(out, "\n  %-20s %12s %12s %12s %12s\n", "", "float", "simulated", "executed",
            "difference");
    print_row(j, "loss", "eval_loss");
    print_row(j, "loss by labels", "eval_loss_token");
    print_row(j, "perplexity", "perplexity");
    print_row(j, "bits per byte", "bits_per_byte");
    for (int i = 0; i < HL_TRAIN_METRICS; i++)
        print_row(j, hl_train_metric_names[i], hl_train_metric_names[i]);
    print_metrics(j);
    fprintf(out, "  %-20s %12.3g %12.3g", "seconds", j->seconds[0], j->seconds[1]);
    if (j->executed)
        fprintf(out, " %12.3g", j->seconds[2]);
    fputc('\n', out);
    const hl_json *worst = worst_site(j);
    if (worst) {
        fprintf(out, "\nworst tensor: ");
        hl_cli_put_text(j->cli, hl_json_str(hl_json_get(worst, "name"), ""));
        fprintf(out, ", %.2f dB\n", hl_json_num_at(worst, "sqnr"));
    }
    if (hl_cli_flag(j->cli, "bits"))
        print_bits(j);
    if (j->sensitivity)
        print_sensitivity(j);
    print_sites(j);
    hl_quantize_print_outliers(j->cli, j->sites);
}

/* ---- the run's own record ---- */

/* Another process may be keeping something of the same run at this moment. */
static hl_status keep(const job *j, hl_quantize_event *e)
{
    enum { TRIES = 20, PAUSE_MS = 100 };
    hl_status st = hl_quantize_record(j->cli, &j->m, e);
    for (int i = 1; i < TRIES && st == HL_E_STATE; i++) {
        hl_clock_sleep_ms(PAUSE_MS);
        st = hl_quantize_record(j->cli, &j->m, e);
    }
    return st;
}

static hl_status record(const job *j)
{
    hl_status st = HL_OK;
    hl_str bits_text = {0};
    hl_json *losses = NULL;
    hl_json_begin(&bits_text, '{');
    put_bits(j, &bits_text);
    hl_json_end(&bits_text, '}');
    if (hl_cli_flag(j->cli, "bits"))
        HL_TRY(hl_json_parse(hl_str_text(&bits_text), bits_text.n, &losses));
    hl_quantize_event e = event_of(j);
    e.sensitivity = j->sensitivity;
    e.loss_by_bits = hl_json_get(losses, "loss_by_bits");
    HL_TRY(keep(j, &e));
out:
    hl_json_free(losses);
    hl_str_done(&bits_text);
    return st;
}

/* For a screen that started this and waits for a word; what could not be kept is no failure of the
 * numbers that were printed, but of that. */
static int finish(const job *j, hl_status st, bool usage)
{
    char why[HL_ERR_MESSAGE_MAX];
    int status = HL_EXIT_DONE;
    if (st != HL_OK) {
        snprintf(why, sizeof why, "%s", hl_err_message());
        status = hl_prepare_fail(j->cli, &j->m.p, st, usage);
        hl_detach_report_failed(status, why);
    } else if (!hl_cli_flag(j->cli, "no-record") && record(j) != HL_OK) {
        snprintf(why, sizeof why, "%s", hl_err_message());
        hl_cli_complain(j->cli, HL_EXIT_DONE, "not kept with the run: %s", why);
        hl_detach_report_failed(HL_EXIT_FAILED, why);
    }
    hl_detach_report_started(j->m.place.run_dir ? hl_fs_base(j->m.place.run_dir) : "");
    return status;
}

static int run(hl_cli *cli)
{
    job j = {.cli = cli};
    bool usage = false;
    (void)hl_detach_init();
    if (hl_cli_given(cli, "limit") && hl_cli_int(cli, "limit") < 1)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--limit must be at least 1");
    if (hl_cli_given(cli, "sensitivity") && hl_cli_int(cli, "sensitivity") < 1)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--sensitivity must be at least 1 batch");
    hl_status st = work(&j, &usage);
    if (st == HL_OK && hl_cli_flag(cli, "json"))
        st = print_json(&j);
    else if (st == HL_OK)
        print_text(&j);
    const int status = finish(&j, st, usage);
    hl_train_free(j.train);
    hl_quantized_free(j.quantized);
    hl_trained_done(&j.m);
    hl_json_free(j.before);
    hl_json_free(j.after);
    hl_json_free(j.executed);
    hl_json_free(j.sites);
    hl_json_free(j.sensitivity);
    hl_json_free(j.methods);
    return status;
}

static const hl_option options[] = {
    HL_PREPARE_OPTIONS,
    HL_TRAINED_OPTIONS,
    {.name = "sensitivity",
     .type = HL_OPTION_INT,
     .value = "N",
     .help = "also quantize each tensor alone, over N batches, and rank them by loss"},
    {.name = "methods",
     .type = HL_OPTION_OPTIONAL,
     .value = "LIST",
     .accepts = hl_quantize_is_methods,
     .help = "a table of methods instead: all, or names with commas (quantize.method)"},
    {.name = "bits",
     .type = HL_OPTION_FLAG,
     .help = "also with 8, 6 and 4 bits of weights, 8 and 6 of activations"},
    {.name = "no-record",
     .type = HL_OPTION_FLAG,
     .help = "print only: do not keep the result with the run"},
    {.name = "save",
     .type = HL_OPTION_STRING,
     .value = "DIR",
     .help = "leave the quantized model in a new folder, for hoplab eval DIR"},
    {.name = "json", .type = HL_OPTION_FLAG, .help = "one JSON object"},
    {0},
};

const hl_command hl_cmd_quantize = {
    .name = "quantize",
    .help = "quantize a trained model after training, and evaluate it",
    .usage = "RUN|CHECKPOINT|DIR",
    .about =
        "Weights and activations are put on the grids of integer codes, 8 bits unless said "
        "otherwise, and "
        "the model is\nevaluated in float and so. Ranges are estimated from batches of the "
        "data first. -s "
        "quantize.percentile=99.999,\n-s quantize.weight_bits=4, -s quantize.setup=all, "
        "-s quantize.method=gptq … "
        "change the recipe "
        "(docs/lua-api.md, hop.experiment).\nSQNR: signal to quantization noise of a tensor; "
        "clipped: share "
        "of its numbers beyond the grid.\nThe result is added to the run's events: view 5 of the "
        "workbench, hoplab show, hoplab export.\n",
    .options = options,
    .n_args_min = 1,
    .n_args_max = 1,
    .run = run};
