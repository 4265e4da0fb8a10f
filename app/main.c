/* The program. Only this file ends the process. */
#include <locale.h>

#include "app/commands.h"
#include "app/hl_app.h"
#include "app/lua/project_store.h"
#include "engine/base/mem.h"
#include "views/hl_workbench.h"

static hl_status project_store(char **dir)
{
    char *path = hl_project_find();
    const hl_status st = path ? hl_lua_project_store(path, dir) : HL_OK;
    hl_free(path);
    return st;
}

int main(int argc, char **argv)
{
    static const hl_command *const commands[] = {&hl_cmd_run,     &hl_cmd_eval,   &hl_cmd_quantize,
                                                 &hl_cmd_sweep,   &hl_cmd_check,  &hl_cmd_demo,
                                                 &hl_cmd_watch,   &hl_cmd_ls,     &hl_cmd_show,
                                                 &hl_cmd_compare, &hl_cmd_plot,   &hl_cmd_export,
                                                 &hl_cmd_tail,    &hl_cmd_metrics,
                                                 &hl_cmd_ctl,     &hl_cmd_flag,
                                                 &hl_cmd_tag,     &hl_cmd_untag,  &hl_cmd_note,
                                                 &hl_cmd_rename,  &hl_cmd_pin,    &hl_cmd_unpin,
                                                 &hl_cmd_archive, &hl_cmd_unarchive,
                                                 &hl_cmd_delete,  &hl_cmd_restore, &hl_cmd_gc,
                                                 &hl_cmd_rm,      &hl_cmd_fsck,   &hl_cmd_graph,
                                                 &hl_cmd_data,    &hl_cmd_bench,  &hl_cmd_lua,
                                                 &hl_cmd_meta,    &hl_cmd_doctor, NULL};
    setlocale(LC_CTYPE, "");
    return hl_cli_main(&(hl_cli_spec){.name = "hoplab",
                                      .version = HOPLAB_VERSION,
                                      .about =
                                          "A lab workbench for Hopfield networks and outlier-"
                                          "free attention: experiments in Lua, training in C.\n",
                                      .commands = commands,
                                      .bare = &hl_cmd_workbench,
                                      .workbench = hl_workbench,
                                      .project_store = project_store},
                       argc, argv);
}
