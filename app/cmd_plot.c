/* hoplab plot RUN ...: one chart, as the workbench draws it, in letters or in words, or as a file.
 * What `y v` in a chart copies. hoplab plot view:NAME RUN ...: a view written in Lua. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/hl_app.h"
#include "engine/base/clock.h"
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

/* The name behind "view:"; NULL: a chart is asked for. */
static const char *view_of(const hl_cli *cli)
{
    static const char head[] = "view:";
    const char *first = hl_cli_arg(cli, 0);
    return hl_str_starts(first, head) ? first + strlen(head) : NULL;
}

/* Opens the runs, the first one under the cursor. */
static hl_status add_runs(const hl_cli *cli, lines *l)
{
    const size_t from = view_of(cli) != NULL, n = hl_cli_args_n(cli);
    hl_status st = HL_OK;
    for (size_t i = from; st == HL_OK && n - from > 1 && i < n; i++)
        st = add_line(l, "mark ", hl_cli_arg(cli, i), true);
    return st == HL_OK && n > from ? add_line(l, "open ", hl_cli_arg(cli, from), true) : st;
}

/* The command lines of the workbench that show this chart, or view. */
static hl_status make_lines(const hl_cli *cli, lines *l)
{
    hl_status st = HL_OK;
    char head[32];
    const char *out = hl_cli_str(cli, "out");
    HL_TRY(add_runs(cli, l));
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
    if (view_of(cli))
        HL_TRY(add_line(l, "view ", view_of(cli), true));
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

/* Is every run over, as far as one can tell? What is not found is. */
static bool all_over(const hl_cli *cli)
{
    bool over = true;
    for (size_t i = 0; i < hl_cli_args_n(cli) && over; i++) {
        char *dir = NULL;
        hl_run *run = NULL;
        if (hl_run_find(hl_cli_runs_dir(cli), hl_cli_arg(cli, i), &dir) == HL_OK &&
            hl_run_open(dir, &run) == HL_OK) {
            const hl_run_state state = hl_run_get_row(run)->state;
            over = hl_run_state_is_final(state) || state == HL_RUN_LOST;
        }
        hl_run_close(run);
        hl_free(dir);
    }
    return over;
}

/* On a terminal over the picture before it; else below it, and only where it is another one. */
static void print_again(const hl_cli *cli, const hl_str *picture, hl_str *before)
{
    FILE *out = hl_cli_out(cli);
    int n_lines = 0;
    if (before->n && strcmp(hl_str_text(before), hl_str_text(picture)) == 0)
        return;
    for (const char *c = hl_str_text(before); *c; c++)
        n_lines += *c == '\n';
    if (before->n && isatty(fileno(out)))
        fprintf(out, "\033[%dA\033[J", n_lines);
    else if (before->n)
        fputc('\n', out);
    fputs(hl_str_text(picture), out);
    (void)fflush(out);
    hl_str_clear(before);
    hl_str_add(before, hl_str_text(picture));
}

/* Again and again until the runs are over; the last picture is of all of it. */
static int follow(hl_cli *cli, hl_workbench_options *o)
{
    hl_str before = {0};
    int status = HL_EXIT_DONE;
    for (bool over = false; !over && status == HL_EXIT_DONE && !ferror(hl_cli_out(cli));) {
        hl_workbench_result result;
        over = all_over(cli);
        hl_str_clear(o->picture);
        status = hl_cmd_show_workbench(cli, o, &result);
        if (status == HL_EXIT_DONE)
            print_again(cli, o->picture, &before);
        if (!over)
            hl_clock_sleep_ms((int64_t)(hl_cli_float(cli, "every") * 1000));
    }
    hl_str_done(&before);
    return status;
}

static int plot(hl_cli *cli)
{
    lines l = {0};
    hl_str picture = {0};
    hl_workbench_result result;
    hl_workbench_options o = {.runs_dir = hl_cli_runs_dir(cli),
                              .dump_keys = "",
                              .picture = &picture,
                              .chart_alone = !view_of(cli),
                              .view_as = view_of(cli) ? "text" : NULL,
                              .describe = hl_cli_flag(cli, "describe")};
    if (!find_size(cli, &o.dump_cols, &o.dump_rows))
        return hl_cli_complain(cli, HL_EXIT_USAGE,
                               "--size takes COLSxROWS from %dx%d to %dx%d, not '%s'", COLS_MIN,
                               ROWS_MIN, SIDE_MAX, SIDE_MAX, hl_cli_str(cli, "size"));
    if (hl_cli_flag(cli, "follow") &&
        (hl_cli_str(cli, "out") || !(hl_cli_float(cli, "every") >= 0.1)))
        return hl_cli_complain(cli, HL_EXIT_USAGE,
                               "--follow prints; without --out, and --every is 0.1 or more");
    o.dump_rows += AROUND; /* the lines of the workbench around it are not printed */
    if (view_of(cli)) {    /* nor is the frame of a view's pane */
        o.dump_cols += 2;
        o.dump_rows += 1;
    }
    hl_status st = make_lines(cli, &l);
    int status;
    if (st != HL_OK) {
        status = hl_cli_fail(cli, st);
    } else {
        o.commands = (const char *const *)l.at;
        o.n_commands = l.n;
        if (hl_cli_flag(cli, "follow"))
            status = follow(cli, &o);
        else
            status = hl_cmd_show_workbench(cli, &o, &result);
        if (status == HL_EXIT_DONE && !hl_cli_str(cli, "out") && !hl_cli_flag(cli, "follow"))
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
    {.name = "follow", .letter = 'f', .type = HL_OPTION_FLAG, .help = "go on until the runs are over"},
    {.name = "every",
     .type = HL_OPTION_FLOAT,
     .value = "S",
     .otherwise = "2",
     .help = "with --follow: seconds between two pictures"},
    {.name = "describe", .type = HL_OPTION_FLAG, .help = "in words"},
    {.name = "size",
     .type = HL_OPTION_STRING,
     .value = "COLSxROWS",
     .help = "default: the terminal's, or 80x24"},
    {.name = "out",
     .letter = 'o',
     .type = HL_OPTION_STRING,
     .value = "FILE",
     .help = "into a file: .csv, .json, .svg or .png, of a view also .txt"},
    {0},
};

const hl_command hl_cmd_plot = {
    .name = "plot",
    .help = "print one chart, or write it to a file",
    .usage = "[view:NAME] RUN ...",
    .about = "Several runs are laid over each other. In the workbench, y v in a chart copies the "
             "line that draws it.\nview:NAME is a view written in Lua (docs/extending.md), for the "
             "first run, with all of them marked.\n",
    .options = options,
    .n_args_min = 1,
    .n_args_max = 12,
    .run = plot};
