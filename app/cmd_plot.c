/* hoplab plot RUN ...: one chart, as the workbench draws it, in letters or in words, or as a file.
 * What `y v` in a chart copies. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "app/commands.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

enum { COLS = 80, ROWS = 24, AROUND = 4, COLS_MIN = 20, ROWS_MIN = 5, SIDE_MAX = 400 };

/* Settings of charts that are options here; each becomes a `:set`. */
static const char *const settings[] = {"xaxis", "align",  "xscale", "xlim", "yscale",
                                       "ylim",  "smooth", "tail",   "band", "versus"};

typedef HL_VEC(char *) lines;

static hl_status add_line(lines *l, const char *head, const char *text, bool quoted)
{
    hl_str b = {0};
    hl_str_addf(&b, quoted ? "%s\"%s\"" : "%s%s", head, text);
    char *copy = hl_str_status(&b) == HL_OK ? hl_strdup(hl_str_text(&b)) : NULL;
    hl_str_done(&b);
    hl_status st = copy ? hl_vec_push(l, copy) : HL_E_NOMEM;
    if (st != HL_OK)
        hl_free(copy);
    return st;
}

/* The command lines of the workbench that show this chart. */
static hl_status make_lines(const hl_cli *cli, lines *l)
{
    hl_status st = HL_OK;
    char head[32];
    const char *out = hl_cli_str(cli, "out");
    for (size_t i = 0; hl_cli_args_n(cli) > 1 && i < hl_cli_args_n(cli); i++)
        HL_TRY(add_line(l, "mark ", hl_cli_arg(cli, i), true));
    HL_TRY(add_line(l, "open ", hl_cli_arg(cli, 0), true));
    const char *tag = hl_cli_str(cli, "tag");
    if (tag) /* "= FORMULA" is no series of the run */
        HL_TRY(add_line(l, *tag == '=' ? "chart " : "grid ", tag + (*tag == '='), false));
    HL_TRY(add_line(l, "set ", "grid=1x1", false));
    if (hl_cli_flag(cli, "ascii"))
        HL_TRY(add_line(l, "set ", "glyphs=ascii", false));
    if (hl_cli_flag(cli, "superseded"))
        HL_TRY(add_line(l, "set ", "show.superseded=on", false));
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        snprintf(head, sizeof head, "set %s=", settings[i]);
        if (hl_cli_given(cli, settings[i]))
            HL_TRY(add_line(l, head, hl_cli_str(cli, settings[i]), false));
    }
    if (out)
        HL_TRY(add_line(l, "export ", out, true));
out:
    return st;
}

/* The size asked for, that of the terminal, or 80x24. false: it is none. */
static bool find_size(const hl_cli *cli, int *cols, int *rows)
{
    const char *size = hl_cli_str(cli, "size");
    struct winsize w;
    char tail;
    *cols = COLS;
    *rows = ROWS;
    if (size)
        return sscanf(size, "%4dx%4d%c", cols, rows, &tail) == 2 && *cols >= COLS_MIN &&
               *rows >= ROWS_MIN && *cols <= SIDE_MAX && *rows <= SIDE_MAX;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= COLS_MIN && w.ws_row >= ROWS_MIN) {
        *cols = w.ws_col < SIDE_MAX ? w.ws_col : SIDE_MAX;
        *rows = w.ws_row / 2 > ROWS ? w.ws_row / 2 : w.ws_row < ROWS ? w.ws_row : ROWS;
    }
    return true;
}

static int plot(hl_cli *cli)
{
    lines l = {0};
    hl_str picture = {0};
    hl_workbench_result result;
    hl_workbench_options o = {.runs_dir = hl_cli_runs_dir(cli),
                              .dump_keys = "",
                              .picture = &picture,
                              .chart_alone = true,
                              .describe = hl_cli_flag(cli, "describe")};
    if (!find_size(cli, &o.dump_cols, &o.dump_rows))
        return hl_cli_complain(cli, HL_EXIT_USAGE,
                               "--size takes COLSxROWS from %dx%d to %dx%d, not '%s'", COLS_MIN,
                               ROWS_MIN, SIDE_MAX, SIDE_MAX, hl_cli_str(cli, "size"));
    o.dump_rows += AROUND; /* the lines of the workbench around it are not printed */
    hl_status st = make_lines(cli, &l);
    int status;
    if (st != HL_OK) {
        status = hl_cli_fail(cli, st);
    } else {
        o.commands = (const char *const *)l.at;
        o.n_commands = l.n;
        status = hl_cmd_show_workbench(cli, &o, &result);
        if (status == HL_EXIT_DONE && !hl_cli_str(cli, "out"))
            fputs(hl_str_text(&picture), hl_cli_out(cli));
    }
    for (size_t i = 0; i < l.n; i++)
        hl_free(l.at[i]);
    hl_vec_done(&l);
    hl_str_done(&picture);
    return status;
}

#define SETTING(option, what, text)                                                                \
    {                                                                                              \
        .name = option, .type = HL_OPTION_STRING, .value = what, .help = text                      \
    }
static const hl_option options[] = {
    {.name = "tag",
     .letter = 't',
     .type = HL_OPTION_STRING,
     .value = "SERIES",
     .help = "the series, or '= FORMULA' of some; default the loss"},
    SETTING("xaxis", "X", "step, epoch, tokens, time, clock, updates, or a series"),
    SETTING("align", "C", "x is 0 where a series first gets there, as 'train/loss<3'"),
    SETTING("xscale", "S", "linear or log"),
    SETTING("xlim", "A,B", "from and to"),
    SETTING("yscale", "S", "linear, log or symlog"),
    SETTING("ylim", "R", "full, robust, or A,B"),
    SETTING("smooth", "F", "factor of an exponential mean, as .9"),
    SETTING("tail", "W", "the newest stretch of this width"),
    SETTING("band", "B", "groups as mean and band: sd, se, minmax or p10-p90"),
    SETTING("versus", "V", "the other runs minus the first, or over it: difference or ratio"),
    {.name = "superseded", .type = HL_OPTION_FLAG, .help = "also what a resume wrote anew"},
    {.name = "ascii", .type = HL_OPTION_FLAG, .help = "plain characters"},
    {.name = "describe", .type = HL_OPTION_FLAG, .help = "in words"},
    {.name = "size",
     .type = HL_OPTION_STRING,
     .value = "COLSxROWS",
     .help = "default: the terminal's, or 80x24"},
    {.name = "out",
     .letter = 'o',
     .type = HL_OPTION_STRING,
     .value = "FILE",
     .help = "into a file: .csv, .json, .svg or .png"},
    {0},
};

const hl_command hl_cmd_plot = {
    .name = "plot",
    .help = "print one chart, or write it to a file",
    .usage = "RUN ...",
    .about = "Several runs are laid over each other. In the workbench, y v in a chart copies the "
             "line that draws it.\n",
    .options = options,
    .n_args_min = 1,
    .n_args_max = 12,
    .run = plot};
