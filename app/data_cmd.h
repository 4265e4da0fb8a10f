/* The subcommands of `hoplab data`; each in its own data_<name>.c, listed in cmd_data.c. Their
 * options stand in one table there. */
#ifndef HL_APP_DATA_CMD_H
#define HL_APP_DATA_CMD_H

#include "app/cli.h"

typedef struct hl_data_command {
    const char *name;
    const char *usage;          /* its arguments, as for help; NULL: none */
    const char *options;        /* those it takes, words with spaces between */
    int n_args_min, n_args_max; /* behind its name; max < 0: any number */
    int (*run)(hl_cli *cli);    /* its arguments are hl_cli_arg(cli, 1) and on */
} hl_data_command;

extern const hl_data_command hl_data_cmd_ls, hl_data_cmd_info, hl_data_cmd_fetch,
    hl_data_cmd_tokenize;

/* What is in a CSV file of a time series, as text or --json. */
HL_MUST_CHECK hl_status hl_data_show_table(const hl_cli *cli, const char *path);

/* --dir, else HOPLAB_DATA, else "data". */
const char *hl_data_dir(const hl_cli *cli);

#endif
