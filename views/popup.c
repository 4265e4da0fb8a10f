/* Popups: help, the control menu, and the question before a run is stopped. */
#include <stdio.h>
#include <string.h>

#include "views/filter.h"
#include "views/screen.h"

void hl_screen_popup(hl_screen *s, const hl_popup_class *p)
{
    if (p != &hl_popup_help && !hl_screen_row(s)) {
        hl_screen_say(s, HL_ROLE_WARN, "there is no run to control");
        return;
    }
    s->popup = p;
    s->popup_row = p == &hl_popup_help; /* the first row there is a title */
    s->popup_top = 0;
    s->popup_search = false;
    hl_line_set(&s->line, "");
    s->mode = HL_MODE_POPUP;
}

void hl_screen_close_popup(hl_screen *s)
{
    s->popup = NULL;
    s->mode = HL_MODE_NORMAL;
}

static bool is_close(int key)
{
    return key == HL_KEY_ESC || key == 'q' || key == HL_CTRL('c');
}

/* Movement in a list of n rows; false: another key. */
static bool move_row(hl_screen *s, int key, int n)
{
    int to = s->popup_row;
    switch (key) {
    case 'j':
    case HL_KEY_DOWN:
        to++;
        break;
    case 'k':
    case HL_KEY_UP:
        to--;
        break;
    case HL_CTRL('d'):
    case HL_KEY_PAGE_DOWN:
        to += 10;
        break;
    case HL_CTRL('u'):
    case HL_KEY_PAGE_UP:
        to -= 10;
        break;
    case 'g':
    case HL_KEY_HOME:
        to = 0;
        break;
    case 'G':
    case HL_KEY_END:
        to = n - 1;
        break;
    default:
        return false;
    }
    to = to >= n ? n - 1 : to;
    s->popup_row = to < 0 ? 0 : to;
    return true;
}

/* Rows row_first .. of a list, so that the cursor is in view. */
static int scrolled(hl_screen *s, int visible)
{
    if (s->popup_row < s->popup_top)
        s->popup_top = s->popup_row;
    if (s->popup_row >= s->popup_top + visible)
        s->popup_top = s->popup_row - visible + 1;
    return s->popup_top;
}

/* ---- help: keys, commands and options, from their tables ---- */

enum { HELP_ROWS_MAX = 160, HELP_KEYS = 22 };

typedef struct help_row {
    char keys[HL_USAGE_MAX];
    const char *text;
    hl_action action; /* Enter runs it; HL_ACTION_NONE: it is no action */
    bool is_title;
} help_row;

typedef struct help {
    help_row row[HELP_ROWS_MAX];
    int n;
} help;

static void add_row(help *h, const char *filter, const help_row *row)
{
    char line[400];
    snprintf(line, sizeof line, "%s %s", row->keys, row->text);
    if (h->n < HELP_ROWS_MAX && (row->is_title ? !*filter : hl_filter_fits_text(filter, line)))
        h->row[h->n++] = *row;
}

static void add_title(help *h, const char *filter, const char *text)
{
    add_row(h, filter, &(help_row){.text = text, .action = HL_ACTION_NONE, .is_title = true});
}

static void add_actions(hl_screen *s, help *h, hl_pane pane, const char *filter)
{
    for (int a = 0; a < HL_ACTION_COUNT; a++) {
        const hl_action_row *r = hl_action_get((hl_action)a);
        help_row row = {.text = r->help, .action = (hl_action)a};
        if (r->pane != pane)
            continue;
        hl_keymap_keys(&s->keymap, (hl_action)a, row.keys);
        add_row(h, filter, &row);
    }
}

static void make_help(hl_screen *s, help *h)
{
    const hl_pane pane = hl_pane_keys(hl_screen_focus(s));
    const char *filter = hl_str_text(&s->line.text);
    static const char *const titles[HL_PANE_COUNT] = {
        [HL_PANE_RUNS] = "in the list of runs",  [HL_PANE_CHART] = "in charts",
        [HL_PANE_HEAT] = "in the outlier strip", [HL_PANE_HIST] = "in the histogram",
        [HL_PANE_RESIDUAL] = "in the DEQ view",  [HL_PANE_TENSORS] = "in the Quant view",
        [HL_PANE_SCRIPT] = "in the script"};
    h->n = 0;
    if (titles[pane]) {
        add_title(h, filter, titles[pane]);
        add_actions(s, h, pane, filter);
    }
    add_title(h, filter, "everywhere");
    add_actions(s, h, HL_PANE_ANY, filter);
    for (int p = 0; p < HL_PANE_COUNT; p++)
        if (p != (int)pane && titles[p]) {
            add_title(h, filter, titles[p]);
            add_actions(s, h, (hl_pane)p, filter);
        }
    help_row row = {.action = HL_ACTION_NONE};
    add_title(h, filter, "commands, typed after :");
    for (int i = 0; hl_command_help(i, row.keys, &row.text); i++)
        add_row(h, filter, &row);
    if (hl_scripted_help(s, 0, row.keys, &row.text))
        add_title(h, filter, "from scripts");
    for (int i = 0; hl_scripted_help(s, i, row.keys, &row.text); i++)
        add_row(h, filter, &row);
    add_title(h, filter, "settings, :set NAME=VALUE");
    for (int i = 0; hl_option_help(i, row.keys, &row.text); i++)
        add_row(h, filter, &row);
}

static int help_rows(hl_screen *s)
{
    help h;
    make_help(s, &h);
    return h.n;
}

static void help_size(hl_screen *s, int *w, int *h)
{
    *w = 92;
    *h = help_rows(s) + 1;
}

static void help_draw(hl_screen *s, hl_canvas c)
{
    help h;
    make_help(s, &h);
    const int visible = c.r.h - 1, top = scrolled(s, visible < 1 ? 1 : visible);
    const int keys = c.r.w < 50 ? c.r.w / 3 : HELP_KEYS;
    for (int i = 0; i < visible && top + i < h.n; i++) {
        const help_row *row = &h.row[top + i];
        const bool now = top + i == s->popup_row;
        const hl_style text = now ? HL_STYLE(SELECT) : HL_STYLE(TEXT);
        if (now)
            hl_blank(c, 0, i, c.r.w, 1, text);
        if (row->is_title) {
            hl_put_cut(c, 0, i, c.r.w, (hl_style){HL_ROLE_TITLE, HL_BOLD}, row->text);
            continue;
        }
        const int used = hl_put_cut(c, 1, i, c.r.w - 1, now ? text : HL_STYLE(KEY), row->keys);
        const int x = 1 + (used < keys ? keys : used + 1);
        hl_put_cut(c, x, i, c.r.w - x, text, row->text);
    }
    const hl_canvas last = hl_canvas_part(c, 0, c.r.h - 1, c.r.w, 1);
    if (s->popup_search)
        hl_line_draw(last, &s->line, "/");
    else
        hl_put_cut(last, 0, 0, c.r.w, HL_STYLE(DIM),
                   "/ type / and a word to search; Enter runs the selected action; Esc closes");
}

static void run_action(hl_screen *s, hl_action a)
{
    const hl_pane of = hl_action_get(a)->pane;
    if (of != HL_PANE_ANY && of != hl_pane_keys(hl_screen_focus(s)))
        hl_screen_say(s, HL_ROLE_WARN, "%s belongs to the pane %s", hl_action_get(a)->name,
                      hl_pane_name(of));
    else
        hl_screen_act(s, a);
}

static void end_search(hl_screen *s)
{
    s->popup_search = false;
    hl_line_set(&s->line, "");
}

/* While one searches, keys that write belong to the line; up, down and Enter to the list. */
static bool search_key(hl_screen *s, int key)
{
    const bool empty = s->line.text.n == 0;
    if (key == HL_KEY_ESC || (key == HL_KEY_BACKSPACE && empty)) {
        end_search(s);
        return true;
    }
    if (key == HL_KEY_UP || key == HL_KEY_DOWN || !hl_line_key(&s->line, key))
        return false;
    s->popup_row = s->popup_top = 0;
    return true;
}

static void help_key(hl_screen *s, int key)
{
    help h;
    if (s->popup_search && search_key(s, key))
        return;
    make_help(s, &h);
    if (key == '/') {
        s->popup_search = true;
    } else if (is_close(key) || key == '?') {
        hl_screen_close_popup(s);
    } else if (key == HL_KEY_ENTER && s->popup_row < h.n) {
        const hl_action a = h.row[s->popup_row].action;
        hl_screen_close_popup(s);
        if (a != HL_ACTION_NONE)
            run_action(s, a);
    } else {
        move_row(s, key, h.n);
    }
}

const hl_popup_class hl_popup_help = {
    .title = "help", .size = help_size, .draw = help_draw, .key = help_key};

/* ---- menus ---- */

typedef struct menu_row {
    char key;
    const char *text;
} menu_row;

static void menu_draw(hl_screen *s, hl_canvas c, const menu_row *rows, int n, const char *head)
{
    const int visible = c.r.h > 1 ? c.r.h - 1 : 1, top = scrolled(s, visible);
    hl_put_cut(c, 0, 0, c.r.w, HL_STYLE(DIM), head);
    for (int i = top; i < n && i - top < visible; i++) {
        const int y = c.r.h - visible + i - top;
        const bool now = i == s->popup_row;
        const hl_style text = now ? HL_STYLE(SELECT) : HL_STYLE(TEXT);
        if (now)
            hl_blank(c, 0, y, c.r.w, 1, text);
        hl_put_char(c, 1, y, now ? text : HL_STYLE(KEY), (uint32_t)rows[i].key);
        hl_put_cut(c, 4, y, c.r.w - 4, text, rows[i].text);
    }
}

/* The row that a key chooses; -1: none yet. */
static int menu_choice(hl_screen *s, int key, const menu_row *rows, int n)
{
    if (key == HL_KEY_ENTER)
        return s->popup_row;
    for (int i = 0; i < n; i++)
        if (key == rows[i].key)
            return i;
    if (!move_row(s, key, n) && is_close(key))
        hl_screen_close_popup(s);
    return -1;
}

enum { CONTROL_ROWS = 7 };
static const menu_row control_menu[CONTROL_ROWS] = {
    {'p', "pause, or resume"},  {'c', "checkpoint now"},
    {'e', "evaluate now"},      {'n', "quantize now"},
    {'r', "learning rate ..."}, {'d', "learning rate back to its schedule"},
    {'s', "stop ..."},
};

static void control_size(hl_screen *s, int *w, int *h)
{
    (void)s;
    *w = 44;
    *h = CONTROL_ROWS + 1;
}

static void control_draw(hl_screen *s, hl_canvas c)
{
    const hl_run_row *row = hl_screen_row(s);
    char head[160] = "";
    if (row)
        snprintf(head, sizeof head, "%s is %s", row->name,
                 hl_run_state_name(hl_model_state(&s->model, row)));
    menu_draw(s, c, control_menu, CONTROL_ROWS, head);
}

static void control_key(hl_screen *s, int key)
{
    const int choice = menu_choice(s, key, control_menu, CONTROL_ROWS);
    if (choice < 0)
        return;
    hl_screen_close_popup(s);
    switch (control_menu[choice].key) {
    case 'p':
        hl_screen_act(s, HL_ACTION_PAUSE);
        break;
    case 'c':
        hl_screen_act(s, HL_ACTION_CHECKPOINT);
        break;
    case 'e':
        hl_screen_act(s, HL_ACTION_EVAL);
        break;
    case 'n':
        hl_screen_act(s, HL_ACTION_QUANTIZE);
        break;
    case 'd':
        hl_screen_command(s, "knob lr=schedule");
        break;
    case 's':
        hl_screen_act(s, HL_ACTION_STOP);
        break;
    default:
        hl_screen_act(s, HL_ACTION_COMMAND);
        hl_line_set(&s->line, "knob lr=");
    }
}

const hl_popup_class hl_popup_control = {
    .title = "control", .size = control_size, .draw = control_draw, .key = control_key};

/* ---- stop ---- */

enum { STOP_ROWS = 3, STOP_HARMLESS = 0, STOP_WITHOUT = 1 };
static const menu_row stop_menu[STOP_ROWS] = {
    {'f', "finish the step, write a checkpoint, stop"},
    {'w', "stop without a checkpoint (type the run's name)"},
    {'n', "do not stop"},
};

static void stop_size(hl_screen *s, int *w, int *h)
{
    (void)s;
    *w = 56;
    *h = STOP_ROWS + 2;
}

static void stop_draw(hl_screen *s, hl_canvas c)
{
    const hl_run_row *row = hl_screen_row(s);
    const bool typing = s->popup_row == STOP_WITHOUT;
    char head[160] = "";
    if (row)
        snprintf(head, sizeof head, "stop %s?", row->name);
    menu_draw(s, hl_canvas_part(c, 0, 0, c.r.w, c.r.h - typing), stop_menu, STOP_ROWS, head);
    if (typing)
        hl_line_draw(hl_canvas_part(c, 0, c.r.h - 1, c.r.w, 1), &s->line, "    name: ");
}

/* Losing the last steps takes the run's name, so no two keys pressed by mistake do it. */
static void type_name(hl_screen *s, int key)
{
    const hl_run_row *row = hl_screen_row(s);
    if (key != HL_KEY_ENTER) {
        hl_line_key(&s->line, key);
    } else if (row && strcmp(row->name, hl_str_text(&s->line.text)) == 0) {
        hl_screen_close_popup(s);
        hl_screen_stop(s, false);
    } else {
        hl_screen_say(s, HL_ROLE_WARN, "that is not the run's name; it goes on");
    }
}

static void stop_key(hl_screen *s, int key)
{
    const bool typing = s->popup_row == STOP_WITHOUT;
    if (typing && key != HL_KEY_UP && key != HL_KEY_DOWN && key != HL_KEY_ESC &&
        key != HL_CTRL('c')) {
        type_name(s, key);
        return;
    }
    const int choice = menu_choice(s, key, stop_menu, STOP_ROWS);
    if (choice < 0)
        return;
    s->popup_row = choice;
    if (choice == STOP_WITHOUT)
        return;
    hl_screen_close_popup(s);
    if (choice == STOP_HARMLESS)
        hl_screen_stop(s, true);
}

const hl_popup_class hl_popup_stop = {
    .title = "stop", .size = stop_size, .draw = stop_draw, .key = stop_key};
