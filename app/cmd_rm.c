/* hoplab rm: removes runs, after asking. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/hl_app.h"
#include "app/store/retention.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

typedef HL_VEC(char *) dir_list;

static void free_dirs(dir_list *dirs)
{
    for (size_t i = 0; i < dirs->n; i++)
        hl_free(dirs->at[i]);
    hl_vec_done(dirs);
}

/* All of them are found before any is removed. */
static hl_status find_all(const hl_cli *cli, dir_list *dirs)
{
    for (size_t i = 0; i < hl_cli_args_n(cli); i++) {
        char *dir = NULL;
        hl_status st = hl_run_find(hl_cli_runs_dir(cli), hl_cli_arg(cli, i), &dir);
        if (st == HL_OK)
            st = hl_vec_push(dirs, dir);
        if (st != HL_OK) {
            hl_free(dir);
            return st;
        }
    }
    return HL_OK;
}

static bool confirmed(const hl_cli *cli, const dir_list *dirs)
{
    FILE *out = hl_cli_out(cli);
    char answer[16];
    for (size_t i = 0; i < dirs->n; i++) {
        fputs("  ", out);
        hl_cli_put_text(cli, dirs->at[i]);
        fputc('\n', out);
    }
    fprintf(out, "Remove %s, with all checkpoints? [y/N] ",
            dirs->n == 1 ? "this run" : "these runs");
    fflush(out);
    return fgets(answer, sizeof answer, hl_cli_in(cli)) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int run(hl_cli *cli)
{
    dir_list dirs = {0};
    int rc = HL_EXIT_DONE;
    hl_status st = find_all(cli, &dirs);
    if (st != HL_OK) {
        rc = hl_cli_fail(cli, st);
        goto out;
    }
    if (!hl_cli_flag(cli, "yes")) {
        if (!isatty(fileno(hl_cli_in(cli)))) {
            rc = hl_cli_complain(cli, HL_EXIT_USAGE,
                                 "nobody is here to ask; say --yes to remove without asking");
            goto out;
        }
        if (!confirmed(cli, &dirs)) {
            rc = hl_cli_complain(cli, HL_EXIT_FAILED, "nothing was removed");
            goto out;
        }
    }
    hl_trash_sweep(hl_cli_runs_dir(cli));
    for (size_t i = 0; i < dirs.n; i++) {
        st = hl_run_remove(dirs.at[i]);
        if (st != HL_OK) {
            hl_cli_complain(cli, 0, "%s", hl_err_message());
            rc = HL_EXIT_FAILED;
            continue;
        }
        fputs("removed ", hl_cli_out(cli));
        hl_cli_put_text(cli, hl_fs_base(dirs.at[i]));
        fputc('\n', hl_cli_out(cli));
    }
out:
    free_dirs(&dirs);
    return rc;
}

static const hl_option options[] = {
    {"yes", 'y', HL_OPTION_FLAG, NULL, NULL, "do not ask", NULL},
    {0},
};

const hl_command hl_cmd_rm = {
    .name = "rm",
    .help = "remove runs with all they hold",
    .usage = "RUN ...",
    .about =
        "A run that is being written is not removed. Links inside a run are removed, what they\n"
        "point to is not.\n",
    .options = options,
    .n_args_min = 1,
    .n_args_max = -1,
    .run = run,
};
