/* What the run said: log lines, states, checkpoints, controls and alerts. Follows what comes until
 * one scrolls up. */
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "views/filter.h"
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

static size_t n_fitting(const hl_screen *s, const hl_watched *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->log.n; i++)
        n += fits(s, &w->log.at[i]);
    return n;
}

static void title(hl_screen *s, char *buf, size_t n)
{
    const hl_watched *w = hl_screen_run(s);
    int used = snprintf(buf, n, "log");
    if (s->look.log_filter[0])
        used += snprintf(buf + used, n - (size_t)used, "  /%s", s->look.log_filter);
    if (w && s->log_back > 0 && (size_t)used < n)
        snprintf(buf + used, n - (size_t)used, "  %d below, G follows", s->log_back);
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
    int skip = s->log_back, y = c.r.h;
    for (size_t i = w->log.n; i-- > 0 && y > 0;) {
        if (!fits(s, &w->log.at[i]) || skip-- > 0)
            continue;
        draw_line(hl_canvas_part(c, 0, --y, c.r.w, 1), &w->log.at[i]);
    }
}

static void scroll(hl_screen *s, int up)
{
    const hl_watched *w = hl_screen_run(s);
    const int most = w ? (int)n_fitting(s, w) - 1 : 0;
    s->log_back += up;
    s->log_back = s->log_back > most ? most : s->log_back;
    s->log_back = s->log_back < 0 ? 0 : s->log_back;
}

static bool act(hl_screen *s, hl_action a)
{
    const int page = s->layout.pane[HL_PANE_LOG].h / 2;
    switch (a) {
    case HL_ACTION_UP:
        scroll(s, 1);
        return true;
    case HL_ACTION_DOWN:
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
        s->log_back = 0;
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
