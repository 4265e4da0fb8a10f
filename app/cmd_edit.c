/* hoplab tag, note, rename, archive, delete, ...: what people say of runs and do to them; and
 * hoplab gc, which empties the trash. */
#include <string.h>

#include "app/cli.h"
#include "app/hl_app.h"
#include "app/store/retention.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

/* A deleted run has a place, but no list knows it. */
static hl_status place_of(const hl_cli *cli, hl_run_edit e, const char *run, char **dir)
{
    if (e != HL_EDIT_RESTORE)
        return hl_run_find(hl_cli_runs_dir(cli), run, dir);
    if (!*run || strchr(run, '/') || run[0] == '.')
        return hl_err_set(HL_E_ARG, "'%s' is no id of a run", run);
    *dir = hl_fs_join(hl_cli_runs_dir(cli), run);
    return *dir ? HL_OK : HL_E_NOMEM;
}

static int edit(hl_cli *cli, hl_run_edit e)
{
    const hl_run_edit_row *row = hl_run_edit_get(e);
    const size_t first = *row->text != 0;
    int rc = HL_EXIT_DONE;
    for (size_t i = first; i < hl_cli_args_n(cli); i++) {
        char *dir = NULL;
        hl_status st = place_of(cli, e, hl_cli_arg(cli, i), &dir);
        if (st == HL_OK)
            st = hl_run_edit_do(e, first ? hl_cli_arg(cli, 0) : NULL, dir);
        if (st != HL_OK) {
            rc = hl_cli_fail(cli, st);
        } else {
            fprintf(hl_cli_out(cli), "%s ", row->done);
            hl_cli_put_text(cli, hl_fs_base(dir));
            fputc('\n', hl_cli_out(cli));
        }
        hl_free(dir);
    }
    return rc;
}

#define EDIT(upper, lower, word, has_text, words, about_text)                                      \
    static int run_##lower(hl_cli *cli)                                                            \
    {                                                                                              \
        return edit(cli, HL_EDIT_##upper);                                                         \
    }                                                                                              \
    const hl_command hl_cmd_##lower = {.name = #lower,                                             \
                                       .help = words,                                              \
                                       .usage = word "RUN ...",                                    \
                                       .about = about_text,                                        \
                                       .n_args_min = 1 + (has_text),                               \
                                       .n_args_max = -1,                                           \
                                       .run = run_##lower};

EDIT(TAG, tag, "TAG[,TAG] ", 1, "give runs a tag", NULL)
EDIT(UNTAG, untag, "TAG[,TAG] ", 1, "take a tag away", NULL)
EDIT(NOTE, note, "TEXT ", 1, "write a note about runs; \"\" removes it", NULL)
EDIT(RENAME, rename, "NAME ", 1, "give runs another name; \"\" their own", NULL)
EDIT(PIN, pin, "", 0, "put runs first in lists", NULL)
EDIT(UNPIN, unpin, "", 0, "back to their place", NULL)
EDIT(ARCHIVE, archive, "", 0, "leave runs out of lists that do not ask for them",
     "hoplab ls --all lists them, and so does every filter with the word archived.\n")
EDIT(UNARCHIVE, unarchive, "", 0, "back into all lists", NULL)
EDIT(DELETE, delete, "", 0, "move runs to the trash; gc empties it",
     "A run that is being written is not deleted. hoplab restore brings runs back.\n")
EDIT(RESTORE, restore, "", 0, "bring deleted runs back, by their ids", NULL)

static int run_gc(hl_cli *cli)
{
    int64_t n;
    hl_status st = hl_trash_empty(hl_cli_runs_dir(cli), &n);
    if (st != HL_OK)
        return hl_cli_fail(cli, st);
    fprintf(hl_cli_out(cli), "removed %lld deleted run%s\n", (long long)n, n == 1 ? "" : "s");
    return HL_EXIT_DONE;
}

const hl_command hl_cmd_gc = {.name = "gc",
                              .help = "remove deleted runs for good",
                              .about = "What a crash left behind while runs were removed goes "
                                       "too.\n",
                              .run = run_gc};
