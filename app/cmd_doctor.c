/* hoplab doctor: what this machine and environment offer, and what stands in the way. */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/lua/host.h"
#include "app/proc/host.h"
#include "app/proc/nvml.h"
#include "data/hl_data.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/team.h"
#include "engine/hl_engine.h"

typedef struct doctor {
    FILE *out;
    int n_problems;
} doctor;

static void line(doctor *d, const char *what, const char *fmt, ...) HL_PRINTF(3, 4);
static void line(doctor *d, const char *what, const char *fmt, ...)
{
    va_list ap;
    fprintf(d->out, "%-14s ", what);
    va_start(ap, fmt);
    vfprintf(d->out, fmt, ap);
    va_end(ap);
    fputs("\n", d->out);
}

static void problem(doctor *d, const char *what, const char *text)
{
    fprintf(d->out, "%-14s PROBLEM: %s\n", what, text);
    d->n_problems++;
}

static void hardware(doctor *d)
{
    char a[24], b[24];
    hl_host host;
    hl_host_read(&host);
    line(d, "processor", "%s, %d cores usable; kernels: %s", host.cpu[0] ? host.cpu : "unknown",
         host.n_cores, hl_cpu()->isa);
    static const char *const way[] = {
        [HL_BF16_WIDENED] = "on the fp32 kernels, exact products at their speed: no AMX (not of this "
                            "processor, system or build, or HOPLAB_ISA is set)",
        [HL_BF16_DOT] = "by dot products of pairs (AVX512-BF16)",
        [HL_BF16_TILES] = "on AMX tiles",
    };
    line(d, "bf16", "%s", way[hl_cpu_bf16()]);
    line(d, "memory", "%s, %s available", hl_format_bytes(a, host.memory_bytes),
         hl_format_bytes(b, hl_mem_available_bytes()));
    hl_str gpu = {0};
    hl_device_describe(&gpu);
    line(d, "gpu", "%s", hl_str_text(&gpu));
    hl_str_done(&gpu);
}

/* What the vendor's library knows of the cards: the System view shows it. */
static void cards(doctor *d)
{
    hl_nvml *n = NULL;
    char used[24], total[24];
    if (hl_nvml_open(NULL, &n) != HL_OK) {
        line(d, "nvml", "%s; runs record no cards", hl_err_message());
        return;
    }
    line(d, "nvml", "driver %s, %d card%s", hl_nvml_driver(n), hl_nvml_count(n),
         hl_nvml_count(n) == 1 ? "" : "s");
    for (int i = 0; i < hl_nvml_count(n); i++) {
        hl_gpu g;
        hl_str b = {0};
        hl_nvml_read(n, i, &g);
        hl_str_addf(&b, "%d: %s", i, g.name);
        if (!isnan(g.memory_used) && !isnan(g.memory_total))
            hl_str_addf(&b, ", %s of %s used", hl_format_bytes(used, (int64_t)g.memory_used),
                        hl_format_bytes(total, (int64_t)g.memory_total));
        if (!isnan(g.utilization))
            hl_str_addf(&b, ", %.0f %% busy", 100 * g.utilization);
        if (!isnan(g.power_w))
            hl_str_addf(&b, ", %.0f W", g.power_w);
        if (!isnan(g.temperature_c))
            hl_str_addf(&b, ", %.0f C", g.temperature_c);
        line(d, "", "%s", hl_str_text(&b));
        hl_str_done(&b);
    }
    hl_nvml_close(n);
}

static void noop(void *arg, int worker, int n)
{
    (void)arg;
    (void)worker;
    (void)n;
}

/* Threads that share a core make a region last milliseconds instead of microseconds. */
static void threads(doctor *d)
{
    hl_team *team = NULL;
    if (hl_team_new(0, &team) != HL_OK) {
        problem(d, "threads", hl_err_message());
        return;
    }
    const int n = 2000;
    for (int i = 0; i < 100; i++)
        team->run(team, noop, NULL);
    const int64_t start = hl_clock_mono_ns();
    for (int i = 0; i < n; i++)
        team->run(team, noop, NULL);
    const double us = (double)(hl_clock_mono_ns() - start) / n * 1e-3;
    line(d, "threads", "%d, hand-off %.2f us", team->n, us);
    if (us > 50)
        problem(d, "threads", "hand-offs are slow: other programs use these cores; give --threads fewer");
    hl_team_free(team);
}

static void store(doctor *d, const char *runs, const char *source)
{
    char a[24];
    const char *at = hl_fs_is_dir(runs) ? runs : ".";
    if (access(at, W_OK) != 0)
        problem(d, "runs", "the directory cannot be written; use --runs DIR or HOPLAB_RUNS");
    struct statvfs fs;
    if (statvfs(at, &fs) == 0) {
        const int64_t room = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
        line(d, "runs", "%s (%s), %s free", runs, source, hl_format_bytes(a, room));
        if (room < (int64_t)100 << 20)
            problem(d, "runs", "less than 100 MiB of disk left");
    }
}

static void library(doctor *d)
{
    hl_lua *h = NULL;
    hl_status st = hl_lua_new(&(hl_lua_options){0}, &h);
    if (st == HL_OK)
        st = hl_lua_run_text(h, "doctor", "local hop = require 'hop' assert((hop.T.ones{2} + 1):sum():item() == 4)");
    if (st == HL_OK)
        line(d, "library", "loads and computes, %d operations", HL_OP_COUNT);
    else
        problem(d, "library", hl_err_message());
    hl_lua_free(h);
}

static void downloads(doctor *d)
{
    line(d, "downloads", "%s", hl_fetch_is_built_in() ? "by libcurl, see 'hoplab data'"
                                                      : "none: this build has no libcurl");
}

static void environment(doctor *d)
{
    static const struct {
        const char *name, *what;
    } vars[] = {
        {"HOPLAB_RUNS", "where runs are kept"},     {"HOPLAB_DATA", "where data is looked for"},
        {"HOPLAB_NVML", "library that knows the cards, or none"},
        {"HOPLAB_PATH", "where require looks"},     {"HOPLAB_ISA", "kernels: generic, avx2, avx512"},
        {"NO_COLOR", "no colour"},                  {"TERM", "terminal"},
        {"XDG_RUNTIME_DIR", "sockets of deep runs"}, {"SLURM_JOB_ID", "recorded with a run"},
        {"SSH_CONNECTION", "remote"},
    };
    for (size_t i = 0; i < sizeof vars / sizeof vars[0]; i++) {
        const char *v = getenv(vars[i].name);
        line(d, vars[i].name, "%s  (%s)", v && *v ? v : "-", vars[i].what);
    }
    line(d, "locale", "%s", setlocale(LC_CTYPE, NULL));
}

/* No program can see whether the font has the characters that the locale allows. The answer is kept
 * per TERM where the screen looks for it. */
static int ask_glyphs(hl_cli *cli)
{
    static const char *const levels[] = {"braille", "block", "half", "ascii"};
    static const char *const samples[] = {"\u2847\u28e4\u28e4\u2838  four dots, twelve, a corner",
                                          "\u2598\u259d\u2596\u2597\u2588  quarters of a cell",
                                          "\u2580\u2584\u2588  halves of a cell", ".':+-|"};
    enum { LEVELS = 4 };
    FILE *out = hl_cli_out(cli);
    const char *term = getenv("TERM");
    char state[400], path[440], line[32];
    if (!term || !*term || strchr(term, ' '))
        return hl_cli_complain(cli, HL_EXIT_USAGE, "TERM is not set: there is no terminal to ask about");
    fprintf(out, "These are the characters that charts are drawn with on this terminal (%s):\n", term);
    for (int i = 0; i < LEVELS; i++)
        fprintf(out, "  %d  %-8s %s\n", i + 1, levels[i], samples[i]);
    fprintf(out, "     \u00b1\u00b1\u00b1\u00b1|  if this bar is not above the next, characters "
                 "such as \u00b1 take\n"
                 "     ----|  two columns here: ui.set { ambiwidth = 2 } in config.lua\n");
    fprintf(out, "Which is the first line without boxes or question marks? 1 to 4: ");
    fflush(out);
    if (!fgets(line, sizeof line, stdin) || line[0] < '1' || line[0] > '0' + LEVELS)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "no answer; nothing is changed");
    if (!hl_fs_state_dir(state, sizeof state) || hl_fs_make_dir(state) != HL_OK)
        return hl_cli_complain(cli, HL_EXIT_FAILED, "no place for the answer; use HOPLAB_GLYPHS=%s",
                               levels[line[0] - '1']);
    snprintf(path, sizeof path, "%s/glyphs", state);
    FILE *f = fopen(path, "ae");
    const bool wrote = f && fprintf(f, "%s %s\n", term, levels[line[0] - '1']) > 0;
    if ((f && fclose(f) != 0) || !wrote)
        return hl_cli_complain(cli, HL_EXIT_FAILED, "cannot write %s", path);
    fprintf(out, "The workbench uses %s on %s from now on (%s).\n", levels[line[0] - '1'], term, path);
    return HL_EXIT_DONE;
}

static int run(hl_cli *cli)
{
    if (hl_cli_flag(cli, "glyphs"))
        return ask_glyphs(cli);
    doctor d = {.out = hl_cli_out(cli)};
    line(&d, "hoplab", "%s", hl_cli_program(cli)->version);
    hardware(&d);
    cards(&d);
    threads(&d);
    store(&d, hl_cli_runs_dir(cli), hl_cli_runs_source(cli));
    library(&d);
    downloads(&d);
    environment(&d);
    fprintf(d.out, "%s\n", d.n_problems ? "see the problems above" : "all is well");
    return d.n_problems ? HL_EXIT_FAILED : HL_EXIT_DONE;
}

static const hl_option options[] = {
    {.name = "glyphs",
     .type = HL_OPTION_FLAG,
     .help = "show the characters of charts, ask which of them this terminal has, keep the answer"},
    {0},
};

const hl_command hl_cmd_doctor = {
    .name = "doctor",
    .help = "what this machine offers and what stands in the way",
    .options = options,
    .run = run};
