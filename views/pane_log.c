/* What the run said: log lines, states, checkpoints, controls and alerts. Follows what comes until
 * one scrolls up. */
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
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

static bool fits(const hl_screen *s, const hl_log_line *l)
{
    return !s->look.log_filter[0] || hl_filter_fits_text(s->look.log_filter, l->text);
}

/* The lines that fit, as indices of the log. */
typedef struct fitting {
    int at[HL_LOG_MAX];
    int n, bottom; /* bottom: place in `at` of the line shown last */
} fitting;

/* Room for all of them is the screen's own; lines that were dropped move the view to the oldest. */
static fitting *find_fitting(hl_screen *s, const hl_watched *w, int rows)
{
    fitting *f = s->log_lines;
    if (!f)
        f = s->log_lines = hl_alloc(sizeof *f);
    if (!f)
        return NULL;
    f->n = 0;
    f->bottom = -1;
    for (size_t i = 0; i < w->log.n && f->n < HL_LOG_MAX; i++) {
        if (!fits(s, &w->log.at[i]))
            continue;
        if (s->log_last < 0 || w->log_first + (int64_t)i <= s->log_last)
            f->bottom = f->n;
        f->at[f->n++] = (int)i;
    }
    const int least = rows < f->n ? rows - 1 : f->n - 1; /* the pane is filled */
    f->bottom = f->bottom < least ? least : f->bottom;
    return f;
}

static int rows_of(const hl_screen *s)
{
    const int h = s->layout.pane[HL_PANE_LOG].h - 2 * s->layout.frames;
    return h > 0 ? h : 1;
}

static void title(hl_screen *s, char *buf, size_t n)
{
    const hl_watched *w = hl_screen_run(s);
    snprintf(buf, n, "log%s%s", s->look.log_filter[0] ? "  /" : "", s->look.log_filter);
    const fitting *f = w && s->log_last >= 0 ? find_fitting(s, w, rows_of(s)) : NULL;
    const size_t used = strlen(buf);
    if (f && f->bottom + 1 < f->n)
        snprintf(buf + used, n - used, "  %d below, G follows", f->n - 1 - f->bottom);
}

static void draw_line(hl_canvas c, const hl_log_line *l)
{
    char clock[24] = "";
    const hl_style style = {.role = (uint8_t)role_of(l->level)};
    int x = 0;
    if (l->t_us && c.r.w >= 50) {
        hl_clock_format_utc(clock, l->t_us);
        x += hl_putf(c, 0, 0, HL_STYLE(DIM), "%.8s ", clock + 11);
    }
    hl_put_char(c, x, 0, style, (uint32_t)(unsigned char)l->level);
    x += 2;
    if (c.r.w >= 40 && l->step > 0)
        x += hl_putf(c, x, 0, HL_STYLE(DIM), "%lld ", (long long)l->step);
    hl_put_cut(c, x, 0, c.r.w - x, style, l->text);
}

static void draw(hl_screen *s, hl_canvas c, bool focused)
{
    const hl_watched *w = hl_screen_run(s);
    (void)focused;
    if (!w)
        return;
    if (w->message) {
        hl_put_cut(c, 0, 0, c.r.w, HL_STYLE(BAD), w->message);
        return;
    }
    const fitting *f = find_fitting(s, w, c.r.h);
    for (int y = c.r.h - 1, i = f ? f->bottom : -1; y >= 0 && i >= 0; y--, i--)
        draw_line(hl_canvas_part(c, 0, y, c.r.w, 1), &w->log.at[f->at[i]]);
}

static void scroll(hl_screen *s, int up)
{
    const hl_watched *w = hl_screen_run(s);
    const fitting *f = w ? find_fitting(s, w, rows_of(s)) : NULL;
    if (!f || f->n == 0)
        return;
    int to = f->bottom - up;
    to = to < 0 ? 0 : to;
    s->log_last = to >= f->n - 1 ? -1 : w->log_first + f->at[to];
}

static bool act(hl_screen *s, hl_action a)
{
    const int page = rows_of(s) / 2 + 1;
    switch (a) {
    case HL_ACTION_UP:
    case HL_ACTION_PREVIOUS_MATCH:
        scroll(s, 1);
        return true;
    case HL_ACTION_DOWN:
    case HL_ACTION_NEXT_MATCH:
        scroll(s, -1);
        return true;
    case HL_ACTION_PAGE_UP:
        scroll(s, page);
        return true;
    case HL_ACTION_PAGE_DOWN:
        scroll(s, -page);
        return true;
    case HL_ACTION_TOP:
        scroll(s, HL_LOG_MAX);
        return true;
    case HL_ACTION_BOTTOM:
        s->log_last = -1;
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
        scroll(s, what == HL_MOUSE_WHEEL_UP ? 3 : -3);
}

const hl_pane_class hl_pane_log = {
    .framed = true, .focusable = true, .title = title, .draw = draw, .act = act, .click = click};
