/* The console of the screen's Lua: typing, and what was said. */
#include <stdio.h>
#include <string.h>

#include "views/screen_lua.h"

/* ---- typing ---- */

void hl_console_type(hl_screen *s)
{
    s->mode = HL_MODE_CONSOLE;
    s->notice[0] = 0;
    s->console.line.back = 0;
    s->console.back = 0;
}

static void enter(hl_screen *s)
{
    hl_console *k = &s->console;
    hl_history_add(&k->history, hl_str_text(&k->line.text));
    k->back = 0;
    if (hl_console_order_text(s, "eval", hl_str_text(&k->line.text), false) >= 0) {
        hl_line_set(&k->line, "");
        k->line.back = 0;
    }
}

/* The lines of a paste one by one; the last one stays to be looked at, unless it is ended. */
static void paste(hl_screen *s, const char *text)
{
    hl_str line = {0};
    while (*text) {
        const size_t n = strcspn(text, "\r\n");
        hl_str_clear(&line);
        hl_str_addn(&line, text, n);
        hl_line_insert(&s->console.line, hl_str_text(&line));
        text += n;
        if (!*text)
            break;
        text += text[0] == '\r' && text[1] == '\n' ? 2 : 1;
        enter(s);
    }
    hl_str_done(&line);
}

/* C-c: first what runs, then what is typed. */
static void cancel(hl_screen *s)
{
    hl_console *k = &s->console;
    int64_t ns;
    if (k->state && k->lua->busy(k->state, &ns) > 0) {
        k->lua->interrupt(k->state);
        return;
    }
    hl_line_set(&k->line, "");
    if (k->more)
        (void)hl_console_order(s, "cancel", NULL, 0);
}

static void ask_completion(hl_screen *s)
{
    hl_console *k = &s->console;
    hl_str head = {0};
    hl_str_addn(&head, hl_str_text(&k->line.text), k->line.cursor);
    if (!k->completing)
        k->completing = hl_console_order_text(s, "complete", hl_str_text(&head), false);
    if (k->completing < 0)
        k->completing = 0;
    hl_str_done(&head);
}

static void scroll(hl_console *k, int rows)
{
    k->back += rows;
    if (k->back < 0)
        k->back = 0;
}

static bool control_key(hl_screen *s, int key)
{
    hl_console *k = &s->console;
    switch (key) {
    case HL_KEY_ESC:
        s->mode = HL_MODE_NORMAL;
        return true;
    case HL_KEY_ENTER:
        enter(s);
        return true;
    case HL_KEY_TAB:
        ask_completion(s);
        return true;
    case HL_CTRL('c'):
        cancel(s);
        return true;
    case HL_CTRL('d'):
        if (k->line.text.n == 0)
            s->mode = HL_MODE_NORMAL;
        return k->line.text.n == 0;
    case HL_CTRL('l'):
        hl_console_forget(k);
        return true;
    case HL_KEY_PAGE_UP:
        scroll(k, 8);
        return true;
    case HL_KEY_PAGE_DOWN:
        scroll(k, -8);
        return true;
    default:
        return false;
    }
}

/* Under the Lua view the console is there already. */
static void toggle(hl_screen *s)
{
    const hl_view v = s->look.view;
    const bool on = v == HL_VIEW_LUA || !s->look.console;
    if (v != HL_VIEW_LUA)
        s->look.console = on;
    if (on) {
        s->look.focus[v] = HL_PANE_CONSOLE;
        hl_console_type(s);
    } else if (hl_screen_focus(s) == HL_PANE_CONSOLE) {
        s->look.focus[v] = hl_view_get(v)->focus;
    }
}

bool hl_console_act(hl_screen *s, hl_action a)
{
    if (a == HL_ACTION_CONSOLE) {
        toggle(s);
        return true;
    }
    if (a != HL_ACTION_VIEW_8)
        return false;
    hl_screen_set_view(s, HL_VIEW_LUA);
    s->look.focus[HL_VIEW_LUA] = HL_PANE_CONSOLE;
    hl_console_type(s);
    return true;
}

void hl_console_input(hl_screen *s, const hl_input *in)
{
    s->notice[0] = 0;
    if (in->key != HL_KEY_TAB)
        s->console.asked_again = false;
    if (in->key == HL_KEY_PASTE)
        paste(s, in->text);
    else if (!control_key(s, in->key))
        hl_line_key(&s->console.line, in->key);
}

/* ---- the pane ---- */

static void title(hl_screen *s, char *buf, size_t n)
{
    double seconds;
    const hl_console *k = &s->console;
    if (hl_console_running(s, &seconds) && seconds >= .5)
        snprintf(buf, n, "Lua  running %.1f s, C-c interrupts", seconds);
    else
        snprintf(buf, n, k->back ? "Lua  scrolled, G follows" : "Lua");
}

/* Rows that a line takes when it is wrapped. */
static int rows_of(const hl_grid *g, const hl_console_line *l, int w)
{
    const int n = hl_text_columns(g, l->text);
    return n == 0 ? 1 : (n + w - 1) / w;
}

static void draw_lines(hl_console *k, hl_canvas c)
{
    int total = 0;
    if (c.r.w < 1 || c.r.h < 1)
        return;
    for (size_t i = 0; i < k->lines.n; i++)
        total += rows_of(c.grid, &k->lines.at[i], c.r.w);
    if (k->back > total - c.r.h)
        k->back = total > c.r.h ? total - c.r.h : 0;
    int y = c.r.h + k->back;
    if (y > total)
        y = total; /* few lines stand at the top */
    for (size_t i = k->lines.n; i-- > 0 && y > 0;) {
        const hl_console_line *l = &k->lines.at[i];
        const int n = rows_of(c.grid, l, c.r.w);
        y -= n;
        for (int row = 0; row < n; row++)
            hl_put(hl_canvas_part(c, 0, y + row, c.r.w, y + row >= 0 ? 1 : 0), -row * c.r.w, 0,
                   (hl_style){.role = (uint8_t)l->role}, l->text);
    }
}

static void draw(hl_screen *s, hl_canvas c, bool focused)
{
    hl_console *k = &s->console;
    const char *prompt = k->more ? ">> " : "> ";
    int total = 0;
    (void)focused;
    for (size_t i = 0; i < k->lines.n && total < c.r.h; i++)
        total += c.r.w > 0 ? rows_of(c.grid, &k->lines.at[i], c.r.w) : 0;
    const int y = total < c.r.h - 1 ? total : c.r.h - 1;
    draw_lines(k, hl_canvas_part(c, 0, 0, c.r.w, y));
    const hl_canvas last = hl_canvas_part(c, 0, y, c.r.w, 1);
    if (s->mode == HL_MODE_CONSOLE) {
        hl_line_draw(last, &k->line, prompt);
        return;
    }
    const int x = hl_put(last, 0, 0, HL_STYLE(DIM), prompt);
    hl_put_cut(last, x, 0, c.r.w - x, HL_STYLE(DIM),
               k->line.text.n ? hl_str_text(&k->line.text)
               : k->lines.n   ? ""
                              : "Enter types Lua here; help() tells what there is");
}

static bool act(hl_screen *s, hl_action a)
{
    hl_console *k = &s->console;
    double seconds;
    switch (a) {
    case HL_ACTION_OPEN:
        hl_console_type(s);
        return true;
    case HL_ACTION_QUIT: /* as the title says; the screen is left by the next one */
        if (!hl_console_running(s, &seconds))
            return false;
        k->lua->interrupt(k->state);
        return true;
    case HL_ACTION_UP:
        scroll(k, 1);
        return true;
    case HL_ACTION_DOWN:
        scroll(k, -1);
        return true;
    case HL_ACTION_PAGE_UP:
        scroll(k, 8);
        return true;
    case HL_ACTION_PAGE_DOWN:
        scroll(k, -8);
        return true;
    case HL_ACTION_TOP:
        scroll(k, 1 << 20);
        return true;
    case HL_ACTION_BOTTOM:
        k->back = 0;
        return true;
    default:
        return false;
    }
}

static void click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    (void)x;
    (void)y;
    if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN)
        scroll(&s->console, what == HL_MOUSE_WHEEL_UP ? 3 : -3);
    else if (what == HL_MOUSE_PRESS)
        hl_console_type(s);
}

const hl_pane_class hl_pane_console = {
    .framed = true, .focusable = true, .title = title, .draw = draw, .act = act, .click = click};
