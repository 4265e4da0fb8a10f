/* hoplab lua [-e CODE | FILE [ARG…]]: runs Lua with the hop library, or a console. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/lua/host.h"
#include "app/proc/signals.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/team.h"
#include "engine/hl_engine.h"

static hl_lua *interrupted_host;

static void interrupt_host(void)
{
    hl_lua_interrupt(interrupted_host);
}

static int report(const hl_cli *cli, hl_lua *h, hl_status st)
{
    int status = hl_cli_fail(cli, st);
    if (hl_lua_hint(h)[0])
        fprintf(stderr, "hint: %s\n", hl_lua_hint(h));
    if (hl_cli_flag(cli, "traceback") && hl_lua_traceback(h)[0])
        fprintf(stderr, "%s\n", hl_lua_traceback(h));
    return st == HL_E_CANCELLED ? 130 : status == HL_EXIT_INPUT ? HL_EXIT_INPUT : HL_EXIT_FAILED;
}

/* Lines from the input until it ends. Prompts only on a terminal. */
static void console(const hl_cli *cli, hl_lua *h)
{
    const bool terminal = isatty(STDIN_FILENO);
    hl_str text = {0};
    char line[4096];
    for (;;) {
        if (terminal) {
            fputs(text.n ? ">> " : "> ", stdout);
            fflush(stdout);
        }
        if (!fgets(line, sizeof line, hl_cli_in(cli)))
            break;
        hl_str_add(&text, line);
        bool incomplete;
        hl_status st = hl_lua_console_line(h, hl_str_text(&text), &incomplete);
        if (st == HL_OK || !incomplete)
            hl_str_clear(&text);
        int ended;
        if (hl_lua_exited(h, &ended))
            break;
        if (st != HL_OK && !incomplete)
            fprintf(stderr, "%s\n", hl_err_message());
    }
    hl_str_done(&text);
}

static int run(hl_cli *cli)
{
    hl_status st = HL_OK;
    hl_team *team = NULL;
    hl_device *device; /* of the process: hl_device_current */
    hl_lua *h = NULL;
    char *dir = NULL;
    int status = HL_EXIT_DONE;
    const char *file = hl_cli_args_n(cli) ? hl_cli_arg(cli, 0) : NULL;
    const char *precision = hl_cli_str(cli, "precision");
    const bool fp64 = strcmp(precision, "fp64") == 0, bf16 = strcmp(precision, "bf16") == 0;
    if (strcmp(precision, "fp32") != 0 && !fp64 && !bf16)
        return hl_cli_complain(cli, HL_EXIT_USAGE,
                               "--precision must be fp32, bf16 or fp64, not '%s'", precision);
    if (!fp64)
        HL_TRY(hl_device_open(hl_cli_str(cli, "device"), &device));
    HL_TRY(hl_team_new((int)hl_cli_int(cli, "threads"), &team));
    dir = file ? hl_fs_parent(file) : hl_strdup(".");
    hl_lua_options o = {.team = team, .fp64 = fp64, .bf16 = bf16,
                        .seed = (uint64_t)hl_cli_int(cli, "seed"), .script_dir = dir,
                        .scripts = hl_cli_str(cli, "scripts"),
                        .sandbox = hl_cli_flag(cli, "sandbox")};
    HL_TRY(hl_lua_new(&o, &h));
    interrupted_host = h;
    HL_TRY(hl_interrupt_arm(interrupt_host));
    const char *code = hl_cli_str(cli, "execute");
    if (code || !file)
        HL_TRY(hl_lua_make_console(h));
    if (code) {
        hl_status ran = hl_lua_run_text(h, "-e", code);
        if (ran != HL_OK && !hl_lua_exited(h, &status))
            status = report(cli, h, ran);
    } else if (file) {
        char *argv[64];
        int argc = 0;
        for (size_t i = 1; i < hl_cli_args_n(cli) && argc < 64; i++)
            argv[argc++] = (char *)(uintptr_t)hl_cli_arg(cli, i);
        hl_status ran = hl_lua_run_file(h, file, argc, argv);
        if (ran != HL_OK && !hl_lua_exited(h, &status))
            status = report(cli, h, ran);
    } else {
        console(cli, h);
    }
    hl_interrupt_disarm();
out:
    if (st != HL_OK)
        status = hl_cli_fail(cli, st);
    hl_lua_free(h);
    hl_team_free(team);
    hl_free(dir);
    return status;
}

static const hl_option options[] = {
    {.name = "execute", .letter = 'e', .type = HL_OPTION_STRING, .value = "CODE",
     .help = "run this instead of a file; hop, T and help are there, as in the console"},
    {.name = "threads", .type = HL_OPTION_INT, .value = "N", .otherwise = "0",
     .help = "threads to compute with; 0: one per core"},
    {.name = "device", .type = HL_OPTION_STRING, .value = "D", .otherwise = "auto",
     .help = "auto, cpu or cuda[:N]"},
    {.name = "precision", .type = HL_OPTION_STRING, .value = "P", .otherwise = "fp32",
     .help = "fp32, bf16 (products of training steps), or fp64 (the slow double references)"},
    {.name = "seed", .type = HL_OPTION_INT, .value = "N", .otherwise = "0",
     .help = "seed of random numbers"},
    {.name = "scripts", .type = HL_OPTION_STRING, .value = "DIR",
     .help = "read the hop library from here instead of the built-in one"},
    {.name = "sandbox", .type = HL_OPTION_FLAG, .help = "for scripts of others: no files, no processes"},
    {.name = "traceback", .type = HL_OPTION_FLAG, .help = "print where an error came from"},
    {0},
};

const hl_command hl_cmd_lua = {
    .name = "lua", .help = "run a Lua file with the hop library, or a console",
    .usage = "[-e CODE | FILE [ARG ...]]", .options = options, .n_args_max = -1, .run = run};
