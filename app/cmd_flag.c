/* hoplab flag RUN PLACE [TEXT]: marks a place of a run's model, in the run's own record. */
#include <stdio.h>

#include "app/bus/client.h"
#include "app/commands.h"
#include "app/flag.h"
#include "app/hl_app.h"
#include "app/proc/detach.h"
#include "app/store/writer.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

enum { ANSWER_MS = 5000 };

/* A live run writes it itself. */
static hl_status ask(hl_bus_client *c, const char *json)
{
    hl_bus_reply r = {0};
    hl_status st = hl_bus_client_call(c, HL_BUS_CMD_FLAG, json, ANSWER_MS, ANSWER_MS, &r);
    if (st == HL_OK && r.outcome == HL_BUS_OUTCOME_REFUSED)
        st = hl_err_set(HL_E_STATE, "refused: %s", r.message);
    hl_bus_reply_done(&r);
    return st;
}

static hl_status put(const char *dir, const hl_flag_note *n)
{
    hl_str json = {0}, tag = {0};
    hl_bus_client *c = NULL;
    hl_status st = hl_flag_put(n, &json);
    hl_str_addf(&tag, HL_FLAG_TAG "%s", n->place);
    if (st == HL_OK)
        st = hl_str_status(&tag);
    if (st == HL_OK && hl_bus_client_open(dir, &c) == HL_OK)
        st = ask(c, json.s);
    else if (st == HL_OK)
        st = hl_run_add_table(dir, n->step < 0 ? 0 : n->step, tag.s, json.s);
    hl_bus_client_close(c);
    hl_str_done(&json);
    hl_str_done(&tag);
    return st;
}

static int run(hl_cli *cli)
{
    char *dir = NULL;
    (void)hl_detach_init();
    const hl_flag_note n = {.place = hl_cli_arg(cli, 1),
                            .text = hl_cli_args_n(cli) > 2 ? hl_cli_arg(cli, 2) : "",
                            .step = hl_cli_given(cli, "step") ? hl_cli_int(cli, "step") : -1,
                            .removed = hl_cli_flag(cli, "remove")};
    hl_status st = *n.place ? HL_OK : hl_err_set(HL_E_ARG, "PLACE is empty");
    if (st == HL_OK)
        st = hl_run_find(hl_cli_runs_dir(cli), hl_cli_arg(cli, 0), &dir);
    if (st == HL_OK)
        st = put(dir, &n);
    if (st != HL_OK) {
        hl_detach_report_failed(HL_EXIT_FAILED, hl_err_message());
        hl_free(dir);
        const int status = hl_cli_fail(cli, st);
        return st == HL_E_ARG ? HL_EXIT_USAGE : st == HL_E_NOTFOUND ? HL_EXIT_INPUT : status;
    }
    fprintf(hl_cli_out(cli), n.removed ? "no flag any more: " : "flagged: ");
    hl_cli_put_text(cli, n.place);
    fputc('\n', hl_cli_out(cli));
    hl_detach_report_started(hl_fs_base(dir));
    hl_free(dir);
    return HL_EXIT_DONE;
}

static const hl_option options[] = {
    {.name = "step", .type = HL_OPTION_INT, .value = "N", .help = "what step it is about"},
    {.name = "remove", .type = HL_OPTION_FLAG, .help = "take the flag of this place away"},
    {0},
};

const hl_command hl_cmd_flag = {
    .name = "flag",
    .help = "mark a layer of a run, for later",
    .usage = "RUN PLACE [TEXT]",
    .about = "PLACE is a watched activation, as layer.10/attn.out. The flag stands in the run's "
             "events, beside the layer in view 3\nof the workbench, and among the tables of hoplab "
             "show.\n",
    .options = options,
    .n_args_min = 2,
    .n_args_max = 3,
    .run = run};
