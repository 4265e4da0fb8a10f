/* What the run said: log lines, states, checkpoints, controls and alerts. Follows what comes until
 * one moves up: then the line under the cursor stays. */
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "views/log_list.h"
#include "views/screen.h"

static hl_role role_of(char level)
{
    switch (level) {
    case 'W':
        return HL_ROLE_WARN;
    case 'E':
        return HL_ROLE_BAD;
    case 'C':
        return HL_ROLE_KEY;
    case 'S':
        return HL_ROLE_DIM;
    default:
        return HL_ROLE_TEXT;
    }
}

/* Levels that are shown, from all of them to errors alone. */
static const struct {
    const char *letters, *name;
} levels[] = {{"IWECS", "all"},
              {"WEC", "warnings, errors, controls"},
              {"WE", "warnings, errors"},
              {"E", "errors"}};
enum { N_LEVELS = sizeof levels / sizeof levels[0] };

/* Letters of the levels shown; "": all. */
static const char *letters(const hl_screen *s)
{
    const int level = s->look.log_level % N_LEVELS;
    return level ? levels[level].letters : "";
}

/* What a search elsewhere in the log has come to. */
static void take_found(hl_screen *s, hl_watched *w)
{
    const hl_log_ask none = w->window.found_none;
    if (w->window.has_found)
        s->log_last = w->window.found;
    if (none == HL_LOG_ASK_EARLIER || none == HL_LOG_ASK_LATER)
        hl_screen_say(s, HL_ROLE_TEXT, "no %s warning or error",
                      none == HL_LOG_ASK_LATER ? "later" : "earlier");
    else if (none != HL_LOG_ASK_NOTHING)
        hl_screen_say(s, HL_ROLE_WARN, "the log has no such line%s",
                      hl_watched_has_end(w) ? "" : " yet: it is being indexed");
    w->window.has_found = false;
    w->window.found_none = HL_LOG_ASK_NOTHING;
}

/* Room for them is the screen's own. */
static const hl_log_list *find_lines(hl_screen *s, int rows)
{
    hl_watched *w = hl_screen_run(s);
    if (!w)
        return NULL;
    if (!s->log_lines)
        s->log_lines = hl_alloc(sizeof(hl_log_list));
    if (!s->log_lines)
        return NULL;
    take_found(s, w);
    const hl_log_sight sight = {
        .levels = letters(s), .words = s->look.log_filter, .place = s->log_last, .rows = rows};
    hl_log_list_make(s->log_lines, &s->model, w, &sight);
    return s->log_lines;
}

static int rows_of(const hl_screen *s)
{
    const int h = s->layout.pane[HL_PANE_LOG].h - 2 * s->layout.frames;
    return h > 0 ? h : 1;
}

/* What is not known yet, and how far it is. */
static size_t title_progress(const hl_watched *w, char *buf, size_t n)
{
    const hl_log_window *v = &w->window;
    if (v->asking != HL_LOG_ASK_NOTHING && v->percent >= 0)
        return (size_t)snprintf(buf, n, "  looking at %d %%, Esc stops", v->percent);
    if (!hl_watched_has_end(w))
        return (size_t)snprintf(buf, n, "  indexing %d %%",
                                (int)(100.0 * (double)w->bytes_done / (double)w->bytes_total));
    return 0;
}

static void title(hl_screen *s, char *buf, size_t n)
{
    const hl_watched *w = hl_screen_run(s);
    const int level = s->look.log_level % N_LEVELS;
    size_t used =
        (size_t)snprintf(buf, n, "log%s%s%s%s", level ? "  " : "", level ? levels[level].name : "",
                         s->look.log_filter[0] ? "  /" : "", s->look.log_filter);
    if (w && used < n)
        used += title_progress(w, buf + used, n - used);
    const hl_log_list *f = w && s->log_last >= 0 ? find_lines(s, rows_of(s)) : NULL;
    if (f && f->below > 0 && used < n)
        snprintf(buf + used, n - used, "  %lld below, G follows", (long long)f->below);
    else if (f && f->below < 0 && used < n)
        snprintf(buf + used, n - used, "  more below, G follows");
}

/* Everything before the text; gives the columns it takes. */
static int draw_head(const hl_screen *s, hl_canvas c, const hl_log_line *l, hl_style style)
{
    char clock[24] = "";
    int x = 0;
    if (l->t_us && c.r.w >= 50 && !s->look.log_untimed) {
        hl_clock_format_utc(clock, l->t_us);
        x += hl_putf(c, 0, 0, style.role == HL_ROLE_SELECT ? style : HL_STYLE(DIM), "%.8s ",
                     clock + 11);
    }
    hl_put_char(c, x, 0, style, (uint32_t)(unsigned char)l->level);
    x += 2;
    if (c.r.w >= 40 && l->step > 0)
        x += hl_putf(c, x, 0, style.role == HL_ROLE_SELECT ? style : HL_STYLE(DIM), "%lld ",
                     (long long)l->step);
    return x;
}

enum { WRAPPED_MAX = 16, HEAD = 2 };

/* How many bytes of text stand in so many columns; at least one character. */
static size_t bytes_in(const hl_grid *g, const char *text, int columns)
{
    const size_t n = strlen(text);
    size_t used = 0;
    uint32_t ch;
    for (int w = 0; used < n;) {
        const size_t more = hl_utf8_next(text + used, n - used, &ch);
        const int wide = ch < ' ' || ch == 127 ? 2 : hl_char_columns(g, ch);
        if (used > 0 && w + wide > columns)
            break;
        w += wide;
        used += more;
    }
    return used;
}

/* The line in the rows that end with `bottom`; gives how many it took. */
static int draw_line(const hl_screen *s, hl_canvas c, int bottom, const hl_log_line *l, bool under)
{
    char part[512];
    const hl_style style =
        under ? HL_STYLE(SELECT) : (hl_style){.role = (uint8_t)role_of(l->level)};
    const char *piece[WRAPPED_MAX];
    int n = 0;
    hl_canvas row = hl_canvas_part(c, 0, bottom, c.r.w, 1);
    if (under)
        hl_blank(row, 0, 0, c.r.w, 1, style);
    if (!s->look.log_wrap) {
        const int x = draw_head(s, row, l, style);
        hl_put_cut(row, x, 0, c.r.w - x, style, l->text);
        return 1;
    }
    const int head = draw_head(s, row, l, style); /* drawn anew below, where it belongs */
    hl_blank(row, 0, 0, c.r.w, 1, style);
    const char *text = l->text;
    do {
        piece[n++] = text;
        text += bytes_in(c.grid, text, c.r.w - (n == 1 ? head : HEAD));
    } while (*text && n < WRAPPED_MAX);
    for (int i = 0; i < n && bottom - (n - 1 - i) >= 0; i++) {
        row = hl_canvas_part(c, 0, bottom - (n - 1 - i), c.r.w, 1);
        if (under)
            hl_blank(row, 0, 0, c.r.w, 1, style);
        const int x = i == 0 ? draw_head(s, row, l, style) : HEAD;
        const char *end = i + 1 < n ? piece[i + 1] : text;
        snprintf(part, sizeof part, "%.*s", (int)(end - piece[i]), piece[i]);
        hl_put(row, x, 0, style, part);
    }
    return n;
}

static void draw(hl_screen *s, hl_canvas c, bool focused)
{
    const hl_watched *w = hl_screen_run(s);
    if (!w)
        return;
    if (w->message) {
        hl_put_cut(c, 0, 0, c.r.w, HL_STYLE(BAD), w->message);
        return;
    }
    const hl_log_list *f = find_lines(s, c.r.h);
    int bottom = f ? f->bottom : -1;
    if (f && s->look.log_wrap && s->log_last >= 0)
        bottom = f->cursor; /* lines take several rows: the cursor is the last */
    for (int y = c.r.h - 1, i = bottom; y >= 0 && i >= 0; i--)
        y -= draw_line(s, c, y, f->at[i], focused && s->log_last >= 0 && i == f->cursor);
}

/* A search that was stopped may be begun anew. */
static void look_again(hl_screen *s)
{
    if (hl_screen_run(s))
        hl_screen_run(s)->window.is_refused = false;
}

static void scroll(hl_screen *s, int up)
{
    look_again(s);
    const hl_log_list *f = find_lines(s, rows_of(s));
    if (!f || f->n == 0)
        return;
    int to = f->cursor - up;
    to = to < 0 ? 0 : to < f->n ? to : f->n - 1;
    s->log_last = to == f->n - 1 && f->is_to_last ? -1 : f->at[to]->place;
}

/* With a filter every line that is shown fits; without one, warnings and errors are looked for. */
static void next_match(hl_screen *s, int by)
{
    hl_watched *w = hl_screen_run(s);
    const hl_log_list *f = find_lines(s, rows_of(s));
    if (!f || f->n == 0)
        return;
    if (s->look.log_filter[0]) {
        scroll(s, -by);
        return;
    }
    for (int i = f->cursor + by; i >= 0 && i < f->n; i += by)
        if (strchr("WE", f->at[i]->level)) {
            s->log_last = f->at[i]->place;
            return;
        }
    if (by < 0 && !f->is_from_first)
        hl_model_ask_log(&s->model, w, HL_LOG_ASK_EARLIER, f->at[0]->place);
    else if (by > 0 && !f->is_to_last)
        hl_model_ask_log(&s->model, w, HL_LOG_ASK_LATER, f->at[f->n - 1]->place + 1);
    else
        hl_screen_say(s, HL_ROLE_TEXT, "no %s warning or error", by > 0 ? "later" : "earlier");
}

/* Enter: the crosshairs of all charts go to the line's step. */
static void show_step(hl_screen *s)
{
    const hl_log_list *f = find_lines(s, rows_of(s));
    if (!f || f->cursor < 0)
        return;
    const hl_log_line *l = f->at[f->cursor];
    if (l->step <= 0) {
        hl_screen_say(s, HL_ROLE_TEXT, "this line has no step");
        return;
    }
    s->has_crosshair = true;
    s->crosshair_x = (double)l->step;
}

static bool copy_line(hl_screen *s)
{
    const hl_log_list *f = find_lines(s, rows_of(s));
    if (f && f->cursor >= 0)
        hl_screen_copy(s, f->at[f->cursor]->text);
    return f && f->cursor >= 0;
}

static bool act_on_looks(hl_screen *s, hl_action a)
{
    if (a != HL_ACTION_LOG_LEVEL && a != HL_ACTION_LOG_WRAP && a != HL_ACTION_LOG_TIME)
        return false;
    hl_screen_remember(s);
    if (a == HL_ACTION_LOG_LEVEL)
        s->look.log_level = (s->look.log_level + 1) % N_LEVELS;
    else if (a == HL_ACTION_LOG_WRAP)
        s->look.log_wrap = !s->look.log_wrap;
    else
        s->look.log_untimed = !s->look.log_untimed;
    return true;
}

void hl_log_go_to(hl_screen *s, const char *where)
{
    char text[24];
    int64_t n = 0;
    hl_watched *w = hl_screen_run(s);
    snprintf(text, sizeof text, "%s", where);
    char *percent = strchr(text, '%');
    const bool is_percent = percent && !percent[1];
    if (is_percent)
        *percent = '\0';
    if (hl_parse_i64(text, &n) != HL_OK || n < 0 || (is_percent ? n > 100 : n < 1))
        hl_screen_say(s, HL_ROLE_BAD, "line takes the number of a line, from 1, or N%%: not %s",
                      where);
    else if (!w || s->layout.pane[HL_PANE_LOG].h == 0)
        hl_screen_say(s, HL_ROLE_BAD, "there is no log here; L shows that of a run");
    else if (is_percent && n == 100)
        s->log_last = -1;
    else
        hl_model_ask_log(&s->model, w, is_percent ? HL_LOG_ASK_PERCENT : HL_LOG_ASK_NUMBER,
                         is_percent ? n : n - 1);
}

/* Esc: a search that goes on. */
static bool stop_looking(hl_screen *s)
{
    hl_watched *w = hl_screen_run(s);
    if (!w || w->window.asking == HL_LOG_ASK_NOTHING || w->window.percent < 0)
        return false;
    hl_model_stop_log(&s->model, w);
    return true;
}

static bool act(hl_screen *s, hl_action a)
{
    const int page = rows_of(s) / 2 + 1;
    if (a == HL_ACTION_BACK)
        return stop_looking(s);
    switch (a) {
    case HL_ACTION_UP:
        scroll(s, 1);
        return true;
    case HL_ACTION_DOWN:
        scroll(s, -1);
        return true;
    case HL_ACTION_PREVIOUS_MATCH:
        next_match(s, -1);
        return true;
    case HL_ACTION_NEXT_MATCH:
        next_match(s, 1);
        return true;
    case HL_ACTION_PAGE_UP:
        scroll(s, page);
        return true;
    case HL_ACTION_PAGE_DOWN:
        scroll(s, -page);
        return true;
    case HL_ACTION_TOP:
        look_again(s);
        s->log_last = 0;
        return true;
    case HL_ACTION_BOTTOM:
        look_again(s);
        s->log_last = -1;
        return true;
    case HL_ACTION_OPEN:
        show_step(s);
        return true;
    case HL_ACTION_COPY:
        return copy_line(s);
    default:
        return act_on_looks(s, a);
    }
}

static void click(hl_screen *s, int x, int y, hl_mouse_what what)
{
    const hl_log_list *f = find_lines(s, rows_of(s));
    (void)x;
    if (what == HL_MOUSE_WHEEL_UP || what == HL_MOUSE_WHEEL_DOWN) {
        scroll(s, what == HL_MOUSE_WHEEL_UP ? 3 : -3);
        return;
    }
    const int shown = rows_of(s), place = f ? f->bottom - (shown - 1 - y) : -1;
    if (!f || s->look.log_wrap || place < 0 || place >= f->n || what == HL_MOUSE_RELEASE)
        return;
    if (place < f->n - 1 || !f->is_to_last)
        s->log_last = f->at[place]->place;
    if (what == HL_MOUSE_DOUBLE)
        show_step(s);
}

const hl_pane_class hl_pane_log = {
    .framed = true, .focusable = true, .title = title, .draw = draw, .act = act, .click = click};
