/* hoplab tail RUN: the newest lines of a run's log, and what comes after them. */
#include <inttypes.h>
#include <string.h>

#include "app/commands.h"
#include "app/hl_app.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

enum { EACH_MS = 500 };

typedef struct line {
    int64_t step, t_us;
    char level;
    char *text; /* owned */
} line;

typedef struct tail {
    const hl_cli *cli;
    hl_run *run;
    HL_VEC(line) lines;
    size_t keep;
    hl_status st;
} tail;

static void take_json(void *self, size_t series, int64_t step, int64_t t_us, const char *text,
                      size_t n)
{
    tail *t = self;
    char made[1024];
    hl_json *v;
    if (t->st != HL_OK || hl_json_parse(text, n, &v) != HL_OK)
        return;
    const char level =
        hl_event_line(hl_run_series_at(t->run, series).content, v, made, sizeof made);
    hl_json_free(v);
    if (!level || !*made)
        return;
    if (t->lines.n >= 2 * t->keep) { /* the older half goes */
        for (size_t i = 0; i < t->keep; i++)
            hl_free(t->lines.at[i].text);
        t->lines.n -= t->keep;
        memmove(t->lines.at, t->lines.at + t->keep, t->lines.n * sizeof *t->lines.at);
    }
    const line l = {.step = step, .t_us = t_us, .level = level, .text = hl_strdup(made)};
    t->st = l.text ? hl_vec_push(&t->lines, l) : HL_E_NOMEM;
}

static void put_line(const tail *t, const line *l)
{
    FILE *out = hl_cli_out(t->cli);
    char time_text[24];
    hl_str b = {0};
    hl_clock_format_utc(time_text, l->t_us);
    if (hl_cli_flag(t->cli, "json")) {
        hl_json_begin(&b, '{');
        hl_json_put_str(&b, "time", time_text);
        hl_json_put_int(&b, "step", l->step);
        hl_json_put_str(&b, "level", (const char[]){l->level, 0});
        hl_json_put_str(&b, "text", l->text);
        hl_json_end(&b, '}');
        fprintf(out, "%s\n", hl_str_text(&b));
    } else {
        fprintf(out, "%s %c %" PRId64 " ", time_text, l->level, l->step);
        hl_cli_put_text(t->cli, l->text);
        fputc('\n', out);
    }
    hl_str_done(&b);
}

/* The newest `keep` lines of those that were read, which are then forgotten. */
static void put_lines(tail *t)
{
    for (size_t i = 0; i < t->lines.n; i++) {
        if (t->lines.n - i <= t->keep)
            put_line(t, &t->lines.at[i]);
        hl_free(t->lines.at[i].text);
    }
    t->lines.n = 0;
    (void)fflush(hl_cli_out(t->cli));
}

static hl_status read_all(tail *t)
{
    const hl_run_visitor v = {.self = t, .json = take_json};
    bool more = true;
    hl_status st = HL_OK;
    while (st == HL_OK && more)
        st = hl_run_poll(t->run, &v, 0, &more);
    return st == HL_OK ? t->st : st;
}

/* Until the run is over and all of it was read. */
static hl_status follow(tail *t)
{
    hl_status st = HL_OK;
    bool over = false;
    t->keep = SIZE_MAX / 4;
    while (!over && !ferror(hl_cli_out(t->cli))) {
        HL_TRY(hl_run_refresh(t->run));
        const hl_run_state state = hl_run_get_row(t->run)->state;
        over = hl_run_state_is_final(state) || state == HL_RUN_LOST;
        HL_TRY(read_all(t));
        put_lines(t);
        if (!over)
            hl_clock_sleep_ms(EACH_MS);
    }
out:
    return st;
}

static int run(hl_cli *cli)
{
    hl_status st = HL_OK;
    char *dir = NULL;
    tail t = {.cli = cli, .keep = (size_t)hl_cli_int(cli, "lines")};
    if (hl_cli_int(cli, "lines") < 1 || hl_cli_int(cli, "lines") > 1000000)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--lines is from 1 to 1000000");
    HL_TRY(hl_run_find(hl_cli_runs_dir(cli), hl_cli_arg(cli, 0), &dir));
    HL_TRY(hl_run_open(dir, &t.run));
    HL_TRY(read_all(&t));
    put_lines(&t);
    if (hl_cli_flag(cli, "follow"))
        HL_TRY(follow(&t));
out:
    hl_run_close(t.run);
    for (size_t i = 0; i < t.lines.n; i++)
        hl_free(t.lines.at[i].text);
    hl_vec_done(&t.lines);
    hl_free(dir);
    return st == HL_OK           ? HL_EXIT_DONE
           : st == HL_E_NOTFOUND ? (hl_cli_fail(cli, st), HL_EXIT_INPUT)
                                 : hl_cli_fail(cli, st);
}

static const hl_option options[] = {
    {.name = "lines",
     .letter = 'n',
     .type = HL_OPTION_INT,
     .value = "N",
     .otherwise = "20",
     .help = "so many lines"},
    {.name = "follow",
     .letter = 'f',
     .type = HL_OPTION_FLAG,
     .help = "go on until the run is over"},
    {.name = "json", .type = HL_OPTION_FLAG, .help = "one JSON object per line"},
    {0},
};

const hl_command hl_cmd_tail = {
    .name = "tail",
    .help = "the newest lines of a run's log",
    .usage = "RUN",
    .about =
        "Each line has time, level (I, W, E, C for a control, S for a state), step and text.\n",
    .options = options,
    .n_args_min = 1,
    .n_args_max = 1,
    .run = run};
