/* hoplab ctl RUN COMMAND: asks a live run for something and says what became of it. */
#include <stdio.h>
#include <string.h>

#include "app/bus/client.h"
#include "app/commands.h"
#include "app/hl_app.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"

enum { ACCEPT_MS = 2000 };

static int report(const hl_cli *cli, const char *what, const hl_bus_reply *r)
{
    if (hl_cli_flag(cli, "json") && r->line) {
        hl_str text = {0};
        hl_json_add_value(&text, r->line);
        fprintf(hl_cli_out(cli), "%s\n", hl_str_text(&text));
        hl_str_done(&text);
    }
    switch (r->outcome) {
    case HL_BUS_OUTCOME_APPLIED:
        if (!hl_cli_flag(cli, "json"))
            fprintf(hl_cli_out(cli), "%s: applied at step %lld%s%s\n", what, (long long)r->step,
                    r->message[0] ? ", " : "", r->message);
        return HL_EXIT_DONE;
    case HL_BUS_OUTCOME_ACCEPTED:
        return hl_cli_complain(cli, HL_EXIT_FAILED, "%s: accepted, but not applied in time; %s",
                               what, r->message);
    default:
        return hl_cli_complain(cli, HL_EXIT_FAILED, "%s: refused: %s", what, r->message);
    }
}

static int run(hl_cli *cli)
{
    hl_status st = HL_OK;
    char *dir = NULL;
    hl_bus_client *client = NULL;
    hl_bus_reply reply = {0};
    hl_str args = {0};
    hl_bus_cmd cmd;
    int status = HL_EXIT_DONE;
    bool usage = true;
    HL_TRY(hl_bus_cmd_from_name(hl_cli_arg(cli, 1), &cmd));
    if (cmd == HL_BUS_CMD_SET && hl_cli_args_n(cli) < 3)
        HL_FAIL(HL_E_ARG, "set needs knob=value, e.g. set lr=3e-4");
    if (cmd == HL_BUS_CMD_SET)
        HL_TRY_CTX(hl_bus_knob_args(hl_cli_arg(cli, 2), &args), "set");
    if (cmd == HL_BUS_CMD_STOP && hl_cli_flag(cli, "no-checkpoint"))
        hl_str_add(&args, "{\"checkpoint\":false}");
    usage = false;
    HL_TRY(hl_run_find(hl_cli_runs_dir(cli), hl_cli_arg(cli, 0), &dir));
    HL_TRY(hl_bus_client_open(dir, &client));
    HL_TRY(hl_bus_client_call(client, cmd, args.n ? args.s : NULL, ACCEPT_MS,
                              (int64_t)(hl_cli_float(cli, "timeout") * 1000), &reply));
    status = report(cli, hl_bus_cmd_name(cmd), &reply);
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
    {.name = "no-checkpoint", .type = HL_OPTION_FLAG, .help = "with stop: do not write one"},
    {.name = "json", .type = HL_OPTION_FLAG, .help = "print the answer as JSON"},
    {0},
};

const hl_command hl_cmd_ctl = {
    .name = "ctl",
    .help = "control a live run",
    .usage = "RUN COMMAND [KNOB=VALUE]",
    .about =
        "COMMAND: pause, resume, stop, checkpoint, eval, quantize, set lr=VALUE (set lr=schedule gives the "
        "schedule back), status.\nRuns of equilibrium models also take set deq.tol=, deq.max_iter= and "
        "deq.memory=; =schedule is what they began with.\n",
    .options = options,
    .n_args_min = 2,
    .n_args_max = 3,
    .run = run};
