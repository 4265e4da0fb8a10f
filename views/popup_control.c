/* The menus of controls: what can be asked of a run, its knobs, and the question before it is
 * stopped. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "views/screen.h"
#include "views/widgets/number.h"

/* ---- menus ---- */

typedef struct menu_row {
    char key;
    const char *text;
} menu_row;

static void menu_draw(hl_screen *s, hl_canvas c, const menu_row *rows, int n, const char *head)
{
    const int visible = c.r.h > 1 ? c.r.h - 1 : 1, top = hl_popup_scrolled(s, visible);
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
    if (!hl_popup_move(s, key, n) && hl_popup_is_close(key))
        hl_screen_close_popup(s);
    return -1;
}

enum { CONTROL_ROWS = 9 };
static const menu_row control_menu[CONTROL_ROWS] = {
    {'p', "pause, or resume"},
    {'c', "checkpoint now"},
    {'e', "evaluate now"},
    {'n', "quantize now"},
    {'r', "change a knob ..."},
    {'d', "learning rate back to its schedule"},
    {'w', "withdraw the last request"},
    {'t', "take the controls from whoever has them"},
    {'s', "stop ..."},
};

static void control_size(hl_screen *s, int *w, int *h)
{
    (void)s;
    *w = 64;
    *h = CONTROL_ROWS + 1;
}

static void control_draw(hl_screen *s, hl_canvas c)
{
    const hl_run_row *row = hl_screen_row(s);
    char head[240] = "", who[80];
    if (row && *hl_screen_holder(s, row->dir, who))
        snprintf(head, sizeof head, "%s is %s; controls: %s", row->name,
                 hl_run_state_name(hl_model_state(&s->model, row)), who);
    else if (row)
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
    case 'w':
        hl_screen_cancel(s, NULL);
        break;
    case 't':
        hl_screen_command(s, "steal");
        break;
    default:
        hl_screen_popup(s, &hl_popup_knobs);
    }
}

const hl_popup_class hl_popup_control = {
    .title = "control", .size = control_size, .draw = control_draw, .key = control_key};

/* ---- stop ---- */

enum { STOP_ROWS = 4, STOP_HARMLESS = 0, STOP_WITHOUT = 1, STOP_ABORT = 2 };
static const menu_row stop_menu[STOP_ROWS] = {
    {'f', "finish the step, write a checkpoint, stop"},
    {'w', "stop without a checkpoint (type the run's name)"},
    {'a', "abort now, in the middle of it (type the run's name)"},
    {'n', "do not stop"},
};

static bool needs_name(const hl_screen *s)
{
    return s->popup_row == STOP_WITHOUT || s->popup_row == STOP_ABORT;
}

static void stop_size(hl_screen *s, int *w, int *h)
{
    (void)s;
    *w = 60;
    *h = STOP_ROWS + 2;
}

static void stop_draw(hl_screen *s, hl_canvas c)
{
    const hl_run_row *row = hl_screen_row(s);
    const bool typing = needs_name(s);
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
    const bool aborts = s->popup_row == STOP_ABORT;
    if (key != HL_KEY_ENTER) {
        hl_line_key(&s->line, key);
    } else if (row && strcmp(row->name, hl_str_text(&s->line.text)) == 0) {
        hl_screen_close_popup(s);
        if (aborts)
            hl_screen_abort(s);
        else
            hl_screen_stop(s, false);
    } else {
        hl_screen_say(s, HL_ROLE_WARN, "that is not the run's name; it goes on");
    }
}

static void stop_key(hl_screen *s, int key)
{
    if (needs_name(s) && key != HL_KEY_UP && key != HL_KEY_DOWN && key != HL_KEY_ESC &&
        key != HL_CTRL('c')) {
        type_name(s, key);
        return;
    }
    const int choice = menu_choice(s, key, stop_menu, STOP_ROWS);
    if (choice < 0)
        return;
    s->popup_row = choice;
    if (needs_name(s))
        return;
    hl_screen_close_popup(s);
    if (choice == STOP_HARMLESS)
        hl_screen_stop(s, true);
}

const hl_popup_class hl_popup_stop = {
    .title = "stop", .size = stop_size, .draw = stop_draw, .key = stop_key};

/* ---- knobs ---- */

static const hl_json *knobs_of(hl_screen *s)
{
    const hl_watched *w = hl_screen_run(s);
    return w ? w->knobs : NULL;
}

void hl_knob_text(hl_screen *s, const hl_json *knob, char *value, char *pending, size_t n)
{
    const hl_run_row *row = hl_screen_row(s);
    char what[80];
    snprintf(what, sizeof what, "set %s=", hl_json_key(knob));
    hl_format_value(value, hl_json_num_at(knob, "value"));
    if (strcmp(hl_json_key(knob), "lr") == 0) { /* it moves with its schedule */
        double lr;
        if (hl_watched_last(hl_screen_run(s), "train/lr", &lr) &&
            !hl_json_bool(hl_json_get(knob, "held"), false))
            hl_format_value(value, lr);
    }
    pending[0] = 0;
    for (size_t i = s->requests.asked.n; row && i-- > 0;) {
        const hl_asked *a = &s->requests.asked.at[i];
        if (a->is_open && strcmp(a->dir, row->dir) == 0 && hl_str_starts(a->what, what)) {
            snprintf(pending, n, "%s", a->what + strlen(what));
            return;
        }
    }
}

static void knobs_size(hl_screen *s, int *w, int *h)
{
    const int n = hl_json_len(knobs_of(s));
    *w = 70;
    *h = (n > 0 ? n : 1) + 2;
}

static void put_knob(hl_screen *s, hl_canvas c, const hl_json *k, bool now)
{
    const hl_style text = now ? HL_STYLE(SELECT) : HL_STYLE(TEXT);
    char value[HL_NUMBER_MAX], pending[40], ends[2][HL_NUMBER_MAX], range[80];
    hl_knob_text(s, k, value, pending, sizeof pending);
    hl_format_value(ends[0], hl_json_num_at(k, "min"));
    snprintf(range, sizeof range, "%s or more", ends[0]);
    if (hl_json_get(k, "max"))
        snprintf(range, sizeof range, "%s to %s", ends[0],
                 hl_format_value(ends[1], hl_json_num_at(k, "max")));
    if (now)
        hl_blank(c, 0, 0, c.r.w, 1, text);
    hl_put_cut(c, 1, 0, 21, text, hl_json_key(k));
    hl_put_right(c, 32, 0, text, value);
    hl_put_cut(c, 34, 0, 10, now ? text : HL_STYLE(WARN),
               *pending                                      ? pending
               : hl_json_bool(hl_json_get(k, "held"), false) ? "held"
                                                             : hl_json_str(hl_json_get(k, "schedule"), ""));
    hl_put_cut(c, 45, 0, c.r.w - 45, now ? text : HL_STYLE(DIM), range);
}

static void knobs_draw(hl_screen *s, hl_canvas c)
{
    const hl_json *knobs = knobs_of(s);
    const int n = hl_json_len(knobs), visible = c.r.h > 2 ? c.r.h - 2 : 1,
              top = hl_popup_scrolled(s, visible);
    hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM), "knob");
    hl_put_right(c, 32, 0, HL_STYLE(DIM), "value");
    hl_put_cut(c, 34, 0, c.r.w - 34, HL_STYLE(DIM), "pending");
    hl_put_cut(c, 45, 0, c.r.w - 45, HL_STYLE(DIM), "may be");
    if (n == 0)
        hl_put_cut(c, 1, 1, c.r.w - 1, HL_STYLE(DIM), "this run says of no knob");
    for (int i = 0; i < visible && top + i < n; i++)
        put_knob(s, hl_canvas_part(c, 0, 1 + i, c.r.w, 1), hl_json_at(knobs, top + i),
                 top + i == s->popup_row);
    hl_put_cut(c, 0, c.r.h - 1, c.r.w, HL_STYLE(DIM),
               "Enter changes one; d: back to what it was; Esc closes");
}

static void knobs_key(hl_screen *s, int key)
{
    const hl_json *knobs = knobs_of(s);
    const int n = hl_json_len(knobs);
    char line[120];
    if ((key == HL_KEY_ENTER || key == 'd') && s->popup_row < n) {
        snprintf(line, sizeof line, "knob %s=%s", hl_json_key(hl_json_at(knobs, s->popup_row)),
                 key == 'd' ? "schedule" : "");
        if (key == 'd') {
            hl_screen_command(s, line);
            return;
        }
        hl_screen_close_popup(s);
        hl_screen_act(s, HL_ACTION_COMMAND);
        hl_line_set(&s->line, line);
    } else if (!hl_popup_move(s, key, n) && hl_popup_is_close(key)) {
        hl_screen_close_popup(s);
    }
}

const hl_popup_class hl_popup_knobs = {
    .title = "knobs", .size = knobs_size, .draw = knobs_draw, .key = knobs_key};
