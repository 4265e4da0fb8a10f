/* Puts the picture together: header, panes, tabs, hints or the line being typed, popups. */
#include <stdio.h>
#include <string.h>

#include "views/screen.h"
#include "views/widgets/number.h"

/* ---- header ---- */

static void put_run_header(hl_screen *s, hl_canvas c, int x)
{
    const hl_run_row *row = hl_screen_row(s);
    char step[HL_NUMBER_MAX], total[HL_NUMBER_MAX];
    if (!row) {
        hl_put(c, x, 0, HL_STYLE(DIM), "no run");
        return;
    }
    const hl_run_state now = hl_model_state(&s->model, row);
    const hl_style state = {.role = (uint8_t)hl_state_role(now)};
    const int room = c.r.w - x > 44 ? c.r.w - x - 38 : (c.r.w - x) / 2;
    x += hl_put_cut(c, x, 0, room, (hl_style){HL_ROLE_TITLE, HL_BOLD}, row->name) + 1;
    if (c.r.w >= 60) {
        const size_t n = strlen(row->id);
        x += hl_putf(c, x, 0, HL_STYLE(DIM), "#%s", row->id + (n > 4 ? n - 4 : 0)) + 2;
    }
    hl_put_sign(c, x, 0, state, hl_state_sign(now));
    x += 2;
    if (c.r.w >= 40)
        x += hl_put(c, x, 0, state, hl_run_state_name(now)) + 2;
    if (row->step >= 0 && c.r.w >= 60)
        x += hl_putf(c, x, 0, HL_STYLE(TEXT), "step %s%s%s", hl_format_count(step, row->step),
                     row->step_total > 0 ? "/" : "",
                     row->step_total > 0 ? hl_format_count(total, row->step_total) : "") +
             2;
    if (row->step >= 0 && row->step_total > 0)
        hl_putf(c, x, 0, HL_STYLE(TEXT), "%.0f%%",
                100.0 * (double)row->step / (double)row->step_total);
}

/* Runs that were started from here and have not said a word yet; gives the columns used. */
static int put_starting(const hl_screen *s, hl_canvas c, int x)
{
    int used = 0;
    for (int i = 0; i < HL_LAUNCHES_MAX; i++)
        if (s->launched[i].launch && !s->launched[i].heard)
            used += hl_putf(c, x + used, 0, HL_STYLE(LIVE), "%s%s  ",
                            s->launched[i].is_job ? "" : "starting ", s->launched[i].name);
    return used;
}

/* Counted once for each list. */
static int count_live(hl_screen *s)
{
    if (s->live_of == s->model.n_lists)
        return s->n_live;
    s->live_of = s->model.n_lists;
    s->n_live = 0;
    for (size_t i = 0; s->model.rows && i < s->model.rows->n; i++)
        s->n_live += hl_state_is_live(s->model.rows->at[i].state);
    return s->n_live;
}

static void put_header(hl_screen *s, hl_canvas c)
{
    int x = 0;
    if (c.r.w >= 60)
        x = 1 + hl_put(c, 1, 0, (hl_style){HL_ROLE_TITLE, HL_BOLD}, "hoplab") + 2;
    if (s->look.view != HL_VIEW_RUNS) {
        put_run_header(s, c, x);
        return;
    }
    const size_t n = s->model.rows ? s->model.rows->n : 0;
    x += hl_putf(c, x, 0, HL_STYLE(TEXT), "%zu run%s", n, n == 1 ? "" : "s") + 2;
    const int live = count_live(s);
    if (live) {
        hl_put_sign(c, x, 0, HL_STYLE(LIVE), HL_SIGN_RUNNING);
        x += 2 + hl_putf(c, x + 2, 0, HL_STYLE(LIVE), "%d live", live) + 2;
    }
    x += put_starting(s, c, x);
    hl_put_cut(c, x, 0, c.r.w - x, HL_STYLE(DIM), s->model.runs_dir);
}

/* ---- bottom lines ---- */

static void put_tabs(hl_screen *s, hl_canvas c)
{
    int x = 1;
    char key[24];
    for (int v = 0; v < hl_screen_tabs(s); v++) {
        const bool now = v == hl_screen_tab_now(s);
        if (v == HL_VIEW_FORECAST && !now) /* it belongs to runs of series, and has no digit */
            continue;
        const char *name = hl_screen_tab(s, v, key);
        const hl_style style =
            now ? (hl_style){HL_ROLE_FOCUS, HL_BOLD | HL_UNDERLINE} : HL_STYLE(DIM);
        x += hl_putf(c, x, 0, style, "%s%s%s", key, *key ? " " : "", name) + 2;
    }
}

static void put_hints(hl_screen *s, hl_canvas c)
{
    static const struct {
        hl_action action;
        const char *word;
    } hints[] = {{HL_ACTION_HELP, "help"},       {HL_ACTION_COMMAND, "command"},
                 {HL_ACTION_FILTER, "filter"},   {HL_ACTION_NEXT_PANE, "pane"},
                 {HL_ACTION_ZOOM, "zoom"},       {HL_ACTION_MARK, "mark"},
                 {HL_ACTION_CONTROL, "control"}, {HL_ACTION_QUIT, "quit"}};
    const bool wide = c.r.w >= 40;
    int x = wide;
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        char keys[64];
        hl_keymap_keys(&s->keymap, hints[i].action, keys);
        const int need = hl_text_columns(c.grid, keys) + hl_text_columns(c.grid, hints[i].word) + 1;
        if (!*keys || x + need > c.r.w)
            continue;
        x += hl_put(c, x, 0, HL_STYLE(KEY), keys) + wide;
        x += hl_put(c, x, 0, HL_STYLE(DIM), hints[i].word) + 1 + wide;
    }
    const double ms = hl_term_round_trip_ms(s->term);
    if (ms >= 0 && c.r.w - x >= 9) {
        hl_put_sign(c, c.r.w - 8, 0, HL_STYLE(DIM), HL_SIGN_LINK);
        hl_putf(c, c.r.w - 6, 0, ms > 300 ? HL_STYLE(WARN) : HL_STYLE(DIM), "%.2fs", ms / 1000);
    }
}

/* The word that the filter cannot understand (yet). A line wider than the terminal is not marked:
 * it is scrolled. */
static void underline_word(const hl_screen *s, hl_canvas c)
{
    const char *text = hl_str_text(&s->line.text), *word = text + s->bad_word;
    hl_str head = {0}, bad = {0};
    hl_str_addn(&head, text, (size_t)s->bad_word);
    hl_str_addn(&bad, word, (size_t)s->bad_bytes);
    if (hl_text_columns(c.grid, text) < c.r.w - 1)
        hl_restyle(c, 1 + hl_text_columns(c.grid, hl_str_text(&head)), 0,
                   hl_text_columns(c.grid, hl_str_text(&bad)), 1,
                   (hl_style){HL_ROLE_WARN, HL_UNDERLINE});
    hl_str_done(&head);
    hl_str_done(&bad);
}

/* The word that the complaint has in quotes. */
static void underline_complaint(const hl_screen *s, hl_canvas c)
{
    char word[120];
    const char *line = hl_str_text(&s->line.text), *open = strchr(s->notice, '\'');
    const size_t n = open ? strcspn(open + 1, "'") : 0;
    if (s->notice_role != HL_ROLE_BAD || n == 0 || n >= sizeof word || open[n + 1] != '\'')
        return;
    snprintf(word, sizeof word, "%.*s", (int)n, open + 1);
    const char *at = strstr(line, word);
    if (!at || hl_text_columns(c.grid, line) >= c.r.w - 1)
        return;
    hl_str head = {0};
    hl_str_addn(&head, line, (size_t)(at - line));
    hl_restyle(c, 1 + hl_text_columns(c.grid, hl_str_text(&head)), 0, hl_text_columns(c.grid, word),
               1, (hl_style){HL_ROLE_BAD, HL_UNDERLINE});
    hl_str_done(&head);
}

/* The bottom line: what is typed, or the last result, or the hints. */
static void put_bottom(hl_screen *s, hl_canvas c)
{
    if (s->mode == HL_MODE_COMMAND || s->mode == HL_MODE_FILTER) {
        hl_line_draw(c, &s->line, s->mode == HL_MODE_COMMAND ? ":" : "/");
        if (s->mode == HL_MODE_FILTER && s->bad_word >= 0)
            underline_word(s, c);
        if (s->mode == HL_MODE_COMMAND)
            underline_complaint(s, c);
    } else if (s->mode == HL_MODE_SCRIPT && !s->notice[0]) {
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM),
                   s->script.searching ? "Enter ends  n N go on  Esc"
                                       : "Esc saves and ends  C-s saves  C-_ undoes  A-_ redoes  "
                                         "C-c gives the changes up");
    } else if (s->mode == HL_MODE_CONSOLE && !s->notice[0]) {
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM),
                   "Enter runs  Tab completes  Esc back to keys  C-c interrupts  help()");
    } else if (s->n_keys) {
        char name[24];
        int x = 1;
        for (int i = 0; i < s->n_keys; i++)
            x += hl_put(c, x, 0, HL_STYLE(KEY), hl_key_name(name, s->key[i])) + 1;
    } else if (s->notice[0]) {
        hl_put_cut(c, c.r.w >= 40, 0, c.r.w - (c.r.w >= 40),
                   (hl_style){.role = (uint8_t)s->notice_role}, s->notice);
    } else {
        put_hints(s, c);
    }
}

static void put_complaint(hl_screen *s, hl_canvas c)
{
    const bool typing = s->mode == HL_MODE_COMMAND || s->mode == HL_MODE_FILTER;
    if (!typing || !s->notice[0] || c.r.h < 3)
        return;
    const hl_canvas row = hl_canvas_part(c, 0, c.r.h - 2, c.r.w, 1);
    hl_blank(row, 0, 0, row.r.w, 1, HL_STYLE(TEXT));
    hl_put_cut(row, 1, 0, row.r.w - 1, (hl_style){.role = (uint8_t)s->notice_role}, s->notice);
}

static void put_completions(hl_screen *s, hl_canvas c)
{
    const int n = (int)s->completions.n, most = c.r.h - 3 < 8 ? c.r.h - 3 : 8;
    const bool typing = s->mode == HL_MODE_COMMAND || s->mode == HL_MODE_FILTER;
    if (!typing || n < 2 || most < 1)
        return;
    const int shown = n < most ? n : most;
    const int first = s->completion >= shown ? s->completion - shown + 1 : 0;
    const int w = c.r.w < 48 ? c.r.w : 48;
    const hl_canvas box = hl_canvas_part(c, 0, c.r.h - 1 - shown, w, shown);
    hl_blank(box, 0, 0, w, shown, HL_STYLE(TEXT));
    for (int i = 0; i < shown; i++) {
        const bool now = first + i == s->completion;
        if (now)
            hl_blank(box, 0, i, w, 1, HL_STYLE(SELECT));
        hl_put_cut(box, 1, i, w - 1, now ? HL_STYLE(SELECT) : HL_STYLE(DIM),
                   s->completions.at[first + i]);
    }
}

/* ---- panes ---- */

int hl_list_scroll(int *top, int cursor, int n, int visible)
{
    if (cursor >= 0 && cursor < *top)
        *top = cursor;
    if (cursor >= 0 && cursor >= *top + visible)
        *top = cursor - visible + 1;
    if (*top > n - visible)
        *top = n - visible;
    return *top = *top < 0 ? 0 : *top;
}

const char *hl_unknown(const hl_canvas *c)
{
    return hl_has_signs(c->grid) ? "\xe2\x80\x93" : "-";
}

bool hl_screen_put_trouble(hl_screen *s, hl_canvas c)
{
    const hl_watched *w = hl_screen_run(s);
    const char *none = "no run: 1 shows the list";
    if (hl_screen_row(s) && hl_screen_row(s)->waits) {
        hl_put_cut(c, 1, 0, c.r.w - 1, HL_STYLE(DIM), hl_screen_row(s)->phase);
        return true;
    }
    if (hl_screen_row(s) && !(w && w->message))
        return false;
    hl_put_cut(c, 1, 0, c.r.w - 1, w ? HL_STYLE(BAD) : HL_STYLE(DIM), w ? w->message : none);
    return true;
}

static void pane_title(hl_screen *s, hl_pane p, char *buf, size_t n)
{
    const hl_pane_class *k = hl_pane_get(p);
    snprintf(buf, n, "%s", hl_pane_name(p));
    if (k->title)
        k->title(s, buf, n);
}

static void put_pane(hl_screen *s, hl_pane p)
{
    const hl_pane_class *k = hl_pane_get(p);
    const hl_rect r = s->layout.pane[p];
    const bool focused = p == hl_screen_focus(s);
    hl_canvas c = hl_canvas_part(hl_grid_canvas(&s->grid), r.x, r.y, r.w, r.h);
    char title[256];
    pane_title(s, p, title, sizeof title);
    if (s->layout.collapsed >> p & 1) {
        hl_put_sign(c, 0, 0, HL_STYLE(DIM), HL_SIGN_H_LIGHT);
        hl_put_cut(c, 2, 0, c.r.w - 2, HL_STYLE(DIM), title);
        return;
    }
    if (s->layout.frames && k->framed)
        c = hl_put_frame(c, focused && k->focusable, title);
    k->draw(s, c, focused);
}

static void put_popup(hl_screen *s)
{
    hl_canvas c = hl_grid_canvas(&s->grid);
    int w, h;
    s->popup->size(s, &w, &h);
    w = w + 4 > c.r.w ? c.r.w : w + 4;
    h = h + 2 > c.r.h - 1 ? c.r.h - 1 : h + 2;
    c = hl_canvas_part(c, (c.r.w - w) / 2, (c.r.h - h) / 2, w, h);
    hl_blank(c, 0, 0, w, h, HL_STYLE(TEXT));
    c = hl_put_frame(c, true, s->popup->title);
    s->popup->draw(s, hl_canvas_part(c, 1, 0, c.r.w - 2, c.r.h));
}

void hl_screen_paint(hl_screen *s)
{
    const hl_canvas all = hl_grid_canvas(&s->grid);
    const hl_rect h = s->layout.header, t = s->layout.tabs, b = s->layout.hints;
    if (s->layout.size == HL_SIZE_BELOW) {
        char text[64];
        snprintf(text, sizeof text, "20x5 needed, have %dx%d", s->grid.cols, s->grid.rows);
        hl_put_cut(all, 0, 0, s->grid.cols, HL_STYLE(WARN), text);
        return;
    }
    put_header(s, hl_canvas_part(all, h.x, h.y, h.w, h.h));
    for (int p = 0; p < HL_PANE_COUNT; p++)
        if (s->layout.pane[p].w > 0)
            put_pane(s, (hl_pane)p);
    if (t.h)
        put_tabs(s, hl_canvas_part(all, t.x, t.y, t.w, t.h));
    put_bottom(s, hl_canvas_part(all, b.x, b.y, b.w, b.h));
    put_complaint(s, all);
    put_completions(s, all);
    if (s->mode == HL_MODE_POPUP && s->popup)
        put_popup(s);
}
