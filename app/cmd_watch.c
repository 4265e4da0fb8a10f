/* hoplab watch, and hoplab alone: the workbench. */
#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/hl_app.h"
#include "app/lua/scripting.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

int hl_cmd_show_workbench(const hl_cli *cli, const hl_workbench_options *o,
                          hl_workbench_result *out)
{
    hl_workbench_fn *show = hl_cli_program(cli)->workbench;
    if (!show)
        return hl_cli_complain(cli, HL_EXIT_FAILED, "this program was built without the screen");
    hl_workbench_options with_lua = *o;
    with_lua.scripting = &hl_lua_scripting;
    o = &with_lua;
    hl_status st = show(o, out);
    if (st == HL_E_STATE || st == HL_E_ARG) {
        hl_cli_fail(cli, st);
        return HL_EXIT_USAGE;
    }
    if (st != HL_OK)
        return hl_cli_fail(cli, st);
    if (out->message[0])
        return hl_cli_complain(cli, out->exit_status, "%s", out->message);
    if (out->n_live && !o->dump_cols)
        fprintf(hl_cli_out(cli), "%d run%s on; hoplab watch shows %s again\n", out->n_live,
                out->n_live == 1 ? " goes" : "s go", out->n_live == 1 ? "it" : "them");
    if (out->n_starting)
        fprintf(hl_cli_out(cli), "%d run%s still starting; hoplab ls shows %s\n", out->n_starting,
                out->n_starting == 1 ? " is" : "s are", out->n_starting == 1 ? "it" : "them");
    return out->exit_status;
}

/* Where to look, from a word that may be a store, a run's directory or a run. */
static hl_status find_place(const hl_cli *cli, const char *word, char **runs_dir, char **run_dir)
{
    if (!word) {
        *runs_dir = hl_strdup(hl_cli_runs_dir(cli));
        return *runs_dir ? HL_OK : HL_E_NOMEM;
    }
    hl_run *run = NULL;
    const bool is_dir = hl_fs_is_dir(word);
    if (is_dir && hl_run_open(word, &run) != HL_OK) {
        *runs_dir = hl_strdup(word);
        return *runs_dir ? HL_OK : HL_E_NOMEM;
    }
    hl_run_close(run);
    hl_status st = HL_OK;
    if (is_dir) {
        char path[PATH_MAX]; /* without "." and "..", which have no parent to read off */
        *run_dir = realpath(word, path) ? hl_strdup(path) : NULL;
        *runs_dir = *run_dir ? hl_fs_parent(*run_dir) : NULL;
    } else {
        st = hl_run_find(hl_cli_runs_dir(cli), word, run_dir);
        *runs_dir = st == HL_OK ? hl_strdup(hl_cli_runs_dir(cli)) : NULL;
    }
    return st == HL_OK && (!*runs_dir || !*run_dir) ? HL_E_NOMEM : st;
}

static bool read_size(const char *text, int *cols, int *rows)
{
    char tail;
    return sscanf(text, "%4dx%4d%c", cols, rows, &tail) == 2 && *cols > 0 && *rows > 0;
}

static int watch(hl_cli *cli)
{
    char *runs_dir = NULL, *run_dir = NULL;
    const char *dump = hl_cli_str(cli, "dump");
    hl_str picture = {0};
    hl_workbench_result result;
    hl_workbench_options o = {.color = hl_cli_str(cli, "color"),
                              .no_mouse = hl_cli_flag(cli, "no-mouse"),
                              .dump_keys = hl_cli_str(cli, "keys"),
                              .picture = &picture};
    if (o.dump_keys && !dump)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--keys goes with --dump");
    if (dump && !read_size(dump, &o.dump_cols, &o.dump_rows))
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--dump needs a size such as 80x24, not '%s'",
                               dump);
    int status;
    hl_status st =
        find_place(cli, hl_cli_args_n(cli) ? hl_cli_arg(cli, 0) : NULL, &runs_dir, &run_dir);
    if (st != HL_OK) {
        status = hl_cli_fail(cli, st);
    } else {
        o.runs_dir = runs_dir;
        o.open = run_dir;
        status = hl_cmd_show_workbench(cli, &o, &result);
        if (dump && status == HL_EXIT_DONE)
            fputs(hl_str_text(&picture), hl_cli_out(cli));
    }
    hl_str_done(&picture);
    hl_free(runs_dir);
    hl_free(run_dir);
    return status;
}

static const hl_option options[] = {
    {.name = "color",
     .type = HL_OPTION_STRING,
     .value = "W",
     .otherwise = "auto",
     .help = "auto, never, 16 or 256"},
    {.name = "no-mouse", .type = HL_OPTION_FLAG, .help = "leave the mouse to the terminal"},
    {.name = "dump",
     .type = HL_OPTION_STRING,
     .value = "COLSxROWS",
     .help = "print one picture of this size and end; needs no terminal"},
    {.name = "keys",
     .type = HL_OPTION_STRING,
     .value = "KEYS",
     .help = "with --dump: press these first, e.g. 'j<Enter>:set smooth=.9<Enter>'"},
    {0},
};

const hl_command hl_cmd_watch = {
    .name = "watch",
    .help = "show runs in the workbench, live or finished",
    .usage = "[RUN|DIR]",
    .about = "Reads what any process on this machine writes; closing it changes nothing in a run. "
             "? inside lists the keys.\n",
    .options = options,
    .n_args_min = 0,
    .n_args_max = 1,
    .run = watch};

static int workbench(hl_cli *cli)
{
    hl_workbench_result result;
    return hl_cmd_show_workbench(cli, &(hl_workbench_options){.runs_dir = hl_cli_runs_dir(cli)},
                                 &result);
}

const hl_command hl_cmd_workbench = {.name = "", .help = "the workbench", .run = workbench};
