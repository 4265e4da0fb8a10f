#include "app/prepare.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/fs.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/hl_engine.h"

static hl_status check_precision(const char *precision)
{
    static const char *const ours[] = {"fp32", "fp64", "bf16", "tf32", "fp16"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (strcmp(precision, ours[i]) == 0)
            return HL_OK;
    return hl_err_set(HL_E_ARG, "--precision must be fp64, fp32, tf32, bf16 or fp16, not '%s'",
                      precision);
}

hl_status hl_prepare_check(const hl_cli *cli)
{
    const hl_status st = hl_device_check(hl_cli_str(cli, "device"));
    return st == HL_OK ? check_precision(hl_cli_str(cli, "precision")) : st;
}

hl_status hl_prepare_host(const hl_cli *cli, const char *script, hl_prepared *p)
{
    hl_status st = HL_OK;
    hl_device *device = NULL; /* of the process: hl_device_current */
    HL_TRY(hl_prepare_check(cli));
    if (!p->trains_nothing && strcmp(hl_cli_str(cli, "precision"), "fp64") != 0)
        HL_TRY(hl_device_open(hl_cli_str(cli, "device"), &device));
    if (!p->trains_nothing && strcmp(hl_cli_str(cli, "precision"), "tf32") == 0)
        HL_TRY(hl_device_allow_tf32(device));
    if (!p->trains_nothing && strcmp(hl_cli_str(cli, "precision"), "fp16") == 0)
        HL_TRY(hl_device_use_f16(device));
    HL_TRY(hl_team_new((int)hl_cli_int(cli, "threads"), &p->team));
    p->script_dir = hl_fs_parent(script);
    if (!p->script_dir)
        return HL_E_NOMEM;
    hl_lua_options o = {.team = p->team,
                        .fp64 = strcmp(hl_cli_str(cli, "precision"), "fp64") == 0,
                        .bf16 = strcmp(hl_cli_str(cli, "precision"), "bf16") == 0,
                        .fp16 = strcmp(hl_cli_str(cli, "precision"), "fp16") == 0,
                        .script_dir = p->script_dir,
                        .scripts = hl_cli_str(cli, "scripts"),
                        .sandbox = hl_cli_flag(cli, "sandbox")};
    HL_TRY(hl_lua_new(&o, &p->lua));
out:
    return st;
}

/* "a.b=c" into path and text, in place. */
static hl_status split(char *word, hl_override *out)
{
    char *eq = strchr(word, '=');
    if (!eq || eq == word)
        return hl_err_set(HL_E_NOTFOUND, "-s %s: write -s path=value", word);
    *eq = '\0';
    *out = (hl_override){.path = word, .text = eq + 1};
    return HL_OK;
}

static hl_status load_script(void *script, hl_lua *lua, const hl_override *list, int n)
{
    return hl_lua_load_experiment(lua, script, list, n);
}

hl_status hl_prepare_experiment(const hl_cli *cli, const char *script,
                                const hl_extra_override *extra, int n_extra, hl_prepared *p,
                                bool *usage)
{
    const hl_prepare_way way = {.self = (void *)(uintptr_t)script, .load = load_script};
    return hl_prepare_by(cli, &way, extra, n_extra, p, usage);
}

static void say(void *arg, hl_log_level level, const char *message)
{
    if (level >= HL_LOG_INFO)
        (void)hl_cli_complain(arg, HL_EXIT_DONE, "%s", message);
}

void hl_prepare_listen(const hl_cli *cli, bool on)
{
    hl_log_set_sink(on ? say : NULL, (void *)(uintptr_t)cli);
}

hl_status hl_prepare_by(const hl_cli *cli, const hl_prepare_way *way,
                        const hl_extra_override *extra, int n_extra, hl_prepared *p, bool *usage)
{
    hl_status st = HL_OK;
    const int n_set = (int)hl_cli_many_n(cli, "set");
    hl_override *list = hl_alloc_zero((size_t)(n_set + n_extra + 2), sizeof *list);
    char **words = hl_alloc_zero((size_t)n_set + 1, sizeof *words), seed[32];
    int n = 0;
    *usage = false;
    if (!list || !words) {
        st = HL_E_NOMEM;
        goto out;
    }
    for (int i = 0; i < n_set; i++) {
        words[i] = hl_strdup(hl_cli_many(cli, "set", (size_t)i));
        if (!words[i]) {
            st = HL_E_NOMEM;
            goto out;
        }
        *usage = true;
        HL_TRY(split(words[i], &list[n++]));
        *usage = false;
    }
    if (hl_cli_given(cli, "seed")) {
        snprintf(seed, sizeof seed, "%lld", (long long)hl_cli_int(cli, "seed"));
        list[n++] = (hl_override){.path = "seed", .text = seed};
    }
    for (int i = 0; i < n_extra; i++)
        if (extra[i].text && extra[i].text[0])
            list[n++] = (hl_override){.path = extra[i].path, .text = extra[i].text};
    hl_prepare_listen(cli, true);
    st = way->load(way->self, p->lua, list, n);
    /* a path that is not there is a slip on the command line, not in the script */
    *usage = st == HL_E_NOTFOUND && hl_str_starts(hl_err_message(), "-s ");
    HL_TRY(st);
    HL_TRY(hl_lua_build_experiment(p->lua, &p->exp));
    if (p->exp->study.run && !p->takes_study)
        HL_FAIL(HL_E_UNSUPPORTED,
                "the script is a study, which trains nothing; hoplab run runs it");
    hl_mem_process_peak_reset(); /* what an earlier run of this process needed is not ours */
    p->baseline_bytes = hl_mem_process_bytes();
out:
    hl_prepare_listen(cli, false);
    for (int i = 0; words && i < n_set; i++)
        hl_free(words[i]);
    hl_free(words);
    hl_free(list);
    return st;
}

void hl_prepared_done(hl_prepared *p)
{
    hl_experiment_free(p->exp);
    hl_lua_free(p->lua);
    hl_team_free(p->team);
    hl_free(p->script_dir);
    *p = (hl_prepared){0};
}

int hl_prepare_fail(const hl_cli *cli, const hl_prepared *p, hl_status st, bool usage)
{
    const int status = usage                                   ? HL_EXIT_USAGE
                       : st == HL_E_NOMEM || st == HL_E_DEVICE ? HL_EXIT_DEVICE
                                                               : HL_EXIT_INPUT;
    (void)hl_cli_fail(cli, st);
    if (p->lua && hl_lua_hint(p->lua)[0])
        fprintf(stderr, "hint: %s\n", hl_lua_hint(p->lua));
    return status;
}
