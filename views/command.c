/* The `:` line: one table of commands; help and completion follow from it. A command has the name
 * and the arguments that it has outside, as `hoplab ctl RUN pause` and `:pause`. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "engine/base/fs.h"
#include "views/screen_lua.h"

enum { WORDS_MAX = 32 };

typedef struct words {
    char text[HL_LINE_MAX + 1];
    char *at[WORDS_MAX];
    int n;
} words;

typedef enum argument {
    NOTHING,
    RUN,
    VIEW,
    KEY,
    SETTING,
    ACTION,
    FILE_NAME,
    KNOB,
    FILTER,
    THEME,
    SERIES,
    EXPORT,
    YANK
} argument;

typedef struct command {
    const char *name, *usage, *help;
    argument kind;
    int n_min, n_max; /* arguments; max < 0: the rest of the line is one */
    void (*run)(hl_screen *s, const words *w);
} command;

/* ---- the commands ---- */

static void run_open(hl_screen *s, const words *w)
{
    const char *dir = hl_screen_open_run(s, w->at[1]);
    if (!dir) {
        hl_screen_say(s, HL_ROLE_BAD, "no run '%s' in %s; Tab completes", w->at[1],
                      s->model.runs_dir);
        return;
    }
    hl_screen_select(s, dir);
    hl_screen_set_view(s, HL_VIEW_RUN);
}

/* In letters of any case: `:view deq`. */
static bool is_view(const char *name, const char *word)
{
    size_t i = 0;
    for (; name[i] && word[i]; i++)
        if ((name[i] | 0x20) != (word[i] | 0x20))
            return false;
    return name[i] == word[i];
}

static void run_grid(hl_screen *s, const words *w)
{
    hl_chart_pick(s, w->n > 1 ? w->at[1] : "all");
}

static void run_chart(hl_screen *s, const words *w)
{
    hl_chart_formula(s, w->at[1]);
}

static void run_annotate(hl_screen *s, const words *w)
{
    hl_chart_annotate(s, w->n > 1 ? w->at[1] : "");
}

static void run_view(hl_screen *s, const words *w)
{
    enum { NAMES_MAX = 64 };
    const char *names[NAMES_MAX];
    char key[24];
    int n = 0;
    for (; n < hl_screen_tabs(s) && n < NAMES_MAX; n++) {
        names[n] = hl_screen_tab(s, n, key);
        if (is_view(names[n], w->at[1]) || strcmp(key, w->at[1]) == 0) {
            hl_screen_show_tab(s, n);
            return;
        }
    }
    const int near = hl_str_nearest(w->at[1], names, n);
    hl_screen_say(s, HL_ROLE_BAD, "no view '%s'%s%s", w->at[1], near >= 0 ? "; did you mean " : "",
                  near >= 0 ? names[near] : "; Tab lists them");
}

static void run_filter(hl_screen *s, const words *w)
{
    hl_list_filter(s, w->n > 1 ? w->at[1] : "");
}

static void run_sort(hl_screen *s, const words *w)
{
    hl_list_sort(s, w->at[1]);
}

static void run_group(hl_screen *s, const words *w)
{
    hl_list_group(s, w->at + 1, w->n - 1);
}

static void run_columns(hl_screen *s, const words *w)
{
    hl_list_columns(s, w->n > 1 ? w->at[1] : NULL);
}

static void run_show(hl_screen *s, const words *w)
{
    (void)w;
    hl_list_show(s);
}

static void run_hide(hl_screen *s, const words *w)
{
    hl_list_hide(s, w->n > 1 ? w->at[1] : NULL);
}

static void run_yank(hl_screen *s, const words *w)
{
    hl_yank(s, w->n > 1 ? w->at[1] : NULL);
}

static void run_line(hl_screen *s, const words *w)
{
    hl_log_go_to(s, w->at[1]);
}

static void run_sweep(hl_screen *s, const words *w)
{
    char *argv[WORDS_MAX + 6];
    char program[] = "hoplab", sweep[] = "sweep", runs[] = "--runs", name[64];
    int n = 0;
    argv[n++] = program;
    argv[n++] = sweep;
    argv[n++] = runs;
    argv[n++] = s->model.runs_dir;
    for (int i = 1; i < w->n; i++)
        argv[n++] = w->at[i];
    argv[n] = NULL;
    snprintf(name, sizeof name, "sweep %.56s", hl_fs_base(w->at[1]));
    hl_screen_start_job(s, argv, name, "");
}

/* Of this same program, on the terminal: some of it takes a while, and it may be long. */
static void run_doctor(hl_screen *s, const words *w)
{
    (void)w;
    if (hl_term_shell(s->term, "/proc/$PPID/exe doctor") < 0)
        hl_screen_say(s, HL_ROLE_BAD, "there is no terminal; hoplab doctor prints it");
}

static void run_set(hl_screen *s, const words *w)
{
    char *eq = strchr(w->at[1], '=');
    const size_t n = strlen(w->at[1]);
    char value[120];
    if (eq) {
        *eq = 0;
        if (hl_option_set(s, w->at[1], eq + 1) != HL_OK)
            hl_screen_say_error(s);
        else if (hl_option_get(s, w->at[1], value, sizeof value) == HL_OK) {
            hl_scripted_set_source(s, w->at[1], ":set");
            hl_screen_say(s, HL_ROLE_TEXT, "%s=%s", w->at[1], value);
        }
        return;
    }
    if (n > 1 && w->at[1][n - 1] == '?')
        w->at[1][n - 1] = 0;
    if (hl_option_get(s, w->at[1], value, sizeof value) != HL_OK)
        hl_screen_say_error(s);
    else
        hl_screen_say(s, HL_ROLE_TEXT, "%s=%s  (%s)", w->at[1], value,
                      hl_scripted_source(s, w->at[1]));
}

/* What the keys did in the pane that has them is said beside what they do now. */
static void run_map(hl_screen *s, const words *w)
{
    if (w->n < 3) {
        hl_screen_popup(s, &hl_popup_help);
        return;
    }
    if (hl_keymap_bind(&s->keymap, w->at[1], w->at[2]) != HL_OK)
        hl_screen_say_error(s);
    else
        hl_screen_say(s, HL_ROLE_TEXT, "%s: %s", w->at[1], w->at[2]);
}

static void run_layout(hl_screen *s, const words *w)
{
    if (strcmp(w->at[1], "reset") == 0)
        hl_screen_reset_sizes(s);
    else
        hl_screen_say(s, HL_ROLE_BAD, "layout takes reset; C-w and + - < > change it");
}

static void run_messages(hl_screen *s, const words *w)
{
    (void)w;
    hl_screen_popup(s, &hl_popup_messages);
}

static void run_source(hl_screen *s, const words *w)
{
    char name[256]; /* the words go with the next command */
    snprintf(name, sizeof name, "%.255s", w->at[1]);
    hl_screen_source(s, name);
}

static void run_theme(hl_screen *s, const words *w)
{
    if (hl_option_set(s, "theme", w->at[1]) != HL_OK)
        hl_screen_say_error(s);
}

static void run_pause(hl_screen *s, const words *w)
{
    hl_screen_ask_word(s, HL_BUS_CMD_PAUSE, "pause", w->n > 1 ? w->at[1] : NULL);
}

static void run_resume(hl_screen *s, const words *w)
{
    (void)w;
    hl_screen_ask(s, HL_BUS_CMD_RESUME, NULL, "resume");
}

static void run_stop(hl_screen *s, const words *w)
{
    const bool without = w->n > 1 && strcmp(w->at[1], "--no-checkpoint") == 0;
    if (w->n > 1 && strcmp(w->at[1], "--now") == 0)
        hl_screen_abort(s);
    else if (w->n > 1 && !without)
        hl_screen_say(s, HL_ROLE_BAD, "stop takes nothing, --no-checkpoint or --now");
    else
        hl_screen_stop(s, !without);
}

static void run_take(hl_screen *s, const words *w)
{
    (void)w;
    hl_screen_ask(s, HL_BUS_CMD_TAKE, NULL, "take");
}

static void run_steal(hl_screen *s, const words *w)
{
    (void)w;
    hl_screen_ask(s, HL_BUS_CMD_TAKE, "{\"steal\":true}", "steal");
}

static void run_release(hl_screen *s, const words *w)
{
    (void)w;
    hl_screen_ask(s, HL_BUS_CMD_RELEASE, NULL, "release");
}

static void run_flag(hl_screen *s, const words *w)
{
    hl_heat_flag(s, w->n > 1 ? w->at[1] : "");
}

static void run_queue(hl_screen *s, const words *w)
{
    (void)w;
    hl_screen_ask(s, HL_BUS_CMD_STATUS, NULL, "queue");
}

static void run_cancel(hl_screen *s, const words *w)
{
    hl_screen_cancel(s, w->n > 1 ? w->at[1] : NULL);
}

static void run_checkpoint(hl_screen *s, const words *w)
{
    hl_screen_ask_word(s, HL_BUS_CMD_CHECKPOINT, "checkpoint", w->n > 1 ? w->at[1] : NULL);
}

static void run_eval(hl_screen *s, const words *w)
{
    hl_screen_ask_word(s, HL_BUS_CMD_EVAL, "evaluate", w->n > 1 ? w->at[1] : NULL);
}

static void run_quantize(hl_screen *s, const words *w)
{
    hl_screen_quantize(s, w->at + 1, w->n - 1, "quantize");
}

static void run_knob(hl_screen *s, const words *w)
{
    hl_str args = {0};
    char what[80];
    if (w->n == 1) {
        hl_screen_popup(s, &hl_popup_knobs);
        return;
    }
    snprintf(what, sizeof what, "set %s", w->at[1]);
    if (hl_bus_knob_args(w->at[1], &args) != HL_OK)
        hl_screen_say_error(s);
    else
        hl_screen_ask(s, HL_BUS_CMD_SET, hl_str_text(&args), what);
    hl_str_done(&args);
}

/* hoplab run FILE ... in a process of its own */
static void run_run(hl_screen *s, const words *w)
{
    char *argv[WORDS_MAX + 6];
    char program[] = "hoplab", run[] = "run", runs[] = "--runs";
    int n = 0;
    argv[n++] = program;
    argv[n++] = run;
    argv[n++] = runs;
    argv[n++] = s->model.runs_dir;
    for (int i = 1; i < w->n; i++)
        argv[n++] = w->at[i];
    argv[n] = NULL;
    s->open_launched = true;
    hl_screen_launch(s, argv, hl_fs_base(w->at[1]));
}

static void run_compare(hl_screen *s, const words *w)
{
    hl_compare_command(s, w->at + 1, w->n - 1);
}

static void run_lua(hl_screen *s, const words *w)
{
    if (w->n > 1 && strcmp(w->at[1], "reset") == 0)
        hl_console_reset(s);
    else if (w->n > 1)
        hl_console_evaluate(s, w->at[1]);
    else
        hl_screen_act(s, HL_ACTION_VIEW_8);
}

static void run_lua_in_run(hl_screen *s, const words *w)
{
    if (w->n > 1)
        hl_console_ask_run(s, w->at[1]);
    else
        hl_screen_say(s, HL_ROLE_BAD, "it is :lua! TEXT, which the run evaluates");
}

static void run_script(hl_screen *s, const words *w)
{
    (void)w;
    hl_screen_act(s, HL_ACTION_SCRIPT);
}

static void run_rerun(hl_screen *s, const words *w)
{
    hl_script_rerun(s, w->at + 1, w->n - 1);
}

static void run_mark(hl_screen *s, const words *w)
{
    const hl_run_row *row = hl_screen_row(s);
    const char *dir = w->n > 1 ? hl_screen_open_run(s, w->at[1]) : row ? row->dir : NULL;
    if (dir)
        hl_screen_mark(s, dir, !hl_screen_is_marked(s, dir));
    else
        hl_screen_say(s, HL_ROLE_BAD, "no run %s; Tab completes",
                      w->n > 1 ? w->at[1] : "under the cursor");
}

static void run_save_screen(hl_screen *s, const words *w)
{
    hl_screen_export(s, "text", w->at[1]);
}

static void run_export(hl_screen *s, const words *w)
{
    hl_screen_export(s, w->n > 2 ? w->at[1] : NULL, w->at[w->n - 1]);
}

static void run_describe(hl_screen *s, const words *w)
{
    (void)w;
    hl_screen_describe(s);
}

/* One command for each row of the table of edits. */
#define EDIT_COMMAND(upper, name, text, help, done)                                                \
    static void run_edit_##upper(hl_screen *s, const words *w)                                     \
    {                                                                                              \
        hl_edit_command(s, HL_EDIT_##upper, w->at + 1, w->n - 1);                                  \
    }
HL_RUN_EDITS(EDIT_COMMAND)
#undef EDIT_COMMAND

static void run_help(hl_screen *s, const words *w)
{
    hl_screen_popup(s, &hl_popup_help);
    s->popup_search = w->n > 1;
    if (s->popup_search)
        hl_line_set(&s->line, w->at[1]);
}

static void run_shell(hl_screen *s, const words *w)
{
    if (w->n < 2) {
        hl_screen_say(s, HL_ROLE_BAD, "it is :!COMMAND of the shell");
        return;
    }
    const int status = hl_term_shell(s->term, w->at[1]);
    if (status < 0)
        hl_screen_say(s, HL_ROLE_BAD, "there is no terminal to run it on");
    else if (status)
        hl_screen_say(s, HL_ROLE_WARN, "%s: %s %d", w->at[1],
                      WIFSIGNALED(status) ? "ended by signal" : "exit status",
                      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void run_quit(hl_screen *s, const words *w)
{
    (void)w;
    s->quit = true;
}

static const command commands[] = {
    {"!", "COMMAND", "run a command of the shell; the screen waits, runs do not", FILE_NAME, 0, -1,
     run_shell},
    {"annotate", "TEXT", "mark the step under the crosshair, in all charts of the run", NOTHING, 1,
     -1, run_annotate},
    {"cancel", "[NUMBER]", "withdraw a request that the run has not begun", NOTHING, 0, 1,
     run_cancel},
    {"chart", "FORMULA", "one more chart: train/loss - eval/loss, exp(eval/loss)", SERIES, 1, -1,
     run_chart},
    {"checkpoint", "[NAME]", "write a checkpoint now; one with a name stays", NOTHING, 0, 1,
     run_checkpoint},
    {"columns", "[+-]KEY[:WIDTH] ...", "of the run list: settings and metrics; default", KEY, 0, -1,
     run_columns},
    {"compare", "[RUN ...] [--best] [--at STEP] [--csv FILE]",
     "these runs side by side; also --align tokens, --markdown FILE, --latex FILE, --tsv FILE", RUN,
     0, WORDS_MAX - 2, run_compare},
    {"describe", "", "the focused chart in words", NOTHING, 0, 0, run_describe},
    {"doctor", "", "what this machine and the environment offer; the screen waits", NOTHING, 0, 0,
     run_doctor},
    {"eval", "[eval|test|train]", "evaluate now, on this part of the data", NOTHING, 0, 1,
     run_eval},
    {"export", "[csv|json|svg|png|html|text|ans] FILE", "this pane, or the runs, into a file",
     EXPORT, 1, 2, run_export},
    {"filter", "[EXPR]",
     "show runs that fit: words, status:done, lr<1e-3 or !tag:old; lua(r) r.loss < 2", FILTER, 0,
     -1, run_filter},
    {"flag", "[TEXT]", "flag the layer under the outlier strip's cursor; again: no flag", NOTHING,
     0, -1, run_flag},
    {"grid", "[COLSxROWS|SERIES ...]", "charts: how many, or which (with *); all of them", SERIES,
     0, -1, run_grid},
    {"group", "[KEY ...]", "group runs by settings; seeds: by all but the seed; nothing: not", KEY,
     0, 6, run_group},
    {"help", "[TOPIC]", "keys, commands and settings", NOTHING, 0, 1, run_help},
    {"hide", "[RUN]", "hide a run in this list; :show brings all back", RUN, 0, 1, run_hide},
    {"knob", "[NAME=VALUE]",
     "change a knob of the run: lr=3e-4, lr.scale=.5, lr=cosine:warmup=100, lr=schedule; alone: "
     "the list",
     KNOB, 0, 1, run_knob},
    {"layout", "reset", "all panes of this view as they were at first", NOTHING, 1, 1, run_layout},
    {"line", "N|N%", "the log from its N-th line on, or from so far into it", NOTHING, 1, 1, run_line},
    {"lua", "EXPR [| FILE]",
     "evaluate Lua, with what it prints in a file; reset: a fresh state; alone: the console",
     NOTHING, 0, -1, run_lua},
    {"lua!", "TEXT",
     "evaluate Lua in the run, after its step: run:get \"lr\", what the script declared", NOTHING,
     1, -1, run_lua_in_run},
    {"map", "[KEYS ACTION]", "bind keys, as Q quit or g+q quit; action none unbinds", ACTION, 0, 2,
     run_map},
    {"mark", "[RUN]", "mark a run, or take its mark away", RUN, 0, 1, run_mark},
    {"messages", "", "what was said", NOTHING, 0, 0, run_messages},
    {"open", "RUN", "show a run, by id, name or tail of its id", RUN, 1, 1, run_open},
    {"pause", "[--release]",
     "pause the run after its step; --release: behind a checkpoint, its device given back", NOTHING,
     0, 1, run_pause},
    {"q", "", "leave the screen; runs go on", NOTHING, 0, 0, run_quit},
    {"quantize", "[-s quantize.PATH=VALUE]",
     "the run's weights as they are; also --sensitivity N, --limit N", NOTHING, 0, WORDS_MAX - 12,
     run_quantize},
    {"queue", "", "requests that the run has not answered", NOTHING, 0, 0, run_queue},
    {"quit", "", "leave the screen; runs go on", NOTHING, 0, 0, run_quit},
    {"release", "", "give the controls of the run back", NOTHING, 0, 0, run_release},
    {"rerun", "[--replay] [-s PATH=VALUE]",
     "run the run's script again, as edited, as a new run; --replay: with what it was asked to "
     "change",
     NOTHING, 0, WORDS_MAX - 24, run_rerun},
    {"resume", "", "let a paused run go on", NOTHING, 0, 0, run_resume},
    {"run", "SCRIPT [-s PATH=VALUE]", "start a run", FILE_NAME, 1, WORDS_MAX - 2, run_run},
    {"save-screen", "FILE", "this picture as text", FILE_NAME, 1, 1, run_save_screen},
    {"script", "", "the run's script, on or off: e edits a copy, d compares, r runs it", NOTHING, 0,
     0, run_script},
    {"set", "NAME=VALUE", "change a setting of the screen; NAME? shows it", SETTING, 1, 1, run_set},
    {"show", "", "show the hidden runs again", NOTHING, 0, 0, run_show},
    {"sort", "[-]KEY", "order of the run list, by a column, setting or metric", KEY, 1, 1,
     run_sort},
    {"source", "FILE", "run a file: commands, one a line, or Lua (.lua)", FILE_NAME, 1, 1,
     run_source},
    {"steal", "", "take the controls of the run from whoever has them", NOTHING, 0, 0, run_steal},
    {"stop", "[--no-checkpoint|--now]", "finish the step, write a checkpoint, stop the run",
     NOTHING, 0, 1, run_stop},
    {"sweep", "SCRIPT [-s PATH=VALUE,...] [-j N]",
     "run what a script varies, in the background; what is there is not repeated", FILE_NAME, 1,
     WORDS_MAX - 6, run_sweep},
    {"take", "", "take the controls of the run; any request does, if nobody has them", NOTHING, 0,
     0, run_take},
    {"theme", "NAME", "colours", THEME, 1, 1, run_theme},
#define EDIT_ROW(upper, name, text, help, done)                                                    \
    {name, text "[ RUN ...]", help, RUN, sizeof text > 1, WORDS_MAX - 1, run_edit_##upper},
    HL_RUN_EDITS(EDIT_ROW)
#undef EDIT_ROW
        {"view", "NAME", "Runs, Run, Outliers, DEQ, Quant, Compare, System, Lua or Forecast", VIEW,
         1, 1, run_view},
    {"yank", "[view|name|id|path|screen]", "copy: what is under the cursor, or that of it", YANK, 0,
     1, run_yank},
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

bool hl_command_help(int i, char usage[HL_USAGE_MAX], const char **help)
{
    if (i >= N_COMMANDS)
        return false;
    snprintf(usage, HL_USAGE_MAX, ":%s%s%s", commands[i].name, *commands[i].usage ? " " : "",
             commands[i].usage);
    *help = commands[i].help;
    return true;
}

/* ---- running a line ---- */

static const command *find(const char *name, const char **near)
{
    const char *names[N_COMMANDS];
    for (int i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i].name;
        if (strcmp(name, names[i]) == 0)
            return &commands[i];
    }
    const int n = hl_str_nearest(name, names, N_COMMANDS);
    *near = n >= 0 ? names[n] : NULL;
    return NULL;
}

/* % is the run under the cursor. */
static const char *meaning(const hl_screen *s, const char *word)
{
    const hl_run_row *row = hl_screen_row(s);
    return strcmp(word, "%") == 0 && row ? row->id : word;
}

/* Words between blanks; "quoted words" are one. */
static void split(const hl_screen *s, const char *line, words *w)
{
    size_t used = 0;
    w->n = 0;
    while (*line && w->n < WORDS_MAX) {
        char word[HL_LINE_MAX + 1];
        size_t n = 0;
        bool quoted = false;
        while (*line == ' ')
            line++;
        if (!*line)
            break;
        for (; *line && (quoted || *line != ' '); line++) {
            if (*line == '"')
                quoted = !quoted;
            else
                word[n++] = *line;
        }
        word[n] = 0;
        const char *text = meaning(s, word);
        n = strlen(text) + 1;
        if (used + n > sizeof w->text)
            break;
        w->at[w->n++] = memcpy(w->text + used, text, n);
        used += n;
    }
}

static void rest_as_one(const char *line, words *w)
{
    while (*line == ' ')
        line++;
    line += strcspn(line, " ");
    while (*line == ' ')
        line++;
    snprintf(w->text, sizeof w->text, "%s", line);
    w->at[1] = w->text;
    w->n = *line ? 2 : 1;
}

void hl_screen_command(hl_screen *s, const char *line)
{
    words w;
    const char *near = NULL;
    char apart[HL_LINE_MAX + 2];
    if (line[0] == '!') { /* the one name that needs no blank behind it */
        snprintf(apart, sizeof apart, "! %.*s", HL_LINE_MAX - 1, line + 1);
        line = apart;
    }
    split(s, line, &w);
    if (w.n == 0)
        return;
    const command *c = find(w.at[0], &near);
    if (!c && hl_scripted_run_command(s, w.at, w.n))
        return;
    if (!c) {
        hl_screen_say(s, HL_ROLE_BAD, "no command '%s'%s%s", w.at[0],
                      near ? "; did you mean " : " (:help lists them)", near ? near : "");
        return;
    }
    if (c->n_max < 0)
        rest_as_one(line, &w);
    else if (w.n - 1 < c->n_min || w.n - 1 > c->n_max) {
        hl_screen_say(s, HL_ROLE_BAD, "it is :%s %s", c->name, c->usage);
        return;
    }
    c->run(s, &w);
    s->dirty = true;
}

/* ---- completion ---- */

void hl_screen_add_completion(hl_screen *s, const char *text, const char *word)
{
    if (!hl_str_starts(text, word))
        return;
    for (size_t i = 0; i < s->completions.n; i++)
        if (strcmp(s->completions.at[i], text) == 0)
            return;
    char *copy = hl_strdup(text);
    if (!copy || hl_vec_push(&s->completions, copy) != HL_OK)
        hl_free(copy);
}

static void complete_files(hl_screen *s, const char *word)
{
    const char *base = hl_fs_base(word);
    char folder[1024], text[1200];
    hl_fs_list names = {0};
    snprintf(folder, sizeof folder, "%.*s", (int)(base - word), word);
    if (hl_fs_list_dir(*folder ? folder : ".", &names) != HL_OK)
        return;
    for (size_t i = 0; i < names.n; i++) {
        if (!hl_str_starts(names.name[i], base) || (names.name[i][0] == '.' && *base != '.'))
            continue;
        snprintf(text, sizeof text, "%s%s", folder, names.name[i]);
        if (hl_fs_is_dir(text))
            strncat(text, "/", sizeof text - strlen(text) - 1);
        hl_screen_add_completion(s, text, word);
    }
    hl_fs_list_free(&names);
}

typedef struct key_words {
    hl_screen *s;
    const char *word; /* perhaps with a sign before it */
    bool has_sign, filters;
} key_words;

/* In a filter a field of text waits for its pattern. */
static bool add_key(void *self, const char *key)
{
    const key_words *k = self;
    char text[HL_RUN_KEY_MAX + 8];
    const hl_run_field *f = NULL;
    for (int i = 0; k->filters && (f = hl_run_field_at(i)) && strcmp(f->name, key) != 0; i++)
        ;
    snprintf(text, sizeof text, "%.*s%s%s", k->has_sign, k->word, key, f && f->text ? ":" : "");
    hl_screen_add_completion(k->s, text, k->word);
    return true;
}

static void complete_argument(hl_screen *s, argument kind, const char *word)
{
    char text[80];
    switch (kind) {
    case RUN:
        for (size_t i = s->model.rows ? s->model.rows->n : 0; i-- > 0;) {
            hl_screen_add_completion(s, s->model.rows->at[i].name, word);
            if (*word)
                hl_screen_add_completion(s, s->model.rows->at[i].id, word);
        }
        break;
    case VIEW:
        for (int v = 0; v < hl_screen_tabs(s); v++)
            hl_screen_add_completion(s, hl_screen_tab(s, v, text), word);
        break;
    case KEY:
        hl_scripted_values_complete(s, word);
        hl_run_keys_each(s->model.rows, add_key, &(key_words){s, word, *word == '-' || *word == '+',
                                                              false});
        break;
    case ACTION:
        for (int a = 0; a < HL_ACTION_COUNT; a++)
            hl_screen_add_completion(s, hl_action_get((hl_action)a)->name, word);
        break;
    case FILTER:
        hl_scripted_values_complete(s, word);
        hl_run_keys_each(s->model.rows, add_key, &(key_words){s, word, *word == '!', true});
        break;
    case THEME: {
        snprintf(text, sizeof text, "theme=%s", word);
        hl_option_complete(s, text);
        for (size_t i = 0; i < s->completions.n; i++)
            memmove(s->completions.at[i], s->completions.at[i] + 6,
                    strlen(s->completions.at[i]) - 5);
        break;
    }
    case KNOB: {
        const hl_watched *run = hl_screen_run(s);
        const hl_json *knobs = run ? run->knobs : NULL;
        for (const hl_json *v = hl_json_at(knobs, 0); v; v = hl_json_next(v)) {
            snprintf(text, sizeof text, "%.70s=", hl_json_key(v));
            hl_screen_add_completion(s, text, word);
        }
        break;
    }
    case SETTING:
        hl_option_complete(s, word);
        break;
    case SERIES:
        for (size_t i = 0; i < s->charts.n; i++)
            hl_screen_add_completion(s, s->charts.at[i].tag, word);
        break;
    case EXPORT:
        for (int i = 0; hl_export_kind(i); i++)
            hl_screen_add_completion(s, hl_export_kind(i), word);
        /* fallthrough */
    case FILE_NAME:
        complete_files(s, word);
        break;
    case YANK:
        for (int i = 0; hl_yank_name(i); i++)
            hl_screen_add_completion(s, hl_yank_name(i), word);
        break;
    case NOTHING:
        break;
    }
}

/* "theme NAME", "set theme=NAME" */
static const char *theme_named(const char *line)
{
    static const char *const heads[] = {"theme ", "set theme="};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        if (hl_str_starts(line, heads[i]))
            return line + strlen(heads[i]);
    return NULL;
}

void hl_command_preview(hl_screen *s, bool done)
{
    const char *name = done ? NULL : theme_named(hl_str_text(&s->line.text));
    if (!*s->theme_before && name)
        snprintf(s->theme_before, sizeof s->theme_before, "%s", hl_term_theme(s->term));
    if (*s->theme_before &&
        (!name || hl_term_set_theme(s->term, *name ? name : s->theme_before) != HL_OK))
        HL_IGNORE(hl_term_set_theme(s->term, s->theme_before));
    if (!name)
        s->theme_before[0] = 0;
}

void hl_command_complete(hl_screen *s)
{
    char head[HL_LINE_MAX + 1];
    const char *near;
    snprintf(head, sizeof head, "%.*s", (int)s->line.cursor, hl_str_text(&s->line.text));
    const char *blank = strrchr(head, ' '), *word = blank ? blank + 1 : head;
    if (s->mode == HL_MODE_FILTER) { /* a filter without its command */
        word += strspn(word, "(|");
        s->completion_from = (size_t)(word - head);
        complete_argument(s, FILTER, word);
        return;
    }
    s->completion_from = (size_t)(word - head);
    if (!blank) {
        for (int i = 0; i < N_COMMANDS; i++)
            hl_screen_add_completion(s, commands[i].name, word);
        for (size_t i = 0; i < s->scripted.commands.n; i++)
            hl_screen_add_completion(s, s->scripted.commands.at[i].name, word);
        return;
    }
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(head, " "), head);
    const command *c = find(name, &near);
    if (c)
        complete_argument(s, c->kind, word);
    else
        hl_scripted_complete(s, head);
}
