/* hoplab eval RUN|CHECKPOINT|DIR: loss, perplexity and outlier metrics of a trained model on the
 * evaluation part of its data, under the names of both reference programs (spec: language-models
 * 8). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "app/quant_ckpt.h"

typedef struct job {
    const hl_cli *cli;
    hl_trained m;
    hl_json *result;
    hl_train *train;         /* in float */
    hl_quantized *quantized; /* of a quantized checkpoint */
    int64_t step, n_sequences, n_labels;
} job;

static bool is_executed(const job *j)
{
    return !hl_cli_flag(j->cli, "simulated");
}

/* *usage: an option that this model does not have. */
static hl_status evaluate(job *j, bool *usage)
{
    double seconds;
    hl_status st;
    if (j->m.quantized) {
        st = hl_quant_ckpt_evaluate(&j->m, is_executed(j), &j->quantized, &j->result, &seconds);
        j->step = hl_json_int(hl_json_get(j->m.quantized, "step"), 0);
        if (st == HL_OK)
            hl_quantized_counts(j->quantized, &j->n_sequences, &j->n_labels);
        return st;
    }
    *usage = !is_executed(j);
    if (*usage)
        return hl_err_set(HL_E_ARG,
                          "%s is not quantized: --simulated is for folders that hoplab "
                          "quantize --save has left",
                          j->m.place.dir);
    st = hl_trained_evaluate(&j->m, &j->train, &j->result, &seconds);
    if (st == HL_OK) {
        j->step = hl_train_step(j->train);
        hl_train_eval_counts(j->train, &j->n_sequences, &j->n_labels);
    }
    return st;
}

/* --- what came out --- */

static double number(const job *j, const char *key)
{
    return hl_json_num_at(j->result, key);
}

/* What was evaluated on: the source is called after its training part. */
static const char *data_label(const job *j)
{
    const char *given = hl_cli_str(j->cli, "data");
    return given ? given : j->m.p.exp->source.label;
}

static bool data_generated(const job *j)
{
    return !hl_cli_str(j->cli, "data") && j->m.p.exp->source.is_generated;
}

/* Largest average inf norm among the activations of a group; NAN: there are none. */
static double max_inf(const job *j, unsigned group)
{
    double max = nan("");
    const hl_json *list = hl_json_get(j->result, "activations");
    for (const hl_json *a = hl_json_at(list, 0); a; a = hl_json_next(a))
        if (hl_experiment_groups(j->m.p.exp, hl_json_str(hl_json_get(a, "name"), "")) & group)
            max = fmax(max, hl_json_num(hl_json_get(a, "inf_norm"), nan("")));
    return max;
}

typedef struct named_value {
    const char *name;
    double v;
} named_value;

enum { N_UNIFORM = HL_TRAIN_METRICS, N_BERT = 5 };

static void uniform_table(const job *j, named_value out[N_UNIFORM])
{
    for (int i = 0; i < N_UNIFORM; i++)
        out[i] = (named_value){hl_train_metric_names[i], number(j, hl_train_metric_names[i])};
}

/* The names of the reference's BERT program; false: the model has no such activations. */
static bool bert_table(const job *j, named_value out[N_BERT])
{
    const named_value all[N_BERT] = {
        {"max_ffn_out_inf_norm", number(j, "max_ffn_inf_norm")},
        {"max_LN_inp_inf_norm", max_inf(j, HL_TAP_NORM_IN)},
        {"max_LN_out_inf_norm", number(j, "max_layer_inf_norm")},
        {"avg_kurtosis", number(j, "avg_kurtosis")},
        {"max_kurtosis", number(j, "max_kurtosis")},
    };
    memcpy(out, all, sizeof all);
    return !isnan(out[1].v);
}

static void put_table(hl_str *b, const char *key, const named_value *v, int n)
{
    hl_json_add_key(b, key);
    hl_json_begin(b, '{');
    for (int i = 0; i < n; i++)
        hl_json_put_num(b, v[i].name, v[i].v);
    hl_json_end(b, '}');
}

static void put_losses(const job *j, hl_str *b)
{
    hl_json_put_num(b, "loss", number(j, "eval_loss"));
    if (!j->m.p.exp->source.is_text)
        return;
    const double token = number(j, "eval_loss_token");
    hl_json_put_num(b, "loss_token", token);
    hl_json_put_num(b, "perplexity", number(j, "perplexity"));
    hl_json_put_num(b, "perplexity_token", exp(token));
    hl_json_put_num(b, "bits_per_byte", number(j, "bits_per_byte"));
}

static void put_quantized(const job *j, hl_str *b)
{
    if (!j->m.quantized)
        return;
    hl_json_put_str(b, "recipe", hl_json_str(hl_json_get(j->m.quantized, "recipe"), ""));
    hl_json_put_bool(b, "executed", is_executed(j));
    const hl_quant_memory m = hl_quantized_memory(j->quantized);
    hl_json_put_int(b, "weight_bytes", m.held);
    hl_json_put_int(b, "weight_bytes_in_file", m.in_file);
    hl_json_put_int(b, "weight_bytes_float", m.in_float);
}

static hl_status print_json(const job *j)
{
    named_value uniform[N_UNIFORM], bert[N_BERT];
    hl_str b = {0};
    hl_json_begin(&b, '{');
    hl_json_put_str(&b, "checkpoint", j->m.place.dir);
    hl_json_put_int(&b, "step", j->step);
    hl_json_put_str(&b, "data", data_label(j));
    hl_json_put_bool(&b, "data_generated", data_generated(j));
    hl_json_put_str(&b, "part", j->m.ask.part ? j->m.ask.part : "eval");
    hl_json_put_int(&b, "sequences", j->n_sequences);
    hl_json_put_int(&b, "labels", j->n_labels);
    put_quantized(j, &b);
    put_losses(j, &b);
    uniform_table(j, uniform);
    put_table(&b, "uniform", uniform, N_UNIFORM);
    if (bert_table(j, bert))
        put_table(&b, "bert", bert, N_BERT);
    static const char *const copied[] = {"metrics", "forecast", "activations"};
    for (int i = 0; i < 3; i++)
        if (hl_json_get(j->result, copied[i])) {
            hl_json_add_key(&b, copied[i]);
            hl_json_add_value(&b, hl_json_get(j->result, copied[i]));
        }
    hl_json_end(&b, '}');
    hl_status st = hl_str_status(&b);
    if (st == HL_OK)
        fprintf(hl_cli_out(j->cli), "%s\n", b.s);
    hl_str_done(&b);
    return st;
}

static void print_lines(const job *j, const char *head, const named_value *v, int n)
{
    FILE *out = hl_cli_out(j->cli);
    fprintf(out, "\n%s\n", head);
    for (int i = 0; i < n; i++)
        if (isnan(v[i].v))
            fprintf(out, "  %-22s %12s\n", v[i].name, "-");
        else
            fprintf(out, "  %-22s %12.6g\n", v[i].name, v[i].v);
}

static void print_activations(const job *j)
{
    FILE *out = hl_cli_out(j->cli);
    const hl_json *list = hl_json_get(j->result, "activations");
    if (hl_json_len(list) == 0)
        return;
    int widest = 24;
    for (const hl_json *a = hl_json_at(list, 0); a; a = hl_json_next(a)) {
        const int width = hl_cli_text_width(j->cli, hl_json_str(hl_json_get(a, "name"), ""));
        widest = width > widest ? width : widest;
    }
    fprintf(out, "\n%-*s %12s %12s\n", widest, "activation", "inf norm", "kurtosis");
    for (const hl_json *a = hl_json_at(list, 0); a; a = hl_json_next(a)) {
        const char *name = hl_json_str(hl_json_get(a, "name"), "");
        hl_cli_put_text(j->cli, name);
        fprintf(out, "%*s %12.6g %12.6g\n", widest - hl_cli_text_width(j->cli, name), "",
                hl_json_num(hl_json_get(a, "inf_norm"), nan("")),
                hl_json_num(hl_json_get(a, "kurtosis"), nan("")));
    }
}

static void print_quantized(const job *j)
{
    FILE *out = hl_cli_out(j->cli);
    char text[24];
    const hl_quant_memory m = hl_quantized_memory(j->quantized);
    hl_cli_put_text(j->cli, hl_json_str(hl_json_get(j->m.quantized, "recipe"), ""));
    fprintf(out, " %s, weights %s", is_executed(j) ? "executed" : "simulated",
            hl_format_bytes(text, m.held));
    if (m.in_file)
        fprintf(out, " and %s of tables in the file", hl_format_bytes(text, m.in_file));
    fprintf(out, ", in float %s\n", hl_format_bytes(text, m.in_float));
}

static void print_forecasts(const job *j)
{
    hl_str table = {0};
    if (j->quantized)
        hl_str_add(&table, hl_quantized_forecasts(j->quantized));
    else
        hl_train_forecasts(j->train, &table);
    if (table.n)
        fprintf(hl_cli_out(j->cli), "\n%s", hl_str_text(&table));
    hl_str_done(&table);
}

static void print_text(const job *j)
{
    FILE *out = hl_cli_out(j->cli);
    const hl_source *s = &j->m.p.exp->source;
    named_value v[N_UNIFORM];
    hl_cli_put_text(j->cli, j->m.place.dir);
    fprintf(out, ", step %lld\n", (long long)j->step);
    if (j->m.quantized)
        print_quantized(j);
    hl_cli_put_text(j->cli, data_label(j));
    fprintf(out, "%s%s: %lld %s", data_generated(j) ? " (generated)" : "",
            j->m.ask.part && strcmp(j->m.ask.part, "test") == 0 ? ", test part" : "",
            (long long)j->n_sequences, s->is_text ? "sequences" : s->items);
    fprintf(out, s->is_text ? ", %lld labels\n" : "\n", (long long)j->n_labels);
    fprintf(out, "\n  %-22s %12.6f\n", "loss", number(j, "eval_loss"));
    if (s->is_text) {
        const double token = number(j, "eval_loss_token");
        fprintf(out, "  %-22s %12.6f\n  %-22s %12.6g\n  %-22s %12.6g\n  %-22s %12.6f\n",
                "loss by labels", token, "perplexity", number(j, "perplexity"),
                "perplexity by labels", exp(token), "bits per byte", number(j, "bits_per_byte"));
    }
    const hl_json *own = hl_json_get(j->result, "metrics");
    for (const hl_json *m = hl_json_at(own, 0); m; m = hl_json_next(m))
        if (hl_str_starts(hl_json_key(m), "eval/"))
            fprintf(out, "  %-22s %12.6g\n", hl_json_key(m) + 5, hl_json_num(m, nan("")));
    print_forecasts(j);
    if (hl_json_len(hl_json_get(j->result, "activations"))) {
        uniform_table(j, v);
        print_lines(j, "outliers", v, N_UNIFORM);
        if (bert_table(j, v))
            print_lines(j, "outliers under the names of the BERT program", v, N_BERT);
    }
    print_activations(j);
}

static int run(hl_cli *cli)
{
    job j = {.cli = cli};
    bool usage = false;
    if (hl_cli_given(cli, "limit") && hl_cli_int(cli, "limit") < 1)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--limit must be at least 1");
    hl_trained_ask ask = hl_trained_ask_of(cli);
    ask.pred_dir = hl_cli_str(cli, "save-pred");
    ask.may_be_quantized = true;
    hl_status st = hl_trained_open(cli, &ask, &j.m, &usage);
    if (st == HL_OK)
        st = evaluate(&j, &usage);
    if (st == HL_OK && hl_cli_flag(cli, "json"))
        st = print_json(&j);
    else if (st == HL_OK)
        print_text(&j);
    const int status = st == HL_OK ? HL_EXIT_DONE : hl_prepare_fail(cli, &j.m.p, st, usage);
    hl_train_free(j.train);
    hl_quantized_free(j.quantized);
    hl_trained_done(&j.m);
    hl_json_free(j.result);
    return status;
}

static const hl_option options[] = {
    HL_PREPARE_OPTIONS,
    HL_TRAINED_OPTIONS,
    {.name = "save-pred",
     .type = HL_OPTION_STRING,
     .value = "DIR",
     .help = "of a series: write prediction.npy and truth.npy there"},
    {.name = "simulated",
     .type = HL_OPTION_FLAG,
     .help = "of a quantized model: in float on the grids of its codes, not in integers"},
    {.name = "json", .type = HL_OPTION_FLAG, .help = "one JSON object"},
    {0},
};

const hl_command hl_cmd_eval = {
    .name = "eval",
    .help = "evaluate a trained model",
    .usage = "RUN|CHECKPOINT|DIR",
    .about =
        "A run is evaluated as it was trained: with its own copy of the script and its resolved "
        "options. DIR is a\nmodel of the transformers library (config.json, safetensors), which "
        "needs --data; or a folder of hoplab quantize --save, which runs in integers. Loss is the "
        "mean over\nbatches weighted by sequences, as the reference "
        "programs report it; beside it the mean over labels.\nInfinity norm and kurtosis are of "
        "all batches; the published tables take 257 (BERT) or 101 (OPT) for kurtosis: -s "
        "eval.kurtosis_batches=257.\n",
    .options = options,
    .n_args_min = 1,
    .n_args_max = 1,
    .run = run};
