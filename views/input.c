/* Keys, pastes and the mouse: to the line being typed, the popup, or through the keymap. */
#include <stdio.h>
#include <string.h>

#include "views/screen_lua.h"

/* ---- actions for every pane ---- */

static void focus_next(hl_screen *s, int by)
{
    int p = (int)hl_screen_focus(s);
    for (int i = 0; i < HL_PANE_COUNT; i++) {
        p = (p + by + HL_PANE_COUNT) % HL_PANE_COUNT;
        const bool shown =
            s->layout.pane[p].w > 0 || s->look.zoom || s->layout.size <= HL_SIZE_SMALL;
        bool in_view = (p == HL_PANE_CONSOLE && s->look.console) ||
                       (p == HL_PANE_SCRIPT && s->look.script);
        const hl_view_class *v = hl_view_get(s->look.view);
        for (int k = 0; k < v->n_nodes; k++)
            in_view |= v->nodes[k].kind == HL_NODE_PANE && v->nodes[k].pane == p &&
                       v->nodes[k].from <= s->layout.size;
        if (shown && in_view && !(s->look.hidden[s->look.view] >> p & 1) &&
            hl_pane_get((hl_pane)p)->focusable)
            break;
    }
    s->look.focus[s->look.view] = (hl_pane)p;
}

static void focus_towards(hl_screen *s, int dx, int dy)
{
    int p = (int)hl_screen_focus(s);
    for (int i = 0; i < HL_PANE_COUNT; i++) {
        const int next = hl_layout_neighbour(&s->layout, p, dx, dy);
        if (next == p)
            return;
        p = next;
        if (hl_pane_get((hl_pane)p)->focusable) {
            s->look.focus[s->look.view] = (hl_pane)p;
            return;
        }
    }
}

static void undo(hl_screen *s, bool back)
{
    hl_look *from = back ? s->before : s->after, *to = back ? s->after : s->before;
    int *n_from = back ? &s->n_before : &s->n_after, *n_to = back ? &s->n_after : &s->n_before;
    if (*n_from == 0) {
        hl_screen_say(s, HL_ROLE_TEXT, back ? "nothing to undo" : "nothing to redo");
        return;
    }
    hl_look now = s->look;
    to[(*n_to)++] = now;
    s->look = from[--*n_from];
    s->look.view = now.view; /* where one is stays */
    s->look.chart = now.chart;
    memcpy(s->look.focus, now.focus, sizeof now.focus);
    hl_screen_order(s);
    hl_screen_stay(s);
}

static void toggle_log(hl_screen *s)
{
    const hl_view v = s->look.view;
    hl_screen_remember(s);
    s->look.hidden[v] ^= UINT32_C(1) << HL_PANE_LOG;
    const bool hidden = s->look.hidden[v] >> HL_PANE_LOG & 1;
    if (hidden && hl_screen_focus(s) == HL_PANE_LOG)
        s->look.focus[v] = hl_view_get(v)->focus;
}

static void mark_run(hl_screen *s)
{
    const hl_run_row *row = hl_screen_row(s);
    if (!row)
        return;
    const bool on = !hl_screen_is_marked(s, row->dir);
    const int line = hl_screen_line(s), group = line >= 0 ? s->lines.at[line].group : -1;
    if (s->on_group && group >= 0) { /* all its runs */
        const hl_run_group *g = &s->groups.at[group];
        for (int i = 0; i < g->n; i++)
            hl_screen_mark(s, s->model.rows->at[s->order.at[g->first + i]].dir, on);
    } else {
        hl_screen_mark(s, row->dir, on);
    }
    if (hl_screen_focus(s) == HL_PANE_RUNS)
        hl_screen_move(s, 1);
}

static void begin_line(hl_screen *s, hl_mode mode)
{
    s->mode = mode;
    s->notice[0] = 0;
    s->completion = -1;
    s->line.past = mode == HL_MODE_COMMAND ? &s->commands : &s->filters;
    s->line.back = 0;
    hl_line_set(&s->line, "");
    if (mode == HL_MODE_FILTER) {
        s->filters_log = hl_screen_focus(s) == HL_PANE_LOG;
        snprintf(s->filter_before, sizeof s->filter_before, "%s",
                 s->filters_log ? s->look.log_filter : s->look.filter);
        hl_free(s->selected_before);
        s->selected_before = s->selected ? hl_strdup(s->selected) : NULL;
        hl_line_set(&s->line, s->filter_before);
    }
}

void hl_screen_begin_command(hl_screen *s, const char *text)
{
    begin_line(s, HL_MODE_COMMAND);
    hl_line_set(&s->line, text);
}

/* The views as a ring. */
static void turn_view(hl_screen *s, int by)
{
    const int n = hl_screen_tabs(s);
    hl_screen_show_tab(s, (hl_screen_tab_now(s) + by + n) % n);
}

static bool act_on_views(hl_screen *s, hl_action a)
{
    if (a >= HL_ACTION_VIEW_1 && a < HL_ACTION_VIEW_1 + HL_VIEW_LUA) { /* in the same order */
        hl_screen_set_view(s, (hl_view)(a - HL_ACTION_VIEW_1));
        return true;
    }
    switch (a) {
    case HL_ACTION_VIEW_FORECAST:
        hl_screen_set_view(s, HL_VIEW_FORECAST);
        return true;
    case HL_ACTION_NEXT_VIEW:
        turn_view(s, 1);
        return true;
    case HL_ACTION_PREVIOUS_VIEW:
        turn_view(s, -1);
        return true;
    case HL_ACTION_LAST_VIEW:
        hl_screen_set_view(s, s->last_view);
        return true;
    case HL_ACTION_NEXT_PANE:
        focus_next(s, 1);
        return true;
    case HL_ACTION_PREVIOUS_PANE:
        focus_next(s, -1);
        return true;
    case HL_ACTION_PANE_LEFT:
        focus_towards(s, -1, 0);
        return true;
    case HL_ACTION_PANE_RIGHT:
        focus_towards(s, 1, 0);
        return true;
    case HL_ACTION_PANE_UP:
        focus_towards(s, 0, -1);
        return true;
    case HL_ACTION_PANE_DOWN:
        focus_towards(s, 0, 1);
        return true;
    case HL_ACTION_ZOOM:
        hl_screen_remember(s);
        s->look.zoom = !s->look.zoom;
        return true;
    case HL_ACTION_LOG:
        toggle_log(s);
        return true;
    case HL_ACTION_UNDO:
        undo(s, true);
        return true;
    case HL_ACTION_REDO:
        undo(s, false);
        return true;
    default:
        return false;
    }
}

/* Large beside the others, then alone, then as it was. */
static void next_mode(hl_screen *s)
{
    hl_screen_remember(s);
    if (s->look.zoom)
        s->look.zoom = s->look.half = false;
    else if (s->look.half)
        s->look.zoom = true;
    else
        s->look.half = true;
}

static bool act_on_sizes(hl_screen *s, hl_action a)
{
    enum { COLUMNS = 2, ROWS = 1 };
    switch (a) {
    case HL_ACTION_MODE:
        next_mode(s);
        return true;
    case HL_ACTION_WIDER:
        hl_screen_resize_pane(s, COLUMNS, 0);
        return true;
    case HL_ACTION_NARROWER:
        hl_screen_resize_pane(s, -COLUMNS, 0);
        return true;
    case HL_ACTION_TALLER:
        hl_screen_resize_pane(s, 0, ROWS);
        return true;
    case HL_ACTION_SHORTER:
        hl_screen_resize_pane(s, 0, -ROWS);
        return true;
    case HL_ACTION_EVEN:
        hl_screen_reset_sizes(s);
        return true;
    default:
        return false;
    }
}

/* `.` does again what changed the picture: never what touches a run, moves or opens something. */
static bool is_repeated(hl_action a)
{
    switch (a) {
    case HL_ACTION_REPEAT:
    case HL_ACTION_CONTROL:
    case HL_ACTION_PAUSE:
    case HL_ACTION_CHECKPOINT:
    case HL_ACTION_EVAL:
    case HL_ACTION_QUANTIZE:
    case HL_ACTION_STOP:
    case HL_ACTION_COMMAND:
    case HL_ACTION_FILTER:
    case HL_ACTION_HELP:
    case HL_ACTION_SUSPEND:
    case HL_ACTION_QUIT:
    case HL_ACTION_RANK_TENSORS:
    case HL_ACTION_RESTORE:
    case HL_ACTION_EXPORT:
        return false;
    default:
        return a > HL_ACTION_BACK && a < HL_ACTION_COUNT;
    }
}

static bool act_on_runs(hl_screen *s, hl_action a)
{
    switch (a) {
    case HL_ACTION_MARK:
        mark_run(s);
        return true;
    case HL_ACTION_NEXT_MATCH:
        hl_screen_move(s, 1);
        return true;
    case HL_ACTION_PREVIOUS_MATCH:
        hl_screen_move(s, -1);
        return true;
    case HL_ACTION_PAUSE:
        hl_screen_pause(s);
        return true;
    case HL_ACTION_CHECKPOINT:
        hl_screen_ask(s, HL_BUS_CMD_CHECKPOINT, NULL, "checkpoint");
        return true;
    case HL_ACTION_EVAL:
        hl_screen_ask(s, HL_BUS_CMD_EVAL, NULL, "evaluate");
        return true;
    case HL_ACTION_QUANTIZE:
        hl_screen_ask(s, HL_BUS_CMD_QUANTIZE, NULL, "quantize");
        return true;
    case HL_ACTION_STOP:
        hl_screen_popup(s, &hl_popup_stop);
        return true;
    case HL_ACTION_CONTROL:
        hl_screen_popup(s, &hl_popup_control);
        return true;
    default:
        return false;
    }
}

void hl_screen_act(hl_screen *s, hl_action a)
{
    s->dirty = true;
    hl_screen_lay_out(s);
    const hl_pane_class *pane = hl_pane_get(hl_screen_focus(s));
    if (pane->act && pane->act(s, a))
        return;
    if (act_on_views(s, a) || act_on_sizes(s, a) || act_on_runs(s, a) || hl_console_act(s, a) ||
        hl_script_act(s, a))
        return;
    switch (a) {
    case HL_ACTION_COMMAND:
        begin_line(s, HL_MODE_COMMAND);
        break;
    case HL_ACTION_FILTER:
        begin_line(s, HL_MODE_FILTER);
        break;
    case HL_ACTION_HELP:
        hl_screen_popup(s, &hl_popup_help);
        break;
    case HL_ACTION_EXPORT:
        hl_screen_ask_export(s);
        break;
    case HL_ACTION_COPY_VIEW:
        hl_screen_copy_view(s);
        break;
    case HL_ACTION_MOUSE:
        hl_screen_command(s, s->settings.mouse ? "set mouse=off" : "set mouse=on");
        break;
    case HL_ACTION_REPEAT:
        if (s->repeat != HL_ACTION_NONE)
            hl_screen_act(s, s->repeat);
        break;
    case HL_ACTION_REPAINT:
        hl_term_repaint(s->term);
        break;
    case HL_ACTION_SUSPEND:
        hl_term_suspend(s->term);
        break;
    case HL_ACTION_BACK:
        if (s->look.zoom)
            s->look.zoom = false;
        else
            hl_screen_set_view(s, HL_VIEW_RUNS);
        break;
    case HL_ACTION_QUIT:
        if (s->look.zoom)
            s->look.zoom = false;
        else
            s->quit = true;
        break;
    default:
        break;
    }
}

/* ---- lines being typed ---- */

static void apply_filter(hl_screen *s, const char *text)
{
    snprintf(s->filters_log ? s->look.log_filter : s->look.filter, HL_FILTER_MAX, "%s", text);
    s->bad_word = -1;
    if (s->filters_log)
        return;
    hl_screen_order(s);
    hl_screen_stay(s);
    const hl_filter_bad *bad = hl_filter_trouble(s->filter);
    s->bad_word = bad ? (int)bad->at : -1;
    s->bad_bytes = bad ? (int)bad->n : 0;
    if (bad)
        hl_screen_say(s, HL_ROLE_WARN, "%s", bad->message);
}

static void forget_completions(hl_screen *s)
{
    for (size_t i = 0; i < s->completions.n; i++)
        hl_free(s->completions.at[i]);
    s->completions.n = 0;
    s->completion = -1;
}

/* How many bytes all candidates have in common. */
static size_t common_bytes(const hl_screen *s)
{
    size_t n = strlen(s->completions.at[0]);
    for (size_t i = 1; i < s->completions.n; i++)
        for (size_t k = 0; k < n; k++)
            if (s->completions.at[i][k] != s->completions.at[0][k])
                n = k;
    return n;
}

/* Puts the first n bytes of a candidate in the place of the word before the cursor. */
static void put_completion(hl_screen *s, const char *candidate, size_t n)
{
    hl_str text = {0};
    hl_str_addn(&text, hl_str_text(&s->line.text), s->completion_from);
    hl_str_addn(&text, candidate, n);
    const size_t cursor = text.n;
    hl_str_add(&text, hl_str_text(&s->line.text) + s->line.cursor);
    hl_line_set(&s->line, hl_str_text(&text));
    s->line.cursor = cursor <= s->line.text.n ? cursor : s->line.text.n;
    hl_str_done(&text);
}

/* What all candidates have in common; true: there is a choice among them left to make. */
static bool begin_completion(hl_screen *s)
{
    if (s->completions.n == 0)
        return false;
    const size_t n = common_bytes(s);
    const bool more = n > s->line.cursor - s->completion_from;
    put_completion(s, s->completions.at[0], n);
    if (s->completions.n == 1)
        forget_completions(s);
    return !more && s->completions.n > 0;
}

void hl_screen_completed(hl_screen *s)
{
    s->completion = -1;
    (void)begin_completion(s);
}

/* Tab: what all candidates have in common, then one after the other. */
static void complete(hl_screen *s, int by)
{
    if (s->completions.n == 0) {
        hl_command_complete(s);
        if (!begin_completion(s))
            return;
    }
    const int n = (int)s->completions.n;
    s->completion = s->completion < 0 ? (by > 0 ? 0 : n - 1) : (s->completion + by + n) % n;
    const char *candidate = s->completions.at[s->completion];
    put_completion(s, candidate, strlen(candidate));
}

static void end_filter(hl_screen *s, bool take, const char *text)
{
    if (!take) {
        apply_filter(s, s->filter_before);
        if (s->selected_before && hl_model_row(&s->model, s->selected_before))
            hl_screen_select(s, s->selected_before);
    } else if (strcmp(text, s->filter_before) != 0) {
        apply_filter(s, s->filter_before);
        hl_screen_remember(s);
        apply_filter(s, text);
        hl_history_add(&s->filters, text);
    }
    s->bad_word = -1;
}

/* A command that was wrong leaves its line for mending; the message stands above it. */
static void end_command(hl_screen *s, const char *text)
{
    s->notice[0] = 0;
    hl_history_add(&s->commands, text);
    hl_screen_command(s, text);
    if (s->notice[0] && s->notice_role == HL_ROLE_BAD && s->mode == HL_MODE_NORMAL)
        s->mode = HL_MODE_COMMAND;
}

static void end_line(hl_screen *s, bool take)
{
    const hl_mode mode = s->mode;
    char text[HL_LINE_MAX + 1];
    snprintf(text, sizeof text, "%s", hl_str_text(&s->line.text));
    s->mode = HL_MODE_NORMAL;
    s->notice[0] = 0;
    forget_completions(s);
    hl_command_preview(s, true);
    if (mode == HL_MODE_FILTER)
        end_filter(s, take, text);
    else if (take && *text)
        end_command(s, text);
}

static void line_input(hl_screen *s, const hl_input *in)
{
    if (in->key == HL_KEY_PASTE) {
        hl_line_insert(&s->line, in->text);
    } else if (in->key == HL_KEY_ESC || in->key == HL_CTRL('c')) {
        end_line(s, false);
        return;
    } else if (in->key == HL_KEY_ENTER) {
        end_line(s, true);
        return;
    } else if ((s->mode == HL_MODE_COMMAND || !s->filters_log) &&
               (in->key == HL_KEY_TAB || in->key == HL_KEY_BACK_TAB)) {
        complete(s, in->key == HL_KEY_TAB ? 1 : -1);
        hl_command_preview(s, false);
        if (s->mode == HL_MODE_FILTER)
            apply_filter(s, hl_str_text(&s->line.text));
        return;
    } else if (in->key == HL_KEY_BACKSPACE && s->line.text.n == 0) {
        end_line(s, false);
        return;
    } else {
        hl_line_key(&s->line, in->key);
    }
    forget_completions(s);
    s->notice[0] = 0;
    if (s->mode == HL_MODE_FILTER)
        apply_filter(s, hl_str_text(&s->line.text));
    else
        hl_command_preview(s, false);
}

/* ---- everything ---- */

static void key_input(hl_screen *s, const hl_input *in)
{
    const int key = in->key;
    if (s->n_keys < HL_KEYS_IN_TURN)
        s->key[s->n_keys++] = key;
    s->notice[0] = 0;
    if (hl_count_act(s, in))
        return;
    const hl_action a = hl_keymap_find(&s->keymap, hl_screen_focus(s), s->key, s->n_keys);
    if (a == HL_ACTION_PENDING)
        return;
    const int n = s->n_keys;
    s->n_keys = 0;
    if (n == 1 && hl_count_digit(s, in, a))
        return;
    if (a == HL_ACTION_NONE) {
        if (n == 1 && hl_scripted_press(s, key))
            return;
        if (n > 1 && key != HL_KEY_ESC)
            hl_screen_say(s, HL_ROLE_DIM, "no such keys; ? lists them");
        return;
    }
    if (is_repeated(a))
        s->repeat = a;
    hl_screen_act(s, a);
}

void hl_screen_input(hl_screen *s, const hl_input *in)
{
    s->dirty = true;
    switch (in->key) {
    case HL_KEY_QUIT:
        s->quit = true;
        return;
    case HL_KEY_RESIZE:
        return;
    case HL_KEY_SUSPEND:
        hl_term_suspend(s->term);
        return;
    case HL_KEY_MOUSE:
        hl_screen_mouse(s, in);
        return;
    default:
        break;
    }
    if (s->mode == HL_MODE_CONSOLE)
        hl_console_input(s, in);
    else if (s->mode == HL_MODE_SCRIPT)
        hl_script_input(s, in);
    else if (s->mode == HL_MODE_COMMAND || s->mode == HL_MODE_FILTER)
        line_input(s, in);
    else if (in->key == HL_KEY_PASTE)
        hl_screen_say(s, HL_ROLE_DIM, "a paste goes into : or / only");
    else if (s->mode == HL_MODE_POPUP)
        s->popup->key(s, in->key);
    else
        key_input(s, in);
}

/* ---- mouse ---- */

static void click_tab(hl_screen *s, int x)
{
    int at = 1;
    char key[24];
    for (int v = 0; v < hl_screen_tabs(s); v++) {
        const char *name = hl_screen_tab(s, v, key);
        if (v == HL_VIEW_FORECAST && v != hl_screen_tab_now(s)) /* not in the row */
            continue;
        const int w =
            hl_text_columns(&s->grid, name) + (*key ? hl_text_columns(&s->grid, key) + 1 : 0);
        if (x >= at && x < at + w)
            hl_screen_show_tab(s, v);
        at += w + 2;
    }
}

static hl_rect inside_of(const hl_screen *s, hl_pane p)
{
    const hl_rect r = s->layout.pane[p];
    const int edge = s->layout.frames && hl_pane_get(p)->framed;
    return (hl_rect){r.x + edge, r.y + edge, r.w - 2 * edge, r.h - 2 * edge};
}

static int clamped(int v, int n)
{
    return v < 0 ? 0 : v >= n ? n - 1 : v;
}

/* A button that is held stays in the pane where it was pressed. */
static void click_pane(hl_screen *s, hl_pane p, const hl_input *in)
{
    const hl_pane_class *k = hl_pane_get(p);
    const hl_rect r = inside_of(s, p);
    if (!k->click || s->layout.collapsed >> p & 1 || r.w < 1 || r.h < 1)
        return;
    const bool held = in->mouse.what == HL_MOUSE_DRAG || in->mouse.what == HL_MOUSE_RELEASE;
    const int x = in->mouse.x - r.x, y = in->mouse.y - r.y;
    k->click(s, held ? clamped(x, r.w) : x, held ? clamped(y, r.h) : y, in->mouse.what);
}

void hl_screen_mouse(hl_screen *s, const hl_input *in)
{
    const int x = in->mouse.x, y = in->mouse.y;
    const hl_mouse_what what = in->mouse.what;
    const bool wheel = what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN;
    if (s->mode == HL_MODE_POPUP) {
        if (wheel)
            s->popup->key(s, what == HL_MOUSE_WHEEL_UP ? HL_KEY_UP : HL_KEY_DOWN);
        return;
    }
    if (s->mode != HL_MODE_NORMAL)
        return;
    hl_screen_drag(s, in);
    if (what == HL_MOUSE_PRESS && hl_rect_has(s->layout.tabs, x, y)) {
        click_tab(s, x);
        return;
    }
    if (what == HL_MOUSE_DRAG || what == HL_MOUSE_RELEASE) {
        if (s->mouse_pane < HL_PANE_COUNT)
            click_pane(s, s->mouse_pane, in);
        s->mouse_pane = what == HL_MOUSE_RELEASE ? HL_PANE_COUNT : s->mouse_pane;
        return;
    }
    s->mouse_pane = HL_PANE_COUNT;
    for (int p = 0; p < HL_PANE_COUNT; p++) {
        if (!hl_rect_has(s->layout.pane[p], x, y))
            continue;
        const bool press = what == HL_MOUSE_PRESS || what == HL_MOUSE_DOUBLE;
        if (press && hl_pane_get((hl_pane)p)->focusable)
            s->look.focus[s->look.view] = (hl_pane)p;
        if (wheel || hl_rect_has(inside_of(s, (hl_pane)p), x, y)) {
            s->mouse_pane = press && s->dragged.split < 0 ? (hl_pane)p : HL_PANE_COUNT;
            click_pane(s, (hl_pane)p, in);
        }
        return;
    }
}
