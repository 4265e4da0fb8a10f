/* hoplab ctl RUN COMMAND: asks a live run for something and says what became of it. */
#include <stdio.h>
#include <string.h>

#include "app/bus/client.h"
#include "app/commands.h"
#include "app/hl_app.h"
#include "app/release.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

enum { ACCEPT_MS = 2000 };

/* ---- what it is asked ---- */

/* The options as the words of `:quantize`, which has the same. */
static hl_status quantize_args(const hl_cli *cli, hl_str *args)
{
    static const char *const counts[] = {"sensitivity", "limit"};
    hl_status st = HL_OK;
    HL_VEC(char *) words = {0};
    char text[2][40], option[] = "-s";
    for (size_t i = 0; i < hl_cli_many_n(cli, "set"); i++) {
        HL_TRY(hl_vec_push(&words, option));
        HL_TRY(hl_vec_push(&words, (char *)hl_cli_many(cli, "set", i)));
    }
    for (int k = 0; k < 2; k++)
        if (hl_cli_given(cli, counts[k])) {
            snprintf(text[k], sizeof text[k], "--%s=%lld", counts[k],
                     (long long)hl_cli_int(cli, counts[k]));
            HL_TRY(hl_vec_push(&words, text[k]));
        }
    st = hl_bus_quantize_args(words.at, (int)words.n, args);
out:
    hl_vec_done(&words);
    return st;
}

static hl_status args_of(const hl_cli *cli, hl_bus_cmd cmd, hl_str *args)
{
    const bool is_set = cmd == HL_BUS_CMD_SET, is_cancel = cmd == HL_BUS_CMD_CANCEL;
    const bool takes_word =
        cmd == HL_BUS_CMD_CHECKPOINT || cmd == HL_BUS_CMD_EVAL || cmd == HL_BUS_CMD_LUA;
    int64_t n;
    if (is_set && hl_cli_args_n(cli) < 3)
        return hl_err_set(HL_E_ARG, "set needs knob=value, e.g. set lr=3e-4");
    if (takes_word && hl_cli_args_n(cli) == 3)
        return hl_bus_word_args(cmd, hl_cli_arg(cli, 2), args);
    if (cmd == HL_BUS_CMD_LUA)
        return hl_err_set(HL_E_ARG,
                          "lua needs what the run is to evaluate, e.g. lua 'run:get \"lr\"'");
    if (!is_set && !is_cancel && hl_cli_args_n(cli) > 2)
        return hl_err_set(HL_E_ARG, "%s takes no '%s'", hl_bus_cmd_name(cmd), hl_cli_arg(cli, 2));
    if (is_set)
        return hl_bus_knob_args(hl_cli_arg(cli, 2), args) == HL_OK ? HL_OK : hl_err_context("set");
    if (is_cancel) {
        if (hl_cli_args_n(cli) < 3 || hl_parse_i64(hl_cli_arg(cli, 2), &n) != HL_OK)
            return hl_err_set(HL_E_ARG, "cancel needs the number of a request; status lists them");
        hl_str_addf(args, "{\"request\":%lld}", (long long)n);
    } else if (cmd == HL_BUS_CMD_QUANTIZE) {
        return quantize_args(cli, args);
    } else if (cmd == HL_BUS_CMD_PAUSE && hl_cli_flag(cli, "release")) {
        hl_str_add(args, "{\"release\":true}");
    } else if (cmd == HL_BUS_CMD_STOP && hl_cli_flag(cli, "now")) {
        hl_str_add(args, "{\"now\":true}");
    } else if (cmd == HL_BUS_CMD_STOP && hl_cli_flag(cli, "no-checkpoint")) {
        hl_str_add(args, "{\"checkpoint\":false}");
    } else if (cmd == HL_BUS_CMD_TAKE || cmd == HL_BUS_CMD_RELEASE) {
        return hl_err_set(HL_E_ARG, "the controls belong to a screen; --steal with another command "
                                    "takes them for its length");
    }
    return hl_str_status(args);
}

/* ---- what it answers ---- */

static void print_knobs(const hl_cli *cli, const hl_json *knobs)
{
    FILE *out = hl_cli_out(cli);
    fprintf(out, "%-20s %12s %12s %12s\n", "knob", "value", "min", "max");
    for (const hl_json *k = hl_json_at(knobs, 0); k; k = hl_json_next(k)) {
        fprintf(out, "%-20s %12g %12g", hl_json_key(k), hl_json_num_at(k, "value"),
                hl_json_num_at(k, "min"));
        if (hl_json_get(k, "max"))
            fprintf(out, " %12g", hl_json_num_at(k, "max"));
        else
            fprintf(out, " %12s", "-");
        const char *schedule = hl_json_str(hl_json_get(k, "schedule"), "");
        fprintf(out, "%s%s\n", hl_json_bool(hl_json_get(k, "held"), false) || *schedule ? "  " : "",
                *schedule ? schedule : hl_json_bool(hl_json_get(k, "held"), false) ? "held" : "");
    }
}

static void print_status(const hl_cli *cli, const hl_json *line)
{
    FILE *out = hl_cli_out(cli);
    const char *doing = hl_json_str(hl_json_get(line, "doing"), "");
    const hl_json *holder = hl_json_get(line, "holder"), *list = hl_json_get(line, "requests");
    fprintf(out, "%s%s%s", hl_json_str(hl_json_get(line, "state"), "?"), *doing ? ": " : "", doing);
    if (hl_json_get(line, "step"))
        fprintf(out, ", step %lld", (long long)hl_json_int(hl_json_get(line, "step"), 0));
    if (hl_json_get(line, "steps"))
        fprintf(out, " of %lld", (long long)hl_json_int(hl_json_get(line, "steps"), 0));
    if (hl_json_get(line, "loss"))
        fprintf(out, ", loss %g, lr %g", hl_json_num_at(line, "loss"), hl_json_num_at(line, "lr"));
    fputc('\n', out);
    if (hl_json_is_object(holder))
        fprintf(out, "controls: process %lld of uid %lld\n",
                (long long)hl_json_int(hl_json_get(holder, "pid"), 0),
                (long long)hl_json_int(hl_json_get(holder, "uid"), 0));
    for (const hl_json *r = hl_json_at(list, 0); r; r = hl_json_next(r))
        fprintf(out, "request %lld: %s by uid %lld pid %lld, %s\n",
                (long long)hl_json_int(hl_json_get(r, "request"), 0),
                hl_json_str(hl_json_get(r, "cmd"), "?"),
                (long long)hl_json_int(hl_json_get(r, "uid"), 0),
                (long long)hl_json_int(hl_json_get(r, "pid"), 0),
                hl_json_bool(hl_json_get(r, "begun"), false) ? "begun" : "waits");
}

/* An answer of several lines; its tabs stay. */
static void print_answer(const hl_cli *cli, const char *text)
{
    hl_str clean = {0};
    hl_str_add_clean(&clean, text, strlen(text));
    fprintf(hl_cli_out(cli), "%s\n", hl_str_text(&clean));
    hl_str_done(&clean);
}

static void print_applied(const hl_cli *cli, hl_bus_cmd cmd, const hl_bus_reply *r)
{
    const hl_json *result = hl_json_get(r->line, "result");
    const char *text = hl_json_str(hl_json_get(result, "text"), "");
    if (cmd == HL_BUS_CMD_STATUS)
        print_status(cli, r->line);
    else if (cmd == HL_BUS_CMD_KNOBS)
        print_knobs(cli, result);
    else if (cmd == HL_BUS_CMD_LUA && *text)
        print_answer(cli, text);
    else if (r->step >= 0)
        fprintf(hl_cli_out(cli), "%s: applied at step %lld%s%s\n", hl_bus_cmd_name(cmd),
                (long long)r->step, *text ? ", " : "", text);
    else
        fprintf(hl_cli_out(cli), "%s: applied\n", hl_bus_cmd_name(cmd));
}

static int report(const hl_cli *cli, hl_bus_cmd cmd, const hl_bus_reply *r)
{
    const char *what = hl_bus_cmd_name(cmd);
    if (hl_cli_flag(cli, "json") && r->line) {
        hl_str text = {0};
        hl_json_add_value(&text, r->line);
        fprintf(hl_cli_out(cli), "%s\n", hl_str_text(&text));
        hl_str_done(&text);
    }
    switch (r->outcome) {
    case HL_BUS_OUTCOME_APPLIED:
        if (!hl_cli_flag(cli, "json"))
            print_applied(cli, cmd, r);
        return HL_EXIT_DONE;
    case HL_BUS_OUTCOME_ACCEPTED:
        return hl_cli_complain(cli, HL_EXIT_FAILED, "%s: accepted, but not applied in time; %s",
                               what, r->message);
    default:
        return hl_cli_complain(cli, HL_EXIT_FAILED, "%s: refused: %s", what, r->message);
    }
}

/* Until this process ends. */
static hl_status steal(hl_bus_client *client)
{
    hl_bus_reply r = {0};
    hl_status st =
        hl_bus_client_call(client, HL_BUS_CMD_TAKE, "{\"steal\":true}", ACCEPT_MS, ACCEPT_MS, &r);
    if (st == HL_OK && r.outcome != HL_BUS_OUTCOME_APPLIED)
        st = hl_err_set(HL_E_STATE, "steal: refused: %s", r.message);
    hl_bus_reply_done(&r);
    return st;
}

/* Exit status; the process that runs it now has said whether it could start. */
static int resume_released(const hl_cli *cli, const char *dir)
{
    hl_detach_result r;
    const hl_status st = hl_release_resume(dir, &r);
    if (st != HL_OK) {
        hl_detach_report_failed(HL_EXIT_FAILED, hl_err_message());
        return hl_cli_fail(cli, st);
    }
    if (!r.started) {
        const int status = r.exit_status ? r.exit_status : HL_EXIT_FAILED;
        hl_detach_report_failed(status, r.message);
        return hl_cli_complain(cli, status, "%s", r.message);
    }
    hl_detach_report_started(r.run_id);
    fprintf(hl_cli_out(cli), "resume: started again as process %lld\n", (long long)r.pid);
    return HL_EXIT_DONE;
}

static int run(hl_cli *cli)
{
    (void)hl_detach_init(); /* a screen starts it as a job */
    hl_status st = HL_OK;
    char *dir = NULL;
    hl_bus_client *client = NULL;
    hl_bus_reply reply = {0};
    hl_str args = {0};
    hl_bus_cmd cmd;
    int status = HL_EXIT_DONE;
    bool usage = true;
    HL_TRY(hl_bus_cmd_from_name(hl_cli_arg(cli, 1), &cmd));
    HL_TRY(args_of(cli, cmd, &args));
    usage = false;
    HL_TRY(hl_run_find(hl_cli_runs_dir(cli), hl_cli_arg(cli, 0), &dir));
    if (cmd == HL_BUS_CMD_RESUME && hl_release_is(dir)) {
        status = resume_released(cli, dir);
        goto out;
    }
    HL_TRY(hl_bus_client_open(dir, &client));
    if (hl_cli_flag(cli, "steal"))
        HL_TRY(steal(client));
    HL_TRY(hl_bus_client_call(client, cmd, args.n ? args.s : NULL, ACCEPT_MS,
                              (int64_t)(hl_cli_float(cli, "timeout") * 1000), &reply));
    status = report(cli, cmd, &reply);
out:
    if (st != HL_OK) {
        status = hl_cli_fail(cli, st);
        status = usage ? HL_EXIT_USAGE : st == HL_E_NOTFOUND ? HL_EXIT_INPUT : HL_EXIT_FAILED;
    }
    hl_bus_reply_done(&reply);
    hl_bus_client_close(client);
    hl_str_done(&args);
    hl_free(dir);
    return status;
}

static const hl_option options[] = {
    {.name = "timeout",
     .type = HL_OPTION_FLOAT,
     .value = "S",
     .otherwise = "600",
     .help = "wait so long for the outcome"},
    {.name = "steal",
     .type = HL_OPTION_FLAG,
     .help = "take the controls first, whoever has them; they are free afterwards"},
    {.name = "release",
     .type = HL_OPTION_FLAG,
     .help = "with pause: write a checkpoint and give device and memory back; resume starts it again"},
    {.name = "no-checkpoint", .type = HL_OPTION_FLAG, .help = "with stop: do not write one"},
    {.name = "now",
     .type = HL_OPTION_FLAG,
     .help = "with stop: end the process, whatever it is doing; nothing is written"},
    {.name = "set",
     .letter = 's',
     .type = HL_OPTION_MANY,
     .value = "quantize.PATH=VALUE",
     .help = "with quantize: by another recipe"},
    {.name = "sensitivity",
     .type = HL_OPTION_INT,
     .value = "N",
     .help = "with quantize: also each tensor alone, over N batches"},
    {.name = "limit",
     .type = HL_OPTION_INT,
     .value = "N",
     .help = "with quantize: evaluate on N batches"},
    {.name = "json", .type = HL_OPTION_FLAG, .help = "print the answer as JSON"},
    {0},
};

const hl_command hl_cmd_ctl = {
    .name = "ctl",
    .help = "control a live run",
    .usage = "RUN COMMAND [KNOB=VALUE|NAME|SET|TEXT]",
    .about =
        "COMMAND: pause, resume, stop, checkpoint [NAME] (one with a name stays), "
        "eval [SET] (eval, test or train),\n"
        "quantize, status (with who has the controls and which requests wait),\n"
        "cancel N (a request that waits), knobs (what can be changed, and within which ends),\n"
        "set KNOB=VALUE: lr, lr.scale (of the schedule), train.max_grad_norm, log.every, "
        "eval.every,\n"
        "save.every, probe.every, deq.tol, deq.max_iter, deq.memory, deq.damping;\n"
        "set KNOB=schedule is what the run began with;\n"
        "set lr=cosine:peak=3e-4,warmup=100,steps=5000,final=0.1 another schedule from now on,\n"
        "over the steps that are left and from the rate that is, where it says nothing else;\n"
        "lua TEXT evaluates Lua in the run, between two steps, and prints what comes of it:\n"
        "`run` is what callbacks have as ev.run.\n"
        "While a screen has the controls, the requests of others are refused with who it is;\n"
        "--steal takes them.\n",
    .options = options,
    .n_args_min = 2,
    .n_args_max = 3,
    .run = run};
