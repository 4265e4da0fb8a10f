/* The `:` line: one table of commands; help and completion follow from it. A command has the name
 * and the arguments that it has outside, as `hoplab ctl RUN pause` and `:pause`. */
#include <stdio.h>
#include <string.h>

#include "engine/base/fs.h"
#include "views/row_field.h"
#include "views/screen.h"

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
    SORT,
    SETTING,
    ACTION,
    FILE_NAME,
    KNOB,
    FILTER,
    THEME
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
                  near >= 0 ? names[near] : "; there are Runs, Run, Outliers, DEQ, Quant and Lua");
}

static void run_filter(hl_screen *s, const words *w)
{
    hl_screen_remember(s);
    snprintf(s->look.filter, sizeof s->look.filter, "%s", w->n > 1 ? w->at[1] : "");
    hl_screen_order(s);
    hl_screen_stay(s);
    hl_screen_say(s, HL_ROLE_TEXT, "%zu runs fit", s->order.n);
}

static void run_sort(hl_screen *s, const words *w)
{
    const bool reverse = w->at[1][0] == '-';
    const hl_row_field *k;
    for (int i = 0; (k = hl_row_sort_field(i)); i++)
        if (strcmp(w->at[1] + reverse, k->name) == 0) {
            hl_screen_remember(s);
            s->look.sort = i;
            s->look.reverse = reverse;
            hl_screen_order(s);
            return;
        }
    hl_screen_say(s, HL_ROLE_BAD, "cannot sort by '%s'; Tab lists what can be sorted by", w->at[1]);
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

static void run_map(hl_screen *s, const words *w)
{
    if (hl_keymap_bind(&s->keymap, w->at[1], w->at[2]) != HL_OK)
        hl_screen_say_error(s);
    else
        hl_screen_say(s, HL_ROLE_TEXT, "%s: %s", w->at[1], w->at[2]);
}

static void run_theme(hl_screen *s, const words *w)
{
    if (hl_option_set(s, "theme", w->at[1]) != HL_OK)
        hl_screen_say_error(s);
}

static void run_pause(hl_screen *s, const words *w)
{
    (void)w;
    hl_screen_ask(s, HL_BUS_CMD_PAUSE, NULL, "pause");
}

static void run_resume(hl_screen *s, const words *w)
{
    (void)w;
    hl_screen_ask(s, HL_BUS_CMD_RESUME, NULL, "resume");
}

static void run_stop(hl_screen *s, const words *w)
{
    const bool now = w->n > 1;
    if (now && strcmp(w->at[1], "--no-checkpoint") != 0) {
        hl_screen_say(s, HL_ROLE_BAD, "stop takes nothing, or --no-checkpoint");
        return;
    }
    hl_screen_stop(s, !now);
}

static void run_checkpoint(hl_screen *s, const words *w)
{
    (void)w;
    hl_screen_ask(s, HL_BUS_CMD_CHECKPOINT, NULL, "checkpoint");
}

static void run_eval(hl_screen *s, const words *w)
{
    (void)w;
    hl_screen_ask(s, HL_BUS_CMD_EVAL, NULL, "evaluate");
}

static void run_quantize(hl_screen *s, const words *w)
{
    const hl_run_row *row = hl_screen_row(s);
    if (w->n == 1 && row && hl_state_is_live(hl_model_state(&s->model, row)))
        hl_screen_ask(s, HL_BUS_CMD_QUANTIZE, NULL, "quantize");
    else
        hl_quant_start_job(s, w->at + 1, w->n - 1, "quantize");
}

static void run_knob(hl_screen *s, const words *w)
{
    hl_str args = {0};
    char what[80];
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

static void run_lua(hl_screen *s, const words *w)
{
    if (w->n > 1 && strcmp(w->at[1], "reset") == 0)
        hl_console_reset(s);
    else if (w->n > 1)
        hl_console_evaluate(s, w->at[1]);
    else
        hl_screen_act(s, HL_ACTION_VIEW_8);
}

static void run_source(hl_screen *s, const words *w)
{
    hl_scripted_source_file(s, w->at[1]);
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

/* The picture as text, without the command line that asked for it. */
static void run_save_screen(hl_screen *s, const words *w)
{
    hl_str text = {0};
    s->notice[0] = 0;
    hl_screen_draw(s);
    hl_grid_print(&s->grid, &text);
    hl_status st = hl_str_status(&text);
    if (st == HL_OK)
        st = hl_fs_write_atomic(w->at[1], hl_str_text(&text), text.n);
    hl_str_done(&text);
    if (st != HL_OK)
        hl_screen_say_error(s);
    else
        hl_screen_say(s, HL_ROLE_GOOD, "saved to %s", w->at[1]);
}

static void run_help(hl_screen *s, const words *w)
{
    hl_screen_popup(s, &hl_popup_help);
    s->popup_search = w->n > 1;
    if (s->popup_search)
        hl_line_set(&s->line, w->at[1]);
}

static void run_quit(hl_screen *s, const words *w)
{
    (void)w;
    s->quit = true;
}

static const command commands[] = {
    {"checkpoint", "", "write a checkpoint now", NOTHING, 0, 0, run_checkpoint},
    {"eval", "", "evaluate now", NOTHING, 0, 0, run_eval},
    {"filter", "[WORDS]", "show runs that fit: name, status:done, loss<2.5, !tag:old", FILTER, 0,
     -1, run_filter},
    {"help", "[TOPIC]", "keys, commands and settings", NOTHING, 0, 1, run_help},
    {"knob", "NAME=VALUE", "change a knob of the run: lr=3e-4, lr=schedule, deq.tol=1e-3", KNOB, 1, 1, run_knob},
    {"lua", "EXPR", "evaluate Lua; reset: a fresh state; alone: the console", NOTHING, 0, -1, run_lua},
    {"map", "KEYS ACTION", "bind keys, as Q quit or g+q quit; action none unbinds", ACTION, 2, 2,
     run_map},
    {"mark", "[RUN]", "mark a run, or take its mark away", RUN, 0, 1, run_mark},
    {"open", "RUN", "show a run, by id, name or tail of its id", RUN, 1, 1, run_open},
    {"pause", "", "pause the run after its step", NOTHING, 0, 0, run_pause},
    {"q", "", "leave the screen; runs go on", NOTHING, 0, 0, run_quit},
    {"quantize", "[-s quantize.PATH=VALUE]",
     "the live run's weights now; of a run that is over, also by another recipe", NOTHING, 0,
     WORDS_MAX - 12, run_quantize},
    {"quit", "", "leave the screen; runs go on", NOTHING, 0, 0, run_quit},
    {"rerun", "[-s PATH=VALUE]", "run the run's script again, as edited, as a new run", NOTHING, 0,
     WORDS_MAX - 24, run_rerun},
    {"resume", "", "let a paused run go on", NOTHING, 0, 0, run_resume},
    {"run", "SCRIPT [-s PATH=VALUE]", "start a run", FILE_NAME, 1, WORDS_MAX - 2, run_run},
    {"save-screen", "FILE", "this picture as text", FILE_NAME, 1, 1, run_save_screen},
    {"script", "", "the run's script, on or off: e edits a copy, d compares, r runs it", NOTHING, 0, 0,
     run_script},
    {"set", "NAME=VALUE", "change a setting of the screen; NAME? shows it", SETTING, 1, 1, run_set},
    {"sort", "[-]COLUMN", "order of the run list", SORT, 1, 1, run_sort},
    {"source", "FILE", "run a Lua file: views, commands, keys, settings", FILE_NAME, 1, 1,
     run_source},
    {"stop", "[--no-checkpoint]", "finish the step, write a checkpoint, stop the run", NOTHING, 0,
     1, run_stop},
    {"theme", "NAME", "colours", THEME, 1, 1, run_theme},
    {"view", "NAME", "Runs, Run, Outliers, DEQ, Quant or Lua", VIEW, 1, 1, run_view},
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

static void complete_argument(hl_screen *s, argument kind, const char *word)
{
    const hl_row_field *k;
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
    case SORT:
        for (int i = 0; (k = hl_row_sort_field(i)); i++) {
            snprintf(text, sizeof text, "%s%s", *word == '-' ? "-" : "", k->name);
            hl_screen_add_completion(s, text, word);
        }
        break;
    case ACTION:
        for (int a = 0; a < HL_ACTION_COUNT; a++)
            hl_screen_add_completion(s, hl_action_get((hl_action)a)->name, word);
        break;
    case FILTER:
        for (int i = 0; (k = hl_row_filter_field(i)); i++) {
            snprintf(text, sizeof text, "%s:", k->name);
            hl_screen_add_completion(s, text, word);
        }
        break;
    case THEME: {
        snprintf(text, sizeof text, "theme=%s", word);
        hl_option_complete(s, text);
        for (size_t i = 0; i < s->completions.n; i++)
            memmove(s->completions.at[i], s->completions.at[i] + 6,
                    strlen(s->completions.at[i]) - 5);
        break;
    }
    case KNOB:
        hl_screen_add_completion(s, "lr=", word);
        break;
    case SETTING:
        hl_option_complete(s, word);
        break;
    case FILE_NAME:
        complete_files(s, word);
        break;
    case NOTHING:
        break;
    }
}

void hl_command_complete(hl_screen *s)
{
    char head[HL_LINE_MAX + 1];
    const char *near;
    snprintf(head, sizeof head, "%.*s", (int)s->line.cursor, hl_str_text(&s->line.text));
    const char *blank = strrchr(head, ' '), *word = blank ? blank + 1 : head;
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
}
