/* hoplab check SCRIPT: everything but training; hoplab graph SCRIPT: what would be run. */
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "app/prepare.h"
#include "engine/base/mem.h"

/* Prints a configuration with two spaces per level. */
static void print_config(FILE *out, const hl_json *v, int depth)
{
    for (const hl_json *m = hl_json_at(v, 0); m; m = hl_json_next(m)) {
        fprintf(out, "%*s%s", 2 * depth, "", hl_json_key(m) ? hl_json_key(m) : "-");
        if (hl_json_is_object(m)) {
            fputs("\n", out);
            print_config(out, m, depth + 1);
            continue;
        }
        hl_str text = {0};
        hl_json_add_value(&text, m);
        fprintf(out, " = %s\n", hl_str_text(&text));
        hl_str_done(&text);
    }
}

static void print_plan(FILE *out, const hl_prepared *p, const hl_train_plan *plan)
{
    char b[4][24];
    const hl_source *s = &p->exp->source;
    fprintf(out, "data: %s%s, %lld training and %lld evaluation %s", s->label,
            s->is_generated ? " (generated)" : "", (long long)s->n_items[HL_PART_TRAIN],
            (long long)s->n_items[HL_PART_EVAL], s->items);
    if (s->n_items[HL_PART_TEST])
        fprintf(out, ", %lld for the test", (long long)s->n_items[HL_PART_TEST]);
    fputc('\n', out);
    fprintf(out, "memory: %s (weights %s, optimiser %s, activations %s)\n",
            hl_format_bytes(b[0], plan->total), hl_format_bytes(b[1], plan->weights),
            hl_format_bytes(b[2], plan->optimiser), hl_format_bytes(b[3], plan->activations));
    fprintf(out, "step: up to %.2f GFLOP in %d operations\n", plan->flops_step * 1e-9, plan->n_ops);
}

int hl_cmd_check_run(hl_cli *cli)
{
    hl_status st = HL_OK;
    hl_prepared p = {.trains_nothing = true};
    hl_train *t = NULL;
    hl_json *config = NULL;
    bool usage = false;
    int status = HL_EXIT_DONE;
    FILE *out = hl_cli_out(cli);
    st = hl_prepare_host(cli, hl_cli_arg(cli, 0), &p);
    usage = st == HL_E_ARG;
    HL_TRY(st);
    p.takes_study = true;
    HL_TRY(hl_prepare_experiment(cli, hl_cli_arg(cli, 0), NULL, 0, &p, &usage));
    hl_train_setup setup = {
        .exp = p.exp, .team = p.team, .baseline_bytes = p.baseline_bytes, .host = hl_silent_host()};
    if (!p.exp->study.run)
        HL_TRY(hl_train_new(&setup, &t));
    const bool json = hl_cli_flag(cli, "json");
    if (json) {
        fprintf(out, "%s\n", p.exp->config_json);
        goto out;
    }
    if (hl_cli_has(cli, "resolved") && hl_cli_flag(cli, "resolved")) {
        HL_TRY(hl_json_parse(p.exp->config_json, strlen(p.exp->config_json), &config));
        print_config(out, config, 0);
    }
    fprintf(out, "%s: %s is fine\n", hl_cli_arg(cli, 0), p.exp->name);
    if (t) {
        const hl_train_plan plan = hl_train_get_plan(t);
        print_plan(out, &p, &plan);
    }
out:
    if (st != HL_OK)
        status = hl_prepare_fail(cli, &p, st, usage);
    hl_json_free(config);
    hl_train_free(t);
    hl_prepared_done(&p);
    return status;
}

static const hl_option check_options[] = {
    HL_PREPARE_OPTIONS,
    {.name = "resolved", .type = HL_OPTION_FLAG, .help = "show every option with its value"},
    {.name = "json", .type = HL_OPTION_FLAG, .help = "the resolved configuration as JSON"},
    {0},
};

const hl_command hl_cmd_check = {.name = "check",
                                 .help = "validate an experiment without running it",
                                 .usage = "SCRIPT",
                                 .options = check_options,
                                 .n_args_min = 1,
                                 .n_args_max = 1,
                                 .run = hl_cmd_check_run};

/* --- graph --- */

static int graph(hl_cli *cli)
{
    hl_status st = HL_OK;
    hl_prepared p = {.trains_nothing = true};
    hl_train_graph tg = {0};
    hl_str text = {0};
    bool usage = false;
    int status = HL_EXIT_DONE;
    st = hl_prepare_host(cli, hl_cli_arg(cli, 0), &p);
    usage = st == HL_E_ARG;
    HL_TRY(st);
    HL_TRY(hl_prepare_experiment(cli, hl_cli_arg(cli, 0), NULL, 0, &p, &usage));
    if (hl_cli_flag(cli, "forward")) {
        hl_graph_print(p.exp->train.g, &text);
    } else {
        hl_train_options o = {.optim = p.exp->optim,
                              .max_grad_norm = p.exp->max_grad_norm,
                              .inf_norm = p.exp->inf_norm,
                              .accumulate = p.exp->accumulate,
                              .bf16 = p.exp->bf16,
                              .fp16 = p.exp->fp16,
                              .watch = hl_cli_flag(cli, "watched"),
                              .bins = p.exp->probe_bins};
        HL_TRY(hl_train_graph_new(p.exp->train.g, p.exp->train.loss, &o, &tg));
        hl_graph_print(tg.g, &text);
    }
    HL_TRY(hl_str_status(&text));
    fputs(hl_str_text(&text), hl_cli_out(cli));
out:
    if (st != HL_OK)
        status = hl_prepare_fail(cli, &p, st, usage);
    hl_str_done(&text);
    hl_train_graph_done(&tg);
    hl_prepared_done(&p);
    return status;
}

static const hl_option graph_options[] = {
    HL_PREPARE_OPTIONS,
    {.name = "forward", .type = HL_OPTION_FLAG, .help = "only what the model recorded"},
    {.name = "watched", .type = HL_OPTION_FLAG, .help = "the step with its taps"},
    {0},
};

const hl_command hl_cmd_graph = {.name = "graph",
                                 .help = "print the training step as a graph",
                                 .usage = "SCRIPT",
                                 .options = graph_options,
                                 .n_args_min = 1,
                                 .n_args_max = 1,
                                 .run = graph};
