/* The commands of the program; each in its own cmd_<name>.c. */
#ifndef HL_APP_COMMANDS_H
#define HL_APP_COMMANDS_H

#include "app/cli.h"

extern const hl_command hl_cmd_lua, hl_cmd_run, hl_cmd_check, hl_cmd_graph, hl_cmd_ctl,
    hl_cmd_doctor, hl_cmd_bench, hl_cmd_demo, hl_cmd_eval, hl_cmd_sweep, hl_cmd_export, hl_cmd_meta,
    hl_cmd_watch, hl_cmd_workbench, hl_cmd_data, hl_cmd_quantize, hl_cmd_plot, hl_cmd_flag,
    hl_cmd_tail, hl_cmd_metrics;

int hl_cmd_check_run(hl_cli *cli); /* also run --dry-run */

/* Shows the workbench and says afterwards what goes on; gives the exit status. Without a terminal:
 * a message what to use instead, and USAGE. */
int hl_cmd_show_workbench(const hl_cli *cli, const hl_workbench_options *o,
                          hl_workbench_result *out);

#endif
