/* Popups: what all of them do, and the help. The menus of controls are in popup_control.c. */
#include <stdio.h>
#include <string.h>

#include "views/screen_lua.h"

static int n_messages(const hl_screen *s)
{
    return (int)(s->messages.n < HL_MESSAGES_MAX ? s->messages.n : HL_MESSAGES_MAX);
}

void hl_screen_popup(hl_screen *s, const hl_popup_class *p)
{
    if (p != &hl_popup_help && p != &hl_popup_messages && !hl_screen_row(s)) {
        hl_screen_say(s, HL_ROLE_WARN, "there is no run to control");
        return;
    }
    s->popup = p;
    s->popup_row = p == &hl_popup_help; /* the first row there is a title */
    if (p == &hl_popup_messages)
        s->popup_row = n_messages(s) > 0 ? n_messages(s) - 1 : 0;
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

bool hl_popup_is_close(int key)
{
    return key == HL_KEY_ESC || key == 'q' || key == HL_CTRL('c');
}

/* Movement in a list of n rows; false: another key. */
bool hl_popup_move(hl_screen *s, int key, int n)
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
int hl_popup_scrolled(hl_screen *s, int visible)
{
    if (s->popup_row < s->popup_top)
        s->popup_top = s->popup_row;
    if (s->popup_row >= s->popup_top + visible)
        s->popup_top = s->popup_row - visible + 1;
    return s->popup_top;
}

/* ---- help: keys, commands and options, from their tables ---- */

enum { HELP_ROWS_MAX = 320, HELP_KEYS = 22 };

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

/* The signs of states, which the list has no room to explain. */
static void add_states(const hl_screen *s, help *h, const char *filter)
{
    add_title(h, filter, "states of runs");
    for (int st = 0; st < HL_RUN_STATE_COUNT; st++) {
        help_row row = {.text = hl_run_state_name((hl_run_state)st), .action = HL_ACTION_NONE};
        const uint32_t sign = hl_sign_char(&s->grid, hl_state_sign((hl_run_state)st));
        row.keys[hl_utf8_put(row.keys, sign)] = 0;
        add_row(h, filter, &row);
    }
}

static void make_help(hl_screen *s, help *h)
{
    const hl_pane pane = hl_pane_keys(hl_screen_focus(s));
    const char *filter = hl_str_text(&s->line.text);
    static const char *const titles[HL_PANE_COUNT] = {
        [HL_PANE_RUNS] = "in the list of runs", [HL_PANE_CHART] = "in charts",
        [HL_PANE_LOG] = "in the log",           [HL_PANE_HEAT] = "in the outlier strip",
        [HL_PANE_HIST] = "in the histogram",    [HL_PANE_RESIDUAL] = "in the DEQ view",
        [HL_PANE_TENSORS] = "in the Quant view",
        [HL_PANE_FORECAST] = "in the Forecast view",
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
    add_states(s, h, filter);
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
    const int visible = c.r.h - 1, top = hl_popup_scrolled(s, visible < 1 ? 1 : visible);
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
    } else if (hl_popup_is_close(key) || key == '?') {
        hl_screen_close_popup(s);
    } else if (key == HL_KEY_ENTER && s->popup_row < h.n) {
        const hl_action a = h.row[s->popup_row].action;
        hl_screen_close_popup(s);
        if (a != HL_ACTION_NONE)
            run_action(s, a);
    } else {
        hl_popup_move(s, key, h.n);
    }
}

const hl_popup_class hl_popup_help = {
    .title = "help", .size = help_size, .draw = help_draw, .key = help_key};

/* ---- messages: newest last ---- */

static void messages_size(hl_screen *s, int *w, int *h)
{
    *w = 92;
    *h = n_messages(s) > 3 ? n_messages(s) : 3;
}

static void messages_draw(hl_screen *s, hl_canvas c)
{
    const int n = n_messages(s), top = hl_popup_scrolled(s, c.r.h < 1 ? 1 : c.r.h);
    if (n == 0)
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM), "nothing was said yet");
    for (int i = top; i < n && i - top < c.r.h; i++) {
        const int64_t at = s->messages.n - n + i;
        const hl_role role = s->messages.at[at % HL_MESSAGES_MAX].role;
        const hl_style style = i == s->popup_row ? HL_STYLE(SELECT) : (hl_style){(uint8_t)role, 0};
        hl_put_cut(c, 1, i - top, c.r.w - 1, style, s->messages.at[at % HL_MESSAGES_MAX].text);
    }
}

static void messages_key(hl_screen *s, int key)
{
    if (hl_popup_is_close(key) || key == HL_KEY_ENTER)
        hl_screen_close_popup(s);
    else
        (void)hl_popup_move(s, key, n_messages(s));
}

const hl_popup_class hl_popup_messages = {
    .title = "messages", .size = messages_size, .draw = messages_draw, .key = messages_key};

