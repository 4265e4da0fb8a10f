/* hoplab meta: descriptions derived from the register of the Lua library and the tables of the
 * screen: editor stubs, reference pages, linter globals. */
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "app/lua/host.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"

static hl_status write_form(hl_lua *h, const char *form, const char *dir, const char *name)
{
    hl_status st = HL_OK;
    hl_str text = {0};
    char *path = hl_fs_join(dir, name);
    if (!path)
        return HL_E_NOMEM;
    HL_TRY(hl_lua_describe(h, form, &text));
    HL_TRY(hl_fs_write_atomic(path, hl_str_text(&text), text.n));
out:
    hl_str_done(&text);
    hl_free(path);
    return st;
}

/* The screen's page comes from the screen's own tables. */
static hl_status write_keys(const hl_cli *cli, hl_str *text)
{
    hl_workbench_fn *screen = hl_cli_program(cli)->workbench;
    hl_workbench_result ignored;
    if (!screen)
        return hl_err_set(HL_E_UNSUPPORTED, "this program was built without the screen");
    return screen(&(hl_workbench_options){.manual = text}, &ignored);
}

static int run(hl_cli *cli)
{
    hl_status st = HL_OK;
    hl_lua *h = NULL;
    hl_str text = {0};
    const char *dir = hl_cli_str(cli, "write");
    HL_TRY(hl_lua_new(&(hl_lua_options){.scripts = hl_cli_str(cli, "scripts")}, &h));
    if (dir) {
        HL_TRY(hl_fs_make_dir(dir));
        HL_TRY(write_form(h, "stubs", dir, "hop.lua"));
        HL_TRY(write_form(h, "luarc", dir, ".luarc.json"));
        HL_TRY(write_form(h, "luacheck", dir, ".luacheckrc"));
    } else {
        const char *form = hl_cli_str(cli, "form");
        HL_TRY(strcmp(form, "keys") == 0 ? write_keys(cli, &text)
                                         : hl_lua_describe(h, form, &text));
        fputs(hl_str_text(&text), hl_cli_out(cli));
    }
out:;
    int status = st == HL_OK ? HL_EXIT_DONE : hl_cli_fail(cli, st);
    hl_str_done(&text);
    hl_lua_free(h);
    return status;
}

static const hl_option options[] = {
    {.name = "write",
     .type = HL_OPTION_STRING,
     .value = "DIR",
     .help = "put stubs, .luarc.json and .luacheckrc there"},
    {.name = "form",
     .type = HL_OPTION_STRING,
     .value = "F",
     .otherwise = "help",
     .help = "what to print: help, stubs, markdown, ops, keys, luarc, luacheck"},
    {.name = "scripts",
     .type = HL_OPTION_STRING,
     .value = "DIR",
     .help = "read the hop library from here instead of the built-in one"},
    {0},
};

const hl_command hl_cmd_meta = {.name = "meta",
                                .help = "editor stubs and reference pages of the Lua library",
                                .options = options,
                                .run = run};
